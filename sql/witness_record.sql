-- Who is recorded for what, how, and by which columns.
CREATE TABLE subject_t (id bigint PRIMARY KEY, name text, grp int);
INSERT INTO subject_t SELECT i, 'n' || i, i % 4 FROM generate_series(1, 100) i;
CREATE TABLE note (id serial PRIMARY KEY, subject_id int, body text);
INSERT INTO note (subject_id, body) SELECT 1 + i % 50, 'b' || i FROM generate_series(1, 60) i;
ANALYZE subject_t, note;
SELECT ward.watch('subject_t', 'id'), ward.watch('note', 'subject_id');
SET client_min_messages = warning;

CREATE FUNCTION seen() RETURNS TABLE (relation text, manner text, reason text, columns text, subjects bigint, members text)
LANGUAGE sql AS $$
	SELECT split_part(relation, '.', 2), manner, reason,
	       array_to_string(ARRAY(SELECT split_part(c, '.', 2) FROM unnest(columns_clear) c ORDER BY 1), ','), subjects,
	       (SELECT string_agg(m::text, ',') FROM (SELECT _ward.subject_set_members(subject_set) m LIMIT 6) s)
	  FROM ward.disclosures WHERE actor = current_setting('test.actor') ORDER BY 1, 2, 3
$$;
CREATE FUNCTION act(label text) RETURNS void LANGUAGE sql AS
	$$ SELECT set_config('ward.actor', label, false), set_config('test.actor', label, false); $$;
\set look 'RESET ward.actor; SELECT ward.sync() IS NULL; SELECT * FROM seen();'
\t on

SELECT act('point'); SELECT name FROM subject_t WHERE id = 7; :look
SELECT act('top'); SELECT name FROM subject_t ORDER BY name LIMIT 3; :look
SELECT act('page'); SELECT name FROM subject_t ORDER BY id LIMIT 2 OFFSET 3; :look
SELECT act('count'); SELECT count(*) FROM subject_t; :look
SELECT act('small'); SELECT count(*) FROM subject_t WHERE id < 4; :look
SELECT act('collected'); SELECT array_agg(name ORDER BY id) FROM subject_t WHERE id < 4; :look
SELECT act('groups'); SELECT count(*) FROM (SELECT name FROM subject_t WHERE id < 20 GROUP BY name) g; :look
SELECT act('join'); SELECT s.name, n.body FROM subject_t s JOIN note n ON n.subject_id = s.id WHERE n.id = 5; :look
SELECT act('exists'); SELECT s.id FROM subject_t s WHERE EXISTS (SELECT FROM note n WHERE n.subject_id = s.id AND n.id < 3); :look
-- The side that an anti join returns may be the one that it hashes.
SET enable_nestloop = off; SET enable_mergejoin = off;
SELECT act('anti'); SELECT n.id FROM note n WHERE n.id <= 10 AND NOT EXISTS (SELECT FROM subject_t s WHERE s.id = n.subject_id AND s.grp < 3) ORDER BY 1; :look
RESET enable_nestloop; RESET enable_mergejoin;
SELECT act('cursor'); BEGIN; DECLARE c CURSOR FOR SELECT * FROM subject_t ORDER BY id; FETCH 2 FROM c; ROLLBACK; :look
SELECT act('rolled back'); BEGIN; SELECT name FROM subject_t WHERE id = 9; ROLLBACK; :look
SELECT act('error'); SELECT 1 / (id - 6) FROM subject_t WHERE id IN (5, 6); :look
SELECT act('copy'); COPY (SELECT name FROM subject_t WHERE id = 11) TO STDOUT; :look
SELECT act('copy table'); COPY note (body) TO PROGRAM 'cat > /dev/null'; :look
SELECT act('update'); UPDATE subject_t SET name = 'changed' WHERE id = 12; :look
SELECT act('delete'); DELETE FROM subject_t WHERE id = 13; :look
SELECT act('insert'); INSERT INTO subject_t VALUES (500, 'new', 1); :look
SELECT act('upsert'); INSERT INTO subject_t VALUES (14, 'new', 1) ON CONFLICT (id) DO UPDATE SET name = 'met'; :look
SELECT act('explain'); EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT FROM subject_t WHERE id = 15; :look
SELECT act('function'); DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM subject_t ORDER BY id LOOP EXIT; END LOOP; END $$; :look
SELECT act('truncate'); TRUNCATE note; :look
SELECT act('copy from'); COPY note (subject_id, body) FROM STDIN;
3	x
\.
:look
\t off
-- Columns of a partition that is watched alone, read through its parents.
CREATE TABLE parted (id int, name text, city text) PARTITION BY RANGE (id);
CREATE TABLE parted_low (city text, gone int, id int, name text) PARTITION BY LIST (city);
ALTER TABLE parted_low DROP COLUMN gone;
CREATE TABLE parted_leaf (name text, id int, city text);
ALTER TABLE parted_low ATTACH PARTITION parted_leaf FOR VALUES IN ('here');
ALTER TABLE parted ATTACH PARTITION parted_low FOR VALUES FROM (0) TO (100);
INSERT INTO parted VALUES (1, 'one', 'here'), (2, 'two', 'here');
SELECT ward.watch('parted_leaf', 'id');
\t on
SELECT act('partition'); SELECT name FROM parted WHERE id = 1; :look
SELECT act('partition row'); SELECT p FROM parted p WHERE id = 2; :look
SELECT act('partition update'); UPDATE parted SET name = 'zwei' WHERE id = 2; :look
\t off
-- A plan made before the table was watched is made anew.
CREATE TABLE later (id int, name text);
INSERT INTO later VALUES (1, 'one'), (2, 'two');
PREPARE before_watch AS SELECT name FROM later WHERE id = 2;
EXECUTE before_watch;
SELECT ward.watch('later', 'id');
SELECT act('prepared'); EXECUTE before_watch; RESET ward.actor;
SELECT ward.sync() IS NULL; SELECT * FROM seen();
-- With capture off nothing is recorded; unwatched, neither.
SET ward.capture = off;
SELECT act('off'); SELECT name FROM later; RESET ward.actor;
RESET ward.capture;
SELECT ward.unwatch('later');
SELECT act('unwatched'); SELECT name FROM later; RESET ward.actor;
SELECT ward.sync() IS NULL;
SELECT count(*) FROM ward.disclosures WHERE actor IN ('off', 'unwatched');
DROP TABLE subject_t, note, later, parted;
DROP FUNCTION seen, act;
