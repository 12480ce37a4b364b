-- scope: what a report of an incident says, as JSON. Markdown and HTML are made of it, so
-- that all three say the same.
--
-- A report names roles, sessions and addresses of those who read, and columns; of the
-- people themselves it has numbers alone. It holds no value of any column but category
-- and society, which the organisation's own table gave.

-- Steps of a timeline: the smallest that needs at most 60.
CREATE FUNCTION _ward.report_step(since timestamptz, until timestamptz) RETURNS interval
	LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT coalesce(min(s.step) FILTER (WHERE extract(epoch FROM report_step.until - report_step.since) / extract(epoch FROM s.step) <= 60), interval '90 days')
	FROM (VALUES (interval '1 minute'), ('5 minutes'), ('15 minutes'), ('1 hour'), ('6 hours'), ('1 day'), ('7 days'), ('30 days')) s(step);
END;
COMMENT ON FUNCTION _ward.report_step(timestamptz, timestamptz) IS 'steps in which a timeline is shown';

-- Statements and people by step: of whom the incident asks about, and of everybody else.
CREATE FUNCTION _ward.report_timeline(incident bigint) RETURNS jsonb
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	SET jit = off
	-- See _ward.scope_disclosures().
	SET enable_nestloop = off
AS $$
DECLARE
	first timestamptz;
	last timestamptz;
	step interval;
	answer jsonb;
BEGIN
	SELECT min(s.first_seen), max(s.last_seen) INTO first, last
	FROM (
		SELECT d.first_seen, d.last_seen
		FROM _ward.incident_question q, LATERAL _ward.scope_disclosures(q.during, q.roles, q.clients, q.actors, q.applications,
			q.sessions, q.subject_class, q.relations) d
		WHERE q.incident = report_timeline.incident AND q.until_version IS NULL AND q.kind = 'session'
		  -- A gap in the trail has no statements to show.
		  AND d.session IS NOT NULL
		UNION ALL
		SELECT d.first_at, d.last_at
		FROM _ward.incident_question q JOIN _ward.disclosure d ON tstzrange(d.first_at, d.last_at, '[]') && q.during
		WHERE q.incident = report_timeline.incident AND q.until_version IS NULL AND q.kind = 'key'
		  AND _ward.key_columns(d.relation, d.columns_sealed, q.exposed_keys[1]) <> '{}'
	) s;
	IF first IS NULL THEN
		RETURN '[]';
	END IF;
	-- Some time before and after shows what is usual.
	first := first - greatest((last - first) / 6, interval '5 minutes');
	last := last + greatest((last - first) / 7, interval '5 minutes');
	step := _ward.report_step(first, last);
	WITH asked AS MATERIALIZED (
		SELECT DISTINCT c.node, c.position, q.during, q.subject_class,
			   CASE WHEN q.relations IS NOT NULL THEN ARRAY(SELECT k FROM _ward.scope_relations(q.relations) k) END AS relations
		FROM _ward.incident_question q, LATERAL _ward.scope_contexts(q.roles, q.clients, q.actors, q.applications, q.sessions) c
		WHERE q.incident = report_timeline.incident AND q.until_version IS NULL AND q.kind = 'session'
	), lost AS MATERIALIZED (
		SELECT q.during, q.exposed_keys[1] AS key
		FROM _ward.incident_question q WHERE q.incident = report_timeline.incident AND q.until_version IS NULL AND q.kind = 'key'
	), d AS MATERIALIZED (
		SELECT date_bin(step, x.first_at, '2001-01-01 00:00:00+00') AS at, x.subjects, x.manner IN (1, 6) AS certain,
			   _ward.subject_set_count(x.statements) AS statements,
			   EXISTS (SELECT FROM asked a WHERE a.node = x.node AND a.position = x.context
					   AND tstzrange(x.first_at, x.last_at, '[]') && a.during
					   AND (a.subject_class IS NULL OR a.subject_class = x.subject_class)
					   AND (a.relations IS NULL OR x.relation = ANY (a.relations)))
			   OR EXISTS (SELECT FROM lost l WHERE tstzrange(x.first_at, x.last_at, '[]') && l.during
					   AND _ward.key_columns(x.relation, x.columns_sealed, l.key) <> '{}') AS asked
		FROM _ward.disclosure x
		WHERE x.minute BETWEEN date_trunc('minute', first, 'UTC') AND last
	), bin AS (
		SELECT d.at,
			   coalesce(sum(d.statements) FILTER (WHERE d.asked), 0) AS statements,
			   coalesce(sum(d.statements) FILTER (WHERE NOT d.asked), 0) AS other_statements,
			   -- A total over everybody would hide whose rows left.
			   _ward.subject_set_count(_ward.subject_set_union(d.subjects) FILTER (WHERE d.asked AND d.certain)) AS people,
			   _ward.subject_set_count(_ward.subject_set_union(d.subjects) FILTER (WHERE NOT d.asked AND d.certain)) AS other_people
		FROM d GROUP BY d.at
	)
	SELECT jsonb_agg(jsonb_build_object('from', s.at, 'to', s.at + step, 'people', coalesce(b.people, 0), 'statements', coalesce(b.statements, 0),
			'other_people', coalesce(b.other_people, 0), 'other_statements', coalesce(b.other_statements, 0)) ORDER BY s.at) INTO answer
	FROM generate_series(date_bin(step, first, '2001-01-01 00:00:00+00'), last, step) s(at)
	LEFT JOIN bin b ON b.at = s.at;
	RETURN answer;
