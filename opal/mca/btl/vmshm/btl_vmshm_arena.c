/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory for rings, heads and cells in this process's own windows.
 *
 * Everything is carved from the front of a window and then kept in stacks of equal pieces; a
 * process that needs more gets further windows of its VM's section, up to btl_vmshm_max_windows.
 *
 * Whoever waits must wait for something that comes back: a few cells of each size are set aside at
 * start, an eager message may use a large cell, and cells never take the part of a window that is
 * reserved for first rings and heads, without which a peer cannot be talked to at all.
 */
#include "opal_config.h"

#include "btl_vmshm_context.h"
#include "btl_vmshm_stream.h"
#include "vmshm_pause.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Tenths of a second for which a full section is given time to become free at start. */
#define FULL_TRIES 50

/* Ticks of the monitor (half a second each) after which a section that gave no window is asked again; twice
 * as many each time, for asking takes the section's mutex. */
#define RETRY_FIRST 2
#define RETRY_MOST  64

/* One in so many bytes of a further window is for first rings and heads. */
#define RESERVED_SHARE 8
/* Cells of each size that are set aside at start. */
static const unsigned int first_cells[MCA_BTL_VMSHM_CELL_CLASSES] = { 4, 2 };

static bool stack_push(mca_btl_vmshm_stack_t *stack, uint64_t item)
{
    if (stack->count == stack->room) {
        const uint32_t room = 0 == stack->room ? 64 : 2 * stack->room;
        uint64_t *items = realloc(stack->items, room * sizeof *items);

        if (NULL == items) {
            return false;
        }
        stack->items = items;
        stack->room = room;
    }
    stack->items[stack->count++] = item;
    return true;
}

static bool add_window(mca_btl_vmshm_arena_t *arena, uint64_t bytes, struct vmshm_error *e)
{
    mca_btl_vmshm_arena_window_t *w = &arena->windows[arena->count];

    if (VMSHM_OK != vmshm_window_alloc(&mca_btl_vmshm_context.member, bytes,
                                       VMSHM_KIND_PRIVATE, &w->index, &w->offset, e)) {
        return false;
    }
    w->length = vmshm_align_up(bytes, VMSHM_GRANULE_BYTES);
    w->used = 0;
    w->reserved = w->length / RESERVED_SHARE;
    arena->count += 1;
    return true;
}

/* A window beyond the first, if this process may have one and the section has one. A section that is
 * full now will not be for ever: other jobs end. Lock held. */
static bool grow(mca_btl_vmshm_arena_t *arena)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const uint32_t now = vmshm_load_relaxed(&c->ticks);

    if (arena->count >= c->max_windows
        || (0 != arena->retry_after && now - arena->refused_at < arena->retry_after)) {
        return false;
    }
    if (add_window(arena, c->window_size, &arena->refusal)) {
        arena->retry_after = 0;
        return true;
    }
    arena->refused_at = now;
    arena->retry_after = 0 == arena->retry_after ? RETRY_FIRST
                         : 2 * arena->retry_after < RETRY_MOST ? 2 * arena->retry_after
                         : RETRY_MOST;
    if (!arena->refused) {
        /* Told from progress: locks are held here. */
        arena->refused = true;
        mca_btl_vmshm_alert();
    }
    return false;
}

bool mca_btl_vmshm_arena_refusal(mca_btl_vmshm_arena_t *arena, struct vmshm_error *e)
{
    bool news;

    OPAL_THREAD_LOCK(&arena->lock);
    news = arena->refused && !arena->refusal_told;
    if (news) {
        arena->refusal_told = true;
        *e = arena->refusal;
    }
    OPAL_THREAD_UNLOCK(&arena->lock);
    return news;
}

/* Lock held. Without `vital` the reserved part of each window is left alone. */
static uint64_t carve(mca_btl_vmshm_arena_t *arena, uint64_t bytes, bool vital)
{
    bytes = vmshm_align_up(bytes, VMSHM_LINE_BYTES);
    for (;;) {
        for (uint32_t i = 0; i < arena->count; ++i) {
            mca_btl_vmshm_arena_window_t *w = &arena->windows[i];

            if (bytes + (vital ? 0 : w->reserved) <= w->length - w->used) {
                const uint64_t offset = w->offset + w->used;
                w->used += bytes;
                return offset;
            }
        }
        if (bytes + (vital ? 0 : mca_btl_vmshm_context.window_size / RESERVED_SHARE)
                > mca_btl_vmshm_context.window_size
            || !grow(arena)) {
            return 0;
        }
    }
}

/* Does memory of this section wait for readers to let it go? */
static bool has_quarantine(void)
{
    const struct vmshm_member *m = &mca_btl_vmshm_context.member;

    for (uint32_t i = 0; i < m->segment.header.windows; ++i) {
        if (VMSHM_WINDOW_QUARANTINE
            == vmshm_load_relaxed(&vmshm_window_of(&m->segment, m->id.vm, i)->state)) {
            return true;
        }
    }
    return false;
}

