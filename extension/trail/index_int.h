/*
 * index_int.h
 *		Shared by the files that keep the index of the trail; no one else needs it
 *		but hooks.c.
 */
#ifndef WARD_TRAIL_INDEX_INT_H
#define WARD_TRAIL_INDEX_INT_H

#include "trail/trail_int.h"

#include "nodes/nodes.h"
#include "utils/snapshot.h"

/* ---- index_table.c: which databases have something to index ---- */

#define TRAIL_INDEX_DATABASES 1024

/* Why a worker ended, or that none has run yet. */
typedef enum TrailIndexOutcome
{
	TRAIL_INDEX_NONE,
	TRAIL_INDEX_IDLE,		  /* caught up, went home */
	TRAIL_INDEX_NO_EXTENSION, /* none committed in this database */
	TRAIL_INDEX_FAILED		  /* an error; the server log has it */
} TrailIndexOutcome;

/* What a waiting session wants to know of its database's worker. */
typedef struct TrailIndexReport
{
	uint64 runs; /* workers that have ended */
	TrailIndexOutcome outcome;
	bool running;
	bool no_slot; /* the launcher could not register a worker */
	bool launcher;
} TrailIndexReport;

extern void trail_index_table_request(void);
extern void trail_index_table_startup(void);

/* Called when a standby delivered: each database may have something to index. */
extern void trail_index_table_delivered(void);

/*
 * Called after each append: this database has something to index.  Never raises,
 * and mostly reads one flag.
 */
extern void trail_index_table_appended(void);

/* Asks for a worker for this database, if urgent at once; false when the table is full. */
extern bool trail_index_table_want(Oid database, bool urgent);
extern TrailIndexReport trail_index_table_report(Oid database);

/* Sleeps until a worker moves on or ends, at most this long. */
extern void trail_index_table_wait(long milliseconds);
extern void trail_index_table_wait_done(void);

/* The worker's side. */
extern bool trail_index_table_claim(int slot, Oid database);
extern void trail_index_table_release(int slot, TrailIndexOutcome outcome);
extern void trail_index_table_begin(int slot); /* forget what is pending, then read */
extern bool trail_index_table_pending(int slot);
extern void trail_index_table_progress(int slot, TrailPosition folded, TimestampTz held);

/*
 * Pruning: how far a database's index has come, and since when its legal holds need
 * evidence.  A question has a number (0: it could not be put); it is answered by what a
 * worker saw that began its batch later.
 */
typedef struct TrailIndexAnswer
{
	uint64 number; /* of the question */
	bool installed;
	TrailPosition folded;
	TimestampTz held; /* infinity: nothing is held */
} TrailIndexAnswer;

extern uint64 trail_index_table_ask(Oid database);
extern bool trail_index_table_answered(Oid database, uint64 number, TrailIndexAnswer *answer);

/* The launcher's side. */
extern void trail_index_table_attach_launcher(void);
extern bool trail_index_table_next(int *slot, Oid *database, long *wait);
extern void trail_index_table_started(int slot, bool registered);
extern void trail_index_table_reaped(int slot, Oid database);

/*
 * For commands that need a database without connections (DROP DATABASE, CREATE
 * DATABASE ... TEMPLATE, ...): which one a statement means, ending its worker and
 * keeping it away, and letting it return.
 */
extern Oid trail_index_table_needs_alone(Node *statement);
extern void trail_index_table_hold(Oid database);
extern void trail_index_table_unhold(Oid database, bool dropped);
extern void trail_index_table_unhold_callback(int code, Datum database);

/* ---- index_worker.c ---- */

extern void trail_index_worker_register(void);

/* ---- index_source.c: the trail's records, as the index wants them ---- */

/* One record of this database.  Strings and arrays live until the next one. */
typedef struct TrailIndexEntry
{
	TrailPosition position;
	TrailKind kind;
	TimestampTz at;
	TrailPosition context; /* INVALID where there is none */

	/* TRAIL_KIND_CONTEXT; NULL where unknown */
	const char *session;
	const char *session_role;
	const char *current_role;
	const char *client;
	const char *application;
	const char *actor;
	const char *actor_source; /* NULL where there is none */

	/* TRAIL_KIND_RELATION */
	const TrailRelation *relation;

	/* TRAIL_KIND_STATEMENT */
	int64 fingerprint;
	const char *text;

	/* TRAIL_KIND_DISCLOSURE; fingerprint too */
	uint64 statement;
	TrailPosition relation_at;
	int16 subject_attnum;
	TrailManner manner;
	const char *reason;
	int nclear;
	const int16 *clear;
	int nsealed;
	const int16 *sealed;
	uint64 opens;
	const char *subjects; /* serialised; NULL with TRAIL_MANNER_ALL */
	Size subjects_len;

	/* TRAIL_KIND_SUBJECT; pointers are into the record */
	const char *class;
	int form;
	int nkeys;
	const int64 *numbers;
	const char *const *fingerprints;
	const char *const *keys;
	const Size *key_lengths;

	/* TRAIL_KIND_EVENT */
	const char *event;
	const TrailField *fields;
	int nfields;
} TrailIndexEntry;

