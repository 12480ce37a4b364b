/*
 * seal.h
 *		Layer 2, the only header of it that upper layers include.
 */
#ifndef WARD_SEAL_H
#define WARD_SEAL_H

#include "core/core.h"

#include "nodes/pg_list.h"

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

/* May the current user open what is sealed under a key?  Needs a transaction. */
extern bool seal_may_open(SealKeyId key);

/*
 * All roles whose privileges a user has, itself first, as a list of oids: without what
 * superusers get for free.  Needs a transaction.
 */
extern List *seal_roles_of(Oid user);

/*
 * Keys of people, as the trail has them (subject.c): text sealed under a key of the
 * database, and the number that stands for it.  Raise WD1xx and WD2xx.
 */
#define SEAL_SUBJECT_TAG_LENGTH 16

extern SealKeyId seal_subject_key(const char *name);
extern void seal_subject_tag(SealKeyId key, const char *data, Size len,
							 uint8 tag[SEAL_SUBJECT_TAG_LENGTH]);
extern struct varlena *seal_subject_seal(SealKeyId key, const char *data, Size len);
extern int64 seal_subject_number(const uint8 tag[SEAL_SUBJECT_TAG_LENGTH]);

/* Key and tag of a (possibly toasted) sealed value; false where it bears none. */
extern bool seal_subject_sealed_tag(struct varlena *value, SealKeyId *key,
									uint8 tag[SEAL_SUBJECT_TAG_LENGTH]);

/* Can tag and envelope be made without a look at the catalog? */
extern bool seal_subject_ready(SealKeyId key);

/* Makes it so, unless the key is frozen or destroyed. */
extern void seal_subject_prepare(SealKeyId key);

/* An envelope's text for a user to see: opened where the user may, or else armored. */
extern char *seal_subject_show(const char *data, Size len, Oid user);

extern void seal_init(void);

#endif /* WARD_SEAL_H */
