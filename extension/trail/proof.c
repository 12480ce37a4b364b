/*
 * proof.c
 *		Proofs of RFC 9162: that a record is in a tree, and that a tree grew out of
 *		an earlier one.
 *
 * Works over any source that gives hashes of perfect subtrees; where it has none for
 * one, that subtree is made of its halves.  Checking is the RFC's own algorithm, which
 * needs nothing but the proof.
 *
 * No state, no locks.
 */
#include "trail/trail_int.h"

typedef struct ProofSource
{
	TrailProofSubtree subtree;
	void *arg;
} ProofSource;

/* Level of the largest perfect subtree in so many leaves, at least one. */
static int
trail_proof_level(uint64 count)
{
	int level = 0;

	while (count >>= 1)
		level++;
	return level;
}

/* The largest power of two below count, which is at least 2. */
static uint64
trail_proof_split(uint64 count)
{
	return UINT64CONST(1) << trail_proof_level(count - 1);
}

/* Hash of the leaves [start, start + count), as they hang together in a larger tree. */
static void
trail_proof_range(const ProofSource *source, uint64 start, uint64 count,
				  uint8 hash[TRAIL_HASH_LENGTH])
{
	uint8 left[TRAIL_HASH_LENGTH];
	uint8 right[TRAIL_HASH_LENGTH];
	uint64 split;

	if ((count & (count - 1)) == 0 &&
		source->subtree(start, trail_proof_level(count), hash, source->arg))
		return;
	/* Of single leaves a source has all. */
	if (count == 1)
		elog(ERROR, "no hash of record " UINT64_FORMAT, start);
	split = trail_proof_split(count);
	trail_proof_range(source, start, split, left);
	trail_proof_range(source, start + split, count - split, right);
	trail_tree_node(left, right, hash);
}

static uint8 *
trail_proof_next(TrailProof *proof)
{
	return proof->hashes[proof->count++];
}

/* Root of the first size leaves, at least one. */
void
trail_proof_root(uint64 size, uint8 root[TRAIL_HASH_LENGTH], TrailProofSubtree subtree, void *arg)
{
	ProofSource source = {subtree, arg};

	trail_proof_range(&source, 0, size, root);
}

/* PATH(m, D[start:start+count]) of RFC 9162, section 2.1.3.1. */
static void
trail_proof_path(const ProofSource *source, uint64 m, uint64 start, uint64 count, TrailProof *proof)
{
	uint64 split;

	if (count == 1)
		return;
	split = trail_proof_split(count);
	if (m < split)
	{
		trail_proof_path(source, m, start, split, proof);
		trail_proof_range(source, start + split, count - split, trail_proof_next(proof));
	}
	else
	{
		trail_proof_path(source, m - split, start + split, count - split, proof);
		trail_proof_range(source, start, split, trail_proof_next(proof));
	}
}

void
trail_proof_inclusion(uint64 position, uint64 size, TrailProof *proof, TrailProofSubtree subtree,
					  void *arg)
{
	ProofSource source = {subtree, arg};

	proof->count = 0;
	trail_proof_path(&source, position, 0, size, proof);
}

/* SUBPROOF(m, D[start:start+count], whole) of RFC 9162, section 2.1.4.1. */
static void
trail_proof_subproof(const ProofSource *source, uint64 m, uint64 start, uint64 count, bool whole,
					 TrailProof *proof)
{
	uint64 split;

	if (m == count)
	{
		if (!whole)
			trail_proof_range(source, start, count, trail_proof_next(proof));
		return;
	}
	split = trail_proof_split(count);
	if (m <= split)
	{
		trail_proof_subproof(source, m, start, split, whole, proof);
		trail_proof_range(source, start + split, count - split, trail_proof_next(proof));
	}
	else
	{
		trail_proof_subproof(source, m - split, start + split, count - split, false, proof);
		trail_proof_range(source, start, split, trail_proof_next(proof));
	}
}

void
trail_proof_consistency(uint64 from, uint64 to, TrailProof *proof, TrailProofSubtree subtree,
						void *arg)
{
	ProofSource source = {subtree, arg};

	proof->count = 0;
	if (from > 0 && from < to)
		trail_proof_subproof(&source, from, 0, to, true, proof);
}

/* RFC 9162, section 2.1.3.2. */
bool
trail_proof_check_inclusion(const TrailProof *proof, uint64 position, uint64 size,
							const uint8 leaf[TRAIL_HASH_LENGTH],
							const uint8 root[TRAIL_HASH_LENGTH])
{
	uint64 fn = position;
	uint64 sn = size - 1;
	uint8 r[TRAIL_HASH_LENGTH];

	if (position >= size)
		return false;
	memcpy(r, leaf, TRAIL_HASH_LENGTH);
	for (int i = 0; i < proof->count; i++)
	{
		if (sn == 0)
			return false;
		if ((fn & 1) || fn == sn)
		{
			trail_tree_node(proof->hashes[i], r, r);
			while (!(fn & 1) && fn != 0)
			{
				fn >>= 1;
				sn >>= 1;
			}
		}
		else
			trail_tree_node(r, proof->hashes[i], r);
		fn >>= 1;
		sn >>= 1;
	}
	return sn == 0 && memcmp(r, root, TRAIL_HASH_LENGTH) == 0;
}

/* RFC 9162, section 2.1.4.2. */
bool
trail_proof_check_consistency(const TrailProof *proof, uint64 from, uint64 to,
							  const uint8 from_root[TRAIL_HASH_LENGTH],
							  const uint8 to_root[TRAIL_HASH_LENGTH])
{
	uint64 fn = from - 1;
	uint64 sn = to - 1;
	uint8 fr[TRAIL_HASH_LENGTH];
	uint8 sr[TRAIL_HASH_LENGTH];
	int i = 0;

	if (from > to)
		return false;
	if (from == to)
		return proof->count == 0 && memcmp(from_root, to_root, TRAIL_HASH_LENGTH) == 0;
	if (from == 0)
		return proof->count == 0;
	/* A tree of a power of two is itself the first hash of the proof. */
	if ((from & (from - 1)) == 0)
		memcpy(fr, from_root, TRAIL_HASH_LENGTH);
	else if (proof->count == 0)
		return false;
	else
		memcpy(fr, proof->hashes[i++], TRAIL_HASH_LENGTH);
	memcpy(sr, fr, TRAIL_HASH_LENGTH);
	while (fn & 1)
	{
		fn >>= 1;
		sn >>= 1;
	}
	for (; i < proof->count; i++)
	{
		if (sn == 0)
			return false;
		if ((fn & 1) || fn == sn)
		{
			trail_tree_node(proof->hashes[i], fr, fr);
			trail_tree_node(proof->hashes[i], sr, sr);
			while (!(fn & 1) && fn != 0)
			{
				fn >>= 1;
				sn >>= 1;
			}
		}
		else
			trail_tree_node(sr, proof->hashes[i], sr);
		fn >>= 1;
		sn >>= 1;
	}
	return sn == 0 && memcmp(fr, from_root, TRAIL_HASH_LENGTH) == 0 &&
		   memcmp(sr, to_root, TRAIL_HASH_LENGTH) == 0;
}
