/*
 * raw.c
 *		Paths that hand out data without showing rows to the executor.
 *
 * What they disclose can't be narrowed to people, so that they were used is recorded
 * (I7): before they run, as an event raw.*, from which ward.blind_spots is made.  Those
 * that read watched tables of this very database (their statistics, TOAST relations,
 * pages, decoded changes) are recorded as a disclosure of everybody in them, too.
 *
 * Functions are seen as the executor makes them ready to be called, by name where they are
 * the server's own, by library where they are an extension's, by language where that is
 * not trusted.  Replication connections, base backups among them, are seen as they
 * authenticate: a walsender comes by no other hook.  That capture is off is seen as a
 * statement runs, however it was switched.
 *
 * Fails closed: where the trail refuses the record, so does the path.
 *
 * Files and replication are of the whole cluster, so that events here belong to every
 * database's index, and carry by themselves who acted.
 *
 * State is private to the backend.
 */
#include "witness/witness_int.h"

#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/heap.h"
#include "catalog/pg_class.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_statistic.h"
#include "catalog/pg_statistic_ext_data.h"
#include "commands/dbcommands.h"
#include "foreign/foreign.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "parser/parsetree.h"
#include "replication/walsender.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define RAW_FIELDS 10
#define RAW_RECENT 16
#define RAW_KNOWN 256

typedef struct RawPath
{
	const char *name;
	const char *kind; /* NULL: runs owners' functions over rows, and shows nothing itself */
	bool rows;		  /* may hand out rows of this database's watched tables */
} RawPath;

/* The server's own functions. */
static const RawPath raw_functions[] = {
	{"pg_read_file", "raw.file", false},
	{"pg_read_file_old", "raw.file", false},
	{"pg_read_binary_file", "raw.file", false},
	{"be_lo_import", "raw.file", false},
	{"lo_import", "raw.file", false},
	{"pg_ls_dir", "raw.directory", false},
	{"pg_ls_logdir", "raw.directory", false},
	{"pg_ls_waldir", "raw.directory", false},
	{"pg_ls_tmpdir", "raw.directory", false},
	{"pg_backup_start", "raw.backup", false},
	{"pg_backup_stop", "raw.backup_end", false},
	{"pg_create_logical_replication_slot", "raw.slot", false},
	{"pg_create_physical_replication_slot", "raw.slot", false},
	{"pg_copy_logical_replication_slot", "raw.slot", false},
	{"pg_copy_physical_replication_slot", "raw.slot", false},
	{"pg_drop_replication_slot", "raw.slot_dropped", false},
	{"pg_logical_slot_get_changes", "raw.decoding", true},
	{"pg_logical_slot_peek_changes", "raw.decoding", true},
	{"pg_logical_slot_get_binary_changes", "raw.decoding", true},
	{"pg_logical_slot_peek_binary_changes", "raw.decoding", true},
	{"brin_summarize_new_values", NULL, true},
	{"brin_summarize_range", NULL, true},
};

/* Extensions' libraries whose functions show what is stored. */
static const RawPath raw_libraries[] = {
	{"pageinspect", "raw.page", true}, {"pg_walinspect", "raw.wal", true},
	{"pg_surgery", "raw.page", false}, {"adminpack", "raw.file", false},
	{"file_fdw", "raw.file", false},   {"amcheck", NULL, true},
};

static const RawPath raw_language = {"language", "raw.language", false};

/* What a function is, so far as it was asked for; thrown away when any changes. */
static struct
{
	Oid function;
	const RawPath *path; /* NULL: none */
} raw_known[RAW_KNOWN];

/* What this statement's client has been recorded for. */
static struct
{
	const RawPath *path;
	Oid object;
	Oid role;
	TimestampTz statement;
} raw_recent[RAW_RECENT];
static int raw_recent_next = 0;

static bool raw_capture_off = false;
static char raw_walsender[NAMEDATALEN];

/* ---------------------------------------------------------------- recording */

/* An event of the whole cluster, with who acts.  Raises WD3xx. */
void
witness_raw_record(const char *kind, const TrailField *more, int count)
{
	TrailField fields[RAW_FIELDS];
	char session[40];
	int n = 0;

	snprintf(session, sizeof(session), "%lx.%x", (long) MyStartTime, MyProcPid);
	fields[n++] = (TrailField){"session", session};
	if (IsTransactionState() && OidIsValid(MyDatabaseId))
	{
		fields[n++] = (TrailField){"role", GetUserNameFromId(GetUserId(), true)};
		fields[n++] = (TrailField){"session_role", GetUserNameFromId(GetSessionUserId(), true)};
		fields[n++] = (TrailField){"database", get_database_name(MyDatabaseId)};
	}
	if (MyProcPort != NULL)
		fields[n++] = (TrailField){"client", MyProcPort->remote_host};
	Assert(n + count <= RAW_FIELDS);
	for (int i = 0; i < count; i++)
		fields[n++] = more[i];
	trail_record_cluster_event(kind, fields, n);
}

