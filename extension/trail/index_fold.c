/*
 * index_fold.c
 *		Folds a batch of the trail's records into the index's tables.
 *
 * A batch is one transaction, which also moves the position: each record is
 * folded exactly once whatever dies in between.  Disclosures are folded in memory
 * first, by everything that a question may ask for but the subjects, so that a
 * million look-ups of a minute become a few rows.
 *
 * Locks: the extension first (AccessShareLock), as DROP EXTENSION does, so that
 * the two can't wait for each other; then the tables, as SQL takes them.  A new
 * partition is attached, which readers of the other partitions don't notice.
 *
 * An inconsistency of the evidence stops the index with WD303 instead of leaving
 * anything out: a missing answer is noticed, a wrong one is not.  That of a trail which a
 * standby delivered stops the index of that trail alone, and is noted in index_state for
 * those who ask.
 */
#include "trail/index_int.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/resowner.h"
#include "common/hashfn.h"

/* A batch ends at whichever comes first; small enough to keep commits frequent. */
#define INDEX_BATCH_RECORDS 200000
#define INDEX_BATCH_ROWS 20000
#define INDEX_BATCH_BYTES ((Size) 64 * 1024 * 1024)

/* ---------------------------------------------------------------- folding in memory */

/* What disclosures are folded by; the two column lists follow in one buffer. */
typedef struct FoldKey
{
	TrailPosition context;
	int64 fingerprint;
	int64 relation;
	TimestampTz minute;
	int16 subject_attnum;
	int16 manner;
	int16 nclear;
	int16 nsealed;
	int32 reason_len;
	int32 pad;
} FoldKey;

typedef struct FoldRow
{
	const char *key; /* FoldKey, clear, sealed, reason */
	int key_len;
	TrailSubjectSet *subjects; /* NULL with TRAIL_MANNER_ALL */
	TrailSubjectSet *statements;
	int64 records;
	int64 opens;
	uint64 last_statement; /* a statement's records count its opens so far */
	uint64 last_opens;
	TimestampTz first_at;
	TimestampTz last_at;
	TrailPosition first_position;
	TrailPosition last_position;
} FoldRow;

/* dynahash copies this as its key. */
typedef struct FoldHashKey
{
	const char *bytes;
	int len;
} FoldHashKey;

typedef struct FoldHashEntry
{
	FoldHashKey key;
	FoldRow row;
} FoldHashEntry;

typedef struct Fold
{
	MemoryContext context;
	HTAB *rows;
	uint64 records;
	Size bytes; /* of serialised sets merged: a bound on memory's growth */
} Fold;

static uint32
index_fold_hash(const void *key, Size keysize)
{
	const FoldHashKey *it = key;

	return hash_bytes((const unsigned char *) it->bytes, it->len);
}

static int
index_fold_match(const void *left, const void *right, Size keysize)
{
	const FoldHashKey *a = left;
	const FoldHashKey *b = right;

	return a->len == b->len ? memcmp(a->bytes, b->bytes, a->len) : 1;
}

