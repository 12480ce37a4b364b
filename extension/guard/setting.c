/*
 * setting.c
 *		GUCs of the guard.
 */
#include "guard/guard_int.h"

#include "utils/guc.h"

int guard_setting_memory = 32 * 1024;

/* Called once, from guard_init(). */
void
guard_setting_init(void)
{
	DefineCustomIntVariable(
		"ward.guard_memory", "Shared memory for whom limits have counted lately.",
		"Where it is full, whoever is shown counts as somebody new.", &guard_setting_memory,
		32 * 1024, 1024, MAX_KILOBYTES, PGC_POSTMASTER, GUC_UNIT_KB, NULL, NULL, NULL);
}
