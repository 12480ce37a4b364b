/*
 * rewrite.c
 *		Makes queries over sealed columns mean, and cost, what they would over text.
 *
 * Before planning, in each query:
 * - a literal or parameter that is compared with a sealed column becomes a probe
 *   under the column's key, so that an index on the tags serves it, and so that no
 *   plan holds the literal;
 * - IN and = ANY likewise, item by item;
 * - col::text = x goes back to the column, for clients that cast;
 * - values whose keys differ, or may differ, are compared by opened text: by tags
 *   they would silently never be equal;
 * - ORDER BY, window and aggregate orderings go by the opened text.
 *
 * What can't be made right is refused, with what to do; never silently wrong.
 */
#include "seal/sealed_int.h"

#include "access/stratnum.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parse_clause.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

/* texteq, textne, text_lt, text_gt as operators. */
#define REWRITE_TEXT_EQ 98
#define REWRITE_TEXT_NE 531
#define REWRITE_TEXT_LT 664
#define REWRITE_TEXT_GT 666

static Node *seal_rewrite_mutate(Node *node, void *context);

/* ---------------------------------------------------------------- expressions */

static bool
seal_rewrite_is_sealed(const Node *node, const SealObjects *objects)
{
	return getBaseType(exprType(node)) == objects->type;
}

/* The key that an expression's values are under, or SEAL_KEY_NONE when unknown. */
static SealKeyId
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

static Node *
seal_rewrite_to_text(Node *node, const SealObjects *objects)
{
	return (Node *) makeFuncExpr(objects->to_text, TEXTOID, list_make1(node), DEFAULT_COLLATION_OID,
								 DEFAULT_COLLATION_OID, COERCE_EXPLICIT_CAST);
}

/* A probe for a sealed or text expression; a constant's is made at once. */
static Node *
seal_rewrite_probe(Node *node, SealKeyId key, const SealObjects *objects, bool sealed)
{
	Node *bare = seal_rewrite_strip(node);

	if (IsA(bare, Const))
	{
		Const *constant = (Const *) bare;
		Datum value = (Datum) 0;

		if (!constant->constisnull && sealed)
			value = PointerGetDatum(seal_sealed_ops_probe(
				(struct varlena *) PG_DETOAST_DATUM(constant->constvalue), key));
		else if (!constant->constisnull)
		{
			text *plain = DatumGetTextPP(constant->constvalue);

			value = PointerGetDatum(
				seal_envelope_probe(key, VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain)));
		}
		return (Node *) makeConst(objects->type, key, DEFAULT_COLLATION_OID, -1, value,
								  constant->constisnull, false);
	}
	return (Node *) makeFuncExpr(
		sealed ? objects->probe : objects->probe_text, objects->type,
		list_make2(node, makeConst(INT4OID, -1, InvalidOid, 4, Int32GetDatum(key), false, true)),
		DEFAULT_COLLATION_OID, InvalidOid, COERCE_EXPLICIT_CALL);
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

static Node *
seal_rewrite_text_comparison(Node *left, Node *right, bool equal, const SealObjects *objects)
{
	if (seal_rewrite_is_sealed(left, objects))
		left = seal_rewrite_to_text(left, objects);
	if (seal_rewrite_is_sealed(right, objects))
		right = seal_rewrite_to_text(right, objects);
	return (Node *) make_opclause(equal ? REWRITE_TEXT_EQ : REWRITE_TEXT_NE, BOOLOID, false,
								  (Expr *) left, (Expr *) right, InvalidOid, DEFAULT_COLLATION_OID);
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
	return seal_rewrite_text_comparison(left, right, equal, objects);
}

/* A comparison of a sealed value with text: any text can be probed for. */
static Node *
seal_rewrite_mixed_comparison(OpExpr *op, Node *sealed, Node *plain, bool equal,
							  const SealObjects *objects)
{
	SealKeyId key = seal_rewrite_key(sealed);

	if (key == SEAL_KEY_NONE || seal_key_search(key) == SEAL_SEARCH_NONE)
		return (Node *) op;
	return (Node *) make_opclause(
		equal ? objects->eq : objects->ne, BOOLOID, false, (Expr *) sealed,
		(Expr *) seal_rewrite_probe(plain, key, objects, false), InvalidOid, op->inputcollid);
}

