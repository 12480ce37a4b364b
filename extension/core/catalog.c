/*
 * catalog.c
 *		Finds the extension's own catalog in the current database.
 *
 * A statement in a database without the extension must cost next to nothing, so
 * the answer is cached and dropped when pg_namespace or a relation changes.
 * Nothing here opens a relation or takes a lock that outlives the call.
 */
#include "core/core.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static Oid namespace_oid = InvalidOid;
static bool namespace_known = false;

static void
core_catalog_forget(Datum arg, int cacheid, uint32 hashvalue)
{
	namespace_known = false;
}

/* Called once in each backend's life, from _PG_init (inherited over fork). */
void
core_catalog_init(void)
{
	CacheRegisterSyscacheCallback(NAMESPACEOID, core_catalog_forget, (Datum) 0);
}

/* Oid of schema _ward in this database, or InvalidOid. */
Oid
core_catalog_namespace(void)
{
	Assert(IsTransactionState());
	if (!namespace_known)
	{
		/* Set before the look-up: an invalidation during it must win. */
		namespace_known = true;
		namespace_oid = get_namespace_oid(WARD_CATALOG_SCHEMA, true);
	}
	return namespace_oid;
}

/* Oid of a relation of schema _ward, or InvalidOid. */
Oid
core_catalog_relation(const char *relname)
{
	Oid nsp = core_catalog_namespace();

	if (!OidIsValid(nsp))
		return InvalidOid;
	return get_relname_relid(relname, nsp);
}
