/*
 * place_explain.c
 *		EXPLAIN ANALYZE shows how many rows each node saw, also those that it dropped.
 *
 * So it tells of every row that a scan looks at, which is heard before the scan's own
 * condition is asked.  What lies above has seen no others.  Where a node counts what it
 * does not show (an index's entries in a bitmap, rows that are checked again, what workers
 * have read) it tells of everybody in the table.
 */
#include "witness/place_int.h"

#include "access/parallel.h"
#include "catalog/pg_am.h"
#include "nodes/nodeFuncs.h"
#include "utils/rel.h"

/*
 * Is this the execution of what EXPLAIN ANALYZE explains?  Its workers do not know.  The
 * counts alone do not say it: auto_explain has them taken of every statement, for the log.
 */
bool
witness_place_explained(const QueryDesc *query)
{
	return query->instrument_options != 0 && !IsParallelWorker() &&
		   witness_utility_running.explains;
}

/* Does the scan ask its condition, or nothing, about each row that its counts are about? */
static bool
witness_place_explain_shows(const PlanState *state)
{
	switch (nodeTag(state))
	{
		case T_SeqScanState:
		case T_SampleScanState:
		case T_TidScanState:
		case T_TidRangeScanState:
			return true;
		case T_IndexScanState:
		{
			const IndexScanState *scan = (const IndexScanState *) state;

			/* Others may return rows that have to be checked again. */
			return scan->iss_RelationDesc != NULL &&
				   scan->iss_RelationDesc->rd_rel->relam == BTREE_AM_OID;
		}
		default:
			return false;
	}
}

static bool
witness_place_explain_walk(PlanState *state, void *context)
{
	WitnessCapture *capture = context;
	WitnessRelation *relation = NULL;

	if (witness_place_is_scan(state) && ((ScanState *) state)->ss_currentRelation != NULL)
		relation = witness_watch_pin(RelationGetRelid(((ScanState *) state)->ss_currentRelation));
	if (relation != NULL)
	{
		if (!witness_place_explain_shows(state))
			witness_capture_all(capture, relation->watched, TRAIL_MANNER_ALL, "explain");
		else
			for (int i = 0; i < relation->nsubjects; i++)
				witness_tap_scanned(capture, (ScanState *) state,
									witness_capture_set(capture, relation->watched, i,
														TRAIL_MANNER_INFLUENCE, "explain", NULL),
									relation->subject_attnums[i], relation->subject_types[i]);
		witness_watch_release(relation);
	}
	return planstate_tree_walker(state, witness_place_explain_walk, context);
}

void
witness_place_explain(WitnessCapture *capture)
{
	if (capture->query->plannedstmt->parallelModeNeeded)
		witness_place_everybody(capture, "explain");
	else
		(void) witness_place_explain_walk(capture->query->planstate, capture);
}
