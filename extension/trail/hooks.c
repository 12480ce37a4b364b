/*
 * hooks.c
 *		Every hook of the trail layer; dispatch only.
 */
#include "trail/trail.h"

void
trail_init(void)
{
}
