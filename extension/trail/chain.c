/*
 * chain.c
 *		What a trail's checkpoints vouch for, as its records are read in order.
 *
 * Checks each checkpoint's place, root and signature, the chain of keys, times and
 * heartbeats, and checkpoints that were kept elsewhere.  What is wrong ends the
 * verification; what is only odd (a clock set back, a heartbeat missing) is noticed.
 *
 * A checkpoint stands exactly behind the records that it signs, so where its root is
 * not the tree's, its number says whether records are missing or too many.  Where the
 * number fits, the records since the last good one are put in order of time: if that
 * has the signed root, they had only changed places.
 *
 * All in memory of the caller's context; no locks.
 */
#include "trail/trail_int.h"

#include "utils/timestamp.h"

/* Records since the last good checkpoint that are kept, to tell what became of them. */
#define CHAIN_SPAN_MAX 200000
/* Records are stamped a little before they get their place, microseconds. */
#define CHAIN_CLOCK_SLACK (5 * USECS_PER_SEC)
#define CHAIN_HEARTBEAT_SLACK (5 * USECS_PER_SEC)
/* More notices than anybody reads are counted. */
#define CHAIN_NOTICES 100

typedef struct ChainLeaf
{
	int64 at;
	uint64 order; /* keeps sorting stable */
	uint8 hash[TRAIL_HASH_LENGTH];
} ChainLeaf;

struct TrailChain
{
	const TrailTrust *trust;
	int next_anchor;
	bool begun;
	bool resuming; /* what went before was verified earlier; the key is not yet known */
	uint64 epoch;
	uint8 key[TRAIL_KEY_LENGTH];
	uint64 checkpoints;
	TrailTree good; /* of the records before the last good checkpoint */
	int64 checkpoint_at;
	uint64 interval; /* seconds; 0: none is awaited */
	int64 newest;
	TrailPosition newest_at;
	ChainLeaf *span;
	uint64 span_count; /* past CHAIN_SPAN_MAX they are not kept */
	List *notices;
	uint64 notices_left_out;
	/* Of a trail whose beginning was pruned. */
	TrailPosition first; /* where it begins now; 0: it was not pruned */
	bool carried;		 /* there is a file of what was carried over, and these are of it */
	TrailPosition cut;
	uint8 cut_root[TRAIL_HASH_LENGTH];
	uint8 carry_hash[TRAIL_HASH_LENGTH];
	TrailPosition told_cut; /* the furthest cut that a record tells; 0: none */
	TrailPosition vouched;	/* the record that tells of this cut; INVALID: none yet */
	bool vouched_signed;
	char problem[256];
};

TrailChain *
trail_chain_begin(const TrailTrust *trust)
{
	TrailChain *chain = palloc0(sizeof(TrailChain));

	chain->trust = trust;
	chain->vouched = TRAIL_POSITION_INVALID;
	chain->span = palloc_extended(sizeof(ChainLeaf) * CHAIN_SPAN_MAX, MCXT_ALLOC_HUGE);
	return chain;
}

/*
 * Goes on with a trail whose beginning was verified earlier, from a segment in which a
 * key is announced: what is signed before that can't be checked again and is believed.
 */
void
trail_chain_resume(TrailChain *chain, const TrailTree *tree)
{
	chain->resuming = true;
	chain->good = *tree;
}

static void trail_chain_notice(TrailChain *chain, const char *format, ...)
	pg_attribute_printf(2, 3);

static void
trail_chain_notice(TrailChain *chain, const char *format, ...)
{
	char text[256];
	va_list args;

	if (list_length(chain->notices) >= CHAIN_NOTICES)
	{
		chain->notices_left_out++;
		return;
	}
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	chain->notices = lappend(chain->notices, pstrdup(text));
}

