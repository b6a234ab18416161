# SPDX-License-Identifier: BSD-3-Clause
# Sourced by the suites of this directory: native jobs on one machine that pretend to be in several
# VMs of a segment file.
# shellcheck shell=bash
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"

build=${VMSHM_BUILD:-$top/build}
prefix=${VMSHM_PREFIX:-$build/inst}
programs=$build/test/mpi
helpers=${VMSHM_FAULT_HELPERS:-$build/test/fault}
ctl=$prefix/bin/vmshmctl
for need in "$prefix/lib/openmpi/mca_btl_vmshm.so" "$ctl" "$programs/vt_die" \
    "$helpers/seg_edit"; do
    if [[ ! -e $need ]]; then
        echo "$0: $need is missing; build it first: ./check --only build" >&2
        exit 2
    fi
done

# Open MPI's session directories lie here too, so that nothing of a killed job stays.
work=$(mktemp -d)
segment=/dev/shm/vmshm-fault-$$
job_pid=''
cleanup() {
    if [[ -n $job_pid ]]; then
        kill -TERM "$job_pid" 2>/dev/null || true
        wait "$job_pid" 2>/dev/null || true
    fi
    if declare -F own_cleanup >/dev/null; then
        own_cleanup
    fi
    rm -rf "$work" "$segment" "$segment"-*
}
trap cleanup EXIT
trap 'exit 1' INT TERM

mkdir "$work/lock" "$work/tmp"
export TMPDIR=$work/tmp
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_mca_base_component_path=$prefix/lib/openmpi:SYSTEM_DEFAULT:USER_DEFAULT
export OMPI_MCA_pml=ob1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_MCA_btl=self,vmshm OMPI_MCA_btl_vader_single_copy_mechanism=none
export OMPI_MCA_common_vmshm_segment=$segment OMPI_MCA_common_vmshm_lock_dir=$work/lock

# Two VMs of 32 MiB; a few process slots only, so that the tables are quick to look through.
new_segment() { # [FILE [OPTION...]]
    local file=${1:-$segment}
    rm -f "$file"
    if ! "$ctl" create --vms 2 --size 64M --procs 16 "${@:2}" "$file" >"$work/create.log" 2>&1; then
        cat "$work/create.log" >&2
        exit 1
    fi
}

run_as=() # a command that starts mpirun as somebody else

# Starts a job in the background: job_pid. Its output goes to LOG. The words of RANK0 and RANK1 are
# variables for one rank, which is in the VM of its number. The directory is its own: of two mpiruns that
# make that of their user at one time one fails.
start_job() { # LOG SECONDS RANK0 RANK1 PROGRAM [ARGUMENT...]
    local log=$1 seconds=$2 rank0 rank1
    read -ra rank0 <<<"OMPI_MCA_common_vmshm_vm_id=0 $3"
    read -ra rank1 <<<"OMPI_MCA_common_vmshm_vm_id=1 $4"
    shift 4
    TMPDIR=$(mktemp -d "$work/tmp/XXXXXX") timeout "$seconds" ${run_as[@]+"${run_as[@]}"} mpirun \
        -np 1 env "${rank0[@]}" "$@" : -np 1 env "${rank1[@]}" "$@" \
        >"$log" 2>&1 </dev/null &
    job_pid=$!
}

# Waits for it: rc. A job that had to be stopped has 124; one whose rank was killed has 137.
end_job() {
    rc=0
    wait "$job_pid" || rc=$?
    job_pid=''
}
failed_by_itself() {
    ((rc != 0 && rc != 124))
}

job() {
    start_job "$@"
    end_job
}

# A job of which a text is expected. Open MPI 4.1 may lose a help text on a busy machine: mpirun's
# thread for PMIx copies it while another thread frees it (orte_rml_oob_send_buffer_nb to itself).
# It says so in an ORTE_ERROR_LOG of show_help.c; only then the job is run again.
telling_job() { # as start_job
    local tries=15
    while :; do
        job "$@"
        tries=$((tries - 1))
        if ((tries == 0)) || ! grep -q 'ORTE_ERROR_LOG: .*show_help\.c' "$1"; then
            return
        fi
    done
}

# Do all these texts stand in LOG? The first one that does not is named.
has_texts() { # LOG TEXT...
    local log=$1 text
    shift
    for text in "$@"; do
        if ! grep -qF -- "$text" "$log"; then
            echo "(not found: \"$text\")" >>"$log"
            return 1
        fi
    done
}

# Does LOG say that rank N is lost, and why? In a help text that has TEXT..., too; if mpirun lost that
# (see telling_job), in the line with which the job ends.
says_lost() { # LOG N WHY TEXT...
    local log=$1
    has_texts "$log" "$3" || return 1
    if grep -q 'ORTE_ERROR_LOG: .*show_help\.c' "$log"; then
        has_texts "$log" "btl vmshm: lost rank $2 "
    else
        has_texts "$log" "Peer:    rank $2 " "${@:4}"
    fi
}

# How often a line of LOG holds TEXT.
count_of() { # LOG TEXT
    grep -cF -- "$2" "$1" || true
}

# The job that most tests run for success: content is checked, and it is short.
# shellcheck disable=SC2034 # used by those who source this
good_job=("$programs/vt_die" --mode none --seconds 0)
passed_so() { # LOG
    ((rc == 0)) && [[ $(grep -c '^PASS ' "$1") -eq 1 ]]
}
