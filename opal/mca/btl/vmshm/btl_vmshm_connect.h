/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making and finding rings: btl_vmshm_open.c has the sender's side, btl_vmshm_listen.c the
 * receiver's.
 *
 * A sender makes a ring in its own window at its first message to a peer, enters its offset in its
 * table of rings and rings the bell that its VM has for that peer. The peer looks at the bells,
 * finds the ring, makes a head for it in its own window and enters that in its table of heads.
 * Neither writes a byte of the other, and neither waits: messages may stand in the ring before it
 * is found.
 */
#ifndef MCA_BTL_VMSHM_CONNECT_H
#define MCA_BTL_VMSHM_CONNECT_H

#include "btl_vmshm_context.h"

/* Ticks of the monitor for which messages to a new peer wait for the memory of a ring: 10 s. */
#define MCA_BTL_VMSHM_NO_RING_TICKS 20

/* An entry of the own table of rings or of heads. */
static inline uint64_t *mca_btl_vmshm_own_entry(uint64_t table,
                                                const mca_btl_vmshm_endpoint_t *peer)
{
    const uint64_t control = mca_btl_vmshm_context.attached->arena.windows[0].offset;

    return (uint64_t *) mca_btl_vmshm_at(control + table)
           + vmshm_proc_index(mca_btl_vmshm_header(), peer->peer->vm, peer->peer->slot);
}

/* Enter the offset there, 0: nothing. False, and nothing was entered: the entry is for the next process of
 * the peer's slot by now. */
bool mca_btl_vmshm_entry_set(uint64_t table, const mca_btl_vmshm_endpoint_t *peer, uint64_t offset);

/* --- btl_vmshm_listen.c */
/* Look at one VM's bell, take the rings that are for us. Called by the poller only. */
void mca_btl_vmshm_listen(uint32_t vm);
/* Go through that VM's processes once more, although its bell is silent. */
void mca_btl_vmshm_look_again(uint32_t vm);
/* Read from the ring that the peer has for us, if it has one. Called by the poller only. */
void mca_btl_vmshm_ring_accept(mca_btl_vmshm_endpoint_t *endpoint);
/* Follow the peer to its next ring. False: the peer is broken, *why says how. */
bool mca_btl_vmshm_ring_follow(mca_btl_vmshm_endpoint_t *endpoint, uint64_t offset,
                               uint64_t first, const char **why);
/* Accept processes that hold this key. */
void mca_btl_vmshm_key_add(const uint8_t key[16]);

#endif
