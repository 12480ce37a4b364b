-- seal: destroying keys. What was sealed under a destroyed version is lost for good:
-- that is what it is for.

-- Rows that were replaced keep their bytes until the table is written anew, which
-- VACUUM FULL does, but not within a function. Changing a column's type to itself
-- does the same. Whoever holds the table for long is not waited for.
CREATE FUNCTION _ward.rewrite_keys() RETURNS boolean
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
	SET lock_timeout = '2s'
	AS $$
BEGIN
	LOCK TABLE _ward.key, _ward.key_version IN ACCESS EXCLUSIVE MODE;
	-- No view reads this column, which would forbid it.
	ALTER TABLE _ward.key ALTER COLUMN destroyed_at TYPE timestamptz USING destroyed_at + interval '0';
	ALTER TABLE _ward.key_version ALTER COLUMN destroyed_at TYPE timestamptz USING destroyed_at + interval '0';
	RETURN true;
EXCEPTION WHEN lock_not_available THEN
	RETURN false;
END
$$;
REVOKE ALL ON FUNCTION _ward.rewrite_keys() FROM PUBLIC;

-- Overwrites wrapped secrets: of one version, or with NULL of all and of the tags.
CREATE FUNCTION _ward.destroy(key_id integer, key text, gone integer) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	nothing constant bytea := decode(repeat('00', 40), 'hex');
BEGIN
	UPDATE _ward.key_version v
	   SET state = 'destroyed', destroyed_at = clock_timestamp(), wrapped = nothing,
	       fingerprint = substr(nothing, 1, 16)
	 WHERE v.key = key_id AND v.version = coalesce(gone, v.version) AND v.state <> 'destroyed';
	IF gone IS NULL THEN
		UPDATE _ward.key k SET is_default = false, destroyed_at = clock_timestamp(), wrapped = nothing, fingerprint = substr(nothing, 1, 16)
		 WHERE k.id = key_id;
	END IF;
	IF _ward.rewrite_keys() THEN
		RAISE NOTICE 'the secret of % is overwritten', CASE WHEN gone IS NULL THEN format('key "%s"', key) ELSE format('version %s of key "%s"', gone, key) END
			USING DETAIL = 'Its wrapped bytes stay in WAL, WAL archives, backups, dumps, standbys'' files and freed disk blocks until those are overwritten or removed.',
			      HINT = 'Run CHECKPOINT, remove old WAL archives, backups and dumps, and end idle sessions.';
	ELSE
		RAISE WARNING 'the secret of % is overwritten, but its wrapped bytes are still in the table''s file', CASE WHEN gone IS NULL THEN format('key "%s"', key) ELSE format('version %s of key "%s"', gone, key) END
			USING DETAIL = 'Another transaction, say a dump, holds the tables of keys.',
			      HINT = 'Run VACUUM FULL _ward.key, VACUUM FULL _ward.key_version and CHECKPOINT; remove old WAL archives, backups and dumps, and end idle sessions.';
	END IF;
END
$$;
REVOKE ALL ON FUNCTION _ward.destroy(integer, text, integer) FROM PUBLIC;

CREATE FUNCTION _ward.check_confirmation(key text, confirm text, reason text) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	PERFORM _ward.check_reason(key, reason);
	IF confirm IS DISTINCT FROM key THEN
		RAISE EXCEPTION 'the destruction of a key must be confirmed by its name'
			USING ERRCODE = 'invalid_parameter_value',
			      DETAIL = 'What is sealed under it can not be opened afterwards, by anybody.',
			      HINT = format('If you mean it, add confirm => %L.', key);
	END IF;
	-- A snapshot from before the tables are locked could not see what is in use.
	IF current_setting('transaction_isolation') <> 'read committed' THEN
		RAISE EXCEPTION 'keys are destroyed in READ COMMITTED transactions only'
			USING ERRCODE = 'active_sql_transaction';
	END IF;
END
$$;
REVOKE ALL ON FUNCTION _ward.check_confirmation(text, text, text) FROM PUBLIC;

