-- What the server refuses for a plain table it refuses for a watched one, in its own words.
CREATE TABLE refused (id integer PRIMARY KEY, n integer, twice integer GENERATED ALWAYS AS (n * 2) STORED);
INSERT INTO refused VALUES (1, 10), (2, 20);
SELECT ward.watch('refused', 'id', 'person');

COPY refused TO STDOUT;
COPY refused (id, n) TO STDOUT;
COPY refused (id, twice) TO STDOUT;
COPY refused (id, id) TO STDOUT;
COPY refused (id, missing) TO STDOUT;
COPY refused (id, ctid) TO STDOUT;

-- Whoever may not read it learns so, and not that a policy is in the way.
ALTER TABLE refused ENABLE ROW LEVEL SECURITY;
CREATE ROLE refused_role;
SET ROLE refused_role;
SET row_security = off;
COPY refused TO STDOUT;
RESET row_security;
RESET ROLE;
-- With a right to one column alone it may read that.
GRANT SELECT (id) ON refused TO refused_role;
ALTER TABLE refused DISABLE ROW LEVEL SECURITY;
SET ROLE refused_role;
COPY refused (id) TO STDOUT;
COPY refused TO STDOUT;
RESET ROLE;

-- Relations of the wrong kind.
CREATE INDEX refused_n ON refused (n, id);
CREATE STATISTICS refused_stats ON n, id FROM refused_n;
COPY refused_n TO STDOUT;
COPY refused_n FROM '/dev/null';

SELECT ward.unwatch('refused');
DROP TABLE refused;
DROP ROLE refused_role;
