/*
 * limit.c
 *		Limits of base types that a sealed type does not have: the length of a
 *		varchar(n), the range of smallint and integer, the digits of a numeric(p, s).
 *
 * They stand in checks that ward.protect makes, so whoever writes a row calls them,
 * with no right to open anything: they open for themselves, uncounted, and tell no more
 * than yes or no.  The bounds of a range are the types' own, not the caller's, so that
 * nobody can ask their way to a number.
 *
 * Fail open on purpose where the key can't be used (frozen, destroyed, not restored yet):
 * what was sealed has passed before, and a row must stay to be updated and restored.
 */
#include "seal/sealed_int.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

WARD_FUNCTION(ward_sealed_text_fits);
WARD_FUNCTION(ward_sealed_int8_fits);
WARD_FUNCTION(ward_sealed_numeric_fits);

/* The value opened, or NULL where its key can't be used or it is a probe. */
static struct varlena *
seal_limit_open(struct varlena *value, SealKind kind)
{
	SealKeyId key;
	uint16 version;

	core_preload_require();
	value = (struct varlena *) PG_DETOAST_DATUM_PACKED(PointerGetDatum(value));
	seal_sealed_io_check_kind(value, kind);
	if (seal_envelope_is_probe(value))
		return NULL;
	key = seal_envelope_version(value, &version);
	if (!seal_key_usable(key) || !seal_key_has_version(key, version))
		return NULL;
	return seal_envelope_open_uncounted(value);
}

static void
seal_limit_close(struct varlena *opened)
{
	core_secret_wipe(VARDATA_ANY(opened), VARSIZE_ANY_EXHDR(opened));
	pfree(opened);
}

/*
 * Has a value at most so many characters?  The length of its ciphertext tells all but
 * what multibyte characters hide; most values are not opened.
 */
Datum
ward_sealed_text_fits(PG_FUNCTION_ARGS)
{
	struct varlena *value = (struct varlena *) PG_GETARG_POINTER(0);
	int32 most = PG_GETARG_INT32(1);
	struct varlena *opened;
	bool fits;

	core_preload_require();
	if (!seal_envelope_is_probe(value) && seal_envelope_length(value) <= (Size) Max(most, 0))
		PG_RETURN_BOOL(true);
	opened = seal_limit_open(value, SEAL_KIND_TEXT);
	if (opened == NULL)
		PG_RETURN_NULL();
	fits = pg_mbstrlen_with_len(VARDATA_ANY(opened), VARSIZE_ANY_EXHDR(opened)) <= most;
	seal_limit_close(opened);
	PG_RETURN_BOOL(fits);
}

/* Is a value one of a smallint (2) or an integer (4)? */
Datum
ward_sealed_int8_fits(PG_FUNCTION_ARGS)
{
	int32 bytes = PG_GETARG_INT32(1);
	struct varlena *opened;
	int64 number;

	if (bytes != 2 && bytes != 4)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a sealed number fits 2 bytes (smallint) or 4 (integer)")));
	opened = seal_limit_open((struct varlena *) PG_GETARG_POINTER(0), SEAL_KIND_INT8);
	if (opened == NULL)
		PG_RETURN_NULL();
	number = DatumGetInt64(
		seal_kind_decode(SEAL_KIND_INT8, VARDATA_ANY(opened), VARSIZE_ANY_EXHDR(opened)));
	seal_limit_close(opened);
	PG_RETURN_BOOL(bytes == 2 ? number >= PG_INT16_MIN && number <= PG_INT16_MAX
							  : number >= PG_INT32_MIN && number <= PG_INT32_MAX);
}

/* Below 10 to the power of digits, as it is? */
static bool
seal_limit_below(Datum number, int digits)
{
	char power[16];
	Datum bound;

	snprintf(power, sizeof(power), "1e%d", digits);
	bound = DirectFunctionCall3(numeric_in, CStringGetDatum(power), ObjectIdGetDatum(InvalidOid),
								Int32GetDatum(-1));
	return DatumGetBool(
		DirectFunctionCall2(numeric_lt, DirectFunctionCall1(numeric_abs, number), bound));
}

/*
 * Is a value one of a numeric(precision, scale)?  Also one of more decimals is not, where
 * they are not zero: a check can refuse, but not round.
 */
Datum
ward_sealed_numeric_fits(PG_FUNCTION_ARGS)
{
	int32 precision = PG_GETARG_INT32(1);
	int32 scale = PG_GETARG_INT32(2);
	struct varlena *opened;
	Datum number;
	bool fits;

	if (precision < 1 || precision > NUMERIC_MAX_PRECISION || scale < NUMERIC_MIN_SCALE ||
		scale > NUMERIC_MAX_SCALE)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("precision or scale is not one of a numeric")));
	opened = seal_limit_open((struct varlena *) PG_GETARG_POINTER(0), SEAL_KIND_NUMERIC);
	if (opened == NULL)
		PG_RETURN_NULL();
	number = seal_kind_decode(SEAL_KIND_NUMERIC, VARDATA_ANY(opened), VARSIZE_ANY_EXHDR(opened));
	seal_limit_close(opened);
	if (numeric_is_nan(DatumGetNumeric(number)))
		PG_RETURN_BOOL(true);
	if (numeric_is_inf(DatumGetNumeric(number)))
		PG_RETURN_BOOL(false);
	fits =
		seal_limit_below(number, precision - scale) &&
		DatumGetBool(DirectFunctionCall2(
			numeric_eq, number, DirectFunctionCall2(numeric_round, number, Int32GetDatum(scale))));
	pfree(DatumGetPointer(number));
	PG_RETURN_BOOL(fits);
}
