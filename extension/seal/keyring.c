/*
 * keyring.c
 *		Unwrapped secrets in shared memory, and the generation of keys and rights.
 *
 * Unwrapping asks the KEK's provider, which may be slow, far away or, later,
 * absent; so a secret that one backend has unwrapped serves all of them until the
 * server stops.  The memory is locked and kept out of core dumps.
 *
 * Invariants:
 * - An entry is found only by the wrapped bytes of a catalog row.  So whoever
 *   can't see the row can't find the secret, and a key that was dropped and made
 *   again under the same name (in a restored or re-created database with the same
 *   oid) never meets its predecessor's secret.
 * - Secrets of uncommitted rows are never put here (key.c sees to it).
 * - When a transaction commits that wrapped a secret anew (another KEK), its entry is
 *   found by the new bytes from then on, so nobody has to ask a provider for it.
 * - The array is never more than a cache: a full one evicts, an empty one (after a
 *   crash the server starts with fresh shared memory) is filled again.
 *
 * Locks: the layer's one LWLock, shared to look, exclusive to change; held over
 * nothing but memory copies.  The generation is a lone atomic, so that the hot path
 * (each open) takes no lock.
 */
#include "seal/seal_int.h"

#include <unistd.h>

#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#define KEYRING_SLOTS 256
#define KEYRING_TRANCHE "WardKeyring"

typedef struct KeyringSlot
{
	Oid database; /* InvalidOid: free */
	SealKeyId key;
	uint8 wrapped[SEAL_WRAPPED_LENGTH];
	uint8 secret[SEAL_SECRET_LENGTH];
} KeyringSlot;

typedef struct Keyring
{
	pg_atomic_uint64 generation;
	LWLock *lock;
	int used; /* slots from here on have never been used */
	int next; /* the next to evict, in turn */
	KeyringSlot slots[KEYRING_SLOTS];
} Keyring;

static Keyring *keyring = NULL;

/* Secrets that this transaction has wrapped anew; in TopTransactionContext. */
typedef struct KeyringRewrapped
{
	SealKeyId key;
	uint8 before[SEAL_WRAPPED_LENGTH];
	uint8 after[SEAL_WRAPPED_LENGTH];
} KeyringRewrapped;

static List *keyring_rewrapped = NIL;

/* A page more, so that locking and hiding its pages touches no neighbour. */
static Size
seal_keyring_span(void)
{
	return TYPEALIGN((Size) sysconf(_SC_PAGESIZE), sizeof(Keyring));
}

Size
seal_keyring_shmem_size(void)
{
	return seal_keyring_span() + (Size) sysconf(_SC_PAGESIZE);
}

/* From shmem_request_hook. */
void
seal_keyring_shmem_request(void)
{
	RequestAddinShmemSpace(seal_keyring_shmem_size());
	RequestNamedLWLockTranche(KEYRING_TRANCHE, 1);
}

/* The postmaster's last act; a crash leaves it to the kernel, which zeroes pages. */
static void
seal_keyring_wipe(int code, Datum arg)
{
	core_secret_wipe(keyring->slots, sizeof(keyring->slots));
}

/* From shmem_startup_hook, under AddinShmemInitLock. */
void
seal_keyring_shmem_init(void)
{
	bool found;
	void *start = ShmemInitStruct("pg_ward keyring", seal_keyring_shmem_size(), &found);

	keyring = (Keyring *) TYPEALIGN((Size) sysconf(_SC_PAGESIZE), (uintptr_t) start);
	if (found)
		return;
	memset(keyring, 0, sizeof(*keyring));
	pg_atomic_init_u64(&keyring->generation, 1);
	keyring->lock = &GetNamedLWLockTranche(KEYRING_TRANCHE)->lock;
	/* The postmaster's lock keeps the pages in memory; children inherit the rest. */
	core_secret_guard(keyring, seal_keyring_span());
	on_shmem_exit(seal_keyring_wipe, (Datum) 0);
}

/* See seal_int.h.  Raises WD001 where there is no shared memory of ours. */
uint64
seal_keyring_generation(void)
{
	if (unlikely(keyring == NULL))
	{
		core_preload_require();
		elog(ERROR, "pg_ward has no shared memory");
	}
	return pg_atomic_read_u64(&keyring->generation);
}

/* A full barrier: whoever sees the new number sees the commit that it announces. */
void
seal_keyring_advance(void)
{
	(void) pg_atomic_fetch_add_u64(&keyring->generation, 1);
}

