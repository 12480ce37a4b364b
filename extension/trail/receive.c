/*
 * receive.c
 *		The trails that standbys deliver, as files of this server.
 *
 * They lie in "standby/NODE" below this server's trail directory, as segments like its
 * own, so that every reader and verifier serves them too.  Each delivery is verified in
 * memory before any of it is written, and on disk before it is acknowledged: checksums,
 * tree, and, at each checkpoint, root and signature by a chain of keys that begins with a
 * registered one.  What is behind the last checkpoint is stored, but accepted (shown to
 * the index) only with the next.  Where that does not vouch for it, and where the standby
 * connects anew, it is cut off again, and the standby, which keeps everything, has to
 * deliver it anew.
 *
 * Locks: "WardTrail" 3 is held by whoever receives, also while it writes and flushes: one
 * delivery at a time.  Under it the trail's own lock is not taken; what is wrong is
 * described, and recorded and raised after it is released.
 */
#include "trail/trail_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define RECEIVE_DIRECTORY "standby"
#define RECEIVE_MAX 32

typedef struct ReceiveNode
{
	bool known;	 /* the numbers below were read from the files */
	pid_t owner; /* who received last: its memory of the trail is the right one */
	TrailReceived shown;
} ReceiveNode;

typedef struct ReceiveShared
{
	LWLock *lock;
	int count;
	ReceiveNode nodes[RECEIVE_MAX];
} ReceiveShared;

static ReceiveShared *receive_shared = NULL;
void (*trail_receive_notify)(void) = NULL;

/* The trail that this process receives, read and verified as far as it is stored. */
typedef struct Receive
{
	MemoryContext memory; /* NULL: none */
	uint8 node[TRAIL_NODE_LENGTH];
	char directory[MAXPGPATH];
	TrailTrust trust;
	TrailChain *chain;
	TrailTree tree;
	TrailPosition segment; /* where the next byte goes */
	uint64 offset;
	TrailPosition accepted; /* behind the last good checkpoint, and where that is */
	int64 accepted_at;
	TrailPosition accepted_segment;
	uint64 accepted_offset;
	bool hopeless;
} Receive;

static Receive receive;

Size
trail_receive_shmem_size(void)
{
	return MAXALIGN(sizeof(ReceiveShared));
}

/* Called with AddinShmemInitLock held. */
void
trail_receive_shmem_init(LWLock *lock)
{
	bool found;

	receive_shared = ShmemInitStruct("pg_ward receive", trail_receive_shmem_size(), &found);
	if (!found)
	{
		memset(receive_shared, 0, sizeof(*receive_shared));
		receive_shared->lock = lock;
	}
}

static void
trail_receive_name(char name[TRAIL_NODE_TEXT], const uint8 node[TRAIL_NODE_LENGTH])
{
	for (int i = 0; i < TRAIL_NODE_LENGTH; i++)
		snprintf(name + 2 * i, 3, "%02x", node[i]);
}

static void
trail_receive_directory(char directory[MAXPGPATH], const char *name)
{
	snprintf(directory, MAXPGPATH, "%s/" RECEIVE_DIRECTORY "/%s", trail_setting_directory, name);
}

/* A fault's description, for people. */
static const char *
trail_receive_describe(const TrailFault *fault)
{
	static char text[MAXPGPATH + 256];

	snprintf(text, sizeof(text), "%s: %s%s%s", fault->path, fault->what,
			 fault->errnum != 0 ? ": " : "", fault->errnum != 0 ? strerror(fault->errnum) : "");
	return text;
}

static const char *
trail_receive_errno(const char *what)
{
	static char text[256];

	snprintf(text, sizeof(text), "%s: %s", what, strerror(errno));
	return text;
}

/* ---------------------------------------------------------------- what is stored */

/*
 * Reads how far a stored trail goes, without verifying it: what is in the files was.
 * Behind the last checkpoint nothing is accepted.
 */
