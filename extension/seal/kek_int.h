/*
 * kek_int.h
 *		Shared by the files that deal with the key-encryption key (kek*.c, setting.c).
 *
 * There may be two KEKs: the current one, which wraps, and while the KEK is being
 * changed the previous one, which only unwraps.  Each is where its settings say.
 *
 * Providers do not raise what is wrong with a KEK but describe it (SealKekFault):
 * with two KEKs the failure of one must not keep the other from being asked.  What
 * they may raise is a cancelled statement and lack of memory.
 */
#ifndef WARD_SEAL_KEK_INT_H
#define WARD_SEAL_KEK_INT_H

#include "seal/seal_int.h"

#include <sys/stat.h>

typedef enum SealKekWhich
{
	SEAL_KEK_CURRENT,
	SEAL_KEK_PREVIOUS
} SealKekWhich;

#define SEAL_KEKS 2

/* ---- setting.c ---- */

/* Values of ward.kek_provider and ward.kek_previous_provider. */
#define SEAL_KEK_PROVIDER_NONE (-1)
#define SEAL_KEK_PROVIDER_FILE 0
#define SEAL_KEK_PROVIDER_COMMAND 1
#define SEAL_KEK_PROVIDER_PKCS11 2

/* Where a KEK is.  Belongs to the GUCs; strings are never NULL after set-up. */
typedef struct SealKekSource
{
	const char *prefix; /* of its settings' names */
	int provider;
	char *file;
	char *command;
	char *module;
	char *token;
	char *key;
	char *pin_file;
} SealKekSource;

extern SealKekSource seal_setting_kek[SEAL_KEKS];
extern int seal_setting_kek_command_timeout;

/* ---- kek.c ---- */

/* What is wrong; all of it is palloc'd or constant.  log goes to the server log alone. */
typedef struct SealKekFault
{
	int code; /* ERRCODE_WARD_KEK_*, or ERRCODE_WARD_CRYPTO_FAILED; 0: nothing is wrong */
	const char *message;
	const char *detail;
	const char *log;
	const char *hint;
} SealKekFault;

/* Fills a fault; false, so that callers can return it. */
extern bool seal_kek_fault(SealKekFault *fault, int code, const char *message, const char *detail,
						   const char *log, const char *hint);
extern void seal_kek_raise(const SealKekFault *fault) pg_attribute_noreturn();

/* The name of one of a source's settings, for messages; palloc'd. */
extern char *seal_kek_setting(const SealKekSource *source, const char *name);

typedef struct SealKekProvider SealKekProvider;

/* A KEK in use: from begin to end. */
typedef struct SealKekUse
{
	const SealKekProvider *provider;
	const SealKekSource *source;
	uint8 *kek; /* for software providers: locked memory, wiped by end */
	uint8 fingerprint[SEAL_FINGERPRINT_LENGTH];
} SealKekUse;

/*
 * A provider's operations.  The KEK itself need not leave it.  Each returns whether
 * it worked, and on failure has described the fault.
 */
struct SealKekProvider
{
	const char *name;
	/* For software providers alone: fills kek; what it read elsewhere it has wiped. */
	bool (*load)(const SealKekSource *source, uint8 kek[SEAL_SECRET_LENGTH], SealKekFault *fault);
	/* Makes the KEK ready; end is called afterwards, also when this fails or raises. */
	bool (*begin)(SealKekUse *use, SealKekFault *fault);
	/* CMAC of seal_kek_constant: the same key has the same one in any provider. */
	bool (*fingerprint)(SealKekUse *use, uint8 fingerprint[SEAL_FINGERPRINT_LENGTH],
						SealKekFault *fault);
	/* AES-KWP, RFC 5649. */
	bool (*wrap)(SealKekUse *use, const uint8 secret[SEAL_SECRET_LENGTH],
				 uint8 wrapped[SEAL_WRAPPED_LENGTH], SealKekFault *fault);
	/* FORGED (another KEK, or damaged) is an answer and no fault; secret is wiped then. */
	SealCipherResult (*unwrap)(SealKekUse *use, const uint8 wrapped[SEAL_WRAPPED_LENGTH],
							   uint8 secret[SEAL_SECRET_LENGTH], SealKekFault *fault);
	/* Raises nothing, leaves nothing of a software KEK. */
	void (*end)(SealKekUse *use);
};

