/* SPDX-License-Identifier: BSD-3-Clause */
#include "opal_config.h"

#include "messages.h"

#include "btl_vmshm_frag.h"
#include "btl_vmshm_send.h"

#include <string.h>

uint64_t arrived, completed;
uint32_t arrivals_seed;
void (*on_arrival)(const uint8_t *bytes, size_t length, uint64_t number);

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

size_t size_of_message(uint32_t *seed)
{
    /* Around every threshold: nothing, inline, eager cells, large cells. */
    static const size_t edges[] = { 8, 24, 25, 116, 117, 8256, 8257, MAX_BYTES - 1, MAX_BYTES };
    const uint32_t r = next_random(seed);

    if (0 == r % 4) {
        return edges[r / 4 % (sizeof edges / sizeof edges[0])];
    }
    return 8 + next_random(seed) % (0 == r % 16 ? MAX_BYTES - 8 : 200);
}

void fill(uint8_t *to, size_t bytes, uint64_t number)
{
    memcpy(to, &number, sizeof number);
    for (size_t i = sizeof number; i < bytes; ++i) {
        to[i] = (uint8_t) (number * 31 + i * 7);
    }
}

void require_content(const uint8_t *bytes, size_t length, uint64_t number)
{
    REQUIRE(0 == memcmp(&number, bytes, sizeof number));
    for (size_t i = sizeof number; i < length; ++i) {
        REQUIRE((uint8_t) (number * 31 + i * 7) == bytes[i]);
    }
}

static void on_message(mca_btl_base_module_t *btl, mca_btl_base_tag_t tag,
                       mca_btl_base_descriptor_t *des, void *context)
{
    const uint8_t *bytes = des->des_segments->seg_addr.pval;
    const size_t expected = size_of_message(&arrivals_seed);
    const uint64_t number = arrived;

    (void) btl;
    (void) context;
    REQUIRE(SIDE_TAG == tag && 1 == des->des_segment_count);
    REQUIRE(des->des_segments->seg_len == expected);
    require_content(bytes, expected, number);
    ++arrived;
    if (NULL != on_arrival) {
        on_arrival(bytes, expected, number);
        REQUIRE(bytes == des->des_segments->seg_addr.pval);
        require_content(bytes, expected, number);
    }
}

static void on_complete(mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint,
                        struct mca_btl_base_descriptor_t *des, int status)
{
    (void) btl;
    (void) endpoint;
    (void) des;
    REQUIRE(OPAL_SUCCESS == status);
    ++completed;
}

void start(struct side *side)
{
    side_start(side, on_message);
    arrivals_seed = 1 - side->vm + 1;
}

void send_one(struct side *side, uint64_t number, uint32_t *seed)
{
    const size_t bytes = size_of_message(seed);
    /* Half of them must be told when the peer has consumed them; the others may be done at once. */
    const uint32_t flags = MCA_BTL_DES_FLAGS_BTL_OWNERSHIP
                           | (number % 2 ? MCA_BTL_DES_SEND_ALWAYS_CALLBACK : 0);
    mca_btl_base_descriptor_t *des = mca_btl_vmshm_alloc(&mca_btl_vmshm.super, side->peer,
                                                         MCA_BTL_NO_ORDER, bytes, flags);
    int rc;

    REQUIRE(NULL != des);
    fill(des->des_segments->seg_addr.pval, bytes, number);
    des->des_cbfunc = on_complete;
    rc = mca_btl_vmshm_send(&mca_btl_vmshm.super, side->peer, des, SIDE_TAG);
    REQUIRE(OPAL_SUCCESS == rc || (1 == rc && 0 == number % 2));
    completed += 1 == rc;
}

int stand_by(struct side *side)
{
    start(side);
    side_connect(side);
    side_meet(side);
    side_stop();
    return 0;
}
