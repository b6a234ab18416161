/* SPDX-License-Identifier: BSD-3-Clause */
/* Sending at once, without a descriptor (sendi). Every eager message takes this path first. */
/* Modelled in test/model/ring.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm_distance.h"
#include "btl_vmshm_frag.h"
#include "btl_vmshm_pack.h"
#include "btl_vmshm_ring.h"
#include "btl_vmshm_send.h"

#include <string.h>

/* Messages to a far peer from this size on are written past the caches, if other cells are in flight to it. */
#define PAST_CACHES_FROM 1536
/* Number of messages in cells between two samples of the peer's distance. */
#define SAMPLE_EVERY     32

/* Write header and packed payload to `to`. */
static inline void fill(uint8_t *to, struct opal_convertor_t *convertor, const void *header,
                        size_t header_size, size_t payload_size, bool past_caches)
{
    memcpy(to, header, header_size);
    if (payload_size > 0) {
        (void) mca_btl_vmshm_pack(convertor, to + header_size, &payload_size, past_caches);
    }
}

/* Copy at most VMSHM_SHORT_BYTES without a function call, and without a branch per byte. */
static inline void copy_short(uint8_t *to, const uint8_t *from, size_t bytes)
{
    if (bytes >= 8) {
        if (bytes > 16) {
            memcpy(to + 8, from + 8, 8);
        }
        memcpy(to, from, 8);
        memcpy(to + bytes - 8, from + bytes - 8, 8);
    } else if (bytes >= 4) {
        memcpy(to, from, 4);
        memcpy(to + bytes - 4, from + bytes - 4, 4);
    } else {
        for (size_t i = 0; i < bytes; ++i) {
            to[i] = from[i];
        }
    }
}

/* A message of more than one slot begins at an offset in its first slot such that the user's data are aligned
 * in the second. */
static inline size_t inline_start(size_t header_size)
{
    return header_size > VMSHM_SLOT_BYTES - VMSHM_SLOT_HEAD_BYTES
           ? VMSHM_SLOT_HEAD_BYTES : (VMSHM_SLOT_BYTES - header_size) & ~(size_t) 1;
}

/* Write the message to the slots at the tail. The peer polls the first cache line and may fetch it while we are still
 * writing to it. So write the lines behind it first: the stores to the first line then follow each other closely. */
static inline void fill_inline(struct vmshm_slot *slot, size_t start,
                               struct opal_convertor_t *convertor, const void *header,
                               size_t header_size, size_t payload_size)
{
    uint8_t *to = (uint8_t *) slot + start;
    uint8_t *behind = (uint8_t *) (((uintptr_t) slot | (VMSHM_LINE_BYTES - 1)) + 1);
    const size_t first = (size_t) (behind - to) - header_size;
    void *from;

    if (payload_size <= first || start == VMSHM_SLOT_HEAD_BYTES
        || mca_btl_vmshm_must_pack(convertor)) {
        fill(to, convertor, header, header_size, payload_size, false);
        return;
    }
    opal_convertor_get_current_pointer(convertor, &from);
    memcpy(behind, (const uint8_t *) from + first, payload_size - first);
    memcpy(to + header_size, from, first);
    memcpy(to, header, header_size);
}

/* Endpoint lock held; the ring must have room for one slot, and no slot to clear. A shorter version of
 * mca_btl_vmshm_ring_publish() for the most frequent kind of message. */
static inline void send_short(mca_btl_vmshm_endpoint_t *endpoint,
                              struct opal_convertor_t *convertor, const void *header,
                              size_t header_size, size_t payload_size, mca_btl_base_tag_t tag)
{
    struct vmshm_slot *slot = mca_btl_vmshm_ring_slot(endpoint);
    const uint64_t position = endpoint->out.tail;
    const uint64_t word = VMSHM_SLOT_WORD(position, VMSHM_SHORT_START, header_size + payload_size,
                                          VMSHM_SLOT_INLINE, tag);
    uint8_t *to = (uint8_t *) slot + VMSHM_SHORT_START;
    void *from;

    endpoint->out.tail = position + 1;
    mca_btl_vmshm_count(endpoint, 1, header_size + payload_size);
    if (payload_size > 0) {
        opal_convertor_get_current_pointer(convertor, &from);
        copy_short(to + header_size, from, payload_size);
    }
    copy_short(to, header, header_size);
    vmshm_store_release(&slot->word, word);
}

