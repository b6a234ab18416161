// SPDX-License-Identifier: GPL-2.0-only
/* Every call with all kinds of wrong arguments, and from processes that may not call it. */
#define _GNU_SOURCE
#include "st.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#define KEY 1

union argument {
    struct vmshm_describe describe;
    struct vmshm_join join;
    struct vmshm_alloc alloc;
    struct vmshm_find find;
    struct vmshm_release release;
    struct vmshm_publish publish;
    struct vmshm_ring_bell ring;
    struct vmshm_count count;
    struct vmshm_wait wait;
    uint8_t bytes[16384];
};

struct call {
    const char *name;
    unsigned long request;
    bool member;                /* only for members */
};

static const struct call calls[] = {
    { "DESCRIBE", VMSHM_IOC_DESCRIBE, false }, { "JOIN", VMSHM_IOC_JOIN, false },
    { "LEAVE", VMSHM_IOC_LEAVE, true },        { "ALLOC", VMSHM_IOC_ALLOC, true },
    { "FIND", VMSHM_IOC_FIND, true },          { "RELEASE", VMSHM_IOC_RELEASE, true },
    { "PUBLISH", VMSHM_IOC_PUBLISH, true },    { "RING", VMSHM_IOC_RING, true },
    { "COUNT", VMSHM_IOC_COUNT, true },        { "WAIT", VMSHM_IOC_WAIT, false },
};
#define CALLS (sizeof calls / sizeof calls[0])

/* Arguments with which the call succeeds, or fails only for the reason that the test sets up. */
static void good(const struct st_member *m, unsigned long request, union argument *a)
{
    memset(a, 0, sizeof *a);
    switch (request) {
    case VMSHM_IOC_JOIN:
        st_key(a->join.job, KEY);
        break;
    case VMSHM_IOC_ALLOC:
        a->alloc.bytes = 1;
        break;
    case VMSHM_IOC_FIND:
        a->find.vm = m->about.vm;
        a->find.slot = m->joined.slot;
        st_key(a->find.job, KEY);
        break;
    case VMSHM_IOC_RELEASE:
        a->release.vm = m->about.vm;
        break;
    case VMSHM_IOC_RING:
        a->ring.vm = m->about.vm;
        break;
    default:
        break;
    }
}

static void refused(const struct call *c, int fd, void *arg, int error, const char *what)
{
    const int rc = st_ioctl(fd, c->request, arg);

    if (-1 != rc || error != errno) {
        st_fail(__FILE__, __LINE__, "%s %s: expected %s, got %s", c->name, what, st_errno(error),
                -1 == rc ? st_errno(errno) : "success");
    }
}

/* ---------------------------------------------------------------- which call */

static void unknown_of(int fd)
{
    static union argument a;

    for (unsigned nr = 0; nr < 256; ++nr) {
        for (unsigned dir = 0; dir < 4; ++dir) {
            static const unsigned sizes[] = { 0, 1, 4, 8, 16, 24, 32, 40, 56, 64, 72, 80, 96, 4096,
                                              16383 };

            for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; ++s) {
                const unsigned long request = _IOC(dir, 'V', nr, sizes[s]);
                bool known = false;

                for (size_t c = 0; c < CALLS; ++c) {
                    known |= calls[c].request == request;
                }
                if (!known && (-1 != ioctl(fd, request, &a) || ENOTTY != errno)) {
                    st_fail(__FILE__, __LINE__, "ioctl %#lx: expected ENOTTY, got %s", request,
                            st_errno(errno));
                }
            }
        }
    }
    /* other drivers' */
    FAILS(ENOTTY, ioctl(fd, 0x5401, &a));               /* TCGETS */
    FAILS(ENOTTY, ioctl(fd, _IOWR('U', 0x41, struct vmshm_join), &a));
    FAILS(ENOTTY, ioctl(fd, (unsigned long) 0x7fffffff, &a));
}

