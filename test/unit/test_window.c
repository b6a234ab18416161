/*
 * Windows of the own section, and what happens to them when their process or VM dies. Processes are
 * real ones where death or racing matters; elsewhere two members in one process do, because the
 * locks belong to the open file, not to the process.
 */
#include "unit.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECTION  (16 * UNIT_MIB)
#define HEAP     (14 * UNIT_MIB)        /* the tables of the small segment take 2 MiB */
#define GRANULE  VMSHM_GRANULE_BYTES

static int setup(void **state)
{
    unit_setup(state);
    unit_segment(unit_path(*state, "segment"), SECTION, 0);
    return 0;
}

static int setup_open(void **state)
{
    unit_setup(state);
    unit_segment(unit_path(*state, "segment"), SECTION, 4 * UNIT_MIB);
    return 0;
}

static uint32_t must_alloc(struct vmshm_member *m, uint64_t bytes, uint64_t *offset)
{
    struct vmshm_error e = { 0 };
    uint32_t index;

    if (VMSHM_OK != vmshm_window_alloc(m, bytes, VMSHM_KIND_PRIVATE, &index, offset, &e)) {
        fail_msg("%s: %s", e.field, e.detail);
    }
    return index;
}

static void must_not_alloc(struct vmshm_member *m, uint64_t bytes, uint32_t kind,
                           const char *field)
{
    struct vmshm_error e = { 0 };
    uint32_t index;
    uint64_t offset;

    assert_int_equal(vmshm_window_alloc(m, bytes, kind, &index, &offset, &e), VMSHM_ERR_FULL);
    assert_string_equal(e.field, field);
}

static uint32_t state_of(const struct vmshm_member *m, uint32_t index)
{
    return vmshm_window_of(&m->segment, m->id.vm, index)->state;
}

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
        n += VMSHM_WINDOW_EMPTY != state_of(m, i);
    }
    return n;
}

/* ------------------------------------------------------------------------------ handing out */

static void entry_is_complete(void **state)
{
    struct vmshm_member m;
    struct vmshm_window *w;
    uint64_t offset;
    uint32_t index;

    unit_join(*state, 1, "boot", &m);
    index = must_alloc(&m, 1, &offset);
    w = vmshm_window_of(&m.segment, 1, index);
    assert_int_equal(w->state, VMSHM_WINDOW_LIVE);
    assert_int_equal(w->generation, 1);
    assert_int_equal(w->offset, offset);
    assert_int_equal(w->length, GRANULE);
    assert_int_equal(w->proc, m.slot);
    assert_int_equal(w->uid, getuid());
    assert_int_equal(w->kind, VMSHM_KIND_PRIVATE);
    assert_memory_equal(w->job, m.job, sizeof m.job);
    assert_int_equal(offset, m.segment.sections[1].offset + vmshm_heap_offset(&m.segment.header));
    vmshm_leave(&m);
}

static void lengths_are_rounded_up(void **state)
{
    static const uint64_t bytes[] = { 0, 1, 65535, 65536, 65537, 131072 };
    static const uint64_t units[] = { 1, 1, 1, 1, 2, 2 };
    struct vmshm_member m;
    uint64_t offset;

    unit_join(*state, 0, "boot", &m);
    for (int i = 0; i < 6; ++i) {
        const uint32_t index = must_alloc(&m, bytes[i], &offset);

        assert_int_equal(vmshm_window_of(&m.segment, 0, index)->length, units[i] * GRANULE);
    }
    vmshm_leave(&m);
}

static void first_fit(void **state)
{
    struct vmshm_member m;
    uint64_t at[4], again;
    uint32_t index[4];

    unit_join(*state, 0, "boot", &m);
    for (int i = 0; i < 4; ++i) {
        index[i] = must_alloc(&m, 2 * GRANULE, &at[i]);
        assert_int_equal(at[i], at[0] + (uint64_t) i * 2 * GRANULE);
    }
    vmshm_window_release(&m, index[1]);
    vmshm_window_release(&m, index[3]);
    /* Too large for the first gap: goes behind the last window. */
    must_alloc(&m, 3 * GRANULE, &again);
    assert_int_equal(again, at[3]);
    /* Fits the first gap, twice. */
    must_alloc(&m, GRANULE, &again);
    assert_int_equal(again, at[1]);
    must_alloc(&m, GRANULE, &again);
    assert_int_equal(again, at[1] + GRANULE);
    must_alloc(&m, GRANULE, &again);
    assert_int_equal(again, at[3] + 3 * GRANULE);
    vmshm_leave(&m);
}

