/*
 * kek.c
 *		The key-encryption key: asks its provider to wrap and unwrap with it.
 *
 * A fingerprint of the KEK is stored beside what it wrapped.  It tells "this is
 * another KEK" (the operator's mistake, WD104) from "these bytes are damaged"
 * (WD204), which the integrity check of AES-KWP alone can't; and while the KEK is
 * being changed it tells which of the two is needed.
 *
 * Fails closed: no secret is handed out on any error.  A use of a KEK ends on every
 * path, errors included.  No locks.
 */
#include "seal/kek_int.h"

/* By the values of the settings. */
static const SealKekProvider *const seal_kek_providers[] = {&seal_kek_file, &seal_kek_command,
															&seal_kek_pkcs11};

const char seal_kek_constant[] = "pg_ward KEK fingerprint";
StaticAssertDecl(sizeof(seal_kek_constant) - 1 == SEAL_KEK_CONSTANT_LENGTH,
				 "the fingerprint's constant may never change");

/* See kek_int.h. */
bool
seal_kek_fault(SealKekFault *fault, int code, const char *message, const char *detail,
			   const char *log, const char *hint)
{
	fault->code = code;
	fault->message = message;
	fault->detail = detail;
	fault->log = log;
	fault->hint = hint;
	return false;
}

/* See kek_int.h. */
void
seal_kek_raise(const SealKekFault *fault)
{
	ereport(ERROR, (errcode(fault->code), errmsg("%s", fault->message),
					fault->detail ? errdetail("%s", fault->detail) : 0,
					fault->log ? errdetail_log("%s%s%s", fault->detail ? fault->detail : "",
											   fault->detail ? " " : "", fault->log)
							   : 0,
					fault->hint ? errhint("%s", fault->hint) : 0));
}

/* See kek_int.h. */
char *
seal_kek_setting(const SealKekSource *source, const char *name)
{
	return psprintf("%s_%s", source->prefix, name);
}

/* See kek_int.h. */
bool
seal_kek_configured(SealKekWhich which)
{
	return seal_setting_kek[which].provider != SEAL_KEK_PROVIDER_NONE;
}

/* See kek_int.h. */
SealKekUse *
seal_kek_pair_get(SealKekPair *pair, SealKekWhich which)
{
	SealKekUse *use = &pair->use[which];
	SealKekFault *fault = &pair->fault[which];

	if (!pair->tried[which] && seal_kek_configured(which))
	{
		pair->tried[which] = true;
		use->source = &seal_setting_kek[which];
		use->provider = seal_kek_providers[use->source->provider];
		pair->ready[which] = use->provider->begin(use, fault) &&
							 use->provider->fingerprint(use, use->fingerprint, fault);
	}
	return pair->ready[which] ? use : NULL;
}

/* See kek_int.h. */
void
seal_kek_pair_end(SealKekPair *pair)
{
	for (int which = 0; which < SEAL_KEKS; which++)
		if (pair->use[which].provider != NULL)
			pair->use[which].provider->end(&pair->use[which]);
}

/* Unwraps by one KEK that has begun; raises where the provider fails now. */
static SealCipherResult
seal_kek_pair_try(SealKekPair *pair, SealKekWhich which, const uint8 wrapped[SEAL_WRAPPED_LENGTH],
				  uint8 secret[SEAL_SECRET_LENGTH])
{
	SealKekUse *use = &pair->use[which];
	SealCipherResult result = use->provider->unwrap(use, wrapped, secret, &pair->fault[which]);

	if (result == SEAL_CIPHER_FAILED)
		seal_kek_raise(&pair->fault[which]);
	return result;
}

/* See kek_int.h. */
SealKekFit
seal_kek_pair_unwrap(SealKekPair *pair, const uint8 wrapped[SEAL_WRAPPED_LENGTH],
					 const uint8 fingerprint[SEAL_FINGERPRINT_LENGTH],
					 uint8 secret[SEAL_SECRET_LENGTH], SealKekWhich *which)
{
	for (int i = 0; i < SEAL_KEKS; i++)
	{
		SealKekUse *use = seal_kek_pair_get(pair, i);

		if (use == NULL ||
			!core_secret_equal(use->fingerprint, fingerprint, SEAL_FINGERPRINT_LENGTH))
			continue;
		*which = i;
		return seal_kek_pair_try(pair, i, wrapped, secret) == SEAL_CIPHER_OK ? SEAL_KEK_FITS
																			 : SEAL_KEK_DAMAGED;
	}
	/* The fingerprint may be what is damaged, so each is tried anyhow. */
	for (int i = 0; i < SEAL_KEKS; i++)
	{
		if (seal_kek_pair_get(pair, i) == NULL)
			continue;
		*which = i;
		if (seal_kek_pair_try(pair, i, wrapped, secret) == SEAL_CIPHER_OK)
			return SEAL_KEK_FITS;
	}
	return SEAL_KEK_OTHER;
}

