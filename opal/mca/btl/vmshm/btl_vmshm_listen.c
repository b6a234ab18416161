/* SPDX-License-Identifier: BSD-3-Clause */
/* The receiver's side of a connection: checking bells, finding rings, switching to larger rings. */
/* Modelled in test/model/connect.pml and head.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm_check.h"
#include "btl_vmshm_connect.h"

#include <stdlib.h>
#include <string.h>

/* A dummy head for peers that are gone: nobody reads it. */
static struct vmshm_head nobodys_head;

/* Scan the VM's processes again although its bell has not rung. */
static void look_again(uint32_t vm)
{
    vmshm_store_relaxed(&mca_btl_vmshm_context.unheard[vm], 2);
}

/* A silent peer may come back, see vmshm_peer_forgive(). */
static bool is_running(const mca_btl_vmshm_endpoint_t *endpoint)
{
    const int32_t fate = vmshm_fate(endpoint->peer);

    return VMSHM_FATE_ALIVE == fate || VMSHM_FATE_SILENT == fate;
}

/* Receive from the ring at `offset` from now on. */
static bool take_ring(mca_btl_vmshm_endpoint_t *endpoint, uint64_t offset, const char **why)
{
    mca_btl_vmshm_found_ring_t ring;

    if (!mca_btl_vmshm_check_ring(endpoint, offset, &ring, why)) {
        return false;
    }
    endpoint->in.ring = ring.slots;
    endpoint->in.mask = ring.mask;
    endpoint->in.position = ring.first;
    return true;
}

bool mca_btl_vmshm_ring_follow(mca_btl_vmshm_endpoint_t *endpoint, uint64_t offset,
                               uint64_t first, const char **why)
{
    const uint32_t mask = endpoint->in.mask;

    if (!take_ring(endpoint, offset, why) || first != endpoint->in.position) {
        if (NULL == *why) {
            *why = "the ring it switches to is not one from the peer to this process";
        }
        return false;
    }
    /* Otherwise a cycle of rings would be followed forever. */
    if (endpoint->in.mask <= mask) {
        *why = "the ring it switches to is not larger";
        return false;
    }
    return true;
}

static bool roster_add(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;

    if (c->hot_count + c->cold_count == c->roster_room) {
        const uint32_t room = 0 == c->roster_room ? 32 : 2 * c->roster_room;
        mca_btl_vmshm_watch_t *hot = realloc(c->hot, room * sizeof *hot), *cold;

        if (NULL == hot) {
            return false;
        }
        c->hot = hot;
        cold = realloc(c->cold, room * sizeof *cold);
        if (NULL == cold) {
            return false;
        }
        c->cold = cold;
        c->roster_room = room;
    }
    mca_btl_vmshm_watch_set(&c->hot[c->hot_count++], endpoint);
    return true;
}

void mca_btl_vmshm_ring_accept(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const uint64_t offset = mca_btl_vmshm_check_entry(endpoint, vmshm_rings_offset());
    const bool alive = is_running(endpoint);
    const char *why = NULL;

    if (0 == offset || mca_btl_vmshm_is_unreadable(endpoint)) {
        return;
    }
    if (alive && 0 == endpoint->in.head_offset) {
        endpoint->in.head_offset = mca_btl_vmshm_line_take(&c->memory);
    }
    if ((alive && 0 == endpoint->in.head_offset) || !take_ring(endpoint, offset, &why)) {
        if (NULL != why) {
            vmshm_peer_broken(endpoint->peer, "ring", why);
        } else if (alive && 0 == endpoint->in.head_offset) {
            look_again(endpoint->peer->vm);   /* out of memory: retry */
        }
        return;
    }
    /* A peer that is gone does not read our head, and our table entry may already be for its slot's next process. */
    endpoint->in.my_head = 0 == endpoint->in.head_offset ? &nobodys_head
                                                   : mca_btl_vmshm_at(endpoint->in.head_offset);
    /* The line may have been the head for another peer: store `from` last, with release. */
    vmshm_store_relaxed(&endpoint->in.consumed, endpoint->in.position);
    vmshm_store_relaxed(&endpoint->in.my_head->head, endpoint->in.position);
    vmshm_store_relaxed(&endpoint->in.my_head->chunks, 0);
    vmshm_store_release(&endpoint->in.my_head->from, endpoint->peer->nonce);
    if (!roster_add(endpoint)) {
        endpoint->in.ring = NULL;
        look_again(endpoint->peer->vm);
        return;
    }
    if (alive) {
        (void) mca_btl_vmshm_entry_set(vmshm_heads_offset(mca_btl_vmshm_header()), endpoint,
                                       endpoint->in.head_offset);
    }
}

