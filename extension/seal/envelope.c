/*
 * envelope.c
 *		The sealed format: writing, reading, opening.  docs/envelope.md has the bytes.
 *
 * Contexts are this backend's own and are dropped with everything derived from keys
 * (seal_key_sync), so the hot path checks one number and then works without a lock
 * or a look-up:
 * - Sealing keeps for each key one *run*: 12 random bytes, the sub-key that they
 *   select, a counter.  A nonce is never used twice because a run belongs to one
 *   process (checked: a child would count on where its parent does), its bytes are
 *   random, and it ends after 2^32 values.
 * - Opening keeps the contexts of recently met runs, four to a bucket.
 * - Equality tags keep a running CMAC for each key.
 *
 * Whatever raises in here has wiped secrets and unauthenticated plaintext before.
 */
#include "seal/seal_int.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* First byte: the format's version and what the header holds. */
#define ENVELOPE_VERSION 0x10
#define ENVELOPE_VERSION_MASK 0xf0
#define ENVELOPE_TAG 0x01
#define ENVELOPE_PROBE 0x02
#define ENVELOPE_LITERAL 0x04
#define ENVELOPE_TYPED 0x08 /* a literal that its typist is to see */

/* first byte, key id, key version, kind */
#define ENVELOPE_PREAMBLE (1 + 4 + 2 + 1)
#define ENVELOPE_PROBE_LENGTH (ENVELOPE_PREAMBLE + SEAL_TAG_LENGTH)
#define ENVELOPE_ID_LENGTH (4 + 2 + SEAL_NONCE_PREFIX)

#define ENVELOPE_RUN_LIMIT (UINT64CONST(1) << 32)
#define ENVELOPE_SEALERS 32
#define ENVELOPE_BUCKETS 64
#define ENVELOPE_WAYS 4

/*
 * Labels of the tag keys' derivation, by kind; part of the format.  A key of its own
 * for each kind, so that tags tell nothing across types.
 */
static const char *const envelope_tag_labels[SEAL_KINDS + 1] = {
	NULL,
	"pg_ward equality tag",
	"pg_ward equality tag of bytea",
	"pg_ward equality tag of bool",
	"pg_ward equality tag of int8",
	"pg_ward equality tag of numeric",
	"pg_ward equality tag of date",
	"pg_ward equality tag of timestamptz",
	"pg_ward equality tag of uuid",
	"pg_ward equality tag of jsonb",
};

typedef struct EnvelopeParts
{
	SealKeyId key;
	SealKind kind;
	uint16 version;
	const uint8 *start; /* what is authenticated: from here, aad bytes */
	Size aad;
	const uint8 *tag;	/* NULL: none */
	const uint8 *nonce; /* NULL: a probe */
	const uint8 *data;
	Size len;
} EnvelopeParts;

/* A key as this backend seals values of one kind with it. */
typedef struct EnvelopeSealer
{
	SealKeyId key;
	SealKind kind;
	SealSearch search;
	SealMac mac; /* of the tag key; cbc is NULL until it is needed */
	SealCipher *gcm;
	int pid; /* of the process that drew the run */
	uint16 version;
	uint64 counter;
	uint8 prefix[SEAL_NONCE_PREFIX];
} EnvelopeSealer;

/* A run as this backend opens it. */
typedef struct EnvelopeOpener
{
	uint8 id[ENVELOPE_ID_LENGTH]; /* key, version, nonce prefix */
	bool valid;
	int count; /* index in envelope_counts */
	SealCipher *gcm;
} EnvelopeOpener;

typedef struct EnvelopeBucket
{
	EnvelopeOpener openers[ENVELOPE_WAYS];
	int next; /* the next to evict, in turn */
} EnvelopeBucket;

/* Openings by key; outlives every cache. */
typedef struct EnvelopeCount
{
	SealKeyId key;
	uint64 count;
} EnvelopeCount;

static EnvelopeSealer envelope_sealers[ENVELOPE_SEALERS];
static int envelope_sealers_used = 0;
static int envelope_sealers_next = 0;
static EnvelopeBucket *envelope_buckets = NULL;
static EnvelopeCount *envelope_counts = NULL;
static int envelope_counted = 0;
static uint64 envelope_opens = 0;

/* ----------------------------------------------------------------
 * The format
 * ----------------------------------------------------------------
 */

