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
#include "utils/typcache.h"

/* Beside its base type, what compares with each kind. */
static const Oid type_mixed[SEAL_KINDS + 1][SEAL_MIXED_MAX - 1] = {
	[SEAL_KIND_INT8] = {INT4OID, INT2OID},
	[SEAL_KIND_TIMESTAMPTZ] = {TIMESTAMPOID, DATEOID},
};

static SealObjects type_objects[SEAL_KINDS + 1];
static Oid type_lowest = InvalidOid; /* of the types and arrays, to answer "no" at once */
static Oid type_highest = InvalidOid;
static bool type_known = false;

static void
seal_sealed_type_forget(Datum arg, int cacheid, uint32 hashvalue)
{
	type_known = false;
}

/* Called once, from seal_init(). */
void
seal_sealed_type_init(void)
{
	CacheRegisterSyscacheCallback(TYPEOID, seal_sealed_type_forget, (Datum) 0);
}

static Oid
seal_sealed_type_operator(const char *name, Oid left, Oid right)
{
	return OpernameGetOprid(list_make2(makeString("pg_catalog"), makeString(pstrdup(name))), left,
							right);
}

static Oid
seal_sealed_type_function(const char *name, int nargs, Oid first, Oid second, Oid third)
{
	Oid types[3] = {first, second, third};

	return LookupFuncName(list_make2(makeString("pg_catalog"), makeString(pstrdup(name))), nargs,
						  types, true);
}

/* Fills in one kind; false where the catalog has but a part of it. */
static bool
seal_sealed_type_load(SealKind kind, SealObjects *objects)
{
	const SealKindInfo *info = &seal_kinds[kind];
	char *name = psprintf("sealed_%s", info->name);
	TypeCacheEntry *base;

	memset(objects, 0, sizeof(*objects));
	objects->kind = kind;
	objects->type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name),
									ObjectIdGetDatum(PG_CATALOG_NAMESPACE));
	if (!OidIsValid(objects->type))
		return false;
	objects->array = get_array_type(objects->type);
	objects->eq = seal_sealed_type_operator("=", objects->type, objects->type);
	objects->ne = seal_sealed_type_operator("<>", objects->type, objects->type);
	for (int i = 0; i < SEAL_MIXED_MAX; i++)
	{
		SealMixed *mixed = &objects->mixed[i];

		mixed->type = i == 0 ? info->base : type_mixed[kind][i - 1];
		if (!OidIsValid(mixed->type))
			break;
		mixed->eq = seal_sealed_type_operator("=", objects->type, mixed->type);
		mixed->ne = seal_sealed_type_operator("<>", objects->type, mixed->type);
		mixed->eq_commuted = seal_sealed_type_operator("=", mixed->type, objects->type);
		mixed->ne_commuted = seal_sealed_type_operator("<>", mixed->type, objects->type);
	}
	objects->to_base = seal_sealed_type_function(psprintf("sealed_to_%s", info->name), 1,
												 objects->type, InvalidOid, InvalidOid);
	if (kind == SEAL_KIND_TEXT)
		objects->to_varchar = seal_sealed_type_function("sealed_to_varchar", 1, objects->type,
														InvalidOid, InvalidOid);
	objects->from_base = seal_sealed_type_function(name, 3, info->base, INT4OID, BOOLOID);
	objects->rekey = seal_sealed_type_function("sealed_rekey", 3, objects->type, INT4OID, BOOLOID);
	objects->typed =
		seal_sealed_type_function("sealed_typed", 1, objects->type, InvalidOid, InvalidOid);
	objects->probe =
		seal_sealed_type_function("sealed_probe", 2, objects->type, INT4OID, InvalidOid);
	objects->probe_base =
		seal_sealed_type_function("sealed_probe", 2, info->base, INT4OID, InvalidOid);
	objects->probe_array =
		seal_sealed_type_function("sealed_probe", 2, objects->array, INT4OID, InvalidOid);
	objects->probe_base_array =
		seal_sealed_type_function("sealed_probe", 2, info->base_array, INT4OID, InvalidOid);
	if (kind == SEAL_KIND_TEXT)
	{
		objects->like = seal_sealed_type_operator("~~#", objects->type, objects->type);
		objects->iclike = seal_sealed_type_operator("~~*#", objects->type, objects->type);
		objects->pattern =
			seal_sealed_type_function("sealed_pattern", 2, info->base, INT4OID, InvalidOid);
	}
	objects->opened_eq = seal_sealed_type_operator("=#", info->base, info->base);
	base = lookup_type_cache(info->base, TYPECACHE_EQ_OPR | TYPECACHE_LT_OPR | TYPECACHE_GT_OPR);
	objects->base_eq = base->eq_opr;
	objects->base_ne = get_negator(base->eq_opr);
	objects->base_lt = base->lt_opr;
	objects->base_gt = base->gt_opr;
	return OidIsValid(objects->probe_base_array);
}

static void
seal_sealed_type_range(Oid type)
{
	if (!OidIsValid(type_lowest) || type < type_lowest)
		type_lowest = type;
	if (type > type_highest)
		type_highest = type;
}

/* See sealed_int.h. */
bool
seal_sealed_type_present(void)
{
	bool whole = true;

	if (type_known)
		return OidIsValid(type_lowest);
	/* Set before the look-ups: an invalidation during them must win. */
	type_known = true;
	type_lowest = type_highest = InvalidOid;
	for (int kind = 1; kind <= SEAL_KINDS && whole; kind++)
		whole = seal_sealed_type_load((SealKind) kind, &type_objects[kind]);
	/* While the extension is being created or dropped, only a part is there. */
	if (!whole)
	{
		type_known = !OidIsValid(type_objects[SEAL_KIND_TEXT].type);
		return false;
	}
	for (int kind = 1; kind <= SEAL_KINDS; kind++)
	{
		seal_sealed_type_range(type_objects[kind].type);
		seal_sealed_type_range(type_objects[kind].array);
	}
	return true;
}

/* See sealed_int.h. */
const SealObjects *
seal_sealed_type_find(Oid type)
{
	if (!OidIsValid(type) || !seal_sealed_type_present() || type < type_lowest ||
		type > type_highest)
		return NULL;
	for (int kind = 1; kind <= SEAL_KINDS; kind++)
		if (type_objects[kind].type == type)
			return &type_objects[kind];
	return NULL;
}

/* See sealed_int.h. */
const SealObjects *
seal_sealed_type_find_array(Oid type)
{
	if (!OidIsValid(type) || !seal_sealed_type_present() || type < type_lowest ||
		type > type_highest)
		return NULL;
	for (int kind = 1; kind <= SEAL_KINDS; kind++)
		if (type_objects[kind].array == type)
			return &type_objects[kind];
	return NULL;
}

/* See sealed_int.h. */
const SealObjects *
seal_sealed_type_of_kind(SealKind kind)
{
	return seal_sealed_type_present() ? &type_objects[kind] : NULL;
}

/* See seal.h. */
bool
seal_type_is_sealed(Oid type)
{
	return seal_sealed_type_find(type) != NULL;
}
