-- scope: the questions that a responder asks.

CREATE FUNCTION ward.breach_scope(during tstzrange, roles name[] DEFAULT NULL, clients inet[] DEFAULT NULL,
	actors text[] DEFAULT NULL, applications text[] DEFAULT NULL, sessions text[] DEFAULT NULL,
	subject_class text DEFAULT NULL, relations text[] DEFAULT NULL)
	RETURNS TABLE (subject_class text, subject text, subject_id bigint, verdict text, columns_clear text[],
		columns_sealed text[], first_seen timestamptz, last_seen timestamptz, statements bigint, sessions text[],
		reasons text[], first_position bigint, last_position bigint)
	LANGUAGE c VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'ward_breach_scope';
COMMENT ON FUNCTION ward.breach_scope(tstzrange, name[], inet[], text[], text[], text[], text, text[]) IS
	'whose data was disclosed: one row a person; certain where the row left the server or was written, possible where it only had a part in an answer';

-- Reads a question's disclosures once, folds them, and tells what a query over both says:
-- `disclosed` has the columns of _ward.scope_disclosures(), `grouped` those of
-- _ward.scope_groups().
CREATE FUNCTION _ward.scope_summarise(disclosures text, folded text, query text, during tstzrange, roles name[], clients inet[],
	actors text[], applications text[], sessions text[], subject_class text, relations text[])
	RETURNS TABLE (subject_class text, verdict text, people bigint, people_clear bigint, people_only_sealed bigint,
		columns_clear text[], columns_sealed text[], first_seen timestamptz, last_seen timestamptz,
		statements bigint, sessions bigint, reasons text[], note text)
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'ward_scope_summarise';
COMMENT ON FUNCTION _ward.scope_summarise(text, text, text, tstzrange, name[], inet[], text[], text[], text[], text, text[]) IS
	'what a query says over a question''s disclosures and over the people they are folded into';

CREATE FUNCTION ward.breach_summary(during tstzrange, roles name[] DEFAULT NULL, clients inet[] DEFAULT NULL,
	actors text[] DEFAULT NULL, applications text[] DEFAULT NULL, sessions text[] DEFAULT NULL,
	subject_class text DEFAULT NULL, relations text[] DEFAULT NULL)
	RETURNS TABLE (subject_class text, verdict text, people bigint, people_clear bigint, people_only_sealed bigint,
		columns_clear text[], columns_sealed text[], first_seen timestamptz, last_seen timestamptz,
		statements bigint, sessions bigint, reasons text[], note text)
	LANGUAGE sql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	-- Compiling it takes longer than running it.
	SET jit = off
