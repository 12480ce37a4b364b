/*
 * place_int.h
 *		Shared by the files that place taps: place.c and place_*.c.
 */
#ifndef WARD_PLACE_INT_H
#define WARD_PLACE_INT_H

#include "witness/witness_int.h"

/* Where a subject stands in a node's output, and the best tap for it so far. */
typedef struct Flow
{
	WitnessRelation *relation; /* the one that is watched */
	int subject;
	Oid type;		   /* of the column that follows */
	AttrNumber attnum; /* in the current node's output; 0 when not there */
	PlanState *tap;
	WitnessSource source;
	AttrNumber tap_attnum;
	Oid tap_type;
} Flow;

typedef struct Placing
{
	WitnessCapture *capture;
	Bitmapset *ctes;	 /* plan ids that are placed */
	List *cte_flows;	 /* lists of Flow, by order of cte_ids */
	List *cte_ids;		 /* of int */
	Bitmapset *subplans; /* plan ids that are placed */
	bool recheck_reads;	 /* what evaluates rows anew reads what is watched */
	List *modifies;		 /* of WitnessModify */
} Placing;

/*
 * What may happen above a node to the rows that it returns.  Columns are numbers of its
 * output.
 */
typedef struct Above
{
	bool drops;		 /* some may be dropped, or not be asked for */
	bool anyhow;	 /* by what can't be told */
	bool chooses;	 /* by the order in which they come */
	Bitmapset *hard; /* by what is in these columns */
	Bitmapset *soft; /* by these in a sort, NULLs last */
} Above;

/* place.c */
extern bool witness_place_is_scan(const PlanState *state);
extern List *witness_place_node(Placing *placing, PlanState *state, const Above *above);
extern AttrNumber witness_place_position(List *targetlist, int varno, AttrNumber attnum);
extern List *witness_place_lift(PlanState *state, List *flows);
extern List *witness_place_project(Placing *placing, PlanState *state, List *flows, int varno);
extern void witness_place_tap(Placing *placing, const Flow *flow, TrailManner manner,
							  const char *reason, uint64 *groups);
extern void witness_place_end(Placing *placing, List *flows, TrailManner manner, const char *reason,
							  uint64 *groups);

/* place_above.c */
extern const Above witness_place_above_anyhow;
extern Above witness_place_above_through(const Above *above, List *targetlist, int varno);
extern void witness_place_above_filter(Above *below, List *qual, int varno);
extern void witness_place_above_decides(Above *below, Node *expressions, int varno);
extern void witness_place_above_decides_computed(Above *below, List *comparisons, int varno);
extern Above witness_place_above_sort(const Above *above, const Sort *sort);

/* place_join.c */
extern List *witness_place_join(Placing *placing, JoinState *state, const Above *above);

/* place_group.c */
extern List *witness_place_group_plain(Placing *placing, PlanState *state, const Above *above);
extern List *witness_place_group_aggregate(Placing *placing, AggState *state, const Above *above);
extern List *witness_place_group_unique(Placing *placing, PlanState *state, const Above *above);
extern List *witness_place_group_setop(Placing *placing, PlanState *state);

/* place_explain.c */
extern bool witness_place_explained(const QueryDesc *query);
extern void witness_place_explain(WitnessCapture *capture);

/* place_write.c */
extern void witness_place_write_modify(Placing *placing, ModifyTableState *state);
extern void witness_place_write_locks(Placing *placing, LockRowsState *state);
extern void witness_place_write_rechecks(Placing *placing);

#endif /* WARD_PLACE_INT_H */
