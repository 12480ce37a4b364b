/*
 * stored.c
 *		Finds the sealed values in whatever is stored: columns, arrays, domains, rows
 *		of composite types, and the constants of stored expressions.
 *
 * A value's version stands in its header, so that looking for it opens nothing and
 * fetches no more than the first bytes of a toasted value.
 *
 * No locks, no state.
 */
#include "seal/seal_int.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "nodes/readfuncs.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

WARD_FUNCTION(ward_seal_literal_versions);

struct SealStored
{
	Oid type; /* never a domain */
	/* an array */
	SealStored *element;
	int16 len;
	bool byval;
	char align;
	/* a row */
	TupleDesc desc;
	SealStored **columns; /* NULL where there is nothing sealed */
};

/* See seal_int.h. */
SealStored *
seal_stored_type(Oid type)
{
	SealStored *stored;
	SealStored *element = NULL;
	SealStored **columns = NULL;
	TupleDesc desc = NULL;

	check_stack_depth();
	type = getBaseType(type);
	if (!seal_type_is_sealed(type))
	{
		bool any = false;

		if (OidIsValid(get_element_type(type)))
		{
			element = seal_stored_type(get_element_type(type));
			any = element != NULL;
		}
		else if (get_typtype(type) == TYPTYPE_COMPOSITE)
		{
			desc = lookup_rowtype_tupdesc_copy(type, -1);
			columns = palloc0(sizeof(SealStored *) * Max(desc->natts, 1));
			for (int i = 0; i < desc->natts; i++)
			{
				if (!TupleDescAttr(desc, i)->attisdropped)
					columns[i] = seal_stored_type(TupleDescAttr(desc, i)->atttypid);
				any |= columns[i] != NULL;
			}
		}
		if (!any)
			return NULL;
	}
	stored = palloc0(sizeof(SealStored));
	stored->type = type;
	stored->element = element;
	if (element != NULL)
		get_typlenbyvalalign(element->type, &stored->len, &stored->byval, &stored->align);
	stored->desc = desc;
	stored->columns = columns;
	return stored;
}

static void
seal_stored_deform(const SealStored *type, Datum value, Datum **values, bool **nulls)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	HeapTupleData tuple = {0};

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	*values = palloc(sizeof(Datum) * Max(type->desc->natts, 1));
	*nulls = palloc(sizeof(bool) * Max(type->desc->natts, 1));
	heap_deform_tuple(&tuple, type->desc, *values, *nulls);
}

/* See seal_int.h. */
bool
seal_stored_visit(const SealStored *type, Datum value, SealStoredVisitor visit, void *arg)
{
	Datum *values;
	bool *nulls;
	int count;

	check_stack_depth();
	if (type->element != NULL)
	{
		deconstruct_array(DatumGetArrayTypeP(value), type->element->type, type->len, type->byval,
						  type->align, &values, &nulls, &count);
		for (int i = 0; i < count; i++)
			if (!nulls[i] && seal_stored_visit(type->element, values[i], visit, arg))
				return true;
	}
	else if (type->columns != NULL)
	{
		seal_stored_deform(type, value, &values, &nulls);
		for (int i = 0; i < type->desc->natts; i++)
			if (type->columns[i] != NULL && !nulls[i] &&
				seal_stored_visit(type->columns[i], values[i], visit, arg))
				return true;
	}
	else
	{
		uint16 version;
		SealKeyId key = seal_envelope_version((struct varlena *) DatumGetPointer(value), &version);

		return visit(key, version, arg);
	}
	return false;
}

/* See seal_int.h. */
Datum
seal_stored_reseal(const SealStored *type, Datum value, SealKeyId key, uint16 active,
				   int64 *changed)
{
	int64 before = *changed;
	Datum *values;
	bool *nulls;
	int count;

	check_stack_depth();
	if (type->element != NULL)
	{
		ArrayType *array = DatumGetArrayTypeP(value);

		deconstruct_array(array, type->element->type, type->len, type->byval, type->align, &values,
						  &nulls, &count);
		for (int i = 0; i < count; i++)
			if (!nulls[i])
				values[i] = seal_stored_reseal(type->element, values[i], key, active, changed);
		if (*changed == before)
			return value;
		return PointerGetDatum(construct_md_array(values, nulls, ARR_NDIM(array), ARR_DIMS(array),
												  ARR_LBOUND(array), type->element->type, type->len,
												  type->byval, type->align));
	}
	if (type->columns != NULL)
	{
		seal_stored_deform(type, value, &values, &nulls);
		for (int i = 0; i < type->desc->natts; i++)
			if (type->columns[i] != NULL && !nulls[i])
				values[i] = seal_stored_reseal(type->columns[i], values[i], key, active, changed);
		if (*changed == before)
			return value;
		return HeapTupleGetDatum(heap_form_tuple(type->desc, values, nulls));
	}
	{
		uint16 version;

		if (seal_envelope_version((struct varlena *) DatumGetPointer(value), &version) != key ||
			version == active || !seal_key_has_version(key, version))
			return value;
	}
	(*changed)++;
	return PointerGetDatum(seal_envelope_reseal((struct varlena *) PG_DETOAST_DATUM_PACKED(value)));
}

/* ----------------------------------------------------------------
 * Stored expressions
 * ----------------------------------------------------------------
 */

typedef struct StoredSearch
{
	SealKeyId key;
	int count;
	int size;
	Datum *versions;
} StoredSearch;

static bool
seal_stored_found(SealKeyId key, uint16 version, void *arg)
{
	StoredSearch *search = arg;

	if (key != search->key)
		return false;
	if (search->count == search->size)
	{
		search->size *= 2;
		search->versions = repalloc(search->versions, sizeof(Datum) * search->size);
	}
	search->versions[search->count++] = Int32GetDatum(version);
	return false;
}

static bool
seal_stored_walk(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Const))
	{
		Const *constant = (Const *) node;
		SealStored *type = constant->constisnull ? NULL : seal_stored_type(constant->consttype);

		return type != NULL &&
			   seal_stored_visit(type, constant->constvalue, seal_stored_found, context);
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, seal_stored_walk, context, 0);
	/* A partition's bounds are no expression that the walker knows. */
	if (IsA(node, PartitionBoundSpec))
	{
		PartitionBoundSpec *bounds = (PartitionBoundSpec *) node;

		return seal_stored_walk((Node *) bounds->listdatums, context) ||
			   seal_stored_walk((Node *) bounds->lowerdatums, context) ||
			   seal_stored_walk((Node *) bounds->upperdatums, context);
	}
	if (IsA(node, PartitionRangeDatum))
		return seal_stored_walk(((PartitionRangeDatum *) node)->value, context);
	return expression_tree_walker(node, seal_stored_walk, context);
}

/*
 * _ward.literal_versions(tree, key): the version of each value under the key that a
 * stored expression (a view's query, a default, a check) holds.
 */
Datum
ward_seal_literal_versions(PG_FUNCTION_ARGS)
{
	char *tree = text_to_cstring(PG_GETARG_TEXT_PP(0));
	StoredSearch search = {0};

	search.key = PG_GETARG_INT32(1);
	search.size = 8;
	search.versions = palloc(sizeof(Datum) * search.size);
	(void) seal_stored_walk(stringToNode(tree), &search);
	PG_RETURN_ARRAYTYPE_P(
		construct_array(search.versions, search.count, INT4OID, 4, true, TYPALIGN_INT));
}
