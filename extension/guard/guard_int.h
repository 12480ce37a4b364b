/*
 * guard_int.h
 *		Shared by the files of the guard layer; upper layers include guard.h.
 */
#ifndef WARD_GUARD_INT_H
#define WARD_GUARD_INT_H

#include "core/core.h"

#include "storage/lwlock.h"

#include "guard/guard.h"
#include "seal/seal.h"
#include "trail/trail.h"
#include "witness/witness.h"

/* ---- hooks.c: locks of the layer; see the README ---- */

typedef enum GuardLock
{
	GUARD_LOCK_WINDOWS,	 /* who has shown how many people */
	GUARD_LOCK_ALERTS,	 /* the queue of alerts */
	GUARD_LOCK_LOCKDOWN, /* what is locked down */
	GUARD_LOCKS
} GuardLock;

extern LWLock *guard_lock(GuardLock which);

/* ---- setting.c: GUCs ---- */

extern void guard_setting_init(void);
extern int guard_setting_memory; /* kB */
extern int guard_setting_wait;	 /* ms */
extern int guard_setting_delay;	 /* ms */

/* ---- limit.c: counting people, and stopping what would exceed a limit; see witness.h ---- */

typedef struct GuardShown GuardShown;

extern void guard_limit_begin(WitnessShown *shown);
extern void guard_limit_next(WitnessShown *shown, int64 subject, const TrailSubjectSet *pending);
extern bool guard_limit_write(WitnessShown *shown, const TrailDisclosure *disclosure, bool failed);
extern void guard_limit_end(WitnessShown *shown);

#endif /* WARD_GUARD_INT_H */
