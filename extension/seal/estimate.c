/*
 * estimate.c
 *		Statistics of sealed columns, and how many rows a comparison of opened ones gives.
 *
 * ANALYZE compares and hashes values by their tags.  Those of a column without tags it
 * only counts and measures.
 *
 * Columns under different keys are joined by what they open to, and of an expression
 * that opens the planner has no statistics.  It has those of the columns, whose tags
 * repeat as their values do: how many are distinct and how many are null.  So the
 * rewrite compares by an operator of its own (=#), whose estimates look below the
 * opening call.
 *
 * Nothing is opened here: the most common values are never read, only how common they
 * are.  That is coarser than what the same values give in clear where few of them make
 * up most of a column.
 */
#include "seal/sealed_int.h"

#include "access/htup_details.h"
#include "catalog/pg_statistic.h"
#include "catalog/pg_type.h"
#include "commands/vacuum.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/pathnode.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"

WARD_FUNCTION(ward_sealed_analyze);
WARD_FUNCTION(ward_sealed_opened_eqsel);
WARD_FUNCTION(ward_sealed_opened_eqjoinsel);

/* ---------------------------------------------------------------- statistics */

/* How the server would have gone about it. */
typedef struct SealEstimateUsual
{
	AnalyzeAttrComputeStatsFunc compute;
	void *data;
} SealEstimateUsual;

/* What can be known of values that can't be compared: NULLs and the width. */
static void
seal_estimate_count(VacAttrStats *stats, AnalyzeAttrFetchFunc fetch, int samples)
{
	double width = 0;
	int nulls = 0;

	for (int i = 0; i < samples; i++)
	{
		bool isnull;
		Datum value = fetch(stats, i, &isnull);

		CHECK_FOR_INTERRUPTS();
		if (isnull)
			nulls++;
		else
			width += (double) VARSIZE_ANY(DatumGetPointer(value));
	}
	stats->stats_valid = true;
	stats->stanullfrac = (float4) ((double) nulls / samples);
	stats->stawidth = (int32) (width / (samples - nulls));
	stats->stadistinct = 0.0; /* unknown */
}

/*
 * The values say whether they have tags, and not the key: ANALYZE must work whatever has
 * become of that.  A column is under one key, so that the first value speaks for all.
 */
static void
seal_estimate_compute(VacAttrStats *stats, AnalyzeAttrFetchFunc fetch, int samples, double rows)
{
	SealEstimateUsual *usual = stats->extra_data;

	for (int i = 0; i < samples; i++)
	{
		uint8 tag[SEAL_TAG_LENGTH];
		SealKeyId key;
		bool isnull;
		Datum value = fetch(stats, i, &isnull);

		if (isnull)
			continue;
		if (!seal_envelope_tag((struct varlena *) DatumGetPointer(value), &key, tag))
		{
			seal_estimate_count(stats, fetch, samples);
			return;
		}
		break;
	}
	stats->extra_data = usual->data;
	usual->compute(stats, fetch, samples, rows);
}

/* The typanalyze function of the sealed types, and so of domains over them. */
Datum
ward_sealed_analyze(PG_FUNCTION_ARGS)
{
	VacAttrStats *stats = (VacAttrStats *) PG_GETARG_POINTER(0);
	SealEstimateUsual *usual;

	if (!std_typanalyze(stats))
		PG_RETURN_BOOL(false);
	usual = palloc(sizeof(SealEstimateUsual));
	usual->compute = stats->compute_stats;
	usual->data = stats->extra_data;
	stats->compute_stats = seal_estimate_compute;
	stats->extra_data = usual;
	PG_RETURN_BOOL(true);
}

/* ---------------------------------------------------------------- estimates */

/* One side of a comparison, as the statistics of its sealed column have it. */
typedef struct SealEstimateSide
{
	double distinct;
	bool guessed; /* distinct is the planner's default */
	double null_fraction;
} SealEstimateSide;

