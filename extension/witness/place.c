/*
 * place.c
 *		Which taps a finished plan needs, so that nothing disclosed goes unrecorded
 *		and as little else as possible is.
 *
 * From each watched scan a *flow* (where the subject stands in a node's output) is
 * carried up the plan.  A flow also knows its best tap so far: the highest node
 * below which every row was recorded.  Where a flow ends, its tap is installed with
 * the manner that fits what ended it: at the plan's top the row itself leaves.
 *
 * Soundness rests on two rules: a tap sees a superset of the rows that can
 * influence what lies above it, and where a node is unknown, its children's taps
 * stay where they are.  Precision comes from taps that move up past what filters.
 *
 * In a parallel worker the plan's top is a Gather's input: flows that reach it in
 * the output are tapped by the leader, at the Gather; the others here.
 */
#include "witness/place_int.h"

#include "access/parallel.h"
#include "access/sysattr.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* ---------------------------------------------------------------- ending flows */

void
witness_place_tap(Placing *placing, const Flow *flow, TrailManner manner, const char *reason,
				  uint64 *groups)
{
	WitnessSet *set = witness_capture_set(placing->capture, flow->relation, flow->subject, manner,
										  reason, groups);

	witness_tap_add(placing->capture, flow->tap, flow->source, flow->tap_attnum, flow->tap_type,
					set);
}

void
witness_place_end(Placing *placing, List *flows, TrailManner manner, const char *reason,
				  uint64 *groups)
{
	ListCell *lc;

	foreach (lc, flows)
		witness_place_tap(placing, lfirst(lc), manner, reason, groups);
}

static void
witness_place_point(WitnessCapture *capture, PlanState *state, WitnessSource source,
					AttrNumber attnum, const Flow *flow)
{
	witness_tap_point(capture, state, source, attnum, flow->tap_type, flow->relation,
					  flow->subject);
}

/* ---------------------------------------------------------------- carrying flows */

/* Position in a target list of a plain reference to a column of a child. */
AttrNumber
witness_place_position(List *targetlist, int varno, AttrNumber attnum)
{
	ListCell *lc;

	if (attnum == 0)
		return 0;
	foreach (lc, targetlist)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		if (IsA(entry->expr, Var) && ((Var *) entry->expr)->varno == varno &&
			((Var *) entry->expr)->varattno == attnum)
			return entry->resno;
	}
	return 0;
}

/* A number that is made wider stays the same person's. */
static bool
witness_place_widens(Oid function)
{
	return function == F_INT8_INT4 || function == F_INT8_INT2 || function == F_INT4_INT2;
}

/* Carries a flow to where a target list has it, which may be nowhere. */
static void
witness_place_carry(Flow *flow, List *targetlist, int varno)
{
	AttrNumber attnum = flow->attnum;
	ListCell *lc;

	flow->attnum = witness_place_position(targetlist, varno, attnum);
	if (attnum == 0 || flow->attnum != 0 || !flow->relation->subjects[flow->subject].plain)
		return;
	foreach (lc, targetlist)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);
		FuncExpr *widening = (FuncExpr *) entry->expr;
		Var *var;

		if (!IsA(widening, FuncExpr) || !witness_place_widens(widening->funcid))
			continue;
		var = linitial(widening->args);
		if (!IsA(var, Var) || var->varno != varno || var->varattno != attnum)
			continue;
		flow->attnum = entry->resno;
		flow->type = widening->funcresulttype;
		return;
	}
}

/* Moves flows' taps to this node's result, for those that it carries. */
List *
witness_place_lift(PlanState *state, List *flows)
{
	ListCell *lc;

	if (!witness_tap_possible(state))
		return flows;
	foreach (lc, flows)
	{
		Flow *flow = lfirst(lc);

		if (flow->attnum == 0)
			continue;
		flow->tap = state;
		flow->source = WITNESS_SOURCE_RESULT;
		flow->tap_attnum = flow->attnum;
		flow->tap_type = flow->type;
	}
	return flows;
}

/*
 * Carries flows of a child through a node that projects.  What the target list
 * drops is still to be seen in the tuple that was projected, so the tap can move
 * up to this node even then.
 */
List *
witness_place_project(Placing *placing, PlanState *state, List *flows, int varno)
{
	ListCell *lc;

	foreach (lc, flows)
	{
		Flow *flow = lfirst(lc);
		const Flow below = *flow;

		witness_place_carry(flow, state->plan->targetlist, varno);
		if (flow->attnum == 0 && below.attnum != 0 && witness_tap_possible(state) &&
			state->ps_ExprContext != NULL && state->ps_ProjInfo != NULL)
		{
			flow->tap = state;
			flow->source = varno == OUTER_VAR ? WITNESS_SOURCE_OUTER : WITNESS_SOURCE_INNER;
			flow->tap_attnum = below.attnum;
			flow->tap_type = below.type;
		}
	}
	return witness_place_lift(state, flows);
}

