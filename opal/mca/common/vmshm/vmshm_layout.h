/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * Address arithmetic of the segment: offsets are computed here only.
 * The structures are in vmshm_format.h. All functions are pure; those that take a header expect the
 * private, validated copy of it (vmshm_segment.header), never the shared one.
 */
#ifndef VMSHM_LAYOUT_H
#define VMSHM_LAYOUT_H

#include "vmshm_format.h"

static inline uint64_t vmshm_align_up(uint64_t value, uint64_t align)
{
    return (value + align - 1) & ~(align - 1);
}

/* Is [offset, offset + length) inside [base, base + size)? Computed without sums, which could overflow. */
static inline bool vmshm_range_inside(uint64_t offset, uint64_t length, uint64_t base,
                                      uint64_t size)
{
    return offset >= base && offset - base <= size && length <= size - (offset - base);
}

/* Offsets within a section. */
static inline uint64_t vmshm_procs_offset(void)
{
    return sizeof(struct vmshm_section);
}

static inline uint64_t vmshm_windows_offset(const struct vmshm_header *h)
{
    return vmshm_procs_offset() + (uint64_t)h->procs * sizeof(struct vmshm_proc);
}

static inline uint64_t vmshm_bells_offset(const struct vmshm_header *h)
{
    return vmshm_windows_offset(h) + (uint64_t)h->windows * sizeof(struct vmshm_window);
}

static inline uint64_t vmshm_readers_offset(const struct vmshm_header *h)
{
    return vmshm_align_up(vmshm_bells_offset(h) + (uint64_t)h->vms * h->procs * sizeof(uint32_t),
                          VMSHM_LINE_BYTES);
}

/* Bytes of one row of the reader table. */
static inline uint64_t vmshm_reader_row_bytes(const struct vmshm_header *h)
{
    return (uint64_t)h->vms * h->windows / 8;
}

static inline uint64_t vmshm_heap_offset(const struct vmshm_header *h)
{
    return vmshm_align_up(vmshm_readers_offset(h) + h->procs * vmshm_reader_row_bytes(h),
                          VMSHM_ALIGN_BYTES);
}

/* Index of a process in the tables that have an entry per process of the segment (bells, rings, heads). */
static inline uint64_t vmshm_proc_index(const struct vmshm_header *h, uint32_t vm, uint32_t slot)
{
    return (uint64_t)vm * h->procs + slot;
}

/* Bytes of the header and tables at the start of a control window. */
static inline uint64_t vmshm_control_bytes(const struct vmshm_header *h)
{
    return vmshm_align_up(sizeof(struct vmshm_window_header)
                          + 2 * (uint64_t)h->vms * h->procs * sizeof(uint64_t), 4096);
}

static inline uint64_t vmshm_ring_bytes(uint32_t slots)
{
    return sizeof(struct vmshm_ring) + (uint64_t)slots * sizeof(struct vmshm_slot);
}

/* Offsets of the two tables within a control window. */
static inline uint64_t vmshm_rings_offset(void)
{
    return sizeof(struct vmshm_window_header);
}

static inline uint64_t vmshm_heads_offset(const struct vmshm_header *h)
{
    return vmshm_rings_offset() + (uint64_t)h->vms * h->procs * sizeof(uint64_t);
}

/* The rules for entries of the section table. Sections must be in ascending order, so comparing with the end of the
 * previous one is enough to exclude overlaps. */
static inline bool vmshm_entry_fits(const struct vmshm_header *h,
                                    const struct vmshm_section_entry *entry, uint64_t last_end)
{
    return entry->offset >= last_end && 0 == entry->offset % VMSHM_ALIGN_BYTES
           && vmshm_range_inside(entry->offset, entry->length, 0, h->total_bytes)
           && 0 == entry->length % VMSHM_ALIGN_BYTES
           && entry->length >= vmshm_heap_offset(h) + VMSHM_GRANULE_BYTES;
}

static inline bool vmshm_open_half_fits(const struct vmshm_header *h,
                                        const struct vmshm_section_entry *entry)
{
    return entry->open_offset >= vmshm_heap_offset(h) && entry->open_offset <= entry->length
           && 0 == entry->open_offset % VMSHM_GRANULE_BYTES;
}

/* FNV-1a, 64 bit (Fowler, Noll, Vo; RFC 9923): small enough for a kernel and a boot-time tool. */
static inline uint64_t vmshm_fnv1a(uint64_t hash, const void *data, size_t bytes)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < bytes; ++i) {
        hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

#define VMSHM_FNV_START UINT64_C(0xcbf29ce484222325)

/* Checksum of the first VMSHM_CHECKED_BYTES of a header image, with the checksum field taken as zero. */
static inline uint64_t vmshm_header_checksum(const void *image)
{
    const uint8_t *p = image;
    const size_t at = offsetof(struct vmshm_header, checksum);
    static const uint8_t zero[8];
    uint64_t hash = vmshm_fnv1a(VMSHM_FNV_START, p, at);

    hash = vmshm_fnv1a(hash, zero, sizeof zero);
    return vmshm_fnv1a(hash, p + at + 8, VMSHM_CHECKED_BYTES - at - 8);
}

#endif
