-- scope: the report as blocks (headings, texts, facts, tables), which Markdown and HTML
-- only print. All values are plain text here; printing them escapes them.

CREATE FUNCTION _ward.report_number(n bigint) RETURNS text
	LANGUAGE sql STABLE
	RETURN pg_catalog.to_char(n, 'FM999,999,999,999,990');
COMMENT ON FUNCTION _ward.report_number(bigint) IS 'a number as a report prints it';

CREATE FUNCTION _ward.report_time(at timestamptz) RETURNS text
	LANGUAGE sql STABLE
	RETURN CASE WHEN pg_catalog.isfinite(at) THEN pg_catalog.to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC' END;
COMMENT ON FUNCTION _ward.report_time(timestamptz) IS 'a time as a report prints it';

-- A range of time in words, with what begins the sentence.
CREATE FUNCTION _ward.report_range(during tstzrange) RETURNS text
	LANGUAGE sql STABLE
	RETURN CASE WHEN during = tstzrange(NULL, NULL) THEN 'at any time'
		ELSE pg_catalog.concat_ws(' ', 'from ' || _ward.report_time(lower(during)), 'until ' || _ward.report_time(upper(during))) END;
COMMENT ON FUNCTION _ward.report_range(tstzrange) IS 'a range of time in words';

-- A criterion of a question in words.
CREATE FUNCTION _ward.report_question(q jsonb) RETURNS text
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT CASE q ->> 'kind' WHEN 'storage' THEN
		'Whoever stood in ' || (SELECT string_agg(e, ', ') FROM jsonb_array_elements_text(q -> 'relations') e)
		|| ' at ' || _ward.report_time((q ->> 'as_of')::timestamptz)
		|| coalesce(', with the keys ' || (SELECT string_agg(e, ', ') FROM jsonb_array_elements_text(q -> 'exposed_keys') e), '')
		WHEN 'key' THEN
		'Ciphertext under the key ' || (q -> 'exposed_keys' ->> 0) || ' that left the server or was written '
		|| _ward.report_range((q ->> 'during')::tstzrange) || ', or lies in watched tables' ELSE
		'Disclosures ' || _ward.report_range((q ->> 'during')::tstzrange)
		|| coalesce(', ' || string_agg(c.label || ' ' || c.listed, ', ' ORDER BY c.n), ', by anybody')
		END
		|| coalesce(', about subjects of class ' || (q ->> 'class'), '')
	FROM (
		SELECT x.n, x.label, (SELECT string_agg(e, ' or ') FROM jsonb_array_elements_text(q -> x.field) e) AS listed
		FROM (VALUES (1, 'by the role', 'roles'), (2, 'from the address', 'clients'), (3, 'by the actor', 'actors'),
			(4, 'with the application', 'applications'), (5, 'in the session', 'sessions'), (6, 'out of the table', 'relations')) x(n, label, field)
		WHERE jsonb_typeof(q -> x.field) = 'array'
	) c;
END;
COMMENT ON FUNCTION _ward.report_question(jsonb) IS 'a question of an incident in words';

CREATE FUNCTION _ward.report_facts(VARIADIC facts text[]) RETURNS jsonb
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT jsonb_build_object('type', 'facts', 'rows', coalesce(jsonb_agg(jsonb_build_array(facts[i], facts[i + 1]) ORDER BY i), '[]'))
	FROM generate_series(1, cardinality(facts), 2) i WHERE facts[i + 1] <> '';
END;
COMMENT ON FUNCTION _ward.report_facts(text[]) IS 'block of a report: labels and values in turn';

-- The figures of a timeline, where anything was disclosed.
CREATE FUNCTION _ward.report_timeline_table(bins jsonb) RETURNS jsonb
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT jsonb_build_object('type', 'table', 'caption', 'Figures of the chart, where anything was disclosed',
		'head', '["From", "People", "Statements", "People, others", "Statements, others"]'::jsonb,
		'numeric', '[false, true, true, true, true]'::jsonb,
		'rows', coalesce(jsonb_agg(jsonb_build_array(_ward.report_time((t ->> 'from')::timestamptz), _ward.report_number((t ->> 'people')::bigint),
			_ward.report_number((t ->> 'statements')::bigint), _ward.report_number((t ->> 'other_people')::bigint),
			_ward.report_number((t ->> 'other_statements')::bigint)) ORDER BY n)
			FILTER (WHERE (t ->> 'statements')::bigint + (t ->> 'other_statements')::bigint > 0), '[]'))
	FROM jsonb_array_elements(bins) WITH ORDINALITY x(t, n);
