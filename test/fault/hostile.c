/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile VM: overwrites what one VM wrote into a segment while a job runs, as that VM itself
 * could.
 *
 *     hostile SEGMENT VM SEED MILLISECONDS loud|mute|lost
 *
 * Waits for a live process of the VM, then strikes some times within MILLISECONDS. During a strike
 * the process is stopped (SIGSTOP), so that what is written stands there until the other VMs have
 * seen it.
 *
 *   loud   what a receiver can tell from all that a sound peer writes: it must give the peer up
 *   mute   what makes the peer look as if it had nothing to say, which nobody can tell from a slow
 *          one: the receiver must merely survive it
 *   lost   the number of a message that was not yet read (odd seeds), or the victim's generation
 *          (even ones): without a closer look the receiver would wait for ever
 *
 * Left alone are bytes that belong to the layers above (inline payload, cells, the length and tag
 * of a message that is otherwise sound): ob1 follows pointers in them, whatever brings them.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "vmshm_atomic.h"
#include "vmshm_layout.h"
#include "vmshm_segment.h"

static struct vmshm_segment s;
static uint32_t vm;                     /* of the victim, whose section is overwritten */
static uint32_t slot;
static struct vmshm_proc proc;          /* the victim's entry as it was */
static struct vmshm_window control;
static uint32_t other_vm, other_slot;   /* a process that reads from it */
static uint64_t state;                  /* of the random numbers */

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t draw(void)
{
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t below(uint64_t n)
{
    return draw() % n;
}

static void doze(long microseconds)
{
    const struct timespec t = { microseconds / 1000000, microseconds % 1000000 * 1000 };

    nanosleep(&t, NULL);
}

static void *at(uint64_t offset)
{
    return s.base + offset;
}

static void put64(const char *what, uint64_t *word, uint64_t value)
{
    printf("hostile: %s 0x%" PRIx64 " -> 0x%" PRIx64 "\n", what, *word, value);
    vmshm_store_release(word, value);
}

static void put32(const char *what, uint32_t *word, uint32_t value)
{
    printf("hostile: %s 0x%" PRIx32 " -> 0x%" PRIx32 "\n", what, *word, value);
    vmshm_store_release(word, value);
}

/* Neither zero nor likely to be right. */
static uint64_t odd_offset(void)
{
    switch (below(7)) {
    case 0: return draw() | 1;
    case 1: return UINT64_MAX - below(64);
    case 2: return below(s.total_bytes) | 1;
    case 3: return s.sections[other_vm].offset + vmshm_heap_offset(&s.header) + 64 * below(1024);
    case 4: return 64 + 64 * below(32);
    case 5: return s.sections[vm].offset + vmshm_procs_offset();
    default: return s.total_bytes - 64;
    }
}

/* Where the victim's table of rings or of heads has its entry for the reader. */
static uint64_t *entry(uint64_t table)
{
    return (uint64_t *) at(control.offset + table)
           + vmshm_proc_index(&s.header, other_vm, other_slot);
}

static bool is_mine(uint64_t offset, uint64_t bytes)
{
    return 0 == offset % 64
           && vmshm_range_inside(offset, bytes, s.sections[vm].offset, s.sections[vm].length);
}

/* What the reader has consumed: a message begins there. */
static uint64_t consumed(void)
{
    const struct vmshm_proc *reader = vmshm_proc_of(&s, other_vm, other_slot);
    const struct vmshm_head *head;
    uint64_t offset;

    if (reader->window >= s.header.windows) {
        return 0;
    }
    offset = vmshm_window_of(&s, other_vm, reader->window)->offset
             + vmshm_heads_offset(&s.header)
             + 8 * vmshm_proc_index(&s.header, vm, slot);
    offset = *(const uint64_t *) at(offset);
    head = at(offset);
    return 0 == offset || head->from != proc.nonce ? 0 : head->head;
}

static bool is_ring(uint64_t offset)
{
    const struct vmshm_ring *ring = at(offset);

    return 0 != offset && is_mine(offset, vmshm_ring_bytes(VMSHM_RING_MIN_SLOTS))
           && VMSHM_RING_MAGIC == ring->magic && ring->from == proc.nonce && 0 != ring->slots
           && is_mine(offset, vmshm_ring_bytes(ring->slots));
}

/* The ring that a switch in this one leads to, 0: none. Payload that looks like a switch leads to no
 * ring that begins behind it. */
static uint64_t successor(const struct vmshm_ring *ring)
{
    const struct vmshm_slot *slots = (const struct vmshm_slot *) (ring + 1);

    for (uint32_t i = 0; i < ring->slots; ++i) {
        uint64_t offset;

        memcpy(&offset, slots[i].payload, sizeof offset);
        if (VMSHM_SLOT_SWITCH == VMSHM_SLOT_KIND(slots[i].word) && is_ring(offset)
            && ((const struct vmshm_ring *) at(offset))->first
               == VMSHM_SLOT_SEQ(slots[i].word)) {
            return offset;
        }
    }
    return 0;
}

static uint32_t slots_at(const struct vmshm_ring *ring, uint64_t position, uint64_t word)
{
    switch (VMSHM_SLOT_KIND(word)) {
    case VMSHM_SLOT_INLINE:
        return (VMSHM_SLOT_START(word) + VMSHM_SLOT_LEN(word) + VMSHM_SLOT_BYTES - 1)
               / VMSHM_SLOT_BYTES;
    case VMSHM_SLOT_PAD:
        return ring->slots - (uint32_t) (position & (ring->slots - 1));
    default:
        return 1;
    }
}

/* The ring in use towards the reader, and the position of the next message in it. */
static struct vmshm_ring *ring_in_use(uint64_t *tail)
{
    /* The entry itself may be overwritten later. */
    static uint64_t first;
    uint64_t offset = first = 0 == first ? *entry(vmshm_rings_offset()) : first;
    struct vmshm_ring *ring = NULL;
    uint64_t next = offset, position = consumed();

    for (int hops = 0; is_ring(next) && hops < 16; ++hops) {
        if (NULL != ring && ((struct vmshm_ring *) at(next))->first > position) {
            break;
        }
        ring = at(next);
        next = successor(ring);
    }
    if (NULL == ring) {
        return NULL;
    }
    position = position < ring->first ? ring->first : position;
    for (int messages = 0; messages < 1 << 16; ++messages) {
        const struct vmshm_slot *at_position =
            (const struct vmshm_slot *) (ring + 1) + (position & (ring->slots - 1));
        const uint64_t word = at_position->word;

        if (VMSHM_SLOT_SEQ(word) != (uint32_t) (position + 1)) {
            break;
        }
        position += slots_at(ring, position, word);
        if (VMSHM_SLOT_SWITCH == VMSHM_SLOT_KIND(word)) {
            memcpy(&offset, at_position->payload, sizeof offset);
            if (!is_ring(offset)) {
                return NULL;
            }
            ring = at(offset);
        }
    }
    *tail = position;
    return ring;
}

static void forge_cell(struct vmshm_slot *forged, uint64_t tail)
{
    struct vmshm_cell_ref ref = { .offset = odd_offset(), .length = 1 + below(65536) };

    switch (below(4)) {
    case 0:
        ref.offset = control.offset + control.length - 64;
        ref.length = 65 + below(1 << 20);
        break;
    case 1:
        ref.offset = control.offset;
        ref.length = UINT64_MAX - below(1 << 20);
        break;
    case 2:
        ref.offset = control.offset;
        ref.length = 0;
        break;
    default:
        break;
    }
    memcpy(forged->payload, &ref, sizeof ref);
    printf("hostile: cell 0x%" PRIx64 " +0x%" PRIx64 "\n", ref.offset, ref.length);
    /* 65 is the tag of an eager message of ob1. */
    put64("next message", &forged->word, VMSHM_SLOT_WORD(tail, 12, 0, VMSHM_SLOT_CELL, 65));
}

static void forge_switch(struct vmshm_slot *forged, uint64_t tail)
{
    /* A ring of one's own making, in the last lines of the control window: nothing lies there. */
    const uint64_t made = control.offset + control.length - 64 * 32;
    struct vmshm_ring *ring = at(made);
    struct vmshm_proc reader;
    uint64_t offset = made;

    memcpy(&reader, vmshm_proc_of(&s, other_vm, other_slot), sizeof reader);
    *ring = (struct vmshm_ring) { .magic = VMSHM_RING_MAGIC, .slots = 8, .from = proc.nonce,
                                  .to = reader.nonce, .first = tail + 1 };
    switch (below(6)) {
    case 0: offset = odd_offset(); break;
    case 1: ring->slots = (uint32_t) draw() | 3; break;
    case 2: ring->slots = 65536; break;          /* does not end in the window */
    case 3: ring->slots = 0; break;
    case 4: ring->first = draw(); break;
    default: ring->to = draw(); break;
    }
    memcpy(forged->payload, &offset, sizeof offset);
    printf("hostile: ring 0x%" PRIx64 ", %u slots, first %" PRIu64 "\n", offset, ring->slots,
           ring->first);
    put64("next message", &forged->word,
          VMSHM_SLOT_WORD(tail, 12, sizeof offset, VMSHM_SLOT_SWITCH, 0));
}

/* The victim is stopped: what is put at the tail is what the reader sees next. */
static void forge_message(void)
{
    uint64_t tail;
    struct vmshm_ring *ring = ring_in_use(&tail);
    struct vmshm_slot *forged;

    if (NULL == ring) {
        printf("hostile: no ring yet\n");
        return;
    }
    forged = (struct vmshm_slot *) (ring + 1) + (tail & (ring->slots - 1));
    switch (below(6)) {
    case 0:
        put64("next message, length", &forged->word,
              VMSHM_SLOT_WORD(tail, 2 * below(32), VMSHM_INLINE_SLOTS * VMSHM_SLOT_BYTES + 1 + below(64000),
                              VMSHM_SLOT_INLINE, 65));
        break;
    case 1:
        put64("next message, kind", &forged->word,
              VMSHM_SLOT_WORD(tail, 12, below(52), (VMSHM_SLOT_CHANNEL + below(4)) % 8, 65));
        break;
    case 2:
        put64("next message, tag", &forged->word,
              VMSHM_SLOT_WORD(tail, 8 + 4 * below(2), below(25), VMSHM_SLOT_INLINE, 0xf0 + below(16)));
        break;
    case 3:
        put64("next message, number", &forged->word, draw());
        break;
    case 4:
        forge_cell(forged, tail);
        break;
    default:
        forge_switch(forged, tail);
        break;
    }
}

static void strike_loud(void)
{
    struct vmshm_section *section = vmshm_section_of(&s, vm);
    struct vmshm_proc *p = vmshm_proc_of(&s, vm, slot);
    uint64_t tail, *word;
    struct vmshm_ring *ring;
    struct vmshm_head *head;

    switch (below(14)) {
    case 0: case 1: case 2: case 3: case 4:
        forge_message();
        break;
    case 5:
        ring = ring_in_use(&tail);
        if (NULL != ring) {
            struct vmshm_slot *any = (struct vmshm_slot *) (ring + 1) + below(ring->slots);
            put64("any message", &any->word, draw());
        }
        break;
    case 6:
        ring = ring_in_use(&tail);
        if (NULL != ring && 0 == below(2)) {
            put32("ring.slots", &ring->slots, (uint32_t) draw());
        } else if (NULL != ring) {
            put64("ring.first", &ring->first, draw());
        }
        break;
    case 7:
        word = entry(vmshm_heads_offset(&s.header));
        if (is_mine(*word, sizeof *head)) {
            head = at(*word);
            put64("head.head", &head->head, 0 == below(2) ? head->head + 100000 : draw());
        }
        break;
    case 8:
        put64("entry of the ring", entry(vmshm_rings_offset()), odd_offset());
        break;
    case 9:
        put64("entry of the head", entry(vmshm_heads_offset(&s.header)), odd_offset());
        break;
    case 10:
        word = (uint64_t *) vmshm_window_of(&s, vm, below(2) ? proc.window
                                                             : (uint32_t) below(s.header.windows));
        put64("window table", word + below(8), draw());
        break;
    case 11:
        switch (below(4)) {
        case 0: put32("process.state", &p->state, 4 + (uint32_t) below(1000)); break;
        case 1: put32("process.generation", &p->generation, (uint32_t) draw()); break;
        case 2: put64("process.nonce", &p->nonce, draw()); break;
        default: put32("process.window", &p->window, (uint32_t) draw()); break;
        }
        break;
    case 12:
        word = (uint64_t *) section;
        put64("section", word + below(20), draw());
        break;
    default:
        word = (uint64_t *) vmshm_reader_row_of(&s, vm, (uint32_t) below(s.header.procs));
        put64("reader table", word + below(vmshm_reader_row_bytes(&s.header) / 8), draw());
        put32("bell", vmshm_bell_of(&s, vm, other_vm, other_slot), (uint32_t) draw());
        break;
    }
}

static void strike_mute(void)
{
    struct vmshm_proc *p = vmshm_proc_of(&s, vm, slot);
    uint64_t tail, *word = entry(vmshm_heads_offset(&s.header));
    struct vmshm_ring *ring = ring_in_use(&tail);

    switch (below(7)) {
    case 0: put64("entry of the ring", entry(vmshm_rings_offset()), 0); break;
    case 1: put64("entry of the head", word, 0); break;
    case 2: put32("process.uid", &p->uid, (uint32_t) draw()); break;
    case 3: put64("process.job", (uint64_t *) p->job, draw()); break;
    case 4: put32("process.state", &p->state, VMSHM_PROC_LEFT); break;
    case 5:
        if (is_mine(*word, sizeof(struct vmshm_head))) {
            put64("head.from", &((struct vmshm_head *) at(*word))->from, draw());
        }
        break;
    default:
        if (NULL != ring) {
            put64("ring header", (uint64_t *) ring + below(3), draw());
        }
        break;
    }
}

static bool is_stopped(uint32_t pid)
{
    char path[64], line[512] = "";
    const char *end;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    f = fopen(path, "re");
    if (NULL == f) {
        return false;
    }
    end = NULL != fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
    fclose(f);
    return NULL != end && 'T' == end[2];
}

/* A live process of VM v with a control window. */
static bool find_process(uint32_t v, uint32_t *found)
{
    for (uint32_t i = 0; i < s.header.procs; ++i) {
        const struct vmshm_proc *p = vmshm_proc_of(&s, v, i);

        if (VMSHM_PROC_LIVE == vmshm_load_acquire(&p->state)
            && vmshm_load_acquire(&p->window) < s.header.windows) {
            *found = i;
            return true;
        }
    }
    return false;
}

static bool stop(uint32_t pid)
{
    if (0 != kill((pid_t) pid, SIGSTOP)) {
        printf("hostile: process %u is gone\n", pid);
        exit(0);
    }
    for (int i = 0; i < 100 && !is_stopped(pid); ++i) {
        doze(1000);
    }
    return is_stopped(pid);
}

/* The newest message of the victim gets another number before the reader shows that it was read.
 * (It may have read it and not said so yet: then this is harmless.) */
static void lose_message(void)
{
    struct vmshm_proc reader;
    struct vmshm_window w;
    const uint64_t *heads;
    struct vmshm_ring *ring;
    uint64_t tail;

    memcpy(&reader, vmshm_proc_of(&s, other_vm, other_slot), sizeof reader);
    memcpy(&w, vmshm_window_of(&s, other_vm, reader.window), sizeof w);
    heads = (const uint64_t *) at(w.offset + vmshm_heads_offset(&s.header))
            + vmshm_proc_index(&s.header, vm, slot);
    if (stop(reader.pid)) {
        doze(3000);
        if (stop(proc.pid)) {
            ring = ring_in_use(&tail);
            if (NULL != ring && 0 != *heads) {
                const struct vmshm_head *head = at(*heads);
                struct vmshm_slot *newest = (struct vmshm_slot *) (ring + 1)
                                            + ((tail - 1) & (ring->slots - 1));
                if (head->head < tail) {
                    put64("message that was not read", &newest->word, draw());
                }
            }
        }
        kill((pid_t) proc.pid, SIGCONT);
    }
    kill((pid_t) reader.pid, SIGCONT);
}

static void lose(bool message)
{
    struct vmshm_proc *p = vmshm_proc_of(&s, vm, slot);

    if (!message) {
        put32("process.generation", &p->generation, (uint32_t) draw());
        return;
    }
    for (int times = 0; times < 20; ++times) {
        lose_message();
        doze(10000);
    }
}

static void strike(bool loud)
{
    if (stop(proc.pid)) {
        if (loud) {
            strike_loud();
        } else {
            strike_mute();
        }
        fflush(stdout);
        doze((long) below(20000));
    }
    kill((pid_t) proc.pid, SIGCONT);
}

int main(int argc, char **argv)
{
    struct vmshm_error e;
    int found = 0, strikes;
    bool loud;
    long pause;

    if (6 != argc || (0 != strcmp(argv[5], "loud") && 0 != strcmp(argv[5], "mute")
                      && 0 != strcmp(argv[5], "lost"))) {
        fprintf(stderr, "usage: hostile SEGMENT VM SEED MILLISECONDS loud|mute|lost\n");
        return 2;
    }
    vm = (uint32_t) atoi(argv[2]);
    state = (uint64_t) atoll(argv[3]);
    loud = 0 == strcmp(argv[5], "loud");
    if (VMSHM_OK != vmshm_segment_open(argv[1], &s, &e)) {
        fprintf(stderr, "hostile: %s: %s: %s\n", e.file, e.field, e.detail);
        return 1;
    }
    if (vm >= s.header.vms
        || 0 != mprotect(s.base, s.total_bytes, PROT_READ | PROT_WRITE)) {
        fprintf(stderr, "hostile: VM %u: %s\n", vm, strerror(errno));
        return 1;
    }
    other_vm = 0 == vm ? 1 : 0;
    for (int i = 0; i < 20000 && 2 != found; ++i) {
        found = find_process(vm, &slot) + find_process(other_vm, &other_slot);
        if (2 != found) {
            doze(500);
        }
    }
    if (2 != found) {
        fprintf(stderr, "hostile: no processes came\n");
        return 1;
    }
    memcpy(&proc, vmshm_proc_of(&s, vm, slot), sizeof proc);
    memcpy(&control, vmshm_window_of(&s, vm, proc.window), sizeof control);
    if (0 == strcmp(argv[5], "lost")) {
        doze((long) below(1000 * (uint64_t) atol(argv[4])));
        lose(0 != atoi(argv[3]) % 2);
        printf("hostile: done\n");
        return 0;
    }
    strikes = 1 + (int) below(6);
    pause = 1000 * atol(argv[4]) / strikes;
    /* A third of the seeds begin before the processes talk to each other. */
    for (int i = 0; i < strikes; ++i) {
        if (0 != i || 0 != below(3)) {
            doze((long) below((uint64_t) pause));
        }
        strike(loud);
    }
    printf("hostile: done\n");
    return 0;
}
