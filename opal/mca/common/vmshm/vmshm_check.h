/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What other VMs write, and what is checked of it.
 *
 * A VM may write into its own section what it likes, at any time. Nothing else of this library reads another VM's
 * tables for more than whether it reads a window of ours: the functions here copy what they read, check the copy, and
 * return private values.
 *
 *   a process entry          copied as a whole; live, generation, nonce,   vmshm_peer_read(), vmshm_peer_prove()
 *                            user; its job's key is compared by the
 *                            kernel module (vmshm_kmod_find())
 *   a window's entry         live, of that process, inside its heap,       vmshm_reader_enter(), vmshm_reader_find();
 *                            over no other window                          with the kernel module
 *                                                                          guest-kmod/vmshm_found.c
 *   a control window         magic and nonce                               vmshm_peer_prove()
 *   epoch, heartbeat, bell   compared with what was there before:          vmshm_vm_epoch() and so on
 *                            any value is right
 *   a reader's row           keeps a window of ours in quarantine, no      vmshm_proc_reads(), vmshm_states.h
 *                            more
 *   the header, the marks    written by the host: the header is copied     vmshm_header_check() (vmshm_segment.h),
 *                            and checked once                              vmshm_vm_is_gone()
 *
 * A peer's memory in windows that were entered: vmshm_peer_memory() (vmshm_registry.h) hands out what lies in them.
 * With the kernel module the tables are read the same way, but what is mapped is what the module has checked.
 */
#ifndef VMSHM_CHECK_H
#define VMSHM_CHECK_H

#include "vmshm_member.h"
#include "vmshm_states.h"

/* --- a VM; vm < header.vms */

static inline bool vmshm_vm_is_gone(const struct vmshm_member *m, uint32_t vm)
{
    return vmshm_mark_is_gone(vmshm_mark_of(&m->segment, vm));
}

/* Of its boot. Pairs with vmshm_section_set_up(). */
static inline uint64_t vmshm_vm_epoch(const struct vmshm_member *m, uint32_t vm)
{
    return vmshm_load_acquire(&vmshm_section_of(&m->segment, vm)->epoch);
}

/* It grows while a process of the VM runs. */
static inline uint64_t vmshm_vm_heartbeat(const struct vmshm_member *m, uint32_t vm)
{
    return vmshm_load_relaxed(&vmshm_section_of(&m->segment, vm)->heartbeat);
}

/* What that VM rings when it has something new for this process: a count. Pairs with vmshm_ring_bell(). */
static inline const uint32_t *vmshm_vm_bell(const struct vmshm_member *m, uint32_t vm)
{
    return vmshm_bell_of(&m->segment, vm, m->id.vm, m->slot);
}

/* --- a process */

/* Of the process in that slot, which is in range. */
static inline uint32_t vmshm_peer_generation(const struct vmshm_member *m, uint32_t vm, uint32_t slot)
{
    return vmshm_load_acquire(&vmshm_proc_of(&m->segment, vm, slot)->generation);
}

/* Copy a peer's process entry; false if the slot is out of range. */
bool vmshm_peer_read(const struct vmshm_member *m, uint32_t vm, uint32_t slot,
                     struct vmshm_proc *copy);

/* Does the process that published `a` stand there, live, and does its nonce stand in its control
 * window, read through our own mapping? Registers as a reader of the control window, whose private
 * copy goes to *w. Errors: PEER, USER, MAP. */
int vmshm_peer_prove(struct vmshm_member *m, const struct vmshm_address *a,
                     uint32_t *index, struct vmshm_window *w, struct vmshm_error *e);

/* Register as a reader of window `index` of `vm`, which must be live and belong to `slot`, and map it.
 * *w receives a checked copy. May be done several times, and is then to be undone as often. False and *e:
 * not such a window (PEER), or this process cannot map it (MAP), which is not the peer's fault. */
bool vmshm_reader_enter(struct vmshm_member *m, uint32_t vm, uint32_t slot, uint32_t index,
                        struct vmshm_window *w, struct vmshm_error *e);
void vmshm_reader_leave(struct vmshm_member *m, uint32_t vm, uint32_t index);

/* Find, and register as a reader of, the live window of (vm, slot) that holds
 * [offset, offset + length). Returns its index, or VMSHM_NO_WINDOW and *e as above. Linear in the table:
 * callers keep what they found. */
uint32_t vmshm_reader_find(struct vmshm_member *m, uint32_t vm, uint32_t slot, uint64_t offset,
                           uint64_t length, struct vmshm_window *w, struct vmshm_error *e);

#endif
