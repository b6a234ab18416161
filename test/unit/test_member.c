/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Members of a section: their slots, their end, who may have the section at all, and what happens to
 * their windows. Processes are real ones where death or racing matters; elsewhere two members in one
 * process do, because the locks belong to the open file, not to the process.
 */
#include "unit.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HEAP     UNIT_HEAP
#define GRANULE  VMSHM_GRANULE_BYTES

static uint32_t proc_state(const struct vmshm_member *m, uint32_t slot)
{
    return vmshm_proc_of(&m->segment, m->id.vm, slot)->state;
}

static bool row_is_empty(const struct vmshm_member *m, uint32_t slot)
{
    const uint64_t *row = vmshm_reader_row_of(&m->segment, m->id.vm, slot);

    return 0 == row[0] && 0 == row[1];
}

static uint32_t used_windows(const struct vmshm_member *m)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->segment.header.windows; ++i) {
        n += VMSHM_WINDOW_EMPTY != unit_window_state(m, i);
    }
    return n;
}

static void coming_and_going_is_counted(void **state)
{
    struct vmshm_member a, b;
    uint64_t before;

    unit_join(*state, 0, "boot", &a);
    before = vmshm_section_of(&a.segment, 0)->changes;
    unit_join(*state, 0, "boot", &b);
    assert_int_equal(vmshm_section_of(&a.segment, 0)->changes, before + 1);
    vmshm_leave(&b);
    assert_int_equal(vmshm_section_of(&a.segment, 0)->changes, before + 2);
    vmshm_leave(&a);
}

static void traffic_is_summed_up(void **state)
{
    struct vmshm_member a, b;

    unit_join(*state, 0, "boot", &a);
    unit_join(*state, 0, "boot", &b);
    vmshm_proc_of(&a.segment, 0, a.slot)->messages = 5;
    vmshm_proc_of(&a.segment, 0, a.slot)->bytes = 500;
    vmshm_leave(&a);
    assert_int_equal(vmshm_section_of(&b.segment, 0)->messages, 5);
    assert_int_equal(vmshm_section_of(&b.segment, 0)->bytes, 500);
    vmshm_leave(&b);
}

static void slots_full(void **state)
{
    struct vmshm_member m[8], extra;
    struct vmshm_error e = { 0 };
    uint32_t slot;

    for (uint32_t i = 0; i < 8; ++i) {
        unit_join(*state, 0, "boot", &m[i]);
        for (uint32_t k = 0; k < i; ++k) {
            assert_true(m[i].slot != m[k].slot && m[i].nonce != m[k].nonce);
        }
    }
    assert_int_equal(unit_try_join(*state, 0, "boot", &extra, &e), VMSHM_ERR_FULL);
    assert_string_equal(e.field, "procs");
    slot = m[3].slot;
    vmshm_leave(&m[3]);
    unit_join(*state, 0, "boot", &extra);
    assert_int_equal(extra.slot, slot);
    vmshm_leave(&extra);
    for (int i = 0; i < 8; ++i) {
        if (3 != i) {
            vmshm_leave(&m[i]);
        }
    }
}

/* ------------------------------------------------------------------------------------- death */

struct child {
    const char *dir;
    int ready[2];               /* the child writes its slot, then waits to be killed */
    bool hold_mutex, read_peer, beat;
    long beat_ms;               /* 0: 50 */
    const char *boot;
};

