-- scope: from the index's rows to the people they disclose.

-- Contexts of those whom a question means. NULL is anybody; a role is who logged in
-- or as whom they acted.
CREATE FUNCTION _ward.scope_contexts(roles name[], clients inet[], actors text[], applications text[], sessions text[])
	RETURNS TABLE (node text, "position" bigint, session text)
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT c.node, c.position, c.session
	FROM _ward.context c
	WHERE (scope_contexts.roles IS NULL
		   OR c.session_role = ANY (scope_contexts.roles) OR c.current_role_name = ANY (scope_contexts.roles))
	  AND (scope_contexts.clients IS NULL
		   OR EXISTS (SELECT FROM unnest(scope_contexts.clients) k WHERE c.client <<= k))
	  AND (scope_contexts.actors IS NULL OR c.actor = ANY (scope_contexts.actors))
	  AND (scope_contexts.applications IS NULL OR c.application = ANY (scope_contexts.applications))
	  AND (scope_contexts.sessions IS NULL OR c.session = ANY (scope_contexts.sessions));
END;
COMMENT ON FUNCTION _ward.scope_contexts(name[], inet[], text[], text[], text[]) IS
	'contexts of the sessions that a question means';

-- Tables that a name means now: by itself, as a partition or child, or as what it is one
-- of, through which it may be watched.
CREATE FUNCTION _ward.scope_relids(relation text) RETURNS SETOF oid
	LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH RECURSIVE named AS (
		SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, parse_ident(scope_relids.relation) p
		WHERE c.relname = p[cardinality(p)] AND (cardinality(p) = 1 OR n.nspname = p[cardinality(p) - 1])
		  AND c.relkind IN ('r', 'p', 'f', 'm')
	), below AS (
		SELECT d.oid FROM named d
		UNION
		SELECT i.inhrelid FROM below b JOIN pg_inherits i ON i.inhparent = b.oid
	), above AS (
		SELECT d.oid FROM named d
		UNION
		SELECT i.inhparent FROM above b JOIN pg_inherits i ON i.inhrelid = b.oid
	)
	SELECT b.oid FROM below b UNION SELECT a.oid FROM above a;
END;
COMMENT ON FUNCTION _ward.scope_relids(text) IS 'tables that a name means now';

-- Watched relations as the trail described them, that these names mean: as they were
-- called then, also of tables that are gone, or as they are called now. A name without a
-- schema means all tables that bear it.
CREATE FUNCTION _ward.scope_relations(relations text[]) RETURNS SETOF bigint
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT DISTINCT r.relation
	FROM unnest(scope_relations.relations) k(name), parse_ident(k.name) p, _ward.relation_version r
	WHERE r.relation_name = p[cardinality(p)] AND (cardinality(p) = 1 OR r.schema_name = p[cardinality(p) - 1])
	   OR r.relid IN (SELECT _ward.scope_relids(k.name));
END;
COMMENT ON FUNCTION _ward.scope_relations(text[]) IS 'descriptions of the relations that names mean';

-- A table that was never watched has no answer, least of all an empty one.
CREATE FUNCTION _ward.scope_check_relations(relations text[]) RETURNS void
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	name text;
	known boolean;
BEGIN
	FOREACH name IN ARRAY coalesce(relations, '{}') LOOP
		known := EXISTS (SELECT FROM _ward.scope_relations(ARRAY[name]));
		IF NOT known AND to_regclass('_ward.watch') IS NOT NULL THEN
			EXECUTE 'SELECT EXISTS (SELECT FROM _ward.watch w WHERE w.target IN (SELECT _ward.scope_relids($1)))' INTO known USING name;
		END IF;
		IF NOT known THEN
			RAISE EXCEPTION 'never watched: %', name
				USING ERRCODE = 'WD402', DETAIL = 'No watched table is or was called so.',
					HINT = 'ward.watches lists the tables that are watched now. A table that was dropped or renamed is known by its old name, too.';
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION _ward.scope_check_relations(text[]) IS 'refuses names of tables that were never watched';

