/*
 * reseal.c
 *		Moves stored values to the active version of their key, and counts versions.
 *
 * Works on the table itself, below SQL: a batch scans a range of blocks, locks each
 * row that holds an old value and stores the row with that value sealed anew.  So no
 * trigger, rule, row security policy or foreign key sees it (nothing of what they look
 * at has changed), and nothing is disclosed: the plaintext lives for a moment in
 * envelope.c alone.
 *
 * Locks: RowExclusiveLock on the table until the transaction ends, and the rows.  A
 * batch never waits for a row while it holds another, so that it can't be part of a
 * deadlock over rows: it leaves the row for later, or waits for it first of all.
 *
 * What an index's expression calls runs as the table's owner, as in REINDEX.
 *
 * A batch sees what was committed when it began; rows that move past it while it
 * runs are found by ward_seal_has_old(), which looks at everything in one snapshot.
 */
#include "seal/seal_int.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

WARD_FUNCTION(ward_seal_reseal_rows);
WARD_FUNCTION(ward_seal_has_old);
WARD_FUNCTION(ward_seal_count_versions);

/* A batch ends after so many blocks, also where it found nothing: 64 MB. */
#define RESEAL_BLOCKS 8192

typedef struct ResealColumn
{
	AttrNumber attnum;
	SealStored *type;
} ResealColumn;

/* A table that is being read, and which of its columns may hold values of a key. */
typedef struct ResealTable
{
	Relation relation;
	SealKeyId key;
	uint16 active;
	int ncolumns;
	ResealColumn *columns;
	MemoryContext row; /* reset for each row */
} ResealTable;

/* What it takes to store a row: made when the first one is. */
typedef struct ResealWriter
{
	EState *estate;
	ResultRelInfo *target;
	TupleTableSlot *locked;
	TupleTableSlot *stored;
} ResealWriter;

typedef enum ResealOutcome
{
	RESEAL_DONE,
	RESEAL_NOTHING, /* somebody else has deleted it */
	RESEAL_LATER	/* it is locked, or somebody else has changed it */
} ResealOutcome;

/* ----------------------------------------------------------------
 * Reading
 * ----------------------------------------------------------------
 */

/* The columns that can hold a sealed value at all, of those that are named. */
static void
seal_reseal_open(ResealTable *table, Relation relation, SealKeyId key, ArrayType *attnums)
{
	TupleDesc desc = RelationGetDescr(relation);
	Datum *items;
	int count;

	table->relation = relation;
	table->key = key;
	table->active = seal_key_active_version(key);
	deconstruct_array(attnums, INT2OID, 2, true, TYPALIGN_SHORT, &items, NULL, &count);
	table->columns = palloc0(sizeof(ResealColumn) * Max(count, 1));
	table->ncolumns = 0;
	for (int i = 0; i < count; i++)
	{
		ResealColumn *column = &table->columns[table->ncolumns];

		column->attnum = DatumGetInt16(items[i]);
		if (column->attnum < 1 || column->attnum > desc->natts)
			continue;
		if (TupleDescAttr(desc, column->attnum - 1)->attisdropped)
			continue;
		column->type = seal_stored_type(TupleDescAttr(desc, column->attnum - 1)->atttypid);
		if (column->type != NULL)
			table->ncolumns++;
	}
	table->row = AllocSetContextCreate(CurrentMemoryContext, "pg_ward row", ALLOCSET_DEFAULT_SIZES);
}

/* What was sealed under a destroyed version stays as it is: nobody can open it. */
static bool
seal_reseal_is_old(SealKeyId key, uint16 version, void *arg)
{
	const ResealTable *table = arg;

	return key == table->key && version != table->active && seal_key_has_version(key, version);
}

/* Does a row hold a value of an old version? */
static bool
seal_reseal_row_is_old(ResealTable *table, TupleTableSlot *slot)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		bool isnull;
		Datum value = slot_getattr(slot, table->columns[i].attnum, &isnull);

		if (!isnull && seal_stored_visit(table->columns[i].type, value, seal_reseal_is_old, table))
			return true;
	}
	return false;
}

/* ----------------------------------------------------------------
 * Writing
 * ----------------------------------------------------------------
 */

