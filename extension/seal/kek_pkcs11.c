/*
 * kek_pkcs11.c
 *		KEK provider "pkcs11": an AES-256 key that never leaves its token (HSM).
 *
 * The token wraps and unwraps (AES-KWP) and makes the fingerprint (AES-CMAC); what
 * goes in and out are data keys alone.  So a key in a file and the same key in a
 * token are interchangeable, and their fingerprints equal.
 *
 * Invariants:
 * - The module is loaded by the process that uses it, after fork: PKCS #11 forbids a
 *   child to use what its parent initialised.  It is finalised before that process
 *   exits, and never unloaded.
 * - A PIN that the token refused is not tried again by any process until its file
 *   changes: a few tries lock a token for good.  Nor is the last try taken.
 * - A session that was lost is opened anew once in a use.
 * - Objects made in a session are destroyed at once.  Nothing here raises while one
 *   exists.
 *
 * Calls into the module can't be interrupted: a token that hangs holds up its session.
 *
 * Locks: WardKekPin, exclusive, while logging in, so that sessions that come together
 * do not each try a wrong PIN.  No other lock is taken under it.
 */
#include "seal/kek_int.h"

#include <dlfcn.h>
#include <p11-kit-1/p11-kit/pkcs11.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

/* PKCS #11 3.0, which older headers lack: RFC 5649 without doubt. */
#ifndef CKM_AES_KEY_WRAP_KWP
#define CKM_AES_KEY_WRAP_KWP 0x210bUL
#endif

#define TOKEN_LABEL_LENGTH 32
#define TOKEN_SLOTS_MAX 64
#define TOKEN_PIN_MAX 255
#define TOKEN_TRANCHE "WardKekPin"
#define TOKEN_PINS_REFUSED 8

/* A token as this process has it open. */
typedef struct KekToken
{
	pid_t pid; /* whose it is */
	/* What it was opened by; settings may have changed since. */
	char *module;
	char *label;
	char *key_label;
	CK_FUNCTION_LIST *f; /* NULL: the module is not initialised */
	CK_SLOT_ID slot;
	bool in_session;
	bool logged_in;
	CK_SESSION_HANDLE session;
	CK_OBJECT_HANDLE key;
	CK_MECHANISM_TYPE wrapping;
} KekToken;

static KekToken kek_tokens[SEAL_KEKS];
static bool kek_token_exit_registered = false;

/* Set while control is in a module: an exit from there must not enter it again. */
static volatile sig_atomic_t kek_token_busy = 0;

/* A secret on its way out of the token: locked memory. */
static uint8 *kek_token_secret = NULL;

/* A PIN file whose PIN a token refused, by what changes when the file does. */
typedef struct KekPinRefused
{
	bool used;
	uint32 token;
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec changed;
} KekPinRefused;

typedef struct KekPins
{
	LWLock *lock;
	int next;
	KekPinRefused refused[TOKEN_PINS_REFUSED];
} KekPins;

static KekPins *kek_pins = NULL;

/* ----------------------------------------------------------------
 * Shared memory
 * ----------------------------------------------------------------
 */

/* From shmem_request_hook. */
void
seal_kek_pkcs11_shmem_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(KekPins)));
	RequestNamedLWLockTranche(TOKEN_TRANCHE, 1);
}

/* From shmem_startup_hook, under AddinShmemInitLock. */
void
seal_kek_pkcs11_shmem_init(void)
{
	bool found;

	kek_pins = ShmemInitStruct("pg_ward refused PINs", sizeof(KekPins), &found);
	if (found)
		return;
	memset(kek_pins, 0, sizeof(*kek_pins));
	kek_pins->lock = &GetNamedLWLockTranche(TOKEN_TRANCHE)->lock;
}

/* ----------------------------------------------------------------
 * Faults
 * ----------------------------------------------------------------
 */

static char *
seal_kek_pkcs11_where(const SealKekSource *source)
{
	return psprintf("Module \"%s\", token \"%s\", key \"%s\".", source->module, source->token,
					source->key);
}

