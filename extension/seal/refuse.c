/*
 * refuse.c
 *		Refuses what would keep values computed from opened ones in clear (I4).
 *
 * An index or statistics on an expression hold what the expression gives.  The server
 * refuses an index over casts that are not immutable, which opening is not; statistics
 * may be on any expression, and ANALYZE would fill them in the owner's right.  Neither
 * does the server look into a function that is declared immutable and opens values.
 *
 * What is kept may be made of sealed values by the comparisons of pg_catalog alone.  The
 * statement is analysed here on a copy, before the server does it, because an index is
 * built, and in the WAL, before an event trigger could see it.
 *
 * Fails closed: a function that is not known may open.  Takes ACCESS SHARE on the table,
 * until the transaction's end.
 */
#include "seal/sealed_int.h"

#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_utilcmd.h"
#include "utils/lsyscache.h"

static bool
seal_refuse_is_sealed(Node *node)
{
	Oid type = getBaseType(exprType(node));

	return seal_sealed_type_find(type) != NULL || seal_sealed_type_find_array(type) != NULL;
}

/* May this function open its arguments? */
static bool
seal_refuse_may_open(Oid function, void *context)
{
	return get_func_namespace(function) != PG_CATALOG_NAMESPACE ||
		   func_volatile(function) != PROVOLATILE_IMMUTABLE;
}

static bool
seal_refuse_child(Node *node, void *context)
{
	return node != NULL && !IsA(node, List) && seal_refuse_is_sealed(node);
}

/* Is there a node that may turn a sealed value into something else? */
static bool
seal_refuse_opens(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_FuncExpr:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_CoerceViaIO:
			if (expression_tree_walker(node, seal_refuse_child, NULL) &&
				check_functions_in_node(node, seal_refuse_may_open, NULL))
				return true;
			break;
		case T_RowExpr:
		case T_XmlExpr:
			if (expression_tree_walker(node, seal_refuse_child, NULL))
				return true;
			break;
		default:
			break;
	}
	return expression_tree_walker(node, seal_refuse_opens, context);
}

static void
seal_refuse_expression(Node *expression, const char *what)
{
	if (!seal_refuse_opens(expression, NULL))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s can't be on an expression that opens sealed values", what),
			 errdetail("They would be stored in clear."),
			 errhint("Use the column itself, or compare it by = or <> with a quoted literal.")));
}

static void
seal_refuse_index(IndexStmt *statement, Oid relid, const char *query)
{
	ListCell *lc;

	if (!statement->transformed)
		statement = transformIndexStmt(relid, copyObject(statement), query);
	foreach (lc, statement->indexParams)
		seal_refuse_expression(lfirst_node(IndexElem, lc)->expr, "an index");
	seal_refuse_expression(statement->whereClause, "an index's condition");
}

static void
seal_refuse_statistics(CreateStatsStmt *statement, Oid relid, const char *query)
{
	ListCell *lc;

	if (!statement->transformed)
		statement = transformStatsStmt(relid, copyObject(statement), query);
	foreach (lc, statement->exprs)
		seal_refuse_expression(lfirst_node(StatsElem, lc)->expr, "statistics");
}

/* The table that a statement is about, locked; InvalidOid where it has nothing sealed. */
static Oid
seal_refuse_table(Node *relation)
{
	Oid relid;

	if (relation == NULL || !IsA(relation, RangeVar) || !seal_sealed_type_present())
		return InvalidOid;
	relid = RangeVarGetRelid((RangeVar *) relation, AccessShareLock, true);
	return OidIsValid(relid) && seal_touch_has_sealed(relid) ? relid : InvalidOid;
}

/* See sealed_int.h. */
void
seal_refuse_utility(Node *statement, const char *query)
{
	Oid relid;

	if (IsA(statement, IndexStmt))
	{
		relid = seal_refuse_table((Node *) ((IndexStmt *) statement)->relation);
		if (OidIsValid(relid))
			seal_refuse_index((IndexStmt *) statement, relid, query);
	}
	else if (IsA(statement, CreateStatsStmt) &&
			 list_length(((CreateStatsStmt *) statement)->relations) == 1)
	{
		relid = seal_refuse_table(linitial(((CreateStatsStmt *) statement)->relations));
		if (OidIsValid(relid))
			seal_refuse_statistics((CreateStatsStmt *) statement, relid, query);
	}
}
