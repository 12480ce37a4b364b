/*
 * trail_int.h
 *		Shared by the files of the trail layer; upper layers include trail.h.
 *
 * The format on disk is documented byte by byte in docs/trail.md.  All numbers in
 * it are little-endian; times are microseconds since 1970-01-01 00:00 UTC.
 */
#ifndef WARD_TRAIL_INT_H
#define WARD_TRAIL_INT_H

#include "trail/trail.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "storage/lwlock.h"

#define TRAIL_HASH_LENGTH 32
#define TRAIL_NODE_LENGTH 16
#define TRAIL_NODE_TEXT (2 * TRAIL_NODE_LENGTH + 1)
#define TRAIL_KEY_LENGTH 32 /* Ed25519: a seed, or a public key */
#define TRAIL_KEY_ID_LENGTH 4
#define TRAIL_SIGNATURE_LENGTH 64
#define TRAIL_LEVELS 64
#define TRAIL_RECORD_VERSION 1

/* kind, version, time, database */
#define TRAIL_LEAF_HEADER (1 + 1 + 8 + 4)
/* length, crc32c */
#define TRAIL_FRAME_HEADER (4 + 4)
/* No record is longer; whoever has more to say writes several. */
#define TRAIL_LEAF_MAX (64 * 1024 * 1024)

/* ---- setting.c ---- */

typedef enum TrailDurability
{
	TRAIL_DURABILITY_WRITE,
	TRAIL_DURABILITY_FSYNC
} TrailDurability;

typedef enum TrailOnFailure
{
	TRAIL_ON_FAILURE_REFUSE,
	TRAIL_ON_FAILURE_ALLOW
} TrailOnFailure;

extern char *trail_setting_directory;
extern int trail_setting_durability;
extern int trail_setting_segment_size;	/* kB */
extern int trail_setting_sync_timeout;	/* ms */
extern int trail_setting_subject_cache; /* kB */
extern char *trail_setting_actor;
extern int trail_setting_on_failure;
extern int trail_setting_max_size;			  /* MB; 0: no limit */
extern int trail_setting_retention;			  /* s; 0: for ever */
extern int trail_setting_backlog_warning;	  /* records; 0: none */
extern int trail_setting_checkpoint_interval; /* s */
extern int trail_setting_epoch_interval;	  /* s */
extern char *trail_setting_checkpoint_command;
extern char *trail_setting_signing_key_file;
extern char *trail_setting_conninfo;

extern void trail_setting_init(void);

/* ---- tree.c: the RFC 9162 tree; every OpenSSL call of this layer ---- */

/* The compact range of a tree: one hash for each set bit of its size. */
typedef struct TrailTree
{
	uint64 size;
	uint8 hashes[TRAIL_LEVELS][TRAIL_HASH_LENGTH];
} TrailTree;

extern void trail_tree_leaf(const void *data, Size len, uint8 hash[TRAIL_HASH_LENGTH]);
extern void trail_tree_digest(const void *data, Size len, uint8 hash[TRAIL_HASH_LENGTH]);
extern void trail_tree_append(TrailTree *tree, const uint8 leaf[TRAIL_HASH_LENGTH]);
extern void trail_tree_root(const TrailTree *tree, uint8 root[TRAIL_HASH_LENGTH]);
extern void trail_tree_random(void *data, Size len);
extern void trail_tree_node(const uint8 left[TRAIL_HASH_LENGTH],
							const uint8 right[TRAIL_HASH_LENGTH], uint8 hash[TRAIL_HASH_LENGTH]);
extern bool trail_tree_key_id(const char *name, const uint8 public_key[TRAIL_KEY_LENGTH],
							  uint8 id[TRAIL_KEY_ID_LENGTH]);
extern bool trail_tree_public_key(const uint8 seed[TRAIL_KEY_LENGTH],
								  uint8 public_key[TRAIL_KEY_LENGTH]);
extern bool trail_tree_sign(const uint8 seed[TRAIL_KEY_LENGTH], const void *data, Size len,
							uint8 signature[TRAIL_SIGNATURE_LENGTH]);
extern bool trail_tree_verify(const uint8 public_key[TRAIL_KEY_LENGTH], const void *data, Size len,
							  const uint8 signature[TRAIL_SIGNATURE_LENGTH]);

