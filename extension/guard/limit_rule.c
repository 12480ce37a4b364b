/*
 * limit_rule.c
 *		Which limits there are, and whom they apply to; cached in each backend.
 *
 * The truth is _ward.guard_limit.  The cache is thrown away whole when that table
 * changes (its trigger sends the invalidation) or a transaction that may have changed it
 * is undone; what follows from it for this session, also when roles or their memberships
 * change.
 *
 * A session acts as up to three roles: who logged in, the session's user, and what SET
 * ROLE has made of it.  A limit applies where one of them is, or inherits from, a role
 * that it names.  Of a SECURITY DEFINER function the caller counts and not the owner:
 * everybody's reads would meet in one window.  Superusers are members of nothing by
 * being superusers.
 *
 * Never counted: members of ward_officer, roles with REPLICATION, and the role that the
 * cluster was made with, so that somebody can always undo a limit.
 *
 * State is private to the backend.
 */
#include "guard/limit_int.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* Columns of _ward.guard_limit, as 20_limit.sql defines them. */
enum
{
	LIMIT_ID = 1,
	LIMIT_NAME,
	LIMIT_CLASS,
	LIMIT_AT_MOST,
	LIMIT_PER,
	LIMIT_BY,
	LIMIT_APPLIES_TO,
	LIMIT_ON_EXCESS,
	LIMIT_MANNER
};

static MemoryContext rule_memory = NULL;
static List *rules = NIL;
static Oid rule_table = InvalidOid;
static bool rules_valid = false;
static bool rules_changing = false; /* this transaction has made a limit */
static List *rules_before = NIL;	/* contexts that this transaction's statements may refer to */

/* What the session is counted for, of one class, as these roles and this actor. */
typedef struct RuleMine
{
	char *class;
	GuardWho who;
	char *actor;
	List *targets;
} RuleMine;

#define RULE_MINE 8

static MemoryContext mine_memory = NULL;
static RuleMine mine[RULE_MINE];
static int mine_count = 0;
static bool mine_valid = false;

static void
limit_rule_forget(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == rule_table || !OidIsValid(rule_table))
		rules_valid = false;
}

static void
limit_rule_forget_roles(Datum arg, int cacheid, uint32 hashvalue)
{
	mine_valid = false;
}

static void
limit_rule_transaction(XactEvent event, void *arg)
{
	ListCell *lc;

	if (event == XACT_EVENT_ABORT || rules_changing)
		rules_valid = false;
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	foreach (lc, rules_before)
		MemoryContextDelete(lfirst(lc));
	list_free(rules_before);
	rules_before = NIL;
	rules_changing = false;
}

static void
limit_rule_subtransaction(SubXactEvent event, SubTransactionId own, SubTransactionId parent,
						  void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		rules_valid = false;
}

/* Called once, from guard_init(). */
void
guard_limit_rule_init(void)
{
	CacheRegisterRelcacheCallback(limit_rule_forget, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, limit_rule_forget_roles, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, limit_rule_forget_roles, (Datum) 0);
	RegisterXactCallback(limit_rule_transaction, NULL);
	RegisterSubXactCallback(limit_rule_subtransaction, NULL);
}

/* ---------------------------------------------------------------- reading */

static char *
limit_rule_text(HeapTuple tuple, int attnum, TupleDesc desc)
{
	bool isnull;
	Datum value = heap_getattr(tuple, attnum, desc, &isnull);

	return isnull ? pstrdup("") : TextDatumGetCString(value);
}

static int
limit_rule_word(const char *word, const char *const *words, int count)
{
	for (int i = 0; i < count; i++)
		if (strcmp(word, words[i]) == 0)
			return i;
	ereport(ERROR, (errcode(ERRCODE_WARD_CATALOG_DAMAGED), errmsg("a limit is not understood"),
					errdetail("It says \"%s\", which this version does not know.", word),
					errhint("An officer should call ward.drop_limit() and ward.limit().")));
	return 0;
}

