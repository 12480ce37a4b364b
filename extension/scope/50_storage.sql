-- scope: the other two kinds of breach. A stolen backup, disk or dump has everybody who
-- stood in its tables then; a lost key opens ciphertext that left, or that lies there.

-- A set of people with a verdict, without what only sessions have.
CREATE FUNCTION _ward.storage_set(class text, certain boolean, subjects bytea, columns_clear text[], columns_sealed text[],
	first_seen timestamptz, last_seen timestamptz, reason text)
	RETURNS _ward.storage_part
	LANGUAGE sql IMMUTABLE
	RETURN ROW(class, certain, columns_clear, columns_sealed, first_seen, last_seen, NULL, '{}', ARRAY[reason], NULL, NULL, subjects)::_ward.storage_part;
COMMENT ON FUNCTION _ward.storage_set(text, boolean, bytea, text[], text[], timestamptz, timestamptz, text) IS
	'a set of people with a verdict and its reason';

-- Groups of people with the same answer. Nobody is in two.
CREATE FUNCTION _ward.storage_groups(parts _ward.storage_part[]) RETURNS SETOF _ward.storage_part
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
	WITH part AS MATERIALIZED (
		SELECT row_number() OVER () AS n, x.* FROM unnest(parts) x
	), person AS (
		-- Which parts somebody is in: few combinations, of which each is looked at once.
		SELECT p.subject_class, m.number, bool_or(p.certain) AS certain, array_agg(p.n ORDER BY p.n) AS ns
		FROM part p, LATERAL _ward.subject_set_members(p.subjects) m(number)
		GROUP BY p.subject_class, m.number
	), combination AS MATERIALIZED (
		SELECT row_number() OVER () AS id, p.subject_class, p.certain, p.ns, _ward.subject_set_agg(p.number) AS subjects
		FROM person p GROUP BY p.subject_class, p.certain, p.ns
	), told AS MATERIALIZED (
		-- Who is certain anywhere is told of that alone.
		SELECT c.id, x.* FROM combination c, LATERAL unnest(c.ns) k(n) JOIN part x ON x.n = k.n WHERE x.certain = c.certain
	), clear AS (
		SELECT t.id, array_agg(DISTINCT k ORDER BY k) AS names FROM told t, unnest(t.columns_clear) k GROUP BY t.id
	), sealed AS (
		SELECT t.id, array_agg(DISTINCT k ORDER BY k) AS names FROM told t, unnest(t.columns_sealed) k GROUP BY t.id
	), sessions AS (
		SELECT t.id, array_agg(DISTINCT k ORDER BY k) AS names FROM told t, unnest(t.sessions) k GROUP BY t.id
	), reasons AS (
		SELECT t.id, array_agg(DISTINCT k ORDER BY k) AS names FROM told t, unnest(t.reasons) k GROUP BY t.id
	), span AS (
		SELECT t.id, min(t.first_seen) AS first_seen, max(t.last_seen) AS last_seen, sum(t.statements)::bigint AS statements,
			   min(t.first_position) AS first_position, max(t.last_position) AS last_position
		FROM told t GROUP BY t.id
	)
	SELECT c.subject_class, c.certain, coalesce(clear.names, '{}'),
		   ARRAY(SELECT k FROM unnest(sealed.names) k WHERE k <> ALL (coalesce(clear.names, '{}'))),
		   span.first_seen, span.last_seen, span.statements, coalesce(sessions.names, '{}'), coalesce(reasons.names, '{}'),
		   span.first_position, span.last_position, c.subjects
	FROM combination c
	JOIN span ON span.id = c.id
	LEFT JOIN clear ON clear.id = c.id
	LEFT JOIN sealed ON sealed.id = c.id
	LEFT JOIN sessions ON sessions.id = c.id
	LEFT JOIN reasons ON reasons.id = c.id
$$;
COMMENT ON FUNCTION _ward.storage_groups(_ward.storage_part[]) IS 'sets of people with a verdict each, as groups with the same answer';

