-- Search by substring: LIKE and ILIKE by an index over keyed trigrams.
SELECT ward.create_key('substring.wrong', search => 'prefix');
SELECT ward.create_key('substring.default', make_default => true);
SELECT ward.create_key('substring.key', search => 'substring');
CREATE ROLE substring_reader;
CREATE ROLE substring_blind;
SELECT ward.grant_unseal('substring.key', 'substring_reader', 'test');

CREATE TABLE person (id int PRIMARY KEY, name text, born date);
GRANT SELECT, INSERT, UPDATE, DELETE ON person TO substring_reader, substring_blind;
INSERT INTO person SELECT i, 'person ' || md5(i::text), '2000-01-01' FROM generate_series(1, 3000) i;
INSERT INTO person (id, name) VALUES (-1, NULL), (-2, ''), (-3, 'ab'), (-4, 'abc'), (-5, 'Ábel Ünal'), (-6, '100% _sure_ \o/'),
	(-7, 'Élodie'), (-8, repeat('very long ', 30000) || 'needle');

-- The plan says what comes; other types than text have no substrings.
SELECT object, action, what_to_do FROM ward.protect_plan('person', 'name', 'substring.key');
SELECT object, action, what_to_do FROM ward.protect_plan('person', 'born', 'substring.key');
SELECT ward.protect('person', 'name', 'substring.key');
SELECT ward.protect('person', 'name', 'substring.default', search => 'substring');
SELECT ward.protect('person', 'name', 'substring.key', search => 'substring');
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'person'::regclass AND NOT indisprimary;
ANALYZE person;

-- The index is used, and no plan holds the pattern.
CREATE FUNCTION substring_plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		RETURN NEXT regexp_replace(regexp_replace(line, '\\+sealed:[A-Za-z0-9+/=]+', '(sealed)', 'g'), '\$1, \d+', '$1, (key)', 'g');
	END LOOP;
END $$;
SET ROLE substring_reader;
SELECT substring_plan($$SELECT id FROM person WHERE name LIKE '%c4ca4%'$$);
SELECT substring_plan($$SELECT id FROM person WHERE name ILIKE 'PERSON c4ca4%'$$);
SELECT substring_plan($$SELECT id FROM person WHERE name::text LIKE '%c4' || 'ca4%'$$);
SELECT substring_plan($$SELECT id FROM person WHERE name LIKE '%c4!_ca4%' ESCAPE '!'$$);
SELECT substring_plan($$SELECT id FROM person WHERE name LIKE '%c4ca4%' AND id > 0 OR name = 'abc'$$);
-- Too short for a trigram: a scan is cheaper.
SELECT substring_plan($$SELECT id FROM person WHERE name LIKE '%ab%'$$);
-- A pattern that differs from row to row is matched on opened text.
SELECT substring_plan($$SELECT id FROM person WHERE name LIKE id || '%'$$);
-- Another collation than the index's: not by the index.
SELECT substring_plan($$SELECT id FROM person WHERE name ILIKE '%c4ca4%' COLLATE "POSIX"$$);

SELECT id FROM person WHERE name LIKE '%c4ca4%';
SELECT id FROM person WHERE name ILIKE 'PERSON C4CA4%';
SELECT id FROM person WHERE name LIKE 'PERSON C4CA4%';
SELECT count(*) FROM person WHERE name NOT LIKE '%c4ca4%';
SELECT id FROM person WHERE name LIKE ANY (ARRAY['%c4ca4%', 'ab_']) ORDER BY id;
SELECT id FROM person WHERE name LIKE '%needle';
-- Also where the index has to be asked.
SET enable_seqscan = off;
SELECT id FROM person WHERE name LIKE '';
SELECT id FROM person WHERE name LIKE 'ab' ORDER BY id;
SELECT id FROM person WHERE name LIKE 'ab%' ORDER BY id;
SELECT id FROM person WHERE name LIKE '___' ORDER BY id;
SELECT id FROM person WHERE name LIKE 'a_c' ORDER BY id;
SELECT count(*) FROM person WHERE name LIKE '%';
SELECT count(*) FROM person WHERE name LIKE NULL;
SELECT id FROM person WHERE name LIKE '%Ünal';
SELECT id FROM person WHERE name LIKE '%bel _nal';
SELECT id FROM person WHERE name LIKE '%\% \_sure\_ \\o/';
SELECT id FROM person WHERE name LIKE '%!% !_sure!_ \o/' ESCAPE '!';
SELECT id FROM person WHERE name LIKE '100\%%' AND name LIKE '%sure%';
SELECT id FROM person WHERE name LIKE '%needle' AND name LIKE 'very%';
-- LIKE complains of it where it meets a row.
SELECT id FROM person WHERE name LIKE 'ab\';
RESET enable_seqscan;

