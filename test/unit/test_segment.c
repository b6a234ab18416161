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

#define GRANULE VMSHM_GRANULE_BYTES

/* Calls of the library end here: a file may be taken for one of hugetlbfs, which takes back whole pages
 * only. */
static uint64_t huge_bytes;

int __real_fstatfs(int fd, struct statfs *fs);
int __wrap_fstatfs(int fd, struct statfs *fs);
int __real_munmap(void *at, size_t bytes);
int __wrap_munmap(void *at, size_t bytes);

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

/* Bytes of the file that this process has mapped, and of these the ones that it may write. */
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
            sum += to - from;
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
    assert_true(vmshm_reader_enter(&m, 1, peer.slot, read, &w));
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

#define SMALL(test) cmocka_unit_test_setup_teardown(test, unit_setup_segment, unit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL(a_member_maps_what_it_uses), SMALL(a_tool_maps_it_whole),
        SMALL(huge_pages_are_given_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
