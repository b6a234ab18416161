// SPDX-License-Identifier: GPL-2.0-only
/* The cost of windows in quarantine. Run by root, who may read the module's own list
 * in debugfs. With --measure it prints times instead, which say nothing on a busy machine.
 */
#define _GNU_SOURCE
#include "st.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define KEY 13
#define LOOKS_MAX 1024                  /* VMSHM_LOOKS_MAX */
#define LOOK_AGAIN 64

struct story {
    struct st_turn turn;
    uint32_t n;
    uint32_t vm;
    uint32_t slot;
    uint32_t index[4096];
};

/* Hold the windows of the scenario until told to release them. */
static void reader(void *arg)
{
    struct story *s = arg;
    struct st_member m;

    st_member(&m, KEY);
    for (uint32_t i = 0; i < s->n; ++i) {
        st_find(&m, s->vm, s->slot, s->index[i], KEY);
    }
    st_turn_tell(s->turn.from);
    st_turn_await(s->turn.to);
}

/* Make `n` windows that are released but still held by a reader. */
static pid_t held(struct st_member *m, struct story *s, uint32_t n)
{
    pid_t pid;

    s->n = n;
    s->vm = m->about.vm;
    s->slot = m->joined.slot;
    for (uint32_t i = 0; i < n; ++i) {
        s->index[i] = st_alloc(m, 1, VMSHM_KIND_PRIVATE).index;
    }
    st_turn_make(&s->turn);
    pid = st_fork(reader, s);
    st_turn_await(s->turn.from);
    for (uint32_t i = 0; i < n; ++i) {
        st_release(m, m->about.vm, s->index[i]);
    }
    return pid;
}

static struct story *story(void)
{
    struct story *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                           0);

    CHECK(MAP_FAILED != (void *) s);
    return s;
}

static FILE *list_open(void)
{
    const char *device = strrchr(st_path(), '/') + 1;
    char path[128];
    FILE *list;

    snprintf(path, sizeof path, "/sys/kernel/debug/vmshm/%s", device);
    list = fopen(path, "r");
    if (NULL == list) {
        st_fail(__FILE__, __LINE__, "%s cannot be read (errno %s)", path, st_errno(errno));
    }
    return list;
}

/* Number of lines in the module's list that start with this. */
static uint32_t lines(const char *start)
{
    FILE *list = list_open();
    char line[256];
    uint32_t n = 0;

    while (NULL != fgets(line, sizeof line, list)) {
        n += 0 == strncmp(line, start, strlen(start));
    }
    fclose(list);
    return n;
}

/* A number of the module's list: "NAME=N". */
static uint64_t listed(const char *name)
{
    FILE *list = list_open();
    uint64_t value = 0;
    bool found = false;
    char line[256];

    while (NULL != fgets(line, sizeof line, list)) {
        const char *at = strstr(line, name);

        if (!found && NULL != at && '=' == at[strlen(name)]) {
            value = strtoull(at + strlen(name) + 1, NULL, 10);
            found = true;
        }
    }
    fclose(list);
    CHECK(found);
    return value;
}

/* Held windows are not checked again for each window that is allocated and released. */
static void held_windows_cost_nothing(void)
{
    struct story *s = story();
    const uint32_t n = 60, rounds = 100;
    uint64_t before, entries;
    struct st_member m;
    pid_t pid;

    st_member(&m, KEY);
    pid = held(&m, s, n);
    before = listed("looks");
    for (uint32_t i = 0; i < rounds; ++i) {
        st_release(&m, m.about.vm, st_alloc(&m, 1, VMSHM_KIND_PRIVATE).index);
    }
    /* Per round: some that are held, twice all processes for the own one, and its pages. Four times a second
     * all that are held, for as long as that took, generously. */
    entries = 2 * (uint64_t) m.header.vms * m.header.procs + VMSHM_GRANULE_BYTES / ST_PAGE;
    CHECK(listed("looks") - before < rounds * (LOOK_AGAIN + entries + 2) + 10000);
    st_turn_tell(s->turn.to);
    st_join(pid);
}

/* Even if there is much to check, others get the lock in between. */
static void a_hold_is_bounded(void)
{
    struct vmshm_alloc w, again;
    struct st_member m;

    st_member(&m, KEY);
    if (!st_has_pages(&m)) {
        st_skip("without struct pages there is not enough to look at");
    }
    w = st_alloc(&m, 40 * ST_MIB, VMSHM_KIND_PRIVATE);
    st_release(&m, m.about.vm, w.index);
    /* there is room for as much only after that window is free again */
    for (int i = 0; i < 4; ++i) {
        again = st_alloc(&m, 40 * ST_MIB, VMSHM_KIND_PRIVATE);
        st_release(&m, m.about.vm, again.index);
    }
    CHECK(listed("most") <= LOOKS_MAX);
}