static int live_until_killed(void *arg)
{
    struct child *c = arg;
    struct vmshm_member m;
    struct vmshm_window w;
    struct vmshm_error e;
    uint64_t offset;
    uint32_t index;

    if (VMSHM_OK != unit_try_join(c->dir, 0, c->boot, &m, &e)
        || VMSHM_OK != vmshm_window_alloc(&m, 3 * GRANULE, VMSHM_KIND_PRIVATE, &index, &offset,
                                          &e)) {
        return 1;
    }
    memset(vmshm_at(&m, offset), 0x5c, 3 * GRANULE);
    vmshm_proc_of(&m.segment, 0, m.slot)->messages = 7;
    if (c->read_peer && !vmshm_reader_enter(&m, 1, 0, 0, &w, &e)) {
        return 2;
    }
    if (c->hold_mutex && VMSHM_OK != vmshm_lock_enter(&m.lock, &e)) {
        return 3;
    }
    if (sizeof m.slot != write(c->ready[1], &m.slot, sizeof m.slot)) {
        return 4;
    }
    /* Not for ever: a test that fails must not leave this process behind. */
    for (long ms = 0, step = 0 == c->beat_ms ? 50 : c->beat_ms; ms < 10000; ms += step) {
        const struct timespec tick = { 0, step * 1000000 };

        if (c->beat) {
            vmshm_heartbeat(&m);
        }
        nanosleep(&tick, NULL);
    }
    return 5;
}

static pid_t start_child(struct child *c, uint32_t *slot)
{
    pid_t pid;

    assert_int_equal(pipe(c->ready), 0);
    pid = unit_fork(live_until_killed, c);
    assert_int_equal(read(c->ready[0], slot, sizeof *slot), sizeof *slot);
    close(c->ready[0]);
    close(c->ready[1]);
    return pid;
}

static void kill_child(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(unit_wait(pid), 128 + SIGKILL);
}

static void killed_process_is_reaped(void **state)
{
    struct child c = { .dir = *state, .boot = "boot", .read_peer = true };
    struct vmshm_member m, peer;
    uint32_t slot, index;
    uint64_t offset;
    pid_t pid;

    unit_join(*state, 1, "tooth", &peer);
    index = unit_alloc(&peer, GRANULE, &offset);
    assert_int_equal(index, 0);
    unit_join(*state, 0, "boot", &m);
    pid = start_child(&c, &slot);
    assert_int_equal(vmshm_reap(&m), 0);
    assert_int_equal(proc_state(&m, slot), VMSHM_PROC_LIVE);
    vmshm_window_release(&peer, 0);
    assert_int_equal(unit_window_state(&peer, 0), VMSHM_WINDOW_QUARANTINE);

    kill_child(pid);
    assert_int_equal(vmshm_reap(&m), 1);
    assert_int_equal(vmshm_reap(&m), 0);
    assert_int_equal(proc_state(&m, slot), VMSHM_PROC_DEAD);
    assert_int_equal(used_windows(&m), 0);
    assert_int_equal(vmshm_section_of(&m.segment, 0)->messages, 7);
    /* What it read is free again. */
    assert_true(row_is_empty(&m, slot));
    vmshm_reap(&peer);
    assert_int_equal(unit_window_state(&peer, 0), VMSHM_WINDOW_EMPTY);
    vmshm_leave(&m);
    vmshm_leave(&peer);
}

static void holder_of_the_mutex_dies(void **state)
{
    struct child c = { .dir = *state, .boot = "boot", .hold_mutex = true };
    struct vmshm_member m;
    uint64_t offset;
    uint32_t slot;
    pid_t pid;

    unit_join(*state, 0, "boot", &m);
    pid = start_child(&c, &slot);
    kill_child(pid);
    alarm(10);                  /* a mutex that stays locked must not hang the suite */
    unit_alloc(&m, GRANULE, &offset);
    alarm(0);
    assert_int_equal(vmshm_reap(&m), 1);
    vmshm_leave(&m);
}

static void joining_reaps(void **state)
{
    struct child c = { .dir = *state, .boot = "boot" };
    struct vmshm_member m;
    uint32_t slot;
    pid_t pid = start_child(&c, &slot);

    kill_child(pid);
    unit_join(*state, 0, "boot", &m);
    assert_int_equal(used_windows(&m), 0);
    assert_int_equal(proc_state(&m, slot), m.slot == slot ? VMSHM_PROC_LIVE : VMSHM_PROC_DEAD);
    vmshm_leave(&m);
    unit_join_slot(*state, 0, "boot", slot, &m);
    assert_int_equal(m.generation, 2);
    vmshm_leave(&m);
}

