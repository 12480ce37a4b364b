/*
 * definition.c
 *		Parsing of definitions (views, checks, policies, conditions of triggers) that are
 *		carried to a sealed column, for literal.c.
 *
 * Most mean over the sealed column what they meant before.  What puts the column beside
 * a plain value in one result (COALESCE, CASE, GREATEST, ARRAY, UNION) may find no type
 * for both, where the plain one is not of the sealed type's own base type: a varchar, an
 * integer.  Then the column is cast to its base type there, which opens it, as whoever
 * reads the definition would write it: first in expressions, if that does not do in set
 * operations too.
 *
 * The definition comes from the catalog, printed by the server.  Parsing is tried in a
 * subtransaction of its own; no locks but those that parsing takes.
 */
#include "seal/sealed_int.h"

#include "access/table.h"
#include "access/xact.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/ruleutils.h"

/* How many ways to parse there are. */
#define DEFINITION_ATTEMPTS 3

typedef struct DefinitionContext
{
	RawStmt *raw;
	const char *text;
	Relation relation; /* NULL: a query */
	ParseExprKind kind;
	int attempt;  /* 0: as it is; 1: columns in expressions are opened; 2: in set operations too */
	List *opened; /* the ColumnRefs that are */
	ColumnRef *inner;
} DefinitionContext;

/* ---------------------------------------------------------------- columns to be opened */

static void
seal_definition_mark(DefinitionContext *context, Node *node)
{
	if (node != NULL && IsA(node, ColumnRef))
		context->opened = lappend(context->opened, node);
}

static void
seal_definition_mark_list(DefinitionContext *context, List *nodes)
{
	ListCell *lc;

	foreach (lc, nodes)
		seal_definition_mark(context, lfirst(lc));
}

/* The columns that the arms of a set operation return. */
static void
seal_definition_mark_arms(DefinitionContext *context, SelectStmt *select)
{
	ListCell *lc;

	if (select->op != SETOP_NONE)
	{
		seal_definition_mark_arms(context, select->larg);
		seal_definition_mark_arms(context, select->rarg);
		return;
	}
	foreach (lc, select->targetList)
		seal_definition_mark(context, lfirst_node(ResTarget, lc)->val);
}

static bool
seal_definition_mark_walker(Node *node, void *arg)
{
	DefinitionContext *context = arg;
	ListCell *lc;

	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_CoalesceExpr:
			seal_definition_mark_list(context, ((CoalesceExpr *) node)->args);
			break;
		case T_MinMaxExpr:
			seal_definition_mark_list(context, ((MinMaxExpr *) node)->args);
			break;
		case T_A_ArrayExpr:
			seal_definition_mark_list(context, ((A_ArrayExpr *) node)->elements);
			break;
		case T_CaseExpr:
			seal_definition_mark(context, (Node *) ((CaseExpr *) node)->defresult);
			/* The walker goes through its branches without showing them. */
			foreach (lc, ((CaseExpr *) node)->args)
				seal_definition_mark(context, (Node *) lfirst_node(CaseWhen, lc)->result);
			break;
		case T_SelectStmt:
			if (context->attempt > 1 && ((SelectStmt *) node)->op != SETOP_NONE)
				seal_definition_mark_arms(context, (SelectStmt *) node);
			break;
		default:
			break;
	}
	return raw_expression_tree_walker(node, seal_definition_mark_walker, arg);
}

/* For the parser: a marked column of a sealed type, cast to its base type. */
static Node *
seal_definition_column(ParseState *pstate, ColumnRef *reference)
{
	DefinitionContext *context = pstate->p_ref_hook_state;
	const SealObjects *objects;
	Node *column;

	/* Called again for the column itself, which the parser is to find as ever. */
	if (reference == context->inner || !list_member_ptr(context->opened, reference))
		return NULL;
	context->inner = reference;
	column = transformExpr(pstate, (Node *) reference, pstate->p_expr_kind);
	context->inner = NULL;
	objects = seal_sealed_type_find(exprType(column));
	if (objects == NULL)
		return column;
	return coerce_to_target_type(pstate, column, exprType(column), seal_kinds[objects->kind].base,
								 -1, COERCION_EXPLICIT, COERCE_EXPLICIT_CAST, -1);
}

/* ---------------------------------------------------------------- parsing */

/* The two rows that a trigger's condition sees, as CREATE TRIGGER numbers them. */
static List *
seal_definition_add_rows(ParseState *pstate, Relation relation)
{
	static const char *const names[] = {"old", "new"};

	for (int i = 0; i < 2; i++)
		addNSItemToQuery(pstate,
						 addRangeTableEntryForRelation(pstate, relation, AccessShareLock,
													   makeAlias(names[i], NIL), false, false),
						 false, true, true);
	return pstate->p_rtable;
}

