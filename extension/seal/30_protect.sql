-- seal: protecting a column of a live table.

-- What of the schema a conversion can't carry, each with what to do.
CREATE FUNCTION _ward.protect_obstacles(target regclass, column_number smallint) RETURNS SETOF text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
SELECT DISTINCT pg_catalog.format('%s: %s', pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid), todo.hint)
  FROM pg_catalog.pg_depend d
  LEFT JOIN pg_catalog.pg_index i ON d.classid = 'pg_class'::regclass AND i.indexrelid = d.objid
  LEFT JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
  LEFT JOIN pg_catalog.pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
  LEFT JOIN pg_catalog.pg_attrdef def ON d.classid = 'pg_attrdef'::regclass AND def.oid = d.objid
 CROSS JOIN LATERAL (SELECT CASE
		WHEN i.indexrelid IS NOT NULL THEN CASE
			WHEN NOT $2 = ANY (i.indkey::int2[]) OR i.indpred IS NOT NULL OR i.indexprs IS NOT NULL
				THEN 'drop this index; it uses an expression or a condition on the column'
			WHEN am.amname NOT IN ('btree', 'hash')
				THEN 'drop this index; its access method can not index sealed values'
			WHEN EXISTS (SELECT FROM pg_catalog.unnest(i.indclass::oid[]) o JOIN pg_catalog.pg_opclass oc ON oc.oid = o WHERE NOT oc.opcdefault)
				THEN 'drop this index; its operator class does not fit sealed values'
			END
		WHEN k.oid IS NOT NULL AND k.contype IN ('p', 'u') THEN NULL
		WHEN k.oid IS NOT NULL AND k.contype = 'f'
			THEN 'drop this foreign key, protect both columns under one key, and add it again'
		WHEN k.oid IS NOT NULL THEN 'drop this constraint; add it again over the column''s text if it is needed'
		WHEN def.oid IS NOT NULL AND def.adnum = $2
			THEN 'drop the default, and set it again once the column is sealed'
		WHEN def.oid IS NOT NULL THEN 'drop the generated column or default that reads it'
		WHEN d.classid = 'pg_rewrite'::regclass THEN 'drop the view or rule, and create it again afterwards'
		WHEN d.classid = 'pg_policy'::regclass THEN 'drop the policy, and create it again afterwards'
		WHEN d.classid = 'pg_trigger'::regclass THEN 'drop the trigger, and create it again afterwards'
		WHEN d.classid = 'pg_statistic_ext'::regclass THEN 'drop the statistics object; its values would be plaintext'
		WHEN d.classid = 'pg_class'::regclass THEN 'it depends on the column; drop it first'
		ELSE 'it depends on the column; drop it first' END AS hint) todo
 WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = target AND d.refobjsubid = $2
   AND todo.hint IS NOT NULL
$$;
REVOKE ALL ON FUNCTION _ward.protect_obstacles(regclass, smallint) FROM PUBLIC;

CREATE FUNCTION ward.protect(target regclass, column_name name, key text, search text DEFAULT 'equality') RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	rel pg_catalog.pg_class;
	att pg_catalog.pg_attribute;
	key_search text;
	obstacles text;
