// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls and mappings at random, with arguments that are right, wrong by a little, or nonsense.
 *
 *     test_fuzz [--seed N] [--seconds N | --calls N] [--processes N] [--threads N]
 *
 * With one process, one thread and --calls a seed always gives the same run: the last line has a digest
 * of all results to compare. At the end each process looks at its private windows (they must be as it
 * wrote them), leaves and looks whether all its memory is free.
 */
#define _GNU_SOURCE
#include "st.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEY 7
#define RW (PROT_READ | PROT_WRITE)
#define OWN_MAX 24
#define MAPS_MAX 48

struct own {
    struct vmshm_alloc window;
    uint8_t tag;                /* 0: free entry */
    bool busy;                  /* a thread releases or fills it */
};

struct map {
    uint8_t *at;
    uint64_t bytes;
};

/* A process. Its threads share the file and this state. */
struct fuzz {
    struct st_member m;
    pthread_mutex_t lock;
    struct own own[OWN_MAX];
    struct map maps[MAPS_MAX];
    unsigned next_tag;
    unsigned process;
};

static uint64_t seed = 1, end_ms, calls_max = UINT64_MAX;
static unsigned seconds = 5, processes = 2, threads = 3;
static uint64_t digest = VMSHM_FNV_START;
static uint64_t calls_made;

/* ---------------------------------------------------------------- arguments */

static uint64_t pick(uint64_t *r, uint64_t below)
{
    return st_random(r) % below;
}

/* A number near a meaningful one, or any number. */
static uint64_t number(uint64_t *r, uint64_t good)
{
    static const uint64_t edges[] = { 0, 1, 63, 64, 4095, 4096, 65535, 65536, 65537, 0x1fffff,
                                      0x200000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff,
                                      0x100000000, 0x7fffffffffffffff, 0x8000000000000000,
                                      0xffffffffffff0000, 0xfffffffffffffffe, 0xffffffffffffffff };

    switch (pick(r, 8)) {
    case 0:
        return edges[pick(r, sizeof edges / sizeof edges[0])];
    case 1:
        return good + pick(r, 3) - 1;
    case 2:
        return st_random(r) >> pick(r, 64);
    default:
        return good;
    }
}

static uint64_t offset_of_something(struct fuzz *f, uint64_t *r)
{
    const uint32_t vm = (uint32_t) pick(r, f->m.header.vms);
    const struct vmshm_section_entry *e = st_entry(&f->m, vm);

    switch (pick(r, 4)) {
    case 0:
        return f->own[pick(r, OWN_MAX)].window.offset + pick(r, 3) * ST_PAGE;
    case 1:
        return e->offset + vmshm_heap_offset(&f->m.header) + pick(r, 64) * VMSHM_GRANULE_BYTES;
    case 2:
        return e->offset + e->open_offset + pick(r, 64) * VMSHM_GRANULE_BYTES;
    default:
        return pick(r, 2) ? e->offset + pick(r, 600) * ST_PAGE
                          : pick(r, f->m.about.total_bytes / ST_PAGE) * ST_PAGE;
    }
}

static void *pointer(uint64_t *r, void *good)
{
    switch (pick(r, 24)) {
    case 0:
        return NULL;
    case 1:
        return (void *) (uintptr_t) (st_random(r) >> pick(r, 64) & ~UINT64_C(0xfff));
    default:
        return good;
    }
}

/* ---------------------------------------------------------------- what is done */

/* Add a result to the digest, if it depends only on the seed. */
static void note(unsigned what, int rc)
{
    const uint32_t result[2] = { what, 0 == rc ? 0 : (uint32_t) errno };

    digest = vmshm_fnv1a(digest, result, sizeof result);
}

static struct map *map_slot(struct fuzz *f, uint64_t *r)
{
    return &f->maps[pick(r, MAPS_MAX)];
}

