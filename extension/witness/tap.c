/*
 * tap.c
 *		Taps: listening to rows as they pass a node of the executor.
 *
 * A tapped node's ExecProcNode is replaced through ExecSetExecProcNode() (assigning
 * it would be undone by the first call) by one that calls the original and then
 * reads the subject from the slot that the tap names.  Nodes that PostgreSQL sets
 * up again later (parallel hash joins) or never calls that way (Hash) are not
 * tapped: place.c then listens below them, which is wider and so still sound.
 *
 * Everything here is private to the backend.  The hash table from node to tap lives
 * as long as the capture; capture.c forgets its nodes before the executor frees
 * them.
 */
#include "witness/witness_int.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "utils/memutils.h"

/* Open addressing, by the node's address; grows, never shrinks. */
static WitnessTapNode **tap_slots = NULL;
static uint32 tap_mask = 0;
static uint32 tap_count = 0;
static WitnessTapNode *tap_last = NULL; /* found last; most plans have one that is busy */

static inline uint32
witness_tap_hash(const PlanState *state)
{
	uint64 address = (uint64) (uintptr_t) state;

	return murmurhash32((uint32) (address >> 4) ^ (uint32) (address >> 36));
}

static inline WitnessTapNode *
witness_tap_find(const PlanState *state)
{
	uint32 at;

	if (likely(tap_last != NULL && tap_last->state == state))
		return tap_last;
	if (tap_slots == NULL)
		return NULL;
	for (at = witness_tap_hash(state) & tap_mask; tap_slots[at] != NULL; at = (at + 1) & tap_mask)
		if (tap_slots[at]->state == state)
			return tap_last = tap_slots[at];
	return NULL;
}

static void
witness_tap_insert(WitnessTapNode *node)
{
	uint32 at;

	if (tap_slots == NULL || (tap_count + 1) * 2 > tap_mask)
	{
		WitnessTapNode **old = tap_slots;
		uint32 old_size = tap_slots == NULL ? 0 : tap_mask + 1;
		uint32 size = Max(old_size * 2, 64);
		WitnessTapNode **slots =
			MemoryContextAllocZero(TopMemoryContext, size * sizeof(WitnessTapNode *));

		tap_slots = slots;
		tap_mask = size - 1;
		tap_count = 0;
		for (uint32 i = 0; i < old_size; i++)
			if (old[i] != NULL)
				witness_tap_insert(old[i]);
		if (old != NULL)
			pfree(old);
	}
	for (at = witness_tap_hash(node->state) & tap_mask; tap_slots[at] != NULL;
		 at = (at + 1) & tap_mask)
		;
	tap_slots[at] = node;
	tap_count++;
}

static void
witness_tap_remove(WitnessTapNode *node)
{
	uint32 at;
	uint32 next;

	if (tap_last == node)
		tap_last = NULL;
	for (at = witness_tap_hash(node->state) & tap_mask; tap_slots[at] != node;
		 at = (at + 1) & tap_mask)
		if (tap_slots[at] == NULL)
			return;
	tap_slots[at] = NULL;
	tap_count--;
	/* Close the gap, so that probes for the nodes behind it do not stop there. */
	for (next = (at + 1) & tap_mask; tap_slots[next] != NULL; next = (next + 1) & tap_mask)
	{
		WitnessTapNode *moved = tap_slots[next];

		tap_slots[next] = NULL;
		tap_count--;
		witness_tap_insert(moved);
	}
}

/*
 * Where a column of a slot that has not been taken apart stands in the row, or NULL
 * where that is to be found out: the columns before it may be wanted by nobody.
 */
static pg_attribute_always_inline const char *
witness_tap_place(TupleTableSlot *slot, AttrNumber attnum)
{
	HeapTuple tuple;
	int32 offset;

	if (!TTS_IS_BUFFERTUPLE(slot) && !TTS_IS_HEAPTUPLE(slot))
		return NULL;
	tuple = ((HeapTupleTableSlot *) slot)->tuple;
	offset = TupleDescAttr(slot->tts_tupleDescriptor, attnum - 1)->attcacheoff;
	if (offset < 0 || tuple == NULL || !HeapTupleNoNulls(tuple) ||
		attnum > (AttrNumber) HeapTupleHeaderGetNatts(tuple->t_data))
		return NULL;
	return (const char *) tuple->t_data + tuple->t_data->t_hoff + offset;
}

