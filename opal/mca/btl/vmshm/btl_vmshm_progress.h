/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The component's progress function.
 */
#ifndef MCA_BTL_VMSHM_PROGRESS_H
#define MCA_BTL_VMSHM_PROGRESS_H

#include "btl_vmshm_context.h"

int mca_btl_vmshm_component_progress(void);

#endif
