/*
 * signer.c
 *		The process that signs the trail: checkpoints, epochs of keys, anchors.
 *
 * Every ward.checkpoint_interval, also when nothing happens, the root of all records
 * is signed and appended as a record, which stands exactly behind those that it signs;
 * it is also written to the server log and given to ward.checkpoint_command.  Only
 * this process ever holds a signing key.
 *
 * Forward secure: as the server starts, and every ward.epoch_interval, a new key is
 * drawn, the old one signs it in a checkpoint, and is destroyed on disk and in memory.
 * Whoever takes the host later can sign what comes, not what was.  The order of these
 * steps, and why no crash leaves neither or both keys for long, is in signing.c.
 *
 * A fault of the trail or of the key's file is logged once, shown in
 * ward.trail_status, and tried again each second: the signer stops no statement, and
 * that its checkpoints are missing is what a verifier sees.
 *
 * Locks: "WardTrail" 2 guards the status in shared memory; nothing is called under it.
 */
#include "trail/trail_int.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* After a fault, milliseconds. */
#define SIGNER_RETRY_MS 1000
/* How long the last checkpoint waits for those who may still write, and the command. */
#define SIGNER_SHUTDOWN_MS 3000

extern PGDLLEXPORT void ward_trail_signer(Datum arg);

typedef struct SignerShared
{
	LWLock *lock;
	TrailSignerStatus status;
	/* The signer's alone; here, because it may be started again. */
	TrailTree read; /* of the records that it has read back */
	bool distrusts; /* what it read back was not what was written */
	Latch *latch;	/* the signer's; NULL: there is none */
	volatile bool wanted;
} SignerShared;

static SignerShared *signer_shared = NULL;

/* The key that signs: its slot in the file; -1 before the signer is set up. */
static int signer_slot = -1;
static uint64 signer_epoch;
static uint8 signer_key[TRAIL_KEY_LENGTH];
static uint8 signer_node[TRAIL_NODE_LENGTH];
static int signer_leftover = -1; /* slot of a key that could not be destroyed yet */
static TimestampTz signer_epoch_at;
static TimestampTz signer_checkpoint_at;

/* A checkpoint to be written, and what became of it. */
typedef struct SignerJob
{
	const char *reason;
	int slot; /* of the key that signs */
	uint64 epoch;
	const uint8 *key;
	bool announces;
	uint64 next_epoch;
	uint8 next_key[TRAIL_KEY_LENGTH];
	char text[TRAIL_NOTE_MAX];
	Size len;
	uint64 size;
	uint8 root[TRAIL_HASH_LENGTH];
} SignerJob;

Size
trail_signer_shmem_size(void)
{
	return MAXALIGN(sizeof(SignerShared));
}

/* Called with AddinShmemInitLock held. */
void
trail_signer_shmem_init(LWLock *lock)
{
	bool found;

	signer_shared = ShmemInitStruct("pg_ward signer", trail_signer_shmem_size(), &found);
	if (!found)
	{
		memset(signer_shared, 0, sizeof(*signer_shared));
		signer_shared->lock = lock;
	}
}

void
trail_signer_register(void)
{
	/* A standby signs its own trail. */
	trail_worker_register("ward_trail_signer", "pg_ward trail signer", false);
}

/* A copy of the signer's status. */
void
trail_signer_status(TrailSignerStatus *status)
{
	LWLockAcquire(signer_shared->lock, LW_SHARED);
	*status = signer_shared->status;
	LWLockRelease(signer_shared->lock);
}

/*
 * What is not signed is not accepted by the primary, and the answers there go without it:
 * a standby that has delivered all does not wait for the interval.
 */
void
trail_signer_want(void)
{
	LWLockAcquire(signer_shared->lock, LW_SHARED);
	signer_shared->wanted = true;
	if (signer_shared->latch != NULL)
		SetLatch(signer_shared->latch);
	LWLockRelease(signer_shared->lock);
}

/* ---------------------------------------------------------------- telling */

