/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A descriptor of this BTL. Its data are in one of three places:
 *   small    in the field `bytes`; copied into the slots when it is sent (up to MCA_BTL_VMSHM_SMALL_BYTES)
 *   cell     in shared memory: packed there directly, the slot refers to the cell
 *   heap     in malloc'ed memory, because no cell was free; copied to a cell when it is sent
 */
#ifndef MCA_BTL_VMSHM_FRAG_H
#define MCA_BTL_VMSHM_FRAG_H

#include "btl_vmshm_context.h"

/* Large enough for every header of the upper layer. */
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

/* Most cells in flight to a peer, and most fragments in flight that need a callback: fragments of large messages,
 * which use the larger cells. */
#define MCA_BTL_VMSHM_MOST_CELLS_OUT     512
#define MCA_BTL_VMSHM_MOST_FRAGMENTS_OUT 64

/* May another cell be sent to the peer? Endpoint lock held. */
static inline bool mca_btl_vmshm_may_have_cell(const mca_btl_vmshm_endpoint_t *endpoint)
{
    return endpoint->out.cells_out < MCA_BTL_VMSHM_MOST_CELLS_OUT
           && endpoint->out.callbacks < MCA_BTL_VMSHM_MOST_FRAGMENTS_OUT;
}

/* May a fragment that is allocated now use a cell? Not if it has to wait behind pending fragments: otherwise
 * messages to a rank that does not receive could occupy all our windows. Endpoint lock held. */
static inline bool mca_btl_vmshm_belongs_in_cell(const mca_btl_vmshm_endpoint_t *endpoint)
{
    return opal_list_is_empty((opal_list_t *) &endpoint->out.pending)
           && mca_btl_vmshm_may_have_cell(endpoint);
}

/* A fragment with room for `size` bytes (at most the largest cell). If it is not a small one, in_cell says whether
 * to try to use a cell. NULL: size too large, or out of memory. */
mca_btl_vmshm_frag_t *mca_btl_vmshm_frag_take(size_t size, uint32_t flags, bool in_cell);

/* Free the fragment and the memory that it still holds. */
void mca_btl_vmshm_frag_give(mca_btl_vmshm_frag_t *frag);

/* The peer has consumed the fragment: call its callback, then free it if the BTL owns it. No lock held. */
void mca_btl_vmshm_frag_complete(mca_btl_vmshm_endpoint_t *endpoint, mca_btl_vmshm_frag_t *frag,
                                 int status);

/* Free the cell that is kept for the next message to the peer. Endpoint lock held. */
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
