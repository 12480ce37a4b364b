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
GRANT INSERT, UPDATE, DELETE ON restricted TO oracle_reader;

CREATE TABLE late (id bigint, code int UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO late SELECT i, i FROM generate_series(1, 5) i;
CREATE TABLE ref (id int, person_id bigint REFERENCES person);

CREATE TABLE copied (id bigint, name text);

CREATE TABLE booking (id bigint, span int4range, EXCLUDE USING gist (span WITH &&));
INSERT INTO booking SELECT i, int4range(10 * i, 10 * i + 5) FROM generate_series(1, 6) i;
-- Its texts stand in a TOAST relation.
CREATE TABLE letter (id bigint, body text);
ALTER TABLE letter ALTER body SET STORAGE EXTERNAL;
INSERT INTO letter SELECT i, repeat('letter ' || i, 400) FROM generate_series(1, 5) i;
CREATE TABLE note (id bigint PRIMARY KEY, word text CHECK (word <> 'bad'), n int);
INSERT INTO note SELECT i, 'word ' || i, i % 3 FROM generate_series(1, 6) i;
CREATE TABLE visit (id int, person_id bigint REFERENCES person ON DELETE CASCADE);
INSERT INTO visit SELECT i, 1 + i % 3 FROM generate_series(1, 4) i;
CREATE TABLE held (id bigint, name text);
CREATE MATERIALIZED VIEW shown AS SELECT id, name FROM person WHERE soc = 1 WITH NO DATA;
CREATE UNIQUE INDEX ON shown (id);

CREATE VIEW v_person AS SELECT id, name, soc FROM person WHERE score > 5;
CREATE VIEW v_barrier WITH (security_barrier) AS SELECT name, score FROM person WHERE soc < 3;
CREATE VIEW v_counts AS SELECT soc, count(*) FROM person GROUP BY soc;

CREATE VIEW v_instead AS SELECT id, name FROM person;
CREATE FUNCTION t_instead() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'DELETE' THEN
		DELETE FROM person WHERE id = OLD.id AND name = OLD.name;
		RETURN OLD;
	END IF;
	UPDATE person SET name = NEW.name WHERE id = NEW.id;
	RETURN NEW;
END $$;
CREATE TRIGGER instead INSTEAD OF INSERT OR UPDATE OR DELETE ON v_instead FOR EACH ROW EXECUTE FUNCTION t_instead();
CREATE VIEW v_rule AS SELECT id, name FROM person WHERE soc > 0;
CREATE RULE removes AS ON DELETE TO v_rule DO INSTEAD UPDATE person SET score = 0 WHERE id = OLD.id;
CREATE RULE renames AS ON UPDATE TO v_rule DO INSTEAD
	UPDATE person SET name = NEW.name WHERE id = OLD.id RETURNING id, name;
CREATE TABLE heard (what text);
CREATE TABLE inbox (id bigint, name text);
CREATE RULE also AS ON INSERT TO inbox DO ALSO
	INSERT INTO heard SELECT p.name FROM person p WHERE p.id = NEW.id;
CREATE FUNCTION t_heard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO heard SELECT body FROM gone;
	RETURN NULL;
END $$;
CREATE TRIGGER hears AFTER UPDATE ON msg REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION t_heard();
CREATE FUNCTION t_old() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO heard VALUES (OLD.word || ' was there');
	RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD WHEN OLD.n = 2 THEN NULL ELSE NEW END;
END $$;
CREATE TRIGGER old BEFORE UPDATE OR DELETE ON note FOR EACH ROW EXECUTE FUNCTION t_old();
CREATE FUNCTION t_counts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO heard SELECT count(*) || ' went' FROM gone;
	RETURN NULL;
END $$;
CREATE TRIGGER counts AFTER DELETE ON note REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION t_counts();

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
CREATE FUNCTION f_set() RETURNS SETOF bigint LANGUAGE sql VOLATILE AS 'SELECT id FROM person ORDER BY id';
CREATE FUNCTION f_definer(int) RETURNS TABLE (id bigint, name text) LANGUAGE sql STABLE SECURITY DEFINER
	AS 'SELECT id, name FROM person WHERE soc = $1';
CREATE FUNCTION f_atomic(int) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT name FROM person WHERE id = $1;
END;
CREATE FUNCTION f_two(int) RETURNS text LANGUAGE sql VOLATILE
	AS 'SELECT count(*) FROM msg; SELECT name FROM person WHERE id = $1';
CREATE FUNCTION f_score(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT score FROM person WHERE id = $1';
CREATE FUNCTION f_dynamic(condition text) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE 'SELECT id FROM person WHERE ' || condition;
END $$;
CREATE FUNCTION f_found(s int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM FROM person WHERE score > s;
	RETURN FOUND;
END $$;
CREATE FUNCTION f_caught(who int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE a text;
BEGIN
	SELECT name::int INTO a FROM person WHERE id = who;
	RETURN 'nobody';
EXCEPTION WHEN invalid_text_representation THEN
	RETURN SQLERRM;
END $$;
CREATE FUNCTION f_raises(who int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION '%', (SELECT name FROM person WHERE id = who) USING ERRCODE = 'XX001';
END $$;
CREATE FUNCTION f_only() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE who bigint;
BEGIN
	SELECT id INTO STRICT who FROM person WHERE id IN (4, 9);
	RETURN who;
END $$;
CREATE FUNCTION f_open(c refcursor) RETURNS refcursor LANGUAGE plpgsql AS $$
BEGIN
	OPEN c FOR SELECT id, name FROM person ORDER BY id;
	RETURN c;
END $$;
CREATE FUNCTION f_next() RETURNS SETOF bigint LANGUAGE plpgsql AS $$
DECLARE c CURSOR FOR SELECT id FROM person ORDER BY id; who bigint;
BEGIN
	OPEN c;
	FETCH c INTO who; RETURN NEXT who;
	MOVE FORWARD 2 FROM c;
	FETCH c INTO who; RETURN NEXT who;
	CLOSE c;
END $$;
CREATE PROCEDURE p_find(who int, INOUT found text) LANGUAGE plpgsql AS $$
BEGIN
	found := (SELECT name FROM person WHERE id = who);
END $$;
CREATE FUNCTION f_msg(low int) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT count(*) FROM msg WHERE n > low);
END $$;
CREATE FUNCTION f_toast() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE bytes bigint;
BEGIN
	EXECUTE format('SELECT sum(length(chunk_data)) FROM %s', (SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'letter'::regclass)) INTO bytes;
	RETURN bytes;
END $$;
CREATE VIEW v_invoker AS SELECT id, name FROM restricted;
CREATE VIEW v_check AS SELECT id, name, soc, score FROM person WHERE soc = 1 WITH CHECK OPTION;
CREATE VIEW v_nested WITH (security_barrier) AS SELECT s.name AS society, p.name FROM society s JOIN v_person p ON p.soc = s.id;
GRANT SELECT ON v_invoker TO oracle_reader;

-- A server that is this one; who reads there is whoever the case says.
CREATE EXTENSION postgres_fdw;
CREATE FUNCTION back() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format($f$CREATE SERVER back FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host %L, port %L, dbname %L, options %L)$f$,
		split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(),
		'-c ward.actor=' || replace(coalesce(current_setting('ward.actor', true), ''), ' ', '\ ') || ' -c ward.capture=' || current_setting('ward.capture'));
	EXECUTE format('CREATE USER MAPPING FOR CURRENT_USER SERVER back OPTIONS (user %L)', current_user);
	CREATE FOREIGN TABLE far_person (id bigint, name text, soc int, score int) SERVER back OPTIONS (schema_name 'public', table_name 'person');
END $$;

SELECT ward.watch('person', 'id'), ward.watch('msg', 'person_id'), ward.watch('link', 'person_id'),
       ward.watch('link', 'relative_id'), ward.watch('parted', 'id'), ward.watch('base', 'id'),
       ward.watch('restricted', 'id'), ward.watch('late', 'id'), ward.watch('booking', 'id'), ward.watch('letter', 'id'),
       ward.watch('note', 'id'), ward.watch('visit', 'person_id'), ward.watch('held', 'id');

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
	DELETE FROM booking WHERE id = who AND coalesce(place, 'booking') = 'booking';
	DELETE FROM letter WHERE id = who AND coalesce(place, 'letter') = 'letter';
	DELETE FROM visit WHERE person_id = who AND coalesce(place, 'visit') = 'visit';
	DELETE FROM note WHERE id = who AND coalesce(place, 'note') = 'note';
	DELETE FROM heard;
END $$;

-- The same for cases that commit, which then put the table's rows back.
CREATE FUNCTION forget_held(who bigint, place text) RETURNS void LANGUAGE sql
	AS 'DELETE FROM held WHERE id = who';
CREATE PROCEDURE tidy_held() LANGUAGE sql AS $$
	DELETE FROM held;
	INSERT INTO held SELECT id, name FROM person WHERE id < 9 ORDER BY id;
$$;
INSERT INTO held SELECT id, name FROM person WHERE id < 9 ORDER BY id;
