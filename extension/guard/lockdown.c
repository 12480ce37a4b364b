/*
 * lockdown.c
 *		Lockdown: watched reads are refused, for everybody but officers, or for roles and
 *		addresses.
 *
 * Invariants:
 * - It holds at once, in every backend, and is neither bound to a transaction nor undone by
 *   one: it is in shared memory, and in a file of the data directory for the next start.
 *   The flag comes first, then the file, then the event in the trail, so that neither a full
 *   disk nor a trail that can't be written keeps it from holding.
 * - Lifting goes the other way round: event, file, flag.  Where one fails, it holds on.
 * - A file that can't be read as it was written locks down all reads (fail closed).
 * - Asked where a statement is run, also further, every few rows that leave, and before each
 *   record: a row that is refused has not left.  Foreign keys' checks, their cascades and
 *   plain inserts go on: they show nothing.
 *
 * Locks: GUARD_LOCK_LOCKDOWN guards the state and the file.  Writing the file under it may
 * log, and raises nothing.
 */
#include "guard/answer_int.h"

#include <fcntl.h>
#include <unistd.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/ip.h"
#include "funcapi.h"
#include "libpq/libpq-be.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/shmem.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/portal.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

WARD_FUNCTION(ward_lockdown_set);
WARD_FUNCTION(ward_lockdown_lift);
WARD_FUNCTION(ward_lockdown_now);

#define LOCKDOWN_FILE "ward_guard.lockdown"
#define LOCKDOWN_HEAD "pg_ward lockdown 1\n"
#define LOCKDOWN_FOOT "end\n"

#define LOCKDOWN_ROLES 64
#define LOCKDOWN_CLIENTS 64
#define LOCKDOWN_CLIENT 64 /* an address with its mask, as text */
#define LOCKDOWN_REASON 256
#define LOCKDOWN_FILE_MAX 16384

typedef struct Lockdown
{
	bool reads;
	TimestampTz since;
	char by[NAMEDATALEN];
	char reason[LOCKDOWN_REASON];
	int nroles;
	Oid roles[LOCKDOWN_ROLES];
	int nclients;
	char clients[LOCKDOWN_CLIENTS][LOCKDOWN_CLIENT];
	char problem[128]; /* with the file */
} Lockdown;

typedef struct LockdownShared
{
	LWLock *lock;
	pg_atomic_uint32 active;
	pg_atomic_uint64 generation; /* changes with the state */
	Lockdown now;
} LockdownShared;

static LockdownShared *lockdown_shared = NULL;

/* What this backend has found out, for one generation and its roles. */
static uint64 lockdown_known = 0;
static Oid lockdown_session = InvalidOid;
static Oid lockdown_user = InvalidOid;
static bool lockdown_verdict = false;
static bool lockdown_stale = true;
static bool lockdown_listens = false;
static bool lockdown_has_read = false; /* this session has been shown anybody */

/* ---------------------------------------------------------------- the file */

/* Writes the state; 0, or an errno.  Called under the lock. */
static int
guard_lockdown_save(const Lockdown *now)
{
	char *text = malloc(LOCKDOWN_FILE_MAX);
	int len = 0;
	int failed = 0;
	int fd;

	if (text == NULL)
		return ENOMEM;
	len += snprintf(text, LOCKDOWN_FILE_MAX,
					LOCKDOWN_HEAD "since " INT64_FORMAT "\nreads %d\nby %s\nreason %s\n",
					now->since, now->reads, now->by, now->reason);
	for (int i = 0; i < now->nroles; i++)
		len += snprintf(text + len, LOCKDOWN_FILE_MAX - len, "role %u\n", now->roles[i]);
	for (int i = 0; i < now->nclients; i++)
		len += snprintf(text + len, LOCKDOWN_FILE_MAX - len, "client %s\n", now->clients[i]);
	len += snprintf(text + len, LOCKDOWN_FILE_MAX - len, LOCKDOWN_FOOT);
	fd = BasicOpenFile(LOCKDOWN_FILE ".tmp", O_WRONLY | O_CREAT | O_TRUNC | PG_BINARY);
	if (fd < 0)
		failed = errno;
	else
	{
		errno = ENOSPC;
		if (write(fd, text, len) != len || pg_fsync(fd) != 0)
			failed = errno;
		if (close(fd) != 0 && failed == 0)
			failed = errno;
	}
	free(text);
	if (failed == 0 && durable_rename(LOCKDOWN_FILE ".tmp", LOCKDOWN_FILE, LOG) != 0)
		failed = errno != 0 ? errno : EIO;
	return failed;
}

