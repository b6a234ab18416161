/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * The states of process slots and windows, their transitions, and the memory order of the accesses involved.
 * The library, vmshmctl and the kernel module share this implementation.
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
 *       +------ vmshm_window_set_empty, when nobody is seen to read it ---------+
 *
 * `vmshmctl reset-vm` makes any slot FREE, and any window first QUARANTINE, then EMPTY if nobody reads it.
 * The kernel module does the same with the windows of an earlier boot, except that it makes one outside the heap
 * EMPTY at once, since nobody can have entered it.
 *
 * The functions work on the entries in shared memory; doc/format.md says who may write them when. User space
 * trusts the entries of its own VM; the kernel module keeps its state in private memory and only publishes it in
 * the entries of its VM.
 *
 * Release and acquire: the state of an entry is stored last and loaded first. In Dekker's pattern, store then load on
 * both sides, there is a full fence on each side, and at least one side sees the other's store:
 *
 *     vmshm_row_set                 bit of the reader      |  state QUARANTINE   who collects windows
 *                                   fence                  |  fence
 *                                   load of the state      |  load of the bits
 *
 *     vmshm_proc_set_live           state LIVE             |  arbiter            vmshm_section_claim
 *                                   fence                  |  fence
 *                                   load of the arbiter    |  load of the states
 *
 * The fences of those who collect windows, partners of the one in vmshm_row_set(), are in vmshm_window_collect() in
 * vmshm_quarantine.c and in guest-kmod/vmshm_quarantine.c, and in reset_windows() in tools/vmshmctl_reset.c.
 */
/* Modelled in test/model/windows.pml and join.pml: change both. */
#ifndef VMSHM_STATES_H
#define VMSHM_STATES_H

#include "vmshm_format.h"

/* Both headers define the same access functions. */
#ifdef __KERNEL__
#include "vmshm_access.h"
#else
#include "vmshm_atomic.h"
#endif

/* ---------------------------------------------------------------- section and marks */

/* Tell other VMs, which poll `changes`, that a process of this one joined, left or died. */
static inline void vmshm_section_changed(struct vmshm_section *section)
{
    vmshm_add(&section->changes, 1);
}

/* Replace the arbiter `before`; false if somebody else has replaced it already. The caller then checks the process
 * slots once more. */
static inline bool vmshm_section_claim(struct vmshm_section *section, uint64_t before, uint64_t mine)
{
    if (!vmshm_compare_exchange(&section->arbiter, &before, mine)) {
        return false;
    }
    vmshm_fence_store_load();   /* store the arbiter, then load the slots; partner: vmshm_proc_set_live() */
    return true;
}

static inline void vmshm_section_unclaim(struct vmshm_section *section, uint64_t before, uint64_t mine)
{
    (void) vmshm_compare_exchange(&section->arbiter, &mine, before);
}

/* Set the section up for this boot. Partners: vmshm_peer_prove() (vmshm_check.c) loads the epoch with acquire,
 * vmshm_vm_may_read() the magic. */
static inline void vmshm_section_set_up(struct vmshm_section *section, uint32_t vm, uint64_t epoch)
{
    vmshm_store_relaxed(&section->vm_id, vm);
    vmshm_store_release(&section->epoch, epoch);
    vmshm_store_release(&section->state, VMSHM_SECTION_UP);
    vmshm_store_release(&section->magic, VMSHM_SECTION_MAGIC);
}

/* Acquire: a caller that has loaded the `gone` count with acquire before sees a mark at least as new as that count.
 * `vmshmctl mark-vm` (tools/vmshmctl_mark.c) stores the mark, then the count, each with release. */
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

/* Acquire: if the process is live, its entry is complete (vmshm_proc_set_live()); if it has ended, its row is clear
 * (vmshm_proc_set_ended()). */
static inline bool vmshm_proc_is_live(const struct vmshm_proc *proc)
{
    return VMSHM_PROC_LIVE == vmshm_load_acquire(&proc->state);
}

/* A fingerprint of the set of live processes; 0 if none is live. */
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

/* Take a slot: generation, pid, uid, nonce, name, job and time of the join come from `as`. The caller then checks
 * that the section's arbiter is still its own. */
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
    /* Release the stores above; vmshm_peer_read() (vmshm_check.c) and vmshm_proc_is_live() load the state first. */
    vmshm_store_release(&proc->state, VMSHM_PROC_LIVE);
    vmshm_fence_store_load();   /* store the slot, then load the arbiter; partner: vmshm_section_claim() */
}

/* Publish the control window after it was filled. vmshm_peer_read() (vmshm_check.c) loads the index with acquire. */
static inline void vmshm_proc_set_window(struct vmshm_proc *proc, uint32_t index)
{
    vmshm_store_release(&proc->window, index);
}

