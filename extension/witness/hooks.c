/*
 * hooks.c
 *		Every hook of the witness layer; dispatch only.
 */
#include "witness/witness.h"

void
witness_init(void)
{
}