static uint32
seal_envelope_get32(const uint8 *from)
{
	return (uint32) from[0] << 24 | (uint32) from[1] << 16 | (uint32) from[2] << 8 | from[3];
}

static void
seal_envelope_put32(uint8 *to, uint32 value)
{
	to[0] = (uint8) (value >> 24);
	to[1] = (uint8) (value >> 16);
	to[2] = (uint8) (value >> 8);
	to[3] = (uint8) value;
}

/*
 * Reads the preamble and finds the tag, which lies in the first
 * ENVELOPE_PROBE_LENGTH bytes.  False where this is no envelope.
 */
static bool
seal_envelope_parse_head(const uint8 *start, Size len, EnvelopeParts *parts)
{
	uint32 key;
	uint8 flags;

	if (len < ENVELOPE_PREAMBLE || (start[0] & ENVELOPE_VERSION_MASK) != ENVELOPE_VERSION)
		return false;
	flags = start[0] & ~ENVELOPE_VERSION_MASK;
	key = seal_envelope_get32(start + 1);
	if (((flags & ENVELOPE_TYPED) != 0 && (flags & ENVELOPE_LITERAL) == 0) || key == 0 ||
		key > PG_INT32_MAX || start[7] < 1 || start[7] > SEAL_KINDS)
		return false;
	parts->key = (SealKeyId) key;
	parts->kind = (SealKind) start[7];
	parts->version = (uint16) (start[5] << 8 | start[6]);
	parts->start = start;
	parts->tag = (flags & ENVELOPE_TAG) != 0 ? start + ENVELOPE_PREAMBLE : NULL;
	parts->nonce = NULL;
	if (parts->tag != NULL && len < ENVELOPE_PROBE_LENGTH)
		return false;
	/* A probe has a tag and no version; an envelope has a version. */
	if ((flags & ENVELOPE_PROBE) != 0)
		return parts->tag != NULL && parts->version == 0;
	return parts->version != 0;
}

/* Reads a whole envelope, or false.  Probes are whole, and have no nonce. */
static bool
seal_envelope_parse(const uint8 *start, Size len, EnvelopeParts *parts)
{
	Size head;

	if (!seal_envelope_parse_head(start, len, parts))
		return false;
	if ((start[0] & ENVELOPE_PROBE) != 0)
		return len == ENVELOPE_PROBE_LENGTH;
	head = ENVELOPE_PREAMBLE + (parts->tag != NULL ? SEAL_TAG_LENGTH : 0);
	if (len < head + SEAL_NONCE_LENGTH + SEAL_AUTH_LENGTH)
		return false;
	parts->nonce = start + head;
	parts->aad = head + SEAL_NONCE_LENGTH;
	parts->data = start + parts->aad;
	parts->len = len - parts->aad - SEAL_AUTH_LENGTH;
	return true;
}

static void
seal_envelope_malformed(void)
{
	ereport(ERROR, (errcode(ERRCODE_WARD_ENVELOPE_CORRUPT), errmsg("sealed value is malformed"),
					errdetail("Its length or its header does not fit the format.")));
}

/*
 * The head of a possibly toasted value.  Only its slice is fetched, and where it is
 * stored inline nothing is copied.
 */
static void
seal_envelope_head(struct varlena *value, EnvelopeParts *parts)
{
	/* Not "extended but not short": an external value looks short, too. */
	if (VARATT_IS_EXTERNAL(value) || VARATT_IS_COMPRESSED(value))
		value = detoast_attr_slice(value, 0, ENVELOPE_PROBE_LENGTH);
	if (!seal_envelope_parse_head((uint8 *) VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), parts))
		seal_envelope_malformed();
}

/* See seal_int.h. */
void
seal_envelope_check(const char *data, Size len)
{
	EnvelopeParts parts;

	if (!seal_envelope_parse((const uint8 *) data, len, &parts) || parts.nonce == NULL)
		seal_envelope_malformed();
}

/* See seal_int.h. */
SealKeyId
seal_envelope_key(struct varlena *value)
{
	EnvelopeParts parts;

	seal_envelope_head(value, &parts);
	return parts.key;
}

/* See seal_int.h. */
SealKeyId
seal_envelope_version(struct varlena *value, uint16 *version)
{
	EnvelopeParts parts;

	seal_envelope_head(value, &parts);
	*version = parts.version;
	return parts.key;
}

