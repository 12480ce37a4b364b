// link: extension/trail/tree.c
/*
 * The Merkle tree of the trail: the published vectors of RFC 6962's reference
 * implementation (the tree of RFC 9162 is the same), and for larger sizes the RFC's
 * recursive definition, written here on its own.
 */
#include "unit.h"

#include <openssl/sha.h>

static bool
is_hex(const uint8 hash[TRAIL_HASH_LENGTH], const char *want)
{
	char hex[2 * TRAIL_HASH_LENGTH + 1];

	for (int i = 0; i < TRAIL_HASH_LENGTH; i++)
		snprintf(hex + 2 * i, 3, "%02x", hash[i]);
	return strcmp(hex, want) == 0;
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

static const char *roots[9] = {"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
							   "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
							   "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
							   "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
							   "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
							   "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
							   "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
							   "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
							   "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

/* MTH of the RFC over ready leaf hashes. */
static void
reference(uint8 (*leaves)[TRAIL_HASH_LENGTH], uint64 n, uint8 out[TRAIL_HASH_LENGTH])
{
	uint8 node[1 + 2 * TRAIL_HASH_LENGTH];
	uint64 k = 1;

	if (n == 1)
	{
		memcpy(out, leaves[0], TRAIL_HASH_LENGTH);
		return;
	}
	while (k * 2 < n)
		k *= 2;
	node[0] = 0x01;
	reference(leaves, k, node + 1);
	reference(leaves + k, n - k, node + 1 + TRAIL_HASH_LENGTH);
	SHA256(node, sizeof(node), out);
}

int
main(void)
{
	static uint8 leaves[300][TRAIL_HASH_LENGTH];
	TrailTree tree;
	uint8 root[TRAIL_HASH_LENGTH];
	uint8 want[TRAIL_HASH_LENGTH];
	uint8 hash[TRAIL_HASH_LENGTH];
	bool good = true;

	memset(&tree, 0, sizeof(tree));
	for (int n = 0; n <= 8; n++)
	{
		trail_tree_root(&tree, root);
		ok(is_hex(root, roots[n]), "published root of the first leaves:", n);
		if (n == 8)
			break;
		trail_tree_leaf(inputs[n].bytes, inputs[n].len, hash);
		trail_tree_append(&tree, hash);
	}
	ok(tree.size == 8, "the size counts leaves:", (int) tree.size);

	memset(&tree, 0, sizeof(tree));
	for (int n = 0; n < 300; n++)
	{
		trail_tree_leaf(&n, sizeof(n), leaves[n]);
		trail_tree_append(&tree, leaves[n]);
		trail_tree_root(&tree, root);
		reference(leaves, n + 1, want);
		good = good && memcmp(root, want, TRAIL_HASH_LENGTH) == 0;
	}
	ok(good, "roots as the RFC defines them, up to", 300);

	/* What a segment's header carries is enough to go on. */
	{
		TrailTree kept;

		memset(&kept, 0xa5, sizeof(kept));
		kept.size = tree.size;
		for (int level = 0; level < TRAIL_LEVELS; level++)
			if (tree.size & (UINT64CONST(1) << level))
				memcpy(kept.hashes[level], tree.hashes[level], TRAIL_HASH_LENGTH);
		for (int i = 0; i < 300; i++)
		{
			trail_tree_append(&tree, leaves[i]);
			trail_tree_append(&kept, leaves[i]);
		}
		trail_tree_root(&tree, root);
		trail_tree_root(&kept, want);
		ok(memcmp(root, want, TRAIL_HASH_LENGTH) == 0, "going on from a compact range of", 300);
	}

	/* A record whose bytes are two hashes must not pass for their parent. */
	{
		uint8 two[2 * TRAIL_HASH_LENGTH];

		memset(&tree, 0, sizeof(tree));
		trail_tree_append(&tree, leaves[0]);
		trail_tree_append(&tree, leaves[1]);
		trail_tree_root(&tree, root);
		memcpy(two, leaves[0], TRAIL_HASH_LENGTH);
		memcpy(two + TRAIL_HASH_LENGTH, leaves[1], TRAIL_HASH_LENGTH);
		trail_tree_leaf(two, sizeof(two), hash);
		ok(memcmp(hash, root, TRAIL_HASH_LENGTH) != 0, "leaves are set apart from nodes:", 2);
	}

	printf("1..%d\n", tests);
	return failures > 0;
}
