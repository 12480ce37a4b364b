/*
 * actor.c
 *		Who the end user behind a pooled connection is, and how that is known.
 *
 * Three ways, the best that a session has counts:
 *
 * - token: ward.actor_token, which the application has signed with a key that the server
 *   knows from a file.  Whoever injects SQL can't make one.  It names the actor, when it
 *   ends, and which session it is for;
 * - comment: the statement's trailing comment, as sqlcommenter writes it (actor='...');
 * - claimed: ward.actor.
 *
 * A token is verified as it is set, and refused with an error; nobody can read it back.
 * What a comment or ward.actor says is anybody's claim, and recorded as such.
 *
 * A token is 1:ACTOR:EXPIRES:SESSION:MAC.  ACTOR is percent-encoded, EXPIRES in seconds
 * since 1970, SESSION as the log escape %c or *, MAC the hexadecimal HMAC-SHA-256 of what
 * stands before its colon.
 *
 * Called for every record, also while a transaction aborts: nothing is allocated and the
 * catalog is not read.  State is private to the backend; a parallel worker believes its
 * leader.
 */
#include "witness/witness_int.h"

#include <ctype.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/parallel.h"
#include "access/xact.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#define ACTOR_MAX 256
#define ACTOR_KEY_MIN 32
#define ACTOR_KEY_MAX 1024
#define ACTOR_MAC_TEXT (2 * PG_SHA256_DIGEST_LENGTH)

/* A token that was verified. */
typedef struct ActorToken
{
	TimestampTz expires;
	char actor[ACTOR_MAX];
} ActorToken;

static char *actor_key_file = NULL;
static char *actor_token = NULL;
static const ActorToken *actor_verified = NULL;

/* What the trailing comment of this text says. */
static const char *comment_text = NULL;
static TimestampTz comment_statement = 0;
static char comment_actor[ACTOR_MAX];

/* ---------------------------------------------------------------- decoding */

static int
witness_actor_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Undoes percent-encoding; false where it is none, or longer than a context keeps. */
static bool
witness_actor_decode(const char *from, const char *end, char into[ACTOR_MAX])
{
	int n = 0;

	while (from < end)
	{
		char c = *from++;

		if (c == '%')
		{
			int high = from < end ? witness_actor_digit(from[0]) : -1;
			int low = from + 1 < end ? witness_actor_digit(from[1]) : -1;

			if (high < 0 || low < 0 || (high == 0 && low == 0))
				return false;
			c = (char) (high << 4 | low);
			from += 2;
		}
		if (n >= ACTOR_MAX - 1)
			return false;
		into[n++] = c;
	}
	into[n] = '\0';
	return pg_verify_mbstr(GetDatabaseEncoding(), into, n, true);
}

/* ---------------------------------------------------------------- comments */

/* The value of actor in key='value',key='value'. */
static void
witness_actor_pairs(const char *at, const char *end)
{
	while (at < end)
	{
		const char *key;
		const char *value;
		Size length;

		while (at < end && (isspace((unsigned char) *at) || *at == ','))
			at++;
		key = at;
		while (at < end && *at != '=' && *at != ',')
			at++;
		length = at - key;
		if (at + 1 >= end || at[0] != '=' || at[1] != '\'')
			return;
		at += 2;
		value = at;
		/* A quote within is escaped by a backslash or by its percent-encoding. */
		while (at < end && *at != '\'')
			at += *at == '\\' && at + 1 < end ? 2 : 1;
		if (at >= end)
			return;
		if (length == strlen("actor") && strncmp(key, "actor", length) == 0)
		{
			if (!witness_actor_decode(value, at, comment_actor))
				comment_actor[0] = '\0';
			return;
		}
		at++;
	}
}

/* Reads the trailing comment of what the client has sent, once for each statement. */
static void
witness_actor_comment(void)
{
	const char *text = debug_query_string;
	TimestampTz statement = GetCurrentStatementStartTimestamp();
	const char *end;
	const char *start;

	if (text == comment_text && statement == comment_statement)
		return;
	comment_text = text;
	comment_statement = statement;
	comment_actor[0] = '\0';
	if (text == NULL)
		return;
	end = text + strlen(text);
	while (end > text && (isspace((unsigned char) end[-1]) || end[-1] == ';'))
		end--;
	/* Nothing but a comment can end so in a text that the parser takes. */
	if (end - text < 4 || end[-1] != '/' || end[-2] != '*')
		return;
	end -= 2;
	for (start = end - 2; start >= text; start--)
		if (start[0] == '/' && start[1] == '*')
		{
			witness_actor_pairs(start + 2, end);
			return;
		}
}

