/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sender's half of a ring: one producer, one consumer, one cache line for a short message.
 *
 * Position p is in slot p & mask. The producer fills the payload and then stores the slot's word with
 * release; the consumer loads the word with acquire, and may read the payload if the word's sequence
 * number is p + 1. The consumer frees slots by storing its head, in its own memory, with release; the
 * producer's acquire of the head ensures that the producer's next store to the slot comes after the
 * consumer's last load from it. One slot is always kept free for the switch to a larger ring.
 *
 * A longer message continues in the slots after its first, which then hold raw payload instead of a
 * word. That payload may happen to look like the word of a later lap. The consumer looks at words only
 * where a message can begin; so before publishing a message the producer clears the word of the slot
 * after it, unless that slot still holds the producer's own word of the previous lap.
 *
 * Each message except the shortest kind also acknowledges how much its sender has consumed of the ring in
 * the other direction, so that two peers that alternate rarely fetch the cache line of each other's head.
 *
 * For the queue see Lamport, "Proving the Correctness of Multiprocess Programs", IEEE TSE 3(2), 1977.
 * The sequence number in the slot, instead of a shared tail, saves the consumer a second cache miss.
 */
/* Modelled in test/model/ring.pml: change both. */
#ifndef MCA_BTL_VMSHM_RING_H
#define MCA_BTL_VMSHM_RING_H

#include "btl_vmshm_check.h"

#include <string.h>

/* With this many unreclaimed slots a sender of cells reads the peer's head, in order to reuse cells that
 * are still in the cache instead of cycling through all its cells. */
#define MCA_BTL_VMSHM_RECLAIM_AFTER 16

/* --- btl_vmshm_open.c */
/* Create the ring to the peer and ring the peer's bell. Endpoint lock held. */
int mca_btl_vmshm_ring_open(mca_btl_vmshm_endpoint_t *endpoint);
/* Called when there seems to be no room for a message of `slots` slots: read the peer's head, then grow
 * the ring. False: still no room. Endpoint lock held. */
bool mca_btl_vmshm_ring_relieve(mca_btl_vmshm_endpoint_t *endpoint, uint32_t slots);
/* Free everything before `head`, which has been consumed. Endpoint lock held. */
void mca_btl_vmshm_reclaim_to(mca_btl_vmshm_endpoint_t *endpoint, uint64_t head);
/* Read the peer's head, free the consumed cells, move consumed fragments to `done`. Endpoint lock
 * held. */
void mca_btl_vmshm_reclaim(mca_btl_vmshm_endpoint_t *endpoint);

/* --- inline functions */
/* Number of slots of a message of `bytes` bytes that begins at byte `start` of its first slot. */
static inline uint32_t mca_btl_vmshm_ring_slots(size_t start, size_t bytes)
{
    return (uint32_t) ((start + bytes + VMSHM_SLOT_BYTES - 1) / VMSHM_SLOT_BYTES);
}

/* Byte of the first slot at which a message begins. A message has no ack if it then fits into one slot. */
static inline size_t mca_btl_vmshm_ring_start(size_t bytes)
{
    return bytes <= VMSHM_SHORT_BYTES ? VMSHM_SHORT_START : VMSHM_SLOT_HEAD_BYTES;
}

/* Number of slots to skip at the ring's end, so that the message is contiguous; 0: none. */
static inline uint32_t mca_btl_vmshm_ring_pad(const mca_btl_vmshm_endpoint_t *endpoint,
                                              uint32_t slots)
{
    const uint32_t left = endpoint->out.slots - (uint32_t) (endpoint->out.tail & endpoint->out.mask);

    return slots <= left ? 0 : left;
}

static inline bool mca_btl_vmshm_ring_has_room(const mca_btl_vmshm_endpoint_t *endpoint,
                                               uint32_t slots)
{
    const uint32_t pad = 1 == slots ? 0 : mca_btl_vmshm_ring_pad(endpoint, slots);

    return endpoint->out.tail - endpoint->out.head + slots + pad < endpoint->out.slots;
}

static inline struct vmshm_slot *mca_btl_vmshm_ring_slot(const mca_btl_vmshm_endpoint_t *endpoint)
{
    return endpoint->out.ring + (endpoint->out.tail & endpoint->out.mask);
}

