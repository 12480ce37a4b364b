-- Protecting tables with hostile names, partitions and children.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT ward.create_key('names.key', make_default => true), ward.grant_unseal('names.key', current_user::name, 'test');
CREATE SCHEMA "we ird""'Ünïcode";
CREATE TABLE "we ird""'Ünïcode"."tab le'""x" ("col ""'ümn" varchar(7) DEFAULT 'it''s\' CONSTRAINT "ch'""k %s" CHECK ("col ""'ümn" <> '%1$s''"'), "dropped" int, k int primary key);
ALTER TABLE "we ird""'Ünïcode"."tab le'""x" DROP COLUMN dropped;
CREATE INDEX "i x'""" ON "we ird""'Ünïcode"."tab le'""x" ("col ""'ümn") WHERE "col ""'ümn" = '''"';
CREATE VIEW "we ird""'Ünïcode"."v''%I""" AS SELECT "col ""'ümn" AS "a""'b%s" FROM "we ird""'Ünïcode"."tab le'""x" WHERE "col ""'ümn" = $$x'"\$$;
COMMENT ON COLUMN "we ird""'Ünïcode"."v''%I"""."a""'b%s" IS 'it''s';
CREATE TABLE "we ird""'Ünïcode".yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy (xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx varchar(3));
SELECT ward.protect('"we ird""''Ünïcode"."tab le''""x"', 'col "''ümn', 'names.key');
SELECT ward.protect('"we ird""''Ünïcode".yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy', repeat('x',63)::name, 'names.key');
SELECT conname, pg_get_constraintdef(oid) ~ '%1' AS shows FROM pg_constraint WHERE connamespace = (SELECT oid FROM pg_namespace WHERE nspname LIKE 'we ird%') AND contype = 'c' ORDER BY 1;
INSERT INTO "we ird""'Ünïcode"."tab le'""x" VALUES (DEFAULT, 1);
INSERT INTO "we ird""'Ünïcode"."tab le'""x" VALUES ('12345678', 2);
INSERT INTO "we ird""'Ünïcode"."tab le'""x" VALUES ('üüüüüüü', 2);
INSERT INTO "we ird""'Ünïcode"."tab le'""x" VALUES ('%1$s''"', 3);
SELECT * FROM "we ird""'Ünïcode"."tab le'""x";
SELECT ward.unprotect('"we ird""''Ünïcode"."tab le''""x"', 'col "''ümn', 'r');

-- Partitions and children go with their parent, whatever their columns' numbers.
CREATE TABLE pt (id int, region text, name varchar(30) DEFAULT 'n' NOT NULL CHECK (name <> 'zz'), PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE pt1 PARTITION OF pt FOR VALUES IN ('a');
CREATE TABLE pt2 (x int, name varchar(30) NOT NULL CHECK (name <> 'zz'), region text not null, id int not null); ALTER TABLE pt2 DROP COLUMN x; ALTER TABLE pt2 RENAME CONSTRAINT pt2_name_check TO pt_name_check;
ALTER TABLE pt ATTACH PARTITION pt2 FOR VALUES IN ('b');
CREATE INDEX ptn ON pt (name); CREATE UNIQUE INDEX pt2u ON pt2(name); CREATE VIEW ptv AS SELECT name FROM pt2;
ALTER TABLE pt1 ALTER name SET DEFAULT 'n1';
INSERT INTO pt SELECT i, CASE WHEN i%2=0 THEN 'a' ELSE 'b' END, 'n'||i FROM generate_series(1,20) i;
CREATE TABLE rf (id int, r text, FOREIGN KEY (id, r) REFERENCES pt); INSERT INTO rf VALUES (1,'b');
SELECT object, action FROM ward.protect_plan('pt', 'name', 'names.key') ORDER BY object COLLATE "C";
SELECT ward.protect('pt','region','names.key');
SELECT ward.protect('pt1','name','names.key');
SELECT ward.protect('pt','name','names.key');
SELECT tableoid::regclass, * FROM pt WHERE name = 'n3';
SELECT relation, column_name, type FROM ward.sealed_columns WHERE relation::text LIKE 'pt%' ORDER BY 1;
SELECT conrelid::regclass, conname, coninhcount, convalidated FROM pg_constraint WHERE conrelid IN ('pt'::regclass, 'pt1'::regclass, 'pt2'::regclass) AND contype = 'c' ORDER BY 1, 2;
SELECT ward.unprotect('pt','name','names.key');
SELECT tableoid::regclass, count(*), min(name) FROM pt GROUP BY 1 ORDER BY 1;
SELECT conrelid::regclass, conname, coninhcount, convalidated, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid IN ('pt'::regclass, 'pt1'::regclass, 'pt2'::regclass) AND contype = 'c' ORDER BY 1, 2;
SELECT adrelid::regclass, pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid IN ('pt'::regclass, 'pt1'::regclass, 'pt2'::regclass) ORDER BY 1;
CREATE TABLE par (id int, n text); CREATE TABLE chi (z int) INHERITS (par); CREATE INDEX ON chi (n); INSERT INTO chi VALUES (1,'a',2);
SELECT ward.protect('par','n','names.key');
SELECT * FROM chi;
SELECT ward.protect('chi','n','names.key');
DROP SCHEMA "we ird""'Ünïcode" CASCADE;
DROP TABLE pt, rf, par CASCADE;
SELECT relation FROM _ward.sealed_column;
DELETE FROM _ward.key WHERE name = 'names.key';
