/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What processes tell each other in MPI_Init.
 */
#ifndef MCA_BTL_VMSHM_MODEX_H
#define MCA_BTL_VMSHM_MODEX_H

#include "btl_vmshm.h"

/* What peers learn about this process. NULL: that it has nothing to offer. */
int mca_btl_vmshm_address_put(const struct vmshm_address *address);
/* What a process published in the modex; false: nothing that we understand. */
bool mca_btl_vmshm_address_get(const opal_process_name_t *name, struct vmshm_address *address);

#endif
