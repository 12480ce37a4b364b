-- seal: the plan of a conversion: what hangs on the column, and what becomes of it.
-- Plans only read. The same plan serves both directions; "opening" is the way back.

CREATE FUNCTION _ward.literal_query(definition text, opening boolean) RETURNS text
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_literal_query';
CREATE FUNCTION _ward.literal_expression(relation oid, definition text, opening boolean) RETURNS text
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_literal_expression';
CREATE FUNCTION _ward.literal_condition(relation oid, definition text, opening boolean) RETURNS text
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ward_literal_condition';
CREATE FUNCTION _ward.literal_default(relation oid, definition text, sealed oid, base oid) RETURNS text
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_literal_default';
CREATE FUNCTION _ward.literal_by_tag(expression text, attnum smallint) RETURNS boolean
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_literal_by_tag';
CREATE FUNCTION _ward.literal_uses(expression text, attnum smallint) RETURNS boolean
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_literal_uses';
CREATE FUNCTION _ward.protect_rows(relation oid) RETURNS double precision
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_protect_rows';
REVOKE ALL ON FUNCTION _ward.literal_query(text, boolean), _ward.literal_expression(oid, text, boolean), _ward.literal_condition(oid, text, boolean),
	_ward.literal_default(oid, text, oid, oid), _ward.literal_by_tag(text, smallint), _ward.literal_uses(text, smallint),
	_ward.protect_rows(oid) FROM PUBLIC;

-- A column that is converted: root is the table that ALTER TABLE names, relation the
-- root itself or a partition or child of it.
CREATE TYPE _ward.protect_column AS (root oid, relation oid, attnum smallint, name name);
-- A statement that puts something back: head, then a definition with its literals
-- changed ('q' a query, 'e' an expression over relation, 't' a trigger's condition, 'd' a
-- default of base type), then tail.
CREATE TYPE _ward.protect_piece AS (head text, kind "char", definition text, relation oid, base oid, tail text);
-- Steps are undone from the highest rank down before the conversion and put back from
-- the lowest rank up.
CREATE TYPE _ward.protect_step AS (
	rank integer, object text, action text, what_to_do text, remove text[], restore _ward.protect_piece[]);

-- The type that a sealed type opens to.
CREATE FUNCTION _ward.base_type(sealed oid) RETURNS regtype
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
SELECT c.casttarget::regtype FROM pg_catalog.pg_cast c
 WHERE c.castsource = sealed AND c.casttarget <> sealed AND c.castcontext = 'i'
 ORDER BY _ward.sealed_type(c.casttarget::regtype) = sealed DESC, c.casttarget LIMIT 1
$$;
REVOKE ALL ON FUNCTION _ward.base_type(oid) FROM PUBLIC;

CREATE FUNCTION _ward.plain(head text) RETURNS _ward.protect_piece
	LANGUAGE sql IMMUTABLE
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT ROW(head, NULL, NULL, NULL, NULL, '')::_ward.protect_piece $$;
CREATE FUNCTION _ward.comment_pieces(what text, classid oid, objid oid, objsubid integer DEFAULT 0) RETURNS _ward.protect_piece[]
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
SELECT coalesce(pg_catalog.array_agg(_ward.plain(pg_catalog.format('COMMENT ON %s IS %L', what, d.description))), '{}')
  FROM pg_catalog.pg_description d
 WHERE d.classoid = classid AND d.objoid = objid AND d.objsubid = comment_pieces.objsubid
$$;
REVOKE ALL ON FUNCTION _ward.plain(text), _ward.comment_pieces(text, oid, oid, integer) FROM PUBLIC;

-- The columns that must be converted together: the column, its partitions' and
-- children's, and whatever foreign keys tie to them, on either side.
CREATE FUNCTION _ward.protect_columns(target oid, column_name name) RETURNS SETOF _ward.protect_column
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	roots oid[] := ARRAY[target];
	names name[] := ARRAY[column_name];
	here integer := 0;
	member _ward.protect_column;
	other record;
