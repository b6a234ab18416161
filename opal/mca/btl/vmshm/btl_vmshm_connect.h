/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Creating and finding rings: the sender's side is in btl_vmshm_open.c, the receiver's in
 * btl_vmshm_listen.c.
 *
 * At its first message to a peer, a sender creates a ring in its own window, enters the ring's offset
 * in its table of rings, and rings the bell that its VM has for that peer. The peer reads the bells,
 * finds the ring, creates a head for it in its own window, and enters the head's offset in its table of
 * heads. Neither side writes to the other's memory, and neither waits: messages may be published in the
 * ring before it is found.
 */
#ifndef MCA_BTL_VMSHM_CONNECT_H
#define MCA_BTL_VMSHM_CONNECT_H

#include "btl_vmshm_context.h"

/* Number of monitor ticks for which messages to a new peer wait for memory for a ring: 10 s. */
#define MCA_BTL_VMSHM_NO_RING_TICKS 20

/* The entry for the peer in our table of rings or of heads. */
static inline uint64_t *mca_btl_vmshm_own_entry(uint64_t table,
                                                const mca_btl_vmshm_endpoint_t *peer)
{
    const uint64_t control = mca_btl_vmshm_context.attached->arena.windows[0].offset;

    return (uint64_t *) mca_btl_vmshm_at(control + table)
           + vmshm_proc_index(mca_btl_vmshm_header(), peer->peer->vm, peer->peer->slot);
}

/* Store the offset in that entry, 0: none. False, with nothing stored: the peer's slot was reused, and the entry is
 * now for its new process. */
bool mca_btl_vmshm_entry_set(uint64_t table, const mca_btl_vmshm_endpoint_t *peer, uint64_t offset);

/* --- btl_vmshm_listen.c */
/* Check one VM's bell; if it rang, accept the rings for us. Called by the poller only. */
void mca_btl_vmshm_listen(uint32_t vm);
/* If the peer has a ring for us, start receiving from it. Called by the poller only. */
void mca_btl_vmshm_ring_accept(mca_btl_vmshm_endpoint_t *endpoint);
/* Continue with the peer's next, larger ring. False: the peer is broken, *why says how. */
bool mca_btl_vmshm_ring_follow(mca_btl_vmshm_endpoint_t *endpoint, uint64_t offset,
                               uint64_t first, const char **why);
/* Accept rings of processes that hold this job key. */
void mca_btl_vmshm_key_add(const uint8_t key[16]);

#endif
