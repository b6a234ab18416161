/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of this process in its own windows: offsets in the segment, 0 when there is none. Thread-safe.
 */
#ifndef MCA_BTL_VMSHM_ARENA_H
#define MCA_BTL_VMSHM_ARENA_H

#include "opal_config.h"

#include "opal/threads/mutex.h"

#include "vmshm_member.h"

/* Most windows of one process: the control window and those that hot pairs made it grow by. */
#define MCA_BTL_VMSHM_MAX_WINDOWS 16

/* Sizes of what a channel is made of. */
#define MCA_BTL_VMSHM_PIECE_SIZES 4

/* Two sizes of cell: eager messages and fragments of large ones. */
enum { MCA_BTL_VMSHM_CELL_EAGER = 0, MCA_BTL_VMSHM_CELL_MAX = 1, MCA_BTL_VMSHM_CELL_CLASSES = 2 };

struct mca_btl_vmshm_arena_window_t {
    uint64_t offset;
    uint64_t length;
    uint64_t used;
    uint64_t reserved;                  /* for first rings and heads */
    uint32_t index;
};
typedef struct mca_btl_vmshm_arena_window_t mca_btl_vmshm_arena_window_t;

/* Offsets that can be handed out again, last in first out: the warmest comes first. */
struct mca_btl_vmshm_stack_t {
    uint64_t *items;
    uint32_t count;
    uint32_t room;
};
typedef struct mca_btl_vmshm_stack_t mca_btl_vmshm_stack_t;

/* Memory of this process in its own windows. */
struct mca_btl_vmshm_arena_t {
    opal_mutex_t lock;
    mca_btl_vmshm_arena_window_t windows[MCA_BTL_VMSHM_MAX_WINDOWS];
    uint32_t count;
    /* The section gave no further window: why, and when it is asked again, in ticks of the monitor. */
    struct vmshm_error refusal;         /* of the last time */
    bool refused;
    bool refusal_told;
    uint32_t refused_at;
    uint32_t retry_after;               /* 0: ask at once */
    mca_btl_vmshm_stack_t cells[MCA_BTL_VMSHM_CELL_CLASSES];
    size_t cell_bytes[MCA_BTL_VMSHM_CELL_CLASSES];
    mca_btl_vmshm_stack_t rings[32];    /* by log2 of their slots */
    mca_btl_vmshm_stack_t lines;
    struct {
        uint64_t bytes;                 /* 0: unused */
        mca_btl_vmshm_stack_t free;
    } pieces[MCA_BTL_VMSHM_PIECE_SIZES];  /* of channels that came back */
    uint64_t *pool;                     /* [pool_room], first in first out; NULL until needed */
    bool pool_lost;                     /* no memory for the list of its places */
    uint32_t pool_room;
    uint32_t pool_count;
    uint32_t pool_first;
};
typedef struct mca_btl_vmshm_arena_t mca_btl_vmshm_arena_t;

/* first_bytes at the start of the first window are the caller's; it will need vital_bytes for first
 * rings and heads. */
int mca_btl_vmshm_arena_init(mca_btl_vmshm_arena_t *arena, uint64_t first_bytes,
                             uint64_t vital_bytes, size_t eager_bytes, size_t max_bytes,
                             struct vmshm_error *e);
void mca_btl_vmshm_arena_fini(mca_btl_vmshm_arena_t *arena);
/* *cell_class becomes the larger one, if only that has a cell left. */
uint64_t mca_btl_vmshm_cell_take(mca_btl_vmshm_arena_t *arena, int *cell_class);
void mca_btl_vmshm_cell_give(mca_btl_vmshm_arena_t *arena, uint64_t cell, int cell_class);
/* vital: a first ring, without which the peer cannot be talked to. */
uint64_t mca_btl_vmshm_ring_take(mca_btl_vmshm_arena_t *arena, uint32_t slots, bool vital);
void mca_btl_vmshm_ring_give(mca_btl_vmshm_arena_t *arena, uint64_t ring, uint32_t slots);
/* For a head. */
uint64_t mca_btl_vmshm_line_take(mca_btl_vmshm_arena_t *arena);
void mca_btl_vmshm_line_give(mca_btl_vmshm_arena_t *arena, uint64_t line);
/* For a channel or its places: leaves the cells that were set aside and the memory of first rings alone. */
uint64_t mca_btl_vmshm_channel_take(mca_btl_vmshm_arena_t *arena, uint64_t bytes);
void mca_btl_vmshm_channel_give(mca_btl_vmshm_arena_t *arena, uint64_t channel, uint64_t bytes);
/* Did the section refuse a further window? True once; *e says why. */
bool mca_btl_vmshm_arena_refusal(mca_btl_vmshm_arena_t *arena, struct vmshm_error *e);
/* Memory of MCA_BTL_VMSHM_POOL_CHUNK bytes out of btl_vmshm_pool_size: that which was not used for
 * longest, so that nobody has its lines in a small cache any more. */
uint64_t mca_btl_vmshm_pool_take(mca_btl_vmshm_arena_t *arena);
void mca_btl_vmshm_pool_give(mca_btl_vmshm_arena_t *arena, uint64_t place);

#endif
