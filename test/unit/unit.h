/*
 * What the unit tests of the trail's tree share: TAP, and the server's error functions,
 * which are in no library that a stand-alone test could link.
 */
#ifndef WARD_UNIT_H
#define WARD_UNIT_H

#include "trail/trail_int.h"

#undef printf
#undef snprintf

static int tests = 0;
static int failures = 0;

/* An error in what is tested would leave through the server's: here it ends the test. */
bool
errstart(int elevel, const char *domain)
{
	abort();
}

bool
errstart_cold(int elevel, const char *domain)
{
	abort();
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	abort();
}

int
errcode(int sqlerrcode)
{
	return 0;
}

int
errmsg(const char *fmt, ...)
{
	return 0;
}

int
errmsg_internal(const char *fmt, ...)
{
	return 0;
}

int
errdetail(const char *fmt, ...)
{
	return 0;
}

int
errhint(const char *fmt, ...)
{
	return 0;
}

static void
ok(bool good, const char *what, int n)
{
	printf("%sok %d - %s %d\n", good ? "" : "not ", ++tests, what, n);
	if (!good)
		failures++;
}

#endif
