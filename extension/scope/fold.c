/*
 * fold.c
 *		Folds disclosures into the answer for each person.
 *
 * Half a million people and thousands of disclosures must not become a row for each
 * pair, so people are kept together while the same disclosures named them (states.c).
 *
 * Memory is bounded by work_mem * hash_mem_multiplier.  When that is full, all states are
 * written down with their people, to files by a hash of the people (spill.c), and folding
 * goes on with nothing.  What was written is read like disclosures, a file at a time, for
 * facts that were put together may be put together with others (facts.c); a file that is
 * itself too much is split by another hash.  People with the same facts may then come as
 * several groups.  Beyond the bound are kept: the names of columns, reasons and sessions
 * (some 50 bytes each), and what one person's own answer takes.
 *
 * Everything lives in contexts of the call and goes with it, on error too.  No locks are
 * taken beyond those of the query that is read.
 */
#include "scope/scope_int.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

WARD_FUNCTION(ward_scope_fold);

/* Sets of so many are kept back: see FoldCrowd. */
#define FOLD_CROWD 256
/* Files below files: below so many, hardly any two people are still together. */
#define FOLD_LEVELS 24
/* So many people of a crowd are visited before memory is looked at. */
#define FOLD_CHECK 64
/* Whatever the bound, there must be room to fold in. */
#define FOLD_LEAST (256 * 1024)

/* ---------------------------------------------------------------- crowds */

/*
 * Large sets mostly come again byte for byte (everybody in the table, one society's
 * list), so their people are visited once, at the end, with the facts of all.
 */
typedef struct FoldCrowdKey
{
	const char *bytes;
	Size len;
	int class;
	bool certain;
} FoldCrowdKey;

typedef struct FoldCrowd
{
	FoldCrowdKey key;
	ScopeFacts facts;
} FoldCrowd;

typedef struct FoldWork
{
	MemoryContext context; /* of the call */
	MemoryContext memory;  /* below it: of what is written down when it is too much */
	MemoryContext row;	   /* below it: of one disclosure */
	Size limit;
	ScopeTerms *terms;
	const char **classes; /* of subjects, by number */
	int nclasses;
	ScopeStates *states;
	HTAB *crowds;
	uint64 visits; /* of crowds' people, to see to things now and then */
	ScopeFacts adding;
	int level;		   /* how often what is read now was written down */
	ScopeSpill *spill; /* once memory was full */
	Tuplestorestate *result;
	TupleDesc desc;
} FoldWork;

static uint32
fold_crowd_hash(const void *key, Size keysize)
{
	const FoldCrowdKey *it = key;

	return hash_bytes((const unsigned char *) it->bytes, (int) it->len) ^ (uint32) it->certain;
}

static int
fold_crowd_match(const void *left, const void *right, Size keysize)
{
	const FoldCrowdKey *a = left;
	const FoldCrowdKey *b = right;

	if (a->class != b->class || a->certain != b->certain || a->len != b->len)
		return 1;
	return memcmp(a->bytes, b->bytes, a->len);
}

/* Puts the current disclosure by, together with others of the same people. */
static void
fold_crowd(FoldWork *work, const char *bytes, Size len)
{
	FoldCrowdKey key = {
		.class = work->adding.class, .bytes = bytes, .len = len, .certain = work->adding.certain};
	bool known;
	FoldCrowd *crowd = hash_search(work->crowds, &key, HASH_ENTER, &known);

	if (known)
		scope_facts_gather(work->terms, &crowd->facts, &work->adding);
	else
	{
		char *copy = MemoryContextAllocHuge(work->memory, len);

		memcpy(copy, bytes, len);
		crowd->key.bytes = copy;
		memset(&crowd->facts, 0, sizeof(ScopeFacts));
		scope_facts_copy(work->terms, &crowd->facts, &work->adding);
	}
}

/* ---------------------------------------------------------------- memory */

