/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A message that waits for memory must wait for memory that is certain to be freed. So a few cells of each size are
 * allocated at start, and an eager message may use a large cell. First rings and heads, without which there is no
 * communication with a peer at all, come from memory that the arena reserves ("vital").
 */
/* Modelled in test/model/ring.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm_memory.h"
#include "btl_vmshm_stream.h"

#include <stdlib.h>
#include <string.h>

/* Number of cells of each class that are allocated at start. */
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

/* One cache line more than the payload, so that the cells of a class do not all start in the same cache
 * set. */
static uint64_t cell_stride(const mca_btl_vmshm_memory_t *memory, int cell_class)
{
    return memory->cell_bytes[cell_class] + VMSHM_LINE_BYTES;
}

void mca_btl_vmshm_memory_set_up(mca_btl_vmshm_memory_t *memory, size_t eager_bytes, size_t max_bytes,
                                 uint32_t first_slots, size_t pool_bytes)
{
    memset(memory, 0, sizeof *memory);
    memory->cell_bytes[MCA_BTL_VMSHM_CELL_EAGER] = vmshm_align_up(eager_bytes, VMSHM_LINE_BYTES);
    memory->cell_bytes[MCA_BTL_VMSHM_CELL_MAX] = vmshm_align_up(max_bytes, VMSHM_LINE_BYTES);
    memory->first_slots = first_slots;
    memory->pool_bytes = pool_bytes;
}

uint64_t mca_btl_vmshm_memory_first_bytes(const mca_btl_vmshm_memory_t *memory)
{
    uint64_t bytes = 0;

    for (int i = 0; i < MCA_BTL_VMSHM_CELL_CLASSES; ++i) {
        bytes += first_cells[i] * cell_stride(memory, i);
    }
    return bytes;
}

uint64_t mca_btl_vmshm_memory_vital_bytes(const mca_btl_vmshm_memory_t *memory, uint32_t peers)
{
    return peers * (vmshm_ring_bytes(memory->first_slots) + sizeof(struct vmshm_head));
}

bool mca_btl_vmshm_memory_start(mca_btl_vmshm_memory_t *memory, struct vmshm_arena *arena)
{
    OBJ_CONSTRUCT(&memory->lock, opal_mutex_t);
    memory->arena = arena;
    for (int i = 0; i < MCA_BTL_VMSHM_CELL_CLASSES; ++i) {
        for (unsigned int n = 0; n < first_cells[i]; ++n) {
            const uint64_t cell = vmshm_arena_take(arena, cell_stride(memory, i), false);

            if (0 == cell || !stack_push(&memory->cells[i], cell)) {
                mca_btl_vmshm_memory_stop(memory);
                return false;
            }
        }
    }
    return true;
}

void mca_btl_vmshm_memory_stop(mca_btl_vmshm_memory_t *memory)
{
    for (int i = 0; i < MCA_BTL_VMSHM_CELL_CLASSES; ++i) {
        free(memory->cells[i].items);
    }
    free(memory->pool);
    OBJ_DESTRUCT(&memory->lock);
    memset(memory, 0, sizeof *memory);
}

uint64_t mca_btl_vmshm_cell_take(mca_btl_vmshm_memory_t *memory, int *cell_class)
{
    mca_btl_vmshm_stack_t *stack = &memory->cells[*cell_class];
    uint64_t cell;

    OPAL_THREAD_LOCK(&memory->lock);
    if (OPAL_LIKELY(stack->count > 0)) {
        cell = stack->items[--stack->count];
    } else {
        cell = vmshm_arena_take(memory->arena, cell_stride(memory, *cell_class), false);
        stack = &memory->cells[MCA_BTL_VMSHM_CELL_MAX];
        if (0 == cell && stack->count > 0) {
            cell = stack->items[--stack->count];
            *cell_class = MCA_BTL_VMSHM_CELL_MAX;
        }
    }
    OPAL_THREAD_UNLOCK(&memory->lock);
    return cell;
}

