-- seal: the plan of a conversion, continued: views, policies, triggers, defaults, and
-- all that can't be carried.

-- Gives a view, or a column of it, the privileges that it had, whatever the defaults
-- of whoever creates it.
CREATE FUNCTION _ward.restore_acl(view regclass, acl aclitem[], column_name name DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	col text := CASE WHEN column_name IS NULL THEN '' ELSE pg_catalog.format(' (%I)', column_name) END;
	entry record;
BEGIN
	IF column_name IS NULL THEN
		-- Never granted anything, and no default grants now: nothing to do.
		IF acl IS NULL AND (SELECT c.relacl IS NULL FROM pg_catalog.pg_class c WHERE c.oid = view) THEN
			RETURN;
		END IF;
		FOR entry IN
			SELECT DISTINCT e.grantee FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) e WHERE c.oid = view
		LOOP
			EXECUTE pg_catalog.format('REVOKE ALL ON TABLE %s FROM %s', view,
			                          CASE entry.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(entry.grantee)) END);
		END LOOP;
	END IF;
	FOR entry IN
		SELECT e.* FROM pg_catalog.pg_class c, pg_catalog.aclexplode(coalesce(acl, pg_catalog.acldefault('r', c.relowner))) e WHERE c.oid = view
	LOOP
		EXECUTE pg_catalog.format('GRANT %s%s ON TABLE %s TO %s%s', entry.privilege_type, col, view,
		                          CASE entry.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(entry.grantee)) END,
		                          CASE WHEN entry.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION _ward.restore_acl(regclass, aclitem[], name) FROM PUBLIC;

CREATE FUNCTION _ward.try_view(view regclass) RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_protect_try_view';
REVOKE ALL ON FUNCTION _ward.try_view(regclass) FROM PUBLIC;

-- All that a view is but its query: owner, privileges, comments, triggers, rules.
CREATE FUNCTION _ward.view_pieces(view regclass) RETURNS _ward.protect_piece[]
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
SELECT coalesce(pg_catalog.array_agg(p.piece ORDER BY p.place, p.at), '{}') FROM (
	SELECT 1 AS place, 0::oid AS at, _ward.plain(pg_catalog.format('ALTER VIEW %s OWNER TO %I', view, pg_catalog.pg_get_userbyid(c.relowner))) AS piece
	  FROM pg_catalog.pg_class c WHERE c.oid = view
	UNION ALL
	SELECT 2, 0, _ward.plain(pg_catalog.format('SELECT _ward.restore_acl(%L, %L)', view, c.relacl))
	  FROM pg_catalog.pg_class c WHERE c.oid = view
	UNION ALL
	SELECT 3, a.attnum::integer::oid, _ward.plain(pg_catalog.format('SELECT _ward.restore_acl(%L, %L, %L)', view, a.attacl, a.attname))
	  FROM pg_catalog.pg_attribute a WHERE a.attrelid = view AND a.attacl IS NOT NULL
	UNION ALL
	SELECT 4, 0, p FROM pg_catalog.unnest(_ward.comment_pieces('VIEW ' || view, 'pg_class'::regclass, view)) p
	UNION ALL
	SELECT 5, a.attnum::integer::oid, p FROM pg_catalog.pg_attribute a,
	       pg_catalog.unnest(_ward.comment_pieces(pg_catalog.format('COLUMN %s.%I', view, a.attname), 'pg_class'::regclass, view, a.attnum)) p
	 WHERE a.attrelid = view AND a.attnum > 0
	UNION ALL
	SELECT 6, t.oid, _ward.plain(pg_catalog.pg_get_triggerdef(t.oid)) FROM pg_catalog.pg_trigger t WHERE t.tgrelid = view AND NOT t.tgisinternal
	UNION ALL
	SELECT 7, t.oid, p FROM pg_catalog.pg_trigger t,
	       pg_catalog.unnest(_ward.comment_pieces(pg_catalog.format('TRIGGER %I ON %s', t.tgname, view), 'pg_trigger'::regclass, t.oid)) p
	 WHERE t.tgrelid = view AND NOT t.tgisinternal
	UNION ALL
	SELECT 8, r.oid, _ward.plain(pg_catalog.rtrim(pg_catalog.pg_get_ruledef(r.oid), ';')) FROM pg_catalog.pg_rewrite r
	 WHERE r.ev_class = view AND r.rulename <> '_RETURN'
	UNION ALL
	SELECT 9, r.oid, p FROM pg_catalog.pg_rewrite r,
	       pg_catalog.unnest(_ward.comment_pieces(pg_catalog.format('RULE %I ON %s', r.rulename, view), 'pg_rewrite'::regclass, r.oid)) p
	 WHERE r.ev_class = view AND r.rulename <> '_RETURN'
	UNION ALL
	SELECT 10, 0, _ward.plain(pg_catalog.format('SELECT _ward.try_view(%L)', view))) p
