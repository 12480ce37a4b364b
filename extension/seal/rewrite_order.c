/*
 * rewrite_order.c
 *		Orderings, groups and set operations over sealed columns.
 *
 * The operator class of a sealed type orders and groups by keyed tags.  That serves
 * indexes, uniqueness and grouping under one key.  It is wrong
 * - for every ordering that people see: those go by the opened value, through a junk
 *   column that casts;
 * - for groups of values that may be under different keys: those are sealed anew under
 *   one key first, so that equal values meet.
 * Both need the right to open, which the casts ask for.
 */
#include "seal/rewrite_int.h"

#include "access/stratnum.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parse_clause.h"
#include "parser/parse_oper.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"

static Node *
seal_rewrite_order_sorted_expr(const SortGroupClause *clause, List *targetlist)
{
	return (Node *) get_sortgroupclause_tle((SortGroupClause *) clause, targetlist)->expr;
}

static bool
seal_rewrite_orders_sealed(List *clauses, List *targetlist)
{
	ListCell *lc;

	foreach (lc, clauses)
		if (seal_rewrite_sealed(seal_rewrite_order_sorted_expr(lfirst(lc), targetlist)) != NULL)
			return true;
	return false;
}

static bool
seal_rewrite_order_descending(Oid sortop)
{
	Oid opfamily;
	Oid opcintype;
	int16 strategy;

	return get_ordering_op_properties(sortop, &opfamily, &opcintype, &strategy) &&
		   strategy == BTGreaterStrategyNumber;
}

/* ---------------------------------------------------------------- orderings */

/* A clause over a junk column that casts what the clause was over. */
static SortGroupClause *
seal_rewrite_order_opened_clause(const SortGroupClause *clause, List **targetlist)
{
	TargetEntry *entry = get_sortgroupclause_tle((SortGroupClause *) clause, *targetlist);
	const SealObjects *objects = seal_rewrite_sealed((Node *) entry->expr);
	SortGroupClause *result = makeNode(SortGroupClause);
	TargetEntry *opened =
		makeTargetEntry((Expr *) seal_rewrite_to_base(copyObject((Node *) entry->expr), objects),
						list_length(*targetlist) + 1, NULL, true);

	*targetlist = lappend(*targetlist, opened);
	result->tleSortGroupRef = assignSortGroupRef(opened, *targetlist);
	result->eqop = objects->base_eq;
	result->sortop =
		seal_rewrite_order_descending(clause->sortop) ? objects->base_gt : objects->base_lt;
	result->nulls_first = clause->nulls_first;
	result->hashable = op_hashjoinable(result->eqop, seal_kinds[objects->kind].base);
	return result;
}

static void
seal_rewrite_order_check_array(const SortGroupClause *clause, List *targetlist)
{
	if (seal_sealed_type_find_array(exprType(seal_rewrite_order_sorted_expr(clause, targetlist))) !=
		NULL)
		seal_rewrite_refuse("can't order by an array of sealed values",
							"Cast it to an array of the base type, say, ::text[].");
}

/*
 * Sends the sealed ones of two lists of clauses (ORDER BY, and a DISTINCT that must
 * agree with it, or NIL) to opened values.  A column that stands in both is cast once,
 * because both must name the same column.
 */
static void
seal_rewrite_order_open_clauses(List **order, List **distinct, List **targetlist)
{
	List *from = NIL; /* refs that were sent elsewhere, and the clauses that they became */
	List *to = NIL;
	List **lists[2] = {order, distinct};
	ListCell *lc;

	for (int i = 0; i < 2; i++)
	{
		List *result = NIL;

		if (lists[i] == NULL)
			continue;
		foreach (lc, *lists[i])
		{
			SortGroupClause *clause = lfirst_node(SortGroupClause, lc);
			ListCell *known;
			ListCell *became;
			SortGroupClause *found = NULL;

			forboth(known, from, became, to)
			{
				if (lfirst_int(known) == (int) clause->tleSortGroupRef)
					found = copyObject(lfirst_node(SortGroupClause, became));
			}
			if (found == NULL &&
				seal_rewrite_sealed(seal_rewrite_order_sorted_expr(clause, *targetlist)) != NULL)
			{
				found = seal_rewrite_order_opened_clause(clause, targetlist);
				from = lappend_int(from, (int) clause->tleSortGroupRef);
				to = lappend(to, found);
			}
			else if (found == NULL)
				seal_rewrite_order_check_array(clause, *targetlist);
			result = lappend(result, found != NULL ? found : clause);
		}
		*lists[i] = result;
	}
}

