/*
 * verify.c
 *		Checks the whole trail, and shows its state; SQL-callable.
 *
 * Verification reads the files alone and believes nothing in shared memory until
 * the end, when the root that it computed must be the one that the server has kept
 * since each record was written.  It reads to the end as of its start, so it runs
 * beside writers and takes no lock that they need.
 */
#include "trail/trail_int.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

WARD_FUNCTION(ward_trail_state);
WARD_FUNCTION(ward_verify_trail);
WARD_FUNCTION(ward_record_event);

static text *
trail_verify_hex(const uint8 *bytes, int len)
{
	StringInfoData hex;

	initStringInfo(&hex);
	for (int i = 0; i < len; i++)
		appendStringInfo(&hex, "%02x", bytes[i]);
	return cstring_to_text_with_len(hex.data, hex.len);
}

/* One row: node, records, root, segments, bytes, last record's time. */
Datum
ward_trail_state(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[7];
	bool nulls[7] = {false};
	TrailState state;
	TrailFault fault;
	TrailPosition *firsts;
	uint8 root[TRAIL_HASH_LENGTH];
	int count;
	int64 bytes = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	trail_append_state(&state);
	trail_tree_root(&state.tree, root);
	if (!trail_segment_list(&firsts, &count, &fault))
		trail_segment_raise(&fault);
	for (int i = 0; i < count; i++)
	{
		char path[MAXPGPATH];
		struct stat st;

		trail_segment_path(path, firsts[i]);
		if (stat(path, &st) == 0)
			bytes += st.st_size;
	}
	free(firsts);
	values[0] = CStringGetTextDatum(trail_setting_directory);
	values[1] = PointerGetDatum(trail_verify_hex(state.node, TRAIL_NODE_LENGTH));
	values[2] = Int64GetDatum((int64) state.tree.size);
	values[3] = Int32GetDatum(count);
	values[4] = Int64GetDatum(bytes);
	values[5] = PointerGetDatum(trail_verify_hex(root, TRAIL_HASH_LENGTH));
	values[6] = TimestampTzGetDatum(
		state.last_at - (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY);
	nulls[6] = state.last_at == 0;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/*
 * Reads one segment into the tree, to its end or until the tree has so many
 * records.  Returns NULL, or says what is wrong; fault->offset tells where.
 */
static const char *
trail_verify_segment(TrailPosition first, TrailTree *tree, TrailPosition until,
					 uint8 node[TRAIL_NODE_LENGTH], bool *node_known, TrailFault *fault)
{
	TrailSegment segment;
	TrailScan scan;
	volatile TrailFrameState frame = TRAIL_FRAME_END;
	char path[MAXPGPATH];
	struct stat st;
	const char *volatile problem = NULL;
	const char *leaf;
	Size len;
	uint8 hash[TRAIL_HASH_LENGTH];
	uint8 expected[TRAIL_HASH_LENGTH];
	uint8 found[TRAIL_HASH_LENGTH];
	int fd;

	fault->offset = 0;
	trail_segment_path(path, first);
	fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	if (fd < 0)
		return "the segment can't be opened";
	if (fstat(fd, &st) != 0 || !trail_segment_read_header(fd, first, &segment, fault))
	{
		CloseTransientFile(fd);
		return fault->what != NULL ? fault->what : "the segment can't be read";
	}
	trail_tree_root(tree, expected);
	trail_tree_root(&segment.tree, found);
	if (first != tree->size)
		problem = first > tree->size ? "records are missing before this segment"
									 : "this segment overlaps the one before it";
	else if (first > 0 && memcmp(expected, found, TRAIL_HASH_LENGTH) != 0)
		problem = "the records before this segment are not those it was begun after";
	else if (*node_known && memcmp(segment.node, node, TRAIL_NODE_LENGTH) != 0)
		problem = "this segment belongs to another node's trail";
	if (!*node_known)
		memcpy(node, segment.node, TRAIL_NODE_LENGTH);
	*node_known = true;
	trail_segment_scan_begin(&scan, fd, first, segment.length, st.st_size);
	PG_TRY();
	{
		while (problem == NULL && tree->size < until &&
			   (frame = trail_segment_scan_next(&scan, &leaf, &len, fault)) == TRAIL_FRAME_WHOLE)
		{
			trail_tree_leaf(leaf, len, hash);
			trail_tree_append(tree, hash);
			if (tree->size % 65536 == 0)
				CHECK_FOR_INTERRUPTS();
		}
		if (problem == NULL)
			fault->offset = scan.offset;
		if (problem == NULL && frame == TRAIL_FRAME_TORN)
			problem =
				trail_segment_frame_follows(&scan, fault) ? fault->what : "a record is cut short";
		else if (problem == NULL && frame == TRAIL_FRAME_BAD)
			problem = fault->what;
	}
	PG_FINALLY();
	{
		/* malloc'd: a cancelled verification must not leak it. */
		trail_segment_scan_end(&scan);
	}
	PG_END_TRY();
	CloseTransientFile(fd);
	return problem;
}

/* One row: whether the trail is whole, how far, its root, and what is wrong where. */
Datum
ward_verify_trail(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[5];
	bool nulls[5] = {false};
	TrailState state;
	TrailTree tree;
	TrailFault fault;
	TrailFault brought;
	TrailPosition *firsts;
	TrailPosition *listed;
	uint8 node[TRAIL_NODE_LENGTH];
	uint8 root[TRAIL_HASH_LENGTH];
	uint8 kept[TRAIL_HASH_LENGTH];
	const char *problem = NULL;
	bool up;
	bool node_known;
	char where[MAXPGPATH + 64] = "";
	int count;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	memset(&tree, 0, sizeof(tree));
	memset(&fault, 0, sizeof(fault));
	/*
	 * Where the server can't bring its trail up, the files are all there is: they say
	 * how far the evidence is whole.
	 */
	up = trail_append_peek(&state, &brought);
	if (up)
		memcpy(node, state.node, TRAIL_NODE_LENGTH);
	else
		state.tree.size = PG_UINT64_MAX;
	node_known = up;
	if (!trail_segment_list(&listed, &count, &fault))
		trail_segment_raise(&fault);
	/* Interrupts may end us below: memory that goes with the context. */
	firsts = palloc(sizeof(TrailPosition) * Max(count, 1));
	memcpy(firsts, listed, sizeof(TrailPosition) * count);
	free(listed);
	for (int i = 0; i < count && problem == NULL && tree.size < state.tree.size; i++)
	{
		problem =
			trail_verify_segment(firsts[i], &tree, state.tree.size, node, &node_known, &fault);
		if (problem != NULL)
		{
			char path[MAXPGPATH];

			trail_segment_path(path, firsts[i]);
			snprintf(where, sizeof(where), "%s, byte %llu, position %llu", path,
					 (unsigned long long) fault.offset, (unsigned long long) tree.size);
		}
	}
	trail_tree_root(&tree, root);
	if (!up)
	{
		if (problem == NULL)
		{
			problem = brought.what;
			snprintf(where, sizeof(where), "%s", brought.path);
		}
	}
	else
	{
		trail_tree_root(&state.tree, kept);
		if (problem == NULL && tree.size < state.tree.size)
			problem = "records are missing at the trail's end";
		if (problem == NULL && memcmp(root, kept, TRAIL_HASH_LENGTH) != 0)
			problem = "a record is not the one that was written";
	}
	values[0] = BoolGetDatum(problem == NULL);
	values[1] = Int64GetDatum((int64) tree.size);
	values[2] = PointerGetDatum(trail_verify_hex(root, TRAIL_HASH_LENGTH));
	if (problem != NULL)
		values[3] = CStringGetTextDatum(problem);
	else
		nulls[3] = true;
	if (where[0] != '\0')
		values[4] = CStringGetTextDatum(where);
	else
		nulls[4] = true;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* Records an event from the extension's own SQL: kind, names, values. */
Datum
ward_record_event(PG_FUNCTION_ARGS)
{
	char *kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Datum *names;
	Datum *values;
	bool *value_nulls;
	int nnames;
	int nvalues;
	TrailField *fields;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &names, NULL,
					  &nnames);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), TEXTOID, -1, false, TYPALIGN_INT, &values,
					  &value_nulls, &nvalues);
	if (nnames != nvalues)
		elog(ERROR, "an event's names and values differ in number");
	fields = palloc(sizeof(TrailField) * Max(nnames, 1));
	for (int i = 0; i < nnames; i++)
	{
		fields[i].name = TextDatumGetCString(names[i]);
		fields[i].value = value_nulls[i] ? NULL : TextDatumGetCString(values[i]);
	}
	PG_RETURN_INT64((int64) trail_record_event(kind, fields, nnames));
}
