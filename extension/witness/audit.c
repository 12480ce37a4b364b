/*
 * audit.c
 *		What else the trail tells: sessions, failed logins, roles and rights, definitions
 *		around watched tables, code that is loaded, settings, refusals.
 *
 * Names of objects and roles are recorded, and which options were given; never a
 * literal, a password or a definition's text.  A change is recorded before it is made,
 * and is refused where it can't be recorded.  That a session began, or a login failed, is
 * recorded where it can be: work that discloses nothing goes on without a trail.
 *
 * State is private to the backend.
 */
#include "witness/witness_int.h"

#include "access/parallel.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_language.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "commands/proclang.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* ---------------------------------------------------------------- helpers */

static char *
witness_audit_roles(List *roles)
{
	StringInfoData text;
	ListCell *lc;

	initStringInfo(&text);
	foreach (lc, roles)
	{
		const RoleSpec *role = lfirst_node(RoleSpec, lc);

		if (text.len > 0)
			appendStringInfoString(&text, ", ");
		switch (role->roletype)
		{
			case ROLESPEC_CSTRING:
				appendStringInfoString(&text, role->rolename);
				break;
			case ROLESPEC_PUBLIC:
				appendStringInfoString(&text, "PUBLIC");
				break;
			case ROLESPEC_SESSION_USER:
				appendStringInfoString(&text, GetUserNameFromId(GetSessionUserId(), false));
				break;
			default:
				appendStringInfoString(&text, GetUserNameFromId(GetUserId(), false));
				break;
		}
	}
	return text.data;
}

/* Names of privileges, or of the roles that are granted. */
static char *
witness_audit_privileges(List *privileges)
{
	StringInfoData text;
	ListCell *lc;
	ListCell *column;

	if (privileges == NIL)
		return pstrdup("ALL");
	initStringInfo(&text);
	foreach (lc, privileges)
	{
		const AccessPriv *privilege = lfirst_node(AccessPriv, lc);
		const char *between = " (";

		appendStringInfo(&text, "%s%s", text.len > 0 ? ", " : "",
						 privilege->priv_name != NULL ? privilege->priv_name : "ALL");
		foreach (column, privilege->cols)
		{
			appendStringInfo(&text, "%s%s", between, strVal(lfirst(column)));
			between = ", ";
		}
		if (privilege->cols != NIL)
			appendStringInfoChar(&text, ')');
	}
	return text.data;
}

/* Options by name; what they are set to may be a secret. */
static char *
witness_audit_options(List *options)
{
	StringInfoData text;
	ListCell *lc;

	initStringInfo(&text);
	foreach (lc, options)
	{
		const DefElem *option = lfirst_node(DefElem, lc);

		appendStringInfo(&text, "%s%s", text.len > 0 ? ", " : "", option->defname);
		if (option->arg != NULL && IsA(option->arg, Boolean) && !boolVal(option->arg))
			appendStringInfoString(&text, " off");
	}
	return text.data;
}

static bool
witness_audit_watched(Oid relid)
{
	WitnessRelation *relation = OidIsValid(relid) ? witness_watch_pin(relid) : NULL;

	if (relation == NULL)
		return false;
	witness_watch_release(relation);
	return true;
}

static char *
witness_audit_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

/* A definition on or around a watched table changes. */
static void
witness_audit_definition(const char *command, Oid relid, const char *object)
{
	TrailField fields[3];

	fields[0] = (TrailField){"command", command};
	fields[1] = (TrailField){"relation", OidIsValid(relid) ? witness_audit_name(relid) : NULL};
	fields[2] = (TrailField){"object", object};
	trail_record_event("definition.changed", fields, lengthof(fields));
}

static void
witness_audit_relation(const Node *node, const RangeVar *name, const char *object)
{
	Oid relid = name != NULL ? RangeVarGetRelid(name, NoLock, true) : InvalidOid;

	if (witness_audit_watched(relid))
		witness_audit_definition(CreateCommandName((Node *) node), relid, object);
}

/* ---------------------------------------------------------------- rights */

