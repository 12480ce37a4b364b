/*
 * witness_int.h
 *		Shared by the files of the witness layer; upper layers include witness.h.
 */
#ifndef WARD_WITNESS_INT_H
#define WARD_WITNESS_INT_H

#include "core/core.h"

#include "access/attnum.h"
#include "executor/execdesc.h"
#include "nodes/execnodes.h"
#include "nodes/bitmapset.h"
#include "nodes/parsenodes.h"
#include "nodes/pathnodes.h"
#include "nodes/plannodes.h"
#include "tcop/dest.h"

#include "seal/seal.h"
#include "trail/trail.h"
#include "witness/witness.h"

/* ---- setting.c: GUCs ---- */

extern void witness_setting_init(void);
extern bool witness_setting_capture;
extern int witness_setting_small_aggregate;
extern int witness_setting_capture_memory; /* kB */
#ifdef WARD_MUTATION
extern char *witness_setting_mutation; /* what test/oracle/mutate switches off */
#endif
extern int witness_setting_naming_limit; /* kB */

/* ---- watch.c: which tables are watched, cached per backend ---- */

/*
 * A watched table.  Entries are counted: a statement pins what it uses, so that
 * an invalidation in the middle of it replaces the cache's entry but does not
 * free the one in use.
 */
/* How the values of a subject column name people. */
typedef struct WitnessSubject
{
	const char *class;
	Oid type;
	SealKeyId key;				  /* what a text key is sealed under for the trail */
	uint64 scope;				  /* of the dictionary, where the type is no integer */
	bool plain;					  /* the value is the subject's number */
	struct WitnessFollow *follow; /* the value leads to the people of another table's row */
} WitnessSubject;

/* Where a column leads that refers to another watched table. */
typedef struct WitnessFollow
{
	Oid relid;
	AttrNumber attnum; /* that the column refers to */
	int nends;		   /* columns there that name people, or lead on */
	AttrNumber *attnums;
	WitnessSubject *ends;
} WitnessFollow;

typedef struct WitnessRelation
{
	Oid relid;
	int refcount;
	MemoryContext memory;
	struct WitnessRelation *watched; /* itself, or the ancestor that is watched */
	int nsubjects;					 /* subject columns, at least 1 */
	AttrNumber *subject_attnums;	 /* in this relation's own numbering */
	Oid *subject_types;
	WitnessSubject *subjects; /* shared with descendants */
	int natts;
	/* Of a relation that is watched itself: */
	SealKeyId *column_keys; /* by attnum - 1; SEAL_KEY_NONE for a clear column */
	TrailRelation trail;
} WitnessRelation;

extern void witness_watch_init(void);

/* Does this database have the extension and any watched table?  Cheap. */
extern bool witness_watch_any(void);

/*
 * The watched relation behind a table, partition or inheritance child (whose
 * parent may be what is watched), or NULL.  Pinned; release when done.  Needs a
 * transaction.
 */
extern WitnessRelation *witness_watch_pin(Oid relid);
extern void witness_watch_release(WitnessRelation *relation);

/* Does a watch name this column?  Says so also where the watch no longer fits its table. */
extern bool witness_watch_names(Oid relid, const char *column);

/* All that are watched, partitions and inheritance children too; palloc'd. */
extern List *witness_watch_relids(void);

/* ---- columns.c: what a statement refers to ---- */

/* Columns of a watched relation that a statement refers to. */
extern Bitmapset *witness_columns_used(const PlannedStmt *stmt, const WitnessRelation *relation);

/* ---- normalise.c ---- */

/*
 * The statement's text without any literal or comment, palloc'd: every constant
 * becomes $n.  Purely lexical, so that it can't miss one; NULL where the text
 * can't be scanned (then no text is recorded at all).
 */
extern char *witness_normalise(const char *text);

/* ---- capture.c: what one statement has disclosed so far ---- */

