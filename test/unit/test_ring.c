/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The transport's rings, between two processes that pretend to be in two VMs: the component's own
 * code, driven without MPI. Each test forks a fresh pair, because the component is one per process.
 */
#include "opal_config.h"

#include "messages.h"

#include "btl_vmshm_connect.h"
#include "btl_vmshm_frag.h"
#include "btl_vmshm_ring.h"
#include "btl_vmshm_send.h"

#include <string.h>
#include <unistd.h>


/* --- both send and receive at once: order, content, one completion each, the ring grows */

static struct side *sender;
static uint64_t sent;
static uint32_t sent_seed;

static void send_next(void)
{
    if (sent < MANY) {
        send_one(sender, sent++, &sent_seed);
    }
}

static int exchange(struct side *side)
{
    sender = side;
    sent_seed = side->vm + 1;
    start(side);
    side_connect(side);
    while (sent < MANY) {
        send_next();
        mca_btl_vmshm_component_progress();
    }
    while (arrived < MANY || completed < MANY) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(MANY == arrived && MANY == completed);
    REQUIRE(opal_list_is_empty(&side->peer->out.pending) && 0 == side->peer->out.callbacks);
    side_meet(side);
    side_stop();
    return 0;
}

static void test_exchange(void **state)
{
    unit_segment(unit_path(*state, "segment"), 64 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, exchange, exchange, NULL));
}

/* --- a callback polls, as the upper layer may do for want of memory: the others' messages come, and its own
 * stays as it is */

static uint64_t waited;

static void wait_for_next(const uint8_t *bytes, size_t length, uint64_t number)
{
    static int depth;

    (void) bytes;
    (void) length;
    if (depth < 3 && number % 3 > 0 && number + 1 < MANY) {
        ++depth;
        while (arrived == number + 1) {
            send_next();                /* the other side may be waiting, too */
            mca_btl_vmshm_component_progress();
        }
        --depth;
        ++waited;
    }
}

static int exchange_nested(struct side *side)
{
    on_arrival = wait_for_next;
    REQUIRE(0 == exchange(side) && waited > 0);
    return 0;
}

static void test_nested(void **state)
{
    unit_segment(unit_path(*state, "segment"), 64 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, exchange_nested, exchange_nested, NULL));
}

/* --- the ring grows to its limit, and its old memory is taken back */

static int grow(struct side *side)
{
    uint32_t seed = side->vm + 1;
    uint64_t n = 0;

    start(side);
    side_connect(side);
    side_meet(side);
    while (side->peer->out.slots < mca_btl_vmshm_context.ring_slots_max) {
        REQUIRE(n < 100000);
        send_one(side, n++, &seed);
        mca_btl_vmshm_component_progress();
    }
    /* The last one is one whose completion waits for the peer: then the old ring was left, too. */
    if (n % 2 != 0) {
        send_one(side, n++, &seed);
    }
    side_tell(side, &n, sizeof n);
    while (completed < n) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(0 == side->peer->out.old_offset);
    side_meet(side);
    side_stop();
    return 0;
}

static int follow(struct side *side)
{
    uint64_t n;

    start(side);
    side_connect(side);
    side_meet(side);
    /* Slowly, so that the ring fills. */
    while (recv(side->other, &n, sizeof n, MSG_DONTWAIT) != sizeof n) {
        mca_btl_vmshm_component_progress();
        usleep(200);
    }
    while (arrived < n) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(NULL != side->peer->in.ring);
    REQUIRE(side->peer->in.mask + 1 == mca_btl_vmshm_context.ring_slots_max);
    side_meet(side);
    side_stop();
    return 0;
}

static void test_growth(void **state)
{
    unit_segment(unit_path(*state, "segment"), 64 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, grow, follow, NULL));
}

/* --- a peer that was never added is heard, if it holds the job's key, and not before */

static int speak(struct side *side)
{
    uint32_t seed = side->vm + 1;

    side->job[0] = 7;
    start(side);
    side_connect(side);
    for (uint64_t n = 0; n < 10; ++n) {
        send_one(side, n, &seed);
    }
    side_meet(side);
    side_meet(side);
    side_stop();
    return 0;
}

static int listen_late(struct side *side)
{
    struct vmshm_address own, other;

    start(side);
    vmshm_member_address(mca_btl_vmshm_member(), &own);
    side_tell(side, &own, sizeof own);
    side_hear(side, &other, sizeof other);
    side_meet(side);
    for (int i = 0; i < 1000; ++i) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(0 == arrived);          /* another job's key */
    mca_btl_vmshm_key_add(other.job);
    while (arrived < 10) {
        mca_btl_vmshm_component_progress();
    }
    side_meet(side);
    side_stop();
    return 0;
}

static void test_heard_before_known(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, listen_late, speak, NULL));
}

/* --- payload that looks like messages of a later lap, in slots where later messages begin */

static void on_words(mca_btl_base_module_t *btl, mca_btl_base_tag_t tag,
                     mca_btl_base_descriptor_t *des, void *context)
{
    const uint8_t *bytes = des->des_segments->seg_addr.pval;
    const size_t expected = 8 + size_of_message(&arrivals_seed) % 1000;
    uint64_t number;

    (void) btl;
    (void) tag;
    (void) context;
    REQUIRE(des->des_segments->seg_len == expected);
    memcpy(&number, bytes, sizeof number);
    REQUIRE(number == arrived);
    REQUIRE(expected <= 8 || (uint8_t) number == bytes[expected - 1]);
    ++arrived;
}

static int mimic(struct side *side)
{
    uint32_t seed = side->vm + 1;
    uint8_t message[1024];

    start(side);
    mca_btl_base_active_message_trigger[SIDE_TAG].cbfunc = on_words;
    side_connect(side);
    for (uint64_t n = 0; n < MANY; ++n) {
        const size_t bytes = 8 + size_of_message(&seed) % 1000;

        for (;;) {
            /* The position may have moved: what stands in the message depends on it. */
            const uint64_t tail = side->peer->out.tail;
            const uint32_t slots = 0 == side->peer->out.slots ? mca_btl_vmshm_context.ring_slots
                                                              : side->peer->out.slots;

            memset(message, 0, sizeof message);
            for (uint64_t line = 1; VMSHM_SLOT_BYTES * line - 12 + 8 <= bytes; ++line) {
                const uint64_t word = VMSHM_SLOT_WORD(tail + line + slots, 12, 8,
                                                      VMSHM_SLOT_INLINE, SIDE_TAG);
                memcpy(message + VMSHM_SLOT_BYTES * line - 12, &word, sizeof word);
            }
            memcpy(message, &n, sizeof n);
            if (bytes > 8) {
                message[bytes - 1] = (uint8_t) n;
            }
            if (OPAL_SUCCESS == mca_btl_vmshm_sendi(&mca_btl_vmshm.super, side->peer, NULL, message,
                                                    bytes, 0, MCA_BTL_NO_ORDER, 0, SIDE_TAG, NULL)) {
                break;
            }
            mca_btl_vmshm_component_progress();
        }
        if (0 == n % 3) {
            mca_btl_vmshm_component_progress();
        }
    }
    while (arrived < MANY) {
        mca_btl_vmshm_component_progress();
    }
    side_meet(side);
    side_stop();
    return 0;
}

static void test_payload_like_words(void **state)
{
    unit_segment(unit_path(*state, "segment"), 64 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, mimic, mimic, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_exchange, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_nested, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_growth, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_heard_before_known, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_payload_like_words, unit_setup, unit_teardown),
    };

    return cmocka_run_group_tests_name("rings", tests, NULL, NULL);
}
