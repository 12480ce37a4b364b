/*
 * link.c
 *		A standby's connection to the primary, to which it delivers its trail.
 *
 * Used by one process, the shipper.  Nothing is raised: what went wrong is described for
 * the log and for ward.shipping_status.  A description never holds a connection string: it
 * may have a password, which libpq's complaints about its syntax would quote.
 *
 * Every wait ends with a latch, with a shutdown, or after a while: a link that is dead
 * without saying so must not hold the shipper for ever.
 */
#include "trail/trail_int.h"

#include "catalog/pg_type_d.h"
#include "libpq-fe.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* Milliseconds that the primary may be silent. */
#define LINK_PATIENCE_MS 60000
#define LINK_SETTINGS_MAX 64

static PGconn *link_connection = NULL;

/* Which of primary_conninfo's settings say where the primary is and how it is reached. */
static const char *const link_inherited[] = {"host",
											 "hostaddr",
											 "port",
											 "sslmode",
											 "sslrootcert",
											 "sslcrl",
											 "sslcrldir",
											 "sslsni",
											 "gssencmode",
											 "channel_binding",
											 "krbsrvname",
											 "gsslib",
											 "requirepeer",
											 "connect_timeout",
											 "keepalives",
											 "keepalives_idle",
											 "keepalives_interval",
											 "keepalives_count",
											 "tcp_user_timeout",
											 "ssl_min_protocol_version",
											 "ssl_max_protocol_version"};

static bool
trail_link_told(const PQconninfoOption *options, const char *keyword)
{
	for (const PQconninfoOption *it = options; it != NULL && it->keyword != NULL; it++)
		if (strcmp(it->keyword, keyword) == 0 && it->val != NULL)
			return true;
	return false;
}

static bool
trail_link_inherits(const PQconninfoOption *own, const char *keyword)
{
	bool elsewhere = trail_link_told(own, "host") || trail_link_told(own, "hostaddr") ||
					 trail_link_told(own, "service");

	if (trail_link_told(own, keyword) ||
		(elsewhere && (strcmp(keyword, "host") == 0 || strcmp(keyword, "hostaddr") == 0 ||
					   strcmp(keyword, "port") == 0)))
		return false;
	for (int i = 0; i < (int) lengthof(link_inherited); i++)
		if (strcmp(link_inherited[i], keyword) == 0)
			return true;
	return false;
}

/* A message's first line; those of libpq have several. */
static bool
trail_link_problem(char *problem, Size room, const char *what, const char *message)
{
	Size len = strcspn(message, "\n");

	snprintf(problem, room, "%s%s%.*s", what, len > 0 ? ": " : "", (int) len, message);
	return false;
}

/* Waits for the socket; false: time is up, or the server stops. */
static bool
trail_link_wait(int events, TimestampTz since, char *problem, Size room)
{
	long left = LINK_PATIENCE_MS - TimestampDifferenceMilliseconds(since, GetCurrentTimestamp());

	if (ShutdownRequestPending)
		return trail_link_problem(problem, room, "the server stops", "");
	if (left <= 0)
		return trail_link_problem(problem, room, "the primary does not answer", "");
	(void) WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH | events,
							 PQsocket(link_connection), left, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	return true;
}

void
trail_link_close(void)
{
	if (link_connection != NULL)
		PQfinish(link_connection);
	link_connection = NULL;
}

/* Starts to connect, as ward.trail_conninfo and primary_conninfo say. */
static bool
trail_link_start(char *problem, Size room)
{
	const char *primary = GetConfigOption("primary_conninfo", true, false);
	PQconninfoOption *own = PQconninfoParse(trail_setting_conninfo, NULL);
	PQconninfoOption *inherited = primary != NULL ? PQconninfoParse(primary, NULL) : NULL;
	const char *keywords[LINK_SETTINGS_MAX + 4];
	const char *values[LINK_SETTINGS_MAX + 4];
	int n = 0;

	if (own == NULL)
	{
		PQconninfoFree(inherited);
		return trail_link_problem(problem, room, "ward.trail_conninfo is no connection string", "");
	}
	for (PQconninfoOption *it = own; it->keyword != NULL && n < LINK_SETTINGS_MAX; it++)
		if (it->val != NULL)
		{
			keywords[n] = it->keyword;
			values[n++] = it->val;
		}
	for (PQconninfoOption *it = inherited;
		 it != NULL && it->keyword != NULL && n < LINK_SETTINGS_MAX; it++)
		if (it->val != NULL && trail_link_inherits(own, it->keyword))
		{
			keywords[n] = it->keyword;
			values[n++] = it->val;
		}
	keywords[n] = "fallback_application_name";
	values[n++] = "pg_ward shipper";
	keywords[n] = NULL;
	values[n] = NULL;
	link_connection = PQconnectStartParams(keywords, values, 0);
	PQconninfoFree(own);
	PQconninfoFree(inherited);
	if (link_connection == NULL)
		return trail_link_problem(problem, room, "no memory to connect", "");
	return true;
}

