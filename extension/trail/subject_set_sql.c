/*
 * subject_set_sql.c
 *		Serialised subject sets in SQL: bytea in, bytea or members out.
 *
 * Counting, looking up and listing read the bytes without building a set.  The
 * aggregates keep one in memory; their state is a pointer that only they see.
 */
#include "trail/trail.h"
#include "trail/subject_codec.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

WARD_FUNCTION(ward_subject_set_make);
WARD_FUNCTION(ward_subject_set_count);
WARD_FUNCTION(ward_subject_set_contains);
WARD_FUNCTION(ward_subject_set_members);
WARD_FUNCTION(ward_subject_set_minus);
WARD_FUNCTION(ward_subject_set_or);
WARD_FUNCTION(ward_subject_set_between);
WARD_FUNCTION(ward_subject_set_agg_add);
WARD_FUNCTION(ward_subject_set_agg_merge);
WARD_FUNCTION(ward_subject_set_agg_combine);
WARD_FUNCTION(ward_subject_set_agg_serialize);
WARD_FUNCTION(ward_subject_set_agg_deserialize);
WARD_FUNCTION(ward_subject_set_agg_final);

static void
subject_set_sql_malformed(void)
{
	ereport(ERROR, (errcode(ERRCODE_WARD_TRAIL_CORRUPT), errmsg("a subject set is malformed"),
					errdetail("Its bytes are no whole, ordered list of members.")));
}

static bytea *
subject_set_sql_bytea(const TrailSubjectSet *set)
{
	StringInfoData bytes;

	initStringInfo(&bytes);
	bytes.len = VARHDRSZ;
	trail_subject_set_serialize(set, &bytes);
	SET_VARSIZE(bytes.data, bytes.len);
	return (bytea *) bytes.data;
}

static void
subject_set_sql_begin(SubjectReader *reader, const bytea *bytes)
{
	if (!subject_codec_begin(reader, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)))
		subject_set_sql_malformed();
}

Datum
ward_subject_set_make(PG_FUNCTION_ARGS)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);
	TrailSubjectSet *set = trail_subject_set_create(CurrentMemoryContext);
	Datum *elements;
	bool *nulls;
	int n;

	deconstruct_array(array, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements,
					  &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			(void) trail_subject_set_add(set, DatumGetInt64(elements[i]));
	PG_RETURN_BYTEA_P(subject_set_sql_bytea(set));
}

Datum
ward_subject_set_count(PG_FUNCTION_ARGS)
{
	SubjectReader reader;
	int64_t lo;
	int64_t hi;

	subject_set_sql_begin(&reader, PG_GETARG_BYTEA_PP(0));
	while (subject_codec_next(&reader, &lo, &hi))
		;
	if (reader.corrupt)
		subject_set_sql_malformed();
	PG_RETURN_INT64((int64) reader.members);
}

Datum
ward_subject_set_contains(PG_FUNCTION_ARGS)
{
	int64 subject = PG_GETARG_INT64(1);
	SubjectReader reader;
	int64_t lo;
	int64_t hi;

	subject_set_sql_begin(&reader, PG_GETARG_BYTEA_PP(0));
	while (subject_codec_next(&reader, &lo, &hi))
	{
		if (subject <= hi)
			PG_RETURN_BOOL(subject >= lo);
		/* Everybody's history opens each large set of all days. */
		subject_codec_skip(&reader, subject);
	}
	if (reader.corrupt)
		subject_set_sql_malformed();
	PG_RETURN_BOOL(false);
}

typedef struct SubjectMembers
{
	SubjectReader reader;
	bool inside; /* is next a member of lo..hi still to be returned? */
	int64_t next;
	int64_t hi;
} SubjectMembers;

Datum
ward_subject_set_members(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	SubjectMembers *members;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext old;

		call = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(call->multi_call_memory_ctx);
		members = palloc0(sizeof(SubjectMembers));
		subject_set_sql_begin(&members->reader, PG_GETARG_BYTEA_P_COPY(0));
		call->user_fctx = members;
		MemoryContextSwitchTo(old);
	}

	call = SRF_PERCALL_SETUP();
	members = call->user_fctx;
	if (!members->inside)
	{
		if (!subject_codec_next(&members->reader, &members->next, &members->hi))
		{
			if (members->reader.corrupt)
				subject_set_sql_malformed();
			SRF_RETURN_DONE(call);
		}
		members->inside = true;
	}
	{
		Datum subject = Int64GetDatum(members->next);

		if (members->next == members->hi)
			members->inside = false;
		else
			members->next++;
		SRF_RETURN_NEXT(call, subject);
	}
}

typedef struct SubjectMinus
{
	const TrailSubjectSet *without;
	TrailSubjectSet *rest;
} SubjectMinus;

static bool
subject_set_sql_keep(int64 subject, void *arg)
{
	SubjectMinus *minus = arg;

	if ((subject & 0xfff) == 0)
		CHECK_FOR_INTERRUPTS();
	if (!trail_subject_set_contains(minus->without, subject))
		(void) trail_subject_set_add(minus->rest, subject);
	return true;
}

