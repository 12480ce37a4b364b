/*
 * setting.c
 *		GUCs of the seal layer.
 *
 * They are read from the configuration file alone (SIGHUP): a session that could
 * point the server at a KEK of its own would wrap keys that nobody else can open.
 */
#include "seal/seal_int.h"

#include "utils/guc.h"

int seal_setting_kek_provider = 0;
char *seal_setting_kek_file = NULL;

/* The values are indexes of seal_kek_providers in kek.c. */
static const struct config_enum_entry kek_providers[] = {{"file", 0, false}, {NULL, 0, false}};

void
seal_setting_init(void)
{
	DefineCustomEnumVariable("ward.kek_provider", "Where the key-encryption key comes from.", NULL,
							 &seal_setting_kek_provider, 0, kek_providers, PGC_SIGHUP, 0, NULL,
							 NULL, NULL);
	DefineCustomStringVariable("ward.kek_file", "File that holds the key-encryption key.",
							   "32 bytes, or 64 hexadecimal digits; outside the data directory, "
							   "readable by the server's user alone.",
							   &seal_setting_kek_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL,
							   NULL, NULL);
}
