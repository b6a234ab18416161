/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading the tables and windows of another VM, and keeping a window from reuse while it is read. */
#include "pair.h"

#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vmshm_atomic.h"

static void peer_read(void **state)
{
    struct pair *p = *state;
    struct vmshm_proc copy;

    assert_true(vmshm_peer_read(&p->me, 1, p->peer.slot, &copy));
    assert_memory_equal(&copy, their_proc(p), sizeof copy);
    assert_int_equal(copy.pid, getpid());
    assert_int_equal(copy.name, 1);
    assert_true(vmshm_peer_read(&p->me, 1, 7, &copy));
    assert_int_equal(copy.state, VMSHM_PROC_FREE);
    assert_false(vmshm_peer_read(&p->me, 1, 8, &copy));
    assert_false(vmshm_peer_read(&p->me, 2, 0, &copy));
    assert_false(vmshm_peer_read(&p->me, UINT32_MAX, UINT32_MAX, &copy));
}

static void reader_enter_bounds(void **state)
{
    struct pair *p = *state;
    struct vmshm_window w;
    struct vmshm_error e;

    assert_false(vmshm_reader_enter(&p->me, 2, 0, p->window, &w, &e));
    assert_false(vmshm_reader_enter(&p->me, UINT32_MAX, 0, p->window, &w, &e));
    assert_false(vmshm_reader_enter(&p->me, 1, p->peer.slot, 64, &w, &e));
    assert_false(vmshm_reader_enter(&p->me, 1, p->peer.slot, UINT32_MAX, &w, &e));
    assert_false(vmshm_reader_enter(&p->me, 1, p->peer.slot + 1, p->window, &w, &e));
    assert_no_reader_bits(p);
    assert_true(vmshm_reader_enter(&p->me, 1, p->peer.slot, p->window, &w, &e));
    vmshm_reader_leave(&p->me, 1, p->window);
}

/* Each (vm, window) has a bit of its own in the row of the process. */
static void reader_bits(void **state)
{
    struct pair *p = *state;
    const uint64_t *row = vmshm_reader_row_of(&p->me.segment, 0, p->me.slot);
    struct vmshm_error e;
    struct vmshm_window w;
    uint64_t offset;
    uint32_t index;

    for (uint32_t i = 1; i < 64; ++i) {
        assert_int_equal(vmshm_window_alloc(&p->peer, GRANULE, VMSHM_KIND_PRIVATE, &index, &offset,
                                            &e), VMSHM_OK);
        assert_true(vmshm_reader_enter(&p->me, 1, p->peer.slot, index, &w, &e));
        assert_int_equal(row[0], 0);
        assert_true(row[1] == UINT64_C(1) << index);
        vmshm_reader_leave(&p->me, 1, index);
        assert_int_equal(row[1], 0);
    }
    assert_int_equal(vmshm_window_alloc(&p->me, GRANULE, VMSHM_KIND_PRIVATE, &index, &offset, &e),
                     VMSHM_OK);
    assert_true(vmshm_reader_enter(&p->me, 0, p->me.slot, index, &w, &e));
    assert_true(row[0] == UINT64_C(1) << index && 0 == row[1]);
    vmshm_reader_leave(&p->me, 0, index);
}

static void reader_find(void **state)
{
    struct pair *p = *state;
    struct vmshm_window w;
    struct vmshm_error e;
    uint64_t offset;
    uint32_t index;

    assert_int_equal(vmshm_window_alloc(&p->peer, 2 * GRANULE, VMSHM_KIND_PRIVATE, &index, &offset,
                                        &e), VMSHM_OK);
    assert_int_equal(vmshm_reader_find(&p->me, 1, p->peer.slot, offset, 2 * GRANULE, &w, &e), index);
    assert_true(w.offset == offset && w.length == 2 * GRANULE);
    vmshm_reader_leave(&p->me, 1, index);
    assert_int_equal(vmshm_reader_find(&p->me, 1, p->peer.slot, offset + 2 * GRANULE - 8, 8, &w, &e),
                     index);
    vmshm_reader_leave(&p->me, 1, index);

    assert_int_equal(vmshm_reader_find(&p->me, 1, p->peer.slot, offset + 2 * GRANULE - 8, 9, &w, &e),
                     VMSHM_NO_WINDOW);
    assert_int_equal(vmshm_reader_find(&p->me, 1, p->peer.slot, offset, UINT64_MAX, &w, &e),
                     VMSHM_NO_WINDOW);
    assert_int_equal(vmshm_reader_find(&p->me, 1, p->peer.slot, UINT64_MAX, 1, &w, &e),
                     VMSHM_NO_WINDOW);
    assert_int_equal(vmshm_reader_find(&p->me, 1, p->peer.slot + 1, offset, 8, &w, &e),
                     VMSHM_NO_WINDOW);
    /* A window that claims all memory contains every range, but is none of the section's. */
    vmshm_window_of(&p->peer.segment, 1, index)->offset = 0;
    vmshm_window_of(&p->peer.segment, 1, index)->length = UINT64_MAX;
    assert_int_equal(vmshm_reader_find(&p->me, 1, p->peer.slot, 64, 8, &w, &e), VMSHM_NO_WINDOW);
    assert_no_reader_bits(p);
}

/* --------------------------------------------------------- reader and owner at the same instant */

static uint32_t *stop;          /* shared with the owner's process */

