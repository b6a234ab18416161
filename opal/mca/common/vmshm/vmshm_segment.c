#include "vmshm_segment.h"

#include "vmshm_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmshm_kmod.h"
#include "vmshm_provider.h"

/* Map the header alone and learn from it how much the whole is. */
static int peek_header(int fd, uint64_t available, const char *path, uint8_t *image,
                       struct vmshm_error *e)
{
    void *map;

    if (available < VMSHM_CHECKED_BYTES) {
        return vmshm_fail(e, VMSHM_ERR_SHORT, path, "header",
                          "the file has %" PRIu64 " bytes, a header alone needs %u", available,
                          VMSHM_CHECKED_BYTES);
    }
    map = mmap(NULL, VMSHM_CHECKED_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    if (MAP_FAILED == map) {
        return vmshm_fail_errno(e, path, "header", "mmap of the header");
    }
    memcpy(image, map, VMSHM_CHECKED_BYTES);
    munmap(map, VMSHM_CHECKED_BYTES);
    return vmshm_header_check(image, available, path, e);
}

int vmshm_segment_open(const char *path, struct vmshm_segment *s, struct vmshm_error *e)
{
    _Alignas(8) uint8_t image[VMSHM_CHECKED_BYTES];
    uint64_t available;
    int rc;

    memset(s, 0, sizeof *s);
    s->fd = -1;
    rc = vmshm_provider_find(path, s->path, sizeof s->path, &s->provider, e);
    if (VMSHM_OK != rc) {
        return rc;
    }
    s->fd = open(s->path, O_RDWR | O_CLOEXEC);
    if (s->fd < 0) {
        return vmshm_fail_errno(e, s->path, "segment", "open for reading and writing");
    }
    rc = vmshm_provider_size(s->fd, s->path, &available, e);
    if (VMSHM_OK == rc && UINT64_MAX == available) {
        e->code = VMSHM_OK;
        (void) vmshm_kmod_probe(s, &available, e);
        s->provider = s->managed ? "kmod" : s->provider;
        rc = e->code;
    }
    if (VMSHM_OK == rc) {
        rc = peek_header(s->fd, available, s->path, image, e);
    }
    if (VMSHM_OK != rc) {
        goto fail;
    }
    memcpy(&s->header, image, sizeof s->header);
    memcpy(s->sections, image + VMSHM_TABLE_OFFSET, sizeof s->sections);
    if (s->managed) {
        rc = vmshm_kmod_map(s, e);
        if (VMSHM_OK != rc) {
            goto fail;
        }
        return VMSHM_OK;
    }
    s->base = mmap(NULL, s->header.total_bytes, PROT_READ, MAP_SHARED, s->fd, 0);
    if (MAP_FAILED == s->base) {
        s->base = NULL;
        /* A device without a size refuses a mapping that is longer than its memory. */
        if (EINVAL == errno && UINT64_MAX == available) {
            rc = vmshm_fail(e, VMSHM_ERR_SHORT, s->path, "total_bytes",
                            "the header says %" PRIu64 " bytes, the device refuses to map so many",
                            s->header.total_bytes);
        } else {
            rc = vmshm_fail_errno(e, s->path, "total_bytes", "mmap of the whole segment");
        }
        goto fail;
    }
    s->total_bytes = s->header.total_bytes;
    return VMSHM_OK;

fail:
    vmshm_segment_close(s);
    return rc;
}

int vmshm_segment_own(struct vmshm_segment *s, uint32_t vm, struct vmshm_error *e)
{
    const struct vmshm_section_entry *entry = &s->sections[vm];

    if (s->managed) {
        return vmshm_fail(e, VMSHM_ERR_PERMISSION, s->path, "section", "in this VM the kernel "
                          "module alone writes the section's tables");
    }
    if (0 != mprotect(s->base + entry->offset, entry->length, PROT_READ | PROT_WRITE)) {
        return vmshm_fail_errno(e, s->path, "section", "mprotect of the VM's own section");
    }
    return VMSHM_OK;
}

void vmshm_segment_close(struct vmshm_segment *s)
{
    if (NULL != s->base) {
        munmap(s->base, s->total_bytes);
        s->base = NULL;
    }
    if (s->fd > 0) {
        close(s->fd);
    }
    s->fd = -1;
}

struct vmshm_proc *vmshm_proc_of(const struct vmshm_segment *s, uint32_t vm, uint32_t slot)
{
    return (struct vmshm_proc *) (s->base + s->sections[vm].offset + vmshm_procs_offset()) + slot;
}

struct vmshm_window *vmshm_window_of(const struct vmshm_segment *s, uint32_t vm, uint32_t index)
{
    return (struct vmshm_window *) (s->base + s->sections[vm].offset
                                    + vmshm_windows_offset(&s->header)) + index;
}

uint32_t *vmshm_bell_of(const struct vmshm_segment *s, uint32_t ringing_vm, uint32_t to_vm,
                        uint32_t to_slot)
{
    return (uint32_t *) (s->base + s->sections[ringing_vm].offset + vmshm_bells_offset(&s->header))
           + vmshm_proc_index(&s->header, to_vm, to_slot);
}

uint64_t *vmshm_reader_row_of(const struct vmshm_segment *s, uint32_t vm, uint32_t slot)
{
    return (uint64_t *) (s->base + s->sections[vm].offset + vmshm_readers_offset(&s->header)
                         + slot * vmshm_reader_row_bytes(&s->header));
}

const struct vmshm_vm_mark *vmshm_mark_of(const struct vmshm_segment *s, uint32_t vm)
{
    return (const struct vmshm_vm_mark *) (s->base + VMSHM_MARK_OFFSET) + vm;
}
