/* SPDX-License-Identifier: BSD-3-Clause */
#include "opal_config.h"

#include "common_vmshm.h"
#include "common_vmshm_compat.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "opal/constants.h"
#include "opal/mca/base/mca_base_var.h"
#include "opal/util/proc.h"

#include "vmshm_layout.h"

opal_common_vmshm_params_t opal_common_vmshm_params = {
    .segment = NULL, .lock_dir = NULL, .vm_id = NULL,
};

int opal_common_vmshm_register(void)
{
    /* A static flag would not do: this library stays loaded after MPI_T_finalize has deregistered all parameters. */
    if (mca_base_var_find("opal", "common", "vmshm", "segment") >= 0) {
        return OPAL_SUCCESS;
    }
    opal_common_vmshm_params.segment = "auto";
    (void) mca_base_var_register("opal", "common", "vmshm", "segment",
                                 "The shared segment: path of a file or device, address of an "
                                 "ivshmem device on the PCI bus (0000:00:05.0), UUID of a segment "
                                 "in one of the devices, or \"auto\": the first device that holds "
                                 "one, of /dev/vmshmN, /dev/mmapper and the PCI bus (default: auto)",
                                 MCA_BASE_VAR_TYPE_STRING, NULL, 0, 0, OPAL_INFO_LVL_3,
                                 MCA_BASE_VAR_SCOPE_READONLY, &opal_common_vmshm_params.segment);
    /* A string: of an int parameter, Open MPI reads a malformed value as 0, which is another VM's id. */
    opal_common_vmshm_params.vm_id = "";
    (void) mca_base_var_register("opal", "common", "vmshm", "vm_id",
                                 "Id of this VM in the segment's table, where neither the SMBIOS "
                                 "OEM string vmshm.vm-id=N nor vmshm.vm_id=N on the kernel's "
                                 "command line gives it (default: empty, not set)",
                                 MCA_BASE_VAR_TYPE_STRING, NULL, 0, 0, OPAL_INFO_LVL_3,
                                 MCA_BASE_VAR_SCOPE_LOCAL, &opal_common_vmshm_params.vm_id);
    opal_common_vmshm_params.lock_dir = "";
    (void) mca_base_var_register("opal", "common", "vmshm", "lock_dir",
                                 "Directory of the lock file by which the processes of this VM "
                                 "share their section; it must be private to the VM (or to the "
                                 "containers that share a VM id) and the same for all its users "
                                 "(default: empty: /run/vmshm if that exists, else /run/lock if all "
                                 "users may write there, else /tmp)",
                                 MCA_BASE_VAR_TYPE_STRING, NULL, 0, 0, OPAL_INFO_LVL_5,
                                 MCA_BASE_VAR_SCOPE_READONLY, &opal_common_vmshm_params.lock_dir);
    return OPAL_SUCCESS;
}

/* mpirun generates a random 128-bit key per job for transports that need one, and passes the same key to spawned
 * jobs. With a launcher that generates none, the key is derived from the job id; it is then no secret, and only the
 * segment's permissions protect the job. */
static void job_key(uint8_t key[16])
{
    const char *text = opal_common_vmshm_transport_key();
    uint64_t words[2];

    if (NULL == text || 2 != sscanf(text, "%" SCNx64 "-%" SCNx64, &words[0], &words[1])) {
        const uint32_t jobid = (uint32_t) OPAL_PROC_MY_NAME.jobid;
        words[0] = vmshm_fnv1a(VMSHM_FNV_START, &jobid, sizeof jobid);
        words[1] = vmshm_fnv1a(words[0], &jobid, sizeof jobid);
    }
    memcpy(key, words, sizeof words);
}

void opal_common_vmshm_join_options(struct vmshm_join_options *options)
{
    *options = (struct vmshm_join_options) {
        .segment = opal_common_vmshm_params.segment,
        .lock_dir = opal_common_vmshm_params.lock_dir,
        .vm_id = vmshm_identity_parse(opal_common_vmshm_params.vm_id),
        .name = (uint64_t) OPAL_PROC_MY_NAME.jobid << 32 | (uint32_t) OPAL_PROC_MY_NAME.vpid,
    };
    job_key(options->job);
}
