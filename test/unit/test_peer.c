/* SPDX-License-Identifier: BSD-3-Clause */
/* The proof that a peer shares memory with us. */
#include "pair.h"

#include <stdio.h>
#include <string.h>

/* Processes of two users do not talk: both sides find the same. */
static void peer_of_another_user(void **state)
{
    struct pair *p = *state;
    struct vmshm_address mine;
    struct vmshm_error e = { 0 };
    struct vmshm_window w;
    uint32_t index;

    their_proc(p)->uid += 1;
    p->peer.uid += 1;
    assert_int_equal(vmshm_peer_prove(&p->me, &p->address, &index, &w, &e), VMSHM_ERR_USER);
    assert_string_equal(e.field, "uid");
    assert_no_reader_bits(p);
    unit_publish(&p->me);
    vmshm_member_address(&p->me, &mine);
    assert_int_equal(vmshm_peer_prove(&p->peer, &mine, &index, &w, &e), VMSHM_ERR_USER);
}

static void refused(struct pair *p, const char *field)
{
    struct vmshm_error e = { 0 };
    struct vmshm_window w;
    uint32_t index;

    assert_int_equal(vmshm_peer_prove(&p->me, &p->address, &index, &w, &e), VMSHM_ERR_PEER);
    assert_string_equal(e.field, field);
    /* A refused peer must not keep its memory in quarantine. */
    assert_no_reader_bits(p);
}

static void accepted(struct pair *p)
{
    struct vmshm_error e = { 0 };
    struct vmshm_window w;
    uint32_t index;

    if (VMSHM_OK != vmshm_peer_prove(&p->me, &p->address, &index, &w, &e)) {
        fail_msg("%s: %s", e.field, e.detail);
    }
    assert_int_equal(index, p->window);
    assert_memory_equal(&w, their_window(p), sizeof w);
    vmshm_reader_leave(&p->me, 1, index);
    assert_no_reader_bits(p);
}

static void address_is_complete(void **state)
{
    struct pair *p = *state;

    assert_memory_equal(p->address.segment_uuid, p->me.segment.header.segment_uuid, 16);
    assert_int_equal(p->address.format, VMSHM_FORMAT_VERSION);
    assert_int_equal(p->address.vm, 1);
    assert_true(p->address.epoch == p->peer.id.epoch);
    assert_true(p->address.nonce == p->peer.nonce && 0 != p->address.nonce);
    assert_int_equal(p->address.slot, p->peer.slot);
    assert_int_equal(p->address.generation, 1);
    assert_memory_equal(p->address.job, p->peer.job, 16);
}

static void right(void **state)
{
    struct pair *p = *state;

    accepted(p);
    /* While it is proven, the reader's bit keeps the window. */
    {
        struct vmshm_error e;
        struct vmshm_window w;
        uint32_t index;

        assert_int_equal(vmshm_peer_prove(&p->me, &p->address, &index, &w, &e), VMSHM_OK);
        vmshm_window_release(&p->peer, index);
        assert_int_equal(their_window(p)->state, VMSHM_WINDOW_QUARANTINE);
        vmshm_reader_leave(&p->me, 1, index);
    }
}

static void wrong_uuid(void **state)
{
    struct pair *p = *state;

    for (int i = 0; i < 16; ++i) {
        p->address.segment_uuid[i] ^= 0x80;
        refused(p, "segment_uuid");
        p->address.segment_uuid[i] ^= 0x80;
    }
    accepted(p);
}

static void wrong_format(void **state)
{
    struct pair *p = *state;

    p->address.format += 1;
    refused(p, "version");
}

static void wrong_vm(void **state)
{
    struct pair *p = *state;

    p->address.vm = 2;
    refused(p, "vm");
    p->address.vm = UINT32_MAX;
    refused(p, "vm");
    /* Our own section is no proof of theirs. */
    p->address.vm = 0;
    refused(p, "process");
}

static void wrong_slot(void **state)
{
    struct pair *p = *state;

    p->address.slot = 1;
    refused(p, "process");
    p->address.slot = 8;
    refused(p, "vm");
    p->address.slot = UINT32_MAX;
    refused(p, "vm");
}

