// SPDX-License-Identifier: GPL-2.0-only
/* A member's slot and windows, and that they are released in whatever way it ends. */
#define _GNU_SOURCE
#include "st.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEY 2
#define RW (PROT_READ | PROT_WRITE)

static void describe(void)
{
    struct vmshm_describe d, again;
    struct st_member m;

    st_visitor(&m);
    memset(&d, 0xff, sizeof d);
    CHECK(0 == st_ioctl(m.fd, VMSHM_IOC_DESCRIBE, &d));
    SAME(VMSHM_UAPI_VERSION, d.uapi);
    SAME(VMSHM_FORMAT_VERSION, d.format);
    CHECK(d.vm < m.header.vms);
    CHECK(VMSHM_ID_DEVICE <= d.vm_source && d.vm_source <= VMSHM_ID_PARAMETER);
    SAME(m.header.total_bytes, d.total_bytes);
    CHECK(0 != d.epoch);
    SAME(0, d.reserved[0] | d.reserved[1] | d.reserved[2]);
    SAME(VMSHM_MAGIC, m.header.magic);
    CHECK(0 == st_ioctl(st_open(O_RDONLY), VMSHM_IOC_DESCRIBE, &again));
    CHECK(0 == memcmp(&d, &again, sizeof d));
}

static void join_shows_the_process(void)
{
    const struct vmshm_section *s;
    const struct vmshm_proc *p;
    struct st_member m, second;

    st_member(&m, KEY);
    p = st_proc(&m, m.about.vm, m.joined.slot);
    s = st_section(&m, m.about.vm);
    SAME(VMSHM_PROC_LIVE, p->state);
    SAME(m.joined.generation, p->generation);
    SAME(getpid(), p->pid);
    SAME(getuid(), p->uid);
    CHECK(0 != m.joined.nonce);
    SAME(m.joined.nonce, p->nonce);
    SAME(m.joined.name, p->name);
    CHECK(0 == memcmp(m.key, p->job, sizeof p->job));
    SAME(UINT32_MAX, p->window);
    CHECK(p->joined_sec + 60 > (uint64_t) time(NULL) && p->joined_sec < (uint64_t) time(NULL) + 60);
    SAME(0, p->messages);
    SAME(m.about.vm, m.joined.vm);
    SAME(m.about.epoch, m.joined.epoch);
    SAME(VMSHM_SECTION_MAGIC, s->magic);
    SAME(VMSHM_SECTION_UP, s->state);
    SAME(m.about.vm, s->vm_id);
    SAME(m.about.epoch, s->epoch);
    st_member(&second, KEY + 1);
    CHECK(second.joined.slot != m.joined.slot);
    CHECK(second.joined.nonce != m.joined.nonce);
    SAME(m.joined.epoch, second.joined.epoch);
}

static void heartbeat_grows(void)
{
    struct st_member m;
    uint64_t before;

    st_member(&m, KEY);
    before = st_section(&m, m.about.vm)->heartbeat;
    st_sleep_ms(1500);
    CHECK(__atomic_load_n(&st_section(&m, m.about.vm)->heartbeat, __ATOMIC_RELAXED) >= before + 3);
}

static void slots_have_generations(void)
{
    uint32_t seen[VMSHM_MAX_PROCS] = { 0 };
    struct st_member m;

    st_visitor(&m);
    for (uint32_t i = 0; i < 3 * m.header.procs; ++i) {
        const struct vmshm_proc *p;

        st_join_job(&m, KEY);
        CHECK(m.joined.generation > seen[m.joined.slot]);
        seen[m.joined.slot] = m.joined.generation;
        p = st_proc(&m, m.about.vm, m.joined.slot);
        SAME(m.joined.generation, p->generation);
        SAME(VMSHM_PROC_LIVE, p->state);
        st_leave(&m);
        SAME(VMSHM_PROC_LEFT, p->state);
    }
}

/* ---------------------------------------------------------------- handing out */

