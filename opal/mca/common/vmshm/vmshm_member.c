/* SPDX-License-Identifier: BSD-3-Clause */
/* Modelled in test/model/join.pml and windows.pml: change both. */
#include "vmshm_member.h"

#include "vmshm_kmod.h"
#include "vmshm_layout.h"
#include "vmshm_pause.h"
#include "vmshm_map.h"
#include "vmshm_states.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct vmshm_section *own_section(const struct vmshm_member *m)
{
    return vmshm_section_of(&m->segment, m->id.vm);
}

void vmshm_heartbeat(struct vmshm_member *m)
{
    if (m->segment.managed) {
        return;
    }
    vmshm_fetch_add(&own_section(m)->heartbeat, 1);
}

/* Does the heartbeat grow, so that another VM or container uses the section? Watches it for 1.5 s. */
static bool somebody_beats(const struct vmshm_section *section)
{
    const uint64_t before = vmshm_load_relaxed(&section->heartbeat);

    for (int i = 0; i < 15; ++i) {
        vmshm_pause_us(100000);
        if (before != vmshm_load_relaxed(&section->heartbeat)) {
            return true;
        }
    }
    return false;
}

static uint64_t live_print(const struct vmshm_member *m)
{
    return vmshm_procs_print(vmshm_proc_of(&m->segment, m->id.vm, 0), m->segment.header.procs);
}

static int id_twice(const struct vmshm_member *m, struct vmshm_error *e)
{
    return vmshm_fail(e, VMSHM_ERR_VM_ID_TWICE, m->segment.path, "section", "VM id %u "
                      "(from the %s) is in use by a running VM or container: %s",
                      m->id.vm, m->id.source, own_section(m)->epoch == m->id.epoch
                      ? "same kernel, another lock directory (common_vmshm_lock_dir)"
                      : "its processes run under another boot epoch");
}

/* Take over the section for this boot. Mutex held, but two VMs with the same id have different mutexes and may be
 * here at the same time. If both found the same arbiter, only one of them can replace it. If one replaces the
 * other's, at least one notices: the later one finds the other's process slot here, or the earlier one finds a
 * foreign arbiter in slot_take(). */
static int section_take(struct vmshm_member *m, struct vmshm_error *e)
{
    struct vmshm_section *section = own_section(m);
    const uint64_t mine = vmshm_arbiter(m);
    const uint64_t before = vmshm_load_acquire(&section->arbiter);
    uint64_t live;

    if (VMSHM_SECTION_MAGIC == section->magic && section->epoch == m->id.epoch
        && before == mine) {
        vmshm_store_release(&section->state, VMSHM_SECTION_UP);
        return VMSHM_OK;
    }
    live = live_print(m);
    if (VMSHM_SECTION_UP == section->state && 0 != live && somebody_beats(section)) {
        return id_twice(m, e);
    }
    if (!vmshm_section_claim(section, before, mine)) {
        return id_twice(m, e);
    }
    if (live != live_print(m)) {
        vmshm_section_unclaim(section, before, mine);
        return id_twice(m, e);
    }
    /* The VM was switched off or its lock directory emptied: all processes in the table are dead. */
    for (uint32_t slot = 0; slot < m->segment.header.procs; ++slot) {
        if (VMSHM_PROC_LIVE == vmshm_proc_of(&m->segment, m->id.vm, slot)->state) {
            vmshm_bury(m, slot, VMSHM_PROC_DEAD);
        }
    }
    vmshm_store_release(&section->looker, 0);
    vmshm_section_set_up(section, m->id.vm, m->id.epoch);
    return VMSHM_OK;
}

/* Claim a slot that was never used, else the one whose last owner joined longest ago, so that peers, which look
 * twice a second, still see how that owner ended before the slot is reused. Returns VMSHM_NO_SLOT if there is none. */
#define VMSHM_NO_SLOT UINT32_MAX

static uint32_t claim_oldest(struct vmshm_member *m)
{
    const uint32_t slots = m->segment.header.procs;
    uint64_t after_age = 0;             /* joined_sec and slot of the last one that could not be claimed */
    uint32_t after_slot = 0;
    bool first = true;

    for (;;) {
        uint32_t best = VMSHM_NO_SLOT;
        uint64_t best_age = 0;

        for (uint32_t slot = 0; slot < slots; ++slot) {
            const struct vmshm_proc *proc = vmshm_proc_of(&m->segment, m->id.vm, slot);
            const uint64_t age = VMSHM_PROC_FREE == proc->state ? 0 : proc->joined_sec;

            if (VMSHM_PROC_LIVE != proc->state
                && (first || age > after_age || (age == after_age && slot > after_slot))
                && (VMSHM_NO_SLOT == best || age < best_age)) {
                best = slot;
                best_age = age;
            }
        }
        if (VMSHM_NO_SLOT == best || vmshm_lock_claim(&m->lock, best)) {
            return best;
        }
        first = false;
        after_age = best_age;
        after_slot = best;
    }
}

