/*
 * limit.c
 *		Counting people as statements show them, and stopping what would exceed a limit.
 *
 * Each set of people that a statement shows in manner *row* is counted against every limit
 * that applies: the strictest decides.  The witness asks when a set's allowance is used
 * up.  The first person is counted at once, so that a look-up takes the lock once; then
 * the allowance doubles, up to a 64th of what remains, and is reserved in the windows
 * meanwhile.  Used and reserved together never exceed a limit, however many statements
 * run, also in parallel workers: nothing is ever shown beyond it.  Whom the rows of an
 * allowance were about is counted when they are recorded, or when nothing remains but
 * what was reserved.
 *
 * Whether a column left in clear is known for certain only as the record is written.  Till
 * then a row counts against both kinds of limits where both are possible: reserved, not
 * counted.
 *
 * What a statement changes and returns (RETURNING) is shown as well.
 *
 * Small aggregates are found out to tell about each of their people as they are written
 * down, before their rows leave: they are counted, and refused, then.
 *
 * Where the statement has failed already, the witness sees to it that nothing leaves.
 *
 * State is private to the backend but for the windows (limit_window.c).
 */
#include "guard/answer_int.h"
#include "guard/limit_int.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* Rows that an allowance may grow to; and the part of what remains. */
#define LIMIT_ALLOWANCE 65536
#define LIMIT_PART 64
/* People counted before others get the lock. */
#define LIMIT_BATCH 2048

typedef struct LimitCharge
{
	GuardTarget target;
	GuardOnExcess on_excess; /* the rule itself may be gone when a failed statement ends */
	GuardManner manner;
	int64 at_most;
	int64 length;
	int window; /* 0: not pinned */
	int64 reserved;
	bool matches; /* in the walk that is going on */
	int64 fresh;  /* people who do not count yet */
	bool told;	  /* somebody knows that it is exceeded */
} LimitCharge;

struct GuardShown
{
	int64 granted; /* the allowance, when it was given last */
	int64 step;	   /* how far it may grow */
	int64 open;	   /* rows of earlier allowances: their people may not be counted yet */
	int count;
	LimitCharge charges[FLEXIBLE_ARRAY_MEMBER];
};

/* Where windows were found last; only ever a hint. */
static int hints[256];

static int *
limit_hint(const GuardWindowKey *key)
{
	return &hints[(key->principal * 31 + (uint64) key->limit) % lengthof(hints)];
}

/* ---------------------------------------------------------------- windows */

/* Called with the lock held; false where there is no room for one more window. */
static bool
limit_pin(GuardShown *guard, TimestampTz now)
{
	for (int i = 0; i < guard->count; i++)
	{
		LimitCharge *charge = &guard->charges[i];
		int *hint = limit_hint(&charge->target.key);

		if (charge->window != 0)
		{
			guard_limit_window_advance(charge->window, now);
			continue;
		}
		charge->window = guard_limit_window_pin(&charge->target.key, *hint, charge->length,
												charge->target.principal, now);
		if (charge->window == 0)
			return false;
		*hint = charge->window;
	}
	return true;
}

/* Can, or must, a row count against this limit, as things stand? */
static bool
limit_possible(const LimitCharge *charge, const WitnessShown *shown)
{
	switch (charge->manner)
	{
		case GUARD_MANNER_CLEAR:
			return shown->clear || shown->openable;
		case GUARD_MANNER_CIPHERTEXT:
			return shown->sealed;
		case GUARD_MANNER_ANY:
			break;
	}
	return true;
}

static bool
limit_certain(const LimitCharge *charge, const WitnessShown *shown)
{
	switch (charge->manner)
	{
		case GUARD_MANNER_CLEAR:
			return shown->clear;
		case GUARD_MANNER_CIPHERTEXT:
			return shown->sealed && !shown->openable;
		case GUARD_MANNER_ANY:
			break;
	}
	return true;
}

/* Does what is recorded count against a limit? */
bool
guard_limit_matches(GuardManner manner, int16 subject, int nclear, const int16 *clear, int nsealed)
{
	if (manner == GUARD_MANNER_ANY)
		return true;
	if (manner == GUARD_MANNER_CIPHERTEXT)
		return nsealed > 0;
	for (int i = 0; i < nclear; i++)
		if (clear[i] != subject)
			return true;
	/* The key alone. */
	return nsealed == 0;
}