/* See seal_int.h. */
SealKind
seal_envelope_kind(struct varlena *value)
{
	EnvelopeParts parts;

	seal_envelope_head(value, &parts);
	return parts.kind;
}

/* See seal_int.h. */
bool
seal_envelope_tag(struct varlena *value, SealKeyId *key, uint8 tag[SEAL_TAG_LENGTH])
{
	EnvelopeParts parts;

	seal_envelope_head(value, &parts);
	*key = parts.key;
	if (parts.tag == NULL)
		return false;
	memcpy(tag, parts.tag, SEAL_TAG_LENGTH);
	return true;
}

/* See seal_int.h. */
Size
seal_envelope_length(struct varlena *value)
{
	EnvelopeParts parts;
	Size total = toast_raw_datum_size(PointerGetDatum(value)) - VARHDRSZ;
	Size around = ENVELOPE_PREAMBLE + SEAL_NONCE_LENGTH + SEAL_AUTH_LENGTH;

	seal_envelope_head(value, &parts);
	if (parts.tag != NULL)
		around += SEAL_TAG_LENGTH;
	return total > around ? total - around : 0;
}

/* See seal_int.h. */
bool
seal_envelope_is_probe(struct varlena *value)
{
	EnvelopeParts parts;

	seal_envelope_head(value, &parts);
	return (parts.start[0] & ENVELOPE_PROBE) != 0;
}

/* See seal_int.h. */
bool
seal_envelope_is_literal(struct varlena *value)
{
	EnvelopeParts parts;

	seal_envelope_head(value, &parts);
	return (parts.start[0] & ENVELOPE_LITERAL) != 0;
}

/* See seal_int.h. */
bool
seal_envelope_is_typed(struct varlena *value)
{
	EnvelopeParts parts;

	seal_envelope_head(value, &parts);
	return (parts.start[0] & ENVELOPE_TYPED) != 0;
}

/* ----------------------------------------------------------------
 * Contexts
 * ----------------------------------------------------------------
 */

static void
seal_envelope_drop_sealer(EnvelopeSealer *sealer)
{
	seal_cipher_mac_free(&sealer->mac);
	seal_cipher_free(sealer->gcm);
	core_secret_wipe(sealer, sizeof(*sealer));
}

/* See seal_int.h. */
void
seal_envelope_forget(void)
{
	for (int i = 0; i < envelope_sealers_used; i++)
		seal_envelope_drop_sealer(&envelope_sealers[i]);
	envelope_sealers_used = 0;
	envelope_sealers_next = 0;
	for (int i = 0; envelope_buckets != NULL && i < ENVELOPE_BUCKETS; i++)
		for (int j = 0; j < ENVELOPE_WAYS; j++)
		{
			EnvelopeOpener *opener = &envelope_buckets[i].openers[j];

			seal_cipher_free(opener->gcm);
			memset(opener, 0, sizeof(*opener));
		}
}

/* This backend's sealer of a key and kind, still without contexts where it is new. */
static EnvelopeSealer *
seal_envelope_sealer(SealKeyId id, SealKind kind)
{
	EnvelopeSealer *sealer;
	const SealKey *key;

	Assert(kind >= 1 && kind <= SEAL_KINDS);
	seal_key_sync();
	for (int i = 0; i < envelope_sealers_used; i++)
		if (envelope_sealers[i].key == id && envelope_sealers[i].kind == kind)
			return &envelope_sealers[i];
	key = seal_key_require(id);
	if (envelope_sealers_used < ENVELOPE_SEALERS)
		sealer = &envelope_sealers[envelope_sealers_used++];
	else
	{
		sealer = &envelope_sealers[envelope_sealers_next];
		envelope_sealers_next = (envelope_sealers_next + 1) % ENVELOPE_SEALERS;
		seal_envelope_drop_sealer(sealer);
	}
	memset(sealer, 0, sizeof(*sealer));
	sealer->key = id;
	sealer->kind = kind;
	sealer->search = key->search;
	return sealer;
}

