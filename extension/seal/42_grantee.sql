-- seal: what becomes of a grant when its role is dropped.

-- A grant knows its role by oid, and oids come round again: a later role must not
-- inherit it. So a grantee also gets a privilege on the table of grants (one that is
-- of no use to it), which PostgreSQL itself heeds, in every database and over dump,
-- restore and upgrade: DROP ROLE is refused until the right is revoked, as with any
-- other privilege, and DROP OWNED revokes it.
CREATE FUNCTION _ward.mark_grantee() RETURNS trigger
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF TG_OP <> 'DELETE' THEN
		EXECUTE format('GRANT REFERENCES (key) ON _ward.unseal_grant TO %s', NEW.grantee);
	END IF;
	IF TG_OP <> 'INSERT' THEN
		IF NOT EXISTS (SELECT FROM _ward.unseal_grant g WHERE g.grantee = OLD.grantee)
		   AND EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = OLD.grantee) THEN
			EXECUTE format('REVOKE REFERENCES (key) ON _ward.unseal_grant FROM %s', OLD.grantee);
		END IF;
	END IF;
	RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION _ward.mark_grantee() FROM PUBLIC;
CREATE TRIGGER mark_grantee AFTER INSERT OR UPDATE OR DELETE ON _ward.unseal_grant
	FOR EACH ROW EXECUTE FUNCTION _ward.mark_grantee();

CREATE FUNCTION _ward.follow_drop_owned() RETURNS event_trigger
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	gone record;
BEGIN
	FOR gone IN
		DELETE FROM _ward.unseal_grant g USING _ward.key k
		 WHERE k.id = g.key
		   AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) p
		                    WHERE a.attrelid = '_ward.unseal_grant'::regclass AND a.attname = 'key' AND p.grantee = g.grantee)
		   AND g.grantee <> (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = '_ward.unseal_grant'::regclass)
		RETURNING k.name, g.grantee
	LOOP
		PERFORM _ward.record_event('grant.revoked', ARRAY['key', 'role', 'reason'],
		                           ARRAY[gone.name, gone.grantee::text, 'DROP OWNED']);
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION _ward.follow_drop_owned() FROM PUBLIC;
CREATE EVENT TRIGGER ward_follow_drop_owned ON ddl_command_end
	WHEN TAG IN ('DROP OWNED') EXECUTE FUNCTION _ward.follow_drop_owned();
