/*
 * cipher.c
 *		Every OpenSSL call of the seal layer: XAES-256-GCM, AES-256-CMAC, AES-KWP.
 *
 * Functions answer with bool or SealCipherResult and raise nothing (seal_int.h
 * says why), so the file also builds into stand-alone tests.  Each OpenSSL return is compared
 * with 1: some of these functions return 0, some negative numbers on failure.
 *
 * Algorithms are fetched once in a process and kept: a fetch by name, or the
 * implicit one behind EVP_aes_256_gcm(), costs more than sealing a value.
 *
 * No locks; every context belongs to one backend.
 */
#include "seal/seal_int.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

/* CMAC of longer input goes through OpenSSL in pieces of this size. */
#define CIPHER_PIECE 512

static EVP_CIPHER *cipher_gcm = NULL;
static EVP_CIPHER *cipher_cbc = NULL;
static EVP_CIPHER *cipher_kwp = NULL;

/* Fetches an algorithm the first time; NULL where this OpenSSL lacks it. */
static EVP_CIPHER *
seal_cipher_fetch(EVP_CIPHER **cipher, const char *name)
{
	if (*cipher == NULL)
	{
		*cipher = EVP_CIPHER_fetch(NULL, name, NULL);
		ERR_clear_error();
	}
	return *cipher;
}

/*
 * OpenSSL's queue of errors belongs to the whole backend: what is left in it would
 * turn up in the messages of a TLS connection.
 */
static bool
seal_cipher_done(bool ok)
{
	if (unlikely(!ok))
		ERR_clear_error();
	return ok;
}

/* Random bytes from the generator that OpenSSL keeps for secrets. */
bool
seal_cipher_random(void *out, Size len)
{
	return seal_cipher_done(RAND_priv_bytes(out, (int) len) == 1);
}

/* SHA-256. */
bool
seal_cipher_digest(const void *data, Size len, uint8 digest[32])
{
	unsigned int got = 0;

	return seal_cipher_done(EVP_Digest(data, len, digest, &got, EVP_sha256(), NULL) == 1 &&
							got == 32);
}

/* Frees a context and wipes its key schedule (OpenSSL does).  NULL is ignored. */
void
seal_cipher_free(SealCipher *cipher)
{
	EVP_CIPHER_CTX_free(cipher);
}

/* ----------------------------------------------------------------
 * AES-256-CMAC (NIST SP 800-38B, RFC 4493)
 * ----------------------------------------------------------------
 */

/* Doubles a block in GF(2^128): the sub-keys of CMAC. */
static void
seal_cipher_double(const uint8 in[16], uint8 out[16])
{
	uint8 carry = (uint8) - (in[0] >> 7);

	for (int i = 0; i < 15; i++)
		out[i] = (uint8) (in[i] << 1 | in[i + 1] >> 7);
	out[15] = (uint8) (in[15] << 1 ^ (carry & 0x87));
}

/*
 * Prepares a key.  On failure the context is empty and nothing of the key is left.
 */
bool
seal_cipher_mac_init(SealMac *mac, const uint8 key[SEAL_SECRET_LENGTH])
{
	static const uint8 zero[16] = {0};
	int len = 0;
	EVP_CIPHER *cbc = seal_cipher_fetch(&cipher_cbc, "AES-256-CBC");

	memset(mac, 0, sizeof(*mac));
	if (cbc == NULL)
		return false;
	mac->cbc = EVP_CIPHER_CTX_new();
	if (mac->cbc == NULL || EVP_EncryptInit_ex(mac->cbc, cbc, NULL, key, zero) != 1 ||
		EVP_CIPHER_CTX_set_padding(mac->cbc, 0) != 1 ||
		EVP_EncryptUpdate(mac->cbc, mac->chain, &len, zero, 16) != 1 || len != 16)
	{
		seal_cipher_mac_free(mac);
		return seal_cipher_done(false);
	}
	seal_cipher_double(mac->chain, mac->k1);
	seal_cipher_double(mac->k1, mac->k2);
	return true;
}

void
seal_cipher_mac_free(SealMac *mac)
{
	EVP_CIPHER_CTX_free(mac->cbc);
	OPENSSL_cleanse(mac, sizeof(*mac));
}

/*
 * CMAC of data.  The CBC context is never initialised again, which would cost
 * several times the cipher itself: it runs on, and since its state is the last
 * block that it put out, exclusive-or with that block starts a message afresh.
 *
 * On failure the state is unknown, so the context is freed and mac is unusable.
 */
