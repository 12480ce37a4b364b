-- witness: which tables are watched.

-- watch.c reads the columns by number: add at the end only.
CREATE TABLE _ward.watch (
	target regclass NOT NULL,
	subject name NOT NULL,
	class text NOT NULL,
	-- Follows a rename of the column; set by name where a restore brings the row.
	attnum smallint,
	added_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	added_by name NOT NULL DEFAULT session_user,
	-- What text subjects are sealed under before they reach the trail.
	key text,
	-- The column refers to that one of another watched table, whose people are meant.
	follows regclass,
	follows_column name,
	follows_attnum smallint,
	PRIMARY KEY (target, subject),
	CHECK ((follows IS NULL) = (follows_column IS NULL))
);
REVOKE ALL ON _ward.watch FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('_ward.watch', '');
COMMENT ON TABLE _ward.watch IS 'watched tables, their subject columns and classes';

-- Every session must plan and capture anew: descendants too, whose cached plans
-- do not depend on the parent alone.
CREATE FUNCTION _ward.invalidate(target oid) RETURNS void
	LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'ward_invalidate';
REVOKE ALL ON FUNCTION _ward.invalidate(oid) FROM PUBLIC;

CREATE FUNCTION _ward.watch_numbered() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	SELECT a.attnum INTO NEW.attnum FROM pg_catalog.pg_attribute a
	 WHERE a.attrelid = NEW.target AND a.attname = NEW.subject AND NOT a.attisdropped;
	SELECT a.attnum INTO NEW.follows_attnum FROM pg_catalog.pg_attribute a
	 WHERE a.attrelid = NEW.follows AND a.attname = NEW.follows_column AND NOT a.attisdropped;
	RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION _ward.watch_numbered() FROM PUBLIC;
CREATE TRIGGER watch_numbered BEFORE INSERT OR UPDATE ON _ward.watch
	FOR EACH ROW EXECUTE FUNCTION _ward.watch_numbered();

-- After the row stands: what a session reads again before that would be the old state.
CREATE FUNCTION _ward.watch_changed() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	PERFORM _ward.invalidate('_ward.watch'::regclass);
	IF TG_OP <> 'INSERT' THEN
		PERFORM _ward.invalidate(OLD.target);
	END IF;
	IF TG_OP <> 'DELETE' THEN
		PERFORM _ward.invalidate(NEW.target);
	END IF;
	RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION _ward.watch_changed() FROM PUBLIC;
CREATE TRIGGER watch_changed AFTER INSERT OR UPDATE OR DELETE ON _ward.watch
	FOR EACH ROW EXECUTE FUNCTION _ward.watch_changed();

-- How the values of a column of this type name people; NULL where they can't.
CREATE FUNCTION _ward.subject_kind(type oid) RETURNS text
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	RETURN CASE
		WHEN type IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN 'integer'
		WHEN type = 'uuid'::regtype THEN 'uuid'
		WHEN type IN ('text'::regtype, 'varchar'::regtype, 'sealed_text'::regtype) THEN 'text' END;
REVOKE ALL ON FUNCTION _ward.subject_kind(oid) FROM PUBLIC;

-- Numbers that stand for keys in subject sets. That of a text is a keyed hash.
CREATE FUNCTION _ward.subject_number(subject uuid) RETURNS bigint
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_number_uuid';
CREATE FUNCTION _ward.subject_number(key integer, subject text) RETURNS bigint
	LANGUAGE c STRICT STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_number_text';
CREATE FUNCTION _ward.subject_number(subject sealed_text) RETURNS bigint
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_number_sealed';
CREATE FUNCTION _ward.subject_sealed_key(entry bytea) RETURNS integer
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_sealed_key';
REVOKE ALL ON FUNCTION _ward.subject_number(uuid), _ward.subject_number(integer, text),
	_ward.subject_number(sealed_text), _ward.subject_sealed_key(bytea) FROM PUBLIC;

-- The key that a column's text subjects are sealed under for the trail, checked; NULL for
-- other subjects.
CREATE FUNCTION _ward.watch_key(target regclass, att pg_attribute, class text, key text) RETURNS text
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	own text;
	found _ward.key;
