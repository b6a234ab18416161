/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What keeps a window from being handed out again. Two members in one process suffice, because the locks belong to
 * the open file description, not to the process.
 */
#include "unit.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define GRANULE VMSHM_GRANULE_BYTES

static void reader_blocks_reuse(void **state)
{
    struct vmshm_member owner, reader, late;
    struct vmshm_window w;
    struct vmshm_error e;
    uint64_t offset, other;
    uint32_t index;

    unit_join(*state, 0, "boot", &owner);
    unit_join(*state, 1, "tooth", &reader);
    unit_join(*state, 1, "tooth", &late);
    index = unit_alloc(&owner, GRANULE, &offset);
    assert_true(vmshm_reader_enter(&reader, 0, owner.slot, index, &w, &e));
    vmshm_window_release(&owner, index);
    assert_int_equal(unit_window_state(&owner, index), VMSHM_WINDOW_QUARANTINE);
    /* Neither the entry nor the memory is handed out while it is read. */
    assert_true(index != unit_alloc(&owner, GRANULE, &other));
    assert_true(other != offset);
    /* A late reader is refused and leaves no bit behind. */
    assert_false(vmshm_reader_enter(&late, 0, owner.slot, index, &w, &e));
    assert_int_equal(vmshm_reader_row_of(&late.segment, 1, late.slot)[0], 0);
    assert_int_equal(vmshm_reader_row_of(&late.segment, 1, late.slot)[1], 0);
    /* Nor does the one who reads it enter it again. */
    assert_false(vmshm_reader_enter(&reader, 0, owner.slot, index, &w, &e));
    vmshm_reap(&owner);
    assert_int_equal(unit_window_state(&owner, index), VMSHM_WINDOW_QUARANTINE);
    vmshm_reader_leave(&reader, 0, index);
    vmshm_reap(&owner);
    assert_int_equal(unit_window_state(&owner, index), VMSHM_WINDOW_EMPTY);
    assert_int_equal(unit_alloc(&owner, GRANULE, &other), index);
    assert_int_equal(other, offset);
    vmshm_leave(&late);
    vmshm_leave(&reader);
    vmshm_leave(&owner);
}

static void readers_of_the_own_vm_count(void **state)
{
    struct vmshm_member owner, reader;
    struct vmshm_window w;
    struct vmshm_error e;
    uint64_t offset;
    uint32_t index;

    unit_join(*state, 0, "boot", &owner);
    unit_join(*state, 0, "boot", &reader);
    index = unit_alloc(&owner, GRANULE, &offset);
    assert_true(vmshm_reader_enter(&reader, 0, owner.slot, index, &w, &e));
    vmshm_window_release(&owner, index);
    assert_int_equal(unit_window_state(&owner, index), VMSHM_WINDOW_QUARANTINE);
    vmshm_reader_leave(&reader, 0, index);
    vmshm_reap(&owner);
    assert_int_equal(unit_window_state(&owner, index), VMSHM_WINDOW_EMPTY);
    vmshm_leave(&reader);
    vmshm_leave(&owner);
}

static void leaving_reader_lets_go(void **state)
{
    struct vmshm_member owner, reader;
    struct vmshm_window w;
    struct vmshm_error e;
    uint64_t offset;
    uint32_t index;

    unit_join(*state, 0, "boot", &owner);
    unit_join(*state, 1, "tooth", &reader);
    index = unit_alloc(&owner, GRANULE, &offset);
    assert_true(vmshm_reader_enter(&reader, 0, owner.slot, index, &w, &e));
    vmshm_window_release(&owner, index);
    vmshm_leave(&reader);
    vmshm_reap(&owner);
    assert_int_equal(unit_window_state(&owner, index), VMSHM_WINDOW_EMPTY);
    vmshm_leave(&owner);
}

static void host_mark_frees_what_a_gone_vm_read(void **state)
{
    struct vmshm_member owner, reader;
    struct vmshm_vm_mark mark = { .mark = VMSHM_MARK_GONE };
    struct vmshm_window w;
    struct vmshm_error e;
    uint64_t offset;
    uint32_t index;
    int fd;

    unit_join(*state, 0, "boot", &owner);
    unit_join(*state, 1, "tooth", &reader);
    index = unit_alloc(&owner, GRANULE, &offset);
    assert_true(vmshm_reader_enter(&reader, 0, owner.slot, index, &w, &e));
    vmshm_window_release(&owner, index);
    fd = open(unit_path(*state, "segment"), O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, &mark, sizeof mark, VMSHM_MARK_OFFSET + sizeof mark), sizeof mark);
    close(fd);
    vmshm_reap(&owner);
    assert_int_equal(unit_window_state(&owner, index), VMSHM_WINDOW_EMPTY);
    vmshm_leave(&reader);
    vmshm_leave(&owner);
}

static void leaving_owner_quarantines(void **state)
{
    struct vmshm_member owner, reader, next;
    struct vmshm_window w;
    struct vmshm_error e;
    uint64_t offset;
    uint32_t index, slot;

    unit_join(*state, 0, "boot", &owner);
    unit_join(*state, 1, "tooth", &reader);
    slot = owner.slot;
    index = unit_alloc(&owner, GRANULE, &offset);
    memset(vmshm_at(&owner, offset), 0x77, GRANULE);
    assert_true(vmshm_reader_enter(&reader, 0, slot, index, &w, &e));
    vmshm_leave(&owner);
    assert_int_equal(vmshm_proc_of(&reader.segment, 0, slot)->state, VMSHM_PROC_LEFT);
    assert_int_equal(vmshm_window_of(&reader.segment, 0, index)->state, VMSHM_WINDOW_QUARANTINE);
    unit_join_slot(*state, 0, "boot", slot, &next);
    assert_int_equal(next.generation, 2);
    assert_int_equal(unit_window_state(&next, index), VMSHM_WINDOW_QUARANTINE);
    /* What the reader still maps stays as it was. */
    assert_int_equal(*(uint8_t *) vmshm_at(&reader, offset), 0x77);
    vmshm_leave(&next);
    vmshm_leave(&reader);
}

#define SMALL(test) cmocka_unit_test_setup_teardown(test, unit_setup_segment, unit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL(reader_blocks_reuse), SMALL(readers_of_the_own_vm_count), SMALL(leaving_reader_lets_go),
        SMALL(host_mark_frees_what_a_gone_vm_read), SMALL(leaving_owner_quarantines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
