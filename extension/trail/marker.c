/*
 * marker.c
 *		The data directory's memory of which trail is its own.
 *
 * A file in the data directory names the node whose trail this server writes.
 * Without it, a trail that is gone (not mounted, deleted while the server was
 * down) could not be told from one that never was, and the server would quietly
 * begin an empty one.
 *
 * No locks are taken here; callers hold the trail's, so nothing is raised.
 */
#include "trail/trail_int.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/fd.h"

/* Relative to the data directory, which is every server process's own. */
#define MARKER_FILE "ward_trail.node"
#define MARKER_LENGTH (2 * TRAIL_NODE_LENGTH)

static bool
trail_marker_fault(TrailFault *fault, int sqlerrcode, int errnum, const char *what)
{
	fault->sqlerrcode = sqlerrcode;
	fault->errnum = errnum;
	fault->what = what;
	fault->offset = 0;
	strlcpy(fault->path, MARKER_FILE, MAXPGPATH);
	return false;
}

/* Reads which node's trail this server has begun; *known is false before the first. */
bool
trail_marker_read(uint8 node[TRAIL_NODE_LENGTH], bool *known, TrailFault *fault)
{
	char text[MARKER_LENGTH + 1];
	ssize_t got;
	int fd = BasicOpenFile(MARKER_FILE, O_RDONLY | PG_BINARY);

	*known = false;
	if (fd < 0)
		return errno == ENOENT || trail_marker_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errno,
													 "could not open it");
	got = pg_pread(fd, text, MARKER_LENGTH, 0);
	if (got < 0)
	{
		int errnum = errno;

		close(fd);
		return trail_marker_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errnum,
								  "could not read it");
	}
	close(fd);
	for (int i = 0; i < MARKER_LENGTH; i++)
	{
		static const char digits[] = "0123456789abcdef";
		const char *digit =
			got == MARKER_LENGTH && text[i] != '\0' ? strchr(digits, text[i]) : NULL;

		if (digit == NULL)
			return trail_marker_fault(fault, ERRCODE_WARD_TRAIL_CORRUPT, 0,
									  "it does not hold a node's name");
		if (i % 2 == 0)
			node[i / 2] = (uint8) ((digit - digits) << 4);
		else
			node[i / 2] |= (uint8) (digit - digits);
	}
	*known = true;
	return true;
}

/* Notes the node, on disk and whole before it returns. */
bool
trail_marker_write(const uint8 node[TRAIL_NODE_LENGTH], TrailFault *fault)
{
	char text[MARKER_LENGTH + 2];
	int fd;

	for (int i = 0; i < TRAIL_NODE_LENGTH; i++)
		snprintf(text + 2 * i, 3, "%02x", node[i]);
	text[MARKER_LENGTH] = '\n';
	fd = BasicOpenFilePerm(MARKER_FILE ".new", O_RDWR | O_CREAT | O_TRUNC | PG_BINARY,
						   S_IRUSR | S_IWUSR);
	if (fd < 0)
		return trail_marker_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errno,
								  "could not create it");
	errno = ENOSPC; /* what a short write means when errno is silent */
	if (pg_pwrite(fd, text, MARKER_LENGTH + 1, 0) != MARKER_LENGTH + 1 || pg_fsync(fd) != 0)
	{
		int errnum = errno;

		close(fd);
		return trail_marker_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errnum,
								  "could not write it");
	}
	close(fd);
	if (rename(MARKER_FILE ".new", MARKER_FILE) != 0 || fsync_fname_ext(".", true, true, LOG) != 0)
		return trail_marker_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errno,
								  "could not put it in place");
	return true;
}
