/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Handles dead, departed, silent and broken peers, and the loss of the segment. They are detected and noted by the
 * common library (vmshm_fate.c, vmshm_monitor.c) and handled here, in the thread that polls.
 */
/* Modelled in test/model/head.pml and ring.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm_attend.h"
#include "btl_vmshm_connect.h"
#include "btl_vmshm_frag.h"
#include "btl_vmshm_place.h"
#include "btl_vmshm_poll.h"
#include "btl_vmshm_report.h"
#include "btl_vmshm_ring.h"
#include "btl_vmshm_send.h"
#include "btl_vmshm_tick.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "opal/util/show_help.h"

static const char *reason_of(const mca_btl_vmshm_endpoint_t *endpoint)
{
    switch (vmshm_fate(endpoint->peer)) {
    case VMSHM_FATE_DEAD:
        return "its process ended without MPI_Finalize";
    case VMSHM_FATE_REBOOTED:
        return "its VM was rebooted, or its section cleared (the boot epoch changed)";
    case VMSHM_FATE_MARKED:
        return "the host marked its VM as gone";
    case VMSHM_FATE_SILENT:
        return "its VM gave no heartbeat for btl_vmshm_silence_limit seconds";
    case VMSHM_FATE_NO_MEMORY:
        return "no shared memory is left for messages to it";
    default:
        return "unknown";
    }
}

/* Free all memory used for a peer that no longer exists, and complete the fragments that it did not read. Only for
 * peers that certainly do not read any more: one that is silent or broken, or whose VM was marked as gone by mistake,
 * may continue to read until its slot is reused. May be called again for the same peer. */
static void take_leave(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;

    OPAL_THREAD_LOCK(&endpoint->lock);
    (void) mca_btl_vmshm_entry_set(vmshm_rings_offset(), endpoint, 0);
    (void) mca_btl_vmshm_entry_set(vmshm_heads_offset(mca_btl_vmshm_header()), endpoint, 0);
    if (NULL != endpoint->out.ring) {
        mca_btl_vmshm_reclaim_to(endpoint, endpoint->out.tail);
        mca_btl_vmshm_ring_give(&c->memory, endpoint->out.offset, endpoint->out.slots);
        endpoint->out.ring = NULL;
        endpoint->out.slots = 0;
        free(endpoint->out.inflight);
        endpoint->out.inflight = NULL;
        free(endpoint->out.stale);
        endpoint->out.stale = NULL;
        endpoint->out.stales = 0;
    }
    opal_list_join(&endpoint->out.done, opal_list_get_end(&endpoint->out.done), &endpoint->out.pending);
    if (!opal_list_is_empty(&endpoint->out.done)) {
        mca_btl_vmshm_work_on(endpoint);
    }
    mca_btl_vmshm_next_cell_give(endpoint);
    mca_btl_vmshm_places_close(endpoint);
    if (0 != endpoint->in.head_offset) {
        mca_btl_vmshm_line_give(&c->memory, endpoint->in.head_offset);
        endpoint->in.head_offset = 0;
        endpoint->in.my_head = NULL;
    }
    OPAL_THREAD_UNLOCK(&endpoint->lock);
}

/* Deliver what the peer sent before it ended. At most as many messages as all its rings can hold (each ring is at
 * least twice as large as the previous one), since a peer may claim to have left and continue to send. */
static void deliver_rest(mca_btl_vmshm_endpoint_t *endpoint)
{
    int left = 2 * VMSHM_RING_MAX_SLOTS, count = 1;

    while (NULL != endpoint->in.ring && count > 0 && left > 0) {
        count = mca_btl_vmshm_poll(endpoint, left);
        left -= count;
    }
}

