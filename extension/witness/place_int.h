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
	Oid type;
	AttrNumber attnum; /* in the current node's output; 0 when not there */
	PlanState *tap;
	WitnessSource source;
	AttrNumber tap_attnum;
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

/* place.c */
extern List *witness_place_node(Placing *placing, PlanState *state, bool drops);
extern void witness_place_tap(Placing *placing, const Flow *flow, TrailManner manner,
							  const char *reason, uint64 *groups);
extern void witness_place_end(Placing *placing, List *flows, TrailManner manner, const char *reason,
							  uint64 *groups);

/* place_write.c */
extern void witness_place_write_modify(Placing *placing, ModifyTableState *state);
extern void witness_place_write_locks(Placing *placing, LockRowsState *state);
extern void witness_place_write_rechecks(Placing *placing);

#endif /* WARD_PLACE_INT_H */
