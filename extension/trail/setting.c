/*
 * setting.c
 *		GUCs of the trail.
 *
 * What weakens the evidence (where it goes, how durable it is) is out of reach of
 * ordinary users.  ward.actor is theirs to set: it says for whom a pooled
 * connection works, and the record shows it as what the session claimed.
 */
#include "trail/trail_int.h"

#include <limits.h>

#include "utils/guc.h"

char *trail_setting_directory = NULL;
int trail_setting_durability = TRAIL_DURABILITY_WRITE;
int trail_setting_segment_size = 16 * 1024;
int trail_setting_sync_timeout = 60 * 1000;
int trail_setting_subject_cache = 8 * 1024;
char *trail_setting_actor = NULL;
int trail_setting_on_failure = TRAIL_ON_FAILURE_REFUSE;
int trail_setting_max_size = 0;
int trail_setting_retention = 0;
int trail_setting_backlog_warning = 1000000;
int trail_setting_checkpoint_interval = 60;
int trail_setting_epoch_interval = 3600;
char *trail_setting_checkpoint_command = NULL;
char *trail_setting_signing_key_file = NULL;
char *trail_setting_conninfo = NULL;

static const struct config_enum_entry durability_options[] = {
	{"write", TRAIL_DURABILITY_WRITE, false},
	{"fsync", TRAIL_DURABILITY_FSYNC, false},
	{NULL, 0, false}};

static const struct config_enum_entry on_failure_options[] = {
	{"refuse", TRAIL_ON_FAILURE_REFUSE, false},
	{"allow", TRAIL_ON_FAILURE_ALLOW, false},
	{NULL, 0, false}};

void
trail_setting_init(void)
{
	DefineCustomStringVariable("ward.trail_directory", "Directory of the trail's segment files.",
							   "A relative path is below the data directory.",
							   &trail_setting_directory, "ward_trail", PGC_POSTMASTER,
							   GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomEnumVariable("ward.durability",
							 "How far a record has come before the rows that it covers may leave.",
							 "write: in the kernel, survives a crash of the server; fsync: on "
							 "disk, survives a power failure.",
							 &trail_setting_durability, TRAIL_DURABILITY_WRITE, durability_options,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable(
		"ward.on_trail_failure", "What becomes of a statement whose evidence can't be written.",
		"refuse: it fails; allow: it goes on, and the trail has a gap, which it tells.",
		&trail_setting_on_failure, TRAIL_ON_FAILURE_REFUSE, on_failure_options, PGC_SUSET, 0, NULL,
		NULL, NULL);
	DefineCustomIntVariable(
		"ward.trail_max_size", "Size of the trail past which no evidence is taken any more.",
		"What would disclose is then refused. 0: no limit. From 80 percent on "
		"there are warnings.",
		&trail_setting_max_size, 0, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL, NULL);
	DefineCustomIntVariable("ward.retention", "How long evidence is kept.",
							"Older segments are removed, but never under a legal hold, and the "
							"rest of the trail stays verifiable. 0: for ever.",
							&trail_setting_retention, 0, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_S, NULL,
							NULL, NULL);
	DefineCustomIntVariable(
		"ward.index_backlog_warning", "Records that the index may be behind before the log warns.",
		"It warns again each time that this doubles. 0: never.", &trail_setting_backlog_warning,
		1000000, 0, INT_MAX, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("ward.trail_segment_size", "Size at which a new segment is begun.",
							NULL, &trail_setting_segment_size, 16 * 1024, 64, 1024 * 1024,
							PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"ward.subject_cache", "Shared memory for the subject keys that the trail is known to have.",
		"Keys that it has no room for are written again.", &trail_setting_subject_cache, 8 * 1024,
		64, 1024 * 1024, PGC_POSTMASTER, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("ward.sync_timeout",
							"How long to wait for the index to reach the trail's end.",
							"0 waits without end.", &trail_setting_sync_timeout, 60 * 1000, 0,
							INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("ward.checkpoint_interval",
							"How often the root of the trail is signed, also when nothing happens.",
							NULL, &trail_setting_checkpoint_interval, 60, 1, 3600, PGC_SIGHUP,
							GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"ward.epoch_interval", "How often the trail's signing key is replaced and destroyed.",
		"It is also replaced whenever the server starts.", &trail_setting_epoch_interval, 3600, 1,
		30 * 86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"ward.checkpoint_command", "Shell command that takes each signed checkpoint elsewhere.",
		"It gets the checkpoint, a C2SP signed note, on its standard input.",
		&trail_setting_checkpoint_command, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	/* The default's name starts as temporary files' do, which base backups leave out. */
	DefineCustomStringVariable("ward.signing_key_file", "File that holds the trail's signing key.",
							   "A relative path is below the data directory.",
							   &trail_setting_signing_key_file, "pgsql_tmp_ward_signing",
							   PGC_POSTMASTER, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"ward.trail_conninfo", "Where a standby delivers its trail: connection to the primary.",
		"Host, port and TLS settings that it does not name are those of primary_conninfo.",
		&trail_setting_conninfo, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable("ward.actor", "End user on whose behalf a pooled session works.",
							   "Recorded as the session states it.", &trail_setting_actor, "",
							   PGC_USERSET, 0, NULL, NULL, NULL);
}
