/*
 * context.c
 *		Who acts: session, role, client, actor.
 *
 * A context record is written when something in it differs from what this process
 * has written before; disclosures and events carry its position.  The check runs
 * for every record, so it compares a few words and two short strings.
 *
 * Names of roles come from the catalog, which can't be read while a transaction
 * aborts.  They are looked up when first seen in a live transaction
 * (trail_context_remember, which the witness calls as a statement starts).
 *
 * State is private to the process: no locks.
 */
#include "trail/trail_int.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "commands/dbcommands.h"
#include "common/ip.h"
#include "libpq/libpq-be.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/proc.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define CONTEXT_KEPT 16
#define CONTEXT_NAMES 64
#define CONTEXT_ACTOR_MAX 256

/* Contexts that this process has written; the oldest is forgotten first. */
typedef struct ContextWritten
{
	bool used;
	Oid role;
	Oid session_role;
	Oid database;
	char actor[CONTEXT_ACTOR_MAX];
	const char *source; /* a constant */
	char application[NAMEDATALEN];
	TrailPosition position;
} ContextWritten;

const char *(*trail_context_actor)(const char *claimed, const char **source) = NULL;

static ContextWritten written[CONTEXT_KEPT];
static int written_next = 0;
static int written_last = 0;
static int written_pid = 0;

typedef struct ContextName
{
	Oid role;
	NameData name;
} ContextName;

static ContextName names[CONTEXT_NAMES];
static int names_count = 0;
static bool names_watched = false;
static bool names_stale = false;

/* This session, or in a parallel worker the leader's. */
static char session_name[40];
static int64 session_started;
static int session_pid;
static char session_client[NI_MAXHOST];
static int session_port;
static char *session_database = NULL;

static const char *
trail_context_role_name(Oid role, char *buffer, Size size)
{
	/* A process of the server's own acts as nobody. */
	if (!OidIsValid(role))
		return "";
	for (int i = 0; i < names_count; i++)
		if (names[i].role == role)
			return NameStr(names[i].name);
	snprintf(buffer, size, "oid %u", role);
	return buffer;
}

/* Some role was changed: looked at when the catalog can be read. */
static void
trail_context_invalidate(Datum arg, int cache, uint32 hash)
{
	names_stale = true;
}

/*
 * Reads the remembered names again.  Contexts that were written with a name which
 * is another role's by now must not be referred to any more.
 */
static void
trail_context_refresh(void)
{
	if (likely(!names_stale) || !IsTransactionState() || !OidIsValid(MyDatabaseId))
		return;
	names_stale = false;
	for (int i = 0; i < names_count; i++)
	{
		char *name = GetUserNameFromId(names[i].role, true);

		/* Of a dropped role the last name is the one to show. */
		if (name == NULL)
			continue;
		if (strcmp(name, NameStr(names[i].name)) != 0)
		{
			namestrcpy(&names[i].name, name);
			memset(written, 0, sizeof(written));
			written_next = written_last = 0;
		}
		pfree(name);
	}
}

/* Learns a role's name while the catalog can be read. */
void
trail_context_remember(Oid role)
{
	char *name;

	if (!OidIsValid(role) || !IsTransactionState() || !OidIsValid(MyDatabaseId))
		return;
	if (!names_watched)
	{
		CacheRegisterSyscacheCallback(AUTHOID, trail_context_invalidate, (Datum) 0);
		names_watched = true;
	}
	trail_context_refresh();
	for (int i = 0; i < names_count; i++)
		if (names[i].role == role)
			return;
	name = GetUserNameFromId(role, true);
	if (name == NULL)
		return;
	if (names_count == CONTEXT_NAMES)
		names_count = 0;
	names[names_count].role = role;
	namestrcpy(&names[names_count].name, name);
	names_count++;
	pfree(name);
}

/* The client's address as text, "" for a local socket, of a status entry. */
static void
trail_context_client(const SockAddr *address)
{
	char port[NI_MAXSERV];

	session_client[0] = '\0';
	session_port = 0;
	if (address->addr.ss_family == AF_UNIX || address->addr.ss_family == 0)
		return;
	if (pg_getnameinfo_all(&address->addr, address->salen, session_client, sizeof(session_client),
						   port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) == 0)
	{
		clean_ipv6_addr(address->addr.ss_family, session_client);
		session_port = atoi(port);
	}
	else
		session_client[0] = '\0';
}

