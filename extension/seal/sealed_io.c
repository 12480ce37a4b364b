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

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

WARD_FUNCTION(ward_sealed_out);
WARD_FUNCTION(ward_sealed_send);
WARD_FUNCTION(ward_sealed_typmod_in);
WARD_FUNCTION(ward_sealed_typmod_out);
WARD_FUNCTION(ward_sealed_rekey);
WARD_FUNCTION(ward_sealed_typed);
WARD_FUNCTION(ward_sealed_visible);

/* Start of the statement that last showed plaintext; for redact.c. */
static TimestampTz io_shown = 0;

/* Has the running statement turned a sealed value into plaintext text? */
bool
seal_sealed_io_shown(void)
{
	return io_shown != 0 && io_shown == GetCurrentStatementStartTimestamp();
}

/* Errors of the running statement may show what was sealed. */
void
seal_sealed_io_mark_shown(void)
{
	io_shown = GetCurrentStatementStartTimestamp();
	seal_touch_mark();
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
seal_sealed_io_dearmor(const char *text, int len, SealKind kind, int32 typmod)
{
	struct varlena *envelope = seal_armor_read(text, len);
	SealKeyId key;
	uint16 version;

	if (envelope == NULL)
		seal_sealed_io_refuse_armor("It starts like armor but is not base64.");
	/* A pattern that was read in a log would open here without the right. */
	if (seal_envelope_is_probe(envelope) || seal_envelope_is_pattern(envelope))
		seal_sealed_io_refuse_armor("It is a value of a plan, not of a column.");
	if (seal_envelope_kind(envelope) != kind)
		seal_sealed_io_refuse_armor("It was sealed as a value of another type.");
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

/* The tag of armored text that is sealed; false where this is no armor.  Raises WD21x. */
bool
seal_sealed_io_armored_tag(const char *text, Size len, uint8 tag[SEAL_TAG_LENGTH])
{
	SealKeyId key;

	return seal_armor_backslashes(text, len) == 1 &&
		   seal_envelope_tag(seal_sealed_io_dearmor(text, (int) len, SEAL_KIND_TEXT, -1), &key,
							 tag);
}

/* Seals plaintext for a type modifier: a key's id, or -1. */
struct varlena *
seal_sealed_io_seal(const SealPlain *plain, int32 typmod)
{
	core_preload_require();
	seal_touch_mark();
	return typmod >= 0 ? seal_envelope_seal(typmod, plain) : seal_envelope_seal_literal(plain);
}

/*
 * Raises unless a value is of the kind that its SQL type says.  Whoever can put a
 * value of one sealed type where another is expected must not get at memory by it.
 */
void
seal_sealed_io_check_kind(struct varlena *value, SealKind kind)
{
	if (unlikely(seal_envelope_kind(value) != kind))
		ereport(ERROR, (errcode(ERRCODE_WARD_ENVELOPE_CORRUPT),
						errmsg("sealed value is not of type sealed_%s", seal_kinds[kind].name),
						errdetail("It was sealed as a value of another type."),
						errhint("Restore the row from a backup.")));
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

/*
 * Opens a (possibly toasted) value like seal_sealed_io_open(), to be compared or sealed
 * anew; seal_sealed_io_drop() wipes what it gives.
 */
struct varlena *
seal_sealed_io_take(struct varlena *value, SealPlain *plain)
{
	struct varlena *opened;

	value = (struct varlena *) PG_DETOAST_DATUM_PACKED(PointerGetDatum(value));
	opened = seal_sealed_io_open(value);
	seal_kind_plain(plain, seal_envelope_kind(value), VARDATA_ANY(opened),
					VARSIZE_ANY_EXHDR(opened));
	return opened;
}

void
seal_sealed_io_drop(struct varlena *opened, SealPlain *plain)
{
	seal_kind_release(plain);
	core_secret_wipe(VARDATA_ANY(opened), VARSIZE_ANY_EXHDR(opened));
	pfree(opened);
}

/* ---------------------------------------------------------------- input */

/* Text of a sealed type.  What is armor, or looks like it, is told apart first. */
static struct varlena *
seal_sealed_io_input(char *text, SealKind kind, int32 typmod)
{
	Size len = strlen(text);
	int backslashes = seal_armor_backslashes(text, len);
	struct varlena *result;
	SealPlain plain;

	core_preload_require();
	/* Before anything can fail: the log quotes the statement that an error ends. */
	seal_touch_mark();
	if (backslashes == 1)
		return seal_sealed_io_dearmor(text, (int) len, kind, typmod);
	if (backslashes > 1)
		text++;
	if (kind == SEAL_KIND_TEXT)
		seal_kind_plain(&plain, kind, text, strlen(text));
	else
		seal_kind_encode(&plain, kind, seal_kind_input(kind, text));
	result = seal_sealed_io_seal(&plain, typmod);
	seal_kind_release(&plain);
	return result;
}

/* The base type's binary form, or armor; escaped like text. */
static struct varlena *
seal_sealed_io_receive(StringInfo buffer, SealKind kind, int32 typmod)
{
	const char *bytes = buffer->data + buffer->cursor;
	Size len = (Size) (buffer->len - buffer->cursor);
	int backslashes = seal_armor_backslashes(bytes, len);
	struct varlena *result;
	SealPlain plain;

	core_preload_require();
	/* Before anything can fail: the log quotes the statement that an error ends. */
	seal_touch_mark();
	if (backslashes == 1)
	{
		buffer->cursor = buffer->len;
		return seal_sealed_io_dearmor(bytes, (int) len, kind, typmod);
	}
	if (backslashes > 1)
		buffer->cursor++;
	if (kind == SEAL_KIND_TEXT)
	{
		int converted;
		char *text = pq_getmsgtext(buffer, buffer->len - buffer->cursor, &converted);

		seal_kind_plain(&plain, kind, text, (Size) converted);
	}
	else
		seal_kind_encode(&plain, kind, seal_kind_receive(kind, buffer));
	result = seal_sealed_io_seal(&plain, typmod);
	seal_kind_release(&plain);
	return result;
}

#define SEALED_INPUT(name, kind)                                                                   \
	WARD_FUNCTION(ward_sealed_##name##_in);                                                        \
	WARD_FUNCTION(ward_sealed_##name##_recv);                                                      \
	Datum ward_sealed_##name##_in(PG_FUNCTION_ARGS)                                                \
	{                                                                                              \
		PG_RETURN_POINTER(seal_sealed_io_input(PG_GETARG_CSTRING(0), kind, PG_GETARG_INT32(2)));   \
	}                                                                                              \
	Datum ward_sealed_##name##_recv(PG_FUNCTION_ARGS)                                              \
	{                                                                                              \
		PG_RETURN_POINTER(                                                                         \
			seal_sealed_io_receive((StringInfo) PG_GETARG_POINTER(0), kind, PG_GETARG_INT32(2)));  \
	}

SEALED_INPUT(text, SEAL_KIND_TEXT)
SEALED_INPUT(bytea, SEAL_KIND_BYTEA)
SEALED_INPUT(bool, SEAL_KIND_BOOL)
SEALED_INPUT(int8, SEAL_KIND_INT8)
SEALED_INPUT(numeric, SEAL_KIND_NUMERIC)
SEALED_INPUT(date, SEAL_KIND_DATE)
SEALED_INPUT(timestamptz, SEAL_KIND_TIMESTAMPTZ)
SEALED_INPUT(uuid, SEAL_KIND_UUID)
SEALED_INPUT(jsonb, SEAL_KIND_JSONB)

/* ---------------------------------------------------------------- output */

/* May the current user see this value opened?  Where not, armor is what is shown. */
static bool
seal_sealed_io_visible(struct varlena *envelope)
{
	core_preload_require();
	if (seal_envelope_is_literal(envelope))
		return seal_envelope_is_typed(envelope);
	return !seal_envelope_is_probe(envelope) && seal_right_may_open(seal_envelope_key(envelope));
}

/*
 * Before armor is shown.  A client that was told to expect the base type would take it
 * for a value, so it gets an error.
 */
static void
seal_sealed_io_hide(struct varlena *envelope, SealKind kind)
{
	if (kind != SEAL_KIND_TEXT && seal_describe_stale() && !seal_envelope_is_literal(envelope))
		seal_right_require(seal_envelope_key(envelope));
}

/* Opens a value that is visible, for output; errors may show it from here on. */
static struct varlena *
seal_sealed_io_show(struct varlena *envelope)
{
	struct varlena *opened = seal_envelope_is_literal(envelope)
								 ? seal_envelope_open_uncounted(envelope)
								 : seal_envelope_open(envelope);

	seal_sealed_io_mark_shown();
	return opened;
}

/* A copy with a terminating zero, behind one more backslash where it looks like armor. */
static char *
seal_sealed_io_escape(const char *data, Size len, int *length)
{
	int escape = seal_armor_backslashes(data, len) > 0 ? 1 : 0;
	char *text = palloc(len + escape + 1);

	if (escape)
		text[0] = '\\';
	memcpy(text + escape, data, len);
	text[len + escape] = '\0';
	*length = (int) len + escape;
	return text;
}

Datum
ward_sealed_out(PG_FUNCTION_ARGS)
{
	struct varlena *envelope = (struct varlena *) PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0));
	SealKind kind = seal_envelope_kind(envelope);
	struct varlena *opened;
	char *text;
	int length;

	if (!seal_sealed_io_visible(envelope))
	{
		seal_sealed_io_hide(envelope, kind);
		PG_RETURN_CSTRING(seal_armor_write(envelope, &length));
	}
	opened = seal_sealed_io_show(envelope);
	if (kind == SEAL_KIND_TEXT)
		text = seal_sealed_io_escape(VARDATA_ANY(opened), VARSIZE_ANY_EXHDR(opened), &length);
	else
	{
		text = seal_kind_output(
			kind, seal_kind_decode(kind, VARDATA_ANY(opened), VARSIZE_ANY_EXHDR(opened)));
		/* Only bytea in its old form can look like armor. */
		if (seal_armor_backslashes(text, strlen(text)) > 0)
			text = seal_sealed_io_escape(text, strlen(text), &length);
	}
	pfree(opened);
	PG_RETURN_CSTRING(text);
}

Datum
ward_sealed_send(PG_FUNCTION_ARGS)
{
	struct varlena *envelope = (struct varlena *) PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0));
	SealKind kind = seal_envelope_kind(envelope);
	StringInfoData buffer;
	struct varlena *opened;
	char *bytes;
	int length;

	pq_begintypsend(&buffer);
	if (!seal_sealed_io_visible(envelope))
	{
		seal_sealed_io_hide(envelope, kind);
		bytes = seal_armor_write(envelope, &length);
		pq_sendbytes(&buffer, bytes, length);
		PG_RETURN_BYTEA_P(pq_endtypsend(&buffer));
	}
	opened = seal_sealed_io_show(envelope);
	if (kind == SEAL_KIND_TEXT)
	{
		bytes = seal_sealed_io_escape(VARDATA_ANY(opened), VARSIZE_ANY_EXHDR(opened), &length);
		pq_sendtext(&buffer, bytes, length);
	}
	else
	{
		/* What was sealed is the binary form. */
		bytes = seal_sealed_io_escape(VARDATA_ANY(opened), VARSIZE_ANY_EXHDR(opened), &length);
		pq_sendbytes(&buffer, bytes, length);
	}
	pfree(opened);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buffer));
}

