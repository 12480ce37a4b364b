/*
 * states.c
 *		People by what was disclosed of them.
 *
 * Two people are in one state while the same disclosures named them.  A disclosure moves
 * its people from state to state; where many share a state the move is worked out once,
 * where a state has one person it is changed in place.
 *
 * Numbers of people are mostly dense, so 64 neighbours share an entry of the table; one who
 * has no neighbour is in the entry itself.  States are made so many at a time and do not
 * move, so that growing needs no copy.
 *
 * All of it lives in the context given and goes with it.  Nothing is locked or shared.
 */
#include "scope/scope_int.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#define NO_STATE PG_UINT32_MAX
#define STATES_AT_A_TIME 64
#define STATES_NEAR 6
#define STATES_BLOCK (1 << STATES_NEAR)

typedef struct State
{
	ScopeFacts facts;
	uint64 moved_in; /* the disclosure that moved this state last; at the end, where its
						people stand among all */
	uint32 moved_to; /* and where to; also links free states */
	uint32 people;
} State;

typedef struct StatesBlock
{
	int64 number;	/* subject >> STATES_NEAR */
	uint32 *states; /* of each, or NULL while there is one */
	uint32 state;
	uint8 only;
	char status;
} StatesBlock;

#define SH_PREFIX states_table
#define SH_ELEMENT_TYPE StatesBlock
#define SH_KEY_TYPE int64
#define SH_KEY number
#define SH_HASH_KEY(tb, key) ((uint32) (((uint64) (key) *UINT64CONST(0x9E3779B97F4A7C15)) >> 32))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct StatesClass
{
	states_table_hash *table; /* NULL: nobody yet */
	int64 near;				  /* the block used last */
	uint32 *near_states;	  /* NULL: none */
} StatesClass;

struct ScopeStates
{
	MemoryContext context;
	const ScopeTerms *terms;
	StatesClass *classes;
	int nclasses;
	State **states; /* by number / STATES_AT_A_TIME */
	uint32 nstates;
	uint32 room; /* of `states` */
	uint32 free;
	uint64 people;
	uint64 disclosure; /* number of the current one */
	int64 *grouped;	   /* at the end: everybody, state by state */
};

static inline State *
states_get(const ScopeStates *states, uint32 number)
{
	return &states->states[number / STATES_AT_A_TIME][number % STATES_AT_A_TIME];
}

static uint32
states_new(ScopeStates *states)
{
	uint32 number = states->free;

	if (number != NO_STATE)
		states->free = states_get(states, number)->moved_to;
	else
	{
		uint32 block = states->nstates / STATES_AT_A_TIME;

		if (states->nstates % STATES_AT_A_TIME == 0)
		{
			if (block == states->room)
			{
				states->states =
					repalloc_huge(states->states, (Size) states->room * 2 * sizeof(State *));
				states->room *= 2;
			}
			states->states[block] =
				MemoryContextAlloc(states->context, STATES_AT_A_TIME * sizeof(State));
		}
		number = states->nstates++;
	}
	memset(states_get(states, number), 0, sizeof(State));
	return number;
}

ScopeStates *
scope_states_create(MemoryContext context, const ScopeTerms *terms)
{
	ScopeStates *states = MemoryContextAllocZero(context, sizeof(ScopeStates));

	states->context = context;
	states->terms = terms;
	states->room = 16;
	states->states = MemoryContextAlloc(context, states->room * sizeof(State *));
	states->free = NO_STATE;
	(void) states_new(states); /* number 0: nobody's */
	return states;
}

static StatesClass *
states_class(ScopeStates *states, int class)
{
	if (class >= states->nclasses)
	{
		Size size = ((Size) class + 1) * sizeof(StatesClass);
		StatesClass *more = MemoryContextAllocZero(states->context, size);

		if (states->classes != NULL)
		{
			memcpy(more, states->classes, states->nclasses * sizeof(StatesClass));
			pfree(states->classes);
		}
		states->classes = more;
		states->nclasses = class + 1;
	}
	return &states->classes[class];
}