/* Windows whose table order is not their order in memory. */
static void gap_search_with_unsorted_table(void **state)
{
    struct vmshm_member m;
    uint64_t at[6], again;
    uint32_t index[6];

    unit_join(*state, 0, "boot", &m);
    for (int i = 0; i < 6; ++i) {
        index[i] = must_alloc(&m, GRANULE, &at[i]);
    }
    /* Swap the ranges of the entries: 5 4 3 2 1 0. */
    for (int i = 0; i < 3; ++i) {
        struct vmshm_window *a = vmshm_window_of(&m.segment, 0, index[i]);
        struct vmshm_window *b = vmshm_window_of(&m.segment, 0, index[5 - i]);
        const uint64_t offset = a->offset;

        a->offset = b->offset;
        b->offset = offset;
    }
    must_alloc(&m, GRANULE, &again);
    assert_int_equal(again, at[5] + GRANULE);
    vmshm_leave(&m);
}

static void memory_is_zeroed_before_reuse(void **state)
{
    struct vmshm_member m;
    struct vmshm_section *section;
    uint64_t a, b;
    uint32_t index;
    uint8_t *p;

    unit_join(*state, 0, "boot", &m);
    section = vmshm_section_of(&m.segment, 0);
    index = must_alloc(&m, 3 * GRANULE, &a);
    assert_int_equal(section->dirty_end, a + 3 * GRANULE - m.segment.sections[0].offset);
    memset(vmshm_at(&m, a), 0xa5, 3 * GRANULE);
    vmshm_window_release(&m, index);
    /* Partly old memory, partly never used. */
    must_alloc(&m, 5 * GRANULE, &b);
    assert_int_equal(a, b);
    p = vmshm_at(&m, b);
    for (uint64_t i = 0; i < 5 * GRANULE; ++i) {
        if (0 != p[i]) {
            fail_msg("byte %lu still holds the former owner's data", (unsigned long) i);
        }
    }
    assert_int_equal(section->dirty_end, b + 5 * GRANULE - m.segment.sections[0].offset);
    vmshm_leave(&m);
}

static void section_full(void **state)
{
    struct vmshm_member m;
    uint64_t offset;
    uint32_t index;

    unit_join(*state, 0, "boot", &m);
    must_not_alloc(&m, HEAP + 1, VMSHM_KIND_PRIVATE, "heap");
    must_not_alloc(&m, SECTION, VMSHM_KIND_PRIVATE, "heap");
    must_not_alloc(&m, UINT64_C(1) << 62, VMSHM_KIND_PRIVATE, "heap");
    /* Rounding up must not wrap around to nothing. */
    must_not_alloc(&m, UINT64_MAX, VMSHM_KIND_PRIVATE, "heap");
    must_not_alloc(&m, UINT64_MAX - GRANULE + 2, VMSHM_KIND_PRIVATE, "heap");
    index = must_alloc(&m, HEAP, &offset);
    must_not_alloc(&m, 1, VMSHM_KIND_PRIVATE, "heap");
    vmshm_window_release(&m, index);
    must_alloc(&m, HEAP - GRANULE, &offset);
    must_alloc(&m, GRANULE, &offset);
    must_not_alloc(&m, 1, VMSHM_KIND_PRIVATE, "heap");
    vmshm_leave(&m);
}

