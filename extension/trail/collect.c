/*
 * collect.c
 *		Gathers what has to be carried over a cut.
 *
 * The trail is read three times: what is to go (is it what was written, and of which
 * databases and times; which of its events say how things stood), what stays (to which
 * records before the cut does it refer, which texts and subjects does it name), and what
 * is to go once more, to copy.  What an earlier prune carried over is read as if it stood
 * before what is to go.
 *
 * Carried are: contexts and descriptions that are referred to, the first text of each
 * fingerprint that is named, each checkpoint that announces a key, events that say how
 * things stood (see collect_standing()), with their contexts, and of subject keys the
 * newest of each that is named, in records made anew.  Subjects whose evidence has all
 * gone are not carried.
 *
 * Memory goes with the current context.  No locks.  Raises WD3xx.
 */
#include "trail/trail_int.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* A record of subject keys ends past so many bytes. */
#define COLLECT_KEYS_BYTES (64 * 1024)

typedef struct CollectText
{
	Oid database;
	int64 fingerprint;
} CollectText;

typedef struct CollectTextEntry
{
	CollectText key;
	bool carried;
} CollectTextEntry;

/* What is known of a database. */
typedef struct CollectDatabase
{
	Oid database;
	bool keys;				  /* it has subject keys before the cut */
	TrailSubjectSet *numbers; /* of subjects that what stays names; NULL: none */
} CollectDatabase;

/* A path that was opened and, as far as is known, not closed. */
typedef struct CollectOpen
{
	TrailPosition position;
	TrailPosition context;
	const char *closes; /* by which event */
	char *session;		/* by the same session; NULL: by anybody's */
} CollectOpen;

/* A subject's key, the newest one. */
typedef struct CollectKeyId
{
	Oid database;
	uint32 form;
	uint64 class_hash;
	uint8 fingerprint[TRAIL_FINGERPRINT_LENGTH];
} CollectKeyId;

typedef struct CollectKey
{
	CollectKeyId id;
	char *class;
	TrailPosition position;
	int64 at;
	int64 number;
	char *data;
	Size length;
} CollectKey;

typedef struct Collect
{
	TrailCollected *result;
	TrailPosition cut;
	HTAB *positions; /* of records that are carried as they are */
	HTAB *texts;
	HTAB *databases;
	HTAB *keys;
	List *open;
	MemoryContext each; /* reset for each record */
} Collect;

/* ---------------------------------------------------------------- which events */

/*
 * Events that say how things stood are needed for answers about later times: what was
 * watched, which settings weakened capture, what became of keys and trails.
 */
static bool
collect_standing(const char *kind)
{
	static const char *const kept[] = {
		"watch.",		 "setting.",		"key.",		 "kek.",		   "column.",	"grant.",
		"definition.",	 "extension.",		"role.",	 "copy.",		   "standby.",	"code.",
		"trail.created", "trail.elsewhere", "trail.gap", "trail.key_lost", TRAIL_PRUNED};

	for (int i = 0; i < (int) lengthof(kept); i++)
		if (strncmp(kind, kept[i], strlen(kept[i])) == 0)
			return true;
	return false;
}

static const char *
collect_field(const TrailEventBody *body, const char *name)
{
	for (int i = 0; i < body->nfields; i++)
		if (strcmp(body->names[i], name) == 0)
			return body->values[i];
	return NULL;
}

static void
collect_position(Collect *collect, TrailPosition position)
{
	if (position < collect->cut)
		(void) hash_search(collect->positions, &position, HASH_ENTER, NULL);
}

/* Paths that show no rows stay blind spots until they are closed, past the cut too (I7). */
static void
collect_path(Collect *collect, const TrailFrame *frame, const TrailEventBody *body)
{
	static const struct
	{
		const char *opens;
		const char *closes;
		bool anybody;
	} paths[] = {{"raw.backup", "raw.backup_end", true},
				 {"raw.replication", "raw.replication_end", false},
				 {"raw.capture_off", "raw.capture_on", false}};
	const char *session = collect_field(body, "session");
	List *left = NIL;
	ListCell *cell;

	/* All end with the server. */
	if (strcmp(body->kind, "trail.started") == 0)
		collect->open = NIL;
	foreach (cell, collect->open)
	{
		CollectOpen *open = lfirst(cell);

		if (strcmp(open->closes, body->kind) != 0 ||
			(open->session != NULL && session != NULL && strcmp(open->session, session) != 0))
			left = lappend(left, open);
	}
	for (int i = 0; i < (int) lengthof(paths); i++)
		if (strcmp(paths[i].opens, body->kind) == 0)
		{
			CollectOpen *open = palloc0(sizeof(CollectOpen));

			open->position = frame->position;
			open->context = body->context;
			open->closes = paths[i].closes;
			if (!paths[i].anybody && session != NULL)
				open->session = pstrdup(session);
			left = lappend(left, open);
		}
	collect->open = left;
}

