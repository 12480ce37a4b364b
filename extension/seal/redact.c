/*
 * redact.c
 *		Keeps opened values, and those typed to be sealed, out of log and client (I4).
 *
 * The server quotes values in many places: the detail of a violated constraint, the
 * message of a failed cast (`invalid input syntax for type integer: "..."`), the context
 * of a COPY line or of a function's statement, the statement itself behind an error in
 * the log, the parameters and the text of a slow statement.  Which of them were sealed
 * can't be told from the text.  So where the statement or its transaction has dealt with
 * sealed values (touch.c), what may quote goes, and the rest stays: the SQLSTATE, the
 * message with its values replaced, the names of objects that the server gives apart.
 *
 * Messages are made anew from their formats, whose conversions are what may quote.  A
 * message whose format is not known (it comes from a parallel worker) is replaced.
 *
 * The log's copy and the client's are one: the server has no hook between them.  It
 * calls this only for what goes to its log; a client that gets more (log_min_messages
 * above error) gets it as the server says it.
 *
 * Armor in a constraint's detail goes, too: its tag would tell equal values in the log.
 *
 * What an application says by itself (RAISE) is its own, and is left.
 *
 * Runs while an error is reported: no catalog, nothing that can raise.
 */
#include "seal/sealed_int.h"

#include "utils/memutils.h"

#define REDACT_VALUE "(sealed)"
#define REDACT_DETAIL                                                                              \
	"It may quote sealed values and is not shown, because the transaction has used some."

/* Formats of messages that quote, as their details, nothing but names and limits. */
static const char *const redact_harmless[] = {
	"invalid input for type sealed_%s",
	"missing data for column \"%s\"",
	"value too long for type character varying(%d)",
	"value too long for type character(%d)",
};

/* Begin of messages about statements that the server logs because they were slow. */
static const char *const redact_statements[] = {
	"duration: %s ms  ",
	"duration: %.3f ms  plan:",
	"execute ",
};

static char *
seal_redact_copy(ErrorData *error, const char *text)
{
	return MemoryContextStrdup(error->assoc_context, text);
}

/* "Key (a, b)=(x, y) already exists." keeps the names and the end. */
static char *
seal_redact_key(ErrorData *error)
{
	const char *values = strstr(error->detail, ")=(");
	const char *end = values != NULL ? strrchr(error->detail, ')') : NULL;
	char *text;

	if (values == NULL || end == NULL || end < values + 3)
		return seal_redact_copy(error, "The key holds sealed values and is not shown.");
	/* A value may hold parentheses: only an end that we know is kept. */
	text = MemoryContextAlloc(error->assoc_context, strlen(error->detail) + 32);
	snprintf(text, strlen(error->detail) + 32, "%.*s(sealed)%s", (int) (values + 2 - error->detail),
			 error->detail,
			 strcmp(end, ") already exists.") == 0 ? " already exists." : " is not shown.");
	return text;
}

/* ---------------------------------------------------------------- messages */

/* The end of a conversion ("%-*s") that starts at a percent sign. */
static const char *
seal_redact_skip(const char *format)
{
	format += strspn(format + 1, "-+ #0123456789.*$hlqjztL") + 1;
	return *format != '\0' ? format + 1 : format;
}

/* A format with its conversions replaced, in the client's language. */
static char *
seal_redact_render(ErrorData *error)
{
	const char *format = error->message_id;
	Size room;
	char *text;
	char *to;

#ifdef ENABLE_NLS
	format = dgettext(error->domain, format);
#endif
	room = strlen(format) * strlen(REDACT_VALUE) + 1;
	to = text = MemoryContextAlloc(error->assoc_context, room);
	while (*format != '\0')
	{
		if (format[0] != '%')
			*to++ = *format++;
		else if (format[1] == '%')
		{
			*to++ = '%';
			format += 2;
		}
		else
		{
			memcpy(to, REDACT_VALUE, strlen(REDACT_VALUE));
			to += strlen(REDACT_VALUE);
			format = seal_redact_skip(format);
		}
	}
	*to = '\0';
	return text;
}

/*
 * 'invalid input syntax for type %s: "%s"' keeps the type, whose name has no colon.
 * NULL where it can't be cut so.
 */
static char *
seal_redact_keep_type(ErrorData *error)
{
	static const char start[] = "invalid input syntax for type ";
	const char *colon;
	char *text;
	Size size;

	if (strncmp(error->message_id, start, sizeof(start) - 1) != 0 ||
		strncmp(error->message_id + sizeof(start) - 1, "%s", 2) != 0 ||
		strncmp(error->message, start, sizeof(start) - 1) != 0)
		return NULL;
	/* A message without a value ends behind the type. */
	colon = strchr(error->message + sizeof(start) - 1, ':');
	if (colon == NULL)
		return error->message;
	size = (Size) (colon - error->message) + sizeof(": \"" REDACT_VALUE "\"");
	text = MemoryContextAlloc(error->assoc_context, size);
	snprintf(text, size, "%.*s: \"" REDACT_VALUE "\"", (int) (colon - error->message),
			 error->message);
	return text;
}

static bool
seal_redact_harmless(const ErrorData *error)
{
	for (Size i = 0; error->message_id != NULL && i < lengthof(redact_harmless); i++)
		if (strcmp(error->message_id, redact_harmless[i]) == 0)
			return true;
	return false;
}