static void table_full(void **state)
{
    struct vmshm_member m;
    uint64_t offset;

    unit_join(*state, 0, "boot", &m);
    for (int i = 0; i < 64; ++i) {
        must_alloc(&m, GRANULE, &offset);
    }
    must_not_alloc(&m, GRANULE, VMSHM_KIND_PRIVATE, "windows");
    vmshm_window_release(&m, 17);
    assert_int_equal(must_alloc(&m, GRANULE, &offset), 17);
    vmshm_leave(&m);
}

static void generations_grow(void **state)
{
    struct vmshm_member m;
    uint64_t offset;

    unit_join(*state, 0, "boot", &m);
    for (uint32_t n = 1; n < 6; ++n) {
        const uint32_t index = must_alloc(&m, GRANULE, &offset);

        assert_int_equal(index, 0);
        assert_int_equal(vmshm_window_of(&m.segment, 0, 0)->generation, n);
        vmshm_window_release(&m, index);
    }
    vmshm_leave(&m);
}

static void open_half(void **state)
{
    struct vmshm_member m;
    struct vmshm_error e;
    uint64_t border, offset;
    uint32_t index;

    unit_join(*state, 0, "boot", &m);
    border = m.segment.sections[0].offset + m.segment.sections[0].open_offset;
    must_not_alloc(&m, 4 * UNIT_MIB + 1, VMSHM_KIND_OPEN, "heap");
    assert_int_equal(vmshm_window_alloc(&m, 4 * UNIT_MIB, VMSHM_KIND_OPEN, &index, &offset, &e),
                     VMSHM_OK);
    assert_int_equal(offset, border);
    must_not_alloc(&m, 10 * UNIT_MIB + 1, VMSHM_KIND_PRIVATE, "heap");
    must_alloc(&m, 10 * UNIT_MIB, &offset);
    assert_int_equal(offset + 10 * UNIT_MIB, border);
    vmshm_leave(&m);
}

static void no_open_half(void **state)
{
    struct vmshm_member m;

    unit_join(*state, 0, "boot", &m);
    must_not_alloc(&m, 1, VMSHM_KIND_OPEN, "heap");
    vmshm_leave(&m);
}

/* ------------------------------------------------------------------------------- quarantine */

static void reader_blocks_reuse(void **state)
{
    struct vmshm_member owner, reader;
    struct vmshm_window w;
    uint64_t offset, other;
    uint32_t index;

    unit_join(*state, 0, "boot", &owner);
    unit_join(*state, 1, "tooth", &reader);
    index = must_alloc(&owner, GRANULE, &offset);
    assert_true(vmshm_reader_enter(&reader, 0, owner.slot, index, &w));
    vmshm_window_release(&owner, index);
    assert_int_equal(state_of(&owner, index), VMSHM_WINDOW_QUARANTINE);
    /* Neither the entry nor the memory is handed out while it is read. */
    assert_true(index != must_alloc(&owner, GRANULE, &other));
    assert_true(other != offset);
    /* A late reader is refused and leaves no bit behind. */
    assert_false(vmshm_reader_enter(&reader, 0, owner.slot, index, &w));
    assert_true(row_is_empty(&reader, reader.slot));
    vmshm_reap(&owner);
    assert_int_equal(state_of(&owner, index), VMSHM_WINDOW_EMPTY);
    assert_int_equal(must_alloc(&owner, GRANULE, &other), index);
    assert_int_equal(other, offset);
    vmshm_leave(&reader);
    vmshm_leave(&owner);
}

static void readers_of_the_own_vm_count(void **state)
{
    struct vmshm_member owner, reader;
    struct vmshm_window w;
    uint64_t offset;
    uint32_t index;

    unit_join(*state, 0, "boot", &owner);
    unit_join(*state, 0, "boot", &reader);
    index = must_alloc(&owner, GRANULE, &offset);
    assert_true(vmshm_reader_enter(&reader, 0, owner.slot, index, &w));
    vmshm_window_release(&owner, index);
    assert_int_equal(state_of(&owner, index), VMSHM_WINDOW_QUARANTINE);
    vmshm_reader_leave(&reader, 0, index);
    vmshm_reap(&owner);
    assert_int_equal(state_of(&owner, index), VMSHM_WINDOW_EMPTY);
    vmshm_leave(&reader);
    vmshm_leave(&owner);
}