static void unknown_calls_as_member(void)
{
    struct st_member m;

    st_member(&m, KEY);
    unknown_of(m.fd);
}

static void unknown_calls_not_joined(void)
{
    unknown_of(st_open(O_RDWR));
}

static void not_joined(void)
{
    union argument a;
    struct st_member m;

    st_visitor(&m);
    for (size_t c = 0; c < CALLS; ++c) {
        if (calls[c].member) {
            good(&m, calls[c].request, &a);
            refused(&calls[c], m.fd, &a, ENOTCONN, "before the join");
        }
    }
    st_join_job(&m, KEY);
    st_leave(&m);
    for (size_t c = 0; c < CALLS; ++c) {
        if (calls[c].member) {
            good(&m, calls[c].request, &a);
            refused(&calls[c], m.fd, &a, ENOTCONN, "after the leave");
        }
    }
}

static void joined_twice(void)
{
    struct st_member m;
    struct vmshm_join again = { 0 };

    st_member(&m, KEY);
    st_key(again.job, KEY);
    FAILS(EISCONN, st_ioctl(m.fd, VMSHM_IOC_JOIN, &again));
    SAME(VMSHM_PROC_LIVE, st_proc(&m, m.about.vm, m.joined.slot)->state);
    st_alloc(&m, 1, VMSHM_KIND_PRIVATE);
}

static void read_only_file(void)
{
    struct vmshm_join j = { 0 };
    struct vmshm_describe d;
    struct vmshm_wait w = { 0 };
    const int fd = st_open(O_RDONLY);

    st_key(j.job, KEY);
    FAILS(EBADF, st_ioctl(fd, VMSHM_IOC_JOIN, &j));
    CHECK(0 == st_ioctl(fd, VMSHM_IOC_DESCRIBE, &d));
    SAME(VMSHM_UAPI_VERSION, d.uapi);
    CHECK(0 == st_ioctl(fd, VMSHM_IOC_WAIT, &w) || ETIMEDOUT == errno);
}

static void write_only_file(void)
{
    struct vmshm_join j = { 0 };
    struct vmshm_alloc a = { .bytes = 1 };
    const int fd = st_open(O_WRONLY);

    st_key(j.job, KEY);
    CHECK(0 == st_ioctl(fd, VMSHM_IOC_JOIN, &j));
    CHECK(0 == st_ioctl(fd, VMSHM_IOC_ALLOC, &a));
    CHECK(MAP_FAILED == mmap(NULL, a.length, PROT_READ, MAP_SHARED, fd, (off_t) a.offset));
    SAME(EACCES, errno);
}

/* ---------------------------------------------------------------- pointers */

/* The argument lies on these pages, at their start or so that its last byte is on the next. */
static void pointers_of(const struct st_member *m, const struct call *c, uint8_t *pages)
{
    const size_t size = _IOC_SIZE(c->request);
    const bool writes = 0 != (_IOC_DIR(c->request) & _IOC_READ);
    union argument a;

    if (0 == size) {
        return;
    }
    refused(c, m->fd, NULL, EFAULT, "NULL");
    refused(c, m->fd, (void *) 1, EFAULT, "at 1");
    refused(c, m->fd, (void *) 0xffff888000000000UL, EFAULT, "kernel memory");
    refused(c, m->fd, (void *) 0xffffffffff600000UL, EFAULT, "vsyscall page");
    refused(c, m->fd, (void *) (UINTPTR_MAX - 7), EFAULT, "the end of all");
    refused(c, m->fd, (void *) 0x8000000000000000UL, EFAULT, "not canonical");
    refused(c, m->fd, pages + ST_PAGE, EFAULT, "without access");
    good(m, c->request, &a);
    memcpy(pages + ST_PAGE - size + 1, &a, size - 1);
    refused(c, m->fd, pages + ST_PAGE - size + 1, EFAULT, "the last byte without access");
    if (writes) {
        memcpy(pages, &a, size);
        CHECK(0 == mprotect(pages, ST_PAGE, PROT_READ));
        refused(c, m->fd, pages, EFAULT, "read-only");
        CHECK(0 == mprotect(pages, ST_PAGE, PROT_READ | PROT_WRITE));
    }
}

