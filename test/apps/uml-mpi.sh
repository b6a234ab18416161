#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The MPI test programs between User-Mode Linux guests: some with one rank in each of four, all with
# one in each of two; then generated ones. The full sizes run natively in the suites "mpi" and "storm"; a
# guest has one virtual CPU.
# Time limit: 600 s
set -euo pipefail
# shellcheck source=test/apps/common.sh
. "$(dirname "$0")/common.sh"

# shellcheck source=test/apps/mpi-in-guests.sh
. "$top/test/apps/mpi-in-guests.sh"
# shellcheck source=test/apps/storm-in-guests.sh
. "$top/test/apps/storm-in-guests.sh"

need_lab uml 4
run 4 --only sizes,wildcard,collectives
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
storm fixed --seeds 101..104 --np 3 --max 512K
storm tiny --seeds 105..107 --np 3 --max 128K --tiny
storm threads --seeds 108..109 --np 2 --max 128K --threads 2
storm fresh --fresh --seconds 8 --np 3 --max 256K
storm_rate
closing_line
