/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Large messages. Sender and receiver copy at the same time: the data go through a channel, a queue of a
 * few chunks in the sender's windows. The receiver copies each chunk to the user's buffer while the sender
 * writes the next one.
 *
 *     sender                                   receiver
 *     register_mem: offers a stream
 *     send: header with the stream's number -> matched: get() creates a pull
 *     first chunks, ahead of the pull       <- pull: "I am waiting for stream 7"
 *     chunk, chunk, chunk ...               -> copied to the user's buffer
 *     deregister_mem                        <- done (a message of the upper layer)
 *
 * The channel is a single FIFO; pulls are served in their order of arrival. A sender that has nothing else
 * to do starts a stream that was not pulled yet, as far as the channel has room. If the receiver then waits
 * for another stream, it drops the chunks in front of that stream's; the sender, which sees the pulls in the
 * same order, knows which streams have to start again. If the upper layer decides to send a message another
 * way, chunks of its stream stay in the channel until they are dropped. Stream numbers are therefore never
 * reused: a new stream with the same number would be given those chunks.
 * Modelled in test/model/streams.pml: change both.
 */
#ifndef MCA_BTL_VMSHM_STREAM_H
#define MCA_BTL_VMSHM_STREAM_H

#include "btl_vmshm_context.h"

/* Most chunks in flight to a peer, a power of two. */
#define MCA_BTL_VMSHM_CHUNKS     8u
/* Bytes of a buffer of the pool. */
#define MCA_BTL_VMSHM_POOL_CHUNK 16384u

/* How often to check whether the other side has finished its chunk, before turning to other work: about
 * the time that a chunk takes. */
#define MCA_BTL_VMSHM_STREAM_SPINS 200

/* What the sender's header carries to the receiver. */
struct mca_btl_base_registration_handle_t {
    uint64_t number;                    /* of the stream; never reused for this endpoint */
    uint64_t index;                     /* of the stream in the sender's table; reused */
    uint64_t size;                      /* bytes */
};

typedef struct mca_btl_vmshm_stream_t mca_btl_vmshm_stream_t;

/*
 * A stream is on at most one list of its endpoint:
 *   offered   not pulled yet; no chunk of it was pushed, or those pushed ahead of the pull were dropped
 *   awaited   pulled, but no chunk of it was pushed yet
 *   running   chunks of it are or were in the channel; in the channel's order. The last stream on the list
 *             may be the one that is being pushed
 */
struct mca_btl_vmshm_stream_t {
    opal_free_list_item_t super;
    struct mca_btl_base_registration_handle_t handle;
    mca_btl_vmshm_endpoint_t *endpoint;
    opal_list_t *list;
    const uint8_t *base;
    size_t size;
    size_t offset;                      /* of the next chunk */
    bool pulled;
};

OBJ_CLASS_DECLARATION(mca_btl_vmshm_stream_t);

/* The receiver's record of a stream that it is waiting for: the destination and the completion callback. */
struct mca_btl_vmshm_pull_t {
    opal_free_list_item_t super;
    uint64_t number;                    /* of the stream */
    uint8_t *to;
    size_t size;
    size_t done;
    int status;                         /* not OPAL_SUCCESS: refused, only the callback is due */
    struct mca_btl_base_registration_handle_t *handle;
    mca_btl_base_rdma_completion_fn_t cbfunc;
    void *cbcontext;
    void *cbdata;
};
typedef struct mca_btl_vmshm_pull_t mca_btl_vmshm_pull_t;

OBJ_CLASS_DECLARATION(mca_btl_vmshm_pull_t);

/* An endpoint's state for large messages. Separate, since most peers of a large job never get one. */
struct mca_btl_vmshm_streams_t {
    opal_object_t super;

    /* The sender's half: the channel to the peer. Endpoint lock. */
    struct vmshm_channel *channel;      /* NULL until the first stream */
    uint64_t channel_offset;            /* in the segment, 0: none */
    bool channel_told;                  /* the message with its offset was published */
    uint64_t chunks_out;                /* chunks put into the channel */
    uint64_t chunks_taken;              /* chunks that the peer has taken, as last read from it */
    uint64_t own_places;                /* offset of the channel's own buffers, see btl_vmshm_place.c */
    uint64_t pool_places[MCA_BTL_VMSHM_CHUNKS];   /* pool buffer to free after this chunk, or 0 */
    uint32_t pool_out;                  /* number of nonzero entries in pool_places */
    uint32_t pool_used;                 /* bytes used of pool_place */
    uint64_t pool_place;                /* pool buffer that is being filled, or 0 */
    size_t unsampled;                   /* bytes since the distance was sampled */
    uint64_t numbers;                   /* stream numbers assigned so far */
    opal_pointer_array_t table;         /* streams by index, until the upper layer deregisters them */
    mca_btl_vmshm_stream_t *stream;     /* the stream that is being pushed, or NULL */
    opal_list_t offered;
    opal_list_t awaited;
    opal_list_t running;

    /* The receiver's half: the peer's channel. Written by the poller, except for pulling and pulls. */
    const struct vmshm_channel *channel_in;
    uint32_t chunks_mask;
    uint64_t chunks_in;                 /* chunks taken from channel_in */
    bool pulling;                       /* `pulls` may have entries; written under pull_lock */
    opal_list_t pulls;                  /* pulls in progress, in the order sent; pull_lock */
    opal_mutex_t pull_lock;             /* protects pulling and pulls */
};

OBJ_CLASS_DECLARATION(mca_btl_vmshm_streams_t);

/* The endpoint's streams, allocated if there are none yet; NULL: no memory. Takes the endpoint lock. */
mca_btl_vmshm_streams_t *mca_btl_vmshm_streams_of(mca_btl_vmshm_endpoint_t *endpoint);

/* The descriptor of chunk `number`, in a channel of `mask` + 1 chunks. */
static inline struct vmshm_chunk *mca_btl_vmshm_chunk_at(const struct vmshm_channel *channel,
                                                         uint64_t number, uint32_t mask)
{
    return (struct vmshm_chunk *) (uintptr_t) (channel + 1) + (number & mask);
}

static inline uint64_t mca_btl_vmshm_channel_bytes(uint32_t chunks)
{
    return sizeof(struct vmshm_channel) + (uint64_t) chunks * sizeof(struct vmshm_chunk);
}

#endif
