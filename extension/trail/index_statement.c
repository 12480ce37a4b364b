/*
 * index_statement.c
 *		The SQL by which the index's tables are read and written, prepared once.
 *
 * All of it concerns the node that was entered last: this server's own trail, or one
 * that a standby delivered.
 */
#include "trail/index_int.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/memutils.h"

/* Stands for the name of the node in the statements below. */
#define INDEX_NODE "$node"

#define INDEX_MAX_ARGS 18

static const struct
{
	const char *sql;
	int nargs;
	Oid types[INDEX_MAX_ARGS];
} index_statements[INDEX_PLANS] = {
	[INDEX_PLAN_STATE] =
		{"SELECT position, database, shipped, problem IS NOT NULL, pruned FROM _ward.index_state "
		 "WHERE node = '" INDEX_NODE "' FOR UPDATE",
		 0,
		 {0}},
	[INDEX_PLAN_STATE_NEW] = {"INSERT INTO _ward.index_state (node, database, shipped, position) "
							  "VALUES ('" INDEX_NODE "', $1, $2, 0)",
							  2,
							  {OIDOID, BOOLOID}},
	[INDEX_PLAN_STATE_SHIPPED] = {"UPDATE _ward.index_state SET shipped = $1 "
								  "WHERE node = '" INDEX_NODE "'",
								  1,
								  {BOOLOID}},
	[INDEX_PLAN_STATE_MOVE] = {"UPDATE _ward.index_state SET position = $1, folded = folded + $2, "
							   "updated = pg_catalog.clock_timestamp(), problem = NULL "
							   "WHERE node = '" INDEX_NODE "'",
							   2,
							   {INT8OID, INT8OID}},
	[INDEX_PLAN_STATE_PROBLEM] = {"UPDATE _ward.index_state SET problem = $1, tries = tries + 1, "
								  "updated = pg_catalog.clock_timestamp() "
								  "WHERE node = '" INDEX_NODE "'",
								  1,
								  {TEXTOID}},
	[INDEX_PLAN_STATE_PRUNED] = {"UPDATE _ward.index_state SET pruned = $1, "
								 "position = greatest(position, $1) "
								 "WHERE node = '" INDEX_NODE "'",
								 1,
								 {INT8OID}},
	[INDEX_PLAN_CONTEXT] = {"INSERT INTO _ward.context (node, position, at, session, session_role, "
							"current_role_name, actor, application, client, actor_source) "
							"VALUES ('" INDEX_NODE "', $1, $2, coalesce($3, ''), $4::name, "
							"$5::name, $6, $7, $8::inet, $9)",
							9,
							{INT8OID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
							 TEXTOID, TEXTOID}},
	[INDEX_PLAN_RELATION_FIND] = {"SELECT relation FROM _ward.relation_version WHERE relid = $1 "
								  "AND schema_name = $2::name AND relation_name = $3::name "
								  "AND attnums = $4 AND columns = $5 AND keys = $6 "
								  "AND subject_attnums = $7 AND classes = $8",
								  8,
								  {OIDOID, TEXTOID, TEXTOID, INT2ARRAYOID, TEXTARRAYOID,
								   TEXTARRAYOID, INT2ARRAYOID, TEXTARRAYOID}},
	[INDEX_PLAN_RELATION] = {"INSERT INTO _ward.relation_version (relid, schema_name, "
							 "relation_name, attnums, columns, keys, subject_attnums, classes) "
							 "VALUES ($1, $2::name, $3::name, $4, $5, $6, $7, $8) "
							 "RETURNING relation",
							 8,
							 {OIDOID, TEXTOID, TEXTOID, INT2ARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
							  INT2ARRAYOID, TEXTARRAYOID}},
	[INDEX_PLAN_RELATION_AT] = {"INSERT INTO _ward.relation_at (node, position, relation) "
								"VALUES ('" INDEX_NODE "', $1, $2)",
								2,
								{INT8OID, INT8OID}},
	[INDEX_PLAN_RELATION_OF] = {"SELECT relation FROM _ward.relation_at "
								"WHERE node = '" INDEX_NODE "' AND position = $1",
								1,
								{INT8OID}},
	[INDEX_PLAN_STATEMENT] = {"INSERT INTO _ward.statement (fingerprint, text, first_position) "
							  "VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
							  3,
							  {INT8OID, TEXTOID, INT8OID}},
	[INDEX_PLAN_EVENT] = {"INSERT INTO _ward.event (node, position, at, context, kind, detail) "
						  "VALUES ('" INDEX_NODE "', $1, $2, $3, $4, "
						  "pg_catalog.jsonb_object($5, $6))",
						  6,
						  {INT8OID, TIMESTAMPTZOID, INT8OID, TEXTOID, TEXTARRAYOID, TEXTARRAYOID}},
	/* Sealed keys: the newest is kept, which is under the newest version of its key. */
	[INDEX_PLAN_SUBJECT] = {"INSERT INTO _ward.subject_key AS k (class, number, fingerprint, form, "
							"key, first_position) SELECT DISTINCT ON (n.fingerprint) $1, n.number, "
							"n.fingerprint, $2, n.key, $3 FROM ROWS FROM (pg_catalog.unnest($4), "
							"pg_catalog.unnest($5), pg_catalog.unnest($6)) "
							"AS n(number, fingerprint, key) "
							"ON CONFLICT (class, number, fingerprint, form) DO UPDATE "
							"SET key = excluded.key WHERE k.form <> 1",
							6,
							{TEXTOID, INT2OID, INT8OID, INT8ARRAYOID, BYTEAARRAYOID,
							 BYTEAARRAYOID}},
	[INDEX_PLAN_DISCLOSURE] =
		{"INSERT INTO _ward.disclosure AS d (node, context, fingerprint, relation, subject_attnum, "
		 "subject_class, minute, manner, reason, columns_clear, columns_sealed, subjects, "
		 "statements, records, opens, first_at, last_at, first_position, last_position) "
		 "SELECT c.node, c.position, $2, v.relation, $4, "
		 "coalesce(v.classes[pg_catalog.array_position(v.subject_attnums, $4)], ''), $5, $6, $7, "
		 "$8, $9, $10, $11, $12, $13, $14, $15, $16, $17 "
		 "FROM _ward.context c, _ward.relation_version v "
		 "WHERE c.node = '" INDEX_NODE "' AND c.position = $1 AND v.relation = $3 "
		 "ON CONFLICT (minute, context, fingerprint, relation, subject_attnum, manner, "
		 "columns_clear, columns_sealed, reason, node) DO UPDATE SET "
		 "subjects = _ward.subject_set_or(d.subjects, excluded.subjects), "
		 "statements = _ward.subject_set_or(d.statements, excluded.statements), "
		 "records = d.records + excluded.records, opens = d.opens + excluded.opens, "
		 "first_at = least(d.first_at, excluded.first_at), "
		 "last_at = greatest(d.last_at, excluded.last_at), "
		 "first_position = least(d.first_position, excluded.first_position), "
		 "last_position = greatest(d.last_position, excluded.last_position)",
		 17,
		 {INT8OID, INT8OID, INT8OID, INT2OID, TIMESTAMPTZOID, INT2OID, TEXTOID, INT2ARRAYOID,
		  INT2ARRAYOID, BYTEAOID, BYTEAOID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
		  INT8OID, INT8OID}},
};

