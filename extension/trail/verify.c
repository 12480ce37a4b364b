/*
 * verify.c
 *		Checks the whole trail, and shows its state and how far a check has come;
 *		SQL-callable.
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
#include "port/atomics.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

WARD_FUNCTION(ward_trail_state);
WARD_FUNCTION(ward_verify_progress);
WARD_FUNCTION(ward_verify_trail);
WARD_FUNCTION(ward_verify_received);
WARD_FUNCTION(ward_record_event);

/* Verifications that are shown at once; more of them run unseen. */
#define VERIFY_SHOWN 8
/* Records between two looks at what else is wanted of us. */
#define VERIFY_STEP 16384

/* A verification under way; of its fields only pid is written by others than its process. */
typedef struct VerifyShown
{
	pg_atomic_uint32 pid; /* 0: free */
	TimestampTz started;
	volatile uint64 done;
	volatile uint64 total;
} VerifyShown;

static VerifyShown *verify_shown = NULL;

Size
trail_verify_shmem_size(void)
{
	return MAXALIGN(sizeof(VerifyShown) * VERIFY_SHOWN);
}

/* Called with AddinShmemInitLock held. */
void
trail_verify_shmem_init(void)
{
	bool found;

	verify_shown = ShmemInitStruct("pg_ward verify", trail_verify_shmem_size(), &found);
	if (found)
		return;
	memset(verify_shown, 0, trail_verify_shmem_size());
	for (int i = 0; i < VERIFY_SHOWN; i++)
		pg_atomic_init_u32(&verify_shown[i].pid, 0);
}

/* Takes a place in the view; NULL where there is none left. */
static VerifyShown *
trail_verify_show(uint64 total)
{
	for (int i = 0; i < VERIFY_SHOWN; i++)
	{
		uint32 free = 0;

		if (!pg_atomic_compare_exchange_u32(&verify_shown[i].pid, &free, (uint32) MyProcPid))
			continue;
		verify_shown[i].started = GetCurrentTimestamp();
		verify_shown[i].done = 0;
		verify_shown[i].total = total;
		return &verify_shown[i];
	}
	return NULL;
}

/* Also when the session is terminated. */
static void
trail_verify_hide(int code, Datum arg)
{
	VerifyShown *shown = (VerifyShown *) DatumGetPointer(arg);

	if (shown != NULL)
		pg_atomic_write_u32(&shown->pid, 0);
}

