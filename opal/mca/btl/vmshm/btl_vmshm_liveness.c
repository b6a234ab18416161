/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dead, departed and silent peers.
 *
 * A sleeping thread per process beats for its VM, marks dead siblings and looks at every peer's
 * process slot, its VM's epoch, heartbeat and the host's mark twice a second. It only notes what it
 * sees; progress acts upon it. Silence is counted in the thread's own ticks, so that time in which
 * this process was itself stopped does not count against others.
 */
/* Modelled in test/model/ring.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm.h"
#include "btl_vmshm_connect.h"
#include "btl_vmshm_stream.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "opal/util/show_help.h"

#define TICKS_PER_SECOND 2
#define REAP_TICKS       4
/* A loss of the segment that a call meets first is known to the monitor after so many ticks. */
#define LOST_TICKS       2

static uint64_t beats[VMSHM_MAX_VMS];

static int fate_of(const mca_btl_vmshm_endpoint_t *endpoint)
{
    const mca_btl_vmshm_component_t *c = &mca_btl_vmshm_component;
    const struct vmshm_segment *s = &c->member.segment;
    struct vmshm_proc proc;

    if (VMSHM_MARK_GONE == vmshm_load_acquire(&vmshm_mark_of(s, endpoint->vm)->mark)) {
        return MCA_BTL_VMSHM_FATE_MARKED;
    }
    if (vmshm_load_acquire(&vmshm_section_of(s, endpoint->vm)->epoch) != endpoint->epoch) {
        return MCA_BTL_VMSHM_FATE_REBOOTED;
    }
    if (vmshm_peer_read(&c->member, endpoint->vm, endpoint->slot, &proc)) {
        /* A slot that was handed out again: a process that died without order and was replaced
         * within a tick is its launcher's to notice. */
        if (proc.generation != endpoint->generation || VMSHM_PROC_LEFT == proc.state) {
            return MCA_BTL_VMSHM_FATE_LEFT;
        }
        if (VMSHM_PROC_LIVE != proc.state) {
            return MCA_BTL_VMSHM_FATE_DEAD;
        }
    }
    return MCA_BTL_VMSHM_FATE_ALIVE;
}

static bool is_silent_for(uint32_t vm, unsigned int seconds)
{
    return seconds > 0
           && vmshm_load_relaxed(&mca_btl_vmshm_component.silent_ticks[vm]) / TICKS_PER_SECOND
              >= seconds;
}

/* Generation and nonce change together or not at all. Two looks: the owner of a slot may be changing
 * it during the first, but then the slot is not live at the second. */
static bool is_overwritten(const mca_btl_vmshm_endpoint_t *endpoint)
{
    for (int looks = 0; looks < 2; ++looks) {
        struct vmshm_proc proc;

        if (!vmshm_peer_read(&mca_btl_vmshm_component.member, endpoint->vm, endpoint->slot, &proc)
            || VMSHM_PROC_LIVE != proc.state
            || (proc.generation == endpoint->generation) == (proc.nonce == endpoint->nonce)) {
            return false;
        }
    }
    return true;
}

static void count_silence(void)
{
    mca_btl_vmshm_component_t *c = &mca_btl_vmshm_component;

    for (uint32_t vm = 0; vm < mca_btl_vmshm_header()->vms; ++vm) {
        const uint64_t beat =
            vmshm_load_relaxed(&vmshm_section_of(&c->member.segment, vm)->heartbeat);

        if (beat != beats[vm] || vm == c->member.id.vm) {
            beats[vm] = beat;
            vmshm_store_relaxed(&c->silent_ticks[vm], 0);
            vmshm_store_relaxed(&c->silence_noted[vm], false);
        } else {
            vmshm_store_relaxed(&c->silent_ticks[vm], c->silent_ticks[vm] + 1);
        }
    }
}

static mca_btl_vmshm_endpoint_t *endpoint_of(opal_list_item_t *retired_item)
{
    return (mca_btl_vmshm_endpoint_t *) ((char *) retired_item
                                         - offsetof(mca_btl_vmshm_endpoint_t, retired_item));
}

static void count_sent(const mca_btl_vmshm_endpoint_t *endpoint, uint64_t *messages,
                       uint64_t *bytes)
{
    *messages += vmshm_load_relaxed(&endpoint->messages);
    *bytes += vmshm_load_relaxed(&endpoint->bytes);
}

