--
-- Subject sets: what goes in comes out, in few bytes, and damage is an error.
--
SET bytea_output = hex;

-- small sets and the edges of int64
SELECT _ward.subject_set('{}');
SELECT _ward.subject_set('{0}'), _ward.subject_set('{-1}'), _ward.subject_set('{1,2,3,4}');
SELECT _ward.subject_set('{5,3,NULL,5,-7}') AS set,
	   ARRAY(SELECT _ward.subject_set_members(_ward.subject_set('{5,3,NULL,5,-7}'))) AS members;
SELECT _ward.subject_set_members(_ward.subject_set(
	'{9223372036854775807,-9223372036854775808,9223372036854775806,-9223372036854775807,0,-1,4095,4096,-4096,-4097}'));
SELECT _ward.subject_set_count(_ward.subject_set('{9223372036854775807,-9223372036854775808}'));

-- dense keys take a few bytes, and stay whole when added in any order
SELECT length(_ward.subject_set_agg(i)) AS bytes, _ward.subject_set_count(_ward.subject_set_agg(i)) AS members
FROM generate_series(1, 515000) i;
SELECT length(_ward.subject_set_agg(i ORDER BY hashint8(i))) AS bytes FROM generate_series(1, 515000::bigint) i;
SELECT length(_ward.subject_set_agg(i)) AS bytes FROM generate_series(-300000, 214999) i;

-- each in-memory form (inline, array, bitmap, full) gives back what was added
CREATE TEMP TABLE kind (name text, member bigint);
INSERT INTO kind
	SELECT 'every ' || step, i FROM unnest('{1,2,3,7,15,16,17,63,64,65,511,1023,1365,4095,4096,4097,1000003}'::bigint[]) step,
		LATERAL generate_series(-40 * least(step, 400) , 40 * step * 7, step) i;
INSERT INTO kind SELECT 'hash', hashint8extended(i, 7) FROM generate_series(1, 20000) i;
INSERT INTO kind SELECT 'hash small', abs(hashint8extended(i, 3)) % 30000 FROM generate_series(1, 20000) i;
INSERT INTO kind SELECT 'negative', -abs(hashint8extended(i, 4)) % 9000 FROM generate_series(1, 8000) i;
SELECT name, 'lost or invented members' AS what
FROM (SELECT name, array_agg(DISTINCT member) AS members, _ward.subject_set_agg(member ORDER BY hashint8(member)) AS set
	  FROM kind GROUP BY name) s
WHERE members <> ARRAY(SELECT _ward.subject_set_members(set))
   OR cardinality(members) <> _ward.subject_set_count(set)
   OR EXISTS (SELECT FROM unnest(members[1:500]) m WHERE NOT _ward.subject_set_contains(set, m))
   OR EXISTS (SELECT FROM unnest(members[1:500]) m
			  WHERE _ward.subject_set_contains(set, m + 1) <> (m + 1 = ANY (members)));
SELECT count(DISTINCT name) FROM kind;

-- union, difference
SELECT _ward.subject_set_union(_ward.subject_set(m)) = _ward.subject_set('{-5,1,2,3,4,9000}')
FROM (VALUES ('{1,2}'::bigint[]), ('{2,3,4}'), (NULL), ('{-5,9000}'), ('{}')) v(m);
SELECT _ward.subject_set_union(NULL::bytea), _ward.subject_set_agg(NULL);
SELECT _ward.subject_set_union(s) = (SELECT _ward.subject_set_agg(member) FROM kind) AS same
FROM (SELECT _ward.subject_set_agg(member) FROM kind GROUP BY name) x(s);
-- runs merged into arrays, bitmaps and full chunks, in either order
SELECT _ward.subject_set_count(_ward.subject_set_union(s ORDER BY n)) AS up,
	   _ward.subject_set_count(_ward.subject_set_union(s ORDER BY n DESC)) AS down
