-- Joins of columns under different keys: they compare what the columns open to, answer as
-- the same values in clear, and are estimated by the statistics of the sealed columns.
SELECT ward.create_key('joins.a', make_default => true);
SELECT ward.create_key('joins.b');
SELECT ward.create_key('joins.c');
SELECT ward.create_key('joins.mute', search => 'none');
SELECT count(ward.grant_unseal(key, current_user, 'test')) FROM unnest(ARRAY['joins.a', 'joins.b', 'joins.c', 'joins.mute']) key;
-- The same tables in two schemas. Far fewer and far more than 200 distinct values, and NULLs.
CREATE SCHEMA joins_plain;
CREATE SCHEMA joins_sealed;
CREATE TABLE joins_plain.x (id int PRIMARY KEY, t text, few text, half text, n bigint, by bytea, o bool, m numeric, d date, z timestamptz, u uuid, j jsonb);
INSERT INTO joins_plain.x
SELECT i, 't' || i, 'f' || i % 4, CASE WHEN i % 2 = 0 THEN 's' || i % 30 END, i, int4send(i), i % 2 = 0, i + 0.50, '2000-01-01'::date + i,
       '2000-01-01 00:00Z'::timestamptz + i * interval '1 hour', ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, jsonb_build_object('v', i)
  FROM generate_series(1, 1200) i;
CREATE TABLE joins_plain.y (LIKE joins_plain.x);
INSERT INTO joins_plain.y SELECT (x).* FROM joins_plain.x WHERE id <= 900;
CREATE TABLE joins_plain.z (id int, t text, few text);
INSERT INTO joins_plain.z SELECT id, t, CASE WHEN id % 4 > 0 THEN few END FROM joins_plain.x WHERE id BETWEEN 600 AND 1000;
CREATE TABLE joins_sealed.x (id int PRIMARY KEY, t sealed_text('joins.a'), few sealed_text('joins.a'), half sealed_text('joins.a'), n sealed_int8('joins.a'), by sealed_bytea('joins.a'),
	o sealed_bool('joins.a'), m sealed_numeric('joins.a'), d sealed_date('joins.a'), z sealed_timestamptz('joins.a'), u sealed_uuid('joins.a'), j sealed_jsonb('joins.a'));
INSERT INTO joins_sealed.x SELECT * FROM joins_plain.x;
CREATE DOMAIN joins_domain AS sealed_text('joins.b');
CREATE TABLE joins_sealed.y (id int, t joins_domain, few sealed_text('joins.b'), half sealed_text('joins.b'), n sealed_int8('joins.b'), by sealed_bytea('joins.b'),
	o sealed_bool('joins.b'), m sealed_numeric('joins.b'), d sealed_date('joins.b'), z sealed_timestamptz('joins.b'), u sealed_uuid('joins.b'), j sealed_jsonb('joins.b'));
INSERT INTO joins_sealed.y SELECT id, t, few, half, n, by, o, m * 1.000, d, z, u, j FROM joins_plain.y;
CREATE TABLE joins_sealed.z (id int, t sealed_text('joins.c'), few sealed_text('joins.mute'));
INSERT INTO joins_sealed.z SELECT * FROM joins_plain.z;
ANALYZE joins_plain.x, joins_plain.y, joins_plain.z, joins_sealed.x, joins_sealed.y, joins_sealed.z;
SET max_parallel_workers_per_gather = 0;

