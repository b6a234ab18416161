#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Runs the MPI test programs; see usage below.
set -euo pipefail

usage()
{
    cat <<'EOF'
usage: run-mpi-tests.sh [options]
  --launcher 'CMD...'  start of the command line; "-np N PROGRAM ARGS" is appended
                       (default: mpirun of this machine with pml ob1, btl self,vader,tcp)
  --wrapper 'CMD...'   put between "-np N" and the program (for example test/mpi/as-vm.sh)
  --np LIST            numbers of ranks, "2 4 8" or 2,4,8 (default: 2 3 4 8; with --quick 2 4)
  --quick              fewer and smaller messages, for slow machines
  --only NAME          only these tests, comma-separated (may be repeated)
  --skip NAME          not these tests (may be repeated)
  --strict-truncate    fail also for Open MPI's own fault in truncated one-sided transfers
  --timeout S          hard limit for each test (default 180; the programs' own alarm comes 20 s earlier)
  --bindir DIR         the programs (default: build/test/mpi)
  --logdir DIR         where the logs of failures stay (default: build/test-logs)
  --selfcheck          damage a message in each program and see that it is noticed
  --list               the names of the tests
Output: "ok NAME np=N", "FAIL NAME np=N (log: path)" or "skip NAME reason" for each, then a summary.
Exit status: 0 all passed, 1 something failed, 2 wrong usage.
EOF
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)

# name | program | arguments | smallest np | largest np (0: any)
tests() {
    cat <<EOF
sizes|vt_sizes||2|0
order|vt_order||2|0
wildcard|vt_wildcard||2|0
truncate|vt_truncate|$truncate_args|2|0
streams|vt_streams|$truncate_args|2|0
ahead|vt_ahead||2|0
transpose|vt_transpose||2|0
flood|vt_flood||2|3
datatypes|vt_datatypes||2|0
persistent|vt_persistent||2|0
probe|vt_probe||2|0
threads|vt_threads||2|0
tool|vt_tool||2|4
lazy|vt_lazy||2|0
collectives|vt_collectives||2|0
rma|vt_rma||2|0
spawn|vt_spawn||1|0
connect|vt_connect||2|0
connect-spawned|vt_connect|--spawn|1|4
pingpong|vt_pingpong|--verify|2|4
slow|vt_slow||2|4
die-none|vt_die|--mode none|2|4
big|vt_big||2|2
big-fragments|vt_big|--bytes 2100M|2|2
EOF
}

launcher='' wrapper='' np_list='' quick='' only='' skip=' ' limit=180 bindir=$top/build/test/mpi
logdir=$top/build/test-logs truncate_args='--allow-ob1-overrun' selfcheck='' list=''

need() { # a value for option $1
    if [[ $2 -lt 2 ]]; then
        echo "run-mpi-tests.sh: $1 needs a value" >&2
        exit 2
    fi
}
while [[ $# -gt 0 ]]; do
    case $1 in
        --launcher) need "$1" $#; launcher=$2; shift ;;
        --wrapper) need "$1" $#; wrapper=$2; shift ;;
        --np) need "$1" $#; np_list=${2//,/ }; shift ;;
        --quick) quick=--quick ;;
        --only) need "$1" $#; only="$only ${2//,/ } "; shift ;;
        --skip) need "$1" $#; skip="$skip ${2//,/ } "; shift ;;
        --strict-truncate) truncate_args='' ;;
        --timeout) need "$1" $#; limit=$2; shift ;;
        --bindir) need "$1" $#; bindir=$2; shift ;;
        --logdir) need "$1" $#; logdir=$2; shift ;;
        --selfcheck) selfcheck=1 ;;
        --list) list=1 ;;
        -h | --help) usage; exit 0 ;;
        *) echo "run-mpi-tests.sh: unknown argument $1" >&2; usage >&2; exit 2 ;;
    esac
    shift
done

if [[ -n $list ]]; then
    tests | cut -d'|' -f1
    exit 0
fi
if [[ ! $limit =~ ^[0-9]+$ || $limit -lt 30 ]]; then
    echo "run-mpi-tests.sh: --timeout must be a number of seconds, 30 or more" >&2
    exit 2
fi
for name in $only $skip; do
    if ! tests | cut -d'|' -f1 | grep -qx -- "$name"; then
        echo "run-mpi-tests.sh: there is no test \"$name\"; --list shows the names" >&2
        exit 2
    fi
done
if [[ ! -x $bindir/vt_sizes ]]; then
    echo "run-mpi-tests.sh: no test programs in $bindir; build them (make) or name their --bindir" >&2
    exit 2
fi
if [[ $(id -u) -eq 0 ]]; then
    # mpirun refuses root without these.
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# osc/pt2pt goes over any BTL; osc/rdma of Open MPI 4.1 needs one with atomics and fails over tcp.
export OMPI_MCA_osc=${OMPI_MCA_osc:-pt2pt}
launcher=${launcher:-mpirun --oversubscribe --mca pml ob1 --mca btl self,vader,tcp}
np_list=${np_list:-$([[ -n $quick ]] && echo 2 4 || echo 2 3 4 8)}
mkdir -p "$logdir"
passed=0 failed=0 skipped=0

