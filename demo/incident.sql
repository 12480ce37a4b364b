-- The second act: an incident. Run by psql as postgres, who acts as officer and analyst, with
-- the variables since and until.
\set QUIET on
\pset footer off
\pset border 1
\pset linestyle unicode
-- Where the organisation itself keeps whom to tell, how, and who is in danger if told.
CREATE VIEW registry.person_to_tell AS
SELECT p.id AS subject, p.status AS category, p.contact_channel AS channel, s.name AS society,
       array_position(ARRAY['unaccompanied_minor', 'detained', 'missing', 'displaced', 'safe'], p.status) AS priority,
       p.unsafe_to_contact
  FROM registry.person p JOIN registry.society s ON s.id = p.society_id;
GRANT SELECT ON registry.person_to_tell TO analyst;
SELECT ward.describe_subjects('person', 'registry.person_to_tell') \g /dev/null

SET ROLE analyst;
\timing on
\echo
\echo Opened by an analyst: the scope is frozen, evidence and keys are on hold, the 72 hours count.
SELECT ward.open_incident('Stolen login of a caseworker', tstzrange(:'since', :'until'),
	roles => ARRAY['caseworker_07']::name[], applications => ARRAY['psql'], known_at => now() - interval '6 hours') AS incident;
\timing off
SELECT ward.describe_incident(max(incident),
	nature => 'Somebody used the stolen login of a caseworker with psql, to read names, numbers and addresses of people in the registry.',
	consequences => 'People in detention or in hiding may be found by those they fear; families may be blackmailed.',
	measures => 'The login is locked, its sessions are ended, the keys it could use are frozen until new ones are made.',
	advice => 'Do not answer calls that ask about your family. Ask your national society, whose number you know, whether a message is real.',
	contact => 'Data protection office, dpo@example.org') FROM ward.incidents \g /dev/null
SELECT incident, title, clock, time_left, certain, possible, must_not_be_contacted AS unsafe FROM ward.incidents;
