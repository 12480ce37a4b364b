/*
 * subject_key.c
 *		The dictionary of subjects whose keys are no integers.
 *
 * Sets hold numbers.  What a number stands for is a record of its own, which stands in
 * the trail before the first disclosure that names it, so that a subject deleted since
 * can still be named (I3).
 *
 * A filter in shared memory remembers which keys the trail has, so that a look-up does
 * not write its subject's key each time.  It may forget, which costs a repeated record;
 * it never knows what was not written: a key enters it only once its record is where
 * ward.durability wants it.  A server that starts begins with an empty one.
 *
 * Keys that the filter does not know wait in this backend until the next disclosure
 * (record.c writes them first) or until there are many.  Where the trail refuses them
 * they wait on, and no disclosure is written before them.
 *
 * No locks: an entry of the filter carries a checksum over the whole of it, so a torn
 * one is none.  Works while a transaction aborts: no catalog access.
 */
#include "trail/trail_int.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

/* Scopes that can be pending at once, and bytes after which one is written. */
#define SUBJECT_KEY_BATCHES 4
#define SUBJECT_KEY_BATCH_BYTES (16 * 1024)

/* Entries that a hash chooses among. */
#define SUBJECT_KEY_WAYS 4

typedef struct SubjectKeyId
{
	uint64 scope;
	uint64 fingerprint[2];
} SubjectKeyId;

typedef struct SubjectKeyEntry
{
	pg_atomic_uint64 check; /* hash of the others; 0: free */
	pg_atomic_uint64 scope;
	pg_atomic_uint64 fingerprint[2];
} SubjectKeyEntry;

typedef struct SubjectKeyFilter
{
	uint64 mask; /* buckets - 1 */
	SubjectKeyEntry entries[FLEXIBLE_ARRAY_MEMBER];
} SubjectKeyFilter;

typedef struct SubjectKeyPending
{
	SubjectKeyId id; /* hash key */
	char status;
} SubjectKeyPending;

static uint32
subject_key_hash(const SubjectKeyId *id)
{
	return (uint32) hash_bytes((const unsigned char *) id, sizeof(SubjectKeyId));
}

#define SH_PREFIX subject_key_pending
#define SH_ELEMENT_TYPE SubjectKeyPending
#define SH_KEY_TYPE SubjectKeyId
#define SH_KEY id
#define SH_HASH_KEY(tb, key) subject_key_hash(&(key))
#define SH_EQUAL(tb, a, b) (memcmp(&(a), &(b), sizeof(SubjectKeyId)) == 0)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* Keys of one class and form that are to be written. */
typedef struct SubjectKeyBatch
{
	uint64 scope;
	char *class;
	TrailSubjectForm form;
	uint64 count; /* 0: the batch is free */
	StringInfoData body;
	subject_key_pending_hash *ids;
} SubjectKeyBatch;

static SubjectKeyFilter *filter = NULL;
static SubjectKeyBatch batches[SUBJECT_KEY_BATCHES];
static int batch_next = 0;
static bool batch_any = false;
static MemoryContext batch_memory = NULL;

/* ---------------------------------------------------------------- the filter */

static uint64
subject_key_buckets(void)
{
	uint64 bytes = (uint64) trail_setting_subject_cache * 1024;
	uint64 buckets = 16;

	while (buckets * 2 * SUBJECT_KEY_WAYS * sizeof(SubjectKeyEntry) <= bytes)
		buckets *= 2;
	return buckets;
}

Size
trail_subject_key_shmem_size(void)
{
	return offsetof(SubjectKeyFilter, entries) +
		   subject_key_buckets() * SUBJECT_KEY_WAYS * sizeof(SubjectKeyEntry);
}

/* From shmem_startup_hook, under AddinShmemInitLock. */
void
trail_subject_key_shmem_init(void)
{
	bool found;

	filter = ShmemInitStruct("pg_ward subject keys", add_size(trail_subject_key_shmem_size(), 0),
							 &found);
	if (found)
		return;
	filter->mask = subject_key_buckets() - 1;
	for (uint64 i = 0; i < (filter->mask + 1) * SUBJECT_KEY_WAYS; i++)
	{
		pg_atomic_init_u64(&filter->entries[i].check, 0);
		pg_atomic_init_u64(&filter->entries[i].scope, 0);
		pg_atomic_init_u64(&filter->entries[i].fingerprint[0], 0);
		pg_atomic_init_u64(&filter->entries[i].fingerprint[1], 0);
	}
}

