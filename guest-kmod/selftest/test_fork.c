// SPDX-License-Identifier: GPL-2.0-only
/* Effects of fork, core dumps, madvise() and /proc on a mapping. */
#define _GNU_SOURCE
#include "st.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEY 9
#define RW (PROT_READ | PROT_WRITE)

static void child_looks(void *arg)
{
    SAME(SIGSEGV, st_try_read(arg));
    SAME(SIGSEGV, st_try_write(arg, 1));
}

static void fork_does_not_inherit(void)
{
    struct st_member m, r;
    struct vmshm_alloc w;
    uint8_t *own, *found;

    st_member(&m, KEY);
    st_member(&r, KEY);
    w = st_alloc(&m, VMSHM_GRANULE_BYTES, VMSHM_KIND_PRIVATE);
    st_find(&r, m.about.vm, m.joined.slot, w.index, KEY);
    own = st_map(&m, w.offset, w.length, RW);
    found = st_map(&r, w.offset, w.length, PROT_READ);
    memset(own, 0x41, w.length);
    SAME(0x41, found[0]);
    st_join(st_fork(child_looks, own));
    st_join(st_fork(child_looks, found));
    st_join(st_fork(child_looks, (void *) m.head));
    SAME((uint64_t) -1, st_differs(found, w.length, 0x41));
    SAME(0, st_try_write(own, 0x41));
}

static void child_of_dofork(void *arg)
{
    CHECK(0 != st_try_read(arg));
    CHECK(0 != st_try_write(arg, 0x51));
}

static void dofork_does_not_help(void)
{
    struct vmshm_alloc w;
    struct st_member m;
    uint8_t *p;

    st_member(&m, KEY);
    for (uint64_t bytes = VMSHM_GRANULE_BYTES; bytes <= 3 * ST_HUGE;
         bytes += 3 * ST_HUGE - VMSHM_GRANULE_BYTES) {
        w = st_alloc(&m, bytes, VMSHM_KIND_PRIVATE);
        p = st_map(&m, w.offset, w.length, RW);
        memset(p, 0x50, w.length);
        (void) madvise(p, w.length, MADV_DOFORK);
        st_join(st_fork(child_of_dofork, p));
        SAME((uint64_t) -1, st_differs(p, w.length, 0x50));
        CHECK(0 == madvise(p, w.length, MADV_DONTFORK));
        st_join(st_fork(child_looks, p));
        st_release(&m, m.about.vm, w.index);
        SAME(SIGBUS, st_try_read(p));
    }
}

static void any_advice(void)
{
    static const int advices[] = { 0, 1, 2, 3, 4, 8, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                   22, 23, 24, 25, 26, 100, 101, 102, 103, -1 };
    struct vmshm_alloc w;
    struct st_member m;
    uint8_t *p;

    st_member(&m, KEY);
    p = st_aligned(&m, 2, &w, RW);
    memset(p, 0x62, 2 * ST_HUGE);
    for (size_t i = 0; i < sizeof advices / sizeof advices[0]; ++i) {
        if (st_has_pages(&m) && 0 <= advices[i] && advices[i] < 26
            && advices[i] != st_advice((uint64_t) advices[i])) {
            continue;
        }
        (void) madvise(p, 2 * ST_HUGE, advices[i]);
        (void) madvise(p + 3 * ST_PAGE, ST_PAGE, advices[i]);
        SAME((uint64_t) -1, st_differs(p, 2 * ST_HUGE, 0x62));
        memset(p, 0x62, 2 * ST_HUGE);
    }
    FAILS(EINVAL, madvise(p, 2 * ST_HUGE, MADV_DODUMP));
    /* unchanged, except for the advice */
    st_join(st_fork(child_looks, p));
}

