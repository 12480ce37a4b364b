/*
 * utility.c
 *		Utility statements that disclose, write or change watched tables.
 *
 * COPY t TO reads a table without a plan, so it becomes COPY (SELECT ...) TO, which
 * the executor's taps see.  What can't be narrowed (an ALTER TABLE or CREATE INDEX that
 * evaluates something for each row) is recorded before it runs, as ALL: evidence first,
 * also where the statement fails later.  COPY FROM, TRUNCATE and DROP name whom they
 * write or remove (copy.c, removal.c).
 */
#include "witness/witness_int.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/value.h"
#include "parser/parse_type.h"
#include "rewrite/rewriteHandler.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

WitnessUtility witness_utility_running = {0};

/* The running statement's text without literals; NULL where it is known already. */
static char *
witness_utility_text(void)
{
	const WitnessUtility *running = &witness_utility_running;
	const char *text = running->source;

	if (text == NULL || running->fingerprint == 0 ||
		trail_record_statement_known(running->fingerprint))
		return NULL;
	if (running->location > 0 && (Size) running->location < strlen(text))
		text += running->location;
	return witness_normalise(running->length > 0 ? pnstrdup(text, strnlen(text, running->length))
												 : text);
}

/* Statement numbers of utility statements share the executor's counter. */
void
witness_utility_all(WitnessRelation *relation, const char *reason)
{
	WitnessRelation *watched = relation->watched;

	trail_context_remember(GetUserId());
	for (int i = 0; i < watched->nsubjects; i++)
	{
		TrailDisclosure disclosure = {0};

		disclosure.role = GetUserId();
		disclosure.statement = witness_capture_next_statement();
		disclosure.fingerprint = witness_utility_running.fingerprint;
		disclosure.text = witness_utility_text();
		disclosure.relation = &watched->trail;
		disclosure.subject_attnum = watched->subject_attnums[i];
		disclosure.manner = TRAIL_MANNER_ALL;
		disclosure.reason = reason;
		disclosure.nclear = 0;
		trail_record_disclosure(&disclosure);
	}
}

/* A relation and what inherits from it. */
static void
witness_utility_tree(Oid relid, const char *reason)
{
	List *done = NIL;
	ListCell *lc;

	if (!OidIsValid(relid))
		return;
	foreach (lc, find_all_inheritors(relid, NoLock, NULL))
	{
		WitnessRelation *relation = witness_watch_pin(lfirst_oid(lc));

		if (relation == NULL)
			continue;
		if (!list_member_oid(done, relation->watched->relid))
			witness_utility_all(relation, reason);
		done = lappend_oid(done, relation->watched->relid);
		witness_watch_release(relation);
	}
}

static void
witness_utility_relation(const RangeVar *name, const char *reason)
{
	witness_utility_tree(RangeVarGetRelid(name, NoLock, true), reason);
}