/* Does an answer mean that the session has to be opened anew? */
static bool
seal_kek_pkcs11_lost(CK_RV rv)
{
	switch (rv)
	{
		case CKR_SESSION_HANDLE_INVALID:
		case CKR_SESSION_CLOSED:
		case CKR_KEY_HANDLE_INVALID:
		case CKR_OBJECT_HANDLE_INVALID:
		case CKR_WRAPPING_KEY_HANDLE_INVALID:
		case CKR_UNWRAPPING_KEY_HANDLE_INVALID:
		case CKR_USER_NOT_LOGGED_IN:
		case CKR_DEVICE_REMOVED:
		case CKR_DEVICE_ERROR:
		case CKR_TOKEN_NOT_PRESENT:
		case CKR_CRYPTOKI_NOT_INITIALIZED:
			return true;
		default:
			return false;
	}
}

/* Does an answer to C_Login blame the PIN, or the user's standing? */
static bool
seal_kek_pkcs11_pin_refused(CK_RV rv)
{
	switch (rv)
	{
		case CKR_PIN_INCORRECT:
		case CKR_PIN_INVALID:
		case CKR_PIN_LEN_RANGE:
		case CKR_PIN_EXPIRED:
		case CKR_PIN_LOCKED:
		case CKR_USER_PIN_NOT_INITIALIZED:
			return true;
		default:
			return false;
	}
}

/* Does an answer mean that the token will not do this with this key? */
static bool
seal_kek_pkcs11_forbidden(CK_RV rv)
{
	switch (rv)
	{
		case CKR_KEY_FUNCTION_NOT_PERMITTED:
		case CKR_KEY_TYPE_INCONSISTENT:
		case CKR_WRAPPING_KEY_TYPE_INCONSISTENT:
		case CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT:
		case CKR_KEY_NOT_WRAPPABLE:
		case CKR_KEY_UNEXTRACTABLE:
		case CKR_MECHANISM_INVALID:
		case CKR_MECHANISM_PARAM_INVALID:
		case CKR_FUNCTION_NOT_SUPPORTED:
		case CKR_TEMPLATE_INCONSISTENT:
		case CKR_ATTRIBUTE_SENSITIVE:
		case CKR_ATTRIBUTE_VALUE_INVALID:
			return true;
		default:
			return false;
	}
}

/* Describes an answer of the module other than CKR_OK. */
static bool
seal_kek_pkcs11_fault(const SealKekSource *source, const char *doing, CK_RV rv, SealKekFault *fault)
{
	char *detail = psprintf("The module answered 0x%lX.", (unsigned long) rv);

	if (seal_kek_pkcs11_forbidden(rv))
		return seal_kek_fault(fault, ERRCODE_WARD_KEK_REFUSED,
							  psprintf("the token refused to %s", doing), detail,
							  seal_kek_pkcs11_where(source),
							  "The key must be an AES-256 key that may wrap, unwrap and sign "
							  "(CKA_WRAP, CKA_UNWRAP, CKA_SIGN), on a token that offers "
							  "AES-KWP and AES-CMAC.");
	return seal_kek_fault(fault, ERRCODE_WARD_KEK_UNREACHABLE,
						  psprintf("the token could not %s", doing), detail,
						  seal_kek_pkcs11_where(source),
						  "Check that the token is connected and that its module works for the "
						  "server's user (pkcs11-tool --module MODULE -L).");
}

static bool
seal_kek_pkcs11_absent(const SealKekSource *source, const char *message, const char *hint,
					   SealKekFault *fault)
{
	return seal_kek_fault(fault, ERRCODE_WARD_KEK_ABSENT, message, NULL,
						  seal_kek_pkcs11_where(source), hint);
}

/* ----------------------------------------------------------------
 * Module and token
 * ----------------------------------------------------------------
 */

/*
 * Forgets a session without raising.  All of the module is finalised, because some
 * see a token that was away only after they were initialised again.
 */
static void
seal_kek_pkcs11_close(KekToken *token)
{
	if (token->f != NULL)
	{
		kek_token_busy++;
		if (token->in_session)
			(void) token->f->C_CloseSession(token->session);
		(void) token->f->C_Finalize(NULL);
		kek_token_busy--;
	}
	token->f = NULL;
	token->in_session = false;
	token->logged_in = false;
}

/* Before the process ends: a module's own clean-up at exit may come too late. */
static void
seal_kek_pkcs11_exit(int code, Datum arg)
{
	if (kek_token_busy)
		return;
	for (int i = 0; i < SEAL_KEKS; i++)
		if (kek_tokens[i].pid == MyProcPid)
			seal_kek_pkcs11_close(&kek_tokens[i]);
}

