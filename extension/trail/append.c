/*
 * append.c
 *		Shared state of the trail, and appending.
 *
 * Invariants: what append() has returned for is in the kernel (or on disk), in
 * order, and a leaf of the tree.  Shared state is changed only after the bytes are
 * written, in a few assignments under the lock, so that an error leaves it as it
 * was; bytes of a failed write lie behind the recorded end, where the next append
 * overwrites them.
 *
 * Locks: one LWLock ("WardTrail") guards everything but the atomics; a second one
 * ("WardTrailSync") lets one backend flush for all that wait (group commit).  The
 * first is never taken while holding the second but for a moment to read the end.
 * Nothing is raised under a lock: faults are described, and raised after.
 *
 * Fail closed: whatever goes wrong, the caller gets an error of class WD3xx and
 * must not let its rows leave.  Each append tries again, so that work resumes by
 * itself once the cause is gone.
 */
#include "trail/append_int.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/s_lock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

static TrailShared *shared = NULL;

/* How long a look at the file is believed, microseconds; see trail_append_check(). */
#define APPEND_BELIEVED 250
/* Tries before sleeping on the lock: its holder is done within two microseconds. */
#define APPEND_SPINS 50

/* This process's descriptor of the segment that it last wrote. */
static int append_fd = -1;
static TrailPosition append_fd_segment;
static ino_t append_fd_inode;
static dev_t append_fd_device;
static int64 append_checked = 0; /* when this process last looked, by the record's time */

Size
trail_append_shmem_size(void)
{
	return MAXALIGN(sizeof(TrailShared));
}

/* Called with AddinShmemInitLock held. */
void
trail_append_shmem_init(void)
{
	bool found;

	shared = ShmemInitStruct("pg_ward trail", trail_append_shmem_size(), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(*shared));
		shared->lock = &GetNamedLWLockTranche("WardTrail")[0].lock;
		shared->sync_lock = &GetNamedLWLockTranche("WardTrail")[1].lock;
		pg_atomic_init_u64(&shared->end, 0);
		pg_atomic_init_u64(&shared->synced, 0);
		pg_atomic_init_u64(&shared->floor, 0);
		pg_atomic_init_u64(&shared->begin, 0);
		/* Here, because a standby that is promoted later looks like its primary. */
		shared->foreign = !trail_marker_leave(&shared->why);
	}
}

