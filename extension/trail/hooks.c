/*
 * hooks.c
 *		Every hook of the trail layer; dispatch only.
 */
#include "trail/trail_int.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static void
trail_shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(trail_append_shmem_size());
	RequestNamedLWLockTranche("WardTrail", 2);
}

static void
trail_shmem_startup(void)
{
	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	trail_append_shmem_init();
	LWLockRelease(AddinShmemInitLock);
}

/* See trail.h. */
void
trail_init(void)
{
	trail_setting_init();
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = trail_shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = trail_shmem_startup;
}
