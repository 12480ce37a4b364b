-- Lockdown: who may, what it refuses to be, what it says it did, and what goes on.
CREATE ROLE lockdown_officer IN ROLE ward_officer;
CREATE ROLE lockdown_team;
CREATE ROLE lockdown_reader IN ROLE lockdown_team;
CREATE TABLE lockdown_person (id int PRIMARY KEY, name text);
INSERT INTO lockdown_person VALUES (1, 'a'), (2, 'b');
CREATE TABLE lockdown_visit (person int REFERENCES lockdown_person ON DELETE CASCADE);
CREATE TABLE lockdown_other (x int);
GRANT ALL ON lockdown_person, lockdown_visit, lockdown_other TO lockdown_officer, lockdown_reader;
SELECT ward.watch('lockdown_person', 'id', 'lockdown');
SELECT ward.watch('lockdown_visit', 'person', 'lockdown');
SELECT ward.create_key('lockdown.one', make_default => false);
SELECT ward.create_key('lockdown.two', make_default => false);

-- What it refuses to be.
SET SESSION AUTHORIZATION lockdown_officer;
SELECT * FROM ward.lockdown('');
SELECT * FROM ward.lockdown('drill', reads => false);
SELECT * FROM ward.lockdown('drill', roles => '{no_such_role}');
SELECT * FROM ward.lockdown('drill', roles => '{ward_officer}');
SELECT * FROM ward.lockdown('drill', roles => '{lockdown_officer}');
SELECT * FROM ward.lockdown('drill', keys => '{lockdown.none}');
SELECT * FROM ward.lift_lockdown('drill');
SELECT * FROM ward.lift_lockdown('');
SELECT active, reads, roles, clients, by, reason, problem FROM ward.lockdown_state;

-- All reads, and a key; a rollback undoes neither.
BEGIN;
SELECT * FROM ward.lockdown('drill', keys => '{lockdown.one}');
ROLLBACK;
SELECT active, reads, roles, clients, by, reason, problem FROM ward.lockdown_state;
SELECT name, state FROM ward.keys WHERE name LIKE 'lockdown.%' ORDER BY name;
-- Officers read on.
SELECT * FROM lockdown_person ORDER BY id;

SET SESSION AUTHORIZATION lockdown_reader;
SELECT * FROM lockdown_person ORDER BY id;
SELECT * FROM lockdown_person WHERE id = 3;
SELECT count(*) FROM lockdown_person;
COPY lockdown_person TO STDOUT;
UPDATE lockdown_person SET name = name RETURNING *;
DELETE FROM lockdown_person WHERE name = 'b';
INSERT INTO lockdown_other SELECT id FROM lockdown_person;
EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) SELECT * FROM lockdown_person;
DO $$ BEGIN PERFORM * FROM lockdown_person; END $$;
\set VERBOSITY sqlstate
SELECT 1 FROM lockdown_person;
\set VERBOSITY default
-- What shows nobody goes on: other tables, inserts, the foreign key's checks, plans.
SELECT count(*) FROM lockdown_other;
INSERT INTO lockdown_person VALUES (3, 'c');
INSERT INTO lockdown_visit VALUES (3);
EXPLAIN (COSTS off) SELECT * FROM lockdown_person;
-- A function that runs as an officer makes nobody one.
SET SESSION AUTHORIZATION lockdown_officer;
CREATE FUNCTION pg_temp.people() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM lockdown_person';
GRANT EXECUTE ON FUNCTION pg_temp.people() TO lockdown_reader;
SELECT pg_temp.people();
SET SESSION AUTHORIZATION lockdown_reader;
SELECT pg_temp.people();
-- Nobody else may.
SELECT * FROM ward.lockdown('mine');
SELECT * FROM ward.lift_lockdown('mine');
SELECT * FROM ward.lockdown_state;

-- Lifted, though the transaction is rolled back; keys stay frozen.
SET SESSION AUTHORIZATION lockdown_officer;
BEGIN;
SELECT * FROM ward.lift_lockdown('the drill is over') WHERE action <> 'key' OR target LIKE 'lockdown.%';
ROLLBACK;
SET SESSION AUTHORIZATION lockdown_reader;
SELECT * FROM lockdown_person ORDER BY id;

-- A role, with its members; also within a group that was named before.
SET SESSION AUTHORIZATION lockdown_officer;
SELECT * FROM ward.lockdown('a role in wrong hands', reads => false, roles => '{lockdown_team}', keys => '{lockdown.one,lockdown.two}');
SELECT active, reads, roles, clients, by, reason FROM ward.lockdown_state;
SELECT count(*) FROM lockdown_person;
SET SESSION AUTHORIZATION lockdown_reader;
SELECT count(*) FROM lockdown_person;
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM lockdown_person;
SET ROLE lockdown_reader;
SELECT count(*) FROM lockdown_person;
RESET ROLE;
-- Superusers are officers only where they were made one.
SELECT action, target, outcome FROM ward.lockdown('all of them', clients => '{192.0.2.0/24}');
SELECT count(*) FROM lockdown_person;
SELECT active, reads, roles, clients, reason FROM ward.lockdown_state;
SELECT * FROM ward.lift_lockdown('over') WHERE action <> 'key' OR target LIKE 'lockdown.%';
SELECT count(*) FROM lockdown_person;

SELECT ward.sync() > 0 AS synced;
SELECT kind, detail ->> 'reason' AS reason, detail ->> 'roles' AS roles FROM ward.events
 WHERE kind LIKE 'guard.lockdown%' ORDER BY position;
SELECT detail ->> 'sqlstate' AS sqlstate, count(*) > 3 AS refused FROM ward.events
 WHERE kind = 'statement.refused' AND detail ->> 'sqlstate' = 'WD530' GROUP BY 1;
SELECT message, count(*) FROM ward.alerts WHERE kind = 'lockdown' GROUP BY 1 ORDER BY 1;
SELECT ward.thaw_key(name, 'over') FROM ward.keys WHERE name LIKE 'lockdown.%';
DROP FUNCTION pg_temp.people();
DROP TABLE lockdown_visit, lockdown_person, lockdown_other;
DROP ROLE lockdown_officer, lockdown_team, lockdown_reader;
