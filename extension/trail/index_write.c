/*
 * index_write.c
 *		Writes what records say into the index's tables: who acted, events, texts, subject
 *		keys, and descriptions of relations.  Disclosures are folded first (index_fold.c).
 *
 * All of it concerns the node that was entered last (index_statement.c), inside the
 * batch's transaction.  No locks but those that SQL takes.
 */
#include "trail/index_int.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

/* Known relation descriptions; forgotten when there are too many sessions. */
#define INDEX_KNOWN_MAX 100000

static Datum
index_write_text(const char *string, char *null)
{
	*null = string == NULL ? 'n' : ' ';
	return string == NULL ? (Datum) 0 : CStringGetTextDatum(string);
}

static Datum
index_write_text_array(const char *const *strings, int n, const char *instead)
{
	Datum *elements = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum(strings[i] == NULL ? instead : strings[i]);
	return PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* See index_int.h. */
Datum
trail_index_write_int2_array(const int16 *numbers, int n)
{
	Datum *elements = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elements[i] = Int16GetDatum(numbers[i]);
	return PointerGetDatum(construct_array(elements, n, INT2OID, 2, true, TYPALIGN_SHORT));
}

static void
index_write_context(const TrailIndexEntry *entry)
{
	const char *texts[] = {entry->session,	   entry->session_role, entry->current_role,
						   entry->actor,	   entry->application,	entry->client,
						   entry->actor_source};
	Datum values[2 + lengthof(texts)];
	char nulls[3 + lengthof(texts)] = "         ";

	values[0] = Int64GetDatum((int64) entry->position);
	values[1] = TimestampTzGetDatum(entry->at);
	for (int i = 0; i < (int) lengthof(texts); i++)
		values[2 + i] = index_write_text(texts[i], &nulls[2 + i]);
	(void) trail_index_statement_run(INDEX_PLAN_CONTEXT, values, nulls, SPI_OK_INSERT);
}

static void
index_write_event(const TrailIndexEntry *entry)
{
	Datum values[6];
	char nulls[7] = "      ";
	Datum *names = palloc(sizeof(Datum) * Max(entry->nfields, 1));
	Datum *texts = palloc(sizeof(Datum) * Max(entry->nfields, 1));
	int n = 0;

	for (int i = 0; i < entry->nfields; i++)
	{
		if (entry->fields[i].value == NULL)
			continue;
		names[n] = CStringGetTextDatum(entry->fields[i].name);
		texts[n++] = CStringGetTextDatum(entry->fields[i].value);
	}
	values[0] = Int64GetDatum((int64) entry->position);
	values[1] = TimestampTzGetDatum(entry->at);
	values[2] = Int64GetDatum((int64) entry->context);
	nulls[2] = entry->context == TRAIL_POSITION_INVALID ? 'n' : ' ';
	values[3] = index_write_text(entry->event, &nulls[3]);
	values[4] = PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
	values[5] = PointerGetDatum(construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT));
	(void) trail_index_statement_run(INDEX_PLAN_EVENT, values, nulls, SPI_OK_INSERT);
}