/* The sealed expression under a cast to text, or NULL. */
static Node *
seal_rewrite_uncast(Node *node, const SealObjects *objects)
{
	FuncExpr *cast;

	node = seal_rewrite_strip(node);
	if (!IsA(node, FuncExpr))
		return NULL;
	cast = (FuncExpr *) node;
	if (cast->funcid != objects->to_text)
		return NULL;
	return seal_rewrite_key(linitial(cast->args)) != SEAL_KEY_NONE ? linitial(cast->args) : NULL;
}

static Node *
seal_rewrite_operator(OpExpr *op, const SealObjects *objects)
{
	Node *left;
	Node *right;
	bool equal = op->opno == objects->eq || op->opno == objects->eq_text ||
				 op->opno == objects->text_eq || op->opno == REWRITE_TEXT_EQ;

	if (list_length(op->args) != 2)
		return (Node *) op;
	left = linitial(op->args);
	right = lsecond(op->args);
	if (op->opno == objects->eq || op->opno == objects->ne)
	{
		seal_rewrite_check_collation(op->inputcollid);
		return seal_rewrite_sealed_comparison(op, equal, objects);
	}
	if (op->opno == objects->eq_text || op->opno == objects->ne_text)
	{
		seal_rewrite_check_collation(op->inputcollid);
		return seal_rewrite_mixed_comparison(op, left, right, equal, objects);
	}
	if (op->opno == objects->text_eq || op->opno == objects->text_ne)
	{
		seal_rewrite_check_collation(op->inputcollid);
		return seal_rewrite_mixed_comparison(op, right, left, equal, objects);
	}
	if (op->opno == REWRITE_TEXT_EQ || op->opno == REWRITE_TEXT_NE)
	{
		Node *left_column = seal_rewrite_uncast(left, objects);
		Node *right_column = seal_rewrite_uncast(right, objects);

		/* A nondeterministic collation finds more than the tag does: leave it. */
		if (OidIsValid(op->inputcollid) && !get_collation_isdeterministic(op->inputcollid))
			return (Node *) op;
		if (left_column != NULL && right_column == NULL && seal_rewrite_is_input(right))
			return seal_rewrite_mixed_comparison(op, left_column, right, equal, objects);
		if (right_column != NULL && left_column == NULL && seal_rewrite_is_input(left))
			return seal_rewrite_mixed_comparison(op, right_column, left, equal, objects);
	}
	return (Node *) op;
}

/* col IN (...), col = ANY (...), <> ALL (...) */
static Node *
seal_rewrite_array(ScalarArrayOpExpr *op, const SealObjects *objects)
{
	Node *left = linitial(op->args);
	Node *array = lsecond(op->args);
	bool sealed = op->opno == objects->eq || op->opno == objects->ne;
	SealKeyId key = seal_rewrite_key(left);
	ScalarArrayOpExpr *result;

	if (key == SEAL_KEY_NONE || seal_key_search(key) == SEAL_SEARCH_NONE)
		return (Node *) op;
	seal_rewrite_check_collation(op->inputcollid);
	result = makeNode(ScalarArrayOpExpr);
	memcpy(result, op, sizeof(ScalarArrayOpExpr));
	if (sealed && exprTypmod(array) == key)
		return (Node *) op;
	if (IsA(array, ArrayExpr) && !((ArrayExpr *) array)->multidims)
	{
		ArrayExpr *items = copyObject((ArrayExpr *) array);
		ListCell *lc;

		foreach (lc, items->elements)
			lfirst(lc) = seal_rewrite_probe(lfirst(lc), key, objects, sealed);
		items->array_typeid = objects->array;
		items->element_typeid = objects->type;
		array = (Node *) items;
	}
	else
	{
		Node *bare = seal_rewrite_strip(array);
		Oid function = sealed ? objects->probe_array : objects->probe_text_array;

		if (IsA(bare, Const) && !((Const *) bare)->constisnull)
			/* At once, so that no plan holds the literals. */
			array = (Node *) makeConst(
				objects->array, -1, DEFAULT_COLLATION_OID, -1,
				OidFunctionCall2(function, ((Const *) bare)->constvalue, Int32GetDatum(key)), false,
				false);
		else
			array =
				(Node *) makeFuncExpr(function, objects->array,
									  list_make2(array, makeConst(INT4OID, -1, InvalidOid, 4,
																  Int32GetDatum(key), false, true)),
									  DEFAULT_COLLATION_OID, InvalidOid, COERCE_EXPLICIT_CALL);
	}
	result->args = list_make2(left, array);
	if (!sealed)
	{
		result->opno = op->opno == objects->eq_text ? objects->eq : objects->ne;
		result->opfuncid = get_opcode(result->opno);
		result->hashfuncid = InvalidOid;
		result->negfuncid = InvalidOid;
	}
	return (Node *) result;
}

