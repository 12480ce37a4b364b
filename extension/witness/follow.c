/*
 * follow.c
 *		People whom a row names through another table.
 *
 * An attachment says which message it belongs to, and the message whose it is.  The
 * message is looked up as the row is seen, by an index and under the statement's
 * snapshot, once for each key and statement: later it may be gone (I3).  A row that the
 * snapshot does not show (inserted by the statement itself, or deleted by the cascade
 * that deletes its attachments) is looked for as it is now, and then in whatever versions
 * the heap still has: old ones can name somebody besides, never nobody instead.
 *
 * A key that is NULL or leads nowhere names nobody, and the record says so.
 *
 * Reads tables below the executor: no rights are asked and nothing is recorded for it,
 * because nothing of it is shown.  Tables are locked as their readers lock them, until
 * the transaction ends.  What was found is kept in the capture's memory, and begun anew
 * where it outgrows ward.capture_memory.
 */
#include "witness/witness_int.h"

#include "access/genam.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* A key, and the people that it leads to. */
typedef struct FollowKey
{
	int len;
	const char *data;
} FollowKey;

typedef struct FollowEntry
{
	FollowKey key; /* hash key */
	char status;
	uint8 nobody; /* WITNESS_NOBODY_* that were met on the way */
	int count;
	int64 *numbers;
} FollowEntry;

static uint32
follow_hash(const FollowKey *key)
{
	return (uint32) hash_bytes((const unsigned char *) key->data, key->len);
}

#define SH_PREFIX follow_table
#define SH_ELEMENT_TYPE FollowEntry
#define SH_KEY_TYPE FollowKey
#define SH_KEY key
#define SH_HASH_KEY(tb, k) follow_hash(&(k))
#define SH_EQUAL(tb, a, b) ((a).len == (b).len && memcmp((a).data, (b).data, (a).len) == 0)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct WitnessFollowCache
{
	WitnessFollowCache *next;
	MemoryContext memory;
	const WitnessSubject *subject;
	follow_table_hash *table;
};

/* What a look-up has found so far. */
typedef struct FollowResult
{
	Snapshot snapshot;
	uint8 nobody;
	int count;
	int room;
	int64 *numbers;
} FollowResult;

static void follow_resolve(const WitnessSubject *subject, Datum value, FollowResult *result);

/* ---------------------------------------------------------------- keys */

/* The key's bytes, equal just where keys are; they may point into the value. */
static FollowKey
follow_key(Oid type, Datum value, int64 *room)
{
	FollowKey key = {.data = (const char *) room, .len = sizeof(int64)};

	switch (type)
	{
		case INT2OID:
			*room = DatumGetInt16(value);
			break;
		case INT4OID:
			*room = DatumGetInt32(value);
			break;
		case INT8OID:
			*room = DatumGetInt64(value);
			break;
		case UUIDOID:
			key.data = DatumGetPointer(value);
			key.len = 16;
			break;
		default:
		{
			struct varlena *bytes = PG_DETOAST_DATUM_PACKED(value);

			key.data = VARDATA_ANY(bytes);
			key.len = (int) VARSIZE_ANY_EXHDR(bytes);
			break;
		}
	}
	return key;
}

static void
follow_found(FollowResult *result, int64 number)
{
	for (int i = 0; i < result->count; i++)
		if (result->numbers[i] == number)
			return;
	if (result->count == result->room)
	{
		result->room = Max(result->room * 2, 4);
		result->numbers = result->numbers == NULL
							  ? palloc(sizeof(int64) * result->room)
							  : repalloc(result->numbers, sizeof(int64) * result->room);
	}
	result->numbers[result->count++] = number;
}

/* ---------------------------------------------------------------- one table */

/* An index that finds rows by this column, or NULL; opened. */
static Relation
follow_index(Relation table, AttrNumber attnum)
{
	List *indexes = RelationGetIndexList(table);
	Relation found = NULL;
	ListCell *lc;

	foreach (lc, indexes)
	{
		Relation index = index_open(lfirst_oid(lc), AccessShareLock);
		Form_pg_index form = index->rd_index;

		if (index->rd_rel->relam == BTREE_AM_OID && form->indisvalid &&
			form->indkey.values[0] == attnum &&
			heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL) &&
			(found == NULL || (form->indisunique && !found->rd_index->indisunique)))
		{
			if (found != NULL)
				index_close(found, NoLock);
			found = index;
			if (form->indisunique && form->indnkeyatts == 1)
				break;
		}
		else
			index_close(index, NoLock);
	}
	list_free(indexes);
	return found;
}

