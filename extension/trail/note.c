/*
 * note.c
 *		Checkpoints as signed notes (C2SP tlog-checkpoint, signed-note).
 *
 * A note says how many records a trail has and the root of their tree, in lines that
 * other tools read, and bears an Ed25519 signature.  One that announces a key has a
 * fourth line: from that checkpoint on, the announced key signs.  The first of a trail
 * announces the key that signed it.
 *
 * Parsing takes only what writing makes: another spelling of the same checkpoint is
 * not one.  Nothing here raises or takes a lock: notes are written under the trail's.
 */
#include "trail/trail_int.h"

#include "common/base64.h"

/* Before the node, in a note's origin and a key's name. */
#define NOTE_PREFIX "pg_ward/trail/"
/* The line that announces a key. */
#define NOTE_KEY "ward-key "
/* An em dash and a space start a line with a signature. */
#define NOTE_SIGNATURE "\xe2\x80\x94 "
#define NOTE_ALGORITHM 1 /* Ed25519 */

/* Base64 of a hash or a public key, of key id and signature, of algorithm and key. */
#define NOTE_BASE64_HASH 44
#define NOTE_BASE64_SIGNATURE 92
#define NOTE_BASE64_VKEY 44

static bool
trail_note_hex(const char *text, uint8 *bytes, int count)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < 2 * count; i++)
	{
		const char *digit = text[i] != '\0' ? strchr(digits, text[i]) : NULL;

		if (digit == NULL)
			return false;
		bytes[i / 2] = (uint8) ((i % 2 == 0 ? 0 : bytes[i / 2] << 4) | (digit - digits));
	}
	return true;
}

/* Name of a node's trail: a note's origin, and the name of its keys. */
void
trail_note_name(char name[64], const uint8 node[TRAIL_NODE_LENGTH])
{
	int at = snprintf(name, 64, NOTE_PREFIX);

	for (int i = 0; i < TRAIL_NODE_LENGTH; i++)
		at += snprintf(name + at, 64 - at, "%02x", node[i]);
}

static bool
trail_note_base64(const void *bytes, int len, char *text, int room)
{
	int written = pg_b64_encode(bytes, len, text, room - 1);

	if (written < 0)
		return false;
	text[written] = '\0';
	return true;
}

/* Decodes exactly so many bytes; what would be encoded in another way is refused. */
static bool
trail_note_unbase64(const char *text, int text_len, void *bytes, int len)
{
	char again[NOTE_BASE64_SIGNATURE + 1];

	return text_len < (int) sizeof(again) && pg_b64_decode(text, text_len, bytes, len) == len &&
		   trail_note_base64(bytes, len, again, sizeof(again)) &&
		   strlen(again) == (Size) text_len && memcmp(again, text, text_len) == 0;
}

/* A public key as C2SP writes it, for whoever pins it. */
bool
trail_note_vkey(char vkey[TRAIL_VKEY_MAX], const uint8 node[TRAIL_NODE_LENGTH],
				const uint8 public_key[TRAIL_KEY_LENGTH])
{
	char name[64];
	char base64[NOTE_BASE64_VKEY + 1];
	uint8 id[TRAIL_KEY_ID_LENGTH];
	uint8 key[1 + TRAIL_KEY_LENGTH];

	trail_note_name(name, node);
	key[0] = NOTE_ALGORITHM;
	memcpy(key + 1, public_key, TRAIL_KEY_LENGTH);
	if (!trail_tree_key_id(name, public_key, id) ||
		!trail_note_base64(key, sizeof(key), base64, sizeof(base64)))
		return false;
	snprintf(vkey, TRAIL_VKEY_MAX, "%s+%02x%02x%02x%02x+%s", name, id[0], id[1], id[2], id[3],
			 base64);
	return true;
}

/* The other way round; false on anything that trail_note_vkey() does not write. */
bool
trail_note_vkey_parse(const char *vkey, uint8 node[TRAIL_NODE_LENGTH],
					  uint8 public_key[TRAIL_KEY_LENGTH])
{
	char again[TRAIL_VKEY_MAX];
	uint8 key[1 + TRAIL_KEY_LENGTH];
	const Size prefix = strlen(NOTE_PREFIX);
	Size len = strlen(vkey);

	if (len < prefix + 2 * TRAIL_NODE_LENGTH + NOTE_BASE64_VKEY ||
		!trail_note_hex(vkey + prefix, node, TRAIL_NODE_LENGTH) ||
		!trail_note_unbase64(vkey + len - NOTE_BASE64_VKEY, NOTE_BASE64_VKEY, key, sizeof(key)))
		return false;
	memcpy(public_key, key + 1, TRAIL_KEY_LENGTH);
	return trail_note_vkey(again, node, public_key) && strcmp(again, vkey) == 0;
}

