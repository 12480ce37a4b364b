-- Destroying versions and keys: confirmed by name, refused while in use, final.
SELECT ward.create_key('destroy.other', make_default => false);
SELECT ward.create_key('destroy.k', make_default => true);
CREATE ROLE destroy_reader;
CREATE ROLE destroy_officer;
GRANT ward_officer TO destroy_officer;
SELECT ward.grant_unseal('destroy.k', 'destroy_reader', 'test');
CREATE TABLE destroyed (id int PRIMARY KEY, a sealed_text('destroy.k'));
GRANT SELECT, INSERT ON destroyed TO destroy_reader;
INSERT INTO destroyed VALUES (1, 'one'), (2, 'two');
CREATE VIEW destroyed_view AS SELECT id FROM destroyed WHERE a = 'one';
GRANT SELECT ON destroyed_view TO destroy_reader;
SELECT ward.rotate_key('destroy.k', 'test');
INSERT INTO destroyed VALUES (3, 'three');
CREATE TEMP TABLE before AS SELECT version, v.wrapped FROM _ward.key_version v JOIN _ward.key k ON k.id = v.key WHERE k.name = 'destroy.k';

SET ROLE destroy_officer;
SELECT ward.destroy_key_version('destroy.k', 1, NULL, 'test');
SELECT ward.destroy_key_version('destroy.k', 1, 'destroy', 'test');
SELECT ward.destroy_key_version('destroy.k', 1, 'destroy.k', '');
SELECT ward.destroy_key_version('destroy.k', 7, 'destroy.k', 'test');
SELECT ward.destroy_key_version('destroy.k', 2, 'destroy.k', 'test');
SELECT ward.destroy_key_version('destroy.k', 1, 'destroy.k', 'test');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT ward.destroy_key_version('destroy.k', 1, 'destroy.k', 'test', true);
ROLLBACK;
CALL ward.reseal('destroy.k');
-- The view's literal is left.
SELECT ward.destroy_key_version('destroy.k', 1, 'destroy.k', 'test');
RESET ROLE;
DO $$BEGIN EXECUTE 'CREATE OR REPLACE VIEW destroyed_view AS ' || pg_get_viewdef('destroyed_view'); END$$;
SET ROLE destroy_officer;
-- Undone with its transaction.
BEGIN;
SELECT ward.destroy_key_version('destroy.k', 1, 'destroy.k', 'test');
ROLLBACK;
SELECT version, state FROM ward.keys WHERE name = 'destroy.k' ORDER BY 1;
SELECT ward.destroy_key_version('destroy.k', 1, 'destroy.k', 'test');
SELECT ward.destroy_key_version('destroy.k', 1, 'destroy.k', 'test');
RESET ROLE;
SELECT version, state, v.wrapped = decode(repeat('00', 40), 'hex') AS overwritten, v.destroyed_at IS NOT NULL AS noted
  FROM _ward.key_version v JOIN _ward.key k ON k.id = v.key WHERE k.name = 'destroy.k' ORDER BY 1;
SELECT key, version, state FROM ward.kek_check() WHERE key = 'destroy.k';
-- No page of the table holds the old bytes.
CHECKPOINT;
SELECT b.version, position(b.wrapped IN pg_read_binary_file(pg_relation_filepath('_ward.key_version'))) > 0 AS on_disk
  FROM before b ORDER BY 1;
SET ROLE destroy_reader;
SELECT * FROM destroyed ORDER BY id;
SELECT * FROM destroyed_view;
RESET ROLE;

-- Forced: what is left under it is lost, and says so.
SELECT ward.rotate_key('destroy.k', 'test');
INSERT INTO destroyed VALUES (4, 'four');
SELECT ward.destroy_key_version('destroy.k', 2, 'destroy.k', 'test', force => true);
SET ROLE destroy_reader;
SELECT * FROM destroyed WHERE id = 4;
SELECT * FROM destroyed WHERE id = 3;
RESET ROLE;
-- Those without the right see armor still; only who may restore is believed with it.
SELECT format('%s', a) LIKE '\\sealed:%' AS armored FROM destroyed WHERE id = 3;
CREATE TEMP TABLE copied AS SELECT 5 AS id, format('%s', a) AS armor FROM destroyed WHERE id = 3;
GRANT SELECT ON copied TO destroy_reader;
SET ROLE destroy_reader;
DO $$BEGIN
	EXECUTE (SELECT format('INSERT INTO destroyed VALUES (5, %L)', armor) FROM copied);
EXCEPTION WHEN SQLSTATE 'WD211' THEN
	RAISE NOTICE '%', SQLERRM;
END$$;
RESET ROLE;
DO $$BEGIN EXECUTE (SELECT format('INSERT INTO destroyed VALUES (5, %L)', armor) FROM copied); END$$;
-- Look-ups go by the tags, which all versions share.
SELECT id FROM destroyed WHERE a = 'three' ORDER BY id;
CALL ward.reseal('destroy.k');
SELECT version, state, location, uses, advice FROM ward.key_versions_in_use('destroy.k');

-- A whole key.
SET ROLE destroy_officer;
SELECT ward.destroy_key('destroy.k', 'destroy', 'test');
SELECT ward.destroy_key('destroy.k', 'destroy.k', 'test');
SELECT ward.destroy_key('destroy.k', 'destroy.k', 'test');
SELECT version, state, is_default FROM ward.keys WHERE name = 'destroy.k' ORDER BY 1;
SELECT ward.rotate_key('destroy.k', 'test');
CALL ward.reseal('destroy.k');
RESET ROLE;
SELECT key, version, state FROM ward.kek_check() WHERE key = 'destroy.k';
-- It was the default key; the next one is.
SELECT ward.create_key('destroy.next');
SET ROLE destroy_reader;
SELECT * FROM destroyed WHERE id = 4;
INSERT INTO destroyed VALUES (6, 'six');
SELECT id FROM destroyed WHERE a = 'four';
RESET ROLE;
SELECT count(*) FROM destroyed x JOIN destroyed y USING (a) WHERE x.id = 4;
SELECT ward.sync() IS NOT NULL AS synced;
SELECT kind, detail ->> 'version' AS version, detail ->> 'forced' AS forced FROM ward.events
 WHERE kind LIKE 'key%destroyed' AND detail ->> 'key' = 'destroy.k' ORDER BY position;

DROP TABLE destroyed, copied CASCADE;
DELETE FROM _ward.key WHERE name LIKE 'destroy.%';
DROP ROLE destroy_reader;
DROP ROLE destroy_officer;