/* A slot whose burial was cut short by another death is found again: nothing in it may say "done"
 * before all of it is. */
static int bury_and_die(void *arg)
{
    struct vmshm_member *m = arg;
    const long page = sysconf(_SC_PAGESIZE);
    uint8_t *row = (uint8_t *) vmshm_reader_row_of(&m->segment, 0, 0);

    /* The reap dies by SIGSEGV at the reader row, in the middle of its work. */
    if (0 != mprotect((void *) ((uintptr_t) row & ~(uintptr_t) (page - 1)), (size_t) page,
                      PROT_READ)) {
        return 1;
    }
    signal(SIGSEGV, SIG_DFL);
    vmshm_reap(m);
    return 2;
}

static void interrupted_burial_is_repeated(void **state)
{
    struct child c = { .dir = *state, .boot = "boot" };
    struct vmshm_member m;
    uint32_t slot;
    pid_t pid = start_child(&c, &slot);
    struct vmshm_error e;

    assert_int_equal(slot, 0);
    kill_child(pid);
    /* A joined process would have reaped already: open what a reap needs, and no more. */
    memset(&m, 0, sizeof m);
    assert_int_equal(vmshm_segment_open(unit_path(*state, "segment"), &m.segment, &e), VMSHM_OK);
    assert_int_equal(vmshm_segment_own(&m.segment, 0, &e), VMSHM_OK);
    assert_int_equal(vmshm_lock_open(&m.lock, unit_path(*state, "locks-boot"),
                                     m.segment.header.segment_uuid, 0, m.segment.fd, &e), VMSHM_OK);
    m.id.epoch = vmshm_section_of(&m.segment, 0)->epoch;
    /* The rows share a page with the process table only if the tables are tiny: they must not, or
     * the store of the state would fault as well. */
    assert_true(((uintptr_t) vmshm_reader_row_of(&m.segment, 0, 0) & ~4095ul)
                > (uintptr_t) vmshm_proc_of(&m.segment, 0, 7));
    assert_int_equal(unit_wait(unit_fork(bury_and_die, &m)), 128 + SIGSEGV);
    vmshm_reap(&m);
    assert_int_equal(proc_state(&m, 0), VMSHM_PROC_DEAD);
    assert_int_equal(used_windows(&m), 0);
    vmshm_lock_close(&m.lock);
    vmshm_segment_close(&m.segment);
}

/* ------------------------------------------------------------------------ reboot, id used twice */

static void reboot_buries_the_last_boot(void **state)
{
    struct child c = { .dir = *state, .boot = "boot" };
    struct vmshm_member m;
    uint32_t slot;
    pid_t pid = start_child(&c, &slot);
    uint64_t old;

    /* A VM that is cut off leaves everything as it is: no lock of the next boot knows it. */
    kill_child(pid);
    unit_join(*state, 1, "tooth", &m);
    old = vmshm_section_of(&m.segment, 0)->epoch;
    vmshm_leave(&m);
    unit_join(*state, 0, "next", &m);
    assert_true(vmshm_section_of(&m.segment, 0)->epoch != old);
    assert_int_equal(used_windows(&m), 0);
    assert_int_equal(proc_state(&m, slot), m.slot == slot ? VMSHM_PROC_LIVE : VMSHM_PROC_DEAD);
    assert_int_equal(vmshm_section_of(&m.segment, 0)->messages, 7);
    vmshm_leave(&m);
}

static void id_used_twice(void **state)
{
    struct child c = { .dir = *state, .boot = "boot", .beat = true };
    struct vmshm_error e = { 0 };
    struct vmshm_member m;
    uint32_t slot;
    pid_t pid = start_child(&c, &slot);

    assert_int_equal(unit_try_join(*state, 0, "twin", &m, &e), VMSHM_ERR_VM_ID_TWICE);
    assert_string_equal(e.field, "section");
    kill_child(pid);
    /* Once it is silent, the id is free. */
    unit_join(*state, 0, "twin", &m);
    vmshm_leave(&m);
}

