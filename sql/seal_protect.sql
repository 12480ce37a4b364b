-- Protecting columns of a live table: carried, or refused by name with nothing changed.
SELECT ward.create_key('protect.key');
SELECT ward.create_key('protect.quiet', 'none');
CREATE TABLE live (id int PRIMARY KEY, name text NOT NULL, code varchar(20) UNIQUE, note text, kind text DEFAULT 'x',
                   made text GENERATED ALWAYS AS (upper(note)) STORED, n int, checked text CHECK (checked <> ''));
CREATE INDEX ON live (name, n);
CREATE INDEX live_lower ON live (lower(note));
INSERT INTO live (id, name, code, note, n, checked) SELECT i, 'name ' || i, 'C' || i, 'note ' || i, i, 'c' FROM generate_series(1, 100) i;
CREATE VIEW live_view AS SELECT kind FROM live;

SELECT ward.protect('live', 'name', 'protect.key');
SELECT ward.protect('live', 'code', 'protect.key');
SELECT * FROM ward.sealed_columns ORDER BY relation, column_name;
SELECT relname FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid WHERE indrelid = 'live'::regclass ORDER BY 1;
SELECT count(*) FROM live WHERE code = 'C7' AND name = 'name 7';
\set VERBOSITY terse
INSERT INTO live (id, name, code) VALUES (101, 'x', 'C7');
INSERT INTO live (id, name, code) VALUES (101, NULL, 'C101');
\set VERBOSITY default

-- Refused.
SELECT ward.protect('live', 'name', 'protect.key');
SELECT ward.protect('live', 'note', 'protect.key');
SELECT ward.protect('live', 'kind', 'protect.key');
SELECT ward.protect('live', 'made', 'protect.key');
SELECT ward.protect('live', 'checked', 'protect.key');
SELECT ward.protect('live', 'n', 'protect.key');
SELECT ward.protect('live', 'nothing', 'protect.key');
SELECT ward.protect('live', 'note', 'no key');
SELECT ward.protect('live', 'note', 'protect.quiet');
SELECT ward.protect('live', 'note', 'protect.key', 'substring');
SELECT ward.protect('live_view', 'kind', 'protect.key');
SELECT ward.protect('pg_class', 'relname', 'protect.key');
SELECT ward.protect(NULL, 'name', 'protect.key');
SELECT ward.protect('live', 'note', NULL);
-- The obstacles removed, it goes.
DROP INDEX live_lower;
ALTER TABLE live DROP COLUMN made;
SELECT ward.protect('live', 'note', 'protect.quiet', 'none');
SELECT count(*) FROM live WHERE note = 'note 7';
CREATE INDEX ON live (note);

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

-- Only officers.
CREATE ROLE protect_nobody;
SET ROLE protect_nobody;
SELECT ward.create_key('mine');
SELECT ward.protect('live', 'kind', 'protect.key');
SELECT ward.grant_unseal('protect.key', 'protect_nobody', 'r');
SELECT * FROM ward.keys;
RESET ROLE;
DROP ROLE protect_nobody;
DROP TABLE live CASCADE;
DELETE FROM _ward.key WHERE name LIKE 'protect%';
