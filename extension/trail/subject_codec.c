/*
 * subject_codec.c
 *		Reads and writes the bytes of a serialised subject set.
 *
 * Plain C: no allocation, no error but the reader's corrupt flag, no read past
 * the end.  Members are compared and added with the sign bit flipped, as unsigned
 * numbers, so that INT64_MIN and INT64_MAX need no special case.
 */
#include "trail/subject_codec.h"

#define SIGN_BIT (UINT64_C(1) << 63)

size_t
subject_codec_varint_size(uint64_t value)
{
	/* 7 bits a byte; zero takes one byte too */
	return (size_t) (63 - __builtin_clzll(value | 1)) / 7 + 1;
}

uint8_t *
subject_codec_varint_write(uint8_t *into, uint64_t value)
{
	while (value >= 0x80)
	{
		*into++ = (uint8_t) (value | 0x80);
		value >>= 7;
	}
	*into++ = (uint8_t) value;
	return into;
}

uint64_t
subject_codec_zigzag(int64_t value)
{
	return ((uint64_t) value << 1) ^ (value < 0 ? UINT64_MAX : 0);
}

static int64_t
subject_codec_unzigzag(uint64_t value)
{
	return (int64_t) ((value >> 1) ^ (value & 1 ? UINT64_MAX : 0));
}

static bool
subject_codec_varint_read(SubjectReader *reader, uint64_t *value)
{
	uint64_t result = 0;
	int shift;

	for (shift = 0; shift < 7 * SUBJECT_CODEC_MAX_VARINT; shift += 7)
	{
		uint8_t byte;

		if (reader->at == reader->end)
			break;
		byte = *reader->at++;
		/* the tenth byte holds one bit; a last byte of zero says nothing */
		if ((shift == 63 && byte > 1) || (shift > 0 && byte == 0))
			break;
		result |= (uint64_t) (byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
		{
			*value = result;
			return true;
		}
	}
	reader->corrupt = true;
	return false;
}

bool
subject_codec_begin(SubjectReader *reader, const void *data, size_t len)
{
	reader->at = (const uint8_t *) data;
	reader->end = reader->at + len;
	reader->members = 0;
	reader->previous = 0;
	reader->first = true;
	reader->corrupt = false;
	reader->left = 0;
	reader->format = 0;
	if (len < 2 || (reader->at[0] != SUBJECT_CODEC_DELTAS && reader->at[0] != SUBJECT_CODEC_RUNS))
	{
		reader->corrupt = true;
		return false;
	}
	reader->format = *reader->at++;
	if (!subject_codec_varint_read(reader, &reader->left))
		return false;
	/* every member takes a byte and every run two, so this bounds the loop too */
	if (reader->left >
		(uint64_t) (reader->end - reader->at) / (reader->format == SUBJECT_CODEC_RUNS ? 2 : 1))
	{
		reader->corrupt = true;
		return false;
	}
	return true;
}

void
subject_codec_skip(SubjectReader *reader, int64_t below)
{
	uint64_t target = (uint64_t) below ^ SIGN_BIT;
	uint64_t previous = reader->previous;
	const uint8_t *at = reader->at;
	const uint8_t *end = reader->end;

	if (reader->format != SUBJECT_CODEC_DELTAS || reader->first || reader->corrupt)
		return;
	if (reader->left < (uint64_t) (end - at))
		end = at + reader->left;
	/* A byte alone is a step of at most 128: that neither passes the target nor overflows. */
	while (at < end && *at < 0x80 && previous < target && target - previous > 128)
		previous += (uint64_t) *at++ + 1;
	reader->left -= (uint64_t) (at - reader->at);
	reader->members += (uint64_t) (at - reader->at);
	reader->previous = previous;
	reader->at = at;
}

bool
subject_codec_next(SubjectReader *reader, int64_t *lo, int64_t *hi)
{
	uint64_t start;
	uint64_t last;

	if (reader->corrupt)
		return false;
	if (reader->left == 0)
	{
		if (reader->at != reader->end)
			reader->corrupt = true;
		return false;
	}
	reader->left--;

	if (!subject_codec_varint_read(reader, &start))
		return false;
	if (reader->first)
	{
		start = (uint64_t) subject_codec_unzigzag(start) ^ SIGN_BIT;
		reader->first = false;
	}
	else
	{
		uint64_t step = reader->format == SUBJECT_CODEC_RUNS ? 2 : 1;

		if (__builtin_add_overflow(start, step, &start) ||
			__builtin_add_overflow(start, reader->previous, &start))
		{
			reader->corrupt = true;
			return false;
		}
	}

	last = start;
	if (reader->format == SUBJECT_CODEC_RUNS)
	{
		uint64_t more;

		if (!subject_codec_varint_read(reader, &more))
			return false;
		if (more >= SUBJECT_CODEC_MAX_MEMBERS || __builtin_add_overflow(start, more, &last))
		{
			reader->corrupt = true;
			return false;
		}
	}

	reader->members += last - start + 1;
	if (reader->members > SUBJECT_CODEC_MAX_MEMBERS)
	{
		reader->corrupt = true;
		return false;
	}
	reader->previous = last;
	*lo = (int64_t) (start ^ SIGN_BIT);
	*hi = (int64_t) (last ^ SIGN_BIT);
	return true;
}
