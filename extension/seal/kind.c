/*
 * kind.c
 *		What each sealed type seals: its base type's values as bytes.
 *
 * The bytes are the base type's binary form (typsend), which is the same on every
 * machine and needs no catalog to be read.  Two values that the base type calls equal
 * may still differ in bytes (1.0 and 1.00, also inside JSON), so the equality tag is
 * made over bytes of their own ("same"), which are equal just where the values are.
 *
 * A base type's input error quotes the literal.  Here it must not (I4), so the message
 * is replaced; SQLSTATE and everything that is no data exception stay.
 *
 * No state, no locks.  Whoever fills a SealPlain releases it, which wipes.
 */
#include "seal/sealed_int.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* By SealKind; entry 0 is none. */
const SealKindInfo seal_kinds[SEAL_KINDS + 1] = {
	{NULL, InvalidOid, InvalidOid, InvalidOid, 0, NULL, NULL, NULL, NULL},
	{"text", TEXTOID, TEXTARRAYOID, DEFAULT_COLLATION_OID, -1, textin, textout, textrecv, textsend},
	{"bytea", BYTEAOID, BYTEAARRAYOID, InvalidOid, -1, byteain, byteaout, bytearecv, byteasend},
	{"bool", BOOLOID, BOOLARRAYOID, InvalidOid, 1, boolin, boolout, boolrecv, boolsend},
	{"int8", INT8OID, INT8ARRAYOID, InvalidOid, 8, int8in, int8out, int8recv, int8send},
	{"numeric", NUMERICOID, NUMERICARRAYOID, InvalidOid, -1, numeric_in, numeric_out, numeric_recv,
	 numeric_send},
	{"date", DATEOID, DATEARRAYOID, InvalidOid, 4, date_in, date_out, date_recv, date_send},
	{"timestamptz", TIMESTAMPTZOID, TIMESTAMPTZARRAYOID, InvalidOid, 8, timestamptz_in,
	 timestamptz_out, timestamptz_recv, timestamptz_send},
	{"uuid", UUIDOID, UUIDARRAYOID, InvalidOid, 16, uuid_in, uuid_out, uuid_recv, uuid_send},
	{"jsonb", JSONBOID, JSONBARRAYOID, InvalidOid, -1, jsonb_in, jsonb_out, jsonb_recv, jsonb_send},
};

/* ----------------------------------------------------------------
 * Bytes that are equal where values are
 * ----------------------------------------------------------------
 */

static void
seal_kind_append_sized(StringInfo buffer, const char *data, Size len)
{
	pq_sendint32(buffer, (uint32) len);
	appendBinaryStringInfo(buffer, data, (int) len);
}

/* A numeric without the trailing zeros of its scale, in its binary form. */
static bytea *
seal_kind_numeric_same(Datum value)
{
	return DatumGetByteaP(
		DirectFunctionCall1(numeric_send, DirectFunctionCall1(numeric_trim_scale, value)));
}

static void
seal_kind_append_scalar(StringInfo buffer, const JsonbValue *value)
{
	pq_sendbyte(buffer, (uint8) value->type);
	if (value->type == jbvString)
		seal_kind_append_sized(buffer, value->val.string.val, (Size) value->val.string.len);
	else if (value->type == jbvNumeric)
	{
		bytea *bytes = seal_kind_numeric_same(NumericGetDatum(value->val.numeric));

		seal_kind_append_sized(buffer, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	}
	else if (value->type == jbvBool)
		pq_sendbyte(buffer, value->val.boolean ? 1 : 0);
}

/*
 * jsonb keeps the keys of an object unique and in one order, so a walk gives equal
 * bytes for what jsonb calls equal.
 */
static bytea *
seal_kind_jsonb_same(Jsonb *jsonb)
{
	JsonbIterator *iterator = JsonbIteratorInit(&jsonb->root);
	JsonbIteratorToken token;
	JsonbValue value;
	StringInfoData buffer;

	pq_begintypsend(&buffer);
	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		pq_sendbyte(&buffer, (uint8) token);
		if (token == WJB_BEGIN_ARRAY)
			pq_sendbyte(&buffer, value.val.array.rawScalar ? 1 : 0);
		else if (token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM)
			seal_kind_append_scalar(&buffer, &value);
	}
	return pq_endtypsend(&buffer);
}

