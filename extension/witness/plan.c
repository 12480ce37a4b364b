/*
 * plan.c
 *		Help from the planner: keep the subject at hand where rows are chosen.
 *
 * Under a LIMIT, a sort or a join the plan drops columns that nobody selected, and
 * with them the subject, so that a tap would have to listen below, where more
 * people pass than leave.  A junk column of the query (as ORDER BY makes them)
 * carries it to the top; the executor strips it before anyone sees a row.
 *
 * Never where it could change an answer or a plan's shape: not with grouping,
 * DISTINCT or set operations, and not for the nullable side of an outer join,
 * which the planner may remove.  Without it capture is wider, not wrong.
 */
#include "witness/witness_int.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"

static void witness_plan_query(Query *query, bool kept);

/* Relations of the join tree that no outer join can null. */
static void
witness_plan_relations(Node *node, Bitmapset **relids, int *items)
{
	if (node == NULL)
		return;
	if (IsA(node, RangeTblRef))
	{
		*relids = bms_add_member(*relids, ((RangeTblRef *) node)->rtindex);
		(*items)++;
	}
	else if (IsA(node, FromExpr))
	{
		ListCell *lc;

		foreach (lc, ((FromExpr *) node)->fromlist)
			witness_plan_relations(lfirst(lc), relids, items);
	}
	else if (IsA(node, JoinExpr))
	{
		JoinExpr *join = (JoinExpr *) node;
		Bitmapset *ignored = NULL;

		witness_plan_relations(
			join->larg,
			join->jointype == JOIN_INNER || join->jointype == JOIN_LEFT ? relids : &ignored, items);
		witness_plan_relations(
			join->rarg,
			join->jointype == JOIN_INNER || join->jointype == JOIN_RIGHT ? relids : &ignored,
			items);
	}
}

static void
witness_plan_add(Query *query, int rti, Oid relid, const WitnessRelation *relation)
{
	for (int i = 0; i < relation->nsubjects; i++)
	{
		Var *subject;
		ListCell *lc;
		bool there = false;
		Oid type;
		int32 typmod;
		Oid collation;

		/* A second copy of a column can cost a projection that was not there. */
		foreach (lc, query->targetList)
		{
			Var *var = (Var *) lfirst_node(TargetEntry, lc)->expr;

			there |= IsA(var, Var) && var->varno == rti &&
					 var->varattno == relation->subject_attnums[i] && var->varlevelsup == 0;
		}
		if (there)
			continue;
		if (list_length(query->targetList) >= MaxTupleAttributeNumber - 8)
			return;
		/* What is compared by tags is the seal layer's to rewrite, and nothing of ours. */
		if (seal_type_is_sealed(relation->subject_types[i]))
			continue;
		get_atttypetypmodcoll(relid, relation->subject_attnums[i], &type, &typmod, &collation);
		subject = makeVar(rti, relation->subject_attnums[i], type, typmod, collation, 0);
		query->targetList = lappend(
			query->targetList, makeTargetEntry((Expr *) subject, list_length(query->targetList) + 1,
											   pstrdup("ward"), true));
	}
}

static void
witness_plan_query(Query *query, bool kept)
{
	Bitmapset *relids = NULL;
	int items = 0;
	int rti = -1;
	ListCell *lc;

	foreach (lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind != RTE_SUBQUERY || rte->subquery->commandType != CMD_SELECT)
			continue;
		/* What a set operation compares is left as it is, but where a LIMIT has chosen. */
		if (query->setOperations == NULL || rte->subquery->limitCount != NULL)
			witness_plan_query(rte->subquery, false);
	}
	foreach (lc, query->cteList)
	{
		CommonTableExpr *cte = lfirst_node(CommonTableExpr, lc);

		if (!cte->cterecursive && IsA(cte->ctequery, Query) &&
			((Query *) cte->ctequery)->commandType == CMD_SELECT)
			/* Who of it is read shows only where it is read. */
			witness_plan_query((Query *) cte->ctequery,
							   cte->ctematerialized == CTEMaterializeAlways ||
								   cte->cterefcount > 1);
	}

	if (query->commandType != CMD_SELECT && query->commandType != CMD_UPDATE &&
		query->commandType != CMD_DELETE)
		return;
	if (query->setOperations != NULL || query->groupClause != NIL || query->groupingSets != NIL ||
		query->hasAggs || query->havingQual != NULL ||
		(query->distinctClause != NIL && !query->hasDistinctOn) || query->utilityStmt != NULL)
		return;
	witness_plan_relations((Node *) query->jointree, &relids, &items);
	/* A plain scan is heard at the scan, and may then stay index-only, unless it is stored. */
	if (items < 2 && !kept && query->commandType == CMD_SELECT && query->sortClause == NIL &&
		query->limitCount == NULL && query->limitOffset == NULL && !query->hasWindowFuncs &&
		!query->hasDistinctOn && query->rowMarks == NIL)
		return;
	while ((rti = bms_next_member(relids, rti)) > 0)
	{
		RangeTblEntry *rte = list_nth_node(RangeTblEntry, query->rtable, rti - 1);
		WitnessRelation *relation;

		if (rte->rtekind != RTE_RELATION || rte->relkind == RELKIND_FOREIGN_TABLE)
			continue;
		relation = witness_watch_pin(rte->relid);
		if (relation == NULL)
			continue;
		witness_plan_add(query, rti, rte->relid, relation);
		witness_watch_release(relation);
	}
}

/* Called before planning; the query is the planner's to scribble on. */
void
witness_plan_prepare(Query *query)
{
	if (witness_watch_any())
		witness_plan_query(query, false);
}
