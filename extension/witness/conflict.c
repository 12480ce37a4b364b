/*
 * conflict.c
 *		Whose row stands in the way: what a unique or exclusion constraint tells.
 *
 * A violation, and ON CONFLICT DO NOTHING, tell whoever inserts that somebody has
 * that value.  The executor keeps the row that it ran into to itself, so the
 * constraint's index is asked again, with a snapshot that sees what the check saw.
 * Where that finds nobody, the answer is everybody (I1).
 *
 * A constraint that may be deferred is checked when the rows that were written are
 * out of reach, at the end of the statement or at commit: whoever writes its
 * columns has everybody recorded at once.
 *
 * The look-up after an error runs in the failed statement's transaction, before it
 * is aborted.  The index code has let go of its locks by then: it builds the error's
 * detail from the catalog.
 *
 * No locks of its own: the executor holds those on the table and its indexes.
 */
#include "witness/witness_int.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/sysattr.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/pg_index.h"
#include "executor/executor.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

static void
witness_conflict_note(WitnessCapture *capture, const WitnessRelation *relation, TupleTableSlot *row,
					  const char *reason)
{
	for (int i = 0; i < relation->nsubjects; i++)
		witness_tap_hear(capture,
						 witness_capture_set(capture, relation->watched, i, TRAIL_MANNER_EXISTENCE,
											 reason, NULL),
						 row, relation->subject_attnums[i], relation->subject_types[i]);
}

/*
 * Notes whoever has what a row has in one index, the row itself left out where self is
 * set.  False: nobody was found.  Memory is the caller's current context's.
 */
static bool
witness_conflict_index(WitnessCapture *capture, EState *estate, ResultRelInfo *target, int at,
					   TupleTableSlot *row, const ItemPointerData *self,
					   const WitnessRelation *relation, const char *reason)
{
	Relation heap = target->ri_RelationDesc;
	Relation index = target->ri_IndexRelationDescs[at];
	IndexInfo info = *target->ri_IndexRelationInfo[at];
	int nkeys = IndexRelationGetNumberOfKeyAttributes(index);
	ExprContext *econtext = GetPerTupleExprContext(estate);
	TupleTableSlot *before = econtext->ecxt_scantuple;
	TupleTableSlot *existing;
	IndexScanDesc scan;
	ScanKeyData keys[INDEX_MAX_KEYS];
	Datum values[INDEX_MAX_KEYS];
	bool isnull[INDEX_MAX_KEYS];
	SnapshotData snapshot;
	bool found = false;

	econtext->ecxt_scantuple = row;
	FormIndexDatum(&info, row, estate, values, isnull);
	econtext->ecxt_scantuple = before;
	for (int i = 0; i < nkeys; i++)
	{
		StrategyNumber strategy =
			info.ii_ExclusionOps != NULL ? info.ii_ExclusionStrats[i] : BTEqualStrategyNumber;
		RegProcedure procedure =
			info.ii_ExclusionOps != NULL
				? info.ii_ExclusionProcs[i]
				: get_opcode(get_opfamily_member(index->rd_opfamily[i], index->rd_opcintype[i],
												 index->rd_opcintype[i], strategy));

		if (isnull[i] && !info.ii_NullsNotDistinct)
			return false;
		ScanKeyEntryInitialize(&keys[i], isnull[i] ? SK_ISNULL | SK_SEARCHNULL : 0, i + 1, strategy,
							   InvalidOid, index->rd_indcollation[i], procedure, values[i]);
	}
	InitDirtySnapshot(snapshot);
	existing = table_slot_create(heap, NULL);
	scan = core_compat_index_beginscan(heap, index, &snapshot, nkeys);
	index_rescan(scan, keys, nkeys, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, existing))
	{
		/* A row that was never stored has no place yet. */
		if (self != NULL && ItemPointerIsValid(self) &&
			ItemPointerEquals((ItemPointer) self, &existing->tts_tid))
			continue;
		found = true;
		witness_conflict_note(capture, relation, existing, reason);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(existing);
	return found;
}

