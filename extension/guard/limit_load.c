/*
 * limit_load.c
 *		What was shown before the server started, or a limit was made: counted again from
 *		the trail.
 *
 * A statement that a limit applies to asks whether what was shown before counts.  If not,
 * it has a process started that reads this server's trail once for all of the database's
 * new limits, and waits for it, up to ward.limit_wait; then it is refused (WD503): fails
 * closed.  On a standby the same, from its own trail.
 *
 * A limit that is counted stays so until shared memory is made anew.  Counting twice does
 * no harm: a person stays in the newest slot that he was seen in.
 *
 * Locks: GUARD_LOCK_WINDOWS, for moments.
 */
#include "guard/limit_int.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* Limits that are known to be counted; the oldest is forgotten, and counted again if need be. */
#define LOAD_ENTRIES 1024
/* Databases that are read at a time. */
#define LOAD_WORKERS 16
/* A process that has not come up by now is not waited for. */
#define LOAD_START_US (5 * USECS_PER_SEC)

typedef struct LoadEntry
{
	Oid database; /* InvalidOid: free */
	int64 limit;
} LoadEntry;

typedef struct LoadWorker
{
	Oid database; /* InvalidOid: free */
	pid_t pid;	  /* 0: not up yet */
	TimestampTz started;
} LoadWorker;

typedef struct LoadShared
{
	ConditionVariable changed;
	uint32 next;
	LoadEntry entries[LOAD_ENTRIES];
	LoadWorker workers[LOAD_WORKERS];
} LoadShared;

static LoadShared *shared = NULL;

extern PGDLLEXPORT void ward_limit_load(Datum arg);

Size
guard_limit_load_shmem_size(void)
{
	return MAXALIGN(sizeof(LoadShared));
}

/* Called with AddinShmemInitLock held. */
void
guard_limit_load_shmem_init(void)
{
	bool found;

	shared = ShmemInitStruct("pg_ward limits counted", guard_limit_load_shmem_size(), &found);
	if (found)
		return;
	memset(shared, 0, sizeof(LoadShared));
	ConditionVariableInit(&shared->changed);
}

static bool
limit_load_done(int64 limit)
{
	bool done = false;

	LWLockAcquire(guard_lock(GUARD_LOCK_WINDOWS), LW_SHARED);
	for (int i = 0; i < LOAD_ENTRIES && !done; i++)
		done = shared->entries[i].database == MyDatabaseId && shared->entries[i].limit == limit;
	LWLockRelease(guard_lock(GUARD_LOCK_WINDOWS));
	return done;
}

static void
limit_load_note(int64 limit)
{
	LoadEntry *entry;

	LWLockAcquire(guard_lock(GUARD_LOCK_WINDOWS), LW_EXCLUSIVE);
	entry = &shared->entries[shared->next++ % LOAD_ENTRIES];
	entry->database = MyDatabaseId;
	entry->limit = limit;
	LWLockRelease(guard_lock(GUARD_LOCK_WINDOWS));
}

/* ---------------------------------------------------------------- waiting */

/* A place for this database's process, unless there is one; -1: nothing is to be started. */
static int
limit_load_claim(TimestampTz now)
{
	int place = -1;

	LWLockAcquire(guard_lock(GUARD_LOCK_WINDOWS), LW_EXCLUSIVE);
	for (int i = 0; i < LOAD_WORKERS; i++)
	{
		LoadWorker *worker = &shared->workers[i];

		if (worker->database != InvalidOid && worker->pid == 0 &&
			worker->started + LOAD_START_US < now)
			worker->database = InvalidOid;
		if (worker->database == MyDatabaseId)
		{
			place = -1;
			break;
		}
		if (worker->database == InvalidOid && place < 0)
			place = i;
	}
	if (place >= 0)
	{
		shared->workers[place].database = MyDatabaseId;
		shared->workers[place].pid = 0;
		shared->workers[place].started = now;
	}
	LWLockRelease(guard_lock(GUARD_LOCK_WINDOWS));
	return place;
}

static void
limit_load_release(int place)
{
	LWLockAcquire(guard_lock(GUARD_LOCK_WINDOWS), LW_EXCLUSIVE);
	shared->workers[place].database = InvalidOid;
	LWLockRelease(guard_lock(GUARD_LOCK_WINDOWS));
	ConditionVariableBroadcast(&shared->changed);
}

static bool
limit_load_launch(int place)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "pg_ward", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "ward_limit_load", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "pg_ward limits of database %u", MyDatabaseId);
	strlcpy(worker.bgw_type, "pg_ward limits", BGW_MAXLEN);
	worker.bgw_main_arg = Int32GetDatum(place);
	memcpy(worker.bgw_extra, &MyDatabaseId, sizeof(Oid));
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}

