-- Limits on how many different people somebody is shown: what counts, what is refused.
\set SHOW_CONTEXT never
\set VERBOSITY terse
CREATE ROLE limit_workers;
CREATE ROLE limit_alice IN ROLE limit_workers;
CREATE ROLE limit_bob;
CREATE ROLE limit_officer IN ROLE ward_officer;
CREATE ROLE limit_replica REPLICATION;
CREATE TABLE limited (id int PRIMARY KEY, name text, city text);
INSERT INTO limited SELECT i, 'name ' || i, 'city ' || i % 3 FROM generate_series(1, 200) i;
CREATE TABLE limited_visit (id int PRIMARY KEY, person int REFERENCES limited, note text);
INSERT INTO limited_visit SELECT i, 1 + i % 200, 'note' FROM generate_series(1, 400) i;
SELECT ward.watch('limited', 'id', 'limited');
SELECT ward.watch('limited_visit', 'person', 'limited');
GRANT SELECT, INSERT, UPDATE ON limited, limited_visit TO limit_alice, limit_bob, limit_officer;

-- Refused as a definition.
SELECT ward.limit('l', 'limited', 10, '1 hour', by => 'table');
SELECT ward.limit('l', 'limited', 10, '1 hour', on_excess => 'shout');
SELECT ward.limit('l', 'limited', -1, '1 hour');
SELECT ward.limit('l', 'limited', 10, '1 ms');
SELECT ward.limit('l', 'limited', 10, '1 hour', applies_to => '{}');
SELECT ward.limit('l', 'limited', 10, '1 hour', applies_to => '{limit_nobody}');
SELECT ward.limit(NULL, 'limited', 10, '1 hour');
SELECT ward.drop_limit('l');
\set VERBOSITY default
SELECT ward.limit('l', 'limited', 10, '1 hour', applies_to => '{ward_officer}');
SELECT ward.limit('l', 'limited', 10, '1 hour', applies_to => '{limit_officer}');
SELECT ward.limit('l', 'limited', 10, '1 hour', applies_to => '{limit_replica}');
\set VERBOSITY terse

SET ROLE limit_bob;
SELECT ward.limit('l', 'limited', 10, '1 hour');
SELECT * FROM ward.limit_use;
RESET ROLE;
SET ROLE limit_officer;
SELECT ward.limit('hourly', 'limited', 10, '1 hour', applies_to => '{limit_workers}');
SELECT name, class, at_most, per, by, applies_to, on_excess, manner, made_by = session_user AS by_me FROM ward.limits;
RESET ROLE;

-- The same people all day long: one file, the same ten, by key, join and condition.
SET ROLE limit_alice;
SELECT name FROM limited WHERE id = 1;
SELECT count(*) FROM (SELECT name FROM limited, generate_series(1, 100) WHERE id <= 5 OFFSET 0) x;
SELECT id, name FROM limited WHERE id <= 10 ORDER BY id;
SELECT id, name FROM limited WHERE id <= 10 ORDER BY name DESC;
SELECT v.id, v.note FROM limited_visit v WHERE v.person BETWEEN 3 AND 5 ORDER BY v.id;
-- One more person.
SELECT name FROM limited WHERE id = 11;
SELECT note FROM limited_visit WHERE person = 11;
SELECT id FROM limited;
SELECT json_agg(name) FROM limited;
SELECT (SELECT name FROM limited WHERE id = 11);
COPY (SELECT name FROM limited WHERE id = 11) TO STDOUT;
COPY limited TO STDOUT;
INSERT INTO limited_visit SELECT 1000 + id, id, 'copied' FROM limited WHERE id = 11;
-- A large aggregate tells nothing of anybody, a small one of each.
SELECT count(*), max(name) FROM limited;
SELECT city, count(*) FROM limited GROUP BY city ORDER BY city;
SELECT max(name) FROM limited WHERE id = 12;
-- Neither do writes show anybody.
UPDATE limited SET city = 'moved' WHERE id > 100;
-- Unless they return.
UPDATE limited SET city = 'moved' WHERE id = 100 RETURNING name;
-- The message: which limit, how many, since when, whom to ask; nobody's key.
\set VERBOSITY default
DO $$
DECLARE
	m text; d text; h text;
