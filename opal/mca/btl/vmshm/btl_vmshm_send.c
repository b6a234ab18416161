/* SPDX-License-Identifier: BSD-3-Clause */
/* Sending a descriptor: into the ring, or to the end of the pending list if there is no room. */
/* Modelled in test/model/ring.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm_frag.h"
#include "btl_vmshm_ring.h"
#include "btl_vmshm_send.h"

#include <stdlib.h>
#include <string.h>

void mca_btl_vmshm_work_on(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;

    if (vmshm_load_relaxed(&endpoint->working)) {
        return;
    }
    OPAL_THREAD_LOCK(&c->lock);
    if (!endpoint->working) {
        vmshm_store_relaxed(&endpoint->working, true);
        OBJ_RETAIN(endpoint);           /* released by work() */
        opal_list_append(&c->working, &endpoint->super);
        vmshm_store_relaxed(&c->working_count, c->working_count + 1);
    }
    OPAL_THREAD_UNLOCK(&c->lock);
}

/* Must the callback be called, or the descriptor kept, until the peer has consumed the fragment? If not, the
 * descriptor, which the BTL owns, can be freed once the message is in the ring. */
static inline bool wants_consumption(const mca_btl_vmshm_frag_t *frag)
{
    return MCA_BTL_DES_FLAGS_BTL_OWNERSHIP
           != (frag->base.des_flags
               & (MCA_BTL_DES_FLAGS_BTL_OWNERSHIP | MCA_BTL_DES_SEND_ALWAYS_CALLBACK));
}

/* Take the cell of a fragment further back in the pending list for the fragment at its front: the owner cannot be sent
 * before the front fragment anyway. Its data move to the heap. 0: no pending fragment has a suitable cell. */
static uint64_t cell_from_behind(mca_btl_vmshm_endpoint_t *endpoint, size_t bytes, int *cell_class)
{
    mca_btl_vmshm_frag_t *frag;
    bool any = false;

    if (!endpoint->out.pending_cells) {
        return 0;                       /* do not search a possibly long list in each poll */
    }
    OPAL_LIST_FOREACH(frag, &endpoint->out.pending, mca_btl_vmshm_frag_t) {
        const uint64_t cell = frag->cell;

        any |= 0 != cell;
        if (0 == cell || mca_btl_vmshm_context.memory.cell_bytes[frag->cell_class] < bytes) {
            continue;
        }
        frag->heap = malloc(frag->segment.seg_len);
        if (NULL == frag->heap) {
            return 0;
        }
        memcpy(frag->heap, frag->segment.seg_addr.pval, frag->segment.seg_len);
        frag->segment.seg_addr.pval = frag->heap;
        frag->cell = 0;
        *cell_class = frag->cell_class;
        return cell;
    }
    endpoint->out.pending_cells = any;
    return 0;
}

/* Get a cell for a fragment on the heap, and copy the fragment there. */
static bool move_to_cell(mca_btl_vmshm_endpoint_t *endpoint, mca_btl_vmshm_frag_t *frag)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    uint64_t cell;

    if (!mca_btl_vmshm_may_have_cell(endpoint)) {
        return false;                   /* wait until the peer has consumed some of its cells */
    }
    cell = mca_btl_vmshm_cell_take(&c->memory, &frag->cell_class);
    if (0 == cell) {
        mca_btl_vmshm_reclaim(endpoint);
        cell = mca_btl_vmshm_cell_take(&c->memory, &frag->cell_class);
    }
    if (0 == cell) {
        cell = cell_from_behind(endpoint, frag->segment.seg_len, &frag->cell_class);
    }
    if (0 == cell) {
        vmshm_store_relaxed(&c->starved, true);
        return false;
    }
    memcpy(mca_btl_vmshm_at(cell), frag->heap, frag->segment.seg_len);
    free(frag->heap);
    frag->heap = NULL;
    frag->cell = cell;
    frag->segment.seg_addr.pval = mca_btl_vmshm_at(cell);
    return true;
}

