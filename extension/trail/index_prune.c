/*
 * index_prune.c
 *		What pruning the trail means for a database's index.
 *
 * The rows whose evidence is gone go with it, and what was carried over the cut is
 * written in their place, in one transaction, before the next batch is folded.  A row of
 * disclosures stands for a minute: one that has evidence on both sides of the cut stays
 * whole.  Rows of other nodes' trails stay.
 *
 * Locks: a partition of which nothing is left is dropped if nobody reads the index at this
 * moment, else emptied: whoever waits for the index may hold a lock on it, and must not be
 * waited for.  An empty one is dropped the next time.
 */
#include "trail/index_int.h"

#include "access/table.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

static uint64
index_prune_run(const char *sql, TrailPosition cut, int expected)
{
	Oid types[2] = {TEXTOID, INT8OID};
	Datum values[2] = {CStringGetTextDatum(trail_index_statement_node()),
					   Int64GetDatum((int64) cut)};
	int result = SPI_execute_with_args(sql, 2, types, values, NULL, false, 0);

	if (result != expected)
		elog(ERROR, "could not prune the index: %s", SPI_result_code_string(result));
	return SPI_processed;
}

/* Drops or empties a partition of which nothing is left, or removes what is not. */
static void
index_prune_partition(Oid parent, Oid partition, TrailPosition cut)
{
	char *name = get_rel_name(partition);
	uint64 left = index_prune_run(psprintf("SELECT FROM _ward.%s WHERE node <> $1 OR "
										   "last_position >= $2 LIMIT 1",
										   quote_identifier(name)),
								  cut, SPI_OK_SELECT);

	if (left == 0 && ConditionalLockRelationOid(parent, AccessExclusiveLock))
	{
		char *commands[] = {
			psprintf("ALTER EXTENSION pg_ward DROP TABLE _ward.%s", quote_identifier(name)),
			psprintf("DROP TABLE _ward.%s", quote_identifier(name)),
		};

		for (int i = 0; i < (int) lengthof(commands); i++)
			if (SPI_execute(commands[i], false, 0) != SPI_OK_UTILITY)
				elog(ERROR, "could not drop partition %s", name);
		return;
	}
	(void) index_prune_run(psprintf("DELETE FROM _ward.%s WHERE node = $1 AND last_position < $2",
									quote_identifier(name)),
						   cut, SPI_OK_DELETE);
}

/*
 * Subjects that no row names any more.  Their keys are not told apart by node, and a
 * standby's may be named by what it has yet to deliver: then all stay.
 */
static void
index_prune_subjects(TrailPosition cut)
{
	(void) index_prune_run(
		"WITH named AS MATERIALIZED (SELECT d.subject_class, _ward.subject_set_union(d.subjects) "
		"AS subjects FROM _ward.disclosure d WHERE d.subjects IS NOT NULL GROUP BY 1) "
		"DELETE FROM _ward.subject_key k WHERE k.first_position < $2 "
		"AND NOT EXISTS (SELECT FROM _ward.index_state s WHERE s.node <> $1) "
		"AND NOT EXISTS (SELECT FROM named n WHERE n.subject_class = k.class "
		"AND _ward.subject_set_contains(n.subjects, k.number))",
		cut, SPI_OK_DELETE);
}

/* What was carried over takes the place of what was removed. */
static void
index_prune_carry(TrailPosition cut)
{
	TrailIndexSource *source = trail_index_source_open_carry(cut);
	MemoryContext each =
		AllocSetContextCreate(CurrentMemoryContext, "pg_ward carried", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(each);
	TrailIndexEntry entry;

	while (trail_index_source_next(source, &entry))
	{
		CHECK_FOR_INTERRUPTS();
		trail_index_write_entry(&entry);
		MemoryContextReset(each);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(each);
	trail_index_source_close(source);
}

/* See index_int.h.  The caller is connected to SPI. */
void
trail_index_prune(TrailPosition cut)
{
	Oid parent = core_catalog_relation("disclosure");
	List *partitions = find_inheritance_children(parent, AccessShareLock);
	Datum at = Int64GetDatum((int64) cut);
	ListCell *cell;

	foreach (cell, partitions)
		index_prune_partition(parent, lfirst_oid(cell), cut);
	(void) index_prune_run("DELETE FROM _ward.context WHERE node = $1 AND position < $2", cut,
						   SPI_OK_DELETE);
	(void) index_prune_run("DELETE FROM _ward.relation_at WHERE node = $1 AND position < $2", cut,
						   SPI_OK_DELETE);
	(void) index_prune_run("DELETE FROM _ward.event WHERE node = $1 AND position < $2", cut,
						   SPI_OK_DELETE);
	(void) index_prune_run("DELETE FROM _ward.statement s WHERE s.first_position < $2 "
						   "AND NOT EXISTS (SELECT FROM _ward.index_state i WHERE i.node <> $1) "
						   "AND NOT EXISTS (SELECT FROM _ward.disclosure d "
						   "WHERE d.fingerprint = s.fingerprint)",
						   cut, SPI_OK_DELETE);
	index_prune_subjects(cut);
	trail_index_write_forget();
	index_prune_carry(cut);
	(void) trail_index_statement_run(INDEX_PLAN_STATE_PRUNED, &at, NULL, SPI_OK_UPDATE);
}

/* See index_int.h. */
TimestampTz
trail_index_prune_held(void)
{
	TimestampTz held = DT_NOEND;

	SPI_connect();
	/* A hold of evidence that is gone holds nothing. */
	if (SPI_execute("SELECT pg_catalog.min(h.since) FROM _ward.evidence_hold h WHERE h.until >= "
					"coalesce((SELECT pg_catalog.max((e.detail ->> 'until')::timestamptz) "
					"FROM _ward.event e JOIN _ward.index_state i ON i.node = e.node "
					"AND NOT i.shipped WHERE e.kind = '" TRAIL_PRUNED "'), '-infinity')",
					true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the legal holds");
	if (SPI_processed > 0)
	{
		bool isnull;
		Datum least = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

		if (!isnull)
			held = DatumGetTimestampTz(least);
	}
	SPI_finish();
	return held;
}
