/*
 * armor.c
 *		Envelopes as text: "\sealed:" and base64.
 *
 * Plaintext that looks like armor bears one backslash more, so that each text is
 * either armor or plaintext, whoever wrote it.  Only the form is checked here; whether
 * a value is taken back is for sealed_io.c to say.
 *
 * No state, no locks.
 */
#include "seal/sealed_int.h"

#include <limits.h>

#include "common/base64.h"

#define ARMOR "\\sealed:"
#define ARMOR_LENGTH (sizeof(ARMOR) - 1)

/* See sealed_int.h. */
int
seal_armor_backslashes(const char *text, Size len)
{
	Size n = 0;

	while (n < len && text[n] == '\\')
		n++;
	if (n == 0 || len - n < ARMOR_LENGTH - 1 || memcmp(text + n, &ARMOR[1], ARMOR_LENGTH - 1) != 0)
		return 0;
	return (int) Min(n, INT_MAX);
}

/* See sealed_int.h. */
char *
seal_armor_write(const struct varlena *envelope, int *length)
{
	int raw = VARSIZE_ANY_EXHDR(envelope);
	int prefix = ARMOR_LENGTH;
	int room = pg_b64_enc_len(raw);
	char *armor = palloc(prefix + room + 1);
	int encoded;

	memcpy(armor, ARMOR, prefix);
	encoded = pg_b64_encode(VARDATA_ANY(envelope), raw, armor + prefix, room);
	if (encoded < 0)
		elog(ERROR, "could not armor an envelope");
	armor[prefix + encoded] = '\0';
	*length = prefix + encoded;
	return armor;
}

/* See sealed_int.h. */
struct varlena *
seal_armor_read(const char *text, int len)
{
	int prefix = ARMOR_LENGTH;
	int room = pg_b64_dec_len(len - prefix);
	struct varlena *envelope = palloc(VARHDRSZ + room);
	int decoded = pg_b64_decode(text + prefix, len - prefix, VARDATA(envelope), room);

	if (decoded < 0)
	{
		pfree(envelope);
		return NULL;
	}
	SET_VARSIZE(envelope, VARHDRSZ + decoded);
	seal_envelope_check(VARDATA(envelope), decoded);
	return envelope;
}
