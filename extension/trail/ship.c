/*
 * ship.c
 *		The process by which a standby delivers its trail to the primary.
 *
 * It sends what is written, segment by segment, from where the primary says that its copy
 * ends, and remembers nothing itself: whatever dies in between, both ends agree again by
 * the primary's answer.  Nothing is removed here, delivered or not.
 *
 * Fail open: that the primary can't be reached stops no statement on the standby, whose
 * evidence is in its own trail before the rows leave.  It is logged, told by an event
 * "trail.shipping_failed", and shown in ward.shipping_status; the primary tells that it
 * knows this standby's reads only up to a time (I7).
 *
 * What is sent was flushed to disk before: otherwise a power failure here could leave the
 * primary with records that this trail goes on without.
 *
 * Locks: "WardTrail" 4 guards the status in shared memory; nothing is called under it.
 */
#include "trail/trail_int.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* Bytes of a delivery; more only where one record is longer. */
#define SHIP_BATCH (1024 * 1024)
#define SHIP_NAP_MS 500
#define SHIP_BACKOFF_MAX_MS 10000
/* What is delivered and not signed waits so long at most. */
#define SHIP_SIGN_MS 2000

extern PGDLLEXPORT void ward_trail_shipper(Datum arg);
WARD_FUNCTION(ward_shipping_state);

typedef struct ShipShared
{
	LWLock *lock;
	bool running;
	bool connected;
	bool known;				 /* what the primary has */
	TrailPosition accepted;	 /* records */
	uint64 left;			 /* bytes that are not delivered */
	TimestampTz complete_at; /* when all was delivered; 0: not since the start */
	char problem[256];
} ShipShared;

static ShipShared *ship_shared = NULL;

/* Where the primary awaits the next bytes, by its last answer. */
static bool ship_known = false;
static bool ship_met = false; /* it has answered before: what it then had, it has */
static TrailLinkAnswer ship_answer;
static char ship_node[TRAIL_NODE_TEXT];
static TimestampTz ship_wanted_at;

Size
trail_ship_shmem_size(void)
{
	return MAXALIGN(sizeof(ShipShared));
}

/* Called with AddinShmemInitLock held. */
void
trail_ship_shmem_init(LWLock *lock)
{
	bool found;

	ship_shared = ShmemInitStruct("pg_ward ship", trail_ship_shmem_size(), &found);
	if (!found)
	{
		memset(ship_shared, 0, sizeof(*ship_shared));
		ship_shared->lock = lock;
	}
}

void
trail_ship_register(void)
{
	trail_worker_register("ward_trail_shipper", "pg_ward trail shipper", false);
}

/* ---------------------------------------------------------------- telling */

/* What stops it; NULL: nothing any more. */
static void
trail_ship_problem(const char *problem)
{
	TrailField field = {"problem", problem};
	bool news;
	bool failed_before;

	LWLockAcquire(ship_shared->lock, LW_EXCLUSIVE);
	failed_before = ship_shared->problem[0] != '\0';
	news = strcmp(ship_shared->problem, problem != NULL ? problem : "") != 0;
	strlcpy(ship_shared->problem, problem != NULL ? problem : "", sizeof(ship_shared->problem));
	LWLockRelease(ship_shared->lock);
	if (!news)
		return;
	if (problem != NULL)
		ereport(WARNING,
				(errmsg("this standby's trail can't be delivered to the primary"),
				 errdetail("%s.", problem),
				 errhint("It is kept and tried again. Until then the primary does not know who "
						 "read what here.")));
	else
		ereport(LOG, (errmsg("this standby's trail is delivered to the primary again")));
	if ((problem != NULL) != failed_before)
		trail_record_event_logged(problem != NULL ? "trail.shipping_failed"
												  : "trail.shipping_resumed",
								  &field, problem != NULL ? 1 : 0);
}

static bool
trail_ship_fault(char *problem, Size room, const TrailFault *fault)
{
	snprintf(problem, room, "%s: %s%s%s", fault->path, fault->what, fault->errnum != 0 ? ": " : "",
			 fault->errnum != 0 ? strerror(fault->errnum) : "");
	return false;
}

/* ---------------------------------------------------------------- what to send */

/* A segment's size, as far as it is written; 0: there is none. */
static uint64
trail_ship_size(const TrailState *state, TrailPosition first)
{
	char path[MAXPGPATH];
	struct stat st;

	trail_segment_path(path, first);
	if (stat(path, &st) != 0)
		return 0;
	return first == state->segment ? state->offset : (uint64) st.st_size;
}