/* See limit_int.h. */
void
guard_limit_load_wait(GuardRule *rule)
{
	TimestampTz until;

	if (likely(rule->ready))
		return;
	until = GetCurrentTimestamp() + (int64) guard_setting_wait * 1000;
	ConditionVariablePrepareToSleep(&shared->changed);
	while (!(rule->ready = limit_load_done(rule->id)))
	{
		TimestampTz now = GetCurrentTimestamp();
		int place = limit_load_claim(now);
		bool started = true;

		if (place >= 0 && !(started = limit_load_launch(place)))
			limit_load_release(place);
		if (now >= until)
			break;
		(void) ConditionVariableTimedSleep(&shared->changed,
										   Min(1000, TimestampDifferenceMilliseconds(now, until)),
										   PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
	if (!rule->ready)
		ereport(ERROR,
				(errcode(ERRCODE_WARD_LIMIT_NOT_READY),
				 errmsg("limit \"%s\" is not ready yet", rule->name),
				 errdetail("Whom others were shown before is still being read from the trail."),
				 errhint("Try again in a moment. If it stays so, the server's log says why, or "
						 "max_worker_processes is too small.")));
}

/* ---------------------------------------------------------------- reading */

/* A context of the trail, and what its disclosures count for. */
typedef struct LoadContext
{
	struct
	{
		const char *session; /* the context's own copy */
		const char *class;	 /* the relation's */
	} key;
	List *targets;
} LoadContext;

typedef struct Load
{
	MemoryContext memory;
	HTAB *contexts;
	TimestampTz now;
} Load;

static void
limit_load_role(GuardWho *who, const char *name)
{
	Oid role = get_role_oid(name, true);

	if (!OidIsValid(role) || guard_limit_rule_exempt(role))
		return;
	for (int i = 0; i < who->nroles; i++)
		if (who->roles[i] == role)
			return;
	who->roles[who->nroles++] = role;
}

static List *
limit_load_targets(Load *load, const TrailSeen *seen)
{
	LoadContext *context;
	MemoryContext old;
	GuardWho who = {.session = seen->session, .actor = seen->actor, .client = seen->client};
	LoadContext wanted = {0};
	bool found;

	wanted.key.session = seen->session;
	wanted.key.class = seen->class;
	context = hash_search(load->contexts, &wanted.key, HASH_ENTER, &found);
	if (found)
		return context->targets;
	context->targets = NIL;
	limit_load_role(&who, seen->role);
	limit_load_role(&who, seen->session_user);
	limit_load_role(&who, seen->authenticated);
	old = MemoryContextSwitchTo(load->memory);
	context->targets = guard_limit_rule_targets(&who, seen->class);
	MemoryContextSwitchTo(old);
	return context->targets;
}

typedef struct LoadWalk
{
	int window;
	TimestampTz at;
} LoadWalk;

static bool
limit_load_walk(int64 subject, void *arg)
{
	LoadWalk *walk = arg;

	(void) guard_limit_window_count(walk->window, subject, walk->at);
	return true;
}

static void
limit_load_see(const TrailSeen *seen, void *arg)
{
	Load *load = arg;
	TrailSubjectSet *people = NULL;
	ListCell *lc;

	if (seen->subjects == NULL ||
		(seen->manner != TRAIL_MANNER_ROW &&
		 (seen->manner != TRAIL_MANNER_WRITE || strcmp(seen->reason, "returning") != 0)))
		return;
	foreach (lc, limit_load_targets(load, seen))
	{
		GuardTarget *target = lfirst(lc);
		LoadWalk walk = {.at = seen->at};

		if (target->rule->ready || seen->at > load->now ||
			!guard_limit_matches(target->rule->manner, seen->subject_attnum, seen->nclear,
								 seen->clear, seen->nsealed))
			continue;
		if (people == NULL)
		{
			people = trail_subject_set_create(CurrentMemoryContext);
			trail_subject_set_merge(people, seen->subjects, seen->length);
		}
		LWLockAcquire(guard_lock(GUARD_LOCK_WINDOWS), LW_EXCLUSIVE);
		walk.window = guard_limit_window_pin(&target->key, target->hint, target->rule->length,
											 target->principal, load->now);
		if (walk.window != 0)
		{
			trail_subject_set_walk(people, limit_load_walk, &walk);
			guard_limit_window_unpin(walk.window, 0);
		}
		LWLockRelease(guard_lock(GUARD_LOCK_WINDOWS));
		if (walk.window == 0)
			ereport(ERROR, (errcode(ERRCODE_WARD_LIMIT_NO_ROOM),
							errmsg("there is no room to count whom others were shown before")));
		target->hint = walk.window;
	}
}

/* Counts for all limits of this database that were not counted yet. */
static void
limit_load_count(void)
{
	Load load = {.memory = CurrentMemoryContext, .now = GetCurrentTimestamp()};
	HASHCTL control = {.keysize = sizeof(((LoadContext *) NULL)->key),
					   .entrysize = sizeof(LoadContext),
					   .hcxt = CurrentMemoryContext};
	List *rules = list_copy(guard_limit_rule_list());
	int64 length = 0;
	ListCell *lc;

	foreach (lc, rules)
	{
		GuardRule *rule = lfirst(lc);

		rule->ready = limit_load_done(rule->id);
		if (!rule->ready)
			length = Max(length, rule->length);
	}
	if (length == 0)
		return;
	load.contexts = hash_create("pg_ward limits of contexts", 256, &control,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	/* A slot longer than the interval, as windows are. */
	trail_history_read(load.now - length - length / 8, MyDatabaseId, limit_load_see, &load);
	foreach (lc, rules)
		if (!((GuardRule *) lfirst(lc))->ready)
			limit_load_note(((GuardRule *) lfirst(lc))->id);
}

static void
limit_load_exit(int code, Datum arg)
{
	limit_load_release(DatumGetInt32(arg));
}

void
ward_limit_load(Datum arg)
{
	int place = DatumGetInt32(arg);
	Oid database;

	memcpy(&database, MyBgworkerEntry->bgw_extra, sizeof(Oid));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	LWLockAcquire(guard_lock(GUARD_LOCK_WINDOWS), LW_EXCLUSIVE);
	/* Somebody has given up waiting for it, and started another. */
	if (shared->workers[place].database != database || shared->workers[place].pid != 0)
	{
		LWLockRelease(guard_lock(GUARD_LOCK_WINDOWS));
		proc_exit(0);
	}
	shared->workers[place].pid = MyProcPid;
	LWLockRelease(guard_lock(GUARD_LOCK_WINDOWS));
	before_shmem_exit(limit_load_exit, Int32GetDatum(place));
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	limit_load_count();
	PopActiveSnapshot();
	CommitTransactionCommand();
	proc_exit(0);
}