static void keep_map(struct fuzz *f, uint64_t *r, uint8_t *p, uint64_t bytes)
{
    struct map *m = map_slot(f, r);

    pthread_mutex_lock(&f->lock);
    if (NULL != m->at) {
        munmap(m->at, m->bytes);
    }
    *m = (struct map) { .at = p, .bytes = bytes };
    pthread_mutex_unlock(&f->lock);
}

static void fill(struct fuzz *f, const struct vmshm_alloc *w, uint8_t tag)
{
    uint8_t *p = st_map(&f->m, w->offset, w->length, RW);
    const int64_t at = st_differs(p, w->length, 0);

    /* An open one may have been found, and its first byte written, by another process by now. */
    if (0 <= at && !(VMSHM_KIND_OPEN == w->kind && 0 == at && 1 == p[0])) {
        st_fail(__FILE__, __LINE__, "byte %lld of the new window %u is %#x", (long long) at,
                w->index, p[at]);
    }
    memset(p, tag, w->length);
    munmap(p, w->length);
}

static void check_own(struct fuzz *f, const struct own *o)
{
    uint8_t *p = st_map(&f->m, o->window.offset, o->window.length, PROT_READ);
    const int64_t at = st_differs(p, o->window.length, o->tag);

    if (VMSHM_KIND_PRIVATE == o->window.kind && 0 <= at) {
        st_fail(__FILE__, __LINE__, "process %u: byte %lld of its window %u is %#x, not %#x",
                f->process, (long long) at, o->window.index, p[at], o->tag);
    }
    munmap(p, o->window.length);
}

static void do_alloc(struct fuzz *f, uint64_t *r)
{
    struct vmshm_alloc a = { .kind = (uint32_t) number(r, pick(r, 2)) };
    struct own *o = &f->own[pick(r, OWN_MAX)];
    int rc;

    a.bytes = number(r, 1 + pick(r, pick(r, 4) ? 300000 : 5000000));
    a.flags = 0 == pick(r, 20) ? (uint32_t) st_random(r) : 0;
    a.reserved = 0 == pick(r, 20) ? (uint32_t) st_random(r) : 0;
    pthread_mutex_lock(&f->lock);
    if (0 != o->tag) {
        /* do not allocate a window without a free entry to remember it */
        pthread_mutex_unlock(&f->lock);
        return;
    }
    rc = st_ioctl(f->m.fd, VMSHM_IOC_ALLOC, &a);
    note(1, rc);
    if (0 == rc) {
        o->window = a;
        o->tag = (uint8_t) (1 + f->next_tag++ % 255);
        fill(f, &a, o->tag);
    }
    pthread_mutex_unlock(&f->lock);
}

static void do_release_own(struct fuzz *f, uint64_t *r)
{
    struct own *o = &f->own[pick(r, OWN_MAX)];

    pthread_mutex_lock(&f->lock);
    if (0 != o->tag) {
        check_own(f, o);
        note(2, st_try_release(&f->m, f->m.about.vm, o->window.index));
        /* if this process has found it, too, it would stay in quarantine */
        note(2, st_try_release(&f->m, f->m.about.vm, o->window.index));
        o->tag = 0;
    }
    pthread_mutex_unlock(&f->lock);
}

static void do_release_other(struct fuzz *f, uint64_t *r)
{
    struct vmshm_release a = { .vm = (uint32_t) number(r, 1 - f->m.about.vm),
                               .index = (uint32_t) number(r, pick(r, 32)) };

    if (a.vm != f->m.about.vm) {
        note(3, st_ioctl(f->m.fd, VMSHM_IOC_RELEASE, pointer(r, &a)));
    }
}

