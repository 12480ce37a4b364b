/*
 * place_above.c
 *		What lies above a node, and by which of its columns that drops rows.
 *
 * A row that is dropped has told nothing, and who is deleted from it is dropped with it,
 * but for one case: an outer join would have returned it with nulls in the place of its
 * nullable side.  So of what lies above it matters by which columns it decides.  It may
 * decide by others alone; then the row with nulls is dropped just as well.  A LIMIT
 * decides by the order of a sort: where nulls come last in each of the nullable side's
 * columns, the row with nulls comes no earlier.
 *
 * Invariant: hard and anyhow may only err on the wide side; a column that can't be
 * followed down makes everything decide.
 */
#include "witness/place_int.h"

#include "nodes/nodeFuncs.h"

const Above witness_place_above_anyhow = {.drops = true, .anyhow = true, .chooses = true};

typedef struct DecidesWalk
{
	Above *below;
	int varno;
} DecidesWalk;

static bool
witness_place_above_walk(Node *node, void *context)
{
	DecidesWalk *walk = context;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var *var = (Var *) node;

		if (var->varno != walk->varno)
			return false;
		if (var->varattno > 0)
			walk->below->hard = bms_add_member(walk->below->hard, var->varattno);
		else
			walk->below->anyhow = true;
		return false;
	}
	return expression_tree_walker(node, witness_place_above_walk, context);
}

/* All that expressions read of a child decides. */
void
witness_place_above_decides(Above *below, Node *expressions, int varno)
{
	DecidesWalk walk = {below, varno};

	(void) witness_place_above_walk(expressions, &walk);
}

/* The same, but for columns that are compared as they are: NULL is equal to nothing. */
void
witness_place_above_decides_computed(Above *below, List *comparisons, int varno)
{
	ListCell *lc;
	ListCell *arg;

	foreach (lc, comparisons)
		if (IsA(lfirst(lc), OpExpr))
		{
			foreach (arg, lfirst_node(OpExpr, lc)->args)
				if (!IsA(lfirst(arg), Var))
					witness_place_above_decides(below, lfirst(arg), varno);
		}
		else
			witness_place_above_decides(below, lfirst(lc), varno);
}

/* The node itself drops rows by a condition. */
void
witness_place_above_filter(Above *below, List *qual, int varno)
{
	if (qual == NIL)
		return;
	below->drops = true;
	witness_place_above_decides(below, (Node *) qual, varno);
}

/* What lies above a child of a node with this target list. */
Above
witness_place_above_through(const Above *above, List *targetlist, int varno)
{
	Above below = {.drops = above->drops, .anyhow = above->anyhow, .chooses = above->chooses};
	ListCell *lc;

	foreach (lc, targetlist)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);
		Var *var = (Var *) entry->expr;

		if (!bms_is_member(entry->resno, above->hard) && !bms_is_member(entry->resno, above->soft))
			continue;
		if (!bms_is_member(entry->resno, above->hard) && IsA(var, Var) && var->varattno > 0)
		{
			if (var->varno == varno)
				below.soft = bms_add_member(below.soft, var->varattno);
		}
		else
			witness_place_above_decides(&below, (Node *) entry->expr, varno);
	}
	return below;
}

/* What lies above the input of a sort. */
Above
witness_place_above_sort(const Above *above, const Sort *sort)
{
	Above below = *above;

	if (!above->chooses)
		return below;
	below.hard = bms_copy(above->hard);
	below.soft = bms_copy(above->soft);
	for (int i = 0; i < sort->numCols; i++)
		if (sort->nullsFirst[i])
			below.hard = bms_add_member(below.hard, sort->sortColIdx[i]);
		else
			below.soft = bms_add_member(below.soft, sort->sortColIdx[i]);
	/* It reads all of its input; one that sorts group by group does not. */
	below.chooses = IsA(sort, IncrementalSort);
	return below;
}
