-- What is carried when a column is protected: all that hangs on it comes back over the
-- sealed column, and no literal of the column stays in the catalog in clear.
\set SHOW_CONTEXT never
SELECT ward.create_key('carry.key', make_default => true);
CREATE ROLE carry_owner; CREATE ROLE carry_reader; 
CREATE SCHEMA carry; GRANT CREATE, USAGE ON SCHEMA carry TO carry_owner; GRANT USAGE ON SCHEMA carry TO carry_reader;
CREATE TABLE carry.person (id int PRIMARY KEY, code varchar(20) UNIQUE NOT NULL, name text NOT NULL DEFAULT 'nobody' CHECK (name <> ''),
  status text CHECK (status IN ('missing','found')) DEFAULT 'missing', boss varchar(20) REFERENCES carry.person(code) DEFERRABLE INITIALLY DEFERRED,
  pat text CONSTRAINT pat CHECK (pat ~ '^[A-Z]+$') NO INHERIT);
COMMENT ON COLUMN carry.person.code IS 'the code'; COMMENT ON CONSTRAINT person_status_check ON carry.person IS 'chk';
COMMENT ON INDEX carry.person_code_key IS 'idx'; 
CREATE INDEX person_missing ON carry.person (id) WHERE status = 'missing';
CREATE UNIQUE INDEX person_m2 ON carry.person (status, id) WHERE status IN ('missing', 'found') ;
CREATE INDEX person_m3 ON carry.person USING hash (name) WHERE name IS NOT NULL;
COMMENT ON INDEX carry.person_missing IS 'part';
CREATE TABLE carry.note (id int, person_code varchar(20) REFERENCES carry.person(code) ON UPDATE CASCADE ON DELETE SET NULL, body text);
ALTER TABLE carry.person OWNER TO carry_owner; ALTER TABLE carry.note OWNER TO carry_owner;
INSERT INTO carry.person SELECT i, 'C'||i, 'name '||i, CASE WHEN i%2=0 THEN 'missing' ELSE 'found' END, 'C'||i, 'ABC' FROM generate_series(1,100) i;
INSERT INTO carry.note SELECT i, 'C'||i, 'body' FROM generate_series(1,100) i;
CREATE VIEW carry.v1 WITH (security_barrier) AS SELECT id, code AS c, name FROM carry.person WHERE status = 'missing' AND code <> 'C4' AND name LIKE 'name%';
CREATE VIEW carry.v2 AS SELECT c, count(*) n FROM carry.v1 WHERE c IN ('C2','C4','C6','C8') GROUP BY c;
ALTER VIEW carry.v1 OWNER TO carry_owner; GRANT SELECT ON carry.v1 TO carry_reader; GRANT UPDATE (name) ON carry.v1 TO carry_reader WITH GRANT OPTION; COMMENT ON VIEW carry.v1 IS 'view one'; COMMENT ON COLUMN carry.v1.c IS 'c col';
ALTER TABLE carry.person ENABLE ROW LEVEL SECURITY;
CREATE POLICY pol ON carry.person FOR SELECT TO carry_reader USING (status = 'missing');
CREATE POLICY pol2 ON carry.person USING (name <> 'x') WITH CHECK (name <> 'y');
CREATE FUNCTION carry.trg() RETURNS trigger LANGUAGE plpgsql AS 'begin return new; end';
CREATE TRIGGER tr BEFORE UPDATE OF name, code ON carry.person FOR EACH ROW WHEN (old.name IS DISTINCT FROM new.name) EXECUTE FUNCTION carry.trg('a');
ALTER TABLE carry.person ENABLE ALWAYS TRIGGER tr;
CREATE VIEW carry.insertable AS SELECT id, name FROM carry.person;
CREATE TRIGGER instead INSTEAD OF INSERT ON carry.insertable FOR EACH ROW EXECUTE FUNCTION carry.trg('instead');
CREATE RULE no_delete AS ON DELETE TO carry.insertable DO INSTEAD NOTHING;
COMMENT ON RULE no_delete ON carry.insertable IS 'kept';
COMMENT ON TRIGGER instead ON carry.insertable IS 'kept too';
ANALYZE carry.person, carry.note;