/* End a slot, with VMSHM_PROC_LEFT or _DEAD, after its row was cleared (vmshm_row_zero()) and its windows were put in
 * quarantine. The state is stored last: if the caller dies in between, the slot stays live and is ended again later;
 * the counters were zeroed first, so they are not added twice. */
static inline void vmshm_proc_set_ended(struct vmshm_proc *proc, struct vmshm_section *section, uint32_t state)
{
    const uint64_t messages = vmshm_load_relaxed(&proc->messages);
    const uint64_t bytes = vmshm_load_relaxed(&proc->bytes);

    vmshm_store_relaxed(&proc->messages, 0);
    vmshm_store_relaxed(&proc->bytes, 0);
    vmshm_add(&section->messages, messages);
    vmshm_add(&section->bytes, bytes);
    /* Release the cleared row; collecting windows loads the state in vmshm_proc_is_live(). */
    vmshm_store_release(&proc->state, state);
    vmshm_section_changed(section);
}

/* ---------------------------------------------------------------- a process's row of the reader table */

/* Index of a window's bit. */
static inline uint64_t vmshm_reader_bit(const struct vmshm_header *h, uint32_t vm, uint32_t index)
{
    return (uint64_t) vm * h->windows + index;
}

/* Acquire: if a bit is clear, the reader's last loads come before the caller's later stores to the window.
 * Partner: vmshm_row_clear(). */
static inline uint64_t vmshm_row_word(const uint64_t *row, uint64_t word)
{
    return vmshm_load_acquire(&row[word]);
}

static inline bool vmshm_row_has(const uint64_t *row, uint64_t bit)
{
    return 0 != (vmshm_row_word(row, bit / 64) >> bit % 64 & 1);
}

/* Does the process list that window as read? A process becomes live before it sets its first bit. */
static inline bool vmshm_proc_reads(const struct vmshm_proc *proc, const uint64_t *row, uint64_t bit)
{
    return vmshm_proc_is_live(proc) && vmshm_row_has(row, bit);
}

/* Enter a window. The caller then copies its entry (vmshm_window_copy()), and clears the bit again if it is not
 * live. */
static inline void vmshm_row_set(uint64_t *row, uint64_t bit)
{
    vmshm_set_bits(&row[bit / 64], UINT64_C(1) << bit % 64);
    vmshm_fence_store_load();   /* store the bit, then load the state; partners: those who collect, see above */
}

/* Leave a window. Orders the last loads from it before clearing the bit; partner: vmshm_row_word(). */
static inline void vmshm_row_clear(uint64_t *row, uint64_t bit)
{
    vmshm_clear_bits(&row[bit / 64], UINT64_C(1) << bit % 64);
}

/* Clear the row of a process that has ended. */
static inline void vmshm_row_zero(uint64_t *row, uint64_t bytes)
{
    memset(row, 0, bytes);
}

/* ---------------------------------------------------------------- windows */

/* Make a private copy, loading the state first. If the window is live and the caller's bit is set, the entry stays
 * valid; otherwise it may be handed out again at any time. Partners: vmshm_window_set_live() and _set_quarantine(). */
static inline void vmshm_window_copy(struct vmshm_window *copy, const struct vmshm_window *shared)
{
    const uint32_t state = vmshm_load_acquire(&shared->state);

    vmshm_copy_in(copy, shared, sizeof(*copy));
    copy->state = state;
}

/* Hand out an empty entry: all but the state comes from `as`. The caller has already cleared the memory and stored
 * the section's dirty_end. */
static inline void vmshm_window_set_live(struct vmshm_window *w, const struct vmshm_window *as)
{
    vmshm_store_relaxed(&w->generation, as->generation);
    vmshm_store_relaxed(&w->offset, as->offset);
    vmshm_store_relaxed(&w->length, as->length);
    vmshm_store_relaxed(&w->proc, as->proc);
    vmshm_store_relaxed(&w->uid, as->uid);
    vmshm_store_relaxed(&w->kind, as->kind);
    memcpy(w->job, as->job, sizeof(w->job));
    /* Release the stores above; readers load the state first, in vmshm_window_copy(). */
    vmshm_store_release(&w->state, VMSHM_WINDOW_LIVE);
}

/* The owner releases the window after its last stores to it. Collecting then loads the readers' bits after a fence,
 * whose partner is in vmshm_row_set(). */
static inline void vmshm_window_set_quarantine(struct vmshm_window *w)
{
    vmshm_store_release(&w->state, VMSHM_WINDOW_QUARANTINE);
}

/* Free the window after the bits showed that nobody reads it. find_room() (vmshm_window.c) loads the state with
 * acquire; the kernel module uses its private state. */
static inline void vmshm_window_set_empty(struct vmshm_window *w)
{
    vmshm_store_release(&w->state, VMSHM_WINDOW_EMPTY);
}

#endif
