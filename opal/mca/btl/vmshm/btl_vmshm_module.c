/* SPDX-License-Identifier: BSD-3-Clause */
/* The module: reachability of peers, preparing descriptors, start and stop. */
#include "opal_config.h"

#include "btl_vmshm_connect.h"
#include "btl_vmshm_frag.h"
#include "btl_vmshm_get.h"
#include "btl_vmshm_modex.h"
#include "btl_vmshm_pack.h"
#include "btl_vmshm_push.h"
#include "btl_vmshm_report.h"
#include "btl_vmshm_ring.h"
#include "btl_vmshm_send.h"
#include "btl_vmshm_tick.h"

#include <stdlib.h>
#include <string.h>

#include "opal/class/opal_bitmap.h"
#include "opal/util/arch.h"
#include "opal/util/output.h"

/* Number of processes of other jobs for which memory for first rings is reserved, in addition to our job's ranks. */
#define SPARE_PEERS 8

static int reach(opal_proc_t *proc, mca_btl_vmshm_endpoint_t **endpoint)
{
    const mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const struct vmshm_member *m = mca_btl_vmshm_member();
    struct vmshm_address address;
    const struct vmshm_address *a = &address;
    struct vmshm_error e;

    *endpoint = NULL;
    if (proc == opal_proc_local_get() || proc->proc_arch != opal_proc_local_get()->proc_arch) {
        return OPAL_SUCCESS;
    }
    if (!mca_btl_vmshm_address_get(&proc->proc_name, &address)) {
        vmshm_fail(&e, VMSHM_ERR_PEER, "(modex)", "address",
                   "the peer published none: it found no segment, or runs another version");
        mca_btl_vmshm_unreachable(proc, &e);
        return OPAL_SUCCESS;
    }
    if (a->vm == m->id.vm && a->epoch == m->id.epoch
        && a->slot == m->slot) {
        vmshm_fail(&e, VMSHM_ERR_VM_ID_TWICE, m->segment.path, "vm_id",
                   "the peer has the same VM id %u and process slot %u as this process", a->vm, a->slot);
        mca_btl_vmshm_unreachable(proc, &e);
    } else if (a->vm != m->id.vm || c->intra_vm
               /* within a VM vader serves the processes of the same job, but not those of a spawned job */
               || proc->proc_name.jobid != OPAL_PROC_MY_NAME.jobid
               || 0 != memcmp(a->segment_uuid, m->segment.header.segment_uuid,
                              sizeof a->segment_uuid)) {
        *endpoint = mca_btl_vmshm_endpoint_add(a, proc, &e);
        if (NULL == *endpoint) {
            mca_btl_vmshm_unreachable(proc, &e);
        } else {
            mca_btl_vmshm_key_add(a->job);
        }
    }
    return OPAL_SUCCESS;
}

static int mca_btl_vmshm_add_procs(struct mca_btl_base_module_t *btl, size_t nprocs,
                                   struct opal_proc_t **procs,
                                   struct mca_btl_base_endpoint_t **peers,
                                   struct opal_bitmap_t *reachable)
{
    (void) btl;
    mca_btl_vmshm_survey();
    for (size_t i = 0; i < nprocs; ++i) {
        int rc = reach(procs[i], &peers[i]);

        if (OPAL_SUCCESS == rc && NULL != peers[i] && NULL != reachable) {
            rc = opal_bitmap_set_bit(reachable, (int) i);
        }
        if (OPAL_SUCCESS != rc) {
            return rc;
        }
    }
    return OPAL_SUCCESS;
}

/* Rings are kept: the peer may still read what was sent, and may be added again (a second connect to the
 * same job). They are freed when the peer's process ends or this process finalizes. */
static int mca_btl_vmshm_del_procs(struct mca_btl_base_module_t *btl, size_t nprocs,
                                   struct opal_proc_t **procs,
                                   struct mca_btl_base_endpoint_t **peers)
{
    (void) btl;
    for (size_t i = 0; i < nprocs; ++i) {
        if (NULL != peers[i]) {
            mca_btl_vmshm_endpoint_drop(peers[i], procs[i]);
        }
    }
    return OPAL_SUCCESS;
}

/* Called before a fragment is allocated: reclaim the cells that the peer has consumed, which are likely to be in the
 * cache. Returns whether the fragment may use a cell. */
static bool look_at_head(mca_btl_vmshm_endpoint_t *endpoint)
{
    bool in_cell;

    OPAL_THREAD_LOCK(&endpoint->lock);
    if (NULL != endpoint->out.ring && endpoint->out.tail != endpoint->out.head) {
        mca_btl_vmshm_reclaim_acked(endpoint);
    }
    if (NULL != endpoint->out.ring && endpoint->out.tail != endpoint->out.head) {
        mca_btl_vmshm_reclaim(endpoint);
    }
    in_cell = mca_btl_vmshm_belongs_in_cell(endpoint);
    OPAL_THREAD_UNLOCK(&endpoint->lock);
    return in_cell;
}

