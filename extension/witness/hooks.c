/*
 * hooks.c
 *		Every hook of the witness layer; dispatch only.
 */
#include "witness/witness_int.h"

#include "access/parallel.h"
#include "catalog/objectaccess.h"
#include "executor/executor.h"
#include "libpq/auth.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "optimizer/plancat.h"
#include "optimizer/planner.h"
#include "replication/walsender.h"
#include "storage/proc.h"
#include "tcop/utility.h"

static planner_hook_type prev_planner_hook = NULL;
static get_relation_info_hook_type prev_get_relation_info_hook = NULL;
static ExecutorStart_hook_type prev_ExecutorStart_hook = NULL;
static ExecutorRun_hook_type prev_ExecutorRun_hook = NULL;
static ExecutorFinish_hook_type prev_ExecutorFinish_hook = NULL;
static ExecutorEnd_hook_type prev_ExecutorEnd_hook = NULL;
static ProcessUtility_hook_type prev_ProcessUtility_hook = NULL;
static object_access_hook_type prev_object_access_hook = NULL;
static ClientAuthentication_hook_type prev_ClientAuthentication_hook = NULL;
static emit_log_hook_type prev_emit_log_hook = NULL;

static PlannedStmt *
witness_planner(Query *parse, const char *query_string, int cursorOptions,
				ParamListInfo boundParams)
{
	if (witness_setting_capture)
		witness_plan_prepare(parse);
	if (prev_planner_hook)
		return prev_planner_hook(parse, query_string, cursorOptions, boundParams);
	return standard_planner(parse, query_string, cursorOptions, boundParams);
}

static void
witness_get_relation_info(PlannerInfo *root, Oid relationObjectId, bool inhparent, RelOptInfo *rel)
{
	if (prev_get_relation_info_hook)
		prev_get_relation_info_hook(root, relationObjectId, inhparent, rel);
	if (witness_setting_capture)
		witness_plan_table(root, relationObjectId, rel);
}

/*
 * Frames of ours on the stack.  Within one an error can't reach the client before the
 * frame has written what is pending; see witness_defer_allowed().
 */
static int frames = 0;