/* A fault, or NULL: none any more.  Logged when it is another one than before. */
static void
trail_signer_problem(const TrailFault *fault)
{
	char problem[sizeof(signer_shared->status.problem)] = "";
	bool news;

	if (fault != NULL)
		snprintf(problem, sizeof(problem), "%s: %s%s%s", fault->path, fault->what,
				 fault->errnum != 0 ? ": " : "", fault->errnum != 0 ? strerror(fault->errnum) : "");
	LWLockAcquire(signer_shared->lock, LW_EXCLUSIVE);
	news = strcmp(signer_shared->status.problem, problem) != 0;
	strlcpy(signer_shared->status.problem, problem, sizeof(signer_shared->status.problem));
	LWLockRelease(signer_shared->lock);
	if (!news)
		return;
	if (fault != NULL)
		ereport(LOG, (errcode(fault->sqlerrcode), errmsg("the trail can't be signed"),
					  errdetail("%s.", problem),
					  errhint("Checkpoints are missing from now on, which a verifier tells. They "
							  "are written again by themselves once the cause is gone.")));
	else
		ereport(LOG, (errmsg("the trail is signed again")));
}

/* What became of ward.checkpoint_command for a checkpoint; problem is NULL for success. */
void
trail_signer_anchored(uint64 size, const char *problem)
{
	TrailField field = {"problem", problem};
	bool failed_before;

	LWLockAcquire(signer_shared->lock, LW_EXCLUSIVE);
	failed_before = signer_shared->status.anchor_problem[0] != '\0';
	strlcpy(signer_shared->status.anchor_problem, problem != NULL ? problem : "",
			sizeof(signer_shared->status.anchor_problem));
	if (problem == NULL)
	{
		signer_shared->status.anchored_size = size;
		signer_shared->status.anchored_at = GetCurrentTimestamp();
	}
	LWLockRelease(signer_shared->lock);
	if (problem != NULL)
		ereport(WARNING,
				(errmsg("ward.checkpoint_command failed"),
				 errdetail("For the checkpoint of " UINT64_FORMAT " records %s.", size, problem),
				 errhint("Checkpoints that nobody keeps elsewhere can be rewritten by whoever "
						 "takes this host. It is run again with the next one.")));
	if ((problem != NULL) != failed_before)
		trail_record_event_logged(problem != NULL ? "trail.anchor_failed" : "trail.anchor_resumed",
								  &field, problem != NULL ? 1 : 0);
}

/* ---------------------------------------------------------------- signing */

/* Called under the trail's lock; see trail_append_about(). */
static Size
trail_signer_build(const uint8 node[TRAIL_NODE_LENGTH], const TrailTree *tree, uint8 *leaf,
				   Size room, void *arg)
{
	SignerJob *job = arg;
	TrailNote note;

	memset(&note, 0, sizeof(note));
	memcpy(note.node, node, TRAIL_NODE_LENGTH);
	note.size = job->size = tree->size;
	trail_tree_root(tree, job->root);
	memcpy(note.root, job->root, TRAIL_HASH_LENGTH);
	note.announces = job->announces;
	note.epoch = job->next_epoch;
	memcpy(note.announced, job->next_key, TRAIL_KEY_LENGTH);
	job->len = trail_note_write(job->text, &note, trail_signing_seed(job->slot), job->key);
	if (job->len == 0)
		return 0;
	return trail_note_leaf(leaf, room, trail_append_now(), job->reason,
						   (uint64) trail_setting_checkpoint_interval, job->epoch, job->text,
						   job->len);
}

/* Signs, appends, and shows it around. */
static bool
trail_signer_write(SignerJob *job, TrailFault *fault)
{
	if (!trail_append_about(trail_signer_build, job, fault) ||
		!trail_signing_note(signer_node, job->size, job->root, fault))
		return false;
	signer_checkpoint_at = GetCurrentTimestamp();
	ereport(LOG, (errmsg("signed the trail up to record " UINT64_FORMAT, job->size),
				  errdetail("%.*s", (int) job->len - 1, job->text)));
	LWLockAcquire(signer_shared->lock, LW_EXCLUSIVE);
	signer_shared->status.signed_size = job->size;
	signer_shared->status.signed_at = signer_checkpoint_at;
	LWLockRelease(signer_shared->lock);
	trail_anchor_offer(job->text, job->len, job->size);
	return true;
}

