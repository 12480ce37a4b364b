/*
 * place_join.c
 *		Which taps are needed where rows are joined.
 *
 * Both sides' subjects go on in the joined row.  Beyond that a row matters where it has
 * matched: that of a semi or anti join's inner side decides about the other one, and that
 * of an outer join's nullable side has stood where nulls would have.  The latter matters
 * only if what drops the joined row above (place_above.c) would not have dropped it with
 * nulls instead.
 */
#include "witness/place_int.h"

/*
 * Ends a side of a join where its rows have matched; what can't be read there, where it
 * comes from.
 */
static void
witness_place_join_match(Placing *placing, JoinState *state, List *flows, WitnessSource side,
						 const char *reason)
{
	ListCell *lc;

	foreach (lc, flows)
	{
		Flow *flow = lfirst(lc);

		if (flow->attnum == 0)
			witness_place_tap(placing, flow, TRAIL_MANNER_INFLUENCE, reason, NULL);
		else
			witness_tap_match(placing->capture, state, side, flow->attnum, flow->type,
							  witness_capture_set(placing->capture, flow->relation, flow->subject,
												  TRAIL_MANNER_INFLUENCE, reason, NULL));
	}
}

/* What a join compares; of a nested loop also what it hands to its inner side. */
static List *
witness_place_join_clauses(const Join *join)
{
	List *clauses = list_copy(join->joinqual);
	ListCell *lc;

	if (IsA(join, NestLoop))
		foreach (lc, ((const NestLoop *) join)->nestParams)
			clauses = lappend(clauses, lfirst_node(NestLoopParam, lc)->paramval);
	return clauses;
}

/* And what a NULL on either side of never matches. */
static List *
witness_place_join_keys(const Join *join)
{
	if (IsA(join, HashJoin))
		return ((const HashJoin *) join)->hashclauses;
	if (IsA(join, MergeJoin))
		return ((const MergeJoin *) join)->mergeclauses;
	return NIL;
}

/*
 * What lies above one side of a join.  keeps: each of its rows comes out, with nulls if it
 * must.  Then its columns decide no more than whose row is put beside them: that matters
 * where what decides above is in the other side's columns.
 */
static Above
witness_place_join_side(const JoinState *state, const Above *above, const Above *other, Above side,
						int varno, bool keeps)
{
	const Join *join = (const Join *) state->ps.plan;
	bool decides = !keeps || other->anyhow || !bms_is_empty(other->hard);

	side.drops = !keeps || side.drops;
	if (decides || !bms_is_empty(other->soft))
		witness_place_above_decides(&side, (Node *) witness_place_join_clauses(join), varno);
	if (decides)
		witness_place_above_decides(&side, (Node *) witness_place_join_keys(join), varno);
	else if (!bms_is_empty(other->soft))
		witness_place_above_decides_computed(&side, witness_place_join_keys(join), varno);
	/* Rows that a hash table gives back come in no order that could be told. */
	if (above->chooses && IsA(join, HashJoin) && varno == INNER_VAR)
		side.anyhow = true;
	return side;
}

List *
witness_place_join(Placing *placing, JoinState *state, const Above *above)
{
	Join *join = (Join *) state->ps.plan;
	bool outer_nullable = state->jointype == JOIN_RIGHT || state->jointype == JOIN_FULL;
	bool inner_nullable = state->jointype == JOIN_LEFT || state->jointype == JOIN_FULL;
	bool known = state->jointype == JOIN_INNER || state->jointype == JOIN_SEMI ||
				 state->jointype == JOIN_ANTI || outer_nullable || inner_nullable ||
				 core_compat_right_anti(state->jointype);
	Above over_outer = witness_place_above_through(above, join->plan.targetlist, OUTER_VAR);
	Above over_inner = witness_place_above_through(above, join->plan.targetlist, INNER_VAR);
	Above below;
	List *outer;
	List *inner;

	witness_place_above_filter(&over_outer, join->plan.qual, OUTER_VAR);
	witness_place_above_filter(&over_inner, join->plan.qual, INNER_VAR);
	below =
		witness_place_join_side(state, above, &over_inner, over_outer, OUTER_VAR, inner_nullable);
	outer = witness_place_node(placing, outerPlanState(state),
							   known ? &below : &witness_place_above_anyhow);
	below =
		witness_place_join_side(state, above, &over_outer, over_inner, INNER_VAR, outer_nullable);
	inner = witness_place_node(placing, innerPlanState(state),
							   known ? &below : &witness_place_above_anyhow);

	/*
	 * A row of a nullable side whose match is dropped above has decided that nothing came
	 * of it, if its columns did: record it where it matched, not only where it leaves.
	 */
	if (outer_nullable && (over_outer.anyhow || !bms_is_empty(over_outer.hard)))
		witness_place_join_match(placing, state, outer, WITNESS_SOURCE_OUTER, "outer_join");
	if (inner_nullable && (over_inner.anyhow || !bms_is_empty(over_inner.hard)))
		witness_place_join_match(placing, state, inner, WITNESS_SOURCE_INNER, "outer_join");
	if (core_compat_right_anti(state->jointype))
	{
		witness_place_join_match(placing, state, outer, WITNESS_SOURCE_OUTER, "anti_join");
		outer = NIL;
	}
	else if (state->jointype == JOIN_SEMI || state->jointype == JOIN_ANTI)
	{
		witness_place_join_match(placing, state, inner, WITNESS_SOURCE_INNER,
								 state->jointype == JOIN_SEMI ? "semi_join" : "anti_join");
		inner = NIL;
	}
	else if (!known)
	{
		/* A join that we do not know may return nulls for either side. */
		witness_place_end(placing, outer, TRAIL_MANNER_ROW, "join", NULL);
		witness_place_end(placing, inner, TRAIL_MANNER_ROW, "join", NULL);
		return NIL;
	}
	outer = witness_place_project(placing, &state->ps, outer, OUTER_VAR);
	inner = witness_place_project(placing, &state->ps, inner, INNER_VAR);
	return list_concat(outer, inner);
}