static void do_find(struct fuzz *f, uint64_t *r)
{
    struct vmshm_find a = { .vm = (uint32_t) number(r, pick(r, f->m.header.vms)),
                            .slot = (uint32_t) number(r, pick(r, f->m.header.procs)),
                            .index = pick(r, 4) ? (uint32_t) number(r, pick(r, 32))
                                                : VMSHM_ANY_WINDOW };
    const unsigned what = (unsigned) pick(r, 4);
    uint8_t *p;
    int rc;

    if (1 == processes * threads && a.slot < f->m.header.procs) {
        /* the slot number depends on what ran before */
        a.slot = f->m.joined.slot;
    }
    a.offset = number(r, offset_of_something(f, r));
    a.length = number(r, ST_PAGE);
    a.flags = 0 == pick(r, 20) ? (uint32_t) st_random(r) : 0;
    st_key(a.job, 0 == pick(r, 8) ? 9 : KEY);
    rc = st_ioctl(f->m.fd, VMSHM_IOC_FIND, &a);
    note(4, rc);
    if (0 != rc) {
        return;
    }
    if (!vmshm_range_inside(a.window_offset, a.window_length, st_entry(&f->m, a.vm)->offset,
                            st_entry(&f->m, a.vm)->length)) {
        st_fail(__FILE__, __LINE__, "found a window outside of VM %u", a.vm);
    }
    p = st_try_map(&f->m, a.window_offset, a.window_length,
                   VMSHM_KIND_OPEN == a.kind ? RW : PROT_READ);
    if (NULL == p) {
        /* released meanwhile by another thread */
        CHECK(1 < threads && EACCES == errno);
        return;
    }
    (void) st_try_read(p + a.window_length - 1);
    if (VMSHM_KIND_OPEN == a.kind) {
        (void) st_try_write(p, 1);
    } else if (0 == mprotect(p, ST_PAGE, RW)
               && !(a.vm == f->m.about.vm && a.slot == f->m.joined.slot)) {
        st_fail(__FILE__, __LINE__, "a private window could be made writable");
    }
    if (0 == what) {
        keep_map(f, r, p, a.window_length);
    } else {
        munmap(p, a.window_length);
    }
    if (2 < what && !(a.vm == f->m.about.vm && a.slot == f->m.joined.slot)) {
        (void) st_try_release(&f->m, a.vm, a.index);
    }
}

static void do_map(struct fuzz *f, uint64_t *r)
{
    static const int flags[] = { MAP_SHARED, MAP_SHARED, MAP_SHARED, MAP_PRIVATE,
                                 MAP_SHARED | MAP_POPULATE, MAP_SHARED | MAP_LOCKED,
                                 MAP_SHARED_VALIDATE | MAP_SYNC, MAP_SHARED | MAP_GROWSDOWN,
                                 MAP_SHARED | MAP_NORESERVE };
    const int prot = (int) pick(r, 8), flag = flags[pick(r, sizeof flags / sizeof flags[0])];
    const uint64_t offset = number(r, offset_of_something(f, r));
    const uint64_t bytes = number(r, (1 + pick(r, 40)) * ST_PAGE) % (UINT64_C(1) << 34);
    uint8_t *p = mmap(NULL, bytes, prot, flag, f->m.fd, (off_t) offset);

    note(5, MAP_FAILED == (void *) p ? -1 : 0);
    if (MAP_FAILED != (void *) p) {
        if (MAP_PRIVATE == flag || prot & PROT_EXEC) {
            st_fail(__FILE__, __LINE__, "mmap with flags %#x and prot %d worked", (unsigned) flag,
                    prot);
        }
        (void) st_try_read(p);
        keep_map(f, r, p, bytes);
    }
}

