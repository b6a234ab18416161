/*
 * Is this process connected to another one, in MPI's words? (MPI 3.1, 10.5.4: what happens to a process must
 * not affect those that are not.) No BTL is told of MPI_Comm_disconnect: the communicators are looked at.
 */
#include "opal_config.h"

#include "btl_vmshm.h"

#include "ompi/communicator/communicator.h"
#include "ompi/group/group.h"

static bool is_member(ompi_group_t *group, opal_process_name_t name)
{
    bool found = false;

    for (int r = 0; NULL != group && !found && r < ompi_group_size(group); ++r) {
        const opal_process_name_t other = ompi_group_get_proc_name(group, r);

        found = name.jobid == other.jobid && name.vpid == other.vpid;
    }
    return found;
}

bool mca_btl_vmshm_is_connected(uint64_t process)
{
    const opal_process_name_t name = { .jobid = (uint32_t) (process >> 32), .vpid = (uint32_t) process };
    bool found = name.jobid == OPAL_PROC_MY_NAME.jobid;

    /* Whoever frees a communicator takes it off the array first: under the lock it stays. */
    OPAL_THREAD_LOCK(&ompi_mpi_communicators.lock);
    for (int i = 0; !found && i < ompi_mpi_communicators.size; ++i) {
        const ompi_communicator_t *comm = ompi_mpi_communicators.addr[i];

        found = NULL != comm && (is_member(comm->c_local_group, name) || is_member(comm->c_remote_group, name));
    }
    OPAL_THREAD_UNLOCK(&ompi_mpi_communicators.lock);
    return found;
}
