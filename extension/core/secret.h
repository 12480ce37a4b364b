/*
 * secret.h
 *		Memory for key material: page-aligned, locked, kept out of core dumps and
 *		wiped before it is given back.
 */
#ifndef WARD_CORE_SECRET_H
#define WARD_CORE_SECRET_H

#include "postgres.h"

extern void *core_secret_alloc(Size size);
extern void core_secret_free(void *secret, Size size);
extern void core_secret_guard(void *start, Size size);
extern void core_secret_wipe(void *secret, Size size);
extern bool core_secret_equal(const void *a, const void *b, Size size);

#endif /* WARD_CORE_SECRET_H */
