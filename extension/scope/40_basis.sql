-- scope: on what ground those who are not in an answer are excluded from it, and what
-- speaks against that.

-- Verifies the trail: NULL where it is what was written, or what is wrong. Damage that
-- keeps verification from going on is damage, too.
CREATE FUNCTION _ward.scope_distrust() RETURNS text
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v record;
	why text;
BEGIN
	BEGIN
		SELECT * INTO v FROM ward.verify_trail();
		IF v.verified THEN
			RETURN NULL;
		END IF;
		why := v.problem || coalesce(' (' || v.place || ')', '');
	EXCEPTION WHEN SQLSTATE 'WD301' OR SQLSTATE 'WD302' OR SQLSTATE 'WD303' THEN
		why := SQLERRM;
	END;
	why := 'the trail does not verify, so this answer is not to be relied upon: ' || why;
	RAISE WARNING '%', why USING HINT = 'ward.verify_trail() and ward.scope_basis() say more.';
	RETURN why;
END
$$;
COMMENT ON FUNCTION _ward.scope_distrust() IS 'why the trail is not to be relied upon; NULL where it is whole';

-- The same of each trail that a standby delivered; no row where all are whole. What was
-- read there behind the damage is not in the index.
CREATE FUNCTION _ward.scope_standby_distrust() RETURNS TABLE (node text, name text, why text)
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s record;
	v record;
BEGIN
	FOR s IN SELECT b.node, b.name, b.received, b.problem, (SELECT i.problem FROM _ward.index_state i WHERE i.node = b.node) AS stuck
		FROM ward.standbys() b
	LOOP
		node := s.node;
		name := coalesce(s.name, s.node);
		why := s.problem;
		BEGIN
			IF s.name IS NOT NULL AND s.received > 0 THEN
				SELECT * INTO v FROM ward.verify_standby(s.name);
				IF NOT v.verified THEN
					why := v.problem || coalesce(' (' || v.place || ')', '');
				END IF;
			END IF;
		EXCEPTION WHEN SQLSTATE 'WD301' OR SQLSTATE 'WD302' OR SQLSTATE 'WD303' THEN
			why := SQLERRM;
		END;
		why := coalesce(why, s.stuck);
		IF why IS NOT NULL THEN
			RETURN NEXT;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION _ward.scope_standby_distrust() IS 'standbys whose trails are not to be relied upon, and why';

-- Times within a range at which a table was not watched, from what the trail says of
-- watches. Where it says nothing of one that stands, from when that was made.
CREATE FUNCTION _ward.scope_unwatched(during tstzrange, of_class text)
	RETURNS TABLE (relation text, subject text, class text, since timestamptz, until timestamptz)
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY
	WITH change AS (
		SELECT e.detail ->> 'relation' AS relation, e.detail ->> 'subject' AS subject, e.detail ->> 'class' AS class,
			   e.kind = 'watch.added' AS on, e.at, e.position
		FROM _ward.event e WHERE e.kind IN ('watch.added', 'watch.removed')
		UNION ALL
		SELECT w.target::text, w.subject::text, w.class, true, w.added_at, NULL
		FROM _ward.watch w
		WHERE NOT EXISTS (
			SELECT FROM _ward.event e WHERE e.kind = 'watch.added' AND e.detail ->> 'relation' = w.target::text
			AND e.detail ->> 'subject' = w.subject::text)
	), step AS (
		SELECT c.*, lag(c.on) OVER w AS was_on, lead(c.at) OVER w AS next_at, row_number() OVER w AS n
		FROM change c WINDOW w AS (PARTITION BY c.relation, c.subject ORDER BY c.at, c.position)
	), gap AS (
		SELECT s.relation, s.subject, s.class, '-infinity'::timestamptz AS since, s.at AS until FROM step s WHERE s.n = 1 AND s.on
		UNION ALL
		SELECT s.relation, s.subject, s.class, s.at, coalesce(s.next_at, 'infinity') FROM step s WHERE NOT s.on
	)
	SELECT g.relation, g.subject, g.class, greatest(g.since, coalesce(lower(scope_unwatched.during), '-infinity')),
		   least(g.until, coalesce(upper(scope_unwatched.during), 'infinity'))
	FROM gap g
	WHERE (of_class IS NULL OR g.class = of_class)
	  AND g.since < g.until AND tstzrange(g.since, g.until) && scope_unwatched.during
	  -- What has not happened yet is no gap.
	  AND g.since < clock_timestamp();
