/*
 * listen.c
 *		Events read back from this server's trail, for processes that act upon them.
 *
 * Whoever remembers where it went on misses none, whatever crashes: the trail is its queue,
 * for as long as ward.retention keeps it.
 * Reads below the recorded end, without locks (reader.c).  Raises WD3xx where the trail can't
 * be read.
 */
#include "trail/trail_int.h"

#include "miscadmin.h"
#include "utils/memutils.h"

/* See trail.h. */
void
trail_listen_node(char node[TRAIL_LISTEN_NODE])
{
	TrailState state;

	trail_append_state(&state);
	for (int i = 0; i < TRAIL_NODE_LENGTH; i++)
		snprintf(node + 2 * i, 3, "%02x", state.node[i]);
}

/* See trail.h. */
TrailPosition
trail_listen(TrailPosition from, const char *kind, TrailListener listener, void *arg)
{
	MemoryContext each =
		AllocSetContextCreate(CurrentMemoryContext, "pg_ward listen", ALLOCSET_DEFAULT_SIZES);
	/* Whoever was away for longer than evidence is kept goes on with what there is. */
	TrailPosition next = Max(from, trail_append_begin());
	TrailReader *reader = trail_reader_open(next);
	MemoryContext old = MemoryContextSwitchTo(each);
	TrailFrame frame;
	bool more = true;

	while (more && trail_reader_next(reader, &frame))
	{
		TrailHeard heard;
		TrailEventBody body;
		TrailField *fields;

		CHECK_FOR_INTERRUPTS();
		if (frame.kind == TRAIL_KIND_EVENT)
		{
			trail_decode_event(&frame, &body);
			if (strcmp(body.kind, kind) == 0)
			{
				fields = palloc(sizeof(TrailField) * Max(body.nfields, 1));
				for (int i = 0; i < body.nfields; i++)
				{
					fields[i].name = body.names[i];
					fields[i].value = body.values[i];
				}
				heard.position = frame.position;
				heard.at = frame.at;
				heard.database = frame.database;
				heard.fields = fields;
				heard.nfields = body.nfields;
				more = listener(&heard, arg);
			}
			MemoryContextReset(each);
		}
		if (more)
			next = frame.position + 1;
	}
	trail_reader_close(reader);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(each);
	return next;
}
