-- New versions of a key: old values open, look-ups hold, and everything stored moves.
SELECT ward.create_key('rotate.a', make_default => true);
SELECT ward.create_key('rotate.quiet', 'none');
CREATE ROLE rotate_reader;
CREATE ROLE rotate_officer;
GRANT ward_officer TO rotate_officer;
SELECT ward.grant_unseal('rotate.a', 'rotate_reader', 'test');
SELECT ward.grant_unseal('rotate.quiet', 'rotate_reader', 'test');

CREATE DOMAIN rotate_name AS sealed_text('rotate.a');
CREATE TYPE rotate_address AS (street sealed_text('rotate.a'), number int, more sealed_text('rotate.quiet')[]);
CREATE TABLE rotated (id int PRIMARY KEY, a sealed_text('rotate.a') UNIQUE, q sealed_text('rotate.quiet'),
                      many sealed_text('rotate.a')[], named rotate_name, address rotate_address, gone text, n int DEFAULT 0);
INSERT INTO rotated SELECT i, 'value ' || i, 'quiet ' || i, ARRAY['x' || i, NULL, 'y' || i], 'name ' || i % 7,
                           ROW('street ' || i, i, ARRAY['m' || i])::rotate_address, 'gone', 0 FROM generate_series(1, 500) i;
INSERT INTO rotated (id) VALUES (0);
-- A value that is toasted, and one with fewer columns stored than the table has.
INSERT INTO rotated (id, a, q) VALUES (501, 'long', repeat('long ', 20000));
ALTER TABLE rotated DROP COLUMN gone;
ALTER TABLE rotated ADD COLUMN later sealed_text('rotate.a') DEFAULT 'later';
CREATE TABLE rotate_toasted (a sealed_text('rotate.a'));
INSERT INTO rotate_toasted VALUES (repeat('long ', 20000));
CREATE TABLE rotate_kinds (b sealed_bytea('rotate.a'), o sealed_bool('rotate.a'), i sealed_int8('rotate.a') UNIQUE,
                           n sealed_numeric('rotate.a') UNIQUE, d sealed_date('rotate.a'), z sealed_timestamptz('rotate.a'),
                           u sealed_uuid('rotate.a'), j sealed_jsonb('rotate.a'));
INSERT INTO rotate_kinds VALUES ('\x00ff', true, 42, 1.50, '2026-11-24', '2026-11-24 12:00:00+00',
                                 '00000000-0000-0000-0000-000000000001', '{"a": [1, 2.0]}');