static int no_slot(const struct vmshm_member *m, struct vmshm_error *e)
{
    uint32_t live = 0;

    for (uint32_t slot = 0; slot < m->segment.header.procs; ++slot) {
        live += VMSHM_PROC_LIVE == vmshm_proc_of(&m->segment, m->id.vm, slot)->state;
    }
    return live == m->segment.header.procs
           ? vmshm_fail(e, VMSHM_ERR_FULL, m->segment.path, "procs", "all %u process slots of VM %u "
                        "are taken", m->segment.header.procs, m->id.vm)
           : vmshm_fail(e, VMSHM_ERR_HELD, m->lock.path, "procs", "of the %u process slots of VM %u, "
                        "%u are taken, and the lock bytes (1 + slot) of all others are held by processes "
                        "that are not in the table", m->segment.header.procs, m->id.vm, live);
}

/* The entry for a slot that this process takes; generation: that of the slot's last owner. */
static struct vmshm_proc proc_of_member(struct vmshm_member *m, const struct vmshm_join_options *o,
                                        uint32_t generation)
{
    struct vmshm_proc proc = {
        .pid = (uint32_t) getpid(), .name = o->name, .joined_sec = (uint64_t) time(NULL),
    };

    m->generation = proc.generation = generation + 1;
    m->nonce = proc.nonce = vmshm_random64();
    m->uid = proc.uid = (uint32_t) getuid();
    memcpy(m->job, o->job, sizeof m->job);
    memcpy(proc.job, o->job, sizeof proc.job);
    return proc;
}

/* Mutex held. */
static int slot_take(struct vmshm_member *m, const struct vmshm_join_options *o,
                     struct vmshm_error *e)
{
    uint32_t slot = claim_oldest(m);
    struct vmshm_proc *proc, mine;

    if (VMSHM_NO_SLOT == slot && vmshm_reap_locked(m) > 0) {
        slot = claim_oldest(m);
    }
    if (VMSHM_NO_SLOT == slot) {
        return no_slot(m, e);
    }
    proc = vmshm_proc_of(&m->segment, m->id.vm, slot);
    m->slot = slot;
    mine = proc_of_member(m, o, proc->generation);
    vmshm_proc_set_live(proc, &mine);
    /* A VM that replaces the arbiter sees this process's slot, or this process sees the new arbiter. */
    if (!vmshm_is_arbiter(m)) {
        /* The other VM may have taken the same slot by now. */
        if (proc->nonce == m->nonce) {
            vmshm_bury(m, slot, VMSHM_PROC_LEFT);
        }
        vmshm_lock_unclaim(&m->lock, slot);
        return id_twice(m, e);
    }
    vmshm_section_changed(own_section(m));
    m->joined = true;
    return VMSHM_OK;
}

/* Load the count before the mark; `vmshmctl mark-vm` stores them in the opposite order. */
static int check_mark(struct vmshm_member *m, struct vmshm_error *e)
{
    const struct vmshm_vm_mark *mark = vmshm_mark_of(&m->segment, m->id.vm);

    m->marked_gone = vmshm_load_acquire(&mark->gone);
    return vmshm_mark_is_gone(mark)
           ? vmshm_fail(e, VMSHM_ERR_MARKED, m->segment.path, "mark", "the host has marked this VM "
                        "(%u) as gone", m->id.vm)
           : VMSHM_OK;
}

