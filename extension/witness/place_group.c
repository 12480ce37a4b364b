/*
 * place_group.c
 *		Which taps are needed where rows are grouped, compared or made unique.
 *
 * A group is not a row of anybody's: its input is recorded, as what was summed up.  A
 * subject that each group has one of goes on with its group, and set operations let a
 * subject that they compare go on in what comes out.
 */
#include "witness/place_int.h"

#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "utils/lsyscache.h"

/* Aggregates whose result tells about a group and hands out no one's value. */
static bool
witness_place_group_summary(Oid function)
{
	static const char *const summaries[] = {
		"count",	  "sum",		 "avg",		  "min",	   "max",		 "bool_and",
		"bool_or",	  "every",		 "bit_and",	  "bit_or",	   "bit_xor",	 "stddev",
		"stddev_pop", "stddev_samp", "variance",  "var_pop",   "var_samp",	 "corr",
		"covar_pop",  "covar_samp",	 "regr_avgx", "regr_avgy", "regr_count", "regr_intercept",
		"regr_r2",	  "regr_slope",	 "regr_sxx",  "regr_sxy",  "regr_syy"};
	char *name;

	if (get_func_namespace(function) != PG_CATALOG_NAMESPACE)
		return false;
	name = get_func_name(function);
	for (int i = 0; name != NULL && i < (int) lengthof(summaries); i++)
		if (strcmp(name, summaries[i]) == 0)
			return true;
	return false;
}

/* Are two values of this type that are equal the same? Texts may be equal and differ. */
static bool
witness_place_group_exact(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID || type == UUIDOID;
}

/*
 * Ends the flows below a grouping node, but for one whose groups are a subject each: it
 * goes on, and is recorded where the group goes.  single: each row below is in one group.
 */
static List *
witness_place_group(Placing *placing, PlanState *state, List *flows, bool single, bool collects,
					const char *reason)
{
	List *rising = NIL;
	List *ending = NIL;
	uint64 *groups = NULL;
	ListCell *lc;

	foreach (lc, flows)
	{
		Flow *flow = lfirst(lc);
		AttrNumber attnum =
			witness_place_position(state->plan->targetlist, OUTER_VAR, flow->attnum);

		if (attnum == 0 || !single || collects || !witness_place_group_exact(flow->type))
			ending = lappend(ending, flow);
		if (attnum != 0)
			rising = lappend(rising, flow);
	}
	if (collects)
		witness_place_end(placing, ending, TRAIL_MANNER_ROW, "collected", NULL);
	else if (ending != NIL)
	{
		if (witness_tap_possible(state))
			groups = &witness_tap_node(placing->capture, state)->rows;
		witness_place_end(placing, ending, TRAIL_MANNER_AGGREGATE, reason, groups);
	}
	foreach (lc, rising)
	{
		Flow *flow = lfirst(lc);

		flow->attnum = witness_place_position(state->plan->targetlist, OUTER_VAR, flow->attnum);
	}
	return witness_place_lift(state, rising);
}

/* Of each group the first row goes on; one that is dropped above had kept others out. */
List *
witness_place_group_unique(Placing *placing, PlanState *state, const Above *above)
{
	List *flows = witness_place_node(placing, outerPlanState(state), &witness_place_above_anyhow);

	flows = witness_place_group(placing, state, flows, true, false, "distinct");
	if (above->drops)
		witness_place_end(placing, flows, TRAIL_MANNER_INFLUENCE, "distinct", NULL);
	return flows;
}

/*
 * What lies above the input of a node that groups.  Whoever is not a group is recorded
 * there; a group that is dropped has kept its rows out of others.
 */
static Above
witness_place_group_above(const PlanState *state, const Above *above, int count,
						  const AttrNumber *columns)
{
	Above below = {.drops = above->drops || state->qual != NULL, .chooses = above->chooses};

	for (int i = 0; below.drops && i < count; i++)
		below.hard = bms_add_member(below.hard, columns[i]);
	return below;
}

List *
witness_place_group_plain(Placing *placing, PlanState *state, const Above *above)
{
	Group *group = (Group *) state->plan;
	Above below = witness_place_group_above(state, above, group->numCols, group->grpColIdx);
	List *flows = witness_place_node(placing, outerPlanState(state), &below);

	return witness_place_group(placing, state, flows, true, false, "grouped");
}

List *
witness_place_group_aggregate(Placing *placing, AggState *state, const Above *above)
{
	Agg *aggregation = (Agg *) state->ss.ps.plan;
	Above below = witness_place_group_above(&state->ss.ps, above, aggregation->numCols,
											aggregation->grpColIdx);
	List *flows = witness_place_node(placing, outerPlanState(state), &below);
	bool collects = false;
	ListCell *lc;

	foreach (lc, state->aggs)
	{
		Aggref *aggregate = lfirst_node(Aggref, lc);

		if (!witness_place_group_summary(aggregate->aggfnoid))
			collects = true;
	}
	return witness_place_group(placing, &state->ss.ps, flows,
							   aggregation->groupingSets == NIL && aggregation->chain == NIL,
							   collects, state->aggs == NIL ? "grouped" : "aggregate");
}

/*
 * INTERSECT and EXCEPT compare whole rows: a subject in a row that comes out is in it by
 * its own number.  Whom EXCEPT takes away by decides, and is not shown.
 */
List *
witness_place_group_setop(Placing *placing, PlanState *state)
{
	SetOpCmd command = ((SetOp *) state->plan)->cmd;
	bool except = command == SETOPCMD_EXCEPT || command == SETOPCMD_EXCEPT_ALL;
	PlanState *both = outerPlanState(state);
	List *flows;
	List *rising = NIL;
	ListCell *lc;

	if (IsA(both, SortState))
		both = outerPlanState(both);
	if (innerPlanState(state) != NULL || !IsA(both, AppendState) ||
		((AppendState *) both)->as_nplans != 2)
	{
		flows = witness_place_node(placing, outerPlanState(state), &witness_place_above_anyhow);
		flows = list_concat(
			flows, witness_place_node(placing, innerPlanState(state), &witness_place_above_anyhow));
		witness_place_end(placing, flows, TRAIL_MANNER_ROW, "set_operation", NULL);
		return NIL;
	}
	for (int i = 0; i < 2; i++)
	{
		flows = witness_place_node(placing, ((AppendState *) both)->appendplans[i],
								   &witness_place_above_anyhow);
		foreach (lc, flows)
		{
			Flow *flow = lfirst(lc);

			if (i == 1 && except)
				witness_place_tap(placing, flow, TRAIL_MANNER_INFLUENCE, "set_operation", NULL);
			else if (flow->attnum == 0 || !witness_place_group_exact(flow->type))
				witness_place_tap(placing, flow, TRAIL_MANNER_ROW, "set_operation", NULL);
			else
				rising = lappend(rising, flow);
		}
	}
	return witness_place_lift(state, rising);
}