/* The statements are prepared once for each node whose records this process folds. */
typedef struct IndexNode
{
	char name[TRAIL_NODE_TEXT];
	SPIPlanPtr plans[INDEX_PLANS];
} IndexNode;

static List *index_nodes = NIL;
static IndexNode *index_node = NULL;

/* The statements below concern this node's records; false: they already did. */
bool
trail_index_statement_enter(const char *name)
{
	ListCell *cell;

	if (index_node != NULL && strcmp(index_node->name, name) == 0)
		return false;
	foreach (cell, index_nodes)
	{
		index_node = lfirst(cell);
		if (strcmp(index_node->name, name) == 0)
			return true;
	}
	index_node = MemoryContextAllocZero(TopMemoryContext, sizeof(IndexNode));
	strlcpy(index_node->name, name, sizeof(index_node->name));
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		index_nodes = lappend(index_nodes, index_node);
		MemoryContextSwitchTo(old);
	}
	return true;
}

const char *
trail_index_statement_node(void)
{
	return index_node->name;
}

/*
 * The node's name is written into the statements, so that rows of another trail
 * (another node's, or a directory put in this one's place) are never mixed up with
 * this one's.  It is hex, hence needs no quoting.
 */
static char *
index_statement_sql(const char *template)
{
	StringInfoData sql;
	const char *at;

	initStringInfo(&sql);
	while ((at = strstr(template, INDEX_NODE)) != NULL)
	{
		appendBinaryStringInfo(&sql, template, (int) (at - template));
		appendStringInfoString(&sql, index_node->name);
		template = at + strlen(INDEX_NODE);
	}
	appendStringInfoString(&sql, template);
	return sql.data;
}

/* Runs a statement; returns the rows it gave or touched.  n marks NULLs ('n'). */
uint64
trail_index_statement_run(IndexPlan plan, Datum *values, const char *nulls, int expected)
{
	int result;

	if (index_node->plans[plan] == NULL)
	{
		SPIPlanPtr prepared =
			SPI_prepare(index_statement_sql(index_statements[plan].sql),
						index_statements[plan].nargs, (Oid *) index_statements[plan].types);

		if (prepared == NULL)
			elog(ERROR, "could not prepare statement %d of the index: %s", plan,
				 SPI_result_code_string(SPI_result));
		SPI_keepplan(prepared);
		index_node->plans[plan] = prepared;
	}
	result = SPI_execute_plan(index_node->plans[plan], values, nulls, false, 0);
	if (result != expected)
		elog(ERROR, "statement %d of the index failed: %s", plan, SPI_result_code_string(result));
	return SPI_processed;
}

/* A column of the first row that the last statement gave; never NULL. */
Datum
trail_index_statement_value(int column)
{
	bool isnull;
	Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &isnull);

	if (isnull)
		elog(ERROR, "the index's state has a NULL");
	return value;
}
