/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What this process cannot map, and a segment that is lost: no fault of a peer's, but the end.
 */
#include "opal_config.h"

#include "messages.h"

#include "btl_vmshm_report.h"

#include "opal/util/show_help.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>


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
    for (uint64_t n = 0; mca_btl_vmshm_context.attached->arena.count < 2; ++n) {
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
    REQUIRE(1 == side_losses && VMSHM_FATE_UNMAPPED == vmshm_fate(side->peer->peer));
    REQUIRE(NULL != strstr(mca_btl_vmshm_context.attached->registry.unmapped.detail, "vm.max_map_count"));
    for (int i = 0; i < 1000; ++i) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(1 == side_losses && NULL == side->peer->in.ring);
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
    const struct vmshm_segment *s;
    struct vmshm_address other = { .format = VMSHM_FORMAT_VERSION, .vm = 1 - side->vm };
    uint32_t seed = side->vm + 1;
    struct vmshm_error e;
    struct vmshm_proc proc;

    start(side);
    s = &mca_btl_vmshm_member()->segment;
    side_meet(side);
    memcpy(other.segment_uuid, s->header.segment_uuid, sizeof other.segment_uuid);
    REQUIRE(vmshm_peer_read(mca_btl_vmshm_member(), other.vm, 0, &proc));
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

/* --- a call may find the segment lost before the monitor does: what is told is the loss */

static void mark_gone(const struct side *side)
{
    const struct vmshm_vm_mark mark = { .mark = VMSHM_MARK_GONE };
    const int fd = open(unit_path(side->dir, "segment"), O_WRONLY);
    const off_t at = (off_t) (VMSHM_MARK_OFFSET + side->vm * sizeof mark);

    REQUIRE(fd >= 0 && sizeof mark == pwrite(fd, &mark, sizeof mark, at));
    close(fd);
}

/* As with the kernel module, once the host has its memory back. */
static void find_nothing(struct side *side)
{
    struct vmshm_error e;

    start(side);
    side_connect(side);
    (void) vmshm_fail(&e, VMSHM_ERR_ABSENT, "segment", "window", "the segment is no more");
    vmshm_peer_unmapped(side->peer->peer->registry, side->peer->peer, &e);
    for (int i = 0; i < 1000; ++i) {
        mca_btl_vmshm_component_progress();
    }
    REQUIRE(0 == side_losses);
}

static void await_loss(const char *text)
{
    while (0 == side_losses) {
        mca_btl_vmshm_component_progress();
        usleep(1000);
    }
    REQUIRE(1 == side_losses && NULL != strstr(side_loss, text));
}

/* A program that locks all of its memory (mlockall), and may not lock more: what is mapped in place of what
 * it has counts as locked once more. */
static bool locked;

void *__real_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset);
int __wrap_munlockall(void);

void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset)
{
    if (locked) {
        errno = EAGAIN;
        return MAP_FAILED;
    }
    return __real_mmap(at, bytes, prot, flags, fd, offset);
}

int __wrap_munlockall(void)
{
    locked = false;
    return 0;
}

/* Nor is it a peer's fault if its proof fails for that, in add_procs. */
static char topic[64];

static int note_topic(const char *file, const char *name, int header, ...)
{
    (void) file;
    (void) header;
    snprintf(topic, sizeof topic, "%s", name);
    return OPAL_SUCCESS;
}

static void prove_too_late(const struct side *side)
{
    struct vmshm_address a = {
        .format = VMSHM_FORMAT_VERSION, .vm = side->peer->peer->vm, .slot = side->peer->peer->slot,
        .nonce = side->peer->peer->nonce + 1, .generation = side->peer->peer->generation, .epoch = side->peer->peer->epoch,
    };
    const opal_proc_t proc = { .proc_flags = 0 };
    struct vmshm_error e;

    memcpy(a.segment_uuid, mca_btl_vmshm_header()->segment_uuid, sizeof a.segment_uuid);
    REQUIRE(NULL == mca_btl_vmshm_endpoint_get(&a, &e));
    opal_show_help = note_topic;
    mca_btl_vmshm_unreachable(&proc, &e);
    REQUIRE(0 == strcmp("segment lost", topic));
}

static int lose(struct side *side)
{
    find_nothing(side);
    mark_gone(side);
    await_loss("lost the segment");
    prove_too_late(side);
    side_meet(side);
    side_stop();
    return 0;
}

/* It goes on with what it was at until it is told. */
static int lose_locked(struct side *side)
{
    uint32_t seed = side->vm + 1;

    start(side);
    side_connect(side);
    locked = true;
    mark_gone(side);
    for (uint64_t n = 0; 0 == side_losses; ++n) {
        if (n < MANY) {
            send_one(side, n, &seed);
        }
        mca_btl_vmshm_component_progress();
        usleep(1000);
    }
    REQUIRE(NULL != strstr(side_loss, "lost the segment"));
    side_meet(side);
    side_stop();
    return 0;
}

/* The job must not wait for ever if it was something else. */
static int lose_window(struct side *side)
{
    find_nothing(side);
    await_loss("cannot read a peer's memory");
    side_meet(side);
    side_stop();
    return 0;
}

static void test_loss_found_by_a_call(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, lose, stand_by, NULL));
    unlink(unit_path(*state, "segment"));
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, lose_window, stand_by, NULL));
}

static void test_loss_of_what_is_locked(void **state)
{
    unit_segment(unit_path(*state, "segment"), 16 * UNIT_MIB, 0);
    assert_int_equal(0, side_run_pair(*state, lose_locked, stand_by, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_own_limit, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_own_limit_before_known, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_loss_of_what_is_locked, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(test_loss_found_by_a_call, unit_setup, unit_teardown),
    };

    return cmocka_run_group_tests_name("lost memory", tests, NULL, NULL);
}
