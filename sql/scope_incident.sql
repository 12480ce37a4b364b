--
-- Incidents: versions of the scope, what changed between them, the clock, legal hold,
-- and the worklist with the organisation's own data.
--
SET timezone = 'UTC';
\set SHOW_CONTEXT never
SELECT ward.create_key('incident.names'), ward.create_key('incident.other');
CREATE TABLE resident (id int PRIMARY KEY, name sealed_text('incident.names'), town text);
INSERT INTO resident SELECT i, 'n' || i, 't' FROM generate_series(1, 20) i;
SELECT ward.watch('resident', 'id', 'resident');
CREATE TABLE guest_house (id uuid PRIMARY KEY, name text);
INSERT INTO guest_house SELECT ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'g' || i FROM generate_series(1, 5) i;
SELECT ward.watch('guest_house', 'id', 'lodging');

SET ward.actor = 'incident one';
SELECT id, town FROM resident WHERE id IN (1, 2, 3);
SELECT count(*) FROM resident WHERE id BETWEEN 3 AND 12;
SET ward.actor = 'incident two';
SELECT id, name FROM resident WHERE id IN (3, 4) AND false;
SELECT id FROM resident WHERE id IN (3, 4, 15);
SELECT name FROM guest_house WHERE id = '00000000-0000-4000-8000-000000000002';
RESET ward.actor;

-- The organisation's own data: a view, read with the rights of whoever works the incident,
-- as its channel shows.
CREATE TABLE dossier (person int, kind text, society text, minor boolean, unsafe boolean);
INSERT INTO dossier SELECT i, 'detainee', 'society ' || i % 2, i = 2, i = 1 FROM generate_series(1, 20) i WHERE i <> 15;
CREATE VIEW dossier_work AS SELECT person AS subject, kind AS category, current_user::text AS channel, society,
	CASE WHEN minor THEN 1 END AS priority, unsafe AS unsafe_to_contact FROM dossier;
CREATE VIEW dossier_poor AS SELECT person FROM dossier;
CREATE VIEW dossier_odd AS SELECT person AS subject, 'yes' AS unsafe_to_contact FROM dossier;
SELECT ward.describe_subjects('resident', 'dossier_poor');
SELECT ward.describe_subjects('resident', 'dossier_odd');
SELECT ward.describe_subjects('ghost', 'dossier_work');
SELECT ward.describe_subjects('resident', 'dossier_work');

CREATE VIEW no_rule AS SELECT 'nobody' AS who, 1 AS subject;
GRANT SELECT ON no_rule TO PUBLIC;
CREATE ROLE incident_analyst IN ROLE ward_analyst;
CREATE ROLE incident_worker IN ROLE ward_analyst;
CREATE ROLE incident_auditor IN ROLE ward_auditor;
CREATE ROLE incident_officer IN ROLE ward_officer;
GRANT SELECT ON dossier_work TO incident_worker;

\set all_time 'tstzrange(NULL, NULL)'
SELECT ward.open_incident(NULL, :all_time);
SELECT ward.open_incident('x', NULL);
SELECT ward.open_incident('x', :all_time, known_at => now() + interval '1 day');
SELECT ward.open_incident('x', :all_time, subject_class => 'ghost');
-- who may not read the organisation's view still opens the incident
SET ROLE incident_analyst;
SELECT ward.open_incident('stolen session', :all_time, actors => '{incident one}', known_at => now() - interval '70 hours') AS id \gset
SELECT subject, verdict, category, state FROM ward.worklist WHERE incident = :id ORDER BY rank, length(subject), subject;
SET ROLE incident_worker;
SELECT ward.describe_worklist(:id);
SELECT subject, verdict, category, channel, society, priority, state, columns_clear, columns_sealed FROM ward.worklist WHERE incident = :id ORDER BY rank, length(subject), subject;
SELECT title, state, clock, time_left > '0' AND time_left <= '2 hours' AS about_two_hours, version, certain, possible, pending, must_not_be_contacted, opened_by FROM ward.incidents WHERE incident = :id;
SELECT subject, verdict, columns_clear, columns_sealed, statements, reasons FROM ward.incident_scope(:id) ORDER BY length(subject), subject;

