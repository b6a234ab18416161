/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What becomes of a peer. Who finds something out notes it here, from any thread; components look when they are
 * alerted, and act upon it.
 */
#ifndef VMSHM_FATE_H
#define VMSHM_FATE_H

#include "vmshm_registry.h"

/* What was read to judge, and what the peer wrote before, is seen by who sees the verdict. */
static inline int32_t vmshm_fate(const struct vmshm_peer *peer)
{
    return vmshm_load_acquire(&peer->fate);
}

static inline bool vmshm_is_alive(const struct vmshm_peer *peer)
{
    return VMSHM_FATE_ALIVE == vmshm_fate(peer);
}

/* Is nothing more to be read that it wrote? */
static inline bool vmshm_is_unread(const struct vmshm_peer *peer)
{
    return vmshm_fate(peer) >= VMSHM_FATE_UNMAPPED;
}

/* The first verdict holds. */
static inline void vmshm_fate_set(struct vmshm_peer *peer, int32_t fate)
{
    int32_t expected = VMSHM_FATE_ALIVE;

    (void) vmshm_compare_exchange(&peer->fate, &expected, fate);
}

/* What stands in shared memory says of the peer now; silence is for the monitor to find. */
int vmshm_fate_look(const struct vmshm_peer *peer);
/* Does its entry in the process table have the nonce or the generation of another process? That is a lie. */
bool vmshm_is_overwritten(const struct vmshm_peer *peer);

/* It is broken, if nothing else is known yet. Who accuses it first says why. */
void vmshm_peer_accuse(struct vmshm_peer *peer, const char *field, const char *why);
/* What the peer wrote is not what the format allows. Unless its process is gone: then that is its fate, and what
 * was read may be anybody's. Any lock may be held. */
void vmshm_peer_broken(struct vmshm_peer *peer, const char *field, const char *why);

/* What a peer wrote cannot be read because this process has run out of something (mappings, memory). peer: NULL if
 * it is not known yet. Any lock may be held. */
void vmshm_peer_unmapped(struct vmshm_registry *registry, struct vmshm_peer *peer, const struct vmshm_error *e);
/* Is there such an error to be told? True once; *e says why. Where the segment seems to be lost it is held back
 * until the monitor has looked, which knows better. */
bool vmshm_peer_unmapped_take(struct vmshm_registry *registry, struct vmshm_error *e);

/* Who is silent is alive, unless somebody found it broken meanwhile. False: its slot has another process, it is no
 * more. Takes the registry's lock. */
bool vmshm_peer_forgive(struct vmshm_peer *peer);

#endif
