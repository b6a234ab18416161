/* SPDX-License-Identifier: BSD-3-Clause */
/* How the segment is mapped: whole or in pieces, and given back. */
#define _GNU_SOURCE
#include "unit.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vmshm_map.h"
#include "vmshm_uapi.h"

#define GRANULE VMSHM_GRANULE_BYTES

/* Calls of the library end here: a file may be taken for one of hugetlbfs, which takes back whole pages
 * only; what the kernel refuses at a limit is refused. */
static uint64_t huge_bytes;
static int mmap_errno, mprotect_errno;      /* they fail with this, 0: they do not */
static bool splits_refused;                 /* mprotect of anything but what is mapped in one piece */
static struct vmshm_find module_window;     /* what the kernel module finds */
static unsigned int module_releases;

int __real_fstatfs(int fd, struct statfs *fs);
int __wrap_fstatfs(int fd, struct statfs *fs);
int __real_munmap(void *at, size_t bytes);
int __wrap_munmap(void *at, size_t bytes);
void *__real_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset);
int __real_mprotect(void *at, size_t bytes, int prot);
int __wrap_mprotect(void *at, size_t bytes, int prot);
int __wrap_ioctl(int fd, unsigned long request, void *argument);

void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset)
{
    if (0 != mmap_errno) {
        errno = mmap_errno;
        return MAP_FAILED;
    }
    return __real_mmap(at, bytes, prot, flags, fd, offset);
}

/* Does a mapping of the kernel's begin, or end, at each of these addresses? */
static bool is_on_bounds(uint64_t from, uint64_t to)
{
    FILE *f = fopen("/proc/self/maps", "re");
    uint64_t start, end;
    int seen = 0;
    char line[1024];

    while (NULL != f && NULL != fgets(line, sizeof line, f)) {
        if (2 == sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end)) {
            seen |= (from == start) | (to == end) << 1;
        }
    }
    if (NULL != f) {
        fclose(f);
    }
    return 3 == seen || from == to;
}

int __wrap_mprotect(void *at, size_t bytes, int prot)
{
    const uint64_t from = (uintptr_t) at;

    if (0 != mprotect_errno || (splits_refused && !is_on_bounds(from, from + bytes))) {
        errno = 0 != mprotect_errno ? mprotect_errno : ENOMEM;
        return -1;
    }
    return __real_mprotect(at, bytes, prot);
}

/* The kernel module, as far as finding and leaving go. */
int __wrap_ioctl(int fd, unsigned long request, void *argument)
{
    struct vmshm_find *f = argument;

    (void) fd;
    if (VMSHM_IOC_FIND == request) {
        f->index = module_window.index;
        f->window_offset = module_window.window_offset;
        f->window_length = module_window.window_length;
        return 0;
    }
    module_releases += VMSHM_IOC_RELEASE == request;
    return VMSHM_IOC_RELEASE == request ? 0 : -1;
}

int __wrap_fstatfs(int fd, struct statfs *fs)
{
    const int rc = __real_fstatfs(fd, fs);

    if (0 == rc && 0 != huge_bytes) {
        fs->f_type = HUGETLBFS_MAGIC;
        fs->f_bsize = (long) huge_bytes;
    }
    return rc;
}

int __wrap_munmap(void *at, size_t bytes)
{
    if (0 != huge_bytes && 0 != bytes % huge_bytes) {
        errno = EINVAL;
        return -1;
    }
    return __real_munmap(at, bytes);
}

/* Bytes of the file that this process may read, and of these the ones that it may write. */
static uint64_t mapped_bytes(const char *path, uint64_t *writable)
{
    FILE *f = fopen("/proc/self/maps", "re");
    uint64_t sum = 0;
    char line[1024];

    assert_non_null(f);
    *writable = 0;
    while (NULL != fgets(line, sizeof line, f)) {
        uint64_t from, to;
        char mode[8];

        if (NULL != strstr(line, path)
            && 3 == sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &from, &to, mode)) {
            sum += 'r' == mode[0] ? to - from : 0;
            *writable += 'w' == mode[1] ? to - from : 0;
        }
    }
    fclose(f);
    return sum;
}

