--
-- Subjects whose keys are no integers: uuid, text, sealed text. The trail's sets hold
-- numbers; its dictionary says what these stand for, also of people deleted since.
--
SELECT ward.create_key('watch.keys');
CREATE TABLE guest (id uuid PRIMARY KEY, name text);
CREATE TABLE stay (id int PRIMARY KEY, guest_id uuid, room int);
INSERT INTO guest SELECT ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'g' || i FROM generate_series(1, 9) i;
INSERT INTO stay SELECT i, ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, i FROM generate_series(1, 9) i;
CREATE TABLE citizen (national_id text PRIMARY KEY, name varchar(20));
INSERT INTO citizen SELECT 'N' || i, 'c' || i FROM generate_series(1, 9) i;
CREATE TABLE visa (id int PRIMARY KEY, holder varchar(20));
INSERT INTO visa SELECT i, 'N' || i FROM generate_series(1, 9) i;
CREATE TABLE passport (id int PRIMARY KEY, holder sealed_text('watch.keys'));
INSERT INTO passport SELECT i, 'N' || i FROM generate_series(1, 9) i;

\set SHOW_CONTEXT never
SELECT ward.watch('guest', 'id', 'guest');
SELECT ward.watch('stay', 'guest_id', 'guest');
SELECT ward.watch('citizen', 'national_id', 'citizen', key => 'watch.keys');
SELECT ward.watch('visa', 'holder', 'citizen');
SELECT ward.watch('passport', 'holder', 'citizen');
SELECT relation, subject, class, key FROM ward.watches WHERE class IN ('guest', 'citizen') ORDER BY 1;

-- one kind of key and one sealing key in a class; a key for text alone
SELECT ward.create_key('watch.other');
SELECT ward.create_key('watch.mute', search => 'none');
CREATE TABLE misfit (id int, code numeric, name text, hidden sealed_text('watch.mute'), insensitive text);
SELECT ward.watch('misfit', 'id', 'guest');
SELECT ward.watch('misfit', 'name', 'citizen', key => 'watch.other');
SELECT ward.watch('misfit', 'id', 'misfit', key => 'watch.keys');
SELECT ward.watch('misfit', 'name', 'misfit', key => 'watch.nothing');
SELECT ward.watch('misfit', 'name', 'misfit', key => 'watch.mute');
SELECT ward.watch('misfit', 'hidden', 'misfit');
SELECT ward.watch('misfit', 'hidden', 'misfit', key => 'watch.keys');
SELECT ward.watch('misfit', 'code', 'misfit');
DROP TABLE misfit;

