/*
 * setting.c
 *		GUCs of the guard.
 */
#include "guard/guard_int.h"

#include <limits.h>

#include "utils/guc.h"

int guard_setting_memory = 32 * 1024;
int guard_setting_wait = 10000;
int guard_setting_delay = 250;

/* Called once, from guard_init(). */
void
guard_setting_init(void)
{
	DefineCustomIntVariable(
		"ward.guard_memory", "Shared memory for whom limits have counted lately.",
		"Where it is full, whoever is shown counts as somebody new.", &guard_setting_memory,
		32 * 1024, 1024, MAX_KILOBYTES, PGC_POSTMASTER, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"ward.limit_wait", "How long a statement waits until what was shown before it counts.",
		"After a start of the server that is read from the trail. Then the statement is refused.",
		&guard_setting_wait, 10000, 0, INT_MAX, PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"ward.limit_delay", "How long each person waits whom a limit with on_excess delay meets.",
		NULL, &guard_setting_delay, 250, 0, INT_MAX, PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
}