/* See trail_int.h. */
bool
trail_link_open(char *problem, Size room)
{
	TimestampTz since = GetCurrentTimestamp();
	PostgresPollingStatusType state = PGRES_POLLING_WRITING;

	if (link_connection != NULL)
		return true;
	if (!trail_link_start(problem, room))
		return false;
	while (PQstatus(link_connection) != CONNECTION_BAD && state != PGRES_POLLING_OK &&
		   state != PGRES_POLLING_FAILED)
	{
		if (!trail_link_wait(state == PGRES_POLLING_READING ? WL_SOCKET_READABLE
															: WL_SOCKET_WRITEABLE,
							 since, problem, room))
		{
			trail_link_close();
			return false;
		}
		state = PQconnectPoll(link_connection);
	}
	if (PQstatus(link_connection) != CONNECTION_OK || PQsetnonblocking(link_connection, 1) != 0)
	{
		(void) trail_link_problem(problem, room, "could not connect to the primary",
								  PQerrorMessage(link_connection));
		trail_link_close();
		return false;
	}
	return true;
}

/* Sends what is queued and waits for the one result.  NULL: the link is broken. */
static PGresult *
trail_link_result(char *problem, Size room)
{
	TimestampTz since = GetCurrentTimestamp();
	PGresult *result = NULL;
	PGresult *next;
	int unsent = 1;

	for (;;)
	{
		if (unsent > 0)
			unsent = PQflush(link_connection);
		if (unsent < 0 || !PQconsumeInput(link_connection))
		{
			(void) trail_link_problem(problem, room, "the link to the primary is broken",
									  PQerrorMessage(link_connection));
			return NULL;
		}
		if (unsent == 0 && !PQisBusy(link_connection))
			break;
		if (!trail_link_wait(WL_SOCKET_READABLE | (unsent > 0 ? WL_SOCKET_WRITEABLE : 0), since,
							 problem, room))
			return NULL;
	}
	/* One statement was sent; what follows its result is only that there is no more. */
	while ((next = PQgetResult(link_connection)) != NULL)
	{
		PQclear(result);
		result = next;
	}
	if (result == NULL)
		(void) trail_link_problem(problem, room, "the link to the primary is broken",
								  PQerrorMessage(link_connection));
	return result;
}

/* See trail_int.h.  After a failure the link is closed. */
bool
trail_link_deliver(const char *node, TrailPosition segment, uint64 offset, const char *bytes,
				   Size length, uint64 records, uint64 left, TrailLinkAnswer *answer, char *problem,
				   Size room)
{
	static const Oid types[] = {TEXTOID, INT8OID, INT8OID, BYTEAOID, INT8OID, INT8OID};
	char numbers[4][32];
	const char *values[] = {node, numbers[0], numbers[1], bytes, numbers[2], numbers[3]};
	int lengths[] = {0, 0, 0, (int) length, 0, 0};
	static const int formats[] = {0, 0, 0, 1, 0, 0};
	PGresult *result = NULL;
	bool done = false;

	snprintf(numbers[0], sizeof(numbers[0]), UINT64_FORMAT, segment);
	snprintf(numbers[1], sizeof(numbers[1]), UINT64_FORMAT, offset);
	snprintf(numbers[2], sizeof(numbers[2]), UINT64_FORMAT, records);
	snprintf(numbers[3], sizeof(numbers[3]), UINT64_FORMAT, left);
	if (!PQsendQueryParams(link_connection,
						   "SELECT segment, start, accepted "
						   "FROM ward.deliver_trail($1, $2, $3, $4, $5, $6)",
						   lengthof(types), types, values, lengths, formats, 0))
		(void) trail_link_problem(problem, room, "the link to the primary is broken",
								  PQerrorMessage(link_connection));
	else
		result = trail_link_result(problem, room);
	if (result != NULL && PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 &&
		PQnfields(result) == 3)
	{
		answer->segment = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
		answer->offset = strtoull(PQgetvalue(result, 0, 1), NULL, 10);
		answer->accepted = strtoull(PQgetvalue(result, 0, 2), NULL, 10);
		done = true;
	}
	else if (result != NULL)
	{
		const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
		const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
		char both[512];

		snprintf(both, sizeof(both), "%s%s%s", message != NULL ? message : "",
				 detail != NULL ? ". " : "", detail != NULL ? detail : "");
		(void) trail_link_problem(problem, room, "the primary says", both);
	}
	PQclear(result);
	if (!done)
		trail_link_close();
	return done;
}
