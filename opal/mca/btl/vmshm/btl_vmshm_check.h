/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading and checking what a peer wrote.
 *
 * A peer may write anything into its own section and windows at any time. Only this file and its .c file follow what
 * a peer wrote: the functions copy what they read, check the copy, and return private values, or a pointer to a place
 * in the peer's memory that was checked. Pointers that are kept (in.ring, out.peer_head, streams->channel_in, the slot
 * of a watch) are dereferenced only here. Of a message's payload only the location is checked: its content is for the
 * upper layer, which trusts the processes of its job. Bells are counts of a whole VM, any value of which is valid.
 *
 *   tables of rings and heads        an offset, 0: none        mca_btl_vmshm_check_entry()
 *   a ring                           magic, nonces, slots      mca_btl_vmshm_check_ring()
 *   a slot's word                    sequence number           mca_btl_vmshm_word_at(), mca_btl_vmshm_check_silent()
 *                                    kind, length, start       mca_btl_vmshm_check_slots()
 *                                    tag                       mca_btl_vmshm_is_taken_by()
 *   a slot's content                 reference to a cell       mca_btl_vmshm_check_cell()
 *                                    offset, pull              mca_btl_vmshm_read_offset(), mca_btl_vmshm_read_pull()
 *   how far it has read our ring     in a slot                 mca_btl_vmshm_heed_ack(), mca_btl_vmshm_check_acked()
 *                                    in a head                 mca_btl_vmshm_check_head(),
 *                                                              mca_btl_vmshm_check_consumed()
 *   how many chunks it has taken     in the same head          mca_btl_vmshm_check_chunks()
 *   a channel                        magic, nonces, chunks     mca_btl_vmshm_check_channel()
 *   a chunk descriptor               number                    mca_btl_vmshm_check_chunk()
 *                                    offset, length, place     mca_btl_vmshm_check_place()
 *
 * A peer's identity, its windows and its VM's state are checked by the common library, see vmshm_check.h.
 *
 * An illegal value leads to vmshm_peer_broken(), called here or by the caller: the peer is reported and the job ends.
 */
/* Modelled in test/model/ring.pml: change both. */
#ifndef MCA_BTL_VMSHM_CHECK_H
#define MCA_BTL_VMSHM_CHECK_H

#include "btl_vmshm_context.h"
#include "btl_vmshm_stream.h"

/* --- the receiver's half. Called by the poller only. */

/* The slot's word. A message was published there if its sequence number is position + 1. Pairs with the release in
 * mca_btl_vmshm_ring_publish() at the peer: payload and cell are complete. */
static inline uint64_t mca_btl_vmshm_word_at(const struct vmshm_slot *slot)
{
    return vmshm_load_acquire(&slot->word);
}

static inline const struct vmshm_slot *mca_btl_vmshm_next_slot(const mca_btl_vmshm_endpoint_t *endpoint)
{
    return endpoint->in.ring + (endpoint->in.position & endpoint->in.mask);
}

/* Make the watch wait for the endpoint's next message. */
static inline void mca_btl_vmshm_watch_set(mca_btl_vmshm_watch_t *watch, mca_btl_vmshm_endpoint_t *endpoint)
{
    watch->slot = mca_btl_vmshm_next_slot(endpoint);
    watch->next = (uint32_t) (endpoint->in.position + 1);
    watch->idle = 0;
    watch->endpoint = endpoint;
}

/* Is a callback registered for that tag? */
static inline bool mca_btl_vmshm_is_taken_by(mca_btl_base_tag_t tag)
{
    return NULL != mca_btl_base_active_message_trigger[tag].cbfunc;
}

/* Is it a valid message of one slot without an ack? */
static inline bool mca_btl_vmshm_is_short(uint64_t word)
{
    return VMSHM_SLOT_FORM(word) == VMSHM_FORM_SHORT && VMSHM_SLOT_LEN(word) <= VMSHM_SHORT_BYTES
           && mca_btl_vmshm_is_taken_by(VMSHM_SLOT_TAG(word));
}

static inline void mca_btl_vmshm_copy_slot(uint8_t copy[VMSHM_SLOT_BYTES], const struct vmshm_slot *slot)
{
    vmshm_copy_in(copy, slot, VMSHM_SLOT_BYTES);
}

/* Number of slots of the message at the current position. 0: its word is not valid. */
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

/* Note the peer's claim of how much of our ring it has consumed. */
static inline void mca_btl_vmshm_heed_ack(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_slot *slot)
{
    const uint32_t low = vmshm_load_relaxed(&slot->ack);

    /* If the peer sent no ack for 2^32 slots the sum lags behind, which is safe. */
    vmshm_store_release(&endpoint->in.ack,
                        endpoint->in.ack + (uint32_t) (low - (uint32_t) endpoint->in.ack));
}

