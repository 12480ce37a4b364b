/*
 * write.c
 *		Listening to writes that no plan shows.
 *
 * COPY FROM and a subscription's apply worker hand their rows to the table's access
 * method without an executor node in between that could be tapped.  So that is where they
 * are listened to: while one of them is at work, the relation's cache entry points to a
 * copy of its access method's routines whose inserts, updates and deletes note the
 * subject and pass on to the original.  No trigger, no column and no setting of the
 * table changes, and rows are seen as they are stored, behind BEFORE triggers and
 * partition routing.
 *
 * A relcache invalidation builds the entry anew, with the original routines.  An entry
 * that a listener holds open is pointed back at once by the relcache callback; of others
 * it is noted, and the table is read afterwards for what this transaction has written
 * (xmin, xmax).
 *
 * Invariants: what was written is recorded before the transaction can commit, else it
 * can't commit.  A wrapper passes on first, so that it notes only what was done.  Where
 * rows can't be seen (foreign partitions, other access methods than heap where the table
 * is read) everybody is recorded.
 *
 * State is private to the backend.
 */
#include "witness/write_int.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* A copy of an access method's routines that listens. */
typedef struct WriteMethod
{
	TableAmRoutine routine;
	const TableAmRoutine *original;
	struct WriteMethod *next;
} WriteMethod;

WriteListener *witness_write_copying = NULL;
WriteListener *witness_write_applying = NULL;

static WriteMethod *methods = NULL;

/* ---------------------------------------------------------------- recording */

static void
witness_write_record_as(WriteListener *listener, const WriteSet *set, TrailManner manner,
						const char *reason)
{
	WitnessRelation *watched = set->watched;
	TrailDisclosure disclosure = {0};
	int count = listener->removes ? 0 : watched->trail.ncolumns;
	int16 *clear = palloc(sizeof(int16) * Max(count, 1));
	int16 *sealed = palloc(sizeof(int16) * Max(count, 1));

	for (int i = 0; i < count; i++)
	{
		bool written = listener->names == NIL;
		ListCell *lc;

		foreach (lc, listener->names)
			written |= strcmp(strVal(lfirst(lc)), watched->trail.columns[i]) == 0;
		if (!written)
			continue;
		if (watched->trail.keys[i] == NULL)
			clear[disclosure.nclear++] = watched->trail.attnums[i];
		else
			sealed[disclosure.nsealed++] = watched->trail.attnums[i];
	}
	trail_context_remember(GetUserId());
	disclosure.role = GetUserId();
	disclosure.statement = listener->statement;
	disclosure.fingerprint = listener->fingerprint;
	disclosure.text = listener->text;
	disclosure.relation = &watched->trail;
	disclosure.subject_attnum = watched->subject_attnums[set->subject];
	disclosure.manner = manner;
	disclosure.reason = reason;
	disclosure.clear = clear;
	disclosure.sealed = sealed;
	disclosure.subjects = manner == TRAIL_MANNER_ALL ? NULL : set->pending;
	trail_record_disclosure(&disclosure);
	pfree(clear);
	pfree(sealed);
}

void
witness_write_record(WriteListener *listener, const WriteSet *set, TrailManner manner)
{
	witness_write_record_as(listener, set, manner, listener->reason);
}

void
witness_write_flush(WriteListener *listener)
{
	for (WriteSet *set = listener->sets; set != NULL; set = set->next)
	{
		if (trail_subject_set_count(set->pending) > 0)
		{
			witness_write_record(listener, set, TRAIL_MANNER_WRITE);
			trail_subject_set_reset(set->pending);
		}
		if (set->nobody & WITNESS_NOBODY_NULL)
			witness_write_record_as(listener, set, TRAIL_MANNER_WRITE, "null_key");
		if (set->nobody & WITNESS_NOBODY_DANGLING)
			witness_write_record_as(listener, set, TRAIL_MANNER_WRITE, "dangling_key");
		set->nobody = 0;
	}
	/* What a subscription's worker has looked up is another transaction's. */
	witness_follow_forget(listener->follows);
}

