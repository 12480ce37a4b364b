/*
 * subject_set.c
 *		Sets of int64 in memory.
 *
 * A key's upper 52 bits choose a chunk, its lower 12 bits a member of it.  Keys
 * of one table are mostly dense, so a chunk is a bitmap of 512 bytes; but a set
 * of scattered keys would then cost 512 bytes each, so a chunk starts with up to
 * four members inside its own descriptor, grows through small sorted arrays, and
 * is a bitmap only where that is no larger; a chunk that holds all of its 4096
 * members needs no memory at all.  Descriptors lie in one array in order of
 * arrival, found through an open-addressing table of their numbers, which exists
 * only where there are more than a few.  The chunk used last is tried first: rows
 * arrive in runs.
 *
 * The last bitmap can be added to without a call, through the window that a set begins
 * with.  Its chunk's and the set's counts then lag behind: whatever looks at either, or
 * moves on to another chunk, closes the window first.
 *
 * A set takes no locks and is not shared.  Memory comes from the context given at
 * creation; blocks that a chunk outgrows go to a free list inside the set, because
 * adding happens in the executor's innermost loop.  Functions that add can raise
 * out of memory, and then the set is still whole, without the new member.
 */
#include "trail/trail.h"
#include "trail/subject_codec.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"

#define CHUNK_SHIFT TRAIL_SUBJECT_WINDOW
#define CHUNK_MEMBERS (1 << CHUNK_SHIFT)
#define CHUNK_MASK (CHUNK_MEMBERS - 1)
#define CHUNK_WORDS (CHUNK_MEMBERS / 64)
#define CHUNK_INLINE 4
/* More members than this and the chunk becomes a bitmap of the same size. */
#define CHUNK_ARRAY_MAX 256

#define EMBEDDED_CHUNKS 2
/* No subject's upper bits. */
#define WINDOW_NONE PG_INT64_MIN
/* Below this many chunks a scan of the descriptors beats hashing. */
#define TABLE_MIN_CHUNKS 8
#define TABLE_EMPTY PG_UINT32_MAX

/* Array sizes 8, 16, ... 256 members, the last as large as a bitmap. */
#define BLOCK_CLASSES 6
#define BLOCK_MEMBERS(class) (8 << (class))
#define BLOCK_BYTES(class) (BLOCK_MEMBERS(class) * sizeof(uint16))
#define BITMAP_CLASS (BLOCK_CLASSES - 1)

StaticAssertDecl(BLOCK_BYTES(BITMAP_CLASS) == CHUNK_WORDS * sizeof(uint64),
				 "the largest array and the bitmap share a free list");

typedef enum ChunkForm
{
	CHUNK_FORM_INLINE,
	CHUNK_FORM_ARRAY,
	CHUNK_FORM_BITMAP,
	CHUNK_FORM_FULL
} ChunkForm;

typedef struct SubjectChunk
{
	int64 number; /* key >> 12, rounding down */
	union
	{
		uint16 few[CHUNK_INLINE]; /* ascending */
		uint16 *array;			  /* ascending */
		uint64 *words;
	} u;
	uint16 count; /* 1 .. 4096 */
	uint8 form;
	uint8 class; /* of the array's block */
} SubjectChunk;

typedef struct SubjectBlock
{
	struct SubjectBlock *next;
} SubjectBlock;

struct TrailSubjectSet
{
	TrailSubjectWindow window; /* first; while one is open, of the chunk used last */
	MemoryContext context;
	uint64 count;
	Size memory;
	uint32 nchunks;
	uint32 maxchunks;
	uint32 last; /* chunk used last; valid while nchunks > 0 */
	SubjectChunk *chunks;
	uint32 *table; /* chunk numbers by hash, or NULL */
	uint32 table_mask;
	SubjectBlock *spare[BLOCK_CLASSES];
	SubjectChunk embedded[EMBEDDED_CHUNKS];
};

