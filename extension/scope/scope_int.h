/*
 * scope_int.h
 *		Shared by the files of the scope layer.
 */
#ifndef WARD_SCOPE_INT_H
#define WARD_SCOPE_INT_H

#include "core/core.h"

#include "lib/stringinfo.h"
#include "nodes/bitmapset.h"
#include "nodes/params.h"
#include "nodes/pg_list.h"
#include "storage/buffile.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "seal/seal.h"
#include "trail/trail.h"

/* ---- words.c: words, numbered, and sets of them, each kept once ---- */

typedef struct ScopeWords ScopeWords;
typedef struct ScopeWordSets ScopeWordSets;

extern ScopeWords *scope_words_create(MemoryContext context);
extern int scope_words_number(ScopeWords *words, const char *text);
extern uint32 scope_words_tidy(int *numbers, uint32 n);
extern Datum scope_words_array(ScopeWords *words, const int *numbers, uint32 n);

extern ScopeWordSets *scope_words_sets(ScopeWords *words, MemoryContext context);
extern const Bitmapset *scope_words_set(ScopeWordSets *sets, const int *numbers, uint32 n);
extern const Bitmapset *scope_words_union(ScopeWordSets *sets, const Bitmapset *a,
										  const Bitmapset *b);
extern const Bitmapset *scope_words_minus(ScopeWordSets *sets, const Bitmapset *a,
										  const Bitmapset *b);
extern Datum scope_words_set_array(ScopeWordSets *sets, const Bitmapset *members);

/* ---- facts.c: what disclosures say of those whom they name ---- */

typedef struct ScopeTerms ScopeTerms;

/*
 * Sessions are many, and each person's are others, so they are no sets kept once but
 * plain lists, each its owner's.  A list may repeat itself.
 */
typedef struct ScopeSessions
{
	uint32 n;
	uint32 room;
	int *items; /* NULL while one is enough */
	int one;
} ScopeSessions;

typedef struct ScopeFacts
{
	int class; /* of subjects, as its caller numbers them */
	bool certain;
	const Bitmapset *clear;
	const Bitmapset *sealed;
	const Bitmapset *reasons;
	ScopeSessions sessions;
	TimestampTz first_seen;
	TimestampTz last_seen;
	int64 statements;
	int64 first_position;
	int64 last_position;
} ScopeFacts;

#define SCOPE_FACTS_VALUES 10

extern ScopeTerms *scope_facts_terms(MemoryContext lasting);
extern void scope_facts_begin(ScopeTerms *terms, MemoryContext context);
extern void scope_facts_words(ScopeTerms *terms, ScopeFacts *facts, int64 relation, Datum clear,
							  Datum sealed, const char *session, const char *reason);
extern void scope_facts_free(ScopeFacts *facts);
extern void scope_facts_copy(const ScopeTerms *terms, ScopeFacts *facts, const ScopeFacts *from);
extern void scope_facts_gather(const ScopeTerms *terms, ScopeFacts *facts, const ScopeFacts *add);
extern void scope_facts_write(const ScopeFacts *facts, StringInfo into);
extern const char *scope_facts_read(ScopeTerms *terms, ScopeFacts *facts, const char *from);
extern void scope_facts_values(ScopeTerms *terms, const ScopeFacts *facts, Datum *values);

/* ---- states.c: people by what was disclosed of them ---- */

typedef struct ScopeStates ScopeStates;

/* People with the same facts. */
typedef struct ScopeGroup
{
	const ScopeFacts *facts;
	const int64 *subjects;
	uint32 people;
} ScopeGroup;

extern ScopeStates *scope_states_create(MemoryContext context, const ScopeTerms *terms);
extern void scope_states_next(ScopeStates *states);
extern void scope_states_visit(ScopeStates *states, const ScopeFacts *adding, int64 subject);
extern uint64 scope_states_people(const ScopeStates *states);
extern Size scope_states_growth(const ScopeStates *states, uint32 more);
extern void scope_states_end(ScopeStates *states);
extern bool scope_states_group(const ScopeStates *states, uint32 *at, ScopeGroup *group);

/* ---- spill.c: files for facts that memory has no room for ---- */

typedef struct ScopeSpill ScopeSpill;

extern ScopeSpill *scope_spill_create(MemoryContext parent, int level, Size limit);
extern void scope_spill_facts(ScopeSpill *spill, const ScopeFacts *facts);
extern void scope_spill_add(ScopeSpill *spill, int64 subject);
extern int scope_spill_finish(ScopeSpill *spill);
extern void scope_spill_free(ScopeSpill *spill);
extern BufFile *scope_spill_file(ScopeSpill *spill, int part);
extern bool scope_spill_next(BufFile *file, StringInfo record, const char **facts, const char **set,
							 Size *set_length);

/* ---- fold.c: disclosures, folded into groups of people ---- */

#define SCOPE_FOLD_PARAMS 8
#define SCOPE_FOLD_COLUMNS (SCOPE_FACTS_VALUES + 2)

extern ParamListInfo scope_fold_params(FunctionCallInfo fcinfo, int first);
extern TupleDesc scope_fold_desc(void);
extern void scope_fold(const char *query, ParamListInfo params, Tuplestorestate *result,
					   TupleDesc desc);

/* ---- names.c: what subjects are called; needs an SPI connection ---- */

typedef struct ScopeNames ScopeNames;

extern ScopeNames *scope_names_of(ScopeNames **list, const char *class, MemoryContext context);
extern void scope_names_fetch(ScopeNames *names, const TrailSubjectSet *subjects);
extern List *scope_names_find(ScopeNames *names, int64 subject);

#endif /* WARD_SCOPE_INT_H */
