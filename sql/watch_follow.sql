--
-- Rows that name people through the table that they refer to.
--
\set SHOW_CONTEXT never
CREATE TABLE fperson (id int PRIMARY KEY, name text);
CREATE TABLE fmessage (id bigint PRIMARY KEY, person_id int REFERENCES fperson, body text);
CREATE TABLE fattachment (id int PRIMARY KEY, message_id int REFERENCES fmessage ON DELETE CASCADE, bytes text);
CREATE TABLE fscan (id int PRIMARY KEY, attachment_id int REFERENCES fattachment ON DELETE CASCADE, result text);
INSERT INTO fperson SELECT i, 'p' || i FROM generate_series(1, 20) i;
INSERT INTO fmessage SELECT 100 + i, i, 'm' FROM generate_series(1, 20) i;
INSERT INTO fattachment SELECT 1000 + i, 100 + i, 'b' FROM generate_series(1, 20) i;
INSERT INTO fattachment VALUES (1100, NULL, 'stray');
INSERT INTO fscan SELECT 10000 + i, 1000 + i, 'clean' FROM generate_series(1, 20) i;

-- In the wrong order the column is taken at its word, and the officer is told later.
SELECT ward.watch('fattachment', 'message_id', 'fp');
SELECT ward.watch('fmessage', 'person_id', 'fp');
SELECT ward.watch('fattachment', 'message_id', 'fp');
SELECT ward.watch('fscan', 'attachment_id', 'fp');
-- refers to a column that names people itself: nothing to follow
SELECT ward.watch('fperson', 'id', 'fp');
SELECT ward.watch('fmessage', 'person_id', 'fp');
SELECT relation, subject, follows FROM ward.watches WHERE class = 'fp' ORDER BY 1;
SELECT ward.watch('fattachment', 'message_id', 'fp', key => 'any');