static Node *
seal_definition_parse(DefinitionContext *context)
{
	ParseState *pstate = make_parsestate(NULL);
	RawStmt *raw = copyObject(context->raw);
	ParseNamespaceItem *item;
	SelectStmt *select;
	Node *result;

	context->opened = NIL;
	context->inner = NULL;
	if (context->attempt > 0)
		(void) seal_definition_mark_walker(raw->stmt, context);
	pstate->p_sourcetext = context->text;
	pstate->p_pre_columnref_hook = seal_definition_column;
	pstate->p_ref_hook_state = context;
	if (context->relation == NULL)
		result = (Node *) transformTopLevelStmt(pstate, raw);
	else
	{
		select = (SelectStmt *) raw->stmt;
		if (!IsA(select, SelectStmt) || list_length(select->targetList) != 1)
			elog(ERROR, "a definition is not one expression");
		if (context->kind == EXPR_KIND_TRIGGER_WHEN)
			(void) seal_definition_add_rows(pstate, context->relation);
		else
		{
			item = addRangeTableEntryForRelation(pstate, context->relation, AccessShareLock, NULL,
												 false, true);
			addNSItemToQuery(pstate, item, false, true, true);
		}
		result =
			transformExpr(pstate, linitial_node(ResTarget, select->targetList)->val, context->kind);
		if (context->kind == EXPR_KIND_POLICY || context->kind == EXPR_KIND_TRIGGER_WHEN)
			result = coerce_to_boolean(pstate, result, "WHERE");
		assign_expr_collations(pstate, result);
	}
	free_parsestate(pstate);
	return result;
}

/* Parses as the attempt says; NULL where types did not fit. */
static Node *
seal_definition_try(DefinitionContext *context)
{
	MemoryContext memory = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	Node *volatile result = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(memory);
	PG_TRY();
	{
		result = seal_definition_parse(context);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(memory);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(memory);
		if (error->sqlerrcode != ERRCODE_CANNOT_COERCE &&
			error->sqlerrcode != ERRCODE_DATATYPE_MISMATCH)
			ReThrowError(error);
		FreeErrorData(error);
		result = NULL;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(memory);
	CurrentResourceOwner = owner;
	return result;
}

static Node *
seal_definition_run(DefinitionContext *context)
{
	while (context->attempt < DEFINITION_ATTEMPTS)
	{
		Node *result = seal_definition_try(context);

		if (result != NULL)
			return result;
		context->attempt++;
	}
	/* Now for the error, which is about what was written. */
	context->attempt = 0;
	return seal_definition_parse(context);
}

/* See sealed_int.h. */
Query *
seal_definition_query(const char *text)
{
	List *statements = raw_parser(text, RAW_PARSE_DEFAULT);
	DefinitionContext context = {.text = text};
	Query *query;

	if (list_length(statements) != 1)
		elog(ERROR, "a view's definition is not one statement");
	context.raw = linitial_node(RawStmt, statements);
	query = (Query *) seal_definition_run(&context);
	if (query->commandType != CMD_SELECT)
		elog(ERROR, "a view's definition is not a query");
	return query;
}

/* See sealed_int.h. */
Node *
seal_definition_expression(Relation relation, const char *text, ParseExprKind kind)
{
	List *statements = raw_parser(psprintf("SELECT %s", text), RAW_PARSE_DEFAULT);
	DefinitionContext context = {.text = text, .relation = relation, .kind = kind};

	if (list_length(statements) != 1)
		elog(ERROR, "a definition is not one expression");
	context.raw = linitial_node(RawStmt, statements);
	return seal_definition_run(&context);
}

/*
 * See sealed_int.h.  The server prints no expression over two rows but in a query, so it
 * is given one that returns the condition.
 */
char *
seal_definition_print_condition(Relation relation, Node *condition)
{
	static const char select[] = " SELECT";
	ParseState *pstate = make_parsestate(NULL);
	Query *query = makeNode(Query);
	char *text;

	query->commandType = CMD_SELECT;
	query->rtable = seal_definition_add_rows(pstate, relation);
	query->jointree = makeFromExpr(NIL, NULL);
	query->targetList = list_make1(makeTargetEntry((Expr *) condition, 1, NULL, false));
	text = pg_get_querydef(query, false);
	if (strncmp(text, select, strlen(select)) != 0)
		elog(ERROR, "unexpected form of a query");
	free_parsestate(pstate);
	text += strlen(select);
	return *text == ' ' ? text + 1 : text;
}
