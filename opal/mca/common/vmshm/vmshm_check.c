/* SPDX-License-Identifier: BSD-3-Clause */
/* Modelled in test/model/windows.pml: change both. */
#include "vmshm_check.h"

#include "vmshm_kmod.h"
#include "vmshm_layout.h"

#include <inttypes.h>
#include <string.h>

bool vmshm_peer_read(const struct vmshm_member *m, uint32_t vm, uint32_t slot,
                     struct vmshm_proc *copy)
{
    struct vmshm_proc *proc;
    uint32_t state;

    if (vm >= m->segment.header.vms || slot >= m->segment.header.procs) {
        return false;
    }
    proc = vmshm_proc_of(&m->segment, vm, slot);
    /* The state is loaded first, since its owner stores it last (vmshm_proc_set_live()): if it is LIVE the other
     * fields are complete. */
    state = vmshm_load_acquire(&proc->state);
    vmshm_copy_in(copy, proc, sizeof *copy);
    copy->state = state;
    copy->window = vmshm_load_acquire(&proc->window);
    return true;
}

static uint64_t *own_row(const struct vmshm_member *m)
{
    return vmshm_reader_row_of(&m->segment, m->id.vm, m->slot);
}

/* w: a private copy of the peer's entry, which the peer can no longer change. */
static bool is_window_of(const struct vmshm_member *m, uint32_t vm, uint32_t slot,
                         const struct vmshm_window *w)
{
    const struct vmshm_section_entry *section = &m->segment.sections[vm];
    const uint64_t heap = vmshm_heap_offset(&m->segment.header);

    return VMSHM_WINDOW_LIVE == w->state && slot == w->proc
           && vmshm_range_inside(w->offset, w->length, section->offset + heap,
                                 section->length - heap)
           && 0 != w->length && 0 == w->offset % VMSHM_GRANULE_BYTES && 0 == w->length % VMSHM_GRANULE_BYTES;
}

static bool is_no_window(const struct vmshm_member *m, uint32_t vm, uint32_t slot, struct vmshm_error *e)
{
    (void) vmshm_fail(e, VMSHM_ERR_PEER, m->segment.path, "window", "VM %u, slot %u: what is looked for is "
                      "not in a live window of the peer", vm, slot);
    return false;
}

/* m->mapped.lock held. */
static bool enter(struct vmshm_member *m, uint32_t vm, uint32_t slot, uint32_t index,
                  struct vmshm_window *w, struct vmshm_error *e)
{
    const struct vmshm_window *shared = vmshm_window_of(&m->segment, vm, index);
    struct vmshm_mapping *mapping = vmshm_mapped_find(&m->mapped, vm, index);
    const bool first = NULL == mapping || 0 == mapping->readers;
    const uint64_t bit = vmshm_reader_bit(&m->segment.header, vm, index);

    if (first) {
        vmshm_row_set(own_row(m), bit);
    }
    vmshm_window_copy(w, shared);
    (void) is_no_window(m, vm, slot, e);
    if (is_window_of(m, vm, slot, w)) {
        if (NULL == mapping) {
            mapping = vmshm_mapped_add(&m->mapped, &m->segment, &(struct vmshm_mapping) {
                .offset = w->offset, .length = w->length, .vm = vm, .index = index,
            }, e);
        }
        if (NULL != mapping && w->offset == mapping->offset && w->length == mapping->length) {
            mapping->readers += 1;
            e->code = VMSHM_OK;
            return true;
        }
    }
    if (first) {
        vmshm_row_clear(own_row(m), bit);
    }
    return false;
}

bool vmshm_reader_enter(struct vmshm_member *m, uint32_t vm, uint32_t slot, uint32_t index,
                        struct vmshm_window *w, struct vmshm_error *e)
{
    bool entered;

    if (vm >= m->segment.header.vms || index >= m->segment.header.windows) {
        return is_no_window(m, vm, slot, e);
    }
    if (m->segment.managed) {
        return index == vmshm_kmod_find(m, vm, slot, index, 0, 0, w, e);
    }
    pthread_mutex_lock(&m->mapped.lock);
    entered = enter(m, vm, slot, index, w, e);
    pthread_mutex_unlock(&m->mapped.lock);
    return entered;
}

