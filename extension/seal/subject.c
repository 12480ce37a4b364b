/*
 * subject.c
 *		Keys of people, sealed for the trail.
 *
 * A text key can identify a person by itself, so it reaches the trail as an envelope
 * under a key of the database; the number that stands for it in sets is taken from its
 * equality tag, which is a keyed hash.  Both come from the same code as a sealed
 * column's: docs/envelope.md is all that is needed to read them.
 *
 * Nothing here marks the statement as one over sealed values: what is sealed here stands
 * in clear in the table, and the statement's errors are to be what they were.
 *
 * Fails closed: a key that is absent, frozen or destroyed is the error that it is for a
 * sealed column, and the caller lets it end the statement.
 */
#include "seal/sealed_int.h"

#include "port/pg_bswap.h"
#include "utils/builtins.h"

WARD_FUNCTION(ward_subject_number_text);
WARD_FUNCTION(ward_subject_number_sealed);
WARD_FUNCTION(ward_subject_sealed_key);

/* See seal.h. */
SealKeyId
seal_subject_key(const char *name)
{
	return seal_key_id(name);
}

/* See seal.h. */
int64
seal_subject_number(const uint8 tag[SEAL_SUBJECT_TAG_LENGTH])
{
	uint64 number;

	memcpy(&number, tag, sizeof(number));
	return (int64) pg_ntoh64(number);
}

/* See seal.h.  Raises WD1xx, WD2xx. */
void
seal_subject_tag(SealKeyId key, const char *data, Size len, uint8 tag[SEAL_SUBJECT_TAG_LENGTH])
{
	SealPlain plain;

	seal_kind_plain(&plain, SEAL_KIND_TEXT, data, len);
	seal_envelope_make_tag(key, &plain, tag);
}

/* See seal.h.  Raises WD1xx, WD2xx. */
struct varlena *
seal_subject_seal(SealKeyId key, const char *data, Size len)
{
	SealPlain plain;

	seal_kind_plain(&plain, SEAL_KIND_TEXT, data, len);
	return seal_envelope_seal(key, &plain);
}

/* See seal.h. */
bool
seal_subject_sealed_tag(struct varlena *value, SealKeyId *key, uint8 tag[SEAL_SUBJECT_TAG_LENGTH])
{
	return seal_envelope_tag(value, key, tag);
}

/* See seal.h. */
bool
seal_subject_ready(SealKeyId key)
{
	return seal_envelope_is_ready(key, SEAL_KIND_TEXT);
}

/* See seal.h.  Raises WD1xx where the KEK can't be had. */
void
seal_subject_prepare(SealKeyId key)
{
	if (!seal_subject_ready(key) && seal_key_usable(key))
		pfree(seal_subject_seal(key, "", 0));
}

/* See seal.h. */
char *
seal_subject_show(const char *data, Size len, Oid user)
{
	struct varlena *envelope = palloc(VARHDRSZ + len);
	Oid actor;
	SealKeyId key;
	int length;
	char *volatile shown = NULL;

	SET_VARSIZE(envelope, VARHDRSZ + len);
	memcpy(VARDATA(envelope), data, len);
	seal_envelope_check(data, len);
	key = seal_envelope_key(envelope);
	actor = seal_right_act_as(user);
	PG_TRY();
	{
		/* Whoever has no right, or the key no life, gets what the holder of both can open. */
		if (seal_envelope_kind(envelope) == SEAL_KIND_TEXT && seal_key_usable(key) &&
			seal_right_may_open(key))
		{
			struct varlena *opened = seal_envelope_open(envelope);

			seal_sealed_io_mark_shown();
			shown = text_to_cstring((text *) opened);
			core_secret_wipe(VARDATA_ANY(opened), VARSIZE_ANY_EXHDR(opened));
			pfree(opened);
		}
		else
			shown = seal_armor_write(envelope, &length);
	}
	PG_FINALLY();
	{
		(void) seal_right_act_as(actor);
	}
	PG_END_TRY();
	return shown;
}

/*
 * The number of a text key, given in clear or as the armor that ward.breach_scope()
 * printed.  Asks for no right: whoever may compare with a sealed column can find out as
 * much.
 */
Datum
ward_subject_number_text(PG_FUNCTION_ARGS)
{
	SealKeyId key = PG_GETARG_INT32(0);
	text *value = PG_GETARG_TEXT_PP(1);
	uint8 tag[SEAL_SUBJECT_TAG_LENGTH];

	core_preload_require();
	if (!seal_sealed_io_armored_tag(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), tag))
		seal_subject_tag(key, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), tag);
	PG_RETURN_INT64(seal_subject_number(tag));
}

Datum
ward_subject_number_sealed(PG_FUNCTION_ARGS)
{
	SealKeyId key;
	uint8 tag[SEAL_SUBJECT_TAG_LENGTH];

	if (!seal_envelope_tag((struct varlena *) PG_GETARG_POINTER(0), &key, tag))
		PG_RETURN_NULL();
	PG_RETURN_INT64(seal_subject_number(tag));
}

/* Under which key the dictionary's entry was sealed. */
Datum
ward_subject_sealed_key(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(seal_envelope_key((struct varlena *) PG_GETARG_POINTER(0)));
}
