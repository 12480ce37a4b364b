/*
 * capture.c
 *		What a statement has disclosed so far, and writing it down in time.
 *
 * A capture belongs to one execution of one plan.  It lives outside the
 * transaction's memory and ends in a callback on the executor's memory context,
 * which also fires when the transaction aborts or the session ends (I3).  Sets are
 * written to the trail when the executor returns, before the send buffer can flush
 * (wire.c), when they outgrow ward.capture_memory, and at the end; what was written
 * is remembered, so that a long result does not write a subject twice.
 *
 * Fails closed: where the trail refuses a record, the error ends the statement
 * before the rows that it covers can leave (I2).  In the callback, where nothing
 * may be raised, what can't be written belongs to a statement that has failed
 * already and whose rows have not left: those that had left were written first.
 */
#include "witness/witness_int.h"

#include "access/parallel.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "commands/explain.h"
#include "executor/executor.h"
#include "executor/nodeAgg.h"
#include "miscadmin.h"
#include "utils/memutils.h"

bool witness_capture_pending = false;

/* See witness.h. */
const WitnessGuard *witness_guard = NULL;

static WitnessCapture *captures = NULL;
static uint64 statements = 0;

/*
 * What a statement had read could not be written as it ended in an error that its
 * function has caught, so that the values may be about still: nothing leaves until the
 * client's statement has ended, and it can't commit.
 */
static bool capture_owed = false;

/*
 * The guard has refused what was read already: the values may be about.  As above, and
 * rows and notices that are held go nowhere.
 */
static bool capture_barred = false;

/* What is recorded now was read by a statement that has failed: nobody may stop it. */
static bool capture_failing = false;

/* Number of this session's next statement, from 1. */
uint64
witness_capture_next_statement(void)
{
	return ++statements;
}

/* The capture of an execution, or NULL where it discloses nothing watched. */
WitnessCapture *
witness_capture_of(QueryDesc *query)
{
	for (WitnessCapture *capture = captures; capture != NULL; capture = capture->below)
		if (capture->query == query)
			return capture;
	return NULL;
}

static WitnessColumns *
witness_capture_columns(WitnessCapture *capture, WitnessRelation *relation)
{
	WitnessColumns *columns;
	Bitmapset *used;
	int member = -1;

	for (columns = capture->columns; columns != NULL; columns = columns->next)
		if (columns->relation == relation)
			return columns;
	used = witness_columns_used(capture->query->plannedstmt, relation);
	columns = palloc0(sizeof(WitnessColumns));
	columns->relation = relation;
	relation->refcount++;
	columns->attnums = palloc0(sizeof(int16) * Max(bms_num_members(used), 1));
	columns->keys = palloc0(sizeof(SealKeyId) * Max(bms_num_members(used), 1));
	columns->opens_before = palloc0(sizeof(uint64) * Max(bms_num_members(used), 1));
	while ((member = bms_next_member(used, member)) >= 0)
	{
		AttrNumber attnum = member + FirstLowInvalidHeapAttributeNumber;

		if (attnum <= 0 || attnum > relation->natts)
			continue;
		columns->attnums[columns->count] = attnum;
		columns->keys[columns->count] = relation->column_keys[attnum - 1];
		if (columns->keys[columns->count] != SEAL_KEY_NONE)
			columns->opens_before[columns->count] = seal_opens(columns->keys[columns->count]);
		columns->count++;
	}
	columns->next = capture->columns;
	capture->columns = columns;
	return columns;
}

/* Keeps a relation, and which of its columns are used, until the capture ends. */
void
witness_capture_pin(WitnessCapture *capture, WitnessRelation *relation)
{
	MemoryContext old = MemoryContextSwitchTo(capture->memory);

	(void) witness_capture_columns(capture, relation);
	MemoryContextSwitchTo(old);
}