/* The offset of a ring or channel in a slot. The caller has to check the ring or channel itself. */
static inline uint64_t mca_btl_vmshm_read_offset(const struct vmshm_slot *slot)
{
    uint64_t offset;

    vmshm_copy_in(&offset, slot->payload, sizeof offset);
    return offset;
}

/* The pull in a slot. The caller has to look the stream up in our own table. */
static inline struct vmshm_pull mca_btl_vmshm_read_pull(const struct vmshm_slot *slot)
{
    struct vmshm_pull pull;

    vmshm_copy_in(&pull, slot->payload, sizeof pull);
    return pull;
}

/* The cell that the slot refers to, *bytes long. NULL: the peer is broken, or the cell cannot be read. */
static inline const void *mca_btl_vmshm_check_cell(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_slot *slot,
                                                   size_t *bytes)
{
    struct vmshm_cell_ref ref;
    const void *cell;

    vmshm_copy_in(&ref, slot->payload, sizeof ref);
    cell = 0 == ref.length ? NULL : vmshm_peer_memory(endpoint->peer, ref.offset, ref.length);
    if (OPAL_UNLIKELY(NULL == cell)) {
        vmshm_peer_broken(endpoint->peer, "cell", "a message is not in a window of the peer");
    }
    *bytes = ref.length;
    return cell;
}

/* There is no message at the current position. Mark the peer as broken if none can ever be published there. */
void mca_btl_vmshm_check_silent(mca_btl_vmshm_endpoint_t *endpoint);

/* The entry for this process in the peer's table of rings or of heads: an offset, 0 for none. */
uint64_t mca_btl_vmshm_check_entry(mca_btl_vmshm_endpoint_t *endpoint, uint64_t table);

/* A ring from the peer to this process. */
struct mca_btl_vmshm_found_ring_t {
    const struct vmshm_slot *slots;
    uint32_t mask;
    uint64_t first;                     /* position of the first message */
};
typedef struct mca_btl_vmshm_found_ring_t mca_btl_vmshm_found_ring_t;

/* False: the ring belongs to an earlier owner of one of the two process slots (*why is NULL), or is invalid (*why
 * says how). */
bool mca_btl_vmshm_check_ring(mca_btl_vmshm_endpoint_t *endpoint, uint64_t offset,
                              mca_btl_vmshm_found_ring_t *ring, const char **why);

/* A channel from the peer to this process, and the mask for its chunk numbers. NULL: *why says what is wrong. */
const struct vmshm_channel *mca_btl_vmshm_check_channel(mca_btl_vmshm_endpoint_t *endpoint, uint64_t offset,
                                                        uint32_t *mask, const char **why);

/* The descriptor of the next chunk. False: it has not been published, or the peer is broken. */
bool mca_btl_vmshm_check_chunk(mca_btl_vmshm_endpoint_t *endpoint, struct vmshm_chunk *chunk);
/* Address of a chunk's bytes. Its message has `size` bytes, of which `done` have arrived. NULL: the peer is broken. */
const uint8_t *mca_btl_vmshm_check_place(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_chunk *chunk,
                                         size_t done, size_t size);

/* --- the sender's half. Endpoint lock held. */

/* Remember the counters in the cache line of the peer's head, which was just read: the line stays in our cache until
 * the peer changes one of them. */
static inline void mca_btl_vmshm_head_seen(mca_btl_vmshm_endpoint_t *endpoint)
{
    endpoint->out.line_seen = vmshm_load_relaxed(&endpoint->out.peer_head->head)
                              + vmshm_load_relaxed(&endpoint->out.peer_head->chunks);
}

/* Fetch that line into our cache. The value is not used. */
static inline uint64_t mca_btl_vmshm_touch_head(const mca_btl_vmshm_endpoint_t *endpoint)
{
    return vmshm_load_acquire(&endpoint->out.peer_head->head);
}

/* The position up to which the peer has consumed our ring, according to its last message, so that its memory need
 * not be read. Never below the head that is already known. */
static inline uint64_t mca_btl_vmshm_check_acked(const mca_btl_vmshm_endpoint_t *endpoint)
{
    const uint64_t ack = vmshm_load_acquire(&endpoint->in.ack);

    /* Ignore an ack that is older than the known head, or beyond what was sent. */
    return ack > endpoint->out.head && ack <= endpoint->out.tail ? ack : endpoint->out.head;
}

/* The peer's head for our ring. NULL: it has made none yet, or is broken. */
const struct vmshm_head *mca_btl_vmshm_check_head(mca_btl_vmshm_endpoint_t *endpoint);
/* Read the peer's head, which must exist: everything before *head was consumed. False: the peer is broken. */
bool mca_btl_vmshm_check_consumed(mca_btl_vmshm_endpoint_t *endpoint, uint64_t *head);
/* Read how many chunks the peer has taken from our channel. Its head must exist. False: the peer is broken. */
bool mca_btl_vmshm_check_chunks(mca_btl_vmshm_endpoint_t *endpoint, uint64_t *taken);

#endif
