-- scope: incidents. What an incident covers is asked anew for each version, and kept:
-- as groups of people with the same answer, so that a version costs what the answer
-- differs in and not a row a person.
--
-- Nothing here is derived: it is dumped. It refers to no rows of the index, which may be
-- rebuilt.

CREATE TABLE _ward.incident (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	title text NOT NULL CHECK (title <> ''),
	state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed')),
	known_at timestamptz NOT NULL,		-- the 72 hours count from here
	opened_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	opened_by text NOT NULL,
	closed_at timestamptz,
	closed_by text,
	outcome text,
	-- What a report must say and no query can.
	nature text,
	consequences text,
	measures text,
	advice text,
	contact text,
	reported_at timestamptz,
	reported_to text,
	report_reference text
);
COMMENT ON TABLE _ward.incident IS 'incidents: what is known of each, its clock, what its report says';

CREATE TABLE _ward.incident_version (
	incident bigint NOT NULL REFERENCES _ward.incident,
	version integer NOT NULL,
	made_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	made_by text NOT NULL,
	reason text,
	index_position bigint,	-- the index had come so far
	PRIMARY KEY (incident, version)
);
COMMENT ON TABLE _ward.incident_version IS 'versions of each incident''s scope';

-- What an incident asks. The answer is the union over the questions that stand.
CREATE TABLE _ward.incident_question (
	incident bigint NOT NULL REFERENCES _ward.incident,
	number integer NOT NULL,
	since_version integer NOT NULL,
	until_version integer,	-- the first that no longer asks it
	kind text NOT NULL CHECK (kind IN ('session', 'storage', 'key')),
	during tstzrange NOT NULL,
	roles name[],
	clients inet[],
	actors text[],
	applications text[],
	sessions text[],
	subject_class text,
	relations text[],		-- of stolen storage: the tables' names then
	-- Of stolen storage: which tables, as of when, with which keys.
	stolen regclass[],
	as_of timestamptz,
	exposed_keys text[],	-- of a lost key: that one
	PRIMARY KEY (incident, number)
);
COMMENT ON TABLE _ward.incident_question IS 'questions whose answers make up an incident''s scope';

CREATE TABLE _ward.incident_group (
	incident bigint NOT NULL,
	version integer NOT NULL,
	subject_class text NOT NULL,
	certain boolean NOT NULL,
	columns_clear text[] NOT NULL,
	columns_sealed text[] NOT NULL,
	first_seen timestamptz,
	last_seen timestamptz,
	statements bigint,
	sessions text[],
	reasons text[],
	first_position bigint,
	last_position bigint,
	subjects bytea NOT NULL,
	FOREIGN KEY (incident, version) REFERENCES _ward.incident_version
);
CREATE INDEX incident_group_version ON _ward.incident_group (incident, version);
COMMENT ON TABLE _ward.incident_group IS 'people of each version, by groups with the same answer';

