/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which peers matter.
 */
#ifndef MCA_BTL_VMSHM_CONNECTED_H
#define MCA_BTL_VMSHM_CONNECTED_H

#include "btl_vmshm.h"

/* Is the process of this job, or in a communicator of this process? With threads: true of all. */
bool mca_btl_vmshm_is_connected(const opal_process_name_t *name);

#endif