/* ---------------------------------------------------------------- tokens */

static bool
witness_actor_refuse(int code, const char *message, const char *hint)
{
	GUC_check_errcode(code);
	GUC_check_errmsg("%s", message);
	GUC_check_errhint("%s", hint);
	return false;
}

/* Reads the key; -1 with the fault told. */
static int
witness_actor_key(uint8 key[ACTOR_KEY_MAX])
{
	struct stat st;
	int fd;
	int length;

	if (actor_key_file == NULL || actor_key_file[0] == '\0')
	{
		(void) witness_actor_refuse(ERRCODE_WARD_ACTOR_KEY_ABSENT,
									"there is no key to verify an actor's token",
									"Set ward.actor_key_file, and reload.");
		return -1;
	}
	fd = BasicOpenFile(actor_key_file, O_RDONLY | PG_BINARY);
	if (fd < 0)
	{
		(void) witness_actor_refuse(ERRCODE_WARD_ACTOR_KEY_ABSENT,
									"could not open the key that verifies an actor's token",
									"The server's user must be able to read the file that "
									"ward.actor_key_file names.");
		return -1;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (st.st_mode & (S_IRWXG | S_IRWXO)) != 0 ||
		(st.st_uid != geteuid() && st.st_uid != 0) ||
		path_is_prefix_of_path(DataDir, actor_key_file))
	{
		close(fd);
		(void) witness_actor_refuse(
			ERRCODE_WARD_ACTOR_KEY_REFUSED, "the key that verifies an actor's token is refused",
			"It must be a regular file outside the data directory, owned by the server's user "
			"or root, that nobody else may read.");
		return -1;
	}
	length = read(fd, key, ACTOR_KEY_MAX);
	close(fd);
	if (length < ACTOR_KEY_MIN)
	{
		(void) witness_actor_refuse(ERRCODE_WARD_ACTOR_KEY_CORRUPT,
									"the key that verifies an actor's token is too short",
									"It must have at least 32 random bytes.");
		return -1;
	}
	return length;
}

static bool
witness_actor_mac(const char *text, Size length, uint8 mac[PG_SHA256_DIGEST_LENGTH])
{
	uint8 key[ACTOR_KEY_MAX];
	int key_length = witness_actor_key(key);
	pg_hmac_ctx *hmac;
	bool good;

	if (key_length < 0)
		return false;
	hmac = pg_hmac_create(PG_SHA256);
	good = hmac != NULL && pg_hmac_init(hmac, key, key_length) == 0 &&
		   pg_hmac_update(hmac, (const uint8 *) text, length) == 0 &&
		   pg_hmac_final(hmac, mac, PG_SHA256_DIGEST_LENGTH) == 0;
	if (hmac != NULL)
		pg_hmac_free(hmac);
	core_secret_wipe(key, sizeof(key));
	return good || witness_actor_refuse(ERRCODE_WARD_CRYPTO_FAILED, "could not compute a MAC",
										"The server's log may say why.");
}

static bool
witness_actor_authentic(const char *text, const char *mac)
{
	uint8 expected[PG_SHA256_DIGEST_LENGTH];
	uint8 found[PG_SHA256_DIGEST_LENGTH];

	if (!witness_actor_mac(text, mac - 1 - text, expected))
		return false;
	memset(found, 0, sizeof(found));
	for (int i = 0; i < ACTOR_MAC_TEXT && strlen(mac) == ACTOR_MAC_TEXT; i++)
	{
		int digit = witness_actor_digit(mac[i]);

		if (digit < 0)
			break;
		found[i / 2] = (uint8) (found[i / 2] << 4 | digit);
	}
	if (strlen(mac) == ACTOR_MAC_TEXT && core_secret_equal(expected, found, sizeof(found)))
		return true;
	return witness_actor_refuse(ERRCODE_WARD_ACTOR_REFUSED, "the actor's token is not authentic",
								"It was signed with another key, or changed.");
}

