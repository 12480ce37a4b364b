/*
 * Preloaded into a server: a file layer that forgets and dies on command.
 *
 * FILE_LAYER_KEEP: a directory. Whenever a segment of a trail (a file whose path has
 * ".trail" in it) is flushed, its content as of then is copied there. After a power
 * failure this is what a disk may hold, and no byte more: nothing that was not flushed.
 *
 * FILE_LAYER_KILL: a file that holds a word and a number, "signing 3". The process that
 * makes the third write or flush of a file whose path has that word in it is killed
 * before it does; with "signing 3 after", once it has done so. The file is then removed.
 * Renaming a file counts as an operation on its new path, and removing one as on its path
 * with "unlink:" before it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int
path_of(int fd, char *path)
{
	char link[64];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, PATH_MAX - 1);
	path[len < 0 ? 0 : len] = '\0';
	return len > 0;
}

/* Operations of this process on files that the wish names. */
static int count = 0;

static void
die_at(const char *path, int after)
{
	const char *name = getenv("FILE_LAYER_KILL");
	char word[64] = "";
	char when[16] = "before";
	int wanted = 0;
	FILE *wish = name != NULL ? fopen(name, "r") : NULL;

	if (wish == NULL)
		return;
	if (fscanf(wish, "%63s %d %15s", word, &wanted, when) < 2)
		word[0] = '\0';
	fclose(wish);
	if (word[0] == '\0' || strstr(path, word) == NULL)
		return;
	if (!after)
		count++;
	if (count == wanted && after == (strcmp(when, "after") == 0))
	{
		unlink(name);
		kill(getpid(), SIGKILL);
	}
}

static void
die_if_wished(int fd, int after)
{
	char path[PATH_MAX];

	if (getenv("FILE_LAYER_KILL") != NULL && path_of(fd, path))
		die_at(path, after);
}

/* What a flush that begins now will cover: not what others append meanwhile. */
static off_t
size_of(int fd)
{
	struct stat st;

	return getenv("FILE_LAYER_KEEP") != NULL && fstat(fd, &st) == 0 ? st.st_size : 0;
}

/* Copies what was flushed, whole or not at all. */
static void
keep(int fd, off_t size)
{
	static __thread char block[65536];
	const char *directory = getenv("FILE_LAYER_KEEP");
	char path[PATH_MAX];
	char copy[2 * PATH_MAX];
	char final[2 * PATH_MAX];
	off_t at = 0;
	ssize_t got = 0;
	int out;

	if (directory == NULL || !path_of(fd, path) || strstr(path, ".trail") == NULL)
		return;
	snprintf(final, sizeof(final), "%s%s", directory, strrchr(path, '/'));
	snprintf(copy, sizeof(copy), "%s.%d", final, (int) getpid());
	out = open(copy, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (out < 0)
		return;
	while (at < size)
	{
		size_t want = size - at < (off_t) sizeof(block) ? (size_t) (size - at) : sizeof(block);

		got = pread(fd, block, want, at);
		if (got <= 0 || write(out, block, got) != got)
			break;
		at += got;
	}
	close(out);
	if (at < size || rename(copy, final) != 0)
		unlink(copy);
}

#define REAL(name, type) ((type) dlsym(RTLD_NEXT, name))

ssize_t
pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
	static ssize_t (*real)(int, const void *, size_t, off64_t);
	ssize_t result;

	if (real == NULL)
		real = REAL("pwrite64", ssize_t(*)(int, const void *, size_t, off64_t));
	die_if_wished(fd, 0);
	result = real(fd, data, len, offset);
	die_if_wished(fd, 1);
	return result;
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t offset)
{
	return pwrite64(fd, data, len, offset);
}

static int
sync_and_keep(int fd, int (*real)(int))
{
	off_t size = size_of(fd);
	int result;

	die_if_wished(fd, 0);
	result = real(fd);
	if (result == 0)
		keep(fd, size);
	die_if_wished(fd, 1);
	return result;
}

int
fsync(int fd)
{
	static int (*real)(int);

	if (real == NULL)
		real = REAL("fsync", int (*)(int));
	return sync_and_keep(fd, real);
}

int
fdatasync(int fd)
{
	static int (*real)(int);

	if (real == NULL)
		real = REAL("fdatasync", int (*)(int));
	return sync_and_keep(fd, real);
}

int
rename(const char *from, const char *to)
{
	static int (*real)(const char *, const char *);
	int result;

	if (real == NULL)
		real = REAL("rename", int (*)(const char *, const char *));
	die_at(to, 0);
	result = real(from, to);
	die_at(to, 1);
	return result;
}

/* The layer's own files, too. */
int
unlink(const char *path)
{
	static int (*real)(const char *);
	static int within = 0;
	char marked[PATH_MAX];
	int result;

	if (real == NULL)
		real = REAL("unlink", int (*)(const char *));
	if (within)
		return real(path);
	within = 1;
	snprintf(marked, sizeof(marked), "unlink:%s", path);
	die_at(marked, 0);
	result = real(path);
	die_at(marked, 1);
	within = 0;
	return result;
}