static void
seal_reseal_writer_open(ResealWriter *writer, ResealTable *table)
{
	Relation relation = table->relation;

	/* Without an identity a subscriber could not follow: refused as UPDATE would be. */
	CheckCmdReplicaIdentity(relation, CMD_UPDATE);
	writer->estate = CreateExecutorState();
	writer->target = makeNode(ResultRelInfo);
	InitResultRelInfo(writer->target, relation, 1, NULL, 0);
	ExecOpenIndices(writer->target, false);
	writer->locked = table_slot_create(relation, NULL);
	writer->stored = MakeSingleTupleTableSlot(RelationGetDescr(relation), &TTSOpsVirtual);
}

static void
seal_reseal_writer_close(ResealWriter *writer)
{
	if (writer->estate == NULL)
		return;
	ExecDropSingleTupleTableSlot(writer->locked);
	ExecDropSingleTupleTableSlot(writer->stored);
	ExecCloseIndices(writer->target);
	FreeExecutorState(writer->estate);
}

/* Fills the slot to store from the locked row.  Returns how many values are new. */
static int64
seal_reseal_fill(ResealTable *table, ResealWriter *writer)
{
	TupleDesc desc = RelationGetDescr(table->relation);
	TupleTableSlot *from = writer->locked;
	TupleTableSlot *to = writer->stored;
	int64 changed = 0;

	slot_getallattrs(from);
	ExecClearTuple(to);
	for (int i = 0; i < desc->natts; i++)
	{
		/* What a dropped column has left goes at last. */
		to->tts_isnull[i] = from->tts_isnull[i] || TupleDescAttr(desc, i)->attisdropped;
		to->tts_values[i] = to->tts_isnull[i] ? (Datum) 0 : from->tts_values[i];
	}
	for (int i = 0; i < table->ncolumns; i++)
	{
		int at = table->columns[i].attnum - 1;

		if (!to->tts_isnull[at])
			to->tts_values[at] = seal_stored_reseal(table->columns[i].type, to->tts_values[at],
													table->key, table->active, &changed);
	}
	ExecStoreVirtualTuple(to);
	return changed;
}

/* Would storing the row change a column that foreign keys refer to? */
static LockTupleMode
seal_reseal_lock_mode(ResealTable *table)
{
	Bitmapset *keys = RelationGetIndexAttrBitmap(table->relation, INDEX_ATTR_BITMAP_KEY);
	LockTupleMode mode = LockTupleNoKeyExclusive;

	for (int i = 0; i < table->ncolumns; i++)
		if (bms_is_member(table->columns[i].attnum - FirstLowInvalidHeapAttributeNumber, keys))
			mode = LockTupleExclusive;
	bms_free(keys);
	return mode;
}

/*
 * Seals the old values of one row anew.  The row was seen in the snapshot; one that
 * has been changed since is left for a later look, because following it would be an
 * error where it was moved to another partition.
 */
static ResealOutcome
seal_reseal_row(ResealTable *table, ResealWriter *writer, ItemPointer tid, Snapshot snapshot,
				LockTupleMode mode, LockWaitPolicy policy, int64 *changed)
{
	Relation relation = table->relation;
	TM_FailureData failure;
	LockTupleMode lockmode;
	CommandId cid = GetCurrentCommandId(true);
	ItemPointerData at;
	TM_Result result;

	ExecClearTuple(writer->locked);
	result =
		table_tuple_lock(relation, tid, snapshot, writer->locked, cid, mode, policy, 0, &failure);
	if (result == TM_WouldBlock || result == TM_Updated)
		return RESEAL_LATER;
	if (result != TM_Ok)
		return RESEAL_NOTHING;
	at = writer->locked->tts_tid;
	*changed += seal_reseal_fill(table, writer);
	if (core_compat_update(relation, &at, writer->stored, cid, snapshot, writer->target,
						   writer->estate, &failure, &lockmode) != TM_Ok)
		elog(ERROR, "a row that was locked for re-sealing has changed");
	ResetPerTupleExprContext(writer->estate);
	return RESEAL_DONE;
}

