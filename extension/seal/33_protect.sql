-- seal: protecting a column of a live table, in one transaction.

CREATE FUNCTION _ward.lock_relations(relations oid[]) RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_protect_lock';
CREATE FUNCTION _ward.constraint_valid(constraint_oid oid) RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_protect_mark_valid';
CREATE FUNCTION _ward.may_open(key integer) RETURNS boolean
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_protect_may_open';
CREATE FUNCTION _ward.execute_opening(statement text) RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_protect_execute';
REVOKE ALL ON FUNCTION _ward.lock_relations(oid[]), _ward.constraint_valid(oid), _ward.may_open(integer),
	_ward.execute_opening(text) FROM PUBLIC;

-- A check that held over a column holds over its sealed values: they are not read.
CREATE FUNCTION _ward.mark_valid(relation oid, constraint_name name) RETURNS void
	LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
	AS $$
WITH RECURSIVE tree AS (
	SELECT relation AS oid
	UNION SELECT h.inhrelid FROM tree JOIN pg_catalog.pg_inherits h ON h.inhparent = tree.oid)
SELECT _ward.constraint_valid(k.oid) FROM tree
  JOIN pg_catalog.pg_constraint k ON k.conrelid = tree.oid AND k.conname = constraint_name AND k.contype = 'c' AND NOT k.convalidated
$$;
REVOKE ALL ON FUNCTION _ward.mark_valid(oid, name) FROM PUBLIC;

-- Everything that a conversion changes, in the order in which it is locked: views
-- before what they read, as their readers lock them; tables by number, their children
-- after them.
CREATE FUNCTION _ward.protect_relations(target oid, column_name name) RETURNS oid[]
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
WITH RECURSIVE columns AS MATERIALIZED (
	SELECT ARRAY(SELECT c FROM _ward.protect_columns(target, column_name) c) AS list),
tables AS (
	SELECT DISTINCT c.root, c.relation FROM columns, pg_catalog.unnest(columns.list) c),
others AS (
	-- Tables whose foreign keys or policies are taken off and put back.
	SELECT CASE WHEN k.conrelid = t.relation THEN k.confrelid ELSE k.conrelid END AS relation
	  FROM tables t JOIN pg_catalog.pg_constraint k ON k.contype = 'f' AND t.relation IN (k.conrelid, k.confrelid)
	UNION
	SELECT p.polrelid
	  FROM columns, pg_catalog.unnest(columns.list) c
	  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_policy'::regclass AND d.refclassid = 'pg_class'::regclass
	   AND d.refobjid = c.relation AND d.refobjsubid = c.attnum
	  JOIN pg_catalog.pg_policy p ON p.oid = d.objid)
SELECT pg_catalog.array_agg(o.relation ORDER BY o.kind, o.place, o.child, o.relation) FROM (
	SELECT 1 AS kind, -v.depth::bigint AS place, false AS child, v.view AS relation FROM columns, _ward.protect_views(columns.list) v
	UNION ALL
	SELECT 2, pg_catalog.min(t.root)::bigint, pg_catalog.bool_and(t.root <> t.relation), t.relation FROM tables t GROUP BY t.relation
	UNION ALL
	SELECT 2, o.relation::bigint, false, o.relation FROM others o WHERE o.relation NOT IN (SELECT t.relation FROM tables t)) o
$$;
REVOKE ALL ON FUNCTION _ward.protect_relations(oid, name) FROM PUBLIC;

-- Takes the locks, or raises. Writers take theirs in an order of their own, so while
-- this session holds some and waits for others it could be part of a deadlock, and the
-- server would cancel whoever finds it: a writer. So it waits with empty hands, for one
-- lock, as long as the caller's lock_timeout says; for the others only half as long as it
-- takes a writer to look for deadlocks. Where that does not do, it gives everything back
-- and waits for the lock that was missing.
CREATE FUNCTION _ward.protect_lock(target oid, column_name name) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	timeout text := pg_catalog.current_setting('lock_timeout');
	patience interval := pg_catalog.current_setting('deadlock_timeout')::interval / 2;
	wanted oid[];
	again oid[];
	next_one oid;
	patient oid;
	since timestamptz;
	changed boolean;
