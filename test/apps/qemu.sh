#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Two QEMU guests with a real ivshmem device each: MPI test programs with small messages, a short
# LAMMPS run that must print over vmshm what it prints over tcp, and the segment's counters.
# Without hardware virtualization the guests are emulated and slow, so all is short here.
set -euo pipefail
# shellcheck source=test/apps/common.sh
. "$(dirname "$0")/common.sh"
need_program lmp lammps
if ! command -v qemu-system-x86_64 >/dev/null; then
    skip "all" "qemu-system-x86_64 is missing; apt-get install qemu-system-x86"
    closing_line
    exit 0
fi

# The driver's own count is added to that of the suite.
mpi_tests() {
    local log=$work/mpi btls=self,vader,vmshm line
    "$top/test/mpi/run-mpi-tests.sh" --quick --timeout 60 \
        --bindir "$programs" --logdir "$work/logs" \
        --launcher "$vmlab mpirun --name $lab --mca pml ob1 --mca btl $btls --mca osc ^ucx" \
        --np 2 --only sizes,order,wildcard,rma 2>&1 | tee "$log" | sed '$d' || true
    line=$(tail -n 1 "$log")
    if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
        passed=$((passed + BASH_REMATCH[1]))
        failed=$((failed + BASH_REMATCH[2]))
        skipped=$((skipped + BASH_REMATCH[3]))
        if ((BASH_REMATCH[2] > 0)); then
            tail -n 25 "$work"/logs/*.log | sed 's/^/       /' || true
        fi
    else
        fail "the driver's last line is no summary" "$log"
    fi
}

thermo() {
    awk '/^ *Step/ { on = 1; next } /^Loop time/ { on = 0 } on' "$work/$1" >"$work/$1.thermo"
}

need_lab qemu 2
m0=$(counters "$lab_segment" | cut -f1)
mpi_tests
m1=$(counters "$lab_segment" | cut -f1)
if ((m1 - m0 > 500)); then
    pass "$((m1 - m0)) messages of the MPI tests went through the segment"
else
    fail "only $((m1 - m0)) messages of the MPI tests went through the segment"
fi
melt=(lmp -in "$top/test/apps/in.melt" -var steps 50 -log none)
limit=50 carried "LAMMPS vmshm" "$lab_segment" 100 100000 \
    guests self,vader,vmshm 2 "${melt[@]}" || true
limit=50 avoided "LAMMPS tcp" "$lab_segment" guests self,vader,tcp 2 "${melt[@]}" || true
thermo LAMMPS-vmshm
thermo LAMMPS-tcp
same "LAMMPS: vmshm and tcp agree" "$work/LAMMPS-vmshm.thermo" "$work/LAMMPS-tcp.thermo"
closing_line
