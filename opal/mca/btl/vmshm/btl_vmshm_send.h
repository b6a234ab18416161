/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sending, at once or, without room, later from progress.
 */
#ifndef MCA_BTL_VMSHM_SEND_H
#define MCA_BTL_VMSHM_SEND_H

#include "btl_vmshm_context.h"

int mca_btl_vmshm_send(struct mca_btl_base_module_t *btl,
                       struct mca_btl_base_endpoint_t *endpoint,
                       struct mca_btl_base_descriptor_t *descriptor, mca_btl_base_tag_t tag);
/* Try the pending fragments again. Endpoint lock held. */
void mca_btl_vmshm_flush(mca_btl_vmshm_endpoint_t *endpoint);
/* Have the progress function visit the endpoint. */
void mca_btl_vmshm_work_on(mca_btl_vmshm_endpoint_t *endpoint);

int mca_btl_vmshm_sendi(struct mca_btl_base_module_t *btl,
                        struct mca_btl_base_endpoint_t *endpoint,
                        struct opal_convertor_t *convertor, void *header, size_t header_size,
                        size_t payload_size, uint8_t order, uint32_t flags,
                        mca_btl_base_tag_t tag, mca_btl_base_descriptor_t **descriptor);

#endif