CREATE FUNCTION pg_temp.who(mark text, class text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(regexp_replace(subject, '^.*-0*([^0])', '\1') || CASE verdict WHEN 'possible' THEN '?' ELSE '' END, ' ' ORDER BY subject)
	FROM ward.breach_scope(tstzrange(now() - interval '1 hour', NULL), actors => ARRAY[mark], subject_class => class)
$$;

SET ward.actor = 'keys 1';
SELECT name FROM guest WHERE id = '00000000-0000-4000-8000-000000000003';
SELECT room FROM stay WHERE id = 4;
SELECT count(*) FROM guest;
SELECT name FROM citizen WHERE national_id = 'N5';
SELECT id FROM visa WHERE id = 6;
SELECT id FROM passport WHERE id = 7;
-- a join, an update, a delete and an insert
SET ward.actor = 'keys 2';
SELECT g.name, s.room FROM guest g JOIN stay s ON s.guest_id = g.id WHERE s.room = 2;
UPDATE citizen SET name = 'new' WHERE national_id = 'N1';
INSERT INTO visa VALUES (10, 'N10');
DELETE FROM citizen WHERE national_id = 'N8';
SELECT name FROM citizen ORDER BY name LIMIT 1;
SET ward.actor = 'keys 3';
SELECT length(holder) / 0 FROM visa WHERE id = 3;
SELECT 1 / (room - 5) FROM stay WHERE id = 5;
RESET ward.actor;

-- Nobody's key stands in the trail in clear but the uuids.
CREATE FUNCTION pg_temp.trail_has(what bytea) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM pg_ls_dir((SELECT directory FROM ward.trail_status)) f
	WHERE f LIKE '%.trail' AND position(what IN pg_read_binary_file((SELECT directory FROM ward.trail_status) || '/' || f)) > 0
$$;
SELECT pg_temp.trail_has('N10') AS text_in_trail, pg_temp.trail_has('\x00000000000040008000000000000003') > 0 AS uuid_in_trail;

-- Without the right to open texts are armored; with it they are named.
SELECT pg_temp.who('keys 1', 'guest') AS guests;
SELECT subject LIKE '\\sealed:%' AS armored, subject_id, verdict FROM ward.breach_scope(tstzrange(now() - interval '1 hour', NULL), actors => '{keys 1}', subject_class => 'citizen');
SELECT ward.grant_unseal('watch.keys', current_user, 'test');
SELECT pg_temp.who('keys 1', 'citizen') AS citizens;
SELECT pg_temp.who('keys 2', 'guest') AS guests, pg_temp.who('keys 2', 'citizen') AS citizens;
SELECT pg_temp.who('keys 3', 'guest') AS guests, pg_temp.who('keys 3', 'citizen') AS citizens;
SELECT verdict, people FROM ward.breach_summary(tstzrange(now() - interval '1 hour', NULL), actors => '{keys 1}', subject_class => 'citizen');

-- One person's history, by the key, by armor.
SELECT actor, relation, verdict, manner FROM ward.subject_history('guest', '00000000-0000-4000-8000-000000000004') WHERE actor = 'keys 1' ORDER BY first_position;
SELECT actor, relation, verdict, manner FROM ward.subject_history('citizen', 'N8') WHERE actor = 'keys 2' ORDER BY first_position;
SELECT ward.revoke_unseal('watch.keys', current_user, 'test');
SELECT count(DISTINCT h.relation) AS by_armor FROM ward.breach_scope(tstzrange(now() - interval '1 hour', NULL), actors => '{keys 1}', subject_class => 'citizen') s,
	ward.subject_history('citizen', s.subject) h WHERE h.actor = 'keys 1';
SELECT * FROM ward.subject_history('guest', 'nobody');

-- A person deleted since is still named; so is everybody of a path that names nobody,
-- though the trail had never met them.
DELETE FROM guest WHERE id = '00000000-0000-4000-8000-000000000003';
CREATE TABLE lodger (id uuid PRIMARY KEY);
SELECT ward.watch('lodger', 'id', 'lodger');
SET ward.capture = off;
INSERT INTO lodger SELECT ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid FROM generate_series(20, 21) i;
RESET ward.capture;
SET ward.actor = 'keys 4';
ALTER TABLE lodger ALTER COLUMN id SET NOT NULL;
RESET ward.actor;
SELECT pg_temp.who('keys 1', 'guest') AS guests, pg_temp.who('keys 4', 'lodger') AS lodgers;
-- The index is derived: the dictionary comes back with it.
SELECT count(*) AS keys FROM _ward.subject_key WHERE class IN ('guest', 'citizen') \gset
SELECT ward.rebuild_index() IS NOT NULL AS rebuilt;
SELECT ward.sync() IS NOT NULL AS synced;
SELECT count(*) = :keys AS same FROM _ward.subject_key WHERE class IN ('guest', 'citizen');
SELECT pg_temp.who('keys 1', 'guest') AS guests;

-- The same key again is not written again.
SELECT records AS before FROM ward.trail_status \gset
SELECT name FROM citizen WHERE national_id = 'N5';
SELECT records - :before AS records FROM ward.trail_status;

-- Where the key for sealing can't be used, whoever reads gets an error, and no rows.
SELECT ward.freeze_key('watch.keys', 'test');
SELECT name FROM citizen WHERE national_id = 'N5';
\set SHOW_CONTEXT errors
SELECT count(*) FROM visa;
\set SHOW_CONTEXT never
SELECT count(*) FROM guest;
SELECT people FROM ward.breach_summary(tstzrange(now() - interval '1 hour', NULL), actors => '{keys 1}', subject_class => 'citizen');
SELECT ward.thaw_key('watch.keys', 'test');
SELECT name FROM citizen WHERE national_id = 'N5';

-- Two keys with one number: both are named.
INSERT INTO guest VALUES ('00000000-0000-0000-0000-000000000077', 'a'), ('00000000-0000-0077-0000-000000000000', 'b');
SET ward.actor = 'keys 5';
SELECT name FROM guest WHERE id = '00000000-0000-0000-0000-000000000077';
SELECT room FROM stay WHERE id = 9;
RESET ward.actor;
SELECT pg_temp.who('keys 5', 'guest') AS both_and_another;

-- The column may be sealed, its people stay who they are.
SELECT ward.protect('visa', 'holder', key => 'watch.keys');
SET ward.actor = 'keys 7';
SELECT id FROM visa WHERE id = 6;
RESET ward.actor;
SELECT ward.grant_unseal('watch.keys', current_user, 'test');
SELECT pg_temp.who('keys 7', 'citizen') AS same_person;
SELECT ward.revoke_unseal('watch.keys', current_user, 'test');
DROP TABLE guest, stay, citizen, visa, passport, lodger;
