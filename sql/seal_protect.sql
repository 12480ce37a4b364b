-- Protecting columns of a live table: what is checked before anything is looked at.
\set SHOW_CONTEXT never
SELECT ward.create_key('protect.key');
SELECT ward.create_key('protect.quiet', 'none');
CREATE TABLE live (id int PRIMARY KEY, name text NOT NULL, code varchar(20) UNIQUE, note text, kind text,
                   made text GENERATED ALWAYS AS (upper(note)) STORED, n point, tight char(3));
CREATE INDEX live_name_idx ON live (name, id);
CREATE INDEX live_lower ON live (lower(note));
INSERT INTO live (id, name, code, note) SELECT i, 'name ' || i, 'C' || i, 'note ' || i FROM generate_series(1, 100) i;
CREATE VIEW live_view AS SELECT kind FROM live;

SELECT ward.protect('live', 'name', 'protect.key');
SELECT ward.protect('live', 'code', 'protect.key');
SELECT * FROM ward.sealed_columns ORDER BY relation, column_name;
SELECT relname FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid WHERE indrelid = 'live'::regclass ORDER BY 1;
SELECT count(*) FROM live WHERE code = 'C7' AND name = 'name 7';
\set VERBOSITY terse
INSERT INTO live (id, name, code) VALUES (101, 'x', 'C7');
INSERT INTO live (id, name, code) VALUES (101, NULL, 'C101');
INSERT INTO live (id, name, code) VALUES (101, 'x', repeat('x', 21));
INSERT INTO live (id, name, code) VALUES (101, 'x', repeat('ü', 20));
\set VERBOSITY default

-- Refused.
SELECT ward.protect('live', 'name', 'protect.key');
SELECT ward.protect('live', 'note', 'protect.key');
SELECT ward.protect('live', 'made', 'protect.key');
SELECT ward.protect('live', 'n', 'protect.key');
SELECT ward.protect('live', 'tight', 'protect.key');
SELECT ward.protect('live', 'nothing', 'protect.key');
SELECT ward.protect('live', 'ctid', 'protect.key');
SELECT ward.protect('live', 'note', 'no key');
SELECT ward.protect('live', 'note', 'protect.quiet');
SELECT ward.protect('live', 'note', 'protect.key', 'substring');
SELECT ward.protect('live_view', 'kind', 'protect.key');
SELECT ward.protect('pg_class', 'relname', 'protect.key');
SELECT ward.protect('_ward.key', 'name', 'protect.key');
SELECT ward.protect(0, 'name', 'protect.key');
SELECT ward.protect(NULL, 'name', 'protect.key');
SELECT ward.protect('live', 'note', NULL);
SELECT ward.protect('live', 'note', 'protect.key', NULL);
SELECT ward.protect_plan('live', NULL, 'protect.key');
SELECT ward.protect_plan('live', 'note', 'no key');
-- The obstacles removed, it goes.
DROP INDEX live_lower;
ALTER TABLE live DROP COLUMN made;
SELECT ward.protect('live', 'note', 'protect.quiet', 'none');
SELECT count(*) FROM live WHERE note = 'note 7';
CREATE INDEX ON live (note);
-- A column that was there before, an empty table, a temporary one, a composite's.
CREATE TABLE live_empty (gone int, name text);
ALTER TABLE live_empty DROP COLUMN gone;
SELECT ward.protect('live_empty', 'gone', 'protect.key');
SELECT ward.protect('live_empty', 'name', 'protect.key');
CREATE TEMP TABLE live_temp AS SELECT 'x'::text AS name;
SELECT ward.protect('live_temp', 'name', 'protect.key');
CREATE TYPE live_type AS (name text);
CREATE TABLE live_typed OF live_type;
SELECT ward.protect('live_typed', 'name', 'protect.key');

-- Keys: bad names, twice the same, no reason.
SELECT ward.create_key('');
SELECT ward.create_key(NULL);
SELECT ward.create_key(E'a\nb');
SELECT ward.create_key(repeat('x', 100));
SELECT ward.create_key('protect.key');
SELECT ward.create_key('x', 'guess');
SELECT ward.grant_unseal('protect.key', 'nobody at all', 'r');
SELECT ward.grant_unseal('protect.key', current_user::name, '');
SELECT ward.grant_unseal('protect.key', current_user::name, 'r', '2000-01-01');
SELECT ward.revoke_unseal('protect.key', current_user::name, 'r');
SELECT ward.freeze_key('protect.key', '');
SELECT ward.freeze_key('no key', 'r');
SELECT name, version, state, search FROM ward.keys WHERE name LIKE 'protect%' ORDER BY name;
SELECT key, version, state FROM ward.kek_check() WHERE key LIKE 'protect%';

-- Only officers, who need not own the table.
CREATE ROLE protect_nobody;
SET ROLE protect_nobody;
SELECT ward.create_key('mine');
SELECT ward.protect('live', 'kind', 'protect.key');
SELECT ward.protect_plan('live', 'kind', 'protect.key');
SELECT ward.unprotect('live', 'kind', 'r');
SELECT * FROM ward.protect_progress;
SELECT ward.grant_unseal('protect.key', 'protect_nobody', 'r');
SELECT * FROM ward.keys;
RESET ROLE;
GRANT ward_officer TO protect_nobody;
SET ROLE protect_nobody;
SELECT * FROM ward.protect_progress;
SELECT ward.protect('live', 'kind', 'protect.key');
RESET ROLE;
SELECT pg_get_userbyid(relowner) = current_user AS same_owner FROM pg_class WHERE oid = 'live_view'::regclass;
DROP ROLE protect_nobody;
DROP TABLE live, live_empty, live_typed CASCADE;
DROP TYPE live_type;
DROP TABLE live_temp;
SELECT relation, column_name FROM _ward.sealed_column;
DELETE FROM _ward.key WHERE name LIKE 'protect%';
