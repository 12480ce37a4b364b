-- A family-links registry, as it stood before pg_ward: everything in clear.
CREATE SCHEMA registry;

CREATE TABLE registry.society (
	id integer PRIMARY KEY,
	name text NOT NULL
);

CREATE TABLE registry.person (
	id bigint PRIMARY KEY,
	society_id integer NOT NULL REFERENCES registry.society,
	full_name text NOT NULL,
	birth_date date NOT NULL,
	national_id text NOT NULL,
	phone text,
	address text,
	status text NOT NULL CHECK (status IN ('missing', 'detained', 'displaced', 'unaccompanied_minor', 'safe')),
	contact_channel text NOT NULL,
	unsafe_to_contact boolean NOT NULL
);

CREATE TABLE registry.tracing_request (
	id bigint PRIMARY KEY,
	person_id bigint NOT NULL,
	opened_on date NOT NULL,
	state text NOT NULL
);

CREATE TABLE registry.message (
	id bigint PRIMARY KEY,
	person_id bigint NOT NULL,
	sent_on date NOT NULL,
	body text NOT NULL
);

-- Refers to two people in a row.
CREATE TABLE registry.family_link (
	person_id bigint NOT NULL,
	relative_id bigint NOT NULL,
	kind text NOT NULL,
	PRIMARY KEY (person_id, relative_id)
);

CREATE ROLE caseworker;
GRANT USAGE ON SCHEMA registry TO caseworker;
GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA registry TO caseworker;
DO $$
BEGIN
	FOR i IN 1 .. 24 LOOP
		EXECUTE format('CREATE ROLE %I LOGIN IN ROLE caseworker', 'caseworker_' || lpad(i::text, 2, '0'));
	END LOOP;
END
$$;
-- A web portal: one login for many people, who are named by ward.actor.
CREATE ROLE portal LOGIN IN ROLE caseworker;
-- Statistics and dumps: reads everything, opens nothing.
CREATE ROLE statistics LOGIN;
GRANT USAGE ON SCHEMA registry TO statistics;
GRANT SELECT ON ALL TABLES IN SCHEMA registry TO statistics;
