/*
 * literal.c
 *		Definitions (views, checks, policies, defaults) that are carried from a plain
 *		column to a sealed one, or back.
 *
 * A definition is parsed over the column as it is now, and printed again with its
 * literals changed: in the way to a sealed column a literal that meets the column's
 * value becomes a sealed literal (I4: the catalog must not tell what the column
 * hides); in the way back a sealed literal becomes a plain one.  Nothing but literals
 * changes, so the definition means what it meant:
 *
 *     status = 'x'::text             =>  status = '...'::sealed_text
 *     status = ANY (ARRAY['a', 'b']) =>  status = ANY (ARRAY['...'::sealed_text, ...])
 *     status ~~ 'x%'::text           =>  (status)::text ~~ ('...'::sealed_text)::text
 *
 * The first two need no right to open anything; the third did not before and does now.
 *
 * Only literals that share an operator or a function with a sealed value are changed:
 * what a view prints beside it (CASE ... THEN 'known') says nothing about the column.
 * In a default every text literal is, because all of it ends in the column.
 *
 * Definitions come from the catalog, printed by the server under an empty
 * search_path.  They are parsed here, never run.
 */
#include "seal/sealed_int.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_expr.h"
#include "parser/parse_node.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

WARD_FUNCTION(ward_literal_query);
WARD_FUNCTION(ward_literal_expression);
WARD_FUNCTION(ward_literal_condition);
WARD_FUNCTION(ward_literal_default);
WARD_FUNCTION(ward_literal_by_tag);
WARD_FUNCTION(ward_literal_uses);

/* textne as an operator; its header names texteq alone. */
#define LITERAL_TEXT_NE 531

typedef struct LiteralContext
{
	bool opening; /* from sealed to plain */
} LiteralContext;

/* The function that casts one type to another, or InvalidOid. */
static Oid
seal_literal_cast(Oid target, Oid source)
{
	Oid function;

	if (find_coercion_pathway(target, source, COERCION_ASSIGNMENT, &function) != COERCION_PATH_FUNC)
		return InvalidOid;
	return function;
}

static Node *
seal_literal_strip(Node *node)
{
	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

/* A constant of a type that sealed can be made of; NULL otherwise. */
static Const *
seal_literal_plain(Node *node, Oid sealed)
{
	Const *constant = (Const *) seal_literal_strip(node);
	Oid type;

	if (constant == NULL || !IsA(constant, Const) || seal_type_is_sealed(constant->consttype))
		return NULL;
	type = constant->consttype == VARCHAROID ? TEXTOID : constant->consttype;
	return OidIsValid(seal_literal_cast(sealed, type)) ? constant : NULL;
}

/* A sealed literal of a plain one. */
static Const *
seal_literal_seal(const Const *constant, Oid sealed)
{
	Oid type = constant->consttype == VARCHAROID ? TEXTOID : constant->consttype;
	Datum value = (Datum) 0;

	if (!constant->constisnull)
		value = OidFunctionCall3(seal_literal_cast(sealed, type), constant->constvalue,
								 Int32GetDatum(-1), BoolGetDatum(false));
	return makeConst(sealed, -1, get_typcollation(sealed), -1, value, constant->constisnull, false);
}

/* A sealed literal, opened where it stands: for operators that know plain text only. */
static Node *
seal_literal_wrap(const Const *constant, Oid sealed)
{
	return (Node *) makeFuncExpr(seal_literal_cast(TEXTOID, sealed), TEXTOID,
								 list_make1(seal_literal_seal(constant, sealed)), InvalidOid,
								 DEFAULT_COLLATION_OID, COERCE_EXPLICIT_CAST);
}

/* The type of a sealed column in an expression, or InvalidOid. */
static bool
seal_literal_find_sealed(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var) || IsA(node, CaseTestExpr))
	{
		Oid type = exprType(node);

		if (seal_type_is_sealed(type))
		{
			*(Oid *) context = type;
			return true;
		}
		return false;
	}
	return expression_tree_walker(node, seal_literal_find_sealed, context);
}

