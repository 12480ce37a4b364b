-- Kinds of limits: by session, actor and client; in clear and as ciphertext; that only tell;
-- people by other keys; what is shown in other ways than by rows.
\set SHOW_CONTEXT never
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE ROLE limit_reader;
CREATE ROLE limit_blind;
SELECT ward.create_key('limit.key');
SELECT ward.grant_unseal('limit.key', 'limit_reader', 'test');
CREATE TABLE kinds (id int PRIMARY KEY, name sealed_text('limit.key'), city text, tag text);
GRANT SELECT, INSERT, UPDATE, DELETE ON kinds TO limit_reader, limit_blind;
SELECT ward.grant_unseal('limit.key', session_user, 'test');
INSERT INTO kinds SELECT i, 'name ' || i, 'city ' || i % 3, 'tag ' || i FROM generate_series(1, 300) i;
ANALYZE kinds;
SELECT ward.watch('kinds', 'id', 'kinds');

-- In clear and as ciphertext.
SELECT ward.limit('clear', 'kinds', 5, '1 hour', applies_to => '{limit_reader,limit_blind}', manner => 'clear');
SELECT ward.limit('sealed', 'kinds', 20, '1 hour', applies_to => '{limit_reader,limit_blind}', manner => 'ciphertext');
SET ROLE limit_reader;
SELECT name FROM kinds WHERE id <= 5 ORDER BY id;
SELECT name FROM kinds WHERE id = 6;
SELECT id FROM kinds WHERE name = 'name 3';
RESET ROLE;
SELECT name, principal, people, reserved FROM ward.limit_use ORDER BY name, principal;
SET ROLE limit_blind;
SELECT name FROM kinds WHERE id <= 20 \g /dev/null
SELECT name IS NOT NULL FROM kinds WHERE id = 21;
SELECT city FROM kinds WHERE id <= 5 ORDER BY id;
SELECT city FROM kinds WHERE id = 6;
RESET ROLE;
SELECT name, principal, people, reserved FROM ward.limit_use ORDER BY name, principal;
SELECT ward.drop_limit('clear');
SELECT ward.drop_limit('sealed');

-- By session and by actor: of an actor without a name, too.
SELECT ward.limit('session', 'kinds', 60, '1 hour', by => 'session', applies_to => '{limit_blind}');
SELECT ward.limit('actor', 'kinds', 10, '1 hour', by => 'actor', applies_to => '{limit_blind}');
SELECT ward.limit('client', 'kinds', 70, '1 hour', by => 'client', applies_to => '{limit_blind}');
SET ROLE limit_blind;
SELECT city FROM kinds WHERE id <= 10 \g /dev/null
SET ward.actor = 'carol';
SELECT city FROM kinds WHERE id BETWEEN 101 AND 110 \g /dev/null
SELECT city FROM kinds WHERE id = 111;
SELECT city FROM kinds WHERE id = 112 /* actor='dave' */;
RESET ward.actor;
RESET ROLE;
SELECT name, by, CASE WHEN by = 'session' THEN 'mine' ELSE principal END AS principal, people FROM ward.limit_use ORDER BY name, principal;
SELECT ward.drop_limit('session');
SELECT ward.drop_limit('actor');
SELECT ward.drop_limit('client');

-- Limits that tell, once, and go on.
SET ward.limit_delay = '1ms';
SELECT ward.limit('tells', 'kinds', 30, '1 hour', applies_to => '{limit_blind}', on_excess => 'alert');
SELECT ward.limit('slows', 'kinds', 140, '1 day', applies_to => '{limit_blind}', on_excess => 'delay');
SET ROLE limit_blind;
SELECT city FROM kinds WHERE id <= 150 \g /dev/null
SELECT city FROM kinds WHERE id <= 160 \g /dev/null
RESET ROLE;
SELECT name, principal, people, reserved FROM ward.limit_use ORDER BY name, principal;
RESET ward.limit_delay;
SELECT ward.sync() IS NOT NULL AS synced;
SELECT kind, detail ->> 'limit' AS name, detail ->> 'principal' AS principal, count(*)
  FROM ward.events WHERE kind = 'limit.exceeded' AND detail ->> 'class' = 'kinds' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT kind, detail ->> 'limit' AS name, count(*) FROM ward.alerts WHERE detail ->> 'class' = 'kinds' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT ward.drop_limit('tells');
