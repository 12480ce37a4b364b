-- scope: who else? Sessions that look like the intruder's, and accesses that ordinary work
-- does not explain.

CREATE FUNCTION ward.related_sessions(during tstzrange, roles name[] DEFAULT NULL, clients inet[] DEFAULT NULL,
	actors text[] DEFAULT NULL, applications text[] DEFAULT NULL, sessions text[] DEFAULT NULL,
	relations text[] DEFAULT NULL)
	RETURNS TABLE (session text, role name, actor text, application text, client inet, started timestamptz,
		likeness integer, why text[], people bigint, statements_shared bigint)
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET jit = off
AS $$
BEGIN
	IF num_nonnulls(related_sessions.roles, related_sessions.clients, related_sessions.actors, related_sessions.applications, related_sessions.sessions,
		related_sessions.relations) = 0 THEN
		RAISE EXCEPTION 'say whose sessions the others are to be like' USING ERRCODE = 'invalid_parameter_value',
			HINT = 'Give roles, clients, actors, applications, sessions or relations, as to ward.breach_scope().';
	END IF;
	PERFORM _ward.scope_check(during, related_sessions.roles, related_sessions.clients, related_sessions.actors,
		related_sessions.applications, related_sessions.sessions, NULL, related_sessions.relations);
	RETURN QUERY
	WITH theirs AS MATERIALIZED (
		SELECT DISTINCT c.* FROM _ward.context c
		JOIN _ward.scope_contexts(related_sessions.roles, related_sessions.clients, related_sessions.actors,
			related_sessions.applications, related_sessions.sessions) k ON k.node = c.node AND k.position = c.position
		-- A context may be older than what was done in it.
		WHERE (during @> c.at AND related_sessions.relations IS NULL)
		   OR EXISTS (SELECT FROM _ward.disclosure d WHERE d.node = c.node AND d.context = c.position
			AND tstzrange(d.first_at, d.last_at, '[]') && during
			AND (related_sessions.relations IS NULL OR d.relation IN (SELECT k FROM _ward.scope_relations(related_sessions.relations) k)))
	), asked AS (
		SELECT DISTINCT t.session FROM theirs t
	), made AS (
		-- Roles that they made or changed, and roles that were granted something by them.
		SELECT DISTINCT btrim(r, ' "')::name AS role
		FROM _ward.event e JOIN _ward.context c ON c.node = e.node AND c.position = e.context
		JOIN asked a ON a.session = c.session,
		LATERAL regexp_split_to_table(concat_ws(',', e.detail ->> 'changed', e.detail ->> 'roles'), ',') r
		WHERE e.kind IN ('role.changed', 'role.granted') AND r <> ''
	), shape AS MATERIALIZED (
		-- Statements that the asked made, and that few others made.
		SELECT d.fingerprint FROM _ward.disclosure d JOIN _ward.context c ON c.node = d.node AND c.position = d.context
		WHERE d.fingerprint <> 0
		GROUP BY d.fingerprint
		HAVING bool_or(c.session IN (SELECT a.session FROM asked a))
		   AND count(DISTINCT c.session) FILTER (WHERE c.session NOT IN (SELECT a.session FROM asked a)) BETWEEN 1 AND 5
	), sharing AS MATERIALIZED (
		SELECT c.session, count(DISTINCT d.fingerprint) AS shared
		FROM _ward.disclosure d JOIN shape s ON s.fingerprint = d.fingerprint JOIN _ward.context c ON c.node = d.node AND c.position = d.context
		GROUP BY c.session
	), other AS (
		SELECT c.session, (array_agg(c.session_role ORDER BY c.position))[1] AS role, max(nullif(c.actor, '')) AS actor,
			   max(nullif(c.application, '')) AS application, (array_agg(c.client ORDER BY c.position))[1] AS client, min(c.at) AS started,
			   bool_or(c.client IN (SELECT t.client FROM theirs t)) AS same_client,
			   bool_or(nullif(c.actor, '') IN (SELECT t.actor FROM theirs t)) AS same_actor,
			   bool_or(c.session_role IN (SELECT t.session_role FROM theirs t)) AS same_role,
			   bool_or(c.current_role_name IN (SELECT m.role FROM made m) OR c.session_role IN (SELECT m.role FROM made m)) AS made_role
		FROM _ward.context c
		WHERE c.session NOT IN (SELECT a.session FROM asked a)
		GROUP BY c.session
	), scored AS (
		SELECT o.*, coalesce(s.shared, 0) AS shared,
			   array_remove(ARRAY[CASE WHEN o.same_client THEN 'same address' END, CASE WHEN o.same_actor THEN 'same actor' END,
				CASE WHEN o.made_role THEN 'a role that they made or granted' END, CASE WHEN o.same_role THEN 'same login' END,
				CASE WHEN s.shared > 0 THEN 'statements that few others made' END], NULL) AS why,
			   coalesce(o.same_client, false)::int * 3 + coalesce(o.same_actor, false)::int * 3 + coalesce(o.made_role, false)::int * 4
				+ coalesce(o.same_role, false)::int * 1 + least(coalesce(s.shared, 0), 3)::int AS likeness
		FROM other o LEFT JOIN sharing s ON s.session = o.session
	)
	SELECT s.session, s.role, s.actor, s.application, s.client, s.started, s.likeness, s.why,
		   (SELECT _ward.subject_set_count(_ward.subject_set_union(d.subjects)) FROM _ward.disclosure d JOIN _ward.context c ON c.node = d.node AND c.position = d.context
			WHERE c.session = s.session AND d.manner IN (1, 6)), s.shared
	FROM scored s WHERE s.likeness > 0
	ORDER BY s.likeness DESC, s.started, s.session;