END;
COMMENT ON FUNCTION _ward.report_timeline_table(jsonb) IS 'block of a report: the figures of its timeline';

CREATE FUNCTION _ward.report_blocks(r jsonb) RETURNS jsonb
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	missing constant text := 'Not yet written. ward.describe_incident() takes it.';
	people_head constant jsonb := '["Certainly affected", "Possibly", "Notified", "Unreachable", "Must not be contacted", "Still to be told"]';
	numbers constant jsonb := '[false, true, true, true, true, true, true]';
	b jsonb := '[]';
	rows jsonb;
BEGIN
	IF NOT (r ->> 'reliable')::boolean THEN
		SELECT b || jsonb_build_object('type', 'warning', 'text', 'This report is not to be relied upon: '
			|| string_agg(x ->> 'explanation', '; ')) INTO b
		FROM jsonb_array_elements(r -> 'basis') x WHERE x ->> 'state' = 'fails';
	END IF;
	b := b || jsonb_build_object('type', 'summary', 'rows', jsonb_build_array(
		jsonb_build_array(_ward.report_number((r ->> 'certain')::bigint), 'people certainly affected'),
		jsonb_build_array(_ward.report_number((r ->> 'possible')::bigint), 'people possibly affected'),
		jsonb_build_array(_ward.report_number((r -> 'progress' ->> 'notified')::bigint), 'people notified'),
		jsonb_build_array(CASE WHEN r ->> 'reported_at' IS NOT NULL THEN 'reported'
			ELSE to_char(extract(epoch FROM (r ->> 'deadline')::timestamptz - (r ->> 'made_at')::timestamptz) / 3600, 'FM9990') || ' h' END,
			CASE WHEN r ->> 'reported_at' IS NOT NULL THEN 'to the authority'
			WHEN (r ->> 'deadline')::timestamptz < (r ->> 'made_at')::timestamptz THEN 'left: overdue' ELSE 'left to report (72 hours)' END)));

	b := b || jsonb_build_object('type', 'heading', 'text', 'Nature of the breach')
		|| jsonb_build_object('type', 'text', 'text', coalesce(r ->> 'nature', missing))
		|| _ward.report_facts(
			'First disclosure', _ward.report_time((r ->> 'first_disclosure')::timestamptz),
			'Last disclosure', _ward.report_time((r ->> 'last_disclosure')::timestamptz),
			'Discovered', _ward.report_time((r ->> 'known_at')::timestamptz),
			'To be reported by', _ward.report_time((r ->> 'deadline')::timestamptz),
			'Reported', concat_ws(', ', _ward.report_time((r ->> 'reported_at')::timestamptz), r ->> 'reported_to', r ->> 'report_reference'),
			'State', concat_ws(': ', r ->> 'state', r ->> 'outcome'),
			'Sessions', _ward.report_number((r ->> 'session_count')::bigint));
	SELECT jsonb_agg(_ward.report_question(q) ORDER BY (q ->> 'number')::integer) INTO rows FROM jsonb_array_elements(r -> 'questions') q;
	b := b || jsonb_build_object('type', 'text', 'text', 'The people are those of:')
		|| jsonb_build_object('type', 'list', 'items', rows)
		|| jsonb_build_object('type', 'text', 'text', (
			SELECT string_agg(x.text, E'\n' ORDER BY x.n)
			FROM (VALUES (1, 'session', 'Certain: values of the person''s row left the server or were written. Possible: the row had only a part in an answer, such as a total, or was read on a path that names nobody.'),
				(2, 'storage', 'Of stolen tables, certain: the person''s row stood there at that time. Possible: it is not known whether it did.'),
				(3, 'key', 'Of a lost key, certain: ciphertext under it left the server with the person''s row. Possible: it lies in a table, was written, or had a part in an answer. What the key opens counts as in clear.')) x(n, kind, text)
			WHERE x.kind IN (SELECT q ->> 'kind' FROM jsonb_array_elements(r -> 'questions') q)));

	b := b || jsonb_build_object('type', 'heading', 'text', 'When it happened')
		|| jsonb_build_object('type', 'timeline', 'bins', r -> 'timeline', 'table', _ward.report_timeline_table(r -> 'timeline'));

	SELECT jsonb_agg(jsonb_build_array(x ->> 'name', _ward.report_number((x ->> 'certain')::bigint), _ward.report_number((x ->> 'possible')::bigint),
		_ward.report_number((x ->> 'notified')::bigint), _ward.report_number((x ->> 'unreachable')::bigint),
		_ward.report_number((x ->> 'must_not_be_contacted')::bigint), _ward.report_number((x ->> 'pending')::bigint)) ORDER BY n)
	INTO rows FROM jsonb_array_elements(r -> 'categories') WITH ORDINALITY c(x, n);
	b := b || jsonb_build_object('type', 'heading', 'text', 'People by category')
		|| jsonb_build_object('type', 'table', 'caption', 'People by category', 'head', '["Category"]'::jsonb || people_head,
			'numeric', numbers, 'bar', 1, 'rows', coalesce(rows, '[]'));
	SELECT jsonb_agg(jsonb_build_array(x ->> 'name', _ward.report_number((x ->> 'certain')::bigint), _ward.report_number((x ->> 'possible')::bigint),
		_ward.report_number((x ->> 'notified')::bigint), _ward.report_number((x ->> 'unreachable')::bigint),
		_ward.report_number((x ->> 'must_not_be_contacted')::bigint), _ward.report_number((x ->> 'pending')::bigint)) ORDER BY n)
	INTO rows FROM jsonb_array_elements(r -> 'societies') WITH ORDINALITY c(x, n);
	b := b || jsonb_build_object('type', 'heading', 'text', 'People by society')
		|| jsonb_build_object('type', 'table', 'caption', 'People by society', 'head', '["Society"]'::jsonb || people_head,
			'numeric', numbers, 'bar', 1, 'rows', coalesce(rows, '[]'));

	SELECT jsonb_agg(jsonb_build_array(x ->> 'column', _ward.report_number((x ->> 'certain_clear')::bigint),
		_ward.report_number((x ->> 'certain_ciphertext')::bigint), _ward.report_number((x ->> 'possible_clear')::bigint),
		_ward.report_number((x ->> 'possible_ciphertext')::bigint)) ORDER BY n)
	INTO rows FROM jsonb_array_elements(r -> 'columns') WITH ORDINALITY c(x, n);
	b := b || jsonb_build_object('type', 'heading', 'text', 'Which data')
		|| jsonb_build_object('type', 'text', 'text', 'Of how many people each column was disclosed: in clear, or only as ciphertext, which is of no use without the key.')
		|| jsonb_build_object('type', 'table', 'caption', 'Columns disclosed', 'head',
			'["Column", "In clear, certain", "Ciphertext, certain", "In clear, possible", "Ciphertext, possible"]'::jsonb,
			'numeric', '[false, true, true, true, true]'::jsonb, 'bar', 1, 'rows', coalesce(rows, '[]'));

	SELECT jsonb_agg(jsonb_build_array(x ->> 'session', concat_ws(' as ', x ->> 'role',
			(SELECT string_agg(e, ', ') FROM jsonb_array_elements_text(nullif(x -> 'acting_as', 'null')) e)),
		coalesce((SELECT string_agg(e, ', ') FROM jsonb_array_elements_text(nullif(x -> 'actors', 'null')) e), ''),
		coalesce((SELECT string_agg(e, ', ') FROM jsonb_array_elements_text(nullif(x -> 'applications', 'null')) e), ''),
		coalesce(x ->> 'client', 'local'), coalesce(_ward.report_time((x ->> 'started')::timestamptz), ''),
		_ward.report_number((x ->> 'certain')::bigint), _ward.report_number((x ->> 'possible')::bigint)) ORDER BY n)
	INTO rows FROM jsonb_array_elements(r -> 'sessions') WITH ORDINALITY c(x, n);
	b := b || jsonb_build_object('type', 'heading', 'text', 'Sessions');
	IF (r ->> 'session_count')::bigint > jsonb_array_length(r -> 'sessions') THEN
		b := b || jsonb_build_object('type', 'text', 'text', format('The %s with most people out of %s sessions.',
			jsonb_array_length(r -> 'sessions'), _ward.report_number((r ->> 'session_count')::bigint)));
	END IF;
	b := b || jsonb_build_object('type', 'table', 'caption', 'Sessions of the incident', 'head',
			'["Session", "Role", "Actor", "Application", "Client", "Started", "Certain", "Possible"]'::jsonb,
			'numeric', '[false, false, false, false, false, false, true, true]'::jsonb, 'rows', coalesce(rows, '[]'));

	b := b || jsonb_build_object('type', 'heading', 'text', 'Likely consequences')
		|| jsonb_build_object('type', 'text', 'text', coalesce(r ->> 'consequences', missing))
		|| jsonb_build_object('type', 'heading', 'text', 'Measures taken')
		|| jsonb_build_object('type', 'text', 'text', coalesce(r ->> 'measures', missing))
		|| jsonb_build_object('type', 'heading', 'text', 'What those affected should do')
		|| jsonb_build_object('type', 'text', 'text', coalesce(r ->> 'advice', missing))
		|| jsonb_build_object('type', 'heading', 'text', 'Contact')
		|| jsonb_build_object('type', 'text', 'text', coalesce(r ->> 'contact', missing));

	SELECT jsonb_agg(jsonb_build_array(d ->> 'day', _ward.report_number((d ->> 'notified')::bigint), _ward.report_number((d ->> 'unreachable')::bigint),
		_ward.report_number((d ->> 'must_not_be_contacted')::bigint)) ORDER BY n)
	INTO rows FROM jsonb_array_elements(r -> 'days') WITH ORDINALITY c(d, n);
	b := b || jsonb_build_object('type', 'heading', 'text', 'Progress of notification')
		|| _ward.report_facts('Notified', _ward.report_number((r -> 'progress' ->> 'notified')::bigint),
			'Still to be told, certainly affected', _ward.report_number((r -> 'progress' ->> 'pending')::bigint),
			'Unreachable', _ward.report_number((r -> 'progress' ->> 'unreachable')::bigint),
			'Must not be contacted', _ward.report_number((r -> 'progress' ->> 'must_not_be_contacted')::bigint));
	IF rows IS NOT NULL THEN
		b := b || jsonb_build_object('type', 'table', 'caption', 'Decisions by day', 'head',
			'["Day", "Notified", "Unreachable", "Must not be contacted"]'::jsonb, 'numeric', '[false, true, true, true]'::jsonb, 'bar', 1, 'rows', rows);
	END IF;

	SELECT jsonb_agg(jsonb_build_array(x ->> 'ground', x ->> 'state', coalesce(_ward.report_time((x ->> 'since')::timestamptz), ''),
		coalesce(_ward.report_time((x ->> 'until')::timestamptz), ''), x ->> 'explanation') ORDER BY n)
	INTO rows FROM jsonb_array_elements(r -> 'basis') WITH ORDINALITY c(x, n);
	b := b || jsonb_build_object('type', 'heading', 'text', 'Basis and limits')
		|| jsonb_build_object('type', 'text', 'text', 'On what ground everybody else is taken for not affected, and what limits that.')
		|| jsonb_build_object('type', 'table', 'caption', 'Basis of this report', 'head',
			'["Ground", "State", "From", "Until", "Explanation"]'::jsonb, 'numeric', '[false, false, false, false, false]'::jsonb, 'rows', coalesce(rows, '[]'));

	SELECT jsonb_agg(jsonb_build_array(x ->> 'version', _ward.report_time((x ->> 'made_at')::timestamptz), coalesce(x ->> 'reason', ''),
		_ward.report_number((x ->> 'certain')::bigint), _ward.report_number((x ->> 'possible')::bigint)) ORDER BY n)
	INTO rows FROM jsonb_array_elements(r -> 'versions') WITH ORDINALITY c(x, n);
	b := b || jsonb_build_object('type', 'heading', 'text', 'Versions of the scope')
		|| jsonb_build_object('type', 'table', 'caption', 'Versions of the scope', 'head',
			'["Version", "Made", "Reason", "Certain", "Possible"]'::jsonb, 'numeric', '[false, false, false, true, true]'::jsonb, 'rows', coalesce(rows, '[]'));
	RETURN b;
END
$$;
COMMENT ON FUNCTION _ward.report_blocks(jsonb) IS 'blocks of a report, to be printed';

REVOKE ALL ON FUNCTION
	_ward.report_number(bigint), _ward.report_time(timestamptz), _ward.report_range(tstzrange), _ward.report_question(jsonb),
	_ward.report_facts(text[]), _ward.report_timeline_table(jsonb),
	_ward.report_blocks(jsonb)
	FROM PUBLIC;
