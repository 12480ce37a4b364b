-- Every type that can be sealed is carried, there and back, with its defaults, checks,
-- keys and views.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT ward.create_key('types.key', make_default => true), ward.grant_unseal('types.key', current_user::name, 'test');
CREATE TABLE m (id int PRIMARY KEY, i int DEFAULT 7 CHECK (i IN (7, 8, 9)), s smallint, b bigint UNIQUE, n numeric(6,2) DEFAULT 1.5 CHECK (n > 0),
                d date DEFAULT '2020-01-02' CHECK (d <> '1999-01-01'), t timestamptz, u uuid, j jsonb DEFAULT '{"a": 1}',
                f boolean DEFAULT true CHECK (f), y bytea, p int REFERENCES m (id));
CREATE TABLE mm (b bigint REFERENCES m (b));
CREATE VIEW mv AS SELECT id, i + 1 AS i1, d FROM m
 WHERE d = '2020-01-02' AND i = 7 AND b > 3 AND u <> '00000000-0000-0000-0000-000000000000' AND f;
CREATE INDEX m_d ON m (d) WHERE i = 7;
INSERT INTO m (id, s, b, t, u, y)
SELECT i, i, i, '2020-01-01 00:00+00'::timestamptz + i * interval '1 h', lpad(i::text, 32, '0')::uuid, '\xabcd' FROM generate_series(1, 20) i;
INSERT INTO mm VALUES (3);
CREATE TEMP TABLE before AS SELECT m::text AS answer FROM m UNION ALL SELECT mv::text FROM mv;
SELECT count(*) FROM before;
SELECT c, ward.protect('m', c, 'types.key') FROM unnest('{i,s,b,n,d,t,u,j,f,y,p}'::name[]) c;
SELECT relation, column_name, type FROM ward.sealed_columns WHERE key = 'types.key' ORDER BY relation::text, column_name;
(SELECT m::text FROM m UNION ALL SELECT mv::text FROM mv) EXCEPT SELECT answer FROM before;
SELECT count(*) FROM mv;
SELECT adnum FROM pg_attrdef WHERE adrelid = 'm'::regclass AND pg_get_expr(adbin, adrelid) !~ '^''\\sealed:';
\set VERBOSITY terse
INSERT INTO m (id) VALUES (50);
SELECT * FROM m WHERE id = 50;
DELETE FROM m WHERE id = 50;
INSERT INTO m (id, i) VALUES (51, 10);
INSERT INTO m (id, d) VALUES (51, '1999-01-01');
INSERT INTO m (id, n) VALUES (51, -1);
INSERT INTO m (id, b) VALUES (51, 3);
INSERT INTO mm VALUES (99);
SELECT c, ward.unprotect('m', c, 'test') FROM unnest('{i,s,b,n,d,t,u,j,f,y,p}'::name[]) c;
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid IN ('m'::regclass, 'mm'::regclass) AND attnum > 0 ORDER BY attrelid, attnum;
(SELECT m::text FROM m UNION ALL SELECT mv::text FROM mv) EXCEPT SELECT answer FROM before;
SELECT count(*) FROM mv;
SELECT count(*) FROM pg_attrdef WHERE adrelid = 'm'::regclass AND pg_get_expr(adbin, adrelid) ~ 'sealed';
DROP TABLE m, mm CASCADE;
DELETE FROM _ward.key WHERE name = 'types.key';