void
witness_write_everybody(WriteListener *listener, WitnessRelation *relation)
{
	for (int i = 0; i < relation->watched->nsubjects; i++)
		witness_write_record(listener, witness_write_set(listener, relation->watched, i),
							 TRAIL_MANNER_ALL);
}

/* Notes whom a row is about. */
static void
witness_write_note(WriteListener *listener, WriteTarget *target, TupleTableSlot *slot)
{
	for (int i = 0; i < target->relation->nsubjects; i++)
	{
		const WitnessSubject *subject = &target->relation->subjects[i];
		WriteSet *set = target->sets[i];
		bool isnull;
		Datum value = slot_getattr(slot, target->relation->subject_attnums[i], &isnull);

		if (isnull)
		{
			if (subject->follow != NULL)
				set->nobody |= WITNESS_NOBODY_NULL;
			continue;
		}
		/* A table's long values are dropped before the table. */
		if (listener->removes && get_typlen(subject->type) == -1 &&
			VARATT_IS_EXTERNAL(DatumGetPointer(value)))
			listener->unnamed = true;
		else if (subject->follow != NULL)
		{
			set->nobody |= witness_follow_add(&listener->follows, listener->memory, subject, value,
											  set->pending);
			if (trail_subject_set_memory(set->pending) >
				(Size) witness_setting_capture_memory * 1024)
				witness_write_flush(listener);
		}
		else if (trail_subject_set_add(set->pending, witness_subject_number(subject, value)) &&
				 trail_subject_set_memory(set->pending) >
					 (Size) witness_setting_capture_memory * 1024)
			witness_write_flush(listener);
	}
}

/* ---------------------------------------------------------------- listening */

/* Who listens to a relation, innermost first. */
static WriteTarget *
witness_write_find(Oid relid, WriteListener **who)
{
	WriteTarget *target;

	for (WriteListener *listener = witness_write_copying; listener != NULL;
		 listener = listener->outer)
		if ((target = hash_search(listener->targets, &relid, HASH_FIND, NULL)) != NULL)
		{
			*who = listener;
			return target;
		}
	*who = witness_write_applying;
	return witness_write_applying != NULL
			   ? hash_search(witness_write_applying->targets, &relid, HASH_FIND, NULL)
			   : NULL;
}

static const TableAmRoutine *
witness_write_original(Relation rel)
{
	return ((const WriteMethod *) rel->rd_tableam)->original;
}

static void
witness_write_row(Relation rel, TupleTableSlot *slot)
{
	WriteListener *listener;
	WriteTarget *target = witness_write_find(RelationGetRelid(rel), &listener);

	if (target != NULL)
		witness_write_note(listener, target, slot);
}

/* The row that stands at a place now, and is about to be another version or none. */
static void
witness_write_old(Relation rel, ItemPointer tid)
{
	WriteListener *listener;
	WriteTarget *target = witness_write_find(RelationGetRelid(rel), &listener);
	TupleTableSlot *slot;

	if (target == NULL)
		return;
	slot = table_slot_create(rel, NULL);
	if (table_tuple_fetch_row_version(rel, tid, SnapshotAny, slot))
		witness_write_note(listener, target, slot);
	ExecDropSingleTupleTableSlot(slot);
}

static void
witness_write_insert(Relation rel, TupleTableSlot *slot, CommandId cid, int options,
					 struct BulkInsertStateData *bistate)
{
	witness_write_original(rel)->tuple_insert(rel, slot, cid, options, bistate);
	witness_write_row(rel, slot);
}

static void
witness_write_speculative(Relation rel, TupleTableSlot *slot, CommandId cid, int options,
						  struct BulkInsertStateData *bistate, uint32 token)
{
	witness_write_original(rel)->tuple_insert_speculative(rel, slot, cid, options, bistate, token);
	witness_write_row(rel, slot);
}

static void
witness_write_multi(Relation rel, TupleTableSlot **slots, int count, CommandId cid, int options,
					struct BulkInsertStateData *bistate)
{
	WriteListener *listener;
	WriteTarget *target;