static void entry_is_complete(void)
{
    static const uint64_t bytes[] = { 1, 65535, 65536, 65537, 131072, 131073 };
    static const uint64_t units[] = { 1, 1, 1, 2, 2, 3 };
    struct st_member m;

    st_member(&m, KEY);
    for (uint32_t kind = VMSHM_KIND_PRIVATE; kind <= VMSHM_KIND_OPEN; ++kind) {
        for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; ++i) {
            const struct vmshm_alloc a = st_alloc(&m, bytes[i], kind);
            const struct vmshm_window *w = st_window(&m, m.about.vm, a.index);

            SAME(bytes[i], a.bytes);
            SAME(units[i] * VMSHM_GRANULE_BYTES, a.length);
            SAME(0, a.offset % VMSHM_GRANULE_BYTES);
            SAME(VMSHM_WINDOW_LIVE, w->state);
            SAME(a.offset, w->offset);
            SAME(a.length, w->length);
            SAME(m.joined.slot, w->proc);
            SAME(getuid(), w->uid);
            SAME(kind, w->kind);
            CHECK(0 == memcmp(m.key, w->job, sizeof w->job));
        }
    }
}

static void windows_are_disjoint(void)
{
    struct vmshm_alloc held[64];
    const struct vmshm_section_entry *e;
    uint64_t state = 77, heap;
    struct st_member m;
    unsigned n = 0;

    st_member(&m, KEY);
    e = st_entry(&m, m.about.vm);
    heap = vmshm_heap_offset(&m.header);
    for (unsigned step = 0; step < 400; ++step) {
        struct vmshm_alloc a;

        if (40 == n || (0 < n && 0 == st_random(&state) % 3)) {
            const unsigned i = st_random(&state) % n;

            st_release(&m, m.about.vm, held[i].index);
            held[i] = held[--n];
            continue;
        }
        a = st_alloc(&m, 1 + st_random(&state) % (256 * ST_KIB),
                     0 == st_random(&state) % 4 ? VMSHM_KIND_OPEN : VMSHM_KIND_PRIVATE);
        if (VMSHM_KIND_OPEN == a.kind) {
            CHECK(vmshm_range_inside(a.offset, a.length, e->offset + e->open_offset,
                                     e->length - e->open_offset));
        } else {
            CHECK(vmshm_range_inside(a.offset, a.length, e->offset + heap, e->open_offset - heap));
        }
        for (unsigned i = 0; i < n; ++i) {
            CHECK(a.index != held[i].index);
            CHECK(a.offset >= held[i].offset + held[i].length
                  || held[i].offset >= a.offset + a.length);
        }
        held[n++] = a;
    }
}

/* The whole of a window is `before`, and then `value`. */
static void fill(const struct st_member *m, const struct vmshm_alloc *a, uint8_t value)
{
    uint8_t *p = st_map(m, a->offset, a->length, RW);

    memset(p, value, a->length);
    munmap(p, a->length);
}

static void is_zero(const struct st_member *m, const struct vmshm_alloc *a)
{
    uint8_t *p = st_map(m, a->offset, a->length, PROT_READ);
    const int64_t at = st_differs(p, a->length, 0);

    if (0 <= at) {
        st_fail(__FILE__, __LINE__, "byte %lld of a new window of %llu is %#x", (long long) at,
                (unsigned long long) a->length, p[at]);
    }
    munmap(p, a->length);
}

static void memory_is_zero_again(void)
{
    struct st_member m;

    st_member(&m, KEY);
    for (uint32_t kind = VMSHM_KIND_PRIVATE; kind <= VMSHM_KIND_OPEN; ++kind) {
        /* Not a multiple of the pieces in which it is zeroed. */
        const uint64_t bytes = 5 * ST_MIB + 3 * VMSHM_GRANULE_BYTES;
        struct vmshm_alloc first = st_alloc(&m, bytes, kind), part, whole;

        is_zero(&m, &first);
        fill(&m, &first, 0xff);
        st_release(&m, m.about.vm, first.index);
        part = st_alloc(&m, VMSHM_GRANULE_BYTES, kind);
        SAME(first.offset, part.offset);
        is_zero(&m, &part);
        fill(&m, &part, 0xee);
        st_release(&m, m.about.vm, part.index);
        whole = st_alloc(&m, bytes, kind);
        SAME(first.offset, whole.offset);
        is_zero(&m, &whole);
        fill(&m, &whole, 0xdd);
        st_release(&m, m.about.vm, whole.index);
        /* and beyond what was handed out before */
        whole = st_alloc(&m, bytes + ST_MIB, kind);
        SAME(first.offset, whole.offset);
        is_zero(&m, &whole);
    }
}

