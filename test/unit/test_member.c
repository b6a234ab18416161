/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Members of a section: their slots, their end, and what happens to their windows. Processes are real ones where
 * death or racing matters; elsewhere two members in one process do, because the locks belong to the open file,
 * not to the process.
 */
#include "child.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <time.h>

#define HEAP     UNIT_HEAP
#define GRANULE  VMSHM_GRANULE_BYTES

static bool row_is_empty(const struct vmshm_member *m, uint32_t slot)
{
    const uint64_t *row = vmshm_reader_row_of(&m->segment, m->id.vm, slot);

    return 0 == row[0] && 0 == row[1];
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

#define SMALL(test) cmocka_unit_test_setup_teardown(test, unit_setup_segment, unit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL(coming_and_going_is_counted), SMALL(traffic_is_summed_up), SMALL(slots_full),
        SMALL(killed_process_is_reaped), SMALL(holder_of_the_mutex_dies), SMALL(joining_reaps),
        SMALL(interrupted_burial_is_repeated), SMALL(many_processes_race), SMALL(killed_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
