/*
 * The transport's rings, between two processes that pretend to be in two VMs: the component's own
 * code, driven without MPI. Each test forks a fresh pair, because the component is one per process.
 */
#include "opal_config.h"

#include "side.h"

#include "btl_vmshm_frag.h"
#include "btl_vmshm_ring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_BYTES  (32u * 1024)
#define MANY       20000u

/* What has come and gone in this process. */
static uint64_t arrived, completed;
static uint32_t arrivals_seed;

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Sizes around every threshold: nothing, inline, eager cells, large cells. */
static size_t size_of_message(uint32_t *seed)
{
    static const size_t edges[] = { 8, 24, 25, 116, 117, 8256, 8257, MAX_BYTES - 1, MAX_BYTES };
    const uint32_t r = next_random(seed);

    if (0 == r % 4) {
        return edges[r / 4 % (sizeof edges / sizeof edges[0])];
    }
    return 8 + next_random(seed) % (0 == r % 16 ? MAX_BYTES - 8 : 200);
}

static void fill(uint8_t *to, size_t bytes, uint64_t number)
{
    memcpy(to, &number, sizeof number);
    for (size_t i = sizeof number; i < bytes; ++i) {
        to[i] = (uint8_t) (number * 31 + i * 7);
    }
}

static void require_content(const uint8_t *bytes, size_t length, uint64_t number)
{
    REQUIRE(0 == memcmp(&number, bytes, sizeof number));
    for (size_t i = sizeof number; i < length; ++i) {
        REQUIRE((uint8_t) (number * 31 + i * 7) == bytes[i]);
    }
}

/* Callbacks that wait for the next message, as the upper layer may do for want of memory. */
static bool waits_in_callbacks;
static uint64_t waited;
static void send_next(void);

static void wait_for_next(uint64_t number)
{
    static int depth;

    if (depth < 3) {
        ++depth;
        while (arrived == number + 1) {
            send_next();                /* the other side may be waiting, too */
            mca_btl_vmshm_component_progress();
        }
        --depth;
        ++waited;
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
    if (waits_in_callbacks && number % 3 > 0 && number + 1 < MANY) {
        wait_for_next(number);
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

static void start(struct side *side)
{
    side_start(side, on_message);
    arrivals_seed = 1 - side->vm + 1;
}

static void send_one(struct side *side, uint64_t number, uint32_t *seed)
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
    REQUIRE(opal_list_is_empty(&side->peer->pending) && 0 == side->peer->callbacks);
    side_meet(side);
    side_stop();
    return 0;
}

static void test_exchange(void **state)
{
    unit_segment(unit_path(*state, "segment"), 64 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, exchange, exchange, NULL));
}

/* --- a callback polls: the others' messages come, and its own stays as it is */

static int exchange_nested(struct side *side)
{
    waits_in_callbacks = true;
    REQUIRE(0 == exchange(side) && waited > 0);
    return 0;
}

static void test_nested(void **state)
{
    unit_segment(unit_path(*state, "segment"), 64 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, exchange_nested, exchange_nested, NULL));
}

/* --- nobody receives for a while: nothing is refused, nothing is lost, memory is not exceeded */

