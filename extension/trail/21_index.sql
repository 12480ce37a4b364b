-- trail: the index of the evidence, folded by a background worker.
--
-- All of it is derived from the trail's segments, so none of it is dumped: after a
-- restore, or when it is dropped, it is made again from the evidence.

-- How far this database's index has come. One row, made by the worker.
CREATE TABLE _ward.index_state (
	node text PRIMARY KEY,
	database oid NOT NULL,		-- a database copied from a template starts again
	position bigint NOT NULL,	-- of the first record not yet folded
	folded bigint NOT NULL DEFAULT 0,
	updated timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	shipped boolean NOT NULL DEFAULT false,	-- delivered by a standby; else this server's own, or that of one before it
	problem text,				-- what keeps a standby's trail from being read further
	tries bigint NOT NULL DEFAULT 0,	-- how often it was met
	pruned bigint NOT NULL DEFAULT 0	-- what is before this record was removed, here as in the trail
);
COMMENT ON TABLE _ward.index_state IS 'how far the index of the trail has come';

-- Who: one row for each context record.
CREATE TABLE _ward.context (
	node text NOT NULL,
	position bigint NOT NULL,
	at timestamptz NOT NULL,
	session text NOT NULL,
	session_role name,
	current_role_name name,
	actor text,
	actor_source text,			-- how the actor is known: token, comment, claimed
	application text,
	client inet,
	detail jsonb NOT NULL DEFAULT '{}',
	PRIMARY KEY (node, position)
);
CREATE INDEX context_session ON _ward.context (session);
COMMENT ON TABLE _ward.context IS 'who was connected: session, roles, client, actor';

-- A watched relation as it was described; each description once.
CREATE TABLE _ward.relation_version (
	relation bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	relid oid NOT NULL,
	schema_name name NOT NULL,
	relation_name name NOT NULL,
	attnums int2[] NOT NULL,
	columns text[] NOT NULL,
	keys text[] NOT NULL,
	subject_attnums int2[] NOT NULL,
	classes text[] NOT NULL
);
CREATE INDEX relation_version_relid ON _ward.relation_version (relid);
COMMENT ON TABLE _ward.relation_version IS 'watched relations as the trail described them';

-- Where in the trail sessions described which relation.
CREATE TABLE _ward.relation_at (
	node text NOT NULL,
	position bigint NOT NULL,
	relation bigint NOT NULL,
	PRIMARY KEY (node, position)
);
COMMENT ON TABLE _ward.relation_at IS 'positions of relation descriptions in the trail';

CREATE TABLE _ward.statement (
	fingerprint bigint PRIMARY KEY,
	text text NOT NULL,
	first_position bigint NOT NULL
);
COMMENT ON TABLE _ward.statement IS 'normalised text of each fingerprint; holds no literal';

CREATE TABLE _ward.event (
	node text NOT NULL,
	position bigint NOT NULL,
	at timestamptz NOT NULL,
	context bigint,
	kind text NOT NULL,
	detail jsonb NOT NULL,
	PRIMARY KEY (node, position)
);
CREATE INDEX event_kind ON _ward.event (kind, at);
COMMENT ON TABLE _ward.event IS 'events of the trail: keys, grants, watching, settings, gaps';

-- The keys behind the numbers of subjects that are no integers. Two keys may share a
-- number: each then stands for both.
CREATE TABLE _ward.subject_key (
	class text NOT NULL,
	number bigint NOT NULL,
	fingerprint bytea NOT NULL,
	form int2 NOT NULL,			-- 1: the fingerprint is the uuid; 2: key is a sealed value
	key bytea NOT NULL,
	first_position bigint NOT NULL,
	PRIMARY KEY (class, number, fingerprint, form)
);
COMMENT ON TABLE _ward.subject_key IS 'keys of subjects that are no integers, by the number that stands for them';

