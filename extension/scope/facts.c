/*
 * facts.c
 *		What disclosures say of the people whom they name: the facts of one disclosure, and
 *		those of several put together.
 *
 * A certain disclosure replaces what was only possible: from then on facts tell of certain
 * ones alone.  Otherwise putting together is a union, so that the order does not matter,
 * and facts that were put together, written down and read again may be put together with
 * others.
 *
 * Words (columns, reasons, sessions) are kept as long as the question lasts.  Facts and
 * sets of words live in a context that the caller may empty at any time; what is written
 * down holds numbers of words, no pointers.  Nothing is locked or shared.
 */
#include "scope/scope_int.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* Names of a relation's columns, as numbers in the columns dictionary. */
typedef struct FactsColumnKey
{
	int64 relation;
	int32 attnum;
	int32 pad;
} FactsColumnKey;

typedef struct FactsColumn
{
	FactsColumnKey key;
	int word;
} FactsColumn;

struct ScopeTerms
{
	MemoryContext context; /* of facts and of sets */
	HTAB *column_numbers;
	ScopeWords *column_words;
	ScopeWords *session_words;
	ScopeWords *reason_words;
	ScopeWordSets *columns;
	ScopeWordSets *reasons;
};

/* As facts are written down; numbers of words follow. */
typedef struct FactsHead
{
	int32 class;
	bool certain;
	uint32 clear;
	uint32 sealed;
	uint32 reasons;
	uint32 sessions;
	TimestampTz first_seen;
	TimestampTz last_seen;
	int64 statements;
	int64 first_position;
	int64 last_position;
} FactsHead;

/* ---------------------------------------------------------------- words */

static void
facts_read_columns(ScopeTerms *terms, MemoryContext lasting)
{
	HASHCTL control = {
		.keysize = sizeof(FactsColumnKey), .entrysize = sizeof(FactsColumn), .hcxt = lasting};

	terms->column_numbers =
		hash_create("pg_ward columns", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
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
		FactsColumnKey key = {0};
		FactsColumn *column;

		key.relation = DatumGetInt64(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));
		key.attnum = DatumGetInt16(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull));
		column = hash_search(terms->column_numbers, &key, HASH_ENTER, NULL);
		column->word =
			scope_words_number(terms->column_words, SPI_getvalue(row, SPI_tuptable->tupdesc, 3));
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Words last as long as `lasting`; needs an SPI connection. */
ScopeTerms *
scope_facts_terms(MemoryContext lasting)
{
	ScopeTerms *terms = MemoryContextAllocZero(lasting, sizeof(ScopeTerms));

	terms->column_words = scope_words_create(lasting);
	terms->session_words = scope_words_create(lasting);
	terms->reason_words = scope_words_create(lasting);
	facts_read_columns(terms, lasting);
	return terms;
}

/* From here on facts and sets are made in this context, which is new or was emptied. */
void
scope_facts_begin(ScopeTerms *terms, MemoryContext context)
{
	terms->context = context;
	terms->columns = scope_words_sets(terms->column_words, context);
	terms->reasons = scope_words_sets(terms->reason_words, context);
}

static const Bitmapset *
facts_columns(ScopeTerms *terms, int64 relation, Datum attnums)
{
	Datum *elements;
	int *words;
	int n;

	deconstruct_array(DatumGetArrayTypeP(attnums), INT2OID, 2, true, TYPALIGN_SHORT, &elements,
					  NULL, &n);
	words = palloc(Max(n, 1) * sizeof(int));
	for (int i = 0; i < n; i++)
	{
		FactsColumnKey key = {.relation = relation, .attnum = DatumGetInt16(elements[i])};
		FactsColumn *column = hash_search(terms->column_numbers, &key, HASH_FIND, NULL);

		/* A column that the description lacks is still a column that was seen. */
		words[i] =
			column != NULL
				? column->word
				: scope_words_number(terms->column_words,
									 psprintf("column %d of an unknown table", (int) key.attnum));
	}
	return scope_words_set(terms->columns, words, n);
}

/* Sets the columns, session and reason of one disclosure; the caller sets the rest. */
void
scope_facts_words(ScopeTerms *terms, ScopeFacts *facts, int64 relation, Datum clear, Datum sealed,
				  const char *session, const char *reason)
{
	facts->clear = facts_columns(terms, relation, clear);
	facts->sealed = facts_columns(terms, relation, sealed);
	facts->reasons = NULL;
	if (reason != NULL)
	{
		int word = scope_words_number(terms->reason_words, reason);

		facts->reasons = scope_words_set(terms->reasons, &word, 1);
	}
	memset(&facts->sessions, 0, sizeof(ScopeSessions));
	if (session != NULL)
	{
		facts->sessions.one = scope_words_number(terms->session_words, session);
		facts->sessions.n = 1;
	}
}

/* ---------------------------------------------------------------- sessions */

static inline const int *
facts_sessions(const ScopeSessions *sessions)
{
	return sessions->items == NULL ? &sessions->one : sessions->items;
}

static void
facts_sessions_add(MemoryContext context, ScopeSessions *sessions, int session)
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
		sessions->n = scope_words_tidy(sessions->items, sessions->n);
		/* Growing only where tidying freed too little keeps the cost per item flat. */
		if (sessions->n > sessions->room / 2)
		{
			sessions->items =
				repalloc_huge(sessions->items, (Size) sessions->room * 2 * sizeof(int));
			sessions->room *= 2;
		}
	}
	sessions->items[sessions->n++] = session;
}

static void
facts_sessions_join(MemoryContext context, ScopeSessions *sessions, const ScopeSessions *add)
{
	const int *items = facts_sessions(add);

	for (uint32 i = 0; i < add->n; i++)
		facts_sessions_add(context, sessions, items[i]);
}