static void
subject_key_id(SubjectKeyId *id, uint64 scope, const uint8 *fingerprint)
{
	id->scope = scope;
	memcpy(id->fingerprint, fingerprint, TRAIL_FINGERPRINT_LENGTH);
}

static uint64
subject_key_check(const SubjectKeyId *id)
{
	uint64 check = hash_bytes_extended((const unsigned char *) id, sizeof(SubjectKeyId), 0);

	return check != 0 ? check : 1;
}

/* See trail.h. */
bool
trail_subject_key_known(uint64 scope, const uint8 fingerprint[TRAIL_FINGERPRINT_LENGTH])
{
	SubjectKeyId id;
	uint64 check;
	SubjectKeyEntry *entry;

	if (filter == NULL)
		return false;
	subject_key_id(&id, scope, fingerprint);
	check = subject_key_check(&id);
	entry = &filter->entries[(check & filter->mask) * SUBJECT_KEY_WAYS];
	for (int i = 0; i < SUBJECT_KEY_WAYS; i++, entry++)
		if (pg_atomic_read_u64(&entry->check) == check &&
			pg_atomic_read_u64(&entry->scope) == id.scope &&
			pg_atomic_read_u64(&entry->fingerprint[0]) == id.fingerprint[0] &&
			pg_atomic_read_u64(&entry->fingerprint[1]) == id.fingerprint[1])
			return true;
	return false;
}

static void
subject_key_learn(const SubjectKeyId *id)
{
	uint64 check = subject_key_check(id);
	SubjectKeyEntry *bucket = &filter->entries[(check & filter->mask) * SUBJECT_KEY_WAYS];
	SubjectKeyEntry *entry = &bucket[(check >> 60) % SUBJECT_KEY_WAYS];

	for (int i = 0; i < SUBJECT_KEY_WAYS; i++)
		if (pg_atomic_read_u64(&bucket[i].check) == 0)
		{
			entry = &bucket[i];
			break;
		}
	/* Whoever else writes it now leaves a mixture, which fits no checksum. */
	pg_atomic_write_u64(&entry->check, 0);
	pg_write_barrier();
	pg_atomic_write_u64(&entry->scope, id->scope);
	pg_atomic_write_u64(&entry->fingerprint[0], id->fingerprint[0]);
	pg_atomic_write_u64(&entry->fingerprint[1], id->fingerprint[1]);
	pg_write_barrier();
	pg_atomic_write_u64(&entry->check, check);
}

/*
 * See trail_int.h.  Whoever looked a key up before writes its disclosure in the same
 * transaction, and the prune waits for that (prune.c).
 */
void
trail_subject_key_forget(void)
{
	for (uint64 i = 0; i < (filter->mask + 1) * SUBJECT_KEY_WAYS; i++)
		pg_atomic_write_u64(&filter->entries[i].check, 0);
}

/* See trail.h. */
uint64
trail_subject_key_scope(const char *class, TrailSubjectForm form)
{
	return hash_bytes_extended((const unsigned char *) class, (int) strlen(class),
							   (uint64) MyDatabaseId << 8 | (uint64) form);
}

/* ---------------------------------------------------------------- what is to be written */

