#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Every parameter of the BTL, those that Open MPI registers for it by itself too, with low, high and odd
# values and in combinations that somebody may choose: a job is right, or it is refused at MPI_Init with
# a text that names the parameter. It never hangs, crashes or delivers what was not sent.
#
# parameters.sh [WORD]: only the cases that contain the word
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
prefix=$top/build/inst
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"
only=${1:-}
limit=${VMSHM_PARAMETERS_LIMIT:-40}     # seconds after which a job hangs

segment=/dev/shm/vmshm-parameters-$$
work=$(mktemp -d)
trap 'rm -rf "$segment" "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_mca_base_component_path=$prefix/lib/openmpi:SYSTEM_DEFAULT:USER_DEFAULT
export OMPI_MCA_common_vmshm_segment=$segment OMPI_MCA_common_vmshm_lock_dir=$work
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vmshm VMSHM_VMS=2
"$prefix/bin/vmshmctl" create --sparse --vms 2 --size 512M "$segment" >"$work/log"

# One line for each case: NAME=VALUE..., without the prefix btl_vmshm_.
huge=18446744073709551615
cases() {
    sed 's/ *#.*//; /^$/d' <<END
exclusivity=0
exclusivity=1
exclusivity=65536
exclusivity=4294967295
flags=0
flags=send
flags=get
flags=send,get
flags=send,put
flags=put,get
flags=send,put,get
flags=send,inplace,get
flags=send,get,need-ack
flags=send,get,need-csum
flags=send,get,hetero-rdma
flags=send,get,signaled
flags=send,get,rdma-flush
flags=send,get,atomics,fetching-atomics
flags=send,get,failover
flags=send,get,static
flags=send,get,cuda-put,cuda-get
flags=4294967295
flags=-1
flags=banana
atomic_flags=add
get_alignment=0
get_alignment=1
get_alignment=3
get_alignment=64
get_alignment=1048576
get_alignment=$huge
get_limit=0
get_limit=1
get_limit=100
get_limit=8191
get_limit=65536
get_limit=1000001
get_limit=4294967296
get_limit=9223372036854775808
get_limit=-1
eager_limit=0
eager_limit=1
eager_limit=64
eager_limit=abc
eager_limit=16k
eager_limit=1023
eager_limit=1024
eager_limit=1025
eager_limit=4096
eager_limit=65536
eager_limit=300001
eager_limit=2097152
eager_limit=2097153
eager_limit=4294967296
eager_limit=9223372036854775808
eager_limit=-1
rndv_eager_limit=0
rndv_eager_limit=1
rndv_eager_limit=1024
rndv_eager_limit=8257
rndv_eager_limit=1000001
rndv_eager_limit=4194304
rndv_eager_limit=4294967297
rndv_eager_limit=9223372036854775808
rndv_eager_limit=$huge
max_send_size=0
max_send_size=1
max_send_size=1023
max_send_size=1024
max_send_size=1025
max_send_size=300001
max_send_size=2097152
max_send_size=4294967295
max_send_size=9223372036854775808
max_send_size=$huge
intra_vm=1
report=1
window_size=0
window_size=1
window_size=65535
window_size=65536
window_size=131072
window_size=1000001
window_size=4194305
window_size=268435456
window_size=1073741824
window_size=9223372036854775808
window_size=$huge
max_windows=0
max_windows=1
max_windows=2
max_windows=16
max_windows=17
max_windows=4294967295
ring_slots=0
ring_slots=4
ring_slots=9
ring_slots=16
ring_slots=1024
ring_slots=2048
ring_slots=65536
ring_slots=131072
ring_slots_max=0
ring_slots_max=4
ring_slots_max=8
ring_slots_max=1000
ring_slots_max=65536
ring_slots_max=131072
far_ns=0
far_ns=1
far_ns=1000000
far_ns=4294967295
pool_size=0
pool_size=1
pool_size=65536
pool_size=1000001
pool_size=1073741824
pool_size=9223372036854775808
pool_size=$huge
silence_warning=0
silence_warning=4294967295
silence_limit=0
silence_limit=4294967295
silence_warning=100 silence_limit=50
# together
ring_slots=8 ring_slots_max=8 max_windows=1 window_size=131072 pool_size=0
ring_slots=65536 ring_slots_max=65536 window_size=8388608
eager_limit=1024 rndv_eager_limit=1024 max_send_size=1024
eager_limit=1024 rndv_eager_limit=65536 max_send_size=65536
eager_limit=65536 rndv_eager_limit=1024 max_send_size=1024
eager_limit=1048576 rndv_eager_limit=1048576 max_send_size=1048576
eager_limit=1048576 max_windows=1
eager_limit=65536 max_windows=1 window_size=131072
max_send_size=2097152 rndv_eager_limit=1024 max_windows=2
max_send_size=1024 rndv_eager_limit=2097152 flags=send
flags=send eager_limit=1024 rndv_eager_limit=1024 max_send_size=1024
flags=send max_windows=1 window_size=131072 ring_slots_max=8
flags=send max_send_size=300001 eager_limit=300001 pool_size=0
get_limit=65536 max_windows=1 window_size=131072 pool_size=0
get_limit=1024 eager_limit=1024 rndv_eager_limit=1024
get_limit=100000 get_alignment=64 far_ns=0
pool_size=0 far_ns=0
pool_size=$huge window_size=67108864
window_size=134217728 max_windows=16
END
}