BEGIN
	FOR attempt IN 1 .. 1000 LOOP
		changed := false;
		BEGIN
			wanted := _ward.protect_relations(target, column_name);
			IF patient = ANY (wanted) THEN
				wanted := patient || pg_catalog.array_remove(wanted, patient);
			END IF;
			since := NULL;
			FOREACH next_one IN ARRAY wanted LOOP
				IF since IS NOT NULL THEN
					PERFORM pg_catalog.set_config('lock_timeout', greatest(1, pg_catalog.round(1000 * extract(epoch FROM
						least(patience - (pg_catalog.clock_timestamp() - since), nullif(timeout::interval, '0')))))::text, true);
				END IF;
				PERFORM _ward.lock_relations(ARRAY[next_one]);
				since := coalesce(since, pg_catalog.clock_timestamp());
			END LOOP;
			PERFORM pg_catalog.set_config('lock_timeout', timeout, true);
			-- What was committed while we waited may have changed the list.
			again := _ward.protect_relations(target, column_name);
			IF again @> wanted AND wanted @> again THEN
				RETURN;
			END IF;
			changed := true;
			RAISE lock_not_available;
		EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
			IF NOT changed AND since IS NULL THEN
				RAISE EXCEPTION 'could not lock % and what belongs to it within lock_timeout', target::regclass
					USING ERRCODE = 'lock_not_available',
					      DETAIL = 'Another transaction uses one of the tables. Nothing was changed.',
					      HINT = 'pg_locks shows who; try again when it is done, or raise lock_timeout.';
			END IF;
			patient := next_one;
		END;
	END LOOP;
	RAISE EXCEPTION 'could not lock % and what belongs to it', target::regclass
		USING ERRCODE = 'lock_not_available',
		      DETAIL = 'Other transactions hold and want the same tables in turn. Nothing was changed.',
		      HINT = 'Try again when they are done.';
END
$$;
REVOKE ALL ON FUNCTION _ward.protect_lock(oid, name) FROM PUBLIC;

-- One statement that puts something back.
CREATE FUNCTION _ward.restore_piece(piece _ward.protect_piece, opening boolean) RETURNS text
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	RETURN piece.head || CASE piece.kind
		WHEN 'q' THEN _ward.literal_query(piece.definition, opening)
		WHEN 'e' THEN _ward.literal_expression(piece.relation, piece.definition, opening)
		WHEN 't' THEN _ward.literal_condition(piece.relation, piece.definition, opening)
		WHEN 'd' THEN _ward.literal_default(piece.relation, piece.definition,
		                                    CASE WHEN opening THEN 0 ELSE _ward.sealed_type(piece.base::regtype)::oid END, piece.base)
		ELSE '' END || piece.tail;
END
$$;
REVOKE ALL ON FUNCTION _ward.restore_piece(_ward.protect_piece, boolean) FROM PUBLIC;

-- A name for the check that stands for the length of a varchar(n) or another limit.
CREATE FUNCTION _ward.limit_name(relation oid, column_name name, base regtype) RETURNS name
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
SELECT n.name::name
  FROM pg_catalog.pg_class c,
       pg_catalog.generate_series(0, 100) i,
       LATERAL (SELECT pg_catalog.concat(pg_catalog.left(pg_catalog.concat_ws('_', c.relname, column_name)::name, 12),
                                         '_', pg_catalog.left(pg_catalog.md5(pg_catalog.concat_ws('.', c.relname, column_name)), 6)) AS short) s,
       LATERAL (SELECT pg_catalog.concat(CASE WHEN pg_catalog.octet_length(pg_catalog.concat_ws('_', c.relname, column_name)) <= 48
                                              THEN pg_catalog.concat_ws('_', c.relname, column_name) ELSE s.short END,
                                         CASE WHEN base = 'varchar'::regtype THEN '_length' ELSE '_range' END, nullif(i, 0)) AS name) n
 WHERE c.oid = relation
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = relation AND k.conname = n.name)
 ORDER BY i LIMIT 1
$$;
REVOKE ALL ON FUNCTION _ward.limit_name(oid, name, regtype) FROM PUBLIC;

-- Converts a column and all that goes with it. The caller has checked the arguments.
CREATE FUNCTION _ward.convert(target regclass, column_name name, key text, opening boolean) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
	SET client_min_messages = 'warning'
	AS $$