/* Writes what is signed; returns its length, or 0. */
static Size
trail_note_text(char text[TRAIL_NOTE_MAX], const TrailNote *note)
{
	char name[64];
	char base64[NOTE_BASE64_HASH + 1];
	int len;

	trail_note_name(name, note->node);
	if (!trail_note_base64(note->root, TRAIL_HASH_LENGTH, base64, sizeof(base64)))
		return 0;
	len = snprintf(text, TRAIL_NOTE_MAX, "%s\n" UINT64_FORMAT "\n%s\n", name, note->size, base64);
	if (note->announces)
	{
		if (!trail_note_base64(note->announced, TRAIL_KEY_LENGTH, base64, sizeof(base64)))
			return 0;
		len += snprintf(text + len, TRAIL_NOTE_MAX - len, NOTE_KEY UINT64_FORMAT " %s\n",
						note->epoch, base64);
	}
	return (Size) len;
}

/* Writes and signs a note; returns its length, or 0 where that fails. */
Size
trail_note_write(char text[TRAIL_NOTE_MAX], const TrailNote *note,
				 const uint8 seed[TRAIL_KEY_LENGTH], const uint8 public_key[TRAIL_KEY_LENGTH])
{
	char name[64];
	char base64[NOTE_BASE64_SIGNATURE + 1];
	uint8 line[TRAIL_KEY_ID_LENGTH + TRAIL_SIGNATURE_LENGTH];
	Size len = trail_note_text(text, note);

	trail_note_name(name, note->node);
	if (len == 0 || !trail_tree_key_id(name, public_key, line) ||
		!trail_tree_sign(seed, text, len, line + TRAIL_KEY_ID_LENGTH) ||
		!trail_note_base64(line, sizeof(line), base64, sizeof(base64)))
		return 0;
	return len +
		   snprintf(text + len, TRAIL_NOTE_MAX - len, "\n" NOTE_SIGNATURE "%s %s\n", name, base64);
}

/* Takes one line, without its break; false at the end. */
static bool
trail_note_line(const char **at, const char *end, const char **line, int *len)
{
	const char *stop = memchr(*at, '\n', end - *at);

	if (stop == NULL)
		return false;
	*line = *at;
	*len = (int) (stop - *at);
	*at = stop + 1;
	return true;
}

static bool
trail_note_number(const char *text, int len, uint64 *number)
{
	*number = 0;
	if (len < 1 || len > 19 || (text[0] == '0' && len > 1))
		return false;
	for (int i = 0; i < len; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return false;
		*number = *number * 10 + (text[i] - '0');
	}
	return true;
}

/* Reads a note as trail_note_write() makes it; says nothing of its signature. */
bool
trail_note_parse(const char *text, Size text_len, TrailNote *note)
{
	const char *end = text + text_len;
	const char *at = text;
	const char *line;
	char name[64];
	uint8 both[TRAIL_KEY_ID_LENGTH + TRAIL_SIGNATURE_LENGTH];
	const Size dash = strlen(NOTE_SIGNATURE);
	Size name_len;
	int len;

	memset(note, 0, sizeof(*note));
	if (!trail_note_line(&at, end, &line, &len) ||
		len != (int) strlen(NOTE_PREFIX) + 2 * TRAIL_NODE_LENGTH ||
		!trail_note_hex(line + strlen(NOTE_PREFIX), note->node, TRAIL_NODE_LENGTH))
		return false;
	trail_note_name(name, note->node);
	name_len = strlen(name);
	if (memcmp(line, name, name_len) != 0 || !trail_note_line(&at, end, &line, &len) ||
		!trail_note_number(line, len, &note->size) || !trail_note_line(&at, end, &line, &len) ||
		!trail_note_unbase64(line, len, note->root, TRAIL_HASH_LENGTH) ||
		!trail_note_line(&at, end, &line, &len))
		return false;
	if (len > 0)
	{
		const char *space;

		if (len <= (int) strlen(NOTE_KEY) || memcmp(line, NOTE_KEY, strlen(NOTE_KEY)) != 0)
			return false;
		line += strlen(NOTE_KEY);
		len -= (int) strlen(NOTE_KEY);
		space = memchr(line, ' ', len);
		if (space == NULL || !trail_note_number(line, (int) (space - line), &note->epoch) ||
			!trail_note_unbase64(space + 1, (int) (line + len - space - 1), note->announced,
								 TRAIL_KEY_LENGTH))
			return false;
		note->announces = true;
		if (!trail_note_line(&at, end, &line, &len) || len != 0)
			return false;
	}
	note->signed_length = (Size) (line - text);
	if (!trail_note_line(&at, end, &line, &len) || at != end ||
		len != (int) (dash + name_len + 1 + NOTE_BASE64_SIGNATURE) ||
		memcmp(line, NOTE_SIGNATURE, dash) != 0 || memcmp(line + dash, name, name_len) != 0 ||
		line[dash + name_len] != ' ' ||
		!trail_note_unbase64(line + dash + name_len + 1, NOTE_BASE64_SIGNATURE, both, sizeof(both)))
		return false;
	memcpy(note->key_id, both, TRAIL_KEY_ID_LENGTH);
	memcpy(note->signature, both + TRAIL_KEY_ID_LENGTH, TRAIL_SIGNATURE_LENGTH);
	return true;
}

