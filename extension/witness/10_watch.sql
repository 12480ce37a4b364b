-- witness: which tables are watched.

CREATE TABLE _ward.watch (
	target regclass NOT NULL,
	subject name NOT NULL,
	class text NOT NULL,
	-- Follows a rename of the column; set by name where a restore brings the row.
	attnum smallint,
	added_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	added_by name NOT NULL DEFAULT session_user,
	PRIMARY KEY (target, subject)
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

CREATE FUNCTION _ward.watch_changed() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF TG_OP <> 'DELETE' THEN
		SELECT a.attnum INTO NEW.attnum FROM pg_catalog.pg_attribute a
		 WHERE a.attrelid = NEW.target AND a.attname = NEW.subject AND NOT a.attisdropped;
	END IF;
	PERFORM _ward.invalidate('_ward.watch'::regclass);
	IF TG_OP <> 'INSERT' THEN
		PERFORM _ward.invalidate(OLD.target);
	END IF;
	IF TG_OP = 'DELETE' THEN
		RETURN OLD;
	END IF;
	PERFORM _ward.invalidate(NEW.target);
	RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION _ward.watch_changed() FROM PUBLIC;
CREATE TRIGGER watch_changed BEFORE INSERT OR UPDATE OR DELETE ON _ward.watch
	FOR EACH ROW EXECUTE FUNCTION _ward.watch_changed();

CREATE FUNCTION ward.watch(target regclass, subject name, class text DEFAULT 'person') RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	rel pg_catalog.pg_class;
	att pg_catalog.pg_attribute;
	candidates text;
BEGIN
	IF target IS NULL OR subject IS NULL OR class IS NULL OR class = '' THEN
		RAISE EXCEPTION 'a watch needs a table, a subject column and a class'
			USING ERRCODE = 'null_value_not_allowed',
			      HINT = 'Say, ward.watch(''person'', ''id'', ''person'').';
	END IF;
	SELECT * INTO rel FROM pg_catalog.pg_class c WHERE c.oid = target;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'relation with oid % does not exist', target::oid USING ERRCODE = 'undefined_table';
	END IF;
	IF rel.relkind NOT IN ('r', 'p') THEN
		RAISE EXCEPTION '% can not be watched', target
			USING ERRCODE = 'WD401',
			      DETAIL = pg_catalog.format('It is a %s, not a table.',
			          CASE rel.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
			               WHEN 'f' THEN 'foreign table' WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence'
			               ELSE 'relation of another kind' END),
			      HINT = 'Watch the tables behind it: whoever reads a view is witnessed there.';
	END IF;
	IF rel.relpersistence = 't' OR rel.relnamespace IN (
		SELECT n.oid FROM pg_catalog.pg_namespace n
		 WHERE n.nspname IN ('pg_catalog', 'information_schema', 'ward', '_ward', 'pg_toast')) THEN
		RAISE EXCEPTION '% can not be watched', target
			USING ERRCODE = 'WD401',
			      DETAIL = 'It is a temporary table or belongs to the system.',
			      HINT = 'Watch the application''s own tables.';
	END IF;
	SELECT * INTO att FROM pg_catalog.pg_attribute a
	 WHERE a.attrelid = target AND a.attname = subject AND NOT a.attisdropped AND a.attnum > 0;
	IF NOT FOUND OR att.atttypid NOT IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN
		SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO candidates
		  FROM pg_catalog.pg_attribute a
		 WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped
		   AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype);
		IF att.attname IS NULL THEN
			RAISE EXCEPTION 'column "%" of % does not exist', subject, target
				USING ERRCODE = 'WD401',
				      DETAIL = 'A watch needs the column that says which person a row is about.',
				      HINT = CASE WHEN candidates IS NULL THEN 'The table has no integer column.'
				                  ELSE 'Its integer columns are: ' || candidates || '.' END;
		END IF;
		RAISE EXCEPTION 'column "%" of % can not be a subject', subject, target
			USING ERRCODE = 'WD401',
			      DETAIL = pg_catalog.format('It is of type %s; this version knows smallint, integer and bigint.',
			                                 pg_catalog.format_type(att.atttypid, att.atttypmod)),
			      HINT = CASE WHEN candidates IS NULL THEN 'The table has no integer column.'
			                  ELSE 'Its integer columns are: ' || candidates || '.' END;
	END IF;
	-- Writers and readers that are under way finish first: what they saw before the
	-- watch they saw unwatched, and the trail says from when on it holds.
	EXECUTE pg_catalog.format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', target);
	INSERT INTO _ward.watch (target, subject, class) VALUES (target, subject, class)
		ON CONFLICT ON CONSTRAINT watch_pkey DO UPDATE SET class = excluded.class;
	PERFORM _ward.record_event('watch.added', ARRAY['relation', 'subject', 'class'],
	                           ARRAY[target::text, subject::text, class]);