BEGIN
	IF _ward.subject_kind(att.atttypid) <> 'text' THEN
		IF key IS NOT NULL THEN
			RAISE EXCEPTION 'subjects by % need no key', format_type(att.atttypid, att.atttypmod)
				USING ERRCODE = 'WD401', DETAIL = 'Only text is sealed before it reaches the trail.';
		END IF;
		RETURN NULL;
	END IF;
	IF att.atttypid = 'sealed_text'::regtype THEN
		SELECT k.name INTO own FROM _ward.key k WHERE k.id = att.atttypmod;
		IF key <> own THEN
			RAISE EXCEPTION 'column "%" of % is sealed under key "%"', att.attname, target, own
				USING ERRCODE = 'WD401', HINT = 'Leave the key out: it is the column''s.';
		END IF;
		key := own;
	ELSE
		IF EXISTS (SELECT FROM pg_collation c WHERE c.oid = att.attcollation AND NOT c.collisdeterministic) THEN
			RAISE EXCEPTION 'column "%" of % can not be a subject', att.attname, target
				USING ERRCODE = 'WD401',
				      DETAIL = 'Its collation takes different texts for equal, and they would be different people in the trail.';
		END IF;
		key := coalesce(key,
			(SELECT min(w.key) FROM _ward.watch w WHERE w.class = watch_key.class AND w.key IS NOT NULL),
			(SELECT k.name FROM _ward.key k WHERE k.is_default));
	END IF;
	SELECT * INTO found FROM _ward.key k WHERE k.name = watch_key.key;
	IF found.id IS NULL OR found.search = 'none' THEN
		RAISE EXCEPTION '% can not seal subjects of class "%"',
				CASE WHEN key IS NULL THEN 'no key' ELSE format('key "%s"', key) END, class
			USING ERRCODE = 'WD401',
			      DETAIL = CASE WHEN key IS NULL THEN 'Text may identify a person by itself, so it is sealed before it reaches the trail; the database has no default key.'
			                    WHEN found.id IS NULL THEN 'There is no such key.'
			                    ELSE 'It was created with search ''none'': its values have no tag to tell people apart by.' END,
			      HINT = 'ward.create_key() makes a key; name it as the last argument of ward.watch.';
	END IF;
	RETURN key;
END
$$;
REVOKE ALL ON FUNCTION _ward.watch_key(regclass, pg_attribute, text, text) FROM PUBLIC;

-- Refuses what would mix two kinds of keys in one class: the same person would be two.
CREATE FUNCTION _ward.watch_check_class(target regclass, subject name, kind text, class text, key text) RETURNS void
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	other record;
BEGIN
	SELECT w.target, w.subject, w.key, _ward.subject_kind(a.atttypid) AS kind INTO other
	  FROM _ward.watch w JOIN pg_attribute a ON a.attrelid = w.target AND a.attnum = w.attnum
	 WHERE w.class = watch_check_class.class AND w.follows IS NULL
	   AND (w.target, w.subject) <> (watch_check_class.target, watch_check_class.subject)
	   AND (_ward.subject_kind(a.atttypid), w.key) IS DISTINCT FROM (watch_check_class.kind, watch_check_class.key)
	 ORDER BY w.added_at LIMIT 1;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	RAISE EXCEPTION 'column "%" of % can not name subjects of class "%"', subject, target, class
		USING ERRCODE = 'WD401',
		      DETAIL = CASE WHEN other.kind IS DISTINCT FROM kind
		                    THEN format('It is of kind %s; column "%s" of %s, which names them too, is of kind %s.', kind, other.subject, other.target, other.kind)
		                    ELSE format('Its texts would be sealed under key "%s", those of column "%s" of %s are under key "%s".', key, other.subject, other.target, other.key) END,
		      HINT = 'In one class a person has one key. Watch the column with a class of its own.';
END
$$;
REVOKE ALL ON FUNCTION _ward.watch_check_class(regclass, name, text, text, text) FROM PUBLIC;

-- The watched table that a column refers to by a foreign key, where the people of the row
-- that it refers to are meant: the column itself holds none of them.
CREATE FUNCTION _ward.watch_followed(target regclass, attnum smallint, class text, OUT follows regclass, OUT follows_column name)
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT c.confrelid::regclass, a.attname
	  FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = c.confkey[1]
	 WHERE c.contype = 'f' AND c.conrelid = watch_followed.target AND c.conkey = ARRAY[watch_followed.attnum]
	   AND EXISTS (SELECT FROM _ward.watch w WHERE w.target = c.confrelid AND w.class = watch_followed.class
	                  AND (w.target, w.subject) <> (watch_followed.target, (SELECT s.attname FROM pg_attribute s
	                       WHERE s.attrelid = watch_followed.target AND s.attnum = watch_followed.attnum)))
	   AND NOT EXISTS (SELECT FROM _ward.watch w WHERE w.target = c.confrelid AND w.class = watch_followed.class
	                      AND w.attnum = a.attnum AND w.follows IS NULL)
	 ORDER BY c.conname LIMIT 1;