static void
seal_kek_pkcs11_keep(char **where, const char *value)
{
	if (*where != NULL)
		pfree(*where);
	*where = NULL;
	*where = MemoryContextStrdup(TopMemoryContext, value);
}

/* Is what is open what the settings say? */
static bool
seal_kek_pkcs11_current(const KekToken *token, const SealKekSource *source)
{
	return token->pid == MyProcPid && token->in_session &&
		   strcmp(token->module, source->module) == 0 && strcmp(token->label, source->token) == 0 &&
		   strcmp(token->key_label, source->key) == 0;
}

/*
 * Initialises a module.  A thread that it starts must never run one of our signal
 * handlers, so it is asked to start none, and inherits a mask that blocks all.
 */
static CK_RV
seal_kek_pkcs11_initialize(CK_FUNCTION_LIST *f)
{
	CK_C_INITIALIZE_ARGS args = {.flags = CKF_LIBRARY_CANT_CREATE_OS_THREADS};
	sigset_t all;
	sigset_t before;
	CK_RV rv;

	(void) sigfillset(&all);
	(void) sigprocmask(SIG_SETMASK, &all, &before);
	rv = f->C_Initialize(&args);
	if (rv == CKR_NEED_TO_CREATE_THREADS)
		rv = f->C_Initialize(NULL);
	(void) sigprocmask(SIG_SETMASK, &before, NULL);
	/* The other KEK's token may be of the same module. */
	return rv == CKR_CRYPTOKI_ALREADY_INITIALIZED ? CKR_OK : rv;
}

/* Loads and initialises the module that the settings name. */
static bool
seal_kek_pkcs11_load(KekToken *token, const SealKekSource *source, SealKekFault *fault)
{
	CK_C_GetFunctionList get;
	CK_FUNCTION_LIST *f = NULL;
	sigset_t all;
	sigset_t before;
	void *library;
	CK_RV rv;

	if (!is_absolute_path(source->module))
		return seal_kek_fault(
			fault, ERRCODE_WARD_KEK_REFUSED, "the module of the token is refused",
			psprintf("%s is a relative path.", seal_kek_setting(source, "pkcs11_module")),
			seal_kek_pkcs11_where(source), "Set it to the module's absolute path.");
	if (access(source->module, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR))
		return seal_kek_pkcs11_absent(source, "the module of the token does not exist",
									  "Install the token's PKCS #11 module, or correct the path.",
									  fault);
	(void) sigfillset(&all);
	(void) sigprocmask(SIG_SETMASK, &all, &before);
	kek_token_busy++;
	library = dlopen(source->module, RTLD_NOW | RTLD_LOCAL);
	kek_token_busy--;
	(void) sigprocmask(SIG_SETMASK, &before, NULL);
	get = library == NULL ? NULL : (CK_C_GetFunctionList) dlsym(library, "C_GetFunctionList");
	if (get == NULL)
		return seal_kek_fault(fault, ERRCODE_WARD_KEK_UNREACHABLE,
							  "could not load the module of the token", NULL,
							  psprintf("%s %s", seal_kek_pkcs11_where(source), dlerror()),
							  "It must be a PKCS #11 module that the server's user can read.");
	kek_token_busy++;
	rv = get(&f);
	if (rv == CKR_OK && f != NULL)
		rv = seal_kek_pkcs11_initialize(f);
	kek_token_busy--;
	if (rv != CKR_OK || f == NULL)
		return seal_kek_pkcs11_fault(source, "be initialised", rv, fault);
	token->f = f;
	return true;
}

/* Is a fixed field, padded with blanks, this text? */
static bool
seal_kek_pkcs11_padded(const unsigned char *field, int length, const char *text)
{
	int len = (int) strlen(text);

	if (len > length || memcmp(field, text, len) != 0)
		return false;
	for (int i = len; i < length; i++)
		if (field[i] != ' ')
			return false;
	return true;
}

