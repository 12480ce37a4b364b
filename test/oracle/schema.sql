-- The oracle's small world: every construct in few rows, so that deleting each
-- subject in turn stays cheap. forget(n, table) removes a subject.
CREATE EXTENSION pg_ward;
SELECT setseed((current_setting('oracle.seed')::int % 1000) / 1000.0);

CREATE TABLE society (id int PRIMARY KEY, name text);
INSERT INTO society SELECT i, 'society ' || i FROM generate_series(1, 5) i;

CREATE TABLE person (id bigint PRIMARY KEY, name text, soc int, score int);
INSERT INTO person SELECT i, 'person ' || i, 1 + (random() * 3)::int, (random() * 50)::int FROM generate_series(1, 14) i;
CREATE INDEX ON person (score);

CREATE TABLE msg (id int PRIMARY KEY, person_id int, n int, body text);
INSERT INTO msg SELECT i, 1 + (random() * 13)::int, (random() * 8)::int, 'message ' || i FROM generate_series(1, 22) i;
INSERT INTO msg VALUES (100, NULL, 3, 'about nobody');
CREATE INDEX ON msg (person_id);

CREATE TABLE link (person_id bigint, relative_id bigint, kind text);
INSERT INTO link SELECT 1 + i % 14, 1 + (i * 5) % 14, (ARRAY['child', 'parent', 'sibling'])[1 + i % 3] FROM generate_series(1, 16) i;

CREATE TABLE parted (soc int, id bigint, name text) PARTITION BY LIST (soc);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
-- With other column numbers than its parent's.
CREATE TABLE parted_2 (dropped int, name text, id bigint, soc int);
ALTER TABLE parted_2 DROP COLUMN dropped;
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN (2);
CREATE TABLE parted_3 PARTITION OF parted DEFAULT;
INSERT INTO parted SELECT 1 + i % 4, i, 'parted ' || i FROM generate_series(1, 12) i;

CREATE TABLE base (id bigint, name text);
CREATE TABLE derived (extra int) INHERITS (base);
INSERT INTO base SELECT i, 'base ' || i FROM generate_series(1, 4) i;
INSERT INTO derived SELECT i, 'derived ' || i, i FROM generate_series(5, 8) i;

CREATE TABLE restricted (id bigint, name text, soc int);
INSERT INTO restricted SELECT id, name, soc FROM person;
ALTER TABLE restricted ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON restricted USING (soc IN (SELECT soc FROM person WHERE id < 4));
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'oracle_reader') THEN
		CREATE ROLE oracle_reader;
	END IF;
END
$$;
GRANT SELECT ON restricted, person TO oracle_reader;

CREATE TABLE late (id bigint, code int UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO late SELECT i, i FROM generate_series(1, 5) i;
CREATE TABLE ref (id int, person_id bigint REFERENCES person);

CREATE TABLE copied (id bigint, name text);

CREATE VIEW v_person AS SELECT id, name, soc FROM person WHERE score > 5;
CREATE VIEW v_barrier WITH (security_barrier) AS SELECT name, score FROM person WHERE soc < 3;
CREATE VIEW v_counts AS SELECT soc, count(*) FROM person GROUP BY soc;

CREATE VIEW v_instead AS SELECT id, name FROM person;
CREATE FUNCTION t_instead() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE person SET name = NEW.name WHERE id = NEW.id;
	RETURN NEW;
END $$;
CREATE TRIGGER instead INSTEAD OF INSERT ON v_instead FOR EACH ROW EXECUTE FUNCTION t_instead();
CREATE VIEW v_rule AS SELECT id, name FROM person WHERE soc > 0;
CREATE RULE removes AS ON DELETE TO v_rule DO INSTEAD UPDATE person SET score = 0 WHERE id = OLD.id;
CREATE TABLE heard (what text);
CREATE FUNCTION t_heard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO heard SELECT body FROM gone;
	RETURN NULL;
END $$;
CREATE TRIGGER hears AFTER UPDATE ON msg REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION t_heard();

CREATE FUNCTION f_sql(int) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM person WHERE soc = $1';
CREATE FUNCTION f_table(int) RETURNS TABLE (id bigint, name text) LANGUAGE sql STABLE AS 'SELECT id, name FROM person WHERE soc = $1';
CREATE FUNCTION f_first(s int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE r record;
BEGIN
	FOR r IN SELECT name FROM person WHERE soc >= s ORDER BY id LOOP
		RETURN r.name;
	END LOOP;
	RETURN NULL;
END $$;
CREATE FUNCTION f_loop(n int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE r record; a text := '';
BEGIN
	FOR r IN SELECT id, name FROM person ORDER BY id LOOP
		EXIT WHEN n = 0;
		a := a || r.name; n := n - 1;
	END LOOP;
	RETURN a;
END $$;

SELECT ward.watch('person', 'id'), ward.watch('msg', 'person_id'), ward.watch('link', 'person_id'),
       ward.watch('link', 'relative_id'), ward.watch('parted', 'id'), ward.watch('base', 'id'),
       ward.watch('restricted', 'id'), ward.watch('late', 'id');

CREATE TABLE subjects AS SELECT id FROM person;

-- Removes a subject, from everywhere or from one table.
CREATE FUNCTION forget(who bigint, place text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM person WHERE id = who AND coalesce(place, 'person') = 'person';
	DELETE FROM msg WHERE person_id = who AND coalesce(place, 'msg') = 'msg';
	DELETE FROM link WHERE (person_id = who OR relative_id = who) AND coalesce(place, 'link') = 'link';
	DELETE FROM parted WHERE id = who AND coalesce(place, 'parted') = 'parted';
	DELETE FROM base WHERE id = who AND coalesce(place, 'base') = 'base';
	DELETE FROM late WHERE id = who AND coalesce(place, 'late') = 'late';
	DELETE FROM restricted WHERE id = who AND coalesce(place, 'restricted') = 'restricted';
END $$;
