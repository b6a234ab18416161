/* SPDX-License-Identifier: BSD-3-Clause */
/* The lock file of a VM while somebody holds it: who waits, for how long, and what is reported then. */
#define _GNU_SOURCE
#include "child.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define GRANULE VMSHM_GRANULE_BYTES

struct holder {
    const char *path;
    int command;                        /* F_OFD_SETLK or F_SETLK */
    off_t first, count;
    int ready[2];
};

static int hold(void *arg)
{
    const struct holder *h = arg;
    struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = h->first,
                        .l_len = h->count };
    const int fd = open(h->path, O_RDWR | O_CLOEXEC);

    if (fd < 0 || 0 != fcntl(fd, h->command, &fl) || 1 != write(h->ready[1], "r", 1)) {
        return 1;
    }
    sleep(60);
    return 0;
}

/* A process that is none of vmshm's locks bytes of the file and keeps them. */
static pid_t start_holder(const char *path, int command, off_t first, off_t count)
{
    struct holder h = { .path = path, .command = command, .first = first, .count = count };
    char byte;
    pid_t pid;

    assert_int_equal(pipe(h.ready), 0);
    pid = unit_fork(hold, &h);
    close(h.ready[1]);
    assert_int_equal(read(h.ready[0], &byte, 1), 1);
    close(h.ready[0]);
    return pid;
}

/* What runs by itself must not stand still, nor who wants to go: who waits would wait for ever here. */
static void nobody_waits_but_who_wants_something(void **state)
{
    struct vmshm_member m, other;
    uint64_t offset, beat;
    uint32_t index, slot;
    pid_t pid;

    unit_join(*state, 0, "boot", &m);
    unit_join(*state, 0, "boot", &other);
    index = unit_alloc(&m, GRANULE, &offset);
    m.lock.patience_ms = other.lock.patience_ms = 60000;
    pid = start_holder(m.lock.path, F_OFD_SETLK, 0, 1);
    alarm(20);
    beat = vmshm_section_of(&m.segment, 0)->heartbeat;
    for (int i = 0; i < 3; ++i) {
        vmshm_heartbeat(&m);
        (void) vmshm_look_after(&m);
        (void) vmshm_look_after(&other);
        assert_int_equal(vmshm_reap(&m), 0);
    }
    assert_true(vmshm_section_of(&m.segment, 0)->heartbeat == beat + 3);
    vmshm_window_release(&m, index);
    assert_int_equal(unit_window_state(&m, index), VMSHM_WINDOW_QUARANTINE);
    slot = m.slot;
    vmshm_leave(&m);
    alarm(0);
    /* To others it has left: it is not dead. */
    assert_int_equal(proc_state(&other, slot), VMSHM_PROC_LEFT);
    kill_child(pid);
    vmshm_reap(&other);
    assert_int_equal(proc_state(&other, slot), VMSHM_PROC_LEFT);
    assert_int_equal(unit_window_state(&other, index), VMSHM_WINDOW_EMPTY);
    vmshm_leave(&other);
}

/* What a process had is given back whole, though nobody could have the mutex. */
static void leaving_gives_all_back(void **state)
{
    struct vmshm_member m, peer, next;
    uint64_t offset[3];
    uint32_t index[3];
    struct vmshm_window w;
    struct vmshm_error e;
    pid_t pid;

    unit_join(*state, 0, "boot", &m);
    unit_join(*state, 1, "tooth", &peer);
    for (int i = 0; i < 3; ++i) {
        index[i] = unit_alloc(&m, GRANULE, &offset[i]);
    }
    assert_true(vmshm_reader_enter(&peer, 0, m.slot, index[1], &w, &e));
    m.lock.patience_ms = 60000;
    pid = start_holder(m.lock.path, F_OFD_SETLK, 0, 1);
    alarm(20);
    vmshm_leave(&m);
    alarm(0);
    kill_child(pid);
    unit_join(*state, 0, "boot", &next);
    assert_int_equal(unit_window_state(&next, index[0]), VMSHM_WINDOW_EMPTY);
    assert_int_equal(unit_window_state(&next, index[1]), VMSHM_WINDOW_QUARANTINE);
    assert_int_equal(unit_window_state(&next, index[2]), VMSHM_WINDOW_EMPTY);
    vmshm_reader_leave(&peer, 0, index[1]);
    vmshm_reap(&next);
    assert_int_equal(unit_window_state(&next, index[1]), VMSHM_WINDOW_EMPTY);
    vmshm_leave(&next);
    vmshm_leave(&peer);
}

