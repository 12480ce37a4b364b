/*
 * defer.c
 *		When what a function has read may be written down later than at once.
 *
 * A plpgsql loop comes out of the executor for each few rows.  A record for each of
 * these visits would cost more than the loop, and I2 asks for evidence before rows
 * leave the server, not before a function sees them.  So it may wait, until whatever
 * comes first of these ways out, each of which writes everything pending first:
 *
 *	- any message to the client: wire.c holds rows and notices behind their evidence;
 *	- an error: hooks.c catches it in the frame around the function, and only within
 *	  such a frame is anything deferred at all.  One that a function catches itself ends
 *	  the loop's capture; what that can't write is owed (capture.c);
 *	- a statement that writes, locks rows, or reads a foreign table, and any utility
 *	  statement (COPY, NOTIFY, SET, ...): hooks.c, as it starts;
 *	- a function that is neither written in SQL or a trusted language, whose code can only
 *	  come through here, nor free of side effects: dblink, setval, lo_put, plperlu, ...
 *	  From where one is made ready to be called until the transaction ends, nothing waits.
 *	  Whoever declares such a function as stable is a superuser (SECURITY.md);
 *	- the transaction's commit, which shows what was written to others;
 *	- the loop's end.
 *
 * In a parallel worker nothing waits: its messages do not pass wire.c.
 *
 * State is private to the backend.
 */
#include "witness/witness_int.h"

#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "utils/syscache.h"

/* A function with side effects of its own is in use in this transaction. */
static bool defer_hasty = false;

/* Functions of the server itself that have none; what they are does not change. */
static uint8 defer_harmless[FirstGenbkiObjectId / 8];

static void
witness_defer_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			witness_capture_write_all();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			defer_hasty = false;
			witness_capture_forgive();
			break;
		default:
			break;
	}
}

/* Called once, from witness_init(). */
void
witness_defer_init(void)
{
	RegisterXactCallback(witness_defer_transaction, NULL);
}

/* May what a function has read wait?  The caller is in a frame that catches errors. */
bool
witness_defer_allowed(void)
{
	return !defer_hasty && !IsParallelWorker();
}

static bool
witness_defer_trusted(Oid language)
{
	HeapTuple tuple = SearchSysCache1(LANGOID, ObjectIdGetDatum(language));
	bool trusted = false;

	if (HeapTupleIsValid(tuple))
	{
		trusted = ((Form_pg_language) GETSTRUCT(tuple))->lanpltrusted;
		ReleaseSysCache(tuple);
	}
	return trusted;
}

/* A function is made ready to be called.  Raises WD3xx. */
void
witness_defer_function(Oid function)
{
	HeapTuple tuple;
	bool harmless;

	if (defer_hasty)
		return;
	if (function < FirstGenbkiObjectId && (defer_harmless[function / 8] >> (function % 8)) & 1)
		return;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return;
	harmless = ((Form_pg_proc) GETSTRUCT(tuple))->provolatile != PROVOLATILE_VOLATILE ||
			   witness_defer_trusted(((Form_pg_proc) GETSTRUCT(tuple))->prolang);
	ReleaseSysCache(tuple);
	if (harmless)
	{
		if (function < FirstGenbkiObjectId)
			defer_harmless[function / 8] |= 1 << (function % 8);
		return;
	}
	defer_hasty = true;
	witness_capture_write_all();
}

/* Can nothing leave by this statement but by its rows? */
bool
witness_defer_harmless(const PlannedStmt *stmt)
{
	ListCell *lc;

	if (stmt->commandType != CMD_SELECT || stmt->hasModifyingCTE || stmt->rowMarks != NIL)
		return false;
	foreach (lc, stmt->rtable)
		if (lfirst_node(RangeTblEntry, lc)->rtekind == RTE_RELATION &&
			lfirst_node(RangeTblEntry, lc)->relkind == RELKIND_FOREIGN_TABLE)
			return false;
	return true;
}
