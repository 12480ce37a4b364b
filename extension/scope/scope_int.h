/*
 * scope_int.h
 *		Shared by the files of the scope layer.
 */
#ifndef WARD_SCOPE_INT_H
#define WARD_SCOPE_INT_H

#include "core/core.h"

#include "nodes/pg_list.h"

#include "seal/seal.h"
#include "trail/trail.h"

/* ---- names.c: what subjects are called; needs an SPI connection ---- */

typedef struct ScopeNames ScopeNames;

extern ScopeNames *scope_names_of(ScopeNames **list, const char *class, MemoryContext context);
extern void scope_names_fetch(ScopeNames *names, const TrailSubjectSet *subjects);
extern List *scope_names_find(ScopeNames *names, int64 subject);

#endif /* WARD_SCOPE_INT_H */
