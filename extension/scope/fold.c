/*
 * fold.c
 *		Folds disclosures into the answer for each person.
 *
 * Half a million people and thousands of disclosures must not become a row for
 * each pair.  So people are kept in states: two people are in one state while the
 * same disclosures named them.  A disclosure moves its people from state to state;
 * where many share a state the move is worked out once, where a state has one
 * person it is changed in place.  Sets of columns, sessions and reasons are kept
 * once each, so that joining two is mostly a look at a pointer.
 *
 * A certain disclosure replaces what was only possible: from then on the state
 * tells of certain ones alone.
 *
 * Everything lives in the context of the call and goes with it, on error too.  No
 * locks are taken beyond those of the query that is read.
 */
#include "core/core.h"
#include "trail/trail.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

WARD_FUNCTION(ward_scope_fold);

#define FOLD_FETCH 500
#define FOLD_ARGS 8 /* of the query */
#define FOLD_WORD_MAX 512

/* ---------------------------------------------------------------- words and sets of them */

typedef struct FoldWord
{
	char text[FOLD_WORD_MAX];
	int number;
} FoldWord;

typedef struct FoldSet
{
	const Bitmapset *members; /* the key, compared by content */
	Datum array;			  /* as text[], or 0 until it is wanted */
} FoldSet;

/* A dictionary and the sets made of its words. */
typedef struct FoldWords
{
	MemoryContext context;
	HTAB *by_text;
	HTAB *sets;
	const char **texts;
	int count;
	int room;
} FoldWords;

