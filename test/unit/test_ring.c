/*
 * The transport's rings, between two processes that pretend to be in two VMs: the component's own
 * code, driven without MPI. Each test forks a fresh pair, because the component is one per process.
 */
#include "opal_config.h"

#include "unit.h"

#include "btl_vmshm_frag.h"
#include "btl_vmshm_ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "opal/runtime/opal.h"
#include "opal/util/show_help.h"

#define TAG        MCA_BTL_TAG_USR
#define MAX_BYTES  (32u * 1024)
#define REQUIRE(c) do { if (!(c)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #c); \
                                    exit(1); } } while (0)

struct side {
    const char *dir;
    uint32_t vm;
    int other;              /* socket to the other side */
    size_t window_size;
    unsigned int max_windows;
    uint8_t job[16];
    mca_btl_vmshm_endpoint_t *peer;
};

/* What has come and gone in this process. */
static uint64_t arrived, completed, losses;
static uint32_t arrivals_seed;

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Sizes around every threshold: nothing, inline, eager cells, large cells. */
static size_t size_of_message(uint32_t *seed)
{
    static const size_t edges[] = { 8, 55, 56, 57, 4095, 4096, 4097, MAX_BYTES - 1, MAX_BYTES };
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

static void on_message(mca_btl_base_module_t *btl, mca_btl_base_tag_t tag,
                       mca_btl_base_descriptor_t *des, void *context)
{
    const uint8_t *bytes = des->des_segments->seg_addr.pval;
    const size_t expected = size_of_message(&arrivals_seed);
    uint64_t number;

    (void) btl;
    (void) context;
    REQUIRE(TAG == tag && 1 == des->des_segment_count);
    REQUIRE(des->des_segments->seg_len == expected);
    memcpy(&number, bytes, sizeof number);
    REQUIRE(number == arrived);
    for (size_t i = sizeof number; i < expected; ++i) {
        REQUIRE((uint8_t) (number * 31 + i * 7) == bytes[i]);
    }
    ++arrived;
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

static void on_error(struct mca_btl_base_module_t *btl, int32_t flags, struct opal_proc_t *proc,
                     char *text)
{
    (void) btl;
    (void) proc;
    (void) text;
    REQUIRE(flags & MCA_BTL_ERROR_FLAGS_FATAL);
    ++losses;
}

static void start(struct side *side)
{
    mca_btl_vmshm_component_t *c = &mca_btl_vmshm_component;
    struct vmshm_join_options o = {
        .segment = unit_path(side->dir, "segment"), .lock_dir = side->dir,
        .vm_id = (int) side->vm, .name = side->vm,
    };
    struct vmshm_error e;

    REQUIRE(OPAL_SUCCESS == opal_init_util(NULL, NULL));
    (void) opal_show_help_add_dir(UNIT_HELP_DIR);
    REQUIRE(OPAL_SUCCESS == c->super.btl_version.mca_register_component_params());
    if (0 != side->window_size) {
        c->window_size = side->window_size;
        c->max_windows = side->max_windows;
    }
    REQUIRE(OPAL_SUCCESS == c->super.btl_version.mca_open_component());
    memcpy(o.job, side->job, sizeof o.job);
    if (VMSHM_OK != vmshm_join(&o, &c->member, &e)) {
        fprintf(stderr, "%s: %s: %s\n", e.file, e.field, e.detail);
        exit(1);
    }
    REQUIRE(OPAL_SUCCESS == mca_btl_vmshm_module_start());
    mca_btl_base_active_message_trigger[TAG].cbfunc = on_message;
    mca_btl_vmshm.super.btl_register_error(&mca_btl_vmshm.super, on_error);
    arrivals_seed = 1 - side->vm + 1;
}

static void stop(void)
{
    mca_btl_vmshm.super.btl_finalize(&mca_btl_vmshm.super);
}

static void tell(const struct side *side, const void *data, size_t bytes)
{
    REQUIRE((ssize_t) bytes == write(side->other, data, bytes));
}

static void hear(const struct side *side, void *data, size_t bytes)
{
    REQUIRE((ssize_t) bytes == recv(side->other, data, bytes, MSG_WAITALL));
}

/* Wait until the other side is here, too. */
static void meet(const struct side *side)
{
    char c = 'm';

    tell(side, &c, 1);
    hear(side, &c, 1);
}

/* As add_procs does. */
static void connect_peer(struct side *side)
{
    struct vmshm_address own, other;
    struct vmshm_error e;

    vmshm_member_address(&mca_btl_vmshm_component.member, &own);
    tell(side, &own, sizeof own);
    hear(side, &other, sizeof other);
    side->peer = mca_btl_vmshm_endpoint_get(&other, &e);
    if (NULL == side->peer) {
        fprintf(stderr, "%s: %s\n", e.field, e.detail);
        exit(1);
    }
    mca_btl_vmshm_key_add(other.job);
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
    rc = mca_btl_vmshm_send(&mca_btl_vmshm.super, side->peer, des, TAG);
    REQUIRE(OPAL_SUCCESS == rc || (1 == rc && 0 == number % 2));
    completed += 1 == rc;
}

/* Run both sides in processes of their own; 0 if both end well. */
static int run_pair(const char *dir, int (*a)(struct side *), int (*b)(struct side *),
                    const struct side *options)
{
    int (*run[2])(struct side *) = { a, b };
    int sockets[2], result = 0;
    pid_t pid[2];

    assert_int_equal(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
    for (uint32_t vm = 0; vm < 2; ++vm) {
        pid[vm] = fork();
        if (0 == pid[vm]) {
            struct side side = NULL == options ? (struct side) { 0 } : *options;

            alarm(60);
            close(sockets[1 - vm]);
            side.dir = dir;
            side.vm = vm;
            side.other = sockets[vm];
            exit(run[vm](&side));
        }
    }
    close(sockets[0]);
    close(sockets[1]);
    for (int vm = 0; vm < 2; ++vm) {
        result |= unit_wait(pid[vm]);
    }
    return result;
}

/* --- both send and receive at once: order, content, one completion each, the ring grows */

#define MANY 20000u

static int exchange(struct side *side)
{
    uint32_t seed = side->vm + 1;

    start(side);
    connect_peer(side);
    for (uint64_t n = 0; n < MANY; ++n) {
        send_one(side, n, &seed);
        mca_btl_vmshm_component_progress();
    }
    while (arrived < MANY || completed < MANY) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(MANY == arrived && MANY == completed);
    REQUIRE(opal_list_is_empty(&side->peer->pending) && 0 == side->peer->callbacks);
    meet(side);
    stop();
    return 0;
}

static void test_exchange(void **state)
{
    unit_segment(unit_path(*state, "segment"), 64 * UNIT_MIB, 0);
    assert_int_equal(0, run_pair(*state, exchange, exchange, NULL));
}

/* --- nobody receives for a while: nothing is refused, nothing is lost, memory is not exceeded */

static int flood(struct side *side)
{
    uint32_t seed = side->vm + 1;

    start(side);
    connect_peer(side);
    for (uint64_t n = 0; n < 3000; ++n) {
        send_one(side, n, &seed);
    }
    REQUIRE(!opal_list_is_empty(&side->peer->pending));
    REQUIRE(mca_btl_vmshm_component.arena.count <= side->max_windows);
    meet(side);
    while (completed < 3000) {
        mca_btl_vmshm_component_progress();
    }
    meet(side);
    stop();
    return 0;
}

static int drain(struct side *side)
{
    start(side);
    connect_peer(side);
    meet(side);
    while (arrived < 3000) {
        mca_btl_vmshm_component_progress();
    }
    meet(side);
    stop();
    return 0;
}

static void test_flood(void **state)
{
    const struct side small = { .window_size = 256 * 1024, .max_windows = 2 };

    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, run_pair(*state, flood, drain, &small));
}

/* --- the ring grows to its limit, and its old memory is taken back */

static int grow(struct side *side)
{
    uint32_t seed = side->vm + 1;
    uint64_t n = 0;

    start(side);
    connect_peer(side);
    meet(side);
    while (side->peer->out_slots < mca_btl_vmshm_component.ring_slots_max) {
        REQUIRE(n < 100000);
        send_one(side, n++, &seed);
        mca_btl_vmshm_component_progress();
    }
    tell(side, &n, sizeof n);
    while (completed < n) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(0 == side->peer->old_offset);
    meet(side);
    stop();
    return 0;
}

static int follow(struct side *side)
{
    uint64_t n;

    start(side);
    connect_peer(side);
    meet(side);
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
    meet(side);
    stop();
    return 0;
}

static void test_growth(void **state)
{
    unit_segment(unit_path(*state, "segment"), 64 * UNIT_MIB, 0);
    assert_int_equal(0, run_pair(*state, grow, follow, NULL));
}

/* --- a peer that was never added is heard, if it holds the job's key, and not before */

static int speak(struct side *side)
{
    uint32_t seed = side->vm + 1;

    side->job[0] = 7;
    start(side);
    connect_peer(side);
    for (uint64_t n = 0; n < 10; ++n) {
        send_one(side, n, &seed);
    }
    meet(side);
    meet(side);
    stop();
    return 0;
}

static int listen_late(struct side *side)
{
    struct vmshm_address own, other;

    start(side);
    vmshm_member_address(&mca_btl_vmshm_component.member, &own);
    tell(side, &own, sizeof own);
    hear(side, &other, sizeof other);
    meet(side);
    for (int i = 0; i < 1000; ++i) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(0 == arrived);          /* another job's key */
    mca_btl_vmshm_key_add(other.job);
    while (arrived < 10) {
        mca_btl_vmshm_component_progress();
    }
    meet(side);
    stop();
    return 0;
}

static void test_heard_before_known(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, run_pair(*state, listen_late, speak, NULL));
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
    mca_btl_base_active_message_trigger[TAG].cbfunc = on_words;
    connect_peer(side);
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
                                                      VMSHM_SLOT_INLINE, TAG);
                memcpy(message + VMSHM_SLOT_BYTES * line - 12, &word, sizeof word);
            }
            memcpy(message, &n, sizeof n);
            if (bytes > 8) {
                message[bytes - 1] = (uint8_t) n;
            }
            if (OPAL_SUCCESS == mca_btl_vmshm_sendi(&mca_btl_vmshm.super, side->peer, NULL, message,
                                                    bytes, 0, MCA_BTL_NO_ORDER, 0, TAG, NULL)) {
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
    meet(side);
    stop();
    return 0;
}

