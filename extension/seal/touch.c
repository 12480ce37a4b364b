/*
 * touch.c
 *		Has what runs dealt with sealed values?  For redact.c (I4).
 *
 * An error, a slow statement's log line or an automatic EXPLAIN may quote values that
 * were opened, or that were typed to be sealed.  Which ones can't be told from the text,
 * so the answer is for the statement and for the transaction as a whole: what one
 * statement opened, a variable or a cursor may hand to the next.
 *
 * Values mark the statement when they are sealed or opened.  That is not enough where
 * they come ready made: a cached plan holds its literals sealed, and a parallel worker
 * gets opened values from another.  So plans over sealed values carry a mark, an
 * invalidation item on a function of ours, which means nothing else to the server.
 * Workers get no such items; they look at the tables.
 *
 * Times tell statements and transactions apart: a parallel worker has its leader's.
 * Per backend, no locks.
 */
#include "seal/sealed_int.h"

#include "access/parallel.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "nodes/plannodes.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

static TimestampTz touch_statement = 0;
static TimestampTz touch_transaction = 0;

/* See sealed_int.h. */
void
seal_touch_mark(void)
{
	touch_statement = GetCurrentStatementStartTimestamp();
	touch_transaction = GetCurrentTransactionStartTimestamp();
}

/* See sealed_int.h. */
bool
seal_touch_by_statement(void)
{
	return touch_statement != 0 && touch_statement == GetCurrentStatementStartTimestamp();
}

/* See sealed_int.h. */
bool
seal_touch_by_transaction(void)
{
	return seal_touch_by_statement() ||
		   (touch_transaction != 0 && touch_transaction == GetCurrentTransactionStartTimestamp());
}

/* See sealed_int.h. */
bool
seal_touch_ever(void)
{
	return touch_statement != 0;
}

static uint32
seal_touch_hash(void)
{
	const SealObjects *objects = seal_sealed_type_of_kind(SEAL_KIND_TEXT);

	return objects == NULL ? 0 : GetSysCacheHashValue1(PROCOID, ObjectIdGetDatum(objects->rekey));
}

/* See sealed_int.h. */
void
seal_touch_mark_plan(PlannedStmt *plan)
{
	PlanInvalItem *item = makeNode(PlanInvalItem);

	item->cacheId = PROCOID;
	item->hashValue = seal_touch_hash();
	plan->invalItems = lappend(plan->invalItems, item);
	seal_touch_mark();
}

/* See sealed_int.h. */
bool
seal_touch_has_sealed(Oid relid)
{
	/* Of any kind: the server refuses the wrong ones itself, and says it better. */
	Relation relation = try_relation_open(relid, AccessShareLock);
	bool found = false;

	if (relation == NULL)
		return false;
	for (int i = 0; i < RelationGetNumberOfAttributes(relation) && !found; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(relation), i);
		Oid type;

		if (attribute->attisdropped)
			continue;
		type = getBaseType(attribute->atttypid);
		found = seal_sealed_type_find(type) != NULL || seal_sealed_type_find_array(type) != NULL;
	}
	relation_close(relation, NoLock);
	return found;
}

/* See sealed_int.h. */
void
seal_touch_start(const PlannedStmt *plan)
{
	ListCell *lc;

	if (IsParallelWorker())
	{
		if (!seal_sealed_type_present())
			return;
		foreach (lc, plan->rtable)
		{
			RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

			if (rte->rtekind == RTE_RELATION && seal_touch_has_sealed(rte->relid))
			{
				seal_touch_mark();
				return;
			}
		}
		return;
	}
	if (plan->invalItems == NIL || !seal_sealed_type_present())
		return;
	foreach (lc, plan->invalItems)
	{
		PlanInvalItem *item = lfirst_node(PlanInvalItem, lc);

		if (item->cacheId == PROCOID && item->hashValue == seal_touch_hash())
		{
			seal_touch_mark();
			return;
		}
	}
}

/*
 * See sealed_int.h.  COPY FROM quotes the line that it could not take, also before any
 * value of it has been sealed.
 */
void
seal_touch_utility(Node *statement)
{
	CopyStmt *copy = (CopyStmt *) statement;
	Oid relid;

	if (!IsA(statement, CopyStmt) || !copy->is_from || copy->relation == NULL ||
		!IsTransactionState() || !seal_sealed_type_present())
		return;
	/* Locked, so that what is looked at is what COPY will see. */
	relid = RangeVarGetRelid(copy->relation, RowExclusiveLock, true);
	if (OidIsValid(relid) && seal_touch_has_sealed(relid))
		seal_touch_mark();
}
