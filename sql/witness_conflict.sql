-- What a constraint's answer tells: somebody has that value. And what a write really did.
CREATE EXTENSION IF NOT EXISTS btree_gist;
CREATE TABLE member (id int PRIMARY KEY, email text UNIQUE, room int, during int4range,
	EXCLUDE USING gist (room WITH =, during WITH &&));
INSERT INTO member SELECT i, 'm' || i, i % 3, int4range(i * 10, i * 10 + 5) FROM generate_series(1, 20) i;
CREATE TABLE place (id int, town text, PRIMARY KEY (id, town)) PARTITION BY LIST (town);
CREATE TABLE place_a (junk int, town text NOT NULL, id int NOT NULL);
ALTER TABLE place_a DROP COLUMN junk;
ALTER TABLE place ATTACH PARTITION place_a FOR VALUES IN ('a');
CREATE TABLE place_b PARTITION OF place FOR VALUES IN ('b');
INSERT INTO place SELECT i, CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b' END FROM generate_series(1, 10) i;
CREATE TABLE late (id int, code int UNIQUE DEFERRABLE INITIALLY DEFERRED, note text);
INSERT INTO late SELECT i, i FROM generate_series(1, 5) i;
CREATE TABLE child (id int PRIMARY KEY, member_id int REFERENCES member ON DELETE CASCADE);
INSERT INTO child VALUES (1, 19), (2, 20);
CREATE TABLE strict (id int PRIMARY KEY, member_id int REFERENCES member);
INSERT INTO strict VALUES (1, 18);
ANALYZE member, place, late, child, strict;
SELECT ward.watch('member', 'id'), ward.watch('place', 'id'), ward.watch('late', 'id'), ward.watch('child', 'member_id'),
	ward.watch('strict', 'member_id');
SET client_min_messages = warning;

CREATE FUNCTION told() RETURNS TABLE (relation text, manner text, reason text, members text)
LANGUAGE sql AS $$
	SELECT split_part(relation, '.', 2), manner, reason,
	       (SELECT string_agg(m::text, ',' ORDER BY m) FROM _ward.subject_set_members(subject_set) m)
	  FROM ward.disclosures WHERE actor = current_setting('test.actor') ORDER BY 1, 2, 3, 4
$$;
CREATE FUNCTION act(label text) RETURNS void LANGUAGE sql AS
	$$ SELECT set_config('ward.actor', label, false), set_config('test.actor', label, false); $$;
\set look 'RESET ward.actor; SELECT ward.sync() IS NULL; SELECT * FROM told();'
\t on

-- Violations: of the primary key, of another unique column, of an exclusion constraint.
SELECT act('v pk'); INSERT INTO member VALUES (3, 'new', 9, '[1,2)'); :look
SELECT act('v email'); INSERT INTO member VALUES (300, 'm4', 9, '[1,2)'); :look
SELECT act('v update'); UPDATE member SET email = 'm6' WHERE id = 5; :look
SELECT act('v exclusion'); INSERT INTO member VALUES (301, 'new', 1, '[70,200)'); :look
SELECT act('v second row'); INSERT INTO member VALUES (302, 'fine', 90, '[1,2)'), (303, 'm7', 91, '[1,2)'); :look
-- The constraint that ON CONFLICT does not go by.
SELECT act('v upsert inserts'); INSERT INTO member VALUES (305, 'm9', 93, '[1,2)') ON CONFLICT (id) DO UPDATE SET email = excluded.email; :look
SELECT act('v upsert updates'); INSERT INTO member VALUES (5, 'm10', 94, '[1,2)') ON CONFLICT (id) DO UPDATE SET email = excluded.email; :look
-- A function that catches the error has got its answer.
SELECT act('v caught');
DO $$ BEGIN INSERT INTO member VALUES (304, 'm8', 92, '[1,2)'); EXCEPTION WHEN unique_violation THEN NULL; END $$;
:look
SELECT act('v partition'); INSERT INTO place VALUES (4, 'a'); :look
SELECT act('v other partition'); INSERT INTO place VALUES (5, 'b'); :look
SELECT act('v deferred'); BEGIN; INSERT INTO late VALUES (100, 2); COMMIT; :look
SELECT act('v not this column'); UPDATE late SET note = 'x' WHERE id = 3; :look
-- COPY does not say who was in the way.
SELECT act('v copy'); COPY member (id, email) FROM STDIN;
700	m9
\.
:look
-- A foreign key: who is in the way of a deletion; whom a cascade deletes.
SELECT act('v foreign'); DELETE FROM member WHERE id = 18; :look
SELECT act('cascade'); DELETE FROM member WHERE id = 19; :look