static void
witness_audit_grant(const GrantStmt *grant)
{
	const char *command = grant->is_grant ? "GRANT" : "REVOKE";
	TrailField fields[4];
	ListCell *lc;

	if (grant->objtype != OBJECT_TABLE)
		return;
	fields[0] = (TrailField){"command", command};
	fields[1] = (TrailField){"privileges", witness_audit_privileges(grant->privileges)};
	fields[2] = (TrailField){"roles", witness_audit_roles(grant->grantees)};
	foreach (lc, grant->objects)
	{
		if (grant->targtype == ACL_TARGET_OBJECT)
		{
			Oid relid = RangeVarGetRelid(lfirst_node(RangeVar, lc), NoLock, true);

			if (!witness_audit_watched(relid))
				continue;
			fields[3] = (TrailField){"relation", witness_audit_name(relid)};
		}
		else
			fields[3] = (TrailField){"schema", strVal(lfirst(lc))};
		trail_record_event("grant.changed", fields, lengthof(fields));
	}
}

static void
witness_audit_membership(const GrantRoleStmt *grant)
{
	TrailField fields[3];

	fields[0] = (TrailField){"command", grant->is_grant ? "GRANT" : "REVOKE"};
	fields[1] = (TrailField){"granted", witness_audit_privileges(grant->granted_roles)};
	fields[2] = (TrailField){"roles", witness_audit_roles(grant->grantee_roles)};
	witness_raw_record("role.granted", fields, lengthof(fields));
}

static void
witness_audit_role(const char *command, const char *role, List *options)
{
	TrailField fields[3];

	fields[0] = (TrailField){"command", command};
	fields[1] = (TrailField){"changed", role};
	fields[2] = (TrailField){"options", options != NIL ? witness_audit_options(options) : NULL};
	witness_raw_record("role.changed", fields, lengthof(fields));
}

/* ---------------------------------------------------------------- code */

static void
witness_audit_code(const char *kind, const char *command, const char *name, const char *language)
{
	TrailField fields[3];

	fields[0] = (TrailField){"command", command};
	fields[1] = (TrailField){"name", name};
	fields[2] = (TrailField){"language", language};
	witness_raw_record(kind, fields, lengthof(fields));
}

/* A function in a language that may do anything. */
static void
witness_audit_function(const CreateFunctionStmt *create)
{
	const char *language = NULL;
	HeapTuple tuple;
	bool trusted;
	ListCell *lc;

	foreach (lc, create->options)
		if (strcmp(lfirst_node(DefElem, lc)->defname, "language") == 0)
			language = strVal(lfirst_node(DefElem, lc)->arg);
	if (language == NULL)
		return;
	tuple = SearchSysCache1(LANGNAME, PointerGetDatum(language));
	if (!HeapTupleIsValid(tuple))
		return;
	trusted = ((Form_pg_language) GETSTRUCT(tuple))->lanpltrusted;
	ReleaseSysCache(tuple);
	/* An extension's own functions are told by the extension's creation. */
	if (!trusted && !creating_extension)
		witness_audit_code("code.created", CreateCommandName((Node *) create),
						   NameListToString(create->funcname), language);
}

/* ---------------------------------------------------------------- definitions */

/* DROP of what hangs on a table: the last name is its own, those before are the table's. */
static void
witness_audit_drop(const DropStmt *drop)
{
	ListCell *lc;

	if (drop->removeType == OBJECT_EXTENSION)
	{
		foreach (lc, drop->objects)
			witness_audit_code("extension.changed", "DROP EXTENSION", strVal(lfirst(lc)), NULL);
		return;
	}
	if (drop->removeType != OBJECT_TRIGGER && drop->removeType != OBJECT_POLICY &&
		drop->removeType != OBJECT_RULE)
		return;
	foreach (lc, drop->objects)
	{
		List *names = list_copy(lfirst(lc));
		char *object = strVal(llast(names));

		names = list_truncate(names, list_length(names) - 1);
		if (names != NIL)
			witness_audit_relation((const Node *) drop, makeRangeVarFromNameList(names), object);
	}
}