/* ---- proof.c: proofs of RFC 9162 over any source of subtrees ---- */

/* At most one hash a level on each side. */
#define TRAIL_PROOF_MAX (2 * TRAIL_LEVELS)

typedef struct TrailProof
{
	int count;
	uint8 hashes[TRAIL_PROOF_MAX][TRAIL_HASH_LENGTH];
} TrailProof;

/*
 * Gives the hash of the perfect subtree of 2^level leaves that starts at a multiple of
 * its size.  False where it can't be had from one place: it is then made of its halves.
 */
typedef bool (*TrailProofSubtree)(uint64 start, int level, uint8 hash[TRAIL_HASH_LENGTH],
								  void *arg);

extern void trail_proof_root(uint64 size, uint8 root[TRAIL_HASH_LENGTH], TrailProofSubtree subtree,
							 void *arg);
extern void trail_proof_inclusion(uint64 position, uint64 size, TrailProof *proof,
								  TrailProofSubtree subtree, void *arg);
extern void trail_proof_consistency(uint64 from, uint64 to, TrailProof *proof,
									TrailProofSubtree subtree, void *arg);
extern bool trail_proof_check_inclusion(const TrailProof *proof, uint64 position, uint64 size,
										const uint8 leaf[TRAIL_HASH_LENGTH],
										const uint8 root[TRAIL_HASH_LENGTH]);
extern bool trail_proof_check_consistency(const TrailProof *proof, uint64 from, uint64 to,
										  const uint8 from_root[TRAIL_HASH_LENGTH],
										  const uint8 to_root[TRAIL_HASH_LENGTH]);

/* ---- segment.c: files ---- */

/*
 * What went wrong with a file, so that locks can be let go before it is raised.
 * what has one %s for the path; errnum 0 where no system call failed.
 */
typedef struct TrailFault
{
	int sqlerrcode;
	int errnum;
	const char *what;
	const char *hint; /* NULL: the one for sqlerrcode */
	char path[MAXPGPATH];
	uint64 offset;
} TrailFault;

/* A segment's header, as read back. */
typedef struct TrailSegment
{
	uint8 node[TRAIL_NODE_LENGTH];
	TrailPosition first;
	int64 created;
	TrailTree tree; /* of all records before this segment */
	uint64 length;	/* bytes of the header: the first frame's offset */
} TrailSegment;

extern void trail_segment_path(char *path, TrailPosition first);
extern void trail_segment_path_in(char *path, const char *directory, TrailPosition first);
extern void trail_segment_fault_in(TrailFault *fault, const char *directory);
extern bool trail_segment_list_named(const char *directory, const char *suffix,
									 TrailPosition **firsts, int *count, TrailFault *fault);
extern bool trail_segment_list_in(const char *directory, TrailPosition **firsts, int *count,
								  TrailFault *fault);
extern bool trail_segment_list(TrailPosition **firsts, int *count, TrailFault *fault);
extern bool trail_segment_make_directory(TrailFault *fault);
extern int trail_segment_create(const TrailSegment *segment, uint64 *length, TrailFault *fault);
extern void trail_segment_frame(uint8 head[TRAIL_FRAME_HEADER], const void *leaf, Size len);
extern int trail_segment_open(TrailPosition first, int flags, TrailFault *fault);
extern bool trail_segment_read_header(int fd, TrailPosition first, TrailSegment *segment,
									  TrailFault *fault);
extern bool trail_segment_parse_header(const uint8 *header, ssize_t got, TrailPosition first,
									   TrailSegment *segment, TrailFault *fault);
extern const char *trail_segment_leaf(const char *bytes, Size left, Size *len);
extern bool trail_segment_sync(int fd, TrailPosition first, TrailFault *fault);
extern bool trail_segment_fault(TrailFault *fault, int sqlerrcode, int errnum, TrailPosition first,
								uint64 offset, const char *what);
extern void trail_segment_raise(const TrailFault *fault) pg_attribute_noreturn();
extern void trail_segment_put32(uint8 *at, uint32 value);
extern void trail_segment_put64(uint8 *at, uint64 value);
extern uint32 trail_segment_crc(const void *a, Size alen, const void *b, Size blen);
extern uint32 trail_segment_get32(const void *at);
extern uint64 trail_segment_get64(const void *at);
extern uint64 trail_segment_header_length(TrailPosition first);