-- DO NOTHING: only those who were in the way.
SELECT act('n pk'); INSERT INTO member VALUES (9, 'new', 93, '[1,2)') ON CONFLICT (id) DO NOTHING; :look
SELECT act('n any'); INSERT INTO member VALUES (10, 'm11', 94, '[1,2)'), (400, 'new400', 95, '[1,2)') ON CONFLICT DO NOTHING; :look
SELECT act('n exclusion'); INSERT INTO member VALUES (401, 'new401', 1, '[130,140)') ON CONFLICT DO NOTHING; :look
SELECT act('n partition'); INSERT INTO place VALUES (6, 'a'), (7, 'b'), (50, 'b') ON CONFLICT DO NOTHING; :look
SELECT act('n cte'); WITH i AS (INSERT INTO member VALUES (12, 'new12', 96, '[1,2)') ON CONFLICT DO NOTHING RETURNING id) SELECT count(*) FROM i; :look
SELECT act('n copied'); INSERT INTO member SELECT * FROM member WHERE id = 13 ON CONFLICT DO NOTHING; :look
SELECT act('n repeatable'); BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO member VALUES (14, 'new14', 97, '[1,2)') ON CONFLICT DO NOTHING; COMMIT; :look

-- MERGE: acted upon, or only looked at; inserted.
SELECT act('m insert'); MERGE INTO member m USING (VALUES (500), (501)) v(id) ON m.id = v.id WHEN NOT MATCHED THEN INSERT (id) VALUES (v.id + 10); :look
SELECT act('m update'); MERGE INTO member m USING (VALUES (1), (2), (502)) v(id) ON m.id = v.id WHEN MATCHED AND m.id = 1 THEN UPDATE SET room = 60 WHEN NOT MATCHED THEN DO NOTHING; :look
SELECT act('m delete'); MERGE INTO member m USING (VALUES (1), (2)) v(id) ON m.id = v.id WHEN MATCHED AND m.id = 2 THEN DELETE WHEN MATCHED THEN DO NOTHING; :look
SELECT act('m source'); MERGE INTO place p USING (SELECT * FROM member WHERE id < 6) m ON p.id = m.id WHEN MATCHED AND m.id = 3 THEN DELETE; :look
SELECT act('m partition'); MERGE INTO place p USING (VALUES (60, 'a')) v(id, town) ON p.id = v.id WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.town); :look
SELECT act('m violation'); MERGE INTO member m USING (VALUES (503)) v(id) ON m.id = v.id WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'm15'); :look

-- A trigger gives the row another subject.
CREATE FUNCTION renumber() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.id := NEW.id + 1000; RETURN NEW; END $$;
CREATE TRIGGER renumber BEFORE INSERT OR UPDATE ON member FOR EACH ROW EXECUTE FUNCTION renumber();
SELECT act('t insert'); INSERT INTO member VALUES (600, 'new600'); :look
SELECT act('t update'); UPDATE member SET room = 61 WHERE id = 16; :look
SELECT act('t nothing'); INSERT INTO member VALUES (16, 'new16') ON CONFLICT DO NOTHING; :look
CREATE TRIGGER renumber BEFORE INSERT ON place_a FOR EACH ROW EXECUTE FUNCTION renumber();
SELECT act('t partition'); INSERT INTO place VALUES (70, 'a'); :look
CREATE TABLE computed (a int, id int GENERATED ALWAYS AS (a * 2) STORED);
SELECT ward.watch('computed', 'id');
SELECT act('t generated'); INSERT INTO computed VALUES (21); :look
SELECT act('t generated again'); UPDATE computed SET a = 22; :look

\t off
RESET client_min_messages;
DROP TABLE strict, child, member, place, late, computed;
DROP FUNCTION renumber, told, act;
