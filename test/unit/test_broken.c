/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a broken peer may write into a ring: each is noticed, nothing of it is used.
 */
#include "opal_config.h"

#include "messages.h"

#include "btl_vmshm_ring.h"

#include <string.h>
#include <unistd.h>


static void forge(struct side *side, uint64_t word, const struct vmshm_cell_ref *ref)
{
    mca_btl_vmshm_endpoint_t *peer = side->peer;

    REQUIRE(OPAL_SUCCESS == mca_btl_vmshm_ring_open(peer));
    memcpy(mca_btl_vmshm_ring_slot(peer)->payload, ref, sizeof *ref);
    vmshm_store_release(&mca_btl_vmshm_ring_slot(peer)->word, word);
}

static struct vmshm_cell_ref forged_ref;
static uint64_t forged_word;
static bool forged_head, forged_offset, forged_ring;

/* A ring as it should be, but no larger than the one that leads to it. */
static void forge_ring(struct side *side)
{
    const uint32_t slots = mca_btl_vmshm_context.ring_slots;
    uint64_t offset = mca_btl_vmshm_ring_take(&mca_btl_vmshm_context.memory, slots);
    struct vmshm_ring *ring = mca_btl_vmshm_at(offset);

    REQUIRE(0 != offset && OPAL_SUCCESS == mca_btl_vmshm_ring_open(side->peer));
    memcpy(ring, mca_btl_vmshm_at(side->peer->out.offset), vmshm_ring_bytes(slots));
    ring->first = 1;
    memcpy(side->peer->out.ring->payload, &offset, sizeof offset);
    vmshm_store_release(&side->peer->out.ring->word,
                        VMSHM_SLOT_WORD(0, VMSHM_SLOT_HEAD_BYTES, sizeof offset, VMSHM_SLOT_SWITCH, 0));
}

static int forger(struct side *side)
{
    start(side);
    side_connect(side);
    if (forged_offset) {
        /* The ring's offset leads into the other VM's section. */
        REQUIRE(OPAL_SUCCESS == mca_btl_vmshm_ring_open(side->peer));
        uint64_t *table = (uint64_t *) mca_btl_vmshm_at(
            mca_btl_vmshm_context.attached->arena.windows[0].offset + vmshm_rings_offset());
        table[vmshm_proc_index(mca_btl_vmshm_header(), side->peer->peer->vm, side->peer->peer->slot)] =
            side->peer->peer->control.offset;
    } else if (forged_head) {
        while (NULL == side->peer->in.my_head) {
            mca_btl_vmshm_component_progress();
        }
        vmshm_store_release(&side->peer->in.my_head->head, 1000000);
    } else if (forged_ring) {
        forge_ring(side);
    } else {
        forge(side, forged_word, &forged_ref);
    }
    side_meet(side);
    side_meet(side);
    side_stop();
    return 0;
}

static int victim(struct side *side)
{
    uint32_t seed = side->vm + 1;

    start(side);
    side_connect(side);
    if (forged_head) {
        send_one(side, 1, &seed);       /* one that asks for the peer's head */
    }
    side_meet(side);
    for (int i = 0; i < 100000 && 0 == side_losses; ++i) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(1 == side_losses);
    REQUIRE(VMSHM_FATE_BROKEN == vmshm_fate(side->peer->peer));
    REQUIRE(0 == arrived);
    for (int i = 0; i < 1000; ++i) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(1 == side_losses && NULL == side->peer->in.ring);
    side_meet(side);
    side_stop();
    return 0;
}

static void broken(void **state, uint64_t word, uint64_t offset, uint64_t length)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    forged_word = word;
    forged_ref = (struct vmshm_cell_ref) { offset, length };
    assert_int_equal(0, side_run_pair(*state, victim, forger, NULL));
    unlink(unit_path(*state, "segment"));
}

static void test_broken_peer(void **state)
{
    const uint64_t cell = VMSHM_SLOT_WORD(0, 12, 0, VMSHM_SLOT_CELL, SIDE_TAG);

    broken(state, cell, 0, 64);                                         /* the header */
    broken(state, cell, UINT64_MAX - 8, 64);                            /* wraps around */
    broken(state, cell, VMSHM_HEADER_BYTES + 4096, UINT64_MAX);
    broken(state, cell, VMSHM_HEADER_BYTES + 20 * UNIT_MIB, 0);
    broken(state, cell, UINT64_C(1) << 40, 1);
    broken(state, VMSHM_SLOT_WORD(0, 12, VMSHM_INLINE_SLOTS * 32 - 11, VMSHM_SLOT_INLINE, SIDE_TAG), 0, 0);
    broken(state, VMSHM_SLOT_WORD(0, 8, VMSHM_SHORT_BYTES + 1, VMSHM_SLOT_INLINE, SIDE_TAG), 0, 0);
    broken(state, VMSHM_SLOT_WORD(0, 6, 8, VMSHM_SLOT_INLINE, SIDE_TAG), 0, 0);      /* over the word */
    broken(state, VMSHM_SLOT_WORD(0, 10, 8, VMSHM_SLOT_INLINE, SIDE_TAG), 0, 0);     /* over the ack */
    broken(state, VMSHM_SLOT_WORD(0, 12, 8, 7, SIDE_TAG), 0, 0);             /* no such kind */
    broken(state, VMSHM_SLOT_WORD(0, 12, 8, 0, SIDE_TAG), 0, 0);
    broken(state, VMSHM_SLOT_WORD(0, 12, 8, VMSHM_SLOT_INLINE, SIDE_TAG + 1), 0, 0);
    broken(state, VMSHM_SLOT_WORD(0, 8, 8, VMSHM_SLOT_INLINE, SIDE_TAG + 1), 0, 0);
    broken(state, VMSHM_SLOT_WORD(0, 12, 8, VMSHM_SLOT_SWITCH, 0), 0, 0);
    broken(state, VMSHM_SLOT_WORD(0, 12, 8, VMSHM_SLOT_SWITCH, 0), UINT64_MAX - 63, 0);
    broken(state, VMSHM_SLOT_WORD(0, 12, 8, VMSHM_SLOT_CHANNEL, 0), 0, 0);
    broken(state, VMSHM_SLOT_WORD(0, 12, 8, VMSHM_SLOT_CHANNEL, 0), UINT64_MAX - 63, 0);
    broken(state, VMSHM_SLOT_WORD(0, 12, 8, VMSHM_SLOT_PULL, 0), 0, 0);
    broken(state, VMSHM_SLOT_WORD(0, 12, 8, VMSHM_SLOT_PULL, 0), UINT64_MAX, 0);
    forged_head = true;
    broken(state, 0, 0, 0);
    forged_head = false;
    forged_offset = true;
    broken(state, 0, 0, 0);
    forged_offset = false;
    forged_ring = true;
    broken(state, 0, 0, 0);
    forged_ring = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_broken_peer, unit_setup, unit_teardown),
    };

    return cmocka_run_group_tests_name("broken peers", tests, NULL, NULL);
}
