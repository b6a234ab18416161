/* SPDX-License-Identifier: BSD-3-Clause */
/* The receiver's half: what stands in a ring is checked and delivered. */
/* Modelled in test/model/ring.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm_poll.h"
#include "btl_vmshm_connect.h"
#include "btl_vmshm_ring.h"
#include "btl_vmshm_stream.h"

#include <string.h>

/* Messages from one ring before the others have their turn. */
#define POLL_BUDGET 32
/* A silent ring is looked at more closely each time it was polled so often (a power of two). */
#define CHECK_EVERY 1024
/* The same for a ring that is polled in turn. */
#define CHECK_COLD_EVERY 64
/* A ring that was silent for so many polls is polled in turn with others of its kind. */
#define COLD_AFTER CHECK_EVERY
/* So many silent rings are looked at each time: what polling them costs does not grow with them. */
#define COLD_PER_POLL 2
/* With so few rings there is nothing to gain. */
#define HOT_ANYWAY 4
/* The outer poll's message holds up the sender's memory: no more than may be what is waited for. */
#define NESTED_BUDGET 1
/* Show the head after so many bytes, so that the sender's cells come back while they are warm. */
#define HEAD_BYTES (16 * 1024)
/* So much of a message is asked for before it is delivered. */
#define FETCH_BYTES 1024
/* Where one short message follows the other, the line so many slots ahead is asked for. */
#define AHEAD_SLOTS 6

/* One thread polls at a time; each poll within a callback has another one of these. */
static inline void deliver(mca_btl_vmshm_endpoint_t *endpoint, void *bytes, size_t length,
                           mca_btl_base_tag_t tag)
{
    static mca_btl_vmshm_delivery_t deliveries[1 + MCA_BTL_VMSHM_MOST_NESTED];

    mca_btl_vmshm_deliver(&mca_btl_vmshm.super, endpoint, deliveries + mca_btl_vmshm_context.polling, bytes,
                          length, tag);
}

/* The lines travel while the upper layer reads the header and looks for the receive. None beyond the
 * end: the sender may be writing there. */
static inline void fetch(const void *from, size_t bytes)
{
    const uint8_t *end = (const uint8_t *) from + (bytes < FETCH_BYTES ? bytes : FETCH_BYTES);
    const uint8_t *line = (const uint8_t *) ((uintptr_t) from & ~(uintptr_t) (VMSHM_LINE_BYTES - 1));

    for (; line < end; line += VMSHM_LINE_BYTES) {
        __builtin_prefetch(line);
    }
}

/* Deliver the message that the slot refers to, from where it stands: the reference is copied and
 * checked, the content is the upper layer's, which trusts the processes of its job. Returns its
 * bytes, or 0: broken. */
static size_t take_cell(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_slot *slot,
                        mca_btl_base_tag_t tag)
{
    struct vmshm_cell_ref ref;
    const void *cell;

    vmshm_copy_in(&ref, slot->payload, sizeof ref);
    cell = vmshm_peer_memory(endpoint->peer, ref.offset, ref.length);
    if (OPAL_UNLIKELY(NULL == cell || 0 == ref.length)) {
        vmshm_peer_broken(endpoint->peer, "cell", "a message is not in a window of the peer");
        return 0;
    }
    fetch(cell, ref.length);
    endpoint->in.position += 1;
    deliver(endpoint, (void *) cell, ref.length, tag);
    return ref.length;
}

/* What is in one slot are headers for the most part, and copied as the slot is; from a longer message
 * the upper layer copies, as from a cell. */
static inline void take_short(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_slot *slot,
                              size_t bytes, mca_btl_base_tag_t tag)
{
    _Alignas(16) uint8_t copy[VMSHM_SLOT_BYTES];

    vmshm_copy_in(copy, slot, sizeof copy);
    deliver(endpoint, copy + VMSHM_SHORT_START, bytes, tag);
}

/* How many slots the message at the position takes, 0: it cannot be. */
static uint32_t slots_of(const mca_btl_vmshm_endpoint_t *endpoint, uint64_t word)
{
    const uint32_t left = endpoint->in.mask + 1
                          - (uint32_t) (endpoint->in.position & endpoint->in.mask);
    const uint32_t start = VMSHM_SLOT_START(word);
    uint32_t slots;

    switch (VMSHM_SLOT_KIND(word)) {
    case VMSHM_SLOT_INLINE:
        slots = mca_btl_vmshm_ring_slots(start, VMSHM_SLOT_LEN(word));
        return start >= VMSHM_SLOT_HEAD_BYTES && slots <= VMSHM_INLINE_SLOTS && slots <= left
               ? slots : 0;
    case VMSHM_SLOT_PAD:
        return left;
    default:
        return 1;
    }
}

