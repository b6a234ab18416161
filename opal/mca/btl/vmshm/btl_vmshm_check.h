/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a peer writes, and what is checked of it.
 *
 * A peer may write into its own section and windows what it likes, at any time. Nothing else of the transport reads
 * a peer's memory: the functions here copy what they read, check the copy, and return private values. Pointers into
 * a peer's memory come from here, and those that an endpoint keeps (in.ring, out.peer_head, streams->channel_in) are
 * followed here. The bytes of a message are the upper layer's, which trusts the processes of its job: of these
 * only the place is checked.
 *
 *   its tables of rings and heads    an offset, 0: none        mca_btl_vmshm_check_entry()
 *   a ring                           magic, for whom, slots    mca_btl_vmshm_check_ring()
 *   a slot's word                    number                    mca_btl_vmshm_word_at(), mca_btl_vmshm_check_silent()
 *                                    kind, length, start       mca_btl_vmshm_check_slots()
 *                                    tag                       mca_btl_vmshm_is_taken_by()
 *   a slot's content                 reference to a cell       mca_btl_vmshm_check_cell()
 *                                    offset, pull              mca_btl_vmshm_read_offset(), mca_btl_vmshm_read_pull()
 *   how far it read our ring         in a slot                 mca_btl_vmshm_heed_ack(), mca_btl_vmshm_check_acked()
 *                                    in a head                 mca_btl_vmshm_check_head(), mca_btl_vmshm_check_consumed()
 *   how many chunks it took          in the same head          mca_btl_vmshm_check_chunks()
 *   a channel                        magic, for whom, chunks   mca_btl_vmshm_check_channel()
 *   a chunk's description            number, message, place    mca_btl_vmshm_check_chunk(), mca_btl_vmshm_check_place()
 *
 * Who a peer is, its windows and its VM's state are checked below, in vmshm_check.h of the common library.
 *
 * What is not allowed ends in vmshm_peer_broken(), here or in the caller: the peer is named, and the job ends.
 */
/* Modelled in test/model/ring.pml: change both. */
#ifndef MCA_BTL_VMSHM_CHECK_H
#define MCA_BTL_VMSHM_CHECK_H

#include "btl_vmshm_context.h"
#include "btl_vmshm_stream.h"

/* --- the receiver's half. Called by the poller only. */

/* What the sender published at this position, if the number in it is position + 1. Pairs with the release in
 * mca_btl_vmshm_ring_publish() there: payload and cell are complete. */
static inline uint64_t mca_btl_vmshm_word_at(const struct vmshm_slot *slot)
{
    return vmshm_load_acquire(&slot->word);
}

static inline const struct vmshm_slot *mca_btl_vmshm_next_slot(const mca_btl_vmshm_endpoint_t *endpoint)
{
    return endpoint->in.ring + (endpoint->in.position & endpoint->in.mask);
}

/* Watch for the next message. */
static inline void mca_btl_vmshm_watch_set(mca_btl_vmshm_watch_t *watch, mca_btl_vmshm_endpoint_t *endpoint)
{
    watch->slot = mca_btl_vmshm_next_slot(endpoint);
    watch->next = (uint32_t) (endpoint->in.position + 1);
    watch->idle = 0;
    watch->endpoint = endpoint;
}

/* Is somebody there to take messages of that tag? */
static inline bool mca_btl_vmshm_is_taken_by(mca_btl_base_tag_t tag)
{
    return NULL != mca_btl_base_active_message_trigger[tag].cbfunc;
}

/* A message of one slot without an ack, and nothing wrong with it? */
static inline bool mca_btl_vmshm_is_short(uint64_t word)
{
    return VMSHM_SLOT_FORM(word) == VMSHM_FORM_SHORT && VMSHM_SLOT_LEN(word) <= VMSHM_SHORT_BYTES
           && mca_btl_vmshm_is_taken_by(VMSHM_SLOT_TAG(word));
}

/* The whole slot. */
static inline void mca_btl_vmshm_copy_slot(uint8_t copy[VMSHM_SLOT_BYTES], const struct vmshm_slot *slot)
{
    vmshm_copy_in(copy, slot, VMSHM_SLOT_BYTES);
}

/* How many slots the message at the position takes, 0: what its word says is not allowed. */
static inline uint32_t mca_btl_vmshm_check_slots(const mca_btl_vmshm_endpoint_t *endpoint, uint64_t word)
{
    const uint32_t left = endpoint->in.mask + 1 - (uint32_t) (endpoint->in.position & endpoint->in.mask);
    const uint32_t start = VMSHM_SLOT_START(word);
    uint32_t slots;

    switch (VMSHM_SLOT_KIND(word)) {
    case VMSHM_SLOT_INLINE:
        slots = (start + VMSHM_SLOT_LEN(word) + VMSHM_SLOT_BYTES - 1) / VMSHM_SLOT_BYTES;
        return start >= VMSHM_SLOT_HEAD_BYTES && slots <= VMSHM_INLINE_SLOTS && slots <= left ? slots : 0;
    case VMSHM_SLOT_PAD:
        return left;
    default:
        return 1;
    }
}

