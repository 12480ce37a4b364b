/*
 * append_recover.c
 *		Brings the trail's shared state up from its files, after a start or a crash.
 *
 * Invariants: only the last segment is read, whose header holds the tree of all before
 * it.  What a crash left unfinished at its end is set aside, never deleted; whatever a
 * crash can't have left is damage, and the trail does not come up.
 *
 * Locks: the caller holds the trail's exclusively, so nothing is raised: faults are
 * described.
 */
#include "trail/append_int.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"

/*
 * Moves what a crash left unfinished at a segment's end into a file beside it:
 * evidence is never deleted, not even half a record.
 */
static bool
trail_append_recover_set_aside(int fd, TrailPosition first, uint64 from, uint64 size,
							   TrailFault *fault)
{
	char path[MAXPGPATH];
	char aside[MAXPGPATH + 32];
	char block[8192];
	uint64 at = from;
	int out;

	trail_segment_path(path, first);
	snprintf(aside, sizeof(aside), "%s.%llu.torn", path, (unsigned long long) from);
	out = BasicOpenFilePerm(aside, O_RDWR | O_CREAT | O_TRUNC | PG_BINARY, S_IRUSR | S_IWUSR);
	if (out < 0)
		return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errno, first, from,
								   "could not set an unfinished record aside");
	while (at < size)
	{
		ssize_t got = pg_pread(fd, block, Min(sizeof(block), size - at), at);

		errno = ENOSPC;
		if (got <= 0 || pg_pwrite(out, block, got, at - from) != got)
			break;
		at += got;
	}
	if (at < size || pg_fsync(out) != 0 || ftruncate(fd, from) != 0 || pg_fsync(fd) != 0)
	{
		int errnum = errno;

		close(out);
		return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errnum, first, from,
								   "could not set an unfinished record aside");
	}
	close(out);
	return true;
}

/* Begins a trail: a directory, a node's identity and an empty first segment. */
static bool
trail_append_recover_create(TrailShared *shared, TrailFault *fault)
{
	TrailSegment segment;
	uint64 length;
	int fd;

	memset(&segment, 0, sizeof(segment));
	trail_tree_random(segment.node, sizeof(segment.node));
	segment.created = trail_append_now();
	if (!trail_segment_make_directory(fault))
		return false;
	fd = trail_segment_create(&segment, &length, fault);
	if (fd < 0)
		return false;
	trail_append_adopt(fd, 0);
	memcpy(shared->node, segment.node, TRAIL_NODE_LENGTH);
	memset(&shared->tree, 0, sizeof(shared->tree));
	shared->segment = 0;
	shared->offset = length;
	shared->before = 0;
	shared->last_frame = shared->seen_frame = 0;
	shared->torn = 0;
	shared->switching = false;
	shared->fresh = true;
	return true;
}

/*
 * What a server has signed is on disk before it notes so: no crash makes the trail
 * shorter or another one.  Somebody cut it, wrote it anew, or put an older copy in
 * place, and nothing may be appended to that as if nothing had happened.
 */
static bool
trail_append_recover_unsigned(bool another, TrailPosition first, uint64 offset, TrailFault *fault)
{
	(void) trail_segment_fault(fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, first, offset,
							   another ? "what stands before it is not what this server signed"
									   : "it ends before what this server has signed");
	fault->hint = "Put the trail back as it was. If that is lost for good, keep the file of "
				  "ward.signing_key_file aside: the trail then goes on with a new key, and says "
				  "so. Statements that would disclose watched data are refused until then.";
	return false;
}