/* Hex name of the node whose trail this is; lives as long as the process. */
extern const char *trail_index_source_node(void);

/*
 * Reads from a position on; next() passes over other databases' records and
 * returns false at the trail's end; position() is where to go on.  Raises WD3xx.
 * What an entry points to lies in the context current at next(), the rest in the
 * one current at open().
 */
typedef struct TrailIndexSource TrailIndexSource;

extern TrailIndexSource *trail_index_source_open(TrailPosition from);
/* The same of a trail that a standby delivered. */
extern TrailIndexSource *trail_index_source_open_in(const char *directory, TrailPosition from,
													TrailPosition end);
/* The same of what was carried over a cut. */
extern TrailIndexSource *trail_index_source_open_carry(TrailPosition cut);
extern bool trail_index_source_next(TrailIndexSource *source, TrailIndexEntry *entry);
extern TrailPosition trail_index_source_position(const TrailIndexSource *source);
extern void trail_index_source_close(TrailIndexSource *source);

/* ---- index_statement.c: the SQL, for one node at a time ---- */

typedef enum IndexPlan
{
	INDEX_PLAN_STATE,
	INDEX_PLAN_STATE_NEW,
	INDEX_PLAN_STATE_SHIPPED,
	INDEX_PLAN_STATE_MOVE,
	INDEX_PLAN_STATE_PROBLEM,
	INDEX_PLAN_STATE_PRUNED,
	INDEX_PLAN_CONTEXT,
	INDEX_PLAN_RELATION_FIND,
	INDEX_PLAN_RELATION,
	INDEX_PLAN_RELATION_AT,
	INDEX_PLAN_RELATION_OF,
	INDEX_PLAN_STATEMENT,
	INDEX_PLAN_EVENT,
	INDEX_PLAN_SUBJECT,
	INDEX_PLAN_DISCLOSURE,
	INDEX_PLANS
} IndexPlan;

extern bool trail_index_statement_enter(const char *node);
extern const char *trail_index_statement_node(void);

/* Runs a statement; returns the rows it gave or touched.  nulls marks NULLs ('n'). */
extern uint64 trail_index_statement_run(IndexPlan plan, Datum *values, const char *nulls,
										int expected);

/* A column of the first row that the last statement gave; never NULL. */
extern Datum trail_index_statement_value(int column);

/* ---- index_write.c: what records say, but for disclosures ---- */

extern void trail_index_write_entry(const TrailIndexEntry *entry);
/* The number of the description that a disclosure refers to.  Raises WD303. */
extern int64 trail_index_write_relation_of(const TrailIndexEntry *entry);
/* Numbers of descriptions are remembered; after a rollback they may be wrong. */
extern void trail_index_write_forget(void);
extern Datum trail_index_write_int2_array(const int16 *numbers, int n);

/* ---- index_fold.c: one batch from the trail into the tables ---- */

/*
 * Folds records from the index's position on, in the current transaction, until
 * the trail's end or a batch is full.  Returns false where this database has no
 * extension; more tells whether to go on at once.
 */
extern bool trail_index_fold(bool *more);

/* Since when this database's legal holds need evidence, as far as there is any. */
extern TimestampTz trail_index_prune_held(void);

/* Removes from the index what was pruned, in the current transaction. */
extern void trail_index_prune(TrailPosition cut);

/* Empties the index in the current transaction; it is then made again. */
extern void trail_index_fold_restart(void);

/* How far the index is in a node's trail; zeros: it has not met it. */
typedef struct TrailIndexReached
{
	TrailPosition position;
	TrailPosition pruned; /* what is before it was removed */
	bool stuck;			  /* what follows can't be read */
	uint64 tries;		  /* how often that was met */
} TrailIndexReached;

/* The same as seen by a snapshot. */
extern TrailIndexReached trail_index_fold_reached(Snapshot snapshot, const char *node);

/* ---- prune.c: removing what is older than ward.retention ---- */

extern Size trail_prune_shmem_size(void);
extern void trail_prune_shmem_init(LWLock *lock);
/* Is it time to look again?  For the launcher; wait: milliseconds until then. */
extern bool trail_prune_due(long *wait);
extern PGDLLEXPORT void ward_trail_pruner(Datum arg);

#endif /* WARD_TRAIL_INDEX_INT_H */
