/*
 * kek_file.c
 *		KEK provider "file": 32 bytes, or 64 hexadecimal digits and a line break.
 *
 * The file must not be where a copy of the cluster takes it along (the data
 * directory, also through a symbolic link) and nobody but the server's user or
 * root may own or read it.  All of that is checked on the open file, at each
 * use, so that a file changed later is refused later.
 *
 * Absent (WD101), unreachable (WD102), refused (WD103) and corrupt (WD104) are
 * four errors, because each asks the operator for something else.  The path is
 * shown in messages: it is no secret, but only superusers see the setting, so it
 * goes to the log (errdetail_log) and not to the client.
 */
#include "seal/seal_int.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"

/* A file in hexadecimal, a carriage return and a line feed: no valid one is longer. */
#define KEK_FILE_MAX (2 * SEAL_SECRET_LENGTH + 2)

static void
seal_kek_file_unreachable(const char *doing)
{
	int saved = errno;

	if (saved == ENOENT || saved == ENOTDIR)
		ereport(ERROR,
				(errcode(ERRCODE_WARD_KEK_ABSENT),
				 errmsg("the file of the key-encryption key does not exist"),
				 errdetail_log("ward.kek_file is \"%s\".", seal_setting_kek_file),
				 errhint("Put the file back where ward.kek_file says. For a new cluster make one "
						 "with: umask 077; openssl rand -out FILE 32")));
	errno = saved;
	ereport(ERROR, (errcode(ERRCODE_WARD_KEK_UNREACHABLE),
					errmsg("could not %s the file of the key-encryption key: %m", doing),
					errdetail_log("ward.kek_file is \"%s\".", seal_setting_kek_file),
					errhint("The server's user must be able to read the file that ward.kek_file "
							"names.")));
}

static void
seal_kek_file_refuse(const char *why, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_WARD_KEK_REFUSED),
					errmsg("the file of the key-encryption key is refused"), errdetail("%s", why),
					errdetail_log("%s ward.kek_file is \"%s\".", why, seal_setting_kek_file),
					errhint("%s", hint)));
}

/* Does path lie in directory?  Both are absolute and free of links. */
static bool
seal_kek_file_inside(const char *path, const char *directory)
{
	Size len = strlen(directory);

	return strncmp(path, directory, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* Parses 64 digits; false on anything else. */
static bool
seal_kek_file_parse_hex(const uint8 *text, uint8 kek[SEAL_SECRET_LENGTH])
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

/* Takes the KEK out of the file's content; false where that is none. */
static bool
seal_kek_file_parse(const uint8 *content, int len, uint8 kek[SEAL_SECRET_LENGTH])
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
	return len == 2 * SEAL_SECRET_LENGTH && seal_kek_file_parse_hex(content, kek);
}

static void
seal_kek_file_check(int fd)
{
	struct stat status;

	if (fstat(fd, &status) != 0)
		seal_kek_file_unreachable("examine");
	if (!S_ISREG(status.st_mode))
		seal_kek_file_refuse("It is not a regular file.", "Point ward.kek_file at a regular file.");
	if (status.st_uid != geteuid() && status.st_uid != 0)
		seal_kek_file_refuse("It belongs neither to the server's user nor to root.",
							 "Change its owner to the server's user (chown).");
	if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		seal_kek_file_refuse("Its group or others have permissions on it.",
							 "Take them away: chmod 600 FILE");
}

static void
seal_kek_file_load(uint8 kek[SEAL_SECRET_LENGTH])
{
	char path[PATH_MAX];
	char data[PATH_MAX];
	uint8 content[KEK_FILE_MAX + 1];
	int fd;
	int len = 0;
	int got;
	int failed = 0;
	bool good;

	if (seal_setting_kek_file == NULL || seal_setting_kek_file[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_WARD_KEK_ABSENT), errmsg("no key-encryption key is configured"),
				 errdetail("ward.kek_file is empty."),
				 errhint("Make a key outside the data directory, as the server's user: umask 077; "
						 "openssl rand -out FILE 32. Then set ward.kek_file and reload.")));
	if (!is_absolute_path(seal_setting_kek_file))
		seal_kek_file_refuse("ward.kek_file is a relative path, and so below the data directory.",
							 "Set ward.kek_file to an absolute path outside the data directory.");
	if (realpath(seal_setting_kek_file, path) == NULL)
		seal_kek_file_unreachable("find");
	if (realpath(DataDir, data) == NULL)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not resolve \"%s\": %m", DataDir)));
	if (seal_kek_file_inside(path, data))
		seal_kek_file_refuse("It lies in the data directory, so each backup would hold the key "
							 "beside what it protects.",
							 "Move it elsewhere and set ward.kek_file to its new path.");

	/* Without O_NONBLOCK a named pipe would hang the backend before it is refused. */
	fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);
	if (fd < 0)
		seal_kek_file_unreachable("open");
	seal_kek_file_check(fd);
	while (len < (int) sizeof(content))
	{
		got = (int) read(fd, content + len, sizeof(content) - len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			failed = errno;
		if (got <= 0)
			break;
		len += got;
	}
	good = failed == 0 && seal_kek_file_parse(content, len, kek);
	core_secret_wipe(content, sizeof(content));
	(void) CloseTransientFile(fd);
	if (failed != 0)
	{
		errno = failed;
		seal_kek_file_unreachable("read");
	}
	if (!good)
		ereport(ERROR,
				(errcode(ERRCODE_WARD_KEK_CORRUPT),
				 errmsg("the file of the key-encryption key does not hold one"),
				 errdetail("It must have exactly 32 bytes, or 64 hexadecimal digits."),
				 errdetail_log("ward.kek_file is \"%s\".", seal_setting_kek_file),
				 errhint("Restore the file. For a new cluster make one with: umask 077; openssl "
						 "rand -out FILE 32")));
}

const SealKekProvider seal_kek_file = {"file", seal_kek_file_load};