static void
witness_audit_publication(const Node *node, const char *name, bool everything, List *objects)
{
	ListCell *lc;

	if (everything)
		witness_audit_definition(CreateCommandName((Node *) node), InvalidOid, name);
	foreach (lc, objects)
	{
		const PublicationObjSpec *spec = lfirst_node(PublicationObjSpec, lc);

		if (spec->pubtable != NULL)
			witness_audit_relation(node, spec->pubtable->relation, name);
		else
			witness_audit_definition(CreateCommandName((Node *) node), InvalidOid, name);
	}
}

static void
witness_audit_table(const Node *node)
{
	ListCell *lc;

	switch (nodeTag(node))
	{
		case T_AlterTableStmt:
			witness_audit_relation(node, ((const AlterTableStmt *) node)->relation, NULL);
			break;
		case T_RenameStmt:
			witness_audit_relation(node, ((const RenameStmt *) node)->relation,
								   ((const RenameStmt *) node)->subname);
			break;
		case T_AlterObjectSchemaStmt:
			witness_audit_relation(node, ((const AlterObjectSchemaStmt *) node)->relation, NULL);
			break;
		case T_IndexStmt:
			witness_audit_relation(node, ((const IndexStmt *) node)->relation,
								   ((const IndexStmt *) node)->idxname);
			break;
		case T_CreateTrigStmt:
			witness_audit_relation(node, ((const CreateTrigStmt *) node)->relation,
								   ((const CreateTrigStmt *) node)->trigname);
			break;
		case T_RuleStmt:
			witness_audit_relation(node, ((const RuleStmt *) node)->relation,
								   ((const RuleStmt *) node)->rulename);
			break;
		case T_CreatePolicyStmt:
			witness_audit_relation(node, ((const CreatePolicyStmt *) node)->table,
								   ((const CreatePolicyStmt *) node)->policy_name);
			break;
		case T_AlterPolicyStmt:
			witness_audit_relation(node, ((const AlterPolicyStmt *) node)->table,
								   ((const AlterPolicyStmt *) node)->policy_name);
			break;
		case T_CreateStmt:
			foreach (lc, ((const CreateStmt *) node)->inhRelations)
				witness_audit_relation(node, lfirst_node(RangeVar, lc),
									   ((const CreateStmt *) node)->relation->relname);
			break;
		case T_CreatePublicationStmt:
			witness_audit_publication(node, ((const CreatePublicationStmt *) node)->pubname,
									  ((const CreatePublicationStmt *) node)->for_all_tables,
									  ((const CreatePublicationStmt *) node)->pubobjects);
			break;
		case T_AlterPublicationStmt:
			witness_audit_publication(node, ((const AlterPublicationStmt *) node)->pubname,
									  ((const AlterPublicationStmt *) node)->for_all_tables,
									  ((const AlterPublicationStmt *) node)->pubobjects);
			break;
		case T_CreateEventTrigStmt:
			witness_audit_definition("CREATE EVENT TRIGGER", InvalidOid,
									 ((const CreateEventTrigStmt *) node)->trigname);
			break;
		case T_AlterEventTrigStmt:
			witness_audit_definition("ALTER EVENT TRIGGER", InvalidOid,
									 ((const AlterEventTrigStmt *) node)->trigname);
			break;
		default:
			break;
	}
}

