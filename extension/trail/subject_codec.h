/*
 * subject_codec.h
 *		The serialised form of a set of int64: reading and writing bytes.
 *
 * Plain C without PostgreSQL, so that fuzzers and stand-alone verifiers can
 * compile it alone.  The format is on disk for ever:
 *
 *		byte    format, 1 or 2
 *		varint  n, the number of members (1) or of runs (2)
 *	then, for the first member or run, its start as a zigzag varint, and for each
 *	of the others how far its start is from the smallest that could follow:
 *		1, deltas	start - previous - 1
 *		2, runs		start - previous run's last - 2
 *	Format 2 has after each start the run's length - 1 as a varint.
 *
 * A varint is LEB128, at most 10 bytes, never longer than its value needs.
 * Members ascend.  A set has at most SUBJECT_CODEC_MAX_MEMBERS members, so that
 * a few hostile bytes can't ask for an endless walk.
 */
#ifndef WARD_TRAIL_SUBJECT_CODEC_H
#define WARD_TRAIL_SUBJECT_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SUBJECT_CODEC_DELTAS 1
#define SUBJECT_CODEC_RUNS 2

#define SUBJECT_CODEC_MAX_MEMBERS (UINT64_C(1) << 32)
#define SUBJECT_CODEC_MAX_VARINT 10

typedef struct SubjectReader
{
	const uint8_t *at;
	const uint8_t *end;
	uint8_t format;
	uint64_t left;	   /* members (format 1) or runs (format 2) still to come */
	uint64_t members;  /* read so far */
	uint64_t previous; /* last member read, with the sign bit flipped */
	bool first;
	bool corrupt; /* sticky; tells the end from damage */
} SubjectReader;

/* Begins reading; false, and corrupt set, where the head is malformed. */
extern bool subject_codec_begin(SubjectReader *reader, const void *data, size_t len);

/* The next run of members lo..hi, both included; false at the end or on damage. */
extern bool subject_codec_next(SubjectReader *reader, int64_t *lo, int64_t *hi);

/* Passes over members below this one as long as that is cheap; what comes next may be below. */
extern void subject_codec_skip(SubjectReader *reader, int64_t below);

/* How many bytes a varint takes, and writing it; returns where the next one goes. */
extern size_t subject_codec_varint_size(uint64_t value);
extern uint8_t *subject_codec_varint_write(uint8_t *into, uint64_t value);

/* Maps small negative and small positive numbers to small unsigned ones. */
extern uint64_t subject_codec_zigzag(int64_t value);

#endif /* WARD_TRAIL_SUBJECT_CODEC_H */