BEGIN
	WHILE here < pg_catalog.cardinality(roots) LOOP
		here := here + 1;
		FOR member IN
			WITH RECURSIVE tree AS (
				SELECT roots[here] AS oid
				UNION SELECT h.inhrelid FROM tree JOIN pg_catalog.pg_inherits h ON h.inhparent = tree.oid)
			SELECT roots[here], t.oid, a.attnum, a.attname
			  FROM tree t JOIN pg_catalog.pg_attribute a
			    ON a.attrelid = t.oid AND a.attname = names[here] AND a.attnum > 0 AND NOT a.attisdropped
			 ORDER BY t.oid <> roots[here], t.oid
		LOOP
			RETURN NEXT member;
			FOR other IN
				WITH tied AS (
					SELECT k.confrelid AS relation, k.confkey[p] AS attnum
					  FROM pg_catalog.pg_constraint k, pg_catalog.generate_subscripts(k.conkey, 1) p
					 WHERE k.contype = 'f' AND k.conrelid = member.relation AND k.conkey[p] = member.attnum
					UNION
					SELECT k.conrelid, k.conkey[p]
					  FROM pg_catalog.pg_constraint k, pg_catalog.generate_subscripts(k.conkey, 1) p
					 WHERE k.contype = 'f' AND k.confrelid = member.relation AND k.confkey[p] = member.attnum)
				SELECT (WITH RECURSIVE up AS (
				            SELECT t.relation AS oid, 0 AS height
				            UNION ALL SELECT h.inhparent, up.height + 1
				              FROM up JOIN pg_catalog.pg_inherits h ON h.inhrelid = up.oid)
				        SELECT up.oid FROM up ORDER BY up.height DESC, up.oid LIMIT 1) AS root, a.attname
				  FROM tied t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.relation AND a.attnum = t.attnum
				 ORDER BY 1, 2
			LOOP
				IF NOT EXISTS (SELECT FROM ROWS FROM (pg_catalog.unnest(roots), pg_catalog.unnest(names)) s(r, n)
				                WHERE s.r = other.root AND s.n = other.attname) THEN
					roots := roots || other.root;
					names := names || other.attname;
				END IF;
			END LOOP;
		END LOOP;
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION _ward.protect_columns(oid, name) FROM PUBLIC;

-- A key's search mode must be the one asked for. The one place that knows the modes.
CREATE FUNCTION _ward.check_search(key text, search text) RETURNS void
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	key_search text;
BEGIN
	SELECT k.search INTO key_search FROM _ward.key k WHERE k.name = key;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'key "%" does not exist', key
			USING ERRCODE = 'WD201', HINT = 'Create it with ward.create_key; the view ward.keys lists them.';
	END IF;
	IF key_search <> search THEN
		RAISE EXCEPTION 'key "%" was created for search ''%''', key, key_search
			USING ERRCODE = 'WD230',
			      HINT = 'Name that search mode, or create another key.';
	END IF;
END
$$;
REVOKE ALL ON FUNCTION _ward.check_search(text, text) FROM PUBLIC;

-- Refuses what is no column that could be converted, whatever hangs on it.
CREATE FUNCTION _ward.check_column(target regclass, column_name name, opening boolean) RETURNS void
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	rel pg_catalog.pg_class;
	att pg_catalog.pg_attribute;
	verb text := CASE WHEN opening THEN 'unprotected' ELSE 'protected' END;
	why text;
