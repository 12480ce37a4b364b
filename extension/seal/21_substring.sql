-- seal: LIKE and ILIKE by an index over keyed trigrams. The operators have names that
-- nobody types: the planner's side puts them in place of text's own.

CREATE FUNCTION pg_catalog.sealed_pattern(text, integer) RETURNS pg_catalog.sealed_text
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_pattern';
CREATE FUNCTION pg_catalog.sealed_like(pg_catalog.sealed_text, pg_catalog.sealed_text) RETURNS boolean
	LANGUAGE c STRICT STABLE PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'ward_sealed_like';
CREATE FUNCTION pg_catalog.sealed_iclike(pg_catalog.sealed_text, pg_catalog.sealed_text) RETURNS boolean
	LANGUAGE c STRICT STABLE PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'ward_sealed_iclike';

-- Fixed estimates: better ones would have to open values.
CREATE OPERATOR pg_catalog.~~# (
	FUNCTION = pg_catalog.sealed_like, LEFTARG = pg_catalog.sealed_text, RIGHTARG = pg_catalog.sealed_text,
	RESTRICT = contsel, JOIN = contjoinsel);
CREATE OPERATOR pg_catalog.~~*# (
	FUNCTION = pg_catalog.sealed_iclike, LEFTARG = pg_catalog.sealed_text, RIGHTARG = pg_catalog.sealed_text,
	RESTRICT = contsel, JOIN = contjoinsel);

CREATE FUNCTION pg_catalog.sealed_trigrams(pg_catalog.sealed_text, internal, internal) RETURNS internal
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_trigrams';
CREATE FUNCTION pg_catalog.sealed_pattern_trigrams(pg_catalog.sealed_text, internal, smallint, internal, internal, internal, internal) RETURNS internal
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_pattern_trigrams';
CREATE FUNCTION pg_catalog.sealed_trigrams_match(internal, smallint, pg_catalog.sealed_text, integer, internal, internal, internal) RETURNS "char"
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_sealed_trigrams_match';
CREATE OPERATOR CLASS pg_catalog.sealed_text_trgm_ops FOR TYPE pg_catalog.sealed_text USING gin AS
	OPERATOR 1 pg_catalog.~~# (pg_catalog.sealed_text, pg_catalog.sealed_text),
	OPERATOR 2 pg_catalog.~~*# (pg_catalog.sealed_text, pg_catalog.sealed_text),
	FUNCTION 1 pg_catalog.btint8cmp(bigint, bigint),
	FUNCTION 2 pg_catalog.sealed_trigrams(pg_catalog.sealed_text, internal, internal),
	FUNCTION 3 pg_catalog.sealed_pattern_trigrams(pg_catalog.sealed_text, internal, smallint, internal, internal, internal, internal),
	FUNCTION 6 pg_catalog.sealed_trigrams_match(internal, smallint, pg_catalog.sealed_text, integer, internal, internal, internal),
	STORAGE bigint;
COMMENT ON OPERATOR CLASS pg_catalog.sealed_text_trgm_ops USING gin IS
	'keyed trigrams of a text that is sealed under a key with search ''substring''; serves LIKE and ILIKE';
