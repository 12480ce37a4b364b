-- Conditions of triggers that meet the column: carried, with their literals sealed.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT ward.create_key('triggers.key', make_default => true), ward.grant_unseal('triggers.key', current_user::name, 'test');
CREATE TABLE g (id int PRIMARY KEY, a text, c varchar(9), n int, b text);
CREATE TABLE fired (who text);
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN INSERT INTO fired VALUES (concat_ws(' ', tg_name, tg_argv[0], coalesce(new.id, old.id))); RETURN coalesce(new, old); END $$;
CREATE TRIGGER t1 BEFORE UPDATE ON g FOR EACH ROW WHEN (new.a = 'secret' AND old.a IS DISTINCT FROM new.a) EXECUTE FUNCTION fire();
CREATE TRIGGER t2 BEFORE INSERT ON g FOR EACH ROW WHEN (new.a IN ('x', 'secret') OR new.n > 5) EXECUTE FUNCTION fire('it''s WHEN (x) EXECUTE FUNCTION y');
CREATE TRIGGER t3 AFTER DELETE ON g FOR EACH ROW WHEN (old.c = 'code' OR old.b = 'plain') EXECUTE FUNCTION fire();
CREATE TRIGGER t4 AFTER UPDATE OF a ON g FOR EACH ROW WHEN (old.a IS DISTINCT FROM new.a) EXECUTE FUNCTION fire();
CREATE TRIGGER t5 BEFORE INSERT ON g FOR EACH ROW WHEN (coalesce(new.n, 0) = 3 AND new.a LIKE 'sec%') EXECUTE FUNCTION fire();
CREATE TRIGGER t6 BEFORE INSERT ON g FOR EACH ROW WHEN (new.b = 'beside') EXECUTE FUNCTION fire();
CREATE CONSTRAINT TRIGGER t7 AFTER INSERT ON g DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
	WHEN (CASE WHEN new.c = 'code' THEN true ELSE new.n > 5 END) EXECUTE FUNCTION fire();
CREATE TRIGGER t8 AFTER UPDATE OF n ON g FOR EACH ROW WHEN (new.a = 'secret') EXECUTE FUNCTION fire();
ALTER TABLE g DISABLE TRIGGER t8;
COMMENT ON TRIGGER t1 ON g IS 'kept';
CREATE FUNCTION run() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM fired;
	INSERT INTO g VALUES (1, 'x', 'code', 1, 'b'), (2, 'secret', 'no', 3, 'beside'), (3, 'other', 'no', 6, 'plain');
	UPDATE g SET a = 'secret' WHERE id <> 2;
	UPDATE g SET n = n + 1;
	DELETE FROM g;
	SET CONSTRAINTS ALL IMMEDIATE;
	SET CONSTRAINTS ALL DEFERRED;
	RETURN (SELECT string_agg(who, ', ' ORDER BY who COLLATE "C") FROM fired);
END $$;
CREATE TEMP TABLE before AS SELECT run() AS answer;
SELECT answer FROM before;
SELECT object, action, what_to_do FROM ward.protect_plan('g', 'a', 'triggers.key') WHERE object LIKE 'trigger%' ORDER BY object COLLATE "C";
SELECT c, ward.protect('g', c, 'triggers.key') FROM unnest('{a,c,n}'::name[]) c;
SELECT tgname, tgenabled, regexp_replace(pg_get_triggerdef(oid), '\\sealed:[^'']*', '...', 'g') AS definition
  FROM pg_trigger WHERE tgrelid = 'g'::regclass AND NOT tgisinternal ORDER BY tgname;
SELECT run() = answer AS same, obj_description((SELECT oid FROM pg_trigger WHERE tgname = 't1'), 'pg_trigger') FROM before;
SELECT c, ward.unprotect('g', c, 'test') FROM unnest('{a,c,n}'::name[]) c;
SELECT tgname, tgenabled, pg_get_triggerdef(oid) AS definition
  FROM pg_trigger WHERE tgrelid = 'g'::regclass AND NOT tgisinternal ORDER BY tgname;
SELECT run() = answer AS same FROM before;
-- What reads like the condition of another is not taken for it.
CREATE TABLE h (a text);
CREATE TRIGGER "WHEN ((new.a = 'x'::text)) EXECUTE FUNCTION " BEFORE INSERT ON h FOR EACH ROW WHEN (new.a = 'x') EXECUTE FUNCTION fire();
SELECT action, what_to_do FROM ward.protect_plan('h', 'a', 'triggers.key') WHERE object LIKE 'trigger%';
DROP TABLE g, h, fired;
DROP FUNCTION run, fire;
DELETE FROM _ward.key WHERE name = 'triggers.key';
