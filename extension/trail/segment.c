/*
 * segment.c
 *		The trail's files: names, headers, frames.
 *
 * A segment is named for the position of its first record and starts with a
 * header that holds the tree's compact range of all records before it, so that
 * recovery replays one segment and not the whole trail.  After the header come
 * frames: length, CRC-32C, leaf.
 *
 * Functions here never raise while a caller may hold the trail's lock: they
 * return false and describe the fault.  No locks are taken here.
 */
#include "trail/trail_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"
#include "utils/timestamp.h"

#define SEGMENT_MAGIC "WARDTRL1"
#define SEGMENT_FORMAT 1
#define SEGMENT_SUFFIX ".trail"
/* magic, format, header length, node, first, created, count of hashes */
#define SEGMENT_FIXED (8 + 4 + 4 + TRAIL_NODE_LENGTH + 8 + 8 + 4)
#define SEGMENT_HEADER_MAX (SEGMENT_FIXED + TRAIL_LEVELS * TRAIL_HASH_LENGTH + 4)

#define SCAN_BUFFER (256 * 1024)

void
trail_segment_put32(uint8 *at, uint32 value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8) (value >> (8 * i));
}

void
trail_segment_put64(uint8 *at, uint64 value)
{
	for (int i = 0; i < 8; i++)
		at[i] = (uint8) (value >> (8 * i));
}

uint32
trail_segment_get32(const void *from)
{
	const uint8 *at = from;

	return at[0] | (uint32) at[1] << 8 | (uint32) at[2] << 16 | (uint32) at[3] << 24;
}

uint64
trail_segment_get64(const void *from)
{
	const uint8 *at = from;

	return trail_segment_get32(at) | (uint64) trail_segment_get32(at + 4) << 32;
}

/* Bytes of the header of a segment that starts at this position. */
uint64
trail_segment_header_length(TrailPosition first)
{
	return SEGMENT_FIXED + (uint64) pg_popcount64(first) * TRAIL_HASH_LENGTH + 4;
}

uint32
trail_segment_crc(const void *a, Size alen, const void *b, Size blen)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, a, alen);
	if (blen > 0)
		COMP_CRC32C(crc, b, blen);
	FIN_CRC32C(crc);
	return crc;
}

/* path has room for MAXPGPATH bytes. */
void
trail_segment_path_in(char *path, const char *directory, TrailPosition first)
{
	snprintf(path, MAXPGPATH, "%s/%016llx" SEGMENT_SUFFIX, directory, (unsigned long long) first);
}

/* Of this server's own trail. */
void
trail_segment_path(char *path, TrailPosition first)
{
	trail_segment_path_in(path, trail_setting_directory, first);
}

/* A fault is described with the path in this server's own trail; puts it where it is. */
void
trail_segment_fault_in(TrailFault *fault, const char *directory)
{
	char path[MAXPGPATH];
	const char *name = strrchr(fault->path, '/');

	if (name != NULL && strcmp(fault->path, trail_setting_directory) != 0)
		snprintf(path, sizeof(path), "%s%s", directory, name);
	else
		strlcpy(path, directory, sizeof(path));
	strlcpy(fault->path, path, sizeof(fault->path));
}

/* Describes a fault; returns false, so that callers can return its result. */
bool
trail_segment_fault(TrailFault *fault, int sqlerrcode, int errnum, TrailPosition first,
					uint64 offset, const char *what)
{
	fault->sqlerrcode = sqlerrcode;
	fault->errnum = errnum;
	fault->what = what;
	fault->hint = NULL;
	fault->offset = offset;
	if (first == TRAIL_POSITION_INVALID)
		strlcpy(fault->path, trail_setting_directory, MAXPGPATH);
	else
		trail_segment_path(fault->path, first);
	return false;
}