static void bad_pointers(void)
{
    struct st_member m, other;
    uint8_t *pages = mmap(NULL, 2 * ST_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                          -1, 0);

    CHECK(MAP_FAILED != (void *) pages);
    CHECK(0 == mprotect(pages + ST_PAGE, ST_PAGE, PROT_NONE));
    st_member(&m, KEY);
    /* an event, so that WAIT has something to give */
    st_member(&other, KEY);
    st_sleep_ms(600);
    for (size_t c = 0; c < CALLS; ++c) {
        switch (calls[c].request) {
        case VMSHM_IOC_JOIN:
            st_leave(&m);
            pointers_of(&m, &calls[c], pages);
            /* it may have joined or not, so close the file and start again */
            close(m.fd);
            st_member(&m, KEY);
            break;
        case VMSHM_IOC_FIND:
            SAME(0, st_alloc(&m, 1, VMSHM_KIND_PRIVATE).index);
            pointers_of(&m, &calls[c], pages);
            break;
        case VMSHM_IOC_WAIT:
            st_leave(&other);
            st_sleep_ms(600);
            pointers_of(&m, &calls[c], pages);
            break;
        default:
            pointers_of(&m, &calls[c], pages);
            if (VMSHM_IOC_ALLOC == calls[c].request) {
                st_leave(&m);
                st_join_job(&m, KEY);
            }
            break;
        }
    }
}