static void windows_have_generations(void)
{
    uint32_t last = 0;
    struct st_member m;

    st_member(&m, KEY);
    for (int i = 0; i < 5; ++i) {
        const struct vmshm_alloc a = st_alloc(&m, 1, VMSHM_KIND_PRIVATE);
        const uint32_t generation = st_window(&m, m.about.vm, a.index)->generation;

        CHECK(0 == i || generation > last);
        last = generation;
        st_release(&m, m.about.vm, a.index);
        SAME(VMSHM_WINDOW_EMPTY, st_window(&m, m.about.vm, a.index)->state);
    }
}

/* ---------------------------------------------------------------- finding, quarantine */

static void found_is_what_the_owner_has(void)
{
    struct st_member m, reader;
    struct vmshm_alloc a, open;
    struct vmshm_find f;
    uint8_t *own, *seen;

    st_member(&m, KEY);
    st_member(&reader, KEY + 5);        /* the key of the job is asked for, not the own one */
    a = st_alloc(&m, 100, VMSHM_KIND_PRIVATE);
    open = st_alloc(&m, 200000, VMSHM_KIND_OPEN);
    f = st_find(&reader, m.about.vm, m.joined.slot, a.index, KEY);
    SAME(a.index, f.index);
    SAME(a.offset, f.window_offset);
    SAME(a.length, f.window_length);
    SAME(VMSHM_KIND_PRIVATE, f.kind);
    SAME(st_window(&m, m.about.vm, a.index)->generation, f.generation);
    CHECK(st_reads(&m, m.about.vm, reader.joined.slot, m.about.vm, a.index));
    CHECK(!st_reads(&m, m.about.vm, reader.joined.slot, m.about.vm, open.index));
    own = st_map(&m, a.offset, a.length, RW);
    seen = st_map(&reader, f.window_offset, f.window_length, PROT_READ);
    memset(own, 0x71, a.length);
    SAME((uint64_t) -1, st_differs(seen, a.length, 0x71));
    own[4711] = 0x17;
    SAME(0x17, seen[4711]);

    f = (struct vmshm_find) { .vm = m.about.vm, .slot = m.joined.slot, .index = VMSHM_ANY_WINDOW,
                              .offset = open.offset + 70000, .length = 100 };
    st_key(f.job, KEY);
    CHECK(0 == st_ioctl(reader.fd, VMSHM_IOC_FIND, &f));
    SAME(open.index, f.index);
    SAME(open.offset, f.window_offset);
    SAME(open.length, f.window_length);
    SAME(VMSHM_KIND_OPEN, f.kind);
    own = st_map(&m, open.offset, open.length, RW);
    seen = st_map(&reader, f.window_offset, f.window_length, RW);
    memset(seen, 0x72, open.length);
    SAME((uint64_t) -1, st_differs(own, open.length, 0x72));

    /* found once more, released once */
    st_find(&reader, m.about.vm, m.joined.slot, a.index, KEY);
    st_release(&reader, m.about.vm, a.index);
    CHECK(!st_reads(&m, m.about.vm, reader.joined.slot, m.about.vm, a.index));
    FAILS(ENOENT, st_try_release(&reader, m.about.vm, a.index));
}

struct emptied {
    const struct st_member *m;
    uint32_t index;
};

static bool is_empty(void *arg)
{
    const struct emptied *e = arg;

    return VMSHM_WINDOW_EMPTY
           == __atomic_load_n(&st_window(e->m, e->m->about.vm, e->index)->state, __ATOMIC_ACQUIRE);
}

