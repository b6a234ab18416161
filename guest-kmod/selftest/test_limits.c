// SPDX-License-Identifier: GPL-2.0-only
/* Limits for one process, one user, and all users together. Run by root, which sets the module's
 * parameters and becomes this and that user. Each user may open the device: its group is VMSHM_GROUP.
 */
#define _GNU_SOURCE
#include "st.h"

#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEY 21
#define ALICE 1000
#define BOB 1001

static const char *const names[] = {
    "process_slots", "user_slots", "user_windows", "user_bytes", "all_slots", "all_windows", "all_bytes",
};
#define N_NAMES (sizeof names / sizeof names[0])

static unsigned parameter(const char *name, const unsigned *set)
{
    char path[128];
    unsigned value = 0;
    FILE *f;

    snprintf(path, sizeof path, "/sys/module/vmshm/parameters/%s", name);
    f = fopen(path, NULL != set ? "w" : "r");
    if (NULL == f) {
        st_fail(__FILE__, __LINE__, "%s (errno %s)", path, st_errno(errno));
    }
    CHECK(NULL != set ? 0 < fprintf(f, "%u", *set) : 1 == fscanf(f, "%u", &value));
    CHECK(0 == fclose(f));
    return value;
}

/* Set all limits to their maximum, except these. */
static void set(const char *name, unsigned value)
{
    static const unsigned wide = 1000;

    for (size_t i = 0; i < N_NAMES; ++i) {
        parameter(names[i], 0 == strcmp(name, names[i]) ? &value : &wide);
    }
}

static void become(uid_t uid)
{
    const char *group = getenv("VMSHM_GROUP");
    const gid_t gid = NULL != group ? (gid_t) atoi(group) : 1000;

    CHECK(uid == getuid() || (0 == setgroups(0, NULL) && 0 == setresgid(gid, gid, gid)
                              && 0 == setresuid(uid, uid, uid)));
}

static int join(int fd)
{
    struct vmshm_join j = { .name = 1 };

    st_key(j.job, KEY);
    return st_ioctl(fd, VMSHM_IOC_JOIN, &j);
}

/* A child's task: as this user, make this many memberships in one process, each with this many windows. */
struct wish {
    uid_t uid;
    uint32_t slots;
    uint32_t windows;
    uint64_t bytes;             /* of each window */
    uint32_t kind;
    uint32_t *got;              /* slots, windows, and the error that ended it */
    struct st_turn turn;
};

static void child(void *arg)
{
    struct wish *w = arg;
    struct vmshm_alloc a;

    become(w->uid);
    for (uint32_t i = 0; i < w->slots; ++i) {
        struct st_member m;

        st_visitor(&m);
        if (0 != join(m.fd)) {
            w->got[2] = (uint32_t) errno;
            break;
        }
        w->got[0]++;
        for (uint32_t k = 0; k < w->windows; ++k) {
            if (0 != st_try_alloc(&m, w->bytes, w->kind, &a)) {
                w->got[2] = (uint32_t) errno;
                break;
            }
            w->got[1]++;
        }
    }
    st_turn_tell(w->turn.from);
    st_turn_await(w->turn.to);
}