extern const char seal_kek_constant[];
#define SEAL_KEK_CONSTANT_LENGTH 23

extern const SealKekProvider seal_kek_file;
extern const SealKekProvider seal_kek_command;
extern const SealKekProvider seal_kek_pkcs11;

/*
 * Both KEKs, each begun when it is first asked for.  Zeroed to begin with; the
 * caller ends it on every path.
 */
typedef struct SealKekPair
{
	bool tried[SEAL_KEKS];
	bool ready[SEAL_KEKS];
	SealKekUse use[SEAL_KEKS];
	SealKekFault fault[SEAL_KEKS];
} SealKekPair;

extern bool seal_kek_configured(SealKekWhich which);
/* NULL where it can't be had: pair->fault[which] then says why. */
extern SealKekUse *seal_kek_pair_get(SealKekPair *pair, SealKekWhich which);
extern void seal_kek_pair_end(SealKekPair *pair);

typedef enum SealKekFit
{
	SEAL_KEK_FITS,
	SEAL_KEK_DAMAGED, /* the KEK is right, the wrapped bytes are not */
	SEAL_KEK_OTHER	  /* no KEK that can be had wrapped it */
} SealKekFit;

/*
 * Unwraps by whichever KEK wrapped it and says which.  A KEK that can't be had is
 * passed over, and its fault left in the pair; raises nothing but WD220.
 */
extern SealKekFit seal_kek_pair_unwrap(SealKekPair *pair, const uint8 wrapped[SEAL_WRAPPED_LENGTH],
									   const uint8 fingerprint[SEAL_FINGERPRINT_LENGTH],
									   uint8 secret[SEAL_SECRET_LENGTH], SealKekWhich *which);
/* Raises why SEAL_KEK_OTHER was the answer: WD101 to WD104. */
extern void seal_kek_pair_refuse(const SealKekPair *pair) pg_attribute_noreturn();

/* ---- kek_software.c: operations for providers that hand out the KEK's bytes ---- */

/* The longest form of a KEK outside: 64 hexadecimal digits and a line break. */
#define SEAL_KEK_TEXT_MAX (2 * SEAL_SECRET_LENGTH + 2)

extern bool seal_kek_software_parse(const uint8 *content, int len, uint8 kek[SEAL_SECRET_LENGTH]);
extern bool seal_kek_software_begin(SealKekUse *use, SealKekFault *fault);
extern bool seal_kek_software_fingerprint(SealKekUse *use,
										  uint8 fingerprint[SEAL_FINGERPRINT_LENGTH],
										  SealKekFault *fault);
extern bool seal_kek_software_wrap(SealKekUse *use, const uint8 secret[SEAL_SECRET_LENGTH],
								   uint8 wrapped[SEAL_WRAPPED_LENGTH], SealKekFault *fault);
extern SealCipherResult seal_kek_software_unwrap(SealKekUse *use,
												 const uint8 wrapped[SEAL_WRAPPED_LENGTH],
												 uint8 secret[SEAL_SECRET_LENGTH],
												 SealKekFault *fault);
extern void seal_kek_software_end(SealKekUse *use);

/* ---- kek_file.c: reading secrets from files ---- */

/* What a file is, for checks and messages. */
typedef struct SealKekFile
{
	const char *what;	 /* "file of the key-encryption key" */
	const char *setting; /* the setting that names it */
	const char *path;
	const char *make; /* hint: how to make one */
} SealKekFile;

/*
 * Reads at most max bytes of a file outside the data directory that only the
 * server's user and root can read.  The length, or -1 with the fault described.
 * The caller wipes content.
 */
extern int seal_kek_file_read(const SealKekFile *file, uint8 *content, int max, struct stat *status,
							  SealKekFault *fault);

#endif /* WARD_SEAL_KEK_INT_H */
