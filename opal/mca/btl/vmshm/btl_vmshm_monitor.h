/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread that beats for its VM and looks at the peers.
 */
#ifndef MCA_BTL_VMSHM_MONITOR_H
#define MCA_BTL_VMSHM_MONITOR_H

#include "btl_vmshm_context.h"

/* Ticks of the monitor: so many a second. */
#define MCA_BTL_VMSHM_TICKS_PER_SECOND 2

/* Ticks of the monitor for which messages to a new peer wait for the memory of a ring: 10 s. */
#define MCA_BTL_VMSHM_NO_RING_TICKS 20

int mca_btl_vmshm_monitor_start(void);
void mca_btl_vmshm_monitor_stop(void);
/* Was there no heartbeat of the VM for so many seconds? 0: never. */
bool mca_btl_vmshm_is_silent_for(uint32_t vm, unsigned int seconds);
/* Add what was sent to the peer. */
void mca_btl_vmshm_count_sent(const mca_btl_vmshm_endpoint_t *endpoint, uint64_t *messages, uint64_t *bytes);

#endif