static int flood(struct side *side)
{
    uint32_t seed = side->vm + 1;

    start(side);
    side_connect(side);
    for (uint64_t n = 0; n < 3000; ++n) {
        send_one(side, n, &seed);
    }
    REQUIRE(!opal_list_is_empty(&side->peer->pending));
    REQUIRE(mca_btl_vmshm_component.arena.count <= side->max_windows);
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
    REQUIRE(side->peer->cells_out <= MCA_BTL_VMSHM_MOST_CELLS_OUT);
    REQUIRE(mca_btl_vmshm_component.arena.count <= 3);
    side_meet(side);
    while (!opal_list_is_empty(&side->peer->pending)) {
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

/* --- the ring grows to its limit, and its old memory is taken back */

static int grow(struct side *side)
{
    uint32_t seed = side->vm + 1;
    uint64_t n = 0;

    start(side);
    side_connect(side);
    side_meet(side);
    while (side->peer->out_slots < mca_btl_vmshm_component.ring_slots_max) {
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
    REQUIRE(0 == side->peer->old_offset);
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
    REQUIRE(NULL != side->peer->in);
    REQUIRE(side->peer->in_mask + 1 == mca_btl_vmshm_component.ring_slots_max);
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
    vmshm_member_address(&mca_btl_vmshm_component.member, &own);
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
            const uint64_t tail = side->peer->tail;
            const uint32_t slots = 0 == side->peer->out_slots ? mca_btl_vmshm_component.ring_slots
                                                              : side->peer->out_slots;

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

/* --- what a broken peer may write: each is noticed, nothing of it is used */

static void forge(struct side *side, uint64_t word, const struct vmshm_cell_ref *ref)
{
    mca_btl_vmshm_endpoint_t *peer = side->peer;

    REQUIRE(OPAL_SUCCESS == mca_btl_vmshm_ring_open(peer));
    memcpy(mca_btl_vmshm_ring_slot(peer)->payload, ref, sizeof *ref);
    vmshm_store_release(&mca_btl_vmshm_ring_slot(peer)->word, word);
}

static struct vmshm_cell_ref forged_ref;
static uint64_t forged_word;
static bool forged_head, forged_offset;

static int forger(struct side *side)
{
    start(side);
    side_connect(side);
    if (forged_offset) {
        /* The ring's offset leads into the other VM's section. */
        REQUIRE(OPAL_SUCCESS == mca_btl_vmshm_ring_open(side->peer));
        uint64_t *table = (uint64_t *) mca_btl_vmshm_at(
            mca_btl_vmshm_component.arena.windows[0].offset + vmshm_rings_offset());
        table[vmshm_proc_index(mca_btl_vmshm_header(), side->peer->vm, side->peer->slot)] =
            side->peer->control.offset;
    } else if (forged_head) {
        while (NULL == side->peer->my_head) {
            mca_btl_vmshm_component_progress();
        }
        vmshm_store_release(&side->peer->my_head->head, 1000000);
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
    REQUIRE(MCA_BTL_VMSHM_FATE_BROKEN == mca_btl_vmshm_fate(side->peer));
    REQUIRE(0 == arrived);
    for (int i = 0; i < 1000; ++i) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(1 == side_losses && NULL == side->peer->in);
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
}

/* --- a peer that dies or leaves */

static int die(struct side *side)
{
    uint32_t seed = side->vm + 1;

    start(side);
    side_connect(side);
    for (uint64_t n = 0; n < 10; ++n) {
        send_one(side, n, &seed);
    }
    side_meet(side);
    _exit(0);                       /* without leaving: the slot stays, the lock goes */
}

/* A sibling in the dead process's VM finds it; here the test itself plays the sibling. */
static int survive(struct side *side)
{
    /* While there is one thread: what a fork among several may do is little. */
    int go[2];
    REQUIRE(0 == pipe(go));
    pid_t sibling = fork();
    if (0 == sibling) {
        struct vmshm_join_options o = {
            .segment = unit_path(side->dir, "segment"), .lock_dir = side->dir, .vm_id = 1,
        };
        struct vmshm_member m;
        struct vmshm_error e;

        char c;

        close(go[1]);
        (void) !read(go[0], &c, 1);
        usleep(200000);
        if (VMSHM_OK == vmshm_join(&o, &m, &e)) {
            vmshm_leave(&m);
        }
        _exit(0);
    }
    start(side);
    side_connect(side);
    side_meet(side);
    REQUIRE(1 == write(go[1], "g", 1));
    while (0 == side_losses) {
        mca_btl_vmshm_component_progress();
        usleep(1000);
    }
    REQUIRE(10 == arrived);         /* what it sent before it died is delivered */
    REQUIRE(MCA_BTL_VMSHM_FATE_DEAD == mca_btl_vmshm_fate(side->peer));
    REQUIRE(0 == unit_wait(sibling));
    side_stop();
    return 0;
}

static void test_death(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, survive, die, NULL));
}

static int leave_early(struct side *side)
{
    uint32_t seed = side->vm + 1;

    start(side);
    side_connect(side);
    for (uint64_t n = 0; n < 10; ++n) {
        send_one(side, n, &seed);
    }
    side_meet(side);
    side_stop();
    return 0;
}

static int see_it_leave(struct side *side)
{
    start(side);
    side_connect(side);
    side_meet(side);
    while (MCA_BTL_VMSHM_FATE_ALIVE == mca_btl_vmshm_fate(side->peer) || !side->peer->attended) {
        mca_btl_vmshm_component_progress();
        usleep(1000);
    }
    REQUIRE(MCA_BTL_VMSHM_FATE_LEFT == mca_btl_vmshm_fate(side->peer));
    REQUIRE(10 == arrived && 0 == side_losses);
    REQUIRE(0 == side->peer->control.length && 0 == side->peer->grown_count);
    side_stop();
    return 0;
}

static void test_orderly_leave(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, see_it_leave, leave_early, NULL));
}

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
    mca_btl_vmshm_arena_t *arena = &mca_btl_vmshm_component.arena;
    uint32_t seed = side->vm + 1;
    mca_btl_base_descriptor_t *des;

    start(side);
    side_connect(side);
    send_one(side, 0, &seed);
    side_meet(side);
    side_meet(side);
    while (arena->count < 2) {
        int cell_class = MCA_BTL_VMSHM_CELL_MAX;

        REQUIRE(0 != mca_btl_vmshm_cell_take(arena, &cell_class));
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
    mca_btl_vmshm_monitor_stop();   /* which might tell before the window is missed */
    side_meet(side);
    side_meet(side);                /* it has left */
    while (!side->peer->attended) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(MCA_BTL_VMSHM_FATE_LEFT == mca_btl_vmshm_fate(side->peer) && 0 == side_losses);
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

static int short_life(struct side *side)
{
    uint32_t seed = side->vm + 1;

    start(side);
    side_connect(side);
    side_meet(side);                    /* the other side has found this process */
    for (uint64_t n = 0; n < FIRST_LIFE; ++n) {
        send_one(side, n, &seed);
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

/* The second life's ring is found before the first one is seen off: the late look into the first one's
 * ring leaves the second one's head alone. */
static int see_both(struct side *side)
{
    mca_btl_vmshm_endpoint_t *first;

    side_start(side, on_either);
    side_connect(side);
    first = side->peer;
    side_meet(side);
    side_connect(side);
    REQUIRE(side->peer != first && side->peer->slot == first->slot);
    side_meet(side);
    while (arrived < FIRST_LIFE + SECOND_LIFE) {
        mca_btl_vmshm_component_progress();
    }
    side_meet(side);
    REQUIRE(0 == side_losses && opal_list_is_empty(&mca_btl_vmshm_component.retired));
    side_stop();
    return 0;
}

static void test_next_process_of_a_slot(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, see_both, lives, NULL));
}

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
    mca_btl_vmshm_arena_t *arena = &mca_btl_vmshm_component.arena;
    const struct vmshm_join_options o = {
        .segment = unit_path(side->dir, "segment"), .lock_dir = side->dir, .vm_id = (int) side->vm,
    };
    struct vmshm_member sibling;
    struct vmshm_error e;

    start(side);
    side_connect(side);
    REQUIRE(VMSHM_OK == vmshm_join(&o, &sibling, &e));
    take_rest(&sibling);
    REQUIRE(0 == mca_btl_vmshm_channel_take(arena, UNIT_MIB) && arena->refused);
    mca_btl_vmshm_component_progress();
    REQUIRE(arena->refusal_told && VMSHM_ERR_FULL == arena->refusal.code);
    /* Not asked each time. */
    REQUIRE(0 == mca_btl_vmshm_channel_take(arena, UNIT_MIB) && arena->retry_after > 0);
    vmshm_leave(&sibling);
    while (0 == mca_btl_vmshm_channel_take(arena, UNIT_MIB)) {
        usleep(10000);
    }
    REQUIRE(2 == arena->count && 0 == arena->retry_after);
    side_meet(side);
    side_stop();
    return 0;
}

static int stand_by(struct side *side)
{
    start(side);
    side_connect(side);
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
    mca_btl_vmshm_arena_t *arena = &mca_btl_vmshm_component.arena;
    uint32_t seed = side->vm + 1, slots;
    uint64_t last = 0, offset;

    start(side);
    side_connect(side);
    slots = mca_btl_vmshm_component.ring_slots;
    while (0 != (offset = mca_btl_vmshm_ring_take(arena, slots, true))) {
        last = offset;
    }
    send_one(side, 1, &seed);
    for (int i = 0; i < 1000; ++i) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(0 == side_losses && NULL == side->peer->out && 0 == completed);
    mca_btl_vmshm_ring_give(arena, last, slots);
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

/* --- what this process cannot map is no fault of the peer, but the end */

static bool nothing_can_be_mapped;

int __real_mprotect(void *at, size_t bytes, int prot);
int __wrap_mprotect(void *at, size_t bytes, int prot);

int __wrap_mprotect(void *at, size_t bytes, int prot)
{
    if (nothing_can_be_mapped) {
        errno = ENOMEM;
        return -1;
    }
    return __real_mprotect(at, bytes, prot);
}

/* Until messages lie in a further window. */
static int outgrow(struct side *side)
{
    uint32_t seed = side->vm + 1;

    start(side);
    side_connect(side);
    for (uint64_t n = 0; mca_btl_vmshm_component.arena.count < 2; ++n) {
        send_one(side, n, &seed);
    }
    side_meet(side);
    side_meet(side);
    _exit(0);                           /* nobody takes the messages */
}

static int cannot_follow(struct side *side)
{
    start(side);
    side_connect(side);
    side_meet(side);
    nothing_can_be_mapped = true;
    for (int i = 0; i < 1000000 && 0 == side_losses; ++i) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(1 == side_losses && MCA_BTL_VMSHM_FATE_UNMAPPED == mca_btl_vmshm_fate(side->peer));
    REQUIRE(NULL != strstr(mca_btl_vmshm_component.unmapped.detail, "vm.max_map_count"));
    for (int i = 0; i < 1000; ++i) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(1 == side_losses && NULL == side->peer->in);
    nothing_can_be_mapped = false;
    side_meet(side);
    side_stop();
    return 0;
}

static void test_own_limit(void **state)
{
    const struct side small = { .window_size = 256 * 1024, .max_windows = 4 };

    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, cannot_follow, outgrow, &small));
}