static Node *
seal_estimate_strip(Node *node)
{
	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

/* What this opens, or NULL where it opens nothing. */
static Node *
seal_estimate_opened(Node *node, const SealObjects **objects)
{
	FuncExpr *call = (FuncExpr *) seal_estimate_strip(node);
	Node *sealed;

	if (call == NULL || !IsA(call, FuncExpr) || list_length(call->args) != 1)
		return NULL;
	sealed = linitial(call->args);
	*objects = seal_sealed_type_find(getBaseType(exprType(sealed)));
	if (*objects == NULL || call->funcid != (*objects)->to_base)
		return NULL;
	return seal_estimate_strip(sealed);
}

static SealEstimateSide
seal_estimate_side(VariableStatData *variable, const SealObjects *objects)
{
	SealEstimateSide side;

	/* Without statistics the planner still knows that a boolean has two values. */
	if (objects->kind == SEAL_KIND_BOOL)
		variable->vartype = BOOLOID;
	side.distinct = get_variable_numdistinct(variable, &side.guessed);
	side.null_fraction = 0.0;
	if (HeapTupleIsValid(variable->statsTuple))
		side.null_fraction = ((Form_pg_statistic) GETSTRUCT(variable->statsTuple))->stanullfrac;
	return side;
}

/* How common the most common value is; 1 where that is not known. */
static double
seal_estimate_most_common(VariableStatData *variable)
{
	AttStatsSlot slot;
	double result = 1.0;

	if (HeapTupleIsValid(variable->statsTuple) &&
		get_attstatsslot(&slot, variable->statsTuple, STATISTIC_KIND_MCV, InvalidOid,
						 ATTSTATSSLOT_NUMBERS))
	{
		if (slot.nnumbers > 0)
			result = slot.numbers[0];
		free_attstatsslot(&slot);
	}
	return result;
}

/* RESTRICT of =#: an opened column with something that the scan is given. */
Datum
ward_sealed_opened_eqsel(PG_FUNCTION_ARGS)
{
	PlannerInfo *root = (PlannerInfo *) PG_GETARG_POINTER(0);
	List *args = (List *) PG_GETARG_POINTER(2);
	int relid = PG_GETARG_INT32(3);
	const SealObjects *objects = NULL;
	VariableStatData left;
	VariableStatData right;
	Node *left_node;
	Node *right_node;
	double result = DEFAULT_EQ_SEL;

	if (list_length(args) != 2)
		PG_RETURN_FLOAT8(result);
	left_node = seal_estimate_opened(linitial(args), &objects);
	right_node = seal_estimate_opened(lsecond(args), &objects);
	if (left_node == NULL || right_node == NULL)
		return eqsel(fcinfo);
	/* Not by the planner's helper, which would evaluate the other side, and so open it. */
	examine_variable(root, left_node, relid, &left);
	examine_variable(root, right_node, relid, &right);
	if ((left.rel == NULL) != (right.rel == NULL))
	{
		VariableStatData *variable = left.rel != NULL ? &left : &right;
		SealEstimateSide side = seal_estimate_side(variable, objects);

		result = (1.0 - side.null_fraction) / Max(side.distinct, 1.0);
		result = Min(result, seal_estimate_most_common(variable));
	}
	ReleaseVariableStats(left);
	ReleaseVariableStats(right);
	CLAMP_PROBABILITY(result);
	PG_RETURN_FLOAT8(result);
}

/* The share of the outer side's rows that have a partner. */
static double
seal_estimate_semi(const SealEstimateSide *outer, const SealEstimateSide *inner,
				   const VariableStatData *inner_variable, double inner_rows)
{
	double distinct = inner->distinct;
	bool guessed = outer->guessed || inner->guessed;

	/* No more values than rows; the rows are an estimate of their own. */
	if (inner_variable->rel != NULL)
		inner_rows = Min(inner_rows, inner_variable->rel->rows);
	if (distinct >= inner_rows)
	{
		distinct = inner_rows;
		guessed = outer->guessed;
	}
	if (guessed)
		return 0.5 * (1.0 - outer->null_fraction);
	return Min(1.0, distinct / outer->distinct) * (1.0 - outer->null_fraction);
}

static double
seal_estimate_inner_rows(PlannerInfo *root, Relids relids)
{
	int relid;
	RelOptInfo *rel;

	if (bms_get_singleton_member(relids, &relid))
		rel = find_base_rel(root, relid);
	else
		rel = find_join_rel(root, relids);
	if (rel == NULL)
		elog(ERROR, "the inner relation of a semijoin is missing");
	return rel->rows;
}

/* JOIN of =#. */
Datum
ward_sealed_opened_eqjoinsel(PG_FUNCTION_ARGS)
{
	PlannerInfo *root = (PlannerInfo *) PG_GETARG_POINTER(0);
	List *args = (List *) PG_GETARG_POINTER(2);
	SpecialJoinInfo *join = (SpecialJoinInfo *) PG_GETARG_POINTER(4);
	const SealObjects *left_objects = NULL;
	const SealObjects *right_objects = NULL;
	VariableStatData left;
	VariableStatData right;
	SealEstimateSide left_side;
	SealEstimateSide right_side;
	Node *left_node;
	Node *right_node;
	bool reversed;
	double result;

	if (list_length(args) != 2)
		return eqjoinsel(fcinfo);
	left_node = seal_estimate_opened(linitial(args), &left_objects);
	right_node = seal_estimate_opened(lsecond(args), &right_objects);
	if (left_node == NULL || right_node == NULL)
		return eqjoinsel(fcinfo);
	get_join_variables(root, list_make2(left_node, right_node), join, &left, &right, &reversed);
	left_side = seal_estimate_side(&left, left_objects);
	right_side = seal_estimate_side(&right, right_objects);
	result = (1.0 - left_side.null_fraction) * (1.0 - right_side.null_fraction) /
			 Max(left_side.distinct, right_side.distinct);
	if (join->jointype == JOIN_SEMI || join->jointype == JOIN_ANTI)
	{
		double inner_rows = seal_estimate_inner_rows(root, join->min_righthand);
		double semi = reversed ? seal_estimate_semi(&right_side, &left_side, &left, inner_rows)
							   : seal_estimate_semi(&left_side, &right_side, &right, inner_rows);

		/* A semijoin gives no more rows than the join. */
		result = Min(semi, inner_rows * result);
	}
	ReleaseVariableStats(left);
	ReleaseVariableStats(right);
	CLAMP_PROBABILITY(result);
	PG_RETURN_FLOAT8(result);
}