/* Get the cell for the next message into our cache. Its lines may still be in the peer's cache, and a store
 * to such a line takes as long as a whole message. Storing to each line now hides that time, since the upper
 * layer then waits for an answer. A prefetch for writing had no effect on the processors that we measured. */
static inline void own_next_cell(mca_btl_vmshm_endpoint_t *endpoint, size_t bytes)
{
    int cell_class = MCA_BTL_VMSHM_CELL_EAGER;
    uint64_t cell = endpoint->out.next_cell;

    if (0 == cell) {
        cell = mca_btl_vmshm_cell_take(&mca_btl_vmshm_context.memory, &cell_class);
        if (OPAL_UNLIKELY(0 == cell || MCA_BTL_VMSHM_CELL_EAGER != cell_class)) {
            if (0 != cell) {
                mca_btl_vmshm_cell_give(&mca_btl_vmshm_context.memory, cell, cell_class);
            }
            return;
        }
        endpoint->out.next_cell = cell;
    }
    for (size_t i = 0; i < bytes; i += VMSHM_LINE_BYTES) {
        *(volatile uint8_t *) mca_btl_vmshm_at(cell + i) = 0;
    }
}

/* Endpoint lock held. */
static inline bool send_cell(mca_btl_vmshm_endpoint_t *endpoint, struct opal_convertor_t *convertor,
                             const void *header, size_t header_size, size_t payload_size,
                             mca_btl_base_tag_t tag)
{
    mca_btl_vmshm_memory_t *memory = &mca_btl_vmshm_context.memory;
    const size_t bytes = header_size + payload_size;
    int cell_class = mca_btl_vmshm_cell_class(bytes);
    uint64_t cell, at;
    bool past_caches;

    if (bytes > memory->cell_bytes[MCA_BTL_VMSHM_CELL_MAX]
        || !mca_btl_vmshm_ring_make_room(endpoint, 1)) {
        return false;
    }
    mca_btl_vmshm_reclaim_acked(endpoint);
    if (endpoint->out.tail - endpoint->out.head >= MCA_BTL_VMSHM_RECLAIM_AFTER) {
        mca_btl_vmshm_reclaim(endpoint);
    }
    if (OPAL_UNLIKELY(!mca_btl_vmshm_may_have_cell(endpoint))) {
        return false;
    }
    if (MCA_BTL_VMSHM_CELL_EAGER == cell_class && 0 != endpoint->out.next_cell) {
        cell = endpoint->out.next_cell;
        endpoint->out.next_cell = 0;
    } else {
        cell = mca_btl_vmshm_cell_take(memory, &cell_class);
    }
    if (OPAL_UNLIKELY(0 == cell)) {
        return false;
    }
    /* Align the user's data to a cache line. The cell is one line larger than its nominal size. */
    at = cell + ((VMSHM_LINE_BYTES - header_size) & (VMSHM_LINE_BYTES - 2));
    if (0 == ++endpoint->out.cells_sent % SAMPLE_EVERY) {
        mca_btl_vmshm_distance_sample(endpoint);
    }
    past_caches = endpoint->out.far && bytes >= PAST_CACHES_FROM && endpoint->out.cells_out > 0;
    fill(mca_btl_vmshm_at(at), convertor, header, header_size, payload_size, past_caches);
    mca_btl_vmshm_ring_inflight(endpoint, endpoint->out.tail)->cell = cell | (uint64_t) cell_class;
    endpoint->out.cells_out += 1;
    mca_btl_vmshm_ring_publish_cell(endpoint, at, bytes, tag);
    if (!past_caches && MCA_BTL_VMSHM_CELL_EAGER == cell_class) {
        own_next_cell(endpoint, at - cell + bytes);
    }
    return true;
}