selected() { # name
    [[ $skip != *" $1 "* ]] && [[ -z $only || $only == *" $1 "* ]]
}

# Runs a program into a log; its status is the command's.
launch() { # log np program args
    local log=$1 np=$2 program=$3 args=$4 cmd

    cmd="$launcher -np $np $wrapper $bindir/$program $args $quick --watchdog $((limit - 20))"
    echo "$ $cmd" >"$log"
    # The launcher, wrapper and arguments are word lists by definition.
    # shellcheck disable=SC2086
    timeout -k 10 "$limit" $cmd >>"$log" 2>&1 </dev/null
}

run_one() { # name program args np
    local name=$1 program=$2 args=$3 np=$4 log rc=0 start line

    log=$logdir/mpi-$name-np$np.log
    start=$(date +%s%N)
    launch "$log" "$np" "$program" "$args" || rc=$?
    local ms=$((($(date +%s%N) - start) / 1000000))
    if [[ $rc -eq 0 ]] && [[ $(grep -c "^PASS " "$log") -eq 1 ]]; then
        line=$(grep -o 'overruns by ob1=[1-9][0-9]*' "$log" || true)
        echo "ok $name np=$np ($((ms / 1000)).$((ms % 1000 / 100)) s${line:+, $line})"
        passed=$((passed + 1))
        rm -f "$log"
    elif [[ $rc -eq 0 ]] && grep -q '^SKIP ' "$log"; then
        echo "skip $name $(grep -m1 '^SKIP ' "$log" | cut -d' ' -f3-)"
        skipped=$((skipped + 1))
        rm -f "$log"
    else
        [[ $rc -eq 124 ]] && echo "run-mpi-tests.sh: timed out ($limit s)" >>"$log"
        echo "FAIL $name np=$np (log: $log)"
        grep -m3 -E '^(FAIL|TIMEOUT) ' "$log" | sed 's/^/    /' || true
        failed=$((failed + 1))
    fi
}

run_all() {
    local name program args min max np

    while IFS='|' read -r name program args min max; do
        selected "$name" || continue
        for np in $np_list; do
            if [[ $np -lt $min || ($max -gt 0 && $np -gt $max) ]]; then
                continue
            fi
            run_one "$name" "$program" "$args" "$np"
        done
    done < <(tests)
}

# One program under one kind of damage: tries places until one is noticed by a check of the test. Damage
# that hits what a test cannot check (an acknowledgement, what lies behind a truncation) is counted.
damage_one() { # name program args mode places...
    local name=$1 program=$2 args=$3 mode=$4 at log missed=0 crashed=0 unreached=0 rc what
    shift 4

    log=$logdir/mpi-selfcheck-$name-$mode.log
    for at in "$@"; do
        rc=0
        VT_CORRUPT=$mode VT_CORRUPT_AT=$at launch "$log" 2 "$program" "$args" || rc=$?
        if ! grep -q "^vt_corrupt: $mode" "$log"; then
            unreached=$((unreached + 1))
        elif grep -qE '^(FAIL|TIMEOUT) ' "$log"; then
            what=$(grep -m1 -oE '(FAIL|TIMEOUT) .*' "$log" | sed 's/.*): //' | cut -c1-90)
            echo "ok $name noticed $mode (at $at, $missed missed, $crashed crashed): $what"
            passed=$((passed + 1))
            rm -f "$log"
            return
        elif [[ $rc -ne 0 ]]; then
            crashed=$((crashed + 1))
        else
            missed=$((missed + 1))
        fi
    done
    echo "FAIL $name did not notice $mode: $missed missed, $crashed crashed, $unreached not reached" \
         "(log: $log)"
    failed=$((failed + 1))
}

run_selfcheck() {
    local name program args min max lib=$bindir/vt_corrupt.so

    if [[ ! -e $lib || $here/vt_corrupt.c -nt $lib ]]; then
        mpicc -shared -fPIC -O1 -Wall -Wextra -o "$lib" "$here/vt_corrupt.c" -ldl
    fi
    # Single copy by the kernel does not pass through the place where the byte is flipped.
    launcher="$launcher --mca btl_vader_single_copy_mechanism none -x LD_PRELOAD=$lib"
    launcher="$launcher -x VT_CORRUPT -x VT_CORRUPT_AT"
    quick=--quick limit=30
    while IFS='|' read -r name program args min max; do
        selected "$name" || continue
        if [[ $name == spawn* || $name == connect-spawned || $name == slow ]]; then
            damage_one "$name" "$program" "$args" flip 3 5 9 20 33 50
        else
            damage_one "$name" "$program" "$args" flip 5 17 33 2 60 100 200
        fi
        case $name in
            order) damage_one "$name" "$program" "$args" swap 3 40 100 150 210 ;;
            lazy) damage_one "$name" "$program" "$args" lose 1 2 ;;
        esac
        case $name in
            sizes | order | wildcard | datatypes | probe | lazy | spawn | connect)
                damage_one "$name" "$program" "$args" overrun 4 17 1 50 ;;
        esac
    done < <(tests)
}

if [[ -n $selfcheck ]]; then
    run_selfcheck
else
    run_all
fi
echo "$passed passed, $failed failed, $skipped skipped"
[[ $failed -eq 0 ]]
