-- trail: evidence that must stay. Layers above put holds here; whatever removes
-- segments or partitions of the index must ask first.

CREATE TABLE _ward.evidence_hold (
	holder text PRIMARY KEY,	-- who needs it, say "incident 3"
	since timestamptz NOT NULL,
	until timestamptz NOT NULL,
	reason text NOT NULL,
	held_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE _ward.evidence_hold IS 'evidence that must not be removed, and for whose sake';
REVOKE ALL ON _ward.evidence_hold FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('_ward.evidence_hold', '');

-- Who holds evidence of this time; NULL where nobody does.
CREATE FUNCTION _ward.evidence_holders(since timestamptz, until timestamptz) RETURNS text
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT string_agg(h.holder, ', ' ORDER BY h.holder) FROM _ward.evidence_hold h
	WHERE tstzrange(h.since, h.until, '[]') && tstzrange(evidence_holders.since, evidence_holders.until, '[]');
END;
COMMENT ON FUNCTION _ward.evidence_holders(timestamptz, timestamptz) IS 'who holds evidence of this time; NULL where nobody does';
REVOKE ALL ON FUNCTION _ward.evidence_holders(timestamptz, timestamptz) FROM PUBLIC;