/* Called before a utility statement runs.  Raises WD3xx. */
void
witness_audit_utility(const Node *node)
{
	switch (nodeTag(node))
	{
		case T_GrantRoleStmt:
			witness_audit_membership((const GrantRoleStmt *) node);
			return;
		case T_CreateRoleStmt:
			witness_audit_role(CreateCommandName((Node *) node),
							   ((const CreateRoleStmt *) node)->role,
							   ((const CreateRoleStmt *) node)->options);
			return;
		case T_AlterRoleStmt:
			witness_audit_role(
				"ALTER ROLE", witness_audit_roles(list_make1(((const AlterRoleStmt *) node)->role)),
				((const AlterRoleStmt *) node)->options);
			return;
		case T_DropRoleStmt:
			witness_audit_role("DROP ROLE",
							   witness_audit_roles(((const DropRoleStmt *) node)->roles), NIL);
			return;
		case T_CreateExtensionStmt:
			witness_audit_code("extension.changed", "CREATE EXTENSION",
							   ((const CreateExtensionStmt *) node)->extname, NULL);
			return;
		case T_AlterExtensionStmt:
			witness_audit_code("extension.changed", "ALTER EXTENSION",
							   ((const AlterExtensionStmt *) node)->extname, NULL);
			return;
		case T_CreateFunctionStmt:
			witness_audit_function((const CreateFunctionStmt *) node);
			return;
		case T_CreatePLangStmt:
			witness_audit_code("code.created", "CREATE LANGUAGE",
							   ((const CreatePLangStmt *) node)->plname, NULL);
			return;
		case T_RenameStmt:
			if (((const RenameStmt *) node)->renameType == OBJECT_ROLE)
			{
				witness_audit_role("ALTER ROLE", ((const RenameStmt *) node)->subname, NIL);
				return;
			}
			break;
		case T_DropStmt:
			witness_audit_drop((const DropStmt *) node);
			return;
		default:
			break;
	}
	if (!witness_watch_any())
		return;
	if (IsA(node, GrantStmt))
		witness_audit_grant((const GrantStmt *) node);
	else
		witness_audit_table(node);
}

/* Called after one has run: which tables a view reads is known only then. */
void
witness_audit_made(const Node *node)
{
	Oid relid;
	Relation view;
	ListCell *lc;

	if (!IsA(node, ViewStmt) || !IsTransactionState() || !witness_watch_any())
		return;
	relid = RangeVarGetRelid(((const ViewStmt *) node)->view, NoLock, true);
	if (!OidIsValid(relid))
		return;
	CommandCounterIncrement();
	view = table_open(relid, AccessShareLock);
	if (view->rd_rel->relkind == RELKIND_VIEW)
		foreach (lc, get_view_query(view)->rtable)
		{
			const RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

			if (rte->rtekind == RTE_RELATION && witness_audit_watched(rte->relid))
				witness_audit_definition("CREATE VIEW", rte->relid, witness_audit_name(relid));
		}
	table_close(view, NoLock);
}

/* ---------------------------------------------------------------- settings */

/* Who acts is in every context; a token is a secret. */
static bool
witness_audit_setting_matters(const char *name)
{
	if (name == NULL)
		return true;
	if (pg_strcasecmp(name, "ward.actor") == 0 || pg_strcasecmp(name, "ward.actor_token") == 0)
		return false;
	return pg_strncasecmp(name, WARD_GUC_PREFIX ".", strlen(WARD_GUC_PREFIX) + 1) == 0 ||
		   pg_strcasecmp(name, "shared_preload_libraries") == 0 ||
		   pg_strcasecmp(name, "session_preload_libraries") == 0 ||
		   pg_strcasecmp(name, "local_preload_libraries") == 0;
}

/* What those are set to tells how much was recorded; of others it may be a secret. */
static bool
witness_audit_setting_plain(const char *name)
{
	static const char *const plain[] = {
		"ward.capture",			  "ward.durability",		  "ward.small_aggregate",
		"ward.capture_memory",	  "ward.naming_limit",		  "ward.on_trail_failure",
		"ward.trail_directory",	  "shared_preload_libraries", "session_preload_libraries",
		"local_preload_libraries"};

	for (int i = 0; i < (int) lengthof(plain); i++)
		if (pg_strcasecmp(name, plain[i]) == 0)
			return true;
	return false;
}

/* A setting is about to be changed, in whatever way. */
void
witness_audit_setting(const VariableSetStmt *set, const char *how)
{
	TrailField fields[3];
	char *value = NULL;

	if (set->kind == VAR_RESET_ALL || !witness_audit_setting_matters(set->name))
		return;
	if (set->kind == VAR_SET_VALUE && set->name != NULL && witness_audit_setting_plain(set->name))
		value = ExtractSetVariableArgs((VariableSetStmt *) set);
	fields[0] = (TrailField){"setting", set->name};
	fields[1] = (TrailField){"value", value};
	fields[2] = (TrailField){"how", how};
	trail_record_event("setting.changed", fields, lengthof(fields));
}