static void quarantine_while_read(void)
{
    struct st_member m, reader;
    struct vmshm_alloc a, next, again;
    struct vmshm_find f;
    uint8_t *seen;

    st_member(&m, KEY);
    st_member(&reader, KEY);
    a = st_alloc(&m, 200000, VMSHM_KIND_PRIVATE);
    fill(&m, &a, 0x33);
    st_find(&reader, m.about.vm, m.joined.slot, a.index, KEY);
    seen = st_map(&reader, a.offset, a.length, PROT_READ);
    st_release(&m, m.about.vm, a.index);
    SAME(VMSHM_WINDOW_QUARANTINE, st_window(&m, m.about.vm, a.index)->state);
    FAILS(ENOENT, st_try_find(&reader, m.about.vm, m.joined.slot, a.index, KEY, &f));
    for (int i = 0; i < 5; ++i) {
        next = st_alloc(&m, 65536, VMSHM_KIND_PRIVATE);
        CHECK(next.index != a.index);
        CHECK(!vmshm_range_inside(next.offset, next.length, a.offset, a.length));
        fill(&m, &next, 0x44);
    }
    st_sleep_ms(700);                   /* nor does a beat of the module collect it */
    SAME(VMSHM_WINDOW_QUARANTINE, st_window(&m, m.about.vm, a.index)->state);
    SAME((uint64_t) -1, st_differs(seen, a.length, 0x33));
    st_release(&reader, m.about.vm, a.index);
    SAME(SIGBUS, st_try_read(seen));
    again = st_alloc(&m, 200000, VMSHM_KIND_PRIVATE);
    SAME(a.offset, again.offset);
    is_zero(&m, &again);
}

static void reader_holds(void *arg)
{
    const struct emptied *e = arg;
    struct st_member reader;

    st_member(&reader, KEY);
    st_find(&reader, e->m->about.vm, e->m->joined.slot, e->index, KEY);
    raise(SIGKILL);
}

static void dead_reader_holds_nothing(void)
{
    struct st_member m, reader;
    struct vmshm_alloc a;
    struct emptied e = { .m = &m };

    st_member(&m, KEY);
    for (int how = 0; how < 3; ++how) {
        a = st_alloc(&m, 1, VMSHM_KIND_PRIVATE);
        e.index = a.index;
        if (0 == how) {
            CHECK(SIGKILL == WTERMSIG(st_wait(st_fork(reader_holds, &e))));
            st_release(&m, m.about.vm, a.index);
        } else {
            st_member(&reader, KEY);
            st_find(&reader, m.about.vm, m.joined.slot, a.index, KEY);
            st_release(&m, m.about.vm, a.index);
            SAME(VMSHM_WINDOW_QUARANTINE, st_window(&m, m.about.vm, a.index)->state);
            if (1 == how) {
                st_leave(&reader);
            }
            close(reader.fd);           /* its mappings keep the file open */
            for (uint32_t vm = 0; vm < m.header.vms; ++vm) {
                munmap((void *) reader.tables[vm], vmshm_heap_offset(&m.header));
            }
            munmap((void *) reader.head, VMSHM_HEADER_BYTES);
        }
        CHECK(st_until(is_empty, &e, 2000));
    }
}

/* ---------------------------------------------------------------- what stands in the table */

static void publish(void)
{
    struct vmshm_publish p = { 0 };
    struct st_member m;

    st_member(&m, KEY);
    st_alloc(&m, 1, VMSHM_KIND_PRIVATE);
    p.index = st_alloc(&m, 1, VMSHM_KIND_PRIVATE).index;
    CHECK(0 == st_ioctl(m.fd, VMSHM_IOC_PUBLISH, &p));
    SAME(p.index, st_proc(&m, m.about.vm, m.joined.slot)->window);
    p.index = st_alloc(&m, 1, VMSHM_KIND_OPEN).index;
    CHECK(0 == st_ioctl(m.fd, VMSHM_IOC_PUBLISH, &p));
    SAME(p.index, st_proc(&m, m.about.vm, m.joined.slot)->window);
}

static void count(void)
{
    struct vmshm_count c = { .messages = 1234567, .bytes = UINT64_C(1) << 40 };
    uint64_t messages, bytes;
    struct st_member m;

    st_member(&m, KEY);
    messages = st_section(&m, m.about.vm)->messages;
    bytes = st_section(&m, m.about.vm)->bytes;
    CHECK(0 == st_ioctl(m.fd, VMSHM_IOC_COUNT, &c));
    SAME(c.messages, st_proc(&m, m.about.vm, m.joined.slot)->messages);
    SAME(c.bytes, st_proc(&m, m.about.vm, m.joined.slot)->bytes);
    st_leave(&m);
    SAME(messages + c.messages, st_section(&m, m.about.vm)->messages);
    SAME(bytes + c.bytes, st_section(&m, m.about.vm)->bytes);
    st_join_job(&m, KEY);
    SAME(0, st_proc(&m, m.about.vm, m.joined.slot)->messages);
}