/* COPY t (columns) TO becomes COPY (SELECT columns FROM ONLY t) TO. */
static void
witness_utility_copy_to(CopyStmt *copy)
{
	Oid relid = RangeVarGetRelid(copy->relation, AccessShareLock, true);
	WitnessRelation *relation;
	SelectStmt *select;
	HeapTuple tuple;
	Form_pg_class class;
	List *columns = NIL;
	ListCell *lc;
	int natts;
	bool plain;

	if (!OidIsValid(relid))
		return;
	relation = witness_watch_pin(relid);
	if (relation == NULL)
		return;
	witness_watch_release(relation);
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	if (!HeapTupleIsValid(tuple))
		return;
	class = (Form_pg_class) GETSTRUCT(tuple);
	/* Other kinds COPY refuses itself, and with a better message. */
	plain = class->relkind == RELKIND_RELATION;
	natts = class->relnatts;
	ReleaseSysCache(tuple);
	if (!plain)
		return;
	/* COPY's to refuse: a query would say something else under row_security = off. */
	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(relid, GetUserId(), ACL_SELECT, ACLMASK_ANY) != ACLCHECK_OK)
		return;

	if (copy->attlist != NIL)
	{
		Bitmapset *seen = NULL;

		foreach (lc, copy->attlist)
		{
			AttrNumber attnum = get_attnum(relid, strVal(lfirst(lc)));

			/* One that does not exist, twice or is generated is COPY's to refuse. */
			if (attnum <= 0 || bms_is_member(attnum, seen) ||
				get_attgenerated(relid, attnum) != '\0')
				return;
			seen = bms_add_member(seen, attnum);
			columns = lappend(columns, strVal(lfirst(lc)));
		}
	}
	else
		for (AttrNumber attnum = 1; attnum <= natts; attnum++)
		{
			HeapTuple att = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relid), Int16GetDatum(attnum));

			if (!HeapTupleIsValid(att))
				continue;
			/* As COPY: generated columns are left out. */
			if (!((Form_pg_attribute) GETSTRUCT(att))->attisdropped &&
				((Form_pg_attribute) GETSTRUCT(att))->attgenerated == '\0')
				columns = lappend(columns,
								  pstrdup(NameStr(((Form_pg_attribute) GETSTRUCT(att))->attname)));
			ReleaseSysCache(att);
		}

	select = makeNode(SelectStmt);
	foreach (lc, columns)
	{
		ColumnRef *ref = makeNode(ColumnRef);
		ResTarget *target = makeNode(ResTarget);

		ref->fields = list_make1(makeString(lfirst(lc)));
		ref->location = -1;
		target->val = (Node *) ref;
		target->location = -1;
		select->targetList = lappend(select->targetList, target);
	}
	{
		RangeVar *from =
			makeRangeVar(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid), -1);

		from->inh = false;
		select->fromClause = list_make1(from);
	}
	copy->relation = NULL;
	copy->attlist = NIL;
	copy->query = (Node *) select;
}

/*
 * Something is dropped, by whatever command and cascade: the lock is held, the rows still
 * stand.  Columns that say whom a row is about count as the table.
 */
void
witness_utility_dropping(Oid class, Oid object, int subobject)
{
	WitnessRelation *relation;
	char *text;

	if (class == ExtensionRelationId)
	{
		char *name = get_extension_name(object);

		if (name != NULL && strcmp(name, "pg_ward") == 0)
			trail_record_event("extension.dropped", NULL, 0);
		return;
	}
	if (class != RelationRelationId || !witness_watch_any())
		return;
	/* By name: of several columns that are dropped together the subject may be gone already. */
	if (subobject != 0)
	{
		char *column = get_attname(object, subobject, true);

		if (column == NULL || !witness_watch_names(object, column))
			return;
	}
	relation = witness_watch_pin(object);
	if (relation == NULL)
		return;
	witness_watch_release(relation);
	text = witness_utility_text();
	witness_removal_name(object, "drop", witness_utility_running.fingerprint, text);
}

/* Does a new column come with something that is evaluated for every row? */
static bool
witness_utility_new_column(const ColumnDef *column)
{
	ListCell *lc;

	foreach (lc, column->constraints)
		switch (lfirst_node(Constraint, lc)->contype)
		{
			case CONSTR_NULL:
			case CONSTR_NOTNULL:
			case CONSTR_DEFAULT:
			case CONSTR_IDENTITY:
				break;
			default:
				return true;
		}
	return false;
}

/*
 * Does ALTER TABLE read rows, show values of them in an error, or hand them to a
 * function?  What is not known to be harmless does.
 */