static void
seal_kind_set_same(SealPlain *plain, Datum value)
{
	bytea *same = plain->kind == SEAL_KIND_NUMERIC ? seal_kind_numeric_same(value)
												   : seal_kind_jsonb_same(DatumGetJsonbP(value));

	plain->owned_same = same;
	plain->same = VARDATA_ANY(same);
	plain->samelen = VARSIZE_ANY_EXHDR(same);
}

static bool
seal_kind_has_own_same(SealKind kind)
{
	return kind == SEAL_KIND_NUMERIC || kind == SEAL_KIND_JSONB;
}

/* ----------------------------------------------------------------
 * Values to bytes and back
 * ----------------------------------------------------------------
 */

/* See sealed_int.h. */
void
seal_kind_encode(SealPlain *plain, SealKind kind, Datum value)
{
	struct varlena *bytes = NULL;
	uint64 wide;
	uint32 narrow;

	plain->kind = kind;
	plain->owned = NULL;
	plain->owned_same = NULL;
	switch (kind)
	{
		case SEAL_KIND_TEXT:
		case SEAL_KIND_BYTEA:
			bytes = PG_DETOAST_DATUM_PACKED(value);
			if ((Pointer) bytes != DatumGetPointer(value))
				plain->owned = bytes;
			break;
		case SEAL_KIND_BOOL:
			plain->fixed[0] = DatumGetBool(value) ? 1 : 0;
			break;
		case SEAL_KIND_INT8:
		case SEAL_KIND_TIMESTAMPTZ:
			wide = pg_hton64((uint64) DatumGetInt64(value));
			memcpy(plain->fixed, &wide, sizeof(wide));
			break;
		case SEAL_KIND_DATE:
			narrow = pg_hton32((uint32) DatumGetDateADT(value));
			memcpy(plain->fixed, &narrow, sizeof(narrow));
			break;
		case SEAL_KIND_UUID:
			memcpy(plain->fixed, DatumGetUUIDP(value)->data, UUID_LEN);
			break;
		case SEAL_KIND_NUMERIC:
		case SEAL_KIND_JSONB:
			bytes = (struct varlena *) DatumGetByteaP(
				DirectFunctionCall1(seal_kinds[kind].send, value));
			plain->owned = bytes;
			break;
	}
	if (bytes != NULL)
	{
		plain->data = VARDATA_ANY(bytes);
		plain->len = VARSIZE_ANY_EXHDR(bytes);
	}
	else
	{
		plain->data = plain->fixed;
		plain->len = (Size) seal_kinds[kind].length;
	}
	if (seal_kind_has_own_same(kind))
		seal_kind_set_same(plain, value);
	else
	{
		plain->same = plain->data;
		plain->samelen = plain->len;
	}
}

/* See sealed_int.h. */
void
seal_kind_plain(SealPlain *plain, SealKind kind, const char *data, Size len)
{
	plain->kind = kind;
	plain->owned = NULL;
	plain->owned_same = NULL;
	plain->data = plain->same = data;
	plain->len = plain->samelen = len;
	if (seal_kind_has_own_same(kind))
		seal_kind_set_same(plain, seal_kind_decode(kind, data, len));
}

