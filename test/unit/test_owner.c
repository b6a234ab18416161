/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whose is a section? The next boot's, one VM's of those with its id, nobody's who was marked as gone.
 */
#include "child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRANULE  VMSHM_GRANULE_BYTES

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

/* ------------------------------------------------------------------------ lost */

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
        SMALL(reboot_buries_the_last_boot), SMALL(id_used_twice),
        SMALL(id_used_twice_under_a_timers_signals), SMALL(id_used_twice_by_containers),
        SMALL(id_used_twice_at_once), SMALL(lock_files_are_told_apart),
        SMALL(marked_as_gone_it_loses_the_segment), SMALL(marked_while_nobody_looked),
        SMALL(its_section_is_given_to_another), SMALL(the_segment_goes_also_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