static bool
witness_utility_reads(const AlterTableCmd *command)
{
	switch (command->subtype)
	{
		case AT_AddColumn:
			return witness_utility_new_column(castNode(ColumnDef, command->def));
		case AT_AddConstraint:
			return !castNode(Constraint, command->def)->skip_validation;
		case AT_ColumnDefault:
		case AT_DropNotNull:
		case AT_SetStatistics:
		case AT_SetOptions:
		case AT_ResetOptions:
		case AT_SetStorage:
		case AT_SetCompression:
		case AT_DropColumn:
		case AT_DropConstraint:
		case AT_DropExpression:
		case AT_AlterConstraint:
		case AT_ChangeOwner:
		case AT_ClusterOn:
		case AT_DropCluster:
		case AT_SetLogged:
		case AT_SetUnLogged:
		case AT_SetTableSpace:
		case AT_SetRelOptions:
		case AT_ResetRelOptions:
		case AT_EnableTrig:
		case AT_EnableAlwaysTrig:
		case AT_EnableReplicaTrig:
		case AT_DisableTrig:
		case AT_EnableTrigAll:
		case AT_DisableTrigAll:
		case AT_EnableTrigUser:
		case AT_DisableTrigUser:
		case AT_EnableRule:
		case AT_EnableAlwaysRule:
		case AT_EnableReplicaRule:
		case AT_DisableRule:
		case AT_AddInherit:
		case AT_DropInherit:
		case AT_AddOf:
		case AT_DropOf:
		case AT_ReplicaIdentity:
		case AT_EnableRowSecurity:
		case AT_DisableRowSecurity:
		case AT_ForceRowSecurity:
		case AT_NoForceRowSecurity:
		case AT_GenericOptions:
		case AT_DetachPartition:
		case AT_DetachPartitionFinalize:
		case AT_AddIdentity:
		case AT_SetIdentity:
		case AT_DropIdentity:
			return false;
		default:
			return true;
	}
}

/* The tables of a composite type are rewritten with it. */
static void
witness_utility_typed(const RangeVar *name)
{
	Oid relid = RangeVarGetRelid(name, NoLock, true);
	Oid type = OidIsValid(relid) ? get_rel_type_id(relid) : InvalidOid;
	ListCell *lc;

	if (!OidIsValid(type))
		return;
	foreach (lc, witness_watch_relids())
	{
		HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(lfirst_oid(lc)));
		bool typed =
			HeapTupleIsValid(tuple) && ((Form_pg_class) GETSTRUCT(tuple))->reloftype == type;

		if (HeapTupleIsValid(tuple))
			ReleaseSysCache(tuple);
		if (typed)
			witness_utility_tree(lfirst_oid(lc), "alter_table");
	}
}

static void
witness_utility_alter(const AlterTableStmt *alter)
{
	bool reads = false;
	ListCell *lc;

	foreach (lc, alter->cmds)
	{
		const AlterTableCmd *command = lfirst_node(AlterTableCmd, lc);

		reads |= witness_utility_reads(command);
		/* These may write the table anew, and its indexes. */
		if (command->subtype == AT_SetLogged || command->subtype == AT_SetUnLogged ||
			command->subtype == AT_AddColumn)
			witness_evaluate_table(alter->relation);
		/* Its rows are checked against the partition's bounds. */
		if (command->subtype == AT_AttachPartition)
			witness_utility_relation(castNode(PartitionCmd, command->def)->name, "alter_table");
	}
	if (reads && alter->objtype == OBJECT_TYPE)
		witness_utility_typed(alter->relation);
	else if (reads)
		witness_utility_relation(alter->relation, "alter_table");
}

/* An index runs functions over rows, or says of two that they are equal. */
static void
witness_utility_index(const IndexStmt *index)
{
	bool reads = index->unique || index->primary || index->whereClause != NULL ||
				 index->excludeOpNames != NIL;
	ListCell *lc;

	foreach (lc, index->indexParams)
		reads |= lfirst_node(IndexElem, lc)->expr != NULL;
	if (reads)
		witness_utility_relation(index->relation, "create_index");
}

/* Is a type this domain, or a domain over it? */
static bool
witness_utility_of_domain(Oid type, Oid domain)
{
	while (OidIsValid(type) && type != domain)
	{
		HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));

		type = InvalidOid;
		if (HeapTupleIsValid(tuple))
		{
			type = ((Form_pg_type) GETSTRUCT(tuple))->typbasetype;
			ReleaseSysCache(tuple);
		}
	}
	return OidIsValid(type);
}

