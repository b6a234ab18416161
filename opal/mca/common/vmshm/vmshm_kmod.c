/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmshm_kmod.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "vmshm_layout.h"
#include "vmshm_map.h"
#include "vmshm_uapi.h"

#define OLD_PINS "a process, a device or a pipe of this VM still has pages pinned from before the host took " \
                 "its memory back; it has to release them"

_Static_assert(VMSHM_NO_WINDOW == VMSHM_ANY_WINDOW, "one number for no window");

/* Only a call that waits returns EINTR, or an allocation after a fatal signal. */
static int call(int fd, unsigned long request, void *argument)
{
    int rc;

    do {
        rc = ioctl(fd, request, argument);
    } while (0 != rc && EINTR == errno);
    return rc;
}

int vmshm_kmod_probe(struct vmshm_segment *s, uint64_t *bytes, struct vmshm_error *e)
{
    static const char *const sources[] = {
        [VMSHM_ID_DEVICE] = "device", [VMSHM_ID_SMBIOS] = "SMBIOS",
        [VMSHM_ID_PARAMETER] = "module parameter",
    };
    const char *path = s->path;
    struct vmshm_describe d;

    if (0 == call(s->fd, VMSHM_IOC_DESCRIBE, &d)) {
        if (VMSHM_UAPI_VERSION != d.uapi || VMSHM_FORMAT_VERSION != d.format) {
            return vmshm_fail(e, VMSHM_ERR_VERSION, path, "kernel module", "the module speaks "
                              "interface %u and format %u, this program %u and %u", d.uapi,
                              d.format, VMSHM_UAPI_VERSION, VMSHM_FORMAT_VERSION);
        }
        s->managed = true;
        s->id = (struct vmshm_identity) {
            .vm = d.vm, .epoch = d.epoch, .source = d.vm_source >= VMSHM_ID_DEVICE
            && d.vm_source <= VMSHM_ID_PARAMETER ? sources[d.vm_source] : "kernel module",
        };
        *bytes = d.total_bytes;
        return VMSHM_OK;
    }
    switch (errno) {
    case EPROTO:
        return vmshm_fail(e, VMSHM_ERR_MAGIC, path, "header", "the kernel module finds no usable "
                          "header in the segment; the kernel's log names the field");
    case ENXIO:
        return vmshm_fail(e, VMSHM_ERR_NO_VM_ID, path, "vm_id", "the kernel module knows no id of "
                          "this VM that is in the segment's table; the kernel's log says more");
    case ENODEV:
        return vmshm_fail(e, VMSHM_ERR_ABSENT, path, "segment", "the device was unplugged, or the "
                          "host has its memory back");
    case EBUSY:
        return vmshm_fail(e, VMSHM_ERR_ABSENT, path, "segment", OLD_PINS);
    default:
        return VMSHM_ERR_ABSENT;
    }
}

int vmshm_kmod_join(const struct vmshm_join_options *o, struct vmshm_member *m,
                    struct vmshm_error *e)
{
    struct vmshm_join j = { .name = o->name };

    memcpy(j.job, o->job, sizeof j.job);
    if (0 != call(m->segment.fd, VMSHM_IOC_JOIN, &j)) {
        switch (errno) {
        case EADDRINUSE:
            return vmshm_fail(e, VMSHM_ERR_VM_ID_TWICE, m->segment.path, "section", "the id of "
                              "this VM is in use by another running VM, or by processes that do "
                              "not use the kernel module");
        case ENOSPC:
            return vmshm_fail(e, VMSHM_ERR_FULL, m->segment.path, "procs", "all %u process slots "
                              "of this VM are taken", m->segment.header.procs);
        case EDQUOT:
            return vmshm_fail(e, VMSHM_ERR_FULL, m->segment.path, "user_slots", "you have as many "
                              "process slots of this VM as the administrator allows one user, or "
                              "all of them together (user_slots and all_slots of the kernel module)");
        case EMFILE:
            return vmshm_fail(e, VMSHM_ERR_FULL, m->segment.path, "process_slots", "this process "
                              "has joined already, through another open file: process_slots of the "
                              "kernel module is how often a process may");
        case ENODEV:
            return vmshm_fail(e, VMSHM_ERR_ABSENT, m->segment.path, "segment", "the device was "
                              "unplugged, or the host has its memory back or asks for it");
        case EHOSTDOWN:
            return vmshm_fail(e, VMSHM_ERR_MARKED, m->segment.path, "mark", "the host has marked "
                              "this VM (%u) as gone", m->segment.id.vm);
        case EBUSY:
            return vmshm_fail(e, VMSHM_ERR_ABSENT, m->segment.path, "segment", OLD_PINS);
        default:
            return vmshm_fail_errno(e, m->segment.path, "join", "the kernel module's join");
        }
    }
    m->id = (struct vmshm_identity) { .vm = j.vm, .epoch = j.epoch,
                                     .source = m->segment.id.source };
    m->slot = j.slot;
    m->generation = j.generation;
    m->nonce = j.nonce;
    memcpy(m->job, o->job, sizeof m->job);
    m->uid = vmshm_proc_of(&m->segment, j.vm, j.slot)->uid;
    m->joined = true;
    return VMSHM_OK;
}