-- Parameters, with a plan for any of them.
PREPARE by_pattern(text) AS SELECT count(*) FROM person WHERE name LIKE $1;
PREPARE by_part(text) AS SELECT id FROM person WHERE name ILIKE '%' || $1 || '%' ORDER BY id;
SET plan_cache_mode = force_generic_plan;
SELECT substring_plan($$EXECUTE by_pattern('%c4ca4%')$$);
EXECUTE by_pattern('%c4ca4%');
EXECUTE by_pattern('%nothing like it%');
EXECUTE by_pattern('%a%');
EXECUTE by_pattern(NULL);
EXECUTE by_part('C4CA4');
EXECUTE by_part('c81e7');
RESET plan_cache_mode;
EXECUTE by_part('C4CA4');
CREATE TEMP TABLE found (id int);
DO $$
DECLARE wanted text := '%c4ca4%';
BEGIN
	FOR i IN 1 .. 8 LOOP
		INSERT INTO found SELECT id FROM person WHERE name LIKE wanted;
	END LOOP;
END $$;
SELECT count(*) FROM found;
DROP TABLE found;

-- Rows that are written are found.
INSERT INTO person VALUES (4000, 'freshly written');
UPDATE person SET name = 'Freshly Changed' WHERE id = 1;
DELETE FROM person WHERE id = 2;
SELECT id FROM person WHERE name ILIKE '%freshly%' ORDER BY id;
SELECT id FROM person WHERE name LIKE '%c4ca4%' OR name LIKE '%c81e7%';
RESET ROLE;

-- Without the right: refused, also where nothing would be found, for that tells as much.
SET ROLE substring_blind;
SELECT id FROM person WHERE name LIKE '%c4ca4%';
SELECT id FROM person WHERE name LIKE '%nothing like it%';
SELECT id FROM person WHERE name LIKE '%zz%';
EXECUTE by_pattern('%nothing like it%');
SET enable_seqscan = off;
SELECT id FROM person WHERE name LIKE '%nothing like it%';
RESET enable_seqscan;
-- It may write, and what it writes is found.
INSERT INTO person VALUES (4001, 'written blind') RETURNING id;
UPDATE person SET born = '2001-01-01' WHERE id = 4001;
RESET ROLE;
SET ROLE substring_reader;
SELECT id FROM person WHERE name LIKE 'written bl%';
RESET ROLE;

