--
-- People who are gone: deleted, renumbered, moved between tables, anonymised, erased. They
-- stay in the scope, the history, incidents and worklists, named by the key that they had.
--
SET timezone = 'UTC';
\set SHOW_CONTEXT never
SELECT ward.create_key('gone.names');
CREATE TABLE refugee (id int PRIMARY KEY, name sealed_text('gone.names'), camp text);
CREATE TABLE archive (id int PRIMARY KEY, name sealed_text('gone.names'), camp text);
INSERT INTO refugee SELECT i, 'r' || i, 'c' FROM generate_series(1, 9) i;
SELECT ward.watch('refugee', 'id', 'refugee'), ward.watch('archive', 'id', 'refugee');
CREATE TABLE permit (code text PRIMARY KEY, name text);
INSERT INTO permit SELECT 'P' || i, 'p' || i FROM generate_series(1, 6) i;
SELECT ward.create_key('gone.codes');
SELECT ward.watch('permit', 'code', 'permit', key => 'gone.codes');
SELECT ward.grant_unseal('gone.codes', current_user, 'test');

SET ward.actor = 'gone intruder';
\o /dev/null
SELECT id, name FROM refugee WHERE id BETWEEN 1 AND 6;
SELECT code, name FROM permit WHERE code IN ('P1', 'P2', 'P3', 'P4');
\o
SET ward.actor = 'gone clerk';
CREATE FUNCTION pg_temp.who(mark text, class text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(subject || CASE verdict WHEN 'possible' THEN '?' ELSE '' END, ' ' ORDER BY subject)
	FROM ward.breach_scope(tstzrange(now() - interval '1 hour', NULL), actors => ARRAY[mark], subject_class => class)
$$;
SELECT clock_timestamp() AS stolen \gset
SELECT pg_sleep(0.01);
-- deleted
DELETE FROM refugee WHERE id = 1;
DELETE FROM permit WHERE code = 'P1';
-- renumbered: the trail has both numbers
UPDATE refugee SET id = 102 WHERE id = 2;
UPDATE permit SET code = 'P102' WHERE code = 'P2';
-- moved
WITH moved AS (DELETE FROM refugee WHERE id = 3 RETURNING *) INSERT INTO archive SELECT * FROM moved;
-- anonymised
UPDATE refugee SET name = NULL, camp = NULL WHERE id = 4;
UPDATE permit SET name = NULL WHERE code = 'P3';
RESET ward.actor;

SELECT pg_temp.who('gone intruder', 'refugee') AS read, pg_temp.who('gone clerk', 'refugee') AS written;
SELECT pg_temp.who('gone intruder', 'permit') AS read, pg_temp.who('gone clerk', 'permit') AS written;
SELECT k, string_agg(DISTINCT h.actor || ' ' || h.relation || ' ' || h.manner, ', ' ORDER BY h.actor || ' ' || h.relation || ' ' || h.manner) AS history
FROM unnest('{1,2,102,3,4}'::int[]) k, ward.subject_history('refugee', k) h WHERE h.actor LIKE 'gone %' GROUP BY 1 ORDER BY 1;
SELECT string_agg(DISTINCT h.manner, ', ' ORDER BY h.manner) AS history FROM ward.subject_history('permit', 'P2') h WHERE h.actor LIKE 'gone %';
-- a stolen backup had them under the keys that they had then
SELECT subject, verdict, reasons FROM ward.relation_scope('{refugee}', :'stolen') WHERE subject IN ('1', '2', '102', '3', '4', '9') ORDER BY length(subject), subject;
SELECT subject, verdict FROM ward.relation_scope('{permit}', :'stolen') ORDER BY length(subject), subject;
SELECT subject, verdict, reasons FROM ward.key_scope('gone.names') WHERE subject IN ('1', '2', '102', '3', '4') ORDER BY length(subject), subject;

-- an incident names them, and people can be told
SELECT ward.open_incident('gone', tstzrange(NULL, NULL), actors => '{gone intruder}') AS id \gset
SELECT subject_class, string_agg(subject, ' ' ORDER BY subject) AS people FROM ward.worklist WHERE incident = :id GROUP BY 1 ORDER BY 1;
SELECT ward.set_notification(:id, '1', 'notified', 'letter to the family', 'refugee');
SELECT ward.set_notification(:id, 'P2', 'notified', 'letter', 'permit');

-- erased: the rows, the table, the watch; then the key that names them
SET ward.actor = 'gone clerk';
DELETE FROM refugee;
RESET ward.actor;
DROP TABLE refugee;
DROP TABLE archive;
DROP TABLE permit;
SELECT pg_temp.who('gone intruder', 'refugee') AS refugees, pg_temp.who('gone intruder', 'permit') AS permits;
SELECT pg_temp.who('gone intruder', 'refugee') = string_agg(subject, ' ' ORDER BY subject) AS same
FROM ward.breach_scope(tstzrange(now() - interval '1 hour', NULL), actors => '{gone intruder}', relations => '{refugee}');
SELECT subject_class, string_agg(subject, ' ' ORDER BY subject) AS people FROM ward.incident_scope(:id) GROUP BY 1 ORDER BY 1;
SELECT subject, state FROM ward.worklist WHERE incident = :id AND state <> 'pending' ORDER BY 1;
-- the index is derived: a new one names them, too
SELECT ward.rebuild_index() IS NOT NULL AS rebuilt;
SELECT pg_temp.who('gone intruder', 'refugee') AS refugees, pg_temp.who('gone intruder', 'permit') AS permits;
-- while the incident is open its keys stay; once they are destroyed, nobody is named by
-- them any more, and nobody is lost
\set VERBOSITY terse
SELECT ward.destroy_key('gone.codes', 'gone.codes', 'test');
\set VERBOSITY default
SELECT ward.close_incident(:id, 'over', with_pending => true);
SELECT ward.destroy_key('gone.codes', 'gone.codes', 'test') IS NOT NULL AS destroyed;
SELECT count(*) AS people, count(*) FILTER (WHERE subject LIKE 'P%') AS named
FROM ward.breach_scope(tstzrange(now() - interval '1 hour', NULL), actors => '{gone intruder}', subject_class => 'permit');
SELECT subject LIKE 'P%' AS named, state FROM ward.worklist WHERE incident = :id AND subject_class = 'permit' ORDER BY 2;