/* Once for each statement of the client: a loop tells no more than its first round. */
static bool
witness_raw_repeated(const RawPath *path, Oid object)
{
	TimestampTz statement = GetCurrentStatementStartTimestamp();

	for (int i = 0; i < RAW_RECENT; i++)
		if (raw_recent[i].path == path && raw_recent[i].object == object &&
			raw_recent[i].role == GetUserId() && raw_recent[i].statement == statement)
			return true;
	return false;
}

static void
witness_raw_remember(const RawPath *path, Oid object)
{
	raw_recent[raw_recent_next].path = path;
	raw_recent[raw_recent_next].object = object;
	raw_recent[raw_recent_next].role = GetUserId();
	raw_recent[raw_recent_next].statement = GetCurrentStatementStartTimestamp();
	raw_recent_next = (raw_recent_next + 1) % RAW_RECENT;
}

/* Everybody in the watched tables of this database. */
static void
witness_raw_everybody(const char *reason)
{
	List *done = NIL;
	ListCell *lc;

	foreach (lc, witness_watch_relids())
	{
		WitnessRelation *relation = witness_watch_pin(lfirst_oid(lc));

		if (relation == NULL)
			continue;
		if (!list_member_oid(done, relation->watched->relid))
			witness_utility_all(relation, reason);
		done = lappend_oid(done, relation->watched->relid);
		witness_watch_release(relation);
	}
	list_free(done);
}

/* ---------------------------------------------------------------- functions */

static void
witness_raw_forget(Datum arg, int cache, uint32 hash)
{
	memset(raw_known, 0, sizeof(raw_known));
}

/* The file name of a library, without directory and suffix. */
static bool
witness_raw_library(const char *library, const char *name)
{
	const char *slash = strrchr(library, '/');
	size_t length = strlen(name);

	library = slash != NULL ? slash + 1 : library;
	return strncmp(library, name, length) == 0 &&
		   (library[length] == '\0' || library[length] == '.');
}

static const RawPath *
witness_raw_classify(Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	const RawPath *path = NULL;
	Form_pg_proc proc;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	if (proc->prolang == INTERNALlanguageId)
	{
		bool isnull;
		Datum source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);
		char *internal = isnull ? NULL : TextDatumGetCString(source);

		/* By either name: whoever gives the function another one keeps the inner. */
		for (int i = 0; i < (int) lengthof(raw_functions) && path == NULL; i++)
			if (strcmp(NameStr(proc->proname), raw_functions[i].name) == 0 ||
				(internal != NULL &&
				 strncmp(internal, raw_functions[i].name, strlen(raw_functions[i].name)) == 0))
				path = &raw_functions[i];
	}
	else if (proc->prolang == ClanguageId)
	{
		bool isnull;
		Datum binary = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_probin, &isnull);
		char *library = isnull ? NULL : TextDatumGetCString(binary);

		for (int i = 0; i < (int) lengthof(raw_libraries) && library != NULL; i++)
			if (witness_raw_library(library, raw_libraries[i].name))
				path = &raw_libraries[i];
	}
	else if (proc->prolang != SQLlanguageId)
	{
		HeapTuple language = SearchSysCache1(LANGOID, ObjectIdGetDatum(proc->prolang));

		if (HeapTupleIsValid(language))
		{
			if (!((Form_pg_language) GETSTRUCT(language))->lanpltrusted)
				path = &raw_language;
			ReleaseSysCache(language);
		}
	}
	ReleaseSysCache(tuple);
	return path;
}

/* A function is made ready to be called.  Raises WD3xx. */
void
witness_raw_function(Oid function)
{
	int at = function % RAW_KNOWN;
	const RawPath *path;
	TrailField fields[1];

	if (raw_known[at].function != function)
	{
		path = witness_raw_classify(function);
		raw_known[at].function = function;
		raw_known[at].path = path;
	}
	path = raw_known[at].path;
	/* Of a parallel plan the leader makes ready all of it. */
	if (likely(path == NULL) || IsParallelWorker() || witness_raw_repeated(path, function))
		return;
	if (path->kind == NULL)
	{
		if (witness_watch_any())
			witness_evaluate_table(NULL);
		witness_raw_remember(path, function);
		return;
	}
	fields[0].name = "function";
	fields[0].value = get_func_name(function);
	witness_raw_record(path->kind, fields, 1);
	if (path->rows && witness_watch_any())
		witness_raw_everybody(path->kind);
	witness_raw_remember(path, function);
}

/* ---------------------------------------------------------------- relations */

static void
witness_raw_statistics(const PlannedStmt *stmt)
{
	static const RawPath path = {"statistics", "raw.statistics", true};

	if (witness_raw_repeated(&path, StatisticRelationId))
		return;
	witness_raw_record(path.kind, NULL, 0);
	witness_raw_everybody(path.kind);
	witness_raw_remember(&path, StatisticRelationId);
}