static void
seal_kind_wipe(struct varlena *bytes)
{
	if (bytes == NULL)
		return;
	core_secret_wipe(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	pfree(bytes);
}

/* See sealed_int.h. */
void
seal_kind_release(SealPlain *plain)
{
	seal_kind_wipe(plain->owned);
	seal_kind_wipe(plain->owned_same);
	core_secret_wipe(plain->fixed, sizeof(plain->fixed));
	plain->owned = plain->owned_same = NULL;
	plain->data = plain->same = NULL;
}

static void
seal_kind_misfit(SealKind kind)
{
	ereport(ERROR, (errcode(ERRCODE_WARD_ENVELOPE_CORRUPT),
					errmsg("sealed value does not hold a %s", seal_kinds[kind].name),
					errdetail("It is authentic, but what it holds is of another form."),
					errhint("It was moved here from a column of another type; restore the row.")));
}

/*
 * Calls a base type's input or receive function; its error may not quote the value.
 * On what was stored its error means that something else was.
 */
static Datum
seal_kind_call(SealKind kind, PGFunction function, Datum argument, bool stored)
{
	MemoryContext context = CurrentMemoryContext;
	volatile Datum result = (Datum) 0;

	PG_TRY();
	{
		result = DirectFunctionCall3(function, argument, ObjectIdGetDatum(seal_kinds[kind].base),
									 Int32GetDatum(-1));
	}
	PG_CATCH();
	{
		int code = geterrcode();

		if (ERRCODE_TO_CATEGORY(code) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		if (stored)
			seal_kind_misfit(kind);
		ereport(ERROR,
				(errcode(code), errmsg("invalid input for type sealed_%s", seal_kinds[kind].name),
				 errdetail("The value is not shown, because the type is sealed.")));
	}
	PG_END_TRY();
	return result;
}

static Datum
seal_kind_receive_bytes(SealKind kind, const char *data, Size len)
{
	StringInfoData buffer;

	/* The receive functions read, and want a byte behind the end for themselves. */
	initStringInfo(&buffer);
	appendBinaryStringInfo(&buffer, data, (int) len);
	return seal_kind_call(kind, seal_kinds[kind].receive, PointerGetDatum(&buffer), true);
}

/* See sealed_int.h. */
Datum
seal_kind_decode(SealKind kind, const char *data, Size len)
{
	struct varlena *copy;
	uint64 wide;
	uint32 narrow;

	if (seal_kinds[kind].length >= 0 && len != (Size) seal_kinds[kind].length)
		seal_kind_misfit(kind);
	switch (kind)
	{
		case SEAL_KIND_BOOL:
			return BoolGetDatum(data[0] != 0);
		case SEAL_KIND_INT8:
		case SEAL_KIND_TIMESTAMPTZ:
			memcpy(&wide, data, sizeof(wide));
			return Int64GetDatum((int64) pg_ntoh64(wide));
		case SEAL_KIND_DATE:
			memcpy(&narrow, data, sizeof(narrow));
			return DateADTGetDatum((DateADT) pg_ntoh32(narrow));
		case SEAL_KIND_UUID:
			copy = palloc(UUID_LEN);
			memcpy(copy, data, UUID_LEN);
			return PointerGetDatum(copy);
		case SEAL_KIND_NUMERIC:
		case SEAL_KIND_JSONB:
			return seal_kind_receive_bytes(kind, data, len);
		case SEAL_KIND_TEXT:
		case SEAL_KIND_BYTEA:
			break;
	}
	copy = palloc(VARHDRSZ + len);
	SET_VARSIZE(copy, VARHDRSZ + len);
	memcpy(VARDATA(copy), data, len);
	return PointerGetDatum(copy);
}

/* See sealed_int.h. */
Datum
seal_kind_input(SealKind kind, char *text)
{
	return seal_kind_call(kind, seal_kinds[kind].in, CStringGetDatum(text), false);
}

/* See sealed_int.h. */
Datum
seal_kind_receive(SealKind kind, StringInfo buffer)
{
	return seal_kind_call(kind, seal_kinds[kind].receive, PointerGetDatum(buffer), false);
}

/* See sealed_int.h. */
char *
seal_kind_output(SealKind kind, Datum value)
{
	return DatumGetCString(DirectFunctionCall1(seal_kinds[kind].out, value));
}
