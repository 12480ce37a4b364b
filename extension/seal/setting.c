/*
 * setting.c
 *		GUCs of the seal layer.
 *
 * They are read from the configuration file alone (SIGHUP): a session that could
 * point the server at a KEK of its own would wrap keys that nobody else can open.
 * Only superusers see where the KEK is.
 */
#include "seal/kek_int.h"

#include "utils/guc.h"

SealKekSource seal_setting_kek[SEAL_KEKS] = {
	{.prefix = "ward.kek", .provider = SEAL_KEK_PROVIDER_FILE},
	{.prefix = "ward.kek_previous", .provider = SEAL_KEK_PROVIDER_NONE}};
int seal_setting_kek_command_timeout = 10000;

static const struct config_enum_entry kek_providers[] = {
	{"file", SEAL_KEK_PROVIDER_FILE, false},
	{"command", SEAL_KEK_PROVIDER_COMMAND, false},
	{"pkcs11", SEAL_KEK_PROVIDER_PKCS11, false},
	{NULL, 0, false}};
static const struct config_enum_entry kek_previous_providers[] = {
	{"none", SEAL_KEK_PROVIDER_NONE, false},
	{"file", SEAL_KEK_PROVIDER_FILE, false},
	{"command", SEAL_KEK_PROVIDER_COMMAND, false},
	{"pkcs11", SEAL_KEK_PROVIDER_PKCS11, false},
	{NULL, 0, false}};

static void
seal_setting_string(const char *name, const char *what, const char *more, char **value)
{
	DefineCustomStringVariable(name, what, more, value, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL,
							   NULL, NULL);
}

void
seal_setting_init(void)
{
	SealKekSource *current = &seal_setting_kek[SEAL_KEK_CURRENT];
	SealKekSource *previous = &seal_setting_kek[SEAL_KEK_PREVIOUS];

	DefineCustomEnumVariable("ward.kek_provider", "Where the key-encryption key comes from.", NULL,
							 &current->provider, SEAL_KEK_PROVIDER_FILE, kek_providers, PGC_SIGHUP,
							 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("ward.kek_previous_provider",
							 "Where the previous key-encryption key comes from, while it is being "
							 "changed.",
							 "Opens what it wrapped; ward.rewrap_keys() makes it unnecessary.",
							 &previous->provider, SEAL_KEK_PROVIDER_NONE, kek_previous_providers,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	seal_setting_string("ward.kek_file", "File that holds the key-encryption key.",
						"32 bytes, or 64 hexadecimal digits; outside the data directory, readable "
						"by the server's user alone.",
						&current->file);
	seal_setting_string("ward.kek_previous_file",
						"File that holds the previous key-encryption key.", NULL, &previous->file);
	seal_setting_string("ward.kek_command", "Shell command that prints the key-encryption key.",
						"32 bytes, or 64 hexadecimal digits; exit status 77 says that it was "
						"refused.",
						&current->command);
	seal_setting_string("ward.kek_previous_command",
						"Shell command that prints the previous key-encryption key.", NULL,
						&previous->command);
	seal_setting_string("ward.kek_pkcs11_module",
						"PKCS #11 module of the token that holds the key-encryption key.", NULL,
						&current->module);
	seal_setting_string("ward.kek_pkcs11_token", "Label of the token.", NULL, &current->token);
	seal_setting_string("ward.kek_pkcs11_key", "Label of the AES-256 key in the token.", NULL,
						&current->key);
	seal_setting_string("ward.kek_pkcs11_pin_file", "File that holds the token's user PIN.",
						"Outside the data directory, readable by the server's user alone.",
						&current->pin_file);
	seal_setting_string("ward.kek_previous_pkcs11_module",
						"PKCS #11 module of the token that holds the previous key-encryption key.",
						NULL, &previous->module);
	seal_setting_string("ward.kek_previous_pkcs11_token",
						"Label of the token that holds the previous key-encryption key.", NULL,
						&previous->token);
	seal_setting_string("ward.kek_previous_pkcs11_key",
						"Label of the previous key-encryption key in its token.", NULL,
						&previous->key);
	seal_setting_string("ward.kek_previous_pkcs11_pin_file",
						"File that holds the user PIN of the previous key-encryption key's token.",
						NULL, &previous->pin_file);
	DefineCustomIntVariable("ward.kek_command_timeout",
							"How long a command may take to print a key-encryption key.", NULL,
							&seal_setting_kek_command_timeout, 10000, 10, 600000, PGC_SIGHUP,
							GUC_UNIT_MS, NULL, NULL, NULL);
}