static void leaving_reader_lets_go(void **state)
{
    struct vmshm_member owner, reader;
    struct vmshm_window w;
    uint64_t offset;
    uint32_t index;

    unit_join(*state, 0, "boot", &owner);
    unit_join(*state, 1, "tooth", &reader);
    index = must_alloc(&owner, GRANULE, &offset);
    assert_true(vmshm_reader_enter(&reader, 0, owner.slot, index, &w));
    vmshm_window_release(&owner, index);
    vmshm_leave(&reader);
    vmshm_reap(&owner);
    assert_int_equal(state_of(&owner, index), VMSHM_WINDOW_EMPTY);
    vmshm_leave(&owner);
}

static void host_mark_frees_what_a_gone_vm_read(void **state)
{
    struct vmshm_member owner, reader;
    struct vmshm_vm_mark mark = { .mark = VMSHM_MARK_GONE };
    struct vmshm_window w;
    uint64_t offset;
    uint32_t index;
    int fd;

    unit_join(*state, 0, "boot", &owner);
    unit_join(*state, 1, "tooth", &reader);
    index = must_alloc(&owner, GRANULE, &offset);
    assert_true(vmshm_reader_enter(&reader, 0, owner.slot, index, &w));
    vmshm_window_release(&owner, index);
    fd = open(unit_path(*state, "segment"), O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, &mark, sizeof mark, VMSHM_MARK_OFFSET + sizeof mark), sizeof mark);
    close(fd);
    vmshm_reap(&owner);
    assert_int_equal(state_of(&owner, index), VMSHM_WINDOW_EMPTY);
    vmshm_leave(&reader);
    vmshm_leave(&owner);
}

static void leaving_owner_quarantines(void **state)
{
    struct vmshm_member owner, reader, next;
    struct vmshm_window w;
    uint64_t offset;
    uint32_t index, slot;

    unit_join(*state, 0, "boot", &owner);
    unit_join(*state, 1, "tooth", &reader);
    slot = owner.slot;
    index = must_alloc(&owner, GRANULE, &offset);
    memset(vmshm_at(&owner, offset), 0x77, GRANULE);
    assert_true(vmshm_reader_enter(&reader, 0, slot, index, &w));
    vmshm_leave(&owner);
    assert_int_equal(vmshm_proc_of(&reader.segment, 0, slot)->state, VMSHM_PROC_LEFT);
    assert_int_equal(vmshm_window_of(&reader.segment, 0, index)->state, VMSHM_WINDOW_QUARANTINE);
    unit_join_slot(*state, 0, "boot", slot, &next);
    assert_int_equal(next.generation, 2);
    assert_int_equal(state_of(&next, index), VMSHM_WINDOW_QUARANTINE);
    /* What the reader still maps stays as it was. */
    assert_int_equal(*(uint8_t *) vmshm_at(&reader, offset), 0x77);
    vmshm_leave(&next);
    vmshm_leave(&reader);
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
    if (c->read_peer && !vmshm_reader_enter(&m, 1, 0, 0, &w)) {
        return 2;
    }
    if (c->hold_mutex && VMSHM_OK != vmshm_lock_enter(&m.lock, &e)) {
        return 3;
    }
    if (sizeof m.slot != write(c->ready[1], &m.slot, sizeof m.slot)) {
        return 4;
    }
    /* Not for ever: a test that fails must not leave this process behind. */
    for (int i = 0; i < 200; ++i) {
        const struct timespec tick = { 0, 50000000 };

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
    index = must_alloc(&peer, GRANULE, &offset);
    assert_int_equal(index, 0);
    unit_join(*state, 0, "boot", &m);
    pid = start_child(&c, &slot);
    assert_int_equal(vmshm_reap(&m), 0);
    assert_int_equal(proc_state(&m, slot), VMSHM_PROC_LIVE);
    vmshm_window_release(&peer, 0);
    assert_int_equal(state_of(&peer, 0), VMSHM_WINDOW_QUARANTINE);

    kill_child(pid);
    assert_int_equal(vmshm_reap(&m), 1);
    assert_int_equal(vmshm_reap(&m), 0);
    assert_int_equal(proc_state(&m, slot), VMSHM_PROC_DEAD);
    assert_int_equal(used_windows(&m), 0);
    assert_int_equal(vmshm_section_of(&m.segment, 0)->messages, 7);
    /* What it read is free again. */
    assert_true(row_is_empty(&m, slot));
    vmshm_reap(&peer);
    assert_int_equal(state_of(&peer, 0), VMSHM_WINDOW_EMPTY);
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
    must_alloc(&m, GRANULE, &offset);
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
                                     m.segment.header.segment_uuid, 0, &e), VMSHM_OK);
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