void mca_btl_vmshm_cell_give(mca_btl_vmshm_memory_t *memory, uint64_t cell, int cell_class)
{
    OPAL_THREAD_LOCK(&memory->lock);
    /* If the stack cannot grow the cell is leaked until the process ends, which is harmless. */
    (void) stack_push(&memory->cells[cell_class], cell);
    OPAL_THREAD_UNLOCK(&memory->lock);
}

static bool is_first(const mca_btl_vmshm_memory_t *memory, uint32_t slots)
{
    return slots == memory->first_slots;
}

uint64_t mca_btl_vmshm_ring_take(mca_btl_vmshm_memory_t *memory, uint32_t slots)
{
    return vmshm_arena_take(memory->arena, vmshm_ring_bytes(slots), is_first(memory, slots));
}

void mca_btl_vmshm_ring_give(mca_btl_vmshm_memory_t *memory, uint64_t ring, uint32_t slots)
{
    vmshm_arena_give(memory->arena, ring, vmshm_ring_bytes(slots), is_first(memory, slots));
}

uint64_t mca_btl_vmshm_line_take(mca_btl_vmshm_memory_t *memory)
{
    return vmshm_arena_take(memory->arena, VMSHM_LINE_BYTES, true);
}

void mca_btl_vmshm_line_give(mca_btl_vmshm_memory_t *memory, uint64_t line)
{
    vmshm_arena_give(memory->arena, line, VMSHM_LINE_BYTES, true);
}

uint64_t mca_btl_vmshm_channel_take(mca_btl_vmshm_memory_t *memory, uint64_t bytes)
{
    return vmshm_arena_take(memory->arena, bytes, false);
}

void mca_btl_vmshm_channel_give(mca_btl_vmshm_memory_t *memory, uint64_t channel, uint64_t bytes)
{
    vmshm_arena_give(memory->arena, channel, bytes, false);
}

/* Lock held. */
static void fill_pool(mca_btl_vmshm_memory_t *memory)
{
    const size_t stride = MCA_BTL_VMSHM_POOL_CHUNK + VMSHM_LINE_BYTES;
    const size_t most = memory->arena->window_bytes / 2;
    const size_t size = memory->pool_bytes;
    const uint32_t room = (uint32_t) ((size < most ? size : most) / MCA_BTL_VMSHM_POOL_CHUNK);
    /* If this fails it is tried again next time: the arena then asks the section again. */
    const uint64_t first = 0 == room ? 0 : vmshm_arena_take(memory->arena, room * stride, false);

    if (0 == first) {
        return;
    }
    memory->pool = malloc(room * sizeof *memory->pool);
    if (NULL == memory->pool) {
        memory->pool_lost = true;
        return;
    }
    for (uint32_t i = 0; i < room; ++i) {
        memory->pool[i] = first + i * stride;
    }
    memory->pool_room = memory->pool_count = room;
}

uint64_t mca_btl_vmshm_pool_take(mca_btl_vmshm_memory_t *memory)
{
    uint64_t place = 0;

    OPAL_THREAD_LOCK(&memory->lock);
    if (OPAL_UNLIKELY(NULL == memory->pool && !memory->pool_lost)) {
        fill_pool(memory);
    }
    if (OPAL_LIKELY(memory->pool_count > 0)) {
        place = memory->pool[memory->pool_first];
        memory->pool_first = memory->pool_first + 1 == memory->pool_room ? 0 : memory->pool_first + 1;
        memory->pool_count -= 1;
    }
    OPAL_THREAD_UNLOCK(&memory->lock);
    return place;
}

void mca_btl_vmshm_pool_give(mca_btl_vmshm_memory_t *memory, uint64_t place)
{
    OPAL_THREAD_LOCK(&memory->lock);
    memory->pool[(memory->pool_first + memory->pool_count) % memory->pool_room] = place;
    memory->pool_count += 1;
    OPAL_THREAD_UNLOCK(&memory->lock);
}
