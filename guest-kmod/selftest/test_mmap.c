// SPDX-License-Identifier: GPL-2.0-only
/* Access rights for mappings: which processes may map which ranges, how, and until when. */
#define _GNU_SOURCE
#include "st.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define KEY 3
#define RW (PROT_READ | PROT_WRITE)

/* Two open files are two memberships, so one process is enough. */
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
    w = st_alloc(&m, 4 * ST_HUGE, VMSHM_KIND_PRIVATE);
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
        room = mmap(NULL, w.length + 2 * ST_HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(MAP_FAILED != (void *) room);
        room += (((uintptr_t) p - (uintptr_t) room) & (ST_HUGE - 1)) + shift;
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

static void munmap_of_a_part(void)
{
    struct vmshm_alloc w;
    struct st_member m;
    uint8_t *p;

    st_member(&m, KEY);
    for (int touched = 0; touched < 2; ++touched) {
        p = st_aligned(&m, 4, &w, RW);
        for (uint64_t i = 0; touched && i < 4 * ST_HUGE; i += ST_PAGE) {
            *(uint64_t *) (p + i) = i;
        }
        CHECK(0 == munmap(p + ST_HUGE + 5 * ST_PAGE, ST_PAGE));
        CHECK(0 == munmap(p + 2 * ST_HUGE, ST_HUGE));
        CHECK(0 == munmap(p, ST_PAGE));
        for (uint64_t i = 0; i < 4 * ST_HUGE; i += ST_PAGE) {
            const bool hole = 0 == i || ST_HUGE + 5 * ST_PAGE == i
                              || (2 * ST_HUGE <= i && i < 3 * ST_HUGE);

            SAME(hole ? SIGSEGV : 0, st_try_read(p + i));
            if (!hole) {
                SAME(touched ? i : 0, *(uint64_t *) (p + i));
                *(uint64_t *) (p + i) = ~i;
                SAME(~i, *(uint64_t *) (p + i));
            }
        }
        st_release(&m, m.about.vm, w.index);
        SAME(SIGBUS, st_try_read(p + ST_PAGE));
        SAME(SIGBUS, st_try_read(p + ST_HUGE + 6 * ST_PAGE));
        SAME(SIGBUS, st_try_read(p + 4 * ST_HUGE - 1));
    }
}

static void mprotect_to_and_fro(void)
{
    struct vmshm_alloc w;
    struct st_member m;
    uint8_t *p;

    st_member(&m, KEY);
    p = st_aligned(&m, 3, &w, RW);
    memset(p, 0x61, 3 * ST_HUGE);
    const struct { uint64_t at, bytes; } parts[] = {
        { 0, 3 * ST_HUGE }, { ST_HUGE, ST_HUGE }, { 7 * ST_PAGE, ST_PAGE },
        { ST_HUGE - ST_PAGE, 2 * ST_PAGE },
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
        SAME((uint64_t) -1, st_differs(p, 3 * ST_HUGE, 0x61));
    }
}

static long faults(void);

/* Splitting a mapping in a process that has not joined must not remove the entries of others. */
static void a_split_costs_others_nothing(void)
{
    struct st_member reader, splitter;
    const uint8_t *mine;
    uint8_t *theirs;
    uint64_t bytes;
    long before;

    st_visitor(&reader);
    /* a page less, so that the entries are small */
    bytes = vmshm_heap_offset(&reader.header) - ST_PAGE;
    mine = st_map(&reader, st_entry(&reader, 0)->offset, bytes, PROT_READ);
    st_visitor(&splitter);
    theirs = st_map(&splitter, st_entry(&splitter, 0)->offset, bytes, PROT_READ);
    for (uint64_t i = 0; i < bytes; i += ST_PAGE) {
        SAME(0, st_try_read(mine + i));
        SAME(0, st_try_read(theirs + i));
    }
    before = faults();
    CHECK(0 == munmap(theirs + 16 * ST_PAGE, ST_PAGE));
    CHECK(0 == mprotect(theirs + 2 * ST_PAGE, ST_PAGE, PROT_NONE));
    for (uint64_t i = 0; i < bytes; i += ST_PAGE) {
        SAME(0, st_try_read(mine + i));
    }
    /* the stack's, at most */
    if (faults() - before > 2) {
        st_fail(__FILE__, __LINE__, "%ld page faults after another's split", faults() - before);
    }
}

static long faults(void)
{
    struct rusage r;

    CHECK(0 == getrusage(RUSAGE_SELF, &r));
    return r.ru_minflt + r.ru_majflt;
}

/* See vmshm_compat.h. */
static bool has_large_entries(const struct st_member *m)
{
    struct utsname u;
    int major, minor;

    CHECK(0 == uname(&u) && 2 == sscanf(u.release, "%d.%d", &major, &minor));
    return st_has_pages(m) && (major > 6 || (6 == major && minor >= 5));
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
    if (!has_large_entries(&x.a)) {
        st_skip("this kernel has none for such memory");
    }
    pair_find(&x);
    p = st_aligned(&x.a, count, &w, RW);
    SAME(0, (uintptr_t) p % ST_HUGE);
    before = faults();
    for (uint64_t i = 0; i < count * ST_HUGE; i += ST_PAGE) {
        p[i] = 1;
    }
    if (faults() - before > (long) (count + 8)) {
        st_fail(__FILE__, __LINE__, "%ld page faults to write %llu MiB", faults() - before,
                (unsigned long long) count * 2);
    }
    f = st_find(&x.b, x.a.about.vm, x.a.joined.slot, w.index, KEY);
    p = st_map(&x.b, (f.window_offset + ST_HUGE - 1) & ~(ST_HUGE - 1), count * ST_HUGE, PROT_READ);
    before = faults();
    for (uint64_t i = 0; i < count * ST_HUGE; i += ST_PAGE) {
        CHECK(1 == p[i]);
    }
    if (faults() - before > (long) (count + 8)) {
        st_fail(__FILE__, __LINE__, "%ld page faults to read %llu MiB", faults() - before,
                (unsigned long long) count * 2);
    }
    /* read first, then written: no fault for the right to write */
    CHECK(0 == munmap(p, count * ST_HUGE));
    p = st_map(&x.a, (w.offset + ST_HUGE - 1) & ~(ST_HUGE - 1), count * ST_HUGE, RW);
    before = faults();
    for (uint64_t i = 0; i < count * ST_HUGE; i += ST_HUGE) {
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

    for (uint64_t bytes = VMSHM_GRANULE_BYTES; bytes <= 3 * ST_HUGE;
         bytes += 3 * ST_HUGE - VMSHM_GRANULE_BYTES) {
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
        /* The old mapping gives no access to a window that gets the range later. */
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

/* Walks that look at entries in passing must neither lose one, and with it the flush that ends a right, nor
 * look for what a large one has not got.
 */
static void walks_of_entries(void)
{
    const int advices[] = { MADV_COLD, MADV_PAGEOUT, MADV_NORMAL };
    const unsigned long node = 1;
    struct st_member m;
    struct vmshm_alloc w;

    for (size_t i = 0; i < sizeof advices / sizeof advices[0]; ++i) {
        uint8_t *p;

        st_member(&m, KEY);
        p = st_aligned(&m, 2, &w, RW);
        memset(p, 0x41, 2 * ST_HUGE);
        /* MPOL_BIND to node 0, MPOL_MF_STRICT: with MPOL_DEFAULT nothing is looked at */
        (void) syscall(SYS_mbind, p, 2 * ST_HUGE, 2, &node, 8 * sizeof node, 1);
        (void) madvise(p, 2 * ST_HUGE, advices[i]);
        CHECK(0x41 == p[0] && 0x41 == p[2 * ST_HUGE - 1]);
        (void) madvise(p, 2 * ST_HUGE, advices[i]);
        st_release(&m, m.about.vm, w.index);
        SAME(SIGBUS, st_try_read(p));
        SAME(SIGBUS, st_try_write(p + ST_HUGE, 1));
        close(m.fd);
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
    /* every process may map the tables */
    SAME(VMSHM_PROC_LEFT, st_proc(&x.a, x.a.about.vm, x.a.joined.slot)->state);
    /* and a new membership does not bring the old mappings back */
    st_join_job(&x.a, KEY);
    st_alloc(&x.a, VMSHM_GRANULE_BYTES, VMSHM_KIND_PRIVATE);
    SAME(SIGBUS, st_try_read(own));
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
    { "a-split-costs-others-nothing", a_split_costs_others_nothing },
    { "sigbus-after-the-release", sigbus_after_the_release },
    { "walks-of-entries", walks_of_entries },
    { "sigbus-after-the-leave", sigbus_after_the_leave },
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    return st_main(argc, argv, tests, 30);
}