-- Descriptions of relations: as the trail gave them, and (under the table's negative
-- number) as what is watched is now, also where the trail has none yet.
CREATE FUNCTION _ward.scope_described()
	RETURNS TABLE (relation bigint, schema_name name, relation_name name, attnums int2[], columns text[],
		subject_attnums int2[], classes text[])
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT r.relation, r.schema_name, r.relation_name, r.attnums, r.columns, r.subject_attnums, r.classes
	FROM _ward.relation_version r
	UNION ALL
	SELECT -w.target::oid::bigint, n.nspname, c.relname, a.attnums, a.columns, w.attnums, w.classes
	FROM (SELECT x.target, array_agg(x.attnum) AS attnums, array_agg(x.class) AS classes FROM _ward.watch x GROUP BY x.target) w
	JOIN pg_class c ON c.oid = w.target JOIN pg_namespace n ON n.oid = c.relnamespace,
	LATERAL (SELECT array_agg(k.attnum) AS attnums, array_agg(k.attname::text) AS columns
			 FROM pg_attribute k WHERE k.attrelid = c.oid AND k.attnum > 0 AND NOT k.attisdropped) a;
END;
COMMENT ON FUNCTION _ward.scope_described() IS 'descriptions of watched relations, from the trail and as they are now';

-- Was a column watched at some moment of this time, by what the trail says? NULL: it says nothing.
CREATE FUNCTION _ward.scope_was_watched(relation text, subject text, since timestamptz, until timestamptz) RETURNS boolean
	LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH change AS (
		SELECT e.kind = 'watch.added' AS on, e.at, e.position FROM _ward.event e
		WHERE e.kind IN ('watch.added', 'watch.removed')
		  AND e.detail ->> 'relation' = scope_was_watched.relation AND e.detail ->> 'subject' = scope_was_watched.subject
	)
	SELECT coalesce(
		(SELECT true FROM change c WHERE c.at >= scope_was_watched.since AND c.at <= scope_was_watched.until LIMIT 1),
		(SELECT c.on FROM change c WHERE c.at < scope_was_watched.since ORDER BY c.at DESC, c.position DESC LIMIT 1),
		(SELECT NOT c.on FROM change c ORDER BY c.at, c.position LIMIT 1));
END;
COMMENT ON FUNCTION _ward.scope_was_watched(text, text, timestamptz, timestamptz) IS 'was a column watched then?';

-- While statements went on without evidence (ward.on_trail_failure = allow), anybody may
-- have seen all of every watched table: nobody knows whose statements they were. The same
-- holds for times whose evidence was pruned (ward.retention). Only
-- sessions that are known to have begun later can't be among them.
CREATE FUNCTION _ward.scope_gaps(during tstzrange, sessions text[], subject_class text, relations text[])
	RETURNS TABLE (subject_class text, certain boolean, relation bigint, subject_attnum int2, columns_clear int2[],
		columns_sealed int2[], session text, reason text, first_seen timestamptz, last_seen timestamptz,
		first_position bigint, last_position bigint, subjects bytea, statements bytea)
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	WITH gap AS MATERIALIZED (
		SELECT g.* FROM _ward.trail_gaps() g
		WHERE tstzrange(g.since, g.until, '[]') && scope_gaps.during
		  AND (scope_gaps.sessions IS NULL OR EXISTS (
			SELECT FROM unnest(scope_gaps.sessions) s
			WHERE CASE WHEN s ~ '^[0-9a-f]{1,15}\.[0-9a-f]+$'
					THEN to_timestamp(('x' || lpad(split_part(s, '.', 1), 16, '0'))::bit(64)::bigint) <= g.until ELSE true END))
	), watched AS (
		SELECT g.*, w.class, -w.target::oid::bigint AS relation, w.attnum
		FROM gap g, _ward.watch w
		WHERE coalesce(_ward.scope_was_watched(w.target::text, w.subject, g.since, g.until), w.added_at <= g.until)
		  AND (scope_gaps.relations IS NULL
			   OR w.target IN (SELECT i FROM unnest(scope_gaps.relations) k, _ward.scope_relids(k) i))
		UNION ALL
		-- What is no longer watched, by its last description.
		(SELECT DISTINCT ON (g.position, g.node, r.relid, s.attnum) g.*, s.class, r.relation, s.attnum
		FROM gap g, _ward.relation_version r, unnest(r.subject_attnums, r.classes) s(attnum, class)
		WHERE NOT EXISTS (SELECT FROM _ward.watch w WHERE w.target = r.relid AND w.attnum = s.attnum)
		  AND coalesce(_ward.scope_was_watched(format('%I.%I', r.schema_name, r.relation_name),
				r.columns[array_position(r.attnums, s.attnum)], g.since, g.until), true)
		  AND (scope_gaps.relations IS NULL OR r.relation IN (SELECT k FROM _ward.scope_relations(scope_gaps.relations) k))
		ORDER BY g.position, g.node, r.relid, s.attnum, r.relation DESC)
	)
	SELECT w.class, false, w.relation, w.attnum, d.attnums, '{}'::int2[], NULL::text, CASE WHEN w.pruned THEN 'trail.pruned' ELSE 'trail.gap' END,
		   w.since, w.until, w.position, w.position, NULL::bytea, _ward.subject_set('{}')
	FROM watched w JOIN _ward.scope_described() d ON d.relation = w.relation
	WHERE scope_gaps.subject_class IS NULL OR w.class = scope_gaps.subject_class;
