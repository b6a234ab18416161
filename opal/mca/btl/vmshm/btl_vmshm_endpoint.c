/* SPDX-License-Identifier: BSD-3-Clause */
/* Endpoints: created for proven peers, retired when the peer's process slot is reused. */
/* Modelled in test/model/connect.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm_connect.h"
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
    if (NULL != endpoint->peer) {
        vmshm_peer_put(endpoint->peer);
    }
}

OBJ_CLASS_INSTANCE(mca_btl_vmshm_endpoint_t, opal_list_item_t, endpoint_construct,
                   endpoint_destruct);

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
    /* Lock: a sender may be reading the peer's head. */
    OPAL_THREAD_LOCK(&endpoint->lock);
    if (NULL != endpoint->streams) {
        endpoint->streams->channel_in = NULL;
    }
    endpoint->out.peer_head = NULL;
    if (endpoint->reads) {
        endpoint->reads = false;
        vmshm_peer_read_end(endpoint->peer);
    }
    endpoint->attended = true;
    OPAL_THREAD_UNLOCK(&endpoint->lock);
}

bool mca_btl_vmshm_entry_set(uint64_t table, const mca_btl_vmshm_endpoint_t *endpoint,
                             uint64_t offset)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const uint64_t at = vmshm_proc_index(mca_btl_vmshm_header(), endpoint->peer->vm, endpoint->peer->slot);
    bool present;

    pthread_mutex_lock(&c->table_lock);
    present = endpoint == c->table[at];
    if (present) {
        vmshm_store_release(mca_btl_vmshm_own_entry(table, endpoint), offset);
    }
    pthread_mutex_unlock(&c->table_lock);
    return present;
}

/* Connect lock held. On success the endpoint owns the caller's reference to the peer. */
static mca_btl_vmshm_endpoint_t *make_endpoint(struct vmshm_peer *peer, bool reads, uint64_t at)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    mca_btl_vmshm_endpoint_t *endpoint = OBJ_NEW(mca_btl_vmshm_endpoint_t), *before = c->table[at];

    if (NULL == endpoint) {
        return NULL;
    }
    endpoint->peer = peer;
    endpoint->reads = reads;
    pthread_mutex_lock(&c->table_lock);
    if (NULL != before) {
        /* The slot was reused, so its earlier process is gone. Remove our ring to that process, and our
         * head for its ring, from the tables: they are not for the new process. */
        vmshm_store_release(mca_btl_vmshm_own_entry(vmshm_rings_offset(), endpoint), 0);
        vmshm_store_release(mca_btl_vmshm_own_entry(vmshm_heads_offset(mca_btl_vmshm_header()),
                                                    endpoint), 0);
        opal_list_append(&c->retired, &before->retired_item);
        mca_btl_vmshm_alert();
    }
    vmshm_store_release(&c->table[at], endpoint);
    pthread_mutex_unlock(&c->table_lock);
    /* The peer may have died since it was proven, and progress may have looked for whom that concerns already: either
     * it finds the endpoint in the table, or the fate is seen here. */
    vmshm_fence_store_load();
    if (!mca_btl_vmshm_is_alive(endpoint)) {
        mca_btl_vmshm_alert();
    }
    return endpoint;
}

/* Connect lock held: as long as it is, the returned endpoint stays in the table. */
static mca_btl_vmshm_endpoint_t *get_endpoint(const struct vmshm_address *a, struct vmshm_error *e)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    bool reads;
    struct vmshm_peer *peer = vmshm_peer_get(&c->attached->registry, a, &reads, e);
    mca_btl_vmshm_endpoint_t *endpoint;
    uint64_t at;

    if (NULL == peer) {
        return NULL;
    }
    at = vmshm_proc_index(mca_btl_vmshm_header(), a->vm, a->slot);
    endpoint = c->table[at];
    if (NULL == endpoint || peer != endpoint->peer) {
        endpoint = make_endpoint(peer, reads, at);
        if (NULL != endpoint) {
            return endpoint;
        }
        vmshm_fail(e, VMSHM_ERR_SYSTEM, "(memory)", "endpoint", "out of memory");
    }
    if (reads) {
        vmshm_peer_read_end(peer);
    }
    vmshm_peer_put(peer);
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
        /* Take only one reference, however often the upper layer adds the peer. */
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
