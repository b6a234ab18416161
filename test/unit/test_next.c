/* SPDX-License-Identifier: BSD-3-Clause */
/* The processes of one slot, one after the other. */
#include "opal_config.h"

#include "messages.h"

#include "btl_vmshm_frag.h"
#include "btl_vmshm_send.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Who Open MPI has added. */
static const opal_proc_t known;

/* --- processes of one slot, one after the other. Their side runs each in a child. */

static void in_a_child(struct side *side, int (*life)(struct side *))
{
    const pid_t pid = fork();

    if (0 == pid) {
        alarm(60);
        exit(life(side));
    }
    REQUIRE(pid > 0 && 0 == unit_wait(pid));
}

/* Its last message stands in a window that the peer has not seen yet. */
static int grow_and_go(struct side *side)
{
    mca_btl_vmshm_memory_t *memory = &mca_btl_vmshm_context.memory;
    uint32_t seed = side->vm + 1;
    mca_btl_base_descriptor_t *des;

    start(side);
    side_connect(side);
    send_one(side, 0, &seed);
    side_meet(side);
    side_meet(side);
    while (mca_btl_vmshm_context.attached->arena.count < 2) {
        int cell_class = MCA_BTL_VMSHM_CELL_MAX;

        REQUIRE(0 != mca_btl_vmshm_cell_take(memory, &cell_class));
    }
    des = mca_btl_vmshm_alloc(&mca_btl_vmshm.super, side->peer, MCA_BTL_NO_ORDER, MAX_BYTES,
                              MCA_BTL_DES_FLAGS_BTL_OWNERSHIP);
    REQUIRE(NULL != des);
    fill(des->des_segments->seg_addr.pval, MAX_BYTES, 1);
    REQUIRE(1 == mca_btl_vmshm_send(&mca_btl_vmshm.super, side->peer, des, SIDE_TAG));
    side_stop();
    return 0;
}

static int grow_and_go_in_a_child(struct side *side)
{
    in_a_child(side, grow_and_go);
    side_meet(side);
    side_meet(side);
    return 0;
}

#define SLOTS_OF_A_VM 8             /* unit_segment */
#define FIRST_LIFE    10u           /* messages */
#define SECOND_LIFE   2000u

/* Each message once, in any order. */
static void on_either(mca_btl_base_module_t *btl, mca_btl_base_tag_t tag,
                      mca_btl_base_descriptor_t *des, void *context)
{
    const uint8_t *bytes = des->des_segments->seg_addr.pval;
    static bool seen[FIRST_LIFE + SECOND_LIFE];
    uint64_t number;

    (void) btl;
    (void) tag;
    (void) context;
    memcpy(&number, bytes, sizeof number);
    REQUIRE(number < FIRST_LIFE + SECOND_LIFE && !seen[number]);
    for (size_t i = sizeof number; i < des->des_segments->seg_len; ++i) {
        REQUIRE((uint8_t) (number * 31 + i * 7) == bytes[i]);
    }
    seen[number] = true;
    ++arrived;
}

/* What stands in a window that nobody looked into before its owner left may be anybody's by now. That is
 * no fault of the peer's. */
static int look_too_late(struct side *side)
{
    side_start(side, on_either);
    side_connect(side);
    side_meet(side);
    while (arrived < 1) {
        mca_btl_vmshm_component_progress();
    }
    /* It might tell before the window is missed. */
    vmshm_monitor_stop(&mca_btl_vmshm_context.attached->monitor);
    side_meet(side);
    side_meet(side);                /* it has left */
    while (!side->peer->attended) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(VMSHM_FATE_LEFT == vmshm_fate(side->peer->peer) && 0 == side_losses);
    REQUIRE(1 == arrived);
    side_meet(side);
    side_stop();
    return 0;
}

static void test_left_with_windows_unseen(void **state)
{
    const struct side small = { .window_size = 256 * 1024, .max_windows = 4 };

    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, look_too_late, grow_and_go_in_a_child, &small));
}

static bool short_life_is_read;

static int short_life(struct side *side)
{
    uint32_t seed = side->vm + 1;

    start(side);
    side_connect(side);
    side_meet(side);                    /* the other side has found this process */
    for (uint64_t n = 0; n < FIRST_LIFE; ++n) {
        send_one(side, n, &seed);
    }
    if (short_life_is_read) {
        side_meet(side);                /* all that it sent has arrived */
    }
    side_stop();
    return 0;
}

