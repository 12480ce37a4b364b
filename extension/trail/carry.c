/*
 * carry.c
 *		The file of what was carried over a cut, when the trail before it was pruned.
 *
 * Records that stay refer to records that go: who acted, descriptions, texts, subject
 * keys; verifiers need the chain of signing keys from the first on, and answers need to
 * know how things stood.  Those records are copied into one file for the cut, named for
 * its position.  An event trail.pruned, signed before anything is removed, has the file's
 * SHA-256.  The format is in docs/trail.md.
 *
 * A file is written whole or not at all, is never changed, and is removed only when one
 * of a later cut is in force.  No locks; nothing is raised where a fault can be described.
 */
#include "trail/trail_int.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/fd.h"
#include "utils/memutils.h"

#define CARRY_FORMAT 1
/* magic, format, header length, node, cut, made, entries, root, file length, checksum */
#define CARRY_HEADER (8 + 4 + 4 + TRAIL_NODE_LENGTH + 8 + 8 + 8 + TRAIL_HASH_LENGTH + 8 + 4)
#define CARRY_ENTRY (8 + TRAIL_FRAME_HEADER)

static const char carry_magic[8] = {'W', 'A', 'R', 'D', 'C', 'R', 'Y', '1'};

void
trail_carry_path_in(char *path, const char *directory, TrailPosition cut)
{
	snprintf(path, MAXPGPATH, "%s/%016llx" TRAIL_CARRY_SUFFIX, directory, (unsigned long long) cut);
}

static bool
trail_carry_fault(TrailFault *fault, const char *directory, TrailPosition cut, int sqlerrcode,
				  int errnum, uint64 offset, const char *what)
{
	(void) trail_segment_fault(fault, sqlerrcode, errnum, TRAIL_POSITION_INVALID, offset, what);
	trail_carry_path_in(fault->path, directory, cut);
	return false;
}

/*
 * Which cut is in force of a trail whose first segment begins at first?  Its own; or,
 * where a crash came while segments were removed, the next one.  TRAIL_POSITION_INVALID:
 * there is no file that it could be.
 */
bool
trail_carry_find(const char *directory, TrailPosition first, TrailPosition *cut, TrailFault *fault)
{
	TrailPosition *cuts;
	int count;

	*cut = first == 0 ? 0 : TRAIL_POSITION_INVALID;
	if (first == 0)
		return true;
	if (!trail_segment_list_named(directory, TRAIL_CARRY_SUFFIX, &cuts, &count, fault))
		return false;
	for (int i = 0; i < count && *cut == TRAIL_POSITION_INVALID; i++)
		if (cuts[i] >= first)
			*cut = cuts[i];
	free(cuts);
	return true;
}

/* Is it what a carry has to be, byte for byte?  Fills in what the header says. */
static const char *
trail_carry_check(TrailCarry *carry, uint64 *offset)
{
	const char *bytes = carry->bytes;
	Size at = CARRY_HEADER;

	*offset = 0;
	if (carry->length < CARRY_HEADER || memcmp(bytes, carry_magic, sizeof(carry_magic)) != 0)
		return "it does not start with the header of what a prune carried over";
	*offset = 8;
	if (trail_segment_get32(bytes + 8) != CARRY_FORMAT ||
		trail_segment_get32(bytes + 12) != CARRY_HEADER)
		return "its format is unknown to this version";
	*offset = CARRY_HEADER - 4;
	if (trail_segment_crc(bytes, CARRY_HEADER - 4, NULL, 0) !=
		trail_segment_get32(bytes + CARRY_HEADER - 4))
		return "its header fails its checksum";
	memcpy(carry->node, bytes + 16, TRAIL_NODE_LENGTH);
	*offset = 32;
	if (trail_segment_get64(bytes + 32) != carry->cut)
		return "its header belongs to another cut";
	carry->made = (int64) trail_segment_get64(bytes + 40);
	carry->count = trail_segment_get64(bytes + 48);
	memcpy(carry->root, bytes + 56, TRAIL_HASH_LENGTH);
	if (trail_segment_get64(bytes + 56 + TRAIL_HASH_LENGTH) != carry->length)
		return "its length is not what its header says";
	for (uint64 i = 0; i < carry->count; i++)
	{
		Size len;

		*offset = at;
		if (carry->length - at < CARRY_ENTRY ||
			trail_segment_leaf(bytes + at + 8, carry->length - at - 8, &len) == NULL)
			return "a record in it is damaged";
		if (trail_segment_get64(bytes + at) >= carry->cut)
			return "a record in it is not from before the cut";
		at += CARRY_ENTRY + len;
	}
	*offset = at;
	return at == carry->length ? NULL : "there is more in it than its header says";
}

