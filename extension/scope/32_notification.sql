-- scope: working the list. Many people do at once: whoever claims people has them alone
-- until the claim runs out, and nobody waits for anybody.

CREATE VIEW ward.worklist AS
	SELECT n.incident, n.subject_class, coalesce(_ward.subject_show(k.form, k.fingerprint, k.key), n.number::text) AS subject,
		   n.verdict, n.category, n.channel, n.society, n.priority, n.unsafe_to_contact, n.state,
		   c.columns_clear, c.columns_sealed, n.claimed_by, n.claimed_until, n.decided_by, n.decided_at, n.proof, n.rank
	FROM _ward.notification n
	LEFT JOIN _ward.notification_columns c ON c.incident = n.incident AND c.id = n.columns
	LEFT JOIN _ward.subject_key k ON k.class = n.subject_class AND k.number = n.number
	WHERE (SELECT _ward.scope_note_read('ward.worklist'));
COMMENT ON VIEW ward.worklist IS
	'whom to tell of an incident, one row each; export it with COPY (SELECT ... FROM ward.worklist WHERE incident = ...) TO ...; verdict ''dropped'': no longer covered';

CREATE VIEW ward.worklist_progress AS
	SELECT n.incident, coalesce(n.society, '(unknown)') AS society,
		   pg_catalog.count(*) FILTER (WHERE n.verdict = 'certain') AS certain,
		   pg_catalog.count(*) FILTER (WHERE n.verdict = 'possible') AS possible,
		   pg_catalog.count(*) FILTER (WHERE n.verdict = 'certain' AND n.state = 'pending') AS certain_pending,
		   pg_catalog.count(*) FILTER (WHERE n.state = 'pending' AND n.claimed_until > pg_catalog.clock_timestamp()) AS claimed,
		   pg_catalog.count(*) FILTER (WHERE n.state = 'notified') AS notified,
		   pg_catalog.count(*) FILTER (WHERE n.state = 'unreachable') AS unreachable,
		   pg_catalog.count(*) FILTER (WHERE n.state = 'must_not_be_contacted') AS must_not_be_contacted,
		   pg_catalog.max(n.decided_at) AS last_decision
	FROM _ward.notification n
	WHERE (SELECT _ward.scope_note_read('ward.worklist_progress'))
	GROUP BY n.incident, coalesce(n.society, '(unknown)');
COMMENT ON VIEW ward.worklist_progress IS 'how far each society is with telling people';

CREATE VIEW ward.worklist_days AS
	SELECT n.incident, n.decided_at::date AS day, coalesce(n.society, '(unknown)') AS society,
		   pg_catalog.count(*) FILTER (WHERE n.state = 'notified') AS notified,
		   pg_catalog.count(*) FILTER (WHERE n.state = 'unreachable') AS unreachable,
		   pg_catalog.count(*) FILTER (WHERE n.state = 'must_not_be_contacted') AS must_not_be_contacted
	FROM _ward.notification n
	WHERE n.decided_at IS NOT NULL AND (SELECT _ward.scope_note_read('ward.worklist_days'))
	GROUP BY n.incident, n.decided_at::date, coalesce(n.society, '(unknown)');
COMMENT ON VIEW ward.worklist_days IS 'how many people were told on which day, by society; what was decided last counts';

CREATE FUNCTION ward.claim_notifications(incident bigint, how_many integer DEFAULT 10, society text DEFAULT NULL,
	channel text DEFAULT NULL, verdict text DEFAULT 'certain', claim_for interval DEFAULT '1 hour')
	RETURNS SETOF ward.worklist
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	worker constant text := _ward.scope_worker();
	claimed bigint;