/* Raises what a fault describes. */
void
trail_segment_raise(const TrailFault *fault)
{
	errno = fault->errnum;
	if (fault->sqlerrcode == ERRCODE_WARD_TRAIL_CORRUPT)
		ereport(ERROR,
				(errcode(fault->sqlerrcode), errmsg("the trail is damaged"),
				 errdetail("File \"%s\", at byte %llu: %s.", fault->path,
						   (unsigned long long) fault->offset, fault->what),
				 fault->hint != NULL
					 ? errhint("%s", fault->hint)
					 : errhint("Keep the file as it is, and run ward.verify_trail() to see how far "
							   "the evidence is whole. Statements that would disclose watched data "
							   "are refused until then.")));
	if (fault->sqlerrcode == ERRCODE_WARD_TRAIL_ABSENT)
		ereport(ERROR, (errcode(fault->sqlerrcode), errmsg("the trail is missing"),
						errdetail("File or directory \"%s\": %s.", fault->path, fault->what),
						errhint("Put the trail back in its place. Statements that would disclose "
								"watched data are refused until then.")));
	ereport(ERROR,
			(errcode(fault->sqlerrcode), errmsg("could not write or read the trail"),
			 fault->errnum != 0
				 ? errdetail("File or directory \"%s\": %s: %m.", fault->path, fault->what)
				 : errdetail("File or directory \"%s\": %s.", fault->path, fault->what),
			 fault->hint != NULL
				 ? errhint("%s", fault->hint)
				 : errhint("Free space or restore access; statements that would disclose watched "
						   "data are refused until then, and work again by themselves.")));
}

static bool
trail_segment_errno(TrailFault *fault, TrailPosition first, const char *what)
{
	int errnum = errno;

	if (errnum == ENOENT)
		return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_ABSENT, errnum, first, 0,
								   "it does not exist");
	return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errnum, first, 0, what);
}

static int
trail_segment_compare(const void *a, const void *b)
{
	TrailPosition x = *(const TrailPosition *) a;
	TrailPosition y = *(const TrailPosition *) b;

	return x < y ? -1 : x > y;
}

/*
 * Lists the files of a position and a suffix, ascending; the array is malloc'd, because
 * callers may be where palloc must not fail halfway, and is the caller's to free.
 * A missing directory is a fault of its own (absent).
 */
bool
trail_segment_list_named(const char *directory, const char *suffix, TrailPosition **firsts,
						 int *count, TrailFault *fault)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;
	int capacity = 0;

	*firsts = NULL;
	*count = 0;
	if (dir == NULL)
		return trail_segment_errno(fault, TRAIL_POSITION_INVALID, "could not open it");
	while ((errno = 0, entry = readdir(dir)) != NULL)
	{
		char *end;
		unsigned long long first;

		if (strlen(entry->d_name) != 16 + strlen(suffix))
			continue;
		first = strtoull(entry->d_name, &end, 16);
		if (end != entry->d_name + 16 || strcmp(end, suffix) != 0)
			continue;
		if (*count == capacity)
		{
			TrailPosition *grown;

			capacity = capacity == 0 ? 64 : capacity * 2;
			grown = realloc(*firsts, capacity * sizeof(TrailPosition));
			if (grown == NULL)
			{
				free(*firsts);
				*firsts = NULL;
				closedir(dir);
				return trail_segment_fault(fault, ERRCODE_OUT_OF_MEMORY, ENOMEM,
										   TRAIL_POSITION_INVALID, 0, "could not list it");
			}
			*firsts = grown;
		}
		(*firsts)[(*count)++] = first;
	}
	if (errno != 0)
	{
		int errnum = errno;

		free(*firsts);
		*firsts = NULL;
		closedir(dir);
		errno = errnum;
		return trail_segment_errno(fault, TRAIL_POSITION_INVALID, "could not list it");
	}
	closedir(dir);
	if (*count > 1)
		qsort(*firsts, *count, sizeof(TrailPosition), trail_segment_compare);
	return true;
}

/* The segments, by first position. */
bool
trail_segment_list_in(const char *directory, TrailPosition **firsts, int *count, TrailFault *fault)
{
	return trail_segment_list_named(directory, SEGMENT_SUFFIX, firsts, count, fault);
}

/* Of this server's own trail. */
bool
trail_segment_list(TrailPosition **firsts, int *count, TrailFault *fault)
{
	return trail_segment_list_in(trail_setting_directory, firsts, count, fault);
}

/* Makes the trail's directory, readable by the server alone, unless it exists. */
bool
trail_segment_make_directory(TrailFault *fault)
{
	struct stat st;

	if (stat(trail_setting_directory, &st) == 0)
		return true;
	if (errno == ENOENT && mkdir(trail_setting_directory, S_IRWXU) == 0)
	{
		char parent[MAXPGPATH];

		strlcpy(parent, trail_setting_directory, MAXPGPATH);
		get_parent_directory(parent);
		/* A lost directory entry would lose the trail with it. */
		if (fsync_fname_ext(parent[0] != '\0' ? parent : ".", true, true, LOG) == 0)
			return true;
		return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errno,
								   TRAIL_POSITION_INVALID, 0,
								   "could not make its creation durable");
	}
	return trail_segment_errno(fault, TRAIL_POSITION_INVALID, "could not create it");
}

