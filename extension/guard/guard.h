/*
 * guard.h
 *		Layer 4, the only header of it that upper layers include.
 */
#ifndef WARD_GUARD_H
#define WARD_GUARD_H

#include "core/core.h"

extern void guard_init(void);

#endif /* WARD_GUARD_H */
