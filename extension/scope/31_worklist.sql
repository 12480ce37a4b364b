-- scope: the worklist of an incident. One row a person: whom to tell, how, how urgently,
-- and what came of it.
--
-- Category, channel and the like are the organisation's own data. They are read by a
-- function that runs as whoever calls it, never as the extension's owner: a view may
-- call anything. What it read goes as plain values to a function that can touch nothing
-- but the worklist.

-- Where the organisation keeps what a worklist needs to know of the people of a class.
CREATE TABLE _ward.subject_description (
	class text PRIMARY KEY,
	source regclass NOT NULL,
	declared_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	declared_by text NOT NULL
);
COMMENT ON TABLE _ward.subject_description IS 'the organisation''s own tables that describe subjects';

-- Which columns a person's data was disclosed in: few differ, so each combination once.
CREATE TABLE _ward.notification_columns (
	incident bigint NOT NULL REFERENCES _ward.incident,
	id integer NOT NULL,
	columns_clear text[] NOT NULL,
	columns_sealed text[] NOT NULL,
	PRIMARY KEY (incident, id)
);
COMMENT ON TABLE _ward.notification_columns IS 'combinations of columns that an incident disclosed';

CREATE TABLE _ward.notification (
	-- No foreign key: nothing deletes incidents, and checking it half a million times is
	-- felt when one is opened.
	incident bigint NOT NULL,
	subject_class text NOT NULL,
	number bigint NOT NULL,		-- as in subject sets
	verdict text NOT NULL CHECK (verdict IN ('certain', 'possible', 'dropped')),
	columns integer,
	category text,
	channel text,
	society text,
	priority text,
	rank bigint NOT NULL DEFAULT 1000000,	-- the smaller, the sooner
	unsafe_to_contact boolean,
	state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'notified', 'unreachable', 'must_not_be_contacted')),
	decided_by text,			-- NULL where nobody did: pending, or the source says unsafe
	decided_at timestamptz,
	proof text,
	claimed_by text,
	claimed_until timestamptz,
	PRIMARY KEY (incident, subject_class, number)
) WITH (fillfactor = 80);
CREATE INDEX notification_pending ON _ward.notification (incident, verdict, rank, number) WHERE state = 'pending';
COMMENT ON TABLE _ward.notification IS 'whom to tell of an incident, and what came of it';

CREATE TABLE _ward.notification_log (
	incident bigint NOT NULL,
	subject_class text NOT NULL,
	number bigint NOT NULL,
	at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	by text NOT NULL,
	state text NOT NULL,
	proof text
);
CREATE INDEX notification_log_subject ON _ward.notification_log (incident, subject_class, number);
COMMENT ON TABLE _ward.notification_log IS 'all that was said of anybody''s notification, in order';

REVOKE ALL ON _ward.subject_description, _ward.notification_columns, _ward.notification, _ward.notification_log FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('_ward.subject_description', '');
SELECT pg_catalog.pg_extension_config_dump('_ward.notification_columns', '');
SELECT pg_catalog.pg_extension_config_dump('_ward.notification', '');
SELECT pg_catalog.pg_extension_config_dump('_ward.notification_log', '');

CREATE FUNCTION ward.describe_subjects(class text, source regclass) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	kind "char";
	wrong text;
