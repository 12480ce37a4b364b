-- Whose code runs, as whom; constraints that were never checked; a child that is stored
-- elsewhere.
\set SHOW_CONTEXT never
SET client_min_messages = error;
SELECT ward.create_key('owner.key', make_default => true);
CREATE ROLE own_owner; CREATE ROLE own_officer IN ROLE ward_officer;
CREATE SCHEMA own AUTHORIZATION own_owner; GRANT USAGE ON SCHEMA own TO PUBLIC;
SET ROLE own_owner;
CREATE TABLE own.t (id int, a text, b text);
INSERT INTO own.t VALUES (1, 'x', 'y');
CREATE FUNCTION own.spy(what text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
	$$ BEGIN RAISE WARNING '% as %', what, current_user; RETURN true; END $$;
CREATE VIEW own.v AS SELECT a FROM own.t WHERE own.spy('planned');
CREATE VIEW own.w AS SELECT a FROM own.v WHERE own.spy('planned again');
CREATE INDEX t_spy ON own.t (own.spy('indexed ' || id));
CREATE POLICY p ON own.t USING (own.spy('policy') AND a <> 'q');
ALTER TABLE own.t ADD CONSTRAINT checked CHECK (own.spy('checked ' || id) AND a <> 'q');
ALTER TABLE own.t ALTER COLUMN a SET DEFAULT CASE WHEN own.spy('default') THEN 'd' END;
CREATE FUNCTION own.fired() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'trigger as %', current_user; RETURN new; END $$;
CREATE TRIGGER tr BEFORE UPDATE OF a ON own.t FOR EACH ROW WHEN (own.spy(new.b)) EXECUTE FUNCTION own.fired();
SET ROLE own_officer;
RESET client_min_messages;
-- The index is built and the views are planned as their owner; nothing else runs.
SELECT ward.protect('own.t', 'a', 'owner.key');
RESET ROLE;
SET client_min_messages = warning;
SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'own.t'::regclass AND attname = 'a';
SET client_min_messages = error;
DROP SCHEMA own CASCADE;
-- What was NOT VALID stays so, what was valid stays that.
CREATE TABLE nv (id int PRIMARY KEY, a text);
CREATE TABLE nv_ref (a text, b text);
INSERT INTO nv VALUES (1, 'bad'), (2, 'good');
INSERT INTO nv_ref VALUES ('nowhere', 'x');
ALTER TABLE nv ADD CONSTRAINT nv_u UNIQUE (a), ADD CONSTRAINT nv_never CHECK (a <> 'bad') NOT VALID, ADD CONSTRAINT nv_ever CHECK (a <> 'worse');
ALTER TABLE nv_ref ADD CONSTRAINT nv_fk FOREIGN KEY (a) REFERENCES nv (a) NOT VALID;
SET client_min_messages = warning;
SELECT ward.protect('nv', 'a', 'owner.key');
SELECT conname, convalidated FROM pg_constraint WHERE conname ~ '^nv_(never|ever|fk)$' ORDER BY conname;
INSERT INTO nv VALUES (3, 'bad');
INSERT INTO nv_ref VALUES ('nowhere else');
INSERT INTO nv_ref VALUES ('good');
ALTER TABLE nv VALIDATE CONSTRAINT nv_never;
ALTER TABLE nv_ref VALIDATE CONSTRAINT nv_fk;
DELETE FROM nv_ref WHERE b = 'x';
ALTER TABLE nv_ref VALIDATE CONSTRAINT nv_fk;
DROP TABLE nv, nv_ref;
-- A child that is a foreign table is stored elsewhere.
CREATE FOREIGN DATA WRAPPER own_wrapper;
CREATE SERVER own_server FOREIGN DATA WRAPPER own_wrapper;
CREATE TABLE parent (id int, a text);
CREATE FOREIGN TABLE child () INHERITS (parent) SERVER own_server;
SELECT object, what_to_do FROM ward.protect_plan('parent', 'a', 'owner.key') WHERE action = 'refuse';
SELECT ward.protect('parent', 'a', 'owner.key');
DROP FOREIGN TABLE child;
SELECT ward.protect('parent', 'a', 'owner.key');
DROP TABLE parent;
DROP FOREIGN DATA WRAPPER own_wrapper CASCADE;
DROP ROLE own_owner, own_officer;
DELETE FROM _ward.key WHERE name ~ '^owner\.';
