/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The addresses that processes exchange in MPI_Init.
 */
#ifndef MCA_BTL_VMSHM_MODEX_H
#define MCA_BTL_VMSHM_MODEX_H

#include "btl_vmshm.h"

/* Publish this process's address. NULL: publish that it has none. */
int mca_btl_vmshm_address_put(const struct vmshm_address *address);
/* Get the address that a process published. False: it has none, or published something that we do not understand. */
bool mca_btl_vmshm_address_get(const opal_process_name_t *name, struct vmshm_address *address);

#endif
