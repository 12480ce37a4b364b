/*
 * hooks.c
 *		Every hook of the guard layer, and what it hears from the witness; dispatch only.
 */
#include "guard/answer_int.h"
#include "guard/guard_int.h"
#include "guard/limit_int.h"

#include "libpq/auth.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "tcop/utility.h"

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;
static ProcessUtility_hook_type prev_ProcessUtility_hook = NULL;
static ClientAuthentication_hook_type prev_ClientAuthentication_hook = NULL;

/* See guard_int.h. */
LWLock *
guard_lock(GuardLock which)
{
	return &GetNamedLWLockTranche("WardGuard")[which].lock;
}

static void
guard_shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestNamedLWLockTranche("WardGuard", GUARD_LOCKS);
	RequestAddinShmemSpace(guard_alert_shmem_size());
	RequestAddinShmemSpace(guard_action_shmem_size());
	RequestAddinShmemSpace(guard_lockdown_shmem_size());
	RequestAddinShmemSpace(guard_limit_window_shmem_size());
	RequestAddinShmemSpace(guard_limit_load_shmem_size());
}

static void
guard_shmem_startup(void)
{
	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	guard_alert_shmem_init();
	guard_action_shmem_init();
	guard_lockdown_shmem_init();
	guard_limit_window_shmem_init();
	guard_limit_load_shmem_init();
	LWLockRelease(AddinShmemInitLock);
}

/* A statement over watched tables starts. */
static void
guard_start(void)
{
}

/* It is run, also further. */
static void
guard_run(CmdType command)
{
	guard_lockdown_run(command);
}

static void
guard_begin(WitnessShown *shown)
{
	guard_lockdown_begin();
	guard_canary_begin();
	guard_limit_begin(shown);
}

static void
guard_next(WitnessShown *shown, int64 subject, const TrailSubjectSet *pending)
{
	guard_limit_next(shown, subject, pending);
}

static bool
guard_write(WitnessShown *shown, const TrailDisclosure *disclosure, bool failed)
{
	/* First, because it may lock down whoever reads. */
	guard_canary_write(shown, disclosure, failed);
	guard_lockdown_write(shown, disclosure, failed);
	return guard_limit_write(shown, disclosure, failed);
}

static void
guard_end(WitnessShown *shown)
{
	guard_limit_end(shown);
}

static const WitnessGuard guard_hears = {.start = guard_start,
										 .run = guard_run,
										 .begin = guard_begin,
										 .next = guard_next,
										 .write = guard_write,
										 .end = guard_end};

static void
guard_ProcessUtility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
					 ProcessUtilityContext context, ParamListInfo params,
					 QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc)
{
	if (IsA(pstmt->utilityStmt, FetchStmt))
		guard_lockdown_fetch(castNode(FetchStmt, pstmt->utilityStmt));
	if (prev_ProcessUtility_hook)
		prev_ProcessUtility_hook(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest,
								 qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest,
								qc);
}

static void
guard_ClientAuthentication(Port *port, int status)
{
	if (prev_ClientAuthentication_hook)
		prev_ClientAuthentication_hook(port, status);
	if (status == STATUS_OK)
		guard_lockdown_login(port);
}

/* See guard.h. */
void
guard_init(void)
{
	guard_setting_init();
	guard_answer_setting_init();
	guard_answer_register();
	guard_limit_rule_init();
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = guard_shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = guard_shmem_startup;
	prev_ProcessUtility_hook = ProcessUtility_hook;
	ProcessUtility_hook = guard_ProcessUtility;
	prev_ClientAuthentication_hook = ClientAuthentication_hook;
	ClientAuthentication_hook = guard_ClientAuthentication;
	witness_guard = &guard_hears;
}