/* ---------------------------------------------------------------- putting together */

void
scope_facts_free(ScopeFacts *facts)
{
	if (facts->sessions.items != NULL)
		pfree(facts->sessions.items);
	memset(&facts->sessions, 0, sizeof(ScopeSessions));
}

/* A copy of its own; what was there is freed. */
void
scope_facts_copy(const ScopeTerms *terms, ScopeFacts *facts, const ScopeFacts *from)
{
	scope_facts_free(facts);
	*facts = *from;
	if (from->sessions.items != NULL)
	{
		Size size = (Size) from->sessions.room * sizeof(int);

		facts->sessions.items = MemoryContextAllocHuge(terms->context, size);
		memcpy(facts->sessions.items, from->sessions.items, from->sessions.n * sizeof(int));
	}
}

void
scope_facts_gather(const ScopeTerms *terms, ScopeFacts *facts, const ScopeFacts *add)
{
	if (facts->certain && !add->certain)
		return;
	if (add->certain && !facts->certain)
	{
		scope_facts_copy(terms, facts, add);
		return;
	}
	facts->clear = scope_words_union(terms->columns, facts->clear, add->clear);
	facts->sealed = scope_words_union(terms->columns, facts->sealed, add->sealed);
	facts->reasons = scope_words_union(terms->reasons, facts->reasons, add->reasons);
	facts_sessions_join(terms->context, &facts->sessions, &add->sessions);
	facts->first_seen = Min(facts->first_seen, add->first_seen);
	facts->last_seen = Max(facts->last_seen, add->last_seen);
	facts->statements += add->statements;
	facts->first_position = Min(facts->first_position, add->first_position);
	facts->last_position = Max(facts->last_position, add->last_position);
}

/* ---------------------------------------------------------------- writing down */

static uint32
facts_write_set(StringInfo into, const Bitmapset *members)
{
	int member = -1;
	uint32 n = 0;

	while ((member = bms_next_member(members, member)) >= 0)
	{
		appendBinaryStringInfo(into, (const char *) &member, sizeof(int));
		n++;
	}
	return n;
}

void
scope_facts_write(const ScopeFacts *facts, StringInfo into)
{
	FactsHead head = {.class = facts->class,
					  .certain = facts->certain,
					  .sessions = facts->sessions.n,
					  .first_seen = facts->first_seen,
					  .last_seen = facts->last_seen,
					  .statements = facts->statements,
					  .first_position = facts->first_position,
					  .last_position = facts->last_position};
	int at = into->len;

	appendBinaryStringInfo(into, (const char *) &head, sizeof(FactsHead));
	head.clear = facts_write_set(into, facts->clear);
	head.sealed = facts_write_set(into, facts->sealed);
	head.reasons = facts_write_set(into, facts->reasons);
	appendBinaryStringInfo(into, (const char *) facts_sessions(&facts->sessions),
						   (int) (head.sessions * sizeof(int)));
	memcpy(into->data + at, &head, sizeof(FactsHead));
}

/* Reads what was written; its sessions are in the current context. Returns its end. */
const char *
scope_facts_read(ScopeTerms *terms, ScopeFacts *facts, const char *from)
{
	FactsHead head;
	const int *words;

	/* copied, since records follow each other without padding */
	memcpy(&head, from, sizeof(FactsHead));
	from += sizeof(FactsHead);
	words = memcpy(palloc(((Size) head.clear + head.sealed + head.reasons + 1) * sizeof(int)), from,
				   ((Size) head.clear + head.sealed + head.reasons) * sizeof(int));
	from += ((Size) head.clear + head.sealed + head.reasons) * sizeof(int);
	facts->class = head.class;
	facts->certain = head.certain;
	facts->clear = scope_words_set(terms->columns, words, head.clear);
	facts->sealed = scope_words_set(terms->columns, words + head.clear, head.sealed);
	facts->reasons =
		scope_words_set(terms->reasons, words + head.clear + head.sealed, head.reasons);
	memset(&facts->sessions, 0, sizeof(ScopeSessions));
	facts->sessions.n = head.sessions;
	if (head.sessions == 1)
		memcpy(&facts->sessions.one, from, sizeof(int));
	else if (head.sessions > 1)
	{
		facts->sessions.room = Max(head.sessions, 4);
		facts->sessions.items = palloc((Size) facts->sessions.room * sizeof(int));
		memcpy(facts->sessions.items, from, head.sessions * sizeof(int));
	}
	facts->first_seen = head.first_seen;
	facts->last_seen = head.last_seen;
	facts->statements = head.statements;
	facts->first_position = head.first_position;
	facts->last_position = head.last_position;
	return from + head.sessions * sizeof(int);
}

/* ---------------------------------------------------------------- answering */

/* The columns of an answer that facts tell of, as _ward.scope_fold() gives them. */
void
scope_facts_values(ScopeTerms *terms, const ScopeFacts *facts, Datum *values)
{
	values[0] = BoolGetDatum(facts->certain);
	values[1] = scope_words_set_array(terms->columns, facts->clear);
	values[2] = scope_words_set_array(
		terms->columns, scope_words_minus(terms->columns, facts->sealed, facts->clear));
	values[3] = TimestampTzGetDatum(facts->first_seen);
	values[4] = TimestampTzGetDatum(facts->last_seen);
	values[5] = Int64GetDatum(facts->statements);
	values[6] = scope_words_array(terms->session_words, facts_sessions(&facts->sessions),
								  facts->sessions.n);
	values[7] = scope_words_set_array(terms->reasons, facts->reasons);
	values[8] = Int64GetDatum(facts->first_position);
	values[9] = Int64GetDatum(facts->last_position);
}
