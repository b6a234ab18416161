/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * The states of process slots and windows: what leads from one to the next, and the order of the loads and
 * stores that go with it. One implementation for user space, vmshmctl and the kernel module.
 *
 * Process slot:
 *
 *              vmshm_proc_set_live              vmshm_proc_set_ended
 *     FREE -------------------------> LIVE --------------------------> LEFT or DEAD
 *                                       ^                                  |
 *                                       +------- vmshm_proc_set_live ------+
 *
 * Window:
 *
 *              vmshm_window_set_live          vmshm_window_set_quarantine
 *     EMPTY -------------------------> LIVE ------------------------------> QUARANTINE
 *       ^                                                                       |
 *       +----- vmshm_window_set_empty: it was seen that nobody reads it --------+
 *
 * `vmshmctl reset-vm` makes any slot FREE, and any window QUARANTINE first, then EMPTY if nobody reads it.
 * The kernel module does the same with the windows of an earlier boot; one that lies outside of the heap it
 * makes EMPTY at once, since nobody can have entered it.
 *
 * The functions work on the entries in shared memory; doc/format.md says who may write them when. User space
 * believes the entries of its own VM; the kernel module goes by its own memory, and the entries of its VM are
 * what it shows to others.
 *
 * Release and acquire: the state of an entry is stored last and loaded first. Where a store must be seen
 * before a later load there is a full fence at both ends, and at least one of the two sees the other:
 *
 *     vmshm_row_set                 bit of the reader      |  state QUARANTINE   who collects windows
 *                                   fence                  |  fence
 *                                   load of the state      |  load of the bits
 *
 *     vmshm_proc_set_live           state LIVE             |  arbiter            vmshm_section_claim
 *                                   fence                  |  fence
 *                                   load of the arbiter    |  load of the states
 *
 * Those who collect windows, whose fences are the partners of vmshm_row_set()'s: vmshm_window_collect() in
 * vmshm_quarantine.c and in guest-kmod/vmshm_quarantine.c, reset_windows() in tools/vmshmctl_reset.c.
 */
/* Modelled in test/model/windows.pml and join.pml: change both. */
#ifndef VMSHM_STATES_H
#define VMSHM_STATES_H

#include "vmshm_format.h"

/* Both name the same accesses. */
#ifdef __KERNEL__
#include "vmshm_access.h"
#else
#include "vmshm_atomic.h"
#endif

/* ---------------------------------------------------------------- section and marks */

/* Tell other VMs that a process of this one came, left or died: they load `changes` now and then. */
static inline void vmshm_section_changed(struct vmshm_section *section)
{
    vmshm_add(&section->changes, 1);
}

/* Replace the arbiter that was seen before, as far as nobody else did. The caller then looks at the process
 * slots once more. */
static inline bool vmshm_section_claim(struct vmshm_section *section, uint64_t before, uint64_t mine)
{
    if (!vmshm_compare_exchange(&section->arbiter, &before, mine)) {
        return false;
    }
    vmshm_fence_store_load();   /* the arbiter before the slots; the partner is in vmshm_proc_set_live() */
    return true;
}

static inline void vmshm_section_unclaim(struct vmshm_section *section, uint64_t before, uint64_t mine)
{
    (void) vmshm_compare_exchange(&section->arbiter, &mine, before);
}

/* The section is of this boot. Partners: the epoch is loaded with acquire by vmshm_peer_prove() (vmshm_check.c),
 * the magic by vmshm_vm_may_read(). */
static inline void vmshm_section_set_up(struct vmshm_section *section, uint32_t vm, uint64_t epoch)
{
    vmshm_store_relaxed(&section->vm_id, vm);
    vmshm_store_release(&section->epoch, epoch);
    vmshm_store_release(&section->state, VMSHM_SECTION_UP);
    vmshm_store_release(&section->magic, VMSHM_SECTION_MAGIC);
}

