/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pieces are carved from the front of a window; freed ones go to a free list per size. A process that needs more
 * memory gets further windows from its VM's section, up to max_windows.
 *
 * Part of each window is reserved for vital allocations, those without which a peer cannot be reached. Other
 * allocations take neither this part nor freed vital pieces: when memory is short they can wait until some is freed,
 * but a vital one might wait for ever.
 */
#include "vmshm_arena.h"

#include "vmshm_layout.h"
#include "vmshm_pause.h"

#include <stdlib.h>
#include <time.h>

/* How many tenths of a second vmshm_arena_init() waits for memory in a full section. */
#define FULL_TRIES 50

/* Milliseconds between attempts to get a further window from a full section. They double each time, since an
 * attempt takes the section's mutex. */
#define RETRY_FIRST 1000
#define RETRY_MOST  32000

/* 1/RESERVED_SHARE of each further window is reserved for vital allocations. */
#define RESERVED_SHARE 8

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

/* Lock held, or no other thread can reach the arena yet. */
static int add_window(struct vmshm_arena *arena, uint64_t bytes, uint64_t reserved, struct vmshm_error *e)
{
    struct vmshm_arena_window *w = &arena->windows[arena->count];
    int rc = vmshm_window_alloc(arena->member, bytes, VMSHM_KIND_PRIVATE, &w->index, &w->offset, e);

    if (VMSHM_OK == rc) {
        w->length = vmshm_align_up(bytes, VMSHM_GRANULE_BYTES);
        w->start = w->used = w->live = 0;
        w->reserved = reserved;
        arena->count += 1;
    }
    return rc;
}

int vmshm_arena_init(struct vmshm_arena *arena, struct vmshm_member *member, struct vmshm_events *events,
                     uint64_t control_bytes, const struct vmshm_arena_options *options, struct vmshm_error *e)
{
    uint64_t bytes = control_bytes + options->first_bytes + options->vital_bytes;

    *arena = (struct vmshm_arena) {
        .member = member, .events = events, .window_bytes = options->window_bytes,
        .max_windows = options->max_windows,
    };
    /* The first window holds only what every process needs. Peers read each other's first windows; if these are
     * small and close together, mapping them takes few page-table pages. */
    if (arena->max_windows < 2 && bytes < arena->window_bytes) {
        bytes = arena->window_bytes;
    }
    /* Windows of a job that died stay in quarantine until every VM that read them has cleaned up after its own dead
     * processes, which the first process to join there does. All VMs start a job at about the same time, so wait a
     * little. */
    for (int tries = 0; VMSHM_OK != add_window(arena, bytes, options->vital_bytes, e); ++tries) {
        if (VMSHM_ERR_FULL != e->code || tries >= FULL_TRIES || !vmshm_window_has_quarantined(member)) {
            return e->code;
        }
        vmshm_pause_us(100000);
    }
    arena->windows[0].start = arena->windows[0].used = control_bytes;
    pthread_mutex_init(&arena->lock, NULL);
    return VMSHM_OK;
}

void vmshm_arena_fini(struct vmshm_arena *arena)
{
    for (uint32_t i = 0; i < arena->sizes; ++i) {
        free(arena->pieces[i].items);
    }
    free(arena->pieces);
    arena->pieces = NULL;
    arena->sizes = arena->count = 0;
    pthread_mutex_destroy(&arena->lock);
}

int vmshm_arena_provide(struct vmshm_arena *arena, uint64_t bytes, uint64_t vital_bytes, uint32_t *window,
                        struct vmshm_error *e)
{
    const uint64_t all = bytes + vital_bytes;
    int rc = VMSHM_ERR_COUNT;

    pthread_mutex_lock(&arena->lock);
    for (uint32_t i = 0; VMSHM_OK != rc && i < arena->count; ++i) {
        struct vmshm_arena_window *w = &arena->windows[i];

        if (w->reserved + all <= w->length - w->used) {
            w->reserved += vital_bytes;
            *window = i;
            rc = VMSHM_OK;
        }
    }
    if (VMSHM_OK != rc && arena->count == VMSHM_ARENA_MAX_WINDOWS) {
        rc = vmshm_fail(e, VMSHM_ERR_FULL, arena->member->segment.path, "windows",
                        "this process has all the %u windows that it may have", VMSHM_ARENA_MAX_WINDOWS);
    } else if (VMSHM_OK != rc) {
        *window = arena->count;
        rc = add_window(arena, all, vital_bytes, e);
        /* As long as there may be more, it does not count as one of those by which the arena may grow. */
        arena->max_windows += VMSHM_OK == rc && arena->max_windows < VMSHM_ARENA_MAX_WINDOWS;
    }
    pthread_mutex_unlock(&arena->lock);
    return rc;
}

void vmshm_arena_unprovide(struct vmshm_arena *arena, uint64_t vital_bytes, uint32_t window)
{
    pthread_mutex_lock(&arena->lock);
    arena->windows[window].reserved -= vital_bytes;
    pthread_mutex_unlock(&arena->lock);
}

/* Get a window beyond the first, if this process may have one more and the section has room. If not, try again
 * later, since other jobs end. Lock held. */
