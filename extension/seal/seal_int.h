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

#include "nodes/nodes.h"

#define SEAL_TAG_LENGTH 16
#define SEAL_SECRET_LENGTH 32	   /* KEK, DEK, tag key: AES-256 */
#define SEAL_WRAPPED_LENGTH 40	   /* such a secret after AES-KWP */
#define SEAL_NONCE_LENGTH 24	   /* XAES-256-GCM */
#define SEAL_NONCE_PREFIX 12	   /* its half that selects the sub-key */
#define SEAL_AUTH_LENGTH 16		   /* GCM tag */
#define SEAL_FINGERPRINT_LENGTH 16 /* tells KEKs apart, and nothing about them */

/* ---- cipher.c: every OpenSSL call of this layer ----
 *
 * Nothing here raises or logs, so that no error path can leave with a secret on
 * its stack: callers wipe first and then raise through seal_key_cipher_failed().
 */

/* OpenSSL's context, opaque to everybody else. */
typedef struct evp_cipher_ctx_st SealCipher;

typedef enum SealCipherResult
{
	SEAL_CIPHER_OK,
	SEAL_CIPHER_FORGED, /* the input is not what was sealed or wrapped */
	SEAL_CIPHER_FAILED	/* OpenSSL could not do its work */
} SealCipherResult;

/* A CMAC key that is ready for use; chain is the CBC state it was left in. */
typedef struct SealMac
{
	SealCipher *cbc;
	uint8 k1[16];
	uint8 k2[16];
	uint8 chain[16];
} SealMac;

#define SEAL_CHECKED __attribute__((warn_unused_result))

extern bool seal_cipher_random(void *out, Size len) SEAL_CHECKED;
extern bool seal_cipher_digest(const void *data, Size len, uint8 digest[32]) SEAL_CHECKED;
extern bool seal_cipher_mac_init(SealMac *mac, const uint8 key[SEAL_SECRET_LENGTH]) SEAL_CHECKED;
extern bool seal_cipher_mac(SealMac *mac, const void *data, Size len, uint8 out[16]) SEAL_CHECKED;
extern void seal_cipher_mac_free(SealMac *mac);
extern bool seal_cipher_derive(const uint8 key[SEAL_SECRET_LENGTH], const char *label,
							   uint8 out[SEAL_SECRET_LENGTH]) SEAL_CHECKED;
extern bool seal_cipher_wrap(const uint8 kek[SEAL_SECRET_LENGTH],
							 const uint8 secret[SEAL_SECRET_LENGTH],
							 uint8 wrapped[SEAL_WRAPPED_LENGTH]) SEAL_CHECKED;
extern SealCipherResult seal_cipher_unwrap(const uint8 kek[SEAL_SECRET_LENGTH],
										   const uint8 wrapped[SEAL_WRAPPED_LENGTH],
										   uint8 secret[SEAL_SECRET_LENGTH]) SEAL_CHECKED;
extern bool seal_cipher_subkey(const uint8 key[SEAL_SECRET_LENGTH],
							   const uint8 prefix[SEAL_NONCE_PREFIX],
							   uint8 subkey[SEAL_SECRET_LENGTH]) SEAL_CHECKED;
extern bool seal_cipher_gcm_key(SealCipher **gcm, const uint8 subkey[SEAL_SECRET_LENGTH],
								bool sealing) SEAL_CHECKED;
extern bool seal_cipher_gcm_seal(SealCipher *gcm, const uint8 iv[12], const void *aad, Size aadlen,
								 const void *data, Size len, void *out,
								 uint8 auth[SEAL_AUTH_LENGTH]) SEAL_CHECKED;
extern SealCipherResult seal_cipher_gcm_open(SealCipher *gcm, const uint8 iv[12], const void *aad,
											 Size aadlen, const void *data, Size len, void *out,
											 const uint8 auth[SEAL_AUTH_LENGTH]) SEAL_CHECKED;
extern void seal_cipher_free(SealCipher *cipher);

/* ---- setting.c: GUCs ---- */

extern void seal_setting_init(void);

/* ---- kek.c: the key-encryption key; its files share kek_int.h ---- */

extern void seal_kek_pkcs11_shmem_request(void);
extern void seal_kek_pkcs11_shmem_init(void);

/* Fingerprint of the KEK in use. */
extern void seal_kek_fingerprint(uint8 fingerprint[SEAL_FINGERPRINT_LENGTH]);

