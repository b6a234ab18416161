# SPDX-License-Identifier: BSD-3-Clause
# Sourced by the suites of this directory: counting, a lab, a native segment.
# shellcheck shell=bash disable=SC2034
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"
# shellcheck source=test/apps/carried.sh
. "$top/test/apps/carried.sh"
build=${VMSHM_BUILD:-$top/build}
prefix=${VMSHM_PREFIX:-$build/inst}
programs=${VMSHM_TEST_PROGRAMS:-$build/test/mpi}
vmlab=$top/test/lab/vmlab
vmshmctl=$prefix/bin/vmshmctl
suite=$(basename "$0" .sh)
lab=$suite-$$
segment=/dev/shm/vmshm-$suite-$$
lab_segment=/dev/shm/vmshm-lab-$lab
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# What the guests write must lie in a directory that they share with the host; /tmp is their own.
mkdir -p "$build"
work=$(mktemp -d "$build/$suite.XXXXXX")

cleanup() {
    trap '' INT TERM HUP
    lab_down || echo "$suite: lab $lab could not be taken down" >&2
    rm -f "$segment"
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# need_program PROGRAM PACKAGE: without it nothing of the suite can run
need_program() {
    if ! command -v "$1" >/dev/null; then
        echo "$suite: $1 is missing; apt-get install $2" >&2
        exit 1
    fi
}

# lab_up BACKEND GUESTS [OPTION...]: false, with the reason in $work/lab.log
lab_up() {
    "$vmlab" up --backend "$1" --vms "$2" --name "$lab" --share "$build" "${@:3}" \
        >"$work/lab.log" 2>&1
}

lab_down() {
    if [[ -d /run/vmshm-lab/$lab ]]; then
        "$vmlab" down --name "$lab"
    fi
}

# need_lab BACKEND GUESTS [OPTION...]: ends the suite with a failure if it does not boot
need_lab() {
    if ! lab_up "$@"; then
        fail "a lab of $2 guests ($1) boots" "$work/lab.log"
        closing_line
        exit 1
    fi
}

# guests BTLS RANKS COMMAND...: in the lab
guests() {
    timeout -k 10 "${limit:-60}" "$vmlab" mpirun --name "$lab" -np "$2" --mca pml ob1 \
        --mca btl "$1" "${@:3}"
}

# native BTLS RANKS COMMAND...: on this machine, each rank of vmshm in a pretended VM of its own
native() {
    local as=()
    if [[ $1 = *vmshm* ]]; then
        as=("$top/test/mpi/as-vm.sh")
    fi
    OMPI_MCA_mca_base_component_path=$prefix/lib/openmpi:SYSTEM_DEFAULT:USER_DEFAULT VMSHM_VMS=$2 \
        timeout -k 10 "${limit:-60}" mpirun --oversubscribe --bind-to none -np "$2" \
        --mca pml ob1 --mca btl "$1" --mca btl_vader_single_copy_mechanism none \
        --mca common_vmshm_segment "$segment" "${as[@]}" "${@:3}"
}

native_segment() { # VMS SIZE
    "$vmshmctl" create --force --vms "$1" --size "$2" "$segment" >"$work/vmshmctl.log" 2>&1 ||
        { cat "$work/vmshmctl.log" >&2; exit 1; }
}

# same NAME FILE FILE: both exist, are not empty, and are equal
same() {
    if [[ -s $2 && -s $3 ]] && cmp -s "$2" "$3"; then
        pass "$1"
    else
        { diff "$2" "$3" || true; } >"$work/why" 2>&1
        fail "$1" "$work/why"
    fi
}
