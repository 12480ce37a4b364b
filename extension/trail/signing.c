/*
 * signing.c
 *		The file that holds the trail's signing key.
 *
 * The key has to outlive a crash, or each would break the chain of keys; so it is in a
 * file, readable by the server's user alone.  The file has two slots.  A new key is
 * written to the free one and flushed, the old key signs it, that record is flushed,
 * and only then is the old one overwritten where it stands, and flushed.  Whatever
 * dies in between, at least one slot holds the key that the trail names last; the
 * signer, as it starts, destroys the other.
 *
 * The file is never renamed or written anew: a copy of a key that nobody overwrites
 * would be left behind.  What a file system that copies on write, or a disk that spreads
 * its wear, keeps of overwritten blocks is beyond reach (SECURITY.md).
 *
 * Its first block notes how many records were signed, and their root, so that a trail
 * that was cut or rewritten while the server was down is not gone on with.
 *
 * Seeds are only in locked memory, of the signer alone.  No locks; faults are described
 * and never raised.
 */
#include "trail/trail_int.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "port/pg_crc32c.h"
#include "storage/fd.h"

/* One block each, so that writing one never touches another. */
#define SIGNING_BLOCK 4096
#define SIGNING_NOTE_MAGIC "WARDNOTE"
#define SIGNING_SLOT_MAGIC "WARDSEED"
/* magic, node, number, then a seed or a root, checksum */
#define SIGNING_SEED (8 + TRAIL_NODE_LENGTH + 8)
#define SIGNING_SLOT_LENGTH (SIGNING_SEED + TRAIL_KEY_LENGTH + 4)
#define SIGNING_NOTE_LENGTH (SIGNING_SEED + TRAIL_HASH_LENGTH + 4)

/* A slot as read or to be written, and the seeds of both. */
typedef struct SigningSecret
{
	uint8 block[SIGNING_SLOT_LENGTH];
	uint8 seeds[TRAIL_SIGNING_SLOTS][TRAIL_KEY_LENGTH];
} SigningSecret;

static SigningSecret *signing_secret = NULL;

static bool
trail_signing_fault(TrailFault *fault, int errnum, const char *what)
{
	fault->sqlerrcode = ERRCODE_WARD_TRAIL_UNREACHABLE;
	fault->errnum = errnum;
	fault->what = what;
	fault->hint = NULL;
	fault->offset = 0;
	strlcpy(fault->path, trail_setting_signing_key_file, MAXPGPATH);
	return false;
}

static off_t
trail_signing_offset(int slot)
{
	return (off_t) SIGNING_BLOCK * (slot + 1);
}

/* Opens the file; made where it is not there yet, if so wanted.  -1: described. */
static int
trail_signing_open(bool create, TrailFault *fault)
{
	struct stat st;
	int fd = BasicOpenFilePerm(trail_setting_signing_key_file,
							   O_RDWR | (create ? O_CREAT : 0) | PG_BINARY, S_IRUSR | S_IWUSR);

	if (fd < 0)
	{
		trail_signing_fault(fault, errno, "could not open the signing key's file");
		return -1;
	}
	if (fstat(fd, &st) != 0 || (st.st_mode & (S_IRWXG | S_IRWXO)) != 0 || !S_ISREG(st.st_mode))
	{
		close(fd);
		trail_signing_fault(fault, 0,
							"others than the server's user may use the signing key's file");
		return -1;
	}
	return fd;
}

static uint32
trail_signing_crc(const uint8 *block, Size len)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, block, len);
	FIN_CRC32C(crc);
	return crc;
}

/* magic, node, number; the checksum stands at the end. */
static void
trail_signing_fill(uint8 *block, const char *magic, const uint8 node[TRAIL_NODE_LENGTH],
				   uint64 number, Size len)
{
	uint32 crc;

	memcpy(block, magic, 8);
	memcpy(block + 8, node, TRAIL_NODE_LENGTH);
	for (int i = 0; i < 8; i++)
		block[8 + TRAIL_NODE_LENGTH + i] = (uint8) (number >> (8 * i));
	crc = trail_signing_crc(block, len - 4);
	for (int i = 0; i < 4; i++)
		block[len - 4 + i] = (uint8) (crc >> (8 * i));
}

static bool
trail_signing_is(const uint8 *block, ssize_t got, const char *magic,
				 const uint8 node[TRAIL_NODE_LENGTH], Size len)
{
	return got == (ssize_t) len && memcmp(block, magic, 8) == 0 &&
		   memcmp(block + 8, node, TRAIL_NODE_LENGTH) == 0 &&
		   trail_signing_crc(block, len - 4) == trail_segment_get32(block + len - 4);
}

/* A lost directory entry would lose the key with it. */
static bool
trail_signing_sync_directory(void)
{
	char directory[MAXPGPATH];

	strlcpy(directory, trail_setting_signing_key_file, MAXPGPATH);
	get_parent_directory(directory);
	return fsync_fname_ext(directory[0] != '\0' ? directory : ".", true, true, LOG) == 0;
}

static void
trail_signing_secret(void)
{
	if (signing_secret == NULL)
		signing_secret = core_secret_alloc(sizeof(SigningSecret));
}

