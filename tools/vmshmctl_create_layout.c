/* SPDX-License-Identifier: BSD-3-Clause */
/* The layout of a new segment: where its sections are, and its total size. */
#include "vmshmctl.h"

#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define DEFAULT_BYTES (UINT64_C(1) << 30)

int ctl_create_find_page(struct ctl_plan *p, struct vmshm_error *e)
{
    char dir[512];
    struct statfs fs;
    char *slash;

    snprintf(dir, sizeof dir, "%s", p->path);
    slash = strrchr(dir, '/');
    if (NULL == slash) {
        snprintf(dir, sizeof dir, ".");
    } else {
        slash[slash == dir] = '\0';
    }
    if (0 != statfs(dir, &fs)) {
        return vmshm_fail_errno(e, dir, "PATH", "reading the file system of the directory");
    }
    p->page = HUGETLBFS_MAGIC == fs.f_type ? (uint64_t) fs.f_bsize
                                           : (uint64_t) sysconf(_SC_PAGESIZE);
    p->in_memory = HUGETLBFS_MAGIC == fs.f_type || TMPFS_MAGIC == fs.f_type;
    return VMSHM_OK;
}

static uint64_t power_of_two_above(uint64_t bytes)
{
    uint64_t power = 1;

    while (power < bytes && power <= UINT64_MAX / 4) {
        power <<= 1;
    }
    return power;
}

static int place_open_half(const struct ctl_command *self, const struct ctl_plan *p, uint64_t length,
                           uint64_t *open_offset)
{
    const uint64_t align = p->page > VMSHM_GRANULE_BYTES ? p->page : VMSHM_GRANULE_BYTES;
    const uint64_t heap = vmshm_heap_offset(&p->header);
    const size_t n = NULL == p->open ? 0 : strlen(p->open);
    uint64_t open = 0;
    char number[16];
    uint32_t percent;

    if (0 == n) {
        *open_offset = length;
        return CTL_OK;
    }
    if ('%' == p->open[n - 1] && n <= sizeof number) {
        snprintf(number, n, "%s", p->open);
        if (!ctl_parse_u32(number, &percent) || percent > 100) {
            return ctl_usage_error(self, "--open", NULL, "'%s' is not 0%% .. 100%%", p->open);
        }
        open = (length - heap) / 100 * percent;
    } else if (!ctl_parse_size(p->open, &open) || open > length - heap) {
        return ctl_usage_error(self, "--open", "Give a percentage such as 25%, or a smaller size.",
                               "'%s' is not a part of a section's heap of %" PRIu64 " bytes",
                               p->open, length - heap);
    }
    *open_offset = (length - open) & ~(align - 1);
    if (*open_offset < heap + VMSHM_ALIGN_BYTES) {
        return ctl_usage_error(self, "--open", "Give a smaller percentage or size.", "'%s' leaves less than 2M of a "
                               "section of %" PRIu64 " bytes for private windows, which every process needs",
                               p->open, length);
    }
    return CTL_OK;
}

/* Check the lengths that were given; *named is their sum, *unnamed the number of sections without one. */
static int sum_up_lengths(const struct ctl_command *self, struct ctl_plan *p, uint64_t align, uint64_t *named,
                          uint32_t *unnamed)
{
    char text[32];

    *named = *unnamed = 0;
    for (uint32_t vm = 0; vm < p->header.vms; ++vm) {
        if (0 == p->section[vm]) {
            p->section[vm] = p->section_all;
        }
        if (p->section[vm] > UINT64_MAX / 256) {
            return ctl_usage_error(self, "--section", NULL, "VM %u: the size is too large", vm);
        }
        if (0 != p->section[vm] % align) {
            return ctl_usage_error(self, "--section", NULL, "VM %u: %" PRIu64 " bytes are not a "
                                   "multiple of %s (a section consists of whole pages of this file "
                                   "system, and of multiples of 2M)", vm, p->section[vm],
                                   ctl_size_text(align, text));
        }
        *named += p->section[vm];
        *unnamed += 0 == p->section[vm];
    }
    return CTL_OK;
}

static int no_power_of_two(uint64_t total)
{
    char a[32], b[32];

    ctl_size_text(power_of_two_above(total) / 2, a);
    ctl_size_text(power_of_two_above(total), b);
    fprintf(stderr, "vmshmctl: create: --size: %" PRIu64 " bytes are not a power of two, and "
            "QEMU refuses a PCI memory BAR of such a size\n"
            "  Give --size %s or --size %s; or --any-size if it will not be attached "
            "to QEMU (containers, User-Mode Linux).\n", total, a, b);
    return CTL_USAGE;
}

/* Choose the total size if none was given, and check it. `used`: bytes of the header and of the sections whose length
 * is known. */
static int choose_total(const struct ctl_command *self, struct ctl_plan *p, uint64_t used, uint32_t unnamed)
{
    char text[32];

    if (0 == p->total) {
        p->total = unnamed > 0 ? DEFAULT_BYTES : used;
        if (0 == unnamed && !p->any_size) {
            p->total = power_of_two_above(p->total);
        }
    }
    if (!p->any_size && 0 != (p->total & (p->total - 1))) {
        return no_power_of_two(p->total);
    }
    if (0 != p->total % p->page || p->total > INT64_MAX) {
        return ctl_usage_error(self, "--size", NULL, "%" PRIu64 " bytes are not a multiple of the "
                               "file system's page of %s", p->total, ctl_size_text(p->page, text));
    }
    return CTL_OK;
}

/* `share`: bytes of a section whose length was not given. *at: where it begins; on return, where it ends. */
static int place_section(const struct ctl_command *self, struct ctl_plan *p, uint32_t vm, uint64_t share,
                         uint64_t least, uint64_t *at)
{
    struct vmshm_section_entry *entry = &p->entry[vm];
    char a[32], b[32];

    entry->vm_id = vm;
    entry->numa_node = VMSHM_NO_NUMA;
    entry->offset = *at;
    entry->length = 0 != p->section[vm] ? p->section[vm] : share;
    *at += entry->length;
    if (entry->length < least || *at > p->total) {
        ctl_size_text(entry->length, a);
        return ctl_usage_error(self, "--size", "Raise --size, or lower --vms, --procs, "
                               "--windows or the sizes of the sections.", "VM %u gets %s of %"
                               PRIu64 " bytes; its tables alone need %s", vm, a, p->total,
                               ctl_size_text(least, b));
    }
    return place_open_half(self, p, entry->length, &entry->open_offset);
}

int ctl_create_sections(const struct ctl_command *self, struct ctl_plan *p)
{
    const uint64_t align = p->page > VMSHM_ALIGN_BYTES ? p->page : VMSHM_ALIGN_BYTES;
    const uint64_t first = vmshm_align_up(VMSHM_HEADER_BYTES, align);
    const uint64_t least = vmshm_align_up(vmshm_heap_offset(&p->header) + VMSHM_GRANULE_BYTES, align);
    uint64_t named, at = first, share = 0;
    uint32_t unnamed;
    int status = sum_up_lengths(self, p, align, &named, &unnamed);

    if (CTL_OK == status) {
        status = choose_total(self, p, first + named, unnamed);
    }
    if (CTL_OK != status) {
        return status;
    }
    if (unnamed > 0 && p->total > first + named) {
        share = (p->total - first - named) / unnamed & ~(align - 1);
    }
    for (uint32_t vm = 0; vm < p->header.vms && CTL_OK == status; ++vm) {
        status = place_section(self, p, vm, share, least, &at);
    }
    return status;
}
