/*
 * sealed_cast.c
 *		Casts between the sealed types and ordinary ones.
 *
 * sealed -> base is implicit, so that whatever works on the base type works on a sealed
 * column for those who may open it.  base -> sealed happens on assignment, under the
 * column's key.  Beside the base type stand the types that SQL would convert to it by
 * itself when they are assigned: an integer literal for a numeric, a varchar parameter
 * for a text.
 *
 * Opening here asks for the right each time; it fails closed.
 */
#include "seal/sealed_int.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

/* A conversion within SQL's ordinary types; NULL converts nothing. */
Datum
seal_sealed_cast_convert(PGFunction function, Datum value)
{
	return function == NULL ? value : DirectFunctionCall1(function, value);
}

static Datum
seal_sealed_cast_from(SealKind kind, PGFunction convert, Datum value, int32 typmod)
{
	SealPlain plain;
	struct varlena *result;

	seal_kind_encode(&plain, kind, seal_sealed_cast_convert(convert, value));
	result = seal_sealed_io_seal(&plain, typmod);
	seal_kind_release(&plain);
	return PointerGetDatum(result);
}

static Datum
seal_sealed_cast_to(SealKind kind, PGFunction convert, Datum datum)
{
	struct varlena *envelope = (struct varlena *) PG_DETOAST_DATUM_PACKED(datum);
	struct varlena *opened;
	Datum value;

	core_preload_require();
	seal_sealed_io_check_kind(envelope, kind);
	opened = seal_sealed_io_open(envelope);
	/* An error below may print what this statement has computed from it. */
	seal_sealed_io_mark_shown();
	/* What was sealed of these is the value itself. */
	if (kind == SEAL_KIND_TEXT || kind == SEAL_KIND_BYTEA)
		return seal_sealed_cast_convert(convert, PointerGetDatum(opened));
	value = seal_kind_decode(kind, VARDATA_ANY(opened), VARSIZE_ANY_EXHDR(opened));
	core_secret_wipe(VARDATA_ANY(opened), VARSIZE_ANY_EXHDR(opened));
	pfree(opened);
	return seal_sealed_cast_convert(convert, value);
}

/* sealed_NAME <- OTHER; the SQL functions take value, modifier, explicit. */
#define SEALED_FROM(name, kind, other, convert)                                                    \
	WARD_FUNCTION(ward_sealed_##name##_from_##other);                                              \
	Datum ward_sealed_##name##_from_##other(PG_FUNCTION_ARGS)                                      \
	{                                                                                              \
		return seal_sealed_cast_from(kind, convert, PG_GETARG_DATUM(0), PG_GETARG_INT32(1));       \
	}

/* sealed_NAME -> OTHER */
#define SEALED_TO(name, kind, other, convert)                                                      \
	WARD_FUNCTION(ward_sealed_##name##_to_##other);                                                \
	Datum ward_sealed_##name##_to_##other(PG_FUNCTION_ARGS)                                        \
	{                                                                                              \
		return seal_sealed_cast_to(kind, convert, PG_GETARG_DATUM(0));                             \
	}

SEALED_FROM(text, SEAL_KIND_TEXT, text, NULL)
SEALED_FROM(text, SEAL_KIND_TEXT, bpchar, rtrim1)
SEALED_FROM(text, SEAL_KIND_TEXT, name, name_text)
SEALED_FROM(bytea, SEAL_KIND_BYTEA, bytea, NULL)
SEALED_FROM(bool, SEAL_KIND_BOOL, bool, NULL)
SEALED_FROM(int8, SEAL_KIND_INT8, int8, NULL)
SEALED_FROM(int8, SEAL_KIND_INT8, int4, int48)
SEALED_FROM(int8, SEAL_KIND_INT8, int2, int28)
SEALED_FROM(int8, SEAL_KIND_INT8, numeric, numeric_int8)
SEALED_FROM(numeric, SEAL_KIND_NUMERIC, numeric, NULL)
SEALED_FROM(numeric, SEAL_KIND_NUMERIC, int8, int8_numeric)
SEALED_FROM(numeric, SEAL_KIND_NUMERIC, int4, int4_numeric)
SEALED_FROM(numeric, SEAL_KIND_NUMERIC, int2, int2_numeric)
SEALED_FROM(numeric, SEAL_KIND_NUMERIC, float8, float8_numeric)
SEALED_FROM(date, SEAL_KIND_DATE, date, NULL)
SEALED_FROM(date, SEAL_KIND_DATE, timestamp, timestamp_date)
SEALED_FROM(date, SEAL_KIND_DATE, timestamptz, timestamptz_date)
SEALED_FROM(timestamptz, SEAL_KIND_TIMESTAMPTZ, timestamptz, NULL)
SEALED_FROM(timestamptz, SEAL_KIND_TIMESTAMPTZ, timestamp, timestamp_timestamptz)
SEALED_FROM(timestamptz, SEAL_KIND_TIMESTAMPTZ, date, date_timestamptz)
SEALED_FROM(uuid, SEAL_KIND_UUID, uuid, NULL)
SEALED_FROM(jsonb, SEAL_KIND_JSONB, jsonb, NULL)

SEALED_TO(text, SEAL_KIND_TEXT, text, NULL)
SEALED_TO(bytea, SEAL_KIND_BYTEA, bytea, NULL)
SEALED_TO(bool, SEAL_KIND_BOOL, bool, NULL)
SEALED_TO(int8, SEAL_KIND_INT8, int8, NULL)
SEALED_TO(int8, SEAL_KIND_INT8, int4, int84)
SEALED_TO(int8, SEAL_KIND_INT8, int2, int82)
SEALED_TO(int8, SEAL_KIND_INT8, numeric, int8_numeric)
SEALED_TO(int8, SEAL_KIND_INT8, float8, i8tod)
SEALED_TO(numeric, SEAL_KIND_NUMERIC, numeric, NULL)
SEALED_TO(numeric, SEAL_KIND_NUMERIC, int8, numeric_int8)
SEALED_TO(numeric, SEAL_KIND_NUMERIC, int4, numeric_int4)
SEALED_TO(numeric, SEAL_KIND_NUMERIC, float8, numeric_float8)
SEALED_TO(date, SEAL_KIND_DATE, date, NULL)
SEALED_TO(date, SEAL_KIND_DATE, timestamp, date_timestamp)
SEALED_TO(date, SEAL_KIND_DATE, timestamptz, date_timestamptz)
SEALED_TO(timestamptz, SEAL_KIND_TIMESTAMPTZ, timestamptz, NULL)
SEALED_TO(timestamptz, SEAL_KIND_TIMESTAMPTZ, timestamp, timestamptz_timestamp)
SEALED_TO(timestamptz, SEAL_KIND_TIMESTAMPTZ, date, timestamptz_date)
SEALED_TO(uuid, SEAL_KIND_UUID, uuid, NULL)
SEALED_TO(jsonb, SEAL_KIND_JSONB, jsonb, NULL)