BEGIN
	SELECT * INTO rel FROM pg_catalog.pg_class c WHERE c.oid = target;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'relation with oid % does not exist', target::oid USING ERRCODE = 'undefined_table';
	END IF;
	why := CASE
		WHEN rel.relkind NOT IN ('r', 'p') OR rel.relispartition
		     OR EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = target)
			THEN 'Only plain and partitioned tables can be, and partitions and children through their parent.'
		WHEN rel.relnamespace IN (SELECT n.oid FROM pg_catalog.pg_namespace n
		                           WHERE n.nspname IN ('pg_catalog', 'information_schema', 'ward', '_ward', 'pg_toast'))
			THEN 'It belongs to the system.'
		WHEN EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass
		                AND d.objid = target AND d.deptype = 'e')
			THEN 'It belongs to an extension.'
		WHEN rel.reloftype <> 0 THEN 'Its columns are those of a composite type.'
		WHEN rel.relpersistence = 't' AND rel.relnamespace <> pg_catalog.pg_my_temp_schema()
			THEN 'It is a temporary table of another session.'
		END;
	IF why IS NOT NULL THEN
		RAISE EXCEPTION '% can not be %', target, verb USING ERRCODE = 'WD230', DETAIL = why;
	END IF;
	SELECT * INTO att FROM pg_catalog.pg_attribute a
	 WHERE a.attrelid = target AND a.attname = column_name AND a.attnum > 0 AND NOT a.attisdropped;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'column "%" of % does not exist', column_name, target USING ERRCODE = 'undefined_column';
	END IF;
	IF opening AND NOT _ward.is_sealed(att.atttypid) THEN
		RAISE EXCEPTION 'column "%" of % is not sealed', column_name, target
			USING ERRCODE = 'WD230', HINT = 'The view ward.sealed_columns lists the sealed columns.';
	END IF;
	IF NOT opening AND _ward.is_sealed(att.atttypid) THEN
		RAISE EXCEPTION 'column "%" of % is sealed already', column_name, target
			USING ERRCODE = 'WD230',
			      DETAIL = pg_catalog.format('Its type is %s.', pg_catalog.format_type(att.atttypid, att.atttypmod));
	END IF;
	IF NOT opening AND _ward.sealed_type(att.atttypid::regtype) IS NULL THEN
		RAISE EXCEPTION 'column "%" of % can not be protected', column_name, target
			USING ERRCODE = 'WD230',
			      DETAIL = pg_catalog.format('It is of type %s, which has no sealed type.',
			                                 pg_catalog.format_type(att.atttypid, att.atttypmod)),
			      HINT = 'Change the column''s type first, if the application allows it; docs/protecting.md lists what can be sealed.';
	END IF;
	IF att.attgenerated <> '' THEN
		RAISE EXCEPTION 'column "%" of % can not be %', column_name, target, verb
			USING ERRCODE = 'WD230', DETAIL = 'It is a generated column.',
			      HINT = 'Drop it, or make it an ordinary column first.';
	END IF;
	IF att.attidentity <> '' THEN
		RAISE EXCEPTION 'column "%" of % can not be %', column_name, target, verb
			USING ERRCODE = 'WD230', DETAIL = 'It is an identity column.',
			      HINT = 'Run ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY first, and let a default take its place.';
	END IF;
END
$$;
REVOKE ALL ON FUNCTION _ward.check_column(regclass, name, boolean) FROM PUBLIC;

-- The columns themselves, and their tables.
CREATE FUNCTION _ward.protect_column_steps(columns _ward.protect_column[], key text, opening boolean) RETURNS SETOF _ward.protect_step
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	col record;
	step _ward.protect_step;
	why text;