static int idle_life(struct side *side)
{
    start(side);
    side_stop();
    return 0;
}

/* Needs the peer's head: the ring is full again and again. */
static int next_life(struct side *side)
{
    uint32_t seed = side->vm + 1;

    start(side);
    side_connect(side);
    for (uint64_t n = 0; n < FIRST_LIFE; ++n) {
        (void) size_of_message(&seed);
    }
    for (uint64_t n = 0; n < SECOND_LIFE; ++n) {
        send_one(side, FIRST_LIFE + n, &seed);
    }
    side_meet(side);
    while (completed < SECOND_LIFE) {
        mca_btl_vmshm_component_progress();
    }
    side_meet(side);
    side_stop();
    return 0;
}

static int lives(struct side *side)
{
    in_a_child(side, short_life);
    for (int i = 1; i < SLOTS_OF_A_VM; ++i) {
        in_a_child(side, idle_life);
    }
    in_a_child(side, next_life);
    return 0;
}

static int lives_of_which_one_is_read(struct side *side)
{
    short_life_is_read = true;
    return lives(side);
}

/* The next process of the first one's slot: all that both sent arrives, and the first one is seen off. */
static void meet_next(struct side *side, const mca_btl_vmshm_endpoint_t *first)
{
    side_connect(side);
    REQUIRE(side->peer != first && side->peer->peer->slot == first->peer->slot);
    side_meet(side);
    while (arrived < FIRST_LIFE + SECOND_LIFE) {
        mca_btl_vmshm_component_progress();
    }
    side_meet(side);
    REQUIRE(0 == side_losses && opal_list_is_empty(&mca_btl_vmshm_context.retired));
}

/* The second life's ring is found before the first one is seen off: the late look into the first one's
 * ring leaves the second one's head alone. */
static int see_both(struct side *side)
{
    mca_btl_vmshm_endpoint_t *first;

    side_start(side, on_either);
    side_connect(side);
    first = side->peer;
    side_meet(side);
    if (side_unconnected) {
        first->proc = (opal_proc_t *) &known;
        vmshm_fate_set(first->peer, VMSHM_FATE_SILENT);   /* and not forgiven before the next one is */
    }
    meet_next(side, first);
    side_stop();
    return 0;
}

static void test_next_process_of_a_slot(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, see_both, lives, NULL));
}

static int see_both_one_silent(struct side *side)
{
    side_unconnected = true;
    return see_both(side);
}

static void test_next_process_after_a_silent_one(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, see_both_one_silent, lives, NULL));
}

/* One that was broken, or whose VM was marked as gone, keeps its memory until its slot has another process. */
static int see_next_of_lost(struct side *side, int32_t fate)
{
    mca_btl_vmshm_endpoint_t *first;

    side_unconnected = true;
    side_start(side, on_either);
    side_connect(side);
    /* It would find that the peer left. */
    vmshm_monitor_stop(&mca_btl_vmshm_context.attached->monitor);
    first = side->peer;
    OBJ_RETAIN(first);
    first->proc = (opal_proc_t *) &known;
    side_meet(side);
    while (arrived < FIRST_LIFE) {
        mca_btl_vmshm_component_progress();
    }
    side_meet(side);
    REQUIRE(0 != first->in.head_offset);
    vmshm_fate_set(first->peer, fate);
    mca_btl_vmshm_alert();
    while (!first->attended) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(first->untold && 0 != first->in.head_offset && NULL != first->in.my_head);
    meet_next(side, first);
    REQUIRE(0 == first->in.head_offset);
    OBJ_RELEASE(first);
    side_stop();
    return 0;
}

static int see_next_of_broken(struct side *side)
{
    return see_next_of_lost(side, VMSHM_FATE_BROKEN);
}

static int see_next_of_marked(struct side *side)
{
    return see_next_of_lost(side, VMSHM_FATE_MARKED);
}

static void test_memory_of_the_lost(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, see_next_of_broken, lives_of_which_one_is_read, NULL));
    unlink(unit_path(*state, "segment"));
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, see_next_of_marked, lives_of_which_one_is_read, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_left_with_windows_unseen, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_next_process_of_a_slot, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_next_process_after_a_silent_one, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_memory_of_the_lost, unit_setup, unit_teardown),
    };

    return cmocka_run_group_tests_name("the next process of a slot", tests, NULL, NULL);
}
