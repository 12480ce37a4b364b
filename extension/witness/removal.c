/*
 * removal.c
 *		Whom a TRUNCATE or DROP removes.
 *
 * Those who stand in the table are read and named before they are gone, as written; of a
 * table that is larger than ward.naming_limit everybody is recorded, whom nobody can
 * name afterwards.
 *
 * Locks: TRUNCATE's relations as TRUNCATE itself takes them, after the same check of
 * rights.  For DROP the server's own deletion calls here, with its lock held.
 */
#include "witness/write_int.h"

#include "catalog/heap.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/rel.h"

/*
 * Records whom a relation's rows are about before they are removed, as written, so that
 * those who are gone can be named; everybody where the table is too large to be read.
 * The caller holds the lock under which they are removed.
 */
void
witness_removal_name(Oid relid, const char *reason, int64 fingerprint, const char *text)
{
	WitnessRelation *relation = witness_watch_pin(relid);
	WriteListener *listener;
	WriteTarget *target;
	Relation rel;
	bool small;

	if (relation == NULL)
		return;
	rel = RelationIdGetRelation(relid);
	if (rel == NULL || !RELKIND_HAS_STORAGE(rel->rd_rel->relkind))
	{
		if (rel != NULL)
			RelationClose(rel);
		witness_watch_release(relation);
		return;
	}
	small = RelationGetNumberOfBlocks(rel) <=
			(BlockNumber) (witness_setting_naming_limit / (BLCKSZ / 1024));
	RelationClose(rel);
	listener = witness_write_listener(reason, fingerprint, text);
	listener->removes = true;
	target = witness_write_target(listener, relid, relation);
	PG_TRY();
	{
		if (!small || !witness_write_read(listener, target, false) || listener->unnamed)
			witness_write_everybody(listener, relation);
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

static bool
witness_removal_allowed(Oid relid)
{
	return pg_class_aclcheck(relid, GetUserId(), ACL_TRUNCATE) == ACLCHECK_OK;
}

/* TRUNCATE: also partitions, children, and what CASCADE reaches. */
void
witness_removal_truncate(const TruncateStmt *truncate, int64 fingerprint, const char *text)
{
	List *relids = NIL;
	List *more;
	ListCell *lc;

	foreach (lc, truncate->relations)
	{
		RangeVar *name = lfirst(lc);
		Oid relid = RangeVarGetRelid(name, NoLock, true);

		/* A statement that will be refused may neither lock nor blame anybody. */
		if (!OidIsValid(relid) || !witness_removal_allowed(relid))
			return;
		LockRelationOid(relid, AccessExclusiveLock);
		relids = list_append_unique_oid(relids, relid);
		if (name->inh)
			relids = list_concat_unique_oid(relids,
											find_all_inheritors(relid, AccessExclusiveLock, NULL));
	}
	while ((more = heap_truncate_find_FKs(relids)) != NIL)
	{
		if (truncate->behavior != DROP_CASCADE)
			return;
		foreach (lc, more)
		{
			if (!witness_removal_allowed(lfirst_oid(lc)))
				return;
			LockRelationOid(lfirst_oid(lc), AccessExclusiveLock);
			relids = list_append_unique_oid(relids, lfirst_oid(lc));
		}
	}
	foreach (lc, relids)
		witness_removal_name(lfirst_oid(lc), "truncate", fingerprint, text);
}