/* The compat entry of 32-bit processes; int 0x80 uses it in a 64-bit process, too. */
static void call_of_32_bit(void)
{
    struct vmshm_describe *d = mmap(NULL, ST_PAGE, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    const int fd = st_open(O_RDWR);
    struct vmshm_describe same;
    long rc = 54;                       /* ioctl there */

    CHECK(MAP_FAILED != (void *) d);
    memset(d, 0xff, sizeof *d);
    __asm__ volatile("int $0x80"
                     : "+a"(rc)
                     : "b"((long) fd), "c"((long) VMSHM_IOC_DESCRIBE), "d"(d)
                     : "memory", "r8", "r9", "r10", "r11");
    if (-ENOSYS == rc) {
        st_skip("this kernel has no 32-bit system calls");
    }
    SAME(0, rc);
    CHECK(0 == st_ioctl(fd, VMSHM_IOC_DESCRIBE, &same));
    CHECK(0 == memcmp(&same, d, sizeof same));
}

/* ---------------------------------------------------------------- arguments */

static void reserved_bits(void)
{
    struct st_member m, out;
    union argument a;

    st_member(&m, KEY);
    st_visitor(&out);
    for (unsigned bit = 0; bit < 32; ++bit) {
        const uint32_t one = UINT32_C(1) << bit;

        good(&m, VMSHM_IOC_JOIN, &a);
        a.join.flags = one;
        FAILS(EINVAL, st_ioctl(out.fd, VMSHM_IOC_JOIN, &a));
        good(&m, VMSHM_IOC_ALLOC, &a);
        a.alloc.flags = one;
        FAILS(EINVAL, st_ioctl(m.fd, VMSHM_IOC_ALLOC, &a));
        good(&m, VMSHM_IOC_ALLOC, &a);
        a.alloc.reserved = one;
        FAILS(EINVAL, st_ioctl(m.fd, VMSHM_IOC_ALLOC, &a));
        good(&m, VMSHM_IOC_FIND, &a);
        a.find.flags = one;
        FAILS(EINVAL, st_ioctl(m.fd, VMSHM_IOC_FIND, &a));
        good(&m, VMSHM_IOC_PUBLISH, &a);
        a.publish.reserved = one;
        FAILS(EINVAL, st_ioctl(m.fd, VMSHM_IOC_PUBLISH, &a));
        good(&m, VMSHM_IOC_WAIT, &a);
        a.wait.flags = one;
        FAILS(EINVAL, st_ioctl(m.fd, VMSHM_IOC_WAIT, &a));
    }
    st_all_free(&m);
}

static void join_without_a_key(void)
{
    struct vmshm_join j = { 0 };
    struct st_member m;

    st_visitor(&m);
    FAILS(EINVAL, st_ioctl(m.fd, VMSHM_IOC_JOIN, &j));
    for (unsigned i = 0; i < 16; ++i) {
        memset(j.job, 0, sizeof j.job);
        j.job[i] = 1;
        CHECK(0 == st_ioctl(m.fd, VMSHM_IOC_JOIN, &j));
        st_leave(&m);
        j = (struct vmshm_join) { 0 };
    }
}

static void alloc_arguments(void)
{
    static const uint32_t kinds[] = { 2, 3, 0x10000, 0x80000000, UINT32_MAX };
    struct vmshm_alloc a;
    struct st_member m;
    uint64_t length;

    st_member(&m, KEY);
    length = st_entry(&m, m.about.vm)->length;
    for (uint32_t kind = VMSHM_KIND_PRIVATE; kind <= VMSHM_KIND_OPEN; ++kind) {
        const uint64_t huge[] = { length - ST_MIB, length, length + 1, m.about.total_bytes,
                                  UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX - 65536,
                                  UINT64_MAX - 65535, UINT64_MAX - 65534, UINT64_MAX };

        FAILS(EINVAL, st_try_alloc(&m, 0, kind, &a));
        for (size_t i = 0; i < sizeof huge / sizeof huge[0]; ++i) {
            FAILS(ENOSPC, st_try_alloc(&m, huge[i], kind, &a));
        }
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; ++i) {
        FAILS(EINVAL, st_try_alloc(&m, 1, kinds[i], &a));
    }
    st_all_free(&m);
}

static void find_arguments(void)
{
    static const uint64_t ends[] = { 0, 1, 65536, UINT64_C(1) << 63, UINT64_MAX - 65535,
                                     UINT64_MAX };
    struct vmshm_alloc w;
    struct vmshm_find f;
    struct st_member m;
    uint32_t vm, slot;

    st_member(&m, KEY);
    vm = m.about.vm;
    slot = m.joined.slot;
    w = st_alloc(&m, 1, VMSHM_KIND_PRIVATE);
    FAILS(EINVAL, st_try_find(&m, m.header.vms, slot, w.index, KEY, &f));
    FAILS(EINVAL, st_try_find(&m, VMSHM_MAX_VMS, slot, w.index, KEY, &f));
    FAILS(EINVAL, st_try_find(&m, UINT32_MAX, slot, w.index, KEY, &f));
    FAILS(EINVAL, st_try_find(&m, vm, m.header.procs, w.index, KEY, &f));
    FAILS(EINVAL, st_try_find(&m, vm, UINT32_MAX, w.index, KEY, &f));
    FAILS(EINVAL, st_try_find(&m, vm, slot, m.header.windows, KEY, &f));
    FAILS(EINVAL, st_try_find(&m, vm, slot, 0x80000000, KEY, &f));
    FAILS(EINVAL, st_try_find(&m, vm, slot, UINT32_MAX - 1, KEY, &f));
    FAILS(ENOENT, st_try_find(&m, vm, slot, w.index + 1, KEY, &f));
    FAILS(ENOENT, st_try_find(&m, vm, (slot + 1) % m.header.procs, w.index, KEY, &f));
    FAILS(ENOENT, st_try_find(&m, 1 - vm, slot, m.header.windows - 1, KEY, &f));
    for (size_t o = 0; o < sizeof ends / sizeof ends[0]; ++o) {
        for (size_t l = 0; l < sizeof ends / sizeof ends[0]; ++l) {
            const uint64_t offset = ends[o] < 65537 ? w.offset + ends[o] : ends[o];

            f = (struct vmshm_find) { .vm = vm, .slot = slot, .index = VMSHM_ANY_WINDOW,
                                      .offset = offset, .length = ends[l] };
            st_key(f.job, KEY);
            if (vmshm_range_inside(offset, ends[l], w.offset, w.length)) {
                CHECK(0 == st_ioctl(m.fd, VMSHM_IOC_FIND, &f));
                SAME(w.index, f.index);
            } else {
                FAILS(ENOENT, st_ioctl(m.fd, VMSHM_IOC_FIND, &f));
            }
        }
    }
    /* before it, and over its start */
    f = (struct vmshm_find) { .vm = vm, .slot = slot, .index = VMSHM_ANY_WINDOW,
                              .offset = w.offset - 1, .length = 2 };
    st_key(f.job, KEY);
    FAILS(ENOENT, st_ioctl(m.fd, VMSHM_IOC_FIND, &f));
}

static void release_arguments(void)
{
    struct st_member m, other;
    struct vmshm_alloc own, foreign;

    st_member(&m, KEY);
    st_member(&other, KEY);
    own = st_alloc(&m, 1, VMSHM_KIND_PRIVATE);
    foreign = st_alloc(&other, 1, VMSHM_KIND_PRIVATE);
    FAILS(ENOENT, st_try_release(&m, m.header.vms, own.index));
    FAILS(ENOENT, st_try_release(&m, UINT32_MAX, own.index));
    FAILS(ENOENT, st_try_release(&m, 1 - m.about.vm, own.index));
    FAILS(ENOENT, st_try_release(&m, m.about.vm, m.header.windows));
    FAILS(ENOENT, st_try_release(&m, m.about.vm, UINT32_MAX));
    FAILS(ENOENT, st_try_release(&m, m.about.vm, foreign.index));
    SAME(VMSHM_WINDOW_LIVE, st_window(&m, m.about.vm, foreign.index)->state);
    st_release(&m, m.about.vm, own.index);
    FAILS(ENOENT, st_try_release(&m, m.about.vm, own.index));
    SAME(VMSHM_WINDOW_LIVE, st_window(&m, m.about.vm, foreign.index)->state);
    /* if it was found, too, it can be released once as such, and stays the owner's window */
    st_find(&m, m.about.vm, other.joined.slot, foreign.index, KEY);
    st_find(&m, m.about.vm, other.joined.slot, foreign.index, KEY);
    st_release(&m, m.about.vm, foreign.index);
    FAILS(ENOENT, st_try_release(&m, m.about.vm, foreign.index));
    SAME(VMSHM_WINDOW_LIVE, st_window(&m, m.about.vm, foreign.index)->state);
}

static void publish_arguments(void)
{
    struct st_member m, other;
    struct vmshm_alloc own, foreign;
    struct vmshm_publish p = { 0 };

    st_member(&m, KEY);
    st_member(&other, KEY);
    own = st_alloc(&m, 1, VMSHM_KIND_PRIVATE);
    foreign = st_alloc(&other, 1, VMSHM_KIND_PRIVATE);
    st_release(&m, m.about.vm, own.index);
    const uint32_t bad[] = { own.index, foreign.index, m.header.windows, m.header.windows + 1,
                             UINT32_MAX - 1, UINT32_MAX };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
        p.index = bad[i];
        FAILS(ENOENT, st_ioctl(m.fd, VMSHM_IOC_PUBLISH, &p));
    }
    SAME(UINT32_MAX, st_proc(&m, m.about.vm, m.joined.slot)->window);
}