static void
trail_signer_adopt(int slot, uint64 epoch, const uint8 key[TRAIL_KEY_LENGTH])
{
	signer_slot = slot;
	signer_epoch = epoch;
	memcpy(signer_key, key, TRAIL_KEY_LENGTH);
	signer_epoch_at = GetCurrentTimestamp();
	LWLockAcquire(signer_shared->lock, LW_EXCLUSIVE);
	signer_shared->status.epoch = epoch;
	(void) trail_note_vkey(signer_shared->status.key, signer_node, signer_key);
	LWLockRelease(signer_shared->lock);
}

/* Reads back what was appended since the last time.  Raises WD3xx. */
static void
trail_signer_read_on(const TrailState *state)
{
	TrailReader *reader = trail_reader_open(signer_shared->read.size);
	TrailFrame frame;

	while (signer_shared->read.size < state->tree.size && trail_reader_next(reader, &frame))
	{
		uint8 hash[TRAIL_HASH_LENGTH];

		trail_tree_leaf(frame.body - TRAIL_LEAF_HEADER, frame.length + TRAIL_LEAF_HEADER, hash);
		trail_tree_append(&signer_shared->read, hash);
	}
	trail_reader_close(reader);
}

/*
 * Is what the file holds what was written?  Nothing is signed that is not there; where
 * a record was changed, nothing more is appended until it is put back.
 */
