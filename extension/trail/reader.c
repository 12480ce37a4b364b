/*
 * reader.c
 *		Reads records in order, across segments.
 *
 * Reads only below the recorded end, so it needs no lock: bytes there do not
 * change.  A reader that starts where the last one of this process ended finds its
 * place without scanning the segment again.
 *
 * Raises WD305 where a position was pruned, WD301 where a segment is absent, WD302 where it can't be read and WD303
 * where its bytes are not what was written; it never skips.
 */
#include "trail/trail_int.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/fd.h"
#include "utils/timestamp.h"

struct TrailReader
{
	int fd;
	TrailScan scan;
	TrailPosition next; /* position of the next record */
	TrailPosition end;
	const char *directory; /* NULL: this server's own trail, whose end moves */
	MemoryContextCallback cleanup;
};

/* Where the last reader of this process stood. */
static TrailPosition reader_known = TRAIL_POSITION_INVALID;
static TrailPosition reader_known_segment;
static uint64 reader_known_offset;

static void
trail_reader_leave_segment(TrailReader *reader)
{
	if (reader->fd >= 0)
	{
		CloseTransientFile(reader->fd);
		trail_segment_scan_end(&reader->scan);
		reader->fd = -1;
	}
}

/* An error may keep a reader from being closed; its buffer is not the context's. */
static void
trail_reader_forget(void *arg)
{
	trail_segment_scan_end(&((TrailReader *) arg)->scan);
}

static void trail_reader_raise(const TrailReader *reader, TrailFault *fault)
	pg_attribute_noreturn();

static void
trail_reader_raise(const TrailReader *reader, TrailFault *fault)
{
	if (reader->directory != NULL)
		trail_segment_fault_in(fault, reader->directory);
	trail_segment_raise(fault);
}

/* Raises where a record of this server's own trail was pruned. */
void
trail_reader_require(TrailPosition position)
{
	TrailPosition begin = trail_append_begin();

	if (position < begin)
		ereport(ERROR,
				(errcode(ERRCODE_WARD_TRAIL_PRUNED),
				 errmsg("record " UINT64_FORMAT " of the trail was pruned", position),
				 errdetail("The trail begins at record " UINT64_FORMAT
						   "; what was before it was removed by right of ward.retention.",
						   begin),
				 errhint("The event trail.pruned says when, and the root of the records that are "
						 "gone.")));
}

/* Lists the segments anew and opens the one that holds the next position. */
static void
trail_reader_enter_segment(TrailReader *reader)
{
	TrailFault fault;
	TrailSegment segment;
	TrailPosition *firsts;
	TrailPosition first;
	char path[MAXPGPATH];
	struct stat st;
	int segments;
	int at;

	trail_reader_leave_segment(reader);
	if (!trail_segment_list_in(reader->directory != NULL ? reader->directory
														 : trail_setting_directory,
							   &firsts, &segments, &fault))
		trail_reader_raise(reader, &fault);
	for (at = segments - 1; at >= 0; at--)
		if (firsts[at] <= reader->next)
			break;
	first = at >= 0 ? firsts[at] : TRAIL_POSITION_INVALID;
	free(firsts);
	if (at < 0)
	{
		if (reader->directory == NULL)
			trail_reader_require(reader->next);
		trail_segment_fault(&fault, ERRCODE_WARD_TRAIL_ABSENT, ENOENT, reader->next, 0,
							"no segment holds this position");
		trail_reader_raise(reader, &fault);
	}
	trail_segment_path_in(
		path, reader->directory != NULL ? reader->directory : trail_setting_directory, first);
	reader->fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	if (reader->fd < 0)
	{
		trail_segment_fault(
			&fault, errno == ENOENT ? ERRCODE_WARD_TRAIL_ABSENT : ERRCODE_WARD_TRAIL_UNREACHABLE,
			errno, first, 0, "could not open it");
		trail_reader_raise(reader, &fault);
	}
	if (!trail_segment_read_header(reader->fd, first, &segment, &fault))
		trail_reader_raise(reader, &fault);
	if (fstat(reader->fd, &st) != 0)
		elog(ERROR, "could not stat \"%s\": %m", path);
	if (reader->directory == NULL && reader_known == reader->next &&
		reader_known_segment == first && reader_known_offset <= (uint64) st.st_size)
	{
		trail_segment_scan_begin(&reader->scan, reader->fd, first, reader_known_offset, st.st_size);
		return;
	}
	trail_segment_scan_begin(&reader->scan, reader->fd, first, segment.length, st.st_size);
	for (TrailPosition skip = first; skip < reader->next; skip++)
	{
		const char *leaf;
		Size len;
		TrailFrameState state = trail_segment_scan_next(&reader->scan, &leaf, &len, &fault);

		if (state == TRAIL_FRAME_WHOLE)
			continue;
		if (state != TRAIL_FRAME_BAD)
			trail_segment_fault(&fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, first, reader->scan.offset,
								"records are missing at its end");
		trail_reader_raise(reader, &fault);
	}
}