CREATE FUNCTION _ward.storage_people(parts _ward.storage_part[])
	RETURNS TABLE (subject_class text, subject text, verdict text, columns_clear text[], columns_sealed text[],
		first_seen timestamptz, last_seen timestamptz, reasons text[])
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT g.subject_class, n.subject, CASE WHEN g.certain THEN 'certain' ELSE 'possible' END, g.columns_clear, g.columns_sealed,
		   g.first_seen, g.last_seen, g.reasons
	FROM _ward.storage_groups(parts) g, LATERAL _ward.scope_names(g.subject_class, g.subjects) n
$$;
COMMENT ON FUNCTION _ward.storage_people(_ward.storage_part[]) IS 'sets of people with a verdict each, as one row a person';

-- Everybody whom a column names now.
CREATE FUNCTION _ward.storage_now(target regclass, subject name, class text) RETURNS bytea
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	number text;
	everybody bytea;
BEGIN
	SELECT _ward.scope_number(storage_now.class, a.atttypid, quote_ident(a.attname)) INTO number
	FROM pg_attribute a WHERE a.attrelid = target AND a.attname = storage_now.subject AND NOT a.attisdropped;
	IF number IS NULL THEN
		RETURN _ward.subject_set('{}');
	END IF;
	EXECUTE format('SELECT _ward.subject_set_agg(%s) FROM %s', number, target) INTO everybody;
	RETURN everybody;
END
$$;
COMMENT ON FUNCTION _ward.storage_now(regclass, name, text) IS 'everybody whom a column names now';

-- Who stood there then, by what the trail knows and the table holds now.
CREATE FUNCTION _ward.relation_parts(relations regclass[], as_of timestamptz, exposed_keys text[], of_class text)
	RETURNS _ward.storage_part[]
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
	SET jit = off
AS $$
DECLARE
	nobody constant bytea := _ward.subject_set('{}');
	parts _ward.storage_part[] := '{}';
	unknown text;
	w record;
	e record;
	clear text[];
	sealed text[];
	now_there bytea;
	certain bytea;
	steady boolean;
