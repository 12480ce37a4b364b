-- guard: alerts. Each is an event of the trail; its row here, with the notification, is made
-- as the index takes that event up, in one transaction: once, whatever crashes.

-- Not dumped, as the index is not: it is made again from the trail, but for who acknowledged.
CREATE TABLE _ward.alert (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	node text NOT NULL,
	position bigint NOT NULL,
	at timestamptz NOT NULL,
	kind text NOT NULL,
	detail jsonb NOT NULL,
	acknowledged_at timestamptz,
	acknowledged_by name,
	note text,
	UNIQUE (node, position)
);
CREATE INDEX alert_open ON _ward.alert (at) WHERE acknowledged_at IS NULL;
REVOKE ALL ON _ward.alert FROM PUBLIC;
COMMENT ON TABLE _ward.alert IS 'alerts, and who has acknowledged them';

CREATE FUNCTION _ward.alert_indexed() RETURNS trigger
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	new_id bigint;
BEGIN
	-- An index that is made anew brings the same events again.
	INSERT INTO _ward.alert (node, position, at, kind, detail)
	VALUES (NEW.node, NEW.position, NEW.at, coalesce(NEW.detail ->> 'kind', '?'), NEW.detail)
		ON CONFLICT (node, position) DO NOTHING
		RETURNING id INTO new_id;
	IF FOUND THEN
		PERFORM pg_notify('ward_alert', new_id || ' ' || left(coalesce(NEW.detail ->> 'kind', '?'), 100));
	END IF;
	RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION _ward.alert_indexed() FROM PUBLIC;
CREATE TRIGGER alert_indexed AFTER INSERT ON _ward.event
	FOR EACH ROW WHEN (NEW.kind = 'guard.alert') EXECUTE FUNCTION _ward.alert_indexed();
-- The index's worker lets no trigger fire but those that always do.
ALTER TABLE _ward.event ENABLE ALWAYS TRIGGER alert_indexed;

CREATE VIEW ward.alerts AS
	SELECT a.id, a.at, a.kind, a.detail ->> 'message' AS message,
		   CASE WHEN a.acknowledged_at IS NULL THEN 'open' ELSE 'acknowledged' END AS state,
		   a.detail ->> 'session' AS session, a.detail ->> 'role' AS role, a.detail ->> 'client' AS client,
		   a.detail ->> 'application' AS application, a.detail ->> 'actor' AS actor,
		   a.detail - '{kind,message,session,role,client,application,actor,database}'::text[] AS detail,
		   a.acknowledged_at, a.acknowledged_by, a.note,
		   CASE WHEN s.shipped THEN coalesce(b.name, a.node) END AS node, a.position
	FROM _ward.alert a
	LEFT JOIN _ward.index_state s ON s.node = a.node
	LEFT JOIN _ward.standby b ON b.node = a.node;
REVOKE ALL ON ward.alerts FROM PUBLIC;
GRANT SELECT ON ward.alerts TO ward_officer, ward_auditor;
COMMENT ON VIEW ward.alerts IS
	'alerts of this database, open or acknowledged by whom; node: on which standby, NULL: on this server';

CREATE FUNCTION ward.acknowledge_alert(id bigint, note text) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	found_alert _ward.alert;
BEGIN
	IF id IS NULL OR coalesce(note, '') = '' THEN
		RAISE EXCEPTION 'name the alert, and say in a note what it was' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	SELECT * INTO found_alert FROM _ward.alert a WHERE a.id = acknowledge_alert.id FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'alert % does not exist', id
			USING ERRCODE = 'WD520', HINT = 'The view ward.alerts lists the alerts of this database.';
	END IF;
	IF found_alert.acknowledged_at IS NOT NULL THEN
		RAISE EXCEPTION 'alert % is acknowledged already', id
			USING ERRCODE = 'WD521',
			      DETAIL = format('%s did so at %s.', found_alert.acknowledged_by, found_alert.acknowledged_at);
	END IF;
	UPDATE _ward.alert a
	   SET acknowledged_at = clock_timestamp(), acknowledged_by = session_user, note = acknowledge_alert.note
	 WHERE a.id = acknowledge_alert.id;
	PERFORM _ward.record_event('guard.alert_acknowledged', ARRAY['node', 'position', 'note'],
	                           ARRAY[found_alert.node, found_alert.position::text, note]);
END
$$;
REVOKE ALL ON FUNCTION ward.acknowledge_alert(bigint, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.acknowledge_alert(bigint, text) TO ward_officer, ward_auditor;
COMMENT ON FUNCTION ward.acknowledge_alert(bigint, text) IS 'notes that somebody has looked into an alert, and what it was';

CREATE FUNCTION _ward.raise_alert(kind text, message text, names text[] DEFAULT '{}', field_values text[] DEFAULT '{}')
	RETURNS bigint
	LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'ward_raise_alert';
REVOKE ALL ON FUNCTION _ward.raise_alert(text, text, text[], text[]) FROM PUBLIC;

-- Also on a standby: whether the command works is to be known before it is needed.
CREATE FUNCTION ward.test_alert() RETURNS bigint
	LANGUAGE sql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT _ward.raise_alert('test', 'somebody tried whether alerts arrive') $$;
REVOKE ALL ON FUNCTION ward.test_alert() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.test_alert() TO ward_officer, ward_auditor;
COMMENT ON FUNCTION ward.test_alert() IS
	'raises an alert that means nothing, to see that alerts arrive; returns its position in the trail';

CREATE FUNCTION _ward.alert_state(
		OUT pid integer, OUT command boolean, OUT raised bigint, OUT waiting bigint, OUT delivered bigint,
		OUT given_up bigint, OUT delivered_at timestamptz, OUT command_since timestamptz, OUT actions integer,
		OUT problem text)
	LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_alert_state';
REVOKE ALL ON FUNCTION _ward.alert_state() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION _ward.alert_state() TO ward_officer, ward_auditor;

CREATE VIEW ward.alert_status AS SELECT * FROM _ward.alert_state();
REVOKE ALL ON ward.alert_status FROM PUBLIC;
GRANT SELECT ON ward.alert_status TO ward_officer, ward_auditor;
COMMENT ON VIEW ward.alert_status IS
	'the guard process of this server, and alerts since it started: raised, waiting for ward.alert_command, taken by it or given up, and what is wrong with it';
