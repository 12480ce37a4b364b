/*
 * alert.c
 *		Raising an alert, and what the guard process has done about alerts.
 *
 * Invariants:
 * - The alert is in the trail before anything else happens (I3): rows, notifications and
 *   the command are made from that event, so that a crash or a rollback loses none of them.
 * - Whoever raises an alert never waits for anybody who is told of it.
 * - in_flight is raised before the event is written and lowered after end has moved, so that
 *   the guard process knows that there is nothing between what it has read and the trail's
 *   end.  A process that dies in between leaves it raised: the guard then reads the whole
 *   trail for nothing, and misses none.
 *
 * Locks: GUARD_LOCK_ALERTS guards latch and status.
 */
#include "guard/answer_int.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "catalog/pg_type.h"

WARD_FUNCTION(ward_raise_alert);
WARD_FUNCTION(ward_alert_state);

GuardAlertShared *guard_alert_shared = NULL;

Size
guard_alert_shmem_size(void)
{
	return MAXALIGN(sizeof(GuardAlertShared));
}

/* Called with AddinShmemInitLock held. */
void
guard_alert_shmem_init(void)
{
	bool found;

	guard_alert_shared = ShmemInitStruct("pg_ward alerts", guard_alert_shmem_size(), &found);
	if (found)
		return;
	memset(guard_alert_shared, 0, sizeof(GuardAlertShared));
	guard_alert_shared->lock = guard_lock(GUARD_LOCK_ALERTS);
	pg_atomic_init_u32(&guard_alert_shared->in_flight, 0);
	pg_atomic_init_u64(&guard_alert_shared->end, 0);
	pg_atomic_init_u64(&guard_alert_shared->raised, 0);
}

static void
guard_alert_moved(TrailPosition position)
{
	uint64 end = pg_atomic_read_u64(&guard_alert_shared->end);

	while (end < position + 1 &&
		   !pg_atomic_compare_exchange_u64(&guard_alert_shared->end, &end, position + 1))
		;
	(void) pg_atomic_fetch_add_u64(&guard_alert_shared->raised, 1);
}

static TrailPosition
guard_alert_record(const TrailField *fields, int nfields)
{
	volatile TrailPosition position = TRAIL_POSITION_INVALID;

	(void) pg_atomic_fetch_add_u32(&guard_alert_shared->in_flight, 1);
	PG_TRY();
	{
		position = trail_record_event(GUARD_ALERT_EVENT, fields, nfields);
		/* With ward.on_trail_failure = allow there may be none. */
		if (position != TRAIL_POSITION_INVALID)
			guard_alert_moved(position);
	}
	PG_FINALLY();
	{
		(void) pg_atomic_fetch_sub_u32(&guard_alert_shared->in_flight, 1);
	}
	PG_END_TRY();
	return position;
}

/* See answer_int.h. */
TrailPosition
guard_alert(const char *kind, const char *message, const TrailField *fields, int nfields)
{
	TrailField all[GUARD_ALERT_FIELDS + 8];
	TrailActing acting;
	TrailPosition position;
	int n = 0;

	trail_context_acting(&acting);
	all[n++] = (TrailField){"kind", kind};
	all[n++] = (TrailField){"message", message};
	all[n++] = (TrailField){"session", acting.session};
	all[n++] = (TrailField){"role", acting.session_role};
	if (acting.database[0] != '\0')
		all[n++] = (TrailField){"database", acting.database};
	if (acting.client[0] != '\0')
		all[n++] = (TrailField){"client", acting.client};
	if (acting.application[0] != '\0')
		all[n++] = (TrailField){"application", acting.application};
	if (acting.actor[0] != '\0')
		all[n++] = (TrailField){"actor", acting.actor};
	for (int i = 0; i < Min(nfields, GUARD_ALERT_FIELDS); i++)
		all[n++] = fields[i];
	position = guard_alert_record(all, n);
	LWLockAcquire(guard_alert_shared->lock, LW_SHARED);
	if (guard_alert_shared->latch != NULL)
		SetLatch(guard_alert_shared->latch);
	LWLockRelease(guard_alert_shared->lock);
	trail_index_hurry();
	/* Neither the client nor the log may learn from it what the statement asked for. */
	ereport(LOG_SERVER_ONLY,
			(errmsg("alert (%s): %s", kind, message),
			 errdetail_internal("session %s, role \"%s\", client \"%s\", actor "
								"\"%s\"",
								acting.session, acting.session_role, acting.client, acting.actor),
			 errhidestmt(true), errhidecontext(true)));
	return position;
}

/* _ward.raise_alert(kind, message, names, field_values): for the extension's own SQL. */
Datum
ward_raise_alert(PG_FUNCTION_ARGS)
{
	TrailField fields[GUARD_ALERT_FIELDS];
	Datum *names;
	Datum *values;
	bool *nulls;
	int nnames;
	int nvalues;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), TEXTOID, -1, false, TYPALIGN_INT, &names, NULL,
					  &nnames);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(3), TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls,
					  &nvalues);
	if (nnames != nvalues || nnames > GUARD_ALERT_FIELDS)
		elog(ERROR, "an alert has %d names and %d values", nnames, nvalues);
	for (int i = 0; i < nnames; i++)
	{
		fields[i].name = TextDatumGetCString(names[i]);
		fields[i].value = nulls[i] ? NULL : TextDatumGetCString(values[i]);
	}
	PG_RETURN_INT64((int64) guard_alert(text_to_cstring(PG_GETARG_TEXT_PP(0)),
										text_to_cstring(PG_GETARG_TEXT_PP(1)), fields, nnames));
}

#define ALERT_STATE_COLUMNS 10

/* _ward.alert_state(): one row. */
Datum
ward_alert_state(PG_FUNCTION_ARGS)
{
	GuardAlertStatus status;
	Datum values[ALERT_STATE_COLUMNS] = {0};
	bool nulls[ALERT_STATE_COLUMNS] = {0};
	TupleDesc desc;
	core_preload_require();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	LWLockAcquire(guard_alert_shared->lock, LW_SHARED);
	status = guard_alert_shared->status;
	LWLockRelease(guard_alert_shared->lock);
	values[0] = Int32GetDatum(status.pid);
	nulls[0] = status.pid == 0;
	values[1] = BoolGetDatum(guard_answer_setting_command[0] != '\0');
	values[2] = Int64GetDatum((int64) pg_atomic_read_u64(&guard_alert_shared->raised));
	values[3] = Int64GetDatum((int64) status.waiting);
	values[4] = Int64GetDatum((int64) status.delivered);
	values[5] = Int64GetDatum((int64) status.given_up);
	values[6] = TimestampTzGetDatum(status.delivered_at);
	nulls[6] = status.delivered_at == 0;
	values[7] = TimestampTzGetDatum(status.running_since);
	nulls[7] = status.running_since == 0;
	values[8] = Int32GetDatum(status.actions);
	values[9] = CStringGetTextDatum(status.problem);
	nulls[9] = status.problem[0] == '\0';
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