/* Makes the CMAC of a key's tags. */
static void
seal_envelope_prepare_mac(EnvelopeSealer *sealer)
{
	uint8 secret[SEAL_SECRET_LENGTH];
	uint8 tag_key[SEAL_SECRET_LENGTH];
	const SealKey *key = seal_key_require(sealer->key);
	bool ok;

	seal_key_unwrap(key, &key->search_secret, secret);
	ok = seal_cipher_derive(secret, envelope_tag_labels[sealer->kind], tag_key) &&
		 seal_cipher_mac_init(&sealer->mac, tag_key);
	core_secret_wipe(secret, sizeof(secret));
	core_secret_wipe(tag_key, sizeof(tag_key));
	if (!ok)
		seal_key_cipher_failed("prepare a tag key");
}

/* Draws a run: a random nonce prefix and the sub-key that it selects. */
static void
seal_envelope_draw(EnvelopeSealer *sealer)
{
	uint8 secret[SEAL_SECRET_LENGTH];
	uint8 subkey[SEAL_SECRET_LENGTH];
	const SealKey *key = seal_key_require(sealer->key);
	bool ok;

	/* Whatever fails below, the old run is over. */
	sealer->pid = 0;
	if (key->active == NULL)
		ereport(ERROR, (errcode(ERRCODE_WARD_KEY_DESTROYED),
						errmsg("sealing key %s has no active version", seal_key_label(key->id)),
						errhint("Values can be sealed under it again once it has one.")));
	sealer->version = key->active->version;
	seal_key_unwrap(key, &key->active->secret, secret);
	ok = seal_cipher_random(sealer->prefix, SEAL_NONCE_PREFIX) &&
		 seal_cipher_subkey(secret, sealer->prefix, subkey) &&
		 seal_cipher_gcm_key(&sealer->gcm, subkey, true);
	core_secret_wipe(secret, sizeof(secret));
	core_secret_wipe(subkey, sizeof(subkey));
	if (!ok)
		seal_key_cipher_failed("prepare a key for sealing");
	sealer->counter = 0;
	sealer->pid = MyProcPid;
}

static int
seal_envelope_counter(SealKeyId key)
{
	for (int i = 0; i < envelope_counted; i++)
		if (envelope_counts[i].key == key)
			return i;
	if (envelope_counts == NULL)
		envelope_counts = MemoryContextAlloc(TopMemoryContext, sizeof(EnvelopeCount));
	else
		envelope_counts =
			repalloc(envelope_counts, (Size) (envelope_counted + 1) * sizeof(EnvelopeCount));
	envelope_counts[envelope_counted].key = key;
	envelope_counts[envelope_counted].count = 0;
	return envelope_counted++;
}

/* Gives an opener the sub-key of the run that an envelope belongs to. */
static void
seal_envelope_prepare_opener(EnvelopeOpener *opener, const EnvelopeParts *parts)
{
	const SealKey *key = seal_key_require(parts->key);
	const SealKeyVersion *version = NULL;
	uint8 secret[SEAL_SECRET_LENGTH];
	uint8 subkey[SEAL_SECRET_LENGTH];
	bool ok;

	opener->valid = false;
	for (int i = 0; i < key->nversions; i++)
		if (key->versions[i].version == parts->version)
			version = &key->versions[i];
	if (version == NULL)
		ereport(ERROR, (errcode(ERRCODE_WARD_KEY_UNKNOWN),
						errmsg("sealing key %s has no version %d in this database",
							   seal_key_label(key->id), parts->version),
						errhint("It comes back by restoring the tables of schema _ward.")));
	if (version->destroyed)
		ereport(ERROR, (errcode(ERRCODE_WARD_KEY_DESTROYED),
						errmsg("version %d of sealing key %s is destroyed", parts->version,
							   seal_key_label(key->id)),
						errdetail("What was sealed under it can't be opened any more.")));
	opener->count = seal_envelope_counter(parts->key);
	seal_key_unwrap(key, &version->secret, secret);
	ok = seal_cipher_subkey(secret, parts->nonce, subkey) &&
		 seal_cipher_gcm_key(&opener->gcm, subkey, false);
	core_secret_wipe(secret, sizeof(secret));
	core_secret_wipe(subkey, sizeof(subkey));
	if (!ok)
		seal_key_cipher_failed("prepare a key for opening");
	memcpy(opener->id, parts->start + 1, 6);
	memcpy(opener->id + 6, parts->nonce, SEAL_NONCE_PREFIX);
	opener->valid = true;
}