BEGIN
	FOR col IN
		SELECT c.root, c.relation, c.attnum, c.name, r.relkind, r.reloftype, r.relpersistence, r.reltype, r.relnamespace,
		       a.atttypid, a.atttypmod, a.attgenerated, a.attidentity, a.attinhcount, k.id AS key_id,
		       o.collisdeterministic, s.base_type, s.base_typmod,
		       (SELECT pg_catalog.sum(_ward.protect_rows(m.relation)) FROM pg_catalog.unnest(columns) m
		         WHERE m.root = c.root AND m.name = c.name) AS estimated
		  FROM pg_catalog.unnest(columns) WITH ORDINALITY c
		  JOIN pg_catalog.pg_class r ON r.oid = c.relation
		  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.relation AND a.attnum = c.attnum
		  LEFT JOIN pg_catalog.pg_collation o ON o.oid = a.attcollation
		  LEFT JOIN _ward.key k ON k.name = key
		  LEFT JOIN _ward.sealed_column s ON s.relation = c.root AND s.column_name = c.name
		 ORDER BY c.ordinality
	LOOP
		why := CASE
			WHEN col.relkind NOT IN ('r', 'p')
				THEN 'it is a foreign table: detach it, or convert it where it is stored'
			WHEN col.reloftype <> 0 THEN 'its columns are those of a composite type: run ALTER TABLE ... NOT OF first'
			WHEN col.relpersistence = 't' AND col.relnamespace <> pg_catalog.pg_my_temp_schema()
				THEN 'it is a temporary table of another session'
			WHEN NOT opening AND _ward.is_sealed(col.atttypid) AND col.atttypmod IS DISTINCT FROM col.key_id
				THEN 'it is sealed under another key: protect both columns under one key'
			WHEN NOT opening AND NOT _ward.is_sealed(col.atttypid) AND _ward.sealed_type(col.atttypid::regtype) IS NULL
				THEN pg_catalog.format('it is of type %s, which has no sealed type: drop the foreign key, or change the type',
				                       pg_catalog.format_type(col.atttypid, col.atttypmod))
			WHEN col.attgenerated <> '' THEN 'it is a generated column: drop it, or make it an ordinary column'
			WHEN col.attidentity <> '' THEN 'it is an identity column: drop the identity first'
			WHEN NOT col.collisdeterministic
				THEN 'its collation is nondeterministic, and tags know exact text alone: change the collation first'
			WHEN col.attinhcount > (SELECT pg_catalog.count(*) FROM pg_catalog.pg_inherits h
			                         JOIN pg_catalog.unnest(columns) m ON m.relation = h.inhparent AND m.name = col.name
			                        WHERE h.inhrelid = col.relation)
				THEN 'it inherits the column from a further parent: run ALTER TABLE ... NO INHERIT first'
			WHEN EXISTS (SELECT FROM pg_catalog.pg_partitioned_table p WHERE p.partrelid = col.relation
			                AND (col.attnum = ANY (p.partattrs::int2[]) OR _ward.literal_uses(p.partexprs::text, col.attnum)))
				THEN 'a table can not be partitioned by a sealed column: build one that is partitioned by another column, and move the rows'
			WHEN EXISTS (SELECT FROM pg_catalog.pg_depend d
			              WHERE d.refclassid = 'pg_type'::regclass AND d.refobjid = col.reltype
			                AND d.classid = 'pg_class'::regclass AND d.objsubid > 0)
				THEN 'another table has a column of this table''s row type: drop that column first'
			END;
		step := NULL;
		step.rank := 0;
		step.object := pg_catalog.format('column %I of table %s', col.name, col.relation::regclass);
		step.remove := '{}';
		step.restore := '{}';
		IF why IS NOT NULL THEN
			step.action := 'refuse';
			step.what_to_do := why;
			RETURN NEXT step;
		ELSIF col.relation = col.root AND _ward.is_sealed(col.atttypid) = opening THEN
			step.action := 'rebuild';
			step.what_to_do := pg_catalog.format('becomes %s; the table is written anew, about %s rows, and is locked meanwhile',
				CASE WHEN opening
				     THEN pg_catalog.format_type(coalesce(col.base_type, _ward.base_type(col.atttypid)), coalesce(col.base_typmod, -1))
				     ELSE pg_catalog.format('%s(%L)', _ward.sealed_type(col.atttypid::regtype), key) END, col.estimated);
			RETURN NEXT step;
			IF NOT opening AND _ward.limit_check(col.atttypid, col.atttypmod, col.name) IS NOT NULL THEN
				step.rank := 10;
				step.object := pg_catalog.format('%s of column %I of table %s', CASE WHEN col.atttypid = 'varchar'::regtype THEN 'length' ELSE 'range' END,
				                                 col.name, col.relation::regclass);
				step.action := 'carry';
				step.what_to_do := CASE WHEN col.atttypid = 'varchar'::regtype
					THEN pg_catalog.format('becomes a check that it has at most %s characters', col.atttypmod - 4)
					WHEN col.atttypid = 'numeric'::regtype
					THEN pg_catalog.format('becomes a check that it fits %s; what has more decimals is refused and no longer rounded',
					                       pg_catalog.format_type(col.atttypid, col.atttypmod))
					ELSE pg_catalog.format('becomes a check that it fits %s', pg_catalog.format_type(col.atttypid, col.atttypmod)) END;
				RETURN NEXT step;
			END IF;
		END IF;
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION _ward.protect_column_steps(_ward.protect_column[], text, boolean) FROM PUBLIC;

CREATE FUNCTION _ward.protect_index_steps(columns _ward.protect_column[], search text, opening boolean) RETURNS SETOF _ward.protect_step
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	i record;
	step _ward.protect_step;
	why text;
	definition text;
	predicate text;