/* For those who look with `vmshmctl show`. */
static void publish_sent(void)
{
    mca_btl_vmshm_component_t *c = &mca_btl_vmshm_component;
    const uint64_t places = (uint64_t) mca_btl_vmshm_header()->vms
                            * mca_btl_vmshm_header()->procs;
    uint64_t messages, bytes;
    opal_list_item_t *item;

    pthread_mutex_lock(&c->table_lock);
    messages = c->gone_messages;
    bytes = c->gone_bytes;
    for (uint64_t i = 0; i < places; ++i) {
        if (NULL != c->table[i]) {
            count_sent(c->table[i], &messages, &bytes);
        }
    }
    OPAL_LIST_FOREACH(item, &c->retired, opal_list_item_t) {
        count_sent(endpoint_of(item), &messages, &bytes);
    }
    pthread_mutex_unlock(&c->table_lock);
    vmshm_count(&c->member, messages, bytes);
}

/* It is broken, if nothing else is known yet. Who accuses it first says why. */
static void accuse(mca_btl_vmshm_endpoint_t *endpoint, const char *field, const char *why)
{
    int32_t expected = 0;

    if (vmshm_compare_exchange(&endpoint->accused, &expected, 1)) {
        endpoint->broken_field = field;
        endpoint->broken_why = why;
        vmshm_store_release(&endpoint->accused, 2);
        vmshm_fence_store_load();       /* of this one and forgive_silence() one sees the other's store */
        mca_btl_vmshm_fate_set(endpoint, MCA_BTL_VMSHM_FATE_BROKEN);
        mca_btl_vmshm_alert();
    }
}

static void tick(unsigned int count)
{
    mca_btl_vmshm_component_t *c = &mca_btl_vmshm_component;
    const uint64_t places = (uint64_t) mca_btl_vmshm_header()->vms
                            * mca_btl_vmshm_header()->procs;

    vmshm_store_relaxed(&c->ticks, count);
    if (NULL == c->lost) {
        const char *lost = vmshm_lost(&c->member);

        if (NULL != lost) {
            /* First the reason: a thread that met the zeros before it would blame a peer. */
            vmshm_store_release(&c->lost, lost);
            mca_btl_vmshm_alert();
            vmshm_let_go(&c->member);
        }
    }
    /* Nothing that stands there now says anything about a peer. */
    if (NULL != c->lost) {
        return;
    }
    vmshm_heartbeat(&c->member);
    if (0 == count % REAP_TICKS) {
        (void) vmshm_look_after(&c->member);
    }
    count_silence();
    if (vmshm_load_relaxed(&c->untold)) {
        mca_btl_vmshm_alert();          /* they may be connected again */
    }
    pthread_mutex_lock(&c->table_lock);
    for (uint64_t i = 0; i < places; ++i) {
        mca_btl_vmshm_endpoint_t *endpoint = c->table[i];
        int fate;

        if (NULL == endpoint) {
            continue;
        }
        if (!mca_btl_vmshm_is_alive(endpoint)) {
            continue;
        }
        fate = fate_of(endpoint);
        if (MCA_BTL_VMSHM_FATE_ALIVE == fate
            && is_silent_for(endpoint->vm, c->silence_limit)) {
            fate = MCA_BTL_VMSHM_FATE_SILENT;
        }
        if (is_overwritten(endpoint)) {
            accuse(endpoint, "process", "its entry in the process table has the nonce or the "
                   "generation of another process");
        } else if (MCA_BTL_VMSHM_FATE_ALIVE != fate) {
            mca_btl_vmshm_fate_set(endpoint, fate);
            mca_btl_vmshm_alert();
        } else if (is_silent_for(endpoint->vm, c->silence_warning)
                   && !vmshm_load_relaxed(&c->silence_noted[endpoint->vm])) {
            mca_btl_vmshm_alert();
        }
    }
    pthread_mutex_unlock(&c->table_lock);
    publish_sent();
}

static void *monitor(void *unused)
{
    mca_btl_vmshm_component_t *c = &mca_btl_vmshm_component;

    pthread_mutex_lock(&c->monitor_lock);
    for (unsigned int count = 2; !c->stop; ++count) {
        struct timespec until;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += 1000000000 / TICKS_PER_SECOND;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec += 1;
        }
        while (!c->stop && ETIMEDOUT != pthread_cond_timedwait(&c->monitor_cond,
                                                               &c->monitor_lock, &until)) {
        }
        pthread_mutex_unlock(&c->monitor_lock);
        mca_btl_vmshm_distance_clock();
        tick(count);
        pthread_mutex_lock(&c->monitor_lock);
    }
    pthread_mutex_unlock(&c->monitor_lock);
    return unused;
}