static GuardRule *
limit_rule_read(HeapTuple tuple, TupleDesc desc)
{
	static const char *const bys[] = {"role", "session", "actor", "client"};
	static const char *const excesses[] = {"refuse", "alert", "delay"};
	static const char *const manners[] = {"any", "clear", "ciphertext"};
	GuardRule *rule = palloc0(sizeof(GuardRule));
	Interval *per;
	Datum applies_to;
	bool isnull;

	rule->id = DatumGetInt64(heap_getattr(tuple, LIMIT_ID, desc, &isnull));
	rule->name = limit_rule_text(tuple, LIMIT_NAME, desc);
	rule->class = limit_rule_text(tuple, LIMIT_CLASS, desc);
	rule->at_most = DatumGetInt64(heap_getattr(tuple, LIMIT_AT_MOST, desc, &isnull));
	per = DatumGetIntervalP(heap_getattr(tuple, LIMIT_PER, desc, &isnull));
	rule->length =
		per->time + per->day * USECS_PER_DAY + per->month * (int64) DAYS_PER_MONTH * USECS_PER_DAY;
	rule->per = DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(per)));
	rule->by = limit_rule_word(limit_rule_text(tuple, LIMIT_BY, desc), bys, lengthof(bys));
	rule->on_excess = limit_rule_word(limit_rule_text(tuple, LIMIT_ON_EXCESS, desc), excesses,
									  lengthof(excesses));
	rule->manner =
		limit_rule_word(limit_rule_text(tuple, LIMIT_MANNER, desc), manners, lengthof(manners));
	applies_to = heap_getattr(tuple, LIMIT_APPLIES_TO, desc, &isnull);
	if (!isnull)
	{
		Datum *roles;
		int count;

		deconstruct_array(DatumGetArrayTypeP(applies_to), REGROLEOID, sizeof(Oid), true,
						  TYPALIGN_INT, &roles, NULL, &count);
		for (int i = 0; i < count; i++)
			rule->applies_to = lappend_oid(rule->applies_to, DatumGetObjectId(roles[i]));
	}
	return rule;
}

static void
limit_rule_load(void)
{
	List *before = rules;
	MemoryContext memory_before = rule_memory;
	Relation table;
	SysScanDesc scan;
	HeapTuple tuple;
	MemoryContext old;
	ListCell *lc;
	ListCell *other;

	rule_table = core_catalog_relation("guard_limit");
	rules = NIL;
	rule_memory = AllocSetContextCreate(TopMemoryContext, "pg_ward limits", ALLOCSET_SMALL_SIZES);
	mine_valid = false;
	/* Valid before reading, so that an invalidation while we read wins. */
	rules_valid = true;
	if (OidIsValid(rule_table))
	{
		PG_TRY();
		{
			table = table_open(rule_table, AccessShareLock);
			scan = systable_beginscan(table, InvalidOid, false, NULL, 0, NULL);
			old = MemoryContextSwitchTo(rule_memory);
			while (HeapTupleIsValid(tuple = systable_getnext(scan)))
			{
				/* It holds from its commit on: nobody else could count for it before. */
				if (TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetRawXmin(tuple->t_data)))
					rules_changing = true;
				else
					rules = lappend(rules, limit_rule_read(tuple, RelationGetDescr(table)));
			}
			MemoryContextSwitchTo(old);
			systable_endscan(scan);
			table_close(table, AccessShareLock);
		}
		PG_CATCH();
		{
			/* Half a list would let people pass: load it again next time. */
			rules_valid = false;
			MemoryContextDelete(rule_memory);
			rule_memory = memory_before;
			rules = before;
			PG_RE_THROW();
		}
		PG_END_TRY();
	}
	foreach (lc, rules)
		foreach (other, before)
			if (((GuardRule *) lfirst(lc))->id == ((GuardRule *) lfirst(other))->id)
				((GuardRule *) lfirst(lc))->ready = ((GuardRule *) lfirst(other))->ready;
	if (memory_before == NULL)
		return;
	old = MemoryContextSwitchTo(TopMemoryContext);
	rules_before = lappend(rules_before, memory_before);
	MemoryContextSwitchTo(old);
}

/* See limit_int.h. */
List *
guard_limit_rule_list(void)
{
	while (unlikely(!rules_valid))
	{
		if (!IsTransactionState() || !OidIsValid(MyDatabaseId))
			return NIL;
		limit_rule_load();
	}
	return rules;
}

/* ---------------------------------------------------------------- to whom */

/* See limit_int.h. */
bool
guard_limit_rule_exempt(Oid role)
{
	HeapTuple tuple;
	bool replication = false;
	List *roles;
	Oid officer;

	if (!OidIsValid(role) || role == BOOTSTRAP_SUPERUSERID)
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	if (HeapTupleIsValid(tuple))
	{
		replication = ((Form_pg_authid) GETSTRUCT(tuple))->rolreplication;
		ReleaseSysCache(tuple);
	}
	if (replication)
		return true;
	officer = get_role_oid("ward_officer", true);
	roles = seal_roles_of(role);
	replication = OidIsValid(officer) && list_member_oid(roles, officer);
	list_free(roles);
	return replication;
}