/* ---------------------------------------------------------------- ordering */

static bool
seal_rewrite_descending(Oid sortop)
{
	Oid opfamily;
	Oid opcintype;
	int16 strategy;

	return get_ordering_op_properties(sortop, &opfamily, &opcintype, &strategy) &&
		   strategy == BTGreaterStrategyNumber;
}

/*
 * Sends an ordering to the opened text: a junk column of the target list that
 * casts, and a sort clause that uses it.
 */
static List *
seal_rewrite_order(List *clauses, List **targetlist, const SealObjects *objects)
{
	List *result = NIL;
	ListCell *lc;

	foreach (lc, clauses)
	{
		SortGroupClause *clause = lfirst_node(SortGroupClause, lc);
		TargetEntry *entry = get_sortgroupclause_tle(clause, *targetlist);
		TargetEntry *text;
		SortGroupClause *by_text;
		bool descending;

		if (!seal_rewrite_is_sealed((Node *) entry->expr, objects))
		{
			result = lappend(result, clause);
			continue;
		}
		descending = seal_rewrite_descending(clause->sortop);
		text = makeTargetEntry(
			(Expr *) seal_rewrite_to_text(copyObject((Node *) entry->expr), objects),
			list_length(*targetlist) + 1, NULL, true);
		*targetlist = lappend(*targetlist, text);
		by_text = makeNode(SortGroupClause);
		by_text->tleSortGroupRef = assignSortGroupRef(text, *targetlist);
		by_text->eqop = REWRITE_TEXT_EQ;
		by_text->sortop = descending ? REWRITE_TEXT_GT : REWRITE_TEXT_LT;
		by_text->nulls_first = clause->nulls_first;
		by_text->hashable = true;
		result = lappend(result, by_text);
	}
	return result;
}

static bool
seal_rewrite_orders_sealed(List *clauses, List *targetlist, const SealObjects *objects)
{
	ListCell *lc;

	foreach (lc, clauses)
		if (seal_rewrite_is_sealed(
				(Node *) get_sortgroupclause_tle(lfirst_node(SortGroupClause, lc), targetlist)
					->expr,
				objects))
			return true;
	return false;
}

static void
seal_rewrite_refuse(const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("%s", what),
			 errdetail("Sealed values are ordered and grouped by keyed tags, which would give a "
					   "wrong answer here."),
			 errhint("%s", hint)));
}

/* Grouping by tags is right only among values under one key. */
static void
seal_rewrite_check_group(List *clauses, List *targetlist, const SealObjects *objects)
{
	ListCell *lc;

	foreach (lc, clauses)
	{
		Node *expr =
			(Node *) get_sortgroupclause_tle(lfirst_node(SortGroupClause, lc), targetlist)->expr;

		if (seal_rewrite_is_sealed(expr, objects) && seal_rewrite_key(expr) == SEAL_KEY_NONE)
			seal_rewrite_refuse("can't group values that may be sealed under different keys",
								"Cast the expression to text, or to sealed_text with one key.");
	}
}

static bool
seal_rewrite_check_set(Node *node, void *context)
{
	const SealObjects *objects = context;

	if (node == NULL)
		return false;
	if (IsA(node, SetOperationStmt))
	{
		SetOperationStmt *set = (SetOperationStmt *) node;
		ListCell *type;
		ListCell *typmod;

		if (!(set->op == SETOP_UNION && set->all))
			forboth(type, set->colTypes, typmod,
					set->colTypmods) if (lfirst_oid(type) == objects->type &&
										 lfirst_int(typmod) < 0)
				seal_rewrite_refuse("can't compare columns sealed under different keys in UNION, "
									"INTERSECT or EXCEPT",
									"Cast the columns to text, or use UNION ALL.");
		return seal_rewrite_check_set(set->larg, context) ||
			   seal_rewrite_check_set(set->rarg, context);
	}
	return false;
}

