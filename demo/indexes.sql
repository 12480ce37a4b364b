-- Indexes include the subject, so that an index-only scan can tell whose row it is.
CREATE UNIQUE INDEX person_national_id ON registry.person (national_id) INCLUDE (id);
CREATE INDEX person_society ON registry.person (society_id, status) INCLUDE (id);
CREATE INDEX tracing_request_person ON registry.tracing_request (person_id);
CREATE INDEX message_person ON registry.message (person_id);
CREATE INDEX family_link_relative ON registry.family_link (relative_id) INCLUDE (person_id);
