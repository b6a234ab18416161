/* Who may map what, how, and what the rest of the kernel may do with a mapping. */
#define _GNU_SOURCE
#include "st.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEY 3
#define RW (PROT_READ | PROT_WRITE)
#define HUGE (2 * ST_MIB)

/* Two processes would be as good; two open files are two memberships. */
struct pair {
    struct st_member a;         /* has windows */
    struct st_member b;         /* finds them */
    struct vmshm_alloc closed;
    struct vmshm_alloc open;
};

static void pair_make(struct pair *p, uint64_t bytes)
{
    st_member(&p->a, KEY);
    st_member(&p->b, KEY);
    p->closed = st_alloc(&p->a, bytes, VMSHM_KIND_PRIVATE);
    p->open = st_alloc(&p->a, bytes, VMSHM_KIND_OPEN);
}

static void pair_find(struct pair *p)
{
    st_find(&p->b, p->a.about.vm, p->a.joined.slot, p->closed.index, KEY);
    st_find(&p->b, p->a.about.vm, p->a.joined.slot, p->open.index, KEY);
}

static void refused(const struct st_member *m, uint64_t offset, uint64_t bytes, int prot, int error,
                    int line)
{
    uint8_t *p = st_try_map(m, offset, bytes, prot);

    if (NULL != p || error != errno) {
        st_fail(__FILE__, line, "mmap(%#llx, %#llx, %d): expected %s, got %s",
                (unsigned long long) offset, (unsigned long long) bytes, prot, st_errno(error),
                NULL == p ? st_errno(errno) : "success");
    }
}
#define REFUSED(m, offset, bytes, prot, error) refused(m, offset, bytes, prot, error, __LINE__)

/* ---------------------------------------------------------------- what may be mapped */

static void own_window(void)
{
    struct pair x;
    uint8_t *p, *again;

    pair_make(&x, 3 * VMSHM_GRANULE_BYTES);
    for (int open = 0; open < 2; ++open) {
        const struct vmshm_alloc *w = open ? &x.open : &x.closed;

        p = st_map(&x.a, w->offset, w->length, RW);
        for (uint64_t i = 0; i < w->length; i += 8) {
            *(uint64_t *) (p + i) = w->offset + i;
        }
        again = st_map(&x.a, w->offset + ST_PAGE, ST_PAGE, PROT_READ);
        for (uint64_t i = 0; i < ST_PAGE; i += 8) {
            SAME(w->offset + ST_PAGE + i, *(uint64_t *) (again + i));
        }
        again = st_map(&x.a, w->offset + w->length - ST_PAGE, ST_PAGE, PROT_WRITE);
        *(volatile uint64_t *) again = 42;
        SAME(42, *(uint64_t *) (p + w->length - ST_PAGE));
    }
}

static void foreign_window_not_found(void)
{
    struct pair x;

    pair_make(&x, VMSHM_GRANULE_BYTES);
    for (int prot = PROT_NONE; prot <= RW; ++prot) {
        REFUSED(&x.b, x.closed.offset, ST_PAGE, prot, EACCES);
        REFUSED(&x.b, x.open.offset, ST_PAGE, prot, EACCES);
    }
    pair_find(&x);
    st_release(&x.b, x.a.about.vm, x.closed.index);
    st_release(&x.b, x.a.about.vm, x.open.index);
    REFUSED(&x.b, x.closed.offset, ST_PAGE, PROT_READ, EACCES);
    REFUSED(&x.b, x.open.offset, ST_PAGE, PROT_READ, EACCES);
    st_leave(&x.a);
    REFUSED(&x.a, x.closed.offset, ST_PAGE, PROT_READ, EACCES);
}

static void found_private_window(void)
{
    struct pair x;
    uint8_t *own, *p, *none;

    pair_make(&x, VMSHM_GRANULE_BYTES);
    pair_find(&x);
    own = st_map(&x.a, x.closed.offset, x.closed.length, RW);
    memset(own, 0x11, x.closed.length);
    REFUSED(&x.b, x.closed.offset, ST_PAGE, RW, EACCES);
    REFUSED(&x.b, x.closed.offset, ST_PAGE, PROT_WRITE, EACCES);
    p = st_map(&x.b, x.closed.offset, x.closed.length, PROT_READ);
    none = st_map(&x.b, x.closed.offset, x.closed.length, PROT_NONE);
    SAME((uint64_t) -1, st_differs(p, x.closed.length, 0x11));
    SAME(SIGSEGV, st_try_write(p, 1));
    for (int touched = 0; touched < 2; ++touched) {
        FAILS(EACCES, mprotect(p, x.closed.length, RW));
        FAILS(EACCES, mprotect(p, ST_PAGE, PROT_WRITE));
        FAILS(EACCES, mprotect(none, ST_PAGE, PROT_WRITE));
        FAILS(EACCES, mprotect(none, ST_PAGE, RW));
        CHECK(0 == mprotect(none, x.closed.length, PROT_READ));
        SAME(0x11, none[5]);
    }
    SAME((uint64_t) -1, st_differs(own, x.closed.length, 0x11));
}

static void found_open_window(void)
{
    struct pair x;
    uint8_t *own, *p;

    pair_make(&x, VMSHM_GRANULE_BYTES);
    pair_find(&x);
    own = st_map(&x.a, x.open.offset, x.open.length, RW);
    p = st_map(&x.b, x.open.offset, x.open.length, RW);
    memset(p, 0x22, x.open.length);
    SAME((uint64_t) -1, st_differs(own, x.open.length, 0x22));
}