/* ---------------------------------------------------------------- refusals */

/*
 * A statement fails: was it for want of a right, or refused by us?  Called before the error
 * is handled.
 */
void
witness_audit_refused(const PlannedStmt *stmt)
{
	static TimestampTz last_statement = 0;
	static int last_code = 0;
	int code = geterrcode();
	bool ours = ERRCODE_TO_CATEGORY(code) == MAKE_SQLSTATE('W', 'D', '0', '0', '0');
	const char *relation = NULL;
	TrailField fields[2];
	ListCell *lc;

	if (code != ERRCODE_INSUFFICIENT_PRIVILEGE && !ours)
		return;
	/* That the trail can't be written can't be written to the trail. */
	if (code == ERRCODE_WARD_TRAIL_ABSENT || code == ERRCODE_WARD_TRAIL_UNREACHABLE ||
		code == ERRCODE_WARD_TRAIL_CORRUPT)
		return;
	/* The error comes through every function's frame. */
	if (last_statement == GetCurrentStatementStartTimestamp() && last_code == code)
		return;
	if (IsParallelWorker() || !witness_watch_any())
		return;
	foreach (lc, stmt->rtable)
	{
		const RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (relation == NULL && rte->rtekind == RTE_RELATION && witness_audit_watched(rte->relid))
			relation = witness_audit_name(rte->relid);
	}
	if (relation == NULL && !ours)
		return;
	last_statement = GetCurrentStatementStartTimestamp();
	last_code = code;
	fields[0] = (TrailField){"sqlstate", unpack_sql_state(code)};
	fields[1] = (TrailField){"relation", relation};
	trail_record_event("statement.refused", fields, lengthof(fields));
}

/* ---------------------------------------------------------------- sessions */

/* Records what can be recorded; a trail that can't be written is no reason to fail. */
static void
witness_audit_quietly(void (*record)(const char *kind, const TrailField *fields, int count),
					  const char *kind, const TrailField *fields, int count)
{
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		record(kind, fields, count);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		ereport(LOG_SERVER_ONLY, (errcode(error->sqlerrcode),
								  errmsg("could not record %s: %s", kind, error->message)));
		FreeErrorData(error);
	}
	PG_END_TRY();
}

static void
witness_audit_event(const char *kind, const TrailField *fields, int count)
{
	trail_record_event(kind, fields, count);
}

/* A session's first statement, in a database where tables are watched. */
void
witness_audit_session(void)
{
	static bool done = false;
	TrailField fields[5];
	int n = 0;

	if (likely(done) || MyProcPort == NULL || IsParallelWorker() || !IsTransactionState() ||
		IsAbortedTransactionBlockState() || !witness_watch_any())
		return;
	done = true;
	fields[n++] = (TrailField){"user", MyProcPort->user_name};
	fields[n++] = (TrailField){"client", MyProcPort->remote_host};
	fields[n++] = (TrailField){"authenticated_as", core_compat_authenticated_as()};
#ifdef USE_SSL
	if (MyProcPort->ssl_in_use)
	{
		char *subject = palloc0(NAMEDATALEN * 4);

		fields[n++] = (TrailField){"tls", be_tls_get_version(MyProcPort)};
		be_tls_get_peer_subject_name(MyProcPort, subject, NAMEDATALEN * 4);
		if (subject[0] != '\0')
			fields[n++] = (TrailField){"tls_subject", subject};
	}
#endif
	witness_audit_quietly(witness_audit_event, "session.started", fields, n);
}

/* Somebody was not let in. */
void
witness_audit_login_failed(const Port *port)
{
	static bool done = false;
	TrailField fields[3];

	/* The error that follows comes by again. */
	if (done)
		return;
	done = true;
	fields[0] = (TrailField){"user", port->user_name};
	fields[1] = (TrailField){"wanted", port->database_name};
	fields[2] = (TrailField){"application", port->application_name};
	witness_audit_quietly(witness_raw_record, "login.failed", fields, lengthof(fields));
}
