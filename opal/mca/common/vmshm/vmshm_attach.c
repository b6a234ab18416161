/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmshm_attach.h"

#include "vmshm_layout.h"

/* One per process. */
static struct vmshm_attached process;
static struct {
    vmshm_tick_fn tick;
    uint64_t vital_bytes;               /* reserved for it in that window of the arena */
    uint32_t window;
} components[VMSHM_MAX_COMPONENTS];
static uint32_t count;                  /* of them */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;   /* protects the variables above */

/* Fill and publish the control window, which peers check in vmshm_peer_prove(). */
static void show_control_window(struct vmshm_attached *a)
{
    struct vmshm_window_header *control = vmshm_at(&a->member, a->arena.windows[0].offset);

    control->nonce = a->member.nonce;
    vmshm_store_release(&control->magic, VMSHM_WINDOW_MAGIC);
    vmshm_window_publish(&a->member, a->arena.windows[0].index);
}

static int begin(struct vmshm_attached *a, const struct vmshm_attach_options *o, struct vmshm_error *e)
{
    int rc = vmshm_join(&o->join, &a->member, e);

    if (VMSHM_OK != rc) {
        return rc;
    }
    vmshm_events_init(&a->events);
    rc = vmshm_arena_init(&a->arena, &a->member, &a->events, vmshm_control_bytes(&a->member.segment.header),
                          &o->arena, e);
    if (VMSHM_OK != rc) {
        goto leave;
    }
    rc = vmshm_registry_init(&a->registry, &a->member, &a->events, e);
    if (VMSHM_OK != rc) {
        goto drop_arena;
    }
    show_control_window(a);
    rc = vmshm_monitor_start(&a->monitor, &a->registry, o->silence_limit, e);
    if (VMSHM_OK == rc) {
        return VMSHM_OK;
    }
    vmshm_registry_fini(&a->registry);

drop_arena:
    vmshm_arena_fini(&a->arena);
leave:
    vmshm_events_fini(&a->events);
    vmshm_leave(&a->member);
    return rc;
}

static void end(struct vmshm_attached *a)
{
    vmshm_monitor_stop(&a->monitor);
    vmshm_registry_fini(&a->registry);
    vmshm_arena_fini(&a->arena);
    vmshm_events_fini(&a->events);
    vmshm_leave(&a->member);
}

/* Which component has that tick; count: none. */
static uint32_t component_of(vmshm_tick_fn tick)
{
    uint32_t i = 0;

    while (i < count && tick != components[i].tick) {
        ++i;
    }
    return i;
}

static int come(struct vmshm_attached *a, const struct vmshm_attach_options *o, vmshm_tick_fn tick,
                struct vmshm_attached **attached, struct vmshm_error *e)
{
    int rc;

    *attached = NULL;
    if (VMSHM_MAX_COMPONENTS == count) {
        return vmshm_fail(e, VMSHM_ERR_FULL, a->member.segment.path, "components",
                          "%u components of this process have the segment already", count);
    }
    if (count != component_of(tick)) {
        return vmshm_fail(e, VMSHM_ERR_FIELD, a->member.segment.path, "tick",
                          "another component has the same one, by which it is known");
    }
    components[count].tick = tick;
    components[count].vital_bytes = o->arena.vital_bytes;
    components[count].window = 0;
    rc = 0 == count ? begin(a, o, e)
         : vmshm_arena_provide(&a->arena, o->arena.first_bytes, o->arena.vital_bytes, &components[count].window, e);
    if (VMSHM_OK == rc) {
        count += 1;
        /* The monitor runs: the tick may be called as soon as it is known. */
        *attached = a;
        (void) vmshm_events_add(&a->events, tick);
    }
    return rc;
}

int vmshm_attach(const struct vmshm_attach_options *options, vmshm_tick_fn tick,
                 struct vmshm_attached **attached, struct vmshm_error *e)
{
    int rc;

    pthread_mutex_lock(&lock);
    rc = come(&process, options, tick, attached, e);
    pthread_mutex_unlock(&lock);
    return rc;
}

void vmshm_detach(vmshm_tick_fn tick)
{
    uint32_t i;

    pthread_mutex_lock(&lock);
    i = component_of(tick);
    if (i < count) {
        vmshm_events_remove(&process.events, tick);
        vmshm_arena_unprovide(&process.arena, components[i].vital_bytes, components[i].window);
        components[i] = components[--count];
        if (0 == count) {
            end(&process);
        }
    }
    pthread_mutex_unlock(&lock);
}