static void on_tick(int number)
{
    (void) number;
}

/* A program may have a timer before it joins, a profiler's for one: the watch for a heartbeat is no shorter. */
static void id_used_twice_under_a_timers_signals(void **state)
{
    struct child c = { .dir = *state, .boot = "boot", .beat = true, .beat_ms = 500 };
    const struct sigaction act = { .sa_handler = on_tick };
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
    const struct itimerspec ms = { { 0, 1000000 }, { 0, 1000000 } };
    struct vmshm_error e = { 0 };
    struct vmshm_member m;
    timer_t timer;
    uint32_t slot;
    pid_t pid = start_child(&c, &slot);

    assert_int_equal(sigaction(SIGUSR1, &act, NULL), 0);
    assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    assert_int_equal(timer_settime(timer, 0, &ms, NULL), 0);
    assert_int_equal(unit_try_join(*state, 0, "twin", &m, &e), VMSHM_ERR_VM_ID_TWICE);
    assert_int_equal(timer_delete(timer), 0);
    kill_child(pid);
}

/* The same kernel, but a lock directory of its own: two containers with one id. */
static void id_used_twice_by_containers(void **state)
{
    struct child c = { .dir = *state, .boot = "boot", .beat = true };
    struct vmshm_join_options o = { .vm_id = 0 };
    char segment[512], locks[512], root[512];
    struct vmshm_error e = { 0 };
    struct vmshm_member m;
    uint32_t slot;
    pid_t pid = start_child(&c, &slot);

    strcpy(segment, unit_path(*state, "segment"));
    strcpy(locks, unit_path(*state, "other-locks"));
    strcpy(root, unit_path(*state, "root-boot"));
    unit_mkdirs(locks);
    o.segment = segment;
    o.lock_dir = locks;
    o.root = root;
    assert_int_equal(vmshm_join(&o, &m, &e), VMSHM_ERR_VM_ID_TWICE);
    assert_non_null(strstr(e.detail, "lock"));
    kill_child(pid);
}

/* Lock files of several containers are often made one after the other, with inodes to match. */
static void lock_files_are_told_apart(void **state)
{
    struct vmshm_join_options o = { .vm_id = 0 };
    char segment[512], root[512], locks[3][512];
    uint64_t arbiter[3];

    strcpy(segment, unit_path(*state, "segment"));
    strcpy(root, unit_root(*state, "root-boot", "0123456789abcdef\n"));
    o.segment = segment;
    o.root = root;
    for (int i = 0; i < 3; ++i) {
        snprintf(locks[i], sizeof locks[i], "%s-%d", unit_path(*state, "locks"), i);
        unit_mkdirs(locks[i]);
    }
    for (int i = 0; i < 3; ++i) {
        struct vmshm_error e = { 0 };
        struct vmshm_member m;

        o.lock_dir = locks[i];
        assert_int_equal(vmshm_join(&o, &m, &e), VMSHM_OK);
        arbiter[i] = vmshm_section_of(&m.segment, 0)->arbiter;
        vmshm_leave(&m);
    }
    assert_true(arbiter[0] != arbiter[1] && arbiter[1] != arbiter[2]);
}

/* Tries to join when GO is closed, says so in RESULT, and is alive until STAY is closed. */
static void contender(const char *dir, const char *boot, int go, int result, int stay)
{
    struct pollfd until = { .fd = stay, .events = POLLIN };
    struct vmshm_error e = { 0 };
    struct vmshm_member m;
    char byte;
    int rc;

    if (0 != read(go, &byte, 1)) {
        _exit(1);
    }
    rc = unit_try_join(dir, 0, boot, &m, &e);
    byte = VMSHM_OK == rc ? 'j' : VMSHM_ERR_VM_ID_TWICE == rc ? 't' : '?';
    if (1 != write(result, &byte, 1)) {
        _exit(1);
    }
    if (VMSHM_OK == rc) {
        while (0 == poll(&until, 1, 1)) {
            vmshm_heartbeat(&m);
        }
        vmshm_leave(&m);
    }
    _exit(0);
}

