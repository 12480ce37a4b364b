/*
 * witness_int.h
 *		Shared by the files of the witness layer; upper layers include witness.h.
 */
#ifndef WARD_WITNESS_INT_H
#define WARD_WITNESS_INT_H

#include "access/attnum.h"
#include "nodes/bitmapset.h"
#include "nodes/plannodes.h"

#include "seal/seal.h"
#include "trail/trail.h"
#include "witness/witness.h"

/* ---- setting.c: GUCs ---- */

extern bool witness_setting_capture;
extern int witness_setting_small_aggregate;
extern int witness_setting_capture_memory; /* kB */

/* ---- watch.c: which tables are watched, cached per backend ---- */

/*
 * A watched table.  Entries are counted: a statement pins what it uses, so that
 * an invalidation in the middle of it replaces the cache's entry but does not
 * free the one in use.
 */
typedef struct WitnessRelation
{
	Oid relid;
	int refcount;
	int nsubjects;				 /* subject columns, at least 1 */
	AttrNumber *subject_attnums; /* in this relation's own numbering */
	Oid *subject_types;			 /* INT2OID, INT4OID or INT8OID */
	SealKeyId *column_keys;		 /* by attnum - 1; SEAL_KEY_NONE for a clear column */
	int natts;
	TrailRelation trail;
} WitnessRelation;

/* Does this database have the extension and any watched table?  Cheap. */
extern bool witness_watch_any(void);

/*
 * The watched relation behind a table, partition or inheritance child (whose
 * parent may be what is watched), or NULL.  Pinned; release when done.  Needs a
 * transaction.
 */
extern WitnessRelation *witness_watch_pin(Oid relid);
extern void witness_watch_release(WitnessRelation *relation);

/* ---- columns.c: what a statement refers to ---- */

/*
 * Columns of the relation with this range table index that the statement refers
 * to (attnums, ascending; whole-row references count as all), as a palloc'd
 * bitmap offset by FirstLowInvalidHeapAttributeNumber.
 */
extern Bitmapset *witness_columns_used(const PlannedStmt *stmt, Index rti,
									   const WitnessRelation *relation);

/* ---- normalise.c ---- */

/*
 * The statement's text without any literal or comment, palloc'd: every constant
 * becomes $n.  Purely lexical, so that it can't miss one; NULL where the text
 * can't be scanned (then no text is recorded at all).
 */
extern char *witness_normalise(const char *text);

/* ---- capture.c / place.c: the executor's side ---- */

/* Called by hooks.c. */
#endif /* WARD_WITNESS_INT_H */