/* ---------------------------------------------------------------- what is read */

static CollectDatabase *
collect_database(Collect *collect, Oid database)
{
	bool found;
	CollectDatabase *it = hash_search(collect->databases, &database, HASH_ENTER, &found);

	if (!found)
	{
		it->keys = false;
		it->numbers = NULL;
	}
	return it;
}

/* First reading: what is to go. */
static void
collect_gone(Collect *collect, const TrailFrame *frame)
{
	MemoryContext old;
	TrailEventBody body;

	if (frame->kind == TRAIL_KIND_SUBJECT)
		collect_database(collect, frame->database)->keys = true;
	if (frame->kind != TRAIL_KIND_EVENT)
		return;
	trail_decode_event(frame, &body);
	if (collect_standing(body.kind))
	{
		collect_position(collect, frame->position);
		collect_position(collect, body.context);
	}
	if (strncmp(body.kind, "raw.", 4) != 0 && strcmp(body.kind, "trail.started") != 0)
		return;
	old = MemoryContextSwitchTo(GetMemoryChunkContext(collect));
	collect_path(collect, frame, &body);
	MemoryContextSwitchTo(old);
}

/* Second reading: what stays. */
static void
collect_kept(Collect *collect, const TrailFrame *frame)
{
	if (frame->kind == TRAIL_KIND_EVENT)
	{
		TrailEventBody body;

		trail_decode_event(frame, &body);
		collect_position(collect, body.context);
	}
	else if (frame->kind == TRAIL_KIND_DISCLOSURE)
	{
		TrailDisclosureBody body;
		CollectDatabase *database = collect_database(collect, frame->database);

		trail_decode_disclosure(frame, &body);
		collect_position(collect, body.context);
		collect_position(collect, body.relation);
		if (body.fingerprint != 0)
		{
			CollectText key = {frame->database, body.fingerprint};
			bool found;
			CollectTextEntry *text = hash_search(collect->texts, &key, HASH_ENTER, &found);

			if (!found)
				text->carried = false;
		}
		if (!database->keys || body.manner == TRAIL_MANNER_ALL)
			return;
		if (database->numbers == NULL)
			database->numbers = trail_subject_set_create(GetMemoryChunkContext(collect));
		trail_subject_set_merge(database->numbers, body.subjects, body.subjects_length);
	}
}

/* Keeps each key that is named, the newest of several. */
static void
collect_keys(Collect *collect, const TrailFrame *frame)
{
	CollectDatabase *database = collect_database(collect, frame->database);
	MemoryContext memory = GetMemoryChunkContext(collect);
	TrailSubjectBody body;

	if (database->numbers == NULL)
		return;
	trail_decode_subject(frame, &body);
	for (int i = 0; i < body.count; i++)
	{
		CollectKeyId id;
		CollectKey *key;
		bool found;

		if (!trail_subject_set_contains(database->numbers, body.numbers[i]))
			continue;
		memset(&id, 0, sizeof(id));
		id.database = frame->database;
		id.form = body.form;
		id.class_hash =
			hash_bytes_extended((const uint8 *) body.class, (int) strlen(body.class), 0);
		memcpy(id.fingerprint, body.fingerprints[i], TRAIL_FINGERPRINT_LENGTH);
		key = hash_search(collect->keys, &id, HASH_ENTER, &found);
		if (!found)
			key->class = MemoryContextStrdup(memory, body.class);
		else
			pfree(key->data);
		key->position = frame->position;
		key->at = (int64) trail_segment_get64(frame->body - TRAIL_LEAF_HEADER + 2);
		key->number = body.numbers[i];
		key->data = MemoryContextAlloc(memory, Max(body.lengths[i], 1));
		memcpy(key->data, body.keys[i], body.lengths[i]);
		key->length = body.lengths[i];
	}
}

