/* SPDX-License-Identifier: BSD-3-Clause */
/* Peers that die or leave. */
#include "opal_config.h"

#include "messages.h"

#include "btl_vmshm_frag.h"
#include "btl_vmshm_send.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* Join VM 1, look until its first process is found dead. */
static void find_it_dead(const struct side *side)
{
    const struct vmshm_join_options o = {
        .segment = unit_path(side->dir, "segment"), .lock_dir = side->dir, .vm_id = 1,
    };
    struct vmshm_member m;
    struct vmshm_error e;

    if (VMSHM_OK != vmshm_join(&o, &m, &e)) {
        _exit(1);
    }
    while (VMSHM_PROC_DEAD != vmshm_load_acquire(&vmshm_proc_of(&m.segment, 1, 0)->state)) {
        (void) vmshm_reap(&m);
        usleep(10000);
    }
    vmshm_leave(&m);
}

/* Who Open MPI has added. */
static const opal_proc_t known;

/* A sibling in the dead process's VM finds it; here the test itself plays the sibling. */
static int survive(struct side *side)
{
    /* While there is one thread: what a fork among several may do is little. */
    int go[2];
    REQUIRE(0 == pipe(go));
    pid_t sibling = fork();
    if (0 == sibling) {
        char c;

        alarm(60);
        close(go[1]);
        (void) !read(go[0], &c, 1);
        find_it_dead(side);
        _exit(0);
    }
    start(side);
    side_connect(side);
    if (side_unconnected) {
        side->peer->proc = (opal_proc_t *) &known;
    }
    side_meet(side);
    REQUIRE(1 == write(go[1], "g", 1));
    while (0 == side_losses && !side->peer->attended) {
        mca_btl_vmshm_component_progress();
        usleep(1000);
    }
    REQUIRE(side_losses == !side_unconnected);
    REQUIRE(!side_unconnected || 0 == side->peer->in.head_offset);     /* memory for it serves others */
    REQUIRE(10 == arrived);         /* what it sent before it died is delivered */
    REQUIRE(VMSHM_FATE_DEAD == vmshm_fate(side->peer->peer));
    REQUIRE(0 == unit_wait(sibling));
    side_stop();
    return 0;
}

static void test_death(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, survive, die, NULL));
}

static int survive_unconnected(struct side *side)
{
    side_unconnected = true;
    return survive(side);
}

static void test_death_of_an_unconnected_process(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, survive_unconnected, die, NULL));
}

/* Its silence is of no concern, and what it broke is told only when it is connected again. */
static int ignore_unconnected(struct side *side)
{
    side_unconnected = true;
    start(side);
    side_connect(side);
    side->peer->proc = (opal_proc_t *) &known;
    side_meet(side);
    vmshm_fate_set(side->peer->peer, VMSHM_FATE_SILENT);
    mca_btl_vmshm_alert();
    while (arrived < 10) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(mca_btl_vmshm_is_alive(side->peer) && 0 == side_losses);
    /* found broken while it counted as silent */
    vmshm_fate_set(side->peer->peer, VMSHM_FATE_SILENT);
    vmshm_peer_broken(side->peer->peer, "a field", "it is broken");
    while (!side->peer->attended) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(0 == side_losses && side->peer->untold);
    side_unconnected = false;
    while (0 == side_losses) {
        mca_btl_vmshm_component_progress();
        usleep(1000);
    }
    REQUIRE(NULL != strstr(side_loss, "it is broken"));
    for (int i = 0; i < 1500; ++i) {
        mca_btl_vmshm_component_progress();
        usleep(1000);
    }
    REQUIRE(1 == side_losses);
    side_meet(side);
    side_stop();
    return 0;
}

static int send_and_stay(struct side *side)
{
    uint32_t seed = side->vm + 1;

    start(side);
    side_connect(side);
    side_meet(side);
    for (uint64_t n = 0; n < 10; ++n) {
        send_one(side, n, &seed);
    }
    while (completed < 10) {
        mca_btl_vmshm_component_progress();
    }
    side_meet(side);
    side_stop();
    return 0;
}