/* Finds the slot of the token with the label that the settings name. */
static bool
seal_kek_pkcs11_find_token(KekToken *token, const SealKekSource *source, CK_TOKEN_INFO *info,
						   SealKekFault *fault)
{
	CK_SLOT_ID slots[TOKEN_SLOTS_MAX];
	CK_ULONG count = TOKEN_SLOTS_MAX;
	int found = 0;
	CK_RV rv = token->f->C_GetSlotList(CK_TRUE, slots, &count);

	if (rv != CKR_OK)
		return seal_kek_pkcs11_fault(source, "be looked for", rv, fault);
	for (CK_ULONG i = 0; i < count; i++)
	{
		CK_TOKEN_INFO have;

		if (token->f->C_GetTokenInfo(slots[i], &have) != CKR_OK ||
			!seal_kek_pkcs11_padded(have.label, TOKEN_LABEL_LENGTH, source->token))
			continue;
		token->slot = slots[i];
		*info = have;
		found++;
	}
	if (found == 0)
		return seal_kek_pkcs11_absent(source, "the token of the key-encryption key is not present",
									  "Connect it, or correct the label (pkcs11-tool --module "
									  "MODULE -L lists the tokens).",
									  fault);
	if (found > 1)
		return seal_kek_fault(fault, ERRCODE_WARD_KEK_REFUSED,
							  "more than one token has the label of the key-encryption key's", NULL,
							  seal_kek_pkcs11_where(source), "Give each token a label of its own.");
	return true;
}

/* ----------------------------------------------------------------
 * Logging in
 * ----------------------------------------------------------------
 */

static void
seal_kek_pkcs11_describe_pin(const SealKekSource *source, const struct stat *status,
							 KekPinRefused *pin)
{
	pin->used = true;
	pin->token =
		hash_combine(hash_bytes((const unsigned char *) source->module, strlen(source->module)),
					 hash_bytes((const unsigned char *) source->token, strlen(source->token)));
	pin->device = status->st_dev;
	pin->inode = status->st_ino;
	pin->size = status->st_size;
	pin->changed = status->st_ctim;
}

static bool
seal_kek_pkcs11_same_pin(const KekPinRefused *a, const KekPinRefused *b)
{
	return a->used == b->used && a->token == b->token && a->device == b->device &&
		   a->inode == b->inode && a->size == b->size && a->changed.tv_sec == b->changed.tv_sec &&
		   a->changed.tv_nsec == b->changed.tv_nsec;
}

/* Logs in unless this PIN was refused before.  Nothing raises under the lock. */
static CK_RV
seal_kek_pkcs11_try_pin(KekToken *token, const KekPinRefused *pin, uint8 *text, int len,
						bool *before)
{
	CK_RV rv = CKR_PIN_INCORRECT;

	*before = false;
	LWLockAcquire(kek_pins->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TOKEN_PINS_REFUSED; i++)
		if (seal_kek_pkcs11_same_pin(&kek_pins->refused[i], pin))
			*before = true;
	if (!*before)
	{
		kek_token_busy++;
		rv = token->f->C_Login(token->session, CKU_USER, text, len);
		kek_token_busy--;
		if (seal_kek_pkcs11_pin_refused(rv))
		{
			kek_pins->refused[kek_pins->next] = *pin;
			kek_pins->next = (kek_pins->next + 1) % TOKEN_PINS_REFUSED;
		}
	}
	LWLockRelease(kek_pins->lock);
	return rv;
}

