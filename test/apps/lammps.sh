#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# LAMMPS, a molecular dynamics program: its numbers must not depend on the transport, to the last
# digit that it prints. Between two User-Mode Linux guests, and natively with pretended VMs.
set -euo pipefail
# shellcheck source=test/apps/common.sh
. "$(dirname "$0")/common.sh"
need_program lmp lammps
steps=250
melt=(lmp -in "$top/test/apps/in.melt" -var steps "$steps" -log none)
# Ghost atoms go to two neighbours in three dimensions each step; with two ranks some are oneself.
least=$((2 * steps))

# The thermodynamic lines: step, temperature, energies, pressure
thermo() {
    awk '/^ *Step/ { on = 1; next } /^Loop time/ { on = 0 } on' "$work/$1" >"$work/$1.thermo"
    if (($(wc -l <"$work/$1.thermo") < steps / 50 + 1)); then
        : >"$work/$1.thermo"   # same() then says so
    fi
}

need_lab uml 2
carried "vmshm between guests" "$lab_segment" "$least" 100000 \
    guests self,vader,vmshm 2 "${melt[@]}" || true
avoided "tcp between guests" "$lab_segment" guests self,vader,tcp 2 "${melt[@]}" || true
lab_down

native_segment 4 256M
avoided "vader native, 2 ranks" "$segment" native self,vader 2 "${melt[@]}" || true
avoided "vader native, 4 ranks" "$segment" native self,vader 4 "${melt[@]}" || true
carried "vmshm native, 2 ranks" "$segment" "$least" 100000 native self,vmshm 2 "${melt[@]}" || true
carried "vmshm native, 4 ranks" "$segment" "$least" 100000 native self,vmshm 4 "${melt[@]}" || true

for run in vmshm-between-guests tcp-between-guests vader-native,-2-ranks vader-native,-4-ranks \
    vmshm-native,-2-ranks vmshm-native,-4-ranks; do
    thermo "$run"
done
cd "$work"
same "guests: vmshm and tcp agree" vmshm-between-guests.thermo tcp-between-guests.thermo
same "guests and native vader agree" vmshm-between-guests.thermo vader-native,-2-ranks.thermo
same "native, 2 ranks: vmshm and vader agree" \
    vmshm-native,-2-ranks.thermo vader-native,-2-ranks.thermo
same "native, 4 ranks: vmshm and vader agree" \
    vmshm-native,-4-ranks.thermo vader-native,-4-ranks.thermo
closing_line