/* Wraps a secret under the KEK in use and says which that was. */
extern void seal_kek_wrap(const uint8 secret[SEAL_SECRET_LENGTH],
						  uint8 wrapped[SEAL_WRAPPED_LENGTH],
						  uint8 fingerprint[SEAL_FINGERPRINT_LENGTH]);

/*
 * Unwraps into secret, by the KEK in use or, while it is being changed, the previous
 * one.  False, with secret wiped, where the KEK is right but the wrapped bytes are
 * damaged; raises WD101 to WD104 where no KEK that can be had wrapped it.
 */
extern bool seal_kek_unwrap(const uint8 wrapped[SEAL_WRAPPED_LENGTH],
							const uint8 fingerprint[SEAL_FINGERPRINT_LENGTH],
							uint8 secret[SEAL_SECRET_LENGTH]);

/* ---- keyring.c: unwrapped secrets in shared memory ---- */

extern Size seal_keyring_shmem_size(void);
extern void seal_keyring_shmem_request(void);
extern void seal_keyring_shmem_init(void);

/* Copies a secret to the caller, who wipes it; false where it is not there. */
extern bool seal_keyring_get(Oid database, SealKeyId key, const uint8 wrapped[SEAL_WRAPPED_LENGTH],
							 uint8 secret[SEAL_SECRET_LENGTH]);
/* Offers a secret that belongs to the catalog as of a generation. */
extern void seal_keyring_put(Oid database, SealKeyId key, const uint8 wrapped[SEAL_WRAPPED_LENGTH],
							 const uint8 secret[SEAL_SECRET_LENGTH], uint64 generation);
/*
 * Wipes one key, or with SEAL_KEY_NONE all keys, of a database; what was announced as
 * wrapped anew is kept under its new wrapping instead.
 */
extern void seal_keyring_forget(Oid database, SealKeyId key);

/*
 * This transaction has written a secret's new wrapping to the catalog: when it commits,
 * the entry stays.  A later change of the key in the same transaction takes that back.
 */
extern void seal_keyring_rewrapped(SealKeyId key, const uint8 before[SEAL_WRAPPED_LENGTH],
								   const uint8 after[SEAL_WRAPPED_LENGTH]);
extern void seal_keyring_changed(SealKeyId key);
extern void seal_keyring_transaction_over(void);

/*
 * Number of the last committed change of keys or rights in the cluster.  Whoever
 * caches anything derived from them compares it at each use, without a lock.
 */
extern uint64 seal_keyring_generation(void);
extern void seal_keyring_advance(void);

/* ---- key.c: keys by name and by id ---- */

typedef enum SealSearch
{
	SEAL_SEARCH_NONE,
	SEAL_SEARCH_EQUALITY,
	SEAL_SEARCH_SUBSTRING
} SealSearch;

/* A wrapped secret and what its row says. */
typedef struct SealKeySecret
{
	bool ours; /* the row is this transaction's own: not for the keyring yet */
	uint8 fingerprint[SEAL_FINGERPRINT_LENGTH];
	uint8 wrapped[SEAL_WRAPPED_LENGTH];
} SealKeySecret;

typedef struct SealKeyVersion
{
	uint16 version;
	bool active;
	bool destroyed;
	SealKeySecret secret;
} SealKeyVersion;

/* A key as the catalog has it.  Valid until the next seal_key_sync(). */
typedef struct SealKey
{
	SealKeyId id;
	char name[NAMEDATALEN];
	SealSearch search;
	bool frozen;
	bool destroyed; /* all versions are, and the secret of the tags with them */
	SealKeySecret search_secret;
	int nversions;
	SealKeyVersion *versions;
	SealKeyVersion *active; /* NULL where there is none */
} SealKey;

/*
 * Drops whatever this backend derived from keys and rights that have changed
 * since.  Called first by each entry point of this layer; costs a load and a
 * compare when nothing has.  Raises WD001 where the library was not preloaded.
 */
extern void seal_key_sync(void);

/* Has this transaction changed keys or rights? */
extern bool seal_key_changed_here(void);

/* Would seal_key_sync() drop nothing? */
extern bool seal_key_synced(void);

/* From the relcache and syscache callbacks: something may have changed. */
extern void seal_key_stale(void);

/*
 * This transaction has changed something that rights depend on (roles): at its commit
 * every session looks again at its next value.
 */
extern void seal_key_announce(void);

