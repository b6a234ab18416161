/* SPDX-License-Identifier: BSD-3-Clause */
/* Peers: the object of each, its proof, the windows of it that this process reads. */
/* Modelled in test/model/connect.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm_connect.h"
#include "btl_vmshm_fate.h"
#include "btl_vmshm_stream.h"

#include <stdlib.h>
#include <string.h>

static void endpoint_construct(mca_btl_vmshm_endpoint_t *endpoint)
{
    memset((char *) endpoint + sizeof endpoint->super, 0,
           sizeof *endpoint - sizeof endpoint->super);
    OBJ_CONSTRUCT(&endpoint->retired_item, opal_list_item_t);
    OBJ_CONSTRUCT(&endpoint->lock, opal_mutex_t);
    OBJ_CONSTRUCT(&endpoint->out.pending, opal_list_t);
    OBJ_CONSTRUCT(&endpoint->out.done, opal_list_t);
}

static void endpoint_destruct(mca_btl_vmshm_endpoint_t *endpoint)
{
    OBJ_DESTRUCT(&endpoint->retired_item);
    OBJ_DESTRUCT(&endpoint->lock);
    OBJ_DESTRUCT(&endpoint->out.pending);
    OBJ_DESTRUCT(&endpoint->out.done);
    if (NULL != endpoint->streams) {
        OBJ_RELEASE(endpoint->streams);
    }
    free(endpoint->out.inflight);
    free(endpoint->out.stale);
    free(endpoint->peer.grown);
}

OBJ_CLASS_INSTANCE(mca_btl_vmshm_endpoint_t, opal_list_item_t, endpoint_construct,
                   endpoint_destruct);

static inline bool is_inside(uint64_t offset, uint64_t length, const mca_btl_vmshm_mapped_t *window)
{
    return vmshm_range_inside(offset, length, window->offset, window->length);
}

/* Is the process of the slot still the endpoint's? A window that was found live before is its, then: the
 * next process of the slot gets its generation before its first window. */
static bool is_present(const mca_btl_vmshm_endpoint_t *endpoint)
{
    struct vmshm_proc proc;

    return vmshm_peer_read(&mca_btl_vmshm_context.member, endpoint->peer.vm, endpoint->peer.slot, &proc)
           && proc.generation == endpoint->peer.generation;
}

/* A window the peer has grown by. The poller and a sender may both come here; entries are only ever
 * added, and the count is stored last. Table lock held. */
static bool add_grown(mca_btl_vmshm_endpoint_t *endpoint, uint64_t offset, uint64_t length)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    struct vmshm_window w;
    struct vmshm_error e;
    uint32_t index;

    if (0 == endpoint->peer.control.length || !is_present(endpoint)) {
        return false;                   /* what stands in the table is not its any more */
    }
    if (NULL == endpoint->peer.grown) {
        endpoint->peer.grown = calloc(MCA_BTL_VMSHM_MAX_WINDOWS - 1, sizeof *endpoint->peer.grown);
        if (NULL == endpoint->peer.grown) {
            vmshm_fail(&e, VMSHM_ERR_SYSTEM, "(memory)", "windows of a peer", "out of memory");
            mca_btl_vmshm_unmapped(endpoint, &e);
            return false;
        }
    }
    if (endpoint->peer.grown_count == MCA_BTL_VMSHM_MAX_WINDOWS - 1) {
        return false;
    }
    index = vmshm_reader_find(&c->member, endpoint->peer.vm, endpoint->peer.slot, offset, length, &w, &e);
    if (VMSHM_NO_WINDOW == index) {
        if (VMSHM_ERR_PEER != e.code) {
            mca_btl_vmshm_unmapped(endpoint, &e);
        }
        return false;
    }
    if (!is_present(endpoint)) {
        vmshm_reader_leave(&c->member, endpoint->peer.vm, index);    /* another process's, perhaps */
        return false;
    }
    endpoint->peer.grown[endpoint->peer.grown_count] = (mca_btl_vmshm_mapped_t) {
        .offset = w.offset, .length = w.length, .index = index,
    };
    vmshm_store_release(&endpoint->peer.grown_count, endpoint->peer.grown_count + 1);
    return true;
}

