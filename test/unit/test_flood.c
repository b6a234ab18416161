/* SPDX-License-Identifier: BSD-3-Clause */
/* Nobody receives for a while. */
#include "opal_config.h"

#include "messages.h"

#include "btl_vmshm_connect.h"
#include "btl_vmshm_frag.h"
#include "btl_vmshm_ring.h"
#include "btl_vmshm_send.h"

#include <string.h>
#include <unistd.h>


/* --- nobody receives for a while: nothing is refused, nothing is lost, memory is not exceeded */

static int flood(struct side *side)
{
    uint32_t seed = side->vm + 1;

    start(side);
    side_connect(side);
    for (uint64_t n = 0; n < 3000; ++n) {
        send_one(side, n, &seed);
    }
    REQUIRE(!opal_list_is_empty(&side->peer->out.pending));
    REQUIRE(mca_btl_vmshm_context.attached->arena.count <= side->max_windows);
    side_meet(side);
    while (completed < 3000) {
        mca_btl_vmshm_component_progress();
    }
    side_meet(side);
    side_stop();
    return 0;
}

static int drain(struct side *side)
{
    start(side);
    side_connect(side);
    side_meet(side);
    while (arrived < 3000) {
        mca_btl_vmshm_component_progress();
    }
    side_meet(side);
    side_stop();
    return 0;
}

static void test_flood(void **state)
{
    const struct side small = { .window_size = 256 * 1024, .max_windows = 2 };

    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, flood, drain, &small));
}

/* --- nobody receives for a while: nothing is refused, and what waits takes no cell, so that there are some
 * for other peers */

#define FLOOD 20000u

static void on_flood(mca_btl_base_module_t *btl, mca_btl_base_tag_t tag,
                     mca_btl_base_descriptor_t *des, void *context)
{
    (void) btl;
    (void) tag;
    (void) context;
    REQUIRE(1000 == des->des_segments->seg_len);
    require_content(des->des_segments->seg_addr.pval, 1000, arrived);
    ++arrived;
}

/* As ob1 does. */
static void send_somehow(struct side *side, uint64_t number)
{
    mca_btl_base_descriptor_t *des = NULL;
    uint8_t bytes[1000];

    fill(bytes, sizeof bytes, number);
    if (OPAL_SUCCESS == mca_btl_vmshm_sendi(&mca_btl_vmshm.super, side->peer, NULL, bytes, sizeof bytes,
                                            0, MCA_BTL_NO_ORDER, MCA_BTL_DES_FLAGS_BTL_OWNERSHIP,
                                            SIDE_TAG, &des)) {
        return;
    }
    REQUIRE(NULL != des);
    des->des_cbfunc = NULL;
    memcpy(des->des_segments->seg_addr.pval, bytes, sizeof bytes);
    REQUIRE(mca_btl_vmshm_send(&mca_btl_vmshm.super, side->peer, des, SIDE_TAG) >= 0);
}

static int flood_bounded(struct side *side)
{
    start(side);
    side_connect(side);
    for (uint64_t n = 0; n < FLOOD; ++n) {
        send_somehow(side, n);
    }
    REQUIRE(side->peer->out.cells_out <= MCA_BTL_VMSHM_MOST_CELLS_OUT);
    REQUIRE(mca_btl_vmshm_context.attached->arena.count <= 3);
    side_meet(side);
    while (!opal_list_is_empty(&side->peer->out.pending)) {
        mca_btl_vmshm_component_progress();
    }
    side_meet(side);
    side_stop();
    return 0;
}

static int drain_bounded(struct side *side)
{
    side_start(side, on_flood);
    side_connect(side);
    side_meet(side);
    while (arrived < FLOOD) {
        mca_btl_vmshm_component_progress();
    }
    side_meet(side);
    side_stop();
    return 0;
}

static void test_flood_bounded(void **state)
{
    unit_segment(unit_path(*state, "segment"), 64 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, flood_bounded, drain_bounded, NULL));
}

/* --- all cells are in fragments that wait behind one that has none: it gets one of theirs */

static int starve(struct side *side)
{
    mca_btl_base_descriptor_t *des[200];
    uint64_t n = 0;

    start(side);
    side_connect(side);
    do {
        REQUIRE(n < sizeof des / sizeof des[0]);
        des[n] = mca_btl_vmshm_alloc(&mca_btl_vmshm.super, side->peer, MCA_BTL_NO_ORDER, 1000,
                                     MCA_BTL_DES_FLAGS_BTL_OWNERSHIP);
        REQUIRE(NULL != des[n]);
        des[n]->des_cbfunc = NULL;
    } while (NULL == ((mca_btl_vmshm_frag_t *) des[n++])->heap);
    REQUIRE(n > 5);
    for (uint64_t i = 0; i < n; ++i) {
        mca_btl_base_descriptor_t *next = des[0 == i ? n - 1 : i - 1];

        fill(next->des_segments->seg_addr.pval, 1000, i);
        REQUIRE(mca_btl_vmshm_send(&mca_btl_vmshm.super, side->peer, next, SIDE_TAG) >= 0);
    }
    side_tell(side, &n, sizeof n);
    while (!opal_list_is_empty(&side->peer->out.pending)) {
        mca_btl_vmshm_component_progress();
    }
    side_meet(side);
    side_stop();
    return 0;
}

static int feed(struct side *side)
{
    uint64_t n;

    side_start(side, on_flood);
    side_connect(side);
    side_hear(side, &n, sizeof n);
    while (arrived < n) {
        mca_btl_vmshm_component_progress();
    }
    side_meet(side);
    side_stop();
    return 0;
}

static void test_cell_from_behind(void **state)
{
    const struct side small = { .window_size = 256 * 1024, .max_windows = 1 };

    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, starve, feed, &small));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_flood, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_flood_bounded, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_cell_from_behind, unit_setup, unit_teardown),
    };

    return cmocka_run_group_tests_name("floods", tests, NULL, NULL);
}