/* ---------------------------------------------------------------- type modifier */

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
ward_sealed_rekey(PG_FUNCTION_ARGS)
{
	struct varlena *value = (struct varlena *) PG_GETARG_POINTER(0);
	int32 typmod = PG_GETARG_INT32(1);
	struct varlena *opened;
	struct varlena *result;
	SealPlain plain;

	if (typmod < 0 || (seal_envelope_key(value) == typmod && !seal_envelope_is_literal(value) &&
					   !seal_envelope_is_probe(value)))
		PG_RETURN_POINTER(value);
	opened = seal_sealed_io_take(value, &plain);
	result = seal_envelope_seal(typmod, &plain);
	seal_sealed_io_drop(opened, &plain);
	PG_RETURN_POINTER(result);
}

/*
 * sealed_typed(literal): put around the literals of a statement by rewrite.c, so that
 * its result shows them.
 */
Datum
ward_sealed_typed(PG_FUNCTION_ARGS)
{
	struct varlena *value = (struct varlena *) PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0));
	struct varlena *opened;
	struct varlena *result;
	SealPlain plain;

	if (!seal_envelope_is_literal(value) || seal_envelope_is_typed(value))
		PG_RETURN_POINTER(value);
	opened = seal_sealed_io_take(value, &plain);
	result = seal_envelope_seal_typed(&plain);
	seal_sealed_io_drop(opened, &plain);
	PG_RETURN_POINTER(result);
}

/* sealed_visible(value): would output show it opened to the current user? */
Datum
ward_sealed_visible(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(seal_sealed_io_visible((struct varlena *) PG_GETARG_POINTER(0)));
}
