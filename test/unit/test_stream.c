/* SPDX-License-Identifier: BSD-3-Clause */
/* Large messages between two processes: what register_mem() offers, get() fetches. */
#include "opal_config.h"

#include "side.h"

#include "btl_vmshm_frag.h"
#include "btl_vmshm_ring.h"
#include "btl_vmshm_send.h"
#include "btl_vmshm_get.h"
#include "btl_vmshm_push.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST (1024u * 1024)

/* Instead of the one that looks into ob1's requests: here each buffer is long enough. */
bool __wrap_mca_btl_vmshm_ob1_fits(mca_btl_base_rdma_completion_fn_t cbfunc, const void *cbdata,
                                   size_t size);

bool __wrap_mca_btl_vmshm_ob1_fits(mca_btl_base_rdma_completion_fn_t cbfunc, const void *cbdata,
                                   size_t size)
{
    (void) cbfunc;
    (void) cbdata;
    return size <= MOST;
}

static unsigned int told, got;

static void on_message(mca_btl_base_module_t *btl, mca_btl_base_tag_t tag,
                       mca_btl_base_descriptor_t *des, void *context)
{
    (void) btl;
    (void) tag;
    (void) des;
    (void) context;
    ++told;
}

static void on_got(struct mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint,
                   void *local_address, struct mca_btl_base_registration_handle_t *local_handle,
                   void *context, void *cbdata, int status)
{
    (void) btl;
    (void) endpoint;
    (void) local_address;
    (void) local_handle;
    (void) context;
    (void) cbdata;
    REQUIRE(OPAL_SUCCESS == status);
    ++got;
}

static uint8_t byte_of(size_t size, size_t at)
{
    return (uint8_t) (size * 31 + at * 7 + at / 4096);
}

static const size_t sizes[] = {
    1, 63, 64, 4095, 4096, 4097, 8191, 8192, 8193, 16384, 32767, 65536, 100000, 262143, MOST,
};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static struct mca_btl_base_registration_handle_t *offer(struct side *side, uint8_t *from,
                                                        size_t size)
{
    struct mca_btl_base_registration_handle_t *handle;

    for (size_t i = 0; i < size; ++i) {
        from[i] = byte_of(size, i);
    }
    handle = mca_btl_vmshm_register_mem(&mca_btl_vmshm.super, side->peer, from, size,
                                        MCA_BTL_REG_FLAG_REMOTE_READ);
    REQUIRE(NULL != handle);
    side_tell(side, handle, sizeof *handle);
    return handle;
}

/* The other side's word that it has all: in the ring, behind its pulls, as the upper layer's is. */
static void tell_done(const struct side *side)
{
    while (OPAL_SUCCESS != mca_btl_vmshm_sendi(&mca_btl_vmshm.super, side->peer, NULL, "done", 4, 0,
                                               MCA_BTL_NO_ORDER, 0, SIDE_TAG, NULL)) {
        mca_btl_vmshm_component_progress();
    }
}

static void push_until_told(unsigned int count)
{
    while (told < count) {
        mca_btl_vmshm_component_progress();
    }
}

static void ask(const struct side *side, uint8_t *to, size_t size,
                struct mca_btl_base_registration_handle_t *remote)
{
    REQUIRE(OPAL_SUCCESS == mca_btl_vmshm_get(&mca_btl_vmshm.super, side->peer, to, 0, NULL, remote,
                                              size, 0, MCA_BTL_NO_ORDER, on_got, NULL, NULL));
}

static void progress_until(unsigned int count)
{
    while (got < count) {
        mca_btl_vmshm_component_progress();
    }
}

static void require_content(const uint8_t *to, size_t size)
{
    for (size_t i = 0; i < size; ++i) {
        REQUIRE(byte_of(size, i) == to[i]);
    }
}

/* All sizes one after the other, then all at once. */
static int pusher(struct side *side)
{
    struct mca_btl_base_registration_handle_t *handles[SIZES];
    const mca_btl_vmshm_memory_t *memory = &mca_btl_vmshm_context.memory;
    uint8_t *from[SIZES];

    side_start(side, on_message);
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

    side_start(side, on_message);
    side_connect(side);
    for (int i = 0; i < SIZES; ++i) {
        to[i] = calloc(1, sizes[i]);
        side_hear(side, &remote[i], sizeof remote[i]);
        if (0 == i % 2) {
            usleep(2000);
        }
        ask(side, to[i], sizes[i], &remote[i]);
        progress_until((unsigned int) i + 1);
        require_content(to[i], sizes[i]);
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
    progress_until(2 * SIZES);
    for (int i = 0; i < SIZES; ++i) {
        require_content(to[i], sizes[i]);
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

    side_start(side, on_message);
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
    side_start(side, on_message);
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

    side_start(side, on_message);
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

    side_start(side, on_message);
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

/* --- a server and its clients, one after the other: what it had for one serves the next */

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

    side_start(side, on_message);
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

    side_start(side, on_message);
    side_connect(side);
    side_hear(side, &remote, sizeof remote);
    ask(side, to, SIZE, &remote);
    progress_until(1);
    require_content(to, SIZE);
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
        cmocka_unit_test_setup_teardown(test_streams, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_streams_without_pool, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_streams_small_pool, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_streams_far, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_budget, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_broken_chunk, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_clients, unit_setup, unit_teardown),
    };

    return cmocka_run_group_tests_name("streams", tests, NULL, NULL);
}
