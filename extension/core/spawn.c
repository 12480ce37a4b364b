/*
 * spawn.c
 *		Starts a shell command that a setting names, for a process that must not wait for it.
 *
 * The command gets the given bytes on its standard input and nothing else of the server's:
 * what it prints goes to the server log, every other file is closed.  It is in a process
 * group of its own, so that what it starts can be ended with it: kill(-pid, SIGKILL).  The
 * caller reaps it.  No locks; raises nothing.
 */
#include "core/core.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

/* Sets up what the child changes of itself. */
static int
core_spawn_actions(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes, int input)
{
	sigset_t none;
	sigset_t defaults;
	int failed;

	(void) sigemptyset(&none);
	(void) sigemptyset(&defaults);
	(void) sigaddset(&defaults, SIGPIPE);
	(void) sigaddset(&defaults, SIGHUP);
	(void) sigaddset(&defaults, SIGUSR2);
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

/* See core.h. */
int
core_spawn_shell(const char *command, const char *input, Size len, pid_t *pid)
{
	extern char **environ;
	char *argv[] = {"sh", "-c", unconstify(char *, command), NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int ends[2];
	int failed = 0;
	ssize_t written;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return errno;
	/* All of it must fit into the pipe: waiting for the command is what must not be. */
	if (fcntl(ends[1], F_SETFL, O_NONBLOCK) != 0)
		failed = errno;
	errno = EAGAIN;
	written = failed == 0 ? write(ends[1], input, len) : -1;
	if (failed == 0 && written != (ssize_t) len)
		failed = written < 0 ? errno : EAGAIN;
	if (failed == 0)
		failed = posix_spawn_file_actions_init(&actions);
	if (failed == 0)
	{
		failed = posix_spawnattr_init(&attributes);
		if (failed == 0)
		{
			failed = core_spawn_actions(&actions, &attributes, ends[0]);
			if (failed == 0)
				failed = posix_spawn(pid, "/bin/sh", &actions, &attributes, argv, environ);
			(void) posix_spawnattr_destroy(&attributes);
		}
		(void) posix_spawn_file_actions_destroy(&actions);
	}
	(void) close(ends[0]);
	(void) close(ends[1]);
	return failed;
}
