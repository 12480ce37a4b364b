/*
 * action.c
 *		Freezing a key in a process of its own, so that it holds whatever becomes of the
 *		transaction that causes it.
 *
 * A slot in shared memory says what is to be done; a background worker, started for it
 * alone, does it in a transaction of that database and leaves the outcome there.  Nobody
 * is made to wait: who asked may look for the outcome, or go.
 *
 * Fails open, and says so: where no worker can be started, or the key's row is locked for
 * longer than ACTION_LOCK_TIMEOUT, the key is not frozen and the caller learns it.
 *
 * Locks: GUARD_LOCK_ALERTS guards the slots.
 */
#include "guard/answer_int.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

WARD_FUNCTION(ward_freeze_apart);
WARD_FUNCTION(ward_freeze_outcome);

#define ACTION_SLOTS 64
/* One that was never begun: its worker died, or could not connect. */
#define ACTION_LOST_MS 10000
#define ACTION_LOCK_TIMEOUT "3s"

extern PGDLLEXPORT void ward_guard_action(Datum arg);

typedef struct GuardAction
{
	GuardActionState state;
	bool awaited;
	TimestampTz started;
	Oid database;
	char key[NAMEDATALEN];
	char reason[160];
} GuardAction;

typedef struct GuardActionShared
{
	LWLock *lock;
	GuardAction slots[ACTION_SLOTS];
} GuardActionShared;

static GuardActionShared *action_shared = NULL;

Size
guard_action_shmem_size(void)
{
	return MAXALIGN(sizeof(GuardActionShared));
}

/* Called with AddinShmemInitLock held. */
void
guard_action_shmem_init(void)
{
	bool found;

	action_shared = ShmemInitStruct("pg_ward actions", guard_action_shmem_size(), &found);
	if (found)
		return;
	memset(action_shared, 0, sizeof(GuardActionShared));
	action_shared->lock = guard_lock(GUARD_LOCK_ALERTS);
}

/* See answer_int.h. */
int
guard_action_freeze(Oid database, const char *key, const char *reason)
{
	BackgroundWorker worker = {0};
	int slot = -1;

	LWLockAcquire(action_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < ACTION_SLOTS && slot < 0; i++)
		if (action_shared->slots[i].state == GUARD_ACTION_FREE)
			slot = i;
	if (slot >= 0)
	{
		GuardAction *action = &action_shared->slots[slot];

		action->state = GUARD_ACTION_RUNNING;
		action->awaited = true;
		action->started = GetCurrentTimestamp();
		action->database = database;
		strlcpy(action->key, key, sizeof(action->key));
		strlcpy(action->reason, reason, sizeof(action->reason));
	}
	LWLockRelease(action_shared->lock);
	if (slot < 0)
		return -1;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "pg_ward", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "ward_guard_action", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "pg_ward guard action in database %u", database);
	strlcpy(worker.bgw_type, "pg_ward guard action", BGW_MAXLEN);
	worker.bgw_main_arg = Int32GetDatum(slot);
	if (RegisterDynamicBackgroundWorker(&worker, NULL))
		return slot;
	LWLockAcquire(action_shared->lock, LW_EXCLUSIVE);
	action_shared->slots[slot].state = GUARD_ACTION_FREE;
	LWLockRelease(action_shared->lock);
	return -1;
}

/* See answer_int.h. */
GuardActionState
guard_action_state(int slot)
{
	GuardAction *action = &action_shared->slots[slot];
	GuardActionState state;

	LWLockAcquire(action_shared->lock, LW_EXCLUSIVE);
	if (action->state == GUARD_ACTION_RUNNING &&
		TimestampDifferenceExceeds(action->started, GetCurrentTimestamp(), ACTION_LOST_MS))
		action->state = GUARD_ACTION_FAILED;
	state = action->state;
	LWLockRelease(action_shared->lock);
	return state;
}

/* See answer_int.h. */
void
guard_action_release(int slot)
{
	GuardAction *action = &action_shared->slots[slot];

	LWLockAcquire(action_shared->lock, LW_EXCLUSIVE);
	action->awaited = false;
	if (action->state != GUARD_ACTION_RUNNING)
		action->state = GUARD_ACTION_FREE;
	LWLockRelease(action_shared->lock);
}

/* Leaves the outcome, or the slot, if nobody waits for it. */
static void
guard_action_finish(int slot, GuardActionState outcome)
{
	GuardAction *action = &action_shared->slots[slot];

	LWLockAcquire(action_shared->lock, LW_EXCLUSIVE);
	if (action->state == GUARD_ACTION_RUNNING)
		action->state = action->awaited ? outcome : GUARD_ACTION_FREE;
	LWLockRelease(action_shared->lock);
}

/* _ward.freeze_apart(key, reason): a slot to ask for the outcome, -1 where none could begin. */
Datum
ward_freeze_apart(PG_FUNCTION_ARGS)
{
	core_preload_require();
	PG_RETURN_INT32(guard_action_freeze(MyDatabaseId, text_to_cstring(PG_GETARG_TEXT_PP(0)),
										text_to_cstring(PG_GETARG_TEXT_PP(1))));
}

/* _ward.freeze_outcome(slot): NULL while it is under way; then once whether it worked. */
Datum
ward_freeze_outcome(PG_FUNCTION_ARGS)
{
	int slot = PG_GETARG_INT32(0);
	GuardActionState state;

	if (slot < 0 || slot >= ACTION_SLOTS)
		PG_RETURN_BOOL(false);
	state = guard_action_state(slot);
	if (state == GUARD_ACTION_RUNNING)
		PG_RETURN_NULL();
	guard_action_release(slot);
	PG_RETURN_BOOL(state == GUARD_ACTION_DONE);
}

/* ---------------------------------------------------------------- the worker */

static GuardActionState action_outcome = GUARD_ACTION_FAILED;

static void
guard_action_exit(int code, Datum arg)
{
	guard_action_finish(DatumGetInt32(arg), action_outcome);
}

static void
guard_action_run(const GuardAction *action)
{
	Oid types[2] = {TEXTOID, TEXTOID};
	Datum values[2];

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, "freezing a key");
	if (OidIsValid(get_extension_oid("pg_ward", true)))
	{
		SPI_connect();
		values[0] = CStringGetTextDatum(action->key);
		values[1] = CStringGetTextDatum(action->reason);
		/* One that is frozen already needs no event of its own. */
		if (SPI_execute_with_args("SELECT _ward.set_frozen(k.name, true, $2) FROM _ward.key k "
								  "WHERE k.name = $1 AND NOT k.frozen",
								  2, types, values, NULL, false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not freeze the key");
		SPI_finish();
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
}

void
ward_guard_action(Datum arg)
{
	int slot = DatumGetInt32(arg);
	GuardAction action;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	before_shmem_exit(guard_action_exit, arg);
	LWLockAcquire(action_shared->lock, LW_SHARED);
	action = action_shared->slots[slot];
	LWLockRelease(action_shared->lock);
	if (action.state != GUARD_ACTION_RUNNING)
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(action.database, InvalidOid, 0);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", ACTION_LOCK_TIMEOUT, PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("session_replication_role", "origin", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_OVERRIDE);
	guard_action_run(&action);
	action_outcome = GUARD_ACTION_DONE;
	proc_exit(0);
}
