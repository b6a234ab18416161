/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is this process connected to another one, in MPI's words? (MPI 3.1, 10.5.4: what happens to a process must
 * not affect those that are not.) No BTL is told of MPI_Comm_disconnect: the communicators are looked at.
 */
#include "opal_config.h"

#include "btl_vmshm_connected.h"

#include "ompi/communicator/communicator.h"
#include "ompi/group/group.h"

static bool is_member(ompi_group_t *group, const opal_process_name_t *name)
{
    bool found = false;

    for (int r = 0; NULL != group && !found && r < ompi_group_size(group); ++r) {
        const opal_process_name_t other = ompi_group_get_proc_name(group, r);

        found = name->jobid == other.jobid && name->vpid == other.vpid;
    }
    return found;
}

bool mca_btl_vmshm_is_connected(const opal_process_name_t *name)
{
    bool found;

    /* Open MPI lets go of a communicator's groups before it takes it off the array: another thread may be in
     * between. */
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
