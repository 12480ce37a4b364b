/*
 * sealed_io.c
 *		Input, output, type modifier and casts of the sealed types.
 *
 * No varlena of a sealed type ever holds plaintext: input seals at once.  Where
 * the key is not known yet (a bare literal or parameter) the value is sealed under
 * the database's default key and marked as a literal; storing it in a column
 * re-keys it.  Only such a value may be re-keyed without the right to open it,
 * because whoever has it typed it.
 *
 * Output opens only for those who may (I4): others get armor, which input takes
 * back bit for bit.  Plaintext that looks like armor is escaped by one backslash.
 *
 * Fails closed: with the right but without the key, output is an error, not armor,
 * so that nobody mistakes ciphertext for data (I5).
 */
#include "seal/sealed_int.h"

#include <limits.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/base64.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#define SEALED_ARMOR "\\sealed:"

WARD_FUNCTION(ward_sealed_text_in);
WARD_FUNCTION(ward_sealed_text_out);
WARD_FUNCTION(ward_sealed_text_recv);
WARD_FUNCTION(ward_sealed_text_send);
WARD_FUNCTION(ward_sealed_typmod_in);
WARD_FUNCTION(ward_sealed_typmod_out);
WARD_FUNCTION(ward_sealed_text_rekey);
WARD_FUNCTION(ward_sealed_text_from_text);
WARD_FUNCTION(ward_sealed_text_to_text);

/* Start of the statement that last showed plaintext; for redact.c. */
static TimestampTz io_shown = 0;

/* Has the running statement turned a sealed value into plaintext text? */
bool
seal_sealed_io_shown(void)
{
	return io_shown != 0 && io_shown == GetCurrentStatementStartTimestamp();
}

/* Is this armor (one backslash), or escaped plaintext (more)?  0 if neither. */
static int
seal_sealed_io_backslashes(const char *text, Size len)
{
	Size n = 0;

	while (n < len && text[n] == '\\')
		n++;
	if (n == 0 || len - n < strlen(SEALED_ARMOR) - 1 ||
		memcmp(text + n, SEALED_ARMOR + 1, strlen(SEALED_ARMOR) - 1) != 0)
		return 0;
	return (int) Min(n, INT_MAX);
}

/* Armors an envelope; palloc'd, and its length is returned too. */
static char *
seal_sealed_io_armor(const struct varlena *envelope, int *length)
{
	int raw = VARSIZE_ANY_EXHDR(envelope);
	int prefix = strlen(SEALED_ARMOR);
	int room = pg_b64_enc_len(raw);
	char *armor = palloc(prefix + room + 1);
	int encoded;

	memcpy(armor, SEALED_ARMOR, prefix);
	encoded = pg_b64_encode(VARDATA_ANY(envelope), raw, armor + prefix, room);
	if (encoded < 0)
		elog(ERROR, "could not armor an envelope");
	armor[prefix + encoded] = '\0';
	*length = prefix + encoded;
	return armor;
}

static void
seal_sealed_io_refuse_armor(const char *detail)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_WARD_ENVELOPE_REFUSED), errmsg("sealed value is not accepted as input"),
		 errdetail("%s", detail),
		 errhint("Restore dumps of sealed columns with their keys in place, or as a superuser.")));
}

/*
 * Takes armor back.  It must authenticate; where the key can't be had, only those
 * who may restore are believed.
 */
static struct varlena *
seal_sealed_io_dearmor(const char *text, int len, int32 typmod)
{
	int prefix = strlen(SEALED_ARMOR);
	int room = pg_b64_dec_len(len - prefix);
	struct varlena *envelope = palloc(VARHDRSZ + room);
	int decoded = pg_b64_decode(text + prefix, len - prefix, VARDATA(envelope), room);
	SealKeyId key;
	uint16 version;

	if (decoded < 0)
		seal_sealed_io_refuse_armor("It starts like armor but is not base64.");
	SET_VARSIZE(envelope, VARHDRSZ + decoded);
	seal_envelope_check(VARDATA(envelope), decoded);
	if (seal_envelope_is_probe(envelope))
		seal_sealed_io_refuse_armor("It is a value of a plan, not of a column.");
	key = seal_envelope_version(envelope, &version);
	/* A literal comes back in a view's definition; it stays one. */
	if (typmod >= 0 && (key != typmod || seal_envelope_is_literal(envelope)))
		seal_sealed_io_refuse_armor("It was sealed under another key than the column's.");
	if (seal_key_usable(key) && seal_key_has_version(key, version))
	{
		if (!seal_envelope_authentic(envelope))
			ereport(ERROR, (errcode(ERRCODE_WARD_ENVELOPE_CORRUPT),
							errmsg("sealed value fails its authentication"),
							errdetail("It was damaged, changed, or sealed by another database.")));
		/* So a definition that is given again lets go of an old version. */
		if (seal_envelope_is_literal(envelope) && version != seal_key_active_version(key))
			envelope = seal_envelope_reseal(envelope);
	}
	else if (!superuser())
		seal_sealed_io_refuse_armor("Its key is not at hand, so it can't be checked.");
	return envelope;
}

/* Seals plaintext for a type modifier: a key's id, or -1. */
struct varlena *
seal_sealed_io_seal(const char *data, Size len, int32 typmod)
{
	core_preload_require();
	return typmod >= 0 ? seal_envelope_seal(typmod, data, len)
					   : seal_envelope_seal_literal(data, len);
}

static struct varlena *
seal_sealed_io_input(const char *text, Size len, int32 typmod)
{
	int backslashes = seal_sealed_io_backslashes(text, len);

	if (backslashes == 1)
		return seal_sealed_io_dearmor(text, (int) len, typmod);
	if (backslashes > 1)
	{
		text++;
		len--;
	}
	return seal_sealed_io_seal(text, len, typmod);
}