/* Facts that do not change in this process's life. */
static void
trail_context_session(void)
{
	TimestampTz started = MyStartTimestamp;
	int pid = MyProcPid;

	session_client[0] = '\0';
	session_port = 0;
	if (MyProcPort != NULL)
		trail_context_client(&MyProcPort->raddr);
	else if (IsParallelWorker() && MyProc != NULL && MyProc->lockGroupLeader != NULL)
	{
		int count = pgstat_fetch_stat_numbackends();
		int leader = MyProc->lockGroupLeader->pid;

		/*
		 * What a worker reads is read by its leader's session.  A leader that is
		 * gone has ended the statement; the worker's own name is then all we have.
		 */
		for (int i = 1; i <= count; i++)
		{
			LocalPgBackendStatus *entry = core_compat_backend_status(i);

			if (entry != NULL && entry->backendStatus.st_procpid == leader)
			{
				pid = entry->backendStatus.st_procpid;
				started = entry->backendStatus.st_proc_start_timestamp;
				trail_context_client(&entry->backendStatus.st_clientaddr);
				break;
			}
		}
	}
	session_pid = pid;
	session_started = started;
	snprintf(session_name, sizeof(session_name), "%lx.%x", (long) timestamptz_to_time_t(started),
			 pid);
	if (session_database == NULL && OidIsValid(MyDatabaseId) && IsTransactionState())
	{
		char *name = get_database_name(MyDatabaseId);

		if (name != NULL)
			session_database = MemoryContextStrdup(TopMemoryContext, name);
	}
}

/* Who the session acts for now; cut, if need be, into the buffer. */
static const char *
trail_context_named(const char **source, char cut[CONTEXT_ACTOR_MAX])
{
	const char *actor = trail_setting_actor != NULL ? trail_setting_actor : "";

	*source = actor[0] != '\0' ? "claimed" : "";
	if (trail_context_actor != NULL)
		actor = trail_context_actor(actor, source);
	if (strlen(actor) >= CONTEXT_ACTOR_MAX)
	{
		/* Cut at a character's end, never within it. */
		int length = pg_mbcliplen(actor, strlen(actor), CONTEXT_ACTOR_MAX - 1);

		memcpy(cut, actor, length);
		cut[length] = '\0';
		actor = cut;
	}
	return actor;
}

/* See trail.h. */
void
trail_context_who(TrailWho *who)
{
	static int known = 0;
	static char cut[CONTEXT_ACTOR_MAX];
	const char *source;

	if (known != MyProcPid)
	{
		trail_context_session();
		known = MyProcPid;
	}
	who->session = session_name;
	who->client = session_client;
	who->actor = trail_context_named(&source, cut);
}