/* Reads both slots.  Keys of another node's trail, and what is not whole, are none. */
bool
trail_signing_load(const uint8 node[TRAIL_NODE_LENGTH], TrailSigningSlot slots[TRAIL_SIGNING_SLOTS],
				   TrailFault *fault)
{
	int fd = trail_signing_open(true, fault);

	if (fd < 0)
		return false;
	trail_signing_secret();
	for (int i = 0; i < TRAIL_SIGNING_SLOTS; i++)
	{
		uint8 *block = signing_secret->block;
		ssize_t got = pg_pread(fd, block, SIGNING_SLOT_LENGTH, trail_signing_offset(i));

		slots[i].used = trail_signing_is(block, got, SIGNING_SLOT_MAGIC, node, SIGNING_SLOT_LENGTH);
		if (slots[i].used)
		{
			slots[i].epoch = trail_segment_get64(block + 8 + TRAIL_NODE_LENGTH);
			memcpy(signing_secret->seeds[i], block + SIGNING_SEED, TRAIL_KEY_LENGTH);
			slots[i].used = trail_tree_public_key(signing_secret->seeds[i], slots[i].public_key);
		}
		core_secret_wipe(block, SIGNING_SLOT_LENGTH);
		if (got < 0)
		{
			int errnum = errno;

			close(fd);
			return trail_signing_fault(fault, errnum, "could not read the signing key's file");
		}
	}
	close(fd);
	return true;
}

/* Draws a key into a slot; on disk when it returns. */
bool
trail_signing_generate(int slot, const uint8 node[TRAIL_NODE_LENGTH], uint64 epoch,
					   uint8 public_key[TRAIL_KEY_LENGTH], TrailFault *fault)
{
	uint8 *seed;
	bool written;
	int fd = trail_signing_open(true, fault);

	if (fd < 0)
		return false;
	trail_signing_secret();
	seed = signing_secret->seeds[slot];
	trail_tree_random(seed, TRAIL_KEY_LENGTH);
	memcpy(signing_secret->block + SIGNING_SEED, seed, TRAIL_KEY_LENGTH);
	trail_signing_fill(signing_secret->block, SIGNING_SLOT_MAGIC, node, epoch, SIGNING_SLOT_LENGTH);
	errno = ENOSPC; /* what a short write means when errno is silent */
	written = pg_pwrite(fd, signing_secret->block, SIGNING_SLOT_LENGTH,
						trail_signing_offset(slot)) == SIGNING_SLOT_LENGTH &&
			  pg_fsync(fd) == 0 && trail_signing_sync_directory();
	core_secret_wipe(signing_secret->block, SIGNING_SLOT_LENGTH);
	if (!written || !trail_tree_public_key(seed, public_key))
	{
		int errnum = errno;

		close(fd);
		return trail_signing_fault(fault, errnum, "could not write the signing key's file");
	}
	close(fd);
	return true;
}

/* Overwrites a slot on disk, then the seed in memory. */
bool
trail_signing_destroy(int slot, TrailFault *fault)
{
	uint8 zeros[SIGNING_SLOT_LENGTH] = {0};
	bool written;
	int errnum;
	int fd = trail_signing_open(true, fault);

	if (fd < 0)
		return false;
	errno = ENOSPC;
	written = pg_pwrite(fd, zeros, sizeof(zeros), trail_signing_offset(slot)) == sizeof(zeros) &&
			  pg_fsync(fd) == 0;
	errnum = errno;
	close(fd);
	if (!written)
		return trail_signing_fault(fault, errnum, "could not destroy a signing key");
	if (signing_secret != NULL)
		core_secret_wipe(signing_secret->seeds[slot], TRAIL_KEY_LENGTH);
	return true;
}

/* A seed that was loaded or drawn. */
const uint8 *
trail_signing_seed(int slot)
{
	return signing_secret->seeds[slot];
}

/* Notes how many records of a trail were signed, and their root. */
bool
trail_signing_note(const uint8 node[TRAIL_NODE_LENGTH], uint64 size,
				   const uint8 root[TRAIL_HASH_LENGTH], TrailFault *fault)
{
	uint8 block[SIGNING_NOTE_LENGTH];
	bool written;
	int errnum;
	int fd = trail_signing_open(true, fault);

	if (fd < 0)
		return false;
	memcpy(block + SIGNING_SEED, root, TRAIL_HASH_LENGTH);
	trail_signing_fill(block, SIGNING_NOTE_MAGIC, node, size, sizeof(block));
	errno = ENOSPC;
	/* Not flushed: a note that is lost names an earlier checkpoint. */
	written = pg_pwrite(fd, block, sizeof(block), 0) == sizeof(block);
	errnum = errno;
	close(fd);
	return written || trail_signing_fault(fault, errnum, "could not write the signing key's file");
}

/* How many records of this trail were signed, and their root; known is false where nobody knows. */
bool
trail_signing_noted(const uint8 node[TRAIL_NODE_LENGTH], bool *known, uint64 *size,
					uint8 root[TRAIL_HASH_LENGTH], TrailFault *fault)
{
	uint8 block[SIGNING_NOTE_LENGTH];
	ssize_t got;
	int errnum;
	int fd = BasicOpenFile(trail_setting_signing_key_file, O_RDONLY | PG_BINARY);

	*known = false;
	if (fd < 0)
		return errno == ENOENT ||
			   trail_signing_fault(fault, errno, "could not open the signing key's file");
	got = pg_pread(fd, block, sizeof(block), 0);
	errnum = errno;
	close(fd);
	if (got < 0)
		return trail_signing_fault(fault, errnum, "could not read the signing key's file");
	*known = trail_signing_is(block, got, SIGNING_NOTE_MAGIC, node, sizeof(block));
	*size = trail_segment_get64(block + 8 + TRAIL_NODE_LENGTH);
	memcpy(root, block + SIGNING_SEED, TRAIL_HASH_LENGTH);
	return true;
}
