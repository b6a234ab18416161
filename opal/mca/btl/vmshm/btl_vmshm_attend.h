/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Acting upon what became of peers, of the segment, of this process's memory.
 */
#ifndef MCA_BTL_VMSHM_ATTEND_H
#define MCA_BTL_VMSHM_ATTEND_H

#include "btl_vmshm.h"

/* Act on changed fates. Called from progress. */
void mca_btl_vmshm_attend(void);

#endif
