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

#endif /* WARD_GUARD_INT_H */
