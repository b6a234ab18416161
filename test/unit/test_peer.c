/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The proof that a peer shares memory with us, and the reading of tables that another VM wrote. The
 * peer here writes anything it likes into its own section.
 */
#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vmshm_atomic.h"

#define SECTION (16 * UNIT_MIB)
#define GRANULE VMSHM_GRANULE_BYTES

struct pair {
    char dir[64];
    struct vmshm_member me, peer;       /* VM 0 and VM 1 */
    struct vmshm_address address;       /* of the peer, as the modex carries it */
    uint32_t window;                    /* its control window */
};

static int setup(void **state)
{
    static struct pair p;

    memset(&p, 0, sizeof p);
    unit_dir_make(p.dir);
    unit_segment(unit_path(p.dir, "segment"), SECTION, 0);
    unit_join(p.dir, 0, "mine", &p.me);
    unit_join(p.dir, 1, "theirs", &p.peer);
    p.window = unit_publish(&p.peer);
    vmshm_member_address(&p.peer, &p.address);
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    struct pair *p = *state;

    vmshm_leave(&p->me);
    vmshm_leave(&p->peer);
    unit_dir_remove(p->dir);
    return 0;
}

static struct vmshm_window *their_window(struct pair *p)
{
    return vmshm_window_of(&p->peer.segment, 1, p->window);
}

static struct vmshm_window_header *their_header(struct pair *p)
{
    return vmshm_at(&p->peer, their_window(p)->offset);
}

static struct vmshm_proc *their_proc(struct pair *p)
{
    return vmshm_proc_of(&p->peer.segment, 1, p->peer.slot);
}

static void assert_no_reader_bits(struct pair *p)
{
    const uint8_t *row = (const uint8_t *) vmshm_reader_row_of(&p->me.segment, 0, p->me.slot);

    for (uint64_t i = 0; i < vmshm_reader_row_bytes(&p->me.segment.header); ++i) {
        assert_int_equal(row[i], 0);
    }
}

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

/* ------------------------------------------------------------------------------------ the proof */

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

/* ---------------------------------------------------------------------------- reading of tables */

static void peer_read(void **state)
{
    struct pair *p = *state;
    struct vmshm_proc copy;

    assert_true(vmshm_peer_read(&p->me, 1, p->peer.slot, &copy));
    assert_memory_equal(&copy, their_proc(p), sizeof copy);
    assert_int_equal(copy.pid, getpid());
    assert_int_equal(copy.name, 1);
    assert_true(vmshm_peer_read(&p->me, 1, 7, &copy));
    assert_int_equal(copy.state, VMSHM_PROC_FREE);
    assert_false(vmshm_peer_read(&p->me, 1, 8, &copy));
    assert_false(vmshm_peer_read(&p->me, 2, 0, &copy));
    assert_false(vmshm_peer_read(&p->me, UINT32_MAX, UINT32_MAX, &copy));
}

static void reader_enter_bounds(void **state)
{
    struct pair *p = *state;
    struct vmshm_window w;
    struct vmshm_error e;

    assert_false(vmshm_reader_enter(&p->me, 2, 0, p->window, &w, &e));
    assert_false(vmshm_reader_enter(&p->me, UINT32_MAX, 0, p->window, &w, &e));
    assert_false(vmshm_reader_enter(&p->me, 1, p->peer.slot, 64, &w, &e));
    assert_false(vmshm_reader_enter(&p->me, 1, p->peer.slot, UINT32_MAX, &w, &e));
    assert_false(vmshm_reader_enter(&p->me, 1, p->peer.slot + 1, p->window, &w, &e));
    assert_no_reader_bits(p);
    assert_true(vmshm_reader_enter(&p->me, 1, p->peer.slot, p->window, &w, &e));
    vmshm_reader_leave(&p->me, 1, p->window);
}

/* Each (vm, window) has a bit of its own in the row of the process. */
static void reader_bits(void **state)
{
    struct pair *p = *state;
    const uint64_t *row = vmshm_reader_row_of(&p->me.segment, 0, p->me.slot);
    struct vmshm_error e;
    struct vmshm_window w;
    uint64_t offset;
    uint32_t index;

    for (uint32_t i = 1; i < 64; ++i) {
        assert_int_equal(vmshm_window_alloc(&p->peer, GRANULE, VMSHM_KIND_PRIVATE, &index, &offset,
                                            &e), VMSHM_OK);
        assert_true(vmshm_reader_enter(&p->me, 1, p->peer.slot, index, &w, &e));
        assert_int_equal(row[0], 0);
        assert_true(row[1] == UINT64_C(1) << index);
        vmshm_reader_leave(&p->me, 1, index);
        assert_int_equal(row[1], 0);
    }
    assert_int_equal(vmshm_window_alloc(&p->me, GRANULE, VMSHM_KIND_PRIVATE, &index, &offset, &e),
                     VMSHM_OK);
    assert_true(vmshm_reader_enter(&p->me, 0, p->me.slot, index, &w, &e));
    assert_true(row[0] == UINT64_C(1) << index && 0 == row[1]);
    vmshm_reader_leave(&p->me, 0, index);
}

