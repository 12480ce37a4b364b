--
-- Incidents over people whose keys are texts, over stolen storage and over a lost key.
--
SET timezone = 'UTC';
\set SHOW_CONTEXT never
SELECT ward.create_key('keys.citizens');
CREATE TABLE citizen_card (nid text PRIMARY KEY, name sealed_text('keys.citizens'), town text);
INSERT INTO citizen_card SELECT 'N' || i, 'c' || i, 't' FROM generate_series(1, 9) i;
SELECT ward.watch('citizen_card', 'nid', 'card', key => 'keys.citizens');
CREATE TABLE card_visit (id int PRIMARY KEY, holder text);
INSERT INTO card_visit SELECT i, 'N' || i FROM generate_series(1, 3) i;
SELECT ward.watch('card_visit', 'holder', 'card');
CREATE VIEW card_work AS SELECT nid AS subject, 'holder' AS category, CASE WHEN nid = 'N2' THEN 'minor' END AS priority FROM citizen_card;
SELECT ward.describe_subjects('card', 'card_work');
CREATE ROLE keys_analyst IN ROLE ward_analyst;
CREATE ROLE keys_blind;
GRANT SELECT ON card_work TO keys_analyst;
SET ward.actor = 'keys intruder';
SELECT town FROM citizen_card WHERE nid IN ('N1', 'N2');
RESET ward.actor;

-- Without the right to open, people are armored, and known by that.
SET ROLE keys_analyst;
SELECT ward.open_incident('cards', tstzrange(NULL, NULL), actors => '{keys intruder}') AS id \gset
SELECT subject LIKE '\\sealed:%' AS armored, category, state FROM ward.worklist WHERE incident = :id;
SELECT count(*) FROM ward.worklist WHERE incident = :id AND subject IN ('N1', 'N2');
SELECT ward.set_notification(:id, (SELECT max(subject) FROM ward.worklist WHERE incident = :id), 'notified', 'letter');
SELECT state, count(*) FROM ward.worklist WHERE incident = :id GROUP BY 1 ORDER BY 1;
-- with it they are named, and described
RESET ROLE;
SELECT ward.grant_unseal('keys.citizens', 'keys_analyst', 'test');
SET ROLE keys_analyst;
SELECT ward.describe_worklist(:id);
SELECT subject, category, priority FROM ward.worklist WHERE incident = :id ORDER BY rank, subject;
SELECT subject, verdict FROM ward.incident_scope(:id) ORDER BY 1;
SELECT ward.set_notification(:id, 'N2', 'unreachable', 'moved');
SELECT state FROM ward.notification_history(:id, 'N2', 'card') ORDER BY at DESC LIMIT 1;

-- Stolen storage: nobody is in it twice, though two tables were stolen.
SELECT ward.open_storage_incident('stolen backup', '{citizen_card,card_visit}', clock_timestamp(), of_class => 'card') AS id \gset
SELECT subject, verdict, columns_clear, columns_sealed FROM ward.incident_scope(:id) ORDER BY 1 LIMIT 4;
SELECT certain, possible, pending FROM ward.incidents WHERE incident = :id;
SELECT kind, relations, exposed_keys, as_of IS NOT NULL AS as_of FROM ward.incident_questions(:id);
SELECT ward.extend_incident(:id, 'asked anew');
SELECT count(*) FROM ward.incident_changes(:id, 1);
SELECT ward.open_storage_incident('x', '{}', now());
SELECT ward.open_storage_incident('x', '{citizen_card}', NULL);
SELECT regexp_replace(substring(ward.incident_report(:id, 'markdown') FROM 'Whoever stood[^\n]*'), ' at .*', '') AS asked;
-- A table that is no longer watched, or gone, is still asked about.
RESET ROLE;
DELETE FROM card_visit;
SELECT ward.unwatch('card_visit', 'holder', 'test');
DROP TABLE card_visit;
SET ROLE keys_analyst;
SELECT ward.extend_incident(:id, 'a table is gone');
SELECT subject, verdict, reasons FROM ward.incident_scope(:id) WHERE subject IN ('N1', 'N9') ORDER BY 1;
-- Sessions besides: who is in both is told of once, with both. Then a lost key.
SELECT ward.extend_incident(:id, 'the intruder, too', tstzrange(NULL, NULL), actors => '{keys intruder}', relations => '{citizen_card}');
SELECT subject, verdict, columns_clear, columns_sealed, statements, cardinality(sessions) AS sessions, reasons, first_position < last_position AS positions
FROM ward.incident_scope(:id) WHERE subject IN ('N1', 'N9') ORDER BY 1;
SELECT ward.extend_key_incident(:id, 'a key, too', 'keys.citizens');
SELECT subject, verdict, columns_clear, columns_sealed FROM ward.incident_scope(:id) WHERE subject IN ('N1', 'N9') ORDER BY 1;
SELECT number, kind, relations, exposed_keys FROM ward.incident_questions(:id);
SELECT regexp_replace(l, ' at [^,]*,', ' at a time,') FROM regexp_split_to_table(ward.incident_report(:id, 'markdown'), '\n') l
WHERE l ~ '^(- (Whoever|Ciphertext|Disclosures)|Certain|Of )';

