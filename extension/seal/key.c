/*
 * key.c
 *		Keys as the catalog has them: looked up, cached, unwrapped.
 *
 * Look-ups are plain index scans without SPI, so that they work in the planner,
 * in output functions, in parallel workers and under any search_path.  Each scan
 * takes a fresh catalog snapshot.
 *
 * The cache holds no secret, only rows (wrapped bytes included).  It is dropped as
 * a whole when a relcache invalidation of our tables arrives (own commands, other
 * sessions, aborts, a standby's replay) or when the generation in shared memory
 * moves, which also reaches a statement that is already running: that is how a
 * freeze stops every session at its next value.
 *
 * What changes a key tells so through the trigger ward_seal_changed, whoever made
 * the change.  No locks outlive a call.  Everything fails closed: without catalog,
 * row or KEK nothing is sealed, opened or compared.
 */
#include "seal/seal_int.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

WARD_FUNCTION(ward_seal_changed);
WARD_FUNCTION(ward_seal_key_id);
WARD_FUNCTION(ward_seal_new_secret);
WARD_FUNCTION(ward_seal_kek_fingerprint);

/* Columns of _ward.key and _ward.key_version, as 10_key.sql defines them. */
#define KEY_ATT_ID 1
#define KEY_ATT_NAME 2
#define KEY_ATT_SEARCH 3
#define KEY_ATT_FROZEN 4
#define KEY_ATT_DEFAULT 5
#define KEY_ATT_FINGERPRINT 6
#define KEY_ATT_WRAPPED 7
#define VERSION_ATT_KEY 1
#define VERSION_ATT_VERSION 2
#define VERSION_ATT_STATE 3
#define VERSION_ATT_FINGERPRINT 4
#define VERSION_ATT_WRAPPED 5

#define KEY_CACHE 64

static MemoryContext key_memory = NULL;
static SealKey *key_cache[KEY_CACHE];
static int key_cached = 0;
static SealKeyId key_default = SEAL_KEY_NONE;
static bool key_default_known = false;

/* What the cache, and all that is derived from it, was built from. */
static uint64 key_generation = 0;
static bool key_is_stale = true;
static Oid key_relations[3];

/* Keys that this transaction has changed, in TopTransactionContext. */
static List *key_changed = NIL;
static bool key_any_changed = false;
static bool key_rows_changed = false;

/* ----------------------------------------------------------------
 * Invalidation
 * ----------------------------------------------------------------
 */

/* See seal_int.h. */
void
seal_key_stale(void)
{
	key_is_stale = true;
}

static void
seal_key_relcache(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == key_relations[0] || relid == key_relations[1] ||
		relid == key_relations[2])
		key_is_stale = true;
}

static void
seal_key_drop(uint64 generation)
{
	seal_envelope_forget();
	seal_trigram_forget();
	seal_right_forget();
	if (key_memory == NULL)
		key_memory = AllocSetContextCreate(TopMemoryContext, "pg_ward keys", ALLOCSET_SMALL_SIZES);
	else
		MemoryContextReset(key_memory);
	key_cached = 0;
	key_default_known = false;
	key_relations[0] = core_catalog_relation("key");
	key_relations[1] = core_catalog_relation("key_version");
	key_relations[2] = core_catalog_relation("unseal_grant");
	key_generation = generation;
}

/* See seal_int.h. */
void
seal_key_sync(void)
{
	uint64 generation = seal_keyring_generation();

	/*
	 * No commit moves the generation on a standby; what replay invalidates is looked
	 * for instead, so that a freeze or a revoked right stops a running statement there,
	 * too.  That costs two reads of shared memory where nothing has come.
	 */
	if (unlikely(RecoveryInProgress()) && IsTransactionState())
		AcceptInvalidationMessages();
	if (likely(!key_is_stale && generation == key_generation))
		return;
	/* Unset before: what arrives while the catalog is read must win. */
	key_is_stale = false;
	PG_TRY();
	{
		seal_key_drop(generation);
	}
	PG_CATCH();
	{
		key_is_stale = true;
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* See seal_int.h. */
bool
seal_key_synced(void)
{
	return !key_is_stale && seal_keyring_generation() == key_generation;
}

/*
 * The end of a transaction that changed keys or rights.  At commit the change is
 * visible to others by now, so announcing it can't be too early; keys that were
 * changed leave the keyring.
 */
static void
seal_key_xact(XactEvent event, void *arg)
{
	ListCell *cell;

	switch (event)
	{
		case XACT_EVENT_COMMIT:
			/* In this order: seal_keyring_put() relies on it. */
			if (key_any_changed)
				seal_keyring_advance();
			foreach (cell, key_changed)
				seal_keyring_forget(MyDatabaseId, (SealKeyId) lfirst_int(cell));
			break;
		case XACT_EVENT_PRE_PREPARE:

			/*
			 * Whoever commits it later would not know what to announce, and a freeze
			 * that statements under way do not hear of is none.
			 */
			if (key_rows_changed)
				ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
								errmsg("can't prepare a transaction that has changed sealing keys "
									   "or unseal rights"),
								errhint("Commit it at once.")));
			return;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			break;
		default:
			return;
	}
	key_changed = NIL;
	key_any_changed = false;
	key_rows_changed = false;
	seal_keyring_transaction_over();
}

