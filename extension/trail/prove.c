/*
 * prove.c
 *		Proofs over this server's trail; SQL-callable.
 *
 * A subtree's hash is in the header of a segment that begins right behind it, or is
 * made of the records of one segment.  So a proof over millions of records reads a few
 * segments, whatever the trail's length.
 *
 * Reads below the recorded end alone: no locks.
 */
#include "trail/trail_int.h"

#include <fcntl.h>

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/array.h"
#include "utils/builtins.h"

WARD_FUNCTION(ward_prove_inclusion);
WARD_FUNCTION(ward_prove_consistency);

typedef struct ProveSource
{
	int count;
	TrailPosition *firsts;
	TrailTree **trees; /* of the headers; NULL: not read yet */
} ProveSource;

static void
trail_prove_begin(ProveSource *source)
{
	TrailPosition *listed;
	TrailFault fault;

	if (!trail_segment_list(&listed, &source->count, &fault))
		trail_segment_raise(&fault);
	source->firsts = palloc(sizeof(TrailPosition) * Max(source->count, 1));
	memcpy(source->firsts, listed, sizeof(TrailPosition) * source->count);
	free(listed);
	source->trees = palloc0(sizeof(TrailTree *) * Max(source->count, 1));
}

static const TrailTree *
trail_prove_header(ProveSource *source, int at)
{
	TrailFault fault;
	TrailSegment segment;
	char path[MAXPGPATH];
	int fd;
	bool read;

	if (source->trees[at] != NULL)
		return source->trees[at];
	trail_segment_path(path, source->firsts[at]);
	fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	if (fd < 0)
	{
		trail_segment_fault(&fault, ERRCODE_WARD_TRAIL_UNREACHABLE, errno, source->firsts[at], 0,
							"could not open it");
		trail_segment_raise(&fault);
	}
	read = trail_segment_read_header(fd, source->firsts[at], &segment, &fault);
	CloseTransientFile(fd);
	if (!read)
		trail_segment_raise(&fault);
	source->trees[at] = palloc(sizeof(TrailTree));
	*source->trees[at] = segment.tree;
	return source->trees[at];
}

/* Hash of so many leaves from one segment. */
static void
trail_prove_read(uint64 start, int level, uint8 hash[TRAIL_HASH_LENGTH])
{
	TrailReader *reader = trail_reader_open(start);
	TrailTree tree;
	TrailFrame frame;

	memset(&tree, 0, sizeof(tree));
	while (tree.size < UINT64CONST(1) << level)
	{
		uint8 leaf[TRAIL_HASH_LENGTH];

		if (!trail_reader_next(reader, &frame))
			elog(ERROR, "the trail ends before record " UINT64_FORMAT, start + tree.size);
		trail_tree_leaf(frame.body - TRAIL_LEAF_HEADER, frame.length + TRAIL_LEAF_HEADER, leaf);
		trail_tree_append(&tree, leaf);
		if (tree.size % 65536 == 0)
			CHECK_FOR_INTERRUPTS();
	}
	trail_reader_close(reader);
	memcpy(hash, tree.hashes[level], TRAIL_HASH_LENGTH);
}

/* See TrailProofSubtree. */
static bool
trail_prove_subtree(uint64 start, int level, uint8 hash[TRAIL_HASH_LENGTH], void *arg)
{
	ProveSource *source = arg;
	uint64 end = start + (UINT64CONST(1) << level);
	int holds = -1; /* the segment that start lies in */

	for (int i = 0; i < source->count; i++)
	{
		TrailPosition first = source->firsts[i];

		if (first <= start)
			holds = i;
		/* Its range has this subtree where that is complete and not yet part of a larger. */
		if (first >= end && (first >> level & 1) != 0 && (first >> level) - 1 == start >> level)
		{
			memcpy(hash, trail_prove_header(source, i)->hashes[level], TRAIL_HASH_LENGTH);
			return true;
		}
	}
	if (level > 0 && (holds < 0 || (holds + 1 < source->count && source->firsts[holds + 1] < end)))
		return false;
	trail_prove_read(start, level, hash);
	return true;
}

static Datum
trail_prove_hex(const uint8 hash[TRAIL_HASH_LENGTH])
{
	char hex[2 * TRAIL_HASH_LENGTH];

	(void) hex_encode((const char *) hash, TRAIL_HASH_LENGTH, hex);
	return PointerGetDatum(cstring_to_text_with_len(hex, sizeof(hex)));
}

