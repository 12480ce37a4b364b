-- Whoever is written or removed is named, also where no plan shows it.
CREATE TABLE w_person (id int PRIMARY KEY, name text, city text DEFAULT 'here');
CREATE TABLE w_message (id serial PRIMARY KEY, person_id int REFERENCES w_person ON DELETE CASCADE ON UPDATE CASCADE, body text);
CREATE TABLE w_letter (id serial PRIMARY KEY, person_id int REFERENCES w_person ON DELETE SET NULL, body text);
SELECT ward.watch('w_person', 'id'), ward.watch('w_message', 'person_id'), ward.watch('w_letter', 'person_id');
SET client_min_messages = warning;
CREATE FUNCTION seen() RETURNS TABLE (relation text, manner text, reason text, columns text, subjects bigint, members text)
LANGUAGE sql AS $$
	SELECT split_part(relation, '.', 2), manner, reason,
	       array_to_string(ARRAY(SELECT split_part(c, '.', 2) FROM unnest(columns_clear) c ORDER BY 1), ','), subjects,
	       (SELECT string_agg(m::text, ',') FROM (SELECT _ward.subject_set_members(subject_set) m LIMIT 6) s)
	  FROM ward.disclosures WHERE actor = current_setting('test.actor') ORDER BY 1, 2, 3, 4, 6
$$;
CREATE FUNCTION act(label text) RETURNS void LANGUAGE sql AS
	$$ SELECT set_config('ward.actor', 'write ' || label, false), set_config('test.actor', 'write ' || label, false); $$;
\set look 'RESET ward.actor; SELECT ward.sync() IS NULL; SELECT * FROM seen();'
\t on
SELECT act('copy'); COPY w_person (id, name) FROM STDIN;
1	one
2	two
3	three
4	four
\.
:look
SELECT act('copy where'); COPY w_person FROM STDIN WHERE id > 10;
5	five	there
11	eleven	there
\.
:look
-- Rows that a failed COPY had stored are told as well.
SELECT act('copy fails'); COPY w_person (id, name) FROM STDIN;
21	x
22	y
1	again
\.
:look
-- A trigger changes whom the row is about; what is stored counts.
CREATE FUNCTION next_person() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.id := NEW.id + 100; RETURN NEW; END $$;
CREATE TRIGGER next_person BEFORE INSERT ON w_person FOR EACH ROW EXECUTE FUNCTION next_person();
SELECT act('copy trigger'); COPY w_person (id, name) FROM STDIN;
1	moved
\.
:look
-- The trigger itself copies into the same table.
CREATE OR REPLACE FUNCTION next_person() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.id = 301 THEN EXECUTE $c$ COPY w_person (id, name) FROM PROGRAM 'printf "302\tinner\n"' $c$; END IF;
	RETURN NEW;