/* See seal_int.h. */
bool
seal_key_changed_here(void)
{
	return key_rows_changed;
}

/* See seal_int.h. */
void
seal_key_announce(void)
{
	key_any_changed = true;
}

/*
 * Trigger function of the tables of keys and rights.  The relcache invalidation
 * travels with the commit, also by COMMIT PREPARED and to standbys; the generation
 * besides reaches statements that are running.  For the tables of keys a row's
 * first column is the key, whose secrets then leave the keyring.
 */
Datum
ward_seal_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"%s\" must be called as a trigger", __func__)));
	core_preload_require();
	CacheInvalidateRelcache(trigger->tg_relation);
	seal_key_stale();
	if (trigger->tg_trigger->tgnargs > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

		if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		{
			bool isnull;
			Datum id = heap_getattr(trigger->tg_trigtuple, KEY_ATT_ID,
									RelationGetDescr(trigger->tg_relation), &isnull);

			if (!isnull)
			{
				key_changed = list_append_unique_int(key_changed, DatumGetInt32(id));
				seal_keyring_changed(DatumGetInt32(id));
			}
		}
		else
		{
			key_changed = list_append_unique_int(key_changed, SEAL_KEY_NONE);
			seal_keyring_changed(SEAL_KEY_NONE);
		}
		MemoryContextSwitchTo(old);
	}
	key_any_changed = true;
	key_rows_changed = true;
	PG_RETURN_POINTER(NULL);
}

void
seal_key_init(void)
{
	CacheRegisterRelcacheCallback(seal_key_relcache, (Datum) 0);
	RegisterXactCallback(seal_key_xact, NULL);
}

/* ----------------------------------------------------------------
 * Reading the catalog
 * ----------------------------------------------------------------
 */

static void
seal_key_damaged(const char *relation)
{
	ereport(ERROR, (errcode(ERRCODE_WARD_CATALOG_DAMAGED),
					errmsg("the catalog table \"_ward.%s\" is damaged", relation),
					errdetail("A row of it does not have the expected form."),
					errhint("Restore the table from a backup; do not change it by hand.")));
}

static Datum
seal_key_column(HeapTuple tuple, Relation relation, int attnum)
{
	bool isnull;
	Datum value = heap_getattr(tuple, attnum, RelationGetDescr(relation), &isnull);

	if (isnull)
		seal_key_damaged(RelationGetRelationName(relation));
	return value;
}

static void
seal_key_bytes(HeapTuple tuple, Relation relation, int attnum, void *out, Size len)
{
	struct varlena *value = PG_DETOAST_DATUM_PACKED(seal_key_column(tuple, relation, attnum));

	if (VARSIZE_ANY_EXHDR(value) != len)
		seal_key_damaged(RelationGetRelationName(relation));
	memcpy(out, VARDATA_ANY(value), len);
}

static void
seal_key_read_secret(HeapTuple tuple, Relation relation, int fingerprint, int wrapped,
					 SealKeySecret *secret)
{
	TransactionId xmin = HeapTupleHeaderGetXmin(tuple->t_data);

	/*
	 * A row made by this transaction may still vanish: its secret stays out of the
	 * keyring until somebody meets it committed.
	 */
	secret->ours = TransactionIdIsCurrentTransactionId(xmin);
	seal_key_bytes(tuple, relation, fingerprint, secret->fingerprint, SEAL_FINGERPRINT_LENGTH);
	seal_key_bytes(tuple, relation, wrapped, secret->wrapped, SEAL_WRAPPED_LENGTH);
}

