/*
 * hooks.c
 *		Every hook of the trail layer, and the registration of its processes; dispatch only.
 */
#include "trail/index_int.h"
#include "trail/trail_int.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "tcop/utility.h"

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;
static ProcessUtility_hook_type prev_utility_hook = NULL;

/* See trail_int.h. */
void
trail_worker_register(const char *function, const char *name, bool primary)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | (primary ? BGWORKER_BACKEND_DATABASE_CONNECTION : 0);
	worker.bgw_start_time =
		primary ? BgWorkerStart_RecoveryFinished : BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = 5;
	strlcpy(worker.bgw_library_name, "pg_ward", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, function, BGW_MAXLEN);
	strlcpy(worker.bgw_name, name, BGW_MAXLEN);
	strlcpy(worker.bgw_type, name, BGW_MAXLEN);
	/* It would begin a trail, or take up that of the server that is upgraded. */
	if (!IsBinaryUpgrade)
		RegisterBackgroundWorker(&worker);
}

static void
trail_shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(trail_append_shmem_size());
	RequestAddinShmemSpace(trail_subject_key_shmem_size());
	RequestAddinShmemSpace(trail_signer_shmem_size());
	RequestAddinShmemSpace(trail_verify_shmem_size());
	RequestAddinShmemSpace(trail_gap_shmem_size());
	RequestAddinShmemSpace(trail_receive_shmem_size());
	RequestAddinShmemSpace(trail_ship_shmem_size());
	RequestAddinShmemSpace(trail_prune_shmem_size());
	RequestNamedLWLockTranche("WardTrail", 6);
	trail_index_table_request();
}

static void
trail_shmem_startup(void)
{
	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	trail_append_shmem_init();
	trail_subject_key_shmem_init();
	trail_verify_shmem_init();
	trail_gap_shmem_init();
	trail_signer_shmem_init(&GetNamedLWLockTranche("WardTrail")[2].lock);
	trail_receive_shmem_init(&GetNamedLWLockTranche("WardTrail")[3].lock);
	trail_ship_shmem_init(&GetNamedLWLockTranche("WardTrail")[4].lock);
	trail_prune_shmem_init(&GetNamedLWLockTranche("WardTrail")[5].lock);
	LWLockRelease(AddinShmemInitLock);
	trail_index_table_startup();
}

static void
trail_utility_next(PlannedStmt *statement, const char *query, bool read_only,
				   ProcessUtilityContext context, ParamListInfo params,
				   QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *completion)
{
	if (prev_utility_hook)
		prev_utility_hook(statement, query, read_only, context, params, environment, dest,
						  completion);
	else
		standard_ProcessUtility(statement, query, read_only, context, params, environment, dest,
								completion);
}

static void
trail_utility(PlannedStmt *statement, const char *query, bool read_only,
			  ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
			  DestReceiver *dest, QueryCompletion *completion)
{
	Oid alone = trail_index_table_needs_alone(statement->utilityStmt);
	bool dropped = IsA(statement->utilityStmt, DropdbStmt);

	if (!OidIsValid(alone))
	{
		trail_utility_next(statement, query, read_only, context, params, environment, dest,
						   completion);
		return;
	}
	/* Also a session that is terminated here must let the worker come back. */
	PG_ENSURE_ERROR_CLEANUP(trail_index_table_unhold_callback, ObjectIdGetDatum(alone));
	{
		trail_index_table_hold(alone);
		trail_utility_next(statement, query, read_only, context, params, environment, dest,
						   completion);
	}
	PG_END_ENSURE_ERROR_CLEANUP(trail_index_table_unhold_callback, ObjectIdGetDatum(alone));
	trail_index_table_unhold(alone, dropped);
}

/* See trail.h. */
void
trail_init(void)
{
	trail_setting_init();
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = trail_shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = trail_shmem_startup;
	prev_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = trail_utility;
	trail_index_worker_register();
	trail_signer_register();
	trail_ship_register();
}