/* Messages between the two components themselves. False: broken. */
static bool take_control(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_slot *slot,
                         uint32_t kind)
{
    const char *why = "its kind is not allowed";
    struct vmshm_pull pull;
    uint64_t value;

    if (VMSHM_SLOT_PULL == kind) {
        vmshm_copy_in(&pull, slot->payload, sizeof pull);
        mca_btl_vmshm_stream_pulled(endpoint, &pull);
        return true;
    }
    vmshm_copy_in(&value, slot->payload, sizeof value);
    if (VMSHM_SLOT_PAD == kind
        || (VMSHM_SLOT_CHANNEL == kind && mca_btl_vmshm_channel_accept(endpoint, value, &why))) {
        return true;
    }
    vmshm_peer_broken(endpoint->peer, VMSHM_SLOT_CHANNEL == kind ? "channel" : "slot", why);
    return false;
}

/* Our loads from slots and cells come before the sender's next stores to them. A poll within a callback
 * shows nothing of the ring whose message that callback still reads. */
static inline void show_head(mca_btl_vmshm_endpoint_t *endpoint)
{
    /* No ack may be ahead of the head: the peer would take the head for a lie. */
    vmshm_store_release(&endpoint->in.my_head->head, endpoint->in.position);
    vmshm_store_release(&endpoint->in.consumed, endpoint->in.position);
    endpoint->in.unshown = 0;
}

static inline void heed_ack(mca_btl_vmshm_endpoint_t *endpoint, uint32_t low)
{
    /* Of a peer that was silent for 2^32 slots the sum stays behind: that is safe. */
    vmshm_store_release(&endpoint->in.ack,
                        endpoint->in.ack + (uint32_t) (low - (uint32_t) endpoint->in.ack));
}

/* A message that is not a short one, or not as it should be. The position is behind it before it is
 * delivered, for the callback may poll. Returns 1, or 0 for one after which the next stands in another
 * ring, or -1: the peer is broken. */
static __opal_attribute_noinline__ int
take(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_slot *slot, uint64_t word)
{
    const mca_btl_base_tag_t tag = VMSHM_SLOT_TAG(word);
    const uint32_t kind = VMSHM_SLOT_KIND(word), start = VMSHM_SLOT_START(word);
    const uint32_t slots = slots_of(endpoint, word);
    size_t bytes = VMSHM_SLOT_LEN(word);

    if (start >= VMSHM_SLOT_HEAD_BYTES) {
        heed_ack(endpoint, vmshm_load_relaxed(&slot->ack));
    }
    if (OPAL_UNLIKELY(VMSHM_SLOT_SWITCH == kind)) {
        const char *why = NULL;
        uint64_t next;

        vmshm_copy_in(&next, slot->payload, sizeof next);
        if (!mca_btl_vmshm_ring_follow(endpoint, next, endpoint->in.position + 1, &why)) {
            vmshm_peer_broken(endpoint->peer, "switch", why);
            return -1;
        }
        return 0;
    }
    if (OPAL_UNLIKELY(VMSHM_SLOT_PAD <= kind)) {
        if (!take_control(endpoint, slot, kind)) {
            return -1;
        }
        endpoint->in.position += slots;
        return 1;
    }
    if (OPAL_UNLIKELY(NULL == mca_btl_base_active_message_trigger[tag].cbfunc)) {
        vmshm_peer_broken(endpoint->peer, "tag", "nobody registered for a message's tag");
        return -1;
    }
    if (OPAL_LIKELY(VMSHM_SLOT_INLINE == kind && slots > 0)) {
        fetch(slot, slots * VMSHM_SLOT_BYTES);
        endpoint->in.position += slots;
        deliver(endpoint, (uint8_t *) (uintptr_t) slot + start, bytes, tag);
    } else if (OPAL_LIKELY(VMSHM_SLOT_CELL == kind)) {
        bytes = take_cell(endpoint, slot, tag);
        if (0 == bytes) {
            return -1;
        }
    } else {
        vmshm_peer_broken(endpoint->peer, "slot", "its kind or length is not allowed");
        return -1;
    }
    endpoint->in.unshown += bytes;
    return 1;
}

static inline bool is_short(uint64_t word)
{
    return VMSHM_SLOT_FORM(word) == VMSHM_FORM_SHORT && VMSHM_SLOT_LEN(word) <= VMSHM_SHORT_BYTES
           && NULL != mca_btl_base_active_message_trigger[VMSHM_SLOT_TAG(word)].cbfunc;
}

/* The message that stands at the position, and those behind it: `slot` and `word` are of the first.
 * Inlined where it is called: some 4 ns of the 130 that a short message takes. */
static inline __opal_attribute_always_inline__ int
take_messages(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_slot *slot, uint64_t word,
              int budget)
{
    const bool nested = endpoint->in.taking++ > 0;
    int count = 0;

    do {
        if (OPAL_LIKELY(is_short(word))) {
            if (count > 0) {
                __builtin_prefetch(endpoint->in.ring
                                   + ((endpoint->in.position + AHEAD_SLOTS) & endpoint->in.mask));
            }
            endpoint->in.position += 1;
            take_short(endpoint, slot, VMSHM_SLOT_LEN(word), VMSHM_SLOT_TAG(word));
            ++count;
        } else {
            const int taken = take(endpoint, slot, word);

            if (OPAL_UNLIKELY(taken < 0)) {
                endpoint->in.taking -= 1;
                return count;
            }
            count += taken;
        }
        if (endpoint->in.unshown >= HEAD_BYTES && !nested) {
            show_head(endpoint);
        }
        slot = endpoint->in.ring + (endpoint->in.position & endpoint->in.mask);
        /* Pairs with the release in ring_publish: payload and cell are complete. */
        word = vmshm_load_acquire(&slot->word);
    } while (count < budget && VMSHM_SLOT_SEQ(word) == (uint32_t) (endpoint->in.position + 1));
    endpoint->in.taking -= 1;
    if (OPAL_UNLIKELY(nested)) {
        endpoint->in.unshown = HEAD_BYTES;         /* as soon as the outer one has its message */
    } else if (count > 0) {
        show_head(endpoint);
    }
    return count;
}

