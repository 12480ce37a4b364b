/*
 * rewrite.c
 *		Makes queries over sealed columns mean, and cost, what they would without.
 *
 * Before planning, in each query:
 * - a literal or parameter that is compared with a sealed column becomes a probe
 *   under the column's key, so that an index on the tags serves it, and so that no
 *   plan holds the literal;
 * - IN and = ANY likewise, item by item;
 * - col::text = x goes back to the column, for clients that cast;
 * - LIKE and ILIKE on columns searched by substring: rewrite_pattern.c;
 * - values whose keys differ, or may differ, are compared opened: by tags they would
 *   silently never be equal;
 * - orderings, groups and set operations: rewrite_order.c.
 *
 * What can't be made right is refused, with what to do; never silently wrong.  What
 * reaches the executor unrewritten (a check constraint, an inlined function's body) is
 * answered rightly by the operators themselves, only slower.
 */
#include "seal/rewrite_int.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* ---------------------------------------------------------------- expressions */

/* See rewrite_int.h. */
const SealObjects *
seal_rewrite_sealed(const Node *node)
{
	return seal_sealed_type_find(getBaseType(exprType(node)));
}

/* See rewrite_int.h. */
SealKeyId
seal_rewrite_key(const Node *node)
{
	int32 typmod = exprTypmod(node);
	Oid type = exprType(node);

	/* A domain has its own modifier. */
	if (typmod < 0 && getBaseType(type) != type)
		(void) getBaseTypeAndTypmod(type, &typmod);
	return typmod >= 0 ? (SealKeyId) typmod : SEAL_KEY_NONE;
}

static Node *
seal_rewrite_strip(Node *node)
{
	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

/* Something that the client sent: a constant or an outside parameter. */
static bool
seal_rewrite_is_input(Node *node)
{
	node = seal_rewrite_strip(node);
	return IsA(node, Const) || (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN);
}

/* See rewrite_int.h. */
Node *
seal_rewrite_to_base(Node *node, const SealObjects *objects)
{
	const SealKindInfo *info = &seal_kinds[objects->kind];

	return (Node *) makeFuncExpr(objects->to_base, info->base, list_make1(node), info->collation,
								 info->collation, COERCE_EXPLICIT_CAST);
}

/* See rewrite_int.h. */
Node *
seal_rewrite_key_const(SealKeyId key)
{
	return (Node *) makeConst(INT4OID, -1, InvalidOid, sizeof(int32), Int32GetDatum(key), false,
							  true);
}

/* See rewrite_int.h. */
Node *
seal_rewrite_from_base(Node *node, SealKeyId key, const SealObjects *objects)
{
	return (Node *) makeFuncExpr(
		objects->from_base, objects->type,
		list_make3(node, seal_rewrite_key_const(key), makeBoolConst(false, false)),
		seal_kinds[objects->kind].collation, InvalidOid, COERCE_EXPLICIT_CALL);
}

/* See rewrite_int.h. */
Node *
seal_rewrite_rekey(Node *node, SealKeyId key, const SealObjects *objects)
{
	return (Node *) makeFuncExpr(
		objects->rekey, objects->type,
		list_make3(node, seal_rewrite_key_const(key), makeBoolConst(false, false)),
		seal_kinds[objects->kind].collation, InvalidOid, COERCE_EXPLICIT_CAST);
}

/* See rewrite_int.h. */
void
seal_rewrite_refuse(const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("%s", what),
			 errdetail("Sealed values are ordered and grouped by keyed tags, which would give a "
					   "wrong answer here."),
			 errhint("%s", hint)));
}

/*
 * A probe for an expression of the sealed or of its base type; a constant's is made at
 * once.
 */
static Node *
seal_rewrite_probe(Node *node, SealKeyId key, const SealObjects *objects, bool sealed)
{
	Oid function = sealed ? objects->probe : objects->probe_base;
	Oid collation = seal_kinds[objects->kind].collation;
	Node *bare;

	/* What folds to a constant becomes a probe now, so that no plan holds it. */
	node = eval_const_expressions(NULL, node);
	bare = seal_rewrite_strip(node);
	if (IsA(bare, Const))
	{
		Const *constant = (Const *) bare;
		Datum value = (Datum) 0;

		if (!constant->constisnull)
			value = OidFunctionCall2(function, constant->constvalue, Int32GetDatum(key));
		return (Node *) makeConst(objects->type, key, collation, -1, value, constant->constisnull,
								  false);
	}
	return (Node *) makeFuncExpr(function, objects->type,
								 list_make2(node, seal_rewrite_key_const(key)), collation,
								 InvalidOid, COERCE_EXPLICIT_CALL);
}