/* Endpoint lock held. True: the fragment is in the ring, and recorded as in flight if it wants_consumption().
 * False: no slot or no cell. */
static bool try_send(mca_btl_vmshm_endpoint_t *endpoint, mca_btl_vmshm_frag_t *frag)
{
    const size_t bytes = frag->segment.seg_len;
    const size_t start = VMSHM_SLOT_INLINE == frag->kind ? mca_btl_vmshm_ring_start(bytes)
                                                         : VMSHM_SLOT_HEAD_BYTES;
    const uint32_t slots = 0 != frag->cell || NULL != frag->heap
                           ? 1 : mca_btl_vmshm_ring_slots(start, bytes);
    mca_btl_vmshm_inflight_t *sent;

    if (!mca_btl_vmshm_ring_make_room(endpoint, slots)
        || (NULL != frag->heap && !move_to_cell(endpoint, frag))) {
        return false;
    }
    sent = mca_btl_vmshm_ring_inflight(endpoint, endpoint->out.tail);
    if (wants_consumption(frag)) {
        sent->frag = frag;
        endpoint->out.callbacks += 1;
    } else if (0 != frag->cell) {
        sent->cell = frag->cell | (uint64_t) frag->cell_class;
        endpoint->out.cells_out += 1;
    }
    mca_btl_vmshm_count(endpoint, 1, bytes);
    if (0 != frag->cell) {
        mca_btl_vmshm_ring_publish_cell(endpoint, frag->cell, bytes, frag->tag);
    } else {
        memcpy((uint8_t *) mca_btl_vmshm_ring_slot(endpoint) + start, frag->bytes, bytes);
        mca_btl_vmshm_ring_publish(endpoint, frag->kind, slots, start, bytes, frag->tag);
    }
    if (!wants_consumption(frag)) {
        frag->cell = 0;                 /* `inflight` has it now */
    }
    return true;
}

void mca_btl_vmshm_flush(mca_btl_vmshm_endpoint_t *endpoint)
{
    while (!opal_list_is_empty(&endpoint->out.pending)) {
        mca_btl_vmshm_frag_t *frag =
            (mca_btl_vmshm_frag_t *) opal_list_get_first(&endpoint->out.pending);

        /* Remove it before it is in the ring: a fragment in flight may be put on another list. */
        opal_list_remove_first(&endpoint->out.pending);
        if (!try_send(endpoint, frag)) {
            opal_list_prepend(&endpoint->out.pending, (opal_list_item_t *) frag);
            return;
        }
        if (!wants_consumption(frag)) {
            opal_list_append(&endpoint->out.done, (opal_list_item_t *) frag);
        }
    }
}

int mca_btl_vmshm_send(struct mca_btl_base_module_t *btl,
                       struct mca_btl_base_endpoint_t *endpoint,
                       struct mca_btl_base_descriptor_t *descriptor, mca_btl_base_tag_t tag)
{
    mca_btl_vmshm_frag_t *frag = (mca_btl_vmshm_frag_t *) descriptor;
    bool sent, now;

    (void) btl;
    frag->tag = tag;
    OPAL_THREAD_LOCK(&endpoint->lock);
    /* Fail only after the user was told the cause: the error makes ob1 end the job with an internal error. */
    if (OPAL_UNLIKELY(endpoint->attended)) {
        OPAL_THREAD_UNLOCK(&endpoint->lock);
        return OPAL_ERR_UNREACH;
    }
    sent = opal_list_is_empty(&endpoint->out.pending) && try_send(endpoint, frag);
    if (!sent) {
        endpoint->out.pending_cells |= 0 != frag->cell;
        opal_list_append(&endpoint->out.pending, (opal_list_item_t *) frag);
    }
    now = sent && !wants_consumption(frag);
    if (!now) {
        mca_btl_vmshm_work_on(endpoint);
    }
    OPAL_THREAD_UNLOCK(&endpoint->lock);
    if (!now) {
        return OPAL_SUCCESS;
    }
    mca_btl_vmshm_frag_give(frag);
    return 1;
}
