/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What differs between Open MPI's versions, for this framework: nothing else knows a version.
 * 4.1 (BTL 3.1) is supported. 5.0 (BTL 3.3) changes the receive callback's argument, the reachable
 * bitmap and the flags; its branch comes here.
 */
#ifndef MCA_BTL_VMSHM_COMPAT_H
#define MCA_BTL_VMSHM_COMPAT_H

#include "opal/mca/btl/btl.h"

#if !defined(BTL_VERSION) || 310 != BTL_VERSION
#error "BTL vmshm needs the BTL 3.1 interface of Open MPI 4.1"
#endif

/* What the running library calls itself, against what this component was compiled with. */
#ifndef MCA_BTL_VMSHM_BUILT_AGAINST
#define MCA_BTL_VMSHM_BUILT_AGAINST OPAL_IDENT_STRING
#endif

#endif