static void
seal_rewrite_check_collation(Oid collation)
{
	if (OidIsValid(collation) && !get_collation_isdeterministic(collation))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("nondeterministic collations are not supported for sealed columns"),
						errdetail("Equality is decided by keyed tags of the exact text."),
						errhint("Cast the column to text, which needs the right to open it.")));
}

/* ---------------------------------------------------------------- comparisons */

/*
 * A comparison of two sealed values of one type that may be under different keys.  No
 * index of the base type could serve what is opened, so that nothing is lost by the
 * operator that is none of its families'.
 */
static Node *
seal_rewrite_opened_comparison(Node *left, Node *right, bool equal, const SealObjects *objects)
{
	return (Node *) make_opclause(equal ? objects->opened_eq : objects->base_ne, BOOLOID, false,
								  (Expr *) seal_rewrite_to_base(left, objects),
								  (Expr *) seal_rewrite_to_base(right, objects), InvalidOid,
								  seal_kinds[objects->kind].collation);
}

/* A comparison of two sealed values. */
static Node *
seal_rewrite_sealed_comparison(OpExpr *op, bool equal, const SealObjects *objects)
{
	Node *left = linitial(op->args);
	Node *right = lsecond(op->args);
	SealKeyId left_key = seal_rewrite_key(left);
	SealKeyId right_key = seal_rewrite_key(right);
	bool left_input = seal_rewrite_is_input(left) && left_key == SEAL_KEY_NONE;
	bool right_input = seal_rewrite_is_input(right) && right_key == SEAL_KEY_NONE;

	if (left_key != SEAL_KEY_NONE && left_key == right_key)
		return (Node *) op;
	if (left_input && right_input)
		return (Node *) op;
	if (right_input && left_key != SEAL_KEY_NONE)
	{
		/* Without tags there is nothing to probe: the function opens the values. */
		if (seal_key_search(left_key) != SEAL_SEARCH_NONE)
			lsecond(op->args) = seal_rewrite_probe(right, left_key, objects, true);
		return (Node *) op;
	}
	if (left_input && right_key != SEAL_KEY_NONE)
	{
		if (seal_key_search(right_key) != SEAL_SEARCH_NONE)
			linitial(op->args) = seal_rewrite_probe(left, right_key, objects, true);
		return (Node *) op;
	}
	if (left_input || right_input)
		return (Node *) op;
	return seal_rewrite_opened_comparison(left, right, equal, objects);
}

/* An expression as one of the base type, where SQL converts it by itself. */
static Node *
seal_rewrite_as_base(Node *node, Oid base)
{
	Oid type = exprType(node);
	Node *result;

	if (getBaseType(type) == base)
		return node;
	result = coerce_to_target_type(NULL, node, type, base, -1, COERCION_IMPLICIT,
								   COERCE_IMPLICIT_CAST, -1);
	if (result == NULL)
		elog(ERROR, "could not convert type %u to %u", type, base);
	return result;
}

/* A comparison of a sealed value with one that is not: any value can be probed for. */
static Node *
seal_rewrite_mixed_comparison(OpExpr *op, Node *sealed, Node *plain, bool equal,
							  const SealObjects *objects)
{
	SealKeyId key = seal_rewrite_key(sealed);

	if (key == SEAL_KEY_NONE || seal_key_search(key) == SEAL_SEARCH_NONE)
		return (Node *) op;
	plain = seal_rewrite_as_base(plain, seal_kinds[objects->kind].base);
	return (Node *) make_opclause(
		equal ? objects->eq : objects->ne, BOOLOID, false, (Expr *) sealed,
		(Expr *) seal_rewrite_probe(plain, key, objects, false), InvalidOid, op->inputcollid);
}