/* Where a person's state is; NO_STATE in it for one who is new. */
static uint32 *
states_person(ScopeStates *states, StatesClass *class, int64 subject)
{
	int64 number = subject >> STATES_NEAR;
	uint8 at = (uint8) (subject & (STATES_BLOCK - 1));
	StatesBlock *block;
	bool known;

	if (class->near_states != NULL && class->near == number)
		return &class->near_states[at];
	if (class->table == NULL)
		class->table = states_table_create(states->context, 64, NULL);
	block = states_table_insert(class->table, number, &known);
	if (!known)
	{
		block->states = NULL;
		block->state = NO_STATE;
		block->only = at;
	}
	if (block->states == NULL)
	{
		if (block->only == at)
			return &block->state;
		block->states = MemoryContextAlloc(states->context, STATES_BLOCK * sizeof(uint32));
		memset(block->states, 0xff, STATES_BLOCK * sizeof(uint32));
		block->states[block->only] = block->state;
	}
	class->near = number;
	class->near_states = block->states;
	return &class->near_states[at];
}

/* Those visited from here on are named by another disclosure. */
void
scope_states_next(ScopeStates *states)
{
	states->disclosure++;
}

/* One person whom a disclosure with these facts names. */
void
scope_states_visit(ScopeStates *states, const ScopeFacts *adding, int64 subject)
{
	uint32 *person = states_person(states, states_class(states, adding->class), subject);
	bool known = *person != NO_STATE;
	/* Those named for the first time share the disclosure's own state, number 0. */
	State *from = states_get(states, known ? *person : 0);
	uint32 to;

	if (known && from->facts.certain && !adding->certain)
		return;
	if (from->moved_in == states->disclosure)
		to = from->moved_to;
	else if (known && from->people == 1)
	{
		scope_facts_gather(states->terms, &from->facts, adding);
		return;
	}
	else
	{
		State *into;

		to = states_new(states);
		into = states_get(states, to);
		scope_facts_copy(states->terms, &into->facts, known ? &from->facts : adding);
		if (known)
			scope_facts_gather(states->terms, &into->facts, adding);
		from->moved_in = states->disclosure;
		from->moved_to = to;
	}
	states_get(states, to)->people++;
	if (!known)
		states->people++;
	else if (--from->people == 0)
	{
		from->moved_in = 0;
		scope_facts_free(&from->facts);
		from->moved_to = states->free;
		states->free = *person;
	}
	*person = to;
}

uint64
scope_states_people(const ScopeStates *states)
{
	return states->people;
}

/* Memory that grouping will take, and tables that so many more people may double. */
Size
scope_states_growth(const ScopeStates *states, uint32 more)
{
	Size growth = states->people * sizeof(int64);

	for (int i = 0; i < states->nclasses; i++)
	{
		const states_table_hash *table = states->classes[i].table;

		if (table != NULL && table->members + more >= table->grow_threshold)
			growth += table->size * 2 * sizeof(StatesBlock);
	}
	return growth;
}

static inline void
states_put(ScopeStates *states, uint32 number, int64 subject)
{
	State *state = states_get(states, number);

	states->grouped[state->moved_in++] = subject;
}

/* Puts those of each state together, for scope_states_group(); nobody can be visited then. */
void
scope_states_end(ScopeStates *states)
{
	uint64 from = 0;

	states->grouped = MemoryContextAllocHuge(states->context, (states->people + 1) * sizeof(int64));
	for (uint32 i = 1; i < states->nstates; i++)
	{
		State *state = states_get(states, i);

		state->moved_in = from;
		from += state->people;
	}
	Assert(from == states->people);
	for (int i = 0; i < states->nclasses; i++)
	{
		states_table_iterator scan;
		StatesBlock *block;

		if (states->classes[i].table == NULL)
			continue;
		states_table_start_iterate(states->classes[i].table, &scan);
		while ((block = states_table_iterate(states->classes[i].table, &scan)) != NULL)
		{
			int64 base = block->number * STATES_BLOCK;

			CHECK_FOR_INTERRUPTS();
			if (block->states == NULL)
				states_put(states, block->state, base + block->only);
			else
				for (int at = 0; at < STATES_BLOCK; at++)
					if (block->states[at] != NO_STATE)
						states_put(states, block->states[at], base + at);
		}
	}
}

/* The next state that has people; `at` begins as 0. */
bool
scope_states_group(const ScopeStates *states, uint32 *at, ScopeGroup *group)
{
	while (++*at < states->nstates)
	{
		const State *state = states_get(states, *at);

		if (state->people == 0)
			continue;
		group->facts = &state->facts;
		group->people = state->people;
		/* Filling it has moved this to its end. */
		group->subjects = &states->grouped[state->moved_in - state->people];
		return true;
	}
	return false;
}