/* Third reading: what is to go, for what is to be copied. */
static void
collect_copy(Collect *collect, const TrailFrame *frame)
{
	const char *leaf = frame->body - TRAIL_LEAF_HEADER;
	Size len = frame->length + TRAIL_LEAF_HEADER;
	bool carried = hash_search(collect->positions, &frame->position, HASH_FIND, NULL) != NULL;

	if (frame->kind == TRAIL_KIND_STATEMENT)
	{
		TrailStatementBody body;
		CollectText key = {frame->database, 0};
		CollectTextEntry *text;

		trail_decode_statement(frame, &body);
		key.fingerprint = body.fingerprint;
		text = hash_search(collect->texts, &key, HASH_FIND, NULL);
		carried = text != NULL && !text->carried;
		if (text != NULL)
			text->carried = true;
	}
	else if (frame->kind == TRAIL_KIND_CHECKPOINT)
	{
		TrailCheckpoint checkpoint;

		carried =
			trail_note_read(frame->body, frame->length, &checkpoint) && checkpoint.note.announces;
	}
	else if (frame->kind == TRAIL_KIND_SUBJECT)
		collect_keys(collect, frame);
	if (carried)
		trail_carry_add(&collect->result->carry, frame->position, leaf, len);
}

/* ---------------------------------------------------------------- reading */

typedef void (*CollectVisit)(Collect *collect, const TrailFrame *frame);

static void
collect_visit(Collect *collect, CollectVisit visit, const TrailFrame *frame)
{
	MemoryContext old = MemoryContextSwitchTo(collect->each);

	CHECK_FOR_INTERRUPTS();
	visit(collect, frame);
	MemoryContextSwitchTo(old);
	MemoryContextReset(collect->each);
}

/* What an earlier prune carried over, as records. */
static void
collect_carried(Collect *collect, CollectVisit visit, TrailPosition first)
{
	TrailCarry carry;
	TrailCarryEntry entry;
	TrailFault fault;

	if (first == 0)
		return;
	if (!trail_carry_read(trail_setting_directory, first, &carry, &fault))
		trail_segment_raise(&fault);
	while (trail_carry_next(&carry, &entry))
	{
		TrailFrame frame;

		trail_reader_frame(&frame, entry.position, entry.leaf, entry.length);
		collect_visit(collect, visit, &frame);
	}
	pfree(carry.bytes);
}

/* Records of the segments; with a tree, their hashes are added to it. */
static void
collect_segments(Collect *collect, CollectVisit visit, TrailPosition from, TrailPosition to,
				 TrailTree *tree)
{
	TrailReader *reader = trail_reader_open_in(trail_setting_directory, from, to);
	TrailFrame frame;

	while (trail_reader_next(reader, &frame))
	{
		if (tree != NULL)
		{
			const char *leaf = frame.body - TRAIL_LEAF_HEADER;
			int64 at = (int64) trail_segment_get64(leaf + 2);
			uint8 hash[TRAIL_HASH_LENGTH];

			trail_tree_leaf(leaf, frame.length + TRAIL_LEAF_HEADER, hash);
			trail_tree_append(tree, hash);
			collect->result->oldest = Min(collect->result->oldest, at);
			collect->result->newest = Max(collect->result->newest, at);
			if (OidIsValid(frame.database) && frame.kind != TRAIL_KIND_CHECKPOINT)
				collect->result->databases =
					list_append_unique_oid(collect->result->databases, frame.database);
		}
		collect_visit(collect, visit, &frame);
	}
	trail_reader_close(reader);
}

/* ---------------------------------------------------------------- subject keys */

/* By database, class and form, so that those of one record are together. */
static int
collect_by_class(const void *a, const void *b)
{
	const CollectKey *x = *(CollectKey *const *) a;
	const CollectKey *y = *(CollectKey *const *) b;
	int order;

	if (x->id.database != y->id.database)
		return x->id.database < y->id.database ? -1 : 1;
	order = strcmp(x->class, y->class);
	if (order != 0)
		return order;
	if (x->id.form != y->id.form)
		return x->id.form < y->id.form ? -1 : 1;
	return x->position < y->position ? -1 : x->position > y->position;
}

/* Writes keys of one database, class and form as a record, in the place of the newest. */
static void
collect_put_keys(Collect *collect, CollectKey *const *keys, int count)
{
	const CollectKey *last = keys[count - 1];
	StringInfoData leaf;

	initStringInfo(&leaf);
	trail_record_fixed(&leaf, TRAIL_KIND_SUBJECT, 1);
	trail_record_fixed(&leaf, TRAIL_RECORD_VERSION, 1);
	trail_record_fixed(&leaf, (uint64) last->at, 8);
	trail_record_fixed(&leaf, last->id.database, 4);
	trail_record_string(&leaf, last->class);
	trail_record_varint(&leaf, last->id.form);
	trail_record_varint(&leaf, count);
	for (int i = 0; i < count; i++)
	{
		trail_record_fixed(&leaf, (uint64) keys[i]->number, 8);
		appendBinaryStringInfo(&leaf, (const char *) keys[i]->id.fingerprint,
							   TRAIL_FINGERPRINT_LENGTH);
		trail_record_varint(&leaf, keys[i]->length);
		appendBinaryStringInfo(&leaf, keys[i]->data, (int) keys[i]->length);
	}
	trail_carry_add(&collect->result->carry, last->position, leaf.data, leaf.len);
	pfree(leaf.data);
}