/* Reads a whole file; bytes live in the current memory context. */
bool
trail_carry_read(const char *directory, TrailPosition cut, TrailCarry *carry, TrailFault *fault)
{
	char path[MAXPGPATH];
	struct stat st;
	Size got = 0;
	const char *what;
	uint64 offset;
	int fd;

	memset(carry, 0, sizeof(*carry));
	carry->cut = cut;
	carry->offset = CARRY_HEADER;
	trail_carry_path_in(path, directory, cut);
	fd = BasicOpenFile(path, O_RDONLY | PG_BINARY);
	if (fd < 0)
		return trail_carry_fault(
			fault, directory, cut,
			errno == ENOENT ? ERRCODE_WARD_TRAIL_ABSENT : ERRCODE_WARD_TRAIL_UNREACHABLE, errno, 0,
			errno == ENOENT ? "it does not exist" : "could not open it");
	if (fstat(fd, &st) == 0)
	{
		/* Not palloc: running out of memory must not leave the file open. */
		carry->bytes = palloc_extended(Max(st.st_size, 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
		while (carry->bytes != NULL && got < (Size) st.st_size)
		{
			ssize_t more = pg_pread(fd, carry->bytes + got, st.st_size - got, (off_t) got);

			if (more <= 0)
				break;
			got += more;
		}
		carry->length = got;
	}
	close(fd);
	if (carry->bytes == NULL)
		return trail_carry_fault(fault, directory, cut, ERRCODE_OUT_OF_MEMORY, ENOMEM, 0,
								 "no memory to read it");
	trail_tree_digest(carry->bytes, carry->length, carry->hash);
	what = trail_carry_check(carry, &offset);
	return what == NULL ||
		   trail_carry_fault(fault, directory, cut, ERRCODE_WARD_TRAIL_CORRUPT, 0, offset, what);
}

/* The next record that was carried over; false: there is none left. */
bool
trail_carry_next(TrailCarry *carry, TrailCarryEntry *entry)
{
	const char *at = carry->bytes + carry->offset;

	if (carry->given == carry->count)
		return false;
	carry->given++;
	entry->position = trail_segment_get64(at);
	entry->leaf = trail_segment_leaf(at + 8, carry->length - carry->offset - 8, &entry->length);
	carry->offset += CARRY_ENTRY + entry->length;
	return true;
}

/* ---------------------------------------------------------------- writing */

static void
trail_carry_room(TrailCarry *carry, Size more)
{
	if (carry->offset + more <= carry->length)
		return;
	carry->length = Max(carry->length * 2, carry->offset + more);
	carry->bytes = repalloc_huge(carry->bytes, carry->length);
}

/* Begins a file in memory, of the current memory context. */
void
trail_carry_begin(TrailCarry *carry, const uint8 node[TRAIL_NODE_LENGTH], TrailPosition cut,
				  const uint8 root[TRAIL_HASH_LENGTH])
{
	memset(carry, 0, sizeof(*carry));
	carry->cut = cut;
	carry->made = trail_append_now();
	memcpy(carry->node, node, TRAIL_NODE_LENGTH);
	memcpy(carry->root, root, TRAIL_HASH_LENGTH);
	carry->length = 64 * 1024;
	carry->bytes = palloc(carry->length);
	carry->offset = CARRY_HEADER;
}

/* Carries a record over. */
void
trail_carry_add(TrailCarry *carry, TrailPosition position, const char *leaf, Size len)
{
	uint8 *at;

	trail_carry_room(carry, CARRY_ENTRY + len);
	at = (uint8 *) carry->bytes + carry->offset;
	trail_segment_put64(at, position);
	memcpy(at + CARRY_ENTRY, leaf, len);
	trail_segment_frame(at + 8, leaf, len);
	carry->offset += CARRY_ENTRY + len;
	carry->count++;
}

/* Puts the file in its place, on disk when it returns; the hash is then known. */
bool
trail_carry_write(TrailCarry *carry, TrailFault *fault)
{
	uint8 *head = (uint8 *) carry->bytes;
	char path[MAXPGPATH];
	char fresh[MAXPGPATH + 8];
	Size at = 0;
	bool written;
	int errnum;
	int fd;

	memcpy(head, carry_magic, sizeof(carry_magic));
	trail_segment_put32(head + 8, CARRY_FORMAT);
	trail_segment_put32(head + 12, CARRY_HEADER);
	memcpy(head + 16, carry->node, TRAIL_NODE_LENGTH);
	trail_segment_put64(head + 32, carry->cut);
	trail_segment_put64(head + 40, (uint64) carry->made);
	trail_segment_put64(head + 48, carry->count);
	memcpy(head + 56, carry->root, TRAIL_HASH_LENGTH);
	carry->length = carry->offset;
	trail_segment_put64(head + 56 + TRAIL_HASH_LENGTH, carry->length);
	trail_segment_put32(head + CARRY_HEADER - 4,
						trail_segment_crc(head, CARRY_HEADER - 4, NULL, 0));
	trail_tree_digest(carry->bytes, carry->length, carry->hash);

	trail_carry_path_in(path, trail_setting_directory, carry->cut);
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	fd = BasicOpenFilePerm(fresh, O_RDWR | O_CREAT | O_TRUNC | PG_BINARY, S_IRUSR | S_IWUSR);
	if (fd < 0)
		return trail_carry_fault(fault, trail_setting_directory, carry->cut,
								 ERRCODE_WARD_TRAIL_UNREACHABLE, errno, 0, "could not create it");
	errno = ENOSPC; /* what a short write means when errno is silent */
	while (at < carry->length)
	{
		ssize_t put = pg_pwrite(fd, carry->bytes + at, carry->length - at, (off_t) at);

		if (put <= 0)
			break;
		at += put;
	}
	written = at == carry->length && pg_fsync(fd) == 0;
	errnum = errno;
	close(fd);
	if (!written || rename(fresh, path) != 0)
	{
		errnum = written ? errno : errnum;
		(void) unlink(fresh);
		return trail_carry_fault(fault, trail_setting_directory, carry->cut,
								 ERRCODE_WARD_TRAIL_UNREACHABLE, errnum, 0, "could not write it");
	}
	if (fsync_fname_ext(trail_setting_directory, true, true, LOG) != 0)
		return trail_carry_fault(fault, trail_setting_directory, carry->cut,
								 ERRCODE_WARD_TRAIL_UNREACHABLE, errno, 0,
								 "could not make its creation durable");
	return true;
}