END;
COMMENT ON FUNCTION _ward.scope_gaps(tstzrange, text[], text, text[]) IS
	'what may have been disclosed while statements went on without evidence or whose evidence was pruned, like rows of the index';

-- The index's rows that a question means, with what the scope says of them. One
-- place decides what is certain: the row itself, or values of it, left the server or
-- were written; all else is possible, and its reason says why.
CREATE FUNCTION _ward.scope_disclosures(during tstzrange, roles name[], clients inet[], actors text[],
	applications text[], sessions text[], class text, relations text[])
	RETURNS TABLE (subject_class text, certain boolean, relation bigint, subject_attnum int2, columns_clear int2[],
		columns_sealed int2[], session text, reason text, first_seen timestamptz, last_seen timestamptz,
		first_position bigint, last_position bigint, subjects bytea, statements bytea)
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	-- So many conditions on parameters look so selective that a nested loop would be
	-- chosen, and be run over everybody's sessions; and so many partitions so costly that
	-- each would be compiled, which takes far longer than reading them.
	SET enable_nestloop = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	anybody constant boolean := num_nonnulls(scope_disclosures.roles, scope_disclosures.clients, scope_disclosures.actors,
		scope_disclosures.applications, scope_disclosures.sessions) = 0;
	meant constant bigint[] := ARRAY(SELECT k FROM _ward.scope_relations(scope_disclosures.relations) k);
BEGIN
	RETURN QUERY
	WITH asked AS MATERIALIZED (
		SELECT k.* FROM _ward.scope_contexts(scope_disclosures.roles, scope_disclosures.clients, scope_disclosures.actors,
			scope_disclosures.applications, scope_disclosures.sessions) k
	), few AS MATERIALIZED (
		-- These are found by index; where they are more, one scan is less.
		SELECT NOT anybody AND count(*) <= 2000 AS few FROM asked
	)
	SELECT d.subject_class, d.manner IN (1, 6), d.relation, d.subject_attnum, d.columns_clear, d.columns_sealed,
		   c.session,
		   CASE WHEN d.reason <> '' THEN d.reason
				WHEN d.manner = 1 THEN NULL
				ELSE _ward.manner_name(d.manner) END,
		   d.first_at, d.last_at, d.first_position, d.last_position, d.subjects, d.statements
	-- Of the two branches one does not run.
	FROM (
		SELECT x.* FROM _ward.disclosure x
		WHERE NOT (SELECT f.few FROM few f)
		UNION ALL
		SELECT x.* FROM _ward.disclosure x
		WHERE (SELECT f.few FROM few f) AND x.context = ANY (ARRAY(SELECT a.position FROM asked a, few f WHERE f.few))
	) d
	JOIN asked c ON c.node = d.node AND c.position = d.context
	-- The minute prunes partitions; what counts is when the row's first and last
	-- record were written, so that an edge inside a minute widens, never narrows.
	WHERE d.minute >= coalesce(date_trunc('minute', lower(scope_disclosures.during), 'UTC'), '-infinity')
	  AND d.minute <= coalesce(upper(scope_disclosures.during), 'infinity')
	  AND tstzrange(d.first_at, d.last_at, '[]') && scope_disclosures.during
	  AND (scope_disclosures.class IS NULL OR d.subject_class = scope_disclosures.class)
	  AND (scope_disclosures.relations IS NULL OR d.relation = ANY (meant))
	UNION ALL
	SELECT g.* FROM _ward.scope_gaps(scope_disclosures.during, scope_disclosures.sessions, scope_disclosures.class,
		scope_disclosures.relations) g;