/* Reads a subject that is an integer; false where it is NULL or there is no tuple. */
static pg_attribute_always_inline bool
witness_tap_read(TupleTableSlot *slot, AttrNumber attnum, Oid type, int64 *subject)
{
	const char *place;
	Datum value;
	bool isnull;

	if (TupIsNull(slot) || attnum > slot->tts_tupleDescriptor->natts)
		return false;
	if (attnum > slot->tts_nvalid && (place = witness_tap_place(slot, attnum)) != NULL)
	{
		if (type == INT4OID)
			*subject = *(const int32 *) place;
		else if (type == INT8OID)
			*subject = *(const int64 *) place;
		else
			*subject = *(const int16 *) place;
		return true;
	}
	value = slot_getattr(slot, attnum, &isnull);
	if (isnull)
		return false;
	if (type == INT4OID)
		*subject = DatumGetInt32(value);
	else if (type == INT8OID)
		*subject = DatumGetInt64(value);
	else
		*subject = DatumGetInt16(value);
	return true;
}

/*
 * Notes a subject.  A set that has members to be written is dirty already, so what is
 * near the last one needs nothing but its bit; what has been written needs a look.
 */
static inline void
witness_tap_note(WitnessCapture *capture, WitnessSet *set, int64 subject)
{
	if (likely(set->pending != NULL && set->written == NULL && --set->shown.allowance >= 0 &&
			   trail_subject_set_add_near(set->pending, subject)))
		return;
	witness_capture_add(capture, set, subject);
}

/* Notes whom a column of a slot names. */
void
witness_tap_hear(WitnessCapture *capture, WitnessSet *set, TupleTableSlot *slot, AttrNumber attnum,
				 Oid type)
{
	int64 subject;

	if (set->relation->subjects[set->subject].plain)
	{
		if (witness_tap_read(slot, attnum, type, &subject))
			witness_tap_note(capture, set, subject);
	}
	else if (!TupIsNull(slot) && attnum <= slot->tts_tupleDescriptor->natts)
	{
		bool isnull;
		Datum value = slot_getattr(slot, attnum, &isnull);

		witness_subject_note(capture, set, value, isnull);
	}
}

/* The slot that a node's subject stands in, once it has returned a row. */
TupleTableSlot *
witness_tap_slot(PlanState *state, WitnessSource source, TupleTableSlot *returned)
{
	switch (source)
	{
		case WITNESS_SOURCE_RESULT:
			return returned;
		case WITNESS_SOURCE_SCAN:
			return ((ScanState *) state)->ss_ScanTupleSlot;
		case WITNESS_SOURCE_CHILD:
			/* The child's own slot: it is returned itself where nothing is done to it. */
			return state->ps_ProjInfo == NULL && state->qual == NULL
					   ? returned
					   : state->ps_ExprContext->ecxt_scantuple;
		case WITNESS_SOURCE_OUTER:
			return state->ps_ExprContext->ecxt_outertuple;
		case WITNESS_SOURCE_INNER:
			return state->ps_ExprContext->ecxt_innertuple;
		case WITNESS_SOURCE_HEAP:
			break;
	}
	return NULL;
}

/* The heap tuple that an index-only scan has just returned; follows HOT chains. */
static TupleTableSlot *
witness_tap_heap(IndexOnlyScanState *state)
{
	TupleTableSlot *slot = state->ioss_TableSlot;
	IndexScanDesc scan = state->ioss_ScanDesc;

	/*
	 * Where the scan has looked at the heap itself, it knows the row's own place.  From
	 * there a chain must not be followed: it would seem to be dead, and its index entry
	 * with it.
	 */
	if (!table_tuple_fetch_row_version(state->ss.ss_currentRelation, &scan->xs_heaptid,
									   scan->xs_snapshot, slot) &&
		!index_fetch_heap(scan, slot))
		elog(ERROR, "the heap tuple behind an index-only scan is gone");
	return slot;
}

