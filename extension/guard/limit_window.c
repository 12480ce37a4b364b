/*
 * limit_window.c
 *		Who has been shown how many different people lately, in shared memory.
 *
 * A window belongs to one limit and one principal (a role, session, actor or address)
 * and holds the people of the limit's interval, cut into WINDOW_SLOTS slots.  A person
 * counts in the slot in which he was seen last, so that the count of the window is the
 * sum of its live slots, and lives until the interval and at most one slot are over:
 * a little longer than the limit says, never shorter.
 *
 * People stand in cells of 64 neighbours, each with four bits that say which slot (0:
 * none).  Fifteen numbers serve thirteen live slots, so that a number is swept out of
 * the cells before it comes into use again.  Dense keys cost less than a byte each,
 * scattered ones a cell.
 *
 * Bounded by ward.guard_memory.  Where no cell is free even after sweeping, a person is
 * counted each time that he is shown: the limit is met early, never late.
 *
 * What a running statement may still show without asking is *reserved*: used and
 * reserved together never exceed the limit.
 *
 * Locks: GUARD_LOCK_WINDOWS for everything here.  Functions say whether the caller
 * holds it.  Nothing is raised under it.
 */
#include "guard/guard_int.h"
#include "guard/limit_int.h"

#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#define WINDOW_SLOTS 12
/* Live besides them: the one that is filling. */
#define WINDOW_LIVE (WINDOW_SLOTS + 1)
#define WINDOW_NUMBERS 15
#define WINDOW_CELL_BITS 6

typedef struct WindowCell
{
	int64 number; /* subject >> WINDOW_CELL_BITS */
	uint32 window;
	uint32 next;	/* in its bucket, or of the free ones; 0: none */
	uint32 sibling; /* of the same window */
	uint64 slots[4];
} WindowCell;

typedef struct Window
{
	GuardWindowKey key;
	uint32 next; /* in its bucket, or of the free ones; 0: none */
	int pins;
	int64 slot_length; /* microseconds */
	int64 epoch;	   /* the slot that is filling: time / slot_length */
	int64 counts[WINDOW_NUMBERS + 1];
	int64 lost[WINDOW_NUMBERS + 1]; /* counted without a cell */
	bool stale[WINDOW_NUMBERS + 1]; /* dead, but still in cells */
	int64 used;						/* sum of the live counts */
	int64 reserved;
	int64 told; /* epoch in which somebody was alerted; 0: not */
	uint32 cells;
	uint32 hot; /* cell that was used last; 0: none */
	char principal[GUARD_PRINCIPAL_MAX];
} Window;

typedef struct WindowShared
{
	uint32 ncells;
	uint32 nbuckets; /* a power of two */
	uint32 free_cell;
	uint32 free_window;
	uint32 cells_used;
	TimestampTz reclaimed; /* when room was last looked for */
	uint32 sweep;		   /* window that is looked at first for what has expired */
	int64 full;			   /* people counted without a cell since the server started */
	uint32 window_buckets[GUARD_WINDOWS];
	Window windows[GUARD_WINDOWS + 1]; /* from 1 */
} WindowShared;

static WindowShared *shared = NULL;
static uint32 *buckets = NULL;
static WindowCell *cells = NULL; /* from 1 */

static void
limit_window_sizes(uint32 *ncells, uint32 *nbuckets)
{
	Size memory = (Size) guard_setting_memory * 1024;

	*nbuckets = 1024;
	while (*nbuckets * (sizeof(uint32) + 2 * sizeof(WindowCell)) < memory / 2)
		*nbuckets *= 2;
	*ncells = (uint32) ((memory - *nbuckets * sizeof(uint32)) / sizeof(WindowCell));
}

Size
guard_limit_window_shmem_size(void)
{
	uint32 ncells;
	uint32 nbuckets;

	limit_window_sizes(&ncells, &nbuckets);
	return add_size(MAXALIGN(sizeof(WindowShared)),
					add_size(MAXALIGN(mul_size(nbuckets, sizeof(uint32))),
							 mul_size((Size) ncells + 1, sizeof(WindowCell))));
}