/* What stands at an offset of a segment. */
typedef enum TrailFrameState
{
	TRAIL_FRAME_WHOLE,
	TRAIL_FRAME_END,  /* nothing more */
	TRAIL_FRAME_TORN, /* an unfinished write at the very end */
	TRAIL_FRAME_BAD	  /* damaged, with more behind it */
} TrailFrameState;

/* Sequential reading of one segment's frames through a buffer. */
typedef struct TrailScan
{
	int fd;
	TrailPosition first;
	uint64 size;   /* of the file when the scan began */
	uint64 offset; /* of the next frame */
	char *buffer;
	Size capacity;
	uint64 buffered_at; /* file offset of buffer[0] */
	Size buffered;
} TrailScan;

extern void trail_segment_scan_begin(TrailScan *scan, int fd, TrailPosition first, uint64 offset,
									 uint64 size);
extern TrailFrameState trail_segment_scan_next(TrailScan *scan, const char **leaf, Size *len,
											   TrailFault *fault);
extern void trail_segment_scan_end(TrailScan *scan);
extern bool trail_segment_frame_follows(TrailScan *scan, TrailFault *fault);

/* ---- carry.c: what was carried over a cut ---- */

#define TRAIL_CARRY_SUFFIX ".carry"
/* The event that says that a trail was pruned; its fields are in docs/trail.md. */
#define TRAIL_PRUNED "trail.pruned"

/* The file, in memory; while it is written, offset is its end. */
typedef struct TrailCarry
{
	uint8 node[TRAIL_NODE_LENGTH];
	TrailPosition cut; /* the first record that was kept */
	int64 made;
	uint64 count;				   /* of records in it */
	uint8 root[TRAIL_HASH_LENGTH]; /* of all records before the cut */
	uint8 hash[TRAIL_HASH_LENGTH]; /* SHA-256 of the file */
	char *bytes;
	Size length;
	Size offset; /* of the next record */
	uint64 given;
} TrailCarry;

typedef struct TrailCarryEntry
{
	TrailPosition position;
	const char *leaf;
	Size length;
} TrailCarryEntry;

extern void trail_carry_path_in(char *path, const char *directory, TrailPosition cut);
extern bool trail_carry_find(const char *directory, TrailPosition first, TrailPosition *cut,
							 TrailFault *fault);
extern bool trail_carry_read(const char *directory, TrailPosition cut, TrailCarry *carry,
							 TrailFault *fault);
extern bool trail_carry_next(TrailCarry *carry, TrailCarryEntry *entry);
extern void trail_carry_begin(TrailCarry *carry, const uint8 node[TRAIL_NODE_LENGTH],
							  TrailPosition cut, const uint8 root[TRAIL_HASH_LENGTH]);
extern void trail_carry_add(TrailCarry *carry, TrailPosition position, const char *leaf, Size len);
extern bool trail_carry_write(TrailCarry *carry, TrailFault *fault);

/* ---- collect.c: what has to be carried over a cut ---- */

typedef struct TrailCollected
{
	TrailCarry carry; /* not yet written */
	int64 oldest;	  /* of the records that are to go */
	int64 newest;
	List *databases; /* that they are of */
} TrailCollected;

/*
 * Reads what is to go, from the first segment to the cut, and what stays, up to an end
 * behind which nothing refers to what is to go.  Raises WD3xx, also where what is to go is
 * not what was written.
 */
extern void trail_collect(TrailPosition first, TrailPosition cut, TrailPosition end,
						  TrailCollected *result);

/* ---- marker.c: which trail is this server's ---- */

/* What the marker says of the trail that this server writes. */
typedef enum TrailMarker
{
	TRAIL_MARKER_NONE,	/* no trail was begun */
	TRAIL_MARKER_OURS,	/* written in this data directory */
	TRAIL_MARKER_COPIED /* brought along by a copy of another data directory */
} TrailMarker;

extern bool trail_marker_read(uint8 node[TRAIL_NODE_LENGTH], TrailMarker *marker,
							  TrailFault *fault);
extern bool trail_marker_leave(TrailFault *fault);
extern bool trail_marker_write(const uint8 node[TRAIL_NODE_LENGTH], TrailFault *fault);

