/*
 * kek_change.c
 *		Which key-encryption key wrapped what, and wrapping it by another one.
 *
 * Changing the KEK touches no data: only the wrapped secrets in the catalog are
 * wrapped anew, in one transaction, so after a crash all of them are old or all new.
 *
 * Sessions that run meanwhile go on.  One whose statement began before the settings
 * were changed knows the old KEK alone; so all the secrets are put into the keyring
 * first, and when the change commits they stay there under their new wrapping.
 *
 * Locks: the caller holds the tables of keys against writers.  A secret is in locked
 * memory while it is neither wrapped by one nor by the other, and wiped on every path.
 */
#include "seal/kek_int.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

WARD_FUNCTION(ward_seal_check_secrets);
WARD_FUNCTION(ward_seal_rewrap_secrets);
WARD_FUNCTION(ward_seal_secrets_rewrapped);

/* As _ward.secret has it. */
typedef struct KekChangeSecret
{
	uint8 fingerprint[SEAL_FINGERPRINT_LENGTH];
	uint8 wrapped[SEAL_WRAPPED_LENGTH];
} KekChangeSecret;

StaticAssertDecl(sizeof(KekChangeSecret) == SEAL_FINGERPRINT_LENGTH + SEAL_WRAPPED_LENGTH,
				 "a secret has no padding");

/* An array from SQL, taken apart. */
typedef struct KekChangeArray
{
	Datum *values;
	bool *nulls;
	int count;
} KekChangeArray;

static KekChangeArray
seal_kek_change_array(ArrayType *array, Oid type)
{
	KekChangeArray result;

	if (type == INT4OID)
		deconstruct_array(array, type, sizeof(int32), true, TYPALIGN_INT, &result.values,
						  &result.nulls, &result.count);
	else
		deconstruct_array(array, type, -1, false, TYPALIGN_INT, &result.values, &result.nulls,
						  &result.count);
	return result;
}

/* Copies a secret; false where the bytes do not have the length of one. */
static bool
seal_kek_change_secret(Datum value, KekChangeSecret *secret)
{
	struct varlena *bytes = PG_DETOAST_DATUM_PACKED(value);

	if (VARSIZE_ANY_EXHDR(bytes) != sizeof(*secret))
		return false;
	memcpy(secret, VARDATA_ANY(bytes), sizeof(*secret));
	return true;
}

static Datum
seal_kek_change_result(Datum *values, bool *nulls, int count, Oid type)
{
	int dims[1] = {count};
	int lower[1] = {1};

	if (count == 0)
		return PointerGetDatum(construct_empty_array(type));
	return PointerGetDatum(
		construct_md_array(values, nulls, 1, dims, lower, type, -1, false, TYPALIGN_INT));
}

/* Says, once, why the previous KEK can't be had; the check goes on without it. */
static void
seal_kek_change_warn(const SealKekPair *pair)
{
	const SealKekFault *fault = &pair->fault[SEAL_KEK_PREVIOUS];

	if (fault->code != 0)
		ereport(WARNING,
				(errcode(fault->code),
				 errmsg("the previous key-encryption key can't be had: %s", fault->message),
				 fault->detail ? errdetail("%s", fault->detail) : 0,
				 fault->hint ? errhint("%s", fault->hint) : 0));
}

/* The word for a secret; WD1xx where the current KEK can't be had. */
static const char *
seal_kek_change_check(SealKekPair *pair, Datum value, uint8 *clear)
{
	KekChangeSecret secret;
	SealKekWhich which;

	if (!seal_kek_change_secret(value, &secret))
		return "damaged";
	if (seal_kek_pair_get(pair, SEAL_KEK_CURRENT) == NULL)
		seal_kek_raise(&pair->fault[SEAL_KEK_CURRENT]);
	switch (seal_kek_pair_unwrap(pair, secret.wrapped, secret.fingerprint, clear, &which))
	{
		case SEAL_KEK_FITS:
			return which == SEAL_KEK_CURRENT ? "current" : "previous";
		case SEAL_KEK_DAMAGED:
			return "damaged";
		default:
			return "other";
	}
}

/*
 * A secret wrapped by the current KEK, or NULL where it is already.  Raises WD1xx
 * where no KEK that can be had wrapped it, WD204 where it is damaged.
 */
