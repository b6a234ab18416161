/*
 * The sender's half of a ring: one producer, one consumer, one cache line per message.
 *
 * Position p lies in slot p & mask. The producer fills the payload and then stores the slot's word
 * with release; the consumer loads the word with acquire and owns the payload when the word's
 * sequence is p + 1. It frees slots by storing its head, in its own memory, with release; the
 * producer's acquire of the head makes sure that its next store to the slot comes after the
 * consumer's last load from it. One slot is always kept free for the switch to a larger ring.
 *
 * Lamport, "Proving the Correctness of Multiprocess Programs", IEEE TSE 3(2), 1977, has the queue;
 * the sequence in the slot (instead of a shared tail) saves the consumer a second cache miss.
 */
#ifndef MCA_BTL_VMSHM_RING_H
#define MCA_BTL_VMSHM_RING_H

#include "btl_vmshm.h"

/* After so many unreclaimed messages a sender of cells looks at the head, so that it reuses cells
 * that are still in the cache instead of walking through all it has. */
#define MCA_BTL_VMSHM_RECLAIM_AFTER 16

static inline bool mca_btl_vmshm_ring_has_room(const mca_btl_vmshm_endpoint_t *endpoint)
{
    return endpoint->tail - endpoint->head < endpoint->out_slots - 1;
}

static inline struct vmshm_slot *mca_btl_vmshm_ring_slot(const mca_btl_vmshm_endpoint_t *endpoint)
{
    return endpoint->out + (endpoint->tail & endpoint->out_mask);
}

/* The payload of the slot at the tail is written: let the peer see it. */
static inline void mca_btl_vmshm_ring_publish(mca_btl_vmshm_endpoint_t *endpoint, uint32_t kind,
                                              size_t inline_bytes, mca_btl_base_tag_t tag)
{
    struct vmshm_slot *slot = mca_btl_vmshm_ring_slot(endpoint);

    /* Payload and cell must be seen before the word. */
    vmshm_store_release(&slot->word, VMSHM_SLOT_WORD(endpoint->tail, inline_bytes, kind, tag));
    endpoint->tail += 1;
}

static inline void mca_btl_vmshm_ring_publish_cell(mca_btl_vmshm_endpoint_t *endpoint,
                                                   uint64_t cell, size_t bytes,
                                                   mca_btl_base_tag_t tag)
{
    const struct vmshm_cell_ref ref = { .offset = cell, .length = bytes };

    memcpy(mca_btl_vmshm_ring_slot(endpoint)->payload, &ref, sizeof ref);
    mca_btl_vmshm_ring_publish(endpoint, VMSHM_SLOT_CELL, 0, tag);
}

static inline mca_btl_vmshm_inflight_t *
mca_btl_vmshm_ring_inflight(const mca_btl_vmshm_endpoint_t *endpoint, uint64_t position)
{
    return endpoint->inflight + (position & endpoint->out_mask);
}

/* Make room for one message: the ring itself, the peer's progress, a larger ring. */
static inline bool mca_btl_vmshm_ring_make_room(mca_btl_vmshm_endpoint_t *endpoint)
{
    if (OPAL_UNLIKELY(NULL == endpoint->out)) {
        return OPAL_SUCCESS == mca_btl_vmshm_ring_open(endpoint);
    }
    if (OPAL_LIKELY(mca_btl_vmshm_ring_has_room(endpoint))) {
        return true;
    }
    return mca_btl_vmshm_ring_relieve(endpoint);
}

#endif
