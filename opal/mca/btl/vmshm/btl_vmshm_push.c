/* SPDX-License-Identifier: BSD-3-Clause */
/* The sender's side of large messages: offering streams, handling pulls, pushing chunks into the channel. */
/* Modelled in test/model/streams.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm_push.h"
#include "btl_vmshm_check.h"
#include "btl_vmshm_frag.h"
#include "btl_vmshm_item.h"
#include "btl_vmshm_pack.h"
#include "btl_vmshm_place.h"
#include "btl_vmshm_ring.h"
#include "btl_vmshm_send.h"

#include <limits.h>
#include <string.h>

/* Most chunks pushed per call for one endpoint, before other endpoints get their turn. */
#define PUSH_BUDGET 64

OBJ_CLASS_INSTANCE(mca_btl_vmshm_stream_t, opal_free_list_item_t, NULL, NULL);

/* The handle for memory to receive into. That needs no registration, but ob1 treats NULL as a failure. */
static struct mca_btl_base_registration_handle_t any_memory;

static void move_to(mca_btl_vmshm_stream_t *stream, opal_list_t *list)
{
    if (NULL != stream->list) {
        opal_list_remove_item(stream->list, &stream->super.super);
    }
    stream->list = list;
    if (NULL != list) {
        opal_list_append(list, &stream->super.super);
    }
}

/* Create the channel if there is none. Endpoint lock held. False: no memory; large messages are then sent in
 * fragments. */
static bool has_channel(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_streams_t *streams = endpoint->streams;
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    struct vmshm_channel *channel;

    if (OPAL_LIKELY(NULL != streams->channel)) {
        return true;
    }
    if (endpoint->attended) {
        return false;                   /* the peer is gone: nothing would free the channel later */
    }
    if (0 == streams->channel_offset) {
        streams->channel_offset =
            mca_btl_vmshm_channel_take(&c->memory, mca_btl_vmshm_channel_bytes(MCA_BTL_VMSHM_CHUNKS));
    }
    if (0 == streams->channel_offset || !mca_btl_vmshm_places_open(endpoint)) {
        return false;
    }
    channel = mca_btl_vmshm_at(streams->channel_offset);
    memset(channel, 0, mca_btl_vmshm_channel_bytes(MCA_BTL_VMSHM_CHUNKS));
    channel->magic = VMSHM_CHANNEL_MAGIC;
    channel->from = mca_btl_vmshm_member()->nonce;
    channel->to = endpoint->peer->nonce;
    channel->chunks = MCA_BTL_VMSHM_CHUNKS;
    streams->channel = channel;
    return true;
}

struct mca_btl_base_registration_handle_t *
mca_btl_vmshm_register_mem(struct mca_btl_base_module_t *btl,
                           struct mca_btl_base_endpoint_t *endpoint, void *base, size_t size,
                           uint32_t flags)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    mca_btl_vmshm_streams_t *streams;
    mca_btl_vmshm_stream_t *stream = NULL;
    int index = -1;

    (void) btl;
    if (0 == (flags & MCA_BTL_REG_FLAG_REMOTE_READ)) {
        return &any_memory;
    }
    if (MCA_BTL_ENDPOINT_ANY == endpoint
        || NULL == (streams = mca_btl_vmshm_streams_of(endpoint))) {
        return NULL;
    }
    OPAL_THREAD_LOCK(&endpoint->lock);
    if (has_channel(endpoint)) {
        stream = (mca_btl_vmshm_stream_t *) mca_btl_vmshm_item_take(&c->streams);
    }
    if (NULL != stream) {
        index = opal_pointer_array_add(&streams->table, stream);
    }
    if (index >= 0) {
        stream->handle.number = ++streams->numbers;
        stream->handle.index = (uint64_t) index;
        stream->handle.size = size;
        stream->endpoint = endpoint;
        stream->list = NULL;
        mca_btl_vmshm_buffer_begin(base);
        stream->base = base;
        stream->size = size;
        stream->offset = 0;
        stream->pulled = false;
        move_to(stream, &streams->offered);
        mca_btl_vmshm_work_on(endpoint);
    }
    OPAL_THREAD_UNLOCK(&endpoint->lock);
    if (index < 0) {
        if (NULL != stream) {
            mca_btl_vmshm_item_give(&c->streams, &stream->super);
        }
        return NULL;
    }
    return &stream->handle;
}

