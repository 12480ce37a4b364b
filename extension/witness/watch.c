/*
 * watch.c
 *		Which tables are watched, cached in each backend.
 *
 * The truth is _ward.watch.  The cache is thrown away whole when that table, a
 * watched table or a descendant of one changes (ward.watch sends the
 * invalidations), so it is never older than the locks that a statement holds.
 * The transaction that changes a watch itself reads it again at once, and as it ends.
 * A statement pins the entries that it uses; a stale entry is freed when the last
 * pin goes.
 *
 * A partition or inheritance child of a watched table is watched through it: its
 * entry names the parent's entry, under which its subjects are recorded.  One that has
 * a watch of its own, or several watched ancestors, is a watched table itself, by the
 * columns of all of them.
 *
 * Fails closed: a watch whose column is gone stops reads of that table (WD401).
 */
#include "witness/witness_int.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/tablecmds.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* Columns of _ward.watch that are read here. */
#define WATCH_TARGET 1
#define WATCH_SUBJECT 2
#define WATCH_CLASS 3
#define WATCH_KEY 7
#define WATCH_FOLLOWS 8
#define WATCH_FOLLOWS_COLUMN 9

typedef struct WatchRow
{
	Oid target;
	NameData subject;
	char *class;
	char *key;	 /* of text subjects, or NULL */
	Oid follows; /* table that the column leads to, or InvalidOid */
	NameData follows_column;
} WatchRow;

/* A relation that is watched, itself or through an ancestor. */
typedef struct WatchEntry
{
	Oid relid; /* hash key */
	Oid watched;
	WitnessRelation *relation; /* built when first pinned */
} WatchEntry;

static MemoryContext watch_memory = NULL;
static HTAB *watch_entries = NULL;
static List *watch_rows = NIL;
static Oid watch_table = InvalidOid;
static bool watch_valid = false;
static bool watch_changing = false; /* this transaction changes what is watched */

static void
witness_watch_forget(Datum arg, Oid relid)
{
	bool found = true;

	if (!watch_valid)
		return;
	if (OidIsValid(relid) && relid != watch_table && watch_entries != NULL)
		(void) hash_search(watch_entries, &relid, HASH_FIND, &found);
	else if (OidIsValid(relid) && relid != watch_table)
		found = false;
	if (found)
		watch_valid = false;
}

static void
witness_watch_forget_schema(Datum arg, int cacheid, uint32 hashvalue)
{
	watch_valid = false;
}

/*
 * What a transaction has seen of its own change may be undone, or be put off as it is
 * prepared.
 */
static void
witness_watch_transaction(XactEvent event, void *arg)
{
	if (!watch_changing)
		return;
	watch_valid = false;
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		watch_changing = false;
}

static void
witness_watch_subtransaction(SubXactEvent event, SubTransactionId own, SubTransactionId parent,
							 void *arg)
{
	if (watch_changing)
		watch_valid = false;
}

/* Called once, from witness_init(). */
void
witness_watch_init(void)
{
	RegisterXactCallback(witness_watch_transaction, NULL);
	RegisterSubXactCallback(witness_watch_subtransaction, NULL);
	CacheRegisterRelcacheCallback(witness_watch_forget, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, witness_watch_forget_schema, (Datum) 0);
}

static void
witness_watch_free(WitnessRelation *relation)
{
	MemoryContextDelete(relation->memory);
}

/* Drops the cache's own pins; entries in use stay until released. */
static void
witness_watch_clear(void)
{
	HASH_SEQ_STATUS status;
	WatchEntry *entry;

	if (watch_entries != NULL)
	{
		hash_seq_init(&status, watch_entries);
		while ((entry = hash_seq_search(&status)) != NULL)
			if (entry->relation != NULL)
				witness_watch_release(entry->relation);
		watch_entries = NULL;
	}
	watch_rows = NIL;
	if (watch_memory != NULL)
		MemoryContextReset(watch_memory);
}

static bool
witness_watch_has(List *rows, Oid target, const char *subject)
{
	ListCell *lc;

	foreach (lc, rows)
		if (((WatchRow *) lfirst(lc))->target == target &&
			(subject == NULL || strcmp(NameStr(((WatchRow *) lfirst(lc))->subject), subject) == 0))
			return true;
	return false;
}