SELECT ward.drop_limit('slows');

-- Groups of one are rows, also where they are hashed; so is what a change returns.
CREATE ROLE limit_sly;
GRANT SELECT, INSERT, UPDATE, DELETE ON kinds TO limit_sly;
SELECT ward.limit('sly', 'kinds', 10, '1 hour', applies_to => '{limit_sly}');
SET ROLE limit_sly;
SET enable_sort = off;
SELECT tag, max(city) FROM kinds GROUP BY tag;
SELECT DISTINCT tag FROM kinds;
COPY (SELECT tag, max(city) FROM kinds GROUP BY tag) TO STDOUT;
SELECT max(tag), 1 / (max(id) - 299) FROM kinds WHERE id = 299;
-- Who was refused has not been shown, and a function that catches the error keeps nothing.
SELECT tag FROM kinds WHERE id = 299;
SELECT tag FROM kinds WHERE id = 299;
DO $$
DECLARE
	r record;
	seen int := 0;
BEGIN
	BEGIN
		FOR r IN SELECT tag, max(city) FROM kinds WHERE id > 200 GROUP BY tag LOOP
			seen := seen + 1;
		END LOOP;
	EXCEPTION WHEN SQLSTATE 'WD501' THEN
		NULL;
	END;
	RAISE NOTICE 'a function went on after %', seen;
END
$$;
SET enable_sort = on;
SET enable_hashagg = off;
SELECT count(*) FROM (SELECT tag, max(city) FROM kinds WHERE id > 20 GROUP BY tag) x;
RESET enable_sort;
RESET enable_hashagg;
UPDATE kinds SET city = city WHERE id > 50 RETURNING tag;
DELETE FROM kinds WHERE id > 50 RETURNING tag;
INSERT INTO kinds SELECT id, NULL, city, tag FROM generate_series(51, 70) id, LATERAL (VALUES ('c', 't')) v(city, tag) ON CONFLICT (id) DO UPDATE SET city = kinds.city RETURNING kinds.tag;
WITH moved AS (UPDATE kinds SET city = city WHERE id > 50 RETURNING tag) SELECT * FROM moved;
-- Who makes people shows nobody.
INSERT INTO kinds (id, city) SELECT i, 'new' FROM generate_series(1001, 1020) i RETURNING id > 0 AS made \g /dev/null
UPDATE kinds SET city = 'moved' WHERE id > 1000;
RESET ROLE;
SELECT count(*) FROM kinds WHERE id > 1000;
SELECT ward.drop_limit('sly');

-- People by uuid.
CREATE TABLE kinds_uuid (id uuid PRIMARY KEY, n int);
INSERT INTO kinds_uuid SELECT md5(i::text)::uuid, i FROM generate_series(1, 50) i;
SELECT ward.watch('kinds_uuid', 'id', 'kinds.uuid');
GRANT SELECT ON kinds_uuid TO limit_sly;
SELECT ward.limit('uuid', 'kinds.uuid', 20, '1 hour');
SET ROLE limit_sly;
SELECT n FROM kinds_uuid WHERE n <= 20 \g /dev/null
SELECT n FROM kinds_uuid WHERE n = 21;
SELECT n FROM kinds_uuid WHERE n = 20;
RESET ROLE;
SELECT name, principal, people, reserved FROM ward.limit_use ORDER BY name, principal;

-- It slides: who was shown stops to count.
SELECT ward.limit('uuid', 'kinds.uuid', 20, '6 seconds');
SET ROLE limit_sly;
SELECT 1 FROM pg_sleep(7);
SELECT n FROM kinds_uuid WHERE n > 30 \g /dev/null
SELECT n FROM kinds_uuid WHERE n = 1;
SELECT 1 FROM pg_sleep(7);
SELECT n FROM kinds_uuid WHERE n = 1;
RESET ROLE;
SELECT name, principal, people, reserved FROM ward.limit_use ORDER BY name, principal;
SELECT ward.drop_limit('uuid');
DROP TABLE kinds, kinds_uuid;
SELECT ward.revoke_unseal('limit.key', session_user, 'end of test');
SELECT ward.revoke_unseal('limit.key', 'limit_reader', 'end of test');
DROP OWNED BY limit_reader, limit_blind, limit_sly;
DROP ROLE limit_reader, limit_blind, limit_sly;
