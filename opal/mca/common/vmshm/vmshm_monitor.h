/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread of this process that beats for its VM and looks at the peers.
 */
#ifndef VMSHM_MONITOR_H
#define VMSHM_MONITOR_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmshm_registry.h"

/* So often a second. */
#define VMSHM_TICKS_PER_SECOND 2

struct vmshm_monitor {
    struct vmshm_registry *registry;
    uint32_t silence_limit;             /* s, after which a VM's peers are VMSHM_FATE_SILENT; 0: never */
    pthread_t thread;
    pthread_mutex_t lock;               /* stop */
    pthread_cond_t stopped;
    bool stop;
    bool running;                       /* there is a thread to stop */
    /* Written by the thread, read by any. */
    uint32_t ticks;                     /* so far, from 1 on */
    const char *lost;                   /* why this process no longer has the segment, NULL: it has it */
    uint32_t silent_ticks[VMSHM_MAX_VMS];
    /* The thread's own. */
    uint64_t beats[VMSHM_MAX_VMS];
};

/* Errors: SYSTEM: no thread can be made. */
int vmshm_monitor_start(struct vmshm_monitor *monitor, struct vmshm_registry *registry, uint32_t silence_limit,
                        struct vmshm_error *e);
/* Twice is once. */
void vmshm_monitor_stop(struct vmshm_monitor *monitor);

/* Was there no heartbeat of the VM for so many seconds? 0: never. */
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