/* See rewrite_int.h. */
Node *
seal_rewrite_uncast(Node *node, const SealObjects **objects)
{
	FuncExpr *cast;

	node = seal_rewrite_strip(node);
	if (node == NULL || !IsA(node, FuncExpr))
		return NULL;
	cast = (FuncExpr *) node;
	if (list_length(cast->args) != 1)
		return NULL;
	*objects = seal_rewrite_sealed(linitial(cast->args));
	if (*objects == NULL ||
		(cast->funcid != (*objects)->to_base && cast->funcid != (*objects)->to_varchar))
		return NULL;
	return seal_rewrite_key(linitial(cast->args)) != SEAL_KEY_NONE ? linitial(cast->args) : NULL;
}

/* col::text = 'x', as clients and ORMs write it. */
static Node *
seal_rewrite_cast_comparison(OpExpr *op, Node *left, Node *right)
{
	const SealObjects *left_objects = NULL;
	const SealObjects *right_objects = NULL;
	Node *left_column = seal_rewrite_uncast(left, &left_objects);
	Node *right_column = seal_rewrite_uncast(right, &right_objects);
	const SealObjects *objects = left_column != NULL ? left_objects : right_objects;

	if ((left_column == NULL) == (right_column == NULL) ||
		(op->opno != objects->base_eq && op->opno != objects->base_ne))
		return seal_rewrite_pattern(op);
	/* A nondeterministic collation finds more than the tag does: leave it. */
	if (OidIsValid(op->inputcollid) && !get_collation_isdeterministic(op->inputcollid))
		return (Node *) op;
	if (left_column != NULL && seal_rewrite_is_input(right))
		return seal_rewrite_mixed_comparison(op, left_column, right, op->opno == objects->base_eq,
											 objects);
	if (right_column != NULL && seal_rewrite_is_input(left))
		return seal_rewrite_mixed_comparison(op, right_column, left, op->opno == objects->base_eq,
											 objects);
	return (Node *) op;
}

static Node *
seal_rewrite_operator(OpExpr *op)
{
	Node *left;
	Node *right;
	const SealObjects *left_objects;
	const SealObjects *right_objects;

	if (list_length(op->args) != 2)
		return (Node *) op;
	left = linitial(op->args);
	right = lsecond(op->args);
	left_objects = seal_rewrite_sealed(left);
	right_objects = seal_rewrite_sealed(right);
	if (left_objects == NULL && right_objects == NULL)
		return seal_rewrite_cast_comparison(op, left, right);
	if (left_objects != NULL && left_objects == right_objects)
	{
		if (op->opno != left_objects->eq && op->opno != left_objects->ne)
			return (Node *) op;
		seal_rewrite_check_collation(op->inputcollid);
		return seal_rewrite_sealed_comparison(op, op->opno == left_objects->eq, left_objects);
	}
	for (int i = 0; i < SEAL_MIXED_MAX; i++)
	{
		const SealMixed *mixed = left_objects != NULL ? &left_objects->mixed[i] : NULL;
		const SealMixed *commuted = right_objects != NULL ? &right_objects->mixed[i] : NULL;

		if (mixed != NULL && (op->opno == mixed->eq || op->opno == mixed->ne))
		{
			seal_rewrite_check_collation(op->inputcollid);
			return seal_rewrite_mixed_comparison(op, left, right, op->opno == mixed->eq,
												 left_objects);
		}
		if (commuted != NULL &&
			(op->opno == commuted->eq_commuted || op->opno == commuted->ne_commuted))
		{
			seal_rewrite_check_collation(op->inputcollid);
			return seal_rewrite_mixed_comparison(op, right, left, op->opno == commuted->eq_commuted,
												 right_objects);
		}
	}
	return (Node *) op;
}

/* Is this operator an (un)equality of a sealed type, and with a base type? */
static bool
seal_rewrite_is_comparison(Oid opno, const SealObjects *objects, bool *sealed, bool *equal)
{
	*sealed = opno == objects->eq || opno == objects->ne;
	*equal = opno == objects->eq;
	if (*sealed)
		return true;
	for (int i = 0; i < SEAL_MIXED_MAX && OidIsValid(objects->mixed[i].type); i++)
	{
		*equal = opno == objects->mixed[i].eq;
		if (*equal || opno == objects->mixed[i].ne)
			return true;
	}
	return false;
}

