/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where chunks stand between the two copies. Endpoint lock held.
 */
#ifndef MCA_BTL_VMSHM_PLACE_H
#define MCA_BTL_VMSHM_PLACE_H

#include "btl_vmshm_stream.h"

struct mca_btl_vmshm_place_t {
    uint64_t offset;                    /* in the segment */
    uint32_t bytes;
    bool past_caches;
};
typedef struct mca_btl_vmshm_place_t mca_btl_vmshm_place_t;

/* What each channel needs; false: no memory. */
bool mca_btl_vmshm_places_open(mca_btl_vmshm_endpoint_t *endpoint);
/* For the next chunk, of a stream of `size` bytes; fewer than MCA_BTL_VMSHM_CHUNKS are under way. */
mca_btl_vmshm_place_t mca_btl_vmshm_place_take(mca_btl_vmshm_endpoint_t *endpoint, size_t size);
/* The peer has taken so many chunks. */
void mca_btl_vmshm_places_taken(mca_btl_vmshm_endpoint_t *endpoint, uint64_t taken);
/* If all chunks were taken, a part-used place of the pool serves others. */
void mca_btl_vmshm_places_rest(mca_btl_vmshm_endpoint_t *endpoint);
/* The peer has left and reads nothing any more: channel and places serve others. */
void mca_btl_vmshm_places_close(mca_btl_vmshm_endpoint_t *endpoint);

#endif
