-- scope: what an incident covers, and how that changed from version to version.

-- The version asked for, or the last one.
CREATE FUNCTION _ward.incident_version_of(incident bigint, version integer) RETURNS integer
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	last integer;
BEGIN
	SELECT max(v.version) INTO last FROM _ward.incident_version v WHERE v.incident = incident_version_of.incident;
	IF last IS NULL THEN
		RAISE EXCEPTION 'there is no incident %', coalesce(incident::text, 'NULL')
			USING ERRCODE = 'WD601', HINT = 'The view ward.incidents lists them.';
	END IF;
	IF version NOT BETWEEN 1 AND last THEN
		RAISE EXCEPTION 'incident % has no version %', incident, version
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Its versions are 1 to %s.', last);
	END IF;
	RETURN coalesce(version, last);
END
$$;
COMMENT ON FUNCTION _ward.incident_version_of(bigint, integer) IS 'a version that exists, by default the last';

CREATE FUNCTION _ward.incident_people(incident bigint, version integer, OUT certain bigint, OUT possible bigint)
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT coalesce(sum(_ward.subject_set_count(g.subjects)) FILTER (WHERE g.certain), 0)::bigint,
		   coalesce(sum(_ward.subject_set_count(g.subjects)) FILTER (WHERE NOT g.certain), 0)::bigint
	FROM _ward.incident_group g
	WHERE g.incident = incident_people.incident AND g.version = incident_people.version;
END;
COMMENT ON FUNCTION _ward.incident_people(bigint, integer) IS 'how many people a version covers';

CREATE FUNCTION ward.incident_scope(incident bigint, version integer DEFAULT NULL)
	RETURNS TABLE (subject_class text, subject text, verdict text, columns_clear text[], columns_sealed text[],
		first_seen timestamptz, last_seen timestamptz, statements bigint, sessions text[], reasons text[],
		first_position bigint, last_position bigint)
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	version := _ward.incident_version_of(incident, version);
	PERFORM _ward.record_event('incident.read', ARRAY['incident', 'version', 'what'], ARRAY[incident::text, version::text, 'scope']);
	RETURN QUERY
	SELECT g.subject_class, n.subject, CASE WHEN g.certain THEN 'certain' ELSE 'possible' END,
		   g.columns_clear, g.columns_sealed, g.first_seen, g.last_seen, g.statements, g.sessions, g.reasons,
		   g.first_position, g.last_position
	FROM _ward.incident_group g, LATERAL _ward.scope_names(g.subject_class, g.subjects) n
	WHERE g.incident = incident_scope.incident AND g.version = incident_scope.version;
END
$$;
COMMENT ON FUNCTION ward.incident_scope(bigint, integer) IS
	'people of an incident as a version kept them, one row each, like ward.breach_scope(); by default the last version';

-- Each class's people of a version, as a set for each verdict.
CREATE FUNCTION _ward.incident_sets(incident bigint, version integer)
	RETURNS TABLE (subject_class text, certain bytea, possible bytea)
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT g.subject_class, _ward.subject_set_union(g.subjects) FILTER (WHERE g.certain),
		   _ward.subject_set_union(g.subjects) FILTER (WHERE NOT g.certain)
	FROM _ward.incident_group g
	WHERE g.incident = incident_sets.incident AND g.version = incident_sets.version
	GROUP BY g.subject_class;
END;
COMMENT ON FUNCTION _ward.incident_sets(bigint, integer) IS 'people of a version, a set for each class and verdict';

CREATE FUNCTION ward.incident_changes(incident bigint, from_version integer, to_version integer DEFAULT NULL)
	RETURNS TABLE (subject_class text, subject text, change text, was text, became text)
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF from_version IS NULL THEN
		RAISE EXCEPTION 'say from which version on the changes are asked for' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	from_version := _ward.incident_version_of(incident, from_version);
	to_version := _ward.incident_version_of(incident, to_version);
	PERFORM _ward.record_event('incident.read', ARRAY['incident', 'version', 'what'], ARRAY[incident::text, to_version::text, 'changes']);
	RETURN QUERY
	WITH nobody AS (
		SELECT _ward.subject_set('{}') AS set
	), sides AS MATERIALIZED (
		SELECT c.subject_class, coalesce(a.certain, n.set) AS was_certain, coalesce(a.possible, n.set) AS was_possible,
			   coalesce(b.certain, n.set) AS is_certain, coalesce(b.possible, n.set) AS is_possible
		FROM nobody n, (
			SELECT DISTINCT g.subject_class FROM _ward.incident_group g
			WHERE g.incident = incident_changes.incident AND g.version IN (from_version, to_version)
		) c
		LEFT JOIN _ward.incident_sets(incident, from_version) a ON a.subject_class = c.subject_class
		LEFT JOIN _ward.incident_sets(incident, to_version) b ON b.subject_class = c.subject_class
	), changed AS (
		SELECT b.subject_class, 'added' AS change, NULL AS was, x.verdict AS became,
			   _ward.subject_set_minus(x.set, _ward.subject_set_or(b.was_certain, b.was_possible)) AS set
		FROM sides b, LATERAL (VALUES ('certain', b.is_certain), ('possible', b.is_possible)) x(verdict, set)
		UNION ALL
		SELECT b.subject_class, 'dropped', x.verdict, NULL,
			   _ward.subject_set_minus(x.set, _ward.subject_set_or(b.is_certain, b.is_possible))
		FROM sides b, LATERAL (VALUES ('certain', b.was_certain), ('possible', b.was_possible)) x(verdict, set)
		UNION ALL
		-- In both: what is left of a set without what is left of it without the other.
		SELECT b.subject_class, 'verdict', 'possible', 'certain',
			   _ward.subject_set_minus(b.is_certain, _ward.subject_set_minus(b.is_certain, b.was_possible))
		FROM sides b
		UNION ALL
		SELECT b.subject_class, 'verdict', 'certain', 'possible',
			   _ward.subject_set_minus(b.is_possible, _ward.subject_set_minus(b.is_possible, b.was_certain))
		FROM sides b
	)
	SELECT c.subject_class, n.subject, c.change, c.was, c.became
	FROM changed c, LATERAL _ward.scope_names(c.subject_class, c.set) n;
