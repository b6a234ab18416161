/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the transport does twice a second in the monitor thread.
 */
#ifndef MCA_BTL_VMSHM_TICK_H
#define MCA_BTL_VMSHM_TICK_H

#include "btl_vmshm_context.h"

/* Called by vmshm_events_tick(). */
void mca_btl_vmshm_tick(void);
/* Publish this process's counts of sent messages and bytes, for `vmshmctl show`. */
void mca_btl_vmshm_publish_sent(void);
/* Add the counts of what was sent to the peer. */
void mca_btl_vmshm_count_sent(const mca_btl_vmshm_endpoint_t *endpoint, uint64_t *messages, uint64_t *bytes);

#endif