BEGIN
	IF how_many IS NULL OR how_many NOT BETWEEN 1 AND 10000 OR claim_for IS NULL OR claim_for NOT BETWEEN '1 second' AND '30 days' THEN
		RAISE EXCEPTION 'a claim is for 1 to 10000 people, and for a second to 30 days'
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF verdict IS NOT NULL AND verdict NOT IN ('certain', 'possible') THEN
		RAISE EXCEPTION 'unknown verdict "%"', verdict
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Use ''certain'', ''possible'', or NULL for both.';
	END IF;
	IF (_ward.incident_get(incident, false)).state = 'closed' THEN
		RAISE EXCEPTION 'incident % is closed', incident USING ERRCODE = 'WD602';
	END IF;
	-- A row that somebody else has claimed meanwhile is checked anew when it is locked.
	RETURN QUERY
	WITH mine AS MATERIALIZED (
		SELECT n.subject_class, n.number
		FROM _ward.notification n
		WHERE n.incident = claim_notifications.incident AND n.state = 'pending'
		  AND n.verdict = ANY (CASE WHEN claim_notifications.verdict IS NULL THEN ARRAY['certain', 'possible'] ELSE ARRAY[claim_notifications.verdict] END)
		  AND (n.claimed_until IS NULL OR n.claimed_until < clock_timestamp())
		  AND (claim_notifications.society IS NULL OR n.society = claim_notifications.society)
		  AND (claim_notifications.channel IS NULL OR n.channel = claim_notifications.channel)
		ORDER BY n.verdict, n.rank, n.number
		LIMIT how_many
		FOR NO KEY UPDATE SKIP LOCKED
	), taken AS (
		UPDATE _ward.notification n SET claimed_by = worker, claimed_until = clock_timestamp() + claim_for
		FROM mine
		WHERE n.incident = claim_notifications.incident AND n.subject_class = mine.subject_class AND n.number = mine.number
		RETURNING n.*
	)
	SELECT t.incident, t.subject_class, k.subject, t.verdict, t.category, t.channel, t.society, t.priority, t.unsafe_to_contact,
		   t.state, c.columns_clear, c.columns_sealed, t.claimed_by, t.claimed_until, t.decided_by, t.decided_at, t.proof, t.rank
	FROM taken t
	LEFT JOIN _ward.notification_columns c ON c.incident = t.incident AND c.id = t.columns,
	LATERAL _ward.scope_names(t.subject_class, _ward.subject_set(ARRAY[t.number])) k
	ORDER BY t.verdict, t.rank, t.number;
	GET DIAGNOSTICS claimed = ROW_COUNT;
	PERFORM _ward.record_event('notification.claimed', ARRAY['incident', 'people', 'by'], ARRAY[incident::text, claimed::text, worker]);
END
$$;
COMMENT ON FUNCTION ward.claim_notifications(bigint, integer, text, text, text, interval) IS
	'takes the most urgent people that nobody else works on, for the caller alone until the claim runs out';

CREATE FUNCTION ward.release_notifications(incident bigint) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	released bigint;
BEGIN
	UPDATE _ward.notification n SET claimed_by = NULL, claimed_until = NULL
	WHERE n.incident = release_notifications.incident AND n.claimed_by = _ward.scope_worker() AND n.state = 'pending';
	GET DIAGNOSTICS released = ROW_COUNT;
	PERFORM _ward.record_event('notification.released', ARRAY['incident', 'people', 'by'], ARRAY[incident::text, released::text, _ward.scope_worker()]);
	RETURN released;
END
$$;
COMMENT ON FUNCTION ward.release_notifications(bigint) IS 'gives back whom the caller has claimed and not yet dealt with';

CREATE FUNCTION ward.set_notification(incident bigint, subject text, state text, proof text DEFAULT NULL,
	subject_class text DEFAULT NULL)
	RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	worker constant text := _ward.scope_worker();
	the_class text := subject_class;
	n _ward.notification;