-- Disclosures by minute: a fold key, and what was accumulated under it.
CREATE TABLE _ward.disclosure (
	node text NOT NULL,
	context bigint NOT NULL,
	fingerprint bigint NOT NULL,
	relation bigint NOT NULL,
	subject_attnum int2 NOT NULL,
	subject_class text NOT NULL,
	minute timestamptz NOT NULL,
	manner int2 NOT NULL,
	reason text NOT NULL,
	columns_clear int2[] NOT NULL,
	columns_sealed int2[] NOT NULL,
	subjects bytea,				-- NULL exactly where manner is 5, "all"
	statements bytea NOT NULL,	-- the session's statement numbers, a set too
	records bigint NOT NULL,
	opens bigint NOT NULL,
	first_at timestamptz NOT NULL,
	last_at timestamptz NOT NULL,
	first_position bigint NOT NULL,
	last_position bigint NOT NULL,
	UNIQUE (minute, context, fingerprint, relation, subject_attnum, manner, columns_clear, columns_sealed, reason, node)
) PARTITION BY RANGE (minute);
CREATE INDEX disclosure_context ON _ward.disclosure (context);
-- Who saw somebody. A pending list would have to be read by each search of each day.
CREATE INDEX disclosure_subject ON _ward.disclosure USING gin (subjects _ward.subject_set_ops) WITH (fastupdate = off);
CREATE INDEX disclosure_unnamed ON _ward.disclosure (subject_class) WHERE subjects IS NULL;
COMMENT ON TABLE _ward.disclosure IS 'disclosures folded by minute; one partition a day';

REVOKE ALL ON _ward.index_state, _ward.context, _ward.relation_version, _ward.relation_at,
	_ward.statement, _ward.event, _ward.subject_key, _ward.disclosure FROM PUBLIC;

CREATE FUNCTION _ward.subject_set_or(subject_set bytea, other bytea) RETURNS bytea
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_set_or';
COMMENT ON FUNCTION _ward.subject_set_or(bytea, bytea) IS 'members of either subject set';
REVOKE ALL ON FUNCTION _ward.subject_set_or(bytea, bytea) FROM PUBLIC;

CREATE FUNCTION _ward.manner_name(manner int2) RETURNS text
	LANGUAGE sql STRICT IMMUTABLE PARALLEL SAFE
	RETURN (ARRAY['row', 'aggregate', 'influence', 'existence', 'all', 'write'])[manner];
COMMENT ON FUNCTION _ward.manner_name(int2) IS 'how subjects were disclosed, as a word';
REVOKE ALL ON FUNCTION _ward.manner_name(int2) FROM PUBLIC;

-- Names of columns by number, as table.column; the schema only where it is not public.
CREATE FUNCTION _ward.column_names(schema_name name, relation_name name, attnums int2[], columns text[], wanted int2[])
	RETURNS text[]
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN ARRAY(
		SELECT CASE WHEN schema_name = 'public' THEN '' ELSE pg_catalog.quote_ident(schema_name) || '.' END
			|| pg_catalog.quote_ident(relation_name) || '.'
			|| coalesce(pg_catalog.quote_ident(columns[pg_catalog.array_position(attnums, w.attnum)]), 'column ' || w.attnum)
		FROM pg_catalog.unnest(wanted) WITH ORDINALITY w(attnum, n)
		ORDER BY w.n);
COMMENT ON FUNCTION _ward.column_names(name, name, int2[], text[], int2[]) IS 'names of a watched relation''s columns by number';
REVOKE ALL ON FUNCTION _ward.column_names(name, name, int2[], text[], int2[]) FROM PUBLIC;

CREATE FUNCTION ward.sync() RETURNS bigint
	LANGUAGE c STRICT VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_sync';
COMMENT ON FUNCTION ward.sync() IS
	'waits until this database''s index has folded all evidence written before the call; returns the position reached';

CREATE FUNCTION ward.rebuild_index() RETURNS bigint
	LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'ward_rebuild_index';
COMMENT ON FUNCTION ward.rebuild_index() IS
	'empties this database''s index; after commit it is made again from the trail';

CREATE FUNCTION _ward.trail_end() RETURNS bigint
	LANGUAGE c STRICT VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_trail_end';
COMMENT ON FUNCTION _ward.trail_end() IS 'position after the last record of the trail';

REVOKE ALL ON FUNCTION ward.sync(), ward.rebuild_index(), _ward.trail_end() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.sync() TO ward_officer, ward_auditor, ward_analyst;
GRANT EXECUTE ON FUNCTION ward.rebuild_index() TO ward_auditor;