/* Called with AddinShmemInitLock held. */
void
guard_limit_window_shmem_init(void)
{
	bool found;
	char *at;

	at = ShmemInitStruct("pg_ward limits", guard_limit_window_shmem_size(), &found);
	shared = (WindowShared *) at;
	if (!found)
	{
		memset(shared, 0, sizeof(WindowShared));
		limit_window_sizes(&shared->ncells, &shared->nbuckets);
	}
	buckets = (uint32 *) (at + MAXALIGN(sizeof(WindowShared)));
	cells = (WindowCell *) ((char *) buckets + MAXALIGN(shared->nbuckets * sizeof(uint32)));
	if (found)
		return;
	memset(buckets, 0, shared->nbuckets * sizeof(uint32));
	for (uint32 i = 1; i <= shared->ncells; i++)
		cells[i].next = i < shared->ncells ? i + 1 : 0;
	shared->free_cell = 1;
	for (uint32 i = 1; i <= GUARD_WINDOWS; i++)
		shared->windows[i].next = i < GUARD_WINDOWS ? i + 1 : 0;
	shared->free_window = 1;
	shared->sweep = 1;
}

/* ---------------------------------------------------------------- cells */

static inline uint64
limit_window_mix(uint64 value)
{
	value = (value ^ (value >> 33)) * UINT64CONST(0xff51afd7ed558ccd);
	value = (value ^ (value >> 33)) * UINT64CONST(0xc4ceb9fe1a85ec53);
	return value ^ (value >> 33);
}

static inline uint32 *
limit_window_bucket(uint32 window, int64 number)
{
	uint64 hash = limit_window_mix((uint64) number ^ ((uint64) window << 40));

	return &buckets[hash & (shared->nbuckets - 1)];
}

/* A dead number must not be in use, and the one that comes next not in any cell. */
static inline int
limit_window_number(int64 epoch)
{
	return 1 + (int) (epoch % WINDOW_NUMBERS);
}

static void
limit_window_free_cell(uint32 at)
{
	WindowCell *cell = &cells[at];
	uint32 *link = limit_window_bucket(cell->window, cell->number);

	while (*link != at)
		link = &cells[*link].next;
	*link = cell->next;
	cell->next = shared->free_cell;
	shared->free_cell = at;
	shared->cells_used--;
}

/* Takes numbers out of a window's cells; frees those that hold nobody then. */
static void
limit_window_sweep(Window *window)
{
	uint32 *link = &window->cells;

	while (*link != 0)
	{
		uint32 at = *link;
		WindowCell *cell = &cells[at];
		uint64 left = 0;

		for (int i = 0; i < 4; i++)
		{
			for (int shift = 0; shift < 64 && cell->slots[i] >> shift != 0; shift += 4)
				if (window->stale[(cell->slots[i] >> shift) & 15])
					cell->slots[i] &= ~(UINT64CONST(15) << shift);
			left |= cell->slots[i];
		}
		if (left != 0)
		{
			link = &cell->sibling;
			continue;
		}
		*link = cell->sibling;
		limit_window_free_cell(at);
	}
	window->hot = 0;
	memset(window->stale, 0, sizeof(window->stale));
}

/* Lets go what has expired.  A clock that is set back keeps everybody. */
static void
limit_window_advance(Window *window, TimestampTz now)
{
	int64 epoch = now / window->slot_length;

	if (likely(epoch <= window->epoch))
		return;
	if (epoch - window->epoch > WINDOW_LIVE)
	{
		/* Nobody is left of the time before. */
		memset(window->stale, true, sizeof(window->stale));
		memset(window->counts, 0, sizeof(window->counts));
		memset(window->lost, 0, sizeof(window->lost));
		window->used = 0;
		limit_window_sweep(window);
		window->epoch = epoch;
		return;
	}
	while (window->epoch < epoch)
	{
		int number;

		window->epoch++;
		if (window->epoch >= WINDOW_LIVE)
		{
			number = limit_window_number(window->epoch - WINDOW_LIVE);
			window->used -= window->counts[number] + window->lost[number];
			window->stale[number] |= window->counts[number] > 0;
			window->counts[number] = window->lost[number] = 0;
		}
		if (window->stale[limit_window_number(window->epoch)])
			limit_window_sweep(window);
	}
}