/*
 * A descendant is watched through its ancestor.  Where it has a watch of its own besides,
 * or another ancestor's, it becomes a watched table itself, by all their columns.
 */
static void
witness_watch_inherit(const WatchRow *row, Oid heir, List *own)
{
	bool found;
	WatchEntry *entry = hash_search(watch_entries, &heir, HASH_ENTER, &found);
	Oid before = found ? entry->watched : InvalidOid;
	List *rows = watch_rows;
	ListCell *lc;

	if (!found)
	{
		entry->relation = NULL;
		before = witness_watch_has(own, heir, NULL) ? heir : row->target;
		entry->watched = before;
	}
	if (before == row->target)
		return;
	entry->watched = heir;
	/* All that its other ancestor gave it, then this. */
	foreach (lc, rows)
	{
		WatchRow *from = lfirst(lc);
		WatchRow *copy;

		if ((from->target != before || before == heir) && from != row)
			continue;
		if (witness_watch_has(watch_rows, heir, NameStr(from->subject)))
			continue;
		copy = palloc(sizeof(WatchRow));
		*copy = *from;
		copy->target = heir;
		watch_rows = lappend(watch_rows, copy);
	}
}

/* Reads _ward.watch. */
static void
witness_watch_load(void)
{
	Relation table;
	SysScanDesc scan;
	HeapTuple tuple;
	MemoryContext old;
	List *own;
	ListCell *lc;
	Oid relid;

	/* Valid before reading, so that an invalidation while we read wins. */
	watch_valid = true;
	relid = core_catalog_relation("watch");
	witness_watch_clear();
	watch_table = relid;
	if (!OidIsValid(relid))
		return;
	if (watch_memory == NULL)
		watch_memory =
			AllocSetContextCreate(TopMemoryContext, "pg_ward watches", ALLOCSET_SMALL_SIZES);
	PG_TRY();
	{
		table = table_open(relid, AccessShareLock);
		scan = systable_beginscan(table, InvalidOid, false, NULL, 0, NULL);
		old = MemoryContextSwitchTo(watch_memory);
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			WatchRow *row = palloc0(sizeof(WatchRow));
			bool isnull;
			Datum key;

			row->target = DatumGetObjectId(
				heap_getattr(tuple, WATCH_TARGET, RelationGetDescr(table), &isnull));
			namestrcpy(&row->subject,
					   NameStr(*DatumGetName(
						   heap_getattr(tuple, WATCH_SUBJECT, RelationGetDescr(table), &isnull))));
			row->class = TextDatumGetCString(
				heap_getattr(tuple, WATCH_CLASS, RelationGetDescr(table), &isnull));
			key = heap_getattr(tuple, WATCH_KEY, RelationGetDescr(table), &isnull);
			if (!isnull)
				row->key = TextDatumGetCString(key);
			key = heap_getattr(tuple, WATCH_FOLLOWS, RelationGetDescr(table), &isnull);
			if (!isnull)
			{
				row->follows = DatumGetObjectId(key);
				key = heap_getattr(tuple, WATCH_FOLLOWS_COLUMN, RelationGetDescr(table), &isnull);
				if (isnull) /* the table's constraint */
					elog(ERROR, "the watch of relation %u follows no column", row->target);
				namestrcpy(&row->follows_column, NameStr(*DatumGetName(key)));
			}
			watch_rows = lappend(watch_rows, row);
		}
		MemoryContextSwitchTo(old);
		systable_endscan(scan);
		table_close(table, AccessShareLock);
		if (watch_rows != NIL)
		{
			HASHCTL control = {
				.keysize = sizeof(Oid), .entrysize = sizeof(WatchEntry), .hcxt = watch_memory};

			watch_entries = hash_create("pg_ward watched relations", 64, &control,
										HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		}
		own = list_copy(watch_rows);
		foreach (lc, own)
		{
			WatchRow *row = lfirst(lc);
			WatchEntry *entry = hash_search(watch_entries, &row->target, HASH_ENTER, NULL);

			entry->watched = row->target;
			entry->relation = NULL;
		}
		foreach (lc, own)
		{
			WatchRow *row = lfirst(lc);
			List *heirs;
			ListCell *heir;

			if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(row->target)))
				continue;
			heirs = find_all_inheritors(row->target, NoLock, NULL);
			old = MemoryContextSwitchTo(watch_memory);
			foreach (heir, heirs)
				if (lfirst_oid(heir) != row->target)
					witness_watch_inherit(row, lfirst_oid(heir), own);
			MemoryContextSwitchTo(old);
			list_free(heirs);
		}
		list_free(own);
	}
	PG_CATCH();
	{
		/* Half a list would be a silence: load it again next time. */
		watch_valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* See witness_int.h. */
bool
witness_watch_any(void)
{
	if (unlikely(!watch_valid))
	{
		if (!IsTransactionState() || !OidIsValid(MyDatabaseId))
			return false;
		witness_watch_load();
	}
	return watch_entries != NULL;
}

/* See witness_int.h. */
List *
witness_watch_relids(void)
{
	List *relids = NIL;
	HASH_SEQ_STATUS status;
	WatchEntry *entry;

	if (!witness_watch_any())
		return NIL;
	hash_seq_init(&status, watch_entries);
	while ((entry = hash_seq_search(&status)) != NULL)
		relids = lappend_oid(relids, entry->relid);
	return relids;
}

/* See witness_int.h. */
bool
witness_watch_names(Oid relid, const char *column)
{
	WatchEntry *entry =
		witness_watch_any() ? hash_search(watch_entries, &relid, HASH_FIND, NULL) : NULL;
	ListCell *lc;

	foreach (lc, watch_rows)
	{
		const WatchRow *row = lfirst(lc);

		if (entry != NULL && (row->target == relid || row->target == entry->watched) &&
			strcmp(NameStr(row->subject), column) == 0)
			return true;
	}
	return false;
}

static void
witness_watch_broken(Oid relid, const char *subject)
{
	char *name = get_rel_name(relid);

	ereport(ERROR, (errcode(ERRCODE_WARD_WATCH_REFUSED),
					errmsg("the watch on table \"%s\" no longer fits the table", name ? name : "?"),
					errdetail("Subject column \"%s\" is gone, or its type, its key or the table it "
							  "leads to no longer names people.",
							  subject),
					errhint("An officer should call ward.unwatch and ward.watch for this table.")));
}

static int
witness_watch_natts(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	int natts = 0;

	if (HeapTupleIsValid(tuple))
	{
		natts = ((Form_pg_class) GETSTRUCT(tuple))->relnatts;
		ReleaseSysCache(tuple);
	}
	return natts;
}

static bool witness_watch_subject(const WatchRow *row, AttrNumber attnum, List *path,
								  WitnessSubject *subject);

/*
 * Where a column that follows leads: to the columns that name people of its class in the
 * table it refers to.  Ways that come back to a table they passed are not taken.
 */
static WitnessFollow *
witness_watch_follow(const WatchRow *row, List *path)
{
	WitnessFollow *follow = palloc0(sizeof(WitnessFollow));
	ListCell *lc;

	path = lappend_oid(list_copy(path), row->target);
	follow->relid = row->follows;
	follow->attnum = get_attnum(row->follows, NameStr(row->follows_column));
	follow->attnums = palloc0(sizeof(AttrNumber) * list_length(watch_rows));
	follow->ends = palloc0(sizeof(WitnessSubject) * list_length(watch_rows));
	foreach (lc, watch_rows)
	{
		WatchRow *next = lfirst(lc);
		WitnessSubject *end = &follow->ends[follow->nends];

		if (next->target != row->follows || strcmp(next->class, row->class) != 0 ||
			list_member_oid(path, next->follows))
			continue;
		follow->attnums[follow->nends] = get_attnum(next->target, NameStr(next->subject));
		end->class = pstrdup(next->class);
		if (!witness_watch_subject(next, follow->attnums[follow->nends], path, end))
			return NULL;
		follow->nends++;
	}
	list_free(path);
	return follow->attnum > 0 && follow->nends > 0 ? follow : NULL;
}

/* What a column's values say of whom; false where they can't name people. */
static bool
witness_watch_subject(const WatchRow *row, AttrNumber attnum, List *path, WitnessSubject *subject)
{
	const char *key = row->key;
	Oid relid = row->target;
	int32 typmod;
	Oid collation;

	if (attnum <= 0)
		return false;
	if (OidIsValid(row->follows))
	{
		subject->follow = witness_watch_follow(row, path);
		if (subject->follow == NULL)
			return false;
	}
	get_atttypetypmodcoll(relid, attnum, &subject->type, &typmod, &collation);
	if (!witness_subject_type(subject->type))
		return false;
	if (subject->follow != NULL)
		return !seal_type_is_sealed(subject->type);
	subject->key = key != NULL ? seal_subject_key(key) : SEAL_KEY_NONE;
	witness_subject_describe(subject);
	if (seal_type_is_sealed(subject->type))
		return typmod == subject->key;
	return subject->plain || subject->type == UUIDOID || subject->key != SEAL_KEY_NONE;
}

/* The watched relation's own entry, with what a record says of it. */
static WitnessRelation *
witness_watch_build(Oid relid)
{
	MemoryContext memory =
		AllocSetContextCreate(TopMemoryContext, "pg_ward watched relation", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(memory);
	WitnessRelation *relation = palloc0(sizeof(WitnessRelation));
	int natts = witness_watch_natts(relid);
	ListCell *lc;
	int n = 0;

	relation->memory = memory;
	relation->relid = relid;
	relation->refcount = 1;
	relation->watched = relation;
	relation->natts = natts;
	relation->subject_attnums = palloc0(sizeof(AttrNumber) * list_length(watch_rows));
	relation->subject_types = palloc0(sizeof(Oid) * list_length(watch_rows));
	relation->subjects = palloc0(sizeof(WitnessSubject) * list_length(watch_rows));
	relation->trail.classes = palloc0(sizeof(char *) * list_length(watch_rows));
	foreach (lc, watch_rows)
	{
		WatchRow *row = lfirst(lc);
		AttrNumber attnum;
		WitnessSubject *subject = &relation->subjects[n];

		if (row->target != relid)
			continue;
		attnum = get_attnum(relid, NameStr(row->subject));
		relation->trail.classes[n] = subject->class = pstrdup(row->class);
		if (!witness_watch_subject(row, attnum, NIL, subject))
			witness_watch_broken(relid, NameStr(row->subject));
		relation->subject_attnums[n] = attnum;
		relation->subject_types[n] = subject->type;
		n++;
	}
	relation->nsubjects = n;
	relation->column_keys = palloc(sizeof(SealKeyId) * Max(natts, 1));
	relation->trail.relid = relid;
	relation->trail.schema = get_namespace_name(get_rel_namespace(relid));
	relation->trail.name = get_rel_name(relid);
	relation->trail.attnums = palloc(sizeof(int16) * Max(natts, 1));
	relation->trail.columns = palloc(sizeof(char *) * Max(natts, 1));
	relation->trail.keys = palloc0(sizeof(char *) * Max(natts, 1));
	for (AttrNumber attnum = 1; attnum <= natts; attnum++)
	{
		HeapTuple tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relid), Int16GetDatum(attnum));
		Form_pg_attribute att;

		relation->column_keys[attnum - 1] = SEAL_KEY_NONE;
		if (!HeapTupleIsValid(tuple))
			continue;
		att = (Form_pg_attribute) GETSTRUCT(tuple);
		if (!att->attisdropped)
		{
			n = relation->trail.ncolumns++;
			relation->trail.attnums[n] = attnum;
			relation->trail.columns[n] = pstrdup(NameStr(att->attname));
			if (seal_type_is_sealed(att->atttypid) && att->atttypmod >= 0)
			{
				relation->column_keys[attnum - 1] = att->atttypmod;
				relation->trail.keys[n] = seal_key_name(att->atttypmod);
			}
		}
		ReleaseSysCache(tuple);
	}
	relation->trail.nsubjects = relation->nsubjects;
	relation->trail.subject_attnums = palloc(sizeof(int16) * Max(relation->nsubjects, 1));
	for (int i = 0; i < relation->nsubjects; i++)
		relation->trail.subject_attnums[i] = relation->subject_attnums[i];
	relation->trail.described_at = TRAIL_POSITION_INVALID;
	MemoryContextSwitchTo(old);
	return relation;
}

