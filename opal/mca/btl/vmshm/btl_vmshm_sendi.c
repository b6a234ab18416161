/* Send at once, without a descriptor: the path of every eager message. */
/* Modelled in test/model/ring.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm_frag.h"
#include "btl_vmshm_pack.h"
#include "btl_vmshm_ring.h"

#include <string.h>

/* Messages of so many bytes are worth writing past the caches to a far peer. */
#define PAST_CACHES_FROM 1536
/* Messages in cells between two samples of the distance. */
#define SAMPLE_EVERY     32

/* Header and packed payload to `to`, which has room for both. */
static inline void fill(uint8_t *to, struct opal_convertor_t *convertor, const void *header,
                        size_t header_size, size_t payload_size, bool past_caches)
{
    memcpy(to, header, header_size);
    if (payload_size > 0) {
        (void) mca_btl_vmshm_pack(convertor, to + header_size, &payload_size, past_caches);
    }
}

/* A message of more than one slot begins late in its first one, so that the user's data are aligned in
 * the second. */
static inline size_t start_of(size_t header_size, size_t bytes)
{
    return bytes <= VMSHM_INLINE_BYTES || header_size > VMSHM_INLINE_BYTES
           ? VMSHM_SLOT_HEAD_BYTES : (VMSHM_LINE_BYTES - header_size) & ~(size_t) 1;
}

/* To the slots at the tail. The peer looks at the first line all the time and would take it away from
 * us between its first and its last store: what lies behind it is written before. */
static inline void fill_inline(struct vmshm_slot *slot, size_t start,
                               struct opal_convertor_t *convertor, const void *header,
                               size_t header_size, size_t payload_size)
{
    uint8_t *to = (uint8_t *) slot + start;
    const size_t first = VMSHM_LINE_BYTES - start - header_size;
    void *from;

    if (header_size + payload_size <= VMSHM_INLINE_BYTES || start == VMSHM_SLOT_HEAD_BYTES
        || opal_convertor_need_buffers(convertor)) {
        fill(to, convertor, header, header_size, payload_size, false);
        return;
    }
    opal_convertor_get_current_pointer(convertor, &from);
    memcpy(slot + 1, (const uint8_t *) from + first, payload_size - first);
    memcpy(to + header_size, from, first);
    memcpy(to, header, header_size);
}

/* Endpoint lock held. */
static inline bool send_cell(mca_btl_vmshm_endpoint_t *endpoint, struct opal_convertor_t *convertor,
                             const void *header, size_t header_size, size_t payload_size,
                             mca_btl_base_tag_t tag)
{
    mca_btl_vmshm_arena_t *arena = &mca_btl_vmshm_component.arena;
    const size_t bytes = header_size + payload_size;
    int cell_class = mca_btl_vmshm_cell_class(bytes);
    uint64_t cell, at;

    if (bytes > arena->cell_bytes[MCA_BTL_VMSHM_CELL_MAX]
        || !mca_btl_vmshm_ring_make_room(endpoint, 1)) {
        return false;
    }
    mca_btl_vmshm_reclaim_acked(endpoint);
    if (endpoint->tail - endpoint->head >= MCA_BTL_VMSHM_RECLAIM_AFTER) {
        mca_btl_vmshm_reclaim(endpoint);
    }
    cell = mca_btl_vmshm_cell_take(arena, &cell_class);
    if (OPAL_UNLIKELY(0 == cell)) {
        return false;
    }
    /* A cell has a line more than its bytes: the user's data are aligned in it. */
    at = cell + start_of(header_size, bytes);
    if (0 == ++endpoint->cells_sent % SAMPLE_EVERY) {
        mca_btl_vmshm_distance_sample(endpoint);
    }
    fill(mca_btl_vmshm_at(at), convertor, header, header_size, payload_size,
         endpoint->far && bytes >= PAST_CACHES_FROM);
    mca_btl_vmshm_ring_inflight(endpoint, endpoint->tail)->cell = cell | (uint64_t) cell_class;
    mca_btl_vmshm_ring_inflight(endpoint, endpoint->tail)->bytes =
        endpoint->far ? 0 : (uint32_t) (at - cell + bytes);
    endpoint->cells_out += 1;
    mca_btl_vmshm_ring_publish_cell(endpoint, at, bytes, tag);
    return true;
}

/* Endpoint lock held. */
static inline bool send_now(mca_btl_vmshm_endpoint_t *endpoint, struct opal_convertor_t *convertor,
                            const void *header, size_t header_size, size_t payload_size,
                            mca_btl_base_tag_t tag)
{
    const size_t bytes = header_size + payload_size;
    const size_t start = start_of(header_size, bytes);
    const uint32_t slots = mca_btl_vmshm_ring_slots(start, bytes);

    if (OPAL_UNLIKELY(!opal_list_is_empty(&endpoint->pending))) {
        return false;
    }
    if (slots <= VMSHM_INLINE_SLOTS && mca_btl_vmshm_ring_make_room(endpoint, slots)) {
        fill_inline(mca_btl_vmshm_ring_slot(endpoint), start, convertor, header, header_size,
                    payload_size);
        mca_btl_vmshm_ring_publish(endpoint, VMSHM_SLOT_INLINE, slots, start, bytes, tag);
    } else if (1 == slots
               || !send_cell(endpoint, convertor, header, header_size, payload_size, tag)) {
        return false;
    }
    endpoint->messages += 1;
    endpoint->bytes += bytes;
    return true;
}

int mca_btl_vmshm_sendi(struct mca_btl_base_module_t *btl,
                        struct mca_btl_base_endpoint_t *endpoint,
                        struct opal_convertor_t *convertor, void *header, size_t header_size,
                        size_t payload_size, uint8_t order, uint32_t flags,
                        mca_btl_base_tag_t tag, mca_btl_base_descriptor_t **descriptor)
{
    bool sent;

    OPAL_THREAD_LOCK(&endpoint->lock);
    sent = OPAL_LIKELY(MCA_BTL_VMSHM_FATE_ALIVE == endpoint->fate)
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
