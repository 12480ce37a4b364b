-- What a DBA runs to bring pg_ward under a live registry.
SELECT ward.create_key('rfl.identity'), ward.create_key('rfl.messages');
SELECT ward.protect('registry.person', 'full_name', 'rfl.identity'),
       ward.protect('registry.person', 'birth_date', 'rfl.identity'),
       ward.protect('registry.person', 'national_id', 'rfl.identity'),
       ward.protect('registry.person', 'phone', 'rfl.identity'),
       ward.protect('registry.person', 'address', 'rfl.identity'),
       ward.protect('registry.message', 'body', 'rfl.messages');
SELECT ward.grant_unseal('rfl.identity', 'caseworker', 'works on cases'),
       ward.grant_unseal('rfl.messages', 'caseworker', 'works on cases');
SELECT ward.watch('registry.person', 'id'),
       ward.watch('registry.tracing_request', 'person_id'),
       ward.watch('registry.message', 'person_id'),
       ward.watch('registry.family_link', 'person_id'),
       ward.watch('registry.family_link', 'relative_id');
CREATE ROLE analyst LOGIN IN ROLE ward_analyst;
GRANT USAGE ON SCHEMA registry TO analyst;
GRANT SELECT ON registry.person, registry.society TO analyst;