END
$$;
COMMENT ON FUNCTION ward.related_sessions(tstzrange, name[], inet[], text[], text[], text[], text[]) IS
	'sessions, at any time, that look like those asked about: same address, actor or login, a role that they made, statements that few others made; the likest first';

-- What was expected comes as plain values: who may see which subjects.
CREATE FUNCTION _ward.unexplained(of_class text, during tstzrange, who text[], subjects text[])
	RETURNS TABLE (session text, role name, acting_as name, actor text, application text, client inet, subject text,
		first_seen timestamptz, last_seen timestamptz)
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET jit = off
AS $$
BEGIN
	PERFORM _ward.scope_check(during, NULL, NULL, NULL, NULL, NULL, of_class, NULL);
	RETURN QUERY
	WITH expected AS MATERIALIZED (
		SELECT e.who, _ward.subject_set_agg(n.number) AS subjects
		FROM unnest(unexplained.who, unexplained.subjects) e(who, subject), LATERAL _ward.scope_numbers(of_class, e.subject) n(number)
		GROUP BY e.who
	), seen AS MATERIALIZED (
		SELECT c.session, c.session_role, c.current_role_name, c.actor, c.application, c.client,
			   _ward.subject_set_union(d.subjects) AS subjects, min(d.first_at) AS first_at, max(d.last_at) AS last_at
		FROM _ward.disclosure d JOIN _ward.context c ON c.node = d.node AND c.position = d.context
		WHERE d.subject_class = of_class AND d.manner IN (1, 6) AND d.subjects IS NOT NULL
		  AND d.minute <= coalesce(upper(during), 'infinity') AND tstzrange(d.first_at, d.last_at, '[]') && during
		GROUP BY 1, 2, 3, 4, 5, 6
	), rest AS (
		SELECT s.*, _ward.subject_set_minus(s.subjects, coalesce((
			SELECT _ward.subject_set_union(e.subjects) FROM expected e
			WHERE e.who IN (s.session_role::text, s.current_role_name::text, s.actor)), _ward.subject_set('{}'))) AS left_over
		FROM seen s
	)
	SELECT r.session, r.session_role, r.current_role_name, r.actor, r.application, r.client, n.subject, r.first_at, r.last_at
	FROM rest r, LATERAL _ward.scope_names(of_class, r.left_over) n;
END
$$;
COMMENT ON FUNCTION _ward.unexplained(text, tstzrange, text[], text[]) IS 'accesses that are not among those expected';

-- Reads the organisation's own rule, with the caller's rights.
CREATE FUNCTION ward.unexplained(of_class text, during tstzrange, rule regclass)
	RETURNS TABLE (session text, role name, acting_as name, actor text, application text, client inet, subject text,
		first_seen timestamptz, last_seen timestamptz)
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	expected record;
BEGIN
	IF of_class IS NULL OR during IS NULL OR rule IS NULL THEN
		RAISE EXCEPTION 'say which accesses are to be explained, and by which rule' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = rule AND a.attname IN ('who', 'subject') AND a.attnum > 0 AND NOT a.attisdropped) < 2 THEN
		RAISE EXCEPTION '% is no rule', rule USING ERRCODE = 'WD610',
			DETAIL = 'It must have the columns who (a role or an actor) and subject (whom they may see).',
			HINT = 'Make a view of, say, the assignments of cases.';
	END IF;
	EXECUTE format('SELECT array_agg(r.who::text) AS who, array_agg(r.subject::text) AS subjects FROM %s r WHERE r.who IS NOT NULL AND r.subject IS NOT NULL', rule) INTO expected;
	RETURN QUERY SELECT * FROM _ward.unexplained(of_class, during, coalesce(expected.who, '{}'), coalesce(expected.subjects, '{}'));
END
$$;
COMMENT ON FUNCTION ward.unexplained(text, tstzrange, regclass) IS
	'certain disclosures that a rule does not explain; the rule is a table or view with the columns who (role or actor) and subject, read with the caller''s rights';

REVOKE ALL ON FUNCTION
	ward.related_sessions(tstzrange, name[], inet[], text[], text[], text[], text[]),
	_ward.unexplained(text, tstzrange, text[], text[]), ward.unexplained(text, tstzrange, regclass)
	FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	ward.related_sessions(tstzrange, name[], inet[], text[], text[], text[], text[]),
	_ward.unexplained(text, tstzrange, text[], text[]), ward.unexplained(text, tstzrange, regclass)
	TO ward_officer, ward_auditor, ward_analyst;
