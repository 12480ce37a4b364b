-- Who may open: memberships, functions, superusers, dropped and renamed roles, expiry.
SELECT ward.create_key('rights.k');
CREATE ROLE rights_group;
CREATE ROLE rights_upper;
CREATE ROLE rights_member IN ROLE rights_group;
CREATE ROLE rights_nested;
GRANT rights_upper TO rights_nested;
GRANT rights_group TO rights_upper;
CREATE ROLE rights_distant NOINHERIT IN ROLE rights_group;
CREATE ROLE rights_root SUPERUSER;
CREATE ROLE rights_none;
CREATE TABLE rights (id int PRIMARY KEY, a sealed_text('rights.k'));
INSERT INTO rights VALUES (1, 'one');
GRANT SELECT ON rights TO PUBLIC;
-- What a role gets of a row: opened, ciphertext, or a refusal of the cast.
CREATE FUNCTION rights_try(OUT shown text, OUT cast_to_text text) LANGUAGE plpgsql AS $$
BEGIN
	-- Through the type's output function.
	EXECUTE 'SELECT format(''%s'', a) FROM rights' INTO shown;
	shown := CASE WHEN shown LIKE '\\sealed:%' THEN 'ciphertext' ELSE shown END;
	BEGIN
		EXECUTE 'SELECT a::text FROM rights' INTO cast_to_text;
	EXCEPTION WHEN insufficient_privilege THEN
		cast_to_text := 'refused';
	END;
END $$;
SELECT ward.grant_unseal('rights.k', 'rights_group', 'test');
SET ROLE rights_group;
SELECT * FROM rights_try();
SET ROLE rights_member;
SELECT * FROM rights_try();
SET ROLE rights_nested;
SELECT * FROM rights_try();
-- Without inheriting only as the role itself.
SET SESSION AUTHORIZATION rights_distant;
SELECT * FROM rights_try();
SET ROLE rights_group;
SELECT * FROM rights_try();
RESET SESSION AUTHORIZATION;
SET ROLE rights_none;
SELECT * FROM rights_try();
SET ROLE rights_root;
SELECT * FROM rights_try();
RESET ROLE;
SELECT * FROM rights_try();

-- Memberships come and go within a transaction and a prepared statement.
SET plan_cache_mode = force_generic_plan;
PREPARE show_it AS SELECT a = 'one' AS found, (SELECT shown FROM rights_try()) FROM rights;
BEGIN;
SET LOCAL ROLE rights_member;
EXECUTE show_it;
RESET ROLE;
REVOKE rights_group FROM rights_member;
SET LOCAL ROLE rights_member;
EXECUTE show_it;
ROLLBACK;
SET ROLE rights_member;
EXECUTE show_it;
RESET ROLE;
-- A role that does not inherit; from 16 on that is fixed when it is made a member.
ALTER ROLE rights_member NOINHERIT;
REVOKE rights_group FROM rights_member;
GRANT rights_group TO rights_member;
SET ROLE rights_member;
EXECUTE show_it;
RESET ROLE;
ALTER ROLE rights_member INHERIT;
REVOKE rights_group FROM rights_member;
GRANT rights_group TO rights_member;

-- A SECURITY DEFINER function opens what its owner may.
CREATE FUNCTION rights_definer() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT a::text FROM rights';
ALTER FUNCTION rights_definer() OWNER TO rights_group;
CREATE FUNCTION rights_invoker() RETURNS text LANGUAGE sql AS 'SELECT a::text FROM rights';
CREATE FUNCTION rights_blind() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT a::text FROM rights';
ALTER FUNCTION rights_blind() OWNER TO rights_none;
SET ROLE rights_none;
SELECT rights_definer();
SELECT rights_invoker();
SET ROLE rights_group;
SELECT rights_blind();
RESET ROLE;
-- A view's owner does not lend the right: output and casts are the caller's.
CREATE VIEW rights_view AS SELECT a::text FROM rights;
ALTER VIEW rights_view OWNER TO rights_group;
GRANT SELECT ON rights_view TO rights_none;
SET ROLE rights_none;
SELECT * FROM rights_view;
RESET ROLE;

-- Expiry by the clock, within one statement.
SELECT ward.grant_unseal('rights.k', 'rights_none', 'for a moment', clock_timestamp() + interval '1 second');
SET ROLE rights_none;
SELECT * FROM rights_try();
SELECT count(a::text) FROM rights, generate_series(1, 300) g WHERE pg_sleep(0.01) IS NOT NULL;
SELECT * FROM rights_try();
RESET ROLE;
SELECT role, reason, expired FROM ward.unseal_grants WHERE key = 'rights.k' ORDER BY role::text;
-- A grant is renewed in place.
SELECT ward.grant_unseal('rights.k', 'rights_none', 'for good');
SELECT role, reason, expires, expired FROM ward.unseal_grants WHERE key = 'rights.k' ORDER BY role::text;

-- A role that is renamed keeps its right; one that has it can't be dropped.
ALTER ROLE rights_none RENAME TO "rights some";
SET ROLE "rights some";
SELECT * FROM rights_try();
RESET ROLE;
DROP FUNCTION rights_blind();
DROP VIEW rights_view;
DROP ROLE "rights some";
SELECT ward.revoke_unseal('rights.k', 'rights some', 'test');
DROP ROLE "rights some";
-- DROP OWNED revokes it.
DROP OWNED BY rights_group;
SELECT role FROM ward.unseal_grants WHERE key = 'rights.k';
SET ROLE rights_member;
SELECT * FROM rights_try();
RESET ROLE;
DROP ROLE rights_group;
SELECT ward.sync() IS NOT NULL AS synced;
SELECT kind, detail ->> 'role' AS role, detail ->> 'reason' AS reason FROM ward.events
 WHERE kind LIKE 'grant.%' AND detail ->> 'key' = 'rights.k' ORDER BY position;

-- Freezes and grants are not for prepared transactions: nobody would hear of them.
BEGIN;
SELECT ward.freeze_key('rights.k', 'test');
-- Not effective for others until it is committed; here at once.
SELECT a = 'one' FROM rights;
ROLLBACK;
BEGIN;
SELECT ward.freeze_key('rights.k', 'test');
PREPARE TRANSACTION 'rights';
BEGIN;
SELECT ward.grant_unseal('rights.k', 'rights_member', 'test');
PREPARE TRANSACTION 'rights';
SELECT state FROM ward.keys WHERE name = 'rights.k';

DROP TABLE rights;
DROP FUNCTION rights_try(), rights_invoker();
DELETE FROM _ward.key WHERE name LIKE 'rights.%';
DROP ROLE rights_member, rights_nested, rights_upper, rights_distant, rights_root;