/* One row for each verification under way. */
Datum
ward_verify_progress(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	core_preload_require();
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < VERIFY_SHOWN; i++)
	{
		uint32 pid = pg_atomic_read_u32(&verify_shown[i].pid);
		Datum values[4];
		bool nulls[4] = {false};

		if (pid == 0)
			continue;
		values[0] = Int32GetDatum((int32) pid);
		values[1] = TimestampTzGetDatum(verify_shown[i].started);
		values[2] = Int64GetDatum((int64) verify_shown[i].done);
		values[3] = Int64GetDatum((int64) verify_shown[i].total);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

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
	Datum values[17];
	bool nulls[17] = {false};
	TrailState state;
	TrailSignerStatus signer;
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
	trail_signer_status(&signer);
	values[7] = Int64GetDatum((int64) signer.signed_size);
	values[8] = TimestampTzGetDatum(signer.signed_at);
	nulls[7] = nulls[8] = signer.signed_at == 0;
	values[9] = Int64GetDatum((int64) signer.epoch);
	nulls[9] = signer.epoch == 0;
	values[10] = CStringGetTextDatum(signer.first_key);
	nulls[10] = signer.first_key[0] == '\0';
	values[11] = CStringGetTextDatum(signer.key);
	nulls[11] = signer.key[0] == '\0';
	values[12] = CStringGetTextDatum(signer.problem);
	nulls[12] = signer.problem[0] == '\0';
	values[13] = Int64GetDatum((int64) signer.anchored_size);
	values[14] = TimestampTzGetDatum(signer.anchored_at);
	nulls[13] = nulls[14] = signer.anchored_at == 0;
	values[15] = CStringGetTextDatum(signer.anchor_problem);
	nulls[15] = signer.anchor_problem[0] == '\0';
	values[16] = Int64GetDatum((int64) trail_setting_max_size * 1024 * 1024);
	nulls[16] = trail_setting_max_size == 0;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* A verification: what it was given, and how far it has come. */
typedef struct Verify
{
	const char *directory;
	TrailTree tree;
	TrailPosition until;
	uint8 node[TRAIL_NODE_LENGTH];
	bool node_known;
	TrailTrust trust;
	TrailChain *chain;
	TrailFault fault;
	char carry[MAXPGPATH]; /* file of what a prune carried over, where there is one */
	bool in_carry;		   /* what is wrong, is so with that */
	VerifyShown *shown;
} Verify;

/* The first segment there is, of a trail whose beginning was pruned. */
static const char *
trail_verify_cut(Verify *verify, const TrailSegment *segment)
{
	TrailCarry carry;
	TrailPosition cut;
	const char *problem;

	verify->tree = segment->tree;
	if (!trail_carry_find(verify->directory, segment->first, &cut, &verify->fault))
		return verify->fault.what;
	if (cut == TRAIL_POSITION_INVALID)
		return trail_chain_cut(verify->chain, verify->node, &verify->tree, NULL);
	trail_carry_path_in(verify->carry, verify->directory, cut);
	if (!trail_carry_read(verify->directory, cut, &carry, &verify->fault))
		problem = verify->fault.what;
	else
		problem = trail_chain_cut(verify->chain, verify->node, &verify->tree, &carry);
	if (carry.bytes != NULL)
		pfree(carry.bytes);
	verify->in_carry = problem != NULL;
	return problem;
}

/* Does this segment follow what was read?  Returns NULL, or what is wrong. */
static const char *
trail_verify_follows(Verify *verify, TrailPosition first, const TrailSegment *segment)
{
	uint8 expected[TRAIL_HASH_LENGTH];
	uint8 found[TRAIL_HASH_LENGTH];

	if (verify->node_known && memcmp(segment->node, verify->node, TRAIL_NODE_LENGTH) != 0)
		return "this segment belongs to another node's trail";
	memcpy(verify->node, segment->node, TRAIL_NODE_LENGTH);
	verify->node_known = true;
	if (verify->tree.size == 0 && first > 0)
		return trail_verify_cut(verify, segment);
	if (first > verify->tree.size)
		return "records are missing before this segment";
	if (first < verify->tree.size)
		return "this segment overlaps the one before it";
	trail_tree_root(&verify->tree, expected);
	trail_tree_root(&segment->tree, found);
	if (first > 0 && memcmp(expected, found, TRAIL_HASH_LENGTH) != 0)
		return "the records before this segment are not those it was begun after";
	return NULL;
}

/*
 * Reads one segment into the tree, to its end or until the tree has so many
 * records.  Returns NULL, or says what is wrong; fault.offset tells where.
 */
static const char *
trail_verify_segment(Verify *verify, TrailPosition first)
{
	TrailSegment segment;
	TrailScan scan;
	volatile TrailFrameState frame = TRAIL_FRAME_END;
	char path[MAXPGPATH];
	struct stat st;
	const char *volatile problem;
	volatile uint64 at = 0;
	const char *leaf;
	Size len;
	uint8 hash[TRAIL_HASH_LENGTH];
	int fd;

	verify->fault.offset = 0;
	trail_segment_path_in(path, verify->directory, first);
	fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	if (fd < 0)
		return "the segment can't be opened";
	if (fstat(fd, &st) != 0 || !trail_segment_read_header(fd, first, &segment, &verify->fault))
	{
		CloseTransientFile(fd);
		return verify->fault.what != NULL ? verify->fault.what : "the segment can't be read";
	}
	problem = trail_verify_follows(verify, first, &segment);
	trail_segment_scan_begin(&scan, fd, first, segment.length, st.st_size);
	PG_TRY();
	{
		while (problem == NULL && verify->tree.size < verify->until)
		{
			at = scan.offset;
			frame = trail_segment_scan_next(&scan, &leaf, &len, &verify->fault);
			if (frame != TRAIL_FRAME_WHOLE)
				break;
			trail_tree_leaf(leaf, len, hash);
			problem =
				trail_chain_record(verify->chain, verify->node, &verify->tree, leaf, len, hash);
			if (problem != NULL)
				break;
			trail_tree_append(&verify->tree, hash);
			if (verify->tree.size % VERIFY_STEP != 0)
				continue;
			if (verify->shown != NULL)
				verify->shown->done = verify->tree.size;
			CHECK_FOR_INTERRUPTS();
		}
		if (problem != NULL)
			verify->fault.offset = at;
		else
			verify->fault.offset = scan.offset;
		if (problem == NULL && frame == TRAIL_FRAME_TORN)
			problem = trail_segment_frame_follows(&scan, &verify->fault) ? verify->fault.what
																		 : "a record is cut short";
		else if (problem == NULL && frame == TRAIL_FRAME_BAD)
			problem = verify->fault.what;
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

/* Reads the segments in order.  Returns NULL, or what is wrong, and tells where. */
static const char *
trail_verify_segments(Verify *verify, const TrailPosition *firsts, int count, char *where,
					  Size room)
{
	const char *problem = NULL;

	for (int i = 0; i < count && problem == NULL && verify->tree.size < verify->until; i++)
	{
		problem = trail_verify_segment(verify, firsts[i]);
		if (problem != NULL)
		{
			char path[MAXPGPATH];

			trail_segment_path_in(path, verify->directory, firsts[i]);
			if (verify->in_carry)
				snprintf(where, room, "%s, byte %llu", verify->carry,
						 (unsigned long long) verify->fault.offset);
			else
				snprintf(where, room, "%s, byte %llu, position %llu", path,
						 (unsigned long long) verify->fault.offset,
						 (unsigned long long) verify->tree.size);
		}
	}
	return problem;
}

/* The same, shown in ward.verify_progress while it runs, until so many records. */
static const char *
trail_verify_watched(Verify *verify, const TrailPosition *firsts, int count, uint64 total,
					 char *where, Size room)
{
	const char *volatile problem = NULL;

	verify->shown = trail_verify_show(total);
	PG_ENSURE_ERROR_CLEANUP(trail_verify_hide, PointerGetDatum(verify->shown));
	{
		problem = trail_verify_segments(verify, firsts, count, where, room);
	}
	PG_END_ENSURE_ERROR_CLEANUP(trail_verify_hide, PointerGetDatum(verify->shown));
	trail_verify_hide(0, PointerGetDatum(verify->shown));
	return problem;
}

static int
trail_verify_by_size(const void *a, const void *b)
{
	uint64 x = ((const TrailNote *) a)->size;
	uint64 y = ((const TrailNote *) b)->size;

	return x < y ? -1 : x > y;
}

/* Takes the pinned keys and the checkpoints that the caller brings. */
static void
trail_verify_trust(TrailTrust *trust, ArrayType *keys, ArrayType *anchors)
{
	Datum *items;
	bool *nulls;

	deconstruct_array(keys, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &trust->nkeys);
	trust->keys = palloc(TRAIL_KEY_LENGTH * Max(trust->nkeys, 1));
	for (int i = 0; i < trust->nkeys; i++)
	{
		uint8 node[TRAIL_NODE_LENGTH];

		if (nulls[i] || !trail_note_vkey_parse(TextDatumGetCString(items[i]), node, trust->keys[i]))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("this is not a key of a trail"),
							errhint("Give it as first_key of ward.trail_status shows it.")));
	}
	deconstruct_array(anchors, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &trust->nanchors);
	trust->anchors = palloc(sizeof(TrailNote) * Max(trust->nanchors, 1));
	for (int i = 0; i < trust->nanchors; i++)
	{
		text *note = nulls[i] ? cstring_to_text("") : DatumGetTextPP(items[i]);

		if (!trail_note_parse(VARDATA_ANY(note), VARSIZE_ANY_EXHDR(note), &trust->anchors[i]))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("this is not a checkpoint of a trail"),
					 errhint("Give it as ward.checkpoint_command got it, with all line breaks.")));
	}
	qsort(trust->anchors, trust->nanchors, sizeof(TrailNote), trail_verify_by_size);
}

