-- The third act: a limit and a canary. Run by psql as postgres, who acts as officer, with
-- people as variable: how many there are.
\set QUIET on
-- Looks real, and no case is about her; she stands on the first page of a listing.
INSERT INTO registry.person VALUES (:people + 1, 12, 'Aada Aaltonen', '1981-03-02', 'NID-999999998',
	'+358 40 5550100', 'Kirkkokatu 3', 'missing', 'telephone', false);
SELECT ward.canary('registry.person', (:people + 1)::text) \g /dev/null
-- Who works with forty files and their families is far from it; first tried as a limit that only tells.
SELECT ward.limit('bulk', 'person', 500, '1 hour', by => 'session') \g /dev/null
