/*
 * index_table.c
 *		Shared memory between those who append, the launcher and the workers.
 *
 * A slot for each database that may have something to index.  All fields are
 * guarded by one LWLock, except that `pending` and `database` are also read
 * without it on the append path: whoever appended sets pending after its record
 * is in the kernel; a worker clears it before it looks for the trail's end.  With
 * a barrier on each side one of the two sees the other, so no record waits for
 * the next one to be noticed.
 *
 * Locking: the LWLock is a leaf; nothing is called under it that takes another.
 * No slot is ever needed for evidence to be written, only for it to be indexed
 * soon: a full table loses wake-ups, never records.
 */
#include "trail/index_int.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#define INDEX_TRANCHE "pg_ward_index"
#define INDEX_STARTING_MAX 2
#define INDEX_BACKOFF_MAX_MS 60000

typedef struct IndexSlot
{
	Oid database; /* InvalidOid: free */
	bool pending;
	bool starting; /* registered, not yet claimed */
	pid_t worker;
	Latch *latch; /* the worker's */
	int holds;	  /* commands that want the database alone */
	uint32 failures;
	uint64 runs;
	TrailIndexOutcome outcome;
	TimestampTz not_before;
	uint64 asked; /* how often it was asked how far it is */
	uint64 heard; /* of which the worker knows */
	TrailIndexAnswer answer;
} IndexSlot;

typedef struct IndexTable
{
	LWLock *lock;
	ConditionVariable moved;
	Latch *launcher; /* NULL while there is none */
	pid_t launcher_pid;
	bool no_slot;
	int nslots; /* slots ever used */
	IndexSlot slots[TRAIL_INDEX_DATABASES];
} IndexTable;

static IndexTable *table = NULL;
static int my_slot = -1; /* this database's, as far as this backend knows */

/* Called by the shmem request hook. */
void
trail_index_table_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(IndexTable)));
	RequestNamedLWLockTranche(INDEX_TRANCHE, 1);
}

/* Called by the shmem startup hook, in the postmaster, before anyone looks. */
void
trail_index_table_startup(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	table = ShmemInitStruct(INDEX_TRANCHE, sizeof(IndexTable), &found);
	if (!found)
	{
		memset(table, 0, sizeof(IndexTable));
		table->lock = &GetNamedLWLockTranche(INDEX_TRANCHE)->lock;
		ConditionVariableInit(&table->moved);
	}
	LWLockRelease(AddinShmemInitLock);
}

/* This database's slot, or -1.  Caller holds the lock. */
static int
index_table_find(Oid database)
{
	for (int i = 0; i < table->nslots; i++)
		if (table->slots[i].database == database)
			return i;
	return -1;
}

/* The same, made where there is none; -1 when the table is full. */
static int
index_table_make(Oid database)
{
	int slot = index_table_find(database);

	if (slot >= 0)
		return slot;
	slot = index_table_find(InvalidOid);
	if (slot < 0)
	{
		if (table->nslots == TRAIL_INDEX_DATABASES)
			return -1;
		slot = table->nslots++;
	}
	memset(&table->slots[slot], 0, sizeof(IndexSlot));
	table->slots[slot].database = database;
	return slot;
}

static void
index_table_wake_launcher(void)
{
	if (table->launcher != NULL)
		SetLatch(table->launcher);
}

/* ---------------------------------------------------------------- appending */

bool
trail_index_table_want(Oid database, bool urgent)
{
	int slot;

	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	slot = index_table_make(database);
	if (slot >= 0)
	{
		table->slots[slot].pending = true;
		if (table->slots[slot].worker == 0)
			index_table_wake_launcher();
		else if (urgent && table->slots[slot].latch != NULL)
			SetLatch(table->slots[slot].latch);
	}
	LWLockRelease(table->lock);
	if (database == MyDatabaseId)
		my_slot = slot;
	return slot >= 0;
}

void
trail_index_table_appended(void)
{
	if (table == NULL || !OidIsValid(MyDatabaseId))
		return;
	/* Pairs with the barrier in trail_index_table_begin(). */
	pg_memory_barrier();
	if (my_slot >= 0 && table->slots[my_slot].database == MyDatabaseId &&
		((volatile IndexSlot *) &table->slots[my_slot])->pending)
		return;
	(void) trail_index_table_want(MyDatabaseId, false);
}

/* See trail.h. */
void
trail_index_hurry(void)
{
	if (table != NULL && OidIsValid(MyDatabaseId))
		(void) trail_index_table_want(MyDatabaseId, true);
}

void
trail_index_table_delivered(void)
{
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	for (int i = 0; i < table->nslots; i++)
		if (OidIsValid(table->slots[i].database))
			table->slots[i].pending = true;
	index_table_wake_launcher();
	LWLockRelease(table->lock);
}

