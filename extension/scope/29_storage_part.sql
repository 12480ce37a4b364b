-- scope: sets of people with a verdict each, of which the answers about storage are made,
-- and those of incidents that are about storage and sessions. The columns are those of
-- _ward.scope_groups().
-- Somebody may be in several; who is certain in one is certain.
CREATE TYPE _ward.storage_part AS (
	subject_class text,
	certain boolean,
	columns_clear text[],
	columns_sealed text[],
	first_seen timestamptz,
	last_seen timestamptz,
	statements bigint,
	sessions text[],
	reasons text[],
	first_position bigint,
	last_position bigint,
	subjects bytea
);
COMMENT ON TYPE _ward.storage_part IS 'a set of people with a verdict, and what it is about';
