# SPDX-License-Identifier: BSD-3-Clause
# Sourced behind common.sh: the MPI test programs in the guests of the lab that is up.
# shellcheck shell=bash disable=SC2154

driver() { # GUESTS BTLS OPTION...
    # osc: Debian's configuration excludes pt2pt by name, and vmshm has no one-sided transfers yet
    "$top/test/mpi/run-mpi-tests.sh" --quick --timeout "${mpi_limit:-50}" \
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
