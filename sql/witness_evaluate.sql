--
-- Maintenance runs the functions of indexes and statistics over every row, and they may be
-- others by then.
--
\set SHOW_CONTEXT never
CREATE TABLE evaluated (id int PRIMARY KEY, name text);
INSERT INTO evaluated SELECT i, 'name ' || i FROM generate_series(1, 2) i;
CREATE FUNCTION evaluate(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN $1; END $$;
CREATE INDEX evaluated_idx ON evaluated (evaluate(name));
CREATE TABLE unevaluated (id int PRIMARY KEY, name text);
INSERT INTO unevaluated SELECT i, 'name ' || i FROM generate_series(1, 2) i;
CREATE INDEX unevaluated_idx ON unevaluated (lower(name)) WHERE length(name) > 2;
CREATE TABLE evaluated_parted (id int, name text) PARTITION BY LIST (id);
CREATE TABLE evaluated_part PARTITION OF evaluated_parted FOR VALUES IN (7);
INSERT INTO evaluated_parted VALUES (7, 'name 7');
CREATE INDEX evaluated_parted_idx ON evaluated_parted (id) WHERE evaluate(name) IS NOT NULL;
SELECT ward.watch('evaluated', 'id', 'evaluated'), ward.watch('unevaluated', 'id', 'evaluated'), ward.watch('evaluated_parted', 'id', 'evaluated');
CREATE OR REPLACE FUNCTION evaluate(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN $1; END $$;
-- It would tell each row many times, in an order and number that servers differ in.
VACUUM FULL evaluated_parted;
SET client_min_messages = warning;

SET ward.actor = 'evaluate 01';
ANALYZE evaluated, unevaluated;
SET ward.actor = 'evaluate 02';
REINDEX INDEX evaluated_idx;
SET ward.actor = 'evaluate 03';
REINDEX TABLE evaluated;
SET ward.actor = 'evaluate 04';
REINDEX (CONCURRENTLY) TABLE evaluated;
SET ward.actor = 'evaluate 05';
VACUUM FULL evaluated;
SET ward.actor = 'evaluate 06';
VACUUM (ANALYZE) evaluated;
SET ward.actor = 'evaluate 07';
CLUSTER evaluated USING evaluated_pkey;
SET ward.actor = 'evaluate 08';
ALTER TABLE evaluated SET UNLOGGED;
SET ward.actor = 'evaluate 09';
REINDEX INDEX evaluated_parted_idx;
SET ward.actor = 'evaluate 10';
REINDEX SCHEMA public;
-- Statistics alone.
DROP INDEX evaluated_idx;
SET ward.actor = 'evaluate 11';
CREATE STATISTICS evaluated_stat ON (evaluate(name)), id FROM evaluated;
ANALYZE evaluated;
-- What writes the table anew, and BRIN's summaries.
CREATE INDEX evaluated_idx ON evaluated USING brin (evaluate(name));
SET ward.actor = 'evaluate 13';
ALTER TABLE evaluated ADD COLUMN at timestamptz DEFAULT clock_timestamp();
SET ward.actor = 'evaluate 14';
SELECT brin_desummarize_range('evaluated_idx', 0);
SELECT brin_summarize_new_values('evaluated_idx');
DROP INDEX evaluated_idx;
-- Nothing of an owner's is run.
SET ward.actor = 'evaluate 12';
VACUUM evaluated;
ANALYZE unevaluated;
REINDEX TABLE unevaluated;
VACUUM (FULL false, ANALYZE false) evaluated;
RESET ward.actor;
SELECT ward.sync() IS NOT NULL AS synced;
SELECT actor, split_part(relation, '.', 2) AS relation, manner, reason FROM ward.disclosures WHERE actor LIKE 'evaluate __' ORDER BY 1, 2, 3, 4;
DROP TABLE evaluated, unevaluated, evaluated_parted;
DROP FUNCTION evaluate(text);