static bool
limit_rule_applies(const GuardRule *rule, const List *roles)
{
	ListCell *lc;

	if (rule->applies_to == NIL)
		return true;
	foreach (lc, rule->applies_to)
		if (list_member_oid(roles, lfirst_oid(lc)))
			return true;
	return false;
}

static uint64
limit_rule_hash(const char *text)
{
	return DatumGetUInt64(hash_any_extended((const unsigned char *) text, strlen(text), 0));
}

static List *
limit_rule_target(List *targets, GuardRule *rule, uint64 principal, const char *text)
{
	GuardTarget *target = palloc0(sizeof(GuardTarget));

	target->rule = rule;
	target->key.database = MyDatabaseId;
	target->key.limit = rule->id;
	target->key.principal = principal;
	strlcpy(target->principal, text, sizeof(target->principal));
	return lappend(targets, target);
}

/* See limit_int.h. */
List *
guard_limit_rule_targets(const GuardWho *who, const char *class)
{
	List *all = guard_limit_rule_list();
	List *targets = NIL;
	List *inherited[lengthof(who->roles)] = {NIL};
	ListCell *lc;

	for (int i = 0; i < who->nroles; i++)
		inherited[i] = seal_roles_of(who->roles[i]);
	foreach (lc, all)
	{
		GuardRule *rule = lfirst(lc);
		bool applies = false;
		const char *text = rule->by == GUARD_BY_SESSION ? who->session
						   : rule->by == GUARD_BY_ACTOR ? who->actor
														: who->client;

		if (strcmp(rule->class, class) != 0)
			continue;
		for (int i = 0; i < who->nroles; i++)
		{
			char *name;

			if (!limit_rule_applies(rule, inherited[i]))
				continue;
			applies = true;
			if (rule->by != GUARD_BY_ROLE)
				continue;
			name = GetUserNameFromId(who->roles[i], true);
			targets = limit_rule_target(targets, rule, who->roles[i], name != NULL ? name : "?");
		}
		if (applies && rule->by != GUARD_BY_ROLE)
			targets = limit_rule_target(targets, rule, limit_rule_hash(text), text);
	}
	return targets;
}

static void
limit_rule_role(GuardWho *who, Oid role)
{
	for (int i = 0; i < who->nroles; i++)
		if (who->roles[i] == role)
			return;
	who->roles[who->nroles++] = role;
}

static void
limit_rule_mine_clear(void)
{
	if (mine_memory == NULL)
		mine_memory =
			AllocSetContextCreate(TopMemoryContext, "pg_ward own limits", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(mine_memory);
	mine_count = 0;
	mine_valid = true;
}

/* See limit_int.h. */
List *
guard_limit_rule_mine(const char *class)
{
	GuardWho asked = {0};
	GuardWho who = {0};
	TrailWho session;
	RuleMine *slot;
	MemoryContext old;

	if (guard_limit_rule_list() == NIL)
		return NIL;
	limit_rule_role(&asked, GetOuterUserId());
	limit_rule_role(&asked, GetSessionUserId());
	if (OidIsValid(GetAuthenticatedUserId()))
		limit_rule_role(&asked, GetAuthenticatedUserId());
	trail_context_who(&session);
	if (!mine_valid)
		limit_rule_mine_clear();
	for (int i = 0; i < mine_count; i++)
		if (mine[i].who.nroles == asked.nroles &&
			memcmp(mine[i].who.roles, asked.roles, sizeof(asked.roles)) == 0 &&
			strcmp(mine[i].actor, session.actor) == 0 && strcmp(mine[i].class, class) == 0)
			return mine[i].targets;
	if (mine_count == RULE_MINE)
		limit_rule_mine_clear();
	for (int i = 0; i < asked.nroles; i++)
		if (!guard_limit_rule_exempt(asked.roles[i]))
			limit_rule_role(&who, asked.roles[i]);
	who.session = session.session;
	who.actor = session.actor;
	who.client = session.client;
	slot = &mine[mine_count];
	old = MemoryContextSwitchTo(mine_memory);
	slot->class = pstrdup(class);
	slot->who = asked;
	slot->actor = pstrdup(session.actor);
	slot->targets = guard_limit_rule_targets(&who, class);
	MemoryContextSwitchTo(old);
	/* Catalog look-ups may have let an invalidation in. */
	if (!rules_valid || !mine_valid)
		return guard_limit_rule_mine(class);
	mine_count++;
	return slot->targets;
}