END
$$;
COMMENT ON FUNCTION _ward.scope_disclosures(tstzrange, name[], inet[], text[], text[], text[], text, text[]) IS
	'rows of the index that a question means';

-- How the people of a class are known: the kinds of its keys and, of texts, the sealing
-- keys. From what is watched or, of what no longer is, from the dictionary.
CREATE FUNCTION _ward.scope_kinds(class text) RETURNS TABLE (kind text, key integer)
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF to_regclass('_ward.watch') IS NOT NULL THEN
		RETURN QUERY EXECUTE 'SELECT DISTINCT _ward.subject_kind(a.atttypid), k.id
			FROM _ward.watch w JOIN pg_attribute a ON a.attrelid = w.target AND a.attnum = w.attnum
			LEFT JOIN _ward.key k ON k.name = w.key
			WHERE w.class = $1' USING scope_kinds.class;
		IF FOUND THEN
			RETURN;
		END IF;
	END IF;
	RETURN QUERY SELECT DISTINCT CASE k.form WHEN 1 THEN 'uuid' ELSE 'text' END,
			CASE WHEN k.form <> 1 THEN _ward.subject_sealed_key(k.key) END
		FROM _ward.subject_key k WHERE k.class = scope_kinds.class;
	IF NOT FOUND THEN
		RETURN QUERY SELECT 'integer', NULL::integer;
	END IF;
END
$$;
COMMENT ON FUNCTION _ward.scope_kinds(text) IS 'how the people of a class are known';

-- The number of a column's value in subject sets, as an expression; NULL where it has none.
CREATE FUNCTION _ward.scope_number(class text, type oid, expression text) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT CASE
		WHEN _ward.subject_kind(type) = 'integer' THEN format('(%s)::bigint', expression)
		WHEN type IN ('uuid'::regtype, 'sealed_text'::regtype) THEN format('_ward.subject_number(%s)', expression)
		WHEN _ward.subject_kind(type) = 'text' THEN (
			SELECT format('_ward.subject_number(%s, %s)', k.key, expression)
			FROM _ward.scope_kinds(scope_number.class) k WHERE k.key IS NOT NULL LIMIT 1)
		END;
END;
COMMENT ON FUNCTION _ward.scope_number(text, oid, text) IS 'expression for the number of a column''s value in subject sets';

-- A query for the numbers of the people whom a column names in some rows of its table (t),
-- itself or through the table that it refers to. NULL where nobody can be named: also
-- where it used to refer to another table's people and is no longer watched.
CREATE FUNCTION _ward.scope_numbers(target regclass, attname name, class text, restriction text, path oid[]) RETURNS text
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	type oid := (SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = target AND a.attname = scope_numbers.attname AND NOT a.attisdropped);
	watched boolean;
	follows regclass;
	follows_column name;
	everywhere text;
	number text;
BEGIN
	IF to_regclass('_ward.watch') IS NOT NULL THEN
		EXECUTE 'SELECT true, w.follows, w.follows_column FROM _ward.watch w WHERE w.target = $1 AND w.subject = $2 AND w.class = $3'
			INTO watched, follows, follows_column USING target, attname, class;
		IF follows IS NOT NULL THEN
			restriction := format('t.%I IN (SELECT t.%I FROM %s t WHERE %s)', follows_column, attname, target, restriction);
			EXECUTE 'SELECT string_agg(_ward.scope_numbers(w.target, w.subject, w.class, $1, $2), '' UNION ALL '')
				FROM _ward.watch w WHERE w.target = $3 AND w.class = $4 AND (w.follows IS NULL OR NOT w.follows = ANY ($2))'
				INTO everywhere USING restriction, path || target::oid, follows, class;
			RETURN everywhere;
		END IF;
	END IF;
	IF EXISTS (SELECT FROM _ward.event e WHERE e.kind = 'watch.added' AND e.detail ? 'follows' AND watched IS NOT TRUE
	              AND e.detail ->> 'relation' = target::text AND e.detail ->> 'subject' = attname) THEN
		RETURN NULL;
	END IF;
	number := _ward.scope_number(class, type, format('t.%I', attname));
	RETURN CASE WHEN number IS NOT NULL THEN format('SELECT %s FROM %s t WHERE %s', number, target, restriction) END;
