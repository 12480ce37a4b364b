-- Plans over sealed columns: indexes and partitions are used for whatever a client sends,
-- and rows are estimated as for the same values in clear.
SELECT ward.create_key('plans.a', make_default => true);
SELECT ward.create_key('plans.b');
SELECT ward.grant_unseal('plans.a', current_user, 'test'), ward.grant_unseal('plans.b', current_user, 'test');
CREATE TABLE plans_plain (id int PRIMARY KEY, a text, b text, n bigint, skew text, state text);
INSERT INTO plans_plain
SELECT i, 'value ' || i, 'value ' || i, i, 'skew ' || (i % 10) * (i % 10) * (i % 7) / 50, CASE WHEN i % 50 = 0 THEN 'open' ELSE 'closed' END
  FROM generate_series(1, 5000) i;
CREATE TABLE plans (id int PRIMARY KEY, a sealed_text('plans.a'), b sealed_text('plans.b'), n sealed_int8('plans.a'), skew sealed_text('plans.a'), state sealed_text('plans.a'));
INSERT INTO plans SELECT * FROM plans_plain;
CREATE INDEX plans_a ON plans (a);
CREATE INDEX plans_b ON plans (b);
CREATE INDEX plans_n ON plans USING hash (n);
CREATE INDEX plans_open ON plans (id) WHERE state = 'open';
CREATE INDEX plans_plain_a ON plans_plain (a);
CREATE INDEX plans_plain_b ON plans_plain (b);
CREATE INDEX plans_plain_n ON plans_plain USING hash (n);
CREATE INDEX plans_plain_open ON plans_plain (id) WHERE state = 'open';
ANALYZE plans, plans_plain;
SET max_parallel_workers_per_gather = 0;

-- A plan's nodes and what they use, without ciphertext or costs.
CREATE FUNCTION plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	result text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		line := substring(line FROM '(?:->  )?\s*((?:[A-Z][a-z]+ )*(?:Scan|Join|Loop|Sort|Aggregate|Append|Unique|Limit|Update|Delete|Insert|Merge|Result|Materialize|Memoize|Hash)\y.*)');
		IF line IS NOT NULL AND line !~ 'Cond:|Filter:' THEN
			result := result || CASE WHEN result = '' THEN '' ELSE ', ' END || regexp_replace(line, '(on|using) (\w+) \w+$', '\1 \2');
		END IF;
	END LOOP;
	RETURN result;