FROM (VALUES (1, (SELECT _ward.subject_set_agg(i) FROM generate_series(100, 9000) i)),
			 (2, (SELECT _ward.subject_set_agg(i) FROM generate_series(0, 20000, 3) i)),
			 (3, _ward.subject_set('{1,5,7,8000}')),
			 (4, (SELECT _ward.subject_set_agg(i) FROM generate_series(8192, 12287) i)),
			 (5, (SELECT _ward.subject_set_agg(i) FROM generate_series(12200, 12500) i))) v(n, s);
SELECT count(DISTINCT i) FROM (SELECT generate_series(100, 9000) UNION ALL SELECT generate_series(0, 20000, 3)
	UNION ALL SELECT unnest('{1,5,7,8000}'::int[]) UNION ALL SELECT generate_series(8192, 12287)
	UNION ALL SELECT generate_series(12200, 12500)) x(i);
SELECT ARRAY(SELECT _ward.subject_set_members(_ward.subject_set_minus(
	_ward.subject_set('{1,2,3,4,5,-9}'), _ward.subject_set('{2,4,6}'))));

-- partial aggregation in workers gives the same set
CREATE TEMP TABLE seen (member bigint);
INSERT INTO seen SELECT i * 7 % 50021 FROM generate_series(1, 60000) i;
SELECT _ward.subject_set_agg(member) AS set FROM seen \gset
CREATE TABLE seen_by_all AS TABLE seen;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT _ward.subject_set_agg(member) FROM seen_by_all;
SELECT _ward.subject_set_agg(member) = :'set' FROM seen_by_all;
DROP TABLE seen_by_all;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;

-- malformed bytes: one clear error each, at once
CREATE FUNCTION pg_temp.try(bytes bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN _ward.subject_set_count(_ward.subject_set_union(bytes)) FROM (VALUES (1)) x;
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END
$$;
SELECT what, pg_temp.try(bytes) FROM (VALUES
	('no bytes', '\x'::bytea),
	('format alone', '\x01'),
	('unknown format', '\x0000'),
	('member missing', '\x0102'),
	('second member missing', '\x010202'),
	('bytes left over', '\x01010203'),
	('overlong varint', '\x01018000'),
	('varint without an end', '\x0101ffffffffffffffffffff'),
	('varint of 65 bits', '\x0101ffffffffffffffffff02'),
	('run without length', '\x020102'),
	('run past the last int64', '\x0201feffffffffffffffff0105'),
	('run of 2^33', '\x0201008080808020'),
	('runs of 2^32 each', '\x020200ffffffff0f00ffffffff0f'),
	('delta past the last int64', '\x0102feffffffffffffffff0100'),
	('more members than bytes', '\x01ffffffff0f00'),
	('largest run', '\x020100ffffffff0f')) v(what, bytes);
-- every cut and every changed byte of a good set either fails or is another set
SELECT count(*) > 0 AS tried, count(*) FILTER (WHERE result !~ '^(WD303 a subject set is malformed|\d+)$') AS wrong
FROM (SELECT pg_temp.try(set_byte(s, at, value)) AS result
	  FROM (SELECT _ward.subject_set('{1,2,3,70,71,72,73,74,500,100000,-4,-5,-6}') AS s) x,
		   generate_series(0, length(s) - 1) at, generate_series(0, 255) value
	  UNION ALL
	  SELECT pg_temp.try(substr(s, 1, n))
	  FROM (SELECT _ward.subject_set('{1,2,3,70,71,72,73,74,500,100000,-4,-5,-6}') AS s) x, generate_series(0, length(s) - 1) n) y;
SELECT _ward.subject_set_contains('\x01', 1);
SELECT _ward.subject_set_members('\x01020201ff');

-- nothing of it is for PUBLIC
SELECT count(*) AS functions, count(*) FILTER (WHERE has_function_privilege('public', oid, 'EXECUTE')) AS public
FROM pg_proc WHERE pronamespace = '_ward'::regnamespace AND proname LIKE 'subject\_set%';
