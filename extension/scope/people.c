/*
 * people.c
 *		ward.breach_scope(): a row for each person of the groups that fold.c makes.
 *
 * Half a million rows of four arrays each are the most costly part of the answer, so
 * each is made once, straight into the result: a query that joins groups to their
 * members makes and copies each row three times.
 *
 * The wait for the index and the answer are two statements, so that the answer's
 * snapshot is newer than what was waited for.  Where a path named nobody, the answer has
 * read the table, and this has put keys into the trail that the index did not have: so it
 * is waited for again before people are named.  No locks beyond those of the queries.
 */
#include "scope/scope_int.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

WARD_FUNCTION(ward_breach_scope);

#define PEOPLE_ARGS 8
#define PEOPLE_COLUMNS 13
#define PEOPLE_FETCH 500

/* Columns of the result that differ within a group. */
#define PEOPLE_SUBJECT 1
#define PEOPLE_SUBJECT_ID 2

/* Where the result's columns stand in _ward.scope_groups, from 1. */
static const int people_from[PEOPLE_COLUMNS] = {1, 0, 0, 0, 3, 4, 5, 6, 7, 8, 9, 10, 11};

#define GROUPS_CERTAIN 2
#define GROUPS_SUBJECTS 12

typedef struct People
{
	ReturnSetInfo *result;
	MemoryContext context; /* of the call */
	ScopeNames *classes;
	ScopeNames *names; /* of the group's class */
	Datum values[PEOPLE_COLUMNS];
	bool nulls[PEOPLE_COLUMNS];
	union
	{
		struct varlena header;
		char bytes[VARHDRSZ + MAXINT8LEN + 1];
	} subject;
} People;

static bool
people_visit(int64 subject, void *arg)
{
	People *people = arg;
	List *texts = scope_names_find(people->names, subject);
	ListCell *lc;
	int length;

	people->nulls[PEOPLE_SUBJECT_ID] = texts != NIL;
	foreach (lc, texts)
	{
		people->values[PEOPLE_SUBJECT] = CStringGetTextDatum(lfirst(lc));
		tuplestore_putvalues(people->result->setResult, people->result->setDesc, people->values,
							 people->nulls);
		pfree(DatumGetPointer(people->values[PEOPLE_SUBJECT]));
	}
	if (texts != NIL)
		return true;
	length = pg_lltoa(subject, people->subject.bytes + VARHDRSZ);
	SET_VARSIZE(&people->subject, VARHDRSZ + length);
	people->values[PEOPLE_SUBJECT] = PointerGetDatum(&people->subject);
	people->values[PEOPLE_SUBJECT_ID] = Int64GetDatum(subject);
	tuplestore_putvalues(people->result->setResult, people->result->setDesc, people->values,
						 people->nulls);
	return true;
}

static void
people_group(People *people, HeapTuple row, TupleDesc desc)
{
	bool isnull;
	Datum subjects = SPI_getbinval(row, desc, GROUPS_SUBJECTS, &isnull);
	TrailSubjectSet *set;
	bytea *bytes;

	if (isnull)
		return;
	for (int i = 0; i < PEOPLE_COLUMNS; i++)
		if (people_from[i] != 0)
			people->values[i] = SPI_getbinval(row, desc, people_from[i], &people->nulls[i]);
	people->values[3] = CStringGetTextDatum(
		DatumGetBool(SPI_getbinval(row, desc, GROUPS_CERTAIN, &isnull)) ? "certain" : "possible");
	bytes = DatumGetByteaPP(subjects);
	set = trail_subject_set_create(CurrentMemoryContext);
	trail_subject_set_merge(set, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	people->names =
		scope_names_of(&people->classes, TextDatumGetCString(people->values[0]), people->context);
	scope_names_fetch(people->names, set);
	trail_subject_set_walk(set, people_visit, people);
}

Datum
ward_breach_scope(PG_FUNCTION_ARGS)
{
	Oid types[PEOPLE_ARGS] = {TSTZRANGEOID, NAMEARRAYOID, INETARRAYOID, TEXTARRAYOID,
							  TEXTARRAYOID, TEXTARRAYOID, TEXTOID,		TEXTARRAYOID};
	Datum values[PEOPLE_ARGS];
	char nulls[PEOPLE_ARGS + 1] = "        ";
	People people = {.result = (ReturnSetInfo *) fcinfo->resultinfo};
	SPITupleTable *rows;
	MemoryContext memory;
	MemoryContext row;
	Portal portal;

	InitMaterializedSRF(fcinfo, 0);
	if (people.result->setDesc->natts != PEOPLE_COLUMNS)
		elog(ERROR, "the scope's rows are not as expected");
	for (int i = 0; i < PEOPLE_ARGS; i++)
	{
		values[i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	memory =
		AllocSetContextCreate(CurrentMemoryContext, "pg_ward scope group", ALLOCSET_DEFAULT_SIZES);
	row = AllocSetContextCreate(memory, "pg_ward scope row", ALLOCSET_DEFAULT_SIZES);
	SPI_connect();
	if (SPI_execute_with_args("SELECT _ward.scope_check($1, $2, $3, $4, $5, $6, $7, $8)",
							  PEOPLE_ARGS, types, values, nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not check the question");
	portal = SPI_cursor_open_with_args(
		NULL, "SELECT * FROM _ward.scope_groups($1, $2, $3, $4, $5, $6, $7, $8)", PEOPLE_ARGS,
		types, values, nulls, false, 0);
	people.context = memory;
	for (bool first = true;; first = false)
	{
		uint64 n;

		SPI_cursor_fetch(portal, true, PEOPLE_FETCH);
		rows = SPI_tuptable;
		n = SPI_processed;
		if (n == 0)
			break;
		if (first && !IsolationUsesXactSnapshot() &&
			SPI_execute("SELECT ward.sync()", false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not wait for the index");
		for (uint64 i = 0; i < n; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(row);

			CHECK_FOR_INTERRUPTS();
			people_group(&people, rows->vals[i], rows->tupdesc);
			MemoryContextSwitchTo(old);
			MemoryContextReset(row);
		}
		SPI_freetuptable(rows);
	}
	SPI_cursor_close(portal);
	SPI_finish();
	MemoryContextDelete(memory);
	PG_RETURN_NULL();
}