END
$$;
COMMENT ON FUNCTION _ward.report_timeline(bigint) IS 'what was disclosed in which step of time, by those asked about and by all others';

-- Sessions of a version, the most harmful first.
CREATE FUNCTION _ward.report_sessions(incident bigint, version integer, how_many integer) RETURNS jsonb
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT coalesce(jsonb_agg(jsonb_build_object('session', s.session, 'role', c.role, 'acting_as', c.acting, 'actors', c.actors,
			'applications', c.applications, 'client', c.client, 'started', c.started, 'certain', s.certain, 'possible', s.possible)
			ORDER BY s.certain DESC, s.possible DESC, s.session), '[]')
	FROM (
		SELECT k.session, coalesce(sum(_ward.subject_set_count(g.subjects)) FILTER (WHERE g.certain), 0)::bigint AS certain,
			   coalesce(sum(_ward.subject_set_count(g.subjects)) FILTER (WHERE NOT g.certain), 0)::bigint AS possible
		FROM _ward.incident_group g, LATERAL unnest(g.sessions) k(session)
		WHERE g.incident = report_sessions.incident AND g.version = report_sessions.version
		GROUP BY k.session
		ORDER BY 2 DESC, 3 DESC, 1 LIMIT how_many
	) s
	LEFT JOIN LATERAL (
		SELECT min(x.session_role) AS role, min(x.at) AS started, min(host(x.client)) AS client,
			   array_agg(DISTINCT x.current_role_name) FILTER (WHERE x.current_role_name <> x.session_role) AS acting,
			   array_agg(DISTINCT x.actor) FILTER (WHERE x.actor <> '') AS actors,
			   array_agg(DISTINCT x.application) FILTER (WHERE x.application <> '') AS applications
		FROM _ward.context x WHERE x.session = s.session
	) c ON true;
END;
COMMENT ON FUNCTION _ward.report_sessions(bigint, integer, integer) IS 'sessions of an incident, the most harmful first';

-- Columns of a version: of how many people in clear, of how many only as ciphertext.
CREATE FUNCTION _ward.report_columns(incident bigint, version integer) RETURNS jsonb
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT coalesce(jsonb_agg(jsonb_build_object('column', x.col, 'certain_clear', x.cc, 'certain_ciphertext', x.cs,
			'possible_clear', x.pc, 'possible_ciphertext', x.ps) ORDER BY x.cc DESC, x.cs DESC, x.pc DESC, x.col), '[]')
	FROM (
		SELECT k.col, coalesce(sum(k.n) FILTER (WHERE k.certain AND k.clear), 0)::bigint AS cc,
			   coalesce(sum(k.n) FILTER (WHERE k.certain AND NOT k.clear), 0)::bigint AS cs,
			   coalesce(sum(k.n) FILTER (WHERE NOT k.certain AND k.clear), 0)::bigint AS pc,
			   coalesce(sum(k.n) FILTER (WHERE NOT k.certain AND NOT k.clear), 0)::bigint AS ps
		FROM (
			SELECT u.col, true AS clear, g.certain, _ward.subject_set_count(g.subjects) AS n
			FROM _ward.incident_group g, LATERAL unnest(g.columns_clear) u(col)
			WHERE g.incident = report_columns.incident AND g.version = report_columns.version
			UNION ALL
			SELECT u.col, false, g.certain, _ward.subject_set_count(g.subjects)
			FROM _ward.incident_group g, LATERAL unnest(g.columns_sealed) u(col)
			WHERE g.incident = report_columns.incident AND g.version = report_columns.version
		) k GROUP BY k.col
	) x;
