-- guard: limits on how many different people somebody may be shown.

-- limit_rule.c reads the columns by number: add at the end only. regrole is dumped by
-- name, so that a restore on another cluster finds its roles.
CREATE TABLE _ward.guard_limit (
	-- Never one that was used before: windows in memory go by it.
	id bigint PRIMARY KEY DEFAULT pg_catalog.hashtextextended(pg_catalog.gen_random_uuid()::text, 0),
	name text NOT NULL UNIQUE,
	class text NOT NULL,
	at_most bigint NOT NULL,
	per interval NOT NULL,
	counted_by text NOT NULL,
	applies_to regrole[],		-- NULL: everybody who is counted at all
	on_excess text NOT NULL,
	manner text NOT NULL,
	made_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	made_by name NOT NULL DEFAULT session_user
);
REVOKE ALL ON _ward.guard_limit FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('_ward.guard_limit', '');
COMMENT ON TABLE _ward.guard_limit IS 'limits on how many different people somebody may be shown';

-- After the rows stand, so that what a session reads again is the new state.
CREATE FUNCTION _ward.guard_changed() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	PERFORM _ward.invalidate(TG_RELID);
	RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION _ward.guard_changed() FROM PUBLIC;
CREATE TRIGGER guard_limit_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON _ward.guard_limit
	FOR EACH STATEMENT EXECUTE FUNCTION _ward.guard_changed();

CREATE FUNCTION _ward.limit_exempt(role oid) RETURNS boolean
	LANGUAGE c STRICT STABLE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_limit_exempt';
COMMENT ON FUNCTION _ward.limit_exempt(oid) IS 'is a role never counted against a limit?';

CREATE FUNCTION _ward.limit_use(OUT id bigint, OUT principal text, OUT people bigint, OUT reserved bigint, OUT first_free_at timestamptz)
	RETURNS SETOF record
	LANGUAGE c STRICT VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_limit_use';
COMMENT ON FUNCTION _ward.limit_use() IS 'how far this database''s limits are used, for each principal';
REVOKE ALL ON FUNCTION _ward.limit_exempt(oid), _ward.limit_use() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION _ward.limit_use() TO ward_officer, ward_auditor;

-- Refuses what makes no sense, and what would lock out those who can undo it.
CREATE FUNCTION _ward.limit_check(name text, class text, at_most bigint, per interval, by text, applies_to name[], on_excess text, manner text)
	RETURNS regrole[]
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	wanted name;
	role_id oid;
	roles regrole[];
BEGIN
	IF coalesce(name, '') = '' OR coalesce(class, '') = '' OR at_most IS NULL OR per IS NULL THEN
		RAISE EXCEPTION 'a limit needs a name, a class of people, how many, and an interval'
			USING ERRCODE = 'null_value_not_allowed',
			      HINT = 'Say, ward.limit(''caseworkers'', ''person'', 200, ''1 hour'', applies_to => ''{caseworker}'', on_excess => ''alert'').';
	END IF;
	IF at_most < 0 OR per < '1 second' OR per > '366 days' THEN
		RAISE EXCEPTION 'limit "%" can not be kept', name
			USING ERRCODE = 'WD502', DETAIL = 'It must allow 0 people or more, in 1 second to 366 days.';
	END IF;
	IF by NOT IN ('role', 'session', 'actor', 'client') OR on_excess NOT IN ('refuse', 'alert', 'delay')
	   OR manner NOT IN ('any', 'clear', 'ciphertext') OR by IS NULL OR on_excess IS NULL OR manner IS NULL THEN
		RAISE EXCEPTION 'limit "%" is not understood', name
			USING ERRCODE = 'WD502',
			      DETAIL = 'It is by ''role'', ''session'', ''actor'' or ''client''; on_excess ''refuse'', ''alert'' or ''delay''; of manner ''any'', ''clear'' or ''ciphertext''.';
	END IF;
	IF applies_to = '{}' THEN
		RAISE EXCEPTION 'limit "%" would apply to nobody', name
			USING ERRCODE = 'WD502', HINT = 'Leave applies_to out for everybody who is counted at all.';
	END IF;
	FOREACH wanted IN ARRAY coalesce(applies_to, '{}') LOOP
		SELECT r.oid INTO role_id FROM pg_roles r WHERE r.rolname = wanted;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'role "%" does not exist', wanted USING ERRCODE = 'undefined_object';
		END IF;
		IF _ward.limit_exempt(role_id) THEN
			RAISE EXCEPTION 'role "%" can not be limited', wanted
				USING ERRCODE = 'WD502',
				      DETAIL = CASE WHEN role_id = 10 THEN 'It is the role that the cluster was made with.'
				                    WHEN (SELECT r.rolreplication FROM pg_roles r WHERE r.oid = role_id) THEN 'It replicates: a refusal would break standbys.'
				                    ELSE 'It is an officer''s: nobody could undo a limit any more.' END,
				      HINT = 'What such roles read is recorded. They should not be used for the application''s work.';
		END IF;
		roles := roles || role_id::regrole;
	END LOOP;
	RETURN roles;
