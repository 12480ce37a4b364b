/*
 * trigram.c
 *		Keyed trigrams of sealed text: what a column's GIN index for LIKE and ILIKE holds.
 *
 * A trigram is three successive characters of the folded text; the index holds the
 * first 64 bits of its CMAC under a key of its own (docs/envelope.md).  Rules:
 *
 * - Folding is lower() under the index's collation, and then what makes that work
 *   character by character: lower() heeds the neighbours of a final sigma and of dotted
 *   and dotless i alone.  So the fold of a part of a text is a part of the fold of the
 *   text, and a pattern's literal runs can be looked for (LIKE), also where case does
 *   not matter (ILIKE compares what lower() makes of both sides).
 * - The index answers "perhaps".  What matches is decided on the opened text.
 * - Filling the index opens values and needs no right: whoever writes a row may
 *   maintain its index, and learns nothing.  It is no disclosure and is not counted.
 * - Searching needs the right also where nothing is found: a role without it would
 *   learn by trial what the column holds.
 *
 * The CMAC contexts are this backend's own; seal_key_sync() drops them.  No locks.
 */
#include "seal/sealed_int.h"

#include "access/gin.h"
#include "catalog/pg_collation.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/formatting.h"
#include "utils/pg_locale.h"

WARD_FUNCTION(ward_sealed_trigrams);
WARD_FUNCTION(ward_sealed_pattern_trigrams);
WARD_FUNCTION(ward_sealed_trigrams_match);

/* Part of the format. */
#define TRIGRAM_LABEL "pg_ward trigram of text"

#define TRIGRAM_CHARACTERS 3
#define TRIGRAM_KEYS 8

/* Trigrams of a long text are made unique each time that so many have come together. */
#define TRIGRAM_BATCH (1 << 16)

/*
 * The most that are looked for.  They are in the order of their keyed values, so these
 * are as good as any.
 */
#define TRIGRAM_QUERY_MAX 64

typedef struct TrigramKey
{
	SealKeyId key;
	SealMac mac;
} TrigramKey;

typedef struct TrigramList
{
	TrigramKey *key;
	int64 *items;
	Size count;
	Size unique; /* how many of them are sorted and unique */
	Size room;
} TrigramList;

static TrigramKey trigram_keys[TRIGRAM_KEYS];
static int trigram_keys_used = 0;
static int trigram_keys_next = 0;

/* See seal_int.h. */
void
seal_trigram_forget(void)
{
	for (int i = 0; i < trigram_keys_used; i++)
	{
		seal_cipher_mac_free(&trigram_keys[i].mac);
		trigram_keys[i].key = SEAL_KEY_NONE;
	}
	trigram_keys_used = 0;
	trigram_keys_next = 0;
}

/* The CMAC of a key's trigrams.  Raises WD1xx, WD20x; and where it is for no trigrams. */
static TrigramKey *
seal_trigram_key(SealKeyId id)
{
	uint8 secret[SEAL_SECRET_LENGTH];
	uint8 trigram_key[SEAL_SECRET_LENGTH];
	const SealKey *key;
	TrigramKey *entry;
	bool ok;

	seal_key_sync();
	for (int i = 0; i < trigram_keys_used; i++)
		if (trigram_keys[i].key == id && trigram_keys[i].mac.cbc != NULL)
			return &trigram_keys[i];
	key = seal_key_require(id);
	if (key->search != SEAL_SEARCH_SUBSTRING)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("values sealed under key %s can't be indexed by their trigrams",
					seal_key_label(id)),
			 errdetail("The key was not created for it: trigrams tell more than its search mode "
					   "allows."),
			 errhint("Protect the column under a key with search 'substring'.")));
	seal_key_unwrap(key, &key->search_secret, secret);
	if (trigram_keys_used < TRIGRAM_KEYS)
		entry = &trigram_keys[trigram_keys_used++];
	else
	{
		entry = &trigram_keys[trigram_keys_next];
		trigram_keys_next = (trigram_keys_next + 1) % TRIGRAM_KEYS;
		seal_cipher_mac_free(&entry->mac);
	}
	entry->key = id;
	ok = seal_cipher_derive(secret, TRIGRAM_LABEL, trigram_key) &&
		 seal_cipher_mac_init(&entry->mac, trigram_key);
	core_secret_wipe(secret, sizeof(secret));
	core_secret_wipe(trigram_key, sizeof(trigram_key));
	if (!ok)
		seal_key_cipher_failed("prepare a key of trigrams");
	return entry;
}

/* ----------------------------------------------------------------
 * Folding
 * ----------------------------------------------------------------
 */