/* ---------------------------------------------------------------- groups */

static bool
seal_rewrite_order_find_key(Node *node, void *context)
{
	SealKeyId *key = context;

	if (node == NULL)
		return false;
	if ((IsA(node, Var) || IsA(node, FuncExpr) || IsA(node, Param)) &&
		seal_rewrite_sealed(node) != NULL && seal_rewrite_key(node) != SEAL_KEY_NONE)
	{
		*key = seal_rewrite_key(node);
		return true;
	}
	return expression_tree_walker(node, seal_rewrite_order_find_key, context);
}

/* The key to seal anew under: one that the expression uses, else the default. */
static SealKeyId
seal_rewrite_order_common_key(Node *node)
{
	SealKeyId key = SEAL_KEY_NONE;

	(void) seal_rewrite_order_find_key(node, &key);
	if (key == SEAL_KEY_NONE)
		key = seal_key_default();
	if (key == SEAL_KEY_NONE || seal_key_search(key) == SEAL_SEARCH_NONE)
		seal_rewrite_refuse("can't group values that may be sealed under different keys",
							"Cast the expression to its base type, or to a sealed type with one "
							"key that has equality tags.");
	return key;
}

typedef struct ReplaceContext
{
	Node *from;
	Node *to;
} ReplaceContext;

static Node *
seal_rewrite_order_replace(Node *node, void *context)
{
	ReplaceContext *replace = context;

	if (node == NULL)
		return NULL;
	if (equal(node, replace->from))
		return copyObject(replace->to);
	/* What an aggregate reads comes from before the grouping. */
	if (IsA(node, Aggref))
		return node;
	return expression_tree_mutator(node, seal_rewrite_order_replace, context);
}

/* Groups by values under one key, wherever the grouped expression stands. */
static void
seal_rewrite_order_group(List *clauses, Query *query)
{
	ListCell *lc;

	foreach (lc, clauses)
	{
		Node *expr = seal_rewrite_order_sorted_expr(lfirst(lc), query->targetList);
		const SealObjects *objects = seal_rewrite_sealed(expr);
		ReplaceContext replace;

		if (objects == NULL || seal_rewrite_key(expr) != SEAL_KEY_NONE)
			continue;
		replace.from = expr;
		replace.to = seal_rewrite_rekey(expr, seal_rewrite_order_common_key(expr), objects);
		query->targetList =
			(List *) seal_rewrite_order_replace((Node *) query->targetList, &replace);
		query->havingQual = seal_rewrite_order_replace(query->havingQual, &replace);
	}
}

static bool
seal_rewrite_order_mixes_keys(List *clauses, List *targetlist)
{
	ListCell *lc;

	foreach (lc, clauses)
	{
		Node *expr = seal_rewrite_order_sorted_expr(lfirst(lc), targetlist);

		if (seal_rewrite_sealed(expr) != NULL && seal_rewrite_key(expr) == SEAL_KEY_NONE)
			return true;
	}
	return false;
}

/* ---------------------------------------------------------------- set operations */

/* The expressions of column n in the leaves of a set operation, as their entries. */
static List *
seal_rewrite_order_leaves(Node *node, int n, List *rtable)
{
	SetOperationStmt *set = (SetOperationStmt *) node;
	RangeTblEntry *rte;
	int column = 0;
	ListCell *lc;

	if (IsA(node, SetOperationStmt))
		return list_concat(seal_rewrite_order_leaves(set->larg, n, rtable),
						   seal_rewrite_order_leaves(set->rarg, n, rtable));
	rte = rt_fetch(castNode(RangeTblRef, node)->rtindex, rtable);
	foreach (lc, rte->subquery->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		if (!entry->resjunk && column++ == n)
			return list_make1(entry);
	}
	return NIL;
}

static void
seal_rewrite_order_set_typmod(Node *node, int n, SealKeyId key)
{
	SetOperationStmt *set = (SetOperationStmt *) node;

	if (!IsA(node, SetOperationStmt))
		return;
	lfirst_int(list_nth_cell(set->colTypmods, n)) = key;
	seal_rewrite_order_set_typmod(set->larg, n, key);
	seal_rewrite_order_set_typmod(set->rarg, n, key);
}

