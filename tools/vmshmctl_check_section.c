/* SPDX-License-Identifier: BSD-3-Clause */
/* vmshmctl check: a VM's mark, the head of its section, and its processes with the windows they read. */
#include "vmshmctl.h"

#include <inttypes.h>

void ctl_check_section(const struct ctl_checked *c, uint32_t vm)
{
    const struct vmshm_section *section = c->view[vm].section;
    const struct vmshm_section_entry *entry = &c->s->sections[vm];
    const uint64_t heap = vmshm_heap_offset(&c->s->header);
    const bool set_up = VMSHM_SECTION_MAGIC == section->magic;
    char field[64], remedy[96];

    ctl_reset_remedy(vm, remedy);
    if (c->view[vm].mark.mark > VMSHM_MARK_GONE) {
        char mark_remedy[64];

        snprintf(field, sizeof field, "mark[%u].mark", vm);
        snprintf(mark_remedy, sizeof mark_remedy, "`vmshmctl mark-vm --vm %u`", vm);
        ctl_problem(c->p, field, mark_remedy, "%u is not a valid mark", c->view[vm].mark.mark);
    }
    if (!set_up && 0 != section->magic) {
        snprintf(field, sizeof field, "section[%u].magic", vm);
        ctl_problem(c->p, field, remedy, "0x%016" PRIx64 " instead of 0x%016" PRIx64, section->magic,
                    VMSHM_SECTION_MAGIC);
    }
    snprintf(field, sizeof field, "section[%u].state", vm);
    if (section->state > VMSHM_SECTION_LEAVING) {
        ctl_problem(c->p, field, remedy, "%u is not a valid state", section->state);
    } else if (set_up != (VMSHM_SECTION_NEVER != section->state)) {
        ctl_problem(c->p, field, remedy, "%u does not fit a section that is%s set up",
                    section->state, set_up ? "" : " not");
    }
    if (set_up && section->vm_id != vm) {
        snprintf(field, sizeof field, "section[%u].vm_id", vm);
        ctl_problem(c->p, field, remedy, "%u instead of %u", section->vm_id, vm);
    }
    if (set_up && 0 == section->epoch) {
        snprintf(field, sizeof field, "section[%u].epoch", vm);
        ctl_problem(c->p, field, remedy, "it is 0 though the section is set up");
    }
    if (set_up && 0 == section->arbiter) {
        snprintf(field, sizeof field, "section[%u].arbiter", vm);
        ctl_problem(c->p, field, remedy, "it is 0 though the section is set up");
    }
    if (0 != section->dirty_end
        && (section->dirty_end < heap || section->dirty_end > entry->length)) {
        snprintf(field, sizeof field, "section[%u].dirty_end", vm);
        ctl_problem(c->p, field, remedy, "%" PRIu64 " is not in the heap, %" PRIu64 " .. %" PRIu64,
                    section->dirty_end, heap, entry->length);
    }
}

void ctl_check_proc(const struct ctl_checked *c, uint32_t vm, uint32_t slot)
{
    const struct ctl_view *v = &c->view[vm];
    const struct vmshm_header *h = &c->s->header;
    const struct vmshm_proc *proc = &v->procs[slot];
    const uint64_t row_bytes = vmshm_reader_row_bytes(h);
    char field[64], remedy[96];

    ctl_reset_remedy(vm, remedy);
    if (proc->state > VMSHM_PROC_DEAD) {
        snprintf(field, sizeof field, "section[%u].process[%u].state", vm, slot);
        ctl_problem(c->p, field, remedy, "%u is not a valid state", proc->state);
    }
    if (VMSHM_PROC_LIVE != proc->state) {
        if (!ctl_all_zero((const uint8_t *) v->readers + slot * row_bytes, row_bytes)) {
            snprintf(field, sizeof field, "section[%u].reader[%u]", vm, slot);
            ctl_problem(c->p, field, remedy, "process slot %u is not live, but windows are listed as read by it: "
                        "their memory is never reused", slot);
        }
        return;
    }
    if (VMSHM_SECTION_MAGIC != v->section->magic) {
        snprintf(field, sizeof field, "section[%u].process[%u].state", vm, slot);
        ctl_problem(c->p, field, remedy, "live in a section that is not set up");
    }
    if (0 == proc->nonce) {
        snprintf(field, sizeof field, "section[%u].process[%u].nonce", vm, slot);
        ctl_problem(c->p, field, remedy, "it is 0 in a live process: no peer can verify that "
                    "the process shares this memory");
    }
    snprintf(field, sizeof field, "section[%u].process[%u].window", vm, slot);
    if (UINT32_MAX == proc->window) {
        ctl_problem(c->p, field, remedy, "a live process without a control window: no peer reaches it");
    } else if (proc->window >= h->windows) {
        ctl_problem(c->p, field, remedy, "%u is not in a table of %u windows", proc->window,
                    h->windows);
    } else if (VMSHM_WINDOW_LIVE != v->windows[proc->window].state
               || slot != v->windows[proc->window].proc) {
        ctl_problem(c->p, field, remedy, "window %u is not a live window of process %u", proc->window,
                    slot);
    }
    for (uint32_t of = 0; of < h->vms; ++of) {
        for (uint32_t i = 0; i < h->windows && c->have[of]; ++i) {
            if (VMSHM_WINDOW_EMPTY == c->view[of].windows[i].state
                && ctl_view_reads(v, h, slot, of, i)) {
                snprintf(field, sizeof field, "section[%u].reader[%u]", vm, slot);
                ctl_problem(c->p, field, remedy, "it lists window %u of VM %u as read, which is empty", i, of);
            }
        }
    }
}