/* ---------------------------------------------------------------- how it ends */

struct ending {
    int how;
    int tell;
    struct st_member m;
};
enum { BY_LEAVE, BY_CLOSE, BY_EXIT, BY_EXEC, BY_EXEC_KEEPING, BY_KILL, BY_ABORT, WITH_A_CHILD };

static void sleeper(void *arg)
{
    (void) arg;
    st_sleep_ms(3000);
}

static void end_so(void *arg)
{
    struct ending *e = arg;
    struct st_member m;
    struct vmshm_alloc a;

    st_member(&m, KEY);
    a = st_alloc(&m, 3 * ST_MIB, VMSHM_KIND_PRIVATE);
    fill(&m, &a, 0xee);
    a = st_alloc(&m, 100000, VMSHM_KIND_OPEN);
    fill(&m, &a, 0xee);
    CHECK((ssize_t) sizeof m.joined == write(e->tell, &m.joined, sizeof m.joined));
    switch (e->how) {
    case BY_LEAVE:
        st_leave(&m);
        st_sleep_ms(3000);
        break;
    case BY_CLOSE:
        munmap((void *) m.head, VMSHM_HEADER_BYTES);
        for (uint32_t vm = 0; vm < m.header.vms; ++vm) {
            munmap((void *) m.tables[vm], vmshm_heap_offset(&m.header));
        }
        close(m.fd);
        st_sleep_ms(3000);
        break;
    case BY_EXEC_KEEPING:
        fcntl(m.fd, F_SETFD, 0);
        /* fall through */
    case BY_EXEC:
        execl("/bin/sleep", "sleep", "3", NULL);
        break;
    case BY_KILL:
        raise(SIGKILL);
        break;
    case BY_ABORT:
        abort();
    case WITH_A_CHILD:
        /* it keeps the file open, not the address space */
        st_fork(sleeper, NULL);
        break;
    }
    _exit(0);
}

static bool has_ended(void *arg)
{
    const struct ending *e = arg;
    const uint32_t state = __atomic_load_n(
        &st_proc(&e->m, e->m.about.vm, e->m.joined.slot)->state, __ATOMIC_ACQUIRE);

    return (BY_LEAVE == e->how ? VMSHM_PROC_LEFT : VMSHM_PROC_DEAD) == state
           && 0 == st_used(&e->m);
}

static void ends_by(int how)
{
    struct ending e = { .how = how };
    struct vmshm_alloc a;
    struct st_member m;
    int fd[2];
    pid_t pid;

    st_visitor(&e.m);
    st_all_free(&e.m);
    CHECK(0 == pipe2(fd, O_CLOEXEC));
    e.tell = fd[1];
    pid = st_fork(end_so, &e);
    CHECK((ssize_t) sizeof e.m.joined == read(fd[0], &e.m.joined, sizeof e.m.joined));
    if (!st_until(has_ended, &e, 1500)) {
        st_fail(__FILE__, __LINE__, "the slot's state is %u, %llu bytes are not free",
                st_proc(&e.m, e.m.about.vm, e.m.joined.slot)->state,
                (unsigned long long) st_used(&e.m));
    }
    st_member(&m, KEY);
    a = st_alloc(&m, 4 * ST_MIB, VMSHM_KIND_PRIVATE);
    is_zero(&m, &a);
    a = st_alloc(&m, ST_MIB, VMSHM_KIND_OPEN);
    is_zero(&m, &a);
    kill(pid, SIGKILL);
    st_wait(pid);
}

static void ends_by_leave(void) { ends_by(BY_LEAVE); }
static void ends_by_close(void) { ends_by(BY_CLOSE); }
static void ends_by_exit(void) { ends_by(BY_EXIT); }
static void ends_by_exec(void) { ends_by(BY_EXEC); }
static void ends_by_exec_keeping(void) { ends_by(BY_EXEC_KEEPING); }
static void ends_by_kill(void) { ends_by(BY_KILL); }
static void ends_by_abort(void) { ends_by(BY_ABORT); }
static void ends_with_a_child(void) { ends_by(WITH_A_CHILD); }

