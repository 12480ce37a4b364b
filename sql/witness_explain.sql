--
-- EXPLAIN ANALYZE shows how many rows were read and dropped: it tells of those.
--
\set SHOW_CONTEXT never
CREATE TABLE explained (id int PRIMARY KEY, team int, note text);
INSERT INTO explained SELECT i, i % 4, 'note ' || i FROM generate_series(1, 12) i;
CREATE INDEX ON explained (team);
CREATE TABLE explained_part (id int, team int) PARTITION BY LIST (team);
CREATE TABLE explained_part_0 PARTITION OF explained_part FOR VALUES IN (0);
CREATE TABLE explained_part_1 (team int, id int);
ALTER TABLE explained_part ATTACH PARTITION explained_part_1 FOR VALUES IN (1);
INSERT INTO explained_part SELECT 100 + i, i % 2 FROM generate_series(1, 4) i;
VACUUM ANALYZE explained, explained_part;
SELECT ward.watch('explained', 'id', 'explained'), ward.watch('explained_part', 'id', 'explained');
SET max_parallel_workers_per_gather = 0;
\set explain 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF)'
CREATE FUNCTION pg_temp.told() RETURNS TABLE (relation text, manner text, reason text, members text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM ward.sync();
	RETURN QUERY SELECT split_part(d.relation, '.', 2), d.manner::text, d.reason, string_agg(DISTINCT lpad(m::text, 3), ',')
	  FROM ward.disclosures d LEFT JOIN LATERAL _ward.subject_set_members(d.subject_set) m ON true
	 WHERE d.actor = current_setting('ward.actor') GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
END $$;

-- What the filter drops, of the whole table and by an index.
SET ward.actor = 'explain 1';
:explain SELECT note FROM explained WHERE note = 'x';
SELECT * FROM pg_temp.told();
SET enable_seqscan = off; SET enable_bitmapscan = off;
SET ward.actor = 'explain 2';
:explain SELECT note FROM explained WHERE id = 5;
SELECT * FROM pg_temp.told();
SET ward.actor = 'explain 3';
:explain SELECT note FROM explained WHERE team = 1 AND note = 'note 5';
SELECT * FROM pg_temp.told();
-- A scan that stops early.
SET ward.actor = 'explain 4';
:explain SELECT note FROM explained WHERE id > 3 ORDER BY id LIMIT 2;
SELECT * FROM pg_temp.told();
-- Subqueries and joins.
SET ward.actor = 'explain 5';
:explain SELECT (SELECT note FROM explained WHERE id = 7 AND note = 'x') FROM explained WHERE id = 2;
SELECT * FROM pg_temp.told();
-- What is stored in a table, and what is not.
SET ward.actor = 'explain 6';
:explain CREATE TABLE explained_copy AS SELECT note FROM explained WHERE team = 1 AND note = 'note 5';
SELECT * FROM pg_temp.told();
SET ward.actor = 'explain 7';
PREPARE explaining (int) AS SELECT note FROM explained WHERE id = $1;
:explain EXECUTE explaining (9);
SELECT * FROM pg_temp.told();
-- Written rows are written all the same.
SET ward.actor = 'explain 8';
:explain DELETE FROM explained WHERE team = 2 AND id > 7;
SELECT * FROM pg_temp.told();
RESET enable_seqscan;
SET ward.actor = 'explain 9';
:explain SELECT FROM explained_part WHERE id = 101;
SELECT * FROM pg_temp.told();
-- Counts of what no scan shows.
SET enable_bitmapscan = on; SET enable_seqscan = off; SET enable_indexscan = off; SET enable_indexonlyscan = off;
SET ward.actor = 'explain 10';
:explain SELECT note FROM explained WHERE team = 1 AND id < 3;
SELECT * FROM pg_temp.told();
RESET enable_indexonlyscan; SET enable_bitmapscan = off;
SET ward.actor = 'explain 11';
:explain SELECT count(*) FROM explained WHERE team = 1;
SELECT * FROM pg_temp.told();
-- Without ANALYZE nothing is read.
SET ward.actor = 'explain 12';
EXPLAIN (COSTS OFF) SELECT note FROM explained WHERE note = 'x';
SELECT * FROM pg_temp.told();
RESET ward.actor;
RESET ALL;
DROP TABLE explained, explained_part, explained_copy;
