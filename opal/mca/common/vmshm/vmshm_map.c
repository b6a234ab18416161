#include "vmshm_map.h"

#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vmshm_layout.h"

uint64_t vmshm_map_unit(int fd)
{
    struct statfs fs;

    return 0 == fstatfs(fd, &fs) && HUGETLBFS_MAGIC == (unsigned long) fs.f_type
           ? (uint64_t) fs.f_bsize : (uint64_t) sysconf(_SC_PAGESIZE);
}

bool vmshm_map_has_pieces(const struct vmshm_segment *s)
{
    return s->managed || (0 == strcmp(s->provider, "file")
                          && vmshm_map_unit(s->fd) <= VMSHM_GRANULE_BYTES);
}

void vmshm_map_whole(struct vmshm_segment *s)
{
    uint8_t *base = mmap(NULL, s->header.total_bytes, PROT_READ, MAP_SHARED, s->fd, 0);

    s->base = MAP_FAILED == base ? NULL : base;
    s->total_bytes = s->header.total_bytes;
}

/* At the alignment of large pages, so that the kernel can map with them. */
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
}

bool vmshm_map_piece(struct vmshm_segment *s, uint64_t offset, uint64_t length, int prot)
{
    return MAP_FAILED != mmap(s->base + offset, length, prot, MAP_SHARED | MAP_FIXED, s->fd,
                              (off_t) offset);
}

void vmshm_map_remove(struct vmshm_segment *s, uint64_t offset, uint64_t length)
{
    (void) mmap(s->base + offset, length, PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

static bool zeros(struct vmshm_segment *s, uint64_t offset, uint64_t length, int prot)
{
    return MAP_FAILED != mmap(s->base + offset, length, prot,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

/* Pages that can be written count as used before they are, where the system may not promise more than it
 * has (vm.overcommit_memory = 2) or a limit says so: the own section only, and not that if need be. */
void vmshm_map_zeros(struct vmshm_segment *s, uint32_t own)
{
    bool done = zeros(s, 0, VMSHM_HEADER_BYTES, PROT_READ);

    for (uint32_t vm = 0; vm < s->header.vms; ++vm) {
        const struct vmshm_section_entry *entry = &s->sections[vm];

        done = ((own == vm && zeros(s, entry->offset, entry->length, PROT_READ | PROT_WRITE))
                || zeros(s, entry->offset, entry->length, PROT_READ)) && done;
    }
    /* Pages of 1 GiB are replaced all at once or not at all. */
    if (!done && !zeros(s, 0, s->total_bytes, PROT_READ | PROT_WRITE)
        && !zeros(s, 0, s->total_bytes, PROT_READ)
        && 0 != mprotect(s->base, s->total_bytes, PROT_NONE)) {
        abort();                        /* before it writes into what is another's by now */
    }
}
