/*
 * kek_command.c
 *		KEK provider "command": the output of a shell command, so any KMS's client.
 *
 * Invariants:
 * - Waiting never holds up a cancel, a termination or the postmaster's death, and
 *   ends at ward.kek_command_timeout.  Whatever ends it, the command's process group
 *   is killed: pipelines leave nothing behind.
 * - No more is read than a KEK may have, into locked memory that is wiped at once.
 * - The command gets no file of the server's: its input is empty, its output is our
 *   pipe, its error output the server log; everything else is closed.  Nothing of what
 *   it prints reaches a client.
 *
 * The command is in a process group of its own, because our own group gets signals
 * that are meant for this backend, and killing it would kill us.  No locks.
 */
#include "seal/kek_int.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "storage/ipc.h"
#include "storage/latch.h"

/* What the shell and sysexits.h say. */
#define COMMAND_NOT_FOUND 127
#define COMMAND_REFUSED 77

/* A command under way. */
typedef struct KekCommand
{
	pid_t pid; /* 0: reaped, or never started */
	int fd;	   /* -1: closed */
	instr_time start;
	int len;
	bool end;
	int status;
} KekCommand;

/* Its output: locked memory, one byte longer than any KEK. */
static uint8 *kek_output = NULL;

#define KEK_OUTPUT_SIZE (SEAL_KEK_TEXT_MAX + 1)

static char *
seal_kek_command_where(const SealKekSource *source)
{
	return psprintf("%s is \"%s\".", seal_kek_setting(source, "command"), source->command);
}

/*
 * Ends a command that may still run.  Its leader is reaped last: until then its
 * number, and so the group's, belongs to nobody else.
 */
static void
seal_kek_command_stop(int code, Datum arg)
{
	KekCommand *command = (KekCommand *) DatumGetPointer(arg);

	core_secret_wipe(kek_output, KEK_OUTPUT_SIZE);
	if (command->fd >= 0)
		(void) close(command->fd);
	command->fd = -1;
	if (command->pid == 0)
		return;
	(void) kill(-command->pid, SIGKILL);
	/* Bounded: a process that hangs in the kernel must not hang us. */
	for (int i = 0; i < 200; i++)
	{
		pid_t got = waitpid(command->pid, NULL, WNOHANG);

		if (got != 0 && !(got < 0 && errno == EINTR))
			break;
		pg_usleep(5000);
	}
	command->pid = 0;
}

/* Milliseconds that are left, at least 0. */
static long
seal_kek_command_left(const KekCommand *command)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, command->start);
	return Max(0, seal_setting_kek_command_timeout - (long) INSTR_TIME_GET_MILLISEC(now));
}

/* Sets up what the child changes of itself; false with errno set. */
static bool
seal_kek_command_actions(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes,
						 int output)
{
	sigset_t none;
	sigset_t defaults;

	(void) sigemptyset(&none);
	(void) sigemptyset(&defaults);
	/* Handlers end with exec by themselves; what the server ignores would stay ignored. */
	(void) sigaddset(&defaults, SIGPIPE);
	(void) sigaddset(&defaults, SIGHUP);
	(void) sigaddset(&defaults, SIGTTIN);
	(void) sigaddset(&defaults, SIGTTOU);
	(void) sigaddset(&defaults, SIGUSR2);
	errno = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
													 POSIX_SPAWN_SETSIGDEF);
	if (errno == 0)
		errno = posix_spawnattr_setpgroup(attributes, 0);
	if (errno == 0)
		errno = posix_spawnattr_setsigmask(attributes, &none);
	if (errno == 0)
		errno = posix_spawnattr_setsigdefault(attributes, &defaults);
	if (errno == 0)
		errno = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (errno == 0)
		errno = posix_spawn_file_actions_adddup2(actions, output, STDOUT_FILENO);
	if (errno == 0)
		errno = posix_spawn_file_actions_addclosefrom_np(actions, STDERR_FILENO + 1);
	return errno == 0;
}