	witness_write_original(rel)->multi_insert(rel, slots, count, cid, options, bistate);
	target = witness_write_find(RelationGetRelid(rel), &listener);
	if (target == NULL)
		return;
	for (int i = 0; i < count; i++)
		witness_write_note(listener, target, slots[i]);
}

static TM_Result
witness_write_delete(Relation rel, ItemPointer tid, CommandId cid, Snapshot snapshot,
					 Snapshot crosscheck, bool wait, TM_FailureData *failure, bool moving)
{
	TM_Result result = witness_write_original(rel)->tuple_delete(rel, tid, cid, snapshot,
																 crosscheck, wait, failure, moving);

	if (result == TM_Ok)
		witness_write_old(rel, tid);
	return result;
}

static TM_Result
witness_write_update(Relation rel, ItemPointer tid, TupleTableSlot *slot, CommandId cid,
					 Snapshot snapshot, Snapshot crosscheck, bool wait, TM_FailureData *failure,
					 LockTupleMode *lockmode, CoreCompatUpdateIndexes *indexes)
{
	TM_Result result = witness_write_original(rel)->tuple_update(
		rel, tid, slot, cid, snapshot, crosscheck, wait, failure, lockmode, indexes);

	if (result == TM_Ok)
	{
		witness_write_old(rel, tid);
		witness_write_row(rel, slot);
	}
	return result;
}

bool
witness_write_listens(Relation rel)
{
	return rel->rd_tableam != NULL && rel->rd_tableam->tuple_insert == witness_write_insert;
}

/* Points a relation's cache entry to routines that listen, if there are such already. */
static bool
witness_write_wrap_again(Relation rel)
{
	if (witness_write_listens(rel))
		return true;
	for (WriteMethod *method = methods; method != NULL; method = method->next)
		if (method->original == rel->rd_tableam)
		{
			rel->rd_tableam = &method->routine;
			return true;
		}
	return false;
}

void
witness_write_wrap(Relation rel)
{
	WriteMethod *method;

	if (witness_write_wrap_again(rel) || rel->rd_tableam == NULL)
		return;
	method = MemoryContextAllocZero(TopMemoryContext, sizeof(WriteMethod));
	method->routine = *rel->rd_tableam;
	method->original = rel->rd_tableam;
	method->routine.tuple_insert = witness_write_insert;
	method->routine.tuple_insert_speculative = witness_write_speculative;
	method->routine.multi_insert = witness_write_multi;
	method->routine.tuple_delete = witness_write_delete;
	method->routine.tuple_update = witness_write_update;
	method->next = methods;
	methods = method;
	rel->rd_tableam = &method->routine;
}

/* Points it back, unless somebody else listens still. */
void
witness_write_unwrap(Relation rel)
{
	WriteListener *other;

	if (witness_write_listens(rel) && witness_write_find(RelationGetRelid(rel), &other) == NULL)
		rel->rd_tableam = witness_write_original(rel);
}

/*
 * A relation's cache entry was made anew, or dropped.  One that COPY holds open stands
 * again by now, and is pointed back; of the others it is noted.
 */
static void
witness_write_rebuilt(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	WriteTarget *target;

	for (WriteListener *listener = witness_write_copying; listener != NULL;
		 listener = listener->outer)
	{
		hash_seq_init(&status, listener->targets);
		while ((target = hash_seq_search(&status)) != NULL)
			if ((!OidIsValid(relid) || target->relid == relid) && target->held != NULL &&
				!witness_write_wrap_again(target->held))
				target->lost = true;
	}
	if (witness_write_applying == NULL)
		return;
	hash_seq_init(&status, witness_write_applying->targets);
	while ((target = hash_seq_search(&status)) != NULL)
		if (!OidIsValid(relid) || target->relid == relid)
			target->lost = true;
}

