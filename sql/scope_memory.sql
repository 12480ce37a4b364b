--
-- An answer that does not fit into memory is the same: what is folded is written down and
-- read again, part by part. The index's rows are put in by hand.
--
CREATE TABLE _ward.disclosure_test PARTITION OF _ward.disclosure FOR VALUES FROM ('2021-11-09 00:00+00') TO ('2021-11-13 00:00+00');
INSERT INTO _ward.context (node, position, at, session, session_role, current_role_name)
SELECT 'test', i, '2021-11-09 00:00+00', 'session ' || i, 'role' || i % 7, 'role' || i % 7 FROM generate_series(1, 300) i;
INSERT INTO _ward.relation_version (relation, relid, schema_name, relation_name, attnums, columns, keys, subject_attnums, classes)
	OVERRIDING SYSTEM VALUE VALUES
	(-1, 0, 'public', 'person', '{1,2,3,4}', '{id,name,phone,note}', '{"",k,k,""}', '{1}', '{person}'),
	(-2, 0, 'aid', 'beast', '{1,2}', '{id,name}', '{"",""}', '{1}', '{animal}');

-- People are near each other, far apart and below zero; sets are few people, lists, and everybody.
CREATE FUNCTION pg_temp.number(n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE n % 5 WHEN 0 THEN n * 1000000007 WHEN 1 THEN -n ELSE n END
$$;
CREATE FUNCTION pg_temp.put(first int, last int, size int, within int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO _ward.disclosure
	SELECT 'test', 1 + abs(hashint8extended(i, 1)) % 300, i, CASE WHEN i % 11 = 0 THEN -2 ELSE -1 END, 1, CASE WHEN i % 11 = 0 THEN 'animal' ELSE 'person' END,
		m.at, CASE WHEN i % 3 = 0 THEN 2 WHEN i % 17 = 0 THEN 3 ELSE 1 END, CASE WHEN i % 17 = 0 THEN 'semi join' ELSE '' END,
		CASE WHEN i % 2 = 0 THEN '{1,2}' ELSE '{1}' END::int2[], CASE WHEN i % 11 <> 0 AND i % 5 = 0 THEN '{2,3}' ELSE '{}' END::int2[],
		(SELECT _ward.subject_set_agg(pg_temp.number(abs(hashint8extended(i / 2, g)) % within)) FROM generate_series(1, size) g),
		_ward.subject_set(ARRAY[i]), 1, 0, m.at, m.at + interval '1 second', i, i
	FROM generate_series(first, last) i, LATERAL (SELECT '2021-11-09 00:00+00'::timestamptz + i * interval '1 minute' AS at) m
$$;
SELECT pg_temp.put(1, 3000, 15, 6000);
SELECT pg_temp.put(3001, 3040, 3000, 6000);
SELECT pg_temp.put(3041, 3060, 400, 300);
INSERT INTO _ward.disclosure
SELECT 'test', i, 9000 + i, -1, 1, 'person', '2021-11-12 00:00+00', 2, '', '{1,4}', '{}', (SELECT _ward.subject_set_agg(pg_temp.number(g)) FROM generate_series(1, 9000) g),
	_ward.subject_set(ARRAY[i]), 1, 0, '2021-11-12 00:00+00', '2021-11-12 00:00+00', 9000 + i, 9000 + i
FROM generate_series(1, 40) i;

\set day 'tstzrange(''2021-11-09'', ''2021-11-13'')'
SET timezone = 'UTC';
SET work_mem = '1GB';
CREATE TEMP TABLE roomy AS SELECT * FROM ward.breach_scope(:day);
CREATE TEMP TABLE roomy_summary AS SELECT * FROM ward.breach_summary(:day);
CREATE TEMP TABLE roomy_group AS SELECT * FROM _ward.scope_groups(:day, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SET work_mem = '64kB';
SET hash_mem_multiplier = 1;
CREATE TEMP TABLE tight AS SELECT * FROM ward.breach_scope(:day);
CREATE TEMP TABLE tight_summary AS SELECT * FROM ward.breach_summary(:day);
CREATE TEMP TABLE tight_group AS SELECT * FROM _ward.scope_groups(:day, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

SELECT subject_class, verdict, count(*) AS people, max(statements) > 10 AS much, max(cardinality(sessions)) > 10 AS sessions FROM roomy GROUP BY 1, 2 ORDER BY 1, 2;
-- nobody twice, nobody lost, each with the same answer
SELECT count(*) AS people, count(DISTINCT (subject_class, subject)) AS persons FROM tight;
SELECT count(*) AS lost FROM (SELECT * FROM roomy EXCEPT SELECT * FROM tight) x;
SELECT count(*) AS gained FROM (SELECT * FROM tight EXCEPT SELECT * FROM roomy) x;
SELECT count(*) AS summaries, count(*) FILTER (WHERE r IS DISTINCT FROM t) AS wrong FROM roomy_summary r FULL JOIN tight_summary t USING (subject_class, verdict);
-- those who are only in what named everybody are one group, and several where they were written down
SELECT count(*) AS roomy, sum(_ward.subject_set_count(subjects)) AS people FROM roomy_group WHERE first_position = 9001;
SELECT count(*) > 1 AS written_down, sum(_ward.subject_set_count(subjects)) AS people FROM tight_group WHERE first_position = 9001;

-- one role's people alone
CREATE TEMP TABLE tight_role AS SELECT * FROM ward.breach_scope(:day, roles => '{role3}');
RESET work_mem;
RESET hash_mem_multiplier;
SELECT count(*) AS wrong FROM ward.breach_scope(:day, roles => '{role3}') a FULL JOIN tight_role b USING (subject_class, subject) WHERE a IS DISTINCT FROM b;

DELETE FROM _ward.context WHERE node = 'test';
DELETE FROM _ward.relation_version WHERE relation < 0;
DROP TABLE _ward.disclosure_test;
