/*
 * anchor.c
 *		ward.checkpoint_command: takes signed checkpoints out of this host's reach.
 *
 * Invariants:
 * - Only the signer runs it, and never waits for it: it looks in now and then.  No
 *   backend has anything to do with it, and a checkpoint is written whether it works
 *   or not.
 * - One command at a time.  While it runs, the newest checkpoint waits, and replaces
 *   an older one that does: a later checkpoint vouches for all that earlier ones do.
 * - A command that takes too long is killed with its process group.
 *
 * The command gets the note on its standard input and nothing else of ours; what it
 * prints goes to the server log.  No locks.
 */
#include "trail/trail_int.h"

#include <signal.h>
#include <sys/wait.h>

#include "utils/timestamp.h"

/* A command that runs so long is stuck, milliseconds. */
#define ANCHOR_TIMEOUT 30000
/* How often a running command is looked at, milliseconds. */
#define ANCHOR_LOOK 100

static pid_t anchor_pid = 0; /* of the command that runs; 0: none */
static TimestampTz anchor_started;
static uint64 anchor_size;

/* The checkpoint that waits. */
static char anchor_text[TRAIL_NOTE_MAX];
static Size anchor_len = 0;
static uint64 anchor_text_size;

/* Starts the command with the waiting checkpoint; 0, or what went wrong. */
static int
trail_anchor_start(void)
{
	pid_t pid = 0;
	int failed = core_spawn_shell(trail_setting_checkpoint_command, anchor_text, anchor_len, &pid);

	if (failed == 0)
	{
		anchor_pid = pid;
		anchor_started = GetCurrentTimestamp();
		anchor_size = anchor_text_size;
		anchor_len = 0;
	}
	return failed;
}

/* A new checkpoint to take elsewhere. */
void
trail_anchor_offer(const char *text, Size len, uint64 size)
{
	if (trail_setting_checkpoint_command == NULL || trail_setting_checkpoint_command[0] == '\0')
		return;
	memcpy(anchor_text, text, len);
	anchor_len = len;
	anchor_text_size = size;
}

/* Is there one that the command has not yet taken? */
bool
trail_anchor_busy(void)
{
	return anchor_pid != 0 || anchor_len > 0;
}

/* Looks after the command; returns how soon to look again, ms, -1: no need. */
long
trail_anchor_poll(void)
{
	char problem[128];
	int status;

	if (anchor_pid != 0)
	{
		pid_t got = waitpid(anchor_pid, &status, WNOHANG);

		if (got == 0 || (got < 0 && errno == EINTR))
		{
			if (!TimestampDifferenceExceeds(anchor_started, GetCurrentTimestamp(), ANCHOR_TIMEOUT))
				return ANCHOR_LOOK;
			/* Its number is not reused before it is reaped, at the next look. */
			(void) kill(-anchor_pid, SIGKILL);
			return ANCHOR_LOOK;
		}
		anchor_pid = 0;
		if (got > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
			trail_signer_anchored(anchor_size, NULL);
		else
		{
			if (got < 0)
				snprintf(problem, sizeof(problem), "its end could not be learned");
			else if (WIFEXITED(status))
				snprintf(problem, sizeof(problem), "it exited with status %d", WEXITSTATUS(status));
			else
				snprintf(problem, sizeof(problem), "it was ended by signal %d", WTERMSIG(status));
			trail_signer_anchored(anchor_size, problem);
		}
	}
	if (anchor_len > 0)
	{
		int failed = trail_anchor_start();

		if (failed == 0)
			return ANCHOR_LOOK;
		/* The next checkpoint tries again. */
		anchor_len = 0;
		snprintf(problem, sizeof(problem), "it could not be started: %s", strerror(failed));
		trail_signer_anchored(anchor_text_size, problem);
	}
	return -1;
}
