/*
 * gap.c
 *		ward.on_trail_failure = allow: statements go on without evidence, and the trail
 *		says from when to when.
 *
 * This is the one way in which I2 can be given up, and only a superuser can choose it.
 * What it costs is told: a WARNING in the log and to whoever runs the statement, and,
 * as soon as the trail can be written again, an event trail.gap (I7).  A file in the
 * data directory remembers the gap's begin over a crash.  A gap that is still open is
 * told by _ward.trail_gaps_known(), and so are the last that were told: an answer's
 * snapshot of the index may be older than the event by a moment.
 *
 * Locks: a spinlock for what was told; else atomics.  Whoever loses a record counts it
 * before it looks whether the gap is open, and whoever closes the gap looks at the count
 * after: so no loss is left outside of every gap.  Nothing here raises, but for what
 * recording the event does.
 */
#include "trail/trail_int.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "funcapi.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "port/atomics.h"
#include "storage/fd.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

WARD_FUNCTION(ward_trail_gaps_known);

/* Relative to the data directory. */
#define GAP_FILE "ward_trail.gap"
#define GAP_TIME_MAX 64
#define GAP_TOLD 16

/* A gap that the trail tells. */
typedef struct GapTold
{
	TimestampTz from; /* 0: none */
	TimestampTz until;
	uint64 lost;
	TrailPosition position;
} GapTold;

typedef struct GapShared
{
	pg_atomic_uint32 open;
	pg_atomic_uint32 closing; /* somebody tries to record it */
	pg_atomic_uint64 lost;	  /* records since; those before a crash are not counted */
	pg_atomic_uint64 from;	  /* TimestampTz of its begin */
	slock_t mutex;			  /* guards what follows */
	uint64 ntold;
	GapTold told[GAP_TOLD]; /* the last ones, in a ring */
} GapShared;

static GapShared *gap_shared = NULL;

/* This process is recording the gap: what fails of that is no loss of its own. */
static bool gap_closing = false;

Size
trail_gap_shmem_size(void)
{
	return MAXALIGN(sizeof(GapShared));
}

/* In UTC and always in the same form: an index of any session's settings reads it. */
static void
trail_gap_time(char text[GAP_TIME_MAX], TimestampTz at)
{
	struct pg_tm tm;
	fsec_t fsec;

	if (TIMESTAMP_NOT_FINITE(at) || timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)
		strlcpy(text, "unknown", GAP_TIME_MAX);
	else
		snprintf(text, GAP_TIME_MAX, "%04d-%02d-%02d %02d:%02d:%02d.%06d+00", tm.tm_year, tm.tm_mon,
				 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int) fsec);
}

/* Called with AddinShmemInitLock held. */
void
trail_gap_shmem_init(void)
{
	bool found;
	struct stat st;

	gap_shared = ShmemInitStruct("pg_ward gap", trail_gap_shmem_size(), &found);
	if (found)
		return;
	SpinLockInit(&gap_shared->mutex);
	gap_shared->ntold = 0;
	memset(gap_shared->told, 0, sizeof(gap_shared->told));
	pg_atomic_init_u32(&gap_shared->open, 0);
	pg_atomic_init_u32(&gap_shared->closing, 0);
	pg_atomic_init_u64(&gap_shared->lost, 0);
	pg_atomic_init_u64(&gap_shared->from, (uint64) DT_NOBEGIN);
	if (stat(GAP_FILE, &st) != 0)
		return;
	/*
	 * Left by a crash.  It was made when the gap began, and written once, which a full
	 * disk may have kept from happening: its time says the same, without the fraction.
	 */
	pg_atomic_write_u64(&gap_shared->from, (uint64) time_t_to_timestamptz(st.st_mtime));
	pg_atomic_write_u32(&gap_shared->open, 1);
}

static bool
trail_gap_begin(TimestampTz from)
{
	uint32 closed = 0;
	char text[GAP_TIME_MAX];
	int fd;

	if (!pg_atomic_compare_exchange_u32(&gap_shared->open, &closed, 1))
		return false;
	pg_atomic_write_u64(&gap_shared->from, (uint64) from);
	trail_gap_time(text, from);
	/* Where even this can't be written, a crash forgets the gap; its start is a blind spot. */
	fd = BasicOpenFilePerm(GAP_FILE, O_RDWR | O_CREAT | O_EXCL | PG_BINARY, S_IRUSR | S_IWUSR);
	if (fd < 0)
		return true;
	if (pg_pwrite(fd, text, strlen(text), 0) < 0 || pg_fsync(fd) != 0)
		ereport(LOG, (errcode_for_file_access(), errmsg("could not write \"%s\": %m", GAP_FILE)));
	close(fd);
	return true;
}

/*
 * May this go on without a record?  False: the caller raises the fault.  True: it is
 * noted, and told.
 */
