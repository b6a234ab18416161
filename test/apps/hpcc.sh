#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# HPC Challenge: HPL, PTRANS, RandomAccess, FFT and more, each with a check of its own result.
# Between two User-Mode Linux guests, and natively with four pretended VMs.
set -euo pipefail
# shellcheck source=test/apps/common.sh
. "$(dirname "$0")/common.sh"
need_program hpcc hpcc
export limit=65

# Rows 3 to 31 are HPL's parameters, the rest is for PTRANS.
input() { # P Q
    cat <<END
HPC Challenge, small
written by $suite
HPL.out      output file name
8            device out: a file
1            number of problem sizes
600          Ns
1            number of block sizes
32           NBs
0            process mapping by rows
1            number of process grids
$1           Ps
$2           Qs
16.0         threshold of the scaled residual
1            number of panel factorizations
2            PFACTs: right
1            number of recursive stopping criteria
4            NBMINs
1            number of panels in recursion
2            NDIVs
1            number of recursive panel factorizations
1            RFACTs: Crout
1            number of broadcasts
1            BCASTs: ring, modified
1            number of lookahead depths
1            DEPTHs
2            swap: mix
64           swapping threshold
0            L1 transposed
0            U transposed
1            equilibration
8            alignment
----         a separator
0            additional problem sizes for PTRANS
1200         values of N
0            additional block sizes for PTRANS
40           values of NB
END
}

# holds NAME FILE CONDITION: of awk, with the summary's values in v
holds() {
    if [[ -s $2 ]] && awk -F = "/=/ { v[\$1] = \$2 } END { exit !($3) }" "$2"; then
        pass "$1"
    else
        fail "$1" "$2"
    fi
}

# judge NAME DIRECTORY RANKS: each of HPCC's own checks is a test
judge() {
    local name=$1 out=$2/hpccoutf.txt n=$3 hpl ptrans
    if [[ ! -s $out ]]; then
        fail "$name: hpccoutf.txt was written"
        return
    fi
    hpl=$(grep -c '||Ax-b||_oo/.* PASSED' "$out" || true)
    # A guest's clock of CPU time may be too coarse for the lines that begin with CPU.
    ptrans=$(grep -cE '^WALL .* PASSED ' "$out" || true)
    holds "$name: all sections ended, Success=1" "$out" \
        "v[\"Success\"] == 1 && v[\"CommWorldProcs\"] == $n"
    if ((hpl == 1)) && ! grep -q FAILED "$out"; then
        pass "$name: HPL passed its residual check"
    else
        fail "$name: HPL passed its residual check" "$out"
    fi
    if ((ptrans == 5)) && grep -q '5 tests completed and passed residual checks' "$out"; then
        pass "$name: PTRANS passed its 5 residual checks"
    else
        fail "$name: PTRANS passed its 5 residual checks" "$out"
    fi
    # HPCC itself allows one per cent: updates may collide. Between processes that exchange messages
    # none is lost.
    holds "$name: RandomAccess has no error" "$out" '"MPIRandomAccess_Errors" in v &&
        v["MPIRandomAccess_Errors"] == 0 && v["MPIRandomAccess_LCG_Errors"] == 0'
    holds "$name: MPIFFT's error is below 1e-13" "$out" \
        'v["MPIFFT_maxErr"] > 0 && v["MPIFFT_maxErr"] < 1e-13'
}

mkdir "$work/guests" "$work/native"
need_lab uml 2
input 1 2 >"$work/guests/hpccinf.txt"
cd "$work/guests"
carried "hpcc between guests" "$lab_segment" 10000 10000000 guests self,vader,vmshm 2 hpcc || true
judge "between guests" "$work/guests" 2
lab_down

native_segment 4 256M
input 2 2 >"$work/native/hpccinf.txt"
cd "$work/native"
carried "hpcc native in 4 VMs" "$segment" 10000 10000000 native self,vmshm 4 hpcc || true
judge "native, 4 VMs" "$work/native" 4
closing_line
