/*
 * gap.c
 *		ward.on_trail_failure = allow: statements go on without evidence, and the trail
 *		says from when to when.
 *
 * This is the one way in which I2 can be given up, and only a superuser can choose it.
 * What it costs is told: a WARNING in the log and to whoever runs the statement, and,
 * as soon as the trail can be written again, an event trail.gap (I7).  A file in the
 * data directory remembers the gap's begin over a crash.
 *
 * No locks: two atomics.  Nothing here raises, but for what recording the event does.
 */
#include "trail/trail_int.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/fd.h"
#include "storage/shmem.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

/* Relative to the data directory. */
#define GAP_FILE "ward_trail.gap"

typedef struct GapShared
{
	pg_atomic_uint32 open;
	pg_atomic_uint32 closing; /* somebody tries to record it */
	pg_atomic_uint64 lost;	  /* records since; those before a crash are not counted */
} GapShared;

static GapShared *gap_shared = NULL;

/* This process is recording the gap: what fails of that is no loss of its own. */
static bool gap_closing = false;

Size
trail_gap_shmem_size(void)
{
	return MAXALIGN(sizeof(GapShared));
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
	pg_atomic_init_u32(&gap_shared->open, stat(GAP_FILE, &st) == 0 ? 1 : 0);
	pg_atomic_init_u32(&gap_shared->closing, 0);
	pg_atomic_init_u64(&gap_shared->lost, 0);
}

static bool
trail_gap_begin(void)
{
	uint32 closed = 0;
	const char *now;
	int fd;

	if (!pg_atomic_compare_exchange_u32(&gap_shared->open, &closed, 1))
		return false;
	now = timestamptz_to_str(GetCurrentTimestamp());
	/* Where even this can't be written, the gap's event has no begin after a crash. */
	fd = BasicOpenFilePerm(GAP_FILE, O_RDWR | O_CREAT | O_EXCL | PG_BINARY, S_IRUSR | S_IWUSR);
	if (fd < 0)
		return true;
	if (pg_pwrite(fd, now, strlen(now), 0) < 0 || pg_fsync(fd) != 0)
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
	first = trail_gap_begin();
	pg_atomic_fetch_add_u64(&gap_shared->lost, 1);
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
	char from[MAXDATELEN + 1] = "";
	char until[MAXDATELEN + 1];
	char lost[32];
	TrailField fields[3];
	uint64 count;
	volatile bool recorded = false;
	uint32 idle = 0;
	int fd;

	if (likely(pg_atomic_read_u32(&gap_shared->open) == 0))
		return;
	if (gap_closing || !pg_atomic_compare_exchange_u32(&gap_shared->closing, &idle, 1))
		return;
	count = pg_atomic_read_u64(&gap_shared->lost);
	fd = BasicOpenFile(GAP_FILE, O_RDONLY | PG_BINARY);
	if (fd >= 0)
	{
		ssize_t got = pg_pread(fd, from, MAXDATELEN, 0);

		from[Max(got, 0)] = '\0';
		close(fd);
	}
	strlcpy(until, timestamptz_to_str(GetCurrentTimestamp()), sizeof(until));
	snprintf(lost, sizeof(lost), UINT64_FORMAT, count);
	fields[0].name = "from";
	fields[0].value = from[0] != '\0' ? from : NULL;
	fields[1].name = "until";
	fields[1].value = until;
	fields[2].name = "records_lost";
	fields[2].value = lost;
	gap_closing = true;
	PG_TRY();
	{
		recorded = trail_record_started("trail.gap", fields, 3) != TRAIL_POSITION_INVALID;
	}
	PG_FINALLY();
	{
		gap_closing = false;
		if (recorded)
		{
			/* What others lost meanwhile begins the next gap, and is told with it. */
			(void) unlink(GAP_FILE);
			pg_atomic_fetch_sub_u64(&gap_shared->lost, (int64) count);
			pg_atomic_write_u32(&gap_shared->open, 0);
		}
		pg_atomic_write_u32(&gap_shared->closing, 0);
	}
	PG_END_TRY();
	if (recorded)
		ereport(LOG, (errmsg("evidence is written again"),
					  errdetail("There is a gap in the trail from %s until %s.",
								from[0] != '\0' ? from : "an unknown time", until)));
}
