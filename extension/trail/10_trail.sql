-- trail: its state, its verification, and events from the extension's own SQL.

CREATE FUNCTION _ward.record_event(kind text, names text[] DEFAULT '{}', field_values text[] DEFAULT '{}')
	RETURNS bigint
	LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'ward_record_event';
REVOKE ALL ON FUNCTION _ward.record_event(text, text[], text[]) FROM PUBLIC;

CREATE FUNCTION _ward.trail_state(
		OUT directory text, OUT node text, OUT records bigint, OUT segments integer,
		OUT bytes bigint, OUT root text, OUT last_record timestamptz,
		OUT signed_records bigint, OUT signed_at timestamptz, OUT epoch bigint,
		OUT first_key text, OUT key text, OUT signing_problem text,
		OUT anchored_records bigint, OUT anchored_at timestamptz, OUT anchor_problem text,
		OUT bytes_limit bigint)
	LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_trail_state';
REVOKE ALL ON FUNCTION _ward.trail_state() FROM PUBLIC;

CREATE FUNCTION ward.verify_trail(
		pinned_keys text[] DEFAULT '{}', checkpoints_kept text[] DEFAULT '{}',
		OUT verified boolean, OUT records bigint, OUT root text, OUT problem text, OUT place text,
		OUT checkpoints bigint, OUT signed_records bigint, OUT notices text[])
	LANGUAGE c STRICT VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_verify_trail';
REVOKE ALL ON FUNCTION ward.verify_trail(text[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.verify_trail(text[], text[]) TO ward_officer, ward_auditor;
COMMENT ON FUNCTION ward.verify_trail(text[], text[]) IS
	'reads the whole trail of this server and says whether it is what was written and signed, and if not, what is wrong and where; pinned_keys are first keys that were noted earlier, checkpoints_kept are checkpoints that were kept elsewhere';

CREATE FUNCTION ward.verifications(OUT pid integer, OUT started timestamptz, OUT records_done bigint, OUT records_total bigint)
	RETURNS SETOF record
	LANGUAGE c STRICT VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_verify_progress';
REVOKE ALL ON FUNCTION ward.verifications() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.verifications() TO ward_officer, ward_auditor;
COMMENT ON FUNCTION ward.verifications() IS 'what ward.verify_progress shows';

CREATE VIEW ward.verify_progress AS SELECT * FROM ward.verifications();
REVOKE ALL ON ward.verify_progress FROM PUBLIC;
GRANT SELECT ON ward.verify_progress TO ward_officer, ward_auditor;
COMMENT ON VIEW ward.verify_progress IS 'how far each running ward.verify_trail() has come';

CREATE FUNCTION ward.prove_inclusion("position" bigint, of_records bigint DEFAULT NULL,
		OUT size bigint, OUT root text, OUT leaf bytea, OUT leaf_hash text, OUT proof text[])
	LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_prove_inclusion';
COMMENT ON FUNCTION ward.prove_inclusion(bigint, bigint) IS
	'proof (RFC 9162) that a record is one of the first so many, by default of those that the newest checkpoint signs';

CREATE FUNCTION ward.prove_consistency(from_size bigint, to_size bigint DEFAULT NULL,
		OUT size bigint, OUT from_root text, OUT root text, OUT proof text[])
	LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_prove_consistency';
COMMENT ON FUNCTION ward.prove_consistency(bigint, bigint) IS
	'proof (RFC 9162) that the trail of to_size records begins with that of from_size, by default up to the newest checkpoint';

REVOKE ALL ON FUNCTION ward.prove_inclusion(bigint, bigint), ward.prove_consistency(bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.prove_inclusion(bigint, bigint), ward.prove_consistency(bigint, bigint) TO ward_officer, ward_auditor;

-- A view's functions run with the caller's rights; the owner's are needed here.
CREATE FUNCTION ward.trail_state(
		OUT directory text, OUT node text, OUT records bigint, OUT segments integer,
		OUT bytes bigint, OUT root text, OUT last_record timestamptz,
		OUT signed_records bigint, OUT signed_at timestamptz, OUT epoch bigint,
		OUT first_key text, OUT key text, OUT signing_problem text,
		OUT anchored_records bigint, OUT anchored_at timestamptz, OUT anchor_problem text,
		OUT bytes_limit bigint)
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
	'this server''s trail: where it is, how long, the root of its tree, how much of it is signed by which key, and what was taken elsewhere';

SELECT _ward.record_event('extension.created', ARRAY['version'], ARRAY[ward.version()]);