static TupleTableSlot *
witness_tap_exec(PlanState *state)
{
	WitnessTapNode *node = witness_tap_find(state);
	TupleTableSlot *slot;

	if (unlikely(node == NULL))
		elog(ERROR, "a tapped plan node has lost its tap");
	if (node->feeds != NULL)
		witness_modify_settle(node->feeds);
	slot = node->original(state);
	if (node->modify != NULL)
		witness_modify_settle(node->modify);
	if (TupIsNull(slot))
		return slot;
	if (node->feeds != NULL)
		witness_modify_hand(node->feeds, slot);
	node->rows++;
	for (WitnessTap *tap = node->taps; tap != NULL; tap = tap->next)
	{
		if (unlikely(tap->source == WITNESS_SOURCE_HEAP))
		{
			TupleTableSlot *heap = witness_tap_heap((IndexOnlyScanState *) state);

			witness_tap_hear(node->capture, tap->set, heap, tap->attnum, tap->type);
			ExecClearTuple(heap);
		}
		else
			witness_tap_hear(node->capture, tap->set,
							 tap->source == WITNESS_SOURCE_RESULT
								 ? slot
								 : witness_tap_slot(state, tap->source, slot),
							 tap->attnum, tap->type);
	}
	return slot;
}

/*
 * The same for a node with one tap, on what it returns or scans: the whole of a
 * large count(*) goes through here.
 */
static TupleTableSlot *
witness_tap_exec_one(PlanState *state)
{
	WitnessTapNode *node = witness_tap_find(state);
	TupleTableSlot *slot;
	WitnessTap *tap;
	int64 subject;

	if (unlikely(node == NULL))
		elog(ERROR, "a tapped plan node has lost its tap");
	slot = node->original(state);
	if (TupIsNull(slot))
		return slot;
	node->rows++;
	tap = node->taps;
	if (likely(witness_tap_read(
			tap->source == WITNESS_SOURCE_RESULT ? slot : ((ScanState *) state)->ss_ScanTupleSlot,
			tap->attnum, tap->type, &subject)))
		witness_tap_note(node->capture, tap->set, subject);
	return slot;
}

/* May this node be tapped? */
bool
witness_tap_possible(PlanState *state)
{
	switch (nodeTag(state))
	{
		case T_HashState:
		case T_BitmapIndexScanState:
		case T_BitmapAndState:
		case T_BitmapOrState:
			return false;
		case T_HashJoinState:
			/* Its parallel set-up, after us, installs a function of its own. */
			return !state->plan->parallel_aware;
		default:
			return true;
	}
}

/* The node's tap, installed now unless it has one. */
WitnessTapNode *
witness_tap_node(WitnessCapture *capture, PlanState *state)
{
	WitnessTapNode *node = witness_tap_find(state);

	Assert(witness_tap_possible(state));
	if (node != NULL)
		return node;
	node = MemoryContextAllocZero(capture->memory, sizeof(WitnessTapNode));
	node->state = state;
	node->estate = state->state;
	node->original = state->ExecProcNodeReal;
	node->capture = capture;
	node->next = capture->nodes;
	witness_tap_insert(node);
	capture->nodes = node;
	ExecSetExecProcNode(state, witness_tap_exec);
	return node;
}

/* Records what passes a node into a set. */
void
witness_tap_add(WitnessCapture *capture, PlanState *state, WitnessSource source, AttrNumber attnum,
				Oid type, WitnessSet *set)
{
	WitnessTapNode *node = witness_tap_node(capture, state);
	WitnessTap *tap;

	for (tap = node->taps; tap != NULL; tap = tap->next)
		if (tap->source == source && tap->attnum == attnum && tap->set == set)
			return;
	tap = MemoryContextAllocZero(capture->memory, sizeof(WitnessTap));
	tap->source = source;
	tap->attnum = attnum;
	tap->type = type;
	tap->plain = set->relation->subjects[set->subject].plain;
	tap->set = set;
	tap->next = node->taps;
	node->taps = tap;
	ExecSetExecProcNode(
		state, tap->next == NULL && tap->plain && node->modify == NULL && node->feeds == NULL &&
					   (source == WITNESS_SOURCE_RESULT || source == WITNESS_SOURCE_SCAN)
				   ? witness_tap_exec_one
				   : witness_tap_exec);
}

