/*
 * tree.c
 *		The Merkle tree of RFC 9162 over all records, the signatures of its roots, and
 *		every OpenSSL call of the trail layer.
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

/* A negative prefix is none. */
static void
trail_tree_hash(int prefix, const void *a, Size alen, const void *b, Size blen,
				uint8 hash[TRAIL_HASH_LENGTH])
{
	uint8 first = (uint8) prefix;
	unsigned int length = 0;

	if (tree_context == NULL)
	{
		if (tree_sha256 == NULL)
			tree_sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
		tree_context = tree_sha256 != NULL ? EVP_MD_CTX_new() : NULL;
	}
	if (tree_context == NULL || EVP_DigestInit_ex2(tree_context, tree_sha256, NULL) != 1 ||
		(prefix >= 0 && EVP_DigestUpdate(tree_context, &first, 1) != 1) ||
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

/* SHA-256 of bytes as they are. */
void
trail_tree_digest(const void *data, Size len, uint8 hash[TRAIL_HASH_LENGTH])
{
	trail_tree_hash(-1, data, len, NULL, 0, hash);
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

/* Parent of two nodes. */
void
trail_tree_node(const uint8 left[TRAIL_HASH_LENGTH], const uint8 right[TRAIL_HASH_LENGTH],
				uint8 hash[TRAIL_HASH_LENGTH])
{
	trail_tree_hash(0x01, left, TRAIL_HASH_LENGTH, right, TRAIL_HASH_LENGTH, hash);
}

/*
 * What a signed note names a key by (C2SP): the first bytes of SHA-256 of the key's
 * name, a line break, the kind of signature (1: Ed25519) and the public key.
 */
bool
trail_tree_key_id(const char *name, const uint8 public_key[TRAIL_KEY_LENGTH],
				  uint8 id[TRAIL_KEY_ID_LENGTH])
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8 hash[TRAIL_HASH_LENGTH];
	unsigned int length = 0;
	bool good = context != NULL && EVP_DigestInit_ex2(context, EVP_sha256(), NULL) == 1 &&
				EVP_DigestUpdate(context, name, strlen(name)) == 1 &&
				EVP_DigestUpdate(context, "\n\x01", 2) == 1 &&
				EVP_DigestUpdate(context, public_key, TRAIL_KEY_LENGTH) == 1 &&
				EVP_DigestFinal_ex(context, hash, &length) == 1;

	EVP_MD_CTX_free(context);
	if (good)
		memcpy(id, hash, TRAIL_KEY_ID_LENGTH);
	return good;
}

/* Public key of an Ed25519 seed. */
bool
trail_tree_public_key(const uint8 seed[TRAIL_KEY_LENGTH], uint8 public_key[TRAIL_KEY_LENGTH])
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, TRAIL_KEY_LENGTH);
	size_t length = TRAIL_KEY_LENGTH;
	bool good = key != NULL && EVP_PKEY_get_raw_public_key(key, public_key, &length) == 1 &&
				length == TRAIL_KEY_LENGTH;

	EVP_PKEY_free(key);
	return good;
}

/*
 * Signs; never raises.  OpenSSL's copy of the seed lives for this call alone: it wipes
 * it when the key is freed.
 */
bool
trail_tree_sign(const uint8 seed[TRAIL_KEY_LENGTH], const void *data, Size len,
				uint8 signature[TRAIL_SIGNATURE_LENGTH])
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, TRAIL_KEY_LENGTH);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	size_t length = TRAIL_SIGNATURE_LENGTH;
	bool good = key != NULL && context != NULL &&
				EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
				EVP_DigestSign(context, signature, &length, data, len) == 1 &&
				length == TRAIL_SIGNATURE_LENGTH;

	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	return good;
}

/* Is this that key's signature?  What OpenSSL can't say is no. */
bool
trail_tree_verify(const uint8 public_key[TRAIL_KEY_LENGTH], const void *data, Size len,
				  const uint8 signature[TRAIL_SIGNATURE_LENGTH])
{
	EVP_PKEY *key =
		EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, TRAIL_KEY_LENGTH);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool good = key != NULL && context != NULL &&
				EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
				EVP_DigestVerify(context, signature, TRAIL_SIGNATURE_LENGTH, data, len) == 1;

	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	return good;
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