int mca_btl_vmshm_poll(mca_btl_vmshm_endpoint_t *endpoint, int budget)
{
    const struct vmshm_slot *slot = endpoint->in.ring + (endpoint->in.position & endpoint->in.mask);
    const uint64_t word = vmshm_load_acquire(&slot->word);

    return VMSHM_SLOT_SEQ(word) == (uint32_t) (endpoint->in.position + 1)
           ? take_messages(endpoint, slot, word, budget) : 0;
}

/* Where the next message will be published stands what was there before: the message of the last
 * lap, or what the sender put there when it made the ring. Anything else was overwritten: waiting
 * for it would be for ever. */
static void check_silent(mca_btl_vmshm_endpoint_t *endpoint)
{
    const uint64_t position = endpoint->in.position;
    const uint64_t word = vmshm_load_relaxed(&endpoint->in.ring[position & endpoint->in.mask].word);

    if (VMSHM_SLOT_SEQ(word) != (uint32_t) (position + 1)
        && VMSHM_SLOT_SEQ(word) != (uint32_t) (position - endpoint->in.mask)
        && word != VMSHM_SLOT_CLEAR(position)) {
        vmshm_peer_broken(endpoint->peer, "slot", "its number is of no message that can be there");
    }
}

/* Does a message stand there? What most looks at most rings come to: it takes the line of the slot
 * and a part of the roster's, nothing of the endpoint. */
static inline bool has_message(const mca_btl_vmshm_watch_t *watch, uint64_t *word)
{
    *word = vmshm_load_acquire(watch->word);
    return VMSHM_SLOT_SEQ(*word) == watch->next;
}

/* Entry i of a roster, which a poll within a callback may move: it adds to rosters, and takes nothing
 * out of them. */
static inline int poll_watched(mca_btl_vmshm_watch_t **roster, uint32_t i, uint64_t word)
{
    mca_btl_vmshm_endpoint_t *endpoint = (*roster)[i].endpoint;
    const struct vmshm_slot *slot = (const struct vmshm_slot *) (*roster)[i].word;
    const int count = take_messages(endpoint, slot, word, POLL_BUDGET);

    mca_btl_vmshm_watch_set(&(*roster)[i], endpoint);
    return count;
}

int mca_btl_vmshm_poll_hot(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    int count = 0;

    for (uint32_t i = 0; i < c->hot_count; ) {
        mca_btl_vmshm_watch_t *watch = &c->hot[i];
        uint64_t word;

        if (has_message(watch, &word)) {
            count += poll_watched(&c->hot, i++, word);
            continue;
        }
        if (OPAL_UNLIKELY(0 == (++watch->idle & (CHECK_EVERY - 1)))) {
            check_silent(watch->endpoint);
            if (watch->idle >= COLD_AFTER && c->hot_count > HOT_ANYWAY) {
                c->cold[c->cold_count++] = *watch;
                *watch = c->hot[--c->hot_count];
                continue;
            }
        }
        ++i;
    }
    return count;
}

int mca_btl_vmshm_poll_cold(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    int count = 0;

    for (uint32_t n = 0; n < COLD_PER_POLL && c->cold_count > 0; ++n) {
        const uint32_t i = c->cold_next++ % c->cold_count;
        uint64_t word;

        if (!has_message(&c->cold[i], &word)) {
            if (OPAL_UNLIKELY(0 == (++c->cold[i].idle & (CHECK_COLD_EVERY - 1)))) {
                check_silent(c->cold[i].endpoint);
            }
        } else {
            count += poll_watched(&c->cold, i, word);
            c->hot[c->hot_count++] = c->cold[i];
            c->cold[i] = c->cold[--c->cold_count];
        }
    }
    return count;
}

/* Within a callback: of the ring whose message it reads only the endpoint says how far it was read. */
int mca_btl_vmshm_poll_nested(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    int count = 0;

    for (uint32_t i = 0; i < c->hot_count; ++i) {
        count += mca_btl_vmshm_poll(c->hot[i].endpoint, NESTED_BUDGET);
        mca_btl_vmshm_watch_set(&c->hot[i], c->hot[i].endpoint);
    }
    for (uint32_t i = 0; i < c->cold_count; ++i) {
        count += mca_btl_vmshm_poll(c->cold[i].endpoint, NESTED_BUDGET);
        mca_btl_vmshm_watch_set(&c->cold[i], c->cold[i].endpoint);
    }
    return count;
}
