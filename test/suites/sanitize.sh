#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The components and the test programs, built with the sanitizers: addresses and undefined behaviour, and
# data races between threads. Natively, with ranks that pretend to be in several VMs.
#
#     test/suites/sanitize.sh [address] [thread]     (default: both)
#
# Open MPI itself is not built with them. The address sanitizer does not need that, except that it would
# blame what Open MPI never frees: leaks are looked for in the unit tests only. The thread sanitizer
# looks at accesses of our code only, and does not see the order that Open MPI's own atomics give:
# btl_vmshm_item.h and vt.h tell it, and tsan.supp names what is left, each with its reason.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"

segment=/dev/shm/vmshm-sanitize-$$
work=$(mktemp -d)
trap 'rm -rf "$segment" "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export VT_SPAWN_WRAPPER=$top/test/mpi/as-vm.sh VT_THRESHOLDS=8192

# The unit tests that need no tool of the build.
units=(test_attach test_broken test_chunk test_clients test_components test_flood test_format test_identity test_life test_lock
    test_lock_access test_look test_lost test_member test_next test_owner test_peer test_provider test_quarantine
    test_reader test_reap test_ring test_segment test_shortage test_stream test_window)

# build KIND FLAGS...: into build/sanitize-KIND
build() {
    local kind=$1 dir=$top/build/sanitize-$1 flags="-O1 -g -fno-omit-frame-pointer ${*:2}"
    mkdir -p "$dir"
    cd "$dir"
    if [[ ! -x config.status || $(./config.status --config) != *"$flags"* ]]; then
        try "$kind: configure" "$top/configure" "--prefix=$dir/inst" "CFLAGS=$flags"
    fi
    try "$kind: make" make -j2 install
    try "$kind: test programs" make -j2 test-programs "${units[@]/#/test/unit/}"
    cd "$top"
    if ((failed > 0)); then
        closing_line
        exit 1
    fi
}

# What a sanitizer has to say stands in a file of the process.
reports() { # KIND
    find "$work" -name "$1.report.*" | sort
}

run_units() { # KIND
    local unit
    for unit in "${units[@]}"; do
        if "$top/build/sanitize-$1/test/unit/$unit" >"$work/out" 2>&1; then
            pass "$1: $unit"
        else
            fail "$1: $unit" "$work/out"
        fi
    done
}

# run KIND NAME VMS OPTIONS...: of run-mpi-tests.sh
run() {
    local kind=$1 name=$2 vms=$3 dir=$top/build/sanitize-$1 ok bad skip
    shift 3
    "$dir/inst/bin/vmshmctl" create --force --sparse --vms 8 --size 1G "$segment"
    OMPI_MCA_mca_base_component_path=$dir/inst/lib/openmpi:SYSTEM_DEFAULT:USER_DEFAULT \
        OMPI_MCA_common_vmshm_segment=$segment OMPI_MCA_common_vmshm_lock_dir=$work VMSHM_VMS=$vms \
        "$top/test/mpi/run-mpi-tests.sh" --quick --bindir "$dir/test/mpi" \
        --launcher "mpirun --oversubscribe --mca pml ob1 --mca btl self,vmshm" \
        --wrapper "$VT_SPAWN_WRAPPER" --logdir "$top/build/test-logs/sanitize-$kind-$name" "$@" \
        >"$work/out" || true
    sed "s/^\(ok\|FAIL\|skip\) /\1 $kind $name: /" "$work/out" | grep -v ' passed, ' || true
    read -r ok bad skip < <(sed -n \
        's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$work/out")
    if [[ -z ${ok:-} ]]; then
        fail "$kind $name: the driver printed no summary" "$work/out"
        return
    fi
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
}

run_programs() { # KIND
    run "$1" vms 8 --np 2,3 --skip big,slow,die-none,connect-spawned,rma
    run "$1" vms-8 8 --np 8 --only order,lazy
    # Several ranks in a VM, all over vmshm.
    OMPI_MCA_btl_vmshm_intra_vm=1 run "$1" intra 2 --np 4 --only threads,streams,collectives
    # Memory that is always short.
    OMPI_MCA_btl_vmshm_ring_slots=8 OMPI_MCA_btl_vmshm_ring_slots_max=8 \
        OMPI_MCA_btl_vmshm_window_size=131072 OMPI_MCA_btl_vmshm_max_windows=1 \
        run "$1" short 8 --np 2 --only sizes,streams,threads
}

# Whoever has something to report has failed by its exit status, too: this says what.
look_at_reports() { # KIND
    local files
    mapfile -t files < <(reports "$1")
    if ((${#files[@]} == 0)); then
        pass "$1: no report"
    else
        # one that was cut off by a crash has none
        { grep -h '^SUMMARY:' "${files[@]}" || true; } | sort | uniq -c | sort -rn
        mkdir -p "$top/build/test-logs/sanitize-$1"
        cp "${files[@]}" "$top/build/test-logs/sanitize-$1/"
        fail "$1: ${#files[@]} processes have a report, see build/test-logs/sanitize-$1" "${files[0]}"
    fi
}

address() {
    build address -fsanitize=address,undefined -fno-sanitize-recover=all
    export UBSAN_OPTIONS=print_stacktrace=1:log_path=$work/address.report
    ASAN_OPTIONS=detect_leaks=1 run_units address
    export ASAN_OPTIONS=detect_leaks=0:log_path=$work/address.report
    run_programs address
    look_at_reports address
    unset ASAN_OPTIONS UBSAN_OPTIONS
}

# Accesses by libraries that are not built with it say nothing, since it does not see their order.
thread() {
    build thread -fsanitize=thread
    export TSAN_OPTIONS=history_size=7:ignore_noninstrumented_modules=1:suppressions=$top/test/suites/tsan.supp
    # UCX's hooks are called by threads that end, when the sanitizer has forgotten them: it crashes.
    export UCX_MEM_EVENTS=no
    # These tell by their status; one has too little memory on purpose, for the sanitizer, too.
    run_units thread
    TSAN_OPTIONS+=:log_path=$work/thread.report
    run_programs thread
    look_at_reports thread
    unset TSAN_OPTIONS UCX_MEM_EVENTS
}

kinds=("$@")
((${#kinds[@]} > 0)) || kinds=(address thread)
for kind in "${kinds[@]}"; do
    case $kind in
    address | thread) "$kind" ;;
    *)
        echo "usage: test/suites/sanitize.sh [address] [thread]" >&2
        exit 2
        ;;
    esac
done
closing_line