/* One line more than the payload, so that the cells of a class do not all start in the same cache
 * set. */
static uint64_t cell_stride(const mca_btl_vmshm_arena_t *arena, int cell_class)
{
    return arena->cell_bytes[cell_class] + VMSHM_LINE_BYTES;
}

int mca_btl_vmshm_arena_init(mca_btl_vmshm_arena_t *arena, uint64_t first_bytes,
                             uint64_t vital_bytes, size_t eager_bytes, size_t max_bytes,
                             struct vmshm_error *e)
{
    uint64_t bytes = first_bytes + vital_bytes;

    memset(arena, 0, sizeof *arena);
    OBJ_CONSTRUCT(&arena->lock, opal_mutex_t);
    arena->cell_bytes[MCA_BTL_VMSHM_CELL_EAGER] = vmshm_align_up(eager_bytes, VMSHM_LINE_BYTES);
    arena->cell_bytes[MCA_BTL_VMSHM_CELL_MAX] = vmshm_align_up(max_bytes, VMSHM_LINE_BYTES);
    for (int i = 0; i < MCA_BTL_VMSHM_CELL_CLASSES; ++i) {
        bytes += first_cells[i] * cell_stride(arena, i);
    }
    /* The first window holds what every process needs, further ones what it turns out to need: peers
     * look into each other's first windows, and what lies close takes few pages of page tables. */
    if (mca_btl_vmshm_context.max_windows < 2 && bytes < mca_btl_vmshm_context.window_size) {
        bytes = mca_btl_vmshm_context.window_size;
    }
    /* What a job that died has left is free once each VM that read it has cleared away its own dead:
     * the first process there does. All VMs start a job at about the same time, so wait a little. */
    for (int tries = 0; !add_window(arena, bytes, e); ++tries) {
        if (VMSHM_ERR_FULL != e->code || tries >= FULL_TRIES || !has_quarantine()) {
            OBJ_DESTRUCT(&arena->lock);
            return e->code;
        }
        vmshm_pause_us(100000);
    }
    arena->windows[0].used = first_bytes;
    arena->windows[0].reserved = vital_bytes;
    for (int i = 0; i < MCA_BTL_VMSHM_CELL_CLASSES; ++i) {
        for (unsigned int n = 0; n < first_cells[i]; ++n) {
            if (!stack_push(&arena->cells[i], carve(arena, cell_stride(arena, i), false))) {
                mca_btl_vmshm_arena_fini(arena);
                return vmshm_fail(e, VMSHM_ERR_SYSTEM, "(memory)", "cells", "out of memory");
            }
        }
    }
    return VMSHM_OK;
}

void mca_btl_vmshm_arena_fini(mca_btl_vmshm_arena_t *arena)
{
    for (int i = 0; i < MCA_BTL_VMSHM_CELL_CLASSES; ++i) {
        free(arena->cells[i].items);
    }
    for (size_t i = 0; i < sizeof arena->rings / sizeof arena->rings[0]; ++i) {
        free(arena->rings[i].items);
    }
    free(arena->lines.items);
    for (size_t i = 0; i < MCA_BTL_VMSHM_PIECE_SIZES; ++i) {
        free(arena->pieces[i].free.items);
    }
    free(arena->pool);
    OBJ_DESTRUCT(&arena->lock);
    /* The windows go with the process slot: vmshm_leave(). */
}

uint64_t mca_btl_vmshm_cell_take(mca_btl_vmshm_arena_t *arena, int *cell_class)
{
    mca_btl_vmshm_stack_t *stack = &arena->cells[*cell_class];
    uint64_t cell;

    OPAL_THREAD_LOCK(&arena->lock);
    if (OPAL_LIKELY(stack->count > 0)) {
        cell = stack->items[--stack->count];
    } else {
        cell = carve(arena, cell_stride(arena, *cell_class), false);
        stack = &arena->cells[MCA_BTL_VMSHM_CELL_MAX];
        if (0 == cell && stack->count > 0) {
            cell = stack->items[--stack->count];
            *cell_class = MCA_BTL_VMSHM_CELL_MAX;
        }
    }
    OPAL_THREAD_UNLOCK(&arena->lock);
    return cell;
}

void mca_btl_vmshm_cell_give(mca_btl_vmshm_arena_t *arena, uint64_t cell, int cell_class)
{
    OPAL_THREAD_LOCK(&arena->lock);
    /* Without memory for the stack the cell is lost until the process ends: nothing breaks. */
    (void) stack_push(&arena->cells[cell_class], cell);
    OPAL_THREAD_UNLOCK(&arena->lock);
}

static int log2_of(uint32_t slots)
{
    return 31 - __builtin_clz(slots);
}

