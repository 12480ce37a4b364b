/*
 * hooks.c
 *		Every hook of the seal layer; dispatch only.
 */
#include "seal/sealed_int.h"

#include "executor/executor.h"
#include "libpq/auth.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "optimizer/planner.h"
#include "tcop/utility.h"

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;
static planner_hook_type prev_planner_hook = NULL;
static emit_log_hook_type prev_emit_log_hook = NULL;
static ExecutorStart_hook_type prev_ExecutorStart_hook = NULL;
static ProcessUtility_hook_type prev_ProcessUtility_hook = NULL;
static ClientAuthentication_hook_type prev_ClientAuthentication_hook = NULL;

static PlannedStmt *
seal_planner_next(Query *parse, const char *query_string, int cursorOptions,
				  ParamListInfo boundParams)
{
	if (prev_planner_hook)
		return prev_planner_hook(parse, query_string, cursorOptions, boundParams);
	return standard_planner(parse, query_string, cursorOptions, boundParams);
}

static PlannedStmt *
seal_planner(Query *parse, const char *query_string, int cursorOptions, ParamListInfo boundParams)
{
	List *invalidation = NIL;
	Query *rewritten = seal_rewrite_query(parse, boundParams, &invalidation);
	bool sealed = rewritten != parse;
	PlannedStmt *result = NULL;

	parse = rewritten;
	if (!sealed)
		result = seal_planner_next(parse, query_string, cursorOptions, boundParams);
	else
	{
		/* DISTINCT in an aggregate may go by an opened copy of its argument. */
		const bool presort = core_compat_presort_aggregates(false);

		/* Planning evaluates what it can, and its errors quote values, too. */
		seal_touch_mark();
		PG_TRY();
		{
			result = seal_planner_next(parse, query_string, cursorOptions, boundParams);
		}
		PG_FINALLY();
		{
			(void) core_compat_presort_aggregates(presort);
		}
		PG_END_TRY();
	}
	/* Functions that the rewrite has expanded: the plan ends when they change. */
	result->invalItems = list_concat(result->invalItems, invalidation);
	if (sealed)
		seal_touch_mark_plan(result);
	return result;
}

static void
seal_ExecutorStart(QueryDesc *queryDesc, int eflags)
{
	seal_touch_start(queryDesc->plannedstmt);
	if (prev_ExecutorStart_hook)
		prev_ExecutorStart_hook(queryDesc, eflags);
	else
		standard_ExecutorStart(queryDesc, eflags);
}

static void
seal_ProcessUtility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
					ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *queryEnv,
					DestReceiver *dest, QueryCompletion *qc)
{
	/* The statement's tree may be gone afterwards: a commit frees it. */
	bool roles = seal_right_depends(pstmt->utilityStmt);

	seal_touch_utility(pstmt->utilityStmt);
	seal_refuse_utility(pstmt->utilityStmt, queryString);
	if (prev_ProcessUtility_hook)
		prev_ProcessUtility_hook(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest,
								 qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest,
								qc);
	if (roles)
		seal_key_announce();
}

static void
seal_emit_log(ErrorData *edata)
{
	seal_redact_error(edata);
	if (prev_emit_log_hook)
		prev_emit_log_hook(edata);
}

static void
seal_ClientAuthentication(Port *port, int status)
{
	if (prev_ClientAuthentication_hook)
		prev_ClientAuthentication_hook(port, status);
	seal_describe_install();
}

static void
seal_shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	seal_keyring_shmem_request();
	seal_progress_shmem_request();
	seal_kek_pkcs11_shmem_request();
}

static void
seal_shmem_startup(void)
{
	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	seal_keyring_shmem_init();
	seal_progress_shmem_init();
	seal_kek_pkcs11_shmem_init();
	LWLockRelease(AddinShmemInitLock);
}

/* See seal.h. */
void
seal_init(void)
{
	seal_setting_init();
	seal_key_init();
	seal_right_init();
	seal_sealed_type_init();
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = seal_shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = seal_shmem_startup;
	prev_planner_hook = planner_hook;
	planner_hook = seal_planner;
	prev_emit_log_hook = emit_log_hook;
	emit_log_hook = seal_emit_log;
	prev_ExecutorStart_hook = ExecutorStart_hook;
	ExecutorStart_hook = seal_ExecutorStart;
	prev_ProcessUtility_hook = ProcessUtility_hook;
	ProcessUtility_hook = seal_ProcessUtility;
	prev_ClientAuthentication_hook = ClientAuthentication_hook;
	ClientAuthentication_hook = seal_ClientAuthentication;
}