/*
 * Opens for somebody to see; raises unless the current user has the right.  A
 * literal is its own typist's.
 */
struct varlena *
seal_sealed_io_open(const struct varlena *envelope)
{
	if (seal_envelope_is_literal((struct varlena *) envelope))
		return seal_envelope_open_uncounted(envelope);
	seal_right_require(seal_envelope_key((struct varlena *) envelope));
	return seal_envelope_open(envelope);
}

/* Text of a value for the current user: plaintext, or armor.  palloc'd. */
static char *
seal_sealed_io_output(struct varlena *envelope, int *length)
{
	struct varlena *plain;
	char *text;
	int len;
	int escape;

	core_preload_require();
	if (seal_envelope_is_probe(envelope) || seal_envelope_is_literal(envelope) ||
		!seal_right_may_open(seal_envelope_key(envelope)))
		return seal_sealed_io_armor(envelope, length);
	plain = seal_envelope_open(envelope);
	io_shown = GetCurrentStatementStartTimestamp();
	len = VARSIZE_ANY_EXHDR(plain);
	escape = seal_sealed_io_backslashes(VARDATA_ANY(plain), len) > 0 ? 1 : 0;
	text = palloc(len + escape + 1);
	if (escape)
		text[0] = '\\';
	memcpy(text + escape, VARDATA_ANY(plain), len);
	text[len + escape] = '\0';
	*length = len + escape;
	pfree(plain);
	return text;
}

Datum
ward_sealed_text_in(PG_FUNCTION_ARGS)
{
	char *text = PG_GETARG_CSTRING(0);

	PG_RETURN_POINTER(seal_sealed_io_input(text, strlen(text), PG_GETARG_INT32(2)));
}

Datum
ward_sealed_text_out(PG_FUNCTION_ARGS)
{
	int length;

	PG_RETURN_CSTRING(seal_sealed_io_output(
		(struct varlena *) PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0)), &length));
}

Datum
ward_sealed_text_recv(PG_FUNCTION_ARGS)
{
	StringInfo buffer = (StringInfo) PG_GETARG_POINTER(0);
	int len;
	char *text = pq_getmsgtext(buffer, buffer->len - buffer->cursor, &len);

	PG_RETURN_POINTER(seal_sealed_io_input(text, len, PG_GETARG_INT32(2)));
}

Datum
ward_sealed_text_send(PG_FUNCTION_ARGS)
{
	StringInfoData buffer;
	int length;
	char *text = seal_sealed_io_output(
		(struct varlena *) PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0)), &length);

	pq_begintypsend(&buffer);
	pq_sendtext(&buffer, text, length);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buffer));
}

/* sealed_text('key name'), or ('#number') for a key whose name is not known here. */
Datum
ward_sealed_typmod_in(PG_FUNCTION_ARGS)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);
	Datum *items;
	int count;
	char *name;

	deconstruct_array(array, CSTRINGOID, -2, false, TYPALIGN_CHAR, &items, NULL, &count);
	if (count != 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a sealed type takes one modifier, its key's name"),
						errhint("Write, say, sealed_text('people.identity').")));
	name = DatumGetCString(items[0]);
	if (name[0] == '#')
	{
		char *end;
		unsigned long id = strtoul(name + 1, &end, 10);

		if (name[1] < '0' || name[1] > '9' || *end != '\0' || id == 0 || id > PG_INT32_MAX)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("invalid number of a key in a sealed type's modifier")));
		PG_RETURN_INT32((int32) id);
	}
	PG_RETURN_INT32(seal_key_id(name));
}

Datum
ward_sealed_typmod_out(PG_FUNCTION_ARGS)
{
	int32 typmod = PG_GETARG_INT32(0);
	char *name;

	if (typmod < 0)
		PG_RETURN_CSTRING(pstrdup(""));
	name = IsTransactionState() ? seal_key_name(typmod) : NULL;
	if (name == NULL)
		PG_RETURN_CSTRING(psprintf("('#%d')", typmod));
	PG_RETURN_CSTRING(psprintf("(%s)", quote_literal_cstr(name)));
}

/* Coercion to a column's key: values under another key are sealed anew. */
Datum
ward_sealed_text_rekey(PG_FUNCTION_ARGS)
{
	struct varlena *value = (struct varlena *) PG_GETARG_POINTER(0);
	int32 typmod = PG_GETARG_INT32(1);
	struct varlena *plain;
	struct varlena *result;

	if (typmod < 0 || (seal_envelope_key(value) == typmod && !seal_envelope_is_literal(value) &&
					   !seal_envelope_is_probe(value)))
		PG_RETURN_POINTER(value);
	plain = seal_sealed_io_open((struct varlena *) PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0)));
	result = seal_envelope_seal(typmod, VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain));
	core_secret_wipe(VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain));
	pfree(plain);
	PG_RETURN_POINTER(result);
}

Datum
ward_sealed_text_from_text(PG_FUNCTION_ARGS)
{
	text *plain = PG_GETARG_TEXT_PP(0);

	PG_RETURN_POINTER(
		seal_sealed_io_seal(VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain), PG_GETARG_INT32(1)));
}

Datum
ward_sealed_text_to_text(PG_FUNCTION_ARGS)
{
	struct varlena *value = (struct varlena *) PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0));

	core_preload_require();
	/* An error below may print what this statement has computed from it. */
	io_shown = GetCurrentStatementStartTimestamp();
	PG_RETURN_POINTER(seal_sealed_io_open(value));
}