/* Both at one time, neither with a heartbeat yet: at most one of them joins. */
static void id_used_twice_at_once(void **state)
{
    const char *boots[2] = { "boot", "twin" };

    for (int round = 0; round < 40; ++round) {
        int go[2], result[2], stay[2], joined = 0, status;
        pid_t pid[2];
        char byte;

        assert_int_equal(pipe(go), 0);
        assert_int_equal(pipe(result), 0);
        assert_int_equal(pipe(stay), 0);
        for (int i = 0; i < 2; ++i) {
            pid[i] = fork();
            if (0 == pid[i]) {
                close(go[1]);
                close(stay[1]);
                contender(*state, boots[i], go[0], result[1], stay[0]);
            }
        }
        close(go[1]);
        for (int i = 0; i < 2; ++i) {
            assert_int_equal(read(result[0], &byte, 1), 1);
            assert_true('j' == byte || 't' == byte);
            joined += 'j' == byte;
        }
        close(stay[1]);
        for (int i = 0; i < 2; ++i) {
            assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
            assert_int_equal(status, 0);
        }
        close(go[0]);
        close(stay[0]);
        close(result[0]);
        close(result[1]);
        assert_int_not_equal(joined, 2);
    }
}

struct racer {
    const char *dir;
    uint32_t id;
};

/* Take, check, fill, check, give back: 0 if no byte was ever somebody else's. */
static int race(void *arg)
{
    const struct racer *r = arg;
    uint32_t seed = r->id * 2654435761u + 1;
    struct vmshm_member m;
    struct vmshm_error e;

    if (VMSHM_OK != unit_try_join(r->dir, 0, "boot", &m, &e)) {
        return 1;
    }
    for (int round = 0; round < 60; ++round) {
        uint32_t index[4];
        uint64_t offset[4], units[4];

        for (int k = 0; k < 4; ++k) {
            seed = seed * 1664525u + 1013904223u;
            units[k] = 1 + (seed >> 16) % 5;
            if (VMSHM_OK != vmshm_window_alloc(&m, units[k] * GRANULE, VMSHM_KIND_PRIVATE,
                                               &index[k], &offset[k], &e)) {
                return 2;
            }
            for (uint64_t b = 0; b < units[k] * GRANULE; b += 8) {
                if (0 != *(uint64_t *) vmshm_at(&m, offset[k] + b)) {
                    return 3;
                }
                *(uint64_t *) vmshm_at(&m, offset[k] + b) = r->id + b + offset[k];
            }
        }
        for (int k = 3; k >= 0; --k) {
            for (uint64_t b = 0; b < units[k] * GRANULE; b += 8) {
                if (r->id + b + offset[k] != *(uint64_t *) vmshm_at(&m, offset[k] + b)) {
                    return 4;
                }
            }
            vmshm_window_release(&m, index[k]);
        }
    }
    vmshm_leave(&m);
    return 0;
}

static void many_processes_race(void **state)
{
    struct racer racers[6];
    struct vmshm_member m;
    pid_t pids[6];

    for (uint32_t i = 0; i < 6; ++i) {
        racers[i] = (struct racer) { .dir = *state, .id = i + 1 };
        pids[i] = unit_fork(race, &racers[i]);
    }
    for (int i = 0; i < 6; ++i) {
        assert_int_equal(unit_wait(pids[i]), 0);
    }
    unit_join(*state, 0, "boot", &m);
    assert_int_equal(used_windows(&m), 0);
    vmshm_leave(&m);
}

static int churn(void *arg)
{
    const struct racer *r = arg;
    struct vmshm_member m;
    struct vmshm_error e;

    if (VMSHM_OK != unit_try_join(r->dir, 0, "boot", &m, &e)) {
        return 1;
    }
    for (int i = 0; i < 1000000; ++i) {
        uint32_t index;
        uint64_t offset;

        if (VMSHM_OK != vmshm_window_alloc(&m, GRANULE, VMSHM_KIND_PRIVATE, &index, &offset, &e)) {
            return 2;
        }
        memset(vmshm_at(&m, offset), 0xee, GRANULE);
        vmshm_window_release(&m, index);
    }
    return 3;
}

