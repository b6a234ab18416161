/* SPDX-License-Identifier: BSD-3-Clause */
/* vmshmctl check: the segment's header and its table of sections. */
#include "vmshmctl.h"

#include <inttypes.h>

bool ctl_check_header(struct ctl_problems *p, const struct vmshm_header *h, const uint8_t *image,
                      uint64_t available)
{
    const uint64_t sum = vmshm_header_checksum(image);
    bool usable = true;

    if (VMSHM_FORMAT_VERSION != h->version || VMSHM_CHECKED_BYTES != h->checked_bytes) {
        ctl_problem(p, "header.version", vmshm_error_remedy(VMSHM_ERR_VERSION),
                    "format %u (checked bytes %u), this program reads format %u", h->version,
                    h->checked_bytes, VMSHM_FORMAT_VERSION);
        return false;
    }
    if (sum != h->checksum) {
        ctl_problem(p, "header.checksum", ctl_check_recreate, "it is 0x%016" PRIx64 ", the content gives "
                    "0x%016" PRIx64, h->checksum, sum);
    }
    if (h->total_bytes > available) {
        ctl_problem(p, "header.total_bytes", ctl_check_recreate, "%" PRIu64 " bytes, the file has %" PRIu64,
                    h->total_bytes, available);
        usable = false;
    } else if (UINT64_MAX != available && h->total_bytes < available) {
        ctl_problem(p, "header.total_bytes", ctl_check_recreate, "%" PRIu64 " bytes, the file has %" PRIu64
                    ": a VM whose device has another size than the file does not find the segment",
                    h->total_bytes, available);
    }
    if (h->page_bytes < 4096 || 0 != (h->page_bytes & (h->page_bytes - 1))) {
        ctl_problem(p, "header.page_bytes", ctl_check_recreate, "%" PRIu64 " is not a page size", h->page_bytes);
    }
    if (h->vms < 1 || h->vms > VMSHM_MAX_VMS) {
        ctl_problem(p, "header.vms", ctl_check_recreate, "%u is not in 1 .. %u", h->vms, VMSHM_MAX_VMS);
        usable = false;
    }
    if (h->procs < 1 || h->procs > VMSHM_MAX_PROCS) {
        ctl_problem(p, "header.procs", ctl_check_recreate, "%u is not in 1 .. %u", h->procs, VMSHM_MAX_PROCS);
        usable = false;
    }
    if (h->windows < 64 || h->windows > VMSHM_MAX_WINDOWS || 0 != h->windows % 64) {
        ctl_problem(p, "header.windows", ctl_check_recreate, "%u is not a multiple of 64 in 64 .. %u",
                    h->windows, VMSHM_MAX_WINDOWS);
        usable = false;
    }
    if (0 != h->reserved) {
        ctl_problem(p, "header.reserved", ctl_check_recreate, "%u instead of 0", h->reserved);
    }
    return usable;
}

bool ctl_check_entry(struct ctl_problems *p, const struct vmshm_segment *s, uint32_t vm,
                     uint64_t *end)
{
    const struct vmshm_section_entry *entry = &s->sections[vm];
    const uint64_t heap = vmshm_heap_offset(&s->header);
    const bool inside = vmshm_range_inside(entry->offset, entry->length, 0, s->header.total_bytes)
                        && entry->length >= heap + VMSHM_GRANULE_BYTES
                        && 0 == entry->offset % VMSHM_ALIGN_BYTES;
    char field[64];

    snprintf(field, sizeof field, "header.section[%u].vm_id", vm);
    if (entry->vm_id != vm) {
        ctl_problem(p, field, ctl_check_recreate, "%u instead of %u", entry->vm_id, vm);
    }
    snprintf(field, sizeof field, "header.section[%u].offset", vm);
    if (0 != entry->offset % VMSHM_ALIGN_BYTES) {
        ctl_problem(p, field, ctl_check_recreate, "%" PRIu64 " is not a multiple of %" PRIu64, entry->offset,
                    VMSHM_ALIGN_BYTES);
    }
    if (entry->offset < *end) {
        ctl_problem(p, field, ctl_check_recreate, "%" PRIu64 " is below %" PRIu64 ", where what precedes it "
                    "ends: they overlap", entry->offset, *end);
    }
    snprintf(field, sizeof field, "header.section[%u].length", vm);
    if (!vmshm_range_inside(entry->offset, entry->length, 0, s->header.total_bytes)) {
        ctl_problem(p, field, ctl_check_recreate, "[%" PRIu64 ", +%" PRIu64 ") is not inside %" PRIu64 " bytes",
                    entry->offset, entry->length, s->header.total_bytes);
    } else {
        *end = entry->offset + entry->length;
    }
    if (0 != entry->length % VMSHM_ALIGN_BYTES || entry->length < heap + VMSHM_GRANULE_BYTES) {
        ctl_problem(p, field, ctl_check_recreate, "%" PRIu64 " is not a multiple of %" PRIu64 " that has room for "
                    "tables of %" PRIu64 " bytes", entry->length, VMSHM_ALIGN_BYTES, heap);
    }
    snprintf(field, sizeof field, "header.section[%u].open_offset", vm);
    if (entry->open_offset < heap || entry->open_offset > entry->length
        || 0 != entry->open_offset % VMSHM_GRANULE_BYTES) {
        ctl_problem(p, field, ctl_check_recreate, "%" PRIu64 " is not a multiple of %" PRIu64 " in %" PRIu64
                    " .. %" PRIu64, entry->open_offset, VMSHM_GRANULE_BYTES, heap, entry->length);
    }
    if (!ctl_all_zero(entry->reserved, sizeof entry->reserved)) {
        snprintf(field, sizeof field, "header.section[%u].reserved", vm);
        ctl_problem(p, field, ctl_check_recreate, "it is not zero");
    }
    return inside;
}