END $$;
-- Is the index (or the partition, alone) what the query uses?
CREATE FUNCTION uses(what text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	plan text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP plan := plan || line || E'\n'; END LOOP;
	IF plan ~ ('(using|on) ' || what || '\y') AND plan !~ 'Seq Scan on plans(_plain)?\y' THEN RETURN 'yes'; END IF;
	RETURN E'no:\n' || regexp_replace(plan, '\\+sealed:[A-Za-z0-9+/=]+', '(sealed)', 'g');
END $$;

-- Literals, as an application writes them.
SELECT condition, uses(CASE WHEN condition ~ '\yn\y' THEN 'plans_n' WHEN condition ~ '\yb\y' THEN 'plans_b' ELSE 'plans_a' END,
	'SELECT id FROM plans WHERE ' || condition) FROM unnest(ARRAY[
	'a = ''value 7''', '''value 7'' = a', 'a = ''value 7''::text', 'a = ''value 7''::varchar', 'a = ''value 7''::varchar(20)', 'a = cast(''value 7'' AS sealed_text)',
	'a::text = ''value 7''', 'a::varchar = ''value 7''', 'a IN (''value 7'')', 'a IN (''value 7'', ''value 8'')', 'a IN (''value 7'', NULL)',
	'a IN (''1'', ''2'', ''3'', ''4'', ''5'', ''6'', ''7'', ''8'', ''9'', ''10'', NULL)', 'a = ANY (''{value 7,value 8}'')', 'a = ANY (ARRAY[''value 7'', ''x''])',
	'a = ANY (ARRAY[''value 7'', ''x'']::varchar[])', 'a = ANY (''{value 7}''::text[])', '(a, n) = (''value 7'', 7) AND n IS NOT NULL', 'a = ''value 7'' OR a = ''value 8''',
	'a = ''value '' || 7', 'a = lower(''VALUE 7'')', 'a = (SELECT ''value 7'')', 'a = (SELECT ''value 7''::text)', 'a IS NULL', 'a IN (SELECT ''value '' || i FROM generate_series(1, 3) i)',
	'a = ''value 7'' AND b = ''value 7''', 'b = ''value 7''', 'n = 7', 'n = 7::smallint', 'n = 7::bigint', 'n = ''7''', '7 = n', 'n IN (7, 8, 9)', 'n = ANY (''{7,8}''::int[])', 'n = 3 + 4']) condition;

-- Parameters of each kind, by custom and by generic plans.
CREATE FUNCTION by_parameter(kind text, condition text, value text, index text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text := '';
	found int;
BEGIN
	EXECUTE format('PREPARE p%s AS SELECT id FROM plans WHERE %s', CASE WHEN kind = '' THEN '' ELSE '(' || kind || ')' END, condition);
	FOR mode IN 1..2 LOOP
		PERFORM set_config('plan_cache_mode', (ARRAY['force_custom_plan', 'force_generic_plan'])[mode], true);
		EXECUTE format('EXECUTE p(%L)', value) INTO found;
		result := result || CASE mode WHEN 1 THEN 'custom ' ELSE ', generic ' END || uses(index, format('EXECUTE p(%L)', value)) || ' ' || coalesce(found::text, 'none');
	END LOOP;
	DEALLOCATE p;
	RETURN result;
END $$;
SELECT kind, condition, by_parameter(kind, condition, value, index) FROM (VALUES
	('', 'a = $1', 'value 7', 'plans_a'), ('unknown', 'a = $1', 'value 7', 'plans_a'), ('text', 'a = $1', 'value 7', 'plans_a'), ('varchar', 'a = $1', 'value 7', 'plans_a'),
	('sealed_text', 'a = $1', 'value 7', 'plans_a'), ('sealed_text(''plans.a'')', 'a = $1', 'value 7', 'plans_a'), ('', '$1 = a', 'value 7', 'plans_a'),
	('text', 'a::text = $1', 'value 7', 'plans_a'), ('text', 'a IN ($1, ''x'')', 'value 7', 'plans_a'), ('', 'a IN ($1)', 'value 7', 'plans_a'),
	('varchar', 'a IN ($1, ''1'', ''2'', ''3'', ''4'', ''5'', ''6'', ''7'', ''8'', NULL)', 'value 7', 'plans_a'), ('text[]', 'a = ANY ($1)', '{value 7,NULL}', 'plans_a'),
	('varchar[]', 'a = ANY ($1)', '{value 7}', 'plans_a'), ('sealed_text[]', 'a = ANY ($1)', '{value 7}', 'plans_a'), ('', 'a = ANY ($1)', '{value 7,x}', 'plans_a'),
	('text', 'a = lower($1)', 'VALUE 7', 'plans_a'), ('', 'n = $1', '7', 'plans_n'), ('int', 'n = $1', '7', 'plans_n'), ('smallint', 'n = $1', '7', 'plans_n'), ('bigint', 'n = $1', '7', 'plans_n'),
	('int[]', 'n = ANY ($1)', '{7}', 'plans_n'), ('bigint[]', 'n = ANY ($1)', '{7}', 'plans_n')) k (kind, condition, value, index);

-- Joins: under one key by tags, in each way; under two by what they open to.
SET enable_mergejoin = off; SET enable_nestloop = off;
SELECT plan_of('SELECT count(*) FROM plans x JOIN plans y ON x.a = y.a');
SELECT count(*) FROM plans x JOIN plans y ON x.a = y.a;
SELECT plan_of('SELECT count(*) FROM plans x LEFT JOIN plans y USING (n)');
SELECT count(*), count(y.id) FROM plans x LEFT JOIN plans y ON x.n = y.n AND y.id < 100;
SELECT plan_of('SELECT count(*) FROM plans x JOIN plans y ON x.a = y.b');
SELECT count(*) FROM plans x JOIN plans y ON x.a = y.b;
RESET enable_mergejoin; SET enable_hashjoin = off;
SELECT plan_of('SELECT count(*) FROM plans x JOIN plans y ON x.a = y.a');
SELECT count(*) FROM plans x JOIN plans y ON x.a = y.a;
SELECT count(*) FROM plans x FULL JOIN plans y ON x.a = y.a;
SELECT count(*) FROM plans x JOIN plans y ON x.a = y.b;
SET enable_mergejoin = off; RESET enable_nestloop;
SELECT plan_of('SELECT count(*) FROM plans x JOIN plans y ON x.a = y.a WHERE x.id < 10');
SELECT count(*) FROM plans x JOIN plans y ON x.a = y.a WHERE x.id < 10;
SELECT plan_of('SELECT count(*) FROM plans_plain x JOIN plans y ON x.a = y.a WHERE x.id < 10');
SELECT count(*) FROM plans_plain x JOIN plans y ON x.a = y.a WHERE x.id < 10;
RESET enable_hashjoin; RESET enable_mergejoin;
SELECT plan_of('SELECT count(*) FROM plans x WHERE a NOT IN (SELECT a FROM plans y WHERE id < 100)');
SELECT count(*) FROM plans x WHERE a NOT IN (SELECT a FROM plans y WHERE id < 100);
SELECT plan_of('SELECT count(*) FROM plans x WHERE NOT EXISTS (SELECT FROM plans y WHERE y.a = x.a AND y.id < 100)');
SELECT plan_of('SELECT DISTINCT state FROM plans'), plan_of('SELECT skew, count(*) FROM plans GROUP BY skew');

-- A partial index over a condition on a sealed column.
SELECT uses('plans_open', 'SELECT id FROM plans WHERE state = ''open'' AND id < 100');
SELECT uses('plans_open', 'SELECT id FROM plans WHERE state = ''open''::text AND id < 100');
SELECT count(*) FROM plans WHERE state = 'open' AND id < 1000;
CREATE UNIQUE INDEX plans_one_open ON plans (a) WHERE state = 'open';
INSERT INTO plans (id, a, state) VALUES (6000, 'value 50', 'closed');
INSERT INTO plans (id, a, state) VALUES (6001, 'value 50', 'open');
INSERT INTO plans (id, a, state) VALUES (6001, 'value 50', 'open') ON CONFLICT (a) WHERE state = 'open' DO UPDATE SET id = excluded.id RETURNING id;
DROP INDEX plans_one_open;
DELETE FROM plans WHERE id >= 6000 OR id = 50;
INSERT INTO plans SELECT * FROM plans_plain WHERE id = 50;

-- Partitions are pruned, when planned and when run.
CREATE TABLE plans_hash (a sealed_text('plans.a') PRIMARY KEY, v int) PARTITION BY HASH (a);
CREATE TABLE plans_hash0 PARTITION OF plans_hash FOR VALUES WITH (MODULUS 4, REMAINDER 0);
CREATE TABLE plans_hash1 PARTITION OF plans_hash FOR VALUES WITH (MODULUS 4, REMAINDER 1);
CREATE TABLE plans_hash2 PARTITION OF plans_hash FOR VALUES WITH (MODULUS 4, REMAINDER 2);
CREATE TABLE plans_hash3 PARTITION OF plans_hash FOR VALUES WITH (MODULUS 4, REMAINDER 3);
INSERT INTO plans_hash SELECT a, id FROM plans_plain WHERE id <= 400;
CREATE TABLE plans_list (state sealed_text('plans.a'), v int) PARTITION BY LIST (state);
CREATE TABLE plans_new PARTITION OF plans_list FOR VALUES IN ('new');
CREATE TABLE plans_done PARTITION OF plans_list FOR VALUES IN ('done', 'gone');
CREATE TABLE plans_rest PARTITION OF plans_list DEFAULT;
INSERT INTO plans_list SELECT (ARRAY['new', 'done', 'gone', 'odd', NULL])[1 + i % 5], i FROM generate_series(1, 100) i;
SELECT tableoid::regclass, count(*) FROM plans_list GROUP BY 1 ORDER BY 1;
CREATE FUNCTION partitions(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	scans int := 0;
	removed text := '0';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
		IF line ~ '(Scan|Delete|Update) .*on plans_' AND line !~ 'never executed' AND line !~ 'Bitmap Index' THEN scans := scans + 1; END IF;
		removed := coalesce(substring(line FROM 'Subplans Removed: (\d+)'), removed);
	END LOOP;
	RETURN format('%s scanned, %s removed at run time', scans, removed);
END $$;
SELECT partitions('SELECT FROM plans_hash WHERE a = ''value 7''');
SELECT partitions('SELECT FROM plans_hash WHERE a = ''value 7''::varchar');
SELECT partitions('SELECT FROM plans_list WHERE state = ''new''');
SELECT partitions('SELECT FROM plans_list WHERE state IN (''done'', ''gone'')');
SELECT partitions('SELECT FROM plans_list WHERE state IS NULL');
SELECT partitions('SELECT FROM plans_list WHERE state = (SELECT ''new'')');
SELECT partitions('SELECT FROM plans_list l WHERE state = (SELECT state FROM plans_list WHERE v = 1)');
PREPARE pruned(text) AS SELECT v FROM plans_hash WHERE a = $1;
PREPARE pruned_list AS SELECT count(*) FROM plans_list WHERE state = $1;
PREPARE pruned_in(text, varchar) AS SELECT count(*) FROM plans_list WHERE state IN ($1, $2);
PREPARE pruned_any(varchar[]) AS SELECT count(*) FROM plans_list WHERE state = ANY ($1);
PREPARE pruned_mine(sealed_text[]) AS SELECT count(*) FROM plans_list WHERE state = ANY ($1);
SET plan_cache_mode = force_custom_plan;
SELECT partitions('EXECUTE pruned(''value 7'')'), partitions('EXECUTE pruned_list(''done'')'), partitions('EXECUTE pruned_in(''done'', ''gone'')');
EXECUTE pruned('value 7');
SELECT partitions('EXECUTE pruned_any(''{done,gone,NULL}'')'), partitions('EXECUTE pruned_mine(''{done}'')'), partitions('EXECUTE pruned_any(NULL)');
EXECUTE pruned_any('{done,gone,NULL}');
EXECUTE pruned_mine('{done}');
SET plan_cache_mode = force_generic_plan;
SELECT partitions('EXECUTE pruned(''value 7'')'), partitions('EXECUTE pruned_list(''done'')'), partitions('EXECUTE pruned_in(''done'', ''gone'')');
EXECUTE pruned('value 7');
EXECUTE pruned_list('done');
EXECUTE pruned_in('done', 'gone');
EXECUTE pruned_any('{done,gone,NULL}');
EXECUTE pruned_mine('{done}');
RESET plan_cache_mode;
SELECT partitions('SELECT FROM plans_plain p, plans_hash h WHERE p.id = 7 AND h.a = p.a');
UPDATE plans_list SET state = 'done' WHERE state = 'new' AND v < 20;
DELETE FROM plans_list WHERE state = 'odd' RETURNING tableoid::regclass;
SELECT tableoid::regclass, count(*) FROM plans_list GROUP BY 1 ORDER BY 1;
SET enable_partitionwise_join = on; SET enable_partitionwise_aggregate = on;
SELECT count(*) FROM plans_hash x JOIN plans_hash y USING (a);
SELECT count(*) FROM (SELECT a, count(*) FROM plans_hash GROUP BY a) g;
RESET enable_partitionwise_join; RESET enable_partitionwise_aggregate;

-- Upserts and MERGE.
INSERT INTO plans_hash VALUES ('value 7', 1000) ON CONFLICT (a) DO UPDATE SET v = plans_hash.v + excluded.v WHERE plans_hash.a = 'value 7' RETURNING a, v;
INSERT INTO plans_hash VALUES ('value 7', 1), ('value 8', 1) ON CONFLICT DO NOTHING;
MERGE INTO plans p USING (VALUES ('value 7', 'merged'), ('value 9999', 'new')) s (a, state) ON p.a = s.a
	WHEN MATCHED AND p.state = 'closed' THEN UPDATE SET state = s.state
	WHEN NOT MATCHED THEN INSERT (id, a, state) VALUES (9999, s.a, s.state);
SELECT id, a, state FROM plans WHERE a IN ('value 7', 'value 9999') ORDER BY id;
SELECT uses('plans_a', $$MERGE INTO plans p USING (SELECT 'value 7'::text AS a) s ON p.a = s.a WHEN MATCHED THEN DELETE$$);
MERGE INTO plans p USING plans_plain s ON p.a = s.a AND s.id = 7 WHEN MATCHED AND s.a = 'value 7' THEN UPDATE SET state = s.state;
MERGE INTO plans p USING plans q ON p.a = q.b AND q.id < 3 WHEN MATCHED THEN DO NOTHING;
DELETE FROM plans WHERE a = 'value 9999';

-- Row-level security, views, triggers, rules.
CREATE ROLE plans_tenant;
SELECT ward.grant_unseal('plans.a', 'plans_tenant', 'test');
GRANT SELECT, INSERT, UPDATE ON plans TO plans_tenant;
ALTER TABLE plans ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON plans USING (a = current_setting('plans.tenant')) WITH CHECK (state <> 'forbidden');
SET plans.tenant = 'value 7';
SET ROLE plans_tenant;
SELECT id, a FROM plans;
SELECT count(*) FROM plans WHERE b = 'value 8';
SELECT uses('plans_a', 'SELECT id FROM plans');
-- The comparison is leakproof: a look-up goes by index also below another's policy.
RESET ROLE;
DROP POLICY tenant ON plans;
CREATE POLICY tenant ON plans USING (pg_backend_pid() > 0) WITH CHECK (state <> 'forbidden');
SET ROLE plans_tenant;
SELECT uses('plans_b', 'SELECT id FROM plans WHERE b = ''value 8''');
UPDATE plans SET state = 'forbidden';
RESET ROLE;
DROP POLICY tenant ON plans;
ALTER TABLE plans DISABLE ROW LEVEL SECURITY;
CREATE VIEW plans_view AS SELECT id, a, state, n FROM plans WHERE state = 'open' WITH CHECK OPTION;
SELECT uses('plans_a', 'SELECT id FROM plans_view WHERE a = ''value 50''');
UPDATE plans_view SET n = n + 1 WHERE a = 'value 50' RETURNING n;
-- Also this error quotes no value.
INSERT INTO plans_view VALUES (7000, 'value 7000', 'closed', 1);
INSERT INTO plans_view VALUES (7000, 'value 7000', 'open', 1);
DELETE FROM plans_view WHERE a = 'value 7000' RETURNING id, state;
CREATE VIEW plans_barrier WITH (security_barrier) AS SELECT id, a FROM plans WHERE n IS NOT NULL;
SELECT uses('plans_a', 'SELECT id FROM plans_barrier WHERE a = ''value 50''');
CREATE FUNCTION plans_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF new.a = 'value 12' AND new.state IS DISTINCT FROM old.state THEN
		new.b := (SELECT b FROM plans WHERE a = new.a) || '!';
	END IF;
	IF new.n > 100 THEN RETURN NULL; END IF;
	RETURN new;
END $$;
CREATE TRIGGER plans_trigger BEFORE UPDATE ON plans FOR EACH ROW WHEN (old.state = 'closed') EXECUTE FUNCTION plans_trigger();
UPDATE plans SET state = 'seen' WHERE a IN ('value 12', 'value 120') RETURNING id, b;
DROP TRIGGER plans_trigger ON plans;
CREATE FUNCTION plans_find(text, sealed_text) RETURNS int LANGUAGE sql STABLE AS 'SELECT id FROM public.plans WHERE a = $1 OR a = $2 ORDER BY id DESC LIMIT 1';
SELECT plans_find('value 3', 'value 4');
CREATE FUNCTION plans_loop(wanted varchar) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	found int := 0;
	one record;
BEGIN
	FOR i IN 1..8 LOOP
		SELECT id INTO STRICT one FROM plans WHERE a = wanted;
		found := found + one.id;
	END LOOP;
	RETURN found;
END $$;
SELECT plans_loop('value 3');

-- With no search_path at all, and as the very first statement of a session.
SET search_path = '';
SELECT public.uses('plans_a', 'SELECT id FROM public.plans WHERE a = ''value 7''');
SELECT id FROM public.plans WHERE a = 'value 7' AND n IN (7, 8) AND b = 'value 7';
SELECT a, count(*) FROM public.plans WHERE id < 4 GROUP BY a ORDER BY a DESC;
RESET search_path;
\c -
SELECT id FROM plans WHERE a = 'value 7';
\c -
SELECT uses('plans_a', 'SELECT id FROM plans WHERE a IN (''value 7'', ''value 8'')');
\c -
INSERT INTO plans_hash VALUES ('value 7', 0) ON CONFLICT (a) DO NOTHING;

-- Rows are estimated as for the same values in clear: within a tenth, or one row. (Joins of
-- columns under two keys: seal_joins. Those with a plain column are estimated as joins of
-- expressions.)
DELETE FROM plans; INSERT INTO plans SELECT * FROM plans_plain; ANALYZE plans;
CREATE FUNCTION rows_of(query text) RETURNS float LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN (plan -> 0 -> 'Plan' ->> 'Plan Rows')::float;
END $$;
CREATE FUNCTION estimated(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	sealed float := rows_of(replace(query, '{t}', 'plans'));
	plain float := rows_of(replace(query, '{t}', 'plans_plain'));
BEGIN
	RETURN CASE WHEN abs(sealed - plain) <= greatest(1, plain / 10) THEN 'as in clear' ELSE format('%s, in clear %s', sealed, plain) END;
END $$;
SELECT query, estimated(query) FROM unnest(ARRAY[
	'SELECT FROM {t} WHERE a = ''value 7''', 'SELECT FROM {t} WHERE skew = ''skew 0''', 'SELECT FROM {t} WHERE skew = ''skew 3''', 'SELECT FROM {t} WHERE skew = ''nothing''',
	'SELECT FROM {t} WHERE skew <> ''skew 0''', 'SELECT FROM {t} WHERE skew = ''skew 0''::varchar', 'SELECT FROM {t} WHERE skew::text = ''skew 0''', 'SELECT FROM {t} WHERE skew IN (''skew 0'', ''skew 3'', ''x'')',
	'SELECT FROM {t} WHERE skew = ANY (''{skew 0,skew 1}''::text[])', 'SELECT FROM {t} WHERE skew NOT IN (''skew 0'', ''skew 1'')', 'SELECT FROM {t} WHERE state = ''open''', 'SELECT FROM {t} WHERE state = ''open'' AND skew = ''skew 0''',
	'SELECT FROM {t} WHERE skew = ''skew 0'' OR state = ''open''', 'SELECT FROM {t} WHERE NOT skew = ''skew 0''', 'SELECT FROM {t} WHERE a IS NULL', 'SELECT FROM {t} WHERE n = 7', 'SELECT FROM {t} WHERE n IN (7, 8)',
	'SELECT FROM {t} x JOIN {t} y ON x.a = y.a', 'SELECT FROM {t} x JOIN {t} y ON x.skew = y.skew', 'SELECT FROM {t} x JOIN {t} y ON x.skew = y.skew WHERE x.state = ''open''', 'SELECT FROM {t} x JOIN {t} y ON x.n = y.n',
	'SELECT FROM {t} x LEFT JOIN {t} y ON x.skew = y.a', 'SELECT FROM {t} x WHERE EXISTS (SELECT FROM {t} y WHERE y.skew = x.skew AND y.state = ''open'')', 'SELECT FROM {t} x WHERE a NOT IN (SELECT skew FROM {t})',
	'SELECT FROM {t} x JOIN plans_plain p ON p.a = x.a', 'SELECT skew, count(*) FROM {t} GROUP BY skew', 'SELECT skew, state, count(*) FROM {t} GROUP BY skew, state', 'SELECT DISTINCT a FROM {t}',
	'SELECT skew FROM {t} UNION SELECT state FROM {t}', 'SELECT skew FROM {t} INTERSECT SELECT state FROM {t}', 'SELECT count(*) FROM {t} GROUP BY skew HAVING count(*) > 5', 'SELECT a FROM {t} ORDER BY a LIMIT 5']) query;
PREPARE estimate_plain(text) AS SELECT FROM plans_plain WHERE skew = $1;
PREPARE estimate_sealed(text) AS SELECT FROM plans WHERE skew = $1;
SET plan_cache_mode = force_custom_plan;
SELECT rows_of('EXECUTE estimate_sealed(''skew 0'')') / rows_of('EXECUTE estimate_plain(''skew 0'')') BETWEEN 0.9 AND 1.1 AS as_in_clear;
SET plan_cache_mode = force_generic_plan;
SELECT rows_of('EXECUTE estimate_sealed(''skew 0'')') / rows_of('EXECUTE estimate_plain(''skew 0'')') BETWEEN 0.9 AND 1.1 AS as_in_clear;
RESET plan_cache_mode;

-- Of values without tags ANALYZE learns only what it need not compare for.
SELECT ward.create_key('plans.mute', search => 'none');
CREATE DOMAIN plans_domain AS sealed_int8('plans.mute');
CREATE TABLE plans_mute (a sealed_text('plans.mute'), n plans_domain, b sealed_text('plans.a'));
INSERT INTO plans_mute SELECT CASE WHEN i % 2 = 0 THEN 'a' END, i, 'b' FROM generate_series(1, 10) i;
ANALYZE plans_mute;
SELECT attname, n_distinct, null_frac, avg_width > 0 AS wide, most_common_vals IS NULL AS hidden FROM pg_stats WHERE tablename = 'plans_mute' ORDER BY attname;
DROP TABLE plans_mute; DROP DOMAIN plans_domain;

DROP VIEW plans_view, plans_barrier;
DROP TABLE plans, plans_plain, plans_hash, plans_list;
DROP FUNCTION plan_of, uses, by_parameter, partitions, rows_of, estimated, plans_trigger, plans_find, plans_loop;
DELETE FROM _ward.unseal_grant;
DROP ROLE plans_tenant;
