--
-- What becomes of a watch: several columns, partitions, children, renames, other types,
-- plans that were made before.
--
\set SHOW_CONTEXT never
CREATE FUNCTION pg_temp.who(mark text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(subject || CASE verdict WHEN 'possible' THEN '?' ELSE '' END, ' ' ORDER BY subject_id)
	FROM ward.breach_scope(tstzrange(now() - interval '1 hour', NULL), actors => ARRAY[mark], subject_class => 'tp')
$$;

-- A row about two people, and a class of its own for a third.
CREATE TABLE tlink (id int PRIMARY KEY, a smallint, b bigint, helper int, note text);
INSERT INTO tlink VALUES (1, 1, 2, 90, 'x'), (2, 3, NULL, 91, 'y');
-- A plan made before the table is watched.
PREPARE t_before AS SELECT note FROM tlink WHERE id = $1;
SET plan_cache_mode = force_generic_plan;
EXECUTE t_before(1);
CREATE FUNCTION t_note(int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT note FROM tlink WHERE id = $1); END $$;
SELECT t_note(1);
SELECT ward.watch('tlink', 'a', 'tp');
SELECT ward.watch('tlink', 'b', 'tp');
SELECT ward.watch('tlink', 'helper', 'thelper');
SET ward.actor = 'table 1';
EXECUTE t_before(1);
SET ward.actor = 'table 2';
SELECT t_note(2);
RESET ward.actor;
SELECT pg_temp.who('table 1') AS both, pg_temp.who('table 2') AS one;
SELECT subject_class, subject FROM ward.breach_scope(tstzrange(now() - interval '1 hour', NULL), actors => '{table 1}') ORDER BY 1, 2;
-- One column less: the plan is told again.
SELECT ward.unwatch('tlink', 'b', 'no longer about somebody');
SET ward.actor = 'table 3';
EXECUTE t_before(1);
SELECT ward.unwatch('tlink', reason => 'end');
SET ward.actor = 'table 4';
EXECUTE t_before(1);
RESET ward.actor;
SELECT pg_temp.who('table 3') AS a_alone, pg_temp.who('table 4') AS nobody;
RESET plan_cache_mode;
-- Undone watches were none.
BEGIN;
SELECT ward.watch('tlink', 'a', 'tp');
ROLLBACK;
SET ward.actor = 'table 5';
EXECUTE t_before(1);
RESET ward.actor;
SELECT pg_temp.who('table 5') AS nobody;
-- They hold at once in their own transaction, the second as the first, and after one is undone.
BEGIN;
SELECT ward.watch('tlink', 'a', 'tp');
SET LOCAL ward.actor = 'table 6';
SELECT note FROM tlink WHERE id = 1;
ROLLBACK;
BEGIN;
SELECT ward.watch('tlink', 'a', 'tp');
SET LOCAL ward.actor = 'table 7';
SELECT note FROM tlink WHERE id = 1;
SAVEPOINT one;
SELECT ward.unwatch('tlink', 'a');
SET LOCAL ward.actor = 'table 8';
SELECT note FROM tlink WHERE id = 1;
ROLLBACK TO one;
SET LOCAL ward.actor = 'table 9';
SELECT note FROM tlink WHERE id = 1;
ROLLBACK;
SELECT pg_temp.who('table 6') AS first, pg_temp.who('table 7') AS second, pg_temp.who('table 8') AS unwatched, pg_temp.who('table 9') AS again;
-- Not while this session is in the middle of reading the table.
BEGIN;
DECLARE reading CURSOR FOR SELECT note FROM tlink;
FETCH 1 FROM reading;
SELECT ward.watch('tlink', 'a', 'tp');
ROLLBACK;

-- Partitions: with columns in another order, made later, attached, detached.
CREATE TABLE tpart (id int, person_id int, note text) PARTITION BY RANGE (id);
CREATE TABLE tpart_0 PARTITION OF tpart FOR VALUES FROM (0) TO (10);
CREATE TABLE tpart_1 (note text, gone int, person_id int, id int);
ALTER TABLE tpart_1 DROP COLUMN gone;
ALTER TABLE tpart ATTACH PARTITION tpart_1 FOR VALUES FROM (10) TO (20);
INSERT INTO tpart SELECT i, 1000 + i, 'n' FROM generate_series(0, 19) i;
PREPARE t_part AS SELECT note FROM tpart WHERE id = $1;
EXECUTE t_part(1);
SELECT ward.watch('tpart', 'person_id', 'tp');
SET ward.actor = 'part 1';
EXECUTE t_part(1);
SELECT note FROM tpart WHERE id = 11;
SET ward.actor = 'part 2';
SELECT note FROM tpart_1 WHERE id = 12;
CREATE TABLE tpart_2 PARTITION OF tpart FOR VALUES FROM (20) TO (30);
CREATE TABLE tpart_3 (id int, note text, person_id int);
INSERT INTO tpart_3 VALUES (31, 'n', 1031);
ALTER TABLE tpart ATTACH PARTITION tpart_3 FOR VALUES FROM (30) TO (40);
SET ward.actor = 'part 3';
INSERT INTO tpart VALUES (21, 1021, 'n');
SELECT note FROM tpart_3;
UPDATE tpart SET id = 22 WHERE id = 13;
ALTER TABLE tpart DETACH PARTITION tpart_0;
SET ward.actor = 'part 4';
SELECT note FROM tpart_0 WHERE id = 2;
RESET ward.actor;
SELECT n, pg_temp.who('part ' || n) FROM generate_series(1, 4) n;
-- A partition that is watched by itself, too, is so by both, also read through its root.
SELECT ward.watch('tpart_1', 'id', 'tp');
SET ward.actor = 'part 6';
SELECT note FROM tpart WHERE id = 15;
RESET ward.actor;
SELECT pg_temp.who('part 6');
ALTER TABLE tpart DETACH PARTITION tpart_1;
SET ward.actor = 'part 5';
SELECT note FROM tpart_1 WHERE id = 14;
RESET ward.actor;
SELECT pg_temp.who('part 5');
SELECT relation, subject FROM ward.watches WHERE class = 'tp' ORDER BY relation::text;

-- Inheritance: a child is watched through its parent, also one that is made later; one
-- that inherits no longer is not.
CREATE TABLE tbase (person_id int, note text);
CREATE TABLE tchild (extra int, person_id int, note text);
ALTER TABLE tchild INHERIT tbase;
INSERT INTO tbase VALUES (2001, 'n');
INSERT INTO tchild VALUES (0, 2002, 'n');
SELECT ward.watch('tbase', 'person_id', 'tp');
CREATE TABLE tgrandchild (more int) INHERITS (tchild);
INSERT INTO tgrandchild VALUES (0, 2003, 'n', 0);
SET ward.actor = 'base 1';
SELECT note FROM tbase ORDER BY person_id;
SET ward.actor = 'base 2';
SELECT note FROM tgrandchild;
SET ward.actor = 'base 3';
SELECT note FROM ONLY tbase;
-- With two watched parents, of both.
CREATE TABLE tother (helper int);
SELECT ward.watch('tother', 'helper', 'tp');
CREATE TABLE tboth (id int) INHERITS (tbase, tother);
INSERT INTO tboth VALUES (2004, 'n', 2005, 1);
SET ward.actor = 'base 5';
SELECT note FROM tboth;
SET ward.actor = 'base 6';
SELECT note FROM tbase WHERE person_id = 2004;
SELECT helper FROM tother;
ALTER TABLE tchild NO INHERIT tbase;
SET ward.actor = 'base 4';
SELECT note FROM tchild;
RESET ward.actor;
SELECT n, pg_temp.who('base ' || n) FROM generate_series(1, 6) n;

-- Names and types.
CREATE SCHEMA "Odd schema";
CREATE TABLE "Odd schema"."Odd ""table" (id int PRIMARY KEY, "Person's id" int, note text);
INSERT INTO "Odd schema"."Odd ""table" VALUES (1, 3001, 'n');
SELECT ward.watch('"Odd schema"."Odd ""table"', 'Person''s id', 'tp');
ALTER TABLE "Odd schema"."Odd ""table" RENAME COLUMN "Person's id" TO person_id;
ALTER TABLE "Odd schema"."Odd ""table" RENAME TO tnamed;
ALTER TABLE "Odd schema".tnamed SET SCHEMA public;
ALTER TABLE tnamed ALTER COLUMN person_id TYPE bigint;
INSERT INTO tnamed VALUES (2, 3000000000, 'n');
SET ward.actor = 'name 1';
SELECT note FROM tnamed ORDER BY id;
RESET ward.actor;
SELECT pg_temp.who('name 1');
-- A type that could not name the people of its class is refused, and one that could name none.
ALTER TABLE tnamed ALTER COLUMN person_id TYPE numeric;
ALTER TABLE tnamed ALTER COLUMN person_id TYPE text;
ALTER TABLE tnamed ALTER COLUMN person_id TYPE uuid USING NULL;
SELECT relation, subject FROM ward.watches WHERE relation = 'tnamed'::regclass;
ALTER TABLE tnamed DROP COLUMN person_id;
SELECT relation, subject FROM ward.watches WHERE relation = 'tnamed'::regclass;

-- Only officers; each of it is in the trail.
CREATE ROLE tables_officer IN ROLE ward_officer;
CREATE ROLE tables_auditor IN ROLE ward_auditor;
SET ROLE tables_auditor;
SELECT ward.unwatch('tbase');
SET ROLE tables_officer;
SELECT ward.unwatch('tbase', reason => 'moved away');
RESET ROLE;
SELECT ward.sync() IS NOT NULL AS synced;
SELECT kind, detail ->> 'relation' AS relation, detail ->> 'subject' AS subject, detail ->> 'reason' AS reason FROM ward.events
 WHERE kind LIKE 'watch.%' AND detail ->> 'class' IN ('tp', 'thelper') ORDER BY position;
DROP ROLE tables_officer, tables_auditor;
DROP TABLE tlink, tpart, tpart_0, tpart_1, tbase, tchild, tgrandchild, tboth, tother, tnamed;
DROP FUNCTION t_note(int);
DROP SCHEMA "Odd schema";
