/*
 * redact.c
 *		Keeps what PostgreSQL puts into error details out of log and client (I4).
 *
 * A violated constraint shows the row or key in DETAIL, through the types' output
 * functions, with the plaintext that the writer may see and the log may not.  When
 * the statement has shown a sealed value, the values in such a detail are replaced;
 * the columns' names stay.
 *
 * Runs while an error is reported: no catalog, nothing that can raise.
 */
#include "seal/sealed_int.h"

#include "utils/memutils.h"

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

/* Called by hooks.c for each error that is about to be reported. */
void
seal_redact_error(ErrorData *error)
{
	if (error->detail == NULL || !seal_sealed_io_shown())
		return;
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION)
		return;
	if (strncmp(error->detail, "Key (", 5) == 0)
		error->detail = seal_redact_key(error);
	else
		error->detail = seal_redact_copy(error, "The row holds sealed values and is not shown.");
}
