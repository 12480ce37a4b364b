/*
 * subject.c
 *		From a column's value to the person that it names.
 *
 * An integer is its own number.  Other keys get one, and the trail a dictionary entry
 * that says what it stands for, before the first disclosure that names it (I1, I3):
 *
 * - a uuid's number is its first eight bytes XOR its last eight, big-endian;
 * - a text's is the first eight bytes of the equality tag that it has under the key of
 *   its class, and the entry is the text sealed under that key: it can identify a person
 *   by itself, and does not reach the trail in clear;
 * - of a sealed text the tag is there already, and the entry is the value as it stands.
 *
 * Two keys that share a number are both named wherever one of them was disclosed: that
 * widens, and loses nobody.
 *
 * Runs for every row: a key that the trail has costs a look into shared memory, a text
 * a CMAC besides.  What is copied is freed at once, because the executor's memory lasts
 * as long as the statement.
 *
 * Fails closed: where the key for sealing can't be had, the error of the seal layer ends
 * the statement.
 */
#include "witness/witness_int.h"

#include "catalog/pg_type.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

WARD_FUNCTION(ward_subject_number_uuid);

StaticAssertDecl(TRAIL_FINGERPRINT_LENGTH == SEAL_SUBJECT_TAG_LENGTH &&
					 TRAIL_FINGERPRINT_LENGTH == UUID_LEN,
				 "tags and uuids are fingerprints");

/* Types that can name people. */
bool
witness_subject_type(Oid type)
{
	switch (type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case UUIDOID:
		case TEXTOID:
		case VARCHAROID:
			return true;
		default:
			return seal_type_is_sealed(type);
	}
}

/* Fills in what follows from class and type. */
void
witness_subject_describe(WitnessSubject *subject)
{
	subject->plain =
		subject->follow == NULL &&
		(subject->type == INT2OID || subject->type == INT4OID || subject->type == INT8OID);
	if (!subject->plain && subject->follow == NULL)
		subject->scope = trail_subject_key_scope(
			subject->class, subject->type == UUIDOID ? TRAIL_SUBJECT_UUID : TRAIL_SUBJECT_SEALED);
}

static int64
witness_subject_uuid(const uint8 uuid[UUID_LEN])
{
	uint64 halves[2];

	memcpy(halves, uuid, UUID_LEN);
	return (int64) pg_ntoh64(halves[0] ^ halves[1]);
}

static void
witness_subject_context(void *arg)
{
	errcontext("sealing a subject of class \"%s\" for the trail", (const char *) arg);
}

static void
witness_subject_enter(const WitnessSubject *subject, int64 number, const uint8 *fingerprint,
					  const char *data, Size len)
{
	TrailSubjectKey key = {0};

	key.scope = subject->scope;
	key.class = subject->class;
	key.form = subject->type == UUIDOID ? TRAIL_SUBJECT_UUID : TRAIL_SUBJECT_SEALED;
	key.number = number;
	key.fingerprint = fingerprint;
	key.data = data;
	key.length = len;
	trail_subject_key_add(&key);
}

/* Must the key still be written? */
static inline bool
witness_subject_new(const WitnessSubject *subject, const uint8 *fingerprint)
{
	return !trail_subject_key_known(subject->scope, fingerprint) &&
		   !trail_subject_key_pending(subject->scope, fingerprint);
}

static int64
witness_subject_text(const WitnessSubject *subject, Datum value)
{
	uint8 tag[SEAL_SUBJECT_TAG_LENGTH];
	text *bytes = DatumGetTextPP(value);
	ErrorContextCallback context = {
		.previous = error_context_stack,
		.callback = witness_subject_context,
		.arg = unconstify(char *, subject->class),
	};

	error_context_stack = &context;
	seal_subject_tag(subject->key, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), tag);
	if (unlikely(witness_subject_new(subject, tag)))
	{
		struct varlena *sealed =
			seal_subject_seal(subject->key, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));

		witness_subject_enter(subject, seal_subject_number(tag), tag, VARDATA_ANY(sealed),
							  VARSIZE_ANY_EXHDR(sealed));
		pfree(sealed);
	}
	error_context_stack = context.previous;
	if ((Pointer) bytes != DatumGetPointer(value))
		pfree(bytes);
	return seal_subject_number(tag);
}

