/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Differences between Open MPI 4.1, 5.0 and 6.0 that matter to this library; no other file of the library depends on
 * the version. 4.1 is supported; each item says what is known about the others.
 */
#ifndef COMMON_VMSHM_COMPAT_H
#define COMMON_VMSHM_COMPAT_H

#include "opal_config.h"

#include <stdlib.h>

/* The random 128-bit key that the launcher generates per job for transports that need one, as two hexadecimal numbers
 * joined by "-"; NULL if there is none. ORTE, the launcher of 4.1, passes it in this environment variable. 5.0 and
 * 6.0 have PRRTE instead; where that passes the key has to be found out. */
static inline const char *opal_common_vmshm_transport_key(void)
{
    return getenv(OPAL_MCA_PREFIX "orte_precondition_transports");
}

#endif
