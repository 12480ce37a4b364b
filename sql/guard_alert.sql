-- Alerts: raised, shown, acknowledged once, for officers and auditors alone.
CREATE ROLE alert_officer IN ROLE ward_officer;
CREATE ROLE alert_auditor IN ROLE ward_auditor;
CREATE ROLE alert_nobody;
SELECT ward.sync() > 0 AS synced;
SELECT coalesce(max(id), 0) AS before FROM ward.alerts \gset

SET ROLE alert_officer;
SELECT ward.test_alert() > 0 AS raised;
-- It stands whatever becomes of the transaction.
BEGIN;
SELECT ward.test_alert() > 0 AS raised;
ROLLBACK;
SELECT ward.sync() > 0 AS synced;
SELECT kind, message, state, role = session_user AS role, detail, acknowledged_by, note, node
  FROM ward.alerts WHERE id > :before ORDER BY id;
SELECT min(id) AS first, max(id) AS last FROM ward.alerts WHERE id > :before \gset

SELECT ward.acknowledge_alert(NULL, 'x');
SELECT ward.acknowledge_alert(:first, '');
SELECT ward.acknowledge_alert(-1, 'x');
\set VERBOSITY sqlstate
SELECT ward.acknowledge_alert(-1, 'x');
\set VERBOSITY default
SELECT ward.acknowledge_alert(:first, 'a drill');
\set VERBOSITY sqlstate
SELECT ward.acknowledge_alert(:first, 'again');
\set VERBOSITY default
SET ROLE alert_auditor;
SELECT ward.acknowledge_alert(:last, 'a drill, too');
SELECT state, acknowledged_at IS NOT NULL AS at, acknowledged_by = session_user AS by, note
  FROM ward.alerts WHERE id > :before ORDER BY id;
SELECT pid > 0 AS running, command, raised >= 2 AS raised, waiting, given_up, problem FROM ward.alert_status;
SELECT ward.sync() > 0 AS synced;
SELECT kind, detail - 'node' - 'position' AS detail FROM ward.events
 WHERE kind = 'guard.alert_acknowledged' ORDER BY position DESC LIMIT 2;

SET ROLE alert_nobody;
SELECT * FROM ward.alerts;
SELECT * FROM ward.alert_status;
SELECT ward.test_alert();
SELECT ward.acknowledge_alert(1, 'x');
RESET ROLE;

-- An index that is made anew brings no row twice, and leaves the acknowledgements.
SELECT count(*) AS rows FROM ward.alerts \gset
SELECT ward.rebuild_index() IS NOT NULL AS rebuilt;
SELECT ward.sync() > 0 AS synced;
SELECT count(*) - :rows AS more, count(*) FILTER (WHERE id > :before AND state = 'open') AS open FROM ward.alerts;
DROP ROLE alert_officer, alert_auditor, alert_nobody;
