#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The MPI content tests over vmshm on this machine: the file provider, ranks that pretend to be in
# several VMs, and settings that force what is rare otherwise. Also: did the bytes really go through the
# segment, and is its memory back afterwards?
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
prefix=$top/build/inst
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"

segment=/dev/shm/vmshm-mpi-$$
work=$(mktemp -d)
trap 'rm -rf "$segment" "$work"' EXIT
export OMPI_MCA_mca_base_component_path=$prefix/lib/openmpi:SYSTEM_DEFAULT:USER_DEFAULT
export OMPI_MCA_common_vmshm_segment=$segment OMPI_MCA_common_vmshm_lock_dir=$work
export VT_SPAWN_WRAPPER=$top/test/mpi/as-vm.sh VT_THRESHOLDS=8192
"$prefix/bin/vmshmctl" create --sparse --vms 8 --size 1G "$segment"

# run NAME VMS BTLS OPTIONS...: the driver's results become ours, each with NAME in front.
run() {
    local name=$1 vms=$2 btls=$3 ok bad skip
    shift 3

    VMSHM_VMS=$vms "$top/test/mpi/run-mpi-tests.sh" --strict-truncate \
        --launcher "mpirun --oversubscribe --mca pml ob1 --mca btl $btls" \
        --wrapper "$VT_SPAWN_WRAPPER" --logdir "$top/build/test-logs/$name" "$@" >"$work/out" || true
    sed "s/^\(ok\|FAIL\|skip\) /\1 $name: /" "$work/out" | grep -v ' passed, '
    read -r ok bad skip < <(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' \
        "$work/out")
    if [[ -z ${ok:-} ]]; then
        fail "$name: the driver printed no summary" "$work/out"
        return
    fi
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
}

# Sum of a number over all VMs of the segment.
sum() {
    "$prefix/bin/vmshmctl" show --json "$segment" | jq "[.vms[].$1] | add"
}

# Each rank in a VM of its own; a spawned child is in a VM of a parent, too.
run vms 8 self,vmshm --quick --np 2,3,4 --skip big,big-fragments,connect-spawned
run vms-8 8 self,vmshm --quick --np 8 --only sizes,order,streams,ahead,transpose,wildcard,threads,collectives,spawn
# Several ranks in a VM, all over vmshm.
export OMPI_MCA_btl_vmshm_intra_vm=1
run intra 2 self,vmshm --quick --np 4 --only sizes,order,streams,threads,collectives,spawn,connect-spawned
unset OMPI_MCA_btl_vmshm_intra_vm
# Rings that are always full and never grow, memory that is always short: messages wait and are resumed.
export OMPI_MCA_btl_vmshm_ring_slots=8 OMPI_MCA_btl_vmshm_ring_slots_max=8
export OMPI_MCA_btl_vmshm_window_size=131072 OMPI_MCA_btl_vmshm_max_windows=1
# Without memory for a channel a message above 2 GiB goes in fragments, too.
run short 8 self,vmshm --quick --np 2,4 \
    --only sizes,order,streams,ahead,transpose,truncate,datatypes,threads,collectives,big-fragments
unset OMPI_MCA_btl_vmshm_ring_slots OMPI_MCA_btl_vmshm_ring_slots_max
unset OMPI_MCA_btl_vmshm_window_size OMPI_MCA_btl_vmshm_max_windows
# Other thresholds than the programs expect.
export OMPI_MCA_btl_vmshm_eager_limit=1024 OMPI_MCA_btl_vmshm_rndv_eager_limit=2048
export OMPI_MCA_btl_vmshm_max_send_size=1536
run thresholds 8 self,vmshm --quick --np 2 --only sizes,order,streams,datatypes,truncate
unset OMPI_MCA_btl_vmshm_eager_limit OMPI_MCA_btl_vmshm_rndv_eager_limit
unset OMPI_MCA_btl_vmshm_max_send_size

# The bytes go through the segment with vmshm, and not through it with tcp.
before=$(sum bytes)
run big 8 self,vmshm --np 2 --only big
moved=$(($(sum bytes) - before))
if ((moved > 4294967296)); then
    pass "counters: $moved bytes went through the segment"
else
    fail "counters: only $moved bytes of more than 4 GiB went through the segment"
fi
before=$(sum bytes)
run tcp 8 self,tcp --quick --np 2 --only sizes
if [[ $(sum bytes) == "$before" ]]; then
    pass "counters: nothing went through the segment over tcp"
else
    fail "counters: bytes went through the segment although tcp was asked for"
fi

# A server and its clients, one after the other: what it had for one serves the next. Where memory is lost
# with each, large messages become many fragments at last, which is seen in the number of messages.
# A spawned process now and then hangs in PMIx_Init (doc/decisions.md): then once more.
messages_of() { # ROUNDS; 0: it failed, -1: PMIx hung each time
    local before
    for _ in 1 2 3; do
        before=$(sum messages)
        if VMSHM_VMS=2 VMSHM_VM_SPAWN_FIRST=1 mpirun --allow-run-as-root --oversubscribe \
            --mca pml ob1 --mca btl self,vmshm --mca btl_vmshm_window_size 786432 \
            --mca btl_vmshm_max_windows 1 --mca btl_vmshm_pool_size 65536 -np 1 \
            "$VT_SPAWN_WRAPPER" "$top/build/test/mpi/vt_spawn" --rounds "$1" --children 1 \
            --watchdog 40 >"$work/clients" 2>&1 && grep -q '^PASS ' "$work/clients"; then
            echo $(($(sum messages) - before))
            return
        elif ! grep -q '^TIMEOUT .*(spawn [0-9]* of' "$work/clients"; then
            echo 0
            return
        fi
    done
    echo -1
}
# On a busy machine a client may come before its predecessor's memory is back, which only adds messages: so three
# attempts, of which the least count. Lost memory adds messages each time.
few=-1 many=-1
for _ in 1 2 3; do
    now=$(messages_of 3)
    few=$((now >= 0 && (few < 0 || now < few) ? now : few))
    now=$(messages_of 12)
    many=$((now >= 0 && (many < 0 || now < many) ? now : many))
    if ((few >= 0 && many >= 0 && many * 100 <= few * 4 * 105)); then
        break
    fi
done
name="clients one after the other: $few messages with 3, $many with 12"
if ((few < 0 || many < 0)); then
    skip "$name" "PMIx_Init of a spawned process hung three times"
elif ((few > 0 && many > 0 && many * 100 <= few * 4 * 105)); then
    pass "$name"
else
    fail "$name" "$work/clients"
fi

# The map of who talks over what: printed once, with each pair.
map=$work/map
VMSHM_VMS=2 mpirun --allow-run-as-root --oversubscribe --mca pml ob1 --mca btl self,vader,vmshm \
    --mca btl_vmshm_report 1 -np 3 "$VT_SPAWN_WRAPPER" "$top/build/test/mpi/vt_die" --mode none \
    --seconds 0 >"$map" 2>&1 || true
if [[ $(grep -c 'btl vmshm: 3 ranks' "$map") == 1 ]] && grep -q '^  VM 0: ranks 0 2$' "$map" &&
    grep -q '^  VM 1: ranks 1$' "$map" && grep -qE '^ +0 +\. +s +v$' "$map" &&
    grep -qE '^ +1 +s +\. +s$' "$map"; then
    pass "btl_vmshm_report prints the map once"
else
    fail "btl_vmshm_report prints the map once" "$map"
fi

# After all that the segment is whole and all its memory is free, once a process has looked after its
# VM: a job over all 8 does.
run after 8 self,vmshm --quick --np 8 --only lazy
"$prefix/bin/vmshmctl" check "$segment" >"$work/check" 2>&1 && pass "vmshmctl check finds nothing" ||
    fail "vmshmctl check" "$work/check"
held=$(sum used_bytes)
if [[ $held == 0 ]]; then
    pass "no window is held after the jobs"
else
    "$prefix/bin/vmshmctl" show "$segment" >"$work/show"
    fail "$held bytes of windows are held after the jobs" "$work/show"
fi
closing_line