/* The sealed expression under a cast to plain, or NULL. */
static Node *
seal_literal_uncast(Node *node)
{
	FuncExpr *cast;
	Oid type;

	node = seal_literal_strip(node);
	if (!IsA(node, FuncExpr))
		return NULL;
	cast = (FuncExpr *) node;
	if (list_length(cast->args) != 1)
		return NULL;
	type = exprType(linitial(cast->args));
	if (!seal_type_is_sealed(type) || seal_literal_cast(cast->funcresulttype, type) != cast->funcid)
		return NULL;
	return linitial(cast->args);
}

/*
 * The sealed side of a comparison by equality, as it is or under a cast that changes
 * nothing; NULL where text is compared in a way that tags do not know.
 */
static Node *
seal_literal_equality_side(Node *node, Oid opno, Oid collation)
{
	char *name = get_opname(opno);

	if (name == NULL || (strcmp(name, "=") != 0 && strcmp(name, "<>") != 0))
		return NULL;
	if (OidIsValid(collation) && !get_collation_isdeterministic(collation))
		return NULL;
	if (seal_type_is_sealed(exprType(node)))
		return node;
	if (opno == TextEqualOperator || opno == LITERAL_TEXT_NE)
		return seal_literal_uncast(node);
	return NULL;
}

/* The operator of the same name over two sealed values, or InvalidOid. */
static Oid
seal_literal_operator(Oid opno, Oid sealed)
{
	return OpernameGetOprid(list_make2(makeString("pg_catalog"), makeString(get_opname(opno))),
							sealed, sealed);
}

/* Seals the text literals among arguments of which another opens a sealed value. */
static void
seal_literal_wrap_arguments(List *args)
{
	ListCell *lc;
	Oid sealed = InvalidOid;

	(void) expression_tree_walker((Node *) args, seal_literal_find_sealed, &sealed);
	if (!OidIsValid(sealed))
		return;
	foreach (lc, args)
	{
		Const *constant = seal_literal_plain(lfirst(lc), sealed);

		if (constant != NULL && !constant->constisnull &&
			(constant->consttype == TEXTOID || constant->consttype == VARCHAROID))
			lfirst(lc) = seal_literal_wrap(constant, sealed);
	}
}

/* Also DISTINCT FROM and NULLIF, which have the same form. */
static void
seal_literal_comparison(OpExpr *op)
{
	if (list_length(op->args) != 2)
		return;
	for (int side = 0; side < 2; side++)
	{
		Node *column =
			seal_literal_equality_side(list_nth(op->args, side), op->opno, op->inputcollid);
		Oid sealed = column != NULL ? exprType(column) : InvalidOid;
		Const *constant =
			column != NULL ? seal_literal_plain(list_nth(op->args, 1 - side), sealed) : NULL;
		Oid opno = constant != NULL ? seal_literal_operator(op->opno, sealed) : InvalidOid;

		if (!OidIsValid(opno))
			continue;
		lfirst(list_nth_cell(op->args, side)) = column;
		lfirst(list_nth_cell(op->args, 1 - side)) = seal_literal_seal(constant, sealed);
		op->opno = opno;
		op->opfuncid = InvalidOid;
		return;
	}
	seal_literal_wrap_arguments(op->args);
}

