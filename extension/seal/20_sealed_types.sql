-- seal: the sealed types. In pg_catalog, because an operator that is off the
-- search_path would silently give way to a comparison of opened values.
--
-- Nine types with one shape, so they are made by a loop: what is written once is the
-- same for all. An extension's objects may be made in a DO block like any other.

CREATE FUNCTION pg_catalog.sealed_typmod_in(cstring[]) RETURNS integer
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_typmod_in';
CREATE FUNCTION pg_catalog.sealed_typmod_out(integer) RETURNS cstring
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_typmod_out';

-- Values without tags are counted only: they can't be compared.
CREATE FUNCTION pg_catalog.sealed_analyze(internal) RETURNS boolean
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_analyze';
-- What the planner expects of `=#` (below): from the statistics of the sealed columns.
CREATE FUNCTION pg_catalog.sealed_opened_eqsel(internal, oid, internal, integer) RETURNS double precision
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_opened_eqsel';
CREATE FUNCTION pg_catalog.sealed_opened_eqjoinsel(internal, oid, internal, smallint, internal) RETURNS double precision
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_opened_eqjoinsel';

DO $make$
DECLARE
	kind record;
	other text;
	own record;
	-- {T}: the sealed type, {B}: its base type, {N}: the base type's name in C, {K}: the
	-- base type's category, so that COALESCE and CASE take both; {E}, {H}, {X}: the base
	-- type's equality, hash and extended hash functions
	shape text := $shape$
CREATE TYPE pg_catalog.{T};
CREATE FUNCTION pg_catalog.{T}_in(cstring, oid, integer) RETURNS pg_catalog.{T}
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_{T}_in';
CREATE FUNCTION pg_catalog.{T}_out(pg_catalog.{T}) RETURNS cstring
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_out';
CREATE FUNCTION pg_catalog.{T}_recv(internal, oid, integer) RETURNS pg_catalog.{T}
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_{T}_recv';
CREATE FUNCTION pg_catalog.{T}_send(pg_catalog.{T}) RETURNS bytea
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_send';
-- Ciphertext does not compress: EXTERNAL spares the attempt.
CREATE TYPE pg_catalog.{T} (
	INPUT = pg_catalog.{T}_in,
	OUTPUT = pg_catalog.{T}_out,
	RECEIVE = pg_catalog.{T}_recv,
	SEND = pg_catalog.{T}_send,
	TYPMOD_IN = pg_catalog.sealed_typmod_in,
	TYPMOD_OUT = pg_catalog.sealed_typmod_out,
	ANALYZE = pg_catalog.sealed_analyze,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = external,
	CATEGORY = '{K}',
	COLLATABLE = {C}
);
COMMENT ON TYPE pg_catalog.{T} IS
	'{B} stored as authenticated ciphertext under the key that the modifier names: {T}(''key name'')';

-- A value under another key than its column's is sealed anew, which needs the right to it.
CREATE FUNCTION pg_catalog.sealed_rekey(pg_catalog.{T}, integer, boolean) RETURNS pg_catalog.{T}
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_rekey';
CREATE CAST (pg_catalog.{T} AS pg_catalog.{T})
	WITH FUNCTION pg_catalog.sealed_rekey(pg_catalog.{T}, integer, boolean) AS IMPLICIT;

-- What a statement's own literals pass through, so that its result shows them.
CREATE FUNCTION pg_catalog.sealed_typed(pg_catalog.{T}) RETURNS pg_catalog.{T}
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_typed';
CREATE FUNCTION pg_catalog.sealed_visible(pg_catalog.{T}) RETURNS boolean
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_visible';

-- Probes: what the planner looks for in place of a literal.
CREATE FUNCTION pg_catalog.sealed_probe(pg_catalog.{T}, integer) RETURNS pg_catalog.{T}
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_probe';
CREATE FUNCTION pg_catalog.sealed_probe({B}, integer) RETURNS pg_catalog.{T}
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_probe_{N}';
CREATE FUNCTION pg_catalog.sealed_probe(pg_catalog.{T}[], integer) RETURNS pg_catalog.{T}[]
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_probe_array';
CREATE FUNCTION pg_catalog.sealed_probe({B}[], integer) RETURNS pg_catalog.{T}[]
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_probe_{N}_array';

-- Comparisons. Tags do not change with anything but the value and its key, so these
-- are immutable; where values must be opened they ask for the right each time. An error
-- tells of the key, never of the value: so they are leakproof, as the base types' are, and
-- serve under row-level security.
CREATE FUNCTION pg_catalog.sealed_eq(pg_catalog.{T}, pg_catalog.{T}) RETURNS boolean
	LANGUAGE c STRICT IMMUTABLE LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_eq';