static void
trail_receive_look(TrailReceived *shown)
{
	TrailPosition *firsts;
	TrailFault fault;
	int count;

	shown->received = shown->accepted = 0;
	shown->accepted_at = 0;
	shown->bytes = 0;
	if (!trail_segment_list_in(shown->directory, &firsts, &count, &fault))
		return;
	for (int i = count - 1; i >= 0; i--)
	{
		TrailSegment segment;
		TrailScan scan;
		TrailPosition position = firsts[i];
		char path[MAXPGPATH];
		struct stat st;
		const char *leaf;
		Size len;
		int fd;

		trail_segment_path_in(path, shown->directory, firsts[i]);
		fd = BasicOpenFile(path, O_RDONLY | PG_BINARY);
		if (fd < 0)
			continue;
		if (fstat(fd, &st) == 0)
			shown->bytes += st.st_size;
		if (shown->accepted > 0 || !trail_segment_read_header(fd, firsts[i], &segment, &fault))
		{
			close(fd);
			continue;
		}
		trail_segment_scan_begin(&scan, fd, firsts[i], segment.length, st.st_size);
		while (trail_segment_scan_next(&scan, &leaf, &len, &fault) == TRAIL_FRAME_WHOLE)
		{
			position++;
			if (leaf[0] != TRAIL_KIND_CHECKPOINT)
				continue;
			shown->accepted = position;
			shown->accepted_at = (int64) trail_segment_get64(leaf + 2);
		}
		trail_segment_scan_end(&scan);
		close(fd);
		shown->received = Max(shown->received, position);
	}
	free(firsts);
}

/* This node's place, made where there is none; NULL: too many.  Caller holds the lock. */
static ReceiveNode *
trail_receive_node(const char *name)
{
	ReceiveNode *it;

	for (int i = 0; i < receive_shared->count; i++)
		if (strcmp(receive_shared->nodes[i].shown.name, name) == 0)
			return &receive_shared->nodes[i];
	if (receive_shared->count == RECEIVE_MAX)
		return NULL;
	it = &receive_shared->nodes[receive_shared->count++];
	memset(it, 0, sizeof(*it));
	strlcpy(it->shown.name, name, sizeof(it->shown.name));
	trail_receive_directory(it->shown.directory, name);
	return it;
}

/* See trail_int.h: what is stored of each standby's trail, in this memory context. */
List *
trail_receive_list(void)
{
	List *result = NIL;
	TrailState state;
	char own[TRAIL_NODE_TEXT];
	char path[MAXPGPATH];
	struct dirent *entry;
	DIR *dir;

	trail_append_state(&state);
	trail_receive_name(own, state.node);
	snprintf(path, sizeof(path), "%s/" RECEIVE_DIRECTORY, trail_setting_directory);
	dir = AllocateDir(path);
	LWLockAcquire(receive_shared->lock, LW_EXCLUSIVE);
	while (dir != NULL && (entry = ReadDirExtended(dir, path, LOG)) != NULL)
		if (strspn(entry->d_name, "0123456789abcdef") == TRAIL_NODE_TEXT - 1 &&
			strlen(entry->d_name) == TRAIL_NODE_TEXT - 1)
			(void) trail_receive_node(entry->d_name);
	/* Also those that were refused and have nothing here. */
	for (int i = 0; i < receive_shared->count; i++)
	{
		ReceiveNode *it = &receive_shared->nodes[i];
		TrailReceived *copy;

		if (strcmp(it->shown.name, own) == 0)
			continue;
		if (!it->known)
			trail_receive_look(&it->shown);
		it->known = true;
		copy = palloc(sizeof(TrailReceived));
		*copy = it->shown;
		result = lappend(result, copy);
	}
	LWLockRelease(receive_shared->lock);
	if (dir != NULL)
		FreeDir(dir);
	return result;
}

/* ---------------------------------------------------------------- verifying */

static void
trail_receive_forget(void)
{
	if (receive.memory != NULL)
		MemoryContextDelete(receive.memory);
	memset(&receive, 0, sizeof(receive));
}

