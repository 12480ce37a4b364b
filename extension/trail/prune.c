/*
 * prune.c
 *		Removes what is older than ward.retention, and leaves the trail verifiable.
 *
 * Whole segments are removed, up to a cut.  A cut is older than the retention, has been
 * folded into the index of each database, and nothing that a legal hold needs is before it.
 * A database that does not answer holds everything back; so does whatever else is unknown.
 *
 * The order is such that a crash at any step leaves a trail that verifies, and the next
 * attempt finishes or repeats it:
 *
 *	1. nothing that is appended refers any more to what is before the cut (give_up), and
 *	   transactions that began before have ended: they may have looked up subject keys;
 *	2. what later records need is copied into one file, on disk (collect.c, carry.c);
 *	3. the holds are asked once more, while no new one can be put;
 *	4. an event trail.pruned, with the file's SHA-256 and the root of what goes, is on disk
 *	   and signed;
 *	5. segments are removed, the oldest first, each durably; then what an earlier prune
 *	   carried over.
 *
 * A crash before 4 leaves a file that no record names: it is removed.  A crash in 5 leaves
 * segments before the cut: they are removed by the next attempt, if no hold was put since.
 *
 * Locks: "WardTrail" 5 guards the status, a leaf.  One prune runs at a time (running).  The
 * guard is a heavyweight lock: shared by whoever puts a hold, until its transaction ends;
 * exclusive in steps 3 to 5.
 *
 * Fail closed: what goes wrong stops the prune, and nothing more is removed.  It stops no
 * statement.
 */
#include "trail/prune_int.h"

#include <dirent.h>
#include <unistd.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "pgtime.h"
#include "port/atomics.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "tcop/tcopprot.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

WARD_FUNCTION(ward_prune_trail);
WARD_FUNCTION(ward_prune_guard);
WARD_FUNCTION(ward_retention_state);

/* The least that is removed unasked: reading what stays costs as much as there is of it. */
#define PRUNE_SHARE 16
/* Seconds after which less than that goes, too. */
#define PRUNE_AT_LEAST 86400

typedef struct PruneShared
{
	LWLock *lock;
	pg_atomic_uint32 running; /* pid; 0: none */
	TimestampTz looked_at;	  /* the last attempt */
	TimestampTz pruned_at;	  /* since the server started; 0: not */
	char held[512];			  /* what held back the last attempt */
} PruneShared;

static PruneShared *prune_shared = NULL;

Size
trail_prune_shmem_size(void)
{
	return MAXALIGN(sizeof(PruneShared));
}

/* Called with AddinShmemInitLock held. */
void
trail_prune_shmem_init(LWLock *lock)
{
	bool found;

	prune_shared = ShmemInitStruct("pg_ward prune", trail_prune_shmem_size(), &found);
	if (found)
		return;
	memset(prune_shared, 0, sizeof(*prune_shared));
	prune_shared->lock = lock;
	pg_atomic_init_u32(&prune_shared->running, 0);
}

static TimestampTz
prune_time(int64 at)
{
	return at - (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

/* A time as records have it, in UTC. */
static char *
prune_time_text(int64 at)
{
	char text[64];
	pg_time_t seconds = (pg_time_t) (at / USECS_PER_SEC);

	pg_strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", pg_gmtime(&seconds));
	return psprintf("%s.%06d+00", text, (int) (at % USECS_PER_SEC));
}

/* ---------------------------------------------------------------- the guard */

static void
prune_guard_tag(LOCKTAG *tag)
{
	/* Of no database; users' advisory locks are of theirs. */
	SET_LOCKTAG_ADVISORY(*tag, InvalidOid, 0x77617264, 0x7072756e, 4);
}

/* Trigger on legal holds: none is put while segments are removed. */
Datum
ward_prune_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	LOCKTAG tag;

	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "ward_prune_guard was not called as a trigger");
	prune_guard_tag(&tag);
	(void) LockAcquire(&tag, ShareLock, false, false);
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple
																	  : trigger->tg_trigtuple);
}

/* ---------------------------------------------------------------- removing */

/* Removes a file of the trail's directory, durably. */
static void
prune_unlink(const char *path)
{
	TrailFault fault;

	if ((unlink(path) == 0 || errno == ENOENT) &&
		fsync_fname_ext(trail_setting_directory, true, true, LOG) == 0)
		return;
	(void) trail_segment_fault(&fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errno,
							   TRAIL_POSITION_INVALID, 0, "could not remove what was pruned");
	strlcpy(fault.path, path, sizeof(fault.path));
	trail_segment_raise(&fault);
}

