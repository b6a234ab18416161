/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of this process in its own windows. All components of the process take from it. Thread-safe, under a
 * mutex: what is taken and given for each message a component keeps in lists of its own.
 *
 * Places are offsets in the segment, 0 when there is none.
 */
#ifndef VMSHM_ARENA_H
#define VMSHM_ARENA_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmshm_events.h"
#include "vmshm_member.h"

/* Most windows of one process: the first, or control window, and those that it grew by. */
#define VMSHM_ARENA_MAX_WINDOWS 16

struct vmshm_arena_window {
    uint64_t offset;
    uint64_t length;
    uint64_t used;
    uint64_t reserved;                  /* of the rest, for what is vital */
    uint32_t index;
};

/* Pieces of one size that came back, last in first out: the warmest comes first. */
struct vmshm_arena_pieces {
    uint64_t bytes;
    bool vital;
    uint64_t *items;
    uint32_t count;
    uint32_t room;
};

struct vmshm_arena {
    struct vmshm_member *member;
    struct vmshm_events *events;
    uint64_t window_bytes;              /* of each further window */
    uint32_t max_windows;
    pthread_mutex_t lock;               /* everything below */
    struct vmshm_arena_window windows[VMSHM_ARENA_MAX_WINDOWS];
    uint32_t count;
    struct vmshm_arena_pieces *pieces;
    uint32_t sizes;                     /* of pieces */
    /* The section gave no further window: why, and when it is asked again. */
    struct vmshm_error refusal;         /* of the last time */
    bool refused;
    bool refusal_told;
    uint64_t refused_at;                /* ms */
    uint32_t retry_after;               /* ms, 0: ask at once */
};

/* What the arena shall begin with. */
struct vmshm_arena_options {
    uint64_t first_bytes;               /* the first component's, in the first window */
    uint64_t vital_bytes;               /* and what it needs of vital memory */
    uint64_t window_bytes;              /* of each further window */
    uint32_t max_windows;               /* 1 .. VMSHM_ARENA_MAX_WINDOWS */
};

/* Take the first window; the control_bytes at its start are the caller's. Waits up to 5 s for memory that readers
 * are about to let go. Errors: those of vmshm_window_alloc(). */
int vmshm_arena_init(struct vmshm_arena *arena, struct vmshm_member *member, struct vmshm_events *events,
                     uint64_t control_bytes, const struct vmshm_arena_options *options, struct vmshm_error *e);
/* Forget everything; the windows go with the process slot: vmshm_leave(). */
void vmshm_arena_fini(struct vmshm_arena *arena);

/* A further component comes: room for what it begins with. Errors: those of vmshm_window_alloc(), FULL. */
int vmshm_arena_provide(struct vmshm_arena *arena, uint64_t bytes, uint64_t vital_bytes, struct vmshm_error *e);

/* So many bytes, rounded up to lines, on a line: one that came back, or new memory, which is zero where it
 * was never handed out. vital: something without which a peer cannot be talked to; a part of each window is
 * kept for that. 0: there is none now; vmshm_arena_refusal() says why. */
uint64_t vmshm_arena_take(struct vmshm_arena *arena, uint64_t bytes, bool vital);
/* Give it back: nobody reads it any more. bytes and vital as they were when it was taken. */
void vmshm_arena_give(struct vmshm_arena *arena, uint64_t offset, uint64_t bytes, bool vital);

/* Did the section refuse a further window? True once; *e says why. */
bool vmshm_arena_refusal(struct vmshm_arena *arena, struct vmshm_error *e);

#endif