DECLARE
	columns _ward.protect_column[];
	steps _ward.protect_step[];
	step _ward.protect_step;
	piece _ward.protect_piece;
	pieces _ward.protect_piece[];
	obstacles text;
	command text;
	doing text;
	rel record;
	col record;
	failed text;
	failed_state text;
BEGIN
	PERFORM _ward.progress_begin(target, a.attnum, opening,
	                             (SELECT coalesce(pg_catalog.sum(_ward.protect_rows(c.relation)), 0) FROM _ward.protect_columns(target, column_name) c))
	   FROM pg_catalog.pg_attribute a WHERE a.attrelid = target AND a.attname = column_name;
	PERFORM _ward.protect_lock(target, column_name);
	PERFORM _ward.check_column(target, column_name, opening);
	columns := ARRAY(SELECT c FROM _ward.protect_columns(target, column_name) c);
	steps := ARRAY(SELECT s FROM _ward.protect_steps(target, column_name, key, opening) s);
	SELECT pg_catalog.string_agg(s.object || ': ' || s.what_to_do, E'\n' ORDER BY s.rank, s.object) INTO obstacles
	  FROM pg_catalog.unnest(steps) s WHERE s.action = 'refuse';
	IF obstacles IS NOT NULL THEN
		RAISE EXCEPTION 'column "%" of % can not be % as it is used now', column_name, target,
			CASE WHEN opening THEN 'unprotected' ELSE 'protected' END
			USING ERRCODE = 'WD230', DETAIL = obstacles,
			      HINT = 'Nothing was changed. Remove what is listed, convert the column, and put back what still fits.';
	END IF;

	-- On the way back the definitions are changed while they still parse.
	IF opening THEN
		FOR step IN SELECT * FROM pg_catalog.unnest(steps) LOOP
			FOREACH piece IN ARRAY step.restore LOOP
				CONTINUE WHEN piece.head IS NULL;
				pieces := pieces || _ward.plain(_ward.restore_piece(piece, true));
			END LOOP;
		END LOOP;
	ELSE
		SELECT pg_catalog.array_agg(ROW(p.head, p.kind, p.definition, p.relation, p.base, p.tail)::_ward.protect_piece ORDER BY s.at, p.at) INTO pieces
		  FROM pg_catalog.unnest(steps) WITH ORDINALITY s(rank, object, action, what_to_do, remove, restore, at),
		       pg_catalog.unnest(s.restore) WITH ORDINALITY p(head, kind, definition, relation, base, tail, at)
		 WHERE p.head IS NOT NULL;
	END IF;

	FOR step IN SELECT s.* FROM pg_catalog.unnest(steps) s ORDER BY s.rank DESC LOOP
		FOREACH command IN ARRAY step.remove LOOP
			EXECUTE command;
		END LOOP;
	END LOOP;

	PERFORM _ward.progress_phase(1);
	FOR rel IN
		SELECT c.root, pg_catalog.string_agg(
		       pg_catalog.format('ALTER COLUMN %I TYPE %s%s USING (%s)::%s', c.name, t.new_type, t.collation,
		                         pg_catalog.format('_ward.progress_row(%I)::%s', c.name, t.base), t.new_type), ', ' ORDER BY c.attnum) AS changes
		  FROM pg_catalog.unnest(columns) c
		  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.relation AND a.attnum = c.attnum
		  LEFT JOIN _ward.sealed_column s ON s.relation = c.root AND s.column_name = c.name
		 CROSS JOIN LATERAL (
			SELECT CASE WHEN opening
			            THEN pg_catalog.format_type(coalesce(s.base_type::oid, _ward.base_type(a.atttypid)::oid), coalesce(s.base_typmod, -1))
			            ELSE pg_catalog.format('%s(%L)', _ward.sealed_type(a.atttypid::regtype), key) END AS new_type,
			       _ward.base_type(CASE WHEN opening THEN a.atttypid ELSE _ward.sealed_type(a.atttypid::regtype)::oid END)::text AS base,
			       coalesce((SELECT pg_catalog.format(' COLLATE %I.%I', n.nspname, o.collname)
			                   FROM pg_catalog.pg_collation o JOIN pg_catalog.pg_namespace n ON n.oid = o.collnamespace
			                  WHERE o.oid = a.attcollation AND o.collname <> 'default'
			                    AND EXISTS (SELECT FROM pg_catalog.pg_type y
			                                 WHERE y.oid = CASE WHEN opening THEN coalesce(s.base_type::oid, _ward.base_type(a.atttypid)::oid)
			                                                    ELSE _ward.sealed_type(a.atttypid::regtype)::oid END
			                                   AND y.typcollation <> 0)), '') AS collation) t
		 WHERE c.relation = c.root AND _ward.is_sealed(a.atttypid) = opening
		 GROUP BY c.root ORDER BY c.root
	LOOP
		IF opening THEN
			PERFORM _ward.execute_opening(pg_catalog.format('ALTER TABLE %s %s', rel.root::regclass, rel.changes));
		ELSE
			-- The types before they are gone.
			INSERT INTO _ward.sealed_column (relation, column_name, base_type, base_typmod)
			SELECT c.root, c.name, a.atttypid, a.atttypmod
			  FROM pg_catalog.unnest(columns) c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.relation AND a.attnum = c.attnum
			 WHERE c.root = rel.root AND c.relation = c.root AND NOT _ward.is_sealed(a.atttypid)
			ON CONFLICT ON CONSTRAINT sealed_column_pkey
			DO UPDATE SET base_type = excluded.base_type, base_typmod = excluded.base_typmod;
			EXECUTE pg_catalog.format('ALTER TABLE %s %s', rel.root::regclass, rel.changes);
		END IF;
	END LOOP;

	PERFORM _ward.progress_phase(2);
	BEGIN
		FOREACH piece IN ARRAY coalesce(pieces, '{}') LOOP
			doing := pg_catalog.regexp_replace(pg_catalog.regexp_replace(piece.head, '^SELECT _ward\.try_view\(E?''(.*)''\)$', 'view \1'), ' (USING|WITH CHECK|CHECK|WHERE|AS|SET DEFAULT)\y.*$', '');
			EXECUTE CASE WHEN opening THEN piece.head ELSE _ward.restore_piece(piece, false) END;
		END LOOP;
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS failed = MESSAGE_TEXT, failed_state = RETURNED_SQLSTATE;
		-- Only what says that something does not exist or fit; others can quote values.
		RAISE EXCEPTION 'column "%" of % can not be % as it is used now', column_name, target,
			CASE WHEN opening THEN 'unprotected' ELSE 'protected' END
			USING ERRCODE = 'WD230',
			      DETAIL = pg_catalog.format('%s: %s', doing, CASE WHEN failed_state LIKE '42%' OR failed_state IN ('0A000', 'WD230', 'WD201')
			                                                       THEN failed ELSE 'error ' || failed_state END),
			      HINT = 'Nothing was changed. Drop this object, convert the column, and put back what still fits.';
	END;

	IF opening THEN
		DELETE FROM _ward.sealed_column s USING pg_catalog.unnest(columns) c WHERE s.relation = c.root AND s.column_name = c.name;
	ELSE
		FOR col IN
			SELECT c.root, c.name, _ward.limit_check(s.base_type, s.base_typmod, c.name) AS condition,
			       _ward.limit_name(c.root, c.name, s.base_type) AS check_name
			  FROM pg_catalog.unnest(columns) c
			  JOIN _ward.sealed_column s ON s.relation = c.root AND s.column_name = c.name
			 WHERE c.relation = c.root AND _ward.limit_check(s.base_type, s.base_typmod, c.name) IS NOT NULL
			   AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k
			                    WHERE k.conrelid = c.root AND k.conkey = ARRAY[c.attnum] AND _ward.is_limit(k.oid))
		LOOP
			EXECUTE pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I CHECK (%s) NOT VALID',
			                          col.root::regclass, col.check_name, col.condition);
			PERFORM _ward.mark_valid(col.root, col.check_name);
		END LOOP;
	END IF;
	PERFORM _ward.progress_end();