bool
trail_gap_allows(const TrailFault *fault)
{
	static int told = 0;
	bool first;

	if (trail_setting_on_failure != TRAIL_ON_FAILURE_ALLOW)
		return false;
	if (gap_closing)
		return true;
	pg_atomic_fetch_add_u64(&gap_shared->lost, 1);
	first = trail_gap_begin(GetCurrentTimestamp());
	/* Once a process and gap. */
	if (!first && told == MyProcPid)
		return true;
	told = MyProcPid;
	ereport(
		WARNING,
		(errcode(fault->sqlerrcode), errmsg("going on without evidence"),
		 errdetail("File or directory \"%s\": %s.", fault->path, fault->what),
		 errhint("ward.on_trail_failure is set to allow: what is disclosed now is not recorded. "
				 "The trail will say from when to when.")));
	return true;
}

/* The trail can be written: if there was a gap, says so.  Raises WD3xx. */
void
trail_gap_close(void)
{
	char from[GAP_TIME_MAX];
	char until[GAP_TIME_MAX];
	char lost[32];
	TrailField fields[3] = {{"from", from}, {"until", until}, {"records_lost", lost}};
	GapTold told;
	volatile TrailPosition recorded = TRAIL_POSITION_INVALID;
	uint32 idle = 0;

	if (likely(pg_atomic_read_u32(&gap_shared->open) == 0))
		return;
	if (gap_closing || !pg_atomic_compare_exchange_u32(&gap_shared->closing, &idle, 1))
		return;
	told.lost = pg_atomic_read_u64(&gap_shared->lost);
	told.from = (TimestampTz) pg_atomic_read_u64(&gap_shared->from);
	told.until = GetCurrentTimestamp();
	trail_gap_time(from, told.from);
	trail_gap_time(until, told.until);
	snprintf(lost, sizeof(lost), UINT64_FORMAT, told.lost);
	gap_closing = true;
	PG_TRY();
	{
		recorded = trail_record_started("trail.gap", fields, 3);
	}
	PG_FINALLY();
	{
		gap_closing = false;
		if (recorded != TRAIL_POSITION_INVALID)
		{
			told.position = recorded;
			SpinLockAcquire(&gap_shared->mutex);
			gap_shared->told[gap_shared->ntold++ % GAP_TOLD] = told;
			SpinLockRelease(&gap_shared->mutex);
		}
		/* What others lost meanwhile keeps it open: the next event tells all of it. */
		if (recorded != TRAIL_POSITION_INVALID &&
			pg_atomic_sub_fetch_u64(&gap_shared->lost, (int64) told.lost) == 0)
		{
			(void) unlink(GAP_FILE);
			pg_atomic_write_u32(&gap_shared->open, 0);
			/* Somebody may have lost one and found the gap open, just before. */
			pg_memory_barrier();
			if (pg_atomic_read_u64(&gap_shared->lost) > 0)
				(void) trail_gap_begin(told.until);
		}
		pg_atomic_write_u32(&gap_shared->closing, 0);
	}
	PG_END_TRY();
	if (recorded != TRAIL_POSITION_INVALID)
		ereport(LOG, (errmsg("evidence is written again"),
					  errdetail("There is a gap in the trail from %s until %s.", from, until)));
}

/*
 * The same for the signer, which raises nothing: what a checkpoint signs, and a standby
 * is known by, must not go past a gap that is not told.
 */
void
trail_gap_try_close(void)
{
	MemoryContext old = CurrentMemoryContext;

	if (pg_atomic_read_u32(&gap_shared->open) == 0)
		return;
	PG_TRY();
	{
		(void) trail_append_ensure();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(old);
		FlushErrorState();
	}
	PG_END_TRY();
}

static void
trail_gap_row(ReturnSetInfo *result, const GapTold *gap, bool open)
{
	Datum values[4];
	bool nulls[4] = {false};

	values[0] = TimestampTzGetDatum(gap->from);
	values[1] = TimestampTzGetDatum(gap->until);
	values[2] = Int64GetDatum((int64) gap->lost);
	values[3] = Int64GetDatum((int64) gap->position);
	nulls[1] = nulls[3] = open;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* The gap that is open now, without an end, and the last ones that the trail tells. */
Datum
ward_trail_gaps_known(PG_FUNCTION_ARGS)
{
	GapTold told[GAP_TOLD];
	bool open;

	core_preload_require();
	InitMaterializedSRF(fcinfo, 0);
	/* First: one that is told meanwhile is then among those. */
	open = pg_atomic_read_u32(&gap_shared->open) != 0;
	if (open)
	{
		GapTold now = {.from = (TimestampTz) pg_atomic_read_u64(&gap_shared->from),
					   .lost = pg_atomic_read_u64(&gap_shared->lost)};

		trail_gap_row((ReturnSetInfo *) fcinfo->resultinfo, &now, true);
	}
	SpinLockAcquire(&gap_shared->mutex);
	memcpy(told, gap_shared->told, sizeof(told));
	SpinLockRelease(&gap_shared->mutex);
	for (int i = 0; i < GAP_TOLD; i++)
		if (told[i].from != 0)
			trail_gap_row((ReturnSetInfo *) fcinfo->resultinfo, &told[i], false);
	return (Datum) 0;
}
