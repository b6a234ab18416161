/* SPDX-License-Identifier: BSD-3-Clause */
/* Which process of a VM looks for dead ones, and when. */
#include "child.h"

#include <unistd.h>

#define MEMBERS 8

static void one_of_them_looks(void **state)
{
    struct vmshm_member m[MEMBERS];
    struct vmshm_section *section;
    uint32_t before, looker;

    for (int i = 0; i < MEMBERS; ++i) {
        unit_join(*state, 0, "boot", &m[i]);
    }
    section = vmshm_section_of(&m[0].segment, 0);
    before = section->looks;
    for (int round = 1; round <= 5; ++round) {
        for (int i = 0; i < MEMBERS; ++i) {
            (void) vmshm_look_after(&m[i]);
        }
        assert_int_equal(section->looks, before + (uint32_t) round);
    }
    /* The one who did stands still: another one does it after two rounds at the latest, and stays with it
     * when the first one comes back. */
    looker = section->looker - 1;
    before = section->looks;
    for (int round = 0; round < 4; ++round) {
        for (int i = 0; i < MEMBERS; ++i) {
            if (m[i].slot != looker) {
                (void) vmshm_look_after(&m[i]);
            }
        }
    }
    assert_in_range(section->looks, before + 3, before + 4);
    assert_int_not_equal(section->looker - 1, looker);
    before = section->looks;
    for (int i = 0; i < MEMBERS; ++i) {
        (void) vmshm_look_after(&m[i]);
    }
    assert_int_equal(section->looks, before + 1);
    for (int i = 0; i < MEMBERS; ++i) {
        vmshm_leave(&m[i]);
    }
}

/* A process that takes most of the section and waits to be killed. */
struct sleeper {
    const char *dir;
    int ready[2];
};

static int join_and_wait(void *arg)
{
    struct sleeper *s = arg;
    struct vmshm_member m;
    struct vmshm_error e;
    uint64_t offset;
    uint32_t index;

    if (VMSHM_OK != unit_try_join(s->dir, 0, "boot", &m, &e)
        || VMSHM_OK != vmshm_window_alloc(&m, 13 * UNIT_MIB, VMSHM_KIND_PRIVATE, &index, &offset, &e)
        || 1 != write(s->ready[1], "r", 1)) {
        return 1;
    }
    sleep(60);
    return 0;
}

/* Between two looks nobody knows of a death, but who is short of memory or of a slot looks himself. */
static void who_needs_the_dead_ones_memory_looks(void **state)
{
    struct sleeper s = { .dir = *state };
    struct vmshm_member looker, m[MEMBERS];
    uint64_t offset;
    char byte;
    pid_t pid;

    unit_join(*state, 0, "boot", &looker);
    (void) vmshm_look_after(&looker);
    assert_int_equal(pipe(s.ready), 0);
    pid = unit_fork(join_and_wait, &s);
    assert_int_equal(read(s.ready[0], &byte, 1), 1);
    kill_child(pid);
    unit_join(*state, 0, "boot", &m[0]);
    unit_alloc(&m[0], 13 * UNIT_MIB, &offset);
    vmshm_leave(&m[0]);
    pid = unit_fork(join_and_wait, &s);
    assert_int_equal(read(s.ready[0], &byte, 1), 1);
    kill_child(pid);
    for (int i = 0; i < MEMBERS - 1; ++i) {
        unit_join(*state, 0, "boot", &m[i]);
    }
    for (int i = 0; i < MEMBERS - 1; ++i) {
        vmshm_leave(&m[i]);
    }
    vmshm_leave(&looker);
    close(s.ready[0]);
    close(s.ready[1]);
}

static void the_looker_finds_the_dead(void **state)
{
    struct sleeper s = { .dir = *state };
    struct vmshm_member looker;
    char byte;
    pid_t pid;

    unit_join(*state, 0, "boot", &looker);
    assert_int_equal(pipe(s.ready), 0);
    pid = unit_fork(join_and_wait, &s);
    assert_int_equal(read(s.ready[0], &byte, 1), 1);
    assert_int_equal(vmshm_look_after(&looker), 0);
    kill_child(pid);
    assert_int_equal(vmshm_look_after(&looker), 1);
    assert_int_equal(vmshm_look_after(&looker), 0);
    vmshm_leave(&looker);
    close(s.ready[0]);
    close(s.ready[1]);
}

#define SMALL(test) cmocka_unit_test_setup_teardown(test, unit_setup_segment, unit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL(one_of_them_looks), SMALL(who_needs_the_dead_ones_memory_looks),
        SMALL(the_looker_finds_the_dead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