/* How many bytes the primary has not got. */
static uint64
trail_ship_left(const TrailState *state)
{
	TrailPosition *firsts;
	TrailFault fault;
	uint64 left = 0;
	int count;

	if (!trail_segment_list(&firsts, &count, &fault))
		return 0;
	for (int i = 0; i < count; i++)
	{
		uint64 size = firsts[i] <= state->segment ? trail_ship_size(state, firsts[i]) : 0;

		if (firsts[i] > ship_answer.segment)
			left += size;
		else if (firsts[i] == ship_answer.segment)
			left += size > ship_answer.offset ? size - ship_answer.offset : 0;
	}
	free(firsts);
	return left;
}

/*
 * Finds where to go on, at the present segment's next byte or at the next segment.
 * False: nothing is left (problem stays empty), or it can't be.
 */
static bool
trail_ship_place(const TrailState *state, TrailPosition *segment, uint64 *offset, uint64 *limit,
				 char *problem, Size room)
{
	TrailPosition *firsts;
	TrailFault fault;
	int count;
	int at;
	bool found = false;

	*segment = ship_answer.segment;
	*offset = ship_answer.offset;
	*limit = trail_ship_size(state, *segment);
	if (*segment > state->segment || *offset > *limit)
	{
		snprintf(problem, room,
				 "the primary has more of this trail than this server: the trail was cut, or "
				 "restored from an older copy");
		return false;
	}
	if (*offset < *limit)
		return true;
	if (*segment == state->segment && *offset > 0)
		return false;
	if (!trail_segment_list(&firsts, &count, &fault))
		return trail_ship_fault(problem, room, &fault);
	for (at = 0; at < count && !found; at++)
		if (firsts[at] > *segment || (*offset == 0 && firsts[at] == *segment))
		{
			*segment = firsts[at];
			*offset = 0;
			found = true;
		}
	free(firsts);
	*limit = trail_ship_size(state, *segment);
	if (!found || *limit == 0)
		snprintf(problem, room, "the segment that the primary awaits is not there");
	return found && *limit > 0;
}

/* Reads whole records from there on; the bytes are malloc'd. */
static char *
trail_ship_read(TrailPosition segment, uint64 offset, uint64 limit, Size *length, char *problem,
				Size room)
{
	TrailFault fault;
	TrailScan scan;
	TrailFrameState state = TRAIL_FRAME_WHOLE;
	char *bytes = NULL;
	const char *leaf;
	Size len;
	int fd = trail_segment_open(segment, O_RDONLY, &fault);

	if (fd < 0)
	{
		(void) trail_ship_fault(problem, room, &fault);
		return NULL;
	}
	trail_segment_scan_begin(&scan, fd, segment,
							 offset > 0 ? offset : trail_segment_header_length(segment), limit);
	while (state == TRAIL_FRAME_WHOLE && scan.offset < limit && scan.offset - offset < SHIP_BATCH)
		state = trail_segment_scan_next(&scan, &leaf, &len, &fault);
	*length = scan.offset - offset;
	if (state != TRAIL_FRAME_WHOLE && scan.offset == offset)
		snprintf(problem, room,
				 "this trail has no record where the primary's copy of it ends: it was restored "
				 "from an older copy, or is damaged");
	else if (state != TRAIL_FRAME_WHOLE)
		snprintf(problem, room, "this server's trail is damaged: segment %016llx, byte %llu",
				 (unsigned long long) segment, (unsigned long long) scan.offset);
	else if ((bytes = malloc(*length)) == NULL ||
			 pg_pread(fd, bytes, *length, (off_t) offset) != (ssize_t) *length)
	{
		snprintf(problem, room, "this server's trail can't be read: segment %016llx",
				 (unsigned long long) segment);
		free(bytes);
		bytes = NULL;
	}
	trail_segment_scan_end(&scan);
	close(fd);
	return bytes;
}

/* ---------------------------------------------------------------- sending */

static void
trail_ship_show(const TrailState *state, bool complete)
{
	uint64 left = ship_met ? trail_ship_left(state) : 0;

	LWLockAcquire(ship_shared->lock, LW_EXCLUSIVE);
	ship_shared->running = true;
	ship_shared->known = ship_met;
	ship_shared->accepted = ship_answer.accepted;
	ship_shared->left = left;
	ship_shared->connected = complete;
	if (complete)
		ship_shared->complete_at = GetCurrentTimestamp();
	LWLockRelease(ship_shared->lock);
}

/* The backlog grows while nothing is delivered, too. */
static void
trail_ship_look(void)
{
	TrailState state;
	TrailFault fault;

	if (trail_append_peek(&state, &fault))
		trail_ship_show(&state, false);
}