/* Did this key sign that note? */
bool
trail_note_signed_by(const char *text, const TrailNote *note,
					 const uint8 public_key[TRAIL_KEY_LENGTH])
{
	char name[64];
	uint8 id[TRAIL_KEY_ID_LENGTH];

	trail_note_name(name, note->node);
	return trail_tree_key_id(name, public_key, id) &&
		   memcmp(id, note->key_id, TRAIL_KEY_ID_LENGTH) == 0 &&
		   trail_tree_verify(public_key, text, note->signed_length, note->signature);
}

/* ---------------------------------------------------------------- the record around it */

static uint8 *
trail_note_put_varint(uint8 *at, uint64 value)
{
	while (value >= 0x80)
	{
		*at++ = (uint8) (value | 0x80);
		value >>= 7;
	}
	*at++ = (uint8) value;
	return at;
}

static uint8 *
trail_note_put_string(uint8 *at, const char *value, Size len)
{
	at = trail_note_put_varint(at, len + 1);
	memcpy(at, value, len);
	return at + len;
}

/*
 * Makes the leaf of a checkpoint, of no database: no memory is allocated here, because
 * a lock is held.  now is in microseconds since 1970.  Returns the leaf's length.
 */
Size
trail_note_leaf(uint8 *leaf, Size room, int64 now, const char *reason, uint64 interval,
				uint64 epoch, const char *text, Size len)
{
	uint8 *at = leaf + TRAIL_LEAF_HEADER;

	Assert(room >= TRAIL_LEAF_HEADER + len + 64 && strlen(reason) < 16);
	memset(leaf, 0, TRAIL_LEAF_HEADER);
	leaf[0] = TRAIL_KIND_CHECKPOINT;
	leaf[1] = TRAIL_RECORD_VERSION;
	for (int i = 0; i < 8; i++)
		leaf[2 + i] = (uint8) ((uint64) now >> (8 * i));
	at = trail_note_put_string(at, reason, strlen(reason));
	at = trail_note_put_varint(at, interval);
	at = trail_note_put_varint(at, epoch);
	at = trail_note_put_string(at, text, len);
	return (Size) (at - leaf);
}

/* See trail_int.h. */
bool
trail_note_get_varint(const char **at, const char *end, uint64 *value)
{
	*value = 0;
	for (int shift = 0; shift < 64 && *at < end; shift += 7)
	{
		uint8 byte = (uint8) * (*at)++;

		*value |= (uint64) (byte & 0x7f) << shift;
		if (byte < 0x80)
			return true;
	}
	return false;
}

/* See trail_int.h. */
bool
trail_note_get_string(const char **at, const char *end, const char **value, Size *len)
{
	uint64 length;

	*value = NULL;
	*len = 0;
	if (!trail_note_get_varint(at, end, &length))
		return false;
	if (length == 0)
		return true;
	if (length - 1 > (uint64) (end - *at))
		return false;
	*value = *at;
	*len = length - 1;
	*at += *len;
	return true;
}

/* Reads a checkpoint's body; text points into it.  False where it is not one. */
bool
trail_note_read(const char *body, Size len, TrailCheckpoint *checkpoint)
{
	const char *end = body + len;
	const char *reason;
	Size reason_len;

	if (!trail_note_get_string(&body, end, &reason, &reason_len) || reason == NULL ||
		reason_len >= sizeof(checkpoint->reason) ||
		!trail_note_get_varint(&body, end, &checkpoint->interval) ||
		!trail_note_get_varint(&body, end, &checkpoint->epoch) ||
		!trail_note_get_string(&body, end, &checkpoint->text, &checkpoint->length) ||
		checkpoint->text == NULL || body != end)
		return false;
	memcpy(checkpoint->reason, reason, reason_len);
	checkpoint->reason[reason_len] = '\0';
	return trail_note_parse(checkpoint->text, checkpoint->length, &checkpoint->note);
}