static void do_change_map(struct fuzz *f, uint64_t *r)
{
    struct map *m = map_slot(f, r);
    const uint64_t place = st_random(r), bytes = (1 + pick(r, 20)) * ST_PAGE, what = pick(r, 6);
    const uint64_t detail = st_random(r);
    uint64_t at;
    void *p;

    pthread_mutex_lock(&f->lock);
    if (NULL == m->at) {
        pthread_mutex_unlock(&f->lock);
        return;
    }
    at = place % (m->bytes / ST_PAGE + 1) * ST_PAGE;
    switch (what) {
    case 0:
        munmap(m->at, m->bytes);
        m->at = NULL;
        break;
    case 1:
        /* Keep the hole reserved: otherwise another thread's mapping could get there and be unmapped with this. */
        if (0 < at && at + bytes <= m->bytes) {
            (void) mmap(m->at + at, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                        0);
        }
        break;
    case 2:
        if (at + bytes <= m->bytes) {
            (void) mprotect(m->at + at, bytes, (int) (detail % 4));
        }
        break;
    case 3:
        if (at + bytes <= m->bytes) {
            (void) madvise(m->at + at, bytes, st_advice(detail));
        }
        break;
    case 4:
        p = mremap(m->at, m->bytes, m->bytes, MREMAP_MAYMOVE);
        if (MAP_FAILED != p) {
            m->at = p;
        }
        break;
    default:
        p = mremap(m->at, m->bytes, m->bytes + bytes, MREMAP_MAYMOVE);
        if (MAP_FAILED != p) {
            st_fail(__FILE__, __LINE__, "a mapping grew");
        }
        break;
    }
    pthread_mutex_unlock(&f->lock);
}

static void do_touch(struct fuzz *f, uint64_t *r)
{
    struct map *m = map_slot(f, r);
    const uint64_t place = st_random(r);
    uint8_t *p;
    uint64_t bytes;

    pthread_mutex_lock(&f->lock);
    p = m->at;
    bytes = m->bytes;
    pthread_mutex_unlock(&f->lock);
    /* There may be another mapping by now. */
    if (NULL != p) {
        (void) st_try_read(p + place % bytes);
    }
}

static void do_small(struct fuzz *f, uint64_t *r)
{
    struct vmshm_publish publish = { .index = (uint32_t) number(r, f->own[pick(r, OWN_MAX)]
                                                                       .window.index),
                                     .reserved = pick(r, 16) ? 0 : 1 };
    struct vmshm_ring_bell ring = { (uint32_t) number(r, pick(r, 2)),
                                    (uint32_t) number(r, pick(r, 16)) };
    struct vmshm_count count = { st_random(r) >> 32, st_random(r) >> 32 };
    struct vmshm_wait wait = { .timeout_ns = pick(r, 2000000), .flags = pick(r, 16) ? 0 : 1 };
    struct vmshm_join join = { .flags = pick(r, 2) ? 0 : 1 };
    struct pollfd poll_in = { .fd = f->m.fd, .events = POLLIN };
    struct vmshm_describe about;

    switch (pick(r, 8)) {
    case 0:
        note(6, st_ioctl(f->m.fd, VMSHM_IOC_PUBLISH, pointer(r, &publish)));
        break;
    case 1:
        note(7, st_ioctl(f->m.fd, VMSHM_IOC_RING, pointer(r, &ring)));
        break;
    case 2:
        note(8, st_ioctl(f->m.fd, VMSHM_IOC_COUNT, pointer(r, &count)));
        break;
    case 3:
        (void) st_ioctl(f->m.fd, VMSHM_IOC_WAIT, pointer(r, &wait));
        break;
    case 4:
        FAILS(join.flags ? EINVAL : EISCONN,
              (st_key(join.job, KEY), st_ioctl(f->m.fd, VMSHM_IOC_JOIN, &join)));
        break;
    case 5:
        note(9, st_ioctl(f->m.fd, VMSHM_IOC_DESCRIBE, pointer(r, &about)));
        break;
    case 6:
        (void) poll(&poll_in, 1, 0);
        break;
    default:
        /* any request number with a wild pointer must fail or do no harm */
        {
            const unsigned long request = _IOC(pick(r, 4), 'V', 0x40 + pick(r, 16),
                                               pick(r, 2) ? pick(r, 128) : pick(r, 16384));

            if (VMSHM_IOC_LEAVE != request) {
                (void) ioctl(f->m.fd, request, (void *) (uintptr_t) (st_random(r) & ~0xfffUL));
            }
        }
        break;
    }
}