/* The opener of an envelope's run, from the cache or made. */
static EnvelopeOpener *
seal_envelope_opener(const EnvelopeParts *parts)
{
	EnvelopeBucket *bucket;
	EnvelopeOpener *opener;

	seal_key_sync();
	if (unlikely(envelope_buckets == NULL))
		envelope_buckets =
			MemoryContextAllocZero(TopMemoryContext, ENVELOPE_BUCKETS * sizeof(EnvelopeBucket));
	/* The prefix is random already; a forged one can only crowd a bucket. */
	bucket = &envelope_buckets[(parts->nonce[0] ^ parts->start[4]) % ENVELOPE_BUCKETS];
	for (int i = 0; i < ENVELOPE_WAYS; i++)
	{
		opener = &bucket->openers[i];
		if (opener->valid && memcmp(opener->id + 6, parts->nonce, SEAL_NONCE_PREFIX) == 0 &&
			memcmp(opener->id, parts->start + 1, 6) == 0)
			return opener;
	}
	opener = &bucket->openers[bucket->next];
	bucket->next = (bucket->next + 1) % ENVELOPE_WAYS;
	seal_envelope_prepare_opener(opener, parts);
	return opener;
}

/* ----------------------------------------------------------------
 * Sealing and opening
 * ----------------------------------------------------------------
 */

static void
seal_envelope_mac(EnvelopeSealer *sealer, const SealPlain *plain, uint8 tag[SEAL_TAG_LENGTH])
{
	if (unlikely(sealer->mac.cbc == NULL))
		seal_envelope_prepare_mac(sealer);
	if (unlikely(!seal_cipher_mac(&sealer->mac, plain->same, plain->samelen, tag)))
		seal_key_cipher_failed("compute a tag");
}

/* This backend's sealer of a key, with a run that has a nonce left. */
static EnvelopeSealer *
seal_envelope_ready(SealKeyId key, SealKind kind)
{
	EnvelopeSealer *sealer = seal_envelope_sealer(key, kind);

	if (unlikely(sealer->pid != MyProcPid || sealer->counter >= ENVELOPE_RUN_LIMIT))
		seal_envelope_draw(sealer);
	return sealer;
}

/* See seal_int.h. */
bool
seal_envelope_is_ready(SealKeyId key, SealKind kind)
{
	if (!seal_key_synced())
		return false;
	for (int i = 0; i < envelope_sealers_used; i++)
	{
		EnvelopeSealer *sealer = &envelope_sealers[i];

		if (sealer->key == key && sealer->kind == kind)
			return sealer->mac.cbc != NULL && sealer->pid == MyProcPid &&
				   sealer->counter < ENVELOPE_RUN_LIMIT;
	}
	return false;
}

/* Seals under a ready sealer; the tag, or NULL, is the caller's. */
static struct varlena *
seal_envelope_write(EnvelopeSealer *sealer, uint8 flags, const uint8 *tag, const char *data,
					Size len)
{
	Size head = ENVELOPE_PREAMBLE + (tag != NULL ? SEAL_TAG_LENGTH : 0);
	Size size = VARHDRSZ + head + SEAL_NONCE_LENGTH + len + SEAL_AUTH_LENGTH;
	struct varlena *envelope;
	uint8 *start;
	uint8 *nonce;

	if (!AllocSizeIsValid(size))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("value is too long to be sealed"),
				 errdetail("It has %zu bytes.", len)));
	envelope = palloc(size);
	SET_VARSIZE(envelope, size);
	start = (uint8 *) VARDATA(envelope);
	start[0] = ENVELOPE_VERSION | (tag != NULL ? ENVELOPE_TAG : 0) | flags;
	seal_envelope_put32(start + 1, (uint32) sealer->key);
	start[5] = (uint8) (sealer->version >> 8);
	start[6] = (uint8) sealer->version;
	start[7] = (uint8) sealer->kind;
	if (tag != NULL)
		memcpy(start + ENVELOPE_PREAMBLE, tag, SEAL_TAG_LENGTH);
	nonce = start + head;
	memcpy(nonce, sealer->prefix, SEAL_NONCE_PREFIX);
	memset(nonce + SEAL_NONCE_PREFIX, 0, 4);
	seal_envelope_put32(nonce + 16, (uint32) (sealer->counter >> 32));
	seal_envelope_put32(nonce + 20, (uint32) sealer->counter);
	/* Counted before use: an error below must not let the nonce be used again. */
	sealer->counter++;
	if (unlikely(!seal_cipher_gcm_seal(sealer->gcm, nonce + SEAL_NONCE_PREFIX, start,
									   head + SEAL_NONCE_LENGTH, data, len,
									   nonce + SEAL_NONCE_LENGTH, nonce + SEAL_NONCE_LENGTH + len)))
	{
		sealer->pid = 0;
		pfree(envelope);
		seal_key_cipher_failed("seal a value");
	}
	return envelope;
}

