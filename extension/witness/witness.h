/*
 * witness.h
 *		Layer 3, the only header of it that upper layers include.
 *
 * The guard (layer 4) acts on what the witness sees, before rows leave.  It is called
 * through the pointer below, which it sets in its init.
 */
#ifndef WARD_WITNESS_H
#define WARD_WITNESS_H

#include "core/core.h"

#include "nodes/nodes.h"
#include "trail/trail.h"

/* People of one class whom a statement shows in one manner: the guard's view of a set. */
typedef struct WitnessShown
{
	int64 allowance; /* rows that may pass before the guard is asked; it sets this */
	CmdType command; /* what the statement does */
	TrailManner manner;
	const char *class;
	const TrailRelation *relation; /* that is watched */
	bool clear;					   /* it shows columns in clear, as things stand */
	bool sealed;				   /* it refers to sealed columns */
	bool openable;				   /* and its role may open one */
	bool returns;				   /* written rows, that the statement returns */
	MemoryContext memory;		   /* lives until end() has returned */
	struct GuardShown *guard;	   /* the guard's own */
} WitnessShown;

typedef struct WitnessGuard
{
	/* A statement over watched tables starts.  May raise. */
	void (*start)(void);

	/*
	 * It is run, also further (a cursor), and every few of its rows that leave, whether they
	 * are about somebody new or not.  May raise.
	 */
	void (*run)(CmdType command);

	/* It will show people: called once for each set.  May raise. */
	void (*begin)(WitnessShown *shown);

	/*
	 * The allowance is used up, and this person is not yet in the set, which holds those
	 * who are not yet recorded (NULL: nobody).  Raises, and the row does not leave.
	 */
	void (*next)(WitnessShown *shown, int64 subject, const TrailSubjectSet *pending);

	/*
	 * A disclosure is about to be recorded, in this manner, before its rows leave.  Raises
	 * where they may not.  Where the statement has failed already, nothing may be raised,
	 * and false says that they may not.
	 */
	bool (*write)(WitnessShown *shown, const TrailDisclosure *disclosure, bool failed);

	/* The statement has ended, well or not.  Never raises. */
	void (*end)(WitnessShown *shown);
} WitnessGuard;

extern const WitnessGuard *witness_guard;

/* Drops the rows that are held in front of the client: before an error that refuses them. */
extern void witness_withhold(void);

extern void witness_init(void);

#endif /* WARD_WITNESS_H */