/* See kek_int.h. */
void
seal_kek_pair_refuse(const SealKekPair *pair)
{
	for (int i = 0; i < SEAL_KEKS; i++)
		if (pair->fault[i].code != 0)
			seal_kek_raise(&pair->fault[i]);
	if (seal_kek_configured(SEAL_KEK_PREVIOUS))
		ereport(ERROR,
				(errcode(ERRCODE_WARD_KEK_CORRUPT),
				 errmsg("neither key-encryption key is the one that wrapped this key"),
				 errdetail("Providers \"%s\" (current) and \"%s\" (previous) gave other "
						   "key-encryption keys than the one in use when the key was wrapped.",
						   pair->use[SEAL_KEK_CURRENT].provider->name,
						   pair->use[SEAL_KEK_PREVIOUS].provider->name),
				 errhint("Restore the original key-encryption key. Without it nothing sealed "
						 "under this key can be opened.")));
	ereport(
		ERROR,
		(errcode(ERRCODE_WARD_KEK_CORRUPT),
		 errmsg("the key-encryption key is not the one that wrapped this key"),
		 errdetail("Provider \"%s\" gave another key-encryption key than the one in use when the "
				   "key was wrapped.",
				   pair->use[SEAL_KEK_CURRENT].provider->name),
		 errhint("Restore the original key-encryption key, or name it in ward.kek_previous_* if it "
				 "is being changed. Without it nothing sealed under this key can be opened.")));
}

/* See seal_int.h.  Raises WD101 to WD104, WD220. */
void
seal_kek_wrap(const uint8 secret[SEAL_SECRET_LENGTH], uint8 wrapped[SEAL_WRAPPED_LENGTH],
			  uint8 fingerprint[SEAL_FINGERPRINT_LENGTH])
{
	SealKekPair pair = {0};

	PG_TRY();
	{
		SealKekUse *use = seal_kek_pair_get(&pair, SEAL_KEK_CURRENT);

		if (use == NULL ||
			!use->provider->wrap(use, secret, wrapped, &pair.fault[SEAL_KEK_CURRENT]))
			seal_kek_raise(&pair.fault[SEAL_KEK_CURRENT]);
		memcpy(fingerprint, use->fingerprint, SEAL_FINGERPRINT_LENGTH);
	}
	PG_CATCH();
	{
		seal_kek_pair_end(&pair);
		PG_RE_THROW();
	}
	PG_END_TRY();
	seal_kek_pair_end(&pair);
}

/* See seal_int.h.  Raises WD101 to WD104, WD220. */
void
seal_kek_fingerprint(uint8 fingerprint[SEAL_FINGERPRINT_LENGTH])
{
	SealKekPair pair = {0};

	PG_TRY();
	{
		SealKekUse *use = seal_kek_pair_get(&pair, SEAL_KEK_CURRENT);

		if (use == NULL)
			seal_kek_raise(&pair.fault[SEAL_KEK_CURRENT]);
		memcpy(fingerprint, use->fingerprint, SEAL_FINGERPRINT_LENGTH);
	}
	PG_CATCH();
	{
		seal_kek_pair_end(&pair);
		PG_RE_THROW();
	}
	PG_END_TRY();
	seal_kek_pair_end(&pair);
}

/* See seal_int.h.  Raises WD101 to WD104, WD220. */
bool
seal_kek_unwrap(const uint8 wrapped[SEAL_WRAPPED_LENGTH],
				const uint8 fingerprint[SEAL_FINGERPRINT_LENGTH], uint8 secret[SEAL_SECRET_LENGTH])
{
	SealKekPair pair = {0};
	volatile SealKekFit fit = SEAL_KEK_OTHER;

	PG_TRY();
	{
		SealKekWhich which;

		fit = seal_kek_pair_unwrap(&pair, wrapped, fingerprint, secret, &which);
		if (fit == SEAL_KEK_OTHER)
			seal_kek_pair_refuse(&pair);
	}
	PG_CATCH();
	{
		core_secret_wipe(secret, SEAL_SECRET_LENGTH);
		seal_kek_pair_end(&pair);
		PG_RE_THROW();
	}
	PG_END_TRY();
	seal_kek_pair_end(&pair);
	return fit == SEAL_KEK_FITS;
}