/* One line of the file; false: it is none of ours. */
static bool
guard_lockdown_parse(Lockdown *now, const char *line)
{
	int64 since;
	int reads;
	Oid role;

	if (sscanf(line, "since " INT64_FORMAT, &since) == 1)
		now->since = since;
	else if (sscanf(line, "reads %d", &reads) == 1)
		now->reads = reads != 0;
	else if (strncmp(line, "by ", 3) == 0)
		strlcpy(now->by, line + 3, sizeof(now->by));
	else if (strncmp(line, "reason ", 7) == 0)
		strlcpy(now->reason, line + 7, sizeof(now->reason));
	else if (sscanf(line, "role %u", &role) == 1 && now->nroles < LOCKDOWN_ROLES)
		now->roles[now->nroles++] = role;
	else if (strncmp(line, "client ", 7) == 0 && now->nclients < LOCKDOWN_CLIENTS)
		strlcpy(now->clients[now->nclients++], line + 7, LOCKDOWN_CLIENT);
	else
		return false;
	return true;
}

/* Called as the server starts; false: there is no file. */
static bool
guard_lockdown_load(Lockdown *now)
{
	FILE *file = fopen(LOCKDOWN_FILE, "r");
	char line[LOCKDOWN_REASON + 64];
	bool whole = false;
	bool ours = false;

	memset(now, 0, sizeof(*now));
	if (file == NULL && errno == ENOENT)
		return false;
	if (file != NULL)
	{
		ours = fgets(line, sizeof(line), file) != NULL && strcmp(line, LOCKDOWN_HEAD) == 0;
		while (ours && !whole && fgets(line, sizeof(line), file) != NULL)
		{
			whole = strcmp(line, LOCKDOWN_FOOT) == 0;
			line[strcspn(line, "\n")] = '\0';
			ours = whole || guard_lockdown_parse(now, line);
		}
		(void) fclose(file);
	}
	if (!ours || !whole)
	{
		memset(now, 0, sizeof(*now));
		now->reads = true;
		now->since = GetCurrentTimestamp();
		strlcpy(now->reason, "the file of the lockdown can't be read", sizeof(now->reason));
		snprintf(now->problem, sizeof(now->problem), "\"%s\" can't be read as it was written",
				 LOCKDOWN_FILE);
	}
	ereport(LOG, (errmsg("watched data is locked down"),
				  errdetail("The lockdown was set before the server started."),
				  errhint("An officer can end it with ward.lift_lockdown().")));
	return true;
}

/* ---------------------------------------------------------------- shared memory */

Size
guard_lockdown_shmem_size(void)
{
	return MAXALIGN(sizeof(LockdownShared));
}

/* Called with AddinShmemInitLock held, in the postmaster, before anybody reads. */
void
guard_lockdown_shmem_init(void)
{
	bool found;

	lockdown_shared = ShmemInitStruct("pg_ward lockdown", guard_lockdown_shmem_size(), &found);
	if (found)
		return;
	memset(lockdown_shared, 0, sizeof(LockdownShared));
	lockdown_shared->lock = guard_lock(GUARD_LOCK_LOCKDOWN);
	pg_atomic_init_u32(&lockdown_shared->active, 0);
	pg_atomic_init_u64(&lockdown_shared->generation, 1);
	if (guard_lockdown_load(&lockdown_shared->now))
		pg_atomic_write_u32(&lockdown_shared->active, 1);
}

static Lockdown *
guard_lockdown_copy(void)
{
	Lockdown *copy = palloc(sizeof(Lockdown));

	LWLockAcquire(lockdown_shared->lock, LW_SHARED);
	*copy = lockdown_shared->now;
	LWLockRelease(lockdown_shared->lock);
	return copy;
}

/*
 * Adds to what is locked down; returns 0 or the errno with which the file could not be
 * written, -1 where there is no room and nothing was added.
 */
