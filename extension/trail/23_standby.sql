-- trail: the trails of standbys. A standby delivers its own to the primary, which
-- verifies it, stores it, and indexes it under the standby's node.

-- Whose trails are taken. Replicated, so that a standby that is promoted takes them, too.
CREATE TABLE _ward.standby (
	name text PRIMARY KEY,
	node text NOT NULL UNIQUE,
	first_keys text[] NOT NULL,		-- where its chain of keys may begin
	added_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	removed_at timestamptz
);
COMMENT ON TABLE _ward.standby IS 'standbys whose trails this server takes, with the keys that an officer noted';
REVOKE ALL ON _ward.standby FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('_ward.standby', '');

CREATE FUNCTION _ward.deliver_trail(first_keys text[], node text, at_segment bigint, at_start bigint, bytes bytea,
		records bigint, bytes_left bigint, OUT segment bigint, OUT start bigint, OUT accepted bigint)
	LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'ward_deliver_trail';
CREATE FUNCTION _ward.received_trails(OUT node text, OUT directory text, OUT received bigint, OUT accepted bigint,
		OUT accepted_at timestamptz, OUT bytes bigint, OUT source_records bigint, OUT source_bytes_left bigint,
		OUT delivered_at timestamptz, OUT problem text)
	RETURNS SETOF record
	LANGUAGE c STRICT VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_received_trails';
CREATE FUNCTION _ward.key_node(first_key text) RETURNS text
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_key_node';
CREATE FUNCTION _ward.shipping_state(OUT standby boolean, OUT configured boolean, OUT connected boolean, OUT records bigint,
		OUT accepted bigint, OUT bytes_behind bigint, OUT complete_at timestamptz, OUT problem text)
	LANGUAGE c STRICT VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_shipping_state';
CREATE FUNCTION _ward.verify_received(node text, pinned_keys text[], checkpoints_kept text[],
		OUT verified boolean, OUT records bigint, OUT root text, OUT problem text, OUT place text,
		OUT checkpoints bigint, OUT signed_records bigint, OUT notices text[])
	LANGUAGE c STRICT VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_verify_received';
REVOKE ALL ON FUNCTION _ward.deliver_trail(text[], text, bigint, bigint, bytea, bigint, bigint), _ward.received_trails(),
	_ward.key_node(text), _ward.shipping_state(), _ward.verify_received(text, text[], text[]) FROM PUBLIC;

CREATE FUNCTION ward.deliver_trail(node text, at_segment bigint, at_start bigint, bytes bytea,
		records bigint, bytes_left bigint, OUT segment bigint, OUT start bigint, OUT accepted bigint)
	LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT d.segment, d.start, d.accepted
	FROM _ward.deliver_trail(coalesce((SELECT s.first_keys FROM _ward.standby s
									   WHERE s.node = deliver_trail.node AND s.removed_at IS NULL), '{}'),
		deliver_trail.node, at_segment, at_start, bytes, records, bytes_left) d
$$;
COMMENT ON FUNCTION ward.deliver_trail(text, bigint, bigint, bytea, bigint, bigint) IS
	'takes bytes of a registered standby''s trail, verified, onto disk, and says where it awaits the next; standbys call it by themselves';
