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
 * Columns that a statement reads, inserts and updates in a range table entry;
 * from PostgreSQL 16 on they are kept apart from the entry.
 */
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "parser/parse_relation.h"

#if PG_VERSION_NUM >= 160000
static inline Bitmapset *
core_compat_selected_columns(const PlannedStmt *stmt, RangeTblEntry *rte)
{
	return rte->perminfoindex == 0 ? NULL
								   : getRTEPermissionInfo(stmt->permInfos, rte)->selectedCols;
}
static inline Bitmapset *
core_compat_inserted_columns(const PlannedStmt *stmt, RangeTblEntry *rte)
{
	return rte->perminfoindex == 0 ? NULL
								   : getRTEPermissionInfo(stmt->permInfos, rte)->insertedCols;
}
static inline Bitmapset *
core_compat_updated_columns(const PlannedStmt *stmt, RangeTblEntry *rte)
{
	return rte->perminfoindex == 0 ? NULL : getRTEPermissionInfo(stmt->permInfos, rte)->updatedCols;
}
#else
#define core_compat_selected_columns(stmt, rte) ((rte)->selectedCols)
#define core_compat_inserted_columns(stmt, rte) ((rte)->insertedCols)
#define core_compat_updated_columns(stmt, rte) ((rte)->updatedCols)
#endif

/*
 * Does a membership pass the role's privileges on?  Since 16 each membership says so;
 * before, the member does for all of its memberships.
 */
#if PG_VERSION_NUM >= 160000
#define core_compat_membership_inherits(membership, member_inherits) ((membership)->inherit_option)
#else
#define core_compat_membership_inherits(membership, member_inherits) (member_inherits)
#endif

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

#endif /* WARD_CORE_COMPAT_H */
