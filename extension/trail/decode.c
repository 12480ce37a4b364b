/*
 * decode.c
 *		Decodes the bodies of records.
 *
 * The bytes come from files, so nothing is believed: every length is checked
 * against what is left, and bytes left over are an error too.  Malformed bytes
 * raise WD303; they never yield a value.
 */
#include "trail/trail_int.h"

#include "mb/pg_wchar.h"

typedef struct Cursor
{
	const TrailFrame *frame;
	const uint8 *at;
	const uint8 *end;
} Cursor;

static void
trail_decode_damaged(const Cursor *cursor)
{
	ereport(ERROR, (errcode(ERRCODE_WARD_TRAIL_CORRUPT), errmsg("the trail is damaged"),
					errdetail("The record at position %llu is malformed.",
							  (unsigned long long) cursor->frame->position),
					errhint("Run ward.verify_trail() to see how far the evidence is whole.")));
}

static Cursor
trail_decode_begin(const TrailFrame *frame)
{
	Cursor cursor = {frame, (const uint8 *) frame->body,
					 (const uint8 *) frame->body + frame->length};

	if (frame->version != TRAIL_RECORD_VERSION)
		trail_decode_damaged(&cursor);
	return cursor;
}

static void
trail_decode_finish(const Cursor *cursor)
{
	if (cursor->at != cursor->end)
		trail_decode_damaged(cursor);
}

