/*
 * compat.h
 *		Everything that differs between the PostgreSQL versions we support.
 *
 * No other file of the extension may test PG_VERSION_NUM (test/lint checks it):
 * a difference gets a name here and one spelling everywhere else.
 */
#ifndef WARD_CORE_COMPAT_H
#define WARD_CORE_COMPAT_H

#include "postgres.h"
#include "fmgr.h"

#if PG_VERSION_NUM < 150000
#error "pg_ward needs PostgreSQL 15 or later"
#endif

/*
 * Declares an SQL-callable C function.  With hidden symbols PostgreSQL 15's
 * PG_FUNCTION_INFO_V1 exports the info record but not the function itself.
 */
#define WARD_FUNCTION(funcname)                                                                    \
	extern PGDLLEXPORT Datum funcname(PG_FUNCTION_ARGS);                                           \
	PG_FUNCTION_INFO_V1(funcname)

#endif /* WARD_CORE_COMPAT_H */