/* Replays the last segment into the shared state.  Caller holds the lock. */
static bool
trail_append_recover_replay(TrailShared *shared, TrailPosition first, TrailFault *fault,
							bool *unfinished)
{
	TrailSegment segment;
	TrailScan scan;
	TrailFrameState state;
	const char *leaf;
	Size len;
	struct stat st;
	uint8 hash[TRAIL_HASH_LENGTH];
	uint8 noted_root[TRAIL_HASH_LENGTH];
	uint64 noted_size;
	bool noted;
	bool signed_well = true;
	int64 last_at = 0;
	int fd = trail_segment_open(first, O_RDWR, fault);

	*unfinished = false;
	if (fd < 0)
		return false;
	trail_append_adopt(fd, first);
	if (fstat(fd, &st) != 0)
		return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errno, first, 0,
								   "could not stat it");
	if (!trail_segment_read_header(fd, first, &segment, fault))
	{
		/*
		 * A crash between creating a segment and writing its header leaves a file
		 * with no record in it.  Anything else is damage.
		 */
		*unfinished = (uint64) st.st_size <= trail_segment_header_length(first);
		return false;
	}
	if (!trail_signing_noted(segment.node, &noted, &noted_size, noted_root, fault))
		return false;
	trail_segment_scan_begin(&scan, fd, first, segment.length, st.st_size);
	while ((state = trail_segment_scan_next(&scan, &leaf, &len, fault)) == TRAIL_FRAME_WHOLE)
	{
		if (noted && segment.tree.size == noted_size)
		{
			trail_tree_root(&segment.tree, hash);
			signed_well = memcmp(hash, noted_root, TRAIL_HASH_LENGTH) == 0;
		}
		trail_tree_leaf(leaf, len, hash);
		trail_tree_append(&segment.tree, hash);
		last_at = (int64) trail_segment_get64(leaf + 2);
	}
	if (state == TRAIL_FRAME_TORN && trail_segment_frame_follows(&scan, fault))
		state = TRAIL_FRAME_BAD;
	trail_segment_scan_end(&scan);
	if (state == TRAIL_FRAME_BAD)
		return false;
	if (!signed_well)
		return trail_append_recover_unsigned(true, first, scan.offset, fault);
	/* The checkpoint itself stands behind what it signs. */
	if (noted && segment.tree.size <= noted_size)
		return trail_append_recover_unsigned(false, first, scan.offset, fault);
	shared->torn = 0;
	shared->switching = false;
	if (state == TRAIL_FRAME_TORN)
	{
		if (!trail_append_recover_set_aside(fd, first, scan.offset, st.st_size, fault))
			return false;
		shared->torn = st.st_size - scan.offset;
	}
	memcpy(shared->node, segment.node, TRAIL_NODE_LENGTH);
	shared->tree = segment.tree;
	shared->segment = first;
	shared->offset = scan.offset;
	shared->last_frame = shared->seen_frame = 0;
	shared->leftovers = false;
	shared->last_at = last_at;
	shared->fresh = false;
	return true;
}

/* See append_int.h. */
bool
trail_append_recover(TrailShared *shared, TrailFault *fault)
{
	TrailPosition *firsts;
	uint8 node[TRAIL_NODE_LENGTH];
	int count;
	TrailMarker marker;
	bool known;
	bool unfinished = false;
	bool done;

	if (shared->foreign)
	{
		*fault = shared->why;
		return false;
	}
	if (!trail_marker_read(node, &marker, fault))
		return false;
	known = marker != TRAIL_MARKER_NONE;
	if (!trail_segment_list(&firsts, &count, fault))
	{
		if (fault->sqlerrcode != ERRCODE_WARD_TRAIL_ABSENT)
			return false;
		count = 0;
		firsts = NULL;
	}
	if (count > 0)
	{
		TrailPosition last = firsts[count - 1];

		done = trail_append_recover_replay(shared, last, fault, &unfinished);
		if (!done && unfinished && count > 1)
		{
			done = trail_append_recover_replay(shared, firsts[count - 2], fault, &unfinished);
			/* The last one was begun when the one before it was full. */
			shared->switching = done;
			if (done && shared->tree.size != last)
				done = trail_segment_fault(fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, firsts[count - 2],
										   shared->offset, "records are missing at its end");
		}
		else if (!done && unfinished && !known && last == 0)
			/* The very first was never finished: there is no evidence to lose. */
			done = trail_append_recover_create(shared, fault);
	}
	else if (known)
		done = trail_segment_fault(fault, ERRCODE_WARD_TRAIL_ABSENT, ENOENT, TRAIL_POSITION_INVALID,
								   0, "no segment of this server's trail is there");
	else if (IsBinaryUpgrade)
		done = trail_segment_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, 0, TRAIL_POSITION_INVALID,
								   0, "a server in binary upgrade mode begins no trail");
	else
		done = trail_append_recover_create(shared, fault);
	/* What can't be looked at is not counted: the limit is not evidence. */
	for (int i = 0; done && i < count && firsts[i] < shared->segment; i++)
	{
		char path[MAXPGPATH];
		struct stat st;

		if (i == 0)
			shared->before = 0;
		trail_segment_path(path, firsts[i]);
		if (stat(path, &st) == 0)
			shared->before += st.st_size;
	}
	/* What was pruned.  Where nothing says so, only verifying does: evidence is still written. */
	if (done && count > 0)
	{
		TrailPosition cut;

		if (!trail_carry_find(trail_setting_directory, firsts[0], &cut, fault))
			done = false;
		else
			pg_atomic_write_u64(&shared->begin, cut != TRAIL_POSITION_INVALID ? cut : firsts[0]);
	}
	free(firsts);
	if (done && known && memcmp(node, shared->node, TRAIL_NODE_LENGTH) != 0)
		done = trail_segment_fault(fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, shared->segment, 16,
								   "it belongs to another server's trail");
	/* Also where the server was moved: its trail is ours again. */
	if (done && marker != TRAIL_MARKER_OURS)
		done = trail_marker_write(shared->node, fault);
	if (!done)
		return false;
	pg_atomic_write_u64(&shared->end, shared->tree.size);
	/* Recovered records may be in the kernel only; the next fsync covers them. */
	pg_atomic_write_u64(&shared->synced, 0);
	shared->ready = true;
	return true;
}