AS $$
	SELECT _ward.scope_check($1, $2, $3, $4, $5, $6, $7, $8);
	SELECT * FROM _ward.scope_summarise('SELECT * FROM _ward.scope_disclosures($1, $2, $3, $4, $5, $6, $7, $8)',
		_ward.scope_query('SELECT * FROM disclosed'), $query$
	-- A subject column says whose row it is, not what is in it: by itself it is no
	-- column seen in clear.
	WITH key AS MATERIALIZED (
		SELECT coalesce(array_agg(DISTINCT k), '{}') AS names
		FROM _ward.scope_described() r,
			unnest(_ward.column_names(r.schema_name, r.relation_name, r.attnums, r.columns, r.subject_attnums)) k
	), people AS (
		SELECT g.subject_class, g.certain, sum(_ward.subject_set_count(g.subjects))::bigint AS people,
			   coalesce(sum(_ward.subject_set_count(g.subjects)) FILTER (WHERE NOT g.columns_clear <@ key.names), 0)::bigint AS clear,
			   coalesce(sum(_ward.subject_set_count(g.subjects))
				   FILTER (WHERE g.columns_clear <@ key.names AND g.columns_sealed <> '{}'), 0)::bigint AS sealed,
			   min(g.first_seen) AS first_seen, max(g.last_seen) AS last_seen
		FROM grouped g, key GROUP BY g.subject_class, g.certain
	), per_session AS (
		SELECT d.subject_class, d.certain, d.session, _ward.subject_set_count(_ward.subject_set_union(d.statements)) AS statements
		FROM disclosed d GROUP BY d.subject_class, d.certain, d.session
	), traffic AS (
		SELECT p.subject_class, p.certain, sum(p.statements)::bigint AS statements, count(p.session) AS sessions
		FROM per_session p GROUP BY p.subject_class, p.certain
	), whole AS MATERIALIZED (
		-- Nobody may take an answer from a trail that was tampered with for the truth, least
		-- of all an empty one.
		SELECT nullif(concat_ws('; ', _ward.scope_distrust(),
			(SELECT string_agg(format('the trail of standby %s is not to be relied upon, so who read what there may be missing: %s', s.name, s.why),
				'; ' ORDER BY s.name) FROM _ward.scope_standby_distrust() s)), '') AS distrust
	), unnamed AS (
		SELECT d.subject_class, d.certain, count(*) FILTER (WHERE d.subjects IS NULL AND coalesce(d.reason, '') NOT IN ('trail.gap', 'trail.pruned')) AS rows,
			   count(*) FILTER (WHERE d.reason IN ('null_key', 'dangling_key')) AS keyless,
			   count(*) FILTER (WHERE d.reason = 'trail.gap') AS gaps,
			   count(*) FILTER (WHERE d.reason = 'trail.pruned') AS pruned
		FROM disclosed d GROUP BY d.subject_class, d.certain
	)
	SELECT t.subject_class, CASE WHEN t.certain THEN 'certain' WHEN NOT t.certain THEN 'possible' ELSE 'unknown' END,
		   coalesce(p.people, 0), coalesce(p.clear, 0), coalesce(p.sealed, 0),
		   ARRAY(SELECT DISTINCT k FROM grouped g, unnest(g.columns_clear) k
				 WHERE g.subject_class = t.subject_class AND g.certain = t.certain ORDER BY k),
		   ARRAY(SELECT DISTINCT k FROM grouped g, unnest(g.columns_sealed) k
				 WHERE g.subject_class = t.subject_class AND g.certain = t.certain ORDER BY k),
		   p.first_seen, p.last_seen, t.statements, t.sessions,
		   ARRAY(SELECT DISTINCT k FROM grouped g, unnest(g.reasons) k
				 WHERE g.subject_class = t.subject_class AND g.certain = t.certain ORDER BY k),
		   nullif(concat_ws('; ', x.distrust,
			   CASE WHEN u.gaps > 0
					THEN 'statements went on without evidence, by nobody knows whom: all who are in the watched tables now are counted' END,
			   CASE WHEN u.pruned > 0
					THEN 'evidence of this time was pruned (ward.retention): all who are in the tables that were watched then are counted' END,
			   CASE WHEN u.rows > 0
					THEN 'read on a path that names nobody: all who are in the table now are counted; whoever was deleted since is not' END,
			   CASE WHEN u.keyless > 0
					THEN 'rows were read that name nobody, because their key is NULL or leads to no row' END,
			   (SELECT format('%s blind spots touch this time: see ward.blind_spots', count(*))
				FROM _ward.blind_spots_in($1) b
				WHERE b.widens AND ($2 IS NULL OR b.role IS NULL OR b.role = ANY ($2))
				  AND ($6 IS NULL OR b.session IS NULL OR b.session = ANY ($6))
				HAVING count(*) > 0)), '')
	FROM whole x
	LEFT JOIN traffic t ON true
	LEFT JOIN people p ON p.subject_class = t.subject_class AND p.certain = t.certain
	LEFT JOIN unnamed u ON u.subject_class = t.subject_class AND u.certain = t.certain
	WHERE t.subject_class IS NOT NULL OR x.distrust IS NOT NULL
	ORDER BY t.subject_class, t.certain DESC
	$query$, $1, $2, $3, $4, $5, $6, $7, $8)
$$;
COMMENT ON FUNCTION ward.breach_summary(tstzrange, name[], inet[], text[], text[], text[], text, text[]) IS
	'how many people, which columns, when: one row for each subject class and verdict; the note says what limits the answer, also that the trail does not verify';

CREATE FUNCTION ward.subject_history(class text, subject bigint)
	RETURNS TABLE (first_seen timestamptz, last_seen timestamptz, session text, role name, current_role_name name,
		actor text, application text, client inet, node text, relation text, verdict text, manner text, reason text,
		columns_clear text[], columns_sealed text[], statements bigint, statement text,
		first_position bigint, last_position bigint)
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	-- People are found by index, a few rows in each of many partitions: estimates would have
	-- all sessions and statements read, and the plan compiled.
	SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
	-- The trail's text is for auditors. Inside this function current_user is its owner, so
	-- the caller is whom SET ROLE named, or else who logged in.
	auditor boolean := pg_has_role(CASE current_setting('role') WHEN 'none' THEN session_user
		ELSE current_setting('role')::name END, 'ward_auditor', 'USAGE');
	own text := _ward.own_node();
