/*
 * record.c
 *		Builds records: disclosures, events, and what they refer to.
 *
 * A disclosure names its context, its relation's description and its statement's
 * text by reference; each is written once a session, before the first record that
 * needs it, so that the evidence is complete wherever it ends.
 *
 * Works while a transaction aborts: no catalog access here, and memory comes from
 * a context of its own, which outlives the transaction and is reset each time.
 */
#include "trail/trail_int.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Fingerprints whose text this session has written; begun anew when full. */
#define RECORD_STATEMENTS 4096

typedef struct RecordStatement
{
	int64 fingerprint;
	TrailPosition position;
} RecordStatement;

void (*trail_record_notify)(void) = NULL;

static MemoryContext record_memory = NULL;
static HTAB *record_statements = NULL;
static int record_pid = 0;

/* Appends an unsigned number, 7 bits a byte, lowest first. */
void
trail_record_varint(StringInfo into, uint64 value)
{
	while (value >= 0x80)
	{
		appendStringInfoCharMacro(into, (char) (value | 0x80));
		value >>= 7;
	}
	appendStringInfoCharMacro(into, (char) value);
}

/* Appends a string: length + 1, then bytes; NULL is 0. */
void
trail_record_string(StringInfo into, const char *value)
{
	Size len;

	if (value == NULL)
	{
		trail_record_varint(into, 0);
		return;
	}
	len = strlen(value);
	trail_record_varint(into, len + 1);
	appendBinaryStringInfo(into, value, (int) len);
}

/* Signed numbers are folded so that small ones of either sign stay short. */
static void
trail_record_signed(StringInfo into, int64 value)
{
	trail_record_varint(into, ((uint64) value << 1) ^ (uint64) (value >> 63));
}

void
trail_record_fixed(StringInfo into, uint64 value, int bytes)
{
	for (int i = 0; i < bytes; i++)
		appendStringInfoCharMacro(into, (char) (value >> (8 * i)));
}