END;
COMMENT ON FUNCTION _ward.report_columns(bigint, integer) IS 'columns that an incident disclosed, and of how many people';

-- The worklist by one of its columns.
CREATE FUNCTION _ward.report_people(incident bigint, by_society boolean) RETURNS jsonb
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT coalesce(jsonb_agg(jsonb_build_object('name', x.name, 'certain', x.certain, 'possible', x.possible, 'notified', x.notified,
			'unreachable', x.unreachable, 'must_not_be_contacted', x.unsafe, 'pending', x.pending)
			ORDER BY x.certain DESC, x.possible DESC, x.name), '[]')
	FROM (
		SELECT coalesce(CASE WHEN by_society THEN n.society ELSE n.category END, '(not described)') AS name,
			   count(*) FILTER (WHERE n.verdict = 'certain') AS certain, count(*) FILTER (WHERE n.verdict = 'possible') AS possible,
			   count(*) FILTER (WHERE n.state = 'notified') AS notified, count(*) FILTER (WHERE n.state = 'unreachable') AS unreachable,
			   count(*) FILTER (WHERE n.state = 'must_not_be_contacted') AS unsafe,
			   count(*) FILTER (WHERE n.state = 'pending' AND n.verdict = 'certain') AS pending
		FROM _ward.notification n
		WHERE n.incident = report_people.incident AND n.verdict <> 'dropped'
		GROUP BY 1
	) x;
END;
COMMENT ON FUNCTION _ward.report_people(bigint, boolean) IS 'people of a worklist by category or by society';

CREATE FUNCTION _ward.report_json(incident bigint) RETURNS jsonb
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	i _ward.incident := _ward.incident_get(incident, false);
	last _ward.incident_version;
	people record;
	span record;
	progress jsonb;
	basis jsonb;
	questions jsonb;
	during tstzrange;
	class text;