static void
index_write_subjects(const TrailIndexEntry *entry)
{
	Datum values[6];
	int n = entry->nkeys;
	Datum *numbers = palloc(sizeof(Datum) * Max(n, 1));
	Datum *fingerprints = palloc(sizeof(Datum) * Max(n, 1));
	Datum *keys = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		numbers[i] = Int64GetDatum(entry->numbers[i]);
		fingerprints[i] = PointerGetDatum(
			cstring_to_text_with_len(entry->fingerprints[i], TRAIL_FINGERPRINT_LENGTH));
		keys[i] =
			PointerGetDatum(cstring_to_text_with_len(entry->keys[i], (int) entry->key_lengths[i]));
	}
	values[0] = CStringGetTextDatum(entry->class);
	values[1] = Int16GetDatum((int16) entry->form);
	values[2] = Int64GetDatum((int64) entry->position);
	values[3] = PointerGetDatum(
		construct_array(numbers, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[4] =
		PointerGetDatum(construct_array(fingerprints, n, BYTEAOID, -1, false, TYPALIGN_INT));
	values[5] = PointerGetDatum(construct_array(keys, n, BYTEAOID, -1, false, TYPALIGN_INT));
	(void) trail_index_statement_run(INDEX_PLAN_SUBJECT, values, NULL, SPI_OK_INSERT);
}

/* 0 is every statement whose fingerprint is unknown. */
static void
index_write_statement(const TrailIndexEntry *entry)
{
	Datum values[3] = {Int64GetDatum(entry->fingerprint), (Datum) 0,
					   Int64GetDatum((int64) entry->position)};

	if (entry->text == NULL || entry->fingerprint == 0)
		return;
	values[1] = CStringGetTextDatum(entry->text);
	(void) trail_index_statement_run(INDEX_PLAN_STATEMENT, values, NULL, SPI_OK_INSERT);
}

/* ---------------------------------------------------------------- relations */

typedef struct KnownRelation
{
	TrailPosition position;
	int64 relation;
} KnownRelation;

static HTAB *known_relations = NULL;

/* See index_int.h. */
void
trail_index_write_forget(void)
{
	if (known_relations != NULL)
		hash_destroy(known_relations);
	known_relations = NULL;
}

static void
index_write_remember(TrailPosition position, int64 relation)
{
	KnownRelation *known;

	if (known_relations != NULL && hash_get_num_entries(known_relations) >= INDEX_KNOWN_MAX)
		trail_index_write_forget();
	if (known_relations == NULL)
	{
		HASHCTL control = {.keysize = sizeof(TrailPosition), .entrysize = sizeof(KnownRelation)};

		known_relations = hash_create("pg_ward relations", 256, &control, HASH_ELEM | HASH_BLOBS);
	}
	known = hash_search(known_relations, &position, HASH_ENTER, NULL);
	known->relation = relation;
}

/* Stores a description once; positions of its repetitions refer to it. */
static void
index_write_relation(const TrailIndexEntry *entry)
{
	const TrailRelation *described = entry->relation;
	Datum values[8];
	Datum at[2];
	int64 relation;

	values[0] = ObjectIdGetDatum(described->relid);
	values[1] = CStringGetTextDatum(described->schema);
	values[2] = CStringGetTextDatum(described->name);
	values[3] = trail_index_write_int2_array(described->attnums, described->ncolumns);
	values[4] = index_write_text_array(described->columns, described->ncolumns, "");
	values[5] = index_write_text_array(described->keys, described->ncolumns, "");
	values[6] = trail_index_write_int2_array(described->subject_attnums, described->nsubjects);
	values[7] = index_write_text_array(described->classes, described->nsubjects, "");
	if (trail_index_statement_run(INDEX_PLAN_RELATION_FIND, values, NULL, SPI_OK_SELECT) == 0)
		(void) trail_index_statement_run(INDEX_PLAN_RELATION, values, NULL,
										 SPI_OK_INSERT_RETURNING);
	relation = DatumGetInt64(trail_index_statement_value(1));
	at[0] = Int64GetDatum((int64) entry->position);
	at[1] = Int64GetDatum(relation);
	(void) trail_index_statement_run(INDEX_PLAN_RELATION_AT, at, NULL, SPI_OK_INSERT);
	index_write_remember(entry->position, relation);
}

/* See index_int.h. */
int64
trail_index_write_relation_of(const TrailIndexEntry *entry)
{
	KnownRelation *known = known_relations == NULL
							   ? NULL
							   : hash_search(known_relations, &entry->relation_at, HASH_FIND, NULL);
	Datum at = Int64GetDatum((int64) entry->relation_at);
	int64 relation;

	if (known != NULL)
		return known->relation;
	if (trail_index_statement_run(INDEX_PLAN_RELATION_OF, &at, NULL, SPI_OK_SELECT) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_WARD_TRAIL_CORRUPT),
				 errmsg("record " UINT64_FORMAT " of the trail discloses an unknown relation",
						entry->position),
				 errdetail("It refers to record " UINT64_FORMAT ".", entry->relation_at)));
	relation = DatumGetInt64(trail_index_statement_value(1));
	index_write_remember(entry->relation_at, relation);
	return relation;
}

/* See index_int.h. */
void
trail_index_write_entry(const TrailIndexEntry *entry)
{
	switch (entry->kind)
	{
		case TRAIL_KIND_CONTEXT:
			index_write_context(entry);
			break;
		case TRAIL_KIND_RELATION:
			index_write_relation(entry);
			break;
		case TRAIL_KIND_STATEMENT:
			index_write_statement(entry);
			break;
		case TRAIL_KIND_EVENT:
			index_write_event(entry);
			break;
		case TRAIL_KIND_SUBJECT:
			index_write_subjects(entry);
			break;
		case TRAIL_KIND_DISCLOSURE:
		case TRAIL_KIND_CHECKPOINT:
			break;
	}
}