/*
 * Undoes what lower() makes dependent on neighbours: final sigma; dotted and dotless i,
 * and the dot above that some languages add or take.  Those are all that Unicode has
 * (SpecialCasing.txt).
 */
static Size
seal_trigram_even_out(char *text, Size len)
{
	Size to = 0;

	for (Size from = 0; from < len; from++)
	{
		uint8 first = (uint8) text[from];
		uint8 second = from + 1 < len ? (uint8) text[from + 1] : 0;

		if (first == 0xcc && second == 0x87) /* U+0307, combining dot above */
			from++;
		else if (first == 0xc4 && second == 0xb1) /* U+0131, dotless i */
		{
			text[to++] = 'i';
			from++;
		}
		else if (first == 0xcf && second == 0x82) /* U+03C2, final sigma */
		{
			text[to++] = (char) 0xcf;
			text[to++] = (char) 0x83;
			from++;
		}
		else
			text[to++] = text[from];
	}
	return to;
}

/* A text folded; palloc'd, to be wiped by the caller. */
static char *
seal_trigram_fold(const char *text, Size len, Oid collation, Size *folded_len)
{
	char *folded = str_tolower(text, len, collation);

	*folded_len = strlen(folded);
	if (GetDatabaseEncoding() == PG_UTF8)
		*folded_len = seal_trigram_even_out(folded, *folded_len);
	return folded;
}

/* Raises where folding would not work character by character. */
static void
seal_trigram_check_collation(Oid collation)
{
	pg_locale_t locale;

	if (GetDatabaseEncoding() == PG_UTF8 || lc_ctype_is_c(collation))
		return;
	locale = pg_newlocale_from_collation(collation);
	if (locale != NULL && locale->provider == COLLPROVIDER_ICU)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("search by substring needs a database in UTF-8 where the collation "
							   "is of ICU"),
						errhint("Give the column a collation of libc, say \"C\".")));
}

/* ----------------------------------------------------------------
 * Trigrams
 * ----------------------------------------------------------------
 */

static int
seal_trigram_compare(const void *a, const void *b)
{
	int64 x = *(const int64 *) a;
	int64 y = *(const int64 *) b;

	return x < y ? -1 : x > y ? 1 : 0;
}

static void
seal_trigram_sort(TrigramList *list)
{
	Size to = 0;

	if (list->count == list->unique)
		return;
	qsort(list->items, list->count, sizeof(int64), seal_trigram_compare);
	for (Size i = 0; i < list->count; i++)
		if (to == 0 || list->items[to - 1] != list->items[i])
			list->items[to++] = list->items[i];
	list->count = list->unique = to;
}

static void
seal_trigram_add(TrigramList *list, const char *trigram, Size len)
{
	uint8 out[16];
	uint64 value = 0;

	if (list->count - list->unique >= TRIGRAM_BATCH)
		seal_trigram_sort(list);
	if (list->count == list->room)
	{
		list->room = list->room == 0 ? 64 : list->room * 2;
		list->items = list->items == NULL ? palloc(list->room * sizeof(int64))
										  : repalloc(list->items, list->room * sizeof(int64));
	}
	if (unlikely(!seal_cipher_mac(&list->key->mac, trigram, len, out)))
		seal_key_cipher_failed("compute a trigram");
	for (int i = 0; i < 8; i++)
		value = value << 8 | out[i];
	list->items[list->count++] = (int64) value;
}