void vmshm_kmod_leave(struct vmshm_member *m)
{
    (void) call(m->segment.fd, VMSHM_IOC_LEAVE, NULL);
}

static void release(struct vmshm_member *m, uint32_t vm, uint32_t index)
{
    struct vmshm_release r = { .vm = vm, .index = index };

    (void) call(m->segment.fd, VMSHM_IOC_RELEASE, &r);
}

static bool add(struct vmshm_member *m, const struct vmshm_mapping *mapping, struct vmshm_error *e)
{
    bool added;

    pthread_mutex_lock(&m->mapped.lock);
    added = NULL != vmshm_mapped_add(&m->mapped, &m->segment, mapping, e);
    pthread_mutex_unlock(&m->mapped.lock);
    return added;
}

int vmshm_kmod_window_alloc(struct vmshm_member *m, uint64_t bytes, uint32_t kind,
                            uint32_t *index, uint64_t *offset, struct vmshm_error *e)
{
    struct vmshm_alloc a = { .bytes = 0 == bytes ? 1 : bytes, .kind = kind };

    if (0 != call(m->segment.fd, VMSHM_IOC_ALLOC, &a)) {
        if (EDQUOT == errno) {
            return vmshm_fail(e, VMSHM_ERR_FULL, m->segment.path, "user_bytes", "with %" PRIu64
                              " bytes more you would have more windows or memory of this VM's section "
                              "than the administrator allows one user, or all of them together (user_* "
                              "and all_* of the kernel module)", bytes);
        }
        return ENOSPC == errno
               ? vmshm_fail(e, VMSHM_ERR_FULL, m->segment.path, "heap", "no %" PRIu64 " contiguous "
                            "free bytes, or no free window slot, in the section of VM %u",
                            bytes, m->id.vm)
               : vmshm_fail_errno(e, m->segment.path, "heap", "the kernel module's allocation");
    }
    if (!add(m, &(struct vmshm_mapping) { .offset = a.offset, .length = a.length, .vm = m->id.vm,
                                          .index = a.index, .own = true }, e)) {
        release(m, m->id.vm, a.index);
        return e->code;
    }
    *index = a.index;
    *offset = a.offset;
    return VMSHM_OK;
}

void vmshm_kmod_window_release(struct vmshm_member *m, uint32_t index)
{
    struct vmshm_mapping *mapping;

    /* Both steps under the lock, since the module may hand out the range again at once, even to this process. */
    pthread_mutex_lock(&m->mapped.lock);
    release(m, m->id.vm, index);
    mapping = vmshm_mapped_find(&m->mapped, m->id.vm, index);
    if (NULL != mapping) {
        vmshm_mapped_remove(&m->mapped, &m->segment, mapping);
    }
    pthread_mutex_unlock(&m->mapped.lock);
}

void vmshm_kmod_window_leave(struct vmshm_member *m, uint32_t vm, uint32_t index)
{
    struct vmshm_mapping *mapping;

    pthread_mutex_lock(&m->mapped.lock);
    mapping = vmshm_mapped_find(&m->mapped, vm, index);
    if (NULL != mapping && mapping->readers > 0 && 0 == --mapping->readers) {
        release(m, vm, index);
        vmshm_mapped_remove(&m->mapped, &m->segment, mapping);
    }
    pthread_mutex_unlock(&m->mapped.lock);
}

void vmshm_kmod_window_publish(struct vmshm_member *m, uint32_t index)
{
    struct vmshm_publish p = { .index = index };

    (void) call(m->segment.fd, VMSHM_IOC_PUBLISH, &p);
}

