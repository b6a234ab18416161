#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Processes that are not connected any more (MPI_Comm_disconnect) die: that is of no concern to others.
set -euo pipefail
# shellcheck source=test/fault/lib.sh
. "$(dirname "$0")/lib.sh"

if ! command -v ompi-server >/dev/null; then
    skip "all" "ompi-server is missing; apt-get install openmpi-bin"
    closing_line
    exit 0
fi

own=()
own_cleanup() {
    if ((${#own[@]} > 0)); then
        kill -TERM "${own[@]}" 2>/dev/null || true
        wait "${own[@]}" 2>/dev/null || true
    fi
}
ranks=2
part() { # ROLE [--stay | --first]: half of the ranks in each VM
    TMPDIR=$(mktemp -d "$work/tmp/XXXXXX") OMPI_MCA_btl_vmshm_intra_vm=1 VMSHM_VMS=2 timeout 90 \
        mpirun --ompi-server "file:$work/uri" -np "$ranks" "$top/test/mpi/as-vm.sh" "$programs/vt_part" \
        --role "$1" --port "$work/port" --until "$work/enough" "${@:2}" >"$work/$1.log" 2>&1 </dev/null
}
live_are() { # N
    [[ $("$ctl" show --json "$segment" | jq '[.vms[].processes[] | select(.state == "live")] | length') == "$1" ]]
}

new_segment "$segment"
ompi-server --no-daemonize -r "$work/uri" >"$work/server-of-names.log" 2>&1 &
own+=($!)
if ! until_ 30 test -s "$work/uri"; then
    fail "ompi-server starts" "$work/server-of-names.log"
    closing_line
    exit 1
fi
# meet [--stay | --first]: a server and a client, which dies; rc is the server's, or the reason is told
meet() {
    rc=0
    rm -f "$work/port" "$work/enough"
    part server "$@" &
    local server=$!
    own+=("$server")
    part client "$@" || true
    if ! grep -q 'exited on signal 9' "$work/client.log"; then
        fail "the clients meet the servers, and die" "$work/client.log"
        return 1
    fi
    if [[ ${1:-} != --stay ]]; then
        if ! until_ 30 live_are "$ranks"; then
            "$ctl" show "$segment" >"$work/why" 2>&1
            fail "the dead clients are found" "$work/why"
            return 1
        fi
        # Each server looks twice a second.
        sleep 2
        touch "$work/enough"
    fi
    wait "$server" || rc=$?
    echo "exit status $rc" >>"$work/server.log"
}

name="clients that parted die: the servers go on, and nothing is said"
if meet; then
    if passed_so "$work/server.log" && ! grep -q 'BTL vmshm' "$work/server.log"; then
        pass "$name"
    else
        fail "$name" "$work/server.log"
    fi
fi
name="clients of which only the first one met, and parted, die: the servers go on, and nothing is said"
# The third rank is in the first one's VM: where the other job looks for that one it sees this one, too.
ranks=4
if meet --first; then
    if passed_so "$work/server.log" && ! grep -q 'BTL vmshm' "$work/server.log"; then
        pass "$name"
    else
        fail "$name" "$work/server.log"
    fi
fi
ranks=2
name="clients that did not part die: so do the servers, and say why"
if meet --stay; then
    if failed_by_itself && grep -q 'lost rank . of job .*its process ended without MPI_Finalize' "$work/server.log"; then
        pass "$name"
    else
        fail "$name" "$work/server.log"
    fi
fi
closing_line
