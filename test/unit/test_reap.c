/* SPDX-License-Identifier: BSD-3-Clause */
/* Who leaves in order while another process of the VM looks for the dead is not taken for dead. */
#define _GNU_SOURCE
#include "unit.h"

#include "vmshm_layout.h"
#include "vmshm_member.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Called when the lock file is asked who holds a byte, before the answer; once. */
static void (*before_answer)(void);

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);

int __wrap_fcntl(int fd, int command, ...)
{
    va_list list;
    void *argument;

    va_start(list, command);
    argument = va_arg(list, void *);
    va_end(list);
    if (F_OFD_GETLK == command && NULL != before_answer) {
        void (*call)(void) = before_answer;

        before_answer = NULL;
        call();
    }
    return __real_fcntl(fd, command, argument);
}

static void join(const char *dir, struct vmshm_member *m)
{
    const struct vmshm_join_options o = {
        .segment = unit_path(dir, "segment"), .lock_dir = dir, .vm_id = 0,
    };
    struct vmshm_error e;

    if (VMSHM_OK != vmshm_join(&o, m, &e)) {
        fprintf(stderr, "%s: %s\n", e.field, e.detail);
        exit(1);
    }
}

static int go[2], gone[2];

/* Joins, and leaves when it is told. */
static pid_t sibling(const char *dir)
{
    const pid_t pid = fork();
    struct vmshm_member m;
    char c = 'j';

    if (0 == pid) {
        alarm(60);
        join(dir, &m);
        if (1 != write(gone[1], &c, 1) || 1 != read(go[0], &c, 1)) {
            _exit(1);
        }
        vmshm_leave(&m);
        _exit(1 == write(gone[1], &c, 1) ? 0 : 1);
    }
    assert_int_equal(1, read(gone[0], &c, 1));
    return pid;
}

static void let_leave(void)
{
    char c = 'g';

    assert_int_equal(1, write(go[1], &c, 1));
    assert_int_equal(1, read(gone[0], &c, 1));
}

static void test_leaving_is_not_dying(void **state)
{
    struct vmshm_member m;
    pid_t pid;

    assert_int_equal(0, pipe(go) | pipe(gone));
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    join(*state, &m);
    pid = sibling(*state);
    before_answer = let_leave;
    assert_int_equal(0, vmshm_reap(&m));
    assert_null(before_answer);
    assert_int_equal(VMSHM_PROC_LEFT, vmshm_proc_of(&m.segment, 0, 1)->state);
    assert_int_equal(0, unit_wait(pid));
    vmshm_leave(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_leaving_is_not_dying, unit_setup, unit_teardown),
    };

    return cmocka_run_group_tests_name("reaping", tests, NULL, NULL);
}
