/*
 * index_worker.c
 *		The processes that keep the indexes: one launcher, and a worker for each
 *		database that has something to index.
 *
 * The launcher is a static background worker connected to no database.  A worker
 * folds until there is nothing left, lingers a little (so that steady traffic does
 * not mean a process a second) and leaves: an idle connection would stand in the
 * way of whoever wants the database alone.  An error ends the worker and is in the
 * server log; the launcher starts another one after a growing pause.  The index is
 * derived, so whatever happens here can delay an answer but lose no evidence.
 */
#include "trail/index_int.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

/*
 * While the trail grows, a worker folds this often: larger batches fold better and
 * leave the processor to those who write.  Whoever asks wakes it at once.
 */
#define INDEX_NAP_MS 1000
/* Nothing to do for so long, and the worker leaves. */
#define INDEX_LINGER_MS 3000
/* Wake-ups come by latch; this only catches what a crash of ours might lose. */
#define INDEX_LAUNCHER_MS 10000

extern PGDLLEXPORT void ward_index_launcher(Datum arg);
extern PGDLLEXPORT void ward_index_worker(Datum arg);

/* Called by trail_init(). */
void
trail_index_worker_register(void)
{
	trail_worker_register("ward_index_launcher", "pg_ward index launcher", true);
	trail_record_notify = trail_index_table_appended;
	trail_receive_notify = trail_index_table_delivered;
}

/* ---------------------------------------------------------------- launcher */

typedef struct LaunchedWorker
{
	BackgroundWorkerHandle *handle; /* NULL: none */
	Oid database;
} LaunchedWorker;

/*
 * After a start of the server nobody knows what was left unindexed, so every
 * database gets a worker once; where there is no extension it leaves at once.
 */
static void
index_worker_want_all(void)
{
	Relation databases;
	TableScanDesc scan;
	HeapTuple tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	databases = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(databases, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (database->datallowconn)
			(void) trail_index_table_want(database->oid, false);
	}
	table_endscan(scan);
	table_close(databases, AccessShareLock);
	CommitTransactionCommand();
}

/* Fills in a worker of one run. */
static void
index_worker_describe(BackgroundWorker *worker, const char *function, const char *type)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker->bgw_library_name, "pg_ward", BGW_MAXLEN);
	strlcpy(worker->bgw_function_name, function, BGW_MAXLEN);
	strlcpy(worker->bgw_name, type, BGW_MAXLEN);
	strlcpy(worker->bgw_type, type, BGW_MAXLEN);
	worker->bgw_notify_pid = MyProcPid;
}

/* Starts a process that prunes the trail, where it is time to and none runs. */
static void
index_worker_launch_pruner(long *wait)
{
	static BackgroundWorkerHandle *pruner = NULL;
	BackgroundWorker worker;
	pid_t pid;

	if (pruner != NULL && GetBackgroundWorkerPid(pruner, &pid) == BGWH_STOPPED)
	{
		pfree(pruner);
		pruner = NULL;
	}
	if (!trail_prune_due(wait) || pruner != NULL)
		return;
	index_worker_describe(&worker, "ward_trail_pruner", "pg_ward trail pruner");
	/* Without a slot it is tried again the next time. */
	if (!RegisterDynamicBackgroundWorker(&worker, &pruner))
		pruner = NULL;
}

static BackgroundWorkerHandle *
index_worker_launch(int slot, Oid database)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;

	index_worker_describe(&worker, "ward_index_worker", "pg_ward index");
	snprintf(worker.bgw_name, BGW_MAXLEN, "pg_ward index of database %u", database);
	worker.bgw_main_arg = Int32GetDatum(slot);
	memcpy(worker.bgw_extra, &database, sizeof(Oid));
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		return NULL;
	return handle;
}

/* Forgets workers that have ended, also those that never reached their claim. */
static void
index_worker_reap(LaunchedWorker *launched)
{
	for (int slot = 0; slot < TRAIL_INDEX_DATABASES; slot++)
	{
		pid_t pid;

		if (launched[slot].handle == NULL)
			continue;
		if (GetBackgroundWorkerPid(launched[slot].handle, &pid) == BGWH_STOPPED)
		{
			trail_index_table_reaped(slot, launched[slot].database);
			pfree(launched[slot].handle);
			launched[slot].handle = NULL;
		}
	}
}

