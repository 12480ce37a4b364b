-- Nothing leaks (I4): errors, statistics and definitions over sealed columns. Every
-- value here holds "Secret", which this file's output shows only where it was typed.
SELECT ward.create_key('leaks', make_default => true);
CREATE ROLE leaks_reader;
CREATE ROLE leaks_blind;
SELECT ward.grant_unseal('leaks', 'leaks_reader', 'test');
CREATE TABLE leaks (
	id int PRIMARY KEY, name sealed_text('leaks') UNIQUE CHECK (name <> 'Secret forbidden'),
	note sealed_text('leaks') NOT NULL DEFAULT 'Secret default', n sealed_int8('leaks'), j sealed_jsonb('leaks'),
	EXCLUDE USING hash (n WITH =), EXCLUDE USING btree (j WITH =));
CREATE TABLE leaks_child (id int, name sealed_text('leaks') REFERENCES leaks (name));
CREATE TABLE leaks_part (x sealed_text('leaks')) PARTITION BY LIST (x);
CREATE TABLE leaks_part_hash (x sealed_text('leaks')) PARTITION BY HASH (x);
CREATE TABLE leaks_part_one PARTITION OF leaks_part_hash FOR VALUES WITH (MODULUS 1000000, REMAINDER 1);
CREATE DOMAIN leaks_domain AS sealed_text('leaks') CHECK (VALUE <> 'Secret domain');
CREATE TABLE leaks_typed (x leaks_domain);
CREATE TABLE leaks_plain (id int PRIMARY KEY, word text);
GRANT ALL ON leaks, leaks_child, leaks_part, leaks_part_hash, leaks_part_one, leaks_typed, leaks_plain TO leaks_reader, leaks_blind;
INSERT INTO leaks SELECT i, 'Secret ' || i, 'Secret note', 1000 + i, jsonb_build_object('Secret', i) FROM generate_series(1, 500) i;

-- The details of violated constraints, for whoever may open and whoever may not.
SET ROLE leaks_reader;
INSERT INTO leaks VALUES (0, 'Secret 1');
INSERT INTO leaks VALUES (0, 'Secret forbidden');
INSERT INTO leaks VALUES (0, 'Secret other', NULL);
INSERT INTO leaks VALUES (0, 'Secret other', 'x', 1001);
INSERT INTO leaks VALUES (0, 'Secret other', 'x', 1, '{"Secret": 1}');
INSERT INTO leaks_child VALUES (1, 'Secret nobody');
INSERT INTO leaks_child VALUES (1, 'Secret 1');
DELETE FROM leaks WHERE name = 'Secret 1';
INSERT INTO leaks_part VALUES ('Secret x');
INSERT INTO leaks_part_hash VALUES ('Secret x');
INSERT INTO leaks_part_one VALUES ('Secret x');
INSERT INTO leaks_typed VALUES ('Secret domain');
COPY leaks (id, name) FROM stdin;
900	Secret 900
901	Secret 2
\.
COPY leaks (id, n) FROM stdin;
902	Secret 902
\.
COPY leaks (id, name) FROM stdin;
903	Secret 903	too many
\.
COPY leaks (id, name) FROM stdin;
90x	Secret 904
\.
MERGE INTO leaks l USING (VALUES (0, 'Secret 2')) v (id, name) ON l.id = v.id WHEN NOT MATCHED THEN INSERT (id, name) VALUES (v.id, v.name);
SET ROLE leaks_blind;
INSERT INTO leaks VALUES (0, 'Secret 1');
INSERT INTO leaks VALUES (0, 'Secret forbidden');
COPY leaks (id, name) FROM stdin;
900	Secret 900
901	Secret 2
\.
-- What is not about sealed values is said as ever.
RESET ROLE;
INSERT INTO leaks_plain VALUES (1, 'public'), (1, 'public');
SELECT word::int FROM leaks_plain UNION ALL SELECT 'public'::text::int;
COPY leaks_plain FROM stdin;
one	public
\.

