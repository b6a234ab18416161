/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The part of the common library that uses Open MPI: the MCA parameters that name the segment and this VM, and the
 * job's key. Everything else that the vmshm components share is plain C: vmshm_attach.h.
 */
#ifndef COMMON_VMSHM_H
#define COMMON_VMSHM_H

#include "opal_config.h"
#include "opal/mca/mca.h"

#include "vmshm_attach.h"

BEGIN_C_DECLS

struct opal_common_vmshm_params_t {
    char *segment;         /* "auto" or anything else that vmshm_provider_find() accepts */
    char *lock_dir;        /* "": the default of vmshm_join() */
    char *vm_id;           /* "": taken from the device, SMBIOS or the kernel's command line */
};
typedef struct opal_common_vmshm_params_t opal_common_vmshm_params_t;

OPAL_DECLSPEC extern opal_common_vmshm_params_t opal_common_vmshm_params;

/* Register the parameters common_vmshm_*; may be called by several components. */
OPAL_DECLSPEC int opal_common_vmshm_register(void);

/* Fill in the options for vmshm_attach(): the parameters' values, this job's key, this process's name. */
OPAL_DECLSPEC void opal_common_vmshm_join_options(struct vmshm_join_options *options);

END_C_DECLS

#endif
