-- seal: which column was of what type before it was sealed, and how far a running
-- conversion is.

CREATE TABLE _ward.sealed_column (
	relation regclass NOT NULL,
	column_name name NOT NULL,
	-- Follows a rename of the column; set by name where a restore brings the row.
	attnum smallint,
	base_type regtype NOT NULL,
	base_typmod integer NOT NULL,
	protected_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	protected_by name NOT NULL DEFAULT session_user,
	PRIMARY KEY (relation, column_name)
);
REVOKE ALL ON _ward.sealed_column FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('_ward.sealed_column', '');
COMMENT ON TABLE _ward.sealed_column IS 'the type that each protected column had, for ward.unprotect';

CREATE FUNCTION _ward.sealed_column_number() RETURNS trigger
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	SELECT a.attnum INTO NEW.attnum FROM pg_catalog.pg_attribute a
	 WHERE a.attrelid = NEW.relation AND a.attname = NEW.column_name AND NOT a.attisdropped;
	RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION _ward.sealed_column_number() FROM PUBLIC;
CREATE TRIGGER sealed_column_number BEFORE INSERT OR UPDATE ON _ward.sealed_column
	FOR EACH ROW EXECUTE FUNCTION _ward.sealed_column_number();

-- Renames and drops, by whomever.
CREATE FUNCTION _ward.follow_sealed_columns() RETURNS event_trigger
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	PERFORM _ward.follow_columns('_ward.sealed_column', 'relation', 'column_name');
	DELETE FROM _ward.sealed_column s
	 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
	                    WHERE a.attrelid = s.relation AND a.attname = s.column_name AND NOT a.attisdropped);
END
$$;
REVOKE ALL ON FUNCTION _ward.follow_sealed_columns() FROM PUBLIC;
CREATE EVENT TRIGGER ward_follow_sealed_columns ON ddl_command_end
	WHEN TAG IN ('ALTER TABLE', 'DROP TABLE', 'DROP SCHEMA')
	EXECUTE FUNCTION _ward.follow_sealed_columns();

-- Progress: counted by a function around the column, so that only a conversion pays.
CREATE FUNCTION _ward.progress_begin(relation oid, attnum smallint, opening boolean, estimated double precision) RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_progress_begin';
CREATE FUNCTION _ward.progress_phase(phase integer) RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_progress_phase';
CREATE FUNCTION _ward.progress_row(value anyelement) RETURNS anyelement
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ward_progress_row';
CREATE FUNCTION _ward.progress_end() RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_progress_end';
CREATE FUNCTION _ward.progress_list(OUT pid integer, OUT relation oid, OUT attnum smallint, OUT opening boolean, OUT phase text,
                                    OUT rows_done bigint, OUT rows_estimated bigint, OUT started timestamptz) RETURNS SETOF record
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_progress_list';
REVOKE ALL ON FUNCTION _ward.progress_begin(oid, smallint, boolean, double precision), _ward.progress_phase(integer),
	_ward.progress_row(anyelement), _ward.progress_end(), _ward.progress_list() FROM PUBLIC;

-- For the views alone: a view calls functions as who reads it.
CREATE FUNCTION ward.protect_progress_rows(OUT pid integer, OUT relation regclass, OUT column_name name, OUT command text, OUT phase text,
                                           OUT rows_done bigint, OUT rows_estimated bigint, OUT started timestamptz) RETURNS SETOF record
	LANGUAGE sql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
SELECT p.pid, p.relation::regclass, a.attname, CASE WHEN p.opening THEN 'unprotect' ELSE 'protect' END,
       p.phase, p.rows_done, p.rows_estimated, p.started
  FROM _ward.progress_list() p
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = p.relation AND a.attnum = p.attnum
$$;
REVOKE ALL ON FUNCTION ward.protect_progress_rows() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.protect_progress_rows() TO ward_officer, ward_auditor;
COMMENT ON FUNCTION ward.protect_progress_rows() IS 'what the view ward.protect_progress shows';
CREATE VIEW ward.protect_progress AS SELECT * FROM ward.protect_progress_rows();
REVOKE ALL ON ward.protect_progress FROM PUBLIC;
GRANT SELECT ON ward.protect_progress TO ward_officer, ward_auditor;
COMMENT ON VIEW ward.protect_progress IS
	'conversions that run now in this database: which column, by which backend, how many rows of how many (estimated)';

-- Limits of base types, for checks: what they tell needs no right to open.
CREATE FUNCTION pg_catalog.sealed_text_fits(pg_catalog.sealed_text, integer) RETURNS boolean
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_text_fits';
CREATE FUNCTION pg_catalog.sealed_int8_fits(pg_catalog.sealed_int8, integer) RETURNS boolean
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_int8_fits';
CREATE FUNCTION pg_catalog.sealed_numeric_fits(pg_catalog.sealed_numeric, integer, integer) RETURNS boolean
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_numeric_fits';
COMMENT ON FUNCTION pg_catalog.sealed_text_fits(pg_catalog.sealed_text, integer) IS
	'whether a sealed text has at most so many characters; needs no right';
COMMENT ON FUNCTION pg_catalog.sealed_int8_fits(pg_catalog.sealed_int8, integer) IS
	'whether a sealed number is one of a smallint (2) or an integer (4); needs no right';
COMMENT ON FUNCTION pg_catalog.sealed_numeric_fits(pg_catalog.sealed_numeric, integer, integer) IS
	'whether a sealed number is one of a numeric of this precision and scale, unrounded; needs no right';

-- The condition that stands for the limit of a base type, or NULL where it has none that
-- the sealed type has not.
CREATE FUNCTION _ward.limit_check(base regtype, typmod integer, column_name name) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
SELECT CASE
	WHEN base = 'varchar'::regtype AND typmod > 4
		THEN pg_catalog.format('pg_catalog.sealed_text_fits(%I, %s)', column_name, typmod - 4)
	WHEN base = 'smallint'::regtype THEN pg_catalog.format('pg_catalog.sealed_int8_fits(%I, 2)', column_name)
	WHEN base = 'integer'::regtype THEN pg_catalog.format('pg_catalog.sealed_int8_fits(%I, 4)', column_name)
	WHEN base = 'numeric'::regtype AND typmod >= 4
		-- The scale is a signed number of 11 bits.
		THEN pg_catalog.format('pg_catalog.sealed_numeric_fits(%I, %s, %s)', column_name,
		                       (typmod - 4) >> 16, (((typmod - 4) & 2047) # 1024) - 1024)
END
$$;
-- Is a constraint one over such a function?
CREATE FUNCTION _ward.is_limit(constraint_oid oid) RETURNS boolean
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
SELECT EXISTS (SELECT FROM pg_catalog.pg_depend d
                WHERE d.classid = 'pg_constraint'::regclass AND d.objid = constraint_oid AND d.refclassid = 'pg_proc'::regclass
                  AND d.refobjid IN ('pg_catalog.sealed_text_fits(pg_catalog.sealed_text, integer)'::regprocedure,
                                     'pg_catalog.sealed_int8_fits(pg_catalog.sealed_int8, integer)'::regprocedure,
                                     'pg_catalog.sealed_numeric_fits(pg_catalog.sealed_numeric, integer, integer)'::regprocedure))
$$;
REVOKE ALL ON FUNCTION _ward.limit_check(regtype, integer, name), _ward.is_limit(oid) FROM PUBLIC;
