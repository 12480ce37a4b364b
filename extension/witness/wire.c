/*
 * wire.c
 *		Nothing leaves before its evidence (I2).
 *
 * Messages to the client pass through PqCommMethods.  We stand before it and hold
 * rows back, up to about one send buffer, until their evidence is written: a short
 * result costs one record, a long one a record for each 8 kB.  Rows whose evidence
 * can't be written are dropped here and never reach the socket's buffer, where an
 * error message would push them out.
 *
 * Notices wait in the same line while anything watched is read: a function may quote
 * in one what it has just read.
 *
 * An ERROR raised here is raised between messages, so the protocol stays in step.
 * While an error is being reported nothing may be raised: then rows are let go if
 * all evidence is written (hooks.c sees to that when the executor fails), and
 * dropped if not.
 *
 * In a parallel worker the leader is the client: a wrapper around its receiver
 * writes the evidence of each tuple before it passes it on.
 *
 * State is private to the backend.
 */
#include "witness/witness_int.h"

#include "libpq/libpq.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* About the size of PostgreSQL's send buffer. */
#define WIRE_HELD 8192
/* How often the guard is asked whether rows may go on leaving: each so many of them. */
#define WIRE_LOOK 63

static const PQcommMethods *wire_next = NULL;
static StringInfoData wire_held = {0};
static uint32 wire_rows = 0;	  /* that came by */
static bool wire_notices = false; /* some of them are notices */

static void
witness_wire_drop(void)
{
	resetStringInfo(&wire_held);
	wire_notices = false;
}

/* See witness.h. */
void
witness_withhold(void)
{
	if (wire_held.data != NULL)
		witness_wire_drop();
}

/* Passes held messages on; their evidence is written. */
static int
witness_wire_release(void)
{
	int result = 0;
	int at = 0;

	while (at < wire_held.len && result == 0)
	{
		uint32 len;

		memcpy(&len, wire_held.data + at + 1, sizeof(len));
		result = wire_next->putmessage(wire_held.data[at], wire_held.data + at + 5, len);
		at += 5 + (int) len;
	}
	witness_wire_drop();
	return result;
}

/* Writes pending evidence; on failure drops what it covers, and raises. */
static void
witness_wire_evidence(void)
{
	if (!witness_capture_pending)
		return;
	PG_TRY();
	{
		witness_capture_write_all();
	}
	PG_CATCH();
	{
		if (wire_held.data != NULL)
			witness_wire_drop();
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static void
witness_wire_comm_reset(void)
{
	wire_next->comm_reset();
}

/*
 * May what is held go without more ado?  A notice may quote the row that is being
 * looked at, which no tap has seen yet.
 */
static bool
witness_wire_may_release(void)
{
	return wire_held.len > 0 && !witness_capture_pending &&
		   !(wire_notices && witness_capture_active());
}

static int
witness_wire_flush(void)
{
	/*
	 * Reached while an error is reported too, so nothing may be raised: rows whose
	 * evidence is pending wait for the message after them.
	 */
	if (witness_wire_may_release())
		(void) witness_wire_release();
	return wire_next->flush();
}

static int
witness_wire_flush_if_writable(void)
{
	if (witness_wire_may_release())
		(void) witness_wire_release();
	return wire_next->flush_if_writable();
}

static bool
witness_wire_is_send_pending(void)
{
	return wire_held.len > 0 || wire_next->is_send_pending();
}

static int
witness_wire_putmessage(char type, const char *s, size_t len)
{
	/* Many rows about the same people leave no further record. */
	if ((type == 'D' || type == 'd') && (++wire_rows & WIRE_LOOK) == 0)
		witness_capture_run(NULL);
	if (likely(!witness_capture_pending && wire_held.len == 0 &&
			   !(type == 'N' && witness_capture_active())))
		return wire_next->putmessage(type, s, len);

	/* DataRow and CopyData wait for company; whatever else comes, they go first. */
	if (type == 'D' || type == 'd' || type == 'N')
	{
		uint32 length = (uint32) len;

		/* A notice may be about an error, and then must raise none. */
		if (type != 'N' && wire_held.len > 0 && wire_held.len + len > WIRE_HELD)
		{
			witness_wire_evidence();
			if (witness_wire_release() != 0)
				return EOF;
		}
		appendStringInfoCharMacro(&wire_held, type);
		appendBinaryStringInfo(&wire_held, (char *) &length, sizeof(length));
		appendBinaryStringInfo(&wire_held, s, (int) len);
		wire_notices |= type == 'N';
		return 0;
	}
	if (type == 'E')
	{
		if (witness_capture_pending)
			witness_wire_drop();
		else
			(void) witness_wire_release();
		return wire_next->putmessage(type, s, len);
	}
	/* The client's statement has ended, and with it whatever it had read. */
	if (type == 'Z')
		witness_capture_forgive();
	witness_wire_evidence();
	if (witness_wire_release() != 0)
		return EOF;
	return wire_next->putmessage(type, s, len);
}

/* Is anything held back? */
bool
witness_wire_holds(void)
{
	return wire_held.len > 0;
}

/* Writes what is pending, and lets go what waited for it. */
void
witness_wire_settle(void)
{
	witness_wire_evidence();
	if (witness_wire_release() == 0)
		(void) wire_next->flush();
}

static void
witness_wire_putmessage_noblock(char type, const char *s, size_t len)
{
	wire_next->putmessage_noblock(type, s, len);
}

static const PQcommMethods witness_wire_methods = {
	.comm_reset = witness_wire_comm_reset,
	.flush = witness_wire_flush,
	.flush_if_writable = witness_wire_flush_if_writable,
	.is_send_pending = witness_wire_is_send_pending,
	.putmessage = witness_wire_putmessage,
	.putmessage_noblock = witness_wire_putmessage_noblock};

/* Stands before the client's socket, once a backend. */
void
witness_wire_install(void)
{
	MemoryContext old;

	if (PqCommMethods == &witness_wire_methods || MyProcPort == NULL)
		return;
	old = MemoryContextSwitchTo(TopMemoryContext);
	initStringInfo(&wire_held);
	MemoryContextSwitchTo(old);
	wire_next = PqCommMethods;
	PqCommMethods = &witness_wire_methods;
}

/* ---- parallel workers: the leader is the client ---- */

typedef struct WireReceiver
{
	DestReceiver pub;
	DestReceiver *to;
} WireReceiver;

static bool
witness_wire_receive(TupleTableSlot *slot, DestReceiver *self)
{
	DestReceiver *to = ((WireReceiver *) self)->to;

	witness_wire_evidence();
	return to->receiveSlot(slot, to);
}

static void
witness_wire_startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
	DestReceiver *to = ((WireReceiver *) self)->to;

	to->rStartup(to, operation, typeinfo);
}

static void
witness_wire_shutdown(DestReceiver *self)
{
	DestReceiver *to = ((WireReceiver *) self)->to;

	to->rShutdown(to);
}

static void
witness_wire_destroy(DestReceiver *self)
{
	DestReceiver *to = ((WireReceiver *) self)->to;

	to->rDestroy(to);
}

/* A receiver that writes pending evidence before it passes a tuple on. */
DestReceiver *
witness_wire_worker(DestReceiver *to)
{
	WireReceiver *receiver = palloc0(sizeof(WireReceiver));

	receiver->pub.receiveSlot = witness_wire_receive;
	receiver->pub.rStartup = witness_wire_startup;
	receiver->pub.rShutdown = witness_wire_shutdown;
	receiver->pub.rDestroy = witness_wire_destroy;
	receiver->pub.mydest = to->mydest;
	receiver->to = to;
	return &receiver->pub;
}