static void tell_gone(const mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const int32_t fate = vmshm_fate(endpoint->peer);
    char name[128], line[384];

    mca_btl_vmshm_peer_name(endpoint, name, sizeof name);
    if (VMSHM_FATE_BROKEN == fate) {
        opal_show_help("help-btl-vmshm.txt", "peer broken", true, name, endpoint->peer->broken_field,
                       endpoint->peer->broken_why);
    } else if (VMSHM_FATE_NO_MEMORY == fate) {
        opal_show_help("help-btl-vmshm.txt", "no ring", true, name, c->attached->arena.count,
                       c->attached->arena.max_windows, MCA_BTL_VMSHM_NO_RING_TICKS / VMSHM_TICKS_PER_SECOND);
    } else {
        opal_show_help("help-btl-vmshm.txt", "peer gone", true, name, reason_of(endpoint));
    }
    if (NULL != c->error_cb) {
        /* ob1 prints this line itself before it ends the job, so the peer is named even if the launcher
         * loses the help text. That of Open MPI 4.1.4 sometimes does, on its own node. */
        snprintf(line, sizeof line, "btl vmshm: lost %s: %s", name,
                 VMSHM_FATE_BROKEN == fate ? endpoint->peer->broken_why
                                                             : reason_of(endpoint));
        c->error_cb(&mca_btl_vmshm.super, MCA_BTL_ERROR_FLAGS_FATAL,
                    vmshm_load_acquire(&endpoint->proc), line);
    }
}

/* A peer that was never passed to add_procs has an endpoint because it holds a job key that we know; then we have
 * only its own claim of its name. It may share no communicator with this process: a rank of a job that was accepted,
 * or of a sibling job. */
static bool is_connected(const mca_btl_vmshm_endpoint_t *endpoint)
{
    const opal_proc_t *proc = vmshm_load_acquire(&endpoint->proc);
    const opal_process_name_t said = {
        .jobid = (uint32_t) (endpoint->peer->name >> 32), .vpid = (uint32_t) endpoint->peer->name,
    };

    return mca_btl_vmshm_is_connected(NULL == proc ? &said : &proc->proc_name);
}

/* Report the loss of the peer if it is connected. Otherwise set `untold`, to check again later: the peer may become
 * connected, as MPI_Comm_accept may not have created the communicator yet. */
static void tell_if_connected(mca_btl_vmshm_endpoint_t *endpoint)
{
    endpoint->untold = !is_connected(endpoint);
    if (endpoint->untold) {
        vmshm_store_relaxed(&mca_btl_vmshm_context.untold, true);
    } else {
        tell_gone(endpoint);
    }
}

static void attend_to(mca_btl_vmshm_endpoint_t *endpoint)
{
    const int32_t fate = vmshm_fate(endpoint->peer);
    bool is_no_more = VMSHM_FATE_DEAD == fate || VMSHM_FATE_REBOOTED == fate;

    if (endpoint->untold) {
        tell_if_connected(endpoint);
        return;
    }
    /* Its silence does no harm as long as it is not connected. */
    if (VMSHM_FATE_SILENT == fate && !is_connected(endpoint)) {
        if (vmshm_peer_forgive(endpoint->peer)) {
            return;
        }
        is_no_more = true;              /* its slot was reused */
    }
    if (!mca_btl_vmshm_is_unreadable(endpoint)) {
        /* What it sent before it ended is complete and must be delivered, even from a ring that was not
         * found yet. */
        if (NULL == endpoint->in.ring) {
            mca_btl_vmshm_ring_accept(endpoint);
        }
        deliver_rest(endpoint);
    }
    mca_btl_vmshm_endpoint_unmap(endpoint);
    if (VMSHM_FATE_UNMAPPED == fate) {
        return;                         /* tell_unmapped() reports it */
    }
    if (VMSHM_FATE_LEFT == fate) {
        take_leave(endpoint);
        return;
    }
    tell_if_connected(endpoint);
    if (endpoint->untold && is_no_more) {
        take_leave(endpoint);           /* a dead process does not read */
    }
}

static void tell_lost(const char *why)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const char *path = mca_btl_vmshm_member()->segment.path;
    char line[384];

    if (c->lost_told) {
        return;
    }
    c->lost_told = true;
    opal_show_help("help-btl-vmshm.txt", "segment lost", true, path, why);
    if (NULL != c->error_cb) {
        snprintf(line, sizeof line, "btl vmshm: lost the segment %.255s: %.80s", path, why);
        c->error_cb(&mca_btl_vmshm.super, MCA_BTL_ERROR_FLAGS_FATAL, NULL, line);
    }
}

