// link: extension/seal/envelope.c extension/seal/armor.c extension/seal/kind.c extension/seal/cipher.c extension/core/secret.c
// seeds: docs/envelope.md
/*
 * The envelope, its armor and the kinds of values: whatever bytes come from a table or a
 * dump, there is a value that was sealed, or an error of class WD; nothing else is read.
 *
 * The keys are those of the vectors in docs/envelope.md, which so get past the cipher.
 * numeric and jsonb are decoded by the server's own receive functions, which are not
 * here; they raise.
 */
#include "seal/sealed_int.h"

#include "access/detoast.h"

#include "server.h"

/* ---- the keys of docs/envelope.md ---- */

static SealKeyVersion fuzz_version = {.version = 1, .active = true};
static SealKey fuzz_keys[] = {
	{.id = 562630040,
	 .search = SEAL_SEARCH_EQUALITY,
	 .nversions = 1,
	 .versions = &fuzz_version,
	 .active = &fuzz_version},
	{.id = 1156480254,
	 .search = SEAL_SEARCH_NONE,
	 .nversions = 1,
	 .versions = &fuzz_version,
	 .active = &fuzz_version},
};

void
seal_key_sync(void)
{
}

const SealKey *
seal_key_find(SealKeyId id)
{
	for (int i = 0; i < (int) lengthof(fuzz_keys); i++)
		if (fuzz_keys[i].id == id)
			return &fuzz_keys[i];
	return NULL;
}

const SealKey *
seal_key_require(SealKeyId id)
{
	const SealKey *key = seal_key_find(id);

	if (key == NULL)
		ereport(ERROR, (errcode(ERRCODE_WARD_KEY_UNKNOWN), errmsg("sealing key does not exist")));
	return key;
}

void
seal_key_unwrap(const SealKey *key, const SealKeySecret *wrapped, uint8 secret[SEAL_SECRET_LENGTH])
{
	int first = wrapped == &fuzz_version.secret ? 0x20 : 0x40;

	for (int i = 0; i < SEAL_SECRET_LENGTH; i++)
		secret[i] = (uint8) (first + i);
}

SealKeyId
seal_key_default(void)
{
	return fuzz_keys[0].id;
}

char *
seal_key_label(SealKeyId id)
{
	char *label = palloc(32);

	snprintf(label, 32, "#%d", id);
	return label;
}

void
seal_key_cipher_failed(const char *doing)
{
	/* With these keys OpenSSL has no reason to. */
	abort();
}

/* ---- the server's part in kind.c and envelope.c ---- */

Datum
DirectFunctionCall3Coll(PGFunction function, Oid collation, Datum arg1, Datum arg2, Datum arg3)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION), errmsg("not here")));
}

struct varlena *
pg_detoast_datum_packed(struct varlena *datum)
{
	return datum;
}

Size
toast_raw_datum_size(Datum value)
{
	return VARSIZE_ANY_EXHDR(DatumGetPointer(value)) + VARHDRSZ;
}

/* ---- one input ---- */

/* Runs the statement; true where it raised, which must then be an error of the format or key. */
#define RAISES(statement)                                                                          \
	({                                                                                             \
		volatile bool raised = false;                                                              \
		PG_TRY();                                                                                  \
		{                                                                                          \
			statement;                                                                             \
		}                                                                                          \
		PG_CATCH();                                                                                \
		{                                                                                          \
			raised = true;                                                                         \
			FUZZ_CHECK(server_error_code == ERRCODE_WARD_ENVELOPE_CORRUPT ||                       \
					   server_error_code == ERRCODE_WARD_ENVELOPE_REFUSED ||                       \
					   server_error_code == ERRCODE_WARD_KEY_UNKNOWN);                             \
		}                                                                                          \
		PG_END_TRY();                                                                              \
		raised;                                                                                    \
	})

/* The bytes as a varlena that ends where its block does; short where asked for. */
static struct varlena *
fuzz_varlena(const void *data, Size size, bool small)
{
	struct varlena *value;

	if (small && size + VARHDRSZ_SHORT <= VARATT_SHORT_MAX)
	{
		value = palloc(VARHDRSZ_SHORT + size);
		SET_VARSIZE_SHORT(value, VARHDRSZ_SHORT + size);
	}
	else
	{
		value = palloc(VARHDRSZ + size);
		SET_VARSIZE(value, VARHDRSZ + size);
	}
	memcpy(VARDATA_ANY(value), data, size);
	return value;
}

/* What opened must be a value of its kind, or an error. */
static void
fuzz_decode(SealKind kind, struct varlena *opened)
{
	(void) RAISES({
		Datum value = seal_kind_decode(kind, VARDATA_ANY(opened), VARSIZE_ANY_EXHDR(opened));
		SealPlain plain;

		if (kind != SEAL_KIND_NUMERIC && kind != SEAL_KIND_JSONB)
		{
			seal_kind_encode(&plain, kind, value);
			FUZZ_CHECK(plain.kind == kind);
			FUZZ_CHECK(kind == SEAL_KIND_BOOL ||
					   (plain.len == VARSIZE_ANY_EXHDR(opened) &&
						memcmp(plain.data, VARDATA_ANY(opened), plain.len) == 0));
			seal_kind_release(&plain);
		}
	});
}

