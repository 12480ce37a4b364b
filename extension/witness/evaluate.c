/*
 * evaluate.c
 *		Maintenance that runs an owner's functions over every row.
 *
 * REINDEX, CLUSTER, VACUUM FULL and ANALYZE evaluate the expressions of indexes and of
 * extended statistics for each row.  Such a function may be another one than when the index
 * was made, and say what it is handed: a notice, an error, a table of its own.  So they
 * count as everybody in the watched tables whose indexes or statistics have one.  The
 * server's own functions and those in C say nothing that they have not said before, as the
 * row was stored; without others nothing is recorded.
 *
 * Locks: AccessShareLock on each table and its indexes while it is looked at.
 */
#include "witness/witness_int.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_statistic_ext.h"
#include "commands/defrem.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

/* Could this function be replaced by its owner? */
static bool
witness_evaluate_replaceable(Oid function, void *context)
{
	HeapTuple tuple;
	Oid language = InvalidOid;

	if (function < FirstNormalObjectId)
		return false;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (HeapTupleIsValid(tuple))
	{
		language = ((Form_pg_proc) GETSTRUCT(tuple))->prolang;
		ReleaseSysCache(tuple);
	}
	return language != INTERNALlanguageId && language != ClanguageId;
}

static bool
witness_evaluate_walk(Node *node, void *context)
{
	if (node == NULL)
		return false;
	return check_functions_in_node(node, witness_evaluate_replaceable, context) ||
		   expression_tree_walker(node, witness_evaluate_walk, context);
}

/* Do its indexes or statistics run such functions? */
static bool
witness_evaluate_runs(Oid relid)
{
	Relation table = try_table_open(relid, AccessShareLock);
	bool runs = false;
	List *oids;
	ListCell *lc;

	if (table == NULL)
		return false;
	oids = RelationGetIndexList(table);
	foreach (lc, oids)
	{
		Relation index = index_open(lfirst_oid(lc), AccessShareLock);

		runs |= witness_evaluate_walk((Node *) RelationGetIndexExpressions(index), NULL) ||
				witness_evaluate_walk((Node *) RelationGetIndexPredicate(index), NULL);
		index_close(index, AccessShareLock);
	}
	list_free(oids);
	oids = RelationGetStatExtList(table);
	foreach (lc, oids)
	{
		HeapTuple tuple = SearchSysCache1(STATEXTOID, lfirst_oid(lc));
		bool isnull;
		Datum expressions;

		if (!HeapTupleIsValid(tuple))
			continue;
		expressions = SysCacheGetAttr(STATEXTOID, tuple, Anum_pg_statistic_ext_stxexprs, &isnull);
		if (!isnull)
			runs |= witness_evaluate_walk(stringToNode(TextDatumGetCString(expressions)), NULL);
		ReleaseSysCache(tuple);
	}
	list_free(oids);
	table_close(table, AccessShareLock);
	return runs;
}

/* Everybody in these tables, where functions are run over their rows. */
static void
witness_evaluate_tables(List *relids)
{
	List *done = NIL;
	ListCell *lc;

	foreach (lc, relids)
	{
		WitnessRelation *relation = witness_watch_pin(lfirst_oid(lc));

		if (relation == NULL)
			continue;
		if (!list_member_oid(done, relation->watched->relid) &&
			witness_evaluate_runs(lfirst_oid(lc)))
		{
			witness_utility_all(relation, "evaluated");
			done = lappend_oid(done, relation->watched->relid);
		}
		witness_watch_release(relation);
	}
	list_free(done);
}

/* One table and what inherits from it; a whole database's where none is named. */
void
witness_evaluate_table(const RangeVar *name)
{
	Oid relid;

	if (name == NULL)
	{
		witness_evaluate_tables(witness_watch_relids());
		return;
	}
	relid = RangeVarGetRelid(name, NoLock, true);
	/* An index stands for its table; the other indexes of that are few. */
	if (OidIsValid(relid) && OidIsValid(IndexGetRelation(relid, true)))
		relid = IndexGetRelation(relid, true);
	if (OidIsValid(relid))
		witness_evaluate_tables(find_all_inheritors(relid, NoLock, NULL));
}

void
witness_evaluate_vacuum(const VacuumStmt *vacuum)
{
	bool evaluates = !vacuum->is_vacuumcmd;
	ListCell *lc;

	foreach (lc, vacuum->options)
	{
		DefElem *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, "full") == 0 || strcmp(option->defname, "analyze") == 0)
			evaluates |= defGetBoolean(option);
	}
	if (!evaluates)
		return;
	if (vacuum->rels == NIL)
		witness_evaluate_table(NULL);
	foreach (lc, vacuum->rels)
		witness_evaluate_table(lfirst_node(VacuumRelation, lc)->relation);
}
