/*
 * marker.c
 *		The data directory's memory of which trail is its own.
 *
 * A file in the data directory names the node whose trail this server writes.
 * Without it, a trail that is gone (not mounted, deleted while the server was
 * down) could not be told from one that never was, and the server would quietly
 * begin an empty one.
 *
 * A copy of a data directory brings the marker along.  A standby that went on with
 * it would write a second trail under the primary's name, so the marker also bears
 * its own inode, by which a copied one is known: a standby then leaves the primary's
 * trail aside and begins its own.  A server that was merely moved goes on.
 *
 * No locks are taken here; callers hold the trail's, so nothing is raised.
 */
#include "trail/trail_int.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/fd.h"

/* Relative to the data directory, which is every server process's own. */
#define MARKER_FILE "ward_trail.node"
#define MARKER_LENGTH (2 * TRAIL_NODE_LENGTH)
/* Room for a line with an inode. */
#define MARKER_PLACE 32

static bool
trail_marker_fault(TrailFault *fault, int sqlerrcode, int errnum, const char *what)
{
	fault->sqlerrcode = sqlerrcode;
	fault->errnum = errnum;
	fault->what = what;
	fault->hint = NULL;
	fault->offset = 0;
	strlcpy(fault->path, MARKER_FILE, MAXPGPATH);
	return false;
}

/* Reads which node's trail this server has begun, if any. */
bool
trail_marker_read(uint8 node[TRAIL_NODE_LENGTH], TrailMarker *marker, TrailFault *fault)
{
	char text[MARKER_LENGTH + MARKER_PLACE + 1];
	struct stat st;
	ssize_t got;
	int fd = BasicOpenFile(MARKER_FILE, O_RDONLY | PG_BINARY);

	*marker = TRAIL_MARKER_NONE;
	if (fd < 0)
		return errno == ENOENT || trail_marker_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errno,
													 "could not open it");
	got = pg_pread(fd, text, sizeof(text) - 1, 0);
	if (got < 0 || fstat(fd, &st) != 0)
	{
		int errnum = errno;

		close(fd);
		return trail_marker_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errnum,
								  "could not read it");
	}
	text[got] = '\0';
	close(fd);
	for (int i = 0; i < MARKER_LENGTH; i++)
	{
		static const char digits[] = "0123456789abcdef";
		const char *digit = got > MARKER_LENGTH && text[i] != '\0' ? strchr(digits, text[i]) : NULL;

		if (digit == NULL)
			return trail_marker_fault(fault, ERRCODE_WARD_TRAIL_CORRUPT, 0,
									  "it does not hold a node's name");
		if (i % 2 == 0)
			node[i / 2] = (uint8) ((digit - digits) << 4);
		else
			node[i / 2] |= (uint8) (digit - digits);
	}
	*marker = strtoull(text + MARKER_LENGTH + 1, NULL, 10) == (unsigned long long) st.st_ino
				  ? TRAIL_MARKER_OURS
				  : TRAIL_MARKER_COPIED;
	return true;
}

/* Notes the node, on disk and whole before it returns. */
bool
trail_marker_write(const uint8 node[TRAIL_NODE_LENGTH], TrailFault *fault)
{
	char text[MARKER_LENGTH + MARKER_PLACE + 1];
	struct stat st;
	int length;
	int fd;

	for (int i = 0; i < TRAIL_NODE_LENGTH; i++)
		snprintf(text + 2 * i, 3, "%02x", node[i]);
	fd = BasicOpenFilePerm(MARKER_FILE ".new", O_RDWR | O_CREAT | O_TRUNC | PG_BINARY,
						   S_IRUSR | S_IWUSR);
	if (fd < 0)
		return trail_marker_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errno,
								  "could not create it");
	if (fstat(fd, &st) != 0)
		memset(&st, 0, sizeof(st));
	length = MARKER_LENGTH + snprintf(text + MARKER_LENGTH, MARKER_PLACE, "\n%llu\n",
									  (unsigned long long) st.st_ino);
	errno = ENOSPC; /* what a short write means when errno is silent */
	if (pg_pwrite(fd, text, length, 0) != length || pg_fsync(fd) != 0)
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

/* Does the trail lie in the data directory, so that a copy has a copy of it? */
static bool
trail_marker_inside(void)
{
	struct stat st;
	Size len = strlen(DataDir);

	if (lstat(trail_setting_directory, &st) == 0 && !S_ISDIR(st.st_mode))
		return false;
	if (!is_absolute_path(trail_setting_directory))
		return strncmp(trail_setting_directory, "..", 2) != 0;
	return strncmp(trail_setting_directory, DataDir, len) == 0 &&
		   IS_DIR_SEP(trail_setting_directory[len]);
}

/*
 * As the server starts, before anything is appended: where this is a standby, or a
 * restored backup, made from a copy, the trail that came with it is another node's.
 * It is set aside (evidence is never deleted), and this server begins its own.  False
 * where that can't be: where a standby was given the primary's own trail directory.
 */
bool
trail_marker_leave(TrailFault *fault)
{
	uint8 node[TRAIL_NODE_LENGTH];
	char aside[MAXPGPATH];
	char name[MARKER_LENGTH + 1];
	TrailMarker marker;
	TrailPosition *firsts;
	struct stat st;
	int count = 0;
	bool standby = stat(STANDBY_SIGNAL_FILE, &st) == 0;

	if (!standby && stat(RECOVERY_SIGNAL_FILE, &st) != 0)
		return true;
	/* A marker that can't be read is met again by whoever appends. */
	if (!trail_marker_read(node, &marker, fault) || marker != TRAIL_MARKER_COPIED)
		return true;
	for (int i = 0; i < TRAIL_NODE_LENGTH; i++)
		snprintf(name + 2 * i, 3, "%02x", node[i]);
	if (trail_marker_inside())
	{
		snprintf(aside, sizeof(aside), "%s.%s", trail_setting_directory, name);
		if (rename(trail_setting_directory, aside) != 0 && errno != ENOENT)
			return trail_marker_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errno,
									  "could not set aside the trail that a copy brought along");
	}
	else if (trail_segment_list(&firsts, &count, fault))
		free(firsts);
	else if (fault->sqlerrcode != ERRCODE_WARD_TRAIL_ABSENT)
		return false;
	if (count > 0)
	{
		if (!standby)
			return true;
		(void) trail_segment_fault(fault, ERRCODE_WARD_TRAIL_CORRUPT, 0, TRAIL_POSITION_INVALID, 0,
								   "it belongs to another server's trail, that which this standby "
								   "was copied from");
		fault->hint = "Give the standby a directory of its own in ward.trail_directory, and "
					  "restart it. Statements that would disclose watched data are refused until "
					  "then.";
		return false;
	}
	snprintf(aside, sizeof(aside), MARKER_FILE ".%s", name);
	if (rename(MARKER_FILE, aside) != 0 || fsync_fname_ext(".", true, true, LOG) != 0)
		return trail_marker_fault(fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errno,
								  "could not set it aside");
	return true;
}
