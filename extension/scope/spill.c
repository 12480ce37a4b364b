/*
 * spill.c
 *		Files for what a question's people do not fit into memory with.
 *
 * Facts are written with the people whom they are about, each to one of a few files by a
 * hash, so that each file can be folded by itself, and again be written to files by another
 * hash.  People whose numbers are neighbours mostly have the same facts, so the first hash
 * keeps 64 of them together; a set then stays short.
 *
 * A record is: its length without this number, the length of its facts, the facts, the
 * bytes of the set.  Files are temporary ones of the server: they count towards
 * temp_file_limit and go with the transaction, on error too.  Nothing is locked or shared.
 */
#include "scope/scope_int.h"

#include "lib/stringinfo.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"

#define SPILL_PARTS_MIN 4
#define SPILL_PARTS_MAX 32
#define SPILL_NEAR 6

struct ScopeSpill
{
	MemoryContext context;
	int level;
	int parts; /* a power of two */
	Size limit;
	Size pending; /* bytes of sets that are not written yet */
	uint32 touched;
	StringInfoData facts;
	StringInfoData record;
	BufFile *files[SPILL_PARTS_MAX];
	TrailSubjectSet *sets[SPILL_PARTS_MAX];
};

/*
 * Files below so many others (level), for a question that may take so much memory
 * (limit).  Each file has a buffer of a page.
 */
ScopeSpill *
scope_spill_create(MemoryContext parent, int level, Size limit)
{
	MemoryContext context =
		AllocSetContextCreate(parent, "pg_ward scope spill", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	ScopeSpill *spill = palloc0(sizeof(ScopeSpill));

	spill->context = context;
	spill->level = level;
	spill->parts = SPILL_PARTS_MIN;
	while (spill->parts < SPILL_PARTS_MAX && (Size) spill->parts * 16 * BLCKSZ < limit)
		spill->parts *= 2;
	spill->limit = limit / 4;
	initStringInfo(&spill->facts);
	initStringInfo(&spill->record);
	MemoryContextSwitchTo(old);
	return spill;
}

static inline int
spill_part(const ScopeSpill *spill, int64 subject)
{
	uint64 number = (uint64) (spill->level == 0 ? subject >> SPILL_NEAR : subject);

	/* Another hash on each level: the last step of splitmix64. */
	number += UINT64CONST(0x9E3779B97F4A7C15) * (uint64) (spill->level + 1);
	number = (number ^ (number >> 30)) * UINT64CONST(0xBF58476D1CE4E5B9);
	number = (number ^ (number >> 27)) * UINT64CONST(0x94D049BB133111EB);
	return (int) ((number ^ (number >> 31)) & (uint64) (spill->parts - 1));
}

static void
spill_flush(ScopeSpill *spill)
{
	MemoryContext old = MemoryContextSwitchTo(spill->context);

	while (spill->touched != 0)
	{
		int part = pg_rightmost_one_pos32(spill->touched);
		StringInfo record = &spill->record;
		uint32 length;

		resetStringInfo(record);
		appendBinaryStringInfo(record, (const char *) &record->len, sizeof(uint32)); /* below */
		length = (uint32) spill->facts.len;
		appendBinaryStringInfo(record, (const char *) &length, sizeof(uint32));
		appendBinaryStringInfo(record, spill->facts.data, spill->facts.len);
		trail_subject_set_serialize(spill->sets[part], record);
		length = (uint32) record->len - sizeof(uint32);
		memcpy(record->data, &length, sizeof(uint32));
		if (spill->files[part] == NULL)
			spill->files[part] = BufFileCreateTemp(false);
		BufFileWrite(spill->files[part], record->data, record->len);
		trail_subject_set_reset(spill->sets[part]);
		spill->touched &= spill->touched - 1;
	}
	spill->pending = 0;
	MemoryContextSwitchTo(old);
}

/* Facts of the people that are added from here on. */
void
scope_spill_facts(ScopeSpill *spill, const ScopeFacts *facts)
{
	spill_flush(spill);
	resetStringInfo(&spill->facts);
	scope_facts_write(facts, &spill->facts);
}

void
scope_spill_add(ScopeSpill *spill, int64 subject)
{
	int part = spill_part(spill, subject);
	TrailSubjectSet *set = spill->sets[part];
	Size before;

	if (set == NULL)
		set = spill->sets[part] = trail_subject_set_create(spill->context);
	spill->touched |= (uint32) 1 << part;
	if (trail_subject_set_add_near(set, subject))
		return;
	before = trail_subject_set_memory(set);
	(void) trail_subject_set_add(set, subject);
	spill->pending += trail_subject_set_memory(set) - before;
	/* One record's people may well come as several records: they are others in each. */
	if (spill->pending > spill->limit)
		spill_flush(spill);
}

/* Writes what is left; returns how many files there may be. */
int
scope_spill_finish(ScopeSpill *spill)
{
	spill_flush(spill);
	for (int part = 0; part < spill->parts; part++)
	{
		if (spill->sets[part] != NULL)
			pfree(spill->sets[part]);
		spill->sets[part] = NULL;
	}
	return spill->parts;
}

/* All files must have been taken and closed. */
void
scope_spill_free(ScopeSpill *spill)
{
	MemoryContextDelete(spill->context);
}

/* A file, to be read from its start and closed by the caller; NULL: nobody is in it. */
BufFile *
scope_spill_file(ScopeSpill *spill, int part)
{
	BufFile *file = spill->files[part];

	spill->files[part] = NULL;
	if (file != NULL && BufFileSeek(file, 0, 0L, SEEK_SET) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not rewind a temporary file of the scope: %m")));
	return file;
}

static bool
spill_read(BufFile *file, void *into, size_t length, bool end)
{
	size_t got = BufFileRead(file, into, length);

	if (got == length)
		return true;
	if (got != 0 || !end)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not read a temporary file of the scope: "
												   "read only %zu of %zu bytes",
												   got, length)));
	return false;
}

/* The next record of a file: its facts, and the bytes of its set. False at the end. */
bool
scope_spill_next(BufFile *file, StringInfo record, const char **facts, const char **set,
				 Size *set_length)
{
	uint32 length;
	uint32 facts_length;

	if (!spill_read(file, &length, sizeof(uint32), true))
		return false;
	resetStringInfo(record);
	enlargeStringInfo(record, (int) length);
	(void) spill_read(file, record->data, length, false);
	memcpy(&facts_length, record->data, sizeof(uint32));
	*facts = record->data + sizeof(uint32);
	*set = *facts + facts_length;
	*set_length = length - sizeof(uint32) - facts_length;
	return true;
}
