/*
 * prune_plan.c
 *		What of the trail may be removed, and what holds the rest back.
 *
 * By age first; then each database is asked, through its index's worker, how far its index
 * has come and since when its legal holds need evidence.  A plan only ever shrinks: what
 * can't be found out keeps everything.
 *
 * No locks but those that reading pg_database takes.  Raises WD3xx where the segments can't
 * be read.
 */
#include "trail/prune_int.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* How long others are waited for: databases, transactions, the signer; seconds. */
#define PRUNE_PATIENCE 60
/* Lists the segments; nothing is to go so far. */
void
trail_prune_plan_list(PrunePlan *plan)
{
	TrailPosition *listed;
	TrailFault fault;

	memset(plan, 0, sizeof(*plan));
	if (!trail_segment_list(&listed, &plan->count, &fault))
		trail_segment_raise(&fault);
	plan->firsts = palloc(sizeof(TrailPosition) * Max(plan->count, 1));
	memcpy(plan->firsts, listed, sizeof(TrailPosition) * plan->count);
	free(listed);
	plan->created = palloc0(sizeof(int64) * Max(plan->count, 1));
	plan->bytes = palloc0(sizeof(uint64) * Max(plan->count, 1));
	for (int i = 0; i < plan->count; i++)
	{
		TrailSegment segment;
		struct stat st;
		char path[MAXPGPATH];
		int fd = trail_segment_open(plan->firsts[i], O_RDONLY, &fault);
		bool read;

		if (fd < 0)
			trail_segment_raise(&fault);
		read = trail_segment_read_header(fd, plan->firsts[i], &segment, &fault);
		close(fd);
		if (!read)
			trail_segment_raise(&fault);
		plan->created[i] = segment.created;
		trail_segment_path(path, plan->firsts[i]);
		if (stat(path, &st) == 0)
			plan->bytes[i] = (uint64) st.st_size;
	}
}

/*
 * Segments before the first that was begun after a time have no younger record, but for
 * clocks that were set back, which collecting finds.  The last segment always stays.
 */
static void
prune_plan_keep_since(PrunePlan *plan, int64 time)
{
	plan->keep = Min(plan->keep, Max(plan->count - 1, 0));
	while (plan->keep > 0 && plan->created[plan->keep] > time)
		plan->keep--;
}

static void
prune_plan_keep_from(PrunePlan *plan, TrailPosition position)
{
	while (plan->keep > 0 && plan->firsts[plan->keep] > position)
		plan->keep--;
}

typedef struct PruneDatabase
{
	Oid oid;
	char *name;
	bool connects;
	uint64 asked;
} PruneDatabase;

static List *
prune_plan_databases(void)
{
	List *result = NIL;
	Relation databases = table_open(DatabaseRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(databases, 0, NULL);
	HeapTuple tuple;

	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		PruneDatabase *database = palloc0(sizeof(PruneDatabase));

		database->oid = form->oid;
		database->name = pstrdup(NameStr(form->datname));
		database->connects = form->datallowconn;
		result = lappend(result, database);
	}
	table_endscan(scan);
	table_close(databases, AccessShareLock);
	return result;
}

/* Sleeps a moment; interrupts end it. */
void
trail_prune_plan_wait(long milliseconds)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, milliseconds,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* Was waited long enough? */
bool
trail_prune_plan_late(TimestampTz start)
{
	return TimestampDifferenceExceeds(start, GetCurrentTimestamp(), PRUNE_PATIENCE * 1000);
}

/* Asks each database how far its index is and what it holds. */
void
trail_prune_plan_ask(PrunePlan *plan)
{
	List *databases = prune_plan_databases();
	TimestampTz start = GetCurrentTimestamp();
	ListCell *cell;

	foreach (cell, databases)
	{
		PruneDatabase *database = lfirst(cell);

		if (database->connects)
			database->asked = trail_index_table_ask(database->oid);
	}
	foreach (cell, databases)
	{
		PruneDatabase *database = lfirst(cell);
		TrailIndexAnswer answer = {0};
		int before = plan->keep;

		if (!database->connects)
			continue;
		while (!trail_index_table_answered(database->oid, database->asked, &answer) &&
			   !trail_prune_plan_late(start))
			trail_prune_plan_wait(20);
		if (answer.number == 0)
		{
			plan->keep = 0;
			plan->held = lappend(
				plan->held, psprintf("database \"%s\" does not answer how far its index has come",
									 database->name));
			continue;
		}
		if (!answer.installed)
			continue;
		prune_plan_keep_from(plan, answer.folded);
		if (plan->keep < before)
			plan->held = lappend(
				plan->held,
				psprintf("the index of database \"%s\" has reached record " UINT64_FORMAT " only",
						 database->name, answer.folded));
		before = plan->keep;
		if (TIMESTAMP_IS_NOBEGIN(answer.held))
			plan->keep = 0;
		else if (!TIMESTAMP_IS_NOEND(answer.held))
			prune_plan_keep_since(plan,
								  answer.held + (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) *
													USECS_PER_DAY);
		if (plan->keep < before)
			plan->held =
				lappend(plan->held, psprintf("a legal hold in database \"%s\" keeps what "
											 "is since %s",
											 database->name, timestamptz_to_str(answer.held)));
	}
}

/* What may go, by age alone. */
void
trail_prune_plan_by_age(PrunePlan *plan)
{
	trail_prune_plan_list(plan);
	if (trail_setting_retention == 0)
		plan->held = lappend(plan->held, "ward.retention is 0: evidence is kept for ever");
	else
	{
		plan->keep = plan->count;
		prune_plan_keep_since(plan,
							  trail_append_now() - (int64) trail_setting_retention * USECS_PER_SEC);
	}
}

/* Bytes of what is to go. */
uint64
trail_prune_plan_bytes(const PrunePlan *plan)
{
	uint64 bytes = 0;

	for (int i = 0; i < plan->keep; i++)
		bytes += plan->bytes[i];
	return bytes;
}

/* Does a database that nobody can ask have records in what is to go? */
void
trail_prune_plan_check_closed(PrunePlan *plan, List *of)
{
	List *databases = prune_plan_databases();
	ListCell *cell;

	foreach (cell, databases)
	{
		PruneDatabase *database = lfirst(cell);

		if (database->connects || !list_member_oid(of, database->oid))
			continue;
		plan->keep = 0;
		plan->held = lappend(plan->held, psprintf("database \"%s\" allows no connections, so it "
												  "can't be asked what it holds",
												  database->name));
	}
}
