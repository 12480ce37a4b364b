/*
 * copies.c
 *		Copies of watched rows in tables that are not watched.
 *
 * Whoever fills a table out of a watched one (CREATE TABLE AS, SELECT INTO, a materialized
 * view, INSERT ... SELECT) makes rows that nobody witnesses.  It is noted which table was
 * copied to which, in _ward.copy: a row of the transaction that copies, so that what is
 * rolled back is no copy, and in the trail, which remembers also what was rolled back.
 *
 * Rows are written below the executor: the role that copies has no right to the catalog.
 * The same copy may be noted twice where sessions copy at once; nobody waits for anybody.
 *
 * State is private to the backend, and undone by the frame that made it.
 */
#include "witness/witness_int.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

/* Columns of _ward.copy. */
#define COPIES_SOURCE 1
#define COPIES_COPY 2
#define COPIES_MADE_AT 3
#define COPIES_MADE_BY 4
#define COPIES_MADE_BY_WHAT 5
#define COPIES_COLUMNS 5

/* The innermost statement that fills a table with a query's result. */
static WitnessCopies *filling = NULL;

/* ---------------------------------------------------------------- noting */

static bool
witness_copies_noted(Relation table, Oid source, Oid copy)
{
	List *indexes = RelationGetIndexList(table);
	ScanKeyData key[2];
	SysScanDesc scan;
	bool noted;

	ScanKeyInit(&key[0], COPIES_COPY, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(copy));
	ScanKeyInit(&key[1], COPIES_SOURCE, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(source));
	scan = systable_beginscan(table, indexes != NIL ? linitial_oid(indexes) : InvalidOid,
							  indexes != NIL, NULL, 2, key);
	noted = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	list_free(indexes);
	return noted;
}

static void
witness_copies_note(WitnessRelation *source, Oid copy, const char *what)
{
	Oid relid = core_catalog_relation("copy");
	TrailField fields[3];
	Relation table;
	Datum values[COPIES_COLUMNS];
	bool nulls[COPIES_COLUMNS] = {false};
	NameData who;
	HeapTuple tuple;

	if (!OidIsValid(relid))
		return;
	table = table_open(relid, RowExclusiveLock);
	if (witness_copies_noted(table, source->relid, copy))
	{
		table_close(table, NoLock);
		return;
	}
	fields[0].name = "source";
	fields[0].value = psprintf("%s.%s", source->trail.schema, source->trail.name);
	fields[1].name = "copy";
	fields[1].value =
		psprintf("%s.%s", get_namespace_name(get_rel_namespace(copy)), get_rel_name(copy));
	fields[2].name = "by";
	fields[2].value = what;
	(void) trail_record_event("copy.made", fields, lengthof(fields));

	namestrcpy(&who, GetUserNameFromId(GetSessionUserId(), false));
	values[COPIES_SOURCE - 1] = ObjectIdGetDatum(source->relid);
	values[COPIES_COPY - 1] = ObjectIdGetDatum(copy);
	values[COPIES_MADE_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[COPIES_MADE_BY - 1] = NameGetDatum(&who);
	values[COPIES_MADE_BY_WHAT - 1] = CStringGetTextDatum(what);
	tuple = heap_form_tuple(RelationGetDescr(table), values, nulls);
	CatalogTupleInsert(table, tuple);
	heap_freetuple(tuple);
	table_close(table, NoLock);
}

/* Can rows lie in this relation unwitnessed, for longer than the session? */
static bool
witness_copies_unwatched(Oid relid)
{
	WitnessRelation *relation;

	if (!OidIsValid(relid) || get_rel_persistence(relid) == RELPERSISTENCE_TEMP ||
		get_rel_namespace(relid) == core_catalog_namespace())
		return false;
	relation = witness_watch_pin(relid);
	if (relation != NULL)
		witness_watch_release(relation);
	return relation == NULL;
}

/* ---------------------------------------------------------------- plans */

/* Has the statement handed on rows of this set, or could it have? */
static bool
witness_copies_moved(const WitnessSet *set)
{
	return (set->manner == TRAIL_MANNER_ROW || set->manner == TRAIL_MANNER_WRITE ||
			set->manner == TRAIL_MANNER_ALL) &&
		   (set->written != NULL || set->nobody_written != 0 || set->all_written);
}

/* A statement has ended well: were its rows copied?  What it has read is written down. */
void
witness_copies_finished(WitnessCapture *capture)
{
	const PlannedStmt *stmt = capture->query->plannedstmt;
	bool inserts = stmt->commandType == CMD_INSERT || stmt->hasModifyingCTE;
	List *sources = NIL;
	ListCell *lc;

	if (capture->existence || (!inserts && filling == NULL))
		return;
	for (WitnessSet *set = capture->sets; set != NULL; set = set->next)
	{
		if (!witness_copies_moved(set))
			continue;
		if (filling != NULL && stmt->commandType == CMD_SELECT)
		{
			MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

			filling->sources = list_append_unique_oid(filling->sources, set->relation->relid);
			MemoryContextSwitchTo(old);
		}
		/* Once for each source, whatever manners it was read in. */
		if (!inserts || list_member_oid(sources, set->relation->relid))
			continue;
		sources = lappend_oid(sources, set->relation->relid);
		foreach (lc, stmt->resultRelations)
		{
			Oid target = rt_fetch(lfirst_int(lc), stmt->rtable)->relid;

			if (witness_copies_unwatched(target))
				witness_copies_note(set->relation, target, "INSERT");
		}
	}
}

/* ---------------------------------------------------------------- utilities */

/* Starts a frame for a utility statement.  Undone by witness_copies_end() on all paths. */
void
witness_copies_begin(WitnessCopies *frame, Node *statement)
{
	frame->outer = filling;
	frame->sources = NIL;
	if (IsA(statement, CreateTableAsStmt) || IsA(statement, RefreshMatViewStmt))
		filling = frame;
}

/* The table that a statement has filled. */
static Oid
witness_copies_filled(Node *statement, const char **what)
{
	if (IsA(statement, CreateTableAsStmt))
	{
		IntoClause *into = ((CreateTableAsStmt *) statement)->into;

		*what = ((CreateTableAsStmt *) statement)->objtype == OBJECT_MATVIEW ? "MATERIALIZED VIEW"
																			 : "CREATE TABLE AS";
		return get_relname_relid(into->rel->relname, RangeVarGetCreationNamespace(into->rel));
	}
	*what = "MATERIALIZED VIEW";
	return RangeVarGetRelid(((RefreshMatViewStmt *) statement)->relation, NoLock, true);
}

void
witness_copies_end(WitnessCopies *frame, Node *statement, bool failed)
{
	ListCell *lc;
	const char *what;
	Oid copy;
	bool ours = filling == frame;

	filling = frame->outer;
	if (!ours || failed || frame->sources == NIL)
		return;
	copy = witness_copies_filled(statement, &what);
	if (!witness_copies_unwatched(copy))
		return;
	foreach (lc, frame->sources)
	{
		WitnessRelation *source = witness_watch_pin(lfirst_oid(lc));

		if (source == NULL)
			continue;
		witness_copies_note(source->watched, copy, what);
		witness_watch_release(source);
	}
}