static bool
subject_key_write_batch(SubjectKeyBatch *batch)
{
	static StringInfoData leaf = {0};
	subject_key_pending_iterator scan;
	SubjectKeyPending *pending;
	bool written;

	if (batch->count == 0)
		return true;
	if (leaf.data == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(batch_memory);

		initStringInfo(&leaf);
		MemoryContextSwitchTo(old);
	}
	resetStringInfo(&leaf);
	(void) trail_append_ensure();
	trail_record_leaf_header(&leaf, TRAIL_KIND_SUBJECT);
	trail_record_string(&leaf, batch->class);
	trail_record_varint(&leaf, batch->form);
	trail_record_varint(&leaf, batch->count);
	appendBinaryStringInfo(&leaf, batch->body.data, batch->body.len);
	written = trail_append(leaf.data, leaf.len, TRAIL_POSITION_INVALID) != TRAIL_POSITION_INVALID;
	if (written && trail_record_notify != NULL)
		trail_record_notify();

	/* Where ward.on_trail_failure let them go unwritten they are not learned. */
	subject_key_pending_start_iterate(batch->ids, &scan);
	while (written && filter != NULL &&
		   (pending = subject_key_pending_iterate(batch->ids, &scan)) != NULL)
		subject_key_learn(&pending->id);
	subject_key_pending_reset(batch->ids);
	resetStringInfo(&batch->body);
	batch->count = 0;
	return written;
}

/* See trail_int.h.  Raises WD3xx, and then they are pending still. */
bool
trail_subject_key_write(void)
{
	bool written = true;

	if (likely(!batch_any))
		return true;
	for (int i = 0; i < SUBJECT_KEY_BATCHES; i++)
		written = subject_key_write_batch(&batches[i]) && written;
	batch_any = false;
	return written;
}

/* The batch of a scope; makes room where there is none.  Raises WD3xx. */
static SubjectKeyBatch *
subject_key_batch(const TrailSubjectKey *key)
{
	SubjectKeyBatch *batch = NULL;

	for (int i = 0; i < SUBJECT_KEY_BATCHES; i++)
	{
		if (batches[i].count > 0 && batches[i].scope == key->scope)
			return &batches[i];
		if (batches[i].count == 0)
			batch = &batches[i];
	}
	if (batch == NULL)
	{
		batch = &batches[batch_next];
		batch_next = (batch_next + 1) % SUBJECT_KEY_BATCHES;
		(void) subject_key_write_batch(batch);
	}
	if (batch_memory == NULL)
		batch_memory =
			AllocSetContextCreate(TopMemoryContext, "pg_ward subject keys", ALLOCSET_DEFAULT_SIZES);
	if (batch->ids == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(batch_memory);

		initStringInfo(&batch->body);
		batch->ids = subject_key_pending_create(batch_memory, 64, NULL);
		MemoryContextSwitchTo(old);
	}
	if (batch->class != NULL)
	{
		pfree(batch->class);
		batch->class = NULL;
	}
	batch->class = MemoryContextStrdup(batch_memory, key->class);
	batch->scope = key->scope;
	batch->form = key->form;
	return batch;
}

/* See trail.h. */
void
trail_subject_key_add(const TrailSubjectKey *key)
{
	SubjectKeyBatch *batch = subject_key_batch(key);
	SubjectKeyId id;
	bool found;

	subject_key_id(&id, key->scope, key->fingerprint);
	if (subject_key_pending_lookup(batch->ids, id) != NULL)
		return;
	/* Room for all of it first: half an entry must not stay where memory runs out. */
	enlargeStringInfo(&batch->body, 8 + TRAIL_FINGERPRINT_LENGTH + 10 + (int) key->length);
	(void) subject_key_pending_insert(batch->ids, id, &found);
	trail_record_fixed(&batch->body, (uint64) key->number, 8);
	appendBinaryStringInfo(&batch->body, (const char *) key->fingerprint, TRAIL_FINGERPRINT_LENGTH);
	trail_record_varint(&batch->body, key->length);
	appendBinaryStringInfo(&batch->body, key->data, (int) key->length);
	batch->count++;
	batch_any = true;
	if (batch->body.len > SUBJECT_KEY_BATCH_BYTES)
		(void) subject_key_write_batch(batch);
}

/* See trail.h. */
bool
trail_subject_key_pending(uint64 scope, const uint8 fingerprint[TRAIL_FINGERPRINT_LENGTH])
{
	SubjectKeyId id;

	if (!batch_any)
		return false;
	subject_key_id(&id, scope, fingerprint);
	for (int i = 0; i < SUBJECT_KEY_BATCHES; i++)
		if (batches[i].count > 0 && batches[i].scope == scope &&
			subject_key_pending_lookup(batches[i].ids, id) != NULL)
			return true;
	return false;
}