-- Errors that quote what a function was given: the state and the form stay.
SET ROLE leaks_reader;
SELECT name::text::int FROM leaks WHERE id = 1;
\echo :SQLSTATE
SELECT (name || 'x')::date FROM leaks WHERE id = 1;
SELECT name::text::jsonb FROM leaks WHERE id = 1;
SELECT name::text::uuid FROM leaks WHERE id = 1;
SELECT name::text::inet FROM leaks WHERE id = 1;
SELECT name::text::bool FROM leaks WHERE id = 1;
SELECT ('99999999999' || id)::int, name FROM leaks WHERE id = 1 AND name::text LIKE 'S%';
SELECT (n * 9223372036854775807)::int FROM leaks WHERE id = 1;
SELECT n / (n - n) FROM leaks WHERE id = 1;
SELECT date_trunc(name, now()) FROM leaks WHERE id = 1;
SELECT 'x' ~ (name || '(') FROM leaks WHERE id = 1;
SELECT to_number(name, '999') FROM leaks WHERE id = 1;
SELECT to_date(name, 'YYYY') FROM leaks WHERE id = 1;
SELECT to_tsquery('simple', name) FROM leaks WHERE id = 1;
SELECT jsonb_path_query(j, 'strict $.missing') FROM leaks WHERE id = 1;
SELECT jsonb_path_query(jsonb_build_object('v', name), '$.v.datetime("YYYY")') FROM leaks WHERE id = 1;
SELECT (jsonb_build_object('v', name) -> 'v')::int FROM leaks WHERE id = 1;
SELECT name::text::regclass FROM leaks WHERE id = 1;
SELECT set_config('work_mem', name, true) FROM leaks WHERE id = 1;
SELECT encode('x', name) FROM leaks WHERE id = 1;
SELECT name::varchar(3), name::text::varchar(3)::name::text::"char"::text::int FROM leaks WHERE id = 1;
RESET ROLE;
-- In a function, through a variable, a cursor, dynamic SQL, and a later statement.
CREATE FUNCTION leaks_through_variable() RETURNS int LANGUAGE plpgsql AS $$
DECLARE v text;
BEGIN
	SELECT name INTO v FROM leaks WHERE id = 1;
	RETURN v;
END $$;
CREATE FUNCTION leaks_through_sql() RETURNS int LANGUAGE plpgsql AS $$
DECLARE v text; r int;
BEGIN
	SELECT name INTO v FROM leaks WHERE id = 1;
	EXECUTE format('SELECT %L::int', v) INTO r;
	RETURN r;
END $$;
CREATE FUNCTION leaks_through_name() RETURNS int LANGUAGE plpgsql AS $$
DECLARE v text;
BEGIN
	SELECT name INTO v FROM leaks WHERE id = 1;
	EXECUTE format('SELECT 1 FROM %I', v);
	RETURN 1;
END $$;
SET ROLE leaks_reader;
SELECT leaks_through_variable();
SELECT leaks_through_sql();
SELECT leaks_through_name();
BEGIN;
DECLARE c CURSOR FOR WITH m AS MATERIALIZED (SELECT name::text AS t, id FROM leaks ORDER BY id)
	SELECT CASE WHEN id > 2 THEN t::int ELSE id END FROM m;
