/*
 * trail.h
 *		Layer 1, the only header of it that other layers include.
 *
 * The trail is the append-only evidence: what a call here has returned from is
 * in the kernel (ward.durability = write) or on disk (fsync), whatever becomes of
 * the transaction.  Every function that appends raises an error of class WD3xx
 * when it can't write, and the caller must let it stop the statement (I2).
 *
 * Functions that append may be called inside or outside a transaction, also
 * while one is aborting.  They take one LWLock, allocate no shared memory, do no
 * catalog access, and need no snapshot.
 */
#ifndef WARD_TRAIL_H
#define WARD_TRAIL_H

#include "core/core.h"

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

/* ----------------------------------------------------------------
 * Positions and kinds.  The numbers are on disk for ever.
 * ----------------------------------------------------------------
 */

/* Number of a record in this node's trail: its leaf in the tree, from 0. */
typedef uint64 TrailPosition;

#define TRAIL_POSITION_INVALID PG_UINT64_MAX

typedef enum TrailKind
{
	TRAIL_KIND_CONTEXT = 1,	   /* who: session, role, client, actor */
	TRAIL_KIND_RELATION = 2,   /* a watched relation's name and columns */
	TRAIL_KIND_STATEMENT = 3,  /* a fingerprint's normalised text */
	TRAIL_KIND_DISCLOSURE = 4, /* whose data a statement disclosed */
	TRAIL_KIND_EVENT = 5,	   /* anything else: keys, grants, watching, gaps */
	TRAIL_KIND_SUBJECT = 6,	   /* keys behind the numbers of subjects */
	TRAIL_KIND_CHECKPOINT = 7  /* the root of all records before it, signed */
} TrailKind;

/* The highest number above. */
#define TRAIL_KIND_LAST TRAIL_KIND_CHECKPOINT

/* How the subjects were disclosed (DESIGN section 7). ROW alone is certain. */
typedef enum TrailManner
{
	TRAIL_MANNER_ROW = 1,		/* the row, or values of it, left or was written */
	TRAIL_MANNER_AGGREGATE = 2, /* it fed an aggregate, DISTINCT or window */
	TRAIL_MANNER_INFLUENCE = 3, /* it decided which rows, or their order */
	TRAIL_MANNER_EXISTENCE = 4, /* a constraint's answer gave it away */
	TRAIL_MANNER_ALL = 5,		/* a path that can't be narrowed: no subject set */
	TRAIL_MANNER_WRITE = 6		/* inserted, updated or deleted */
} TrailManner;

/* ----------------------------------------------------------------
 * Subject sets (subject_set.c): sets of int64.
 *
 * A two-level bitmap for dense keys and a hash set for the others; serialised as
 * runs or delta-varints, whichever is smaller.  Lives in the memory context given
 * at creation.  Adding never frees; memory is reported so that the owner can
 * flush a set that outgrows its budget.
 * ----------------------------------------------------------------
 */
typedef struct TrailSubjectSet TrailSubjectSet;

/*
 * How a set begins: the bitmap that was added to last, for the executor's innermost
 * loop.  What is added through it counts at the set's next other use.
 */
typedef struct TrailSubjectWindow
{
	int64 number; /* subject >> TRAIL_SUBJECT_WINDOW; PG_INT64_MIN: none is open */
	uint64 *words;
	uint64 added;
} TrailSubjectWindow;

#define TRAIL_SUBJECT_WINDOW 12

extern TrailSubjectSet *trail_subject_set_create(MemoryContext context);
/* True when the subject was not yet in the set. */
extern bool trail_subject_set_add(TrailSubjectSet *set, int64 subject);
/* Adds a subject if that can be done at once; false: trail_subject_set_add() must. */
static inline bool
trail_subject_set_add_near(TrailSubjectSet *set, int64 subject)
{
	TrailSubjectWindow *window = (TrailSubjectWindow *) set;
	uint64 bit = UINT64CONST(1) << (subject & 63);
	uint64 *word;

	if (subject >> TRAIL_SUBJECT_WINDOW != window->number)
		return false;
	word = &window->words[(subject & ((1 << TRAIL_SUBJECT_WINDOW) - 1)) >> 6];
	window->added += (*word & bit) == 0;
	*word |= bit;
	return true;
}
extern bool trail_subject_set_contains(const TrailSubjectSet *set, int64 subject);
extern uint64 trail_subject_set_count(const TrailSubjectSet *set);
extern Size trail_subject_set_memory(const TrailSubjectSet *set);
/* Empties the set but keeps it usable. */
extern void trail_subject_set_reset(TrailSubjectSet *set);
extern void trail_subject_set_serialize(const TrailSubjectSet *set, StringInfo into);
/* Adds what data holds; raises WD303 (trail corrupt) on malformed bytes. */
extern void trail_subject_set_merge(TrailSubjectSet *set, const char *data, Size len);
/* Calls visit for each subject in ascending order, until it returns false. */
extern void trail_subject_set_walk(const TrailSubjectSet *set,
								   bool (*visit)(int64 subject, void *arg), void *arg);