static void tables_are_read_only(void)
{
    struct st_member m;

    st_member(&m, KEY);
    const struct { uint64_t offset, bytes; } ranges[] = {
        { 0, ST_PAGE }, { 0, VMSHM_HEADER_BYTES }, { VMSHM_HEADER_BYTES - ST_PAGE, ST_PAGE },
        { st_entry(&m, 0)->offset, ST_PAGE },
        { st_entry(&m, 0)->offset, vmshm_heap_offset(&m.header) },
        { st_entry(&m, 1)->offset, ST_PAGE },
        { st_entry(&m, 1)->offset + ST_PAGE, vmshm_heap_offset(&m.header) - ST_PAGE },
    };

    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; ++i) {
        uint8_t *p = st_map(&m, ranges[i].offset, ranges[i].bytes, PROT_READ);

        SAME(0, st_try_read(p));
        SAME(0, st_try_read(p + ranges[i].bytes - 1));
        SAME(SIGSEGV, st_try_write(p, *p));
        FAILS(EACCES, mprotect(p, ranges[i].bytes, RW));
        FAILS(EACCES, mprotect(p, ST_PAGE, PROT_WRITE));
        REFUSED(&m, ranges[i].offset, ranges[i].bytes, RW, EACCES);
        REFUSED(&m, ranges[i].offset, ranges[i].bytes, PROT_WRITE, EACCES);
        /* /proc/self/mem writes to what is read-only, where the kernel can get hold of the page */
        const int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
        const uint8_t before = *p, other = before ^ 0xff;

        CHECK(0 <= fd);
        CHECK(1 != pwrite(fd, &other, 1, (off_t) (uintptr_t) p));
        SAME(before, *p);
        close(fd);
    }
}

static void tables_of_a_read_only_file(void)
{
    const int fd = st_open(O_RDONLY);
    struct vmshm_header *h = mmap(NULL, ST_PAGE, PROT_READ, MAP_SHARED, fd, 0);

    CHECK(MAP_FAILED != (void *) h);
    SAME(VMSHM_MAGIC, h->magic);
    FAILS(EACCES, mprotect(h, ST_PAGE, RW));
    CHECK(MAP_FAILED == mmap(NULL, ST_PAGE, RW, MAP_SHARED, fd, 0));
    SAME(EACCES, errno);
    CHECK(MAP_FAILED == mmap(NULL, ST_PAGE, PROT_READ, MAP_PRIVATE, fd, 0));
    SAME(EINVAL, errno);
}

static void private_or_executable(void)
{
    struct pair x;
    uint8_t *p;

    pair_make(&x, VMSHM_GRANULE_BYTES);
    const uint64_t offsets[] = { 0, st_entry(&x.a, 1)->offset, x.closed.offset, x.open.offset };

    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; ++i) {
        for (int prot = PROT_NONE; prot <= (RW | PROT_EXEC); ++prot) {
            CHECK(MAP_FAILED == mmap(NULL, ST_PAGE, prot, MAP_PRIVATE, x.a.fd, (off_t) offsets[i]));
            SAME(EINVAL, errno);
        }
        REFUSED(&x.a, offsets[i], ST_PAGE, PROT_EXEC, EACCES);
        REFUSED(&x.a, offsets[i], ST_PAGE, PROT_READ | PROT_EXEC, EACCES);
        REFUSED(&x.a, offsets[i], ST_PAGE, RW | PROT_EXEC, EACCES);
        p = st_map(&x.a, offsets[i], ST_PAGE, PROT_READ);
        FAILS(EACCES, mprotect(p, ST_PAGE, PROT_READ | PROT_EXEC));
        FAILS(EACCES, mprotect(p, ST_PAGE, PROT_EXEC));
    }
    CHECK(-1 != personality(READ_IMPLIES_EXEC));
    REFUSED(&x.a, x.closed.offset, ST_PAGE, PROT_READ, EACCES);
}

static void ranges(void)
{
    struct vmshm_alloc first, second;
    struct st_member m;
    uint64_t total, heap;

    st_member(&m, KEY);
    first = st_alloc(&m, VMSHM_GRANULE_BYTES, VMSHM_KIND_PRIVATE);
    second = st_alloc(&m, VMSHM_GRANULE_BYTES, VMSHM_KIND_PRIVATE);
    SAME(first.offset + first.length, second.offset);
    total = m.about.total_bytes;
    heap = st_entry(&m, m.about.vm)->offset + vmshm_heap_offset(&m.header);

    REFUSED(&m, first.offset, 2 * VMSHM_GRANULE_BYTES, PROT_READ, EACCES);
    REFUSED(&m, first.offset + VMSHM_GRANULE_BYTES - ST_PAGE, 2 * ST_PAGE, RW, EACCES);
    REFUSED(&m, second.offset, VMSHM_GRANULE_BYTES + 1, RW, EACCES);
    REFUSED(&m, heap - ST_PAGE, 2 * ST_PAGE, PROT_READ, EACCES);
    REFUSED(&m, VMSHM_HEADER_BYTES - ST_PAGE, 2 * ST_PAGE, PROT_READ, EACCES);
    REFUSED(&m, 0, VMSHM_HEADER_BYTES + ST_PAGE, PROT_READ, EACCES);
    REFUSED(&m, second.offset + second.length, ST_PAGE, PROT_READ, EACCES);
    REFUSED(&m, total - ST_PAGE, ST_PAGE, PROT_READ, EACCES);
    REFUSED(&m, 0, total, PROT_READ, EACCES);
    REFUSED(&m, 0, total, PROT_NONE, EACCES);
    REFUSED(&m, 0, 2 * total, PROT_READ, EINVAL);
    REFUSED(&m, total, ST_PAGE, PROT_READ, EINVAL);
    REFUSED(&m, total - ST_PAGE, 2 * ST_PAGE, PROT_READ, EINVAL);
    REFUSED(&m, UINT64_C(1) << 46, ST_PAGE, PROT_READ, EINVAL);
    REFUSED(&m, (UINT64_C(1) << 63) - ST_PAGE, ST_PAGE, PROT_READ, EINVAL);
    REFUSED(&m, UINT64_C(1) << 63, ST_PAGE, PROT_READ, EINVAL);
    REFUSED(&m, -ST_PAGE, ST_PAGE, PROT_READ, EOVERFLOW);
    REFUSED(&m, first.offset + 1, ST_PAGE, PROT_READ, EINVAL);
    REFUSED(&m, first.offset + 512, ST_PAGE, PROT_READ, EINVAL);
    /* less than a page is a page */
    CHECK(NULL != st_try_map(&m, first.offset, 1, RW));
}