BEGIN
	IF target IS NULL OR column_name IS NULL OR key IS NULL OR search IS NULL THEN
		RAISE EXCEPTION 'protecting needs a table, a column, a key and a search mode'
			USING ERRCODE = 'null_value_not_allowed',
			      HINT = 'Say, ward.protect(''person'', ''full_name'', ''people.identity'').';
	END IF;
	IF search = 'substring' THEN
		RAISE EXCEPTION 'search ''substring'' is not available in this version'
			USING ERRCODE = 'feature_not_supported', HINT = 'Use ''equality'' or ''none''.';
	END IF;
	SELECT * INTO rel FROM pg_catalog.pg_class c WHERE c.oid = target;
	IF NOT FOUND OR rel.relkind NOT IN ('r', 'p') OR rel.relispartition
	   OR EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = target) THEN
		RAISE EXCEPTION '% can not be protected', target
			USING ERRCODE = 'WD230',
			      DETAIL = 'Only plain and partitioned tables can be, and partitions through their parent.';
	END IF;
	IF rel.relnamespace IN (SELECT n.oid FROM pg_catalog.pg_namespace n
	                         WHERE n.nspname IN ('pg_catalog', 'information_schema', 'ward', '_ward', 'pg_toast')) THEN
		RAISE EXCEPTION '% can not be protected', target
			USING ERRCODE = 'WD230', DETAIL = 'It belongs to the system.';
	END IF;
	SELECT * INTO att FROM pg_catalog.pg_attribute a
	 WHERE a.attrelid = target AND a.attname = column_name AND a.attnum > 0 AND NOT a.attisdropped;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'column "%" of % does not exist', column_name, target USING ERRCODE = 'undefined_column';
	END IF;
	IF att.atttypid = 'pg_catalog.sealed_text'::regtype THEN
		RAISE EXCEPTION 'column "%" of % is sealed already', column_name, target
			USING ERRCODE = 'WD230',
			      DETAIL = pg_catalog.format('Its type is %s.', pg_catalog.format_type(att.atttypid, att.atttypmod));
	END IF;
	IF att.atttypid NOT IN ('text'::regtype, 'varchar'::regtype) OR att.attgenerated <> '' THEN
		RAISE EXCEPTION 'column "%" of % can not be protected', column_name, target
			USING ERRCODE = 'WD230',
			      DETAIL = CASE WHEN att.attgenerated <> '' THEN 'It is a generated column.'
			                    ELSE pg_catalog.format('It is of type %s; this version seals text and varchar.',
			                                           pg_catalog.format_type(att.atttypid, att.atttypmod)) END,
			      HINT = CASE WHEN att.attgenerated <> '' THEN 'Drop it, or make it an ordinary column first.'
			                  ELSE 'Change the column to text first, if the application allows it.' END;
	END IF;
	SELECT k.search INTO key_search FROM _ward.key k WHERE k.name = protect.key;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'key "%" does not exist', key
			USING ERRCODE = 'WD201', HINT = 'Create it with ward.create_key; the view ward.keys lists them.';
	END IF;
	IF key_search <> search THEN
		RAISE EXCEPTION 'key "%" was created for search ''%''', key, key_search
			USING ERRCODE = 'WD230',
			      HINT = 'Name that search mode, or create another key.';
	END IF;
	-- Nobody may change what we are about to look at.
	EXECUTE pg_catalog.format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', target);
	SELECT pg_catalog.string_agg(o, E'\n' ORDER BY o) INTO obstacles
	  FROM _ward.protect_obstacles(target, att.attnum) o;
	IF (rel.relkind = 'p' AND EXISTS (SELECT FROM pg_catalog.pg_partitioned_table p
	                                   WHERE p.partrelid = target AND att.attnum = ANY (p.partattrs::int2[]))) THEN
		obstacles := pg_catalog.concat_ws(E'\n', obstacles, 'partition key: a table can not be partitioned by a sealed column');
	END IF;
	IF obstacles IS NOT NULL THEN
		RAISE EXCEPTION 'column "%" of % can not be protected as it is used now', column_name, target
			USING ERRCODE = 'WD230', DETAIL = obstacles,
			      HINT = 'Nothing was changed. Remove what is listed, protect the column, and put back what still fits.';
	END IF;
	EXECUTE pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I TYPE pg_catalog.sealed_text(%L) USING %I::text::pg_catalog.sealed_text(%L)',
	                          target, column_name, key, column_name, key);
	PERFORM _ward.record_event('column.protected', ARRAY['relation', 'column', 'key', 'search'],
	                           ARRAY[target::text, column_name::text, key, search]);
	RAISE NOTICE 'column "%" of % is sealed', column_name, target
		USING DETAIL = 'What was written before stays in WAL, archives, backups and old statistics until it is overwritten or removed.',
		      HINT = 'Run VACUUM FULL pg_catalog.pg_statistic, CHECKPOINT and ANALYZE; renew backups and WAL archives.';
END
$$;
REVOKE ALL ON FUNCTION ward.protect(regclass, name, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.protect(regclass, name, text, text) TO ward_officer;
COMMENT ON FUNCTION ward.protect(regclass, name, text, text) IS
	'seals a column of a live table in place, with its indexes and unique constraints; refuses, and says why, where something can not be carried';

CREATE VIEW ward.sealed_columns AS
SELECT a.attrelid::regclass AS relation, a.attname AS column_name, k.name AS key, k.search,
       pg_catalog.format_type(a.atttypid, a.atttypmod) AS type
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'm')
  LEFT JOIN _ward.key k ON k.id = a.atttypmod
 WHERE a.atttypid IN ('pg_catalog.sealed_text'::regtype, 'pg_catalog.sealed_text[]'::regtype)
   AND NOT a.attisdropped;
REVOKE ALL ON ward.sealed_columns FROM PUBLIC;
GRANT SELECT ON ward.sealed_columns TO ward_officer, ward_auditor, ward_analyst;
COMMENT ON VIEW ward.sealed_columns IS 'columns that are sealed, and the key of each';