/* Calls visit for each run of a serialised set, both ends included, until it returns false;
 * raises WD303 on malformed bytes. */
extern void trail_subject_set_walk_bytes(const char *data, Size len,
										 bool (*visit)(int64 lo, int64 hi, void *arg), void *arg);

/* ----------------------------------------------------------------
 * The dictionary (subject_key.c): subjects whose keys are no integers.
 * ----------------------------------------------------------------
 */
#define TRAIL_FINGERPRINT_LENGTH 16

/* How a key is written down.  The numbers are on disk for ever. */
typedef enum TrailSubjectForm
{
	TRAIL_SUBJECT_UUID = 1,	 /* the fingerprint is the uuid; no more bytes */
	TRAIL_SUBJECT_SEALED = 2 /* the fingerprint is the envelope's tag; the envelope */
} TrailSubjectForm;

typedef struct TrailSubjectKey
{
	uint64 scope; /* trail_subject_key_scope() of class and form */
	const char *class;
	TrailSubjectForm form;
	int64 number;			  /* in sets */
	const uint8 *fingerprint; /* TRAIL_FINGERPRINT_LENGTH bytes, equal just where keys are */
	const char *data;
	Size length;
} TrailSubjectKey;

/* What tells keys of this class, form and database from others' in the filter. */
extern uint64 trail_subject_key_scope(const char *class, TrailSubjectForm form);

/* Is the key in the trail?  Says no, too, where that was forgotten. */
extern bool trail_subject_key_known(uint64 scope,
									const uint8 fingerprint[TRAIL_FINGERPRINT_LENGTH]);

/* Is it among those that the next disclosure brings along? */
extern bool trail_subject_key_pending(uint64 scope,
									  const uint8 fingerprint[TRAIL_FINGERPRINT_LENGTH]);

/* Sees to it that the key is in the trail before the next disclosure.  Raises WD3xx. */
extern void trail_subject_key_add(const TrailSubjectKey *key);

/* ----------------------------------------------------------------
 * Recording disclosures (record.c)
 * ----------------------------------------------------------------
 */

/*
 * What a record says of a watched relation.  The witness owns it and keeps it in
 * its cache; the trail writes it out once a session (and again when the witness
 * makes a new one, after DDL) and remembers that in described_at.
 */
typedef struct TrailRelation
{
	Oid relid;
	const char *schema;
	const char *name;
	int ncolumns; /* live columns */
	int16 *attnums;
	const char **columns;
	const char **keys; /* sealing key's name, or NULL for a clear column */
	int nsubjects;	   /* subject columns */
	int16 *subject_attnums;
	const char **classes;		/* subject class of each */
	TrailPosition described_at; /* set by the trail; INVALID when new */
} TrailRelation;

typedef struct TrailDisclosure
{
	Oid role;		   /* the statement ran as; InvalidOid: the current one */
	uint64 statement;  /* number of the statement in this session, from 1 */
	int64 fingerprint; /* query id, 0 when unknown */
	const char *text;  /* normalised, no literal; NULL when unknown */
	TrailRelation *relation;
	int16 subject_attnum;
	TrailManner manner;
	const char *reason; /* short word: why this manner; "" for ROW */
	int nclear;			/* columns seen in clear: never sealed, or opened */
	const int16 *clear;
	int nsealed; /* columns seen as ciphertext only */
	const int16 *sealed;
	uint64 opens;					 /* values opened for this statement so far */
	const TrailSubjectSet *subjects; /* NULL exactly with TRAIL_MANNER_ALL */
} TrailDisclosure;