/* Killed at any point, a process costs its VM neither memory nor a window slot. */
static void killed_anywhere(void **state)
{
    struct racer r = { .dir = *state, .id = 1 };
    struct vmshm_member m;
    uint64_t offset;
    uint32_t index;

    unit_join(*state, 0, "boot", &m);
    for (int round = 0; round < 40; ++round) {
        const struct timespec life = { 0, 1000000 + round * 317000 };
        const pid_t pid = unit_fork(churn, &r);

        nanosleep(&life, NULL);
        kill_child(pid);
        vmshm_reap(&m);
        assert_int_equal(used_windows(&m), 0);
        index = unit_alloc(&m, HEAP, &offset);
        for (uint64_t b = 0; b < HEAP; b += 8) {
            if (0 != *(uint64_t *) vmshm_at(&m, offset + b)) {
                fail_msg("round %d: byte %lu still holds the dead process's data", round,
                         (unsigned long) b);
            }
        }
        vmshm_window_release(&m, index);
    }
    vmshm_leave(&m);
}

static void set_mark(const char *dir, uint32_t vm, uint32_t mark, uint32_t gone)
{
    const struct vmshm_vm_mark m = { .mark = mark, .gone = gone };
    const int fd = open(unit_path(dir, "segment"), O_RDWR | O_CLOEXEC);

    assert_int_equal(pwrite(fd, &m, sizeof m, (off_t) (VMSHM_MARK_OFFSET + vm * sizeof m)), sizeof m);
    close(fd);
}

static void marked_as_gone_it_loses_the_segment(void **state)
{
    struct vmshm_member m, other, next;
    struct vmshm_error e = { 0 };

    unit_join(*state, 0, "boot", &m);
    unit_join(*state, 1, "tooth", &other);
    assert_null(vmshm_lost(&m));
    set_mark(*state, 0, VMSHM_MARK_GONE, 1);
    assert_string_equal(vmshm_lost(&m), "the host marked this VM as gone");
    assert_null(vmshm_lost(&other));
    assert_int_equal(unit_try_join(*state, 0, "boot", &next, &e), VMSHM_ERR_MARKED);
    assert_string_equal(e.field, "mark");
    assert_non_null(strstr(vmshm_error_remedy(e.code), "mark-vm --vm N up"));
    set_mark(*state, 0, VMSHM_MARK_UP, 1);
    unit_join(*state, 0, "boot", &next);
    assert_null(vmshm_lost(&next));
    /* What the first one reads was free to be reused meanwhile. */
    assert_non_null(vmshm_lost(&m));
    vmshm_leave(&next);
    vmshm_leave(&m);
    vmshm_leave(&other);
}

/* It was paused: between two looks of it the mark came and went. */
static void marked_while_nobody_looked(void **state)
{
    struct vmshm_member m;

    set_mark(*state, 0, VMSHM_MARK_UP, 3);
    unit_join(*state, 0, "boot", &m);
    assert_null(vmshm_lost(&m));
    set_mark(*state, 0, VMSHM_MARK_UP, 4);
    assert_string_equal(vmshm_lost(&m), "the host marked this VM as gone");
    vmshm_leave(&m);
}

