/*
 * apply.c
 *		Whom a subscription's workers write.
 *
 * The apply worker, and the one that copies a table initially, offer no point at which
 * their relations could be held open for listening (write.c).  So cache entries are
 * prepared as each of their transactions commits, for the next; the worker's first ones
 * only read the catalog.  An entry that was lost in between (autovacuum is enough), or is
 * new, is noticed as the transaction commits, by the lock that the worker holds on what it
 * has changed; the table is then read for what this transaction has written.
 *
 * A TRUNCATE that is replicated is recorded as everybody: it is noticed when nobody is
 * left to be read.  What a worker's transaction did that is aborted is not recorded: it
 * will be applied again.
 */
#include "witness/write_int.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "storage/lmgr.h"
#include "utils/rel.h"

/* Has anything changed since the worker's cache entries were prepared? */
static bool
witness_apply_prepared(WriteListener *listener, List *relids)
{
	ListCell *lc;

	if (hash_get_num_entries(listener->targets) != list_length(relids))
		return false;
	foreach (lc, relids)
	{
		Oid relid = lfirst_oid(lc);
		WriteTarget *target = hash_search(listener->targets, &relid, HASH_FIND, NULL);
		WitnessRelation *relation = witness_watch_pin(relid);
		bool same = target != NULL && !target->lost && target->relation == relation;

		if (relation != NULL)
			witness_watch_release(relation);
		if (!same)
			return false;
	}
	return true;
}

/* Prepares cache entries for the worker's next transaction. */
static void
witness_apply_prepare(List *relids)
{
	ListCell *lc;

	if (witness_write_applying != NULL && witness_apply_prepared(witness_write_applying, relids))
		return;
	if (witness_write_applying != NULL)
		witness_write_release(witness_write_applying);
	witness_write_applying = NULL;
	if (relids == NIL)
		return;
	witness_write_applying = witness_write_listener("replication", 0, NULL);
	foreach (lc, relids)
	{
		WitnessRelation *relation = witness_watch_pin(lfirst_oid(lc));
		WriteTarget *target;
		Relation rel;

		if (relation == NULL)
			continue;
		target = witness_write_target(witness_write_applying, lfirst_oid(lc), relation);
		rel = RelationIdGetRelation(lfirst_oid(lc));
		if (rel == NULL)
			continue;
		if (RELKIND_HAS_STORAGE(rel->rd_rel->relkind))
			witness_write_wrap(rel);
		target->lost = RELKIND_HAS_STORAGE(rel->rd_rel->relkind) && !witness_write_listens(rel);
		RelationClose(rel);
	}
}

/*
 * The apply worker's transaction is about to commit: writes down whom it has written, and
 * prepares the next one.  It holds the locks of whatever it has changed.
 */
static void
witness_apply_written(void)
{
	List *relids = witness_watch_relids();
	ListCell *lc;

	if (witness_write_applying == NULL && relids != NIL)
		witness_write_applying = witness_write_listener("replication", 0, NULL);
	if (witness_write_applying == NULL)
		return;
	witness_write_applying->statement = witness_capture_next_statement();
	foreach (lc, relids)
	{
		Oid relid = lfirst_oid(lc);
		WriteTarget *target;

		if (!CheckRelationOidLockedByMe(relid, RowExclusiveLock, true))
			continue;
		target = hash_search(witness_write_applying->targets, &relid, HASH_FIND, NULL);
		if (target == NULL)
		{
			WitnessRelation *relation = witness_watch_pin(relid);

			if (relation == NULL)
				continue;
			target = witness_write_target(witness_write_applying, relid, relation);
			target->lost = true;
		}
		/* TRUNCATE: who stood there can't be read any more. */
		if (CheckRelationOidLockedByMe(relid, AccessExclusiveLock, true))
		{
			witness_write_applying->reason = "truncate";
			witness_write_everybody(witness_write_applying, target->relation);
			witness_write_applying->reason = "replication";
		}
		if (target->lost && !witness_write_read(witness_write_applying, target, true))
			witness_write_everybody(witness_write_applying, target->relation);
	}
	witness_write_flush(witness_write_applying);
	witness_apply_prepare(relids);
}

static void
witness_apply_transaction(XactEvent event, void *arg)
{
	if (!IsLogicalWorker())
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			if (witness_setting_capture && OidIsValid(MyDatabaseId))
				witness_apply_written();
			break;
		case XACT_EVENT_ABORT:
			/* The publisher's transaction will be applied again. */
			if (witness_write_applying != NULL)
				for (WriteSet *set = witness_write_applying->sets; set != NULL; set = set->next)
					trail_subject_set_reset(set->pending);
			break;
		default:
			break;
	}
}

/* Called once, from witness_write_init(). */
void
witness_apply_init(void)
{
	RegisterXactCallback(witness_apply_transaction, NULL);
}
