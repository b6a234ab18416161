/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmshm_map.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vmshm_layout.h"

uint64_t vmshm_map_unit(int fd)
{
    struct statfs fs;

    return 0 == fstatfs(fd, &fs) && HUGETLBFS_MAGIC == (unsigned long) fs.f_type
           ? (uint64_t) fs.f_bsize : (uint64_t) sysconf(_SC_PAGESIZE);
}

/* Devices are mapped whole: mlockall() does not lock their mappings, and not all of them support mprotect() on a
 * mapping (User-Mode Linux's mmapper shows other memory then). */
bool vmshm_map_has_pieces(const struct vmshm_segment *s)
{
    struct stat st;

    return s->managed || (0 == strcmp(s->provider, "file") && 0 == fstat(s->fd, &st)
                          && S_ISREG(st.st_mode) && vmshm_map_unit(s->fd) <= VMSHM_GRANULE_BYTES);
}

void vmshm_map_whole(struct vmshm_segment *s)
{
    uint8_t *base = mmap(NULL, s->header.total_bytes, PROT_READ, MAP_SHARED, s->fd, 0);

    s->base = MAP_FAILED == base ? NULL : base;
    s->total_bytes = s->header.total_bytes;
}

/* Replace the reservation by a mapping of the file. The reservation is unmapped first, because both together might
 * exceed the limit on locked memory. */
static void place_file(struct vmshm_segment *s)
{
    uint8_t *at;

    munmap(s->base, s->total_bytes);
    at = mmap(s->base, s->total_bytes, PROT_NONE, MAP_SHARED | MAP_FIXED_NOREPLACE, s->fd, 0);
    if (MAP_FAILED == at && EEXIST == errno) {
        at = mmap(NULL, s->total_bytes, PROT_NONE, MAP_SHARED, s->fd, 0);   /* another thread took the range */
    }
    s->base = MAP_FAILED == at ? NULL : at;
}

/* Aligned to large pages, so that the kernel can use them for the mapping. */
void vmshm_map_reserve(struct vmshm_segment *s)
{
    const uint64_t bytes = s->header.total_bytes;
    const uint64_t spare = VMSHM_ALIGN_BYTES;
    uint8_t *base, *at = mmap(NULL, bytes + spare, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    s->base = NULL;
    s->total_bytes = bytes;
    if (MAP_FAILED == at) {
        return;
    }
    base = (uint8_t *) (uintptr_t) vmshm_align_up((uintptr_t) at, spare);
    if (base > at) {
        munmap(at, (size_t) (base - at));
    }
    if (at + spare > base) {
        munmap(base + bytes, (size_t) (at + spare - base));
    }
    s->base = base;
    if (!s->managed) {
        place_file(s);
    }
}

/* Give access as vmshm_map_whole() and vmshm_segment_own() do. These calls merge mappings instead of splitting any, so
 * the limit on their number does not make them fail. */
static bool open_all(struct vmshm_segment *s)
{
    const uint64_t own_end = s->own_offset + s->own_length;

    if (0 != mprotect(s->base, s->own_offset, PROT_READ)
        || 0 != mprotect(s->base + own_end, s->total_bytes - own_end, PROT_READ)
        || 0 != mprotect(s->base + s->own_offset, s->own_length, PROT_READ | PROT_WRITE)) {
        return false;
    }
    s->pieces = false;
    return true;
}

bool vmshm_map_piece(struct vmshm_segment *s, uint64_t offset, uint64_t length, int prot)
{
    int err;

    if (s->managed) {
        if (MAP_FAILED != mmap(s->base + offset, length, prot, MAP_SHARED | MAP_FIXED, s->fd, (off_t) offset)) {
            return true;
        }
        /* The failed mmap() may have removed the reservation: reserve the range again, so that nothing else is mapped
         * there. */
        err = errno;
        (void) mmap(s->base + offset, length, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
        errno = err;
        return false;
    }
    return 0 == mprotect(s->base + offset, length, prot) || open_all(s);
}

void vmshm_map_remove(struct vmshm_segment *s, uint64_t offset, uint64_t length)
{
    if (s->managed) {
        (void) mmap(s->base + offset, length, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
        return;
    }
    (void) mprotect(s->base + offset, length, PROT_NONE);
    (void) madvise(s->base + offset, length, MADV_DONTNEED);    /* fails on locked memory, which is harmless */
}

static void read_max_maps(char *text, size_t bytes)
{
    FILE *f = fopen("/proc/sys/vm/max_map_count", "re");

    snprintf(text, bytes, "?");
    if (NULL != f) {
        (void) !fgets(text, (int) bytes, f);
        text[strcspn(text, "\n")] = '\0';
        fclose(f);
    }
}

int vmshm_map_fail(struct vmshm_error *e, const char *file, const char *field, const char *what)
{
    const int err = errno;
    struct rlimit lock = { 0 };
    char maps[32];

    switch (err) {
    case EAGAIN:
        (void) getrlimit(RLIMIT_MEMLOCK, &lock);
        return vmshm_fail(e, VMSHM_ERR_MAP, file, field, "%s: the program locks what it maps (mlockall), and "
                          "may not lock more: RLIMIT_MEMLOCK (ulimit -l) is %llu KiB", what,
                          (unsigned long long) lock.rlim_cur / 1024);
    case ENOMEM:
        read_max_maps(maps, sizeof maps);
        return vmshm_fail(e, VMSHM_ERR_MAP, file, field, "%s: this process has no memory or addresses left "
                          "(ulimit -v), or as many mappings as it may have (vm.max_map_count, %s)", what,
                          maps);
    default:
        errno = err;
        return vmshm_fail_errno(e, file, field, what);
    }
}

static bool zeros(struct vmshm_segment *s, uint64_t offset, uint64_t length, int prot)
{
    return MAP_FAILED != mmap(s->base + offset, length, prot,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

/* Only the own section becomes writable, since with strict accounting (vm.overcommit_memory = 2) or a limit on memory
 * writable pages count before they are touched; if even that fails, it becomes read-only. Locked memory counts twice
 * while it is replaced, so all memory of the program is unlocked first: its job ends anyway, and must be able to
 * report why. */
void vmshm_map_zeros(struct vmshm_segment *s, uint32_t own)
{
    bool done;

    (void) munlockall();
    done = zeros(s, 0, VMSHM_HEADER_BYTES, PROT_READ);
    for (uint32_t vm = 0; vm < s->header.vms; ++vm) {
        const struct vmshm_section_entry *entry = &s->sections[vm];

        done = ((own == vm && zeros(s, entry->offset, entry->length, PROT_READ | PROT_WRITE))
                || zeros(s, entry->offset, entry->length, PROT_READ)) && done;
    }
    /* With pages of 1 GiB parts of the range cannot be replaced, only all of it. */
    if (!done && !zeros(s, 0, s->total_bytes, PROT_READ | PROT_WRITE)
        && !zeros(s, 0, s->total_bytes, PROT_READ)
        && 0 != mprotect(s->base, s->total_bytes, PROT_NONE)) {
        abort();                        /* otherwise it could write to memory that belongs to others by now */
    }
}

int vmshm_segment_peek(int fd, const char *path, void *image, struct vmshm_error *e)
{
    const size_t bytes = vmshm_align_up(VMSHM_CHECKED_BYTES, vmshm_map_unit(fd));
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);

    if (MAP_FAILED == map) {
        return vmshm_map_fail(e, path, "header", "mmap of the header");
    }
    memcpy(image, map, VMSHM_CHECKED_BYTES);
    munmap(map, bytes);
    return VMSHM_OK;
}