/* A domain's new check is tried on every row that has a column of it. */
static void
witness_utility_domain(const AlterDomainStmt *alter)
{
	Oid domain;
	ListCell *lc;

	if (alter->subtype != 'C' && alter->subtype != 'V' && alter->subtype != 'O')
		return;
	domain = LookupTypeNameOid(NULL, makeTypeNameFromNameList(alter->typeName), true);
	if (!OidIsValid(domain))
		return;
	foreach (lc, witness_watch_relids())
	{
		WitnessRelation *relation = witness_watch_pin(lfirst_oid(lc));

		if (relation == NULL)
			continue;
		for (AttrNumber attnum = 1; attnum <= relation->natts; attnum++)
			if (witness_utility_of_domain(get_atttype(relation->relid, attnum), domain))
			{
				witness_utility_all(relation, "alter_domain");
				break;
			}
		witness_watch_release(relation);
	}
}

static void
witness_utility_copy_from(const CopyStmt *copy)
{
	/* The lock that COPY takes, before it checks rights as well. */
	Oid relid = RangeVarGetRelid(copy->relation, RowExclusiveLock, true);

	if (OidIsValid(relid))
		witness_copy_begin(relid, copy->attlist, witness_utility_running.fingerprint,
						   witness_utility_text());
}

/*
 * Called before a utility statement runs.  May change the statement, which is
 * then the caller's own copy.  Raises WD3xx where the evidence can't be written.
 */
void
witness_utility_before(PlannedStmt *statement, const char *source)
{
	Node *node = statement->utilityStmt;

	witness_utility_running.fingerprint = (int64) statement->queryId;
	witness_utility_running.source = source;
	witness_utility_running.location = statement->stmt_location;
	witness_utility_running.length = statement->stmt_len;
	witness_utility_running.explains = IsA(node, ExplainStmt);

	/* These matter in any database of a server that captures. */
	if (IsA(node, VariableSetStmt))
	{
		witness_audit_setting((VariableSetStmt *) node, "set");
		return;
	}
	if (IsA(node, AlterSystemStmt))
	{
		witness_audit_setting(((AlterSystemStmt *) node)->setstmt, "alter system");
		return;
	}
	if (IsA(node, AlterRoleSetStmt))
	{
		witness_audit_setting(((AlterRoleSetStmt *) node)->setstmt, "alter role");
		return;
	}
	if (IsA(node, AlterDatabaseSetStmt))
	{
		witness_audit_setting(((AlterDatabaseSetStmt *) node)->setstmt, "alter database");
		return;
	}
	if (!IsTransactionState() || IsAbortedTransactionBlockState())
		return;
	witness_audit_session();
	witness_audit_utility(node);
	witness_raw_utility(node);
	witness_raw_capture();
	if (!witness_setting_capture || !witness_watch_any())
		return;

	switch (nodeTag(node))
	{
		case T_CopyStmt:
		{
			CopyStmt *copy = (CopyStmt *) node;

			if (copy->relation == NULL)
				break;
			if (copy->is_from)
				witness_utility_copy_from(copy);
			else
				witness_utility_copy_to(copy);
			break;
		}
		case T_TruncateStmt:
			witness_removal_truncate((TruncateStmt *) node, witness_utility_running.fingerprint,
									 witness_utility_text());
			break;
		case T_AlterTableStmt:
			witness_utility_alter((AlterTableStmt *) node);
			break;
		case T_IndexStmt:
			witness_utility_index((IndexStmt *) node);
			break;
		case T_AlterDomainStmt:
			witness_utility_domain((AlterDomainStmt *) node);
			break;
		case T_ReindexStmt:
			witness_evaluate_table(((ReindexStmt *) node)->relation);
			break;
		case T_ClusterStmt:
			witness_evaluate_table(((ClusterStmt *) node)->relation);
			break;
		case T_VacuumStmt:
			witness_evaluate_vacuum((VacuumStmt *) node);
			break;
		default:
			break;
	}
}