int mca_btl_vmshm_monitor_start(void)
{
    mca_btl_vmshm_component_t *c = &mca_btl_vmshm_component;
    pthread_condattr_t attr;
    sigset_t all, before;
    int rc;

    c->stop = false;
    c->ticks = 1;
    pthread_mutex_init(&c->monitor_lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->monitor_cond, &attr);
    pthread_condattr_destroy(&attr);
    /* The program's signals are the program's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&c->monitor, NULL, monitor, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    c->monitoring = 0 == rc;
    return c->monitoring ? OPAL_SUCCESS : OPAL_ERR_OUT_OF_RESOURCE;
}

void mca_btl_vmshm_monitor_stop(void)
{
    mca_btl_vmshm_component_t *c = &mca_btl_vmshm_component;

    if (!c->monitoring) {
        return;
    }
    pthread_mutex_lock(&c->monitor_lock);
    c->stop = true;
    pthread_cond_signal(&c->monitor_cond);
    pthread_mutex_unlock(&c->monitor_lock);
    pthread_join(c->monitor, NULL);
    if (NULL == c->lost) {
        publish_sent();                 /* what was sent since the last tick, too */
    }
    c->monitoring = false;
    pthread_cond_destroy(&c->monitor_cond);
    pthread_mutex_destroy(&c->monitor_lock);
}

void mca_btl_vmshm_peer_broken(mca_btl_vmshm_endpoint_t *endpoint, const char *field,
                               const char *why)
{
    const int fate = fate_of(endpoint);

    if (MCA_BTL_VMSHM_FATE_ALIVE != fate && !is_overwritten(endpoint)) {
        mca_btl_vmshm_fate_set(endpoint, fate);
        mca_btl_vmshm_alert();
    } else {
        accuse(endpoint, field, why);
    }
}

void mca_btl_vmshm_unmapped(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_error *e)
{
    mca_btl_vmshm_component_t *c = &mca_btl_vmshm_component;
    int32_t expected = 0;

    if (vmshm_compare_exchange(&c->unmapped_stage, &expected, 1)) {
        c->unmapped = *e;
        c->unmapped_ticks = vmshm_load_relaxed(&c->ticks);
        vmshm_store_release(&c->unmapped_stage, 2);
    }
    if (NULL != endpoint) {
        mca_btl_vmshm_fate_set(endpoint, MCA_BTL_VMSHM_FATE_UNMAPPED);
    }
    mca_btl_vmshm_alert();
}

