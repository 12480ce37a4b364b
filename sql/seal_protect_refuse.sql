-- What can't be carried is named, all at once, each with what to do; nothing is changed.
\set SHOW_CONTEXT never
SET client_min_messages = error;
SELECT ward.create_key('refuse.key', make_default => true), ward.create_key('refuse.quiet', 'none');
CREATE TABLE r (id int, a text, b text, c varchar(9) COLLATE "C", g text GENERATED ALWAYS AS (upper(a)) STORED);
CREATE INDEX r_lower ON r (lower(a));
CREATE INDEX r_gin ON r USING gin (to_tsvector('english', a));
CREATE INDEX r_pat ON r (id, a text_pattern_ops);
CREATE INDEX r_brin ON r USING brin (a);
CREATE INDEX r_pred ON r (id) WHERE a LIKE 'x%';
CREATE INDEX r_inc ON r (id) INCLUDE (a);
ALTER TABLE r ADD CONSTRAINT r_ex EXCLUDE USING btree (a WITH =);
CREATE STATISTICS r_st ON a, id FROM r;
CREATE MATERIALIZED VIEW r_mv AS SELECT a FROM r;
CREATE VIEW r_v AS SELECT a FROM r;
CREATE FUNCTION r_f() RETURNS SETOF r_v LANGUAGE sql AS 'SELECT * FROM r_v';
CREATE RULE r_rule AS ON UPDATE TO r WHERE new.a = 'secret' DO ALSO NOTHING;
CREATE FUNCTION r_sql() RETURNS text BEGIN ATOMIC SELECT a FROM r LIMIT 1; END;
CREATE PUBLICATION r_pub FOR TABLE r (id, a);
CREATE FUNCTION r_trg() RETURNS trigger LANGUAGE plpgsql AS 'begin return new; end';
CREATE TRIGGER r_tr BEFORE UPDATE ON r FOR EACH ROW WHEN (new.a = 'secret') EXECUTE FUNCTION r_trg();
CREATE TABLE r_row (x r);
RESET client_min_messages;
SELECT object, what_to_do FROM ward.protect_plan('r', 'a', 'refuse.key') WHERE action = 'refuse' ORDER BY object COLLATE "C";
SELECT ward.protect('r', 'a', 'refuse.key');
SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'r'::regclass AND attname = 'a';
DROP TABLE r_row;
-- What hangs on other columns of the table does not hinder.
SELECT ward.protect('r', 'c', 'refuse.key');
-- Without tags: no index, no foreign key.
CREATE TABLE q (id int PRIMARY KEY, a text UNIQUE, b text);
CREATE TABLE q_ref (a text REFERENCES q (a));
CREATE INDEX q_b ON q (b);
SELECT object, what_to_do FROM ward.protect_plan('q', 'a', 'refuse.quiet') WHERE action = 'refuse' ORDER BY object COLLATE "C";
SELECT ward.protect('q', 'b', 'refuse.quiet', 'none');
-- The other side of a foreign key can't be sealed.
CREATE TABLE q_id (a varchar(8) PRIMARY KEY);
CREATE TABLE q_other (x char(8) REFERENCES q_id (a));
SELECT ward.protect('q_id', 'a', 'refuse.key');
-- Partition keys, partitions by themselves, several parents.
CREATE TABLE part (id int, region text, low text) PARTITION BY LIST (region);
CREATE TABLE part_a PARTITION OF part FOR VALUES IN ('a');
SELECT ward.protect('part', 'region', 'refuse.key');
SELECT ward.protect('part_a', 'low', 'refuse.key');
CREATE TABLE part_x (id int, t text) PARTITION BY HASH (lower(t));
SELECT ward.protect('part_x', 't', 'refuse.key');
CREATE TABLE mother (n text);
CREATE TABLE father (n text);
CREATE TABLE child () INHERITS (mother, father);
SELECT ward.protect('mother', 'n', 'refuse.key');
-- A view that sealed values can't serve fails now, not when it is next used.
CREATE TABLE w (id int PRIMARY KEY, a text, b text);
CREATE VIEW w_bad AS SELECT array_agg(a) AS list FROM w GROUP BY id ORDER BY 1;
SELECT ward.protect('w', 'a', 'refuse.key');
SELECT relname FROM pg_class WHERE relname LIKE 'w\_%' AND relkind = 'v' ORDER BY 1;
SELECT * FROM ward.protect_progress;
SET client_min_messages = error;
DROP TABLE r, q, q_ref, q_id, q_other, part, part_x, mother, father, child, w CASCADE;
DROP FUNCTION r_trg();
DROP PUBLICATION r_pub;
DELETE FROM _ward.key WHERE name LIKE 'refuse.%';
