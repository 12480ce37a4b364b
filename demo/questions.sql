-- What an incident responder asks. Run by psql with the variables since and until.
\set QUIET on
\pset footer off
\pset border 1
\pset linestyle unicode
\timing on
\set during 'tstzrange(:''since'', :''until'')'
\set intruder 'roles => ARRAY[''caseworker_07'']::name[], applications => ARRAY[''psql'']'

\echo
\echo Is the evidence whole?
SELECT verified, records, left(root, 16) || '…' AS root FROM ward.verify_trail();

\echo
\echo How many people are affected, and how sure is that?
SELECT verdict, people, people_clear AS in_clear, people_only_sealed AS only_ciphertext,
       first_seen::timestamp(0), last_seen::timestamp(0), statements, sessions, array_to_string(reasons, ', ') AS reasons
  FROM ward.breach_summary(:during, :intruder);

CREATE TEMP TABLE affected AS
SELECT * FROM ward.breach_scope(:during, :intruder);

\echo
\echo Which columns were seen in clear, and which only as ciphertext?
SELECT c AS column, how, count(*) AS people
  FROM affected a,
       LATERAL (SELECT c, 'in clear' FROM unnest(columns_clear) c
                 UNION ALL SELECT c, 'ciphertext' FROM unnest(columns_sealed) c) x (c, how)
 WHERE verdict = 'certain'
 GROUP BY 1, 2 ORDER BY 3 DESC, 1;

\echo
\echo Who must be told first?
SELECT p.status, count(*) AS people, count(*) FILTER (WHERE p.unsafe_to_contact) AS unsafe_to_contact,
       min(a.first_seen)::time(0) AS first_seen, max(a.last_seen)::time(0) AS last_seen
  FROM affected a JOIN registry.person p ON p.id = a.subject_id
 WHERE a.verdict = 'certain'
 GROUP BY p.status
 ORDER BY array_position(ARRAY['unaccompanied_minor', 'detained', 'missing', 'displaced', 'safe'], p.status);

\echo
\echo Which national societies must act?
SELECT s.name AS society, count(*) AS people,
       count(*) FILTER (WHERE p.status = 'unaccompanied_minor') AS minors,
       count(*) FILTER (WHERE p.status = 'detained') AS detained
  FROM affected a JOIN registry.person p ON p.id = a.subject_id JOIN registry.society s ON s.id = p.society_id
 WHERE a.verdict = 'certain'
 GROUP BY s.name ORDER BY people DESC LIMIT 6;

\echo
\echo One of them asks: who saw my file?
SELECT subject_id AS who FROM affected a JOIN registry.person p ON p.id = a.subject_id
 WHERE verdict = 'certain' AND p.status = 'unaccompanied_minor' ORDER BY a.first_seen, 1 LIMIT 1 \gset
SELECT first_seen::timestamp(0), role, application, verdict, manner,
       array_to_string(array(SELECT split_part(c, '.', 3) FROM unnest(columns_clear) c), ', ') AS in_clear,
       left(statement, 44) AS statement
  FROM ward.subject_history('person', :who::bigint) LIMIT 6;