static const char *reason_of(const mca_btl_vmshm_endpoint_t *endpoint)
{
    switch (mca_btl_vmshm_fate(endpoint)) {
    case MCA_BTL_VMSHM_FATE_DEAD:
        return "its process ended without MPI_Finalize";
    case MCA_BTL_VMSHM_FATE_REBOOTED:
        return "its VM was rebooted, or its section cleared (the boot epoch changed)";
    case MCA_BTL_VMSHM_FATE_MARKED:
        return "the host marked its VM as gone";
    case MCA_BTL_VMSHM_FATE_SILENT:
        return "its VM gave no heartbeat for btl_vmshm_silence_limit seconds";
    case MCA_BTL_VMSHM_FATE_NO_RING:
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
    mca_btl_vmshm_component_t *c = &mca_btl_vmshm_component;

    OPAL_THREAD_LOCK(&endpoint->lock);
    (void) mca_btl_vmshm_entry_set(vmshm_rings_offset(), endpoint, 0);
    (void) mca_btl_vmshm_entry_set(vmshm_heads_offset(mca_btl_vmshm_header()), endpoint, 0);
    if (NULL != endpoint->out) {
        mca_btl_vmshm_reclaim_to(endpoint, endpoint->tail);
        mca_btl_vmshm_ring_give(&c->arena, endpoint->out_offset, endpoint->out_slots);
        endpoint->out = NULL;
        endpoint->out_slots = 0;
        free(endpoint->inflight);
        endpoint->inflight = NULL;
        free(endpoint->stale);
        endpoint->stale = NULL;
        endpoint->stales = 0;
    }
    opal_list_join(&endpoint->done, opal_list_get_end(&endpoint->done), &endpoint->pending);
    if (!opal_list_is_empty(&endpoint->done)) {
        mca_btl_vmshm_work_on(endpoint);
    }
    mca_btl_vmshm_next_cell_give(endpoint);
    mca_btl_vmshm_places_close(endpoint);
    if (0 != endpoint->head_offset) {
        mca_btl_vmshm_line_give(&c->arena, endpoint->head_offset);
        endpoint->head_offset = 0;
        endpoint->my_head = NULL;
    }
    OPAL_THREAD_UNLOCK(&endpoint->lock);
}

/* No more than all the rings of a peer hold, each at least twice the one before: it may say that it went and go
 * on sending. */
static void deliver_rest(mca_btl_vmshm_endpoint_t *endpoint)
{
    int left = 2 * VMSHM_RING_MAX_SLOTS, count = 1;

    while (NULL != endpoint->in && count > 0 && left > 0) {
        count = mca_btl_vmshm_poll(endpoint, left);
        left -= count;
    }
}

static void tell_gone(const mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_component_t *c = &mca_btl_vmshm_component;
    const int32_t fate = mca_btl_vmshm_fate(endpoint);
    char name[128], line[384];

    mca_btl_vmshm_peer_name(endpoint, name, sizeof name);
    if (MCA_BTL_VMSHM_FATE_BROKEN == fate) {
        opal_show_help("help-btl-vmshm.txt", "peer broken", true, name, endpoint->broken_field,
                       endpoint->broken_why);
    } else if (MCA_BTL_VMSHM_FATE_NO_RING == fate) {
        opal_show_help("help-btl-vmshm.txt", "no ring", true, name, c->arena.count,
                       c->max_windows, MCA_BTL_VMSHM_NO_RING_TICKS / TICKS_PER_SECOND);
    } else {
        opal_show_help("help-btl-vmshm.txt", "peer gone", true, name, reason_of(endpoint));
    }
    if (NULL != c->error_cb) {
        /* ob1 prints this line itself and ends the job: the peer is named even if the launcher
         * loses the help text, which 4.1.4's does now and then on its own node. */
        snprintf(line, sizeof line, "btl vmshm: lost %s: %s", name,
                 MCA_BTL_VMSHM_FATE_BROKEN == fate ? endpoint->broken_why
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
        .jobid = (uint32_t) (endpoint->name >> 32), .vpid = (uint32_t) endpoint->name,
    };

    return mca_btl_vmshm_is_connected(NULL == proc ? &said : &proc->proc_name);
}

/* Who is silent while it is not connected is alive, unless somebody found it broken meanwhile. False: its slot has
 * another process, it is no more. */
static bool forgive_silence(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_component_t *c = &mca_btl_vmshm_component;
    const uint64_t place = vmshm_proc_index(mca_btl_vmshm_header(), endpoint->vm, endpoint->slot);
    bool present;

    /* Who retires an endpoint holds the lock: its verdict comes before or after this one. */
    pthread_mutex_lock(&c->table_lock);
    present = endpoint == c->table[place];
    if (present) {
        vmshm_store_release(&endpoint->fate, MCA_BTL_VMSHM_FATE_ALIVE);
    }
    pthread_mutex_unlock(&c->table_lock);
    if (!present) {
        return false;
    }
    vmshm_fence_store_load();           /* see accuse() */
    if (2 == vmshm_load_acquire(&endpoint->accused)) {
        mca_btl_vmshm_fate_set(endpoint, MCA_BTL_VMSHM_FATE_BROKEN);
        mca_btl_vmshm_alert();
    }
    vmshm_store_relaxed(&c->unheard[endpoint->vm], 2);      /* its bell meanwhile */
    return true;
}

/* It is lost, but that is of no concern while it is not connected. It may be again, or not be yet: while
 * MPI_Comm_accept makes the communicator. */
static void tell_if_connected(mca_btl_vmshm_endpoint_t *endpoint)
{
    endpoint->untold = !is_connected(endpoint);
    if (endpoint->untold) {
        vmshm_store_relaxed(&mca_btl_vmshm_component.untold, true);
    } else {
        tell_gone(endpoint);
    }
}

static void attend_to(mca_btl_vmshm_endpoint_t *endpoint)
{
    const int32_t fate = mca_btl_vmshm_fate(endpoint);
    bool is_no_more = MCA_BTL_VMSHM_FATE_DEAD == fate || MCA_BTL_VMSHM_FATE_REBOOTED == fate;

    if (endpoint->untold) {
        tell_if_connected(endpoint);
        return;
    }
    /* Nobody waits for it: it may be silent as long as it likes. */
    if (MCA_BTL_VMSHM_FATE_SILENT == fate && !is_connected(endpoint)) {
        if (forgive_silence(endpoint)) {
            return;
        }
        is_no_more = true;
    }
    if (!mca_btl_vmshm_is_unread(endpoint)) {
        /* What it sent before it went is complete: deliver it, also from a ring that was not
         * found yet. */
        if (NULL == endpoint->in) {
            mca_btl_vmshm_ring_accept(endpoint);
        }
        deliver_rest(endpoint);
    }
    mca_btl_vmshm_endpoint_unmap(endpoint);
    if (MCA_BTL_VMSHM_FATE_UNMAPPED == fate) {
        return;                         /* see tell_unmapped */
    }
    if (MCA_BTL_VMSHM_FATE_LEFT == fate) {
        take_leave(endpoint);
        return;
    }
    tell_if_connected(endpoint);
    if (endpoint->untold && is_no_more) {
        take_leave(endpoint);           /* it does not read either */
    }
}

static void tell_lost(void)
{
    mca_btl_vmshm_component_t *c = &mca_btl_vmshm_component;
    char line[384];

    if (c->lost_told) {
        return;
    }
    c->lost_told = true;
    opal_show_help("help-btl-vmshm.txt", "segment lost", true, c->member.segment.path, c->lost);
    if (NULL != c->error_cb) {
        snprintf(line, sizeof line, "btl vmshm: lost the segment %.255s: %.80s",
                 c->member.segment.path, c->lost);
        c->error_cb(&mca_btl_vmshm.super, MCA_BTL_ERROR_FLAGS_FATAL, NULL, line);
    }
}

static void tell_unmapped(void)
{
    mca_btl_vmshm_component_t *c = &mca_btl_vmshm_component;
    const struct vmshm_error *e = &c->unmapped;
    char line[384];

    if (2 != vmshm_load_acquire(&c->unmapped_stage)) {
        return;
    }
    if (VMSHM_ERR_ABSENT == e->code
        && vmshm_load_relaxed(&c->ticks) - c->unmapped_ticks <= LOST_TICKS) {
        mca_btl_vmshm_alert();          /* most likely the segment is lost: see tell_lost */
        return;
    }
    vmshm_store_release(&c->unmapped_stage, 3);
    opal_show_help("help-btl-vmshm.txt", "not mapped", true, e->file, e->field, e->detail);
    if (NULL != c->error_cb) {
        snprintf(line, sizeof line, "btl vmshm: cannot read a peer's memory: %.300s", e->detail);
        c->error_cb(&mca_btl_vmshm.super, MCA_BTL_ERROR_FLAGS_FATAL, NULL, line);
    }
}

static void tell_refusal(void)
{
    mca_btl_vmshm_component_t *c = &mca_btl_vmshm_component;
    struct vmshm_error e;

    if (mca_btl_vmshm_arena_refusal(&c->arena, &e)) {
        opal_show_help("help-btl-vmshm.txt", "no further window", true, e.file, e.field, e.detail);
    }
}

/* The endpoint that was retired first, NULL: none is. Only the poller takes them off the list. */
static mca_btl_vmshm_endpoint_t *first_retired(void)
{
    mca_btl_vmshm_component_t *c = &mca_btl_vmshm_component;
    mca_btl_vmshm_endpoint_t *endpoint = NULL;

    pthread_mutex_lock(&c->table_lock);
    if (!opal_list_is_empty(&c->retired)) {
        endpoint = endpoint_of(opal_list_get_first(&c->retired));
    }
    pthread_mutex_unlock(&c->table_lock);
    return endpoint;
}

/* Its process is no more, all that was to do for it is done: what remains is the number of its messages,
 * and the object for as long as the upper layer or the list of work has it. */
static void forget(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_component_t *c = &mca_btl_vmshm_component;

    pthread_mutex_lock(&c->table_lock);
    opal_list_remove_item(&c->retired, &endpoint->retired_item);
    count_sent(endpoint, &c->gone_messages, &c->gone_bytes);
    pthread_mutex_unlock(&c->table_lock);
    OBJ_RELEASE(endpoint);
}

void mca_btl_vmshm_attend(void)
{
    mca_btl_vmshm_component_t *c = &mca_btl_vmshm_component;
    const uint64_t places = (uint64_t) mca_btl_vmshm_header()->vms
                            * mca_btl_vmshm_header()->procs;
    mca_btl_vmshm_endpoint_t *endpoint;

    /* An exchange: what is looked at below must not have been loaded before. */
    (void) vmshm_exchange(&c->attention, 0);
    if (NULL != vmshm_load_acquire(&c->lost)) {
        tell_lost();
        return;
    }
    tell_unmapped();
    tell_refusal();
    for (uint32_t vm = 0; vm < mca_btl_vmshm_header()->vms; ++vm) {
        bool has_peer = false;

        if (!is_silent_for(vm, c->silence_warning) || vmshm_load_relaxed(&c->silence_noted[vm])) {
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