BEGIN
	IF coalesce(cardinality(relations), 0) = 0 OR array_position(relations, NULL) IS NOT NULL OR as_of IS NULL OR exposed_keys IS NULL THEN
		RAISE EXCEPTION 'say which tables were stolen, and as of when' USING ERRCODE = 'null_value_not_allowed',
			HINT = 'Say, ward.relation_scope(ARRAY[''person'']::regclass[], ''2021-11-09 12:00'').';
	END IF;
	IF as_of > clock_timestamp() THEN
		RAISE EXCEPTION 'the tables were stolen in the future' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	SELECT string_agg(r::text, ', ') INTO unknown FROM unnest(relations) r
	WHERE NOT EXISTS (SELECT FROM _ward.watch x WHERE x.target = r) AND NOT EXISTS (SELECT FROM _ward.relation_version v WHERE v.relid = r);
	IF unknown IS NOT NULL THEN
		RAISE EXCEPTION 'not watched: %', unknown USING ERRCODE = 'WD402',
			DETAIL = 'Without a watch nobody knows which column says whose row it is.', HINT = 'ward.watches lists the tables that are watched.';
	END IF;
	SELECT string_agg(format('"%s"', x), ', ') INTO unknown FROM unnest(exposed_keys) x WHERE NOT EXISTS (SELECT FROM _ward.key k WHERE k.name = x);
	IF unknown IS NOT NULL THEN
		RAISE EXCEPTION 'there is no sealing key %', unknown USING ERRCODE = 'WD201', HINT = 'The view ward.keys lists the keys.';
	END IF;
	-- What is no longer watched, or gone, is known by its last description in the trail.
	FOR w IN
		SELECT x.target, x.subject::text, x.class, x.attnum, x.added_at, n.nspname, c.relname, NULL::int2[] AS attnums,
			   NULL::text[] AS columns, NULL::text[] AS keys
		FROM _ward.watch x JOIN pg_class c ON c.oid = x.target JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE x.target = ANY (relations) AND (of_class IS NULL OR x.class = of_class)
		UNION ALL
		(SELECT DISTINCT ON (r.relid, u.attnum) r.relid::regclass, r.columns[array_position(r.attnums, u.attnum)], u.class, u.attnum, NULL,
			   r.schema_name, r.relation_name, r.attnums, r.columns, r.keys
		 FROM _ward.relation_version r, LATERAL unnest(r.subject_attnums, r.classes) u(attnum, class)
		 WHERE r.relid = ANY (relations) AND (of_class IS NULL OR u.class = of_class)
		   AND NOT EXISTS (SELECT FROM _ward.watch x WHERE x.target = r.relid AND x.attnum = u.attnum)
		 ORDER BY r.relid, u.attnum, r.relation DESC)
		ORDER BY 1, 2
	LOOP
		-- A sealed column whose key nobody has is ciphertext.
		SELECT coalesce(array_agg(v.name) FILTER (WHERE v.key IS NULL OR v.key = ANY (exposed_keys)), '{}'),
			   coalesce(array_agg(v.name) FILTER (WHERE v.key IS NOT NULL AND NOT v.key = ANY (exposed_keys)), '{}') INTO clear, sealed
		FROM (
			SELECT (_ward.column_names(w.nspname, w.relname, ARRAY[a.attnum], ARRAY[a.attname::text], ARRAY[a.attnum]))[1] AS name,
				   CASE WHEN t.typname LIKE 'sealed\_%' THEN coalesce(k.name, '') END AS key
			FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN _ward.key k ON k.id = a.atttypmod
			WHERE w.attnums IS NULL AND a.attrelid = w.target AND a.attnum > 0 AND NOT a.attisdropped
			UNION ALL
			SELECT (_ward.column_names(w.nspname, w.relname, w.attnums, w.columns, ARRAY[a.attnum]))[1], nullif(w.keys[a.n], '')
			FROM unnest(w.attnums) WITH ORDINALITY a(attnum, n)
		) v;
		now_there := coalesce(_ward.storage_now(w.target, w.subject, w.class), nobody);
		SELECT coalesce(_ward.subject_set_union(d.subjects) FILTER (WHERE d.first_at < as_of AND d.manner IN (1, 6)), nobody) AS before,
			   coalesce(_ward.subject_set_union(d.subjects) FILTER (WHERE d.last_at >= as_of AND d.manner = 6), nobody) AS written,
			   count(*) FILTER (WHERE d.subjects IS NULL AND d.last_at >= as_of AND d.reason NOT LIKE 'raw.%') AS unnamed,
			   min(d.first_at) AS first, max(d.last_at) AS last INTO e
		FROM _ward.disclosure d JOIN _ward.relation_version r ON r.relation = d.relation
		WHERE r.relid = w.target AND d.subject_attnum = w.attnum;
		-- Whoever is there and was not written since stood there then, if all writes are known:
		-- raw paths only read.
		steady := w.added_at IS NOT NULL AND w.added_at <= as_of AND e.unnamed = 0
			AND NOT EXISTS (SELECT FROM _ward.scope_unwatched(tstzrange(as_of, NULL), w.class) u WHERE u.relation = w.target::text AND u.subject = w.subject::text);
		certain := _ward.subject_set_minus(e.before, _ward.subject_set_minus(_ward.subject_set_minus(e.before, now_there), e.written));
		parts := parts || _ward.storage_set(w.class, true, certain, clear, sealed, NULL, as_of, 'known from before, and there or removed since');
		IF steady THEN
			parts := parts || _ward.storage_set(w.class, true, _ward.subject_set_minus(_ward.subject_set_minus(now_there, e.written), certain), clear, sealed, NULL, as_of,
				'there now, and not written since');
			certain := _ward.subject_set_or(certain, _ward.subject_set_minus(now_there, e.written));
		END IF;
		parts := parts
			|| _ward.storage_set(w.class, false, _ward.subject_set_minus(now_there, certain), clear, sealed, NULL, as_of,
				CASE WHEN steady THEN 'there now, written since' ELSE 'there now, but not all writes since are known' END)
			|| _ward.storage_set(w.class, false, _ward.subject_set_minus(_ward.subject_set_minus(e.before, now_there), certain), clear, sealed, NULL, as_of,
				'known from before, gone since unseen')
			|| _ward.storage_set(w.class, false, _ward.subject_set_minus(_ward.subject_set_minus(_ward.subject_set_minus(e.written, now_there), e.before), certain), clear, sealed, NULL, as_of,
				'written since and gone');
	END LOOP;
	RETURN parts;
