/*
 * describe.c
 *		Results and parameters are described to the client as of the base type.
 *
 * A driver goes by the type's oid: it turns a date into its language's date, and what it
 * does not know into a string.  Sealed values leave in the base type's text and binary
 * form, so the description of a result (RowDescription) and of parameters
 * (ParameterDescription) names the base type, as the server itself does for domains.
 *
 * Only where the value will be shown: who has no right gets armor, which must not be
 * taken for a boolean or a number, and then the description names the sealed type.
 * Armor of sealed_text is text, so that is always described as text.  The key of an
 * expression may be unknown (an array that an aggregate makes): that takes the right to
 * every key.
 *
 * A statement that was described while there was the right may be run again, without a
 * new description, when there is none: its armor would be taken for a value.  Then output
 * raises (seal_describe_stale()).
 *
 * Stands before the client's socket from authentication on.  An ERROR raised here is
 * raised between messages.  State is private to the backend; no locks.
 */
#include "seal/sealed_int.h"

#include "access/xact.h"
#include "libpq/libpq.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/lsyscache.h"

/* What follows a column's name in RowDescription, by offset. */
#define DESCRIBE_TYPE 6
#define DESCRIBE_LENGTH 10
#define DESCRIBE_TYPMOD 12
#define DESCRIBE_COLUMN 18

static const PQcommMethods *describe_next = NULL;
static bool describe_promised = false; /* some column was described as what armor is not */
static bool describe_missing = false;  /* rows follow a Bind without a description */

/* See sealed_int.h. */
bool
seal_describe_stale(void)
{
	return describe_promised && describe_missing;
}

/* The base type, or array of it, that stands for a sealed one; InvalidOid for others. */
static Oid
seal_describe_base(Oid type, bool *armor_fits)
{
	const SealObjects *objects = seal_sealed_type_find(type);
	const SealObjects *items = objects == NULL ? seal_sealed_type_find_array(type) : NULL;
	SealKind kind;

	if (objects == NULL && items == NULL)
		return InvalidOid;
	kind = objects != NULL ? objects->kind : items->kind;
	*armor_fits = kind == SEAL_KIND_TEXT;
	return objects != NULL ? seal_kinds[kind].base : seal_kinds[kind].base_array;
}

static uint32
seal_describe_get32(const char *at)
{
	uint32 value;

	memcpy(&value, at, sizeof(value));
	return pg_ntoh32(value);
}

static void
seal_describe_put32(char *at, uint32 value)
{
	value = pg_hton32(value);
	memcpy(at, &value, sizeof(value));
}

static uint16
seal_describe_count(const char *message, size_t len)
{
	uint16 count;

	if (len < sizeof(count))
		return 0;
	memcpy(&count, message, sizeof(count));
	return pg_ntoh16(count);
}

/* May the current user open whatever is of this type? */
static bool
seal_describe_openable(int32 typmod)
{
	List *keys;
	ListCell *lc;

	if (typmod >= 0)
		return seal_right_may_open(typmod);
	keys = seal_key_ids();
	foreach (lc, keys)
		if (!seal_right_may_open(lfirst_int(lc)))
			return false;
	return keys != NIL;
}

static void
seal_describe_column(char *at)
{
	bool armor_fits = false;
	Oid base = seal_describe_base(seal_describe_get32(at + DESCRIBE_TYPE), &armor_fits);
	int32 typmod = (int32) seal_describe_get32(at + DESCRIBE_TYPMOD);
	uint16 length;

	if (!OidIsValid(base) || (!armor_fits && !seal_describe_openable(typmod)))
		return;
	if (!armor_fits)
		describe_promised = true;
	length = pg_hton16((uint16) get_typlen(base));
	seal_describe_put32(at + DESCRIBE_TYPE, base);
	memcpy(at + DESCRIBE_LENGTH, &length, sizeof(length));
	seal_describe_put32(at + DESCRIBE_TYPMOD, (uint32) -1);
}

static void
seal_describe_row(char *message, size_t len)
{
	size_t at = sizeof(uint16);

	for (int left = seal_describe_count(message, len); left > 0; left--)
	{
		at += strnlen(message + at, len - at) + 1;
		if (at + DESCRIBE_COLUMN > len)
			return;
		seal_describe_column(message + at);
		at += DESCRIBE_COLUMN;
	}
}

/* What a client sends needs no right, and is taken in the base type's forms. */
static void
seal_describe_parameters(char *message, size_t len)
{
	size_t at = sizeof(uint16);

	for (int left = seal_describe_count(message, len); left > 0 && at + sizeof(uint32) <= len;
		 left--, at += sizeof(uint32))
	{
		bool armor_fits;
		Oid base = seal_describe_base(seal_describe_get32(message + at), &armor_fits);

		if (OidIsValid(base))
			seal_describe_put32(message + at, base);
	}
}

static int
seal_describe_putmessage(char type, const char *s, size_t len)
{
	char *message;
	int result;

	if (type == '2')
		describe_missing = true;
	else if (type == 'T' || type == 'H' || type == 'Z')
		describe_missing = false;
	/* A base backup's connection has no database, and so no catalog. */
	if (likely(type != 'T' && type != 't') || !IsTransactionState() || !OidIsValid(MyDatabaseId) ||
		!seal_sealed_type_present())
		return describe_next->putmessage(type, s, len);
	message = palloc(len + 1);
	memcpy(message, s, len);
	if (type == 'T')
		seal_describe_row(message, len);
	else
		seal_describe_parameters(message, len);
	result = describe_next->putmessage(type, message, len);
	pfree(message);
	return result;
}

static void
seal_describe_comm_reset(void)
{
	describe_next->comm_reset();
}

static int
seal_describe_flush(void)
{
	return describe_next->flush();
}

static int
seal_describe_flush_if_writable(void)
{
	return describe_next->flush_if_writable();
}

static bool
seal_describe_is_send_pending(void)
{
	return describe_next->is_send_pending();
}

static void
seal_describe_putmessage_noblock(char type, const char *s, size_t len)
{
	describe_next->putmessage_noblock(type, s, len);
}

static const PQcommMethods seal_describe_methods = {
	.comm_reset = seal_describe_comm_reset,
	.flush = seal_describe_flush,
	.flush_if_writable = seal_describe_flush_if_writable,
	.is_send_pending = seal_describe_is_send_pending,
	.putmessage = seal_describe_putmessage,
	.putmessage_noblock = seal_describe_putmessage_noblock};

/* Called once a connection, before its first statement. */
void
seal_describe_install(void)
{
	if (PqCommMethods == &seal_describe_methods)
		return;
	describe_next = PqCommMethods;
	PqCommMethods = &seal_describe_methods;
}
