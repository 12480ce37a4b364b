/*
 * server.h
 *		What the decoders need of the server, for the fuzz targets: memory and errors.
 *
 * Each palloc is a malloc of its own, so that the sanitizer sees a read past its end;
 * what an input leaves behind is freed after it. ereport(ERROR) jumps as in the server.
 * What else the linked files refer to stays unresolved: calling it crashes, and shows
 * which stub is missing. Included by one file of a program.
 */
#ifndef WARD_FUZZ_SERVER_H
#define WARD_FUZZ_SERVER_H

#include "postgres.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#undef printf
#undef fprintf
#undef snprintf

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

sigjmp_buf *PG_exception_stack = NULL;
ErrorContextCallback *error_context_stack = NULL;
MemoryContext TopMemoryContext = NULL;
MemoryContext CurrentMemoryContext = NULL;
int MyProcPid = 1;

/* SQLSTATE of the last error. */
static int server_error_code = 0;
static int server_error_level = 0;

/* Blocks of the running input, in a list through a header before each. */
typedef struct ServerBlock
{
	struct ServerBlock *next;
	struct ServerBlock *previous;
	Size size;
	uint64 padding; /* so that what follows is aligned as MAXALIGN wants it */
} ServerBlock;

static ServerBlock server_blocks = {&server_blocks, &server_blocks, 0, 0};

static void *
server_alloc(Size size, bool keep)
{
	ServerBlock *block;

	/* What the server would refuse to allocate. */
	if (size > MaxAllocSize)
		abort();
	block = malloc(sizeof(ServerBlock) + size);
	if (block == NULL)
		abort();
	block->size = size;
	block->next = keep ? block : server_blocks.next;
	block->previous = keep ? block : &server_blocks;
	block->previous->next = block;
	block->next->previous = block;
	/* Whoever reads before writing is to be noticed by its results. */
	memset(block + 1, 0xbe, size);
	return block + 1;
}

void *
palloc(Size size)
{
	return server_alloc(size, false);
}

void *
palloc0(Size size)
{
	return memset(palloc(size), 0, size);
}

void
pfree(void *pointer)
{
	ServerBlock *block = (ServerBlock *) pointer - 1;

	block->next->previous = block->previous;
	block->previous->next = block->next;
	free(block);
}

void *
repalloc(void *pointer, Size size)
{
	ServerBlock *block = (ServerBlock *) pointer - 1;
	void *result = server_alloc(size, block->next == block);

	memcpy(result, pointer, Min(block->size, size));
	pfree(pointer);
	return result;
}

/* Only what outlives an input is asked for by context. */
void *
MemoryContextAlloc(MemoryContext context, Size size)
{
	return server_alloc(size, true);
}

void *
MemoryContextAllocZero(MemoryContext context, Size size)
{
	return memset(server_alloc(size, true), 0, size);
}

char *
pnstrdup(const char *in, Size len)
{
	Size n = strnlen(in, len);
	char *out = palloc(n + 1);

	memcpy(out, in, n);
	out[n] = '\0';
	return out;
}

char *
pstrdup(const char *in)
{
	return pnstrdup(in, strlen(in));
}

void
initStringInfo(StringInfo buffer)
{
	buffer->maxlen = 1;
	buffer->data = palloc0(1);
	buffer->len = buffer->cursor = 0;
}

/* No more room than is asked for, so that writing past it is found. */
void
enlargeStringInfo(StringInfo buffer, int needed)
{
	if (needed < 0 || (Size) needed >= MaxAllocSize - (Size) buffer->len)
		abort();
	buffer->maxlen = buffer->len + needed + 1;
	buffer->data = repalloc(buffer->data, (Size) buffer->maxlen);
}

#if PG_VERSION_NUM >= 160000
void
appendBinaryStringInfo(StringInfo buffer, const void *data, int len)
#else
void
appendBinaryStringInfo(StringInfo buffer, const char *data, int len)
#endif
{
	enlargeStringInfo(buffer, len);
	memcpy(buffer->data + buffer->len, data, (Size) len);
	buffer->len += len;
	buffer->data[buffer->len] = '\0';
}

static void
server_free_all(void)
{
	while (server_blocks.next != &server_blocks)
		pfree(server_blocks.next + 1);
}

bool
errstart(int elevel, const char *domain)
{
	server_error_level = elevel;
	server_error_code = ERRCODE_INTERNAL_ERROR;
	return true;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	if (server_error_level < ERROR)
		return;
	pg_re_throw();
}

void
pg_re_throw(void)
{
	if (PG_exception_stack == NULL)
		abort();
	siglongjmp(*PG_exception_stack, 1);
}

int
errcode(int sqlerrcode)
{
	server_error_code = sqlerrcode;
	return 0;
}

int
geterrcode(void)
{
	return server_error_code;
}

void
FlushErrorState(void)
{
}

/* Formats, so that an argument of the wrong type or past its end is found. */
static int
server_format(const char *format, va_list args)
{
	char message[1024];

	(void) vsnprintf(message, sizeof(message), format, args);
	return 0;
}

#define SERVER_MESSAGE(name)                                                                       \
	int name(const char *format, ...)                                                              \
	{                                                                                              \
		va_list args;                                                                              \
                                                                                                   \
		va_start(args, format);                                                                    \
		(void) server_format(format, args);                                                        \
		va_end(args);                                                                              \
		return 0;                                                                                  \
	}
SERVER_MESSAGE(errmsg)
SERVER_MESSAGE(errmsg_internal)
SERVER_MESSAGE(errdetail)
SERVER_MESSAGE(errhint)

static void
pg_attribute_noreturn() server_failed(const char *condition, const char *file, int line)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, condition);
	abort();
}

#if PG_VERSION_NUM >= 160000
void
ExceptionalCondition(const char *condition, const char *file, int line)
#else
void
ExceptionalCondition(const char *condition, const char *type, const char *file, int line)
#endif
{
	server_failed(condition, file, line);
}

/* What must hold, in every build. */
#define FUZZ_CHECK(condition)                                                                      \
	do                                                                                             \
	{                                                                                              \
		if (!(condition))                                                                          \
			server_failed(#condition, __FILE__, __LINE__);                                         \
	} while (0)

#endif /* WARD_FUZZ_SERVER_H */