static void its_section_is_given_to_another(void **state)
{
    struct vmshm_member m, other;
    const struct vmshm_section *section;
    struct vmshm_section before;
    struct vmshm_proc proc;
    struct vmshm_segment whole;
    struct vmshm_error e;
    uint64_t offset, next;
    uint32_t index, none;

    assert_int_equal(vmshm_segment_open(unit_path(*state, "segment"), &whole, &e), VMSHM_OK);
    unit_join(*state, 0, "boot", &m);
    unit_join(*state, 1, "tooth", &other);
    index = unit_alloc(&m, GRANULE, &offset);
    vmshm_section_of(&m.segment, 0)->arbiter += 1;
    section = vmshm_section_of(&other.segment, 0);
    assert_non_null(vmshm_lost(&m));
    memcpy(&before, section, sizeof before);
    memcpy(&proc, vmshm_proc_of(&other.segment, 0, m.slot), sizeof proc);
    vmshm_reap(&m);
    vmshm_let_go(&m);
    /* Whatever it does now happens to memory of its own. */
    memset(vmshm_at(&m, offset), 0x5a, GRANULE);
    vmshm_heartbeat(&m);
    vmshm_window_release(&m, index);
    assert_int_not_equal(vmshm_window_alloc(&m, GRANULE, VMSHM_KIND_PRIVATE, &none, &next, &e),
                         VMSHM_OK);
    vmshm_leave(&m);
    assert_memory_equal(&before, section, sizeof before);
    assert_memory_equal(&proc, vmshm_proc_of(&other.segment, 0, m.slot), sizeof proc);
    assert_int_equal(vmshm_window_of(&other.segment, 0, index)->state, VMSHM_WINDOW_LIVE);
    assert_int_equal(whole.base[offset], 0);
    vmshm_leave(&other);
    vmshm_segment_close(&whole);
}

/* As where vm.overcommit_memory is 2: memory that could be written is not to be had. */
static int let_go_without_memory(void *arg)
{
    struct vmshm_segment whole;
    struct vmshm_member m;
    struct vmshm_error e;
    struct rlimit limit;
    uint64_t offset;
    uint32_t index;

    if (VMSHM_OK != vmshm_segment_open(unit_path(arg, "segment"), &whole, &e)
        || VMSHM_OK != unit_try_join(arg, 0, "boot", &m, &e)
        || VMSHM_OK != vmshm_window_alloc(&m, GRANULE, VMSHM_KIND_PRIVATE, &index, &offset, &e)
        || 0 != getrlimit(RLIMIT_DATA, &limit)) {
        return 1;
    }
    *(uint64_t *) vmshm_at(&m, offset) = 1;
    limit.rlim_cur = 4096;              /* 0 would mean something else */
    if (0 != setrlimit(RLIMIT_DATA, &limit)) {
        return 2;
    }
    vmshm_let_go(&m);
    if (0 != *(volatile uint64_t *) vmshm_at(&m, offset)) {
        return 3;                       /* it still reads what is shared */
    }
    /* Nor must it write there: rather it ends. */
    signal(SIGSEGV, SIG_DFL);
    *(volatile uint64_t *) vmshm_at(&m, offset) = 2;
    return 1 == *(volatile uint64_t *) (void *) (whole.base + offset) ? 0 : 4;
}

#if defined(__SANITIZE_THREAD__)
#define ENDED_BY_SEGV 66                /* it has its own handler */
#else
#define ENDED_BY_SEGV (128 + SIGSEGV)
#endif

static void the_segment_goes_also_without_memory(void **state)
{
    const int status = unit_wait(unit_fork(let_go_without_memory, *state));

    if (0 != status) {
        assert_int_equal(status, ENDED_BY_SEGV);
    }
}

#define SMALL(test) cmocka_unit_test_setup_teardown(test, unit_setup_segment, unit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL(coming_and_going_is_counted), SMALL(traffic_is_summed_up), SMALL(slots_full),
        SMALL(killed_process_is_reaped), SMALL(holder_of_the_mutex_dies), SMALL(joining_reaps),
        SMALL(interrupted_burial_is_repeated), SMALL(reboot_buries_the_last_boot),
        SMALL(id_used_twice), SMALL(id_used_twice_under_a_timers_signals), SMALL(id_used_twice_by_containers),
        SMALL(id_used_twice_at_once), SMALL(lock_files_are_told_apart),
        SMALL(marked_as_gone_it_loses_the_segment), SMALL(marked_while_nobody_looked),
        SMALL(its_section_is_given_to_another),
        SMALL(the_segment_goes_also_without_memory),
        SMALL(many_processes_race), SMALL(killed_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
