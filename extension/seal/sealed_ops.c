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
WARD_FUNCTION(ward_sealed_eq_text);
WARD_FUNCTION(ward_sealed_ne_text);
WARD_FUNCTION(ward_text_eq_sealed);
WARD_FUNCTION(ward_text_ne_sealed);
WARD_FUNCTION(ward_sealed_probe);
WARD_FUNCTION(ward_sealed_probe_text);
WARD_FUNCTION(ward_sealed_probe_array);
WARD_FUNCTION(ward_sealed_probe_text_array);

#define SEALED_ARG(n) ((struct varlena *) PG_GETARG_POINTER(n))

static void
seal_sealed_ops_untagged(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("sealed values without an equality tag can't be indexed, grouped or joined"),
			 errdetail("Their key was created with search 'none'."),
			 errhint("Cast the column to text, which needs the right to open it, or protect it "
					 "under a key with search 'equality'.")));
}

static void
seal_sealed_ops_wipe(struct varlena *plain)
{
	core_secret_wipe(VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain));
	pfree(plain);
}

/* The tag that a literal would have under another key. */
static void
seal_sealed_ops_literal_tag(struct varlena *literal, SealKeyId key, uint8 tag[SEAL_TAG_LENGTH])
{
	struct varlena *plain = seal_envelope_open_uncounted(
		(struct varlena *) PG_DETOAST_DATUM_PACKED(PointerGetDatum(literal)));

	seal_envelope_make_tag(key, VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain), tag);
	seal_sealed_ops_wipe(plain);
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
	struct varlena *plain_a;
	struct varlena *plain_b;
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
	plain_a = seal_sealed_io_open((struct varlena *) PG_DETOAST_DATUM_PACKED(PointerGetDatum(a)));
	plain_b = seal_sealed_io_open((struct varlena *) PG_DETOAST_DATUM_PACKED(PointerGetDatum(b)));
	equal = VARSIZE_ANY_EXHDR(plain_a) == VARSIZE_ANY_EXHDR(plain_b) &&
			memcmp(VARDATA_ANY(plain_a), VARDATA_ANY(plain_b), VARSIZE_ANY_EXHDR(plain_a)) == 0;
	seal_sealed_ops_wipe(plain_a);
	seal_sealed_ops_wipe(plain_b);
	return equal;
}

static bool
seal_sealed_ops_equal_text(struct varlena *sealed, text *plain)
{
	uint8 tag[SEAL_TAG_LENGTH];
	uint8 other[SEAL_TAG_LENGTH];
	SealKeyId key;
	struct varlena *opened;
	bool equal;

	if (seal_envelope_tag(sealed, &key, tag))
	{
		seal_envelope_make_tag(key, VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain), other);
		return memcmp(tag, other, SEAL_TAG_LENGTH) == 0;
	}
	opened =
		seal_sealed_io_open((struct varlena *) PG_DETOAST_DATUM_PACKED(PointerGetDatum(sealed)));
	equal = VARSIZE_ANY_EXHDR(opened) == VARSIZE_ANY_EXHDR(plain) &&
			memcmp(VARDATA_ANY(opened), VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain)) == 0;
	seal_sealed_ops_wipe(opened);
	return equal;
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

Datum
ward_sealed_eq_text(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(seal_sealed_ops_equal_text(SEALED_ARG(0), PG_GETARG_TEXT_PP(1)));
}

Datum
ward_sealed_ne_text(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!seal_sealed_ops_equal_text(SEALED_ARG(0), PG_GETARG_TEXT_PP(1)));
}

Datum
ward_text_eq_sealed(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(seal_sealed_ops_equal_text(SEALED_ARG(1), PG_GETARG_TEXT_PP(0)));
}

Datum
ward_text_ne_sealed(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!seal_sealed_ops_equal_text(SEALED_ARG(1), PG_GETARG_TEXT_PP(0)));
}

/* A value as it is to be looked for under a key; needs no right for literals. */
struct varlena *
seal_sealed_ops_probe(struct varlena *value, SealKeyId key)
{
	struct varlena *plain;
	struct varlena *probe;

	if (seal_envelope_key(value) == key)
		return value;
	plain = seal_sealed_io_open((struct varlena *) PG_DETOAST_DATUM_PACKED(PointerGetDatum(value)));
	probe = seal_envelope_probe(key, VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain));
	seal_sealed_ops_wipe(plain);
	return probe;
}

Datum
ward_sealed_probe(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(seal_sealed_ops_probe(SEALED_ARG(0), PG_GETARG_INT32(1)));
}

Datum
ward_sealed_probe_text(PG_FUNCTION_ARGS)
{
	text *plain = PG_GETARG_TEXT_PP(0);

	PG_RETURN_POINTER(
		seal_envelope_probe(PG_GETARG_INT32(1), VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain)));
}

/* Probes for the items of an array (IN, = ANY); NULL items stay. */
static ArrayType *
seal_sealed_ops_probe_items(ArrayType *array, SealKeyId key, Oid result_type, bool sealed)
{
	Datum *items;
	bool *nulls;
	int count;
	int lower = 1;

	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_INT, &items, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			continue;
		if (sealed)
			items[i] = PointerGetDatum(
				seal_sealed_ops_probe((struct varlena *) DatumGetPointer(items[i]), key));
		else
		{
			text *plain = DatumGetTextPP(items[i]);

			items[i] = PointerGetDatum(
				seal_envelope_probe(key, VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain)));
		}
	}
	return construct_md_array(items, nulls, count > 0 ? 1 : 0, &count, &lower, result_type, -1,
							  false, TYPALIGN_INT);
}

Datum
ward_sealed_probe_array(PG_FUNCTION_ARGS)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);

	PG_RETURN_ARRAYTYPE_P(
		seal_sealed_ops_probe_items(array, PG_GETARG_INT32(1), ARR_ELEMTYPE(array), true));
}

Datum
ward_sealed_probe_text_array(PG_FUNCTION_ARGS)
{
	Oid result = get_element_type(get_fn_expr_rettype(fcinfo->flinfo));

	if (!OidIsValid(result))
		result = seal_sealed_type_oid();
	PG_RETURN_ARRAYTYPE_P(
		seal_sealed_ops_probe_items(PG_GETARG_ARRAYTYPE_P(0), PG_GETARG_INT32(1), result, false));
}