/* Armor and back must be the same bytes. */
static void
fuzz_armor(struct varlena *envelope)
{
	int length;
	char *armor = seal_armor_write(envelope, &length);
	struct varlena *back;

	FUZZ_CHECK(seal_armor_backslashes(armor, (Size) length) == 1);
	back = seal_armor_read(armor, length);
	FUZZ_CHECK(back != NULL && VARSIZE_ANY_EXHDR(back) == VARSIZE_ANY_EXHDR(envelope));
	FUZZ_CHECK(memcmp(VARDATA_ANY(back), VARDATA_ANY(envelope), VARSIZE_ANY_EXHDR(back)) == 0);
}

static void
fuzz_stored(const void *data, Size size, bool small)
{
	struct varlena *value = fuzz_varlena(data, size, small);
	uint8 tag[SEAL_TAG_LENGTH];
	uint16 version = 0;
	SealKeyId key = 0;
	SealKind kind = 0;
	bool probe = false;
	bool whole = !RAISES(seal_envelope_check(VARDATA_ANY(value), size));
	bool head = !RAISES({
		key = seal_envelope_version(value, &version);
		kind = seal_envelope_kind(value);
		probe = seal_envelope_is_probe(value);
		FUZZ_CHECK(seal_envelope_key(value) == key && key > 0);
		FUZZ_CHECK(kind >= 1 && kind <= SEAL_KINDS && (version == 0) == probe);
		FUZZ_CHECK(!seal_envelope_is_typed(value) || seal_envelope_is_literal(value));
		FUZZ_CHECK(seal_envelope_length(value) <= size);
		(void) seal_envelope_is_pattern(value);
		(void) seal_envelope_tag(value, &key, tag);
	});
	struct varlena *volatile opened = NULL;

	FUZZ_CHECK(head || !whole);
	if (RAISES(opened = seal_envelope_open(value)))
		FUZZ_CHECK(!whole || RAISES((void) seal_envelope_authentic(value)) ||
				   !seal_envelope_authentic(value));
	else
	{
		struct varlena *again;

		FUZZ_CHECK(whole && !probe && seal_envelope_authentic(value));
		FUZZ_CHECK(seal_envelope_length(value) == VARSIZE_ANY_EXHDR(opened));
		fuzz_decode(kind, opened);
		again = seal_envelope_open(seal_envelope_reseal(value));
		FUZZ_CHECK(VARSIZE_ANY(again) == VARSIZE_ANY(opened) &&
				   memcmp(again, opened, VARSIZE_ANY(again)) == 0);
	}
	if (whole)
		fuzz_armor(value);
}

static void
fuzz_text(const char *data, Size size)
{
	char *text = pnstrdup(data, size);
	int len = (int) strlen(text);

	if (seal_armor_backslashes(text, (Size) len) != 1)
		return;
	(void) RAISES({
		struct varlena *envelope = seal_armor_read(text, len);

		if (envelope != NULL)
			fuzz_stored(VARDATA(envelope), VARSIZE_ANY_EXHDR(envelope), false);
	});
}

/*
 * The input as a plaintext that is sealed and then changed as its first bytes say: what
 * was changed never opens.
 */
static void
fuzz_changed(const uint8 *data, Size size)
{
	SealPlain plain = {0};
	struct varlena *envelope;
	struct varlena *opened;
	Size length;
	Size at;

	if (size < 5)
		return;
	plain.kind = (SealKind) (1 + data[0] % SEAL_KINDS);
	plain.data = plain.same = (const char *) data + 5;
	plain.len = plain.samelen = size - 5;
	envelope = (data[1] & 1) ? seal_envelope_seal_literal(&plain)
							 : seal_envelope_seal(fuzz_keys[data[1] >> 7].id, &plain);
	opened = seal_envelope_open(envelope);
	FUZZ_CHECK(VARSIZE_ANY_EXHDR(opened) == plain.len &&
			   memcmp(VARDATA(opened), plain.data, plain.len) == 0);
	fuzz_decode(plain.kind, opened);
	fuzz_armor(envelope);

	length = VARSIZE_ANY_EXHDR(envelope);
	at = (Size) (data[2] << 8 | data[3]);
	if (data[1] & 2)
		envelope = fuzz_varlena(VARDATA(envelope), at % length, false);
	else if (data[1] & 4)
	{
		struct varlena *longer = fuzz_varlena(VARDATA(envelope), length, false);

		longer = repalloc(longer, VARHDRSZ + length + 1);
		SET_VARSIZE(longer, VARHDRSZ + length + 1);
		VARDATA(longer)[length] = (char) data[4];
		envelope = longer;
	}
	else if (data[4] != 0)
		VARDATA(envelope)[at % length] ^= (char) data[4];
	else
		return;
	FUZZ_CHECK(RAISES((void) seal_envelope_open(envelope)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_stored(data, size, false);
	fuzz_stored(data, size, true);
	fuzz_text((const char *) data, size);
	fuzz_changed(data, size);
	server_free_all();
	return 0;
}