static bool
seal_kek_pkcs11_login(KekToken *token, const SealKekSource *source, const CK_TOKEN_INFO *info,
					  SealKekFault *fault)
{
	uint8 pin[TOKEN_PIN_MAX + 3];
	struct stat status;
	SealKekFile file;
	KekPinRefused identity;
	bool before;
	int len;
	CK_RV rv;

	file.what = "PIN file of the token";
	file.setting = seal_kek_setting(source, "pkcs11_pin_file");
	file.path = source->pin_file;
	file.make = "It holds the user PIN of the token, and nothing else.";
	if ((info->flags & CKF_LOGIN_REQUIRED) == 0)
		return true;
	if (source->pin_file[0] == '\0')
		return seal_kek_pkcs11_absent(
			source, "no PIN of the token is configured",
			psprintf("Set %s to a file that holds the user PIN.", file.setting), fault);
	if (info->flags & (CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED))
		return seal_kek_fault(
			fault, ERRCODE_WARD_KEK_REFUSED, "the token is not asked, because its PIN is at risk",
			info->flags & CKF_USER_PIN_LOCKED ? "The PIN is locked."
											  : "One more wrong PIN would lock it.",
			seal_kek_pkcs11_where(source),
			"Log in once by hand with the right PIN (pkcs11-tool -l -O), or have the security "
			"officer set a new one.");
	len = seal_kek_file_read(&file, pin, (int) sizeof(pin), &status, fault);
	if (len < 0)
		return false;
	if (len > 0 && pin[len - 1] == '\n')
		len--;
	if (len > 0 && pin[len - 1] == '\r')
		len--;
	if (len == 0 || len > TOKEN_PIN_MAX)
	{
		core_secret_wipe(pin, sizeof(pin));
		return seal_kek_fault(fault, ERRCODE_WARD_KEK_CORRUPT,
							  "the PIN file of the token does not hold one",
							  psprintf("It must have 1 to %d bytes.", TOKEN_PIN_MAX),
							  seal_kek_pkcs11_where(source), file.make);
	}
	seal_kek_pkcs11_describe_pin(source, &status, &identity);
	rv = seal_kek_pkcs11_try_pin(token, &identity, pin, len, &before);
	core_secret_wipe(pin, sizeof(pin));
	/* Logging in is for all sessions of a process: the other KEK's may have done it. */
	if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN)
	{
		token->logged_in = true;
		return true;
	}
	if (seal_kek_pkcs11_pin_refused(rv))
		return seal_kek_fault(
			fault, ERRCODE_WARD_KEK_REFUSED, "the token refused the PIN",
			before ? "It was refused before and is not tried again until its file changes, lest "
					 "the token be locked."
				   : psprintf("The module answered 0x%lX. It is not tried again until its file "
							  "changes, lest the token be locked.",
							  (unsigned long) rv),
			seal_kek_pkcs11_where(source), "Write the right PIN into the PIN file.");
	return seal_kek_pkcs11_fault(source, "be logged in to", rv, fault);
}

/* ----------------------------------------------------------------
 * The key
 * ----------------------------------------------------------------
 */

/* Finds the key that the settings name; it must be the only one, and of AES-256. */
static bool
seal_kek_pkcs11_find_key(KekToken *token, const SealKekSource *source, SealKekFault *fault)
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &class, sizeof(class)},
							 {CKA_LABEL, source->key, strlen(source->key)}};
	CK_KEY_TYPE type = 0;
	CK_ULONG length = 0;
	CK_ATTRIBUTE have[] = {{CKA_KEY_TYPE, &type, sizeof(type)},
						   {CKA_VALUE_LEN, &length, sizeof(length)}};
	CK_OBJECT_HANDLE keys[2];
	CK_ULONG count = 0;
	CK_RV rv = token->f->C_FindObjectsInit(token->session, wanted, lengthof(wanted));

	if (rv == CKR_OK)
	{
		rv = token->f->C_FindObjects(token->session, keys, lengthof(keys), &count);
		(void) token->f->C_FindObjectsFinal(token->session);
	}
	if (rv != CKR_OK)
		return seal_kek_pkcs11_fault(source, "look for the key", rv, fault);
	if (count == 0)
		return seal_kek_pkcs11_absent(source, "the key-encryption key is not in the token",
									  "Correct the label, or make the key (docs/keys.md). "
									  "pkcs11-tool -l -O lists what the token holds.",
									  fault);
	if (count > 1)
		return seal_kek_fault(fault, ERRCODE_WARD_KEK_REFUSED,
							  "more than one key in the token has the label of the "
							  "key-encryption key",
							  NULL, seal_kek_pkcs11_where(source),
							  "Give each key a label of its own.");
	rv = token->f->C_GetAttributeValue(token->session, keys[0], have, lengthof(have));
	if (rv != CKR_OK)
		return seal_kek_pkcs11_fault(source, "describe the key", rv, fault);
	if (type != CKK_AES || length != SEAL_SECRET_LENGTH)
		return seal_kek_fault(
			fault, ERRCODE_WARD_KEK_CORRUPT, "the key in the token is no AES-256 key", NULL,
			seal_kek_pkcs11_where(source), "Make an AES key of 32 bytes under a label of its own.");
	token->key = keys[0];
	return true;
}

/* Which mechanism of the token is AES-KWP? */
static bool
seal_kek_pkcs11_find_wrapping(KekToken *token, const SealKekSource *source, SealKekFault *fault)
{
	static const CK_MECHANISM_TYPE wrappings[] = {CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD};

	for (int i = 0; i < (int) lengthof(wrappings); i++)
	{
		CK_MECHANISM_INFO info;
		CK_RV rv = token->f->C_GetMechanismInfo(token->slot, wrappings[i], &info);

		if (rv == CKR_OK && (info.flags & CKF_WRAP) && (info.flags & CKF_UNWRAP))
		{
			token->wrapping = wrappings[i];
			return true;
		}
	}
	return seal_kek_pkcs11_fault(source, "wrap keys (it does not offer AES-KWP)",
								 CKR_MECHANISM_INVALID, fault);
}