REVOKE ALL ON FUNCTION ward.deliver_trail(text, bigint, bigint, bytea, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.deliver_trail(text, bigint, bigint, bytea, bigint, bigint) TO ward_shipper;

CREATE FUNCTION ward.add_standby(name text, first_key text, reason text DEFAULT NULL) RETURNS text
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	of_node text := _ward.key_node(first_key);
	present record;
BEGIN
	IF name IS NULL OR name = '' OR of_node IS NULL THEN
		RAISE EXCEPTION 'a standby needs a name and its first key'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'ward.trail_status on the standby shows first_key.';
	END IF;
	SELECT s.name, s.node, s.removed_at INTO present FROM _ward.standby s
	WHERE s.node = of_node OR s.name = add_standby.name ORDER BY s.node = of_node DESC LIMIT 1 FOR UPDATE;
	IF FOUND AND (present.node <> of_node OR present.name <> add_standby.name) THEN
		RAISE EXCEPTION 'standby "%" is registered with node %', present.name, present.node
			USING ERRCODE = 'duplicate_object',
				HINT = 'A standby that began a new trail is another node: give it another name.';
	END IF;
	PERFORM _ward.record_event('standby.added', ARRAY['name', 'node', 'first_key', 'reason'],
		ARRAY[add_standby.name, of_node, first_key, reason]);
	INSERT INTO _ward.standby AS s (name, node, first_keys) VALUES (add_standby.name, of_node, ARRAY[first_key])
	ON CONFLICT (node) DO UPDATE SET removed_at = NULL,
		first_keys = CASE WHEN add_standby.first_key = ANY (s.first_keys) THEN s.first_keys ELSE s.first_keys || add_standby.first_key END;
	RETURN of_node;
END
$$;
COMMENT ON FUNCTION ward.add_standby(text, text, text) IS
	'registers a standby by the first_key that ward.trail_status shows there: its trail is then taken; called again with a further key where its chain of keys was begun anew';

CREATE FUNCTION ward.remove_standby(name text, reason text) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM _ward.record_event('standby.removed', ARRAY['name', 'reason'], ARRAY[remove_standby.name, reason]);
	UPDATE _ward.standby s SET removed_at = clock_timestamp() WHERE s.name = remove_standby.name AND s.removed_at IS NULL;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'no standby is registered as "%"', remove_standby.name
			USING ERRCODE = 'undefined_object', HINT = 'ward.standby_status lists them.';
	END IF;
END
$$;
COMMENT ON FUNCTION ward.remove_standby(text, text) IS
	'takes no more of a standby''s trail; what it delivered stays';

CREATE FUNCTION ward.verify_standby(name text, checkpoints_kept text[] DEFAULT '{}',
		OUT verified boolean, OUT records bigint, OUT root text, OUT problem text, OUT place text,
		OUT checkpoints bigint, OUT signed_records bigint, OUT notices text[])
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s record;
BEGIN
	SELECT * INTO s FROM _ward.standby x WHERE x.name = verify_standby.name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'no standby is registered as "%"', verify_standby.name
			USING ERRCODE = 'undefined_object', HINT = 'ward.standby_status lists them.';
	END IF;
	SELECT * INTO verified, records, root, problem, place, checkpoints, signed_records, notices
	FROM _ward.verify_received(s.node, s.first_keys, checkpoints_kept);
END
$$;
COMMENT ON FUNCTION ward.verify_standby(text, text[]) IS
	'reads what a standby delivered and says whether it is what was written and signed there, by its registered keys; as ward.verify_trail does for this server''s trail';

-- Both ends' views are functions of the owner: a view's functions run with the caller's rights.
CREATE FUNCTION ward.standbys(OUT name text, OUT node text, OUT directory text, OUT received bigint, OUT accepted bigint,
		OUT known_until timestamptz, OUT bytes bigint, OUT records_behind bigint, OUT bytes_behind bigint, OUT behind interval,
		OUT delivered_at timestamptz, OUT removed_at timestamptz, OUT problem text)
	RETURNS SETOF record
	LANGUAGE sql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT s.name, coalesce(s.node, r.node), r.directory, coalesce(r.received, 0), coalesce(r.accepted, 0), r.accepted_at,
		   coalesce(r.bytes, 0), greatest(r.source_records - r.accepted, 0), r.source_bytes_left,
		   clock_timestamp() - r.accepted_at, r.delivered_at, s.removed_at, r.problem
	FROM _ward.standby s FULL JOIN _ward.received_trails() r ON r.node = s.node
	WHERE coalesce(s.node, r.node) <> (SELECT t.node FROM _ward.trail_state() t)
	ORDER BY s.name
$$;
COMMENT ON FUNCTION ward.standbys() IS 'what ward.standby_status shows';

CREATE VIEW ward.standby_status AS SELECT * FROM ward.standbys();
COMMENT ON VIEW ward.standby_status IS
	'on the primary: each standby''s trail as far as it was delivered, up to when what was read there is known here, and what is behind';

CREATE FUNCTION ward.shipping(OUT standby boolean, OUT configured boolean, OUT connected boolean, OUT records bigint, OUT accepted bigint,
		OUT records_behind bigint, OUT bytes_behind bigint, OUT complete_at timestamptz, OUT behind interval, OUT problem text)
	LANGUAGE sql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT s.standby, s.configured, s.connected, s.records, s.accepted, s.records - s.accepted, s.bytes_behind, s.complete_at,
		   clock_timestamp() - s.complete_at, s.problem
	FROM _ward.shipping_state() s
$$;
COMMENT ON FUNCTION ward.shipping() IS 'what ward.shipping_status shows';

CREATE VIEW ward.shipping_status AS SELECT * FROM ward.shipping();
COMMENT ON VIEW ward.shipping_status IS
	'on a standby: how far its trail was delivered to the primary, what is behind, and what stops it';

REVOKE ALL ON FUNCTION ward.add_standby(text, text, text), ward.remove_standby(text, text), ward.verify_standby(text, text[]),
	ward.standbys(), ward.shipping() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.add_standby(text, text, text), ward.remove_standby(text, text) TO ward_officer;
GRANT EXECUTE ON FUNCTION ward.verify_standby(text, text[]), ward.standbys(), ward.shipping() TO ward_officer, ward_auditor;
REVOKE ALL ON ward.standby_status, ward.shipping_status FROM PUBLIC;
GRANT SELECT ON ward.standby_status, ward.shipping_status TO ward_officer, ward_auditor;