static struct varlena *
seal_envelope_make(SealKeyId key, const SealPlain *plain, uint8 flags)
{
	EnvelopeSealer *sealer = seal_envelope_ready(key, plain->kind);
	uint8 tag[SEAL_TAG_LENGTH];

	if (sealer->search == SEAL_SEARCH_NONE)
		return seal_envelope_write(sealer, flags, NULL, plain->data, plain->len);
	seal_envelope_mac(sealer, plain, tag);
	return seal_envelope_write(sealer, flags, tag, plain->data, plain->len);
}

/* See seal_int.h. */
struct varlena *
seal_envelope_seal(SealKeyId key, const SealPlain *plain)
{
	return seal_envelope_make(key, plain, 0);
}

/* Raises WD201 where the database has no default key. */
static SealKeyId
seal_envelope_default(void)
{
	SealKeyId key = seal_key_default();

	if (key == SEAL_KEY_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_WARD_KEY_UNKNOWN),
				 errmsg("the database has no default sealing key"),
				 errdetail("A value whose key is not named is sealed under the default key."),
				 errhint("Create one with ward.create_key(); the first becomes the default.")));
	return key;
}

/* See seal_int.h.  Raises WD201 where the database has no default key. */
struct varlena *
seal_envelope_seal_literal(const SealPlain *plain)
{
	return seal_envelope_make(seal_envelope_default(), plain, ENVELOPE_LITERAL);
}

/* See seal_int.h. */
struct varlena *
seal_envelope_seal_typed(const SealPlain *plain)
{
	return seal_envelope_make(seal_envelope_default(), plain, ENVELOPE_LITERAL | ENVELOPE_TYPED);
}

/* See seal_int.h. */
struct varlena *
seal_envelope_seal_pattern(SealKeyId key, const SealPlain *plain)
{
	return seal_envelope_write(seal_envelope_ready(key, plain->kind), ENVELOPE_LITERAL, NULL,
							   plain->data, plain->len);
}

/* See seal_int.h.  Under other keys a literal without a tag is just that. */
bool
seal_envelope_is_pattern(struct varlena *value)
{
	EnvelopeParts parts;
	const SealKey *key;

	seal_envelope_head(value, &parts);
	if ((parts.start[0] & ENVELOPE_LITERAL) == 0 || parts.tag != NULL)
		return false;
	seal_key_sync();
	key = seal_key_find(parts.key);
	return key != NULL && key->search == SEAL_SEARCH_SUBSTRING;
}

static void
seal_envelope_parse_whole(const struct varlena *envelope, EnvelopeParts *parts)
{
	if (unlikely(!seal_envelope_parse((const uint8 *) VARDATA_ANY(envelope),
									  VARSIZE_ANY_EXHDR(envelope), parts)))
		seal_envelope_malformed();
	if (unlikely(parts->nonce == NULL))
		ereport(ERROR, (errcode(ERRCODE_WARD_ENVELOPE_REFUSED),
						errmsg("a value made for comparing can't be opened or stored")));
}

static struct varlena *
seal_envelope_decrypt(const struct varlena *envelope, bool counted)
{
	EnvelopeParts parts;
	EnvelopeOpener *opener;
	struct varlena *plain;
	SealCipherResult result;

	seal_envelope_parse_whole(envelope, &parts);
	opener = seal_envelope_opener(&parts);
	plain = palloc(VARHDRSZ + parts.len);
	SET_VARSIZE(plain, VARHDRSZ + parts.len);
	result =
		seal_cipher_gcm_open(opener->gcm, parts.nonce + SEAL_NONCE_PREFIX, parts.start, parts.aad,
							 parts.data, parts.len, VARDATA(plain), parts.data + parts.len);
	if (unlikely(result != SEAL_CIPHER_OK))
	{
		core_secret_wipe(plain, VARHDRSZ + parts.len);
		pfree(plain);
		if (result == SEAL_CIPHER_FAILED)
		{
			opener->valid = false;
			seal_key_cipher_failed("open a value");
		}
		ereport(ERROR,
				(errcode(ERRCODE_WARD_ENVELOPE_CORRUPT), errmsg("sealed value is damaged"),
				 errdetail("It does not authenticate under key %s.", seal_key_label(parts.key)),
				 errhint("It was changed after it was sealed, or another key of the same name "
						 "sealed it.")));
	}
	if (counted)
	{
		envelope_counts[opener->count].count++;
		envelope_opens++;
	}
	return plain;
}