/*
 * Finds a key, or NULL; seal_key_require() raises WD201 (unknown), WD202 (frozen),
 * WD203 (destroyed).
 */
extern const SealKey *seal_key_find(SealKeyId id);
extern const SealKey *seal_key_require(SealKeyId id);

/* Unwraps into secret, which the caller wipes.  Raises WD1xx, WD204. */
extern void seal_key_unwrap(const SealKey *key, const SealKeySecret *wrapped,
							uint8 secret[SEAL_SECRET_LENGTH]);

/*
 * 31-bit id of a key's name; needs no catalog (typmodin runs during restore).
 * Raises invalid_parameter_value where no key may bear that name.
 */
extern SealKeyId seal_key_id(const char *name);

/* The database's default key, or SEAL_KEY_NONE where none was chosen. */
extern SealKeyId seal_key_default(void);

/* Of all keys of the database. */
extern List *seal_key_ids(void);

/* Has the key this version, and is its secret still there? */
extern bool seal_key_has_version(SealKeyId id, uint16 version);

/* The version that seals now, or 0 where there is none. */
extern uint16 seal_key_active_version(SealKeyId id);

/*
 * Is the key known here, not frozen and not destroyed?  Whether it can be unwrapped is not tried:
 * where the KEK is missing, that is an error of its own.
 */
extern bool seal_key_usable(SealKeyId id);

/* Does the key exist here?  And is it one whose values bear no tag? */
extern bool seal_key_exists(SealKeyId id);
extern SealSearch seal_key_search(SealKeyId id);

/* A key's name for messages, palloc'd: quoted, or its number where unknown. */
extern char *seal_key_label(SealKeyId id);

/* Raises WD220; to be called after secrets have been wiped. */
extern void seal_key_cipher_failed(const char *doing) pg_attribute_noreturn();

extern void seal_key_init(void);

/* ---- right.c: who may open ---- */

/* May the current user open values under this key now?  Fails closed. */
extern bool seal_right_may_open(SealKeyId key);

/* Raises insufficient_privilege, naming the key, unless the user may. */
extern void seal_right_require(SealKeyId key);

/*
 * Asks for another user's right until told otherwise (InvalidOid: the current user's);
 * returns what it was.  The caller sets it back on every path.
 */
extern Oid seal_right_act_as(Oid user);

/* May this statement change what a role is, or what it is a member of? */
extern bool seal_right_depends(Node *statement);

/* Drops what is cached; for seal_key_sync(). */
extern void seal_right_forget(void);

extern void seal_right_init(void);

/* ---- kind.c: what a sealed type seals ---- */

/* In the envelope: never renumbered. */
typedef enum SealKind
{
	SEAL_KIND_TEXT = 1,
	SEAL_KIND_BYTEA,
	SEAL_KIND_BOOL,
	SEAL_KIND_INT8,
	SEAL_KIND_NUMERIC,
	SEAL_KIND_DATE,
	SEAL_KIND_TIMESTAMPTZ,
	SEAL_KIND_UUID,
	SEAL_KIND_JSONB
} SealKind;

#define SEAL_KINDS ((int) SEAL_KIND_JSONB)

/*
 * A value to be sealed: its bytes, and those that its equality tag is made over, which
 * are equal just where values are.  What is owned is wiped by seal_kind_release().
 */
typedef struct SealPlain
{
	SealKind kind;
	const char *data;
	Size len;
	const char *same;
	Size samelen;
	struct varlena *owned;
	struct varlena *owned_same;
	char fixed[16];
} SealPlain;

/* ---- envelope.c: the format and its cipher ---- */

/*
 * Seals data under the active version of a key; the result is palloc'd.  The
 * envelope bears an equality tag unless the key was created with search 'none'.
 * Raises WD1xx, WD2xx.
 */
extern struct varlena *seal_envelope_seal(SealKeyId key, const SealPlain *plain);

/*
 * Like seal_envelope_seal(), for a literal that came without a key: under the
 * default key, and marked.  A marked value may be re-keyed without the unseal
 * right, because whoever has it typed it; it is never stored in a column.
 */
extern struct varlena *seal_envelope_seal_literal(const SealPlain *plain);
extern bool seal_envelope_is_literal(struct varlena *value);

/*
 * A literal as it stands in a running statement: output shows it to whoever it reaches,
 * like any literal.  Definitions and plans hold the other kind, which output armors.
 */