/* Probes for the items of ARRAY[...], each by itself so that constants become probes. */
static Node *
seal_rewrite_array_items(ArrayExpr *array, SealKeyId key, const SealObjects *objects, bool sealed)
{
	ArrayExpr *items = copyObject(array);
	ListCell *lc;

	foreach (lc, items->elements)
	{
		Node *item = lfirst(lc);

		if (!sealed)
			item = seal_rewrite_as_base(item, seal_kinds[objects->kind].base);
		lfirst(lc) = seal_rewrite_probe(item, key, objects, sealed);
	}
	items->array_typeid = objects->array;
	items->element_typeid = objects->type;
	return (Node *) items;
}

/* All that the planner's function wants of its root is the parameters. */
static PlannerInfo *
seal_rewrite_root(ParamListInfo params)
{
	PlannerInfo *root = makeNode(PlannerInfo);

	root->glob = makeNode(PlannerGlobal);
	root->glob->boundParams = params;
	return root;
}

/*
 * A parameter whose value this plan is made for is taken for a constant, as the planner
 * would take it: partitions are pruned by an array only where that is a constant.
 */
static Node *
seal_rewrite_array_value(Node *array, SealKeyId key, const SealObjects *objects, bool sealed,
						 ParamListInfo params)
{
	Oid function = sealed ? objects->probe_array : objects->probe_base_array;
	Oid collation = seal_kinds[objects->kind].collation;
	PlannerInfo *root = NULL;
	Node *bare = seal_rewrite_strip(array);

	if (IsA(bare, ArrayCoerceExpr))
		bare = (Node *) ((ArrayCoerceExpr *) bare)->arg;
	if (seal_rewrite_is_input(bare))
		root = seal_rewrite_root(params);
	if (!sealed)
		array = seal_rewrite_as_base(array, seal_kinds[objects->kind].base_array);
	array = eval_const_expressions(root, array);
	bare = seal_rewrite_strip(array);
	if (IsA(bare, Const) && !((Const *) bare)->constisnull)
		/* At once, so that no plan holds the literals. */
		return (Node *) makeConst(
			objects->array, -1, collation, -1,
			OidFunctionCall2(function, ((Const *) bare)->constvalue, Int32GetDatum(key)), false,
			false);
	return (Node *) makeFuncExpr(function, objects->array,
								 list_make2(array, seal_rewrite_key_const(key)), collation,
								 InvalidOid, COERCE_EXPLICIT_CALL);
}

/* col IN (...), col = ANY (...), <> ALL (...) */
static Node *
seal_rewrite_array(ScalarArrayOpExpr *op, ParamListInfo params)
{
	Node *left = linitial(op->args);
	Node *array = lsecond(op->args);
	const SealObjects *objects = seal_rewrite_sealed(left);
	SealKeyId key;
	ScalarArrayOpExpr *result;
	bool sealed;
	bool equal;

	if (objects == NULL || !seal_rewrite_is_comparison(op->opno, objects, &sealed, &equal))
		return (Node *) op;
	key = seal_rewrite_key(left);
	if (key == SEAL_KEY_NONE || seal_key_search(key) == SEAL_SEARCH_NONE)
		return (Node *) op;
	seal_rewrite_check_collation(op->inputcollid);
	if (sealed && exprTypmod(array) == key)
		return (Node *) op;
	if (IsA(array, ArrayExpr) && !((ArrayExpr *) array)->multidims)
		array = seal_rewrite_array_items((ArrayExpr *) array, key, objects, sealed);
	else
		array = seal_rewrite_array_value(array, key, objects, sealed, params);
	result = makeNode(ScalarArrayOpExpr);
	memcpy(result, op, sizeof(ScalarArrayOpExpr));
	result->args = list_make2(left, array);
	if (!sealed)
	{
		result->opno = equal ? objects->eq : objects->ne;
		result->opfuncid = get_opcode(result->opno);
		result->hashfuncid = InvalidOid;
		result->negfuncid = InvalidOid;
	}
	return (Node *) result;
}

