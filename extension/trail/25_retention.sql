-- trail: removing what is older than ward.retention.

CREATE FUNCTION ward.prune_trail(dry_run boolean DEFAULT false,
		OUT pruned boolean, OUT segments integer, OUT begins bigint, OUT records bigint, OUT bytes bigint,
		OUT since timestamptz, OUT until timestamptz, OUT held_back text[])
	LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'ward_prune_trail';
COMMENT ON FUNCTION ward.prune_trail(boolean) IS
	'removes the segments of the trail that are older than ward.retention, as far as the index of each database has folded them and no legal hold needs them; says what goes (with dry_run: what would go) and what holds the rest back';

CREATE FUNCTION _ward.retention_state(OUT retention interval, OUT begins bigint, OUT begins_at timestamptz,
		OUT looked_at timestamptz, OUT pruned_at timestamptz, OUT held_back text, OUT running boolean)
	LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_retention_state';

-- A view's functions run with the caller's rights; the owner's are needed here.
CREATE FUNCTION ward.retention_state(OUT retention interval, OUT begins bigint, OUT begins_at timestamptz,
		OUT looked_at timestamptz, OUT pruned_at timestamptz, OUT held_back text, OUT running boolean)
	LANGUAGE sql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS 'SELECT * FROM _ward.retention_state()';
COMMENT ON FUNCTION ward.retention_state() IS 'what ward.retention_status shows';

CREATE VIEW ward.retention_status AS SELECT * FROM ward.retention_state();
COMMENT ON VIEW ward.retention_status IS
	'how long evidence is kept (NULL: for ever), which record the trail begins with and from when it is, and what held the last prune back';

REVOKE ALL ON FUNCTION ward.prune_trail(boolean), _ward.retention_state(), ward.retention_state() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.prune_trail(boolean) TO ward_officer;
GRANT EXECUTE ON FUNCTION ward.retention_state() TO ward_officer, ward_auditor;
REVOKE ALL ON ward.retention_status FROM PUBLIC;
GRANT SELECT ON ward.retention_status TO ward_officer, ward_auditor;

-- No hold is put while segments are removed: whoever puts one then waits a moment.
CREATE FUNCTION _ward.prune_guard() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'ward_prune_guard';
COMMENT ON FUNCTION _ward.prune_guard() IS 'keeps legal holds and pruning apart';
REVOKE ALL ON FUNCTION _ward.prune_guard() FROM PUBLIC;
CREATE TRIGGER prune_guard BEFORE INSERT OR UPDATE ON _ward.evidence_hold
	FOR EACH ROW EXECUTE FUNCTION _ward.prune_guard();
