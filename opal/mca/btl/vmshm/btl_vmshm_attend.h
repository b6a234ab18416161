/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Handling of lost peers, of a lost segment, and of memory shortage.
 */
#ifndef MCA_BTL_VMSHM_ATTEND_H
#define MCA_BTL_VMSHM_ATTEND_H

#include "btl_vmshm.h"

/* Handle everything that was alerted. Called by the progress function. */
void mca_btl_vmshm_attend(void);

#endif
