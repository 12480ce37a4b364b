-- One of the case workers who tell people. Takes the most urgent people that nobody else
-- works on, a few at a time; the variable name says who it is.
\set QUIET on
SET ROLE analyst;
SELECT set_config('ward.actor', :'name', false) \g /dev/null
DO $$
DECLARE
	person record;
	n int := 0;
BEGIN
	FOR round IN 1 .. 8 LOOP
		FOR person IN SELECT * FROM ward.claim_notifications((SELECT max(incident) FROM ward.incidents), 15) LOOP
			n := n + 1;
			PERFORM ward.set_notification(person.incident, person.subject,
				CASE WHEN n % 9 = 0 THEN 'unreachable' ELSE 'notified' END,
				CASE WHEN n % 9 = 0 THEN 'three calls, no answer' ELSE 'by ' || person.channel || ', ' || clock_timestamp()::timestamp(0) END);
		END LOOP;
		COMMIT;
	END LOOP;
END
$$;
