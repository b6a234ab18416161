#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# On and on with generated MPI programs, for SECONDS: natively, in User-Mode Linux and in QEMU guests in
# turn, each time with other settings and seeds nobody used before. Now and then a rank is killed: the job
# must end by itself, and nothing of it may stay. "make soak SECONDS=3600"; not a part of ./check.
#
# Further runs go into the list of turns below.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"
seconds=${1:?usage: soak.sh SECONDS}
if [[ ! $seconds =~ ^[0-9]+$ ]]; then
    echo "soak.sh: \"$seconds\" is not a number of seconds" >&2
    exit 2
fi
if ((EUID != 0)); then
    echo "soak.sh: only root can boot the labs" >&2
    exit 2
fi
prefix=${VMSHM_PREFIX:-$top/build/inst}
programs=$top/build/test/mpi
vmlab=$top/test/lab/vmlab
ctl=$prefix/bin/vmshmctl
lab=soak-$$
work=$(mktemp -d)
segment=/dev/shm/vmshm-soak-$$
job=''
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
lab_down() {
    if [[ -d /run/vmshm-lab/$lab ]]; then
        "$vmlab" down --name "$lab" >>"$work/lab.log" 2>&1 || true
    fi
}
cleanup() {
    trap '' INT TERM HUP
    if [[ -n $job ]]; then
        kill -TERM "$job" 2>/dev/null || true
        wait "$job" 2>/dev/null || true
    fi
    lab_down
    rm -rf "$work" "$segment"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

plans=0 operations=0
storm() { # NAME OPTION...
    local name=$1 counted
    shift
    "$top/test/mpi/run-storm.py" --fresh --prefix "$prefix" --quiet "$@" >"$work/out" 2>&1 &
    job=$!
    wait "$job" || true
    job=''
    if grep -q '^FAIL' "$work/out"; then
        failed=$((failed + 1))
        sed "s/^FAIL storm/FAIL $name:/" "$work/out"
    elif counted=$(sed -n 's/^storm: \([0-9]*\) plans .*, \([0-9]*\) operations.*/\1 \2/p' "$work/out") &&
        [[ -n $counted ]]; then
        plans=$((plans + ${counted% *})) operations=$((operations + ${counted#* }))
        pass "$name: ${counted% *} plans, $(grep '^fresh' "$work/out" || true)"
    else
        fail "$name: run-storm.py came to its end" "$work/out"
    fi
}

native() {
    storm "native $1" --seconds 30 "${@:2}"
}

# A rank of a job in full swing is killed, without a sibling in its VM that could tell. mpirun ends the
# job; then the segment is as good as new: the next job uses it, no window is held.
killed() {
    local rc=0 victim rank=$((RANDOM % 3)) held
    rm -f "$segment"
    "$ctl" create --sparse --vms 4 --size 256M "$segment" >/dev/null
    mkdir -p "$work/lock" "$work/tmp"
    local -x OMPI_MCA_mca_base_component_path=$prefix/lib/openmpi:SYSTEM_DEFAULT:USER_DEFAULT
    local -x OMPI_MCA_common_vmshm_segment=$segment OMPI_MCA_common_vmshm_lock_dir=$work/lock
    local -x TMPDIR=$work/tmp VMSHM_VMS=4 OMPI_MCA_btl_vmshm_intra_vm=1
    local run=(timeout -k 5 90 mpirun --oversubscribe --bind-to none --mca pml ob1 --mca btl "self,vmshm"
        -np 6 "$top/test/mpi/as-vm.sh" "$programs/vt_storm" --max 1M --watchdog 60)
    "${run[@]}" --plans "$RANDOM" --for 60 >"$work/killed" 2>&1 &
    job=$!
    sleep $((2 + RANDOM % 5))
    victim=$(for pid in $(pgrep -P "$(pgrep -P "$job" || echo "$job")" || true); do
        if grep -qz "^OMPI_COMM_WORLD_RANK=$rank\$" "/proc/$pid/environ" 2>/dev/null; then
            echo "$pid"
        fi
    done)
    if [[ -z $victim ]]; then
        wait "$job" || true
        job=''
        fail "killed: rank $rank was not found" "$work/killed"
        return
    fi
    kill -KILL "$victim"
    wait "$job" || rc=$?
    job=''
    if ((rc == 0 || rc == 124)) || ! grep -qE 'exited on signal 9|btl vmshm: lost rank' "$work/killed"; then
        echo "exit status $rc" >>"$work/killed"
        fail "killed: the job of a killed rank ends and says why" "$work/killed"
        return
    fi
    if ! "${run[@]}" --plans 1 --ops 20 >"$work/killed" 2>&1; then
        fail "killed: the next job runs" "$work/killed"
        return
    fi
    held=$("$ctl" show --json "$segment" | jq '[.vms[].used_bytes] | add')
    if [[ $held != 0 ]] || ! "$ctl" check "$segment" >"$work/killed" 2>&1; then
        fail "killed: $held bytes are held afterwards" "$work/killed"
        return
    fi
    pass "killed: rank $rank of 6; the job ended, nothing stayed"
}

guests() { # BACKEND GUESTS SECONDS OPTION...
    local backend=$1 n=$2 time=$3
    shift 3
    if ! "$vmlab" up --backend "$backend" --vms "$n" --name "$lab" --share "$top/build" \
        ${module:+--module "$module"} >"$work/lab.log" 2>&1; then
        fail "a lab of $n guests ($backend) boots" "$work/lab.log"
        return
    fi
    storm "$backend" --lab "$lab" --np "$n" --seconds "$time" --watchdog 120 "$@"
    lab_down
}

qemu() {
    local module=$work/module/vmshm.ko
    if ! command -v qemu-system-x86_64 >/dev/null; then
        skip "qemu" "qemu-system-x86_64 is missing; apt-get install qemu-system-x86"
        return
    fi
    if [[ ! -e $module ]] && ! "$top/guest-kmod/build" "$work/module" >"$work/build.log" 2>&1; then
        fail "the module is built" "$work/build.log"
        return
    fi
    VMSHM_LAB_UID=1000 guests qemu 2 30 --max 128K --ops 50
}

# With the sanitizers: the tests once, and each time storms with what they built.
sanitized() { # KIND
    local kind=$1 dir=$top/build/sanitize-$1 last
    if [[ ! -e $work/sanitized-$kind ]]; then
        touch "$work/sanitized-$kind"
        "$top/test/suites/sanitize.sh" "$kind" >"$work/out" 2>&1 &
        job=$!
        wait "$job" || true
        job=''
        grep -E '^(FAIL|SKIP)' "$work/out" || true
        last=$(tail -n 1 "$work/out")
        if [[ $last =~ ^[0-9]+\ passed,\ 0\ failed ]]; then
            pass "sanitizer $kind: $last"
        else
            fail "sanitizer $kind: $last" "$work/out"
        fi
    fi
    # Leaks of Open MPI's; the thread sanitizer does not see the order that its libraries give.
    ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS="history_size=7 ignore_noninstrumented_modules=1 \
        suppressions=$top/test/suites/tsan.supp" \
        storm "sanitizer $kind" --seconds 60 --np 2,3 --max 512K --prefix "$dir/inst" \
        --program "$dir/test/mpi/vt_storm"
}

turns=(
    "native 2 --np 2" "killed" "native tiny --np 2,4 --tiny --max 1M" "guests uml 3 30 --max 1M"
    "native 4 --np 3,4 --max 2M" "native threads --np 2,3 --threads 3 --max 512K" "killed"
    "native 8 --np 6,8 --max 512K" "qemu" "native intra --np 5 --vms 2 --max 1M"
    "native tiny-threads --np 3 --threads 2 --tiny --max 256K" "native far --np 2 --mca btl_vmshm_far_ns=0"
    "guests uml 2 30 --max 256K --tiny" "sanitized address" "sanitized thread")
start=$SECONDS
for ((i = 0; SECONDS - start < seconds; ++i)); do
    # shellcheck disable=SC2086 # a turn is a command and its words
    ${turns[i % ${#turns[@]}]}
done
awk -v p="$plans" -v o="$operations" -v s=$((SECONDS - start)) \
    'BEGIN { printf "%d plans, %.2f per second; %d operations, %.0f per second\n", p, p / s, o, o / s }'
closing_line