/* ---------------------------------------------------------------- blocks */

static void *
subject_set_block(TrailSubjectSet *set, int class)
{
	SubjectBlock *block = set->spare[class];

	if (block != NULL)
		set->spare[class] = block->next;
	else
	{
		block = MemoryContextAlloc(set->context, BLOCK_BYTES(class));
		set->memory += BLOCK_BYTES(class);
	}
	return block;
}

static void
subject_set_spare(TrailSubjectSet *set, int class, void *freed)
{
	SubjectBlock *block = freed;

	block->next = set->spare[class];
	set->spare[class] = block;
}

/* ---------------------------------------------------------------- chunks */

static inline uint32
subject_set_hash(int64 number)
{
	/* Fibonacci hashing; the high bits are the mixed ones */
	return (uint32) (((uint64) number * UINT64CONST(0x9E3779B97F4A7C15)) >> 32);
}

/* The chunk with this number, or NULL.  A member of the set's array: short-lived. */
static inline SubjectChunk *
subject_set_find(const TrailSubjectSet *set, int64 number)
{
	if (set->nchunks == 0)
		return NULL;
	if (set->chunks[set->last].number == number)
		return &set->chunks[set->last];

	if (set->table == NULL)
	{
		for (uint32 i = 0; i < set->nchunks; i++)
			if (set->chunks[i].number == number)
				return &set->chunks[i];
		return NULL;
	}

	for (uint32 slot = subject_set_hash(number) & set->table_mask;;
		 slot = (slot + 1) & set->table_mask)
	{
		uint32 found = set->table[slot];

		if (found == TABLE_EMPTY)
			return NULL;
		if (set->chunks[found].number == number)
			return &set->chunks[found];
	}
}

static void
subject_set_table_put(TrailSubjectSet *set, uint32 chunk)
{
	uint32 slot = subject_set_hash(set->chunks[chunk].number) & set->table_mask;

	while (set->table[slot] != TABLE_EMPTY)
		slot = (slot + 1) & set->table_mask;
	set->table[slot] = chunk;
}

/* Makes room for one more chunk, in the array and, where there is one, the table. */
static void
subject_set_grow(TrailSubjectSet *set)
{
	if (set->nchunks == set->maxchunks)
	{
		uint32 wanted = set->maxchunks * 2;
		SubjectChunk *larger;

		if (set->maxchunks >= PG_UINT32_MAX / 2)
			ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
							errmsg("a subject set has too many scattered members")));
		if (set->chunks == set->embedded)
		{
			larger = MemoryContextAlloc(set->context, wanted * sizeof(SubjectChunk));
			memcpy(larger, set->chunks, set->nchunks * sizeof(SubjectChunk));
			set->memory += wanted * sizeof(SubjectChunk);
		}
		else
		{
			larger = repalloc_huge(set->chunks, (Size) wanted * sizeof(SubjectChunk));
			set->memory += (Size) (wanted - set->maxchunks) * sizeof(SubjectChunk);
		}
		set->chunks = larger;
		set->maxchunks = wanted;
	}

	/* At most half full, so that probing always ends and soon. */
	if (set->nchunks >= TABLE_MIN_CHUNKS &&
		(set->table == NULL || set->nchunks >= set->table_mask / 2))
	{
		Size slots = set->table == NULL ? 4 * TABLE_MIN_CHUNKS : ((Size) set->table_mask + 1) * 2;
		uint32 *table = MemoryContextAllocHuge(set->context, slots * sizeof(uint32));

		if (set->table != NULL)
		{
			set->memory -= ((Size) set->table_mask + 1) * sizeof(uint32);
			pfree(set->table);
		}
		set->memory += slots * sizeof(uint32);
		memset(table, 0xff, slots * sizeof(uint32));
		set->table = table;
		set->table_mask = (uint32) (slots - 1);
		for (uint32 i = 0; i < set->nchunks; i++)
			subject_set_table_put(set, i);
	}
}