/* The owner reuses one window over and over, and fills it with its generation. */
static int owner_process(void *arg)
{
    const char *dir = arg;
    struct vmshm_member m;
    struct vmshm_error e;

    if (VMSHM_OK != unit_try_join(dir, 1, "theirs", &m, &e)) {
        return 1;
    }
    /* The bound: a test that fails must not leave this process behind. */
    for (int i = 0; i < 10000000 && !vmshm_load_acquire(stop); ++i) {
        struct vmshm_window *w;
        uint64_t offset;
        uint32_t index;

        if (VMSHM_OK != vmshm_window_alloc(&m, GRANULE, VMSHM_KIND_PRIVATE, &index, &offset, &e)) {
            return 2;
        }
        w = vmshm_window_of(&m.segment, 1, index);
        vmshm_store_release((uint64_t *) vmshm_at(&m, offset),
                            (uint64_t) index << 32 | w->generation);
        for (volatile int spin = 0; spin < 200; ++spin) {
        }
        vmshm_window_release(&m, index);
    }
    vmshm_leave(&m);
    return 0;
}

/* A window that was entered keeps its content, whatever its owner does, until it is left. */
static void entered_windows_do_not_change_hands(void **state)
{
    struct pair *p = *state;
    const time_t end = time(NULL) + 30;
    uint32_t rounds = 0;
    pid_t pid;

    stop = mmap(NULL, sizeof *stop, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(MAP_FAILED != stop);
    pid = unit_fork(owner_process, p->dir);
    /* As often as it takes: on a busy machine the two may seldom run at the same time. */
    while (rounds < 2000 && time(NULL) < end) {
        for (uint32_t index = 0; index < 4; ++index) {
            struct vmshm_window w;
            struct vmshm_error e;
            const uint64_t *content;

            /* The owner takes slot 1, next to the peer of the pair. */
            if (!vmshm_reader_enter(&p->me, 1, 1, index, &w, &e)) {
                continue;
            }
            content = vmshm_at(&p->me, w.offset);
            for (int look = 0; look < 300; ++look) {
                const uint64_t value = vmshm_load_acquire(content);

                /* 0: the owner has not written yet. */
                if (0 != value && ((uint64_t) index << 32 | w.generation) != value) {
                    vmshm_store_release(stop, 1);
                    fail_msg("window %u, generation %u holds %lx", index, w.generation,
                             (unsigned long) value);
                }
            }
            ++rounds;
            vmshm_reader_leave(&p->me, 1, index);
        }
    }
    vmshm_store_release(stop, 1);
    assert_int_equal(unit_wait(pid), 0);
    munmap(stop, sizeof *stop);
    assert_true(rounds > 100);
}

/* One process may have it for two purposes: what ends first must not end the other. */
static void entered_twice_left_twice(void **state)
{
    struct pair *p = *state;
    struct vmshm_window w;
    struct vmshm_error e;
    const uint64_t *there;

    assert_true(vmshm_reader_enter(&p->me, 1, p->peer.slot, p->window, &w, &e));
    assert_true(vmshm_reader_enter(&p->me, 1, p->peer.slot, p->window, &w, &e));
    there = vmshm_at(&p->me, w.offset);
    vmshm_reader_leave(&p->me, 1, p->window);
    assert_true(VMSHM_WINDOW_MAGIC == vmshm_load_relaxed(there));
    vmshm_window_release(&p->peer, p->window);
    assert_int_equal(unit_window_state(&p->peer, p->window), VMSHM_WINDOW_QUARANTINE);
    vmshm_reader_leave(&p->me, 1, p->window);
    assert_no_reader_bits(p);
    /* Once more than it was entered: nothing is anybody else's. */
    vmshm_reader_leave(&p->me, 1, p->window);
    vmshm_reap(&p->peer);
    assert_int_equal(unit_window_state(&p->peer, p->window), VMSHM_WINDOW_EMPTY);
}

/* A peer's table may say that two windows lie one over the other, or over one that it moves: leaving one
 * must not take the other's memory away. */
static void windows_over_each_other_are_refused(void **state)
{
    struct pair *p = *state;
    struct vmshm_window *second;
    struct vmshm_window w;
    struct vmshm_error e;
    uint64_t offset;
    uint32_t index;

    index = unit_alloc(&p->peer, 4 * GRANULE, &offset);
    second = vmshm_window_of(&p->peer.segment, 1, index);
    assert_true(vmshm_reader_enter(&p->me, 1, p->peer.slot, p->window, &w, &e));
    second->offset = w.offset;
    assert_false(vmshm_reader_enter(&p->me, 1, p->peer.slot, index, &w, &e));
    second->offset = offset;
    assert_true(vmshm_reader_enter(&p->me, 1, p->peer.slot, index, &w, &e));
    /* It was entered already, and lies elsewhere now. */
    second->length = 2 * GRANULE;
    assert_false(vmshm_reader_enter(&p->me, 1, p->peer.slot, index, &w, &e));
    second->length = 4 * GRANULE;
    memset(vmshm_at(&p->peer, offset), 0x5a, 4 * GRANULE);
    assert_int_equal(*((uint8_t *) vmshm_at(&p->me, offset) + 4 * GRANULE - 1), 0x5a);
    vmshm_reader_leave(&p->me, 1, index);
    vmshm_reader_leave(&p->me, 1, p->window);
    assert_no_reader_bits(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR(peer_read), PAIR(reader_enter_bounds), PAIR(reader_bits), PAIR(reader_find),
        PAIR(entered_windows_do_not_change_hands), PAIR(entered_twice_left_twice),
        PAIR(windows_over_each_other_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
