/* SPDX-License-Identifier: BSD-3-Clause */
/* The receiver's half of a ring: checking and delivering messages. */
/* Modelled in test/model/ring.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm_poll.h"
#include "btl_vmshm_check.h"
#include "btl_vmshm_connect.h"
#include "btl_vmshm_get.h"
#include "btl_vmshm_push.h"
#include "btl_vmshm_ring.h"

#include <string.h>

/* Most messages taken from one ring before the other rings get their turn. */
#define POLL_BUDGET 32
/* After this many polls without a message (a power of two) check that the ring is not damaged. */
#define CHECK_EVERY 1024
/* The same for a cold ring. */
#define CHECK_COLD_EVERY 64
/* A ring without a message for this many polls becomes cold: cold rings are polled in turn. */
#define COLD_AFTER CHECK_EVERY
/* Number of cold rings per poll, so that the cost of polling does not grow with the number of cold rings. */
#define COLD_PER_POLL 2
/* With at most this many hot rings none is made cold: there is nothing to gain. */
#define HOT_ANYWAY 4
/* Messages per ring in a nested poll. Few, because the outer poll cannot show its head meanwhile, so nothing that is
 * taken is freed at the sender; one may already be the message that the callback waits for. */
#define NESTED_BUDGET 1
/* Store the head after this many bytes, so that the sender gets cells back while they are still in the cache. */
#define HEAD_BYTES (16 * 1024)
/* Number of bytes of a message that are prefetched before it is delivered. */
#define FETCH_BYTES 1024
/* When short messages follow each other, prefetch the slot this far ahead. */
#define AHEAD_SLOTS 6

/* The deliveries can be static as one thread polls at a time; each level of nested polls has its own. */
static inline void deliver(mca_btl_vmshm_endpoint_t *endpoint, void *bytes, size_t length,
                           mca_btl_base_tag_t tag)
{
    static mca_btl_vmshm_delivery_t deliveries[1 + MCA_BTL_VMSHM_MOST_NESTED];

    mca_btl_vmshm_deliver(&mca_btl_vmshm.super, endpoint, deliveries + mca_btl_vmshm_context.polling, bytes,
                          length, tag);
}

/* Prefetch the message while the upper layer reads the header and matches the receive. No line beyond the
 * end of the message: the sender may be writing there. */
static inline void fetch(const void *from, size_t bytes)
{
    const uint8_t *end = (const uint8_t *) from + (bytes < FETCH_BYTES ? bytes : FETCH_BYTES);
    const uint8_t *line = (const uint8_t *) ((uintptr_t) from & ~(uintptr_t) (VMSHM_LINE_BYTES - 1));

    for (; line < end; line += VMSHM_LINE_BYTES) {
        __builtin_prefetch(line);
    }
}

/* Deliver the message from the cell that the slot refers to, in place. Returns its length; 0: the peer is broken. */
static size_t take_cell(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_slot *slot,
                        mca_btl_base_tag_t tag)
{
    size_t bytes;
    const void *cell = mca_btl_vmshm_check_cell(endpoint, slot, &bytes);

    if (OPAL_UNLIKELY(NULL == cell)) {
        return 0;
    }
    fetch(cell, bytes);
    endpoint->in.position += 1;
    deliver(endpoint, (void *) (uintptr_t) cell, bytes, tag);
    return bytes;
}

/* Deliver a copy: a message in one slot is mostly just a header, so copying the slot is cheap. Longer messages
 * are delivered in place, and the upper layer copies from there. */
static inline void take_short(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_slot *slot,
                              size_t bytes, mca_btl_base_tag_t tag)
{
    _Alignas(16) uint8_t copy[VMSHM_SLOT_BYTES];

    mca_btl_vmshm_copy_slot(copy, slot);
    deliver(endpoint, copy + VMSHM_SHORT_START, bytes, tag);
}

/* Handle a control message, which is for this component and not for the upper layer. False: the peer is broken. */
static bool take_control(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_slot *slot,
                         uint32_t kind)
{
    const char *why = "its kind is not allowed";

    if (VMSHM_SLOT_PULL == kind) {
        const struct vmshm_pull pull = mca_btl_vmshm_read_pull(slot);

        mca_btl_vmshm_stream_pulled(endpoint, &pull);
        return true;
    }
    if (VMSHM_SLOT_PAD == kind
        || (VMSHM_SLOT_CHANNEL == kind
            && mca_btl_vmshm_channel_accept(endpoint, mca_btl_vmshm_read_offset(slot), &why))) {
        return true;
    }
    vmshm_peer_broken(endpoint->peer, VMSHM_SLOT_CHANNEL == kind ? "channel" : "slot", why);
    return false;
}