/* ---- append.c: shared state, recovery, appending ---- */

extern Size trail_append_shmem_size(void);
extern void trail_append_shmem_init(void);

/*
 * Recovers where needed, and records once how the trail came up.  Whoever builds a
 * record calls it first: the records that it writes go through the same buffers.  False
 * where ward.on_trail_failure lets the caller go on without a record; trail_append()
 * then returns TRAIL_POSITION_INVALID.
 */
extern bool trail_append_begun(void);
extern bool trail_append_ensure(void);
extern TrailPosition trail_append(const void *leaf, Size len, TrailPosition refers);

/* What trail_append() returns where a record refers to what is given up. */
#define TRAIL_POSITION_GIVEN_UP (PG_UINT64_MAX - 1)

/*
 * Pruning.  From give_up() on nothing is appended that refers to a record before the cut;
 * floor is the last such cut.  Positions below begin were pruned: no segment has them.
 * pruned() says so, and how many bytes less there are.
 */
extern TrailPosition trail_append_floor(void);
extern TrailPosition trail_append_begin(void);
extern void trail_append_give_up(TrailPosition cut);
extern void trail_append_pruned(TrailPosition cut, uint64 bytes);

/*
 * Appends a leaf that tells about the tree before it, and flushes it to disk.  build
 * makes it under the lock, so it must be quick and raise nothing; it returns the leaf's
 * length, or 0 where it can't.
 */
typedef Size (*TrailAppendBuild)(const uint8 node[TRAIL_NODE_LENGTH], const TrailTree *tree,
								 uint8 *leaf, Size room, void *arg);
extern int64 trail_append_now(void);
extern bool trail_append_sync(TrailFault *fault);
extern bool trail_append_about(TrailAppendBuild build, void *arg, TrailFault *fault);

/* A consistent copy of the shared state, recovering first where needed. */
typedef struct TrailState
{
	uint8 node[TRAIL_NODE_LENGTH];
	TrailTree tree;
	TrailPosition segment;
	uint64 offset;
	uint64 bytes; /* of all segments */
	int64 last_at;
} TrailState;

extern void trail_append_state(TrailState *state);
/* The same, but describes the fault where the trail can't be brought up. */
extern bool trail_append_peek(TrailState *state, TrailFault *fault);

/*
 * A fault that somebody else found in what was written: nothing is appended until it
 * is taken back (NULL).
 */
extern void trail_append_distrust(const TrailFault *fault);

/* ---- gap.c: ward.on_trail_failure ---- */

extern Size trail_gap_shmem_size(void);
extern void trail_gap_shmem_init(void);
extern bool trail_gap_allows(const TrailFault *fault);
extern void trail_gap_close(void);
extern void trail_gap_try_close(void);

/* ---- note.c: checkpoints as C2SP signed notes ---- */

/* A note, and the leaf around it. */
#define TRAIL_NOTE_MAX 512
#define TRAIL_CHECKPOINT_MAX (TRAIL_LEAF_HEADER + TRAIL_NOTE_MAX + 64)

/* A public key, as "<name>+<id>+<key>" (C2SP). */
#define TRAIL_VKEY_MAX 128

typedef struct TrailNote
{
	uint8 node[TRAIL_NODE_LENGTH];
	uint64 size;
	uint8 root[TRAIL_HASH_LENGTH];
	bool announces; /* a key that signs from now on */
	uint64 epoch;	/* of the announced key */
	uint8 announced[TRAIL_KEY_LENGTH];
	uint8 key_id[TRAIL_KEY_ID_LENGTH];
	uint8 signature[TRAIL_SIGNATURE_LENGTH];
	Size signed_length; /* bytes of the text that are signed */
} TrailNote;

/* The body of a checkpoint's record. */
typedef struct TrailCheckpoint
{
	char reason[16];
	uint64 interval; /* seconds until the next one at the latest */
	uint64 epoch;	 /* of the key that signed it */
	const char *text;
	Size length;
	TrailNote note;
} TrailCheckpoint;

extern void trail_note_name(char name[64], const uint8 node[TRAIL_NODE_LENGTH]);
extern bool trail_note_vkey(char vkey[TRAIL_VKEY_MAX], const uint8 node[TRAIL_NODE_LENGTH],
							const uint8 public_key[TRAIL_KEY_LENGTH]);