static Datum
trail_verify_notices(const TrailChain *chain)
{
	List *notices = trail_chain_notices(chain);
	Datum *items = palloc(sizeof(Datum) * Max(list_length(notices), 1));
	ListCell *cell;
	int n = 0;

	foreach (cell, notices)
		items[n++] = CStringGetTextDatum((char *) lfirst(cell));
	return PointerGetDatum(construct_array(items, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* One row: whether the trail is whole, how far, its root, and what is wrong where. */
static Datum
trail_verify_row(TupleDesc desc, const Verify *verify, const char *problem, const char *where)
{
	Datum values[8];
	bool nulls[8] = {false};
	uint8 root[TRAIL_HASH_LENGTH];

	trail_tree_root(&verify->tree, root);
	values[0] = BoolGetDatum(problem == NULL);
	values[1] = Int64GetDatum((int64) verify->tree.size);
	values[2] = PointerGetDatum(trail_verify_hex(root, TRAIL_HASH_LENGTH));
	if (problem != NULL)
		values[3] = CStringGetTextDatum(problem);
	else
		nulls[3] = true;
	if (where[0] != '\0')
		values[4] = CStringGetTextDatum(where);
	else
		nulls[4] = true;
	values[5] = Int64GetDatum((int64) trail_chain_checkpoints(verify->chain));
	values[6] = Int64GetDatum((int64) trail_chain_signed(verify->chain));
	values[7] = trail_verify_notices(verify->chain);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* Verifies this server's own trail as it is now; returns NULL, or what is wrong. */
static const char *
trail_verify_own(Verify *verify, char *where, Size room)
{
	TrailState state;
	TrailFault brought;
	TrailPosition *firsts;
	TrailPosition *listed;
	uint8 root[TRAIL_HASH_LENGTH];
	uint8 kept[TRAIL_HASH_LENGTH];
	const char *problem;
	bool up;
	int count;

	verify->directory = trail_setting_directory;
	verify->chain = trail_chain_begin(&verify->trust);
	/*
	 * Where the server can't bring its trail up, the files are all there is: they say
	 * how far the evidence is whole.
	 */
	up = trail_append_peek(&state, &brought);
	if (up)
		memcpy(verify->node, state.node, TRAIL_NODE_LENGTH);
	verify->until = up ? state.tree.size : PG_UINT64_MAX;
	verify->node_known = up;
	if (!trail_segment_list(&listed, &count, &verify->fault))
		trail_segment_raise(&verify->fault);
	/* Interrupts may end us below: memory that goes with the context. */
	firsts = palloc(sizeof(TrailPosition) * Max(count, 1));
	memcpy(firsts, listed, sizeof(TrailPosition) * count);
	free(listed);
	problem = trail_verify_watched(verify, firsts, count, up ? state.tree.size : 0, where, room);
	trail_tree_root(&verify->tree, root);
	if (!up)
	{
		if (problem == NULL)
		{
			problem = brought.what;
			snprintf(where, room, "%s", brought.path);
		}
	}
	else
	{
		trail_tree_root(&state.tree, kept);
		if (problem == NULL && verify->tree.size < state.tree.size)
			problem = "records are missing at the trail's end";
		if (problem == NULL && memcmp(root, kept, TRAIL_HASH_LENGTH) != 0)
			problem = "a record is not the one that was written";
	}
	if (problem == NULL)
		problem = trail_chain_end(verify->chain, &verify->tree, trail_append_now());
	return problem;
}

Datum
ward_verify_trail(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Verify verify;
	TrailPosition begin;
	const char *problem;
	char where[MAXPGPATH + 64];

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	core_preload_require();
	do
	{
		memset(&verify, 0, sizeof(verify));
		where[0] = '\0';
		trail_verify_trust(&verify.trust, PG_GETARG_ARRAYTYPE_P(0), PG_GETARG_ARRAYTYPE_P(1));
		begin = trail_append_begin();
		problem = trail_verify_own(&verify, where, sizeof(where));
		/* What was pruned meanwhile is missing, but by right. */
	} while (problem != NULL && trail_append_begin() > begin);
	PG_RETURN_DATUM(trail_verify_row(desc, &verify, problem, where));
}

/* What is stored of the trail that this node delivered, or NULL. */
static const TrailReceived *
trail_verify_received(const char *node)
{
	ListCell *cell;

	foreach (cell, trail_receive_list())
	{
		const TrailReceived *received = lfirst(cell);

		if (received->received > 0 && strcmp(received->name, node) == 0)
			return received;
	}
	return NULL;
}

/* The same of a trail that a standby delivered, as far as it is stored here. */
Datum
ward_verify_received(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Verify verify;
	const TrailReceived *received;
	TrailPosition *firsts;
	TrailPosition *listed;
	const char *problem;
	char *node = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char where[MAXPGPATH + 64] = "";
	int count;

	core_preload_require();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	memset(&verify, 0, sizeof(verify));
	trail_verify_trust(&verify.trust, PG_GETARG_ARRAYTYPE_P(1), PG_GETARG_ARRAYTYPE_P(2));
	verify.chain = trail_chain_begin(&verify.trust);
	received = trail_verify_received(node);
	if (received != NULL && trail_receive_sql_parse_node(node, verify.node))
	{
		verify.directory = received->directory;
		verify.node_known = true;
		verify.until = received->received;
		if (!trail_segment_list_in(received->directory, &listed, &count, &verify.fault))
		{
			trail_segment_fault_in(&verify.fault, received->directory);
			trail_segment_raise(&verify.fault);
		}
		firsts = palloc(sizeof(TrailPosition) * Max(count, 1));
		memcpy(firsts, listed, sizeof(TrailPosition) * count);
		free(listed);
		problem = trail_verify_watched(&verify, firsts, count, verify.until, where, sizeof(where));
		if (problem == NULL && verify.tree.size < received->received)
			problem = "records are missing at the trail's end";
		/* How far it lags is not for a verifier to say. */
		if (problem == NULL)
			problem = trail_chain_end(verify.chain, &verify.tree, 0);
	}
	else
		problem = "nothing of this trail was delivered here";
	PG_RETURN_DATUM(trail_verify_row(desc, &verify, problem, where));
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
