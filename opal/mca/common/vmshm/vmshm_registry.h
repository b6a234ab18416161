/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The peers of this process: their proven identity, the windows of theirs that this process reads, and their fate.
 * There is one object per peer process, shared by all components.
 *
 * A peer is in the registry until its process slot is found to have another process. The object is
 * reference-counted.
 */
#ifndef VMSHM_REGISTRY_H
#define VMSHM_REGISTRY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmshm_arena.h"
#include "vmshm_events.h"
#include "vmshm_layout.h"
#include "vmshm_member.h"

/* Fates of a peer. */
enum {
    VMSHM_FATE_ALIVE = 0,
    VMSHM_FATE_LEFT,                    /* it finalized, or its slot has another process */
    VMSHM_FATE_DEAD,                    /* it was found dead, or its slot was cleared by vmshmctl */
    VMSHM_FATE_REBOOTED,                /* its VM has another epoch */
    VMSHM_FATE_MARKED,                  /* the host says the VM is gone */
    VMSHM_FATE_SILENT,                  /* no heartbeat of its VM for silence_limit seconds */
    VMSHM_FATE_NO_MEMORY,               /* this process has no shared memory left for what the peer needs to read */
    VMSHM_FATE_UNMAPPED,                /* this process cannot map, or has no memory for, what the peer wrote */
    VMSHM_FATE_BROKEN                   /* the peer wrote something that the format does not allow */
};

/* A window of a peer that this process is registered to read. */
struct vmshm_peer_window {
    uint64_t offset;
    uint64_t length;                    /* bytes; 0: not read any more */
    uint32_t index;
};

/* In the first cache line is what is read for each message. */
struct vmshm_peer {
    /* Written by any thread: vmshm_fate.h. */
    int32_t fate;                       /* set once; only a silent peer can become alive again */

    /* Written under the registry's lock. */
    uint32_t grown_count;               /* entries of grown in use; stored after the entry */
    struct vmshm_peer_window *grown;    /* its further windows, [VMSHM_ARENA_MAX_WINDOWS - 1]; NULL until needed */
    struct vmshm_peer_window control;   /* its control window */

    /* Written before others see the peer. */
    uint8_t *base;                      /* of the segment */
    struct vmshm_registry *registry;
    uint32_t vm;
    uint32_t slot;
    uint32_t generation;
    uint64_t nonce;
    uint64_t epoch;
    uint64_t name;                      /* Open MPI's process name, from the peer's process entry */

    /* Written by any thread: vmshm_fate.h. */
    int32_t accused;                    /* 1: the two fields below are being written, 2: they are valid */
    const char *broken_field;           /* with VMSHM_FATE_BROKEN */
    const char *broken_why;

    /* Written under the registry's lock. */
    uint32_t readers;                   /* number of components that read its memory */
    uint32_t holders;                   /* reference count, including the registry's own */
    bool replaced;                      /* its slot has another process; it is not in the registry any more */
};

struct vmshm_registry {
    struct vmshm_member *member;
    struct vmshm_events *events;
    pthread_mutex_t lock;               /* protects the table and the peers' fields named above */
    struct vmshm_peer **table;          /* [vms * procs]: the present process of each slot, NULL: not known */
    uint32_t looks;                     /* the monitor's ticks; written by the monitor thread */
    /* Why a peer's memory cannot be read: see vmshm_peer_unmapped(). */
    int32_t unmapped_stage;             /* 1: the two fields below are being written, 2: to be reported, 3: reported */
    uint32_t unmapped_look;             /* value of `looks` at that time */
    struct vmshm_error unmapped;
};

/* Errors: SYSTEM. */
int vmshm_registry_init(struct vmshm_registry *registry, struct vmshm_member *member,
                        struct vmshm_events *events, struct vmshm_error *e);
/* The components must have put all peers that are in the table. Their windows are unmapped when the process leaves the
 * segment. */
void vmshm_registry_fini(struct vmshm_registry *registry);

/* Call `visit` for each peer in the registry, with the registry's lock held, so it must not call functions that take
 * the lock. */
void vmshm_registry_visit(struct vmshm_registry *registry, void (*visit)(struct vmshm_peer *peer, void *arg),
                          void *arg);

/* Get the peer that published the address: it is known, or proven now. The caller holds the peer until
 * vmshm_peer_put(). *reads: the caller also reads its memory, until vmshm_peer_read_end(); false: its windows are
 * unmapped already. The peer may have ended by now, before the component knew that this concerns it: so it looks at
 * vmshm_fate() when it has entered the peer where it looks on an alert. NULL and *e: the peer is not there or not
 * proven (PEER, USER), or its window cannot be mapped (MAP, SYSTEM, ABSENT). */
struct vmshm_peer *vmshm_peer_get(struct vmshm_registry *registry, const struct vmshm_address *address, bool *reads,
                                  struct vmshm_error *e);
/* Once for each vmshm_peer_get() that set *reads, and before vmshm_peer_put(): the component does not read the peer's
 * memory any more. Its windows are unmapped when no component reads and the peer is gone; a silent one can come
 * back. */
void vmshm_peer_read_end(struct vmshm_peer *peer);
void vmshm_peer_put(struct vmshm_peer *peer);
/* Unmap its windows if that is so. For the monitor, under the registry's lock. */
void vmshm_peer_release_windows(struct vmshm_peer *peer);

/* Are the peer's windows mapped in this process? */
static inline bool vmshm_peer_is_read(const struct vmshm_peer *peer)
{
    return 0 != vmshm_load_acquire(&peer->control.length);
}

static inline bool vmshm_peer_window_has(const struct vmshm_peer_window *window, uint64_t offset, uint64_t length)
{
    return vmshm_range_inside(offset, length, window->offset, vmshm_load_relaxed(&window->length));
}

/* Is the range in a window of the peer that this process has entered? */
static inline bool vmshm_peer_has_entered(const struct vmshm_peer *peer, uint64_t offset, uint64_t length)
{
    bool found = vmshm_peer_window_has(&peer->control, offset, length);

    for (uint32_t i = 0; !found && i < vmshm_load_acquire(&peer->grown_count); ++i) {
        found = vmshm_peer_window_has(&peer->grown[i], offset, length);
    }
    return found;
}

/* Enter the window of the peer that has the range. False: as NULL below. */
bool vmshm_peer_enter_grown(struct vmshm_peer *peer, uint64_t offset, uint64_t length);

/* The only way to a peer's memory: a pointer to [offset, offset + length) in its windows. The peer may change the
 * content at any time. Returns NULL if the range is not in a window of the peer, or if this process cannot map it; in
 * the latter case the peer's fate is set already, and vmshm_peer_broken() changes nothing. */
static inline const void *vmshm_peer_memory(struct vmshm_peer *peer, uint64_t offset, uint64_t length)
{
    return __builtin_expect(vmshm_peer_has_entered(peer, offset, length)
                            || vmshm_peer_enter_grown(peer, offset, length), 1) ? peer->base + offset : NULL;
}

/* The same for its control window, where offset counts from. */
const void *vmshm_peer_control(struct vmshm_peer *peer, uint64_t offset, uint64_t length);

#endif