/* Opens a table of ours, or returns NULL where the extension is not (or no longer) here. */
static Relation
seal_key_open(const char *name, int columns)
{
	Oid relid = core_catalog_relation(name);
	Relation relation = OidIsValid(relid) ? try_table_open(relid, AccessShareLock) : NULL;

	if (relation != NULL && RelationGetNumberOfAttributes(relation) < columns)
		seal_key_damaged(name);
	return relation;
}

/* Scans a table of ours by its integer first column, through its primary key. */
static SysScanDesc
seal_key_scan(Relation relation, SealKeyId id, ScanKey scankey)
{
	Oid index = RelationGetPrimaryKeyIndex(relation);

	ScanKeyInit(scankey, KEY_ATT_ID, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(id));
	return systable_beginscan(relation, index, OidIsValid(index), NULL, 1, scankey);
}

static void
seal_key_read(SealKey *key, HeapTuple tuple, Relation relation)
{
	char *name = TextDatumGetCString(seal_key_column(tuple, relation, KEY_ATT_NAME));
	char *search = TextDatumGetCString(seal_key_column(tuple, relation, KEY_ATT_SEARCH));

	key->id = DatumGetInt32(seal_key_column(tuple, relation, KEY_ATT_ID));
	strlcpy(key->name, name, sizeof(key->name));
	if (strcmp(search, "none") == 0)
		key->search = SEAL_SEARCH_NONE;
	else if (strcmp(search, "equality") == 0)
		key->search = SEAL_SEARCH_EQUALITY;
	else if (strcmp(search, "substring") == 0)
		key->search = SEAL_SEARCH_SUBSTRING;
	else
		seal_key_damaged("key");
	key->frozen = DatumGetBool(seal_key_column(tuple, relation, KEY_ATT_FROZEN));
	seal_key_read_secret(tuple, relation, KEY_ATT_FINGERPRINT, KEY_ATT_WRAPPED,
						 &key->search_secret);
}

static void
seal_key_read_version(SealKey *key, HeapTuple tuple, Relation relation)
{
	SealKeyVersion *version;
	char *state = TextDatumGetCString(seal_key_column(tuple, relation, VERSION_ATT_STATE));
	int32 number = DatumGetInt32(seal_key_column(tuple, relation, VERSION_ATT_VERSION));

	if (number < 1 || number > PG_UINT16_MAX)
		seal_key_damaged("key_version");
	if (key->versions == NULL)
		key->versions = MemoryContextAllocZero(key_memory, sizeof(SealKeyVersion));
	else
		key->versions =
			repalloc(key->versions, (Size) (key->nversions + 1) * sizeof(SealKeyVersion));
	version = &key->versions[key->nversions++];
	memset(version, 0, sizeof(*version));
	version->version = (uint16) number;
	version->active = strcmp(state, "active") == 0;
	version->destroyed = strcmp(state, "destroyed") == 0;
	if (!version->destroyed)
		seal_key_read_secret(tuple, relation, VERSION_ATT_FINGERPRINT, VERSION_ATT_WRAPPED,
							 &version->secret);
}

/* Loads a key into the cache; NULL where the catalog does not have it. */
static SealKey *
seal_key_load(SealKeyId id)
{
	SealKey *key = NULL;
	Relation relation = seal_key_open("key", KEY_ATT_WRAPPED);
	SysScanDesc scan;
	ScanKeyData scankey[1];
	HeapTuple tuple;

	if (relation == NULL)
		return NULL;
	scan = seal_key_scan(relation, id, scankey);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		key = MemoryContextAllocZero(key_memory, sizeof(SealKey));
		seal_key_read(key, tuple, relation);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	if (key == NULL)
		return NULL;

	relation = seal_key_open("key_version", VERSION_ATT_WRAPPED);
	if (relation == NULL)
		return NULL;
	scan = seal_key_scan(relation, id, scankey);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		seal_key_read_version(key, tuple, relation);
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	key->destroyed = key->nversions > 0;
	for (int i = 0; i < key->nversions; i++)
	{
		if (key->versions[i].active)
			key->active = &key->versions[i];
		if (!key->versions[i].destroyed)
			key->destroyed = false;
	}
	return key;
}

/* See seal_int.h.  The caller has called seal_key_sync(). */
const SealKey *
seal_key_find(SealKeyId id)
{
	SealKey *key;

	for (int i = 0; i < key_cached; i++)
		if (key_cache[i]->id == id)
			return key_cache[i];
	Assert(IsTransactionState());
	key = seal_key_load(id);
	if (key == NULL)
		return NULL;
	/*
	 * A full cache starts anew; the memory of the old entries is reclaimed at the
	 * next invalidation, because callers may still hold one of them.
	 */
	if (key_cached == KEY_CACHE)
		key_cached = 0;
	key_cache[key_cached++] = key;
	return key;
}