static void what_proc_shows(void)
{
    static const char *const names[] = { "maps", "smaps", "smaps_rollup", "numa_maps", "pagemap" };
    struct vmshm_alloc w;
    struct st_member m;
    unsigned char *resident = malloc(ST_HUGE / ST_PAGE);
    static uint8_t buffer[65536];

    st_member(&m, KEY);
    for (int huge = 0; huge < 2; ++huge) {
        uint8_t *p = st_touched(&m, huge, &w);
        int mode;

        for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i) {
            char name[64];
            int fd;

            snprintf(name, sizeof name, "/proc/self/%s", names[i]);
            fd = open(name, O_RDONLY | O_CLOEXEC);
            if (fd < 0) {
                continue;
            }
            if (0 == strcmp(names[i], "pagemap")) {
                uint64_t scan[12] = { sizeof scan, 0, (uintptr_t) p, (uintptr_t) p + ST_HUGE };

                CHECK(0 < pread(fd, buffer, 512 * 8, (off_t) ((uintptr_t) p / ST_PAGE * 8)));
                /* PAGEMAP_SCAN, from Linux 6.7 on: of what is there (8), where there are */
                scan[5] = (uintptr_t) buffer;
                scan[6] = 16;
                scan[10] = scan[11] = 0xff;
                CHECK(0 <= ioctl(fd, _IOWR('f', 16, scan), scan) || ENOTTY == errno);
            } else {
                while (0 < read(fd, buffer, sizeof buffer)) {
                }
            }
            close(fd);
        }
        for (char c = '1'; c < '6'; ++c) {
            const int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

            (void) !write(fd, &c, 1);
            close(fd);
        }
        (void) mincore(p, VMSHM_GRANULE_BYTES, resident);
        (void) mlock(p, VMSHM_GRANULE_BYTES);
        (void) munlock(p, VMSHM_GRANULE_BYTES);
        (void) msync(p, VMSHM_GRANULE_BYTES, MS_SYNC);
        (void) msync(p, VMSHM_GRANULE_BYTES, MS_INVALIDATE);
        (void) syscall(SYS_get_mempolicy, &mode, NULL, 0, p, 3);
        (void) syscall(SYS_mbind, p, VMSHM_GRANULE_BYTES, 0, NULL, 0, 3);
        SAME((uint64_t) -1, st_differs(p, VMSHM_GRANULE_BYTES, 0x66));
        p[0] = 0x66;
    }
    free(resident);
}

/* A pattern that exists only in the memory of the process that dies. */
static const uint8_t half_of_mark[2][8] = { "vmshm-c", "ore-mrk" };

static void dies_with_a_core(void *arg)
{
    struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
    struct vmshm_alloc w;
    struct st_member m;
    uint8_t *ordinary = malloc(VMSHM_GRANULE_BYTES), *p;

    (void) arg;
    getrlimit(RLIMIT_CORE, &all);
    all.rlim_cur = all.rlim_max;
    CHECK(0 == setrlimit(RLIMIT_CORE, &all));
    CHECK(0 == chdir("/tmp"));
    st_member(&m, KEY);
    p = st_touched(&m, 0, &w);
    for (int i = 0; i < 1000; ++i) {
        memcpy(p + i * 32, half_of_mark[0], 8);
        memcpy(p + i * 32 + 8, "in-segmt", 8);
        memcpy(ordinary + i * 32, half_of_mark[1], 8);
        memcpy(ordinary + i * 32 + 8, "ordinary", 8);
    }
    __asm__ volatile("" : : "r"(ordinary) : "memory");
    abort();
}

static void core_without_the_segment(void)
{
    static const char text[] = "in-segmt", plain[] = "ordinary";
    unsigned in_segment = 0, ordinary = 0;
    static uint8_t buffer[1 << 20];
    char name[64];
    size_t n, kept = 0;
    FILE *f;
    pid_t pid = st_fork(dies_with_a_core, NULL);
    const int status = st_wait(pid);

    CHECK(WIFSIGNALED(status) && SIGABRT == WTERMSIG(status));
    snprintf(name, sizeof name, "/tmp/core.%d", (int) pid);
    f = fopen(name, "r");
    if (NULL == f) {
        st_skip("no %s (kernel.core_pattern must be /tmp/core.%%p)", name);
    }
    CHECK(WCOREDUMP(status));
    while (0 < (n = fread(buffer + kept, 1, sizeof buffer - kept, f))) {
        n += kept;
        for (size_t i = 0; i + 16 <= n; ++i) {
            in_segment += 0 == memcmp(buffer + i, half_of_mark[0], 8)
                          && 0 == memcmp(buffer + i + 8, text, 8);
            ordinary += 0 == memcmp(buffer + i, half_of_mark[1], 8)
                        && 0 == memcmp(buffer + i + 8, plain, 8);
        }
        kept = n < 15 ? n : 15;
        memmove(buffer, buffer + n - kept, kept);
    }
    fclose(f);
    unlink(name);
    CHECK(900 < ordinary);
    SAME(0, in_segment);
}

static const struct st_test tests[] = {
    { "fork-does-not-inherit", fork_does_not_inherit },
    { "dofork-does-not-help", dofork_does_not_help },
    { "any-advice", any_advice },
    { "what-proc-shows", what_proc_shows },
    { "core-without-the-segment", core_without_the_segment },
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    return st_main(argc, argv, tests, 30);
}