-- What only looks like a pattern finds nothing, so it is refused; a pattern that was
-- read in a log is no way to its text.
SET enable_seqscan = off;
SET ROLE substring_reader;
SELECT id FROM person WHERE name OPERATOR(pg_catalog.~~#) 'c4ca4';
SELECT id FROM person WHERE name OPERATOR(pg_catalog.~~#) sealed_pattern('%4ca42%', (SELECT atttypmod FROM pg_attribute WHERE attrelid = 'person'::regclass AND attname = 'name'));
RESET enable_seqscan;
RESET ROLE;
\set VERBOSITY terse
DO $$
DECLARE armor text := format('%s', sealed_pattern('%secret%', (SELECT atttypmod FROM pg_attribute WHERE attrelid = 'person'::regclass AND attname = 'name')));
BEGIN
	RAISE NOTICE 'armored: %', armor LIKE '\\sealed:%';
	EXECUTE format('SELECT %L::sealed_text::text', armor);
END $$;
\set VERBOSITY default

-- Only keys that were made for it, and only by this operator class.
CREATE TABLE plain_key (x sealed_text('substring.default'));
CREATE INDEX ON plain_key USING gin (x);
CREATE INDEX ON plain_key USING gin (x sealed_text_trgm_ops);
INSERT INTO plain_key VALUES ('x');
DROP TABLE plain_key;

-- Views use the index; carried, they keep the pattern sealed.
CREATE VIEW found_view AS SELECT id FROM person WHERE name ILIKE '%FRESHLY%';
GRANT SELECT ON found_view TO substring_reader;
SET ROLE substring_reader;
SELECT substring_plan('SELECT * FROM found_view');
SELECT * FROM found_view ORDER BY id;
RESET ROLE;

-- A new version of the key: old and new values are found, also after sealing anew.
SELECT ward.rotate_key('substring.key', 'test');
SET ROLE substring_reader;
INSERT INTO person VALUES (4002, 'freshly rotated');
SELECT id FROM person WHERE name ILIKE '%freshly%' ORDER BY id;
RESET ROLE;
CALL ward.reseal('substring.key');
SELECT version, state, can_be_destroyed FROM ward.key_versions_in_use('substring.key');
SET ROLE substring_reader;
SELECT id FROM person WHERE name ILIKE '%freshly%' ORDER BY id;
RESET ROLE;
REINDEX TABLE person;
SET ROLE substring_reader;
SELECT id FROM person WHERE name ILIKE '%freshly%' ORDER BY id;
RESET ROLE;

-- A frozen key: no search, no new row, no index.
SELECT ward.freeze_key('substring.key', 'test');
SET ROLE substring_reader;
SELECT id FROM person WHERE name LIKE '%freshly%';
EXECUTE by_pattern('%freshly%');
INSERT INTO person VALUES (4003, 'frozen');
RESET ROLE;
REINDEX TABLE person;
SELECT ward.thaw_key('substring.key', 'test');
SET ROLE substring_reader;
EXECUTE by_pattern('freshly%');
RESET ROLE;

-- An index is no disclosure: rows that are written, and an index that is built, open
-- nothing; a search opens what it has to look at.
SELECT ward.watch('person', 'id');
SET ROLE substring_reader;
SET ward.actor = 'substring writes';
INSERT INTO person VALUES (4004, 'watched and unread');
SET ward.actor = 'substring searches';
SELECT id FROM person WHERE name LIKE 'watched and%';
RESET ward.actor;
RESET ROLE;
SELECT ward.sync() IS NULL AS synced;
SELECT actor, manner, columns_clear, columns_sealed, subjects FROM ward.disclosures WHERE actor LIKE 'substring%' ORDER BY 1 DESC, 2;
SELECT ward.unwatch('person', reason => 'test');

-- Back: the index goes.
SELECT ward.grant_unseal('substring.key', current_user::name, 'test');
SELECT ward.unprotect('person', 'name', 'test', dry_run => true);
SELECT ward.unprotect('person', 'name', 'test');
SELECT count(*) FROM pg_index WHERE indrelid = 'person'::regclass;
SELECT id FROM person WHERE name LIKE '%needle';
SELECT ward.protect('person', 'name', 'substring.key', search => 'substring');
SELECT count(*) FROM pg_rewrite WHERE ev_action::text LIKE '%FRESHLY%' OR pg_get_viewdef(ev_class) LIKE '%FRESHLY%';
SELECT substring_plan('SELECT * FROM found_view');
SELECT * FROM found_view ORDER BY id;

-- Partitions and children have the index, too.
CREATE TABLE parted (id int, name text) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (1000);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (1000) TO (2000);
CREATE TABLE child_of (id int, name text);
CREATE TABLE child (more int) INHERITS (child_of);
INSERT INTO parted SELECT i, 'person ' || md5(i::text) FROM generate_series(0, 1999) i;
INSERT INTO child SELECT i, 'person ' || md5(i::text), 1 FROM generate_series(0, 1999) i;
SELECT ward.protect('parted', 'name', 'substring.key', search => 'substring');
SELECT ward.protect('child_of', 'name', 'substring.key', search => 'substring');
ANALYZE parted, child_of, child;
SELECT indrelid::regclass, pg_get_indexdef(indexrelid) ~ 'gin .*sealed_text_trgm_ops' AS trigrams FROM pg_index
 WHERE indrelid IN ('parted'::regclass, 'parted_1'::regclass, 'parted_2'::regclass, 'child_of'::regclass, 'child'::regclass) ORDER BY 1;
SELECT substring_plan($$SELECT id FROM parted WHERE name LIKE '%c4ca4%'$$);
SELECT id FROM parted WHERE name LIKE '%c4ca4%' UNION ALL SELECT id FROM child_of WHERE name LIKE '%c4ca4%';
SELECT ward.unprotect('parted', 'name', 'test');
SELECT ward.unprotect('child_of', 'name', 'test');
SELECT indrelid::regclass FROM pg_index WHERE indrelid IN ('parted'::regclass, 'parted_1'::regclass, 'parted_2'::regclass, 'child_of'::regclass, 'child'::regclass);

DROP TABLE person, parted, child_of CASCADE;
DROP FUNCTION substring_plan;
DELETE FROM _ward.unseal_grant;
DROP ROLE substring_reader, substring_blind;