static void other_flags(void)
{
    struct vmshm_alloc w;
    struct st_member m;
    uint8_t *p;

    st_member(&m, KEY);
    w = st_alloc(&m, VMSHM_GRANULE_BYTES, VMSHM_KIND_PRIVATE);
    p = mmap(NULL, w.length, RW, MAP_SHARED | MAP_POPULATE, m.fd, (off_t) w.offset);
    CHECK(MAP_FAILED != (void *) p);
    memset(p, 0x77, w.length);
    p = mmap(p, w.length, RW, MAP_SHARED | MAP_FIXED, m.fd, (off_t) w.offset);
    SAME((uint64_t) -1, st_differs(p, w.length, 0x77));
    CHECK(MAP_FAILED == mmap(NULL, w.length, RW, MAP_SHARED_VALIDATE | MAP_SYNC, m.fd,
                             (off_t) w.offset));
    CHECK(MAP_FAILED == mmap(NULL, w.length, RW, MAP_SHARED | MAP_GROWSDOWN, m.fd,
                             (off_t) w.offset));
    /* another range through a mapping that there is already; the kernel unmaps before it asks */
    FAILS(EACCES, syscall(SYS_remap_file_pages, p, ST_PAGE, 0,
                          (w.offset + w.length) / ST_PAGE, 0));
    CHECK(0 != st_try_read(p) || 0x77 == *p);
    SAME((uint64_t) -1, st_differs(p + ST_PAGE, w.length - ST_PAGE, 0x77));
}

/* ---------------------------------------------------------------- changing mappings */