/* Columns, but the subject's own, that a set shows: in clear, or sealed and perhaps opened. */
static void
witness_capture_shown(const WitnessColumns *columns, WitnessSet *set)
{
	WitnessShown *shown = &set->shown;

	shown->clear = shown->sealed = false;
	for (int i = 0; i < columns->count; i++)
	{
		SealKeyId key = columns->keys[i];

		shown->sealed |= key != SEAL_KEY_NONE;
		shown->clear |= key == SEAL_KEY_NONE
							? columns->attnums[i] != set->relation->subject_attnums[set->subject]
							: seal_opens(key) > columns->opens_before[i];
	}
	/* The key alone, in clear. */
	shown->clear |= !shown->sealed;
}

/* Does the statement return rows that it writes, but for those that it makes itself? */
static bool
witness_capture_returns(const PlannedStmt *stmt)
{
	const ModifyTable *modify;

	if (stmt->hasModifyingCTE)
		return true;
	if (!stmt->hasReturning || !IsA(stmt->planTree, ModifyTable))
		return false;
	modify = (const ModifyTable *) stmt->planTree;
	return modify->operation != CMD_INSERT || modify->onConflictAction == ONCONFLICT_UPDATE;
}

/* Asks the guard how many people a new set may show. */
static void
witness_capture_guard(WitnessCapture *capture, WitnessSet *set)
{
	WitnessColumns *columns = witness_capture_columns(capture, set->relation);

	set->shown.allowance = PG_INT64_MAX;
	set->shown.command = capture->query->operation;
	set->shown.manner = set->manner;
	set->shown.class = set->relation->subjects[set->subject].class;
	set->shown.relation = &set->relation->trail;
	set->shown.memory = capture->memory;
	set->shown.returns =
		set->manner == TRAIL_MANNER_WRITE && witness_capture_returns(capture->query->plannedstmt);
	witness_capture_shown(columns, set);
	if (witness_guard == NULL || capture_failing)
		return;
	for (int i = 0; i < columns->count && !set->shown.openable; i++)
		set->shown.openable = columns->keys[i] != SEAL_KEY_NONE && seal_may_open(columns->keys[i]);
	witness_guard->begin(&set->shown);
}

/* The set for one relation, subject column, manner and reason. */
WitnessSet *
witness_capture_set(WitnessCapture *capture, WitnessRelation *relation, int subject,
					TrailManner manner, const char *reason, uint64 *groups)
{
	WitnessSet *set;
	MemoryContext old;

	/* A cascade writes: only what a foreign key's check reads is no more than an answer. */
	if (capture->existence && manner == TRAIL_MANNER_WRITE)
		reason = "cascade";
	else if (capture->existence && manner != TRAIL_MANNER_ALL)
	{
		manner = TRAIL_MANNER_EXISTENCE;
		reason = "foreign_key";
		groups = NULL;
	}
	for (set = capture->sets; set != NULL; set = set->next)
		if (set->relation == relation && set->subject == subject && set->manner == manner &&
			set->groups == groups && strcmp(set->reason, reason) == 0)
			return set;
	old = MemoryContextSwitchTo(capture->memory);
	set = palloc0(sizeof(WitnessSet));
	set->relation = relation;
	set->subject = subject;
	set->manner = manner;
	set->reason = reason;
	set->groups = groups;
	witness_capture_guard(capture, set);
	set->next = capture->sets;
	capture->sets = set;
	MemoryContextSwitchTo(old);
	return set;
}

/* Everybody in the relation may have been disclosed: a path that can't be narrowed. */
void
witness_capture_all(WitnessCapture *capture, WitnessRelation *relation, TrailManner manner,
					const char *reason)
{
	for (int i = 0; i < relation->nsubjects; i++)
	{
		WitnessSet *set = witness_capture_set(capture, relation, i, TRAIL_MANNER_ALL, reason, NULL);

		if (!set->all_written)
		{
			set->all_pending = true;
			capture->dirty = witness_capture_pending = true;
		}
	}
}