END
$$;
COMMENT ON FUNCTION _ward.relation_parts(regclass[], timestamptz, text[], text) IS 'who stood in tables at a time, as sets';

CREATE FUNCTION ward.relation_scope(relations regclass[], as_of timestamptz, exposed_keys text[] DEFAULT '{}', of_class text DEFAULT NULL)
	RETURNS TABLE (subject_class text, subject text, verdict text, columns_clear text[], columns_sealed text[], reasons text[])
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	parts _ward.storage_part[];
BEGIN
	PERFORM _ward.record_event('scope.asked', ARRAY['what', 'relations', 'as_of', 'exposed_keys', 'class'],
		ARRAY['stolen storage', relations::text, as_of::text, exposed_keys::text, of_class]);
	PERFORM ward.sync();
	parts := _ward.relation_parts(relations, as_of, exposed_keys, of_class);
	-- Reading the tables may have met people for the first time, whose names are evidence.
	PERFORM ward.sync();
	RETURN QUERY SELECT p.subject_class, p.subject, p.verdict, p.columns_clear, p.columns_sealed, p.reasons FROM _ward.storage_people(parts) p;
END
$$;
COMMENT ON FUNCTION ward.relation_scope(regclass[], timestamptz, text[], text) IS
	'whom a stolen backup, disk or dump of these tables has, as of a time; sealed columns are ciphertext unless their key was exposed';

-- Refuses what can't be asked of a lost key, and records what is.
CREATE FUNCTION _ward.key_check(key text, during tstzrange) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM _ward.record_event('scope.asked', ARRAY['what', 'key', 'during'], ARRAY['lost key', key, during::text]);
	IF during IS NULL OR isempty(during) THEN
		RAISE EXCEPTION 'the scope needs a range of time'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Give from when on others may have had the key, or tstzrange(NULL, NULL) for all time.';
	END IF;
	IF key IS NULL THEN
		RAISE EXCEPTION 'say which key was lost' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF NOT EXISTS (SELECT FROM _ward.key k WHERE k.name = key_check.key) THEN
		RAISE EXCEPTION 'there is no sealing key "%"', key USING ERRCODE = 'WD201', HINT = 'The view ward.keys lists the keys.';
	END IF;
END
$$;
COMMENT ON FUNCTION _ward.key_check(text, tstzrange) IS 'checks a question about a lost key';

-- Columns of a disclosure that were ciphertext under this key.
CREATE FUNCTION _ward.key_columns(relation bigint, columns_sealed int2[], key text) RETURNS text[]
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT _ward.column_names(r.schema_name, r.relation_name, r.attnums, r.columns,
		ARRAY(SELECT a FROM unnest(key_columns.columns_sealed) a WHERE r.keys[array_position(r.attnums, a)] = key_columns.key))
	FROM _ward.relation_version r WHERE r.relation = key_columns.relation;
END;
COMMENT ON FUNCTION _ward.key_columns(bigint, int2[], text) IS 'columns of a disclosure that were ciphertext under this key';

-- Whom a key opens. Its columns count as in clear: whoever has the key can read them.
CREATE FUNCTION _ward.key_parts(key text, during tstzrange) RETURNS _ward.storage_part[]
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
	SET jit = off