/* An array of literals as an ARRAY[...] of sealed ones; NULL where it is not that. */
static Node *
seal_literal_array(Node *node, Oid sealed)
{
	ArrayExpr *items;
	List *elements = NIL;
	ListCell *lc;

	node = seal_literal_strip(node);
	if (IsA(node, ArrayCoerceExpr))
		node = seal_literal_strip((Node *) ((ArrayCoerceExpr *) node)->arg);
	if (IsA(node, Const))
	{
		Const *array = (Const *) node;
		Oid type = get_element_type(array->consttype);
		Datum *values;
		bool *nulls;
		int count;
		int16 length;
		bool by_value;
		char align;

		if (array->constisnull || !OidIsValid(type) ||
			ARR_NDIM(DatumGetArrayTypeP(array->constvalue)) != 1)
			return NULL;
		get_typlenbyvalalign(type, &length, &by_value, &align);
		deconstruct_array(DatumGetArrayTypeP(array->constvalue), type, length, by_value, align,
						  &values, &nulls, &count);
		for (int i = 0; i < count; i++)
			elements = lappend(elements, makeConst(type, -1, get_typcollation(type), length,
												   values[i], nulls[i], by_value));
	}
	else if (IsA(node, ArrayExpr) && !((ArrayExpr *) node)->multidims)
		elements = list_copy(((ArrayExpr *) node)->elements);
	else
		return NULL;
	foreach (lc, elements)
	{
		Const *constant = seal_literal_plain(lfirst(lc), sealed);

		if (constant == NULL)
			return NULL;
		lfirst(lc) = seal_literal_seal(constant, sealed);
	}
	items = makeNode(ArrayExpr);
	items->array_typeid = get_array_type(sealed);
	items->array_collid = get_typcollation(sealed);
	items->element_typeid = sealed;
	items->elements = elements;
	items->location = -1;
	return (Node *) items;
}

static void
seal_literal_array_comparison(ScalarArrayOpExpr *op)
{
	Node *column = seal_literal_equality_side(linitial(op->args), op->opno, op->inputcollid);
	Oid sealed = column != NULL ? exprType(column) : InvalidOid;
	Oid opno = column != NULL ? seal_literal_operator(op->opno, sealed) : InvalidOid;
	Node *array = OidIsValid(opno) ? seal_literal_array(lsecond(op->args), sealed) : NULL;

	if (array == NULL)
		return;
	op->args = list_make2(column, array);
	op->opno = opno;
	op->opfuncid = InvalidOid;
}

/* A sealed literal as the plain constant that it was typed as. */
static Node *
seal_literal_open(const Const *constant)
{
	const SealObjects *objects = seal_sealed_type_find(constant->consttype);
	struct varlena *opened;
	Datum value;
	Oid base;

	if (objects == NULL || constant->constisnull ||
		!seal_envelope_is_literal((struct varlena *) DatumGetPointer(constant->constvalue)))
		return (Node *) constant;
	opened = seal_envelope_open_uncounted(
		(struct varlena *) PG_DETOAST_DATUM_PACKED(constant->constvalue));
	value = seal_kind_decode(objects->kind, VARDATA_ANY(opened), VARSIZE_ANY_EXHDR(opened));
	base = seal_kinds[objects->kind].base;
	return (Node *) makeConst(base, -1, seal_kinds[objects->kind].collation, get_typlen(base),
							  value, false, get_typbyval(base));
}

/* Casts between sealed and plain vanish from around a literal that is now plain. */
static Node *
seal_literal_unwrap(FuncExpr *call)
{
	Node *argument;

	if (call->args == NIL)
		return (Node *) call;
	argument = linitial(call->args);
	if (!IsA(argument, Const) ||
		(call->funcformat != COERCE_IMPLICIT_CAST && call->funcformat != COERCE_EXPLICIT_CAST))
		return (Node *) call;
	if (seal_type_is_sealed(call->funcresulttype))
		return argument;
	for (int kind = 1; kind <= SEAL_KINDS; kind++)
	{
		const SealObjects *objects = seal_sealed_type_of_kind((SealKind) kind);

		if (objects != NULL && call->funcid == objects->to_base &&
			((Const *) argument)->consttype == seal_kinds[kind].base)
			return argument;
	}
	return (Node *) call;
}

static Node *
seal_literal_mutate(Node *node, void *context)
{
	LiteralContext *literals = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
		return (Node *) query_tree_mutator((Query *) node, seal_literal_mutate, context, 0);
	node = expression_tree_mutator(node, seal_literal_mutate, context);
	if (literals->opening)
	{
		if (IsA(node, Const))
			return seal_literal_open((Const *) node);
		if (IsA(node, FuncExpr))
			return seal_literal_unwrap((FuncExpr *) node);
		return node;
	}
	switch (nodeTag(node))
	{
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			seal_literal_comparison((OpExpr *) node);
			break;
		case T_ScalarArrayOpExpr:
			seal_literal_array_comparison((ScalarArrayOpExpr *) node);
			break;
		case T_FuncExpr:
			/* A length coercion's only literals are numbers. */
			seal_literal_wrap_arguments(((FuncExpr *) node)->args);
			break;
		default:
			break;
	}
	return node;
}

