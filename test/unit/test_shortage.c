/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory of the segment that is gone, and comes back. */
#include "opal_config.h"

#include "messages.h"

#include "btl_vmshm_frag.h"
#include "btl_vmshm_send.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- memory that is gone comes back */

/* All that is left of the section. */
static void take_rest(struct vmshm_member *sibling)
{
    uint64_t offset;
    struct vmshm_error e;

    for (uint64_t bytes = 8 * UNIT_MIB; bytes >= VMSHM_GRANULE_BYTES; ) {
        uint32_t index;

        if (VMSHM_OK == vmshm_window_alloc(sibling, bytes, VMSHM_KIND_PRIVATE, &index, &offset, &e)) {
            continue;
        }
        bytes /= 2;
    }
}

static int in_a_full_section(struct side *side)
{
    mca_btl_vmshm_memory_t *memory = &mca_btl_vmshm_context.memory;
    const struct vmshm_arena *arena;
    const struct vmshm_join_options o = {
        .segment = unit_path(side->dir, "segment"), .lock_dir = side->dir, .vm_id = (int) side->vm,
    };
    struct vmshm_member sibling;
    struct vmshm_error e;

    start(side);
    arena = &mca_btl_vmshm_context.attached->arena;
    side_connect(side);
    REQUIRE(VMSHM_OK == vmshm_join(&o, &sibling, &e));
    take_rest(&sibling);
    REQUIRE(0 == mca_btl_vmshm_channel_take(memory, UNIT_MIB) && arena->refused);
    mca_btl_vmshm_component_progress();
    REQUIRE(arena->refusal_told && VMSHM_ERR_FULL == arena->refusal.code);
    /* Not asked each time. */
    REQUIRE(0 == mca_btl_vmshm_channel_take(memory, UNIT_MIB) && arena->retry_after > 0);
    vmshm_leave(&sibling);
    while (0 == mca_btl_vmshm_channel_take(memory, UNIT_MIB)) {
        usleep(10000);
    }
    REQUIRE(2 == arena->count && 0 == arena->retry_after);
    side_meet(side);
    side_stop();
    return 0;
}

static void test_section_full_for_a_while(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, in_a_full_section, stand_by, NULL));
}

static int without_a_ring(struct side *side)
{
    mca_btl_vmshm_memory_t *memory = &mca_btl_vmshm_context.memory;
    uint32_t seed = side->vm + 1, slots;
    uint64_t last = 0, offset;

    start(side);
    side_connect(side);
    slots = mca_btl_vmshm_context.ring_slots;
    while (0 != (offset = mca_btl_vmshm_ring_take(memory, slots))) {
        last = offset;
    }
    send_one(side, 1, &seed);
    for (int i = 0; i < 1000; ++i) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(0 == side_losses && NULL == side->peer->out.ring && 0 == completed);
    mca_btl_vmshm_ring_give(memory, last, slots);
    while (0 == completed) {
        mca_btl_vmshm_component_progress();
    }
    side_meet(side);
    side_stop();
    return 0;
}

static int take_one(struct side *side)
{
    start(side);
    arrived = 1;
    side_connect(side);
    while (arrived < 2) {
        mca_btl_vmshm_component_progress();
    }
    side_meet(side);
    side_stop();
    return 0;
}

static void test_no_ring_for_a_while(void **state)
{
    const struct side small = { .window_size = 256 * 1024, .max_windows = 1 };

    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, without_a_ring, take_one, &small));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_section_full_for_a_while, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_no_ring_for_a_while, unit_setup, unit_teardown),
    };

    return cmocka_run_group_tests_name("shortage of memory", tests, NULL, NULL);
}
