-- trail: its state, its verification, and events from the extension's own SQL.

CREATE FUNCTION _ward.record_event(kind text, names text[] DEFAULT '{}', field_values text[] DEFAULT '{}')
	RETURNS bigint
	LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'ward_record_event';
REVOKE ALL ON FUNCTION _ward.record_event(text, text[], text[]) FROM PUBLIC;

CREATE FUNCTION _ward.trail_state(
		OUT directory text, OUT node text, OUT records bigint, OUT segments integer,
		OUT bytes bigint, OUT root text, OUT last_record timestamptz)
	LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_trail_state';
REVOKE ALL ON FUNCTION _ward.trail_state() FROM PUBLIC;

CREATE FUNCTION ward.verify_trail(
		OUT verified boolean, OUT records bigint, OUT root text, OUT problem text, OUT place text)
	LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_verify_trail';
REVOKE ALL ON FUNCTION ward.verify_trail() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.verify_trail() TO ward_officer, ward_auditor;
COMMENT ON FUNCTION ward.verify_trail() IS
	'reads the whole trail of this server and says whether it is what was written, and if not, what is wrong and where';

-- A view's functions run with the caller's rights; the owner's are needed here.
CREATE FUNCTION ward.trail_state(
		OUT directory text, OUT node text, OUT records bigint, OUT segments integer,
		OUT bytes bigint, OUT root text, OUT last_record timestamptz)
	LANGUAGE sql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS 'SELECT * FROM _ward.trail_state()';
REVOKE ALL ON FUNCTION ward.trail_state() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.trail_state() TO ward_officer, ward_auditor;
COMMENT ON FUNCTION ward.trail_state() IS 'what ward.trail_status shows';

CREATE VIEW ward.trail_status AS SELECT * FROM ward.trail_state();
REVOKE ALL ON ward.trail_status FROM PUBLIC;
GRANT SELECT ON ward.trail_status TO ward_officer, ward_auditor;
COMMENT ON VIEW ward.trail_status IS
	'this server''s trail: where it is, how long, and the root of its tree';

SELECT _ward.record_event('extension.created', ARRAY['version'], ARRAY[ward.version()]);
