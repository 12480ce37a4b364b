/*
 * answer.c
 *		The guard process: hands alerts to ward.alert_command, and starts what they ask for.
 *
 * Its queue is the trail.  It reads the events of alerts in order, wherever they were
 * recorded on this server, and remembers in a file up to where all were delivered, so that
 * an alert is delivered at least once, whatever crashes: twice where the server dies between
 * the command's end and the file's write.  A queue in memory of at most ANSWER_LINES waits for the command; what has
 * no room there is read from the trail again later.  Freezing a key that an alert asks for
 * is started as the alert is read, and does not wait for the command.
 *
 * - No backend ever waits for this process, and this process never waits for the command.
 * - One command at a time; it gets what waits, one JSON object a line.  One that takes too
 *   long is killed with its process group.  After ANSWER_TRIES failures what it was given
 *   is given up, counted, and told in the log and the trail.
 * - Where the trail can't be read it says so once, and tries again each second.
 *
 * It is connected to no database, and runs on a standby too.
 */
#include "guard/answer_int.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#define ANSWER_FILE "ward_guard.alerts"
#define ANSWER_FILE_FORMAT "pg_ward alerts 1\nnode %32s\nposition " UINT64_FORMAT "\n"

/* Alerts that wait in memory, and that one command is given, with their longest line. */
#define ANSWER_LINES 256
#define ANSWER_LINE_MAX 4096
#define ANSWER_BATCH 32
#define ANSWER_TRIES 3
/* Pause after a failure, times the failures so far; how often a command is looked at, ms. */
#define ANSWER_PAUSE_MS 1000
#define ANSWER_LOOK_MS 50
/* How often the file is written while nothing happens, and nothing looked for at most, ms. */
#define ANSWER_SAVE_MS 30000
#define ANSWER_IDLE_MS 10000
/* Freezes under way; further ones wait in the trail. */
#define ANSWER_ACTIONS 16

extern PGDLLEXPORT void ward_guard_answer(Datum arg);

char *guard_answer_setting_command = NULL;
int guard_answer_setting_timeout = 30;

typedef struct AnswerLine
{
	TrailPosition position;
	char *json; /* with its line's end */
} AnswerLine;

typedef struct AnswerAction
{
	TrailPosition position;
	Oid database;
	char key[NAMEDATALEN];
	int slot; /* -1: to be started */
	int tries;
	TimestampTz due;
} AnswerAction;

static char answer_node[TRAIL_LISTEN_NODE];

/* All before it: was looked at; is in the queue or was delivered; was delivered. */
static TrailPosition answer_heard;
static TrailPosition answer_taken;
static TrailPosition answer_done;
static bool answer_behind = false; /* some before answer_heard had no room in the queue */
static bool answer_begun = false;  /* what was recorded before this process has been read */

static AnswerLine answer_lines[ANSWER_LINES];
static int answer_count = 0;
static uint64 answer_waiting = 0;

static AnswerAction answer_actions[ANSWER_ACTIONS];
static int answer_nactions = 0;

/* The command that runs, and how many lines of the queue it was given. */
static pid_t answer_pid = 0;
static int answer_given = 0;
static int answer_tries = 0;
static TimestampTz answer_started;
static TimestampTz answer_due = 0; /* not to be tried again before */

static TrailPosition answer_saved = TRAIL_POSITION_INVALID;
static TimestampTz answer_saved_at = 0;

/* ---------------------------------------------------------------- settings and start */

/* See answer_int.h. */
void
guard_answer_setting_init(void)
{
	DefineCustomStringVariable(
		"ward.alert_command", "Shell command that takes each alert to people.",
		"It gets alerts on its standard input, one JSON object a line.",
		&guard_answer_setting_command, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"ward.alert_command_timeout", "How long ward.alert_command may run before it is ended.",
		NULL, &guard_answer_setting_timeout, 30, 1, 3600, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
}

/* See answer_int.h. */
void
guard_answer_register(void)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	/* A standby has alerts of its own. */
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = 5;
	strlcpy(worker.bgw_library_name, "pg_ward", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "ward_guard_answer", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "pg_ward guard", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "pg_ward guard", BGW_MAXLEN);
	if (!IsBinaryUpgrade)
		RegisterBackgroundWorker(&worker);
}