/* ---------------------------------------------------------------- waiting */

TrailIndexReport
trail_index_table_report(Oid database)
{
	TrailIndexReport report = {0};
	int slot;

	LWLockAcquire(table->lock, LW_SHARED);
	slot = index_table_find(database);
	if (slot >= 0)
	{
		report.runs = table->slots[slot].runs;
		report.outcome = table->slots[slot].outcome;
		report.running = table->slots[slot].worker != 0;
	}
	report.no_slot = table->no_slot;
	report.launcher = table->launcher != NULL;
	LWLockRelease(table->lock);
	return report;
}

void
trail_index_table_wait(long milliseconds)
{
	(void) ConditionVariableTimedSleep(&table->moved, milliseconds, PG_WAIT_EXTENSION);
}

void
trail_index_table_wait_done(void)
{
	ConditionVariableCancelSleep();
}

/* ---------------------------------------------------------------- worker */

/* Takes the slot, unless the database is wanted alone or has a worker. */
bool
trail_index_table_claim(int slot, Oid database)
{
	IndexSlot *mine = &table->slots[slot];
	bool claimed = false;

	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	if (mine->database == database)
	{
		mine->starting = false;
		if (mine->worker == 0 && mine->holds == 0)
		{
			mine->worker = MyProcPid;
			mine->latch = MyLatch;
			claimed = true;
		}
	}
	LWLockRelease(table->lock);
	return claimed;
}

/* Called while the worker exits, whatever the reason. */
void
trail_index_table_release(int slot, TrailIndexOutcome outcome)
{
	IndexSlot *mine = &table->slots[slot];

	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	if (mine->worker == MyProcPid)
	{
		mine->worker = 0;
		mine->latch = NULL;
		mine->runs++;
		mine->outcome = outcome;
		if (outcome == TRAIL_INDEX_FAILED && mine->holds == 0)
		{
			long delay = Min(INDEX_BACKOFF_MAX_MS, 1000L << Min(mine->failures, 6));

			mine->failures++;
			mine->pending = true;
			mine->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay);
		}
		else if (outcome == TRAIL_INDEX_NO_EXTENSION)
		{
			mine->pending = false;
			memset(&mine->answer, 0, sizeof(mine->answer));
			mine->answer.number = mine->heard;
		}
		index_table_wake_launcher();
	}
	LWLockRelease(table->lock);
	ConditionVariableBroadcast(&table->moved);
}

void
trail_index_table_begin(int slot)
{
	table->slots[slot].pending = false;
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	table->slots[slot].heard = table->slots[slot].asked;
	LWLockRelease(table->lock);
	/* Pairs with the barrier in trail_index_table_appended(). */
	pg_memory_barrier();
}

bool
trail_index_table_pending(int slot)
{
	return ((volatile IndexSlot *) &table->slots[slot])->pending;
}

/* A batch was committed; answers who asked before it was begun. */
void
trail_index_table_progress(int slot, TrailPosition folded, TimestampTz held)
{
	IndexSlot *mine = &table->slots[slot];

	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	mine->failures = 0;
	mine->answer.number = mine->heard;
	mine->answer.installed = true;
	mine->answer.folded = folded;
	mine->answer.held = held;
	LWLockRelease(table->lock);
	ConditionVariableBroadcast(&table->moved);
}

/* ---------------------------------------------------------------- pruning */

/* See index_int.h. */
uint64
trail_index_table_ask(Oid database)
{
	uint64 number = 0;
	int slot;

	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	slot = index_table_make(database);
	if (slot >= 0)
		number = ++table->slots[slot].asked;
	LWLockRelease(table->lock);
	if (slot >= 0)
		(void) trail_index_table_want(database, true);
	return number;
}

/* See index_int.h. */
bool
trail_index_table_answered(Oid database, uint64 number, TrailIndexAnswer *answer)
{
	int slot;
	bool answered;

	LWLockAcquire(table->lock, LW_SHARED);
	slot = index_table_find(database);
	answered = slot >= 0 && number > 0 && table->slots[slot].answer.number >= number;
	if (answered)
		*answer = table->slots[slot].answer;
	LWLockRelease(table->lock);
	return answered;
}

/* ---------------------------------------------------------------- launcher */

static void
index_table_detach_launcher(int code, Datum arg)
{
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	if (table->launcher_pid == MyProcPid)
	{
		table->launcher = NULL;
		table->launcher_pid = 0;
	}
	LWLockRelease(table->lock);
}