static void ring_arguments(void)
{
    struct st_member m;

    st_member(&m, KEY);
    const struct vmshm_ring_bell bad[] = {
        { m.header.vms, 0 }, { UINT32_MAX, 0 }, { 0, m.header.procs }, { 0, UINT32_MAX },
        { UINT32_MAX, UINT32_MAX }, { VMSHM_MAX_VMS, VMSHM_MAX_PROCS },
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
        struct vmshm_ring_bell r = bad[i];

        FAILS(EINVAL, st_ioctl(m.fd, VMSHM_IOC_RING, &r));
    }
    for (uint32_t vm = 0; vm < m.header.vms; ++vm) {
        for (uint32_t slot = 0; slot < m.header.procs; ++slot) {
            struct vmshm_ring_bell r = { vm, slot };
            const uint32_t before = st_bell(&m, m.about.vm, vm, slot);

            CHECK(0 == st_ioctl(m.fd, VMSHM_IOC_RING, &r));
            SAME(before + 1, st_bell(&m, m.about.vm, vm, slot));
        }
    }
}

/* ---------------------------------------------------------------- who calls */

static void child_calls(void *arg)
{
    const struct st_member *m = arg;
    struct st_member own;
    union argument a;

    for (size_t c = 0; c < CALLS; ++c) {
        good(m, calls[c].request, &a);
        if (calls[c].member) {
            refused(&calls[c], m->fd, &a, EPERM, "in a child");
        }
    }
    good(m, VMSHM_IOC_JOIN, &a);
    FAILS(EISCONN, st_ioctl(m->fd, VMSHM_IOC_JOIN, &a));
    CHECK(0 == st_ioctl(m->fd, VMSHM_IOC_DESCRIBE, &a));
    SAME(m->about.epoch, a.describe.epoch);
    /* nor may it map anything */
    CHECK(NULL == st_try_map(m, 0, ST_PAGE, PROT_READ));
    SAME(EPERM, errno);
    /* a file of its own works */
    st_member(&own, KEY);
    CHECK(own.joined.slot != m->joined.slot);
    st_alloc(&own, 1, VMSHM_KIND_PRIVATE);
}