/* How a column is compared with a value of this type. */
static void
follow_scankey(ScanKey key, Relation index, AttrNumber attnum, Oid column, Oid type, Oid collation,
			   Datum value)
{
	Oid operator= InvalidOid;

	if (index != NULL)
	{
		Oid family = index->rd_opfamily[0];
		Oid input = index->rd_opcintype[0];

		operator= get_opfamily_member(family, input, type, BTEqualStrategyNumber);
		if (!OidIsValid(operator) && IsBinaryCoercible(type, input))
		{
			type = input;
			operator= get_opfamily_member(family, input, input, BTEqualStrategyNumber);
		}
		attnum = 1;
		collation = index->rd_indcollation[0];
	}
	else
	{
		List *name = list_make2(makeString("pg_catalog"), makeString("="));

		operator= OpernameGetOprid(name, column, type);
		if (!OidIsValid(operator) && IsBinaryCoercible(type, TEXTOID))
			operator= OpernameGetOprid(name, TEXTOID, TEXTOID);
	}
	if (!OidIsValid(operator))
		ereport(ERROR, (errcode(ERRCODE_WARD_WATCH_REFUSED),
						errmsg("values of type %s can't be compared with those that they refer to",
							   format_type_be(type))));
	ScanKeyEntryInitialize(key, 0, attnum, BTEqualStrategyNumber, type, collation,
						   get_opcode(operator), value);
}

/* The people of a row that was found. */
static void
follow_row(const WitnessFollow *follow, const AttrNumber *attnums, TupleTableSlot *slot,
		   FollowResult *result)
{
	for (int i = 0; i < follow->nends; i++)
	{
		bool isnull;
		Datum value = slot_getattr(slot, attnums[i], &isnull);

		if (isnull)
			result->nobody |= WITNESS_NOBODY_NULL;
		else if (follow->ends[i].follow != NULL)
			follow_resolve(&follow->ends[i], value, result);
		else
			follow_found(result, witness_subject_number(&follow->ends[i], value));
	}
}