END
$$;
COMMENT ON FUNCTION _ward.scope_unwatched(tstzrange, text) IS 'times at which tables of people were not watched';

-- Do these names mean a table that the trail calls so? It may have another name by now, or
-- be gone.
CREATE FUNCTION _ward.scope_means(relation text, relations text[]) RETURNS boolean
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT scope_means.relations IS NULL
		OR EXISTS (
			SELECT FROM _ward.relation_version v
			WHERE format('%I.%I', v.schema_name, v.relation_name) = scope_means.relation
			  AND v.relation IN (SELECT k FROM _ward.scope_relations(scope_means.relations) k))
		OR EXISTS (
			SELECT FROM unnest(scope_means.relations) k(name), parse_ident(k.name) p, parse_ident(scope_means.relation) r
			WHERE (r[cardinality(r)] = p[cardinality(p)]
				   AND (cardinality(p) = 1 OR cardinality(r) = 1 OR r[cardinality(r) - 1] = p[cardinality(p) - 1]))
			   OR to_regclass(scope_means.relation)::oid IN (SELECT _ward.scope_relids(k.name)));
END;
COMMENT ON FUNCTION _ward.scope_means(text, text[]) IS 'do these names mean a table that the trail calls so?';

CREATE FUNCTION ward.scope_basis(during tstzrange, subject_class text DEFAULT NULL, relations text[] DEFAULT NULL)
	RETURNS TABLE (ground text, state text, since timestamptz, until timestamptz, widens boolean, explanation text)
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET jit = off
AS $$
DECLARE
	distrust text;
	wrong text;
	status record;
	begun timestamptz;
	pruned timestamptz;
	n bigint;
	s record;
