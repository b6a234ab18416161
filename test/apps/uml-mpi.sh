#!/bin/bash
# The MPI test programs between User-Mode Linux guests: some with one rank in each of four, all with
# one in each of two. The full sizes run natively in the suite "mpi"; a guest has one virtual CPU.
set -euo pipefail
# shellcheck source=test/apps/common.sh
. "$(dirname "$0")/common.sh"

driver() { # GUESTS BTLS OPTION...
    # osc: Debian's configuration excludes pt2pt by name, and vmshm has no one-sided transfers yet
    "$top/test/mpi/run-mpi-tests.sh" --quick --timeout 50 \
        --bindir "$programs" --logdir "$work/logs" \
        --launcher "$vmlab mpirun --name $lab --mca pml ob1 --mca btl $2 --mca osc ^ucx" \
        --np "$1" "${@:3}" 2>&1
}

run() { # GUESTS OPTION...
    local n=$1 line log=$work/log-$1 p f s m0 m1
    shift
    m0=$(counters "$lab_segment" | cut -f1)
    driver "$n" self,vader,vmshm "$@" | tee "$log" | sed '$d' || true
    m1=$(counters "$lab_segment" | cut -f1)
    line=$(tail -n 1 "$log")
    if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
        p=${BASH_REMATCH[1]} f=${BASH_REMATCH[2]} s=${BASH_REMATCH[3]}
        passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
        sed -n 's/^skip /SKIP /p' "$log"
        if ((f > 0)); then
            tail -n 25 "$work"/logs/*.log | sed 's/^/       /' || true
            rm -f "$work"/logs/*.log
        fi
    else
        fail "$n guests: the driver's last line is no summary" "$log"
    fi
    if ((m1 - m0 > 1000)); then
        pass "$n guests: $((m1 - m0)) messages went through the segment"
    else
        fail "$n guests: only $((m1 - m0)) messages went through the segment"
    fi
}

need_lab uml 4
run 4 --only sizes,wildcard,collectives
lab_down

need_lab uml 2
spawning=spawn,connect-spawned
# Open MPI 4.1 with PMIx 4 cannot spawn over several nodes: a child does not find what the others
# published ("PML add procs failed"). Where it can over tcp, it must over vmshm.
if driver 2 self,vader,tcp --only spawn >"$work/spawn-tcp"; then
    run 2
else
    run 2 --skip "$spawning"
    for name in ${spawning//,/ }; do
        skip "$name np=2" "this Open MPI cannot spawn over two guests, over tcp neither"
    done
fi
# One parent whose children all run in the other guest: that Open MPI can do.
if driver 1 self,vader,vmshm --only spawn >"$work/spawn-one"; then
    pass "spawn np=1: parent and children in different guests"
else
    fail "spawn np=1: parent and children in different guests" "$work/spawn-one"
fi
closing_line