/* Looks a key up in one table; false where it has none. */
static bool
follow_scan(const WitnessFollow *follow, Oid relid, Oid type, Datum value, FollowResult *result)
{
	Relation table = try_table_open(relid, AccessShareLock);
	TupleTableSlot *slot;
	AttrNumber *attnums = palloc(sizeof(AttrNumber) * follow->nends);
	AttrNumber attnum = follow->attnum;
	Relation index;
	ScanKeyData key;
	bool found = false;
	Form_pg_attribute column;

	/* It may have been dropped by the statement that drops what refers to it. */
	if (table == NULL)
		return false;
	slot = table_slot_create(table, NULL);
	/* A partition's columns have numbers of their own. */
	for (int i = 0; i < follow->nends; i++)
		attnums[i] = relid == follow->relid
						 ? follow->attnums[i]
						 : get_attnum(relid, get_attname(follow->relid, follow->attnums[i], false));
	if (relid != follow->relid)
		attnum = get_attnum(relid, get_attname(follow->relid, follow->attnum, false));
	column = TupleDescAttr(RelationGetDescr(table), attnum - 1);
	index = follow_index(table, attnum);
	follow_scankey(&key, index, attnum, column->atttypid, type, column->attcollation, value);
	if (index != NULL)
	{
		IndexScanDesc scan = core_compat_index_beginscan(table, index, result->snapshot, 1);

		index_rescan(scan, &key, 1, NULL, 0);
		while (index_getnext_slot(scan, ForwardScanDirection, slot))
		{
			found = true;
			follow_row(follow, attnums, slot, result);
		}
		index_endscan(scan);
		index_close(index, NoLock);
	}
	else
	{
		TableScanDesc scan = table_beginscan(table, result->snapshot, 1, &key);

		while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
		{
			CHECK_FOR_INTERRUPTS();
			found = true;
			follow_row(follow, attnums, slot, result);
		}
		table_endscan(scan);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_close(table, NoLock);
	return found;
}

/* ---------------------------------------------------------------- a key */

static void
follow_resolve(const WitnessSubject *subject, Datum value, FollowResult *result)
{
	const WitnessFollow *follow = subject->follow;
	Snapshot snapshot = result->snapshot;
	Snapshot tries[] = {snapshot, SnapshotSelf, SnapshotAny};
	List *relids;
	bool found = false;

	check_stack_depth();
	relids = get_rel_relkind(follow->relid) == RELKIND_PARTITIONED_TABLE
				 ? find_all_inheritors(follow->relid, AccessShareLock, NULL)
				 : list_make1_oid(follow->relid);
	for (int i = 0; i < (int) lengthof(tries) && !found; i++)
	{
		ListCell *lc;

		result->snapshot = tries[i];
		foreach (lc, relids)
			if (get_rel_relkind(lfirst_oid(lc)) == RELKIND_RELATION)
				found |= follow_scan(follow, lfirst_oid(lc), subject->type, value, result);
	}
	result->snapshot = snapshot;
	if (!found)
		result->nobody |= WITNESS_NOBODY_DANGLING;
}

static WitnessFollowCache *
follow_cache(WitnessFollowCache **caches, MemoryContext memory, const WitnessSubject *subject)
{
	WitnessFollowCache *cache;

	for (cache = *caches; cache != NULL; cache = cache->next)
		if (cache->subject == subject)
			return cache;
	cache = MemoryContextAllocZero(memory, sizeof(WitnessFollowCache));
	cache->subject = subject;
	cache->memory = AllocSetContextCreate(memory, "pg_ward followed keys", ALLOCSET_SMALL_SIZES);
	cache->table = follow_table_create(cache->memory, 16, NULL);
	cache->next = *caches;
	*caches = cache;
	return cache;
}

/* See witness_int.h. */
void
witness_follow_forget(WitnessFollowCache *caches)
{
	for (; caches != NULL; caches = caches->next)
	{
		MemoryContextReset(caches->memory);
		caches->table = follow_table_create(caches->memory, 16, NULL);
	}
}

/* Looks a key up and remembers whom it leads to. */
static FollowEntry *
follow_look_up(WitnessFollowCache *cache, FollowKey key, Datum value, Snapshot snapshot)
{
	FollowResult result = {.snapshot = snapshot};
	FollowEntry *entry;
	char *data;
	int64 *numbers;
	bool found;

	follow_resolve(cache->subject, value, &result);
	if (MemoryContextMemAllocated(cache->memory, false) >
		(Size) witness_setting_capture_memory * 1024)
	{
		MemoryContextReset(cache->memory);
		cache->table = follow_table_create(cache->memory, 16, NULL);
	}
	data = MemoryContextAlloc(cache->memory, Max(key.len, 1));
	memcpy(data, key.data, key.len);
	numbers = MemoryContextAlloc(cache->memory, sizeof(int64) * Max(result.count, 1));
	if (result.count > 0)
		memcpy(numbers, result.numbers, sizeof(int64) * result.count);
	key.data = data;
	entry = follow_table_insert(cache->table, key, &found);
	entry->nobody = result.nobody;
	entry->count = result.count;
	entry->numbers = numbers;
	return entry;
}

static void
follow_note(WitnessCapture *capture, WitnessSet *set, const FollowEntry *entry)
{
	if (entry->nobody != 0)
		witness_capture_nobody(capture, set, entry->nobody);
	for (int i = 0; i < entry->count; i++)
		witness_capture_add(capture, set, entry->numbers[i]);
}

static const FollowEntry *
follow_find(WitnessFollowCache *cache, Datum value, Snapshot snapshot)
{
	const WitnessSubject *subject = cache->subject;
	MemoryContext scratch;
	MemoryContext old;
	FollowEntry *entry;
	FollowKey key;
	int64 room;

	if (subject->type != TEXTOID && subject->type != VARCHAROID)
	{
		key = follow_key(subject->type, value, &room);
		entry = follow_table_lookup(cache->table, key);
		if (likely(entry != NULL))
			return entry;
	}
	scratch = AllocSetContextCreate(CurrentMemoryContext, "pg_ward follow", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(scratch);
	key = follow_key(subject->type, value, &room);
	entry = follow_table_lookup(cache->table, key);
	if (entry == NULL)
		entry = follow_look_up(cache, key, value, snapshot);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	return entry;
}

/* See witness_int.h. */
void
witness_follow_note(WitnessCapture *capture, WitnessSet *set, Datum value, bool isnull)
{
	if (isnull)
		witness_capture_nobody(capture, set, WITNESS_NOBODY_NULL);
	else
		follow_note(capture, set,
					follow_find(follow_cache(&capture->follows, capture->memory,
											 &set->relation->subjects[set->subject]),
								value, capture->query->estate->es_snapshot));
}

/* See witness_int.h. */
uint8
witness_follow_add(WitnessFollowCache **caches, MemoryContext memory, const WitnessSubject *subject,
				   Datum value, TrailSubjectSet *people)
{
	/* Whoever writes rows without a plan may do so without a snapshot. */
	const FollowEntry *entry =
		follow_find(follow_cache(caches, memory, subject), value,
					ActiveSnapshotSet() ? GetActiveSnapshot() : SnapshotSelf);

	for (int i = 0; i < entry->count; i++)
		(void) trail_subject_set_add(people, entry->numbers[i]);
	return entry->nobody;
}

/* See witness_int.h. */
bool
witness_follow_note_failed(WitnessCapture *capture, WitnessSet *set, Datum value, bool isnull)
{
	const WitnessSubject *subject = &set->relation->subjects[set->subject];
	FollowEntry *entry;
	int64 room;

	if (isnull)
		return true;
	if (subject->type == TEXTOID || subject->type == VARCHAROID)
		return false;
	entry = follow_table_lookup(follow_cache(&capture->follows, capture->memory, subject)->table,
								follow_key(subject->type, value, &room));
	if (entry == NULL)
		return false;
	follow_note(capture, set, entry);
	return true;
}