BEGIN
	IF during IS NULL OR isempty(during) THEN
		RAISE EXCEPTION 'the basis needs a range of time'
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'Give for example tstzrange(''2021-09-01'', ''2021-11-10''), or tstzrange(NULL, NULL) for all time.';
	END IF;
	IF array_position(scope_basis.relations, NULL) IS NOT NULL THEN
		RAISE EXCEPTION 'a list in the question contains NULL'
			USING ERRCODE = 'null_value_not_allowed',
				HINT = 'Leave a list out, or give NULL for the whole of it, where anything will do.';
	END IF;
	-- A trail that can't be written or read must not keep us from saying so.
	distrust := _ward.scope_distrust();
	BEGIN
		PERFORM _ward.record_event('scope.asked', ARRAY['what', 'during', 'class', 'relations'],
			ARRAY['basis', during::text, scope_basis.subject_class, scope_basis.relations::text]);
		PERFORM ward.sync();
	EXCEPTION WHEN SQLSTATE 'WD301' OR SQLSTATE 'WD302' OR SQLSTATE 'WD303' OR SQLSTATE 'WD310' THEN
		wrong := SQLERRM;
	END;
	PERFORM _ward.scope_check_relations(scope_basis.relations);

	IF distrust IS NULL THEN
		SELECT t.records, t.root INTO status FROM _ward.trail_state() t;
		RETURN QUERY SELECT 'trail verified', 'holds', NULL::timestamptz, clock_timestamp(), false,
			format('all %s records are as they were written; root %s. Compare it with one that was noted elsewhere.', status.records, left(status.root, 16) || '…');
	ELSE
		RETURN QUERY SELECT 'trail verified', 'fails', NULL::timestamptz, NULL::timestamptz, true, distrust;
	END IF;

	IF wrong IS NULL AND EXISTS (SELECT FROM _ward.index_state i WHERE i.problem IS NOT NULL) THEN
		RETURN QUERY SELECT 'index complete', 'fails', NULL::timestamptz, NULL::timestamptz, true,
			format('the index can not read the trail of standby %s from record %s on, so people may be missing from the answer: %s',
				coalesce((SELECT b.name FROM _ward.standby b WHERE b.node = i.node), i.node), i.position, i.problem)
		FROM _ward.index_state i WHERE i.problem IS NOT NULL;
	ELSIF wrong IS NULL THEN
		RETURN QUERY SELECT 'index complete', 'holds', NULL::timestamptz, clock_timestamp(), false,
			'the index holds all evidence that was written before this question';
	ELSE
		RETURN QUERY SELECT 'index complete', 'fails', NULL::timestamptz, NULL::timestamptz, true,
			'the index can not catch up with the trail, so people may be missing from the answer: ' || wrong;
	END IF;

	SELECT min(c.at) INTO begun FROM _ward.context c;
	SELECT max(g.until) INTO pruned FROM _ward.trail_gaps() g WHERE g.pruned;
	IF pruned >= coalesce(lower(during), '-infinity') THEN
		RETURN QUERY SELECT 'evidence reaches back', 'limited', coalesce(lower(during), '-infinity'), pruned, true,
			format('evidence reaches back to %s: what was before was pruned (ward.retention), so who read what then is not known', pruned);
	ELSIF begun IS NULL OR begun > coalesce(lower(during), '-infinity') THEN
		RETURN QUERY SELECT 'evidence reaches back', 'limited', coalesce(lower(during), '-infinity'), begun, true,
			'nothing was recorded in this database before its first evidence; what happened then is not known';
	ELSE
		RETURN QUERY SELECT 'evidence reaches back', 'holds', begun, NULL::timestamptz, false, 'the evidence begins before the time asked about';
	END IF;

	RETURN QUERY SELECT 'tables watched', 'limited', u.since, u.until, true,
		format('%s was not watched by %I: who read whom there then is not known', u.relation, u.subject)
	FROM _ward.scope_unwatched(during, scope_basis.subject_class) u
	WHERE _ward.scope_means(u.relation, scope_basis.relations) ORDER BY u.since, u.relation, u.subject;
	IF NOT FOUND THEN
		RETURN QUERY SELECT 'tables watched', 'holds', lower(during), upper(during), false,
			'each watched table was watched all the time asked about';
	END IF;
	IF to_regclass('ward.unwatched_copies') IS NOT NULL THEN
		EXECUTE 'SELECT count(*) FROM ward.unwatched_copies c WHERE _ward.scope_means(c.source::text, $1)' INTO n
			USING scope_basis.relations;
		IF n > 0 THEN
			RETURN QUERY SELECT 'copies watched', 'limited', NULL::timestamptz, NULL::timestamptz, true,
				format('%s copies of watched tables are not watched themselves: see ward.unwatched_copies', n);
		END IF;
	END IF;

	-- Settings that weaken capture, by whatever way. A session may have outlived its change
	-- for long, so earlier ones count.
	RETURN QUERY SELECT 'capture on', 'limited', e.at, NULL::timestamptz, true,
		format('%s was changed%s by %s (%s): statements may have been run unseen', e.detail ->> 'setting',
			coalesce(' to ' || (e.detail ->> 'value'), ''), coalesce(c.session_role, 'an unknown role'), e.detail ->> 'how')
	FROM _ward.event e LEFT JOIN _ward.context c ON c.node = e.node AND c.position = e.context
	WHERE e.kind = 'setting.changed' AND e.at <= coalesce(upper(during), 'infinity')
	  AND lower(coalesce(e.detail ->> 'value', '')) NOT IN ('on', 'true', 'yes', '1')
	ORDER BY e.at;
	IF NOT FOUND THEN
		RETURN QUERY SELECT 'capture on', 'holds', lower(during), upper(during), false, 'no setting that weakens capture was changed';
	END IF;

	-- What the witness itself knows that it did not see.
	IF to_regprocedure('_ward.blind_spots_in(tstzrange)') IS NOT NULL THEN
		RETURN QUERY EXECUTE
			'SELECT ''blind spots'', CASE WHEN b.widens THEN ''limited'' ELSE ''holds'' END, b.since, b.until, b.widens,
				format(''%s: %s%s'', b.path, b.why, coalesce('' ('' || b.reach || '')'', ''''))
			 FROM _ward.blind_spots_in($1) b ORDER BY b.since' USING during;
	ELSE
		RETURN QUERY SELECT 'gaps', 'limited', e.at, e.at, true, 'the server crashed while a record was written: it is set aside, unread'
		FROM _ward.event e WHERE e.kind = 'trail.recovered' AND during @> e.at ORDER BY e.at;
	END IF;
	RETURN QUERY SELECT 'gaps', 'limited', e.at, NULL::timestamptz, true,
		'the trail goes on on another server: evidence of the one before is with that server'
	FROM _ward.event e WHERE e.kind = 'trail.elsewhere' ORDER BY e.at;

	-- Paths that name nobody count everybody who is in the table now.
	RETURN QUERY SELECT 'people named', 'limited', min(d.first_at), max(d.last_at), true,
		format('%I.%I was read on a path that names nobody: all who are in it now count as possible, whoever was deleted since is not counted',
			r.schema_name, r.relation_name)
	FROM _ward.disclosure d JOIN _ward.relation_version r ON r.relation = d.relation
	WHERE d.subjects IS NULL AND tstzrange(d.first_at, d.last_at, '[]') && during
	  AND (scope_basis.subject_class IS NULL OR d.subject_class = scope_basis.subject_class)
	  AND (scope_basis.relations IS NULL OR d.relation IN (SELECT k FROM _ward.scope_relations(scope_basis.relations) k))
	GROUP BY r.schema_name, r.relation_name ORDER BY 3;

	-- Standbys deliver their trails; what was read there after the last is not known here.
	FOR s IN SELECT b.*, d.why AS wrong FROM ward.standbys() b LEFT JOIN _ward.scope_standby_distrust() d ON d.node = b.node
	LOOP
		IF s.wrong IS NOT NULL THEN
			RETURN QUERY SELECT 'standbys', 'fails', s.known_until, NULL::timestamptz, true,
				format('the trail of standby %s is not to be relied upon: %s', coalesce(s.name, s.node), s.wrong);
		ELSIF s.known_until IS NULL THEN
			RETURN QUERY SELECT 'standbys', 'limited', lower(during), upper(during), true,
				format('standby %s has delivered nothing yet: who read what there is not known', s.name);
		ELSIF s.known_until < least(upper(during), s.removed_at, clock_timestamp()) THEN
			RETURN QUERY SELECT 'standbys', 'limited', s.known_until, upper(during), true,
				format('standby %s has delivered its trail up to then; who read what there later is not known (%s records behind)', s.name, coalesce(s.records_behind::text, 'unknown'));
		ELSE
			RETURN QUERY SELECT 'standbys', 'holds', lower(during), upper(during), false,
				format('standby %s has delivered its trail up to %s, and it verifies', s.name, s.known_until);
		END IF;
	END LOOP;
	SELECT count(*) INTO n FROM pg_stat_replication;
	IF n > (SELECT count(*) FROM ward.standbys() b WHERE b.removed_at IS NULL AND b.name IS NOT NULL) THEN
		RETURN QUERY SELECT 'standbys', 'limited', NULL::timestamptz, NULL::timestamptz, true,
			format('%s connections copy this server now, more than standbys are registered. What was read on one that is not is in its own trail and not in this answer', n);
	END IF;
	-- Not asked of pg_statistic: reading that is itself a blind spot.
	SELECT count(DISTINCT (a.attrelid, a.attnum)) INTO n
	FROM _ward.watch w JOIN pg_class c ON c.oid = w.target AND c.reltuples >= 0
	JOIN pg_attribute a ON a.attrelid = w.target AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> w.subject
	JOIN pg_type t ON t.oid = a.atttypid AND t.typname NOT LIKE 'sealed\_%'
	WHERE (scope_basis.subject_class IS NULL OR w.class = scope_basis.subject_class)
	  AND _ward.scope_means(w.target::text, scope_basis.relations);
	IF n > 0 THEN
		RETURN QUERY SELECT 'statistics', 'limited', NULL::timestamptz, NULL::timestamptz, false,
			format('the planner''s statistics may hold values of %s columns in clear; they name nobody by key, and sealed columns are there as ciphertext', n);
	END IF;
END
$$;
COMMENT ON FUNCTION ward.scope_basis(tstzrange, text, text[]) IS
	'on what ground those who are not in a scope are excluded, of a class and out of these tables: what holds, what fails, what limits the answer (widens: somebody may be affected whom the answer does not name)';

REVOKE ALL ON FUNCTION _ward.scope_distrust(), _ward.scope_standby_distrust(), _ward.scope_unwatched(tstzrange, text),
	_ward.scope_means(text, text[]), ward.scope_basis(tstzrange, text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.scope_basis(tstzrange, text, text[]) TO ward_officer, ward_auditor, ward_analyst;