/* What a crash once left unfinished in a segment goes with it. */
static void
prune_unlink_torn(TrailPosition first)
{
	DIR *directory = AllocateDir(trail_setting_directory);
	struct dirent *entry;
	char start[32];

	snprintf(start, sizeof(start), "%016llx.trail.", (unsigned long long) first);
	while ((entry = ReadDir(directory, trail_setting_directory)) != NULL)
	{
		char path[2 * MAXPGPATH];

		if (strncmp(entry->d_name, start, strlen(start)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", trail_setting_directory, entry->d_name);
		prune_unlink(path);
	}
	FreeDir(directory);
}

/* Files of cuts before one. */
static void
prune_unlink_named(const char *suffix, TrailPosition before)
{
	TrailPosition *cuts;
	TrailFault fault;
	int count;

	if (!trail_segment_list_named(trail_setting_directory, suffix, &cuts, &count, &fault))
		trail_segment_raise(&fault);
	for (int i = 0; i < count && cuts[i] < before; i++)
	{
		char path[MAXPGPATH];

		snprintf(path, sizeof(path), "%s/%016llx%s", trail_setting_directory,
				 (unsigned long long) cuts[i], suffix);
		(void) unlink(path);
	}
	free(cuts);
}

/* Removes the segments before a cut that is signed, the oldest first. */
static void
prune_remove(const PrunePlan *plan, TrailPosition cut)
{
	for (int i = 0; i < plan->count && plan->firsts[i] < cut; i++)
	{
		char path[MAXPGPATH];

		trail_append_pruned(cut, plan->bytes[i]);
		trail_segment_path(path, plan->firsts[i]);
		prune_unlink(path);
		prune_unlink_torn(plan->firsts[i]);
	}
	prune_unlink_named(TRAIL_CARRY_SUFFIX, cut);
	trail_index_table_delivered();
}

/* ---------------------------------------------------------------- finishing */

/* Is there a signed record that tells of this cut, and of this file? */
static bool
prune_is_signed(const TrailCarry *carry)
{
	TimestampTz start = GetCurrentTimestamp();
	TrailSignerStatus signer;
	TrailReader *reader;
	TrailFrame frame;
	bool found = false;

	/* After a start nothing is signed at first. */
	for (trail_signer_status(&signer); signer.signed_at == 0 && !trail_prune_plan_late(start);
		 trail_signer_status(&signer))
		trail_prune_plan_wait(50);
	reader = trail_reader_open_in(trail_setting_directory, carry->cut,
								  Max(signer.signed_size, carry->cut));
	while (!found && trail_reader_next(reader, &frame))
	{
		TrailPruned pruned;

		CHECK_FOR_INTERRUPTS();
		found = trail_chain_pruned(frame.body - TRAIL_LEAF_HEADER, frame.length + TRAIL_LEAF_HEADER,
								   &pruned) &&
				pruned.cut == carry->cut &&
				memcmp(pruned.carry, carry->hash, TRAIL_HASH_LENGTH) == 0;
	}
	trail_reader_close(reader);
	return found;
}

/* Removes files that a crash left and nothing needs. */
static void
prune_tidy(const PrunePlan *plan)
{
	/* Never finished. */
	prune_unlink_named(TRAIL_CARRY_SUFFIX ".new", TRAIL_POSITION_INVALID);
	/* Of cuts before the one in force. */
	prune_unlink_named(TRAIL_CARRY_SUFFIX, plan->firsts[0]);
}

/*
 * What an earlier attempt left: a file that nothing names is removed, and what a signed
 * record tells of is finished, if the plan allows as much.  False: there is something left
 * that can't be finished now.
 */
static bool
prune_finish(PrunePlan *plan)
{
	TrailPosition *cuts;
	TrailPosition cut = 0;
	TrailFault fault;
	TrailCarry carry;
	char path[MAXPGPATH];
	LOCKTAG tag;
	bool allowed;
	int count;

	if (!trail_segment_list_named(trail_setting_directory, TRAIL_CARRY_SUFFIX, &cuts, &count,
								  &fault))
		trail_segment_raise(&fault);
	if (count > 0)
		cut = cuts[count - 1];
	free(cuts);
	if (cut <= plan->firsts[0])
		return true;
	trail_carry_path_in(path, trail_setting_directory, cut);
	if (!trail_carry_read(trail_setting_directory, cut, &carry, &fault))
		trail_segment_raise(&fault);
	if (!prune_is_signed(&carry))
	{
		/* Nothing was removed by it: that comes behind the signature. */
		if (trail_append_begin() == cut)
			ereport(ERROR, (errcode(ERRCODE_WARD_TRAIL_CORRUPT), errmsg("the trail is damaged"),
							errdetail("It begins before record " UINT64_FORMAT
									  ", but no signed record says that it was pruned there.",
									  cut),
							errhint("Run ward.verify_trail() to see what is wrong.")));
		prune_unlink(path);
		return true;
	}
	prune_guard_tag(&tag);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	trail_prune_plan_ask(plan);
	allowed = plan->firsts[plan->keep] >= cut;
	if (allowed)
		prune_remove(plan, cut);
	LockRelease(&tag, ExclusiveLock, false);
	return allowed;
}

/* ---------------------------------------------------------------- the prune */

/* Waits for transactions that may have looked at what is to go.  NULL, or what is waited for. */
static const char *
prune_wait_for_transactions(void)
{
	TimestampTz start = GetCurrentTimestamp();
	int count;
	VirtualTransactionId *others =
		GetCurrentVirtualXIDs(InvalidTransactionId, false, true, 0, &count);

	for (int i = 0; i < count; i++)
		while (!VirtualXactLock(others[i], false))
		{
			if (trail_prune_plan_late(start))
				return "a transaction that began before is still open";
			trail_prune_plan_wait(50);
		}
	return NULL;
}

static char *
prune_hex(const uint8 *bytes)
{
	char *text = palloc0(2 * TRAIL_HASH_LENGTH + 1);

	(void) hex_encode((const char *) bytes, TRAIL_HASH_LENGTH, text);
	return text;
}

/* The record, signed and on disk when it returns; false: it could not be signed in time. */
static bool
prune_tell(const PrunePlan *plan, const TrailCollected *collected)
{
	const TrailCarry *carry = &collected->carry;
	TimestampTz start = GetCurrentTimestamp();
	TrailSignerStatus signer;
	TrailPosition position;
	TrailField fields[] = {
		{"cut", psprintf(UINT64_FORMAT, carry->cut)},
		{"root", prune_hex(carry->root)},
		{"carry", prune_hex(carry->hash)},
		{"records", psprintf(UINT64_FORMAT, carry->cut - plan->firsts[0])},
		{"carried", psprintf(UINT64_FORMAT, carry->count)},
		{"bytes", psprintf(UINT64_FORMAT, trail_prune_plan_bytes(plan))},
		{"from", prune_time_text(collected->oldest)},
		{"until", prune_time_text(collected->newest)},
		{"retention", psprintf("%d s", trail_setting_retention)},
		{"role", OidIsValid(MyDatabaseId) ? GetUserNameFromId(GetSessionUserId(), false) : NULL}};

	position = trail_record_cluster_event(TRAIL_PRUNED, fields, lengthof(fields));
	if (position == TRAIL_POSITION_INVALID)
		return false;
	for (;;)
	{
		trail_signer_status(&signer);
		if (signer.signed_size > position)
			return true;
		if (trail_prune_plan_late(start))
			return false;
		trail_signer_want();
		trail_prune_plan_wait(50);
	}
}

/* Prunes as far as a plan goes; true: something was removed. */
static bool
prune_execute(PrunePlan *plan)
{
	TrailPosition first = plan->firsts[0];
	TrailPosition cut = plan->firsts[plan->keep];
	int keep = plan->keep;
	TrailCollected collected;
	TrailFault fault;
	LOCKTAG tag;
	const char *waits;
	char path[MAXPGPATH];

	trail_append_give_up(cut);
	trail_subject_key_forget();
	waits = prune_wait_for_transactions();
	if (waits != NULL)
	{
		plan->held = lappend(plan->held, pstrdup(waits));
		return false;
	}
	trail_collect(first, cut, trail_append_end(), &collected);
	trail_prune_plan_check_closed(plan, collected.databases);
	if (plan->keep < keep)
		return false;
	/* A clock was set back: a segment has younger records than the next one's beginning. */
	if (collected.newest > trail_append_now() - (int64) trail_setting_retention * USECS_PER_SEC)
	{
		plan->held = lappend(plan->held, psprintf("there are records as of %s in what is to go",
												  prune_time_text(collected.newest)));
		return false;
	}
	if (!trail_carry_write(&collected.carry, &fault))
		trail_segment_raise(&fault);
	trail_carry_path_in(path, trail_setting_directory, cut);

	prune_guard_tag(&tag);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	trail_prune_plan_ask(plan);
	if (plan->keep < keep)
	{
		prune_unlink(path);
		LockRelease(&tag, ExclusiveLock, false);
		return false;
	}
	if (!prune_tell(plan, &collected))
	{
		/* The record may yet be signed: the file stays, and the next attempt finds out. */
		plan->held = lappend(plan->held, "the signer did not sign the record of it");
		LockRelease(&tag, ExclusiveLock, false);
		return false;
	}
	prune_remove(plan, cut);
	LockRelease(&tag, ExclusiveLock, false);
	ereport(LOG, (errmsg("pruned the trail up to record " UINT64_FORMAT, cut),
				  errdetail("%d segments with evidence until %s are gone; " UINT64_FORMAT
							" records were carried over.",
							keep, prune_time_text(collected.newest), collected.carry.count)));
	return true;
}

static void
prune_leave(int code, Datum arg)
{
	uint32 mine = (uint32) MyProcPid;

	(void) pg_atomic_compare_exchange_u32(&prune_shared->running, &mine, 0);
}

static void
prune_note(const PrunePlan *plan, bool pruned)
{
	StringInfoData held;
	ListCell *cell;
	bool news;

	initStringInfo(&held);
	foreach (cell, plan->held)
		appendStringInfo(&held, "%s%s", held.len > 0 ? "; " : "", (char *) lfirst(cell));
	LWLockAcquire(prune_shared->lock, LW_EXCLUSIVE);
	news = strncmp(prune_shared->held, held.data, sizeof(prune_shared->held) - 1) != 0;
	strlcpy(prune_shared->held, held.data, sizeof(prune_shared->held));
	if (pruned)
		prune_shared->pruned_at = GetCurrentTimestamp();
	LWLockRelease(prune_shared->lock);
	if (news && held.len > 0 && trail_setting_retention > 0)
		ereport(LOG, (errmsg("the trail is not pruned as far as ward.retention allows"),
					  errdetail("%s.", held.data)));
}

/* What may go now. */
static void
prune_plan(PrunePlan *plan)
{
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("a standby does not prune its trail")));
	trail_prune_plan_by_age(plan);
	if (plan->keep > 0)
		trail_prune_plan_ask(plan);
}

