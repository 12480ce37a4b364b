/*
 * sealed_ops.c
 *		Comparing, hashing and probing sealed values.
 *
 * Values under one key are compared by their equality tags: no plaintext, no
 * right.  A literal is re-tagged under the other side's key.  Everything else is
 * compared by opened text, which needs the right to both.
 *
 * The ordering of the btree operator class is that of the tags: it serves indexes,
 * uniqueness and merge joins, and means nothing to people.  rewrite.c sends ORDER
 * BY to the text.
 */
#include "seal/sealed_int.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

WARD_FUNCTION(ward_sealed_eq);
WARD_FUNCTION(ward_sealed_ne);
WARD_FUNCTION(ward_sealed_lt);
WARD_FUNCTION(ward_sealed_le);
WARD_FUNCTION(ward_sealed_gt);
WARD_FUNCTION(ward_sealed_ge);
WARD_FUNCTION(ward_sealed_cmp);
WARD_FUNCTION(ward_sealed_hash);
WARD_FUNCTION(ward_sealed_hash_extended);
WARD_FUNCTION(ward_sealed_probe);
WARD_FUNCTION(ward_sealed_probe_array);

#define SEALED_ARG(n) ((struct varlena *) PG_GETARG_POINTER(n))

static void
seal_sealed_ops_untagged(void)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
		 errmsg("sealed values without an equality tag can't be indexed, grouped or joined"),
		 errdetail("Their key was created with search 'none'."),
		 errhint(
			 "Cast the column to its base type, which needs the right to open it, or protect it "
			 "under a key with search 'equality'.")));
}

static bool
seal_sealed_ops_same(const SealPlain *a, const SealPlain *b)
{
	return a->kind == b->kind && a->samelen == b->samelen &&
		   memcmp(a->same, b->same, a->samelen) == 0;
}

/* The tag that a literal would have under another key. */
static void
seal_sealed_ops_literal_tag(struct varlena *literal, SealKeyId key, uint8 tag[SEAL_TAG_LENGTH])
{
	SealPlain plain;
	struct varlena *opened = seal_sealed_io_take(literal, &plain);

	seal_envelope_make_tag(key, &plain, tag);
	seal_sealed_io_drop(opened, &plain);
}

static bool
seal_sealed_ops_equal(struct varlena *a, struct varlena *b)
{
	uint8 tag_a[SEAL_TAG_LENGTH];
	uint8 tag_b[SEAL_TAG_LENGTH];
	SealKeyId key_a;
	SealKeyId key_b;
	bool tagged_a = seal_envelope_tag(a, &key_a, tag_a);
	bool tagged_b = seal_envelope_tag(b, &key_b, tag_b);
	struct varlena *opened_a;
	struct varlena *opened_b;
	SealPlain plain_a;
	SealPlain plain_b;
	bool equal;

	if (tagged_a && tagged_b && key_a == key_b)
		return memcmp(tag_a, tag_b, SEAL_TAG_LENGTH) == 0;
	if (tagged_a && seal_envelope_is_literal(b))
	{
		seal_sealed_ops_literal_tag(b, key_a, tag_b);
		return memcmp(tag_a, tag_b, SEAL_TAG_LENGTH) == 0;
	}
	if (tagged_b && seal_envelope_is_literal(a))
	{
		seal_sealed_ops_literal_tag(a, key_b, tag_a);
		return memcmp(tag_a, tag_b, SEAL_TAG_LENGTH) == 0;
	}
	opened_a = seal_sealed_io_take(a, &plain_a);
	opened_b = seal_sealed_io_take(b, &plain_b);
	equal = seal_sealed_ops_same(&plain_a, &plain_b);
	seal_sealed_io_drop(opened_a, &plain_a);
	seal_sealed_io_drop(opened_b, &plain_b);
	return equal;
}