END
$$;
REVOKE ALL ON FUNCTION _ward.convert(regclass, name, text, boolean) FROM PUBLIC;

CREATE FUNCTION _ward.print_plan(target regclass, column_name name, key text, opening boolean) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	step record;
	obstacles integer := 0;
BEGIN
	FOR step IN SELECT * FROM _ward.protect_steps(target, column_name, key, opening) s WHERE s.what_to_do IS NOT NULL LOOP
		RAISE NOTICE '% %: %', pg_catalog.rpad(step.action, 7), step.object, step.what_to_do;
		IF step.action = 'refuse' THEN
			obstacles := obstacles + 1;
		END IF;
	END LOOP;
	RAISE NOTICE 'nothing was changed; %', CASE WHEN obstacles > 0 THEN 'obstacles: ' || obstacles ELSE 'nothing stands in the way' END;
END
$$;
REVOKE ALL ON FUNCTION _ward.print_plan(regclass, name, text, boolean) FROM PUBLIC;

CREATE FUNCTION ward.protect_plan(target regclass, column_name name, key text)
	RETURNS TABLE (step integer, object text, action text, what_to_do text)
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF target IS NULL OR column_name IS NULL OR key IS NULL THEN
		RAISE EXCEPTION 'a plan needs a table, a column and a key' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	PERFORM _ward.check_search(key, (SELECT coalesce(max(k.search), 'equality') FROM _ward.key k WHERE k.name = key));
	PERFORM _ward.check_column(target, column_name, false);
	RETURN QUERY
		SELECT pg_catalog.row_number() OVER (ORDER BY s.rank, s.object)::integer, s.object, s.action, s.what_to_do
		  FROM _ward.protect_steps(target, column_name, key, false) s WHERE s.what_to_do IS NOT NULL ORDER BY 1;