static void test_payload_like_words(void **state)
{
    unit_segment(unit_path(*state, "segment"), 64 * UNIT_MIB, 0);
    assert_int_equal(0, run_pair(*state, mimic, mimic, NULL));
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
    connect_peer(side);
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
    meet(side);
    meet(side);
    stop();
    return 0;
}

static int victim(struct side *side)
{
    uint32_t seed = side->vm + 1;

    start(side);
    connect_peer(side);
    if (forged_head) {
        send_one(side, 1, &seed);       /* one that asks for the peer's head */
    }
    meet(side);
    for (int i = 0; i < 100000 && 0 == losses; ++i) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(1 == losses);
    REQUIRE(MCA_BTL_VMSHM_FATE_BROKEN == side->peer->fate);
    REQUIRE(0 == arrived);
    for (int i = 0; i < 1000; ++i) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(1 == losses && NULL == side->peer->in);
    meet(side);
    stop();
    return 0;
}

static void broken(void **state, uint64_t word, uint64_t offset, uint64_t length)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    forged_word = word;
    forged_ref = (struct vmshm_cell_ref) { offset, length };
    assert_int_equal(0, run_pair(*state, victim, forger, NULL));
    unlink(unit_path(*state, "segment"));
}

static void test_broken_peer(void **state)
{
    const uint64_t cell = VMSHM_SLOT_WORD(0, 12, 0, VMSHM_SLOT_CELL, TAG);

    broken(state, cell, 0, 64);                                         /* the header */
    broken(state, cell, UINT64_MAX - 8, 64);                            /* wraps around */
    broken(state, cell, VMSHM_HEADER_BYTES + 4096, UINT64_MAX);
    broken(state, cell, VMSHM_HEADER_BYTES + 20 * UNIT_MIB, 0);
    broken(state, cell, UINT64_C(1) << 40, 1);
    broken(state, VMSHM_SLOT_WORD(0, 12, VMSHM_INLINE_SLOTS * 32 - 11, VMSHM_SLOT_INLINE, TAG), 0, 0);
    broken(state, VMSHM_SLOT_WORD(0, 8, VMSHM_SHORT_BYTES + 1, VMSHM_SLOT_INLINE, TAG), 0, 0);
    broken(state, VMSHM_SLOT_WORD(0, 6, 8, VMSHM_SLOT_INLINE, TAG), 0, 0);      /* over the word */
    broken(state, VMSHM_SLOT_WORD(0, 10, 8, VMSHM_SLOT_INLINE, TAG), 0, 0);     /* over the ack */
    broken(state, VMSHM_SLOT_WORD(0, 12, 8, 7, TAG), 0, 0);             /* no such kind */
    broken(state, VMSHM_SLOT_WORD(0, 12, 8, 0, TAG), 0, 0);
    broken(state, VMSHM_SLOT_WORD(0, 12, 8, VMSHM_SLOT_INLINE, TAG + 1), 0, 0);
    broken(state, VMSHM_SLOT_WORD(0, 8, 8, VMSHM_SLOT_INLINE, TAG + 1), 0, 0);
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
    connect_peer(side);
    for (uint64_t n = 0; n < 10; ++n) {
        send_one(side, n, &seed);
    }
    meet(side);
    _exit(0);                       /* without leaving: the slot stays, the lock goes */
}

