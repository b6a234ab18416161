/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a process shares among its components, used as a component uses it, without Open MPI: attach, take memory,
 * find a peer, read what it wrote, see it die.
 */
#include "peer_process.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vmshm_fate.h"

static void pause_ms(long ms)
{
    const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

    nanosleep(&t, NULL);
}

static int ticks_a, ticks_b;

static void tick_a(void)
{
    (void) vmshm_fetch_add(&ticks_a, 1);
}

static void tick_b(void)
{
    (void) vmshm_fetch_add(&ticks_b, 1);
}

static struct vmshm_peer *find(struct vmshm_attached *a, const struct peer_process *p)
{
    struct vmshm_error e;
    bool reads;
    struct vmshm_peer *peer = vmshm_peer_get(&a->registry, &p->address, &reads, &e);

    if (NULL == peer) {
        fail_msg("%s: %s: %s", e.file, e.field, e.detail);
    }
    assert_true(reads);
    return peer;
}

static void drop(struct vmshm_peer *peer)
{
    vmshm_peer_read_end(peer);
    vmshm_peer_put(peer);
}

static uint32_t alerts_of(const struct vmshm_attached *a)
{
    return vmshm_load_acquire(&a->events.alerts);
}

/* Until the monitor has found it out, and has alerted after `before`. */
static void await_fate(const struct vmshm_attached *a, const struct vmshm_peer *peer, int32_t fate, uint32_t before)
{
    for (int i = 0; (vmshm_is_alive(peer) || before == alerts_of(a)) && i < 1000; ++i) {
        pause_ms(10);
    }
    assert_int_equal(fate, vmshm_fate(peer));
    assert_true(before != alerts_of(a));
}

static void test_find_a_peer_and_see_it_die(void **state)
{
    struct vmshm_attached *a = attach(*state, 0, NULL);
    struct peer_process p;
    struct vmshm_peer *peer;
    uint32_t before;
    const uint64_t *word;

    peer_start(&p, *state);
    peer = find(a, &p);
    assert_true(vmshm_is_alive(peer) && 1 == peer->vm && p.address.slot == peer->slot);
    word = vmshm_peer_memory(peer, p.place, sizeof *word);
    assert_non_null(word);
    assert_true(WORD == *word);
    /* of a window that it grew by */
    word = vmshm_peer_memory(peer, p.far_place, sizeof *word);
    assert_non_null(word);
    assert_true(~WORD == *word);
    /* not the peer's: this process's own memory, the peer's tables, beyond its windows */
    assert_null(vmshm_peer_memory(peer, a->arena.windows[0].offset, 8));
    assert_null(vmshm_peer_memory(peer, a->member.segment.sections[1].offset, 8));
    assert_null(vmshm_peer_memory(peer, p.place, UINT64_MAX));
    assert_null(vmshm_peer_control(peer, peer->control.length, 8));
    assert_true(vmshm_is_alive(peer));

    before = alerts_of(a);
    peer_kill(&p);
    peer_reap(*state);
    await_fate(a, peer, VMSHM_FATE_DEAD, before);
    vmshm_peer_read_end(peer);
    assert_null(vmshm_peer_memory(peer, p.place, sizeof *word));
    vmshm_peer_put(peer);
    vmshm_detach(NULL);
}

static void test_see_it_leave_and_break(void **state)
{
    struct vmshm_attached *a = attach(*state, 0, NULL);
    struct peer_process p;
    struct vmshm_peer *peer;
    uint32_t before;

    peer_start(&p, *state);
    peer = find(a, &p);
    before = alerts_of(a);
    assert_int_equal(1, write(p.sockets[0], "l", 1));
    peer_end(&p, 0);
    await_fate(a, peer, VMSHM_FATE_LEFT, before);
    drop(peer);

    peer_start(&p, *state);
    peer = find(a, &p);
    before = alerts_of(a);
    assert_int_equal(1, write(p.sockets[0], "b", 1));
    await_fate(a, peer, VMSHM_FATE_BROKEN, before);
    assert_string_equal("process", peer->broken_field);
    assert_true(vmshm_is_unreadable(peer));
    drop(peer);
    peer_kill(&p);
    vmshm_detach(NULL);
}

