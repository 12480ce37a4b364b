-- Who acts, as the trail has it: role, session's user, actor, application, whatever
-- becomes of the transaction, and whatever a role is called by then.
SET client_min_messages = warning;
SET application_name = 'clinic';
CREATE ROLE trail_clerk;
CREATE ROLE trail_pool;

CREATE FUNCTION mark(what text) RETURNS void LANGUAGE sql
	AS $$SELECT _ward.record_event('test.context', '{what}', ARRAY[what])$$;
GRANT USAGE ON SCHEMA _ward TO trail_clerk, trail_pool;
GRANT EXECUTE ON FUNCTION _ward.record_event(text, text[], text[]) TO trail_clerk, trail_pool;

SET ROLE trail_clerk;
SELECT mark('as a clerk');
SET ward.actor = 'ana@clinic.example';
SELECT mark('for ana');
SET ward.actor = 'ben@clinic.example';
SELECT mark('for ben');
SET ward.actor = 'ana@clinic.example';
SELECT mark('for ana again');
RESET ward.actor;
RESET ROLE;

SET SESSION AUTHORIZATION trail_pool;
SET application_name = 'pooled';
SELECT mark('as another session user');
SET application_name = 'clinic';
RESET SESSION AUTHORIZATION;

-- the setting is gone with the transaction, the record is not
BEGIN;
SET LOCAL ward.actor = 'eve';
SET LOCAL ROLE trail_clerk;
SELECT mark('rolled back');
ROLLBACK;

BEGIN;
SAVEPOINT before;
SET LOCAL ROLE trail_clerk;
SELECT mark('in a savepoint');
SELECT 1 / 0;
ROLLBACK TO before;
COMMIT;

-- an actor longer than is kept is cut between characters
SET ward.actor = 'ééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé';
SELECT mark('a long name');
RESET ward.actor;

-- a renamed role is not taken for who has its old name
ALTER ROLE trail_clerk RENAME TO trail_nurse;
CREATE ROLE trail_clerk;
SET ROLE trail_nurse;
SELECT mark('as a nurse');
SET ROLE trail_clerk;
SELECT mark('not allowed');
RESET ROLE;

SELECT ward.sync() > 0 AS synced;
SELECT e.detail ->> 'what' AS what, c.session_role = session_user AS own, nullif(c.session_role, session_user) AS session_role,
	nullif(c.current_role_name, session_user) AS current_role_name,
	left(c.actor, 20) AS actor, char_length(c.actor) AS letters, c.application
FROM _ward.event e JOIN _ward.context c ON c.node = e.node AND c.position = e.context
WHERE e.kind = 'test.context' AND e.detail ? 'what' ORDER BY e.position;

-- switching back to what was written refers to what was written
SELECT count(DISTINCT context) AS contexts, count(*) AS events
FROM _ward.event WHERE kind = 'test.context' AND detail ->> 'what' IN ('for ana', 'for ana again');

-- the trail is whole, and nobody but those who may can look
SELECT verified, problem FROM ward.verify_trail();
SET ROLE trail_pool;
SELECT * FROM ward.trail_status;
SELECT * FROM ward.verify_trail();
RESET ROLE;

DROP FUNCTION mark(text);
REVOKE ALL ON SCHEMA _ward FROM trail_nurse, trail_pool;
REVOKE ALL ON FUNCTION _ward.record_event(text, text[], text[]) FROM trail_nurse, trail_pool;
DROP ROLE trail_clerk, trail_nurse, trail_pool;
