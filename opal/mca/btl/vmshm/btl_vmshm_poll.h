/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The receiver's half of a ring.
 */
#ifndef MCA_BTL_VMSHM_POLL_H
#define MCA_BTL_VMSHM_POLL_H

#include "btl_vmshm_context.h"

/* Polls within callbacks of polls: the upper layer may wait for something in a callback. */
#define MCA_BTL_VMSHM_MOST_NESTED 8

/* Deliver what stands in the endpoint's ring, at most `budget` messages. */
int mca_btl_vmshm_poll(mca_btl_vmshm_endpoint_t *endpoint, int budget);

/* What stands in the rings that are polled each time; in some of the silent ones, in turn; within a callback, in all
 * of them. */
int mca_btl_vmshm_poll_hot(void);
int mca_btl_vmshm_poll_cold(void);
int mca_btl_vmshm_poll_nested(void);

#endif