void vmshm_kmod_ring_bell(struct vmshm_member *m, uint32_t vm, uint32_t slot)
{
    struct vmshm_ring_bell r = { .vm = vm, .slot = slot };

    (void) call(m->segment.fd, VMSHM_IOC_RING, &r);
}

void vmshm_kmod_count(struct vmshm_member *m, uint64_t messages, uint64_t bytes)
{
    struct vmshm_count c = { .messages = messages, .bytes = bytes };

    (void) call(m->segment.fd, VMSHM_IOC_COUNT, &c);
}

static uint32_t not_found(const struct vmshm_member *m, const struct vmshm_find *f, struct vmshm_error *e)
{
    switch (errno) {
    case ENOMEM:
    case ENOSPC:
        (void) vmshm_fail(e, VMSHM_ERR_MAP, m->segment.path, "window", "the kernel has no memory for it, or "
                          "this process reads as many windows of others as the module allows");
        break;
    case ENODEV:
    case ENOTCONN:
    case EPERM:
        (void) vmshm_fail(e, VMSHM_ERR_ABSENT, m->segment.path, "window",
                          "this process no longer has the segment");
        break;
    default:
        (void) vmshm_fail(e, VMSHM_ERR_PEER, m->segment.path, "window", "VM %u, slot %u: what is looked for "
                          "is not in a live window of the peer", f->vm, f->slot);
    }
    return VMSHM_NO_WINDOW;
}

/* m->mapped.lock held. The module knows only whether this process has found a window, not how often, so the number of
 * readers is counted here. */
static uint32_t find(struct vmshm_member *m, struct vmshm_find *f, struct vmshm_window *w,
                     struct vmshm_error *e)
{
    struct vmshm_mapping *mapping;

    if (0 != call(m->segment.fd, VMSHM_IOC_FIND, f)) {
        return not_found(m, f, e);
    }
    mapping = vmshm_mapped_find(&m->mapped, f->vm, f->index);
    if (NULL == mapping) {
        mapping = vmshm_mapped_add(&m->mapped, &m->segment, &(struct vmshm_mapping) {
            .offset = f->window_offset, .length = f->window_length, .vm = f->vm, .index = f->index,
        }, e);
    }
    if (NULL == mapping) {
        release(m, f->vm, f->index);
        return VMSHM_NO_WINDOW;
    }
    mapping->readers += 1;
    *w = (struct vmshm_window) {
        .state = VMSHM_WINDOW_LIVE, .generation = f->generation, .offset = f->window_offset,
        .length = f->window_length, .proc = f->slot, .kind = f->kind,
    };
    return f->index;
}

uint32_t vmshm_kmod_find(struct vmshm_member *m, uint32_t vm, uint32_t slot, uint32_t index,
                         uint64_t offset, uint64_t length, struct vmshm_window *w, struct vmshm_error *e)
{
    struct vmshm_find f = { .offset = offset, .length = length, .vm = vm, .slot = slot,
                            .index = index };
    uint32_t found;

    if (vm >= m->segment.header.vms || slot >= m->segment.header.procs) {
        errno = EINVAL;
        return not_found(m, &f, e);
    }
    /* The caller has already checked that the peer's job key is one of those that this process holds (in the BTL:
     * mca_btl_vmshm_key_add()), so the entry's own key may be passed on. */
    memcpy(f.job, vmshm_proc_of(&m->segment, vm, slot)->job, sizeof f.job);
    pthread_mutex_lock(&m->mapped.lock);
    found = find(m, &f, w, e);
    pthread_mutex_unlock(&m->mapped.lock);
    return found;
}

const char *vmshm_kmod_lost(struct vmshm_member *m)
{
    struct vmshm_wait w = { .timeout_ns = 0 };

    if (0 != call(m->segment.fd, VMSHM_IOC_WAIT, &w)) {
        return NULL;
    }
    if (0 != (w.events & VMSHM_EVENT_GONE)) {
        return "its device was unplugged from this VM";
    }
    if (0 != (w.events & VMSHM_EVENT_EXPELLED)) {
        return "the host marked this VM as gone, or gave its section to another one";
    }
    if (0 != (w.events & (VMSHM_EVENT_DETACH | VMSHM_EVENT_ATTACH))) {
        return "the host took its memory back, to migrate this VM";
    }
    return NULL;
}
