-- trail: the index, for those who read it. What a standby delivered is told apart by its name.

CREATE FUNCTION _ward.own_node() RETURNS text
	LANGUAGE c STRICT STABLE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_own_node';
COMMENT ON FUNCTION _ward.own_node() IS 'node of this server''s trail';
REVOKE ALL ON FUNCTION _ward.own_node() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION _ward.own_node() TO ward_auditor;

CREATE VIEW ward.disclosures AS
	SELECT d.minute, c.session, c.session_role AS role, c.current_role_name, c.actor, c.actor_source, c.application, c.client,
		   CASE WHEN d.node <> o.node THEN coalesce(b.name, d.node) END AS node, d.first_at, d.last_at,
		   pg_catalog.format('%I.%I', r.schema_name, r.relation_name) AS relation,
		   r.columns[pg_catalog.array_position(r.attnums, d.subject_attnum)] AS subject_column,
		   d.subject_class, _ward.manner_name(d.manner) AS manner, d.reason,
		   _ward.column_names(r.schema_name, r.relation_name, r.attnums, r.columns, d.columns_clear) AS columns_clear,
		   _ward.column_names(r.schema_name, r.relation_name, r.attnums, r.columns, d.columns_sealed) AS columns_sealed,
		   CASE WHEN d.subjects IS NOT NULL THEN _ward.subject_set_count(d.subjects) END AS subjects,
		   _ward.subject_set_count(d.statements) AS statements,
		   d.records, d.opens, d.fingerprint, s.text AS statement,
		   d.first_position, d.last_position, d.subjects AS subject_set
	FROM _ward.disclosure d
	JOIN _ward.context c ON c.node = d.node AND c.position = d.context
	JOIN _ward.relation_version r ON r.relation = d.relation
	LEFT JOIN _ward.statement s ON s.fingerprint = d.fingerprint
	LEFT JOIN _ward.standby b ON b.node = d.node,
	LATERAL (SELECT _ward.own_node() OFFSET 0) o(node);
COMMENT ON VIEW ward.disclosures IS
	'who was shown whose data: disclosures by session, statement and minute; node: on which standby, NULL: on this server (call ward.sync() first)';

CREATE VIEW ward.sessions AS
	SELECT c.session, pg_catalog.min(c.at) AS started, pg_catalog.max(c.at) AS last_context,
		   (pg_catalog.array_agg(c.session_role ORDER BY c.position))[1] AS role,
		   pg_catalog.array_agg(DISTINCT c.current_role_name) FILTER (WHERE c.current_role_name <> c.session_role) AS other_roles,
		   pg_catalog.array_agg(DISTINCT c.actor) FILTER (WHERE c.actor <> '') AS actors,
		   pg_catalog.array_agg(DISTINCT c.actor_source) FILTER (WHERE c.actor <> '') AS actor_sources,
		   pg_catalog.array_agg(DISTINCT c.application) FILTER (WHERE c.application <> '') AS applications,
		   (pg_catalog.array_agg(c.client ORDER BY c.position))[1] AS client,
		   CASE WHEN c.node <> o.node THEN coalesce(b.name, c.node) END AS node,
		   pg_catalog.min(c.position) AS first_position
	FROM _ward.context c LEFT JOIN _ward.standby b ON b.node = c.node,
	LATERAL (SELECT _ward.own_node() OFFSET 0) o(node)
	GROUP BY c.session, c.node, o.node, b.name;
COMMENT ON VIEW ward.sessions IS 'sessions that left evidence in this database; node: on which standby, NULL: on this server (call ward.sync() first)';

CREATE VIEW ward.events AS
	SELECT e.at, e.kind, e.detail, c.session, c.session_role AS role, c.actor, c.actor_source, c.application, c.client,
		   CASE WHEN e.node <> o.node THEN coalesce(b.name, e.node) END AS node, e.position
	FROM _ward.event e
	LEFT JOIN _ward.context c ON c.node = e.node AND c.position = e.context
	LEFT JOIN _ward.standby b ON b.node = e.node,
	LATERAL (SELECT _ward.own_node() OFFSET 0) o(node);
COMMENT ON VIEW ward.events IS
	'keys, grants, watching, settings and gaps, with who did it; node: on which standby, NULL: on this server (call ward.sync() first)';

REVOKE ALL ON ward.disclosures, ward.sessions, ward.events FROM PUBLIC;
GRANT SELECT ON ward.disclosures, ward.sessions, ward.events TO ward_auditor;
