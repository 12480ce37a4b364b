-- scope: sets of people with a verdict each, of which the answers about storage are made.
-- Somebody may be in several; who is certain in one is certain.
CREATE TYPE _ward.storage_part AS (
	subject_class text,
	certain boolean,
	subjects bytea,
	columns_clear text[],
	columns_sealed text[],
	first_seen timestamptz,
	last_seen timestamptz,
	reason text
);
COMMENT ON TYPE _ward.storage_part IS 'a set of people with a verdict, and what it is about';