CREATE FUNCTION _ward.trail_gaps_known(OUT since timestamptz, OUT until timestamptz, OUT records_lost bigint, OUT "position" bigint)
	RETURNS SETOF record
	LANGUAGE c STRICT VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_trail_gaps_known';
COMMENT ON FUNCTION _ward.trail_gaps_known() IS
	'the gap of this server''s trail that is open now, and the last ones since its start that the trail tells';

-- Times of which there is no evidence: statements went on without it (ward.on_trail_failure
-- = allow), on this server or on a standby, whose they were nobody knows; or it was pruned
-- (ward.retention). A gap that is open now is not in the trail yet, and one that ended a
-- moment ago not in the index.
CREATE FUNCTION _ward.trail_gaps()
	RETURNS TABLE (since timestamptz, until timestamptz, open boolean, records_lost text, node text, "position" bigint, pruned boolean)
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	WITH told AS (
		SELECT e.node, e.position, e.at, e.detail, e.kind = 'trail.pruned' AS pruned,
			   e.detail ->> 'from' ~ '^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\+00$' AS timed
		FROM _ward.event e WHERE e.kind IN ('trail.gap', 'trail.pruned')
	)
	SELECT CASE WHEN t.timed THEN least((t.detail ->> 'from')::timestamptz, t.at) ELSE '-infinity' END,
		   CASE WHEN t.pruned AND t.timed THEN least((t.detail ->> 'until')::timestamptz, t.at) ELSE t.at END,
		   false, coalesce(t.detail ->> 'records_lost', t.detail ->> 'records'), t.node, t.position, t.pruned
	FROM told t
	UNION ALL
	SELECT g.since, coalesce(g.until, clock_timestamp()), g.until IS NULL, g.records_lost::text, t.node, coalesce(g.position, t.records), false
	FROM _ward.trail_gaps_known() g, _ward.trail_state() t
	WHERE NOT EXISTS (SELECT FROM _ward.event e WHERE e.node = t.node AND e.position = g.position);
END;
COMMENT ON FUNCTION _ward.trail_gaps() IS 'times in which statements went on without evidence, or whose evidence was pruned';
REVOKE ALL ON FUNCTION _ward.trail_gaps_known(), _ward.trail_gaps() FROM PUBLIC;

-- Where each trail that this server has ends: its own, and as far as they are accepted
-- those of standbys.
CREATE FUNCTION _ward.trail_ends(OUT node text, OUT trail_end bigint) RETURNS SETOF record
	LANGUAGE sql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT t.node, _ward.trail_end() FROM _ward.trail_state() t
	UNION ALL
	SELECT r.node, r.accepted FROM _ward.received_trails() r
$$;
COMMENT ON FUNCTION _ward.trail_ends() IS 'where the trails that this server has end';
REVOKE ALL ON FUNCTION _ward.trail_ends() FROM PUBLIC;

CREATE VIEW ward.index_status AS
	SELECT s.node, s.position, greatest(e.trail_end - s.position, 0) AS behind, s.folded, s.updated,
		   CASE WHEN e.trail_end > 0 THEN pg_catalog.round(100.0 * least(s.position, e.trail_end) / e.trail_end, 1) END AS percent,
		   s.problem
	FROM _ward.index_state s LEFT JOIN _ward.trail_ends() e ON e.node = s.node;
COMMENT ON VIEW ward.index_status IS
	'how far this database''s index is behind each trail, in records, also while it is made anew, and what keeps it from reading on';

REVOKE ALL ON ward.index_status FROM PUBLIC;
GRANT SELECT ON ward.index_status TO ward_officer, ward_auditor, ward_analyst;
-- A view's function calls are checked against whoever reads it.
GRANT USAGE ON SCHEMA _ward TO ward_officer, ward_auditor, ward_analyst;
GRANT EXECUTE ON FUNCTION _ward.manner_name(int2), _ward.column_names(name, name, int2[], text[], int2[]),
	_ward.subject_set_count(bytea), _ward.subject_set_contains(bytea, bigint), _ward.subject_set_members(bytea)
	TO ward_auditor;
GRANT EXECUTE ON FUNCTION _ward.trail_end(), _ward.trail_ends() TO ward_officer, ward_auditor, ward_analyst;
