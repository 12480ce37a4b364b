-- core: schemas, roles and the check that the library was preloaded.

-- Everything below would be an empty promise in a server that did not preload
-- the library, so creation stops here.
CREATE FUNCTION ward.require_preload() RETURNS void
	LANGUAGE c STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_require_preload';
SELECT ward.require_preload();
DROP FUNCTION ward.require_preload();

CREATE SCHEMA _ward;
COMMENT ON SCHEMA ward IS 'pg_ward: what DBAs, officers and analysts call';
COMMENT ON SCHEMA _ward IS 'pg_ward: its catalog; read it through schema ward';

-- Roles belong to the cluster: another database may have made them already, and
-- they stay when the extension is dropped, because grants may depend on them.
DO $$
DECLARE
	wanted name;
BEGIN
	FOREACH wanted IN ARRAY ARRAY['ward_officer', 'ward_auditor', 'ward_analyst', 'ward_shipper']::name[]
	LOOP
		IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
			EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', wanted);
		END IF;
	END LOOP;
END
$$;
COMMENT ON ROLE ward_officer IS 'pg_ward: manages keys, grants, watches and limits; opens nothing by itself';
COMMENT ON ROLE ward_auditor IS 'pg_ward: reads the trail and the scope';
COMMENT ON ROLE ward_shipper IS 'pg_ward: delivers the trail of a standby, and nothing else';
COMMENT ON ROLE ward_analyst IS 'pg_ward: reads the scope and works incidents, without trail text';

REVOKE ALL ON SCHEMA ward, _ward FROM PUBLIC;
GRANT USAGE ON SCHEMA ward TO PUBLIC;

CREATE FUNCTION ward.version() RETURNS text
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_version';
REVOKE ALL ON FUNCTION ward.version() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.version() TO ward_officer, ward_auditor, ward_analyst;
COMMENT ON FUNCTION ward.version() IS 'version of the pg_ward library that this server has loaded';

-- Tables of the extension that name a column of a user's table, by name and by attnum:
-- after a rename both are made to agree again. The name is what counts where it exists,
-- because a restore with triggers disabled brings the numbers of the old table.
CREATE FUNCTION _ward.follow_columns(registry regclass, relation_column name, name_column name) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	EXECUTE pg_catalog.format('UPDATE %s r SET attnum = a.attnum FROM pg_catalog.pg_attribute a
		WHERE a.attrelid = r.%I AND a.attname = r.%I AND NOT a.attisdropped AND a.attnum <> r.attnum',
		registry, relation_column, name_column);
	EXECUTE pg_catalog.format('UPDATE %1$s r SET %3$I = a.attname FROM pg_catalog.pg_attribute a
		WHERE a.attrelid = r.%2$I AND a.attnum = r.attnum AND NOT a.attisdropped AND a.attname <> r.%3$I',
		registry, relation_column, name_column);
END
$$;
REVOKE ALL ON FUNCTION _ward.follow_columns(regclass, name, name) FROM PUBLIC;
