/*
 * canary.c
 *		Canaries: people whom no honest work touches.  Whoever is shown one raises an alert.
 *
 * Invariants:
 * - Asked before each record, of the set of people that it holds, so that no row leaves
 *   before the alert is in the trail.  Certain manners count (row, write), also an aggregate
 *   over so few that it tells about each; totals and maintenance over everybody do not.
 * - Nothing tells a reader: the plan, the message and what is asked of the catalog are the
 *   same with canaries and without.  The alert costs a record more.
 * - Members of ward_officer raise the alert and are spared the rest: nobody who could set
 *   things right is locked out.  Roles that are exempt raise none.
 * - A statement that has failed still raises the alert, and nothing else.
 *
 * The canaries of a database are cached in each backend until _ward.canary changes, for one
 * session's role.  No locks.
 */
#include "guard/answer_int.h"

#include <signal.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

/* Columns of _ward.canary that are read here. */
#define CANARY_ID 1
#define CANARY_CLASS 3
#define CANARY_NUMBER 4
#define CANARY_ON_READ 5
#define CANARY_KEY 6
#define CANARY_EXEMPT 7

/* A session that reads the same canary again raises no further alert for so long, ms. */
#define CANARY_AGAIN_MS 10000

typedef struct Canary
{
	int64 id;
	int64 number;
	char *class;
	char *on_read;
	char *key; /* to be frozen, or NULL */
	TimestampTz alerted;
} Canary;

static MemoryContext canary_memory = NULL;
static Canary *canaries = NULL;
static int canary_count = 0;
static Oid canary_table = InvalidOid;
static Oid canary_session = InvalidOid;
static bool canary_officer = false;
static bool canary_valid = false;
static bool canary_listens = false;

static void
guard_canary_forget(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == canary_table || !OidIsValid(canary_table))
		canary_valid = false;
}

static bool
guard_canary_exempt(Datum exempt, List *roles)
{
	Datum *elements;
	bool *nulls;
	int n;

	deconstruct_array(DatumGetArrayTypeP(exempt), REGROLEOID, sizeof(Oid), true, TYPALIGN_INT,
					  &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i] && list_member_oid(roles, DatumGetObjectId(elements[i])))
			return true;
	return false;
}

static void
guard_canary_read_table(Relation table, List *roles)
{
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, NULL, 0, NULL);
	TupleDesc desc = RelationGetDescr(table);
	HeapTuple tuple;
	int room = 16;

	canaries = palloc(sizeof(Canary) * room);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Canary *canary;
		bool isnull;
		Datum key;

		if (guard_canary_exempt(heap_getattr(tuple, CANARY_EXEMPT, desc, &isnull), roles))
			continue;
		if (canary_count == room)
			canaries = repalloc(canaries, sizeof(Canary) * (room *= 2));
		canary = &canaries[canary_count];
		canary->id = DatumGetInt64(heap_getattr(tuple, CANARY_ID, desc, &isnull));
		canary->number = DatumGetInt64(heap_getattr(tuple, CANARY_NUMBER, desc, &isnull));
		canary->class = TextDatumGetCString(heap_getattr(tuple, CANARY_CLASS, desc, &isnull));
		canary->on_read = TextDatumGetCString(heap_getattr(tuple, CANARY_ON_READ, desc, &isnull));
		key = heap_getattr(tuple, CANARY_KEY, desc, &isnull);
		canary->key = isnull ? NULL : TextDatumGetCString(key);
		canary->alerted = 0;
		canary_count++;
	}
	systable_endscan(scan);
}

