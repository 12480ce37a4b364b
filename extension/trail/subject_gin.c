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
#include "trail/subject_codec.h"

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

/* The next run of a set; false at its end. */
static bool
subject_gin_next(SubjectReader *reader, int64_t *lo, int64_t *hi)
{
	if (subject_codec_next(reader, lo, hi))
		return true;
	if (reader->corrupt)
		ereport(ERROR, (errcode(ERRCODE_WARD_TRAIL_CORRUPT), errmsg("a subject set is malformed"),
						errdetail("Its bytes are no whole, ordered list of members.")));
	return false;
}

/* A key for each member, or -1 where there are too many. */
static int
subject_gin_members(const bytea *set, Datum *keys)
{
	SubjectReader reader;
	int64_t lo;
	int64_t hi;
	int n = 0;

	(void) subject_codec_begin(&reader, VARDATA_ANY(set), VARSIZE_ANY_EXHDR(set));
	while (subject_gin_next(&reader, &lo, &hi))
	{
		if ((uint64) hi - (uint64) lo >= (uint64) (GIN_MEMBERS_MAX - n))
			return -1;
		for (int64 member = lo;; member++)
		{
			keys[n++] = subject_gin_fold(member);
			if (member == hi)
				break;
		}
	}
	return n;
}

/* A key for each block, or -1 where there are too many. */
static int
subject_gin_blocks(const bytea *set, Datum *keys)
{
	SubjectReader reader;
	int64_t lo;
	int64_t hi;
	int64 last = 0;
	int n = 0;

	(void) subject_codec_begin(&reader, VARDATA_ANY(set), VARSIZE_ANY_EXHDR(set));
	while (subject_gin_next(&reader, &lo, &hi))
	{
		int64 from = lo >> GIN_BLOCK_SHIFT;
		int64 to = hi >> GIN_BLOCK_SHIFT;

		/* Members ascend, so only the block reached last can come again. */
		if (n > 0 && from == last && from++ == to)
			continue;
		if (to - from >= GIN_BLOCKS_MAX - n)
			return -1;
		for (int64 block = from; block <= to; block++)
			keys[n++] = subject_gin_block(block * (INT64CONST(1) << GIN_BLOCK_SHIFT));
		last = to;
	}
	return n;
}

Datum
ward_subject_set_gin_extract(PG_FUNCTION_ARGS)
{
	bytea *set = PG_GETARG_BYTEA_PP(0);
	int32 *nkeys = (int32 *) PG_GETARG_POINTER(1);
	Datum *keys = palloc(sizeof(Datum) * Max(GIN_MEMBERS_MAX, GIN_BLOCKS_MAX));
	int n = subject_gin_members(set, keys);

	if (n < 0)
		n = subject_gin_blocks(set, keys);
	if (n < 0)
	{
		keys[0] = Int32GetDatum(GIN_KEY_LARGE);
		n = 1;
	}
	*nkeys = n;
	PG_RETURN_POINTER(keys);
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