FETCH 1 FROM c;
FETCH 3 FROM c;
ROLLBACK;
BEGIN;
CREATE TEMP TABLE leaks_copy ON COMMIT DROP AS SELECT name::text AS t FROM leaks WHERE id = 1;
SELECT t::int FROM leaks_copy;
ROLLBACK;
-- A plan that was made before, in another transaction.
PREPARE leaks_plan AS SELECT id, 'Secret 1'::text::int FROM leaks WHERE name = 'Secret 1' AND id > $1;
PREPARE leaks_param(int, text) AS SELECT $2::int FROM leaks WHERE name = 'Secret 1' AND id > $1;
EXECUTE leaks_plan(0);
SET plan_cache_mode = force_generic_plan;
EXECUTE leaks_param(0, '1');
EXECUTE leaks_param(0, 'Secret parameter');
RESET plan_cache_mode;
-- Parallel: values opened by workers, failed in the leader and in workers.
RESET ROLE;
CREATE FUNCTION leaks_restricted(text) RETURNS int LANGUAGE sql PARALLEL RESTRICTED VOLATILE AS 'SELECT $1::int';
GRANT EXECUTE ON FUNCTION leaks_restricted TO leaks_reader;
ANALYZE leaks;
SET ROLE leaks_reader;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
SET parallel_leader_participation = off;
\set VERBOSITY terse
SELECT max(name::text)::int FROM leaks;
SELECT name::text::int FROM leaks;
SELECT leaks_restricted(name) FROM leaks;
\set VERBOSITY default
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET max_parallel_workers_per_gather;
RESET parallel_leader_participation;
-- What an application says by itself is its own.
DO $$ DECLARE v text; BEGIN SELECT name INTO v FROM leaks WHERE id = 1; RAISE EXCEPTION 'not found: %', length(v); END $$;
-- A statement that a mistake ends is told so.
SELECT nme FROM leaks WHERE name = 'Secret 1';
SELECT name FROM leaks WHERE name = 'Secret 1' AND nosuch(id);
SET ROLE leaks_blind;
SELECT name::text::int FROM leaks WHERE id = 1;
RESET ROLE;

-- Statistics hold what the column holds, whoever looks.
CREATE STATISTICS leaks_mcv (mcv, ndistinct, dependencies) ON note, n, id FROM leaks;
ALTER TABLE leaks ALTER n SET STATISTICS 1000;
ANALYZE leaks;
CREATE VIEW leaks_statistics AS
	SELECT attname, most_common_vals::text || coalesce(histogram_bounds::text, '') AS shown FROM pg_stats WHERE tablename = 'leaks'
	UNION ALL SELECT attname, histogram_bounds::text FROM pg_stats WHERE tablename = 'leaks' AND most_common_vals IS NULL
	UNION ALL SELECT 'mcv', m.values::text FROM pg_statistic_ext_data d, pg_mcv_list_items(d.stxdmcv) m;
GRANT SELECT ON leaks_statistics TO leaks_reader;
SELECT attname, count(shown) > 0 AS present, bool_or(shown LIKE '%Secret%') AS in_clear, bool_or(shown LIKE '%sealed:%') AS sealed
  FROM leaks_statistics WHERE attname <> 'id' GROUP BY attname ORDER BY attname COLLATE "C";
SELECT count(*) FROM pg_statistic WHERE starelid = 'leaks'::regclass AND
	(stavalues1::text || coalesce(stavalues2::text, '') || coalesce(stavalues3::text, '')) LIKE '%Secret%';
SET ROLE leaks_reader;
SELECT attname, bool_or(histogram_bounds::text LIKE '%Secret%' OR most_common_vals::text LIKE '%Secret%') AS in_clear
  FROM pg_stats WHERE tablename = 'leaks' AND attname IN ('name', 'note') GROUP BY attname ORDER BY attname;
RESET ROLE;

