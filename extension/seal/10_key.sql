-- seal: keys. The secrets in these tables are wrapped by the key-encryption key,
-- which is never in the database.

-- key.c reads the columns by number: add at the end only.
CREATE TABLE _ward.key (
	id integer PRIMARY KEY,
	name text NOT NULL UNIQUE,
	search text NOT NULL CHECK (search IN ('none', 'equality', 'substring')),
	frozen boolean NOT NULL DEFAULT false,
	is_default boolean NOT NULL DEFAULT false,
	fingerprint bytea NOT NULL,
	wrapped bytea NOT NULL,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	created_by name NOT NULL DEFAULT session_user
);
CREATE UNIQUE INDEX key_default ON _ward.key (is_default) WHERE is_default;
COMMENT ON TABLE _ward.key IS 'sealing keys; wrapped is the secret of the equality tags, which all versions share';

CREATE TABLE _ward.key_version (
	key integer NOT NULL REFERENCES _ward.key ON DELETE CASCADE,
	version integer NOT NULL CHECK (version BETWEEN 1 AND 65535),
	state text NOT NULL CHECK (state IN ('active', 'retired', 'destroyed')),
	fingerprint bytea NOT NULL,
	wrapped bytea NOT NULL,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	PRIMARY KEY (key, version)
);
CREATE UNIQUE INDEX key_version_active ON _ward.key_version (key) WHERE state = 'active';
COMMENT ON TABLE _ward.key_version IS 'versions of sealing keys: wrapped data-encryption keys';

REVOKE ALL ON _ward.key, _ward.key_version FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('_ward.key', '');
SELECT pg_catalog.pg_extension_config_dump('_ward.key_version', '');

CREATE FUNCTION _ward.seal_changed() RETURNS trigger
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ward_seal_changed';
CREATE FUNCTION _ward.key_id(name text) RETURNS integer
	LANGUAGE c STRICT IMMUTABLE AS 'MODULE_PATHNAME', 'ward_seal_key_id';
CREATE FUNCTION _ward.new_secret() RETURNS bytea
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_seal_new_secret';
CREATE FUNCTION _ward.kek_fingerprint() RETURNS bytea
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_seal_kek_fingerprint';
REVOKE ALL ON FUNCTION _ward.seal_changed(), _ward.key_id(text), _ward.new_secret(),
	_ward.kek_fingerprint() FROM PUBLIC;

-- Whoever changes these tables, by whatever way, every session learns of it.
CREATE TRIGGER key_changed AFTER INSERT OR UPDATE OR DELETE ON _ward.key
	FOR EACH ROW EXECUTE FUNCTION _ward.seal_changed('key');
CREATE TRIGGER key_truncated AFTER TRUNCATE ON _ward.key
	FOR EACH STATEMENT EXECUTE FUNCTION _ward.seal_changed('key');
CREATE TRIGGER key_version_changed AFTER INSERT OR UPDATE OR DELETE ON _ward.key_version
	FOR EACH ROW EXECUTE FUNCTION _ward.seal_changed('key');
CREATE TRIGGER key_version_truncated AFTER TRUNCATE ON _ward.key_version
	FOR EACH STATEMENT EXECUTE FUNCTION _ward.seal_changed('key');

