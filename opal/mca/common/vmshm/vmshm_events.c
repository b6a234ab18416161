/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmshm_events.h"

#include <stddef.h>

void vmshm_events_init(struct vmshm_events *events)
{
    *events = (struct vmshm_events) { .components = 0 };
    pthread_mutex_init(&events->lock, NULL);
}

void vmshm_events_fini(struct vmshm_events *events)
{
    pthread_mutex_destroy(&events->lock);
}

bool vmshm_events_add(struct vmshm_events *events, vmshm_tick_fn tick)
{
    bool room;

    pthread_mutex_lock(&events->lock);
    room = events->components < VMSHM_MAX_COMPONENTS;
    if (room) {
        events->ticks[events->components++] = tick;
    }
    pthread_mutex_unlock(&events->lock);
    return room;
}

void vmshm_events_remove(struct vmshm_events *events, vmshm_tick_fn tick)
{
    pthread_mutex_lock(&events->lock);
    for (uint32_t i = 0; i < events->components; ++i) {
        if (events->ticks[i] == tick) {
            events->ticks[i] = events->ticks[--events->components];
            break;
        }
    }
    pthread_mutex_unlock(&events->lock);
}

void vmshm_events_tick(struct vmshm_events *events)
{
    pthread_mutex_lock(&events->lock);
    for (uint32_t i = 0; i < events->components; ++i) {
        if (NULL != events->ticks[i]) {
            events->ticks[i]();
        }
    }
    pthread_mutex_unlock(&events->lock);
}