$$;
REVOKE ALL ON FUNCTION _ward.view_pieces(regclass) FROM PUBLIC;

-- Views that read the columns, and views over those, by how far they are away.
CREATE FUNCTION _ward.protect_views(columns _ward.protect_column[], OUT view oid, OUT depth integer) RETURNS SETOF record
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
WITH RECURSIVE used AS (
	SELECT r.ev_class AS view, 1 AS depth
	  FROM pg_catalog.unnest(columns) c
	  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
	   AND d.refobjid = c.relation AND d.refobjsubid = c.attnum
	  JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND r.rulename = '_RETURN'
	UNION
	SELECT r.ev_class, u.depth + 1
	  FROM used u
	  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
	   AND d.refobjid = u.view AND d.deptype = 'n'
	  JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND r.rulename = '_RETURN' AND r.ev_class <> u.view
	 WHERE u.depth < 100)
SELECT u.view, pg_catalog.max(u.depth) FROM used u GROUP BY u.view ORDER BY 2, 1
$$;
REVOKE ALL ON FUNCTION _ward.protect_views(_ward.protect_column[]) FROM PUBLIC;

CREATE FUNCTION _ward.protect_view_steps(columns _ward.protect_column[], opening boolean) RETURNS SETOF _ward.protect_step
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	v record;
	other record;
	step _ward.protect_step;
	views oid[] := ARRAY(SELECT w.view FROM _ward.protect_views(columns) w);
