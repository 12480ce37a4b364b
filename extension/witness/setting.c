/*
 * setting.c
 *		GUCs of the witness.
 *
 * Switching capture off is for superusers alone, and is itself recorded
 * (utility.c sees the SET), so that it can't be done silently.
 */
#include "witness/witness_int.h"

#include <limits.h>

#include "utils/guc.h"

bool witness_setting_capture = true;
int witness_setting_small_aggregate = 5;
int witness_setting_capture_memory = 16 * 1024;
int witness_setting_naming_limit = 1024 * 1024;
#ifdef WARD_MUTATION
char *witness_setting_mutation;
#endif

void
witness_setting_init(void)
{
	DefineCustomBoolVariable("ward.capture", "Record whose data statements disclose.",
							 "Off leaves a gap in the evidence, which is recorded.",
							 &witness_setting_capture, true, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"ward.small_aggregate",
		"An aggregate over at most this many subjects tells about each of them.", NULL,
		&witness_setting_small_aggregate, 5, 0, INT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("ward.capture_memory",
							"Memory for a statement's subjects before a part is written out.", NULL,
							&witness_setting_capture_memory, 16 * 1024, 64, MAX_KILOBYTES,
							PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"ward.naming_limit",
		"Largest table that TRUNCATE or DROP reads first, to name whom it removes.",
		"Of a larger one everybody is recorded, whom nobody can name afterwards.",
		&witness_setting_naming_limit, 1024 * 1024, 0, MAX_KILOBYTES, PGC_SUSET, GUC_UNIT_KB, NULL,
		NULL, NULL);
#ifdef WARD_MUTATION
	DefineCustomStringVariable("ward.mutation", "Rule of capture that is switched off.",
							   "Only in builds that test the oracle.", &witness_setting_mutation,
							   "", PGC_SUSET, 0, NULL, NULL, NULL);
#endif
}
