/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the transport has of the process's memory in the segment: cells, rings, heads, channels, the pool.
 * Offsets in the segment, 0 when there is none. Thread-safe.
 *
 * What comes and goes with each message, cells and places of the pool, is kept here; the rest goes back to the
 * arena (vmshm_arena.h).
 */
#ifndef MCA_BTL_VMSHM_MEMORY_H
#define MCA_BTL_VMSHM_MEMORY_H

#include "opal_config.h"

#include "btl_vmshm_compat.h"

#include "vmshm_attach.h"

/* Two sizes of cell: eager messages and fragments of large ones. */
enum { MCA_BTL_VMSHM_CELL_EAGER = 0, MCA_BTL_VMSHM_CELL_MAX = 1, MCA_BTL_VMSHM_CELL_CLASSES = 2 };

/* Offsets that can be handed out again, last in first out: the warmest comes first. */
struct mca_btl_vmshm_stack_t {
    uint64_t *items;
    uint32_t count;
    uint32_t room;
};
typedef struct mca_btl_vmshm_stack_t mca_btl_vmshm_stack_t;

struct mca_btl_vmshm_memory_t {
    struct vmshm_arena *arena;
    uint32_t first_slots;               /* of a first ring, which is vital */
    size_t pool_bytes;
    opal_mutex_t lock;                  /* everything below */
    mca_btl_vmshm_stack_t cells[MCA_BTL_VMSHM_CELL_CLASSES];
    size_t cell_bytes[MCA_BTL_VMSHM_CELL_CLASSES];
    uint64_t *pool;                     /* [pool_room], first in first out; NULL until needed */
    bool pool_lost;                     /* no memory for the list of its places */
    uint32_t pool_room;
    uint32_t pool_count;
    uint32_t pool_first;
};
typedef struct mca_btl_vmshm_memory_t mca_btl_vmshm_memory_t;

/* Sizes of cells, before the segment is attached. */
void mca_btl_vmshm_memory_set_up(mca_btl_vmshm_memory_t *memory, size_t eager_bytes, size_t max_bytes,
                                 uint32_t first_slots, size_t pool_bytes);
/* Bytes of the cells that it begins with, and those that `peers` first rings and heads need. */
uint64_t mca_btl_vmshm_memory_first_bytes(const mca_btl_vmshm_memory_t *memory);
uint64_t mca_btl_vmshm_memory_vital_bytes(const mca_btl_vmshm_memory_t *memory, uint32_t peers);
/* False: no memory. The arena has room for these cells. */
bool mca_btl_vmshm_memory_start(mca_btl_vmshm_memory_t *memory, struct vmshm_arena *arena);
void mca_btl_vmshm_memory_stop(mca_btl_vmshm_memory_t *memory);

/* *cell_class becomes the larger one, if only that has a cell left. */
uint64_t mca_btl_vmshm_cell_take(mca_btl_vmshm_memory_t *memory, int *cell_class);
void mca_btl_vmshm_cell_give(mca_btl_vmshm_memory_t *memory, uint64_t cell, int cell_class);
uint64_t mca_btl_vmshm_ring_take(mca_btl_vmshm_memory_t *memory, uint32_t slots);
void mca_btl_vmshm_ring_give(mca_btl_vmshm_memory_t *memory, uint64_t ring, uint32_t slots);
/* For a head. */
uint64_t mca_btl_vmshm_line_take(mca_btl_vmshm_memory_t *memory);
void mca_btl_vmshm_line_give(mca_btl_vmshm_memory_t *memory, uint64_t line);
/* For a channel or its places: leaves the cells that were set aside and the memory of first rings alone. */
uint64_t mca_btl_vmshm_channel_take(mca_btl_vmshm_memory_t *memory, uint64_t bytes);
void mca_btl_vmshm_channel_give(mca_btl_vmshm_memory_t *memory, uint64_t channel, uint64_t bytes);
/* Memory of MCA_BTL_VMSHM_POOL_CHUNK bytes out of btl_vmshm_pool_size: that which was not used for
 * longest, so that nobody has its lines in a small cache any more. */
uint64_t mca_btl_vmshm_pool_take(mca_btl_vmshm_memory_t *memory);
void mca_btl_vmshm_pool_give(mca_btl_vmshm_memory_t *memory, uint64_t place);

#endif
