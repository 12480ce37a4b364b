/*
 * plan.c
 *		Help from the planner: keep the subject at hand where rows are chosen.
 *
 * Under a LIMIT, a sort or a join the plan drops columns that nobody selected, and
 * with them the subject, so that a tap would have to listen below, where more
 * people pass than leave.  A junk column of the query (as ORDER BY makes them)
 * carries it to the top; the executor strips it before anyone sees a row.  Never where
 * it could change an answer: not with grouping, DISTINCT or set operations.
 *
 * Where that can't be, a join's input at least has the subject: it is added to what
 * the planner wants of a table, and dropped where it is of no more use, above the join
 * whose side it is (semi and anti joins) or above the last join.
 *
 * Never either so that an outer join could not be removed any more: where nothing else
 * of its nullable side is wanted, the subject is not wanted above that join.  Without
 * these columns capture is wider, not wrong.
 */
#include "witness/witness_int.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"

static void witness_plan_query(Query *query, bool kept, bool whole);

/* Relations of the join tree: those that no outer join can null, and the others. */
static void
witness_plan_relations(Node *node, Bitmapset **relids, Bitmapset **nullable, int *items)
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
			witness_plan_relations(lfirst(lc), relids, nullable, items);
	}
	else if (IsA(node, JoinExpr))
	{
		JoinExpr *join = (JoinExpr *) node;

		witness_plan_relations(
			join->larg,
			join->jointype == JOIN_INNER || join->jointype == JOIN_LEFT ? relids : nullable,
			nullable, items);
		witness_plan_relations(
			join->rarg,
			join->jointype == JOIN_INNER || join->jointype == JOIN_RIGHT ? relids : nullable,
			nullable, items);
	}
}

typedef struct MentionWalk
{
	int rti;
	Var *found;
} MentionWalk;

static bool
witness_plan_mentions(Node *node, void *context)
{
	MentionWalk *walk = context;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		if (((Var *) node)->varno == walk->rti && ((Var *) node)->varlevelsup == 0)
			walk->found = (Var *) node;
		return walk->found != NULL;
	}
	return expression_tree_walker(node, witness_plan_mentions, context);
}

/* A column of this relation that the target list has, or NULL. */
static const Var *
witness_plan_mentioned(List *targetlist, int rti)
{
	MentionWalk walk = {.rti = rti};

	(void) witness_plan_mentions((Node *) targetlist, &walk);
	return walk.found;
}

/* beside: a column of the same relation, as it is seen where ours is to be; or NULL. */
static void
witness_plan_add(Query *query, int rti, Oid relid, const WitnessRelation *relation,
				 const Var *beside)
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
		if (beside != NULL)
			core_compat_nulled_like(subject, beside);
		query->targetList = lappend(
			query->targetList, makeTargetEntry((Expr *) subject, list_length(query->targetList) + 1,
											   pstrdup("ward"), true));
	}
}

/*
 * kept: its rows are stored before it shows who of them is read.  whole: each of its
 * columns is wanted, so that an outer join stays whose columns it has.
 */
static void
witness_plan_query(Query *query, bool kept, bool whole)
{
	Bitmapset *relids = NULL;
	Bitmapset *nullable = NULL;
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
			witness_plan_query(rte->subquery, rte->security_barrier, false);
	}
	foreach (lc, query->cteList)
	{
		CommonTableExpr *cte = lfirst_node(CommonTableExpr, lc);

		if (!cte->cterecursive && IsA(cte->ctequery, Query) &&
			((Query *) cte->ctequery)->commandType == CMD_SELECT)
		/* Who of it is read shows only where it is read. */
		{
			bool stored = cte->ctematerialized == CTEMaterializeAlways || cte->cterefcount > 1;

			witness_plan_query((Query *) cte->ctequery, stored, stored);
		}
	}

	if (query->commandType != CMD_SELECT && query->commandType != CMD_UPDATE &&
		query->commandType != CMD_DELETE)
		return;
	if (query->setOperations != NULL || query->groupClause != NIL || query->groupingSets != NIL ||
		query->hasAggs || query->havingQual != NULL ||
		(query->distinctClause != NIL && !query->hasDistinctOn) || query->utilityStmt != NULL)
		return;
	witness_plan_relations((Node *) query->jointree, &relids, &nullable, &items);
	/* A plain scan is heard at the scan, and may then stay index-only, unless it is stored. */
	if (items < 2 && !kept && query->commandType == CMD_SELECT && query->sortClause == NIL &&
		query->limitCount == NULL && query->limitOffset == NULL && !query->hasWindowFuncs &&
		!query->hasDistinctOn && query->rowMarks == NIL)
		return;
	relids = bms_union(relids, nullable);
	while ((rti = bms_next_member(relids, rti)) > 0)
	{
		RangeTblEntry *rte = list_nth_node(RangeTblEntry, query->rtable, rti - 1);
		WitnessRelation *relation;
		const Var *beside = NULL;

		/* An outer join of which nothing is wanted may be removed. */
		if (bms_is_member(rti, nullable) &&
			(!whole || (beside = witness_plan_mentioned(query->targetList, rti)) == NULL))
			continue;
		if (rte->rtekind != RTE_RELATION || rte->relkind == RELKIND_FOREIGN_TABLE)
			continue;
		relation = witness_watch_pin(rte->relid);
		if (relation == NULL)
			continue;
		witness_plan_add(query, rti, rte->relid, relation, beside);
		witness_watch_release(relation);
	}
}

