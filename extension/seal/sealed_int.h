/*
 * sealed_int.h
 *		Shared by the files that make the sealed types: what SQL sees of the seal
 *		layer.  The keys and the cipher below them are in seal_int.h.
 */
#ifndef WARD_SEAL_SEALED_INT_H
#define WARD_SEAL_SEALED_INT_H

#include "seal/seal_int.h"

#include "lib/stringinfo.h"
#include "nodes/params.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "parser/parse_node.h"
#include "utils/array.h"

/* ---- kind.c ---- */

typedef struct SealKindInfo
{
	const char *name; /* of the base type; the sealed one's is sealed_NAME */
	Oid base;
	Oid base_array;
	Oid collation; /* of comparisons by opened values */
	int length;	   /* of the sealed bytes; -1 varies */
	PGFunction in;
	PGFunction out;
	PGFunction receive;
	PGFunction send;
} SealKindInfo;

extern const SealKindInfo seal_kinds[SEAL_KINDS + 1];

/* Fills plain from a value of the base type, or from bytes that were sealed. */
extern void seal_kind_encode(SealPlain *plain, SealKind kind, Datum value);
extern void seal_kind_plain(SealPlain *plain, SealKind kind, const char *data, Size len);
extern void seal_kind_release(SealPlain *plain);

/* A base type's value from sealed bytes, palloc'd.  Raises WD210 where they are none. */
extern Datum seal_kind_decode(SealKind kind, const char *data, Size len);

/* The base type's own input and output, with errors that do not quote the value. */
extern Datum seal_kind_input(SealKind kind, char *text);
extern Datum seal_kind_receive(SealKind kind, StringInfo buffer);
extern char *seal_kind_output(SealKind kind, Datum value);

/* ---- armor.c ---- */

/* How many backslashes stand before what looks like armor (1: it is armor); else 0. */
extern int seal_armor_backslashes(const char *text, Size len);
/* palloc'd, and its length is returned too. */
extern char *seal_armor_write(const struct varlena *envelope, int *length);
/* NULL where this is not base64.  Raises WD210 where it is no envelope. */
extern struct varlena *seal_armor_read(const char *text, int len);

/* ---- sealed_io.c ---- */

extern bool seal_sealed_io_shown(void);
extern void seal_sealed_io_mark_shown(void);
extern bool seal_sealed_io_armored_tag(const char *text, Size len, uint8 tag[SEAL_TAG_LENGTH]);
extern struct varlena *seal_sealed_io_seal(const SealPlain *plain, int32 typmod);
extern struct varlena *seal_sealed_io_open(const struct varlena *envelope);
extern struct varlena *seal_sealed_io_take(struct varlena *value, SealPlain *plain);
extern void seal_sealed_io_drop(struct varlena *opened, SealPlain *plain);
extern void seal_sealed_io_check_kind(struct varlena *value, SealKind kind);

/* ---- sealed_cast.c ---- */

/* Casts between a sealed type's base and types that SQL lets stand in for it. */
extern Datum seal_sealed_cast_convert(PGFunction function, Datum value);

/* ---- sealed_ops.c ---- */

extern struct varlena *seal_sealed_ops_probe(struct varlena *value, SealKeyId key);

/* ---- definition.c: definitions that are carried to a sealed column ---- */

extern Query *seal_definition_query(const char *text);
/* Over a table's columns. */
extern Node *seal_definition_expression(Relation relation, const char *text, ParseExprKind kind);
/* A trigger's condition, whose rows are called old and new, as text. */
extern char *seal_definition_print_condition(Relation relation, Node *condition);

/* ---- sealed_type.c: the catalog's oids of the sealed types ---- */

/* Base types and those that compare with a sealed column without a cast. */
#define SEAL_MIXED_MAX 3

typedef struct SealMixed
{
	Oid type; /* InvalidOid: no more */
	Oid eq;	  /* sealed, other */
	Oid ne;
	Oid eq_commuted; /* other, sealed */
	Oid ne_commuted;
} SealMixed;

typedef struct SealObjects
{
	SealKind kind;
	Oid type;
	Oid array;
	Oid eq; /* sealed, sealed */
	Oid ne;
	SealMixed mixed[SEAL_MIXED_MAX]; /* the first is the base type's */
	Oid to_base;
	Oid to_varchar; /* of sealed_text alone */
	Oid from_base;
	Oid rekey;
	Oid typed;
	Oid probe;
	Oid probe_base;
	Oid probe_array;
	Oid probe_base_array;
	Oid like; /* with a sealed pattern; of text alone */
	Oid iclike;
	Oid pattern;
	Oid opened_eq; /* the base type's equality, estimated by the sealed columns */
	Oid base_eq;
	Oid base_ne;
	Oid base_lt; /* InvalidOid where the base type has no order */
	Oid base_gt;
} SealObjects;

/* Are there sealed types in this database?  Needs a transaction. */
extern bool seal_sealed_type_present(void);
/* Those of a sealed type, or NULL; domains are not looked through. */
extern const SealObjects *seal_sealed_type_find(Oid type);
extern const SealObjects *seal_sealed_type_find_array(Oid type);
extern const SealObjects *seal_sealed_type_of_kind(SealKind kind);
extern void seal_sealed_type_init(void);

/* ---- rewrite.c: the planner's side ---- */

extern Query *seal_rewrite_query(Query *query, ParamListInfo params, List **invalidation);

/* ---- touch.c: has the running statement, or its transaction, met sealed values? ---- */

extern void seal_touch_mark(void);
extern bool seal_touch_by_statement(void);
extern bool seal_touch_by_transaction(void);
/* Or an earlier one of this backend? */
extern bool seal_touch_ever(void);
/* Of a plan over sealed values, made just now; and of one about to be run. */
extern void seal_touch_mark_plan(PlannedStmt *plan);
extern void seal_touch_start(const PlannedStmt *plan);
extern void seal_touch_utility(Node *statement);
/* Has a table a column of a sealed type, of a domain over it, or an array of such? */
extern bool seal_touch_has_sealed(Oid relid);

/* ---- refuse.c: what would store opened values ---- */

extern void seal_refuse_utility(Node *statement, const char *query);

/* ---- describe.c: the client's side ---- */

/* May the client take armor for a value, because of what it was told before? */
extern bool seal_describe_stale(void);
extern void seal_describe_install(void);

/* ---- redact.c: the log's side ---- */

extern void seal_redact_error(ErrorData *error);

#endif /* WARD_SEAL_SEALED_INT_H */
