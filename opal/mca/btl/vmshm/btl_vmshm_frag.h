/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A descriptor of this BTL. Its bytes stand in one of three places:
 *   small    in `bytes` here, copied into the slot when it is sent (up to MCA_BTL_VMSHM_SMALL_BYTES)
 *   cell     in shared memory: packed there once, the slot refers to it
 *   heap     malloc'ed while no cell was free; copied to a cell when one is
 */
#ifndef MCA_BTL_VMSHM_FRAG_H
#define MCA_BTL_VMSHM_FRAG_H

#include "btl_vmshm_context.h"

/* Every header of the upper layer. */
#define MCA_BTL_VMSHM_SMALL_SLOTS 4
#define MCA_BTL_VMSHM_SMALL_BYTES \
    (MCA_BTL_VMSHM_SMALL_SLOTS * VMSHM_SLOT_BYTES - VMSHM_SLOT_HEAD_BYTES)

struct mca_btl_vmshm_frag_t {
    mca_btl_base_descriptor_t base;
    mca_btl_base_segment_t segment;
    uint64_t cell;                      /* offset in the segment, 0: small or heap */
    void *heap;                         /* NULL: small or cell */
    int cell_class;
    mca_btl_base_tag_t tag;
    uint8_t kind;                       /* VMSHM_SLOT_* of a small one */
    uint8_t bytes[MCA_BTL_VMSHM_SMALL_BYTES];
};
typedef struct mca_btl_vmshm_frag_t mca_btl_vmshm_frag_t;

OBJ_CLASS_DECLARATION(mca_btl_vmshm_frag_t);

/* Cells that a peer may have at a time, and of these fragments of large messages, whose cells are larger. */
#define MCA_BTL_VMSHM_MOST_CELLS_OUT     512
#define MCA_BTL_VMSHM_MOST_FRAGMENTS_OUT 64

/* May the peer have another cell? Endpoint lock held. */
static inline bool mca_btl_vmshm_may_have_cell(const mca_btl_vmshm_endpoint_t *endpoint)
{
    return endpoint->out.cells_out < MCA_BTL_VMSHM_MOST_CELLS_OUT
           && endpoint->out.callbacks < MCA_BTL_VMSHM_MOST_FRAGMENTS_OUT;
}

/* May a fragment that is made now stand in a cell? What waits behind others would only hold it: a rank that
 * does not receive must not have all the windows. Endpoint lock held. */
static inline bool mca_btl_vmshm_belongs_in_cell(const mca_btl_vmshm_endpoint_t *endpoint)
{
    return opal_list_is_empty((opal_list_t *) &endpoint->out.pending)
           && mca_btl_vmshm_may_have_cell(endpoint);
}

/* A fragment with room for `size` bytes (at most the largest cell), in_cell if that is longer than a small
 * one; NULL when memory is gone. */
mca_btl_vmshm_frag_t *mca_btl_vmshm_frag_take(size_t size, uint32_t flags, bool in_cell);

/* Give it and what it still holds back. */
void mca_btl_vmshm_frag_give(mca_btl_vmshm_frag_t *frag);

/* The peer has consumed it: callback, then give it back if it is ours. No lock held. */
void mca_btl_vmshm_frag_complete(mca_btl_vmshm_endpoint_t *endpoint, mca_btl_vmshm_frag_t *frag,
                                 int status);

/* Give back the cell that is kept for the next message to the peer. Endpoint lock held. */
void mca_btl_vmshm_next_cell_give(mca_btl_vmshm_endpoint_t *endpoint);

/* Open MPI's btl_alloc and btl_free. */
mca_btl_base_descriptor_t *mca_btl_vmshm_alloc(struct mca_btl_base_module_t *btl,
                                               struct mca_btl_base_endpoint_t *endpoint,
                                               uint8_t order, size_t size, uint32_t flags);
int mca_btl_vmshm_free(struct mca_btl_base_module_t *btl, mca_btl_base_descriptor_t *des);

static inline int mca_btl_vmshm_cell_class(size_t size)
{
    return size <= mca_btl_vmshm_context.memory.cell_bytes[MCA_BTL_VMSHM_CELL_EAGER]
           ? MCA_BTL_VMSHM_CELL_EAGER : MCA_BTL_VMSHM_CELL_MAX;
}

#endif