static uint64
trail_decode_varint(Cursor *cursor)
{
	uint64 value = 0;

	for (int shift = 0; shift < 64; shift += 7)
	{
		uint8 byte;

		if (cursor->at >= cursor->end)
			break;
		byte = *cursor->at++;
		if (shift == 63 && byte > 1)
			break;
		value |= (uint64) (byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return value;
	}
	trail_decode_damaged(cursor);
	return 0;
}

static int64
trail_decode_signed(Cursor *cursor)
{
	uint64 value = trail_decode_varint(cursor);

	return (int64) (value >> 1) ^ -(int64) (value & 1);
}

/* A number that counts things of at least one byte each. */
static int
trail_decode_count(Cursor *cursor)
{
	uint64 count = trail_decode_varint(cursor);

	if (count > (uint64) (cursor->end - cursor->at))
		trail_decode_damaged(cursor);
	return (int) count;
}

static int64
trail_decode_fixed64(Cursor *cursor)
{
	uint64 value = 0;

	if (cursor->end - cursor->at < 8)
		trail_decode_damaged(cursor);
	for (int i = 0; i < 8; i++)
		value |= (uint64) *cursor->at++ << (8 * i);
	return (int64) value;
}

/* NULL where absent. */
static char *
trail_decode_string(Cursor *cursor)
{
	uint64 len = trail_decode_varint(cursor);
	char *value;

	if (len == 0)
		return NULL;
	len--;
	if (len > (uint64) (cursor->end - cursor->at) || memchr(cursor->at, 0, len) != NULL)
		trail_decode_damaged(cursor);
	value = pnstrdup((const char *) cursor->at, len);
	cursor->at += len;
	return value;
}

static char *
trail_decode_required(Cursor *cursor)
{
	char *value = trail_decode_string(cursor);

	if (value == NULL)
		trail_decode_damaged(cursor);
	return value;
}

static int16
trail_decode_attnum(Cursor *cursor)
{
	int64 attnum = trail_decode_signed(cursor);

	if (attnum < PG_INT16_MIN || attnum > PG_INT16_MAX)
		trail_decode_damaged(cursor);
	return (int16) attnum;
}

static int16 *
trail_decode_attnums(Cursor *cursor, int *count)
{
	int16 *attnums;

	*count = trail_decode_count(cursor);
	attnums = palloc(sizeof(int16) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
		attnums[i] = trail_decode_attnum(cursor);
	return attnums;
}

static Oid
trail_decode_oid(Cursor *cursor)
{
	uint64 oid = trail_decode_varint(cursor);

	if (oid > PG_UINT32_MAX)
		trail_decode_damaged(cursor);
	return (Oid) oid;
}

void
trail_decode_context(const TrailFrame *frame, TrailContextBody *body)
{
	Cursor cursor = trail_decode_begin(frame);

	body->session = trail_decode_required(&cursor);
	body->started = (TimestampTz) trail_decode_varint(&cursor) -
					(int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	body->pid = (int) trail_decode_varint(&cursor);
	body->session_user = trail_decode_required(&cursor);
	body->role = trail_decode_required(&cursor);
	body->client = trail_decode_required(&cursor);
	body->port = (int) trail_decode_varint(&cursor);
	body->application = trail_decode_required(&cursor);
	body->database = trail_decode_string(&cursor);
	body->actor = trail_decode_required(&cursor);
	body->backend_type = trail_decode_required(&cursor);
	body->authenticated = trail_decode_required(&cursor);
	body->actor_source = cursor.at < cursor.end ? trail_decode_required(&cursor) : pstrdup("");
	trail_decode_finish(&cursor);
}

void
trail_decode_relation(const TrailFrame *frame, TrailRelationBody *body)
{
	Cursor cursor = trail_decode_begin(frame);

	body->relid = trail_decode_oid(&cursor);
	body->schema = trail_decode_required(&cursor);
	body->name = trail_decode_required(&cursor);
	body->ncolumns = trail_decode_count(&cursor);
	body->attnums = palloc(sizeof(int16) * Max(body->ncolumns, 1));
	body->columns = palloc(sizeof(char *) * Max(body->ncolumns, 1));
	body->keys = palloc(sizeof(char *) * Max(body->ncolumns, 1));
	for (int i = 0; i < body->ncolumns; i++)
	{
		body->attnums[i] = (int16) trail_decode_varint(&cursor);
		body->columns[i] = trail_decode_required(&cursor);
		body->keys[i] = trail_decode_string(&cursor);
	}
	body->nsubjects = trail_decode_count(&cursor);
	body->subject_attnums = palloc(sizeof(int16) * Max(body->nsubjects, 1));
	body->classes = palloc(sizeof(char *) * Max(body->nsubjects, 1));
	for (int i = 0; i < body->nsubjects; i++)
	{
		body->subject_attnums[i] = (int16) trail_decode_varint(&cursor);
		body->classes[i] = trail_decode_required(&cursor);
	}
	trail_decode_finish(&cursor);
}

void
trail_decode_statement(const TrailFrame *frame, TrailStatementBody *body)
{
	Cursor cursor = trail_decode_begin(frame);

	body->fingerprint = trail_decode_fixed64(&cursor);
	body->text = trail_decode_required(&cursor);
	trail_decode_finish(&cursor);
}

void
trail_decode_disclosure(const TrailFrame *frame, TrailDisclosureBody *body)
{
	Cursor cursor = trail_decode_begin(frame);
	uint64 manner;
	uint64 len;

	body->context = trail_decode_varint(&cursor);
	body->relation = trail_decode_varint(&cursor);
	body->statement = trail_decode_varint(&cursor);
	body->fingerprint = trail_decode_fixed64(&cursor);
	body->subject_attnum = trail_decode_attnum(&cursor);
	manner = trail_decode_varint(&cursor);
	if (manner < TRAIL_MANNER_ROW || manner > TRAIL_MANNER_WRITE)
		trail_decode_damaged(&cursor);
	body->manner = (TrailManner) manner;
	body->reason = trail_decode_required(&cursor);
	body->clear = trail_decode_attnums(&cursor, &body->nclear);
	body->sealed = trail_decode_attnums(&cursor, &body->nsealed);
	body->opens = trail_decode_varint(&cursor);
	len = trail_decode_varint(&cursor);
	if (len > (uint64) (cursor.end - cursor.at) || (len == 0) != (body->manner == TRAIL_MANNER_ALL))
		trail_decode_damaged(&cursor);
	body->subjects = (const char *) cursor.at;
	body->subjects_length = len;
	cursor.at += len;
	trail_decode_finish(&cursor);
}

void
trail_decode_event(const TrailFrame *frame, TrailEventBody *body)
{
	Cursor cursor = trail_decode_begin(frame);

	body->context = trail_decode_varint(&cursor);
	body->kind = trail_decode_required(&cursor);
	body->nfields = trail_decode_count(&cursor);
	body->names = palloc(sizeof(char *) * Max(body->nfields, 1));
	body->values = palloc(sizeof(char *) * Max(body->nfields, 1));
	for (int i = 0; i < body->nfields; i++)
	{
		body->names[i] = trail_decode_required(&cursor);
		body->values[i] = trail_decode_string(&cursor);
	}
	trail_decode_finish(&cursor);
}

void
trail_decode_subject(const TrailFrame *frame, TrailSubjectBody *body)
{
	Cursor cursor = trail_decode_begin(frame);
	uint64 form;

	body->class = trail_decode_required(&cursor);
	form = trail_decode_varint(&cursor);
	if (form != TRAIL_SUBJECT_UUID && form != TRAIL_SUBJECT_SEALED)
		trail_decode_damaged(&cursor);
	body->form = (TrailSubjectForm) form;
	body->count = trail_decode_count(&cursor);
	body->numbers = palloc(sizeof(int64) * Max(body->count, 1));
	body->fingerprints = palloc(sizeof(char *) * Max(body->count, 1));
	body->keys = palloc(sizeof(char *) * Max(body->count, 1));
	body->lengths = palloc(sizeof(Size) * Max(body->count, 1));
	for (int i = 0; i < body->count; i++)
	{
		uint64 len;

		body->numbers[i] = trail_decode_fixed64(&cursor);
		if (cursor.end - cursor.at < TRAIL_FINGERPRINT_LENGTH)
			trail_decode_damaged(&cursor);
		body->fingerprints[i] = (const char *) cursor.at;
		cursor.at += TRAIL_FINGERPRINT_LENGTH;
		len = trail_decode_varint(&cursor);
		if (len > (uint64) (cursor.end - cursor.at) ||
			(len == 0) != (body->form == TRAIL_SUBJECT_UUID))
			trail_decode_damaged(&cursor);
		body->keys[i] = (const char *) cursor.at;
		body->lengths[i] = len;
		cursor.at += len;
	}
	trail_decode_finish(&cursor);
}