static void
limit_count_one(LimitCharge *charge, int64 subject, TimestampTz now)
{
	if (!guard_limit_window_count(charge->window, subject, now) || charge->reserved == 0)
		return;
	charge->reserved--;
	guard_limit_window_reserve(charge->window, -1);
}

typedef struct LimitWalk
{
	GuardShown *guard;
	TimestampTz now;
	int batch;
	int refused; /* charge that refuses, or -1 */
} LimitWalk;

static bool
limit_walk_count(int64 subject, void *arg)
{
	LimitWalk *walk = arg;

	if (++walk->batch % LIMIT_BATCH == 0)
	{
		LWLockRelease(guard_lock(GUARD_LOCK_WINDOWS));
		LWLockAcquire(guard_lock(GUARD_LOCK_WINDOWS), LW_EXCLUSIVE);
	}
	for (int i = 0; i < walk->guard->count; i++)
		if (walk->guard->charges[i].matches)
			limit_count_one(&walk->guard->charges[i], subject, walk->now);
	return true;
}

/*
 * Counts people where the charge matches, and gives back what was reserved for them; keep
 * is for rows yet to come.
 */
static void
limit_merge(GuardShown *guard, const TrailSubjectSet *people, int64 keep, TimestampTz now)
{
	LimitWalk walk = {.guard = guard, .now = now};

	if (people != NULL)
		trail_subject_set_walk(people, limit_walk_count, &walk);
	for (int i = 0; i < guard->count; i++)
	{
		LimitCharge *charge = &guard->charges[i];

		if (charge->reserved > keep)
		{
			guard_limit_window_reserve(charge->window, keep - charge->reserved);
			charge->reserved = keep;
		}
	}
	guard->open = 0;
}

static bool
limit_walk_fits(int64 subject, void *arg)
{
	LimitWalk *walk = arg;

	for (int i = 0; i < walk->guard->count; i++)
	{
		LimitCharge *charge = &walk->guard->charges[i];

		if (charge->matches && charge->on_excess == GUARD_REFUSE &&
			!guard_limit_window_knows(charge->window, subject) &&
			++charge->fresh > guard_limit_window_left(charge->window, charge->at_most))
		{
			walk->refused = i;
			return false;
		}
	}
	return true;
}

/* The charge that people would exceed if all were shown, or -1.  Counts nobody. */
static int
limit_fits(GuardShown *guard, const TrailSubjectSet *people)
{
	LimitWalk walk = {.guard = guard, .refused = -1};

	for (int i = 0; i < guard->count; i++)
		guard->charges[i].fresh = 0;
	trail_subject_set_walk(people, limit_walk_fits, &walk);
	return walk.refused;
}

/* The charge that a person not yet counted there would exceed, and that refuses; or -1. */
static int
limit_exceeded(GuardShown *guard, int64 subject)
{
	for (int i = 0; i < guard->count; i++)
	{
		LimitCharge *charge = &guard->charges[i];

		if (charge->matches && charge->on_excess == GUARD_REFUSE &&
			guard_limit_window_left(charge->window, charge->at_most) < 1 &&
			!guard_limit_window_knows(charge->window, subject))
			return i;
	}
	return -1;
}

/* Is a charge exceeded that goes on? */
static bool
limit_passed(const LimitCharge *charge, int64 subject)
{
	return charge->matches && charge->on_excess != GUARD_REFUSE &&
		   guard_limit_window_left(charge->window, charge->at_most) < 1 &&
		   !guard_limit_window_knows(charge->window, subject);
}

/* ---------------------------------------------------------------- telling */

/* The fields of an event or alert about a limit; at_most and counted are for their text. */
#define LIMIT_FIELDS 7

