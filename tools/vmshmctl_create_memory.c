/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory of a new segment: bound to NUMA nodes, and allocated. */
#define _GNU_SOURCE
#include "vmshmctl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

int ctl_create_bind(struct ctl_plan *p, uint8_t *base, struct vmshm_error *e)
{
    int rc = VMSHM_OK;

    for (uint32_t vm = 0; vm < p->header.vms && VMSHM_OK == rc; ++vm) {
        struct vmshm_section_entry *entry = &p->entry[vm];

        entry->numa_node = p->numa[vm];
        if (CTL_NUMA_AUTO == p->numa[vm]) {
            rc = ctl_numa_nth(vm, &entry->numa_node, e);
        }
        if (VMSHM_OK == rc && VMSHM_NO_NUMA != entry->numa_node) {
            rc = ctl_numa_bind(base + entry->offset, entry->length, entry->numa_node, p->path, e);
        }
    }
    return rc;
}

static uint64_t memory_available(void)
{
    FILE *f = fopen("/proc/meminfo", "re");
    char line[128];
    uint64_t kib = UINT64_MAX >> 10;

    while (NULL != f && NULL != fgets(line, sizeof line, f)
           && 1 != sscanf(line, "MemAvailable: %" SCNu64, &kib)) {
    }
    if (NULL != f) {
        fclose(f);
    }
    return kib << 10;
}

static int no_room(const char *path, uint64_t wanted, uint64_t there, const char *what,
                   struct vmshm_error *e)
{
    return vmshm_fail(e, VMSHM_ERR_FULL, path, "--size", "the segment needs %" PRIu64 " bytes, %s "
                      "has %" PRIu64 " left", wanted, what, there);
}

/* Allocate all memory now: a process that later touches a page for which there is no memory is killed. */
int ctl_create_allocate(const struct ctl_plan *p, int fd, struct vmshm_error *e)
{
    struct statvfs fs;
    struct stat st;
    uint64_t held, wanted, room;

    if (p->sparse) {
        return VMSHM_OK;
    }
    if (0 != fstat(fd, &st) || 0 != fstatvfs(fd, &fs)) {
        return vmshm_fail_errno(e, p->path, "--size", "reading the file system");
    }
    held = (uint64_t) st.st_blocks * 512;
    wanted = p->total > held ? p->total - held : 0;
    /* A tmpfs mounted without a limit reports zero blocks. */
    room = 0 == fs.f_blocks ? UINT64_MAX : (uint64_t) fs.f_bavail * fs.f_frsize;
    if (wanted > room) {
        return no_room(p->path, wanted, room, "its file system", e);
    }
    if (p->in_memory && p->page <= 4096 && wanted > memory_available()) {
        return no_room(p->path, wanted, memory_available(), "the host's memory", e);
    }
    if (0 != fallocate(fd, 0, 0, (off_t) p->total)) {
        if (ENOSPC == errno && UINT64_MAX == room) {
            return vmshm_fail(e, VMSHM_ERR_FULL, p->path, "--size", "the segment needs %" PRIu64
                              " bytes, its file system does not have %" PRIu64 " free pages of"
                              " %" PRIu64 " bytes", wanted, wanted / p->page, p->page);
        }
        if (ENOSPC == errno) {
            return no_room(p->path, wanted, room, "its file system", e);
        }
        return vmshm_fail_errno(e, p->path, "--size", "allocating the memory (fallocate)");
    }
    return VMSHM_OK;
}