/* ---------------------------------------------------------------- where it went on */

/* The position in the file; where that is of another trail, or there is none, the trail's end. */
static TrailPosition
guard_answer_load(void)
{
	TrailPosition end = trail_append_end();
	FILE *file = AllocateFile(ANSWER_FILE, "r");
	char node[TRAIL_LISTEN_NODE] = "";
	uint64 position = 0;
	bool read = false;

	if (file != NULL)
	{
		read = fscanf(file, ANSWER_FILE_FORMAT, node, &position) == 2;
		(void) FreeFile(file);
	}
	if (read && strcmp(node, answer_node) == 0 && position <= end)
		return position;
	if (file != NULL)
		ereport(LOG, (errmsg("alerts are handed on from the trail's end"),
					  errdetail("The file \"%s\" is of another trail, or damaged.", ANSWER_FILE),
					  errhint("ward.alerts shows which alerts were raised before.")));
	return end;
}

/* Nothing is lost where this fails: alerts are then delivered again after a crash. */
static void
guard_answer_save(TrailPosition position)
{
	FILE *file;
	bool written;

	answer_saved_at = GetCurrentTimestamp();
	if (answer_saved == position)
		return;
	file = AllocateFile(ANSWER_FILE ".tmp", "w");
	if (file == NULL)
	{
		ereport(LOG, (errcode_for_file_access(),
					  errmsg("could not write file \"%s\": %m", ANSWER_FILE ".tmp")));
		return;
	}
	written = fprintf(file, ANSWER_FILE_FORMAT, answer_node, position) > 0;
	if (FreeFile(file) != 0 || !written)
		ereport(LOG, (errcode_for_file_access(),
					  errmsg("could not write file \"%s\": %m", ANSWER_FILE ".tmp")));
	else if (durable_rename(ANSWER_FILE ".tmp", ANSWER_FILE, LOG) == 0)
		answer_saved = position;
}

/* Up to where nothing is left to be done: what is saved. */
static TrailPosition
guard_answer_finished(void)
{
	TrailPosition finished = answer_done;

	for (int i = 0; i < answer_nactions; i++)
		finished = Min(finished, answer_actions[i].position);
	return finished;
}

/* ---------------------------------------------------------------- telling */

/* Shows what the last command came to; NULL: it worked. */
static void
guard_answer_outcome(int lines, bool given_up, const char *problem)
{
	GuardAlertStatus *status = &guard_alert_shared->status;
	TrailField field = {"problem", problem};
	bool failed_before;

	LWLockAcquire(guard_alert_shared->lock, LW_EXCLUSIVE);
	failed_before = status->problem[0] != '\0';
	strlcpy(status->problem, problem != NULL ? problem : "", sizeof(status->problem));
	status->running_since = 0;
	if (problem == NULL)
	{
		status->delivered += lines;
		status->delivered_at = GetCurrentTimestamp();
	}
	else if (given_up)
		status->given_up += lines;
	LWLockRelease(guard_alert_shared->lock);
	if (problem != NULL)
		ereport(WARNING, (errmsg("ward.alert_command failed"), errdetail("%s.", problem),
						  given_up ? errhint("%d alerts were not taken and are given up. "
											 "ward.alerts shows them.",
											 lines)
								   : errhint("It is run again with the same alerts.")));
	if ((problem != NULL) != failed_before)
		trail_record_event_logged(problem != NULL ? "guard.alert_command_failed"
												  : "guard.alert_command_resumed",
								  &field, problem != NULL ? 1 : 0);
}

static void
guard_answer_show(void)
{
	LWLockAcquire(guard_alert_shared->lock, LW_EXCLUSIVE);
	guard_alert_shared->status.waiting = answer_waiting;
	guard_alert_shared->status.actions = answer_nactions;
	guard_alert_shared->status.running_since = answer_pid != 0 ? answer_started : 0;
	LWLockRelease(guard_alert_shared->lock);
}

/* ---------------------------------------------------------------- hearing */