static void
witness_ExecutorStart(QueryDesc *queryDesc, int eflags)
{
	witness_audit_session();
	witness_raw_capture();
	PG_TRY();
	{
		if (prev_ExecutorStart_hook)
			prev_ExecutorStart_hook(queryDesc, eflags);
		else
			standard_ExecutorStart(queryDesc, eflags);
	}
	PG_CATCH();
	{
		witness_audit_refused(queryDesc->plannedstmt);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (!(eflags & EXEC_FLAG_EXPLAIN_ONLY))
		witness_raw_plan(queryDesc->plannedstmt);
	if (witness_setting_capture && !(eflags & EXEC_FLAG_EXPLAIN_ONLY) && witness_watch_any())
	{
		witness_wire_install();
		/* It may store, or hand on, what the function that runs it has read. */
		if (witness_capture_pending && !witness_defer_harmless(queryDesc->plannedstmt))
			witness_capture_write_all();
		witness_capture_start(queryDesc);
	}
}

static void
witness_ExecutorRun(QueryDesc *queryDesc, ScanDirection direction, uint64 count, bool execute_once)
{
	WitnessCapture *capture = witness_capture_of(queryDesc);
	DestReceiver *dest = queryDesc->dest;
	const int outer = frames;

	if (capture != NULL && IsParallelWorker())
		queryDesc->dest = witness_wire_worker(dest);
	PG_TRY();
	{
		frames = outer + 1;
		if (capture != NULL)
			witness_capture_run(capture);
		if (prev_ExecutorRun_hook)
			prev_ExecutorRun_hook(queryDesc, direction, count, execute_once);
		else
			standard_ExecutorRun(queryDesc, direction, count, execute_once);
	}
	PG_CATCH();
	{
		frames = outer;
		queryDesc->dest = dest;
		/*
		 * Rows that are held for the client may leave with the error message, or be
		 * quoted in it, so their evidence comes first; if it can't be written, that is
		 * the error.
		 */
		witness_capture_failed(capture);
		witness_audit_refused(queryDesc->plannedstmt);
		PG_RE_THROW();
	}
	PG_END_TRY();
	frames = outer;
	queryDesc->dest = dest;
	/*
	 * A function's loop comes here for each few rows, in a procedure for each one.
	 * What it has read can wait, where nothing can leave meanwhile.
	 */
	if (capture == NULL)
		return;
	if (dest->mydest != DestSPI || outer == 0 || !witness_defer_allowed())
		witness_capture_write(capture);
	else if (witness_wire_holds())
		witness_wire_settle();
}

static void
witness_ExecutorFinish(QueryDesc *queryDesc)
{
	WitnessCapture *capture = witness_capture_of(queryDesc);
	const int outer = frames;

	PG_TRY();
	{
		frames = outer + 1;
		if (prev_ExecutorFinish_hook)
			prev_ExecutorFinish_hook(queryDesc);
		else
			standard_ExecutorFinish(queryDesc);
	}
	PG_CATCH();
	{
		frames = outer;
		witness_capture_failed(NULL);
		PG_RE_THROW();
	}
	PG_END_TRY();
	frames = outer;
	if (capture != NULL)
	{
		witness_capture_finish(capture);
		witness_copies_finished(capture);
	}
}

static void
witness_ExecutorEnd(QueryDesc *queryDesc)
{
	WitnessCapture *capture = witness_capture_of(queryDesc);

	/* A cursor that is closed half read never comes through ExecutorFinish. */
	if (capture != NULL)
		witness_capture_finish(capture);
	if (prev_ExecutorEnd_hook)
		prev_ExecutorEnd_hook(queryDesc);
	else
		standard_ExecutorEnd(queryDesc);
}

/* A utility statement in a frame of its own: DO and CALL run functions. */
static void
witness_utility_frame(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
					  ProcessUtilityContext context, ParamListInfo params,
					  QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc)
{
	const int outer = frames;
	const int writes = witness_copy_depth();
	const WitnessUtility running = witness_utility_running;
	Node *statement = pstmt->utilityStmt;
	const bool view = IsA(statement, ViewStmt);
	WitnessCopies copies;
	WitnessDetach detach;

	witness_detach_before(&detach, statement);
	witness_copies_begin(&copies, statement);

	PG_TRY();
	{
		frames = outer + 1;
		witness_utility_before(pstmt, queryString);
		if (prev_ProcessUtility_hook)
			prev_ProcessUtility_hook(pstmt, queryString, readOnlyTree, context, params, queryEnv,
									 dest, qc);
		else
			standard_ProcessUtility(pstmt, queryString, readOnlyTree, context, params, queryEnv,
									dest, qc);
	}
	PG_CATCH();
	{
		frames = outer;
		witness_utility_running = running;
		witness_copies_end(&copies, statement, true);
		witness_copy_end(writes, true);
		witness_capture_failed(NULL);
		PG_RE_THROW();
	}
	PG_END_TRY();
	frames = outer;
	witness_utility_running = running;
	witness_copy_end(writes, false);
	witness_copies_end(&copies, statement, false);
	witness_detach_after(&detach);
	if (view && witness_setting_capture)
		witness_audit_made(statement);
}

static void
witness_ProcessUtility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
					   ProcessUtilityContext context, ParamListInfo params,
					   QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc)
{
	/* COPY may be rewritten; a cached statement must not be. */
	if (readOnlyTree && IsA(pstmt->utilityStmt, CopyStmt))
	{
		pstmt = copyObject(pstmt);
		readOnlyTree = false;
	}
	/* It may store, or hand on, what the function that runs it has read. */
	witness_capture_write_all();
	witness_utility_frame(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
}

static void
witness_object_access(ObjectAccessType access, Oid class, Oid object, int subobject, void *arg)
{
	if (prev_object_access_hook)
		prev_object_access_hook(access, class, object, subobject, arg);
	if (access == OAT_FUNCTION_EXECUTE)
		witness_raw_function(object);
	if (!witness_setting_capture)
		return;
	if (access == OAT_FUNCTION_EXECUTE)
		witness_defer_function(object);
	else if (access == OAT_DROP)
		witness_utility_dropping(class, object, subobject);
}

/* Failed or not; not for those whom nothing was asked, as they went away. */
static void
witness_ClientAuthentication(Port *port, int status)
{
	if (prev_ClientAuthentication_hook)
		prev_ClientAuthentication_hook(port, status);
	if (status == STATUS_OK && am_walsender)
		witness_raw_walsender(port);
	else if (status == STATUS_ERROR)
		witness_audit_login_failed(port);
}

/* A client that is turned away without being asked for anything comes by no other hook. */
static void
witness_emit_log(ErrorData *error)
{
	if (prev_emit_log_hook)
		prev_emit_log_hook(error);
	if (unlikely(error->elevel == FATAL) && MyProcPort != NULL && !OidIsValid(MyDatabaseId) &&
		MyProc != NULL &&
		(ERRCODE_TO_CATEGORY(error->sqlerrcode) ==
			 ERRCODE_TO_CATEGORY(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION) ||
		 error->sqlerrcode == ERRCODE_UNDEFINED_DATABASE))
		witness_audit_login_failed(MyProcPort);
}

/* See witness.h. */
void
witness_init(void)
{
	witness_setting_init();
	witness_watch_init();
	witness_defer_init();
	witness_write_init();
	witness_raw_init();
	witness_actor_init();
	EnableQueryId();

	prev_planner_hook = planner_hook;
	planner_hook = witness_planner;
	prev_get_relation_info_hook = get_relation_info_hook;
	get_relation_info_hook = witness_get_relation_info;
	prev_ExecutorStart_hook = ExecutorStart_hook;
	ExecutorStart_hook = witness_ExecutorStart;
	prev_ExecutorRun_hook = ExecutorRun_hook;
	ExecutorRun_hook = witness_ExecutorRun;
	prev_ExecutorFinish_hook = ExecutorFinish_hook;
	ExecutorFinish_hook = witness_ExecutorFinish;
	prev_ExecutorEnd_hook = ExecutorEnd_hook;
	ExecutorEnd_hook = witness_ExecutorEnd;
	prev_ProcessUtility_hook = ProcessUtility_hook;
	ProcessUtility_hook = witness_ProcessUtility;
	prev_object_access_hook = object_access_hook;
	object_access_hook = witness_object_access;
	prev_ClientAuthentication_hook = ClientAuthentication_hook;
	ClientAuthentication_hook = witness_ClientAuthentication;
	prev_emit_log_hook = emit_log_hook;
	emit_log_hook = witness_emit_log;
}