static inline mca_btl_vmshm_inflight_t *
mca_btl_vmshm_ring_inflight(const mca_btl_vmshm_endpoint_t *endpoint, uint64_t position)
{
    return endpoint->out.inflight + (position & endpoint->out.mask);
}

/* Ensure that the slot after the message of `slots` slots at the tail does not look like a published word. */
static inline void mca_btl_vmshm_ring_clear_next(mca_btl_vmshm_endpoint_t *endpoint, uint32_t slots)
{
    const uint64_t next = endpoint->out.tail + slots;
    bool *stale = endpoint->out.stale + (endpoint->out.tail & endpoint->out.mask);

    endpoint->out.stales -= stale[0];
    stale[0] = false;
    for (uint32_t i = 1; i < slots; ++i) {
        endpoint->out.stales += !stale[i];
        stale[i] = true;
    }
    stale = endpoint->out.stale + (next & endpoint->out.mask);
    if (*stale) {
        vmshm_store_relaxed(&endpoint->out.ring[next & endpoint->out.mask].word,
                            VMSHM_SLOT_CLEAR(next));
        endpoint->out.stales -= 1;
        *stale = false;
    }
}

/* Publish the message of `slots` slots at the tail, whose payload is complete. */
static inline void mca_btl_vmshm_ring_publish(mca_btl_vmshm_endpoint_t *endpoint, uint32_t kind,
                                              uint32_t slots, size_t start, size_t bytes,
                                              mca_btl_base_tag_t tag)
{
    struct vmshm_slot *slot = mca_btl_vmshm_ring_slot(endpoint);
    if (slots > 1 || 0 != endpoint->out.stales) {
        mca_btl_vmshm_ring_clear_next(endpoint, slots);
    }
    if (start >= VMSHM_SLOT_HEAD_BYTES) {
        slot->ack = (uint32_t) vmshm_load_acquire(&endpoint->in.consumed);
    }
    /* Orders the payload, the cell, the cleared slot, and our loads from the acknowledged slots before the word. */
    vmshm_store_release(&slot->word, VMSHM_SLOT_WORD(endpoint->out.tail, start, bytes, kind, tag));
    endpoint->out.tail += slots;
}

static inline void mca_btl_vmshm_ring_publish_cell(mca_btl_vmshm_endpoint_t *endpoint,
                                                   uint64_t cell, size_t bytes,
                                                   mca_btl_base_tag_t tag)
{
    const struct vmshm_cell_ref ref = { .offset = cell, .length = bytes };

    memcpy(mca_btl_vmshm_ring_slot(endpoint)->payload, &ref, sizeof ref);
    mca_btl_vmshm_ring_publish(endpoint, VMSHM_SLOT_CELL, 1, VMSHM_SLOT_HEAD_BYTES, sizeof ref,
                               tag);
}

/* Free what the peer's last message acknowledged. Does not read the peer's memory. */
static inline void mca_btl_vmshm_reclaim_acked(mca_btl_vmshm_endpoint_t *endpoint)
{
    const uint64_t acked = mca_btl_vmshm_check_acked(endpoint);

    if (acked > endpoint->out.head) {
        mca_btl_vmshm_reclaim_to(endpoint, acked);
    }
}

/* Make room for a contiguous message of `slots` slots at the tail. If need be create the ring, read how
 * far the peer has come, or grow the ring. */
static inline bool mca_btl_vmshm_ring_make_room(mca_btl_vmshm_endpoint_t *endpoint, uint32_t slots)
{
    uint32_t pad;

    /* A ring that does not exist yet has 0 slots, and so no room. */
    if (OPAL_UNLIKELY(!mca_btl_vmshm_ring_has_room(endpoint, slots))
        && !mca_btl_vmshm_ring_relieve(endpoint, slots)) {
        return false;
    }
    if (1 == slots) {
        return true;
    }
    pad = mca_btl_vmshm_ring_pad(endpoint, slots);
    if (OPAL_UNLIKELY(pad > 0)) {
        mca_btl_vmshm_ring_publish(endpoint, VMSHM_SLOT_PAD, pad, VMSHM_SHORT_START, 0, 0);
    }
    return true;
}

#endif