static void reader_find(void **state)
{
    struct pair *p = *state;
    struct vmshm_window w;
    struct vmshm_error e;
    uint64_t offset;
    uint32_t index;

    assert_int_equal(vmshm_window_alloc(&p->peer, 2 * GRANULE, VMSHM_KIND_PRIVATE, &index, &offset,
                                        &e), VMSHM_OK);
    assert_int_equal(vmshm_reader_find(&p->me, 1, p->peer.slot, offset, 2 * GRANULE, &w, &e), index);
    assert_true(w.offset == offset && w.length == 2 * GRANULE);
    vmshm_reader_leave(&p->me, 1, index);
    assert_int_equal(vmshm_reader_find(&p->me, 1, p->peer.slot, offset + 2 * GRANULE - 8, 8, &w, &e),
                     index);
    vmshm_reader_leave(&p->me, 1, index);

    assert_int_equal(vmshm_reader_find(&p->me, 1, p->peer.slot, offset + 2 * GRANULE - 8, 9, &w, &e),
                     VMSHM_NO_WINDOW);
    assert_int_equal(vmshm_reader_find(&p->me, 1, p->peer.slot, offset, UINT64_MAX, &w, &e),
                     VMSHM_NO_WINDOW);
    assert_int_equal(vmshm_reader_find(&p->me, 1, p->peer.slot, UINT64_MAX, 1, &w, &e),
                     VMSHM_NO_WINDOW);
    assert_int_equal(vmshm_reader_find(&p->me, 1, p->peer.slot + 1, offset, 8, &w, &e),
                     VMSHM_NO_WINDOW);
    /* A window that claims all memory contains every range, but is none of the section's. */
    vmshm_window_of(&p->peer.segment, 1, index)->offset = 0;
    vmshm_window_of(&p->peer.segment, 1, index)->length = UINT64_MAX;
    assert_int_equal(vmshm_reader_find(&p->me, 1, p->peer.slot, 64, 8, &w, &e), VMSHM_NO_WINDOW);
    assert_no_reader_bits(p);
}

/* --------------------------------------------------------- reader and owner at the same instant */

static uint32_t *stop;          /* shared with the owner's process */

/* The owner reuses one window over and over, and fills it with its generation. */
static int owner_process(void *arg)
{
    const char *dir = arg;
    struct vmshm_member m;
    struct vmshm_error e;

    if (VMSHM_OK != unit_try_join(dir, 1, "theirs", &m, &e)) {
        return 1;
    }
    /* The bound: a test that fails must not leave this process behind. */
    for (int i = 0; i < 10000000 && !vmshm_load_acquire(stop); ++i) {
        struct vmshm_window *w;
        uint64_t offset;
        uint32_t index;

        if (VMSHM_OK != vmshm_window_alloc(&m, GRANULE, VMSHM_KIND_PRIVATE, &index, &offset, &e)) {
            return 2;
        }
        w = vmshm_window_of(&m.segment, 1, index);
        vmshm_store_release((uint64_t *) vmshm_at(&m, offset),
                            (uint64_t) index << 32 | w->generation);
        for (volatile int spin = 0; spin < 200; ++spin) {
        }
        vmshm_window_release(&m, index);
    }
    vmshm_leave(&m);
    return 0;
}

