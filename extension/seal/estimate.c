/*
 * estimate.c
 *		Statistics of sealed columns.
 *
 * ANALYZE compares and hashes values by their tags.  Those of a column without tags it
 * only counts and measures.
 */
#include "seal/sealed_int.h"

#include "commands/vacuum.h"

WARD_FUNCTION(ward_sealed_analyze);

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