/* See seal_int.h. */
struct varlena *
seal_envelope_open(const struct varlena *envelope)
{
	return seal_envelope_decrypt(envelope, true);
}

/* See seal_int.h. */
struct varlena *
seal_envelope_open_uncounted(const struct varlena *envelope)
{
	return seal_envelope_decrypt(envelope, false);
}

/*
 * See seal_int.h.  The tag is taken over, not made anew: it is authenticated, and
 * whatever it was made from, what was equal must stay equal.
 */
struct varlena *
seal_envelope_reseal(const struct varlena *envelope)
{
	EnvelopeParts parts;
	struct varlena *plain;
	struct varlena *volatile result = NULL;

	seal_envelope_parse_whole(envelope, &parts);
	plain = seal_envelope_decrypt(envelope, false);
	PG_TRY();
	{
		result = seal_envelope_write(seal_envelope_ready(parts.key, parts.kind),
									 parts.start[0] & ENVELOPE_LITERAL, parts.tag, VARDATA(plain),
									 parts.len);
	}
	PG_FINALLY();
	{
		core_secret_wipe(VARDATA(plain), parts.len);
		pfree(plain);
	}
	PG_END_TRY();
	return result;
}

/* See seal_int.h. */
bool
seal_envelope_authentic(const struct varlena *envelope)
{
	EnvelopeParts parts;
	EnvelopeOpener *opener;
	char *scratch;
	SealCipherResult result;

	seal_envelope_parse_whole(envelope, &parts);
	opener = seal_envelope_opener(&parts);
	scratch = palloc(parts.len + 1);
	result =
		seal_cipher_gcm_open(opener->gcm, parts.nonce + SEAL_NONCE_PREFIX, parts.start, parts.aad,
							 parts.data, parts.len, scratch, parts.data + parts.len);
	core_secret_wipe(scratch, parts.len);
	pfree(scratch);
	if (result == SEAL_CIPHER_FAILED)
	{
		opener->valid = false;
		seal_key_cipher_failed("check a value");
	}
	return result == SEAL_CIPHER_OK;
}

/* See seal_int.h.  Raises WD1xx, WD201, WD202, WD220. */
void
seal_envelope_make_tag(SealKeyId key, const SealPlain *plain, uint8 tag[SEAL_TAG_LENGTH])
{
	EnvelopeSealer *sealer = seal_envelope_sealer(key, plain->kind);

	if (unlikely(sealer->search == SEAL_SEARCH_NONE))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("values sealed under key %s bear no equality tag", seal_key_label(key)),
				 errhint("Create the key with search => 'equality' to compare without opening.")));
	seal_envelope_mac(sealer, plain, tag);
}

/* See seal_int.h. */
struct varlena *
seal_envelope_probe(SealKeyId key, const SealPlain *plain)
{
	struct varlena *probe = palloc(VARHDRSZ + ENVELOPE_PROBE_LENGTH);
	uint8 *start = (uint8 *) VARDATA(probe);

	SET_VARSIZE(probe, VARHDRSZ + ENVELOPE_PROBE_LENGTH);
	start[0] = ENVELOPE_VERSION | ENVELOPE_TAG | ENVELOPE_PROBE;
	seal_envelope_put32(start + 1, (uint32) key);
	start[5] = 0;
	start[6] = 0;
	start[7] = (uint8) plain->kind;
	seal_envelope_make_tag(key, plain, start + ENVELOPE_PREAMBLE);
	return probe;
}

/* See seal.h. */
uint64
seal_opens(SealKeyId key)
{
	if (key == SEAL_KEY_NONE)
		return envelope_opens;
	for (int i = 0; i < envelope_counted; i++)
		if (envelope_counts[i].key == key)
			return envelope_counts[i].count;
	return 0;
}