static void
seal_rewrite_clauses(Query *query, const SealObjects *objects)
{
	ListCell *lc;

	seal_rewrite_check_group(query->groupClause, query->targetList, objects);
	if (!query->hasDistinctOn)
		seal_rewrite_check_group(query->distinctClause, query->targetList, objects);
	if (query->setOperations != NULL)
	{
		(void) seal_rewrite_check_set(query->setOperations, (void *) objects);
		if (seal_rewrite_orders_sealed(query->sortClause, query->targetList, objects))
			seal_rewrite_refuse(
				"can't order the result of UNION, INTERSECT or EXCEPT by a sealed "
				"column",
				"Put it into a subquery: SELECT * FROM (... UNION ...) u ORDER BY ...");
		return;
	}
	if (query->hasDistinctOn &&
		seal_rewrite_orders_sealed(query->distinctClause, query->targetList, objects))
		seal_rewrite_refuse("can't use DISTINCT ON with a sealed column",
							"Write DISTINCT ON (column::text), and ORDER BY column::text.");
	if (query->distinctClause != NIL &&
		seal_rewrite_orders_sealed(query->sortClause, query->targetList, objects))
		seal_rewrite_refuse(
			"can't order by a sealed column with DISTINCT",
			"Put it into a subquery: SELECT * FROM (SELECT DISTINCT ...) d ORDER BY "
			"...");
	query->sortClause = seal_rewrite_order(query->sortClause, &query->targetList, objects);
	foreach (lc, query->windowClause)
	{
		WindowClause *window = lfirst_node(WindowClause, lc);

		window->orderClause = seal_rewrite_order(window->orderClause, &query->targetList, objects);
	}
}

static Node *
seal_rewrite_aggregate(Aggref *aggregate, const SealObjects *objects)
{
	if (!seal_rewrite_orders_sealed(aggregate->aggorder, aggregate->args, objects))
		return (Node *) aggregate;
	if (aggregate->aggdistinct != NIL)
		seal_rewrite_refuse("can't order a DISTINCT aggregate by a sealed column",
							"Cast the argument and the ordering to text.");
	aggregate->aggorder = seal_rewrite_order(aggregate->aggorder, &aggregate->args, objects);
	return (Node *) aggregate;
}

/* ---------------------------------------------------------------- the walk */

static Node *
seal_rewrite_mutate(Node *node, void *context)
{
	const SealObjects *objects = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
	{
		Query *query = query_tree_mutator((Query *) node, seal_rewrite_mutate, context, 0);

		seal_rewrite_clauses(query, objects);
		return (Node *) query;
	}
	node = expression_tree_mutator(node, seal_rewrite_mutate, context);
	switch (nodeTag(node))
	{
		case T_OpExpr:
			return seal_rewrite_operator((OpExpr *) node, objects);
		case T_ScalarArrayOpExpr:
		{
			Oid opno = ((ScalarArrayOpExpr *) node)->opno;

			if (opno == objects->eq || opno == objects->ne || opno == objects->eq_text ||
				opno == objects->ne_text)
				return seal_rewrite_array((ScalarArrayOpExpr *) node, objects);
			return node;
		}
		case T_Aggref:
			return seal_rewrite_aggregate((Aggref *) node, objects);
		case T_MinMaxExpr:
			if (((MinMaxExpr *) node)->minmaxtype == objects->type)
				seal_rewrite_refuse("can't compare sealed values in GREATEST or LEAST",
									"Cast the arguments to text.");
			return node;
		default:
			return node;
	}
}

/* Is anything sealed in the query? */
static bool
seal_rewrite_mentions(Node *node, void *context)
{
	const SealObjects *objects = context;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, seal_rewrite_mentions, context, 0);
	if (IsA(node, Var))
		return getBaseType(((Var *) node)->vartype) == objects->type;
	if (IsA(node, Const))
		return ((Const *) node)->consttype == objects->type;
	if (IsA(node, Param))
		return getBaseType(((Param *) node)->paramtype) == objects->type;
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcresulttype == objects->type)
		return true;
	return expression_tree_walker(node, seal_rewrite_mentions, context);
}

/* Called before planning.  Returns the query itself where nothing is sealed. */
Query *
seal_rewrite_query(Query *query)
{
	const SealObjects *objects = seal_sealed_type_objects();

	if (objects == NULL || query->utilityStmt != NULL ||
		!seal_rewrite_mentions((Node *) query, (void *) objects))
		return query;
	return (Query *) seal_rewrite_mutate((Node *) query, (void *) objects);
}
