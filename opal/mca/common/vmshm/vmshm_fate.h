/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fate of a peer: alive, left, dead, broken and so on. Any thread that finds out records it here; the components
 * act on it when they are alerted.
 */
#ifndef VMSHM_FATE_H
#define VMSHM_FATE_H

#include "vmshm_registry.h"

/* Acquire: a thread that sees the fate also sees everything that the peer wrote before it ended. */
static inline int32_t vmshm_fate(const struct vmshm_peer *peer)
{
    return vmshm_load_acquire(&peer->fate);
}

static inline bool vmshm_is_alive(const struct vmshm_peer *peer)
{
    return VMSHM_FATE_ALIVE == vmshm_fate(peer);
}

/* Must its memory not be read any more? */
static inline bool vmshm_is_unreadable(const struct vmshm_peer *peer)
{
    return vmshm_fate(peer) >= VMSHM_FATE_UNMAPPED;
}

/* Only the first fate that is set counts. */
static inline void vmshm_fate_set(struct vmshm_peer *peer, int32_t fate)
{
    int32_t expected = VMSHM_FATE_ALIVE;

    (void) vmshm_compare_exchange(&peer->fate, &expected, fate);
}

/* The peer's fate according to shared memory, now. Does not detect silence, which the monitor does. */
int vmshm_fate_look(const struct vmshm_peer *peer);
/* Does the peer's process entry have only one of its nonce and generation? Then somebody overwrote the entry. */
bool vmshm_is_overwritten(const struct vmshm_peer *peer);

/* Set the fate to BROKEN, if no other one is set yet. The reason given by the first caller is kept. */
void vmshm_peer_accuse(struct vmshm_peer *peer, const char *field, const char *why);
/* The peer wrote something that the format does not allow. If its process is gone, that becomes its fate instead,
 * since its memory may have been reused. The caller may hold any lock. */
void vmshm_peer_broken(struct vmshm_peer *peer, const char *field, const char *why);

/* The peer's memory cannot be mapped because this process has run out of mappings or memory. peer: NULL if it is not
 * known yet. The caller may hold any lock. */
void vmshm_peer_unmapped(struct vmshm_registry *registry, struct vmshm_peer *peer, const struct vmshm_error *e);
/* Is there such an error to report? Returns true only once, with the reason in *e. If the segment seems to be lost,
 * waits for the monitor's next looks, since the monitor knows the real cause. */
bool vmshm_peer_unmapped_take(struct vmshm_registry *registry, struct vmshm_error *e);

/* Make a silent peer ALIVE again, unless it was accused meanwhile. Returns false if its slot has another process now.
 * Takes the registry's lock. */
bool vmshm_peer_forgive(struct vmshm_peer *peer);

#endif
