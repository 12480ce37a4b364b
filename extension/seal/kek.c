/*
 * kek.c
 *		The key-encryption key: asks the provider for it, wraps and unwraps with it.
 *
 * The KEK is fetched for each use and wiped at once.  It is used when a key is
 * made and when the keyring lacks one, so rarely that keeping it would gain
 * nothing; and a KEK that has been taken away (the file removed, the token
 * unplugged) is out of the server's memory, too.
 *
 * A fingerprint of the KEK is stored beside what it wrapped.  It tells "this is
 * another KEK" (the operator's mistake, WD104) from "these bytes are damaged"
 * (WD204), which the integrity check of AES-KWP alone can't.
 *
 * Fails closed: no secret is handed out on any error.  No locks.
 */
#include "seal/seal_int.h"

/* By the values of ward.kek_provider. */
static const SealKekProvider *const seal_kek_providers[] = {&seal_kek_file};

/* Locked memory for the KEK while it is in use; one for each backend. */
static uint8 *kek_memory = NULL;

static uint8 *
seal_kek_borrow(void)
{
	if (kek_memory == NULL)
		kek_memory = core_secret_alloc(SEAL_SECRET_LENGTH);
	return kek_memory;
}

/* Loads the KEK; wipes what a provider may have left on error. */
static void
seal_kek_load(uint8 kek[SEAL_SECRET_LENGTH])
{
	PG_TRY();
	{
		seal_kek_providers[seal_setting_kek_provider]->load(kek);
	}
	PG_CATCH();
	{
		core_secret_wipe(kek, SEAL_SECRET_LENGTH);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* CMAC of a constant: says which KEK it is and nothing about it. */
static bool
seal_kek_mark(const uint8 kek[SEAL_SECRET_LENGTH], uint8 fingerprint[SEAL_FINGERPRINT_LENGTH])
{
	static const char constant[] = "pg_ward KEK fingerprint";
	SealMac mac;
	bool ok;

	if (!seal_cipher_mac_init(&mac, kek))
		return false;
	ok = seal_cipher_mac(&mac, constant, sizeof(constant) - 1, fingerprint);
	seal_cipher_mac_free(&mac);
	return ok;
}

/* See seal_int.h.  Raises WD101 to WD104, WD220. */
void
seal_kek_fingerprint(uint8 fingerprint[SEAL_FINGERPRINT_LENGTH])
{
	uint8 *kek = seal_kek_borrow();
	bool ok;

	seal_kek_load(kek);
	ok = seal_kek_mark(kek, fingerprint);
	core_secret_wipe(kek, SEAL_SECRET_LENGTH);
	if (!ok)
		seal_key_cipher_failed("identify the key-encryption key");
}

/* See seal_int.h.  Raises WD101 to WD104, WD220. */
void
seal_kek_wrap(const uint8 secret[SEAL_SECRET_LENGTH], uint8 wrapped[SEAL_WRAPPED_LENGTH],
			  uint8 fingerprint[SEAL_FINGERPRINT_LENGTH])
{
	uint8 *kek = seal_kek_borrow();
	bool ok;

	seal_kek_load(kek);
	ok = seal_kek_mark(kek, fingerprint) && seal_cipher_wrap(kek, secret, wrapped);
	core_secret_wipe(kek, SEAL_SECRET_LENGTH);
	if (!ok)
		seal_key_cipher_failed("wrap a key");
}

/* See seal_int.h.  Raises WD101 to WD104, WD220. */
bool
seal_kek_unwrap(const uint8 wrapped[SEAL_WRAPPED_LENGTH],
				const uint8 fingerprint[SEAL_FINGERPRINT_LENGTH], uint8 secret[SEAL_SECRET_LENGTH])
{
	uint8 *kek = seal_kek_borrow();
	uint8 have[SEAL_FINGERPRINT_LENGTH];
	SealCipherResult result = SEAL_CIPHER_FAILED;
	bool same = false;

	seal_kek_load(kek);
	if (seal_kek_mark(kek, have))
	{
		same = core_secret_equal(have, fingerprint, SEAL_FINGERPRINT_LENGTH);
		/* The fingerprint may be what is damaged, so the KEK is tried anyhow. */
		result = seal_cipher_unwrap(kek, wrapped, secret);
	}
	core_secret_wipe(kek, SEAL_SECRET_LENGTH);
	if (result == SEAL_CIPHER_FAILED)
		seal_key_cipher_failed("unwrap a key");
	if (result == SEAL_CIPHER_FORGED && !same)
		ereport(ERROR,
				(errcode(ERRCODE_WARD_KEK_CORRUPT),
				 errmsg("the key-encryption key is not the one that wrapped this key"),
				 errdetail("Provider \"%s\" gave another key-encryption key than the one in use "
						   "when the key was created.",
						   seal_kek_providers[seal_setting_kek_provider]->name),
				 errhint("Restore the original key-encryption key. Without it nothing sealed "
						 "under this key can be opened.")));
	return result == SEAL_CIPHER_OK;
}
