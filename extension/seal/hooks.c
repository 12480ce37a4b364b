/*
 * hooks.c
 *		Every hook of the seal layer; dispatch only.
 */
#include "seal/seal.h"

bool
seal_type_is_sealed(Oid type)
{
	return false;
}

char *
seal_key_name(SealKeyId key)
{
	return NULL;
}

uint64
seal_opens(SealKeyId key)
{
	return 0;
}

void
seal_init(void)
{
}