bool
seal_cipher_mac(SealMac *mac, const void *data, Size len, uint8 out[16])
{
	uint8 in[CIPHER_PIECE];
	uint8 enciphered[CIPHER_PIECE];
	const uint8 *from = data;
	bool ok = mac->cbc != NULL;
	bool first = true;
	bool last = false;
	Size used = 0;

	while (ok && !last)
	{
		Size take = Min(len, (Size) CIPHER_PIECE);
		int got = 0;

		last = take == len;
		if (take > 0)
			memcpy(in, from, take);
		used = take;
		if (last)
		{
			bool whole = take > 0 && take % 16 == 0;
			const uint8 *subkey = whole ? mac->k1 : mac->k2;

			if (!whole)
			{
				in[used++] = 0x80;
				while (used % 16 != 0)
					in[used++] = 0;
			}
			for (int i = 0; i < 16; i++)
				in[used - 16 + i] ^= subkey[i];
		}
		if (first)
			for (int i = 0; i < 16; i++)
				in[i] ^= mac->chain[i];
		first = false;
		ok = EVP_EncryptUpdate(mac->cbc, enciphered, &got, in, (int) used) == 1 &&
			 (Size) got == used;
		if (ok)
			memcpy(mac->chain, enciphered + used - 16, 16);
		from += take;
		len -= take;
	}
	if (ok)
		memcpy(out, mac->chain, 16);
	else
		seal_cipher_mac_free(mac);
	/* The input is plaintext; of a short message only its bytes are there. */
	OPENSSL_cleanse(in, used > 64 ? sizeof(in) : 64);
	return seal_cipher_done(ok);
}

/*
 * A key for one purpose from a secret: NIST SP 800-108 in counter mode over
 * CMAC-AES256, [i]8 || label || 0x00 || [256]16, i = 1, 2.
 */
bool
seal_cipher_derive(const uint8 key[SEAL_SECRET_LENGTH], const char *label,
				   uint8 out[SEAL_SECRET_LENGTH])
{
	uint8 in[64];
	Size len = strlen(label);
	SealMac mac;
	bool ok;

	if (len > sizeof(in) - 4)
		return false;
	memcpy(in + 1, label, len);
	in[1 + len] = 0;
	in[2 + len] = 1;
	in[3 + len] = 0;
	if (!seal_cipher_mac_init(&mac, key))
		return false;
	in[0] = 1;
	ok = seal_cipher_mac(&mac, in, len + 4, out);
	in[0] = 2;
	ok = ok && seal_cipher_mac(&mac, in, len + 4, out + 16);
	seal_cipher_mac_free(&mac);
	if (!ok)
		OPENSSL_cleanse(out, SEAL_SECRET_LENGTH);
	return ok;
}

/* ----------------------------------------------------------------
 * AES-256-KWP (RFC 5649)
 * ----------------------------------------------------------------
 */

