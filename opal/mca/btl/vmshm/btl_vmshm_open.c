/* SPDX-License-Identifier: BSD-3-Clause */
/* The sender's side of a connection: making a ring, growing it, taking back what the peer consumed. */
/* Modelled in test/model/ring.pml and connect.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm_check.h"
#include "btl_vmshm_connect.h"
#include "btl_vmshm_frag.h"
#include "btl_vmshm_ring.h"

#include <stdlib.h>
#include <string.h>

/* A first ring is small, for there may be one towards every rank. A pair that sends more than a few
 * messages gets a ring of this size even if its peer keeps up: each look at the peer's head is a
 * cache miss, and a ring of N slots needs one every N - 1 messages. */
#define BUSY_SLOTS 64
#define BUSY_AFTER 32

/* A ring whose first message will be at `first`; 0: no memory. */
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
    /* The memory may have been a ring before: whatever stands in a slot must not look published. */
    for (uint64_t p = first; p < first + slots; ++p) {
        vmshm_store_relaxed(&slot[p & (slots - 1)].word, VMSHM_SLOT_CLEAR(p));
    }
    /* A peer that loaded this offset long ago may look now: that the ring is for it comes last. */
    vmshm_store_release(&ring->to, endpoint->peer->nonce);
    return offset;
}

/* First rings have memory of their own; when that is gone, too, it may come back from peers that leave
 * and from other jobs. Those who are to send wait meanwhile, but not for ever. */
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
        return OPAL_ERR_UNREACH;        /* nobody would give it back */
    }
    offset = make_ring(endpoint, slots, 0);
    if (0 == offset) {
        await_memory(endpoint);
        return OPAL_ERR_OUT_OF_RESOURCE;
    }
    endpoint->out.no_ring_since = 0;
    endpoint->out.inflight = calloc(slots, sizeof *endpoint->out.inflight);
    endpoint->out.stale = calloc(slots, sizeof *endpoint->out.stale);
    /* The ring must be complete before its offset is seen, the offset before the bell. */
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

/* Continue in a ring of more slots. */
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

    /* One switch at a time: the last one must have been consumed. */
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

    /* Most messages leave nothing behind. */
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
        if (NULL == endpoint->out.ring || mca_btl_vmshm_is_unread(endpoint)) {
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
    /* A long message alone is no reason to grow: it has a cell. */
    if (!busy && slots > MCA_BTL_VMSHM_SMALL_SLOTS) {
        return mca_btl_vmshm_ring_has_room(endpoint, slots);
    }
    busy = busy && endpoint->out.slots < BUSY_SLOTS;
    while ((busy || !mca_btl_vmshm_ring_has_room(endpoint, slots)) && ring_grow(endpoint)) {
        busy = false;
    }
    return mca_btl_vmshm_ring_has_room(endpoint, slots);
}
