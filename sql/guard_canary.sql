-- Canaries: who may set them, who learns which they are, and what raises an alert.
CREATE ROLE canary_officer IN ROLE ward_officer;
CREATE ROLE canary_auditor IN ROLE ward_auditor;
CREATE ROLE canary_reader;
CREATE ROLE canary_backup;
CREATE TABLE canary_person (id int PRIMARY KEY, name text);
INSERT INTO canary_person SELECT i, 'n' || i FROM generate_series(1, 100) i;
CREATE TABLE canary_case (person int, note text);
INSERT INTO canary_case VALUES (7, 'x'), (8, 'y');
CREATE TABLE canary_unwatched (id int);
CREATE TABLE canary_uuid (id uuid PRIMARY KEY);
INSERT INTO canary_uuid SELECT ('00000000-0000-0000-0000-00000000000' || i)::uuid FROM generate_series(1, 3) i;
GRANT ALL ON canary_person, canary_case, canary_uuid TO canary_officer, canary_auditor, canary_reader, canary_backup;
SELECT ward.watch('canary_person', 'id', 'canaries');
SELECT ward.watch('canary_case', 'person', 'canaries');
SELECT ward.watch('canary_uuid', 'id', 'canary_uuid');
SELECT ward.sync() > 0 AS synced;
SELECT coalesce(max(id), 0) AS before FROM ward.alerts \gset
SELECT ward.create_key('canary.key', make_default => false);

SET SESSION AUTHORIZATION canary_reader;
EXPLAIN (COSTS off) SELECT * FROM canary_person WHERE id = 7;

SET SESSION AUTHORIZATION canary_officer;
SELECT ward.canary('canary_person', NULL);
SELECT ward.canary('canary_person', '7', 'shout');
SELECT ward.canary('canary_person', '7', 'freeze_key');
SELECT ward.canary('canary_person', '7', 'freeze_key', 'canary.none');
SELECT ward.canary('canary_person', '7', key => 'canary.key');
SELECT ward.canary('canary_person', '7', exempt => '{canary_none}');
SELECT ward.canary('canary_person', 'seven');
SELECT ward.canary('canary_unwatched', '7');
SELECT ward.drop_canary(-1, 'x');
SELECT ward.canary('canary_person', '7', exempt => '{canary_backup}') AS seven \gset
SELECT ward.canary('canary_person', '7', exempt => '{canary_backup}') = :seven AS same;
SELECT ward.canary('canary_uuid', '00000000-0000-0000-0000-000000000002') AS two \gset
SELECT target, class, subject, on_read, key, exempt, added_by FROM ward.canaries WHERE id = :seven;

-- Nobody else learns which.
SET SESSION AUTHORIZATION canary_auditor;
SELECT * FROM ward.canaries;
SELECT ward.canary('canary_person', '8');
SELECT ward.drop_canary(1, 'x');
SELECT ward.sync() > 0 AS synced;
SELECT kind, detail - 'canary' AS detail FROM ward.events
 WHERE kind = 'guard.canary_added' AND (detail ->> 'canary')::int IN (:seven, :two) ORDER BY position;

SET SESSION AUTHORIZATION canary_reader;
SELECT * FROM ward.canaries;
SELECT * FROM _ward.canary;
EXPLAIN (COSTS off) SELECT * FROM canary_person WHERE id = 7;
-- What raises none.
SELECT * FROM canary_person WHERE id = 8;
SELECT count(*) FROM canary_person;
SELECT EXISTS (SELECT FROM canary_person WHERE id = 7);
INSERT INTO canary_case VALUES (7, 'z');
SET SESSION AUTHORIZATION canary_backup;
SELECT name FROM canary_person WHERE id = 7;
RESET SESSION AUTHORIZATION;
ANALYZE canary_person;
SELECT ward.sync() > 0 AS synced;
SELECT count(*) FROM ward.alerts WHERE id > :before;
-- What does: each of these in a session of its own, as one session raises one in ten seconds.
SET SESSION AUTHORIZATION canary_reader;
\set VERBOSITY terse
SELECT name FROM canary_person WHERE id = 7;
\c -
SET SESSION AUTHORIZATION canary_reader;
BEGIN;
SELECT note FROM canary_case WHERE person = 7;
ROLLBACK;
\c -
SET SESSION AUTHORIZATION canary_reader;
SELECT max(name) FROM canary_person WHERE id IN (6, 7);
\c -
SET SESSION AUTHORIZATION canary_reader;
UPDATE canary_person SET name = name WHERE id = 7;
\c -
SET SESSION AUTHORIZATION canary_reader;
SELECT 1 / (id - 7) FROM canary_person WHERE id IN (6, 7) ORDER BY id;
SELECT id FROM canary_person WHERE id BETWEEN 5 AND 7;
\c -
SET SESSION AUTHORIZATION canary_reader;
SELECT count(*) FROM (SELECT * FROM canary_uuid WHERE id = '00000000-0000-0000-0000-000000000002' OFFSET 0) x;
\c -
SET SESSION AUTHORIZATION canary_reader;
DO $$ BEGIN PERFORM * FROM canary_uuid WHERE id = '00000000-0000-0000-0000-000000000002'; RAISE EXCEPTION 'caught'; EXCEPTION WHEN raise_exception THEN NULL; END $$;
RESET SESSION AUTHORIZATION;
SELECT ward.sync() > 0 AS synced;
SELECT message, role = session_user AS login, detail ->> 'relation' AS relation, detail ->> 'on_read' AS on_read
  FROM ward.alerts WHERE id > :before ORDER BY id;
SELECT ward.drop_canary(:seven, 'over'), ward.drop_canary(:two, 'over');
SELECT name FROM canary_person WHERE id = 7;
SELECT ward.sync() > 0 AS synced;
SELECT count(*) FROM ward.alerts WHERE id > :before;
SELECT count(*) FROM ward.canaries;
DROP TABLE canary_person, canary_case, canary_unwatched, canary_uuid;
DROP ROLE canary_officer, canary_auditor, canary_reader, canary_backup;
