/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a process has of a segment, once for all its components: the membership, the peers that it has proven, the
 * memory of its own windows, the thread that watches.
 *
 * The first component to attach joins the segment; when the last one has detached, the process leaves. What a
 * component does not give back to the arena stays taken until then.
 */
#ifndef VMSHM_ATTACH_H
#define VMSHM_ATTACH_H

#include "vmshm_arena.h"
#include "vmshm_events.h"
#include "vmshm_member.h"
#include "vmshm_monitor.h"
#include "vmshm_registry.h"

struct vmshm_attached {
    struct vmshm_member member;
    struct vmshm_events events;
    struct vmshm_arena arena;           /* at the start of its first window: vmshm_control_bytes() */
    struct vmshm_registry registry;
    struct vmshm_monitor monitor;
};

struct vmshm_attach_options {
    struct vmshm_join_options join;
    struct vmshm_arena_options arena;   /* window_bytes and max_windows are those of the first component */
    uint32_t silence_limit;             /* s, 0: never; that of the first component */
};

/* Join, or use what the process has joined already. *attached stays the process's until vmshm_detach(); it is set
 * before the first tick is called, and NULL on error. tick: see vmshm_events.h, NULL: none. Errors: those of vmshm_join() and
 * vmshm_window_alloc(). */
int vmshm_attach(const struct vmshm_attach_options *options, vmshm_tick_fn tick,
                 struct vmshm_attached **attached, struct vmshm_error *e);

/* The component has put all its peers. Its tick is not called any more when this returns; a component that takes
 * apart what the tick looks at calls vmshm_events_remove() before. Not to be called with a lock held that the tick
 * takes. */
void vmshm_detach(vmshm_tick_fn tick);

#endif