BEGIN
	IF class IS NULL OR subject IS NULL THEN
		RAISE EXCEPTION 'the history needs a subject class and a subject'
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	PERFORM _ward.record_event('scope.asked', ARRAY['what', 'class', 'number'], ARRAY['history', class, subject::text]);
	PERFORM ward.sync();
	IF NOT _ward.scope_class_known(class) THEN
		RAISE EXCEPTION 'there is no subject class "%"', class
			USING ERRCODE = 'undefined_object',
				DETAIL = 'No table is watched with it, and no data of it was disclosed.',
				HINT = 'ward.watches lists the classes that are watched now.';
	END IF;
	RETURN QUERY
	WITH seen AS MATERIALIZED (
		SELECT x.* FROM _ward.disclosure x
		WHERE x.subjects OPERATOR(_ward.@>) subject_history.subject AND x.subject_class = subject_history.class
		UNION ALL
		SELECT x.* FROM _ward.disclosure x WHERE x.subjects IS NULL AND x.subject_class = subject_history.class
	)
	SELECT d.first_at, d.last_at, c.session, c.session_role, c.current_role_name, c.actor, c.application, c.client,
		   CASE WHEN d.node <> own THEN coalesce(b.name, d.node) END, format('%I.%I', r.schema_name, r.relation_name),
		   CASE WHEN d.manner IN (1, 6) THEN 'certain' ELSE 'possible' END, _ward.manner_name(d.manner), d.reason,
		   _ward.column_names(r.schema_name, r.relation_name, r.attnums, r.columns, d.columns_clear),
		   _ward.column_names(r.schema_name, r.relation_name, r.attnums, r.columns, d.columns_sealed),
		   _ward.subject_set_count(d.statements), CASE WHEN auditor THEN s.text END,
		   d.first_position, d.last_position
	FROM seen d
	JOIN _ward.context c ON c.node = d.node AND c.position = d.context
	JOIN _ward.relation_version r ON r.relation = d.relation
	LEFT JOIN _ward.statement s ON s.fingerprint = d.fingerprint
	LEFT JOIN _ward.standby b ON b.node = d.node
	UNION ALL
	SELECT g.first_seen, g.last_seen, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
		   format('%I.%I', r.schema_name, r.relation_name), 'possible', _ward.manner_name(5::int2), g.reason,
		   _ward.column_names(r.schema_name, r.relation_name, r.attnums, r.columns, g.columns_clear), '{}',
		   0, NULL, g.first_position, g.last_position
	FROM _ward.scope_gaps(tstzrange(NULL, NULL), NULL, subject_history.class, NULL) g
	JOIN _ward.scope_described() r ON r.relation = g.relation
	ORDER BY 1, 18;
END
$$;
COMMENT ON FUNCTION ward.subject_history(text, bigint) IS
	'everyone who saw this person: when, from where, on which standby (NULL: on this server), which columns; the statement''s text for auditors only';

CREATE FUNCTION ward.subject_history(class text, subject text)
	RETURNS TABLE (first_seen timestamptz, last_seen timestamptz, session text, role name, current_role_name name,
		actor text, application text, client inet, node text, relation text, verdict text, manner text, reason text,
		columns_clear text[], columns_sealed text[], statements bigint, statement text,
		first_position bigint, last_position bigint)
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	k record;
	number bigint;
BEGIN
	IF class IS NULL OR subject IS NULL THEN
		RAISE EXCEPTION 'the history needs a subject class and a subject'
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	PERFORM ward.sync();
	FOR k IN SELECT * FROM _ward.scope_kinds(subject_history.class) LOOP
		IF k.kind = 'integer' AND subject !~ '^\s*[-+]?[0-9]+\s*$' THEN
			RAISE EXCEPTION 'subjects of class "%" are whole numbers', class
				USING ERRCODE = 'invalid_text_representation', HINT = 'Give the number of its row.';
		END IF;
		number := CASE k.kind WHEN 'integer' THEN subject::bigint
			WHEN 'uuid' THEN _ward.subject_number(subject::uuid)
			ELSE _ward.subject_number(k.key, subject) END;
		RETURN QUERY SELECT * FROM ward.subject_history(subject_history.class, number);
	END LOOP;
END
$$;
COMMENT ON FUNCTION ward.subject_history(text, text) IS
	'the same for a subject given as text, as ward.breach_scope() prints it';

REVOKE ALL ON FUNCTION
	_ward.scope_summarise(text, text, text, tstzrange, name[], inet[], text[], text[], text[], text, text[]),
	ward.breach_scope(tstzrange, name[], inet[], text[], text[], text[], text, text[]),
	ward.breach_summary(tstzrange, name[], inet[], text[], text[], text[], text, text[]),
	ward.subject_history(text, bigint), ward.subject_history(text, text)
	FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	ward.breach_scope(tstzrange, name[], inet[], text[], text[], text[], text, text[]),
	ward.breach_summary(tstzrange, name[], inet[], text[], text[], text[], text, text[]),
	ward.subject_history(text, bigint), ward.subject_history(text, text)
	TO ward_officer, ward_auditor, ward_analyst;