/* Settles what a node that writes or locks does with each row of its child. */
void
witness_tap_settle(WitnessCapture *capture, PlanState *state, struct WitnessModify *modify,
				   PlanState *child)
{
	witness_tap_node(capture, state)->modify = modify;
	ExecSetExecProcNode(state, witness_tap_exec);
	if (!witness_tap_possible(child))
		return;
	witness_tap_node(capture, child)->feeds = modify;
	ExecSetExecProcNode(child, witness_tap_exec);
}

/* Notes where a row stands while a node works on it. */
void
witness_tap_point(WitnessCapture *capture, PlanState *state, WitnessSource source,
				  AttrNumber attnum, Oid type, WitnessRelation *relation, int subject)
{
	WitnessPoint *point = MemoryContextAllocZero(capture->memory, sizeof(WitnessPoint));

	point->state = state;
	point->estate = state->state;
	point->source = source;
	point->attnum = attnum;
	point->type = type;
	point->relation = relation;
	point->subject = subject;
	point->next = capture->points;
	capture->points = point;
	witness_subject_prepare(&relation->subjects[subject]);
	witness_capture_pin(capture, relation);
}

/*
 * Notes a row's subject in a statement that has failed, where the catalog must not be
 * read: everybody of the relation, where that alone could name it.
 */
void
witness_tap_hear_failed(WitnessCapture *capture, WitnessSet *set, TupleTableSlot *slot,
						AttrNumber attnum)
{
	Datum value;
	bool isnull;

	if (TupIsNull(slot) || attnum > slot->tts_tupleDescriptor->natts)
		return;
	value = slot_getattr(slot, attnum, &isnull);
	if (!witness_subject_note_failed(capture, set, value, isnull))
		witness_capture_all(capture, set->relation, TRAIL_MANNER_ALL, "error");
}

static void
witness_tap_error_point(WitnessCapture *capture, WitnessPoint *point, TupleTableSlot *slot)
{
	if (TupIsNull(slot) || point->attnum > slot->tts_tupleDescriptor->natts)
		return;
	witness_tap_hear_failed(capture,
							witness_capture_set(capture, point->relation, point->subject,
												TRAIL_MANNER_INFLUENCE, "error", NULL),
							slot, point->attnum);
}

/*
 * The execution has failed: the rows that its nodes were at work on have been told
 * by the error's message, or by its mere occurrence.  Called before anything of the
 * executor's state is torn down.
 */
void
witness_tap_error(WitnessCapture *capture)
{
	witness_modify_error(capture);
	for (WitnessPoint *point = capture->points; point != NULL; point = point->next)
	{
		if (point->source == WITNESS_SOURCE_HEAP)
			/* Fetching a tuple is no work for a failed statement. */
			witness_capture_all(capture, point->relation, TRAIL_MANNER_ALL, "error");
		else
			witness_tap_error_point(
				capture, point,
				witness_tap_slot(point->state, point->source, point->state->ps_ResultTupleSlot));
	}
}

/* A condition that listens, in the place of another one. */
typedef struct WitnessListener
{
	WitnessCapture *capture;
	ExprState *original; /* or NULL where there is no condition */
	WitnessSet *set;
	WitnessSource source;
	AttrNumber attnum;
	Oid type;
} WitnessListener;

static Datum
witness_tap_listen_original(const WitnessListener *listener, ExprContext *econtext, bool *isnull)
{
	if (listener->original != NULL)
		return listener->original->evalfunc(listener->original, econtext, isnull);
	*isnull = false;
	return BoolGetDatum(true);
}