/* A window that was entered keeps its content, whatever its owner does, until it is left. */
static void entered_windows_do_not_change_hands(void **state)
{
    struct pair *p = *state;
    const time_t end = time(NULL) + 30;
    uint32_t rounds = 0;
    pid_t pid;

    stop = mmap(NULL, sizeof *stop, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(MAP_FAILED != stop);
    pid = unit_fork(owner_process, p->dir);
    /* As often as it takes: on a busy machine the two may seldom run at the same time. */
    while (rounds < 2000 && time(NULL) < end) {
        for (uint32_t index = 0; index < 4; ++index) {
            struct vmshm_window w;
            struct vmshm_error e;
            const uint64_t *content;

            /* The owner takes slot 1, next to the peer of the pair. */
            if (!vmshm_reader_enter(&p->me, 1, 1, index, &w, &e)) {
                continue;
            }
            content = vmshm_at(&p->me, w.offset);
            for (int look = 0; look < 300; ++look) {
                const uint64_t value = vmshm_load_acquire(content);

                /* 0: the owner has not written yet. */
                if (0 != value && ((uint64_t) index << 32 | w.generation) != value) {
                    vmshm_store_release(stop, 1);
                    fail_msg("window %u, generation %u holds %lx", index, w.generation,
                             (unsigned long) value);
                }
            }
            ++rounds;
            vmshm_reader_leave(&p->me, 1, index);
        }
    }
    vmshm_store_release(stop, 1);
    assert_int_equal(unit_wait(pid), 0);
    munmap(stop, sizeof *stop);
    assert_true(rounds > 100);
}

/* One process may have it for two purposes: what ends first must not end the other. */
static void entered_twice_left_twice(void **state)
{
    struct pair *p = *state;
    struct vmshm_window w;
    struct vmshm_error e;
    const uint64_t *there;

    assert_true(vmshm_reader_enter(&p->me, 1, p->peer.slot, p->window, &w, &e));
    assert_true(vmshm_reader_enter(&p->me, 1, p->peer.slot, p->window, &w, &e));
    there = vmshm_at(&p->me, w.offset);
    vmshm_reader_leave(&p->me, 1, p->window);
    assert_true(VMSHM_WINDOW_MAGIC == vmshm_load_relaxed(there));
    vmshm_window_release(&p->peer, p->window);
    assert_int_equal(unit_window_state(&p->peer, p->window), VMSHM_WINDOW_QUARANTINE);
    vmshm_reader_leave(&p->me, 1, p->window);
    assert_no_reader_bits(p);
    /* Once more than it was entered: nothing is anybody else's. */
    vmshm_reader_leave(&p->me, 1, p->window);
    vmshm_reap(&p->peer);
    assert_int_equal(unit_window_state(&p->peer, p->window), VMSHM_WINDOW_EMPTY);
}

/* A peer's table may say that two windows lie one over the other, or over one that it moves: leaving one
 * must not take the other's memory away. */
static void windows_over_each_other_are_refused(void **state)
{
    struct pair *p = *state;
    struct vmshm_window *second;
    struct vmshm_window w;
    struct vmshm_error e;
    uint64_t offset;
    uint32_t index;

    index = unit_alloc(&p->peer, 4 * GRANULE, &offset);
    second = vmshm_window_of(&p->peer.segment, 1, index);
    assert_true(vmshm_reader_enter(&p->me, 1, p->peer.slot, p->window, &w, &e));
    second->offset = w.offset;
    assert_false(vmshm_reader_enter(&p->me, 1, p->peer.slot, index, &w, &e));
    second->offset = offset;
    assert_true(vmshm_reader_enter(&p->me, 1, p->peer.slot, index, &w, &e));
    /* It was entered already, and lies elsewhere now. */
    second->length = 2 * GRANULE;
    assert_false(vmshm_reader_enter(&p->me, 1, p->peer.slot, index, &w, &e));
    second->length = 4 * GRANULE;
    memset(vmshm_at(&p->peer, offset), 0x5a, 4 * GRANULE);
    assert_int_equal(*((uint8_t *) vmshm_at(&p->me, offset) + 4 * GRANULE - 1), 0x5a);
    vmshm_reader_leave(&p->me, 1, index);
    vmshm_reader_leave(&p->me, 1, p->window);
    assert_no_reader_bits(p);
}

#define PAIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR(peer_of_another_user),
        PAIR(address_is_complete), PAIR(right), PAIR(wrong_uuid), PAIR(wrong_format),
        PAIR(wrong_vm), PAIR(wrong_slot), PAIR(wrong_epoch), PAIR(wrong_generation),
        PAIR(wrong_nonce), PAIR(nonce_not_in_window), PAIR(not_live), PAIR(left_in_order),
        PAIR(no_control_window), PAIR(window_of_another_process), PAIR(window_states),
        PAIR(window_out_of_section), PAIR(window_too_small_for_control),
        PAIR(copy_of_the_segment), PAIR(copy_with_a_twin_process), PAIR(peer_read),
        PAIR(reader_enter_bounds), PAIR(reader_bits), PAIR(reader_find),
        PAIR(entered_windows_do_not_change_hands), PAIR(entered_twice_left_twice),
        PAIR(windows_over_each_other_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
