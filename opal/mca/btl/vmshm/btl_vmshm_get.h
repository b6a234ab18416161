/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Large messages at the receiver.
 */
#ifndef MCA_BTL_VMSHM_GET_H
#define MCA_BTL_VMSHM_GET_H

#include "btl_vmshm_stream.h"

int mca_btl_vmshm_get(struct mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint,
                      void *local_address, uint64_t remote_address,
                      struct mca_btl_base_registration_handle_t *local_handle,
                      struct mca_btl_base_registration_handle_t *remote_handle, size_t size,
                      int flags, int order, mca_btl_base_rdma_completion_fn_t cbfunc,
                      void *cbcontext, void *cbdata);
/* Receive from the peer's channel at `offset` from now on. False: the peer is broken and *why says how, or there is
 * no memory. Called by the poller. */
bool mca_btl_vmshm_channel_accept(mca_btl_vmshm_endpoint_t *endpoint, uint64_t offset,
                                  const char **why);
/* Take published chunks and complete pulls, within a budget. Returns the number of chunks and completions. Called
 * by the poller. */
int mca_btl_vmshm_stream_take(mca_btl_vmshm_endpoint_t *endpoint);

#endif
