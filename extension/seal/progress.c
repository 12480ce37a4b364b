/*
 * progress.c
 *		How far ward.protect and ward.unprotect are, for other sessions to see.
 *
 * A few slots in shared memory, one for each run.  The rows are counted by a function
 * that the conversion puts around the column, so ordinary sealing pays nothing.  A run
 * that finds no free slot goes on unseen: progress is a convenience, and no reason to
 * fail.
 *
 * A slot is given back when the run ends or its (sub)transaction does; after a crash
 * the server starts with fresh shared memory.
 *
 * Locks: one LWLock, exclusive to take or give back a slot, shared to look.  Counter
 * and phase are atomics that only the owner writes.
 */
#include "seal/seal_int.h"

#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

WARD_FUNCTION(ward_progress_begin);
WARD_FUNCTION(ward_progress_phase);
WARD_FUNCTION(ward_progress_row);
WARD_FUNCTION(ward_progress_end);
WARD_FUNCTION(ward_progress_list);

#define PROGRESS_SLOTS 32
#define PROGRESS_TRANCHE "WardProgress"

typedef struct ProgressSlot
{
	int pid; /* 0: free */
	Oid database;
	Oid relation;
	int16 attnum;
	bool opening;
	double estimated;
	TimestampTz started;
	pg_atomic_uint32 phase; /* index of progress_phases */
	pg_atomic_uint64 done;
} ProgressSlot;

typedef struct Progress
{
	LWLock *lock;
	ProgressSlot slots[PROGRESS_SLOTS];
} Progress;

static const char *const progress_phases[] = {"waiting for locks", "rewriting", "restoring"};

static Progress *progress = NULL;
static ProgressSlot *progress_mine = NULL;
static int progress_level = 0; /* nesting level of the transaction that took it */
static uint64 progress_rows = 0;
static bool progress_registered = false;

/* From shmem_request_hook. */
void
seal_progress_shmem_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(Progress)));
	RequestNamedLWLockTranche(PROGRESS_TRANCHE, 1);
}

/* From shmem_startup_hook, under AddinShmemInitLock. */
void
seal_progress_shmem_init(void)
{
	bool found;

	progress = ShmemInitStruct("pg_ward progress", sizeof(Progress), &found);
	if (found)
		return;
	memset(progress, 0, sizeof(*progress));
	progress->lock = &GetNamedLWLockTranche(PROGRESS_TRANCHE)->lock;
	for (int i = 0; i < PROGRESS_SLOTS; i++)
	{
		pg_atomic_init_u32(&progress->slots[i].phase, 0);
		pg_atomic_init_u64(&progress->slots[i].done, 0);
	}
}

static void
seal_progress_release(void)
{
	if (progress_mine == NULL)
		return;
	LWLockAcquire(progress->lock, LW_EXCLUSIVE);
	progress_mine->pid = 0;
	LWLockRelease(progress->lock);
	progress_mine = NULL;
}

static void
seal_progress_xact(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		seal_progress_release();
}

/* Deeper levels are the run's own attempts, such as one to take the locks. */
static void
seal_progress_subxact(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && GetCurrentTransactionNestLevel() <= progress_level)
		seal_progress_release();
}

/* progress_begin(relation, attnum, opening, estimated rows) */
Datum
ward_progress_begin(PG_FUNCTION_ARGS)
{
	core_preload_require();
	if (!progress_registered)
	{
		RegisterXactCallback(seal_progress_xact, NULL);
		RegisterSubXactCallback(seal_progress_subxact, NULL);
		progress_registered = true;
	}
	seal_progress_release();
	progress_rows = 0;
	progress_level = GetCurrentTransactionNestLevel();
	LWLockAcquire(progress->lock, LW_EXCLUSIVE);
	for (int i = 0; i < PROGRESS_SLOTS; i++)
	{
		ProgressSlot *slot = &progress->slots[i];

		if (slot->pid != 0)
			continue;
		slot->pid = MyProcPid;
		slot->database = MyDatabaseId;
		slot->relation = PG_GETARG_OID(0);
		slot->attnum = PG_GETARG_INT16(1);
		slot->opening = PG_GETARG_BOOL(2);
		slot->estimated = PG_GETARG_FLOAT8(3);
		slot->started = GetCurrentTimestamp();
		pg_atomic_write_u32(&slot->phase, 0);
		pg_atomic_write_u64(&slot->done, 0);
		progress_mine = slot;
		break;
	}
	LWLockRelease(progress->lock);
	PG_RETURN_VOID();
}

Datum
ward_progress_phase(PG_FUNCTION_ARGS)
{
	int32 phase = PG_GETARG_INT32(0);

	if (phase < 0 || phase >= (int32) lengthof(progress_phases))
		elog(ERROR, "unknown phase %d", phase);
	if (progress_mine != NULL)
		pg_atomic_write_u32(&progress_mine->phase, (uint32) phase);
	PG_RETURN_VOID();
}

/* Counts a row on its way through, and returns it as it is, NULL too. */
Datum
ward_progress_row(PG_FUNCTION_ARGS)
{
	if (progress_mine != NULL)
		pg_atomic_write_u64(&progress_mine->done, ++progress_rows);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

Datum
ward_progress_end(PG_FUNCTION_ARGS)
{
	seal_progress_release();
	PG_RETURN_VOID();
}

/* The runs in this database. */
Datum
ward_progress_list(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ProgressSlot *slots = palloc(sizeof(progress->slots));

	core_preload_require();
	InitMaterializedSRF(fcinfo, 0);
	LWLockAcquire(progress->lock, LW_SHARED);
	memcpy(slots, progress->slots, sizeof(progress->slots));
	LWLockRelease(progress->lock);
	for (int i = 0; i < PROGRESS_SLOTS; i++)
	{
		ProgressSlot *slot = &slots[i];
		Datum values[8];
		bool nulls[8] = {0};

		if (slot->pid == 0 || slot->database != MyDatabaseId)
			continue;
		values[0] = Int32GetDatum(slot->pid);
		values[1] = ObjectIdGetDatum(slot->relation);
		values[2] = Int16GetDatum(slot->attnum);
		values[3] = BoolGetDatum(slot->opening);
		values[4] = CStringGetTextDatum(progress_phases[pg_atomic_read_u32(&slot->phase)]);
		values[5] = Int64GetDatum((int64) pg_atomic_read_u64(&slot->done));
		values[6] = Int64GetDatum((int64) slot->estimated);
		values[7] = TimestampTzGetDatum(slot->started);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