static bool is_known(const mca_btl_vmshm_endpoint_t *endpoint, uint64_t offset, uint64_t length)
{
    bool found = is_inside(offset, length, &endpoint->peer.control);

    for (uint32_t i = 0; !found && i < vmshm_load_acquire(&endpoint->peer.grown_count); ++i) {
        found = is_inside(offset, length, &endpoint->peer.grown[i]);
    }
    return found;
}

const void *mca_btl_vmshm_peer_memory(mca_btl_vmshm_endpoint_t *endpoint, uint64_t offset,
                                      uint64_t length)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    bool found = is_known(endpoint, offset, length);

    if (OPAL_UNLIKELY(!found)) {
        pthread_mutex_lock(&c->table_lock);
        /* Poller and sender may both miss it: it is entered once. */
        found = is_known(endpoint, offset, length) || add_grown(endpoint, offset, length);
        pthread_mutex_unlock(&c->table_lock);
    }
    return found ? mca_btl_vmshm_at(offset) : NULL;
}

static void roster_remove(mca_btl_vmshm_watch_t *roster, uint32_t *count,
                          const mca_btl_vmshm_endpoint_t *endpoint)
{
    for (uint32_t i = 0; i < *count; ++i) {
        if (roster[i].endpoint == endpoint) {
            roster[i] = roster[--*count];
            return;
        }
    }
}

void mca_btl_vmshm_endpoint_unmap(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;

    roster_remove(c->hot, &c->hot_count, endpoint);
    roster_remove(c->cold, &c->cold_count, endpoint);
    endpoint->in.ring = NULL;
    /* A sender may be looking at the peer's head. */
    OPAL_THREAD_LOCK(&endpoint->lock);
    pthread_mutex_lock(&c->table_lock);
    if (NULL != endpoint->streams) {
        endpoint->streams->channel_in = NULL;
    }
    endpoint->out.peer_head = NULL;
    if (0 != endpoint->peer.control.length) {
        vmshm_reader_leave(&c->member, endpoint->peer.vm, endpoint->peer.control.index);
    }
    for (uint32_t i = 0; i < endpoint->peer.grown_count; ++i) {
        vmshm_reader_leave(&c->member, endpoint->peer.vm, endpoint->peer.grown[i].index);
    }
    endpoint->peer.control.length = 0;       /* nothing is inside of it */
    vmshm_store_release(&endpoint->peer.grown_count, 0);
    endpoint->attended = true;
    pthread_mutex_unlock(&c->table_lock);
    OPAL_THREAD_UNLOCK(&endpoint->lock);
}

bool mca_btl_vmshm_entry_set(uint64_t table, const mca_btl_vmshm_endpoint_t *endpoint,
                             uint64_t offset)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const uint64_t at = vmshm_proc_index(mca_btl_vmshm_header(), endpoint->peer.vm, endpoint->peer.slot);
    bool present;

    pthread_mutex_lock(&c->table_lock);
    present = endpoint == c->table[at];
    if (present) {
        vmshm_store_release(mca_btl_vmshm_own_entry(table, endpoint), offset);
    }
    pthread_mutex_unlock(&c->table_lock);
    return present;
}