END;
REVOKE ALL ON FUNCTION _ward.watch_followed(regclass, smallint, text) FROM PUBLIC;

-- Raises WD401 where a table's watch does not fit the table.
CREATE FUNCTION _ward.watch_fits(target oid) RETURNS void
	LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'ward_watch_fits';
REVOKE ALL ON FUNCTION _ward.watch_fits(oid) FROM PUBLIC;

-- Raises 55006 where this very session is in the middle of reading the table.
CREATE FUNCTION _ward.watch_unread(target oid) RETURNS void
	LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'ward_watch_unread';
REVOKE ALL ON FUNCTION _ward.watch_unread(oid) FROM PUBLIC;

CREATE FUNCTION _ward.watch_check_table(target regclass) RETURNS void
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	rel pg_class;
BEGIN
	SELECT * INTO rel FROM pg_class c WHERE c.oid = target;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'relation with oid % does not exist', target::oid USING ERRCODE = 'undefined_table';
	END IF;
	IF rel.relkind NOT IN ('r', 'p') THEN
		RAISE EXCEPTION '% can not be watched', target
			USING ERRCODE = 'WD401',
			      DETAIL = format('It is a %s, not a table.',
			          CASE rel.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
			               WHEN 'f' THEN 'foreign table' WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence'
			               ELSE 'relation of another kind' END),
			      HINT = 'Watch the tables behind it: whoever reads a view is witnessed there.';
	END IF;
	IF rel.relpersistence = 't' OR rel.relnamespace IN (
		SELECT n.oid FROM pg_namespace n
		 WHERE n.nspname IN ('pg_catalog', 'information_schema', 'ward', '_ward', 'pg_toast')) THEN
		RAISE EXCEPTION '% can not be watched', target
			USING ERRCODE = 'WD401',
			      DETAIL = 'It is a temporary table or belongs to the system.',
			      HINT = 'Watch the application''s own tables.';
	END IF;
END
$$;
REVOKE ALL ON FUNCTION _ward.watch_check_table(regclass) FROM PUBLIC;