BEGIN
	FOR i IN
		SELECT x.indexrelid, x.indrelid, x.indisunique, x.indpred, x.indkey, x.indclass, x.indnatts, c.attnum, r.relkind, am.amname,
		       EXISTS (SELECT FROM pg_catalog.pg_opclass o WHERE o.oid = ANY (x.indclass::oid[]) AND o.opcname = 'sealed_text_trgm_ops'
		                  AND o.opcnamespace = 'pg_catalog'::regnamespace) AS trigrams,
		       r.reltablespace, k.oid AS constraint_oid,
		       pg_catalog.array_position((x.indkey::int2[])[0:x.indnkeyatts - 1], c.attnum) AS place,
		       coalesce(_ward.literal_uses(x.indexprs::text, c.attnum), false) AS in_expression,
		       coalesce(_ward.literal_uses(x.indpred::text, c.attnum), false) AS in_predicate,
		       coalesce(_ward.literal_by_tag(x.indpred::text, c.attnum), true) AS by_tag
		  FROM pg_catalog.unnest(columns) c
		  JOIN pg_catalog.pg_index x ON x.indrelid = c.relation
		  JOIN pg_catalog.pg_class r ON r.oid = x.indexrelid
		  JOIN pg_catalog.pg_am am ON am.oid = r.relam
		  LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = x.indexrelid AND k.contype IN ('p', 'u', 'x')
		 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = x.indexrelid)
		   AND k.contype IS DISTINCT FROM 'x'
		 ORDER BY x.indexrelid
	LOOP
		CONTINUE WHEN NOT (i.attnum = ANY (i.indkey::int2[]) OR i.in_expression OR i.in_predicate);
		step := NULL;
		step.rank := 110;
		step.object := CASE WHEN i.constraint_oid IS NULL
			THEN pg_catalog.pg_describe_object('pg_class'::regclass, i.indexrelid, 0)
			ELSE pg_catalog.pg_describe_object('pg_constraint'::regclass, i.constraint_oid, 0) END;
		step.remove := '{}';
		step.restore := '{}';
		why := CASE
			WHEN i.in_expression THEN
				CASE WHEN opening THEN 'drop this index, and create it again afterwards'
				     ELSE 'drop this index; what it computes from the column would lie in it in clear' END
			WHEN i.trigrams THEN
				CASE WHEN opening AND (i.indnatts > 1 OR i.indpred IS NOT NULL)
				     THEN 'drop this index; it serves sealed values alone' END
			WHEN i.place IS NOT NULL AND i.amname NOT IN ('btree', 'hash') THEN
				pg_catalog.format('drop this index; access method %s does not fit', i.amname)
			WHEN i.place IS NOT NULL AND NOT opening AND search = 'none' THEN
				'drop this index, or choose a key with search ''equality'': without tags nothing can be indexed'
			WHEN i.place IS NOT NULL AND NOT (SELECT o.opcdefault FROM pg_catalog.pg_opclass o
			                                   WHERE o.oid = (i.indclass::oid[])[i.place - 1]) THEN
				'drop this index; its operator class does not fit'
			WHEN i.in_predicate AND NOT opening AND (NOT i.by_tag OR search = 'none') THEN
				'drop this index; its condition needs opened values'
			WHEN i.in_predicate AND i.relkind = 'I' THEN
				'drop this index, and create it again afterwards; its condition reads the column'
			END;
		step.action := CASE WHEN why IS NOT NULL THEN 'refuse' WHEN i.trigrams AND opening THEN 'drop' WHEN i.in_predicate THEN 'carry' ELSE 'rebuild' END;
		step.what_to_do := coalesce(why, CASE
			WHEN step.action = 'drop' THEN 'dropped: it serves sealed values alone'
			WHEN opening OR i.trigrams THEN 'built anew'
			WHEN i.place IS NULL AND NOT i.in_predicate THEN 'built anew'
			WHEN i.indisunique THEN 'built anew over tags; values stay unique'
			ELSE 'built anew over tags; serves look-ups of a value, no ranges, prefixes or orderings' END);
		IF step.action = 'drop' THEN
			step.remove := ARRAY[pg_catalog.format('DROP INDEX %s', i.indexrelid::regclass)];
		ELSIF step.action = 'carry' THEN
			definition := pg_catalog.pg_get_indexdef(i.indexrelid);
			predicate := pg_catalog.pg_get_expr(i.indpred, i.indrelid);
			IF pg_catalog.right(definition, pg_catalog.length(predicate)) <> predicate THEN
				step.action := 'refuse';
				step.what_to_do := 'drop this index, and create it again afterwards; its condition reads the column';
			ELSE
				step.remove := ARRAY[pg_catalog.format('DROP INDEX %s', i.indexrelid::regclass)];
				step.restore := ARRAY[ROW(pg_catalog.left(definition, -pg_catalog.length(predicate)), 'e', predicate, i.indrelid, NULL, '')::_ward.protect_piece]
					|| (SELECT pg_catalog.array_agg(_ward.plain(pg_catalog.format('ALTER INDEX %s SET TABLESPACE %I', i.indexrelid::regclass, t.spcname)))
					      FROM pg_catalog.pg_tablespace t WHERE t.oid = i.reltablespace)
					|| _ward.comment_pieces('INDEX ' || i.indexrelid::regclass, 'pg_class'::regclass, i.indexrelid);
			END IF;
		END IF;
		RETURN NEXT step;
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION _ward.protect_index_steps(_ward.protect_column[], text, boolean) FROM PUBLIC;