static Relation
seal_reseal_relation(Oid relid, LOCKMODE lockmode)
{
	Relation relation = try_table_open(relid, lockmode);

	/* Dropped since. */
	if (relation == NULL)
		return NULL;
	if (RELATION_IS_OTHER_TEMP(relation) || relation->rd_tableam == NULL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("values of relation \"%s\" can't be read from here",
							   RelationGetRelationName(relation)),
						errdetail("It is another session's temporary table, or holds no rows.")));
	if (relation->rd_tableam->scan_set_tidrange == NULL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("values of relation \"%s\" can't be sealed anew",
							   RelationGetRelationName(relation)),
						errdetail("Its table access method can't scan a range of rows."),
						errhint("Rewrite the table with UPDATE.")));
	return relation;
}

/*
 * _ward.reseal_rows(relation, key, columns, first_block, batch_rows, wait): one
 * batch.  Returns the block to go on with (NULL at the end), rows stored, values in
 * them, and rows left for later because they were locked or had just been changed.
 */
Datum
ward_seal_reseal_rows(PG_FUNCTION_ARGS)
{
	Oid relid = PG_GETARG_OID(0);
	SealKeyId key = PG_GETARG_INT32(1);
	ArrayType *attnums = PG_GETARG_ARRAYTYPE_P(2);
	int64 first = PG_GETARG_INT64(3);
	int64 limit = PG_GETARG_INT32(4);
	bool wait = PG_GETARG_BOOL(5);
	TupleDesc result_desc;
	Datum values[4];
	bool nulls[4] = {true, false, false, false};
	int64 rows = 0;
	int64 changed = 0;
	int64 later = 0;
	Relation relation;

	core_preload_require();
	if (get_call_result_type(fcinfo, NULL, &result_desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	seal_key_sync();
	(void) seal_key_require(key);
	relation = seal_reseal_relation(relid, RowExclusiveLock);
	if (relation != NULL)
	{
		int64 blocks = RelationGetNumberOfBlocks(relation);
		int64 end = Min(blocks, first + RESEAL_BLOCKS);
		int64 next = end < blocks ? end : -1;
		ResealTable table = {0};
		ResealWriter writer = {0};
		Oid user;
		int context;
		int nestlevel;

		GetUserIdAndSecContext(&user, &context);
		SetUserIdAndSecContext(relation->rd_rel->relowner, context | SECURITY_RESTRICTED_OPERATION);
		nestlevel = NewGUCNestLevel();
		seal_reseal_open(&table, relation, key, attnums);
		if (table.ncolumns == 0 || first >= end)
			next = -1;
		else
		{
			Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
			LockTupleMode mode = seal_reseal_lock_mode(&table);
			TupleTableSlot *slot = table_slot_create(relation, NULL);
			ItemPointerData from;
			ItemPointerData to;
			TableScanDesc scan;

			ItemPointerSet(&from, (BlockNumber) first, FirstOffsetNumber);
			ItemPointerSet(&to, (BlockNumber) (end - 1), MaxOffsetNumber);
			scan = table_beginscan_tidrange(relation, snapshot, &from, &to);
			while (table_scan_getnextslot_tidrange(scan, ForwardScanDirection, slot))
			{
				MemoryContext old;
				ResealOutcome outcome;
				BlockNumber block = ItemPointerGetBlockNumber(&slot->tts_tid);

				CHECK_FOR_INTERRUPTS();
				MemoryContextReset(table.row);
				old = MemoryContextSwitchTo(table.row);
				if (!seal_reseal_row_is_old(&table, slot))
				{
					MemoryContextSwitchTo(old);
					continue;
				}
				if (rows >= limit)
				{
					MemoryContextSwitchTo(old);
					next = block;
					break;
				}
				MemoryContextSwitchTo(old);
				if (writer.estate == NULL)
					seal_reseal_writer_open(&writer, &table);
				old = MemoryContextSwitchTo(table.row);
				outcome = seal_reseal_row(&table, &writer, &slot->tts_tid, snapshot, mode,
										  LockWaitSkip, &changed);
				/* Waited for only while no other row is held. */
				if (outcome == RESEAL_LATER && wait && rows == 0)
					outcome = seal_reseal_row(&table, &writer, &slot->tts_tid, snapshot, mode,
											  LockWaitBlock, &changed);
				MemoryContextSwitchTo(old);
				if (outcome == RESEAL_LATER && wait)
				{
					next = block;
					break;
				}
				rows += outcome == RESEAL_DONE;
				later += outcome == RESEAL_LATER;
			}
			table_endscan(scan);
			ExecDropSingleTupleTableSlot(slot);
			seal_reseal_writer_close(&writer);
			UnregisterSnapshot(snapshot);
		}
		AtEOXact_GUC(false, nestlevel);
		SetUserIdAndSecContext(user, context);
		table_close(relation, NoLock);
		nulls[0] = next < 0;
		values[0] = Int64GetDatum(next);
	}
	values[1] = Int64GetDatum(rows);
	values[2] = Int64GetDatum(changed);
	values[3] = Int64GetDatum(later);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(result_desc), values, nulls)));
}