/* ---------------------------------------------------------------- below a join */

/*
 * Down to which joins is a table's subject wanted?  Finds the table in a part of the join
 * tree; *needed is what holds above that part: relations that must not have been joined
 * yet, or 0 for always.
 */
static bool
witness_plan_needed(PlannerInfo *root, Node *node, int rti, Relids *needed, int *items)
{
	JoinExpr *join;
	bool left;
	bool right;

	if (node == NULL)
		return false;
	if (IsA(node, RangeTblRef))
	{
		(*items)++;
		return ((RangeTblRef *) node)->rtindex == rti;
	}
	if (IsA(node, FromExpr))
	{
		ListCell *lc;
		bool found = false;

		foreach (lc, ((FromExpr *) node)->fromlist)
			found |= witness_plan_needed(root, lfirst(lc), rti, needed, items);
		return found;
	}
	if (!IsA(node, JoinExpr))
		return false;
	join = (JoinExpr *) node;
	left = witness_plan_needed(root, join->larg, rti, needed, items);
	right = witness_plan_needed(root, join->rarg, rti, needed, items);
	if (!bms_is_member(0, *needed))
		return left || right;
	/* Where something of it is wanted above, an outer join stays. */
	if (right && (join->jointype == JOIN_SEMI || join->jointype == JOIN_ANTI ||
				  (join->jointype == JOIN_LEFT &&
				   witness_plan_mentioned(root->processed_tlist, rti) == NULL)))
		*needed = bms_add_member(pull_varnos(root, join->quals), rti);
	return left || right;
}

/* The planner has looked a table up: asks for its subjects where it is joined. */
void
witness_plan_table(PlannerInfo *root, Oid relid, RelOptInfo *table)
{
	WitnessRelation *relation;
	Relids needed;
	int items = 0;

	if (table->reloptkind != RELOPT_BASEREL || table->rtekind != RTE_RELATION ||
		!witness_watch_any() || (relation = witness_watch_pin(relid)) == NULL)
		return;
	needed = bms_make_singleton(0);
	if (witness_plan_needed(root, (Node *) root->parse->jointree, table->relid, &needed, &items) &&
		items > 1)
		for (int i = 0; i < relation->nsubjects; i++)
		{
			AttrNumber attnum = relation->subject_attnums[i];
			Relids *wanted = &table->attr_needed[attnum - table->min_attr];
			Oid type;
			int32 typmod;
			Oid collation;

			if (seal_type_is_sealed(relation->subject_types[i]))
				continue;
			get_atttypetypmodcoll(relid, attnum, &type, &typmod, &collation);
			if (bms_is_empty(*wanted))
				table->reltarget->exprs =
					lappend(table->reltarget->exprs,
							makeVar(table->relid, attnum, type, typmod, collation, 0));
			*wanted = bms_add_members(*wanted, needed);
		}
	witness_watch_release(relation);
}

/* Called before planning; the query is the planner's to scribble on. */
void
witness_plan_prepare(Query *query)
{
	if (witness_watch_any())
		witness_plan_query(query, false, true);
}
