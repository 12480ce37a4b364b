/*
 * kek_software.c
 *		What providers share that hand out the KEK's bytes (file, command).
 *
 * The KEK is loaded when its use begins and wiped when it ends, into locked memory
 * that each backend keeps for the purpose.  It is used when a key is made and when
 * the keyring lacks one, so rarely that keeping it would gain nothing; and a KEK that
 * has been taken away (the file removed) is out of the server's memory, too.
 *
 * No locks; everything is private to the backend.
 */
#include "seal/kek_int.h"

/* One for each of the two KEKs. */
static uint8 *kek_memory[SEAL_KEKS] = {NULL, NULL};

/* Parses 64 digits; false on anything else. */
static bool
seal_kek_software_parse_hex(const uint8 *text, uint8 kek[SEAL_SECRET_LENGTH])
{
	for (int i = 0; i < 2 * SEAL_SECRET_LENGTH; i++)
	{
		uint8 c = text[i];
		uint8 digit;

		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (c >= 'a' && c <= 'f')
			digit = c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			digit = c - 'A' + 10;
		else
			return false;
		kek[i / 2] = (uint8) (i % 2 == 0 ? digit << 4 : kek[i / 2] | digit);
	}
	return true;
}

/* Takes the KEK out of 32 bytes, or 64 digits and a line break; false where it is neither. */
bool
seal_kek_software_parse(const uint8 *content, int len, uint8 kek[SEAL_SECRET_LENGTH])
{
	if (len == SEAL_SECRET_LENGTH)
	{
		memcpy(kek, content, SEAL_SECRET_LENGTH);
		return true;
	}
	if (len > 2 * SEAL_SECRET_LENGTH && content[len - 1] == '\n')
		len--;
	if (len > 2 * SEAL_SECRET_LENGTH && content[len - 1] == '\r')
		len--;
	return len == 2 * SEAL_SECRET_LENGTH && seal_kek_software_parse_hex(content, kek);
}

static bool
seal_kek_software_failed(SealKekFault *fault, const char *doing)
{
	return seal_kek_fault(fault, ERRCODE_WARD_CRYPTO_FAILED,
						  psprintf("could not %s: OpenSSL failed", doing), NULL, NULL,
						  "Check the server's OpenSSL configuration: AES-256 in the modes CBC and "
						  "WRAP-PAD must be available.");
}

/* See kek_int.h. */
bool
seal_kek_software_begin(SealKekUse *use, SealKekFault *fault)
{
	uint8 **memory = &kek_memory[use->source - seal_setting_kek];

	if (*memory == NULL)
		*memory = core_secret_alloc(SEAL_SECRET_LENGTH);
	use->kek = *memory;
	return use->provider->load(use->source, use->kek, fault);
}

/* See kek_int.h. */
bool
seal_kek_software_fingerprint(SealKekUse *use, uint8 fingerprint[SEAL_FINGERPRINT_LENGTH],
							  SealKekFault *fault)
{
	SealMac mac;
	bool ok = seal_cipher_mac_init(&mac, use->kek);

	if (ok)
	{
		ok = seal_cipher_mac(&mac, seal_kek_constant, SEAL_KEK_CONSTANT_LENGTH, fingerprint);
		seal_cipher_mac_free(&mac);
	}
	return ok || seal_kek_software_failed(fault, "identify the key-encryption key");
}

/* See kek_int.h. */
bool
seal_kek_software_wrap(SealKekUse *use, const uint8 secret[SEAL_SECRET_LENGTH],
					   uint8 wrapped[SEAL_WRAPPED_LENGTH], SealKekFault *fault)
{
	return seal_cipher_wrap(use->kek, secret, wrapped) ||
		   seal_kek_software_failed(fault, "wrap a key");
}

/* See kek_int.h. */
SealCipherResult
seal_kek_software_unwrap(SealKekUse *use, const uint8 wrapped[SEAL_WRAPPED_LENGTH],
						 uint8 secret[SEAL_SECRET_LENGTH], SealKekFault *fault)
{
	SealCipherResult result = seal_cipher_unwrap(use->kek, wrapped, secret);

	if (result == SEAL_CIPHER_FAILED)
		(void) seal_kek_software_failed(fault, "unwrap a key");
	return result;
}

/* See kek_int.h. */
void
seal_kek_software_end(SealKekUse *use)
{
	if (use->kek != NULL)
		core_secret_wipe(use->kek, SEAL_SECRET_LENGTH);
	use->kek = NULL;
}
