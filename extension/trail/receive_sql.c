/*
 * receive_sql.c
 *		What a standby calls to deliver its trail, and what is shown of it; SQL-callable.
 *
 * Who may deliver, and with which keys a node's trail may begin, the SQL around it says.
 */
#include "trail/trail_int.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

WARD_FUNCTION(ward_deliver_trail);
WARD_FUNCTION(ward_received_trails);
WARD_FUNCTION(ward_key_node);

/* See trail_int.h. */
bool
trail_receive_sql_parse_node(const char *text, uint8 node[TRAIL_NODE_LENGTH])
{
	static const char digits[] = "0123456789abcdef";

	if (strlen(text) != TRAIL_NODE_TEXT - 1)
		return false;
	for (int i = 0; i < TRAIL_NODE_TEXT - 1; i++)
	{
		const char *digit = strchr(digits, text[i]);

		if (digit == NULL)
			return false;
		if (i % 2 == 0)
			node[i / 2] = (uint8) ((digit - digits) << 4);
		else
			node[i / 2] |= (uint8) (digit - digits);
	}
	return true;
}

static void
trail_receive_sql_keys(TrailTrust *trust, ArrayType *keys)
{
	Datum *items;
	bool *nulls;
	int count;

	memset(trust, 0, sizeof(*trust));
	deconstruct_array(keys, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &count);
	trust->keys = palloc(TRAIL_KEY_LENGTH * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		uint8 node[TRAIL_NODE_LENGTH];

		if (!nulls[i] &&
			trail_note_vkey_parse(TextDatumGetCString(items[i]), node, trust->keys[trust->nkeys]))
			trust->nkeys++;
	}
}

/*
 * Takes bytes of a standby's trail, to be put at an offset of the segment that begins at a
 * position, and says where the next ones have to go.  Without bytes it only says that.
 */
Datum
ward_deliver_trail(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[3];
	bool nulls[3] = {false};
	TrailDelivery delivery;
	TrailTrust trust;
	bytea *bytes = PG_GETARG_BYTEA_PP(4);

	core_preload_require();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_WARD_STANDBY_REFUSED),
						errmsg("a standby takes no trail of another standby"),
						errhint("Deliver to the primary: name its host in ward.trail_conninfo.")));
	trail_receive_sql_keys(&trust, PG_GETARG_ARRAYTYPE_P(0));
	if (!trail_receive_sql_parse_node(text_to_cstring(PG_GETARG_TEXT_PP(1)), delivery.node) ||
		PG_GETARG_INT64(2) < 0 || PG_GETARG_INT64(3) < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("this is not a place in a node's trail")));
	delivery.trust = &trust;
	delivery.segment = (TrailPosition) PG_GETARG_INT64(2);
	delivery.offset = (uint64) PG_GETARG_INT64(3);
	delivery.bytes = VARDATA_ANY(bytes);
	delivery.length = VARSIZE_ANY_EXHDR(bytes);
	delivery.source_records = (uint64) Max(PG_GETARG_INT64(5), 0);
	delivery.source_bytes = (uint64) Max(PG_GETARG_INT64(6), 0);
	trail_receive(&delivery);
	values[0] = Int64GetDatum((int64) delivery.segment);
	values[1] = Int64GetDatum((int64) delivery.offset);
	values[2] = Int64GetDatum((int64) delivery.accepted);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* The node that a key is of; raises where it is no key. */
Datum
ward_key_node(PG_FUNCTION_ARGS)
{
	uint8 node[TRAIL_NODE_LENGTH];
	uint8 key[TRAIL_KEY_LENGTH];
	char name[TRAIL_NODE_TEXT];

	if (!trail_note_vkey_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)), node, key))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("this is not a key of a trail"),
				 errhint("Give it as first_key of ward.trail_status shows it on the "
						 "standby.")));
	for (int i = 0; i < TRAIL_NODE_LENGTH; i++)
		snprintf(name + 2 * i, 3, "%02x", node[i]);
	PG_RETURN_TEXT_P(cstring_to_text(name));
}

/* One row for each trail that was delivered here. */
Datum
ward_received_trails(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	List *trails;
	ListCell *cell;

	core_preload_require();
	InitMaterializedSRF(fcinfo, 0);
	trails = trail_receive_list();
	foreach (cell, trails)
	{
		const TrailReceived *it = lfirst(cell);
		Datum values[10];
		bool nulls[10] = {false};

		values[0] = CStringGetTextDatum(it->name);
		values[1] = CStringGetTextDatum(it->directory);
		values[2] = Int64GetDatum((int64) it->received);
		values[3] = Int64GetDatum((int64) it->accepted);
		values[4] = TimestampTzGetDatum(
			it->accepted_at - (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY);
		nulls[4] = it->accepted_at == 0;
		values[5] = Int64GetDatum((int64) it->bytes);
		values[6] = Int64GetDatum((int64) it->source_records);
		values[7] = Int64GetDatum((int64) it->source_bytes);
		values[8] = TimestampTzGetDatum(it->delivered_at);
		nulls[6] = nulls[7] = nulls[8] = it->delivered_at == 0;
		values[9] = CStringGetTextDatum(it->problem);
		nulls[9] = it->problem[0] == '\0';
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
