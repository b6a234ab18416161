/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The receiver's half of a ring.
 */
#ifndef MCA_BTL_VMSHM_POLL_H
#define MCA_BTL_VMSHM_POLL_H

#include "btl_vmshm_context.h"

/* Most nested polls: the upper layer may call progress from a callback, to wait for something. */
#define MCA_BTL_VMSHM_MOST_NESTED 8

/* Deliver at most `budget` messages from the endpoint's ring. Returns their number. */
int mca_btl_vmshm_poll(mca_btl_vmshm_endpoint_t *endpoint, int budget);

/* Deliver from all hot rings; from some of the cold rings, in turn; within a callback, from all rings. */
int mca_btl_vmshm_poll_hot(void);
int mca_btl_vmshm_poll_cold(void);
int mca_btl_vmshm_poll_nested(void);

#endif