END
$$;
REVOKE ALL ON FUNCTION _ward.limit_check(text, text, bigint, interval, text, name[], text, text) FROM PUBLIC;

CREATE FUNCTION ward.limit(name text, class text, at_most bigint, per interval, by text DEFAULT 'role',
		applies_to name[] DEFAULT NULL, on_excess text DEFAULT 'refuse', manner text DEFAULT 'any') RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	roles regrole[] := _ward.limit_check(name, class, at_most, per, by, applies_to, on_excess, manner);
BEGIN
	-- Made anew, so that what was counted for the old one does not stand for it.
	DELETE FROM _ward.guard_limit g WHERE g.name = "limit".name;
	INSERT INTO _ward.guard_limit (name, class, at_most, per, counted_by, applies_to, on_excess, manner)
		VALUES (name, class, at_most, per, by, roles, on_excess, manner);
	PERFORM _ward.record_event('limit.made',
		ARRAY['limit', 'class', 'at_most', 'per', 'by', 'applies_to', 'on_excess', 'manner'],
		ARRAY[name, class, at_most::text, per::text, by, roles::text, on_excess, manner]);
END
$$;
REVOKE ALL ON FUNCTION ward.limit(text, text, bigint, interval, text, name[], text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.limit(text, text, bigint, interval, text, name[], text, text) TO ward_officer;
COMMENT ON FUNCTION ward.limit(text, text, bigint, interval, text, name[], text, text) IS
	'limits how many different people a role, session, actor or client may be shown in an interval; made anew where there is one of that name';

CREATE FUNCTION ward.drop_limit(name text) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	DELETE FROM _ward.guard_limit g WHERE g.name = drop_limit.name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no limit "%"', name
			USING ERRCODE = 'undefined_object', HINT = 'The view ward.limits lists them.';
	END IF;
	PERFORM _ward.record_event('limit.dropped', ARRAY['limit'], ARRAY[name]);
END
$$;
REVOKE ALL ON FUNCTION ward.drop_limit(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.drop_limit(text) TO ward_officer;
COMMENT ON FUNCTION ward.drop_limit(text) IS 'ends a limit';

CREATE VIEW ward.limits AS
	SELECT g.name, g.class, g.at_most, g.per, g.counted_by AS by, g.applies_to, g.on_excess, g.manner, g.made_at, g.made_by
	FROM _ward.guard_limit g;
COMMENT ON VIEW ward.limits IS 'limits on how many different people somebody may be shown';

CREATE VIEW ward.limit_use AS
	SELECT g.name, g.counted_by AS by, u.principal, u.people, greatest(g.at_most - u.people - u.reserved, 0) AS remaining,
		   u.reserved, u.first_free_at
	FROM _ward.guard_limit g JOIN _ward.limit_use() u ON u.id = g.id;
COMMENT ON VIEW ward.limit_use IS
	'how many different people count against each limit now, for whom; reserved: running statements may still show them';
REVOKE ALL ON ward.limits, ward.limit_use FROM PUBLIC;
GRANT SELECT ON ward.limits, ward.limit_use TO ward_officer, ward_auditor;
