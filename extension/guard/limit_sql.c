/*
 * limit_sql.c
 *		What SQL asks about limits; see 20_limit.sql.
 */
#include "guard/limit_int.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

WARD_FUNCTION(ward_limit_use);

/* How far limits of this database are used, for each principal. */
Datum
ward_limit_use(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz now = GetCurrentTimestamp();

	core_preload_require();
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 1; i <= GUARD_WINDOWS; i++)
	{
		GuardWindowUse use;
		Datum values[5];
		bool nulls[5] = {false};
		bool there;

		LWLockAcquire(guard_lock(GUARD_LOCK_WINDOWS), LW_EXCLUSIVE);
		there = guard_limit_window_show(i, &use, now);
		LWLockRelease(guard_lock(GUARD_LOCK_WINDOWS));
		if (!there || use.key.database != MyDatabaseId)
			continue;
		values[0] = Int64GetDatum(use.key.limit);
		values[1] = CStringGetTextDatum(use.principal);
		values[2] = Int64GetDatum(use.used);
		values[3] = Int64GetDatum(use.reserved);
		values[4] = TimestampTzGetDatum(use.free_at);
		nulls[4] = use.free_at == 0;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	PG_RETURN_NULL();
}

WARD_FUNCTION(ward_limit_exempt);

/* Is a role never counted against a limit? */
Datum
ward_limit_exempt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(guard_limit_rule_exempt(PG_GETARG_OID(0)));
}

WARD_FUNCTION(ward_limit_applies);

/* Is a role counted against a limit for these roles (NULL: for all)? */
Datum
ward_limit_applies(PG_FUNCTION_ARGS)
{
	List *roles;
	Datum *wanted;
	int count;

	if (PG_ARGISNULL(0) || guard_limit_rule_exempt(PG_GETARG_OID(0)))
		PG_RETURN_BOOL(false);
	if (PG_ARGISNULL(1))
		PG_RETURN_BOOL(true);
	roles = seal_roles_of(PG_GETARG_OID(0));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), OIDOID, sizeof(Oid), true, TYPALIGN_INT, &wanted,
					  NULL, &count);
	for (int i = 0; i < count; i++)
		if (list_member_oid(roles, DatumGetObjectId(wanted[i])))
			PG_RETURN_BOOL(true);
	PG_RETURN_BOOL(false);
}
