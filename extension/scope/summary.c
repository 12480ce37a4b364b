/*
 * summary.c
 *		ward.breach_summary(): a query over a question's disclosures and over the people
 *		they are folded into, which are both read once.
 *
 * Both are put by as relations that only this call's queries know (as transition tables
 * of triggers are): `disclosed`, with the columns of _ward.scope_disclosures(), and
 * `grouped`, with those of _ward.scope_groups().  They take work_mem each and are temporary
 * files beyond that.  No locks beyond those of the queries.
 */
#include "scope/scope_int.h"

#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/queryenvironment.h"

WARD_FUNCTION(ward_scope_summarise);

/* Puts rows into a tuplestore; keeps what they look like where nobody has said it. */
typedef struct SummaryReceiver
{
	DestReceiver pub;
	Tuplestorestate *store;
	TupleDesc desc;
	MemoryContext context; /* of desc */
} SummaryReceiver;

static bool
summary_receive(TupleTableSlot *slot, DestReceiver *self)
{
	tuplestore_puttupleslot(((SummaryReceiver *) self)->store, slot);
	return true;
}

static void
summary_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	SummaryReceiver *receiver = (SummaryReceiver *) self;

	if (receiver->desc == NULL)
	{
		/* this is called in the context of the query, which ends before */
		MemoryContext old = MemoryContextSwitchTo(receiver->context);

		receiver->desc = CreateTupleDescCopy(desc);
		MemoryContextSwitchTo(old);
	}
	else if (desc->natts != receiver->desc->natts)
		elog(ERROR, "the summary's rows are not as expected");
}

static void
summary_nothing(DestReceiver *self)
{
}

static void
summary_run(const char *query, ParamListInfo params, bool read_only, SummaryReceiver *receiver)
{
	SPIExecuteOptions options = {.params = params, .read_only = read_only};

	receiver->pub.receiveSlot = summary_receive;
	receiver->pub.rStartup = summary_startup;
	receiver->pub.rShutdown = summary_nothing;
	receiver->pub.rDestroy = summary_nothing;
	receiver->pub.mydest = DestTuplestore;
	options.dest = &receiver->pub;
	if (SPI_execute_extended(query, &options) != SPI_OK_SELECT)
		elog(ERROR, "could not read the disclosures");
}

/* From here on the call's queries know this relation. */
static void
summary_relation(const char *name, Tuplestorestate *store, TupleDesc desc)
{
	EphemeralNamedRelation relation = palloc0(sizeof(EphemeralNamedRelationData));

	relation->md.name = pstrdup(name);
	relation->md.reliddesc = InvalidOid;
	relation->md.tupdesc = desc;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = (double) tuplestore_tuple_count(store);
	relation->reldata = store;
	if (SPI_register_relation(relation) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not name what was read");
}

Datum
ward_scope_summarise(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	SummaryReceiver disclosed = {.store = tuplestore_begin_heap(true, false, work_mem),
								 .context = CurrentMemoryContext};
	Tuplestorestate *grouped = tuplestore_begin_heap(true, false, work_mem);
	TupleDesc desc = scope_fold_desc();
	ParamListInfo params = scope_fold_params(fcinfo, 3);
	SummaryReceiver summary = {0};

	for (int i = 0; i < 3; i++)
		if (PG_ARGISNULL(i))
			elog(ERROR, "the summary needs its queries");
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	summary_run(text_to_cstring(PG_GETARG_TEXT_PP(0)), params, true, &disclosed);
	summary_relation("disclosed", disclosed.store, disclosed.desc);
	scope_fold(text_to_cstring(PG_GETARG_TEXT_PP(1)), params, grouped, desc);
	summary_relation("grouped", grouped, desc);
	summary.store = result->setResult;
	summary.desc = result->setDesc;
	summary_run(text_to_cstring(PG_GETARG_TEXT_PP(2)), params, false, &summary);
	SPI_finish();
	tuplestore_end(grouped);
	tuplestore_end(disclosed.store);
	PG_RETURN_NULL();
}
