/*
 * rewrite_pattern.c
 *		LIKE and ILIKE on a column under a key for search by substring.
 *
 * The parser opens the column, because LIKE is text's: (col)::text ~~ 'x%'.  Such a
 * comparison goes back to the column, with the pattern sealed, so that an index over
 * trigrams serves it and no plan holds the pattern.  Where it does not qualify it stays
 * what it was, answered rightly by opening each value.
 */
#include "seal/rewrite_int.h"

#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"

static bool
seal_rewrite_pattern_varies(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Var:
		case T_Aggref:
		case T_GroupingFunc:
		case T_WindowFunc:
		case T_SubLink:
		case T_CaseTestExpr:
		case T_CoerceToDomainValue:
		case T_SetToDefault:
		case T_CurrentOfExpr:
			return true;
		default:
			return expression_tree_walker(node, seal_rewrite_pattern_varies, context);
	}
}

/* The pattern under a key: a constant's at once, so that no plan holds it. */
static Node *
seal_rewrite_pattern_seal(Node *pattern, SealKeyId key, const SealObjects *objects)
{
	Oid collation = seal_kinds[objects->kind].collation;

	if (IsA(pattern, Const))
	{
		Const *constant = (Const *) pattern;
		Datum value = (Datum) 0;

		if (!constant->constisnull)
			value = OidFunctionCall2(objects->pattern, constant->constvalue, Int32GetDatum(key));
		return (Node *) makeConst(objects->type, key, collation, -1, value, constant->constisnull,
								  false);
	}
	return (Node *) makeFuncExpr(objects->pattern, objects->type,
								 list_make2(pattern, seal_rewrite_key_const(key)), collation,
								 InvalidOid, COERCE_EXPLICIT_CALL);
}

/* See rewrite_int.h. */
Node *
seal_rewrite_pattern(OpExpr *op)
{
	const SealObjects *objects = NULL;
	Node *column;
	Node *pattern;
	SealKeyId key;

	if (op->opno != OID_TEXT_LIKE_OP && op->opno != OID_TEXT_ICLIKE_OP)
		return (Node *) op;
	column = seal_rewrite_uncast(linitial(op->args), &objects);
	if (column == NULL || objects->kind != SEAL_KIND_TEXT || !OidIsValid(objects->like))
		return (Node *) op;
	key = seal_rewrite_key(column);
	if (seal_key_search(key) != SEAL_SEARCH_SUBSTRING)
		return (Node *) op;
	/* Where unequal texts can be equal, trigrams find too little. */
	if (OidIsValid(op->inputcollid) && !get_collation_isdeterministic(op->inputcollid))
		return (Node *) op;
	pattern = lsecond(op->args);
	if (contain_volatile_functions(pattern) || seal_rewrite_pattern_varies(pattern, NULL))
		return (Node *) op;
	pattern = eval_const_expressions(NULL, pattern);
	while (IsA(pattern, RelabelType))
		pattern = (Node *) ((RelabelType *) pattern)->arg;
	return (Node *) make_opclause(op->opno == OID_TEXT_LIKE_OP ? objects->like : objects->iclike,
								  BOOLOID, false, (Expr *) column,
								  (Expr *) seal_rewrite_pattern_seal(pattern, key, objects),
								  InvalidOid, op->inputcollid);
}
