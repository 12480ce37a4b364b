/*
 * compat.h
 *		Everything that differs between the PostgreSQL versions we support.
 *
 * No other file of the extension may test PG_VERSION_NUM (test/lint checks it):
 * a difference gets a name here and one spelling everywhere else.
 */
#ifndef WARD_CORE_COMPAT_H
#define WARD_CORE_COMPAT_H

#include "postgres.h"
#include "fmgr.h"

#if PG_VERSION_NUM < 150000
#error "pg_ward needs PostgreSQL 15 or later"
#endif

/*
 * Declares an SQL-callable C function.  With hidden symbols PostgreSQL 15's
 * PG_FUNCTION_INFO_V1 exports the info record but not the function itself.
 */
#define WARD_FUNCTION(funcname)                                                                    \
	extern PGDLLEXPORT Datum funcname(PG_FUNCTION_ARGS);                                           \
	PG_FUNCTION_INFO_V1(funcname)

/*
 * Columns that a statement reads, inserts or updates in a range table entry (offset
 * by FirstLowInvalidHeapAttributeNumber).  Since 16 they are kept apart from the
 * entry, and a child of an inheritance tree has none of its own: they are its
 * ancestor's, by the child's column numbers.
 */
#include "access/sysattr.h"
#include "nodes/parsenodes.h"
#include "nodes/pathnodes.h"
#include "nodes/plannodes.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"

#if PG_VERSION_NUM >= 160000
static inline Bitmapset *
core_compat_columns_of_child(Bitmapset *columns, const AppendRelInfo *child)
{
	const int whole = 0 - FirstLowInvalidHeapAttributeNumber;
	Bitmapset *result = NULL;
	int member = -1;

	/* System columns, and the whole row, have the same number everywhere. */
	while ((member = bms_next_member(columns, member)) >= 0 && member <= whole)
		result = bms_add_member(result, member);
	for (int i = 0; i < child->num_child_cols; i++)
		if (child->parent_colnos[i] != 0 && bms_is_member(child->parent_colnos[i] + whole, columns))
			result = bms_add_member(result, i + 1 + whole);
	return result;
}

static inline Bitmapset *
core_compat_columns(const PlannedStmt *stmt, Index rti)
{
	RangeTblEntry *rte = rt_fetch(rti, stmt->rtable);
	RTEPermissionInfo *info;
	Bitmapset *columns;
	ListCell *lc;

	if (rte->perminfoindex == 0)
	{
		foreach (lc, stmt->appendRelations)
		{
			AppendRelInfo *child = lfirst_node(AppendRelInfo, lc);

			if (child->child_relid == rti)
				return core_compat_columns_of_child(core_compat_columns(stmt, child->parent_relid),
													child);
		}
		return NULL;
	}
	info = getRTEPermissionInfo(stmt->permInfos, rte);
	columns = bms_union(info->selectedCols, info->insertedCols);
	return bms_add_members(columns, info->updatedCols);
}
#else
static inline Bitmapset *
core_compat_columns(const PlannedStmt *stmt, Index rti)
{
	RangeTblEntry *rte = rt_fetch(rti, stmt->rtable);
	Bitmapset *columns = bms_union(rte->selectedCols, rte->insertedCols);

	return bms_add_members(columns, rte->updatedCols);
}
#endif

/* An anti join whose outer side is the one that is not returned. */
#if PG_VERSION_NUM >= 160000
#define core_compat_right_anti(jointype) ((jointype) == JOIN_RIGHT_ANTI)
#else
#define core_compat_right_anti(jointype) (false)
#endif

/* Since 16 a column says which outer joins may have made it NULL. */
#if PG_VERSION_NUM >= 160000
#define core_compat_nulled_like(var, other)                                                        \
	((var)->varnullingrels = bms_copy((other)->varnullingrels))
#else
#define core_compat_nulled_like(var, other) ((void) (other))
#endif