static void wrong_epoch(void **state)
{
    struct pair *p = *state;

    p->address.epoch ^= 1;
    refused(p, "process");
}

static void wrong_generation(void **state)
{
    struct pair *p = *state;

    p->address.generation += 1;
    refused(p, "process");
    p->address.generation = 0;
    refused(p, "process");
}

static void wrong_nonce(void **state)
{
    struct pair *p = *state;

    p->address.nonce ^= UINT64_C(1) << 63;
    refused(p, "nonce");
    p->address.nonce = 0;
    refused(p, "nonce");
}

static void nonce_not_in_window(void **state)
{
    struct pair *p = *state;

    their_header(p)->nonce = 0;
    refused(p, "nonce");
    their_header(p)->nonce = p->peer.nonce;
    their_header(p)->magic = 0;
    refused(p, "nonce");
    their_header(p)->magic = VMSHM_WINDOW_MAGIC;
    accepted(p);
}

static void not_live(void **state)
{
    static const uint32_t states[] = {
        VMSHM_PROC_FREE, VMSHM_PROC_LEFT, VMSHM_PROC_DEAD, 4, UINT32_MAX
    };
    struct pair *p = *state;

    for (int i = 0; i < 5; ++i) {
        their_proc(p)->state = states[i];
        refused(p, "process");
    }
    their_proc(p)->state = VMSHM_PROC_LIVE;
    accepted(p);
}

static void left_in_order(void **state)
{
    struct pair *p = *state;
    struct vmshm_member copy = p->peer;

    vmshm_leave(&copy);
    refused(p, "process");
    /* Same slot, another process. */
    unit_join_slot(p->dir, 1, "theirs", p->address.slot, &p->peer);
    unit_publish(&p->peer);
    refused(p, "process");
}

static void no_control_window(void **state)
{
    struct pair *p = *state;

    their_proc(p)->window = VMSHM_NO_WINDOW;
    refused(p, "window");
    their_proc(p)->window = 64;
    refused(p, "window");
    their_proc(p)->window = UINT32_MAX - 1;
    refused(p, "window");
    their_proc(p)->window = 5;          /* an empty entry */
    refused(p, "window");
}

static void window_of_another_process(void **state)
{
    struct pair *p = *state;

    their_window(p)->proc = 3;
    refused(p, "window");
}

static void window_states(void **state)
{
    struct pair *p = *state;

    their_window(p)->state = VMSHM_WINDOW_QUARANTINE;
    refused(p, "window");
    their_window(p)->state = VMSHM_WINDOW_EMPTY;
    refused(p, "window");
    their_window(p)->state = 77;
    refused(p, "window");
    their_window(p)->state = VMSHM_WINDOW_LIVE;
    accepted(p);
}

/* Ranges that a hostile peer would like us to map or read. */
static void window_out_of_section(void **state)
{
    struct pair *p = *state;
    const struct vmshm_section_entry *s = &p->me.segment.sections[1];
    const uint64_t right_offset = their_window(p)->offset;
    const uint64_t heap = s->offset + vmshm_heap_offset(&p->me.segment.header);
    const struct { uint64_t offset, length; } bad[] = {
        { 0, GRANULE },                                 /* the header */
        { p->me.segment.sections[0].offset, GRANULE },  /* our own section */
        { s->offset, GRANULE },                         /* its tables */
        { heap - GRANULE, 2 * GRANULE },
        { heap + 4096, GRANULE },                       /* not on a granule */
        { heap + 1, GRANULE },
        { heap, s->length },
        { s->offset + s->length - GRANULE, 2 * GRANULE },
        { s->offset + s->length, GRANULE },
        { p->me.segment.total_bytes, GRANULE },
        { heap, UINT64_MAX },
        { heap, UINT64_MAX - heap + 1 },                /* offset + length wraps to 0 */
        { heap, UINT64_MAX - heap + 1 + GRANULE },
        { UINT64_MAX - GRANULE + 1, GRANULE },
        { UINT64_MAX - GRANULE + 1, 2 * GRANULE },
        { UINT64_MAX, UINT64_MAX },
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
        their_window(p)->offset = bad[i].offset;
        their_window(p)->length = bad[i].length;
        refused(p, "window");
    }
    their_window(p)->offset = right_offset;
    their_window(p)->length = GRANULE;
    accepted(p);
}

