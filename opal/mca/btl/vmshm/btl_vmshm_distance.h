/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Near and far peers.
 */
#ifndef MCA_BTL_VMSHM_DISTANCE_H
#define MCA_BTL_VMSHM_DISTANCE_H

#include "btl_vmshm_context.h"

/* Time how long it takes to read a line that the peer wrote, and judge by it. Endpoint lock held. */
void mca_btl_vmshm_distance_sample(mca_btl_vmshm_endpoint_t *endpoint);
/* Learn how long a tick of the processor's counter is. Called by the monitor. */
void mca_btl_vmshm_distance_clock(void);

#endif