/* Notes whoever is in the way of a row in the indexes that ON CONFLICT goes by. */
static bool
witness_conflict_arbiters(WitnessCapture *capture, EState *estate, ResultRelInfo *target,
						  TupleTableSlot *row, const WitnessRelation *relation)
{
	bool found = false;

	for (int i = 0; i < target->ri_NumIndices; i++)
	{
		IndexInfo *info = target->ri_IndexRelationInfo[i];

		if (!info->ii_ReadyForInserts || (!info->ii_Unique && info->ii_ExclusionOps == NULL))
			continue;
		if (target->ri_onConflictArbiterIndexes != NIL &&
			!list_member_oid(target->ri_onConflictArbiterIndexes,
							 RelationGetRelid(target->ri_IndexRelationDescs[i])))
			continue;
		found |=
			witness_conflict_index(capture, estate, target, i, row, NULL, relation, "conflict");
	}
	return found;
}

/* Does this slot hold a row that was meant for this table? */
static bool
witness_conflict_candidate(const TupleTableSlot *slot, Relation heap)
{
	return !TTS_EMPTY(slot) && slot->tts_tableOid == RelationGetRelid(heap) &&
		   slot->tts_tupleDescriptor->natts == RelationGetDescr(heap)->natts;
}

/* The tables that rows of an execution are stored in, partitions included. */
static List *
witness_conflict_targets(EState *estate)
{
	return list_concat_unique_ptr(list_copy(estate->es_opened_result_relations),
								  estate->es_tuple_routing_result_relations);
}

/*
 * A row of INSERT ... ON CONFLICT DO NOTHING was not stored: notes who was in its way.
 * It is still in the slot that it would have been stored from.
 */
void
witness_conflict_nothing(WitnessCapture *capture, ModifyTableState *state)
{
	EState *estate = state->ps.state;
	MemoryContext old = MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));
	List *targets =
		list_append_unique_ptr(witness_conflict_targets(estate), state->rootResultRelInfo);
	bool found = false;
	ListCell *lc;
	ListCell *at;

	foreach (lc, targets)
	{
		ResultRelInfo *target = lfirst(lc);
		WitnessRelation *relation;

		if (target->ri_NumIndices == 0)
			continue;
		relation = witness_watch_pin(RelationGetRelid(target->ri_RelationDesc));
		if (relation == NULL)
			continue;
		foreach (at, estate->es_tupleTable)
			if (witness_conflict_candidate(lfirst(at), target->ri_RelationDesc))
				found |= witness_conflict_arbiters(capture, estate, target, lfirst(at), relation);
		witness_watch_release(relation);
	}
	if (!found)
	{
		WitnessRelation *relation =
			witness_watch_pin(RelationGetRelid(state->rootResultRelInfo->ri_RelationDesc));

		if (relation != NULL)
		{
			witness_capture_all(capture, relation->watched, TRAIL_MANNER_ALL, "conflict");
			witness_watch_release(relation);
		}
	}
	MemoryContextSwitchTo(old);
}

/* Looks for the row that an error is about.  False: not one of this table's. */
static bool
witness_conflict_violated(WitnessCapture *capture, ResultRelInfo *target, const ErrorData *error)
{
	Relation heap = target->ri_RelationDesc;
	WitnessRelation *relation;
	bool found = false;
	ListCell *lc;

	if (strcmp(error->table_name, RelationGetRelationName(heap)) != 0 ||
		strcmp(error->schema_name, get_namespace_name(RelationGetNamespace(heap))) != 0)
		return false;
	relation = witness_watch_pin(RelationGetRelid(heap));
	if (relation == NULL)
		return true;
	for (int i = 0; i < target->ri_NumIndices; i++)
	{
		Relation index = target->ri_IndexRelationDescs[i];

		if (strcmp(error->constraint_name, RelationGetRelationName(index)) != 0)
			continue;
		foreach (lc, capture->query->estate->es_tupleTable)
		{
			TupleTableSlot *slot = lfirst(lc);

			if (witness_conflict_candidate(slot, heap))
				found |= witness_conflict_index(capture, capture->query->estate, target, i, slot,
												&slot->tts_tid, relation, "violation");
		}
	}
	if (!found)
		witness_capture_all(capture, relation->watched, TRAIL_MANNER_ALL, "violation");
	witness_watch_release(relation);
	return true;
}