extern struct varlena *seal_envelope_seal_typed(const SealPlain *plain);
extern bool seal_envelope_is_typed(struct varlena *value);

/*
 * A pattern of LIKE: a literal under the key that it is matched with, without a tag, to
 * be told from what anybody can type.  It stands in plans alone.
 */
extern struct varlena *seal_envelope_seal_pattern(SealKeyId key, const SealPlain *plain);
extern bool seal_envelope_is_pattern(struct varlena *value);

/* As seal_envelope_open(), for literals: not counted in seal_opens(). */
extern struct varlena *seal_envelope_open_uncounted(const struct varlena *envelope);

/*
 * Opens an envelope (detoasted) and returns the plaintext as a palloc'd varlena.
 * Checks authenticity, not rights: the caller asks right.c first.  Counts in
 * seal_opens().  Raises WD210 where anything does not fit.
 */
extern struct varlena *seal_envelope_open(const struct varlena *envelope);

/*
 * Does an envelope (detoasted) authenticate under its key?  Neither counts as an
 * opening nor gives anything away.  Raises WD1xx, WD20x where the key can't be had.
 */
extern bool seal_envelope_authentic(const struct varlena *envelope);

/* Raises WD210 unless data is a whole, well-formed envelope (no key needed). */
extern void seal_envelope_check(const char *data, Size len);

/* Key id of a possibly toasted envelope; fetches only the header's slice. */
extern SealKeyId seal_envelope_key(struct varlena *value);

/* Key id and version (0: a probe) of a possibly toasted envelope. */
extern SealKeyId seal_envelope_version(struct varlena *value, uint16 *version);

/*
 * Seals the same value anew under the active version of its key; the equality tag
 * stays.  Asks for no right, counts no opening and gives nothing away.
 * Raises WD1xx, WD2xx.
 */
extern struct varlena *seal_envelope_reseal(const struct varlena *envelope);

/* What kind of value a possibly toasted envelope or probe is of. */
extern SealKind seal_envelope_kind(struct varlena *value);

/* Key id and tag of a possibly toasted envelope; false where it bears no tag. */
extern bool seal_envelope_tag(struct varlena *value, SealKeyId *key, uint8 tag[SEAL_TAG_LENGTH]);

/* Has this backend all that sealing and tags take, so that nothing is looked up? */
extern bool seal_envelope_is_ready(SealKeyId key, SealKind kind);

/* The tag that a plaintext has under a key. */
extern void seal_envelope_make_tag(SealKeyId key, const SealPlain *plain,
								   uint8 tag[SEAL_TAG_LENGTH]);

/*
 * A probe: an envelope-shaped value that holds only key id and tag, to be
 * compared and hashed but never stored (opening and storing it is refused).
 */
extern struct varlena *seal_envelope_probe(SealKeyId key, const SealPlain *plain);

/* Bytes of the plaintext of a (possibly toasted) envelope; opens nothing. */
extern Size seal_envelope_length(struct varlena *value);

/* Is this (possibly toasted) value a probe? */
extern bool seal_envelope_is_probe(struct varlena *value);

/* Drops and wipes the contexts of this backend; for seal_key_sync(). */
extern void seal_envelope_forget(void);

/* ---- trigram.c: keyed trigrams ---- */

/* Drops and wipes the contexts of this backend; for seal_key_sync(). */
extern void seal_trigram_forget(void);

/* ---- stored.c: sealed values in whatever is stored ---- */

/* How a type holds sealed values, at any depth. */
typedef struct SealStored SealStored;

/* NULL where a type can't hold any.  palloc'd. */
extern SealStored *seal_stored_type(Oid type);

/* Called for each value with its key and version; true ends the visit. */
typedef bool (*SealStoredVisitor)(SealKeyId key, uint16 version, void *arg);
extern bool seal_stored_visit(const SealStored *type, Datum value, SealStoredVisitor visit,
							  void *arg);

/*
 * The same datum with what was sealed under other versions of the key sealed anew,
 * or the datum itself; counts what it changed.  Destroyed versions are left alone.
 */
extern Datum seal_stored_reseal(const SealStored *type, Datum value, SealKeyId key, uint16 active,
								int64 *changed);

/* ---- progress.c: how far a conversion is ---- */

extern void seal_progress_shmem_request(void);
extern void seal_progress_shmem_init(void);

#endif /* WARD_SEAL_INT_H */
