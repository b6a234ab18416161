#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What cannot be used, met by ranks that really are in different virtual machines: with a network
# the job runs; without one vmshm itself ends it in MPI_Init, quickly and with the cause.
set -euo pipefail
# shellcheck source=test/fault/lab.sh
. "$(dirname "$0")/lab.sh"

good_job=("$programs/vt_die" --mode none --seconds 0)

# bad NAME RANK1 HEADING TEXT...: an empty HEADING means that nothing is said while there is a
# network.
bad() {
    local name=$1 rank1=$2 heading=$3 expected=()
    shift 3
    if [[ -n $heading ]]; then
        expected=("$heading" "$@")
    fi
    lab_telling_job "$lab" 30 "$rank1" -np 2 --mca btl self,vader,vmshm,tcp -- "${good_job[@]}"
    if passed_so "$log" && has_texts "$log" ${expected[@]+"${expected[@]}"} \
        && (($(count_of "$log" "${heading:-BTL vmshm}") == (${#heading} > 0))); then
        pass "$name: served by the network"
    else
        echo "(exit status $rc)" >>"$log"
        fail "$name: served by the network" "$log"
    fi
    lab_telling_job "$lab" 30 "$rank1" -np 2 --mca btl self,vader,vmshm -- "${good_job[@]}"
    if failed_by_itself && has_texts "$log" "$@" 'BTL vmshm cannot serve this job' \
        'add a network: --mca btl self,vader,vmshm,tcp'; then
        pass "$name: ends without a network"
    else
        echo "(exit status $rc)" >>"$log"
        fail "$name: ends without a network" "$log"
    fi
}

lab=fb$$
log=$work/$lab.log
lab_up "$lab"

lab_start "$lab" 30 "" -np 4 --mca btl self,vader,vmshm -- "${good_job[@]}"
lab_end "$lab"
if passed_so "$log" && ! grep -q 'BTL vmshm' "$log"; then
    pass "two guests: a job runs without a network, and nothing is said"
else
    echo "(exit status $rc)" >>"$log"
    fail "two guests: a job runs without a network, and nothing is said" "$log"
fi

segment=OMPI_MCA_common_vmshm_segment
bad "segment absent in one guest" "$segment=/dev/absent" 'BTL vmshm found no shared segment' \
    /dev/absent common_vmshm_segment 'vmshmctl create'

"$vmlab" ssh --name "$lab" 1 -- "$ctl" create --vms 2 --size 64M /run/vmshm-other >/dev/null
bad "another segment in one guest" "$segment=/run/vmshm-other" '' \
    'A peer says it shares this segment' segment_uuid 'another segment'

cp --sparse=always "/dev/shm/vmshm-lab-$lab" "$work/copy"
"$vmlab" ssh --name "$lab" 1 -- cp --sparse=always "$work/copy" /run/vmshm-copy
rm "$work/copy"
bad "a copy of the segment in one guest" "$segment=/run/vmshm-copy" \
    'A peer says it shares this segment' 'not shared with it' 'is a copy'

bad "a parameter that cannot be, in one guest" "OMPI_MCA_btl_vmshm_ring_slots=33" \
    'An MCA parameter of BTL vmshm has an invalid value' btl_vmshm_ring_slots \
    'a power of two from 8'

# The kernel command line says who a guest is: let guest 1 read that of guest 0.
"$vmlab" ssh --name "$lab" 1 -- \
    'sed "s/vmshm\.vm_id=1/vmshm.vm_id=0/" /proc/cmdline >/run/cmdline
    mount --bind /run/cmdline /proc/cmdline'
bad "two guests with the same VM id" "" 'Two virtual machines (or containers' 'an id of its own'

closing_line
