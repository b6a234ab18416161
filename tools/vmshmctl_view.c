/* SPDX-License-Identifier: BSD-3-Clause */
/* Private copies of what VMs write into the segment. */
#include "vmshmctl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmshm_pause.h"

int ctl_read(const struct vmshm_segment *s, uint64_t offset, void *to, uint64_t bytes,
             struct vmshm_error *e)
{
    uint8_t *p = to;

    if (0 != strcmp(s->provider, "file")) {
        memcpy(to, s->base + offset, bytes);
        return VMSHM_OK;
    }
    while (bytes > 0) {
        const ssize_t got = pread(s->fd, p, bytes, (off_t) offset);

        if (got < 0 && EINTR == errno) {
            continue;
        }
        if (got < 0) {
            return vmshm_fail_errno(e, s->path, "segment", "read");
        }
        if (0 == got) {
            return vmshm_fail(e, VMSHM_ERR_SHORT, s->path, "segment",
                              "the file ends at %" PRIu64 ", before the end that its header describes",
                              offset);
        }
        p += got;
        offset += (uint64_t) got;
        bytes -= (uint64_t) got;
    }
    return VMSHM_OK;
}

int ctl_view_load(const struct vmshm_segment *s, uint32_t vm, struct ctl_view *view,
                  struct vmshm_error *e)
{
    const struct vmshm_header *h = &s->header;
    const uint64_t bytes = vmshm_heap_offset(h);
    int rc;

    memset(view, 0, sizeof *view);
    view->control = malloc(bytes);
    if (NULL == view->control) {
        return vmshm_fail_errno(e, s->path, "section", "allocating a copy of the tables");
    }
    rc = ctl_read(s, s->sections[vm].offset, view->control, bytes, e);
    if (VMSHM_OK == rc) {
        rc = ctl_read(s, VMSHM_MARK_OFFSET + vm * sizeof view->mark, &view->mark,
                      sizeof view->mark, e);
    }
    if (VMSHM_OK != rc) {
        ctl_view_free(view);
        return rc;
    }
    view->section = (const struct vmshm_section *) view->control;
    view->procs = (const struct vmshm_proc *) (view->control + vmshm_procs_offset());
    view->windows = (const struct vmshm_window *) (view->control + vmshm_windows_offset(h));
    view->readers = (const uint64_t *) (view->control + vmshm_readers_offset(h));
    return VMSHM_OK;
}

void ctl_view_free(struct ctl_view *view)
{
    free(view->control);
    view->control = NULL;
}

bool ctl_all_zero(const void *data, size_t bytes)
{
    const uint8_t *p = data;

    while (bytes > 0 && 0 == *p) {
        ++p;
        --bytes;
    }
    return 0 == bytes;
}

bool ctl_view_reads(const struct ctl_view *view, const struct vmshm_header *h, uint32_t slot,
                    uint32_t of_vm, uint32_t index)
{
    const uint64_t bit = (uint64_t) of_vm * h->windows + index;
    const uint64_t *row = view->readers + slot * vmshm_reader_row_bytes(h) / sizeof *row;

    return 0 != (row[bit / 64] >> bit % 64 & 1);
}

bool ctl_window_in_heap(const struct vmshm_segment *s, uint32_t vm, const struct vmshm_window *w)
{
    const struct vmshm_section_entry *entry = &s->sections[vm];
    const uint64_t heap = vmshm_heap_offset(&s->header);

    return w->length > 0 && vmshm_range_inside(w->offset, w->length, entry->offset + heap,
                                               entry->length - heap);
}

void ctl_view_totals(const struct vmshm_segment *s, uint32_t vm, const struct ctl_view *v, struct ctl_totals *t)
{
    const uint64_t heap = vmshm_heap_offset(&s->header);
    const uint64_t length = s->sections[vm].length;
    const uint64_t dirty = v->section->dirty_end < length ? v->section->dirty_end : length;

    memset(t, 0, sizeof *t);
    t->messages = v->section->messages;
    t->bytes = v->section->bytes;
    t->heap = length - heap;
    t->dirty = dirty > heap ? dirty - heap : 0;
    for (uint32_t i = 0; i < s->header.procs; ++i) {
        if (VMSHM_PROC_LIVE == v->procs[i].state) {
            t->messages += v->procs[i].messages;
            t->bytes += v->procs[i].bytes;
        }
    }
    for (uint32_t i = 0; i < s->header.windows; ++i) {
        if (!ctl_window_in_heap(s, vm, &v->windows[i])) {
            continue;
        }
        if (VMSHM_WINDOW_LIVE == v->windows[i].state) {
            t->used += v->windows[i].length;
        } else if (VMSHM_WINDOW_QUARANTINE == v->windows[i].state) {
            t->quarantined += v->windows[i].length;
        }
    }
}

static uint64_t heartbeat_of(const struct vmshm_segment *s, uint32_t vm)
{
    struct vmshm_error e;
    uint64_t beat = 0;

    (void) ctl_read(s, s->sections[vm].offset + offsetof(struct vmshm_section, heartbeat), &beat,
                    sizeof beat, &e);
    return beat;
}

uint32_t ctl_watch(const struct vmshm_segment *s, uint32_t only_vm)
{
    uint64_t before[VMSHM_MAX_VMS];

    for (uint32_t vm = 0; vm < s->header.vms; ++vm) {
        before[vm] = heartbeat_of(s, vm);
    }
    for (int ms = 0; ms < CTL_WATCH_MS; ms += 100) {
        vmshm_pause_us(100000);
        for (uint32_t vm = 0; vm < s->header.vms; ++vm) {
            if ((CTL_VM_UNSET == only_vm || only_vm == vm) && before[vm] != heartbeat_of(s, vm)) {
                return vm;
            }
        }
    }
    return CTL_VM_UNSET;
}
