/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocator for memory in this process's own windows, shared by all its components. Thread-safe, but every call takes
 * a mutex, so components keep free lists of their own for what they need per message.
 *
 * Addresses are offsets in the segment; 0 means none.
 */
#ifndef VMSHM_ARENA_H
#define VMSHM_ARENA_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmshm_events.h"
#include "vmshm_member.h"

/* Maximum number of windows of a process: the first, called the control window, and further ones. */
#define VMSHM_ARENA_MAX_WINDOWS 16

struct vmshm_arena_window {
    uint64_t offset;                    /* in the segment */
    uint64_t length;                    /* bytes */
    uint64_t start;                     /* bytes at its front that are the caller's: the control window's tables */
    uint64_t used;                      /* bytes carved so far, from the front */
    uint64_t live;                      /* of these, allocated and not freed */
    uint64_t reserved;                  /* bytes of the rest that only vital allocations may use */
    uint32_t index;                     /* in the section's window table */
};

/* Free list of one size and kind, last in first out, since the piece freed last is most likely still in the cache. */
struct vmshm_arena_pieces {
    uint64_t bytes;                     /* of each piece */
    bool vital;
    uint64_t *items;                    /* offsets in the segment */
    uint32_t count;                     /* items in use */
    uint32_t room;                      /* items allocated */
};

struct vmshm_arena {
    struct vmshm_member *member;
    struct vmshm_events *events;
    uint64_t window_bytes;              /* size of each further window */
    uint32_t max_windows;
    pthread_mutex_t lock;               /* protects everything below */
    struct vmshm_arena_window windows[VMSHM_ARENA_MAX_WINDOWS];
    uint32_t count;                     /* windows in use */
    struct vmshm_arena_pieces *pieces;  /* free lists */
    uint32_t sizes;                     /* number of free lists */
    /* Set when the section has no room for a further window. */
    struct vmshm_error refusal;         /* the reason, of the last attempt */
    bool refused;                       /* an attempt failed since the start */
    bool refusal_told;                  /* vmshm_arena_refusal() has returned it */
    uint64_t refused_at;                /* time of the last attempt, ms of CLOCK_MONOTONIC_COARSE */
    uint32_t retry_after;               /* ms after refused_at until the next attempt; 0: try at once */
};

struct vmshm_arena_options {
    uint64_t first_bytes;               /* in the first window, for ordinary allocations */
    uint64_t vital_bytes;               /* in addition, reserved for vital allocations */
    uint64_t window_bytes;              /* size of each further window */
    uint32_t max_windows;               /* 1 .. VMSHM_ARENA_MAX_WINDOWS */
};

/* Allocate the first window; its first control_bytes belong to the caller. Waits up to 5 s for windows that are still
 * in quarantine. Errors: those of vmshm_window_alloc(). */
int vmshm_arena_init(struct vmshm_arena *arena, struct vmshm_member *member, struct vmshm_events *events,
                     uint64_t control_bytes, const struct vmshm_arena_options *options, struct vmshm_error *e);
/* Free the private memory; the windows are released with the process slot, in vmshm_leave(). */
void vmshm_arena_fini(struct vmshm_arena *arena);

/* Provide room for the initial memory of a further component, in *window: room that was never allocated, or a further
 * window. Only its vital part is reserved. Errors: those of vmshm_window_alloc(), FULL. */
int vmshm_arena_provide(struct vmshm_arena *arena, uint64_t bytes, uint64_t vital_bytes, uint32_t *window,
                        struct vmshm_error *e);
/* The component has gone: undo the reservation for vital allocations. */
void vmshm_arena_unprovide(struct vmshm_arena *arena, uint64_t vital_bytes, uint32_t window);

/* Allocate `bytes`, rounded up to cache lines and aligned to a line: a freed piece if there is one, else new memory. A
 * window whose pieces have all been freed is carved anew. The content is undefined. vital: a peer cannot be reached without it; a part of each window is reserved for such allocations.
 * Returns 0 if there is no memory now; vmshm_arena_refusal() says why. */
uint64_t vmshm_arena_take(struct vmshm_arena *arena, uint64_t bytes, bool vital);
/* Free a piece that no peer reads any more. bytes and vital must be those of the allocation. */
void vmshm_arena_give(struct vmshm_arena *arena, uint64_t offset, uint64_t bytes, bool vital);

/* Did the section refuse a further window? Returns true only once, with the reason in *e. */
bool vmshm_arena_refusal(struct vmshm_arena *arena, struct vmshm_error *e);

#endif
