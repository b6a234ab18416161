/* SPDX-License-Identifier: BSD-3-Clause */
/* Components of one process: the memory that they share, how many there may be, what a refused one leaves. */
#include "peer_process.h"

static void tick_a(void)
{
}

static void tick_b(void)
{
}

/* Pieces come back as what they were; what is vital finds memory when nothing else does. */
static void test_arena(void **state)
{
    struct vmshm_attached *a = attach(*state, 0, NULL);
    struct vmshm_arena *arena = &a->arena;
    uint64_t piece, last = 0;
    struct vmshm_error e;

    while (0 != (piece = vmshm_arena_take(arena, 1000, false))) {
        last = piece;
    }
    assert_int_equal(3, arena->count);
    assert_true(0 != vmshm_arena_take(arena, 1000, true));
    vmshm_arena_give(arena, last, 1000, false);
    assert_int_equal(0, vmshm_arena_take(arena, 2000, false));
    assert_true(last == vmshm_arena_take(arena, 1000, false));
    /* Memory of what is vital does not serve the rest. */
    piece = vmshm_arena_take(arena, 1000, true);
    assert_true(0 != piece);
    vmshm_arena_give(arena, piece, 1000, true);
    assert_int_equal(0, vmshm_arena_take(arena, 1000, false));
    assert_true(piece == vmshm_arena_take(arena, 1000, true));
    assert_false(vmshm_arena_refusal(arena, &e));       /* it was this process's own limit */
    /* A further component gets what it begins with nevertheless. */
    (void) attach(*state, 0, tick_a);
    assert_int_equal(4, arena->count);
    assert_true(0 != vmshm_arena_take(arena, 60000, false));
    vmshm_detach(tick_a);
    vmshm_detach(NULL);
}

#define TICK(n) static void tick_##n(void) { }
TICK(1) TICK(2) TICK(3) TICK(4) TICK(5) TICK(6) TICK(7)
static const vmshm_tick_fn further[] = { tick_1, tick_2, tick_3, tick_4, tick_5, tick_6, tick_7 };

/* However often a further component comes and goes, or is refused, no memory is lost. */
static void test_comes_and_goes(void **state)
{
    const struct vmshm_attach_options o = attach_options(*state, 0);
    struct vmshm_attached *a = attach(*state, 0, NULL), *none;
    struct vmshm_error e;
    uint64_t reserved;
    uint32_t windows;

    (void) attach(*state, 0, tick_a);
    vmshm_detach(tick_a);
    assert_int_equal(VMSHM_ERR_FIELD, vmshm_attach(&o, NULL, &none, &e));
    windows = a->arena.count;
    reserved = a->arena.windows[windows - 1].reserved;
    for (uint64_t i = 0; i < 100; ++i) {
        uint64_t piece;

        (void) attach(*state, 0, tick_a);
        piece = vmshm_arena_take(&a->arena, o.arena.first_bytes - 64 * i, false);
        assert_true(0 != piece);
        vmshm_arena_give(&a->arena, piece, o.arena.first_bytes - 64 * i, false);
        vmshm_detach(tick_a);
    }
    assert_int_equal(windows, a->arena.count);
    assert_true(reserved == a->arena.windows[windows - 1].reserved);
    assert_int_equal(VMSHM_MAX_COMPONENTS - 1, sizeof further / sizeof further[0]);
    for (int i = 0; i < VMSHM_MAX_COMPONENTS - 1; ++i) {
        (void) attach(*state, 0, further[i]);
    }
    windows = a->arena.count;
    for (int i = 0; i < 100; ++i) {
        assert_int_equal(VMSHM_ERR_FULL, vmshm_attach(&o, tick_b, &none, &e));
    }
    assert_int_equal(windows, a->arena.count);
    for (int i = 0; i < VMSHM_MAX_COMPONENTS - 1; ++i) {
        vmshm_detach(further[i]);
    }
    vmshm_detach(NULL);
}

/* What fails leaves nothing behind. */
static void test_refused(void **state)
{
    struct vmshm_attach_options o = attach_options(*state, 0);
    struct vmshm_attached *a, *none;
    struct vmshm_error e;
    uint32_t live = 0;

    o.arena.first_bytes = 2 * UNIT_SECTION;
    assert_int_equal(VMSHM_ERR_FULL, vmshm_attach(&o, NULL, &none, &e));
    o.join.vm_id = 1;
    o.join.segment = unit_path(*state, "nothing");
    assert_int_equal(VMSHM_ERR_ABSENT, vmshm_attach(&o, NULL, &none, &e));
    a = attach(*state, 0, NULL);
    o.arena.first_bytes = 2 * UNIT_SECTION;
    assert_int_equal(VMSHM_ERR_FULL, vmshm_attach(&o, tick_a, &none, &e));
    assert_null(none);
    assert_true(0 != vmshm_arena_take(&a->arena, 100, false));
    for (uint32_t slot = 0; slot < a->member.segment.header.procs; ++slot) {
        live += vmshm_proc_is_live(vmshm_proc_of(&a->member.segment, 0, slot));
    }
    assert_int_equal(1, live);
    vmshm_detach(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_arena, unit_setup_segment, unit_teardown),
        cmocka_unit_test_setup_teardown(test_comes_and_goes, unit_setup_segment, unit_teardown),
        cmocka_unit_test_setup_teardown(test_refused, unit_setup_segment, unit_teardown),
    };

    return cmocka_run_group_tests_name("components", tests, NULL, NULL);
}