/* Starts a leaf: kind, version, time, database. */
void
trail_record_leaf_header(StringInfo leaf, TrailKind kind)
{
	int64 now =
		GetCurrentTimestamp() + (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

	trail_record_fixed(leaf, kind, 1);
	trail_record_fixed(leaf, TRAIL_RECORD_VERSION, 1);
	trail_record_fixed(leaf, (uint64) now, 8);
	trail_record_fixed(leaf, MyDatabaseId, 4);
}

/* A memory context for building, also where none may be current. */
static MemoryContext
trail_record_enter(void)
{
	if (record_memory == NULL)
		record_memory =
			AllocSetContextCreate(TopMemoryContext, "pg_ward record", ALLOCSET_DEFAULT_SIZES);
	else
		MemoryContextReset(record_memory);
	if (record_pid != MyProcPid)
	{
		/* What a parent process has written is not this session's. */
		record_statements = NULL;
		record_pid = MyProcPid;
	}
	return MemoryContextSwitchTo(record_memory);
}

static void
trail_record_relation(TrailRelation *relation)
{
	StringInfoData leaf;

	initStringInfo(&leaf);
	trail_record_leaf_header(&leaf, TRAIL_KIND_RELATION);
	trail_record_varint(&leaf, relation->relid);
	trail_record_string(&leaf, relation->schema);
	trail_record_string(&leaf, relation->name);
	trail_record_varint(&leaf, relation->ncolumns);
	for (int i = 0; i < relation->ncolumns; i++)
	{
		trail_record_varint(&leaf, relation->attnums[i]);
		trail_record_string(&leaf, relation->columns[i]);
		trail_record_string(&leaf, relation->keys[i]);
	}
	trail_record_varint(&leaf, relation->nsubjects);
	for (int i = 0; i < relation->nsubjects; i++)
	{
		trail_record_varint(&leaf, relation->subject_attnums[i]);
		trail_record_string(&leaf, relation->classes[i]);
	}
	relation->described_at = trail_append(leaf.data, leaf.len, TRAIL_POSITION_INVALID);
}

/* See trail.h. */
bool
trail_record_statement_known(int64 fingerprint)
{
	const RecordStatement *known =
		record_pid == MyProcPid && record_statements != NULL
			? hash_search(record_statements, &fingerprint, HASH_FIND, NULL)
			: NULL;

	/* One that is about to be pruned is written again. */
	return known != NULL && known->position >= trail_append_floor();
}

/* Writes a fingerprint's text unless this session has. */
static void
trail_record_statement(int64 fingerprint, const char *text)
{
	StringInfoData leaf;
	RecordStatement *known;
	TrailPosition position;

	if (record_statements != NULL && hash_get_num_entries(record_statements) >= RECORD_STATEMENTS)
	{
		hash_destroy(record_statements);
		record_statements = NULL;
	}
	if (record_statements == NULL)
	{
		HASHCTL control = {.keysize = sizeof(int64),
						   .entrysize = sizeof(RecordStatement),
						   .hcxt = TopMemoryContext};

		record_statements =
			hash_create("pg_ward statements", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	if (trail_record_statement_known(fingerprint))
		return;
	initStringInfo(&leaf);
	trail_record_leaf_header(&leaf, TRAIL_KIND_STATEMENT);
	trail_record_fixed(&leaf, (uint64) fingerprint, 8);
	trail_record_string(&leaf, text);
	position = trail_append(leaf.data, leaf.len, TRAIL_POSITION_INVALID);
	if (position == TRAIL_POSITION_INVALID)
		return;
	/* Remembered only once it is written. */
	known = hash_search(record_statements, &fingerprint, HASH_ENTER, NULL);
	known->position = position;
}

static void
trail_record_attnums(StringInfo leaf, int count, const int16 *attnums)
{
	trail_record_varint(leaf, count);
	for (int i = 0; i < count; i++)
		trail_record_signed(leaf, attnums[i]);
}

/* Writes it once; TRAIL_POSITION_GIVEN_UP: what it refers to is being pruned. */
static TrailPosition
trail_record_disclosure_once(const TrailDisclosure *disclosure)
{
	TrailPosition context;
	MemoryContext old;
	StringInfoData leaf;
	StringInfoData set;
	TrailPosition position;

	context = trail_context_position(disclosure->role);
	if (context == TRAIL_POSITION_INVALID)
		return TRAIL_POSITION_INVALID;
	old = trail_record_enter();

	/*
	 * An ERROR from below leaves record_memory current; the error handling that
	 * catches it switches away, and the next record resets it.
	 */
	if (disclosure->relation->described_at == TRAIL_POSITION_INVALID ||
		disclosure->relation->described_at < trail_append_floor())
		trail_record_relation(disclosure->relation);
	if (disclosure->relation->described_at == TRAIL_POSITION_INVALID)
	{
		/* ward.on_trail_failure: nothing may refer to what is not there. */
		MemoryContextSwitchTo(old);
		return TRAIL_POSITION_INVALID;
	}
	if (disclosure->fingerprint != 0 && disclosure->text != NULL)
		trail_record_statement(disclosure->fingerprint, disclosure->text);

	initStringInfo(&leaf);
	trail_record_leaf_header(&leaf, TRAIL_KIND_DISCLOSURE);
	trail_record_varint(&leaf, context);
	trail_record_varint(&leaf, disclosure->relation->described_at);
	trail_record_varint(&leaf, disclosure->statement);
	trail_record_fixed(&leaf, (uint64) disclosure->fingerprint, 8);
	trail_record_signed(&leaf, disclosure->subject_attnum);
	trail_record_varint(&leaf, disclosure->manner);
	trail_record_string(&leaf, disclosure->reason != NULL ? disclosure->reason : "");
	trail_record_attnums(&leaf, disclosure->nclear, disclosure->clear);
	trail_record_attnums(&leaf, disclosure->nsealed, disclosure->sealed);
	trail_record_varint(&leaf, disclosure->opens);
	if (disclosure->subjects != NULL)
	{
		initStringInfo(&set);
		trail_subject_set_serialize(disclosure->subjects, &set);
		trail_record_varint(&leaf, set.len);
		appendBinaryStringInfo(&leaf, set.data, set.len);
	}
	else
		trail_record_varint(&leaf, 0);
	position = trail_append(leaf.data, leaf.len, Min(context, disclosure->relation->described_at));
	MemoryContextSwitchTo(old);
	return position;
}

/* See trail.h.  Raises WD3xx. */
TrailPosition
trail_record_disclosure(const TrailDisclosure *disclosure)
{
	TrailPosition position;

	if (!trail_append_ensure() || !trail_subject_key_write())
		return TRAIL_POSITION_INVALID;
	do
		position = trail_record_disclosure_once(disclosure);
	while (unlikely(position == TRAIL_POSITION_GIVEN_UP));
	if (trail_record_notify != NULL)
		trail_record_notify();
	return position;
}

/* Writes it once; TRAIL_POSITION_GIVEN_UP: the context that it refers to is being pruned. */
static TrailPosition
trail_record_event_once(const char *kind, const TrailField *fields, int nfields, bool cluster)
{
	TrailPosition context = trail_context_position(InvalidOid);
	MemoryContext old;
	StringInfoData leaf;
	TrailPosition position;

	if (context == TRAIL_POSITION_INVALID)
		return TRAIL_POSITION_INVALID;
	old = trail_record_enter();
	initStringInfo(&leaf);
	trail_record_leaf_header(&leaf, TRAIL_KIND_EVENT);
	if (cluster)
		memset(leaf.data + TRAIL_LEAF_HEADER - sizeof(Oid), 0, sizeof(Oid));
	trail_record_varint(&leaf, context);
	trail_record_string(&leaf, kind);
	trail_record_varint(&leaf, nfields);
	for (int i = 0; i < nfields; i++)
	{
		trail_record_string(&leaf, fields[i].name);
		trail_record_string(&leaf, fields[i].value);
	}
	position = trail_append(leaf.data, leaf.len, context);
	MemoryContextSwitchTo(old);
	return position;
}

static TrailPosition
trail_record_event_body(const char *kind, const TrailField *fields, int nfields, bool cluster)
{
	TrailPosition position;

	do
		position = trail_record_event_once(kind, fields, nfields, cluster);
	while (unlikely(position == TRAIL_POSITION_GIVEN_UP));
	return position;
}

/*
 * While pg_upgrade fills a new server, its DDL is not
 * recorded there: the trail that goes on is the old server's, which is not in place yet.
 * Nothing can be disclosed meanwhile: disclosures are refused where there is no trail.
 */
static TrailPosition
trail_record_event_any(const char *kind, const TrailField *fields, int nfields, bool cluster)
{
	TrailPosition position;

	if (IsBinaryUpgrade && !trail_append_begun())
		return TRAIL_POSITION_INVALID;
	if (!trail_append_ensure())
		return TRAIL_POSITION_INVALID;
	position = trail_record_event_body(kind, fields, nfields, cluster);
	if (trail_record_notify != NULL)
		trail_record_notify();
	return position;
}

/* See trail.h.  Raises WD3xx. */
TrailPosition
trail_record_event(const char *kind, const TrailField *fields, int nfields)
{
	return trail_record_event_any(kind, fields, nfields, false);
}

/* See trail.h. */
void
trail_record_event_logged(const char *kind, const TrailField *fields, int nfields)
{
	MemoryContext old = CurrentMemoryContext;

	PG_TRY();
	{
		(void) trail_record_event(kind, fields, nfields);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(old);
		EmitErrorReport();
		FlushErrorState();
	}
	PG_END_TRY();
}

/* See trail.h.  Raises WD3xx. */
TrailPosition
trail_record_cluster_event(const char *kind, const TrailField *fields, int nfields)
{
	return trail_record_event_any(kind, fields, nfields, true);
}

/*
 * For append.c and gap.c: an event that says how this trail came up, or what it lacks;
 * of the whole cluster, whoever met it first.
 */
TrailPosition
trail_record_started(const char *kind, const TrailField *fields, int nfields)
{
	return trail_record_event_body(kind, fields, nfields, true);
}
