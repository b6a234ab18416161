/* SPDX-License-Identifier: BSD-3-Clause */
/* Modelled in test/model/connect.pml: change both. */
#include "vmshm_registry.h"

#include "vmshm_check.h"
#include "vmshm_fate.h"

#include <stdlib.h>

static uint64_t places(const struct vmshm_registry *registry)
{
    const struct vmshm_header *h = &registry->member->segment.header;

    return (uint64_t) h->vms * h->procs;
}

int vmshm_registry_init(struct vmshm_registry *registry, struct vmshm_member *member,
                        struct vmshm_events *events, struct vmshm_error *e)
{
    *registry = (struct vmshm_registry) { .member = member, .events = events, .looks = 1 };
    registry->table = calloc((size_t) places(registry), sizeof(struct vmshm_peer *));
    if (NULL == registry->table) {
        return vmshm_fail(e, VMSHM_ERR_SYSTEM, "(memory)", "peers", "out of memory");
    }
    pthread_mutex_init(&registry->lock, NULL);
    return VMSHM_OK;
}

static void peer_free(struct vmshm_peer *peer)
{
    free(peer->grown);
    free(peer);
}

void vmshm_registry_fini(struct vmshm_registry *registry)
{
    for (uint64_t i = 0; i < places(registry); ++i) {
        if (NULL != registry->table[i]) {
            peer_free(registry->table[i]);
        }
    }
    free(registry->table);
    registry->table = NULL;
    pthread_mutex_destroy(&registry->lock);
}

void vmshm_registry_visit(struct vmshm_registry *registry, void (*visit)(struct vmshm_peer *peer, void *arg),
                          void *arg)
{
    pthread_mutex_lock(&registry->lock);
    for (uint64_t i = 0; i < places(registry); ++i) {
        if (NULL != registry->table[i]) {
            visit(registry->table[i], arg);
        }
    }
    pthread_mutex_unlock(&registry->lock);
}

/* Lock held. */
static void let_go_of_windows(struct vmshm_peer *peer)
{
    struct vmshm_member *m = peer->registry->member;

    if (0 != peer->control.length) {
        vmshm_reader_leave(m, peer->vm, peer->control.index);
    }
    for (uint32_t i = 0; i < peer->grown_count; ++i) {
        vmshm_reader_leave(m, peer->vm, peer->grown[i].index);
    }
    vmshm_store_release(&peer->control.length, 0);      /* vmshm_peer_is_read() is false from now on */
    vmshm_store_release(&peer->grown_count, 0);
}

/* Lock held. */
static void put(struct vmshm_peer *peer)
{
    if (0 == --peer->holders) {
        let_go_of_windows(peer);
        peer_free(peer);
    }
}

void vmshm_peer_put(struct vmshm_peer *peer)
{
    struct vmshm_registry *registry = peer->registry;

    /* Open MPI may hold an endpoint, and that its peer, longer than this process is attached. Then nobody else does. */
    if (NULL == registry->table) {
        peer->holders -= 1;
        if (0 == peer->holders) {
            peer_free(peer);
        }
        return;
    }
    pthread_mutex_lock(&registry->lock);
    put(peer);
    pthread_mutex_unlock(&registry->lock);
}

/* Lock held, during the proof, too: of two processes of a slot the one that was proven later stays in the table. */
static struct vmshm_peer *make(struct vmshm_registry *registry, const struct vmshm_address *a,
                               struct vmshm_error *e)
{
    struct vmshm_member *m = registry->member;
    struct vmshm_peer *peer;
    struct vmshm_window w;
    struct vmshm_proc proc;
    uint32_t index;

    if (VMSHM_OK != vmshm_peer_prove(m, a, &index, &w, e)) {
        return NULL;
    }
    peer = aligned_alloc(VMSHM_LINE_BYTES, vmshm_align_up(sizeof *peer, VMSHM_LINE_BYTES));
    if (NULL == peer || !vmshm_peer_read(m, a->vm, a->slot, &proc)) {
        (void) vmshm_fail(e, VMSHM_ERR_SYSTEM, "(memory)", "peer", "out of memory");
        vmshm_reader_leave(m, a->vm, index);
        free(peer);
        return NULL;
    }
    *peer = (struct vmshm_peer) { .registry = registry };
    peer->base = m->segment.base;
    peer->vm = a->vm;
    peer->slot = a->slot;
    peer->generation = a->generation;
    peer->nonce = a->nonce;
    peer->epoch = a->epoch;
    peer->name = proc.name;
    peer->control = (struct vmshm_peer_window) { w.offset, w.length, index };
    peer->holders = 1;
    return peer;
}

/* The slot has another process now: drop the previous one. Lock held. */
static void replace(struct vmshm_registry *registry, struct vmshm_peer *before)
{
    if (NULL != before) {
        vmshm_fate_set(before, VMSHM_FATE_LEFT);
        vmshm_alert(registry->events);
        before->replaced = true;
        vmshm_peer_release_windows(before);
        put(before);
    }
}

/* Lock held. */
static struct vmshm_peer *get(struct vmshm_registry *registry, const struct vmshm_address *a,
                              struct vmshm_error *e)
{
    const struct vmshm_segment *s = &registry->member->segment;
    struct vmshm_peer *peer, **place;