static const char *
guard_answer_field(const TrailHeard *heard, const char *name)
{
	for (int i = 0; i < heard->nfields; i++)
		if (strcmp(heard->fields[i].name, name) == 0)
			return heard->fields[i].value;
	return NULL;
}

/* An alert as one line of JSON; a field that makes it too long is cut off. */
static char *
guard_answer_json(const TrailHeard *heard)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	StringInfoData line;

	initStringInfo(&line);
	appendStringInfo(
		&line, "{\"node\":\"%s\",\"position\":" UINT64_FORMAT ",\"at\":\"%s\",\"database_oid\":%u",
		answer_node, heard->position, timestamptz_to_str(heard->at), heard->database);
	for (int i = 0; i < heard->nfields; i++)
	{
		int before = line.len;

		if (heard->fields[i].value == NULL)
			continue;
		appendStringInfoChar(&line, ',');
		escape_json(&line, heard->fields[i].name);
		appendStringInfoChar(&line, ':');
		escape_json(&line, heard->fields[i].value);
		if (line.len > ANSWER_LINE_MAX - 64)
		{
			line.len = before;
			line.data[line.len] = '\0';
			appendStringInfoString(&line, ",\"cut\":true");
			break;
		}
	}
	appendStringInfoString(&line, "}\n");
	MemoryContextSwitchTo(old);
	return line.data;
}

/* Into the queue; false: it has no room. */
static bool
guard_answer_take(const TrailHeard *heard)
{
	if (answer_count == ANSWER_LINES)
		return false;
	answer_lines[answer_count].position = heard->position;
	answer_lines[answer_count].json = guard_answer_json(heard);
	answer_count++;
	return true;
}

/* Begins what the alert asks for; false: too much is under way. */
static bool
guard_answer_act(const TrailHeard *heard)
{
	const char *key = guard_answer_field(heard, "freeze_key");
	AnswerAction *action = &answer_actions[answer_nactions];

	if (key == NULL)
		return true;
	for (int i = 0; i < answer_nactions; i++)
		if (answer_actions[i].database == heard->database &&
			strcmp(answer_actions[i].key, key) == 0)
			return true;
	if (answer_nactions == ANSWER_ACTIONS)
		return false;
	memset(action, 0, sizeof(*action));
	action->position = heard->position;
	action->database = heard->database;
	strlcpy(action->key, key, sizeof(action->key));
	action->slot = -1;
	answer_nactions++;
	return true;
}

/* An alert that was not looked at before. */
static bool
guard_answer_new(const TrailHeard *heard, void *arg)
{
	if (!guard_answer_act(heard))
		return false;
	if (guard_answer_setting_command[0] == '\0')
		return true;
	answer_waiting++;
	if (!answer_behind && !guard_answer_take(heard))
	{
		answer_behind = true;
		answer_taken = heard->position;
	}
	return true;
}

/* One that had no room before. */
static bool
guard_answer_again(const TrailHeard *heard, void *arg)
{
	return heard->position < answer_heard && guard_answer_take(heard);
}

/* Looks for new alerts, and for those that had no room. */
static void
guard_answer_hear(void)
{
	TrailPosition end = trail_append_end();
	uint32 in_flight;

	/* Pairs with guard_alert_record(): in this order nothing can be overlooked. */
	pg_memory_barrier();
	in_flight = pg_atomic_read_u32(&guard_alert_shared->in_flight);
	pg_memory_barrier();
	if (answer_heard < end)
	{
		if (answer_begun && in_flight == 0 &&
			pg_atomic_read_u64(&guard_alert_shared->end) <= answer_heard)
			answer_heard = end;
		else
			answer_heard = trail_listen(answer_heard, GUARD_ALERT_EVENT, guard_answer_new, NULL);
	}
	answer_begun = true;
	if (answer_behind && answer_count == 0)
	{
		answer_taken = trail_listen(answer_taken, GUARD_ALERT_EVENT, guard_answer_again, NULL);
		if (answer_taken >= answer_heard)
			answer_behind = false;
	}
	if (!answer_behind)
		answer_taken = answer_heard;
	if (answer_count == 0)
	{
		answer_done = answer_taken;
		if (!answer_behind)
			answer_waiting = 0;
	}
}