static mca_btl_base_descriptor_t *
mca_btl_vmshm_prepare_src(struct mca_btl_base_module_t *btl,
                          struct mca_btl_base_endpoint_t *endpoint,
                          struct opal_convertor_t *convertor, uint8_t order, size_t reserve,
                          size_t *size, uint32_t flags)
{
    const size_t most = mca_btl_vmshm_context.memory.cell_bytes[MCA_BTL_VMSHM_CELL_MAX];
    mca_btl_vmshm_frag_t *frag;

    (void) btl;
    (void) order;
    if (*size > most - reserve) {
        *size = most - reserve;
    }
    frag = mca_btl_vmshm_frag_take(reserve + *size, flags, look_at_head(endpoint));
    if (OPAL_UNLIKELY(NULL == frag)) {
        return NULL;
    }
    if (OPAL_UNLIKELY(mca_btl_vmshm_pack(convertor, (uint8_t *) frag->segment.seg_addr.pval
                                         + reserve, size, false) < 0)) {
        mca_btl_vmshm_frag_give(frag);
        return NULL;
    }
    frag->segment.seg_len = reserve + *size;
    return &frag->base;
}

static int mca_btl_vmshm_register_error_cb(struct mca_btl_base_module_t *btl,
                                           mca_btl_base_module_error_cb_fn_t cbfunc)
{
    (void) btl;
    mca_btl_vmshm_context.error_cb = cbfunc;
    return OPAL_SUCCESS;
}

static void dump_endpoint(const mca_btl_vmshm_endpoint_t *endpoint)
{
    char name[128];

    mca_btl_vmshm_peer_name(endpoint, name, sizeof name);
    opal_output(0, "btl vmshm: peer %s: out %s, %u slots, tail %lu, head %lu, %lu waiting, "
                "%u unconfirmed; in %s, position %lu; sent %lu messages, %lu bytes; fate %d",
                name, NULL == endpoint->out.ring ? "none" : "open", endpoint->out.slots,
                (unsigned long) endpoint->out.tail, (unsigned long) endpoint->out.head,
                (unsigned long) opal_list_get_size((opal_list_t *) &endpoint->out.pending),
                endpoint->out.callbacks, NULL == endpoint->in.ring ? "none" : "open",
                (unsigned long) endpoint->in.position, (unsigned long) endpoint->out.messages,
                (unsigned long) endpoint->out.bytes, (int) vmshm_fate(endpoint->peer));
}

static void mca_btl_vmshm_dump(struct mca_btl_base_module_t *btl,
                               struct mca_btl_base_endpoint_t *endpoint, int verbose)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const struct vmshm_member *m = mca_btl_vmshm_member();

    (void) btl;
    (void) verbose;
    opal_output(0, "btl vmshm: VM %u, slot %u, %u windows, %u rings polled always, %u in turn",
                m->id.vm, m->slot, c->attached->arena.count, c->hot_count, c->cold_count);
    if (NULL != endpoint) {
        dump_endpoint(endpoint);
        return;
    }
    pthread_mutex_lock(&c->table_lock);
    for (uint64_t i = 0; i < mca_btl_vmshm_proc_slots(); ++i) {
        if (NULL != c->table[i]) {
            dump_endpoint(c->table[i]);
        }
    }
    pthread_mutex_unlock(&c->table_lock);
}

static int mca_btl_vmshm_finalize(struct mca_btl_base_module_t *btl)
{
    (void) btl;
    mca_btl_vmshm_module_stop();
    return OPAL_SUCCESS;
}

