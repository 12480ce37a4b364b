/*
 * modify.c
 *		What became of each row that was handed to a node which writes or locks.
 *
 * Such a node says nothing of a single row: MERGE may leave it alone, DO NOTHING may
 * find another one in its place, a trigger may give it another subject, and a row
 * that someone else has just changed is evaluated anew (EvalPlanQual).  So each row
 * is *settled* when the node comes back for the next one, or returns: by then what
 * was done shows in the node's counters and slots.  A row that an error caught is
 * settled by that error.  Nothing of a row has left by then, so I2 holds.
 *
 * The plan that evaluates anew has nodes of its own, which PostgreSQL makes when they
 * are first needed.  Where subqueries in it read watched tables it is made ahead, and
 * tapped; where it had to be made later, its first row counts as everybody.
 */
#include "witness/witness_int.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* The statement's subjects in a row of the plan, in one column. */
typedef struct ModifyFlow
{
	struct ModifyFlow *next;
	WitnessSource source; /* at the node's child */
	AttrNumber attnum;
	Oid type;
	WitnessSet *acted; /* where the row was acted upon */
	bool tapped;	   /* a tap has recorded it as acted upon */
} ModifyFlow;

struct WitnessModify
{
	struct WitnessModify *next;
	WitnessCapture *capture;
	PlanState *state;	   /* ModifyTable or LockRows */
	EPQState *recheck;	   /* its EvalPlanQual */
	EState *recheck_known; /* whose nodes are tapped */
	bool recheck_reads;	   /* subqueries in it read watched tables */
	MemoryContextCallback recheck_gone;
	TupleTableSlot *row; /* handed to the node and not settled, or NULL */
	uint64 processed;	 /* the node's counters when it was handed */
	double merged;
	bool nothing; /* ON CONFLICT DO NOTHING */
	bool stored;  /* subjects are to be read from what is stored */
	ModifyFlow *flows;
};

static ModifyTableState *
witness_modify_table(const WitnessModify *modify)
{
	return IsA(modify->state, ModifyTableState) ? (ModifyTableState *) modify->state : NULL;
}

static EPQState *
witness_modify_recheck(PlanState *state)
{
	return IsA(state, ModifyTableState) ? &((ModifyTableState *) state)->mt_epqstate
										: &((LockRowsState *) state)->lr_epqstate;
}

static double
witness_modify_merged(const ModifyTableState *state)
{
	return state->mt_merge_inserted + state->mt_merge_updated + state->mt_merge_deleted;
}

/* Listens to what a node does with each row of its child. */
WitnessModify *
witness_modify_start(WitnessCapture *capture, PlanState *state)
{
	WitnessModify *modify = MemoryContextAllocZero(capture->memory, sizeof(WitnessModify));

	modify->capture = capture;
	modify->state = state;
	modify->recheck = witness_modify_recheck(state);
	if (witness_modify_table(modify) != NULL)
		modify->nothing = ((ModifyTable *) state->plan)->onConflictAction == ONCONFLICT_NOTHING;
	modify->next = capture->modifies;
	capture->modifies = modify;
	witness_tap_settle(capture, state, modify, outerPlanState(state));
	return modify;
}

/* Where a subject stands as a row is handed to the node. */
void
witness_modify_flow(WitnessModify *modify, WitnessSource source, AttrNumber attnum, Oid type,
					WitnessSet *acted, bool tapped)
{
	ModifyFlow *flow = MemoryContextAllocZero(modify->capture->memory, sizeof(ModifyFlow));

	flow->source = source;
	flow->attnum = attnum;
	flow->type = type;
	flow->acted = acted;
	flow->tapped = tapped;
	flow->next = modify->flows;
	modify->flows = flow;
}

/* Subjects are to be read from the rows as they are stored, too. */
void
witness_modify_stored(WitnessModify *modify)
{
	modify->stored = true;
}

/* ---------------------------------------------------------------- settling */

static void
witness_modify_hear(WitnessModify *modify, WitnessSet *set, TupleTableSlot *slot, AttrNumber attnum,
					Oid type, bool failed)
{
	if (failed)
		witness_tap_hear_failed(modify->capture, set, slot, attnum);
	else
		witness_tap_hear(modify->capture, set, slot, attnum, type);
}

static void
witness_modify_read(WitnessModify *modify, ResultRelInfo *target, bool failed)
{
	TupleTableSlot *slots[2] = {target->ri_newTupleSlot, target->ri_PartitionTupleSlot};
	WitnessRelation *relation = witness_watch_pin(RelationGetRelid(target->ri_RelationDesc));

	if (relation == NULL)
		return;
	for (int n = 0; n < (int) lengthof(slots); n++)
		for (int i = 0;
			 slots[n] != NULL && ItemPointerIsValid(&slots[n]->tts_tid) && i < relation->nsubjects;
			 i++)
			witness_modify_hear(modify,
								witness_capture_set(modify->capture, relation->watched, i,
													TRAIL_MANNER_WRITE, "", NULL),
								slots[n], relation->subject_attnums[i], relation->subject_types[i],
								failed);
	witness_watch_release(relation);
}

static void
witness_modify_read_stored(WitnessModify *modify, ModifyTableState *state, bool failed)
{
	ListCell *lc;

	witness_modify_read(modify, state->rootResultRelInfo, failed);
	for (int i = 0; i < state->mt_nrels; i++)
		if (&state->resultRelInfo[i] != state->rootResultRelInfo)
			witness_modify_read(modify, &state->resultRelInfo[i], failed);
	foreach (lc, state->ps.state->es_tuple_routing_result_relations)
		witness_modify_read(modify, lfirst(lc), failed);
}