/* ---------------------------------------------------------------- actions */

static void
guard_answer_action_failed(AnswerAction *action)
{
	TrailField fields[2] = {{"action", "freeze_key"}, {"key", action->key}};

	action->slot = -1;
	action->due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ANSWER_PAUSE_MS);
	if (++action->tries % ANSWER_TRIES != 0)
		return;
	/* It goes on trying: what an alert asked for must come to hold. */
	ereport(WARNING, (errmsg("key \"%s\" could not be frozen, as an alert asks", action->key),
					  errhint("It is tried again. The log says why; max_worker_processes may be "
							  "too small. An officer can call ward.freeze_key().")));
	if (action->tries == ANSWER_TRIES)
		trail_record_event_logged("guard.action_failed", fields, 2);
}

/* Looks after the freezes; false: one is under way. */
static bool
guard_answer_actions(void)
{
	int left = 0;

	for (int i = 0; i < answer_nactions; i++)
	{
		AnswerAction *action = &answer_actions[i];
		bool done = false;

		if (action->slot >= 0)
		{
			GuardActionState state = guard_action_state(action->slot);

			if (state != GUARD_ACTION_RUNNING)
			{
				guard_action_release(action->slot);
				done = state == GUARD_ACTION_DONE;
				if (!done)
					guard_answer_action_failed(action);
			}
		}
		else if (action->due <= GetCurrentTimestamp())
		{
			char reason[128];

			snprintf(reason, sizeof(reason), "alert at position " UINT64_FORMAT, action->position);
			action->slot = guard_action_freeze(action->database, action->key, reason);
			if (action->slot < 0)
				guard_answer_action_failed(action);
		}
		if (!done)
			answer_actions[left++] = *action;
	}
	answer_nactions = left;
	return left == 0;
}

/* ---------------------------------------------------------------- the command */

/* The lines that were given are through, well or not. */
static void
guard_answer_drop(void)
{
	for (int i = 0; i < answer_given; i++)
		pfree(answer_lines[i].json);
	answer_done = answer_lines[answer_given - 1].position + 1;
	answer_count -= answer_given;
	answer_waiting -= Min(answer_waiting, (uint64) answer_given);
	memmove(answer_lines, answer_lines + answer_given, sizeof(AnswerLine) * answer_count);
	answer_given = 0;
	answer_tries = 0;
	guard_answer_save(guard_answer_finished());
}

static void
guard_answer_failed(const char *problem)
{
	bool given_up = ++answer_tries >= ANSWER_TRIES;

	guard_answer_outcome(answer_given, given_up, problem);
	if (given_up)
		guard_answer_drop();
	else
		answer_due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												 (int64) ANSWER_PAUSE_MS * answer_tries);
}

static void
guard_answer_start(void)
{
	StringInfoData input;
	char problem[128];
	int failed;

	initStringInfo(&input);
	answer_given = 0;
	while (answer_given < Min(answer_count, ANSWER_BATCH))
	{
		const char *json = answer_lines[answer_given].json;

		if (answer_given > 0 && input.len + strlen(json) > CORE_SPAWN_INPUT)
			break;
		appendStringInfoString(&input, json);
		answer_given++;
	}
	failed = core_spawn_shell(guard_answer_setting_command, input.data, input.len, &answer_pid);
	pfree(input.data);
	answer_started = GetCurrentTimestamp();
	if (failed == 0)
		return;
	answer_pid = 0;
	snprintf(problem, sizeof(problem), "It could not be started: %s", strerror(failed));
	guard_answer_failed(problem);
}

