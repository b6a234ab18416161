/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A sleeping thread per process: it beats for its VM, marks dead siblings and looks at every peer's process
 * slot, its VM's epoch, heartbeat and the host's mark twice a second. It only notes what it sees; progress acts
 * upon it (btl_vmshm_attend.c). Silence is counted in the thread's own ticks, so that time in which this process
 * was itself stopped does not count against others.
 */
/* Modelled in test/model/ring.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm_monitor.h"
#include "btl_vmshm_distance.h"
#include "btl_vmshm_fate.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#define REAP_TICKS 4

static uint64_t beats[VMSHM_MAX_VMS];

bool mca_btl_vmshm_is_silent_for(uint32_t vm, unsigned int seconds)
{
    return seconds > 0
           && vmshm_load_relaxed(&mca_btl_vmshm_context.silent_ticks[vm]) / MCA_BTL_VMSHM_TICKS_PER_SECOND
              >= seconds;
}

static void count_silence(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;

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

void mca_btl_vmshm_count_sent(const mca_btl_vmshm_endpoint_t *endpoint, uint64_t *messages,
                       uint64_t *bytes)
{
    *messages += vmshm_load_relaxed(&endpoint->out.messages);
    *bytes += vmshm_load_relaxed(&endpoint->out.bytes);
}

/* For those who look with `vmshmctl show`. */
static void publish_sent(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const uint64_t places = (uint64_t) mca_btl_vmshm_header()->vms
                            * mca_btl_vmshm_header()->procs;
    uint64_t messages, bytes;
    opal_list_item_t *item;

    pthread_mutex_lock(&c->table_lock);
    messages = c->gone_messages;
    bytes = c->gone_bytes;
    for (uint64_t i = 0; i < places; ++i) {
        if (NULL != c->table[i]) {
            mca_btl_vmshm_count_sent(c->table[i], &messages, &bytes);
        }
    }
    OPAL_LIST_FOREACH(item, &c->retired, opal_list_item_t) {
        mca_btl_vmshm_count_sent(mca_btl_vmshm_retired(item), &messages, &bytes);
    }
    pthread_mutex_unlock(&c->table_lock);
    vmshm_count(&c->member, messages, bytes);
}

static void tick(unsigned int count)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
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
        fate = mca_btl_vmshm_fate_look(endpoint);
        if (MCA_BTL_VMSHM_FATE_ALIVE == fate
            && mca_btl_vmshm_is_silent_for(endpoint->peer.vm, c->silence_limit)) {
            fate = MCA_BTL_VMSHM_FATE_SILENT;
        }
        if (mca_btl_vmshm_is_overwritten(endpoint)) {
            mca_btl_vmshm_accuse(endpoint, "process", "its entry in the process table has the nonce or the "
                   "generation of another process");
        } else if (MCA_BTL_VMSHM_FATE_ALIVE != fate) {
            mca_btl_vmshm_fate_set(endpoint, fate);
            mca_btl_vmshm_alert();
        } else if (mca_btl_vmshm_is_silent_for(endpoint->peer.vm, c->silence_warning)
                   && !vmshm_load_relaxed(&c->silence_noted[endpoint->peer.vm])) {
            mca_btl_vmshm_alert();
        }
    }
    pthread_mutex_unlock(&c->table_lock);
    publish_sent();
}

static void *monitor(void *unused)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;

    pthread_mutex_lock(&c->monitor_lock);
    for (unsigned int count = 2; !c->stop; ++count) {
        struct timespec until;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += 1000000000 / MCA_BTL_VMSHM_TICKS_PER_SECOND;
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
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
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
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;

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