/* A sibling in the dead process's VM finds it; here the test itself plays the sibling. */
static int survive(struct side *side)
{
    start(side);
    connect_peer(side);
    meet(side);
    pid_t sibling = fork();
    if (0 == sibling) {
        struct vmshm_join_options o = {
            .segment = unit_path(side->dir, "segment"), .lock_dir = side->dir, .vm_id = 1,
        };
        struct vmshm_member m;
        struct vmshm_error e;

        usleep(200000);
        if (VMSHM_OK == vmshm_join(&o, &m, &e)) {
            vmshm_leave(&m);
        }
        _exit(0);
    }
    while (0 == losses) {
        mca_btl_vmshm_component_progress();
        usleep(1000);
    }
    REQUIRE(10 == arrived);         /* what it sent before it died is delivered */
    REQUIRE(MCA_BTL_VMSHM_FATE_DEAD == side->peer->fate);
    REQUIRE(0 == unit_wait(sibling));
    stop();
    return 0;
}

static void test_death(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, run_pair(*state, survive, die, NULL));
}

static int leave_early(struct side *side)
{
    uint32_t seed = side->vm + 1;

    start(side);
    connect_peer(side);
    for (uint64_t n = 0; n < 10; ++n) {
        send_one(side, n, &seed);
    }
    meet(side);
    stop();
    return 0;
}

static int see_it_leave(struct side *side)
{
    start(side);
    connect_peer(side);
    meet(side);
    while (MCA_BTL_VMSHM_FATE_ALIVE == side->peer->fate || !side->peer->attended) {
        mca_btl_vmshm_component_progress();
        usleep(1000);
    }
    REQUIRE(MCA_BTL_VMSHM_FATE_LEFT == side->peer->fate);
    REQUIRE(10 == arrived && 0 == losses);
    REQUIRE(0 == side->peer->control.length && 0 == side->peer->grown_count);
    stop();
    return 0;
}

static void test_orderly_leave(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, run_pair(*state, see_it_leave, leave_early, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_exchange, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_flood, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_growth, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_heard_before_known, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_payload_like_words, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_broken_peer, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_death, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_orderly_leave, unit_setup, unit_teardown),
    };

    return cmocka_run_group_tests_name("rings", tests, NULL, NULL);
}
