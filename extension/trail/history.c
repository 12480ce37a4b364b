/*
 * history.c
 *		What this server's own trail tells of a time up to now, for those who count.
 *
 * The trail is read from the segment that was begun before that time.  What a disclosure
 * refers to may stand in an older one, which is then read, once, for contexts and
 * relations alone; of what was pruned, these were carried over.
 *
 * No locks; see reader.c.
 */
#include "trail/trail_int.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

typedef struct HistoryContext
{
	TrailPosition position; /* hash key */
	TrailContextBody body;
} HistoryContext;

typedef struct HistoryRelation
{
	TrailPosition position; /* hash key */
	TrailRelationBody body;
} HistoryRelation;

typedef struct History
{
	Oid database;
	MemoryContext memory; /* of what is kept */
	HTAB *contexts;
	HTAB *relations;
	TrailPosition *firsts; /* of the segments */
	bool *read;
	int count;
} History;

static void
history_keep(History *history, const TrailFrame *frame)
{
	MemoryContext old;

	if (frame->database != history->database)
		return;
	old = MemoryContextSwitchTo(history->memory);
	if (frame->kind == TRAIL_KIND_CONTEXT)
	{
		HistoryContext *entry = hash_search(history->contexts, &frame->position, HASH_ENTER, NULL);

		trail_decode_context(frame, &entry->body);
	}
	else if (frame->kind == TRAIL_KIND_RELATION)
	{
		HistoryRelation *entry =
			hash_search(history->relations, &frame->position, HASH_ENTER, NULL);

		trail_decode_relation(frame, &entry->body);
	}
	MemoryContextSwitchTo(old);
}

/* What of the records that were pruned is still referred to. */
static void
history_carried(History *history)
{
	TrailPosition begin = trail_append_begin();
	MemoryContext old = MemoryContextSwitchTo(history->memory);
	TrailCarry carry;
	TrailCarryEntry entry;
	TrailFrame frame;
	TrailFault fault;

	if (begin > 0)
	{
		if (!trail_carry_read(trail_setting_directory, begin, &carry, &fault))
			trail_segment_raise(&fault);
		while (trail_carry_next(&carry, &entry))
		{
			trail_reader_frame(&frame, entry.position, entry.leaf, entry.length);
			history_keep(history, &frame);
		}
	}
	MemoryContextSwitchTo(old);
}

/* Reads contexts and relations of the segment that holds an older position. */
static void
history_reach(History *history, TrailPosition position)
{
	TrailReader *reader;
	TrailFrame frame;
	TrailPosition end;
	int at;

	for (at = history->count - 1; at >= 0 && history->firsts[at] > position; at--)
		;
	if (at < 0 || history->read[at])
		return;
	history->read[at] = true;
	end = at + 1 < history->count ? history->firsts[at + 1] : trail_append_end();
	reader = trail_reader_open(history->firsts[at]);
	while (trail_reader_next(reader, &frame))
	{
		history_keep(history, &frame);
		if (frame.position + 1 >= end)
			break;
		CHECK_FOR_INTERRUPTS();
	}
	trail_reader_close(reader);
}

static const TrailContextBody *
history_context(History *history, TrailPosition position)
{
	HistoryContext *entry = hash_search(history->contexts, &position, HASH_FIND, NULL);

	if (entry == NULL)
	{
		history_reach(history, position);
		entry = hash_search(history->contexts, &position, HASH_FIND, NULL);
	}
	return entry != NULL ? &entry->body : NULL;
}

static const TrailRelationBody *
history_relation(History *history, TrailPosition position)
{
	HistoryRelation *entry = hash_search(history->relations, &position, HASH_FIND, NULL);

	if (entry == NULL)
	{
		history_reach(history, position);
		entry = hash_search(history->relations, &position, HASH_FIND, NULL);
	}
	return entry != NULL ? &entry->body : NULL;
}

static void
history_damaged(const TrailFrame *frame)
{
	ereport(ERROR, (errcode(ERRCODE_WARD_TRAIL_CORRUPT), errmsg("the trail is damaged"),
					errdetail("The record at position %llu refers to what is not there.",
							  (unsigned long long) frame->position),
					errhint("Run ward.verify_trail() to see how far the evidence is whole.")));
}

