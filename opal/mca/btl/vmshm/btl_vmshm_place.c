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

#include "btl_vmshm_stream.h"

#include <stdlib.h>

#define OWN_CHUNK      8192u
/* A stream is cut in at least two, so that both sides copy at the same time. */
#define LEAST_CHUNK    4096u
/* Bytes between two samples of the distance. */
#define SAMPLE_BYTES   (128 * 1024)

/* A line apart, so that they do not compete for the same sets of the caches. */
#define OWN_STRIDE     (OWN_CHUNK + VMSHM_LINE_BYTES)

bool mca_btl_vmshm_places_open(mca_btl_vmshm_endpoint_t *endpoint)
{
    if (NULL == endpoint->pool_places) {
        endpoint->pool_places = calloc(MCA_BTL_VMSHM_CHUNKS, sizeof *endpoint->pool_places);
    }
    if (0 == endpoint->own_places) {
        endpoint->own_places = mca_btl_vmshm_channel_take(&mca_btl_vmshm_component.arena,
                                                          MCA_BTL_VMSHM_CHUNKS * OWN_STRIDE);
    }
    return NULL != endpoint->pool_places && 0 != endpoint->own_places;
}

/* The next part of the pool that this endpoint fills; false: there is none. */
static bool take_from_pool(mca_btl_vmshm_endpoint_t *endpoint, size_t size,
                           mca_btl_vmshm_place_t *place)
{
    uint32_t bytes = MCA_BTL_VMSHM_POOL_CHUNK;

    if (0 == endpoint->pool_place) {
        endpoint->pool_place = mca_btl_vmshm_pool_take(&mca_btl_vmshm_component.arena);
        endpoint->pool_used = 0;
        if (0 == endpoint->pool_place) {
            return false;
        }
    }
    while (bytes > LEAST_CHUNK && 2 * bytes > size) {
        bytes /= 2;
    }
    if (bytes > MCA_BTL_VMSHM_POOL_CHUNK - endpoint->pool_used) {
        bytes = MCA_BTL_VMSHM_POOL_CHUNK - endpoint->pool_used;
    }
    *place = (mca_btl_vmshm_place_t) { endpoint->pool_place + endpoint->pool_used, bytes, false };
    endpoint->pool_used += bytes;
    if (MCA_BTL_VMSHM_POOL_CHUNK == endpoint->pool_used) {
        /* It goes back when its last chunk was taken. */
        endpoint->pool_places[endpoint->chunks_out % MCA_BTL_VMSHM_CHUNKS] = endpoint->pool_place;
        endpoint->pool_out += 1;
        endpoint->pool_place = 0;
    }
    return true;
}

mca_btl_vmshm_place_t mca_btl_vmshm_place_take(mca_btl_vmshm_endpoint_t *endpoint, size_t size)
{
    mca_btl_vmshm_place_t place;

    if (endpoint->unsampled >= SAMPLE_BYTES) {
        mca_btl_vmshm_distance_sample(endpoint);
        endpoint->unsampled = 0;
    }
    if (endpoint->far || !take_from_pool(endpoint, size, &place)) {
        place.offset = endpoint->own_places
                       + endpoint->chunks_out % MCA_BTL_VMSHM_CHUNKS * OWN_STRIDE;
        place.bytes = OWN_CHUNK;
        place.past_caches = true;
    }
    endpoint->unsampled += place.bytes;
    return place;
}

void mca_btl_vmshm_places_taken(mca_btl_vmshm_endpoint_t *endpoint, uint64_t taken)
{
    for (; endpoint->chunks_taken < taken; endpoint->chunks_taken += 1) {
        uint64_t *place = endpoint->pool_places + endpoint->chunks_taken % MCA_BTL_VMSHM_CHUNKS;

        if (0 != *place) {
            mca_btl_vmshm_pool_give(&mca_btl_vmshm_component.arena, *place);
            *place = 0;
            endpoint->pool_out -= 1;
        }
    }
}

void mca_btl_vmshm_places_close(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_places_taken(endpoint, endpoint->chunks_out);
    if (0 != endpoint->pool_place) {
        mca_btl_vmshm_pool_give(&mca_btl_vmshm_component.arena, endpoint->pool_place);
        endpoint->pool_place = 0;
    }
    free(endpoint->pool_places);
    endpoint->pool_places = NULL;
    endpoint->channel = NULL;
}
