/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The peers of this process: who they are, proven; which of their windows this process reads; what became of
 * them. One object per peer process, shared by the components of this one.
 *
 * A peer is in the registry until its process slot is found to have another process. The object lives as long
 * as somebody holds it.
 */
#ifndef VMSHM_REGISTRY_H
#define VMSHM_REGISTRY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmshm_arena.h"
#include "vmshm_events.h"
#include "vmshm_member.h"

/* What became of a peer. */
enum {
    VMSHM_FATE_ALIVE = 0,
    VMSHM_FATE_LEFT,                    /* it finalized, or its slot has another process */
    VMSHM_FATE_DEAD,                    /* its process slot was cleared */
    VMSHM_FATE_REBOOTED,                /* its VM has another epoch */
    VMSHM_FATE_MARKED,                  /* the host says the VM is gone */
    VMSHM_FATE_SILENT,                  /* no heartbeat of its VM for the limit of silence */
    VMSHM_FATE_NO_MEMORY,               /* this process has no memory for what it must show the peer */
    VMSHM_FATE_UNMAPPED,                /* this process cannot map or keep what the peer wrote */
    VMSHM_FATE_BROKEN                   /* what the peer wrote is not what the format allows */
};

/* A window of a peer that this process is registered to read. */
struct vmshm_peer_window {
    uint64_t offset;
    uint64_t length;                    /* 0: it is read no more */
    uint32_t index;
};

struct vmshm_peer {
    /* Written before others see the peer. */
    struct vmshm_registry *registry;
    uint32_t vm;
    uint32_t slot;
    uint32_t generation;
    uint64_t nonce;
    uint64_t epoch;
    uint64_t name;                      /* Open MPI's process name, as the peer says it */

    /* Any thread; vmshm_fate.h. */
    int32_t fate;                       /* the first verdict holds, but for silence */
    int32_t accused;                    /* 1: the two below are being written, 2: they were */
    const char *broken_field;           /* with VMSHM_FATE_BROKEN */
    const char *broken_why;

    /* The registry's lock. */
    struct vmshm_peer_window control;   /* its first window, and the further ones of those that grew */
    struct vmshm_peer_window *grown;    /* [VMSHM_ARENA_MAX_WINDOWS - 1], NULL until needed */
    uint32_t grown_count;               /* stored last */
    uint32_t readers;                   /* components that read its memory */
    uint32_t holders;                   /* of this object, the registry among them */
};

struct vmshm_registry {
    struct vmshm_member *member;
    struct vmshm_events *events;
    pthread_mutex_t lock;
    struct vmshm_peer **table;          /* [vms * procs]: the present process of each slot */
    uint32_t looks;                     /* of the monitor at the peers, from 1 on */
    /* Why a peer's memory cannot be read: see vmshm_peer_unmapped(). */
    int32_t unmapped_stage;             /* 1: the two below are being written, 2: to be told, 3: told */
    uint32_t unmapped_look;             /* the monitor's looks then */
    struct vmshm_error unmapped;
};

/* Errors: SYSTEM. */
int vmshm_registry_init(struct vmshm_registry *registry, struct vmshm_member *member,
                        struct vmshm_events *events, struct vmshm_error *e);
/* Components hold no peer any more. What was mapped of them goes with the membership. */
void vmshm_registry_fini(struct vmshm_registry *registry);

/* Call `visit` for each peer whose slot has no other process, under the registry's lock: it must not come back
 * here. */
void vmshm_registry_visit(struct vmshm_registry *registry, void (*visit)(struct vmshm_peer *peer, void *arg),
                          void *arg);

/* The peer that published this address: known, or proven now. To be given back with vmshm_peer_put(). NULL and *e:
 * it is not there, or not proven (PEER, USER), or this process cannot map its window (MAP, SYSTEM, ABSENT). */
struct vmshm_peer *vmshm_peer_get(struct vmshm_registry *registry, const struct vmshm_address *address,
                                  struct vmshm_error *e);
void vmshm_peer_put(struct vmshm_peer *peer);

/* A component reads the peer's memory from now on, until it says that it does so no more: with the last one this
 * process lets go of the peer's windows. False: it has let go already. */
bool vmshm_peer_read_begin(struct vmshm_peer *peer);
void vmshm_peer_read_end(struct vmshm_peer *peer);

/* Does this process read the peer's windows? */
static inline bool vmshm_peer_is_read(const struct vmshm_peer *peer)
{
    return 0 != vmshm_load_acquire(&peer->control.length);
}

/* The only way to a peer's memory: where [offset, offset + length) of its windows is mapped. What stands there is
 * the peer's, and may change. NULL: it is not the peer's, or it cannot be mapped here. Then that is the peer's
 * fate already, and vmshm_peer_broken() changes nothing. */
const void *vmshm_peer_memory(struct vmshm_peer *peer, uint64_t offset, uint64_t length);

/* The same in its control window. */
const void *vmshm_peer_control(struct vmshm_peer *peer, uint64_t offset, uint64_t length);

#endif