/*
 * Writes a disclosure, and before it whatever it refers to that this session has
 * not yet written (context, relation, statement text).  Returns its position.
 */
extern TrailPosition trail_record_disclosure(const TrailDisclosure *disclosure);

/* Has this session written this fingerprint's text? */
extern bool trail_record_statement_known(int64 fingerprint);

/* An event: a kind ("key.created", "watch.added", "trail.gap", ...) and fields. */
typedef struct TrailField
{
	const char *name;
	const char *value; /* NULL is written as absent */
} TrailField;

extern TrailPosition trail_record_event(const char *kind, const TrailField *fields, int nfields);

/* The same for a process with no statement to fail: what stops it is logged. */
extern void trail_record_event_logged(const char *kind, const TrailField *fields, int nfields);

/*
 * One that concerns the whole cluster: every database's index takes it, but not the context
 * of another database, so that the fields must say who acted.
 */
extern TrailPosition trail_record_cluster_event(const char *kind, const TrailField *fields,
												int nfields);

/* Who acts now, as a context record says it; "" where unknown.  Lives until the next call. */
typedef struct TrailActing
{
	const char *session;
	const char *session_role;
	const char *client;
	const char *application;
	const char *actor;
	const char *database;
} TrailActing;

extern void trail_context_acting(TrailActing *acting);

/* This database's index is to take up at once what was recorded; never raises. */
extern void trail_index_hurry(void);

/* ----------------------------------------------------------------
 * Acting upon events (listen.c), wherever they were recorded on this server
 * ----------------------------------------------------------------
 */
typedef struct TrailHeard
{
	TrailPosition position;
	TimestampTz at;
	Oid database; /* InvalidOid: of the whole cluster */
	int nfields;
	const TrailField *fields;
} TrailHeard;

/* False: no more for now; this event is not taken and comes again. */
typedef bool (*TrailListener)(const TrailHeard *heard, void *arg);

/*
 * Hands events of a kind from a position on to a listener, in order, until the trail's end.
 * Returns where to go on.  The listener may not read the trail.  Raises WD3xx.
 */
extern TrailPosition trail_listen(TrailPosition from, const char *kind, TrailListener listener,
								  void *arg);

/* Whose trail it is, in hex.  Raises WD3xx. */
#define TRAIL_LISTEN_NODE 33
extern void trail_listen_node(char node[TRAIL_LISTEN_NODE]);

/*
 * Learns the name of a role while the catalog can be read, for records that are
 * written when it can't (a transaction that aborts).  Outside a transaction it does
 * nothing.  What parallel workers write is attributed to their leader's session.
 */
extern void trail_context_remember(Oid role);

/*
 * Whom the session acts for and how that is known, given what ward.actor claims.  The witness
 * sets it; it may not raise, allocate or read the catalog.
 */
extern const char *(*trail_context_actor)(const char *claimed, const char **source);

/* Whom this process acts for, as a context says it; constants, or until the next call. */
typedef struct TrailWho
{
	const char *session; /* of a parallel worker its leader's */
	const char *client;	 /* "" for a local socket */
	const char *actor;	 /* "" for nobody */
} TrailWho;

extern void trail_context_who(TrailWho *who);

/* ----------------------------------------------------------------
 * Reading it again (history.c)
 * ----------------------------------------------------------------
 */

/* A disclosure, with who was meant.  Valid until the next one. */
typedef struct TrailSeen
{
	TimestampTz at;
	const char *session;
	const char *authenticated; /* who logged in */
	const char *session_user;
	const char *role; /* the statement ran as */
	const char *actor;
	const char *client;
	const char *class;
	TrailManner manner;
	const char *reason;
	int16 subject_attnum;
	int nclear;
	const int16 *clear;
	int nsealed;
	const char *subjects; /* serialised; NULL with TRAIL_MANNER_ALL */
	Size length;
} TrailSeen;

/*
 * Calls see for each disclosure of this server's own trail in a database, since a time,
 * in order.  Needs a transaction.  Raises WD3xx.
 */
extern void trail_history_read(TimestampTz since, Oid database,
							   void (*see)(const TrailSeen *seen, void *arg), void *arg);

/* Position after the last record that has reached the kernel. */
extern TrailPosition trail_append_end(void);

/* hooks.c: GUCs, shared memory, background workers. Called once by _PG_init. */
extern void trail_init(void);

#endif /* WARD_TRAIL_H */
