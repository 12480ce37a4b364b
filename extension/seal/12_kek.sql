-- seal: which key-encryption key wrapped what, and changing it.

-- Every wrapped secret there is: of a version, or (version NULL) of the equality tags.
-- What is destroyed has none.
CREATE VIEW _ward.secret AS
SELECT v.key, v.version, k.name,
       CASE WHEN v.state <> 'destroyed' THEN v.fingerprint || v.wrapped END AS secret
  FROM _ward.key k JOIN _ward.key_version v ON v.key = k.id
UNION ALL
SELECT k.id, NULL, k.name,
       CASE WHEN EXISTS (SELECT FROM _ward.key_version v WHERE v.key = k.id AND v.state <> 'destroyed')
            THEN k.fingerprint || k.wrapped END
  FROM _ward.key k;
REVOKE ALL ON _ward.secret FROM PUBLIC;
COMMENT ON VIEW _ward.secret IS 'every wrapped secret: fingerprint of the key-encryption key, and the wrapped bytes behind it';

-- Arrays, so that a provider is asked once for all of them.
CREATE FUNCTION _ward.check_secrets(secrets bytea[]) RETURNS text[]
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_seal_check_secrets';
CREATE FUNCTION _ward.rewrap_secrets(keys integer[], secrets bytea[]) RETURNS bytea[]
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_seal_rewrap_secrets';
CREATE FUNCTION _ward.secrets_rewrapped(keys integer[], old_secrets bytea[], new_secrets bytea[]) RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_seal_secrets_rewrapped';
REVOKE ALL ON FUNCTION _ward.check_secrets(bytea[]), _ward.rewrap_secrets(integer[], bytea[]),
	_ward.secrets_rewrapped(integer[], bytea[], bytea[]) FROM PUBLIC;

CREATE FUNCTION ward.kek_check() RETURNS TABLE (key text, version integer, state text, kek text)
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	names text[];
	versions integer[];
	secrets bytea[];
BEGIN
	SELECT array_agg(s.name), array_agg(s.version), array_agg(s.secret)
	  INTO names, versions, secrets FROM _ward.secret s;
	RETURN QUERY
	SELECT c.name, c.version,
	       CASE WHEN c.secret IS NULL THEN 'destroyed'
	            WHEN c.fit IN ('current', 'previous') THEN 'good'
	            WHEN c.fit = 'other' THEN 'wrapped by another key-encryption key'
	            ELSE 'damaged' END,
	       CASE WHEN c.fit IN ('current', 'previous') THEN c.fit END
	  FROM unnest(names, versions, secrets, _ward.check_secrets(secrets)) c (name, version, secret, fit)
	 ORDER BY 1, 2;
END
$$;
REVOKE ALL ON FUNCTION ward.kek_check() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.kek_check() TO ward_officer;
COMMENT ON FUNCTION ward.kek_check() IS
	'says of each wrapped secret whether it is good and which key-encryption key it fits, the current or the previous one; version NULL is the secret of the equality tags';

CREATE FUNCTION ward.rewrap_keys() RETURNS integer
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	keys integer[];
	versions integer[];
	old_secrets bytea[];
	new_secrets bytea[];
	changed integer;
BEGIN
	-- What is made meanwhile waits, or it might stay under the previous key.
	LOCK TABLE _ward.key, _ward.key_version IN SHARE ROW EXCLUSIVE MODE;
	SELECT coalesce(array_agg(s.key), '{}'), coalesce(array_agg(s.version), '{}'), coalesce(array_agg(s.secret), '{}')
	  INTO keys, versions, old_secrets FROM _ward.secret s WHERE s.secret IS NOT NULL;
	-- NULL where the current key wraps it already.
	new_secrets := _ward.rewrap_secrets(keys, old_secrets);
	changed := cardinality(array_remove(new_secrets, NULL));
	UPDATE _ward.key k
	   SET fingerprint = substr(c.secret, 1, length(c.secret) - 40), wrapped = substr(c.secret, length(c.secret) - 39)
	  FROM unnest(keys, versions, new_secrets) c (key, version, secret)
	 WHERE c.version IS NULL AND c.secret IS NOT NULL AND k.id = c.key;
	UPDATE _ward.key_version v
	   SET fingerprint = substr(c.secret, 1, length(c.secret) - 40), wrapped = substr(c.secret, length(c.secret) - 39)
	  FROM unnest(keys, versions, new_secrets) c (key, version, secret)
	 WHERE c.secret IS NOT NULL AND v.key = c.key AND v.version = c.version;
	-- After the updates, whose triggers make the keyring forget these keys.
	PERFORM _ward.secrets_rewrapped(keys, old_secrets, new_secrets);
	PERFORM _ward.record_event('kek.rewrapped', ARRAY['secrets', 'already', 'fingerprint'],
	                           ARRAY[changed::text, (cardinality(new_secrets) - changed)::text,
	                                 encode(_ward.kek_fingerprint(), 'hex')]);
	RETURN changed;
END
$$;
REVOKE ALL ON FUNCTION ward.rewrap_keys() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.rewrap_keys() TO ward_officer;
COMMENT ON FUNCTION ward.rewrap_keys() IS
	'wraps every secret of this database by the current key-encryption key and says how many it changed; afterwards the previous one is not needed here';
