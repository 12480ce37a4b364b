/*
 * place_write.c
 *		Which taps are needed where rows are written or locked.
 *
 * A row that is handed to ModifyTable is recorded as it is handed, with the subject
 * that it has and the one that it gets.  What shows only afterwards (did MERGE act?
 * who stood in the way? what did a trigger make of it?) modify.c settles.
 */
#include "witness/place_int.h"

#include "executor/executor.h"
#include "utils/rel.h"

/* Can a row be stored with another subject than the plan gave it? */
static bool
witness_place_write_alters(ModifyTableState *state, const WitnessRelation *target)
{
	ResultRelInfo *root = state->rootResultRelInfo;
	TupleDesc columns = RelationGetDescr(root->ri_RelationDesc);
	TriggerDesc *triggers = root->ri_RelationDesc->trigdesc;

	if (triggers != NULL && (triggers->trig_insert_before_row || triggers->trig_update_before_row))
		return true;
	/* Its partitions may have triggers of their own. */
	if (root->ri_RelationDesc->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		return true;
	for (int i = 0; i < target->nsubjects; i++)
		if (TupleDescAttr(columns, target->subject_attnums[i] - 1)->attgenerated != '\0')
			return true;
	return false;
}

/* The subjects that rows get: where they stand in what the plan hands over. */
static void
witness_place_write_given(Placing *placing, WitnessModify *modify, ModifyTableState *state,
						  const WitnessRelation *target)
{
	ModifyTable *plan = (ModifyTable *) state->ps.plan;
	ListCell *lc;

	for (int i = 0; i < target->nsubjects; i++)
	{
		WitnessSet *set =
			witness_capture_set(placing->capture, target->watched, i, TRAIL_MANNER_WRITE, "", NULL);
		AttrNumber attnum = 0;

		if (plan->operation == CMD_INSERT)
			attnum = target->subject_attnums[i];
		else if (plan->operation == CMD_UPDATE && list_length(plan->updateColnosLists) == 1)
		{
			List *columns = linitial(plan->updateColnosLists);
			int at = 0;

			foreach (lc, columns)
			{
				at++;
				if (lfirst_int(lc) == target->subject_attnums[i])
					attnum = at;
			}
		}
		/* Where somebody is in the way nothing is written. */
		if (modify != NULL && plan->onConflictAction == ONCONFLICT_NOTHING)
			witness_modify_flow(modify, WITNESS_SOURCE_RESULT, attnum, target->subject_types[i],
								set, false);
		else if (attnum != 0 && witness_tap_possible(outerPlanState(state)))
			witness_tap_add(placing->capture, outerPlanState(state), WITNESS_SOURCE_RESULT, attnum,
							target->subject_types[i], set);
		if (plan->onConflictAction == ONCONFLICT_UPDATE)
			witness_tap_conflict(placing->capture, state->resultRelInfo, set,
								 target->subject_attnums[i], target->subject_types[i]);
	}
}

/* The rows that are read in order to be written. */
static void
witness_place_write_taken(Placing *placing, WitnessModify *modify, ModifyTableState *state,
						  List *flows, const WitnessRelation *target)
{
	ListCell *lc;

	foreach (lc, flows)
	{
		Flow *flow = lfirst(lc);
		bool own =
			target != NULL && flow->relation == target->watched && state->operation != CMD_INSERT;
		TrailManner manner = own ? TRAIL_MANNER_WRITE : TRAIL_MANNER_ROW;
		const char *reason = own ? "" : "written";
		WitnessSet *acted;

		if (modify == NULL || flow->tap != outerPlanState(state) ||
			flow->source == WITNESS_SOURCE_HEAP)
		{
			witness_place_tap(placing, flow, manner, reason, NULL);
			continue;
		}
		acted = witness_capture_set(placing->capture, flow->relation, flow->subject, manner, reason,
									NULL);
		if (state->operation != CMD_MERGE)
			witness_place_tap(placing, flow, manner, reason, NULL);
		/* The second evaluation shows what it returns, not what it scans. */
		if (flow->attnum != 0)
			witness_modify_flow(modify, WITNESS_SOURCE_RESULT, flow->attnum, flow->type, acted,
								state->operation != CMD_MERGE);
		else
			witness_modify_flow(modify, flow->source, flow->tap_attnum, flow->tap_type, acted,
								state->operation != CMD_MERGE);
	}
}

void
witness_place_write_modify(Placing *placing, ModifyTableState *state)
{
	ModifyTable *plan = (ModifyTable *) state->ps.plan;
	ResultRelInfo *root = state->rootResultRelInfo;
	/*
	 * MERGE leaves rows alone that no action is for.  Nothing comes of those, but where the
	 * other side of the pair would then have been without one: the join tells of that.
	 */
	const Above nothing = {0};
	List *flows =
		witness_place_node(placing, outerPlanState(state),
						   plan->operation == CMD_MERGE ? &witness_place_above_anyhow : &nothing);
	WitnessRelation *target = witness_watch_pin(RelationGetRelid(root->ri_RelationDesc));
	WitnessModify *modify = NULL;
	bool rewrites = target != NULL && plan->operation != CMD_DELETE &&
					(plan->operation == CMD_MERGE || witness_place_write_alters(state, target));

	if ((flows != NIL || target != NULL) &&
		(plan->operation != CMD_INSERT || rewrites ||
		 (target != NULL && plan->onConflictAction == ONCONFLICT_NOTHING)))
	{
		modify = witness_modify_start(placing->capture, &state->ps);
		placing->modifies = lappend(placing->modifies, modify);
		if (rewrites)
			witness_modify_stored(modify);
	}
	/* The row that MERGE finds changed may be another subject's by now. */
	placing->recheck_reads |= plan->operation == CMD_MERGE && modify != NULL;
	witness_place_write_taken(placing, modify, state, flows, target);
	if (target == NULL)
		return;
	witness_place_write_given(placing, modify, state, target);
	witness_conflict_deferrable(placing->capture, root, target->watched, plan->operation);
	witness_watch_release(target);
}

/* Rows that are locked pass up to other taps; only what is evaluated anew concerns us. */
void
witness_place_write_locks(Placing *placing, LockRowsState *state)
{
	if (placing->capture->query->plannedstmt->subplans != NIL)
		placing->modifies =
			lappend(placing->modifies, witness_modify_start(placing->capture, &state->ps));
}

/* Once everything is placed: what evaluates rows anew may read what is watched as well. */
void
witness_place_write_rechecks(Placing *placing)
{
	ListCell *lc;

	if (!placing->recheck_reads)
		return;
	foreach (lc, placing->modifies)
		witness_modify_recheck_ahead(lfirst(lc));
}

/*
 * Places the taps of a plan that evaluates changed rows anew.  The rows themselves come
 * from the plan that runs; its subqueries read for their own.
 */
void
witness_place_write_recheck(WitnessCapture *capture, PlanState *state)
{
	Placing placing = {.capture = capture};
	List *flows = witness_place_node(&placing, state, &witness_place_above_anyhow);

	witness_place_end(&placing, flows, TRAIL_MANNER_INFLUENCE, "recheck", NULL);
}