static void
limit_fields(TrailField fields[LIMIT_FIELDS], const LimitCharge *charge, int64 used,
			 char at_most[24], char counted[24])
{
	static const char *const bys[] = {"role", "session", "actor", "client"};
	const GuardRule *rule = charge->target.rule;

	snprintf(at_most, 24, INT64_FORMAT, charge->at_most);
	snprintf(counted, 24, INT64_FORMAT, used);
	fields[0] = (TrailField){"limit", rule->name};
	fields[1] = (TrailField){"class", rule->class};
	fields[2] = (TrailField){"by", bys[rule->by]};
	fields[3] = (TrailField){"principal", charge->target.principal};
	fields[4] = (TrailField){"at_most", at_most};
	fields[5] = (TrailField){"per", rule->per};
	fields[6] = (TrailField){"counted", counted};
}

static void
limit_event(const char *kind, const LimitCharge *charge, int64 used)
{
	char at_most[24];
	char counted[24];
	TrailField fields[LIMIT_FIELDS];

	limit_fields(fields, charge, used, at_most, counted);
	(void) trail_record_event(kind, fields, lengthof(fields));
}

static void
limit_refuse(const LimitCharge *charge, int64 used, TimestampTz free_at)
{
	static const char *const whose[] = {"Role", "Session", "Actor", "Address"};
	const GuardRule *rule = charge->target.rule;
	char when[MAXDATELEN + 1];

	strlcpy(when, free_at != 0 ? timestamptz_to_str(free_at) : "then", sizeof(when));
	limit_event("limit.refused", charge, used);
	ereport(
		ERROR,
		(errcode(ERRCODE_WARD_LIMIT_REACHED),
		 errmsg("limit \"%s\" is reached: no more people of class \"%s\" may be shown", rule->name,
				rule->class),
		 errdetail("%s \"%s\" has been shown, or is being shown, " INT64_FORMAT
				   " of at most " INT64_FORMAT " different people in %s. The first of them no "
				   "longer count from %s on.",
				   whose[rule->by],
				   charge->target.principal[0] != '\0' ? charge->target.principal : "[none]",
				   Max(used, 0), charge->at_most, rule->per, when),
		 errhint("People who were shown already can be shown again. For more, ask an officer.")));
}

static void
limit_no_room(void)
{
	ereport(ERROR, (errcode(ERRCODE_WARD_LIMIT_NO_ROOM),
					errmsg("there is no room to count whom this statement shows"),
					errdetail("Limits count for at most %d roles, sessions, actors and addresses "
							  "at a time.",
							  GUARD_WINDOWS),
					errhint("An officer should look at ward.limit_use, and drop limits by session, "
							"actor or client, or shorten their intervals.")));
}

/* That a limit which lets go on is exceeded, once a principal and interval. */
static void
limit_tell(const LimitCharge *charge, int64 used)
{
	char at_most[24];
	char counted[24];
	TrailField fields[LIMIT_FIELDS];

	limit_event("limit.exceeded", charge, used);
	limit_fields(fields, charge, used, at_most, counted);
	(void) guard_alert("limit", "more people are shown than a limit says", fields,
					   lengthof(fields));
}

/* Memory is full: said at most once in a minute by each backend. */
static void
limit_tell_full(int64 full)
{
	static int64 seen = 0;
	static TimestampTz told = 0;
	TimestampTz now = GetCurrentTimestamp();
	char counted[24];
	TrailField fields[] = {{"counted_twice", counted}};

	if (full <= seen || now < told + USECS_PER_MINUTE)
		return;
	seen = full;
	told = now;
	snprintf(counted, sizeof(counted), INT64_FORMAT, full);
	(void) trail_record_event("limit.memory_full", fields, lengthof(fields));
	ereport(LOG_SERVER_ONLY,
			(errmsg("memory for limits is full"),
			 errdetail("People count each time that they are shown, so that limits are met early."),
			 errhint("Raise ward.guard_memory, or shorten the intervals of limits.")));
}