/* Compares with a value of the base type; where there is a tag, without opening. */
static bool
seal_sealed_ops_equal_base(struct varlena *sealed, SealKind kind, PGFunction convert, Datum value)
{
	uint8 tag[SEAL_TAG_LENGTH];
	uint8 other[SEAL_TAG_LENGTH];
	SealKeyId key;
	SealPlain plain;
	bool equal;

	seal_kind_encode(&plain, kind, seal_sealed_cast_convert(convert, value));
	if (seal_envelope_tag(sealed, &key, tag))
	{
		seal_envelope_make_tag(key, &plain, other);
		equal = memcmp(tag, other, SEAL_TAG_LENGTH) == 0;
	}
	else
	{
		SealPlain mine;
		struct varlena *opened = seal_sealed_io_take(sealed, &mine);

		equal = seal_sealed_ops_same(&mine, &plain);
		seal_sealed_io_drop(opened, &mine);
	}
	seal_kind_release(&plain);
	return equal;
}

/* The order of the tags, for a value of the base type: as if sealed under the same key. */
static int
seal_sealed_ops_compare_base(struct varlena *sealed, SealKind kind, PGFunction convert, Datum value)
{
	uint8 tag[SEAL_TAG_LENGTH];
	uint8 other[SEAL_TAG_LENGTH];
	SealKeyId key;
	SealPlain plain;

	if (!seal_envelope_tag(sealed, &key, tag))
		seal_sealed_ops_untagged();
	seal_kind_encode(&plain, kind, seal_sealed_cast_convert(convert, value));
	seal_envelope_make_tag(key, &plain, other);
	seal_kind_release(&plain);
	return memcmp(tag, other, SEAL_TAG_LENGTH);
}

/* By key, then tag: a total order, also over values that share no key. */
static int
seal_sealed_ops_compare(struct varlena *a, struct varlena *b)
{
	uint8 tag_a[SEAL_TAG_LENGTH];
	uint8 tag_b[SEAL_TAG_LENGTH];
	SealKeyId key_a;
	SealKeyId key_b;

	if (!seal_envelope_tag(a, &key_a, tag_a) || !seal_envelope_tag(b, &key_b, tag_b))
		seal_sealed_ops_untagged();
	if (key_a != key_b && seal_envelope_is_literal(b))
	{
		seal_sealed_ops_literal_tag(b, key_a, tag_b);
		key_b = key_a;
	}
	else if (key_a != key_b && seal_envelope_is_literal(a))
	{
		seal_sealed_ops_literal_tag(a, key_b, tag_a);
		key_a = key_b;
	}
	if (key_a != key_b)
		return key_a < key_b ? -1 : 1;
	return memcmp(tag_a, tag_b, SEAL_TAG_LENGTH);
}

Datum
ward_sealed_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(seal_sealed_ops_equal(SEALED_ARG(0), SEALED_ARG(1)));
}

Datum
ward_sealed_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!seal_sealed_ops_equal(SEALED_ARG(0), SEALED_ARG(1)));
}

Datum
ward_sealed_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(seal_sealed_ops_compare(SEALED_ARG(0), SEALED_ARG(1)) < 0);
}

Datum
ward_sealed_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(seal_sealed_ops_compare(SEALED_ARG(0), SEALED_ARG(1)) <= 0);
}

Datum
ward_sealed_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(seal_sealed_ops_compare(SEALED_ARG(0), SEALED_ARG(1)) > 0);
}

Datum
ward_sealed_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(seal_sealed_ops_compare(SEALED_ARG(0), SEALED_ARG(1)) >= 0);
}

Datum
ward_sealed_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(seal_sealed_ops_compare(SEALED_ARG(0), SEALED_ARG(1)));
}

static void
seal_sealed_ops_hash_tag(struct varlena *value, uint8 tag[SEAL_TAG_LENGTH])
{
	SealKeyId key;

	if (!seal_envelope_tag(value, &key, tag))
		seal_sealed_ops_untagged();
}

Datum
ward_sealed_hash(PG_FUNCTION_ARGS)
{
	uint8 tag[SEAL_TAG_LENGTH];

	seal_sealed_ops_hash_tag(SEALED_ARG(0), tag);
	return hash_any(tag, SEAL_TAG_LENGTH);
}