/* Frees cells of people who have expired anywhere; false where there are none. */
static bool
limit_window_reclaim(TimestampTz now)
{
	/* In vain a moment ago. */
	if (now < shared->reclaimed + USECS_PER_SEC && now >= shared->reclaimed)
		return false;
	shared->reclaimed = now;
	for (uint32 i = 1; i <= GUARD_WINDOWS && shared->free_cell == 0; i++)
	{
		Window *window = &shared->windows[shared->sweep];

		shared->sweep = shared->sweep % GUARD_WINDOWS + 1;
		if (window->slot_length == 0)
			continue;
		limit_window_advance(window, now);
		for (int number = 1; number <= WINDOW_NUMBERS; number++)
			if (window->stale[number])
			{
				limit_window_sweep(window);
				break;
			}
	}
	return shared->free_cell != 0;
}

/* The cell of a number; made where there is none.  0: there is no room. */
static uint32
limit_window_cell(uint32 index, int64 number, bool make, TimestampTz now)
{
	Window *window = &shared->windows[index];
	uint32 *bucket;
	uint32 at;

	if (likely(window->hot != 0 && cells[window->hot].number == number))
		return window->hot;
	bucket = limit_window_bucket(index, number);
	for (at = *bucket; at != 0; at = cells[at].next)
		if (cells[at].number == number && cells[at].window == index)
			return window->hot = at;
	if (!make || (shared->free_cell == 0 && !limit_window_reclaim(now)))
		return 0;
	at = shared->free_cell;
	shared->free_cell = cells[at].next;
	shared->cells_used++;
	cells[at].number = number;
	cells[at].window = index;
	memset(cells[at].slots, 0, sizeof(cells[at].slots));
	cells[at].next = *bucket;
	*bucket = at;
	cells[at].sibling = window->cells;
	window->cells = at;
	return window->hot = at;
}

static inline bool
limit_window_live(const Window *window, int number)
{
	int age;

	if (number == 0 || window->stale[number])
		return false;
	age = (int) ((window->epoch % WINDOW_NUMBERS + WINDOW_NUMBERS - (number - 1)) % WINDOW_NUMBERS);
	return age < WINDOW_LIVE;
}

/* See limit_int.h. */
bool
guard_limit_window_knows(int index, int64 subject)
{
	uint32 at = limit_window_cell(index, subject >> WINDOW_CELL_BITS, false, 0);

	return at != 0 &&
		   limit_window_live(&shared->windows[index],
							 (int) (cells[at].slots[(subject & 63) >> 4] >> ((subject & 15) * 4)) &
								 15);
}

/* See limit_int.h. */
bool
guard_limit_window_count(int index, int64 subject, TimestampTz at)
{
	Window *window = &shared->windows[index];
	int64 epoch = at / window->slot_length;
	uint32 cell;
	uint64 *word;
	int shift = (int) (subject & 15) * 4;
	int number;
	int old;

	/* Of another clock, or of the time before: by the nearest slot that is live. */
	epoch = Min(epoch, window->epoch);
	if (epoch <= window->epoch - WINDOW_LIVE)
		return false;
	number = limit_window_number(epoch);
	cell = limit_window_cell(index, subject >> WINDOW_CELL_BITS, true, at);
	if (unlikely(cell == 0))
	{
		window->lost[number]++;
		window->used++;
		shared->full++;
		return true;
	}
	word = &cells[cell].slots[(subject & 63) >> 4];
	old = (int) (*word >> shift) & 15;
	if (limit_window_live(window, old))
	{
		int age =
			(int) ((window->epoch % WINDOW_NUMBERS + WINDOW_NUMBERS - (old - 1)) % WINDOW_NUMBERS);

		if (old == number || window->epoch - age >= epoch)
			return false;
		window->counts[old]--;
		window->counts[number]++;
		*word = (*word & ~(UINT64CONST(15) << shift)) | (uint64) number << shift;
		return false;
	}
	window->counts[number]++;
	window->used++;
	*word = (*word & ~(UINT64CONST(15) << shift)) | (uint64) number << shift;
	return true;
}

/* ---------------------------------------------------------------- windows */

static inline uint32 *
limit_window_place(const GuardWindowKey *key)
{
	uint64 hash =
		limit_window_mix(key->principal ^ limit_window_mix((uint64) key->limit + key->database));

	return &shared->window_buckets[hash % GUARD_WINDOWS];
}

static bool
limit_window_is(const Window *window, const GuardWindowKey *key)
{
	return window->slot_length != 0 && window->key.database == key->database &&
		   window->key.limit == key->limit && window->key.principal == key->principal;
}

