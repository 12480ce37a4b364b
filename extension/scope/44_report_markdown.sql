-- scope: the report as Markdown.

-- Any text as part of a line: what Markdown or HTML would take for markup is escaped.
CREATE FUNCTION _ward.report_markdown_text(value text) RETURNS text
	LANGUAGE sql IMMUTABLE
	RETURN pg_catalog.regexp_replace(
		pg_catalog.regexp_replace(pg_catalog.replace(pg_catalog.replace(coalesce(value, ''), '&', '&amp;'), '<', '&lt;'),
			'([\\`*_{}\[\]()#+!|>~])', '\\\1', 'g'), '[\n\r]+', ' ', 'g');
COMMENT ON FUNCTION _ward.report_markdown_text(text) IS 'text, escaped for Markdown';

CREATE FUNCTION _ward.report_markdown_table(head jsonb, numeric_columns jsonb, rows jsonb) RETURNS text
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT '| ' || (SELECT string_agg(_ward.report_markdown_text(h), ' | ' ORDER BY n) FROM jsonb_array_elements_text(head) WITH ORDINALITY x(h, n)) || E' |\n|'
		|| (SELECT string_agg(CASE WHEN h THEN ' ---: ' ELSE ' --- ' END, '|' ORDER BY n)
			FROM (SELECT v::boolean AS h, n FROM jsonb_array_elements_text(numeric_columns) WITH ORDINALITY x(v, n)) y) || E'|\n'
		|| coalesce((SELECT string_agg('| ' || (SELECT string_agg(_ward.report_markdown_text(c), ' | ' ORDER BY m)
				FROM jsonb_array_elements_text(row) WITH ORDINALITY z(c, m)) || ' |', E'\n' ORDER BY n)
			FROM jsonb_array_elements(rows) WITH ORDINALITY x(row, n)), '') || E'\n';
END;
COMMENT ON FUNCTION _ward.report_markdown_table(jsonb, jsonb, jsonb) IS 'table in Markdown';

CREATE FUNCTION _ward.report_markdown(r jsonb) RETURNS text
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	out text;
	b jsonb;
	part text;
BEGIN
	out := format(E'# Incident %s: %s\n\nVersion %s of the scope. Report made %s by %s.\n', r ->> 'incident', _ward.report_markdown_text(r ->> 'title'),
		r ->> 'version', _ward.report_time((r ->> 'made_at')::timestamptz), _ward.report_markdown_text(r ->> 'made_by'));
	FOR b IN SELECT x FROM jsonb_array_elements(_ward.report_blocks(r)) x LOOP
		CASE b ->> 'type'
			WHEN 'heading' THEN part := '## ' || _ward.report_markdown_text(b ->> 'text') || E'\n';
			WHEN 'warning' THEN part := '> **' || _ward.report_markdown_text(b ->> 'text') || E'**\n';
			WHEN 'text' THEN part := (SELECT string_agg(_ward.report_markdown_text(l), E'  \n' ORDER BY n)
				FROM regexp_split_to_table(b ->> 'text', '\r?\n') WITH ORDINALITY x(l, n)) || E'\n';
			WHEN 'list' THEN part := (SELECT string_agg('- ' || _ward.report_markdown_text(l), E'\n' ORDER BY n)
				FROM jsonb_array_elements_text(b -> 'items') WITH ORDINALITY x(l, n)) || E'\n';
			WHEN 'facts' THEN part := (SELECT string_agg(format('- %s: %s', _ward.report_markdown_text(f ->> 0), _ward.report_markdown_text(f ->> 1)), E'\n' ORDER BY n)
				FROM jsonb_array_elements(b -> 'rows') WITH ORDINALITY x(f, n)) || E'\n';
			WHEN 'summary' THEN part := (SELECT string_agg(format('- **%s** %s', _ward.report_markdown_text(f ->> 0), _ward.report_markdown_text(f ->> 1)), E'\n' ORDER BY n)
				FROM jsonb_array_elements(b -> 'rows') WITH ORDINALITY x(f, n)) || E'\n';
			WHEN 'table' THEN part := _ward.report_markdown_table(b -> 'head', b -> 'numeric', b -> 'rows');
			WHEN 'timeline' THEN part := CASE WHEN jsonb_array_length(b -> 'bins') = 0 THEN E'No disclosure by the server is part of this incident.\n' ELSE
				_ward.report_markdown_table(b -> 'table' -> 'head', b -> 'table' -> 'numeric', b -> 'table' -> 'rows') END;
		END CASE;
		out := out || E'\n' || coalesce(part, '');
	END LOOP;
	RETURN out;
END
$$;
COMMENT ON FUNCTION _ward.report_markdown(jsonb) IS 'the report as Markdown';

REVOKE ALL ON FUNCTION _ward.report_markdown_text(text), _ward.report_markdown_table(jsonb, jsonb, jsonb), _ward.report_markdown(jsonb) FROM PUBLIC;