static const char *
trail_chain_time(int64 at)
{
	return timestamptz_to_str(at -
							  (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY);
}

static int
trail_chain_by_time(const void *a, const void *b)
{
	const ChainLeaf *x = a;
	const ChainLeaf *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

/* The number fits and the root does not: in another order, would it? */
static const char *
trail_chain_changed(TrailChain *chain, const TrailNote *note)
{
	TrailTree tree = chain->good;
	uint64 moved = 0;
	uint8 root[TRAIL_HASH_LENGTH];

	if (chain->span_count > CHAIN_SPAN_MAX)
	{
		snprintf(chain->problem, sizeof(chain->problem),
				 "records from " UINT64_FORMAT " to " UINT64_FORMAT
				 " were changed or moved: they are not those that were signed",
				 chain->good.size, note->size - 1);
		return chain->problem;
	}
	qsort(chain->span, chain->span_count, sizeof(ChainLeaf), trail_chain_by_time);
	for (uint64 i = 0; i < chain->span_count; i++)
	{
		if (chain->span[i].order != chain->good.size + i && moved == 0)
			moved = chain->good.size + i;
		trail_tree_append(&tree, chain->span[i].hash);
	}
	trail_tree_root(&tree, root);
	if (memcmp(root, note->root, TRAIL_HASH_LENGTH) == 0)
		snprintf(chain->problem, sizeof(chain->problem),
				 "records were reordered, the first of them at position " UINT64_FORMAT, moved);
	else
		snprintf(chain->problem, sizeof(chain->problem),
				 "a record from " UINT64_FORMAT " to " UINT64_FORMAT
				 " was changed: they are not those that were signed",
				 chain->good.size, note->size - 1);
	return chain->problem;
}

/* Is this checkpoint at its place, and its root the tree's? */
static const char *
trail_chain_root(TrailChain *chain, const TrailTree *tree, const TrailNote *note)
{
	uint8 root[TRAIL_HASH_LENGTH];

	if (note->size > tree->size)
	{
		snprintf(chain->problem, sizeof(chain->problem),
				 UINT64_FORMAT " records were removed, from position " UINT64_FORMAT " on",
				 note->size - tree->size, chain->good.size);
		return chain->problem;
	}
	if (note->size < tree->size)
	{
		snprintf(chain->problem, sizeof(chain->problem),
				 UINT64_FORMAT " records were inserted, from position " UINT64_FORMAT " on",
				 tree->size - note->size, chain->good.size);
		return chain->problem;
	}
	trail_tree_root(tree, root);
	if (memcmp(root, note->root, TRAIL_HASH_LENGTH) != 0)
		return trail_chain_changed(chain, note);
	return NULL;
}

static bool
trail_chain_pinned(const TrailChain *chain, const uint8 key[TRAIL_KEY_LENGTH])
{
	for (int i = 0; i < chain->trust->nkeys; i++)
		if (memcmp(chain->trust->keys[i], key, TRAIL_KEY_LENGTH) == 0)
			return true;
	return false;
}

/* Is it signed by the key whose turn it is?  Follows the chain of keys. */
static const char *
trail_chain_signature(TrailChain *chain, const TrailCheckpoint *checkpoint)
{
	const TrailNote *note = &checkpoint->note;
	bool own = note->announces && note->epoch == checkpoint->epoch &&
			   trail_note_signed_by(checkpoint->text, note, note->announced);

	/* What the chain of keys was before, nobody knows; trail_chain_end() says so. */
	if (chain->first > 0 && !chain->carried)
		return NULL;
	if (chain->resuming)
	{
		if (!note->announces)
			return NULL;
		chain->resuming = false;
	}
	else if (own)
	{
		/* A chain begins. */
		if (chain->trust->nkeys > 0 && !trail_chain_pinned(chain, note->announced))
			return chain->begun ? "the chain of keys is broken: a key begins that none before "
								  "announced and that is not pinned"
								: "the first key is not the pinned one";
		if (chain->begun && chain->trust->nkeys == 0)
			return "the chain of keys is broken: a key begins that none before announced";
	}
	else if (!chain->begun)
		return "the first checkpoint does not announce the key that signed it";
	else if (checkpoint->epoch != chain->epoch ||
			 !trail_note_signed_by(checkpoint->text, note, chain->key))
	{
		snprintf(chain->problem, sizeof(chain->problem),
				 "a checkpoint is not signed by the key of its epoch " UINT64_FORMAT
				 ": history was written anew by somebody who has not that key",
				 chain->epoch);
		return chain->problem;
	}
	else if (note->announces && note->epoch != chain->epoch + 1)
		return "a key was announced out of turn";
	chain->begun = true;
	if (note->announces)
	{
		chain->epoch = note->epoch;
		memcpy(chain->key, note->announced, TRAIL_KEY_LENGTH);
	}
	return NULL;
}

static void
trail_chain_heartbeat(TrailChain *chain, TrailPosition position, int64 at)
{
	int64 allowed = 2 * (int64) chain->interval * USECS_PER_SEC + CHAIN_HEARTBEAT_SLACK;

	if (chain->interval > 0 && at - chain->checkpoint_at > allowed)
		trail_chain_notice(
			chain,
			"no checkpoint for " INT64_FORMAT " seconds before position " UINT64_FORMAT
			", where one was due each " UINT64_FORMAT ": the server or its signer was stopped",
			(at - chain->checkpoint_at) / USECS_PER_SEC, position, chain->interval);
}

static const char *
trail_chain_checkpoint(TrailChain *chain, const uint8 node[TRAIL_NODE_LENGTH],
					   const TrailTree *tree, const char *leaf, Size len, int64 at)
{
	TrailCheckpoint checkpoint;
	const char *problem;

	if (!trail_note_read(leaf + TRAIL_LEAF_HEADER, len - TRAIL_LEAF_HEADER, &checkpoint))
		return "a checkpoint is malformed";
	if (memcmp(checkpoint.note.node, node, TRAIL_NODE_LENGTH) != 0)
		return "a checkpoint is of another node's trail";
	problem = trail_chain_signature(chain, &checkpoint);
	if (problem == NULL)
		problem = trail_chain_root(chain, tree, &checkpoint.note);
	if (problem != NULL)
		return problem;
	trail_chain_heartbeat(chain, tree->size, at);
	chain->checkpoints++;
	chain->checkpoint_at = at;
	/* None is awaited while the server is down. */
	chain->interval = strcmp(checkpoint.reason, "shutdown") == 0 ? 0 : checkpoint.interval;
	if (chain->vouched != TRAIL_POSITION_INVALID && tree->size > chain->vouched)
		chain->vouched_signed = true;
	chain->good = *tree;
	chain->span_count = 0;
	return NULL;
}

/* ---------------------------------------------------------------- what was pruned */

/*
 * Begins behind the records of a tree: the first segment's header has it, and those
 * records were pruned.  carry is what was carried over; NULL: there is none.  Takes the
 * chain of keys from it.  Returns NULL, or what is wrong.
 */
const char *
trail_chain_cut(TrailChain *chain, const uint8 node[TRAIL_NODE_LENGTH], const TrailTree *tree,
				TrailCarry *carry)
{
	TrailCarryEntry entry;
	uint64 gone = 0;

	chain->first = tree->size;
	chain->good = *tree;
	chain->carried = carry != NULL;
	for (int i = 0; i < chain->trust->nanchors; i++)
		gone += chain->trust->anchors[i].size < tree->size;
	if (gone > 0)
		trail_chain_notice(chain,
						   "of the checkpoints that were kept elsewhere " UINT64_FORMAT
						   " can't be compared: the records that they sign were pruned",
						   gone);
	if (carry == NULL)
		return NULL;
	chain->cut = carry->cut;
	memcpy(chain->cut_root, carry->root, TRAIL_HASH_LENGTH);
	memcpy(chain->carry_hash, carry->hash, TRAIL_HASH_LENGTH);
	if (memcmp(carry->node, node, TRAIL_NODE_LENGTH) != 0)
		return "what a prune carried over is of another node's trail";
	while (trail_carry_next(carry, &entry))
	{
		TrailCheckpoint checkpoint;
		const char *problem;

		/* Those behind the beginning are met in their place. */
		if (entry.leaf[0] != TRAIL_KIND_CHECKPOINT || entry.position >= tree->size)
			continue;
		if (!trail_note_read(entry.leaf + TRAIL_LEAF_HEADER, entry.length - TRAIL_LEAF_HEADER,
							 &checkpoint) ||
			memcmp(checkpoint.note.node, node, TRAIL_NODE_LENGTH) != 0)
			return "a checkpoint that a prune carried over is malformed";
		problem = trail_chain_signature(chain, &checkpoint);
		if (problem != NULL)
			return problem;
	}
	return NULL;
}

static bool
trail_chain_is(const char *string, Size len, const char *word)
{
	return string != NULL && len == strlen(word) && memcmp(string, word, len) == 0;
}

static bool
trail_chain_hex(const char *string, Size len, uint8 hash[TRAIL_HASH_LENGTH])
{
	static const char digits[] = "0123456789abcdef";

	if (string == NULL || len != 2 * TRAIL_HASH_LENGTH)
		return false;
	memset(hash, 0, TRAIL_HASH_LENGTH);
	for (int i = 0; i < 2 * TRAIL_HASH_LENGTH; i++)
	{
		const char *digit = string[i] != '\0' ? strchr(digits, string[i]) : NULL;

		if (digit == NULL)
			return false;
		hash[i / 2] |= (uint8) ((digit - digits) << (i % 2 == 0 ? 4 : 0));
	}
	return true;
}

/*
 * See trail_int.h.  The bytes are not believed, and nothing is raised: what is no such
 * event is none.  It is of the whole cluster, so that SQL can't write one.
 */
bool
trail_chain_pruned(const char *leaf, Size len, TrailPruned *pruned)
{
	const char *at = leaf + TRAIL_LEAF_HEADER;
	const char *end = leaf + len;
	const char *string;
	Size length;
	uint64 value;
	uint64 fields;
	int found = 0;

	if (leaf[0] != TRAIL_KIND_EVENT || trail_segment_get32(leaf + 10) != 0 ||
		!trail_note_get_varint(&at, end, &value) ||
		!trail_note_get_string(&at, end, &string, &length) ||
		!trail_chain_is(string, length, TRAIL_PRUNED) || !trail_note_get_varint(&at, end, &fields))
		return false;
	for (uint64 i = 0; i < fields; i++)
	{
		const char *name;
		Size name_length;

		if (!trail_note_get_string(&at, end, &name, &name_length) ||
			!trail_note_get_string(&at, end, &string, &length))
			return false;
		if (trail_chain_is(name, name_length, "cut"))
		{
			char number[24] = "";

			memcpy(number, string != NULL ? string : "", Min(length, sizeof(number) - 1));
			pruned->cut = strtoull(number, NULL, 10);
			found++;
		}
		else if (trail_chain_is(name, name_length, "root"))
			found += trail_chain_hex(string, length, pruned->root);
		else if (trail_chain_is(name, name_length, "carry"))
			found += trail_chain_hex(string, length, pruned->carry);
	}
	return found == 3;
}

/* A record that tells of a prune: is it the one that this trail's beginning needs? */
static const char *
trail_chain_told(TrailChain *chain, TrailPosition position, const TrailPruned *pruned)
{
	chain->told_cut = Max(chain->told_cut, pruned->cut);
	if (!chain->carried || pruned->cut != chain->cut)
		return NULL;
	if (memcmp(pruned->carry, chain->carry_hash, TRAIL_HASH_LENGTH) != 0)
	{
		snprintf(chain->problem, sizeof(chain->problem),
				 "what the prune at record " UINT64_FORMAT
				 " carried over is not what was signed: its file was changed",
				 chain->cut);
		return chain->problem;
	}
	if (memcmp(pruned->root, chain->cut_root, TRAIL_HASH_LENGTH) != 0)
		return "the records before this trail's beginning are not those that were pruned";
	chain->vouched = position;
	return NULL;
}

/* At the end: was what is gone pruned, and is that signed? */
static const char *
trail_chain_beginning(TrailChain *chain)
{
	if (chain->first == 0 || (chain->carried && chain->vouched_signed))
		return NULL;
	if (!chain->carried && chain->told_cut >= chain->first)
		snprintf(chain->problem, sizeof(chain->problem),
				 "what the prune at record " UINT64_FORMAT
				 " carried over is missing: its file was removed",
				 chain->told_cut);
	else if (chain->carried && chain->vouched != TRAIL_POSITION_INVALID)
		snprintf(chain->problem, sizeof(chain->problem),
				 "the trail begins at record " UINT64_FORMAT
				 ", but that it was pruned there is not signed",
				 chain->first);
	else if (chain->told_cut > 0)
		snprintf(chain->problem, sizeof(chain->problem),
				 "the trail was pruned up to record " UINT64_FORMAT
				 ", but begins at record " UINT64_FORMAT ": segments were removed",
				 chain->told_cut, chain->first);
	else
		snprintf(chain->problem, sizeof(chain->problem),
				 "the trail begins at record " UINT64_FORMAT
				 ", and no record says that it was pruned: segments were removed",
				 chain->first);
	return chain->problem;
}

/* The checkpoints that were kept elsewhere, as the tree reaches their size. */
static const char *
trail_chain_anchors(TrailChain *chain, const uint8 node[TRAIL_NODE_LENGTH], const TrailTree *tree)
{
	uint8 root[TRAIL_HASH_LENGTH];

	while (chain->next_anchor < chain->trust->nanchors &&
		   chain->trust->anchors[chain->next_anchor].size <= tree->size)
	{
		const TrailNote *anchor = &chain->trust->anchors[chain->next_anchor++];

		if (memcmp(anchor->node, node, TRAIL_NODE_LENGTH) != 0)
			return "a checkpoint that was kept elsewhere is of another node's trail";
		if (anchor->size != tree->size)
			continue; /* before what is left of the trail */
		trail_tree_root(tree, root);
		if (memcmp(root, anchor->root, TRAIL_HASH_LENGTH) != 0)
		{
			snprintf(chain->problem, sizeof(chain->problem),
					 "the first " UINT64_FORMAT " records are not those of the checkpoint that was "
					 "kept elsewhere: history was written anew",
					 anchor->size);
			return chain->problem;
		}
	}
	return NULL;
}

/* See trail_int.h. */
const char *
trail_chain_record(TrailChain *chain, const uint8 node[TRAIL_NODE_LENGTH], const TrailTree *tree,
				   const char *leaf, Size len, const uint8 hash[TRAIL_HASH_LENGTH])
{
	int64 at = (int64) trail_segment_get64(leaf + 2);
	const char *problem = trail_chain_anchors(chain, node, tree);
	TrailPruned pruned;

	if (problem != NULL)
		return problem;
	if (chain->carried && tree->size == chain->cut)
	{
		uint8 root[TRAIL_HASH_LENGTH];

		trail_tree_root(tree, root);
		if (memcmp(root, chain->cut_root, TRAIL_HASH_LENGTH) != 0)
			return "the records before this trail's beginning are not those that were pruned";
	}
	if (chain->first > 0 && trail_chain_pruned(leaf, len, &pruned))
		problem = trail_chain_told(chain, tree->size, &pruned);
	if (problem != NULL)
		return problem;
	if (at < chain->newest - CHAIN_CLOCK_SLACK)
	{
		trail_chain_notice(chain,
						   "the clock was set back by " INT64_FORMAT
						   " seconds at position " UINT64_FORMAT ", to %s",
						   (chain->newest - at) / USECS_PER_SEC, tree->size, trail_chain_time(at));
		/* Said once; and the heartbeat counts from here. */
		chain->newest = at;
		chain->checkpoint_at = Min(chain->checkpoint_at, at);
	}
	chain->newest = Max(chain->newest, at);
	if (leaf[0] == TRAIL_KIND_CHECKPOINT)
		problem = trail_chain_checkpoint(chain, node, tree, leaf, len, at);
	if (problem != NULL)
		return problem;
	if (chain->span_count < CHAIN_SPAN_MAX)
	{
		ChainLeaf *kept = &chain->span[chain->span_count];

		kept->at = at;
		kept->order = tree->size;
		memcpy(kept->hash, hash, TRAIL_HASH_LENGTH);
	}
	chain->span_count++;
	return NULL;
}

/* See trail_int.h. */
const char *
trail_chain_end(TrailChain *chain, const TrailTree *tree, int64 now)
{
	const TrailTrust *trust = chain->trust;
	const char *problem = trail_chain_beginning(chain);

	if (problem != NULL)
		return problem;
	if (chain->next_anchor < trust->nanchors)
	{
		snprintf(chain->problem, sizeof(chain->problem),
				 "the trail was cut off: a checkpoint that was kept elsewhere has " UINT64_FORMAT
				 " records",
				 trust->anchors[trust->nanchors - 1].size);
		return chain->problem;
	}
	if (trust->nkeys > 0 && !chain->begun)
		return "there is no checkpoint";
	trail_chain_heartbeat(chain, tree->size, Max(chain->newest, now));
	if (!chain->begun)
		trail_chain_notice(chain, "there is no checkpoint: nothing is signed");
	if (chain->notices_left_out > 0)
		chain->notices = lappend(chain->notices,
								 psprintf(UINT64_FORMAT " notices more", chain->notices_left_out));
	return NULL;
}

uint64
trail_chain_checkpoints(const TrailChain *chain)
{
	return chain->checkpoints;
}

/* Is it known which key has to sign next? */
bool
trail_chain_begun(const TrailChain *chain)
{
	return chain->begun && !chain->resuming;
}

/* Records that the last good checkpoint vouches for. */
uint64
trail_chain_signed(const TrailChain *chain)
{
	return chain->good.size;
}

List *
trail_chain_notices(const TrailChain *chain)
{
	return chain->notices;
}
