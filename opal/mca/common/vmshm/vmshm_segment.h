/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening a segment: find it, map it, check its header.
 *
 * A tool maps the whole segment read-only. A process that joins maps only the header and the tables, and each window
 * when it is allocated or entered, if the provider allows that (vmshm_map.h). vmshm_segment_own() makes the mapped
 * part of one VM's section writable. After the check only the private, validated copies of the header in `header` and
 * `sections` are used.
 *
 * Providers, in the order in which an unnamed segment is looked for:
 *   kmod     /dev/vmshmN, of the guest kernel module
 *   chardev  /dev/mmapper (User-Mode Linux) and other devices whose mmap at offset 0 is the segment
 *   pci      resource2 of an ivshmem device 1af4:1110 under /sys/bus/pci/devices; root only
 * The first device that holds a segment is used. A segment can be named by any path (the provider is `file` if it is
 * a regular file), by the address of a device on the PCI bus, or by its UUID (vmshm_provider.h).
 */
#ifndef VMSHM_SEGMENT_H
#define VMSHM_SEGMENT_H

#include "vmshm_error.h"
#include "vmshm_format.h"
#include "vmshm_identity.h"

struct vmshm_segment {
    uint8_t *base;
    uint64_t total_bytes;                 /* length of the range at base */
    int fd;
    char path[256];
    const char *provider;                 /* "kmod", "file", "chardev" or "pci" */
    bool pieces;                          /* the heaps are not mapped whole, but each window separately */
    uint64_t own_offset, own_length;      /* of the section that was made writable; 0: none */
    bool managed;                         /* the kernel module writes the tables: see vmshm_kmod.h */
    struct vmshm_identity id;             /* if managed: reported by the module */
    struct vmshm_header header;           /* private copies, validated */
    struct vmshm_section_entry sections[VMSHM_MAX_VMS];
};

/* Open the segment at `path`, or the first one found if path is NULL, "" or "auto".
 * Errors: ABSENT, PERMISSION, SHORT, ZERO, MAGIC, VERSION, CHECKSUM, FIELD, SYSTEM. */
int vmshm_segment_open(const char *path, struct vmshm_segment *segment, struct vmshm_error *e);

/* The same without mapping the heaps, if the provider allows that; `pieces` is set then. */
int vmshm_segment_open_tables(const char *path, struct vmshm_segment *segment,
                              struct vmshm_error *e);

/* Copy the first VMSHM_CHECKED_BYTES of the file or device. Errors: PERMISSION, ABSENT, SYSTEM. */
int vmshm_segment_peek(int fd, const char *path, void *image, struct vmshm_error *e);

/* Make the mapped part of the section of vm writable. Errors: PERMISSION, SYSTEM. */
int vmshm_segment_own(struct vmshm_segment *segment, uint32_t vm, struct vmshm_error *e);

/* Unmap and close. Does nothing on a struct that was only zeroed. */
void vmshm_segment_close(struct vmshm_segment *segment);

/* Check a header image of VMSHM_CHECKED_BYTES. available: the real size of the segment; path: for the error text.
 * Errors: SHORT, ZERO, MAGIC, VERSION, CHECKSUM, FIELD. */
int vmshm_header_check(const void *image, uint64_t available, const char *path,
                       struct vmshm_error *e);

/* The shared, unvalidated start of a section; vm < header.vms. */
static inline struct vmshm_section *vmshm_section_of(const struct vmshm_segment *s, uint32_t vm)
{
    return (struct vmshm_section *) (s->base + s->sections[vm].offset);
}

struct vmshm_proc *vmshm_proc_of(const struct vmshm_segment *s, uint32_t vm, uint32_t slot);
struct vmshm_window *vmshm_window_of(const struct vmshm_segment *s, uint32_t vm, uint32_t index);
uint32_t *vmshm_bell_of(const struct vmshm_segment *s, uint32_t ringing_vm, uint32_t to_vm,
                        uint32_t to_slot);
uint64_t *vmshm_reader_row_of(const struct vmshm_segment *s, uint32_t vm, uint32_t slot);
const struct vmshm_vm_mark *vmshm_mark_of(const struct vmshm_segment *s, uint32_t vm);

#endif