/* Prunes what may go; true: something was removed. */
static bool
prune_run(PrunePlan *plan)
{
	volatile bool pruned = false;
	uint32 nobody = 0;

	/* Not to be waited for: it may wait for this transaction. */
	if (!pg_atomic_compare_exchange_u32(&prune_shared->running, &nobody, (uint32) MyProcPid))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("the trail is already being pruned"),
						errdetail("Process %u does so.", nobody),
						errhint("Look at ward.retention_status, and try again later.")));
	PG_ENSURE_ERROR_CLEANUP(prune_leave, (Datum) 0);
	{
		LWLockAcquire(prune_shared->lock, LW_EXCLUSIVE);
		prune_shared->looked_at = GetCurrentTimestamp();
		LWLockRelease(prune_shared->lock);
		prune_plan(plan);
		if (plan->count > 0)
			prune_tidy(plan);
		if (plan->keep > 0)
		{
			if (!prune_finish(plan))
				plan->held = lappend(plan->held, "an earlier prune can't be finished yet");
			else if (plan->firsts[0] < trail_append_begin())
				pruned = true; /* the rest goes the next time */
			else
				pruned = prune_execute(plan);
		}
		prune_note(plan, pruned);
	}
	PG_END_ENSURE_ERROR_CLEANUP(prune_leave, (Datum) 0);
	prune_leave(0, (Datum) 0);
	return pruned;
}