static void
collect_all_keys(Collect *collect)
{
	long count = hash_get_num_entries(collect->keys);
	CollectKey **keys = palloc_extended(sizeof(CollectKey *) * Max(count, 1), MCXT_ALLOC_HUGE);
	HASH_SEQ_STATUS scan;
	CollectKey *key;
	long n = 0;
	long from = 0;
	Size bytes = 0;

	hash_seq_init(&scan, collect->keys);
	while ((key = hash_seq_search(&scan)) != NULL)
		keys[n++] = key;
	qsort(keys, n, sizeof(CollectKey *), collect_by_class);
	for (long i = 0; i < n; i++)
	{
		bytes += keys[i]->length + 8 + TRAIL_FINGERPRINT_LENGTH + 10;
		if (i + 1 < n && bytes < COLLECT_KEYS_BYTES &&
			keys[i]->id.database == keys[i + 1]->id.database &&
			keys[i]->id.form == keys[i + 1]->id.form &&
			strcmp(keys[i]->class, keys[i + 1]->class) == 0)
			continue;
		collect_put_keys(collect, &keys[from], (int) (i + 1 - from));
		from = i + 1;
		bytes = 0;
	}
}

/* ---------------------------------------------------------------- all of it */

static void
collect_header(TrailPosition first, TrailSegment *segment)
{
	TrailFault fault;
	int fd = trail_segment_open(first, O_RDONLY, &fault);
	bool read;

	if (fd < 0)
		trail_segment_raise(&fault);
	read = trail_segment_read_header(fd, first, segment, &fault);
	close(fd);
	if (!read)
		trail_segment_raise(&fault);
}

static HTAB *
collect_hash(const char *name, Size key, Size entry)
{
	HASHCTL control = {.keysize = key, .entrysize = entry, .hcxt = CurrentMemoryContext};

	return hash_create(name, 1024, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* See trail_int.h. */
void
trail_collect(TrailPosition first, TrailPosition cut, TrailPosition end, TrailCollected *result)
{
	Collect *collect = palloc0(sizeof(Collect));
	TrailSegment begins;
	TrailSegment goes_on;
	uint8 found[TRAIL_HASH_LENGTH];
	uint8 kept[TRAIL_HASH_LENGTH];
	ListCell *cell;

	memset(result, 0, sizeof(*result));
	result->oldest = PG_INT64_MAX;
	result->newest = PG_INT64_MIN;
	collect->result = result;
	collect->cut = cut;
	collect->positions =
		collect_hash("pg_ward carried", sizeof(TrailPosition), sizeof(TrailPosition));
	collect->texts =
		collect_hash("pg_ward carried texts", sizeof(CollectText), sizeof(CollectTextEntry));
	collect->databases =
		collect_hash("pg_ward carried databases", sizeof(Oid), sizeof(CollectDatabase));
	collect->keys = collect_hash("pg_ward carried keys", sizeof(CollectKeyId), sizeof(CollectKey));
	collect->each =
		AllocSetContextCreate(CurrentMemoryContext, "pg_ward collect", ALLOCSET_DEFAULT_SIZES);

	/* Evidence that was tampered with is not removed: it is evidence of that. */
	collect_header(first, &begins);
	collect_header(cut, &goes_on);
	collect_carried(collect, collect_gone, first);
	collect_segments(collect, collect_gone, first, cut, &begins.tree);
	trail_tree_root(&begins.tree, found);
	trail_tree_root(&goes_on.tree, kept);
	if (begins.tree.size != cut || memcmp(found, kept, TRAIL_HASH_LENGTH) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_WARD_TRAIL_CORRUPT), errmsg("the trail is damaged"),
				 errdetail("The records before " UINT64_FORMAT " are not those that the segment "
						   "there was begun after. Nothing is pruned.",
						   cut),
				 errhint("Run ward.verify_trail() to see what is wrong.")));
	foreach (cell, collect->open)
	{
		collect_position(collect, ((CollectOpen *) lfirst(cell))->position);
		collect_position(collect, ((CollectOpen *) lfirst(cell))->context);
	}
	collect_segments(collect, collect_kept, cut, end, NULL);
	trail_carry_begin(&result->carry, goes_on.node, cut, kept);
	collect_carried(collect, collect_copy, first);
	collect_segments(collect, collect_copy, first, cut, NULL);
	collect_all_keys(collect);
}
