/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer process, as the transport sees it: the state of both directions.
 */
#ifndef MCA_BTL_VMSHM_ENDPOINT_H
#define MCA_BTL_VMSHM_ENDPOINT_H

#include "btl_vmshm.h"
#include "vmshm_fate.h"

struct mca_btl_vmshm_frag_t;
typedef struct mca_btl_vmshm_streams_t mca_btl_vmshm_streams_t;

/* What must be kept for a slot of our ring until the peer has consumed its message. */
struct mca_btl_vmshm_inflight_t {
    struct mca_btl_vmshm_frag_t *frag;  /* fragment to complete, or NULL */
    uint64_t cell;                      /* cell to free: offset | class, or 0 */
};
typedef struct mca_btl_vmshm_inflight_t mca_btl_vmshm_inflight_t;

/* The sender's half: our ring to the peer. Written under the endpoint's lock. */
struct mca_btl_vmshm_out_t {
    struct vmshm_slot *ring;            /* NULL until the first message */
    uint64_t tail;                      /* position of the next message */
    uint64_t head;                      /* everything before this position was consumed; last value from the peer */
    uint32_t mask;
    uint32_t slots;
    const struct vmshm_head *peer_head; /* NULL until the peer has found the ring */
    mca_btl_vmshm_inflight_t *inflight; /* [slots] */
    bool *stale;                        /* [slots]: the slot was overwritten with payload since its last word */
    uint32_t stales;                    /* number of true entries in `stale` */
    uint64_t next_cell;                 /* cell for the next eager message, already in our cache; or 0 */
    uint32_t cells_sent;                /* since the start; decides when the distance is sampled */
    uint32_t cells_out;                 /* cells sent and not freed yet */
    bool far;                           /* see btl_vmshm_distance.c */
    uint8_t far_votes;
    uint64_t line_seen;                 /* sum of the two counters in the peer's head when it was last read */
    uint32_t callbacks;                 /* fragments in flight that must be completed */
    uint64_t offset;                    /* of the ring */
    uint64_t old_offset;                /* of the previous ring, 0: none to free */
    uint32_t old_slots;
    uint64_t old_last;                  /* position of the switch from the previous ring to this one */
    opal_list_t pending;                /* fragments that wait for a slot or a cell */
    bool pending_cells;                 /* some of the pending fragments may have cells */
    opal_list_t done;                   /* consumed fragments whose callbacks are due */
    uint32_t no_ring_since;             /* monitor tick at which no ring could be allocated; 0: no failure pending */
    uint64_t messages;                  /* sent so far; read by the monitor */
    uint64_t bytes;                     /* sent so far; read by the monitor */
};
typedef struct mca_btl_vmshm_out_t mca_btl_vmshm_out_t;

/* The receiver's half: the peer's ring to us. Written by the poller; senders read `consumed` and `ack`. */
struct mca_btl_vmshm_in_t {
    const struct vmshm_slot *ring;      /* NULL until found */
    uint64_t position;                  /* of the next message */
    uint32_t mask;
    uint32_t taking;                    /* depth of nested polls that take messages from this ring */
    struct vmshm_head *my_head;
    uint64_t consumed;                  /* copy of my_head->head */
    uint64_t ack;                       /* how far the peer has read our ring, according to its last message */
    size_t unshown;                     /* bytes taken since my_head was written */
    uint64_t head_offset;               /* of my_head in the segment, 0: none */
};
typedef struct mca_btl_vmshm_in_t mca_btl_vmshm_in_t;

/* A peer process that Open MPI passed to add_procs, or whose ring to us was found, or both. */
struct mca_btl_base_endpoint_t {
    opal_list_item_t super;             /* in context.working while progress must visit the endpoint */
    bool working;                       /* in context.working; written under context.lock, read without it */
    opal_list_item_t retired_item;      /* in context.retired after its slot was reused; table lock */
    opal_mutex_t lock;
    mca_btl_vmshm_out_t out;
    mca_btl_vmshm_in_t in;
    mca_btl_vmshm_streams_t *streams;   /* large messages, both ways; NULL until the first; `lock` */
    struct vmshm_peer *peer;            /* identity and fate, see vmshm_registry.h */
    opal_proc_t *proc;                  /* NULL until add_procs; connect lock */
    bool reads;                         /* we are a reader of the peer's memory; `lock` */
    bool attended;                      /* the peer's fate was handled; `lock` */
    bool untold;                        /* handled but not reported, as the peer was not connected; the poller */
};
typedef struct mca_btl_base_endpoint_t mca_btl_base_endpoint_t;
typedef struct mca_btl_base_endpoint_t mca_btl_vmshm_endpoint_t;

static inline bool mca_btl_vmshm_is_alive(const mca_btl_vmshm_endpoint_t *endpoint)
{
    return vmshm_is_alive(endpoint->peer);
}

/* May nothing more be read of what the peer wrote? */
static inline bool mca_btl_vmshm_is_unreadable(const mca_btl_vmshm_endpoint_t *endpoint)
{
    return vmshm_is_unreadable(endpoint->peer);
}

/* Add to the counters of what was sent. Endpoint lock held; relaxed stores, because the monitor reads them. */
static inline void mca_btl_vmshm_count(mca_btl_vmshm_endpoint_t *endpoint, uint32_t messages,
                                       size_t bytes)
{
    vmshm_store_relaxed(&endpoint->out.messages, endpoint->out.messages + messages);
    vmshm_store_relaxed(&endpoint->out.bytes, endpoint->out.bytes + bytes);
}

OBJ_CLASS_DECLARATION(mca_btl_vmshm_endpoint_t);

/* The endpoint of exactly that process. Created if there is none yet, after the peer was proven; NULL and *e set if
 * that fails. */
mca_btl_vmshm_endpoint_t *mca_btl_vmshm_endpoint_get(const struct vmshm_address *address,
                                                     struct vmshm_error *e);
/* The same for add_procs: takes a reference for the upper layer, until mca_btl_vmshm_endpoint_drop(). */
mca_btl_vmshm_endpoint_t *mca_btl_vmshm_endpoint_add(const struct vmshm_address *address,
                                                     opal_proc_t *proc, struct vmshm_error *e);
void mca_btl_vmshm_endpoint_drop(mca_btl_vmshm_endpoint_t *endpoint, const opal_proc_t *proc);
/* Stop receiving from and sending to the endpoint: remove it from the rosters, stop being a reader of its windows.
 * Called by the poller only. */
void mca_btl_vmshm_endpoint_unmap(mca_btl_vmshm_endpoint_t *endpoint);

#endif