CREATE FUNCTION ward.destroy_key_version(key text, version integer, confirm text, reason text, force boolean DEFAULT false) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET lock_timeout = '10s'
	AS $$
DECLARE
	key_id integer;
	found_state text;
	tables text;
	used text;
BEGIN
	PERFORM _ward.check_confirmation(key, confirm, reason);
	key_id := _ward.key_by_name(key);
	PERFORM FROM _ward.key k WHERE k.id = key_id FOR UPDATE;
	PERFORM _ward.check_key_hold(key_id, key);
	SELECT v.state INTO found_state FROM _ward.key_version v WHERE v.key = key_id AND v.version = destroy_key_version.version;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'sealing key "%" has no version %', key, version
			USING ERRCODE = 'WD201', HINT = 'The view ward.keys lists the versions.';
	ELSIF found_state = 'destroyed' THEN
		RAISE EXCEPTION 'version % of sealing key "%" is destroyed already', version, key USING ERRCODE = 'WD203';
	ELSIF found_state = 'active' THEN
		RAISE EXCEPTION 'version % of sealing key "%" is active', version, key
			USING ERRCODE = 'WD206',
			      HINT = 'Make a new version with ward.rotate_key(), and move the values to it with ward.reseal(). ward.destroy_key() destroys the whole key.';
	END IF;
	IF force IS NOT TRUE THEN
		-- Nobody stores a copy of an old value while we look.
		SELECT string_agg(r.relation::regclass::text, ', ' ORDER BY r.relation) INTO tables
		  FROM _ward.relations_of_key(key_id) r JOIN pg_class c ON c.oid = r.relation
		 WHERE r.readable AND c.relkind = 'r';
		IF tables IS NOT NULL THEN
			EXECUTE 'LOCK TABLE ' || tables || ' IN SHARE MODE';
		END IF;
		SELECT string_agg(format('%s: %s', u.location, u.advice), E'\n') INTO used
		  FROM ward.key_versions_in_use(key) u
		 WHERE u.version = destroy_key_version.version AND u.location IS NOT NULL;
		IF used IS NOT NULL THEN
			RAISE EXCEPTION 'version % of sealing key "%" is in use', version, key
				USING ERRCODE = 'WD206', DETAIL = used,
				      HINT = 'Do what is listed, or add force => true to lose these values.';
		END IF;
	END IF;
	PERFORM _ward.record_event('key.version_destroyed', ARRAY['key', 'version', 'reason', 'forced'],
	                           ARRAY[key, version::text, reason, (force IS TRUE)::text]);
	PERFORM _ward.destroy(key_id, key, version);
END
$$;
REVOKE ALL ON FUNCTION ward.destroy_key_version(text, integer, text, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.destroy_key_version(text, integer, text, text, boolean) TO ward_officer;
COMMENT ON FUNCTION ward.destroy_key_version(text, integer, text, text, boolean) IS
	'destroys a retired version of a key for good; refuses while values of it are in use, unless forced; confirm is the key''s name';

CREATE FUNCTION ward.destroy_key(key text, confirm text, reason text) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	key_id integer;
BEGIN
	PERFORM _ward.check_confirmation(key, confirm, reason);
	key_id := _ward.key_by_name(key);
	PERFORM FROM _ward.key k WHERE k.id = key_id FOR UPDATE;
	PERFORM _ward.check_key_hold(key_id, key);
	IF NOT EXISTS (SELECT FROM _ward.key_version v WHERE v.key = key_id AND v.state <> 'destroyed') THEN
		RAISE EXCEPTION 'sealing key "%" is destroyed already', key USING ERRCODE = 'WD203';
	END IF;
	PERFORM _ward.record_event('key.destroyed', ARRAY['key', 'reason'], ARRAY[key, reason]);
	PERFORM _ward.destroy(key_id, key, NULL);
END
$$;
REVOKE ALL ON FUNCTION ward.destroy_key(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.destroy_key(text, text, text) TO ward_officer;
COMMENT ON FUNCTION ward.destroy_key(text, text, text) IS
	'destroys a key with all its versions for good, and with it everything sealed under it; confirm is the key''s name';
