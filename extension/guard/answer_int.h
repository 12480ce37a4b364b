/*
 * answer_int.h
 *		Answering back: alerts, canaries, lockdown.  Shared by these files of the guard layer.
 */
#ifndef WARD_GUARD_ANSWER_INT_H
#define WARD_GUARD_ANSWER_INT_H

#include "guard/guard_int.h"

#include "datatype/timestamp.h"
#include "nodes/parsenodes.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

/* ---- alert.c: raising an alert ---- */

/* The kind of the trail's events that alerts are. */
#define GUARD_ALERT_EVENT "guard.alert"

/* Fields that a caller may add. */
#define GUARD_ALERT_FIELDS 10

/*
 * Raises an alert: an event in the trail, which stands whatever becomes of the transaction,
 * and a line in the server log; the row in ward.alerts, NOTIFY and ward.alert_command come
 * from the event.  kind is a word ("limit", "canary"), message a phrase for people; neither
 * they nor the fields may name a person.  May be called wherever trail_record_event() may,
 * also in a parallel worker.  Raises WD3xx where the event can't be written.
 */
extern TrailPosition guard_alert(const char *kind, const char *message, const TrailField *fields,
								 int nfields);

/* What ward.alert_status shows. */
typedef struct GuardAlertStatus
{
	int pid;		  /* of the guard process; 0: there is none */
	uint64 waiting;	  /* for ward.alert_command */
	uint64 delivered; /* that the command took */
	uint64 given_up;  /* that it failed to take too often */
	TimestampTz delivered_at;
	TimestampTz running_since; /* 0: the command does not run */
	int actions;			   /* under way */
	char problem[256];
} GuardAlertStatus;

typedef struct GuardAlertShared
{
	LWLock *lock;				/* of latch and status */
	pg_atomic_uint32 in_flight; /* alerts that are being recorded */
	pg_atomic_uint64 end;		/* position behind the last alert that was recorded */
	pg_atomic_uint64 raised;
	Latch *latch; /* the guard process's; NULL: there is none */
	GuardAlertStatus status;
} GuardAlertShared;

extern GuardAlertShared *guard_alert_shared;

extern Size guard_alert_shmem_size(void);
extern void guard_alert_shmem_init(void);

/* ---- answer.c: the guard process ---- */

extern void guard_answer_register(void);

/* ---- action.c: what must hold though the transaction that causes it may roll back ---- */

typedef enum GuardActionState
{
	GUARD_ACTION_FREE,
	GUARD_ACTION_RUNNING,
	GUARD_ACTION_DONE,
	GUARD_ACTION_FAILED
} GuardActionState;

extern Size guard_action_shmem_size(void);
extern void guard_action_shmem_init(void);

/* Starts freezing a key in a process of its own; -1 where none can be started now. */
extern int guard_action_freeze(Oid database, const char *key, const char *reason);
extern GuardActionState guard_action_state(int slot);
/* Nobody waits for it any more. */
extern void guard_action_release(int slot);

/* ---- lockdown.c ---- */

extern Size guard_lockdown_shmem_size(void);
extern void guard_lockdown_shmem_init(void);

/* A statement over watched tables is run, also further.  Raises WD530. */
extern void guard_lockdown_run(CmdType command);
/* It shows somebody. */
extern void guard_lockdown_begin(void);
/* A disclosure is about to be recorded.  Raises WD530, unless the statement has failed. */
extern void guard_lockdown_write(const WitnessShown *shown, const TrailDisclosure *disclosure,
								 bool failed);
/* FETCH is about to run.  Raises WD530. */
extern void guard_lockdown_fetch(const FetchStmt *fetch);
/* Somebody has authenticated.  Ends the process where that role or address is locked down. */
extern void guard_lockdown_login(const struct Port *port);
/* Locks down one role at once. */
extern void guard_lockdown_role(Oid role, const char *reason);

/* ---- canary.c ---- */

/* A statement will show people: learns who the canaries are, while the catalog can be read. */
extern void guard_canary_begin(void);
/*
 * A disclosure is about to be recorded.  Raises WD3xx where the alert can't be; may end the
 * session.  Nothing of that where the statement has failed.
 */
extern void guard_canary_write(const WitnessShown *shown, const TrailDisclosure *disclosure,
							   bool failed);

/* ---- answer.c: settings ---- */

/* Called once, from guard_init(). */
extern void guard_answer_setting_init(void);
extern char *guard_answer_setting_command;
extern int guard_answer_setting_timeout; /* s */

#endif /* WARD_GUARD_ANSWER_INT_H */