/* The first component joins, the last one leaves. */
static void test_one_membership(void **state)
{
    const struct vmshm_attach_options o = attach_options(*state, 0);
    struct vmshm_attached *a = attach(*state, 0, tick_a), *b = attach(*state, 0, tick_b);
    struct vmshm_member sibling;
    uint64_t first, second;
    struct vmshm_error e;
    uint32_t slot;
    int before;

    assert_ptr_equal(a, b);
    assert_int_equal(VMSHM_OK, vmshm_join(&o.join, &sibling, &e));
    first = vmshm_arena_take(&a->arena, 100, false);
    second = vmshm_arena_take(&b->arena, 100, false);
    assert_true(0 != first && 0 != second && 0 == first % VMSHM_LINE_BYTES && second - first >= 128);
    pause_ms(1200);
    assert_true(vmshm_load_relaxed(&ticks_a) > 0);

    vmshm_detach(tick_a);
    before = vmshm_load_relaxed(&ticks_a);
    slot = b->member.slot;
    assert_int_equal(VMSHM_PROC_LIVE, vmshm_proc_of(&sibling.segment, 0, slot)->state);
    memset(vmshm_at(&b->member, second), 0x5a, 100);
    pause_ms(1200);
    assert_int_equal(before, vmshm_load_relaxed(&ticks_a));
    assert_true(vmshm_load_relaxed(&ticks_b) > before);

    vmshm_detach(tick_b);
    assert_int_equal(VMSHM_PROC_LEFT, vmshm_proc_of(&sibling.segment, 0, slot)->state);
    vmshm_leave(&sibling);
    (void) attach(*state, 0, NULL);     /* and again */
    vmshm_detach(NULL);
}

/* The tick may come as soon as it is known, here before that call returns: what is attached is set by then. */
static struct vmshm_attached *attached_now;
static bool slowly;
static int ticks_of_nothing;

static void tick_now(void)
{
    if (NULL == vmshm_load_acquire(&attached_now)) {
        (void) vmshm_fetch_add(&ticks_of_nothing, 1);
    }
}

bool __real_vmshm_events_add(struct vmshm_events *events, vmshm_tick_fn tick);
bool __wrap_vmshm_events_add(struct vmshm_events *events, vmshm_tick_fn tick);

bool __wrap_vmshm_events_add(struct vmshm_events *events, vmshm_tick_fn tick)
{
    const bool added = __real_vmshm_events_add(events, tick);

    pause_ms(slowly ? 1200 : 0);
    return added;
}

static void test_tick_while_attaching(void **state)
{
    const struct vmshm_attach_options o = attach_options(*state, 0);
    struct vmshm_error e;

    slowly = true;
    assert_int_equal(VMSHM_OK, vmshm_attach(&o, tick_now, &attached_now, &e));
    slowly = false;
    vmshm_detach(tick_now);
    assert_int_equal(0, ticks_of_nothing);
}

/* Two components know one peer: while it lives its windows stay, also for one that comes later; when it has ended,
 * until neither reads. */
static void test_shared_peer(void **state)
{
    struct vmshm_attached *a = attach(*state, 0, tick_a);
    struct peer_process p;
    struct vmshm_peer *peer;
    uint32_t before;
    struct vmshm_error e;
    bool reads;

    (void) attach(*state, 0, tick_b);
    peer_start(&p, *state);
    peer = find(a, &p);
    assert_ptr_equal(peer, find(a, &p));
    drop(peer);
    vmshm_detach(tick_a);
    assert_true(WORD == *(const uint64_t *) vmshm_peer_memory(peer, p.place, 8));
    vmshm_peer_read_end(peer);
    assert_ptr_equal(peer, find(a, &p));
    assert_true(WORD == *(const uint64_t *) vmshm_peer_memory(peer, p.place, 8));
    before = alerts_of(a);
    peer_kill(&p);
    peer_reap(*state);
    await_fate(a, peer, VMSHM_FATE_DEAD, before);
    assert_true(WORD == *(const uint64_t *) vmshm_peer_memory(peer, p.place, 8));
    drop(peer);
    assert_null(vmshm_peer_memory(peer, p.place, 8));
    assert_ptr_equal(peer, vmshm_peer_get(&a->registry, &p.address, &reads, &e));
    assert_false(reads);
    vmshm_peer_put(peer);
    vmshm_peer_put(peer);
    vmshm_detach(tick_b);
}