static void
index_fold_begin(Fold *fold)
{
	HASHCTL control = {0};

	fold->context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_ward fold", ALLOCSET_DEFAULT_SIZES);
	control.keysize = sizeof(FoldHashKey);
	control.entrysize = sizeof(FoldHashEntry);
	control.hash = index_fold_hash;
	control.match = index_fold_match;
	control.hcxt = fold->context;
	fold->rows = hash_create("pg_ward fold", 1024, &control,
							 HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	fold->records = 0;
	fold->bytes = 0;
}

/* The minute that a time lies in; rounds down, also before 2000. */
static TimestampTz
index_fold_floor(TimestampTz at, int64 unit)
{
	TimestampTz rest = at % unit;

	return at - (rest < 0 ? rest + unit : rest);
}

static void
index_fold_add(Fold *fold, const TrailIndexEntry *entry, int64 relation)
{
	StringInfoData bytes;
	FoldKey head = {0};
	FoldHashKey key;
	FoldHashEntry *found;
	FoldRow *row;
	bool known;

	head.context = entry->context;
	head.fingerprint = entry->fingerprint;
	head.relation = relation;
	head.minute = index_fold_floor(entry->at, USECS_PER_MINUTE);
	head.subject_attnum = entry->subject_attnum;
	head.manner = (int16) entry->manner;
	head.nclear = (int16) entry->nclear;
	head.nsealed = (int16) entry->nsealed;
	head.reason_len = entry->reason == NULL ? 0 : (int32) strlen(entry->reason);
	initStringInfo(&bytes);
	appendBinaryStringInfo(&bytes, (const char *) &head, sizeof(head));
	if (entry->nclear > 0)
		appendBinaryStringInfo(&bytes, (const char *) entry->clear,
							   entry->nclear * (int) sizeof(int16));
	if (entry->nsealed > 0)
		appendBinaryStringInfo(&bytes, (const char *) entry->sealed,
							   entry->nsealed * (int) sizeof(int16));
	if (head.reason_len > 0)
		appendBinaryStringInfo(&bytes, entry->reason, head.reason_len);

	key.bytes = bytes.data;
	key.len = bytes.len;
	found = hash_search(fold->rows, &key, HASH_ENTER, &known);
	row = &found->row;
	if (!known)
	{
		char *copy = MemoryContextAlloc(fold->context, bytes.len);

		memcpy(copy, bytes.data, bytes.len);
		found->key.bytes = copy;
		memset(row, 0, sizeof(FoldRow));
		row->key = copy;
		row->key_len = bytes.len;
		row->statements = trail_subject_set_create(fold->context);
		if (entry->subjects != NULL)
			row->subjects = trail_subject_set_create(fold->context);
		row->first_at = row->last_at = entry->at;
		row->first_position = entry->position;
	}
	pfree(bytes.data);

	if (entry->subjects != NULL)
	{
		/* Manner is part of the key, so only damage can mix the two. */
		if (row->subjects == NULL)
			ereport(ERROR, (errcode(ERRCODE_WARD_TRAIL_CORRUPT),
							errmsg("record " UINT64_FORMAT " of the trail names subjects and "
								   "says that it can't",
								   entry->position)));
		trail_subject_set_merge(row->subjects, entry->subjects, entry->subjects_len);
		fold->bytes += entry->subjects_len;
	}
	(void) trail_subject_set_add(row->statements, (int64) entry->statement);
	row->records++;
	if (row->last_statement == entry->statement && entry->opens >= row->last_opens)
		row->opens += (int64) (entry->opens - row->last_opens);
	else
		row->opens += (int64) entry->opens;
	row->last_statement = entry->statement;
	row->last_opens = entry->opens;
	row->first_at = Min(row->first_at, entry->at);
	row->last_at = Max(row->last_at, entry->at);
	row->last_position = entry->position;
}

/* ---------------------------------------------------------------- writing */

/* Makes the partition of a day where it does not exist yet. */
static void
index_fold_partition(TimestampTz minute)
{
	static int64 last_day = PG_INT64_MIN;
	static char last_name[NAMEDATALEN];
	int64 day = index_fold_floor(minute, USECS_PER_DAY) / USECS_PER_DAY;
	int from[3];
	int to[3];
	char name[NAMEDATALEN];

	/* Pruning drops some. */
	if (day == last_day && OidIsValid(core_catalog_relation(last_name)))
		return;
	j2date((int) day + POSTGRES_EPOCH_JDATE, &from[0], &from[1], &from[2]);
	j2date((int) day + 1 + POSTGRES_EPOCH_JDATE, &to[0], &to[1], &to[2]);
	snprintf(name, sizeof(name), "disclosure_%04d%02d%02d", from[0], from[1], from[2]);
	if (!OidIsValid(core_catalog_relation(name)))
	{
		char *commands[] = {
			psprintf("CREATE TABLE _ward.%s (LIKE _ward.disclosure)", name),
			psprintf("REVOKE ALL ON _ward.%s FROM PUBLIC", name),
			/* a member, so that it is neither dumped nor left behind */
			psprintf("ALTER EXTENSION pg_ward ADD TABLE _ward.%s", name),
			psprintf("ALTER TABLE _ward.disclosure ATTACH PARTITION _ward.%s FOR VALUES FROM "
					 "('%04d-%02d-%02d 00:00:00+00') TO ('%04d-%02d-%02d 00:00:00+00')",
					 name, from[0], from[1], from[2], to[0], to[1], to[2]),
		};

		for (int i = 0; i < (int) lengthof(commands); i++)
		{
			int result = SPI_execute(commands[i], false, 0);

			if (result != SPI_OK_UTILITY)
				elog(ERROR, "could not make partition %s: %s", name,
					 SPI_result_code_string(result));
		}
	}
	last_day = day;
	strlcpy(last_name, name, sizeof(last_name));
}

static Datum
index_fold_set(const TrailSubjectSet *set)
{
	StringInfoData bytes;

	initStringInfo(&bytes);
	bytes.len = VARHDRSZ;
	trail_subject_set_serialize(set, &bytes);
	SET_VARSIZE(bytes.data, bytes.len);
	return PointerGetDatum(bytes.data);
}

static void
index_fold_write_row(const FoldRow *row)
{
	FoldKey key;
	const char *rest = row->key + sizeof(FoldKey);
	int16 *columns;
	char nulls[] = "                 ";
	Datum values[17];

	memcpy(&key, row->key, sizeof(key));
	index_fold_partition(key.minute);
	columns = palloc(sizeof(int16) * (key.nclear + key.nsealed + 1));
	memcpy(columns, rest, sizeof(int16) * (key.nclear + key.nsealed));
	rest += sizeof(int16) * (key.nclear + key.nsealed);

	values[0] = Int64GetDatum((int64) key.context);
	values[1] = Int64GetDatum(key.fingerprint);
	values[2] = Int64GetDatum(key.relation);
	values[3] = Int16GetDatum(key.subject_attnum);
	values[4] = TimestampTzGetDatum(key.minute);
	values[5] = Int16GetDatum(key.manner);
	values[6] = PointerGetDatum(cstring_to_text_with_len(rest, key.reason_len));
	values[7] = trail_index_write_int2_array(columns, key.nclear);
	values[8] = trail_index_write_int2_array(columns + key.nclear, key.nsealed);
	if (row->subjects == NULL)
	{
		nulls[9] = 'n';
		values[9] = (Datum) 0;
	}
	else
		values[9] = index_fold_set(row->subjects);
	values[10] = index_fold_set(row->statements);
	values[11] = Int64GetDatum(row->records);
	values[12] = Int64GetDatum(row->opens);
	values[13] = TimestampTzGetDatum(row->first_at);
	values[14] = TimestampTzGetDatum(row->last_at);
	values[15] = Int64GetDatum((int64) row->first_position);
	values[16] = Int64GetDatum((int64) row->last_position);
	/* Nothing inserted means that the context is unknown. */
	if (trail_index_statement_run(INDEX_PLAN_DISCLOSURE, values, nulls, SPI_OK_INSERT) != 1)
		ereport(ERROR, (errcode(ERRCODE_WARD_TRAIL_CORRUPT),
						errmsg("record " UINT64_FORMAT " of the trail has no context",
							   row->first_position),
						errdetail("It refers to record " UINT64_FORMAT ".", key.context)));
}

static void
index_fold_write(Fold *fold)
{
	HASH_SEQ_STATUS scan;
	FoldHashEntry *entry;
	MemoryContext each =
		AllocSetContextCreate(CurrentMemoryContext, "pg_ward fold row", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(each);

	hash_seq_init(&scan, fold->rows);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		index_fold_write_row(&entry->row);
		MemoryContextReset(each);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(each);
}

/* ---------------------------------------------------------------- a batch */

static void
index_fold_empty(void)
{
	if (SPI_execute("TRUNCATE _ward.index_state, _ward.context, _ward.relation_version, "
					"_ward.relation_at, _ward.statement, _ward.event, _ward.disclosure, "
					"_ward.subject_key",
					false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not empty the index");
	trail_index_write_forget();
}

/* Empties the index in the current transaction, so that it is made again. */
void
trail_index_fold_restart(void)
{
	SPI_connect();
	index_fold_empty();
	SPI_finish();
}

/*
 * This trail is new to this database as its own.  Where the index holds another server's
 * (an upgrade or a restore that left the trail behind, a promoted standby), what that trail
 * holds beyond is out of reach; that must not go unsaid (I7).  Trails that standbys deliver
 * are none such.
 */
static void
index_fold_tell_elsewhere(void)
{
	Oid types[1] = {OIDOID};
	Datum values[1] = {ObjectIdGetDatum(MyDatabaseId)};

	if (SPI_execute_with_args("SELECT node, position::text FROM _ward.index_state "
							  "WHERE database = $1 AND NOT shipped ORDER BY node",
							  1, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the index's state");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		TrailField fields[2];

		fields[0].name = "node";
		fields[0].value = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		fields[1].name = "position";
		fields[1].value = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);
		if (strcmp(fields[0].value, trail_index_statement_node()) == 0)
			continue;
		(void) trail_record_event("trail.elsewhere", fields, 2);
		ereport(
			WARNING,
			(errmsg("the index of this database holds evidence of another trail"),
			 errdetail("It holds that of node %s up to record %s; what is behind that is not in "
					   "the index.",
					   fields[0].value, fields[1].value),
			 errhint("If this server took the place of another (pg_upgrade, a restore), stop it, "
					 "keep its ward_trail and ward_trail.node aside, and put the other's in their "
					 "place. If it is a promoted standby, keep the primary's trail.")));
	}
}

/*
 * Where to go on; makes the state where there is none or where it is a copy's.  troubled:
 * what was there could not be read the last time.
 */
static TrailPosition
index_fold_state(bool shipped, volatile bool *troubled, TrailPosition *pruned)
{
	Datum state[2] = {ObjectIdGetDatum(MyDatabaseId), BoolGetDatum(shipped)};

	*troubled = false;
	*pruned = 0;
	if (trail_index_statement_run(INDEX_PLAN_STATE, NULL, NULL, SPI_OK_SELECT) == 1)
	{
		TrailPosition position = (TrailPosition) DatumGetInt64(trail_index_statement_value(1));

		if (DatumGetObjectId(trail_index_statement_value(2)) == MyDatabaseId)
		{
			*troubled = DatumGetBool(trail_index_statement_value(4));
			*pruned = (TrailPosition) DatumGetInt64(trail_index_statement_value(5));
			/* A standby was promoted, or a server that was the primary became one. */
			if (DatumGetBool(trail_index_statement_value(3)) != shipped)
			{
				(void) trail_index_statement_run(INDEX_PLAN_STATE_SHIPPED, &state[1], NULL,
												 SPI_OK_UPDATE);
				if (!shipped)
					index_fold_tell_elsewhere();
			}
			return position;
		}
		/* CREATE DATABASE copied another database's index with the template. */
		index_fold_empty();
	}
	(void) trail_index_statement_run(INDEX_PLAN_STATE_NEW, state, NULL, SPI_OK_INSERT);
	if (!shipped)
		index_fold_tell_elsewhere();
	return 0;
}

/* reached is also right where this raises: the first record that is not folded. */
static void
index_fold_records(Fold *fold, TrailIndexSource *source, volatile TrailPosition *reached)
{
	TrailIndexEntry entry;
	MemoryContext each =
		AllocSetContextCreate(CurrentMemoryContext, "pg_ward record", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(each);

	while (fold->records < INDEX_BATCH_RECORDS && fold->bytes < INDEX_BATCH_BYTES &&
		   hash_get_num_entries(fold->rows) < INDEX_BATCH_ROWS &&
		   trail_index_source_next(source, &entry))
	{
		CHECK_FOR_INTERRUPTS();
		*reached = entry.position;
		fold->records++;
		switch (entry.kind)
		{
			case TRAIL_KIND_DISCLOSURE:
				index_fold_add(fold, &entry, trail_index_write_relation_of(&entry));
				break;
			default:
				trail_index_write_entry(&entry);
				break;
		}
		*reached = entry.position + 1;
		MemoryContextReset(each);
	}
	*reached = trail_index_source_position(source);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(each);
}

/* Notes that a trail can't be read further, or (NULL) that it can again. */
static void
index_fold_note_problem(const char *problem)
{
	Datum value = problem != NULL ? CStringGetTextDatum(problem) : (Datum) 0;

	(void) trail_index_statement_run(INDEX_PLAN_STATE_PROBLEM, &value, problem != NULL ? " " : "n",
									 SPI_OK_UPDATE);
}

/*
 * Folds a batch of one trail, this server's own or (directory) one that a standby
 * delivered; true: there is more.  reached as with index_fold_records().
 */
static bool
index_fold_batch(const char *node, const char *directory, TrailPosition delivered,
				 volatile TrailPosition *reached, volatile bool *troubled)
{
	TrailPosition from;
	TrailPosition end;
	TrailPosition pruned;
	Fold fold;
	TrailIndexSource *source;
	Datum move[2];

	/* Positions are each trail's own. */
	if (trail_index_statement_enter(node))
		trail_index_write_forget();
	from = index_fold_state(directory != NULL, troubled, &pruned);
	if (directory == NULL && pruned < trail_append_begin())
	{
		TrailPosition cut = trail_append_begin();

		trail_index_prune(cut);
		from = Max(from, cut);
	}
	*reached = from;
	end = directory != NULL ? delivered : trail_append_end();
	/* A standby delivers anew to a server that was promoted, what is indexed already too. */
	if (from > end && directory != NULL)
		return false;
	if (from > end)
		ereport(ERROR, (errcode(ERRCODE_WARD_TRAIL_ABSENT),
						errmsg("the trail ends before what was indexed from it"),
						errdetail("The index has reached record " UINT64_FORMAT
								  ", the trail ends at " UINT64_FORMAT ".",
								  from, end),
						errhint("Bring back the trail's directory as it was. If this is a trail "
								"of its own, call ward.rebuild_index().")));
	if (from == end)
		return false;
	source = directory != NULL ? trail_index_source_open_in(directory, from, end)
							   : trail_index_source_open(from);
	index_fold_begin(&fold);
	index_fold_records(&fold, source, reached);
	trail_index_source_close(source);
	index_fold_write(&fold);
	move[0] = Int64GetDatum((int64) *reached);
	move[1] = Int64GetDatum((int64) fold.records);
	(void) trail_index_statement_run(INDEX_PLAN_STATE_MOVE, move, NULL, SPI_OK_UPDATE);
	MemoryContextDelete(fold.context);
	return *reached < end;
}

/*
 * The same of a standby's trail, up to an end, in a subtransaction.  False: it can't be
 * read, and nothing was folded; what is wrong is in the present memory context.
 */
static bool
index_fold_try(const TrailReceived *standby, TrailPosition end, TrailPosition *reached,
			   bool *troubled, bool *more, const char **problem)
{
	MemoryContext old = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile TrailPosition got = 0;
	volatile bool was_troubled = false;
	volatile bool done = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(old);
	PG_TRY();
	{
		if (index_fold_batch(standby->name, standby->directory, end, &got, &was_troubled))
			*more = true;
		ReleaseCurrentSubTransaction();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(old);
		error = CopyErrorData();
		if (error->sqlerrcode != ERRCODE_WARD_TRAIL_ABSENT &&
			error->sqlerrcode != ERRCODE_WARD_TRAIL_UNREACHABLE &&
			error->sqlerrcode != ERRCODE_WARD_TRAIL_CORRUPT)
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		/* Numbers of relations that were given meanwhile are gone. */
		trail_index_write_forget();
		*problem = error->detail != NULL ? psprintf("%s: %s", error->message, error->detail)
										 : error->message;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	CurrentResourceOwner = owner;
	*reached = got;
	*troubled |= was_troubled;
	return done;
}

/* Says once that a standby's trail can't be read further. */
static void
index_fold_tell_stuck(const TrailReceived *standby, TrailPosition reached, const char *problem)
{
	char position[32];
	TrailField fields[3] = {{"node", standby->name}, {"position", position}, {"problem", problem}};

	snprintf(position, sizeof(position), UINT64_FORMAT, reached);
	ereport(WARNING, (errmsg("the trail that a standby delivered can't be indexed further"),
					  errdetail("Node %s, from record " UINT64_FORMAT " on. %s", standby->name,
								reached, problem),
					  errhint("All other evidence is indexed. ward.scope_basis() says what this "
							  "means for answers; ward.verify_standby() reads that trail.")));
	(void) trail_record_cluster_event("standby.damaged", fields, 3);
}

/* Folds a batch of a standby's trail, as far as it can be read; true: there is more. */
static bool
index_fold_standby(const TrailReceived *standby)
{
	const char *problem = NULL;
	TrailPosition end = standby->accepted;
	TrailPosition reached;
	bool troubled = false;
	bool more = false;

	while (!index_fold_try(standby, end, &reached, &troubled, &more, &problem))
		end = reached < end ? reached : 0;
	if (problem != NULL || troubled)
		index_fold_note_problem(problem);
	if (problem == NULL)
		return more;
	if (!troubled)
		index_fold_tell_stuck(standby, end, problem);
	return false;
}

bool
trail_index_fold(bool *more)
{
	Oid extension = get_extension_oid("pg_ward", true);
	volatile TrailPosition reached;
	volatile bool troubled;
	List *delivered;
	ListCell *cell;

	*more = false;
	if (!OidIsValid(extension))
		return false;
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	if (get_extension_oid("pg_ward", true) != extension ||
		!OidIsValid(core_catalog_relation("index_state")))
		return false;

	SPI_connect();
	*more = index_fold_batch(trail_index_source_node(), NULL, 0, &reached, &troubled);
	delivered = trail_receive_list();
	foreach (cell, delivered)
	{
		if (index_fold_standby(lfirst(cell)))
			*more = true;
	}
	SPI_finish();
	return true;
}

/* A plain scan, because the caller chooses the snapshot. */
TrailIndexReached
trail_index_fold_reached(Snapshot snapshot, const char *node)
{
	Oid relid = core_catalog_relation("index_state");
	TrailIndexReached reached = {0};
	Relation state;
	TableScanDesc scan;
	TupleTableSlot *slot;

	if (!OidIsValid(relid))
		return reached;
	state = table_open(relid, AccessShareLock);
	slot = table_slot_create(state, NULL);
	scan = table_beginscan(state, snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool isnull;
		text *name = DatumGetTextPP(slot_getattr(slot, 1, &isnull));
		Oid database = DatumGetObjectId(slot_getattr(slot, 2, &isnull));

		if (database != MyDatabaseId || strcmp(text_to_cstring(name), node) != 0)
			continue;
		reached.position = (TrailPosition) DatumGetInt64(slot_getattr(slot, 3, &isnull));
		(void) slot_getattr(slot, 7, &isnull);
		reached.stuck = !isnull;
		reached.tries = (uint64) DatumGetInt64(slot_getattr(slot, 8, &isnull));
		reached.pruned = (TrailPosition) DatumGetInt64(slot_getattr(slot, 9, &isnull));
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(state, AccessShareLock);
	return reached;
}