/* ---------------------------------------------------------------- by itself */

/* See index_int.h. */
bool
trail_prune_due(long *wait)
{
	TimestampTz looked_at;
	long interval = Min(600, Max(1, trail_setting_retention / 16)) * 1000L;
	long left;

	if (trail_setting_retention == 0)
		return false;
	LWLockAcquire(prune_shared->lock, LW_SHARED);
	looked_at = prune_shared->looked_at;
	LWLockRelease(prune_shared->lock);
	left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
										   TimestampTzPlusMilliseconds(looked_at, interval));
	if (left > interval)
		left = 0; /* the clock was set back */
	if (*wait < 0 || left < *wait)
		*wait = Max(left, 1000);
	return left == 0 && pg_atomic_read_u32(&prune_shared->running) == 0;
}

/* Did a crash leave files? */
static bool
prune_untidy(void)
{
	TrailPosition *cuts;
	TrailFault fault;
	int count;
	int fresh;

	if (!trail_segment_list_named(trail_setting_directory, TRAIL_CARRY_SUFFIX, &cuts, &count,
								  &fault))
		trail_segment_raise(&fault);
	free(cuts);
	if (!trail_segment_list_named(trail_setting_directory, TRAIL_CARRY_SUFFIX ".new", &cuts, &fresh,
								  &fault))
		trail_segment_raise(&fault);
	free(cuts);
	return count > 1 || fresh > 0;
}

