/*
 * rewrite_int.h
 *		Shared by the files that rewrite queries over sealed columns.
 */
#ifndef WARD_SEAL_REWRITE_INT_H
#define WARD_SEAL_REWRITE_INT_H

#include "seal/sealed_int.h"

#include "nodes/primnodes.h"

/* ---- rewrite.c ---- */

/* The sealed type of an expression, looked for through domains, or NULL. */
extern const SealObjects *seal_rewrite_sealed(const Node *node);
/* The key that an expression's values are under, or SEAL_KEY_NONE when unknown. */
extern SealKeyId seal_rewrite_key(const Node *node);
/* The sealed expression, of a known key, under a cast to its base type (or varchar); or NULL. */
extern Node *seal_rewrite_uncast(Node *node, const SealObjects **objects);
extern Node *seal_rewrite_key_const(SealKeyId key);
extern Node *seal_rewrite_to_base(Node *node, const SealObjects *objects);
extern Node *seal_rewrite_from_base(Node *node, SealKeyId key, const SealObjects *objects);
extern Node *seal_rewrite_rekey(Node *node, SealKeyId key, const SealObjects *objects);
extern void seal_rewrite_refuse(const char *what, const char *hint) pg_attribute_noreturn();

/* ---- rewrite_order.c ---- */

extern Query *seal_rewrite_order_query(Query *query);
extern Node *seal_rewrite_order_aggregate(Aggref *aggregate);

/* ---- rewrite_pattern.c ---- */

/* LIKE and ILIKE; other operators come back as they are. */
extern Node *seal_rewrite_pattern(OpExpr *op);

/* ---- rewrite_inline.c ---- */

extern void seal_rewrite_inline(Query *query, List **invalidation);

#endif /* WARD_SEAL_REWRITE_INT_H */