/* Subjects of one column of one relation, disclosed in one manner for one reason. */
typedef struct WitnessSet
{
	struct WitnessSet *next;
	WitnessShown shown; /* what the guard knows of it */
	WitnessRelation *relation;
	int subject;
	TrailManner manner;
	const char *reason;
	uint64 *groups; /* rows that the grouping node above has returned, or NULL */
	TrailSubjectSet *pending;
	TrailSubjectSet *written; /* of this statement, so as not to write it twice */
	bool all_pending;		  /* with TRAIL_MANNER_ALL */
	bool all_written;
	bool small_written; /* written as row, because small */
	bool refused;		/* by the guard, as it was to be written */
	uint8 nobody;		/* WITNESS_NOBODY_*, pending */
	uint8 nobody_written;
	bool have_last;
	int64 last;
} WitnessSet;

/* Why a row that should name people named none. */
#define WITNESS_NOBODY_NULL 1
#define WITNESS_NOBODY_DANGLING 2

typedef struct WitnessFollowCache WitnessFollowCache;

typedef struct WitnessColumns
{
	struct WitnessColumns *next;
	WitnessRelation *relation;
	int count;
	int16 *attnums;
	SealKeyId *keys;
	uint64 *opens_before;
} WitnessColumns;

typedef struct WitnessCapture
{
	struct WitnessCapture *below; /* of this backend, innermost first */
	MemoryContext memory;
	QueryDesc *query;
	Oid role;
	uint64 statement;
	int64 fingerprint;
	char *text;
	WitnessSet *sets;
	WitnessColumns *columns;
	WitnessFollowCache *follows;
	struct WitnessTapNode *nodes;
	struct WitnessPoint *points;
	struct WitnessModify *modifies;
	bool dirty;
	bool existence; /* a foreign key's check: nothing but existence is told */
	uint64 opens_before;
	MemoryContextCallback callback;
} WitnessCapture;

extern uint64 witness_capture_next_statement(void);
extern void witness_capture_start(QueryDesc *query);
extern WitnessCapture *witness_capture_of(QueryDesc *query);
extern void witness_capture_pin(WitnessCapture *capture, WitnessRelation *relation);
extern WitnessSet *witness_capture_set(WitnessCapture *capture, WitnessRelation *relation,
									   int subject, TrailManner manner, const char *reason,
									   uint64 *groups);
extern void witness_capture_all(WitnessCapture *capture, WitnessRelation *relation,
								TrailManner manner, const char *reason);
extern void witness_capture_add(WitnessCapture *capture, WitnessSet *set, int64 subject);
extern void witness_capture_nobody(WitnessCapture *capture, WitnessSet *set, uint8 why);
extern void witness_capture_write(WitnessCapture *capture);
extern void witness_capture_write_all(void);
extern void witness_capture_failed(WitnessCapture *capture);
extern bool witness_capture_pending;
extern bool witness_capture_active(void);
extern void witness_capture_run(const WitnessCapture *capture);
extern void witness_capture_finish(WitnessCapture *capture);

extern void witness_capture_forgive(void);

/* ---- defer.c: when evidence may wait ---- */

extern void witness_defer_init(void);
extern bool witness_defer_allowed(void);
extern void witness_defer_function(Oid function);
extern bool witness_defer_harmless(const PlannedStmt *stmt);

/* ---- tap.c: where the executor is listened to ---- */

typedef enum WitnessSource
{
	WITNESS_SOURCE_RESULT, /* the slot that the node returns */
	WITNESS_SOURCE_SCAN,   /* its scan slot */
	WITNESS_SOURCE_CHILD,  /* a subquery scan's child tuple, before its projection */
	WITNESS_SOURCE_HEAP,   /* the heap tuple behind an index-only scan */
	WITNESS_SOURCE_OUTER,  /* the outer tuple that it has just projected */
	WITNESS_SOURCE_INNER
} WitnessSource;

typedef struct WitnessTap
{
	struct WitnessTap *next;
	WitnessSource source;
	AttrNumber attnum;
	Oid type;
	bool plain; /* the column holds the subject's number */
	WitnessSet *set;
} WitnessTap;

typedef struct WitnessTapNode
{
	PlanState *state; /* hash key */
	ExecProcNodeMtd original;
	WitnessCapture *capture;
	WitnessTap *taps;
	const EState *estate;
	struct WitnessModify *modify; /* this node writes or locks */
	struct WitnessModify *feeds;  /* the node above does */
	uint64 rows;				  /* returned so far */
	struct WitnessTapNode *next;
} WitnessTapNode;