/* Is there enough to go, or has it waited long enough? */
static bool
prune_worth(void)
{
	PrunePlan plan;
	uint64 all = 0;
	uint64 gone;

	trail_prune_plan_by_age(&plan);
	gone = trail_prune_plan_bytes(&plan);
	for (int i = 0; i < plan.count; i++)
		all += plan.bytes[i];
	if (prune_untidy())
		return true;
	return plan.keep > 0 &&
		   (gone >= all / PRUNE_SHARE ||
			plan.created[plan.keep] + (int64) trail_setting_retention * USECS_PER_SEC +
					(int64) PRUNE_AT_LEAST * USECS_PER_SEC <
				trail_append_now() ||
			plan.firsts[0] < trail_append_begin());
}

/* A process for one attempt; the launcher starts it. */
void
ward_trail_pruner(Datum arg)
{
	PrunePlan plan;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	StartTransactionCommand();
	LWLockAcquire(prune_shared->lock, LW_EXCLUSIVE);
	prune_shared->looked_at = GetCurrentTimestamp();
	LWLockRelease(prune_shared->lock);
	if (pg_atomic_read_u32(&prune_shared->running) == 0 && prune_worth())
		(void) prune_run(&plan);
	CommitTransactionCommand();
	proc_exit(0);
}

/* ---------------------------------------------------------------- SQL */

Datum
ward_prune_trail(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[8];
	bool nulls[8] = {false};
	PrunePlan plan;
	Datum *items;
	ListCell *cell;
	bool pruned = false;
	int n = 0;

	core_preload_require();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	(void) trail_append_end();
	if (PG_GETARG_BOOL(0))
		prune_plan(&plan);
	else
		pruned = prune_run(&plan);
	values[0] = BoolGetDatum(pruned);
	values[1] = Int32GetDatum(plan.keep);
	values[2] = Int64GetDatum(plan.count > 0 ? (int64) plan.firsts[plan.keep] : 0);
	values[3] =
		Int64GetDatum(plan.count > 0 ? (int64) (plan.firsts[plan.keep] - plan.firsts[0]) : 0);
	values[4] = Int64GetDatum((int64) trail_prune_plan_bytes(&plan));
	values[5] = TimestampTzGetDatum(plan.count > 0 ? prune_time(plan.created[0]) : 0);
	values[6] = TimestampTzGetDatum(plan.count > 0 ? prune_time(plan.created[plan.keep]) : 0);
	nulls[5] = nulls[6] = plan.keep == 0;
	items = palloc(sizeof(Datum) * Max(list_length(plan.held), 1));
	foreach (cell, plan.held)
		items[n++] = CStringGetTextDatum((char *) lfirst(cell));
	values[7] = PointerGetDatum(construct_array(items, n, TEXTOID, -1, false, TYPALIGN_INT));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* One row: where the trail begins, since when, and what held back the last prune. */
Datum
ward_retention_state(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[7];
	bool nulls[7] = {false};
	PrunePlan plan;
	Interval *retention = palloc0(sizeof(Interval));

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	(void) trail_append_end();
	trail_prune_plan_list(&plan);
	retention->time = (int64) trail_setting_retention * USECS_PER_SEC;
	values[0] = IntervalPGetDatum(retention);
	nulls[0] = trail_setting_retention == 0;
	values[1] = Int64GetDatum((int64) trail_append_begin());
	values[2] = TimestampTzGetDatum(plan.count > 0 ? prune_time(plan.created[0]) : 0);
	nulls[2] = plan.count == 0;
	LWLockAcquire(prune_shared->lock, LW_SHARED);
	values[3] = TimestampTzGetDatum(prune_shared->looked_at);
	nulls[3] = prune_shared->looked_at == 0;
	values[4] = TimestampTzGetDatum(prune_shared->pruned_at);
	nulls[4] = prune_shared->pruned_at == 0;
	values[5] = CStringGetTextDatum(prune_shared->held);
	nulls[5] = prune_shared->held[0] == '\0';
	LWLockRelease(prune_shared->lock);
	values[6] = BoolGetDatum(pg_atomic_read_u32(&prune_shared->running) != 0);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
