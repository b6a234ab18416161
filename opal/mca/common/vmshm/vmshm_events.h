/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How the library notifies the components above it:
 *
 *   alerts   a counter that grows when there is something new to look at: a peer's fate, the loss of the segment,
 *            a window that the section refused. Each component remembers the value it saw last, and compares it in
 *            its progress function
 *   ticks    callbacks of the components, called twice a second by the monitor thread
 */
#ifndef VMSHM_EVENTS_H
#define VMSHM_EVENTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmshm_atomic.h"

/* Maximum number of components per process. */
#define VMSHM_MAX_COMPONENTS 8

/* Called by a thread that Open MPI does not know: it must neither call Open MPI nor attach or detach. */
typedef void (*vmshm_tick_fn)(void);

struct vmshm_events {
    uint32_t alerts;                    /* any thread adds to it, without the lock */
    pthread_mutex_t lock;               /* protects the two fields below; held while ticks are called */
    vmshm_tick_fn ticks[VMSHM_MAX_COMPONENTS];
    uint32_t components;                /* entries of ticks in use */
};

void vmshm_events_init(struct vmshm_events *events);
void vmshm_events_fini(struct vmshm_events *events);

/* tick may be NULL. Returns false if there are too many components already. */
bool vmshm_events_add(struct vmshm_events *events, vmshm_tick_fn tick);
/* When this returns the tick is not running and is not called again. */
void vmshm_events_remove(struct vmshm_events *events, vmshm_tick_fn tick);

void vmshm_events_tick(struct vmshm_events *events);

/* Make the components look at what the caller has stored before. The caller may hold any lock. */
static inline void vmshm_alert(struct vmshm_events *events)
{
    (void) vmshm_fetch_add(&events->alerts, 1);
}

#endif