CREATE FUNCTION ward.watch(target regclass, subject name, class text DEFAULT 'person', key text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	att pg_catalog.pg_attribute;
	kind text;
	candidates text;
	follows regclass;
	follows_column name;
	other record;
BEGIN
	IF target IS NULL OR subject IS NULL OR class IS NULL OR class = '' THEN
		RAISE EXCEPTION 'a watch needs a table, a subject column and a class'
			USING ERRCODE = 'null_value_not_allowed',
			      HINT = 'Say, ward.watch(''person'', ''id'', ''person'').';
	END IF;
	PERFORM _ward.watch_check_table(target);
	SELECT * INTO att FROM pg_catalog.pg_attribute a
	 WHERE a.attrelid = target AND a.attname = subject AND NOT a.attisdropped AND a.attnum > 0;
	kind := _ward.subject_kind(att.atttypid);
	IF kind IS NULL THEN
		SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO candidates
		  FROM pg_catalog.pg_attribute a
		 WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped
		   AND _ward.subject_kind(a.atttypid) IS NOT NULL;
		candidates := CASE WHEN candidates IS NULL THEN 'The table has no column that could name people.'
		                   ELSE 'Its columns that could name people are: ' || candidates || '.' END;
		IF att.attname IS NULL THEN
			RAISE EXCEPTION 'column "%" of % does not exist', subject, target
				USING ERRCODE = 'WD401',
				      DETAIL = 'A watch needs the column that says which person a row is about.',
				      HINT = candidates;
		END IF;
		RAISE EXCEPTION 'column "%" of % can not be a subject', subject, target
			USING ERRCODE = 'WD401',
			      DETAIL = pg_catalog.format('It is of type %s; a subject is an integer, a uuid, a text or a sealed text.',
			                                 pg_catalog.format_type(att.atttypid, att.atttypmod)),
			      HINT = candidates;
	END IF;
	SELECT f.follows, f.follows_column INTO follows, follows_column FROM _ward.watch_followed(target, att.attnum, class) f;
	IF follows IS NULL THEN
		key := _ward.watch_key(target, att, class, key);
		PERFORM _ward.watch_check_class(target, subject, kind, class, key);
	ELSIF att.atttypid = 'sealed_text'::regtype OR key IS NOT NULL THEN
		RAISE EXCEPTION 'column "%" of % can not be followed', subject, target
			USING ERRCODE = 'WD401',
			      DETAIL = pg_catalog.format('It refers to %s, whose people would be meant; this takes an integer, a uuid or a text, and no key.', follows);
	ELSE
		RAISE NOTICE 'rows of % are about the people of the row of % that "%" refers to', target, follows, subject;
	END IF;
	-- Writers and readers that are under way finish first: what they saw before the
	-- watch they saw unwatched, and the trail says from when on it holds.
	EXECUTE pg_catalog.format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', target);
	PERFORM _ward.watch_unread(target);
	INSERT INTO _ward.watch (target, subject, class, key, follows, follows_column)
		VALUES (target, subject, class, key, follows, follows_column)
		ON CONFLICT ON CONSTRAINT watch_pkey DO UPDATE SET class = excluded.class, key = excluded.key,
			follows = excluded.follows, follows_column = excluded.follows_column;
	PERFORM _ward.record_event('watch.added', ARRAY['relation', 'subject', 'class', 'key', 'follows'],
	                           ARRAY[target::text, subject::text, class, key, follows::text]);
	PERFORM _ward.watch_fits(target);
	PERFORM _ward.watch_fits(w.target) FROM _ward.watch w WHERE w.follows = watch.target;
	FOR other IN
		SELECT w.target, w.subject FROM _ward.watch w,
		       LATERAL _ward.watch_followed(w.target, w.attnum, w.class) f
		 WHERE w.class = watch.class AND w.follows IS NULL AND f.follows = watch.target
	LOOP
		RAISE WARNING 'column "%" of % is watched as if it named people of class "%" itself', other.subject, other.target, class
			USING DETAIL = pg_catalog.format('It refers to %s, which is watched now by a column of its own.', target),
			      HINT = pg_catalog.format('If it means that table''s people, call ward.watch(%L, %L, %L) again.', other.target, other.subject, class);
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION ward.watch(regclass, name, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.watch(regclass, name, text, text) TO ward_officer;
COMMENT ON FUNCTION ward.watch(regclass, name, text, text) IS
	'witnesses reads and writes of a table from now on; call again for a second column that refers to people; key: what text subjects are sealed under in the trail';

-- A table that has left a watched parent goes on being watched, by a watch of its own.
CREATE FUNCTION _ward.watch_keep(child oid, parent oid) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	kept record;
BEGIN
	FOR kept IN
		WITH RECURSIVE up AS (
			SELECT watch_keep.parent AS relid
			UNION SELECT i.inhparent FROM pg_inherits i JOIN up ON i.inhrelid = up.relid
		), still AS (
			SELECT i.inhparent AS relid FROM pg_inherits i WHERE i.inhrelid = watch_keep.child
			UNION SELECT i.inhparent FROM pg_inherits i JOIN still ON i.inhrelid = still.relid
		)
		INSERT INTO _ward.watch (target, subject, class, key, follows, follows_column)
		SELECT DISTINCT ON (w.subject) watch_keep.child, w.subject, w.class, w.key, w.follows, w.follows_column
		  FROM _ward.watch w
		  JOIN pg_attribute a ON a.attrelid = watch_keep.child AND a.attname = w.subject AND NOT a.attisdropped
		 WHERE w.target IN (SELECT up.relid FROM up) AND w.target NOT IN (SELECT still.relid FROM still)
		   AND watch_keep.parent NOT IN (SELECT still.relid FROM still)
		 ORDER BY w.subject, w.target
		ON CONFLICT ON CONSTRAINT watch_pkey DO NOTHING
		RETURNING target, subject, class
	LOOP
		PERFORM _ward.record_event('watch.added', ARRAY['relation', 'subject', 'class', 'reason'],
		                           ARRAY[kept.target::text, kept.subject::text, kept.class, 'left its parent']);
		RAISE NOTICE '% goes on being watched by column "%"', kept.target, kept.subject;
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION _ward.watch_keep(oid, oid) FROM PUBLIC;

CREATE FUNCTION ward.unwatch(target regclass, subject name DEFAULT NULL, reason text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	gone record;
	follower record;
	found_any boolean := false;
BEGIN
	FOR gone IN DELETE FROM _ward.watch w
	             WHERE w.target = unwatch.target AND (unwatch.subject IS NULL OR w.subject = unwatch.subject)
	         RETURNING w.subject, w.class
	LOOP
		found_any := true;
		PERFORM _ward.record_event('watch.removed', ARRAY['relation', 'subject', 'class', 'reason'],
		                           ARRAY[target::text, gone.subject::text, gone.class, reason]);
		SELECT w.target, w.subject INTO follower FROM _ward.watch w
		 WHERE w.follows = unwatch.target AND w.class = gone.class AND w.target <> unwatch.target
		   AND NOT EXISTS (SELECT FROM _ward.watch o WHERE o.target = unwatch.target AND o.class = gone.class);
		IF FOUND THEN
			RAISE EXCEPTION '% is still needed to name the people of %', target, follower.target
				USING ERRCODE = 'WD401',
				      DETAIL = pg_catalog.format('Column "%s" there refers to it.', follower.subject),
				      HINT = pg_catalog.format('Call ward.unwatch(%L, %L) first.', follower.target, follower.subject);
		END IF;
	END LOOP;
	IF NOT found_any THEN
		RAISE EXCEPTION '% is not watched%', target, CASE WHEN subject IS NULL THEN '' ELSE pg_catalog.format(' by column %I', subject) END
			USING ERRCODE = 'WD402', HINT = 'The view ward.watches lists what is watched.';
	END IF;
END
$$;
REVOKE ALL ON FUNCTION ward.unwatch(regclass, name, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.unwatch(regclass, name, text) TO ward_officer;
COMMENT ON FUNCTION ward.unwatch(regclass, name, text) IS
	'ends witnessing of a table, or of one subject column of it; recorded with its reason';

CREATE FUNCTION _ward.normalise(statement text) RETURNS text
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_normalise';
REVOKE ALL ON FUNCTION _ward.normalise(text) FROM PUBLIC;
COMMENT ON FUNCTION _ward.normalise(text) IS 'a statement''s text as the trail keeps it: without literals and comments';

-- An index that could be read alone but lacks a subject column can't be any more: the
-- subject is then fetched from the table, for each row. What helps is the same index with
-- all subject columns included; where the old one serves no constraint it may go then.
CREATE FUNCTION _ward.watch_index(index regclass) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	WITH i AS (
		SELECT x.*, k.reltablespace, k.reloptions, k.relam FROM pg_index x JOIN pg_class k ON k.oid = x.indexrelid
		 WHERE x.indexrelid = watch_index.index
	), col AS (
		SELECT n.n, a.attname, a.attnum, n.n <= i.indnkeyatts AS is_key,
			   quote_ident(a.attname)
			   || CASE WHEN n.n > i.indnkeyatts THEN '' ELSE
					CASE WHEN c.oid <> a.attcollation THEN format(' COLLATE %I.%I', cn.nspname, c.collname) ELSE '' END
				 || CASE WHEN NOT o.opcdefault THEN format(' %I.%I', opn.nspname, o.opcname) ELSE '' END
				 || CASE WHEN i.indoption[n.n - 1] & 1 = 1 THEN ' DESC' ELSE '' END
				 || CASE i.indoption[n.n - 1] & 3 WHEN 2 THEN ' NULLS FIRST' WHEN 1 THEN ' NULLS LAST' ELSE '' END END AS text
		  FROM i CROSS JOIN LATERAL generate_series(1, i.indnatts) n(n)
		  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n.n - 1]
		  LEFT JOIN pg_collation c ON n.n <= i.indnkeyatts AND c.oid = i.indcollation[n.n - 1]
		  LEFT JOIN pg_namespace cn ON cn.oid = c.collnamespace
		  LEFT JOIN pg_opclass o ON n.n <= i.indnkeyatts AND o.oid = i.indclass[n.n - 1]
		  LEFT JOIN pg_namespace opn ON opn.oid = o.opcnamespace
	), included AS (
		SELECT text, n FROM col WHERE NOT is_key
		UNION ALL
		SELECT quote_ident(w.subject), 1000 + w.attnum FROM _ward.watch w, i
		 WHERE w.target = i.indrelid AND NOT w.attnum = ANY (i.indkey::int2[])
	)
	SELECT format('CREATE INDEX ON %s USING %I (%s) INCLUDE (%s)%s%s%s',
				  (SELECT format('%I.%I', n.nspname, k.relname) FROM pg_class k JOIN pg_namespace n ON n.oid = k.relnamespace WHERE k.oid = i.indrelid),
				  (SELECT am.amname FROM pg_am am WHERE am.oid = i.relam),
				  (SELECT string_agg(col.text, ', ' ORDER BY col.n) FROM col WHERE col.is_key),
				  (SELECT string_agg(s.text, ', ' ORDER BY s.n) FROM included s),
				  ' WITH (' || array_to_string(i.reloptions, ', ') || ')',
				  (SELECT ' TABLESPACE ' || quote_ident(t.spcname) FROM pg_tablespace t WHERE t.oid = i.reltablespace),
				  ' WHERE ' || pg_get_expr(i.indpred, i.indrelid))
	  FROM i;
END;
REVOKE ALL ON FUNCTION _ward.watch_index(regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION _ward.watch_index(regclass) TO ward_officer, ward_auditor;

CREATE VIEW ward.watches AS
SELECT w.target AS relation, w.subject, w.class, w.key, w.follows, w.added_at, w.added_by,
       coalesce(i.names, '{}') AS indexes_without_subject, coalesce(i.help, '{}') AS indexes_that_help
  FROM _ward.watch w
  LEFT JOIN LATERAL (
	SELECT pg_catalog.array_agg(i.indexrelid::regclass::text ORDER BY i.indexrelid::regclass::text) AS names,
	       pg_catalog.array_agg(_ward.watch_index(i.indexrelid) ORDER BY i.indexrelid::regclass::text) AS help
	  FROM pg_catalog.pg_index i
	  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
	  JOIN pg_catalog.pg_am am ON am.oid = c.relam
	 WHERE i.indrelid = w.target AND am.amname = 'btree' AND i.indisvalid AND i.indexprs IS NULL
	   AND NOT w.attnum = ANY (i.indkey::int2[])) i ON true;
REVOKE ALL ON ward.watches FROM PUBLIC;
GRANT SELECT ON ward.watches TO ward_officer, ward_auditor;
COMMENT ON VIEW ward.watches IS
	'what is watched, since when, and the indexes that would serve better with the subject included';

-- Which watched table was copied to which other one; copies.c writes it as part of the
-- transaction that copies, and reads the columns by number.
CREATE TABLE _ward.copy (
	source regclass NOT NULL,
	copy regclass NOT NULL,
	made_at timestamptz NOT NULL,
	made_by name NOT NULL,
	made_by_what text NOT NULL
);
CREATE INDEX copy_source ON _ward.copy (copy, source);
REVOKE ALL ON _ward.copy FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('_ward.copy', '');
COMMENT ON TABLE _ward.copy IS 'tables that were filled out of watched ones, when and by whom first';

CREATE VIEW ward.unwatched_copies AS
SELECT DISTINCT ON (c.copy, c.source) c.source, c.copy, c.made_at, c.made_by, c.made_by_what
  FROM _ward.copy c JOIN pg_catalog.pg_class k ON k.oid = c.copy
 WHERE NOT EXISTS (SELECT FROM _ward.watch w
                    WHERE w.target = c.copy
                       OR w.target IN (SELECT a.relid FROM pg_catalog.pg_partition_ancestors(c.copy) a))
 ORDER BY c.copy, c.source, c.made_at;
REVOKE ALL ON ward.unwatched_copies FROM PUBLIC;
GRANT SELECT ON ward.unwatched_copies TO ward_officer, ward_auditor;
COMMENT ON VIEW ward.unwatched_copies IS
	'tables and materialized views that were filled out of watched tables, exist, and are not watched';

-- A dropped table takes its watch along; a renamed column stays watched.
CREATE FUNCTION _ward.forget_dropped() RETURNS event_trigger
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	gone record;
BEGIN
	-- While the extension itself is dropped, its table may be gone already.
	IF pg_catalog.to_regclass('_ward.watch') IS NULL THEN
		RETURN;
	END IF;
	FOR gone IN
		DELETE FROM _ward.watch w USING pg_catalog.pg_event_trigger_dropped_objects() d
		 WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = w.target
		   AND (d.objsubid = 0 OR d.objsubid = w.attnum)
		 RETURNING d.object_identity, w.subject, w.class, d.objsubid
	LOOP
		PERFORM _ward.record_event('watch.removed', ARRAY['relation', 'subject', 'class', 'reason'],
		                           ARRAY[gone.object_identity, gone.subject::text, gone.class, 'dropped']);
		IF gone.objsubid <> 0 THEN
			RAISE WARNING 'column % was watched and is now dropped', gone.object_identity
				USING HINT = 'Reads of the table are no longer witnessed by this column. Call ward.watch with the column that now says whom a row is about.';
		END IF;
	END LOOP;
	DELETE FROM _ward.copy c USING pg_catalog.pg_event_trigger_dropped_objects() d
	 WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid IN (c.copy, c.source) AND d.objsubid = 0;
	-- Rows that led to people through what was dropped lead nowhere now.
	LOOP
		SELECT w.target, w.subject, w.class, w.follows INTO gone FROM _ward.watch w
		 WHERE w.follows IS NOT NULL
		   AND (NOT EXISTS (SELECT FROM _ward.watch o
		                     WHERE o.target = w.follows AND o.class = w.class AND (o.target, o.subject) <> (w.target, w.subject))
		        OR NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
		                        WHERE a.attrelid = w.follows AND a.attname = w.follows_column AND NOT a.attisdropped))
		 ORDER BY w.target, w.subject LIMIT 1;
		EXIT WHEN NOT FOUND;
		DELETE FROM _ward.watch w WHERE w.target = gone.target AND w.subject = gone.subject;
		PERFORM _ward.record_event('watch.removed', ARRAY['relation', 'subject', 'class', 'reason'],
		                           ARRAY[gone.target::text, gone.subject::text, gone.class, 'what it refers to was dropped']);
		RAISE WARNING '% is no longer watched by column "%"', gone.target, gone.subject
			USING DETAIL = 'What it refers to no longer says whom its rows are about.',
			      HINT = 'Call ward.watch with the column that now says whom a row is about.';
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION _ward.forget_dropped() FROM PUBLIC;
CREATE EVENT TRIGGER ward_forget_dropped ON sql_drop EXECUTE FUNCTION _ward.forget_dropped();

CREATE FUNCTION _ward.follow_renamed() RETURNS event_trigger
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	altered record;
BEGIN
	PERFORM _ward.follow_columns('_ward.watch', 'target', 'subject');
	UPDATE _ward.watch w SET follows_attnum = a.attnum
	  FROM pg_catalog.pg_attribute a
	 WHERE a.attrelid = w.follows AND a.attname = w.follows_column AND NOT a.attisdropped AND a.attnum <> w.follows_attnum;
	UPDATE _ward.watch w SET follows_column = a.attname
	  FROM pg_catalog.pg_attribute a
	 WHERE a.attrelid = w.follows AND a.attnum = w.follows_attnum AND a.attname <> w.follows_column
	   AND NOT a.attisdropped;
	-- A type that can't name people, or not those of the class, would fail each reader.
	FOR altered IN
		SELECT w.target, w.subject, w.class, w.key, w.follows, _ward.subject_kind(a.atttypid) AS kind
		  FROM _ward.watch w JOIN pg_catalog.pg_attribute a ON a.attrelid = w.target AND a.attnum = w.attnum
		 WHERE w.target IN (SELECT d.objid FROM pg_catalog.pg_event_trigger_ddl_commands() d
		                     WHERE d.classid = 'pg_catalog.pg_class'::regclass)
		    -- Of a type that is altered with its tables only the type is told.
		    OR TG_TAG = 'ALTER TYPE' AND EXISTS (SELECT FROM pg_catalog.pg_class k WHERE k.oid = w.target AND k.reloftype <> 0)
	LOOP
		PERFORM _ward.watch_fits(altered.target);
		IF altered.follows IS NULL THEN
			PERFORM _ward.watch_check_class(altered.target, altered.subject, altered.kind, altered.class, altered.key);
		END IF;
		PERFORM _ward.watch_fits(w.target) FROM _ward.watch w WHERE w.follows = altered.target;
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION _ward.follow_renamed() FROM PUBLIC;
CREATE EVENT TRIGGER ward_follow_renamed ON ddl_command_end
	WHEN TAG IN ('ALTER TABLE', 'ALTER TYPE') EXECUTE FUNCTION _ward.follow_renamed();