/* A new chunk without members; the caller fills it before anything can fail. */
static SubjectChunk *
subject_set_append(TrailSubjectSet *set, int64 number)
{
	SubjectChunk *chunk;

	subject_set_grow(set);
	chunk = &set->chunks[set->nchunks];
	chunk->number = number;
	chunk->count = 0;
	chunk->form = CHUNK_FORM_INLINE;
	set->nchunks++;
	if (set->table != NULL)
		subject_set_table_put(set, set->nchunks - 1);
	return chunk;
}

/* Position of the first entry not below low. */
static inline int
subject_set_search(const uint16 *members, int count, uint16 low)
{
	int from = 0;
	int to = count;

	while (from < to)
	{
		int middle = (from + to) / 2;

		if (members[middle] < low)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static inline const uint16 *
subject_set_list(const SubjectChunk *chunk)
{
	return chunk->form == CHUNK_FORM_INLINE ? chunk->u.few : chunk->u.array;
}

static bool
subject_set_chunk_contains(const SubjectChunk *chunk, uint16 low)
{
	if (chunk->form == CHUNK_FORM_BITMAP)
		return (chunk->u.words[low / 64] >> (low % 64)) & 1;
	else if (chunk->form == CHUNK_FORM_FULL)
		return true;
	else
	{
		const uint16 *members = subject_set_list(chunk);
		int at = subject_set_search(members, chunk->count, low);

		return at < chunk->count && members[at] == low;
	}
}

static void
subject_set_to_bitmap(TrailSubjectSet *set, SubjectChunk *chunk)
{
	uint64 *words = subject_set_block(set, BITMAP_CLASS);
	const uint16 *members = subject_set_list(chunk);

	memset(words, 0, CHUNK_WORDS * sizeof(uint64));
	for (int i = 0; i < chunk->count; i++)
		words[members[i] / 64] |= UINT64CONST(1) << (members[i] % 64);
	if (chunk->form == CHUNK_FORM_ARRAY)
		subject_set_spare(set, chunk->class, chunk->u.array);
	chunk->u.words = words;
	chunk->form = CHUNK_FORM_BITMAP;
}

static void
subject_set_check_full(TrailSubjectSet *set, SubjectChunk *chunk)
{
	if (chunk->count == CHUNK_MEMBERS)
	{
		subject_set_spare(set, BITMAP_CLASS, chunk->u.words);
		chunk->u.words = NULL;
		chunk->form = CHUNK_FORM_FULL;
	}
}

static inline void
subject_set_open_window(TrailSubjectSet *set, SubjectChunk *chunk)
{
	set->last = (uint32) (chunk - set->chunks);
	if (chunk->form == CHUNK_FORM_BITMAP)
	{
		set->window.number = chunk->number;
		set->window.words = chunk->u.words;
	}
}

/* Counts what was added through the window. */
static inline void
subject_set_close_window(TrailSubjectSet *set)
{
	SubjectChunk *chunk;

	if (set->window.number == WINDOW_NONE)
		return;
	chunk = &set->chunks[set->last];
	chunk->count += set->window.added;
	set->count += set->window.added;
	set->window.number = WINDOW_NONE;
	set->window.added = 0;
	subject_set_check_full(set, chunk);
}

/* Adds to a chunk that is no bitmap; false when the member was there. */
static bool
subject_set_chunk_add(TrailSubjectSet *set, SubjectChunk *chunk, uint16 low)
{
	const uint16 *members = subject_set_list(chunk);
	int count = chunk->count;
	int at;
	uint16 *into;

	if (chunk->form == CHUNK_FORM_FULL)
		return false;

	/* Rows mostly ascend, so the end is tried before searching. */
	at = count > 0 && members[count - 1] < low ? count : subject_set_search(members, count, low);
	if (at < count && members[at] == low)
		return false;

	if (count == CHUNK_ARRAY_MAX)
	{
		subject_set_to_bitmap(set, chunk);
		chunk->u.words[low / 64] |= UINT64CONST(1) << (low % 64);
		chunk->count++;
		return true;
	}

	if (chunk->form == CHUNK_FORM_INLINE && count < CHUNK_INLINE)
		into = chunk->u.few;
	else if (chunk->form == CHUNK_FORM_ARRAY && count < BLOCK_MEMBERS(chunk->class))
		into = chunk->u.array;
	else
	{
		int class = chunk->form == CHUNK_FORM_INLINE ? 0 : chunk->class + 1;

		into = subject_set_block(set, class);
		memcpy(into, members, count * sizeof(uint16));
		if (chunk->form == CHUNK_FORM_ARRAY)
			subject_set_spare(set, chunk->class, chunk->u.array);
		chunk->u.array = into;
		chunk->form = CHUNK_FORM_ARRAY;
		chunk->class = class;
	}
	memmove(into + at + 1, into + at, (count - at) * sizeof(uint16));
	into[at] = low;
	chunk->count++;
	return true;
}

/* ---------------------------------------------------------------- the interface */

/* An empty set in this context; freed with the context. */
TrailSubjectSet *
trail_subject_set_create(MemoryContext context)
{
	TrailSubjectSet *set = MemoryContextAllocZero(context, sizeof(TrailSubjectSet));

	set->window.number = WINDOW_NONE;
	set->context = context;
	set->memory = sizeof(TrailSubjectSet);
	set->chunks = set->embedded;
	set->maxchunks = EMBEDDED_CHUNKS;
	return set;
}

bool
trail_subject_set_add(TrailSubjectSet *set, int64 subject)
{
	int64 number = subject >> CHUNK_SHIFT;
	uint16 low = (uint16) (subject & CHUNK_MASK);
	SubjectChunk *chunk;
	bool added;

	subject_set_close_window(set);
	chunk = subject_set_find(set, number);
	if (chunk == NULL)
	{
		chunk = subject_set_append(set, number);
		chunk->u.few[0] = low;
		chunk->count = 1;
		added = true;
	}
	else if (chunk->form == CHUNK_FORM_BITMAP)
	{
		uint64 bit = UINT64CONST(1) << (low % 64);
		uint64 *word = &chunk->u.words[low / 64];

		added = (*word & bit) == 0;
		if (added)
		{
			*word |= bit;
			chunk->count++;
			subject_set_check_full(set, chunk);
		}
	}
	else
		added = subject_set_chunk_add(set, chunk, low);

	set->count += added;
	subject_set_open_window(set, chunk);
	return added;
}

/* Sets bits from..to of a chunk, both included. */
static void
subject_set_chunk_add_run(TrailSubjectSet *set, int64 number, int from, int to)
{
	SubjectChunk *chunk;
	int before;
	int after = 0;

	subject_set_close_window(set);
	chunk = subject_set_find(set, number);
	/* Short runs are not worth a bitmap yet. */
	if ((chunk == NULL || chunk->form < CHUNK_FORM_BITMAP) && to - from < CHUNK_ARRAY_MAX / 4)
	{
		for (int low = from; low <= to; low++)
			trail_subject_set_add(set, number * CHUNK_MEMBERS + low);
		return;
	}

	if (chunk == NULL)
	{
		uint64 *words = NULL;

		/* Allocate first: an error must not leave a chunk without members. */
		if (to - from + 1 < CHUNK_MEMBERS)
		{
			words = subject_set_block(set, BITMAP_CLASS);
			memset(words, 0, CHUNK_WORDS * sizeof(uint64));
		}
		chunk = subject_set_append(set, number);
		chunk->u.words = words;
		chunk->form = words == NULL ? CHUNK_FORM_FULL : CHUNK_FORM_BITMAP;
		if (words == NULL)
		{
			chunk->count = CHUNK_MEMBERS;
			set->count += CHUNK_MEMBERS;
		}
	}
	set->last = (uint32) (chunk - set->chunks);
	if (chunk->form == CHUNK_FORM_FULL)
		return;
	if (chunk->form != CHUNK_FORM_BITMAP)
		subject_set_to_bitmap(set, chunk);

	before = chunk->count;
	for (int word = from / 64; word <= to / 64; word++)
	{
		uint64 bits = ~UINT64CONST(0);

		if (word == from / 64)
			bits &= ~UINT64CONST(0) << (from % 64);
		if (word == to / 64)
			bits &= ~UINT64CONST(0) >> (63 - to % 64);
		after += pg_popcount64(bits & ~chunk->u.words[word]);
		chunk->u.words[word] |= bits;
	}
	chunk->count = before + after;
	set->count += after;
	subject_set_check_full(set, chunk);
}

/* Adds lo..hi, both included. */
static void
subject_set_add_run(TrailSubjectSet *set, int64 lo, int64 hi)
{
	int64 first = lo >> CHUNK_SHIFT;
	int64 last = hi >> CHUNK_SHIFT;

	for (int64 number = first; number <= last; number++)
	{
		CHECK_FOR_INTERRUPTS();
		subject_set_chunk_add_run(set, number, number == first ? (int) (lo & CHUNK_MASK) : 0,
								  number == last ? (int) (hi & CHUNK_MASK) : CHUNK_MASK);
	}
}

bool
trail_subject_set_contains(const TrailSubjectSet *set, int64 subject)
{
	const SubjectChunk *chunk = subject_set_find(set, subject >> CHUNK_SHIFT);

	return chunk != NULL && subject_set_chunk_contains(chunk, (uint16) (subject & CHUNK_MASK));
}

uint64
trail_subject_set_count(const TrailSubjectSet *set)
{
	return set->count + set->window.added;
}

/* Bytes taken from the memory context, free list included. */
Size
trail_subject_set_memory(const TrailSubjectSet *set)
{
	return set->memory;
}

void
trail_subject_set_reset(TrailSubjectSet *set)
{
	for (uint32 i = 0; i < set->nchunks; i++)
	{
		if (set->chunks[i].form == CHUNK_FORM_ARRAY)
			pfree(set->chunks[i].u.array);
		else if (set->chunks[i].form == CHUNK_FORM_BITMAP)
			pfree(set->chunks[i].u.words);
	}
	for (int class = 0; class < BLOCK_CLASSES; class ++)
	{
		while (set->spare[class] != NULL)
		{
			SubjectBlock *block = set->spare[class];

			set->spare[class] = block->next;
			pfree(block);
		}
	}
	if (set->chunks != set->embedded)
		pfree(set->chunks);
	if (set->table != NULL)
		pfree(set->table);
	set->chunks = set->embedded;
	set->maxchunks = EMBEDDED_CHUNKS;
	set->table = NULL;
	set->table_mask = 0;
	set->nchunks = 0;
	set->last = 0;
	set->count = 0;
	set->window.number = WINDOW_NONE;
	set->window.added = 0;
	set->memory = sizeof(TrailSubjectSet);
}

/* ---------------------------------------------------------------- walking */

typedef bool (*SubjectRunVisitor)(int64 lo, int64 hi, void *arg);

/* A run that may go on in the next chunk; handed over when it has ended. */
typedef struct SubjectRunState
{
	bool open;
	int64 lo;
	int64 hi;
	SubjectRunVisitor visit;
	void *arg;
} SubjectRunState;

static bool
subject_set_emit(SubjectRunState *state, int64 lo, int64 hi)
{
	/* lo > hi, so lo - 1 can't overflow */
	if (state->open && lo - 1 == state->hi)
	{
		state->hi = hi;
		return true;
	}
	if (state->open && !state->visit(state->lo, state->hi, state->arg))
		return false;
	state->open = true;
	state->lo = lo;
	state->hi = hi;
	return true;
}

/* The runs of one bitmap. */
static bool
subject_set_emit_bitmap(SubjectRunState *state, int64 base, const uint64 *words)
{
	for (int word = 0; word < CHUNK_WORDS; word++)
	{
		uint64 bits = words[word];
		int64 from = base + word * 64;

		while (bits != 0)
		{
			int start = pg_rightmost_one_pos64(bits);
			uint64 rest = ~(bits >> start);
			int length = rest == 0 ? 64 : pg_rightmost_one_pos64(rest);

			if (!subject_set_emit(state, from + start, from + start + length - 1))
				return false;
			if (start + length >= 64)
				break;
			bits &= ~UINT64CONST(0) << (start + length);
		}
	}
	return true;
}

static int
subject_set_compare(const void *a, const void *b)
{
	int64 left = (*(SubjectChunk *const *) a)->number;
	int64 right = (*(SubjectChunk *const *) b)->number;

	return left < right ? -1 : left > right;
}

/* Calls visit for each maximal run, ascending, until it returns false. */
static void
subject_set_walk_runs(const TrailSubjectSet *set, SubjectRunVisitor visit, void *arg)
{
	SubjectRunState state = {false, 0, 0, visit, arg};
	SubjectChunk *some[EMBEDDED_CHUNKS];
	SubjectChunk **sorted = some;
	bool more = true;

	if (set->nchunks == 0)
		return;
	if (set->nchunks > EMBEDDED_CHUNKS)
		sorted = MemoryContextAllocHuge(set->context, set->nchunks * sizeof(SubjectChunk *));
	for (uint32 i = 0; i < set->nchunks; i++)
		sorted[i] = &set->chunks[i];
	qsort(sorted, set->nchunks, sizeof(SubjectChunk *), subject_set_compare);

	for (uint32 i = 0; i < set->nchunks && more; i++)
	{
		const SubjectChunk *chunk = sorted[i];
		int64 base = chunk->number * CHUNK_MEMBERS;

		if (chunk->form == CHUNK_FORM_FULL)
			more = subject_set_emit(&state, base, base + CHUNK_MASK);
		else if (chunk->form == CHUNK_FORM_BITMAP)
			more = subject_set_emit_bitmap(&state, base, chunk->u.words);
		else
		{
			const uint16 *members = subject_set_list(chunk);

			for (int at = 0; at < chunk->count && more; at++)
				more = subject_set_emit(&state, base + members[at], base + members[at]);
		}
	}
	if (more)
		(void) visit(state.lo, state.hi, arg);
	if (sorted != some)
		pfree(sorted);
}

typedef struct SubjectWalk
{
	bool (*visit)(int64 subject, void *arg);
	void *arg;
} SubjectWalk;

static bool
subject_set_walk_run(int64 lo, int64 hi, void *arg)
{
	SubjectWalk *walk = arg;

	for (int64 subject = lo;; subject++)
	{
		if (!walk->visit(subject, walk->arg))
			return false;
		if (subject == hi)
			return true;
	}
}

void
trail_subject_set_walk(const TrailSubjectSet *set, bool (*visit)(int64 subject, void *arg),
					   void *arg)
{
	SubjectWalk walk = {visit, arg};

	subject_set_walk_runs(set, subject_set_walk_run, &walk);
}

/* ---------------------------------------------------------------- bytes */

/* First pass sizes both formats, second writes the smaller one. */
typedef struct SubjectWriter
{
	bool first;
	int64 previous;
	uint64 runs;
	Size deltas_size;
	Size runs_size;
	uint8 *into; /* NULL in the first pass */
	bool as_runs;
} SubjectWriter;

static bool
subject_set_write_run(int64 lo, int64 hi, void *arg)
{
	SubjectWriter *writer = arg;
	/* unsigned: the distance of two int64 may not fit one */
	uint64 more = (uint64) hi - (uint64) lo;
	uint64 gap = (uint64) lo - (uint64) writer->previous;
	uint64 start_delta = writer->first ? subject_codec_zigzag(lo) : gap - 1;
	uint64 start_run = writer->first ? subject_codec_zigzag(lo) : gap - 2;

	if (writer->into == NULL)
	{
		writer->runs++;
		writer->deltas_size += subject_codec_varint_size(start_delta) + more;
		writer->runs_size += subject_codec_varint_size(start_run) + subject_codec_varint_size(more);
	}
	else if (writer->as_runs)
	{
		writer->into = subject_codec_varint_write(writer->into, start_run);
		writer->into = subject_codec_varint_write(writer->into, more);
	}
	else
	{
		writer->into = subject_codec_varint_write(writer->into, start_delta);
		memset(writer->into, 0, more);
		writer->into += more;
	}
	writer->first = false;
	writer->previous = hi;
	return true;
}

/* Appends the set's bytes; the caller must have made `into` long enough for a GB. */
void
trail_subject_set_serialize(const TrailSubjectSet *set, StringInfo into)
{
	SubjectWriter writer = {.first = true};
	uint64 count = trail_subject_set_count(set);
	Size size;
	uint64 entries;

	if (count > SUBJECT_CODEC_MAX_MEMBERS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a subject set has too many members to be written"),
						errdetail("It has " UINT64_FORMAT " members.", count)));

	subject_set_walk_runs(set, subject_set_write_run, &writer);
	writer.deltas_size += 1 + subject_codec_varint_size(count);
	writer.runs_size += 1 + subject_codec_varint_size(writer.runs);
	writer.as_runs = writer.runs_size < writer.deltas_size;
	size = writer.as_runs ? writer.runs_size : writer.deltas_size;
	entries = writer.as_runs ? writer.runs : count;
	if (size >= MaxAllocSize - into->len)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a subject set is too large to be written"),
						errdetail("It would take %zu bytes.", size)));

	enlargeStringInfo(into, (int) size);
	writer.into = (uint8 *) into->data + into->len;
	*writer.into++ = writer.as_runs ? SUBJECT_CODEC_RUNS : SUBJECT_CODEC_DELTAS;
	writer.into = subject_codec_varint_write(writer.into, entries);
	writer.first = true;
	subject_set_walk_runs(set, subject_set_write_run, &writer);
	into->len += (int) size;
	Assert(writer.into == (uint8 *) into->data + into->len);
	into->data[into->len] = '\0';
}

