/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Released windows of the own section: quarantine and collection.
 *
 * A released window stays in quarantine until no reader table lists it, so that a peer that is slow to
 * unmap never sees the next owner's data. State and reader bits follow Dekker's pattern: the owner
 * stores QUARANTINE and then loads the bits, a reader stores its bit and then loads the state; with a
 * full fence in between on both sides at least one of them sees the other's store (vmshm_states.h). The
 * process that collects may be another one than that which stored QUARANTINE; that is safe, since its fence
 * comes after it has seen the store.
 */
/* Modelled in test/model/windows.pml: change both. */
#include "vmshm_member.h"

#include "vmshm_layout.h"
#include "vmshm_states.h"

#include <string.h>

static struct vmshm_window *entry_of(const struct vmshm_member *m, uint32_t index)
{
    return vmshm_window_of(&m->segment, m->id.vm, index);
}

/* A bitmap of the windows in quarantine, in the order of a reader's row. Returns how many there are. */
static uint32_t quarantined(const struct vmshm_member *m, uint64_t *bits)
{
    uint32_t n = 0;

    memset(bits, 0, m->segment.header.windows / 8);
    for (uint32_t i = 0; i < m->segment.header.windows; ++i) {
        if (VMSHM_WINDOW_QUARANTINE == vmshm_load_relaxed(&entry_of(m, i)->state)) {
            bits[i / 64] |= UINT64_C(1) << i % 64;
            ++n;
        }
    }
    return n;
}

bool vmshm_window_has_quarantined(const struct vmshm_member *m)
{
    uint64_t bits[VMSHM_MAX_WINDOWS / 64];

    return 0 != quarantined(m, bits);
}

/* Clear the bits of windows that a process reads. Returns whether any bit is left. */
static bool take_out(const struct vmshm_member *m, uint32_t vm, uint32_t slot, uint64_t *bits)
{
    const uint32_t words = m->segment.header.windows / 64;
    const uint64_t *row = vmshm_reader_row_of(&m->segment, vm, slot)
                          + (uint64_t) m->id.vm * words;
    uint64_t left = 0;

    for (uint32_t i = 0; i < words; ++i) {
        if (0 != bits[i]) {
            bits[i] &= ~vmshm_row_word(row, i);
            left |= bits[i];
        }
    }
    return 0 != left;
}

/* Clear the bits of all windows that live processes read, in VMs that may still run. Each process is looked at once,
 * for all windows together. A process becomes live before it sets its first bit, so the fence orders its state like
 * its bits. */
static void take_out_read(const struct vmshm_member *m, uint64_t *bits)
{
    const struct vmshm_header *h = &m->segment.header;

    for (uint32_t vm = 0; vm < h->vms; ++vm) {
        if (!vmshm_vm_may_read(vmshm_section_of(&m->segment, vm), vmshm_mark_of(&m->segment, vm))) {
            continue;
        }
        for (uint32_t slot = 0; slot < h->procs; ++slot) {
            if (vmshm_proc_is_live(vmshm_proc_of(&m->segment, vm, slot)) && !take_out(m, vm, slot, bits)) {
                return;
            }
        }
    }
}

void vmshm_window_collect(struct vmshm_member *m)
{
    uint64_t bits[VMSHM_MAX_WINDOWS / 64];

    if (0 == quarantined(m, bits)) {
        return;
    }
    vmshm_fence_store_load();   /* QUARANTINE before the readers' bits; partner: vmshm_row_set(), vmshm_states.h */
    take_out_read(m, bits);
    for (uint32_t i = 0; i < m->segment.header.windows; ++i) {
        if (0 != (bits[i / 64] >> i % 64 & 1)) {
            vmshm_window_set_empty(entry_of(m, i));
        }
    }
}

void vmshm_window_quarantine_slot(struct vmshm_member *m, uint32_t slot)
{
    for (uint32_t i = 0; i < m->segment.header.windows; ++i) {
        struct vmshm_window *w = entry_of(m, i);

        if (VMSHM_WINDOW_LIVE == vmshm_load_acquire(&w->state) && slot == w->proc) {
            vmshm_window_set_quarantine(w);
        }
    }
}