static pid_t ask(struct wish *w)
{
    pid_t pid;

    w->got = mmap(NULL, ST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(MAP_FAILED != (void *) w->got);
    st_turn_make(&w->turn);
    pid = st_fork(child, w);
    st_turn_await(w->turn.from);
    return pid;
}

static void end(struct wish *w, pid_t pid)
{
    st_turn_tell(w->turn.to);
    st_join(pid);
    munmap(w->got, ST_PAGE);
}

static void visit(struct st_member *m)
{
    if (0 != getuid()) {
        st_skip("only root can become other users");
    }
    st_visitor(m);
}

/* ---------------------------------------------------------------- processes */

static void one_process_takes_one_slot(void)
{
    struct wish many = { .uid = ALICE, .slots = 20 }, other = { .uid = BOB, .slots = 1 };
    struct st_member m;
    pid_t pid, second;

    visit(&m);
    set("process_slots", 1);
    pid = ask(&many);
    SAME(1, many.got[0]);
    SAME(EMFILE, many.got[2]);
    second = ask(&other);
    SAME(1, other.got[0]);
    end(&other, second);
    end(&many, pid);
}

static void *join_in_thread(void *fd)
{
    return 0 != join(*(int *) fd) ? (void *) (intptr_t) errno : NULL;
}

static void *child_joins(void)
{
    struct wish w = { .uid = ALICE, .slots = 1 };
    const pid_t pid = ask(&w);

    SAME(1, w.got[0]);
    end(&w, pid);
    return NULL;
}

/* Slots count per address space, root's, too; after leaving, the process can join again. */
static void what_a_process_is(void)
{
    struct st_member m;
    int a, b;
    pthread_t thread;
    void *error;

    visit(&m);
    set("process_slots", 1);
    a = st_open(O_RDWR);
    b = st_open(O_RDWR);
    CHECK(0 == join(a));
    FAILS(EISCONN, join(a));
    FAILS(EMFILE, join(b));
    CHECK(0 == pthread_create(&thread, NULL, join_in_thread, &b)
          && 0 == pthread_join(thread, &error));
    SAME(EMFILE, (uintptr_t) error);
    child_joins();
    CHECK(0 == st_ioctl(a, VMSHM_IOC_LEAVE, NULL) && 0 == join(b));
    FAILS(EMFILE, join(a));
    close(b);
    CHECK(0 == join(a));
    set("process_slots", 2);
    b = st_open(O_RDWR);
    CHECK(0 == join(b));
    set("process_slots", 0);
    close(b);
    b = st_open(O_RDWR);
    FAILS(EMFILE, join(b));
}

/* ---------------------------------------------------------------- users */

static uint32_t part(uint64_t whole, unsigned percent)
{
    return (uint32_t) (whole * percent / 100);
}

/* The module reserves one for windows that stay pinned. */
static uint32_t slots_there_are(const struct st_member *m)
{
    return m->header.procs - st_has_pages(m);
}

static uint64_t half(const struct st_member *m, uint32_t kind)
{
    const struct vmshm_section_entry *own = st_entry(m, m->about.vm);

    return VMSHM_KIND_OPEN == kind ? own->length - own->open_offset
                                   : own->open_offset - vmshm_heap_offset(&m->header);
}

static void slots_of_a_user(void)
{
    struct wish alice = { .uid = ALICE, .slots = 1000 }, more = { .uid = ALICE, .slots = 1 },
                bob = { .uid = BOB, .slots = 1 };
    struct st_member m;
    pid_t pid, other;

    visit(&m);
    set("user_slots", 25);
    pid = ask(&alice);
    SAME(part(slots_there_are(&m), 25), alice.got[0]);
    SAME(EDQUOT, alice.got[2]);
    /* another process of hers */
    other = ask(&more);
    SAME(0, more.got[0]);
    SAME(EDQUOT, more.got[2]);
    end(&more, other);
    other = ask(&bob);
    SAME(1, bob.got[0]);
    end(&bob, other);
    end(&alice, pid);
    pid = ask(&more);
    SAME(1, more.got[0]);
    end(&more, pid);
}

static void windows_of_a_user(void)
{
    struct wish alice = { .uid = ALICE, .slots = 2, .windows = 1000, .bytes = 1 },
                bob = { .uid = BOB, .slots = 1, .windows = 3, .bytes = 1 };
    struct st_member m;
    pid_t pid, other;

    visit(&m);
    set("user_windows", 25);
    pid = ask(&alice);
    SAME(2, alice.got[0]);
    SAME(part(m.header.windows, 25), alice.got[1]);
    SAME(EDQUOT, alice.got[2]);
    other = ask(&bob);
    SAME(3, bob.got[1]);
    end(&bob, other);
    end(&alice, pid);
}

static void bytes_of_a_user(void)
{
    struct wish alice = { .uid = ALICE, .slots = 2, .windows = 30, .bytes = 2 * ST_MIB },
                bob = { .uid = BOB, .slots = 1, .windows = 3, .bytes = 2 * ST_MIB };
    struct st_member m;
    pid_t pid, other;

    visit(&m);
    set("user_bytes", 25);
    pid = ask(&alice);
    SAME(part(half(&m, VMSHM_KIND_PRIVATE), 25) / (2 * ST_MIB), alice.got[1]);
    SAME(EDQUOT, alice.got[2]);
    other = ask(&bob);
    SAME(3, bob.got[1]);
    end(&bob, other);
    end(&alice, pid);
}

/* After one user has taken as much as allowed, enough is left of everything for another user. */
static void another_one_gets_in(void)
{
    struct wish alice = { .uid = ALICE, .slots = 1, .windows = 1000, .bytes = ST_MIB },
                many = { .uid = ALICE, .slots = 1000 },
                bob = { .uid = BOB, .slots = 1, .windows = 1, .bytes = ST_MIB };
    struct st_member m;
    pid_t pid, other;

    visit(&m);
    set("user_bytes", 90);
    for (uint32_t kind = VMSHM_KIND_PRIVATE; kind <= VMSHM_KIND_OPEN; ++kind) {
        alice.kind = bob.kind = kind;
        pid = ask(&alice);
        SAME(part(half(&m, kind), 90) / ST_MIB, alice.got[1]);
        SAME(EDQUOT, alice.got[2]);
        other = ask(&bob);
        SAME(1, bob.got[1]);
        end(&bob, other);
        end(&alice, pid);
    }
    set("user_slots", 90);
    pid = ask(&many);
    SAME(EDQUOT, many.got[2]);
    other = ask(&bob);
    SAME(1, bob.got[0]);
    SAME(1, bob.got[1]);
    end(&bob, other);
    end(&many, pid);
}

/* Keep small windows that are as far apart as possible. */
static void scatters(void *arg)
{
    struct wish *w = arg;
    struct vmshm_alloc small, large[60];
    struct st_member m;
    uint32_t n = 0;

    become(ALICE);
    st_member(&m, KEY);
    while (n < 60 && 0 == st_try_alloc(&m, 64 * ST_KIB, VMSHM_KIND_PRIVATE, &small)
           && 0 == st_try_alloc(&m, 1920 * ST_KIB, VMSHM_KIND_PRIVATE, &large[n])) {
        n++;
    }
    CHECK(0 < n && n < 60);
    while (0 < n) {
        st_release(&m, m.about.vm, large[--n].index);
    }
    st_turn_tell(w->turn.from);
    st_turn_await(w->turn.to);
}

static void gaps_of_a_user(void)
{
    struct wish alice = { .uid = ALICE }, bob = { .uid = BOB, .slots = 1, .windows = 1 };
    struct st_member m;
    pid_t pid, other;

    visit(&m);
    set("user_bytes", 90);
    st_turn_make(&alice.turn);
    pid = st_fork(scatters, &alice);
    st_turn_await(alice.turn.from);
    bob.bytes = half(&m, VMSHM_KIND_PRIVATE) / 20 & ~(VMSHM_GRANULE_BYTES - 1);
    other = ask(&bob);
    SAME(1, bob.got[1]);
    end(&bob, other);
    st_turn_tell(alice.turn.to);
    st_join(pid);
}

/* Where what a user may reach is no whole number of granules. */
static void takes_and_takes_again(void *arg)
{
    const uint64_t whole = *(uint64_t *) arg;
    struct vmshm_alloc first, w[4];
    struct st_member m;

    become(ALICE);
    st_member(&m, KEY);
    first = st_alloc(&m, whole * 30 / 100, VMSHM_KIND_PRIVATE);
    w[0] = st_alloc(&m, whole * 20 / 100, VMSHM_KIND_PRIVATE);
    st_release(&m, m.about.vm, first.index);
    w[1] = st_alloc(&m, whole * 45 / 100, VMSHM_KIND_PRIVATE);  /* not where the first one was */
    w[2] = st_alloc(&m, 1, VMSHM_KIND_PRIVATE);
    w[3] = st_alloc(&m, 4 * ST_MIB, VMSHM_KIND_PRIVATE);
    for (int i = 0; i < 4; ++i) {
        void *at = mmap(NULL, w[i].length, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd, (off_t) w[i].offset);

        SAME(0, w[i].offset % VMSHM_GRANULE_BYTES);
        SAME(0, w[i].length % VMSHM_GRANULE_BYTES);
        CHECK(MAP_FAILED != at);
        memset(at, i, w[i].length);
    }
}

static void windows_begin_at_granules(void)
{
    struct st_member m;
    unsigned percent = 90;
    uint64_t whole;

    visit(&m);
    whole = half(&m, VMSHM_KIND_PRIVATE);
    while (0 == whole * percent / 100 % VMSHM_GRANULE_BYTES) {
        ++percent;
    }
    CHECK(percent < 100);
    set("user_bytes", percent);
    st_join(st_fork(takes_and_takes_again, &whole));
}

struct hold {
    uint32_t vm, slot, index;
    struct st_turn turn;
};

static void holder(void *arg)
{
    struct hold *h = arg;
    struct st_member m;

    become(ALICE);
    st_member(&m, KEY);
    st_find(&m, h->vm, h->slot, h->index, KEY);
    st_turn_tell(h->turn.from);
    st_turn_await(h->turn.to);
}

static void releases_what_is_held(void *arg)
{
    struct hold *h = arg;
    struct vmshm_alloc w, other;
    struct st_member m;
    pid_t pid;

    become(ALICE);
    st_member(&m, KEY);
    w = st_alloc(&m, 8 * ST_MIB, VMSHM_KIND_PRIVATE);
    *h = (struct hold) { .vm = m.about.vm, .slot = m.joined.slot, .index = w.index };
    st_turn_make(&h->turn);
    pid = st_fork(holder, h);
    st_turn_await(h->turn.from);
    FAILS(EDQUOT, st_try_alloc(&m, 8 * ST_MIB, VMSHM_KIND_PRIVATE, &other));
    st_release(&m, m.about.vm, w.index);
    /* others cannot use the memory yet, so it still counts */
    FAILS(EDQUOT, st_try_alloc(&m, 8 * ST_MIB, VMSHM_KIND_PRIVATE, &other));
    st_turn_tell(h->turn.to);
    st_join(pid);
    CHECK(0 == st_try_alloc(&m, 8 * ST_MIB, VMSHM_KIND_PRIVATE, &other));
}

static void quarantine_counts(void)
{
    struct st_member m;
    struct hold h;

    visit(&m);
    set("user_bytes", (unsigned) (12 * ST_MIB * 100 / half(&m, VMSHM_KIND_PRIVATE)));
    st_join(st_fork(releases_what_is_held, &h));
}

/* ---------------------------------------------------------------- all of them */

static void all_users_together(void)
{
    struct wish alice = { .uid = ALICE, .slots = 4, .windows = 2, .bytes = 1 },
                bob = { .uid = BOB, .slots = 1000, .windows = 1, .bytes = 1 },
                root = { .uid = 0, .slots = 1, .windows = 1, .bytes = 1 };
    struct st_member m;
    pid_t a, b, r;

    visit(&m);
    set("all_slots", 50);
    a = ask(&alice);
    SAME(4, alice.got[0]);
    SAME(8, alice.got[1]);
    b = ask(&bob);
    SAME(part(slots_there_are(&m), 50) - 4, bob.got[0]);
    SAME(EDQUOT, bob.got[2]);
    r = ask(&root);
    SAME(1, root.got[0]);
    end(&root, r);
    end(&bob, b);
    set("all_windows", 10);
    bob.slots = 1;
    bob.windows = 1000;
    b = ask(&bob);
    SAME(part(m.header.windows, 10) - 8, bob.got[1]);
    SAME(EDQUOT, bob.got[2]);
    r = ask(&root);
    SAME(1, root.got[1]);
    end(&root, r);
    end(&bob, b);
    end(&alice, a);
}

static void root_is_not_refused(void)
{
    struct wish root = { .uid = 0, .slots = 3, .windows = 3, .bytes = 1 };
    struct st_member m;
    pid_t pid;

    visit(&m);
    for (size_t i = 1; i < N_NAMES; ++i) {
        set(names[i], 0);
        pid = ask(&root);
        SAME(3, root.got[0]);
        SAME(9, root.got[1]);
        end(&root, pid);
    }
}

static const struct st_test tests[] = {
    { "one-process-takes-one-slot", one_process_takes_one_slot },
    { "what-a-process-is", what_a_process_is },
    { "slots-of-a-user", slots_of_a_user },
    { "windows-of-a-user", windows_of_a_user },
    { "bytes-of-a-user", bytes_of_a_user },
    { "another-one-gets-in", another_one_gets_in },
    { "gaps-of-a-user", gaps_of_a_user },
    { "windows-begin-at-granules", windows_begin_at_granules },
    { "quarantine-counts", quarantine_counts },
    { "all-users-together", all_users_together },
    { "root-is-not-refused", root_is_not_refused },
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    unsigned before[N_NAMES];
    int rc;

    for (size_t i = 0; i < N_NAMES; ++i) {
        before[i] = parameter(names[i], NULL);
    }
    rc = st_main(argc, argv, tests, 60);
    for (size_t i = 0; i < N_NAMES; ++i) {
        parameter(names[i], &before[i]);
    }
    return rc;
}