END
$$;
COMMENT ON FUNCTION _ward.scope_numbers(regclass, name, text, text, oid[]) IS 'query for the people whom a column names now';

-- Everybody a relation's subject column names now. NULL where the relation or the
-- column is gone. The table is read as it is; its watch records that too.
CREATE FUNCTION _ward.scope_everybody(relation bigint, subject_attnum int2) RETURNS bytea
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	target_column record;
	everybody bytea;
	numbers text;
BEGIN
	SELECT c.oid::regclass AS target, a.attname,
		   r.classes[array_position(r.subject_attnums, scope_everybody.subject_attnum)] AS class INTO target_column
	FROM _ward.relation_version r
	JOIN pg_class c ON c.oid = r.relid
	JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
		AND a.attname = r.columns[array_position(r.attnums, scope_everybody.subject_attnum)]
	WHERE r.relation = scope_everybody.relation;
	IF NOT FOUND THEN
		SELECT w.target, w.subject AS attname, w.class INTO target_column
		FROM _ward.watch w WHERE w.target = (-scope_everybody.relation)::oid AND w.attnum = scope_everybody.subject_attnum;
	END IF;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	numbers := _ward.scope_numbers(target_column.target, target_column.attname, target_column.class, 'true', '{}');
	IF numbers IS NULL THEN
		RETURN NULL;
	END IF;
	EXECUTE format('SELECT _ward.subject_set_agg(n.number) FROM (%s) n(number)', numbers) INTO everybody;
	RETURN everybody;
END
$$;
COMMENT ON FUNCTION _ward.scope_everybody(bigint, int2) IS 'subjects that a watched relation holds now';

-- People with the same answer, as one row each. The query takes the other arguments as
-- $1 to $8; scope/fold.c says which columns it gives.
CREATE FUNCTION _ward.scope_fold(query text, during tstzrange, roles name[], clients inet[], actors text[],
	applications text[], sessions text[], subject_class text, relations text[])
	RETURNS TABLE (subject_class text, certain boolean, columns_clear text[], columns_sealed text[],
		first_seen timestamptz, last_seen timestamptz, statements bigint, sessions text[], reasons text[],
		first_position bigint, last_position bigint, subjects bytea)
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'ward_scope_fold';
COMMENT ON FUNCTION _ward.scope_fold(text, tstzrange, name[], inet[], text[], text[], text[], text, text[]) IS
	'folds disclosures into groups of people with the same answer';

-- Is this a subject class? One that is watched, or of which data was disclosed while it
-- was.
CREATE FUNCTION _ward.scope_class_known(class text) RETURNS boolean
	LANGUAGE plpgsql STABLE STRICT
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	watched boolean := false;
BEGIN
	IF EXISTS (SELECT FROM _ward.relation_version r WHERE scope_class_known.class = ANY (r.classes)) THEN
		RETURN true;
	END IF;
	IF to_regclass('_ward.watch') IS NOT NULL THEN
		EXECUTE 'SELECT EXISTS (SELECT FROM _ward.watch w WHERE w.class = $1)' INTO watched USING scope_class_known.class;
	END IF;
	RETURN watched;
END
$$;
COMMENT ON FUNCTION _ward.scope_class_known(text) IS 'is this a subject class?';

-- Refuses a question that can't be answered, and waits until the index can answer.
CREATE FUNCTION _ward.scope_check(during tstzrange, roles name[], clients inet[], actors text[],
	applications text[], sessions text[], class text, relations text[])
	RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF during IS NULL OR isempty(during) THEN
		RAISE EXCEPTION 'the scope needs a range of time'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = 'The range given is ' || CASE WHEN during IS NULL THEN 'NULL.' ELSE 'empty.' END,
				HINT = 'Give for example tstzrange(''2021-09-01'', ''2021-11-10''), or tstzrange(NULL, NULL) for all time.';
	END IF;
	IF array_position(roles, NULL) IS NOT NULL OR array_position(clients, NULL) IS NOT NULL
		OR array_position(actors, NULL) IS NOT NULL OR array_position(applications, NULL) IS NOT NULL
		OR array_position(sessions, NULL) IS NOT NULL OR array_position(relations, NULL) IS NOT NULL THEN
		RAISE EXCEPTION 'a list in the question contains NULL'
			USING ERRCODE = 'null_value_not_allowed',
				HINT = 'Leave a list out, or give NULL for the whole of it, where anything will do.';
	END IF;
	PERFORM _ward.record_event('scope.asked', ARRAY['during', 'roles', 'clients', 'actors', 'applications', 'sessions', 'class', 'relations'],
		ARRAY[during::text, roles::text, clients::text, actors::text, applications::text, sessions::text, class, relations::text]);
	PERFORM ward.sync();
	IF NOT _ward.scope_class_known(class) THEN
		RAISE EXCEPTION 'there is no subject class "%"', class
			USING ERRCODE = 'undefined_object',
				DETAIL = 'No table is watched with it, and no data of it was disclosed.',
				HINT = 'ward.watches lists the classes that are watched now.';
	END IF;
	PERFORM _ward.scope_check_relations(relations);
