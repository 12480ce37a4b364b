-- guard: lockdown. What stops reading stands in shared memory and in a file of the data
-- directory, not in a table: it holds at once, on a standby too, and no rollback undoes it.

CREATE FUNCTION _ward.lockdown_set(reads boolean, roles oid[], clients text[], reason text) RETURNS text
	LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'ward_lockdown_set';
CREATE FUNCTION _ward.lockdown_lift() RETURNS void
	LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'ward_lockdown_lift';
CREATE FUNCTION _ward.freeze_apart(key text, reason text) RETURNS integer
	LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'ward_freeze_apart';
CREATE FUNCTION _ward.freeze_outcome(slot integer) RETURNS boolean
	LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'ward_freeze_outcome';
CREATE FUNCTION _ward.lockdown_now(
		OUT active boolean, OUT reads boolean, OUT roles oid[], OUT clients text[], OUT since timestamptz,
		OUT by text, OUT reason text, OUT problem text)
	LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_lockdown_now';
REVOKE ALL ON FUNCTION _ward.lockdown_set(boolean, oid[], text[], text), _ward.lockdown_lift(),
	_ward.freeze_apart(text, text), _ward.freeze_outcome(integer), _ward.lockdown_now() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION _ward.lockdown_now() TO ward_officer, ward_auditor;

-- A role and all that are members of it, whether they inherit or may SET ROLE.
CREATE FUNCTION _ward.role_members(roles oid[]) RETURNS SETOF oid
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
		WITH RECURSIVE member(role) AS (
			SELECT unnest(roles)
			UNION
			SELECT m.member FROM pg_auth_members m JOIN member ON m.roleid = member.role)
		SELECT role FROM member
	$$;
REVOKE ALL ON FUNCTION _ward.role_members(oid[]) FROM PUBLIC;

CREATE VIEW ward.lockdown_state AS
	SELECT l.active, l.reads,
		   ARRAY(SELECT coalesce(a.rolname, r.role::text::name) FROM pg_catalog.unnest(l.roles) r(role)
		          LEFT JOIN pg_catalog.pg_roles a ON a.oid = r.role ORDER BY 1) AS roles,
		   l.clients::inet[] AS clients, l.since, l.by, l.reason, l.problem
	FROM _ward.lockdown_now() l;
REVOKE ALL ON ward.lockdown_state FROM PUBLIC;
GRANT SELECT ON ward.lockdown_state TO ward_officer, ward_auditor;
COMMENT ON VIEW ward.lockdown_state IS
	'what is locked down on this server: all watched reads, or roles and addresses; since when, by whom and why';

-- What a lockdown may not be: one that locks out whoever could end it.
CREATE FUNCTION _ward.lockdown_check(reason text, reads boolean, keys text[], roles name[], clients inet[]) RETURNS void
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	wrong text;
BEGIN
	IF coalesce(reason, '') = '' THEN
		RAISE EXCEPTION 'a lockdown needs a reason' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF NOT coalesce(reads, false) AND coalesce(cardinality(keys), 0) = 0 AND coalesce(cardinality(roles), 0) = 0
			AND coalesce(cardinality(clients), 0) = 0 THEN
		RAISE EXCEPTION 'nothing is to be locked down'
			USING ERRCODE = 'WD531', HINT = 'Name reads, keys, roles or clients.';
	END IF;
	SELECT min(r.role) INTO wrong FROM unnest(roles) r(role)
	 WHERE r.role IS NULL OR NOT EXISTS (SELECT FROM pg_roles p WHERE p.rolname = r.role);
	IF FOUND AND wrong IS NOT NULL THEN
		RAISE EXCEPTION 'role "%" does not exist', wrong USING ERRCODE = 'undefined_object';
	END IF;
	SELECT min(r.role) INTO wrong FROM unnest(roles) r(role)
	 WHERE r.role IN ('ward_officer', 'ward_auditor', 'ward_analyst', 'ward_shipper');
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION 'role "%" can not be locked down', wrong
			USING ERRCODE = 'WD531', DETAIL = 'Its members are those who could end the lockdown, or who look into it.',
			      HINT = 'Name the one role that is in wrong hands.';
	END IF;
	IF EXISTS (SELECT FROM _ward.role_members(ARRAY(SELECT p.oid FROM pg_roles p WHERE p.rolname = ANY (roles))) m(role)
	            JOIN pg_roles p ON p.oid = m.role WHERE p.rolname = session_user) THEN
		RAISE EXCEPTION 'you would lock yourself out'
			USING ERRCODE = 'WD531', DETAIL = format('Your role %s is one of those, or a member of one.', session_user);
	END IF;
	IF inet_client_addr() <<= ANY (clients) THEN
		RAISE EXCEPTION 'you would lock yourself out'
			USING ERRCODE = 'WD531', DETAIL = format('You are connected from %s.', host(inet_client_addr()));
	END IF;
	SELECT min(k.key) INTO wrong FROM unnest(keys) k(key)
	 WHERE k.key <> '*' AND NOT EXISTS (SELECT FROM _ward.key e WHERE e.name = k.key);
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION 'sealing key "%" does not exist', wrong
			USING ERRCODE = 'WD201', HINT = 'The view ward.keys lists the keys; {*} means all of them.';
	END IF;