extern bool trail_note_vkey_parse(const char *vkey, uint8 node[TRAIL_NODE_LENGTH],
								  uint8 public_key[TRAIL_KEY_LENGTH]);
extern Size trail_note_write(char text[TRAIL_NOTE_MAX], const TrailNote *note,
							 const uint8 seed[TRAIL_KEY_LENGTH],
							 const uint8 public_key[TRAIL_KEY_LENGTH]);
extern bool trail_note_parse(const char *text, Size len, TrailNote *note);
extern bool trail_note_signed_by(const char *text, const TrailNote *note,
								 const uint8 public_key[TRAIL_KEY_LENGTH]);
extern Size trail_note_leaf(uint8 *leaf, Size room, int64 now, const char *reason, uint64 interval,
							uint64 epoch, const char *text, Size len);
extern bool trail_note_read(const char *body, Size len, TrailCheckpoint *checkpoint);
/* From a record's body on; a string points into it, absent ones are NULL. */
extern bool trail_note_get_varint(const char **at, const char *end, uint64 *value);
extern bool trail_note_get_string(const char **at, const char *end, const char **value, Size *len);

/* ---- signing.c: the file of the signing key ---- */

typedef struct TrailSigningSlot
{
	bool used;
	uint64 epoch;
	uint8 public_key[TRAIL_KEY_LENGTH];
} TrailSigningSlot;

#define TRAIL_SIGNING_SLOTS 2

extern bool trail_signing_load(const uint8 node[TRAIL_NODE_LENGTH],
							   TrailSigningSlot slots[TRAIL_SIGNING_SLOTS], TrailFault *fault);
extern bool trail_signing_generate(int slot, const uint8 node[TRAIL_NODE_LENGTH], uint64 epoch,
								   uint8 public_key[TRAIL_KEY_LENGTH], TrailFault *fault);
extern bool trail_signing_destroy(int slot, TrailFault *fault);
extern const uint8 *trail_signing_seed(int slot);
extern bool trail_signing_note(const uint8 node[TRAIL_NODE_LENGTH], uint64 size,
							   const uint8 root[TRAIL_HASH_LENGTH], TrailFault *fault);
extern bool trail_signing_noted(const uint8 node[TRAIL_NODE_LENGTH], bool *known, uint64 *size,
								uint8 root[TRAIL_HASH_LENGTH], TrailFault *fault);

/* ---- signer.c: the process that writes checkpoints ---- */

typedef struct TrailSignerStatus
{
	uint64 signed_size;	   /* records that the last checkpoint covers */
	TimestampTz signed_at; /* 0: none since the server started */
	uint64 epoch;
	char first_key[TRAIL_VKEY_MAX]; /* to be pinned; empty: not known */
	char key[TRAIL_VKEY_MAX];
	uint64 anchored_size; /* records that the last checkpoint which the command took covers */
	TimestampTz anchored_at;
	char anchor_problem[128];
	char problem[256];
} TrailSignerStatus;

extern Size trail_signer_shmem_size(void);
extern void trail_signer_shmem_init(LWLock *lock);
extern void trail_signer_register(void);
extern void trail_signer_status(TrailSignerStatus *status);
/* Asks for a checkpoint soon, sooner than the interval. */
extern void trail_signer_want(void);

/* ---- chain.c: what checkpoints vouch for, while a trail is read in order ---- */

typedef struct TrailChain TrailChain;

/* What a verifier was given from elsewhere. */
typedef struct TrailTrust
{
	int nkeys; /* pinned: where a chain of keys may begin; 0: anywhere, once */
	uint8 (*keys)[TRAIL_KEY_LENGTH];
	int nanchors; /* checkpoints that were kept elsewhere, by size */
	TrailNote *anchors;
} TrailTrust;

extern TrailChain *trail_chain_begin(const TrailTrust *trust);
extern void trail_chain_resume(TrailChain *chain, const TrailTree *tree);
extern bool trail_chain_begun(const TrailChain *chain);
extern const char *trail_chain_cut(TrailChain *chain, const uint8 node[TRAIL_NODE_LENGTH],
								   const TrailTree *tree, TrailCarry *carry);