BEGIN
	IF set_notification.state IS NULL OR set_notification.state NOT IN ('pending', 'notified', 'unreachable', 'must_not_be_contacted') THEN
		RAISE EXCEPTION 'unknown state "%"', set_notification.state
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'Use ''pending'', ''notified'', ''unreachable'' or ''must_not_be_contacted''.';
	END IF;
	IF set_notification.state <> 'pending' AND coalesce(proof, '') = '' THEN
		RAISE EXCEPTION 'say how this is known' USING ERRCODE = 'null_value_not_allowed',
			HINT = 'Give as proof, say, the letter''s number, the time of the call, or why somebody can not be reached.';
	END IF;
	IF (_ward.incident_get(incident, false)).state = 'closed' THEN
		RAISE EXCEPTION 'incident % is closed', incident USING ERRCODE = 'WD602';
	END IF;
	IF the_class IS NULL THEN
		SELECT CASE WHEN count(*) = 1 THEN min(s.subject_class) END INTO the_class
		FROM (SELECT DISTINCT x.subject_class FROM _ward.incident_group x WHERE x.incident = set_notification.incident) s;
		IF the_class IS NULL THEN
			RAISE EXCEPTION 'say of which class the subject is' USING ERRCODE = 'null_value_not_allowed',
				DETAIL = 'The incident covers subjects of several classes, or of none.', HINT = 'Add subject_class => ....';
		END IF;
	END IF;
	SELECT w.* INTO n FROM _ward.notification w
	WHERE w.incident = set_notification.incident AND w.subject_class = the_class
	  AND w.number IN (SELECT _ward.scope_numbers(the_class, set_notification.subject))
	FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'the subject is not on the worklist of incident %', incident
			USING ERRCODE = 'WD611', HINT = 'ward.worklist lists the people. Names that you may not open are given as they are shown there.';
	END IF;
	IF n.claimed_until > clock_timestamp() AND n.claimed_by <> worker THEN
		RAISE EXCEPTION 'the subject is claimed by %', n.claimed_by
			USING ERRCODE = 'WD612', DETAIL = format('The claim runs out at %s.', n.claimed_until),
				HINT = 'Let them finish, or have them call ward.release_notifications().';
	END IF;
	IF n.state = 'must_not_be_contacted' AND set_notification.state IN ('notified', 'unreachable') THEN
		RAISE EXCEPTION 'the subject must not be contacted'
			USING ERRCODE = 'WD613', DETAIL = coalesce('The reason given was: ' || n.proof, 'The organisation''s own data says so.'),
				HINT = 'If that has changed, set the state to ''pending'' first, and give the reason as proof.';
	END IF;
	IF n.state = 'must_not_be_contacted' AND set_notification.state = 'pending' AND coalesce(proof, '') = '' THEN
		RAISE EXCEPTION 'say why the subject may be contacted now' USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the reason as proof.';
	END IF;
	UPDATE _ward.notification w SET state = set_notification.state, proof = set_notification.proof, decided_by = worker,
		decided_at = clock_timestamp(), claimed_by = NULL, claimed_until = NULL
	WHERE w.incident = n.incident AND w.subject_class = n.subject_class AND w.number = n.number;
	INSERT INTO _ward.notification_log (incident, subject_class, number, by, state, proof)
	VALUES (n.incident, n.subject_class, n.number, worker, set_notification.state, set_notification.proof);
	-- A proof may hold anything: the trail gets its hash, which binds it all the same.
	PERFORM _ward.record_event('notification.set', ARRAY['incident', 'class', 'number', 'state', 'by', 'proof_sha256'],
		ARRAY[incident::text, n.subject_class, n.number::text, set_notification.state, worker,
			encode(sha256(convert_to(set_notification.proof, 'UTF8')), 'hex')]);
END
$$;
COMMENT ON FUNCTION ward.set_notification(bigint, text, text, text, text) IS
	'says what came of telling somebody: notified, unreachable, must_not_be_contacted or pending again, and how that is known';

CREATE FUNCTION ward.notification_history(incident bigint, subject text, subject_class text)
	RETURNS TABLE (at timestamptz, by text, state text, proof text)
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM _ward.incident_get(incident, false);
	PERFORM _ward.scope_note_read('ward.notification_history()');
	RETURN QUERY
	SELECT l.at, l.by, l.state, l.proof FROM _ward.notification_log l
	WHERE l.incident = notification_history.incident AND l.subject_class = notification_history.subject_class
	  AND l.number IN (SELECT _ward.scope_numbers(notification_history.subject_class, notification_history.subject))
	ORDER BY l.at;
END
$$;
COMMENT ON FUNCTION ward.notification_history(bigint, text, text) IS 'all that was said of one person''s notification';

REVOKE ALL ON ward.worklist, ward.worklist_progress, ward.worklist_days FROM PUBLIC;
REVOKE ALL ON FUNCTION
	ward.claim_notifications(bigint, integer, text, text, text, interval), ward.release_notifications(bigint),
	ward.set_notification(bigint, text, text, text, text), ward.notification_history(bigint, text, text)
	FROM PUBLIC;
GRANT SELECT ON ward.worklist, ward.worklist_progress, ward.worklist_days TO ward_officer, ward_auditor, ward_analyst;
GRANT EXECUTE ON FUNCTION
	ward.claim_notifications(bigint, integer, text, text, text, interval), ward.release_notifications(bigint),
	ward.set_notification(bigint, text, text, text, text)
	TO ward_officer, ward_analyst;
GRANT EXECUTE ON FUNCTION ward.notification_history(bigint, text, text) TO ward_officer, ward_auditor, ward_analyst;