int vmshm_join(const struct vmshm_join_options *o, struct vmshm_member *m, struct vmshm_error *e)
{
    const char *root = NULL != o->root ? o->root : "";
    const char *lock_dir = NULL != o->lock_dir && '\0' != o->lock_dir[0] ? o->lock_dir
                           : vmshm_lock_dir(root);
    int rc;

    memset(m, 0, sizeof *m);
    m->lock.fd = -1;
    rc = vmshm_segment_open_tables(o->segment, &m->segment, e);
    if (VMSHM_OK != rc) {
        return rc;
    }
    vmshm_mapped_init(&m->mapped);
    if (m->segment.managed) {
        rc = vmshm_kmod_join(o, m, e);
        if (VMSHM_OK != rc) {
            goto close_segment;
        }
        return VMSHM_OK;
    }
    rc = vmshm_identity_get(root, o->vm_id, m->segment.header.vms, &m->id, e);
    if (VMSHM_OK != rc) {
        goto close_segment;
    }
    rc = vmshm_segment_own(&m->segment, m->id.vm, e);
    if (VMSHM_OK != rc) {
        goto close_segment;
    }
    rc = check_mark(m, e);
    if (VMSHM_OK != rc) {
        goto close_segment;
    }
    rc = vmshm_lock_open(&m->lock, lock_dir, m->segment.header.segment_uuid, m->id.vm, m->segment.fd,
                         e);
    if (VMSHM_OK != rc) {
        goto close_segment;
    }
    if (0 != o->patience_ms) {
        m->lock.patience_ms = o->patience_ms;
    }
    rc = vmshm_lock_enter(&m->lock, e);
    if (VMSHM_OK != rc) {
        goto close_lock;
    }
    rc = section_take(m, e);
    if (VMSHM_OK == rc) {
        const bool looked_after = vmshm_is_looked_after(m);

        if (!looked_after) {
            (void) vmshm_reap_locked(m);
        }
        vmshm_window_collect(m);
        rc = slot_take(m, o, e);
        if (VMSHM_OK == rc && !looked_after) {
            vmshm_store_release(&own_section(m)->looker, m->slot + 1);
        }
        m->looks_seen = vmshm_load_acquire(&own_section(m)->looks);
    }
    vmshm_lock_leave(&m->lock);
    if (VMSHM_OK == rc) {
        vmshm_heartbeat(m);
        return VMSHM_OK;
    }

close_lock:
    vmshm_lock_close(&m->lock);
close_segment:
    vmshm_mapped_fini(&m->mapped);
    vmshm_segment_close(&m->segment);
    return rc;
}

void vmshm_leave(struct vmshm_member *m)
{
    if (!m->joined) {
        return;
    }
    m->joined = false;
    if (m->segment.managed) {
        vmshm_kmod_leave(m);
        vmshm_mapped_fini(&m->mapped);
        vmshm_segment_close(&m->segment);
        return;
    }
    if (vmshm_is_arbiter(m)) {
        vmshm_bury(m, m->slot, VMSHM_PROC_LEFT);
    }
    vmshm_lock_unclaim(&m->lock, m->slot);
    if (vmshm_lock_try(&m->lock)) {
        if (vmshm_is_arbiter(m)) {
            vmshm_window_collect(m);
        }
        vmshm_lock_leave(&m->lock);
    }
    vmshm_lock_close(&m->lock);
    vmshm_mapped_fini(&m->mapped);
    vmshm_segment_close(&m->segment);
}

void vmshm_ring_bell(struct vmshm_member *m, uint32_t vm, uint32_t slot)
{
    if (m->segment.managed) {
        vmshm_kmod_ring_bell(m, vm, slot);
        return;
    }
    vmshm_fetch_add(vmshm_bell_of(&m->segment, m->id.vm, vm, slot), 1);
}

void vmshm_count(struct vmshm_member *m, uint64_t messages, uint64_t bytes)
{
    struct vmshm_proc *proc = vmshm_proc_of(&m->segment, m->id.vm, m->slot);

    if (m->segment.managed) {
        vmshm_kmod_count(m, messages, bytes);
        return;
    }
    vmshm_store_relaxed(&proc->messages, messages);
    vmshm_store_relaxed(&proc->bytes, bytes);
}

/* Other VMs reuse the windows that a VM marked as gone was reading. So a mark counts even if it was changed back
 * since. */
static bool is_marked_gone(const struct vmshm_member *m)
{
    const struct vmshm_vm_mark *mark = vmshm_mark_of(&m->segment, m->id.vm);

    return vmshm_mark_is_gone(mark) || vmshm_load_relaxed(&mark->gone) != m->marked_gone;
}

const char *vmshm_lost(struct vmshm_member *m)
{
    if (m->segment.managed) {
        return vmshm_kmod_lost(m);
    }
    return !vmshm_is_arbiter(m) ? "its section was given to another VM with this id, or was cleared"
           : is_marked_gone(m) ? "the host marked this VM as gone" : NULL;
}

void vmshm_let_go(struct vmshm_member *m)
{
    pthread_mutex_lock(&m->mapped.lock);
    m->mapped.gone = true;
    vmshm_map_zeros(&m->segment, m->id.vm);
    pthread_mutex_unlock(&m->mapped.lock);
    if (m->segment.managed) {
        vmshm_kmod_leave(m);
    }
}

void vmshm_member_address(const struct vmshm_member *m, struct vmshm_address *a)
{
    memset(a, 0, sizeof *a);
    memcpy(a->segment_uuid, m->segment.header.segment_uuid, sizeof a->segment_uuid);
    a->format = VMSHM_FORMAT_VERSION;
    a->vm = m->id.vm;
    a->epoch = m->id.epoch;
    a->nonce = m->nonce;
    a->slot = m->slot;
    a->generation = m->generation;
    memcpy(a->job, m->job, sizeof a->job);
}
