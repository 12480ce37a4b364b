/*
 * hooks.c
 *		Every hook of the seal layer; dispatch only.
 */
#include "seal/seal.h"

void
seal_init(void)
{
}
