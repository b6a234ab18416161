/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every vmshm component of Open MPI shares: the parameters that name the segment and this VM,
 * and the job's key. What they share beyond that is plain C: vmshm_attach.h.
 */
#ifndef COMMON_VMSHM_H
#define COMMON_VMSHM_H

#include "opal_config.h"
#include "opal/mca/mca.h"

#include "vmshm_attach.h"

BEGIN_C_DECLS

struct opal_common_vmshm_params_t {
    char *segment;         /* "auto" or what vmshm_provider_find() takes */
    char *lock_dir;        /* "" : the default of vmshm_join() */
    char *vm_id;           /* "": the device, SMBIOS or the kernel's command line */
};
typedef struct opal_common_vmshm_params_t opal_common_vmshm_params_t;

OPAL_DECLSPEC extern opal_common_vmshm_params_t opal_common_vmshm_params;

/* Register common_vmshm_*; may be called by several components. */
OPAL_DECLSPEC int opal_common_vmshm_register(void);

/* For vmshm_attach(): the segment that the parameters name, this job's key, this process's name. */
OPAL_DECLSPEC void opal_common_vmshm_join_options(struct vmshm_join_options *options);

END_C_DECLS

#endif
