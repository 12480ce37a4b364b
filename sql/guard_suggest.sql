-- What limits would have done, told from the trail.
\set SHOW_CONTEXT never
\set VERBOSITY terse
CREATE ROLE suggest_busy;
CREATE ROLE suggest_quiet;
CREATE ROLE suggest_officer IN ROLE ward_officer;
CREATE TABLE suggested (id int PRIMARY KEY, name text);
INSERT INTO suggested SELECT i, 'name' FROM generate_series(1, 500) i;
SELECT ward.watch('suggested', 'id', 'suggested');
GRANT SELECT, UPDATE ON suggested TO suggest_busy, suggest_quiet, suggest_officer;
SET ROLE suggest_busy;
SELECT name FROM suggested WHERE id <= 100 \g /dev/null
SELECT name FROM suggested WHERE id BETWEEN 51 AND 120 \g /dev/null
UPDATE suggested SET name = 'other' WHERE id BETWEEN 201 AND 205 RETURNING id \g /dev/null
-- Neither a count nor a write.
SELECT count(*) FROM suggested;
UPDATE suggested SET name = 'other' WHERE id > 300;
SET ROLE suggest_quiet;
SELECT name FROM suggested WHERE id = 7;
SET ROLE suggest_officer;
SELECT name FROM suggested \g /dev/null
RESET ROLE;
SELECT role, at_most, highest, statements, would_refuse FROM ward.suggest_limits('suggested') WHERE role LIKE 'suggest%' AND per = '1 day';
SELECT principal, people, first_at > now() - interval '1 hour' AS lately, minutes BETWEEN 1 AND 2 AS short, statements
  FROM ward.dry_run_limit('suggested', 100, '1 day');
SELECT principal FROM ward.dry_run_limit('suggested', 125, '1 day');
SELECT principal, people FROM ward.dry_run_limit('suggested', 0, '1 day', applies_to => '{suggest_quiet}');
SELECT principal, people FROM ward.dry_run_limit('suggested', 0, '1 day', manner => 'ciphertext');
SELECT principal, people FROM ward.dry_run_limit('suggested', 120, '1 day', by => 'client');
SELECT principal, people FROM ward.dry_run_limit('suggested', 0, '1 day', applies_to => '{suggest_officer}');
-- It makes none.
SELECT count(*) FROM ward.limits;
SET ROLE suggest_quiet;
SELECT * FROM ward.suggest_limits('suggested');
SELECT * FROM ward.dry_run_limit('suggested', 0, '1 day');
RESET ROLE;
DROP TABLE suggested;
DROP ROLE suggest_busy, suggest_quiet, suggest_officer;
