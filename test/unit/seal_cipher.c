// link: extension/seal/cipher.c
/*
 * The ciphers of the seal layer against published vectors: XAES-256-GCM (C2SP, the
 * accumulated ones too), AES-256-CMAC (NIST SP 800-38B), AES-KWP (RFC 5649, through
 * an implementation of our own over the block cipher).
 */
#include "seal/seal_int.h"

#include <openssl/evp.h>

/* The server's own are in no library that a stand-alone test could link. */
#undef printf
#undef snprintf

static int tests = 0;
static int failures = 0;

static void
ok(bool good, const char *what)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++tests, what);
	if (!good)
		failures++;
}

static Size
unhex(const char *hex, uint8 *out)
{
	Size len = 0;

	for (; *hex; hex += 2, len++)
	{
		unsigned int byte;

		sscanf(hex, "%2x", &byte);
		out[len] = (uint8) byte;
	}
	return len;
}

static bool
is_hex(const uint8 *got, const char *hex)
{
	uint8 want[512];
	Size len = unhex(hex, want);

	return memcmp(got, want, len) == 0;
}

/* XAES-256-GCM as the envelope uses it: a sub-key, then GCM. */
static bool
xaes_seal(const uint8 *key, const uint8 *nonce, const void *aad, Size aadlen, const void *data,
		  Size len, uint8 *out)
{
	static SealCipher *gcm = NULL;
	uint8 subkey[32];

	return seal_cipher_subkey(key, nonce, subkey) && seal_cipher_gcm_key(&gcm, subkey, true) &&
		   seal_cipher_gcm_seal(gcm, nonce + 12, aad, aadlen, data, len, out, out + len);
}

static SealCipherResult
xaes_open(const uint8 *key, const uint8 *nonce, const void *aad, Size aadlen, const uint8 *data,
		  Size len, uint8 *out)
{
	static SealCipher *gcm = NULL;
	uint8 subkey[32];

	if (!seal_cipher_subkey(key, nonce, subkey) || !seal_cipher_gcm_key(&gcm, subkey, false))
		return SEAL_CIPHER_FAILED;
	return seal_cipher_gcm_open(gcm, nonce + 12, aad, aadlen, data, len - 16, out, data + len - 16);
}

