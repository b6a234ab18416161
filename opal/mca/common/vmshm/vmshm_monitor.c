/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The monitor thread increments the heartbeat, marks dead processes of its VM, and checks every peer's process slot,
 * epoch, heartbeat and mark. It only records the fates; the components act on them. Silence is counted in the
 * thread's own ticks, so time during which this process was stopped does not count as silence of others.
 */
/* Modelled in test/model/ring.pml: change both. */
#include "vmshm_monitor.h"

#include "vmshm_check.h"
#include "vmshm_fate.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#define REAP_TICKS 4

static void count_silence(struct vmshm_monitor *monitor)
{
    const struct vmshm_member *m = monitor->registry->member;

    for (uint32_t vm = 0; vm < m->segment.header.vms; ++vm) {
        const uint64_t beat = vmshm_vm_heartbeat(m, vm);

        if (beat != monitor->beats[vm] || vm == m->id.vm) {
            monitor->beats[vm] = beat;
            vmshm_store_relaxed(&monitor->silent_ticks[vm], 0);
        } else {
            vmshm_store_relaxed(&monitor->silent_ticks[vm], monitor->silent_ticks[vm] + 1);
        }
    }
}

/* Registry's lock held. */
static void look_at(struct vmshm_peer *peer, void *arg)
{
    const struct vmshm_monitor *monitor = arg;
    int fate;

    if (!vmshm_is_alive(peer)) {
        vmshm_peer_release_windows(peer);
        return;
    }
    fate = vmshm_fate_look(peer);
    if (VMSHM_FATE_ALIVE == fate && vmshm_is_silent_for(monitor, peer->vm, monitor->silence_limit)) {
        fate = VMSHM_FATE_SILENT;
    }
    if (vmshm_is_overwritten(peer)) {
        vmshm_peer_accuse(peer, "process", "its entry in the process table has the nonce or the "
                          "generation of another process");
    } else if (VMSHM_FATE_ALIVE != fate) {
        vmshm_fate_set(peer, fate);
        vmshm_alert(monitor->registry->events);
    }
}

static void tick(struct vmshm_monitor *monitor)
{
    struct vmshm_registry *registry = monitor->registry;
    struct vmshm_member *m = registry->member;

    vmshm_store_relaxed(&monitor->ticks, monitor->ticks + 1);
    vmshm_store_relaxed(&registry->looks, monitor->ticks);
    if (NULL == monitor->lost) {
        const char *lost = vmshm_lost(m);

        if (NULL != lost) {
            /* The reason first: a thread that read the zeros before it would blame a peer. */
            vmshm_store_release(&monitor->lost, lost);
            vmshm_alert(registry->events);
            vmshm_let_go(m);
        }
    }
    /* The zeros say nothing about peers. */
    if (NULL != monitor->lost) {
        return;
    }
    vmshm_heartbeat(m);
    if (0 == monitor->ticks % REAP_TICKS) {
        (void) vmshm_look_after(m);
    }
    count_silence(monitor);
    vmshm_registry_visit(registry, look_at, monitor);
    vmshm_events_tick(registry->events);
}

static void *run(void *arg)
{
    struct vmshm_monitor *monitor = arg;

    pthread_mutex_lock(&monitor->lock);
    while (!monitor->stop) {
        struct timespec until;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += 1000000000 / VMSHM_TICKS_PER_SECOND;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec += 1;
        }
        while (!monitor->stop
               && ETIMEDOUT != pthread_cond_timedwait(&monitor->stopped, &monitor->lock, &until)) {
        }
        pthread_mutex_unlock(&monitor->lock);
        tick(monitor);
        pthread_mutex_lock(&monitor->lock);
    }
    pthread_mutex_unlock(&monitor->lock);
    return NULL;
}

int vmshm_monitor_start(struct vmshm_monitor *monitor, struct vmshm_registry *registry, uint32_t silence_limit,
                        struct vmshm_error *e)
{
    pthread_condattr_t attr;
    sigset_t all, before;
    int rc;

    *monitor = (struct vmshm_monitor) { .registry = registry, .silence_limit = silence_limit, .ticks = 1 };
    pthread_mutex_init(&monitor->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&monitor->stopped, &attr);
    pthread_condattr_destroy(&attr);
    /* Block all signals in the thread, so that the program's threads handle them. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&monitor->thread, NULL, run, monitor);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (0 != rc) {
        pthread_cond_destroy(&monitor->stopped);
        pthread_mutex_destroy(&monitor->lock);
        return vmshm_fail(e, VMSHM_ERR_SYSTEM, registry->member->segment.path, "monitor", "cannot create a "
                          "thread: there is a limit on processes and threads (ulimit -u, pids.max of a control "
                          "group)");
    }
    monitor->running = true;
    return VMSHM_OK;
}

void vmshm_monitor_stop(struct vmshm_monitor *monitor)
{
    if (!monitor->running) {
        return;
    }
    monitor->running = false;
    pthread_mutex_lock(&monitor->lock);
    monitor->stop = true;
    pthread_cond_signal(&monitor->stopped);
    pthread_mutex_unlock(&monitor->lock);
    pthread_join(monitor->thread, NULL);
    pthread_cond_destroy(&monitor->stopped);
    pthread_mutex_destroy(&monitor->lock);
}
