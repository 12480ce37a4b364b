// link: extension/trail/tree.c extension/trail/proof.c
/*
 * Proofs over the trail's tree: the published vectors of RFC 6962's reference
 * implementation (RFC 9162's proofs are the same), and that each proof of small trees
 * holds for what it is about and for nothing else.  Signatures: the vectors of RFC 8032.
 */
#include "unit.h"

static void
from_hex(const char *hex, uint8 *bytes, int len)
{
	for (int i = 0; i < len; i++)
	{
		unsigned int byte;

		(void) sscanf(hex + 2 * i, "%2x", &byte);
		bytes[i] = (uint8) byte;
	}
}

/* The leaves of the reference implementation's test, and its roots of the first n. */
static const struct
{
	const char *bytes;
	int len;
} inputs[8] = {{"", 0},
			   {"\x00", 1},
			   {"\x10", 1},
			   {"\x20\x21", 2},
			   {"\x30\x31", 2},
			   {"\x40\x41\x42\x43", 4},
			   {"\x50\x51\x52\x53\x54\x55\x56\x57", 8},
			   {"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16}};

#define LEAVES 70

static uint8 leaves[LEAVES][TRAIL_HASH_LENGTH];
static int asked = 0;

/* Leaves alone, so that every subtree is made of its halves. */
static bool
single(uint64 start, int level, uint8 hash[TRAIL_HASH_LENGTH], void *arg)
{
	if (level > 0)
		return false;
	memcpy(hash, leaves[start], TRAIL_HASH_LENGTH);
	return true;
}

/* Subtrees of up to four leaves at once, as a segment gives them. */
static bool
four(uint64 start, int level, uint8 hash[TRAIL_HASH_LENGTH], void *arg)
{
	TrailTree tree;

	asked++;
	if (level > 2)
		return false;
	memset(&tree, 0, sizeof(tree));
	for (int i = 0; i < 1 << level; i++)
		trail_tree_append(&tree, leaves[start + i]);
	memcpy(hash, tree.hashes[level], TRAIL_HASH_LENGTH);
	return true;
}

typedef struct Published
{
	int m;
	int n;
	int count;
	const char *hashes[3];
} Published;

#define H_96A2 "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
#define H_5F08 "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
#define H_6B47 "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
#define H_BC1A "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
#define H_CA85 "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
#define H_D37E "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
#define H_FAC5 "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
#define H_6E34 "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
#define H_0EBC "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"

static const Published inclusions[] = {{0, 8, 3, {H_96A2, H_5F08, H_6B47}},
									   {5, 8, 3, {H_BC1A, H_CA85, H_D37E}},
									   {2, 3, 1, {H_FAC5}},
									   {1, 5, 3, {H_6E34, H_5F08, H_BC1A}}};

static const Published consistencies[] = {{1, 8, 3, {H_96A2, H_5F08, H_6B47}},
										  {6, 8, 3, {H_0EBC, H_CA85, H_D37E}},
										  {2, 5, 2, {H_5F08, H_BC1A}}};

static bool
is_published(const TrailProof *proof, const Published *published)
{
	bool good = proof->count == published->count;

	for (int i = 0; good && i < proof->count; i++)
	{
		uint8 want[TRAIL_HASH_LENGTH];

		from_hex(published->hashes[i], want, TRAIL_HASH_LENGTH);
		good = memcmp(proof->hashes[i], want, TRAIL_HASH_LENGTH) == 0;
	}
	return good;
}

/* Every proof of every tree up to so many leaves, and every flipped bit's first byte. */
static void
all(TrailProofSubtree source, int sizes)
{
	static uint8 roots[LEAVES + 1][TRAIL_HASH_LENGTH];
	TrailTree tree;
	TrailProof proof;
	bool included = true;
	bool consistent = true;
	bool wrong = false;
	bool right_roots = true;

	memset(&tree, 0, sizeof(tree));
	for (int n = 1; n <= sizes; n++)
	{
		uint8 root[TRAIL_HASH_LENGTH];

		trail_tree_append(&tree, leaves[n - 1]);
		trail_tree_root(&tree, roots[n]);
		trail_proof_root(n, root, source, NULL);
		right_roots = right_roots && memcmp(root, roots[n], TRAIL_HASH_LENGTH) == 0;
	}
	for (int n = 1; n <= sizes; n++)
	{
		for (int m = 0; m < n; m++)
		{
			trail_proof_inclusion(m, n, &proof, source, NULL);
			included = included && trail_proof_check_inclusion(&proof, m, n, leaves[m], roots[n]);
			wrong = wrong ||
					trail_proof_check_inclusion(&proof, m, n, leaves[(m + 1) % LEAVES], roots[n]) ||
					(n > 1 && trail_proof_check_inclusion(&proof, m, n, leaves[m], roots[n - 1]));
			for (int i = 0; i < proof.count; i++)
			{
				proof.hashes[i][0] ^= 1;
				wrong = wrong || trail_proof_check_inclusion(&proof, m, n, leaves[m], roots[n]);
				proof.hashes[i][0] ^= 1;
			}
			if (m == 0)
				continue;
			trail_proof_consistency(m, n, &proof, source, NULL);
			consistent =
				consistent && trail_proof_check_consistency(&proof, m, n, roots[m], roots[n]);
			for (int i = 0; i < proof.count; i++)
			{
				proof.hashes[i][0] ^= 1;
				wrong = wrong || trail_proof_check_consistency(&proof, m, n, roots[m], roots[n]);
				proof.hashes[i][0] ^= 1;
			}
			proof.hashes[0][0] ^= 1;
			wrong = wrong || trail_proof_check_consistency(&proof, m, n, roots[n], roots[n]);
		}
	}
	ok(right_roots, "roots of subtrees, up to", sizes);
	ok(included, "each proof of inclusion holds, up to", sizes);
	ok(consistent, "each proof of consistency holds, up to", sizes);
	ok(!wrong, "none holds for another record or tree, or with a bit flipped, up to", sizes);
}

/* RFC 8032, section 7.1, tests 1 to 3. */
static const struct
{
	const char *seed;
	const char *key;
	const char *message;
	int len;
	const char *signature;
} signatures[] = {{"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
				   "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "", 0,
				   "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33ba"
				   "cc61e39701cf9b4"
				   "6bd25bf5f0595bbe24655141438e7a100b"},
				  {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
				   "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "\x72", 1,
				   "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996"
				   "e458f3613d0f11d"
				   "8c387b2eaeb4302aeeb00d291612bb0c00"},
				  {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
				   "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "\xaf\x82",
				   2,
				   "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f29"
				   "0ae67f760984dc6"
				   "594a7c15e9716ed28dc027beceea1ec40a"}};

int
main(void)
{
	TrailProof proof;

	for (int i = 0; i < 8; i++)
		trail_tree_leaf(inputs[i].bytes, inputs[i].len, leaves[i]);
	for (int i = 0; i < (int) lengthof(inclusions); i++)
	{
		trail_proof_inclusion(inclusions[i].m, inclusions[i].n, &proof, single, NULL);
		ok(is_published(&proof, &inclusions[i]), "published proof of inclusion", i);
	}
	for (int i = 0; i < (int) lengthof(consistencies); i++)
	{
		trail_proof_consistency(consistencies[i].m, consistencies[i].n, &proof, single, NULL);
		ok(is_published(&proof, &consistencies[i]), "published proof of consistency", i);
	}
	for (int i = 8; i < LEAVES; i++)
		trail_tree_leaf(&i, sizeof(i), leaves[i]);
	all(single, LEAVES);
	all(four, LEAVES);
	ok(asked > 0, "subtrees were asked for", 1);

	for (int i = 0; i < (int) lengthof(signatures); i++)
	{
		uint8 seed[TRAIL_KEY_LENGTH];
		uint8 key[TRAIL_KEY_LENGTH];
		uint8 want_key[TRAIL_KEY_LENGTH];
		uint8 signature[TRAIL_SIGNATURE_LENGTH];
		uint8 want[TRAIL_SIGNATURE_LENGTH];

		from_hex(signatures[i].seed, seed, TRAIL_KEY_LENGTH);
		from_hex(signatures[i].key, want_key, TRAIL_KEY_LENGTH);
		from_hex(signatures[i].signature, want, TRAIL_SIGNATURE_LENGTH);
		ok(trail_tree_public_key(seed, key) && memcmp(key, want_key, TRAIL_KEY_LENGTH) == 0,
		   "published public key", i);
		ok(trail_tree_sign(seed, signatures[i].message, signatures[i].len, signature) &&
			   memcmp(signature, want, TRAIL_SIGNATURE_LENGTH) == 0,
		   "published signature", i);
		ok(trail_tree_verify(key, signatures[i].message, signatures[i].len, want),
		   "published signature is good:", i);
		want[0] ^= 1;
		ok(!trail_tree_verify(key, signatures[i].message, signatures[i].len, want),
		   "and with a bit flipped is not:", i);
	}

	printf("1..%d\n", tests);
	return failures > 0;
}
