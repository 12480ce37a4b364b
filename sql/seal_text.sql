-- sealed_text under an application that knows nothing of it.
SELECT ward.create_key('seal.a', make_default => true);
SELECT ward.create_key('seal.b');
CREATE ROLE seal_reader;
CREATE ROLE seal_blind;
SELECT ward.grant_unseal('seal.a', 'seal_reader', 'test');

CREATE TABLE sealed (id int PRIMARY KEY, a sealed_text('seal.a') UNIQUE, b sealed_text('seal.b'), c sealed_text('seal.a'));
GRANT SELECT, INSERT, UPDATE, DELETE ON sealed TO seal_reader, seal_blind;
INSERT INTO sealed SELECT i, 'value ' || i, 'value ' || i, 'group ' || i % 3 FROM generate_series(1, 2000) i;
INSERT INTO sealed VALUES (0, NULL, '', NULL);
ANALYZE sealed;

-- Who may, reads; who may not, sees ciphertext, and can't get round it.
SET ROLE seal_reader;
SELECT id, a, c FROM sealed WHERE id IN (0, 1, 2) ORDER BY id;
SELECT b LIKE '\\sealed:%' AS armored FROM sealed WHERE id = 1;
SET ROLE seal_blind;
SELECT a::text FROM sealed WHERE id = 1;
SELECT upper(a) FROM sealed WHERE id = 1;
SELECT count(*) FROM sealed WHERE a LIKE 'value 1%';
SELECT id FROM sealed ORDER BY a LIMIT 1;
-- It may write what it may not read.
INSERT INTO sealed VALUES (3000, 'written blind', 'x', 'y') RETURNING id;
UPDATE sealed SET c = 'written blind' WHERE id = 3000;
-- Re-keying a stored value would be a way to read it.
SELECT a::sealed_text('seal.b') FROM sealed WHERE id = 1;
RESET ROLE;
-- A superuser has no right for free.
SELECT a::text FROM sealed WHERE id = 1;

-- Look-ups by literals and parameters use the index, and their plans hold no literal.
CREATE FUNCTION seal_plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		RETURN NEXT regexp_replace(line, '\\+sealed:[A-Za-z0-9+/=]+', '(sealed)', 'g');
	END LOOP;
END $$;
SELECT seal_plan($$SELECT id FROM sealed WHERE a = 'value 7'$$);
SELECT seal_plan($$SELECT id FROM sealed WHERE 'value 7' = a$$);
SELECT seal_plan($$SELECT id FROM sealed WHERE a = 'value 7'::text$$);
SELECT seal_plan($$SELECT id FROM sealed WHERE a::text = 'value 7'$$);
SELECT seal_plan($$SELECT id FROM sealed WHERE a IN ('value 7', 'value 8')$$);
SELECT seal_plan($$SELECT id FROM sealed WHERE a = ANY (ARRAY['value 7', 'value 8']::text[])$$);

SET ROLE seal_reader;
SELECT id FROM sealed WHERE a = 'value 7';
SELECT id FROM sealed WHERE a = 'value 7'::varchar;
SELECT id FROM sealed WHERE a::text = 'value 7';
SELECT id FROM sealed WHERE a IN ('value 7');
SELECT id FROM sealed WHERE a IN ('value 7', 'value 8', NULL, 'nobody') ORDER BY id;
SELECT id FROM sealed WHERE a IN ('value 1', 'value 2', 'value 3', 'value 4', 'value 5', 'value 6', 'value 7', 'value 8', 'value 9', 'value 10') ORDER BY id;
SELECT count(*) FROM sealed WHERE a NOT IN ('value 7', 'value 8');
SELECT count(*) FROM sealed WHERE a NOT IN ('value 7', NULL);
SELECT count(*) FROM sealed WHERE a <> 'value 7';
SELECT id FROM sealed WHERE a = ANY ('{value 7,value 8}'::text[]) ORDER BY id;
SELECT id FROM sealed WHERE a IS NOT DISTINCT FROM 'value 9';
PREPARE by_text(text) AS SELECT id FROM sealed WHERE a = $1;
PREPARE by_varchar(varchar) AS SELECT id FROM sealed WHERE a = $1;
PREPARE by_sealed(sealed_text) AS SELECT id FROM sealed WHERE a = $1;
PREPARE by_unknown AS SELECT id FROM sealed WHERE a = $1;
PREPARE by_array(text[]) AS SELECT id FROM sealed WHERE a = ANY ($1) ORDER BY id;
SET plan_cache_mode = force_custom_plan;
EXECUTE by_text('value 11');
EXECUTE by_varchar('value 11');
EXECUTE by_sealed('value 11');
EXECUTE by_unknown('value 11');
EXECUTE by_array('{value 11,value 12}');
SET plan_cache_mode = force_generic_plan;
EXECUTE by_text('value 11');
EXECUTE by_varchar('value 11');
EXECUTE by_sealed('value 11');
EXECUTE by_unknown('value 11');
EXECUTE by_array('{value 11,value 12}');
RESET plan_cache_mode;

