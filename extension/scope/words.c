/*
 * words.c
 *		Words that many answers share (columns, reasons, sessions), and sets of them.
 *
 * A dictionary gives each text a number, and keeps it as long as its context lives.  Sets
 * of its words are kept once each, so that joining two is mostly a look at a pointer;
 * they live in a context of their own, which may go before the dictionary does.
 *
 * Nothing is locked or shared.
 */
#include "scope/scope_int.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

typedef struct WordsEntry
{
	const char *text; /* hash key; inside the dictionary's text */
	uint32 hash;
	int number;
	char status;
} WordsEntry;

#define SH_PREFIX words_table
#define SH_ELEMENT_TYPE WordsEntry
#define SH_KEY_TYPE const char *
#define SH_KEY text
#define SH_HASH_KEY(tb, key) hash_bytes((const unsigned char *) (key), (int) strlen(key))
#define SH_EQUAL(tb, a, b) (strcmp(a, b) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) ((a)->hash)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct ScopeWords
{
	MemoryContext context;
	words_table_hash *table;
	text **texts; /* each followed by a zero */
	int count;
	int room;
	int *ranks;	 /* where a word stands in byte order */
	int *sorted; /* words in byte order */
	int ranked;	 /* how many words there were when they were sorted */
};

typedef struct WordsSet
{
	const Bitmapset *members; /* the key, compared by content */
	Datum array;			  /* as text[], or 0 until it is wanted */
} WordsSet;

struct ScopeWordSets
{
	MemoryContext context;
	ScopeWords *words;
	HTAB *table;
};

/* ---------------------------------------------------------------- words */

ScopeWords *
scope_words_create(MemoryContext context)
{
	ScopeWords *words = MemoryContextAllocZero(context, sizeof(ScopeWords));

	words->context = context;
	words->table = words_table_create(context, 16, NULL);
	words->room = 16;
	words->texts = MemoryContextAlloc(context, words->room * sizeof(text *));
	return words;
}

int
scope_words_number(ScopeWords *words, const char *text)
{
	WordsEntry *entry = words_table_lookup(words->table, text);
	MemoryContext old;
	Size length = strlen(text);
	bool found;
	struct varlena *copy;

	if (entry != NULL)
		return entry->number;
	if (words->count == words->room)
	{
		words->texts = repalloc_huge(words->texts, (Size) words->room * 2 * sizeof(*words->texts));
		words->room *= 2;
	}
	old = MemoryContextSwitchTo(words->context);
	copy = palloc(VARHDRSZ + length + 1);
	SET_VARSIZE(copy, VARHDRSZ + length);
	memcpy(VARDATA(copy), text, length + 1);
	entry = words_table_insert(words->table, VARDATA(copy), &found);
	MemoryContextSwitchTo(old);
	words->texts[words->count] = copy;
	entry->number = words->count++;
	return entry->number;
}

static int
words_compare(const void *a, const void *b, void *arg)
{
	const ScopeWords *words = arg;

	return strcmp(VARDATA(words->texts[*(const int *) a]), VARDATA(words->texts[*(const int *) b]));
}

/* Sorts the words once, so that those of each answer are sorted as numbers. */
static void
words_rank(ScopeWords *words)
{
	Size size = (Size) words->room * sizeof(int);

	if (words->ranked == words->count)
		return;
	if (words->ranks != NULL)
	{
		pfree(words->ranks);
		pfree(words->sorted);
	}
	words->ranks = MemoryContextAllocHuge(words->context, size);
	words->sorted = MemoryContextAllocHuge(words->context, size);
	for (int i = 0; i < words->count; i++)
		words->sorted[i] = i;
	qsort_arg(words->sorted, words->count, sizeof(int), words_compare, words);
	for (int i = 0; i < words->count; i++)
		words->ranks[words->sorted[i]] = i;
	words->ranked = words->count;
}

static int
words_compare_numbers(const void *a, const void *b)
{
	int left = *(const int *) a;
	int right = *(const int *) b;

	return left < right ? -1 : left > right;
}

/* Sorts numbers of words and drops those that are there twice; returns how many are left. */
uint32
scope_words_tidy(int *numbers, uint32 n)
{
	uint32 kept = 0;
	bool tidy = true;

	for (uint32 i = 1; i < n && tidy; i++)
		tidy = numbers[i - 1] < numbers[i];
	if (tidy)
		return n;
	qsort(numbers, n, sizeof(int), words_compare_numbers);
	for (uint32 i = 0; i < n; i++)
		if (kept == 0 || numbers[kept - 1] != numbers[i])
			numbers[kept++] = numbers[i];
	return kept;
}