static char *
seal_redact_message(ErrorData *error)
{
	char *text;

	/* Rethrown from a parallel worker, or of no format of its own (RAISE). */
	if (error->message_id == NULL || strcmp(error->message_id, "%s") == 0)
		return seal_redact_copy(error, "error over sealed values, of which the message is not "
									   "shown");
	text = seal_redact_keep_type(error);
	return text != NULL ? text : seal_redact_render(error);
}

/* ---------------------------------------------------------------- context */

/* The length of what may stay of a line of context: names of functions and places. */
static Size
seal_redact_context_keep(const char *line, Size len)
{
	const char *number;

	if (len > 20 && strncmp(line, "PL/pgSQL function ", 18) == 0)
		return len;
	if (len > 14 && strncmp(line, "SQL function \"", 14) == 0)
		return len;
	/* 'COPY person, line 3, column name: "..."' */
	if (len <= 5 || strncmp(line, "COPY ", 5) != 0)
		return 0;
	number = strstr(line, ", line ");
	if (number == NULL || (Size) (number - line) >= len)
		return 0;
	number += strlen(", line ");
	number += strspn(number, "0123456789");
	return Min((Size) (number - line), len);
}

/*
 * Lines that are known not to quote stay.  A value with line breaks can pass for one
 * only if whoever wrote it made it look so.
 */
static char *
seal_redact_context(ErrorData *error)
{
	const char *line = error->context;
	char *text = MemoryContextAlloc(error->assoc_context, strlen(line) + 1);
	char *to = text;

	while (*line != '\0')
	{
		Size len = strcspn(line, "\n");
		Size keep = seal_redact_context_keep(line, len);

		if (keep > 0)
		{
			if (to > text)
				*to++ = '\n';
			memcpy(to, line, keep);
			to += keep;
		}
		line += len;
		if (*line == '\n')
			line++;
	}
	*to = '\0';
	return to > text ? text : NULL;
}

/* ---------------------------------------------------------------- what is redacted */

/* Does an error of this class quote values that it was given? */
static bool
seal_redact_quotes(const ErrorData *error)
{
	if (error->elevel < ERROR || seal_redact_harmless(error))
		return false;
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_DATA_EXCEPTION:
			return true;
		case ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION:
			/* Of what the client has written itself, which it is shown where. */
			if (error->cursorpos > 0 && error->internalquery == NULL)
				return false;
			/* Names what exists. */
			if (error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE)
				return false;
			break;
		/* Values taken for names of schemas, databases, cursors, statements, settings, files. */
		case ERRCODE_INVALID_SCHEMA_NAME:
		case ERRCODE_INVALID_CATALOG_NAME:
		case ERRCODE_INVALID_CURSOR_NAME:
		case ERRCODE_INVALID_SQL_STATEMENT_NAME:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_CONFIG_FILE_ERROR:
		/* What functions and other servers say about what they were given. */
		case ERRCODE_EXTERNAL_ROUTINE_EXCEPTION:
		case ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION:
		case ERRCODE_FDW_ERROR:
			break;
		default:
			return false;
	}
	return seal_touch_by_statement();
}

/* A slow statement: how long it took stays, what it was does not. */
static bool
seal_redact_statement(ErrorData *error)
{
	const char *unit;
	char *text;
	int keep;

	if (error->elevel >= ERROR || error->message_id == NULL)
		return false;
	for (Size i = 0; i < lengthof(redact_statements); i++)
	{
		if (strncmp(error->message_id, redact_statements[i], strlen(redact_statements[i])) != 0)
			continue;
		unit =
			strncmp(error->message, "duration: ", 10) == 0 ? strstr(error->message, " ms") : NULL;
		keep = unit != NULL ? (int) (unit + 3 - error->message) : 0;
		text = MemoryContextAlloc(error->assoc_context, (Size) keep + 64);
		snprintf(text, (Size) keep + 64, "%.*s%snot shown, because it may hold sealed values", keep,
				 error->message, keep > 0 ? "  " : "");
		error->message = text;
		error->detail = error->detail_log = NULL;
		return true;
	}
	return false;
}

/* Called by hooks.c for each message that is about to be reported. */
void
seal_redact_error(ErrorData *error)
{
	bool quotes;

	/* A cached plan is bound before it is run: then only earlier statements tell. */
	if (error->message_id != NULL && seal_touch_ever() &&
		strncmp(error->message_id, "duration: %s ms  bind", 21) == 0)
		(void) seal_redact_statement(error);
	if (!seal_touch_by_transaction())
		return;
	/* The statement is in the log as it was sent, with its literals. */
	error->hide_stmt = true;
	if (seal_redact_statement(error))
		return;
	quotes = seal_redact_quotes(error);
	error->internalquery = NULL;
	error->internalpos = 0;
	if (error->context != NULL)
		error->context = seal_redact_context(error);
	if (quotes)
	{
		error->message = seal_redact_message(error);
		if (error->detail != NULL)
			error->detail = seal_redact_copy(error, REDACT_DETAIL);
		error->detail_log = NULL;
	}
	else if (error->detail != NULL &&
			 (seal_sealed_io_shown() || strstr(error->detail, "\\sealed:") != NULL) &&
			 (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION ||
			  error->sqlerrcode == ERRCODE_WITH_CHECK_OPTION_VIOLATION))
	{
		error->detail =
			strncmp(error->detail, "Key (", 5) == 0
				? seal_redact_key(error)
				: seal_redact_copy(error, "The row holds sealed values and is not shown.");
	}
}
