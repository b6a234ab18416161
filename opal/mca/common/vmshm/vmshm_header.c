/* SPDX-License-Identifier: BSD-3-Clause */
/* Check a header image: can this version use the segment? */
#include "vmshm_segment.h"

#include "vmshm_layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int check_limits(const struct vmshm_header *h, const char *path, struct vmshm_error *e)
{
    if (h->vms < 1 || h->vms > VMSHM_MAX_VMS) {
        return vmshm_fail(e, VMSHM_ERR_FIELD, path, "vms", "%u is not in 1 .. %u", h->vms,
                          VMSHM_MAX_VMS);
    }
    if (h->procs < 1 || h->procs > VMSHM_MAX_PROCS) {
        return vmshm_fail(e, VMSHM_ERR_FIELD, path, "procs", "%u is not in 1 .. %u", h->procs,
                          VMSHM_MAX_PROCS);
    }
    if (h->windows < 64 || h->windows > VMSHM_MAX_WINDOWS || 0 != h->windows % 64) {
        return vmshm_fail(e, VMSHM_ERR_FIELD, path, "windows",
                          "%u is not a multiple of 64 in 64 .. %u", h->windows,
                          VMSHM_MAX_WINDOWS);
    }
    if (h->page_bytes < 4096 || 0 != (h->page_bytes & (h->page_bytes - 1))) {
        return vmshm_fail(e, VMSHM_ERR_FIELD, path, "page_bytes",
                          "%" PRIu64 " is not a page size", h->page_bytes);
    }
    return VMSHM_OK;
}

static int check_sections(const struct vmshm_header *h, const uint8_t *image, const char *path,
                          struct vmshm_error *e)
{
    uint64_t end = VMSHM_HEADER_BYTES;

    for (uint32_t vm = 0; vm < h->vms; ++vm) {
        struct vmshm_section_entry entry;
        char field[32];

        memcpy(&entry, image + VMSHM_TABLE_OFFSET + vm * sizeof entry, sizeof entry);
        snprintf(field, sizeof field, "section[%u]", vm);
        if (entry.vm_id != vm) {
            return vmshm_fail(e, VMSHM_ERR_FIELD, path, field, "vm_id is %u", entry.vm_id);
        }
        if (!vmshm_entry_fits(h, &entry, end)) {
            return vmshm_fail(e, VMSHM_ERR_FIELD, path, field,
                              "[%" PRIu64 ", +%" PRIu64 ") is not an aligned range behind the "
                              "previous section and inside %" PRIu64 " bytes", entry.offset,
                              entry.length, h->total_bytes);
        }
        if (!vmshm_open_half_fits(h, &entry)) {
            return vmshm_fail(e, VMSHM_ERR_FIELD, path, field, "open_offset is %" PRIu64,
                              entry.open_offset);
        }
        end = entry.offset + entry.length;
    }
    return VMSHM_OK;
}

int vmshm_header_check(const void *image, uint64_t available, const char *path,
                       struct vmshm_error *e)
{
    struct vmshm_header h;
    static const uint8_t zero[sizeof h];
    uint64_t sum;
    int rc;

    memcpy(&h, image, sizeof h);
    if (0 == memcmp(&h, zero, sizeof h)) {
        return vmshm_fail(e, VMSHM_ERR_ZERO, path, "header", "it is filled with zeros");
    }
    if (VMSHM_MAGIC != h.magic) {
        return vmshm_fail(e, VMSHM_ERR_MAGIC, path, "magic", "0x%016" PRIx64 " instead of 0x%016"
                          PRIx64, h.magic, VMSHM_MAGIC);
    }
    if (VMSHM_FORMAT_VERSION != h.version || VMSHM_CHECKED_BYTES != h.checked_bytes) {
        return vmshm_fail(e, VMSHM_ERR_VERSION, path, "version",
                          "the segment has format %u, this program reads format %u", h.version,
                          VMSHM_FORMAT_VERSION);
    }
    sum = vmshm_header_checksum(image);
    if (sum != h.checksum) {
        return vmshm_fail(e, VMSHM_ERR_CHECKSUM, path, "checksum", "0x%016" PRIx64
                          " stands there, the header's content gives 0x%016" PRIx64, h.checksum,
                          sum);
    }
    if (h.total_bytes > available) {
        return vmshm_fail(e, VMSHM_ERR_SHORT, path, "total_bytes", "the header says %" PRIu64
                          " bytes, %" PRIu64 " are there", h.total_bytes, available);
    }
    rc = check_limits(&h, path, e);
    return VMSHM_OK == rc ? check_sections(&h, image, path, e) : rc;
}