/* Takes a record into the tree; NULL, or what is wrong with it. */
static const char *
trail_receive_record(const char *leaf, Size len, uint64 end)
{
	uint8 hash[TRAIL_HASH_LENGTH];
	const char *problem;
	TrailPosition position = receive.tree.size;

	trail_tree_leaf(leaf, len, hash);
	problem = trail_chain_record(receive.chain, receive.node, &receive.tree, leaf, len, hash);
	if (problem != NULL)
		return problem;
	trail_tree_append(&receive.tree, hash);
	receive.offset = end;
	/* The first checkpoint has no records before it. */
	if (leaf[0] == TRAIL_KIND_CHECKPOINT && trail_chain_begun(receive.chain) &&
		trail_chain_signed(receive.chain) == position)
	{
		receive.accepted = receive.tree.size;
		receive.accepted_at = (int64) trail_segment_get64(leaf + 2);
		receive.accepted_segment = receive.segment;
		receive.accepted_offset = end;
	}
	return NULL;
}

/* Does a segment follow what was read? */
static const char *
trail_receive_follows(const TrailSegment *segment)
{
	uint8 expected[TRAIL_HASH_LENGTH];
	uint8 found[TRAIL_HASH_LENGTH];

	if (memcmp(segment->node, receive.node, TRAIL_NODE_LENGTH) != 0)
		return "a segment belongs to another node's trail";
	if (segment->first != receive.tree.size)
		return "a segment does not begin where the one before it ends";
	trail_tree_root(&receive.tree, expected);
	trail_tree_root(&segment->tree, found);
	if (segment->first > 0 && memcmp(expected, found, TRAIL_HASH_LENGTH) != 0)
		return "the records before a segment are not those that were delivered";
	return NULL;
}

/* Reads a stored segment into the tree.  resume: its header says what was before. */
static const char *
trail_receive_read(TrailPosition first, bool resume)
{
	TrailSegment segment;
	TrailFault fault;
	TrailScan scan;
	char path[MAXPGPATH];
	struct stat st;
	const char *problem = NULL;
	const char *leaf;
	Size len;
	int fd;

	trail_segment_path_in(path, receive.directory, first);
	fd = BasicOpenFile(path, O_RDONLY | PG_BINARY);
	if (fd < 0 || fstat(fd, &st) != 0)
	{
		if (fd >= 0)
			close(fd);
		return trail_receive_errno("could not open a stored segment");
	}
	if (!trail_segment_read_header(fd, first, &segment, &fault))
	{
		close(fd);
		return fault.what;
	}
	if (resume)
	{
		receive.tree = segment.tree;
		trail_chain_resume(receive.chain, &segment.tree);
	}
	problem = trail_receive_follows(&segment);
	receive.segment = first;
	receive.offset = segment.length;
	trail_segment_scan_begin(&scan, fd, first, segment.length, st.st_size);
	while (problem == NULL)
	{
		TrailFrameState state = trail_segment_scan_next(&scan, &leaf, &len, &fault);

		if (state == TRAIL_FRAME_END)
			break;
		problem = state == TRAIL_FRAME_WHOLE ? trail_receive_record(leaf, len, scan.offset)
											 : "a stored record is cut short or damaged";
	}
	trail_segment_scan_end(&scan);
	close(fd);
	return problem;
}

/* Does a stored segment hold a checkpoint that announces a key? */
static bool
trail_receive_announces(TrailPosition first)
{
	TrailSegment segment;
	TrailFault fault;
	TrailScan scan;
	TrailCheckpoint checkpoint;
	char path[MAXPGPATH];
	struct stat st;
	const char *leaf;
	Size len;
	bool found = false;
	int fd;

	trail_segment_path_in(path, receive.directory, first);
	fd = BasicOpenFile(path, O_RDONLY | PG_BINARY);
	if (fd < 0)
		return false;
	if (fstat(fd, &st) == 0 && trail_segment_read_header(fd, first, &segment, &fault))
	{
		trail_segment_scan_begin(&scan, fd, first, segment.length, st.st_size);
		while (!found && trail_segment_scan_next(&scan, &leaf, &len, &fault) == TRAIL_FRAME_WHOLE)
			found =
				leaf[0] == TRAIL_KIND_CHECKPOINT &&
				trail_note_read(leaf + TRAIL_LEAF_HEADER, len - TRAIL_LEAF_HEADER, &checkpoint) &&
				checkpoint.note.announces;
		trail_segment_scan_end(&scan);
	}
	close(fd);
	return found;
}