END
$$;
REVOKE ALL ON FUNCTION _ward.lockdown_check(text, boolean, text[], name[], inet[]) FROM PUBLIC;

CREATE FUNCTION ward.lockdown(
		reason text, reads boolean DEFAULT true, keys text[] DEFAULT '{}', roles name[] DEFAULT '{}',
		clients inet[] DEFAULT '{}')
	RETURNS TABLE (action text, target text, outcome text)
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
#variable_conflict use_column
DECLARE
	role_ids oid[];
	members oid[];
	wrong text;
	wanted text[];
	slots integer[] := '{}';
	gone record;
	sessions integer[];
	deadline timestamptz;
	done boolean;
BEGIN
	reads := coalesce(reads, false);
	PERFORM _ward.lockdown_check(lockdown.reason, lockdown.reads, lockdown.keys, lockdown.roles, lockdown.clients);
	role_ids := ARRAY(SELECT p.oid FROM pg_roles p WHERE p.rolname = ANY (lockdown.roles));
	-- First what needs nobody else: it holds from here on, in every session.
	IF lockdown.reads OR cardinality(role_ids) > 0 OR cardinality(lockdown.clients) > 0 THEN
		wrong := _ward.lockdown_set(lockdown.reads, role_ids,
		                            ARRAY(SELECT c::text FROM unnest(lockdown.clients) c WHERE c IS NOT NULL), lockdown.reason);
	END IF;
	-- Keys are frozen by processes of their own, so that a rollback here does not thaw them.
	wanted := ARRAY(SELECT k.name FROM _ward.key k
	                 WHERE NOT k.frozen AND ('*' = ANY (lockdown.keys) OR k.name = ANY (lockdown.keys)) ORDER BY 1);
	IF NOT pg_is_in_recovery() THEN
		FOR i IN 1 .. cardinality(wanted) LOOP
			slots[i] := _ward.freeze_apart(wanted[i], 'lockdown: ' || lockdown.reason);
		END LOOP;
	END IF;
	-- Sessions of these roles and addresses, all told before any is waited for.
	members := ARRAY(SELECT _ward.role_members(role_ids));
	PERFORM pg_stat_clear_snapshot();
	SELECT coalesce(array_agg(a.pid), '{}') INTO sessions
	  FROM pg_stat_activity a
	 WHERE a.pid <> pg_backend_pid() AND a.backend_type IN ('client backend', 'walsender')
	   AND (a.usesysid = ANY (members) OR a.client_addr <<= ANY (lockdown.clients));
	PERFORM pg_terminate_backend(s) FROM unnest(sessions) s;
	PERFORM _ward.record_event('guard.lockdown', ARRAY['reason', 'reads', 'keys', 'roles', 'clients', 'sessions'],
	                           ARRAY[lockdown.reason, lockdown.reads::text, lockdown.keys::text, lockdown.roles::text,
	                                 lockdown.clients::text, cardinality(sessions)::text]);
	PERFORM _ward.raise_alert('lockdown', 'an officer has locked down', ARRAY['reason', 'reads', 'keys', 'roles', 'clients'],
	                          ARRAY[lockdown.reason, lockdown.reads::text, lockdown.keys::text, lockdown.roles::text,
	                                lockdown.clients::text]);

	IF lockdown.reads THEN
		RETURN QUERY SELECT 'reads', 'all watched tables', 'refused to all but officers' ||
			coalesce('; but a restart would end that: ' || wrong, '');
	END IF;
	RETURN QUERY SELECT 'role', r::text, 'refused, also as it connects' || coalesce('; but a restart would end that: ' || wrong, '')
		FROM unnest(lockdown.roles) r;
	RETURN QUERY SELECT 'client', c::text, 'refused, also as it connects' || coalesce('; but a restart would end that: ' || wrong, '')
		FROM unnest(lockdown.clients) c;
	deadline := clock_timestamp() + interval '1 second';
	LOOP
		PERFORM pg_stat_clear_snapshot();
		EXIT WHEN clock_timestamp() > deadline
			OR NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = ANY (sessions));
		PERFORM pg_sleep(0.01);
	END LOOP;
	FOR gone IN SELECT s.pid, EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = s.pid) AS left FROM unnest(sessions) s(pid) LOOP
		RETURN QUERY SELECT 'session', gone.pid::text,
			CASE WHEN gone.left THEN 'told to end, has not within a second' ELSE 'ended' END;
	END LOOP;
	FOR i IN 1 .. cardinality(wanted) LOOP
		done := NULL;
		deadline := clock_timestamp() + interval '4 seconds';
		WHILE slots[i] >= 0 AND done IS NULL AND clock_timestamp() < deadline LOOP
			done := _ward.freeze_outcome(slots[i]);
			IF done IS NULL THEN
				PERFORM pg_sleep(0.01);
			END IF;
		END LOOP;
		RETURN QUERY SELECT 'key', wanted[i],
			CASE WHEN done THEN 'frozen' WHEN pg_is_in_recovery() THEN 'not frozen: this is a standby, call it on the primary'
			     ELSE 'not frozen: see the log, and call ward.freeze_key()' END;
	END LOOP;
	RETURN QUERY SELECT 'key', k.name, 'was frozen already' FROM _ward.key k
		WHERE k.frozen AND k.name <> ALL (wanted) AND ('*' = ANY (lockdown.keys) OR k.name = ANY (lockdown.keys)) ORDER BY 2;
