/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory in which chunks of streams are between the sender's copy and the receiver's copy.
 *
 *   near peer   in the pool, whose buffers all streams of the process use in a cycle. The pool is larger
 *               than a core's private caches: when a buffer is reused its lines were evicted from both
 *               cores, and are written and read faster than lines that the other core still caches
 *   far peer    in buffers of the channel itself, written with non-temporal stores. Chunks for a near
 *               peer use these, too, while the pool is empty: otherwise the peer would have to wait
 *               until other peers' streams free pool buffers
 *
 * The measurements are in doc/decisions.md.
 */
#include "opal_config.h"

#include "btl_vmshm_distance.h"
#include "btl_vmshm_place.h"

#define OWN_CHUNK      8192u
/* A stream is split into at least two chunks, so that both sides copy at the same time, but into none below this. */
#define LEAST_CHUNK    4096u
/* Bytes between two samples of the peer's distance. */
#define SAMPLE_BYTES   (128 * 1024)

/* One cache line more, so that the buffers do not compete for the same cache sets. */
#define OWN_STRIDE     (OWN_CHUNK + VMSHM_LINE_BYTES)

bool mca_btl_vmshm_places_open(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_streams_t *streams = endpoint->streams;

    if (0 == streams->own_places) {
        streams->own_places = mca_btl_vmshm_channel_take(&mca_btl_vmshm_context.memory,
                                                          MCA_BTL_VMSHM_CHUNKS * OWN_STRIDE);
    }
    return 0 != streams->own_places;
}

/* Memory for the next chunk, from the pool buffer that this endpoint is filling. False: the pool is empty. */
static bool take_from_pool(mca_btl_vmshm_endpoint_t *endpoint, size_t size,
                           mca_btl_vmshm_place_t *place)
{
    mca_btl_vmshm_streams_t *streams = endpoint->streams;
    uint32_t bytes = MCA_BTL_VMSHM_POOL_CHUNK;

    if (0 == streams->pool_place) {
        streams->pool_place = mca_btl_vmshm_pool_take(&mca_btl_vmshm_context.memory);
        streams->pool_used = 0;
        if (0 == streams->pool_place) {
            return false;
        }
    }
    while (bytes > LEAST_CHUNK && 2 * bytes > size) {
        bytes /= 2;
    }
    if (bytes > MCA_BTL_VMSHM_POOL_CHUNK - streams->pool_used) {
        bytes = MCA_BTL_VMSHM_POOL_CHUNK - streams->pool_used;
    }
    *place = (mca_btl_vmshm_place_t) { streams->pool_place + streams->pool_used, bytes, false };
    streams->pool_used += bytes;
    if (MCA_BTL_VMSHM_POOL_CHUNK == streams->pool_used) {
        /* The buffer is full: it goes back to the pool when the peer has taken this chunk. */
        streams->pool_places[streams->chunks_out % MCA_BTL_VMSHM_CHUNKS] = streams->pool_place;
        streams->pool_out += 1;
        streams->pool_place = 0;
    }
    return true;
}

mca_btl_vmshm_place_t mca_btl_vmshm_place_take(mca_btl_vmshm_endpoint_t *endpoint, size_t size)
{
    mca_btl_vmshm_streams_t *streams = endpoint->streams;
    mca_btl_vmshm_place_t place;

    if (streams->unsampled >= SAMPLE_BYTES) {
        mca_btl_vmshm_distance_sample(endpoint);
        streams->unsampled = 0;
    }
    if (endpoint->out.far || !take_from_pool(endpoint, size, &place)) {
        place.offset = streams->own_places
                       + streams->chunks_out % MCA_BTL_VMSHM_CHUNKS * OWN_STRIDE;
        place.bytes = OWN_CHUNK;
        place.past_caches = true;
    }
    streams->unsampled += place.bytes;
    return place;
}

void mca_btl_vmshm_places_taken(mca_btl_vmshm_endpoint_t *endpoint, uint64_t taken)
{
    mca_btl_vmshm_streams_t *streams = endpoint->streams;

    for (; streams->chunks_taken < taken; streams->chunks_taken += 1) {
        uint64_t *place = streams->pool_places + streams->chunks_taken % MCA_BTL_VMSHM_CHUNKS;

        if (0 != *place) {
            mca_btl_vmshm_pool_give(&mca_btl_vmshm_context.memory, *place);
            *place = 0;
            streams->pool_out -= 1;
        }
    }
}

void mca_btl_vmshm_places_rest(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_streams_t *streams = endpoint->streams;

    if (0 != streams->pool_place && streams->chunks_taken == streams->chunks_out) {
        mca_btl_vmshm_pool_give(&mca_btl_vmshm_context.memory, streams->pool_place);
        streams->pool_place = 0;
    }
}

void mca_btl_vmshm_places_close(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_memory_t *memory = &mca_btl_vmshm_context.memory;
    mca_btl_vmshm_streams_t *streams = endpoint->streams;

    if (NULL == streams) {
        return;
    }
    mca_btl_vmshm_places_taken(endpoint, streams->chunks_out);
    mca_btl_vmshm_places_rest(endpoint);
    if (0 != streams->own_places) {
        mca_btl_vmshm_channel_give(memory, streams->own_places, MCA_BTL_VMSHM_CHUNKS * OWN_STRIDE);
        streams->own_places = 0;
    }
    if (0 != streams->channel_offset) {
        mca_btl_vmshm_channel_give(memory, streams->channel_offset,
                                   mca_btl_vmshm_channel_bytes(MCA_BTL_VMSHM_CHUNKS));
        streams->channel_offset = 0;
        streams->channel = NULL;
    }
}
