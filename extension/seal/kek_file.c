/*
 * kek_file.c
 *		KEK provider "file": 32 bytes, or 64 hexadecimal digits and a line break.
 *
 * The file must not be where a copy of the cluster takes it along (the data
 * directory, also through a symbolic link) and nobody but the server's user or
 * root may own or read it.  All of that is checked on the open file, at each
 * use, so that a file changed later is refused later.  The token's PIN file is read
 * by the same rules.
 *
 * Absent (WD101), unreachable (WD102), refused (WD103) and corrupt (WD104) are
 * four errors, because each asks the operator for something else.  The path is
 * no secret, but only superusers see the setting, so it goes to the log and not to
 * the client.
 */
#include "seal/kek_int.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"

static char *
seal_kek_file_where(const SealKekFile *file)
{
	return psprintf("%s is \"%s\".", file->setting, file->path);
}

/* By errno.  -1, for the caller to return. */
static int
seal_kek_file_unreachable(const SealKekFile *file, const char *doing, SealKekFault *fault)
{
	if (errno == ENOENT || errno == ENOTDIR)
		(void) seal_kek_fault(
			fault, ERRCODE_WARD_KEK_ABSENT, psprintf("the %s does not exist", file->what), NULL,
			seal_kek_file_where(file),
			psprintf("Put the file back where %s says. %s", file->setting, file->make));
	else
		(void) seal_kek_fault(
			fault, ERRCODE_WARD_KEK_UNREACHABLE,
			psprintf("could not %s the %s: %s", doing, file->what, strerror(errno)), NULL,
			seal_kek_file_where(file),
			psprintf("The server's user must be able to read the file that %s "
					 "names.",
					 file->setting));
	return -1;
}

static int
seal_kek_file_refuse(const SealKekFile *file, const char *why, const char *hint,
					 SealKekFault *fault)
{
	(void) seal_kek_fault(fault, ERRCODE_WARD_KEK_REFUSED,
						  psprintf("the %s is refused", file->what), why, seal_kek_file_where(file),
						  hint);
	return -1;
}

/* Does path lie in directory?  Both are absolute and free of links. */
static bool
seal_kek_file_inside(const char *path, const char *directory)
{
	Size len = strlen(directory);

	return strncmp(path, directory, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* 0, or -1 with the fault described. */
static int
seal_kek_file_check(const SealKekFile *file, int fd, struct stat *status, SealKekFault *fault)
{
	if (fstat(fd, status) != 0)
		return seal_kek_file_unreachable(file, "examine", fault);
	if (!S_ISREG(status->st_mode))
		return seal_kek_file_refuse(file, "It is not a regular file.",
									psprintf("Point %s at a regular file.", file->setting), fault);
	if (status->st_uid != geteuid() && status->st_uid != 0)
		return seal_kek_file_refuse(file, "It belongs neither to the server's user nor to root.",
									"Change its owner to the server's user (chown).", fault);
	if ((status->st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return seal_kek_file_refuse(file, "Its group or others have permissions on it.",
									"Take them away: chmod 600 FILE", fault);
	return 0;
}

static int
seal_kek_file_read_all(const SealKekFile *file, int fd, uint8 *content, int max,
					   SealKekFault *fault)
{
	int len = 0;

	while (len < max)
	{
		ssize_t got = read(fd, content + len, max - len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return seal_kek_file_unreachable(file, "read", fault);
		if (got == 0)
			break;
		len += (int) got;
	}
	return len;
}

/* See kek_int.h. */
int
seal_kek_file_read(const SealKekFile *file, uint8 *content, int max, struct stat *status,
				   SealKekFault *fault)
{
	char path[PATH_MAX];
	char data[PATH_MAX];
	int fd;
	int len;

	if (!is_absolute_path(file->path))
		return seal_kek_file_refuse(
			file,
			psprintf("%s is a relative path, and so below the data directory.", file->setting),
			psprintf("Set %s to an absolute path outside the data directory.", file->setting),
			fault);
	if (realpath(file->path, path) == NULL)
		return seal_kek_file_unreachable(file, "find", fault);
	if (realpath(DataDir, data) == NULL)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not resolve \"%s\": %m", DataDir)));
	if (seal_kek_file_inside(path, data))
		return seal_kek_file_refuse(
			file,
			"It lies in the data directory, so each backup would hold the key beside what it "
			"protects.",
			psprintf("Move it elsewhere and set %s to its new path.", file->setting), fault);

	/* Without O_NONBLOCK a named pipe would hang the backend before it is refused. */
	fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);
	if (fd < 0)
		return seal_kek_file_unreachable(file, "open", fault);
	len = seal_kek_file_check(file, fd, status, fault);
	if (len == 0)
		len = seal_kek_file_read_all(file, fd, content, max, fault);
	(void) CloseTransientFile(fd);
	return len;
}

static bool
seal_kek_file_load(const SealKekSource *source, uint8 kek[SEAL_SECRET_LENGTH], SealKekFault *fault)
{
	uint8 content[SEAL_KEK_TEXT_MAX + 1];
	struct stat status;
	SealKekFile file;
	int len;
	bool good;

	file.what = "file of the key-encryption key";
	file.setting = seal_kek_setting(source, "file");
	file.path = source->file;
	file.make = "For a new cluster make one with: umask 077; openssl rand -out FILE 32";
	if (source->file[0] == '\0')
		return seal_kek_fault(
			fault, ERRCODE_WARD_KEK_ABSENT, "no key-encryption key is configured",
			psprintf("%s is empty.", file.setting), NULL,
			psprintf("Make a key outside the data directory, as the server's user: umask 077; "
					 "openssl rand -out FILE 32. Then set %s and reload.",
					 file.setting));
	len = seal_kek_file_read(&file, content, (int) sizeof(content), &status, fault);
	good = len >= 0 && seal_kek_software_parse(content, len, kek);
	core_secret_wipe(content, sizeof(content));
	if (len < 0 || good)
		return good;
	return seal_kek_fault(fault, ERRCODE_WARD_KEK_CORRUPT,
						  "the file of the key-encryption key does not hold one",
						  "It must have exactly 32 bytes, or 64 hexadecimal digits.",
						  seal_kek_file_where(&file), psprintf("Restore the file. %s", file.make));
}

const SealKekProvider seal_kek_file = {"file",
									   seal_kek_file_load,
									   seal_kek_software_begin,
									   seal_kek_software_fingerprint,
									   seal_kek_software_wrap,
									   seal_kek_software_unwrap,
									   seal_kek_software_end};