/* The allowance is used up: asks the guard, unless the row is about somebody shown already. */
static void
witness_capture_ask(WitnessCapture *capture, WitnessSet *set, int64 subject)
{
	set->shown.allowance = 0;
	if (capture_failing || witness_guard == NULL ||
		(set->pending != NULL && trail_subject_set_contains(set->pending, subject)) ||
		(set->written != NULL && trail_subject_set_contains(set->written, subject)))
		return;
	witness_capture_shown(witness_capture_columns(capture, set->relation), set);
	witness_guard->next(&set->shown, subject, set->pending);
}

/* Notes a subject.  Called for every row. */
void
witness_capture_add(WitnessCapture *capture, WitnessSet *set, int64 subject)
{
	if (set->have_last && set->last == subject)
		return;
	if (unlikely(--set->shown.allowance < 0))
		witness_capture_ask(capture, set, subject);
	set->last = subject;
	set->have_last = true;
	if (unlikely(set->pending == NULL))
		set->pending = trail_subject_set_create(capture->memory);
	if (set->written != NULL && trail_subject_set_contains(set->written, subject))
		return;
	if (trail_subject_set_add(set->pending, subject))
	{
		capture->dirty = witness_capture_pending = true;
		if (unlikely(trail_subject_set_memory(set->pending) >
					 (Size) witness_setting_capture_memory * 1024))
			witness_capture_write(capture);
	}
}

/* Notes that a row named nobody who could be found. */
void
witness_capture_nobody(WitnessCapture *capture, WitnessSet *set, uint8 why)
{
	if ((why & ~(set->nobody | set->nobody_written)) == 0)
		return;
	set->nobody |= why;
	capture->dirty = witness_capture_pending = true;
}

static bool
witness_capture_move(int64 subject, void *arg)
{
	(void) trail_subject_set_add((TrailSubjectSet *) arg, subject);
	return true;
}

/* What was pending has been written. */
static void
witness_capture_written(WitnessCapture *capture, WitnessSet *set)
{
	TrailSubjectSet *pending = set->pending;

	if (set->written == NULL)
	{
		set->written = pending;
		set->pending = NULL;
		return;
	}
	/* Forgetting what was written costs a repeated record, not evidence. */
	if (trail_subject_set_memory(set->written) > (Size) witness_setting_capture_memory * 1024)
		trail_subject_set_reset(set->written);
	trail_subject_set_walk(pending, witness_capture_move, set->written);
	trail_subject_set_reset(pending);
	set->have_last = false;
}

