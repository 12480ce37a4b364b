-- What the base type did not take, its sealed column does not take either.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT ward.create_key('limits.key', make_default => true), ward.grant_unseal('limits.key', current_user::name, 'test');
CREATE ROLE limits_writer;
CREATE TABLE l (id int PRIMARY KEY, s smallint, i int, b bigint, n numeric(6,2), w numeric(3,-2), f numeric(2,4), free numeric, v varchar(3));
INSERT INTO l VALUES (1, -32768, 2147483647, 9223372036854775807, 9999.99, 99900, 0.0099, 1e100, 'äöü');
GRANT ALL ON l TO limits_writer;
SELECT object, what_to_do FROM unnest('{s,i,b,n,w,f,free,v}'::name[]) c, LATERAL ward.protect_plan('l', c, 'limits.key') p
 WHERE object ~ '^(range|length)' ORDER BY object COLLATE "C";
SELECT c, ward.protect('l', c, 'limits.key') FROM unnest('{s,i,b,n,w,f,free,v}'::name[]) c;
SELECT conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint WHERE conrelid = 'l'::regclass AND contype = 'c' ORDER BY conname COLLATE "C";
-- Who may not open may write, and is checked.
SET ROLE limits_writer;
INSERT INTO l (id, s, i) VALUES (2, 32767, -2147483648), (3, -32768, 0), (4, NULL, NULL);
INSERT INTO l (id, s) VALUES (5, 32768);
INSERT INTO l (id, s) VALUES (5, -32769);
INSERT INTO l (id, i) VALUES (5, 2147483648);
INSERT INTO l (id, i) VALUES (5, -2147483649);
UPDATE l SET i = 2147483648 WHERE id = 2;
INSERT INTO l (id, n) VALUES (6, -9999.99), (7, 0), (8, 1.500), (9, 'NaN');
INSERT INTO l (id, n) VALUES (10, 10000);
INSERT INTO l (id, n) VALUES (10, 1.005);
INSERT INTO l (id, n) VALUES (10, '-Infinity');
INSERT INTO l (id, w) VALUES (11, 99900), (12, -100);
INSERT INTO l (id, w) VALUES (13, 100000);
INSERT INTO l (id, w) VALUES (13, 150);
INSERT INTO l (id, f) VALUES (14, 0.0099), (15, -0.0001);
INSERT INTO l (id, f) VALUES (16, 0.01);
INSERT INTO l (id, v) VALUES (17, 'long');
INSERT INTO l (id, b, free) VALUES (18, -9223372036854775808, 'Infinity');
SELECT sealed_int8_fits('5'::sealed_int8, 3);
RESET ROLE;
-- A key that can't be used does not hinder a row from staying what it is.
SELECT ward.freeze_key('limits.key', 'test');
UPDATE l SET id = id + 100 WHERE id = 1;
INSERT INTO l (id, i) VALUES (19, 1);
SELECT ward.thaw_key('limits.key', 'test');
SELECT id, s, i, b, n, w, f, v FROM l ORDER BY id;
-- The way back takes the checks off, and leaves no digit behind.
SELECT c, ward.unprotect('l', c, 'test') FROM unnest('{s,i,b,n,w,f,free,v}'::name[]) c;
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'l'::regclass AND attnum > 1 ORDER BY attnum;
SELECT conname FROM pg_constraint WHERE conrelid = 'l'::regclass AND contype = 'c';
SELECT id, s, i, b, n, w, f, v FROM l ORDER BY id;
DROP TABLE l;
-- Somebody's own check of that kind is not taken for ours.
CREATE TABLE own (n sealed_int8('limits.key'), CONSTRAINT own_n CHECK (sealed_int8_fits(n, 2)));
SELECT ward.unprotect('own', 'n', 'test');
DROP TABLE own;
DROP ROLE limits_writer;
DELETE FROM _ward.key WHERE name = 'limits.key';
