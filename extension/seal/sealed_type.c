/*
 * sealed_type.c
 *		Finds the sealed types, their operators and functions in the catalog.
 *
 * They have no fixed oids, and the planner asks for each statement: so they are
 * looked up once and forgotten when a type changes.  All are in pg_catalog, so the
 * search_path does not matter.
 */
#include "seal/sealed_int.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static SealObjects objects;
static bool objects_known = false;

static void
seal_sealed_type_forget(Datum arg, int cacheid, uint32 hashvalue)
{
	objects_known = false;
}

/* Called once, from seal_init(). */
void
seal_sealed_type_init(void)
{
	CacheRegisterSyscacheCallback(TYPEOID, seal_sealed_type_forget, (Datum) 0);
}

static Oid
seal_sealed_type_operator(char *name, Oid left, Oid right)
{
	return OpernameGetOprid(list_make2(makeString("pg_catalog"), makeString(name)), left, right);
}

static Oid
seal_sealed_type_function(char *name, int nargs, Oid first, Oid second)
{
	Oid types[2] = {first, second};

	return LookupFuncName(list_make2(makeString("pg_catalog"), makeString(name)), nargs, types,
						  true);
}

/* See sealed_int.h.  Needs a transaction. */
const SealObjects *
seal_sealed_type_objects(void)
{
	if (!objects_known)
	{
		SealObjects found = {0};

		objects_known = true;
		found.type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("sealed_text"),
									 ObjectIdGetDatum(PG_CATALOG_NAMESPACE));
		if (OidIsValid(found.type))
		{
			found.array = get_array_type(found.type);
			found.eq = seal_sealed_type_operator("=", found.type, found.type);
			found.ne = seal_sealed_type_operator("<>", found.type, found.type);
			found.eq_text = seal_sealed_type_operator("=", found.type, TEXTOID);
			found.ne_text = seal_sealed_type_operator("<>", found.type, TEXTOID);
			found.text_eq = seal_sealed_type_operator("=", TEXTOID, found.type);
			found.text_ne = seal_sealed_type_operator("<>", TEXTOID, found.type);
			found.to_text = seal_sealed_type_function("sealed_to_text", 1, found.type, InvalidOid);
			found.probe = seal_sealed_type_function("sealed_probe", 2, found.type, INT4OID);
			found.probe_text = seal_sealed_type_function("sealed_probe", 2, TEXTOID, INT4OID);
			found.probe_array = seal_sealed_type_function("sealed_probe", 2, found.array, INT4OID);
			found.probe_text_array =
				seal_sealed_type_function("sealed_probe", 2, TEXTARRAYOID, INT4OID);
		}
		objects = found;
		/* While the extension is being created, only a part is there. */
		if (!OidIsValid(found.probe_text_array) && OidIsValid(found.type))
			objects_known = false;
	}
	return OidIsValid(objects.probe_text_array) ? &objects : NULL;
}

/* Oid of sealed_text, or InvalidOid. */
Oid
seal_sealed_type_oid(void)
{
	(void) seal_sealed_type_objects();
	return objects.type;
}

/* See seal.h. */
bool
seal_type_is_sealed(Oid type)
{
	return OidIsValid(type) && type == seal_sealed_type_oid();
}
