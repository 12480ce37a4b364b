-- trail: subject sets, serialised as bytea.

CREATE FUNCTION _ward.subject_set(members bigint[]) RETURNS bytea
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_set_make';
COMMENT ON FUNCTION _ward.subject_set(bigint[]) IS 'subject set of these members; NULLs are left out';

CREATE FUNCTION _ward.subject_set_count(subject_set bytea) RETURNS bigint
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_set_count';
COMMENT ON FUNCTION _ward.subject_set_count(bytea) IS 'number of members of a subject set';

CREATE FUNCTION _ward.subject_set_contains(subject_set bytea, member bigint) RETURNS boolean
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_set_contains';
COMMENT ON FUNCTION _ward.subject_set_contains(bytea, bigint) IS 'is this a member of the subject set?';

CREATE FUNCTION _ward.subject_set_members(subject_set bytea) RETURNS SETOF bigint
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_set_members';
COMMENT ON FUNCTION _ward.subject_set_members(bytea) IS 'members of a subject set, ascending';

CREATE FUNCTION _ward.subject_set_minus(subject_set bytea, without bytea) RETURNS bytea
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_set_minus';
COMMENT ON FUNCTION _ward.subject_set_minus(bytea, bytea) IS 'members of the first set that are not in the second';

CREATE FUNCTION _ward.subject_set_between(subject_set bytea, lowest bigint, highest bigint) RETURNS bytea
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_set_between';
COMMENT ON FUNCTION _ward.subject_set_between(bytea, bigint, bigint) IS 'members of a subject set from lowest to highest, both included';

CREATE FUNCTION _ward.subject_set_agg_add(state internal, member bigint) RETURNS internal
	LANGUAGE c IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_set_agg_add';
CREATE FUNCTION _ward.subject_set_agg_merge(state internal, subject_set bytea) RETURNS internal
	LANGUAGE c IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_set_agg_merge';
CREATE FUNCTION _ward.subject_set_agg_combine(state internal, other internal) RETURNS internal
	LANGUAGE c IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_set_agg_combine';
CREATE FUNCTION _ward.subject_set_agg_serialize(state internal) RETURNS bytea
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_set_agg_serialize';
CREATE FUNCTION _ward.subject_set_agg_deserialize(state bytea, dummy internal) RETURNS internal
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_set_agg_deserialize';
CREATE FUNCTION _ward.subject_set_agg_final(state internal) RETURNS bytea
	LANGUAGE c IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_set_agg_final';

CREATE AGGREGATE _ward.subject_set_agg(member bigint) (
	SFUNC = _ward.subject_set_agg_add,
	STYPE = internal,
	FINALFUNC = _ward.subject_set_agg_final,
	COMBINEFUNC = _ward.subject_set_agg_combine,
	SERIALFUNC = _ward.subject_set_agg_serialize,
	DESERIALFUNC = _ward.subject_set_agg_deserialize,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE _ward.subject_set_agg(bigint) IS 'subject set of all values; never NULL';

CREATE AGGREGATE _ward.subject_set_union(subject_set bytea) (
	SFUNC = _ward.subject_set_agg_merge,
	STYPE = internal,
	FINALFUNC = _ward.subject_set_agg_final,
	COMBINEFUNC = _ward.subject_set_agg_combine,
	SERIALFUNC = _ward.subject_set_agg_serialize,
	DESERIALFUNC = _ward.subject_set_agg_deserialize,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE _ward.subject_set_union(bytea) IS 'union of subject sets; never NULL';

-- Which sets is somebody in? For sets of few members the index says it exactly, larger
-- ones are opened (trail/subject_gin.c).
CREATE OPERATOR _ward.@> (
	FUNCTION = _ward.subject_set_contains,
	LEFTARG = bytea,
	RIGHTARG = bigint,
	RESTRICT = contsel,
	JOIN = contjoinsel
);
COMMENT ON OPERATOR _ward.@> (bytea, bigint) IS 'is this a member of the subject set?';

CREATE FUNCTION _ward.subject_set_gin_extract(subject_set bytea, nkeys internal, nulls internal) RETURNS internal
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_set_gin_extract';
CREATE FUNCTION _ward.subject_set_gin_query(member bigint, nkeys internal, strategy int2, partial internal, extra internal,
	nulls internal, mode internal)
	RETURNS internal
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_set_gin_query';
CREATE FUNCTION _ward.subject_set_gin_consistent(present internal, strategy int2, member bigint, nkeys integer, extra internal,
	recheck internal, keys internal, nulls internal)
	RETURNS boolean
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'ward_subject_set_gin_consistent';

CREATE OPERATOR CLASS _ward.subject_set_ops FOR TYPE bytea USING gin AS
	OPERATOR 1 _ward.@> (bytea, bigint),
	FUNCTION 1 pg_catalog.btint4cmp(int4, int4),
	FUNCTION 2 _ward.subject_set_gin_extract(bytea, internal, internal),
	FUNCTION 3 _ward.subject_set_gin_query(bigint, internal, int2, internal, internal, internal, internal),
	FUNCTION 4 _ward.subject_set_gin_consistent(internal, int2, bigint, integer, internal, internal, internal, internal),
	STORAGE int4;
COMMENT ON OPERATOR CLASS _ward.subject_set_ops USING gin IS 'finds the subject sets that somebody is in';

REVOKE ALL ON FUNCTION
	_ward.subject_set(bigint[]),
	_ward.subject_set_count(bytea),
	_ward.subject_set_contains(bytea, bigint),
	_ward.subject_set_members(bytea),
	_ward.subject_set_minus(bytea, bytea),
	_ward.subject_set_between(bytea, bigint, bigint),
	_ward.subject_set_agg_add(internal, bigint),
	_ward.subject_set_agg_merge(internal, bytea),
	_ward.subject_set_agg_combine(internal, internal),
	_ward.subject_set_agg_serialize(internal),
	_ward.subject_set_agg_deserialize(bytea, internal),
	_ward.subject_set_agg_final(internal),
	_ward.subject_set_agg(bigint),
	_ward.subject_set_union(bytea),
	_ward.subject_set_gin_extract(bytea, internal, internal),
	_ward.subject_set_gin_query(bigint, internal, int2, internal, internal, internal, internal),
	_ward.subject_set_gin_consistent(internal, int2, bigint, integer, internal, internal, internal, internal)
	FROM PUBLIC;
