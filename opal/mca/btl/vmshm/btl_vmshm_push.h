/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Large messages at the sender.
 */
#ifndef MCA_BTL_VMSHM_PUSH_H
#define MCA_BTL_VMSHM_PUSH_H

#include "btl_vmshm_stream.h"

struct mca_btl_base_registration_handle_t *
mca_btl_vmshm_register_mem(struct mca_btl_base_module_t *btl,
                           struct mca_btl_base_endpoint_t *endpoint, void *base, size_t size,
                           uint32_t flags);
int mca_btl_vmshm_deregister_mem(struct mca_btl_base_module_t *btl,
                                 struct mca_btl_base_registration_handle_t *handle);
/* The peer has pulled a stream. Called by the poller. */
void mca_btl_vmshm_stream_pulled(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_pull *pull);
/* Push chunks while the channel has room, within a budget. Returns their number. Endpoint lock held. */
int mca_btl_vmshm_stream_push(mca_btl_vmshm_endpoint_t *endpoint);
/* Is there a stream to push? Endpoint lock held. */
bool mca_btl_vmshm_stream_wants(const mca_btl_vmshm_endpoint_t *endpoint);

#endif
