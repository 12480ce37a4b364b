# pg_ward is built with PGXS. Sources, SQL and tests are found by wildcard, so
# that nothing can be added and then forgotten here.

EXTENSION   = pg_ward
MODULE_big  = pg_ward
# The version lives in pg_ward.control alone.
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" pg_ward.control)

LAYERS      = core trail seal witness guard scope
SOURCES    := $(wildcard extension/*.c) $(foreach l,$(LAYERS),$(sort $(wildcard extension/$(l)/*.c)))
WARD_HEADERS := $(wildcard extension/*/*.h)
WARD_SCRIPTS    := $(foreach l,$(LAYERS),$(sort $(wildcard extension/$(l)/*.sql)))
OBJS        = $(SOURCES:.c=.o)

DATA        = $(wildcard extension/upgrade/*.sql)
DATA_built  = $(EXTENSION)--$(EXTVERSION).sql

# Symbols are hidden unless a file exports them one by one (PGDLLEXPORT).
# PostgreSQL 15 leaves PGDLLEXPORT empty on ELF, so it is spelled out here.
PG_CPPFLAGS = -I$(CURDIR)/extension -DWARD_VERSION='"$(EXTVERSION)"' \
              -DPGDLLEXPORT='__attribute__((visibility("default")))' -I$(libpq_srcdir)
PG_CFLAGS   = -std=gnu11 -fvisibility=hidden -Wall -Wextra -Wno-unused-parameter \
              -Wno-missing-field-initializers -Wno-declaration-after-statement $(WARD_CFLAGS)
SHLIB_LINK  = -lcrypto $(libpq)

# JIT inlining of the extension is of no use, and its bitcode doubles the build.
override with_llvm = no

REGRESS     = $(sort $(patsubst sql/%.sql,%,$(wildcard sql/*.sql)))
EXTRA_CLEAN = $(EXTENSION)--*.sql results output_iso tmp_check build

PG_CONFIG  ?= pg_config

# The README's two commands install what is missing, the server's headers and
# PGXS included, so they must work before PGXS exists.
ifneq ($(filter demo check oracle mutation,$(MAKECMDGOALS)),)
.PHONY: demo check oracle mutation
demo:
	demo/run
check:
	test/run
# So many random statements; and is each rule of capture missed when it is off?
oracle:
	WARD_ORACLE_RANDOM=$(or $(N),1000) test/run oracle
mutation:
	WARD_MUTATION=1 test/run oracle
else
PGXS       := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS): $(WARD_HEADERS) pg_ward.control

$(EXTENSION)--$(EXTVERSION).sql: $(WARD_SCRIPTS) pg_ward.control
	@{ printf '%s\n' '\echo Use "CREATE EXTENSION pg_ward" to load this file. \quit'; cat $(WARD_SCRIPTS); } > $@.tmp
	@mv $@.tmp $@
endif