/* ----------------------------------------------------------------
 * Looking
 * ----------------------------------------------------------------
 */

/*
 * _ward.has_old(relation, key, columns): does any row hold a value of an old
 * version?  In the statement's snapshot, so that one statement over many tables
 * sees them all at one moment, also rows that move between them.
 */
Datum
ward_seal_has_old(PG_FUNCTION_ARGS)
{
	SealKeyId key = PG_GETARG_INT32(1);
	ResealTable table = {0};
	Relation relation;
	TableScanDesc scan;
	TupleTableSlot *slot;
	bool found = false;

	core_preload_require();
	relation = seal_reseal_relation(PG_GETARG_OID(0), AccessShareLock);
	if (relation == NULL)
		PG_RETURN_BOOL(false);
	seal_reseal_open(&table, relation, key, PG_GETARG_ARRAYTYPE_P(2));
	slot = table_slot_create(relation, NULL);
	scan = table_beginscan(relation, GetActiveSnapshot(), 0, NULL);
	while (table.ncolumns > 0 && !found && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(table.row);
		old = MemoryContextSwitchTo(table.row);
		found = seal_reseal_row_is_old(&table, slot);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(relation, AccessShareLock);
	PG_RETURN_BOOL(found);
}

/* Values by version, while they are counted. */
typedef struct ResealCount
{
	SealKeyId key;
	int64 *counts; /* by version */
} ResealCount;

static bool
seal_reseal_count(SealKeyId key, uint16 version, void *arg)
{
	ResealCount *count = arg;

	if (key == count->key)
		count->counts[version]++;
	return false;
}

/* _ward.count_versions(relation, key, columns): values by column and version. */
Datum
ward_seal_count_versions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ResealTable table = {0};
	ResealCount *counts;
	Relation relation;
	TableScanDesc scan;
	TupleTableSlot *slot;

	core_preload_require();
	InitMaterializedSRF(fcinfo, 0);
	relation = seal_reseal_relation(PG_GETARG_OID(0), AccessShareLock);
	if (relation == NULL)
		return (Datum) 0;
	seal_reseal_open(&table, relation, PG_GETARG_INT32(1), PG_GETARG_ARRAYTYPE_P(2));
	counts = palloc0(sizeof(ResealCount) * Max(table.ncolumns, 1));
	for (int i = 0; i < table.ncolumns; i++)
	{
		counts[i].key = table.key;
		counts[i].counts = palloc0(sizeof(int64) * (PG_UINT16_MAX + 1));
	}
	slot = table_slot_create(relation, NULL);
	scan = table_beginscan(relation, GetActiveSnapshot(), 0, NULL);
	while (table.ncolumns > 0 && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(table.row);
		old = MemoryContextSwitchTo(table.row);
		for (int i = 0; i < table.ncolumns; i++)
		{
			bool isnull;
			Datum value = slot_getattr(slot, table.columns[i].attnum, &isnull);

			if (!isnull)
				(void) seal_stored_visit(table.columns[i].type, value, seal_reseal_count,
										 &counts[i]);
		}
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(relation, AccessShareLock);
	for (int i = 0; i < table.ncolumns; i++)
		for (int version = 0; version <= PG_UINT16_MAX; version++)
		{
			Datum values[3];
			bool nulls[3] = {false, false, false};

			if (counts[i].counts[version] == 0)
				continue;
			values[0] = Int16GetDatum(table.columns[i].attnum);
			values[1] = Int32GetDatum(version);
			values[2] = Int64GetDatum(counts[i].counts[version]);
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	return (Datum) 0;
}