static bool grow(struct vmshm_arena *arena)
{
    if (arena->count >= arena->max_windows
        || (0 != arena->retry_after && now_ms() - arena->refused_at < arena->retry_after)) {
        return false;
    }
    if (VMSHM_OK == add_window(arena, arena->window_bytes,
                               vmshm_align_up(arena->window_bytes, VMSHM_GRANULE_BYTES) / RESERVED_SHARE,
                               &arena->refusal)) {
        arena->retry_after = 0;
        return true;
    }
    arena->refused_at = now_ms();
    arena->retry_after = 0 == arena->retry_after ? RETRY_FIRST
                         : 2 * arena->retry_after < RETRY_MOST ? 2 * arena->retry_after
                         : RETRY_MOST;
    if (!arena->refused) {
        arena->refused = true;
        vmshm_alert(arena->events);
    }
    return false;
}

bool vmshm_arena_refusal(struct vmshm_arena *arena, struct vmshm_error *e)
{
    bool news;

    pthread_mutex_lock(&arena->lock);
    news = arena->refused && !arena->refusal_told;
    if (news) {
        arena->refusal_told = true;
        *e = arena->refusal;
    }
    pthread_mutex_unlock(&arena->lock);
    return news;
}

/* Lock held. Only vital allocations may use the reserved part of a window. */
static uint64_t carve(struct vmshm_arena *arena, uint64_t bytes, bool vital)
{
    for (;;) {
        for (uint32_t i = 0; i < arena->count; ++i) {
            struct vmshm_arena_window *w = &arena->windows[i];

            if (bytes + (vital ? 0 : w->reserved) <= w->length - w->used) {
                const uint64_t offset = w->offset + w->used;

                w->used += bytes;
                return offset;
            }
        }
        if (bytes + (vital ? 0 : arena->window_bytes / RESERVED_SHARE) > arena->window_bytes
            || !grow(arena)) {
            return 0;
        }
    }
}

/* The free list for this size and kind; NULL if there is none yet. Lock held. */
static struct vmshm_arena_pieces *pieces_of(const struct vmshm_arena *arena, uint64_t bytes, bool vital)
{
    for (uint32_t i = 0; i < arena->sizes; ++i) {
        if (bytes == arena->pieces[i].bytes && vital == arena->pieces[i].vital) {
            return &arena->pieces[i];
        }
    }
    return NULL;
}

static struct vmshm_arena_pieces *pieces_add(struct vmshm_arena *arena, uint64_t bytes, bool vital)
{
    struct vmshm_arena_pieces *all = realloc(arena->pieces, (arena->sizes + 1) * sizeof *all);

    if (NULL == all) {
        return NULL;
    }
    arena->pieces = all;
    all[arena->sizes] = (struct vmshm_arena_pieces) { .bytes = bytes, .vital = vital };
    return &all[arena->sizes++];
}

static bool push(struct vmshm_arena_pieces *pieces, uint64_t offset)
{
    if (pieces->count == pieces->room) {
        const uint32_t room = 0 == pieces->room ? 16 : 2 * pieces->room;
        uint64_t *items = realloc(pieces->items, room * sizeof *items);

        if (NULL == items) {
            return false;
        }
        pieces->items = items;
        pieces->room = room;
    }
    pieces->items[pieces->count++] = offset;
    return true;
}

/* The window of a piece. */
static struct vmshm_arena_window *window_of(struct vmshm_arena *arena, uint64_t offset)
{
    struct vmshm_arena_window *w = arena->windows;

    while (!vmshm_range_inside(offset, 1, w->offset, w->length)) {
        ++w;
    }
    return w;
}

/* All pieces of the window are free: forget them, so that its memory serves other sizes, too. Lock held. */
static void restart(struct vmshm_arena *arena, struct vmshm_arena_window *w)
{
    for (uint32_t i = 0; i < arena->sizes; ++i) {
        struct vmshm_arena_pieces *pieces = &arena->pieces[i];
        uint32_t kept = 0;

        for (uint32_t n = 0; n < pieces->count; ++n) {
            if (!vmshm_range_inside(pieces->items[n], 1, w->offset, w->length)) {
                pieces->items[kept++] = pieces->items[n];
            }
        }
        pieces->count = kept;
    }
    w->used = w->start;
}

uint64_t vmshm_arena_take(struct vmshm_arena *arena, uint64_t bytes, bool vital)
{
    struct vmshm_arena_pieces *pieces;
    uint64_t offset;

    bytes = vmshm_align_up(bytes, VMSHM_LINE_BYTES);
    pthread_mutex_lock(&arena->lock);
    pieces = pieces_of(arena, bytes, vital);
    offset = NULL != pieces && pieces->count > 0 ? pieces->items[--pieces->count]
                                                 : carve(arena, bytes, vital);
    if (0 != offset) {
        window_of(arena, offset)->live += bytes;
    }
    pthread_mutex_unlock(&arena->lock);
    return offset;
}

void vmshm_arena_give(struct vmshm_arena *arena, uint64_t offset, uint64_t bytes, bool vital)
{
    struct vmshm_arena_pieces *pieces;
    struct vmshm_arena_window *w;

    bytes = vmshm_align_up(bytes, VMSHM_LINE_BYTES);
    pthread_mutex_lock(&arena->lock);
    pieces = pieces_of(arena, bytes, vital);
    if (NULL == pieces) {
        pieces = pieces_add(arena, bytes, vital);
    }
    /* If the list cannot grow, the piece stays unused until the window is carved anew, which does no harm. */
    if (NULL != pieces) {
        (void) push(pieces, offset);
    }
    w = window_of(arena, offset);
    w->live -= bytes;
    if (0 == w->live) {
        restart(arena, w);
    }
    pthread_mutex_unlock(&arena->lock);
}