/* Connect lock held. */
static mca_btl_vmshm_endpoint_t *make_endpoint(const struct vmshm_address *a, uint64_t at,
                                               struct vmshm_error *e)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    mca_btl_vmshm_endpoint_t *endpoint, *before = c->table[at];
    struct vmshm_window w;
    struct vmshm_proc proc;
    uint32_t index;

    if (VMSHM_OK != vmshm_peer_prove(&c->member, a, &index, &w, e)) {
        return NULL;
    }
    endpoint = OBJ_NEW(mca_btl_vmshm_endpoint_t);
    if (NULL == endpoint || !vmshm_peer_read(&c->member, a->vm, a->slot, &proc)) {
        vmshm_fail(e, VMSHM_ERR_SYSTEM, "(memory)", "endpoint", "out of memory");
        vmshm_reader_leave(&c->member, a->vm, index);
        return NULL;
    }
    endpoint->peer.vm = a->vm;
    endpoint->peer.slot = a->slot;
    endpoint->peer.generation = a->generation;
    endpoint->peer.nonce = a->nonce;
    endpoint->peer.epoch = a->epoch;
    endpoint->peer.name = proc.name;
    endpoint->peer.control = (mca_btl_vmshm_mapped_t) { w.offset, w.length, index };
    pthread_mutex_lock(&c->table_lock);
    if (NULL != before) {
        /* The slot was handed out again: its earlier process is no more. Our ring towards that one,
         * and our head for its ring, are not for this one. */
        vmshm_store_release(mca_btl_vmshm_own_entry(vmshm_rings_offset(), endpoint), 0);
        vmshm_store_release(mca_btl_vmshm_own_entry(vmshm_heads_offset(mca_btl_vmshm_header()),
                                                    endpoint), 0);
        opal_list_append(&c->retired, &before->retired_item);
        mca_btl_vmshm_fate_set(before, MCA_BTL_VMSHM_FATE_LEFT);
        mca_btl_vmshm_alert();
    }
    vmshm_store_release(&c->table[at], endpoint);
    pthread_mutex_unlock(&c->table_lock);
    return endpoint;
}

/* Connect lock held: while it is, the endpoint is the table's. */
static mca_btl_vmshm_endpoint_t *get_endpoint(const struct vmshm_address *a, struct vmshm_error *e)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    mca_btl_vmshm_endpoint_t *endpoint;
    uint64_t at;

    if (a->vm >= mca_btl_vmshm_header()->vms || a->slot >= mca_btl_vmshm_header()->procs) {
        vmshm_fail(e, VMSHM_ERR_PEER, c->member.segment.path, "vm",
                   "VM %u, process slot %u are not in the table", a->vm, a->slot);
        return NULL;
    }
    at = vmshm_proc_index(mca_btl_vmshm_header(), a->vm, a->slot);
    endpoint = c->table[at];
    if (NULL == endpoint || endpoint->peer.nonce != a->nonce) {
        endpoint = make_endpoint(a, at, e);
    } else if (endpoint->peer.generation != a->generation || endpoint->peer.epoch != a->epoch) {
        /* A nonce is never used twice: the same process, and its tables were overwritten. */
        vmshm_fail(e, VMSHM_ERR_PEER, c->member.segment.path, "process", "VM %u, slot %u: its "
                   "generation or epoch changed while it runs", a->vm, a->slot);
        endpoint = NULL;
    }
    return endpoint;
}

mca_btl_vmshm_endpoint_t *mca_btl_vmshm_endpoint_get(const struct vmshm_address *a,
                                                     struct vmshm_error *e)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    mca_btl_vmshm_endpoint_t *endpoint;

    OPAL_THREAD_LOCK(&c->connect_lock);
    endpoint = get_endpoint(a, e);
    OPAL_THREAD_UNLOCK(&c->connect_lock);
    return endpoint;
}

mca_btl_vmshm_endpoint_t *mca_btl_vmshm_endpoint_add(const struct vmshm_address *a,
                                                     opal_proc_t *proc, struct vmshm_error *e)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    mca_btl_vmshm_endpoint_t *endpoint;

    OPAL_THREAD_LOCK(&c->connect_lock);
    endpoint = get_endpoint(a, e);
    if (NULL != endpoint) {
        /* One reference, however often the upper layer adds it. */
        if (NULL == endpoint->proc) {
            OBJ_RETAIN(endpoint);
        }
        vmshm_store_release(&endpoint->proc, proc);
    }
    OPAL_THREAD_UNLOCK(&c->connect_lock);
    return endpoint;
}

void mca_btl_vmshm_endpoint_drop(mca_btl_vmshm_endpoint_t *endpoint, const opal_proc_t *proc)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;

    OPAL_THREAD_LOCK(&c->connect_lock);
    if (endpoint->proc == proc) {
        vmshm_store_release(&endpoint->proc, NULL);
        OBJ_RELEASE(endpoint);
    }
    OPAL_THREAD_UNLOCK(&c->connect_lock);
}