/* Nor is it one of a peer that is heard before it is known: its messages would wait for ever. */
static int cannot_hear(struct side *side)
{
    start(side);
    nothing_can_be_mapped = true;
    side_meet(side);
    for (int i = 0; i < 1000000 && 0 == side_losses; ++i) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(1 == side_losses && 0 == arrived);
    nothing_can_be_mapped = false;
    side_meet(side);
    side_stop();
    return 0;
}

static int be_heard(struct side *side)
{
    const struct vmshm_segment *s = &mca_btl_vmshm_component.member.segment;
    struct vmshm_address other = { .format = VMSHM_FORMAT_VERSION, .vm = 1 - side->vm };
    uint32_t seed = side->vm + 1;
    struct vmshm_error e;
    struct vmshm_proc proc;

    start(side);
    side_meet(side);
    memcpy(other.segment_uuid, s->header.segment_uuid, sizeof other.segment_uuid);
    REQUIRE(vmshm_peer_read(&mca_btl_vmshm_component.member, other.vm, 0, &proc));
    other.epoch = vmshm_section_of(s, other.vm)->epoch;
    other.nonce = proc.nonce;
    other.generation = proc.generation;
    side->peer = mca_btl_vmshm_endpoint_get(&other, &e);
    REQUIRE(NULL != side->peer);
    send_one(side, 0, &seed);
    side_meet(side);
    _exit(0);
}

static void test_own_limit_before_known(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, cannot_hear, be_heard, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_exchange, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_nested, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_flood, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_flood_bounded, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_growth, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_heard_before_known, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_payload_like_words, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_broken_peer, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_death, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_orderly_leave, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_left_with_windows_unseen, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_next_process_of_a_slot, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_section_full_for_a_while, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_no_ring_for_a_while, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_own_limit, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_own_limit_before_known, unit_setup, unit_teardown),
    };

    return cmocka_run_group_tests_name("rings", tests, NULL, NULL);
}