static bool
trail_signer_read_back(TrailFault *fault)
{
	MemoryContext memory =
		AllocSetContextCreate(TopMemoryContext, "pg_ward signer", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(memory);
	TrailTree before = signer_shared->read;
	TrailState state;
	volatile int sqlerrcode = 0;
	uint8 found[TRAIL_HASH_LENGTH];
	uint8 kept[TRAIL_HASH_LENGTH];

	PG_TRY();
	{
		trail_append_state(&state);
		trail_signer_read_on(&state);
		trail_tree_root(&state.tree, kept);
		trail_tree_root(&signer_shared->read, found);
		if (memcmp(found, kept, TRAIL_HASH_LENGTH) != 0)
			sqlerrcode = ERRCODE_WARD_TRAIL_CORRUPT;
	}
	PG_CATCH();
	{
		sqlerrcode = geterrcode();
		MemoryContextSwitchTo(memory);
		FlushErrorState();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(memory);
	if (sqlerrcode == 0)
	{
		if (signer_shared->distrusts)
			trail_append_distrust(NULL);
		signer_shared->distrusts = false;
		return true;
	}
	signer_shared->read = before;
	(void) trail_segment_fault(fault, sqlerrcode, 0, TRAIL_POSITION_INVALID, 0,
							   "what was written to it can't be read back as it was");
	if (sqlerrcode == ERRCODE_WARD_TRAIL_CORRUPT)
	{
		trail_append_distrust(fault);
		signer_shared->distrusts = true;
	}
	return false;
}

static bool
trail_signer_checkpoint(const char *reason, TrailFault *fault)
{
	SignerJob job = {
		.reason = reason, .slot = signer_slot, .epoch = signer_epoch, .key = signer_key};

	return trail_signer_read_back(fault) && trail_signer_write(&job, fault);
}

static bool
trail_signer_destroy_leftover(TrailFault *fault)
{
	if (signer_leftover >= 0 && !trail_signing_destroy(signer_leftover, fault))
		return false;
	signer_leftover = -1;
	return true;
}

/* Hands over to a new key and destroys the old one. */
static bool
trail_signer_next_epoch(const char *reason, TrailFault *fault)
{
	int slot = 1 - signer_slot;
	int old = signer_slot;
	SignerJob job = {.reason = reason,
					 .slot = signer_slot,
					 .epoch = signer_epoch,
					 .key = signer_key,
					 .announces = true,
					 .next_epoch = signer_epoch + 1};

	if (!trail_signer_read_back(fault))
		return false;
	if (!trail_signing_generate(slot, signer_node, job.next_epoch, job.next_key, fault) ||
		!trail_signer_write(&job, fault))
	{
		/* Which of the two the trail names now, it must say itself. */
		signer_slot = -1;
		return false;
	}
	trail_signer_adopt(slot, job.next_epoch, job.next_key);
	signer_leftover = old;
	return trail_signer_destroy_leftover(fault);
}

/* Begins a chain of keys: its first key announces itself. */
static bool
trail_signer_begin_chain(int slot, uint64 epoch, const uint8 key[TRAIL_KEY_LENGTH],
						 TrailFault *fault)
{
	SignerJob job = {.reason = "begin",
					 .slot = slot,
					 .epoch = epoch,
					 .key = key,
					 .announces = true,
					 .next_epoch = epoch};

	memcpy(job.next_key, key, TRAIL_KEY_LENGTH);
	if (!trail_signer_write(&job, fault))
		return false;
	trail_signer_adopt(slot, epoch, key);
	return true;
}

/* ---------------------------------------------------------------- setting up */

/*
 * Finds a checkpoint: the last of the trail, or the first of its first segment.
 * Raises WD3xx.
 */
static bool
trail_signer_find(bool last, TrailCheckpoint *found, char text[TRAIL_NOTE_MAX])
{
	MemoryContext memory =
		AllocSetContextCreate(CurrentMemoryContext, "pg_ward signer", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(memory);
	TrailPosition *firsts;
	TrailPosition *listed;
	TrailFault fault;
	bool done = false;
	int count;

	if (!trail_segment_list(&listed, &count, &fault))
		trail_segment_raise(&fault);
	firsts = palloc(sizeof(TrailPosition) * Max(count, 1));
	memcpy(firsts, listed, sizeof(TrailPosition) * count);
	free(listed);
	for (int i = last ? count - 1 : 0; i >= 0 && i < count && !done; i += last ? -1 : count)
	{
		TrailPosition end = i + 1 < count ? firsts[i + 1] : trail_append_end();
		TrailReader *reader = trail_reader_open(firsts[i]);
		TrailCheckpoint checkpoint;
		TrailFrame frame;

		while (!(done && !last) && trail_reader_next(reader, &frame) && frame.position < end)
		{
			CHECK_FOR_INTERRUPTS();
			if (frame.kind != TRAIL_KIND_CHECKPOINT ||
				!trail_note_read(frame.body, frame.length, &checkpoint))
				continue;
			*found = checkpoint;
			memcpy(text, checkpoint.text, checkpoint.length);
			found->text = text;
			done = true;
		}
		trail_reader_close(reader);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(memory);
	return done;
}

/* The same of what was carried over a cut. */
static bool
trail_signer_find_carried(TrailCheckpoint *found)
{
	TrailCarry carry;
	TrailCarryEntry entry;
	TrailFault fault;
	bool done = false;

	if (trail_carry_read(trail_setting_directory, trail_append_begin(), &carry, &fault))
		while (!done && trail_carry_next(&carry, &entry))
			done = entry.leaf[0] == TRAIL_KIND_CHECKPOINT &&
				   trail_note_read(entry.leaf + TRAIL_LEAF_HEADER, entry.length - TRAIL_LEAF_HEADER,
								   found);
	if (carry.bytes != NULL)
		pfree(carry.bytes);
	return done;
}

/* Is this the key that signs after that checkpoint? */
static bool
trail_signer_continues(const TrailSigningSlot *slot, const TrailCheckpoint *last)
{
	if (!slot->used)
		return false;
	if (last->note.announces)
		return memcmp(slot->public_key, last->note.announced, TRAIL_KEY_LENGTH) == 0;
	return trail_note_signed_by(last->text, &last->note, slot->public_key);
}

/* Shows the key that is to be pinned. */
static void
trail_signer_show_first(void)
{
	TrailCheckpoint first = {0};
	char text[TRAIL_NOTE_MAX];

	/* Of a trail whose beginning was pruned, it was carried over. */
	if (trail_append_begin() > 0
			? !trail_signer_find_carried(&first)
			: (!trail_signer_find(false, &first, text) || !first.note.announces))
		return;
	LWLockAcquire(signer_shared->lock, LW_EXCLUSIVE);
	(void) trail_note_vkey(signer_shared->status.first_key, first.note.node, first.note.announced);
	LWLockRelease(signer_shared->lock);
}

/*
 * Takes up the trail and its key, or begins a chain of keys.  Raises where the trail
 * can't be read; the signer then ends and is started again.
 */
static bool
trail_signer_set_up(TrailFault *fault)
{
	TrailSigningSlot slots[TRAIL_SIGNING_SLOTS];
	TrailCheckpoint last = {0};
	char text[TRAIL_NOTE_MAX];
	TrailState state;
	uint64 epoch = 1;
	int slot = -1;
	bool begun;

	if (!trail_append_peek(&state, fault))
		return false;
	(void) trail_append_ensure();
	memcpy(signer_node, state.node, TRAIL_NODE_LENGTH);
	/* What stood before was read as the trail was brought up. */
	if (signer_shared->read.size == 0)
		signer_shared->read = state.tree;
	if (!trail_signing_load(signer_node, slots, fault))
		return false;
	begun = trail_signer_find(true, &last, text);
	for (int i = 0; i < TRAIL_SIGNING_SLOTS && slot < 0; i++)
		if (begun ? trail_signer_continues(&slots[i], &last) : slots[i].used)
			slot = i;
	if (begun && slot >= 0)
	{
		/*
		 * What a crash left half done: a key not yet announced, or one to be destroyed,
		 * but not before the record that announces its successor is on disk.
		 */
		if (slots[1 - slot].used &&
			(!trail_append_sync(fault) || !trail_signing_destroy(1 - slot, fault)))
			return false;
		trail_signer_adopt(slot, slots[slot].epoch, slots[slot].public_key);
		if (!trail_signer_next_epoch("start", fault))
			return false;
		trail_signer_show_first();
		return true;
	}
	if (begun)
	{
		char number[32];
		TrailField field = {"epoch", number};

		epoch = (last.note.announces ? last.note.epoch : last.epoch) + 1;
		snprintf(number, sizeof(number), UINT64_FORMAT, epoch - 1);
		ereport(WARNING,
				(errmsg("the signing key of the trail is lost"),
				 errdetail("No key in \"%s\" continues epoch " UINT64_FORMAT " of the trail.",
						   trail_setting_signing_key_file, epoch - 1),
				 errhint("A new chain of keys is begun. Verifiers tell of the break until they are "
						 "given its first key as well, which ward.trail_status shows.")));
		trail_record_event_logged("trail.key_lost", &field, 1);
	}
	if (slot < 0)
	{
		slot = 0;
		if (!trail_signing_generate(slot, signer_node, epoch, slots[slot].public_key, fault))
			return false;
		slots[slot].epoch = epoch;
	}
	if (!trail_signer_begin_chain(slot, slots[slot].epoch, slots[slot].public_key, fault))
		return false;
	/* Whatever is in the other is no key of this chain. */
	signer_leftover = 1 - slot;
	if (!trail_signer_destroy_leftover(fault))
		return false;
	trail_signer_show_first();
	return true;
}

/* ---------------------------------------------------------------- the process */

/*
 * The last checkpoint, after those who are told to stop together with us have written
 * what they had to.  Whatever stays behind it is covered by the next start's.
 */
static void
trail_signer_shut_down(void)
{
	TimestampTz start = GetCurrentTimestamp();
	TrailFault fault;

	while (CountDBConnections(InvalidOid) > 0 &&
		   !TimestampDifferenceExceeds(start, GetCurrentTimestamp(), SIGNER_SHUTDOWN_MS))
		pg_usleep(10000L);
	if (signer_slot >= 0 && !trail_signer_checkpoint("shutdown", &fault))
		trail_signer_problem(&fault);
	start = GetCurrentTimestamp();
	while (trail_anchor_busy() &&
		   !TimestampDifferenceExceeds(start, GetCurrentTimestamp(), SIGNER_SHUTDOWN_MS))
	{
		(void) trail_anchor_poll();
		pg_usleep(10000L);
	}
}

/* Milliseconds until an interval in seconds has passed, at least 0. */
static long
trail_signer_left(TimestampTz since, int interval)
{
	TimestampTz due = TimestampTzPlusMilliseconds(since, (int64) interval * 1000);

	/* A clock that was set back must not stop the heartbeat. */
	if (GetCurrentTimestamp() < since)
		return 0;
	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), due);
}

/* Warns as the trail nears its limit, at each of these shares once. */
static void
trail_signer_watch_size(void)
{
	static const int shares[] = {80, 90, 95, 100};
	static int warned = 0; /* the highest share that was warned of */
	TrailState state;
	TrailFault fault;
	int percent = 0;
	int share = 0;

	if (trail_setting_max_size > 0 && trail_append_peek(&state, &fault))
		percent = (int) (state.bytes * 100 / ((uint64) trail_setting_max_size * 1024 * 1024));
	/* Full is where the next record has no room. */
	for (int i = 0; i < (int) lengthof(shares); i++)
		if (percent >= Min(shares[i], 99))
			share = shares[i];
	if (share > warned)
	{
		char now[16];
		char limit[16];
		TrailField fields[2] = {{"percent", now}, {"limit_mb", limit}};

		snprintf(now, sizeof(now), "%d", percent);
		snprintf(limit, sizeof(limit), "%d", trail_setting_max_size);
		ereport(WARNING,
				(errmsg("the trail has filled %d percent of ward.trail_max_size", percent),
				 errhint("When it is full, statements that would disclose watched data are "
						 "refused. Raise the limit in time.")));
		trail_record_event_logged("trail.filling", fields, 2);
	}
	warned = share;
}

/* Does what is due; false: a fault. */
static bool
trail_signer_work(TrailFault *fault)
{
	trail_gap_try_close();
	if (signer_slot < 0)
		return trail_signer_set_up(fault);
	if (!trail_signer_destroy_leftover(fault))
		return false;
	if (trail_signer_left(signer_epoch_at, trail_setting_epoch_interval) == 0)
		return trail_signer_next_epoch("epoch", fault);
	if (signer_shared->wanted ||
		trail_signer_left(signer_checkpoint_at, trail_setting_checkpoint_interval) == 0)
	{
		signer_shared->wanted = false;
		return trail_signer_checkpoint("interval", fault);
	}
	return true;
}

static void
trail_signer_leave(int code, Datum arg)
{
	LWLockAcquire(signer_shared->lock, LW_EXCLUSIVE);
	signer_shared->latch = NULL;
	LWLockRelease(signer_shared->lock);
}

void
ward_trail_signer(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	before_shmem_exit(trail_signer_leave, (Datum) 0);
	LWLockAcquire(signer_shared->lock, LW_EXCLUSIVE);
	signer_shared->latch = MyLatch;
	LWLockRelease(signer_shared->lock);
	while (!ShutdownRequestPending)
	{
		TrailFault fault;
		long wait;
		long look;

		ResetLatch(MyLatch);
		trail_signer_watch_size();
		if (trail_signer_work(&fault))
		{
			trail_signer_problem(NULL);
			wait = signer_slot < 0
					   ? SIGNER_RETRY_MS
					   : Min(trail_signer_left(signer_epoch_at, trail_setting_epoch_interval),
							 trail_signer_left(signer_checkpoint_at,
											   trail_setting_checkpoint_interval));
		}
		else
		{
			trail_signer_problem(&fault);
			wait = SIGNER_RETRY_MS;
		}
		look = trail_anchor_poll();
		if (look >= 0)
			wait = Min(wait, look);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Max(wait, 10),
						 PG_WAIT_EXTENSION);
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
	trail_signer_shut_down();
	/* Not 0: one that was merely terminated is to be started again. */
	proc_exit(1);
}
