--
-- Scope: whose data, which columns, certain or only possible. The index's rows are
-- put in by hand (another node's, so that the worker's don't meet them).
--
CREATE TABLE public.person (id int PRIMARY KEY, name text, phone text);
INSERT INTO public.person SELECT i, 'n' || i, 'p' || i FROM generate_series(1, 20) i;

CREATE TABLE _ward.disclosure_test PARTITION OF _ward.disclosure FOR VALUES FROM ('2021-11-09 00:00+00') TO ('2021-11-11 00:00+00');
INSERT INTO _ward.context (node, position, at, session, session_role, current_role_name, actor, application, client) VALUES
	('test', 1, '2021-11-09 01:00+00', 's.intruder', 'caseworker', 'caseworker', NULL, 'psql', '10.1.2.3'),
	('test', 2, '2021-11-09 01:00+00', 's.web', 'web', 'web', 'alice', 'app', '10.9.0.1'),
	('test', 3, '2021-11-09 01:00+00', 's.web', 'web', 'reader', 'bob', 'app', '10.9.0.1'),
	('test', 4, '2021-11-09 01:00+00', 's.local', 'postgres', 'postgres', '', '', NULL);
INSERT INTO _ward.relation_version (relation, relid, schema_name, relation_name, attnums, columns, keys, subject_attnums, classes)
	OVERRIDING SYSTEM VALUE VALUES
	(-1, 'public.person'::regclass, 'public', 'person', '{1,2,3}', '{id,name,phone}', '{"",k,k}', '{1}', '{person}'),
	(-2, 0, 'aid', 'Visit', '{1,2,4}', '{id,person,note}', '{"","",""}', '{2}', '{person}'),
	(-3, 0, 'aid', 'cat', '{1}', '{id}', '{""}', '{1}', '{animal}');
INSERT INTO _ward.statement VALUES (-77, 'SELECT name FROM person WHERE id = $1', 1);

CREATE FUNCTION pg_temp.put(context int, at text, manner int, reason text, relation int, clear int2[], sealed int2[],
	subjects bigint[], statements bigint[] DEFAULT '{1}', class text DEFAULT 'person') RETURNS void LANGUAGE sql AS $$
	INSERT INTO _ward.disclosure
	SELECT 'test', context, CASE WHEN manner = 1 THEN -77 ELSE 0 END, relation, (SELECT subject_attnums[1] FROM _ward.relation_version r WHERE r.relation = put.relation), class,
		date_trunc('minute', ('2021-11-09 ' || at || '+00')::timestamptz), manner, reason, clear, sealed,
		_ward.subject_set(subjects), _ward.subject_set(statements), cardinality(statements), 0,
		('2021-11-09 ' || at || '+00')::timestamptz, ('2021-11-09 ' || at || '+00')::timestamptz + interval '1 second',
		n, n FROM (SELECT 100 + count(*) AS n FROM _ward.disclosure WHERE node = 'test') x
$$;
-- the intruder: look-ups of 1..3 with names open, of 3..4 as ciphertext, a join, a count over all
SELECT pg_temp.put(1, '02:00:05', 1, '', -1, '{1,2}', '{3}', '{1,2,3}', '{1,2,3}');
SELECT pg_temp.put(1, '02:01:05', 1, '', -1, '{1}', '{2,3}', '{3,4}', '{4}');
SELECT pg_temp.put(1, '02:02:05', 1, '', -2, '{2,4}', '{}', '{2,900}', '{5}');
SELECT pg_temp.put(1, '02:03:05', 2, '', -1, '{1}', '{}', '{1,2,3,4,5,6,7,8,9,10}', '{6}');
SELECT pg_temp.put(1, '02:04:05', 3, 'semi join', -1, '{1}', '{2}', '{9,10,11}', '{7}');
SELECT pg_temp.put(1, '02:05:05', 1, 'small_aggregate', -1, '{1}', '{}', '{11}', '{8}');
SELECT pg_temp.put(1, '02:06:05', 1, '', -3, '{1}', '{}', '{1}', '{9}', 'animal');
-- colleagues
SELECT pg_temp.put(2, '02:00:30', 1, '', -1, '{1,2}', '{}', '{7}');
SELECT pg_temp.put(3, '03:00:30', 6, '', -1, '{1,3}', '{}', '{8}');

\set day 'tstzrange(''2021-11-09'', ''2021-11-10'')'
SET timezone = 'UTC';
\set SHOW_CONTEXT never

-- a subject both certain and possible is certain, and tells of the certain alone
SELECT subject_class, subject, verdict, columns_clear, columns_sealed, to_char(first_seen, 'HH24:MI:SS') AS first,
	to_char(last_seen, 'HH24:MI:SS') AS last, statements, sessions, reasons, first_position, last_position
FROM ward.breach_scope(:day, roles => '{caseworker}') ORDER BY subject_class, subject_id;
SELECT subject_class, verdict, people, people_clear AS clear, people_only_sealed AS sealed, columns_clear, columns_sealed,
	to_char(first_seen, 'HH24:MI:SS') AS first, to_char(last_seen, 'HH24:MI:SS') AS last, statements, sessions, reasons, note
FROM ward.breach_summary(:day, roles => '{caseworker}');

-- each argument narrows; roles match who logged in and who was acting
CREATE FUNCTION pg_temp.who(during tstzrange, roles name[] DEFAULT NULL, clients inet[] DEFAULT NULL, actors text[] DEFAULT NULL,
	applications text[] DEFAULT NULL, sessions text[] DEFAULT NULL, class text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(subject || CASE verdict WHEN 'possible' THEN '?' ELSE '' END, ' ' ORDER BY subject_id)
	FROM ward.breach_scope($1, $2, $3, $4, $5, $6, $7)
$$;
SELECT pg_temp.who(:day) AS anyone;
SELECT pg_temp.who(:day, roles => '{reader}') AS acting, pg_temp.who(:day, roles => '{web}') AS login, pg_temp.who(:day, roles => '{nobody}') AS nobody, pg_temp.who(:day, roles => '{}') AS none;
SELECT pg_temp.who(:day, clients => '{10.9.0.0/16}') AS net, pg_temp.who(:day, clients => '{10.9.0.1}') AS host, pg_temp.who(:day, clients => '{192.168.0.0/16,10.9.0.2}') AS other;
SELECT pg_temp.who(:day, actors => '{bob}') AS bob, pg_temp.who(:day, actors => '{alice,bob}') AS both, pg_temp.who(:day, applications => '{app}') AS app;
SELECT pg_temp.who(:day, sessions => '{s.web}') AS session, pg_temp.who(:day, class => 'animal') AS animal;
SELECT pg_temp.who(tstzrange('2021-11-09 02:03', '2021-11-09 02:05'), sessions => '{s.intruder}') AS at_three;
SELECT pg_temp.who(tstzrange('2021-11-09 02:06:06', NULL), sessions => '{s.intruder}') AS open_end, pg_temp.who(tstzrange(NULL, '2021-11-09 02:00:05'), sessions => '{s.intruder}') AS before, pg_temp.who(tstzrange(NULL, '2021-11-09 02:00:05', '[]'), sessions => '{s.intruder}') AS upto;

-- tables: as they were called, also those that are gone; with and without schema; with what else is asked
CREATE FUNCTION pg_temp.out_of(relations text[], roles name[] DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(subject_class || ' ' || subject || CASE verdict WHEN 'possible' THEN '?' ELSE '' END, ' ' ORDER BY subject_class, subject_id)
	FROM ward.breach_scope('[2021-11-09, 2021-11-10)', relations => $1, roles => $2)
$$;
SELECT pg_temp.out_of('{"aid.\"Visit\""}') AS quoted, pg_temp.out_of('{"\"Visit\""}') AS any_schema, pg_temp.out_of('{cat,aid.cat}') AS twice, pg_temp.out_of('{}') AS none;
SELECT pg_temp.out_of('{person}', '{web}') AS combined, pg_temp.out_of('{person,aid.cat}', '{caseworker}') AS two;
SELECT subject_class, verdict, people, columns_clear FROM ward.breach_summary(:day, relations => '{"\"Visit\""}');
SELECT pg_temp.out_of('{visit}');
SELECT pg_temp.out_of('{public.cat}');
SELECT pg_temp.out_of('{person,NULL}');
-- renamed since: by both names; a partition that is read by itself, through the whole
ALTER TABLE public.person RENAME TO human;
SELECT pg_temp.out_of('{human}', '{web}') AS now, pg_temp.out_of('{person}', '{web}') AS before;
CREATE TABLE public.folk (LIKE public.human) PARTITION BY RANGE (id);
ALTER TABLE public.folk ATTACH PARTITION public.human FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
SELECT pg_temp.out_of('{folk}', '{web}') AS whole;
ALTER TABLE public.folk DETACH PARTITION public.human;
DROP TABLE public.folk;
ALTER TABLE public.human RENAME TO person;

-- a path that names nobody: everyone in the table now, possible; certain stays certain
INSERT INTO _ward.disclosure SELECT 'test', 1, 0, -1, 1, 'person', '2021-11-09 04:00+00', 5, 'base backup', '{1,2,3}', '{}', NULL,
	_ward.subject_set('{10}'), 1, 0, '2021-11-09 04:00+00', '2021-11-09 04:00+00', 200, 200;
SELECT pg_temp.who(:day, roles => '{caseworker}', class => 'person') AS everybody;
SELECT subject_class, verdict, people, reasons, note FROM ward.breach_summary(:day, roles => '{caseworker}', subject_class => 'person');
SELECT relations, (SELECT string_agg(explanation, '; ') FROM ward.scope_basis(:day, relations => relations) WHERE ground = 'people named') AS unnamed
FROM (VALUES ('{person}'::text[]), ('{aid.cat}'), ('{person,aid.cat}')) x(relations);
DROP TABLE public.person;
SELECT pg_temp.who(:day, roles => '{caseworker}', class => 'person') AS table_gone;
SELECT subject_class, verdict, people, note IS NOT NULL AS noted FROM ward.breach_summary(tstzrange('2021-11-09 04:00', '2021-11-09 05:00'));

-- questions that can't be answered are refused
SELECT * FROM ward.breach_scope(NULL);
SELECT * FROM ward.breach_scope('empty');
SELECT * FROM ward.breach_summary(tstzrange('2021-11-09', '2021-11-09'));
SELECT * FROM ward.breach_scope(:day, roles => '{caseworker,NULL}');
SELECT * FROM ward.breach_scope(:day, clients => ARRAY[NULL::inet]);
SELECT * FROM ward.breach_scope(:day, subject_class => 'ghost');
SELECT * FROM ward.subject_history('ghost', 1);
SELECT * FROM ward.subject_history('person', 'Anna');
SELECT * FROM ward.subject_history('person', NULL::bigint);

-- one person's history; the statement's text only for auditors
SELECT to_char(first_seen, 'HH24:MI:SS') AS first, session, role, current_role_name AS acting, actor, client, relation, verdict, manner, reason,
	columns_clear, columns_sealed, statements, statement
FROM ward.subject_history('person', '3');
SELECT count(*) FROM ward.subject_history('person', 7);
CREATE ROLE scope_analyst IN ROLE ward_analyst;
CREATE ROLE scope_auditor IN ROLE ward_auditor;
CREATE ROLE scope_nobody;
SET ROLE scope_analyst;
SELECT DISTINCT verdict, statement FROM ward.subject_history('person', 3) ORDER BY 1;
SELECT count(*) > 0 AS allowed FROM ward.breach_scope(:day);
SELECT count(*) > 0 AS allowed FROM ward.breach_summary(:day);
SELECT count(*) FROM ward.disclosures;
SELECT count(*) FROM ward.events;
SET ROLE scope_auditor;
SELECT DISTINCT verdict, statement FROM ward.subject_history('person', 3) ORDER BY 1;
SELECT relation, subject_column, subject_class, manner, reason, columns_clear, columns_sealed, subjects, statements, statement
FROM ward.disclosures WHERE session = 's.intruder' AND minute < '2021-11-09 02:02' ORDER BY first_position;
SELECT session, role, other_roles, actors, applications, client FROM ward.sessions WHERE session LIKE 's.%' ORDER BY 1;
SET ROLE scope_nobody;
SELECT * FROM ward.breach_scope(:day);
SELECT * FROM ward.subject_history('person', 3);
RESET ROLE;
DROP ROLE scope_analyst;
DROP ROLE scope_auditor;
DROP ROLE scope_nobody;

-- many people, many disclosures: the fold agrees with the plain definition
DELETE FROM _ward.disclosure WHERE node = 'test';
INSERT INTO _ward.disclosure
SELECT 'test', 1 + i % 3, i, -1, 1, 'person', '2021-11-09 00:00+00'::timestamptz + i * interval '1 minute',
	CASE WHEN i % 3 = 0 THEN 2 ELSE 1 END, '', CASE WHEN i % 2 = 0 THEN '{1,2}' ELSE '{1}' END::int2[], CASE WHEN i % 5 = 0 THEN '{2,3}' ELSE '{}' END::int2[],
	(SELECT _ward.subject_set_agg(abs(hashint8extended(i, g)) % (1 + (i % 7) * 100)) FROM generate_series(1, i % 90) g),
	_ward.subject_set(ARRAY[i]), 1, 0, '2021-11-09 00:00+00'::timestamptz + i * interval '1 minute', '2021-11-09 00:00+00'::timestamptz + i * interval '1 minute', i, i
FROM generate_series(1, 400) i;
WITH expected AS (
	SELECT m AS subject_id, bool_or(certain) AS certain,
		min(first_seen) FILTER (WHERE certain = c) AS first_seen, max(last_seen) FILTER (WHERE certain = c) AS last_seen,
		count(*) FILTER (WHERE certain = c) AS statements, array_agg(DISTINCT session) FILTER (WHERE certain = c) AS sessions,
		bool_or(2 = ANY (columns_clear)) FILTER (WHERE certain = c) AS name_clear,
		bool_or(3 = ANY (columns_sealed)) FILTER (WHERE certain = c) AS phone_sealed,
		bool_or(2 = ANY (columns_sealed)) FILTER (WHERE certain = c) AS name_sealed,
		min(first_position) FILTER (WHERE certain = c) AS first_position, max(last_position) FILTER (WHERE certain = c) AS last_position
	FROM (SELECT m, d.*, bool_or(certain) OVER (PARTITION BY m) AS c
		  FROM _ward.scope_disclosures(:day, '{web,caseworker}', NULL, NULL, NULL, NULL, 'person', NULL) d, _ward.subject_set_members(d.subjects) m) x
	GROUP BY m
), got AS (SELECT * FROM ward.breach_scope(:day, '{web,caseworker}', subject_class => 'person'))
SELECT count(*) AS people, count(*) FILTER (WHERE got.verdict = 'certain') AS certain, count(*) FILTER (WHERE
	(got.verdict = 'certain', got.first_seen, got.last_seen, got.statements, got.sessions, got.first_position, got.last_position,
	 'person.name' = ANY (got.columns_clear), 'person.phone' = ANY (got.columns_sealed), 'person.name' = ANY (got.columns_sealed))
	IS DISTINCT FROM
	(e.certain, e.first_seen, e.last_seen, e.statements, e.sessions, e.first_position, e.last_position,
	 e.name_clear, e.phone_sealed, e.name_sealed AND NOT e.name_clear)) AS wrong
FROM got FULL JOIN expected e USING (subject_id);

DELETE FROM _ward.context WHERE node = 'test';
DELETE FROM _ward.relation_version WHERE relation < 0;
DELETE FROM _ward.statement WHERE fingerprint = -77;
DROP TABLE _ward.disclosure_test;
