/* SPDX-License-Identifier: BSD-3-Clause */
/* What is specific to Open MPI 4.1, as opposed to 5.0 and 6.0. btl_vmshm_compat.h documents the functions. */
#include "opal_config.h"

#include "btl_vmshm_compat.h"

#if 310 == BTL_VERSION

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "ompi/communicator/communicator.h"
#include "ompi/group/group.h"
#include "opal/mca/base/mca_base_var.h"
#include "opal/mca/pmix/pmix.h"

bool mca_btl_vmshm_running_has_cuda(void)
{
    const bool *value = NULL;
    const int index = mca_base_var_find("opal", "opal", NULL, "built_with_cuda_support");

    return index >= 0
           && OPAL_SUCCESS == mca_base_var_get_value(index, &value, NULL, NULL)
           && NULL != value && *value;
}

const char *mca_btl_vmshm_selected_pml(void)
{
    const mca_base_component_t *pml = dlsym(RTLD_DEFAULT, "mca_pml_base_selected_component");

    return NULL == pml || '\0' == pml->mca_component_name[0] ? NULL : pml->mca_component_name;
}

int mca_btl_vmshm_modex_send(const mca_base_component_t *component, const void *data, size_t bytes)
{
    int rc;

    OPAL_MODEX_SEND(rc, OPAL_PMIX_GLOBAL, component, (void *) (uintptr_t) data, bytes);
    return rc;
}

int mca_btl_vmshm_modex_recv(const mca_base_component_t *component, const opal_process_name_t *name, void **data,
                             size_t *bytes)
{
    int rc;

    *data = NULL;
    *bytes = 0;
    OPAL_MODEX_RECV(rc, component, name, data, bytes);
    return rc;
}

uint32_t mca_btl_vmshm_job_size(void)
{
    opal_process_name_t all = { .jobid = OPAL_PROC_MY_NAME.jobid, .vpid = OPAL_VPID_WILDCARD };
    uint32_t value = 0, *size = &value;
    int rc;

    OPAL_MODEX_RECV_VALUE_OPTIONAL(rc, OPAL_PMIX_JOB_SIZE, &all, &size, OPAL_UINT32);
    return OPAL_SUCCESS == rc ? value : 0;
}

char *mca_btl_vmshm_local_ranks(void)
{
    opal_process_name_t all = { .jobid = OPAL_PROC_MY_NAME.jobid, .vpid = OPAL_VPID_WILDCARD };
    char *text = NULL;
    int rc;

    OPAL_MODEX_RECV_VALUE_OPTIONAL(rc, OPAL_PMIX_LOCAL_PEERS, &all, &text, OPAL_STRING);
    if (OPAL_SUCCESS != rc) {
        free(text);
        text = NULL;
    }
    return text;
}

void mca_btl_vmshm_abort(const char *why)
{
    (void) opal_pmix.abort(1, why, NULL);
}

char *mca_btl_vmshm_host_of(const opal_proc_t *proc)
{
    return NULL == proc->proc_hostname ? NULL : strdup(proc->proc_hostname);
}

static bool is_member(ompi_group_t *group, const opal_process_name_t *name)
{
    bool found = false;

    for (int r = 0; NULL != group && !found && r < ompi_group_size(group); ++r) {
        const opal_process_name_t other = ompi_group_get_proc_name(group, r);

        found = name->jobid == other.jobid && name->vpid == other.vpid;
    }
    return found;
}

/* "Connected" as defined by MPI: the failure of a process must not affect processes that are not connected to it
 * (MPI 3.1, 10.5.4). BTLs are not notified of MPI_Comm_disconnect, so search the communicators. */
bool mca_btl_vmshm_is_connected(const opal_process_name_t *name)
{
    bool found;

    /* Open MPI releases a communicator's groups before it removes the communicator from the array; another thread
     * may be between these two steps. */
    if (opal_using_threads()) {
        return true;
    }
    found = name->jobid == OPAL_PROC_MY_NAME.jobid;
    for (int i = 0; !found && i < opal_pointer_array_get_size(&ompi_mpi_communicators); ++i) {
        const ompi_communicator_t *comm = opal_pointer_array_get_item(&ompi_mpi_communicators, i);

        found = NULL != comm && (is_member(comm->c_local_group, name) || is_member(comm->c_remote_group, name));
    }
    return found;
}

#endif