void
trail_index_table_attach_launcher(void)
{
	before_shmem_exit(index_table_detach_launcher, (Datum) 0);
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	table->launcher = MyLatch;
	table->launcher_pid = MyProcPid;
	/* A launcher before this one may have died between registering and the claim. */
	for (int i = 0; i < table->nslots; i++)
		table->slots[i].starting = false;
	LWLockRelease(table->lock);
}

/*
 * A slot whose database waits for a worker; its starting flag is then set.  Where
 * there is none, wait says how long until a failed one may be tried again (ms,
 * -1 for no such).
 */
bool
trail_index_table_next(int *slot, Oid *database, long *wait)
{
	TimestampTz now = GetCurrentTimestamp();
	int starting = 0;
	bool found = false;

	*wait = -1;
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	for (int i = 0; i < table->nslots; i++)
		if (table->slots[i].starting)
			starting++;
	/* Workers of databases without the extension end at once; don't start a crowd. */
	for (int i = 0; i < table->nslots && starting < INDEX_STARTING_MAX && !found; i++)
	{
		IndexSlot *it = &table->slots[i];

		if (!OidIsValid(it->database) || !it->pending || it->starting || it->worker != 0 ||
			it->holds > 0)
			continue;
		if (it->not_before > now)
		{
			long left = TimestampDifferenceMilliseconds(now, it->not_before);

			if (*wait < 0 || left < *wait)
				*wait = left;
			continue;
		}
		it->starting = true;
		*slot = i;
		*database = it->database;
		found = true;
	}
	LWLockRelease(table->lock);
	return found;
}

/* Did registering a worker for this slot succeed? */
void
trail_index_table_started(int slot, bool registered)
{
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	if (!registered)
		table->slots[slot].starting = false;
	table->no_slot = !registered;
	LWLockRelease(table->lock);
	if (!registered)
		ConditionVariableBroadcast(&table->moved);
}

/* The worker is gone; clears what one that never reached its claim left behind. */
void
trail_index_table_reaped(int slot, Oid database)
{
	IndexSlot *it = &table->slots[slot];

	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	if (it->database == database && it->starting)
	{
		it->starting = false;
		it->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 1000);
	}
	LWLockRelease(table->lock);
}

/* ---------------------------------------------------------------- databases wanted alone */

Oid
trail_index_table_needs_alone(Node *statement)
{
	const char *name = NULL;
	ListCell *cell;

	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			name = ((DropdbStmt *) statement)->dbname;
			break;
		case T_CreatedbStmt:
			name = "template1";
			foreach (cell, ((CreatedbStmt *) statement)->options)
			{
				DefElem *option = lfirst_node(DefElem, cell);

				if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
					name = defGetString(option);
			}
			break;
		case T_AlterDatabaseStmt:
			foreach (cell, ((AlterDatabaseStmt *) statement)->options)
			{
				if (strcmp(lfirst_node(DefElem, cell)->defname, "tablespace") == 0)
					name = ((AlterDatabaseStmt *) statement)->dbname;
			}
			break;
		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
				name = ((RenameStmt *) statement)->subname;
			break;
		default:
			break;
	}
	/* An aborted transaction refuses the command anyway, and reads no catalog. */
	if (name == NULL || table == NULL || !IsTransactionState())
		return InvalidOid;
	return get_database_oid(name, true);
}

/*
 * PostgreSQL refuses these commands while anyone is connected, and only waits
 * for autovacuum.  The worker holds nothing that ending it would lose.
 */
void
trail_index_table_hold(Oid database)
{
	int slot;

	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	slot = index_table_make(database);
	if (slot >= 0)
		table->slots[slot].holds++;
	LWLockRelease(table->lock);
	if (slot < 0)
		return;

	for (;;)
	{
		pid_t worker;

		LWLockAcquire(table->lock, LW_SHARED);
		worker = table->slots[slot].worker;
		LWLockRelease(table->lock);
		if (worker == 0)
			break;
		(void) kill(worker, SIGTERM);
		pg_usleep(10000L);
		CHECK_FOR_INTERRUPTS();
	}
}

void
trail_index_table_unhold(Oid database, bool dropped)
{
	int slot;

	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	slot = index_table_find(database);
	if (slot >= 0)
	{
		if (table->slots[slot].holds > 0)
			table->slots[slot].holds--;
		if (dropped)
			table->slots[slot].database = InvalidOid;
		else if (table->slots[slot].holds == 0)
			table->slots[slot].not_before = 0;
		index_table_wake_launcher();
	}
	LWLockRelease(table->lock);
}

/* The same after an error or at the session's end: nothing was dropped. */
void
trail_index_table_unhold_callback(int code, Datum database)
{
	trail_index_table_unhold(DatumGetObjectId(database), false);
}