BEGIN
	SELECT * INTO last FROM _ward.incident_version v WHERE v.incident = i.id ORDER BY v.version DESC LIMIT 1;
	SELECT * INTO people FROM _ward.incident_people(i.id, last.version);
	SELECT min(g.first_seen) AS first_seen, max(g.last_seen) AS last_seen, max(g.last_position) AS last_position INTO span
	FROM _ward.incident_group g WHERE g.incident = i.id AND g.version = last.version;
	-- Who stood in stolen tables is known by what was written since, up to now.
	SELECT range_merge(range_agg(CASE q.kind WHEN 'storage' THEN tstzrange(q.as_of, NULL) ELSE q.during END)), CASE WHEN count(DISTINCT q.subject_class) = 1 AND bool_and(q.subject_class IS NOT NULL) THEN min(q.subject_class) END,
		   jsonb_agg(jsonb_build_object('number', q.number, 'kind', q.kind, 'during', q.during::text, 'roles', q.roles, 'clients', q.clients, 'actors', q.actors,
			'applications', q.applications, 'sessions', q.sessions, 'class', q.subject_class,
			'relations', q.relations, 'as_of', q.as_of, 'exposed_keys', q.exposed_keys) ORDER BY q.number)
	INTO during, class, questions
	FROM _ward.incident_question q WHERE q.incident = i.id AND q.until_version IS NULL;
	SELECT coalesce(jsonb_agg(to_jsonb(b)), '[]') INTO basis FROM ward.scope_basis(during, class) b;
	SELECT jsonb_build_object('notified', count(*) FILTER (WHERE n.state = 'notified'),
			'pending', count(*) FILTER (WHERE n.state = 'pending' AND n.verdict = 'certain'),
			'unreachable', count(*) FILTER (WHERE n.state = 'unreachable'),
			'must_not_be_contacted', count(*) FILTER (WHERE n.state = 'must_not_be_contacted')) INTO progress
	FROM _ward.notification n WHERE n.incident = i.id AND n.verdict <> 'dropped';
	RETURN jsonb_build_object(
		'incident', i.id, 'title', i.title, 'state', i.state, 'outcome', i.outcome,
		'version', last.version, 'version_made_at', last.made_at, 'version_reason', last.reason,
		'made_at', clock_timestamp(), 'made_by', _ward.scope_worker(),
		'known_at', i.known_at, 'deadline', i.known_at + interval '72 hours',
		'reported_at', i.reported_at, 'reported_to', i.reported_to, 'report_reference', i.report_reference,
		'nature', i.nature, 'consequences', i.consequences, 'measures', i.measures, 'advice', i.advice, 'contact', i.contact,
		'first_disclosure', span.first_seen, 'last_disclosure', span.last_seen,
		'certain', people.certain, 'possible', people.possible,
		'questions', questions,
		'columns', _ward.report_columns(i.id, last.version),
		'categories', _ward.report_people(i.id, false),
		'societies', _ward.report_people(i.id, true),
		'sessions', _ward.report_sessions(i.id, last.version, 50),
		'session_count', (SELECT count(DISTINCT s) FROM _ward.incident_group g, unnest(g.sessions) s WHERE g.incident = i.id AND g.version = last.version),
		'timeline', _ward.report_timeline(i.id),
		'basis', basis,
		'reliable', NOT EXISTS (SELECT FROM jsonb_array_elements(basis) b WHERE b ->> 'state' = 'fails'),
		'progress', progress,
		'days', (SELECT coalesce(jsonb_agg(to_jsonb(d) ORDER BY d.day), '[]') FROM (
			SELECT n.decided_at::date AS day, count(*) FILTER (WHERE n.state = 'notified') AS notified,
				   count(*) FILTER (WHERE n.state = 'unreachable') AS unreachable,
				   count(*) FILTER (WHERE n.state = 'must_not_be_contacted') AS must_not_be_contacted
			FROM _ward.notification n WHERE n.incident = i.id AND n.decided_at IS NOT NULL GROUP BY 1) d),
		'versions', (SELECT jsonb_agg(jsonb_build_object('version', v.version, 'made_at', v.made_at, 'reason', v.reason,
				'certain', p.certain, 'possible', p.possible) ORDER BY v.version)
			FROM _ward.incident_version v, LATERAL _ward.incident_people(i.id, v.version) p WHERE v.incident = i.id));
END
$$;
COMMENT ON FUNCTION _ward.report_json(bigint) IS 'what the report of an incident says';

CREATE FUNCTION ward.incident_report(incident bigint, format text DEFAULT 'markdown') RETURNS text
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	-- Days and times are the same for all readers.
	SET timezone = 'UTC'
	SET datestyle = 'ISO, YMD'
	SET intervalstyle = 'postgres'
AS $$
DECLARE
	report jsonb;
BEGIN
	IF incident_report.format IS NULL OR incident_report.format NOT IN ('json', 'markdown', 'html') THEN
		RAISE EXCEPTION 'unknown format "%"', incident_report.format
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Use ''json'', ''markdown'' or ''html''.';
	END IF;
	PERFORM _ward.incident_get(incident, false);
	report := _ward.report_json(incident);
	IF NOT (report ->> 'reliable')::boolean THEN
		RAISE WARNING 'the report of incident % is not to be relied upon', incident
			USING HINT = 'Its section on the basis says why.';
	ELSE
		PERFORM _ward.record_event('incident.read', ARRAY['incident', 'version', 'what'],
			ARRAY[incident::text, report ->> 'version', 'report (' || incident_report.format || ')']);
	END IF;
	RETURN CASE incident_report.format WHEN 'json' THEN jsonb_pretty(report)
		WHEN 'html' THEN _ward.report_html(report) ELSE _ward.report_markdown(report) END;
END
$$;
COMMENT ON FUNCTION ward.incident_report(bigint, text) IS
	'report of an incident with what GDPR Art. 33(3) and HIPAA 164.404(c) ask for, as ''json'', ''markdown'' or ''html'' (one page that needs nothing else)';

REVOKE ALL ON FUNCTION
	_ward.report_step(timestamptz, timestamptz), _ward.report_timeline(bigint), _ward.report_sessions(bigint, integer, integer),
	_ward.report_columns(bigint, integer), _ward.report_people(bigint, boolean), _ward.report_json(bigint),
	ward.incident_report(bigint, text)
	FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.incident_report(bigint, text) TO ward_officer, ward_auditor, ward_analyst;