END $$;
SELECT act('copy in copy'); COPY w_person (id, name) FROM STDIN;
301	outer
303	outer
\.
:look
DROP TRIGGER next_person ON w_person;
-- Cascades write.
INSERT INTO w_message (person_id, body) VALUES (2, 'a'), (3, 'b');
INSERT INTO w_letter (person_id, body) VALUES (2, 'c'), (3, 'd');
SELECT act('cascade delete'); DELETE FROM w_person WHERE id = 2; :look
SELECT act('cascade update'); UPDATE w_person SET id = 33 WHERE id = 4; :look
-- Partitions, one of them with other column numbers.
CREATE TABLE w_part (id int, name text) PARTITION BY RANGE (id);
CREATE TABLE w_part_low PARTITION OF w_part FOR VALUES FROM (0) TO (100);
CREATE TABLE w_part_high (gone int, name text, id int);
ALTER TABLE w_part_high DROP COLUMN gone;
ALTER TABLE w_part ATTACH PARTITION w_part_high FOR VALUES FROM (100) TO (200);
SELECT ward.watch('w_part', 'id') IS NULL;
SELECT act('copy parts'); COPY w_part FROM STDIN;
1	one
150	high
2	two
\.
:look
SELECT act('copy part'); COPY w_part_high (id, name) FROM STDIN;
151	high
\.
:look
-- Removals name those who stood there.
SELECT act('truncate parts'); TRUNCATE w_part; :look
SELECT act('truncate refused'); TRUNCATE w_person; :look
DELETE FROM w_person WHERE id > 10;
INSERT INTO w_message (person_id, body) VALUES (1, 'e');
SELECT act('truncate cascade'); TRUNCATE w_person CASCADE; :look
INSERT INTO w_person VALUES (7, 'seven'), (8, 'eight');
SELECT act('limit'); SET ward.naming_limit = 0; TRUNCATE w_person CASCADE; RESET ward.naming_limit; :look
INSERT INTO w_person VALUES (7, 'seven'), (8, 'eight');
CREATE ROLE w_clerk;
GRANT SELECT ON w_person TO w_clerk;
SET ROLE w_clerk; TRUNCATE w_person; RESET ROLE;
SELECT act('drop rolled back'); BEGIN; DROP TABLE w_person CASCADE; ROLLBACK; :look
-- However it is dropped.
CREATE SCHEMA w_old CREATE TABLE gone (id int);
INSERT INTO w_old.gone VALUES (61), (62);
SELECT ward.watch('w_old.gone', 'id') IS NULL;
SELECT act('drop schema'); DROP SCHEMA w_old CASCADE; :look
CREATE ROLE w_owner;
CREATE TABLE w_owned (id int);
INSERT INTO w_owned VALUES (71);
SELECT ward.watch('w_owned', 'id') IS NULL;
ALTER TABLE w_owned OWNER TO w_owner;
SELECT act('drop owned'); DROP OWNED BY w_owner; :look
CREATE DOMAIN w_key AS int;
CREATE TABLE w_domain (person int, other w_key, id int);
INSERT INTO w_domain VALUES (81, 1, 2);
SELECT ward.watch('w_domain', 'person') IS NULL;
SELECT act('drop other column'); ALTER TABLE w_domain DROP COLUMN id; DROP DOMAIN w_key CASCADE; :look
SELECT act('drop column'); ALTER TABLE w_domain DROP COLUMN person; :look
CREATE TABLE w_several (person int, other int, more int);
INSERT INTO w_several VALUES (82, 1, 2);
SELECT ward.watch('w_several', 'person') IS NULL;
SELECT act('drop several columns'); ALTER TABLE w_several DROP COLUMN person, DROP COLUMN other; :look
SET ROLE w_clerk; SELECT act('not the owner'); DROP TABLE w_person CASCADE; RESET ROLE; :look
-- Keys that are no integers.
CREATE TABLE w_uuid (id uuid PRIMARY KEY, name text);
SELECT ward.watch('w_uuid', 'id', 'w_uuid') IS NULL;
SELECT act('copy uuid'); COPY w_uuid FROM STDIN;
00000000-0000-0000-0000-000000000007	seven
00000000-0000-0000-0000-000000000008	eight
\.
:look
SELECT act('drop uuid'); DROP TABLE w_uuid; :look
-- DDL that looks at rows, and DDL that does not.
CREATE DOMAIN w_city AS text;
ALTER TABLE w_person ALTER COLUMN city TYPE w_city;
SELECT act('harmless'); ALTER TABLE w_person ADD COLUMN note text DEFAULT 'x'; ALTER TABLE w_person ADD CONSTRAINT short CHECK (length(name) < 50) NOT VALID; CREATE INDEX ON w_person (city); COMMENT ON TABLE w_person IS 'x'; :look
SELECT act('validate'); ALTER TABLE w_person VALIDATE CONSTRAINT short; :look
SELECT act('using'); ALTER TABLE w_person ALTER COLUMN name TYPE varchar USING upper(name); :look
SELECT act('expression index'); CREATE INDEX ON w_person (lower(name)); :look
SELECT act('generated'); ALTER TABLE w_person ADD COLUMN twice text GENERATED ALWAYS AS (name || name) STORED; :look
SELECT act('domain'); ALTER DOMAIN w_city ADD CHECK (length(VALUE) > 1); :look
SELECT act('refresh'); CREATE MATERIALIZED VIEW w_view AS SELECT name FROM w_person WHERE id = 7; REFRESH MATERIALIZED VIEW w_view; :look
\t off
DROP TABLE w_person, w_message, w_letter, w_part, w_domain CASCADE;
DROP DOMAIN w_city;
DROP FUNCTION seen, act, next_person;
DROP ROLE w_clerk, w_owner;
