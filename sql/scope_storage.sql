--
-- Stolen storage, a lost key, sessions like the intruder's, and accesses that no rule explains.
--
SET timezone = 'UTC';
\set SHOW_CONTEXT never
SELECT ward.create_key('storage.names'), ward.create_key('storage.notes');
CREATE TABLE patient (id int PRIMARY KEY, name sealed_text('storage.names'), note sealed_text('storage.notes'), ward text);
SELECT ward.watch('patient', 'id', 'patient');
INSERT INTO patient SELECT i, 'n' || i, 'x' || i, 'w' FROM generate_series(1, 10) i;
SELECT ward.create_key('storage.none');

SELECT clock_timestamp() AS stolen \gset
SELECT pg_sleep(0.05);
-- afterwards: somebody removed, somebody changed, somebody new
DELETE FROM patient WHERE id = 3;
UPDATE patient SET ward = 'v' WHERE id = 4;
INSERT INTO patient VALUES (11, 'n11', 'x11', 'w');
SELECT subject, verdict, columns_clear, columns_sealed, reasons FROM ward.relation_scope(ARRAY['patient']::regclass[], :'stolen', of_class => 'patient') ORDER BY length(subject), subject;
-- whom the trail never met stood there then, if all writes since are known
CREATE TABLE relic (id int PRIMARY KEY, name text);
INSERT INTO relic SELECT i, 'r' || i FROM generate_series(1, 4) i;
SELECT ward.watch('relic', 'id', 'relic');
SELECT clock_timestamp() AS later \gset
DELETE FROM relic WHERE id = 2;
UPDATE relic SET name = 'changed' WHERE id = 3;
SELECT subject, verdict, reasons FROM ward.relation_scope(ARRAY['relic']::regclass[], :'later') ORDER BY 1;
DROP TABLE relic;
-- with a key
SELECT verdict, columns_clear, columns_sealed, count(*) FROM ward.relation_scope(ARRAY['patient']::regclass[], :'stolen', '{storage.names}') GROUP BY 1, 2, 3 ORDER BY 1;
-- before the first evidence nothing is certain but what was there before its watch's end
SELECT verdict, reasons, count(*) FROM ward.relation_scope(ARRAY['patient']::regclass[], '2001-01-01') GROUP BY 1, 2 ORDER BY 1, 2;
-- not all writes since are known
SELECT ward.unwatch('patient', 'id', 'test');
DELETE FROM patient WHERE id = 5;
SELECT ward.watch('patient', 'id', 'patient');
SELECT subject, verdict, reasons FROM ward.relation_scope(ARRAY['patient']::regclass[], :'stolen') WHERE subject IN ('5', '6') ORDER BY 1;
SELECT * FROM ward.relation_scope('{}', now());
SELECT * FROM ward.relation_scope(ARRAY['pg_class']::regclass[], now());
SELECT * FROM ward.relation_scope(ARRAY['patient']::regclass[], now(), '{nothing}');
SELECT * FROM ward.relation_scope(ARRAY['patient']::regclass[], now() + interval '1 hour');

-- a lost key: whose ciphertext left, whose lies there
CREATE ROLE storage_blind;
GRANT SELECT ON patient TO storage_blind;
SET ROLE storage_blind;
SET ward.actor = 'storage blind';
SELECT count(*) FROM (SELECT note FROM patient WHERE id IN (1, 2) LIMIT 5) x;
\o /dev/null
SELECT id, note FROM patient WHERE id IN (7, 8);
\o
RESET ROLE;
RESET ward.actor;
SELECT subject, verdict, columns, reasons, first_seen IS NOT NULL AS seen FROM ward.key_scope('storage.notes') WHERE subject IN ('1', '7', '8', '9') ORDER BY 1;
SELECT DISTINCT verdict, columns FROM ward.key_scope('storage.names') WHERE subject = '9';
SELECT count(*) FROM ward.key_scope('storage.none');
SELECT count(*) FROM ward.key_scope('nothing');

-- accesses that no rule explains
CREATE TABLE assignment (caseworker text, patient int);
CREATE VIEW assigned AS SELECT caseworker AS who, patient AS subject FROM assignment;
INSERT INTO assignment VALUES ('storage anna', 1), ('storage anna', 2), ('storage ben', 6);
SET ward.actor = 'storage anna';
SELECT id FROM patient WHERE id IN (1, 2, 8);
SET ward.actor = 'storage ben';
SELECT id FROM patient WHERE id = 6;
RESET ward.actor;
SELECT actor, subject FROM ward.unexplained('patient', tstzrange(NULL, NULL), 'assigned') WHERE actor IN ('storage anna', 'storage ben') ORDER BY 1, 2;
SELECT * FROM ward.unexplained('patient', tstzrange(NULL, NULL), 'assignment');
SELECT * FROM ward.unexplained('patient', NULL, 'assigned');

