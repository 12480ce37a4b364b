-- What CREATE EXTENSION leaves behind, and who may see it.
SELECT ward.version() = default_version AS library_matches_script
  FROM pg_available_extensions WHERE name = 'pg_ward';

SELECT nspname, obj_description(oid, 'pg_namespace')
  FROM pg_namespace WHERE nspname IN ('ward', '_ward') ORDER BY nspname;

SELECT rolname, rolcanlogin, rolsuper, rolinherit
  FROM pg_roles WHERE rolname IN ('ward_officer', 'ward_auditor', 'ward_analyst') ORDER BY rolname;

-- Granted to nobody.
SELECT count(*) FROM pg_auth_members
 WHERE roleid IN ('ward_officer'::regrole, 'ward_auditor'::regrole, 'ward_analyst'::regrole);

-- A misspelled setting is an error, not a silence.
SET ward.captrue = off;

-- A second CREATE says so and changes nothing.
CREATE EXTENSION pg_ward;
CREATE EXTENSION IF NOT EXISTS pg_ward;

-- PUBLIC sees neither the catalog nor the functions.
CREATE ROLE core_nobody;
SET ROLE core_nobody;
SELECT ward.version();
SELECT count(*) FROM _ward.key;
RESET ROLE;
DROP ROLE core_nobody;