/* Where the row stands that a node works on, should it fail in the middle. */
typedef struct WitnessPoint
{
	struct WitnessPoint *next;
	PlanState *state;
	const EState *estate;
	WitnessSource source;
	AttrNumber attnum;
	Oid type;
	WitnessRelation *relation;
	int subject;
} WitnessPoint;

extern void witness_tap_point(WitnessCapture *capture, PlanState *state, WitnessSource source,
							  AttrNumber attnum, Oid type, WitnessRelation *relation, int subject);
extern void witness_tap_error(WitnessCapture *capture);
extern bool witness_tap_possible(PlanState *state);
extern WitnessTapNode *witness_tap_node(WitnessCapture *capture, PlanState *state);
extern void witness_tap_add(WitnessCapture *capture, PlanState *state, WitnessSource source,
							AttrNumber attnum, Oid type, WitnessSet *set);
extern void witness_tap_conflict(WitnessCapture *capture, ResultRelInfo *target, WitnessSet *set,
								 AttrNumber attnum, Oid type);
extern void witness_tap_scanned(WitnessCapture *capture, ScanState *scan, WitnessSet *set,
								AttrNumber attnum, Oid type);
extern void witness_tap_match(WitnessCapture *capture, JoinState *join, WitnessSource source,
							  AttrNumber attnum, Oid type, WitnessSet *set);
extern void witness_tap_settle(WitnessCapture *capture, PlanState *state,
							   struct WitnessModify *modify, PlanState *child);
extern TupleTableSlot *witness_tap_slot(PlanState *state, WitnessSource source,
										TupleTableSlot *returned);
extern void witness_tap_forget(WitnessCapture *capture, const EState *estate);
extern void witness_tap_hear(WitnessCapture *capture, WitnessSet *set, TupleTableSlot *slot,
							 AttrNumber attnum, Oid type);
extern void witness_tap_hear_failed(WitnessCapture *capture, WitnessSet *set, TupleTableSlot *slot,
									AttrNumber attnum);

/* ---- subject.c: from a column's value to the person that it names ---- */

/* Types that can name people. */
extern bool witness_subject_type(Oid type);
extern void witness_subject_describe(WitnessSubject *subject);

/* Called as a statement starts, so that it may fail without everybody being suspected. */
extern void witness_subject_prepare(const WitnessSubject *subject);

/* The number that stands for a value in sets; its key is in the dictionary then. */
extern int64 witness_subject_number(const WitnessSubject *subject, Datum value);

/* Notes whom a value names.  Raises WD1xx, WD2xx where its key can't be sealed, WD3xx. */
extern void witness_subject_note(WitnessCapture *capture, WitnessSet *set, Datum value,
								 bool isnull);

/*
 * The same for a statement that has failed, where the catalog must not be read; false
 * where it can't be told without.
 */
extern bool witness_subject_note_failed(WitnessCapture *capture, WitnessSet *set, Datum value,
										bool isnull);

/* ---- follow.c: people whom a row names through another table; as in subject.c ---- */

extern void witness_follow_note(WitnessCapture *capture, WitnessSet *set, Datum value, bool isnull);
extern bool witness_follow_note_failed(WitnessCapture *capture, WitnessSet *set, Datum value,
									   bool isnull);

/*
 * The same where there is no capture: adds people to a set and says who could not be
 * found (WITNESS_NOBODY_*).  What is kept in caches holds for one snapshot's time.
 */
extern uint8 witness_follow_add(WitnessFollowCache **caches, MemoryContext memory,
								const WitnessSubject *subject, Datum value,
								TrailSubjectSet *people);
extern void witness_follow_forget(WitnessFollowCache *caches);

/* ---- copies.c: watched rows in tables that are not watched ---- */

typedef struct WitnessCopies
{
	struct WitnessCopies *outer;
	List *sources; /* oids of watched relations */
} WitnessCopies;

extern void witness_copies_finished(WitnessCapture *capture);
extern void witness_copies_begin(WitnessCopies *frame, Node *statement);
extern void witness_copies_end(WitnessCopies *frame, Node *statement, bool failed);

/* ---- detach.c: tables that were watched through a parent and leave it ---- */