-- sessions like the intruder's
CREATE TABLE _ward.disclosure_like PARTITION OF _ward.disclosure FOR VALUES FROM ('2019-11-09 00:00+00') TO ('2019-11-10 00:00+00');
INSERT INTO _ward.context (node, position, at, session, session_role, current_role_name, actor, application, client) VALUES
	('like', 1, '2019-11-09 01:00+00', 'l.intruder', 'web', 'web', 'eve', 'psql', '10.1.2.3'),
	('like', 2, '2019-11-08 01:00+00', 'l.address', 'clerk', 'clerk', '', 'psql', '10.1.2.3'),
	('like', 3, '2019-11-09 02:00+00', 'l.actor', 'portal', 'portal', 'eve', 'app', '10.9.0.1'),
	('like', 4, '2019-11-09 03:00+00', 'l.made', 'backdoor', 'backdoor', '', 'x', '10.9.0.2'),
	('like', 5, '2019-11-09 03:00+00', 'l.shape', 'other', 'other', '', 'x', '10.9.0.3'),
	('like', 6, '2019-11-09 03:00+00', 'l.none', 'other', 'other', '', 'x', '10.9.0.4');
INSERT INTO _ward.event (node, position, at, context, kind, detail) VALUES
	('like', 7, '2019-11-09 01:30+00', 1, 'role.changed', '{"command": "CREATE ROLE", "changed": "backdoor"}');
INSERT INTO _ward.relation_version (relation, relid, schema_name, relation_name, attnums, columns, keys, subject_attnums, classes)
	OVERRIDING SYSTEM VALUE VALUES (-9, 0, 'public', 'patient', '{1}', '{id}', '{""}', '{1}', '{patient}');
INSERT INTO _ward.disclosure
SELECT 'like', c, f, -9, 1, 'patient', '2019-11-09 01:00+00', 1, '', '{1}', '{}', _ward.subject_set(ARRAY[c, 100]), _ward.subject_set('{1}'), 1, 0,
	'2019-11-09 01:00+00', '2019-11-09 01:00+00', 10 + c, 10 + c
FROM (VALUES (1, -771), (5, -771), (6, -772)) v(c, f);
SELECT session, role, likeness, why, people, statements_shared FROM ward.related_sessions(tstzrange('2019-11-09', '2019-11-10'), sessions => '{l.intruder}') WHERE session LIKE 'l.%';
SELECT * FROM ward.related_sessions(tstzrange('2019-11-09', '2019-11-10'));
DELETE FROM _ward.context WHERE node = 'like';
DELETE FROM _ward.event WHERE node = 'like';
DELETE FROM _ward.relation_version WHERE relation = -9;
DROP TABLE _ward.disclosure_like;

-- rights
CREATE ROLE storage_analyst IN ROLE ward_analyst;
CREATE ROLE storage_nobody;
SET ROLE storage_analyst;
SELECT count(*) > 0 AS allowed FROM ward.relation_scope(ARRAY['patient']::regclass[], now());
SELECT count(*) FROM ward.unexplained('patient', tstzrange(NULL, NULL), 'assigned');
SET ROLE storage_nobody;
SELECT count(*) FROM ward.key_scope('storage.notes');
RESET ROLE;
-- the ground on which others are excluded, of some tables: also of one that has another name now, or is gone
CREATE FUNCTION pg_temp.unwatched(relations text[]) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(DISTINCT split_part(explanation, ' ', 1), ', ') FROM ward.scope_basis('(,)', relations => $1) WHERE ground = 'tables watched' AND state = 'limited'
$$;
SELECT pg_temp.unwatched('{patient}') AS patient, pg_temp.unwatched('{public.relic}') AS gone, pg_temp.unwatched('{patient,relic}') AS both,
	(SELECT count(DISTINCT split_part(explanation, ' ', 1)) >= 2 FROM ward.scope_basis('(,)') WHERE ground = 'tables watched') AS all_of_them;
ALTER TABLE patient RENAME TO sick;
SELECT pg_temp.unwatched('{sick}') AS renamed, pg_temp.unwatched('{patient}') AS as_before;
ALTER TABLE sick RENAME TO patient;
SELECT * FROM ward.scope_basis('(,)', relations => '{assignment}');
SELECT * FROM ward.scope_basis('(,)', relations => '{patient,NULL}');
DROP VIEW assigned;
DROP TABLE patient, assignment;
DROP ROLE storage_analyst, storage_nobody, storage_blind;