/* Looks after the command; returns how soon to look again, ms. */
static long
guard_answer_command(void)
{
	char problem[128];
	int status;
	pid_t got;

	if (answer_pid == 0)
	{
		if (answer_count == 0)
			return ANSWER_IDLE_MS;
		if (guard_answer_setting_command[0] == '\0')
		{
			/* Switched off: nobody waits for these any more. */
			answer_given = answer_count;
			guard_answer_drop();
			return 0;
		}
		if (answer_due > GetCurrentTimestamp())
			return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), answer_due);
		guard_answer_start();
		return ANSWER_LOOK_MS;
	}
	got = waitpid(answer_pid, &status, WNOHANG);
	if (got == 0 || (got < 0 && errno == EINTR))
	{
		/* Its number is not reused before it is reaped, at the next look. */
		if (TimestampDifferenceExceeds(answer_started, GetCurrentTimestamp(),
									   guard_answer_setting_timeout * 1000))
			(void) kill(-answer_pid, SIGKILL);
		return ANSWER_LOOK_MS;
	}
	answer_pid = 0;
	if (got > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
	{
		guard_answer_outcome(answer_given, false, NULL);
		guard_answer_drop();
		return 0;
	}
	if (got < 0)
		snprintf(problem, sizeof(problem), "Its end could not be learned");
	else if (WIFEXITED(status))
		snprintf(problem, sizeof(problem), "It exited with status %d", WEXITSTATUS(status));
	else
		snprintf(problem, sizeof(problem), "It was ended by signal %d%s", WTERMSIG(status),
				 TimestampDifferenceExceeds(answer_started, GetCurrentTimestamp(),
											guard_answer_setting_timeout * 1000)
					 ? ", after ward.alert_command_timeout"
					 : "");
	guard_answer_failed(problem);
	return 0;
}

/* ---------------------------------------------------------------- the process */

static void
guard_answer_leave(int code, Datum arg)
{
	if (answer_pid != 0)
		(void) kill(-answer_pid, SIGKILL);
	LWLockAcquire(guard_alert_shared->lock, LW_EXCLUSIVE);
	guard_alert_shared->latch = NULL;
	guard_alert_shared->status.pid = 0;
	guard_alert_shared->status.running_since = 0;
	LWLockRelease(guard_alert_shared->lock);
}

/* One look at the trail; false where it can't be read. */
static bool
guard_answer_look(void)
{
	static bool complained = false;
	MemoryContext old = CurrentMemoryContext;
	volatile bool read = false;

	PG_TRY();
	{
		if (answer_node[0] == '\0')
		{
			char node[TRAIL_LISTEN_NODE];

			trail_listen_node(node);
			strlcpy(answer_node, node, sizeof(answer_node));
			answer_heard = answer_taken = answer_done = guard_answer_load();
			guard_answer_save(answer_done);
		}
		guard_answer_hear();
		read = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(old);
		if (!complained)
			EmitErrorReport();
		FlushErrorState();
		/* What the reader had open is this process's, which has no transactions. */
		AtEOXact_Files(false);
	}
	PG_END_TRY();
	complained = !read;
	return read;
}

void
ward_guard_answer(Datum arg)
{
	MemoryContext round;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	round = AllocSetContextCreate(TopMemoryContext, "pg_ward guard", ALLOCSET_DEFAULT_SIZES);
	before_shmem_exit(guard_answer_leave, (Datum) 0);
	LWLockAcquire(guard_alert_shared->lock, LW_EXCLUSIVE);
	guard_alert_shared->latch = MyLatch;
	guard_alert_shared->status.pid = MyProcPid;
	LWLockRelease(guard_alert_shared->lock);
	while (!ShutdownRequestPending)
	{
		long wait;
		long look;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(round);
		MemoryContextReset(round);
		wait = guard_answer_look() ? ANSWER_IDLE_MS : ANSWER_PAUSE_MS;
		look = guard_answer_command();
		wait = Min(wait, look);
		if (!guard_answer_actions())
			wait = Min(wait, ANSWER_LOOK_MS);
		guard_answer_show();
		if (answer_node[0] != '\0' &&
			TimestampDifferenceExceeds(answer_saved_at, GetCurrentTimestamp(), ANSWER_SAVE_MS))
			guard_answer_save(guard_answer_finished());
		if (wait > 0)
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, wait,
							 PG_WAIT_EXTENSION);
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
	if (answer_node[0] != '\0')
		guard_answer_save(guard_answer_finished());
	/* Not 0: one that was merely terminated is to be started again. */
	proc_exit(1);
}
