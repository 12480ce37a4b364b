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

REVOKE ALL ON FUNCTION
	_ward.subject_set(bigint[]),
	_ward.subject_set_count(bytea),
	_ward.subject_set_contains(bytea, bigint),
	_ward.subject_set_members(bytea),
	_ward.subject_set_minus(bytea, bytea),
	_ward.subject_set_agg_add(internal, bigint),
	_ward.subject_set_agg_merge(internal, bytea),
	_ward.subject_set_agg_combine(internal, internal),
	_ward.subject_set_agg_serialize(internal),
	_ward.subject_set_agg_deserialize(bytea, internal),
	_ward.subject_set_agg_final(internal),
	_ward.subject_set_agg(bigint),
	_ward.subject_set_union(bytea)
	FROM PUBLIC;