int64
trail_append_now(void)
{
	/* Unix epoch on disk: a stranger's tools need not know PostgreSQL's. */
	return GetCurrentTimestamp() +
		   (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

static void
trail_append_close(void)
{
	if (append_fd >= 0)
	{
		close(append_fd);
		ReleaseExternalFD();
		append_fd = -1;
	}
}

void
trail_append_adopt(int fd, TrailPosition segment)
{
	struct stat st;

	trail_append_close();
	ReserveExternalFD();
	append_checked = 0;
	append_fd = fd;
	append_fd_segment = segment;
	/* Zeros, where it fails, never match: the next use opens the file again. */
	if (fstat(fd, &st) != 0)
		memset(&st, 0, sizeof(st));
	append_fd_inode = st.st_ino;
	append_fd_device = st.st_dev;
}

/* Opens the current segment in this process.  Caller holds the lock. */
static bool
trail_append_open(TrailFault *fault)
{
	TrailSegment segment;
	int fd;

	if (append_fd >= 0 && append_fd_segment == shared->segment)
		return true;
	fd = trail_segment_open(shared->segment, O_RDWR, fault);
	if (fd < 0)
		return false;
	if (!trail_segment_read_header(fd, shared->segment, &segment, fault))
	{
		close(fd);
		return false;
	}
	if (memcmp(segment.node, shared->node, TRAIL_NODE_LENGTH) != 0)
	{
		close(fd);
		return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, shared->segment, 16,
								   "it belongs to another server's trail");
	}
	trail_append_adopt(fd, shared->segment);
	return true;
}

/* Brings the state up unless it is; describes the fault. */
static bool
trail_append_ready(TrailFault *fault)
{
	bool ready;

	core_preload_require();
	if (likely(shared->ready))
		return true;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	ready = shared->ready || trail_append_recover(shared, fault);
	LWLockRelease(shared->lock);
	return ready;
}

/* Has this server a trail?  One that can't be looked at counts, and is met by whoever appends. */
bool
trail_append_begun(void)
{
	uint8 node[TRAIL_NODE_LENGTH];
	TrailMarker marker;
	TrailFault fault;

	return !trail_marker_read(node, &marker, &fault) || marker != TRAIL_MARKER_NONE;
}

/* Tells how the trail came up, once.  Raises WD3xx. */
static void
trail_append_announce(void)
{
	volatile bool told = false;
	bool announce;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	announce = !shared->announced;
	shared->announced = true;
	LWLockRelease(shared->lock);
	if (!announce)
		return;
	PG_TRY();
	{
		char torn[32];
		TrailField fields[1];

		snprintf(torn, sizeof(torn), UINT64_FORMAT, shared->torn);
		fields[0].name = "unfinished_bytes";
		fields[0].value = torn;
		if (shared->torn > 0)
			(void) trail_record_started("trail.recovered", fields, 1);
		told = trail_record_started(shared->fresh ? "trail.created" : "trail.started", NULL, 0) !=
			   TRAIL_POSITION_INVALID;
	}
	PG_FINALLY();
	{
		/* What recovery found must not go unsaid: the next one says it. */
		if (!told)
			shared->announced = false;
	}
	PG_END_TRY();
}

/* See trail_int.h.  Raises WD3xx. */
bool
trail_append_ensure(void)
{
	TrailFault fault;

	if (!trail_append_ready(&fault))
	{
		if (trail_gap_allows(&fault))
			return false;
		trail_segment_raise(&fault);
	}
	if (unlikely(!shared->announced))
		trail_append_announce();
	trail_gap_close();
	return true;
}

/* The same for whoever reads: there is nothing to go on without. */
static void
trail_append_require(void)
{
	TrailFault fault;

	if (!trail_append_ready(&fault))
		trail_segment_raise(&fault);
	(void) trail_append_ensure();
}

/* Closes the current segment and begins the next.  Caller holds the lock. */
static bool
trail_append_switch(TrailFault *fault)
{
	TrailSegment next;
	uint64 length;
	int fd;

	/* So that flushing the newest segment is enough, ever after. */
	if (!trail_segment_sync(append_fd, shared->segment, fault))
		return false;
	memset(&next, 0, sizeof(next));
	memcpy(next.node, shared->node, TRAIL_NODE_LENGTH);
	next.first = shared->tree.size;
	next.created = trail_append_now();
	next.tree = shared->tree;
	shared->switching = true;
	fd = trail_segment_create(&next, &length, fault);
	if (fd < 0)
		return false;
	trail_append_adopt(fd, next.first);
	shared->before += shared->offset;
	shared->segment = next.first;
	shared->offset = length;
	shared->last_frame = shared->seen_frame = 0;
	shared->switching = false;
	return true;
}

/*
 * Is the open file still the trail, with all that was written?  Under the lock.
 *
 * Looking costs more than writing, so a look is believed for a quarter of a
 * millisecond.  Whoever removes the file in between takes no more evidence than by
 * removing it that much later.  One that is cut meanwhile may be lengthened again by
 * the next write: then a frame that stood at the last look is gone at this one.
 */
static bool
trail_append_check(int64 now, TrailFault *fault)
{
	char path[MAXPGPATH];
	uint8 head[TRAIL_FRAME_HEADER];
	struct stat st;

	/*
	 * By name: a descriptor would go on writing to a file that was moved or deleted,
	 * where nobody finds the evidence.
	 */
	trail_segment_path(path, shared->segment);
	if (stat(path, &st) != 0)
	{
		int errnum = errno;

		/* Look anew each time, in case it is put back. */
		trail_append_close();
		if (errnum == ENOENT || errnum == ENOTDIR)
			return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_ABSENT, errnum, shared->segment,
									   shared->offset, "it was removed while the server runs");
		return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errnum, shared->segment,
								   shared->offset, "could not stat it");
	}
	append_checked = 0;
	if (st.st_ino != append_fd_inode || st.st_dev != append_fd_device)
	{
		/* Put back as a copy: opening checks its header, and below its length. */
		trail_append_close();
		if (!trail_append_open(fault))
			return false;
	}
	if ((uint64) st.st_size < shared->offset)
		return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, shared->segment,
								   st.st_size, "it is shorter than what was written to it");
	if (shared->seen_frame != 0)
	{
		ssize_t got = pg_pread(append_fd, head, sizeof(head), shared->seen_frame);

		if (got < 0)
			return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errno,
									   shared->segment, shared->seen_frame, "could not read it");
		if (got != sizeof(head) || memcmp(head, shared->seen_head, sizeof(head)) != 0)
			return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, shared->segment,
									   shared->seen_frame,
									   "what was written to it is no longer there");
	}
	/* Left by a write that failed: the shorter record after it must be the last. */
	if ((uint64) st.st_size > shared->offset && ftruncate(append_fd, shared->offset) != 0)
		return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errno, shared->segment,
								   shared->offset, "could not remove an unfinished record");
	shared->leftovers = false;
	shared->seen_frame = shared->last_frame;
	memcpy(shared->seen_head, shared->last_head, sizeof(shared->seen_head));
	append_checked = now;
	return true;
}

