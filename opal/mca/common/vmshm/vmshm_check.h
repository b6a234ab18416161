/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How data that other VMs write is checked.
 *
 * A VM may write anything into its own section, at any time. The functions here copy what they read of another VM's
 * tables, check the copy, and return private values; a bell is a count, of which the
 * caller gets the address. Two other files read there, too, and need no check: collecting
 * windows (vmshm_quarantine.c) looks for processes that list a window of ours as read, and vmshm_kmod_find() passes a
 * process's job key to the kernel module, which compares it.
 *
 *   data                     check                                         function
 *
 *   a process entry          copied as a whole; live, generation, user;    vmshm_peer_read(), vmshm_peer_prove()
 *                            nonce and generation now and then;            vmshm_is_overwritten() (vmshm_fate.h)
 *                            its job's key by the kernel module            vmshm_kmod_find()
 *   a window entry           live, owned by that process, inside its       vmshm_reader_enter(), vmshm_reader_find();
 *                            heap, no overlap with another window          with the kernel module
 *                                                                          guest-kmod/vmshm_found.c
 *   a control window         magic and nonce                               vmshm_peer_prove()
 *   epoch, heartbeat, bell   none: any value is valid, and is only         vmshm_vm_epoch() and so on
 *                            compared with the previous one
 *   a reader's row           none: a wrong bit only keeps one of our       vmshm_proc_reads(), vmshm_states.h
 *                            windows in quarantine
 *   the header, the marks    written by the host: the header is copied     vmshm_header_check() (vmshm_segment.h),
 *                            and checked once                              vmshm_vm_is_gone()
 *
 * vmshm_peer_memory() (vmshm_registry.h) gives access to a peer's memory in windows that were entered.
 * With the kernel module the tables are read the same way, but only windows that the module has checked are mapped.
 */
#ifndef VMSHM_CHECK_H
#define VMSHM_CHECK_H

#include "vmshm_member.h"
#include "vmshm_states.h"

/* --- VMs; vm < header.vms */

static inline bool vmshm_vm_is_gone(const struct vmshm_member *m, uint32_t vm)
{
    return vmshm_mark_is_gone(vmshm_mark_of(&m->segment, vm));
}

/* The epoch of the VM's present boot. Pairs with vmshm_section_set_up(). */
static inline uint64_t vmshm_vm_epoch(const struct vmshm_member *m, uint32_t vm)
{
    return vmshm_load_acquire(&vmshm_section_of(&m->segment, vm)->epoch);
}

/* A counter that grows while a process of the VM runs. */
static inline uint64_t vmshm_vm_heartbeat(const struct vmshm_member *m, uint32_t vm)
{
    return vmshm_load_relaxed(&vmshm_section_of(&m->segment, vm)->heartbeat);
}

/* The counter that the VM increments when one of its processes has a new ring for this process. Pairs with
 * vmshm_ring_bell(). */
static inline const uint32_t *vmshm_vm_bell(const struct vmshm_member *m, uint32_t vm)
{
    return vmshm_bell_of(&m->segment, vm, m->id.vm, m->slot);
}

/* --- processes */

/* The slot must be in range. */
static inline uint32_t vmshm_peer_generation(const struct vmshm_member *m, uint32_t vm, uint32_t slot)
{
    return vmshm_load_acquire(&vmshm_proc_of(&m->segment, vm, slot)->generation);
}

/* Copy a peer's process entry; false if the slot is out of range. */
bool vmshm_peer_read(const struct vmshm_member *m, uint32_t vm, uint32_t slot,
                     struct vmshm_proc *copy);

/* Prove that memory is shared with the process that published `a`: its slot must be live, and its nonce must be in
 * its control window, read through our own mapping. Registers as a reader of the control window; *w receives a
 * private copy of its entry, *index its index. Errors: PEER, USER, MAP. */
int vmshm_peer_prove(struct vmshm_member *m, const struct vmshm_address *a,
                     uint32_t *index, struct vmshm_window *w, struct vmshm_error *e);

/* Register as a reader of window `index` of `vm`, which must be live and belong to `slot`, and map it. *w receives a
 * checked copy of its entry. Calls nest: each needs a vmshm_reader_leave(). Returns false and fills *e if there is no
 * such window (PEER) or this process cannot map it (MAP), which is not the peer's fault. */
bool vmshm_reader_enter(struct vmshm_member *m, uint32_t vm, uint32_t slot, uint32_t index,
                        struct vmshm_window *w, struct vmshm_error *e);
void vmshm_reader_leave(struct vmshm_member *m, uint32_t vm, uint32_t index);

/* Find the live window of (vm, slot) that contains [offset, offset + length), and register as its reader. Returns its
 * index, or VMSHM_NO_WINDOW with *e as above. Searches the whole table, so callers keep the result. */
uint32_t vmshm_reader_find(struct vmshm_member *m, uint32_t vm, uint32_t slot, uint64_t offset,
                           uint64_t length, struct vmshm_window *w, struct vmshm_error *e);

#endif