REVOKE ALL ON _ward.incident, _ward.incident_version, _ward.incident_question, _ward.incident_group FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('_ward.incident', '');
SELECT pg_catalog.pg_extension_config_dump('_ward.incident_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('_ward.incident_version', '');
SELECT pg_catalog.pg_extension_config_dump('_ward.incident_question', '');
SELECT pg_catalog.pg_extension_config_dump('_ward.incident_group', '');

-- An incident's row, locked where it is to be changed.
CREATE FUNCTION _ward.incident_get(id bigint, for_change boolean) RETURNS _ward.incident
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found _ward.incident;
BEGIN
	IF for_change THEN
		SELECT * INTO found FROM _ward.incident i WHERE i.id = incident_get.id FOR NO KEY UPDATE;
	ELSE
		SELECT * INTO found FROM _ward.incident i WHERE i.id = incident_get.id;
	END IF;
	IF found.id IS NULL THEN
		RAISE EXCEPTION 'there is no incident %', coalesce(id::text, 'NULL')
			USING ERRCODE = 'WD601', HINT = 'The view ward.incidents lists them.';
	END IF;
	IF for_change AND found.state = 'closed' THEN
		RAISE EXCEPTION 'incident % is closed', id
			USING ERRCODE = 'WD602', DETAIL = format('It was closed at %s.', found.closed_at),
				HINT = 'Open a new incident, or look with ward.incident_scope().';
	END IF;
	RETURN found;
END
$$;
COMMENT ON FUNCTION _ward.incident_get(bigint, boolean) IS 'an incident''s row; an error where there is none';

-- Keeps what the evidence and the keys of an incident are needed for: the evidence from
-- the first moment that it asks about (of storage all of it: what stood there is known by
-- what was seen before), and the keys of all tables of its classes.
CREATE FUNCTION _ward.incident_hold(id bigint) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	holder constant text := 'incident ' || id;
	start timestamptz;
BEGIN
	SELECT min(CASE q.kind WHEN 'storage' THEN '-infinity' ELSE coalesce(lower(q.during), '-infinity') END) INTO start
	FROM _ward.incident_question q WHERE q.incident = id;
	INSERT INTO _ward.evidence_hold AS h (holder, since, until, reason)
	VALUES (holder, start, 'infinity', 'legal hold')
	ON CONFLICT ON CONSTRAINT evidence_hold_pkey DO UPDATE SET since = least(h.since, excluded.since);
	-- Whoever destroys a key locks its row first.
	PERFORM FROM _ward.key k WHERE k.destroyed_at IS NULL ORDER BY k.id FOR NO KEY UPDATE;
	INSERT INTO _ward.key_hold (key, holder, reason)
	WITH class AS MATERIALIZED (
		SELECT DISTINCT g.subject_class AS name FROM _ward.incident_group g WHERE g.incident = id
	)
	SELECT k.id, holder, 'legal hold' FROM _ward.key k
	WHERE k.destroyed_at IS NULL AND (
		k.name IN (SELECT key FROM _ward.relation_version r, unnest(r.keys) key, class
				   WHERE class.name = ANY (r.classes))
		OR k.id IN (SELECT s.key FROM class, LATERAL _ward.scope_kinds(class.name) s))
	ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION _ward.incident_hold(bigint) IS 'puts an incident''s evidence and keys on hold';

-- Numbers of the question that is asked next and of the version that is made next.
CREATE FUNCTION _ward.incident_next(id bigint, OUT question integer, OUT version integer)
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT (SELECT coalesce(max(q.number), 0) + 1 FROM _ward.incident_question q WHERE q.incident = incident_next.id),
		   (SELECT coalesce(max(v.version), 0) + 1 FROM _ward.incident_version v WHERE v.incident = incident_next.id);
END;
COMMENT ON FUNCTION _ward.incident_next(bigint) IS 'numbers of an incident''s next question and version';

-- Asks an incident's questions, and keeps the answer as a new version.
CREATE FUNCTION _ward.incident_freeze(id bigint, reason text) RETURNS integer
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	new_version integer;
	q record;
	sessions integer := 0;
	disclosures text;
	lost text[];
	parts _ward.storage_part[] := '{}';
BEGIN
	SELECT n.version INTO new_version FROM _ward.incident_next(id) n;
	-- A key that was lost opens what was stolen besides.
	lost := ARRAY(SELECT k.exposed_keys[1] FROM _ward.incident_question k WHERE k.incident = id AND k.until_version IS NULL AND k.kind = 'key');
	FOR q IN SELECT * FROM _ward.incident_question k WHERE k.incident = id AND k.until_version IS NULL ORDER BY k.number LOOP
		IF q.kind = 'session' THEN
			sessions := sessions + 1;
			-- The first was checked before there was an incident.
			IF new_version > 1 THEN
				PERFORM _ward.scope_check(q.during, q.roles, q.clients, q.actors, q.applications, q.sessions, q.subject_class, q.relations);
			END IF;
		ELSE
			PERFORM ward.sync();
			parts := parts || CASE q.kind WHEN 'storage' THEN _ward.relation_parts(q.stolen, q.as_of, q.exposed_keys || lost, q.subject_class)
				ELSE _ward.key_parts(q.exposed_keys[1], q.during) END;
		END IF;
	END LOOP;
	INSERT INTO _ward.incident_version (incident, version, made_by, reason, index_position)
	VALUES (id, new_version, _ward.scope_worker(), reason, (SELECT max(s.position) FROM _ward.index_state s));
	-- Two questions may mean the same disclosure, which counts once.
	disclosures := _ward.scope_query(format(
		'SELECT %s d.* FROM _ward.incident_question q, LATERAL _ward.scope_disclosures(q.during, q.roles, q.clients,
			q.actors, q.applications, q.sessions, q.subject_class, q.relations) d
		 WHERE q.incident = %s AND q.until_version IS NULL AND q.kind = ''session''', CASE WHEN sessions > 1 THEN 'DISTINCT' ELSE '' END, id));
	IF cardinality(parts) = 0 THEN
		INSERT INTO _ward.incident_group
		SELECT id, new_version, g.* FROM _ward.scope_fold(disclosures, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL) g;
	ELSE
		-- Somebody may be in what was stolen and have been read besides: one answer tells of both.
		IF sessions > 0 THEN
			parts := parts || ARRAY(SELECT g::_ward.storage_part
				FROM _ward.scope_fold(disclosures, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL) g);
		END IF;
		INSERT INTO _ward.incident_group SELECT id, new_version, g.* FROM _ward.storage_groups(parts) g;
	END IF;
	PERFORM _ward.incident_hold(id);
	-- Reading tables may have met people for the first time, whose names are evidence, too.
	PERFORM ward.sync();
	PERFORM _ward.worklist_prepare(id, new_version);
	RETURN new_version;
END
$$;
COMMENT ON FUNCTION _ward.incident_freeze(bigint, text) IS 'keeps what an incident covers now as a new version';

-- A new incident's row, checked.
CREATE FUNCTION _ward.incident_new(title text, known_at timestamptz) RETURNS bigint
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	new_id bigint;
BEGIN
	IF coalesce(title, '') = '' OR known_at IS NULL THEN
		RAISE EXCEPTION 'an incident needs a title and the time when it became known'
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF known_at > clock_timestamp() THEN
		RAISE EXCEPTION 'the incident became known in the future'
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'known_at is when the organisation learned of it: the 72 hours count from there.';
	END IF;
	INSERT INTO _ward.incident (title, known_at, opened_by) VALUES (title, known_at, _ward.scope_worker())
	RETURNING id INTO new_id;
	RETURN new_id;
END
$$;
COMMENT ON FUNCTION _ward.incident_new(text, timestamptz) IS 'a new incident''s row';

-- A further question of an incident, for the version that is made next.
CREATE FUNCTION _ward.incident_ask(id bigint, during tstzrange, roles name[], clients inet[], actors text[],
	applications text[], sessions text[], subject_class text, relations text[])
	RETURNS void
	LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO _ward.incident_question (incident, number, since_version, kind, during, roles, clients, actors, applications, sessions,
		subject_class, relations)
	SELECT $1, n.question, n.version, 'session', $2, $3, $4, $5, $6, $7, $8, $9 FROM _ward.incident_next($1) n
$$;
COMMENT ON FUNCTION _ward.incident_ask(bigint, tstzrange, name[], inet[], text[], text[], text[], text, text[]) IS
	'a further question of an incident, about sessions';

CREATE FUNCTION _ward.incident_ask_storage(id bigint, relations regclass[], as_of timestamptz, exposed_keys text[], of_class text) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM _ward.record_event('scope.asked', ARRAY['what', 'relations', 'as_of', 'exposed_keys', 'class'],
		ARRAY['stolen storage', relations::text, as_of::text, exposed_keys::text, of_class]);
	IF as_of IS NULL THEN
		RAISE EXCEPTION 'say which tables were stolen, and as of when' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	INSERT INTO _ward.incident_question (incident, number, since_version, kind, during, subject_class, relations, stolen,
		as_of, exposed_keys)
	SELECT id, n.question, n.version,
		   'storage', tstzrange(incident_ask_storage.as_of, incident_ask_storage.as_of, '[]'), of_class,
		   -- Their names, too: a table may be gone when the question is read.
		   coalesce(incident_ask_storage.relations, '{}')::text[], coalesce(incident_ask_storage.relations, '{}'), incident_ask_storage.as_of, coalesce(incident_ask_storage.exposed_keys, '{}')
	FROM _ward.incident_next(id) n;
END
$$;
COMMENT ON FUNCTION _ward.incident_ask_storage(bigint, regclass[], timestamptz, text[], text) IS
	'a further question of an incident, about stolen storage';

CREATE FUNCTION _ward.incident_ask_key(id bigint, key text, during tstzrange) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM _ward.key_check(key, during);
	INSERT INTO _ward.incident_question (incident, number, since_version, kind, during, exposed_keys)
	SELECT id, n.question, n.version,
		   'key', incident_ask_key.during, ARRAY[incident_ask_key.key]
	FROM _ward.incident_next(id) n;
END
$$;
COMMENT ON FUNCTION _ward.incident_ask_key(bigint, text, tstzrange) IS 'a further question of an incident, about a lost key';

-- Keeps the first version, and says so.
CREATE FUNCTION _ward.incident_begin(id bigint) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	people record;
	i _ward.incident := _ward.incident_get(id, true);
BEGIN
	PERFORM _ward.incident_freeze(id, 'opened');
	SELECT * INTO people FROM _ward.incident_people(id, 1);
	PERFORM _ward.record_event('incident.opened', ARRAY['incident', 'title', 'known_at', 'certain', 'possible'],
		ARRAY[id::text, i.title, i.known_at::text, people.certain::text, people.possible::text]);
END
$$;
COMMENT ON FUNCTION _ward.incident_begin(bigint) IS 'keeps the first version of an incident';

CREATE FUNCTION _ward.incident_open(title text, during tstzrange, roles name[], clients inet[], actors text[],
	applications text[], sessions text[], subject_class text, relations text[], known_at timestamptz)
	RETURNS bigint
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	new_id bigint;
BEGIN
	PERFORM _ward.scope_check(during, roles, clients, actors, applications, sessions, subject_class, relations);
	new_id := _ward.incident_new(title, known_at);
	PERFORM _ward.incident_ask(new_id, during, roles, clients, actors, applications, sessions, subject_class, relations);
	PERFORM _ward.incident_begin(new_id);
	RETURN new_id;
END
$$;
COMMENT ON FUNCTION _ward.incident_open(text, tstzrange, name[], inet[], text[], text[], text[], text, text[], timestamptz) IS
	'opens an incident, without the organisation''s own data';

-- Runs as whoever calls: the organisation's own table is read with their rights.
CREATE FUNCTION ward.open_incident(title text, during tstzrange, roles name[] DEFAULT NULL, clients inet[] DEFAULT NULL,
	actors text[] DEFAULT NULL, applications text[] DEFAULT NULL, sessions text[] DEFAULT NULL,
	subject_class text DEFAULT NULL, relations text[] DEFAULT NULL, known_at timestamptz DEFAULT clock_timestamp())
	RETURNS bigint
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	id bigint := _ward.incident_open(title, during, roles, clients, actors, applications, sessions, subject_class, relations, known_at);
BEGIN
	PERFORM _ward.worklist_describe_all(id);
	RETURN id;
END
$$;
COMMENT ON FUNCTION ward.open_incident(text, tstzrange, name[], inet[], text[], text[], text[], text, text[], timestamptz) IS
	'freezes whom a breach affects, puts evidence and keys on hold, starts the 72 hours and the worklist; the arguments are those of ward.breach_scope()';

-- The same for stolen storage.
CREATE FUNCTION _ward.incident_open_storage(title text, relations regclass[], as_of timestamptz, exposed_keys text[],
	of_class text, known_at timestamptz)
	RETURNS bigint
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	new_id bigint := _ward.incident_new(title, known_at);
BEGIN
	PERFORM _ward.incident_ask_storage(new_id, relations, as_of, exposed_keys, of_class);
	PERFORM _ward.incident_begin(new_id);
	RETURN new_id;
END
$$;
COMMENT ON FUNCTION _ward.incident_open_storage(text, regclass[], timestamptz, text[], text, timestamptz) IS
	'opens an incident over stolen storage, without the organisation''s own data';

CREATE FUNCTION ward.open_storage_incident(title text, relations regclass[], as_of timestamptz, exposed_keys text[] DEFAULT '{}',
	of_class text DEFAULT NULL, known_at timestamptz DEFAULT clock_timestamp())
	RETURNS bigint
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	id bigint := _ward.incident_open_storage(title, relations, as_of, exposed_keys, of_class, known_at);
BEGIN
	PERFORM _ward.worklist_describe_all(id);
	RETURN id;
END
$$;
COMMENT ON FUNCTION ward.open_storage_incident(text, regclass[], timestamptz, text[], text, timestamptz) IS
	'the same as ward.open_incident() for a stolen backup, disk or dump; the arguments are those of ward.relation_scope()';

-- The same for a lost key.
CREATE FUNCTION _ward.incident_open_key(title text, key text, during tstzrange, known_at timestamptz) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	new_id bigint := _ward.incident_new(title, known_at);
BEGIN
	PERFORM _ward.incident_ask_key(new_id, key, during);
	PERFORM _ward.incident_begin(new_id);
	RETURN new_id;
END
$$;
COMMENT ON FUNCTION _ward.incident_open_key(text, text, tstzrange, timestamptz) IS
	'opens an incident over a lost key, without the organisation''s own data';

CREATE FUNCTION ward.open_key_incident(title text, key text, during tstzrange DEFAULT tstzrange(NULL, NULL),
	known_at timestamptz DEFAULT clock_timestamp())
	RETURNS bigint
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	id bigint := _ward.incident_open_key(title, key, during, known_at);
BEGIN
	PERFORM _ward.worklist_describe_all(id);
	RETURN id;
END
$$;
COMMENT ON FUNCTION ward.open_key_incident(text, text, tstzrange, timestamptz) IS
	'the same as ward.open_incident() for a lost key; the arguments are those of ward.key_scope()';

-- Makes an incident ready for another question: the row is locked, and where the new one
-- stands instead, those before end.
CREATE FUNCTION _ward.incident_turn(id bigint, reason text, instead boolean) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM _ward.incident_get(id, true);
	IF coalesce(reason, '') = '' THEN
		RAISE EXCEPTION 'say why the incident''s scope changes' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF instead THEN
		UPDATE _ward.incident_question q
		SET until_version = (SELECT n.version FROM _ward.incident_next(id) n)
		WHERE q.incident = id AND q.until_version IS NULL;
	END IF;
END
$$;
COMMENT ON FUNCTION _ward.incident_turn(bigint, text, boolean) IS 'makes an incident ready for another question';

-- Keeps the answer to the questions that stand now, and says so.
CREATE FUNCTION _ward.incident_renew(id bigint, reason text) RETURNS integer
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	next_version integer := _ward.incident_freeze(id, reason);
	people record;
BEGIN
	SELECT * INTO people FROM _ward.incident_people(id, next_version);
	PERFORM _ward.record_event('incident.extended', ARRAY['incident', 'version', 'reason', 'certain', 'possible'],
		ARRAY[id::text, next_version::text, reason, people.certain::text, people.possible::text]);
	RETURN next_version;
END
$$;
COMMENT ON FUNCTION _ward.incident_renew(bigint, text) IS 'makes a new version of an incident''s scope';

CREATE FUNCTION _ward.incident_extend(id bigint, reason text, during tstzrange, roles name[], clients inet[],
	actors text[], applications text[], sessions text[], subject_class text, relations text[], instead boolean)
	RETURNS integer
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF during IS NULL AND (num_nonnulls(roles, clients, actors, applications, sessions, subject_class, relations) > 0 OR instead) THEN
		RAISE EXCEPTION 'a further question needs a range of time'
			USING ERRCODE = 'null_value_not_allowed',
				HINT = 'Without any argument but the reason, the questions asked so far are asked anew.';
	END IF;
	PERFORM _ward.incident_turn(id, reason, instead);
	IF during IS NOT NULL THEN
		PERFORM _ward.incident_ask(id, during, roles, clients, actors, applications, sessions, subject_class, relations);
	END IF;
	RETURN _ward.incident_renew(id, reason);
END
$$;
COMMENT ON FUNCTION _ward.incident_extend(bigint, text, tstzrange, name[], inet[], text[], text[], text[], text, text[], boolean) IS
	'makes a new version of an incident''s scope, without the organisation''s own data';

CREATE FUNCTION ward.extend_incident(incident bigint, reason text, during tstzrange DEFAULT NULL, roles name[] DEFAULT NULL,
	clients inet[] DEFAULT NULL, actors text[] DEFAULT NULL, applications text[] DEFAULT NULL, sessions text[] DEFAULT NULL,
	subject_class text DEFAULT NULL, relations text[] DEFAULT NULL, instead boolean DEFAULT false)
	RETURNS integer
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	version integer := _ward.incident_extend(incident, reason, during, roles, clients, actors, applications, sessions, subject_class,
		relations, instead);
BEGIN
	PERFORM _ward.worklist_describe_all(incident);
	RETURN version;
END
$$;
COMMENT ON FUNCTION ward.extend_incident(bigint, text, tstzrange, name[], inet[], text[], text[], text[], text, text[], boolean) IS
	'adds a question to an incident, replaces its questions (instead => true), or asks them anew (no range); returns the new version';

-- The same for what was stolen or lost, too: an incident may be about all three.
CREATE FUNCTION _ward.incident_extend_storage(id bigint, reason text, relations regclass[], as_of timestamptz, exposed_keys text[],
	of_class text, instead boolean)
	RETURNS integer
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM _ward.incident_turn(id, reason, instead);
	PERFORM _ward.incident_ask_storage(id, relations, as_of, exposed_keys, of_class);
	RETURN _ward.incident_renew(id, reason);
END
$$;
COMMENT ON FUNCTION _ward.incident_extend_storage(bigint, text, regclass[], timestamptz, text[], text, boolean) IS
	'adds stolen storage to an incident, without the organisation''s own data';

CREATE FUNCTION ward.extend_storage_incident(incident bigint, reason text, relations regclass[], as_of timestamptz,
	exposed_keys text[] DEFAULT '{}', of_class text DEFAULT NULL, instead boolean DEFAULT false)
	RETURNS integer
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	version integer := _ward.incident_extend_storage(incident, reason, relations, as_of, exposed_keys, of_class, instead);
BEGIN
	PERFORM _ward.worklist_describe_all(incident);
	RETURN version;
END
$$;
COMMENT ON FUNCTION ward.extend_storage_incident(bigint, text, regclass[], timestamptz, text[], text, boolean) IS
	'adds a stolen backup, disk or dump to any incident, or asks about it instead; returns the new version';

CREATE FUNCTION _ward.incident_extend_key(id bigint, reason text, key text, during tstzrange, instead boolean) RETURNS integer
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM _ward.incident_turn(id, reason, instead);
	PERFORM _ward.incident_ask_key(id, key, during);
	RETURN _ward.incident_renew(id, reason);
END
$$;
COMMENT ON FUNCTION _ward.incident_extend_key(bigint, text, text, tstzrange, boolean) IS
	'adds a lost key to an incident, without the organisation''s own data';

CREATE FUNCTION ward.extend_key_incident(incident bigint, reason text, key text, during tstzrange DEFAULT tstzrange(NULL, NULL),
	instead boolean DEFAULT false)
	RETURNS integer
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	version integer := _ward.incident_extend_key(incident, reason, key, during, instead);
BEGIN
	PERFORM _ward.worklist_describe_all(incident);
	RETURN version;
END
$$;
COMMENT ON FUNCTION ward.extend_key_incident(bigint, text, text, tstzrange, boolean) IS
	'adds a lost key to any incident, or asks about it instead; returns the new version';

CREATE FUNCTION ward.close_incident(incident bigint, outcome text, with_pending boolean DEFAULT false)
	RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	pending bigint;
BEGIN
	PERFORM _ward.incident_get(incident, true);
	IF coalesce(outcome, '') = '' THEN
		RAISE EXCEPTION 'say how the incident ended' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	SELECT count(*) INTO pending FROM _ward.notification n
	WHERE n.incident = close_incident.incident AND n.verdict = 'certain' AND n.state = 'pending';
	IF pending > 0 AND with_pending IS NOT TRUE THEN
		RAISE EXCEPTION '% people of incident % are still to be told', pending, incident
			USING ERRCODE = 'WD603',
				HINT = 'ward.worklist lists them. To close it all the same, add with_pending => true.';
	END IF;
	UPDATE _ward.incident i SET state = 'closed', closed_at = clock_timestamp(), closed_by = _ward.scope_worker(),
		outcome = close_incident.outcome
	WHERE i.id = incident;
	DELETE FROM _ward.evidence_hold h WHERE h.holder = 'incident ' || incident;
	DELETE FROM _ward.key_hold h WHERE h.holder = 'incident ' || incident;
	PERFORM _ward.record_event('incident.closed', ARRAY['incident', 'outcome', 'pending'],
		ARRAY[incident::text, outcome, pending::text]);
END
$$;
COMMENT ON FUNCTION ward.close_incident(bigint, text, boolean) IS
	'ends an incident and its hold on evidence and keys; refuses while people that are certainly affected are still to be told, unless with_pending';

-- What a report says beside what queries find. NULL leaves a text as it is.
CREATE FUNCTION ward.describe_incident(incident bigint, nature text DEFAULT NULL, consequences text DEFAULT NULL,
	measures text DEFAULT NULL, advice text DEFAULT NULL, contact text DEFAULT NULL)
	RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM _ward.incident_get(incident, true);
	UPDATE _ward.incident i SET nature = coalesce(describe_incident.nature, i.nature),
		consequences = coalesce(describe_incident.consequences, i.consequences),
		measures = coalesce(describe_incident.measures, i.measures),
		advice = coalesce(describe_incident.advice, i.advice),
		contact = coalesce(describe_incident.contact, i.contact)
	WHERE i.id = incident;
	PERFORM _ward.record_event('incident.described', ARRAY['incident', 'fields'],
		ARRAY[incident::text, concat_ws(', ', CASE WHEN nature IS NOT NULL THEN 'nature' END,
			CASE WHEN consequences IS NOT NULL THEN 'consequences' END, CASE WHEN measures IS NOT NULL THEN 'measures' END,
			CASE WHEN advice IS NOT NULL THEN 'advice' END, CASE WHEN contact IS NOT NULL THEN 'contact' END)]);
END
$$;
COMMENT ON FUNCTION ward.describe_incident(bigint, text, text, text, text, text) IS
	'texts of an incident''s report: nature of the breach, likely consequences, measures taken, advice to those affected, whom to contact';

CREATE FUNCTION ward.record_report(incident bigint, authority text, reported_at timestamptz DEFAULT clock_timestamp(),
	reference text DEFAULT NULL)
	RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM _ward.incident_get(incident, true);
	IF coalesce(authority, '') = '' OR record_report.reported_at IS NULL THEN
		RAISE EXCEPTION 'say to which authority the incident was reported, and when' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	-- The first report stops the clock; later ones are in the trail.
	UPDATE _ward.incident i SET reported_at = coalesce(i.reported_at, record_report.reported_at),
		reported_to = coalesce(i.reported_to, authority), report_reference = coalesce(i.report_reference, reference)
	WHERE i.id = incident;
	PERFORM _ward.record_event('incident.reported', ARRAY['incident', 'authority', 'reported_at', 'reference'],
		ARRAY[incident::text, authority, reported_at::text, reference]);
END
$$;
COMMENT ON FUNCTION ward.record_report(bigint, text, timestamptz, text) IS
	'records that the authority was told; the first time stops the 72-hour clock';

REVOKE ALL ON FUNCTION
	_ward.incident_get(bigint, boolean), _ward.incident_next(bigint), _ward.incident_hold(bigint), _ward.incident_freeze(bigint, text),
	_ward.incident_new(text, timestamptz), _ward.incident_begin(bigint),
	_ward.incident_ask(bigint, tstzrange, name[], inet[], text[], text[], text[], text, text[]),
	_ward.incident_ask_storage(bigint, regclass[], timestamptz, text[], text), _ward.incident_ask_key(bigint, text, tstzrange),
	_ward.incident_turn(bigint, text, boolean), _ward.incident_renew(bigint, text),
	_ward.incident_open(text, tstzrange, name[], inet[], text[], text[], text[], text, text[], timestamptz),
	ward.open_incident(text, tstzrange, name[], inet[], text[], text[], text[], text, text[], timestamptz),
	_ward.incident_open_storage(text, regclass[], timestamptz, text[], text, timestamptz),
	ward.open_storage_incident(text, regclass[], timestamptz, text[], text, timestamptz),
	_ward.incident_open_key(text, text, tstzrange, timestamptz), ward.open_key_incident(text, text, tstzrange, timestamptz),
	_ward.incident_extend_storage(bigint, text, regclass[], timestamptz, text[], text, boolean),
	ward.extend_storage_incident(bigint, text, regclass[], timestamptz, text[], text, boolean),
	_ward.incident_extend_key(bigint, text, text, tstzrange, boolean), ward.extend_key_incident(bigint, text, text, tstzrange, boolean),
	_ward.incident_extend(bigint, text, tstzrange, name[], inet[], text[], text[], text[], text, text[], boolean),
	ward.extend_incident(bigint, text, tstzrange, name[], inet[], text[], text[], text[], text, text[], boolean),
	ward.close_incident(bigint, text, boolean),
	ward.describe_incident(bigint, text, text, text, text, text),
	ward.record_report(bigint, text, timestamptz, text)
	FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	_ward.incident_open(text, tstzrange, name[], inet[], text[], text[], text[], text, text[], timestamptz),
	ward.open_incident(text, tstzrange, name[], inet[], text[], text[], text[], text, text[], timestamptz),
	_ward.incident_open_storage(text, regclass[], timestamptz, text[], text, timestamptz),
	ward.open_storage_incident(text, regclass[], timestamptz, text[], text, timestamptz),
	_ward.incident_open_key(text, text, tstzrange, timestamptz), ward.open_key_incident(text, text, tstzrange, timestamptz),
	_ward.incident_extend_storage(bigint, text, regclass[], timestamptz, text[], text, boolean),
	ward.extend_storage_incident(bigint, text, regclass[], timestamptz, text[], text, boolean),
	_ward.incident_extend_key(bigint, text, text, tstzrange, boolean), ward.extend_key_incident(bigint, text, text, tstzrange, boolean),
	_ward.incident_extend(bigint, text, tstzrange, name[], inet[], text[], text[], text[], text, text[], boolean),
	ward.extend_incident(bigint, text, tstzrange, name[], inet[], text[], text[], text[], text, text[], boolean),
	ward.describe_incident(bigint, text, text, text, text, text),
	ward.record_report(bigint, text, timestamptz, text)
	TO ward_officer, ward_analyst;
-- Whoever closes an incident lets go of evidence and keys.
GRANT EXECUTE ON FUNCTION ward.close_incident(bigint, text, boolean) TO ward_officer;
