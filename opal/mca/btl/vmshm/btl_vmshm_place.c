/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the chunks of streams stand between the sender's copy and the receiver's.
 *
 *   near peer   in the pool, memory in which all streams of the process go round and round: more than
 *               a core's own caches hold. A line that comes back was evicted from both cores, and is
 *               written and read faster than one which the other core still has
 *   far peer    in places of the channel's own, written past the caches. A near peer's chunks stand
 *               there, too, while the pool is empty: others may keep it until this peer goes on
 *
 * The measurements are in doc/decisions.md.
 */
#include "opal_config.h"

#include "btl_vmshm_distance.h"
#include "btl_vmshm_place.h"

#define OWN_CHUNK      8192u
/* A stream is cut in at least two, so that both sides copy at the same time. */
#define LEAST_CHUNK    4096u
/* Bytes between two samples of the distance. */
#define SAMPLE_BYTES   (128 * 1024)

/* A line apart, so that they do not compete for the same sets of the caches. */
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

/* The next part of the pool that this endpoint fills; false: there is none. */
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
        /* It goes back when its last chunk was taken. */
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
