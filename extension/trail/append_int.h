/*
 * append_int.h
 *		Shared by append.c and append_recover.c; no one else needs it.
 */
#ifndef WARD_TRAIL_APPEND_INT_H
#define WARD_TRAIL_APPEND_INT_H

#include "trail/trail_int.h"

#include "port/atomics.h"

typedef struct TrailShared
{
	LWLock *lock;
	LWLock *sync_lock;
	bool foreign;	 /* the trail in the directory is another server's; not to be touched */
	TrailFault why;	 /* as was found when the server started */
	bool ready;		 /* recovered since shared memory was made */
	bool announced;	 /* trail.started has been written, or is being by one of us */
	bool fresh;		 /* the trail was created by this recovery */
	bool switching;	 /* the next segment was begun, but not completed */
	bool leftovers;	 /* a write failed: its bytes may stand behind the end */
	bool distrusted; /* what was written is not there any more: distrust says what */
	TrailFault distrust;
	uint64 torn; /* bytes that recovery moved aside */
	uint8 node[TRAIL_NODE_LENGTH];
	TrailTree tree;
	TrailPosition segment; /* the segment that is written */
	uint64 offset;		   /* where its next frame goes */
	uint64 before;		   /* bytes of the segments before it */
	uint64 last_frame;	   /* where its last one stands; 0: it has none */
	uint8 last_head[TRAIL_FRAME_HEADER];
	uint64 seen_frame; /* the last one when a process last looked at the file */
	uint8 seen_head[TRAIL_FRAME_HEADER];
	int64 last_at;
	pg_atomic_uint64 end;	 /* = tree.size, for readers without the lock */
	pg_atomic_uint64 floor;	 /* nothing that is appended refers to a record before it */
	pg_atomic_uint64 begin;	 /* the cut in force: what is before it was pruned */
	pg_atomic_uint64 synced; /* positions below are on disk */
} TrailShared;

/* append.c: makes a descriptor this process's of the segment that is written. */
extern void trail_append_adopt(int fd, TrailPosition segment);

/* append_recover.c: brings the state up from the files.  Caller holds the lock exclusively. */
extern bool trail_append_recover(TrailShared *shared, TrailFault *fault);

#endif /* WARD_TRAIL_APPEND_INT_H */