static void
guard_canary_load(void)
{
	Oid relid = core_catalog_relation("canary");
	Oid officer = get_role_oid("ward_officer", true);
	List *roles;
	MemoryContext old;
	Relation table;

	if (!canary_listens)
	{
		CacheRegisterRelcacheCallback(guard_canary_forget, (Datum) 0);
		canary_listens = true;
	}
	/* Before reading, so that what changes meanwhile is read again. */
	canary_valid = true;
	canary_table = relid;
	canary_session = GetSessionUserId();
	canary_count = 0;
	if (canary_memory == NULL)
		canary_memory =
			AllocSetContextCreate(TopMemoryContext, "pg_ward canaries", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(canary_memory);
	if (!OidIsValid(relid))
		return;
	PG_TRY();
	{
		roles = seal_roles_of(canary_session);
		canary_officer = OidIsValid(officer) && list_member_oid(roles, officer);
		table = table_open(relid, AccessShareLock);
		old = MemoryContextSwitchTo(canary_memory);
		guard_canary_read_table(table, roles);
		MemoryContextSwitchTo(old);
		table_close(table, AccessShareLock);
	}
	PG_CATCH();
	{
		canary_valid = false;
		canary_count = 0;
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* See answer_int.h. */
void
guard_canary_begin(void)
{
	if (likely(canary_valid && canary_session == GetSessionUserId()))
		return;
	if (IsTransactionState() && OidIsValid(MyDatabaseId))
		guard_canary_load();
}

/* Raises the alert; where the statement has failed already, nothing may be raised. */
static void
guard_canary_alert(const Canary *canary, const TrailDisclosure *disclosure, bool failed)
{
	MemoryContext old = CurrentMemoryContext;
	uint32 interrupts = InterruptHoldoffCount;
	uint32 cancels = QueryCancelHoldoffCount;
	TrailField fields[4];
	char id[32];
	char relation[2 * NAMEDATALEN + 2];

	snprintf(id, sizeof(id), INT64_FORMAT, canary->id);
	snprintf(relation, sizeof(relation), "%s.%s", disclosure->relation->schema,
			 disclosure->relation->name);
	fields[0] = (TrailField){"canary", id};
	fields[1] = (TrailField){"relation", relation};
	fields[2] = (TrailField){"on_read", canary_officer ? "alert" : canary->on_read};
	fields[3] = (TrailField){"freeze_key", canary_officer ? NULL : canary->key};
	PG_TRY();
	{
		(void) guard_alert("canary", "a canary was read", fields, lengthof(fields));
	}
	PG_CATCH();
	{
		if (!failed)
			PG_RE_THROW();
		MemoryContextSwitchTo(old);
		EmitErrorReport();
		FlushErrorState();
		/* Raising has zeroed these, but an aborting transaction still counts on its own. */
		InterruptHoldoffCount = interrupts;
		QueryCancelHoldoffCount = cancels;
	}
	PG_END_TRY();
}

/* Ends the session, in the words in which an administrator would. */
static void
guard_canary_end(void)
{
	witness_withhold();
	/* A worker's end is only an error to its leader, who is the one to go. */
	if (IsParallelWorker() && MyProc->lockGroupLeader != NULL)
		(void) kill(MyProc->lockGroupLeader->pid, SIGTERM);
	ereport(IsParallelWorker() ? ERROR : FATAL,
			(errcode(ERRCODE_ADMIN_SHUTDOWN),
			 errmsg("terminating connection due to administrator command")));
}

static void
guard_canary_shown(Canary *canary, const TrailDisclosure *disclosure, bool failed)
{
	TimestampTz now = GetCurrentTimestamp();

	if (canary->alerted == 0 || TimestampDifferenceExceeds(canary->alerted, now, CANARY_AGAIN_MS) ||
		now < canary->alerted)
	{
		guard_canary_alert(canary, disclosure, failed);
		canary->alerted = now;
	}
	if (canary_officer || failed)
		return;
	if (strcmp(canary->on_read, "lock_role") == 0)
	{
		char reason[64];

		snprintf(reason, sizeof(reason), "canary " INT64_FORMAT " was read", canary->id);
		guard_lockdown_role(GetSessionUserId(), reason);
	}
	else if (strcmp(canary->on_read, "end_session") == 0)
		guard_canary_end();
}

/* See answer_int.h. */
void
guard_canary_write(const WitnessShown *shown, const TrailDisclosure *disclosure, bool failed)
{
	if (!failed)
		guard_canary_begin();
	if (likely(canary_count == 0) || disclosure->subjects == NULL ||
		(disclosure->manner != TRAIL_MANNER_ROW &&
		 (disclosure->manner != TRAIL_MANNER_WRITE || shown->command == CMD_INSERT)))
		return;
	for (int i = 0; i < canary_count; i++)
		if (trail_subject_set_contains(disclosure->subjects, canaries[i].number) &&
			strcmp(canaries[i].class, shown->class) == 0)
			guard_canary_shown(&canaries[i], disclosure, failed);
}