/* For nodes that return their child's tuples as they are. */
static List *
witness_place_same(PlanState *state, List *flows)
{
	return witness_place_lift(state, flows);
}

/* ---------------------------------------------------------------- scans */

static Flow *
witness_place_flow(const WitnessRelation *relation, int subject)
{
	Flow *flow = palloc0(sizeof(Flow));

	flow->relation = relation->watched;
	flow->subject = subject;
	flow->type = relation->subject_types[subject];
	flow->tap_type = flow->type;
	return flow;
}

static List *
witness_place_scan(Placing *placing, ScanState *state)
{
	Scan *scan = (Scan *) state->ps.plan;
	WitnessRelation *relation;
	List *flows = NIL;

	if (state->ss_currentRelation == NULL)
		return NIL;
	relation = witness_watch_pin(RelationGetRelid(state->ss_currentRelation));
	if (relation == NULL)
		return NIL;
	for (int i = 0; i < relation->nsubjects; i++)
	{
		Flow *flow = witness_place_flow(relation, i);

		flow->tap = &state->ps;
		if (IsA(scan, IndexOnlyScan))
		{
			IndexOnlyScan *index = (IndexOnlyScan *) scan;
			ListCell *lc;

			/* The scan's tuple holds the index's columns. */
			flow->source = WITNESS_SOURCE_HEAP;
			flow->tap_attnum = relation->subject_attnums[i];
			foreach (lc, index->indextlist)
			{
				TargetEntry *entry = lfirst_node(TargetEntry, lc);

				if (IsA(entry->expr, Var) && !entry->resjunk &&
					((Var *) entry->expr)->varattno == relation->subject_attnums[i])
				{
					flow->source = WITNESS_SOURCE_SCAN;
					flow->tap_attnum = entry->resno;
					flow->attnum =
						witness_place_position(scan->plan.targetlist, INDEX_VAR, entry->resno);
				}
			}
		}
		else
		{
			flow->source = WITNESS_SOURCE_SCAN;
			flow->tap_attnum = relation->subject_attnums[i];
			flow->attnum = relation->subject_attnums[i];
			witness_place_carry(flow, scan->plan.targetlist, scan->scanrelid);
		}
		witness_place_point(placing->capture, &state->ps, flow->source, flow->tap_attnum, flow);
		flows = lappend(flows, flow);
	}
	witness_watch_release(relation);
	return flows;
}

/* A scan that we can't look into: everybody in it. */
static void
witness_place_opaque(Placing *placing, Bitmapset *relids)
{
	EState *estate = placing->capture->query->estate;
	int rti = -1;

	while ((rti = bms_next_member(relids, rti)) > 0)
	{
		RangeTblEntry *rte = exec_rt_fetch(rti, estate);
		WitnessRelation *relation;

		if (rte->rtekind != RTE_RELATION)
			continue;
		relation = witness_watch_pin(rte->relid);
		if (relation == NULL)
			continue;
		witness_capture_all(placing->capture, relation->watched, TRAIL_MANNER_ALL, "foreign_scan");
		witness_watch_release(relation);
	}
}

/* ---------------------------------------------------------------- appends */

/*
 * Flows rise through an Append where every child carries the same subject in the
 * same place; otherwise a tap above would read something else for some rows.
 */
static List *
witness_place_append(Placing *placing, PlanState *state, PlanState **children, int count,
					 const Above *above)
{
	List **flows = palloc0(sizeof(List *) * Max(count, 1));
	List *result = NIL;
	List *common = NIL;
	Above below = witness_place_above_through(above, state->plan->targetlist, OUTER_VAR);
	ListCell *lc;

	for (int i = 0; i < count; i++)
		flows[i] = witness_place_node(placing, children[i], &below);
	if (count > 0)
		foreach (lc, flows[0])
		{
			Flow *first = lfirst(lc);
			bool everywhere = first->attnum != 0;

			for (int i = 1; i < count && everywhere; i++)
			{
				ListCell *other;
				bool found = false;

				foreach (other, flows[i])
				{
					Flow *flow = lfirst(other);

					found |= flow->relation == first->relation && flow->subject == first->subject &&
							 flow->type == first->type && flow->attnum == first->attnum;
				}
				everywhere = found;
			}
			if (everywhere)
			{
				Flow *copy = palloc(sizeof(Flow));

				*copy = *first;
				common = lappend(common, copy);
			}
		}
	for (int i = 0; i < count; i++)
		foreach (lc, flows[i])
		{
			Flow *flow = lfirst(lc);
			ListCell *other;
			bool covered = false;

			foreach (other, common)
			{
				Flow *risen = lfirst(other);

				covered |= flow->relation == risen->relation && flow->subject == risen->subject &&
						   flow->attnum == risen->attnum;
			}
			if (!covered)
			{
				flow->attnum = 0;
				result = lappend(result, flow);
			}
		}
	return list_concat(result, witness_place_lift(state, common));
}

