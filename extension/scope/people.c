/*
 * people.c
 *		ward.breach_scope(): a row for each person of the groups that fold.c makes.
 *
 * Half a million rows of four arrays each are the most costly part of the answer, so
 * each is made once, straight into the result: a query that joins groups to their
 * members makes and copies each row three times.  Groups are put by in a tuplestore, and
 * come from it one by one.
 *
 * The wait for the index and the answer are two statements, so that the answer's
 * snapshot is newer than what was waited for.  Where a path named nobody, the answer has
 * read the table, and this has put keys into the trail that the index did not have: so it
 * is waited for again before people are named.  No locks beyond those of the queries.
 */
#include "scope/scope_int.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

WARD_FUNCTION(ward_breach_scope);

#define PEOPLE_COLUMNS 13

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
people_group(People *people, TupleTableSlot *row)
{
	TrailSubjectSet *set;
	bytea *bytes;

	slot_getallattrs(row);
	for (int i = 0; i < PEOPLE_COLUMNS; i++)
		if (people_from[i] != 0)
			people->values[i] = row->tts_values[people_from[i] - 1];
	people->values[3] = CStringGetTextDatum(
		DatumGetBool(row->tts_values[GROUPS_CERTAIN - 1]) ? "certain" : "possible");
	bytes = DatumGetByteaPP(row->tts_values[GROUPS_SUBJECTS - 1]);
	set = trail_subject_set_create(CurrentMemoryContext);
	trail_subject_set_merge(set, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	people->names =
		scope_names_of(&people->classes, TextDatumGetCString(people->values[0]), people->context);
	scope_names_fetch(people->names, set);
	trail_subject_set_walk(set, people_visit, people);
}

/* The groups, in a tuplestore. */
static Tuplestorestate *
people_groups(ParamListInfo params, TupleDesc desc)
{
	SPIExecuteOptions options = {.params = params};
	Tuplestorestate *groups = tuplestore_begin_heap(false, false, work_mem);
	char *query;

	if (SPI_execute_extended("SELECT _ward.scope_check($1, $2, $3, $4, $5, $6, $7, $8)",
							 &options) != SPI_OK_SELECT)
		elog(ERROR, "could not check the question");
	SPI_freetuptable(SPI_tuptable);
	if (SPI_execute("SELECT _ward.scope_query("
					"'SELECT * FROM _ward.scope_disclosures($1, $2, $3, $4, $5, $6, $7, $8)')",
					true, 0) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not make the scope's query");
	query = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	SPI_freetuptable(SPI_tuptable);
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	scope_fold(query, params, groups, desc);
	PopActiveSnapshot();
	return groups;
}

Datum
ward_breach_scope(PG_FUNCTION_ARGS)
{
	People people = {.result = (ReturnSetInfo *) fcinfo->resultinfo};
	TupleDesc desc = scope_fold_desc();
	Tuplestorestate *groups;
	TupleTableSlot *group;
	MemoryContext each;

	InitMaterializedSRF(fcinfo, 0);
	if (people.result->setDesc->natts != PEOPLE_COLUMNS)
		elog(ERROR, "the scope's rows are not as expected");
	people.context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_ward scope group", ALLOCSET_DEFAULT_SIZES);
	each = AllocSetContextCreate(people.context, "pg_ward scope people", ALLOCSET_DEFAULT_SIZES);
	SPI_connect();
	groups = people_groups(scope_fold_params(fcinfo, 0), desc);
	if (tuplestore_tuple_count(groups) > 0 && !IsolationUsesXactSnapshot() &&
		SPI_execute("SELECT ward.sync()", false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not wait for the index");
	group = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	while (tuplestore_gettupleslot(groups, true, false, group))
	{
		MemoryContext old = MemoryContextSwitchTo(each);

		CHECK_FOR_INTERRUPTS();
		people_group(&people, group);
		MemoryContextSwitchTo(old);
		MemoryContextReset(each);
	}
	ExecDropSingleTupleTableSlot(group);
	tuplestore_end(groups);
	SPI_finish();
	MemoryContextDelete(people.context);
	PG_RETURN_NULL();
}
