// SPDX-License-Identifier: GPL-2.0-only
/* Races between calls, faults and the end of rights. Each test runs for VMSHM_RACE_MS (default 1500) and then looks
 * whether what should be there is there, and what should be free is free.
 */
#define _GNU_SOURCE
#include "st.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEY 6
#define RW (PROT_READ | PROT_WRITE)

static uint64_t end_ms;

static const uint64_t *to_happen;   /* a counter that must exceed 20 before the test ends, even on a slow machine */

static void start_clock(void)
{
    const char *ms = getenv("VMSHM_RACE_MS");

    end_ms = st_now_ms() + (NULL != ms ? (unsigned) atoi(ms) : 1500 * st_patience());
    to_happen = NULL;
}

static bool time_is_left(void)
{
    const uint64_t now = st_now_ms();

    return now < end_ms || (NULL != to_happen && 20 >= __atomic_load_n(to_happen, __ATOMIC_RELAXED)
                            && now < end_ms + 20000);
}

struct threads {
    pthread_t ids[16];
    unsigned n;
};

static void spawn(struct threads *t, void *(*run)(void *), void *arg)
{
    CHECK(0 == pthread_create(&t->ids[t->n++], NULL, run, arg));
}

static void join_all(struct threads *t)
{
    while (0 < t->n) {
        CHECK(0 == pthread_join(t->ids[--t->n], NULL));
    }
}

/* An owner and its readers, in threads and processes. Whoever holds a window that was found sees what its
 * owner wrote in it, or the zeros from before; never anybody else's.
 */
struct stage {
    struct st_member owner;
    uint32_t index;             /* the last filled */
    uint64_t found;
    uint64_t made;
};

static void *owner_thread(void *arg)
{
    struct stage *s = arg;
    uint64_t state = (uint64_t) getpid();

    while (time_is_left()) {
        const uint64_t bytes = st_random(&state) % 4 ? VMSHM_GRANULE_BYTES : ST_HUGE + ST_HUGE / 2;
        struct vmshm_alloc a;
        uint32_t generation;
        uint8_t *p;

        if (0 != st_try_alloc(&s->owner, bytes, VMSHM_KIND_PRIVATE, &a)) {
            CHECK(ENOSPC == errno);
            continue;
        }
        generation = st_window(&s->owner, s->owner.about.vm, a.index)->generation;
        p = st_map(&s->owner, a.offset, a.length, RW);
        for (uint64_t i = 0; i < a.length; i += ST_PAGE) {
            SAME(0, *(uint64_t *) (p + i));
            *(uint64_t *) (p + i) = (uint64_t) a.index << 32 | generation;
        }
        __atomic_store_n(&s->index, a.index, __ATOMIC_RELEASE);
        if (st_random(&state) % 2) {
            sched_yield();
        }
        st_release(&s->owner, s->owner.about.vm, a.index);
        munmap(p, a.length);
        ++s->made;
    }
    return NULL;
}

static void read_for_a_while(struct stage *s, struct st_member *m)
{
    while (time_is_left()) {
        const uint32_t index = __atomic_load_n(&s->index, __ATOMIC_ACQUIRE);
        struct vmshm_find f;
        uint8_t *p;

        if (0 != st_try_find(m, s->owner.about.vm, s->owner.joined.slot, index, KEY, &f)) {
            CHECK(ENOENT == errno);
            continue;
        }
        p = st_map(m, f.window_offset, f.window_length, PROT_READ);
        for (uint64_t i = 0; i < f.window_length; i += ST_PAGE) {
            const uint64_t value = __atomic_load_n((uint64_t *) (p + i), __ATOMIC_RELAXED);

            if (0 != value && ((uint64_t) index << 32 | f.generation) != value) {
                st_fail(__FILE__, __LINE__, "window %u of generation %u shows %#llx", index,
                        f.generation, (unsigned long long) value);
            }
        }
        st_release(m, s->owner.about.vm, index);
        SAME(SIGBUS, st_try_read(p));
        munmap(p, f.window_length);
        ++s->found;
    }
}

static void *reader_thread(void *arg)
{
    struct st_member m;

    st_member(&m, KEY);
    read_for_a_while(arg, &m);
    return NULL;
}