/* Is there room for so much evidence?  Caller holds the lock. */
static bool
trail_append_room(Size len, TrailFault *fault)
{
	if (trail_setting_max_size == 0 ||
		shared->before + shared->offset + len <= (uint64) trail_setting_max_size * 1024 * 1024)
		return true;
	(void) trail_segment_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, 0, TRAIL_POSITION_INVALID, 0,
							   "it has reached ward.trail_max_size");
	fault->hint = "Raise ward.trail_max_size; statements that would disclose watched data are "
				  "refused until then, and work again by themselves.";
	return false;
}

/* Writes one frame at the trail's end.  Caller holds the lock exclusively. */
static bool
trail_append_write(const void *frame, Size len, const uint8 hash[TRAIL_HASH_LENGTH],
				   TrailFault *fault)
{
	int64 now = (int64) trail_segment_get64((const char *) frame + TRAIL_FRAME_HEADER + 2);
	ssize_t written;
	bool full;

	if (unlikely(shared->distrusted))
	{
		*fault = shared->distrust;
		return false;
	}
	if (!trail_append_open(fault))
		return false;
	/*
	 * A switch that failed halfway may have left the next segment's header, which
	 * says where this one ends: nothing may be added here before it is complete.
	 */
	full =
		shared->switching || (shared->offset + len > (uint64) trail_setting_segment_size * 1024 &&
							  shared->tree.size > shared->segment);
	/* A clock that was set back must not stretch what is believed. */
	if ((full || shared->leftovers || now < append_checked ||
		 now - append_checked > APPEND_BELIEVED) &&
		!trail_append_check(now, fault))
		return false;
	if (full)
	{
		if (!trail_append_switch(fault))
			return false;
	}
	errno = ENOSPC;
	written = pg_pwrite(append_fd, frame, len, shared->offset);
	if (written != (ssize_t) len)
	{
		int errnum = errno;

		/* Whatever of it is there now, the next append removes first. */
		shared->leftovers = true;
		return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errnum, shared->segment,
								   shared->offset, "could not write a record");
	}
	trail_tree_append(&shared->tree, hash);
	shared->last_frame = shared->offset;
	memcpy(shared->last_head, frame, sizeof(shared->last_head));
	shared->offset += len;
	shared->last_at = now;
	pg_atomic_write_u64(&shared->end, shared->tree.size);
	return true;
}

/* Waits until all positions up to and including this one are on disk. */
static bool
trail_append_flush(TrailPosition position, TrailFault *fault)
{
	bool done = true;

	if (pg_atomic_read_u64(&shared->synced) > position)
		return true;
	LWLockAcquire(shared->sync_lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u64(&shared->synced) <= position)
	{
		TrailPosition end;
		TrailPosition segment;

		/* End and segment must belong together: a switch flushes the older one. */
		LWLockAcquire(shared->lock, LW_SHARED);
		end = shared->tree.size;
		segment = shared->segment;
		done = trail_append_open(fault);
		LWLockRelease(shared->lock);
		done = done && trail_segment_sync(append_fd, segment, fault);
		if (done)
			pg_atomic_write_u64(&shared->synced, end);
	}
	LWLockRelease(shared->sync_lock);
	return done;
}

/* See trail_int.h. */
void
trail_append_distrust(const TrailFault *fault)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->distrusted = fault != NULL;
	if (fault != NULL)
		shared->distrust = *fault;
	LWLockRelease(shared->lock);
}

/* Takes the lock; sleeping on it would cost many times what its holder does. */
static void
trail_append_lock(void)
{
	for (int i = 0; i < APPEND_SPINS; i++)
	{
		if (LWLockConditionalAcquire(shared->lock, LW_EXCLUSIVE))
			return;
		for (int j = 0; j < 8; j++)
			SPIN_DELAY();
	}
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
}

/*
 * Appends a leaf and returns its position; see trail.h for what that promises.  refers is
 * the first record that it refers to (TRAIL_POSITION_INVALID: none).  Where that is about
 * to be pruned nothing is appended, and TRAIL_POSITION_GIVEN_UP returned: the caller writes
 * again what it refers to.
 * Raises WD3xx, in which case the leaf is not in the trail (or, with fsync, may be
 * there without being durable: evidence of more than left is no harm).  Where
 * ward.on_trail_failure allows it, returns TRAIL_POSITION_INVALID instead.
 */
