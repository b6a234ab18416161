#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Generated MPI programs over vmshm on this machine (test/mpi/run-storm.py): a fixed set of seeds and
# some that nobody ran before, which are printed, for 2 to 8 ranks, with threads, and with memory that is
# always short. The guests have theirs in test/apps/storm-*.sh.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"
storm=$top/test/mpi/run-storm.py
programs=$top/build/test/mpi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

plans=0 operations=0 start=$SECONDS
# storm NAME OPTION...: each number of ranks is a test.
storm() {
    local name=$1 counted
    shift
    "$storm" "$@" >"$work/out" 2>&1 || true
    sed -n "s/^ok storm/ok   $name:/p; s/^skip storm/SKIP $name:/p; s/^FAIL storm/FAIL $name:/p
        /^    /p; /^fresh/p" "$work/out"
    passed=$((passed + $(grep -c '^ok ' "$work/out" || true)))
    failed=$((failed + $(grep -c '^FAIL ' "$work/out" || true)))
    skipped=$((skipped + $(grep -c '^skip ' "$work/out" || true)))
    counted=$(sed -n 's/^storm: \([0-9]*\) plans .*, \([0-9]*\) operations.*/\1 \2/p' "$work/out")
    if [[ -z $counted ]]; then
        fail "$name: run-storm.py came to its end" "$work/out"
        return
    fi
    plans=$((plans + ${counted% *})) operations=$((operations + ${counted#* }))
}

# Damage is noticed, and told with its place: a bit in transit, messages that overtake or get lost, a byte
# behind a buffer. Over vader, with a library under the program; not every place is one that matters (two
# messages with different tags may overtake).
damaged() { # MODE RANK TEXT
    local at
    for at in 2 5 9 14 20 30 40; do
        VT_CORRUPT=$1 VT_CORRUPT_RANK=$2 VT_CORRUPT_AT=$at "$storm" --seeds 2 --no-shrink --against "" --watchdog 15 \
            --max 256K --logdir "$work" --launcher "mpirun --oversubscribe --mca pml ob1 --mca btl \
            self,vader -x LD_PRELOAD=$programs/vt_corrupt.so -x VT_CORRUPT -x VT_CORRUPT_AT \
            -x VT_CORRUPT_RANK" \
            >"$work/out" 2>&1 || true
        if grep -q '^FAIL storm' "$work/out" && grep -qE "$3" "$work/out"; then
            pass "the storm notices damage ($1 at $at)"
            return
        fi
    done
    fail "the storm notices damage ($1)" "$work/out"
}
if [[ ! -e $programs/vt_corrupt.so || $top/test/mpi/vt_corrupt.c -nt $programs/vt_corrupt.so ]]; then
    mpicc -shared -fPIC -O1 -Wall -Wextra -o "$programs/vt_corrupt.so" "$top/test/mpi/vt_corrupt.c" -ldl
fi
damaged flip 1 'plan 2, operation [0-9]+.*is wrong'
damaged swap 0 'plan 2, operation [0-9]+.*(is wrong|the status says|the probe says|error class|received)'
damaged overrun 1 'plan 2, operation [0-9]+.*overwritten'
damaged lose 0 'outstanding at rank [01]: operation [0-9]+'

storm fixed --seeds 1..10 --max 2M --np 2,3,4
storm fixed-8 --seeds 11..13 --max 256K --np 6,8
storm large --seeds 14..16 --max 8M --np 2
# Several ranks in a VM, all over vmshm.
storm intra --seeds 17..19 --max 1M --np 5 --vms 2
storm tiny --seeds 20..25 --max 1M --np 2,4 --tiny
storm threads --seeds 26..31 --max 1M --np 2,3 --threads 3
storm tiny-threads --seeds 32..34 --max 256K --np 3 --threads 2 --tiny
storm fresh --fresh --seconds 24 --max 1M --np 2,3,4
storm fresh-tiny --fresh --seconds 8 --max 256K --np 3 --tiny
storm fresh-threads --fresh --seconds 8 --max 256K --np 2 --threads 4
seconds=$((SECONDS - start > 0 ? SECONDS - start : 1))
awk -v p="$plans" -v o="$operations" -v s="$seconds" \
    'BEGIN { printf "%d plans, %.2f per second; %d operations, %.0f per second\n", p, p / s, o, o / s }'
closing_line