static void
limit_delay(void)
{
	TimestampTz until = GetCurrentTimestamp() + (int64) guard_setting_delay * 1000;

	for (;;)
	{
		long left;

		CHECK_FOR_INTERRUPTS();
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
		if (left <= 0)
			return;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

/* ---------------------------------------------------------------- what the witness tells */

/* See guard_int.h. */
void
guard_limit_begin(WitnessShown *shown)
{
	List *targets;
	GuardShown *guard;
	ListCell *lc;

	const bool row = shown->manner == TRAIL_MANNER_ROW || shown->returns;

	if (!row && shown->manner != TRAIL_MANNER_AGGREGATE)
		return;
	targets = guard_limit_rule_mine(shown->class);
	if (targets == NIL)
		return;
	guard = MemoryContextAllocZero(shown->memory, offsetof(GuardShown, charges) +
													  list_length(targets) * sizeof(LimitCharge));
	foreach (lc, targets)
	{
		LimitCharge *charge = &guard->charges[guard->count++];

		charge->target = *(GuardTarget *) lfirst(lc);
		charge->on_excess = charge->target.rule->on_excess;
		charge->manner = charge->target.rule->manner;
		charge->at_most = charge->target.rule->at_most;
		charge->length = charge->target.rule->length;
	}
	/* What is waited for here may change the lists. */
	for (int i = 0; i < guard->count; i++)
		guard_limit_load_wait(guard->charges[i].target.rule);
	shown->guard = guard;
	if (row)
		shown->allowance = 0;
}

/* See guard_int.h. */
void
guard_limit_next(WitnessShown *shown, int64 subject, const TrailSubjectSet *pending)
{
	GuardShown *guard = shown->guard;
	TimestampTz now = GetCurrentTimestamp();
	int64 grant = LIMIT_ALLOWANCE;
	int64 full;
	int refused;
	int told = -1;
	int64 used = 0;
	TimestampTz free_at = 0;
	bool delay = false;
	bool room;

	if (guard == NULL)
	{
		shown->allowance = PG_INT64_MAX;
		return;
	}
	guard->open += guard->granted;
	guard->granted = 0;
	LWLockAcquire(guard_lock(GUARD_LOCK_WINDOWS), LW_EXCLUSIVE);
	room = limit_pin(guard, now);
	if (!room)
	{
		LWLockRelease(guard_lock(GUARD_LOCK_WINDOWS));
		limit_no_room();
	}
	for (int i = 0; i < guard->count; i++)
		guard->charges[i].matches = limit_possible(&guard->charges[i], shown);
	refused = limit_exceeded(guard, subject);
	for (int i = 0; i < guard->count && refused < 0; i++)
		if (!guard->charges[i].told && limit_passed(&guard->charges[i], subject))
			refused = i;
	if (refused >= 0 && guard->open > 0)
	{
		/* Nothing remains but, perhaps, what rows about the same people did not need. */
		for (int i = 0; i < guard->count; i++)
			guard->charges[i].matches = guard->charges[i].manner != GUARD_MANNER_CLEAR
											? limit_possible(&guard->charges[i], shown)
											: shown->clear;
		limit_merge(guard, pending, 0, now);
		for (int i = 0; i < guard->count; i++)
			guard->charges[i].matches = limit_possible(&guard->charges[i], shown);
	}
	refused = limit_exceeded(guard, subject);
	for (int i = 0; i < guard->count; i++)
	{
		LimitCharge *charge = &guard->charges[i];
		int64 left = guard_limit_window_left(charge->window, charge->at_most);
		bool passed = limit_passed(charge, subject);

		if (refused >= 0)
			break;
		if (!charge->matches)
			continue;
		if (passed)
		{
			if (guard_limit_window_tell(charge->window))
			{
				told = i;
				used = guard_limit_window_used(charge->window);
			}
			charge->told = true;
			delay |= charge->on_excess == GUARD_DELAY;
		}
		if (limit_certain(charge, shown))
			(void) guard_limit_window_count(charge->window, subject, now);
		else
		{
			charge->reserved++;
			guard_limit_window_reserve(charge->window, 1);
			guard->open++;
		}
		/* Beyond a limit that only tells, there is nothing to look out for. */
		if (!charge->told)
			grant = Min(grant, Max(left - 1, 0) / LIMIT_PART);
		else if (charge->on_excess == GUARD_DELAY)
			grant = 0;
	}
	if (refused >= 0)
	{
		used = guard_limit_window_used(guard->charges[refused].window);
		free_at = guard_limit_window_free_at(guard->charges[refused].window);
	}
	else
	{
		grant = Min(grant, guard->step);
		guard->step = Min(Max(guard->step * 2, 1), LIMIT_ALLOWANCE);
		for (int i = 0; i < guard->count && grant > 0; i++)
			if (guard->charges[i].matches)
			{
				guard->charges[i].reserved += grant;
				guard_limit_window_reserve(guard->charges[i].window, grant);
			}
		shown->allowance = guard->granted = grant;
	}
	full = guard_limit_window_full();
	LWLockRelease(guard_lock(GUARD_LOCK_WINDOWS));
	if (unlikely(full > 0))
		limit_tell_full(full);
	if (refused >= 0)
		limit_refuse(&guard->charges[refused], used, free_at);
	if (told >= 0)
		limit_tell(&guard->charges[told], used);
	if (delay)
		limit_delay();
}

/* What was written alone says whether a row was shown in clear. */
static void
limit_write_rows(WitnessShown *shown, const TrailSubjectSet *people, TimestampTz now)
{
	GuardShown *guard = shown->guard;
	int64 left = Max(shown->allowance, 0);

	limit_merge(guard, people, left, now);
	/* People who had stopped to count while they were shown have used more than their rows. */
	for (int i = 0; i < guard->count; i++)
		if (limit_possible(&guard->charges[i], shown))
			left = Min(left, guard->charges[i].reserved);
	guard->granted = shown->allowance = left;
}

/* See guard_int.h. */
bool
guard_limit_write(WitnessShown *shown, const TrailDisclosure *disclosure, bool failed)
{
	GuardShown *guard = shown->guard;
	const bool small = shown->manner == TRAIL_MANNER_AGGREGATE;
	TimestampTz now;
	int refused = -1;
	int told = -1;
	int64 used = 0;
	TimestampTz free_at = 0;

	if (guard == NULL || disclosure->subjects == NULL ||
		(disclosure->manner != TRAIL_MANNER_ROW && !shown->returns))
		return true;
	/* Counted one by one, already. */
	if (!small && guard->open + guard->granted - Max(shown->allowance, 0) <= 0)
		return true;
	now = GetCurrentTimestamp();
	LWLockAcquire(guard_lock(GUARD_LOCK_WINDOWS), LW_EXCLUSIVE);
	if (!limit_pin(guard, now))
	{
		LWLockRelease(guard_lock(GUARD_LOCK_WINDOWS));
		if (!failed)
			limit_no_room();
		return false;
	}
	for (int i = 0; i < guard->count; i++)
		guard->charges[i].matches =
			guard_limit_matches(guard->charges[i].manner, disclosure->subject_attnum,
								disclosure->nclear, disclosure->clear, disclosure->nsealed);
	if (!small)
		limit_write_rows(shown, disclosure->subjects, now);
	else if ((refused = limit_fits(guard, disclosure->subjects)) < 0)
	{
		limit_merge(guard, disclosure->subjects, 0, now);
		for (int i = 0; i < guard->count && !failed; i++)
			if (guard->charges[i].on_excess != GUARD_REFUSE &&
				guard_limit_window_left(guard->charges[i].window, guard->charges[i].at_most) < 0 &&
				guard_limit_window_tell(guard->charges[i].window))
			{
				told = i;
				used = guard_limit_window_used(guard->charges[i].window);
			}
	}
	else
	{
		used = guard_limit_window_used(guard->charges[refused].window);
		free_at = guard_limit_window_free_at(guard->charges[refused].window);
	}
	LWLockRelease(guard_lock(GUARD_LOCK_WINDOWS));
	if (refused >= 0 && !failed)
		limit_refuse(&guard->charges[refused], used, free_at);
	if (told >= 0)
		limit_tell(&guard->charges[told], used);
	return refused < 0;
}

/* See guard_int.h. */
void
guard_limit_end(WitnessShown *shown)
{
	GuardShown *guard = shown->guard;

	shown->guard = NULL;
	if (guard == NULL)
		return;
	LWLockAcquire(guard_lock(GUARD_LOCK_WINDOWS), LW_EXCLUSIVE);
	for (int i = 0; i < guard->count; i++)
		if (guard->charges[i].window != 0)
			guard_limit_window_unpin(guard->charges[i].window, guard->charges[i].reserved);
	LWLockRelease(guard_lock(GUARD_LOCK_WINDOWS));
}
