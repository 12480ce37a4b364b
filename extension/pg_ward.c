/*
 * pg_ward.c
 *		Composition root: the only file that sees every layer.
 *
 * Layers are brought up from the lowest to the highest, so that the hooks of a
 * higher layer run first and may rely on the layers below.  A layer that needs
 * to call upwards offers a pointer, which the upper layer sets in its init.
 */
#include "core/core.h"

#include "miscadmin.h"
#include "utils/guc.h"

#include "guard/guard.h"
#include "seal/seal.h"
#include "trail/trail.h"
#include "witness/witness.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	core_preload_init();

	/*
	 * Without preloading nothing is hooked: the SQL-callable functions say what
	 * is missing, through core_preload_require().
	 */
	if (!core_preload_done())
		return;

	core_catalog_init();
	trail_init();
	seal_init();
	witness_init();
	guard_init();

	MarkGUCPrefixReserved(WARD_GUC_PREFIX);
}