END
$$;
COMMENT ON FUNCTION _ward.scope_check(tstzrange, name[], inet[], text[], text[], text[], text, text[]) IS
	'checks a question and waits for the index';

-- What _ward.scope_fold() reads, made from a query that gives disclosures. A row that
-- names nobody stands for everybody who is in its table.
CREATE FUNCTION _ward.scope_query(disclosures text) RETURNS text
	LANGUAGE sql IMMUTABLE
	RETURN 'WITH d AS MATERIALIZED (' || disclosures || $query$
		), everybody AS MATERIALIZED (
			SELECT a.relation, a.subject_attnum, _ward.scope_everybody(a.relation, a.subject_attnum) AS subjects
			FROM (SELECT DISTINCT d.relation, d.subject_attnum FROM d WHERE d.subjects IS NULL) a
		)
		SELECT d.subject_class, d.certain, d.relation, d.columns_clear, d.columns_sealed, d.session, d.reason,
			   d.first_seen, d.last_seen, _ward.subject_set_count(d.statements), d.first_position, d.last_position,
			   coalesce(d.subjects, e.subjects)
		FROM d
		LEFT JOIN everybody e
			ON d.subjects IS NULL AND e.relation = d.relation AND e.subject_attnum = d.subject_attnum
		$query$;
COMMENT ON FUNCTION _ward.scope_query(text) IS 'query for _ward.scope_fold() over a query that gives disclosures';

-- Groups of people with the same answer. Call _ward.scope_check() in a statement before
-- this one, so that this one's snapshot sees what was waited for.
CREATE FUNCTION _ward.scope_groups(during tstzrange, roles name[], clients inet[], actors text[],
	applications text[], sessions text[], subject_class text, relations text[])
	RETURNS TABLE (subject_class text, certain boolean, columns_clear text[], columns_sealed text[],
		first_seen timestamptz, last_seen timestamptz, statements bigint, sessions text[], reasons text[],
		first_position bigint, last_position bigint, subjects bytea)
	LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT * FROM _ward.scope_fold(
		_ward.scope_query('SELECT * FROM _ward.scope_disclosures($1, $2, $3, $4, $5, $6, $7, $8)'), $1, $2, $3, $4, $5, $6, $7, $8)
$$;
COMMENT ON FUNCTION _ward.scope_groups(tstzrange, name[], inet[], text[], text[], text[], text, text[]) IS
	'disclosures that a question means, folded into groups of people';

REVOKE ALL ON FUNCTION
	_ward.scope_contexts(name[], inet[], text[], text[], text[]),
	_ward.scope_relids(text), _ward.scope_relations(text[]), _ward.scope_check_relations(text[]),
	_ward.scope_described(), _ward.scope_was_watched(text, text, timestamptz, timestamptz),
	_ward.scope_gaps(tstzrange, text[], text, text[]),
	_ward.scope_disclosures(tstzrange, name[], inet[], text[], text[], text[], text, text[]),
	_ward.scope_kinds(text),
	_ward.scope_number(text, oid, text),
	_ward.scope_numbers(regclass, name, text, text, oid[]),
	_ward.scope_everybody(bigint, int2),
	_ward.scope_fold(text, tstzrange, name[], inet[], text[], text[], text[], text, text[]),
	_ward.scope_class_known(text),
	_ward.scope_query(text),
	_ward.scope_check(tstzrange, name[], inet[], text[], text[], text[], text, text[]),
	_ward.scope_groups(tstzrange, name[], inet[], text[], text[], text[], text, text[])
	FROM PUBLIC;