void vmshm_reader_leave(struct vmshm_member *m, uint32_t vm, uint32_t index)
{
    struct vmshm_mapping *mapping;

    if (m->segment.managed) {
        vmshm_kmod_window_leave(m, vm, index);
        return;
    }
    pthread_mutex_lock(&m->mapped.lock);
    mapping = vmshm_mapped_find(&m->mapped, vm, index);
    if (NULL != mapping && mapping->readers > 0 && 0 == --mapping->readers) {
        if (!mapping->own) {
            vmshm_mapped_remove(&m->mapped, &m->segment, mapping);
        }
        vmshm_row_clear(own_row(m), vmshm_reader_bit(&m->segment.header, vm, index));
    }
    pthread_mutex_unlock(&m->mapped.lock);
}

uint32_t vmshm_reader_find(struct vmshm_member *m, uint32_t vm, uint32_t slot, uint64_t offset,
                           uint64_t length, struct vmshm_window *w, struct vmshm_error *e)
{
    if (m->segment.managed) {
        return vmshm_kmod_find(m, vm, slot, VMSHM_NO_WINDOW, offset, length, w, e);
    }
    (void) is_no_window(m, vm, slot, e);
    for (uint32_t i = 0; i < m->segment.header.windows; ++i) {
        struct vmshm_window peek;

        vmshm_copy_in(&peek, vmshm_window_of(&m->segment, vm, i), sizeof peek);
        if (VMSHM_WINDOW_LIVE != peek.state || slot != peek.proc
            || !vmshm_range_inside(offset, length, peek.offset, peek.length)) {
            continue;
        }
        if (vmshm_reader_enter(m, vm, slot, i, w, e)) {
            if (vmshm_range_inside(offset, length, w->offset, w->length)) {
                return i;
            }
            vmshm_reader_leave(m, vm, i);
            (void) is_no_window(m, vm, slot, e);
        } else if (VMSHM_ERR_PEER != e->code) {
            break;
        }
    }
    return VMSHM_NO_WINDOW;
}

int vmshm_peer_prove(struct vmshm_member *m, const struct vmshm_address *a, uint32_t *index,
                     struct vmshm_window *w, struct vmshm_error *e)
{
    const struct vmshm_window_header *shared;
    struct vmshm_proc proc;

    if (0 != memcmp(a->segment_uuid, m->segment.header.segment_uuid, sizeof a->segment_uuid)) {
        return vmshm_fail(e, VMSHM_ERR_PEER, m->segment.path, "segment_uuid",
                          "the peer is attached to another segment");
    }
    if (VMSHM_FORMAT_VERSION != a->format) {
        return vmshm_fail(e, VMSHM_ERR_PEER, m->segment.path, "version",
                          "the peer uses format %u, this process format %u", a->format,
                          VMSHM_FORMAT_VERSION);
    }
    if (!vmshm_peer_read(m, a->vm, a->slot, &proc)) {
        return vmshm_fail(e, VMSHM_ERR_PEER, m->segment.path, "vm",
                          "the peer says VM %u, process slot %u: not in the table", a->vm,
                          a->slot);
    }
    if (VMSHM_PROC_LIVE != proc.state || proc.generation != a->generation
        || vmshm_vm_epoch(m, a->vm) != a->epoch) {
        return vmshm_fail(e, VMSHM_ERR_PEER, m->segment.path, "process",
                          "VM %u, slot %u: the process that the peer published is not there: this "
                          "memory is not shared with it (a copy or snapshot of the segment?)",
                          a->vm, a->slot);
    }
    /* Both peers compare the same two numbers, so both refuse. */
    if (proc.uid != m->uid) {
        return vmshm_fail(e, VMSHM_ERR_USER, m->segment.path, "uid", "VM %u, slot %u: the peer runs as "
                          "user %u there, this process as user %u", a->vm, a->slot, proc.uid, m->uid);
    }
    if (!vmshm_reader_enter(m, a->vm, a->slot, proc.window, w, e)) {
        return e->code;
    }
    shared = vmshm_at(m, w->offset);
    if (w->length < vmshm_control_bytes(&m->segment.header)
        || VMSHM_WINDOW_MAGIC != vmshm_load_acquire(&shared->magic)
        || shared->nonce != a->nonce) {
        vmshm_reader_leave(m, a->vm, proc.window);
        return vmshm_fail(e, VMSHM_ERR_PEER, m->segment.path, "nonce",
                          "VM %u, slot %u: the nonce that the peer published is not in "
                          "its window: this memory is not shared with it", a->vm, a->slot);
    }
    *index = proc.window;
    return VMSHM_OK;
}
