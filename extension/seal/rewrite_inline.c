/*
 * rewrite_inline.c
 *		Set-returning SQL functions over sealed columns, expanded before the rewrite.
 *
 * The planner replaces such a function by its body only after its hook has run, so the
 * body would be planned unrewritten: its ORDER BY would go by tags.  So where the body
 * is about something sealed, it is put in place here, by the planner's own function,
 * under the conditions that the planner sets.
 */
#include "seal/rewrite_int.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "optimizer/clauses.h"
#include "utils/lsyscache.h"

static bool
seal_rewrite_inline_mentions(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, seal_rewrite_inline_mentions, context, 0);
	if (IsA(node, Var) && seal_rewrite_sealed(node) != NULL)
		return true;
	return expression_tree_walker(node, seal_rewrite_inline_mentions, context);
}

static void
seal_rewrite_inline_function(RangeTblEntry *rte, List **invalidation)
{
	RangeTblFunction *function;
	PlannerInfo *root;
	Query *body;

	if (rte->funcordinality || list_length(rte->functions) != 1)
		return;
	function = linitial_node(RangeTblFunction, rte->functions);
	if (!IsA(function->funcexpr, FuncExpr) || !((FuncExpr *) function->funcexpr)->funcretset ||
		((FuncExpr *) function->funcexpr)->funcid < FirstNormalObjectId)
		return;
	/* All that the planner's function wants of its root is where to note dependencies. */
	root = makeNode(PlannerInfo);
	root->glob = makeNode(PlannerGlobal);
	body = inline_set_returning_function(root, rte);
	if (body == NULL || !seal_rewrite_inline_mentions((Node *) body, NULL))
		return;
	*invalidation = list_concat(*invalidation, root->glob->invalItems);
	rte->rtekind = RTE_SUBQUERY;
	rte->subquery = body;
	rte->security_barrier = false;
}

typedef struct InlineContext
{
	List **invalidation;
} InlineContext;

static bool
seal_rewrite_inline_walker(Node *node, void *context)
{
	InlineContext *inlining = context;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		seal_rewrite_inline((Query *) node, inlining->invalidation);
		return false;
	}
	return expression_tree_walker(node, seal_rewrite_inline_walker, context);
}

/* See rewrite_int.h. */
void
seal_rewrite_inline(Query *query, List **invalidation)
{
	InlineContext context = {invalidation};
	ListCell *lc;

	foreach (lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_FUNCTION)
			seal_rewrite_inline_function(rte, invalidation);
	}
	/* What was expanded is a subquery now, and visited with the others. */
	(void) query_tree_walker(query, seal_rewrite_inline_walker, &context, 0);
}
