-- What can be watched, what is refused, and what becomes of a watch.
\set SHOW_CONTEXT never
CREATE TABLE watched (id bigint PRIMARY KEY, other int, code numeric, n smallint);
CREATE INDEX ON watched (code);
CREATE VIEW watched_view AS SELECT * FROM watched;
SELECT ward.watch('watched', 'id');
SELECT ward.watch('watched', 'other', 'relative');
SELECT relation, subject, class, indexes_without_subject, indexes_that_help FROM ward.watches ORDER BY subject;
-- Each is a statement that runs, also with odd names, orders, conditions and options.
CREATE TABLE "Odd; table" (id int, "A; b" text COLLATE "C", c int, "Who?" int, PRIMARY KEY (id));
CREATE UNIQUE INDEX odd_unique ON "Odd; table" (c DESC, "A; b" COLLATE "POSIX" text_pattern_ops NULLS FIRST) INCLUDE (id) WITH (fillfactor = 70) WHERE c > 3 AND "A; b" <> ' INCLUDE (';
CREATE INDEX odd_expression ON "Odd; table" ((c + 1));
CREATE INDEX odd_hash ON "Odd; table" USING hash (c);
SELECT ward.watch('"Odd; table"', 'Who?', 'odd');
SELECT unnest(indexes_without_subject) AS without, unnest(indexes_that_help) AS helps FROM ward.watches WHERE class = 'odd';
SELECT unnest(indexes_that_help) FROM ward.watches WHERE class = 'odd' \gexec
SELECT indexrelid::regclass FROM pg_index WHERE indrelid = '"Odd; table"'::regclass ORDER BY 1;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM "Odd; table" WHERE id = 1;
RESET enable_seqscan;
RESET enable_bitmapscan;
DROP TABLE "Odd; table";
-- Again: the class is changed, nothing else.
SELECT ward.watch('watched', 'other', 'person');
SELECT subject, class FROM ward.watches ORDER BY subject;

SELECT ward.watch('watched_view', 'id');
SELECT ward.watch('watched', 'nothing');
SELECT ward.watch('watched', 'code');
SELECT ward.watch('watched', NULL);
SELECT ward.watch('watched', 'id', '');
SELECT ward.watch('pg_class', 'oid');
CREATE TEMP TABLE watched_temp (id int);
SELECT ward.watch('watched_temp', 'id');
SELECT ward.unwatch('pg_class');
SELECT ward.unwatch('watched', 'n', 'not watched by this column');

-- A renamed column stays watched; a dropped one is told; a dropped table is gone.
ALTER TABLE watched RENAME COLUMN other TO renamed;
SELECT subject FROM ward.watches ORDER BY subject;
DROP VIEW watched_view;
ALTER TABLE watched DROP COLUMN renamed;
SELECT subject FROM ward.watches ORDER BY subject;
SELECT ward.unwatch('watched', 'id', 'end of test');
SELECT ward.watch('watched', 'id');
DROP TABLE watched CASCADE;
SELECT count(*) FROM ward.watches;

-- Each of it is in the trail.
SELECT ward.sync() IS NOT NULL AS synced;
SELECT kind, detail ->> 'subject' AS subject, detail ->> 'reason' AS reason FROM ward.events
 WHERE kind LIKE 'watch.%' AND detail ->> 'relation' LIKE '%watched%' ORDER BY position;

-- Statements as the trail keeps them: no literal, no comment.
SELECT _ward.normalise(q) FROM (VALUES
	($$SELECT * FROM t WHERE a = 'secret' AND b = 42 -- secret$$),
	($$SELECT E'sec\'ret', $x$secret$x$, U&'\0073ecret', B'101', X'1F', 1.5e3, -7 /* secret */$$),
	($$SELECT "Odd ""Name", a.b->>'secret' FROM c WHERE d = $1$$),
	($$SELECT .5, n'secret', e'sec''ret', u&"o'neil", $$ || '$$sec$1ret$$' || $$, 1..2, a[1:2], $2$$),
	($$SELECT 'se' -- secret
	'cret', U&'s!0065cret' UESCAPE '!', x, b, e, u & n, _1, 0.1e-5$$),
	($$SELECT 'unterminated secret$$),
	($$CREATE ROLE x PASSWORD 'secret'$$),
	('')) v(q);

CREATE ROLE watch_nobody;
SET ROLE watch_nobody;
SELECT ward.watch('pg_class', 'oid');
SELECT ward.unwatch('pg_class');
SELECT * FROM ward.watches;
SET ward.capture = off;
RESET ROLE;
DROP ROLE watch_nobody;
-- Weakening capture leaves its record.
SET ward.capture = off;
RESET ward.capture;
SELECT ward.sync() IS NOT NULL AS synced;
SELECT DISTINCT detail ->> 'setting' AS setting, detail ->> 'value' AS value FROM ward.events WHERE kind = 'setting.changed' AND detail ->> 'setting' = 'ward.capture';