CREATE FUNCTION joins_rows(schema text, query text) RETURNS float LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
	PERFORM set_config('search_path', schema || ', public', true);
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN (plan -> 0 -> 'Plan' ->> 'Plan Rows')::float;
END $$;
CREATE FUNCTION joins_answer(schema text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
	PERFORM set_config('search_path', schema || ', public', true);
	EXECUTE format('SELECT count(*) || '' '' || coalesce(sum(hashtext(q::text)), 0) FROM (%s) q', query) INTO result;
	RETURN result;
END $$;
-- The same answer as in clear, and rows expected within a factor of two of those in clear.
CREATE FUNCTION joins_twin(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	sealed float := greatest(joins_rows('joins_sealed', query), 1);
	plain float := greatest(joins_rows('joins_plain', query), 1);
	answer text := joins_answer('joins_plain', query);
BEGIN
	IF joins_answer('joins_sealed', query) <> answer THEN RETURN 'another answer'; END IF;
	IF sealed / plain NOT BETWEEN 0.5 AND 2 THEN RETURN format('%s rows expected, in clear %s', sealed, plain); END IF;
	RETURN split_part(answer, ' ', 1) || ' rows, as in clear';
END $$;

-- Each type.
SELECT c, joins_twin(format('SELECT x.id AS a, y.id AS b FROM x JOIN y ON x.%1$I = y.%1$I', c)) AS inner_join,
       joins_twin(format('SELECT x.id FROM x WHERE x.%1$I IN (SELECT %1$I FROM y)', c)) AS semi_join
  FROM unnest('{t,n,by,m,d,z,u,j}'::text[]) c;
SELECT joins_twin('SELECT x.id AS a, y.id AS b FROM x JOIN y ON x.o = y.o AND x.id = y.id + 1');
-- Each kind of join, few values, NULLs, three keys, a key without tags.
SELECT query, joins_twin(query) FROM unnest(ARRAY[
	'SELECT x.id AS a, y.id AS b FROM x JOIN y ON x.few = y.few', 'SELECT x.id AS a, y.id AS b FROM x JOIN y ON x.half = y.half',
	'SELECT x.id AS a, y.id AS b FROM y JOIN x ON x.half = y.half AND y.id < 50', 'SELECT x.id AS a, y.id AS b FROM x LEFT JOIN y ON x.t = y.t', 'SELECT x.id AS a, y.id AS b FROM x RIGHT JOIN y ON x.half = y.half',
	'SELECT x.id AS a, y.id AS b FROM x FULL JOIN y ON x.half = y.half', 'SELECT x.id AS a, y.id AS b FROM x FULL JOIN y USING (t)', 'SELECT x.id AS a, y.id AS b FROM x JOIN y USING (t, few)',
	'SELECT x.id AS a, y.id AS b, z.id AS c FROM x JOIN y USING (t) JOIN z USING (t)', 'SELECT x.id AS a, y.id AS b, z.id AS c FROM x FULL JOIN y USING (t) FULL JOIN z USING (t)',
	'SELECT id FROM x WHERE t IN (SELECT t FROM y)', 'SELECT id FROM x WHERE t IN (SELECT t FROM y WHERE id <= 100)', 'SELECT id FROM x WHERE half IN (SELECT half FROM y)', 'SELECT id FROM y WHERE t IN (SELECT x.t FROM x JOIN z ON x.id = z.id)',
	'SELECT id FROM x WHERE (t, n) IN (SELECT t, n FROM y)', 'SELECT id FROM x WHERE EXISTS (SELECT FROM y WHERE y.t = x.t AND y.id > 500)', 'SELECT id FROM x WHERE NOT EXISTS (SELECT FROM y WHERE x.half = y.half)',
	'SELECT id FROM x WHERE NOT EXISTS (SELECT FROM y WHERE y.t = x.t)', 'SELECT id FROM x WHERE t NOT IN (SELECT t FROM y)', 'SELECT id FROM x WHERE t NOT IN (SELECT half FROM y)', 'SELECT id FROM x WHERE half NOT IN (SELECT t FROM y)',
	'SELECT id FROM x WHERE (t, few) NOT IN (SELECT t, few FROM y)', 'SELECT id FROM x WHERE t = ANY (SELECT t FROM y) OR id = 1', 'SELECT id, (SELECT count(*) FROM y WHERE y.few = x.few) FROM x WHERE id < 20',
	'SELECT x.id, l.b FROM x, LATERAL (SELECT y.id AS b FROM y WHERE y.half = x.half OFFSET 0) l WHERE x.id < 20', 'SELECT x.id FROM x JOIN y ON NOT (x.t = y.t) WHERE x.id < 20 AND y.id < 20',
	'SELECT x.id FROM x JOIN y ON x.t <> y.t WHERE x.id < 20 AND y.id < 20', 'SELECT a.id FROM (SELECT DISTINCT ON (t) id, t FROM x ORDER BY t) a JOIN (SELECT DISTINCT t FROM y) b ON a.t = b.t',
	'SELECT x.id AS a, y.id AS b FROM x JOIN y ON coalesce(x.half, x.t) = y.t', 'SELECT x.id AS a, y.id AS b FROM x JOIN y ON CASE WHEN x.id > 3 THEN x.t END = y.t', 'SELECT id FROM x WHERE t = few OR half = few',
	'SELECT x.id, max(y.id) FROM x JOIN y ON x.t = y.t GROUP BY x.id', 'SELECT x.id AS a, b.c FROM x JOIN (SELECT half, count(*) AS c FROM y GROUP BY half) b ON b.half = x.half',
	'SELECT x.id AS a, y.id AS b FROM x JOIN y ON x.t = y.t WHERE x.few = ''f1''']) query;
-- Coarser than in clear, and answered as there: values that do not meet, conditions that
-- follow from others, a key without tags.
SELECT query, joins_answer('joins_sealed', query) = joins_answer('joins_plain', query) AS as_in_clear FROM unnest(ARRAY[
	'SELECT x.id AS a, y.id AS b FROM x JOIN y ON x.few = y.half',
	'SELECT x.id AS a, z.id AS b FROM x JOIN y ON x.t = y.t JOIN z ON y.t = z.t AND x.t = z.t',
	'SELECT x.id AS a, z.id AS b FROM x JOIN z ON x.few = z.few AND x.t = z.t',
	'SELECT x.id FROM x, y WHERE x.t = y.t AND x.t = y.t AND y.t = ''t7''']) query;
-- Whichever ways of joining are off, nothing fails.
CREATE FUNCTION joins_without(off text[], query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE way text;
BEGIN
	FOREACH way IN ARRAY off LOOP PERFORM set_config('enable_' || way, 'off', true); END LOOP;
	RETURN CASE WHEN joins_answer('joins_sealed', query) = joins_answer('joins_plain', query) THEN 'as in clear' ELSE 'another answer' END;
END $$;
SELECT off, joins_without(off, 'SELECT x.id AS a, y.id AS b FROM x FULL JOIN y ON x.half = y.t') AS full_join,
       joins_without(off, 'SELECT x.id AS a, y.id AS b FROM x JOIN y ON x.t = y.t WHERE x.id < 30 AND y.id < 50') AS inner_join,
       joins_without(off, 'SELECT id FROM x WHERE id < 30 AND t IN (SELECT t FROM y WHERE id < 50)') AS semi_join,
       joins_without(off, 'SELECT id FROM x WHERE id < 30 AND t NOT IN (SELECT t FROM y WHERE id < 50)') AS not_in
  FROM (VALUES ('{hashjoin}'::text[]), ('{nestloop}'), ('{mergejoin}'), ('{hashjoin,nestloop}'), ('{hashjoin,mergejoin,hashagg}'), ('{material,memoize,sort}')) o (off);
-- Parallel, and as a prepared statement by both kinds of plan.
SET search_path = joins_sealed, public;
SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
SELECT count(*) FROM x JOIN y ON x.t = y.t;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET max_parallel_workers_per_gather;
PREPARE joined(text) AS SELECT count(*) FROM x JOIN y ON x.t = y.t AND x.t <> $1 WHERE y.t IN (SELECT t FROM z);
SET plan_cache_mode = force_custom_plan; EXECUTE joined('t700');
SET plan_cache_mode = force_generic_plan; EXECUTE joined('t700');
RESET plan_cache_mode;
-- Data changed by a join.
BEGIN;
UPDATE x SET few = y.half FROM y WHERE x.t = y.t AND y.half = 's2';
SELECT count(*) FROM x WHERE few = 's2';
DELETE FROM y USING z WHERE y.t = z.t;
MERGE INTO y USING x ON x.t = y.t AND x.id < 10 WHEN MATCHED THEN DELETE;
SELECT count(*) FROM y;
ROLLBACK;
-- A foreign key across keys.
CREATE TABLE parent (t sealed_text('joins.a') PRIMARY KEY);
CREATE TABLE child (t sealed_text('joins.b'));
INSERT INTO parent SELECT 'p' || i FROM generate_series(1, 20) i;
INSERT INTO child VALUES ('p1'), ('p2'), (NULL), ('nobody');
ALTER TABLE child ADD FOREIGN KEY (t) REFERENCES parent;
DELETE FROM child WHERE t = 'nobody';
ALTER TABLE child ADD FOREIGN KEY (t) REFERENCES parent;
INSERT INTO child VALUES ('p3');
INSERT INTO child VALUES ('p30');
DELETE FROM parent WHERE t = 'p3';
SELECT count(*) FROM parent JOIN child USING (t);
-- A view is stored as it was written.
CREATE VIEW joined AS SELECT x.id FROM x JOIN y ON x.t = y.t::sealed_text;
SELECT pg_get_viewdef('joined') ~ '#' AS rewritten, (SELECT count(*) FROM joined) AS rows;
-- Beside a plain column an index on it stays of use.
CREATE INDEX joins_t ON joins_plain.x (t);
EXPLAIN (COSTS OFF) SELECT FROM z JOIN joins_plain.x p ON p.t = z.t::text WHERE z.id = 700;
-- Without the right nothing is opened for an estimate, and a join is refused.
CREATE ROLE joins_nobody;
GRANT USAGE ON SCHEMA joins_sealed TO joins_nobody;
GRANT SELECT ON x, y TO joins_nobody;
SET ROLE joins_nobody;
EXPLAIN (COSTS OFF) SELECT FROM x JOIN y ON x.few = y.few;
SELECT count(*) FROM x JOIN y ON x.few = y.few;
RESET ROLE;
-- The operator itself, typed by hand over plain columns.
SELECT count(*) FROM joins_plain.x a JOIN joins_plain.y b ON a.t OPERATOR(pg_catalog.=#) b.t;
SELECT count(*) FROM joins_plain.x a WHERE a.few OPERATOR(pg_catalog.=#) 'f1';
SELECT 'a' OPERATOR(pg_catalog.=#) NULL::text AS unknown, 1.0 OPERATOR(pg_catalog.=#) 1.00 AS same;

RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA joins_plain, joins_sealed CASCADE;
DROP DOMAIN joins_domain;
DROP FUNCTION joins_rows, joins_answer, joins_twin, joins_without;
DELETE FROM _ward.unseal_grant;
DROP ROLE joins_nobody;
