/* SPDX-License-Identifier: BSD-3-Clause */
/* What the process has of all its peers together, and the module as Open MPI sees it. Everybody uses them; they use
 * nobody. */
#include "opal_config.h"

#include "btl_vmshm_context.h"

mca_btl_vmshm_context_t mca_btl_vmshm_context;
mca_btl_vmshm_t mca_btl_vmshm;
