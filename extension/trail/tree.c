/*
 * tree.c
 *		The Merkle tree of RFC 9162 over all records, and every OpenSSL call of the
 *		trail layer.
 *
 * Only the compact range is kept: one hash for each set bit of the tree's size,
 * enough to append in amortised one hash and to compute the root.  Leaf and inner
 * hashes are set apart by their first byte, as the RFC has it, so that a record
 * can't pose as a subtree.
 *
 * No locks; callers own the trees they pass.
 */
#include "trail/trail_int.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

/* Fetching an algorithm costs more than hashing with it: once a process. */
static EVP_MD *tree_sha256 = NULL;
static EVP_MD_CTX *tree_context = NULL;

static void
trail_tree_hash(uint8 prefix, const void *a, Size alen, const void *b, Size blen,
				uint8 hash[TRAIL_HASH_LENGTH])
{
	unsigned int length = 0;

	if (tree_context == NULL)
	{
		if (tree_sha256 == NULL)
			tree_sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
		tree_context = tree_sha256 != NULL ? EVP_MD_CTX_new() : NULL;
	}
	if (tree_context == NULL || EVP_DigestInit_ex2(tree_context, tree_sha256, NULL) != 1 ||
		EVP_DigestUpdate(tree_context, &prefix, 1) != 1 ||
		EVP_DigestUpdate(tree_context, a, alen) != 1 ||
		(blen > 0 && EVP_DigestUpdate(tree_context, b, blen) != 1) ||
		EVP_DigestFinal_ex(tree_context, hash, &length) != 1 || length != TRAIL_HASH_LENGTH)
		ereport(ERROR, (errcode(ERRCODE_WARD_CRYPTO_FAILED),
						errmsg("could not compute a hash for the trail"),
						errdetail("OpenSSL refused SHA-256."),
						errhint("Check the server's OpenSSL configuration.")));
}

/* Hash of a leaf. */
void
trail_tree_leaf(const void *data, Size len, uint8 hash[TRAIL_HASH_LENGTH])
{
	trail_tree_hash(0x00, data, len, NULL, 0, hash);
}

/* Adds one leaf. */
void
trail_tree_append(TrailTree *tree, const uint8 leaf[TRAIL_HASH_LENGTH])
{
	uint8 hash[TRAIL_HASH_LENGTH];
	int level = 0;

	memcpy(hash, leaf, TRAIL_HASH_LENGTH);
	while (tree->size & (UINT64CONST(1) << level))
	{
		trail_tree_hash(0x01, tree->hashes[level], TRAIL_HASH_LENGTH, hash, TRAIL_HASH_LENGTH,
						hash);
		level++;
	}
	memcpy(tree->hashes[level], hash, TRAIL_HASH_LENGTH);
	tree->size++;
}

/* Root of the tree; of an empty one, the hash of nothing. */
void
trail_tree_root(const TrailTree *tree, uint8 root[TRAIL_HASH_LENGTH])
{
	bool first = true;
	int level;

	if (tree->size == 0)
	{
		unsigned int length = 0;

		if (EVP_Digest("", 0, root, &length, EVP_sha256(), NULL) != 1)
			elog(ERROR, "could not hash the empty tree");
		return;
	}
	for (level = 0; level < TRAIL_LEVELS; level++)
	{
		if (!(tree->size & (UINT64CONST(1) << level)))
			continue;
		if (first)
			memcpy(root, tree->hashes[level], TRAIL_HASH_LENGTH);
		else
			trail_tree_hash(0x01, tree->hashes[level], TRAIL_HASH_LENGTH, root, TRAIL_HASH_LENGTH,
							root);
		first = false;
	}
}

/* Random bytes, for a node's identity. */
void
trail_tree_random(void *data, Size len)
{
	if (RAND_bytes(data, (int) len) != 1)
		ereport(ERROR, (errcode(ERRCODE_WARD_CRYPTO_FAILED),
						errmsg("could not draw random bytes for the trail"),
						errdetail("OpenSSL's random generator failed.")));
}