static int free_list_init(opal_free_list_t *list, size_t bytes, opal_class_t *class)
{
    return opal_free_list_init(list, bytes, VMSHM_LINE_BYTES, class, 0, 0, 32, -1, 32, NULL, 0,
                               NULL, NULL, NULL);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t largest_cell(size_t eager)
{
    return larger(eager, larger(mca_btl_vmshm.super.btl_rndv_eager_limit,
                                mca_btl_vmshm.super.btl_max_send_size));
}

/* Initialize memory and free lists after the segment was attached. */
static int prepare(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const struct vmshm_member *m = mca_btl_vmshm_member();
    int rc = free_list_init(&c->frags, sizeof(mca_btl_vmshm_frag_t), OBJ_CLASS(mca_btl_vmshm_frag_t));

    c->base = m->segment.base;
    c->alerts = &c->attached->events.alerts;
    c->alerts_seen = 0;
    /* Ignore bells that rang for earlier owners of our slot. */
    for (uint32_t vm = 0; vm < m->segment.header.vms; ++vm) {
        c->bell[vm] = vmshm_vm_bell(m, vm);
        c->bells[vm] = vmshm_load_acquire(c->bell[vm]);
    }
    if (OPAL_SUCCESS == rc) {
        rc = free_list_init(&c->streams, sizeof(mca_btl_vmshm_stream_t),
                            OBJ_CLASS(mca_btl_vmshm_stream_t));
    }
    if (OPAL_SUCCESS == rc) {
        rc = free_list_init(&c->pulls, sizeof(mca_btl_vmshm_pull_t),
                            OBJ_CLASS(mca_btl_vmshm_pull_t));
    }
    if (OPAL_SUCCESS == rc && !mca_btl_vmshm_memory_start(&c->memory, &c->attached->arena)) {
        rc = OPAL_ERR_OUT_OF_RESOURCE;
    }
    return rc;
}

int mca_btl_vmshm_module_start(const struct vmshm_join_options *join)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const size_t eager = mca_btl_vmshm.super.btl_eager_limit;
    struct vmshm_attach_options options = {
        .join = *join, .silence_limit = c->silence_limit,
        .arena = { .window_bytes = c->window_size, .max_windows = c->max_windows },
    };
    struct vmshm_error e;
    int rc;

    mca_btl_vmshm_memory_set_up(&c->memory, eager, largest_cell(eager), c->ring_slots, c->pool_size);
    options.arena.first_bytes = mca_btl_vmshm_memory_first_bytes(&c->memory);
    options.arena.vital_bytes = mca_btl_vmshm_memory_vital_bytes(&c->memory, c->ranks + SPARE_PEERS);
    if (VMSHM_OK != vmshm_attach(&options, mca_btl_vmshm_tick, &c->attached, &e)) {
        mca_btl_vmshm_unusable(&e);
        return OPAL_ERR_OUT_OF_RESOURCE;
    }
    rc = prepare();
    if (OPAL_SUCCESS == rc) {
        pthread_mutex_lock(&c->table_lock);
        c->table = calloc((size_t) mca_btl_vmshm_proc_slots(), sizeof *c->table);
        pthread_mutex_unlock(&c->table_lock);
        if (NULL != c->table) {
            mca_btl_vmshm_key_add(mca_btl_vmshm_member()->job);
            c->active = true;
            return OPAL_SUCCESS;
        }
        mca_btl_vmshm_memory_stop(&c->memory);
        rc = OPAL_ERR_OUT_OF_RESOURCE;
    }
    vmshm_detach(mca_btl_vmshm_tick);
    c->attached = NULL;
    vmshm_fail(&e, VMSHM_ERR_SYSTEM, "(memory)", "module", "no memory for its lists or cells");
    mca_btl_vmshm_unusable(&e);
    return rc;
}

/* Put the peer here, not in the destructor: the upper layer may hold the endpoint longer. */
static void end_endpoint(mca_btl_vmshm_endpoint_t *endpoint)
{
    if (NULL != endpoint->peer) {
        if (endpoint->reads) {
            endpoint->reads = false;
            vmshm_peer_read_end(endpoint->peer);
        }
        vmshm_peer_put(endpoint->peer);
        endpoint->peer = NULL;
    }
    OBJ_RELEASE(endpoint);
}

void mca_btl_vmshm_module_stop(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    opal_list_item_t *item;

    if (!c->active) {
        return;
    }
    c->active = false;
    /* From here on no other thread accesses the endpoints. */
    vmshm_events_remove(&c->attached->events, mca_btl_vmshm_tick);
    if (NULL == vmshm_monitor_lost(&c->attached->monitor)) {
        mca_btl_vmshm_publish_sent();   /* includes what was sent since the last tick */
    }
    for (uint64_t i = 0; i < mca_btl_vmshm_proc_slots(); ++i) {
        if (NULL != c->table[i]) {
            end_endpoint(c->table[i]);
        }
    }
    free(c->table);
    c->table = NULL;
    while (NULL != (item = opal_list_remove_first(&c->working))) {
        ((mca_btl_vmshm_endpoint_t *) item)->working = false;
        OBJ_RELEASE(item);
    }
    c->working_count = 0;
    while (NULL != (item = opal_list_remove_first(&c->retired))) {
        end_endpoint(mca_btl_vmshm_retired(item));
    }
    free(c->hot);
    free(c->cold);
    c->hot = c->cold = NULL;
    c->hot_count = c->cold_count = c->roster_room = 0;
    free(c->keys);
    c->keys = NULL;
    c->key_count = 0;
    mca_btl_vmshm_memory_stop(&c->memory);
    vmshm_detach(mca_btl_vmshm_tick);
    c->attached = NULL;
}

void mca_btl_vmshm_module_set_up(void)
{
    mca_btl_vmshm.super = (mca_btl_base_module_t) {
        .btl_add_procs = mca_btl_vmshm_add_procs,
        .btl_del_procs = mca_btl_vmshm_del_procs,
        .btl_finalize = mca_btl_vmshm_finalize,
        .btl_alloc = mca_btl_vmshm_alloc,
        .btl_free = mca_btl_vmshm_free,
        .btl_prepare_src = mca_btl_vmshm_prepare_src,
        .btl_send = mca_btl_vmshm_send,
        .btl_sendi = mca_btl_vmshm_sendi,
        .btl_dump = mca_btl_vmshm_dump,
        .btl_register_mem = mca_btl_vmshm_register_mem,
        .btl_deregister_mem = mca_btl_vmshm_deregister_mem,
        .btl_get = mca_btl_vmshm_get,
        .btl_register_error = mca_btl_vmshm_register_error_cb,
        .btl_registration_handle_size = sizeof(struct mca_btl_base_registration_handle_t),
    };
}
