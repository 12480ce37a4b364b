/*
 * index_sync.c
 *		Waiting for the index, and making it again.
 *
 * An answer from an index that is behind would leave people out, so whoever asks
 * first waits until everything written before the call is folded, and gets an
 * error where that can't be had.  What counts is the position that the caller's
 * own snapshot sees in the index's table, not what a worker says.
 *
 * A standby's trail that can't be read stops nobody's answer about all the rest: a worker
 * tries it once more for each wait, and whoever waits is warned.
 */
#include "trail/index_int.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "access/xlog.h"

WARD_FUNCTION(ward_sync);
WARD_FUNCTION(ward_rebuild_index);
WARD_FUNCTION(ward_trail_end);
WARD_FUNCTION(ward_own_node);

/* What was written before the call: this server's records, and those that standbys delivered. */
typedef struct SyncTarget
{
	TrailPosition own;
	TrailPosition begin; /* what is before it was pruned */
	List *delivered;	 /* of SyncStandby */
} SyncTarget;

typedef struct SyncStandby
{
	const TrailReceived *trail;
	TrailPosition wanted;
	uint64 tries; /* before the call */
	bool stuck;	  /* since then it could not be read to its end */
} SyncStandby;

/*
 * Does the index, as a snapshot sees it, hold all of it?  If not, tells which trail it is
 * that it has not read to the end, and how far it is.
 */
static bool
index_sync_done(Snapshot snapshot, SyncTarget *target, TrailPosition *reached,
				TrailPosition *wanted)
{
	TrailIndexReached own = trail_index_fold_reached(snapshot, trail_index_source_node());
	ListCell *cell;

	*wanted = target->own;
	*reached = own.position;
	if (own.position < target->own || own.pruned < target->begin)
		return false;
	foreach (cell, target->delivered)
	{
		SyncStandby *standby = lfirst(cell);
		TrailIndexReached it = trail_index_fold_reached(snapshot, standby->trail->name);

		if (it.position >= standby->wanted)
			continue;
		if (it.stuck && it.tries > standby->tries)
		{
			/* A snapshot that is older than this one has to see as much. */
			standby->stuck = true;
			standby->wanted = it.position;
			continue;
		}
		*reached = it.position;
		*wanted = standby->wanted;
		return false;
	}
	return true;
}

static bool
index_sync_latest(SyncTarget *target, TrailPosition *reached, TrailPosition *wanted)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool done = index_sync_done(snapshot, target, reached, wanted);

	UnregisterSnapshot(snapshot);
	return done;
}

/* What was written before now. */
static void
index_sync_begin(SyncTarget *target)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	ListCell *cell;
	List *trails = trail_receive_list();

	target->own = trail_append_end();
	target->begin = trail_append_begin();
	target->delivered = NIL;
	foreach (cell, trails)
	{
		SyncStandby *standby = palloc0(sizeof(SyncStandby));

		standby->trail = lfirst(cell);
		standby->wanted = standby->trail->accepted;
		/* With a snapshot for the whole transaction, what another try brings is not seen. */
		if (!IsolationUsesXactSnapshot())
			standby->tries = trail_index_fold_reached(snapshot, standby->trail->name).tries;
		target->delivered = lappend(target->delivered, standby);
	}
	UnregisterSnapshot(snapshot);
}

static void
index_sync_warn(const SyncTarget *target)
{
	ListCell *cell;

	foreach (cell, target->delivered)
	{
		const SyncStandby *standby = lfirst(cell);

		if (standby->stuck)
			ereport(
				WARNING,
				(errmsg("the trail that a standby delivered can't be read to its end"),
				 errdetail("Node %s: from record " UINT64_FORMAT " of " UINT64_FORMAT
						   " on. Who read what there then is in no answer.",
						   standby->trail->name, standby->wanted, standby->trail->accepted),
				 errhint(
					 "ward.index_status and ward.verify_standby() say what is wrong with it.")));
	}
}

static void
index_sync_behind(TrailPosition reached, TrailPosition target, const TrailIndexReport *report)
{
	ereport(ERROR,
			(errcode(ERRCODE_WARD_INDEX_BEHIND), errmsg("the index of the trail is behind"),
			 errdetail("It has reached record " UINT64_FORMAT " of " UINT64_FORMAT ".", reached,
					   target),
			 !report->launcher
				 ? errhint("The index launcher is not running; the server log says why.")
			 : report->outcome == TRAIL_INDEX_NO_EXTENSION
				 ? errhint("If this transaction created the extension, commit it first.")
			 : report->no_slot
				 ? errhint("No background worker could be started; raise max_worker_processes.")
			 : report->outcome == TRAIL_INDEX_FAILED
				 ? errhint("The index worker failed; the server log says why.")
				 : errhint("Ask again, or raise ward.sync_timeout.")));
}

Datum
ward_sync(PG_FUNCTION_ARGS)
{
	SyncTarget target;
	TrailPosition reached;
	TrailPosition wanted;
	TimestampTz start = GetCurrentTimestamp();
	TrailIndexReport before;

	core_preload_require();
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("a standby does not index the trail"), errhint("Ask the primary.")));

	index_sync_begin(&target);
	before = trail_index_table_report(MyDatabaseId);
	for (;;)
	{
		TrailIndexReport report;
		bool late;

		CHECK_FOR_INTERRUPTS();
		if (index_sync_latest(&target, &reached, &wanted))
			break;
		(void) trail_index_table_want(MyDatabaseId, true);
		report = trail_index_table_report(MyDatabaseId);
		late = trail_setting_sync_timeout > 0 &&
			   TimestampDifferenceExceeds(start, GetCurrentTimestamp(), trail_setting_sync_timeout);
		/* A worker that came and found no extension will find none next time either. */
		if (late || (report.runs > before.runs && report.outcome == TRAIL_INDEX_NO_EXTENSION))
		{
			trail_index_table_wait_done();
			if (!index_sync_latest(&target, &reached, &wanted))
				index_sync_behind(reached, wanted, &report);
			break;
		}
		trail_index_table_wait(100);
	}
	trail_index_table_wait_done();

	/*
	 * In READ COMMITTED the caller's next statement sees what was folded.  With a
	 * snapshot for the whole transaction it might not, and would answer from an
	 * older index without a word.
	 */
	if (IsolationUsesXactSnapshot())
	{
		if (!index_sync_done(GetTransactionSnapshot(), &target, &reached, &wanted))
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("this transaction's snapshot is older than the evidence"),
							errdetail("It sees the index up to record " UINT64_FORMAT
									  " of " UINT64_FORMAT ".",
									  reached, wanted),
							errhint("Use a READ COMMITTED transaction, or start a new one after "
									"SELECT ward.sync().")));
	}
	index_sync_warn(&target);
	PG_RETURN_INT64((int64) reached);
}

Datum
ward_rebuild_index(PG_FUNCTION_ARGS)
{
	core_preload_require();
	PreventCommandIfReadOnly("ward.rebuild_index()");
	PreventCommandDuringRecovery("ward.rebuild_index()");
	trail_index_fold_restart();
	(void) trail_index_table_want(MyDatabaseId, false);
	PG_RETURN_INT64((int64) trail_append_end());
}

Datum
ward_trail_end(PG_FUNCTION_ARGS)
{
	core_preload_require();
	PG_RETURN_INT64((int64) trail_append_end());
}

Datum
ward_own_node(PG_FUNCTION_ARGS)
{
	core_preload_require();
	PG_RETURN_TEXT_P(cstring_to_text(trail_index_source_node()));
}