TrailPosition
trail_append(const void *leaf, Size len, TrailPosition refers)
{
	static char *frame = NULL;
	static Size capacity = 0;
	uint8 hash[TRAIL_HASH_LENGTH];
	TrailFault fault;
	TrailPosition position = 0;
	bool done;

	if (!trail_append_ready(&fault))
	{
		if (trail_gap_allows(&fault))
			return TRAIL_POSITION_INVALID;
		trail_segment_raise(&fault);
	}
	if (len > TRAIL_LEAF_MAX)
		elog(ERROR, "trail record of %zu bytes is too long", len);
	if (capacity < len + TRAIL_FRAME_HEADER)
	{
		Size want = Max(len + TRAIL_FRAME_HEADER, 4096);

		if (frame != NULL)
			pfree(frame);
		capacity = 0;
		frame = MemoryContextAlloc(TopMemoryContext, want);
		capacity = want;
	}
	/* All that can be done before the lock is: others wait for it. */
	memcpy(frame + TRAIL_FRAME_HEADER, leaf, len);
	trail_segment_frame((uint8 *) frame, leaf, len);
	trail_tree_leaf(leaf, len, hash);

	trail_append_lock();
	if (unlikely(refers < pg_atomic_read_u64(&shared->floor)))
	{
		LWLockRelease(shared->lock);
		return TRAIL_POSITION_GIVEN_UP;
	}
	position = shared->tree.size;
	/* Checkpoints are not held up by the limit: a full trail is signed as well. */
	done = trail_append_room(len + TRAIL_FRAME_HEADER, &fault) &&
		   trail_append_write(frame, len + TRAIL_FRAME_HEADER, hash, &fault);
	LWLockRelease(shared->lock);
	if (done && trail_setting_durability == TRAIL_DURABILITY_FSYNC)
		done = trail_append_flush(position, &fault);
	if (done)
		return position;
	if (!trail_gap_allows(&fault))
		trail_segment_raise(&fault);
	return TRAIL_POSITION_INVALID;
}

/* Forces all records to disk, also those that recovery found. */
bool
trail_append_sync(TrailFault *fault)
{
	TrailPosition end;

	if (!trail_append_ready(fault))
		return false;
	end = pg_atomic_read_u64(&shared->end);
	return end == 0 || trail_append_flush(end - 1, fault);
}

/*
 * See trail_int.h.  What is signed must be on disk before anybody is shown the
 * signature: a power failure would make it look like a trail that was cut.
 */
bool
trail_append_about(TrailAppendBuild build, void *arg, TrailFault *fault)
{
	static uint8 frame[TRAIL_FRAME_HEADER + TRAIL_CHECKPOINT_MAX];
	uint8 hash[TRAIL_HASH_LENGTH];
	TrailPosition position;
	Size len;
	bool done;

	if (!trail_append_ready(fault))
		return false;
	trail_append_lock();
	position = shared->tree.size;
	len = build(shared->node, &shared->tree, frame + TRAIL_FRAME_HEADER, TRAIL_CHECKPOINT_MAX, arg);
	if (len == 0)
		done = trail_segment_fault(fault, ERRCODE_WARD_CRYPTO_FAILED, 0, shared->segment,
								   shared->offset, "could not sign its root");
	else
	{
		trail_segment_frame(frame, frame + TRAIL_FRAME_HEADER, len);
		trail_tree_leaf(frame + TRAIL_FRAME_HEADER, len, hash);
		done = trail_append_write((const char *) frame, len + TRAIL_FRAME_HEADER, hash, fault);
	}
	LWLockRelease(shared->lock);
	return done && trail_append_flush(position, fault);
}

/* See trail_int.h. */
TrailPosition
trail_append_floor(void)
{
	return pg_atomic_read_u64(&shared->floor);
}

/* See trail_int.h. */
TrailPosition
trail_append_begin(void)
{
	return pg_atomic_read_u64(&shared->begin);
}

/* See trail_int.h. */
void
trail_append_give_up(TrailPosition cut)
{
	/* Exclusively: whoever appends now has looked before, and is read by the prune. */
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u64(&shared->floor) < cut)
		pg_atomic_write_u64(&shared->floor, cut);
	LWLockRelease(shared->lock);
}

/* See trail_int.h. */
void
trail_append_pruned(TrailPosition cut, uint64 bytes)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	pg_atomic_write_u64(&shared->begin, cut);
	shared->before -= Min(shared->before, bytes);
	LWLockRelease(shared->lock);
}

/* Position after the last record; recovers first where needed. */
TrailPosition
trail_append_end(void)
{
	trail_append_require();
	return pg_atomic_read_u64(&shared->end);
}

static void
trail_append_copy(TrailState *state)
{
	LWLockAcquire(shared->lock, LW_SHARED);
	memcpy(state->node, shared->node, TRAIL_NODE_LENGTH);
	state->tree = shared->tree;
	state->segment = shared->segment;
	state->offset = shared->offset;
	state->bytes = shared->before + shared->offset;
	state->last_at = shared->last_at;
	LWLockRelease(shared->lock);
}

/* A consistent copy of the shared state.  Raises WD3xx. */
void
trail_append_state(TrailState *state)
{
	trail_append_require();
	trail_append_copy(state);
}

/* See trail_int.h. */
bool
trail_append_peek(TrailState *state, TrailFault *fault)
{
	if (!trail_append_ready(fault))
		return false;
	trail_append_copy(state);
	return true;
}