/* Opens everything that a use needs.  False with all closed where anything fails. */
static bool
seal_kek_pkcs11_open(KekToken *token, const SealKekSource *source, SealKekFault *fault)
{
	CK_TOKEN_INFO info = {0};
	bool ok;
	CK_RV rv;

	if (token->pid == MyProcPid)
		seal_kek_pkcs11_close(token);
	else
	{
		token->f = NULL;
		token->in_session = false;
		token->logged_in = false;
	}
	if (!kek_token_exit_registered)
		on_proc_exit(seal_kek_pkcs11_exit, (Datum) 0);
	kek_token_exit_registered = true;
	token->pid = MyProcPid;
	seal_kek_pkcs11_keep(&token->module, source->module);
	seal_kek_pkcs11_keep(&token->label, source->token);
	seal_kek_pkcs11_keep(&token->key_label, source->key);

	ok = seal_kek_pkcs11_load(token, source, fault) &&
		 seal_kek_pkcs11_find_token(token, source, &info, fault);
	if (ok)
	{
		rv = token->f->C_OpenSession(token->slot, CKF_SERIAL_SESSION, NULL, NULL, &token->session);
		token->in_session = rv == CKR_OK;
		ok = (rv == CKR_OK || seal_kek_pkcs11_fault(source, "open a session", rv, fault)) &&
			 seal_kek_pkcs11_login(token, source, &info, fault) &&
			 seal_kek_pkcs11_find_key(token, source, fault) &&
			 seal_kek_pkcs11_find_wrapping(token, source, fault);
	}
	if (!ok)
		seal_kek_pkcs11_close(token);
	return ok;
}

/* ----------------------------------------------------------------
 * Operations in the token.  Each is a plain sequence of calls that raises nothing.
 * ----------------------------------------------------------------
 */

typedef struct KekTokenWork
{
	const uint8 *in;
	uint8 *out;
	bool forged;
} KekTokenWork;

typedef CK_RV (*KekTokenOperation)(KekToken *token, KekTokenWork *work);

static CK_RV
seal_kek_pkcs11_do_mark(KekToken *token, KekTokenWork *work)
{
	CK_MECHANISM cmac = {CKM_AES_CMAC, NULL, 0};
	CK_ULONG len = SEAL_FINGERPRINT_LENGTH;
	CK_RV rv = token->f->C_SignInit(token->session, &cmac, token->key);

	if (rv == CKR_OK)
		rv = token->f->C_Sign(token->session, (CK_BYTE_PTR) seal_kek_constant,
							  SEAL_KEK_CONSTANT_LENGTH, work->out, &len);
	return rv == CKR_OK && len != SEAL_FINGERPRINT_LENGTH ? CKR_MECHANISM_INVALID : rv;
}

/* A data key as the token holds it while it is wrapped or unwrapped. */
typedef struct KekTokenObject
{
	CK_OBJECT_CLASS class;
	CK_KEY_TYPE type;
	CK_BBOOL yes;
	CK_BBOOL no;
	CK_BBOOL private;
	CK_ATTRIBUTE attributes[6];
} KekTokenObject;

/* last: what only one of the two directions says of it. */
static void
seal_kek_pkcs11_describe_object(const KekToken *token, KekTokenObject *object, CK_ATTRIBUTE last)
{
	object->class = CKO_SECRET_KEY;
	object->type = CKK_GENERIC_SECRET;
	object->yes = CK_TRUE;
	object->no = CK_FALSE;
	object->private = token->logged_in ? CK_TRUE : CK_FALSE;
	object->attributes[0] = (CK_ATTRIBUTE){CKA_CLASS, &object->class, sizeof(object->class)};
	object->attributes[1] = (CK_ATTRIBUTE){CKA_KEY_TYPE, &object->type, sizeof(object->type)};
	object->attributes[2] = (CK_ATTRIBUTE){CKA_TOKEN, &object->no, sizeof(object->no)};
	object->attributes[3] = (CK_ATTRIBUTE){CKA_PRIVATE, &object->private, sizeof(object->private)};
	object->attributes[4] = (CK_ATTRIBUTE){CKA_EXTRACTABLE, &object->yes, sizeof(object->yes)};
	object->attributes[5] = last;
}