BEGIN
	IF class IS NULL OR source IS NULL THEN
		RAISE EXCEPTION 'say which class the table or view describes' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF NOT _ward.scope_class_known(class) THEN
		RAISE EXCEPTION 'there is no subject class "%"', class
			USING ERRCODE = 'undefined_object', HINT = 'ward.watches lists the classes that are watched now.';
	END IF;
	SELECT c.relkind INTO kind FROM pg_class c WHERE c.oid = source;
	IF kind IS NULL OR kind NOT IN ('r', 'p', 'v', 'm', 'f') THEN
		RAISE EXCEPTION '% does not describe people', source
			USING ERRCODE = 'WD610', DETAIL = 'It is neither a table nor a view.';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = source AND a.attname = 'subject' AND a.attnum > 0 AND NOT a.attisdropped) THEN
		RAISE EXCEPTION '% has no column "subject"', source
			USING ERRCODE = 'WD610',
				DETAIL = 'It must have the column subject, and may have category, channel, society, priority and unsafe_to_contact.',
				HINT = 'Make a view that names the columns so.';
	END IF;
	SELECT string_agg(format('%I is of type %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum) INTO wrong
	FROM pg_attribute a
	WHERE a.attrelid = source AND a.attnum > 0 AND NOT a.attisdropped
	  AND ((a.attname = 'unsafe_to_contact' AND a.atttypid <> 'boolean'::regtype)
		   OR (a.attname = 'priority' AND a.atttypid NOT IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'text'::regtype, 'varchar'::regtype)));
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION '% has columns of another type', source
			USING ERRCODE = 'WD610', DETAIL = wrong || '.',
				HINT = 'unsafe_to_contact is a boolean; priority is a number (the smaller, the sooner) or a text (whoever has one comes first).';
	END IF;
	INSERT INTO _ward.subject_description AS d (class, source, declared_by) VALUES (class, source, _ward.scope_worker())
	ON CONFLICT ON CONSTRAINT subject_description_pkey DO UPDATE
		SET source = excluded.source, declared_at = excluded.declared_at, declared_by = excluded.declared_by;
	PERFORM _ward.record_event('subjects.described', ARRAY['class', 'source'], ARRAY[class, source::text]);
END
$$;
COMMENT ON FUNCTION ward.describe_subjects(text, regclass) IS
	'declares the organisation''s own table or view with the columns subject and, as far as known, category, channel, society, priority, unsafe_to_contact; it is read with the rights of whoever works an incident';

-- Whom a version covers, as few sets: those with the same verdict and columns.
CREATE FUNCTION _ward.worklist_covered(incident bigint, version integer)
	RETURNS TABLE (subject_class text, verdict text, columns integer, subjects bytea)
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT g.subject_class, CASE WHEN g.certain THEN 'certain' ELSE 'possible' END, c.id, _ward.subject_set_union(g.subjects)
	FROM _ward.incident_group g
	JOIN _ward.notification_columns c
		ON c.incident = g.incident AND c.columns_clear = g.columns_clear AND c.columns_sealed = g.columns_sealed
	WHERE g.incident = worklist_covered.incident AND g.version = worklist_covered.version
	GROUP BY g.subject_class, g.certain, c.id;
END;
COMMENT ON FUNCTION _ward.worklist_covered(bigint, integer) IS 'people of a version by verdict and columns';

-- Makes a worklist ready for a new version: its combinations of columns, and what it says of
-- people who are on the list. What was done already stays, also for people that are no longer
-- covered. Whoever is not on it yet comes with a description, since a row that is written
-- twice takes twice as long: _ward.worklist_set(), or _ward.worklist_complete().
CREATE FUNCTION _ward.worklist_prepare(incident bigint, version integer) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	INSERT INTO _ward.notification_columns (incident, id, columns_clear, columns_sealed)
	SELECT worklist_prepare.incident, row_number() OVER () + (SELECT coalesce(max(c.id), 0) FROM _ward.notification_columns c WHERE c.incident = worklist_prepare.incident),
		   x.columns_clear, x.columns_sealed
	FROM (
		SELECT DISTINCT g.columns_clear, g.columns_sealed FROM _ward.incident_group g
		WHERE g.incident = worklist_prepare.incident AND g.version = worklist_prepare.version
		EXCEPT
		SELECT c.columns_clear, c.columns_sealed FROM _ward.notification_columns c WHERE c.incident = worklist_prepare.incident
	) x;
	IF version = 1 THEN
		RETURN;
	END IF;
	UPDATE _ward.notification n SET verdict = c.verdict, columns = c.columns
	FROM _ward.worklist_covered(worklist_prepare.incident, worklist_prepare.version) c, LATERAL _ward.subject_set_members(c.subjects) m
	WHERE n.incident = worklist_prepare.incident AND n.subject_class = c.subject_class AND n.number = m
	  AND (n.verdict <> c.verdict OR n.columns IS DISTINCT FROM c.columns);
	WITH listed AS (
		SELECT n.subject_class, _ward.subject_set_agg(n.number) AS subjects FROM _ward.notification n
		WHERE n.incident = worklist_prepare.incident AND n.verdict <> 'dropped' GROUP BY n.subject_class
	), gone AS MATERIALIZED (
		SELECT l.subject_class, _ward.subject_set_minus(l.subjects, (
			SELECT _ward.subject_set_union(c.subjects) FROM _ward.worklist_covered(worklist_prepare.incident, worklist_prepare.version) c
			WHERE c.subject_class = l.subject_class)) AS subjects
		FROM listed l
	)
	UPDATE _ward.notification n SET verdict = 'dropped'
	FROM gone g, LATERAL _ward.subject_set_members(g.subjects) m
	WHERE n.incident = worklist_prepare.incident AND n.subject_class = g.subject_class AND n.number = m;
END
$$;
COMMENT ON FUNCTION _ward.worklist_prepare(bigint, integer) IS 'makes a worklist ready for a new version';

-- Puts the people of the last version on the list who are not on it.
CREATE FUNCTION _ward.worklist_complete(incident bigint) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM _ward.incident_get(incident, true);
	INSERT INTO _ward.notification (incident, subject_class, number, verdict, columns)
	SELECT worklist_complete.incident, x.*
	FROM (
		SELECT c.subject_class, m AS number, c.verdict, c.columns
		FROM _ward.worklist_covered(worklist_complete.incident, _ward.incident_version_of(worklist_complete.incident, NULL)) c
		LEFT JOIN (
			SELECT n.subject_class, _ward.subject_set_agg(n.number) AS subjects FROM _ward.notification n
			WHERE n.incident = worklist_complete.incident GROUP BY n.subject_class
		) l ON l.subject_class = c.subject_class,
		LATERAL _ward.subject_set_members(CASE WHEN l.subjects IS NULL THEN c.subjects ELSE _ward.subject_set_minus(c.subjects, l.subjects) END) m
	) x
	ORDER BY x.subject_class, x.number;
END
$$;
COMMENT ON FUNCTION _ward.worklist_complete(bigint) IS 'puts on the worklist who is covered and not on it';

-- The classes of an incident that are described, and by what.
CREATE FUNCTION _ward.worklist_sources(incident bigint) RETURNS TABLE (class text, source regclass)
	LANGUAGE plpgsql STABLE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY SELECT d.class, d.source FROM _ward.subject_description d
	WHERE EXISTS (SELECT FROM _ward.incident_group g WHERE g.incident = worklist_sources.incident AND g.subject_class = d.class);
END
$$;
COMMENT ON FUNCTION _ward.worklist_sources(bigint) IS 'tables that describe the people of an incident';

-- The next people that an incident covers or covered, by number, with their names.
CREATE FUNCTION _ward.worklist_next(incident bigint, class text, after bigint, how_many integer,
	OUT numbers bigint[], OUT subjects text[], OUT last bigint)
	LANGUAGE plpgsql STABLE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF after = 9223372036854775807 THEN
		RETURN;
	END IF;
	SELECT array_agg(s.number), array_agg(s.subject), max(s.number) INTO numbers, subjects, last
	FROM (
		SELECT _ward.subject_set_agg(x.number) AS set
		FROM (SELECT _ward.subject_set_members(_ward.subject_set_between(u.set, coalesce(worklist_next.after + 1, -9223372036854775808), 9223372036854775807)) AS number
			  FROM (SELECT _ward.subject_set_union(g.subjects) AS set FROM _ward.incident_group g
					WHERE g.incident = worklist_next.incident AND g.subject_class = worklist_next.class) u
			  LIMIT worklist_next.how_many) x
	) y, LATERAL _ward.scope_names(worklist_next.class, y.set) s;
END
$$;
COMMENT ON FUNCTION _ward.worklist_next(bigint, text, bigint, integer) IS 'next people of an incident, with their names';

-- The smaller, the sooner; a priority that is no number comes first.
CREATE FUNCTION _ward.worklist_rank(priority text) RETURNS bigint
	LANGUAGE sql IMMUTABLE
	RETURN CASE WHEN priority ~ '^-?[0-9]{1,9}$' THEN priority::bigint WHEN priority IS NOT NULL THEN 0 ELSE 1000000 END;
COMMENT ON FUNCTION _ward.worklist_rank(text) IS 'rank of a priority on the worklist';

-- Takes descriptions as plain values, of people on the list and of those who are to be on it.
-- Whoever is unsafe to contact is taken off the list, unless somebody has decided otherwise.
CREATE FUNCTION _ward.worklist_set(incident bigint, class text, numbers bigint[], categories text[], channels text[],
	societies text[], priorities text[], unsafe boolean[])
	RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	lowest bigint;
	highest bigint;
	listed bytea;
BEGIN
	PERFORM _ward.incident_get(incident, true);
	SELECT min(n), max(n) INTO lowest, highest FROM unnest(numbers) n;
	SELECT _ward.subject_set_agg(n.number) INTO listed FROM _ward.notification n
	WHERE n.incident = worklist_set.incident AND n.subject_class = worklist_set.class AND n.number BETWEEN lowest AND highest;
	IF _ward.subject_set_count(listed) > 0 THEN
		UPDATE _ward.notification n
		SET category = s.category, channel = s.channel, society = s.society, priority = s.priority,
			rank = _ward.worklist_rank(s.priority), unsafe_to_contact = s.unsafe,
			state = CASE WHEN s.unsafe AND n.state IN ('pending', 'unreachable') THEN 'must_not_be_contacted'
						 WHEN n.state = 'must_not_be_contacted' AND n.decided_by IS NULL AND s.unsafe IS NOT TRUE THEN 'pending'
						 ELSE n.state END,
			decided_by = CASE WHEN s.unsafe AND n.state IN ('pending', 'unreachable') THEN NULL ELSE n.decided_by END
		FROM unnest(numbers, categories, channels, societies, priorities, worklist_set.unsafe)
			AS s(number, category, channel, society, priority, unsafe)
		WHERE n.incident = worklist_set.incident AND n.subject_class = worklist_set.class AND n.number = s.number
		  AND n.number BETWEEN lowest AND highest
		  AND (n.category, n.channel, n.society, n.priority, n.unsafe_to_contact)
			  IS DISTINCT FROM (s.category, s.channel, s.society, s.priority, s.unsafe);
	END IF;
	INSERT INTO _ward.notification (incident, subject_class, number, verdict, columns, category, channel, society, priority, rank,
		unsafe_to_contact, state)
	SELECT worklist_set.incident, worklist_set.class, s.number, c.verdict, c.columns, s.category, s.channel, s.society, s.priority,
		   _ward.worklist_rank(s.priority), s.unsafe, CASE WHEN s.unsafe THEN 'must_not_be_contacted' ELSE 'pending' END
	FROM unnest(numbers, categories, channels, societies, priorities, worklist_set.unsafe)
		AS s(number, category, channel, society, priority, unsafe)
	JOIN (
		SELECT m AS number, v.verdict, v.columns
		FROM _ward.worklist_covered(worklist_set.incident, _ward.incident_version_of(worklist_set.incident, NULL)) v,
			LATERAL _ward.subject_set_members(_ward.subject_set_minus(_ward.subject_set_between(v.subjects, lowest, highest), listed)) m
		WHERE v.subject_class = worklist_set.class
	) c ON c.number = s.number
	ORDER BY s.number;
END
$$;
COMMENT ON FUNCTION _ward.worklist_set(bigint, text, bigint[], text[], text[], text[], text[], boolean[]) IS
	'descriptions of people of a worklist, as plain values';

-- Reads the organisation's own table: with the caller's rights, for the worklist's people alone.
CREATE FUNCTION ward.describe_worklist(incident bigint) RETURNS bigint
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s record;
	people record;
	read record;
	query text;
	described bigint := 0;
	position bigint;
BEGIN
	FOR s IN SELECT * FROM _ward.worklist_sources(incident) LOOP
		-- Numbers and uuids are compared as such, so that an index serves.
		SELECT format('SELECT array_agg(number) AS numbers, array_agg(category) AS categories, array_agg(channel) AS channels,
				array_agg(society) AS societies, array_agg(priority) AS priorities, array_agg(unsafe) AS unsafe
			FROM (SELECT DISTINCT ON (u.number) u.number, %s AS category, %s AS channel, %s AS society, %s AS priority, %s AS unsafe
				  FROM unnest($1, $2) u(number, subject) JOIN %s s ON %s
				  ORDER BY u.number%s) x',
			CASE WHEN c.category THEN 's.category::text' ELSE 'NULL::text' END,
			CASE WHEN c.channel THEN 's.channel::text' ELSE 'NULL::text' END,
			CASE WHEN c.society THEN 's.society::text' ELSE 'NULL::text' END,
			CASE WHEN c.priority THEN 's.priority::text' ELSE 'NULL::text' END,
			CASE WHEN c.unsafe THEN 's.unsafe_to_contact' ELSE 'NULL::boolean' END,
			s.source,
			CASE WHEN c.type IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN 's.subject = u.subject::bigint'
				 WHEN c.type = 'uuid'::regtype THEN 's.subject = u.subject::uuid'
				 ELSE 's.subject::text = u.subject' END,
			-- Where a person is described twice, the more careful description counts.
			CASE WHEN c.unsafe THEN ', s.unsafe_to_contact DESC NULLS LAST' ELSE '' END
			|| CASE WHEN c.priority THEN ', s.priority' ELSE '' END) INTO query
		FROM (
			SELECT bool_or(a.attname = 'category') AS category, bool_or(a.attname = 'channel') AS channel,
				   bool_or(a.attname = 'society') AS society, bool_or(a.attname = 'priority') AS priority,
				   bool_or(a.attname = 'unsafe_to_contact') AS unsafe, max(a.atttypid) FILTER (WHERE a.attname = 'subject') AS type
			FROM pg_attribute a WHERE a.attrelid = s.source AND a.attnum > 0 AND NOT a.attisdropped
		) c WHERE c.type IS NOT NULL;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'subjects of class "%" are no longer described', s.class
				USING ERRCODE = 'WD610', DETAIL = 'The table or view, or its column "subject", is gone.',
					HINT = 'Call ward.describe_subjects() for another one.';
		END IF;
		position := NULL;
		LOOP
			SELECT * INTO people FROM _ward.worklist_next(incident, s.class, position, 100000);
			EXIT WHEN people.last IS NULL;
			position := people.last;
			EXECUTE query INTO read USING people.numbers, people.subjects;
			IF read.numbers IS NOT NULL THEN
				PERFORM _ward.worklist_set(incident, s.class, read.numbers, read.categories, read.channels, read.societies,
					read.priorities, read.unsafe);
				described := described + cardinality(read.numbers);
			END IF;
		END LOOP;
	END LOOP;
	RETURN described;
END
$$;
COMMENT ON FUNCTION ward.describe_worklist(bigint) IS
	'reads category, channel, society, priority and safety of an incident''s people from the tables named to ward.describe_subjects(), with the caller''s rights; returns how many people were described';

-- An incident must open whatever the organisation's view does, with all whom it covers.
CREATE FUNCTION _ward.worklist_describe_all(incident bigint) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	code text;
BEGIN
	BEGIN
		PERFORM ward.describe_worklist(incident);
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE;
		RAISE WARNING 'the worklist of incident % lacks categories and channels', incident
			USING DETAIL = format('Reading the table that describes the people failed with SQLSTATE %s.', code),
				HINT = 'Call ward.describe_worklist() as a role that may read it.';
	END;
	PERFORM _ward.worklist_complete(incident);
END
$$;
COMMENT ON FUNCTION _ward.worklist_describe_all(bigint) IS 'makes a worklist complete and describes it, or warns that it could not be described';

REVOKE ALL ON FUNCTION
	ward.describe_subjects(text, regclass), _ward.worklist_covered(bigint, integer), _ward.worklist_prepare(bigint, integer),
	_ward.worklist_complete(bigint), _ward.worklist_rank(text), _ward.worklist_sources(bigint),
	_ward.worklist_next(bigint, text, bigint, integer),
	_ward.worklist_set(bigint, text, bigint[], text[], text[], text[], text[], boolean[]),
	ward.describe_worklist(bigint), _ward.worklist_describe_all(bigint)
	FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	_ward.worklist_complete(bigint), _ward.worklist_sources(bigint), _ward.worklist_next(bigint, text, bigint, integer),
	_ward.worklist_set(bigint, text, bigint[], text[], text[], text[], text[], boolean[]),
	ward.describe_worklist(bigint), _ward.worklist_describe_all(bigint)
	TO ward_officer, ward_analyst;
GRANT EXECUTE ON FUNCTION ward.describe_subjects(text, regclass) TO ward_officer;
