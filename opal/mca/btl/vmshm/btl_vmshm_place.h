/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory in which chunks are between the sender's copy and the receiver's. Endpoint lock held for all functions.
 */
#ifndef MCA_BTL_VMSHM_PLACE_H
#define MCA_BTL_VMSHM_PLACE_H

#include "btl_vmshm_stream.h"

struct mca_btl_vmshm_place_t {
    uint64_t offset;                    /* in the segment */
    uint32_t bytes;
    bool past_caches;                   /* write with non-temporal stores */
};
typedef struct mca_btl_vmshm_place_t mca_btl_vmshm_place_t;

/* Allocate the channel's own buffers. False: no memory. */
bool mca_btl_vmshm_places_open(mca_btl_vmshm_endpoint_t *endpoint);
/* Memory for the next chunk of a stream of `size` bytes. Fewer than MCA_BTL_VMSHM_CHUNKS may be in flight. */
mca_btl_vmshm_place_t mca_btl_vmshm_place_take(mca_btl_vmshm_endpoint_t *endpoint, size_t size);
/* The peer has taken `taken` chunks in all: free the pool buffers that it has finished with. */
void mca_btl_vmshm_places_taken(mca_btl_vmshm_endpoint_t *endpoint, uint64_t taken);
/* If all chunks were taken, return a partly used buffer to the pool. */
void mca_btl_vmshm_places_rest(mca_btl_vmshm_endpoint_t *endpoint);
/* The peer has left and reads nothing any more: free the channel and all its buffers. */
void mca_btl_vmshm_places_close(mca_btl_vmshm_endpoint_t *endpoint);

#endif