-- What would keep opened values is refused; ...
CREATE STATISTICS leaks_expression ON (name::text), id FROM leaks;
CREATE STATISTICS leaks_expression ON (upper(name)) FROM leaks;
CREATE STATISTICS leaks_expression ON (name::text), id FROM leaks_nowhere;
CREATE FUNCTION leaks_immutable(x sealed_text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN x; END';
CREATE STATISTICS leaks_expression ON (leaks_immutable(name)) FROM leaks;
CREATE INDEX ON leaks (leaks_immutable(name));
CREATE INDEX ON leaks (id) WHERE leaks_immutable(name) > 'S';
CREATE INDEX ON leaks ((ROW(name)::text));
CREATE STATISTICS leaks_allowed ON id, (name = 'Secret 1'), (note IS NULL) FROM leaks;
CREATE INDEX leaks_allowed_index ON leaks ((name = note), id) WHERE name = ANY ('{Secret 1,Secret 2}'::sealed_text[]);
CREATE INDEX ON leaks ((name::text));
CREATE INDEX ON leaks (lower(name));
CREATE INDEX ON leaks (id) WHERE name::text LIKE 'S%';
CREATE INDEX ON leaks (id) WHERE length(name) > 3;
CREATE INDEX ON leaks ((j -> 'Secret'));
ALTER TABLE leaks ADD g text GENERATED ALWAYS AS (upper(name)) STORED;
CREATE TABLE leaks_range (x sealed_text('leaks')) PARTITION BY RANGE (lower(x));
-- ... a copy in clear is made only by whoever may open.
SET ROLE leaks_blind;
CREATE TEMP TABLE leaks_taken AS SELECT name::text FROM leaks;
RESET ROLE;
CREATE MATERIALIZED VIEW leaks_taken AS SELECT name::text FROM leaks;

-- Definitions hold their literals sealed.
CREATE TABLE leaks_part_a PARTITION OF leaks_part FOR VALUES IN ('Secret bound', 'Secret bound 2');
CREATE INDEX leaks_partial ON leaks (id) WHERE name = 'Secret partial';
CREATE VIEW leaks_view AS SELECT id, name = 'Secret view' AS same, CASE WHEN name IN ('Secret in', 'Secret in 2') THEN 1 END AS c FROM leaks;
CREATE MATERIALIZED VIEW leaks_matview AS SELECT id, name FROM leaks WHERE name = 'Secret matview';
CREATE POLICY leaks_policy ON leaks USING (name <> 'Secret policy') WITH CHECK (name <> 'Secret with check');
CREATE FUNCTION leaks_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER leaks_when BEFORE UPDATE ON leaks FOR EACH ROW WHEN (NEW.name = 'Secret when') EXECUTE FUNCTION leaks_trigger();
CREATE RULE leaks_rule AS ON INSERT TO leaks_view DO INSTEAD INSERT INTO leaks (id, name) VALUES (NEW.id, 'Secret rule');
CREATE FUNCTION leaks_body() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM leaks WHERE name = 'Secret atomic'; END;
CREATE FUNCTION leaks_argument(x sealed_text DEFAULT 'Secret argument') RETURNS int LANGUAGE sql AS 'SELECT 1';
-- Stored expressions hold a constant as the decimal numbers of its bytes: both are looked for.
ALTER TABLE leaks_plain ALTER word SET DEFAULT 'positive control: Found';
COMMENT ON TABLE leaks_plain IS 'positive control: Found';
CREATE FUNCTION leaks_search(needle text) RETURNS TABLE (catalog regclass, hits bigint) LANGUAGE plpgsql AS $$
BEGIN
	FOR catalog IN SELECT oid FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' ORDER BY relname COLLATE "C" LOOP
		EXECUTE format('SELECT count(*) FROM %s x WHERE position($1 IN x::text) > 0 OR position($2 IN x::text) > 0', catalog) INTO hits
			USING needle, (SELECT string_agg(ascii(c)::text, ' ' ORDER BY n) FROM regexp_split_to_table(needle, '') WITH ORDINALITY r (c, n));
		IF hits > 0 THEN RETURN NEXT; END IF;
	END LOOP;
END $$;
SELECT * FROM leaks_search('control: Found');
SELECT * FROM leaks_search('Secret');

DROP TABLE leaks, leaks_child, leaks_part, leaks_part_hash, leaks_typed, leaks_plain CASCADE;
DROP DOMAIN leaks_domain;
DROP FUNCTION leaks_through_variable, leaks_through_sql, leaks_through_name, leaks_restricted, leaks_trigger, leaks_argument, leaks_immutable, leaks_search;
DELETE FROM _ward.unseal_grant;
DROP OWNED BY leaks_reader, leaks_blind;
DROP ROLE leaks_reader, leaks_blind;
