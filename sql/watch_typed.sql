--
-- A table of a composite type: what becomes of its watch as the type is altered.
--
\set SHOW_CONTEXT never
CREATE FUNCTION pg_temp.who(mark text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(subject || CASE verdict WHEN 'possible' THEN '?' ELSE '' END, ' ' ORDER BY subject_id)
	FROM ward.breach_scope(tstzrange(now() - interval '1 hour', NULL), actors => ARRAY[mark], subject_class => 'typed')
$$;
CREATE TYPE ttype AS (id int, note varchar(20), size bigint);
CREATE TABLE ttable OF ttype;
INSERT INTO ttable VALUES (1, 'one', 1), (2, 'two', 2);
SELECT ward.watch('ttable', 'id', 'typed');

-- The watch follows the column, as with ALTER TABLE.
ALTER TYPE ttype RENAME ATTRIBUTE id TO person_id CASCADE;
SET ward.actor = 'typed 1';
SELECT note FROM ttable WHERE person_id = 2;
RESET ward.actor;
SELECT pg_temp.who('typed 1') AS two;
SELECT subject FROM ward.watches WHERE relation = 'ttable'::regclass;

-- A type that could name nobody is refused, so that the table can be read and dropped.
ALTER TYPE ttype ALTER ATTRIBUTE person_id TYPE numeric CASCADE;
ALTER TYPE ttype ALTER ATTRIBUTE person_id TYPE bigint CASCADE;
SET ward.actor = 'typed 2';
SELECT note FROM ttable WHERE person_id = 1;
RESET ward.actor;
SELECT pg_temp.who('typed 2') AS one;

-- Every row is rewritten, and an error tells of one.
SET ward.actor = 'typed 3';
ALTER TYPE ttype ALTER ATTRIBUTE note TYPE varchar(2) CASCADE;
SET ward.actor = 'typed 4';
ALTER TYPE ttype ALTER ATTRIBUTE size TYPE int CASCADE;
SET ward.actor = 'typed 5';
ALTER TYPE ttype ADD ATTRIBUTE more int CASCADE;
RESET ward.actor;
SELECT ward.sync() IS NOT NULL AS synced;
SELECT actor, manner, reason FROM ward.disclosures WHERE actor IN ('typed 3', 'typed 4', 'typed 5') ORDER BY actor;

-- The attribute goes, and the watch with it; what is watched by another one can be dropped.
ALTER TYPE ttype DROP ATTRIBUTE person_id CASCADE;
SELECT note FROM ttable ORDER BY note;
SELECT ward.watch('ttable', 'size', 'typed');
ALTER TYPE ttype RENAME ATTRIBUTE size TO number CASCADE;
SET ward.actor = 'typed 6';
DROP TABLE ttable;
RESET ward.actor;
SELECT pg_temp.who('typed 6') AS both;
DROP TYPE ttype;
