-- scope: the report as one HTML page. It needs nothing else: no network, no script, no
-- font; it prints, and can be read by a screen reader: headings, captions, scopes of
-- table headers, a description of the chart with its figures in a table, contrast of
-- more than 4.5 to 1, and nothing told by colour alone.

CREATE FUNCTION _ward.html(value text) RETURNS text
	LANGUAGE sql IMMUTABLE
	RETURN pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
		-- XML knows no control characters but these three.
		pg_catalog.regexp_replace(coalesce(value, ''), '[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]', '?', 'g'),
		'&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;');
COMMENT ON FUNCTION _ward.html(text) IS 'text, escaped for HTML';

CREATE FUNCTION _ward.report_html_style() RETURNS text
	LANGUAGE sql IMMUTABLE
	RETURN $css$
body { font: 16px/1.5 "Liberation Sans", Arial, sans-serif; color: #1b1b1b; background: #fff; max-width: 62rem; margin: 2rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; border-bottom: 2px solid #c9d3dd; padding-bottom: .2rem; break-after: avoid; }
p { margin: .5rem 0; white-space: pre-line; overflow-wrap: anywhere; }
.made { color: #4a4a4a; }
.warning { border: 3px solid #8c1d18; background: #fdecea; color: #5c0f0b; padding: .75rem 1rem; font-weight: bold; margin: 1rem 0; }
.summary { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0; padding: 0; list-style: none; }
.summary li { flex: 1 1 11rem; border: 1px solid #9fb0c0; border-left: 6px solid #1f4e79; padding: .5rem .75rem; }
.summary b { display: block; font-size: 1.5rem; line-height: 1.2; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.25rem; margin: .75rem 0; }
dt { color: #4a4a4a; } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin: .75rem 0; font-size: .9rem; }
caption { text-align: left; font-weight: bold; padding: .25rem 0; }
h2 + table caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
th, td { text-align: left; vertical-align: top; padding: .3rem .55rem; border-bottom: 1px solid #c9d3dd; overflow-wrap: anywhere; }
thead th { background: #e8eef4; border-bottom: 2px solid #1f4e79; vertical-align: bottom; overflow-wrap: normal; }
tbody th { font-weight: normal; min-width: 9em; } td { min-width: 5.2em; }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
thead th.n { white-space: normal; } .short { break-inside: avoid; }
.bar { width: 18%; padding-left: 0; } .bar svg { display: block; width: 100%; height: 1em; margin-top: .2em; }
.fails { background: #fdecea; } .fails td:nth-child(2), .limited td:nth-child(2) { font-weight: bold; }
figure { margin: 1rem 0; break-inside: avoid; } figure svg { width: 100%; height: auto; display: block; }
figcaption { color: #4a4a4a; font-size: .9rem; }
thead { display: table-header-group; } tr { break-inside: avoid; }
@media print { @page { size: A4; margin: 16mm; } * { box-sizing: border-box; } .summary { display: grid; grid-template-columns: repeat(4, 1fr); gap: 3mm; padding-right: 1px; } body { font-size: 10pt; margin: 0; max-width: none; padding: 0; } * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } h2 { margin-top: 1.2rem; } }
$css$;
COMMENT ON FUNCTION _ward.report_html_style() IS 'style sheet of the report';

-- A number as printed, back to its value.
CREATE FUNCTION _ward.report_value(printed text) RETURNS numeric
	LANGUAGE sql IMMUTABLE
	RETURN CASE WHEN printed ~ '^[0-9,]+$' THEN pg_catalog.replace(printed, ',', '')::numeric ELSE 0 END;
COMMENT ON FUNCTION _ward.report_value(text) IS 'value of a number as a report prints it';

CREATE FUNCTION _ward.report_html_table(t jsonb) RETURNS text
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	bar integer := (t ->> 'bar')::integer;
	most numeric;
	head text;
	body text;
BEGIN
	IF jsonb_array_length(t -> 'rows') = 0 THEN
		RETURN E'<p>None.</p>\n';
	END IF;
	IF bar IS NOT NULL THEN
		SELECT max(_ward.report_value(r ->> bar)) INTO most FROM jsonb_array_elements(t -> 'rows') r;
		IF most = 0 THEN
			bar := NULL;
		END IF;
	END IF;
	SELECT string_agg(format('<th scope="col"%s>%s</th>', CASE WHEN n - 1 = bar THEN ' colspan="2"' WHEN (t -> 'numeric' ->> (n - 1)::integer)::boolean THEN ' class="n"' ELSE '' END, _ward.html(h)), '' ORDER BY n)
	INTO head FROM jsonb_array_elements_text(t -> 'head') WITH ORDINALITY x(h, n);
	SELECT string_agg(format('<tr%s>%s</tr>', CASE WHEN r ->> 1 IN ('fails', 'limited') THEN format(' class="%s"', r ->> 1) ELSE '' END, (
		SELECT string_agg(CASE WHEN m = 1 THEN format('<th scope="row">%s</th>', _ward.html(c))
			ELSE format('<td%s>%s</td>', CASE WHEN (t -> 'numeric' ->> (m - 1)::integer)::boolean THEN ' class="n"' ELSE '' END, _ward.html(c)) END
			-- What the bar shows is the number beside it.
			|| CASE WHEN m - 1 = bar THEN format('<td class="bar"><svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect width="%s" height="10" fill="#1f4e79"/></svg></td>',
				round(100 * _ward.report_value(c) / most, 2)) ELSE '' END, '' ORDER BY m)
		FROM jsonb_array_elements_text(r) WITH ORDINALITY z(c, m))), E'\n' ORDER BY n)
	INTO body FROM jsonb_array_elements(t -> 'rows') WITH ORDINALITY x(r, n);
	-- A short table is not cut in print: its head would be left alone at the foot of a page.
	RETURN format(E'<table%s>\n<caption>%s</caption>\n<thead><tr>%s</tr></thead>\n<tbody>\n%s\n</tbody>\n</table>\n', CASE WHEN jsonb_array_length(t -> 'rows') <= 12 THEN ' class="short"' ELSE '' END,
		_ward.html(t ->> 'caption'), head, body);
END
$$;
COMMENT ON FUNCTION _ward.report_html_table(jsonb) IS 'table in HTML, with a bar for one of its columns';

-- Two rows of bars over one axis of time, each with a scale of its own: the traffic of all
-- others would hide a careful intruder.
CREATE FUNCTION _ward.report_html_timeline(bins jsonb) RETURNS text
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wide constant numeric := 900;	-- of the plot; 70 to its left
	high constant numeric := 130;	-- of each row
	n integer := jsonb_array_length(bins);
	w numeric;
	most numeric;
	other_most numeric;
	bars text;
	axis text;
	peak record;
	described text;
BEGIN
	IF n = 0 THEN
		RETURN E'<p>No disclosure by the server is part of this incident.</p>\n';
	END IF;
	w := wide / n;
	SELECT max((b ->> 'people')::numeric), max((b ->> 'other_people')::numeric) INTO most, other_most FROM jsonb_array_elements(bins) b;
	SELECT b ->> 'people' AS people, b ->> 'from' AS at INTO peak FROM jsonb_array_elements(bins) b ORDER BY (b ->> 'people')::numeric DESC, b ->> 'from' LIMIT 1;
	described := format('From %s to %s. At most %s people at once in the incident, from %s; at most %s in all other sessions. The table below has the figures.',
		_ward.report_time((bins -> 0 ->> 'from')::timestamptz), _ward.report_time((bins -> -1 ->> 'to')::timestamptz),
		_ward.report_number(most::bigint), _ward.report_time(peak.at::timestamptz), _ward.report_number(other_most::bigint));
	SELECT string_agg(
		CASE WHEN (b ->> 'people')::numeric > 0 THEN format('<rect x="%s" y="%s" width="%s" height="%s" fill="#8c1d18"/>',
			round(70 + (k - 1) * w, 1), round(25 + high - greatest(2, high * (b ->> 'people')::numeric / most), 1), round(greatest(w - 2, 1), 1),
			round(greatest(2, high * (b ->> 'people')::numeric / most), 1)) ELSE '' END
		|| CASE WHEN (b ->> 'other_people')::numeric > 0 THEN format('<rect x="%s" y="%s" width="%s" height="%s" fill="#1f4e79"/>',
			round(70 + (k - 1) * w, 1), round(60 + 2 * high - greatest(2, high * (b ->> 'other_people')::numeric / other_most), 1), round(greatest(w - 2, 1), 1),
			round(greatest(2, high * (b ->> 'other_people')::numeric / other_most), 1)) ELSE '' END, '' ORDER BY k)
	INTO bars FROM jsonb_array_elements(bins) WITH ORDINALITY x(b, k);
	-- Five times or fewer along the axis.
	SELECT string_agg(format('<text x="%s" y="%s" text-anchor="middle">%s</text><line x1="%s" x2="%s" y1="%s" y2="%s" stroke="#4a4a4a"/>',
			round(70 + (k - 1) * w, 1), 80 + 2 * high, to_char((b ->> 'from')::timestamptz AT TIME ZONE 'UTC',
			CASE WHEN (b ->> 'to')::timestamptz - (b ->> 'from')::timestamptz < interval '1 day' THEN 'MM-DD HH24:MI' ELSE 'YYYY-MM-DD' END),
			round(70 + (k - 1) * w, 1), round(70 + (k - 1) * w, 1), 60 + 2 * high, 65 + 2 * high), '' ORDER BY k)
	INTO axis FROM jsonb_array_elements(bins) WITH ORDINALITY x(b, k) WHERE (k - 1) % greatest(n / 5, 1) = 0;
	RETURN format($svg$<figure>
<svg viewBox="0 0 1000 %s" role="img" aria-labelledby="timeline-title timeline-description" font-family="Liberation Sans, Arial, sans-serif" font-size="14" fill="#1b1b1b">
<title id="timeline-title">People certainly disclosed over time</title>
<desc id="timeline-description">%s</desc>
<text x="70" y="16" font-weight="bold">People certainly disclosed in the incident</text>
<text x="62" y="37" text-anchor="end">%s</text><text x="62" y="%s" text-anchor="end">0</text>
<text x="70" y="%s" font-weight="bold">People certainly disclosed in all other sessions</text>
<text x="62" y="%s" text-anchor="end">%s</text><text x="62" y="%s" text-anchor="end">0</text>
%s
<line x1="70" x2="970" y1="%s" y2="%s" stroke="#4a4a4a"/><line x1="70" x2="970" y1="%s" y2="%s" stroke="#4a4a4a"/>
%s
</svg>
<figcaption>%s Times are UTC; each row has a scale of its own.</figcaption>
</figure>
$svg$, 90 + 2 * high, _ward.html(described), _ward.report_number(most::bigint), 25 + high, 52 + high, 72 + high, _ward.report_number(other_most::bigint),
		60 + 2 * high, bars, 25 + high, 25 + high, 60 + 2 * high, 60 + 2 * high, axis, _ward.html(described));
END
$$;
COMMENT ON FUNCTION _ward.report_html_timeline(jsonb) IS 'chart of a timeline as SVG';

CREATE FUNCTION _ward.report_html(r jsonb) RETURNS text
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	out text;
	b jsonb;
	part text;
BEGIN
	out := format(E'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
		'<meta http-equiv="Content-Security-Policy" content="default-src ''none''; style-src ''unsafe-inline''"/>\n'
		'<title>Incident %s: %s</title>\n<style>%s</style>\n</head>\n<body>\n<main>\n<h1>Incident %s: %s</h1>\n<p class="made">Version %s of the scope. Report made %s by %s.</p>\n',
		r ->> 'incident', _ward.html(r ->> 'title'), _ward.report_html_style(), r ->> 'incident', _ward.html(r ->> 'title'), r ->> 'version',
		_ward.report_time((r ->> 'made_at')::timestamptz), _ward.html(r ->> 'made_by'));
	FOR b IN SELECT x FROM jsonb_array_elements(_ward.report_blocks(r)) x LOOP
		CASE b ->> 'type'
			WHEN 'heading' THEN part := format(E'<h2>%s</h2>\n', _ward.html(b ->> 'text'));
			WHEN 'warning' THEN part := format(E'<p class="warning" role="alert">%s</p>\n', _ward.html(b ->> 'text'));
			WHEN 'text' THEN part := format(E'<p>%s</p>\n', _ward.html(b ->> 'text'));
			WHEN 'list' THEN part := format(E'<ul>%s</ul>\n', (SELECT string_agg(format('<li>%s</li>', _ward.html(l)), '' ORDER BY n)
				FROM jsonb_array_elements_text(b -> 'items') WITH ORDINALITY x(l, n)));
			WHEN 'facts' THEN part := format(E'<dl>%s</dl>\n', (SELECT string_agg(format('<dt>%s</dt><dd>%s</dd>', _ward.html(f ->> 0), _ward.html(f ->> 1)), '' ORDER BY n)
				FROM jsonb_array_elements(b -> 'rows') WITH ORDINALITY x(f, n)));
			WHEN 'summary' THEN part := format(E'<ul class="summary">%s</ul>\n', (SELECT string_agg(format('<li><b>%s</b> %s</li>', _ward.html(f ->> 0), _ward.html(f ->> 1)), '' ORDER BY n)
				FROM jsonb_array_elements(b -> 'rows') WITH ORDINALITY x(f, n)));
			WHEN 'table' THEN part := _ward.report_html_table(b);
			WHEN 'timeline' THEN part := _ward.report_html_timeline(b -> 'bins')
				|| CASE WHEN jsonb_array_length(b -> 'bins') > 0 THEN _ward.report_html_table(b -> 'table') ELSE '' END;
		END CASE;
		out := out || coalesce(part, '');
	END LOOP;
	RETURN out || E'</main>\n</body>\n</html>\n';
END
$$;
COMMENT ON FUNCTION _ward.report_html(jsonb) IS 'the report as HTML';

REVOKE ALL ON FUNCTION _ward.html(text), _ward.report_html_style(), _ward.report_value(text), _ward.report_html_table(jsonb),
	_ward.report_html_timeline(jsonb), _ward.report_html(jsonb)
	FROM PUBLIC;
