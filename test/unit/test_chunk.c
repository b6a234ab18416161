/* SPDX-License-Identifier: BSD-3-Clause */
/* Chunks of large messages: how many one call of progress takes, and those that are not as they should be. */
#include "opal_config.h"

#include "transfers.h"

#include "btl_vmshm_frag.h"
#include "btl_vmshm_ring.h"
#include "btl_vmshm_send.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- one call of progress does a part of what one peer has, and get() serves no part of a message */

#define MANY_PULLS 200u

static void on_refused(struct mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint,
                       void *local_address, struct mca_btl_base_registration_handle_t *local_handle,
                       void *context, void *cbdata, int status)
{
    (void) btl;
    (void) endpoint;
    (void) local_address;
    (void) local_handle;
    (void) context;
    (void) cbdata;
    REQUIRE(OPAL_ERR_NOT_SUPPORTED == status);
    ++got;
}

static int asks_for_parts(struct side *side)
{
    struct mca_btl_base_registration_handle_t remote = { .number = 1, .index = 0, .size = 8192 };
    static uint8_t to[8192];
    unsigned int before;

    side_start(side, on_told);
    side_connect(side);
    tell_done(side);
    side_meet(side);
    while (NULL == side->peer->in.ring) {
        mca_btl_vmshm_component_progress();
    }
    for (unsigned int i = 0; i < MANY_PULLS; ++i) {
        REQUIRE(OPAL_SUCCESS == mca_btl_vmshm_get(&mca_btl_vmshm.super, side->peer, to, 0, NULL,
                                                  &remote, 4096, 0, MCA_BTL_NO_ORDER, on_refused,
                                                  NULL, NULL));
    }
    do {
        before = got;
        mca_btl_vmshm_component_progress();
        REQUIRE(got - before <= 64);
    } while (got < MANY_PULLS);
    side_meet(side);
    side_stop();
    return 0;
}

static int looks_on(struct side *side)
{
    side_start(side, on_told);
    side_connect(side);
    tell_done(side);
    side_meet(side);
    side_meet(side);
    side_stop();
    return 0;
}

static void test_budget(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, asks_for_parts, looks_on, NULL));
}

/* --- a chunk that is not as it should be */

static struct vmshm_chunk forged;

static int forger(struct side *side)
{
    static uint8_t from[8192];
    struct vmshm_chunk *chunk;

    side_start(side, on_told);
    side_connect(side);
    (void) offer(side, from, sizeof from);
    OPAL_THREAD_LOCK(&side->peer->lock);
    REQUIRE(mca_btl_vmshm_stream_push(side->peer) > 0);
    OPAL_THREAD_UNLOCK(&side->peer->lock);
    chunk = mca_btl_vmshm_chunk_at(side->peer->streams->channel, 0, MCA_BTL_VMSHM_CHUNKS - 1);
    if (0 != forged.place) {
        chunk->place = forged.place;
    }
    chunk->length = forged.length;
    chunk->offset = forged.offset;
    if (0 != forged.number) {
        chunk->number = forged.number;
    }
    side_meet(side);
    side_meet(side);
    side_stop();
    return 0;
}

static int victim(struct side *side)
{
    struct mca_btl_base_registration_handle_t remote;
    static uint8_t to[8192];

    side_start(side, on_told);
    side_connect(side);
    side_hear(side, &remote, sizeof remote);
    side_meet(side);
    ask(side, to, sizeof to, &remote);
    for (int i = 0; i < 100000 && 0 == side_losses; ++i) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(1 == side_losses && VMSHM_FATE_BROKEN == vmshm_fate(side->peer->peer));
    REQUIRE(0 == strcmp(side->peer->peer->broken_field, "chunk") && 0 == got);
    side_meet(side);
    side_stop();
    return 0;
}

static void forge(void **state, struct vmshm_chunk chunk)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    forged = chunk;
    assert_int_equal(0, side_run_pair(*state, forger, victim, NULL));
    unlink(unit_path(*state, "segment"));
}

static void broken(void **state, uint64_t place, uint64_t length)
{
    forge(state, (struct vmshm_chunk) { .place = place, .length = length });
}

static void test_broken_chunk(void **state)
{
    broken(state, 64, 4096);                                /* the header */
    broken(state, UINT64_MAX - 8, 4096);                    /* wraps around */
    broken(state, VMSHM_HEADER_BYTES + 4096, 4096);         /* no window */
    broken(state, UINT64_C(1) << 40, 1);
    broken(state, 0, 0);
    broken(state, 0, 8193);                                 /* more than the rest of the message */
    broken(state, 0, UINT64_MAX);
    forge(state, (struct vmshm_chunk) { .length = 4096, .offset = 64 });
    forge(state, (struct vmshm_chunk) { .length = 4096, .number = 2 });
    forge(state, (struct vmshm_chunk) { .length = 4096, .number = UINT64_MAX - 7 });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_budget, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_broken_chunk, unit_setup, unit_teardown),
    };

    return cmocka_run_group_tests_name("chunks", tests, NULL, NULL);
}