-- a further question; somebody possible becomes certain, others are new; then one question instead
SELECT ward.extend_incident(:id, 'a second login', :all_time, actors => '{incident two}');
SELECT subject_class, subject, change, was, became FROM ward.incident_changes(:id, 1) ORDER BY subject_class, length(subject), subject;
SELECT number, since_version, until_version, kind, during, actors FROM ward.incident_questions(:id);
-- work done is kept, whatever the scope becomes
SELECT ward.set_notification(:id, '3', 'notified', 'letter 17', 'resident');
SELECT ward.extend_incident(:id, 'the first login was legitimate', :all_time, actors => '{incident two}', instead => true);
SELECT subject_class, subject, change, was, became FROM ward.incident_changes(:id, 2, 3) ORDER BY subject_class, length(subject), subject;
SELECT subject, verdict, state, proof, decided_by FROM ward.worklist WHERE incident = :id AND verdict <> 'possible' ORDER BY subject_class, length(subject), subject;
SELECT ward.extend_incident(:id, 'both again', :all_time, actors => '{incident one,incident two}', instead => true);
SELECT count(*) FROM ward.incident_changes(:id, 2, 4);
SELECT subject, verdict, state FROM ward.worklist WHERE incident = :id AND state <> 'pending' ORDER BY subject;
SELECT version, reason, certain, possible FROM ward.incident_versions WHERE incident = :id ORDER BY version;
SELECT ward.extend_incident(:id, NULL);
SELECT ward.extend_incident(:id, 'x', actors => '{incident two}');
SELECT * FROM ward.incident_changes(:id, 9);
SELECT * FROM ward.incident_scope(-1);

-- claims: nobody is given out twice, urgent people first, the unsafe never
SET ward.actor = 'anna';
SELECT subject, society, priority, columns_clear FROM ward.claim_notifications(:id, 1);
SET ward.actor = 'ben';
SELECT subject_class, subject, category FROM ward.claim_notifications(:id, 10) ORDER BY subject_class, length(subject), subject;
SELECT count(*) FROM ward.claim_notifications(:id, 10);
\set VERBOSITY terse
SELECT ward.set_notification(:id, '2', 'notified', 'call at noon', 'resident');
SELECT ward.set_notification(:id, '1', 'notified', 'letter', 'resident');
SELECT ward.set_notification(:id, '99', 'notified', 'letter', 'resident');
SELECT ward.set_notification(:id, '2', 'told', 'letter', 'resident');
SELECT ward.set_notification(:id, '4', 'notified', subject_class => 'resident');
SELECT ward.set_notification(:id, '4', 'notified', 'letter 18');
SELECT ward.set_notification(:id, '4', 'unreachable', 'moved', 'resident');
SELECT ward.set_notification(:id, '00000000-0000-4000-8000-000000000002', 'notified', 'mail 4', 'lodging');
\set VERBOSITY default
SELECT ward.release_notifications(:id);
SET ward.actor = 'anna';
SELECT ward.set_notification(:id, '2', 'notified', 'call at noon', 'resident');
SELECT ward.set_notification(:id, '1', 'pending', subject_class => 'resident');
SELECT ward.set_notification(:id, '1', 'pending', 'moved to safety', 'resident');
SELECT ward.set_notification(:id, '1', 'notified', 'visit', 'resident');
SELECT state, proof, by FROM ward.notification_history(:id, '1', 'resident');
SELECT subject, channel FROM ward.claim_notifications(:id, 5, society => 'society 0', verdict => 'possible', claim_for => '1 second') ORDER BY length(subject), subject;
SELECT count(*) FROM ward.claim_notifications(:id, 5, society => 'society 0', verdict => 'possible');
SELECT pg_sleep(1.1);
SELECT count(*) FROM ward.claim_notifications(:id, 5, society => 'society 0', verdict => 'possible');
RESET ward.actor;
SELECT society, certain, possible, certain_pending, claimed, notified, unreachable, must_not_be_contacted FROM ward.worklist_progress WHERE incident = :id ORDER BY 1;
SELECT day = current_date AS today, society, notified, unreachable FROM ward.worklist_days WHERE incident = :id ORDER BY 2;
COPY (SELECT subject, state FROM ward.worklist WHERE state = 'notified' AND subject_class = 'resident' ORDER BY length(subject), subject) TO STDOUT;