static void reader_process(void *arg)
{
    struct st_member m;

    st_member(&m, KEY);
    read_for_a_while(arg, &m);
}

static void release_against_find(void)
{
    struct stage *s = mmap(NULL, sizeof *s, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct threads t = { .n = 0 };
    pid_t pid;

    CHECK(MAP_FAILED != (void *) s);
    st_member(&s->owner, KEY);
    start_clock();
    to_happen = &s->found;
    pid = st_fork(reader_process, s);
    spawn(&t, owner_thread, s);
    spawn(&t, reader_thread, s);
    spawn(&t, reader_thread, s);
    join_all(&t);
    st_join(pid);
    CHECK(0 < s->made);
    CHECK(20 < s->found);
}

/* The first touch of each entry of 2 MiB by several threads at one time: one of them makes the entry. */
struct herd {
    pthread_barrier_t barrier;
    uint8_t *at;
    uint64_t entries;
    unsigned number;
};

static void *herd_thread(void *arg)
{
    struct herd *h = arg;
    const unsigned i = __atomic_fetch_add(&h->number, 1, __ATOMIC_RELAXED);

    for (;;) {
        pthread_barrier_wait(&h->barrier);
        if (NULL == h->at) {
            return NULL;
        }
        for (uint64_t e = 0; e < h->entries; ++e) {
            /* some write, some read */
            uint64_t *p = (uint64_t *) (h->at + e * ST_HUGE + i * ST_PAGE);

            if (i % 2) {
                *(volatile uint64_t *) p = i;
            } else {
                (void) *(volatile uint64_t *) p;
            }
        }
        pthread_barrier_wait(&h->barrier);
    }
}

static void touch_at_one_time(void)
{
    struct herd h = { .entries = 12 };
    struct threads t = { .n = 0 };
    struct vmshm_alloc a;
    struct st_member m;

    st_member(&m, KEY);
    a = st_alloc(&m, (h.entries + 1) * ST_HUGE, VMSHM_KIND_PRIVATE);
    CHECK(0 == pthread_barrier_init(&h.barrier, NULL, 5));
    for (int i = 0; i < 4; ++i) {
        spawn(&t, herd_thread, &h);
    }
    start_clock();
    while (time_is_left()) {
        h.at = st_map(&m, (a.offset + ST_HUGE - 1) & ~(ST_HUGE - 1), h.entries * ST_HUGE, RW);
        pthread_barrier_wait(&h.barrier);
        pthread_barrier_wait(&h.barrier);
        for (uint64_t e = 0; e < h.entries; ++e) {
            for (unsigned i = 0; i < 4; ++i) {
                SAME(i % 2 ? i : 0, *(uint64_t *) (h.at + e * ST_HUGE + i * ST_PAGE));
            }
            /* If the kernel took the large entry for a table, it wrote its entries here. */
            SAME((uint64_t) -1, st_differs(h.at + e * ST_HUGE, ST_PAGE, 0));
        }
        munmap(h.at, h.entries * ST_HUGE);
    }
    h.at = NULL;
    pthread_barrier_wait(&h.barrier);
    join_all(&t);
}

/* One mapping, that threads touch, cut and change, while another takes the right away and gives a new
 * one.
 */
struct target {
    struct st_member m;
    uint8_t *at;                /* address of a mapping that always exists */
    uint64_t bytes;
    uint64_t touched;
};

static void *toucher(void *arg)
{
    struct target *t = arg;
    uint64_t state = (uintptr_t) &state;

    while (time_is_left()) {
        uint8_t *p = t->at + st_random(&state) % t->bytes;
        const int signo = st_random(&state) % 2 ? st_try_read(p) : st_try_write(p, 1);

        CHECK(0 == signo || SIGBUS == signo || SIGSEGV == signo);
        if (0 == signo) {
            __atomic_fetch_add(&t->touched, 1, __ATOMIC_RELAXED);
        }
    }
    return NULL;
}

static void *cutter(void *arg)
{
    static const int prots[] = { PROT_NONE, PROT_READ, RW };
    struct target *t = arg;
    uint64_t state = 9;

    while (time_is_left()) {
        const uint64_t at = st_random(&state) % t->bytes & ~(ST_PAGE - 1);

        (void) mprotect(t->at + at, ST_PAGE + st_random(&state) % (t->bytes - at),
                        prots[st_random(&state) % 3]);
        if (0 == st_random(&state) % 8) {
            (void) madvise(t->at, t->bytes, st_advice(st_random(&state)));
        }
    }
    return NULL;
}

static void *mapper(void *arg)
{
    struct target *t = arg;

    while (time_is_left()) {
        struct vmshm_alloc a = st_alloc(&t->m, t->bytes, VMSHM_KIND_PRIVATE);

        CHECK(t->at == mmap(t->at, t->bytes, RW, MAP_SHARED | MAP_FIXED, t->m.fd,
                            (off_t) a.offset));
        sched_yield();
        (void) st_try_write(t->at, 3);
        st_release(&t->m, t->m.about.vm, a.index);
    }
    return NULL;
}

static void *forker(void *arg)
{
    (void) arg;
    while (time_is_left()) {
        const pid_t pid = fork();

        if (0 == pid) {
            _exit(0);
        }
        CHECK(0 < pid);
        st_wait(pid);
    }
    return NULL;
}

static void release_against_touch(void)
{
    struct threads threads = { .n = 0 };
    struct target t = { .bytes = 3 * ST_HUGE };
    struct vmshm_alloc a;

    st_member(&t.m, KEY);
    t.at = mmap(NULL, t.bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(MAP_FAILED != (void *) t.at);
    start_clock();
    to_happen = &t.touched;
    spawn(&threads, mapper, &t);
    spawn(&threads, toucher, &t);
    spawn(&threads, toucher, &t);
    spawn(&threads, cutter, &t);
    spawn(&threads, forker, &t);
    join_all(&threads);
    CHECK(20 < t.touched);
    st_all_free(&t.m);
    a = st_alloc(&t.m, t.bytes, VMSHM_KIND_PRIVATE);
    SAME((uint64_t) -1, st_differs(st_map(&t.m, a.offset, a.length, PROT_READ), a.length, 0));
}

/* One thread leaves and joins again and again while others use the membership. */
static void allowed(int rc, int line)
{
    if (0 != rc && ENOTCONN != errno && ENODEV != errno && ENOENT != errno && ENOSPC != errno) {
        st_fail(__FILE__, line, "%s", st_errno(errno));
    }
}

static void *leaver(void *arg)
{
    struct st_member *m = arg;

    while (time_is_left()) {
        struct vmshm_join j = { .name = 1 };

        allowed(st_ioctl(m->fd, VMSHM_IOC_LEAVE, NULL), __LINE__);
        memcpy(j.job, m->key, sizeof j.job);
        CHECK(0 == st_ioctl(m->fd, VMSHM_IOC_JOIN, &j));
        sched_yield();
    }
    return NULL;
}

static void *user(void *arg)
{
    struct st_member *m = arg;
    uint64_t state = (uintptr_t) &state;

    while (time_is_left()) {
        struct vmshm_publish publish = { 0 };
        struct vmshm_alloc a;
        struct vmshm_find f;
        uint8_t *p;
        int rc = st_try_alloc(m, 1 + st_random(&state) % (5 * ST_MIB), VMSHM_KIND_PRIVATE, &a);

        allowed(rc, __LINE__);
        if (0 != rc) {
            continue;
        }
        p = st_try_map(m, a.offset, a.length, RW);
        CHECK(NULL != p || EACCES == errno);
        if (NULL != p) {
            const int signo = st_try_write(p, 5);

            CHECK(0 == signo || SIGBUS == signo);
        }
        publish.index = a.index;
        allowed(st_ioctl(m->fd, VMSHM_IOC_PUBLISH, &publish), __LINE__);
        allowed(st_try_find(m, m->about.vm, st_random(&state) % m->header.procs,
                            st_random(&state) % 8, 6, &f), __LINE__);
        allowed(st_try_release(m, m->about.vm, a.index), __LINE__);
        if (NULL != p) {
            munmap(p, a.length);
        }
    }
    return NULL;
}

static void leave_against_all(void)
{
    struct threads t = { .n = 0 };
    struct st_member m;

    st_member(&m, KEY);
    start_clock();
    spawn(&t, leaver, &m);
    spawn(&t, user, &m);
    spawn(&t, user, &m);
    spawn(&t, user, &m);
    join_all(&t);
    st_leave(&m);
    st_all_free(&m);
}

/* Files are opened and closed, with and without the end of their process. */
static void comes_and_goes(void *arg)
{
    uint64_t state = (uint64_t) getpid();

    (void) arg;
    while (time_is_left()) {
        const int fd = open(st_path(), O_RDWR | O_CLOEXEC);
        struct vmshm_join j = { .name = 2 };
        struct vmshm_alloc a = { .bytes = 1 + st_random(&state) % ST_MIB };
        void *p;

        CHECK(0 <= fd);
        st_key(j.job, KEY);
        if (0 != st_ioctl(fd, VMSHM_IOC_JOIN, &j)) {
            CHECK(ENOSPC == errno);
            close(fd);
            continue;
        }
        CHECK(0 == st_ioctl(fd, VMSHM_IOC_ALLOC, &a) || ENOSPC == errno);
        p = mmap(NULL, ST_PAGE, RW, MAP_SHARED, fd, (off_t) a.offset);
        close(fd);
        if (MAP_FAILED != p) {
            *(volatile uint8_t *) p = 1;
            if (st_random(&state) % 2) {
                munmap(p, ST_PAGE);
            }
        }
        if (0 == st_random(&state) % 30) {
            break;
        }
    }
}

static void open_against_close(void)
{
    struct st_member m;
    pid_t pids[4] = { 0 };

    st_visitor(&m);
    start_clock();
    while (time_is_left()) {
        for (int i = 0; i < 4; ++i) {
            if (0 != pids[i]) {
                if (0 == i % 2) {
                    kill(pids[i], SIGKILL);
                }
                const int status = st_wait(pids[i]);

                CHECK(0 == status || SIGKILL == WTERMSIG(status));
            }
            pids[i] = st_fork(comes_and_goes, NULL);
        }
        st_sleep_ms(20);
    }
    for (int i = 0; i < 4; ++i) {
        st_wait(pids[i]);
    }
    st_sleep_ms(700);
    st_all_free(&m);
    for (uint32_t slot = 0; slot < m.header.procs; ++slot) {
        CHECK(VMSHM_PROC_LIVE != st_proc(&m, m.about.vm, slot)->state);
    }
}

/* The process ends while its threads make all kinds of calls. */
static void *restless(void *arg)
{
    struct st_member *m = arg;

    for (;;) {
        struct vmshm_wait w = { .timeout_ns = 1000000 };
        struct vmshm_alloc a;

        if (0 == st_try_alloc(m, 6 * ST_MIB, VMSHM_KIND_PRIVATE, &a)) {
            uint8_t *p = st_try_map(m, a.offset, a.length, RW);

            if (NULL != p) {
                memset(p, 0xcc, a.length);
                munmap(p, a.length);
            }
            (void) st_try_release(m, m->about.vm, a.index);
        }
        (void) st_ioctl(m->fd, VMSHM_IOC_WAIT, &w);
    }
    return NULL;
}

static void ends_in_the_middle(void *arg)
{
    struct threads t = { .n = 0 };
    struct st_member m;

    st_member(&m, KEY);
    for (int i = 0; i < 4; ++i) {
        spawn(&t, restless, &m);
    }
    st_sleep_ms(*(unsigned *) arg);
    _exit(0);
}

static void exit_against_all(void)
{
    struct st_member m;

    st_visitor(&m);
    start_clock();
    for (unsigned ms = 0; time_is_left(); ms = (ms + 7) % 60) {
        st_join(st_fork(ends_in_the_middle, &ms));
        st_all_free(&m);
    }
    st_join_job(&m, KEY);
    const struct vmshm_alloc a = st_alloc(&m, 24 * ST_MIB, VMSHM_KIND_PRIVATE);

    SAME((uint64_t) -1, st_differs(st_map(&m, a.offset, a.length, PROT_READ), a.length, 0));
}

static const struct st_test tests[] = {
    { "release-against-find", release_against_find },
    { "touch-at-one-time", touch_at_one_time },
    { "release-against-touch", release_against_touch },
    { "leave-against-all", leave_against_all },
    { "open-against-close", open_against_close },
    { "exit-against-all", exit_against_all },
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    return st_main(argc, argv, tests, 60);
}
