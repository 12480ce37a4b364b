/*
 * columns.c
 *		Which columns of a watched table a statement refers to.
 *
 * The range table carries, for the permission check, the columns that are read and
 * written; it covers views, rules and inlined functions alike, because what is not
 * in it could not be read.
 */
#include "witness/witness_int.h"

#include "access/sysattr.h"
#include "utils/lsyscache.h"

/* A descendant's columns by the numbers that its ancestor gives them. */
static Bitmapset *
witness_columns_translate(Bitmapset *columns, Oid heir, const WitnessRelation *relation)
{
	Bitmapset *translated = NULL;
	int member = -1;

	while ((member = bms_next_member(columns, member)) >= 0)
	{
		AttrNumber attnum = member + FirstLowInvalidHeapAttributeNumber;
		char *name;

		if (attnum <= 0)
		{
			translated = bms_add_member(translated, member);
			continue;
		}
		name = get_attname(heir, attnum, true);
		for (int i = 0; name != NULL && i < relation->trail.ncolumns; i++)
			if (strcmp(relation->trail.columns[i], name) == 0)
				translated = bms_add_member(translated, relation->trail.attnums[i] -
															FirstLowInvalidHeapAttributeNumber);
	}
	return translated;
}

/*
 * The relation's columns (attnums, offset by FirstLowInvalidHeapAttributeNumber)
 * that the statement refers to, over all its appearances in the range table, its
 * descendants' included.  A whole-row reference counts as all columns.  palloc'd.
 */
Bitmapset *
witness_columns_used(const PlannedStmt *stmt, const WitnessRelation *relation)
{
	Bitmapset *used = NULL;
	ListCell *lc;
	Index rti = 0;

	foreach (lc, stmt->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
		WitnessRelation *heir;

		rti++;
		if (rte->rtekind != RTE_RELATION)
			continue;
		if (rte->relid == relation->relid)
		{
			used = bms_add_members(used, core_compat_columns(stmt, rti));
			continue;
		}
		heir = witness_watch_pin(rte->relid);
		if (heir == NULL)
			continue;
		if (heir->watched == relation)
			used = bms_add_members(used, witness_columns_translate(core_compat_columns(stmt, rti),
																   rte->relid, relation));
		witness_watch_release(heir);
	}
	if (bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, used))
		for (int i = 0; i < relation->trail.ncolumns; i++)
			used = bms_add_member(used,
								  relation->trail.attnums[i] - FirstLowInvalidHeapAttributeNumber);
	return used;
}
