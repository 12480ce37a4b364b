/*
 * errors.h
 *		Every SQLSTATE that pg_ward raises itself.
 *
 * The class is WD. "Absent", "unreachable", "refused" and "corrupt" are kept
 * apart, because each asks the operator for something else.  The numbers are
 * public: monitoring matches on them, so they are never reused.
 */
#ifndef WARD_CORE_ERRORS_H
#define WARD_CORE_ERRORS_H

#include "utils/elog.h"

/* WD0xx: the extension as a whole */
#define ERRCODE_WARD_NOT_PRELOADED MAKE_SQLSTATE('W', 'D', '0', '0', '1')
#define ERRCODE_WARD_CATALOG_DAMAGED MAKE_SQLSTATE('W', 'D', '0', '0', '2')

/* WD1xx: key-encryption key and its provider */
#define ERRCODE_WARD_KEK_ABSENT MAKE_SQLSTATE('W', 'D', '1', '0', '1')
#define ERRCODE_WARD_KEK_UNREACHABLE MAKE_SQLSTATE('W', 'D', '1', '0', '2')
#define ERRCODE_WARD_KEK_REFUSED MAKE_SQLSTATE('W', 'D', '1', '0', '3')
#define ERRCODE_WARD_KEK_CORRUPT MAKE_SQLSTATE('W', 'D', '1', '0', '4')

/* WD2xx: data-encryption keys and envelopes */
#define ERRCODE_WARD_KEY_UNKNOWN MAKE_SQLSTATE('W', 'D', '2', '0', '1')
#define ERRCODE_WARD_KEY_FROZEN MAKE_SQLSTATE('W', 'D', '2', '0', '2')
#define ERRCODE_WARD_KEY_DESTROYED MAKE_SQLSTATE('W', 'D', '2', '0', '3')
#define ERRCODE_WARD_KEY_CORRUPT MAKE_SQLSTATE('W', 'D', '2', '0', '4')
#define ERRCODE_WARD_KEY_CONFLICT MAKE_SQLSTATE('W', 'D', '2', '0', '5')
#define ERRCODE_WARD_KEY_IN_USE MAKE_SQLSTATE('W', 'D', '2', '0', '6')
#define ERRCODE_WARD_KEY_HELD MAKE_SQLSTATE('W', 'D', '2', '0', '7')
#define ERRCODE_WARD_ENVELOPE_CORRUPT MAKE_SQLSTATE('W', 'D', '2', '1', '0')
#define ERRCODE_WARD_ENVELOPE_REFUSED MAKE_SQLSTATE('W', 'D', '2', '1', '1')
#define ERRCODE_WARD_CRYPTO_FAILED MAKE_SQLSTATE('W', 'D', '2', '2', '0')
#define ERRCODE_WARD_PROTECT_REFUSED MAKE_SQLSTATE('W', 'D', '2', '3', '0')

/* WD3xx: trail */
#define ERRCODE_WARD_TRAIL_ABSENT MAKE_SQLSTATE('W', 'D', '3', '0', '1')
#define ERRCODE_WARD_TRAIL_UNREACHABLE MAKE_SQLSTATE('W', 'D', '3', '0', '2')
#define ERRCODE_WARD_TRAIL_CORRUPT MAKE_SQLSTATE('W', 'D', '3', '0', '3')
#define ERRCODE_WARD_STANDBY_REFUSED MAKE_SQLSTATE('W', 'D', '3', '0', '4')
#define ERRCODE_WARD_TRAIL_PRUNED MAKE_SQLSTATE('W', 'D', '3', '0', '5')
#define ERRCODE_WARD_INDEX_BEHIND MAKE_SQLSTATE('W', 'D', '3', '1', '0')

/* WD4xx: witness */
#define ERRCODE_WARD_WATCH_REFUSED MAKE_SQLSTATE('W', 'D', '4', '0', '1')
#define ERRCODE_WARD_NOT_WATCHED MAKE_SQLSTATE('W', 'D', '4', '0', '2')

/* WD41x: actors' tokens */
#define ERRCODE_WARD_ACTOR_KEY_ABSENT MAKE_SQLSTATE('W', 'D', '4', '1', '0')
#define ERRCODE_WARD_ACTOR_KEY_REFUSED MAKE_SQLSTATE('W', 'D', '4', '1', '1')
#define ERRCODE_WARD_ACTOR_KEY_CORRUPT MAKE_SQLSTATE('W', 'D', '4', '1', '2')
#define ERRCODE_WARD_ACTOR_REFUSED MAKE_SQLSTATE('W', 'D', '4', '1', '3')

/* WD50x: limits */
#define ERRCODE_WARD_LIMIT_REACHED MAKE_SQLSTATE('W', 'D', '5', '0', '1')
#define ERRCODE_WARD_LIMIT_REFUSED MAKE_SQLSTATE('W', 'D', '5', '0', '2')
#define ERRCODE_WARD_LIMIT_NOT_READY MAKE_SQLSTATE('W', 'D', '5', '0', '3')
#define ERRCODE_WARD_LIMIT_NO_ROOM MAKE_SQLSTATE('W', 'D', '5', '0', '4')

/* WD52x: alerts (raised in SQL) */
#define ERRCODE_WARD_ALERT_UNKNOWN MAKE_SQLSTATE('W', 'D', '5', '2', '0')
#define ERRCODE_WARD_ALERT_ACKNOWLEDGED MAKE_SQLSTATE('W', 'D', '5', '2', '1')

/* WD53x: lockdown */
#define ERRCODE_WARD_LOCKED_DOWN MAKE_SQLSTATE('W', 'D', '5', '3', '0')
#define ERRCODE_WARD_LOCKDOWN_REFUSED MAKE_SQLSTATE('W', 'D', '5', '3', '1')
#define ERRCODE_WARD_NOT_LOCKED_DOWN MAKE_SQLSTATE('W', 'D', '5', '3', '2')

/* WD54x: canaries (raised in SQL) */
#define ERRCODE_WARD_CANARY_UNKNOWN MAKE_SQLSTATE('W', 'D', '5', '4', '0')

/* WD6xx: scope */
#define ERRCODE_WARD_INCIDENT_UNKNOWN MAKE_SQLSTATE('W', 'D', '6', '0', '1')
#define ERRCODE_WARD_INCIDENT_CLOSED MAKE_SQLSTATE('W', 'D', '6', '0', '2')
#define ERRCODE_WARD_INCIDENT_UNFINISHED MAKE_SQLSTATE('W', 'D', '6', '0', '3')
#define ERRCODE_WARD_SUBJECTS_NOT_DESCRIBED MAKE_SQLSTATE('W', 'D', '6', '1', '0')
#define ERRCODE_WARD_NOTIFICATION_UNKNOWN MAKE_SQLSTATE('W', 'D', '6', '1', '1')
#define ERRCODE_WARD_NOTIFICATION_CLAIMED MAKE_SQLSTATE('W', 'D', '6', '1', '2')
#define ERRCODE_WARD_NOTIFICATION_REFUSED MAKE_SQLSTATE('W', 'D', '6', '1', '3')

#endif /* WARD_CORE_ERRORS_H */
