/* SPDX-License-Identifier: BSD-3-Clause */
/* The receiver's half: what stands in a ring is checked and delivered. */
/* Modelled in test/model/ring.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm_poll.h"
#include "btl_vmshm_check.h"
#include "btl_vmshm_connect.h"
#include "btl_vmshm_get.h"
#include "btl_vmshm_push.h"
#include "btl_vmshm_ring.h"

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

/* Deliver the message that the slot refers to, from where it stands. Returns its bytes, or 0: broken. */
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

/* What is in one slot are headers for the most part, and copied as the slot is; from a longer message
 * the upper layer copies, as from a cell. */
static inline void take_short(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_slot *slot,
                              size_t bytes, mca_btl_base_tag_t tag)
{
    _Alignas(16) uint8_t copy[VMSHM_SLOT_BYTES];

    mca_btl_vmshm_copy_slot(copy, slot);
    deliver(endpoint, copy + VMSHM_SHORT_START, bytes, tag);
}

/* Messages between the two components themselves. False: broken. */
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

/* Our loads from slots and cells come before the sender's next stores to them. A poll within a callback
 * shows nothing of the ring whose message that callback still reads. */
static inline void show_head(mca_btl_vmshm_endpoint_t *endpoint)
{
    /* No ack may be ahead of the head: the peer would take the head for a lie. */
    vmshm_store_release(&endpoint->in.my_head->head, endpoint->in.position);
    vmshm_store_release(&endpoint->in.consumed, endpoint->in.position);
    endpoint->in.unshown = 0;
}

/* A message that is not a short one, or not as it should be. The position is behind it before it is
 * delivered, for the callback may poll. Returns 1, or 0 for one after which the next stands in another
 * ring, or -1: the peer is broken. */
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

/* The message that stands at the position, and those behind it: `slot` and `word` are of the first.
 * Inlined where it is called: some 4 ns of the 130 that a short message takes. */
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
        endpoint->in.unshown = HEAD_BYTES;         /* as soon as the outer one has its message */
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

/* Does a message stand there? What most looks at most rings come to: it takes the line of the slot
 * and a part of the roster's, nothing of the endpoint. */
static inline bool has_message(const mca_btl_vmshm_watch_t *watch, uint64_t *word)
{
    *word = mca_btl_vmshm_word_at(watch->slot);
    return VMSHM_SLOT_SEQ(*word) == watch->next;
}

/* Entry i of a roster, which a poll within a callback may move: it adds to rosters, and takes nothing
 * out of them. */
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
