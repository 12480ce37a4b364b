/*
 * detach.c
 *		Tables that were watched through their parent and leave it.
 *
 * A partition that is detached, or a child that inherits no longer, holds the rows that
 * it held before, about the same people.  So it goes on being watched, by a watch of its
 * own, and the trail says so; an officer ends that with ward.unwatch.
 *
 * What leaves is noted before the statement runs and settled afterwards, as the owner of
 * the extension: whoever may detach a partition has no right to the watches.
 */
#include "witness/witness_int.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* Remembers a watched table and the parent that it may leave. */
static void
witness_detach_note(WitnessDetach *detach, const RangeVar *child, const RangeVar *parent)
{
	Oid relid = RangeVarGetRelid(child, NoLock, true);
	Oid from = RangeVarGetRelid(parent, NoLock, true);
	WitnessRelation *relation = OidIsValid(relid) ? witness_watch_pin(relid) : NULL;

	if (relation == NULL)
		return;
	witness_watch_release(relation);
	detach->children = lappend_oid(detach->children, relid);
	detach->parents = lappend_oid(detach->parents, from);
}

/* Called before a statement runs: which watched tables may leave their parents by it? */
void
witness_detach_before(WitnessDetach *detach, Node *statement)
{
	AlterTableStmt *alter = (AlterTableStmt *) statement;
	ListCell *lc;

	detach->children = detach->parents = NIL;
	if (!IsA(statement, AlterTableStmt) || !witness_setting_capture || !IsTransactionState() ||
		IsAbortedTransactionBlockState() || !witness_watch_any())
		return;
	foreach (lc, alter->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, lc);

		if (command->subtype == AT_DetachPartition)
			witness_detach_note(detach, ((PartitionCmd *) command->def)->name, alter->relation);
		else if (command->subtype == AT_DropInherit)
			witness_detach_note(detach, alter->relation, (RangeVar *) command->def);
	}
}

static Oid
witness_detach_owner(void)
{
	HeapTuple tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(core_catalog_namespace()));
	Oid owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
		ReleaseSysCache(tuple);
	}
	return owner;
}

static void
witness_detach_keep(Oid child, Oid parent)
{
	Oid types[2] = {OIDOID, OIDOID};
	Datum values[2] = {ObjectIdGetDatum(child), ObjectIdGetDatum(parent)};
	Oid user;
	int security;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(witness_detach_owner(),
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	if (SPI_execute_with_args("SELECT _ward.watch_keep($1, $2)", 2, types, values, NULL, false,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "could not go on watching a table");
	SPI_finish();
	PopActiveSnapshot();
	/* An error sets it back with the transaction. */
	SetUserIdAndSecContext(user, security);
}

/* Called once the statement has ended well. */
void
witness_detach_after(const WitnessDetach *detach)
{
	ListCell *child;
	ListCell *parent;

	if (detach->children == NIL)
		return;
	CommandCounterIncrement();
	forboth(child, detach->children, parent,
			detach->parents) if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(lfirst_oid(child))))
		witness_detach_keep(lfirst_oid(child), lfirst_oid(parent));
}