/* literal_query(definition, opening): a view's query. */
Datum
ward_literal_query(PG_FUNCTION_ARGS)
{
	char *definition = text_to_cstring(PG_GETARG_TEXT_PP(0));
	LiteralContext literals = {.opening = PG_GETARG_BOOL(1)};
	Query *query = seal_definition_query(definition);

	query = (Query *) seal_literal_mutate((Node *) query, &literals);
	PG_RETURN_TEXT_P(cstring_to_text(pg_get_querydef(query, false)));
}

static text *
seal_literal_print(Relation relation, Node *expression)
{
	List *names =
		deparse_context_for(RelationGetRelationName(relation), RelationGetRelid(relation));

	return cstring_to_text(deparse_expression(expression, names, false, false));
}

/* literal_expression(relation, definition, opening): a check, policy or predicate. */
Datum
ward_literal_expression(PG_FUNCTION_ARGS)
{
	Relation relation = table_open(PG_GETARG_OID(0), AccessShareLock);
	char *definition = text_to_cstring(PG_GETARG_TEXT_PP(1));
	LiteralContext literals = {.opening = PG_GETARG_BOOL(2)};
	Node *expression = seal_definition_expression(relation, definition, EXPR_KIND_POLICY);
	text *result = seal_literal_print(relation, seal_literal_mutate(expression, &literals));

	table_close(relation, AccessShareLock);
	PG_RETURN_TEXT_P(result);
}

/*
 * literal_condition(relation, definition, opening): a trigger's condition.  As it stands
 * where the definition is a stored expression and nothing is to be changed (opening is
 * NULL).
 */
Datum
ward_literal_condition(PG_FUNCTION_ARGS)
{
	Relation relation;
	char *definition;
	LiteralContext literals = {.opening = false};
	Node *condition;
	text *result;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	relation = table_open(PG_GETARG_OID(0), AccessShareLock);
	definition = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (PG_ARGISNULL(2))
		condition = stringToNode(definition);
	else
	{
		literals.opening = PG_GETARG_BOOL(2);
		condition = seal_literal_mutate(
			seal_definition_expression(relation, definition, EXPR_KIND_TRIGGER_WHEN), &literals);
	}
	result = cstring_to_text(seal_definition_print_condition(relation, condition));
	table_close(relation, AccessShareLock);
	PG_RETURN_TEXT_P(result);
}

/* Seals each text literal of a default that is more than a literal. */
static Node *
seal_literal_mutate_default(Node *node, void *context)
{
	Oid sealed = *(Oid *) context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Const) && ((Const *) node)->consttype == TEXTOID &&
		!((Const *) node)->constisnull && OidIsValid(seal_literal_cast(sealed, TEXTOID)))
		return seal_literal_wrap((Const *) node, sealed);
	return expression_tree_mutator(node, seal_literal_mutate_default, context);
}

/*
 * literal_default(relation, definition, sealed type, base type): a default that is to
 * stand on a sealed column; with sealed type 0, one that leaves it.
 */