/* All trigrams of a folded text. */
static void
seal_trigram_add_all(TrigramList *list, const char *text, Size len)
{
	int encoding = GetDatabaseEncoding();
	Size starts[TRIGRAM_CHARACTERS];
	Size at = 0;

	for (int n = 0; at < len; n++)
	{
		Size step = (Size) pg_encoding_mblen(encoding, text + at);

		if (n % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		starts[n % TRIGRAM_CHARACTERS] = at;
		at += Min(step, len - at);
		if (n >= TRIGRAM_CHARACTERS - 1)
		{
			/* The oldest of the last three starts. */
			Size start = starts[(n + 1) % TRIGRAM_CHARACTERS];

			seal_trigram_add(list, text + start, at - start);
		}
	}
}

static void
seal_trigram_add_folded(TrigramList *list, const char *text, Size len, Oid collation)
{
	char *folded;
	Size folded_len;
	Size whole;

	if (len == 0)
		return;
	folded = seal_trigram_fold(text, len, collation, &folded_len);
	whole = strlen(folded);
	PG_TRY();
	{
		seal_trigram_add_all(list, folded, folded_len);
	}
	PG_FINALLY();
	{
		core_secret_wipe(folded, whole);
		pfree(folded);
	}
	PG_END_TRY();
}

/*
 * The trigrams of what a pattern asks for literally: its runs between % and _, without
 * the escapes.  A last backslash escapes nothing; LIKE itself complains of it.  run is
 * room for the longest.
 */
static void
seal_trigram_add_pattern(TrigramList *list, const char *pattern, Size len, char *run, Oid collation)
{
	int encoding = GetDatabaseEncoding();
	Size run_len = 0;
	Size at = 0;

	while (at < len)
	{
		Size step;

		if (pattern[at] == '%' || pattern[at] == '_')
		{
			seal_trigram_add_folded(list, run, run_len, collation);
			run_len = 0;
			at++;
			continue;
		}
		if (pattern[at] == '\\' && ++at == len)
			break;
		step = Min((Size) pg_encoding_mblen(encoding, pattern + at), len - at);
		memcpy(run + run_len, pattern + at, step);
		run_len += step;
		at += step;
	}
	seal_trigram_add_folded(list, run, run_len, collation);
}

/* Opens a value or pattern and gives its trigrams as GIN wants them. */
static Datum *
seal_trigram_extract(struct varlena *value, bool pattern, Oid collation, int32 *count)
{
	TrigramList list = {0};
	struct varlena *opened;
	char *run;
	Size len;
	Datum *entries;

	seal_trigram_check_collation(collation);
	opened = seal_envelope_open_uncounted(value);
	len = VARSIZE_ANY_EXHDR(opened);
	run = pattern ? palloc(len + 1) : NULL;
	PG_TRY();
	{
		/* After opening, which may drop all contexts; nothing below does. */
		list.key = seal_trigram_key(seal_envelope_key(value));
		if (pattern)
			seal_trigram_add_pattern(&list, VARDATA_ANY(opened), len, run, collation);
		else
			seal_trigram_add_folded(&list, VARDATA_ANY(opened), len, collation);
	}
	PG_FINALLY();
	{
		core_secret_wipe(VARDATA_ANY(opened), len);
		pfree(opened);
		if (run != NULL)
		{
			core_secret_wipe(run, len + 1);
			pfree(run);
		}
	}
	PG_END_TRY();
	seal_trigram_sort(&list);
	if (pattern)
		list.count = Min(list.count, TRIGRAM_QUERY_MAX);
	*count = (int32) list.count;
	if (list.count == 0)
		return NULL;
	entries = palloc(list.count * sizeof(Datum));
	for (Size i = 0; i < list.count; i++)
		entries[i] = Int64GetDatum(list.items[i]);
	pfree(list.items);
	return entries;
}

/* ----------------------------------------------------------------
 * The operator class
 * ----------------------------------------------------------------
 */

/* extractValue */
Datum
ward_sealed_trigrams(PG_FUNCTION_ARGS)
{
	struct varlena *value = (struct varlena *) PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0));
	int32 *count = (int32 *) PG_GETARG_POINTER(1);

	seal_sealed_io_check_kind(value, SEAL_KIND_TEXT);
	PG_RETURN_POINTER(seal_trigram_extract(value, false, PG_GET_COLLATION(), count));
}

/* extractQuery; the planner calls it too, to learn what a search will cost. */
Datum
ward_sealed_pattern_trigrams(PG_FUNCTION_ARGS)
{
	struct varlena *value = (struct varlena *) PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0));
	int32 *count = (int32 *) PG_GETARG_POINTER(1);
	int32 *mode = (int32 *) PG_GETARG_POINTER(6);
	Datum *entries;

	/* Trigrams under another key than the column's would find nothing. */
	if (!seal_envelope_is_pattern(value))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("an index over trigrams is searched by LIKE and ILIKE alone"),
						errhint("Write LIKE or ILIKE, and the pattern as text.")));
	seal_sealed_io_check_kind(value, SEAL_KIND_TEXT);
	seal_right_require(seal_envelope_key(value));
	entries = seal_trigram_extract(value, true, PG_GET_COLLATION(), count);
	/* Nothing to look for: every value may match. */
	if (entries == NULL)
		*mode = GIN_SEARCH_MODE_ALL;
	PG_RETURN_POINTER(entries);
}

/* triConsistent: all of them must be there, and then perhaps. */
Datum
ward_sealed_trigrams_match(PG_FUNCTION_ARGS)
{
	GinTernaryValue *check = (GinTernaryValue *) PG_GETARG_POINTER(0);
	int32 count = PG_GETARG_INT32(3);

	for (int i = 0; i < count; i++)
		if (check[i] == GIN_FALSE)
			PG_RETURN_GIN_TERNARY_VALUE(GIN_FALSE);
	PG_RETURN_GIN_TERNARY_VALUE(GIN_MAYBE);
}