Datum
ward_subject_set_minus(PG_FUNCTION_ARGS)
{
	bytea *from = PG_GETARG_BYTEA_PP(0);
	bytea *take = PG_GETARG_BYTEA_PP(1);
	TrailSubjectSet *all = trail_subject_set_create(CurrentMemoryContext);
	TrailSubjectSet *without = trail_subject_set_create(CurrentMemoryContext);
	SubjectMinus minus = {without, trail_subject_set_create(CurrentMemoryContext)};

	trail_subject_set_merge(all, VARDATA_ANY(from), VARSIZE_ANY_EXHDR(from));
	trail_subject_set_merge(without, VARDATA_ANY(take), VARSIZE_ANY_EXHDR(take));
	trail_subject_set_walk(all, subject_set_sql_keep, &minus);
	PG_RETURN_BYTEA_P(subject_set_sql_bytea(minus.rest));
}

Datum
ward_subject_set_or(PG_FUNCTION_ARGS)
{
	bytea *one = PG_GETARG_BYTEA_PP(0);
	bytea *other = PG_GETARG_BYTEA_PP(1);
	TrailSubjectSet *either = trail_subject_set_create(CurrentMemoryContext);

	trail_subject_set_merge(either, VARDATA_ANY(one), VARSIZE_ANY_EXHDR(one));
	trail_subject_set_merge(either, VARDATA_ANY(other), VARSIZE_ANY_EXHDR(other));
	PG_RETURN_BYTEA_P(subject_set_sql_bytea(either));
}

/* The members from one number to another, both included. */
Datum
ward_subject_set_between(PG_FUNCTION_ARGS)
{
	int64 from = PG_GETARG_INT64(1);
	int64 to = PG_GETARG_INT64(2);
	TrailSubjectSet *part = trail_subject_set_create(CurrentMemoryContext);
	SubjectReader reader;
	int64_t lo;
	int64_t hi;

	subject_set_sql_begin(&reader, PG_GETARG_BYTEA_PP(0));
	while (subject_codec_next(&reader, &lo, &hi) && lo <= to)
	{
		if (hi < from)
			continue;
		CHECK_FOR_INTERRUPTS();
		for (int64 member = Max(lo, from);; member++)
		{
			(void) trail_subject_set_add(part, member);
			if (member == Min(hi, to))
				break;
		}
	}
	if (reader.corrupt)
		subject_set_sql_malformed();
	PG_RETURN_BYTEA_P(subject_set_sql_bytea(part));
}

/* ---------------------------------------------------------------- aggregates */

/* The aggregate's state, made on first use in the context that lives as long. */
static TrailSubjectSet *
subject_set_sql_state(FunctionCallInfo fcinfo, const char *function)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "%s called outside an aggregate", function);
	if (PG_ARGISNULL(0))
		return trail_subject_set_create(context);
	return (TrailSubjectSet *) PG_GETARG_POINTER(0);
}

Datum
ward_subject_set_agg_add(PG_FUNCTION_ARGS)
{
	TrailSubjectSet *set = subject_set_sql_state(fcinfo, "subject_set_agg_add");

	if (!PG_ARGISNULL(1))
		(void) trail_subject_set_add(set, PG_GETARG_INT64(1));
	PG_RETURN_POINTER(set);
}

Datum
ward_subject_set_agg_merge(PG_FUNCTION_ARGS)
{
	TrailSubjectSet *set = subject_set_sql_state(fcinfo, "subject_set_agg_merge");

	if (!PG_ARGISNULL(1))
	{
		bytea *bytes = PG_GETARG_BYTEA_PP(1);

		trail_subject_set_merge(set, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	}
	PG_RETURN_POINTER(set);
}

Datum
ward_subject_set_agg_combine(PG_FUNCTION_ARGS)
{
	TrailSubjectSet *set = subject_set_sql_state(fcinfo, "subject_set_agg_combine");

	if (!PG_ARGISNULL(1))
	{
		StringInfoData bytes;

		initStringInfo(&bytes);
		trail_subject_set_serialize((TrailSubjectSet *) PG_GETARG_POINTER(1), &bytes);
		trail_subject_set_merge(set, bytes.data, bytes.len);
		pfree(bytes.data);
	}
	PG_RETURN_POINTER(set);
}

Datum
ward_subject_set_agg_serialize(PG_FUNCTION_ARGS)
{
	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "%s called outside an aggregate", "subject_set_agg_serialize");
	PG_RETURN_BYTEA_P(subject_set_sql_bytea((TrailSubjectSet *) PG_GETARG_POINTER(0)));
}

Datum
ward_subject_set_agg_deserialize(PG_FUNCTION_ARGS)
{
	bytea *bytes = PG_GETARG_BYTEA_PP(0);
	TrailSubjectSet *set;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "%s called outside an aggregate", "subject_set_agg_deserialize");
	set = trail_subject_set_create(CurrentMemoryContext);
	trail_subject_set_merge(set, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	PG_RETURN_POINTER(set);
}

Datum
ward_subject_set_agg_final(PG_FUNCTION_ARGS)
{
	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "%s called outside an aggregate", "subject_set_agg_final");
	if (PG_ARGISNULL(0))
		PG_RETURN_BYTEA_P(subject_set_sql_bytea(trail_subject_set_create(CurrentMemoryContext)));
	PG_RETURN_BYTEA_P(subject_set_sql_bytea((TrailSubjectSet *) PG_GETARG_POINTER(0)));
}