AS $$
DECLARE
	stored _ward.storage_part[];
	gone _ward.storage_part[];
BEGIN
	-- Who lies there under the key.
	stored := ARRAY(
		SELECT _ward.storage_set(w.class, false, _ward.storage_now(w.target, w.subject, w.class), w.columns, '{}', NULL, NULL, 'stored under the key')
		FROM (
			SELECT x.class, x.target, x.subject,
				   array_agg((_ward.column_names(n.nspname, c.relname, ARRAY[a.attnum], ARRAY[a.attname::text], ARRAY[a.attnum]))[1] ORDER BY a.attnum) AS columns
			FROM _ward.watch x JOIN pg_class c ON c.oid = x.target JOIN pg_namespace n ON n.oid = c.relnamespace
			JOIN _ward.key k ON k.name = key_parts.key
			JOIN pg_attribute a ON a.attrelid = x.target AND NOT a.attisdropped AND a.atttypmod = k.id
			JOIN pg_type t ON t.oid = a.atttypid AND t.typname LIKE 'sealed\_%'
			GROUP BY x.class, x.target, x.subject
		) w);
	PERFORM ward.sync();
	-- Whose ciphertext left, by columns: certainly with its own rows. What was written may
	-- lie in WAL and backups, though its row is gone.
	gone := ARRAY(
		SELECT _ward.storage_set(g.class, g.manner = 1, g.subjects, g.columns, '{}', g.first, g.last,
			CASE WHEN g.manner = 1 THEN 'ciphertext left' WHEN g.manner = 6 THEN 'written under the key' ELSE 'ciphertext had a part in an answer' END)
		FROM (
			SELECT d.subject_class AS class, d.manner, h.columns, _ward.subject_set_union(d.subjects) AS subjects,
				   min(d.first_at) AS first, max(d.last_at) AS last
			FROM _ward.disclosure d, LATERAL _ward.key_columns(d.relation, d.columns_sealed, key_parts.key) h(columns)
			WHERE d.subjects IS NOT NULL AND h.columns <> '{}'
			  AND d.minute <= coalesce(upper(during), 'infinity') AND tstzrange(d.first_at, d.last_at, '[]') && during
			GROUP BY 1, 2, 3
		) g);
	RETURN stored || gone;
END
$$;
COMMENT ON FUNCTION _ward.key_parts(text, tstzrange) IS 'whom a key opens, as sets';

CREATE FUNCTION ward.key_scope(key text, during tstzrange DEFAULT tstzrange(NULL, NULL))
	RETURNS TABLE (subject_class text, subject text, verdict text, columns text[], first_seen timestamptz, last_seen timestamptz, reasons text[])
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	parts _ward.storage_part[];
BEGIN
	PERFORM _ward.key_check(key, during);
	PERFORM ward.sync();
	parts := _ward.key_parts(key, during);
	RETURN QUERY SELECT p.subject_class, p.subject, p.verdict, p.columns_clear, p.first_seen, p.last_seen, p.reasons
	FROM _ward.storage_people(parts) p;
END
$$;
COMMENT ON FUNCTION ward.key_scope(text, tstzrange) IS
	'whom a lost key affects: certain where ciphertext under it left the server in this time, possible where it lies in watched tables';

REVOKE ALL ON FUNCTION
	_ward.storage_set(text, boolean, bytea, text[], text[], timestamptz, timestamptz, text),
	_ward.key_check(text, tstzrange), _ward.key_columns(bigint, int2[], text), _ward.key_parts(text, tstzrange),
	_ward.storage_groups(_ward.storage_part[]), _ward.storage_people(_ward.storage_part[]), _ward.storage_now(regclass, name, text),
	_ward.relation_parts(regclass[], timestamptz, text[], text), ward.relation_scope(regclass[], timestamptz, text[], text),
	ward.key_scope(text, tstzrange)
	FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.relation_scope(regclass[], timestamptz, text[], text), ward.key_scope(text, tstzrange)
	TO ward_officer, ward_auditor, ward_analyst;