/* Store our head with release, so that our loads from slots and cells come before the sender's next stores to them.
 * Must not be called by a nested poll for the ring whose message the outer callback is still reading. */
static inline void show_head(mca_btl_vmshm_endpoint_t *endpoint)
{
    /* The head first: an ack must not be ahead of the head, or the peer would treat the head as invalid. */
    vmshm_store_release(&endpoint->in.my_head->head, endpoint->in.position);
    vmshm_store_release(&endpoint->in.consumed, endpoint->in.position);
    endpoint->in.unshown = 0;
}

/* Take a message that is not a short one, or is invalid. The position is advanced before the message is
 * delivered, because the callback may poll. Returns 1; 0: a switch, the next message is in another ring;
 * -1: the peer is broken. */
static __opal_attribute_noinline__ int
take(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_slot *slot, uint64_t word)
{
    const mca_btl_base_tag_t tag = VMSHM_SLOT_TAG(word);
    const uint32_t kind = VMSHM_SLOT_KIND(word), start = VMSHM_SLOT_START(word);
    const uint32_t slots = mca_btl_vmshm_check_slots(endpoint, word);
    size_t bytes = VMSHM_SLOT_LEN(word);

    if (start >= VMSHM_SLOT_HEAD_BYTES) {
        mca_btl_vmshm_heed_ack(endpoint, slot);
    }
    if (OPAL_UNLIKELY(VMSHM_SLOT_SWITCH == kind)) {
        const char *why = NULL;

        if (!mca_btl_vmshm_ring_follow(endpoint, mca_btl_vmshm_read_offset(slot), endpoint->in.position + 1,
                                       &why)) {
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
    if (OPAL_UNLIKELY(!mca_btl_vmshm_is_taken_by(tag))) {
        vmshm_peer_broken(endpoint->peer, "tag", "no callback is registered for a message's tag");
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

/* Take the message at the current position, whose slot and word are given, and those that follow.
 * Always inlined, which saves some 4 ns of the 130 ns that a short message takes. */
static inline __opal_attribute_always_inline__ int
take_messages(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_slot *slot, uint64_t word,
              int budget)
{
    const bool nested = endpoint->in.taking++ > 0;
    int count = 0;

    do {
        if (OPAL_LIKELY(mca_btl_vmshm_is_short(word))) {
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
        slot = mca_btl_vmshm_next_slot(endpoint);
        word = mca_btl_vmshm_word_at(slot);
    } while (count < budget && VMSHM_SLOT_SEQ(word) == (uint32_t) (endpoint->in.position + 1));
    endpoint->in.taking -= 1;
    if (OPAL_UNLIKELY(nested)) {
        endpoint->in.unshown = HEAD_BYTES;         /* the outer poll shows the head after its current message */
    } else if (count > 0) {
        show_head(endpoint);
    }
    return count;
}

int mca_btl_vmshm_poll(mca_btl_vmshm_endpoint_t *endpoint, int budget)
{
    const struct vmshm_slot *slot = mca_btl_vmshm_next_slot(endpoint);
    const uint64_t word = mca_btl_vmshm_word_at(slot);

    return VMSHM_SLOT_SEQ(word) == (uint32_t) (endpoint->in.position + 1)
           ? take_messages(endpoint, slot, word, budget) : 0;
}

/* Has the awaited message been published? Most polls of most rings do no more than this, so it touches only the
 * slot's cache line and the roster, not the endpoint. */
static inline bool has_message(const mca_btl_vmshm_watch_t *watch, uint64_t *word)
{
    *word = mca_btl_vmshm_word_at(watch->slot);
    return VMSHM_SLOT_SEQ(*word) == watch->next;
}

/* Take messages for entry i of a roster. By index, because a nested poll may reallocate the roster; it only adds
 * entries and does not remove any. */
static inline int poll_watched(mca_btl_vmshm_watch_t **roster, uint32_t i, uint64_t word)
{
    mca_btl_vmshm_endpoint_t *endpoint = (*roster)[i].endpoint;
    const struct vmshm_slot *slot = (*roster)[i].slot;
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
            mca_btl_vmshm_check_silent(watch->endpoint);
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
                mca_btl_vmshm_check_silent(c->cold[i].endpoint);
            }
        } else {
            count += poll_watched(&c->cold, i, word);
            c->hot[c->hot_count++] = c->cold[i];
            c->cold[i] = c->cold[--c->cold_count];
        }
    }
    return count;
}

/* Poll within a callback. Does not use the watches: that of the ring whose message the callback reads is outdated,
 * only the endpoint has the current position. */
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
