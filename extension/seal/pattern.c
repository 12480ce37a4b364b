/*
 * pattern.c
 *		LIKE and ILIKE between a sealed text and a pattern that is sealed, too.
 *
 * rewrite_pattern.c puts these in place of text's own operators, so that an index over
 * trigrams (trigram.c) can serve them and no plan holds the pattern.  They match by the
 * server's functions on the opened text, so answers are text's own; and they are an
 * opening like any other: with the right, and counted.
 *
 * A pattern is an envelope under the column's key, marked as a literal (whoever typed it
 * needs no right to it, and output shows armor) and without a tag.  It is never stored.
 *
 * What a call has opened or sealed last is kept for the next, in the memory of the
 * executor's expression.  No locks.
 */
#include "seal/sealed_int.h"

#include "utils/fmgrprotos.h"

WARD_FUNCTION(ward_sealed_pattern);
WARD_FUNCTION(ward_sealed_like);
WARD_FUNCTION(ward_sealed_iclike);

/* From one varlena to the other. */
typedef struct PatternCache
{
	struct varlena *from;
	struct varlena *to;
} PatternCache;

static bool
seal_pattern_same(const struct varlena *a, const struct varlena *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		   memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

static struct varlena *
seal_pattern_keep(const struct varlena *value, MemoryContext context)
{
	struct varlena *copy = MemoryContextAlloc(context, VARSIZE_ANY(value));

	memcpy(copy, value, VARSIZE_ANY(value));
	return copy;
}

static void
seal_pattern_drop(struct varlena *value)
{
	if (value == NULL)
		return;
	core_secret_wipe(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	pfree(value);
}

static PatternCache *
seal_pattern_cache(FmgrInfo *flinfo)
{
	if (flinfo->fn_extra == NULL)
		flinfo->fn_extra = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(PatternCache));
	return flinfo->fn_extra;
}

/* Remembers copies; what was remembered is wiped. */
static void
seal_pattern_remember(PatternCache *cache, const struct varlena *from, const struct varlena *to,
					  MemoryContext context)
{
	struct varlena *new_from = seal_pattern_keep(from, context);
	struct varlena *new_to = seal_pattern_keep(to, context);

	seal_pattern_drop(cache->from);
	seal_pattern_drop(cache->to);
	cache->from = new_from;
	cache->to = new_to;
}

/* sealed_pattern(text, key): a pattern to be matched with a column under a key. */
Datum
ward_sealed_pattern(PG_FUNCTION_ARGS)
{
	struct varlena *text = (struct varlena *) PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0));
	SealKeyId key = PG_GETARG_INT32(1);
	PatternCache *cache = seal_pattern_cache(fcinfo->flinfo);

	core_preload_require();
	/* Before anything can fail: the log quotes the statement that an error ends. */
	seal_touch_mark();
	if (cache->from == NULL || !seal_pattern_same(cache->from, text) ||
		seal_envelope_key(cache->to) != key)
	{
		SealPlain plain;
		struct varlena *sealed;

		seal_kind_plain(&plain, SEAL_KIND_TEXT, VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
		sealed = seal_envelope_seal_pattern(key, &plain);
		seal_kind_release(&plain);
		seal_pattern_remember(cache, text, sealed, fcinfo->flinfo->fn_mcxt);
	}
	/* A copy: the next call may let go of what is kept. */
	PG_RETURN_POINTER(seal_pattern_keep(cache->to, CurrentMemoryContext));
}

static bool
seal_pattern_match(FunctionCallInfo fcinfo, PGFunction match)
{
	struct varlena *value = (struct varlena *) PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0));
	struct varlena *pattern = (struct varlena *) PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(1));
	PatternCache *cache = seal_pattern_cache(fcinfo->flinfo);
	struct varlena *opened;
	volatile bool matches = false;

	core_preload_require();
	seal_sealed_io_check_kind(value, SEAL_KIND_TEXT);
	seal_sealed_io_check_kind(pattern, SEAL_KIND_TEXT);
	/* A pattern that is no literal needs the right each time. */
	if (cache->from == NULL || !seal_envelope_is_literal(pattern) ||
		!seal_pattern_same(cache->from, pattern))
	{
		opened = seal_sealed_io_open(pattern);
		seal_pattern_remember(cache, pattern, opened, fcinfo->flinfo->fn_mcxt);
		seal_pattern_drop(opened);
	}
	opened = seal_sealed_io_open(value);
	/* An error below may print what this statement has computed from it. */
	seal_sealed_io_mark_shown();
	PG_TRY();
	{
		matches = DatumGetBool(DirectFunctionCall2Coll(
			match, PG_GET_COLLATION(), PointerGetDatum(opened), PointerGetDatum(cache->to)));
	}
	PG_FINALLY();
	{
		seal_pattern_drop(opened);
	}
	PG_END_TRY();
	return matches;
}

Datum
ward_sealed_like(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(seal_pattern_match(fcinfo, textlike));
}

Datum
ward_sealed_iclike(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(seal_pattern_match(fcinfo, texticlike));
}
