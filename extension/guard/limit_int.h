/*
 * limit_int.h
 *		Shared by the files of the guard layer that keep limits.
 */
#ifndef WARD_LIMIT_INT_H
#define WARD_LIMIT_INT_H

#include "guard/guard_int.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/* ---- limit_window.c: who has been shown how many people lately ---- */

/* The server has no more windows: one for each limit and principal. */
#define GUARD_WINDOWS 4096
#define GUARD_PRINCIPAL_MAX 64

typedef struct GuardWindowKey
{
	Oid database;
	int64 limit;
	uint64 principal;
} GuardWindowKey;

/* All but the first two are called with GUARD_LOCK_WINDOWS held. */
extern Size guard_limit_window_shmem_size(void);
extern void guard_limit_window_shmem_init(void);

/*
 * The window of a key, made where there is none, and kept until it is unpinned.  hint: where
 * it was before, or 0.  0: there is no room for one more.
 */
extern int guard_limit_window_pin(const GuardWindowKey *key, int hint, int64 length,
								  const char *principal, TimestampTz now);
/* Gives back what was reserved. */
extern void guard_limit_window_unpin(int index, int64 reserved);
extern void guard_limit_window_advance(int index, TimestampTz now);
/* Does the person count already? */
extern bool guard_limit_window_knows(int index, int64 subject);
/* Counts a person who was shown at this time; true where he had not counted. */
extern bool guard_limit_window_count(int index, int64 subject, TimestampTz at);
extern int64 guard_limit_window_left(int index, int64 at_most);
extern void guard_limit_window_reserve(int index, int64 people);
extern int64 guard_limit_window_used(int index);
/* True once in the window's length: somebody is to be told that it is exceeded. */
extern bool guard_limit_window_tell(int index);
/* When the first of those who count now stop to; 0: nobody counts. */
extern TimestampTz guard_limit_window_free_at(int index);

typedef struct GuardWindowUse
{
	GuardWindowKey key;
	int64 used;
	int64 reserved;
	TimestampTz free_at;
	char principal[GUARD_PRINCIPAL_MAX];
} GuardWindowUse;

/* Describes a window, 1 to GUARD_WINDOWS; false where there is none. */
extern bool guard_limit_window_show(int index, GuardWindowUse *use, TimestampTz now);
/* People counted without room for them since the server started. */
extern int64 guard_limit_window_full(void);

/* ---- limit_rule.c: which limits there are, and whom they apply to ---- */

typedef enum GuardBy
{
	GUARD_BY_ROLE,
	GUARD_BY_SESSION,
	GUARD_BY_ACTOR,
	GUARD_BY_CLIENT
} GuardBy;

typedef enum GuardOnExcess
{
	GUARD_REFUSE,
	GUARD_ALERT,
	GUARD_DELAY
} GuardOnExcess;

typedef enum GuardManner
{
	GUARD_MANNER_ANY,
	GUARD_MANNER_CLEAR,
	GUARD_MANNER_CIPHERTEXT
} GuardManner;

typedef struct GuardRule
{
	int64 id;
	char *name;
	char *class;
	int64 at_most;
	int64 length; /* microseconds */
	char *per;	  /* the same as text */
	GuardBy by;
	List *applies_to; /* oids; NIL: to all */
	GuardOnExcess on_excess;
	GuardManner manner;
	bool ready; /* what was shown before is counted */
} GuardRule;

/* A limit, and the principal that it is counted for. */
typedef struct GuardTarget
{
	GuardRule *rule;
	GuardWindowKey key;
	int hint; /* where its window was last */
	char principal[GUARD_PRINCIPAL_MAX];
} GuardTarget;

/* Whom a statement runs for.  Roles that are exempt are left out. */
typedef struct GuardWho
{
	int nroles;
	Oid roles[3];
	const char *session;
	const char *actor;
	const char *client;
} GuardWho;

extern void guard_limit_rule_init(void);
/* All limits of this database.  Valid until the next call, or the command's end. */
extern List *guard_limit_rule_list(void);
/* Limits that apply to somebody for a class; appended to targets in the current context. */
extern List *guard_limit_rule_targets(const GuardWho *who, const char *class);
/* What the present session is counted for; cached.  NIL: it meets no limit. */
extern List *guard_limit_rule_mine(const char *class);
/* Is a role never counted? */
extern bool guard_limit_rule_exempt(Oid role);

/* ---- limit.c ---- */

/* Does what was recorded of a subject's column count against a limit? */
extern bool guard_limit_matches(GuardManner manner, int16 subject, int nclear, const int16 *clear,
								int nsealed);

/* ---- limit_load.c: what was shown before the server started ---- */

extern Size guard_limit_load_shmem_size(void);
extern void guard_limit_load_shmem_init(void);
/* Waits until what was shown before counts.  Raises WD503. */
extern void guard_limit_load_wait(GuardRule *rule);

#endif /* WARD_LIMIT_INT_H */