static void
history_tell(History *history, const TrailFrame *frame,
			 void (*see)(const TrailSeen *seen, void *arg), void *arg)
{
	TrailDisclosureBody body;
	const TrailContextBody *context;
	const TrailRelationBody *relation;
	TrailSeen seen = {0};

	trail_decode_disclosure(frame, &body);
	context = history_context(history, body.context);
	relation = history_relation(history, body.relation);
	if (context == NULL || relation == NULL)
		history_damaged(frame);
	seen.at = frame->at;
	seen.session = context->session;
	seen.authenticated = context->authenticated;
	seen.session_user = context->session_user;
	seen.role = context->role;
	seen.actor = context->actor;
	seen.client = context->client;
	for (int i = 0; i < relation->nsubjects; i++)
		if (relation->subject_attnums[i] == body.subject_attnum)
			seen.class = relation->classes[i];
	if (seen.class == NULL)
		history_damaged(frame);
	seen.manner = body.manner;
	seen.reason = body.reason;
	seen.subject_attnum = body.subject_attnum;
	seen.nclear = body.nclear;
	seen.clear = body.clear;
	seen.nsealed = body.nsealed;
	if (body.manner != TRAIL_MANNER_ALL)
	{
		seen.subjects = body.subjects;
		seen.length = body.subjects_length;
	}
	see(&seen, arg);
}

/* The segments, and which one was begun before a time. */
static int
history_segments(History *history, TimestampTz since)
{
	TrailPosition *firsts;
	TrailFault fault;
	int64 limit = since + (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	int at;

	if (!trail_segment_list(&firsts, &history->count, &fault))
		trail_segment_raise(&fault);
	history->firsts = palloc(sizeof(TrailPosition) * Max(history->count, 1));
	history->read = palloc0(sizeof(bool) * Max(history->count, 1));
	memcpy(history->firsts, firsts, sizeof(TrailPosition) * history->count);
	free(firsts);
	for (at = history->count - 1; at > 0; at--)
	{
		TrailSegment segment;
		int fd = trail_segment_open(history->firsts[at], O_RDONLY, &fault);
		bool whole;

		if (fd < 0)
			trail_segment_raise(&fault);
		whole = trail_segment_read_header(fd, history->firsts[at], &segment, &fault);
		close(fd);
		if (!whole)
			trail_segment_raise(&fault);
		if (segment.created <= limit)
			break;
	}
	return Max(at, 0);
}

/* See trail.h. */
void
trail_history_read(TimestampTz since, Oid database, void (*see)(const TrailSeen *seen, void *arg),
				   void *arg)
{
	History history = {.database = database};
	TrailPosition end = trail_append_end();
	MemoryContext temporary;
	HASHCTL control = {.keysize = sizeof(TrailPosition)};
	TrailReader *reader;
	TrailFrame frame;
	MemoryContext old;
	int at;

	history.memory =
		AllocSetContextCreate(CurrentMemoryContext, "pg_ward history", ALLOCSET_DEFAULT_SIZES);
	temporary =
		AllocSetContextCreate(CurrentMemoryContext, "pg_ward record", ALLOCSET_DEFAULT_SIZES);
	control.hcxt = history.memory;
	control.entrysize = sizeof(HistoryContext);
	history.contexts =
		hash_create("pg_ward contexts", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	control.entrysize = sizeof(HistoryRelation);
	history.relations =
		hash_create("pg_ward relations", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	history_carried(&history);
	at = history_segments(&history, since);
	if (history.count > 0 && history.firsts[at] < end)
	{
		for (int i = at; i < history.count; i++)
			history.read[i] = true;
		reader = trail_reader_open(history.firsts[at]);
		while (trail_reader_next(reader, &frame))
		{
			CHECK_FOR_INTERRUPTS();
			history_keep(&history, &frame);
			if (frame.kind == TRAIL_KIND_DISCLOSURE && frame.database == database &&
				frame.at >= since)
			{
				old = MemoryContextSwitchTo(temporary);
				history_tell(&history, &frame, see, arg);
				MemoryContextSwitchTo(old);
				MemoryContextReset(temporary);
			}
			if (frame.position + 1 >= end)
				break;
		}
		trail_reader_close(reader);
	}
	pfree(history.firsts);
	pfree(history.read);
	MemoryContextDelete(temporary);
	MemoryContextDelete(history.memory);
}
