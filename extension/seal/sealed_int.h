/*
 * sealed_int.h
 *		Shared by the files that make the sealed types: what SQL sees of the seal
 *		layer.  The keys and the cipher below them are in seal_int.h.
 */
#ifndef WARD_SEAL_SEALED_INT_H
#define WARD_SEAL_SEALED_INT_H

#include "seal/seal_int.h"

#include "nodes/parsenodes.h"
#include "utils/array.h"

/* ---- sealed_io.c ---- */

extern bool seal_sealed_io_shown(void);
extern struct varlena *seal_sealed_io_seal(const char *data, Size len, int32 typmod);
extern struct varlena *seal_sealed_io_open(const struct varlena *envelope);

/* ---- sealed_ops.c ---- */

extern struct varlena *seal_sealed_ops_probe(struct varlena *value, SealKeyId key);

/* ---- sealed_type.c: the catalog's oids of the sealed types ---- */

typedef struct SealObjects
{
	Oid type;
	Oid array;
	Oid eq; /* sealed, sealed */
	Oid ne;
	Oid eq_text; /* sealed, text */
	Oid ne_text;
	Oid text_eq; /* text, sealed */
	Oid text_ne;
	Oid to_text;
	Oid probe;
	Oid probe_text;
	Oid probe_array;
	Oid probe_text_array;
} SealObjects;

/* NULL where this database has no sealed types. */
extern const SealObjects *seal_sealed_type_objects(void);
extern Oid seal_sealed_type_oid(void);
extern void seal_sealed_type_init(void);

/* ---- rewrite.c: the planner's side ---- */

extern Query *seal_rewrite_query(Query *query);

/* ---- redact.c: the log's side ---- */

extern void seal_redact_error(ErrorData *error);

#endif /* WARD_SEAL_SEALED_INT_H */