END
$$;
COMMENT ON FUNCTION ward.incident_changes(bigint, integer, integer) IS
	'who was added, dropped or changed verdict between two versions of an incident; by default up to the last';

CREATE FUNCTION ward.incident_questions(incident bigint)
	RETURNS TABLE (number integer, since_version integer, until_version integer, kind text, during tstzrange, roles name[],
		clients inet[], actors text[], applications text[], sessions text[], subject_class text, relations text[],
		as_of timestamptz, exposed_keys text[])
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM _ward.incident_get(incident, false);
	PERFORM _ward.record_event('incident.read', ARRAY['incident', 'what'], ARRAY[incident::text, 'questions']);
	RETURN QUERY
	SELECT q.number, q.since_version, q.until_version, q.kind, q.during, q.roles, q.clients, q.actors, q.applications, q.sessions,
		   q.subject_class, q.relations, q.as_of, q.exposed_keys
	FROM _ward.incident_question q WHERE q.incident = incident_questions.incident ORDER BY q.number;
END
$$;
COMMENT ON FUNCTION ward.incident_questions(bigint) IS
	'what an incident asks: its scope is the union of the answers; until_version is the first that no longer asks; kind is session, storage (relations as of as_of) or key (exposed_keys)';

CREATE VIEW ward.incident_versions AS
	SELECT v.incident, v.version, v.made_at, v.made_by, v.reason, p.certain, p.possible, v.index_position
	FROM _ward.incident_version v, LATERAL (
		SELECT coalesce(sum(_ward.subject_set_count(g.subjects)) FILTER (WHERE g.certain), 0)::bigint AS certain,
			   coalesce(sum(_ward.subject_set_count(g.subjects)) FILTER (WHERE NOT g.certain), 0)::bigint AS possible
		FROM _ward.incident_group g WHERE g.incident = v.incident AND g.version = v.version
	) p
	WHERE (SELECT _ward.scope_note_read('ward.incident_versions'));
COMMENT ON VIEW ward.incident_versions IS 'versions of each incident''s scope: when, by whom, why, how many people';

-- The clock: 72 hours from when the organisation knew to when the authority was told.
CREATE VIEW ward.incidents AS
	SELECT i.id AS incident, i.title, i.state, i.known_at, i.known_at + interval '72 hours' AS deadline,
		   CASE WHEN i.reported_at IS NOT NULL THEN 'reported' || CASE WHEN i.reported_at > i.known_at + interval '72 hours' THEN ' late' ELSE '' END
				WHEN pg_catalog.clock_timestamp() > i.known_at + interval '72 hours' THEN 'overdue' ELSE 'running' END AS clock,
		   CASE WHEN i.reported_at IS NULL THEN pg_catalog.date_trunc('second', i.known_at + interval '72 hours' - pg_catalog.clock_timestamp()) END AS time_left,
		   i.reported_at, i.reported_to, v.version,
		   n.certain, n.possible, n.notified, n.pending, n.unreachable, n.must_not_be_contacted,
		   i.opened_at, i.opened_by, i.closed_at, i.closed_by, i.outcome
	FROM _ward.incident i
	LEFT JOIN LATERAL (SELECT pg_catalog.max(k.version) AS version FROM _ward.incident_version k WHERE k.incident = i.id) v ON true
	LEFT JOIN LATERAL (
		SELECT pg_catalog.count(*) FILTER (WHERE w.verdict = 'certain') AS certain,
			   pg_catalog.count(*) FILTER (WHERE w.verdict = 'possible') AS possible,
			   pg_catalog.count(*) FILTER (WHERE w.state = 'notified') AS notified,
			   pg_catalog.count(*) FILTER (WHERE w.state = 'pending' AND w.verdict = 'certain') AS pending,
			   pg_catalog.count(*) FILTER (WHERE w.state = 'unreachable') AS unreachable,
			   pg_catalog.count(*) FILTER (WHERE w.state = 'must_not_be_contacted') AS must_not_be_contacted
		FROM _ward.notification w WHERE w.incident = i.id
	) n ON true
	WHERE (SELECT _ward.scope_note_read('ward.incidents'));
COMMENT ON VIEW ward.incidents IS
	'incidents with their clock: 72 hours from known_at until the authority is told (time_left is negative once overdue); pending counts those certainly affected';

REVOKE ALL ON ward.incidents, ward.incident_versions FROM PUBLIC;
REVOKE ALL ON FUNCTION
	_ward.incident_version_of(bigint, integer), _ward.incident_people(bigint, integer),
	_ward.incident_sets(bigint, integer), ward.incident_scope(bigint, integer),
	ward.incident_changes(bigint, integer, integer), ward.incident_questions(bigint)
	FROM PUBLIC;
GRANT SELECT ON ward.incidents, ward.incident_versions TO ward_officer, ward_auditor, ward_analyst;
-- A view's function calls are checked against whoever reads it.
GRANT EXECUTE ON FUNCTION _ward.subject_set_count(bytea) TO ward_officer, ward_analyst;
GRANT EXECUTE ON FUNCTION ward.incident_scope(bigint, integer), ward.incident_changes(bigint, integer, integer),
	ward.incident_questions(bigint)
	TO ward_officer, ward_auditor, ward_analyst;