static Datum
trail_prove_array(const TrailProof *proof)
{
	Datum items[TRAIL_PROOF_MAX];

	for (int i = 0; i < proof->count; i++)
		items[i] = trail_prove_hex(proof->hashes[i]);
	return PointerGetDatum(construct_array(items, proof->count, TEXTOID, -1, false, TYPALIGN_INT));
}

/* How many records a proof is to be about: as asked, or up to the newest checkpoint. */
static uint64
trail_prove_size(FunctionCallInfo fcinfo, int arg, uint64 least)
{
	uint64 end = trail_append_end();
	TrailSignerStatus signer;

	if (!PG_ARGISNULL(arg))
	{
		int64 size = PG_GETARG_INT64(arg);

		if (size < (int64) least || (uint64) size > end)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("the trail has no tree of " INT64_FORMAT
								   " records that a proof could be about",
								   size),
							errdetail("The trail has " UINT64_FORMAT " records.", end)));
		return (uint64) size;
	}
	trail_signer_status(&signer);
	return signer.signed_size >= least && signer.signed_size <= end ? signer.signed_size : end;
}

Datum
ward_prove_inclusion(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[5];
	bool nulls[5] = {false};
	ProveSource source;
	TrailProof proof;
	TrailReader *reader;
	TrailFrame frame;
	uint8 leaf[TRAIL_HASH_LENGTH];
	uint8 root[TRAIL_HASH_LENGTH];
	bytea *bytes;
	int64 position;
	uint64 size;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	position = PG_GETARG_INT64(0);
	if (position < 0 || (uint64) position >= trail_append_end())
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the trail has no record " INT64_FORMAT, position)));
	trail_reader_require((TrailPosition) position);
	size = trail_prove_size(fcinfo, 1, (uint64) position + 1);
	trail_prove_begin(&source);
	reader = trail_reader_open((TrailPosition) position);
	if (!trail_reader_next(reader, &frame))
		elog(ERROR, "the trail has no record " INT64_FORMAT, position);
	bytes = palloc(VARHDRSZ + TRAIL_LEAF_HEADER + frame.length);
	SET_VARSIZE(bytes, VARHDRSZ + TRAIL_LEAF_HEADER + frame.length);
	memcpy(VARDATA(bytes), frame.body - TRAIL_LEAF_HEADER, TRAIL_LEAF_HEADER + frame.length);
	trail_reader_close(reader);
	trail_tree_leaf(VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ, leaf);
	trail_proof_inclusion((uint64) position, size, &proof, trail_prove_subtree, &source);
	trail_proof_root(size, root, trail_prove_subtree, &source);
	if (!trail_proof_check_inclusion(&proof, (uint64) position, size, leaf, root))
		elog(ERROR, "the proof of record " INT64_FORMAT " does not hold", position);
	values[0] = Int64GetDatum((int64) size);
	values[1] = trail_prove_hex(root);
	values[2] = PointerGetDatum(bytes);
	values[3] = trail_prove_hex(leaf);
	values[4] = trail_prove_array(&proof);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

Datum
ward_prove_consistency(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[4];
	bool nulls[4] = {false};
	ProveSource source;
	TrailProof proof;
	uint8 from_root[TRAIL_HASH_LENGTH];
	uint8 to_root[TRAIL_HASH_LENGTH];
	uint64 from;
	uint64 to;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	from = trail_prove_size(fcinfo, 0, 1);
	/* The root of the records before the cut is in the first header there is. */
	if (from < trail_append_begin())
		trail_reader_require(from);
	to = trail_prove_size(fcinfo, 1, from);
	trail_prove_begin(&source);
	trail_proof_consistency(from, to, &proof, trail_prove_subtree, &source);
	trail_proof_root(from, from_root, trail_prove_subtree, &source);
	trail_proof_root(to, to_root, trail_prove_subtree, &source);
	if (!trail_proof_check_consistency(&proof, from, to, from_root, to_root))
		elog(ERROR, "the proof does not hold");
	values[0] = Int64GetDatum((int64) to);
	values[1] = trail_prove_hex(from_root);
	values[2] = trail_prove_hex(to_root);
	values[3] = trail_prove_array(&proof);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