/* Brings all leaves of a column under one key. */
static void
seal_rewrite_order_unify_column(SetOperationStmt *set, int n, List *rtable,
								const SealObjects *objects)
{
	List *leaves = seal_rewrite_order_leaves((Node *) set, n, rtable);
	SealKeyId key = SEAL_KEY_NONE;
	ListCell *lc;

	foreach (lc, leaves)
		if (key == SEAL_KEY_NONE)
			key = seal_rewrite_key((Node *) lfirst_node(TargetEntry, lc)->expr);
	if (key == SEAL_KEY_NONE || seal_key_search(key) == SEAL_SEARCH_NONE)
		key = seal_rewrite_order_common_key((Node *) linitial_node(TargetEntry, leaves)->expr);
	foreach (lc, leaves)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		if (seal_rewrite_key((Node *) entry->expr) != key)
			entry->expr = (Expr *) seal_rewrite_rekey((Node *) entry->expr, key, objects);
	}
	seal_rewrite_order_set_typmod((Node *) set, n, key);
}

static void
seal_rewrite_order_sets(Node *node, List *rtable)
{
	SetOperationStmt *set = (SetOperationStmt *) node;
	int n = 0;
	ListCell *type;
	ListCell *typmod;

	if (!IsA(node, SetOperationStmt))
		return;
	if (!(set->op == SETOP_UNION && set->all))
		forboth(type, set->colTypes, typmod, set->colTypmods)
		{
			const SealObjects *objects = seal_sealed_type_find(getBaseType(lfirst_oid(type)));

			if (objects != NULL && lfirst_int(typmod) < 0)
				seal_rewrite_order_unify_column(set, n, rtable, objects);
			n++;
		}
	seal_rewrite_order_sets(set->larg, rtable);
	seal_rewrite_order_sets(set->rarg, rtable);
}

/* ---------------------------------------------------------------- DISTINCT and ORDER BY */

/*
 * SELECT DISTINCT and set operations can only be ordered by what they return, so the
 * ordering (and the LIMIT that goes by it) moves into a query around them.
 */
static Query *
seal_rewrite_order_wrap(Query *inner)
{
	Query *outer = makeNode(Query);
	ParseState *pstate = make_parsestate(NULL);
	ParseNamespaceItem *item;
	RangeTblRef *ref = makeNode(RangeTblRef);
	ListCell *lc;

	if (inner->hasModifyingCTE)
		seal_rewrite_refuse("can't order this by a sealed column beside a WITH that changes data",
							"Put the WITH into a statement of its own, or cast the column to its "
							"base type.");
	outer->commandType = inner->commandType;
	outer->querySource = inner->querySource;
	outer->queryId = inner->queryId;
	outer->canSetTag = inner->canSetTag;
	outer->stmt_location = inner->stmt_location;
	outer->stmt_len = inner->stmt_len;
	outer->hasRowSecurity = inner->hasRowSecurity;
	outer->hasSubLinks = inner->hasSubLinks; /* of LIMIT */
	outer->sortClause = inner->sortClause;
	outer->limitOffset = inner->limitOffset;
	outer->limitCount = inner->limitCount;
	outer->limitOption = inner->limitOption;
	inner->sortClause = NIL;
	inner->limitOffset = NULL;
	inner->limitCount = NULL;
	inner->limitOption = LIMIT_OPTION_COUNT;
	inner->canSetTag = false;
	/* What it refers to outside is one level further away now. */
	IncrementVarSublevelsUp((Node *) inner, 1, 1);

	item = addRangeTableEntryForSubquery(pstate, inner, makeAlias("ordered", NIL), false, true);
	outer->rtable = pstate->p_rtable;
	ref->rtindex = item->p_rtindex;
	outer->jointree = makeFromExpr(list_make1(ref), NULL);
	foreach (lc, inner->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);
		TargetEntry *shown;

		if (entry->resjunk)
			continue;
		shown = makeTargetEntry((Expr *) makeVarFromTargetEntry(ref->rtindex, entry),
								list_length(outer->targetList) + 1, entry->resname, false);
		shown->ressortgroupref = entry->ressortgroupref;
		shown->resorigtbl = entry->resorigtbl;
		shown->resorigcol = entry->resorigcol;
		outer->targetList = lappend(outer->targetList, shown);
	}
	return outer;
}