/* Starts the command; false with errno set.  pid and fd are the caller's to stop. */
static bool
seal_kek_command_start(KekCommand *command, const char *line)
{
	extern char **environ;
	char *argv[] = {"sh", "-c", unconstify(char *, line), NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int ends[2];
	pid_t pid = 0;
	int failed;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return false;
	command->fd = ends[0];
	failed = posix_spawn_file_actions_init(&actions);
	if (failed == 0)
	{
		failed = posix_spawnattr_init(&attributes);
		if (failed == 0)
		{
			if (!seal_kek_command_actions(&actions, &attributes, ends[1]))
				failed = errno;
			else
				failed = posix_spawn(&pid, "/bin/sh", &actions, &attributes, argv, environ);
			(void) posix_spawnattr_destroy(&attributes);
		}
		(void) posix_spawn_file_actions_destroy(&actions);
	}
	(void) close(ends[1]);
	if (failed == 0)
		command->pid = pid;
	if (failed == 0 && fcntl(command->fd, F_SETFL, O_NONBLOCK) != 0)
		failed = errno;
	errno = failed;
	return failed == 0;
}

/* Waits for output, or a while, or an interrupt, whichever comes first. */
static void
seal_kek_command_wait(const KekCommand *command, long timeout)
{
	int events = WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH;

	if (!command->end)
		events |= WL_SOCKET_READABLE;
	(void) WaitLatchOrSocket(MyLatch, events, command->end ? PGINVALID_SOCKET : command->fd,
							 timeout, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* Reads what there is.  False where reading failed, errno set. */
static bool
seal_kek_command_read(KekCommand *command)
{
	ssize_t got = read(command->fd, kek_output + command->len, KEK_OUTPUT_SIZE - command->len);

	if (got < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
	command->len += (int) got;
	command->end = got == 0 || command->len == KEK_OUTPUT_SIZE;
	return true;
}

/*
 * Runs a command that was started to its end.  True where it exited (status is set)
 * or has said too much already; false where time ran out (errno 0) or reading failed.
 */
static bool
seal_kek_command_finish(KekCommand *command)
{
	long pause = 1;

	while (!command->end)
	{
		long left = seal_kek_command_left(command);

		if (left == 0)
		{
			errno = 0;
			return false;
		}
		seal_kek_command_wait(command, left);
		if (!seal_kek_command_read(command))
			return false;
	}
	while (command->len < KEK_OUTPUT_SIZE)
	{
		pid_t got = waitpid(command->pid, &command->status, WNOHANG);

		if (got == command->pid)
		{
			command->pid = 0;
			break;
		}
		if (got < 0 && errno != EINTR)
			return false;
		if (seal_kek_command_left(command) == 0)
		{
			errno = 0;
			return false;
		}
		/* It has closed its output, so it is about to exit. */
		seal_kek_command_wait(command, pause);
		pause = Min(pause * 2, 20);
	}
	return true;
}

static bool
seal_kek_command_timed_out(const SealKekSource *source, SealKekFault *fault)
{
	return seal_kek_fault(
		fault, ERRCODE_WARD_KEK_UNREACHABLE, "the command for the key-encryption key took too long",
		psprintf("It was stopped after %d ms (ward.kek_command_timeout).",
				 seal_setting_kek_command_timeout),
		seal_kek_command_where(source),
		"Check that the key management service answers; the server log has what the command wrote "
		"to its error output.");
}

/* What the end of a command means; true where its output is to be looked at. */
static bool
seal_kek_command_judge(const SealKekSource *source, int status, SealKekFault *fault)
{
	char *where = seal_kek_command_where(source);
	char *detail;

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	if (WIFEXITED(status) && WEXITSTATUS(status) == COMMAND_NOT_FOUND)
		return seal_kek_fault(fault, ERRCODE_WARD_KEK_ABSENT,
							  "the command for the key-encryption key was not found",
							  "It exited with status 127.", where,
							  psprintf("Install the program that %s names, or write its full path.",
									   seal_kek_setting(source, "command")));
	if (WIFEXITED(status) && WEXITSTATUS(status) == COMMAND_REFUSED)
		return seal_kek_fault(fault, ERRCODE_WARD_KEK_REFUSED,
							  "the key management service refused the key-encryption key",
							  "The command exited with status 77.", where,
							  "Give this server's identity the right to the key-encryption key "
							  "again, or find out why it was taken away.");
	detail = WIFEXITED(status) ? psprintf("It exited with status %d.", WEXITSTATUS(status))
							   : psprintf("It was ended by signal %d.", WTERMSIG(status));
	return seal_kek_fault(fault, ERRCODE_WARD_KEK_UNREACHABLE,
						  "the command for the key-encryption key failed", detail, where,
						  "Run the command as the server's user; the server log has what it wrote "
						  "to its error output.");
}

/* Runs the command; true where kek_output holds all that it printed. */
static bool
seal_kek_command_run(const SealKekSource *source, KekCommand *command, SealKekFault *fault)
{
	if (!seal_kek_command_start(command, source->command))
		return seal_kek_fault(
			fault, ERRCODE_WARD_KEK_UNREACHABLE,
			psprintf("could not start the command for the key-encryption key: %s", strerror(errno)),
			NULL, seal_kek_command_where(source),
			"Check the server's limits of processes, files and memory.");
	if (!seal_kek_command_finish(command))
	{
		if (errno == 0)
			return seal_kek_command_timed_out(source, fault);
		return seal_kek_fault(fault, ERRCODE_WARD_KEK_UNREACHABLE,
							  psprintf("could not read from the command for the key-encryption "
									   "key: %s",
									   strerror(errno)),
							  NULL, seal_kek_command_where(source),
							  "Run the command as the server's user.");
	}
	/* One that says too much is stopped and has no status. */
	return command->pid != 0 || seal_kek_command_judge(source, command->status, fault);
}

static bool
seal_kek_command_load(const SealKekSource *source, uint8 kek[SEAL_SECRET_LENGTH],
					  SealKekFault *fault)
{
	KekCommand command = {.fd = -1};
	volatile bool ran = false;
	volatile bool good = false;

	if (source->command[0] == '\0')
		return seal_kek_fault(fault, ERRCODE_WARD_KEK_ABSENT, "no key-encryption key is configured",
							  psprintf("%s is empty.", seal_kek_setting(source, "command")), NULL,
							  psprintf("Set %s to a command that prints the key and reload.",
									   seal_kek_setting(source, "command")));
	if (kek_output == NULL)
		kek_output = core_secret_alloc(KEK_OUTPUT_SIZE);
	INSTR_TIME_SET_CURRENT(command.start);

	/* Also when the session is terminated, which no PG_CATCH sees. */
	PG_ENSURE_ERROR_CLEANUP(seal_kek_command_stop, PointerGetDatum(&command));
	{
		ran = seal_kek_command_run(source, &command, fault);
		good = ran && seal_kek_software_parse(kek_output, command.len, kek);
	}
	PG_END_ENSURE_ERROR_CLEANUP(seal_kek_command_stop, PointerGetDatum(&command));
	seal_kek_command_stop(0, PointerGetDatum(&command));
	if (!ran || good)
		return good;
	return seal_kek_fault(fault, ERRCODE_WARD_KEK_CORRUPT,
						  "the command for the key-encryption key did not print one",
						  "It must print exactly 32 bytes, or 64 hexadecimal digits and a line "
						  "break.",
						  seal_kek_command_where(source),
						  "Run the command as the server's user and look at what it prints.");
}

const SealKekProvider seal_kek_command = {"command",
										  seal_kek_command_load,
										  seal_kek_software_begin,
										  seal_kek_software_fingerprint,
										  seal_kek_software_wrap,
										  seal_kek_software_unwrap,
										  seal_kek_software_end};