static void child_of_a_fork(void)
{
    struct vmshm_alloc w;
    struct st_member m;
    uint8_t *p;

    st_member(&m, KEY);
    w = st_alloc(&m, 1, VMSHM_KIND_PRIVATE);
    p = st_map(&m, w.offset, w.length, PROT_READ | PROT_WRITE);
    memset(p, 0x5a, w.length);
    st_join(st_fork(child_calls, &m));
    /* what the child did, and its end, changed nothing for the parent */
    SAME(VMSHM_PROC_LIVE, st_proc(&m, m.about.vm, m.joined.slot)->state);
    SAME(VMSHM_WINDOW_LIVE, st_window(&m, m.about.vm, w.index)->state);
    SAME((uint64_t) -1, st_differs(p, w.length, 0x5a));
    st_alloc(&m, 1, VMSHM_KIND_PRIVATE);
}

static void child_joins(void *arg)
{
    struct st_member *m = arg;

    st_join_job(m, KEY);
    st_alloc(m, 1, VMSHM_KIND_PRIVATE);
}

static void child_takes_over(void)
{
    struct st_member m;
    struct vmshm_alloc a;

    st_member(&m, KEY);
    st_leave(&m);
    st_join(st_fork(child_joins, &m));
    /* its address space has ended: the slot is free, at the latest after the module's next check */
    st_sleep_ms(1000);
    FAILS(ENOTCONN, st_try_alloc(&m, 1, VMSHM_KIND_PRIVATE, &a));
    st_join_job(&m, KEY);
    st_alloc(&m, 1, VMSHM_KIND_PRIVATE);
}

/* ---------------------------------------------------------------- all taken */