# What Open MPI says of the parameters: those that no case sets were added since.
ompi_info --parsable --param btl vmshm --level 9 >"$work/info" 2>&1
while read -r name; do
    if ! cases | grep -qE "(^| )$name="; then
        fail "there is a case for btl_vmshm_$name"
    fi
done < <(sed -n 's/^mca:btl:vmshm:param:btl_vmshm_\([^:]*\):value:.*/\1/p' "$work/info")

one() { # NAME=VALUE...
    local case=$* log=$work/log word options=() thresholds=() around tries rc named=no
    for word; do
        options+=(--mca "btl_vmshm_${word%%=*}" "${word#*=}")
        # Around a size that is set messages of all sizes are sent.
        case $word in
        *limit=* | *send_size=*)
            if [[ ${word#*=} =~ ^[0-9]{4,6}$ ]] && ((${word#*=} >= 1024)); then
                thresholds+=("${word#*=}")
            fi
            ;;
        esac
    done
    around=$(IFS=,; echo "1024,8192${thresholds[*]:+,${thresholds[*]}}")
    # Open MPI loses a text now and then, and says so.
    for ((tries = 0; tries < 10; ++tries)); do
        rc=0
        VT_THRESHOLDS=$around timeout -k 10 $((limit + 30)) mpirun --oversubscribe --bind-to none -np 2 \
            "${options[@]}" "$top/test/mpi/as-vm.sh" "$top/build/test/mpi/vt_parameters" \
            --watchdog "$limit" >"$log" 2>&1 </dev/null || rc=$?
        grep -q 'ORTE_ERROR_LOG: .*show_help\.c' "$log" || break
    done
    if ((rc == 0)) && [[ $(grep -c '^PASS ' "$log") == 1 ]]; then
        pass "$case: right"
        return
    fi
    for word; do
        if grep -q "btl_vmshm_${word%%=*}" "$log"; then
            named=yes
        fi
    done
    if ((rc != 0 && rc != 124 && rc != 137)) && [[ $named = yes ]] &&
        ! grep -qE '^(begun|FAIL|TIMEOUT)|Signal:|signal [0-9]' "$log"; then
        pass "$case: refused"
    else
        grep -E 'Parameter:|^(begun|FAIL|TIMEOUT)|Signal:' "$log" | sort -u >"$work/why" || true
        echo "exit status $rc, parameter named: $named" >>"$work/why"
        fail "$case" "$work/why"
    fi
}

while read -r -a words; do
    if [[ -z $only || " ${words[*]}" = *"$only"* ]]; then
        one "${words[@]}"
    fi
done < <(cases)
closing_line