void
ward_index_launcher(Datum arg)
{
	LaunchedWorker *launched;
	bool complained = false;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	trail_index_table_attach_launcher();
	index_worker_want_all();
	launched =
		MemoryContextAllocZero(TopMemoryContext, TRAIL_INDEX_DATABASES * sizeof(LaunchedWorker));

	for (;;)
	{
		int slot;
		Oid database;
		long wait;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		index_worker_reap(launched);
		while (trail_index_table_next(&slot, &database, &wait))
		{
			BackgroundWorkerHandle *handle = NULL;

			if (launched[slot].handle == NULL)
				handle = index_worker_launch(slot, database);
			trail_index_table_started(slot, handle != NULL);
			if (handle == NULL)
			{
				if (!complained)
					ereport(LOG, (errmsg("could not start a worker for the index of the trail"),
								  errhint("Raise max_worker_processes; the trail itself is "
										  "written, but not indexed.")));
				complained = true;
				wait = 1000;
				break;
			}
			complained = false;
			launched[slot].handle = handle;
			launched[slot].database = database;
		}

		index_worker_launch_pruner(&wait);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 wait < 0 ? INDEX_LAUNCHER_MS : Max(wait, 10), PG_WAIT_EXTENSION);
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
}

/* ---------------------------------------------------------------- worker */

static TrailIndexOutcome outcome = TRAIL_INDEX_FAILED;

/* Any exit but the two that say otherwise is a failure, so that it is retried. */
static void
index_worker_exit(int code, Datum arg)
{
	trail_index_table_release(DatumGetInt32(arg), outcome);
}

static void
index_worker_set(const char *name, const char *value)
{
	if (GetConfigOption(name, true, false) != NULL)
		SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

/* Says that the index falls behind, again each time that it is twice as far. */
static void
index_worker_tell_backlog(void)
{
	static uint64 told = 0;
	TrailPosition end = trail_append_end();
	TrailPosition position =
		trail_index_fold_reached(GetActiveSnapshot(), trail_index_source_node()).position;
	uint64 behind = end > position ? end - position : 0;

	if (trail_setting_backlog_warning == 0 || behind < (uint64) trail_setting_backlog_warning)
	{
		told = 0;
		return;
	}
	if (behind < 2 * told)
		return;
	told = behind;
	ereport(WARNING,
			(errmsg("the index of the trail is " UINT64_FORMAT " records behind", behind),
			 errhint("The evidence is written all the same; answers wait until the index has "
					 "caught up. ward.index_status shows how far it is.")));
}

/* One batch in a transaction of its own. */
static bool
index_worker_batch(int slot, bool *more)
{
	TrailPosition folded = 0;
	TimestampTz held = DT_NOBEGIN;
	bool installed;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, "folding the trail");
	index_worker_tell_backlog();
	installed = trail_index_fold(more);
	if (installed)
	{
		CommandCounterIncrement();
		PushActiveSnapshot(GetLatestSnapshot());
		folded = trail_index_fold_reached(GetActiveSnapshot(), trail_index_source_node()).position;
		held = trail_index_prune_held();
		PopActiveSnapshot();
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	if (installed)
		trail_index_table_progress(slot, folded, held);
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	return installed;
}

void
ward_index_worker(Datum arg)
{
	int slot = DatumGetInt32(arg);
	Oid database;
	long idle = 0;

	memcpy(&database, MyBgworkerEntry->bgw_extra, sizeof(Oid));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	if (!trail_index_table_claim(slot, database))
		proc_exit(0);
	before_shmem_exit(index_worker_exit, Int32GetDatum(slot));
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);

	/*
	 * It runs as a superuser: names resolve in pg_catalog alone.  What it writes is
	 * derived, so a lost commit is only folded again.  It reads no watched table.
	 */
	index_worker_set("search_path", "pg_catalog, pg_temp");
	index_worker_set("synchronous_commit", "off");
	/* Nobody's event trigger has a say in how partitions are made. */
	index_worker_set("session_replication_role", "replica");
	index_worker_set("default_transaction_isolation", "read committed");
	index_worker_set("default_transaction_read_only", "off");
	index_worker_set("statement_timeout", "0");
	index_worker_set("lock_timeout", "0");
	index_worker_set("jit", "off");

	while (idle < INDEX_LINGER_MS)
	{
		bool more = false;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}

		if (idle == 0 || trail_index_table_pending(slot))
		{
			trail_index_table_begin(slot);
			if (!index_worker_batch(slot, &more))
			{
				outcome = TRAIL_INDEX_NO_EXTENSION;
				proc_exit(0);
			}
			idle = 0;
			if (more)
				continue;
		}

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, INDEX_NAP_MS,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		idle += INDEX_NAP_MS;
	}
	outcome = TRAIL_INDEX_IDLE;
	proc_exit(0);
}