WriteListener *
witness_write_listener(const char *reason, int64 fingerprint, const char *text)
{
	MemoryContext memory =
		AllocSetContextCreate(TopMemoryContext, "pg_ward writes", ALLOCSET_SMALL_SIZES);
	WriteListener *listener = MemoryContextAllocZero(memory, sizeof(WriteListener));
	HASHCTL control = {.keysize = sizeof(Oid), .entrysize = sizeof(WriteTarget), .hcxt = memory};

	listener->memory = memory;
	listener->reason = reason;
	listener->statement = witness_capture_next_statement();
	listener->fingerprint = fingerprint;
	listener->text = text == NULL ? NULL : MemoryContextStrdup(memory, text);
	listener->targets =
		hash_create("pg_ward writes", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return listener;
}

WriteSet *
witness_write_set(WriteListener *listener, WitnessRelation *watched, int subject)
{
	WriteSet *set;

	for (set = listener->sets; set != NULL; set = set->next)
		if (set->watched == watched && set->subject == subject)
			return set;
	set = MemoryContextAllocZero(listener->memory, sizeof(WriteSet));
	set->pending = trail_subject_set_create(listener->memory);
	set->watched = watched;
	watched->refcount++;
	set->subject = subject;
	set->next = listener->sets;
	listener->sets = set;
	return set;
}

/* Takes over the pin. */
WriteTarget *
witness_write_target(WriteListener *listener, Oid relid, WitnessRelation *relation)
{
	WriteTarget *target = hash_search(listener->targets, &relid, HASH_ENTER, NULL);

	target->relation = relation;
	target->held = NULL;
	target->lost = false;
	target->sets =
		MemoryContextAllocZero(listener->memory, sizeof(WriteSet *) * Max(relation->nsubjects, 1));
	for (int i = 0; i < relation->nsubjects; i++)
		target->sets[i] = witness_write_set(listener, relation->watched, i);
	return target;
}

void
witness_write_release(WriteListener *listener)
{
	HASH_SEQ_STATUS status;
	WriteTarget *target;

	hash_seq_init(&status, listener->targets);
	while ((target = hash_seq_search(&status)) != NULL)
		witness_watch_release(target->relation);
	for (WriteSet *set = listener->sets; set != NULL; set = set->next)
		witness_watch_release(set->watched);
	MemoryContextDelete(listener->memory);
}

/* ---------------------------------------------------------------- reading a table */

/* Is this version of a row this transaction's doing, or its last act on it? */
static bool
witness_write_ours(HeapTupleHeader tuple)
{
	if (TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple)))
		return true;
	return !(tuple->t_infomask & HEAP_XMAX_INVALID) &&
		   !HEAP_XMAX_IS_LOCKED_ONLY(tuple->t_infomask) &&
		   TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetUpdateXid(tuple));
}

/*
 * Notes whom a relation's rows are about: those that this transaction has written, or all
 * that stand there.  False where its rows can't be seen.
 */
bool
witness_write_read(WriteListener *listener, WriteTarget *target, bool ours)
{
	Relation rel = RelationIdGetRelation(target->relid);
	TupleTableSlot *slot;
	TableScanDesc scan;
	Snapshot snapshot = SnapshotAny;
	bool readable;

	if (rel == NULL)
		return true;
	readable = rel->rd_rel->relkind == RELKIND_RELATION ||
			   rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	if (ours && rel->rd_rel->relam != HEAP_TABLE_AM_OID &&
		RELKIND_HAS_STORAGE(rel->rd_rel->relkind))
		readable = false;
	if (!readable || !RELKIND_HAS_STORAGE(rel->rd_rel->relkind))
	{
		RelationClose(rel);
		return readable;
	}
	if (!ours)
		snapshot = RegisterSnapshot(GetLatestSnapshot());
	slot = table_slot_create(rel, NULL);
	scan = table_beginscan(rel, snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (ours)
		{
			bool copied;
			HeapTuple tuple = ExecFetchSlotHeapTuple(slot, false, &copied);

			if (!witness_write_ours(tuple->t_data))
				continue;
		}
		witness_write_note(listener, target, slot);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	if (!ours)
		UnregisterSnapshot(snapshot);
	RelationClose(rel);
	return true;
}

/* Called once, from witness_init(). */
void
witness_write_init(void)
{
	CacheRegisterRelcacheCallback(witness_write_rebuilt, (Datum) 0);
	witness_apply_init();
}
