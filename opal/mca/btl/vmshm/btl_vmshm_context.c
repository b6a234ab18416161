/* SPDX-License-Identifier: BSD-3-Clause */
/* The process-wide state and the module. Separate from the code, so that no file depends on another one for them. */
#include "opal_config.h"

#include "btl_vmshm_context.h"

mca_btl_vmshm_context_t mca_btl_vmshm_context;
mca_btl_vmshm_t mca_btl_vmshm;
