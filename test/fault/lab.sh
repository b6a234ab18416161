# SPDX-License-Identifier: BSD-3-Clause
# Sourced by the suites that need real virtual machines: a lab of two User-Mode Linux guests and
# jobs in it. Ranks lie in the guests in turn: rank 0 in guest 0, rank 1 in guest 1.
# shellcheck shell=bash
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"

build=${VMSHM_BUILD:-$top/build}
export VMSHM_PREFIX=${VMSHM_PREFIX:-$build/inst}
programs=$build/test/mpi
ctl=$VMSHM_PREFIX/bin/vmshmctl
vmlab=$top/test/lab/vmlab
for need in "$VMSHM_PREFIX/lib/openmpi/mca_btl_vmshm.so" "$ctl" "$programs/vt_die"; do
    if [[ ! -e $need ]]; then
        echo "$0: $need is missing; build it first: ./check --only build" >&2
        exit 2
    fi
done

# Below build: the guests have a /tmp of their own.
mkdir -p "$build/fault"
work=$(mktemp -d -p "$build/fault")
labs=()
declare -A job_of
cleanup() {
    local name
    for name in "${!job_of[@]}"; do
        kill -TERM "${job_of[$name]}" 2>/dev/null || true
    done
    for name in ${labs[@]+"${labs[@]}"}; do
        "$vmlab" down --name "$name" >/dev/null 2>&1 || true
    done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

lab_up() { # NAME
    labs+=("$1")
    if ! "$vmlab" up --backend uml --segment 64M --mem 512M --share "$work" --share "$build" \
        --name "$1" >"$work/up.log" 2>&1; then
        fail "lab $1 is up" "$work/up.log"
        closing_line
        exit 1
    fi
}

# A job in the background: job_of[LAB]. Its output goes to $work/LAB.log. The words of RANK1 are
# variables for rank 1 only; options of mpirun come before --.
lab_start() { # LAB SECONDS RANK1 [OPTION...] -- PROGRAM [ARGUMENT...]
    local name=$1 seconds=$2 rank1=$3 options=()
    shift 3
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift
    # shellcheck disable=SC2016 # expanded in the guest
    timeout "$seconds" "$vmlab" mpirun --name "$name" "${options[@]}" bash -c \
        'if ((OMPI_COMM_WORLD_RANK == 1)); then for v in $0; do export "$v"; done; fi; exec "$@"' \
        "$rank1" "$@" >"$work/$name.log" 2>&1 </dev/null &
    job_of[$name]=$!
}

# Waits for it: rc, 124 if it had to be stopped.
lab_end() { # LAB
    rc=0
    wait "${job_of[$1]}" || rc=$?
    unset "job_of[$1]"
}

# As telling_job in lib.sh: repeated only when Open MPI says that it lost a text.
lab_telling_job() { # as lab_start
    local tries=10
    while :; do
        lab_start "$@"
        lab_end "$1"
        tries=$((tries - 1))
        if ((tries == 0)) || ! grep -q 'ORTE_ERROR_LOG: .*show_help\.c' "$work/$1.log"; then
            return
        fi
    done
}

failed_by_itself() {
    ((rc != 0 && rc != 124))
}
passed_so() { # LOG
    ((rc == 0)) && [[ $(grep -c '^PASS ' "$1") -eq 1 ]]
}
has_texts() { # LOG TEXT...
    local log=$1 text
    shift
    for text in "$@"; do
        if ! grep -qF -- "$text" "$log"; then
            echo "(exit status $rc; not found: \"$text\")" >>"$log"
            return 1
        fi
    done
}
count_of() { # LOG TEXT
    grep -cF -- "$2" "$1" || true
}