uint64_t mca_btl_vmshm_ring_take(mca_btl_vmshm_arena_t *arena, uint32_t slots, bool vital)
{
    mca_btl_vmshm_stack_t *stack = &arena->rings[log2_of(slots)];
    uint64_t ring;

    OPAL_THREAD_LOCK(&arena->lock);
    ring = stack->count > 0 ? stack->items[--stack->count]
                            : carve(arena, vmshm_ring_bytes(slots), vital);
    OPAL_THREAD_UNLOCK(&arena->lock);
    return ring;
}

void mca_btl_vmshm_ring_give(mca_btl_vmshm_arena_t *arena, uint64_t ring, uint32_t slots)
{
    OPAL_THREAD_LOCK(&arena->lock);
    (void) stack_push(&arena->rings[log2_of(slots)], ring);
    OPAL_THREAD_UNLOCK(&arena->lock);
}

uint64_t mca_btl_vmshm_line_take(mca_btl_vmshm_arena_t *arena)
{
    uint64_t line;

    OPAL_THREAD_LOCK(&arena->lock);
    line = arena->lines.count > 0 ? arena->lines.items[--arena->lines.count]
                                  : carve(arena, VMSHM_LINE_BYTES, true);
    OPAL_THREAD_UNLOCK(&arena->lock);
    return line;
}

void mca_btl_vmshm_line_give(mca_btl_vmshm_arena_t *arena, uint64_t line)
{
    OPAL_THREAD_LOCK(&arena->lock);
    (void) stack_push(&arena->lines, line);
    OPAL_THREAD_UNLOCK(&arena->lock);
}

/* Where pieces of that size lie that came back; NULL: more sizes than there are. Lock held. */
static mca_btl_vmshm_stack_t *pieces_of(mca_btl_vmshm_arena_t *arena, uint64_t bytes)
{
    for (int i = 0; i < MCA_BTL_VMSHM_PIECE_SIZES; ++i) {
        if (0 == arena->pieces[i].bytes) {
            arena->pieces[i].bytes = bytes;
        }
        if (bytes == arena->pieces[i].bytes) {
            return &arena->pieces[i].free;
        }
    }
    return NULL;
}

uint64_t mca_btl_vmshm_channel_take(mca_btl_vmshm_arena_t *arena, uint64_t bytes)
{
    mca_btl_vmshm_stack_t *stack;
    uint64_t channel;

    OPAL_THREAD_LOCK(&arena->lock);
    stack = pieces_of(arena, bytes);
    channel = NULL != stack && stack->count > 0 ? stack->items[--stack->count]
                                                : carve(arena, bytes, false);
    OPAL_THREAD_UNLOCK(&arena->lock);
    return channel;
}

void mca_btl_vmshm_channel_give(mca_btl_vmshm_arena_t *arena, uint64_t channel, uint64_t bytes)
{
    mca_btl_vmshm_stack_t *stack;

    OPAL_THREAD_LOCK(&arena->lock);
    stack = pieces_of(arena, bytes);
    if (NULL != stack) {
        (void) stack_push(stack, channel);
    }
    OPAL_THREAD_UNLOCK(&arena->lock);
}

/* Lock held. */
static void fill_pool(mca_btl_vmshm_arena_t *arena)
{
    const size_t stride = MCA_BTL_VMSHM_POOL_CHUNK + VMSHM_LINE_BYTES;
    const size_t most = mca_btl_vmshm_context.window_size / 2;
    const size_t size = mca_btl_vmshm_context.pool_size;
    const uint32_t room = (uint32_t) ((size < most ? size : most) / MCA_BTL_VMSHM_POOL_CHUNK);
    /* What is not to be had now may be later: see grow. */
    const uint64_t first = 0 == room ? 0 : carve(arena, room * stride, false);

    if (0 == first) {
        return;
    }
    arena->pool = malloc(room * sizeof *arena->pool);
    if (NULL == arena->pool) {
        arena->pool_lost = true;
        return;
    }
    for (uint32_t i = 0; i < room; ++i) {
        arena->pool[i] = first + i * stride;
    }
    arena->pool_room = arena->pool_count = room;
}

uint64_t mca_btl_vmshm_pool_take(mca_btl_vmshm_arena_t *arena)
{
    uint64_t place = 0;

    OPAL_THREAD_LOCK(&arena->lock);
    if (OPAL_UNLIKELY(NULL == arena->pool && !arena->pool_lost)) {
        fill_pool(arena);
    }
    if (OPAL_LIKELY(arena->pool_count > 0)) {
        place = arena->pool[arena->pool_first];
        arena->pool_first = arena->pool_first + 1 == arena->pool_room ? 0 : arena->pool_first + 1;
        arena->pool_count -= 1;
    }
    OPAL_THREAD_UNLOCK(&arena->lock);
    return place;
}

void mca_btl_vmshm_pool_give(mca_btl_vmshm_arena_t *arena, uint64_t place)
{
    OPAL_THREAD_LOCK(&arena->lock);
    arena->pool[(arena->pool_first + arena->pool_count) % arena->pool_room] = place;
    arena->pool_count += 1;
    OPAL_THREAD_UNLOCK(&arena->lock);
}