/*
 * Creates a segment with its header, on disk before it returns; gives the open
 * file, or -1.  A leftover of the same name from an interrupted creation can only
 * be empty of records, and is replaced.
 */
int
trail_segment_create(const TrailSegment *segment, uint64 *length, TrailFault *fault)
{
	uint8 header[SEGMENT_HEADER_MAX];
	uint8 *at = header;
	uint8 *count_at;
	uint32 hashes = 0;
	char path[MAXPGPATH];
	int fd;

	memcpy(at, SEGMENT_MAGIC, 8);
	trail_segment_put32(at + 8, SEGMENT_FORMAT);
	memcpy(at + 16, segment->node, TRAIL_NODE_LENGTH);
	trail_segment_put64(at + 32, segment->first);
	trail_segment_put64(at + 40, (uint64) segment->created);
	count_at = at + 48;
	at += SEGMENT_FIXED;
	for (int level = 0; level < TRAIL_LEVELS; level++)
	{
		if (!(segment->tree.size & (UINT64CONST(1) << level)))
			continue;
		memcpy(at, segment->tree.hashes[level], TRAIL_HASH_LENGTH);
		at += TRAIL_HASH_LENGTH;
		hashes++;
	}
	trail_segment_put32(count_at, hashes);
	trail_segment_put32(header + 12, (uint32) (at - header) + 4);
	trail_segment_put32(at, trail_segment_crc(header, at - header, NULL, 0));
	at += 4;

	trail_segment_path(path, segment->first);
	fd = BasicOpenFilePerm(path, O_RDWR | O_CREAT | O_TRUNC | PG_BINARY, S_IRUSR | S_IWUSR);
	if (fd < 0)
	{
		trail_segment_errno(fault, segment->first, "could not create it");
		return -1;
	}
	errno = ENOSPC; /* what a short write means when errno is silent */
	if (pg_pwrite(fd, header, at - header, 0) != at - header || pg_fsync(fd) != 0)
	{
		trail_segment_errno(fault, segment->first, "could not write its header");
		close(fd);
		/* No record is in it: leaving it would only confuse recovery. */
		(void) unlink(path);
		return -1;
	}
	if (fsync_fname_ext(trail_setting_directory, true, true, LOG) != 0)
	{
		trail_segment_errno(fault, segment->first, "could not make its creation durable");
		close(fd);
		return -1;
	}
	*length = at - header;
	return fd;
}

/* Opens a segment; the descriptor is the caller's and outlives transactions. */
int
trail_segment_open(TrailPosition first, int flags, TrailFault *fault)
{
	char path[MAXPGPATH];
	int fd;

	trail_segment_path(path, first);
	fd = BasicOpenFile(path, flags | PG_BINARY);
	if (fd < 0)
		trail_segment_errno(fault, first, "could not open it");
	return fd;
}

/* Forces a segment to disk. */
bool
trail_segment_sync(int fd, TrailPosition first, TrailFault *fault)
{
	if (pg_fdatasync(fd) != 0)
		return trail_segment_errno(fault, first, "could not flush it to disk");
	return true;
}

/*
 * Reads and checks a header.  A file too short to hold one is corrupt; the caller
 * decides whether that can be an interrupted creation.
 */
bool
trail_segment_read_header(int fd, TrailPosition first, TrailSegment *segment, TrailFault *fault)
{
	uint8 header[SEGMENT_HEADER_MAX];
	ssize_t got = pg_pread(fd, header, sizeof(header), 0);

	if (got < 0)
		return trail_segment_errno(fault, first, "could not read it");
	return trail_segment_parse_header(header, got, first, segment, fault);
}