static void
test_xaes_vectors(void)
{
	const uint8 *nonce = (const uint8 *) "ABCDEFGHIJKLMNOPQRSTUVWX";
	const char *aad = "c2sp.org/XAES-256-GCM";
	uint8 key[32];
	uint8 out[64];
	uint8 opened[64];

	memset(key, 1, 32);
	ok(seal_cipher_subkey(key, nonce, out) &&
		   is_hex(out, "c8612c9ed53fe43e8e005b828a1631a0bbcb6ab2f46514ec4f439fcfd0fa969b"),
	   "sub-key, most significant bit of L clear");
	ok(xaes_seal(key, nonce, "", 0, "XAES-256-GCM", 12, out) &&
		   is_hex(out, "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
	   "first vector, no additional data");
	ok(xaes_open(key, nonce, "", 0, out, 28, opened) == SEAL_CIPHER_OK &&
		   memcmp(opened, "XAES-256-GCM", 12) == 0,
	   "first vector opens");

	memset(key, 3, 32);
	ok(seal_cipher_subkey(key, nonce, out) &&
		   is_hex(out, "e9c621d4cdd9b11b00a6427ad7e559aeedd66b3857646677748f8ca796cb3fd8"),
	   "sub-key, most significant bit of L set");
	ok(xaes_seal(key, nonce, aad, strlen(aad), "XAES-256-GCM", 12, out) &&
		   is_hex(out, "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
	   "second vector, with additional data");
	ok(xaes_open(key, nonce, aad, strlen(aad), out, 28, opened) == SEAL_CIPHER_OK &&
		   memcmp(opened, "XAES-256-GCM", 12) == 0,
	   "second vector opens");

	{
		bool all = true;

		for (int bit = 0; bit < 28 * 8; bit++)
		{
			out[bit / 8] ^= (uint8) (1 << bit % 8);
			all = all &&
				  xaes_open(key, nonce, aad, strlen(aad), out, 28, opened) == SEAL_CIPHER_FORGED;
			out[bit / 8] ^= (uint8) (1 << bit % 8);
		}
		ok(all, "any flipped bit of ciphertext or tag is noticed");
		ok(xaes_open(key, nonce, "c2sp.org/XAES-256-GCN", 21, out, 28, opened) ==
			   SEAL_CIPHER_FORGED,
		   "changed additional data is noticed");
		ok(xaes_open(key, nonce, aad, strlen(aad), out, 28, opened) == SEAL_CIPHER_OK,
		   "a context opens again after forgeries");
	}
}

/* The accumulated vectors: 10000 messages drawn from SHAKE-128, hashed with it. */
static void
test_xaes_accumulated(void)
{
	Size size = 10000 * (32 + 24 + 1 + 255 + 1 + 255);
	uint8 *stream = malloc(size);
	uint8 *at = stream;
	uint8 sealed[512];
	uint8 opened[512];
	uint8 hash[32];
	bool opens = true;
	EVP_MD_CTX *rng = EVP_MD_CTX_new();
	EVP_MD_CTX *digest = EVP_MD_CTX_new();

	if (EVP_DigestInit_ex(rng, EVP_shake128(), NULL) != 1 ||
		EVP_DigestFinalXOF(rng, stream, size) != 1 ||
		EVP_DigestInit_ex(digest, EVP_shake128(), NULL) != 1)
	{
		ok(false, "SHAKE-128 is there");
		return;
	}
	ok(is_hex(stream, "7f9c2ba4e88f827d616045507605853e"), "the stream starts as published");
	for (int i = 0; i < 10000; i++)
	{
		const uint8 *key = at;
		const uint8 *nonce = key + 32;
		Size len = nonce[24];
		const uint8 *data = nonce + 25;
		Size aadlen = data[len];
		const uint8 *aad = data + len + 1;

		at += 32 + 24 + 1 + len + 1 + aadlen;
		if (!xaes_seal(key, nonce, aad, aadlen, data, len, sealed))
			opens = false;
		EVP_DigestUpdate(digest, sealed, len + 16);
		if (xaes_open(key, nonce, aad, aadlen, sealed, len + 16, opened) != SEAL_CIPHER_OK ||
			memcmp(opened, data, len) != 0)
			opens = false;
	}
	EVP_DigestFinalXOF(digest, hash, 32);
	ok(is_hex(hash, "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"),
	   "accumulated hash of 10000 messages");
	ok(opens, "each of them opens");
	EVP_MD_CTX_free(rng);
	EVP_MD_CTX_free(digest);
	free(stream);
}

static void
test_cmac(void)
{
	static const struct
	{
		Size len;
		const char *mac;
	} vectors[] = {{0, "028962f61b7bf89efc6b551f4667d983"},
				   {16, "28a7023f452e8f82bd4bf28d8c37c35c"},
				   {40, "aaf3d8f1de5640c232f5b169b9c911e6"},
				   {64, "e1992190549f6ed5696a2c056c315410"}};
	uint8 key[32];
	uint8 data[2100];
	uint8 out[16];
	SealMac mac;
	bool same = true;
	bool again = true;

	unhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", key);
	unhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
		  "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
		  data);
	if (!seal_cipher_mac_init(&mac, key))
	{
		ok(false, "CMAC is there");
		return;
	}
	for (int i = 0; i < 4; i++)
	{
		char what[64];

		snprintf(what, sizeof(what), "CMAC of %d bytes", (int) vectors[i].len);
		ok(seal_cipher_mac(&mac, data, vectors[i].len, out) && is_hex(out, vectors[i].mac), what);
	}
	for (int round = 0; round < 50; round++)
		for (int i = 0; i < 4; i++)
			again = again && seal_cipher_mac(&mac, data, vectors[i].len, out) &&
					is_hex(out, vectors[i].mac);
	ok(again, "a running context gives the same MACs each time");

	/* Against OpenSSL's own CMAC, over every length that meets a piece's edge. */
	for (int i = 0; i < (int) sizeof(data); i++)
		data[i] = (uint8) (i * 7 + (i >> 8));
	for (Size len = 0; len <= sizeof(data); len += (len < 70 || len % 512 > 490) ? 1 : 13)
	{
		EVP_MAC *algorithm = EVP_MAC_fetch(NULL, "CMAC", NULL);
		EVP_MAC_CTX *theirs = EVP_MAC_CTX_new(algorithm);
		char name[] = "AES-256-CBC";
		OSSL_PARAM params[] = {{"cipher", OSSL_PARAM_UTF8_STRING, name, sizeof(name) - 1, 0},
							   {NULL, 0, NULL, 0, 0}};
		uint8 want[16];
		size_t got = 0;

		same = same && EVP_MAC_init(theirs, key, 32, params) == 1 &&
			   EVP_MAC_update(theirs, data, len) == 1 &&
			   EVP_MAC_final(theirs, want, &got, 16) == 1 && got == 16 &&
			   seal_cipher_mac(&mac, data, len, out) && memcmp(want, out, 16) == 0;
		EVP_MAC_CTX_free(theirs);
		EVP_MAC_free(algorithm);
	}
	ok(same, "the same as OpenSSL's CMAC at other lengths");
	seal_cipher_mac_free(&mac);
	ok(!seal_cipher_mac(&mac, data, 1, out), "a freed MAC refuses to work");
}

/* RFC 5649 with the block cipher alone. */
static void
own_kwp(const EVP_CIPHER *cipher, const uint8 *kek, const uint8 *in, Size len, uint8 *out)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	Size blocks = (len + 7) / 8;
	uint8 b[16];
	int got;

	EVP_EncryptInit_ex(ctx, cipher, NULL, kek, NULL);
	EVP_CIPHER_CTX_set_padding(ctx, 0);
	memset(out, 0, (blocks + 1) * 8);
	unhex("a65959a6", out);
	for (int i = 0; i < 4; i++)
		out[4 + i] = (uint8) (len >> (24 - 8 * i));
	memcpy(out + 8, in, len);
	if (blocks == 1)
	{
		memcpy(b, out, 16);
		EVP_EncryptUpdate(ctx, out, &got, b, 16);
	}
	else
		for (Size j = 0; j < 6; j++)
			for (Size i = 1; i <= blocks; i++)
			{
				Size t = blocks * j + i;

				memcpy(b, out, 8);
				memcpy(b + 8, out + 8 * i, 8);
				EVP_EncryptUpdate(ctx, b, &got, b, 16);
				memcpy(out, b, 8);
				for (int k = 0; k < 8; k++)
					out[7 - k] ^= (uint8) (t >> (8 * k));
				memcpy(out + 8 * i, b + 8, 8);
			}
	EVP_CIPHER_CTX_free(ctx);
}