/* What an event trail.pruned tells. */
typedef struct TrailPruned
{
	TrailPosition cut;
	uint8 root[TRAIL_HASH_LENGTH];	/* of all records before it */
	uint8 carry[TRAIL_HASH_LENGTH]; /* SHA-256 of the file of what was carried over */
} TrailPruned;

/* Is this leaf such an event? */
extern bool trail_chain_pruned(const char *leaf, Size len, TrailPruned *pruned);
/* Looks at the record behind those in tree; returns NULL, or what is wrong. */
extern const char *trail_chain_record(TrailChain *chain, const uint8 node[TRAIL_NODE_LENGTH],
									  const TrailTree *tree, const char *leaf, Size len,
									  const uint8 hash[TRAIL_HASH_LENGTH]);
/* At the trail's end, or at now (0: unknown). */
extern const char *trail_chain_end(TrailChain *chain, const TrailTree *tree, int64 now);
extern uint64 trail_chain_checkpoints(const TrailChain *chain);
extern uint64 trail_chain_signed(const TrailChain *chain);
extern List *trail_chain_notices(const TrailChain *chain);

/* ---- verify.c ---- */

extern Size trail_verify_shmem_size(void);
extern void trail_verify_shmem_init(void);

/* ---- receive.c: trails that standbys deliver ---- */

/* What this server has of a standby's trail. */
typedef struct TrailReceived
{
	char name[TRAIL_NODE_TEXT];
	char directory[MAXPGPATH];
	TrailPosition received; /* records that are stored */
	TrailPosition accepted; /* of them, those up to the last checkpoint, signed */
	int64 accepted_at;		/* when the last of those was made; 0: none */
	uint64 bytes;
	uint64 source_records;	  /* what the standby says that it has */
	uint64 source_bytes;	  /* of them, how many it has not delivered */
	TimestampTz delivered_at; /* 0: not since this server started */
	char problem[256];
} TrailReceived;

extern Size trail_receive_shmem_size(void);
extern void trail_receive_shmem_init(LWLock *lock);
extern List *trail_receive_list(void);

/* A delivery: where it goes, and the answer, where the next one has to go. */
typedef struct TrailDelivery
{
	uint8 node[TRAIL_NODE_LENGTH];
	const TrailTrust *trust; /* its registered keys; none: it is not registered */
	TrailPosition segment;
	uint64 offset;
	const char *bytes;
	Size length;
	uint64 source_records;
	uint64 source_bytes;
	TrailPosition accepted; /* answered */
} TrailDelivery;

extern void trail_receive(TrailDelivery *delivery);
extern bool trail_receive_sql_parse_node(const char *text, uint8 node[TRAIL_NODE_LENGTH]);

/* Called when something was accepted; the index sets it. */
extern void (*trail_receive_notify)(void);

/* ---- ship.c, link.c: a standby delivers its trail ---- */

extern Size trail_ship_shmem_size(void);
extern void trail_ship_shmem_init(LWLock *lock);
extern void trail_ship_register(void);

/* What the primary answers to a delivery. */
typedef struct TrailLinkAnswer
{
	TrailPosition segment; /* where it awaits the next bytes */
	uint64 offset;
	TrailPosition accepted;
} TrailLinkAnswer;

extern bool trail_link_open(char *problem, Size room);
extern bool trail_link_deliver(const char *node, TrailPosition segment, uint64 offset,
							   const char *bytes, Size length, uint64 records, uint64 left,
							   TrailLinkAnswer *answer, char *problem, Size room);
extern void trail_link_close(void);

/* ---- anchor.c: ward.checkpoint_command ---- */

extern void trail_anchor_offer(const char *text, Size len, uint64 size);
extern long trail_anchor_poll(void);
extern bool trail_anchor_busy(void);

/* See signer.c: what became of a command. */
extern void trail_signer_anchored(uint64 size, const char *problem);

/* ---- record.c ---- */

/* Called after each record; never raises.  The index sets it, to be woken. */
extern void (*trail_record_notify)(void);

extern void trail_record_leaf_header(StringInfo leaf, TrailKind kind);
extern TrailPosition trail_record_started(const char *kind, const TrailField *fields, int nfields);

/* ---- subject_key.c ---- */

extern Size trail_subject_key_shmem_size(void);
extern void trail_subject_key_shmem_init(void);

/* Forgets which keys the trail has, because it is about to be pruned. */
extern void trail_subject_key_forget(void);