-- What the catalog says of all of it, armor shortened.
CREATE FUNCTION carry.shown(text) RETURNS text LANGUAGE sql AS
	$$ SELECT regexp_replace(regexp_replace($1, '\\sealed:[A-Za-z0-9+/=]+', '<sealed>', 'g'), '\s+', ' ', 'g') $$;
CREATE VIEW carry.catalog AS
SELECT 'column' AS kind, attrelid::regclass || '.' || attname AS name,
       concat_ws(' ', format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'not null' END, col_description(attrelid, attnum), attacl::text) AS definition
  FROM pg_attribute WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'carry'::regnamespace AND relkind IN ('r', 'v') AND relname <> 'catalog')
   AND attnum > 0 AND atttypid <> 'int4'::regtype
UNION ALL SELECT 'constraint', conname, concat_ws(' ', pg_get_constraintdef(oid), obj_description(oid), convalidated::text)
  FROM pg_constraint WHERE connamespace = 'carry'::regnamespace
UNION ALL SELECT 'index', indexrelid::regclass::text,
       concat_ws(' ', pg_get_indexdef(indexrelid), obj_description(indexrelid), CASE WHEN indisreplident THEN 'identity' END, CASE WHEN indisclustered THEN 'clustered' END)
  FROM pg_index WHERE indrelid IN ('carry.person'::regclass, 'carry.note'::regclass)
UNION ALL SELECT 'default', adnum::text, pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'carry.person'::regclass
UNION ALL SELECT 'policy', polname, concat_ws(' ', polcmd, pg_get_expr(polqual, polrelid), '/', pg_get_expr(polwithcheck, polrelid), polroles::regrole[]::text)
  FROM pg_policy WHERE polrelid = 'carry.person'::regclass
UNION ALL SELECT 'trigger', tgname, concat_ws(' ', tgenabled, pg_get_triggerdef(oid), obj_description(oid))
  FROM pg_trigger WHERE tgrelid IN ('carry.person'::regclass, 'carry.insertable'::regclass) AND NOT tgisinternal
UNION ALL SELECT 'rule', rulename, concat_ws(' ', pg_get_ruledef(oid), obj_description(oid)) FROM pg_rewrite WHERE rulename = 'no_delete'
UNION ALL SELECT 'view', c.oid::regclass::text,
       concat_ws(' ', regexp_replace(pg_get_viewdef(c.oid), '\y(person|v1)\.', '', 'g'), pg_get_userbyid(relowner) = current_user, reloptions::text, replace(replace(relacl::text, current_user, 'me'), 'Dxtm', 'Dxt'), obj_description(c.oid))
  FROM pg_class c WHERE relnamespace = 'carry'::regnamespace AND relkind = 'v' AND relname <> 'catalog';
ALTER TABLE carry.person REPLICA IDENTITY USING INDEX person_code_key;
ALTER TABLE carry.person CLUSTER ON person_code_key;
ALTER TABLE carry.person ALTER COLUMN name SET STATISTICS 77;
GRANT SELECT (name) ON carry.person TO carry_reader;
CREATE TEMP TABLE before AS SELECT kind, name, carry.shown(definition) AS definition FROM carry.catalog;

SELECT * FROM ward.protect_plan('carry.person', 'status', 'carry.key');
SELECT * FROM ward.protect_plan('carry.note', 'person_code', 'carry.key');
SELECT ward.protect('carry.person', 'name', 'carry.key', dry_run => true);
SELECT count(*) AS sealed_yet FROM ward.sealed_columns WHERE key = 'carry.key';
SET client_min_messages = warning;
SELECT ward.protect('carry.person', 'status', 'carry.key');
SELECT ward.protect('carry.person', 'code', 'carry.key');
SELECT ward.protect('carry.person', 'name', 'carry.key');
RESET client_min_messages;
\pset format unaligned
SELECT kind, name, carry.shown(definition) FROM carry.catalog ORDER BY kind COLLATE "C", name COLLATE "C";
\pset format aligned
SELECT attstattarget FROM pg_attribute WHERE attrelid = 'carry.person'::regclass AND attname = 'name';
-- No literal in clear.
SELECT kind, name FROM carry.catalog WHERE definition ~ $$'(missing|found|nobody|C[0-9]|name%|\^|x'|y')$$;