static void
test_kwp(void)
{
	uint8 kek[32];
	uint8 in[32];
	uint8 out[64];
	uint8 wrapped[SEAL_WRAPPED_LENGTH];
	uint8 back[32];
	bool same = true;
	bool noticed = true;

	unhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8", kek);
	own_kwp(EVP_aes_192_ecb(), kek, in, unhex("c37b7e6492584340bed12207808941155068f738", in), out);
	ok(is_hex(out, "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"),
	   "our own RFC 5649, 20 octets");
	own_kwp(EVP_aes_192_ecb(), kek, in, unhex("466f7250617369", in), out);
	ok(is_hex(out, "afbeb0f07dfbf5419200f2ccb50bb24f"), "our own RFC 5649, 7 octets");

	for (int round = 0; round < 100; round++)
	{
		same = same && seal_cipher_random(kek, 32) && seal_cipher_random(in, 32);
		own_kwp(EVP_aes_256_ecb(), kek, in, 32, out);
		same = same && seal_cipher_wrap(kek, in, wrapped) &&
			   memcmp(out, wrapped, SEAL_WRAPPED_LENGTH) == 0 &&
			   seal_cipher_unwrap(kek, wrapped, back) == SEAL_CIPHER_OK &&
			   memcmp(back, in, 32) == 0;
	}
	ok(same, "wrapped as RFC 5649 says, and unwrapped");
	for (int i = 0; i < SEAL_WRAPPED_LENGTH; i++)
	{
		wrapped[i] ^= 1;
		noticed = noticed && seal_cipher_unwrap(kek, wrapped, back) == SEAL_CIPHER_FORGED;
		wrapped[i] ^= 1;
	}
	ok(noticed, "damage in any byte is noticed");
	kek[5] ^= 4;
	memset(back, 7, 32);
	ok(seal_cipher_unwrap(kek, wrapped, back) == SEAL_CIPHER_FORGED, "another KEK is noticed");
	memset(out, 0, 32);
	ok(memcmp(back, out, 32) == 0, "and nothing is left in the result");
}

static void
test_derive(void)
{
	uint8 key[32];
	uint8 out[32];
	uint8 other[32];
	uint8 in[32];
	uint8 want[16];
	SealMac mac;

	for (int i = 0; i < 32; i++)
		key[i] = (uint8) i;
	ok(seal_cipher_derive(key, "tag", out) && seal_cipher_derive(key, "tah", other) &&
		   memcmp(out, other, 32) != 0,
	   "labels give different keys");
	memcpy(in, "\002tag\0\001\0", 7);
	ok(seal_cipher_mac_init(&mac, key) && seal_cipher_mac(&mac, in, 7, want) &&
		   memcmp(want, out + 16, 16) == 0,
	   "SP 800-108 in counter mode, second block");
	seal_cipher_mac_free(&mac);
	ok(seal_cipher_digest("abc", 3, out) &&
		   is_hex(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
	   "SHA-256");
}

int
main(void)
{
	test_xaes_vectors();
	test_xaes_accumulated();
	test_cmac();
	test_kwp();
	test_derive();
	printf("1..%d\n", tests);
	return failures != 0;
}