static void
witness_modify_recheck_gone(void *arg)
{
	WitnessModify *modify = arg;

	witness_tap_forget(modify->capture, modify->recheck_known);
	modify->recheck_known = NULL;
}

/* Taps the nodes that evaluate rows anew; they have just been made. */
static void
witness_modify_recheck_tap(WitnessModify *modify)
{
	EState *estate = modify->recheck->recheckestate;

	witness_place_write_recheck(modify->capture, modify->recheck->recheckplanstate);
	modify->recheck_known = estate;
	modify->recheck_gone.func = witness_modify_recheck_gone;
	modify->recheck_gone.arg = modify;
	MemoryContextRegisterResetCallback(estate->es_query_cxt, &modify->recheck_gone);
}

/*
 * Makes the nodes that evaluate rows anew, ahead of the first row that needs it, and
 * taps them.  The plan's parameters are not set then: an InitPlan that would run now
 * might never have run, and PostgreSQL sets them again before each use.
 */
void
witness_modify_recheck_ahead(WitnessModify *modify)
{
	Plan *plan = modify->recheck->plan;
	Bitmapset *parameters = plan->extParam;
	MemoryContext old;

	modify->recheck_reads = true;
	/* Otherwise a changed row is an error. */
	if (IsolationUsesXactSnapshot() || modify->recheck->recheckestate != NULL)
		return;
	/* INSERT changes no row but the one in its way, which it does not evaluate. */
	if (witness_modify_table(modify) != NULL &&
		witness_modify_table(modify)->operation == CMD_INSERT)
		return;
	old = MemoryContextSwitchTo(modify->state->state->es_query_cxt);
	plan->extParam = NULL;
	PG_TRY();
	{
		EvalPlanQualBegin(modify->recheck);
	}
	PG_FINALLY();
	{
		plan->extParam = parameters;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	witness_modify_recheck_tap(modify);
}

/* The row that nodes have just evaluated anew is in the slot of one of these. */
static void
witness_modify_recheck_read(WitnessModify *modify, PlanState *state, bool failed)
{
	if (IsA(state, AppendState))
	{
		for (int i = 0; i < ((AppendState *) state)->as_nplans; i++)
			witness_modify_recheck_read(modify, ((AppendState *) state)->appendplans[i], failed);
		return;
	}
	for (ModifyFlow *flow = modify->flows; flow != NULL; flow = flow->next)
		if (flow->source == WITNESS_SOURCE_RESULT && state->ps_ResultTupleSlot != NULL)
			witness_modify_hear(modify, flow->acted, state->ps_ResultTupleSlot, flow->attnum,
								flow->type, failed);
}

/* Has a row been evaluated anew since the last time?  Its new version counts as well. */
static void
witness_modify_rechecked(WitnessModify *modify, bool failed)
{
	if (modify->recheck->recheckestate == NULL || modify->recheck->recheckplanstate == NULL)
		return;
	witness_modify_recheck_read(modify, modify->recheck->recheckplanstate, failed);
	if (!modify->recheck_reads || modify->recheck->recheckestate == modify->recheck_known)
		return;
	witness_place_everybody(modify->capture, "recheck");
	if (!failed)
		witness_modify_recheck_tap(modify);
}

static void
witness_modify_done(WitnessModify *modify, bool failed)
{
	ModifyTableState *table = witness_modify_table(modify);
	bool acted = true;

	witness_modify_rechecked(modify, failed);
	if (modify->row == NULL || table == NULL)
		return;
	if (table->operation == CMD_MERGE)
		acted = witness_modify_merged(table) > modify->merged;
	else if (modify->nothing && table->canSetTag)
		acted = table->ps.state->es_processed > modify->processed;
	for (ModifyFlow *flow = modify->flows; flow != NULL; flow = flow->next)
		if (acted && !flow->tapped)
			witness_modify_hear(
				modify, flow->acted,
				witness_tap_slot(outerPlanState(modify->state), flow->source, modify->row),
				flow->attnum, flow->type, failed);
	modify->row = NULL;
	if (modify->stored && acted)
		witness_modify_read_stored(modify, table, failed);
	if (!modify->nothing)
		return;
	/*
	 * Code that fails may hold a lock on a page of the index.  That a row is in the way
	 * is told by one error alone, of a transaction that may not see that row.
	 */
	if (failed && geterrcode() == ERRCODE_T_R_SERIALIZATION_FAILURE)
		witness_place_everybody(modify->capture, "conflict");
	else if (!failed && (!table->canSetTag || table->ps.state->es_processed == modify->processed))
		witness_conflict_nothing(modify->capture, table);
}

/* The node has done with the row that it was handed last. */
void
witness_modify_settle(WitnessModify *modify)
{
	witness_modify_done(modify, false);
}

/* The child's row goes to the node now. */
void
witness_modify_hand(WitnessModify *modify, TupleTableSlot *row)
{
	ModifyTableState *table = witness_modify_table(modify);

	if (table == NULL)
		return;
	modify->row = row;
	modify->processed = table->ps.state->es_processed;
	modify->merged = witness_modify_merged(table);
}

/* The execution has failed: settles what was under way. */
void
witness_modify_error(WitnessCapture *capture)
{
	for (WitnessModify *modify = capture->modifies; modify != NULL; modify = modify->next)
		witness_modify_done(modify, true);
}