/* Endpoint lock held. */
static inline bool can_send(const mca_btl_vmshm_endpoint_t *endpoint)
{
    return mca_btl_vmshm_is_alive(endpoint)
           && opal_list_is_empty((opal_list_t *) &endpoint->out.pending);
}

static inline bool is_short(const struct opal_convertor_t *convertor, size_t header_size,
                            size_t payload_size)
{
    return header_size + payload_size <= VMSHM_SHORT_BYTES
           && (0 == payload_size || !mca_btl_vmshm_must_pack(convertor));
}

/* Endpoint lock held. */
static bool send_now(mca_btl_vmshm_endpoint_t *endpoint, struct opal_convertor_t *convertor,
                     const void *header, size_t header_size, size_t payload_size,
                     mca_btl_base_tag_t tag)
{
    const size_t bytes = header_size + payload_size;
    const size_t start = inline_start(header_size);
    const uint32_t slots = mca_btl_vmshm_ring_slots(start, bytes);

    if (is_short(convertor, header_size, payload_size)) {
        if (!mca_btl_vmshm_ring_make_room(endpoint, 1)) {
            return false;
        }
        if (0 != endpoint->out.stales) {
            mca_btl_vmshm_ring_clear_next(endpoint, 1);
        }
        send_short(endpoint, convertor, header, header_size, payload_size, tag);
        return true;
    }
    if (slots <= VMSHM_INLINE_SLOTS && mca_btl_vmshm_ring_make_room(endpoint, slots)) {
        fill_inline(mca_btl_vmshm_ring_slot(endpoint), start, convertor, header, header_size,
                    payload_size);
        mca_btl_vmshm_ring_publish(endpoint, VMSHM_SLOT_INLINE, slots, start, bytes, tag);
    } else if (slots <= MCA_BTL_VMSHM_SMALL_SLOTS
               || !send_cell(endpoint, convertor, header, header_size, payload_size, tag)) {
        return false;
    }
    mca_btl_vmshm_count(endpoint, 1, bytes);
    return true;
}

static __opal_attribute_noinline__ int
sendi_any(struct mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint,
          struct opal_convertor_t *convertor, void *header, size_t header_size,
          size_t payload_size, uint8_t order, uint32_t flags, mca_btl_base_tag_t tag,
          mca_btl_base_descriptor_t **descriptor)
{
    bool sent;

    OPAL_THREAD_LOCK(&endpoint->lock);
    sent = can_send(endpoint)
           && send_now(endpoint, convertor, header, header_size, payload_size, tag);
    OPAL_THREAD_UNLOCK(&endpoint->lock);
    if (OPAL_LIKELY(sent)) {
        return OPAL_SUCCESS;
    }
    if (NULL != descriptor) {
        *descriptor = mca_btl_vmshm_alloc(btl, endpoint, order, header_size + payload_size, flags);
    }
    return OPAL_ERR_OUT_OF_RESOURCE;
}

int mca_btl_vmshm_sendi(struct mca_btl_base_module_t *btl,
                        struct mca_btl_base_endpoint_t *endpoint,
                        struct opal_convertor_t *convertor, void *header, size_t header_size,
                        size_t payload_size, uint8_t order, uint32_t flags,
                        mca_btl_base_tag_t tag, mca_btl_base_descriptor_t **descriptor)
{
    /* Without threads the lock is not needed. */
    if (OPAL_LIKELY(!opal_using_threads() && can_send(endpoint) && 0 == endpoint->out.stales
                    && mca_btl_vmshm_ring_has_room(endpoint, 1))
        && is_short(convertor, header_size, payload_size)) {
        send_short(endpoint, convertor, header, header_size, payload_size, tag);
        return OPAL_SUCCESS;
    }
    return sendi_any(btl, endpoint, convertor, header, header_size, payload_size, order, flags, tag,
                     descriptor);
}
