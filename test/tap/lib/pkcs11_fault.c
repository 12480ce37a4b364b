/*
 * A PKCS #11 module in front of another (PKCS11_FAULT_MODULE), which fails on demand:
 * the file PKCS11_FAULT_WISH holds a word that says how.  Each log-in is a line of
 * PKCS11_FAULT_LOGINS.
 */
#include <dlfcn.h>
#include <p11-kit-1/p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST faulty;

static int
wished(const char *what)
{
	char word[32] = "";
	FILE *wish = fopen(getenv("PKCS11_FAULT_WISH"), "r");

	if (wish == NULL)
		return 0;
	if (fscanf(wish, "%31s", word) != 1)
		word[0] = '\0';
	fclose(wish);
	return strcmp(word, what) == 0;
}

static CK_RV
fault_get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	CK_RV rv = real->C_GetTokenInfo(slot, info);

	if (rv == CKR_OK && wished("final"))
		info->flags |= CKF_USER_PIN_FINAL_TRY;
	return rv;
}

static CK_RV
fault_login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG len)
{
	FILE *log = fopen(getenv("PKCS11_FAULT_LOGINS"), "a");

	if (log != NULL)
	{
		fprintf(log, "login\n");
		fclose(log);
	}
	return real->C_Login(session, user, pin, len);
}

static CK_RV
fault_sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	if (wished("lost"))
	{
		/* Once: the next session works. */
		unlink(getenv("PKCS11_FAULT_WISH"));
		return CKR_SESSION_HANDLE_INVALID;
	}
	if (wished("device"))
		return CKR_DEVICE_ERROR;
	return real->C_SignInit(session, mechanism, key);
}

static CK_RV
fault_unwrap_key(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
				 unsigned char *wrapped, CK_ULONG len, CK_ATTRIBUTE *template, CK_ULONG count,
				 CK_OBJECT_HANDLE *object)
{
	if (wished("unwrap"))
		return CKR_GENERAL_ERROR;
	return real->C_UnwrapKey(session, mechanism, key, wrapped, len, template, count, object);
}

static CK_RV
fault_get_mechanism_info(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
	if (wished("mechanism"))
		return CKR_MECHANISM_INVALID;
	return real->C_GetMechanismInfo(slot, type, info);
}

CK_RV
C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	void *library = dlopen(getenv("PKCS11_FAULT_MODULE"), RTLD_NOW | RTLD_LOCAL);
	CK_C_GetFunctionList get =
		library == NULL ? NULL : (CK_C_GetFunctionList) dlsym(library, "C_GetFunctionList");

	if (get == NULL || get(&real) != CKR_OK)
		return CKR_GENERAL_ERROR;
	faulty = *real;
	faulty.C_GetTokenInfo = fault_get_token_info;
	faulty.C_Login = fault_login;
	faulty.C_SignInit = fault_sign_init;
	faulty.C_UnwrapKey = fault_unwrap_key;
	faulty.C_GetMechanismInfo = fault_get_mechanism_info;
	*list = &faulty;
	return CKR_OK;
}