/* Open a second file in the process for a moment. */
static void do_second_file(struct fuzz *f, uint64_t *r)
{
    struct vmshm_join join = { .name = 3 };
    struct vmshm_alloc a = { .bytes = 1 + pick(r, 200000) };
    const int fd = open(st_path(), (int[4]) { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR }[pick(r, 4)]
                        | O_CLOEXEC);

    (void) f;
    CHECK(0 <= fd);
    st_key(join.job, KEY);
    if (0 == st_ioctl(fd, VMSHM_IOC_JOIN, &join) && 0 == st_ioctl(fd, VMSHM_IOC_ALLOC, &a)) {
        uint8_t *p = mmap(NULL, a.length, RW, MAP_SHARED, fd, (off_t) a.offset);

        if (MAP_FAILED != (void *) p) {
            SAME(0, p[a.length - 1]);
            memset(p, 0xf2, a.length);
            if (pick(r, 2)) {
                munmap(p, a.length);
            } else {
                keep_map(f, r, p, a.length);
            }
        }
        if (pick(r, 2)) {
            (void) st_ioctl(fd, VMSHM_IOC_LEAVE, NULL);
        }
    }
    close(fd);
}

static void do_fork(struct fuzz *f, uint64_t *r)
{
    const uint64_t n = pick(r, 3);
    pid_t pid;

    pid = fork();
    CHECK(0 <= pid);
    if (0 == pid) {
        struct vmshm_alloc a = { .bytes = 1 };

        if (1 == n) {
            _exit(-1 == st_ioctl(f->m.fd, VMSHM_IOC_ALLOC, &a) && EPERM == errno ? 0 : 9);
        }
        _exit(-1 == st_ioctl(f->m.fd, VMSHM_IOC_LEAVE, NULL) && EPERM == errno ? 0 : 9);
    }
    SAME(0, st_wait(pid));
}

static void one(struct fuzz *f, uint64_t *r)
{
    const uint64_t what = pick(r, 100);

    if (what < 12) {
        do_alloc(f, r);
    } else if (what < 22) {
        do_release_own(f, r);
    } else if (what < 27) {
        do_release_other(f, r);
    } else if (what < 45) {
        do_find(f, r);
    } else if (what < 60) {
        do_map(f, r);
    } else if (what < 75) {
        do_change_map(f, r);
    } else if (what < 85) {
        do_touch(f, r);
    } else if (what < 97) {
        do_small(f, r);
    } else if (what < 99) {
        do_second_file(f, r);
    } else {
        do_fork(f, r);
    }
}

/* ---------------------------------------------------------------- runs */

struct thread {
    struct fuzz *f;
    unsigned number;
};

static void *run_thread(void *arg)
{
    const struct thread *t = arg;
    uint64_t r = seed * 1000003 + t->f->process * 101 + t->number, n = 0;

    while (n < calls_max && (UINT64_MAX != calls_max || st_now_ms() < end_ms)) {
        one(t->f, &r);
        ++n;
    }
    __atomic_fetch_add(&calls_made, n, __ATOMIC_RELAXED);
    return NULL;
}