/* Connect lock held. */
static bool is_key_known(const uint8_t key[16])
{
    const mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;

    for (uint32_t i = 0; i < c->key_count; ++i) {
        if (0 == memcmp(c->keys[i], key, 16)) {
            return true;
        }
    }
    return false;
}

void mca_btl_vmshm_key_add(const uint8_t key[16])
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    uint8_t (*keys)[16] = NULL;

    OPAL_THREAD_LOCK(&c->connect_lock);
    if (!is_key_known(key)) {
        keys = realloc(c->keys, (c->key_count + 1) * sizeof *keys);
    }
    if (NULL != keys) {
        c->keys = keys;
        memcpy(c->keys[c->key_count++], key, 16);
        for (uint32_t vm = 0; vm < VMSHM_MAX_VMS; ++vm) {
            if (0 != vmshm_load_relaxed(&c->unheard[vm])) {
                look_again(vm);
            }
        }
    }
    OPAL_THREAD_UNLOCK(&c->connect_lock);
}

/* Do we know the key? If not, note in `unheard` that a process of that VM has an unknown key. Under the lock, so that
 * a concurrent mca_btl_vmshm_key_add() is not missed. */
static bool is_key_held(const uint8_t key[16], uint32_t vm)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    bool held;

    OPAL_THREAD_LOCK(&c->connect_lock);
    held = is_key_known(key);
    if (!held && 0 == vmshm_load_relaxed(&c->unheard[vm])) {
        vmshm_store_relaxed(&c->unheard[vm], 1);
    }
    OPAL_THREAD_UNLOCK(&c->connect_lock);
    return held;
}

/* Do we already receive from the process in that slot? In a large job that is true for most slots whenever
 * a bell has rung. */
static bool is_heard(uint32_t vm, uint32_t slot)
{
    const mca_btl_vmshm_endpoint_t *endpoint =
        mca_btl_vmshm_table_at(vmshm_proc_index(mca_btl_vmshm_header(), vm, slot));

    return NULL != endpoint && NULL != endpoint->in.ring
           && vmshm_peer_generation(mca_btl_vmshm_member(), vm, slot) == endpoint->peer->generation;
}

void mca_btl_vmshm_listen(uint32_t vm)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const struct vmshm_member *m = mca_btl_vmshm_member();
    const uint32_t bell = vmshm_load_acquire(c->bell[vm]);

    if (OPAL_LIKELY(bell == c->bells[vm] && vmshm_load_relaxed(&c->unheard[vm]) < 2)) {
        return;
    }
    /* Store the bell's value before searching: if a ring is created meanwhile, the bell's value changes again. */
    c->bells[vm] = bell;
    vmshm_store_relaxed(&c->unheard[vm], 0);
    for (uint32_t slot = 0; slot < m->segment.header.procs; ++slot) {
        mca_btl_vmshm_endpoint_t *endpoint;
        struct vmshm_address a;
        struct vmshm_error e;
        struct vmshm_proc proc;

        if ((vm == m->id.vm && slot == m->slot) || is_heard(vm, slot)
            || !vmshm_peer_read(m, vm, slot, &proc)
            || VMSHM_PROC_LIVE != proc.state || VMSHM_NO_WINDOW == proc.window
            || m->uid != proc.uid) {
            continue;
        }
        if (!is_key_held(proc.job, vm)) {
            continue;
        }
        memset(&a, 0, sizeof a);
        memcpy(a.segment_uuid, m->segment.header.segment_uuid, sizeof a.segment_uuid);
        memcpy(a.job, proc.job, sizeof a.job);
        a.format = VMSHM_FORMAT_VERSION;
        a.vm = vm;
        a.slot = slot;
        a.epoch = vmshm_vm_epoch(m, vm);
        a.nonce = proc.nonce;
        a.generation = proc.generation;
        endpoint = mca_btl_vmshm_endpoint_get(&a, &e);
        if (NULL == endpoint && VMSHM_ERR_PEER != e.code && VMSHM_ERR_USER != e.code) {
            /* Otherwise its messages would wait forever. */
            vmshm_peer_unmapped(&c->attached->registry, NULL, &e);
        }
        if (NULL != endpoint && NULL == endpoint->in.ring && is_running(endpoint)) {
            mca_btl_vmshm_ring_accept(endpoint);
        }
    }
}
