/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dead, departed, silent and broken peers, the loss of the segment: what was noted (vmshm_fate.c,
 * vmshm_monitor.c of the common library) is acted upon here, by the thread that polls.
 */
/* Modelled in test/model/ring.pml: change both. */
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

/* The peer is no more, and that is in order: all memory that was for it serves others. What it left unread is
 * done with, as is what a process sends right before its own end. Only here: a peer that is silent or broken, or
 * whose VM was marked as gone by mistake, may go on reading until its slot has another process. Twice is once. */
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

/* No more than all the rings of a peer hold, each at least twice the one before: it may say that it went and go
 * on sending. */
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
                       c->max_windows, MCA_BTL_VMSHM_NO_RING_TICKS / VMSHM_TICKS_PER_SECOND);
    } else {
        opal_show_help("help-btl-vmshm.txt", "peer gone", true, name, reason_of(endpoint));
    }
    if (NULL != c->error_cb) {
        /* ob1 prints this line itself and ends the job: the peer is named even if the launcher
         * loses the help text, which 4.1.4's does now and then on its own node. */
        snprintf(line, sizeof line, "btl vmshm: lost %s: %s", name,
                 VMSHM_FATE_BROKEN == fate ? endpoint->peer->broken_why
                                                             : reason_of(endpoint));
        c->error_cb(&mca_btl_vmshm.super, MCA_BTL_ERROR_FLAGS_FATAL,
                    vmshm_load_acquire(&endpoint->proc), line);
    }
}

/* Who was never added has an endpoint because it has one of our jobs' keys: its own word says who it is. It can
 * be a rank that never was in a communicator with this one, of a job that was accepted, or of a sibling's. */
static bool is_connected(const mca_btl_vmshm_endpoint_t *endpoint)
{
    const opal_proc_t *proc = vmshm_load_acquire(&endpoint->proc);
    const opal_process_name_t said = {
        .jobid = (uint32_t) (endpoint->peer->name >> 32), .vpid = (uint32_t) endpoint->peer->name,
    };

    return mca_btl_vmshm_is_connected(NULL == proc ? &said : &proc->proc_name);
}

/* Who is silent while it is not connected is alive. False: its slot has another process, it is no more. */
static bool forgive_silence(mca_btl_vmshm_endpoint_t *endpoint)
{
    const bool present = vmshm_peer_forgive(endpoint->peer);

    if (present) {
        mca_btl_vmshm_look_again(endpoint->peer->vm);       /* its bell meanwhile */
    }
    return present;
}

/* It is lost, but that is of no concern while it is not connected. It may be again, or not be yet: while
 * MPI_Comm_accept makes the communicator. */
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
    /* Nobody waits for it: it may be silent as long as it likes. */
    if (VMSHM_FATE_SILENT == fate && !is_connected(endpoint)) {
        if (forgive_silence(endpoint)) {
            return;
        }
        is_no_more = true;
    }
    if (!mca_btl_vmshm_is_unread(endpoint)) {
        /* What it sent before it went is complete: deliver it, also from a ring that was not
         * found yet. */
        if (NULL == endpoint->in.ring) {
            mca_btl_vmshm_ring_accept(endpoint);
        }
        deliver_rest(endpoint);
    }
    mca_btl_vmshm_endpoint_unmap(endpoint);
    if (VMSHM_FATE_UNMAPPED == fate) {
        return;                         /* see tell_unmapped */
    }
    if (VMSHM_FATE_LEFT == fate) {
        take_leave(endpoint);
        return;
    }
    tell_if_connected(endpoint);
    if (endpoint->untold && is_no_more) {
        take_leave(endpoint);           /* it does not read either */
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

/* The endpoint that was retired first, NULL: none is. Only the poller takes them off the list. */
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

/* Its process is no more, all that was to do for it is done: what remains is the number of its messages,
 * and the object for as long as the upper layer or the list of work has it. */
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
    const uint64_t places = mca_btl_vmshm_places();
    mca_btl_vmshm_endpoint_t *endpoint;
    const char *lost;

    /* What is looked at below must not have been loaded before. */
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

        if (!vmshm_is_silent_for(&c->attached->monitor, vm, c->silence_warning) || vmshm_load_relaxed(&c->silence_noted[vm])) {
            continue;
        }
        for (uint32_t slot = 0; slot < mca_btl_vmshm_header()->procs && !has_peer; ++slot) {
            endpoint = mca_btl_vmshm_table_at(vmshm_proc_index(mca_btl_vmshm_header(), vm, slot));
            has_peer = NULL != endpoint && mca_btl_vmshm_is_alive(endpoint) && is_connected(endpoint);
        }
        if (has_peer) {
            vmshm_store_relaxed(&c->silence_noted[vm], true);
            opal_show_help("help-btl-vmshm.txt", "vm silent", true, vm, c->silence_warning,
                           c->silence_limit);
        }
    }
    vmshm_store_relaxed(&c->untold, false);
    for (uint64_t i = 0; i < places; ++i) {
        /* A last poll comes after the verdict: what a peer sent before it left is delivered. */
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
        take_leave(endpoint);           /* its slot has another process, whatever became of it */
        forget(endpoint);
    }
}
