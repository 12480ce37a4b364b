/*
 * preload.c
 *		Was the library loaded by shared_preload_libraries?
 *
 * Loaded later (LOAD, a function call in one session) it would witness that
 * session alone and share no state with the others, which looks like protection
 * and is none.  So everything that depends on it fails closed with WD001.
 */
#include "core/core.h"

#include "miscadmin.h"
#include "utils/builtins.h"

WARD_FUNCTION(ward_require_preload);
WARD_FUNCTION(ward_version);

static bool preloaded = false;

/* Called once, by _PG_init, before the layers. */
void
core_preload_init(void)
{
	preloaded = process_shared_preload_libraries_in_progress;
}

bool
core_preload_done(void)
{
	return preloaded;
}

/* Raises WD001 unless the library was preloaded. */
void
core_preload_require(void)
{
	if (!preloaded)
		ereport(ERROR,
				(errcode(ERRCODE_WARD_NOT_PRELOADED),
				 errmsg("pg_ward must be loaded by shared_preload_libraries"),
				 errdetail("Loaded into a single session it could neither witness the others nor "
						   "keep a trail."),
				 errhint("Set shared_preload_libraries = 'pg_ward' (after other entries, separated "
						 "by commas) in postgresql.conf and restart the server.")));
}

Datum
ward_require_preload(PG_FUNCTION_ARGS)
{
	core_preload_require();
	PG_RETURN_VOID();
}

Datum
ward_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(WARD_VERSION));
}
