-- Watches each table as it is made, by its first integer column.
CREATE EXTENSION pg_ward;

CREATE FUNCTION _ward.test_watch() RETURNS event_trigger
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET client_min_messages = error
	AS $$
DECLARE
	made record;
BEGIN
	FOR made IN
		SELECT DISTINCT ON (d.objid) d.objid::regclass AS relation, a.attname
		  FROM pg_event_trigger_ddl_commands() d
		  JOIN pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
		  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		   AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
		 WHERE d.classid = 'pg_class'::regclass
		 ORDER BY d.objid, a.attnum
	LOOP
		-- A class of its own: the tests change what type a column is.
		PERFORM ward.watch(made.relation, made.attname, 'class ' || made.relation::oid);
	END LOOP;
END
$$;
CREATE EVENT TRIGGER test_watch ON ddl_command_end
	WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO')
	EXECUTE FUNCTION _ward.test_watch();