/* One delivery; false: nothing is left (problem stays empty), or it failed. */
static bool
trail_ship_step(const TrailState *state, char *problem, Size room)
{
	TrailPosition segment;
	uint64 offset;
	uint64 limit;
	uint64 left = trail_ship_left(state);
	Size length;
	char *bytes;
	bool done;
	TrailLinkAnswer before = ship_answer;

	if (!trail_ship_place(state, &segment, &offset, &limit, problem, room))
		return false;
	bytes = trail_ship_read(segment, offset, limit, &length, problem, room);
	if (bytes == NULL)
		return false;
	done = trail_link_deliver(ship_node, segment, offset, bytes, length, state->tree.size,
							  left > length ? left - length : 0, &ship_answer, problem, room);
	free(bytes);
	if (!done)
		ship_known = false;
	else if (before.segment == ship_answer.segment && before.offset == ship_answer.offset)
	{
		snprintf(problem, room, "the primary does not take what follows its copy of this trail");
		return false;
	}
	return done;
}

/* Delivers all that was written before the call; false: it failed. */
static bool
trail_ship_round(char *problem, Size room)
{
	TrailState state;
	TrailFault fault;
	TrailSignerStatus signer;

	if (!trail_append_sync(&fault) || !trail_append_peek(&state, &fault))
		return trail_ship_fault(problem, room, &fault);
	for (int i = 0; i < TRAIL_NODE_LENGTH; i++)
		snprintf(ship_node + 2 * i, 3, "%02x", state.node[i]);
	if (!trail_link_open(problem, room))
		return false;
	/* A greeting: where does its copy end? */
	if (!ship_known && !trail_link_deliver(ship_node, 0, 0, "", 0, state.tree.size, state.bytes,
										   &ship_answer, problem, room))
		return false;
	ship_known = ship_met = true;
	while (!ShutdownRequestPending && trail_ship_step(&state, problem, room))
		trail_ship_show(&state, false);
	trail_ship_show(&state, problem[0] == '\0');
	if (problem[0] != '\0')
		return false;
	trail_signer_status(&signer);
	if (state.tree.size > signer.signed_size + 1 &&
		TimestampDifferenceExceeds(ship_wanted_at, GetCurrentTimestamp(), SHIP_SIGN_MS))
	{
		ship_wanted_at = GetCurrentTimestamp();
		trail_signer_want();
	}
	return true;
}

/* ---------------------------------------------------------------- the process */

static void
trail_ship_leave(int code, Datum arg)
{
	trail_link_close();
	LWLockAcquire(ship_shared->lock, LW_EXCLUSIVE);
	ship_shared->running = ship_shared->connected = false;
	LWLockRelease(ship_shared->lock);
}

void
ward_trail_shipper(Datum arg)
{
	long backoff = 0;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	before_shmem_exit(trail_ship_leave, (Datum) 0);
	while (!ShutdownRequestPending)
	{
		char problem[256] = "";

		/* Promoted, or never a standby: its trail is indexed here. */
		if (!RecoveryInProgress())
			proc_exit(0);
		ResetLatch(MyLatch);
		if (trail_setting_conninfo == NULL || trail_setting_conninfo[0] == '\0')
		{
			trail_link_close();
			ship_known = false;
			trail_ship_look();
			backoff = 0;
		}
		else if (trail_ship_round(problem, sizeof(problem)))
		{
			trail_ship_problem(NULL);
			backoff = 0;
		}
		else if (!ShutdownRequestPending)
		{
			trail_link_close();
			ship_known = false;
			trail_ship_problem(problem);
			trail_ship_look();
			backoff = Min(Max(1000, backoff * 2), SHIP_BACKOFF_MAX_MS);
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Max(backoff, SHIP_NAP_MS), PG_WAIT_EXTENSION);
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			trail_link_close();
			ship_known = false;
			backoff = 0;
		}
	}
	/* Not 0: one that was merely terminated is to be started again. */
	proc_exit(1);
}

/* ---------------------------------------------------------------- SQL */

/* One row: how far this standby's trail was delivered. */
Datum
ward_shipping_state(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[8];
	bool nulls[8] = {false};
	TrailState state;
	ShipShared ship;

	core_preload_require();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	trail_append_state(&state);
	LWLockAcquire(ship_shared->lock, LW_SHARED);
	ship = *ship_shared;
	LWLockRelease(ship_shared->lock);
	values[0] = BoolGetDatum(RecoveryInProgress());
	values[1] = BoolGetDatum(trail_setting_conninfo != NULL && trail_setting_conninfo[0] != '\0');
	values[2] = BoolGetDatum(ship.connected);
	values[3] = Int64GetDatum((int64) state.tree.size);
	values[4] = Int64GetDatum((int64) ship.accepted);
	values[5] = Int64GetDatum((int64) ship.left);
	nulls[4] = nulls[5] = !ship.known;
	values[6] = TimestampTzGetDatum(ship.complete_at);
	nulls[6] = ship.complete_at == 0;
	values[7] = CStringGetTextDatum(ship.problem);
	nulls[7] = ship.problem[0] == '\0';
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