static bytea *
seal_kek_change_rewrap(SealKekPair *pair, SealKeyId key, Datum value, uint8 *clear, bool to_keyring,
					   uint64 generation)
{
	SealKekUse *current = seal_kek_pair_get(pair, SEAL_KEK_CURRENT);
	KekChangeSecret secret;
	SealKekWhich which;
	SealKekFit fit = SEAL_KEK_DAMAGED;
	bytea *result;

	if (current == NULL)
		seal_kek_raise(&pair->fault[SEAL_KEK_CURRENT]);
	if (seal_kek_change_secret(value, &secret))
	{
		if (core_secret_equal(current->fingerprint, secret.fingerprint, SEAL_FINGERPRINT_LENGTH))
			return NULL;
		fit = seal_kek_pair_unwrap(pair, secret.wrapped, secret.fingerprint, clear, &which);
	}
	if (fit == SEAL_KEK_OTHER)
		seal_kek_pair_refuse(pair);
	if (fit == SEAL_KEK_DAMAGED)
		ereport(ERROR,
				(errcode(ERRCODE_WARD_KEY_CORRUPT),
				 errmsg("sealing key %s is damaged", seal_key_label(key)),
				 errdetail("The key-encryption key is right, but what it wrapped was changed."),
				 errhint("ward.kek_check() lists what is damaged. Restore the tables of schema "
						 "_ward from a backup, or destroy the key.")));
	if (to_keyring)
		seal_keyring_put(MyDatabaseId, key, secret.wrapped, clear, generation);
	if (!current->provider->wrap(current, clear, secret.wrapped, &pair->fault[SEAL_KEK_CURRENT]))
		seal_kek_raise(&pair->fault[SEAL_KEK_CURRENT]);
	memcpy(secret.fingerprint, current->fingerprint, SEAL_FINGERPRINT_LENGTH);
	result = palloc(VARHDRSZ + sizeof(secret));
	SET_VARSIZE(result, VARHDRSZ + sizeof(secret));
	memcpy(VARDATA(result), &secret, sizeof(secret));
	return result;
}

/* _ward.check_secrets(secrets): the word for each, NULL for NULL. */
Datum
ward_seal_check_secrets(PG_FUNCTION_ARGS)
{
	KekChangeArray secrets = seal_kek_change_array(PG_GETARG_ARRAYTYPE_P(0), BYTEAOID);
	Datum *words = palloc0(sizeof(Datum) * Max(secrets.count, 1));
	SealKekPair pair = {0};
	uint8 *clear;

	core_preload_require();
	clear = core_secret_alloc(SEAL_SECRET_LENGTH);
	PG_TRY();
	{
		for (int i = 0; i < secrets.count; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (!secrets.nulls[i])
				words[i] =
					CStringGetTextDatum(seal_kek_change_check(&pair, secrets.values[i], clear));
		}
		seal_kek_change_warn(&pair);
	}
	PG_FINALLY();
	{
		seal_kek_pair_end(&pair);
		core_secret_free(clear, SEAL_SECRET_LENGTH);
	}
	PG_END_TRY();
	PG_RETURN_DATUM(seal_kek_change_result(words, secrets.nulls, secrets.count, TEXTOID));
}

/* _ward.rewrap_secrets(keys, secrets): the new secrets, NULL for those that stay. */
Datum
ward_seal_rewrap_secrets(PG_FUNCTION_ARGS)
{
	KekChangeArray keys = seal_kek_change_array(PG_GETARG_ARRAYTYPE_P(0), INT4OID);
	KekChangeArray secrets = seal_kek_change_array(PG_GETARG_ARRAYTYPE_P(1), BYTEAOID);
	Datum *wrapped = palloc0(sizeof(Datum) * Max(secrets.count, 1));
	uint64 generation = seal_keyring_generation();
	/* Secrets that only this transaction knows of do not belong there. */
	bool to_keyring = !seal_key_changed_here();
	SealKekPair pair = {0};
	uint8 *clear;

	Assert(keys.count == secrets.count);
	seal_key_sync();
	clear = core_secret_alloc(SEAL_SECRET_LENGTH);
	PG_TRY();
	{
		for (int i = 0; i < secrets.count; i++)
		{
			bytea *rewrapped;

			CHECK_FOR_INTERRUPTS();
			rewrapped = seal_kek_change_rewrap(&pair, DatumGetInt32(keys.values[i]),
											   secrets.values[i], clear, to_keyring, generation);
			wrapped[i] = PointerGetDatum(rewrapped);
			secrets.nulls[i] = rewrapped == NULL;
		}
	}
	PG_FINALLY();
	{
		seal_kek_pair_end(&pair);
		core_secret_free(clear, SEAL_SECRET_LENGTH);
	}
	PG_END_TRY();
	PG_RETURN_DATUM(seal_kek_change_result(wrapped, secrets.nulls, secrets.count, BYTEAOID));
}

/*
 * _ward.secrets_rewrapped(keys, old, new): the rows are changed; when that commits,
 * the keyring keeps these secrets under their new wrapping.
 */
Datum
ward_seal_secrets_rewrapped(PG_FUNCTION_ARGS)
{
	KekChangeArray keys = seal_kek_change_array(PG_GETARG_ARRAYTYPE_P(0), INT4OID);
	KekChangeArray before = seal_kek_change_array(PG_GETARG_ARRAYTYPE_P(1), BYTEAOID);
	KekChangeArray after = seal_kek_change_array(PG_GETARG_ARRAYTYPE_P(2), BYTEAOID);

	core_preload_require();
	for (int i = 0; i < keys.count; i++)
	{
		KekChangeSecret old_secret;
		KekChangeSecret new_secret;

		if (!after.nulls[i] && seal_kek_change_secret(before.values[i], &old_secret) &&
			seal_kek_change_secret(after.values[i], &new_secret))
			seal_keyring_rewrapped(DatumGetInt32(keys.values[i]), old_secret.wrapped,
								   new_secret.wrapped);
	}
	PG_RETURN_VOID();
}
