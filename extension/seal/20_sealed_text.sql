-- seal: the type sealed_text. In pg_catalog, because an operator that is off the
-- search_path would silently give way to a comparison of opened text.

CREATE TYPE pg_catalog.sealed_text;

CREATE FUNCTION pg_catalog.sealed_text_in(cstring, oid, integer) RETURNS pg_catalog.sealed_text
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_text_in';
CREATE FUNCTION pg_catalog.sealed_text_out(pg_catalog.sealed_text) RETURNS cstring
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_text_out';
CREATE FUNCTION pg_catalog.sealed_text_recv(internal, oid, integer) RETURNS pg_catalog.sealed_text
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_text_recv';
CREATE FUNCTION pg_catalog.sealed_text_send(pg_catalog.sealed_text) RETURNS bytea
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_text_send';
CREATE FUNCTION pg_catalog.sealed_typmod_in(cstring[]) RETURNS integer
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_typmod_in';
CREATE FUNCTION pg_catalog.sealed_typmod_out(integer) RETURNS cstring
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_typmod_out';

-- Ciphertext does not compress: EXTERNAL spares the attempt.
CREATE TYPE pg_catalog.sealed_text (
	INPUT = pg_catalog.sealed_text_in,
	OUTPUT = pg_catalog.sealed_text_out,
	RECEIVE = pg_catalog.sealed_text_recv,
	SEND = pg_catalog.sealed_text_send,
	TYPMOD_IN = pg_catalog.sealed_typmod_in,
	TYPMOD_OUT = pg_catalog.sealed_typmod_out,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = external,
	CATEGORY = 'U',
	COLLATABLE = true
);
COMMENT ON TYPE pg_catalog.sealed_text IS
	'text stored as authenticated ciphertext under the key that the modifier names: sealed_text(''key name'')';

-- Casts. Reading text out needs the right to the key; every function of text then
-- works on a sealed column as it did.
CREATE FUNCTION pg_catalog.sealed_text_rekey(pg_catalog.sealed_text, integer, boolean) RETURNS pg_catalog.sealed_text
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_text_rekey';
CREATE FUNCTION pg_catalog.sealed_from_text(text, integer, boolean) RETURNS pg_catalog.sealed_text
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_text_from_text';
CREATE FUNCTION pg_catalog.sealed_to_text(pg_catalog.sealed_text) RETURNS text
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_text_to_text';
CREATE CAST (pg_catalog.sealed_text AS pg_catalog.sealed_text)
	WITH FUNCTION pg_catalog.sealed_text_rekey(pg_catalog.sealed_text, integer, boolean) AS IMPLICIT;
CREATE CAST (text AS pg_catalog.sealed_text)
	WITH FUNCTION pg_catalog.sealed_from_text(text, integer, boolean) AS ASSIGNMENT;
CREATE CAST (pg_catalog.sealed_text AS text)
	WITH FUNCTION pg_catalog.sealed_to_text(pg_catalog.sealed_text) AS IMPLICIT;

-- Probes: what the planner looks for in place of a literal.
CREATE FUNCTION pg_catalog.sealed_probe(pg_catalog.sealed_text, integer) RETURNS pg_catalog.sealed_text
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_probe';
CREATE FUNCTION pg_catalog.sealed_probe(text, integer) RETURNS pg_catalog.sealed_text
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_probe_text';
CREATE FUNCTION pg_catalog.sealed_probe(pg_catalog.sealed_text[], integer) RETURNS pg_catalog.sealed_text[]
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_probe_array';
CREATE FUNCTION pg_catalog.sealed_probe(text[], integer) RETURNS pg_catalog.sealed_text[]
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_probe_text_array';

-- Comparisons. Tags do not change with anything but the value and its key, so these
-- are immutable; where text must be opened they ask for the right each time.
CREATE FUNCTION pg_catalog.sealed_eq(pg_catalog.sealed_text, pg_catalog.sealed_text) RETURNS boolean
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_eq';
CREATE FUNCTION pg_catalog.sealed_ne(pg_catalog.sealed_text, pg_catalog.sealed_text) RETURNS boolean
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_ne';
CREATE FUNCTION pg_catalog.sealed_lt(pg_catalog.sealed_text, pg_catalog.sealed_text) RETURNS boolean
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_lt';
CREATE FUNCTION pg_catalog.sealed_le(pg_catalog.sealed_text, pg_catalog.sealed_text) RETURNS boolean
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_le';
CREATE FUNCTION pg_catalog.sealed_gt(pg_catalog.sealed_text, pg_catalog.sealed_text) RETURNS boolean
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_gt';
CREATE FUNCTION pg_catalog.sealed_ge(pg_catalog.sealed_text, pg_catalog.sealed_text) RETURNS boolean
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_ge';
CREATE FUNCTION pg_catalog.sealed_cmp(pg_catalog.sealed_text, pg_catalog.sealed_text) RETURNS integer
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_cmp';
CREATE FUNCTION pg_catalog.sealed_hash(pg_catalog.sealed_text) RETURNS integer
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_hash';
CREATE FUNCTION pg_catalog.sealed_hash_extended(pg_catalog.sealed_text, bigint) RETURNS bigint
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_hash_extended';
CREATE FUNCTION pg_catalog.sealed_eq_text(pg_catalog.sealed_text, text) RETURNS boolean
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_eq_text';
CREATE FUNCTION pg_catalog.sealed_ne_text(pg_catalog.sealed_text, text) RETURNS boolean
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_ne_text';
CREATE FUNCTION pg_catalog.sealed_text_eq_sealed(text, pg_catalog.sealed_text) RETURNS boolean
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_text_eq_sealed';
CREATE FUNCTION pg_catalog.sealed_text_ne_sealed(text, pg_catalog.sealed_text) RETURNS boolean
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_text_ne_sealed';