static void must_be_held(struct vmshm_member *m, const char *who)
{
    struct vmshm_error e = { 0 };
    uint64_t offset;
    uint32_t index;

    alarm(20);
    assert_int_equal(vmshm_window_alloc(m, GRANULE, VMSHM_KIND_PRIVATE, &index, &offset, &e),
                     VMSHM_ERR_HELD);
    alarm(0);
    assert_string_equal(e.file, m->lock.path);
    assert_string_equal(e.field, "mutex");
    if (NULL == strstr(e.detail, who)) {
        fail_msg("\"%s\" does not say \"%s\"", e.detail, who);
    }
}

static void waiting_ends_and_names_the_holder(void **state)
{
    struct vmshm_member m;
    uint64_t offset;
    char who[64];
    pid_t pid;

    unit_join(*state, 0, "boot", &m);
    m.lock.patience_ms = 50;
    pid = start_holder(m.lock.path, F_OFD_SETLK, 0, 1);
    must_be_held(&m, "by a process that does not say which");
    kill_child(pid);
    pid = start_holder(m.lock.path, F_SETLK, 0, 1);
    snprintf(who, sizeof who, "by process %d (", (int) pid);
    must_be_held(&m, who);
    kill_child(pid);
    /* Nobody has it: all is well again. */
    unit_alloc(&m, GRANULE, &offset);
    vmshm_leave(&m);
}

struct stopper {
    const char *dir;
    int ready[2];
};

static int stop_inside(void *arg)
{
    const struct stopper *s = arg;
    struct vmshm_member m;
    struct vmshm_error e;

    if (VMSHM_OK != unit_try_join(s->dir, 0, "boot", &m, &e)
        || VMSHM_OK != vmshm_lock_enter(&m.lock, &e) || 1 != write(s->ready[1], "r", 1)) {
        return 1;
    }
    raise(SIGSTOP);
    vmshm_lock_leave(&m.lock);
    vmshm_leave(&m);
    return 0;
}

static void a_member_that_is_stopped_inside_is_named(void **state)
{
    struct stopper s = { .dir = *state };
    struct vmshm_join_options o = { .vm_id = 0, .patience_ms = 50 };
    char segment[512], locks[512], root[512], who[64];
    struct vmshm_member m, late;
    struct vmshm_error e = { 0 };
    char byte;
    pid_t pid;
    int status;

    unit_join(*state, 0, "boot", &m);
    m.lock.patience_ms = 50;
    assert_int_equal(pipe(s.ready), 0);
    pid = unit_fork(stop_inside, &s);
    assert_int_equal(read(s.ready[0], &byte, 1), 1);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    snprintf(who, sizeof who, "by process %d (", (int) pid);
    must_be_held(&m, who);
    must_be_held(&m, ", stopped)");
    /* Who comes new is told the same. */
    strcpy(segment, unit_path(*state, "segment"));
    strcpy(locks, unit_path(*state, "locks-boot"));
    strcpy(root, unit_path(*state, "root-boot"));
    o.segment = segment;
    o.lock_dir = locks;
    o.root = root;
    alarm(20);
    assert_int_equal(vmshm_join(&o, &late, &e), VMSHM_ERR_HELD);
    alarm(0);
    assert_non_null(strstr(e.detail, who));
    kill(pid, SIGCONT);
    assert_int_equal(unit_wait(pid), 0);
    unit_join(*state, 0, "boot", &late);
    vmshm_leave(&late);
    vmshm_leave(&m);
    close(s.ready[0]);
    close(s.ready[1]);
}

/* Free slots whose bytes somebody locks are not "taken": another remedy. */
static void locked_slots_are_told_from_taken_ones(void **state)
{
    struct vmshm_member m, late;
    struct vmshm_error e = { 0 };
    pid_t pid;

    unit_join(*state, 0, "boot", &m);
    pid = start_holder(m.lock.path, F_OFD_SETLK, 1 + (off_t) m.slot + 1, 100);
    assert_int_equal(unit_try_join(*state, 0, "boot", &late, &e), VMSHM_ERR_HELD);
    assert_string_equal(e.file, m.lock.path);
    assert_string_equal(e.field, "procs");
    assert_non_null(strstr(e.detail, "1 are taken"));
    kill_child(pid);
    unit_join(*state, 0, "boot", &late);
    vmshm_leave(&late);
    vmshm_leave(&m);
}

#define SMALL(test) cmocka_unit_test_setup_teardown(test, unit_setup_segment, unit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL(nobody_waits_but_who_wants_something), SMALL(leaving_gives_all_back),
        SMALL(waiting_ends_and_names_the_holder), SMALL(a_member_that_is_stopped_inside_is_named),
        SMALL(locked_slots_are_told_from_taken_ones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
