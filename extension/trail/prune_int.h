/*
 * prune_int.h
 *		Shared by prune.c and prune_plan.c; no one else needs it.
 */
#ifndef WARD_TRAIL_PRUNE_INT_H
#define WARD_TRAIL_PRUNE_INT_H

#include "trail/index_int.h"

/* What is to go, or why no more. */
typedef struct PrunePlan
{
	int count;
	TrailPosition *firsts;
	int64 *created;
	uint64 *bytes;
	int keep; /* the first segment that stays */
	List *held;
} PrunePlan;

/* ---- prune_plan.c ---- */

extern void trail_prune_plan_list(PrunePlan *plan);
/* What may go, by age alone. */
extern void trail_prune_plan_by_age(PrunePlan *plan);
/* Shrinks the plan to what each database allows. */
extern void trail_prune_plan_ask(PrunePlan *plan);
/* Shrinks it to nothing where databases that can't be asked have records in it. */
extern void trail_prune_plan_check_closed(PrunePlan *plan, List *of);
extern uint64 trail_prune_plan_bytes(const PrunePlan *plan);

/* Sleeps a moment; interrupts end it. */
extern void trail_prune_plan_wait(long milliseconds);
/* Was waited long enough? */
extern bool trail_prune_plan_late(TimestampTz start);

#endif /* WARD_TRAIL_PRUNE_INT_H */
