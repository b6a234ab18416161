/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocation of the transport's memory in the segment: cells, rings, heads, channels, the pool. Functions named
 * ..._take return an offset in the segment, 0: no memory. Thread-safe.
 *
 * Cells and pool buffers, which are taken and given back with each message, are cached here; everything else is
 * returned to the arena (vmshm_arena.h).
 */
#ifndef MCA_BTL_VMSHM_MEMORY_H
#define MCA_BTL_VMSHM_MEMORY_H

#include "opal_config.h"

#include "btl_vmshm_compat.h"

#include "vmshm_attach.h"

/* Two classes of cells: for eager messages, and for fragments of large messages. */
enum { MCA_BTL_VMSHM_CELL_EAGER = 0, MCA_BTL_VMSHM_CELL_MAX = 1, MCA_BTL_VMSHM_CELL_CLASSES = 2 };

/* Free offsets, last in first out, because the one used last is most likely still in the cache. */
struct mca_btl_vmshm_stack_t {
    uint64_t *items;
    uint32_t count;
    uint32_t room;
};
typedef struct mca_btl_vmshm_stack_t mca_btl_vmshm_stack_t;

struct mca_btl_vmshm_memory_t {
    struct vmshm_arena *arena;
    uint32_t first_slots;               /* size of a first ring, which uses reserved ("vital") memory */
    size_t pool_bytes;
    opal_mutex_t lock;                  /* protects everything below */
    mca_btl_vmshm_stack_t cells[MCA_BTL_VMSHM_CELL_CLASSES];
    size_t cell_bytes[MCA_BTL_VMSHM_CELL_CLASSES];
    uint64_t *pool;                     /* [pool_room], offsets, first in first out; NULL until needed */
    bool pool_lost;                     /* malloc of `pool` failed */
    uint32_t pool_room;
    uint32_t pool_count;
    uint32_t pool_first;
};
typedef struct mca_btl_vmshm_memory_t mca_btl_vmshm_memory_t;

/* Set the sizes. Called before the segment is attached. */
void mca_btl_vmshm_memory_set_up(mca_btl_vmshm_memory_t *memory, size_t eager_bytes, size_t max_bytes,
                                 uint32_t first_slots, size_t pool_bytes);
/* Bytes of the cells that are allocated at start, and bytes of the first rings and heads for `peers` peers. */
uint64_t mca_btl_vmshm_memory_first_bytes(const mca_btl_vmshm_memory_t *memory);
uint64_t mca_btl_vmshm_memory_vital_bytes(const mca_btl_vmshm_memory_t *memory, uint32_t peers);
/* Allocate the first cells. The arena was created with room for them. False: no memory. */
bool mca_btl_vmshm_memory_start(mca_btl_vmshm_memory_t *memory, struct vmshm_arena *arena);
void mca_btl_vmshm_memory_stop(mca_btl_vmshm_memory_t *memory);

/* Sets *cell_class to the larger class if only that has a cell left. */
uint64_t mca_btl_vmshm_cell_take(mca_btl_vmshm_memory_t *memory, int *cell_class);
void mca_btl_vmshm_cell_give(mca_btl_vmshm_memory_t *memory, uint64_t cell, int cell_class);
uint64_t mca_btl_vmshm_ring_take(mca_btl_vmshm_memory_t *memory, uint32_t slots);
void mca_btl_vmshm_ring_give(mca_btl_vmshm_memory_t *memory, uint64_t ring, uint32_t slots);
/* For a head. */
uint64_t mca_btl_vmshm_line_take(mca_btl_vmshm_memory_t *memory);
void mca_btl_vmshm_line_give(mca_btl_vmshm_memory_t *memory, uint64_t line);
/* For a channel or its buffers. Uses neither the first cells nor the memory reserved for first rings. */
uint64_t mca_btl_vmshm_channel_take(mca_btl_vmshm_memory_t *memory, uint64_t bytes);
void mca_btl_vmshm_channel_give(mca_btl_vmshm_memory_t *memory, uint64_t channel, uint64_t bytes);
/* The least recently used buffer of the pool (MCA_BTL_VMSHM_POOL_CHUNK bytes), whose lines were most likely evicted
 * from the cores' small caches. The pool has btl_vmshm_pool_size bytes. */
uint64_t mca_btl_vmshm_pool_take(mca_btl_vmshm_memory_t *memory);
void mca_btl_vmshm_pool_give(mca_btl_vmshm_memory_t *memory, uint64_t place);

#endif
