/*
 * secret.c
 *		Memory for key material.
 *
 * Secrets must not be swapped to disk, must not be in a core dump and must not
 * outlive their use.  palloc'd memory promises none of the three: a context
 * reset leaves the bytes in place.  So secrets live in pages of their own.
 *
 * Locking is best effort: where RLIMIT_MEMLOCK is too small the memory is still
 * kept out of core dumps and wiped, and a WARNING says once what is missing
 * (refusing would turn a ulimit into an outage).
 *
 * No locks are taken here; callers own the memory they allocate.
 */
#include "core/core.h"

#include <sys/mman.h>
#include <unistd.h>

#include <openssl/crypto.h>

static bool warned_unlocked = false;

static Size
core_secret_round(Size size)
{
	Size page = (Size) sysconf(_SC_PAGESIZE);

	return TYPEALIGN(page, size);
}

/*
 * Keeps existing memory, say a part of shared memory, out of swap and core
 * dumps.  start is rounded down to a page.
 */
void
core_secret_guard(void *start, Size size)
{
	Size page = (Size) sysconf(_SC_PAGESIZE);
	char *from = (char *) TYPEALIGN_DOWN(page, (uintptr_t) start);
	Size len = (char *) start + size - from;

	if (mlock(from, len) != 0 && !warned_unlocked)
	{
		warned_unlocked = true;
		ereport(WARNING, (errmsg("could not lock memory that holds keys: %m"),
						  errdetail("Keys may reach the swap area."),
						  errhint("Raise the limit of locked memory (LimitMEMLOCK) for the server, "
								  "or encrypt the swap area.")));
	}
#ifdef MADV_DONTDUMP
	/* A kernel without it is no reason to fail; locking above still holds. */
	(void) madvise(from, len, MADV_DONTDUMP);
#endif
}

/*
 * Zeroed memory for a secret, in pages of its own.  Raises out_of_memory.  The
 * caller frees it with core_secret_free() and the same size.
 */
void *
core_secret_alloc(Size size)
{
	Size len = core_secret_round(size);
	void *secret = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (secret == MAP_FAILED)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
						errdetail("Failed on a request of %zu bytes for key material.", size)));
	core_secret_guard(secret, len);
	return secret;
}

/* Wipes and returns what core_secret_alloc() gave.  NULL is ignored. */
void
core_secret_free(void *secret, Size size)
{
	if (secret == NULL)
		return;
	core_secret_wipe(secret, size);
	(void) munmap(secret, core_secret_round(size));
}

/* Overwrites a buffer in a way that the compiler may not drop. */
void
core_secret_wipe(void *secret, Size size)
{
	OPENSSL_cleanse(secret, size);
}

/* Compares in constant time. */
bool
core_secret_equal(const void *a, const void *b, Size size)
{
	return CRYPTO_memcmp(a, b, size) == 0;
}