static void
fold_words_begin(FoldWords *words, MemoryContext context)
{
	HASHCTL text = {.keysize = FOLD_WORD_MAX, .entrysize = sizeof(FoldWord), .hcxt = context};
	HASHCTL set = {.keysize = sizeof(Bitmapset *),
				   .entrysize = sizeof(FoldSet),
				   .hash = bitmap_hash,
				   .match = bitmap_match,
				   .hcxt = context};

	words->context = context;
	words->by_text =
		hash_create("pg_ward words", 64, &text, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	words->sets = hash_create("pg_ward sets", 64, &set,
							  HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	words->count = 0;
	words->room = 64;
	words->texts = MemoryContextAlloc(context, words->room * sizeof(char *));
}

static int
fold_word(FoldWords *words, const char *text)
{
	bool known;
	FoldWord *word = hash_search(words->by_text, text, HASH_ENTER, &known);

	if (!known)
	{
		if (words->count == words->room)
		{
			words->room *= 2;
			words->texts = repalloc(words->texts, words->room * sizeof(char *));
		}
		word->number = words->count++;
		words->texts[word->number] = MemoryContextStrdup(words->context, text);
	}
	return word->number;
}

/* The one set with these members; takes over or frees what it is given. */
static const Bitmapset *
fold_set(FoldWords *words, Bitmapset *members)
{
	const Bitmapset *key = members;
	bool known;
	FoldSet *set;

	if (members == NULL)
		return NULL;
	set = hash_search(words->sets, &key, HASH_ENTER, &known);
	if (known)
		bms_free(members);
	else
	{
		set->members = members;
		set->array = (Datum) 0;
	}
	return set->members;
}

static const Bitmapset *
fold_union(FoldWords *words, const Bitmapset *a, const Bitmapset *b)
{
	MemoryContext old;
	const Bitmapset *both;

	if (a == b || bms_is_subset(b, a))
		return a;
	if (a == NULL)
		return b;
	old = MemoryContextSwitchTo(words->context);
	both = fold_set(words, bms_union(a, b));
	MemoryContextSwitchTo(old);
	return both;
}

static int
fold_compare_words(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* A set as text[], in byte order. */
static Datum
fold_array(FoldWords *words, const Bitmapset *members)
{
	FoldSet *set;
	const char **texts;
	Datum *elements;
	int n = 0;
	int member = -1;
	MemoryContext old;

	if (members == NULL)
		return PointerGetDatum(construct_empty_array(TEXTOID));
	set = hash_search(words->sets, &members, HASH_FIND, NULL);
	if (set->array != (Datum) 0)
		return set->array;

	old = MemoryContextSwitchTo(words->context);
	texts = palloc(bms_num_members(members) * sizeof(char *));
	elements = palloc(bms_num_members(members) * sizeof(Datum));
	while ((member = bms_next_member(members, member)) >= 0)
		texts[n++] = words->texts[member];
	qsort(texts, n, sizeof(char *), fold_compare_words);
	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum(texts[i]);
	set->array = PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
	MemoryContextSwitchTo(old);
	return set->array;
}

/* ---------------------------------------------------------------- states */

/*
 * Sessions are many, and each person's are others, so they are no sets kept once
 * but plain lists, each its owner's.  A list may repeat itself
 * until it is tidied.
 */
typedef struct FoldSessions
{
	uint32 n;
	uint32 room;
	int *items; /* NULL while one is enough */
	int one;
} FoldSessions;

static int
fold_compare_numbers(const void *a, const void *b)
{
	int left = *(const int *) a;
	int right = *(const int *) b;

	return left < right ? -1 : left > right;
}

static void
fold_sessions_tidy(FoldSessions *sessions)
{
	uint32 kept = 0;

	if (sessions->items == NULL)
		return;
	qsort(sessions->items, sessions->n, sizeof(int), fold_compare_numbers);
	for (uint32 i = 0; i < sessions->n; i++)
		if (kept == 0 || sessions->items[kept - 1] != sessions->items[i])
			sessions->items[kept++] = sessions->items[i];
	sessions->n = kept;
}

static void
fold_sessions_add(MemoryContext context, FoldSessions *sessions, int session)
{
	if (sessions->n == 0)
	{
		sessions->one = session;
		sessions->n = 1;
		return;
	}
	if (sessions->items == NULL)
	{
		if (sessions->one == session)
			return;
		sessions->room = 4;
		sessions->items = MemoryContextAlloc(context, sessions->room * sizeof(int));
		sessions->items[0] = sessions->one;
	}
	if (sessions->items[sessions->n - 1] == session)
		return;
	if (sessions->n == sessions->room)
	{
		fold_sessions_tidy(sessions);
		/* Growing only where tidying freed too little keeps the cost per item flat. */
		if (sessions->n > sessions->room / 2)
		{
			sessions->room *= 2;
			sessions->items = repalloc_huge(sessions->items, (Size) sessions->room * sizeof(int));
		}
	}
	sessions->items[sessions->n++] = session;
}

static void
fold_sessions_join(MemoryContext context, FoldSessions *sessions, const FoldSessions *add)
{
	if (add->items == NULL && add->n == 1)
		fold_sessions_add(context, sessions, add->one);
	else
		for (uint32 i = 0; i < add->n; i++)
			fold_sessions_add(context, sessions, add->items[i]);
}

static void
fold_sessions_free(FoldSessions *sessions)
{
	if (sessions->items != NULL)
		pfree(sessions->items);
	memset(sessions, 0, sizeof(FoldSessions));
}

/* What one disclosure adds, and what a state has gathered. */
typedef struct FoldFacts
{
	bool certain;
	const Bitmapset *clear;
	const Bitmapset *sealed;
	FoldSessions sessions;
	const Bitmapset *reasons;
	TimestampTz first_seen;
	TimestampTz last_seen;
	int64 statements;
	int64 first_position;
	int64 last_position;
} FoldFacts;

typedef struct FoldState
{
	FoldFacts facts;
	uint64 people;
	uint64 moved_in;		   /* number of the disclosure that moved this state last */
	uint32 moved_to;		   /* and where to; also links free states */
	TrailSubjectSet *subjects; /* at the end */
} FoldState;

#define NO_STATE PG_UINT32_MAX

typedef struct FoldPerson
{
	int64 subject;
	uint32 state;
	char status;
} FoldPerson;

#define SH_PREFIX fold_people
#define SH_ELEMENT_TYPE FoldPerson
#define SH_KEY_TYPE int64
#define SH_KEY subject
#define SH_HASH_KEY(tb, key) ((uint32) (((uint64) (key) *UINT64CONST(0x9E3779B97F4A7C15)) >> 32))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct FoldClass
{
	struct FoldClass *next;
	const char *name;
	fold_people_hash *people;
} FoldClass;

/* Names of a relation's columns, as numbers in the columns dictionary. */
typedef struct FoldColumnKey
{
	int64 relation;
	int32 attnum;
	int32 pad;
} FoldColumnKey;

typedef struct FoldColumn
{
	FoldColumnKey key;
	int word;
} FoldColumn;

/*
 * Large sets mostly come again byte for byte (everybody in the table, one society's
 * list), so their people are visited once, at the end, with the facts of all.
 */
typedef struct FoldCrowdKey
{
	const FoldClass *class;
	const char *bytes;
	Size len;
	bool certain;
} FoldCrowdKey;

typedef struct FoldCrowd
{
	FoldCrowdKey key;
	FoldFacts facts;
} FoldCrowd;

#define FOLD_CROWD 256

typedef struct FoldWork
{
	MemoryContext context;
	FoldWords columns;
	FoldWords sessions;
	FoldWords reasons;
	HTAB *column_numbers;
	HTAB *crowds;
	FoldClass *classes;
	FoldState *states;
	uint32 nstates;
	uint32 room;
	uint32 free;
	uint64 disclosure; /* number of the current one */
	FoldFacts adding;
	FoldClass *into;
} FoldWork;

static uint32
fold_new_state(FoldWork *work)
{
	uint32 number = work->free;

	if (number != NO_STATE)
		work->free = work->states[number].moved_to;
	else
	{
		if (work->nstates == work->room)
		{
			work->room *= 2;
			work->states = repalloc_huge(work->states, (Size) work->room * sizeof(FoldState));
		}
		number = work->nstates++;
	}
	memset(&work->states[number], 0, sizeof(FoldState));
	return number;
}

/* A copy of its own; what was there is freed. */
static void
fold_copy(FoldWork *work, FoldFacts *facts, const FoldFacts *from)
{
	FoldSessions own = facts->sessions;

	fold_sessions_free(&own);
	*facts = *from;
	memset(&facts->sessions, 0, sizeof(FoldSessions));
	fold_sessions_join(work->context, &facts->sessions, &from->sessions);
}

static void
fold_gather(FoldWork *work, FoldFacts *facts, const FoldFacts *add)
{
	if (facts->certain && !add->certain)
		return;
	if (add->certain && !facts->certain)
	{
		fold_copy(work, facts, add);
		return;
	}
	facts->clear = fold_union(&work->columns, facts->clear, add->clear);
	facts->sealed = fold_union(&work->columns, facts->sealed, add->sealed);
	fold_sessions_join(work->context, &facts->sessions, &add->sessions);
	facts->reasons = fold_union(&work->reasons, facts->reasons, add->reasons);
	facts->first_seen = Min(facts->first_seen, add->first_seen);
	facts->last_seen = Max(facts->last_seen, add->last_seen);
	facts->statements += add->statements;
	facts->first_position = Min(facts->first_position, add->first_position);
	facts->last_position = Max(facts->last_position, add->last_position);
}

static uint32
fold_crowd_hash(const void *key, Size keysize)
{
	const FoldCrowdKey *it = key;

	return hash_bytes((const unsigned char *) it->bytes, (int) it->len) ^ (uint32) it->certain;
}

static int
fold_crowd_match(const void *left, const void *right, Size keysize)
{
	const FoldCrowdKey *a = left;
	const FoldCrowdKey *b = right;

	if (a->class != b->class || a->certain != b->certain || a->len != b->len)
		return 1;
	return memcmp(a->bytes, b->bytes, a->len);
}

/* Puts the current disclosure by, together with others of the same people. */
static void
fold_crowd(FoldWork *work, const char *bytes, Size len)
{
	FoldCrowdKey key = {
		.class = work->into, .bytes = bytes, .len = len, .certain = work->adding.certain};
	bool known;
	FoldCrowd *crowd = hash_search(work->crowds, &key, HASH_ENTER, &known);

	if (known)
		fold_gather(work, &crowd->facts, &work->adding);
	else
	{
		char *copy = MemoryContextAlloc(work->context, len);

		memcpy(copy, bytes, len);
		crowd->key.bytes = copy;
		memset(&crowd->facts, 0, sizeof(FoldFacts));
		fold_copy(work, &crowd->facts, &work->adding);
	}
}

/* One person of the current disclosure. */
static bool
fold_visit(int64 subject, void *arg)
{
	FoldWork *work = arg;
	bool known;
	FoldPerson *person = fold_people_insert(work->into->people, subject, &known);
	uint32 from;
	uint32 to;

	/* Those named for the first time share the disclosure's own state, number 0. */
	from = known ? person->state : 0;
	if (known && work->states[from].facts.certain && !work->adding.certain)
		return true;
	if (work->states[from].moved_in == work->disclosure)
		to = work->states[from].moved_to;
	else if (known && work->states[from].people == 1)
	{
		fold_gather(work, &work->states[from].facts, &work->adding);
		return true;
	}
	else
	{
		to = fold_new_state(work);
		if (known)
		{
			fold_copy(work, &work->states[to].facts, &work->states[from].facts);
			fold_gather(work, &work->states[to].facts, &work->adding);
		}
		else
			fold_copy(work, &work->states[to].facts, &work->adding);
		work->states[from].moved_in = work->disclosure;
		work->states[from].moved_to = to;
	}
	person->state = to;
	work->states[to].people++;
	if (known && --work->states[from].people == 0)
	{
		work->states[from].moved_in = 0;
		fold_sessions_free(&work->states[from].facts.sessions);
		work->states[from].moved_to = work->free;
		work->free = from;
	}
	if ((subject & 0x3fff) == 0)
		CHECK_FOR_INTERRUPTS();
	return true;
}

/* ---------------------------------------------------------------- reading */

static void
fold_read_columns(FoldWork *work)
{
	HASHCTL control = {
		.keysize = sizeof(FoldColumnKey), .entrysize = sizeof(FoldColumn), .hcxt = work->context};

	work->column_numbers =
		hash_create("pg_ward columns", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	if (SPI_execute("SELECT r.relation, a.attnum, "
					"(_ward.column_names(r.schema_name, r.relation_name, r.attnums, r.columns, "
					"ARRAY[a.attnum]))[1] "
					"FROM _ward.scope_described() r, pg_catalog.unnest(r.attnums) a(attnum)",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the columns of watched relations");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool isnull;
		HeapTuple row = SPI_tuptable->vals[i];
		FoldColumnKey key = {0};
		FoldColumn *column;

		key.relation = DatumGetInt64(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));
		key.attnum = DatumGetInt16(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull));
		column = hash_search(work->column_numbers, &key, HASH_ENTER, NULL);
		column->word = fold_word(&work->columns, SPI_getvalue(row, SPI_tuptable->tupdesc, 3));
	}
	SPI_freetuptable(SPI_tuptable);
}

static const Bitmapset *
fold_columns(FoldWork *work, int64 relation, Datum attnums)
{
	Datum *elements;
	int n;
	Bitmapset *members = NULL;
	MemoryContext old;
	const Bitmapset *set;

	deconstruct_array(DatumGetArrayTypeP(attnums), INT2OID, 2, true, TYPALIGN_SHORT, &elements,
					  NULL, &n);
	old = MemoryContextSwitchTo(work->context);
	for (int i = 0; i < n; i++)
	{
		FoldColumnKey key = {.relation = relation, .attnum = DatumGetInt16(elements[i])};
		FoldColumn *column = hash_search(work->column_numbers, &key, HASH_FIND, NULL);

		/* A column that the description lacks is still a column that was seen. */
		members = bms_add_member(
			members,
			column != NULL
				? column->word
				: fold_word(&work->columns, psprintf("column %d of an unknown table", key.attnum)));
	}
	set = fold_set(&work->columns, members);
	MemoryContextSwitchTo(old);
	return set;
}

static const Bitmapset *
fold_single(FoldWords *words, char *text)
{
	MemoryContext old;
	const Bitmapset *set;

	if (text == NULL)
		return NULL;
	old = MemoryContextSwitchTo(words->context);
	set = fold_set(words, bms_make_singleton(fold_word(words, text)));
	MemoryContextSwitchTo(old);
	return set;
}

static FoldClass *
fold_class(FoldWork *work, const char *name)
{
	FoldClass *class;

	for (class = work->classes; class != NULL; class = class->next)
		if (strcmp(class->name, name) == 0)
			return class;
	class = MemoryContextAlloc(work->context, sizeof(FoldClass));
	class->name = MemoryContextStrdup(work->context, name);
	class->people = fold_people_create(work->context, 1024, NULL);
	class->next = work->classes;
	work->classes = class;
	return class;
}

/* Columns of the query, as scope/10_fold.sql gives them. */
enum
{
	COLUMN_CLASS = 1,
	COLUMN_CERTAIN,
	COLUMN_RELATION,
	COLUMN_CLEAR,
	COLUMN_SEALED,
	COLUMN_SESSION,
	COLUMN_REASON,
	COLUMN_FIRST_SEEN,
	COLUMN_LAST_SEEN,
	COLUMN_STATEMENTS,
	COLUMN_FIRST_POSITION,
	COLUMN_LAST_POSITION,
	COLUMN_SUBJECTS
};

static void
fold_disclosure(FoldWork *work, HeapTuple row, TupleDesc desc)
{
	FoldFacts *add = &work->adding;
	bool isnull;
	Datum subjects = SPI_getbinval(row, desc, COLUMN_SUBJECTS, &isnull);
	int64 relation;
	char *session;
	bytea *bytes;
	TrailSubjectSet *set;

	if (isnull) /* nobody can be named: the summary's note says so */
		return;
	relation = DatumGetInt64(SPI_getbinval(row, desc, COLUMN_RELATION, &isnull));
	add->certain = DatumGetBool(SPI_getbinval(row, desc, COLUMN_CERTAIN, &isnull));
	add->clear = fold_columns(work, relation, SPI_getbinval(row, desc, COLUMN_CLEAR, &isnull));
	add->sealed = fold_columns(work, relation, SPI_getbinval(row, desc, COLUMN_SEALED, &isnull));
	memset(&add->sessions, 0, sizeof(FoldSessions));
	session = SPI_getvalue(row, desc, COLUMN_SESSION);
	if (session != NULL)
		fold_sessions_add(work->context, &add->sessions, fold_word(&work->sessions, session));
	add->reasons = fold_single(&work->reasons, SPI_getvalue(row, desc, COLUMN_REASON));
	add->first_seen = DatumGetTimestampTz(SPI_getbinval(row, desc, COLUMN_FIRST_SEEN, &isnull));
	add->last_seen = DatumGetTimestampTz(SPI_getbinval(row, desc, COLUMN_LAST_SEEN, &isnull));
	add->statements = DatumGetInt64(SPI_getbinval(row, desc, COLUMN_STATEMENTS, &isnull));
	add->first_position = DatumGetInt64(SPI_getbinval(row, desc, COLUMN_FIRST_POSITION, &isnull));
	add->last_position = DatumGetInt64(SPI_getbinval(row, desc, COLUMN_LAST_POSITION, &isnull));

	work->into = fold_class(work, SPI_getvalue(row, desc, COLUMN_CLASS));
	bytes = DatumGetByteaPP(subjects);
	set = trail_subject_set_create(CurrentMemoryContext);
	trail_subject_set_merge(set, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	if (trail_subject_set_count(set) >= FOLD_CROWD)
		fold_crowd(work, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	else
	{
		work->disclosure++;
		trail_subject_set_walk(set, fold_visit, work);
	}
}

static void
fold_crowds(FoldWork *work)
{
	HASH_SEQ_STATUS scan;
	FoldCrowd *crowd;
	MemoryContext each =
		AllocSetContextCreate(CurrentMemoryContext, "pg_ward fold crowd", ALLOCSET_DEFAULT_SIZES);

	hash_seq_init(&scan, work->crowds);
	while ((crowd = hash_seq_search(&scan)) != NULL)
	{
		TrailSubjectSet *set = trail_subject_set_create(each);

		trail_subject_set_merge(set, crowd->key.bytes, crowd->key.len);
		work->into = unconstify(FoldClass *, crowd->key.class);
		work->adding = crowd->facts;
		work->disclosure++;
		trail_subject_set_walk(set, fold_visit, work);
		MemoryContextReset(each);
	}
	MemoryContextDelete(each);
}

static void
fold_read(FoldWork *work, FunctionCallInfo fcinfo)
{
	Oid types[FOLD_ARGS] = {TSTZRANGEOID, NAMEARRAYOID, INETARRAYOID, TEXTARRAYOID,
							TEXTARRAYOID, TEXTARRAYOID, TEXTOID,	  TEXTARRAYOID};
	Datum values[FOLD_ARGS];
	char nulls[FOLD_ARGS + 1] = "        ";
	Portal portal;
	MemoryContext each =
		AllocSetContextCreate(CurrentMemoryContext, "pg_ward fold row", ALLOCSET_DEFAULT_SIZES);

	for (int i = 0; i < FOLD_ARGS; i++)
	{
		values[i] = PG_ARGISNULL(i + 1) ? (Datum) 0 : PG_GETARG_DATUM(i + 1);
		nulls[i] = PG_ARGISNULL(i + 1) ? 'n' : ' ';
	}
	portal = SPI_cursor_open_with_args(NULL, text_to_cstring(PG_GETARG_TEXT_PP(0)), FOLD_ARGS,
									   types, values, nulls, true, 0);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, FOLD_FETCH);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(each);

			CHECK_FOR_INTERRUPTS();
			fold_disclosure(work, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
			MemoryContextSwitchTo(old);
			MemoryContextReset(each);
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_freetuptable(SPI_tuptable);
	SPI_cursor_close(portal);
	MemoryContextDelete(each);
}

/* ---------------------------------------------------------------- answering */

static Datum
fold_session_array(FoldWork *work, FoldSessions *sessions)
{
	const int *items = sessions->items == NULL ? &sessions->one : sessions->items;
	const char **texts;
	Datum *elements;

	fold_sessions_tidy(sessions);
	texts = palloc(sessions->n * sizeof(char *));
	elements = palloc(sessions->n * sizeof(Datum));
	for (uint32 i = 0; i < sessions->n; i++)
		texts[i] = work->sessions.texts[items[i]];
	qsort(texts, sessions->n, sizeof(char *), fold_compare_words);
	for (uint32 i = 0; i < sessions->n; i++)
		elements[i] = CStringGetTextDatum(texts[i]);
	return PointerGetDatum(
		construct_array(elements, (int) sessions->n, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
fold_emit(FoldWork *work, ReturnSetInfo *result, const FoldClass *class, FoldFacts *facts,
		  Datum subjects)
{
	MemoryContext old = MemoryContextSwitchTo(work->context);
	Bitmapset *only_sealed = bms_difference(facts->sealed, facts->clear);
	Datum values[12];
	bool nulls[12] = {false};

	MemoryContextSwitchTo(old);
	values[0] = CStringGetTextDatum(class->name);
	values[1] = BoolGetDatum(facts->certain);
	values[2] = fold_array(&work->columns, facts->clear);
	values[3] = fold_array(&work->columns, fold_set(&work->columns, only_sealed));
	values[4] = TimestampTzGetDatum(facts->first_seen);
	values[5] = TimestampTzGetDatum(facts->last_seen);
	values[6] = Int64GetDatum(facts->statements);
	values[7] = fold_session_array(work, &facts->sessions);
	values[8] = fold_array(&work->reasons, facts->reasons);
	values[9] = Int64GetDatum(facts->first_position);
	values[10] = Int64GetDatum(facts->last_position);
	values[11] = subjects;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static void
fold_answer(FoldWork *work, ReturnSetInfo *result, const FoldClass *class)
{
	MemoryContext each =
		AllocSetContextCreate(CurrentMemoryContext, "pg_ward fold answer", ALLOCSET_DEFAULT_SIZES);
	fold_people_iterator scan;
	FoldPerson *person;

	/* A state belongs to one class: its people were named together. */
	fold_people_start_iterate(class->people, &scan);
	while ((person = fold_people_iterate(class->people, &scan)) != NULL)
	{
		FoldState *state = &work->states[person->state];

		if (state->subjects == NULL)
			state->subjects = trail_subject_set_create(work->context);
		(void) trail_subject_set_add(state->subjects, person->subject);
	}
	for (uint32 i = 1; i < work->nstates; i++)
	{
		FoldState *state = &work->states[i];
		StringInfoData bytes;
		MemoryContext old;

		if (state->subjects == NULL)
			continue;
		CHECK_FOR_INTERRUPTS();
		old = MemoryContextSwitchTo(each);
		initStringInfo(&bytes);
		bytes.len = VARHDRSZ;
		trail_subject_set_serialize(state->subjects, &bytes);
		SET_VARSIZE(bytes.data, bytes.len);
		fold_emit(work, result, class, &state->facts, PointerGetDatum(bytes.data));
		MemoryContextSwitchTo(old);
		MemoryContextReset(each);
		state->subjects = NULL;
	}
	MemoryContextDelete(each);
}

Datum
ward_scope_fold(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	FoldWork work = {0};
	HASHCTL crowds = {.keysize = sizeof(FoldCrowdKey),
					  .entrysize = sizeof(FoldCrowd),
					  .hash = fold_crowd_hash,
					  .match = fold_crowd_match};

	if (PG_ARGISNULL(0))
		elog(ERROR, "the scope needs a query");
	InitMaterializedSRF(fcinfo, 0);
	work.context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_ward scope", ALLOCSET_DEFAULT_SIZES);
	crowds.hcxt = work.context;
	fold_words_begin(&work.columns, work.context);
	fold_words_begin(&work.sessions, work.context);
	fold_words_begin(&work.reasons, work.context);
	work.crowds = hash_create("pg_ward crowds", 64, &crowds,
							  HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	work.free = NO_STATE;
	work.room = 256;
	work.states = MemoryContextAlloc(work.context, work.room * sizeof(FoldState));
	(void) fold_new_state(&work);

	SPI_connect();
	fold_read_columns(&work);
	fold_read(&work, fcinfo);
	fold_crowds(&work);
	for (FoldClass *class = work.classes; class != NULL; class = class->next)
		fold_answer(&work, result, class);
	SPI_finish();
	MemoryContextDelete(work.context);
	PG_RETURN_NULL();
}