static EVP_CIPHER_CTX *
seal_cipher_kwp(const uint8 kek[SEAL_SECRET_LENGTH], int encrypt)
{
	EVP_CIPHER *kwp = seal_cipher_fetch(&cipher_kwp, "AES-256-WRAP-PAD");
	EVP_CIPHER_CTX *ctx = kwp == NULL ? NULL : EVP_CIPHER_CTX_new();

	if (ctx == NULL)
		return NULL;
	EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
	if (EVP_CipherInit_ex(ctx, kwp, NULL, kek, NULL, encrypt) != 1)
	{
		EVP_CIPHER_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

bool
seal_cipher_wrap(const uint8 kek[SEAL_SECRET_LENGTH], const uint8 secret[SEAL_SECRET_LENGTH],
				 uint8 wrapped[SEAL_WRAPPED_LENGTH])
{
	EVP_CIPHER_CTX *ctx = seal_cipher_kwp(kek, 1);
	int len = 0;
	bool ok;

	ok = ctx != NULL && EVP_CipherUpdate(ctx, wrapped, &len, secret, SEAL_SECRET_LENGTH) == 1 &&
		 len == SEAL_WRAPPED_LENGTH;
	EVP_CIPHER_CTX_free(ctx);
	return seal_cipher_done(ok);
}

/* FORGED: another KEK, or damaged bytes; secret is wiped then. */
SealCipherResult
seal_cipher_unwrap(const uint8 kek[SEAL_SECRET_LENGTH], const uint8 wrapped[SEAL_WRAPPED_LENGTH],
				   uint8 secret[SEAL_SECRET_LENGTH])
{
	EVP_CIPHER_CTX *ctx = seal_cipher_kwp(kek, 0);
	/* OpenSSL may write as many bytes as it reads before it checks them. */
	uint8 out[SEAL_WRAPPED_LENGTH + 8];
	int len = 0;
	bool ok;

	if (ctx == NULL)
	{
		(void) seal_cipher_done(false);
		return SEAL_CIPHER_FAILED;
	}
	ok = EVP_CipherUpdate(ctx, out, &len, wrapped, SEAL_WRAPPED_LENGTH) == 1 &&
		 len == SEAL_SECRET_LENGTH;
	EVP_CIPHER_CTX_free(ctx);
	if (ok)
		memcpy(secret, out, SEAL_SECRET_LENGTH);
	else
		OPENSSL_cleanse(secret, SEAL_SECRET_LENGTH);
	OPENSSL_cleanse(out, sizeof(out));
	return seal_cipher_done(ok) ? SEAL_CIPHER_OK : SEAL_CIPHER_FORGED;
}

/* ----------------------------------------------------------------
 * XAES-256-GCM (C2SP): a sub-key from half the nonce, then AES-256-GCM
 * ----------------------------------------------------------------
 */

/* The sub-key that the first half of a nonce selects. */
bool
seal_cipher_subkey(const uint8 key[SEAL_SECRET_LENGTH], const uint8 prefix[SEAL_NONCE_PREFIX],
				   uint8 subkey[SEAL_SECRET_LENGTH])
{
	/* [i]16 || 'X' || 0x00 || prefix is one block, so each half is one CMAC block. */
	uint8 in[16] = {0, 1, 'X', 0};
	SealMac mac;
	bool ok;

	memcpy(in + 4, prefix, SEAL_NONCE_PREFIX);
	if (!seal_cipher_mac_init(&mac, key))
		return false;
	ok = seal_cipher_mac(&mac, in, 16, subkey);
	in[1] = 2;
	ok = ok && seal_cipher_mac(&mac, in, 16, subkey + 16);
	seal_cipher_mac_free(&mac);
	if (!ok)
		OPENSSL_cleanse(subkey, SEAL_SECRET_LENGTH);
	return ok;
}

/*
 * Gives a context a sub-key, making the context where *gcm is NULL.  An existing
 * one keeps its cipher: passing that again would build everything anew.  On
 * failure the context is freed and *gcm is NULL.
 */
bool
seal_cipher_gcm_key(SealCipher **gcm, const uint8 subkey[SEAL_SECRET_LENGTH], bool sealing)
{
	EVP_CIPHER *cipher = NULL;
	bool ok;

	if (*gcm == NULL)
	{
		cipher = seal_cipher_fetch(&cipher_gcm, "AES-256-GCM");
		*gcm = cipher == NULL ? NULL : EVP_CIPHER_CTX_new();
	}
	ok = *gcm != NULL && EVP_CipherInit_ex(*gcm, cipher, NULL, subkey, NULL, sealing ? 1 : 0) == 1;
	if (!ok)
	{
		EVP_CIPHER_CTX_free(*gcm);
		*gcm = NULL;
	}
	return seal_cipher_done(ok);
}

/* Seals len bytes into out and auth.  iv is the second half of the nonce. */
bool
seal_cipher_gcm_seal(SealCipher *gcm, const uint8 iv[12], const void *aad, Size aadlen,
					 const void *data, Size len, void *out, uint8 auth[SEAL_AUTH_LENGTH])
{
	int got = 0;
	uint8 none[16];

	if (EVP_EncryptInit_ex(gcm, NULL, NULL, NULL, iv) != 1 ||
		(aadlen > 0 && EVP_EncryptUpdate(gcm, NULL, &got, aad, (int) aadlen) != 1) ||
		(len > 0 &&
		 (EVP_EncryptUpdate(gcm, out, &got, data, (int) len) != 1 || got != (int) len)) ||
		EVP_EncryptFinal_ex(gcm, none, &got) != 1 ||
		EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_GET_TAG, SEAL_AUTH_LENGTH, auth) != 1)
		return seal_cipher_done(false);
	return true;
}

/*
 * Opens len bytes into out.  Unless OK, out may hold unauthenticated bytes, which
 * the caller wipes and never uses.
 */
SealCipherResult
seal_cipher_gcm_open(SealCipher *gcm, const uint8 iv[12], const void *aad, Size aadlen,
					 const void *data, Size len, void *out, const uint8 auth[SEAL_AUTH_LENGTH])
{
	int got = 0;
	uint8 none[16];

	if (EVP_DecryptInit_ex(gcm, NULL, NULL, NULL, iv) != 1 ||
		(aadlen > 0 && EVP_DecryptUpdate(gcm, NULL, &got, aad, (int) aadlen) != 1) ||
		(len > 0 &&
		 (EVP_DecryptUpdate(gcm, out, &got, data, (int) len) != 1 || got != (int) len)) ||
		EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_SET_TAG, SEAL_AUTH_LENGTH,
							unconstify(uint8 *, auth)) != 1)
	{
		(void) seal_cipher_done(false);
		return SEAL_CIPHER_FAILED;
	}
	if (EVP_DecryptFinal_ex(gcm, none, &got) != 1)
	{
		(void) seal_cipher_done(false);
		return SEAL_CIPHER_FORGED;
	}
	return SEAL_CIPHER_OK;
}