/* Read how many chunks the peer has taken, and free their memory. */
static void look_at_chunks(mca_btl_vmshm_endpoint_t *endpoint)
{
    uint64_t taken;

    if (OPAL_UNLIKELY(NULL == endpoint->out.peer_head)) {
        mca_btl_vmshm_reclaim(endpoint);
        if (NULL == endpoint->out.peer_head) {
            return;
        }
    }
    if (mca_btl_vmshm_check_chunks(endpoint, &taken)) {
        mca_btl_vmshm_places_taken(endpoint, taken);
    }
}

int mca_btl_vmshm_deregister_mem(struct mca_btl_base_module_t *btl,
                                 struct mca_btl_base_registration_handle_t *handle)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    mca_btl_vmshm_endpoint_t *endpoint;
    mca_btl_vmshm_stream_t *stream;

    (void) btl;
    if (&any_memory == handle) {
        return OPAL_SUCCESS;
    }
    stream = (mca_btl_vmshm_stream_t *) ((char *) handle
                                         - offsetof(mca_btl_vmshm_stream_t, handle));
    endpoint = stream->endpoint;
    OPAL_THREAD_LOCK(&endpoint->lock);
    mca_btl_vmshm_buffer_end(stream->base);
    move_to(stream, NULL);
    /* The peer has the whole message. Return its pool buffers now, including a partly used one, since there may
     * be no further message to this peer. */
    if (endpoint->streams->pool_out > 0 || 0 != endpoint->streams->pool_place) {
        look_at_chunks(endpoint);
    }
    mca_btl_vmshm_places_rest(endpoint);
    if (endpoint->streams->stream == stream) {
        endpoint->streams->stream = NULL;        /* the upper layer decided to send the message another way */
    }
    (void) opal_pointer_array_set_item(&endpoint->streams->table, (int) handle->index, NULL);
    OPAL_THREAD_UNLOCK(&endpoint->lock);
    mca_btl_vmshm_item_give(&c->streams, &stream->super);
    return OPAL_SUCCESS;
}

/* A stream was pulled. The peer drops the chunks of all streams before `end` in the channel that it has not
 * pulled: these streams start again. `end` NULL: all streams in the channel. Endpoint lock held. */
static void offer_again(mca_btl_vmshm_endpoint_t *endpoint, const mca_btl_vmshm_stream_t *end)
{
    mca_btl_vmshm_streams_t *streams = endpoint->streams;
    mca_btl_vmshm_stream_t *stream, *next;

    OPAL_LIST_FOREACH_SAFE(stream, next, &streams->running, mca_btl_vmshm_stream_t) {
        if (stream == end) {
            return;
        }
        if (!stream->pulled) {
            move_to(stream, &streams->offered);
            stream->offset = 0;
            if (streams->stream == stream) {
                streams->stream = NULL;
            }
        }
    }
}

/* Endpoint lock held. NULL: the peer pulled a stream that it was not offered, or pulled it twice. */
static mca_btl_vmshm_stream_t *find_offered(mca_btl_vmshm_endpoint_t *endpoint,
                                            const struct vmshm_pull *pull)
{
    mca_btl_vmshm_streams_t *streams = vmshm_load_acquire(&endpoint->streams);
    mca_btl_vmshm_stream_t *stream;

    if (NULL == streams || pull->index > INT_MAX) {
        return NULL;
    }
    stream = opal_pointer_array_get_item(&streams->table, (int) pull->index);
    return NULL != stream && stream->handle.number == pull->stream && !stream->pulled ? stream : NULL;
}

void mca_btl_vmshm_stream_pulled(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_pull *pull)
{
    mca_btl_vmshm_stream_t *stream;

    OPAL_THREAD_LOCK(&endpoint->lock);
    stream = find_offered(endpoint, pull);
    if (NULL == stream) {
        vmshm_peer_broken(endpoint->peer, "pull", "there is no such stream");
    } else {
        stream->pulled = true;
        if (stream->list == &endpoint->streams->running) {
            offer_again(endpoint, stream);
        } else {
            offer_again(endpoint, NULL);
            move_to(stream, &endpoint->streams->awaited);
        }
        mca_btl_vmshm_work_on(endpoint);
    }
    OPAL_THREAD_UNLOCK(&endpoint->lock);
}