Datum
ward_literal_default(PG_FUNCTION_ARGS)
{
	Relation relation = table_open(PG_GETARG_OID(0), AccessShareLock);
	char *definition = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Oid sealed = PG_GETARG_OID(2);
	Oid base = PG_GETARG_OID(3);
	Node *expression = seal_definition_expression(relation, definition, EXPR_KIND_COLUMN_DEFAULT);
	text *result;

	if (!OidIsValid(sealed))
	{
		LiteralContext literals = {.opening = true};

		expression = seal_literal_mutate(expression, &literals);
	}
	else
	{
		Node *bare = seal_literal_strip(expression);
		Node *coerced;

		/* 0 for a bigint is a cast around a literal: the server's own may be run. */
		coerced = coerce_to_target_type(NULL, copyObject(expression), exprType(expression), base,
										-1, COERCION_ASSIGNMENT, COERCE_IMPLICIT_CAST, -1);
		if (coerced != NULL && IsA(coerced, FuncExpr) &&
			((FuncExpr *) coerced)->funcid < FirstNormalObjectId &&
			IsA(linitial(((FuncExpr *) coerced)->args), Const))
			coerced = eval_const_expressions(NULL, coerced);
		if (coerced != NULL)
			bare = seal_literal_strip(coerced);
		if (IsA(bare, Const) && seal_literal_plain(bare, sealed) != NULL)
			expression = (Node *) seal_literal_seal((Const *) bare, sealed);
		else
			expression = seal_literal_mutate_default(expression, &sealed);
	}
	result = seal_literal_print(relation, expression);
	table_close(relation, AccessShareLock);
	PG_RETURN_TEXT_P(result);
}

/* ---------------------------------------------------------------- what tags can answer */

typedef struct LiteralTagged
{
	AttrNumber attnum;
	bool opened; /* the column is used in another way */
} LiteralTagged;

static bool
seal_literal_is_column(Node *node, AttrNumber attnum)
{
	node = seal_literal_strip(node);
	return node != NULL && IsA(node, Var) && ((Var *) node)->varattno == attnum &&
		   ((Var *) node)->varlevelsup == 0;
}

static bool
seal_literal_all_constant(Node *node)
{
	ListCell *lc;

	node = seal_literal_strip(node);
	if (IsA(node, ArrayCoerceExpr))
		node = seal_literal_strip((Node *) ((ArrayCoerceExpr *) node)->arg);
	if (IsA(node, Const))
		return true;
	if (!IsA(node, ArrayExpr))
		return false;
	foreach (lc, ((ArrayExpr *) node)->elements)
		if (!IsA(seal_literal_strip(lfirst(lc)), Const))
			return false;
	return true;
}

static bool
seal_literal_walk_tagged(Node *node, void *context)
{
	LiteralTagged *tagged = context;

	if (node == NULL)
		return false;
	if (IsA(node, NullTest) &&
		seal_literal_is_column((Node *) ((NullTest *) node)->arg, tagged->attnum))
		return false;
	if (IsA(node, OpExpr) || IsA(node, ScalarArrayOpExpr))
	{
		List *args =
			IsA(node, OpExpr) ? ((OpExpr *) node)->args : ((ScalarArrayOpExpr *) node)->args;
		char *name = get_opname(IsA(node, OpExpr) ? ((OpExpr *) node)->opno
												  : ((ScalarArrayOpExpr *) node)->opno);

		if (name != NULL && (strcmp(name, "=") == 0 || strcmp(name, "<>") == 0) &&
			list_length(args) == 2 && seal_literal_is_column(linitial(args), tagged->attnum) &&
			seal_literal_all_constant(lsecond(args)))
			return false;
	}
	if (IsA(node, Var) && ((Var *) node)->varattno == tagged->attnum)
	{
		tagged->opened = true;
		return true;
	}
	return expression_tree_walker(node, seal_literal_walk_tagged, context);
}

/*
 * literal_by_tag(stored expression, attnum): once the column is sealed, will the
 * expression need no more of it than tags (compared with literals, or with NULL)?
 */
Datum
ward_literal_by_tag(PG_FUNCTION_ARGS)
{
	LiteralTagged tagged = {.attnum = PG_GETARG_INT16(1)};

	(void) seal_literal_walk_tagged(stringToNode(text_to_cstring(PG_GETARG_TEXT_PP(0))), &tagged);
	PG_RETURN_BOOL(!tagged.opened);
}

/* literal_uses(stored expression, attnum): does the expression read the column? */
Datum
ward_literal_uses(PG_FUNCTION_ARGS)
{
	Bitmapset *attnums = NULL;

	pull_varattnos(stringToNode(text_to_cstring(PG_GETARG_TEXT_PP(0))), 1, &attnums);
	PG_RETURN_BOOL(bms_is_member(PG_GETARG_INT16(1) - FirstLowInvalidHeapAttributeNumber, attnums));
}
