/*
 * Preloaded: the clock goes by as many seconds as the file CLOCK_SHIFT says (absent: 0).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

int
gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	static int (*real)(struct timeval *, void *);
	const char *name = getenv("CLOCK_SHIFT");
	FILE *file = name != NULL ? fopen(name, "r") : NULL;
	long shift = 0;
	int result;

	if (real == NULL)
		real = (int (*)(struct timeval *, void *)) dlsym(RTLD_NEXT, "gettimeofday");
	result = real(tv, tz);
	if (file != NULL)
	{
		if (fscanf(file, "%ld", &shift) == 1)
			tv->tv_sec += shift;
		fclose(file);
	}
	return result;
}
