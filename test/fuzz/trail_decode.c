// link: extension/trail/decode.c extension/trail/subject_codec.c
// seeds: docs/trail.md
/*
 * The bodies of the trail's records and the sets of subjects in them: whatever bytes
 * stand in a segment, they are a record, or an error of class WD; nothing else is read.
 *
 * The first byte of an input says as what the rest is decoded.
 */
#include "trail/subject_codec.h"
#include "trail/trail_int.h"

#include "server.h"

/* Reading every byte of a string finds one that does not end. */
static void
fuzz_string(const char *value, bool required)
{
	FUZZ_CHECK(value != NULL || !required);
	if (value != NULL)
		FUZZ_CHECK(strlen(value) < MaxAllocSize);
}

static void
fuzz_context(const TrailFrame *frame)
{
	TrailContextBody body;

	trail_decode_context(frame, &body);
	fuzz_string(body.session, true);
	fuzz_string(body.session_user, true);
	fuzz_string(body.role, true);
	fuzz_string(body.client, true);
	fuzz_string(body.application, true);
	fuzz_string(body.database, false);
	fuzz_string(body.actor, true);
	fuzz_string(body.backend_type, true);
	fuzz_string(body.authenticated, true);
	fuzz_string(body.actor_source, true);
}

static void
fuzz_relation(const TrailFrame *frame)
{
	TrailRelationBody body;

	trail_decode_relation(frame, &body);
	fuzz_string(body.schema, true);
	fuzz_string(body.name, true);
	for (int i = 0; i < body.ncolumns; i++)
	{
		fuzz_string(body.columns[i], true);
		fuzz_string(body.keys[i], false);
	}
	for (int i = 0; i < body.nsubjects; i++)
		fuzz_string(body.classes[i], true);
}

/* Members ascend, each in a run; the bytes are used up where the set is whole. */
static void
fuzz_subjects(const void *data, Size len)
{
	SubjectReader reader;
	int64 lo;
	int64 hi;
	int64 previous = 0;
	uint64 members = 0;
	bool first = true;

	if (!subject_codec_begin(&reader, data, len))
	{
		FUZZ_CHECK(reader.corrupt);
		return;
	}
	while (subject_codec_next(&reader, &lo, &hi))
	{
		FUZZ_CHECK(lo <= hi && (first || lo > previous));
		FUZZ_CHECK(reader.at <= reader.end);
		members += (uint64) hi - (uint64) lo + 1;
		previous = hi;
		first = false;
	}
	FUZZ_CHECK(reader.corrupt || (reader.at == reader.end && reader.members == members));
	FUZZ_CHECK(!subject_codec_next(&reader, &lo, &hi));
}

static void
fuzz_disclosure(const TrailFrame *frame)
{
	TrailDisclosureBody body;

	trail_decode_disclosure(frame, &body);
	fuzz_string(body.reason, true);
	FUZZ_CHECK(body.manner >= TRAIL_MANNER_ROW && body.manner <= TRAIL_MANNER_WRITE);
	FUZZ_CHECK(body.subjects >= frame->body &&
			   body.subjects + body.subjects_length == frame->body + frame->length);
	fuzz_subjects(body.subjects, body.subjects_length);
}

static void
fuzz_event(const TrailFrame *frame)
{
	TrailEventBody body;

	trail_decode_event(frame, &body);
	fuzz_string(body.kind, true);
	for (int i = 0; i < body.nfields; i++)
	{
		fuzz_string(body.names[i], true);
		fuzz_string(body.values[i], false);
	}
}

static void
fuzz_statement(const TrailFrame *frame)
{
	TrailStatementBody body;

	trail_decode_statement(frame, &body);
	fuzz_string(body.text, true);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const decoders[])(const TrailFrame *) = {
		fuzz_context, fuzz_relation, fuzz_statement, fuzz_disclosure, fuzz_event,
	};
	TrailFrame frame = {.position = 1, .version = TRAIL_RECORD_VERSION};
	char *body;

	if (size == 0)
		return 0;
	/* A block of its own, which ends where the body does. */
	body = palloc(size - 1);
	memcpy(body, data + 1, size - 1);
	frame.body = body;
	frame.length = size - 1;
	if (data[0] % (lengthof(decoders) + 1) == lengthof(decoders))
		fuzz_subjects(body, frame.length);
	else
	{
		PG_TRY();
		{
			decoders[data[0] % (lengthof(decoders) + 1)](&frame);
		}
		PG_CATCH();
		{
			FUZZ_CHECK(server_error_code == ERRCODE_WARD_TRAIL_CORRUPT);
		}
		PG_END_TRY();
	}
	server_free_all();
	return 0;
}