-- And all of it works, without the right to open where it did not read the text.
\set VERBOSITY terse
INSERT INTO carry.person (id, code, status) VALUES (200, 'C200', 'lost');
INSERT INTO carry.person (id, code, name) VALUES (200, 'C200', '');
INSERT INTO carry.person (id, code) VALUES (200, 'C1');
INSERT INTO carry.person (id, code, boss) VALUES (200, 'C200', 'nobody');
BEGIN;
INSERT INTO carry.person (id, code, boss) VALUES (200, 'C200', 'C201');
INSERT INTO carry.person (id, code, boss) VALUES (201, 'C201', 'C200');
COMMIT;
BEGIN;
UPDATE carry.person SET code = 'D1' WHERE code = 'C1';
UPDATE carry.person SET boss = 'D1' WHERE id = 1;
COMMIT;
SELECT count(*) FROM carry.note WHERE person_code = 'D1';
DELETE FROM carry.person WHERE code = 'C2';
SELECT count(*) FROM carry.note WHERE person_code IS NULL;
-- A check over opened text, though, asks all who write for the right.
SET client_min_messages = warning;
SELECT object, what_to_do FROM ward.protect_plan('carry.person', 'pat', 'carry.key') WHERE object LIKE 'constraint%';
SELECT ward.protect('carry.person', 'pat', 'carry.key');
RESET client_min_messages;
SELECT carry.shown(definition) FROM carry.catalog WHERE name = 'pat';
INSERT INTO carry.person (id, code, pat) VALUES (202, 'C202', 'UPPER');
GRANT SELECT ON carry.person TO carry_reader;
SET ROLE carry_reader;
SELECT count(*) FROM carry.person;
SELECT count(*) FROM carry.v1;
RESET ROLE;
SELECT ward.grant_unseal('carry.key', current_user::name, 'test');
SELECT name, status FROM carry.person WHERE id >= 200 ORDER BY id;
INSERT INTO carry.person (id, code, pat) VALUES (202, 'C202', 'lower');
INSERT INTO carry.person (id, code, pat) VALUES (202, 'C202', 'UPPER');
SELECT * FROM carry.v2 ORDER BY c::text LIMIT 3;

-- The way back needs a reason and the right; it gives everything back.
SELECT ward.unprotect('carry.person', 'name', '');
SELECT ward.unprotect('carry.person', 'id', 'r');
SELECT ward.revoke_unseal('carry.key', current_user::name, 'test');
SELECT ward.unprotect('carry.person', 'name', 'test');
SELECT ward.grant_unseal('carry.key', current_user::name, 'test');
\set VERBOSITY default
ANALYZE carry.person, carry.note;
SELECT ward.unprotect('carry.note', 'person_code', 'test', dry_run => true);
SELECT ward.unprotect('carry.note', 'person_code', 'test');
SET client_min_messages = warning;
SELECT ward.unprotect('carry.person', 'status', 'test');
SELECT ward.unprotect('carry.person', 'name', 'test');
SELECT ward.unprotect('carry.person', 'pat', 'test');
RESET client_min_messages;
REVOKE SELECT ON carry.person FROM carry_reader;
GRANT SELECT (name) ON carry.person TO carry_reader;
-- The same as before, but for casts that say the same.
SELECT coalesce(b.kind, a.kind) AS kind, coalesce(b.name, a.name) AS name, b.definition AS before, a.definition AS after
  FROM before b FULL JOIN (SELECT kind, name, carry.shown(definition) AS definition FROM carry.catalog) a ON a.kind = b.kind AND a.name = b.name
 WHERE regexp_replace(b.definition, '::(text|character varying)(\[\])?|[()]', '', 'g')
       IS DISTINCT FROM regexp_replace(a.definition, '::(text|character varying)(\[\])?|[()]', '', 'g');
SELECT relation, column_name FROM _ward.sealed_column WHERE relation::text LIKE 'carry%';
SELECT count(*), count(*) FILTER (WHERE name LIKE 'name%') FROM carry.person;
SET client_min_messages = warning;
DROP SCHEMA carry CASCADE;
DROP ROLE carry_owner, carry_reader;
DELETE FROM _ward.key WHERE name = 'carry.key';