/* GREATEST and LEAST go by the opened values. */
static Node *
seal_rewrite_min_max(MinMaxExpr *expression)
{
	const SealObjects *objects = seal_sealed_type_find(expression->minmaxtype);
	SealKeyId key = SEAL_KEY_NONE;
	ListCell *lc;

	if (objects == NULL)
		return (Node *) expression;
	foreach (lc, expression->args)
	{
		SealKeyId its = seal_rewrite_key(lfirst(lc));

		if (its != SEAL_KEY_NONE && key != SEAL_KEY_NONE && its != key)
			key = SEAL_KEY_NONE;
		else if (its != SEAL_KEY_NONE)
			key = its;
		if (key == SEAL_KEY_NONE)
			break;
		lfirst(lc) = seal_rewrite_to_base(lfirst(lc), objects);
	}
	if (key == SEAL_KEY_NONE || !OidIsValid(objects->base_lt))
		seal_rewrite_refuse("can't compare these sealed values in GREATEST or LEAST",
							"Cast the arguments to their base type.");
	expression->minmaxtype = seal_kinds[objects->kind].base;
	expression->minmaxcollid = seal_kinds[objects->kind].collation;
	return seal_rewrite_from_base((Node *) expression, key, objects);
}

/* ---------------------------------------------------------------- the walk */

/* The context is the parameters that the plan is made for, a ParamListInfo, or NULL. */
static Node *
seal_rewrite_mutate(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
		return (Node *) seal_rewrite_order_query(
			query_tree_mutator((Query *) node, seal_rewrite_mutate, context, 0));
	node = expression_tree_mutator(node, seal_rewrite_mutate, context);
	switch (nodeTag(node))
	{
		case T_OpExpr:
			return seal_rewrite_operator((OpExpr *) node);
		case T_ScalarArrayOpExpr:
			return seal_rewrite_array((ScalarArrayOpExpr *) node, context);
		case T_Aggref:
			return seal_rewrite_order_aggregate((Aggref *) node);
		case T_MinMaxExpr:
			return seal_rewrite_min_max((MinMaxExpr *) node);
		default:
			return node;
	}
}

/* Is this one of the functions that take a literal for what it is? */
static bool
seal_rewrite_takes_literal(Node *node)
{
	FuncExpr *call = (FuncExpr *) node;
	const SealObjects *objects;

	if (!IsA(node, FuncExpr) || call->args == NIL)
		return false;
	objects = seal_sealed_type_find(exprType(linitial(call->args)));
	return objects != NULL && (call->funcid == objects->rekey || call->funcid == objects->probe ||
							   call->funcid == objects->to_base || call->funcid == objects->typed);
}

/*
 * The literals and parameters that are left may reach the result: it is to show them, as
 * it would show any literal.  The plan goes on holding armor.
 */
static Node *
seal_rewrite_show(Node *node, void *context)
{
	const SealObjects *objects;

	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
		return (Node *) query_tree_mutator((Query *) node, seal_rewrite_show, context, 0);
	if (seal_rewrite_takes_literal(node) &&
		seal_rewrite_is_input(linitial(((FuncExpr *) node)->args)))
		return node;
	if ((IsA(node, Const) && !((Const *) node)->constisnull) ||
		(IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN))
	{
		objects = seal_sealed_type_find(exprType(node));
		if (objects == NULL || exprTypmod(node) >= 0)
			return node;
		return (Node *) makeFuncExpr(objects->typed, objects->type, list_make1(node),
									 seal_kinds[objects->kind].collation, InvalidOid,
									 COERCE_IMPLICIT_CAST);
	}
	return expression_tree_mutator(node, seal_rewrite_show, context);
}

/* Is anything sealed in the query? */
static bool
seal_rewrite_mentions(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, seal_rewrite_mentions, context, 0);
	switch (nodeTag(node))
	{
		case T_Var:
		case T_Const:
		case T_Param:
		case T_FuncExpr:
		case T_CoerceViaIO:
		case T_CoerceToDomain:
			if (seal_rewrite_sealed(node) != NULL ||
				seal_sealed_type_find_array(exprType(node)) != NULL)
				return true;
			break;
		default:
			break;
	}
	return expression_tree_walker(node, seal_rewrite_mentions, context);
}

/*
 * Called before planning.  Returns the query itself where nothing is sealed.  What the
 * plan depends on besides is added to invalidation.
 */
Query *
seal_rewrite_query(Query *query, ParamListInfo params, List **invalidation)
{
	if (query->commandType == CMD_UTILITY || !seal_sealed_type_present())
		return query;
	seal_rewrite_inline(query, invalidation);
	if (!seal_rewrite_mentions((Node *) query, NULL))
		return query;
	query = (Query *) seal_rewrite_mutate((Node *) query, params);
	return (Query *) seal_rewrite_show((Node *) query, NULL);
}