static void tell_unmapped(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    struct vmshm_error e;
    char line[384];

    if (!vmshm_peer_unmapped_take(&c->attached->registry, &e)) {
        return;
    }
    opal_show_help("help-btl-vmshm.txt", "not mapped", true, e.file, e.field, e.detail);
    if (NULL != c->error_cb) {
        snprintf(line, sizeof line, "btl vmshm: cannot read a peer's memory: %.300s", e.detail);
        c->error_cb(&mca_btl_vmshm.super, MCA_BTL_ERROR_FLAGS_FATAL, NULL, line);
    }
}

static void tell_refusal(void)
{
    struct vmshm_error e;

    if (vmshm_arena_refusal(&mca_btl_vmshm_context.attached->arena, &e)) {
        opal_show_help("help-btl-vmshm.txt", "no further window", true, e.file, e.field, e.detail);
    }
}

/* The endpoint that was retired first, or NULL. It stays on the list, from which only the poller removes. */
static mca_btl_vmshm_endpoint_t *first_retired(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    mca_btl_vmshm_endpoint_t *endpoint = NULL;

    pthread_mutex_lock(&c->table_lock);
    if (!opal_list_is_empty(&c->retired)) {
        endpoint = mca_btl_vmshm_retired(opal_list_get_first(&c->retired));
    }
    pthread_mutex_unlock(&c->table_lock);
    return endpoint;
}

/* Drop a retired endpoint after its cleanup. Its message counts are kept in the totals; the object lives on as long
 * as the upper layer or the list `working` holds a reference. */
static void forget(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;

    pthread_mutex_lock(&c->table_lock);
    opal_list_remove_item(&c->retired, &endpoint->retired_item);
    mca_btl_vmshm_count_sent(endpoint, &c->gone_messages, &c->gone_bytes);
    pthread_mutex_unlock(&c->table_lock);
    OBJ_RELEASE(endpoint);
}

void mca_btl_vmshm_attend(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const uint64_t places = mca_btl_vmshm_proc_slots();
    mca_btl_vmshm_endpoint_t *endpoint;
    const char *lost;

    /* Acquire: everything checked below must be loaded after the counter. */
    c->alerts_seen = vmshm_load_acquire(c->alerts);
    lost = vmshm_monitor_lost(&c->attached->monitor);
    if (NULL != lost) {
        tell_lost(lost);
        return;
    }
    tell_unmapped();
    tell_refusal();
    for (uint32_t vm = 0; vm < mca_btl_vmshm_header()->vms; ++vm) {
        bool has_peer = false;

        if (!vmshm_is_silent_for(&c->attached->monitor, vm, c->silence_warning)
            || vmshm_load_relaxed(&c->silence_noted[vm])) {
            continue;
        }
        for (uint32_t slot = 0; slot < mca_btl_vmshm_header()->procs && !has_peer; ++slot) {
            endpoint = mca_btl_vmshm_table_at(vmshm_proc_index(mca_btl_vmshm_header(), vm, slot));
            has_peer = NULL != endpoint && mca_btl_vmshm_is_alive(endpoint) && is_connected(endpoint);
        }
        if (has_peer) {
            vmshm_store_relaxed(&c->silence_noted[vm], true);
            opal_show_help("help-btl-vmshm.txt", "vm silent", true, vm, c->silence_warning,
                           c->attached->monitor.silence_limit);
        }
    }
    vmshm_store_relaxed(&c->untold, false);
    for (uint64_t i = 0; i < places; ++i) {
        /* attend_to() polls once more after the fate is known, and so delivers what the peer sent before it left. */
        endpoint = mca_btl_vmshm_table_at(i);
        if (NULL != endpoint && !mca_btl_vmshm_is_alive(endpoint)
            && (!endpoint->attended || endpoint->untold)) {
            attend_to(endpoint);
        }
    }
    while (NULL != (endpoint = first_retired())) {
        if (!endpoint->attended) {
            attend_to(endpoint);
        }
        take_leave(endpoint);           /* whatever its fate was: its slot was reused, so the process is gone */
        forget(endpoint);
    }
}