/* Who locks its memory (mlockall) locks this much, not the segment. */
static void a_member_maps_what_it_uses(void **state)
{
    const char *path = unit_path(*state, "segment");
    /* Header and tables of both VMs, as far as they hold anything. */
    const uint64_t least = 3 * GRANULE;
    struct vmshm_member m, peer;
    struct vmshm_window w;
    struct vmshm_error e;
    uint64_t writable, offset, other;
    uint32_t index, read;

    unit_join(*state, 1, "tooth", &peer);
    read = unit_alloc(&peer, 8 * GRANULE, &other);
    memset(vmshm_at(&peer, other), 0x5a, 8 * GRANULE);
    assert_int_equal(mapped_bytes(path, &writable), least + 8 * GRANULE);
    vmshm_window_release(&peer, read);
    assert_int_equal(mapped_bytes(path, &writable), least);
    assert_int_equal(writable, GRANULE);
    read = unit_alloc(&peer, 8 * GRANULE, &other);
    unit_join(*state, 0, "boot", &m);
    index = unit_alloc(&m, 2 * GRANULE, &offset);
    assert_int_equal(mapped_bytes(path, &writable), 2 * least + (8 + 2) * GRANULE);
    assert_int_equal(writable, 2 * GRANULE + (8 + 2) * GRANULE);
    assert_true(vmshm_reader_enter(&m, 1, peer.slot, read, &w, &e));
    assert_int_equal(mapped_bytes(path, &writable), 2 * least + (8 + 2 + 8) * GRANULE);
    assert_int_equal(writable, 2 * GRANULE + (8 + 2) * GRANULE);
    ((volatile uint8_t *) vmshm_at(&peer, other))[5] = 7;
    assert_int_equal(((volatile uint8_t *) vmshm_at(&m, other))[5], 7);
    vmshm_reader_leave(&m, 1, read);
    vmshm_window_release(&m, index);
    assert_int_equal(mapped_bytes(path, &writable), 2 * least + 8 * GRANULE);
    vmshm_leave(&m);
    vmshm_leave(&peer);
    assert_int_equal(mapped_bytes(path, &writable), 0);
}

static void a_tool_maps_it_whole(void **state)
{
    const char *path = unit_path(*state, "segment");
    struct vmshm_segment s;
    struct vmshm_error e;
    uint64_t writable;

    assert_int_equal(vmshm_segment_open(path, &s, &e), VMSHM_OK);
    assert_false(s.pieces);
    assert_int_equal(mapped_bytes(path, &writable), s.header.total_bytes);
    assert_int_equal(writable, 0);
    assert_int_equal(vmshm_segment_own(&s, 1, &e), VMSHM_OK);
    (void) mapped_bytes(path, &writable);
    assert_int_equal(writable, UNIT_SECTION);
    vmshm_segment_close(&s);
    assert_int_equal(mapped_bytes(path, &writable), 0);
}

/* Pages larger than a window's unit: whole, and what is mapped is given back in whole pages. */
static void huge_pages_are_given_back(void **state)
{
    const char *path = unit_path(*state, "segment");
    struct vmshm_member m;
    struct vmshm_error e;
    struct vmshm_segment s;
    uint64_t writable, offset;

    huge_bytes = 2 * UNIT_MIB;
    assert_int_equal(vmshm_segment_open(path, &s, &e), VMSHM_OK);
    /* Nothing is left of the look at the header. */
    assert_int_equal(mapped_bytes(path, &writable), s.header.total_bytes);
    vmshm_segment_close(&s);
    assert_int_equal(mapped_bytes(path, &writable), 0);
    unit_join(*state, 0, "boot", &m);
    assert_false(m.segment.pieces);
    assert_int_equal(mapped_bytes(path, &writable), m.segment.header.total_bytes);
    unit_alloc(&m, 2 * GRANULE, &offset);
    memset(vmshm_at(&m, offset), 1, 2 * GRANULE);
    vmshm_leave(&m);
    assert_int_equal(mapped_bytes(path, &writable), 0);
    huge_bytes = 0;
}

/* What is mapped after the start, own and of a peer. */
static void grow_and_read(void *dir, struct vmshm_member *m, struct vmshm_member *peer,
                          void (*limit)(bool))
{
    struct vmshm_window w;
    struct vmshm_error e;
    uint64_t theirs, own;
    uint32_t read;

    unit_join(dir, 1, "tooth", peer);
    read = unit_alloc(peer, 8 * GRANULE, &theirs);
    memset(vmshm_at(peer, theirs), 0x5a, 8 * GRANULE);
    unit_join(dir, 0, "boot", m);
    limit(true);
    assert_true(vmshm_reader_enter(m, 1, peer->slot, read, &w, &e));
    (void) unit_alloc(m, 2 * GRANULE, &own);
    limit(false);
    assert_int_equal(*((volatile uint8_t *) vmshm_at(m, theirs) + 8 * GRANULE - 1), 0x5a);
    *((volatile uint8_t *) vmshm_at(m, own) + 2 * GRANULE - 1) = 1;
    vmshm_reader_leave(m, 1, read);
    assert_true(vmshm_reader_enter(m, 1, peer->slot, read, &w, &e));
}

static void leave_both(const char *path, struct vmshm_member *m, struct vmshm_member *peer)
{
    uint64_t writable;

    vmshm_leave(m);
    vmshm_leave(peer);
    assert_int_equal(mapped_bytes(path, &writable), 0);
}

static void no_mmap(bool on)
{
    mmap_errno = on ? EAGAIN : 0;
}

/* As the kernel refuses it with mlockall(MCL_FUTURE) and a small RLIMIT_MEMLOCK. */
static void nothing_is_mapped_after_the_start(void **state)
{
    struct vmshm_member m, peer;

    grow_and_read(*state, &m, &peer, no_mmap);
    assert_true(m.segment.pieces);
    leave_both(unit_path(*state, "segment"), &m, &peer);
}