/* A descendant's entry: its own column numbers, its ancestor's record. */
static WitnessRelation *
witness_watch_build_heir(Oid relid, WitnessRelation *watched)
{
	MemoryContext memory =
		AllocSetContextCreate(TopMemoryContext, "pg_ward watched relation", ALLOCSET_SMALL_SIZES);
	WitnessRelation *relation = MemoryContextAllocZero(memory, sizeof(WitnessRelation));

	relation->memory = memory;
	relation->relid = relid;
	relation->refcount = 1;
	relation->watched = watched;
	watched->refcount++;
	relation->natts = witness_watch_natts(relid);
	relation->nsubjects = watched->nsubjects;
	relation->subject_types = watched->subject_types;
	relation->subjects = watched->subjects;
	relation->subject_attnums = MemoryContextAlloc(memory, sizeof(AttrNumber) * watched->nsubjects);
	for (int i = 0; i < watched->nsubjects; i++)
	{
		char *name = get_attname(watched->relid, watched->subject_attnums[i], false);

		relation->subject_attnums[i] = get_attnum(relid, name);
		if (relation->subject_attnums[i] <= 0)
			witness_watch_broken(relid, name);
		pfree(name);
	}
	return relation;
}

static WitnessRelation *
witness_watch_find(Oid relid)
{
	WatchEntry *entry;

	if (!witness_watch_any())
		return NULL;
	entry = hash_search(watch_entries, &relid, HASH_FIND, NULL);
	if (entry == NULL)
		return NULL;
	if (entry->relation == NULL)
	{
		WitnessRelation *built;

		if (entry->watched == relid)
			built = witness_watch_build(relid);
		else
		{
			WitnessRelation *watched = witness_watch_find(entry->watched);

			if (watched == NULL)
				return NULL;
			built = witness_watch_build_heir(relid, watched);
		}
		/* Catalog look-ups may have let an invalidation in. */
		entry = watch_valid ? hash_search(watch_entries, &relid, HASH_FIND, NULL) : NULL;
		if (entry == NULL)
		{
			witness_watch_release(built);
			return witness_watch_find(relid);
		}
		entry->relation = built;
	}
	return entry->relation;
}