GRANT SELECT ON rotate_kinds TO rotate_reader;
CREATE TABLE rotate_child (id int, a sealed_text('rotate.a') REFERENCES rotated (a) ON UPDATE RESTRICT) PARTITION BY LIST (id);
CREATE TABLE rotate_child_1 PARTITION OF rotate_child FOR VALUES IN (1);
CREATE TABLE rotate_child_2 PARTITION OF rotate_child FOR VALUES IN (2);
INSERT INTO rotate_child SELECT i % 2 + 1, 'value ' || i FROM generate_series(1, 50) i;
CREATE MATERIALIZED VIEW rotate_mat AS SELECT id, a FROM rotated WHERE id < 10;
CREATE TABLE rotate_excluded (a sealed_text('rotate.a'), EXCLUDE USING hash (a WITH =));
INSERT INTO rotate_excluded VALUES ('one'), ('two');
CREATE TABLE rotate_deferred (a sealed_text('rotate.a') UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO rotate_deferred VALUES ('one'), ('two');
-- What must not be heard or stop it: triggers, rules, row security, privileges.
CREATE FUNCTION rotate_refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'a trigger was fired'; END$$;
CREATE TRIGGER refuse BEFORE UPDATE ON rotated FOR EACH ROW EXECUTE FUNCTION rotate_refuse();
ALTER TABLE rotated ENABLE ALWAYS TRIGGER refuse;
ALTER TABLE rotated ENABLE ROW LEVEL SECURITY;
ALTER TABLE rotated FORCE ROW LEVEL SECURITY;
CREATE POLICY all_rows ON rotated FOR SELECT TO rotate_reader USING (true);
GRANT SELECT ON rotated, rotate_toasted, rotate_child, rotate_mat TO rotate_reader;
GRANT INSERT ON rotate_child TO rotate_reader;
SELECT ward.watch('rotated', 'id');
SELECT ward.watch('rotate_child', 'id');
-- Literals in the catalog, under the default key.
SELECT name, is_default FROM ward.keys WHERE is_default;

SET ROLE rotate_officer;
SELECT ward.rotate_key('rotate.a', '');
SELECT ward.rotate_key('no key', 'test');
SELECT ward.rotate_key('rotate.a', 'test');
SELECT ward.rotate_key('rotate.quiet', 'test');
RESET ROLE;
SELECT version, state FROM ward.keys WHERE name = 'rotate.a' ORDER BY version;

-- Both versions open; look-ups, unique and foreign keys hold across them.
SET ROLE rotate_reader;
SELECT id, a, q, many, named, (address).street, later FROM rotated WHERE a = 'value 7';
INSERT INTO rotate_child VALUES (1, 'value 7') RETURNING a;
\set VERBOSITY terse
INSERT INTO rotate_child VALUES (1, 'nobody');
RESET ROLE;
INSERT INTO rotated (id, a) VALUES (502, 'value 7');
\set VERBOSITY default
INSERT INTO rotate_deferred VALUES ('three');
SELECT version, state, location, uses, can_be_destroyed, advice FROM ward.key_versions_in_use('rotate.a');

-- Moved by an officer who may read nothing.
SET ROLE rotate_officer;
CALL ward.reseal('rotate.a', 100);
CALL ward.reseal('rotate.quiet');
SELECT key, version, relation, columns, state, values_done, rows_left_at_most FROM ward.reseal_progress
 WHERE key LIKE 'rotate%' ORDER BY key, relation::text;
SELECT version, state, location, uses, can_be_destroyed, advice FROM ward.key_versions_in_use('rotate.a');
SELECT version, state, location, uses FROM ward.key_versions_in_use('rotate.quiet');
RESET ROLE;

-- The values are what they were.
SET ROLE rotate_reader;
SELECT id, a, q, many, named, address, later FROM rotated WHERE a = 'value 7';
SELECT count(*), count(DISTINCT a), sum(length(q)), count(later), count(q) FROM rotated;
SELECT count(*) FROM rotate_child c JOIN rotated r ON r.a = c.a;
SELECT * FROM rotate_kinds WHERE i = 42 AND n = 1.5 AND d = '2026-11-24' AND j = '{"a": [1, 2]}';
SELECT count(*) FROM rotate_toasted WHERE a = repeat('long ', 20000);
RESET ROLE;
SET enable_seqscan = off;
SELECT count(*) FROM rotated WHERE a IN ('value 1', 'value 2', 'value 500');
RESET enable_seqscan;
\set VERBOSITY terse
INSERT INTO rotated (id, a) VALUES (502, 'value 7');
INSERT INTO rotate_excluded VALUES ('one');
INSERT INTO rotate_deferred VALUES ('one');
DELETE FROM rotated WHERE a = 'value 7';
\set VERBOSITY default

-- Nobody counts as written or read by it; the trail has one event for each table.
SELECT ward.sync() IS NOT NULL AS synced;
SELECT count(*) FROM ward.disclosures WHERE relation LIKE '%rotate%' AND role = 'rotate_officer';
SELECT kind, detail ->> 'relation' AS relation, detail ->> 'values' AS values FROM ward.events
 WHERE kind LIKE 'key.reseal%' AND detail ->> 'key' = 'rotate.a' ORDER BY position;

-- A literal is sealed anew when the definition is given again, as the server prints it.
DO $$BEGIN EXECUTE (SELECT format('ALTER TABLE rotated ALTER later SET DEFAULT %s', pg_get_expr(adbin, adrelid))
                      FROM pg_attrdef WHERE adrelid = 'rotated'::regclass AND adnum = 9); END$$;
SELECT version, state, location, uses, can_be_destroyed, advice FROM ward.key_versions_in_use('rotate.a') WHERE version = 1;
ALTER TABLE rotated DISABLE TRIGGER refuse;
INSERT INTO rotated (id) VALUES (600);
SET ROLE rotate_reader;
SELECT later FROM rotated WHERE id = 600;
RESET ROLE;
-- Views, checks, indexes, policies, SQL functions: their literals are counted.
CREATE VIEW rotate_view AS SELECT id FROM rotated WHERE a = 'value 7' OR a IN ('value 8', 'value 9');
CREATE TABLE rotate_literals (id int, a sealed_text('rotate.a') CHECK (a <> 'forbidden'));
CREATE INDEX rotate_index ON rotate_literals (id) WHERE a = 'value 7';
CREATE POLICY some_rows ON rotate_literals USING (a = 'value 7');
CREATE FUNCTION rotate_find() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM rotate_literals WHERE a = 'value 7'; END;
SELECT ward.rotate_key('rotate.a', 'again');
SELECT version, location, uses FROM ward.key_versions_in_use('rotate.a') WHERE version = 2 AND location NOT LIKE 'column%';
CALL ward.reseal('rotate.a');
SELECT version, state, location, uses FROM ward.key_versions_in_use('rotate.a') WHERE version < 3;
-- They hold as they are, and can be given again.
SELECT id FROM rotate_view ORDER BY id;
DO $$BEGIN EXECUTE 'CREATE OR REPLACE VIEW rotate_view AS ' || pg_get_viewdef('rotate_view'); END$$;
SELECT id FROM rotate_view ORDER BY id;
SELECT count(*) FROM ward.key_versions_in_use('rotate.a') WHERE version = 2 AND location LIKE '%rotate_view%';

-- Again: nothing to do.
CALL ward.reseal('rotate.a');
SELECT sum(values_done) FROM ward.reseal_progress WHERE key = 'rotate.a';
-- Not in a transaction, not by others.
BEGIN;
CALL ward.reseal('rotate.a');
ROLLBACK;
SET ROLE rotate_reader;
CALL ward.reseal('rotate.a');
SELECT ward.reseal_batch('rotate.a');
SELECT ward.rotate_key('rotate.a', 'x');
RESET ROLE;
SELECT ward.reseal_batch('rotate.a', 0);

SELECT ward.unwatch('rotated');
SELECT ward.unwatch('rotate_child');
DROP TABLE rotate_literals, rotated, rotate_kinds, rotate_toasted, rotate_child, rotate_excluded, rotate_deferred CASCADE;
DROP TYPE rotate_name, rotate_address;
DROP FUNCTION rotate_refuse;
DELETE FROM _ward.key WHERE name LIKE 'rotate.%';
DROP ROLE rotate_reader;
DROP ROLE rotate_officer;
