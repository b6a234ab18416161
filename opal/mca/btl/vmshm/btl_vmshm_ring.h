/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sender's half of a ring: one producer, one consumer, one cache line for a short message.
 *
 * Position p lies in slot p & mask. The producer fills the payload and then stores the slot's word
 * with release; the consumer loads the word with acquire and owns the payload when the word's
 * sequence is p + 1. It frees slots by storing its head, in its own memory, with release; the
 * producer's acquire of the head makes sure that its next store to the slot comes after the
 * consumer's last load from it. One slot is always kept free for the switch to a larger ring.
 *
 * A longer message goes on in the slots behind its first, which then hold no word but raw payload.
 * Any bytes may stand there, also those of a word that a later lap waits for. The consumer looks
 * at words only where a message begins; the producer therefore clears the slot behind a message
 * before it publishes the message, if anything but its own word of the last lap may stand in it.
 *
 * Each message but the shortest also says how much its sender has consumed of the ring in the other
 * direction: who talks in turn rarely has to fetch the line in which the peer keeps its head.
 *
 * Lamport, "Proving the Correctness of Multiprocess Programs", IEEE TSE 3(2), 1977, has the queue;
 * the sequence in the slot (instead of a shared tail) saves the consumer a second cache miss.
 */
/* Modelled in test/model/ring.pml: change both. */
#ifndef MCA_BTL_VMSHM_RING_H
#define MCA_BTL_VMSHM_RING_H

#include "btl_vmshm_check.h"

#include <string.h>

/* After so many unreclaimed slots a sender of cells looks at the head, so that it reuses cells that
 * are still in the cache instead of walking through all it has. */
#define MCA_BTL_VMSHM_RECLAIM_AFTER 16

/* --- btl_vmshm_open.c */
/* Make the ring towards the peer and ring its bell. Endpoint lock held. */
int mca_btl_vmshm_ring_open(mca_btl_vmshm_endpoint_t *endpoint);
/* No room for a message of so many slots, as far as we know: look at the peer's head, grow. False:
 * still no room. Endpoint lock held. */
bool mca_btl_vmshm_ring_relieve(mca_btl_vmshm_endpoint_t *endpoint, uint32_t slots);
/* Everything before `head` has been consumed: take it back. Endpoint lock held. */
void mca_btl_vmshm_reclaim_to(mca_btl_vmshm_endpoint_t *endpoint, uint64_t head);
/* Read the peer's head anew; takes back cells, moves consumed fragments to `done`. Endpoint lock
 * held. */
void mca_btl_vmshm_reclaim(mca_btl_vmshm_endpoint_t *endpoint);

/* --- in place */
/* Slots of a message of so many bytes that begins at `start` of its first. */
static inline uint32_t mca_btl_vmshm_ring_slots(size_t start, size_t bytes)
{
    return (uint32_t) ((start + bytes + VMSHM_SLOT_BYTES - 1) / VMSHM_SLOT_BYTES);
}

/* A message that fits into one slot without an ack has none. */
static inline size_t mca_btl_vmshm_ring_start(size_t bytes)
{
    return bytes <= VMSHM_SHORT_BYTES ? VMSHM_SHORT_START : VMSHM_SLOT_HEAD_BYTES;
}

/* Slots between the tail and the ring's end, if the message would not be in one piece there. */
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

/* A message of `slots` slots is at the tail: no word may seem to stand behind it. */
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

/* The message of `slots` slots at the tail is written: let the peer see it. */
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
    /* Payload, cell, cleared slot, and our loads from what is acknowledged, come before the word. */
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

/* Take back what the peer's last message acknowledged: needs no look at its memory. */
static inline void mca_btl_vmshm_reclaim_acked(mca_btl_vmshm_endpoint_t *endpoint)
{
    const uint64_t acked = mca_btl_vmshm_check_acked(endpoint);

    if (acked > endpoint->out.head) {
        mca_btl_vmshm_reclaim_to(endpoint, acked);
    }
}

/* Make room for a message of so many slots in one piece, at the tail: the ring itself, the peer's
 * progress, a larger ring. */
static inline bool mca_btl_vmshm_ring_make_room(mca_btl_vmshm_endpoint_t *endpoint, uint32_t slots)
{
    uint32_t pad;

    /* A ring that is not there has no slots. */
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
