/*
 * subject_gin.c
 *		A GIN operator class for subject sets: which sets is somebody in?
 *
 * A set of few members has a key for each.  A look-up must find somebody among millions
 * of rows, but a scan of half a million people must not write as many keys; so a larger
 * set has a key for each block of 4096 numbers that it touches, and one that touches many
 * blocks has a single key that every search looks up, too.  Few sets are large, and these
 * are opened.
 *
 * Keys are 32 bits of the numbers.  Two may share one, and a key does not say whether it
 * stands for a member or a block: every hit is rechecked against the set.  How sets become
 * keys is on disk: whoever changes it must have indexes made anew.
 */
#include "trail/trail.h"

#include "access/gin.h"
#include "common/hashfn.h"
#include "utils/builtins.h"

WARD_FUNCTION(ward_subject_set_gin_extract);
WARD_FUNCTION(ward_subject_set_gin_query);
WARD_FUNCTION(ward_subject_set_gin_consistent);

#define GIN_MEMBERS_MAX 128
#define GIN_BLOCKS_MAX 256
#define GIN_BLOCK_SHIFT 12
#define GIN_KEY_LARGE ((int32) 0x6c61726e)

static Datum
subject_gin_fold(int64 number)
{
	uint32 upper = (uint32) ((uint64) number >> 32);

	/* Small numbers stay as they are, so that neighbours' keys are neighbours. */
	return Int32GetDatum((int32) ((uint32) number ^ (upper == 0 ? 0 : murmurhash32(upper))));
}

static Datum
subject_gin_block(int64 number)
{
	uint64 block = (uint64) number >> GIN_BLOCK_SHIFT;

	return Int32GetDatum(
		(int32) murmurhash32((uint32) block ^ (uint32) (block >> 32) ^ 0x5bd1e995));
}

/* A key for each member and for each block, each -1 where there are too many. */
typedef struct SubjectGinKeys
{
	Datum *members;
	Datum *blocks;
	int nmembers;
	int nblocks;
	int64 last; /* block reached last */
} SubjectGinKeys;

static bool
subject_gin_run(int64 lo, int64 hi, void *arg)
{
	SubjectGinKeys *keys = arg;
	int64 from = lo >> GIN_BLOCK_SHIFT;
	int64 to = hi >> GIN_BLOCK_SHIFT;

	if (keys->nmembers >= 0 &&
		(uint64) hi - (uint64) lo >= (uint64) (GIN_MEMBERS_MAX - keys->nmembers))
		keys->nmembers = -1;
	if (keys->nmembers >= 0)
		for (int64 member = lo;; member++)
		{
			keys->members[keys->nmembers++] = subject_gin_fold(member);
			if (member == hi)
				break;
		}
	/* Members ascend, so only the block reached last can come again. */
	if (keys->nblocks > 0 && from == keys->last && from++ == to)
		return true;
	if (to - from >= GIN_BLOCKS_MAX - keys->nblocks)
	{
		/* A set with a member in each of so many blocks has too many members, too. */
		keys->nmembers = keys->nblocks = -1;
		return false;
	}
	for (int64 block = from; block <= to; block++)
		keys->blocks[keys->nblocks++] =
			subject_gin_block(block * (INT64CONST(1) << GIN_BLOCK_SHIFT));
	keys->last = to;
	return true;
}

StaticAssertDecl(GIN_BLOCKS_MAX >= GIN_MEMBERS_MAX,
				 "a set with a key for each member has no more blocks than may be");

Datum
ward_subject_set_gin_extract(PG_FUNCTION_ARGS)
{
	bytea *set = PG_GETARG_BYTEA_PP(0);
	int32 *nkeys = (int32 *) PG_GETARG_POINTER(1);
	SubjectGinKeys keys = {.members = palloc(sizeof(Datum) * GIN_MEMBERS_MAX),
						   .blocks = palloc(sizeof(Datum) * GIN_BLOCKS_MAX)};

	trail_subject_set_walk_bytes(VARDATA_ANY(set), VARSIZE_ANY_EXHDR(set), subject_gin_run, &keys);
	if (keys.nmembers >= 0)
	{
		*nkeys = keys.nmembers;
		PG_RETURN_POINTER(keys.members);
	}
	if (keys.nblocks < 0)
	{
		keys.blocks[0] = Int32GetDatum(GIN_KEY_LARGE);
		keys.nblocks = 1;
	}
	*nkeys = keys.nblocks;
	PG_RETURN_POINTER(keys.blocks);
}

Datum
ward_subject_set_gin_query(PG_FUNCTION_ARGS)
{
	int64 member = PG_GETARG_INT64(0);
	int32 *nkeys = (int32 *) PG_GETARG_POINTER(1);
	Datum *keys = palloc(sizeof(Datum) * 3);

	keys[0] = subject_gin_fold(member);
	keys[1] = subject_gin_block(member);
	keys[2] = Int32GetDatum(GIN_KEY_LARGE);
	*nkeys = 3;
	PG_RETURN_POINTER(keys);
}

/* Called where at least one key is there; which one does not matter. */
Datum
ward_subject_set_gin_consistent(PG_FUNCTION_ARGS)
{
	bool *recheck = (bool *) PG_GETARG_POINTER(5);

	*recheck = true;
	PG_RETURN_BOOL(true);
}