static void run_process(unsigned number)
{
    static struct fuzz f = { .lock = PTHREAD_MUTEX_INITIALIZER };
    struct thread t[64];
    pthread_t ids[64];
    unsigned live = 0;

    f.process = number;
    f.next_tag = number * 50;
    st_member(&f.m, KEY);
    for (unsigned i = 0; i < threads; ++i) {
        t[i] = (struct thread) { .f = &f, .number = i };
        if (0 < i) {
            CHECK(0 == pthread_create(&ids[i], NULL, run_thread, &t[i]));
        }
    }
    run_thread(&t[0]);
    for (unsigned i = 1; i < threads; ++i) {
        CHECK(0 == pthread_join(ids[i], NULL));
    }
    for (unsigned i = 0; i < OWN_MAX; ++i) {
        if (0 != f.own[i].tag) {
            check_own(&f, &f.own[i]);
            ++live;
        }
    }
    SAME(VMSHM_PROC_LIVE, st_proc(&f.m, f.m.about.vm, f.m.joined.slot)->state);
    SAME(f.m.joined.nonce, st_proc(&f.m, f.m.about.vm, f.m.joined.slot)->nonce);
    for (unsigned i = 0; i < OWN_MAX; ++i) {
        if (0 != f.own[i].tag) {
            const struct vmshm_window *w = st_window(&f.m, f.m.about.vm, f.own[i].window.index);

            SAME(VMSHM_WINDOW_LIVE, w->state);
            SAME(f.own[i].window.offset, w->offset);
            SAME(f.own[i].window.length, w->length);
            SAME(f.m.joined.slot, w->proc);
        }
    }
    st_leave(&f.m);
    SAME(VMSHM_PROC_LEFT, st_proc(&f.m, f.m.about.vm, f.m.joined.slot)->state);
    for (uint32_t i = 0; i < f.m.header.windows; ++i) {
        const struct vmshm_window *w = st_window(&f.m, f.m.about.vm, i);

        CHECK(VMSHM_WINDOW_LIVE != w->state || f.m.joined.slot != w->proc);
    }
    printf("# process %u: %llu calls, %u windows at the end, digest %016llx\n", number,
           (unsigned long long) calls_made, live, (unsigned long long) digest);
}

static void run(void)
{
    pid_t pids[64];
    bool good = true;

    end_ms = st_now_ms() + seconds * 1000;
    for (unsigned i = 0; i < processes; ++i) {
        fflush(stdout);
        pids[i] = fork();
        CHECK(0 <= pids[i]);
        if (0 == pids[i]) {
            run_process(i);
            fflush(stdout);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < processes; ++i) {
        const int status = st_wait(pids[i]);

        if (0 != status) {
            printf("# process %u ended with status %#x\n", i, (unsigned) status);
            good = false;
        }
    }
    CHECK(good);
}

static bool all_is_free(void *arg)
{
    const struct st_member *m = arg;

    return 0 == st_used(m);
}

/* After all processes have ended nothing is held, unless another VM still reads it. */
static void memory_is_free(void)
{
    struct st_member m;

    st_member(&m, KEY);
    if (!st_until(all_is_free, &m, (seconds + 5) * 1000)) {
        st_fail(__FILE__, __LINE__, "%llu bytes are not free", (unsigned long long) st_used(&m));
    }
}

static unsigned long long option(int argc, char **argv, const char *name, unsigned long long value)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        if (0 == strcmp(argv[i], name)) {
            value = strtoull(argv[i + 1], NULL, 0);
        }
    }
    return value;
}

int main(int argc, char **argv)
{
    static const struct st_test tests[] = {
        { "fuzz", run }, { "fuzz-leaves-nothing", memory_is_free }, { NULL, NULL },
    };

    seed = option(argc, argv, "--seed", (unsigned long long) time(NULL) * 1000 + getpid() % 1000);
    seconds = (unsigned) option(argc, argv, "--seconds", seconds);
    calls_max = option(argc, argv, "--calls", calls_max);
    processes = (unsigned) option(argc, argv, "--processes", processes);
    threads = (unsigned) option(argc, argv, "--threads", threads);
    if (0 == processes || 64 < processes || 0 == threads || 64 < threads) {
        fprintf(stderr, "test_fuzz: 1 to 64 processes and threads\n");
        return 2;
    }
    printf("# --seed %llu --processes %u --threads %u\n", (unsigned long long) seed, processes,
           threads);
    return st_main(1, argv, tests, seconds + 60);
}