/* The own table may hold anything after a crash: it must not lead out of the heap, nor hang. */
static void garbage_in_own_table(void **state)
{
    struct vmshm_member m;
    struct vmshm_window *w;
    uint64_t offset, base;

    unit_join(*state, 0, "boot", &m);
    base = m.segment.sections[0].offset + vmshm_heap_offset(&m.segment.header);
    for (uint32_t i = 0; i < 6; ++i) {
        w = vmshm_window_of(&m.segment, 0, i);
        w->state = VMSHM_WINDOW_LIVE;
        w->proc = 77;
    }
    vmshm_window_of(&m.segment, 0, 0)->offset = UINT64_MAX;
    vmshm_window_of(&m.segment, 0, 0)->length = UINT64_MAX;
    vmshm_window_of(&m.segment, 0, 1)->offset = base;
    vmshm_window_of(&m.segment, 0, 1)->length = UINT64_MAX - base;
    vmshm_window_of(&m.segment, 0, 2)->offset = 0;
    vmshm_window_of(&m.segment, 0, 2)->length = 64 * UNIT_MIB;
    vmshm_window_of(&m.segment, 0, 3)->offset = base;
    vmshm_window_of(&m.segment, 0, 3)->length = 0;
    vmshm_window_of(&m.segment, 0, 4)->state = 99;
    vmshm_window_of(&m.segment, 0, 5)->offset = base + 4096;    /* overlaps and is odd */
    vmshm_window_of(&m.segment, 0, 5)->length = 4096;
    for (int i = 0; i < 8; ++i) {
        must_alloc(&m, GRANULE, &offset);
        assert_true(vmshm_range_inside(offset, GRANULE, base, HEAP));
        assert_int_equal(offset % GRANULE, 0);
        assert_true(offset >= base + GRANULE);
    }
    vmshm_leave(&m);
}

/* --------------------------------------------------------------------------------------- races */

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
        index = must_alloc(&m, HEAP, &offset);
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

#define SMALL(test) cmocka_unit_test_setup_teardown(test, setup, unit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL(entry_is_complete), SMALL(lengths_are_rounded_up), SMALL(first_fit),
        SMALL(gap_search_with_unsorted_table), SMALL(memory_is_zeroed_before_reuse),
        SMALL(section_full), SMALL(table_full), SMALL(generations_grow),
        cmocka_unit_test_setup_teardown(open_half, setup_open, unit_teardown),
        SMALL(no_open_half), SMALL(reader_blocks_reuse), SMALL(readers_of_the_own_vm_count),
        SMALL(leaving_reader_lets_go), SMALL(host_mark_frees_what_a_gone_vm_read),
        SMALL(leaving_owner_quarantines), SMALL(coming_and_going_is_counted),
        SMALL(traffic_is_summed_up), SMALL(slots_full),
        SMALL(killed_process_is_reaped), SMALL(holder_of_the_mutex_dies), SMALL(joining_reaps),
        SMALL(interrupted_burial_is_repeated), SMALL(reboot_buries_the_last_boot),
        SMALL(id_used_twice), SMALL(id_used_twice_by_containers),
        SMALL(id_used_twice_at_once),
        SMALL(lock_files_are_told_apart), SMALL(garbage_in_own_table),
        SMALL(many_processes_race), SMALL(killed_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
