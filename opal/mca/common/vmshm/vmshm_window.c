/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocating and releasing windows of the own section.
 *
 * An entry is empty until a process that holds the mutex makes it live. From then on it belongs to that process, which
 * can release it without the mutex, so a process never waits for the mutex to leave. Collecting windows from
 * quarantine needs the mutex again.
 */
/* Modelled in test/model/windows.pml: change both. */
#include "vmshm_member.h"

#include "vmshm_kmod.h"
#include "vmshm_layout.h"
#include "vmshm_states.h"

#include <inttypes.h>
#include <string.h>

static struct vmshm_window *entry_of(const struct vmshm_member *m, uint32_t index)
{
    return vmshm_window_of(&m->segment, m->id.vm, index);
}

/* First gap of `bytes` in the heap's private or open half; 0 if there is none. Only this VM writes the table, but an
 * earlier crash may have left garbage, so entries outside the half are skipped. */
static uint64_t find_gap(const struct vmshm_member *m, uint64_t bytes, uint32_t kind)
{
    const struct vmshm_header *h = &m->segment.header;
    const struct vmshm_section_entry *section = &m->segment.sections[m->id.vm];
    const bool open = VMSHM_KIND_OPEN == kind;
    const uint64_t heap = section->offset + (open ? section->open_offset : vmshm_heap_offset(h));
    const uint64_t end = section->offset + (open ? section->length : section->open_offset);
    uint64_t at = heap;
    bool moved = true;

    /* Move the candidate behind each window that it overlaps, until it overlaps none. */
    while (moved) {
        moved = false;
        if (!vmshm_range_inside(at, bytes, heap, end - heap)) {
            return 0;
        }
        for (uint32_t i = 0; i < h->windows; ++i) {
            const struct vmshm_window *w = entry_of(m, i);

            if (VMSHM_WINDOW_EMPTY != w->state
                && vmshm_range_inside(w->offset, w->length, heap, end - heap)
                && at < w->offset + w->length && w->offset < at + bytes) {
                /* An end that is not aligned to a granule is garbage, but the range may still be in use. */
                at = vmshm_align_up(w->offset + w->length, VMSHM_GRANULE_BYTES);
                moved = true;
            }
        }
    }
    return at;
}

/* Find an empty entry and a gap of `bytes`; *w is NULL and *at is 0 if there is none. */
static void find_room(const struct vmshm_member *m, uint64_t bytes, uint32_t kind,
                      struct vmshm_window **w, uint64_t *at)
{
    *w = NULL;
    for (uint32_t i = 0; i < m->segment.header.windows && NULL == *w; ++i) {
        if (VMSHM_WINDOW_EMPTY == vmshm_load_acquire(&entry_of(m, i)->state)) {
            *w = entry_of(m, i);
        }
    }
    *at = bytes <= m->segment.sections[m->id.vm].length ? find_gap(m, bytes, kind) : 0;
}

static bool map_own(struct vmshm_member *m, uint32_t index, uint64_t offset, uint64_t length,
                    struct vmshm_error *e)
{
    const struct vmshm_mapping mapping = {
        .offset = offset, .length = length, .vm = m->id.vm, .index = index, .own = true,
    };
    bool mapped;

    pthread_mutex_lock(&m->mapped.lock);
    mapped = NULL != vmshm_mapped_add(&m->mapped, &m->segment, &mapping, e);
    pthread_mutex_unlock(&m->mapped.lock);
    return mapped;
}

/* To be called before the window is released: no other process may get it while this one can still write to it. */
static void unmap_own(struct vmshm_member *m, uint32_t index)
{
    struct vmshm_mapping *mapping;

    pthread_mutex_lock(&m->mapped.lock);
    mapping = vmshm_mapped_find(&m->mapped, m->id.vm, index);
    if (NULL != mapping && 0 == mapping->readers) {
        vmshm_mapped_remove(&m->mapped, &m->segment, mapping);
    } else if (NULL != mapping) {
        mapping->own = false;
    }
    pthread_mutex_unlock(&m->mapped.lock);
}

int vmshm_window_alloc(struct vmshm_member *m, uint64_t bytes, uint32_t kind, uint32_t *index,
                       uint64_t *offset, struct vmshm_error *e)
{
    const struct vmshm_section_entry *own = &m->segment.sections[m->id.vm];
    struct vmshm_section *section = vmshm_section_of(&m->segment, m->id.vm);
    struct vmshm_window *w, mine;
    uint64_t at, dirty;
    int rc;

    if (m->segment.managed) {
        return vmshm_kmod_window_alloc(m, bytes, kind, index, offset, e);
    }
    /* Round up only if the result cannot overflow. */
    if (bytes <= own->length) {
        bytes = vmshm_align_up(0 == bytes ? 1 : bytes, VMSHM_GRANULE_BYTES);
    }
    rc = vmshm_lock_enter(&m->lock, e);
    if (VMSHM_OK != rc) {
        return rc;
    }
    vmshm_window_collect(m);
    find_room(m, bytes, kind, &w, &at);
    if ((NULL == w || 0 == at) && vmshm_reap_locked(m) > 0) {
        vmshm_window_collect(m);
        find_room(m, bytes, kind, &w, &at);
    }
    if (NULL == w || 0 == at) {
        rc = vmshm_fail(e, VMSHM_ERR_FULL, m->segment.path, NULL == w ? "windows" : "heap",
                        NULL == w ? "all %" PRIu64 " window slots of VM %u are taken"
                                  : "no %" PRIu64 " contiguous free bytes in the section of VM "
                                    "%u", NULL == w ? (uint64_t) m->segment.header.windows : bytes, m->id.vm);
        goto leave;
    }
    *index = (uint32_t) (w - entry_of(m, 0));
    if (!map_own(m, *index, at, bytes, e)) {
        rc = e->code;
        goto leave;
    }
    /* Clear only memory that was handed out before; the rest is zero. */
    dirty = section->dirty_end;
    if (at - own->offset < dirty) {
        const uint64_t used = dirty - (at - own->offset);
        memset(m->segment.base + at, 0, used < bytes ? used : bytes);
    }
    if (at + bytes - own->offset > dirty) {
        vmshm_store_release(&section->dirty_end, at + bytes - own->offset);
    }
    mine = (struct vmshm_window) {
        .generation = w->generation + 1, .offset = at, .length = bytes, .proc = m->slot, .kind = kind,
        .uid = vmshm_proc_of(&m->segment, m->id.vm, m->slot)->uid,
    };
    memcpy(mine.job, m->job, sizeof mine.job);
    vmshm_window_set_live(w, &mine);
    *offset = at;

leave:
    vmshm_lock_leave(&m->lock);
    return rc;
}

void vmshm_window_release(struct vmshm_member *m, uint32_t index)
{
    if (m->segment.managed) {
        vmshm_kmod_window_release(m, index);
        return;
    }
    unmap_own(m, index);
    vmshm_window_set_quarantine(entry_of(m, index));
    if (vmshm_lock_try(&m->lock)) {
        vmshm_window_collect(m);
        vmshm_lock_leave(&m->lock);
    }
}

void vmshm_window_publish(struct vmshm_member *m, uint32_t index)
{
    if (m->segment.managed) {
        vmshm_kmod_window_publish(m, index);
        return;
    }
    vmshm_proc_set_window(vmshm_proc_of(&m->segment, m->id.vm, m->slot), index);
}