/*
 * An execution has failed: notes whom a violated constraint tells of.  Called in the
 * handler, with the error on the stack, which it leaves as it was.
 */
void
witness_conflict_error(WitnessCapture *capture)
{
	MemoryContext caller = CurrentMemoryContext;
	ErrorData *error;
	List *targets;
	ListCell *lc;

	if (capture->query->operation == CMD_SELECT && !capture->query->plannedstmt->hasModifyingCTE)
		return;
	if (geterrcode() != ERRCODE_UNIQUE_VIOLATION && geterrcode() != ERRCODE_EXCLUSION_VIOLATION)
		return;
	MemoryContextSwitchTo(capture->memory);
	error = CopyErrorData();
	PG_TRY();
	{
		MemoryContextSwitchTo(GetPerTupleMemoryContext(capture->query->estate));
		targets = witness_conflict_targets(capture->query->estate);
		if (error->schema_name != NULL && error->table_name != NULL &&
			error->constraint_name != NULL)
			foreach (lc, targets)
				if (witness_conflict_violated(capture, lfirst(lc), error))
					break;
	}
	PG_CATCH();
	{
		/* What went wrong here matters less than the user's own error: record wider. */
		MemoryContextSwitchTo(capture->memory);
		FlushErrorState();
		foreach (lc, capture->query->estate->es_opened_result_relations)
		{
			WitnessRelation *relation = witness_watch_pin(
				RelationGetRelid(((ResultRelInfo *) lfirst(lc))->ri_RelationDesc));

			if (relation == NULL)
				continue;
			witness_capture_all(capture, relation->watched, TRAIL_MANNER_ALL, "violation");
			witness_watch_release(relation);
		}
		witness_tap_error(capture);
		witness_capture_write_all();
		ReThrowError(error);
	}
	PG_END_TRY();
	FreeErrorData(error);
	MemoryContextSwitchTo(caller);
}

/* Is a column of this index, or one that an expression of it may read, updated? */
static bool
witness_conflict_updates(Oid index, const Bitmapset *updated)
{
	HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	bool updates = false;
	Form_pg_index form;

	if (!HeapTupleIsValid(tuple))
		return true;
	form = (Form_pg_index) GETSTRUCT(tuple);
	for (int i = 0; i < form->indkey.dim1; i++)
		updates |=
			form->indkey.values[i] == 0 ||
			bms_is_member(form->indkey.values[i] - FirstLowInvalidHeapAttributeNumber, updated);
	ReleaseSysCache(tuple);
	return updates;
}

/* A table whose constraints may be checked after the statement: everybody, now. */
void
witness_conflict_deferrable(WitnessCapture *capture, ResultRelInfo *target,
							WitnessRelation *relation, CmdType operation)
{
	TriggerDesc *triggers = target->ri_RelationDesc->trigdesc;

	if (triggers == NULL || operation == CMD_DELETE)
		return;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		if (triggers->triggers[i].tgfoid != F_UNIQUE_KEY_RECHECK)
			continue;
		if (operation == CMD_UPDATE && !triggers->trig_update_before_row &&
			!witness_conflict_updates(triggers->triggers[i].tgconstrindid,
									  ExecGetUpdatedCols(target, capture->query->estate)))
			continue;
		witness_capture_all(capture, relation, TRAIL_MANNER_ALL, "deferrable_constraint");
		return;
	}
}