CREATE FUNCTION pg_catalog.sealed_ne(pg_catalog.{T}, pg_catalog.{T}) RETURNS boolean
	LANGUAGE c STRICT IMMUTABLE LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_ne';
CREATE FUNCTION pg_catalog.sealed_lt(pg_catalog.{T}, pg_catalog.{T}) RETURNS boolean
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_lt';
CREATE FUNCTION pg_catalog.sealed_le(pg_catalog.{T}, pg_catalog.{T}) RETURNS boolean
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_le';
CREATE FUNCTION pg_catalog.sealed_gt(pg_catalog.{T}, pg_catalog.{T}) RETURNS boolean
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_gt';
CREATE FUNCTION pg_catalog.sealed_ge(pg_catalog.{T}, pg_catalog.{T}) RETURNS boolean
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_ge';
CREATE FUNCTION pg_catalog.sealed_cmp(pg_catalog.{T}, pg_catalog.{T}) RETURNS integer
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_cmp';
CREATE FUNCTION pg_catalog.sealed_hash(pg_catalog.{T}) RETURNS integer
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_hash';
CREATE FUNCTION pg_catalog.sealed_hash_extended(pg_catalog.{T}, bigint) RETURNS bigint
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_hash_extended';
CREATE OPERATOR pg_catalog.= (
	FUNCTION = pg_catalog.sealed_eq, LEFTARG = pg_catalog.{T}, RIGHTARG = pg_catalog.{T},
	COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE OPERATOR pg_catalog.<> (
	FUNCTION = pg_catalog.sealed_ne, LEFTARG = pg_catalog.{T}, RIGHTARG = pg_catalog.{T},
	COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
	RESTRICT = neqsel, JOIN = neqjoinsel);

-- The order of the tags, under names that nobody types: `<` stays a comparison of
-- opened values, which needs the right.
CREATE OPERATOR pg_catalog.<# (
	FUNCTION = pg_catalog.sealed_lt, LEFTARG = pg_catalog.{T}, RIGHTARG = pg_catalog.{T},
	COMMUTATOR = OPERATOR(pg_catalog.>#), NEGATOR = OPERATOR(pg_catalog.>=#),
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE OPERATOR pg_catalog.<=# (
	FUNCTION = pg_catalog.sealed_le, LEFTARG = pg_catalog.{T}, RIGHTARG = pg_catalog.{T},
	COMMUTATOR = OPERATOR(pg_catalog.>=#), NEGATOR = OPERATOR(pg_catalog.>#),
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel);
CREATE OPERATOR pg_catalog.># (
	FUNCTION = pg_catalog.sealed_gt, LEFTARG = pg_catalog.{T}, RIGHTARG = pg_catalog.{T},
	COMMUTATOR = OPERATOR(pg_catalog.<#), NEGATOR = OPERATOR(pg_catalog.<=#),
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel);
CREATE OPERATOR pg_catalog.>=# (
	FUNCTION = pg_catalog.sealed_ge, LEFTARG = pg_catalog.{T}, RIGHTARG = pg_catalog.{T},
	COMMUTATOR = OPERATOR(pg_catalog.<=#), NEGATOR = OPERATOR(pg_catalog.<#),
	RESTRICT = scalargesel, JOIN = scalargejoinsel);
CREATE OPERATOR CLASS pg_catalog.{T}_ops DEFAULT FOR TYPE pg_catalog.{T} USING btree AS
	OPERATOR 1 pg_catalog.<#,
	OPERATOR 2 pg_catalog.<=#,
	OPERATOR 3 pg_catalog.=,
	OPERATOR 4 pg_catalog.>=#,
	OPERATOR 5 pg_catalog.>#,
	FUNCTION 1 pg_catalog.sealed_cmp(pg_catalog.{T}, pg_catalog.{T});
CREATE OPERATOR CLASS pg_catalog.{T}_ops DEFAULT FOR TYPE pg_catalog.{T} USING hash AS
	OPERATOR 1 pg_catalog.=,
	FUNCTION 1 pg_catalog.sealed_hash(pg_catalog.{T}),
	FUNCTION 2 pg_catalog.sealed_hash_extended(pg_catalog.{T}, bigint);

-- The base type's equality, by which the rewrite compares opened values under different
-- keys. A name of its own for the sake of its estimates, which look below the opening call.
-- A hash family of its own, because in the base type's the place is taken. No order: in a
-- second family the base type's `<` might be taken for that of the wrong one.
CREATE OPERATOR pg_catalog.=# (
	FUNCTION = {E}, LEFTARG = {B}, RIGHTARG = {B},
	COMMUTATOR = OPERATOR(pg_catalog.=#),
	RESTRICT = pg_catalog.sealed_opened_eqsel, JOIN = pg_catalog.sealed_opened_eqjoinsel, HASHES);
CREATE OPERATOR CLASS pg_catalog.{T}_opened_ops FOR TYPE {B} USING hash AS
	OPERATOR 1 pg_catalog.=#,
	FUNCTION 1 ({B}, {B}) {H},
	FUNCTION 2 ({B}, {B}) {X};
$shape$;
	-- {O}: a type that is compared with, assigned from or cast to
	mixed text := $mixed$
CREATE FUNCTION pg_catalog.sealed_eq(pg_catalog.{T}, {O}) RETURNS boolean
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_{T}_eq_{O}';
CREATE FUNCTION pg_catalog.sealed_ne(pg_catalog.{T}, {O}) RETURNS boolean
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_{T}_ne_{O}';
CREATE FUNCTION pg_catalog.sealed_eq({O}, pg_catalog.{T}) RETURNS boolean
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_{O}_eq_{T}';
CREATE FUNCTION pg_catalog.sealed_ne({O}, pg_catalog.{T}) RETURNS boolean
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_{O}_ne_{T}';
CREATE OPERATOR pg_catalog.= (
	FUNCTION = pg_catalog.sealed_eq, LEFTARG = pg_catalog.{T}, RIGHTARG = {O},
	COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel);
CREATE OPERATOR pg_catalog.<> (
	FUNCTION = pg_catalog.sealed_ne, LEFTARG = pg_catalog.{T}, RIGHTARG = {O},
	COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
	RESTRICT = neqsel, JOIN = neqjoinsel);
CREATE OPERATOR pg_catalog.= (
	FUNCTION = pg_catalog.sealed_eq, LEFTARG = {O}, RIGHTARG = pg_catalog.{T},
	COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel);
CREATE OPERATOR pg_catalog.<> (
	FUNCTION = pg_catalog.sealed_ne, LEFTARG = {O}, RIGHTARG = pg_catalog.{T},
	COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
	RESTRICT = neqsel, JOIN = neqjoinsel);
-- In the btree family, so that (a, b) = (1, 2) is understood, and so that an index also
-- serves where a comparison reaches the executor as it was written.
CREATE FUNCTION pg_catalog.sealed_cmp(pg_catalog.{T}, {O}) RETURNS integer
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_{T}_cmp_{O}';
CREATE FUNCTION pg_catalog.sealed_cmp({O}, pg_catalog.{T}) RETURNS integer
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_{O}_cmp_{T}';
ALTER OPERATOR FAMILY pg_catalog.{T}_ops USING btree ADD
	OPERATOR 3 pg_catalog.= (pg_catalog.{T}, {O}),
	FUNCTION 1 (pg_catalog.{T}, {O}) pg_catalog.sealed_cmp(pg_catalog.{T}, {O}),
	OPERATOR 3 pg_catalog.= ({O}, pg_catalog.{T}),
	FUNCTION 1 ({O}, pg_catalog.{T}) pg_catalog.sealed_cmp({O}, pg_catalog.{T});
$mixed$;
	-- {F}: the C function's part for {O}
	assigned text := $assigned$
CREATE FUNCTION pg_catalog.{T}({O}, integer, boolean) RETURNS pg_catalog.{T}
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_{T}_from_{F}';
CREATE CAST ({O} AS pg_catalog.{T}) WITH FUNCTION pg_catalog.{T}({O}, integer, boolean) AS ASSIGNMENT;
$assigned$;
	opened text := $opened$
CREATE FUNCTION pg_catalog.sealed_to_{F}(pg_catalog.{T}) RETURNS {O}
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_{T}_to_{I}';
CREATE CAST (pg_catalog.{T} AS {O}) WITH FUNCTION pg_catalog.sealed_to_{F}(pg_catalog.{T}) AS {M};
$opened$;
	-- JSON is made of opened values as of the base type's; of armor where there is no right.
	json text := $json$
CREATE FUNCTION pg_catalog.sealed_to_json(pg_catalog.{T}) RETURNS json
	LANGUAGE sql STRICT STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
	'SELECT CASE WHEN pg_catalog.sealed_visible($1) THEN pg_catalog.to_json(pg_catalog.sealed_to_{B}($1))
	             ELSE pg_catalog.to_json(pg_catalog.format(''%s'', $1)) END';
CREATE CAST (pg_catalog.{T} AS json) WITH FUNCTION pg_catalog.sealed_to_json(pg_catalog.{T});
$json$;
BEGIN
	FOR kind IN
		SELECT * FROM (VALUES
			('text', 'S', ARRAY['text'], ARRAY['text', 'varchar', 'bpchar', 'name'], ARRAY['varchar']),
			('bytea', 'U', ARRAY['bytea'], ARRAY['bytea'], '{}'),
			('bool', 'B', ARRAY['bool'], ARRAY['bool'], '{}'),
			('int8', 'N', ARRAY['int8', 'int4', 'int2'], ARRAY['int8', 'int4', 'int2', 'numeric'], ARRAY['int4', 'int2', 'numeric', 'float8']),
			('numeric', 'N', ARRAY['numeric'], ARRAY['numeric', 'int8', 'int4', 'int2', 'float8'], ARRAY['int8', 'int4', 'float8']),
			('date', 'D', ARRAY['date'], ARRAY['date', 'timestamp', 'timestamptz'], ARRAY['timestamp', 'timestamptz']),
			('timestamptz', 'D', ARRAY['timestamptz', 'timestamp', 'date'], ARRAY['timestamptz', 'timestamp', 'date'], ARRAY['timestamp', 'date']),
			('uuid', 'U', ARRAY['uuid'], ARRAY['uuid'], '{}'),
			('jsonb', 'U', ARRAY['jsonb'], ARRAY['jsonb'], '{}')
		) k (base, category, compared, assigned_from, assigned_to)
	LOOP
		SELECT o.oprcode AS equal, h.amproc::regprocedure AS hash, x.amproc::regprocedure AS hash_extended INTO STRICT own
		  FROM pg_catalog.pg_opclass c
		  JOIN pg_catalog.pg_am m ON m.oid = c.opcmethod AND m.amname = 'hash'
		  JOIN pg_catalog.pg_amop a ON a.amopfamily = c.opcfamily AND a.amoplefttype = c.opcintype
		                           AND a.amoprighttype = c.opcintype AND a.amopstrategy = 1
		  JOIN pg_catalog.pg_operator o ON o.oid = a.amopopr
		  JOIN pg_catalog.pg_amproc h ON h.amprocfamily = c.opcfamily AND h.amproclefttype = c.opcintype
		                             AND h.amprocrighttype = c.opcintype AND h.amprocnum = 1
		  JOIN pg_catalog.pg_amproc x ON x.amprocfamily = c.opcfamily AND x.amproclefttype = c.opcintype
		                             AND x.amprocrighttype = c.opcintype AND x.amprocnum = 2
		 WHERE c.opcdefault AND c.opcintype = kind.base::regtype;
		EXECUTE replace(replace(replace(replace(replace(replace(replace(replace(shape, '{T}', 'sealed_' || kind.base), '{B}', kind.base),
		                                '{N}', kind.base), '{C}', (kind.base = 'text')::text), '{K}', kind.category),
		                '{E}', own.equal::text), '{H}', own.hash::text), '{X}', own.hash_extended::text);
		FOREACH other IN ARRAY kind.compared LOOP
			EXECUTE replace(replace(mixed, '{T}', 'sealed_' || kind.base), '{O}', other);
		END LOOP;
		FOREACH other IN ARRAY kind.assigned_from LOOP
			-- varchar and text are one to C.
			EXECUTE replace(replace(replace(assigned, '{T}', 'sealed_' || kind.base), '{O}', other),
			                '{F}', CASE other WHEN 'varchar' THEN 'text' ELSE other END);
		END LOOP;
		-- Opening needs the right; every function of the base type then works on a sealed
		-- column as it did.
		EXECUTE replace(replace(replace(replace(replace(opened, '{T}', 'sealed_' || kind.base), '{O}', kind.base),
		                                '{F}', kind.base), '{I}', kind.base), '{M}', 'IMPLICIT');
		FOREACH other IN ARRAY kind.assigned_to LOOP
			EXECUTE replace(replace(replace(replace(replace(opened, '{T}', 'sealed_' || kind.base), '{O}', other),
			                                '{F}', other),
			                        '{I}', CASE other WHEN 'varchar' THEN 'text' ELSE other END), '{M}', 'ASSIGNMENT');
		END LOOP;
		-- Of the others JSON is a string, which their output is already.
		IF kind.base IN ('bool', 'int8', 'numeric', 'date', 'timestamptz', 'jsonb') THEN
			EXECUTE replace(replace(json, '{T}', 'sealed_' || kind.base), '{B}', kind.base);
		END IF;
	END LOOP;
END
$make$;

-- text || text: with the server's own operators alone a sealed text and a text would fit
-- two of them.
CREATE FUNCTION pg_catalog.sealed_concat(pg_catalog.sealed_text, text) RETURNS text
	LANGUAGE sql STRICT STABLE PARALLEL SAFE
	AS 'SELECT pg_catalog.sealed_to_text($1) OPERATOR(pg_catalog.||) $2';
CREATE FUNCTION pg_catalog.sealed_concat(text, pg_catalog.sealed_text) RETURNS text
	LANGUAGE sql STRICT STABLE PARALLEL SAFE
	AS 'SELECT $1 OPERATOR(pg_catalog.||) pg_catalog.sealed_to_text($2)';
CREATE FUNCTION pg_catalog.sealed_concat(pg_catalog.sealed_text, pg_catalog.sealed_text) RETURNS text
	LANGUAGE sql STRICT STABLE PARALLEL SAFE
	AS 'SELECT pg_catalog.sealed_to_text($1) OPERATOR(pg_catalog.||) pg_catalog.sealed_to_text($2)';
CREATE OPERATOR pg_catalog.|| (FUNCTION = pg_catalog.sealed_concat, LEFTARG = pg_catalog.sealed_text, RIGHTARG = text);
CREATE OPERATOR pg_catalog.|| (FUNCTION = pg_catalog.sealed_concat, LEFTARG = text, RIGHTARG = pg_catalog.sealed_text);
CREATE OPERATOR pg_catalog.|| (FUNCTION = pg_catalog.sealed_concat, LEFTARG = pg_catalog.sealed_text, RIGHTARG = pg_catalog.sealed_text);

-- For the layer's other SQL: which type seals a base type, and whether a type is sealed
-- (or an array of such).
CREATE FUNCTION _ward.sealed_type(base regtype) RETURNS regtype
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
SELECT CASE WHEN base IN ('text', 'varchar') THEN 'sealed_text'::regtype
            WHEN base IN ('int8', 'int4', 'int2') THEN 'sealed_int8'::regtype
            WHEN base IN ('bytea', 'bool', 'numeric', 'date', 'timestamptz', 'uuid', 'jsonb')
            THEN pg_catalog.to_regtype('pg_catalog.sealed_' || (SELECT t.typname FROM pg_catalog.pg_type t WHERE t.oid = base)) END
$$;
CREATE FUNCTION _ward.is_sealed(type oid) RETURNS boolean
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
SELECT EXISTS (
	SELECT FROM pg_catalog.pg_type t
	 WHERE t.typnamespace = 'pg_catalog'::regnamespace
	   AND t.typname IN ('sealed_text', 'sealed_bytea', 'sealed_bool', 'sealed_int8', 'sealed_numeric',
	                     'sealed_date', 'sealed_timestamptz', 'sealed_uuid', 'sealed_jsonb')
	   AND $1 IN (t.oid, t.typarray))
$$;
REVOKE ALL ON FUNCTION _ward.sealed_type(regtype), _ward.is_sealed(oid) FROM PUBLIC;

-- A stored column must name its key: values of a column without one could be of any
-- key, and the literals in them would stay marked as literals.
CREATE FUNCTION _ward.refuse_unkeyed() RETURNS event_trigger
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	unkeyed record;
BEGIN
	SELECT c.oid::regclass AS relation, a.attname INTO unkeyed
	  FROM pg_catalog.pg_event_trigger_ddl_commands() d
	  JOIN pg_catalog.pg_class c ON c.oid = d.objid AND d.classid = 'pg_catalog.pg_class'::regclass
	  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	 WHERE c.relkind IN ('r', 'p', 'm') AND a.atttypmod = -1
	   AND _ward.is_sealed(a.atttypid)
	 LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'column "%" of % does not name its key', unkeyed.attname, unkeyed.relation
			USING ERRCODE = 'WD201',
			      DETAIL = 'A stored sealed column needs a key.',
			      HINT = 'Write sealed_text(''key name''), or cast the expression to it.';
	END IF;
END
$$;
REVOKE ALL ON FUNCTION _ward.refuse_unkeyed() FROM PUBLIC;
CREATE EVENT TRIGGER ward_refuse_unkeyed ON ddl_command_end
	WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE MATERIALIZED VIEW')
	EXECUTE FUNCTION _ward.refuse_unkeyed();
