/*
 * core.h
 *		Layer 0, the only header of it that other layers include.
 *
 * Knows nothing of sealing, watching or the trail: errors, secrets in memory,
 * and what differs between PostgreSQL versions.
 */
#ifndef WARD_CORE_H
#define WARD_CORE_H

#include "postgres.h"
#include "fmgr.h"

#include "core/compat.h"
#include "core/errors.h"
#include "core/secret.h"

/* The GUC prefix and the schemas; spelled in one place. */
#define WARD_GUC_PREFIX "ward"
#define WARD_PUBLIC_SCHEMA "ward"
#define WARD_CATALOG_SCHEMA "_ward"

/* preload.c */
extern void core_preload_init(void);
extern bool core_preload_done(void);
extern void core_preload_require(void);

/*
 * spawn.c
 *		Starts a shell command with input on its standard input; returns 0, or an errno.
 *		Never waits: input must fit into a pipe (CORE_SPAWN_INPUT always does, unless the
 *		server's user has used up its share of pipes).
 */
#define CORE_SPAWN_INPUT (32 * 1024)
extern int core_spawn_shell(const char *command, const char *input, Size len, pid_t *pid);

/*
 * catalog.c
 *		Oids of the extension's catalog in this database, or InvalidOid where the
 *		extension is not installed.  Cheap: cached, dropped on invalidation.
 *		May be called only inside a transaction.
 */
extern void core_catalog_init(void);
extern Oid core_catalog_namespace(void);
extern Oid core_catalog_relation(const char *relname);

#endif /* WARD_CORE_H */
