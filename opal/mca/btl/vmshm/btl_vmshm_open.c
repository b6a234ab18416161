/* SPDX-License-Identifier: BSD-3-Clause */
/* The sender's side of a connection: creating a ring, growing it, reclaiming what the peer has consumed. */
/* Modelled in test/model/connect.pml, head.pml and ring.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm_check.h"
#include "btl_vmshm_connect.h"
#include "btl_vmshm_frag.h"
#include "btl_vmshm_ring.h"

#include <stdlib.h>
#include <string.h>

/* A first ring is small, since there may be one to every rank. After BUSY_AFTER messages it grows to
 * BUSY_SLOTS slots, even if the peer keeps up: each read of the peer's head is a cache miss, and a ring
 * of N slots needs one for every N - 1 messages. */
#define BUSY_SLOTS 64
#define BUSY_AFTER 32

/* Create a ring whose first message will be at position `first`. Returns its offset; 0: no memory. */
static uint64_t make_ring(const mca_btl_vmshm_endpoint_t *endpoint, uint32_t slots, uint64_t first)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const uint64_t offset = mca_btl_vmshm_ring_take(&c->memory, slots);
    struct vmshm_ring *ring;
    struct vmshm_slot *slot;

    if (0 == offset) {
        return 0;
    }
    ring = mca_btl_vmshm_at(offset);
    slot = (struct vmshm_slot *) (ring + 1);
    memset(ring, 0, sizeof *ring);
    ring->magic = VMSHM_RING_MAGIC;
    ring->slots = slots;
    ring->from = mca_btl_vmshm_member()->nonce;
    ring->first = first;
    /* The memory may have been a ring before: old words must not look like published messages. */
    for (uint64_t p = first; p < first + slots; ++p) {
        vmshm_store_relaxed(&slot[p & (slots - 1)].word, VMSHM_SLOT_CLEAR(p));
    }
    /* Store `to` last, with release: a peer that loaded this offset long ago may read the ring at any moment. */
    vmshm_store_release(&ring->to, endpoint->peer->nonce);
    return offset;
}

/* Even the memory that is reserved for first rings is used up. It may be freed when peers leave or other
 * jobs end, so messages wait, but not forever: give the peer up after MCA_BTL_VMSHM_NO_RING_TICKS. */
static void await_memory(mca_btl_vmshm_endpoint_t *endpoint)
{
    const uint32_t now = vmshm_load_relaxed(&mca_btl_vmshm_context.attached->monitor.ticks);

    if (0 == endpoint->out.no_ring_since) {
        endpoint->out.no_ring_since = now;
    } else if (now - endpoint->out.no_ring_since >= MCA_BTL_VMSHM_NO_RING_TICKS) {
        vmshm_fate_set(endpoint->peer, VMSHM_FATE_NO_MEMORY);
        mca_btl_vmshm_alert();
    }
}

int mca_btl_vmshm_ring_open(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const uint32_t slots = c->ring_slots;
    uint64_t offset;

    if (!mca_btl_vmshm_is_alive(endpoint)) {
        return OPAL_ERR_UNREACH;        /* nothing would free the ring later */
    }
    offset = make_ring(endpoint, slots, 0);
    if (0 == offset) {
        await_memory(endpoint);
        return OPAL_ERR_OUT_OF_RESOURCE;
    }
    endpoint->out.no_ring_since = 0;
    endpoint->out.inflight = calloc(slots, sizeof *endpoint->out.inflight);
    endpoint->out.stale = calloc(slots, sizeof *endpoint->out.stale);
    /* The ring must be complete before its offset is visible, and the offset must be visible before the bell rings. */
    if (NULL == endpoint->out.inflight || NULL == endpoint->out.stale
        || !mca_btl_vmshm_entry_set(vmshm_rings_offset(), endpoint, offset)) {
        free(endpoint->out.inflight);
        free(endpoint->out.stale);
        endpoint->out.inflight = NULL;
        endpoint->out.stale = NULL;
        mca_btl_vmshm_ring_give(&c->memory, offset, slots);
        return OPAL_ERR_OUT_OF_RESOURCE;
    }
    endpoint->out.stales = 0;
    endpoint->out.offset = offset;
    endpoint->out.slots = slots;
    endpoint->out.mask = slots - 1;
    endpoint->out.ring = (struct vmshm_slot *) ((struct vmshm_ring *) mca_btl_vmshm_at(offset) + 1);
    vmshm_ring_bell(mca_btl_vmshm_member(), endpoint->peer->vm, endpoint->peer->slot);
    return OPAL_SUCCESS;
}