static int
guard_lockdown_add(const Lockdown *more)
{
	Lockdown *now = &lockdown_shared->now;
	int failed;

	LWLockAcquire(lockdown_shared->lock, LW_EXCLUSIVE);
	if (now->nroles + more->nroles > LOCKDOWN_ROLES ||
		now->nclients + more->nclients > LOCKDOWN_CLIENTS)
	{
		LWLockRelease(lockdown_shared->lock);
		return -1;
	}
	if (pg_atomic_read_u32(&lockdown_shared->active) == 0)
	{
		memset(now, 0, sizeof(*now));
		now->since = more->since;
	}
	now->reads |= more->reads;
	strlcpy(now->by, more->by, sizeof(now->by));
	strlcpy(now->reason, more->reason, sizeof(now->reason));
	for (int i = 0; i < more->nroles; i++)
	{
		bool known = false;

		for (int j = 0; j < now->nroles; j++)
			known |= now->roles[j] == more->roles[i];
		if (!known)
			now->roles[now->nroles++] = more->roles[i];
	}
	for (int i = 0; i < more->nclients; i++)
		strlcpy(now->clients[now->nclients++], more->clients[i], LOCKDOWN_CLIENT);
	(void) pg_atomic_fetch_add_u64(&lockdown_shared->generation, 1);
	pg_atomic_write_u32(&lockdown_shared->active, 1);
	failed = guard_lockdown_save(now);
	if (failed != 0)
		snprintf(now->problem, sizeof(now->problem), "\"%s\" could not be written: %s",
				 LOCKDOWN_FILE, strerror(failed));
	else
		now->problem[0] = '\0';
	LWLockRelease(lockdown_shared->lock);
	return failed;
}

/* ---------------------------------------------------------------- who is refused */

static void
guard_lockdown_roles_changed(Datum arg, int cache, uint32 hash)
{
	lockdown_stale = true;
}

