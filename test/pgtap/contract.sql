-- The SQL contract that no release may change by accident: who may call what, what is
-- documented, and how privileged functions pin their search_path.
BEGIN;
SELECT plan(13);

-- The extension's own objects.
CREATE TEMP VIEW own_function AS
SELECT p.oid, n.nspname, p.proname, p.prosecdef, p.proconfig, p.proacl, p.prokind
  FROM pg_proc p
  JOIN pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
 WHERE e.extname = 'pg_ward';

CREATE TEMP VIEW own_relation AS
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relacl
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
 WHERE e.extname = 'pg_ward';

CREATE ROLE contract_nobody;

SELECT cmp_ok((SELECT count(*) FROM own_function), '>', 20::bigint, 'there are functions to check');

SELECT is_empty(
	$$ SELECT format('%I.%I', nspname, proname) FROM own_function
	    WHERE nspname IN ('ward', '_ward') AND has_function_privilege('contract_nobody', oid, 'EXECUTE') $$,
	'PUBLIC may call no function of ward or _ward');

-- What PUBLIC may call in pg_catalog is what the sealed types need.
SELECT is_empty(
	$$ SELECT format('%I.%I', nspname, proname) FROM own_function
	    WHERE nspname NOT IN ('ward', '_ward') AND proname !~ '^(ward_)?sealed_' $$,
	'outside our schemas there are only functions of the sealed types');

SELECT is_empty(
	$$ SELECT format('%I.%I', nspname, proname) FROM own_function
	    WHERE prosecdef AND (proconfig IS NULL
	       OR NOT 'search_path=pg_catalog, pg_temp' = ANY (proconfig)) $$,
	'each SECURITY DEFINER function pins its search_path');

SELECT is_empty(
	$$ SELECT format('%I.%I', nspname, relname) FROM own_relation
	    WHERE relkind IN ('r', 'p', 'v', 'S') AND nspname = '_ward'
	      AND (CASE relkind WHEN 'S' THEN has_sequence_privilege('contract_nobody', oid, 'USAGE, SELECT, UPDATE')
	           ELSE has_table_privilege('contract_nobody', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE') END) $$,
	'PUBLIC has no privilege on the catalog');

SELECT is_empty(
	$$ SELECT format('%I.%I', nspname, relname) FROM own_relation
	    WHERE nspname = 'ward' AND relkind = 'v'
	      AND has_table_privilege('contract_nobody', oid, 'SELECT') $$,
	'PUBLIC reads no view of ward');

SELECT is_empty(
	$$ SELECT format('%I.%I', nspname, relname) FROM own_relation r, unnest(ARRAY['ward_officer', 'ward_auditor', 'ward_analyst']) role
	    WHERE relkind IN ('r', 'p', 'v') AND has_table_privilege(role, oid, 'INSERT, UPDATE, DELETE, TRUNCATE') $$,
	'no role of ours writes the catalog by hand');

SELECT is_empty(
	$$ SELECT format('%I.%I', nspname, proname) FROM own_function
	    WHERE nspname = 'ward' AND obj_description(oid, 'pg_proc') IS NULL $$,
	'each public function has a comment');

SELECT is_empty(
	$$ SELECT format('%I.%I', nspname, relname) FROM own_relation
	    WHERE nspname = 'ward' AND relkind = 'v' AND obj_description(oid, 'pg_class') IS NULL $$,
	'each public view has a comment');

-- Removing evidence is for officers alone.
SELECT is(
	(SELECT array_agg(r.role ORDER BY r.role) FROM unnest(ARRAY['ward_officer', 'ward_auditor', 'ward_analyst', 'contract_nobody']) r(role)
	  WHERE has_function_privilege(r.role, 'ward.prune_trail(boolean)', 'EXECUTE')),
	ARRAY['ward_officer'], 'officers alone may prune the trail');

-- Whoever reads the scope is in the trail: functions record it themselves.
SELECT is_empty(
	$$ SELECT v.viewname FROM pg_views v
	    WHERE v.schemaname = 'ward' AND v.definition ~ '_ward\.(incident|notification|subject_description)'
	      AND v.definition !~ ('scope_note_read\(''ward\.' || v.viewname || '''') $$,
	'each view over incidents and worklists records who reads it');

-- What the rewrite compares opened values by is the base type's equality in all but its
-- estimates, and goes with the extension.
SELECT results_eq(
	$$ SELECT o.oprleft::regtype::text
	     FROM pg_operator o
	     JOIN pg_depend d ON d.classid = 'pg_operator'::regclass AND d.objid = o.oid AND d.deptype = 'e'
	     JOIN pg_amop a ON a.amopopr = o.oid
	     JOIN pg_opclass c ON c.opcfamily = a.amopfamily AND c.opcintype = o.oprleft AND NOT c.opcdefault
	     JOIN pg_opclass usual ON usual.opcmethod = c.opcmethod AND usual.opcintype = c.opcintype AND usual.opcdefault
	     JOIN pg_amop usually ON usually.amopfamily = usual.opcfamily AND usually.amoplefttype = c.opcintype AND usually.amoprighttype = c.opcintype
	     JOIN pg_operator equal ON equal.oid = usually.amopopr AND equal.oprcode = o.oprcode
	    WHERE o.oprname = '=#' AND o.oprnamespace = 'pg_catalog'::regnamespace
	      AND o.oprleft = o.oprright AND o.oprcom = o.oid AND o.oprcanhash AND NOT o.oprcanmerge
	      AND (SELECT array_agg(amproc ORDER BY amprocnum) FROM pg_amproc WHERE amprocfamily = c.opcfamily)
	        = (SELECT array_agg(amproc ORDER BY amprocnum) FROM pg_amproc
	            WHERE amprocfamily = usual.opcfamily AND amproclefttype = c.opcintype AND amprocrighttype = c.opcintype)
	    ORDER BY 1 $$,
	ARRAY['bigint', 'boolean', 'bytea', 'date', 'jsonb', 'numeric', 'text', 'timestamp with time zone', 'uuid'],
	'=# is each base type''s equality');

-- Whoever asks about some tables must be able to ask on what ground, too.
SELECT set_eq(
	$$ SELECT p.proname::text FROM own_function JOIN pg_proc p USING (oid)
	    WHERE own_function.nspname = 'ward' AND p.proretset AND ARRAY['during', 'relations'] <@ p.proargnames[1:p.pronargs]
	      AND has_function_privilege('ward_analyst', p.oid, 'EXECUTE') $$,
	ARRAY['breach_scope', 'breach_summary', 'scope_basis', 'related_sessions'],
	'questions about a time can be narrowed to tables');

SELECT * FROM finish();
ROLLBACK;
