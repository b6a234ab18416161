/* SPDX-License-Identifier: BSD-3-Clause */
/* A server and its clients, one after the other: what it had for one serves the next. */
#include "opal_config.h"

#include "transfers.h"

#include "btl_vmshm_frag.h"
#include "btl_vmshm_ring.h"
#include "btl_vmshm_send.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLIENTS 20
#define SIZE    20000u              /* a part of a place of the pool is left over */

static uint64_t arena_used(void)
{
    const struct vmshm_arena *arena = &mca_btl_vmshm_context.attached->arena;
    uint64_t used = 0;

    for (uint32_t i = 0; i < arena->count; ++i) {
        used += arena->windows[i].used;
    }
    return used;
}

/* Messages of several sizes that the client never reads. */
static void send_unread(struct side *side)
{
    static const size_t bytes[] = { 8, 100, 500, 5000, 30000, 30000 };

    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; ++i) {
        mca_btl_base_descriptor_t *des =
            mca_btl_vmshm_alloc(&mca_btl_vmshm.super, side->peer, MCA_BTL_NO_ORDER, bytes[i],
                                MCA_BTL_DES_FLAGS_BTL_OWNERSHIP
                                | (i % 2 ? MCA_BTL_DES_SEND_ALWAYS_CALLBACK : 0));

        REQUIRE(NULL != des);
        memset(des->des_segments->seg_addr.pval, 0, bytes[i]);
        REQUIRE(mca_btl_vmshm_send(&mca_btl_vmshm.super, side->peer, des, SIDE_TAG) >= 0);
    }
}

static int server(struct side *side)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    static uint8_t from[SIZE];
    uint64_t used = 0;

    side_start(side, on_told);
    for (int i = 0; i < CLIENTS; ++i) {
        struct mca_btl_base_registration_handle_t *handle;

        side_connect(side);
        handle = offer(side, from, sizeof from);
        push_until_told(1);
        told = 0;
        REQUIRE(OPAL_SUCCESS == mca_btl_vmshm_deregister_mem(&mca_btl_vmshm.super, handle));
        /* Nothing is under way: nothing of the pool is the client's. */
        REQUIRE(c->memory.pool_count == c->memory.pool_room);
        /* One that is offered, and pushed ahead, and never taken. */
        handle = mca_btl_vmshm_register_mem(&mca_btl_vmshm.super, side->peer, from, sizeof from,
                                            MCA_BTL_REG_FLAG_REMOTE_READ);
        REQUIRE(NULL != handle);
        mca_btl_vmshm_component_progress();
        send_unread(side);
        side_meet(side);
        while (!side->peer->attended) {
            mca_btl_vmshm_component_progress();
            usleep(1000);
        }
        mca_btl_vmshm_component_progress();
        REQUIRE(VMSHM_FATE_LEFT == vmshm_fate(side->peer->peer) && 0 == side_losses);
        REQUIRE(NULL == side->peer->out.ring && opal_list_is_empty(&side->peer->out.pending)
                && 0 == side->peer->out.cells_out
                && opal_list_is_empty(&side->peer->out.done) && 0 == c->working_count);
        REQUIRE(OPAL_SUCCESS == mca_btl_vmshm_deregister_mem(&mca_btl_vmshm.super, handle));
        /* Nothing is made for who is gone. */
        REQUIRE(NULL == mca_btl_vmshm_register_mem(&mca_btl_vmshm.super, side->peer, from,
                                                   sizeof from, MCA_BTL_REG_FLAG_REMOTE_READ));
        REQUIRE(OPAL_SUCCESS != mca_btl_vmshm_sendi(&mca_btl_vmshm.super, side->peer, NULL, "late",
                                                    4, 0, MCA_BTL_NO_ORDER, 0, SIDE_TAG, NULL));
        REQUIRE(c->memory.pool_count == c->memory.pool_room);
        if (0 == i) {
            used = arena_used();
        }
        REQUIRE(arena_used() == used);
        side_tell(side, &used, sizeof used);       /* the next one, please */
    }
    REQUIRE(opal_list_is_empty(&c->retired));
    side_stop();
    return 0;
}

static int client(struct side *side)
{
    struct mca_btl_base_registration_handle_t remote;
    uint8_t *to = calloc(1, SIZE);

    side_start(side, on_told);
    side_connect(side);
    side_hear(side, &remote, sizeof remote);
    ask(side, to, SIZE, &remote);
    get_until(1);
    require_transferred(to, SIZE);
    tell_done(side);
    side_meet(side);
    free(to);
    side_stop();
    return 0;
}

static int clients(struct side *side)
{
    for (int i = 0; i < CLIENTS; ++i) {
        const pid_t pid = fork();
        uint64_t used;

        if (0 == pid) {
            alarm(60);
            exit(client(side));
        }
        REQUIRE(pid > 0 && 0 == unit_wait(pid));
        side_hear(side, &used, sizeof used);
    }
    return 0;
}

static void test_clients(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, server, clients, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_clients, unit_setup, unit_teardown),
    };

    return cmocka_run_group_tests_name("clients", tests, NULL, NULL);
}