static void no_split(bool on)
{
    splits_refused = on;
}

/* As the kernel refuses it at vm.max_map_count. */
static void too_many_pieces_become_one(void **state)
{
    struct vmshm_member m, peer;
    uint64_t writable;

    grow_and_read(*state, &m, &peer, no_split);
    assert_false(m.segment.pieces);
    (void) mapped_bytes(unit_path(*state, "segment"), &writable);
    assert_int_equal(writable, GRANULE + 8 * GRANULE + UNIT_SECTION);
    leave_both(unit_path(*state, "segment"), &m, &peer);
}

/* What this process may not do is not told as the peer's fault, and leaves nothing behind. */
static void an_own_limit_is_not_the_peers_fault(void **state)
{
    struct vmshm_member m, peer;
    struct vmshm_error e;
    struct vmshm_window w;
    uint64_t offset;
    uint32_t read;

    unit_join(*state, 1, "tooth", &peer);
    read = unit_alloc(&peer, 8 * GRANULE, &offset);
    unit_join(*state, 0, "boot", &m);
    mprotect_errno = ENOMEM;
    assert_false(vmshm_reader_enter(&m, 1, peer.slot, read, &w, &e));
    assert_int_equal(e.code, VMSHM_ERR_MAP);
    assert_non_null(strstr(e.detail, "vm.max_map_count"));
    assert_int_equal(vmshm_reader_find(&m, 1, peer.slot, offset, 8, &w, &e), VMSHM_NO_WINDOW);
    assert_int_equal(e.code, VMSHM_ERR_MAP);
    assert_int_equal(vmshm_window_alloc(&m, GRANULE, VMSHM_KIND_PRIVATE, &read, &offset, &e), VMSHM_ERR_MAP);
    mprotect_errno = 0;
    assert_int_equal(vmshm_reader_row_of(&m.segment, 0, m.slot)[1], 0);
    assert_false(vmshm_reader_enter(&m, 1, peer.slot, 63, &w, &e));
    assert_int_equal(e.code, VMSHM_ERR_PEER);
    vmshm_leave(&m);
    mmap_errno = EAGAIN;
    assert_int_equal(vmshm_segment_open(unit_path(*state, "segment"), &m.segment, &e), VMSHM_ERR_MAP);
    mmap_errno = 0;
    assert_non_null(strstr(e.detail, "RLIMIT_MEMLOCK"));
    vmshm_leave(&peer);
}

/* The kernel module knows whether a process has found a window, not how often. */
static void with_the_module_it_is_left_as_often_as_found(void **state)
{
    struct vmshm_member m, peer;
    struct vmshm_window w;
    struct vmshm_error e;
    uint64_t offset;
    uint32_t read;

    unit_join(*state, 1, "tooth", &peer);
    read = unit_alloc(&peer, 8 * GRANULE, &offset);
    memset(vmshm_at(&peer, offset), 0x5a, 8 * GRANULE);
    unit_join(*state, 0, "boot", &m);
    module_window = (struct vmshm_find) { .index = read, .window_offset = offset, .window_length = 8 * GRANULE };
    module_releases = 0;
    m.segment.managed = true;
    assert_true(vmshm_reader_enter(&m, 1, peer.slot, read, &w, &e));
    assert_int_equal(vmshm_reader_find(&m, 1, peer.slot, offset, 8, &w, &e), read);
    vmshm_reader_leave(&m, 1, read);
    assert_int_equal(module_releases, 0);
    assert_int_equal(*(volatile uint8_t *) vmshm_at(&m, offset), 0x5a);
    vmshm_reader_leave(&m, 1, read);
    assert_int_equal(module_releases, 1);
    vmshm_reader_leave(&m, 1, read);
    assert_int_equal(module_releases, 1);
    /* Another one's at the same place would go with this one. */
    assert_true(vmshm_reader_enter(&m, 1, peer.slot, read, &w, &e));
    module_window.index = read + 1;
    assert_false(vmshm_reader_enter(&m, 1, peer.slot, read + 1, &w, &e));
    assert_int_equal(e.code, VMSHM_ERR_PEER);
    assert_int_equal(module_releases, 2);
    assert_int_equal(*(volatile uint8_t *) vmshm_at(&m, offset), 0x5a);
    m.segment.managed = false;
    vmshm_leave(&m);
    vmshm_leave(&peer);
}

/* One that fails must not have the others fail. */
static int teardown(void **state)
{
    huge_bytes = 0;
    mmap_errno = mprotect_errno = 0;
    splits_refused = false;
    return unit_teardown(state);
}

#define SMALL(test) cmocka_unit_test_setup_teardown(test, unit_setup_segment, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL(a_member_maps_what_it_uses), SMALL(a_tool_maps_it_whole),
        SMALL(huge_pages_are_given_back), SMALL(nothing_is_mapped_after_the_start),
        SMALL(too_many_pieces_become_one), SMALL(an_own_limit_is_not_the_peers_fault),
        SMALL(with_the_module_it_is_left_as_often_as_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
