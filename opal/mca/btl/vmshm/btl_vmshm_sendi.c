/* Send at once, without a descriptor: the path of every eager message. */
/* Modelled in test/model/ring.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm_frag.h"
#include "btl_vmshm_pack.h"
#include "btl_vmshm_ring.h"

#include <string.h>

/* Header and packed payload to `to`, which has room for both. */
static inline void fill(uint8_t *to, struct opal_convertor_t *convertor, const void *header,
                        size_t header_size, size_t payload_size)
{
    memcpy(to, header, header_size);
    if (payload_size > 0) {
        (void) mca_btl_vmshm_pack(convertor, to + header_size, &payload_size);
    }
}

/* Endpoint lock held. */
static inline bool send_now(mca_btl_vmshm_endpoint_t *endpoint, struct opal_convertor_t *convertor,
                            const void *header, size_t header_size, size_t payload_size,
                            mca_btl_base_tag_t tag)
{
    mca_btl_vmshm_arena_t *arena = &mca_btl_vmshm_component.arena;
    const size_t bytes = header_size + payload_size;
    int cell_class;
    uint64_t cell;

    if (OPAL_UNLIKELY(!opal_list_is_empty(&endpoint->pending)
                      || !mca_btl_vmshm_ring_make_room(endpoint))) {
        return false;
    }
    if (bytes <= VMSHM_INLINE_BYTES) {
        fill(mca_btl_vmshm_ring_slot(endpoint)->payload, convertor, header, header_size,
             payload_size);
        mca_btl_vmshm_ring_publish(endpoint, VMSHM_SLOT_INLINE, bytes, tag);
    } else {
        if (bytes > arena->cell_bytes[MCA_BTL_VMSHM_CELL_MAX]) {
            return false;
        }
        if (endpoint->tail - endpoint->head >= MCA_BTL_VMSHM_RECLAIM_AFTER) {
            mca_btl_vmshm_reclaim(endpoint);
        }
        cell_class = mca_btl_vmshm_cell_class(bytes);
        cell = mca_btl_vmshm_cell_take(arena, &cell_class);
        if (OPAL_UNLIKELY(0 == cell)) {
            return false;
        }
        fill(mca_btl_vmshm_at(cell), convertor, header, header_size, payload_size);
        mca_btl_vmshm_ring_inflight(endpoint, endpoint->tail)->cell = cell | (uint64_t) cell_class;
        mca_btl_vmshm_ring_publish_cell(endpoint, cell, bytes, tag);
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