/* Writes the keys that wait.  Raises WD3xx. */
extern bool trail_subject_key_write(void);

/* ---- context.c ---- */

/* Position of the record that says who acts now, as role (InvalidOid: current). */
extern TrailPosition trail_context_position(Oid role);

/* ---- reader.c ---- */

typedef struct TrailFrame
{
	TrailPosition position;
	TimestampTz at;
	TrailKind kind;
	uint8 version;
	Oid database;
	const char *body; /* valid until the next call */
	Size length;
} TrailFrame;

typedef struct TrailReader TrailReader;

/*
 * Reads records in order from a position to the trail's end as of the last call.
 * Raises WD3xx.  The reader lives in the current memory context and must be closed
 * in the same transaction.
 */
extern TrailReader *trail_reader_open(TrailPosition from);
extern TrailReader *trail_reader_open_in(const char *directory, TrailPosition from,
										 TrailPosition end);
/* Raises WD305 where a record of this server's own trail was pruned. */
extern void trail_reader_require(TrailPosition position);
extern bool trail_reader_next(TrailReader *reader, TrailFrame *frame);
extern void trail_reader_frame(TrailFrame *frame, TrailPosition position, const char *leaf,
							   Size len);
extern void trail_reader_close(TrailReader *reader);

/* ---- decode.c: bodies; results are palloc'd; raises WD303 on malformed bytes ---- */

typedef struct TrailContextBody
{
	char *session; /* as the log escape %c */
	TimestampTz started;
	int pid;
	char *session_user;
	char *role;
	char *client; /* address, "" for a local socket, or "[none]" */
	int port;
	char *application;
	char *database;
	char *actor;
	char *backend_type;
	char *authenticated; /* role that logged in; session_user can be changed */
	char *actor_source;	 /* how the actor is known; "" where there is none */
} TrailContextBody;

typedef struct TrailRelationBody
{
	Oid relid;
	char *schema;
	char *name;
	int ncolumns;
	int16 *attnums;
	char **columns;
	char **keys; /* NULL for a clear column */
	int nsubjects;
	int16 *subject_attnums;
	char **classes;
} TrailRelationBody;

typedef struct TrailStatementBody
{
	int64 fingerprint;
	char *text;
} TrailStatementBody;

typedef struct TrailDisclosureBody
{
	TrailPosition context;
	TrailPosition relation;
	uint64 statement;
	int64 fingerprint;
	int16 subject_attnum;
	TrailManner manner;
	char *reason;
	int nclear;
	int16 *clear;
	int nsealed;
	int16 *sealed;
	uint64 opens;
	const char *subjects; /* points into the frame; serialised set */
	Size subjects_length; /* 0 exactly with TRAIL_MANNER_ALL */
} TrailDisclosureBody;

typedef struct TrailEventBody
{
	TrailPosition context;
	char *kind;
	int nfields;
	char **names;
	char **values; /* NULL where absent */
} TrailEventBody;

typedef struct TrailSubjectBody
{
	char *class;
	TrailSubjectForm form;
	int count;
	int64 *numbers;
	const char **fingerprints; /* point into the frame */
	const char **keys;
	Size *lengths;
} TrailSubjectBody;

extern void trail_decode_context(const TrailFrame *frame, TrailContextBody *body);
extern void trail_decode_relation(const TrailFrame *frame, TrailRelationBody *body);
extern void trail_decode_statement(const TrailFrame *frame, TrailStatementBody *body);
extern void trail_decode_disclosure(const TrailFrame *frame, TrailDisclosureBody *body);
extern void trail_decode_event(const TrailFrame *frame, TrailEventBody *body);
extern void trail_decode_subject(const TrailFrame *frame, TrailSubjectBody *body);

/* ---- varint helpers, shared by record.c and decode.c ---- */

extern void trail_record_varint(StringInfo into, uint64 value);
extern void trail_record_fixed(StringInfo into, uint64 value, int bytes);
extern void trail_record_string(StringInfo into, const char *value);

/* ---- hooks.c ---- */

/*
 * Registers a process of the layer.  primary: it has databases, and waits until recovery
 * is over; else it also runs on a standby.
 */
extern void trail_worker_register(const char *function, const char *name, bool primary);

#endif /* WARD_TRAIL_INT_H */
