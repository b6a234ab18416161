// SPDX-License-Identifier: GPL-2.0-only
/* Windows of other users, and of jobs whose key the process does not have. Run by root, which becomes this and
 * that user. Each user may open the device: its group is VMSHM_GROUP (default 1000).
 */
#define _GNU_SOURCE
#include "st.h"

#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEY 4
#define OTHER_KEY 5
#define ALICE 1000
#define BOB 1001
#define RW (PROT_READ | PROT_WRITE)

struct story {
    uid_t owner;
    uid_t reader;
    uint8_t key;
    int error;                  /* that the reader gets */
    struct st_turn turn;
    struct vmshm_join *joined;  /* of the owner */
    struct vmshm_alloc *windows;
};

static void become(uid_t uid)
{
    const char *group = getenv("VMSHM_GROUP");
    const gid_t gid = NULL != group ? (gid_t) atoi(group) : 1000;

    if (0 != getuid()) {
        st_skip("only root can become other users");
    }
    CHECK(0 == setgroups(0, NULL) && 0 == setresgid(gid, gid, gid)
          && 0 == setresuid(uid, uid, uid));
}

static void owner(void *arg)
{
    struct story *s = arg;
    struct st_member m;

    become(s->owner);
    st_member(&m, KEY);
    *s->joined = m.joined;
    for (uint32_t kind = VMSHM_KIND_PRIVATE; kind <= VMSHM_KIND_OPEN; ++kind) {
        uint8_t *p;

        s->windows[kind] = st_alloc(&m, VMSHM_GRANULE_BYTES, kind);
        SAME(s->owner, st_window(&m, m.about.vm, s->windows[kind].index)->uid);
        p = st_map(&m, s->windows[kind].offset, VMSHM_GRANULE_BYTES, RW);
        memset(p, 0x11, VMSHM_GRANULE_BYTES);
    }
    SAME(s->owner, st_proc(&m, m.about.vm, m.joined.slot)->uid);
    st_turn_tell(s->turn.from);
    st_turn_await(s->turn.to);
}

static void reader(void *arg)
{
    const struct story *s = arg;
    struct st_member m;

    become(s->reader);
    st_member(&m, OTHER_KEY);
    for (uint32_t kind = VMSHM_KIND_PRIVATE; kind <= VMSHM_KIND_OPEN; ++kind) {
        const struct vmshm_alloc *w = &s->windows[kind];
        struct vmshm_find f, any = { .vm = m.about.vm, .slot = s->joined->slot,
                                     .index = VMSHM_ANY_WINDOW, .offset = w->offset, .length = 1 };
        uint8_t *p;

        st_key(any.job, s->key);
        if (0 == s->error) {
            CHECK(0 == st_try_find(&m, m.about.vm, s->joined->slot, w->index, s->key, &f));
            CHECK(0 == st_ioctl(m.fd, VMSHM_IOC_FIND, &any));
            SAME(w->index, any.index);
            p = st_map(&m, w->offset, w->length, PROT_READ);
            SAME((uint64_t) -1, st_differs(p, w->length, 0x11));
            continue;
        }
        FAILS(s->error, st_try_find(&m, m.about.vm, s->joined->slot, w->index, s->key, &f));
        FAILS(s->error, st_ioctl(m.fd, VMSHM_IOC_FIND, &any));
        CHECK(!st_reads(&m, m.about.vm, m.joined.slot, m.about.vm, w->index));
        CHECK(NULL == st_try_map(&m, w->offset, w->length, PROT_READ));
        SAME(EACCES, errno);
        FAILS(ENOENT, st_try_release(&m, m.about.vm, w->index));
    }
}

static void tell(uid_t of, uid_t by, uint8_t key, int error)
{
    struct story s = { .owner = of, .reader = by, .key = key, .error = error };
    pid_t pid;

    s.joined = mmap(NULL, 2 * ST_PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(MAP_FAILED != (void *) s.joined);
    s.windows = (struct vmshm_alloc *) ((uint8_t *) s.joined + ST_PAGE);
    st_turn_make(&s.turn);
    pid = st_fork(owner, &s);
    st_turn_await(s.turn.from);
    st_join(st_fork(reader, &s));
    st_turn_tell(s.turn.to);
    st_join(pid);
}

static void same_user_same_key(void) { tell(ALICE, ALICE, KEY, 0); }
static void same_user_other_key(void) { tell(ALICE, ALICE, OTHER_KEY, EACCES); }
static void other_user_same_key(void) { tell(ALICE, BOB, KEY, EACCES); }
static void other_user_other_key(void) { tell(ALICE, BOB, OTHER_KEY, EACCES); }
static void root_looks_at_a_user(void) { tell(ALICE, 0, KEY, EACCES); }
static void a_user_looks_at_root(void) { tell(0, ALICE, KEY, EACCES); }

/* Each bit of the key counts. */
static void almost_the_key(void)
{
    struct st_member m, r;
    struct vmshm_alloc w;

    become(ALICE);
    st_member(&m, KEY);
    st_member(&r, KEY);
    w = st_alloc(&m, 1, VMSHM_KIND_PRIVATE);
    for (unsigned bit = 0; bit < 128; ++bit) {
        struct vmshm_find f = { .vm = m.about.vm, .slot = m.joined.slot, .index = w.index };

        st_key(f.job, KEY);
        f.job[bit / 8] ^= 1 << bit % 8;
        FAILS(EACCES, st_ioctl(r.fd, VMSHM_IOC_FIND, &f));
    }
    st_find(&r, m.about.vm, m.joined.slot, w.index, KEY);
}

/* A member that changes its uid keeps the rights of the user that joined. */
static void who_joined_counts(void)
{
    struct vmshm_alloc w;
    struct st_member m;

    if (0 != getuid()) {
        st_skip("only root can become other users");
    }
    st_member(&m, KEY);
    become(ALICE);
    w = st_alloc(&m, 1, VMSHM_KIND_PRIVATE);
    SAME(0, st_window(&m, m.about.vm, w.index)->uid);
    SAME(0, st_proc(&m, m.about.vm, m.joined.slot)->uid);
}

static void not_in_the_group(void)
{
    if (0 != getuid()) {
        st_skip("only root can become other users");
    }
    CHECK(0 == setgroups(0, NULL) && 0 == setresgid(4711, 4711, 4711)
          && 0 == setresuid(ALICE, ALICE, ALICE));
    CHECK(0 != access(st_path(), R_OK) && EACCES == errno);
}

static const struct st_test tests[] = {
    { "same-user-same-key", same_user_same_key },
    { "same-user-other-key", same_user_other_key },
    { "other-user-same-key", other_user_same_key },
    { "other-user-other-key", other_user_other_key },
    { "root-looks-at-a-user", root_looks_at_a_user },
    { "a-user-looks-at-root", a_user_looks_at_root },
    { "almost-the-key", almost_the_key },
    { "who-joined-counts", who_joined_counts },
    { "not-in-the-group", not_in_the_group },
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    return st_main(argc, argv, tests, 30);
}