-- A lost key: certain whose ciphertext left, possible who lies there.
RESET ROLE;
GRANT SELECT ON citizen_card TO keys_blind;
SET ROLE keys_blind;
SET ward.actor = 'keys blind';
\o /dev/null
SELECT nid, name FROM citizen_card WHERE nid IN ('N4', 'N5');
\o
RESET ward.actor;
SET ROLE keys_analyst;
SELECT ward.open_key_incident('x', 'nothing');
SELECT ward.open_key_incident('x', NULL);
SELECT ward.open_key_incident('x', 'keys.citizens', 'empty');
SELECT ward.open_key_incident('lost key', 'keys.citizens') AS id \gset
SELECT subject, verdict, columns_clear, columns_sealed, reasons FROM ward.incident_scope(:id) WHERE subject IN ('N4', 'N9') ORDER BY 1;
SELECT certain, possible, pending, version FROM ward.incidents WHERE incident = :id;
SELECT subject, category, state FROM ward.worklist WHERE incident = :id AND verdict = 'certain' ORDER BY 1;
SELECT count(*) FROM ward.claim_notifications(:id, 1);
SELECT ward.set_notification(:id, 'N4', 'notified', 'letter');
RESET ROLE;
SET ROLE keys_blind;
\o /dev/null
SELECT nid, name FROM citizen_card WHERE nid = 'N6';
\o
SET ROLE keys_analyst;
SELECT ward.extend_incident(:id, 'asked anew');
SELECT subject, change, was, became FROM ward.incident_changes(:id, 1) ORDER BY 1;
SELECT ward.extend_storage_incident(:id, 'a backup, too', '{citizen_card}', clock_timestamp(), of_class => 'card');
SELECT certain, possible, notified FROM ward.incidents WHERE incident = :id;
SELECT ward.extend_key_incident(:id, 'the key alone, of another time', 'keys.citizens', tstzrange('2001-01-01', '2001-01-02'), instead => true);
SELECT certain, possible FROM ward.incident_versions WHERE incident = :id ORDER BY version;
SELECT r ->> 'certain' AS certain, r -> 'columns' AS columns, jsonb_array_length(r -> 'timeline') AS bins FROM (SELECT ward.incident_report(:id, 'json')::jsonb AS r) x;
-- The timeline tells whose ciphertext left.
SELECT ward.open_key_incident('lost again', 'keys.citizens') AS other \gset
SELECT sum((b ->> 'people')::int) > 0 AS people FROM jsonb_array_elements(ward.incident_report(:other, 'json')::jsonb -> 'timeline') b;
SELECT strpos(ward.incident_report(:other, 'html'), 'Ciphertext under the key keys.citizens that left the server or was written at any time') > 0 AS asked;
RESET ROLE;
SELECT ward.revoke_unseal('keys.citizens', 'keys_analyst', 'test');
DELETE FROM _ward.subject_description WHERE class = 'card';
DROP VIEW card_work;
DROP TABLE citizen_card;
DROP ROLE keys_analyst, keys_blind;
