--
-- Which sets is somebody in: the index says what reading all sets says, whatever the sets.
--
CREATE TABLE subject_sets (id int PRIMARY KEY, members bigint[], set bytea);
INSERT INTO subject_sets (id, members) VALUES
	(1, '{}'), (2, '{7}'), (3, '{0,1,2}'), (4, '{-1}'), (5, '{9223372036854775807,-9223372036854775808}'),
	(6, ARRAY(SELECT generate_series(1, 128))),				-- a key a member
	(7, ARRAY(SELECT generate_series(1, 129))),				-- one more: a key a block
	(8, ARRAY(SELECT generate_series(1, 30000))),
	(9, ARRAY(SELECT i * 5000 FROM generate_series(1, 256) i)),	-- as many blocks as have keys
	(10, ARRAY(SELECT i * 5000 FROM generate_series(1, 257) i)),	-- one more: opened by each search
	(11, ARRAY(SELECT -i * 11::bigint FROM generate_series(1, 1000) i)),
	(12, ARRAY(SELECT 9223372036854775807 - i FROM generate_series(0, 300) i)),
	(13, ARRAY(SELECT 4096 * i + k FROM generate_series(1, 60) i, (VALUES (0), (1), (4095)) v(k))),
	(14, ARRAY(SELECT ('x' || md5(i::text))::bit(64)::bigint FROM generate_series(1, 1000) i)),
	(15, ARRAY(SELECT ('x' || md5(i::text))::bit(64)::bigint FROM generate_series(1, 100) i)),
	(16, '{4294967303}');									-- its lower half is set 2's 7
UPDATE subject_sets SET set = _ward.subject_set(members);
INSERT INTO subject_sets (id) VALUES (17);
CREATE INDEX ON subject_sets USING gin (set _ward.subject_set_ops) WITH (fastupdate = off);
CREATE TABLE sought AS
	SELECT DISTINCT m FROM subject_sets s, unnest(s.members) WITH ORDINALITY k(m, n) WHERE n <= 3 OR n > cardinality(s.members) - 3 OR n % 1000 = 0
	UNION VALUES (-2), (130), (4096), (5001), (30001), (1290000), (4294967304), (2147483648);

SET enable_seqscan = off;
SELECT count(*) > 50 AS many, count(*) FILTER (WHERE found IS DISTINCT FROM told) AS wrong
FROM sought, LATERAL (SELECT array_agg(s.id ORDER BY s.id) AS found FROM subject_sets s WHERE s.set OPERATOR(_ward.@>) m) f,
	LATERAL (SELECT array_agg(s.id ORDER BY s.id) AS told FROM subject_sets s WHERE m = ANY (s.members)) t;
SELECT array_agg(id ORDER BY id) AS seven FROM subject_sets s WHERE s.set OPERATOR(_ward.@>) 7;
EXPLAIN (COSTS off) SELECT id FROM subject_sets s WHERE s.set OPERATOR(_ward.@>) 7;

-- what changes is found anew
UPDATE subject_sets SET set = _ward.subject_set('{8}') WHERE id = 2;
INSERT INTO subject_sets (id, set) VALUES (18, _ward.subject_set('{7}'));
SELECT array_agg(id ORDER BY id) AS seven FROM subject_sets s WHERE s.set OPERATOR(_ward.@>) 7;

-- a set of half a million people is a few keys, not half a million
CREATE TABLE one_set AS SELECT _ward.subject_set_agg(i) AS set FROM generate_series(1, 500000) i;
CREATE INDEX one_set_index ON one_set USING gin (set _ward.subject_set_ops);
SELECT pg_relation_size('one_set_index') <= 4 * 8192 AS small;

-- no malformed set is indexed
INSERT INTO subject_sets (id, set) VALUES (19, '\x0105');
DROP TABLE subject_sets, sought, one_set;
