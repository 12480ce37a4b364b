-- guard: what limits would have done, told from the trail.

CREATE FUNCTION _ward.limit_applies(role oid, applies_to oid[]) RETURNS boolean
	LANGUAGE c STABLE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_limit_applies';
COMMENT ON FUNCTION _ward.limit_applies(oid, oid[]) IS 'is a role counted against a limit for these roles (NULL: for all)?';
REVOKE ALL ON FUNCTION _ward.limit_applies(oid, oid[]) FROM PUBLIC;

-- What counts against limits, for each role that a session acted as. As guard_limit_matches().
CREATE FUNCTION _ward.limit_disclosures(class text, manner text, since timestamptz)
	RETURNS TABLE (role name, session text, actor text, client text, minute timestamptz, people bytea, statements bigint)
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT r.role, c.session, coalesce(c.actor, ''), coalesce(host(c.client), ''), d.minute, d.subjects, _ward.subject_set_count(d.statements)
	FROM _ward.disclosure d
	JOIN _ward.context c ON c.node = d.node AND c.position = d.context,
	LATERAL (SELECT DISTINCT n FROM unnest(ARRAY[c.session_role, c.current_role_name]) n WHERE n IS NOT NULL) r(role)
	WHERE d.minute >= limit_disclosures.since AND d.subject_class = limit_disclosures.class AND d.subjects IS NOT NULL
	  AND (d.manner = 1 OR d.manner = 6 AND d.reason = 'returning')
	  AND CASE limit_disclosures.manner WHEN 'ciphertext' THEN d.columns_sealed <> '{}'
	                  WHEN 'clear' THEN d.columns_sealed = '{}' OR array_remove(d.columns_clear, d.subject_attnum) <> '{}'
	                  ELSE true END;
END;
COMMENT ON FUNCTION _ward.limit_disclosures(text, text, timestamptz) IS 'disclosures that count against limits, for each role';
REVOKE ALL ON FUNCTION _ward.limit_disclosures(text, text, timestamptz) FROM PUBLIC;

-- Windows as limit_window.c keeps them: twelve slots, and the one that is filling.
CREATE FUNCTION ward.dry_run_limit(class text, at_most bigint, per interval, by text DEFAULT 'role',
		applies_to name[] DEFAULT NULL, manner text DEFAULT 'any', during interval DEFAULT '7 days')
	RETURNS TABLE (principal text, people bigint, first_at timestamptz, minutes bigint, statements bigint)
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
#variable_conflict use_column
DECLARE
	roles oid[] := _ward.limit_check('dry run', class, at_most, per, by, applies_to, 'refuse', manner)::oid[];
	slot double precision := greatest(extract(epoch FROM per) / 12, 60);
BEGIN
	PERFORM ward.sync();
	RETURN QUERY
	WITH counted AS (
		SELECT CASE dry_run_limit.by WHEN 'role' THEN d.role::text WHEN 'session' THEN d.session WHEN 'actor' THEN d.actor ELSE d.client END AS who,
			   floor(extract(epoch FROM d.minute) / slot)::bigint AS slot, min(d.minute) AS at,
			   _ward.subject_set_union(d.people) AS people, count(DISTINCT d.minute) AS minutes, sum(d.statements) AS statements
		  FROM _ward.limit_disclosures(dry_run_limit.class, dry_run_limit.manner, clock_timestamp() - during - per) d
		  JOIN pg_roles r ON r.rolname = d.role
		 WHERE _ward.limit_applies(r.oid, roles)
		 GROUP BY 1, 2
	), windows AS (
		SELECT c.who, c.at, c.minutes, c.statements,
			   _ward.subject_set_count(_ward.subject_set_union(c.people) OVER (PARTITION BY c.who ORDER BY c.slot RANGE BETWEEN 12 PRECEDING AND CURRENT ROW)) AS people
		  FROM counted c
	)
	SELECT w.who, max(w.people), min(w.at), sum(w.minutes)::bigint, sum(w.statements)::bigint
	  FROM windows w
	 WHERE w.people > dry_run_limit.at_most AND w.at >= clock_timestamp() - during
	 GROUP BY w.who ORDER BY max(w.people) DESC, w.who;
END
$$;
REVOKE ALL ON FUNCTION ward.dry_run_limit(text, bigint, interval, text, name[], text, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.dry_run_limit(text, bigint, interval, text, name[], text, interval) TO ward_officer;
COMMENT ON FUNCTION ward.dry_run_limit(text, bigint, interval, text, name[], text, interval) IS
	'makes no limit, but says whom it would have stopped lately: the most people in one window, when first, in how many minutes, and how many statements ran in these';

-- The 99.9th percentile of different people in an hour, and in a day, in which the role was
-- shown anybody. Would have refused: statements of minutes at whose end more had been shown.
CREATE FUNCTION ward.suggest_limits(class text, during interval DEFAULT '30 days')
	RETURNS TABLE (role name, per interval, at_most bigint, highest bigint, periods bigint, statements bigint, would_refuse bigint)
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
#variable_conflict use_column
BEGIN
	PERFORM ward.sync();
	RETURN QUERY
	WITH minutes AS (
		SELECT d.role, d.minute, _ward.subject_set_union(d.people) AS people, sum(d.statements) AS statements
		  FROM _ward.limit_disclosures(suggest_limits.class, 'any', clock_timestamp() - during) d
		  JOIN pg_roles r ON r.rolname = d.role
		 WHERE _ward.limit_applies(r.oid, NULL)
		 GROUP BY d.role, d.minute
	), running AS (
		SELECT m.role, p.per, date_trunc(p.unit, m.minute) AS period, m.statements,
			   _ward.subject_set_count(_ward.subject_set_union(m.people) OVER (PARTITION BY m.role, p.per, date_trunc(p.unit, m.minute) ORDER BY m.minute)) AS people
		  FROM minutes m, (VALUES ('hour', interval '1 hour'), ('day', interval '1 day')) p(unit, per)
	), totals AS (
		SELECT r.role, r.per, r.period, max(r.people) AS people FROM running r GROUP BY r.role, r.per, r.period
	), suggested AS (
		SELECT t.role, t.per, percentile_disc(0.999) WITHIN GROUP (ORDER BY t.people) AS at_most, max(t.people) AS highest, count(*) AS periods
		  FROM totals t GROUP BY t.role, t.per
	)
	SELECT s.role, s.per, s.at_most, s.highest, s.periods, sum(r.statements)::bigint,
		   coalesce(sum(r.statements) FILTER (WHERE r.people > s.at_most), 0)::bigint
	  FROM suggested s JOIN running r ON r.role = s.role AND r.per = s.per
	 GROUP BY s.role, s.per, s.at_most, s.highest, s.periods
	 ORDER BY s.role, s.per;
END
$$;
REVOKE ALL ON FUNCTION ward.suggest_limits(text, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.suggest_limits(text, interval) TO ward_officer;
COMMENT ON FUNCTION ward.suggest_limits(text, interval) IS
	'what limits by role would meet hardly any of the work of lately: the 99.9th percentile of different people an hour and a day, and how many statements each would have refused';