static TrailPosition
trail_context_write(Oid role, Oid session_role, const char *actor, const char *source,
					const char *application)
{
	/* Kept and reused: an error while appending must not leak it. */
	static StringInfoData leaf = {0};
	char role_text[32];
	char session_text[32];
	char login_text[32];
	Oid login = OidIsValid(session_role) ? GetAuthenticatedUserId() : InvalidOid;

	if (leaf.data == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		initStringInfo(&leaf);
		MemoryContextSwitchTo(old);
	}
	resetStringInfo(&leaf);
	trail_record_leaf_header(&leaf, TRAIL_KIND_CONTEXT);
	trail_record_string(&leaf, session_name);
	trail_record_varint(
		&leaf, (uint64) (session_started +
						 (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY));
	trail_record_varint(&leaf, (uint64) session_pid);
	trail_record_string(&leaf,
						trail_context_role_name(session_role, session_text, sizeof(session_text)));
	trail_record_string(&leaf, trail_context_role_name(role, role_text, sizeof(role_text)));
	trail_record_string(&leaf, session_client);
	trail_record_varint(&leaf, (uint64) session_port);
	trail_record_string(&leaf, application);
	trail_record_string(&leaf, session_database);
	trail_record_string(&leaf, actor);
	trail_record_string(&leaf, GetBackendTypeDesc(MyBackendType));
	/* SET SESSION AUTHORIZATION changes the session's user, never who logged in. */
	trail_record_string(&leaf, OidIsValid(session_role)
								   ? trail_context_role_name(login, login_text, sizeof(login_text))
								   : "");
	if (actor[0] != '\0')
		trail_record_string(&leaf, source);
	return trail_append(leaf.data, leaf.len, TRAIL_POSITION_INVALID);
}

/*
 * Position of the record that says who acts now, writing it where this process has
 * not yet.  role is the one that the statement ran as; InvalidOid means the
 * current one.  Raises WD3xx.
 */
TrailPosition
trail_context_position(Oid role)
{
	char cut[CONTEXT_ACTOR_MAX];
	const char *source;
	const char *actor = trail_context_named(&source, cut);
	const char *application = application_name != NULL ? application_name : "";
	Oid session_role = InvalidOid;
	ContextWritten *slot;

	/* Before authentication, and in some workers, there is no role yet. */
	if (OidIsValid(MyDatabaseId) && !InitializingParallelWorker)
	{
		Oid user;
		int sec;

		GetUserIdAndSecContext(&user, &sec);
		if (!OidIsValid(role))
			role = user;
		if (OidIsValid(user))
			session_role = GetSessionUserId();
	}
	if (written_pid != MyProcPid)
	{
		/* Inherited over fork: the postmaster's records are not ours. */
		memset(written, 0, sizeof(written));
		written_next = written_last = 0;
		written_pid = MyProcPid;
	}
	trail_context_refresh();
	for (int i = 0; i < CONTEXT_KEPT; i++)
	{
		int at = (written_last + i) % CONTEXT_KEPT;

		slot = &written[at];
		/* One that is about to be pruned is written again. */
		if (slot->used && slot->position >= trail_append_floor() && slot->role == role &&
			slot->session_role == session_role && slot->database == MyDatabaseId &&
			strcmp(slot->actor, actor) == 0 && strcmp(slot->source, source) == 0 &&
			strcmp(slot->application, application) == 0)
		{
			written_last = at;
			return slot->position;
		}
	}
	trail_context_session();
	trail_context_remember(role);
	trail_context_remember(session_role);
	if (OidIsValid(session_role))
		trail_context_remember(GetAuthenticatedUserId());
	slot = &written[written_next];
	slot->used = false;
	slot->position = trail_context_write(role, session_role, actor, source, application);
	if (slot->position == TRAIL_POSITION_INVALID)
		return TRAIL_POSITION_INVALID;
	slot->role = role;
	slot->session_role = session_role;
	slot->database = MyDatabaseId;
	strlcpy(slot->actor, actor, sizeof(slot->actor));
	slot->source = source;
	strlcpy(slot->application, application, sizeof(slot->application));
	slot->used = true;
	written_last = written_next;
	written_next = (written_next + 1) % CONTEXT_KEPT;
	return slot->position;
}

/* See trail.h. */
void
trail_context_acting(TrailActing *acting)
{
	static char role[NAMEDATALEN];
	char number[32];
	const char *source = "";
	Oid session_role = InvalidOid;

	trail_context_session();
	if (OidIsValid(MyDatabaseId) && !InitializingParallelWorker)
	{
		Oid user;
		int sec;

		GetUserIdAndSecContext(&user, &sec);
		if (OidIsValid(user))
			session_role = GetSessionUserId();
	}
	trail_context_remember(session_role);
	/* Copied: the names that are remembered may be read again. */
	snprintf(role, sizeof(role), "%s",
			 trail_context_role_name(session_role, number, sizeof(number)));
	acting->session = session_name;
	acting->session_role = role;
	acting->client = session_client;
	acting->database = session_database != NULL ? session_database : "";
	acting->application = application_name != NULL ? application_name : "";
	acting->actor = trail_setting_actor != NULL ? trail_setting_actor : "";
	if (trail_context_actor != NULL)
		acting->actor = trail_context_actor(acting->actor, &source);
}