/* Reads the segments in a directory from a position to an end.  The directory's name must live on. */
TrailReader *
trail_reader_open_in(const char *directory, TrailPosition from, TrailPosition end)
{
	TrailReader *reader = palloc0(sizeof(TrailReader));

	reader->fd = -1;
	reader->next = from;
	reader->directory = directory;
	reader->end = directory == NULL ? trail_append_end() : end;
	reader->cleanup.func = trail_reader_forget;
	reader->cleanup.arg = reader;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &reader->cleanup);
	return reader;
}

/* See trail_int.h. */
TrailReader *
trail_reader_open(TrailPosition from)
{
	return trail_reader_open_in(NULL, from, 0);
}

/* A leaf as a frame; the leaf's bytes must live on. */
void
trail_reader_frame(TrailFrame *frame, TrailPosition position, const char *leaf, Size len)
{
	int64 at = (int64) trail_segment_get64(leaf + 2);

	frame->position = position;
	frame->kind = (TrailKind) (uint8) leaf[0];
	frame->version = (uint8) leaf[1];
	frame->at = at - (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	frame->database = trail_segment_get32(leaf + 10);
	frame->body = leaf + TRAIL_LEAF_HEADER;
	frame->length = len - TRAIL_LEAF_HEADER;
}

bool
trail_reader_next(TrailReader *reader, TrailFrame *frame)
{
	TrailFault fault;
	TrailFrameState state;
	const char *leaf;
	Size len;

	if (reader->next >= reader->end)
	{
		if (reader->directory != NULL)
			return false;
		reader->end = trail_append_end();
		if (reader->next >= reader->end)
			return false;
	}
	if (reader->fd < 0)
		trail_reader_enter_segment(reader);
	state = trail_segment_scan_next(&reader->scan, &leaf, &len, &fault);
	if (state != TRAIL_FRAME_WHOLE)
	{
		struct stat st;

		/*
		 * The file may have grown since it was opened; and what was read ahead, beyond
		 * the end, may have been a write that failed and was made good since.
		 */
		if (fstat(reader->fd, &st) == 0)
		{
			reader->scan.size = st.st_size;
			reader->scan.buffered = 0;
			state = trail_segment_scan_next(&reader->scan, &leaf, &len, &fault);
		}
	}
	if (state == TRAIL_FRAME_END || state == TRAIL_FRAME_TORN)
	{
		TrailPosition before = reader->scan.first;

		/* Written in full below the end: what is not here is in the next segment. */
		trail_reader_enter_segment(reader);
		if (reader->scan.first == before)
		{
			trail_segment_fault(&fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, before, reader->scan.offset,
								"records are missing at its end");
			trail_reader_raise(reader, &fault);
		}
		state = trail_segment_scan_next(&reader->scan, &leaf, &len, &fault);
		if (state != TRAIL_FRAME_WHOLE && state != TRAIL_FRAME_BAD)
			trail_segment_fault(&fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, reader->scan.first,
								reader->scan.offset, "it holds no record");
	}
	if (state != TRAIL_FRAME_WHOLE)
		trail_reader_raise(reader, &fault);
	trail_reader_frame(frame, reader->next++, leaf, len);
	return true;
}

void
trail_reader_close(TrailReader *reader)
{
	if (reader->fd >= 0 && reader->directory == NULL)
	{
		reader_known = reader->next;
		reader_known_segment = reader->scan.first;
		reader_known_offset = reader->scan.offset;
	}
	/* The reader itself goes with its memory context, which calls it back. */
	trail_reader_leave_segment(reader);
}
