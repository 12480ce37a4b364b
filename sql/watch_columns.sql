--
-- Columns in the record: in clear, or as ciphertext. What a statement opened counts as seen
-- in clear, also where it opened it for a condition: wider, never narrower.
--
\set SHOW_CONTEXT never
SELECT ward.create_key('watch.columns');
CREATE TABLE kperson (id int PRIMARY KEY, name sealed_text('watch.columns'), phone sealed_text('watch.columns'), town text);
INSERT INTO kperson VALUES (1, 'Anna', '111', 'Bern'), (2, 'Bea', '222', 'Biel');
SELECT ward.watch('kperson', 'id', 'kp');
CREATE ROLE columns_reader;
CREATE ROLE columns_blind;
GRANT SELECT ON kperson TO columns_reader, columns_blind;
SELECT ward.grant_unseal('watch.columns', 'columns_reader', 'test');
SET ROLE columns_blind;
SET ward.actor = 'columns 1';
\pset format unaligned
\o /dev/null
SELECT * FROM kperson WHERE id = 1;
\o
SET ward.actor = 'columns 2';
SELECT id, town FROM kperson WHERE name = 'Anna';
SET ROLE columns_reader;
SET ward.actor = 'columns 3';
SELECT * FROM kperson WHERE id = 1;
SET ward.actor = 'columns 4';
SELECT id, town FROM kperson WHERE name = 'Anna';
SET ward.actor = 'columns 5';
SELECT town FROM kperson WHERE name LIKE 'B%';
SET ward.actor = 'columns 6';
SELECT count(*) FROM kperson WHERE phone::text > '1';
RESET ROLE;
RESET ward.actor;
\pset format aligned
SELECT ward.sync() IS NOT NULL AS synced;
SELECT actor, manner, columns_clear, columns_sealed, opens, subjects FROM ward.disclosures WHERE actor LIKE 'columns _' ORDER BY first_position;
SELECT ward.revoke_unseal('watch.columns', 'columns_reader', 'test');
DROP TABLE kperson;
DROP ROLE columns_reader, columns_blind;