/* Words, each given once, as text[] in byte order. */
Datum
scope_words_array(ScopeWords *words, const int *numbers, uint32 n)
{
	int *ranks;
	Datum *elements;
	Datum array;

	if (n == 0)
		return PointerGetDatum(construct_empty_array(TEXTOID));
	words_rank(words);
	ranks = palloc(n * sizeof(int));
	elements = palloc(n * sizeof(Datum));
	for (uint32 i = 0; i < n; i++)
		ranks[i] = words->ranks[numbers[i]];
	n = scope_words_tidy(ranks, n);
	for (uint32 i = 0; i < n; i++)
		elements[i] = PointerGetDatum(words->texts[words->sorted[ranks[i]]]);
	array = PointerGetDatum(construct_array(elements, (int) n, TEXTOID, -1, false, TYPALIGN_INT));
	pfree(ranks);
	pfree(elements);
	return array;
}

/* ---------------------------------------------------------------- sets of words */

ScopeWordSets *
scope_words_sets(ScopeWords *words, MemoryContext context)
{
	HASHCTL control = {.keysize = sizeof(Bitmapset *),
					   .entrysize = sizeof(WordsSet),
					   .hash = bitmap_hash,
					   .match = bitmap_match,
					   .hcxt = context};
	ScopeWordSets *sets = MemoryContextAlloc(context, sizeof(ScopeWordSets));

	sets->context = context;
	sets->words = words;
	sets->table = hash_create("pg_ward sets of words", 16, &control,
							  HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	return sets;
}

/* The one set with these members; takes over or frees what it is given. */
static const Bitmapset *
words_keep(ScopeWordSets *sets, Bitmapset *members)
{
	const Bitmapset *key = members;
	bool known;
	WordsSet *set;

	if (bms_is_empty(members))
	{
		bms_free(members);
		return NULL;
	}
	set = hash_search(sets->table, &key, HASH_ENTER, &known);
	if (known)
		bms_free(members);
	else
	{
		set->members = members;
		set->array = (Datum) 0;
	}
	return set->members;
}

/* The set of these words; NULL where there are none. */
const Bitmapset *
scope_words_set(ScopeWordSets *sets, const int *numbers, uint32 n)
{
	MemoryContext old = MemoryContextSwitchTo(sets->context);
	Bitmapset *members = NULL;
	const Bitmapset *kept;

	for (uint32 i = 0; i < n; i++)
		members = bms_add_member(members, numbers[i]);
	kept = words_keep(sets, members);
	MemoryContextSwitchTo(old);
	return kept;
}

const Bitmapset *
scope_words_union(ScopeWordSets *sets, const Bitmapset *a, const Bitmapset *b)
{
	MemoryContext old;
	const Bitmapset *both;

	if (a == b || bms_is_subset(b, a))
		return a;
	if (a == NULL)
		return b;
	old = MemoryContextSwitchTo(sets->context);
	both = words_keep(sets, bms_union(a, b));
	MemoryContextSwitchTo(old);
	return both;
}

const Bitmapset *
scope_words_minus(ScopeWordSets *sets, const Bitmapset *a, const Bitmapset *b)
{
	MemoryContext old;
	const Bitmapset *rest;

	if (!bms_overlap(a, b))
		return a;
	old = MemoryContextSwitchTo(sets->context);
	rest = words_keep(sets, bms_difference(a, b));
	MemoryContextSwitchTo(old);
	return rest;
}

/* A set as text[]; made once, so it is the set's own. */
Datum
scope_words_set_array(ScopeWordSets *sets, const Bitmapset *members)
{
	WordsSet *set;
	int *numbers;
	uint32 n = 0;
	int member = -1;
	MemoryContext old;

	if (members == NULL)
		return PointerGetDatum(construct_empty_array(TEXTOID));
	set = hash_search(sets->table, &members, HASH_FIND, NULL);
	Assert(set != NULL);
	if (set->array != (Datum) 0)
		return set->array;
	numbers = palloc(bms_num_members(members) * sizeof(int));
	while ((member = bms_next_member(members, member)) >= 0)
		numbers[n++] = member;
	old = MemoryContextSwitchTo(sets->context);
	set->array = scope_words_array(sets->words, numbers, n);
	MemoryContextSwitchTo(old);
	pfree(numbers);
	return set->array;
}
