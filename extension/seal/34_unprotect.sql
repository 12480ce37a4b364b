-- seal: the way back. It writes plaintext, so besides the officer's role it needs the
-- right to open the key.

CREATE FUNCTION ward.unprotect(target regclass, column_name name, reason text, dry_run boolean DEFAULT false) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	key_id integer;
	key_name text;
BEGIN
	IF target IS NULL OR column_name IS NULL OR coalesce(reason, '') = '' OR dry_run IS NULL THEN
		RAISE EXCEPTION 'name the table and the column, and give a reason'
			USING ERRCODE = 'null_value_not_allowed',
			      HINT = 'Say, ward.unprotect(''person'', ''full_name'', ''moves to another system'').';
	END IF;
	PERFORM _ward.check_column(target, column_name, true);
	SELECT a.atttypmod, k.name INTO key_id, key_name
	  FROM pg_catalog.pg_attribute a LEFT JOIN _ward.key k ON k.id = a.atttypmod
	 WHERE a.attrelid = target AND a.attname = column_name AND NOT a.attisdropped;
	IF key_name IS NULL THEN
		RAISE EXCEPTION 'the key of column "%" of % does not exist', column_name, target
			USING ERRCODE = 'WD201', HINT = 'It comes back by restoring the tables of schema _ward.';
	END IF;
	IF NOT _ward.may_open(key_id) THEN
		RAISE EXCEPTION 'permission denied to open values sealed under key "%"', key_name
			USING ERRCODE = 'insufficient_privilege',
			      DETAIL = 'Unprotecting writes what the column holds in clear, so the role of the session needs the right to open it.',
			      HINT = 'An officer grants it with ward.grant_unseal().';
	END IF;
	IF dry_run THEN
		PERFORM _ward.print_plan(target, column_name, key_name, true);
		RETURN;
	END IF;
	-- Before the values are written: evidence first.
	PERFORM _ward.record_event('column.unprotected', ARRAY['relation', 'column', 'key', 'reason'],
	                           ARRAY[c.root::regclass::text, c.name::text, key_name, reason])
	   FROM _ward.protect_columns(target, column_name) c WHERE c.relation = c.root;
	PERFORM _ward.convert(target, column_name, key_name, true);
	RAISE NOTICE 'column "%" of % is in clear', column_name, target
		USING DETAIL = 'From here on its values are written to the table, its indexes, WAL and backups as they are.';
END
$$;
REVOKE ALL ON FUNCTION ward.unprotect(regclass, name, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.unprotect(regclass, name, text, boolean) TO ward_officer;
COMMENT ON FUNCTION ward.unprotect(regclass, name, text, boolean) IS
	'turns a sealed column back to the type it had, in clear; needs the right to open its key; dry_run prints the plan';
