/*
 * index_source.c
 *		The trail's records as the index wants them: this database's, decoded.
 *
 * Events of no database (of the whole cluster) belong to every database's index.
 */
#include "trail/index_int.h"

#include "miscadmin.h"
#include "utils/builtins.h"

struct TrailIndexSource
{
	MemoryContext context;
	TrailReader *reader; /* NULL: what was carried over a cut */
	TrailCarry carry;
	TrailPosition position;
	TrailRelation relation; /* of the entry last given */
};

const char *
trail_index_source_node(void)
{
	static char node[2 * TRAIL_NODE_LENGTH + 1];

	if (node[0] == '\0')
	{
		TrailState state;

		trail_append_state(&state);
		hex_encode((const char *) state.node, TRAIL_NODE_LENGTH, node);
	}
	return node;
}

TrailIndexSource *
trail_index_source_open(TrailPosition from)
{
	return trail_index_source_open_in(NULL, from, 0);
}

TrailIndexSource *
trail_index_source_open_in(const char *directory, TrailPosition from, TrailPosition end)
{
	TrailIndexSource *source = palloc0(sizeof(TrailIndexSource));

	source->context = CurrentMemoryContext;
	source->reader = trail_reader_open_in(directory, from, end);
	source->position = from;
	return source;
}

/* See index_int.h.  Raises WD3xx. */
TrailIndexSource *
trail_index_source_open_carry(TrailPosition cut)
{
	TrailIndexSource *source = palloc0(sizeof(TrailIndexSource));
	TrailFault fault;

	source->context = CurrentMemoryContext;
	if (!trail_carry_read(trail_setting_directory, cut, &source->carry, &fault))
		trail_segment_raise(&fault);
	return source;
}

static bool
index_source_frame(TrailIndexSource *source, TrailFrame *frame)
{
	TrailCarryEntry carried;

	if (source->reader != NULL)
		return trail_reader_next(source->reader, frame);
	if (!trail_carry_next(&source->carry, &carried))
		return false;
	trail_reader_frame(frame, carried.position, carried.leaf, carried.length);
	return true;
}

/* An address that inet can hold, or NULL: a local socket, no client at all. */
static const char *
index_source_client(char *client)
{
	char *zone;

	if (client == NULL || client[0] == '\0' || client[0] == '[')
		return NULL;
	/* a link-local address names its interface, which inet has no place for */
	zone = strchr(client, '%');
	if (zone != NULL)
		*zone = '\0';
	return client;
}

static void
index_source_relation(TrailIndexSource *source, const TrailFrame *frame)
{
	TrailRelationBody body;
	TrailRelation *relation = &source->relation;

	trail_decode_relation(frame, &body);
	relation->relid = body.relid;
	relation->schema = body.schema;
	relation->name = body.name;
	relation->ncolumns = body.ncolumns;
	relation->attnums = body.attnums;
	relation->columns = (const char **) body.columns;
	relation->keys = (const char **) body.keys;
	relation->nsubjects = body.nsubjects;
	relation->subject_attnums = body.subject_attnums;
	relation->classes = (const char **) body.classes;
	relation->described_at = frame->position;
}

static void
index_source_disclosure(const TrailFrame *frame, TrailIndexEntry *entry)
{
	TrailDisclosureBody body;

	trail_decode_disclosure(frame, &body);
	entry->context = body.context;
	entry->relation_at = body.relation;
	entry->statement = body.statement;
	entry->fingerprint = body.fingerprint;
	entry->subject_attnum = body.subject_attnum;
	entry->manner = body.manner;
	entry->reason = body.reason;
	entry->nclear = body.nclear;
	entry->clear = body.clear;
	entry->nsealed = body.nsealed;
	entry->sealed = body.sealed;
	entry->opens = body.opens;
	entry->subjects = body.manner == TRAIL_MANNER_ALL ? NULL : body.subjects;
	entry->subjects_len = body.subjects_length;
}

static void
index_source_event(const TrailFrame *frame, TrailIndexEntry *entry)
{
	TrailEventBody body;
	TrailField *fields;

	trail_decode_event(frame, &body);
	fields = palloc(sizeof(TrailField) * Max(body.nfields, 1));
	for (int i = 0; i < body.nfields; i++)
	{
		fields[i].name = body.names[i];
		fields[i].value = body.values[i];
	}
	entry->context = body.context;
	entry->event = body.kind;
	entry->fields = fields;
	entry->nfields = body.nfields;
}

bool
trail_index_source_next(TrailIndexSource *source, TrailIndexEntry *entry)
{
	TrailFrame frame;

	for (;;)
	{
		/* The reader's buffers outlive the entry. */
		MemoryContext old = MemoryContextSwitchTo(source->context);
		bool found = index_source_frame(source, &frame);

		MemoryContextSwitchTo(old);
		if (!found)
			return false;
		source->position = frame.position + 1;
		if (frame.database == MyDatabaseId ||
			(frame.database == InvalidOid && frame.kind == TRAIL_KIND_EVENT))
			break;
		CHECK_FOR_INTERRUPTS();
	}

	memset(entry, 0, sizeof(TrailIndexEntry));
	entry->position = frame.position;
	entry->kind = frame.kind;
	entry->at = frame.at;
	entry->context = TRAIL_POSITION_INVALID;
	switch (frame.kind)
	{
		case TRAIL_KIND_CONTEXT:
		{
			TrailContextBody body;

			trail_decode_context(&frame, &body);
			entry->session = body.session;
			entry->session_role = body.session_user;
			entry->current_role = body.role;
			entry->client = index_source_client(body.client);
			entry->application = body.application;
			entry->actor = body.actor;
			entry->actor_source = body.actor_source[0] != '\0' ? body.actor_source : NULL;
			break;
		}
		case TRAIL_KIND_RELATION:
			index_source_relation(source, &frame);
			entry->relation = &source->relation;
			break;
		case TRAIL_KIND_STATEMENT:
		{
			TrailStatementBody body;

			trail_decode_statement(&frame, &body);
			entry->fingerprint = body.fingerprint;
			entry->text = body.text;
			break;
		}
		case TRAIL_KIND_DISCLOSURE:
			index_source_disclosure(&frame, entry);
			break;
		case TRAIL_KIND_EVENT:
			index_source_event(&frame, entry);
			break;
		case TRAIL_KIND_SUBJECT:
		{
			TrailSubjectBody body;

			trail_decode_subject(&frame, &body);
			entry->class = body.class;
			entry->form = body.form;
			entry->nkeys = body.count;
			entry->numbers = body.numbers;
			entry->fingerprints = body.fingerprints;
			entry->keys = body.keys;
			entry->key_lengths = body.lengths;
			break;
		}
		case TRAIL_KIND_CHECKPOINT:
			/* Of no database; one that claims to be of this is none of the index's. */
			break;
		default:
			ereport(ERROR, (errcode(ERRCODE_WARD_TRAIL_CORRUPT),
							errmsg("record " UINT64_FORMAT " of the trail is of unknown kind %d",
								   frame.position, (int) frame.kind)));
	}
	return true;
}

TrailPosition
trail_index_source_position(const TrailIndexSource *source)
{
	return source->position;
}

void
trail_index_source_close(TrailIndexSource *source)
{
	if (source->reader != NULL)
		trail_reader_close(source->reader);
	else
		pfree(source->carry.bytes);
	pfree(source);
}