Datum
ward_sealed_hash_extended(PG_FUNCTION_ARGS)
{
	uint8 tag[SEAL_TAG_LENGTH];

	seal_sealed_ops_hash_tag(SEALED_ARG(0), tag);
	return hash_any_extended(tag, SEAL_TAG_LENGTH, PG_GETARG_INT64(1));
}

/* sealed_NAME with OTHER, both ways round; what SQL converts by itself is converted. */
#define SEALED_MIXED(name, kind, other, convert)                                                   \
	WARD_FUNCTION(ward_sealed_##name##_eq_##other);                                                \
	WARD_FUNCTION(ward_sealed_##name##_ne_##other);                                                \
	WARD_FUNCTION(ward_sealed_##name##_cmp_##other);                                               \
	WARD_FUNCTION(ward_##other##_eq_sealed_##name);                                                \
	WARD_FUNCTION(ward_##other##_ne_sealed_##name);                                                \
	WARD_FUNCTION(ward_##other##_cmp_sealed_##name);                                               \
	Datum ward_sealed_##name##_eq_##other(PG_FUNCTION_ARGS)                                        \
	{                                                                                              \
		PG_RETURN_BOOL(                                                                            \
			seal_sealed_ops_equal_base(SEALED_ARG(0), kind, convert, PG_GETARG_DATUM(1)));         \
	}                                                                                              \
	Datum ward_sealed_##name##_ne_##other(PG_FUNCTION_ARGS)                                        \
	{                                                                                              \
		PG_RETURN_BOOL(                                                                            \
			!seal_sealed_ops_equal_base(SEALED_ARG(0), kind, convert, PG_GETARG_DATUM(1)));        \
	}                                                                                              \
	Datum ward_sealed_##name##_cmp_##other(PG_FUNCTION_ARGS)                                       \
	{                                                                                              \
		PG_RETURN_INT32(                                                                           \
			seal_sealed_ops_compare_base(SEALED_ARG(0), kind, convert, PG_GETARG_DATUM(1)));       \
	}                                                                                              \
	Datum ward_##other##_eq_sealed_##name(PG_FUNCTION_ARGS)                                        \
	{                                                                                              \
		PG_RETURN_BOOL(                                                                            \
			seal_sealed_ops_equal_base(SEALED_ARG(1), kind, convert, PG_GETARG_DATUM(0)));         \
	}                                                                                              \
	Datum ward_##other##_ne_sealed_##name(PG_FUNCTION_ARGS)                                        \
	{                                                                                              \
		PG_RETURN_BOOL(                                                                            \
			!seal_sealed_ops_equal_base(SEALED_ARG(1), kind, convert, PG_GETARG_DATUM(0)));        \
	}                                                                                              \
	Datum ward_##other##_cmp_sealed_##name(PG_FUNCTION_ARGS)                                       \
	{                                                                                              \
		PG_RETURN_INT32(                                                                           \
			-seal_sealed_ops_compare_base(SEALED_ARG(1), kind, convert, PG_GETARG_DATUM(0)));      \
	}

SEALED_MIXED(text, SEAL_KIND_TEXT, text, NULL)
SEALED_MIXED(bytea, SEAL_KIND_BYTEA, bytea, NULL)
SEALED_MIXED(bool, SEAL_KIND_BOOL, bool, NULL)
SEALED_MIXED(int8, SEAL_KIND_INT8, int8, NULL)
SEALED_MIXED(int8, SEAL_KIND_INT8, int4, int48)
SEALED_MIXED(int8, SEAL_KIND_INT8, int2, int28)
SEALED_MIXED(numeric, SEAL_KIND_NUMERIC, numeric, NULL)
SEALED_MIXED(date, SEAL_KIND_DATE, date, NULL)
SEALED_MIXED(timestamptz, SEAL_KIND_TIMESTAMPTZ, timestamptz, NULL)
SEALED_MIXED(timestamptz, SEAL_KIND_TIMESTAMPTZ, timestamp, timestamp_timestamptz)
SEALED_MIXED(timestamptz, SEAL_KIND_TIMESTAMPTZ, date, date_timestamptz)
SEALED_MIXED(uuid, SEAL_KIND_UUID, uuid, NULL)
SEALED_MIXED(jsonb, SEAL_KIND_JSONB, jsonb, NULL)

/* A value as it is to be looked for under a key; needs no right for literals. */
struct varlena *
seal_sealed_ops_probe(struct varlena *value, SealKeyId key)
{
	struct varlena *opened;
	struct varlena *probe;
	SealPlain plain;

	if (seal_envelope_key(value) == key)
		return value;
	opened = seal_sealed_io_take(value, &plain);
	probe = seal_envelope_probe(key, &plain);
	seal_sealed_io_drop(opened, &plain);
	return probe;
}

Datum
ward_sealed_probe(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(seal_sealed_ops_probe(SEALED_ARG(0), PG_GETARG_INT32(1)));
}

static Datum
seal_sealed_ops_probe_base(SealKind kind, Datum value, SealKeyId key)
{
	SealPlain plain;
	struct varlena *probe;

	seal_kind_encode(&plain, kind, value);
	probe = seal_envelope_probe(key, &plain);
	seal_kind_release(&plain);
	return PointerGetDatum(probe);
}

/*
 * Probes for the items of an array (IN, = ANY); NULL items stay.  The items are of a
 * sealed type where kind is 0, else of that kind's base type.
 */
static Datum
seal_sealed_ops_probe_items(ArrayType *array, int kind, SealKeyId key, Oid result_type)
{
	Oid type = ARR_ELEMTYPE(array);
	Datum *items;
	bool *nulls;
	int16 length;
	bool by_value;
	char align;
	int count;
	int lower = 1;

	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(array, type, length, by_value, align, &items, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			continue;
		if (kind == 0)
			items[i] = PointerGetDatum(
				seal_sealed_ops_probe((struct varlena *) DatumGetPointer(items[i]), key));
		else
			items[i] = seal_sealed_ops_probe_base((SealKind) kind, items[i], key);
	}
	return PointerGetDatum(construct_md_array(items, nulls, count > 0 ? 1 : 0, &count, &lower,
											  result_type, -1, false, TYPALIGN_INT));
}

Datum
ward_sealed_probe_array(PG_FUNCTION_ARGS)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);

	PG_RETURN_DATUM(seal_sealed_ops_probe_items(array, 0, PG_GETARG_INT32(1), ARR_ELEMTYPE(array)));
}

static Datum
seal_sealed_ops_probe_base_array(SealKind kind, ArrayType *array, SealKeyId key)
{
	const SealObjects *objects = seal_sealed_type_of_kind(kind);

	if (objects == NULL)
		elog(ERROR, "sealed types are missing from the catalog");
	return seal_sealed_ops_probe_items(array, kind, key, objects->type);
}

#define SEALED_PROBE(name, kind)                                                                   \
	WARD_FUNCTION(ward_sealed_probe_##name);                                                       \
	WARD_FUNCTION(ward_sealed_probe_##name##_array);                                               \
	Datum ward_sealed_probe_##name(PG_FUNCTION_ARGS)                                               \
	{                                                                                              \
		PG_RETURN_DATUM(seal_sealed_ops_probe_base(kind, PG_GETARG_DATUM(0), PG_GETARG_INT32(1))); \
	}                                                                                              \
	Datum ward_sealed_probe_##name##_array(PG_FUNCTION_ARGS)                                       \
	{                                                                                              \
		PG_RETURN_DATUM(                                                                           \
			seal_sealed_ops_probe_base_array(kind, PG_GETARG_ARRAYTYPE_P(0), PG_GETARG_INT32(1))); \
	}

SEALED_PROBE(text, SEAL_KIND_TEXT)
SEALED_PROBE(bytea, SEAL_KIND_BYTEA)
SEALED_PROBE(bool, SEAL_KIND_BOOL)
SEALED_PROBE(int8, SEAL_KIND_INT8)
SEALED_PROBE(numeric, SEAL_KIND_NUMERIC)
SEALED_PROBE(date, SEAL_KIND_DATE)
SEALED_PROBE(timestamptz, SEAL_KIND_TIMESTAMPTZ)
SEALED_PROBE(uuid, SEAL_KIND_UUID)
SEALED_PROBE(jsonb, SEAL_KIND_JSONB)