static void all_slots_taken(void)
{
    struct st_member m;
    struct vmshm_join j = { 0 };
    int fd[VMSHM_MAX_PROCS + 1];
    uint32_t n = 0;

    st_visitor(&m);
    st_key(j.job, KEY);
    for (;; ++n) {
        CHECK(n <= m.header.procs);
        fd[n] = st_open(O_RDWR);
        if (0 != st_ioctl(fd[n], VMSHM_IOC_JOIN, &j)) {
            break;
        }
        CHECK(j.slot < m.header.procs);
        j = (struct vmshm_join) { 0 };
        st_key(j.job, KEY);
    }
    SAME(ENOSPC, errno);
    /* If the memory can be pinned, the last slot is reserved for the module. */
    SAME(m.header.procs - st_has_pages(&m), n);
    for (uint32_t slot = 0, live = 0; slot < m.header.procs; ++slot) {
        live += VMSHM_PROC_LIVE == st_proc(&m, m.about.vm, slot)->state;
        CHECK(slot + 1 < m.header.procs || n == live);
    }
    close(fd[0]);
    CHECK(0 == st_ioctl(fd[n], VMSHM_IOC_JOIN, &j));
}

static void all_windows_taken(void)
{
    struct vmshm_alloc a;
    struct st_member m;
    uint32_t n = 0;

    st_member(&m, KEY);
    while (0 == st_try_alloc(&m, 1, VMSHM_KIND_PRIVATE, &a)) {
        ++n;
        CHECK(n <= m.header.windows);
    }
    SAME(ENOSPC, errno);
    SAME(m.header.windows, n);
    st_release(&m, m.about.vm, n / 2);
    a = st_alloc(&m, 1, VMSHM_KIND_PRIVATE);
    SAME(n / 2, a.index);
    FAILS(ENOSPC, st_try_alloc(&m, 1, VMSHM_KIND_PRIVATE, &a));
    st_leave(&m);
    st_all_free(&m);
}

static void heap_full(void)
{
    struct vmshm_alloc a, big;
    struct st_member m;
    uint64_t heap;

    st_member(&m, KEY);
    heap = st_entry(&m, m.about.vm)->open_offset - vmshm_heap_offset(&m.header);
    big = st_alloc(&m, heap - VMSHM_GRANULE_BYTES, VMSHM_KIND_PRIVATE);
    FAILS(ENOSPC, st_try_alloc(&m, VMSHM_GRANULE_BYTES + 1, VMSHM_KIND_PRIVATE, &a));
    st_alloc(&m, VMSHM_GRANULE_BYTES, VMSHM_KIND_PRIVATE);
    FAILS(ENOSPC, st_try_alloc(&m, 1, VMSHM_KIND_PRIVATE, &a));
    st_alloc(&m, 1, VMSHM_KIND_OPEN);
    st_release(&m, m.about.vm, big.index);
    st_alloc(&m, heap - VMSHM_GRANULE_BYTES, VMSHM_KIND_PRIVATE);
}

static const struct st_test tests[] = {
    { "unknown-calls-not-joined", unknown_calls_not_joined },
    { "unknown-calls-as-member", unknown_calls_as_member },
    { "not-joined", not_joined },
    { "joined-twice", joined_twice },
    { "read-only-file", read_only_file },
    { "write-only-file", write_only_file },
    { "bad-pointers", bad_pointers },
    { "call-of-32-bit", call_of_32_bit },
    { "reserved-bits", reserved_bits },
    { "join-without-a-key", join_without_a_key },
    { "alloc-arguments", alloc_arguments },
    { "find-arguments", find_arguments },
    { "release-arguments", release_arguments },
    { "publish-arguments", publish_arguments },
    { "ring-arguments", ring_arguments },
    { "child-of-a-fork", child_of_a_fork },
    { "child-takes-over", child_takes_over },
    { "all-slots-taken", all_slots_taken },
    { "all-windows-taken", all_windows_taken },
    { "heap-full", heap_full },
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    return st_main(argc, argv, tests, 30);
}
