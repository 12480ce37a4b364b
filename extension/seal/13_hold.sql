-- seal: keys that must stay. Layers above put holds here; destroying a key or a version
-- of it asks first. Nobody can force it: the holder must let go.

CREATE TABLE _ward.key_hold (
	key integer NOT NULL REFERENCES _ward.key ON DELETE CASCADE,
	holder text NOT NULL,	-- who needs it, say "incident 3"
	reason text NOT NULL,
	held_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	PRIMARY KEY (key, holder)
);
COMMENT ON TABLE _ward.key_hold IS 'keys that must not be destroyed, and for whose sake';
REVOKE ALL ON _ward.key_hold FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('_ward.key_hold', '');

-- The key's row is locked by whoever destroys it and by whoever holds it.
CREATE FUNCTION _ward.check_key_hold(key_id integer, key text) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	holders text;
BEGIN
	SELECT string_agg(format('%s (%s)', h.holder, h.reason), ', ' ORDER BY h.holder) INTO holders
	  FROM _ward.key_hold h WHERE h.key = key_id;
	IF holders IS NOT NULL THEN
		RAISE EXCEPTION 'sealing key "%" is on hold', key
			USING ERRCODE = 'WD207',
			      DETAIL = format('It is held for %s.', holders),
			      HINT = 'Close the incident first; whoever is still to be told may need what the key opens. ward.freeze_key() stops its use without losing it.';
	END IF;
END
$$;
COMMENT ON FUNCTION _ward.check_key_hold(integer, text) IS 'refuses to go on where a key is on hold';
REVOKE ALL ON FUNCTION _ward.check_key_hold(integer, text) FROM PUBLIC;