/* See witness_int.h. */
WitnessRelation *
witness_watch_pin(Oid relid)
{
	WitnessRelation *relation = witness_watch_find(relid);

	if (relation != NULL)
		relation->refcount++;
	return relation;
}

void
witness_watch_release(WitnessRelation *relation)
{
	Assert(relation->refcount > 0);
	if (--relation->refcount > 0)
		return;
	if (relation->watched != relation)
		witness_watch_release(relation->watched);
	witness_watch_free(relation);
}

WARD_FUNCTION(ward_invalidate);

/* Makes every session forget plans and watches of a relation and its descendants. */
Datum
ward_invalidate(PG_FUNCTION_ARGS)
{
	Oid relid = PG_GETARG_OID(0);
	List *relids;
	ListCell *lc;

	/* It may have been dropped in this very transaction. */
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		PG_RETURN_VOID();
	relids = find_all_inheritors(relid, NoLock, NULL);
	foreach (lc, relids)
		CacheInvalidateRelcacheByRelid(lfirst_oid(lc));
	/* Our own messages come at the command's end, if it wrote anything, and not at an abort. */
	watch_changing = true;
	watch_valid = false;
	PG_RETURN_VOID();
}

WARD_FUNCTION(ward_watch_fits);

/* Raises WD401 where a table's watch does not fit the table. */
Datum
ward_watch_fits(PG_FUNCTION_ARGS)
{
	WitnessRelation *relation = witness_watch_pin(PG_GETARG_OID(0));

	if (relation != NULL)
		witness_watch_release(relation);
	PG_RETURN_VOID();
}

WARD_FUNCTION(ward_watch_unread);

/* Raises 55006 where this session is in the middle of reading a table: it would go on unwatched. */
Datum
ward_watch_unread(PG_FUNCTION_ARGS)
{
	List *relids = find_all_inheritors(PG_GETARG_OID(0), AccessShareLock, NULL);
	ListCell *lc;

	foreach (lc, relids)
	{
		Relation table = try_table_open(lfirst_oid(lc), AccessShareLock);

		if (table == NULL)
			continue;
		CheckTableNotInUse(table, "watch");
		table_close(table, NoLock);
	}
	PG_RETURN_VOID();
}