static void
witness_raw_toast(Oid toast)
{
	static const RawPath path = {"toast", "raw.toast", true};
	ListCell *lc;

	if (witness_raw_repeated(&path, toast))
		return;
	foreach (lc, witness_watch_relids())
	{
		WitnessRelation *relation;
		HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(lfirst_oid(lc)));
		bool it =
			HeapTupleIsValid(tuple) && ((Form_pg_class) GETSTRUCT(tuple))->reltoastrelid == toast;
		TrailField fields[1];

		if (HeapTupleIsValid(tuple))
			ReleaseSysCache(tuple);
		if (!it || (relation = witness_watch_pin(lfirst_oid(lc))) == NULL)
			continue;
		fields[0].name = "relation";
		fields[0].value = relation->watched->trail.name;
		witness_raw_record(path.kind, fields, 1);
		witness_utility_all(relation, path.kind);
		witness_watch_release(relation);
	}
	witness_raw_remember(&path, toast);
}

/* A plan is about to run: does it read what watched tables have left elsewhere? */
void
witness_raw_plan(const PlannedStmt *stmt)
{
	ListCell *lc;

	if (IsParallelWorker())
		return;
	foreach (lc, stmt->rtable)
	{
		const RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind != RTE_RELATION)
			continue;
		if (rte->relid == StatisticRelationId || rte->relid == StatisticExtDataRelationId)
			witness_raw_statistics(stmt);
		else if (rte->relkind == RELKIND_TOASTVALUE)
			witness_raw_toast(rte->relid);
		else if (rte->relkind == RELKIND_FOREIGN_TABLE)
			witness_raw_function(GetForeignDataWrapper(
									 GetForeignServer(GetForeignTable(rte->relid)->serverid)->fdwid)
									 ->fdwhandler);
	}
}

/* ---------------------------------------------------------------- utility statements */

/* COPY that reads a file or talks to a program; LOAD. */
void
witness_raw_utility(const Node *node)
{
	TrailField fields[2];

	if (IsA(node, LoadStmt))
	{
		fields[0] = (TrailField){"statement", "LOAD"};
		witness_raw_record("raw.code", fields, 1);
	}
	else if (IsA(node, CopyStmt))
	{
		const CopyStmt *copy = (const CopyStmt *) node;

		if (copy->is_program)
		{
			fields[0] = (TrailField){"direction", copy->is_from ? "from" : "to"};
			witness_raw_record("raw.program", fields, 1);
		}
		else if (copy->is_from && copy->filename != NULL)
		{
			char *path = pstrdup(copy->filename);

			canonicalize_path(path);
			fields[0] = (TrailField){"function", "COPY"};
			/* By its name: a link elsewhere may lead there as well. */
			fields[1] = (TrailField){"in_data_directory",
									 path_is_prefix_of_path(DataDir, path) ? "true" : "false"};
			witness_raw_record("raw.file", fields, 2);
		}
	}
}

/* ---------------------------------------------------------------- capture */

static void
witness_raw_capture_end(int code, Datum arg)
{
	TrailField fields[1] = {{"state", "on"}};

	if (!raw_capture_off)
		return;
	raw_capture_off = false;
	PG_TRY();
	{
		witness_raw_record("raw.capture_on", fields, 0);
	}
	PG_CATCH();
	{
		/* The gap then stays open until the server's next start: wider, not narrower. */
		FlushErrorState();
	}
	PG_END_TRY();
}

/* A statement runs with capture off, or on again, in a database where tables are watched. */
void
witness_raw_capture(void)
{
	static bool registered = false;

	if (raw_capture_off == !witness_setting_capture || IsParallelWorker() ||
		!IsTransactionState() || IsAbortedTransactionBlockState() || !witness_watch_any())
		return;
	if (!registered)
		before_shmem_exit(witness_raw_capture_end, (Datum) 0);
	registered = true;
	witness_raw_record(witness_setting_capture ? "raw.capture_on" : "raw.capture_off", NULL, 0);
	raw_capture_off = !witness_setting_capture;
}

/* ---------------------------------------------------------------- replication */

static void
witness_raw_walsender_end(int code, Datum arg)
{
	TrailField fields[1] = {{"role", raw_walsender}};

	PG_TRY();
	{
		witness_raw_record("raw.replication_end", fields, 1);
	}
	PG_CATCH();
	{
		FlushErrorState();
	}
	PG_END_TRY();
}

/* A replication connection has authenticated.  Raises WD3xx: it is refused then. */
void
witness_raw_walsender(const Port *port)
{
	TrailField fields[3];

	strlcpy(raw_walsender, port->user_name, sizeof(raw_walsender));
	fields[0] = (TrailField){"role", raw_walsender};
	fields[1] = (TrailField){"database", am_db_walsender ? port->database_name : NULL};
	fields[2] = (TrailField){"application", port->application_name};
	witness_raw_record("raw.replication", fields, 3);
	before_shmem_exit(witness_raw_walsender_end, (Datum) 0);
}

/* Called once, from witness_init(). */
void
witness_raw_init(void)
{
	CacheRegisterSyscacheCallback(PROCOID, witness_raw_forget, (Datum) 0);
}