-- the clock stops at the first report
SELECT ward.record_report(:id, 'data protection authority', reference => 'R-1');
SELECT clock, time_left, reported_to, notified, unreachable FROM ward.incidents WHERE incident = :id;

-- legal hold: what the incident needs can't be destroyed
RESET ROLE;
SELECT ward.destroy_key('incident.names', 'incident.names', 'test');
SELECT ward.rotate_key('incident.names', 'test') IS NOT NULL AS rotated;
SELECT ward.destroy_key_version('incident.names', 1, 'incident.names', 'test', force => true);
SELECT _ward.evidence_holders(now() - interval '1 day', now()) = 'incident ' || :id AS held;
\set VERBOSITY terse
SELECT ward.destroy_key('incident.other', 'incident.other', 'test');
\set VERBOSITY default

-- rights
SET ROLE incident_worker;
SELECT ward.close_incident(:id, 'over');
SELECT count(*) FROM _ward.notification;
SET ROLE incident_auditor;
SELECT ward.open_incident('x', :all_time);
SELECT count(*) > 0 AS allowed FROM ward.worklist;
SELECT count(*) FROM ward.claim_notifications(:id);
SET ROLE incident_officer;
SELECT ward.close_incident(:id, 'over');
SELECT ward.close_incident(:id, '', with_pending => true);
SELECT ward.close_incident(:id, 'over', with_pending => true);
\set VERBOSITY terse
SELECT ward.extend_incident(:id, 'more');
\set VERBOSITY default
SELECT count(*) FROM ward.claim_notifications(:id);
SELECT ward.set_notification(:id, '4', 'pending', subject_class => 'resident');
RESET ROLE;
SELECT state, clock, outcome, closed_by FROM ward.incidents WHERE incident = :id;
SELECT _ward.evidence_holders(now() - interval '1 day', now());
SELECT ward.destroy_key_version('incident.names', 1, 'incident.names', 'test', force => false);

-- who did what is in the trail, without what a proof says
SELECT ward.sync() IS NOT NULL AS synced;
SELECT kind, role, actor, detail - 'known_at' - 'incident' - 'reported_at' AS detail FROM ward.events
WHERE detail ->> 'incident' = :'id' AND kind <> 'incident.read' ORDER BY position;

-- each read of the scope is itself in the trail, whoever reads and whatever is found
CREATE FUNCTION leaves(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	mark constant text := 'reader of ' || clock_timestamp();
BEGIN
	PERFORM set_config('ward.actor', mark, false);
	EXECUTE query;
	PERFORM set_config('ward.actor', '', false);
	PERFORM ward.sync();
	RETURN (SELECT string_agg(e.kind || coalesce(' ' || (e.detail ->> 'what'), ''), ', ' ORDER BY e.position) FROM ward.events e WHERE e.actor = mark);
END
$$;
GRANT ward_auditor TO incident_analyst;
SET ROLE incident_analyst;
SELECT v, leaves('SELECT * FROM ward.' || v) AS recorded, leaves('SELECT count(*) FROM ward.' || v || ' WHERE incident = -1') AS of_nothing
FROM unnest('{incidents,incident_versions,worklist,worklist_progress,worklist_days}'::text[]) v;
SELECT q, leaves('SELECT * FROM ward.' || replace(q, 'ID', :'id')) AS recorded FROM unnest(ARRAY[
	'incident_scope(ID)', 'incident_changes(ID, 1)', 'incident_questions(ID)', 'incident_report(ID, ''json'')', 'notification_history(ID, ''1'', ''resident'')',
	'breach_scope(''(,)'')', 'breach_summary(''(,)'')', 'subject_history(''resident'', 1)', 'subject_history(''resident'', ''1'')',
	'scope_basis(''(,)'')', 'relation_scope(''{resident}'', clock_timestamp())', 'key_scope(''incident.names'')',
	'related_sessions(''(,)'', actors => ''{incident one}'')', 'unexplained(''resident'', ''(,)'', ''no_rule'')']) q;
RESET ROLE;
DROP FUNCTION leaves(text);
DROP VIEW no_rule;

DELETE FROM _ward.subject_description;
DROP VIEW dossier_work, dossier_poor, dossier_odd;
DROP TABLE resident, guest_house, dossier;
DROP ROLE incident_analyst, incident_worker, incident_auditor, incident_officer;