-- The index that search 'substring' brings: of the column asked for, in each table that
-- is not a partition; not of the columns that foreign keys tie to it.
CREATE FUNCTION _ward.protect_trigram_steps(columns _ward.protect_column[], search text, opening boolean) RETURNS SETOF _ward.protect_step
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	col record;
	step _ward.protect_step;
BEGIN
	IF opening OR search IS DISTINCT FROM 'substring' THEN
		RETURN;
	END IF;
	FOR col IN
		SELECT c.name, c.relation::regclass AS relation, _ward.sealed_type(a.atttypid::regtype) AS sealed
		  FROM pg_catalog.unnest(columns) c
		  JOIN pg_catalog.pg_class r ON r.oid = c.relation
		  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.relation AND a.attnum = c.attnum
		 WHERE c.root = columns[1].root AND c.name = columns[1].name AND NOT r.relispartition
		   AND NOT _ward.is_sealed(a.atttypid)
	LOOP
		step := NULL;
		step.rank := 130;
		step.object := pg_catalog.format('trigrams of column %I of table %s', col.name, col.relation);
		step.remove := '{}';
		step.restore := '{}';
		IF col.sealed IS DISTINCT FROM 'pg_catalog.sealed_text'::regtype THEN
			step.action := 'refuse';
			step.what_to_do := 'only text has substrings: choose a key with search ''equality'' or ''none''';
		ELSE
			step.action := 'create';
			step.what_to_do := 'a GIN index is built over keyed trigrams; it serves LIKE and ILIKE, and tells how often each trigram occurs';
			step.restore := ARRAY[_ward.plain(pg_catalog.format('CREATE INDEX ON %s USING gin (%I pg_catalog.sealed_text_trgm_ops)', col.relation, col.name))];
		END IF;
		RETURN NEXT step;
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION _ward.protect_trigram_steps(_ward.protect_column[], text, boolean) FROM PUBLIC;

-- Checks and foreign keys; unique constraints go with their indexes.
CREATE FUNCTION _ward.protect_constraint_steps(columns _ward.protect_column[], search text, opening boolean) RETURNS SETOF _ward.protect_step
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	k record;
	step _ward.protect_step;
	tagged boolean;
