-- The nine sealed types behave as their base types: input, output, binary form, casts,
-- operators, indexes, arrays, domains, composites, variables.
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SELECT ward.create_key('types.a', make_default => true);
SELECT ward.create_key('types.b');
SELECT ward.create_key('types.none', 'none');
SELECT ward.grant_unseal(k, current_user, 'test') FROM unnest('{types.a,types.b,types.none}'::text[]) k;

CREATE TABLE types_plain (id int PRIMARY KEY, x text, y bytea, b bool, n bigint, m numeric, d date, t timestamptz, u uuid, j jsonb);
INSERT INTO types_plain VALUES
	(1, 'Ωmega', '\xdeadbeef', true, 42, 1.50, '2000-02-29', '2000-02-29 12:34:56.789+00', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": 1.0, "b": [1, "x", null, true], "c": {"d": -0.0e10}}'),
	(2, '', '', false, 0, 0, '0001-01-01 BC', 'epoch', '00000000-0000-0000-0000-000000000000', '{}'),
	(3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(4, E'tab\there\\nul', '\x00ff00', true, 9223372036854775807, 'NaN', 'infinity', 'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '"scalar"'),
	(5, '\sealed:AAAA', '\x5c7365616c65643a', false, -9223372036854775808, '-Infinity', '-infinity', '-infinity', '5c736561-6c65-643a-5c73-65616c65643a', '[]'),
	(6, repeat('long ', 60000), decode(repeat('ab', 200000), 'hex'), true, -1, repeat('9', 3000)::numeric / 7, '5874897-12-31', '294276-12-31 23:59:59.999999+00', gen_random_uuid(), (SELECT jsonb_agg(i) FROM generate_series(1, 20000) i));
CREATE TABLE types_sealed (id int PRIMARY KEY, x sealed_text('types.a'), y sealed_bytea('types.a'), b sealed_bool('types.a'), n sealed_int8('types.a'),
	m sealed_numeric('types.a'), d sealed_date('types.a'), t sealed_timestamptz('types.a'), u sealed_uuid('types.a'), j sealed_jsonb('types.a'));
INSERT INTO types_sealed SELECT * FROM types_plain;

-- Each value comes back as it was, by text and by binary form, and through COPY.
CREATE FUNCTION types_differ(a regclass, b regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
	EXECUTE format('SELECT coalesce(string_agg(p.id::text || '' differs'', '', ''), ''none differs'') FROM %s p JOIN %s s USING (id)
		WHERE (p.x, p.y, p.b, p.n, p.m, p.d, p.t, p.u, p.j)::text IS DISTINCT FROM
			(s.x::text, s.y::bytea, s.b::bool, s.n::bigint, s.m::numeric, s.d::date, s.t::timestamptz, s.u::uuid, s.j::jsonb)::text', a, b) INTO result;
	RETURN result;
END $$;
SELECT types_differ('types_plain', 'types_sealed');
COPY types_sealed TO '/tmp/pg_ward_types.copy';
CREATE TABLE types_back (LIKE types_plain);
COPY types_back FROM '/tmp/pg_ward_types.copy';
-- Where text looks like armor, it is escaped on the way out, so that it comes in again.
SELECT p.x, b.x FROM types_plain p JOIN types_back b USING (id) WHERE p.x IS DISTINCT FROM b.x;
TRUNCATE types_back;
CREATE TABLE types_again (LIKE types_sealed INCLUDING ALL);
COPY types_again FROM '/tmp/pg_ward_types.copy';
SELECT types_differ('types_plain', 'types_again');
COPY types_sealed TO '/tmp/pg_ward_types.copy' (FORMAT csv, HEADER, FORCE_QUOTE *);
TRUNCATE types_again;
COPY types_again FROM '/tmp/pg_ward_types.copy' (FORMAT csv, HEADER);
SELECT types_differ('types_plain', 'types_again');
COPY types_sealed TO '/tmp/pg_ward_types.copy' (FORMAT binary);
TRUNCATE types_again;
COPY types_again FROM '/tmp/pg_ward_types.copy' (FORMAT binary);
SELECT types_differ('types_plain', 'types_again');
-- Without the right it is ciphertext, which goes back bit for bit in every format.
SELECT ward.revoke_unseal('types.a', current_user, 'test');
COPY types_sealed TO '/tmp/pg_ward_types.copy' (FORMAT binary);
TRUNCATE types_again;
COPY types_again FROM '/tmp/pg_ward_types.copy' (FORMAT binary);
SELECT count(*) AS bit_for_bit FROM types_sealed o JOIN types_again p USING (id)
 WHERE o::text = p::text AND (o.x IS NULL OR o::text LIKE '%sealed:%');
SELECT every(v LIKE '\\sealed:%') FROM types_sealed s, jsonb_each_text(to_jsonb(s) - 'id') e (k, v) WHERE v IS NOT NULL;
SELECT n + 1 FROM types_sealed WHERE id = 1;
SELECT j -> 'a' FROM types_sealed WHERE id = 1;
SELECT ward.grant_unseal('types.a', current_user, 'test');
\! rm -f /tmp/pg_ward_types.copy

-- Equality is the base type's: whatever its bytes are.
SELECT id FROM types_sealed WHERE m = 1.5;
SELECT id FROM types_sealed WHERE m = 1.50000 AND j = '{"c": {"d": 0}, "b": [1.0, "x", null, true], "a": 1}';
SELECT id FROM types_sealed WHERE m = 'NaN' OR d = '-infinity' OR u = '00000000-0000-0000-0000-000000000000' ORDER BY id;
SELECT id FROM types_sealed WHERE b ORDER BY id;
SELECT id FROM types_sealed WHERE NOT b OR b IS NULL ORDER BY id;
SELECT id FROM types_sealed WHERE b = true AND y = '\xdeadbeef' AND n = 42 AND t = '2000-02-29 12:34:56.789+00' AND d = date '2000-02-29';
SELECT id FROM types_sealed WHERE j = '{"a": 1.0, "b": [1, "x", null, true], "c": {"d": 1}}';
SELECT p.id, s.id FROM types_plain p JOIN types_sealed s ON s.n = p.n AND s.d = p.d AND s.j = p.j AND s.m = p.m AND s.y = p.y AND s.u = p.u AND s.b = p.b AND s.t = p.t AND s.x = p.x ORDER BY 1;
-- Types that SQL lets stand in for the base type.
SELECT id FROM types_sealed WHERE n = 42::smallint OR n = 0::int OR n IN (-1, 7) OR n = ANY ('{9223372036854775807}'::bigint[]) ORDER BY id;
SELECT id FROM types_sealed WHERE t = timestamp '1970-01-01' OR t = date '1970-01-01';
SELECT id FROM types_sealed WHERE (id, n) IN ((1, 42), (2, 1)) AND m IN (1.5, 2);
PREPARE types_param AS SELECT id FROM types_sealed WHERE n = $1 AND d = $2 AND j = $3 AND b = $4;
EXECUTE types_param('42', '2000-02-29', '{"c": {"d": 0}, "b": [1.0, "x", null, true], "a": 1}', 't');
PREPARE types_typed(int, date, jsonb, bool) AS SELECT id FROM types_sealed WHERE n = $1 AND d = $2 AND j = $3 AND b = $4;
EXECUTE types_typed(42, '2000-02-29', '{"c": {"d": 0}, "b": [1.0, "x", null, true], "a": 1}', true);

-- What works on the base type works for those who may open.
SELECT n + 1, m * 2, d + 1, d - date '2000-01-01', t AT TIME ZONE 'UTC', extract(year FROM t), NOT b, length(y), y || '\x00', j -> 'b' ->> 1, j @> '{"a": 1}', upper(x), x || '!'
  FROM types_sealed WHERE id = 1;
SELECT coalesce(n, 7::bigint), coalesce(m, 0.5), coalesce(d, date '1999-01-01'), coalesce(b, false), coalesce(x, 'none'), coalesce(j, '{}') FROM types_sealed WHERE id = 3;
SELECT sum(n), max(m), min(d), bool_or(b), count(DISTINCT u), jsonb_agg(j ORDER BY id) FROM types_sealed WHERE id IN (1, 2);
SELECT id FROM types_sealed WHERE n BETWEEN 1 AND 100 OR d < '1900-01-01' OR t > '2020-01-01' ORDER BY id;
SELECT n::int, n::smallint, n::numeric(9,2), m::int, d::timestamp, t::date, x::varchar(3), d::text, n::text FROM types_sealed WHERE id = 1;
SELECT to_jsonb(s) - 'u' FROM types_sealed s WHERE id = 1;
SELECT row_to_json(r) FROM (SELECT n, m, d, t, b, j, 'typed'::sealed_text AS typed FROM types_sealed WHERE id = 1) r;
SELECT 'typed'::sealed_text, '2000-01-01'::sealed_date + 1, CASE WHEN id = 1 THEN x ELSE 'typed' END FROM types_sealed WHERE id IN (1, 2) ORDER BY id;
SELECT x || '!', x || '!'::text, 'a'::text || x, x || x, x || x || '-' || n, x || n, 'b' || x, x || d FROM types_sealed WHERE id = 1;
SELECT coalesce(x, 'none'::text), CASE WHEN b THEN x ELSE 'no'::text END, greatest(x, 'a'::text) FROM types_sealed WHERE id IN (1, 3) ORDER BY id;
-- Assignment from what the base type takes.
INSERT INTO types_sealed (id, x, n, m, d, t) VALUES (7, 'v'::varchar, 7::smallint, 7, now()::timestamp, date '2001-01-01'), (8, 'c  '::char(3), 8.4, 8::float8, now(), timestamp '2001-01-01'), (9, 'n'::name, 9, 9::bigint, DEFAULT, DEFAULT);
SELECT id, x, n, m, d = now()::date AS today, t FROM types_sealed WHERE id IN (7, 8, 9) ORDER BY id;
UPDATE types_sealed SET n = n + 1, m = m / 2, x = x || n, b = n > 5, j = jsonb_build_object('n', n) WHERE id = 7 RETURNING n, m, x, b, j;

-- Input that is none is refused without quoting it.
INSERT INTO types_sealed (id, n) VALUES (100, '4x4');
INSERT INTO types_sealed (id, d) VALUES (100, '2000-13-13');
INSERT INTO types_sealed (id, j) VALUES (100, '{"secret": ');
INSERT INTO types_sealed (id, n) VALUES (100, '9223372036854775808');
SELECT 'armor of another type' AS try, x::text LIKE 'v%' FROM types_sealed WHERE id = 7;
CREATE TABLE types_armor AS SELECT sealed_text_send(x) AS bytes FROM types_sealed WHERE id = 1;
SELECT ward.revoke_unseal('types.a', current_user, 'test');
DO $$
DECLARE armor text := (SELECT format('%s', x) FROM types_sealed WHERE id = 1);
BEGIN
	EXECUTE format('INSERT INTO types_sealed (id, n) VALUES (100, %L)', armor);
EXCEPTION WHEN SQLSTATE 'WD211' THEN RAISE NOTICE '%', sqlerrm;
END $$;
SELECT ward.grant_unseal('types.a', current_user, 'test');
DROP TABLE types_armor;

-- Keys, indexes, constraints.
CREATE TABLE types_key (n sealed_int8('types.a') PRIMARY KEY, d sealed_date('types.a') UNIQUE, u sealed_uuid('types.a') NOT NULL CHECK (u <> '00000000-0000-0000-0000-000000000000'));
INSERT INTO types_key SELECT i, date '2000-01-01' + i, gen_random_uuid() FROM generate_series(1, 3000) i;
INSERT INTO types_key VALUES (3, '1999-01-01', gen_random_uuid());
INSERT INTO types_key VALUES (0, '2000-01-02', gen_random_uuid());
INSERT INTO types_key VALUES (0, NULL, '00000000-0000-0000-0000-000000000000');
INSERT INTO types_key VALUES (3, '1999-01-01', gen_random_uuid()) ON CONFLICT (n) DO UPDATE SET d = excluded.d RETURNING n, d;
CREATE TABLE types_child (n sealed_int8('types.a') REFERENCES types_key ON UPDATE CASCADE ON DELETE CASCADE, other sealed_int8('types.b') REFERENCES types_key);
INSERT INTO types_child VALUES (5, 7), (6, NULL);
INSERT INTO types_child VALUES (100000, NULL);
INSERT INTO types_child VALUES (NULL, 100000);
UPDATE types_key SET n = 50005 WHERE n = 5;
DELETE FROM types_key WHERE n = 6;
SELECT n, other FROM types_child;
DELETE FROM types_key WHERE n = 7;
ANALYZE types_key;
CREATE FUNCTION types_plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		RETURN NEXT regexp_replace(line, '\\+sealed:[A-Za-z0-9+/=]+', '(sealed)', 'g');
	END LOOP;
END $$;
SELECT types_plan('SELECT FROM types_key WHERE n = 12');
SELECT types_plan('SELECT FROM types_key WHERE n IN (12, 13::bigint) AND d = ''2000-01-01''');
SELECT types_plan('SELECT FROM types_key WHERE d = timestamp ''2000-01-01''::date');
SELECT types_plan('SELECT FROM types_key k JOIN types_plain p ON k.n = p.n WHERE p.id = 1');
SELECT types_plan('SELECT FROM types_key k JOIN types_key l USING (u) WHERE k.n = 8::smallint');
SELECT types_plan('SELECT FROM types_key WHERE (n, d) = (12, date ''2000-01-13'')');

-- Partitions by hash and by list.
CREATE TABLE types_hash (n sealed_int8('types.a') PRIMARY KEY, v int) PARTITION BY HASH (n);
CREATE TABLE types_hash0 PARTITION OF types_hash FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE types_hash1 PARTITION OF types_hash FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO types_hash SELECT i, i FROM generate_series(1, 500) i;
SELECT count(*) BETWEEN 100 AND 400 AS spread FROM types_hash0;
SELECT v FROM types_hash WHERE n = 77;
SELECT count(DISTINCT line) FROM types_plan('SELECT FROM types_hash WHERE n = 77') line WHERE line LIKE '%Scan%types_hash%';
CREATE TABLE types_list (b sealed_bool('types.a'), v int) PARTITION BY LIST (b);
CREATE TABLE types_yes PARTITION OF types_list FOR VALUES IN (true);
CREATE TABLE types_no PARTITION OF types_list FOR VALUES IN ('f', NULL);
INSERT INTO types_list VALUES (true, 1), (false, 2), (NULL, 3);
SELECT tableoid::regclass, v FROM types_list ORDER BY v;
SELECT types_plan('SELECT FROM types_list WHERE b = true');

-- Arrays, domains, composites, variables, records.
CREATE DOMAIN types_age AS sealed_int8('types.a') CHECK (VALUE >= 0::bigint);
CREATE TYPE types_pair AS (name sealed_text('types.a'), born sealed_date('types.b'));
CREATE TABLE types_nested (id int, age types_age, dates sealed_date('types.a')[], pair types_pair, names sealed_text('types.a')[][]);
INSERT INTO types_nested VALUES (1, 30, '{2000-01-01,NULL,2001-01-01}', ROW('Ada', '1815-12-10'), ARRAY[['a', 'b'], ['c', 'd']]);
INSERT INTO types_nested VALUES (2, -1, NULL, NULL, NULL);
SELECT id, age, age + 1, dates, dates[3], (pair).name, (pair).born, names[2][1] FROM types_nested;
SELECT id FROM types_nested WHERE age = 30 AND '2000-01-01' = ANY (dates) AND (pair).name = 'Ada' AND pair = ROW('Ada', '1815-12-10')::types_pair;
SELECT x, y FROM types_nested, unnest(dates) WITH ORDINALITY AS u (x, y) ORDER BY y;
UPDATE types_nested SET dates[2] = '1999-09-09', pair.name = 'Grace' RETURNING dates, pair;
DO $$
DECLARE
	born sealed_date('types.b') := '1990-05-05';
	rec types_sealed;
	total bigint := 0;
BEGIN
	SELECT * INTO rec FROM types_sealed WHERE id = 1;
	rec.n := rec.n + 1;
	FOR rec IN SELECT * FROM types_sealed WHERE n BETWEEN 0 AND 100 LOOP
		total := total + rec.n;
	END LOOP;
	RAISE NOTICE '% % %', born, born + 1, total;
END $$;

-- Without a tag: no index, but everything else, for those who may open.
CREATE TABLE types_none (n sealed_int8('types.none'), x sealed_text('types.none'));
INSERT INTO types_none SELECT i, 'v' || i FROM generate_series(1, 5) i;
SELECT x FROM types_none WHERE n = 3 OR x = 'v4' OR n IN (5, 6) ORDER BY n DESC;
SELECT x FROM types_none GROUP BY x;
SELECT x::text FROM types_none GROUP BY x::text ORDER BY 1;
CREATE INDEX ON types_none (n);
SELECT avg(pg_column_size(n)) AS int8_untagged FROM types_none;
SELECT pg_column_size(n) AS int8_tagged, pg_column_size(b) AS bool_tagged FROM types_sealed WHERE id = 1;

DROP TABLE types_plain, types_sealed, types_back, types_again, types_child, types_key, types_hash, types_list, types_nested, types_none;
DROP TYPE types_pair;
DROP DOMAIN types_age;
DROP FUNCTION types_differ, types_plan;
DELETE FROM _ward.unseal_grant;