BEGIN
	PERFORM name FROM limited WHERE id = 150;
EXCEPTION WHEN SQLSTATE 'WD501' THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	RAISE NOTICE '% | % | %', m, regexp_replace(d, 'from \d\d.*\.$', 'from WHEN.'), h;
END
$$;
\set VERBOSITY terse
-- Who was shown before is shown again.
SELECT name FROM limited WHERE id = 10;
RESET ROLE;
-- Others are not limited; officers never are, and not who made the cluster.
SET ROLE limit_bob;
SELECT count(*) FROM (SELECT name FROM limited OFFSET 0) x;
RESET ROLE;
SET ROLE limit_officer;
SELECT count(*) FROM (SELECT name FROM limited OFFSET 0) x;
RESET ROLE;
SELECT name, by, principal, people, remaining, reserved, first_free_at BETWEEN now() + '50 minutes' AND now() + '70 minutes' AS soon
  FROM ward.limit_use ORDER BY name, principal;

-- Stopped at the row that crosses it: what came before has left.
SELECT ward.limit('hourly', 'limited', 25, '1 hour', applies_to => '{limit_workers}');
SET ROLE limit_alice;
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM limited ORDER BY id;
FETCH 20 FROM c \g /dev/null
FETCH 10 FROM c;
ROLLBACK;
SELECT id FROM limited WHERE id BETWEEN 18 AND 26 ORDER BY id;
RESET ROLE;
SELECT name, principal, people, remaining, reserved FROM ward.limit_use ORDER BY name, principal;
-- A function's loop, and one that catches the error: what it was shown counts.
SELECT ward.limit('hourly', 'limited', 50, '1 hour', applies_to => '{limit_workers}');
SET ROLE limit_alice;
DO $$
DECLARE
	n int := 0;
	r record;
BEGIN
	BEGIN
		FOR r IN SELECT name FROM limited WHERE id > 10 ORDER BY id LOOP
			n := n + 1;
		END LOOP;
	EXCEPTION WHEN SQLSTATE 'WD501' THEN
		RAISE NOTICE 'stopped after %', n;
	END;
END
$$;
RESET ROLE;
SELECT name, principal, people, remaining, reserved FROM ward.limit_use ORDER BY name, principal;

-- The strictest of several, each with its own count.
SELECT ward.limit('hourly', 'limited', 100, '1 hour', applies_to => '{limit_workers}');
SELECT ward.limit('daily', 'limited', 70, '1 day');
SET ROLE limit_alice;
SELECT id FROM limited WHERE id > 69 AND id < 73 ORDER BY id;
RESET ROLE;
SELECT name, principal, people, remaining FROM ward.limit_use ORDER BY name, principal;
SELECT ward.drop_limit('daily');
SET ROLE limit_alice;
SELECT count(*) FROM (SELECT id FROM limited WHERE id BETWEEN 70 AND 80 OFFSET 0) x;
RESET ROLE;

-- A limit of a transaction that is undone never was.
BEGIN;
SELECT ward.limit('none', 'limited', 0, '1 hour');
SET LOCAL ROLE limit_bob;
SELECT name FROM limited WHERE id = 1;
ROLLBACK;
SET ROLE limit_bob;
SELECT name FROM limited WHERE id = 1;
RESET ROLE;
SELECT ward.limit('none', 'limited', 0, '1 hour', applies_to => '{limit_bob}');
SET ROLE limit_bob;
SELECT name FROM limited WHERE id = 1;
SELECT name FROM limited WHERE id = 0;
RESET ROLE;

-- It is in the trail, and no key of a person in it.
SELECT ward.sync() IS NOT NULL AS synced;
SELECT kind, detail ->> 'limit' AS name, detail ->> 'principal' AS principal, detail ->> 'at_most' AS at_most, count(*)
  FROM ward.events WHERE kind LIKE 'limit.%' AND detail ->> 'limit' IN ('hourly', 'daily', 'none') GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4;
SELECT ward.drop_limit('hourly');
SELECT ward.drop_limit('none');
SELECT count(*) FROM ward.limits;
DROP TABLE limited_visit, limited;
DROP ROLE limit_alice, limit_bob, limit_officer, limit_replica, limit_workers;
