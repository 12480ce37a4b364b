/*
 * copy.c
 *		Whom COPY FROM writes.
 *
 * Listens (write.c) to the relation, or to all its partitions, from before COPY begins
 * until it has ended or failed.  The relations stay open meanwhile, so that a rebuild of
 * their cache entries is noticed and undone.  Partitions that are attached while COPY is at
 * work are read afterwards.
 *
 * Locks: the root as COPY itself takes it, its partitions AccessShareLock; all are kept
 * to the transaction's end.
 */
#include "witness/write_int.h"

#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* With more partitions than this COPY FROM is recorded as everybody. */
#define COPY_PARTITIONS 1000

static void
witness_copy_hold(WriteListener *listener, Oid relid)
{
	WitnessRelation *relation = witness_watch_pin(relid);
	WriteTarget *target;

	if (relation == NULL)
		return;
	target = witness_write_target(listener, relid, relation);
	target->held = RelationIdGetRelation(relid);
	if (target->held == NULL)
		return;
	if (target->held->rd_rel->relkind == RELKIND_FOREIGN_TABLE)
		witness_write_everybody(listener, relation);
	else if (RELKIND_HAS_STORAGE(target->held->rd_rel->relkind))
		witness_write_wrap(target->held);
}

static bool
witness_copy_watched(List *relids)
{
	ListCell *lc;

	foreach (lc, relids)
	{
		WitnessRelation *relation = witness_watch_pin(lfirst_oid(lc));

		if (relation == NULL)
			continue;
		witness_watch_release(relation);
		return true;
	}
	return false;
}

/* Where COPY may put rows: a partitioned table's partitions, or the table alone. */
static List *
witness_copy_places(Oid root)
{
	if (get_rel_relkind(root) == RELKIND_PARTITIONED_TABLE)
		return find_all_inheritors(root, NoLock, NULL);
	return list_make1_oid(root);
}

/* Listens to what COPY FROM puts into a relation, until witness_copy_end(). */
void
witness_copy_begin(Oid root, List *names, int64 fingerprint, const char *text)
{
	List *places = witness_copy_places(root);
	WriteListener *listener;
	ListCell *lc;

	if (!witness_copy_watched(places))
		return;
	listener = witness_write_listener("copy_from", fingerprint, text);
	listener->root = root;
	listener->names = names;
	listener->outer = witness_write_copying;
	witness_write_copying = listener;
	if (list_length(places) > COPY_PARTITIONS)
	{
		foreach (lc, places)
		{
			WitnessRelation *relation = witness_watch_pin(lfirst_oid(lc));

			if (relation == NULL)
				continue;
			for (int i = 0; i < relation->nsubjects; i++)
				(void) witness_write_set(listener, relation->watched, i);
			witness_watch_release(relation);
		}
		for (WriteSet *set = listener->sets; set != NULL; set = set->next)
			witness_write_record(listener, set, TRAIL_MANNER_ALL);
		return;
	}
	foreach (lc, places)
	{
		if (lfirst_oid(lc) != root)
			LockRelationOid(lfirst_oid(lc), AccessShareLock);
		witness_copy_hold(listener, lfirst_oid(lc));
	}
}

/* How many listen. */
int
witness_copy_depth(void)
{
	int depth = 0;

	for (WriteListener *listener = witness_write_copying; listener != NULL;
		 listener = listener->outer)
		depth++;
	return depth;
}

/* Partitions that came while COPY was at work were not listened to. */
static void
witness_copy_latecomers(WriteListener *listener)
{
	List *places = witness_copy_places(listener->root);
	ListCell *lc;

	if (list_length(places) > COPY_PARTITIONS)
		return;
	foreach (lc, places)
	{
		Oid relid = lfirst_oid(lc);
		WriteTarget *target = hash_search(listener->targets, &relid, HASH_FIND, NULL);
		WitnessRelation *relation;

		if (target != NULL && !target->lost)
			continue;
		if (target == NULL)
		{
			relation = witness_watch_pin(relid);
			if (relation == NULL)
				continue;
			LockRelationOid(relid, AccessShareLock);
			target = witness_write_target(listener, relid, relation);
		}
		if (!witness_write_read(listener, target, true))
			witness_write_everybody(listener, target->relation);
	}
}

/* Lets go of what a listener holds open.  After a failure it is closed by the clean-up. */
static void
witness_copy_let_go(WriteListener *listener, bool failed)
{
	HASH_SEQ_STATUS status;
	WriteTarget *target;

	hash_seq_init(&status, listener->targets);
	while ((target = hash_seq_search(&status)) != NULL)
	{
		if (target->held == NULL)
			continue;
		witness_write_unwrap(target->held);
		if (!failed)
			RelationClose(target->held);
		target->held = NULL;
	}
}

/* A violated constraint tells that somebody has that value; whose it is, COPY does not say. */
static void
witness_copy_violated(WriteListener *listener)
{
	HASH_SEQ_STATUS status;
	WriteTarget *target;

	if (geterrcode() != ERRCODE_UNIQUE_VIOLATION && geterrcode() != ERRCODE_EXCLUSION_VIOLATION)
		return;
	hash_seq_init(&status, listener->targets);
	while ((target = hash_seq_search(&status)) != NULL)
		witness_write_everybody(listener, target->relation);
}

static void
witness_copy_finish(WriteListener *listener, bool failed)
{
	PG_TRY();
	{
		if (failed)
			witness_copy_violated(listener);
		else
			witness_copy_latecomers(listener);
		witness_write_flush(listener);
	}
	PG_CATCH();
	{
		witness_write_release(listener);
		PG_RE_THROW();
	}
	PG_END_TRY();
	witness_write_release(listener);
}

/*
 * Ends witness_write_copying until so many are left, and writes down what they have heard.  After a
 * failure too: that rows were written and taken back is no reason to forget it.
 */
void
witness_copy_end(int depth, bool failed)
{
	while (witness_copy_depth() > depth)
	{
		WriteListener *listener = witness_write_copying;

		witness_write_copying = listener->outer;
		witness_copy_let_go(listener, failed);
		witness_copy_finish(listener, failed);
	}
}
