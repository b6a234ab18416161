/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Large messages. Sender and receiver copy at the same time: the sender's bytes go through a channel,
 * a few chunks in its own windows, and the receiver copies each chunk to where the user wants it while
 * the next one is being written.
 *
 *     sender                                   receiver
 *     register_mem: a stream, offered
 *     send: header with the stream's number -> matched: get() makes a pull
 *     first chunks, before it is asked for     pull -> "I await stream 7"
 *     chunk, chunk, chunk ...               -> copied to the user's buffer
 *     deregister_mem                       <-  done (the upper layer's message)
 *
 * The channel is one queue; pulls are served in their order. A sender that has nothing else to do
 * starts a stream nobody awaits yet, as far as the channel has places. If the receiver then awaits
 * another one, it drops the chunks it finds in front, and the sender, who sees the pulls in the same
 * order, knows which streams have to begin again. Chunks of a stream that the upper layer then sends
 * another way stay in the channel until they are dropped: a number that came again would claim them.
 * Modelled in test/model/streams.pml: change both.
 */
#ifndef MCA_BTL_VMSHM_STREAM_H
#define MCA_BTL_VMSHM_STREAM_H

#include "btl_vmshm_context.h"

/* Chunks under way to a peer, a power of two. */
#define MCA_BTL_VMSHM_CHUNKS     8u
/* Bytes of a place of the pool. */
#define MCA_BTL_VMSHM_POOL_CHUNK 16384u

/* Looks at the other side's next step while both copy, before other work has its turn: about the time
 * of a chunk. */
#define MCA_BTL_VMSHM_STREAM_SPINS 200

/* What the sender's header carries to the receiver. */
struct mca_btl_base_registration_handle_t {
    uint64_t number;                    /* of the stream; no other of this endpoint ever has it */
    uint64_t index;                     /* of the stream in the sender's table, used again and again */
    uint64_t size;
};

typedef struct mca_btl_vmshm_stream_t mca_btl_vmshm_stream_t;

/*
 * A stream is on one list of its endpoint, or on none:
 *   offered   nobody awaits it yet, or what was sent of it ahead of time was dropped
 *   awaited   pulled, its turn has not come
 *   running   chunks of it are in the channel, or were; in the channel's order, the last one may be
 *             the one that is being pushed
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

/* A stream that is awaited: where its bytes go, whom to tell. */
struct mca_btl_vmshm_pull_t {
    opal_free_list_item_t super;
    uint64_t number;                    /* of the stream */
    uint8_t *to;
    size_t size;
    size_t done;
    int status;                         /* not OPAL_SUCCESS: nothing is awaited */
    struct mca_btl_base_registration_handle_t *handle;
    mca_btl_base_rdma_completion_fn_t cbfunc;
    void *cbcontext;
    void *cbdata;
};
typedef struct mca_btl_vmshm_pull_t mca_btl_vmshm_pull_t;

OBJ_CLASS_DECLARATION(mca_btl_vmshm_pull_t);

/* What an endpoint keeps for large messages; most peers of a large job get none. */
struct mca_btl_vmshm_streams_t {
    opal_object_t super;

    /* The sender's half: the channel towards the peer. Endpoint lock. */
    struct vmshm_channel *channel;      /* NULL until the first stream */
    uint64_t channel_offset;
    bool channel_told;                  /* the peer knows where it is, or will before it is used */
    uint64_t chunks_out;                /* put into it */
    uint64_t chunks_taken;              /* of these, as last read from the peer */
    uint64_t own_places;                /* where chunks stand: btl_vmshm_place.c */
    uint64_t pool_places[MCA_BTL_VMSHM_CHUNKS];   /* that end with this chunk, or 0 */
    uint32_t pool_out;                  /* how many of these are not 0 */
    uint32_t pool_used;                 /* bytes of the next one, that is being filled */
    uint64_t pool_place;
    size_t unsampled;                   /* bytes since the distance was timed */
    uint64_t numbers;                   /* given to streams so far */
    opal_pointer_array_t table;         /* streams by index, until the upper layer is done with them */
    mca_btl_vmshm_stream_t *stream;     /* that is being pushed, or NULL */
    opal_list_t offered;
    opal_list_t awaited;
    opal_list_t running;

    /* The receiver's half: the peer's channel. The poller. */
    const struct vmshm_channel *channel_in;
    uint32_t chunks_mask;
    uint64_t chunks_in;                 /* taken from it */
    bool pulling;                       /* streams are awaited */
    opal_list_t pulls;
    opal_mutex_t pull_lock;             /* these two */
};

OBJ_CLASS_DECLARATION(mca_btl_vmshm_streams_t);

/* The endpoint's, made if need be; NULL: no memory. Takes the endpoint lock. */
mca_btl_vmshm_streams_t *mca_btl_vmshm_streams_of(mca_btl_vmshm_endpoint_t *endpoint);

/* The description of chunk `number` (its place in a channel of `mask` + 1). */
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