-- Ordering is the text's, not the tags'.
SELECT a FROM sealed WHERE id BETWEEN 1 AND 12 ORDER BY a;
SELECT a FROM sealed WHERE id BETWEEN 0 AND 3 ORDER BY a DESC NULLS LAST;
SELECT id, row_number() OVER (ORDER BY a DESC) FROM sealed WHERE id BETWEEN 8 AND 11 ORDER BY id;
SELECT string_agg(a, ',' ORDER BY a DESC) FROM sealed WHERE id BETWEEN 8 AND 11;
SELECT min(a), max(a) FROM sealed WHERE id BETWEEN 8 AND 11;
SELECT a < 'value 2' AS less FROM sealed WHERE id = 1;
SELECT id FROM sealed ORDER BY a LIMIT 2;

-- Grouping and joining by tags.
SELECT c, count(*) FROM sealed WHERE id BETWEEN 1 AND 2000 GROUP BY c ORDER BY c;
SELECT count(*) FROM (SELECT DISTINCT c FROM sealed) d;
SELECT count(*) FROM sealed x JOIN sealed y ON x.a = y.a;
SELECT count(*) FROM sealed x JOIN sealed y USING (c) WHERE x.id = 1;
SELECT c FROM sealed WHERE id = 1 UNION SELECT c FROM sealed WHERE id = 4;

-- Values under different keys are never compared by tags: that would find nothing.
SELECT count(*) FROM sealed WHERE a = b;
RESET ROLE;
SELECT ward.grant_unseal('seal.b', 'seal_reader', 'test');
SET ROLE seal_reader;
SELECT count(*) FROM sealed WHERE a = b;
SELECT count(*) FROM sealed x JOIN sealed y ON x.a = y.b;
SELECT count(*) FROM sealed WHERE a IN (SELECT b FROM sealed WHERE id < 5);
-- Constraints, upserts; and no plaintext in their errors.
INSERT INTO sealed VALUES (3001, 'value 7', 'x', 'y');
INSERT INTO sealed VALUES (3001, 'value 7', 'x', 'y') ON CONFLICT (a) DO UPDATE SET b = 'met' RETURNING id, b;
RESET ROLE;
ALTER TABLE sealed ADD CHECK (b <> 'forbidden');
SET ROLE seal_reader;
INSERT INTO sealed VALUES (3001, 'secret name', 'forbidden', 'y');
RESET ROLE;

-- Keys: by catalog in views, defaults and checks; never plaintext.
CREATE VIEW seal_view AS SELECT id FROM sealed WHERE a = 'planted needle';
ALTER TABLE sealed ALTER c SET DEFAULT 'planted needle';
SELECT count(*) FROM pg_rewrite WHERE ev_action::text LIKE '%planted needle%';
SELECT count(*) FROM pg_attrdef WHERE adbin::text LIKE '%planted needle%';
INSERT INTO sealed (id, a) VALUES (3002, 'planted needle');
SELECT * FROM seal_view;
SET ROLE seal_reader;
SELECT c FROM sealed WHERE id = 3002;

-- What looks like ciphertext: refused as input where it is not, and plaintext that
-- looks like it survives the way out and in.
INSERT INTO sealed VALUES (3003, '\sealed:AAAA', 'x', 'y');
INSERT INTO sealed VALUES (3003, '\\sealed:AAAA', 'x', 'y');
SELECT a, a::text, length(a) FROM sealed WHERE id = 3003;
RESET ROLE;

-- Freeze: nothing opens, for anybody, and nothing falls back to ciphertext.
SELECT ward.freeze_key('seal.a', 'test');
SET ROLE seal_reader;
SELECT a FROM sealed WHERE id = 1;
INSERT INTO sealed VALUES (3004, 'x', 'x', 'x');
RESET ROLE;
SELECT ward.thaw_key('seal.a', 'test');
SELECT ward.revoke_unseal('seal.a', 'seal_reader', 'test');
SET ROLE seal_reader;
SELECT a::text FROM sealed WHERE id = 1;
RESET ROLE;

-- Types: arrays, domains, plpgsql variables, and columns that name no key.
CREATE TABLE seal_bare (x sealed_text);
CREATE TABLE seal_bare AS SELECT 'x'::sealed_text AS x;
CREATE TABLE seal_unknown (x sealed_text('no such key'));
INSERT INTO seal_unknown VALUES ('x');
CREATE TABLE seal_array (x sealed_text('seal.b')[]);
INSERT INTO seal_array VALUES (ARRAY['one', 'two']);
SET ROLE seal_reader;
SELECT count(*) FROM (SELECT 1) one WHERE 'x'::sealed_text('seal.b') = 'x';
RESET ROLE;
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'sealed'::regclass AND attnum > 0 ORDER BY attnum;

DROP TABLE sealed, seal_unknown, seal_array CASCADE;
DROP FUNCTION seal_plan;
DELETE FROM _ward.unseal_grant;
DROP ROLE seal_reader, seal_blind;