/* Records each row that the condition is asked about, whatever the answer. */
static Datum
witness_tap_listen_asked(ExprState *state, ExprContext *econtext, bool *isnull)
{
	WitnessListener *listener = state->evalfunc_private;

	witness_tap_hear(listener->capture, listener->set, econtext->ecxt_scantuple, listener->attnum,
					 listener->type);
	return witness_tap_listen_original(listener, econtext, isnull);
}

/* Records a side of each pair that the condition lets through. */
static Datum
witness_tap_listen_matched(ExprState *state, ExprContext *econtext, bool *isnull)
{
	WitnessListener *listener = state->evalfunc_private;
	Datum matched = witness_tap_listen_original(listener, econtext, isnull);

	if (!*isnull && DatumGetBool(matched))
		witness_tap_hear(listener->capture, listener->set,
						 listener->source == WITNESS_SOURCE_OUTER ? econtext->ecxt_outertuple
																  : econtext->ecxt_innertuple,
						 listener->attnum, listener->type);
	return matched;
}

static ExprState *
witness_tap_listen(WitnessCapture *capture, ExprStateEvalFunc how, ExprState *original,
				   WitnessSource source, AttrNumber attnum, Oid type, WitnessSet *set)
{
	MemoryContext old = MemoryContextSwitchTo(capture->query->estate->es_query_cxt);
	WitnessListener *listener = palloc0(sizeof(WitnessListener));
	ExprState *state = makeNode(ExprState);

	listener->capture = capture;
	listener->original = original;
	listener->set = set;
	listener->source = source;
	listener->attnum = attnum;
	listener->type = type;
	state->flags = EEO_FLAG_IS_QUAL;
	state->evalfunc = how;
	state->evalfunc_private = listener;
	MemoryContextSwitchTo(old);
	return state;
}

/* ON CONFLICT DO UPDATE: the existing row is seen by its WHERE clause alone. */
void
witness_tap_conflict(WitnessCapture *capture, ResultRelInfo *target, WitnessSet *set,
					 AttrNumber attnum, Oid type)
{
	if (target->ri_onConflict != NULL)
		target->ri_onConflict->oc_WhereClause = witness_tap_listen(
			capture, witness_tap_listen_asked, target->ri_onConflict->oc_WhereClause,
			WITNESS_SOURCE_SCAN, attnum, type, set);
}

/* Records each row that a scan looks at, also what its condition drops. */
void
witness_tap_scanned(WitnessCapture *capture, ScanState *scan, WitnessSet *set, AttrNumber attnum,
					Oid type)
{
	if (scan->ps.qual == NULL)
		witness_tap_add(capture, &scan->ps, WITNESS_SOURCE_SCAN, attnum, type, set);
	else
		scan->ps.qual = witness_tap_listen(capture, witness_tap_listen_asked, scan->ps.qual,
										   WITNESS_SOURCE_SCAN, attnum, type, set);
}

/*
 * Records a side of a join at its match point.  Every kind of join evaluates this
 * condition once for each pair that its other clauses let through, also a parallel hash
 * join, which could not be tapped as a node.
 */
void
witness_tap_match(WitnessCapture *capture, JoinState *join, WitnessSource source, AttrNumber attnum,
				  Oid type, WitnessSet *set)
{
	join->joinqual = witness_tap_listen(capture, witness_tap_listen_matched, join->joinqual, source,
										attnum, type, set);
}

/*
 * Drops a capture's taps from the table: those of one execution state, or all of them.
 * The nodes are about to be freed, and others may come to be at their addresses.
 */
void
witness_tap_forget(WitnessCapture *capture, const EState *estate)
{
	WitnessTapNode **at = &capture->nodes;

	while (*at != NULL)
	{
		WitnessTapNode *node = *at;

		if (estate != NULL && node->estate != estate)
		{
			at = &node->next;
			continue;
		}
		witness_tap_remove(node);
		*at = node->next;
	}
	for (WitnessPoint **point = &capture->points; estate != NULL && *point != NULL;)
	{
		if ((*point)->estate == estate)
			*point = (*point)->next;
		else
			point = &(*point)->next;
	}
}