static void window_too_small_for_control(void **state)
{
    struct pair *p = *state;

    /* Inside the heap, but the tables of rings and heads would not fit, nor can it be a window. */
    their_window(p)->length = vmshm_control_bytes(&p->me.segment.header) - 1;
    refused(p, "window");
    their_window(p)->length = 0;
    refused(p, "window");
}

/* A VM attached to a copy of the file (or a restored snapshot): a process that joined after the
 * copy was made is not in it. */
static void copy_of_the_segment(void **state)
{
    struct pair *p = *state;
    char other[80];
    struct vmshm_member late, stranger;
    struct vmshm_address address;
    struct vmshm_error e = { 0 };
    struct vmshm_window w;
    uint32_t index;

    snprintf(other, sizeof other, "%s/copy", p->dir);
    unit_mkdirs(other);
    unit_copy_file(unit_path(p->dir, "segment"), unit_path(other, "segment"));
    unit_join(p->dir, 1, "theirs", &late);
    unit_publish(&late);
    vmshm_member_address(&late, &address);
    unit_join(other, 0, "elsewhere", &stranger);

    assert_int_equal(vmshm_peer_prove(&p->me, &address, &index, &w, &e), VMSHM_OK);
    assert_int_equal(vmshm_peer_prove(&stranger, &address, &index, &w, &e), VMSHM_ERR_PEER);
    assert_string_equal(e.field, "process");

    /* In the other direction: a process in the copy is not found in the original. */
    unit_publish(&stranger);
    vmshm_member_address(&stranger, &address);
    assert_int_equal(vmshm_peer_prove(&p->peer, &address, &index, &w, &e), VMSHM_ERR_PEER);

    vmshm_leave(&stranger);
    vmshm_leave(&late);
}

/* The same slot and generation in the copy: only the nonce tells. */
static void copy_with_a_twin_process(void **state)
{
    struct pair *p = *state;
    char other[80];
    struct vmshm_member late, twin, stranger;
    struct vmshm_address address;
    struct vmshm_error e = { 0 };
    struct vmshm_window w;
    uint32_t index;

    snprintf(other, sizeof other, "%s/copy", p->dir);
    unit_mkdirs(other);
    unit_copy_file(unit_path(p->dir, "segment"), unit_path(other, "segment"));
    unit_join(p->dir, 1, "theirs", &late);
    unit_publish(&late);
    unit_join(other, 0, "elsewhere", &stranger);
    vmshm_member_address(&late, &address);
    /* Under the same boot id the twin takes the same slot, with the same generation. */
    {
        char segment[512], locks[512], root[512];
        struct vmshm_join_options o = { .segment = segment, .lock_dir = locks, .root = root,
                                        .vm_id = 1 };

        strcpy(segment, unit_path(other, "segment"));
        strcpy(locks, unit_path(p->dir, "locks-theirs"));
        strcpy(root, unit_path(p->dir, "root-theirs"));
        assert_int_equal(vmshm_join(&o, &twin, &e), VMSHM_OK);
    }
    unit_publish(&twin);
    /* The lock file is the same one, so that the twin had to take the next slot: make it equal. */
    address.slot = twin.slot;
    address.generation = twin.generation;
    assert_int_equal(vmshm_peer_prove(&stranger, &address, &index, &w, &e), VMSHM_ERR_PEER);
    assert_string_equal(e.field, "nonce");
    vmshm_leave(&twin);
    vmshm_leave(&stranger);
    vmshm_leave(&late);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR(peer_of_another_user), PAIR(address_is_complete), PAIR(right), PAIR(wrong_uuid),
        PAIR(wrong_format), PAIR(wrong_vm), PAIR(wrong_slot), PAIR(wrong_epoch), PAIR(wrong_generation),
        PAIR(wrong_nonce), PAIR(nonce_not_in_window), PAIR(not_live), PAIR(left_in_order),
        PAIR(no_control_window), PAIR(window_of_another_process), PAIR(window_states),
        PAIR(window_out_of_section), PAIR(window_too_small_for_control), PAIR(copy_of_the_segment),
        PAIR(copy_with_a_twin_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