/* Begins with nothing. */
static void
fold_begin(FoldWork *work)
{
	HASHCTL crowds = {.keysize = sizeof(FoldCrowdKey),
					  .entrysize = sizeof(FoldCrowd),
					  .hash = fold_crowd_hash,
					  .match = fold_crowd_match,
					  .hcxt = work->memory};

	MemoryContextReset(work->memory);
	scope_facts_begin(work->terms, work->memory);
	work->states = scope_states_create(work->memory, work->terms);
	work->crowds = hash_create("pg_ward crowds", 16, &crowds,
							   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

/* Is memory full, or will be with a few more people? */
static bool
fold_full(const FoldWork *work)
{
	/* Words stay, however many; what is written down must be worth it all the same. */
	Size limit = Max(work->limit, 2 * MemoryContextMemAllocated(work->context, false));

	/* One alone can't be split, nor can what was split too often. */
	if ((scope_states_people(work->states) < 2 && hash_get_num_entries(work->crowds) == 0) ||
		work->level >= FOLD_LEVELS)
		return false;
	return MemoryContextMemAllocated(work->memory, true) +
			   scope_states_growth(work->states, FOLD_CROWD) >
		   limit;
}

/* Writes all states down. */
static void
fold_write_states(FoldWork *work)
{
	ScopeGroup group;
	uint32 at = 0;

	if (work->spill == NULL)
		work->spill = scope_spill_create(work->context, work->level, work->limit);
	scope_states_end(work->states);
	while (scope_states_group(work->states, &at, &group))
	{
		CHECK_FOR_INTERRUPTS();
		scope_spill_facts(work->spill, group.facts);
		for (uint32 i = 0; i < group.people; i++)
			scope_spill_add(work->spill, group.subjects[i]);
	}
}

/* A run of a crowd's people: visited or, once memory is full, written down. */
static bool
fold_crowd_run(int64 lo, int64 hi, void *arg)
{
	FoldWork *work = arg;

	for (int64 subject = lo;; subject++)
	{
		if (work->spill != NULL)
			scope_spill_add(work->spill, subject);
		else
			scope_states_visit(work->states, &work->adding, subject);
		if (++work->visits % FOLD_CHECK == 0)
		{
			CHECK_FOR_INTERRUPTS();
			if (work->spill == NULL && fold_full(work))
			{
				fold_write_states(work);
				scope_spill_facts(work->spill, &work->adding);
			}
		}
		if (subject == hi)
			return true;
	}
}

/* The people of crowds, at the end; or writes them down with the rest. */
static void
fold_crowds(FoldWork *work)
{
	HASH_SEQ_STATUS scan;
	FoldCrowd *crowd;

	hash_seq_init(&scan, work->crowds);
	while ((crowd = hash_seq_search(&scan)) != NULL)
	{
		work->adding = crowd->facts;
		scope_states_next(work->states);
		if (work->spill != NULL)
			scope_spill_facts(work->spill, &work->adding);
		trail_subject_set_walk_bytes(crowd->key.bytes, crowd->key.len, fold_crowd_run, work);
	}
}

/* ---------------------------------------------------------------- reading */

static bool
fold_run(int64 lo, int64 hi, void *arg)
{
	FoldWork *work = arg;

	for (int64 subject = lo;; subject++)
	{
		scope_states_visit(work->states, &work->adding, subject);
		if (subject == hi)
			return true;
	}
}

static bool
fold_count_run(int64 lo, int64 hi, void *arg)
{
	uint64 *room = arg;
	uint64 more = (uint64) hi - (uint64) lo;

	if (more >= *room)
	{
		*room = 0;
		return false;
	}
	*room -= more + 1;
	return *room > 0;
}

/* A disclosure whose facts are in `adding`, or what was written down of several. */
static void
fold_disclosure(FoldWork *work, const char *bytes, Size len)
{
	uint64 room = FOLD_CROWD;

	trail_subject_set_walk_bytes(bytes, len, fold_count_run, &room);
	if (room == 0)
		fold_crowd(work, bytes, len);
	else
	{
		scope_states_next(work->states);
		trail_subject_set_walk_bytes(bytes, len, fold_run, work);
	}
	if (fold_full(work))
	{
		fold_write_states(work);
		fold_crowds(work);
		fold_begin(work);
	}
}

static int
fold_class(FoldWork *work, const char *name)
{
	MemoryContext old;

	for (int i = 0; i < work->nclasses; i++)
		if (strcmp(work->classes[i], name) == 0)
			return i;
	old = MemoryContextSwitchTo(work->context);
	work->classes = work->nclasses == 0
						? palloc(sizeof(char *))
						: repalloc(work->classes, (work->nclasses + 1) * sizeof(char *));
	work->classes[work->nclasses] = pstrdup(name);
	MemoryContextSwitchTo(old);
	return work->nclasses++;
}

/* Columns of the query, as scope/10_fold.sql gives them. */
enum
{
	COLUMN_CLASS,
	COLUMN_CERTAIN,
	COLUMN_RELATION,
	COLUMN_CLEAR,
	COLUMN_SEALED,
	COLUMN_SESSION,
	COLUMN_REASON,
	COLUMN_FIRST_SEEN,
	COLUMN_LAST_SEEN,
	COLUMN_STATEMENTS,
	COLUMN_FIRST_POSITION,
	COLUMN_LAST_POSITION,
	COLUMN_SUBJECTS,
	COLUMNS
};

/* Rows come one by one: a batch of them could hold everybody many times over. */
typedef struct FoldReceiver
{
	DestReceiver pub;
	FoldWork *work;
} FoldReceiver;

static bool
fold_receive(TupleTableSlot *slot, DestReceiver *self)
{
	FoldWork *work = ((FoldReceiver *) self)->work;
	ScopeFacts *add = &work->adding;
	const Datum *values;
	MemoryContext old;
	bytea *bytes;

	CHECK_FOR_INTERRUPTS();
	slot_getallattrs(slot);
	if (slot->tts_isnull[COLUMN_SUBJECTS]) /* nobody can be named: the summary's note says so */
		return true;
	values = slot->tts_values;
	old = MemoryContextSwitchTo(work->row);
	add->class = fold_class(work, TextDatumGetCString(values[COLUMN_CLASS]));
	add->certain = DatumGetBool(values[COLUMN_CERTAIN]);
	scope_facts_words(
		work->terms, add, DatumGetInt64(values[COLUMN_RELATION]), values[COLUMN_CLEAR],
		values[COLUMN_SEALED],
		slot->tts_isnull[COLUMN_SESSION] ? NULL : TextDatumGetCString(values[COLUMN_SESSION]),
		slot->tts_isnull[COLUMN_REASON] ? NULL : TextDatumGetCString(values[COLUMN_REASON]));
	add->first_seen = DatumGetTimestampTz(values[COLUMN_FIRST_SEEN]);
	add->last_seen = DatumGetTimestampTz(values[COLUMN_LAST_SEEN]);
	add->statements = DatumGetInt64(values[COLUMN_STATEMENTS]);
	add->first_position = DatumGetInt64(values[COLUMN_FIRST_POSITION]);
	add->last_position = DatumGetInt64(values[COLUMN_LAST_POSITION]);
	bytes = DatumGetByteaPP(values[COLUMN_SUBJECTS]);
	fold_disclosure(work, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	MemoryContextSwitchTo(old);
	MemoryContextReset(work->row);
	return true;
}

static void
fold_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	if (desc->natts != COLUMNS)
		elog(ERROR, "the scope's query does not give what it must");
}

static void
fold_nothing(DestReceiver *self)
{
}

static void
fold_read(FoldWork *work, const char *query, ParamListInfo params)
{
	FoldReceiver receiver = {.work = work};
	SPIExecuteOptions options = {.params = params, .read_only = true};

	receiver.pub.receiveSlot = fold_receive;
	receiver.pub.rStartup = fold_startup;
	receiver.pub.rShutdown = fold_nothing;
	receiver.pub.rDestroy = fold_nothing;
	receiver.pub.mydest = DestTuplestore; /* any but those that SPI treats in its own way */
	options.dest = &receiver.pub;
	if (SPI_execute_extended(query, &options) != SPI_OK_SELECT)
		elog(ERROR, "could not read the disclosures");
}

/* ---------------------------------------------------------------- answering */

static void
fold_emit(FoldWork *work, const ScopeFacts *facts, TrailSubjectSet *subjects)
{
	StringInfoData bytes;
	Datum values[SCOPE_FOLD_COLUMNS];
	bool nulls[SCOPE_FOLD_COLUMNS] = {false};

	initStringInfo(&bytes);
	bytes.len = VARHDRSZ;
	trail_subject_set_serialize(subjects, &bytes);
	SET_VARSIZE(bytes.data, bytes.len);
	values[0] = CStringGetTextDatum(work->classes[facts->class]);
	scope_facts_values(work->terms, facts, values + 1);
	values[SCOPE_FOLD_COLUMNS - 1] = PointerGetDatum(bytes.data);
	tuplestore_putvalues(work->result, work->desc, values, nulls);
}

static void
fold_answer(FoldWork *work)
{
	MemoryContext old = MemoryContextSwitchTo(work->row);
	ScopeGroup group;
	uint32 at = 0;

	scope_states_end(work->states);
	while (scope_states_group(work->states, &at, &group))
	{
		TrailSubjectSet *set = trail_subject_set_create(CurrentMemoryContext);

		CHECK_FOR_INTERRUPTS();
		for (uint32 i = 0; i < group.people; i++)
		{
			(void) trail_subject_set_add(set, group.subjects[i]);
			/* Far-apart numbers take more as a set than they took as people. */
			if (trail_subject_set_memory(set) > work->limit / 4)
			{
				fold_emit(work, group.facts, set);
				trail_subject_set_reset(set);
			}
		}
		if (trail_subject_set_count(set) > 0)
			fold_emit(work, group.facts, set);
		MemoryContextReset(work->row);
	}
	MemoryContextSwitchTo(old);
}

/* Answers with what was read; or, where it was written down, with one file after another. */
static void
fold_finish(FoldWork *work)
{
	ScopeSpill *spill;
	int parts;

	if (work->spill != NULL)
		fold_write_states(work);
	fold_crowds(work);
	spill = work->spill;
	if (spill == NULL)
	{
		fold_answer(work);
		return;
	}
	check_stack_depth();
	work->spill = NULL;
	parts = scope_spill_finish(spill);
	work->level++;
	for (int part = 0; part < parts; part++)
	{
		BufFile *file = scope_spill_file(spill, part);
		StringInfoData record;
		const char *facts;
		const char *set;
		Size length;

		if (file == NULL)
			continue;
		fold_begin(work);
		initStringInfo(&record);
		while (scope_spill_next(file, &record, &facts, &set, &length))
		{
			MemoryContext old = MemoryContextSwitchTo(work->row);

			CHECK_FOR_INTERRUPTS();
			(void) scope_facts_read(work->terms, &work->adding, facts);
			fold_disclosure(work, set, length);
			MemoryContextSwitchTo(old);
			MemoryContextReset(work->row);
		}
		pfree(record.data);
		BufFileClose(file);
		fold_finish(work);
	}
	work->level--;
	scope_spill_free(spill);
}

/* What a question asks, from this argument on, as parameters of queries. */
ParamListInfo
scope_fold_params(FunctionCallInfo fcinfo, int first)
{
	static const Oid types[SCOPE_FOLD_PARAMS] = {TSTZRANGEOID, NAMEARRAYOID, INETARRAYOID,
												 TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
												 TEXTOID,	   TEXTARRAYOID};
	ParamListInfo params = makeParamList(SCOPE_FOLD_PARAMS);

	for (int i = 0; i < SCOPE_FOLD_PARAMS; i++)
	{
		params->params[i].value = PG_ARGISNULL(first + i) ? (Datum) 0 : PG_GETARG_DATUM(first + i);
		params->params[i].isnull = PG_ARGISNULL(first + i);
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = types[i];
	}
	return params;
}

/* What groups look like: as _ward.scope_groups() gives them. */
TupleDesc
scope_fold_desc(void)
{
	static const struct
	{
		const char *name;
		Oid type;
	} columns[SCOPE_FOLD_COLUMNS] = {
		{"subject_class", TEXTOID},		 {"certain", BOOLOID},
		{"columns_clear", TEXTARRAYOID}, {"columns_sealed", TEXTARRAYOID},
		{"first_seen", TIMESTAMPTZOID},	 {"last_seen", TIMESTAMPTZOID},
		{"statements", INT8OID},		 {"sessions", TEXTARRAYOID},
		{"reasons", TEXTARRAYOID},		 {"first_position", INT8OID},
		{"last_position", INT8OID},		 {"subjects", BYTEAOID}};
	TupleDesc desc = CreateTemplateTupleDesc(SCOPE_FOLD_COLUMNS);

	for (int i = 0; i < SCOPE_FOLD_COLUMNS; i++)
		TupleDescInitEntry(desc, (AttrNumber) (i + 1), columns[i].name, columns[i].type, -1, 0);
	return desc;
}

/* Folds what a query gives into groups; needs an SPI connection, which may know relations. */
void
scope_fold(const char *query, ParamListInfo params, Tuplestorestate *result, TupleDesc desc)
{
	FoldWork work = {.result = result, .desc = desc};

	if (desc->natts != SCOPE_FOLD_COLUMNS)
		elog(ERROR, "the scope's groups are not as expected");
	work.context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_ward scope", ALLOCSET_DEFAULT_SIZES);
	work.memory = AllocSetContextCreate(work.context, "pg_ward scope fold", ALLOCSET_DEFAULT_SIZES);
	work.row = AllocSetContextCreate(work.context, "pg_ward scope row", ALLOCSET_DEFAULT_SIZES);
	work.limit = Max(get_hash_memory_limit(), FOLD_LEAST);
	work.terms = scope_facts_terms(work.context);
	fold_begin(&work);
	fold_read(&work, query, params);
	fold_finish(&work);
	MemoryContextDelete(work.context);
}

Datum
ward_scope_fold(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	if (PG_ARGISNULL(0))
		elog(ERROR, "the scope needs a query");
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	scope_fold(text_to_cstring(PG_GETARG_TEXT_PP(0)), scope_fold_params(fcinfo, 1),
			   result->setResult, result->setDesc);
	SPI_finish();
	PG_RETURN_NULL();
}
