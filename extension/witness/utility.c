/*
 * utility.c
 *		Utility statements that disclose, write or change watched tables.
 *
 * COPY t TO reads a table without a plan, so it becomes COPY (SELECT ...) TO, which
 * the executor's taps see.  What can't be narrowed (COPY FROM, TRUNCATE, DROP, an
 * ALTER TABLE that may rewrite) is recorded before it runs, as ALL: evidence
 * first, also where the statement fails later.
 *
 * A change of a setting that weakens capture is recorded here as well, before it
 * takes effect.
 */
#include "witness/witness_int.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/value.h"
#include "rewrite/rewriteHandler.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* Statement numbers of utility statements share the executor's counter. */
static void
witness_utility_all(WitnessRelation *relation, const char *reason, int64 fingerprint)
{
	WitnessRelation *watched = relation->watched;

	trail_context_remember(GetUserId());
	for (int i = 0; i < watched->nsubjects; i++)
	{
		TrailDisclosure disclosure = {0};

		disclosure.role = GetUserId();
		disclosure.statement = witness_capture_next_statement();
		disclosure.fingerprint = fingerprint;
		disclosure.relation = &watched->trail;
		disclosure.subject_attnum = watched->subject_attnums[i];
		disclosure.manner = TRAIL_MANNER_ALL;
		disclosure.reason = reason;
		disclosure.nclear = 0;
		trail_record_disclosure(&disclosure);
	}
}

static void
witness_utility_relation(const RangeVar *name, const char *reason, int64 fingerprint)
{
	Oid relid = RangeVarGetRelid(name, NoLock, true);
	WitnessRelation *relation = OidIsValid(relid) ? witness_watch_pin(relid) : NULL;

	if (relation == NULL)
		return;
	witness_utility_all(relation, reason, fingerprint);
	witness_watch_release(relation);
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

/* Settings whose change weakens the evidence. */
static bool
witness_utility_weakens(const char *name)
{
	return name == NULL || pg_strcasecmp(name, "ward.capture") == 0 ||
		   pg_strcasecmp(name, "ward.durability") == 0 ||
		   pg_strcasecmp(name, "ward.small_aggregate") == 0 ||
		   pg_strcasecmp(name, "ward.capture_memory") == 0;
}

static void
witness_utility_setting(const VariableSetStmt *set, const char *how)
{
	TrailField fields[3];
	char *value = NULL;

	if (set->kind == VAR_RESET_ALL || !witness_utility_weakens(set->name))
		return;
	if (set->kind == VAR_SET_VALUE)
		value = ExtractSetVariableArgs((VariableSetStmt *) set);
	fields[0].name = "setting";
	fields[0].value = set->name;
	fields[1].name = "value";
	fields[1].value = value;
	fields[2].name = "how";
	fields[2].value = how;
	trail_record_event("setting.changed", fields, lengthof(fields));
}

static void
witness_utility_drop(const DropStmt *drop, int64 fingerprint)
{
	ListCell *lc;

	if (drop->removeType == OBJECT_EXTENSION)
	{
		foreach (lc, drop->objects)
			if (strcmp(strVal(lfirst(lc)), "pg_ward") == 0)
				trail_record_event("extension.dropped", NULL, 0);
		return;
	}
	if (drop->removeType != OBJECT_TABLE)
		return;
	foreach (lc, drop->objects)
		witness_utility_relation(makeRangeVarFromNameList(lfirst(lc)), "drop", fingerprint);
}

/* Does ALTER TABLE read rows, or show values of them in an error? */
static bool
witness_utility_reads(const AlterTableStmt *alter)
{
	ListCell *lc;

	foreach (lc, alter->cmds)
		switch (lfirst_node(AlterTableCmd, lc)->subtype)
		{
			case AT_AlterColumnType:
			case AT_AddConstraint:
			case AT_ValidateConstraint:
			case AT_SetNotNull:
			case AT_AttachPartition:
				return true;
			default:
				break;
		}
	return false;
}

/*
 * Called before a utility statement runs.  May change the statement, which is
 * then the caller's own copy.  Raises WD3xx where the evidence can't be written.
 */
void
witness_utility_before(PlannedStmt *statement)
{
	Node *node = statement->utilityStmt;
	int64 fingerprint = (int64) statement->queryId;
	ListCell *lc;

	/* These matter in any database of a server that captures. */
	if (IsA(node, VariableSetStmt))
	{
		witness_utility_setting((VariableSetStmt *) node, "set");
		return;
	}
	if (IsA(node, AlterSystemStmt))
	{
		witness_utility_setting(((AlterSystemStmt *) node)->setstmt, "alter system");
		return;
	}
	if (IsA(node, AlterRoleSetStmt))
	{
		witness_utility_setting(((AlterRoleSetStmt *) node)->setstmt, "alter role");
		return;
	}
	if (IsA(node, AlterDatabaseSetStmt))
	{
		witness_utility_setting(((AlterDatabaseSetStmt *) node)->setstmt, "alter database");
		return;
	}
	if (!witness_setting_capture || !IsTransactionState() || IsAbortedTransactionBlockState())
		return;
	if (IsA(node, DropStmt) && ((DropStmt *) node)->removeType == OBJECT_EXTENSION)
	{
		witness_utility_drop((DropStmt *) node, fingerprint);
		return;
	}
	if (!witness_watch_any())
		return;

	switch (nodeTag(node))
	{
		case T_CopyStmt:
		{
			CopyStmt *copy = (CopyStmt *) node;

			if (copy->relation == NULL)
				break;
			if (copy->is_from)
				witness_utility_relation(copy->relation, "copy_from", fingerprint);
			else
				witness_utility_copy_to(copy);
			break;
		}
		case T_TruncateStmt:
			foreach (lc, ((TruncateStmt *) node)->relations)
				witness_utility_relation(lfirst(lc), "truncate", fingerprint);
			break;
		case T_DropStmt:
			witness_utility_drop((DropStmt *) node, fingerprint);
			break;
		case T_AlterTableStmt:
			if (witness_utility_reads((AlterTableStmt *) node))
				witness_utility_relation(((AlterTableStmt *) node)->relation, "alter_table",
										 fingerprint);
			break;
		case T_IndexStmt:
			if (((IndexStmt *) node)->unique || ((IndexStmt *) node)->whereClause != NULL)
				witness_utility_relation(((IndexStmt *) node)->relation, "create_index",
										 fingerprint);
			break;
		default:
			break;
	}
}
