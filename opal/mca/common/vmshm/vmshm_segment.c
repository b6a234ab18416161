/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmshm_segment.h"

#include "vmshm_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmshm_kmod.h"
#include "vmshm_map.h"
#include "vmshm_provider.h"

/* Map only the header at first, since it says how large the segment is. */
static int check_header(struct vmshm_segment *s, uint64_t available, struct vmshm_error *e)
{
    _Alignas(8) uint8_t image[VMSHM_CHECKED_BYTES];
    int rc;

    if (available < VMSHM_CHECKED_BYTES) {
        return vmshm_fail(e, VMSHM_ERR_SHORT, s->path, "header",
                          "the file has %" PRIu64 " bytes, the header alone needs %u", available,
                          VMSHM_CHECKED_BYTES);
    }
    rc = vmshm_segment_peek(s->fd, s->path, image, e);
    if (VMSHM_OK == rc) {
        rc = vmshm_header_check(image, available, s->path, e);
    }
    memcpy(&s->header, image, sizeof s->header);
    memcpy(s->sections, image + VMSHM_TABLE_OFFSET, sizeof s->sections);
    return rc;
}

static int open_and_check(const char *path, struct vmshm_segment *s, uint64_t *available,
                          struct vmshm_error *e)
{
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
    rc = vmshm_provider_size(s->fd, s->path, available, e);
    if (VMSHM_OK == rc && UINT64_MAX == *available) {
        e->code = VMSHM_OK;
        (void) vmshm_kmod_probe(s, available, e);
        s->provider = s->managed ? "kmod" : s->provider;
        rc = e->code;
    }
    return VMSHM_OK == rc ? check_header(s, *available, e) : rc;
}

static int map_whole(struct vmshm_segment *s, uint64_t available, struct vmshm_error *e)
{
    vmshm_map_whole(s);
    if (NULL != s->base) {
        return VMSHM_OK;
    }
    /* A device that reports no size refuses a mapping longer than its memory. */
    return EINVAL == errno && UINT64_MAX == available
           ? vmshm_fail(e, VMSHM_ERR_SHORT, s->path, "total_bytes", "the header says %" PRIu64
                        " bytes, the device refuses to map that many", s->header.total_bytes)
           : vmshm_map_fail(e, s->path, "total_bytes", "mmap of the whole segment");
}

/* Length of a section's tables, without the gap before its heap. The kernel module maps both only together. */
static uint64_t tables_bytes(const struct vmshm_segment *s)
{
    const struct vmshm_header *h = &s->header;

    return s->managed ? vmshm_heap_offset(h)
           : vmshm_align_up(vmshm_readers_offset(h) + h->procs * vmshm_reader_row_bytes(h),
                            VMSHM_GRANULE_BYTES);
}

static int map_tables(struct vmshm_segment *s, struct vmshm_error *e)
{
    s->pieces = true;
    vmshm_map_reserve(s);
    if (NULL == s->base) {
        return vmshm_map_fail(e, s->path, "total_bytes", "reserving addresses for the segment");
    }
    if (!vmshm_map_piece(s, 0, s->managed ? VMSHM_HEADER_BYTES : VMSHM_GRANULE_BYTES, PROT_READ)) {
        return vmshm_map_fail(e, s->path, "header", "mmap of the header");
    }
    for (uint32_t vm = 0; vm < s->header.vms; ++vm) {
        if (!vmshm_map_piece(s, s->sections[vm].offset, tables_bytes(s), PROT_READ)) {
            return vmshm_map_fail(e, s->path, "section", "mmap of a section's tables");
        }
    }
    return VMSHM_OK;
}

static int open_segment(const char *path, bool whole, struct vmshm_segment *s,
                        struct vmshm_error *e)
{
    uint64_t available;
    int rc = open_and_check(path, s, &available, e);

    if (VMSHM_OK == rc) {
        rc = s->managed || (!whole && vmshm_map_has_pieces(s)) ? map_tables(s, e)
                                                               : map_whole(s, available, e);
    }
    if (VMSHM_OK != rc) {
        vmshm_segment_close(s);
    }
    return rc;
}

int vmshm_segment_open(const char *path, struct vmshm_segment *s, struct vmshm_error *e)
{
    return open_segment(path, true, s, e);
}

int vmshm_segment_open_tables(const char *path, struct vmshm_segment *s, struct vmshm_error *e)
{
    return open_segment(path, false, s, e);
}

int vmshm_segment_own(struct vmshm_segment *s, uint32_t vm, struct vmshm_error *e)
{
    const struct vmshm_section_entry *entry = &s->sections[vm];

    if (s->managed) {
        return vmshm_fail(e, VMSHM_ERR_PERMISSION, s->path, "section", "in this VM only the "
                          "kernel module writes the section's tables");
    }
    if (0 != mprotect(s->base + entry->offset, s->pieces ? tables_bytes(s) : entry->length,
                      PROT_READ | PROT_WRITE)) {
        return vmshm_map_fail(e, s->path, "section", "mprotect of the VM's own section");
    }
    s->own_offset = entry->offset;
    s->own_length = entry->length;
    return VMSHM_OK;
}

void vmshm_segment_close(struct vmshm_segment *s)
{
    if (NULL != s->base) {
        munmap(s->base, s->pieces ? s->total_bytes
                                  : vmshm_align_up(s->total_bytes, vmshm_map_unit(s->fd)));
        s->base = NULL;
    }
    if (s->fd > 0) {
        close(s->fd);
    }
    s->fd = -1;
}