/* See seal_int.h.  The caller has called seal_key_sync(). */
const SealKey *
seal_key_require(SealKeyId id)
{
	const SealKey *key = seal_key_find(id);

	if (key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WARD_KEY_UNKNOWN),
				 errmsg("sealing key %s does not exist in this database", seal_key_label(id)),
				 errhint("ward.keys lists the keys; ward.create_key() makes one. A key that was "
						 "here before comes back by restoring the tables of schema _ward.")));
	if (key->destroyed)
		ereport(ERROR, (errcode(ERRCODE_WARD_KEY_DESTROYED),
						errmsg("sealing key %s is destroyed", seal_key_label(id)),
						errdetail("Nothing can be sealed under it, and what was sealed can't be "
								  "opened any more.")));
	if (key->frozen)
		ereport(ERROR, (errcode(ERRCODE_WARD_KEY_FROZEN),
						errmsg("sealing key %s is frozen", seal_key_label(id)),
						errdetail("Nothing is sealed or opened under it, for anybody."),
						errhint("Ask an officer; ward.thaw_key() ends the freeze.")));
	return key;
}

/* See seal_int.h.  Raises WD1xx, WD204, WD220. */
void
seal_key_unwrap(const SealKey *key, const SealKeySecret *wrapped, uint8 secret[SEAL_SECRET_LENGTH])
{
	/* Copied: nothing of the cache may be relied on once a provider has run. */
	SealKeySecret copy = *wrapped;
	SealKeyId id = key->id;

	if (!copy.ours && seal_keyring_get(MyDatabaseId, id, copy.wrapped, secret))
		return;
	if (!seal_kek_unwrap(copy.wrapped, copy.fingerprint, secret))
		ereport(ERROR,
				(errcode(ERRCODE_WARD_KEY_CORRUPT),
				 errmsg("sealing key %s is damaged", seal_key_label(id)),
				 errdetail("The key-encryption key is right, but what it wrapped was changed."),
				 errhint("Restore the tables of schema _ward from a backup.")));
	if (!copy.ours)
		seal_keyring_put(MyDatabaseId, id, copy.wrapped, secret, key_generation);
}

/* ----------------------------------------------------------------
 * Names
 * ----------------------------------------------------------------
 */

/* See seal_int.h. */
SealKeyId
seal_key_id(const char *name)
{
	Size len = strlen(name);
	uint8 digest[32];
	SealKeyId id;
	char *utf8;

	if (len == 0 || len >= NAMEDATALEN)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a sealing key's name must have 1 to %d bytes", NAMEDATALEN - 1)));
	for (Size i = 0; i < len; i++)
		if ((uint8) name[i] < 0x20 || name[i] == 0x7f)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("a sealing key's name may not contain control characters")));
	if (name[0] == ' ' || name[len - 1] == ' ')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a sealing key's name may not start or end with a space")));
	/* The same name has the same id in a database of another encoding. */
	utf8 = pg_server_to_any(name, (int) len, PG_UTF8);
	if (!seal_cipher_digest(utf8, strlen(utf8), digest))
		seal_key_cipher_failed("hash a key's name");
	id = (SealKeyId) ((uint32) (digest[0] & 0x7f) << 24 | (uint32) digest[1] << 16 |
					  (uint32) digest[2] << 8 | digest[3]);
	return id == 0 ? 1 : id;
}

/* See seal.h. */
char *
seal_key_name(SealKeyId id)
{
	const SealKey *key;

	seal_key_sync();
	key = seal_key_find(id);
	return key == NULL ? NULL : pstrdup(key->name);
}

/* See seal_int.h. */
char *
seal_key_label(SealKeyId id)
{
	const SealKey *key = seal_key_find(id);

	return key == NULL ? psprintf("number %d", id) : psprintf("\"%s\"", key->name);
}

/* See seal_int.h. */
bool
seal_key_exists(SealKeyId id)
{
	seal_key_sync();
	return seal_key_find(id) != NULL;
}

/* See seal_int.h. */
bool
seal_key_usable(SealKeyId id)
{
	const SealKey *key;

	seal_key_sync();
	key = seal_key_find(id);
	return key != NULL && !key->frozen && !key->destroyed;
}