/* ---------------------------------------------------------------- subplans, CTEs */

static void
witness_place_subplan(Placing *placing, SubPlanState *state)
{
	SubPlan *plan = state->subplan;
	List *flows;

	/* A CTE's rows are followed from where they are read. */
	if (plan->subLinkType == CTE_SUBLINK && !IsA(state->planstate, ModifyTableState))
		return;
	if (bms_is_member(plan->plan_id, placing->subplans))
		return;
	placing->subplans = bms_add_member(placing->subplans, plan->plan_id);
	flows = witness_place_node(placing, state->planstate, &witness_place_above_anyhow);
	placing->recheck_reads |= flows != NIL || IsA(state->planstate, ModifyTableState);
	switch (plan->subLinkType)
	{
		case EXISTS_SUBLINK:
		case ANY_SUBLINK:
		case ALL_SUBLINK:
			witness_place_end(placing, flows, TRAIL_MANNER_INFLUENCE, "subquery_condition", NULL);
			break;
		default:
			/* Its value may be what the statement returns. */
			witness_place_end(placing, flows, TRAIL_MANNER_ROW, "subquery", NULL);
			break;
	}
}

static List *
witness_place_cte(Placing *placing, CteScanState *state)
{
	CteScan *scan = (CteScan *) state->ss.ps.plan;
	List *flows = NIL;
	List *result = NIL;
	ListCell *lc;
	ListCell *id;

	if (!bms_is_member(scan->ctePlanId, placing->ctes))
	{
		placing->ctes = bms_add_member(placing->ctes, scan->ctePlanId);
		/* One that writes may have been placed where it is run. */
		if (!bms_is_member(scan->ctePlanId, placing->subplans))
			flows = witness_place_node(placing, state->cteplanstate, &witness_place_above_anyhow);
		placing->subplans = bms_add_member(placing->subplans, scan->ctePlanId);
		placing->cte_ids = lappend_int(placing->cte_ids, scan->ctePlanId);
		placing->cte_flows = lappend(placing->cte_flows, flows);
		/* What does not reach the CTE's output can't be followed from its readers. */
		foreach (lc, flows)
			if (((Flow *) lfirst(lc))->attnum == 0)
				witness_place_tap(placing, lfirst(lc), TRAIL_MANNER_ROW, "cte", NULL);
	}
	forboth(id, placing->cte_ids, lc, placing->cte_flows) if (lfirst_int(id) == scan->ctePlanId)
		flows = lfirst(lc);
	foreach (lc, flows)
	{
		Flow *flow = lfirst(lc);
		Flow *copy;

		if (flow->attnum == 0)
			continue;
		copy = palloc(sizeof(Flow));
		*copy = *flow;
		copy->tap = &state->ss.ps;
		copy->source = WITNESS_SOURCE_SCAN;
		copy->tap_attnum = flow->attnum;
		copy->tap_type = flow->type;
		witness_place_carry(copy, scan->scan.plan.targetlist, scan->scan.scanrelid);
		result = lappend(result, copy);
	}
	return result;
}

static List *
witness_place_subquery(Placing *placing, SubqueryScanState *state, const Above *above)
{
	Scan *scan = (Scan *) state->ss.ps.plan;
	Above below = witness_place_above_through(above, scan->plan.targetlist, scan->scanrelid);
	List *flows;
	ListCell *lc;

	witness_place_above_filter(&below, scan->plan.qual, scan->scanrelid);
	flows = witness_place_node(placing, state->subplan, &below);

	foreach (lc, flows)
	{
		Flow *flow = lfirst(lc);

		if (flow->attnum == 0)
			continue;
		/* Its scan tuple is the child's, columns that nobody selected included. */
		flow->tap = &state->ss.ps;
		flow->source = WITNESS_SOURCE_CHILD;
		flow->tap_attnum = flow->attnum;
		flow->tap_type = flow->type;
		witness_place_carry(flow, scan->plan.targetlist, scan->scanrelid);
	}
	return flows;
}