/* The field that begins at *at, and moves behind its colon; false where there is none. */
static bool
witness_actor_field(const char **at, const char **start, const char **end)
{
	*start = *at;
	*end = strchr(*at, ':');
	if (*end == NULL)
		return false;
	*at = *end + 1;
	return true;
}

static bool
witness_actor_parse(const char *text, ActorToken *token)
{
	const char *malformed = "It is 1:actor:expires:session:mac, see docs/watching.md.";
	const char *at = text;
	const char *start;
	const char *end;
	char session[40];
	char *rest;
	int64 seconds;

	if (!witness_actor_field(&at, &start, &end) || end - start != 1 || *start != '1' ||
		!witness_actor_field(&at, &start, &end) ||
		!witness_actor_decode(start, end, token->actor) || token->actor[0] == '\0' ||
		!witness_actor_field(&at, &start, &end))
		return witness_actor_refuse(ERRCODE_WARD_ACTOR_REFUSED, "the actor's token is malformed",
									malformed);
	seconds = strtoll(start, &rest, 10);
	if (rest != end || seconds <= 0 || seconds > INT64CONST(100000000000) ||
		!witness_actor_field(&at, &start, &end))
		return witness_actor_refuse(ERRCODE_WARD_ACTOR_REFUSED, "the actor's token is malformed",
									malformed);
	token->expires = (seconds - (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY) *
					 USECS_PER_SEC;
	/* The leader has verified it; its session is not the worker's. */
	if (IsParallelWorker())
		return true;
	if (!witness_actor_authentic(text, at))
		return false;
	snprintf(session, sizeof(session), "%lx.%x", (long) MyStartTime, MyProcPid);
	if ((end - start != 1 || *start != '*') &&
		((Size) (end - start) != strlen(session) || strncmp(start, session, end - start) != 0))
		return witness_actor_refuse(ERRCODE_WARD_ACTOR_REFUSED,
									"the actor's token is for another session",
									"Sign one for this session, or for any (*).");
	if (token->expires <= GetCurrentTimestamp())
		return witness_actor_refuse(ERRCODE_WARD_ACTOR_REFUSED, "the actor's token has expired",
									"Sign a new one.");
	return true;
}

static bool
witness_actor_check(char **value, void **extra, GucSource source)
{
	ActorToken *token;

	if (*value == NULL || (*value)[0] == '\0')
		return true;
	token = core_compat_guc_malloc(sizeof(ActorToken));
	if (token == NULL)
		return false;
	if (!witness_actor_parse(*value, token))
	{
		core_compat_guc_free(token);
		return false;
	}
	*extra = token;
	return true;
}

static void
witness_actor_assign(const char *value, void *extra)
{
	actor_verified = extra;
}

/* Whoever could read it could use it. */
static const char *
witness_actor_show(void)
{
	return actor_verified != NULL ? "(set)" : "";
}

/* ---------------------------------------------------------------- who it is */

static const char *
witness_actor_current(const char *claimed, const char **source)
{
	if (actor_verified != NULL && actor_verified->expires > GetCurrentTimestamp())
	{
		*source = "token";
		return actor_verified->actor;
	}
	witness_actor_comment();
	if (comment_actor[0] != '\0')
	{
		*source = "comment";
		return comment_actor;
	}
	*source = claimed[0] != '\0' ? "claimed" : "";
	return claimed;
}

/* Called once, from witness_init(). */
void
witness_actor_init(void)
{
	DefineCustomStringVariable(
		"ward.actor_key_file", "File with the key that verifies actors' tokens.",
		"At least 32 random bytes, outside the data directory.", &actor_key_file, "", PGC_SIGHUP,
		GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable("ward.actor_token",
							   "Signed statement of the end user whom the session works for.",
							   "Recorded as verified until it expires.", &actor_token, "",
							   PGC_USERSET, GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE,
							   witness_actor_check, witness_actor_assign, witness_actor_show);
	trail_context_actor = witness_actor_current;
}