CREATE FUNCTION pg_temp.who(mark text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(subject || CASE verdict WHEN 'possible' THEN '?' ELSE '' END, ' ' ORDER BY subject_id)
	FROM ward.breach_scope(tstzrange(now() - interval '1 hour', NULL), actors => ARRAY[mark], subject_class => 'fp')
$$;
SET ward.actor = 'follow 1';
SELECT bytes FROM fattachment WHERE id = 1003;
SET ward.actor = 'follow 2';
SELECT result FROM fscan WHERE id IN (10004, 10005) ORDER BY id;
SET ward.actor = 'follow 3';
SELECT count(*) FROM fscan WHERE id < 10010;
SET ward.actor = 'follow 4';
UPDATE fattachment SET bytes = 'new' WHERE id = 1006;
SET ward.actor = 'follow 5';
SELECT s.result FROM fscan s JOIN fattachment a ON a.id = s.attachment_id WHERE a.message_id = 107;
SET ward.actor = 'follow 6';
-- message and attachment in one statement, which shows neither to itself
WITH m AS (INSERT INTO fmessage VALUES (200, 8, 'new') RETURNING id)
INSERT INTO fattachment SELECT 2000, id FROM m;
SET ward.actor = 'follow 7';
-- a cascade deletes attachments and scans of messages that are gone by then
DELETE FROM fmessage WHERE id = 109;
SET ward.actor = 'follow 8';
SELECT bytes FROM fattachment WHERE id = 1100;
SET ward.actor = 'follow 9';
BEGIN;
DELETE FROM fmessage WHERE id = 110;
ROLLBACK;
SET ward.actor = 'follow 10';
SELECT length(bytes) / 0 FROM fattachment WHERE id = 1011;
SET ward.actor = 'follow 11';
ALTER TABLE fscan ALTER COLUMN result SET NOT NULL;
-- a reference that leads nowhere
SET ward.actor = 'follow 12';
SET session_replication_role = replica;
INSERT INTO fattachment VALUES (3000, 999, 'lost');
RESET session_replication_role;
SELECT bytes FROM fattachment WHERE id = 3000;
-- COPY has no plan; a drop names those who go with it, though what they refer to goes first
SET ward.actor = 'follow 14';
COPY fattachment FROM stdin;
5000	115	copied
5001	\N	copied
\.
SET ward.actor = 'follow 15';
CREATE TABLE fnote (id int PRIMARY KEY, message_id int REFERENCES fmessage);
INSERT INTO fnote VALUES (1, 116), (2, 117);
SELECT ward.watch('fnote', 'message_id', 'fp');
SET ward.actor = 'follow 16';
TRUNCATE fnote;
INSERT INTO fnote VALUES (1, 118);
SET ward.actor = 'follow 17';
DROP TABLE fnote;
RESET ward.actor;
SELECT n, pg_temp.who('follow ' || n) FROM generate_series(1, 17) n WHERE n <> 13;
SELECT verdict, people, regexp_replace(note, '; \d+ blind spots.*', '') AS note FROM ward.breach_summary(tstzrange(now() - interval '1 hour', NULL), actors => '{follow 8,follow 12}', subject_class => 'fp');
SELECT manner, reason, subjects, count(*) FROM ward.disclosures WHERE actor IN ('follow 8', 'follow 12') GROUP BY 1, 2, 3 ORDER BY 1, 2;
-- Later deletes lose nobody.
DELETE FROM fmessage;
SELECT pg_temp.who('follow 1') AS still;

-- What is followed can't be taken away unnoticed.
SELECT ward.unwatch('fmessage');
SELECT ward.watch('fmessage', 'person_id', 'another');
ALTER TABLE fmessage RENAME COLUMN id TO number;
ALTER TABLE fmessage RENAME TO fletter;
INSERT INTO fletter VALUES (300, 12, 'x');
INSERT INTO fattachment VALUES (4000, 300, 'x');
SET ward.actor = 'follow 13';
SELECT bytes FROM fattachment WHERE id = 4000;
RESET ward.actor;
SELECT pg_temp.who('follow 13');
DROP TABLE fletter CASCADE;
SELECT relation, subject, follows FROM ward.watches WHERE class = 'fp' ORDER BY 1;

-- Keys of other types; a table that refers to itself; two people in the row referred to;
-- partitions at the far end.
CREATE TABLE fdossier (code text PRIMARY KEY, a uuid, b uuid, parent varchar(10) REFERENCES fdossier);
INSERT INTO fdossier VALUES ('c1', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002', NULL),
	('c2', '00000000-0000-0000-0000-000000000003', NULL, 'c1');
CREATE TABLE fpage (id int PRIMARY KEY, code varchar(20) REFERENCES fdossier (code));
INSERT INTO fpage VALUES (1, 'c1'), (2, 'c2');
SELECT ward.watch('fdossier', 'a', 'fu');
SELECT ward.watch('fdossier', 'b', 'fu');
SELECT ward.watch('fdossier', 'parent', 'fu');
SELECT ward.watch('fpage', 'code', 'fu');
CREATE FUNCTION pg_temp.whou(mark text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(right(subject, 2) || CASE verdict WHEN 'possible' THEN '?' ELSE '' END, ' ' ORDER BY subject)
	FROM ward.breach_scope(tstzrange(now() - interval '1 hour', NULL), actors => ARRAY[mark], subject_class => 'fu')
$$;
SET ward.actor = 'follow 20';
SELECT id FROM fpage WHERE id = 1;
SET ward.actor = 'follow 21';
SELECT id FROM fpage WHERE id = 2;
SET ward.actor = 'follow 22';
SELECT code FROM fdossier WHERE code = 'c2';
RESET ward.actor;
SELECT pg_temp.whou('follow 20'), pg_temp.whou('follow 21'), pg_temp.whou('follow 22');
CREATE TABLE fp_root (id int PRIMARY KEY, person_id int) PARTITION BY RANGE (id);
CREATE TABLE fp_low PARTITION OF fp_root FOR VALUES FROM (0) TO (10);
CREATE TABLE fp_high (person_id int, id int NOT NULL);
ALTER TABLE fp_root ATTACH PARTITION fp_high FOR VALUES FROM (10) TO (20);
CREATE TABLE fp_leaf (id int, root_id int REFERENCES fp_root) PARTITION BY LIST (id);
CREATE TABLE fp_leaf_1 PARTITION OF fp_leaf DEFAULT;
INSERT INTO fp_root VALUES (1, 31), (11, 32);
INSERT INTO fp_leaf VALUES (1, 1), (2, 11);
SELECT ward.watch('fp_root', 'person_id', 'fp');
SELECT ward.watch('fp_leaf', 'root_id', 'fp');
SET ward.actor = 'follow 30';
SELECT * FROM fp_leaf WHERE id = 1;
SET ward.actor = 'follow 31';
SELECT * FROM fp_leaf_1 WHERE id = 2;
RESET ward.actor;
SELECT pg_temp.who('follow 30'), pg_temp.who('follow 31');
-- Written by hand: a watch that leads to a table also says to which of its columns.
\set VERBOSITY terse
INSERT INTO _ward.watch (target, subject, class, follows) VALUES ('fp_low', 'person_id', 'fp', 'fp_root');
\set VERBOSITY default
DROP TABLE fp_leaf, fp_root, fpage, fdossier, fscan, fattachment, fperson;
