-- scope: what subjects are called, set by set, and who asks.

-- A key of the trail's dictionary as text. Texts are opened with the right of whoever
-- asks; without it they are armored.
CREATE FUNCTION _ward.subject_show(form int2, fingerprint bytea, key bytea) RETURNS text
	LANGUAGE c STRICT STABLE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'ward_subject_show';
COMMENT ON FUNCTION _ward.subject_show(int2, bytea, bytea) IS 'a key of the dictionary of subjects as text';

-- The members of a set with their names; two keys that share a number are two rows.
CREATE FUNCTION _ward.scope_names(class text, subjects bytea) RETURNS TABLE (number bigint, subject text)
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT m.number, coalesce(_ward.subject_show(k.form, k.fingerprint, k.key), m.number::text)
	FROM _ward.subject_set_members(scope_names.subjects) m(number)
	LEFT JOIN _ward.subject_key k ON k.class = scope_names.class AND k.number = m.number;
END;
COMMENT ON FUNCTION _ward.scope_names(text, bytea) IS 'members of a subject set, with their names';

-- The numbers that a subject, given as text, may have in sets of its class.
CREATE FUNCTION _ward.scope_numbers(class text, subject text) RETURNS SETOF bigint
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	k record;
BEGIN
	FOR k IN SELECT * FROM _ward.scope_kinds(scope_numbers.class) LOOP
		IF k.kind = 'integer' THEN
			IF subject !~ '^\s*[-+]?[0-9]{1,19}\s*$' THEN
				RAISE EXCEPTION 'subjects of class "%" are whole numbers', class
					USING ERRCODE = 'invalid_text_representation', HINT = 'Give the number of its row.';
			END IF;
			RETURN NEXT subject::bigint;
		ELSIF k.kind = 'uuid' THEN
			RETURN NEXT _ward.subject_number(subject::uuid);
		ELSE
			RETURN NEXT _ward.subject_number(k.key, subject);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION _ward.scope_numbers(text, text) IS 'numbers that a subject may have in subject sets';

-- Who calls a SECURITY DEFINER function: whom SET ROLE named, or else who logged in.
CREATE FUNCTION _ward.scope_caller() RETURNS name
	LANGUAGE sql STABLE
	RETURN CASE pg_catalog.current_setting('role') WHEN 'none' THEN session_user
		ELSE pg_catalog.current_setting('role')::name END;
COMMENT ON FUNCTION _ward.scope_caller() IS 'role that calls';

-- The same with the actor behind a pooled connection, as the session states it.
CREATE FUNCTION _ward.scope_worker() RETURNS text
	LANGUAGE sql STABLE
	RETURN _ward.scope_caller() || coalesce('/' || nullif(pg_catalog.current_setting('ward.actor', true), ''), '');
COMMENT ON FUNCTION _ward.scope_worker() IS 'role and actor that call';

-- Records that a view was read; views have it in a condition that runs once a query.
CREATE FUNCTION _ward.scope_note_read(what text) RETURNS boolean
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM _ward.record_event('scope.read', ARRAY['what'], ARRAY[what]);
	RETURN true;
END
$$;
COMMENT ON FUNCTION _ward.scope_note_read(text) IS 'records that the scope was read';

REVOKE ALL ON FUNCTION
	_ward.subject_show(int2, bytea, bytea),
	_ward.scope_names(text, bytea),
	_ward.scope_numbers(text, text),
	_ward.scope_caller(), _ward.scope_worker(),
	_ward.scope_note_read(text)
	FROM PUBLIC;
-- A view's function calls are checked against whoever reads it.
GRANT EXECUTE ON FUNCTION _ward.subject_show(int2, bytea, bytea), _ward.scope_note_read(text)
	TO ward_officer, ward_auditor, ward_analyst;
