-- seal: who may open. Superusers have no right but what is granted here.

-- right.c reads the columns by number: add at the end only. regrole is dumped by
-- name, so that a restore on another cluster finds its roles.
CREATE TABLE _ward.unseal_grant (
	key integer NOT NULL REFERENCES _ward.key ON DELETE CASCADE,
	grantee regrole NOT NULL,
	expires timestamptz,
	reason text NOT NULL,
	granted_by name NOT NULL DEFAULT session_user,
	granted_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	PRIMARY KEY (key, grantee)
);
REVOKE ALL ON _ward.unseal_grant FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('_ward.unseal_grant', '');
COMMENT ON TABLE _ward.unseal_grant IS 'which roles may open values sealed under which key, until when and why';
CREATE TRIGGER unseal_grant_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON _ward.unseal_grant
	FOR EACH STATEMENT EXECUTE FUNCTION _ward.seal_changed();

CREATE FUNCTION ward.grant_unseal(key text, role name, reason text, expires timestamptz DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	key_id integer;
	role_id oid;
BEGIN
	IF key IS NULL OR role IS NULL OR coalesce(reason, '') = '' THEN
		RAISE EXCEPTION 'name the key and the role, and give a reason' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF expires <= pg_catalog.clock_timestamp() THEN
		RAISE EXCEPTION 'the grant would have expired already' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	SELECT k.id INTO key_id FROM _ward.key k WHERE k.name = key;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'sealing key "%" does not exist', key
			USING ERRCODE = 'WD201', HINT = 'The view ward.keys lists the keys.';
	END IF;
	SELECT r.oid INTO role_id FROM pg_catalog.pg_roles r WHERE r.rolname = role;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'role "%" does not exist', role USING ERRCODE = 'undefined_object';
	END IF;
	-- One at a time: each also changes the table's privileges.
	LOCK TABLE _ward.unseal_grant IN SHARE ROW EXCLUSIVE MODE;
	INSERT INTO _ward.unseal_grant AS g (key, grantee, expires, reason) VALUES (key_id, role_id, expires, reason)
		ON CONFLICT ON CONSTRAINT unseal_grant_pkey
		DO UPDATE SET expires = excluded.expires, reason = excluded.reason,
		              granted_by = session_user, granted_at = pg_catalog.clock_timestamp();
	PERFORM _ward.record_event('grant.added', ARRAY['key', 'role', 'reason', 'expires'],
	                           ARRAY[key, role::text, reason, expires::text]);
END
$$;
REVOKE ALL ON FUNCTION ward.grant_unseal(text, name, text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.grant_unseal(text, name, text, timestamptz) TO ward_officer;
COMMENT ON FUNCTION ward.grant_unseal(text, name, text, timestamptz) IS
	'lets a role, and its members that inherit from it, open values sealed under a key';

CREATE FUNCTION ward.revoke_unseal(key text, role name, reason text) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF key IS NULL OR role IS NULL OR coalesce(reason, '') = '' THEN
		RAISE EXCEPTION 'name the key and the role, and give a reason' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	LOCK TABLE _ward.unseal_grant IN SHARE ROW EXCLUSIVE MODE;
	DELETE FROM _ward.unseal_grant g USING _ward.key k, pg_catalog.pg_roles r
	 WHERE k.name = revoke_unseal.key AND g.key = k.id AND r.rolname = role AND g.grantee = r.oid;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'role "%" has no unseal right of its own on key "%"', role, key
			USING ERRCODE = 'undefined_object',
			      HINT = 'The view ward.unseal_grants lists the grants; a role may have the right as a member of another.';
	END IF;
	PERFORM _ward.record_event('grant.revoked', ARRAY['key', 'role', 'reason'], ARRAY[key, role::text, reason]);
END
$$;
REVOKE ALL ON FUNCTION ward.revoke_unseal(text, name, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.revoke_unseal(text, name, text) TO ward_officer;
COMMENT ON FUNCTION ward.revoke_unseal(text, name, text) IS
	'takes the right away again, in running statements from the next value on';

CREATE VIEW ward.unseal_grants AS
SELECT k.name AS key, g.grantee AS role, g.reason, g.expires, g.granted_by, g.granted_at,
       coalesce(g.expires <= pg_catalog.clock_timestamp(), false) AS expired
  FROM _ward.unseal_grant g JOIN _ward.key k ON k.id = g.key;
REVOKE ALL ON ward.unseal_grants FROM PUBLIC;
GRANT SELECT ON ward.unseal_grants TO ward_officer, ward_auditor;
COMMENT ON VIEW ward.unseal_grants IS 'who may open which key, since when, until when and why';
