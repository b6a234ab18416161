/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Telling near peers from far ones.
 */
#ifndef MCA_BTL_VMSHM_DISTANCE_H
#define MCA_BTL_VMSHM_DISTANCE_H

#include "btl_vmshm_context.h"

/* Time the read of a cache line that the peer wrote, and update endpoint->out.far. Endpoint lock held. */
void mca_btl_vmshm_distance_sample(mca_btl_vmshm_endpoint_t *endpoint);
/* Measure the duration of a tick of the processor's cycle counter. Called by the monitor. */
void mca_btl_vmshm_distance_clock(void);

#endif