CREATE FUNCTION ward.create_key(name text, search text DEFAULT 'equality', make_default boolean DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	new_id integer;
	other text;
	tag_secret bytea;
	data_secret bytea;
	becomes_default boolean;
BEGIN
	IF name IS NULL THEN
		RAISE EXCEPTION 'a sealing key needs a name' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF search IS NULL OR search NOT IN ('none', 'equality', 'substring') THEN
		RAISE EXCEPTION 'unknown search mode "%"', search
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Use ''equality'', ''substring'' or ''none''.';
	END IF;
	new_id := _ward.key_id(name);
	-- One at a time: the default must be one, and the collision check must hold.
	LOCK TABLE _ward.key IN SHARE ROW EXCLUSIVE MODE;
	SELECT k.name INTO other FROM _ward.key k WHERE k.id = new_id;
	IF FOUND THEN
		IF other = name THEN
			RAISE EXCEPTION 'sealing key "%" exists already', name USING ERRCODE = 'WD205';
		END IF;
		RAISE EXCEPTION 'the name "%" has the same number as key "%"', name, other
			USING ERRCODE = 'WD205',
			      DETAIL = 'Columns know their key by a number made from its name.',
			      HINT = 'Choose another name.';
	END IF;
	becomes_default := coalesce(make_default, NOT EXISTS (SELECT FROM _ward.key k WHERE k.is_default));
	IF becomes_default THEN
		UPDATE _ward.key k SET is_default = false WHERE k.is_default;
	END IF;
	-- A fingerprint of the KEK (16 bytes) and the wrapped secret behind it.
	tag_secret := _ward.new_secret();
	data_secret := _ward.new_secret();
	INSERT INTO _ward.key (id, name, search, is_default, fingerprint, wrapped)
	VALUES (new_id, name, search, becomes_default,
	        substr(tag_secret, 1, length(tag_secret) - 40), substr(tag_secret, length(tag_secret) - 39));
	INSERT INTO _ward.key_version (key, version, state, fingerprint, wrapped)
	VALUES (new_id, 1, 'active',
	        substr(data_secret, 1, length(data_secret) - 40), substr(data_secret, length(data_secret) - 39));
	PERFORM _ward.record_event('key.created', ARRAY['key', 'search', 'default'],
	                           ARRAY[name, search, becomes_default::text]);
END
$$;
REVOKE ALL ON FUNCTION ward.create_key(text, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.create_key(text, text, boolean) TO ward_officer;
COMMENT ON FUNCTION ward.create_key(text, text, boolean) IS
	'makes a sealing key; search ''equality'' allows look-ups and shows which rows are equal, ''substring'' allows LIKE by index, too, and shows how often trigrams occur, ''none'' shows nothing';

-- What changes a key says which, and why.
CREATE FUNCTION _ward.check_reason(key text, reason text) RETURNS void
	LANGUAGE plpgsql IMMUTABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF key IS NULL OR coalesce(reason, '') = '' THEN
		RAISE EXCEPTION 'name the key, and give a reason' USING ERRCODE = 'null_value_not_allowed';
	END IF;
END
$$;
REVOKE ALL ON FUNCTION _ward.check_reason(text, text) FROM PUBLIC;

CREATE FUNCTION _ward.set_frozen(key text, wanted boolean, reason text) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	PERFORM _ward.check_reason(key, reason);
	UPDATE _ward.key k SET frozen = wanted WHERE k.name = set_frozen.key;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'sealing key "%" does not exist', key
			USING ERRCODE = 'WD201', HINT = 'The view ward.keys lists the keys.';
	END IF;
	PERFORM _ward.record_event(CASE WHEN wanted THEN 'key.frozen' ELSE 'key.thawed' END,
	                           ARRAY['key', 'reason'], ARRAY[key, reason]);
END
$$;
REVOKE ALL ON FUNCTION _ward.set_frozen(text, boolean, text) FROM PUBLIC;

CREATE FUNCTION ward.freeze_key(key text, reason text) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS 'BEGIN PERFORM _ward.set_frozen(key, true, reason); END';
CREATE FUNCTION ward.thaw_key(key text, reason text) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS 'BEGIN PERFORM _ward.set_frozen(key, false, reason); END';
REVOKE ALL ON FUNCTION ward.freeze_key(text, text), ward.thaw_key(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.freeze_key(text, text), ward.thaw_key(text, text) TO ward_officer;
COMMENT ON FUNCTION ward.freeze_key(text, text) IS
	'stops every sealing and opening under a key, in every session, from its next value on';
COMMENT ON FUNCTION ward.thaw_key(text, text) IS 'ends a freeze';

CREATE VIEW ward.keys AS
SELECT k.name, k.id, v.version, CASE WHEN k.frozen AND v.state <> 'destroyed' THEN 'frozen' ELSE v.state END AS state,
       k.search, k.is_default, k.created_at, k.created_by
  FROM _ward.key k LEFT JOIN _ward.key_version v ON v.key = k.id;
REVOKE ALL ON ward.keys FROM PUBLIC;
GRANT SELECT ON ward.keys TO ward_officer, ward_auditor;
COMMENT ON VIEW ward.keys IS 'sealing keys, without their secrets';
