--
-- Copies of watched rows in tables that are not watched.
--
\set SHOW_CONTEXT never
CREATE TABLE cperson (id int PRIMARY KEY, name text);
CREATE TABLE cvisit (id int PRIMARY KEY, person_id int, note text);
INSERT INTO cperson SELECT i, 'p' || i FROM generate_series(1, 20) i;
INSERT INTO cvisit SELECT i, i, 'n' FROM generate_series(1, 20) i;
SELECT ward.watch('cperson', 'id', 'cp');
SELECT ward.watch('cvisit', 'person_id', 'cp');
CREATE VIEW copies AS SELECT source, copy, made_by_what AS by, made_by = session_user AS mine, made_at <= clock_timestamp() AS dated
	FROM ward.unwatched_copies ORDER BY copy::text, source::text;

CREATE TABLE c_as AS SELECT * FROM cperson WHERE id < 3;
SELECT * INTO c_into FROM cvisit v JOIN cperson p USING (id);
CREATE MATERIALIZED VIEW c_view AS SELECT name FROM cperson;
CREATE MATERIALIZED VIEW c_later AS SELECT name FROM cperson WITH NO DATA;
CREATE TABLE c_insert (id int, name text);
INSERT INTO c_insert SELECT * FROM cperson WHERE id = 5;
INSERT INTO c_insert SELECT * FROM cperson WHERE id = 6;
CREATE TABLE c_archive (id int, name text);
WITH gone AS (DELETE FROM cperson WHERE id = 20 RETURNING *) INSERT INTO c_archive SELECT * FROM gone;
CREATE FUNCTION pg_temp.fill() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CREATE TABLE c_function AS SELECT name FROM cperson;
END $$;
SELECT pg_temp.fill();
PREPARE c_prepared AS SELECT name FROM cperson;
CREATE TABLE c_execute AS EXECUTE c_prepared;
SELECT * FROM copies;
REFRESH MATERIALIZED VIEW c_later;
-- No copies: numbers about people, no rows, nobody watched, a watched table, a session's own.
CREATE TABLE c_count AS SELECT count(*) FROM cperson;
CREATE TABLE c_none AS SELECT * FROM cperson WHERE false;
CREATE TABLE c_other AS SELECT * FROM c_count;
CREATE TEMP TABLE c_temp AS SELECT * FROM cperson;
INSERT INTO cvisit SELECT 100, id, name FROM cperson WHERE id = 1;
CREATE TABLE c_log (what text);
INSERT INTO c_log SELECT 'found' WHERE EXISTS (SELECT FROM cperson WHERE id = 3);
-- Rolled back, so none.
BEGIN;
CREATE TABLE c_rolled AS SELECT * FROM cperson;
INSERT INTO c_log SELECT name FROM cperson;
ROLLBACK;
SELECT * FROM copies WHERE copy::text IN ('c_later', 'c_count', 'c_none', 'c_other', 'c_log') OR copy::text LIKE '%temp%';
-- A role without any right to the catalog copies; an officer and an auditor see it.
CREATE ROLE copies_user;
GRANT SELECT ON cperson TO copies_user;
CREATE SCHEMA copies_user AUTHORIZATION copies_user;
SET ROLE copies_user;
CREATE TABLE copies_user.mine AS SELECT * FROM cperson;
SELECT * FROM ward.unwatched_copies;
RESET ROLE;
SELECT * FROM copies WHERE copy = 'copies_user.mine'::regclass;
-- Until it is watched, or dropped.
SELECT ward.watch('c_as', 'id', 'cp');
SELECT ward.watch('c_insert', 'id', 'cp');
SELECT ward.unwatch('c_insert');
DROP TABLE c_into, copies_user.mine;
ALTER TABLE c_archive RENAME TO c_renamed;
SELECT source, copy, by FROM copies;
-- The trail keeps all of it, also what was rolled back.
SELECT ward.sync() IS NOT NULL AS synced;
SELECT detail ->> 'source' AS source, detail ->> 'copy' AS copy, detail ->> 'by' AS by FROM ward.events WHERE kind = 'copy.made' ORDER BY position;
DROP VIEW copies;
DROP MATERIALIZED VIEW c_view, c_later;
DROP TABLE c_as, c_insert, c_renamed, c_function, c_execute, c_count, c_none, c_other, c_log, cvisit, cperson;
SELECT count(*) FROM ward.unwatched_copies;
SELECT count(*) FROM _ward.copy;
DROP SCHEMA copies_user;
DROP ROLE copies_user;
