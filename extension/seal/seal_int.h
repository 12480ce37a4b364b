/*
 * seal_int.h
 *		Shared by the files of the seal layer; upper layers include seal.h.
 *
 * Plaintext and keys handed over here belong to the caller, who wipes what it no
 * longer needs.  Envelopes are plain varlenas; no function here stores one.
 */
#ifndef WARD_SEAL_INT_H
#define WARD_SEAL_INT_H

#include "seal/seal.h"

#define SEAL_TAG_LENGTH 16

/* ---- key.c: keys by name and by id ---- */

/* 31-bit id of a key's name; needs no catalog (typmodin runs during restore). */
extern SealKeyId seal_key_id(const char *name);

/* The database's default key, or SEAL_KEY_NONE where none was chosen. */
extern SealKeyId seal_key_default(void);

/* ---- right.c: who may open ---- */

/* May the current user open values under this key now?  Fails closed. */
extern bool seal_right_may_open(SealKeyId key);

/* Raises insufficient_privilege, naming the key, unless the user may. */
extern void seal_right_require(SealKeyId key);

/* ---- envelope.c: the format and its cipher ---- */

/*
 * Seals data under the active version of a key; the result is palloc'd.  The
 * envelope bears an equality tag unless the key was created with search 'none'.
 * Raises WD1xx, WD2xx.
 */
extern struct varlena *seal_envelope_seal(SealKeyId key, const char *data, Size len);

/*
 * Opens an envelope (detoasted) and returns the plaintext as a palloc'd varlena.
 * Checks authenticity, not rights: the caller asks right.c first.  Counts in
 * seal_opens().  Raises WD210 where anything does not fit.
 */
extern struct varlena *seal_envelope_open(const struct varlena *envelope);

/* Raises WD210 unless data is a whole, well-formed envelope (no key needed). */
extern void seal_envelope_check(const char *data, Size len);

/* Key id of a possibly toasted envelope; fetches only the header's slice. */
extern SealKeyId seal_envelope_key(struct varlena *value);

/* Key id and tag of a possibly toasted envelope; false where it bears no tag. */
extern bool seal_envelope_tag(struct varlena *value, SealKeyId *key, uint8 tag[SEAL_TAG_LENGTH]);

/* The tag that a plaintext has under a key. */
extern void seal_envelope_make_tag(SealKeyId key, const char *data, Size len,
								   uint8 tag[SEAL_TAG_LENGTH]);

/*
 * A probe: an envelope-shaped value that holds only key id and tag, to be
 * compared and hashed but never stored (opening and storing it is refused).
 */
extern struct varlena *seal_envelope_probe(SealKeyId key, const char *data, Size len);

#endif /* WARD_SEAL_INT_H */
