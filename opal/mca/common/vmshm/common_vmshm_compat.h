/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What differs between Open MPI 4.1, 5.0 and 6.0, for this library: no other file of it knows a version. 4.1 is
 * supported; each item says what is known of the others.
 */
#ifndef COMMON_VMSHM_COMPAT_H
#define COMMON_VMSHM_COMPAT_H

#include "opal_config.h"

#include <stdlib.h>

/* The 128 random bits that the launcher draws per job for transports that need a key, as two hexadecimal numbers
 * with "-" in between; NULL: it has none. 4.1's launcher, ORTE, puts them into the environment under a name of its
 * own. 5.0's and 6.0's is PRRTE. */
static inline const char *opal_common_vmshm_transport_key(void)
{
    return getenv(OPAL_MCA_PREFIX "orte_precondition_transports");
}

#endif
