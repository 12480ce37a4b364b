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

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* Sets up what the child changes of itself. */
static int
trail_anchor_actions(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes, int input)
{
	sigset_t none;
	sigset_t defaults;
	int failed;

	(void) sigemptyset(&none);
	(void) sigemptyset(&defaults);
	(void) sigaddset(&defaults, SIGPIPE);
	(void) sigaddset(&defaults, SIGHUP);
	(void) sigaddset(&defaults, SIGUSR2);
	/* A group of its own, so that what it starts ends with it. */
	failed = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
													  POSIX_SPAWN_SETSIGDEF);
	if (failed == 0)
		failed = posix_spawnattr_setpgroup(attributes, 0);
	if (failed == 0)
		failed = posix_spawnattr_setsigmask(attributes, &none);
	if (failed == 0)
		failed = posix_spawnattr_setsigdefault(attributes, &defaults);
	if (failed == 0)
		failed = posix_spawn_file_actions_adddup2(actions, input, STDIN_FILENO);
	if (failed == 0)
		failed = posix_spawn_file_actions_adddup2(actions, STDERR_FILENO, STDOUT_FILENO);
	if (failed == 0)
		failed = posix_spawn_file_actions_addclosefrom_np(actions, STDERR_FILENO + 1);
	return failed;
}

/* Starts the command with the waiting checkpoint; 0, or what went wrong. */
static int
trail_anchor_start(void)
{
	extern char **environ;
	char *argv[] = {"sh", "-c", trail_setting_checkpoint_command, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	pid_t pid = 0;
	int ends[2];
	int failed;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return errno;
	/* A pipe holds more than a note: this never waits. */
	if (write(ends[1], anchor_text, anchor_len) != (ssize_t) anchor_len)
		failed = errno;
	else
		failed = posix_spawn_file_actions_init(&actions);
	if (failed == 0)
	{
		failed = posix_spawnattr_init(&attributes);
		if (failed == 0)
		{
			failed = trail_anchor_actions(&actions, &attributes, ends[0]);
			if (failed == 0)
				failed = posix_spawn(&pid, "/bin/sh", &actions, &attributes, argv, environ);
			(void) posix_spawnattr_destroy(&attributes);
		}
		(void) posix_spawn_file_actions_destroy(&actions);
	}
	(void) close(ends[0]);
	(void) close(ends[1]);
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
