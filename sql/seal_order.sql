-- Orderings and groups of sealed columns are those of their values, in every place where
-- SQL can order or group; each query is run over a plain copy too, and compared.
SELECT ward.create_key('order.a', make_default => true);
SELECT ward.create_key('order.b');
CREATE TABLE order_plain (id int, a text, b text, n bigint, d date);
INSERT INTO order_plain
SELECT i, CASE WHEN i % 11 > 0 THEN chr(97 + i * 7 % 26) || 'é' || i % 9 END, chr(97 + i * 5 % 26) || 'é' || i % 4, i * 37 % 50 - 25,
       date '2000-01-01' + i * 13 % 40
  FROM generate_series(1, 120) i;
CREATE TABLE order_sealed (id int, a sealed_text('order.a'), b sealed_text('order.b'), n sealed_int8('order.a'), d sealed_date('order.b'));
INSERT INTO order_sealed SELECT * FROM order_plain;
ANALYZE order_plain, order_sealed;
SELECT ward.grant_unseal('order.a', current_user, 'test'), ward.grant_unseal('order.b', current_user, 'test');

-- The rows of a query, in their order, over both tables.
CREATE FUNCTION order_same(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plain text;
	sealed text;
	rows bigint;
BEGIN
	EXECUTE format('SELECT string_agg(q::text, E''\n''), count(*) FROM (%s) q', replace(query, '{t}', 'order_plain')) INTO plain, rows;
	EXECUTE format('SELECT string_agg(q::text, E''\n'') FROM (%s) q', replace(query, '{t}', 'order_sealed')) INTO sealed;
	RETURN CASE WHEN plain = sealed THEN 'same, ' || rows ELSE E'differs:\n' || plain || E'\nbut\n' || sealed END;
END $$;

SELECT order_same('SELECT a FROM {t} ORDER BY a LIMIT 30');
SELECT order_same('SELECT a, id FROM {t} ORDER BY a DESC NULLS LAST, id OFFSET 5');
SELECT order_same('SELECT a, n FROM {t} ORDER BY 2, 1, id FETCH FIRST 20 ROWS WITH TIES');
SELECT order_same('SELECT DISTINCT a FROM {t} ORDER BY a');
SELECT order_same('SELECT DISTINCT a, n FROM {t} ORDER BY n DESC, a LIMIT 7 OFFSET 2');
SELECT order_same('SELECT DISTINCT ON (a) a, id FROM {t} ORDER BY a, id DESC');
SELECT order_same('SELECT DISTINCT ON (a, n) a, n, id FROM {t} ORDER BY n, a, id');
SELECT order_same('SELECT id FROM (SELECT DISTINCT ON (a) a, id FROM {t} ORDER BY a, id) s ORDER BY id');
SELECT order_same('SELECT a FROM {t} WHERE id < 20 UNION SELECT a FROM {t} WHERE id > 110 ORDER BY a');
SELECT order_same('SELECT a FROM {t} WHERE id < 20 UNION SELECT b FROM {t} WHERE id < 30 ORDER BY 1 DESC LIMIT 9');
SELECT order_same('SELECT a FROM {t} UNION ALL SELECT b FROM {t} ORDER BY 1 LIMIT 50');
SELECT order_same('SELECT a FROM {t} INTERSECT SELECT b FROM {t} ORDER BY 1');
SELECT order_same('SELECT a FROM {t} EXCEPT ALL SELECT b FROM {t} ORDER BY 1 NULLS FIRST');
SELECT order_same('(SELECT a FROM {t} ORDER BY a LIMIT 3) UNION (SELECT b FROM {t} ORDER BY b DESC LIMIT 3) ORDER BY a');
SELECT order_same('SELECT a, count(*) FROM {t} GROUP BY a ORDER BY a');
SELECT order_same('SELECT a, count(*) FROM {t} GROUP BY a HAVING min(n) < 0 ORDER BY count(*) DESC, a LIMIT 10');
SELECT order_same('SELECT coalesce(a, b) AS x, count(*) FROM {t} GROUP BY coalesce(a, b) ORDER BY x');
SELECT order_same('SELECT coalesce(a, b) AS x FROM {t} GROUP BY 1 HAVING coalesce(a, b) > ''m'' ORDER BY 1');
SELECT order_same('SELECT DISTINCT CASE WHEN id % 2 = 0 THEN a ELSE b END AS x FROM {t} ORDER BY x');
SELECT order_same('SELECT x, count(*) FROM (SELECT a AS x FROM {t} UNION ALL SELECT b FROM {t}) u GROUP BY x ORDER BY x');
SELECT order_same('SELECT a, b, count(*) FROM {t} GROUP BY GROUPING SETS ((a), (b), ()) ORDER BY a, b, count(*)');
SELECT order_same('SELECT a, count(*) FROM {t} GROUP BY ROLLUP (a) ORDER BY a, 2');
SELECT order_same('SELECT id, row_number() OVER (ORDER BY a, id), rank() OVER (ORDER BY n DESC) FROM {t} ORDER BY id');
SELECT order_same('SELECT id, count(*) OVER (PARTITION BY a), first_value(b) OVER (PARTITION BY a ORDER BY b, id) FROM {t} ORDER BY id');
SELECT order_same('SELECT id, count(*) OVER (PARTITION BY coalesce(a, b)) FROM {t} ORDER BY id');
SELECT order_same('SELECT id, sum(n) OVER w, lag(a) OVER w FROM {t} WINDOW w AS (PARTITION BY d ORDER BY n, id) ORDER BY id');
SELECT order_same('SELECT string_agg(a, '','' ORDER BY a DESC), array_agg(id ORDER BY n, id) FROM {t}');
SELECT order_same('SELECT string_agg(DISTINCT a, '','' ORDER BY a) FROM {t}');
SELECT order_same('SELECT array_agg(DISTINCT a ORDER BY a DESC)::text[] FROM {t}');
SELECT order_same('SELECT array_agg(DISTINCT n ORDER BY n DESC)::bigint[], string_agg(DISTINCT a, '','' ORDER BY a DESC) FROM {t}');
SELECT order_same('SELECT count(DISTINCT a), count(DISTINCT coalesce(a, b)), count(DISTINCT n) FROM {t}');
SELECT order_same('SELECT min(a), max(a), min(n), max(d), sum(n), avg(n)::numeric(9,3) FROM {t}');
SELECT order_same('SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY n), percentile_disc(0.1) WITHIN GROUP (ORDER BY d DESC) FROM {t}');
SELECT order_same('SELECT mode() WITHIN GROUP (ORDER BY d) FROM {t} WHERE id < 60');
SELECT order_same('SELECT greatest(a, ''m''), least(n, 3::bigint), greatest(d, date ''2000-01-20'') FROM {t} ORDER BY id');
SELECT order_same('WITH w AS (SELECT DISTINCT a FROM {t}) SELECT a FROM w ORDER BY a LIMIT 4');
SELECT order_same('SELECT o.id, (SELECT DISTINCT a FROM {t} i WHERE i.n = o.n ORDER BY a LIMIT 1) FROM {t} o ORDER BY o.id');
SELECT order_same('SELECT l.a, o.id FROM {t} o, LATERAL (SELECT a FROM {t} i WHERE i.n = o.n UNION SELECT b FROM {t} i WHERE i.id = o.id ORDER BY 1 LIMIT 2) l ORDER BY o.id, l.a');
SELECT order_same('SELECT x.id FROM {t} x JOIN {t} y ON x.a = y.b ORDER BY x.a, y.id, x.id LIMIT 20');
SELECT order_same('SELECT id FROM {t} x WHERE a IN (SELECT b FROM {t}) ORDER BY a, id');
SELECT order_same('SELECT id FROM {t} x WHERE a NOT IN (SELECT b FROM {t}) ORDER BY a, id');
SELECT order_same('SELECT id FROM {t} x WHERE NOT EXISTS (SELECT FROM {t} y WHERE y.b = x.a AND y.id > x.id) ORDER BY id');
SELECT order_same('SELECT id FROM {t} WHERE (a, n) IN ((''bé7'', 12), (''ié7'', 9), (NULL, 3)) OR (a, b) = (b, a) ORDER BY id');
SELECT order_same('SELECT id FROM {t} WHERE a IS DISTINCT FROM b AND nullif(a, b) IS NOT NULL ORDER BY id');
SELECT order_same('SELECT CASE a WHEN ''bé7'' THEN 1 WHEN b THEN 2 ELSE 3 END FROM {t} ORDER BY id');

-- A set-returning SQL function is expanded by the planner; its order holds, too.
CREATE FUNCTION order_body_sealed(int) RETURNS SETOF text LANGUAGE sql STABLE AS 'SELECT a::text FROM (SELECT a FROM order_sealed WHERE id < $1 ORDER BY a LIMIT 10) s';
CREATE FUNCTION order_body_plain(int) RETURNS SETOF text LANGUAGE sql STABLE AS 'SELECT a::text FROM (SELECT a FROM order_plain WHERE id < $1 ORDER BY a LIMIT 10) s';
SELECT (SELECT array_agg(x) FROM order_body_sealed(50) x) = (SELECT array_agg(x) FROM order_body_plain(50) x) AS same;
EXPLAIN (COSTS OFF) SELECT x FROM order_body_sealed(50) x WHERE x > 'b';
-- A plan that holds the body ends when the function changes.
PREPARE order_body AS SELECT count(*) FROM order_body_sealed(50);
EXECUTE order_body;
CREATE OR REPLACE FUNCTION order_body_sealed(int) RETURNS SETOF text LANGUAGE sql STABLE AS 'SELECT a::text FROM (SELECT a FROM order_sealed WHERE id < $1 ORDER BY a LIMIT 4) s';
EXECUTE order_body;

-- What can't be made right is refused, and says what to write.
SELECT rank('x') WITHIN GROUP (ORDER BY a) FROM order_sealed;
SELECT greatest(a, b) FROM order_sealed;
SELECT array_agg(a) FROM order_sealed GROUP BY id ORDER BY 1;
SELECT order_same('SELECT array_agg(a)::text[] FROM {t} GROUP BY id ORDER BY 1');

-- Without the right nothing is ordered or compared across keys; grouping under one key is.
SELECT ward.revoke_unseal('order.b', current_user, 'test');
SELECT count(*) FROM (SELECT b FROM order_sealed GROUP BY b) g;
SELECT count(*) FROM (SELECT DISTINCT ON (b) b FROM order_sealed) g;
SELECT id FROM order_sealed ORDER BY b;
SELECT a FROM order_sealed UNION SELECT b FROM order_sealed;
SELECT count(*) FROM order_sealed GROUP BY coalesce(a, b);

DROP TABLE order_sealed, order_plain;
DROP FUNCTION order_same, order_body_sealed, order_body_plain;
DELETE FROM _ward.unseal_grant;
