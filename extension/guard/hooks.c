/*
 * hooks.c
 *		Every hook of the guard layer, and what it hears from the witness; dispatch only.
 */
#include "guard/answer_int.h"
#include "guard/guard_int.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

/* See guard_int.h. */
LWLock *
guard_lock(GuardLock which)
{
	return &GetNamedLWLockTranche("WardGuard")[which].lock;
}

static void
guard_shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestNamedLWLockTranche("WardGuard", GUARD_LOCKS);
	RequestAddinShmemSpace(guard_alert_shmem_size());
	RequestAddinShmemSpace(guard_action_shmem_size());
}

static void
guard_shmem_startup(void)
{
	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	guard_alert_shmem_init();
	guard_action_shmem_init();
	LWLockRelease(AddinShmemInitLock);
}

/* A statement over watched tables starts. */
static void
guard_start(void)
{
}

static void
guard_begin(WitnessShown *shown)
{
}

static void
guard_next(WitnessShown *shown, int64 subject, const TrailSubjectSet *pending)
{
}

static void
guard_write(WitnessShown *shown, const TrailDisclosure *disclosure, bool failed)
{
}

static void
guard_end(WitnessShown *shown)
{
}

static const WitnessGuard guard_hears = {.start = guard_start,
										 .begin = guard_begin,
										 .next = guard_next,
										 .write = guard_write,
										 .end = guard_end};

/* See guard.h. */
void
guard_init(void)
{
	guard_setting_init();
	guard_answer_setting_init();
	guard_answer_register();
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = guard_shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = guard_shmem_startup;
	witness_guard = &guard_hears;
}
