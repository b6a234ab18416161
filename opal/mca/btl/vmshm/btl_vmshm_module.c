/* SPDX-License-Identifier: BSD-3-Clause */
/* The module: who can be reached, descriptors, start and end. */
#include "opal_config.h"

#include "btl_vmshm_connect.h"
#include "btl_vmshm_frag.h"
#include "btl_vmshm_modex.h"
#include "btl_vmshm_monitor.h"
#include "btl_vmshm_pack.h"
#include "btl_vmshm_report.h"
#include "btl_vmshm_ring.h"
#include "btl_vmshm_send.h"
#include "btl_vmshm_stream.h"

#include <stdlib.h>
#include <string.h>

#include "opal/class/opal_bitmap.h"
#include "opal/util/arch.h"
#include "opal/util/output.h"

/* Processes of other jobs for whose first rings there is room beside those of this one. */
#define SPARE_PEERS 8

static int reach(opal_proc_t *proc, mca_btl_vmshm_endpoint_t **endpoint)
{
    const mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
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
    if (a->vm == c->member.id.vm && a->epoch == c->member.id.epoch
        && a->slot == c->member.slot) {
        vmshm_fail(&e, VMSHM_ERR_VM_ID_TWICE, c->member.segment.path, "vm_id",
                   "the peer has this process's own place: VM %u, slot %u", a->vm, a->slot);
        mca_btl_vmshm_unreachable(proc, &e);
    } else if (a->vm != c->member.id.vm || c->intra_vm
               /* vader serves the processes of one job only, not those of a spawned one */
               || proc->proc_name.jobid != OPAL_PROC_MY_NAME.jobid
               || 0 != memcmp(a->segment_uuid, c->member.segment.header.segment_uuid,
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

/* The rings stay: the peer may still read what was sent, and may be added again (a second connect
 * to the same job). What it held goes when its process ends or this one finalizes. */
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

/* Before a fragment is made: the cells that the peer has consumed are the warm ones. Returns whether it may
 * have one. */
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
    const size_t most = mca_btl_vmshm_context.arena.cell_bytes[MCA_BTL_VMSHM_CELL_MAX];
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
                (unsigned long) endpoint->out.bytes, (int) mca_btl_vmshm_fate(endpoint));
}

static void mca_btl_vmshm_dump(struct mca_btl_base_module_t *btl,
                               struct mca_btl_base_endpoint_t *endpoint, int verbose)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const uint64_t places = (uint64_t) mca_btl_vmshm_header()->vms
                            * mca_btl_vmshm_header()->procs;

    (void) btl;
    (void) verbose;
    opal_output(0, "btl vmshm: VM %u, slot %u, %u windows, %u rings polled always, %u in turn",
                c->member.id.vm, c->member.slot, c->arena.count, c->hot_count, c->cold_count);
    if (NULL != endpoint) {
        dump_endpoint(endpoint);
        return;
    }
    pthread_mutex_lock(&c->table_lock);
    for (uint64_t i = 0; i < places; ++i) {
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

/* First window, table, monitor. The member has joined. */
int mca_btl_vmshm_module_start(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const struct vmshm_header *h = mca_btl_vmshm_header();
    struct vmshm_window_header *control;
    struct vmshm_error e;
    const size_t eager = mca_btl_vmshm.super.btl_eager_limit;
    size_t large = eager;
    const uint64_t vital = (c->ranks + SPARE_PEERS)
                           * (vmshm_ring_bytes(c->ring_slots) + sizeof(struct vmshm_head));
    int rc;

    large = larger(large, mca_btl_vmshm.super.btl_rndv_eager_limit);
    large = larger(large, mca_btl_vmshm.super.btl_max_send_size);
    if (VMSHM_OK != mca_btl_vmshm_arena_init(&c->arena, vmshm_control_bytes(h), vital, eager, large,
                                             &e)) {
        mca_btl_vmshm_unusable(&e);
        return OPAL_ERR_OUT_OF_RESOURCE;
    }
    c->table = calloc((size_t) h->vms * h->procs, sizeof *c->table);
    rc = free_list_init(&c->frags, sizeof(mca_btl_vmshm_frag_t), OBJ_CLASS(mca_btl_vmshm_frag_t));
    if (OPAL_SUCCESS == rc) {
        rc = free_list_init(&c->streams, sizeof(mca_btl_vmshm_stream_t),
                            OBJ_CLASS(mca_btl_vmshm_stream_t));
    }
    if (OPAL_SUCCESS == rc) {
        rc = free_list_init(&c->pulls, sizeof(mca_btl_vmshm_pull_t),
                            OBJ_CLASS(mca_btl_vmshm_pull_t));
    }
    if (NULL == c->table || OPAL_SUCCESS != rc) {
        rc = OPAL_ERR_OUT_OF_RESOURCE;
        goto fail;
    }
    control = mca_btl_vmshm_at(c->arena.windows[0].offset);
    control->nonce = c->member.nonce;
    vmshm_store_release(&control->magic, VMSHM_WINDOW_MAGIC);
    vmshm_window_publish(&c->member, c->arena.windows[0].index);
    /* Bells that rang for earlier owners of the slot. */
    for (uint32_t vm = 0; vm < h->vms; ++vm) {
        c->bell[vm] = vmshm_bell_of(&c->member.segment, vm, c->member.id.vm, c->member.slot);
        c->bells[vm] = vmshm_load_acquire(c->bell[vm]);
    }
    mca_btl_vmshm_key_add(c->member.job);
    rc = mca_btl_vmshm_monitor_start();
    if (OPAL_SUCCESS == rc) {
        c->active = true;
        return OPAL_SUCCESS;
    }
    vmshm_fail(&e, VMSHM_ERR_SYSTEM, c->member.segment.path, "monitor", "no thread can be made: there is a limit "
               "on processes and threads (ulimit -u, pids.max of a control group)");
    mca_btl_vmshm_unusable(&e);

fail:
    free(c->table);
    c->table = NULL;
    mca_btl_vmshm_arena_fini(&c->arena);
    return rc;
}

void mca_btl_vmshm_module_stop(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const struct vmshm_header *h = mca_btl_vmshm_header();
    opal_list_item_t *item;

    if (!c->active) {
        return;
    }
    c->active = false;
    mca_btl_vmshm_monitor_stop();
    for (uint64_t i = 0; i < (uint64_t) h->vms * h->procs; ++i) {
        if (NULL != c->table[i]) {
            OBJ_RELEASE(c->table[i]);
        }
    }
    while (NULL != (item = opal_list_remove_first(&c->working))) {
        ((mca_btl_vmshm_endpoint_t *) item)->working = false;
        OBJ_RELEASE(item);
    }
    c->working_count = 0;
    while (NULL != (item = opal_list_remove_first(&c->retired))) {
        mca_btl_vmshm_endpoint_t *endpoint = mca_btl_vmshm_retired(item);

        OBJ_RELEASE(endpoint);
    }
    free(c->table);
    c->table = NULL;
    free(c->hot);
    free(c->cold);
    c->hot = c->cold = NULL;
    c->hot_count = c->cold_count = c->roster_room = 0;
    free(c->keys);
    c->keys = NULL;
    c->key_count = 0;
    mca_btl_vmshm_arena_fini(&c->arena);
    vmshm_leave(&c->member);
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
