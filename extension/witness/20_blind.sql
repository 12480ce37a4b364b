-- witness: what could not be witnessed, told by the trail itself.

-- Times in which data may have left on a path that shows no rows, from the index's events.
-- until is NULL where it goes on, or nobody said that it ended.
CREATE FUNCTION _ward.blind_spots_in(during tstzrange)
	RETURNS TABLE (since timestamptz, until timestamptz, path text, widens boolean, role text, session text,
		client text, reach text, why text, detail jsonb, node text, "position" bigint)
	LANGUAGE sql STABLE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	WITH known (kind, ends, widens, reach, why) AS (VALUES
		('raw.file', NULL, true, 'files of the server', 'a file on the server was read through SQL'),
		('raw.directory', NULL, false, 'names of files', 'a directory on the server was listed'),
		('raw.program', NULL, true, 'whatever the server may read', 'a program was run on the server by COPY'),
		('raw.code', NULL, true, 'whatever the server may read', 'a library was loaded into a session'),
		('raw.language', NULL, true, 'whatever the server may read', 'a function in an untrusted language was called'),
		('raw.backup', 'raw.backup_end', true, 'all databases', 'a backup was begun: files are copied beside the server'),
		('raw.replication', 'raw.replication_end', true, 'all databases', 'a replication connection: base backup, WAL or decoded changes'),
		('raw.slot', NULL, false, 'nothing by itself', 'a replication slot was made; what is read from it is listed by itself'),
		('raw.slot_dropped', NULL, false, 'nothing by itself', 'a replication slot was dropped'),
		('raw.decoding', NULL, true, 'changes in the database', 'changes were decoded through SQL'),
		('raw.statistics', NULL, true, 'columns in clear of watched tables', 'statistics were read, which keep values'),
		('raw.toast', NULL, true, 'the watched table', 'long values were read without their rows'),
		('raw.page', NULL, true, 'any table of the database', 'pages were read as they are stored'),
		('raw.wal', NULL, true, 'all databases', 'WAL was read through SQL'),
		('raw.capture_off', 'raw.capture_on', true, 'watched tables of the database', 'the session ran statements with ward.capture off'),
		('trail.recovered', NULL, true, 'the last moment before a crash', 'the server crashed while a record was written')
	), starts AS (
		SELECT e.node, e.position, e.at FROM _ward.event e WHERE e.kind = 'trail.started'
	), spots AS (
		SELECT e.at AS since,
			   CASE WHEN k.ends IS NULL THEN e.at
					ELSE least((SELECT min(f.at) FROM _ward.event f
								WHERE f.kind = k.ends AND f.node = e.node AND f.position > e.position
								  AND (f.detail ->> 'session' = e.detail ->> 'session' OR k.kind = 'raw.backup')),
							   (SELECT min(s.at) FROM starts s WHERE s.node = e.node AND s.position > e.position)) END AS until,
			   substr(e.kind, strpos(e.kind, '.') + 1) AS path,
			   k.widens AND coalesce(e.detail ->> 'in_data_directory', '') <> 'false' AS widens,
			   e.detail ->> 'role' AS role, e.detail ->> 'session' AS session, e.detail ->> 'client' AS client,
			   k.reach, k.why, e.detail, e.node, e.position
		FROM _ward.event e JOIN known k ON k.kind = e.kind
		UNION ALL
		-- Between the last that is known before a start, and the start.
		SELECT greatest((SELECT f.at FROM _ward.event f WHERE f.node = s.node AND f.position < s.position
						 ORDER BY f.position DESC LIMIT 1),
						(SELECT c.at FROM _ward.context c WHERE c.node = s.node AND c.position < s.position
						 ORDER BY c.position DESC LIMIT 1),
						-- What was carried over a cut is older than what is known of.
						(SELECT max(g.until) FROM _ward.trail_gaps() g WHERE g.pruned AND g.node = s.node AND g.until <= s.at)),
			   s.at, 'start', true, NULL, NULL, NULL, 'all databases',
			   'the server was down, or ran without pg_ward', '{}'::jsonb, s.node, s.position
		FROM starts s
		UNION ALL
		SELECT g.since, CASE WHEN NOT g.open THEN g.until END, CASE WHEN g.pruned THEN 'pruned' ELSE 'gap' END, true, NULL, NULL, NULL,
			   'watched tables of all databases',
			   CASE WHEN g.pruned THEN 'the evidence was pruned (ward.retention)'
					ELSE 'statements went on without evidence (ward.on_trail_failure = allow)' END,
			   jsonb_build_object('records_lost', g.records_lost), g.node, g.position
		FROM _ward.trail_gaps() g
	)
	SELECT b.since, b.until, b.path, b.widens, b.role, b.session, b.client, b.reach, b.why,
		   b.detail - '{role,session,client}'::text[], b.node, b.position
	FROM spots b
	WHERE blind_spots_in.during IS NULL OR tstzrange(b.since, b.until, '[]') && blind_spots_in.during;
END;
REVOKE ALL ON FUNCTION _ward.blind_spots_in(tstzrange) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION _ward.blind_spots_in(tstzrange) TO ward_officer, ward_auditor, ward_analyst;
COMMENT ON FUNCTION _ward.blind_spots_in(tstzrange) IS 'blind spots that touch a range of time, or all (NULL)';

CREATE VIEW ward.blind_spots AS SELECT * FROM _ward.blind_spots_in(NULL);
REVOKE ALL ON ward.blind_spots FROM PUBLIC;
GRANT SELECT ON ward.blind_spots TO ward_officer, ward_auditor, ward_analyst;
COMMENT ON VIEW ward.blind_spots IS
	'when data may have left on a path that shows no rows, who opened it, and what it reaches (call ward.sync() first)';