/* The slot of these wrapped bytes, or NULL.  The lock is held. */
static KeyringSlot *
seal_keyring_slot(Oid database, SealKeyId key, const uint8 wrapped[SEAL_WRAPPED_LENGTH])
{
	for (int i = 0; i < keyring->used; i++)
	{
		KeyringSlot *slot = &keyring->slots[i];

		if (slot->database == database && slot->key == key &&
			memcmp(slot->wrapped, wrapped, SEAL_WRAPPED_LENGTH) == 0)
			return slot;
	}
	return NULL;
}

/* See seal_int.h. */
bool
seal_keyring_get(Oid database, SealKeyId key, const uint8 wrapped[SEAL_WRAPPED_LENGTH],
				 uint8 secret[SEAL_SECRET_LENGTH])
{
	KeyringSlot *slot;

	LWLockAcquire(keyring->lock, LW_SHARED);
	slot = seal_keyring_slot(database, key, wrapped);
	if (slot != NULL)
		memcpy(secret, slot->secret, SEAL_SECRET_LENGTH);
	LWLockRelease(keyring->lock);
	return slot != NULL;
}

/*
 * See seal_int.h.  A committing change moves the generation and then forgets the
 * key.  So a secret read before the change is either not taken, or put in time to
 * be forgotten.
 */
void
seal_keyring_put(Oid database, SealKeyId key, const uint8 wrapped[SEAL_WRAPPED_LENGTH],
				 const uint8 secret[SEAL_SECRET_LENGTH], uint64 generation)
{
	KeyringSlot *slot;

	LWLockAcquire(keyring->lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u64(&keyring->generation) != generation)
	{
		LWLockRelease(keyring->lock);
		return;
	}
	slot = seal_keyring_slot(database, key, wrapped);
	for (int i = 0; slot == NULL && i < keyring->used; i++)
		if (keyring->slots[i].database == InvalidOid)
			slot = &keyring->slots[i];
	if (slot == NULL && keyring->used < KEYRING_SLOTS)
		slot = &keyring->slots[keyring->used++];
	if (slot == NULL)
	{
		slot = &keyring->slots[keyring->next];
		keyring->next = (keyring->next + 1) % KEYRING_SLOTS;
	}
	slot->database = database;
	slot->key = key;
	memcpy(slot->wrapped, wrapped, SEAL_WRAPPED_LENGTH);
	memcpy(slot->secret, secret, SEAL_SECRET_LENGTH);
	LWLockRelease(keyring->lock);
}

/* See seal_int.h. */
void
seal_keyring_rewrapped(SealKeyId key, const uint8 before[SEAL_WRAPPED_LENGTH],
					   const uint8 after[SEAL_WRAPPED_LENGTH])
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	KeyringRewrapped *rewrapped = palloc(sizeof(KeyringRewrapped));

	rewrapped->key = key;
	memcpy(rewrapped->before, before, SEAL_WRAPPED_LENGTH);
	memcpy(rewrapped->after, after, SEAL_WRAPPED_LENGTH);
	keyring_rewrapped = lappend(keyring_rewrapped, rewrapped);
	MemoryContextSwitchTo(old);
}

/* See seal_int.h. */
void
seal_keyring_changed(SealKeyId key)
{
	ListCell *cell;

	foreach (cell, keyring_rewrapped)
		if (key == SEAL_KEY_NONE || ((KeyringRewrapped *) lfirst(cell))->key == key)
			keyring_rewrapped = foreach_delete_current(keyring_rewrapped, cell);
}

/* See seal_int.h. */
void
seal_keyring_transaction_over(void)
{
	/* Its memory goes with the transaction's. */
	keyring_rewrapped = NIL;
}

/* Takes an entry to its new wrapping; false where it has none. */
static bool
seal_keyring_relabel(KeyringSlot *slot)
{
	ListCell *cell;

	foreach (cell, keyring_rewrapped)
	{
		KeyringRewrapped *rewrapped = lfirst(cell);

		if (rewrapped->key == slot->key &&
			memcmp(rewrapped->before, slot->wrapped, SEAL_WRAPPED_LENGTH) == 0)
		{
			memcpy(slot->wrapped, rewrapped->after, SEAL_WRAPPED_LENGTH);
			return true;
		}
	}
	return false;
}

/* See seal_int.h. */
void
seal_keyring_forget(Oid database, SealKeyId key)
{
	LWLockAcquire(keyring->lock, LW_EXCLUSIVE);
	for (int i = 0; i < keyring->used; i++)
	{
		KeyringSlot *slot = &keyring->slots[i];

		if (slot->database == database && (key == SEAL_KEY_NONE || slot->key == key) &&
			!seal_keyring_relabel(slot))
			core_secret_wipe(slot, sizeof(*slot));
	}
	LWLockRelease(keyring->lock);
}
