/*
 * write_int.h
 *		Shared by the files that record writes which no plan shows.
 */
#ifndef WARD_WITNESS_WRITE_INT_H
#define WARD_WITNESS_WRITE_INT_H

#include "witness/witness_int.h"

#include "utils/hsearch.h"
#include "utils/relcache.h"

/* Subjects of one column of a watched relation. */
typedef struct WriteSet
{
	struct WriteSet *next;
	WitnessRelation *watched; /* pinned */
	int subject;
	TrailSubjectSet *pending;
	uint8 nobody; /* WITNESS_NOBODY_*, pending */
} WriteSet;

/* A relation that is listened to. */
typedef struct WriteTarget
{
	Oid relid;				   /* hash key */
	WitnessRelation *relation; /* pinned */
	Relation held;			   /* open; NULL in the apply worker */
	WriteSet **sets;		   /* by subject column */
	bool lost;				   /* rows may have passed unheard */
} WriteTarget;

/* One COPY, or the life of an apply worker. */
typedef struct WriteListener
{
	struct WriteListener *outer;
	MemoryContext memory;
	HTAB *targets;
	WriteSet *sets;
	WitnessFollowCache *follows;
	Oid root;	  /* of COPY */
	List *names;  /* COPY's columns, or NIL for all */
	bool removes; /* nobody has seen a column by this */
	bool unnamed; /* somebody's key could not be read */
	const char *reason;
	uint64 statement;
	int64 fingerprint;
	char *text;
} WriteListener;

/* ---- write.c ---- */

extern WriteListener *witness_write_copying; /* COPY's, innermost first */
extern WriteListener *witness_write_applying;

extern WriteListener *witness_write_listener(const char *reason, int64 fingerprint,
											 const char *text);
extern WriteTarget *witness_write_target(WriteListener *listener, Oid relid,
										 WitnessRelation *relation);
extern WriteSet *witness_write_set(WriteListener *listener, WitnessRelation *watched, int subject);
extern void witness_write_release(WriteListener *listener);
extern void witness_write_wrap(Relation rel);
extern void witness_write_unwrap(Relation rel);
extern bool witness_write_listens(Relation rel);
extern void witness_write_record(WriteListener *listener, const WriteSet *set, TrailManner manner);
extern void witness_write_flush(WriteListener *listener);
extern void witness_write_everybody(WriteListener *listener, WitnessRelation *relation);
extern bool witness_write_read(WriteListener *listener, WriteTarget *target, bool ours);

/* ---- apply.c ---- */

extern void witness_apply_init(void);

#endif /* WARD_WITNESS_WRITE_INT_H */