static CK_RV
seal_kek_pkcs11_do_wrap(KekToken *token, KekTokenWork *work)
{
	CK_MECHANISM kwp = {token->wrapping, NULL, 0};
	KekTokenObject description;
	uint8 out[SEAL_WRAPPED_LENGTH + 24];
	CK_ULONG len = sizeof(out);
	CK_OBJECT_HANDLE object;
	CK_RV rv;

	seal_kek_pkcs11_describe_object(
		token, &description, (CK_ATTRIBUTE){CKA_VALUE, (void *) work->in, SEAL_SECRET_LENGTH});
	rv = token->f->C_CreateObject(token->session, description.attributes,
								  lengthof(description.attributes), &object);
	if (rv != CKR_OK)
		return rv;
	rv = token->f->C_WrapKey(token->session, &kwp, token->key, object, out, &len);
	(void) token->f->C_DestroyObject(token->session, object);
	if (rv != CKR_OK)
		return rv;
	/* CKM_AES_KEY_WRAP_PAD meant something else to some: another length gives it away. */
	if (len != SEAL_WRAPPED_LENGTH)
		return CKR_MECHANISM_INVALID;
	memcpy(work->out, out, SEAL_WRAPPED_LENGTH);
	return CKR_OK;
}

/* Unwraps; the secret goes to work->out, which is locked memory. */
static CK_RV
seal_kek_pkcs11_unwrap_once(KekToken *token, KekTokenWork *work)
{
	CK_MECHANISM kwp = {token->wrapping, NULL, 0};
	KekTokenObject description;
	CK_ATTRIBUTE value = {CKA_VALUE, work->out, SEAL_SECRET_LENGTH};
	CK_OBJECT_HANDLE object;
	CK_RV rv;

	seal_kek_pkcs11_describe_object(
		token, &description,
		(CK_ATTRIBUTE){CKA_SENSITIVE, &description.no, sizeof(description.no)});
	rv = token->f->C_UnwrapKey(token->session, &kwp, token->key, unconstify(uint8 *, work->in),
							   SEAL_WRAPPED_LENGTH, description.attributes,
							   lengthof(description.attributes), &object);
	if (rv != CKR_OK)
		return rv;
	rv = token->f->C_GetAttributeValue(token->session, object, &value, 1);
	(void) token->f->C_DestroyObject(token->session, object);
	if (rv == CKR_BUFFER_TOO_SMALL || (rv == CKR_OK && value.ulValueLen != SEAL_SECRET_LENGTH))
		return CKR_WRAPPED_KEY_INVALID;
	return rv;
}

/*
 * Modules do not agree on what they answer to damaged bytes.  So where one answers
 * that something failed, it is asked for what it must be able to do: if it unwraps
 * what it has just wrapped, the bytes are at fault and not the token.
 */
static CK_RV
seal_kek_pkcs11_do_unwrap(KekToken *token, KekTokenWork *work)
{
	CK_RV rv = seal_kek_pkcs11_unwrap_once(token, work);

	switch (rv)
	{
		case CKR_WRAPPED_KEY_INVALID:
		case CKR_WRAPPED_KEY_LEN_RANGE:
		case CKR_ENCRYPTED_DATA_INVALID:
		case CKR_ENCRYPTED_DATA_LEN_RANGE:
			work->forged = true;
			return CKR_OK;
		case CKR_GENERAL_ERROR:
		case CKR_FUNCTION_FAILED:
		{
			static const uint8 known[SEAL_SECRET_LENGTH] = {0};
			uint8 wrapped[SEAL_WRAPPED_LENGTH];
			KekTokenWork wrap = {known, wrapped};
			KekTokenWork unwrap = {wrapped, work->out};

			if (seal_kek_pkcs11_do_wrap(token, &wrap) != CKR_OK ||
				seal_kek_pkcs11_unwrap_once(token, &unwrap) != CKR_OK ||
				!core_secret_equal(known, work->out, SEAL_SECRET_LENGTH))
				return rv;
			work->forged = true;
			return CKR_OK;
		}
		default:
			return rv;
	}
}

