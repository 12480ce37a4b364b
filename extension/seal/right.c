/*
 * right.c
 *		Who may open: _ward.unseal_grant and role membership.
 *
 * Superusers get nothing for free: the server's own membership test answers yes
 * for them, so the memberships are walked here, inheritance heeded.  The answer is
 * for the current user, so a SECURITY DEFINER function opens what its owner may.
 *
 * Answers are cached for each key and user.  They are dropped with everything
 * else by seal_key_sync(): a grant or its removal, or a change of roles and their
 * memberships, committed anywhere, takes effect at the next value, also in a running
 * statement.  (Where roles are changed in a prepared transaction, or not by a
 * statement, it takes effect with the invalidation that the server itself heeds.)  A
 * grant with an end is checked against the clock each time.
 *
 * ward.unprotect runs as the extension's owner but opens under the right of its
 * caller: seal_right_act_as() names whose right is asked.
 *
 * Fails closed: without the catalog nobody may.  No locks outlive a call.
 */
#include "seal/seal_int.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_auth_members.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* Columns of _ward.unseal_grant, as 11_right.sql defines them. */
#define GRANT_ATT_KEY 1
#define GRANT_ATT_ROLE 2
#define GRANT_ATT_EXPIRES 3

#define RIGHT_CACHE 32

typedef struct RightEntry
{
	SealKeyId key;
	Oid user;
	TimestampTz until; /* may open before this; DT_NOBEGIN: may not */
} RightEntry;

static RightEntry right_cache[RIGHT_CACHE];
static int right_cached = 0;
static int right_next = 0;
static Oid right_actor = InvalidOid; /* whose right is asked, if not the current user's */

/* See seal_int.h. */
Oid
seal_right_act_as(Oid user)
{
	Oid previous = right_actor;

	right_actor = user;
	return previous;
}

static Oid
seal_right_user(void)
{
	return OidIsValid(right_actor) ? right_actor : GetUserId();
}

/* See seal_int.h. */
void
seal_right_forget(void)
{
	right_cached = 0;
	right_next = 0;
}

static void
seal_right_roles_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	seal_key_stale();
}

void
seal_right_init(void)
{
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, seal_right_roles_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, seal_right_roles_changed, (Datum) 0);
}

/* See seal_int.h. */
bool
seal_right_depends(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_GrantRoleStmt:
		case T_CreateRoleStmt:
		case T_AlterRoleStmt:
		case T_DropRoleStmt:
			return true;
		default:
			return false;
	}
}

/*
 * Roles are read from their tables and not through the caches: a commit is announced
 * a moment before its invalidations are sent, and what is read in between would be
 * kept.
 */
static bool
seal_right_inherits(Oid role)
{
	Relation relation = table_open(AuthIdRelationId, AccessShareLock);
	ScanKeyData scankey[1];
	SysScanDesc scan;
	HeapTuple tuple;
	bool inherits;

	ScanKeyInit(scankey, Anum_pg_authid_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(role));
	scan = systable_beginscan(relation, AuthIdOidIndexId, true, NULL, 1, scankey);
	tuple = systable_getnext(scan);
	inherits = HeapTupleIsValid(tuple) && ((Form_pg_authid) GETSTRUCT(tuple))->rolinherit;
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return inherits;
}

/* See seal.h. */
List *
seal_roles_of(Oid user)
{
	List *roles = list_make1_oid(user);
	Relation relation;
	ListCell *cell;

	InvalidateCatalogSnapshot();
	relation = table_open(AuthMemRelationId, AccessShareLock);
	/* Appending while walking: foreach follows. */
	foreach (cell, roles)
	{
		Oid member = lfirst_oid(cell);
		bool inherits = seal_right_inherits(member);
		ScanKeyData scankey[1];
		SysScanDesc scan;
		HeapTuple tuple;

		ScanKeyInit(scankey, Anum_pg_auth_members_member, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(member));
		scan = systable_beginscan(relation, AuthMemMemRoleIndexId, true, NULL, 1, scankey);
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			Form_pg_auth_members membership = (Form_pg_auth_members) GETSTRUCT(tuple);

			if (core_compat_membership_inherits(membership, inherits))
				roles = list_append_unique_oid(roles, membership->roleid);
		}
		systable_endscan(scan);
	}
	table_close(relation, AccessShareLock);
	return roles;
}

/* Until when a user may open under a key, from the catalog. */
static TimestampTz
seal_right_load(SealKeyId key, Oid user)
{
	Oid relid = core_catalog_relation("unseal_grant");
	Relation relation = OidIsValid(relid) ? try_table_open(relid, AccessShareLock) : NULL;
	TimestampTz until = DT_NOBEGIN;
	List *roles;
	SysScanDesc scan;
	ScanKeyData scankey[1];
	HeapTuple tuple;
	Oid index;

	if (relation == NULL)
		return until;
	roles = seal_roles_of(user);
	index = RelationGetPrimaryKeyIndex(relation);
	ScanKeyInit(scankey, GRANT_ATT_KEY, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(key));
	scan = systable_beginscan(relation, index, OidIsValid(index), NULL, 1, scankey);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool isnull;
		Datum role = heap_getattr(tuple, GRANT_ATT_ROLE, RelationGetDescr(relation), &isnull);
		Datum expires;
		TimestampTz end;

		if (isnull || !list_member_oid(roles, DatumGetObjectId(role)))
			continue;
		expires = heap_getattr(tuple, GRANT_ATT_EXPIRES, RelationGetDescr(relation), &isnull);
		end = isnull ? DT_NOEND : DatumGetTimestampTz(expires);
		until = Max(until, end);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	list_free(roles);
	return until;
}

/* See seal_int.h. */
bool
seal_right_may_open(SealKeyId key)
{
	Oid user = seal_right_user();
	RightEntry *entry = NULL;

	seal_key_sync();
	for (int i = 0; i < right_cached; i++)
		if (right_cache[i].key == key && right_cache[i].user == user)
		{
			entry = &right_cache[i];
			break;
		}
	if (entry == NULL)
	{
		TimestampTz until;

		Assert(IsTransactionState());
		until = seal_right_load(key, user);
		if (right_cached < RIGHT_CACHE)
			entry = &right_cache[right_cached++];
		else
		{
			entry = &right_cache[right_next];
			right_next = (right_next + 1) % RIGHT_CACHE;
		}
		entry->key = key;
		entry->user = user;
		entry->until = until;
	}
	if (likely(entry->until == DT_NOEND))
		return true;
	return entry->until != DT_NOBEGIN && GetCurrentTimestamp() < entry->until;
}

/* See seal.h. */
bool
seal_may_open(SealKeyId key)
{
	return seal_right_may_open(key);
}

/* See seal_int.h. */
void
seal_right_require(SealKeyId key)
{
	if (likely(seal_right_may_open(key)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to open values sealed under key %s", seal_key_label(key)),
			 errdetail("Role \"%s\" has no unseal right on it, or the right has expired. "
					   "Superusers need it, too.",
					   GetUserNameFromId(seal_right_user(), true) != NULL
						   ? GetUserNameFromId(seal_right_user(), true)
						   : "?"),
			 errhint("An officer grants it with ward.grant_unseal().")));
}