/* The same of bytes in memory. */
bool
trail_segment_parse_header(const uint8 *header, ssize_t got, TrailPosition first,
						   TrailSegment *segment, TrailFault *fault)
{
	uint32 length;
	uint32 hashes;
	const uint8 *at = header + SEGMENT_FIXED;

	if (got < SEGMENT_FIXED + 4 || memcmp(header, SEGMENT_MAGIC, 8) != 0)
		return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, first, 0,
								   "it does not start with a segment header");
	if (trail_segment_get32(header + 8) != SEGMENT_FORMAT)
		return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, first, 8,
								   "its format is unknown to this version");
	length = trail_segment_get32(header + 12);
	hashes = trail_segment_get32(header + 48);
	if (hashes > TRAIL_LEVELS || length != SEGMENT_FIXED + hashes * TRAIL_HASH_LENGTH + 4 ||
		(uint64) got < length ||
		trail_segment_crc(header, length - 4, NULL, 0) != trail_segment_get32(header + length - 4))
		return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, first, 12,
								   "its header fails its checksum");
	if (trail_segment_get64(header + 32) != first)
		return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, first, 32,
								   "its header belongs to another segment");
	memset(segment, 0, sizeof(*segment));
	memcpy(segment->node, header + 16, TRAIL_NODE_LENGTH);
	segment->first = first;
	segment->created = (int64) trail_segment_get64(header + 40);
	segment->length = length;
	segment->tree.size = first;
	for (int level = 0; level < TRAIL_LEVELS; level++)
	{
		if (!(first & (UINT64CONST(1) << level)))
			continue;
		if (hashes-- == 0)
			return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, first, 48,
									   "its header does not fit its first position");
		memcpy(segment->tree.hashes[level], at, TRAIL_HASH_LENGTH);
		at += TRAIL_HASH_LENGTH;
	}
	if (hashes != 0)
		return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, first, 48,
								   "its header does not fit its first position");
	return true;
}

/* Starts reading frames at an offset; fd stays the caller's. */
void
trail_segment_scan_begin(TrailScan *scan, int fd, TrailPosition first, uint64 offset, uint64 size)
{
	memset(scan, 0, sizeof(*scan));
	scan->fd = fd;
	scan->first = first;
	scan->offset = offset;
	scan->size = size;
	scan->capacity = SCAN_BUFFER;
	scan->buffer = malloc(scan->capacity);
}

void
trail_segment_scan_end(TrailScan *scan)
{
	free(scan->buffer);
	scan->buffer = NULL;
}

/* Makes bytes [offset, offset + need) available; false on an error of the file. */
static bool
trail_segment_fill(TrailScan *scan, Size need, TrailFault *fault)
{
	if (scan->offset >= scan->buffered_at &&
		scan->offset + need <= scan->buffered_at + scan->buffered)
		return true;
	if (scan->buffer == NULL || need > scan->capacity)
	{
		char *grown = realloc(scan->buffer, Max(need, scan->capacity));

		if (grown == NULL)
			return trail_segment_fault(fault, ERRCODE_OUT_OF_MEMORY, ENOMEM, scan->first,
									   scan->offset, "no memory to read a record");
		scan->buffer = grown;
		scan->capacity = Max(need, scan->capacity);
	}
	scan->buffered_at = scan->offset;
	scan->buffered = 0;
	while (scan->buffered < need)
	{
		ssize_t got = pg_pread(scan->fd, scan->buffer + scan->buffered,
							   scan->capacity - scan->buffered, scan->offset + scan->buffered);

		if (got < 0)
		{
			if (errno == EINTR)
				continue;
			return trail_segment_errno(fault, scan->first, "could not read it");
		}
		if (got == 0)
			return trail_segment_fault(fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, scan->first,
									   scan->offset, "it is shorter than what was written to it");
		scan->buffered += got;
	}
	return true;
}

/* Are all bytes from here to the file's end zero, as a lost write leaves them? */
static bool
trail_segment_only_zeros(TrailScan *scan)
{
	char block[8192];
	uint64 at = scan->offset;

	while (at < scan->size)
	{
		ssize_t got = pg_pread(scan->fd, block, Min(sizeof(block), scan->size - at), at);

		if (got <= 0)
			return false;
		for (ssize_t i = 0; i < got; i++)
			if (block[i] != 0)
				return false;
		at += got;
	}
	return true;
}

/*
 * The next frame's leaf, valid until the next call.  A fault of the file itself is
 * reported as TRAIL_FRAME_BAD with the fault filled in.
 */
