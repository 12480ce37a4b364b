/*
 * protect.c
 *		What ward.protect and ward.unprotect need that SQL can't do.
 *
 * Locking in an order of our own (LOCK TABLE on a view would lock what it reads),
 * marking a carried constraint as valid, and opening under the right of whoever
 * called: the conversion runs as the extension's owner, who has none.
 *
 * All of this is for the extension's own SQL; nobody else may call it.
 */
#include "seal/sealed_int.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "optimizer/plancat.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

WARD_FUNCTION(ward_protect_lock);
WARD_FUNCTION(ward_protect_rows);
WARD_FUNCTION(ward_protect_mark_valid);
WARD_FUNCTION(ward_protect_may_open);
WARD_FUNCTION(ward_protect_execute);
WARD_FUNCTION(ward_protect_try_view);

/* Locks relations in the order given, against everybody. */
Datum
ward_protect_lock(PG_FUNCTION_ARGS)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);
	Datum *oids;
	bool *nulls;
	int count;

	deconstruct_array(array, OIDOID, sizeof(Oid), true, TYPALIGN_INT, &oids, &nulls, &count);
	for (int i = 0; i < count; i++)
		if (!nulls[i])
			LockRelationOid(DatumGetObjectId(oids[i]), AccessExclusiveLock);
	PG_RETURN_VOID();
}

/* How many rows a table has, as the planner estimates it. */
Datum
ward_protect_rows(PG_FUNCTION_ARGS)
{
	Relation relation = try_relation_open(PG_GETARG_OID(0), AccessShareLock);
	BlockNumber pages = 0;
	double tuples = 0;
	double visible = 0;

	if (relation == NULL)
		PG_RETURN_FLOAT8(0);
	if (relation->rd_rel->relkind == RELKIND_RELATION)
		estimate_rel_size(relation, NULL, &pages, &tuples, &visible);
	relation_close(relation, AccessShareLock);
	PG_RETURN_FLOAT8(tuples);
}

/*
 * A check that was valid over a column stays so when the column's values do: they
 * are not read again, which would need the right to open them.
 */
Datum
ward_protect_mark_valid(PG_FUNCTION_ARGS)
{
	Oid constraint = PG_GETARG_OID(0);
	Relation catalog = table_open(ConstraintRelationId, RowExclusiveLock);
	HeapTuple tuple = SearchSysCacheCopy1(CONSTROID, ObjectIdGetDatum(constraint));
	Form_pg_constraint form;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for constraint %u", constraint);
	form = (Form_pg_constraint) GETSTRUCT(tuple);
	if (form->contype != CONSTRAINT_CHECK)
		elog(ERROR, "constraint %u is no check", constraint);
	form->convalidated = true;
	CatalogTupleUpdate(catalog, &tuple->t_self, tuple);
	CacheInvalidateRelcacheByRelid(form->conrelid);
	heap_freetuple(tuple);
	table_close(catalog, RowExclusiveLock);
	PG_RETURN_VOID();
}

/* May the role that the session acts as open values under a key? */
Datum
ward_protect_may_open(PG_FUNCTION_ARGS)
{
	Oid previous = seal_right_act_as(GetOuterUserId());
	bool may = false;

	PG_TRY();
	{
		may = seal_right_may_open(PG_GETARG_INT32(0));
	}
	PG_FINALLY();
	{
		(void) seal_right_act_as(previous);
	}
	PG_END_TRY();
	PG_RETURN_BOOL(may);
}

/*
 * Runs a statement that opens under the right of the role that the session acts as.
 * Who has none gains none: a superuser who calls this is still asked for his own.
 */
Datum
ward_protect_execute(PG_FUNCTION_ARGS)
{
	char *statement = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Oid previous = seal_right_act_as(GetOuterUserId());

	PG_TRY();
	{
		int result;

		SPI_connect();
		result = SPI_execute(statement, false, 0);
		if (result < 0)
			elog(ERROR, "SPI_execute: %s", SPI_result_code_string(result));
		SPI_finish();
	}
	PG_FINALLY();
	{
		(void) seal_right_act_as(previous);
	}
	PG_END_TRY();
	PG_RETURN_VOID();
}

/*
 * Plans a view that was created again, so that a query which sealed values can't serve
 * fails now and not when it is next used.  As its owner, because planning may run
 * functions of his; nothing is read.
 */
Datum
ward_protect_try_view(PG_FUNCTION_ARGS)
{
	Oid view = PG_GETARG_OID(0);
	Relation relation = relation_open(view, AccessShareLock);
	char *query =
		psprintf("SELECT * FROM %s",
				 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
											RelationGetRelationName(relation)));
	Oid owner = relation->rd_rel->relowner;
	Oid user;
	int context;
	SPIPlanPtr plan;
	CachedPlan *planned;

	relation_close(relation, AccessShareLock);
	/* An error sets both back, with the transaction. */
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(owner, context | SECURITY_RESTRICTED_OPERATION);
	SPI_connect();
	plan = SPI_prepare(query, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare: %s", SPI_result_code_string(SPI_result));
	planned = SPI_plan_get_cached_plan(plan);
	if (planned != NULL)
		ReleaseCachedPlan(planned, NULL);
	SPI_finish();
	SetUserIdAndSecContext(user, context);
	PG_RETURN_VOID();
}