/* Is the client's address in one of those that are locked down? */
static bool
guard_lockdown_client(const Lockdown *now, const Port *port)
{
	char address[NI_MAXHOST];
	char service[NI_MAXSERV];
	Datum client;

	/* A local socket has none, and a worker's is its leader's, who is asked himself. */
	if (now->nclients == 0 || port == NULL || port->raddr.addr.ss_family == AF_UNIX ||
		pg_getnameinfo_all(&port->raddr.addr, port->raddr.salen, address, sizeof(address), service,
						   sizeof(service), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return false;
	clean_ipv6_addr(port->raddr.addr.ss_family, address);
	client = DirectFunctionCall1(inet_in, CStringGetDatum(address));
	for (int i = 0; i < now->nclients; i++)
		if (DatumGetBool(DirectFunctionCall2(
				network_subeq, client,
				DirectFunctionCall1(inet_in, CStringGetDatum(now->clients[i])))))
			return true;
	return false;
}

static bool
guard_lockdown_names(const Lockdown *now, List *roles)
{
	for (int i = 0; i < now->nroles; i++)
		if (list_member_oid(roles, now->roles[i]))
			return true;
	return false;
}

/* Works out whether this backend is refused, as its session and current roles stand. */
static bool
guard_lockdown_work_out(void)
{
	Lockdown *now = guard_lockdown_copy();
	Oid officer = get_role_oid("ward_officer", true);
	List *roles = seal_roles_of(GetSessionUserId());
	bool refused;

	refused =
		guard_lockdown_names(now, roles) || guard_lockdown_names(now, seal_roles_of(GetUserId()));
	if (!refused)
		refused = guard_lockdown_client(now, MyProcPort);
	/* Officers by who they are, never by a function that runs as one. */
	if (!refused && now->reads)
		refused = !OidIsValid(officer) || !list_member_oid(roles, officer);
	pfree(now);
	return refused;
}

static bool
guard_lockdown_refuses(void)
{
	uint64 generation;

	if (likely(pg_atomic_read_u32(&lockdown_shared->active) == 0))
		return false;
	/* Where the catalog can't be read, nothing may be raised either. */
	if (!IsTransactionState())
		return false;
	if (!lockdown_listens)
	{
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, guard_lockdown_roles_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHOID, guard_lockdown_roles_changed, (Datum) 0);
		lockdown_listens = true;
	}
	generation = pg_atomic_read_u64(&lockdown_shared->generation);
	if (lockdown_stale || lockdown_known != generation || lockdown_session != GetSessionUserId() ||
		lockdown_user != GetUserId())
	{
		lockdown_stale = false;
		lockdown_verdict = guard_lockdown_work_out();
		lockdown_known = generation;
		lockdown_session = GetSessionUserId();
		lockdown_user = GetUserId();
	}
	return lockdown_verdict;
}

static void
guard_lockdown_raise(void)
{
	witness_withhold();
	ereport(ERROR, (errcode(ERRCODE_WARD_LOCKED_DOWN), errmsg("watched data is locked down"),
					errdetail("An officer has stopped reading it."),
					errhint("Ask an officer (a member of ward_officer), who can end the lockdown "
							"with ward.lift_lockdown().")));
}

/* See answer_int.h. */
void
guard_lockdown_run(CmdType command)
{
	if (unlikely(guard_lockdown_refuses()) && command == CMD_SELECT && !InNoForceRLSOperation())
		guard_lockdown_raise();
}

/* See answer_int.h. */
void
guard_lockdown_begin(void)
{
	lockdown_has_read = true;
}

/* See answer_int.h. */
void
guard_lockdown_write(const WitnessShown *shown, const TrailDisclosure *disclosure, bool failed)
{
	if (likely(pg_atomic_read_u32(&lockdown_shared->active) == 0) || failed)
		return;
	if (disclosure->manner == TRAIL_MANNER_EXISTENCE ||
		(disclosure->manner == TRAIL_MANNER_WRITE &&
		 (shown->command == CMD_INSERT || strcmp(disclosure->reason, "cascade") == 0)))
		return;
	if (guard_lockdown_refuses())
		guard_lockdown_raise();
}

/*
 * FETCH from a cursor whose rows were taken out before (WITH HOLD) comes by no execution.
 * Whether they are watched is not known there any more: that the session has read anything
 * watched decides.
 */
void
guard_lockdown_fetch(const FetchStmt *fetch)
{
	Portal portal;

	if (pg_atomic_read_u32(&lockdown_shared->active) == 0 || !lockdown_has_read)
		return;
	portal = GetPortalByName(fetch->portalname);
	if (PortalIsValid(portal) && portal->holdStore != NULL && guard_lockdown_refuses())
		guard_lockdown_raise();
}

/* Somebody has authenticated: not those whose role or address is locked down. */
void
guard_lockdown_login(const Port *port)
{
	Lockdown *now;
	Oid role;
	bool refused;

	if (pg_atomic_read_u32(&lockdown_shared->active) == 0)
		return;
	now = guard_lockdown_copy();
	role = get_role_oid(port->user_name, true);
	refused = guard_lockdown_client(now, port) || (OidIsValid(role) && now->nroles > 0 &&
												   guard_lockdown_names(now, seal_roles_of(role)));
	pfree(now);
	if (refused)
		ereport(FATAL, (errcode(ERRCODE_WARD_LOCKED_DOWN),
						errmsg("this connection is refused by a lockdown"),
						errhint("Ask an officer (a member of ward_officer).")));
}

/* ---------------------------------------------------------------- setting and lifting */

/* Text on one line of the file. */
static void
guard_lockdown_line(char *into, Size room, const char *text)
{
	Size len = pg_mbcliplen(text, (int) strlen(text), (int) room - 1);

	memcpy(into, text, len);
	into[len] = '\0';
	for (char *c = into; *c != '\0'; c++)
		if ((unsigned char) *c < 0x20)
			*c = ' ';
}

/* See answer_int.h. */
void
guard_lockdown_role(Oid role, const char *reason)
{
	Lockdown *more = palloc0(sizeof(Lockdown));

	more->since = GetCurrentTimestamp();
	more->nroles = 1;
	more->roles[0] = role;
	strlcpy(more->by, "pg_ward", sizeof(more->by));
	guard_lockdown_line(more->reason, sizeof(more->reason), reason);
	/* No room: wider, never narrower. */
	if (guard_lockdown_add(more) == -1)
	{
		more->nroles = 0;
		more->reads = true;
		(void) guard_lockdown_add(more);
	}
	pfree(more);
}

/* _ward.lockdown_set(reads, roles, clients, reason); returns what is wrong with the file. */
Datum
ward_lockdown_set(PG_FUNCTION_ARGS)
{
	Lockdown *more = palloc0(sizeof(Lockdown));
	Datum *roles;
	Datum *clients;
	bool *nulls;
	int nroles;
	int nclients;
	int failed;

	core_preload_require();
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), OIDOID, sizeof(Oid), true, TYPALIGN_INT, &roles,
					  &nulls, &nroles);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), TEXTOID, -1, false, TYPALIGN_INT, &clients, &nulls,
					  &nclients);
	more->since = GetCurrentTimestamp();
	more->reads = PG_GETARG_BOOL(0);
	strlcpy(more->by, GetUserNameFromId(GetSessionUserId(), false), sizeof(more->by));
	guard_lockdown_line(more->reason, sizeof(more->reason), text_to_cstring(PG_GETARG_TEXT_PP(3)));
	for (int i = 0; i < Min(nroles, LOCKDOWN_ROLES); i++)
		more->roles[more->nroles++] = DatumGetObjectId(roles[i]);
	for (int i = 0; i < Min(nclients, LOCKDOWN_CLIENTS); i++)
		strlcpy(more->clients[more->nclients++], TextDatumGetCString(clients[i]), LOCKDOWN_CLIENT);
	failed = nroles > LOCKDOWN_ROLES || nclients > LOCKDOWN_CLIENTS ? -1 : guard_lockdown_add(more);
	if (failed == -1)
		ereport(
			ERROR,
			(errcode(ERRCODE_WARD_LOCKDOWN_REFUSED),
			 errmsg("there is no room for so many roles or addresses"),
			 errdetail("A lockdown holds at most %d roles and %d addresses.", LOCKDOWN_ROLES,
					   LOCKDOWN_CLIENTS),
			 errhint("Lock down all reads instead, or a role that the others are members of.")));
	if (failed != 0)
		PG_RETURN_TEXT_P(cstring_to_text(strerror(failed)));
	PG_RETURN_NULL();
}