END
$$;
REVOKE ALL ON FUNCTION ward.lockdown(text, boolean, text[], name[], inet[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.lockdown(text, boolean, text[], name[], inet[]) TO ward_officer;
COMMENT ON FUNCTION ward.lockdown(text, boolean, text[], name[], inet[]) IS
	'stops reading at once, on the whole server, whatever becomes of the transaction: watched reads of all but officers (reads), of roles and of addresses, whose sessions end; freezes keys ({*}: all). A row says what each came to';

CREATE FUNCTION ward.lift_lockdown(reason text)
	RETURNS TABLE (action text, target text, outcome text)
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
#variable_conflict use_column
DECLARE
	was record;
BEGIN
	IF coalesce(lift_lockdown.reason, '') = '' THEN
		RAISE EXCEPTION 'say why the lockdown ends' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	SELECT * INTO was FROM ward.lockdown_state;
	IF NOT was.active THEN
		RAISE EXCEPTION 'nothing is locked down' USING ERRCODE = 'WD532';
	END IF;
	PERFORM _ward.record_event('guard.lockdown_lifted', ARRAY['reason', 'reads', 'roles', 'clients', 'since'],
	                           ARRAY[lift_lockdown.reason, was.reads::text, was.roles::text, was.clients::text, was.since::text]);
	PERFORM _ward.lockdown_lift();
	PERFORM _ward.raise_alert('lockdown', 'an officer has ended the lockdown', ARRAY['reason'], ARRAY[lift_lockdown.reason]);
	IF was.reads THEN
		RETURN QUERY SELECT 'reads', 'all watched tables', 'as before';
	END IF;
	RETURN QUERY SELECT 'role', r::text, 'as before' FROM unnest(was.roles) r;
	RETURN QUERY SELECT 'client', c::text, 'as before' FROM unnest(was.clients) c;
	RETURN QUERY SELECT 'key', k.name, 'stays frozen: ward.thaw_key() ends that' FROM _ward.key k WHERE k.frozen ORDER BY 2;
END
$$;
REVOKE ALL ON FUNCTION ward.lift_lockdown(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.lift_lockdown(text) TO ward_officer;
COMMENT ON FUNCTION ward.lift_lockdown(text) IS
	'ends a lockdown at once, whatever becomes of the transaction; keys stay frozen until ward.thaw_key()';