/* Create a larger ring, and switch to it. */
static bool ring_grow(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const uint32_t old_slots = endpoint->out.slots, old_mask = endpoint->out.mask;
    const uint64_t old_offset = endpoint->out.offset, last = endpoint->out.tail;
    const uint32_t wanted = old_slots < BUSY_SLOTS ? BUSY_SLOTS : old_slots * 4;
    const uint32_t slots = wanted < c->ring_slots_max ? wanted : c->ring_slots_max;
    mca_btl_vmshm_inflight_t *inflight;
    uint64_t offset;
    bool *stale;

    /* Only one switch at a time: the peer must have consumed the previous one. */
    if (slots <= old_slots || 0 != endpoint->out.old_offset
        || endpoint->out.tail - endpoint->out.head >= old_slots) {
        return false;
    }
    inflight = calloc(slots, sizeof *inflight);
    stale = calloc(slots, sizeof *stale);
    offset = NULL == inflight || NULL == stale ? 0 : make_ring(endpoint, slots, last + 1);
    if (0 == offset) {
        free(inflight);
        free(stale);
        return false;
    }
    memcpy(mca_btl_vmshm_ring_slot(endpoint)->payload, &offset, sizeof offset);
    mca_btl_vmshm_ring_publish(endpoint, VMSHM_SLOT_SWITCH, 1, VMSHM_SLOT_HEAD_BYTES, sizeof offset,
                               0);

    for (uint64_t p = endpoint->out.head; p < last; ++p) {
        inflight[p & (slots - 1)] = endpoint->out.inflight[p & old_mask];
    }
    free(endpoint->out.inflight);
    endpoint->out.inflight = inflight;
    free(endpoint->out.stale);
    endpoint->out.stale = stale;
    endpoint->out.stales = 0;
    endpoint->out.old_offset = old_offset;
    endpoint->out.old_slots = old_slots;
    endpoint->out.old_last = last;
    endpoint->out.offset = offset;
    endpoint->out.slots = slots;
    endpoint->out.mask = slots - 1;
    endpoint->out.ring = (struct vmshm_slot *) ((struct vmshm_ring *) mca_btl_vmshm_at(offset) + 1);
    return true;
}

void mca_btl_vmshm_reclaim_to(mca_btl_vmshm_endpoint_t *endpoint, uint64_t head)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;

    /* The loop ends early because most messages have nothing to reclaim. */
    for (uint64_t p = endpoint->out.head; p < head && endpoint->out.cells_out + endpoint->out.callbacks > 0; ++p) {
        mca_btl_vmshm_inflight_t *sent = mca_btl_vmshm_ring_inflight(endpoint, p);

        if (NULL != sent->frag) {
            opal_list_append(&endpoint->out.done, (opal_list_item_t *) sent->frag);
            endpoint->out.callbacks -= 1;
            sent->frag = NULL;
        }
        if (0 != sent->cell) {
            mca_btl_vmshm_cell_give(&c->memory, sent->cell & ~(uint64_t) (VMSHM_LINE_BYTES - 1),
                                    (int) (sent->cell & (VMSHM_LINE_BYTES - 1)));
            sent->cell = 0;
            endpoint->out.cells_out -= 1;
        }
    }
    endpoint->out.head = head;
    if (0 != endpoint->out.old_offset && head > endpoint->out.old_last) {
        mca_btl_vmshm_ring_give(&c->memory, endpoint->out.old_offset, endpoint->out.old_slots);
        endpoint->out.old_offset = 0;
    }
}

void mca_btl_vmshm_reclaim(mca_btl_vmshm_endpoint_t *endpoint)
{
    uint64_t head;

    if (OPAL_UNLIKELY(NULL == endpoint->out.peer_head)) {
        if (NULL == endpoint->out.ring || mca_btl_vmshm_is_unreadable(endpoint)) {
            return;
        }
        endpoint->out.peer_head = mca_btl_vmshm_check_head(endpoint);
        if (NULL == endpoint->out.peer_head) {
            return;
        }
    }
    if (mca_btl_vmshm_check_consumed(endpoint, &head)) {
        mca_btl_vmshm_reclaim_to(endpoint, head);
    }
}

bool mca_btl_vmshm_ring_relieve(mca_btl_vmshm_endpoint_t *endpoint, uint32_t slots)
{
    bool busy = endpoint->out.tail >= BUSY_AFTER;

    if (OPAL_UNLIKELY(NULL == endpoint->out.ring)) {
        return OPAL_SUCCESS == mca_btl_vmshm_ring_open(endpoint)
               && mca_btl_vmshm_ring_has_room(endpoint, slots);
    }
    mca_btl_vmshm_reclaim_acked(endpoint);
    if (!mca_btl_vmshm_ring_has_room(endpoint, slots)) {
        mca_btl_vmshm_reclaim(endpoint);
    }
    /* Do not grow only for a long message: it can be sent in a cell. */
    if (!busy && slots > MCA_BTL_VMSHM_SMALL_SLOTS) {
        return mca_btl_vmshm_ring_has_room(endpoint, slots);
    }
    busy = busy && endpoint->out.slots < BUSY_SLOTS;
    while ((busy || !mca_btl_vmshm_ring_has_room(endpoint, slots)) && ring_grow(endpoint)) {
        busy = false;
    }
    return mca_btl_vmshm_ring_has_room(endpoint, slots);
}