static bool all_free(void *arg)
{
    const struct st_member *m = arg;

    return 0 == st_used(m);
}

/* Each way of releasing a window is noticed even if nobody allocates. */
static void all_comes_back(void)
{
    struct story *s = story();
    struct st_member m;
    pid_t pid;

    st_member(&m, KEY);
    pid = held(&m, s, 100);
    CHECK(st_used(&m) >= 100 * VMSHM_GRANULE_BYTES);
    st_turn_tell(s->turn.to);
    st_join(pid);
    CHECK(st_until(all_free, &m, 5000));
}

/* What a process here reads needs no entry in the list of windows that stay pinned, and surely not one each
 * time. The same across guests is a scenario.
 */
static void pinned_here_is_not_listed(void)
{
    struct vmshm_alloc w;
    struct st_member m, r;
    struct iovec io;
    uint8_t *p;
    int tube[2];

    st_member(&m, KEY);
    if (!st_has_pages(&m)) {
        st_skip("without struct pages nothing can be pinned");
    }
    w = st_alloc(&m, VMSHM_GRANULE_BYTES, VMSHM_KIND_PRIVATE);
    st_member(&r, KEY);
    CHECK(0 == pipe2(tube, O_CLOEXEC));
    st_find(&r, m.about.vm, m.joined.slot, w.index, KEY);
    p = st_map(&r, w.offset, w.length, PROT_READ);
    io = (struct iovec) { p, ST_PAGE };
    SAME(ST_PAGE, vmsplice(tube[1], &io, 1, 0));
    for (int i = 0; i < 1000; ++i) {
        st_release(&r, m.about.vm, w.index);
        st_find(&r, m.about.vm, m.joined.slot, w.index, KEY);
    }
    SAME(0, lines("pinned "));
    st_release(&r, m.about.vm, w.index);
    st_release(&m, m.about.vm, w.index);
    st_sleep_ms(600);
    SAME(VMSHM_WINDOW_QUARANTINE, st_window(&m, m.about.vm, w.index)->state);
    close(tube[0]);
    close(tube[1]);
    CHECK(st_until(all_free, &m, 5000));
}

/* ---------------------------------------------------------------- times */

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

struct faults {
    struct st_member *m;
    volatile bool stop;
    uint64_t n;
    uint64_t sum;
    uint64_t longest;
};

static void *fault_on(void *arg)
{
    struct faults *f = arg;
    uint8_t *page = st_map(f->m, 0, ST_PAGE, PROT_READ);

    while (!f->stop) {
        uint64_t before, took;

        madvise(page, ST_PAGE, MADV_DONTNEED);
        before = now_ns();
        (void) *(volatile uint8_t *) page;
        took = now_ns() - before;
        f->sum += took;
        f->n++;
        f->longest = took > f->longest ? took : f->longest;
    }
    return NULL;
}

static void measure(void)
{
    static const uint32_t counts[] = { 0, 100, 500, 1500 };
    struct st_member m;

    st_member(&m, KEY);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0] && counts[i] + 64 < m.header.windows; ++i) {
        const uint32_t rounds = 200;
        struct faults f = { .m = &m };
        struct story *s = story();
        uint64_t before, took = 0;
        pthread_t thread;
        pid_t pid;

        pid = held(&m, s, counts[i]);
        CHECK(0 == pthread_create(&thread, NULL, fault_on, &f));
        before = now_ns();
        for (uint32_t r = 0; r < rounds; ++r) {
            st_release(&m, m.about.vm, st_alloc(&m, 1, VMSHM_KIND_PRIVATE).index);
        }
        took = now_ns() - before;
        f.stop = true;
        pthread_join(thread, NULL);
        printf("# %u held: allocating and releasing %llu us; a page fault meanwhile %llu us, at most %llu us\n",
               counts[i], (unsigned long long) (took / rounds / 1000),
               (unsigned long long) (f.sum / (f.n + !f.n) / 1000),
               (unsigned long long) (f.longest / 1000));
        before = now_ns();
        st_turn_tell(s->turn.to);
        st_join(pid);
        printf("# %u held: their reader ends in %llu us\n", counts[i],
               (unsigned long long) ((now_ns() - before) / 1000));
    }
}

static const struct st_test tests[] = {
    { "held-windows-cost-nothing", held_windows_cost_nothing },
    { "a-hold-is-bounded", a_hold_is_bounded },
    { "all-comes-back", all_comes_back },
    { "pinned-here-is-not-listed", pinned_here_is_not_listed },
    { NULL, NULL },
};

static const struct st_test times[] = { { "measure", measure }, { NULL, NULL } };

int main(int argc, char **argv)
{
    if (argc == 2 && 0 == strcmp("--measure", argv[1])) {
        return st_main(1, argv, times, 600);
    }
    return st_main(argc, argv, tests, 60);
}