TrailFrameState
trail_segment_scan_next(TrailScan *scan, const char **leaf, Size *len, TrailFault *fault)
{
	uint64 left = scan->size - scan->offset;
	const uint8 *head;
	uint32 length;

	if (scan->offset >= scan->size)
		return TRAIL_FRAME_END;
	if (left < TRAIL_FRAME_HEADER)
		return TRAIL_FRAME_TORN;
	if (!trail_segment_fill(scan, TRAIL_FRAME_HEADER, fault))
		return TRAIL_FRAME_BAD;
	head = (uint8 *) scan->buffer + (scan->offset - scan->buffered_at);
	length = trail_segment_get32(head);
	if (length < TRAIL_LEAF_HEADER || length > TRAIL_LEAF_MAX)
	{
		if (trail_segment_only_zeros(scan))
			return TRAIL_FRAME_TORN;
		trail_segment_fault(fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, scan->first, scan->offset,
							"a record's length is impossible");
		return TRAIL_FRAME_BAD;
	}
	if (left < TRAIL_FRAME_HEADER + (uint64) length)
		return TRAIL_FRAME_TORN;
	if (!trail_segment_fill(scan, TRAIL_FRAME_HEADER + length, fault))
		return TRAIL_FRAME_BAD;
	head = (uint8 *) scan->buffer + (scan->offset - scan->buffered_at);
	if (trail_segment_crc(head, 4, head + TRAIL_FRAME_HEADER, length) !=
		trail_segment_get32(head + 4))
	{
		/* The very last frame may have been cut short in its middle by a crash. */
		if (left == TRAIL_FRAME_HEADER + (uint64) length)
			return TRAIL_FRAME_TORN;
		trail_segment_fault(fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, scan->first, scan->offset,
							"a record fails its checksum");
		return TRAIL_FRAME_BAD;
	}
	*leaf = (const char *) head + TRAIL_FRAME_HEADER;
	*len = length;
	scan->offset += TRAIL_FRAME_HEADER + length;
	return TRAIL_FRAME_WHOLE;
}

/*
 * Is there a whole record behind the one that looks torn?  A crash leaves nothing
 * behind what it tore, so then it is damage in the middle (a flipped bit in a
 * length looks torn too), and cutting there would lose evidence.  True, with the
 * fault filled in, also where that can't be found out.
 */
bool
trail_segment_frame_follows(TrailScan *scan, TrailFault *fault)
{
	uint64 left = scan->size - scan->offset;
	const uint8 *bytes;
	bool found = false;

	if (left <= TRAIL_FRAME_HEADER + TRAIL_LEAF_HEADER)
		return false;
	if (!trail_segment_fill(scan, left, fault))
		return true;
	bytes = (uint8 *) scan->buffer + (scan->offset - scan->buffered_at);
	for (uint64 at = 1; !found && at + TRAIL_FRAME_HEADER + TRAIL_LEAF_HEADER <= left; at++)
	{
		const uint8 *head = bytes + at;
		uint32 length = trail_segment_get32(head);

		/* What a leaf starts with, before the price of a checksum. */
		if (length < TRAIL_LEAF_HEADER || length > left - at - TRAIL_FRAME_HEADER ||
			head[TRAIL_FRAME_HEADER] < TRAIL_KIND_CONTEXT ||
			head[TRAIL_FRAME_HEADER] > TRAIL_KIND_LAST ||
			head[TRAIL_FRAME_HEADER + 1] != TRAIL_RECORD_VERSION)
			continue;
		found = trail_segment_crc(head, 4, head + TRAIL_FRAME_HEADER, length) ==
				trail_segment_get32(head + 4);
	}
	if (found)
		trail_segment_fault(fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, scan->first, scan->offset,
							"a record is damaged, with whole ones behind it");
	return found;
}

/* The leaf of the frame that bytes begin with; NULL where that is not a whole one. */
const char *
trail_segment_leaf(const char *bytes, Size left, Size *len)
{
	uint32 length;

	if (left < TRAIL_FRAME_HEADER)
		return NULL;
	length = trail_segment_get32(bytes);
	if (length < TRAIL_LEAF_HEADER || length > TRAIL_LEAF_MAX ||
		length > left - TRAIL_FRAME_HEADER ||
		trail_segment_crc(bytes, 4, bytes + TRAIL_FRAME_HEADER, length) !=
			trail_segment_get32(bytes + 4))
		return NULL;
	*len = length;
	return bytes + TRAIL_FRAME_HEADER;
}

/* Frames a leaf: length and CRC-32C before it. */
void
trail_segment_frame(uint8 head[TRAIL_FRAME_HEADER], const void *leaf, Size len)
{
	trail_segment_put32(head, (uint32) len);
	trail_segment_put32(head + 4, trail_segment_crc(head, 4, leaf, len));
}