/* Runs an operation; once more, in a new session, where the session was lost. */
static bool
seal_kek_pkcs11_run(SealKekUse *use, const char *doing, KekTokenOperation operation,
					KekTokenWork *work, SealKekFault *fault)
{
	KekToken *token = &kek_tokens[use->source - seal_setting_kek];

	for (int tries = 0;; tries++)
	{
		CK_RV rv;

		if (!seal_kek_pkcs11_current(token, use->source) &&
			!seal_kek_pkcs11_open(token, use->source, fault))
			return false;
		kek_token_busy++;
		rv = operation(token, work);
		kek_token_busy--;
		if (rv == CKR_OK)
			return true;
		if (!seal_kek_pkcs11_lost(rv) || tries > 0)
			return seal_kek_pkcs11_fault(use->source, doing, rv, fault);
		seal_kek_pkcs11_close(token);
	}
}

/* ----------------------------------------------------------------
 * The provider's operations
 * ----------------------------------------------------------------
 */

static bool
seal_kek_pkcs11_begin(SealKekUse *use, SealKekFault *fault)
{
	const SealKekSource *source = use->source;
	const char *missing = source->module[0] == '\0'	 ? "pkcs11_module"
						  : source->token[0] == '\0' ? "pkcs11_token"
						  : source->key[0] == '\0'	 ? "pkcs11_key"
													 : NULL;

	if (missing != NULL)
		return seal_kek_fault(
			fault, ERRCODE_WARD_KEK_ABSENT, "no key-encryption key is configured",
			psprintf("%s is empty.", seal_kek_setting(source, missing)), NULL,
			psprintf("Set %s to the path of the token's PKCS #11 module, %s to the label of the "
					 "token and %s to that of an AES-256 key in it, and reload.",
					 seal_kek_setting(source, "pkcs11_module"),
					 seal_kek_setting(source, "pkcs11_token"),
					 seal_kek_setting(source, "pkcs11_key")));
	if (kek_token_secret == NULL)
		kek_token_secret = core_secret_alloc(SEAL_SECRET_LENGTH);
	return true;
}

static bool
seal_kek_pkcs11_fingerprint(SealKekUse *use, uint8 fingerprint[SEAL_FINGERPRINT_LENGTH],
							SealKekFault *fault)
{
	KekTokenWork work = {NULL, fingerprint};

	return seal_kek_pkcs11_run(use, "identify the key-encryption key", seal_kek_pkcs11_do_mark,
							   &work, fault);
}

static bool
seal_kek_pkcs11_wrap(SealKekUse *use, const uint8 secret[SEAL_SECRET_LENGTH],
					 uint8 wrapped[SEAL_WRAPPED_LENGTH], SealKekFault *fault)
{
	KekTokenWork work = {secret, wrapped};

	return seal_kek_pkcs11_run(use, "wrap a key", seal_kek_pkcs11_do_wrap, &work, fault);
}

static SealCipherResult
seal_kek_pkcs11_unwrap(SealKekUse *use, const uint8 wrapped[SEAL_WRAPPED_LENGTH],
					   uint8 secret[SEAL_SECRET_LENGTH], SealKekFault *fault)
{
	KekTokenWork work = {wrapped, kek_token_secret};
	bool ok = seal_kek_pkcs11_run(use, "unwrap a key", seal_kek_pkcs11_do_unwrap, &work, fault);

	if (ok && !work.forged)
		memcpy(secret, kek_token_secret, SEAL_SECRET_LENGTH);
	else
		core_secret_wipe(secret, SEAL_SECRET_LENGTH);
	core_secret_wipe(kek_token_secret, SEAL_SECRET_LENGTH);
	return !ok ? SEAL_CIPHER_FAILED : work.forged ? SEAL_CIPHER_FORGED : SEAL_CIPHER_OK;
}

/* The session stays: the token, not we, holds the key. */
static void
seal_kek_pkcs11_end(SealKekUse *use)
{
	if (kek_token_secret != NULL)
		core_secret_wipe(kek_token_secret, SEAL_SECRET_LENGTH);
}

const SealKekProvider seal_kek_pkcs11 = {"pkcs11",
										 NULL,
										 seal_kek_pkcs11_begin,
										 seal_kek_pkcs11_fingerprint,
										 seal_kek_pkcs11_wrap,
										 seal_kek_pkcs11_unwrap,
										 seal_kek_pkcs11_end};