/* _ward.lockdown_lift(): after its event.  Raises where the file stays. */
Datum
ward_lockdown_lift(PG_FUNCTION_ARGS)
{
	int failed = 0;

	core_preload_require();
	LWLockAcquire(lockdown_shared->lock, LW_EXCLUSIVE);
	if (access(LOCKDOWN_FILE, F_OK) == 0 && durable_unlink(LOCKDOWN_FILE, LOG) != 0)
		failed = errno != 0 ? errno : EIO;
	else
	{
		memset(&lockdown_shared->now, 0, sizeof(Lockdown));
		(void) pg_atomic_fetch_add_u64(&lockdown_shared->generation, 1);
		pg_atomic_write_u32(&lockdown_shared->active, 0);
	}
	LWLockRelease(lockdown_shared->lock);
	errno = failed;
	if (failed != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not remove file \"%s\": %m", LOCKDOWN_FILE),
						errdetail("The lockdown holds on.")));
	PG_RETURN_VOID();
}

#define LOCKDOWN_COLUMNS 8

/* _ward.lockdown_now(): one row. */
Datum
ward_lockdown_now(PG_FUNCTION_ARGS)
{
	Lockdown *now;
	Datum values[LOCKDOWN_COLUMNS] = {0};
	bool nulls[LOCKDOWN_COLUMNS] = {0};
	Datum roles[LOCKDOWN_ROLES];
	Datum clients[LOCKDOWN_CLIENTS];
	TupleDesc desc;
	bool active;

	core_preload_require();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	active = pg_atomic_read_u32(&lockdown_shared->active) != 0;
	now = guard_lockdown_copy();
	for (int i = 0; i < now->nroles; i++)
		roles[i] = ObjectIdGetDatum(now->roles[i]);
	for (int i = 0; i < now->nclients; i++)
		clients[i] = CStringGetTextDatum(now->clients[i]);
	values[0] = BoolGetDatum(active);
	values[1] = BoolGetDatum(now->reads);
	values[2] = PointerGetDatum(
		construct_array(roles, now->nroles, OIDOID, sizeof(Oid), true, TYPALIGN_INT));
	values[3] =
		PointerGetDatum(construct_array(clients, now->nclients, TEXTOID, -1, false, TYPALIGN_INT));
	values[4] = TimestampTzGetDatum(now->since);
	values[5] = CStringGetTextDatum(now->by);
	values[6] = CStringGetTextDatum(now->reason);
	values[7] = CStringGetTextDatum(now->problem);
	nulls[4] = nulls[5] = nulls[6] = !active;
	nulls[7] = now->problem[0] == '\0';
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