static void
limit_window_drop(uint32 index)
{
	Window *window = &shared->windows[index];
	uint32 *link = limit_window_place(&window->key);

	while (*link != index)
		link = &shared->windows[*link].next;
	*link = window->next;
	while (window->cells != 0)
	{
		uint32 at = window->cells;

		window->cells = cells[at].sibling;
		limit_window_free_cell(at);
	}
	memset(window, 0, sizeof(Window));
	window->next = shared->free_window;
	shared->free_window = index;
}

/* Makes room by dropping windows in which nobody is left. */
static void
limit_window_purge(TimestampTz now)
{
	for (uint32 i = 1; i <= GUARD_WINDOWS; i++)
	{
		Window *window = &shared->windows[i];

		if (window->slot_length == 0 || window->pins > 0)
			continue;
		limit_window_advance(window, now);
		if (window->used == 0)
			limit_window_drop(i);
	}
}

/* See limit_int.h. */
int
guard_limit_window_pin(const GuardWindowKey *key, int hint, int64 length, const char *principal,
					   TimestampTz now)
{
	uint32 *bucket;
	Window *window;
	uint32 at = (uint32) hint;

	if (at == 0 || !limit_window_is(&shared->windows[at], key))
	{
		bucket = limit_window_place(key);
		for (at = *bucket; at != 0; at = shared->windows[at].next)
			if (limit_window_is(&shared->windows[at], key))
				break;
	}
	if (at == 0)
	{
		if (shared->free_window == 0)
			limit_window_purge(now);
		at = shared->free_window;
		if (at == 0)
			return 0;
		bucket = limit_window_place(key);
		window = &shared->windows[at];
		shared->free_window = window->next;
		memset(window, 0, sizeof(Window));
		window->key = *key;
		window->slot_length = Max((length + WINDOW_SLOTS - 1) / WINDOW_SLOTS, 1);
		window->epoch = now / window->slot_length;
		strlcpy(window->principal, principal, sizeof(window->principal));
		window->next = *bucket;
		*bucket = at;
	}
	shared->windows[at].pins++;
	limit_window_advance(&shared->windows[at], now);
	return (int) at;
}

/* See limit_int.h. */
void
guard_limit_window_unpin(int index, int64 reserved)
{
	Window *window = &shared->windows[index];

	Assert(window->pins > 0 && window->reserved >= reserved);
	window->pins--;
	window->reserved -= reserved;
}

/* See limit_int.h. */
void
guard_limit_window_advance(int index, TimestampTz now)
{
	limit_window_advance(&shared->windows[index], now);
}

/* See limit_int.h. */
int64
guard_limit_window_left(int index, int64 at_most)
{
	const Window *window = &shared->windows[index];

	return at_most - window->used - window->reserved;
}

/* See limit_int.h. */
void
guard_limit_window_reserve(int index, int64 people)
{
	shared->windows[index].reserved += people;
	Assert(shared->windows[index].reserved >= 0);
}

/* See limit_int.h. */
int64
guard_limit_window_used(int index)
{
	return shared->windows[index].used;
}

/* See limit_int.h. */
bool
guard_limit_window_tell(int index)
{
	Window *window = &shared->windows[index];

	if (window->told != 0 && window->epoch - window->told < WINDOW_LIVE)
		return false;
	window->told = window->epoch;
	return true;
}

static TimestampTz
limit_window_free_at(const Window *window)
{
	for (int64 epoch = window->epoch - WINDOW_SLOTS; epoch <= window->epoch; epoch++)
		if (epoch >= 0 && (window->counts[limit_window_number(epoch)] > 0 ||
						   window->lost[limit_window_number(epoch)] > 0))
			return (epoch + WINDOW_LIVE) * window->slot_length;
	return 0;
}

/* See limit_int.h. */
TimestampTz
guard_limit_window_free_at(int index)
{
	return limit_window_free_at(&shared->windows[index]);
}

/* See limit_int.h. */
bool
guard_limit_window_show(int index, GuardWindowUse *use, TimestampTz now)
{
	Window *window = &shared->windows[index];

	if (window->slot_length == 0)
		return false;
	limit_window_advance(window, now);
	use->key = window->key;
	use->used = window->used;
	use->reserved = window->reserved;
	use->free_at = limit_window_free_at(window);
	strlcpy(use->principal, window->principal, sizeof(use->principal));
	return true;
}

/* See limit_int.h. */
int64
guard_limit_window_full(void)
{
	return shared->full;
}