/* ---------------------------------------------------------------- the walk */

typedef struct ChildWalk
{
	Placing *placing;
	List *flows;
} ChildWalk;

/* A child of a node that we do not know: its taps stay below. */
static bool
witness_place_child(PlanState *state, void *context)
{
	ChildWalk *walk = context;
	List *flows = witness_place_node(walk->placing, state, &witness_place_above_anyhow);
	ListCell *lc;

	foreach (lc, flows)
		((Flow *) lfirst(lc))->attnum = 0;
	walk->flows = list_concat(walk->flows, flows);
	return false;
}

static List *
witness_place_limit(Placing *placing, LimitState *state, const Above *above)
{
	/* What it returns is recorded here; what it does not, its order alone has kept out. */
	const Above below = {.drops = true, .chooses = true};
	List *flows = witness_place_node(placing, outerPlanState(state), &below);

	if (((Limit *) state->ps.plan)->limitOffset != NULL)
		witness_place_end(placing, flows, TRAIL_MANNER_INFLUENCE, "offset", NULL);
	flows = witness_place_same(&state->ps, flows);
	/* A row that is dropped above had taken another one's place. */
	if (above->drops)
		witness_place_end(placing, flows, TRAIL_MANNER_INFLUENCE, "limit", NULL);
	return flows;
}

static List *
witness_place_window(Placing *placing, PlanState *state, const Above *above)
{
	bool drops =
		above->drops || ((WindowAgg *) state->plan)->runCondition != NIL || state->qual != NULL;
	/* Whoever reaches it is recorded here; it may be stopped before it has read all. */
	const Above below = {.drops = drops, .chooses = drops};
	List *flows = witness_place_node(placing, outerPlanState(state), &below);

	/* A row that does not come out has still counted for its neighbours. */
	if (drops)
		witness_place_end(placing, flows, TRAIL_MANNER_AGGREGATE, "window", NULL);
	return witness_place_project(placing, state, flows, OUTER_VAR);
}

/* Does the node read the rows of one table? */
bool
witness_place_is_scan(const PlanState *state)
{
	switch (nodeTag(state))
	{
		case T_SeqScanState:
		case T_SampleScanState:
		case T_IndexScanState:
		case T_IndexOnlyScanState:
		case T_BitmapHeapScanState:
		case T_TidScanState:
		case T_TidRangeScanState:
			return true;
		default:
			return false;
	}
}