END
$$;
REVOKE ALL ON FUNCTION ward.watch(regclass, name, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.watch(regclass, name, text) TO ward_officer;
COMMENT ON FUNCTION ward.watch(regclass, name, text) IS
	'witnesses reads and writes of a table from now on; call again for a second column that refers to people';

CREATE FUNCTION ward.unwatch(target regclass, subject name DEFAULT NULL, reason text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	gone record;
	found_any boolean := false;
BEGIN
	FOR gone IN DELETE FROM _ward.watch w
	             WHERE w.target = unwatch.target AND (unwatch.subject IS NULL OR w.subject = unwatch.subject)
	         RETURNING w.subject, w.class
	LOOP
		found_any := true;
		PERFORM _ward.record_event('watch.removed', ARRAY['relation', 'subject', 'class', 'reason'],
		                           ARRAY[target::text, gone.subject::text, gone.class, reason]);
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

-- Every plain index of a watched table that lacks a subject column can't be read
-- alone any more: the subject is then fetched from the table.
CREATE VIEW ward.watches AS
SELECT w.target AS relation, w.subject, w.class, w.added_at, w.added_by,
       ARRAY(SELECT i.indexrelid::regclass::text
               FROM pg_catalog.pg_index i
              WHERE i.indrelid = w.target AND NOT w.attnum = ANY (i.indkey::int2[])
              ORDER BY 1) AS indexes_without_subject,
       ARRAY(SELECT pg_catalog.regexp_replace(
                        pg_catalog.pg_get_indexdef(i.indexrelid),
                        '( WHERE .*)?$',
                        CASE WHEN pg_catalog.pg_get_indexdef(i.indexrelid) LIKE '% INCLUDE (%' THEN ''
                             ELSE ' INCLUDE (' || pg_catalog.quote_ident(w.subject) || ')' END || '\1')
               FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
               JOIN pg_catalog.pg_am am ON am.oid = c.relam
              WHERE i.indrelid = w.target AND am.amname = 'btree' AND NOT i.indisprimary
                AND NOT w.attnum = ANY (i.indkey::int2[])
              ORDER BY 1) AS indexes_that_help
  FROM _ward.watch w;
REVOKE ALL ON ward.watches FROM PUBLIC;
GRANT SELECT ON ward.watches TO ward_officer, ward_auditor;
COMMENT ON VIEW ward.watches IS
	'what is watched, since when, and the indexes that would serve better with the subject included';

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
END
$$;
REVOKE ALL ON FUNCTION _ward.forget_dropped() FROM PUBLIC;
CREATE EVENT TRIGGER ward_forget_dropped ON sql_drop EXECUTE FUNCTION _ward.forget_dropped();

CREATE FUNCTION _ward.follow_renamed() RETURNS event_trigger
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	-- The name is what counts where it exists: a restore with triggers disabled brings the
	-- numbers of the old table, and the watch would move to another column.
	UPDATE _ward.watch w SET attnum = a.attnum
	  FROM pg_catalog.pg_attribute a
	 WHERE a.attrelid = w.target AND a.attname = w.subject AND NOT a.attisdropped AND a.attnum <> w.attnum;
	UPDATE _ward.watch w SET subject = a.attname
	  FROM pg_catalog.pg_attribute a
	 WHERE a.attrelid = w.target AND a.attnum = w.attnum AND a.attname <> w.subject
	   AND NOT a.attisdropped;
END
$$;
REVOKE ALL ON FUNCTION _ward.follow_renamed() FROM PUBLIC;
CREATE EVENT TRIGGER ward_follow_renamed ON ddl_command_end
	WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION _ward.follow_renamed();
