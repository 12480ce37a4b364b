/*
 * seal.h
 *		Layer 2, the only header of it that upper layers include.
 */
#ifndef WARD_SEAL_H
#define WARD_SEAL_H

#include "core/core.h"

/*
 * A key's id: a 31-bit hash of its name, also the typmod of a sealed column.
 * Never 0 and never negative.
 */
typedef int32 SealKeyId;

#define SEAL_KEY_NONE ((SealKeyId) -1)

/* Is this one of the sealed types (domains are not looked through)? */
extern bool seal_type_is_sealed(Oid type);

/*
 * Name of a key in this database, palloc'd, or NULL where the catalog does not
 * know it.  Needs a transaction.
 */
extern char *seal_key_name(SealKeyId key);

/*
 * How many values this backend has opened under a key, or under any key
 * (SEAL_KEY_NONE), since it started.  Only ever grows: the witness takes the
 * difference over a statement to tell "seen in clear" from "seen as ciphertext".
 * Opens for comparing, sorting and casting count like opens for output.
 */
extern uint64 seal_opens(SealKeyId key);

extern void seal_init(void);

#endif /* WARD_SEAL_H */
