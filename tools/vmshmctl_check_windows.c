/* SPDX-License-Identifier: BSD-3-Clause */
/* vmshmctl check: the windows of a section, each on its own, and whether any two overlap. */
#include "vmshmctl.h"

#include <inttypes.h>
#include <stdlib.h>

void ctl_check_window(const struct ctl_checked *c, uint32_t vm, uint32_t i)
{
    const struct ctl_view *v = &c->view[vm];
    const struct vmshm_section_entry *entry = &c->s->sections[vm];
    const struct vmshm_window *w = &v->windows[i];
    const uint64_t heap = vmshm_heap_offset(&c->s->header);
    char field[64], remedy[96];

    ctl_reset_remedy(vm, remedy);
    if (VMSHM_WINDOW_EMPTY == w->state) {
        return;
    }
    if (w->state > VMSHM_WINDOW_QUARANTINE) {
        snprintf(field, sizeof field, "section[%u].window[%u].state", vm, i);
        ctl_problem(c->p, field, remedy, "%u is not a valid state", w->state);
        return;
    }
    snprintf(field, sizeof field, "section[%u].window[%u].offset", vm, i);
    if (w->offset < entry->offset + heap || w->offset >= entry->offset + entry->length) {
        ctl_problem(c->p, field, remedy, "0x%" PRIx64 " is not in the section's heap, 0x%" PRIx64
                    " .. 0x%" PRIx64, w->offset, entry->offset + heap, entry->offset + entry->length);
    } else if (0 != w->offset % VMSHM_GRANULE_BYTES) {
        ctl_problem(c->p, field, remedy, "0x%" PRIx64 " is not a multiple of %" PRIu64, w->offset,
                    VMSHM_GRANULE_BYTES);
    }
    snprintf(field, sizeof field, "section[%u].window[%u].length", vm, i);
    if (0 == w->length || 0 != w->length % VMSHM_GRANULE_BYTES) {
        ctl_problem(c->p, field, remedy, "%" PRIu64 " is not a multiple of %" PRIu64, w->length,
                    VMSHM_GRANULE_BYTES);
    }
    snprintf(field, sizeof field, "section[%u].window[%u].kind", vm, i);
    if (w->kind > VMSHM_KIND_OPEN) {
        ctl_problem(c->p, field, remedy, "%u is not a valid kind", w->kind);
    } else if (ctl_window_in_heap(c->s, vm, w)) {
        const uint64_t border = entry->offset + entry->open_offset;

        if (VMSHM_KIND_OPEN == w->kind ? w->offset < border : w->offset + w->length > border) {
            ctl_problem(c->p, field, remedy, "%s, but it lies in the other half of the section",
                        VMSHM_KIND_OPEN == w->kind ? "open" : "private");
        }
        snprintf(field, sizeof field, "section[%u].window[%u].length", vm, i);
        if (w->offset + w->length - entry->offset > v->section->dirty_end) {
            ctl_problem(c->p, field, remedy, "it ends beyond dirty_end (%" PRIu64 "): its memory would "
                        "be handed out again without being zeroed", v->section->dirty_end);
        }
    } else if (w->offset >= entry->offset + heap && w->offset < entry->offset + entry->length
               && 0 != w->length) {
        snprintf(field, sizeof field, "section[%u].window[%u].length", vm, i);
        ctl_problem(c->p, field, remedy, "%" PRIu64 " bytes extend beyond the end of the section", w->length);
    }
    snprintf(field, sizeof field, "section[%u].window[%u].proc", vm, i);
    if (w->proc >= c->s->header.procs) {
        ctl_problem(c->p, field, remedy, "%u is not in a table of %u processes", w->proc,
                    c->s->header.procs);
    } else if (VMSHM_WINDOW_LIVE == w->state && VMSHM_PROC_LIVE != v->procs[w->proc].state) {
        ctl_problem(c->p, field, remedy, "a live window of process %u, which is not live", w->proc);
    } else if (VMSHM_WINDOW_LIVE == w->state && w->uid != v->procs[w->proc].uid) {
        snprintf(field, sizeof field, "section[%u].window[%u].uid", vm, i);
        ctl_problem(c->p, field, remedy, "it is %u, but process %u, the owner, has uid %u", w->uid, w->proc,
                    v->procs[w->proc].uid);
    }
}

static const struct vmshm_window *sorting;      /* qsort has no context argument */

static int by_offset(const void *a, const void *b)
{
    const uint64_t x = sorting[*(const uint32_t *) a].offset;
    const uint64_t y = sorting[*(const uint32_t *) b].offset;

    return x < y ? -1 : x > y;
}

void ctl_check_overlaps(const struct ctl_checked *c, uint32_t vm)
{
    const struct vmshm_window *windows = c->view[vm].windows;
    uint32_t order[VMSHM_MAX_WINDOWS], n = 0, last = 0;
    char field[64], remedy[96];

    for (uint32_t i = 0; i < c->s->header.windows; ++i) {
        if (VMSHM_WINDOW_EMPTY != windows[i].state && ctl_window_in_heap(c->s, vm, &windows[i])) {
            order[n++] = i;
        }
    }
    sorting = windows;
    qsort(order, n, sizeof order[0], by_offset);
    for (uint32_t k = 1; k < n; ++k) {
        const struct vmshm_window *before = &windows[order[last]];
        const struct vmshm_window *w = &windows[order[k]];

        if (w->offset < before->offset + before->length) {
            snprintf(field, sizeof field, "section[%u].window[%u].offset", vm, order[k]);
            ctl_problem(c->p, field, ctl_reset_remedy(vm, remedy), "0x%" PRIx64 " is inside window %u, "
                        "[0x%" PRIx64 ", +%" PRIu64 "): two owners would write to the same memory", w->offset,
                        order[last], before->offset, before->length);
        }
        if (w->offset + w->length > before->offset + before->length) {
            last = k;
        }
    }
}
