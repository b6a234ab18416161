#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# NetPIPE: ping-pong at sizes around each power of two, once with its check of the content. Between
# two User-Mode Linux guests over vmshm and over tcp, and natively between pretended VMs.
set -euo pipefail
# shellcheck source=test/apps/common.sh
. "$(dirname "$0")/common.sh"
need_program NPopenmpi netpipe-openmpi
cd "$work"   # NetPIPE writes its results to the current directory

# Every size up to LAST was begun, and ended with SUFFIX. Another rank's output may come between the two.
complete() { # NAME LOG LAST SUFFIX
    local ended begun
    ended=$(grep -oE "$4" "$2" | wc -l)
    begun=$(grep -oE '[0-9]+: +[0-9]+ bytes +[0-9]+ times -->' "$2" | wc -l)
    if ((ended > 20 && ended == begun)) && grep -qE "[0-9]+: +$3 bytes +[0-9]+ times -->" "$2"; then
        pass "$1 ($ended sizes)"
    else
        fail "$1" "$2"
    fi
}

passed_check='Integrity check passed'
# A size whose exchanges all fell into one tick of the guest's clock has no speed.
speed='([0-9.]+|inf) Mbps in +[0-9.]+ usec'
check=(NPopenmpi -i -n 10 -l 1 -u 4194304)
need_lab uml 2
if carried "vmshm, check" "$lab_segment" 400 40000000 \
    guests self,vader,vmshm 2 "${check[@]}" -o np.out; then
    complete "vmshm: content is right up to 4 MiB" "$work/vmshm,-check" 4194304 "$passed_check"
fi
if carried "vmshm, speed" "$lab_segment" 2000 10000000 guests self,vader,vmshm 2 \
    NPopenmpi -n 200 -u 1048579 -o np.vmshm; then
    complete "vmshm: speed at all sizes up to 1 MiB" "$work/vmshm,-speed" 1048579 "$speed"
fi
if avoided "tcp, speed" "$lab_segment" \
    guests self,vader,tcp 2 NPopenmpi -n 5 -u 65539 -o np.tcp; then
    complete "tcp: speed at all sizes up to 64 KiB" "$work/tcp,-speed" 65539 "$speed"
fi
# For whoever reads this, no verdict. NetPIPE's file: bytes, Mbit/s, seconds; the median over sizes.
times() {
    awk '{ print $1, $3 }' "$1" | sort -k1,1
}
join <(times np.vmshm) <(times np.tcp) | awk '$2 > 0 { print $3 / $2 }' | sort -g |
    awk '{ r[NR] = $1 } END { if (NR) print "tcp takes " int(r[int((NR + 1) / 2)]) " times as long" }'
lab_down

native_segment 2 64M
if carried "native, check" "$segment" 400 40000000 \
    native self,vmshm 2 "${check[@]}" -o np.native; then
    complete "native: content is right up to 4 MiB" "$work/native,-check" 4194304 "$passed_check"
fi
closing_line