/* Nobody reads from a peer when it dies: the monitor unmaps its windows. */
static void test_death_of_an_unread_peer(void **state)
{
    struct vmshm_attached *a = attach(*state, 0, NULL);
    struct peer_process p;
    struct vmshm_peer *peer;

    peer_start(&p, *state);
    peer = find(a, &p);
    vmshm_peer_read_end(peer);
    peer_kill(&p);
    peer_reap(*state);
    for (int i = 0; vmshm_peer_is_read(peer) && i < 1000; ++i) {
        pause_ms(10);
    }
    assert_false(vmshm_peer_is_read(peer));
    vmshm_peer_put(peer);
    vmshm_detach(NULL);
}

/* The next process of a slot is another peer, and the one before it is no more, whatever was known of it. */
static void test_next_of_a_slot(void **state)
{
    struct vmshm_attached *a = attach(*state, 0, NULL);
    struct vmshm_peer *before, *peer = NULL;
    struct peer_process p;
    struct vmshm_error e;
    bool reads;

    peer_start(&p, *state);
    before = find(a, &p);
    vmshm_fate_set(before, VMSHM_FATE_SILENT);
    peer_kill(&p);
    for (int i = 0; i < 16 && (NULL == peer || peer->slot != before->slot); ++i) {
        if (NULL != peer) {
            drop(peer);
            peer_kill(&p);
        }
        peer_start(&p, *state);
        peer = find(a, &p);
    }
    assert_true(peer != before && peer->slot == before->slot);
    assert_true(!vmshm_peer_forgive(before) && VMSHM_FATE_SILENT == vmshm_fate(before));
    vmshm_peer_read_end(before);
    assert_false(vmshm_peer_is_read(before));
    vmshm_fate_set(peer, VMSHM_FATE_SILENT);
    assert_true(vmshm_peer_forgive(peer) && vmshm_is_alive(peer));
    vmshm_fate_set(peer, VMSHM_FATE_NO_MEMORY);
    assert_true(vmshm_peer_forgive(peer) && VMSHM_FATE_NO_MEMORY == vmshm_fate(peer));
    vmshm_peer_put(before);
    drop(peer);

    p.address.generation += 1;
    assert_null(vmshm_peer_get(&a->registry, &p.address, &reads, &e));
    assert_int_equal(VMSHM_ERR_PEER, e.code);
    p.address.slot = UINT32_MAX;
    assert_null(vmshm_peer_get(&a->registry, &p.address, &reads, &e));
    assert_int_equal(VMSHM_ERR_PEER, e.code);
    peer_kill(&p);
    vmshm_detach(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_find_a_peer_and_see_it_die, unit_setup_segment, unit_teardown),
        cmocka_unit_test_setup_teardown(test_see_it_leave_and_break, unit_setup_segment, unit_teardown),
        cmocka_unit_test_setup_teardown(test_one_membership, unit_setup_segment, unit_teardown),
        cmocka_unit_test_setup_teardown(test_tick_while_attaching, unit_setup_segment, unit_teardown),
        cmocka_unit_test_setup_teardown(test_shared_peer, unit_setup_segment, unit_teardown),
        cmocka_unit_test_setup_teardown(test_death_of_an_unread_peer, unit_setup_segment, unit_teardown),
        cmocka_unit_test_setup_teardown(test_next_of_a_slot, unit_setup_segment, unit_teardown),
    };

    return cmocka_run_group_tests_name("attached", tests, NULL, NULL);
}
