/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What goes up: how the parts of the library below a component tell it that something happened.
 *
 *   an alert   a count that grows when there is something new to look at: a peer's fate, the loss of the
 *              segment, memory that was refused. Each component remembers the count that it has seen, and
 *              compares when it makes progress
 *   a tick     a function of the component's, called twice a second by the monitor's thread
 */
#ifndef VMSHM_EVENTS_H
#define VMSHM_EVENTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmshm_atomic.h"

/* Components of one process. */
#define VMSHM_MAX_COMPONENTS 8

/* Called by a thread that Open MPI does not know. It must neither call Open MPI nor attach or detach. */
typedef void (*vmshm_tick_fn)(void);

struct vmshm_events {
    uint32_t alerts;
    pthread_mutex_t lock;               /* the ticks; held while they are called */
    vmshm_tick_fn ticks[VMSHM_MAX_COMPONENTS];
    uint32_t components;
};

void vmshm_events_init(struct vmshm_events *events);
void vmshm_events_fini(struct vmshm_events *events);

/* tick may be NULL. False: there are too many components already. */
bool vmshm_events_add(struct vmshm_events *events, vmshm_tick_fn tick);
/* The tick is not running when this returns, and is not called again. */
void vmshm_events_remove(struct vmshm_events *events, vmshm_tick_fn tick);

/* Call the components' ticks. */
void vmshm_events_tick(struct vmshm_events *events);

/* Let components look. What there is to see was stored before. Any lock may be held. */
static inline void vmshm_alert(struct vmshm_events *events)
{
    (void) vmshm_fetch_add(&events->alerts, 1);
}

#endif
