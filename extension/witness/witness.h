/*
 * witness.h
 *		Layer 3, the only header of it that upper layers include.
 */
#ifndef WARD_WITNESS_H
#define WARD_WITNESS_H

#include "core/core.h"

extern void witness_init(void);

#endif /* WARD_WITNESS_H */