END
$$;
REVOKE ALL ON FUNCTION ward.protect_plan(regclass, name, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.protect_plan(regclass, name, text) TO ward_officer;
COMMENT ON FUNCTION ward.protect_plan(regclass, name, text) IS
	'what ward.protect would do with each object that depends on the column: carry, rebuild or refuse; changes nothing';

CREATE FUNCTION ward.protect(target regclass, column_name name, key text, search text DEFAULT 'equality', dry_run boolean DEFAULT false) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF target IS NULL OR column_name IS NULL OR key IS NULL OR search IS NULL OR dry_run IS NULL THEN
		RAISE EXCEPTION 'protecting needs a table, a column, a key and a search mode'
			USING ERRCODE = 'null_value_not_allowed',
			      HINT = 'Say, ward.protect(''person'', ''full_name'', ''people.identity'').';
	END IF;
	PERFORM _ward.check_search(key, search);
	PERFORM _ward.check_column(target, column_name, false);
	IF dry_run THEN
		PERFORM _ward.print_plan(target, column_name, key, false);
		RETURN;
	END IF;
	PERFORM _ward.convert(target, column_name, key, false);
	PERFORM _ward.record_event('column.protected', ARRAY['relation', 'column', 'key', 'search'],
	                           ARRAY[c.root::regclass::text, c.name::text, key, search])
	   FROM _ward.protect_columns(target, column_name) c WHERE c.relation = c.root;
	RAISE NOTICE 'column "%" of % is sealed', column_name, target
		USING DETAIL = 'What was written before stays in WAL, archives, backups and old statistics until it is overwritten or removed.',
		      HINT = 'Run VACUUM FULL pg_catalog.pg_statistic, CHECKPOINT and ANALYZE; renew backups and WAL archives.';
END
$$;
REVOKE ALL ON FUNCTION ward.protect(regclass, name, text, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.protect(regclass, name, text, text, boolean) TO ward_officer;
COMMENT ON FUNCTION ward.protect(regclass, name, text, text, boolean) IS
	'seals a column of a live table in place, with what depends on it; refuses, and says why and what to do, where something can not be carried; dry_run prints the plan';

CREATE VIEW ward.sealed_columns AS
SELECT a.attrelid::regclass AS relation, a.attname AS column_name, k.name AS key, k.search,
       pg_catalog.format_type(a.atttypid, a.atttypmod) AS type
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'm')
  LEFT JOIN _ward.key k ON k.id = a.atttypmod
 WHERE a.atttypid IN (SELECT t.oid FROM pg_catalog.pg_type t WHERE t.typname ~ '^_?sealed_' AND t.typnamespace = 'pg_catalog'::regnamespace)
   AND NOT a.attisdropped;
REVOKE ALL ON ward.sealed_columns FROM PUBLIC;
GRANT SELECT ON ward.sealed_columns TO ward_officer, ward_auditor, ward_analyst;
COMMENT ON VIEW ward.sealed_columns IS 'columns that are sealed, and the key of each';