/* See seal_int.h. */
bool
seal_key_has_version(SealKeyId id, uint16 version)
{
	const SealKey *key;

	seal_key_sync();
	key = seal_key_find(id);
	for (int i = 0; key != NULL && i < key->nversions; i++)
		if (key->versions[i].version == version)
			return !key->versions[i].destroyed;
	return false;
}

/* See seal_int.h. */
uint16
seal_key_active_version(SealKeyId id)
{
	const SealKey *key;

	seal_key_sync();
	key = seal_key_find(id);
	return key == NULL || key->active == NULL ? 0 : key->active->version;
}

/* See seal_int.h.  Raises WD201. */
SealSearch
seal_key_search(SealKeyId id)
{
	const SealKey *key;

	seal_key_sync();
	key = seal_key_find(id);
	/* Raises; a frozen key has told its search already. */
	if (key == NULL)
		key = seal_key_require(id);
	return key->search;
}

/* See seal_int.h. */
SealKeyId
seal_key_default(void)
{
	Relation relation;
	SysScanDesc scan;
	HeapTuple tuple;
	SealKeyId found = SEAL_KEY_NONE;

	seal_key_sync();
	if (key_default_known)
		return key_default;
	relation = seal_key_open("key", KEY_ATT_WRAPPED);
	if (relation == NULL)
		return SEAL_KEY_NONE;
	/* Keys are few; an index of a boolean would not pay. */
	scan = systable_beginscan(relation, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		if (DatumGetBool(seal_key_column(tuple, relation, KEY_ATT_DEFAULT)))
			found = DatumGetInt32(seal_key_column(tuple, relation, KEY_ATT_ID));
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	key_default = found;
	key_default_known = true;
	return found;
}

/* See seal_int.h. */
List *
seal_key_ids(void)
{
	Relation relation = seal_key_open("key", KEY_ATT_WRAPPED);
	SysScanDesc scan;
	HeapTuple tuple;
	List *ids = NIL;

	if (relation == NULL)
		return NIL;
	scan = systable_beginscan(relation, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		ids = lappend_int(ids, DatumGetInt32(seal_key_column(tuple, relation, KEY_ATT_ID)));
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return ids;
}

/* See seal_int.h. */
void
seal_key_cipher_failed(const char *doing)
{
	ereport(ERROR,
			(errcode(ERRCODE_WARD_CRYPTO_FAILED), errmsg("could not %s: OpenSSL failed", doing),
			 errhint("Check the server's OpenSSL configuration: AES-256 in the modes GCM, "
					 "CBC and WRAP-PAD must be available.")));
}

/* ----------------------------------------------------------------
 * For the extension's own SQL
 * ----------------------------------------------------------------
 */

/* _ward.key_id(text): the id that a name has. */
Datum
ward_seal_key_id(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(seal_key_id(text_to_cstring(PG_GETARG_TEXT_PP(0))));
}

static bytea *
seal_key_bytea(const void *data, Size len)
{
	bytea *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), data, len);
	return result;
}

/*
 * _ward.new_secret(): a fresh secret, wrapped.  One bytea, fingerprint and wrapped
 * bytes behind each other, so that both are of one KEK.
 */
Datum
ward_seal_new_secret(PG_FUNCTION_ARGS)
{
	uint8 *secret;
	uint8 out[SEAL_FINGERPRINT_LENGTH + SEAL_WRAPPED_LENGTH];
	volatile bool ok = false;

	core_preload_require();
	secret = core_secret_alloc(SEAL_SECRET_LENGTH);
	PG_TRY();
	{
		ok = seal_cipher_random(secret, SEAL_SECRET_LENGTH);
		if (ok)
			seal_kek_wrap(secret, out + SEAL_FINGERPRINT_LENGTH, out);
	}
	PG_FINALLY();
	{
		core_secret_free(secret, SEAL_SECRET_LENGTH);
	}
	PG_END_TRY();
	if (!ok)
		seal_key_cipher_failed("make a random key");
	PG_RETURN_BYTEA_P(seal_key_bytea(out, sizeof(out)));
}

/* _ward.kek_fingerprint(): of the KEK in use.  Raises WD101 to WD104. */
Datum
ward_seal_kek_fingerprint(PG_FUNCTION_ARGS)
{
	uint8 fingerprint[SEAL_FINGERPRINT_LENGTH];

	core_preload_require();
	seal_kek_fingerprint(fingerprint);
	PG_RETURN_BYTEA_P(seal_key_bytea(fingerprint, sizeof(fingerprint)));
}