/*
 * May the planner sort an aggregate's input for it?  Since 16 it does, and the executor
 * then takes a single DISTINCT column for the aggregate's one argument.  Returns what
 * held before.
 */
#if PG_VERSION_NUM >= 160000
#include "optimizer/cost.h"

static inline bool
core_compat_presort_aggregates(bool enable)
{
	bool before = enable_presorted_aggregate;

	enable_presorted_aggregate = enable;
	return before;
}
#else
#define core_compat_presort_aggregates(enable) (enable)
#endif

/* Where EnableQueryId() is declared. */
#if PG_VERSION_NUM >= 160000
#include "nodes/queryjumble.h"
#else
#include "utils/queryjumble.h"
#endif

/* The n-th (from 1) of the backends that a snapshot of their states holds. */
#include "utils/backend_status.h"

#if PG_VERSION_NUM >= 160000
#define core_compat_backend_status(n) pgstat_get_local_beentry_by_index(n)
#else
#define core_compat_backend_status(n) pgstat_fetch_stat_local_beentry(n)
#endif

/*
 * Does a membership pass the role's privileges on?  Since 16 each membership says so;
 * before, the member does for all of its memberships.
 */
#include "catalog/pg_auth_members.h"

static inline bool
core_compat_membership_inherits(Form_pg_auth_members membership, bool member_inherits)
{
#if PG_VERSION_NUM >= 160000
	return membership->inherit_option;
#else
	return member_inherits;
#endif
}

/*
 * Stores a new version of a row that is locked, with its index entries.  Since 16 an
 * update says which indexes need one.  To the indexes it is an insertion: whether a
 * column is unchanged they would ask a range table that there is none of.
 */
#include "access/tableam.h"
#include "executor/executor.h"

static inline TM_Result
core_compat_update(Relation relation, ItemPointer tid, TupleTableSlot *slot, CommandId cid,
				   Snapshot snapshot, ResultRelInfo *target, EState *estate,
				   TM_FailureData *failure, LockTupleMode *lockmode)
{
	TM_Result result;
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes indexes = TU_None;
#else
	bool indexes = false;
#endif

	result = table_tuple_update(relation, tid, slot, cid, snapshot, InvalidSnapshot, true, failure,
								lockmode, &indexes);
	if (result != TM_Ok || target->ri_NumIndices == 0)
		return result;
#if PG_VERSION_NUM >= 160000
	if (indexes != TU_None)
		(void) ExecInsertIndexTuples(target, slot, estate, false, false, NULL, NIL,
									 indexes == TU_Summarizing);
#else
	if (indexes)
		(void) ExecInsertIndexTuples(target, slot, estate, false, false, NULL, NIL);
#endif
	return result;
}

/* What a table's access method says of the indexes that an update must reach. */
#if PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes CoreCompatUpdateIndexes;
#else
typedef bool CoreCompatUpdateIndexes;
#endif

/* Since 18 a scan of an index can be counted. */
#include "access/genam.h"

static inline IndexScanDesc
core_compat_index_beginscan(Relation table, Relation index, Snapshot snapshot, int nkeys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(table, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(table, index, snapshot, nkeys, 0);
#endif
}

/* Under which identity the client authenticated, or NULL. */
#include "libpq/libpq-be.h"
#include "miscadmin.h"

#if PG_VERSION_NUM >= 160000
#define core_compat_authenticated_as() (MyClientConnectionInfo.authn_id)
#else
#define core_compat_authenticated_as() (MyProcPort->authn_id)
#endif

/* Memory for what a setting's check hook hands on.  Since 16 settings have their own. */
#include "utils/guc.h"

#if PG_VERSION_NUM >= 160000
#define core_compat_guc_malloc(size) guc_malloc(LOG, size)
#define core_compat_guc_free(ptr) guc_free(ptr)
#else
#define core_compat_guc_malloc(size) malloc(size)
#define core_compat_guc_free(ptr) free(ptr)
#endif

#endif /* WARD_CORE_COMPAT_H */
