/*
 * names.c
 *		What subjects are called: the keys behind their numbers.
 *
 * An integer is its own name.  The keys of others are in the index's dictionary; texts
 * are sealed there and opened with the right of whoever asks, not with that of the
 * extension.  Without it their armor is the name: whoever has the right can open it.
 *
 * Names are fetched for the people that an answer lists, and, once there have been many
 * fetches, for the whole class.  All lives in the context given and goes with it.
 */
#include "scope/scope_int.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

WARD_FUNCTION(ward_subject_show);

/* After so many fetches the whole class is read. */
#define NAMES_FETCHES 64

typedef struct NamesEntry
{
	int64 number; /* hash key */
	char status;
	List *texts; /* more than one where keys share the number */
} NamesEntry;

#define SH_PREFIX names_table
#define SH_ELEMENT_TYPE NamesEntry
#define SH_KEY_TYPE int64
#define SH_KEY number
#define SH_HASH_KEY(tb, key) murmurhash32((uint32) ((uint64) (key) ^ ((uint64) (key) >> 32)))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct ScopeNames
{
	ScopeNames *next;
	MemoryContext context;
	const char *class;
	bool any; /* does the dictionary have anybody of this class? */
	bool whole;
	int fetches;
	names_table_hash *table;
};

static void
names_read(ScopeNames *names, const char *sql, int nargs, Oid *types, Datum *values)
{
	if (SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the dictionary of subjects");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool isnull;
		bool found;
		NamesEntry *entry = names_table_insert(
			names->table, DatumGetInt64(SPI_getbinval(row, desc, 1, &isnull)), &found);
		bytea *fingerprint = DatumGetByteaPP(SPI_getbinval(row, desc, 3, &isnull));
		bytea *key = DatumGetByteaPP(SPI_getbinval(row, desc, 4, &isnull));
		MemoryContext old;
		char *text;

		CHECK_FOR_INTERRUPTS();
		if (DatumGetInt16(SPI_getbinval(row, desc, 2, &isnull)) == TRAIL_SUBJECT_UUID)
			text = DatumGetCString(
				DirectFunctionCall1(uuid_out, PointerGetDatum(VARDATA_ANY(fingerprint))));
		else
			text = seal_subject_show(VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key), GetOuterUserId());
		old = MemoryContextSwitchTo(names->context);
		if (!found)
			entry->texts = NIL;
		entry->texts = lappend(entry->texts, pstrdup(text));
		MemoryContextSwitchTo(old);
		pfree(text);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* The names of a class; list is where those of other classes are. */
ScopeNames *
scope_names_of(ScopeNames **list, const char *class, MemoryContext context)
{
	ScopeNames *names;
	Oid types[1] = {TEXTOID};
	Datum values[1];

	for (names = *list; names != NULL; names = names->next)
		if (strcmp(names->class, class) == 0)
			return names;
	names = MemoryContextAllocZero(context, sizeof(ScopeNames));
	names->context = context;
	names->class = MemoryContextStrdup(context, class);
	values[0] = CStringGetTextDatum(class);
	if (SPI_execute_with_args("SELECT FROM _ward.subject_key WHERE class = $1 LIMIT 1", 1, types,
							  values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the dictionary of subjects");
	names->any = SPI_processed > 0;
	SPI_freetuptable(SPI_tuptable);
	names->next = *list;
	*list = names;
	return names;
}

static bool
names_collect(int64 subject, void *arg)
{
	ArrayBuildState **state = arg;

	*state = accumArrayResult(*state, Int64GetDatum(subject), false, INT8OID, CurrentMemoryContext);
	return true;
}

/* Sees to it that the names of these people are at hand. */
void
scope_names_fetch(ScopeNames *names, const TrailSubjectSet *subjects)
{
	Oid types[2] = {TEXTOID, INT8ARRAYOID};
	Datum values[2];
	ArrayBuildState *state = initArrayResult(INT8OID, CurrentMemoryContext, false);

	if (!names->any || names->whole)
		return;
	values[0] = CStringGetTextDatum(names->class);
	if (++names->fetches > NAMES_FETCHES)
	{
		names->table = names_table_create(names->context, 1024, NULL);
		names_read(names,
				   "SELECT number, form, fingerprint, key FROM _ward.subject_key WHERE class = $1 "
				   "ORDER BY number, fingerprint",
				   1, types, values);
		names->whole = true;
		return;
	}
	names->table = names_table_create(names->context, 16, NULL);
	trail_subject_set_walk(subjects, names_collect, &state);
	values[1] = makeArrayResult(state, CurrentMemoryContext);
	names_read(names,
			   "SELECT number, form, fingerprint, key FROM _ward.subject_key WHERE class = $1 "
			   "AND number = ANY ($2) ORDER BY number, fingerprint",
			   2, types, values);
}

/* Names behind a number, or NIL where it is the name itself. */
List *
scope_names_find(ScopeNames *names, int64 subject)
{
	NamesEntry *entry;

	if (!names->any || names->table == NULL)
		return NIL;
	entry = names_table_lookup(names->table, subject);
	return entry == NULL ? NIL : entry->texts;
}

/* A key of the dictionary as text, with the right of whoever asks. */
Datum
ward_subject_show(PG_FUNCTION_ARGS)
{
	bytea *fingerprint = PG_GETARG_BYTEA_PP(1);
	bytea *key = PG_GETARG_BYTEA_PP(2);

	if (PG_GETARG_INT16(0) == TRAIL_SUBJECT_UUID)
	{
		if (VARSIZE_ANY_EXHDR(fingerprint) != UUID_LEN)
			elog(ERROR, "the fingerprint of a uuid has %zu bytes", VARSIZE_ANY_EXHDR(fingerprint));
		PG_RETURN_TEXT_P(cstring_to_text(DatumGetCString(
			DirectFunctionCall1(uuid_out, PointerGetDatum(VARDATA_ANY(fingerprint))))));
	}
	PG_RETURN_TEXT_P(cstring_to_text(
		seal_subject_show(VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key), GetOuterUserId())));
}