    if (a->vm >= s->header.vms || a->slot >= s->header.procs) {
        (void) vmshm_fail(e, VMSHM_ERR_PEER, s->path, "vm", "VM %u, process slot %u: not in the table",
                          a->vm, a->slot);
        return NULL;
    }
    place = &registry->table[vmshm_proc_index(&s->header, a->vm, a->slot)];
    peer = *place;
    if (NULL == peer || peer->nonce != a->nonce) {
        peer = make(registry, a, e);
        if (NULL != peer) {
            replace(registry, *place);
            *place = peer;
        }
    } else if (peer->generation != a->generation || peer->epoch != a->epoch) {
        /* Nonces are unique, so it is the same process, and its tables were overwritten. */
        (void) vmshm_fail(e, VMSHM_ERR_PEER, s->path, "process", "VM %u, slot %u: its generation or epoch "
                          "changed while it runs", a->vm, a->slot);
        peer = NULL;
    }
    return peer;
}

struct vmshm_peer *vmshm_peer_get(struct vmshm_registry *registry, const struct vmshm_address *a, bool *reads,
                                  struct vmshm_error *e)
{
    struct vmshm_peer *peer;

    pthread_mutex_lock(&registry->lock);
    peer = get(registry, a, e);
    *reads = NULL != peer && vmshm_peer_is_read(peer);
    if (NULL != peer) {
        peer->holders += 1;
        peer->readers += *reads;
    }
    pthread_mutex_unlock(&registry->lock);
    return peer;
}

void vmshm_peer_read_end(struct vmshm_peer *peer)
{
    pthread_mutex_lock(&peer->registry->lock);
    peer->readers -= 1;
    vmshm_peer_release_windows(peer);
    pthread_mutex_unlock(&peer->registry->lock);
}

void vmshm_peer_release_windows(struct vmshm_peer *peer)
{
    const int32_t fate = vmshm_fate(peer);
    /* A silent peer can become alive again, unless it was replaced. */
    const bool gone = peer->replaced || (VMSHM_FATE_ALIVE != fate && VMSHM_FATE_SILENT != fate);

    if (gone && 0 == peer->readers) {
        let_go_of_windows(peer);
    }
}

/* Does the peer still own its slot? If so, a window of the slot that was live before this check is the peer's and not
 * the next owner's: a new owner stores its generation before its first window becomes live. */
static bool is_present(const struct vmshm_peer *peer)
{
    struct vmshm_proc proc;

    return vmshm_peer_read(peer->registry->member, peer->vm, peer->slot, &proc)
           && proc.generation == peer->generation;
}

/* Enter a further window of the peer and add it to peer->grown. Other threads read the array without the lock: entries
 * are only ever added, and the count is stored last. Lock held. */
static bool add_grown(struct vmshm_peer *peer, uint64_t offset, uint64_t length)
{
    struct vmshm_member *m = peer->registry->member;
    struct vmshm_window w;
    struct vmshm_error e;
    uint32_t index;

    if (!vmshm_peer_is_read(peer) || !is_present(peer)) {
        return false;                   /* the table's windows are no longer this peer's */
    }
    if (NULL == peer->grown) {
        peer->grown = calloc(VMSHM_ARENA_MAX_WINDOWS - 1, sizeof *peer->grown);
        if (NULL == peer->grown) {
            (void) vmshm_fail(&e, VMSHM_ERR_SYSTEM, "(memory)", "windows of a peer", "out of memory");
            vmshm_peer_unmapped(peer->registry, peer, &e);
            return false;
        }
    }
    if (peer->grown_count == VMSHM_ARENA_MAX_WINDOWS - 1) {
        return false;
    }
    index = vmshm_reader_find(m, peer->vm, peer->slot, offset, length, &w, &e);
    if (VMSHM_NO_WINDOW == index) {
        if (VMSHM_ERR_PEER != e.code) {
            vmshm_peer_unmapped(peer->registry, peer, &e);
        }
        return false;
    }
    if (!is_present(peer)) {
        vmshm_reader_leave(m, peer->vm, index);     /* it may belong to the slot's next process */
        return false;
    }
    peer->grown[peer->grown_count] = (struct vmshm_peer_window) {
        .offset = w.offset, .length = w.length, .index = index,
    };
    vmshm_store_release(&peer->grown_count, peer->grown_count + 1);
    return true;
}

bool vmshm_peer_enter_grown(struct vmshm_peer *peer, uint64_t offset, uint64_t length)
{
    struct vmshm_registry *registry = peer->registry;
    bool found;

    pthread_mutex_lock(&registry->lock);
    /* Look again under the lock: another thread may have entered the window meanwhile. */
    found = vmshm_peer_has_entered(peer, offset, length) || add_grown(peer, offset, length);
    pthread_mutex_unlock(&registry->lock);
    return found;
}

const void *vmshm_peer_control(struct vmshm_peer *peer, uint64_t offset, uint64_t length)
{
    return vmshm_range_inside(offset, length, 0, vmshm_load_relaxed(&peer->control.length))
           ? peer->base + peer->control.offset + offset : NULL;
}
