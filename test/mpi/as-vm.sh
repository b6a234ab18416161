#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Pretends virtual machines on one: runs a rank as if it were in VM number (rank mod VMSHM_VMS).
#
#     mpirun -np 4 test/mpi/as-vm.sh PROGRAM ARGS...
#
# VMSHM_VMS is the number of VMs (default 2). Spawned children get their rank from Open MPI too; for them
# the spawning program must start this wrapper: the tests do if VT_SPAWN_WRAPPER names it. Their ranks
# begin at 0 again; VMSHM_VM_SPAWN_FIRST (default 0) is the VM of their rank 0, so that parents and
# children can be kept in different VMs.
set -euo pipefail

vms=${VMSHM_VMS:-2}
if [[ ! $vms =~ ^[1-9][0-9]*$ ]]; then
    echo "as-vm.sh: VMSHM_VMS is \"$vms\"; it must be the number of VMs to pretend" >&2
    exit 2
fi
if [[ $# -eq 0 ]]; then
    echo "usage: as-vm.sh PROGRAM [ARGUMENT...]   (started by mpirun)" >&2
    exit 2
fi
if [[ -z ${OMPI_COMM_WORLD_RANK:-} ]]; then
    echo "as-vm.sh: OMPI_COMM_WORLD_RANK is not set; start this script with mpirun" >&2
    exit 2
fi
first=0
if [[ -n ${OMPI_PARENT_PORT:-} ]]; then
    first=${VMSHM_VM_SPAWN_FIRST:-0}
fi
export OMPI_MCA_common_vmshm_vm_id=$(((OMPI_COMM_WORLD_RANK + first) % vms))
exec "$@"
