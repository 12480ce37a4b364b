--
-- Incidents over people whose keys are texts, and over stolen storage.
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
GRANT SELECT ON card_work TO keys_analyst;
SET ward.actor = 'keys intruder';
SELECT town FROM citizen_card WHERE nid IN ('N1', 'N2');
RESET ward.actor;

-- Without the right to open, people are armored, and known by that.
SET ROLE keys_analyst;
SELECT ward.open_incident('cards', tstzrange(NULL, NULL), actors => '{keys intruder}') AS id \gset
SELECT subject LIKE '\\sealed:%' AS armored, category, state FROM ward.worklist WHERE incident = :id;
SELECT count(*) FROM ward.worklist WHERE incident = :id AND subject LIKE '%N1%';
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
SELECT relations, exposed_keys, as_of IS NOT NULL AS as_of FROM ward.incident_questions(:id);
\set VERBOSITY sqlstate
SELECT ward.extend_incident(:id, 'sessions', tstzrange(NULL, NULL)) IS NULL;
\set VERBOSITY default
SELECT ward.extend_incident(:id, 'asked anew');
SELECT count(*) FROM ward.incident_changes(:id, 1);
SELECT ward.open_storage_incident('x', '{}', now());
SELECT ward.open_storage_incident('x', '{citizen_card}', NULL);
SELECT regexp_replace(substring(ward.incident_report(:id, 'markdown') FROM 'Whoever stood[^\n]*'), ' at .*', '') AS asked;
RESET ROLE;
SELECT ward.revoke_unseal('keys.citizens', 'keys_analyst', 'test');
DELETE FROM _ward.subject_description WHERE class = 'card';
DROP VIEW card_work;
DROP TABLE citizen_card, card_visit;
DROP ROLE keys_analyst;