static void mremap_moves_and_does_not_grow(void)
{
    struct vmshm_alloc w;
    struct st_member m;
    uint8_t *p, *room;

    st_member(&m, KEY);
    w = st_alloc(&m, 4 * HUGE, VMSHM_KIND_PRIVATE);
    for (uint64_t shift = 0; shift <= ST_PAGE; shift += ST_PAGE) {
        const uint64_t half = w.length / 2;

        p = st_map(&m, w.offset, w.length, RW);
        for (uint64_t i = 0; i < w.length; i += ST_PAGE) {
            *(uint64_t *) (p + i) = i ^ shift;
        }
        CHECK(MAP_FAILED == mremap(p, w.length, w.length + ST_PAGE, MREMAP_MAYMOVE));
        CHECK(MAP_FAILED == mremap(p, 0, w.length, MREMAP_MAYMOVE));
        CHECK(MAP_FAILED == mremap(p, w.length, w.length, MREMAP_MAYMOVE | MREMAP_DONTUNMAP));
        /* aligned as before, then not */
        room = mmap(NULL, w.length + 2 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(MAP_FAILED != (void *) room);
        room += (((uintptr_t) p - (uintptr_t) room) & (HUGE - 1)) + shift;
        CHECK(room == mremap(p, w.length, w.length, MREMAP_MAYMOVE | MREMAP_FIXED, room));
        SAME(SIGSEGV, st_try_read(p));
        for (uint64_t i = 0; i < w.length; i += ST_PAGE) {
            SAME(i ^ shift, *(uint64_t *) (room + i));
            *(uint64_t *) (room + i) = ~i;
        }
        /* shrunk, moved in part, and not grown again */
        CHECK(room == mremap(room, w.length, half + ST_PAGE, 0));
        SAME(SIGSEGV, st_try_read(room + half + ST_PAGE));
        CHECK(MAP_FAILED == mremap(room, half + ST_PAGE, half + 2 * ST_PAGE, 0));
        p = mmap(NULL, half, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(p == mremap(room + ST_PAGE, half, half, MREMAP_MAYMOVE | MREMAP_FIXED, p));
        for (uint64_t i = 0; i < half; i += ST_PAGE) {
            SAME(~(i + ST_PAGE), *(uint64_t *) (p + i));
        }
        SAME(~UINT64_C(0), *(uint64_t *) room);
        CHECK(0 == munmap(p, half) && 0 == munmap(room, ST_PAGE));
    }
}

/* An aligned piece of a window that surely holds `count` entries of 2 MiB. */
static uint8_t *aligned(const struct st_member *m, uint64_t count, struct vmshm_alloc *w, int prot)
{
    uint64_t offset;

    *w = st_alloc(m, (count + 1) * HUGE, VMSHM_KIND_PRIVATE);
    offset = (w->offset + HUGE - 1) & ~(HUGE - 1);
    return st_map(m, offset, count * HUGE, prot);
}

static void munmap_of_a_part(void)
{
    struct vmshm_alloc w;
    struct st_member m;
    uint8_t *p;

    st_member(&m, KEY);
    for (int touched = 0; touched < 2; ++touched) {
        p = aligned(&m, 4, &w, RW);
        for (uint64_t i = 0; touched && i < 4 * HUGE; i += ST_PAGE) {
            *(uint64_t *) (p + i) = i;
        }
        CHECK(0 == munmap(p + HUGE + 5 * ST_PAGE, ST_PAGE));
        CHECK(0 == munmap(p + 2 * HUGE, HUGE));
        CHECK(0 == munmap(p, ST_PAGE));
        for (uint64_t i = 0; i < 4 * HUGE; i += ST_PAGE) {
            const bool hole = 0 == i || HUGE + 5 * ST_PAGE == i || (2 * HUGE <= i && i < 3 * HUGE);

            SAME(hole ? SIGSEGV : 0, st_try_read(p + i));
            if (!hole) {
                SAME(touched ? i : 0, *(uint64_t *) (p + i));
                *(uint64_t *) (p + i) = ~i;
                SAME(~i, *(uint64_t *) (p + i));
            }
        }
        st_release(&m, m.about.vm, w.index);
        SAME(SIGBUS, st_try_read(p + ST_PAGE));
        SAME(SIGBUS, st_try_read(p + HUGE + 6 * ST_PAGE));
        SAME(SIGBUS, st_try_read(p + 4 * HUGE - 1));
    }
}

static void mprotect_to_and_fro(void)
{
    struct vmshm_alloc w;
    struct st_member m;
    uint8_t *p;

    st_member(&m, KEY);
    p = aligned(&m, 3, &w, RW);
    memset(p, 0x61, 3 * HUGE);
    const struct { uint64_t at, bytes; } parts[] = {
        { 0, 3 * HUGE }, { HUGE, HUGE }, { 7 * ST_PAGE, ST_PAGE }, { HUGE - ST_PAGE, 2 * ST_PAGE },
    };

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; ++i) {
        uint8_t *q = p + parts[i].at;

        CHECK(0 == mprotect(q, parts[i].bytes, PROT_READ));
        SAME(0, st_try_read(q));
        SAME(SIGSEGV, st_try_write(q, 1));
        CHECK(0 == mprotect(q, parts[i].bytes, PROT_NONE));
        SAME(SIGSEGV, st_try_read(q));
        CHECK(0 == mprotect(q, parts[i].bytes, PROT_READ));
        SAME(0, st_try_read(q + parts[i].bytes - 1));
        CHECK(0 == mprotect(q, parts[i].bytes, RW));
        SAME(0, st_try_write(q, 0x61));
        SAME(0, st_try_write(q + parts[i].bytes - 1, 0x61));
        SAME((uint64_t) -1, st_differs(p, 3 * HUGE, 0x61));
    }
}

static long faults(void)
{
    struct rusage r;

    CHECK(0 == getrusage(RUSAGE_SELF, &r));
    return r.ru_minflt + r.ru_majflt;
}

static void entries_of_2_mib(void)
{
    const uint64_t count = 32;
    struct pair x;
    struct vmshm_alloc w;
    struct vmshm_find f;
    uint8_t *p;
    long before;

    pair_make(&x, 1);
    pair_find(&x);
    p = aligned(&x.a, count, &w, RW);
    SAME(0, (uintptr_t) p % HUGE);
    before = faults();
    for (uint64_t i = 0; i < count * HUGE; i += ST_PAGE) {
        p[i] = 1;
    }
    if (faults() - before > (long) (count + 8)) {
        st_fail(__FILE__, __LINE__, "%ld page faults to write %llu MiB", faults() - before,
                (unsigned long long) count * 2);
    }
    f = st_find(&x.b, x.a.about.vm, x.a.joined.slot, w.index, KEY);
    p = st_map(&x.b, (f.window_offset + HUGE - 1) & ~(HUGE - 1), count * HUGE, PROT_READ);
    before = faults();
    for (uint64_t i = 0; i < count * HUGE; i += ST_PAGE) {
        CHECK(1 == p[i]);
    }
    if (faults() - before > (long) (count + 8)) {
        st_fail(__FILE__, __LINE__, "%ld page faults to read %llu MiB", faults() - before,
                (unsigned long long) count * 2);
    }
    /* read first, then written: no fault for the right to write */
    CHECK(0 == munmap(p, count * HUGE));
    p = st_map(&x.a, (w.offset + HUGE - 1) & ~(HUGE - 1), count * HUGE, RW);
    before = faults();
    for (uint64_t i = 0; i < count * HUGE; i += HUGE) {
        CHECK(1 == p[i]);
        p[i] = 2;
    }
    CHECK(faults() - before <= (long) (count + 8));
}

/* ---------------------------------------------------------------- the end of a right */

static void sigbus_after_the_release(void)
{
    struct pair x;
    struct vmshm_alloc again;
    uint8_t *own, *closed, *open, *never;

    for (uint64_t bytes = VMSHM_GRANULE_BYTES; bytes <= 3 * HUGE; bytes += 3 * HUGE - VMSHM_GRANULE_BYTES) {
        pair_make(&x, bytes);
        pair_find(&x);
        own = st_map(&x.a, x.closed.offset, x.closed.length, RW);
        closed = st_map(&x.b, x.closed.offset, x.closed.length, PROT_READ);
        never = st_map(&x.b, x.closed.offset, x.closed.length, PROT_READ);
        open = st_map(&x.b, x.open.offset, x.open.length, RW);
        memset(own, 0x31, bytes);
        memset(open, 0x32, bytes);
        SAME((uint64_t) -1, st_differs(closed, bytes, 0x31));
        /* the owner's ends, the readers' stay */
        st_release(&x.a, x.a.about.vm, x.closed.index);
        SAME(SIGBUS, st_try_read(own));
        SAME(SIGBUS, st_try_write(own + bytes - 1, 1));
        SAME((uint64_t) -1, st_differs(closed, bytes, 0x31));
        /* the readers' */
        st_release(&x.b, x.a.about.vm, x.closed.index);
        SAME(SIGBUS, st_try_read(closed));
        SAME(SIGBUS, st_try_read(closed + bytes - 1));
        SAME(SIGBUS, st_try_read(never));
        st_release(&x.b, x.a.about.vm, x.open.index);
        SAME(SIGBUS, st_try_write(open, 1));
        /* What is handed out at that place later is not what was mapped. */
        again = st_alloc(&x.a, bytes, VMSHM_KIND_PRIVATE);
        SAME(x.closed.offset, again.offset);
        SAME(SIGBUS, st_try_read(own));
        st_find(&x.b, x.a.about.vm, x.a.joined.slot, again.index, KEY);
        SAME(SIGBUS, st_try_read(closed));
        st_leave(&x.a);
        again = st_alloc(&x.b, bytes, VMSHM_KIND_PRIVATE);
        SAME(SIGBUS, st_try_read(own));
        SAME(SIGBUS, st_try_write(own, 1));
        SAME(SIGBUS, st_try_read(closed));
        own = st_map(&x.b, again.offset, again.length, RW);
        SAME((uint64_t) -1, st_differs(own, bytes, 0));
        st_leave(&x.b);
    }
}

static void sigbus_after_the_leave(void)
{
    struct pair x;
    uint8_t *own, *closed;

    pair_make(&x, VMSHM_GRANULE_BYTES);
    pair_find(&x);
    own = st_map(&x.a, x.closed.offset, x.closed.length, RW);
    closed = st_map(&x.b, x.closed.offset, x.closed.length, PROT_READ);
    own[0] = 9;
    SAME(9, closed[0]);
    st_leave(&x.a);
    SAME(SIGBUS, st_try_read(own));
    SAME(9, closed[0]);
    st_leave(&x.b);
    SAME(SIGBUS, st_try_read(closed));
    /* the tables are anybody's */
    SAME(VMSHM_PROC_LEFT, st_proc(&x.a, x.a.about.vm, x.a.joined.slot)->state);
    /* and a new membership does not bring the old mappings back */
    st_join_job(&x.a, KEY);
    st_alloc(&x.a, VMSHM_GRANULE_BYTES, VMSHM_KIND_PRIVATE);
    SAME(SIGBUS, st_try_read(own));
}

/* ---------------------------------------------------------------- fork, and hands of the kernel */

static void child_looks(void *arg)
{
    SAME(SIGSEGV, st_try_read(arg));
    SAME(SIGSEGV, st_try_write(arg, 1));
}

static void fork_does_not_inherit(void)
{
    struct pair x;
    uint8_t *own, *closed;

    pair_make(&x, VMSHM_GRANULE_BYTES);
    pair_find(&x);
    own = st_map(&x.a, x.closed.offset, x.closed.length, RW);
    closed = st_map(&x.b, x.closed.offset, x.closed.length, PROT_READ);
    memset(own, 0x41, x.closed.length);
    SAME(0x41, closed[0]);
    st_join(st_fork(child_looks, own));
    st_join(st_fork(child_looks, closed));
    st_join(st_fork(child_looks, (void *) x.a.head));
    SAME((uint64_t) -1, st_differs(closed, x.closed.length, 0x41));
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
    for (uint64_t bytes = VMSHM_GRANULE_BYTES; bytes <= 3 * HUGE; bytes += 3 * HUGE - VMSHM_GRANULE_BYTES) {
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
    p = aligned(&m, 2, &w, RW);
    memset(p, 0x62, 2 * HUGE);
    for (size_t i = 0; i < sizeof advices / sizeof advices[0]; ++i) {
        if (st_has_pages(&m) && 0 <= advices[i] && advices[i] < 26
            && advices[i] != st_advice((uint64_t) advices[i])) {
            continue;
        }
        (void) madvise(p, 2 * HUGE, advices[i]);
        (void) madvise(p + 3 * ST_PAGE, ST_PAGE, advices[i]);
        SAME((uint64_t) -1, st_differs(p, 2 * HUGE, 0x62));
        memset(p, 0x62, 2 * HUGE);
    }
    FAILS(EINVAL, madvise(p, 2 * HUGE, MADV_DODUMP));
    /* is what it was, but for the advice */
    st_join(st_fork(child_looks, p));
}

/* Small entries, then one of 2 MiB: the kernel walks them differently. */
static uint8_t *touched(const struct st_member *m, int huge, struct vmshm_alloc *w)
{
    uint8_t *p;

    if (huge) {
        p = aligned(m, 1, w, RW);
        memset(p, 0x66, HUGE);
        return p;
    }
    *w = st_alloc(m, 2 * VMSHM_GRANULE_BYTES, VMSHM_KIND_PRIVATE);
    p = st_map(m, w->offset, w->length, RW);
    memset(p, 0x66, w->length);
    return p;
}

static void futexes(void)
{
    struct vmshm_alloc w;
    struct st_member m;

    st_member(&m, KEY);
    for (int huge = 0; huge < 2; ++huge) {
        uint8_t *p = touched(&m, huge, &w);
        uint32_t *word = (uint32_t *) p;
        struct timespec t = { .tv_nsec = 20000000 };

        /* within the process they work */
        FAILS(ETIMEDOUT, syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, *word, &t, NULL, 0));
        FAILS(EAGAIN, syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, *word + 1, &t, NULL, 0));
        CHECK(0 == syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
        /* between processes they need a page of a file, which these are not */
        static const int ops[] = { FUTEX_WAIT, FUTEX_WAKE, FUTEX_LOCK_PI, FUTEX_TRYLOCK_PI,
                                   FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET };

        for (size_t i = 0; i < sizeof ops / sizeof ops[0]; ++i) {
            const long rc = syscall(SYS_futex, word, ops[i], *word, &t, word + 1, -1);

            if (!(0 <= rc || EFAULT == errno || ETIMEDOUT == errno || EAGAIN == errno
                  || EINVAL == errno || ESRCH == errno || ENOSYS == errno)) {
                st_fail(__FILE__, __LINE__, "futex %d: %s", ops[i], st_errno(errno));
            }
        }
        (void) syscall(SYS_futex, word, FUTEX_WAKE_OP, 1, 1L, word + 1, FUTEX_OP(FUTEX_OP_SET, 1,
                       FUTEX_OP_CMP_EQ, 0));
        (void) syscall(SYS_futex, word, FUTEX_REQUEUE, 1, 1L, word + 1, 0);
        SAME(0x66, p[64]);
    }
}

static void other_processes_hands(void)
{
    struct vmshm_alloc w;
    struct st_member m;

    st_member(&m, KEY);
    for (int huge = 0; huge < 2; ++huge) {
        uint8_t *p = touched(&m, huge, &w), bytes[64];
        struct iovec here = { bytes, sizeof bytes }, there = { p, sizeof bytes };
        const int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

        CHECK(0 <= fd);
        memset(bytes, 0, sizeof bytes);
        if (st_has_pages(&m)) {
            SAME(sizeof bytes, process_vm_readv(getpid(), &here, 1, &there, 1, 0));
            SAME((uint64_t) -1, st_differs(bytes, sizeof bytes, 0x66));
            SAME(sizeof bytes, pread(fd, bytes, sizeof bytes, (off_t) (uintptr_t) p));
            memset(bytes, 0x68, sizeof bytes);
            SAME(sizeof bytes, process_vm_writev(getpid(), &here, 1, &there, 1, 0));
            SAME((uint64_t) -1, st_differs(p, sizeof bytes, 0x68));
            memset(bytes, 0x66, sizeof bytes);
            SAME(sizeof bytes, pwrite(fd, bytes, sizeof bytes, (off_t) (uintptr_t) p));
        } else {
            FAILS(EFAULT, process_vm_readv(getpid(), &here, 1, &there, 1, 0));
            SAME((uint64_t) -1, st_differs(bytes, sizeof bytes, 0));
            FAILS(EFAULT, process_vm_writev(getpid(), &here, 1, &there, 1, 0));
            FAILS(EIO, pread(fd, bytes, sizeof bytes, (off_t) (uintptr_t) p));
            FAILS(EIO, pwrite(fd, bytes, sizeof bytes, (off_t) (uintptr_t) p));
        }
        close(fd);
        SAME((uint64_t) -1, st_differs(p, VMSHM_GRANULE_BYTES, 0x66));
    }
}

/* The kernel writes to what is read-only for debuggers' sake, and must not here. */
static void no_hand_writes_what_was_found(void)
{
    struct vmshm_alloc w;
    struct st_member m, r;

    st_member(&m, KEY);
    st_member(&r, KEY);
    for (int huge = 0; huge < 2; ++huge) {
        uint8_t *own = touched(&m, huge, &w), *p, bytes[64];
        struct iovec here = { bytes, sizeof bytes }, there;
        const int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
        int tube[2];

        CHECK(0 <= fd && 0 == pipe2(tube, O_CLOEXEC));
        st_find(&r, m.about.vm, m.joined.slot, w.index, KEY);
        p = st_map(&r, w.offset, w.length, PROT_READ);
        there = (struct iovec) { p, sizeof bytes };
        for (int seen = 0; seen < 2; ++seen) {
            memset(bytes, 0, sizeof bytes);
            FAILS(EFAULT, process_vm_writev(getpid(), &here, 1, &there, 1, 0));
            FAILS(EIO, pwrite(fd, bytes, sizeof bytes, (off_t) (uintptr_t) p));
            SAME(ST_PAGE, write(tube[1], own, ST_PAGE));
            FAILS(EFAULT, read(tube[0], p, ST_PAGE));
            close(tube[0]);
            close(tube[1]);
            CHECK(0 == pipe2(tube, O_CLOEXEC));
            SAME(0, st_try_read(p));
        }
        close(fd);
        SAME((uint64_t) -1, st_differs(own, VMSHM_GRANULE_BYTES, 0x66));
    }
}

struct traced {
    struct st_turn turn;
    uint8_t *at;
};

static void traced(void *arg)
{
    struct traced *t = arg;
    struct vmshm_alloc w;
    struct st_member m;

    st_member(&m, KEY);
    t->at = touched(&m, 1, &w);
    CHECK(0 == ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    CHECK((ssize_t) sizeof t->at == write(t->turn.from[1], &t->at, sizeof t->at));
    raise(SIGSTOP);
    SAME((uint64_t) -1, st_differs(t->at, HUGE, 0x66));
}

static void a_debugger(void)
{
    struct st_member m;
    struct traced t;
    pid_t pid;

    st_visitor(&m);
    st_turn_make(&t.turn);
    pid = st_fork(traced, &t);
    CHECK((ssize_t) sizeof t.at == read(t.turn.from[0], &t.at, sizeof t.at));
    CHECK(WIFSTOPPED(st_wait(pid)));
    errno = 0;
    if (st_has_pages(&m)) {
        SAME(0x6666666666666666, ptrace(PTRACE_PEEKDATA, pid, t.at, NULL));
        CHECK(0 == ptrace(PTRACE_POKEDATA, pid, t.at, (void *) 0x6666666666666666));
    } else {
        CHECK(-1 == ptrace(PTRACE_PEEKDATA, pid, t.at, NULL) && EIO == errno);
        FAILS(EIO, ptrace(PTRACE_POKEDATA, pid, t.at, (void *) 1));
    }
    CHECK(0 == ptrace(PTRACE_CONT, pid, NULL, NULL));
    st_join(pid);
}

static void files_and_pipes(void)
{
    struct vmshm_alloc w;
    struct st_member m;

    st_member(&m, KEY);
    for (int huge = 0; huge < 2; ++huge) {
        uint8_t *p = touched(&m, huge, &w), bytes[ST_PAGE];
        struct iovec iov = { p, ST_PAGE };
        char name[] = "/tmp/st-direct-XXXXXX";
        int fd[2], file;

        /* what copies, works */
        CHECK(0 == pipe2(fd, O_CLOEXEC));
        SAME(ST_PAGE, write(fd[1], p, ST_PAGE));
        SAME(ST_PAGE, read(fd[0], bytes, ST_PAGE));
        SAME((uint64_t) -1, st_differs(bytes, ST_PAGE, 0x66));
        memset(bytes, 0x67, sizeof bytes);
        SAME(ST_PAGE, write(fd[1], bytes, ST_PAGE));
        SAME(ST_PAGE, read(fd[0], p, ST_PAGE));
        SAME((uint64_t) -1, st_differs(p, ST_PAGE, 0x67));
        /* what would need the page itself, says so */
        if (!st_has_pages(&m)) {
            FAILS(EFAULT, vmsplice(fd[1], &iov, 1, 0));
            FAILS(EFAULT, vmsplice(fd[1], &iov, 1, SPLICE_F_GIFT));
        } else {
            SAME(ST_PAGE, vmsplice(fd[1], &iov, 1, 0));
            SAME(ST_PAGE, read(fd[0], bytes, ST_PAGE));
            SAME((uint64_t) -1, st_differs(bytes, ST_PAGE, 0x67));
        }
        file = mkstemp(name);
        CHECK(0 <= file && 0 == unlink(name));
        SAME(ST_PAGE, write(file, p, ST_PAGE));
        SAME(ST_PAGE, pread(file, p + ST_PAGE, ST_PAGE, 0));
        SAME((uint64_t) -1, st_differs(p + ST_PAGE, ST_PAGE, 0x67));
        if (!st_has_pages(&m) && 0 == fcntl(file, F_SETFL, O_DIRECT)) {
            FAILS(EFAULT, pwrite(file, p, ST_PAGE, 0));
            FAILS(EFAULT, pread(file, p, ST_PAGE, 0));
        }
        close(file);
        close(fd[0]);
        close(fd[1]);
    }
}

static void direct_io(void)
{
    const char *dir = getenv("VMSHM_DIRECT_DIR");
    struct vmshm_alloc w;
    struct st_member m;
    char name[256];

    if (NULL == dir) {
        st_skip("VMSHM_DIRECT_DIR names no directory whose files can be opened with O_DIRECT");
    }
    snprintf(name, sizeof name, "%s/direct-%d", dir, (int) getpid());
    st_member(&m, KEY);
    for (int huge = 0; huge < 2; ++huge) {
        uint8_t *p = touched(&m, huge, &w);
        const int file = open(name, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600);

        if (file < 0) {
            st_skip("%s: O_DIRECT: %s", dir, st_errno(errno));
        }
        unlink(name);
        /* refused, or done: never half */
        if (-1 == pwrite(file, p, ST_PAGE, 0)) {
            CHECK(!st_has_pages(&m) && (EFAULT == errno || EINVAL == errno || EIO == errno));
        }
        if (-1 == pread(file, p + ST_PAGE, ST_PAGE, 0)) {
            CHECK(!st_has_pages(&m) && (EFAULT == errno || EINVAL == errno || EIO == errno));
        }
        SAME((uint64_t) -1, st_differs(p, ST_PAGE, 0x66));
        SAME((uint64_t) -1, st_differs(p + ST_PAGE, ST_PAGE, 0x66));
        close(file);
    }
}

static void nothing_can_be_pinned(const struct st_member *m)
{
    for (int huge = 0; huge < 2; ++huge) {
        struct vmshm_alloc w;
        struct iovec iov = { touched(m, huge, &w), ST_PAGE };
        int fd[2];

        CHECK(0 == pipe2(fd, O_CLOEXEC));
        FAILS(EFAULT, vmsplice(fd[1], &iov, 1, 0));
    }
}

/* Pages in a pipe are pinned: nobody may get that memory before the pipe's reader has it. */
static void pinned_is_not_handed_out(void)
{
    struct st_member m, r;
    struct vmshm_alloc next;

    st_member(&m, KEY);
    st_member(&r, KEY);
    if (!st_has_pages(&m)) {
        nothing_can_be_pinned(&m);
        return;
    }
    for (int huge = 0; huge < 2; ++huge) {
        for (int by_reader = 0; by_reader < 2; ++by_reader) {
            struct vmshm_alloc w;
            uint8_t *own = touched(&m, huge, &w), *p = own, bytes[ST_PAGE];
            struct iovec iov;
            int fd[2];

            CHECK(0 == pipe2(fd, O_CLOEXEC));
            if (by_reader) {
                st_find(&r, m.about.vm, m.joined.slot, w.index, KEY);
                p = st_map(&r, w.offset, w.length, PROT_READ);
            }
            iov = (struct iovec) { p + ST_PAGE, ST_PAGE };
            SAME(ST_PAGE, vmsplice(fd[1], &iov, 1, 0));
            if (by_reader) {
                st_release(&r, m.about.vm, w.index);
            }
            st_release(&m, m.about.vm, w.index);
            SAME(SIGBUS, st_try_read(own));
            SAME(SIGBUS, st_try_read(p));
            for (int i = 0; i < 3; ++i) {
                next = st_alloc(&m, w.length, VMSHM_KIND_PRIVATE);
                CHECK(next.offset >= w.offset + w.length || next.offset + next.length <= w.offset);
                st_sleep_ms(300);
                st_release(&m, m.about.vm, next.index);
            }
            SAME(VMSHM_WINDOW_QUARANTINE, st_window(&m, m.about.vm, w.index)->state);
            SAME(ST_PAGE, read(fd[0], bytes, ST_PAGE));
            SAME((uint64_t) -1, st_differs(bytes, ST_PAGE, 0x66));
            close(fd[0]);
            close(fd[1]);
            st_sleep_ms(700);
            next = st_alloc(&m, w.length, VMSHM_KIND_PRIVATE);
            SAME(w.offset, next.offset);
            p = st_map(&m, next.offset, next.length, PROT_READ);
            SAME((uint64_t) -1, st_differs(p, next.length, 0));
            st_release(&m, m.about.vm, next.index);
        }
    }
}

struct lent {
    struct st_turn turn;
    struct vmshm_alloc w;
    uint32_t slot;
};

/* Pins a page of the other's window, gives the window back, and leaves; the page stays in a pipe. */
static void pins_and_leaves(void *arg)
{
    struct lent *l = arg;
    struct vmshm_find f = { .index = l->w.index, .slot = l->slot };
    struct st_member m;
    struct iovec iov;
    uint8_t *p;

    st_member(&m, KEY);
    f.vm = m.about.vm;
    st_key(f.job, KEY);
    CHECK(0 == st_ioctl(m.fd, VMSHM_IOC_FIND, &f));
    p = st_map(&m, f.window_offset, f.window_length, PROT_READ);
    iov = (struct iovec) { p, ST_PAGE };
    if (ST_PAGE != vmsplice(l->turn.from[1], &iov, 1, 0)) {
        st_fail(__FILE__, __LINE__, "vmsplice: %s", st_errno(errno));
    }
    CHECK(0 == st_try_release(&m, f.vm, f.index));
}

static void pinned_by_another_is_not_handed_out(void)
{
    struct vmshm_alloc next;
    uint8_t bytes[ST_PAGE], *p;
    struct st_member m;
    struct lent l;

    st_member(&m, KEY);
    if (!st_has_pages(&m)) {
        nothing_can_be_pinned(&m);
        return;
    }
    st_turn_make(&l.turn);
    l.w = st_alloc(&m, VMSHM_GRANULE_BYTES, VMSHM_KIND_PRIVATE);
    l.slot = m.joined.slot;
    p = st_map(&m, l.w.offset, l.w.length, RW);
    memset(p, 0x66, l.w.length);
    st_join(st_fork(pins_and_leaves, &l));
    CHECK(0 == st_try_release(&m, m.about.vm, l.w.index));
    munmap(p, l.w.length);
    SAME(VMSHM_WINDOW_QUARANTINE, st_window(&m, m.about.vm, l.w.index)->state);
    next = st_alloc(&m, l.w.length, VMSHM_KIND_PRIVATE);
    CHECK(next.offset != l.w.offset);
    SAME(ST_PAGE, read(l.turn.from[0], bytes, ST_PAGE));
    SAME((uint64_t) -1, st_differs(bytes, ST_PAGE, 0x66));
    /* the module looks four times a second */
    for (int i = 0; i < 40 && VMSHM_WINDOW_EMPTY != st_window(&m, m.about.vm, l.w.index)->state;
         ++i) {
        usleep(100000);
        (void) st_alloc(&m, 1, VMSHM_KIND_PRIVATE);
    }
    CHECK(VMSHM_WINDOW_QUARANTINE != st_window(&m, m.about.vm, l.w.index)->state);
}

static void what_proc_shows(void)
{
    static const char *const names[] = { "maps", "smaps", "smaps_rollup", "numa_maps", "pagemap" };
    struct vmshm_alloc w;
    struct st_member m;
    unsigned char *resident = malloc(HUGE / ST_PAGE);
    static uint8_t buffer[65536];

    st_member(&m, KEY);
    for (int huge = 0; huge < 2; ++huge) {
        uint8_t *p = touched(&m, huge, &w);
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
                CHECK(0 < pread(fd, buffer, 512 * 8, (off_t) ((uintptr_t) p / ST_PAGE * 8)));
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

/* Written together nowhere but in the memory of the process that dies. */
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
    p = touched(&m, 0, &w);
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
    { "own-window", own_window },
    { "foreign-window-not-found", foreign_window_not_found },
    { "found-private-window", found_private_window },
    { "found-open-window", found_open_window },
    { "tables-are-read-only", tables_are_read_only },
    { "tables-of-a-read-only-file", tables_of_a_read_only_file },
    { "private-or-executable", private_or_executable },
    { "ranges", ranges },
    { "other-flags", other_flags },
    { "mremap-moves-and-does-not-grow", mremap_moves_and_does_not_grow },
    { "munmap-of-a-part", munmap_of_a_part },
    { "mprotect-to-and-fro", mprotect_to_and_fro },
    { "entries-of-2-mib", entries_of_2_mib },
    { "sigbus-after-the-release", sigbus_after_the_release },
    { "sigbus-after-the-leave", sigbus_after_the_leave },
    { "fork-does-not-inherit", fork_does_not_inherit },
    { "dofork-does-not-help", dofork_does_not_help },
    { "any-advice", any_advice },
    { "futexes", futexes },
    { "other-processes-hands", other_processes_hands },
    { "no-hand-writes-what-was-found", no_hand_writes_what_was_found },
    { "a-debugger", a_debugger },
    { "files-and-pipes", files_and_pipes },
    { "direct-io", direct_io },
    { "pinned-is-not-handed-out", pinned_is_not_handed_out },
    { "pinned-by-another-is-not-handed-out", pinned_by_another_is_not_handed_out },
    { "what-proc-shows", what_proc_shows },
    { "core-without-the-segment", core_without_the_segment },
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    return st_main(argc, argv, tests, 30);
}
