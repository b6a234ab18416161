/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dead processes of the own VM: finding them and releasing their slots.
 *
 * A live process holds the byte of its slot in the lock file, so the kernel knows which are dead. One process of
 * the VM looks every 2 s and increments `looks`. The others also come here every 2 s, and do nothing if `looks` has
 * grown since their last time. If it has not, since that process ended or is stopped, the first one to notice
 * takes over.
 */
/* Modelled in test/model/reap.pml, join.pml and windows.pml: change both. */
#include "vmshm_member.h"

#include "vmshm_layout.h"
#include "vmshm_states.h"

static struct vmshm_section *own_section(const struct vmshm_member *m)
{
    return vmshm_section_of(&m->segment, m->id.vm);
}

/* VMs made from the same image may have equal inode numbers, but never equal epochs. */
uint64_t vmshm_arbiter(const struct vmshm_member *m)
{
    const uint64_t who[3] = { m->lock.device, m->lock.inode, m->id.epoch };
    const uint64_t hash = vmshm_fnv1a(VMSHM_FNV_START, who, sizeof who);

    return 0 == hash ? 1 : hash;
}

bool vmshm_is_arbiter(const struct vmshm_member *m)
{
    return vmshm_arbiter(m) == vmshm_load_acquire(&own_section(m)->arbiter);
}

/* The state is stored last: if the caller dies in between, the slot stays live and unclaimed, and the next process
 * does this again. */
void vmshm_bury(struct vmshm_member *m, uint32_t slot, uint32_t state)
{
    vmshm_row_zero(vmshm_reader_row_of(&m->segment, m->id.vm, slot), vmshm_reader_row_bytes(&m->segment.header));
    vmshm_window_quarantine_slot(m, slot);
    vmshm_proc_set_ended(vmshm_proc_of(&m->segment, m->id.vm, slot), own_section(m), state);
}

static bool is_live(const struct vmshm_member *m, uint32_t slot)
{
    return vmshm_proc_is_live(vmshm_proc_of(&m->segment, m->id.vm, slot));
}

/* A slot is claimed before it becomes live, and unclaimed after it is live no more. Processes leave without the mutex,
 * so the state must be loaded after checking the claim; the first load only saves most of the system calls. If the
 * caller does not hold the mutex the answer is only a hint, since the slot may get a new owner in between. */
static bool is_dead(struct vmshm_member *m, uint32_t slot)
{
    return is_live(m, slot) && !(m->joined && slot == m->slot)
           && !vmshm_lock_is_claimed(&m->lock, slot) && is_live(m, slot);
}

static bool is_anybody_dead(struct vmshm_member *m)
{
    for (uint32_t slot = 0; slot < m->segment.header.procs; ++slot) {
        if (is_dead(m, slot)) {
            return true;
        }
    }
    return false;
}

int vmshm_reap_locked(struct vmshm_member *m)
{
    int dead = 0;

    for (uint32_t slot = 0; slot < m->segment.header.procs; ++slot) {
        if (is_dead(m, slot)) {
            vmshm_bury(m, slot, VMSHM_PROC_DEAD);
            ++dead;
        }
    }
    return dead;
}

int vmshm_reap(struct vmshm_member *m)
{
    int dead = 0;

    if (m->segment.managed || !vmshm_lock_try(&m->lock)) {
        return 0;
    }
    if (vmshm_is_arbiter(m)) {
        dead = vmshm_reap_locked(m);
        vmshm_window_collect(m);
    }
    vmshm_lock_leave(&m->lock);
    return dead;
}

bool vmshm_is_looked_after(struct vmshm_member *m)
{
    const uint32_t looker = vmshm_load_acquire(&own_section(m)->looker);

    return looker >= 1 && looker <= m->segment.header.procs
           && is_live(m, looker - 1) && vmshm_lock_is_claimed(&m->lock, looker - 1);
}

int vmshm_look_after(struct vmshm_member *m)
{
    struct vmshm_section *section = own_section(m);
    uint32_t looks;

    if (m->segment.managed || !vmshm_is_arbiter(m)) {
        return 0;
    }
    looks = vmshm_load_acquire(&section->looks);
    if (looks != m->looks_seen || !vmshm_compare_exchange(&section->looks, &looks, looks + 1)) {
        m->looks_seen = vmshm_load_acquire(&section->looks);
        return 0;
    }
    m->looks_seen = looks + 1;
    vmshm_store_release(&section->looker, m->slot + 1);
    /* Take the mutex only if there is something to do. */
    return is_anybody_dead(m) || vmshm_window_has_quarantined(m) ? vmshm_reap(m) : 0;
}