BEGIN
	FOR v IN
		SELECT w.view, w.depth, r.relkind, r.relpersistence, r.reltype, t.typarray, r.reloptions, w.view::regclass AS name,
		       (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum)
		          FROM pg_catalog.pg_attribute a WHERE a.attrelid = w.view AND a.attnum > 0) AS attnames
		  FROM _ward.protect_views(columns) w
		  JOIN pg_catalog.pg_class r ON r.oid = w.view
		  LEFT JOIN pg_catalog.pg_type t ON t.oid = r.reltype
		 ORDER BY w.depth, w.view
	LOOP
		step := NULL;
		step.rank := 1000 + v.depth;
		step.object := pg_catalog.pg_describe_object('pg_class'::regclass, v.view, 0);
		step.remove := ARRAY[pg_catalog.format('DROP VIEW %s', v.name)];
		step.restore := '{}';
		step.action := 'refuse';
		IF v.relkind = 'm' THEN
			step.what_to_do := CASE WHEN opening THEN 'drop this materialized view, and create it again afterwards'
				ELSE 'drop this materialized view: it is a copy in clear; one created afterwards keeps the column sealed' END;
		ELSIF v.relpersistence = 't' THEN
			step.what_to_do := 'drop this temporary view';
		ELSIF EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = v.view AND d.deptype IN ('e', 'x')) THEN
			step.what_to_do := 'it belongs to an extension: drop that, and create it again afterwards';
		ELSIF EXISTS (SELECT FROM pg_catalog.pg_seclabel l WHERE l.classoid = 'pg_class'::regclass AND l.objoid = v.view) THEN
			step.what_to_do := 'it has a security label: drop the view, and create it again afterwards';
		ELSIF EXISTS (SELECT FROM pg_catalog.pg_attrdef a WHERE a.adrelid = v.view) THEN
			step.what_to_do := 'a column of it has a default of its own: drop the view, and create it again afterwards';
		ELSIF EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = v.view AND r.rulename <> '_RETURN'
		                AND (r.ev_enabled <> 'O' OR pg_catalog.pg_get_ruledef(r.oid) ~ '''')) THEN
			step.what_to_do := 'a rule on it is disabled or holds literals: drop the view, and create it again afterwards';
		ELSE
			step.action := 'carry';
			step.what_to_do := CASE WHEN opening THEN 'created again'
				ELSE 'created again, literals that meet the column sealed; what opens the column in it needs the right to' END;
			step.restore := ROW(pg_catalog.format('CREATE VIEW %s (%s)%s AS ', v.name, v.attnames,
			                                      CASE WHEN v.reloptions IS NULL THEN '' ELSE pg_catalog.format(' WITH (%s)', pg_catalog.array_to_string(v.reloptions, ', ')) END),
			                    'q', pg_catalog.rtrim(pg_catalog.pg_get_viewdef(v.view), ';'), NULL, NULL, '')::_ward.protect_piece
				|| _ward.view_pieces(v.view);
		END IF;
		RETURN NEXT step;
		-- What hangs on the view would hinder its drop.
		CONTINUE WHEN step.action = 'refuse';
		FOR other IN
			SELECT DISTINCT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) AS object
			  FROM pg_catalog.pg_depend d
			  LEFT JOIN pg_catalog.pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
			  LEFT JOIN pg_catalog.pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
			 WHERE ((d.refclassid = 'pg_class'::regclass AND d.refobjid = v.view)
			        OR (d.refclassid = 'pg_type'::regclass AND d.refobjid IN (v.reltype, v.typarray)))
			   AND d.deptype <> 'i' AND NOT coalesce(r.ev_class = ANY (views) AND (r.rulename = '_RETURN' OR r.ev_class = v.view), false)
			   AND t.tgrelid IS DISTINCT FROM v.view
		LOOP
			step := ROW(1000, other.object, 'refuse', pg_catalog.format('it depends on view %s, which must be created again: drop it first', v.name), '{}', '{}')::_ward.protect_step;
			RETURN NEXT step;
		END LOOP;
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION _ward.protect_view_steps(_ward.protect_column[], boolean) FROM PUBLIC;

CREATE FUNCTION _ward.protect_policy_step(policy oid, columns _ward.protect_column[], opening boolean) RETURNS _ward.protect_step
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	p record;
	step _ward.protect_step;
	tagged boolean;
BEGIN
	SELECT o.*, o.polrelid::regclass AS relation, o.polqual::text AS qual, o.polwithcheck::text AS with_check,
	       (SELECT pg_catalog.string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(r)) END, ', ')
	          FROM pg_catalog.unnest(o.polroles) r) AS roles
	  INTO p FROM pg_catalog.pg_policy o WHERE o.oid = policy;
	SELECT coalesce(pg_catalog.bool_and(coalesce(_ward.literal_by_tag(p.qual, c.attnum), true)
	                                    AND coalesce(_ward.literal_by_tag(p.with_check, c.attnum), true)), false)
	  INTO tagged FROM pg_catalog.unnest(columns) c WHERE c.relation = p.polrelid;
	step.rank := 300;
	step.object := pg_catalog.pg_describe_object('pg_policy'::regclass, policy, 0);
	step.action := 'carry';
	step.what_to_do := CASE WHEN opening THEN 'created again'
		WHEN tagged THEN 'created again, its literals sealed'
		ELSE 'created again over opened values: whom it concerns must be able to open the key' END;
	step.remove := ARRAY[pg_catalog.format('DROP POLICY %I ON %s', p.polname, p.relation)];
	step.restore := ARRAY[_ward.plain(pg_catalog.format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', p.polname, p.relation,
			CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
			CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END, p.roles))];
	IF p.qual IS NOT NULL THEN
		step.restore := step.restore || ROW(pg_catalog.format('ALTER POLICY %I ON %s USING (', p.polname, p.relation), 'e',
		                                    pg_catalog.pg_get_expr(p.polqual, p.polrelid), p.polrelid, NULL, ')')::_ward.protect_piece;
	END IF;
	IF p.with_check IS NOT NULL THEN
		step.restore := step.restore || ROW(pg_catalog.format('ALTER POLICY %I ON %s WITH CHECK (', p.polname, p.relation), 'e',
		                                    pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), p.polrelid, NULL, ')')::_ward.protect_piece;
	END IF;
	step.restore := step.restore || _ward.comment_pieces(pg_catalog.format('POLICY %I ON %s', p.polname, p.relation), 'pg_policy'::regclass, policy);
	RETURN step;
END
$$;
CREATE FUNCTION _ward.protect_trigger_step(trigger_oid oid, opening boolean) RETURNS _ward.protect_step
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	t record;
	step _ward.protect_step;
	condition text;
	clause text;
	place integer;
BEGIN
	SELECT g.*, g.tgrelid::regclass AS relation, pg_catalog.pg_get_triggerdef(g.oid) AS definition
	  INTO t FROM pg_catalog.pg_trigger g WHERE g.oid = trigger_oid;
	step.rank := 200;
	step.object := pg_catalog.pg_describe_object('pg_trigger'::regclass, trigger_oid, 0);
	condition := _ward.literal_condition(t.tgrelid, t.tgqual::text, NULL);
	clause := 'WHEN (' || condition || ') EXECUTE FUNCTION ';
	place := pg_catalog.strpos(t.definition, clause);
	-- Also a name or an argument could read like it: then it is there twice.
	IF place = 0 OR pg_catalog.strpos(pg_catalog.substr(t.definition, place + 1), clause) > 0 THEN
		step.action := 'refuse';
		step.what_to_do := 'drop this trigger, and create it again afterwards: its condition can not be changed';
		RETURN step;
	END IF;
	step.action := 'carry';
	step.what_to_do := CASE WHEN t.tgqual IS NULL OR opening THEN 'created again'
		ELSE 'created again, its literals sealed; what opens the column in its condition needs the right to' END;
	step.remove := ARRAY[pg_catalog.format('DROP TRIGGER %I ON %s', t.tgname, t.relation)];
	step.restore := CASE WHEN t.tgqual IS NULL THEN ARRAY[_ward.plain(t.definition)]
		ELSE ARRAY[ROW(pg_catalog.left(t.definition, place + 5), 't', condition, t.tgrelid, NULL,
		               pg_catalog.substr(t.definition, place + 6 + pg_catalog.length(condition)))::_ward.protect_piece] END
		|| CASE WHEN t.tgenabled <> 'O'
		        THEN _ward.plain(pg_catalog.format('ALTER TABLE %s %s TRIGGER %I', t.relation,
		                         CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, t.tgname)) END
		|| _ward.comment_pieces(pg_catalog.format('TRIGGER %I ON %s', t.tgname, t.relation), 'pg_trigger'::regclass, trigger_oid);
	RETURN step;
END
$$;
REVOKE ALL ON FUNCTION _ward.protect_policy_step(oid, _ward.protect_column[], boolean), _ward.protect_trigger_step(oid, boolean) FROM PUBLIC;

-- Everything that depends on a column and is no index, constraint or view.
CREATE FUNCTION _ward.protect_other_steps(columns _ward.protect_column[], opening boolean) RETURNS SETOF _ward.protect_step
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	d record;
	step _ward.protect_step;
	views oid[] := ARRAY(SELECT w.view FROM _ward.protect_views(columns) w);
BEGIN
	FOR d IN
		SELECT DISTINCT p.classid, p.objid, p.objsubid, r.relkind, c.relation, c.attnum, c.name, f.adnum, f.oid AS default_oid, w.rulename, w.ev_class, g.tgparentid, a.atttypid,
		       coalesce(s.base_type, _ward.base_type(a.atttypid)) AS base, c.relation::regclass AS relation_name,
		       pg_catalog.pg_describe_object(p.classid, p.objid, p.objsubid) AS object
		  FROM pg_catalog.unnest(columns) c
		  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.relation AND a.attnum = c.attnum
		  JOIN pg_catalog.pg_depend p ON p.refclassid = 'pg_class'::regclass AND p.refobjid = c.relation AND p.refobjsubid = c.attnum
		  LEFT JOIN _ward.sealed_column s ON s.relation = c.root AND s.column_name = c.name
		  LEFT JOIN pg_catalog.pg_class r ON p.classid = 'pg_class'::regclass AND r.oid = p.objid
		  LEFT JOIN pg_catalog.pg_attrdef f ON p.classid = 'pg_attrdef'::regclass AND f.oid = p.objid
		  LEFT JOIN pg_catalog.pg_rewrite w ON p.classid = 'pg_rewrite'::regclass AND w.oid = p.objid
		  LEFT JOIN pg_catalog.pg_trigger g ON p.classid = 'pg_trigger'::regclass AND g.oid = p.objid
		 WHERE _ward.is_sealed(a.atttypid) = opening
		   -- A partition key is the column's own matter.
		   AND NOT (p.classid = 'pg_class'::regclass AND p.objid = p.refobjid)
		 ORDER BY p.classid, p.objid
	LOOP
		step := NULL;
		step.rank := 50;
		step.object := d.object;
		step.action := 'refuse';
		step.remove := '{}';
		step.restore := '{}';
		IF d.relkind IN ('i', 'I', 'S') OR d.classid = 'pg_constraint'::regclass THEN
			CONTINUE;
		ELSIF d.rulename = '_RETURN' OR d.ev_class = ANY (views) THEN
			CONTINUE;
		ELSIF d.default_oid IS NOT NULL AND d.adnum = d.attnum THEN
			step.action := 'carry';
			step.what_to_do := CASE WHEN opening THEN 'set again' ELSE 'set again, its literals sealed' END;
			step.remove := ARRAY[pg_catalog.format('ALTER TABLE ONLY %s ALTER COLUMN %I DROP DEFAULT', d.relation_name, d.name)];
			step.restore := ARRAY[ROW(pg_catalog.format('ALTER TABLE ONLY %s ALTER COLUMN %I SET DEFAULT ', d.relation_name, d.name), 'd',
			                          (SELECT pg_catalog.pg_get_expr(f.adbin, f.adrelid) FROM pg_catalog.pg_attrdef f WHERE f.oid = d.default_oid),
			                          d.relation, CASE WHEN opening THEN d.base ELSE d.atttypid END, '')::_ward.protect_piece];
		ELSIF d.default_oid IS NOT NULL THEN
			step.what_to_do := 'drop this generated column: what it computes would lie in it in clear';
		ELSIF d.classid = 'pg_policy'::regclass THEN
			step := _ward.protect_policy_step(d.objid, columns, opening);
		ELSIF d.classid = 'pg_trigger'::regclass THEN
			CONTINUE WHEN d.tgparentid <> 0;
			step := _ward.protect_trigger_step(d.objid, opening);
		ELSIF d.classid = 'pg_rewrite'::regclass THEN
			step.what_to_do := 'drop this rule, and create it again afterwards';
		ELSIF d.classid = 'pg_statistic_ext'::regclass THEN
			step.what_to_do := CASE WHEN opening THEN 'drop these statistics, and create them again afterwards'
				ELSE 'drop these statistics: they keep values of the column in clear' END;
		ELSIF d.classid = 'pg_publication_rel'::regclass THEN
			step.what_to_do := 'drop the table from the publication, or publish it without column list and row filter';
		ELSIF d.classid = 'pg_proc'::regclass THEN
			step.what_to_do := 'drop this function, and create it again afterwards: its body is bound to the column''s type';
		ELSE
			step.what_to_do := 'it depends on the column: drop it first';
		END IF;
		RETURN NEXT step;
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION _ward.protect_other_steps(_ward.protect_column[], boolean) FROM PUBLIC;

-- The whole plan. An index may be met through two columns: refusals win.
CREATE FUNCTION _ward.protect_steps(target oid, column_name name, key text, opening boolean) RETURNS SETOF _ward.protect_step
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	columns _ward.protect_column[] := ARRAY(SELECT c FROM _ward.protect_columns(target, column_name) c);
	search text;
BEGIN
	SELECT k.search INTO search FROM _ward.key k WHERE k.name = key;
	RETURN QUERY
		SELECT o.rank, o.object, o.action, o.what_to_do, o.remove, o.restore FROM (
			SELECT DISTINCT ON (s.object) s.* FROM (
				SELECT * FROM _ward.protect_column_steps(columns, key, opening)
				UNION ALL SELECT * FROM _ward.protect_index_steps(columns, search, opening)
				UNION ALL SELECT * FROM _ward.protect_trigram_steps(columns, search, opening)
				UNION ALL SELECT * FROM _ward.protect_constraint_steps(columns, search, opening)
				UNION ALL SELECT * FROM _ward.protect_view_steps(columns, opening)
				UNION ALL SELECT * FROM _ward.protect_other_steps(columns, opening)) s
			 ORDER BY s.object, s.action <> 'refuse') o
		 ORDER BY o.rank, o.object;
END
$$;
REVOKE ALL ON FUNCTION _ward.protect_steps(oid, name, text, boolean) FROM PUBLIC;