/* Acquire: who has loaded the count of marks before finds the mark as old as that or newer. `vmshmctl mark-vm`
 * (tools/vmshmctl_mark.c) stores the mark, then the count, each with release. */
static inline bool vmshm_mark_is_gone(const struct vmshm_vm_mark *mark)
{
    return VMSHM_MARK_GONE == vmshm_load_acquire(&mark->mark);
}

/* May a process of that VM still run, and read windows of others? */
static inline bool vmshm_vm_may_read(const struct vmshm_section *section, const struct vmshm_vm_mark *mark)
{
    return VMSHM_SECTION_MAGIC == vmshm_load_acquire(&section->magic) && !vmshm_mark_is_gone(mark);
}

/* ---------------------------------------------------------------- process slots */

/* Acquire: of a process that is live the rest of the entry is as it was then (vmshm_proc_set_live()), and
 * of one that has ended the row is clear (vmshm_proc_set_ended()). */
static inline bool vmshm_proc_is_live(const struct vmshm_proc *proc)
{
    return VMSHM_PROC_LIVE == vmshm_load_acquire(&proc->state);
}

/* Tells one set of live processes from another; 0: none is alive. */
static inline uint64_t vmshm_procs_print(const struct vmshm_proc *procs, uint32_t slots)
{
    uint64_t print = 0;

    for (uint32_t slot = 0; slot < slots; ++slot) {
        if (vmshm_proc_is_live(&procs[slot])) {
            print += vmshm_load_relaxed(&procs[slot].nonce) | 1;
        }
    }
    return print;
}

/* Take a slot: generation, pid, uid, nonce, name, job and time of the join come from `as`. The caller then looks
 * whether the section's arbiter is still its own. */
static inline void vmshm_proc_set_live(struct vmshm_proc *proc, const struct vmshm_proc *as)
{
    vmshm_store_relaxed(&proc->generation, as->generation);
    vmshm_store_relaxed(&proc->pid, as->pid);
    vmshm_store_relaxed(&proc->uid, as->uid);
    vmshm_store_relaxed(&proc->nonce, as->nonce);
    vmshm_store_relaxed(&proc->name, as->name);
    memcpy(proc->job, as->job, sizeof(proc->job));
    vmshm_store_relaxed(&proc->window, UINT32_MAX);
    vmshm_store_relaxed(&proc->joined_sec, as->joined_sec);
    vmshm_store_relaxed(&proc->messages, 0);
    vmshm_store_relaxed(&proc->bytes, 0);
    /* All that before the state, which vmshm_peer_read() (vmshm_check.c) and vmshm_proc_is_live() load first. */
    vmshm_store_release(&proc->state, VMSHM_PROC_LIVE);
    vmshm_fence_store_load();   /* the slot before the arbiter; the partner is in vmshm_section_claim() */
}

/* The index of the control window, which is filled: loaded with acquire by vmshm_peer_read() (vmshm_check.c). */
static inline void vmshm_proc_set_window(struct vmshm_proc *proc, uint32_t index)
{
    vmshm_store_release(&proc->window, index);
}

/* Bury a slot, `state` is VMSHM_PROC_LEFT or _DEAD: after its row was cleared (vmshm_row_zero()) and its windows
 * were put in quarantine. The state comes last: who dies in here leaves the slot live, and it is buried
 * again, without what was counted already. */
static inline void vmshm_proc_set_ended(struct vmshm_proc *proc, struct vmshm_section *section, uint32_t state)
{
    const uint64_t messages = vmshm_load_relaxed(&proc->messages);
    const uint64_t bytes = vmshm_load_relaxed(&proc->bytes);

    vmshm_store_relaxed(&proc->messages, 0);
    vmshm_store_relaxed(&proc->bytes, 0);
    vmshm_add(&section->messages, messages);
    vmshm_add(&section->bytes, bytes);
    /* The cleared row before the state; who collects loads the state in vmshm_proc_is_live(). */
    vmshm_store_release(&proc->state, state);
    vmshm_section_changed(section);
}