static int64
witness_subject_sealed(const WitnessSubject *subject, Datum value)
{
	uint8 tag[SEAL_SUBJECT_TAG_LENGTH];
	struct varlena *bytes = PG_DETOAST_DATUM_PACKED(value);
	SealKeyId key;

	/* Only a key that gives tags can be watched, and it can't lose them. */
	if (!seal_subject_sealed_tag(bytes, &key, tag))
		ereport(ERROR,
				(errcode(ERRCODE_WARD_WATCH_REFUSED),
				 errmsg("a sealed subject of class \"%s\" bears no equality tag", subject->class),
				 errdetail("Without it nobody can tell whose row this is.")));
	if (unlikely(witness_subject_new(subject, tag)))
		witness_subject_enter(subject, seal_subject_number(tag), tag, VARDATA_ANY(bytes),
							  VARSIZE_ANY_EXHDR(bytes));
	if ((Pointer) bytes != DatumGetPointer(value))
		pfree(bytes);
	return seal_subject_number(tag);
}

/* See witness_int.h.  Raises WD1xx, WD2xx, WD3xx. */
int64
witness_subject_number(const WitnessSubject *subject, Datum value)
{
	switch (subject->type)
	{
		case INT2OID:
			return DatumGetInt16(value);
		case INT4OID:
			return DatumGetInt32(value);
		case INT8OID:
			return DatumGetInt64(value);
		case UUIDOID:
		{
			const uint8 *uuid = DatumGetUUIDP(value)->data;
			int64 number = witness_subject_uuid(uuid);

			if (unlikely(witness_subject_new(subject, uuid)))
				witness_subject_enter(subject, number, uuid, NULL, 0);
			return number;
		}
		case TEXTOID:
		case VARCHAROID:
			return witness_subject_text(subject, value);
		default:
			return witness_subject_sealed(subject, value);
	}
}

/* Notes whom a value names; NULL names nobody.  Raises WD1xx, WD2xx, WD3xx. */
void
witness_subject_note(WitnessCapture *capture, WitnessSet *set, Datum value, bool isnull)
{
	if (set->relation->subjects[set->subject].follow != NULL)
		witness_follow_note(capture, set, value, isnull);
	else if (!isnull)
		witness_capture_add(capture, set,
							witness_subject_number(&set->relation->subjects[set->subject], value));
}

/* See witness_int.h. */
void
witness_subject_prepare(const WitnessSubject *subject)
{
	if (subject->follow == NULL && (subject->type == TEXTOID || subject->type == VARCHAROID))
		seal_subject_prepare(subject->key);
}

/* Would naming this value look into the catalog, or fetch it from elsewhere? */
static bool
witness_subject_at_hand(const WitnessSubject *subject, Datum value)
{
	if (subject->plain || subject->type == UUIDOID)
		return true;
	if (VARATT_IS_EXTERNAL(DatumGetPointer(value)))
		return false;
	return (subject->type != TEXTOID && subject->type != VARCHAROID) ||
		   seal_subject_ready(subject->key);
}

/* See witness_int.h. */
bool
witness_subject_note_failed(WitnessCapture *capture, WitnessSet *set, Datum value, bool isnull)
{
	if (set->relation->subjects[set->subject].follow != NULL)
		return witness_follow_note_failed(capture, set, value, isnull);
	if (isnull)
		return true;
	if (!witness_subject_at_hand(&set->relation->subjects[set->subject], value))
		return false;
	witness_subject_note(capture, set, value, isnull);
	return true;
}

Datum
ward_subject_number_uuid(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(witness_subject_uuid(PG_GETARG_UUID_P(0)->data));
}
