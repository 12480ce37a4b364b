/*
 * normalise.c
 *		A statement's text without any literal or comment.
 *
 * Purely lexical, with PostgreSQL's own scanner: whatever the scanner calls a
 * constant is replaced, wherever it stands, so that no literal can reach the trail
 * through a construct that nobody thought of.  Text that can't be scanned is not
 * recorded at all.
 */
#include "witness/witness_int.h"

#include <ctype.h>

#include "miscadmin.h"
#include "parser/scanner.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define NORMALISE_MAX 4096

WARD_FUNCTION(ward_normalise);

/*
 * Is this token a constant?  The scanner says where it begins and ends; what it is
 * shows in its first bytes.  The scanner's own token numbers are in no header that
 * servers install.  What merely begins like a constant is taken for one.
 */
static bool
witness_normalise_constant(const char *token)
{
	switch (token[0])
	{
		case '\'':
			return true;
		case 'b':
		case 'B':
		case 'e':
		case 'E':
		case 'x':
		case 'X':
			return token[1] == '\'';
		case 'u':
		case 'U':
			return token[1] == '&' && token[2] == '\'';
		case '$':
			/* Else a parameter, or a lone dollar sign. */
			return token[1] != '\0' && !isdigit((unsigned char) token[1]);
		case '.':
			return isdigit((unsigned char) token[1]);
		default:
			return isdigit((unsigned char) token[0]);
	}
}

static char *
witness_normalise_scan(const char *text)
{
	StringInfoData out;
	core_yyscan_t scanner;
	core_yy_extra_type extra;
	core_YYSTYPE value;
	YYLTYPE location;
	int constants = 0;

	initStringInfo(&out);
	scanner = scanner_init(text, &extra, &ScanKeywords, ScanKeywordTokens);
	/* A backslash in a plain string may be escaped either way; both end it alike. */
	extra.escape_string_warning = false;
	while (core_yylex(&value, &location, scanner) != 0)
	{
		if (out.len >= NORMALISE_MAX)
		{
			appendStringInfoString(&out, " ...");
			break;
		}
		if (out.len > 0)
			appendStringInfoChar(&out, ' ');
		/* The scanner has put a terminator after the token. */
		if (witness_normalise_constant(extra.scanbuf + location))
			appendStringInfo(&out, "$c%d", ++constants);
		else
			appendStringInfoString(&out, extra.scanbuf + location);
	}
	scanner_finish(scanner);
	return out.data;
}

/* See witness_int.h. */
char *
witness_normalise(const char *text)
{
	MemoryContext caller = CurrentMemoryContext;
	char *volatile result = NULL;

	PG_TRY();
	{
		result = witness_normalise_scan(text);
	}
	PG_CATCH();
	{
		/* Only the scanner can have raised, about this text; nothing to undo. */
		MemoryContextSwitchTo(caller);
		FlushErrorState();
	}
	PG_END_TRY();
	return result;
}

Datum
ward_normalise(PG_FUNCTION_ARGS)
{
	char *result = witness_normalise(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(result));
}