/*
 * Visits the runs of a serialised set, ascending, until visit returns false.  Members
 * before damage have been visited when it is found; the error ends whatever they were for.
 */
void
trail_subject_set_walk_bytes(const char *data, Size len,
							 bool (*visit)(int64 lo, int64 hi, void *arg), void *arg)
{
	SubjectReader reader;
	int64_t lo;
	int64_t hi;

	if (subject_codec_begin(&reader, data, len))
		while (subject_codec_next(&reader, &lo, &hi))
			if (!visit(lo, hi, arg))
				return;
	if (reader.corrupt)
		ereport(ERROR, (errcode(ERRCODE_WARD_TRAIL_CORRUPT), errmsg("a subject set is malformed"),
						errdetail("Its %zu bytes are no whole, ordered list of members.", len)));
}

static bool
subject_set_merge_run(int64 lo, int64 hi, void *arg)
{
	TrailSubjectSet *set = arg;

	if (lo == hi)
		(void) trail_subject_set_add(set, lo);
	else
		subject_set_add_run(set, lo, hi);
	return true;
}

/*
 * On malformed bytes the set may already hold some of them; the caller's error
 * ends it anyway.
 */
void
trail_subject_set_merge(TrailSubjectSet *set, const char *data, Size len)
{
	trail_subject_set_walk_bytes(data, len, subject_set_merge_run, set);
}
