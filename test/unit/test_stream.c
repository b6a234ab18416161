/* SPDX-License-Identifier: BSD-3-Clause */
/* Large messages between two processes: what register_mem() offers, get() fetches. */
#include "opal_config.h"

#include "transfers.h"

#include "btl_vmshm_frag.h"
#include "btl_vmshm_ring.h"
#include "btl_vmshm_send.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const size_t sizes[] = {
    1, 63, 64, 4095, 4096, 4097, 8191, 8192, 8193, 16384, 32767, 65536, 100000, 262143, MOST,
};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

/* All sizes one after the other, then all at once. */
static int pusher(struct side *side)
{
    struct mca_btl_base_registration_handle_t *handles[SIZES];
    const mca_btl_vmshm_memory_t *memory = &mca_btl_vmshm_context.memory;
    uint8_t *from[SIZES];

    side_start(side, on_told);
    side_connect(side);
    for (int i = 0; i < SIZES; ++i) {
        from[i] = malloc(sizes[i]);
        handles[i] = offer(side, from[i], sizes[i]);
        push_until_told((unsigned int) i + 1);
        REQUIRE(OPAL_SUCCESS == mca_btl_vmshm_deregister_mem(&mca_btl_vmshm.super, handles[i]));
    }
    for (int i = 0; i < SIZES; ++i) {
        handles[i] = offer(side, from[i], sizes[i]);
    }
    push_until_told(SIZES + 1);
    for (int i = 0; i < SIZES; ++i) {
        REQUIRE(OPAL_SUCCESS == mca_btl_vmshm_deregister_mem(&mca_btl_vmshm.super, handles[i]));
        free(from[i]);
    }
    REQUIRE(0 == side->peer->streams->pool_out);
    while (!side->peer->attended) {
        mca_btl_vmshm_component_progress();
        usleep(1000);
    }
    REQUIRE(VMSHM_FATE_LEFT == vmshm_fate(side->peer->peer) && 0 == side_losses);
    REQUIRE(memory->pool_count == memory->pool_room);
    side_stop();
    return 0;
}

/* The second time in the other order: what was sent ahead of its pull is dropped and comes again. */
static int puller(struct side *side)
{
    struct mca_btl_base_registration_handle_t remote[SIZES];
    uint8_t *to[SIZES];

    side_start(side, on_told);
    side_connect(side);
    for (int i = 0; i < SIZES; ++i) {
        to[i] = calloc(1, sizes[i]);
        side_hear(side, &remote[i], sizeof remote[i]);
        if (0 == i % 2) {
            usleep(2000);
        }
        ask(side, to[i], sizes[i], &remote[i]);
        get_until((unsigned int) i + 1);
        require_transferred(to[i], sizes[i]);
        memset(to[i], 0, sizes[i]);
        tell_done(side);
    }
    for (int i = 0; i < SIZES; ++i) {
        side_hear(side, &remote[i], sizeof remote[i]);
    }
    usleep(2000);
    for (int i = SIZES - 1; i >= 0; --i) {
        ask(side, to[i], sizes[i], &remote[i]);
    }
    get_until(2 * SIZES);
    for (int i = 0; i < SIZES; ++i) {
        require_transferred(to[i], sizes[i]);
        free(to[i]);
    }
    tell_done(side);
    side_stop();
    return 0;
}

static void transfer(void **state, void (*configure)(mca_btl_vmshm_context_t *))
{
    const struct side options = { .configure = configure };

    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, pusher, puller, &options));
}

static void test_streams(void **state)
{
    transfer(state, NULL);
}

static void without_pool(mca_btl_vmshm_context_t *c)
{
    c->pool_size = 0;
}

static void test_streams_without_pool(void **state)
{
    transfer(state, without_pool);
}

/* Two places, which both directions of the second test would like to have more of. */
static void small_pool(mca_btl_vmshm_context_t *c)
{
    c->pool_size = 2 * MCA_BTL_VMSHM_POOL_CHUNK;
}

static void test_streams_small_pool(void **state)
{
    transfer(state, small_pool);
}

static void all_far(mca_btl_vmshm_context_t *c)
{
    c->far_ns = 0;
}

static void test_streams_far(void **state)
{
    transfer(state, all_far);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_streams, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_streams_without_pool, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_streams_small_pool, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_streams_far, unit_setup, unit_teardown),
    };

    return cmocka_run_group_tests_name("streams", tests, NULL, NULL);
}