CREATE OPERATOR pg_catalog.= (
	FUNCTION = pg_catalog.sealed_eq, LEFTARG = pg_catalog.sealed_text, RIGHTARG = pg_catalog.sealed_text,
	COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE OPERATOR pg_catalog.<> (
	FUNCTION = pg_catalog.sealed_ne, LEFTARG = pg_catalog.sealed_text, RIGHTARG = pg_catalog.sealed_text,
	COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
	RESTRICT = neqsel, JOIN = neqjoinsel);
CREATE OPERATOR pg_catalog.= (
	FUNCTION = pg_catalog.sealed_eq_text, LEFTARG = pg_catalog.sealed_text, RIGHTARG = text,
	COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel);
CREATE OPERATOR pg_catalog.<> (
	FUNCTION = pg_catalog.sealed_ne_text, LEFTARG = pg_catalog.sealed_text, RIGHTARG = text,
	COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
	RESTRICT = neqsel, JOIN = neqjoinsel);
CREATE OPERATOR pg_catalog.= (
	FUNCTION = pg_catalog.sealed_text_eq_sealed, LEFTARG = text, RIGHTARG = pg_catalog.sealed_text,
	COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel);
CREATE OPERATOR pg_catalog.<> (
	FUNCTION = pg_catalog.sealed_text_ne_sealed, LEFTARG = text, RIGHTARG = pg_catalog.sealed_text,
	COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
	RESTRICT = neqsel, JOIN = neqjoinsel);

-- The order of the tags, under names that nobody types: `<` stays a comparison of
-- text, which needs the right.
CREATE OPERATOR pg_catalog.<# (
	FUNCTION = pg_catalog.sealed_lt, LEFTARG = pg_catalog.sealed_text, RIGHTARG = pg_catalog.sealed_text,
	COMMUTATOR = OPERATOR(pg_catalog.>#), NEGATOR = OPERATOR(pg_catalog.>=#),
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE OPERATOR pg_catalog.<=# (
	FUNCTION = pg_catalog.sealed_le, LEFTARG = pg_catalog.sealed_text, RIGHTARG = pg_catalog.sealed_text,
	COMMUTATOR = OPERATOR(pg_catalog.>=#), NEGATOR = OPERATOR(pg_catalog.>#),
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel);
CREATE OPERATOR pg_catalog.># (
	FUNCTION = pg_catalog.sealed_gt, LEFTARG = pg_catalog.sealed_text, RIGHTARG = pg_catalog.sealed_text,
	COMMUTATOR = OPERATOR(pg_catalog.<#), NEGATOR = OPERATOR(pg_catalog.<=#),
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel);
CREATE OPERATOR pg_catalog.>=# (
	FUNCTION = pg_catalog.sealed_ge, LEFTARG = pg_catalog.sealed_text, RIGHTARG = pg_catalog.sealed_text,
	COMMUTATOR = OPERATOR(pg_catalog.<=#), NEGATOR = OPERATOR(pg_catalog.<#),
	RESTRICT = scalargesel, JOIN = scalargejoinsel);

CREATE OPERATOR CLASS pg_catalog.sealed_text_ops DEFAULT FOR TYPE pg_catalog.sealed_text USING btree AS
	OPERATOR 1 pg_catalog.<#,
	OPERATOR 2 pg_catalog.<=#,
	OPERATOR 3 pg_catalog.=,
	OPERATOR 4 pg_catalog.>=#,
	OPERATOR 5 pg_catalog.>#,
	FUNCTION 1 pg_catalog.sealed_cmp(pg_catalog.sealed_text, pg_catalog.sealed_text);
CREATE OPERATOR CLASS pg_catalog.sealed_text_ops DEFAULT FOR TYPE pg_catalog.sealed_text USING hash AS
	OPERATOR 1 pg_catalog.=,
	FUNCTION 1 pg_catalog.sealed_hash(pg_catalog.sealed_text),
	FUNCTION 2 pg_catalog.sealed_hash_extended(pg_catalog.sealed_text, bigint);

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
	   AND a.atttypid IN ('pg_catalog.sealed_text'::regtype, 'pg_catalog.sealed_text[]'::regtype)
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

-- The sealed types, for the layer's other SQL: which type seals a base type, and
-- whether a type is sealed (or an array of such).
CREATE FUNCTION _ward.sealed_type(base regtype) RETURNS regtype
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT CASE WHEN base IN ('text', 'varchar') THEN 'pg_catalog.sealed_text'::regtype END $$;
CREATE FUNCTION _ward.is_sealed(type oid) RETURNS boolean
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT type IN ('pg_catalog.sealed_text'::regtype, 'pg_catalog.sealed_text[]'::regtype) $$;
REVOKE ALL ON FUNCTION _ward.sealed_type(regtype), _ward.is_sealed(oid) FROM PUBLIC;
