/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The monitor thread of a process: it increments its VM's heartbeat and watches the peers.
 */
#ifndef VMSHM_MONITOR_H
#define VMSHM_MONITOR_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmshm_registry.h"

#define VMSHM_TICKS_PER_SECOND 2

struct vmshm_monitor {
    struct vmshm_registry *registry;
    uint32_t silence_limit;             /* seconds of silence until a VM's peers are VMSHM_FATE_SILENT; 0: never */
    pthread_t thread;
    pthread_mutex_t lock;               /* protects stop */
    pthread_cond_t stopped;
    bool stop;
    bool running;                       /* there is a thread to stop */
    /* Written by the monitor thread, read by any. */
    uint32_t ticks;                     /* number of ticks so far, plus 1 */
    const char *lost;                   /* why this process has lost the segment; NULL: it has not */
    uint32_t silent_ticks[VMSHM_MAX_VMS];   /* ticks since the VM's heartbeat last changed */
    /* Used by the monitor thread only. */
    uint64_t beats[VMSHM_MAX_VMS];      /* the VM's heartbeat at the last tick */
};

/* Errors: SYSTEM (no thread can be created). */
int vmshm_monitor_start(struct vmshm_monitor *monitor, struct vmshm_registry *registry, uint32_t silence_limit,
                        struct vmshm_error *e);
/* Does nothing if the monitor is not running. */
void vmshm_monitor_stop(struct vmshm_monitor *monitor);

/* Has the VM's heartbeat not changed for this many seconds? False if seconds is 0. */
static inline bool vmshm_is_silent_for(const struct vmshm_monitor *monitor, uint32_t vm, uint32_t seconds)
{
    return seconds > 0
           && vmshm_load_relaxed(&monitor->silent_ticks[vm]) / VMSHM_TICKS_PER_SECOND >= seconds;
}

static inline const char *vmshm_monitor_lost(const struct vmshm_monitor *monitor)
{
    return vmshm_load_acquire(&monitor->lost);
}

#endif