/* See rewrite_int.h.  The query's expressions have been rewritten already. */
Query *
seal_rewrite_order_query(Query *query)
{
	ListCell *lc;
	bool ordered = seal_rewrite_orders_sealed(query->sortClause, query->targetList);

	seal_rewrite_order_group(query->groupClause, query);
	if (query->setOperations != NULL)
		seal_rewrite_order_sets(query->setOperations, query->rtable);
	if (query->hasDistinctOn)
	{
		if (ordered || seal_rewrite_order_mixes_keys(query->distinctClause, query->targetList))
			seal_rewrite_order_open_clauses(&query->sortClause, &query->distinctClause,
											&query->targetList);
	}
	else
	{
		seal_rewrite_order_group(query->distinctClause, query);
		if (ordered && (query->distinctClause != NIL || query->setOperations != NULL))
			query = seal_rewrite_order_wrap(query);
	}
	seal_rewrite_order_open_clauses(&query->sortClause, NULL, &query->targetList);
	foreach (lc, query->windowClause)
	{
		WindowClause *window = lfirst_node(WindowClause, lc);

		seal_rewrite_order_open_clauses(&window->orderClause, NULL, &query->targetList);
		if (seal_rewrite_order_mixes_keys(window->partitionClause, query->targetList))
			seal_rewrite_order_open_clauses(&window->partitionClause, NULL, &query->targetList);
	}
	return query;
}

/* ---------------------------------------------------------------- aggregates */

/*
 * An ordered-set aggregate that returns one of the values that it orders
 * (percentile_disc, mode): over opened values, and its result sealed again.
 */
static Node *
seal_rewrite_ordered_set(Aggref *aggregate)
{
	TargetEntry *entry = linitial_node(TargetEntry, aggregate->args);
	const SealObjects *objects = seal_rewrite_sealed((Node *) entry->expr);
	SealKeyId key = seal_rewrite_key((Node *) entry->expr);
	SortGroupClause *clause = linitial_node(SortGroupClause, aggregate->aggorder);
	Oid base = seal_kinds[objects->kind].base;
	bool descending = seal_rewrite_order_descending(clause->sortop);
	ListCell *lc;

	if (list_length(aggregate->args) != 1 || aggregate->aggtype != objects->type ||
		key == SEAL_KEY_NONE)
		seal_rewrite_refuse("can't use this aggregate WITHIN GROUP over sealed values",
							"Cast the ordered expression to its base type.");
	entry->expr = (Expr *) seal_rewrite_to_base((Node *) entry->expr, objects);
	foreach (lc, aggregate->aggargtypes)
		if (lfirst_oid(lc) == objects->type)
			lfirst_oid(lc) = base;
	aggregate->aggtype = base;
	aggregate->aggcollid = seal_kinds[objects->kind].collation;
	aggregate->inputcollid = seal_kinds[objects->kind].collation;
	clause->eqop = objects->base_eq;
	clause->sortop = descending ? objects->base_gt : objects->base_lt;
	return seal_rewrite_from_base((Node *) aggregate, key, objects);
}

/*
 * The executor takes a single DISTINCT column for the aggregate's one argument; where
 * there are more it compares all of the columns that DISTINCT names.  So beside one
 * that is an opened copy there must be another, which is the same in every row.
 */
static void
seal_rewrite_order_pair_distinct(Aggref *aggregate)
{
	SortGroupClause *clause;
	TargetEntry *same;

	if (list_length(aggregate->aggdistinct) != 1 || list_length(aggregate->args) == 1)
		return;
	same = makeTargetEntry((Expr *) makeBoolConst(true, false), list_length(aggregate->args) + 1,
						   NULL, true);
	aggregate->args = lappend(aggregate->args, same);
	clause = makeNode(SortGroupClause);
	clause->tleSortGroupRef = assignSortGroupRef(same, aggregate->args);
	get_sort_group_operators(BOOLOID, true, true, false, &clause->sortop, &clause->eqop, NULL,
							 &clause->hashable);
	aggregate->aggdistinct = lappend(aggregate->aggdistinct, clause);
}

/* See rewrite_int.h. */
Node *
seal_rewrite_order_aggregate(Aggref *aggregate)
{
	bool ordered = seal_rewrite_orders_sealed(aggregate->aggorder, aggregate->args);

	if (AGGKIND_IS_ORDERED_SET(aggregate->aggkind))
		return ordered ? seal_rewrite_ordered_set(aggregate) : (Node *) aggregate;
	if (ordered || seal_rewrite_order_mixes_keys(aggregate->aggdistinct, aggregate->args))
	{
		seal_rewrite_order_open_clauses(&aggregate->aggorder, &aggregate->aggdistinct,
										&aggregate->args);
		seal_rewrite_order_pair_distinct(aggregate);
	}
	return (Node *) aggregate;
}