bool mca_btl_vmshm_stream_wants(const mca_btl_vmshm_endpoint_t *endpoint)
{
    const mca_btl_vmshm_streams_t *streams = endpoint->streams;

    return NULL != streams && (NULL != streams->stream
                               || !opal_list_is_empty((opal_list_t *) &streams->awaited)
                               || !opal_list_is_empty((opal_list_t *) &streams->offered));
}

/* Tell the peer the channel's offset. False: no room in the ring, try again later. */
static bool tell_channel(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_streams_t *streams = endpoint->streams;

    if (streams->channel_told) {
        return true;
    }
    if (!mca_btl_vmshm_ring_make_room(endpoint, 1)) {
        return false;
    }
    memcpy(mca_btl_vmshm_ring_slot(endpoint)->payload, &streams->channel_offset,
           sizeof streams->channel_offset);
    mca_btl_vmshm_ring_publish(endpoint, VMSHM_SLOT_CHANNEL, 1, VMSHM_SLOT_HEAD_BYTES,
                               sizeof streams->channel_offset, 0);
    streams->channel_told = true;
    return true;
}

static inline bool is_full(const mca_btl_vmshm_endpoint_t *endpoint)
{
    const mca_btl_vmshm_streams_t *streams = endpoint->streams;

    return streams->chunks_out - streams->chunks_taken >= MCA_BTL_VMSHM_CHUNKS;
}

/* Wait for room in the channel. If patient, spin for a moment: the peer is copying, and may soon free a chunk. */
static bool await_place(mca_btl_vmshm_endpoint_t *endpoint, bool patient)
{
    mca_btl_vmshm_streams_t *streams = endpoint->streams;
    int spins = patient && NULL != streams->stream && streams->stream->pulled
                ? MCA_BTL_VMSHM_STREAM_SPINS : 0;

    while (is_full(endpoint)) {
        look_at_chunks(endpoint);
        if (is_full(endpoint) && 0 == spins--) {
            return false;
        }
    }
    return true;
}

static mca_btl_vmshm_stream_t *next_stream(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_streams_t *streams = endpoint->streams;
    opal_list_t *from = opal_list_is_empty(&streams->awaited) ? &streams->offered
                                                               : &streams->awaited;

    if (NULL == streams->stream && !opal_list_is_empty(from)) {
        streams->stream = (mca_btl_vmshm_stream_t *) opal_list_get_first(from);
        move_to(streams->stream, &streams->running);
    }
    return streams->stream;
}

static void push_chunk(mca_btl_vmshm_endpoint_t *endpoint, mca_btl_vmshm_stream_t *stream)
{
    mca_btl_vmshm_streams_t *streams = endpoint->streams;
    const mca_btl_vmshm_place_t place = mca_btl_vmshm_place_take(endpoint, stream->size);
    struct vmshm_chunk *chunk = mca_btl_vmshm_chunk_at(streams->channel, streams->chunks_out,
                                                       MCA_BTL_VMSHM_CHUNKS - 1);
    const size_t left = stream->size - stream->offset;
    const size_t length = left < place.bytes ? left : place.bytes;
    const uint8_t *from = stream->base + stream->offset;

    if (place.past_caches) {
        mca_btl_vmshm_copy_past_caches(mca_btl_vmshm_at(place.offset), from, length);
    } else {
        mca_btl_vmshm_copy(mca_btl_vmshm_at(place.offset), from, length);
    }
    chunk->stream = stream->handle.number;
    chunk->offset = stream->offset;
    chunk->length = length;
    chunk->place = place.offset;
    streams->chunks_out += 1;
    /* Release: data and descriptor must be visible before the number. */
    vmshm_store_release(&chunk->number, streams->chunks_out);
    stream->offset += length;
    mca_btl_vmshm_count(endpoint, 0, length);
}

int mca_btl_vmshm_stream_push(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_streams_t *streams = endpoint->streams;
    int count = 0;

    if (!mca_btl_vmshm_is_alive(endpoint)
        || !tell_channel(endpoint)) {
        return 0;
    }
    while (count < PUSH_BUDGET && await_place(endpoint, count > 0)) {
        mca_btl_vmshm_stream_t *stream = next_stream(endpoint);

        if (NULL == stream) {
            break;
        }
        push_chunk(endpoint, stream);
        if (stream->offset == stream->size) {
            streams->stream = NULL;
        }
        ++count;
    }
    return count;
}