/*
 * Cuts what is stored back to the last good checkpoint.  NULL, or what went wrong.
 */
static const char *
trail_receive_cut(void)
{
	TrailPosition *firsts;
	TrailFault fault;
	char path[MAXPGPATH];
	int count;
	const char *problem = NULL;

	if (!trail_segment_list_in(receive.directory, &firsts, &count, &fault))
		return trail_receive_describe(&fault);
	for (int i = 0; i < count && problem == NULL; i++)
	{
		if (receive.accepted > 0 && firsts[i] <= receive.accepted_segment)
			continue;
		trail_segment_path_in(path, receive.directory, firsts[i]);
		if (unlink(path) != 0)
			problem = trail_receive_errno("could not remove what is not signed");
	}
	free(firsts);
	if (problem != NULL || receive.accepted == 0)
		return problem;
	trail_segment_path_in(path, receive.directory, receive.accepted_segment);
	if (truncate(path, (off_t) receive.accepted_offset) != 0)
		return trail_receive_errno("could not cut off what is not signed");
	return NULL;
}

/* Reads what is stored, from the last segment on in which a key is announced. */
static const char *
trail_receive_replay(const uint8 node[TRAIL_NODE_LENGTH], const TrailTrust *trust)
{
	MemoryContext old;
	TrailPosition *firsts;
	TrailFault fault;
	const char *problem = NULL;
	char name[TRAIL_NODE_TEXT];
	int count;
	int from;

	trail_receive_forget();
	receive.memory =
		AllocSetContextCreate(TopMemoryContext, "pg_ward receive", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(receive.memory);
	memcpy(receive.node, node, TRAIL_NODE_LENGTH);
	trail_receive_name(name, node);
	trail_receive_directory(receive.directory, name);
	receive.trust.nkeys = trust->nkeys;
	receive.trust.keys = palloc(TRAIL_KEY_LENGTH * Max(trust->nkeys, 1));
	memcpy(receive.trust.keys, trust->keys, TRAIL_KEY_LENGTH * trust->nkeys);
	receive.chain = trail_chain_begin(&receive.trust);
	if (!trail_segment_list_in(receive.directory, &firsts, &count, &fault))
	{
		MemoryContextSwitchTo(old);
		return fault.sqlerrcode == ERRCODE_WARD_TRAIL_ABSENT ? NULL
															 : trail_receive_describe(&fault);
	}
	for (from = count - 1; from > 0 && !trail_receive_announces(firsts[from]); from--)
		;
	for (int i = Max(from, 0); i < count && problem == NULL; i++)
		problem = trail_receive_read(firsts[i], i == from && i > 0);
	free(firsts);
	MemoryContextSwitchTo(old);
	/* Nothing can be cut back to where not even the first of what was read is signed. */
	receive.hopeless = problem != NULL && from > 0 && receive.accepted == 0;
	return problem;
}

/*
 * Brings up what is stored.  What a crash left unfinished at its end, or what the next
 * checkpoint did not vouch for, is cut off.  NULL, or what is wrong.
 */
static const char *
trail_receive_open(const uint8 node[TRAIL_NODE_LENGTH], const TrailTrust *trust)
{
	const char *problem = trail_receive_replay(node, trust);

	if (problem == NULL)
		return NULL;
	if (receive.hopeless)
		return "what is stored of it here is damaged";
	problem = trail_receive_cut();
	return problem != NULL ? problem : trail_receive_replay(node, trust);
}

/* ---------------------------------------------------------------- storing */

static bool
trail_receive_make(const char *path)
{
	struct stat st;
	char parent[MAXPGPATH];

	if (stat(path, &st) == 0)
		return true;
	if (mkdir(path, S_IRWXU) != 0)
		return false;
	strlcpy(parent, path, MAXPGPATH);
	get_parent_directory(parent);
	return fsync_fname_ext(parent[0] != '\0' ? parent : ".", true, true, LOG) == 0;
}

/* Writes the bytes and flushes them. */
static const char *
trail_receive_store(TrailPosition segment, uint64 offset, const char *bytes, Size length)
{
	char path[MAXPGPATH];
	const char *problem = NULL;
	int fd;

	snprintf(path, sizeof(path), "%s/" RECEIVE_DIRECTORY, trail_setting_directory);
	if (!trail_receive_make(path) || !trail_receive_make(receive.directory))
		return trail_receive_errno("could not make the directory of its trail");
	trail_segment_path_in(path, receive.directory, segment);
	fd = BasicOpenFilePerm(path, O_RDWR | PG_BINARY | (offset == 0 ? O_CREAT | O_TRUNC : 0),
						   S_IRUSR | S_IWUSR);
	if (fd < 0)
		return trail_receive_errno("could not open its segment");
	errno = ENOSPC; /* what a short write means when errno is silent */
	if (pg_pwrite(fd, bytes, length, (off_t) offset) != (ssize_t) length || pg_fsync(fd) != 0)
		problem = trail_receive_errno("could not write its segment");
	close(fd);
	if (problem == NULL && offset == 0 && fsync_fname_ext(receive.directory, true, true, LOG) != 0)
		problem = trail_receive_errno("could not make its segment durable");
	return problem;
}

/* Verifies a delivery against what was read, and takes it into the tree. */
static const char *
trail_receive_verify(const TrailDelivery *delivery)
{
	TrailSegment segment;
	TrailFault fault;
	Size at = 0;

	if (delivery->offset == 0)
	{
		const char *problem;

		if (!trail_segment_parse_header((const uint8 *) delivery->bytes, (ssize_t) delivery->length,
										delivery->segment, &segment, &fault))
			return fault.what;
		problem = trail_receive_follows(&segment);
		if (problem != NULL)
			return problem;
		at = segment.length;
		receive.segment = delivery->segment;
		receive.offset = at;
	}
	while (at < delivery->length)
	{
		Size len;
		const char *leaf = trail_segment_leaf(delivery->bytes + at, delivery->length - at, &len);
		const char *problem;

		if (leaf == NULL)
			return "a record is cut short or fails its checksum";
		at += TRAIL_FRAME_HEADER + len;
		problem = trail_receive_record(leaf, len, delivery->offset + at);
		if (problem != NULL)
			return problem;
	}
	return NULL;
}

/* Does it go where the next bytes have to go? */
static bool
trail_receive_fits(const TrailDelivery *delivery)
{
	if (delivery->length == 0)
		return false;
	if (delivery->offset == 0)
		return delivery->segment == receive.tree.size &&
			   (receive.offset == 0 || receive.segment < delivery->segment);
	return delivery->segment == receive.segment && delivery->offset == receive.offset;
}

/* The delivery, under the lock.  NULL, or what is wrong; corrupt tells of which kind. */
static const char *
trail_receive_locked(TrailDelivery *delivery, ReceiveNode *it, bool *corrupt)
{
	const char *problem = NULL;
	MemoryContext old;

	*corrupt = false;
	if (receive.memory == NULL || it->owner != MyProcPid ||
		memcmp(receive.node, delivery->node, TRAIL_NODE_LENGTH) != 0)
	{
		it->owner = MyProcPid;
		problem = trail_receive_open(delivery->node, delivery->trust);
		if (problem != NULL)
		{
			trail_receive_forget();
			return problem;
		}
	}

	/*
	 * A greeting.  What nobody has signed may be another's bytes, behind which the standby
	 * would find no place to go on from; its own it sends again.
	 */
	if (delivery->length == 0 && receive.accepted > 0 && receive.accepted < receive.tree.size)
	{
		problem = trail_receive_cut();
		if (problem == NULL)
			problem = trail_receive_replay(delivery->node, delivery->trust);
		if (problem != NULL)
		{
			trail_receive_forget();
			return problem;
		}
		trail_receive_look(&it->shown);
	}
	if (trail_receive_fits(delivery))
	{
		old = MemoryContextSwitchTo(receive.memory);
		problem = trail_receive_verify(delivery);
		MemoryContextSwitchTo(old);
		*corrupt = problem != NULL;
		if (problem == NULL)
			problem = trail_receive_store(delivery->segment, delivery->offset, delivery->bytes,
										  delivery->length);
		else
		{
			const char *cut = trail_receive_cut();

			if (cut != NULL)
				problem = cut;
		}
		if (problem == NULL)
			it->shown.bytes += delivery->length;
	}
	if (problem == NULL)
	{
		it->shown.received = receive.tree.size;
		it->shown.accepted = receive.accepted;
		it->shown.accepted_at = receive.accepted_at;
	}
	delivery->segment = receive.segment;
	delivery->offset = receive.offset;
	delivery->accepted = receive.accepted;
	return problem;
}

/* ---------------------------------------------------------------- a delivery */

/* Records what became of a node's deliveries, where that is news. */
static void
trail_receive_tell(const char *name, TrailPosition received, const char *problem, bool news)
{
	char position[32];
	TrailField fields[3] = {{"node", name}, {"position", position}, {"problem", problem}};

	if (!news)
		return;
	snprintf(position, sizeof(position), UINT64_FORMAT, received);
	if (problem != NULL)
		(void) trail_record_cluster_event("standby.refused", fields, 3);
	else
		(void) trail_record_cluster_event("standby.resumed", fields, 2);
}

/* See trail_int.h.  Raises WD3xx. */
void
trail_receive(TrailDelivery *delivery)
{
	char name[TRAIL_NODE_TEXT];
	char text[256] = "";
	ReceiveNode *it;
	TrailPosition received = 0;
	TrailPosition before = 0;
	const char *problem;
	TrailState state;
	bool corrupt = false;
	bool news = false;

	trail_append_state(&state);
	trail_receive_name(name, delivery->node);
	LWLockAcquire(receive_shared->lock, LW_EXCLUSIVE);
	it = trail_receive_node(name);
	if (it != NULL && !it->known)
	{
		trail_receive_look(&it->shown);
		it->known = true;
	}
	if (it != NULL)
		before = it->shown.accepted;
	if (it == NULL)
		problem = "more standbys deliver than there is room for";
	else if (memcmp(state.node, delivery->node, TRAIL_NODE_LENGTH) == 0)
		problem = "it is this server's own trail";
	else if (delivery->trust->nkeys == 0)
		problem = "it is not registered here, or was removed";
	else
		problem = trail_receive_locked(delivery, it, &corrupt);
	if (problem != NULL)
		strlcpy(text, problem, sizeof(text));
	if (it != NULL)
	{
		if (problem != NULL)
		{
			trail_receive_forget();
			trail_receive_look(&it->shown);
		}
		else
		{
			it->shown.source_records = delivery->source_records;
			it->shown.source_bytes = delivery->source_bytes;
			it->shown.delivered_at = GetCurrentTimestamp();
		}
		received = it->shown.received;
		/* The same refusal, tried again and again, is no news; nor is a mere greeting. */
		news = (problem != NULL || delivery->length > 0) && strcmp(it->shown.problem, text) != 0;
		if (problem != NULL || delivery->length > 0)
			strlcpy(it->shown.problem, text, sizeof(it->shown.problem));
		before = it->shown.accepted > before ? before : PG_UINT64_MAX;
	}
	LWLockRelease(receive_shared->lock);
	trail_receive_tell(name, received, problem != NULL ? text : NULL, news);
	if (problem != NULL)
		ereport(
			ERROR,
			(errcode(corrupt ? ERRCODE_WARD_TRAIL_CORRUPT : ERRCODE_WARD_STANDBY_REFUSED),
			 errmsg("the trail of a standby is refused"),
			 errdetail("Node %s, after " UINT64_FORMAT " records: %s.", name, received, text),
			 delivery->trust->nkeys == 0
				 ? errhint("An officer registers it on this server: ward.add_standby(name, key), "
						   "with the first_key that ward.trail_status shows on the standby.")
				 : errhint("The standby keeps its trail and tries again. If it is refused each "
						   "time, run ward.verify_trail() on the standby, and compare its keys "
						   "with those of ward.standby_status.")));
	if (before != PG_UINT64_MAX && trail_receive_notify != NULL)
		trail_receive_notify();
}