/* ---------------------------------------------------------------- a process's row of the reader table */

/* Index of a window's bit. */
static inline uint64_t vmshm_reader_bit(const struct vmshm_header *h, uint32_t vm, uint32_t index)
{
    return (uint64_t) vm * h->windows + index;
}

/* Acquire: where a bit is clear the reader's last loads come before what the caller stores into the window.
 * The partner is in vmshm_row_clear(). */
static inline uint64_t vmshm_row_word(const uint64_t *row, uint64_t word)
{
    return vmshm_load_acquire(&row[word]);
}

static inline bool vmshm_row_has(const uint64_t *row, uint64_t bit)
{
    return 0 != (vmshm_row_word(row, bit / 64) >> bit % 64 & 1);
}

/* Does the process list that window as read? It is live before it sets its first bit. */
static inline bool vmshm_proc_reads(const struct vmshm_proc *proc, const uint64_t *row, uint64_t bit)
{
    return vmshm_proc_is_live(proc) && vmshm_row_has(row, bit);
}

/* Enter a window: the caller then copies its entry (vmshm_window_copy()), and enters if that is live. */
static inline void vmshm_row_set(uint64_t *row, uint64_t bit)
{
    vmshm_set_bits(&row[bit / 64], UINT64_C(1) << bit % 64);
    vmshm_fence_store_load();   /* the bit before the state; the partner is where windows are collected, see above */
}

/* Leave a window: the last loads from it before the bit, which who collects loads in vmshm_row_word(). */
static inline void vmshm_row_clear(uint64_t *row, uint64_t bit)
{
    vmshm_clear_bits(&row[bit / 64], UINT64_C(1) << bit % 64);
}

/* A process that has ended reads nothing: part of its burial. */
static inline void vmshm_row_zero(uint64_t *row, uint64_t bytes)
{
    memset(row, 0, bytes);
}

/* ---------------------------------------------------------------- windows */

/* A private copy. The state first: live, and under the caller's bit, the entry stays as it is; else it may be
 * handed out anew meanwhile. The partners are in vmshm_window_set_live() and _set_quarantine(). */
static inline void vmshm_window_copy(struct vmshm_window *copy, const struct vmshm_window *shared)
{
    const uint32_t state = vmshm_load_acquire(&shared->state);

    vmshm_copy_in(copy, shared, sizeof(*copy));
    copy->state = state;
}

/* Hand out an empty entry: all but the state comes from `as`. The memory was cleared, the section's dirty_end
 * stored before. */
static inline void vmshm_window_set_live(struct vmshm_window *w, const struct vmshm_window *as)
{
    vmshm_store_relaxed(&w->generation, as->generation);
    vmshm_store_relaxed(&w->offset, as->offset);
    vmshm_store_relaxed(&w->length, as->length);
    vmshm_store_relaxed(&w->proc, as->proc);
    vmshm_store_relaxed(&w->uid, as->uid);
    vmshm_store_relaxed(&w->kind, as->kind);
    memcpy(w->job, as->job, sizeof(w->job));
    /* All that before the state, which who enters loads first in vmshm_window_copy(). */
    vmshm_store_release(&w->state, VMSHM_WINDOW_LIVE);
}

/* The owner gives it back: its last stores into the window come before. Who collects has seen this state, and
 * looks at the readers' bits behind a fence, whose partner is in vmshm_row_set(). */
static inline void vmshm_window_set_quarantine(struct vmshm_window *w)
{
    vmshm_store_release(&w->state, VMSHM_WINDOW_QUARANTINE);
}

/* Nobody reads it: the looks at the bits come before. find_room() (vmshm_window.c) loads the state with
 * acquire; the kernel module goes by its own memory. */
static inline void vmshm_window_set_empty(struct vmshm_window *w)
{
    vmshm_store_release(&w->state, VMSHM_WINDOW_EMPTY);
}

#endif