/* Places what a subtree needs and returns its flows. */
List *
witness_place_node(Placing *placing, PlanState *state, const Above *above)
{
	List *flows;
	Above below;
	ListCell *lc;

	if (state == NULL)
		return NIL;
	check_stack_depth();
	foreach (lc, state->initPlan)
		witness_place_subplan(placing, lfirst_node(SubPlanState, lc));
	foreach (lc, state->subPlan)
		witness_place_subplan(placing, lfirst_node(SubPlanState, lc));

	if (witness_place_is_scan(state))
		return witness_place_scan(placing, (ScanState *) state);
	switch (nodeTag(state))
	{
		case T_FunctionScanState:
		case T_TableFuncScanState:
		case T_ValuesScanState:
		case T_NamedTuplestoreScanState:
		case T_WorkTableScanState:
			return NIL;

		case T_ForeignScanState:
		{
			ForeignScan *scan = (ForeignScan *) state->plan;

			witness_place_opaque(placing, scan->scan.scanrelid > 0
											  ? bms_make_singleton(scan->scan.scanrelid)
											  : scan->fs_relids);
			flows = witness_place_node(placing, outerPlanState(state), &witness_place_above_anyhow);
			witness_place_end(placing, flows, TRAIL_MANNER_ROW, "foreign_scan", NULL);
			return NIL;
		}
		case T_CustomScanState:
		{
			CustomScan *scan = (CustomScan *) state->plan;

			witness_place_opaque(placing, scan->scan.scanrelid > 0
											  ? bms_make_singleton(scan->scan.scanrelid)
											  : scan->custom_relids);
			break;
		}

		case T_SubqueryScanState:
			return witness_place_subquery(placing, (SubqueryScanState *) state, above);
		case T_CteScanState:
			return witness_place_cte(placing, (CteScanState *) state);

		case T_NestLoopState:
		case T_HashJoinState:
		case T_MergeJoinState:
			return witness_place_join(placing, (JoinState *) state, above);

		case T_HashState:
		case T_MaterialState:
		case T_MemoizeState:
			flows = witness_place_node(placing, outerPlanState(state), above);
			return witness_place_same(state, flows);

		case T_SortState:
		case T_IncrementalSortState:
			below = witness_place_above_sort(above, (Sort *) state->plan);
			flows = witness_place_node(placing, outerPlanState(state), &below);
			return witness_place_same(state, flows);

		case T_LockRowsState:
			flows = witness_place_node(placing, outerPlanState(state), &witness_place_above_anyhow);
			witness_place_write_locks(placing, (LockRowsState *) state);
			return witness_place_same(state, flows);

		case T_ResultState:
		case T_GatherState:
		case T_GatherMergeState:
			below = witness_place_above_through(above, state->plan->targetlist, OUTER_VAR);
			witness_place_above_filter(&below, state->plan->qual, OUTER_VAR);
			flows = witness_place_node(placing, outerPlanState(state), &below);
			return witness_place_project(placing, state, flows, OUTER_VAR);

		case T_LimitState:
			return witness_place_limit(placing, (LimitState *) state, above);

		case T_WindowAggState:
			return witness_place_window(placing, state, above);

		case T_AggState:
			return witness_place_group_aggregate(placing, (AggState *) state, above);
		case T_GroupState:
			return witness_place_group_plain(placing, state, above);
		case T_UniqueState:
			return witness_place_group_unique(placing, state, above);

		case T_SetOpState:
			return witness_place_group_setop(placing, state);
		case T_RecursiveUnionState:
			flows = witness_place_node(placing, outerPlanState(state), &witness_place_above_anyhow);
			flows = list_concat(flows, witness_place_node(placing, innerPlanState(state),
														  &witness_place_above_anyhow));
			witness_place_end(placing, flows, TRAIL_MANNER_ROW, "recursive", NULL);
			return NIL;

		case T_AppendState:
			return witness_place_append(placing, state, ((AppendState *) state)->appendplans,
										((AppendState *) state)->as_nplans, above);
		case T_MergeAppendState:
			return witness_place_append(placing, state, ((MergeAppendState *) state)->mergeplans,
										((MergeAppendState *) state)->ms_nplans, above);

		case T_ModifyTableState:
			witness_place_write_modify(placing, (ModifyTableState *) state);
			return NIL;

		default:
			break;
	}

	{
		ChildWalk walk = {placing, NIL};

		/* It would walk into the subplans, which have been placed: they are skipped. */
		(void) planstate_tree_walker(state, witness_place_child, &walk);
		return walk.flows;
	}
}

/* Everybody in what the statement reads or writes: what it did can't be narrowed. */
void
witness_place_everybody(WitnessCapture *capture, const char *reason)
{
	ListCell *lc;

	foreach (lc, capture->query->plannedstmt->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
		WitnessRelation *relation;

		if (rte->rtekind != RTE_RELATION || (relation = witness_watch_pin(rte->relid)) == NULL)
			continue;
		witness_capture_all(capture, relation->watched, TRAIL_MANNER_ALL, reason);
		witness_watch_release(relation);
	}
}

/* Places the taps of an execution that has started. */
void
witness_place(WitnessCapture *capture)
{
	Placing placing = {.capture = capture};
	QueryDesc *query = capture->query;
	const Above nothing = {0};
	/* What a worker's rows meet in the leader, it can't see. */
	List *flows = witness_place_node(&placing, query->planstate,
									 IsParallelWorker() ? &witness_place_above_anyhow : &nothing);
	ListCell *lc;

	foreach (lc, flows)
	{
		Flow *flow = lfirst(lc);

		/* The leader hears it at the Gather. */
		if (IsParallelWorker() && flow->attnum != 0)
			continue;
		witness_place_tap(&placing, flow, TRAIL_MANNER_ROW, "", NULL);
	}
	/* Data-modifying CTEs that nothing reads. */
	foreach (lc, query->estate->es_auxmodifytables)
		if (outerPlanState(lfirst(lc)) != NULL && query->planstate != lfirst(lc))
		{
			PlanState *modify = lfirst(lc);
			bool placed = false;
			int id = 0;
			ListCell *sub;

			foreach (sub, query->estate->es_subplanstates)
			{
				id++;
				if (lfirst(sub) == modify)
					placed = bms_is_member(id, placing.subplans);
			}
			if (!placed)
				witness_place_write_modify(&placing, (ModifyTableState *) modify);
		}
	witness_place_write_rechecks(&placing);
	if (witness_place_explained(query))
		witness_place_explain(capture);
}