BEGIN
	FOR k IN
		SELECT DISTINCT n.oid, n.conname, n.contype, n.conrelid, n.confrelid, n.convalidated, n.conislocal, n.coninhcount,
		       n.connoinherit, n.conbin::text AS bin,
		       EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgconstraint = n.oid AND t.tgisinternal AND t.tgenabled <> 'O') AS disabled,
		       _ward.is_limit(n.oid) AS a_limit,
		       EXISTS (SELECT FROM pg_catalog.unnest(columns) m
		                 JOIN _ward.sealed_column s ON s.relation = m.root AND s.column_name = m.name
		                WHERE m.relation = n.conrelid AND n.conkey = ARRAY[m.attnum]
		                  AND _ward.limit_check(s.base_type, s.base_typmod, m.name) IS NOT NULL) AS limited
		  FROM pg_catalog.unnest(columns) c
		  JOIN pg_catalog.pg_constraint n
		    ON (n.conrelid = c.relation AND c.attnum = ANY (n.conkey)) OR (n.confrelid = c.relation AND c.attnum = ANY (n.confkey))
		 WHERE n.contype IN ('c', 'f', 'x') AND n.conparentid = 0
		 ORDER BY n.oid
	LOOP
		step := NULL;
		step.rank := 100;
		step.object := pg_catalog.pg_describe_object('pg_constraint'::regclass, k.oid, 0);
		step.action := 'carry';
		step.remove := ARRAY[pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', k.conrelid::regclass, k.conname)];
		step.restore := '{}';
		IF k.contype = 'x' THEN
			step.action := 'refuse';
			step.what_to_do := 'drop this constraint; tags know only whether values are equal';
		ELSIF k.contype = 'f' AND NOT opening AND search = 'none' THEN
			step.action := 'refuse';
			step.what_to_do := 'drop this foreign key, or choose a key with search ''equality'': without tags nothing can be compared';
		ELSIF k.contype = 'f' AND k.disabled THEN
			step.action := 'refuse';
			step.what_to_do := 'its triggers are not enabled as usual: enable them, or drop the foreign key';
		ELSIF k.contype = 'f' THEN
			step.rank := 120;
			step.what_to_do := 'added again as it was; both sides are converted together';
			step.restore := ARRAY[_ward.plain(pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I %s', k.conrelid::regclass, k.conname,
			                                                    pg_catalog.pg_get_constraintdef(k.oid)))]
				|| _ward.comment_pieces(pg_catalog.format('CONSTRAINT %I ON %s', k.conname, k.conrelid::regclass), 'pg_constraint'::regclass, k.oid);
		ELSIF k.a_limit AND k.limited AND opening THEN
			step.rank := CASE WHEN k.coninhcount = 0 THEN 100 ELSE 99 END;
			step.what_to_do := CASE WHEN k.coninhcount = 0 THEN 'becomes the limit of the type again' END;
		ELSIF k.a_limit AND opening THEN
			step.action := 'refuse';
			step.what_to_do := 'drop this constraint, and add one over the plain value afterwards';
		ELSIF k.coninhcount > 0 THEN
			-- Goes and comes with the parent's; where it is the child's own too, it has to be dropped after it.
			step.rank := 99;
			step.what_to_do := NULL;
		ELSE
			SELECT pg_catalog.bool_and(_ward.literal_by_tag(k.bin, c.attnum)) INTO tagged
			  FROM pg_catalog.unnest(columns) c WHERE c.relation = k.conrelid;
			step.what_to_do := CASE WHEN opening THEN 'added again'
				WHEN tagged AND search <> 'none' THEN 'added again, its literals sealed'
				ELSE 'added again over opened values: who writes rows must be able to open the key' END;
			step.restore := ARRAY[ROW(pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I CHECK (', k.conrelid::regclass, k.conname),
			                          'e', (SELECT pg_catalog.pg_get_expr(n.conbin, n.conrelid) FROM pg_catalog.pg_constraint n WHERE n.oid = k.oid),
			                          k.conrelid, NULL, CASE WHEN k.connoinherit THEN ') NO INHERIT NOT VALID' ELSE ') NOT VALID' END)::_ward.protect_piece]
				|| CASE WHEN k.convalidated
				        THEN _ward.plain(pg_catalog.format('SELECT _ward.mark_valid(%L, %L)', k.conrelid, k.conname)) END
				|| _ward.comment_pieces(pg_catalog.format('CONSTRAINT %I ON %s', k.conname, k.conrelid::regclass), 'pg_constraint'::regclass, k.oid);
		END IF;
		RETURN NEXT step;
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION _ward.protect_constraint_steps(_ward.protect_column[], text, boolean) FROM PUBLIC;