/* Note how much the peer says that it has consumed of our ring. */
static inline void mca_btl_vmshm_heed_ack(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_slot *slot)
{
    const uint32_t low = vmshm_load_relaxed(&slot->ack);

    /* Of a peer that was silent for 2^32 slots the sum stays behind: that is safe. */
    vmshm_store_release(&endpoint->in.ack,
                        endpoint->in.ack + (uint32_t) (low - (uint32_t) endpoint->in.ack));
}

/* An offset in a slot: of a ring or a channel, which are checked as such. */
static inline uint64_t mca_btl_vmshm_read_offset(const struct vmshm_slot *slot)
{
    uint64_t offset;

    vmshm_copy_in(&offset, slot->payload, sizeof offset);
    return offset;
}

/* A pull in a slot: whether there is such a stream is looked up in our own table. */
static inline struct vmshm_pull mca_btl_vmshm_read_pull(const struct vmshm_slot *slot)
{
    struct vmshm_pull pull;

    vmshm_copy_in(&pull, slot->payload, sizeof pull);
    return pull;
}

/* The cell that the slot refers to, *bytes long; NULL: the peer is broken, or what it wrote cannot be read. */
const void *mca_btl_vmshm_check_cell(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_slot *slot,
                                     size_t *bytes);

/* No message stands at the position. Can one ever come there? */
void mca_btl_vmshm_check_silent(mca_btl_vmshm_endpoint_t *endpoint);

/* What the peer's table of rings or of heads says for this process: an offset, 0 for none. */
uint64_t mca_btl_vmshm_check_entry(mca_btl_vmshm_endpoint_t *endpoint, uint64_t table);

/* A ring of the peer's for this process. */
struct mca_btl_vmshm_found_ring_t {
    const struct vmshm_slot *slots;
    uint32_t mask;
    uint64_t first;                     /* position of the first message */
};
typedef struct mca_btl_vmshm_found_ring_t mca_btl_vmshm_found_ring_t;

/* False: it is of an earlier owner of either slot (*why is NULL), or *why says what is wrong with it. */
bool mca_btl_vmshm_check_ring(mca_btl_vmshm_endpoint_t *endpoint, uint64_t offset,
                              mca_btl_vmshm_found_ring_t *ring, const char **why);

/* A channel of the peer's for this process, and the mask of its chunks' numbers. NULL: *why says what is wrong. */
const struct vmshm_channel *mca_btl_vmshm_check_channel(mca_btl_vmshm_endpoint_t *endpoint, uint64_t offset,
                                                        uint32_t *mask, const char **why);

/* The description of the next chunk. False: it has not come, or the peer is broken. */
bool mca_btl_vmshm_check_chunk(mca_btl_vmshm_endpoint_t *endpoint, struct vmshm_chunk *chunk);
/* Where its bytes stand, of a message of `size` bytes of which `done` have come. NULL: the peer is broken. */
const uint8_t *mca_btl_vmshm_check_place(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_chunk *chunk,
                                         size_t done, size_t size);

/* --- the sender's half. Endpoint lock held. */

/* The line of the peer's head was read: until the peer writes it again it is in our cache. */
static inline void mca_btl_vmshm_head_seen(mca_btl_vmshm_endpoint_t *endpoint)
{
    endpoint->out.line_seen = vmshm_load_relaxed(&endpoint->out.peer_head->head)
                              + vmshm_load_relaxed(&endpoint->out.peer_head->chunks);
}

/* Fetch that line. What stands in it is used for nothing. */
static inline uint64_t mca_btl_vmshm_touch_head(const mca_btl_vmshm_endpoint_t *endpoint)
{
    return vmshm_load_acquire(&endpoint->out.peer_head->head);
}

/* Everything before that position was consumed, as the peer's last message says: needs no look at its memory. The
 * answer is never below what is known already. */
static inline uint64_t mca_btl_vmshm_check_acked(const mca_btl_vmshm_endpoint_t *endpoint)
{
    const uint64_t ack = vmshm_load_acquire(&endpoint->in.ack);

    /* Older than the head that was read from its memory, or a lie. */
    return ack > endpoint->out.head && ack <= endpoint->out.tail ? ack : endpoint->out.head;
}

/* The peer's head for our ring; NULL: it has made none yet, or is broken. */
const struct vmshm_head *mca_btl_vmshm_check_head(mca_btl_vmshm_endpoint_t *endpoint);
/* Everything before *head was consumed, as the peer's head says. False: the peer is broken. There is a head. */
bool mca_btl_vmshm_check_consumed(mca_btl_vmshm_endpoint_t *endpoint, uint64_t *head);
/* So many chunks were taken from our channel. False: the peer is broken. There is a head. */
bool mca_btl_vmshm_check_chunks(mca_btl_vmshm_endpoint_t *endpoint, uint64_t *taken);

#endif
