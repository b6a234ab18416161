/* SPDX-License-Identifier: BSD-3-Clause */
#include "opal_config.h"

#include "btl_vmshm_frag.h"
#include "btl_vmshm_item.h"

#include <stdlib.h>

static void frag_construct(mca_btl_vmshm_frag_t *frag)
{
    frag->base.des_segments = &frag->segment;
    frag->base.des_segment_count = 1;
    frag->cell = 0;
    frag->heap = NULL;
}

OBJ_CLASS_INSTANCE(mca_btl_vmshm_frag_t, mca_btl_base_descriptor_t, frag_construct, NULL);

mca_btl_vmshm_frag_t *mca_btl_vmshm_frag_take(size_t size, uint32_t flags, bool in_cell)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    mca_btl_vmshm_frag_t *frag;

    if (OPAL_UNLIKELY(size > c->memory.cell_bytes[MCA_BTL_VMSHM_CELL_MAX])) {
        return NULL;
    }
    frag = (mca_btl_vmshm_frag_t *) mca_btl_vmshm_item_take(&c->frags);
    if (OPAL_UNLIKELY(NULL == frag)) {
        return NULL;
    }
    frag->cell = 0;
    frag->heap = NULL;
    frag->segment.seg_len = size;
    frag->base.des_segments = &frag->segment;
    frag->base.des_segment_count = 1;
    frag->base.des_flags = flags;
    frag->base.des_cbfunc = NULL;
    frag->base.order = MCA_BTL_NO_ORDER;
    frag->kind = VMSHM_SLOT_INLINE;
    if (size <= MCA_BTL_VMSHM_SMALL_BYTES) {
        frag->segment.seg_addr.pval = frag->bytes;
        return frag;
    }
    frag->cell_class = mca_btl_vmshm_cell_class(size);
    if (OPAL_LIKELY(in_cell)) {
        frag->cell = mca_btl_vmshm_cell_take(&c->memory, &frag->cell_class);
    }
    if (OPAL_LIKELY(0 != frag->cell)) {
        frag->segment.seg_addr.pval = mca_btl_vmshm_at(frag->cell);
        return frag;
    }
    frag->heap = malloc(size);
    if (NULL == frag->heap) {
        mca_btl_vmshm_item_give(&c->frags, &frag->base.super);
        return NULL;
    }
    frag->segment.seg_addr.pval = frag->heap;
    return frag;
}

void mca_btl_vmshm_frag_give(mca_btl_vmshm_frag_t *frag)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;

    if (0 != frag->cell) {
        mca_btl_vmshm_cell_give(&c->memory, frag->cell, frag->cell_class);
        frag->cell = 0;
    }
    free(frag->heap);
    frag->heap = NULL;
    mca_btl_vmshm_item_give(&c->frags, &frag->base.super);
}

void mca_btl_vmshm_frag_complete(mca_btl_vmshm_endpoint_t *endpoint, mca_btl_vmshm_frag_t *frag,
                                 int status)
{
    /* The callback may free the descriptor, so read the flags before. */
    const bool ours = 0 != (frag->base.des_flags & MCA_BTL_DES_FLAGS_BTL_OWNERSHIP);

    if (NULL != frag->base.des_cbfunc) {
        frag->base.des_cbfunc(&mca_btl_vmshm.super, endpoint, &frag->base, status);
    }
    if (ours) {
        mca_btl_vmshm_frag_give(frag);
    }
}

mca_btl_base_descriptor_t *mca_btl_vmshm_alloc(struct mca_btl_base_module_t *btl,
                                               struct mca_btl_base_endpoint_t *endpoint,
                                               uint8_t order, size_t size, uint32_t flags)
{
    bool in_cell;

    (void) btl;
    (void) order;
    OPAL_THREAD_LOCK(&endpoint->lock);
    in_cell = mca_btl_vmshm_belongs_in_cell(endpoint);
    OPAL_THREAD_UNLOCK(&endpoint->lock);
    return (mca_btl_base_descriptor_t *) mca_btl_vmshm_frag_take(size, flags, in_cell);
}

int mca_btl_vmshm_free(struct mca_btl_base_module_t *btl, mca_btl_base_descriptor_t *des)
{
    (void) btl;
    mca_btl_vmshm_frag_give((mca_btl_vmshm_frag_t *) des);
    return OPAL_SUCCESS;
}

void mca_btl_vmshm_next_cell_give(mca_btl_vmshm_endpoint_t *endpoint)
{
    if (0 != endpoint->out.next_cell) {
        mca_btl_vmshm_cell_give(&mca_btl_vmshm_context.memory, endpoint->out.next_cell,
                                MCA_BTL_VMSHM_CELL_EAGER);
        endpoint->out.next_cell = 0;
    }
}
