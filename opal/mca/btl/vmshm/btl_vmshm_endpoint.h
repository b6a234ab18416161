/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer process, as the transport sees it: what is under way to it and from it.
 */
#ifndef MCA_BTL_VMSHM_ENDPOINT_H
#define MCA_BTL_VMSHM_ENDPOINT_H

#include "btl_vmshm.h"
#include "vmshm_fate.h"

struct mca_btl_vmshm_frag_t;
typedef struct mca_btl_vmshm_streams_t mca_btl_vmshm_streams_t;

/* What a slot of our ring holds until the peer has consumed it. */
struct mca_btl_vmshm_inflight_t {
    struct mca_btl_vmshm_frag_t *frag;  /* to complete, or NULL */
    uint64_t cell;                      /* to take back: offset | class, or 0 */
};
typedef struct mca_btl_vmshm_inflight_t mca_btl_vmshm_inflight_t;

/* The sender's half: our ring towards the peer. Written under the endpoint's lock. */
struct mca_btl_vmshm_out_t {
    struct vmshm_slot *ring;            /* NULL until the first message */
    uint64_t tail;                      /* position of the next message */
    uint64_t head;                      /* as last read from the peer */
    uint32_t mask;
    uint32_t slots;
    const struct vmshm_head *peer_head; /* NULL until the peer has found the ring */
    mca_btl_vmshm_inflight_t *inflight; /* [slots] */
    bool *stale;                        /* [slots]: not the word of the last lap stands there */
    uint32_t stales;                    /* how many of these are true */
    uint64_t next_cell;                 /* for the next eager message, its lines ours already, or 0 */
    uint32_t cells_sent;                /* since the start: the distance is timed now and then */
    uint32_t cells_out;                 /* of these, not taken back yet */
    bool far;                           /* see btl_vmshm_distance.c */
    uint8_t far_votes;
    uint64_t line_seen;                 /* the sum of what stood in the peer's head, last time read */
    uint32_t callbacks;                 /* fragments in flight that must be completed */
    uint64_t offset;                    /* of the ring */
    uint64_t old_offset;                /* of the ring before this one, 0: none to take back */
    uint32_t old_slots;
    uint64_t old_last;                  /* position of the switch to the present one */
    opal_list_t pending;                /* fragments that wait for a slot or a cell */
    bool pending_cells;                 /* one of them may have a cell */
    opal_list_t done;                   /* consumed fragments whose callbacks are due */
    uint32_t no_ring_since;             /* the tick of the monitor, 0: it has a ring or was not asked for one */
    uint64_t messages;                  /* sent so far; the monitor reads them */
    uint64_t bytes;
};
typedef struct mca_btl_vmshm_out_t mca_btl_vmshm_out_t;

/* The receiver's half: the peer's ring towards us. Written by the poller; senders read how far it came. */
struct mca_btl_vmshm_in_t {
    const struct vmshm_slot *ring;      /* NULL until found */
    uint64_t position;                  /* of the next message */
    uint32_t mask;
    uint32_t taking;                    /* polls, one within the other, that take from it */
    struct vmshm_head *my_head;
    uint64_t consumed;                  /* what my_head says */
    uint64_t ack;                       /* how far the peer read our ring, as of its last message */
    size_t unshown;                     /* bytes taken since my_head was written */
    uint64_t head_offset;
};
typedef struct mca_btl_vmshm_in_t mca_btl_vmshm_in_t;

/* A peer process, known by Open MPI (add_procs), or heard (its ring was found), or both. */
struct mca_btl_base_endpoint_t {
    opal_list_item_t super;             /* in context.working while it has something to do */
    bool working;                       /* context.lock; read without */
    opal_list_item_t retired_item;      /* in context.retired when its process is no more; the table lock */
    opal_mutex_t lock;
    mca_btl_vmshm_out_t out;
    mca_btl_vmshm_in_t in;
    mca_btl_vmshm_streams_t *streams;   /* large messages, both ways; NULL until the first; the lock */
    struct vmshm_peer *peer;            /* who it is and what became of it: vmshm_registry.h */
    opal_proc_t *proc;                  /* NULL until add_procs; the connect lock */
    bool reads;                         /* the peer's memory; the lock */
    bool attended;                      /* the peer's fate was acted upon; the lock */
    bool untold;                        /* but not told: it is not connected. The poller */
};
typedef struct mca_btl_base_endpoint_t mca_btl_base_endpoint_t;
typedef struct mca_btl_base_endpoint_t mca_btl_vmshm_endpoint_t;

static inline bool mca_btl_vmshm_is_alive(const mca_btl_vmshm_endpoint_t *endpoint)
{
    return vmshm_is_alive(endpoint->peer);
}

/* Nothing more is read that the peer wrote. */
static inline bool mca_btl_vmshm_is_unread(const mca_btl_vmshm_endpoint_t *endpoint)
{
    return vmshm_is_unread(endpoint->peer);
}

/* So much was sent. Endpoint lock held; the monitor reads it. */
static inline void mca_btl_vmshm_count(mca_btl_vmshm_endpoint_t *endpoint, uint32_t messages,
                                       size_t bytes)
{
    vmshm_store_relaxed(&endpoint->out.messages, endpoint->out.messages + messages);
    vmshm_store_relaxed(&endpoint->out.bytes, endpoint->out.bytes + bytes);
}

OBJ_CLASS_DECLARATION(mca_btl_vmshm_endpoint_t);

/* The endpoint of that very process, made if need be after proof; NULL and *e if not proven. */
mca_btl_vmshm_endpoint_t *mca_btl_vmshm_endpoint_get(const struct vmshm_address *address,
                                                     struct vmshm_error *e);
/* The same for add_procs: the upper layer has the endpoint until mca_btl_vmshm_endpoint_drop(). */
mca_btl_vmshm_endpoint_t *mca_btl_vmshm_endpoint_add(const struct vmshm_address *address,
                                                     opal_proc_t *proc, struct vmshm_error *e);
void mca_btl_vmshm_endpoint_drop(mca_btl_vmshm_endpoint_t *endpoint, const opal_proc_t *proc);
/* Stop reading from the endpoint, and sending to it: off the rosters, no reader of its windows any more.
 * Called by the poller only. */
void mca_btl_vmshm_endpoint_unmap(mca_btl_vmshm_endpoint_t *endpoint);

#endif