typedef struct WitnessDetach
{
	List *children; /* oids, and of each the parent that it may leave */
	List *parents;
} WitnessDetach;

extern void witness_detach_before(WitnessDetach *detach, Node *statement);
extern void witness_detach_after(const WitnessDetach *detach);

/* ---- place.c: which taps a plan needs ---- */

extern void witness_place(WitnessCapture *capture);
extern void witness_place_write_recheck(WitnessCapture *capture, PlanState *state);
extern void witness_place_everybody(WitnessCapture *capture, const char *reason);

/* ---- modify.c: what became of rows that a node writes or locks ---- */

typedef struct WitnessModify WitnessModify;

extern WitnessModify *witness_modify_start(WitnessCapture *capture, PlanState *state);
extern void witness_modify_flow(WitnessModify *modify, WitnessSource source, AttrNumber attnum,
								Oid type, WitnessSet *acted, bool tapped);
extern void witness_modify_stored(WitnessModify *modify);
extern void witness_modify_recheck_ahead(WitnessModify *modify);
extern void witness_modify_settle(WitnessModify *modify);
extern void witness_modify_hand(WitnessModify *modify, TupleTableSlot *row);
extern void witness_modify_error(WitnessCapture *capture);

/* ---- conflict.c: whose row a constraint tells of ---- */

extern void witness_conflict_nothing(WitnessCapture *capture, ModifyTableState *state);
extern void witness_conflict_error(WitnessCapture *capture);
extern void witness_conflict_deferrable(WitnessCapture *capture, ResultRelInfo *target,
										WitnessRelation *relation, CmdType operation);

/* ---- plan.c: help from the planner ---- */

extern void witness_plan_prepare(Query *query);
extern void witness_plan_table(PlannerInfo *root, Oid relid, RelOptInfo *table);

/* ---- wire.c: nothing leaves before its evidence ---- */

extern void witness_wire_install(void);
extern bool witness_wire_holds(void);
extern void witness_wire_settle(void);
extern DestReceiver *witness_wire_worker(DestReceiver *to);

/* ---- write.c, copy.c, apply.c, removal.c: writes that no plan shows ---- */

extern void witness_write_init(void);
extern void witness_copy_begin(Oid root, List *names, int64 fingerprint, const char *text);
extern int witness_copy_depth(void);
extern void witness_copy_end(int depth, bool failed);
extern void witness_removal_name(Oid relid, const char *reason, int64 fingerprint,
								 const char *text);
extern void witness_removal_truncate(const TruncateStmt *truncate, int64 fingerprint,
									 const char *text);

/* ---- utility.c ---- */

/* The utility statement that is running, innermost. */
typedef struct WitnessUtility
{
	int64 fingerprint;
	const char *source; /* as it was sent; never recorded as it is */
	int location;
	int length;
	bool explains;
} WitnessUtility;

extern WitnessUtility witness_utility_running;
extern void witness_utility_before(PlannedStmt *statement, const char *source);
extern void witness_utility_dropping(Oid class, Oid object, int subobject);
extern void witness_utility_all(WitnessRelation *relation, const char *reason);

/* ---- evaluate.c: functions that maintenance runs over every row ---- */

extern void witness_evaluate_table(const RangeVar *name);
extern void witness_evaluate_vacuum(const VacuumStmt *vacuum);

/* ---- raw.c: paths that show no rows ---- */

struct Port;

extern void witness_raw_init(void);
extern void witness_raw_record(const char *kind, const TrailField *more, int count);
extern void witness_raw_function(Oid function);
extern void witness_raw_plan(const PlannedStmt *stmt);
extern void witness_raw_utility(const Node *node);
extern void witness_raw_capture(void);
extern void witness_raw_walsender(const struct Port *port);

/* ---- actor.c: who the end user is ---- */

extern void witness_actor_init(void);

/* ---- audit.c: what else is told ---- */

extern void witness_audit_utility(const Node *node);
extern void witness_audit_made(const Node *node);
extern void witness_audit_setting(const VariableSetStmt *set, const char *how);
extern void witness_audit_refused(const PlannedStmt *stmt);
extern void witness_audit_session(void);
extern void witness_audit_login_failed(const struct Port *port);

#endif /* WARD_WITNESS_INT_H */