static void test_unconnected_is_of_no_concern(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, ignore_unconnected, send_and_stay, NULL));
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
    while (VMSHM_FATE_ALIVE == vmshm_fate(side->peer->peer) || !side->peer->attended) {
        mca_btl_vmshm_component_progress();
        usleep(1000);
    }
    REQUIRE(VMSHM_FATE_LEFT == vmshm_fate(side->peer->peer));
    REQUIRE(10 == arrived && 0 == side_losses);
    REQUIRE(0 == side->peer->peer->control.length && 0 == side->peer->peer->grown_count);
    side_stop();
    return 0;
}

static void test_orderly_leave(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, see_it_leave, leave_early, NULL));
}

/* What was sent stays counted, however long the end takes: the monitor ticks meanwhile. */
static bool ends_slowly;

void __real_vmshm_detach(vmshm_tick_fn tick);
void __wrap_vmshm_detach(vmshm_tick_fn tick);

void __wrap_vmshm_detach(vmshm_tick_fn tick)
{
    usleep(ends_slowly ? 1200000 : 0);
    __real_vmshm_detach(tick);
}

static int send_and_end_slowly(struct side *side)
{
    uint32_t seed = side->vm + 1;
    uint64_t messages;

    start(side);
    side_connect(side);
    for (uint64_t n = 0; n < 10; ++n) {
        send_one(side, n, &seed);
    }
    messages = side->peer->out.messages;
    REQUIRE(10 == messages);
    side_meet(side);
    ends_slowly = true;
    side_stop();
    side_tell(side, &messages, sizeof messages);
    return 0;
}

static int see_what_was_counted(struct side *side)
{
    uint64_t messages;

    start(side);
    side_connect(side);
    side_meet(side);
    side_hear(side, &messages, sizeof messages);
    REQUIRE(messages == vmshm_section_of(&mca_btl_vmshm_member()->segment, 1 - side->vm)->messages);
    side_stop();
    return 0;
}

static void test_count_of_a_slow_end(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, send_and_end_slowly, see_what_was_counted, NULL));
}

/* A peer dies when it was proven, but has no endpoint yet: progress was alerted before there was anything to see. */
static bool dies_when_proven;

struct vmshm_peer *__real_vmshm_peer_get(struct vmshm_registry *registry, const struct vmshm_address *address,
                                         bool *reads, struct vmshm_error *e);
struct vmshm_peer *__wrap_vmshm_peer_get(struct vmshm_registry *registry, const struct vmshm_address *address,
                                         bool *reads, struct vmshm_error *e);

struct vmshm_peer *__wrap_vmshm_peer_get(struct vmshm_registry *registry, const struct vmshm_address *address,
                                         bool *reads, struct vmshm_error *e)
{
    struct vmshm_peer *peer = __real_vmshm_peer_get(registry, address, reads, e);

    if (dies_when_proven && NULL != peer) {
        vmshm_fate_set(peer, VMSHM_FATE_DEAD);
        vmshm_alert(registry->events);
        mca_btl_vmshm_component_progress();
    }
    return peer;
}

static int find_it_dead_at_once(struct side *side)
{
    start(side);
    dies_when_proven = true;
    side_connect(side);
    for (int i = 0; i < 1000 && 0 == side_losses; ++i) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(1 == side_losses && side->peer->attended);
    side_meet(side);
    side_stop();
    return 0;
}

static void test_death_before_the_endpoint(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, find_it_dead_at_once, stand_by, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_death, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_death_of_an_unconnected_process, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_unconnected_is_of_no_concern, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_orderly_leave, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_death_before_the_endpoint, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_count_of_a_slow_end, unit_setup, unit_teardown),
    };

    return cmocka_run_group_tests_name("life of peers", tests, NULL, NULL);
}