/* Make all kinds of calls until killed. */
static void busy(void *arg)
{
    struct vmshm_alloc held[16];
    const uint64_t seed = *(const uint64_t *) arg;
    uint64_t state = seed;
    struct st_member m;
    unsigned n = 0;

    st_member(&m, KEY);
    for (;;) {
        struct vmshm_find f;

        if (16 == n || (0 < n && 0 == st_random(&state) % 3)) {
            const unsigned i = st_random(&state) % n;

            st_release(&m, m.about.vm, held[i].index);
            held[i] = held[--n];
        } else if (0 == st_random(&state) % 50) {
            st_leave(&m);
            n = 0;
            st_join_job(&m, KEY);
        } else {
            held[n] = st_alloc(&m, 1 + st_random(&state) % (512 * ST_KIB),
                               st_random(&state) % 2 ? VMSHM_KIND_PRIVATE : VMSHM_KIND_OPEN);
            fill(&m, &held[n], 0xee);
            st_find(&m, m.about.vm, m.joined.slot, held[n].index, KEY);
            st_try_find(&m, m.about.vm, st_random(&state) % m.header.procs,
                        st_random(&state) % m.header.windows, KEY, &f);
            ++n;
        }
    }
}

static bool nothing_is_left(void *arg)
{
    const struct st_member *m = arg;

    for (uint32_t slot = 0; slot < m->header.procs; ++slot) {
        if (VMSHM_PROC_LIVE == __atomic_load_n(&st_proc(m, m->about.vm, slot)->state,
                                               __ATOMIC_ACQUIRE)) {
            return false;
        }
    }
    return 0 == st_used(m);
}

static void killed_at_any_moment(void)
{
    uint64_t state = (uint64_t) getpid();
    struct st_member out, m;
    uint64_t changes;

    st_visitor(&out);
    changes = st_section(&out, out.about.vm)->changes;
    for (int round = 0; round < 40; ++round) {
        uint64_t seeds[2] = { st_random(&state), st_random(&state) };
        pid_t pids[2];
        struct vmshm_alloc a;

        for (int i = 0; i < 2; ++i) {
            pids[i] = st_fork(busy, &seeds[i]);
        }
        st_sleep_ms((unsigned) (st_random(&state) % 40));
        for (int i = 0; i < 2; ++i) {
            int status;

            kill(pids[i], SIGKILL);
            status = st_wait(pids[i]);
            CHECK(WIFSIGNALED(status) && SIGKILL == WTERMSIG(status));
        }
        if (!st_until(nothing_is_left, &out, 1500)) {
            st_fail(__FILE__, __LINE__, "round %d: %llu bytes are not free", round,
                    (unsigned long long) st_used(&out));
        }
        st_member(&m, KEY);
        a = st_alloc(&m, 4 * ST_MIB, VMSHM_KIND_PRIVATE);
        is_zero(&m, &a);
        a = st_alloc(&m, 4 * ST_MIB, VMSHM_KIND_OPEN);
        is_zero(&m, &a);
        st_leave(&m);
    }
    /* Two per round are our own. Most of the processes must have got as far as joining, and have been noticed. */
    CHECK(st_section(&out, out.about.vm)->changes > changes + 80 + 80);
}

static const struct st_test tests[] = {
    { "describe", describe },
    { "join-shows-the-process", join_shows_the_process },
    { "heartbeat-grows", heartbeat_grows },
    { "slots-have-generations", slots_have_generations },
    { "entry-is-complete", entry_is_complete },
    { "windows-are-disjoint", windows_are_disjoint },
    { "memory-is-zero-again", memory_is_zero_again },
    { "windows-have-generations", windows_have_generations },
    { "found-is-what-the-owner-has", found_is_what_the_owner_has },
    { "quarantine-while-read", quarantine_while_read },
    { "dead-reader-holds-nothing", dead_reader_holds_nothing },
    { "publish", publish },
    { "count", count },
    { "ends-by-leave", ends_by_leave },
    { "ends-by-close", ends_by_close },
    { "ends-by-exit", ends_by_exit },
    { "ends-by-exec", ends_by_exec },
    { "ends-by-exec-that-keeps-the-file", ends_by_exec_keeping },
    { "ends-by-kill", ends_by_kill },
    { "ends-by-abort", ends_by_abort },
    { "ends-with-a-child-alive", ends_with_a_child },
    { "killed-at-any-moment", killed_at_any_moment },
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    return st_main(argc, argv, tests, 30);
}