/* Lets the guard see what is about to be recorded.  Raises where it may not be shown. */
static bool
witness_capture_permitted(WitnessSet *set, const TrailDisclosure *disclosure)
{
	volatile bool permitted = false;

	/* Once refused, it is only recorded. */
	if (set->refused)
		return false;
	PG_TRY();
	{
		permitted = witness_guard->write(&set->shown, disclosure, capture_failing);
	}
	PG_CATCH();
	{
		set->refused = capture_barred = witness_capture_pending = true;
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (!permitted)
		set->refused = capture_barred = witness_capture_pending = true;
	return permitted;
}

static void
witness_capture_write_set(WitnessCapture *capture, WitnessSet *set, TrailSubjectSet *subjects,
						  TrailManner manner, const char *reason)
{
	WitnessColumns *columns = witness_capture_columns(capture, set->relation);
	TrailDisclosure disclosure = {0};
	int16 *clear = palloc(sizeof(int16) * Max(columns->count, 1));
	int16 *sealed = palloc(sizeof(int16) * Max(columns->count, 1));

#ifdef WARD_MUTATION
	/* The oracle must notice when a rule is missing: test/oracle/mutate. */
	if (strcmp(witness_setting_mutation, reason[0] != '\0'				? reason
										 : manner == TRAIL_MANNER_WRITE ? "write"
																		: "row") == 0)
		return;
#endif
	for (int i = 0; i < columns->count; i++)
	{
		if (columns->keys[i] == SEAL_KEY_NONE ||
			seal_opens(columns->keys[i]) > columns->opens_before[i])
			clear[disclosure.nclear++] = columns->attnums[i];
		else
			sealed[disclosure.nsealed++] = columns->attnums[i];
	}
	disclosure.role = capture->role;
	disclosure.statement = capture->statement;
	disclosure.fingerprint = capture->fingerprint;
	disclosure.text = capture->text;
	disclosure.relation = &set->relation->trail;
	disclosure.subject_attnum = set->relation->subject_attnums[set->subject];
	disclosure.manner = manner;
	disclosure.reason = set->shown.returns && reason[0] == '\0' ? "returning" : reason;
	disclosure.clear = clear;
	disclosure.sealed = sealed;
	disclosure.opens = seal_opens(SEAL_KEY_NONE) - capture->opens_before;
	disclosure.subjects = subjects;
	if (witness_guard != NULL)
	{
		witness_capture_shown(columns, set);
		if (!witness_capture_permitted(set, &disclosure))
		{
			/* Nobody will see it: it is what it was before it was found to be small. */
			disclosure.manner = set->manner;
			disclosure.reason = set->reason;
		}
	}
	trail_record_disclosure(&disclosure);
	pfree(clear);
	pfree(sealed);
}

/*
 * Groups that a node has returned, or, where it hashes, is known to have: so that what is
 * written before its first row already tells of small groups.
 */
static uint64
witness_capture_groups(const WitnessSet *set)
{
	uint64 groups = 1;
	const PlanState *state;

	if (set->groups == NULL)
		return groups;
	groups = Max(groups, *set->groups);
	state = ((const WitnessTapNode *) ((const char *) set->groups - offsetof(WitnessTapNode, rows)))
				->state;
	/* Of a failed statement the tables may be gone. */
	if (!capture_failing && IsA(state, AggState) && ((const AggState *) state)->table_filled)
	{
		const AggState *agg = (const AggState *) state;
		uint64 hashed = 0;

		for (int i = 0; i < agg->num_hashes; i++)
			if (agg->perhash[i].hashtable != NULL)
				hashed += agg->perhash[i].hashtable->hashtab->members;
		groups = Max(groups, hashed);
	}
	return groups;
}

/*
 * Does a grouping tell about each of its few subjects?  On average over its groups,
 * which is what can be known without keeping each group's members.
 */
static bool
witness_capture_small(const WitnessSet *set, uint64 subjects)
{
	uint64 groups = witness_capture_groups(set);

	return set->manner == TRAIL_MANNER_AGGREGATE &&
		   subjects <= (uint64) witness_setting_small_aggregate * groups;
}

/* That a row named nobody is a disclosure, too: of an empty set, with the reason. */
static void
witness_capture_write_nobody(WitnessCapture *capture, WitnessSet *set)
{
	static const char *const reasons[] = {"null_key", "dangling_key"};

	for (int i = 0; i < (int) lengthof(reasons); i++)
		if (set->nobody & (1 << i))
		{
			TrailSubjectSet *nobody = trail_subject_set_create(capture->memory);

			witness_capture_write_set(capture, set, nobody, set->manner, reasons[i]);
			set->nobody &= ~(1 << i);
			set->nobody_written |= 1 << i;
		}
}

/* Writes what is pending.  Raises WD3xx, and then it is pending still. */
void
witness_capture_write(WitnessCapture *capture)
{
	if (!capture->dirty)
		return;
	for (WitnessSet *set = capture->sets; set != NULL; set = set->next)
	{
		uint64 pending = set->pending != NULL ? trail_subject_set_count(set->pending) : 0;

		if (set->all_pending)
		{
			witness_capture_write_set(capture, set, NULL, TRAIL_MANNER_ALL, set->reason);
			set->all_pending = false;
			set->all_written = true;
		}
		witness_capture_write_nobody(capture, set);
		if (pending == 0)
			continue;
		if (witness_capture_small(
				set, pending + (set->written != NULL ? trail_subject_set_count(set->written) : 0)))
		{
			witness_capture_write_set(capture, set, set->pending, TRAIL_MANNER_ROW,
									  "small_aggregate");
			set->small_written = true;
		}
		else
		{
			witness_capture_write_set(capture, set, set->pending, set->manner, set->reason);
			set->small_written = false;
		}
		witness_capture_written(capture, set);
	}
	capture->dirty = false;
	/* Another statement of this backend may still have something. */
	witness_capture_pending = capture_owed || capture_barred;
	for (WitnessCapture *other = captures; other != NULL; other = other->below)
		witness_capture_pending |= other->dirty;
}

/* Groups that turn out small only at the end: say then that they were. */
static void
witness_capture_settle(WitnessCapture *capture)
{
	for (WitnessSet *set = capture->sets; set != NULL; set = set->next)
		if (set->manner == TRAIL_MANNER_AGGREGATE && set->written != NULL && !set->small_written &&
			witness_capture_small(set, trail_subject_set_count(set->written)))
		{
			witness_capture_write_set(capture, set, set->written, TRAIL_MANNER_ROW,
									  "small_aggregate");
			set->small_written = true;
		}
}

/* Writes what any statement of this backend has pending. */
void
witness_capture_write_all(void)
{
	if (!witness_capture_pending)
		return;
	for (WitnessCapture *capture = captures; capture != NULL; capture = capture->below)
		witness_capture_write(capture);
	if (capture_barred && !capture_failing)
		ereport(ERROR, (errcode(ERRCODE_WARD_LIMIT_REACHED),
						errmsg("what this statement has read may not be shown"),
						errdetail("A function caught the error that refused it."),
						errhint("Run the statement again for fewer people, or ask an officer.")));
	if (capture_owed)
		ereport(ERROR,
				(errcode(ERRCODE_WARD_TRAIL_UNREACHABLE),
				 errmsg("what this statement has read could not be recorded"),
				 errdetail("A function caught an error while the trail could not be written."),
				 errhint("The server's log says why. Run the statement again.")));
}

/*
 * The same for what was read before an error, which goes on: the rows that were being
 * looked at are told by it, or by its mere occurrence.  capture: of the execution that
 * has failed, or NULL.
 */
void
witness_capture_failed(WitnessCapture *capture)
{
	const bool outer = capture_failing;

	PG_TRY();
	{
		capture_failing = true;
		if (capture != NULL)
		{
			witness_conflict_error(capture);
			witness_tap_error(capture);
		}
		witness_capture_write_all();
	}
	PG_FINALLY();
	{
		capture_failing = outer;
	}
	PG_END_TRY();
}

/* Nothing of the client's statement is left that could still leave. */
void
witness_capture_forgive(void)
{
	if (!capture_owed && !capture_barred)
		return;
	capture_owed = capture_barred = false;
	witness_capture_pending = false;
	for (WitnessCapture *capture = captures; capture != NULL; capture = capture->below)
		witness_capture_pending |= capture->dirty;
}

/* Rows go on leaving: may they still? */
void
witness_capture_run(const WitnessCapture *capture)
{
	if (capture == NULL)
		capture = captures;
	if (capture != NULL && witness_guard != NULL && !capture_failing)
		witness_guard->run(capture->query->operation);
}

/* Is anything watched being read now? */
bool
witness_capture_active(void)
{
	return captures != NULL;
}

/* The statement has ended well: writes what is left. */
void
witness_capture_finish(WitnessCapture *capture)
{
	witness_capture_write(capture);
	witness_capture_settle(capture);
}

static void
witness_capture_end(void *arg)
{
	WitnessCapture *capture = arg;
	MemoryContext caller = CurrentMemoryContext;
	uint32 interrupts = InterruptHoldoffCount;
	uint32 cancels = QueryCancelHoldoffCount;
	const bool outer = capture_failing;

	/*
	 * An error can't leave a memory context's callback: report it, so that a log
	 * shows the gap.  It can only be about rows that have not left; see above.  The
	 * client has its error already, and may not get a second one.
	 */
	capture_failing = true;
	PG_TRY();
	{
		witness_capture_write(capture);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		/*
		 * Raising has zeroed these, but an aborting transaction still counts on its
		 * own: without it the session could never be interrupted again.
		 */
		InterruptHoldoffCount = interrupts;
		QueryCancelHoldoffCount = cancels;
		ereport(LOG_SERVER_ONLY,
				(errcode(error->sqlerrcode),
				 errmsg("could not record what a failed statement had read: %s", error->message),
				 error->detail != NULL ? errdetail_internal("%s", error->detail) : 0));
		FreeErrorData(error);
		/* In a whole transaction's abort whatever could have used the values has ended. */
		capture_owed = capture_owed || GetCurrentTransactionNestLevel() > 1;
	}
	PG_END_TRY();
	capture_failing = outer;
	if (witness_guard != NULL)
		for (WitnessSet *set = capture->sets; set != NULL; set = set->next)
			witness_guard->end(&set->shown);
	witness_tap_forget(capture, NULL);
	for (WitnessCapture **at = &captures; *at != NULL; at = &(*at)->below)
		if (*at == capture)
		{
			*at = capture->below;
			break;
		}
	witness_capture_pending = capture_owed || capture_barred;
	for (WitnessCapture *other = captures; other != NULL; other = other->below)
		witness_capture_pending |= other->dirty;
	for (WitnessColumns *columns = capture->columns; columns != NULL; columns = columns->next)
		witness_watch_release(columns->relation);
	MemoryContextDelete(capture->memory);
}

/* Does the plan read or write anything watched? */
static bool
witness_capture_needed(const PlannedStmt *stmt)
{
	ListCell *lc;

	foreach (lc, stmt->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
		WitnessRelation *relation;

		if (rte->rtekind != RTE_RELATION)
			continue;
		relation = witness_watch_pin(rte->relid);
		if (relation != NULL)
		{
			witness_watch_release(relation);
			return true;
		}
	}
	return false;
}

/* Called as an execution has started: places taps where something is watched. */
void
witness_capture_start(QueryDesc *query)
{
	MemoryContext memory;
	MemoryContext old;
	WitnessCapture *capture;
	PlannedStmt *stmt = query->plannedstmt;

	if (!witness_capture_needed(stmt))
		return;
	if (witness_guard != NULL)
		witness_guard->start();
	memory = AllocSetContextCreate(TopMemoryContext, "pg_ward capture", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(memory);
	capture = palloc0(sizeof(WitnessCapture));
	capture->memory = memory;
	capture->query = query;
	capture->role = GetUserId();
	capture->fingerprint = (int64) stmt->queryId;
	/* A worker's part is counted with its leader's statement. */
	capture->statement = IsParallelWorker() ? 0 : witness_capture_next_statement();
	capture->existence = InNoForceRLSOperation();
	capture->opens_before = seal_opens(SEAL_KEY_NONE);
	capture->below = captures;
	captures = capture;
	capture->callback.func = witness_capture_end;
	capture->callback.arg = capture;
	MemoryContextRegisterResetCallback(query->estate->es_query_cxt, &capture->callback);
	trail_context_remember(capture->role);
	trail_context_remember(GetSessionUserId());
	if (capture->fingerprint != 0 && !trail_record_statement_known(capture->fingerprint) &&
		query->sourceText != NULL && !IsParallelWorker())
	{
		int length = stmt->stmt_len;
		const char *text = query->sourceText;

		if (stmt->stmt_location > 0 && (Size) stmt->stmt_location < strlen(text))
			text += stmt->stmt_location;
		capture->text =
			witness_normalise(length > 0 ? pnstrdup(text, strnlen(text, length)) : text);
	}
	witness_place(capture);
	MemoryContextSwitchTo(old);
}
