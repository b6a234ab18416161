/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process's use of a segment, shared by all its components: its process slot, the peers that it has proven, an
 * arena in its own windows, and the monitor thread.
 *
 * The first component to attach joins the segment; when the last one has detached, the process leaves. Memory that a
 * component does not free stays allocated in the arena until then.
 *
 * Files of this library. A file calls only files below it in this list.
 *   parameters of Open MPI, the job's key  common_vmshm.c, common_vmshm_compat.h: only these know Open MPI
 *   one membership per process             vmshm_attach.c
 *   the thread that watches                vmshm_monitor.c
 *   peers, and their windows               vmshm_registry.c
 *   what became of a peer                  vmshm_fate.c
 *   memory in the own windows              vmshm_arena.c
 *   what other VMs wrote, checked          vmshm_check.c
 *   joining and leaving                    vmshm_member.c
 *   own windows, handed out                vmshm_window.c
 *   dead processes of the own VM           vmshm_reap.c
 *   windows that were released             vmshm_quarantine.c
 *   opening a segment                      vmshm_segment.c, vmshm_header.c: its header, checked
 *   finding it                             vmshm_provider.c, vmshm_provider_pci.c, vmshm_provider_look.c
 *   what the kernel module does instead    vmshm_kmod.c
 *   windows that are mapped                vmshm_mapped.c
 *   mapping memory                         vmshm_map.c
 *   the lock file                          vmshm_lock.c
 *   this VM's id and epoch                 vmshm_identity.c
 *   alerts and ticks                       vmshm_events.c
 *   addresses of entries of the tables     vmshm_tables.c
 *   errors                                 vmshm_error.c
 * Shared with the kernel module: vmshm_format.h, vmshm_layout.h, vmshm_states.h. Used by all: vmshm_atomic.h,
 * vmshm_pause.h.
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
    struct vmshm_arena arena;           /* its first window begins with vmshm_control_bytes() for the tables */
    struct vmshm_registry registry;
    struct vmshm_monitor monitor;
};

struct vmshm_attach_options {
    struct vmshm_join_options join;
    struct vmshm_arena_options arena;   /* window_bytes and max_windows: the first component's apply */
    uint32_t silence_limit;             /* seconds without a heartbeat until a VM counts as gone, 0: never; the
                                         * first component's applies */
};

/* Join the segment, or use it if the process has joined already. *attached is valid until vmshm_detach(); it is set
 * before the first tick, and NULL on error. tick: see vmshm_events.h. It identifies the component: no two have the same
 * one, and one at most has none (NULL). Errors: those of vmshm_join() and vmshm_window_alloc(); FIELD: such a tick is
 * known already; FULL: too many components. */
int vmshm_attach(const struct vmshm_attach_options *options, vmshm_tick_fn tick,
                 struct vmshm_attached **attached, struct vmshm_error *e);

/* To be called after the component has put all its peers. When this returns its tick is not running and is not called
 * again, so the caller must not hold a lock that the tick takes. A component calls vmshm_events_remove() first, before
 * it frees what its tick accesses. */
void vmshm_detach(vmshm_tick_fn tick);

#endif
