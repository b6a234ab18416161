#!/bin/bash
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
part() { # ROLE: two ranks, one in each VM
    TMPDIR=$(mktemp -d "$work/tmp/XXXXXX") OMPI_MCA_btl_vmshm_intra_vm=1 VMSHM_VMS=2 timeout 90 \
        mpirun --ompi-server "file:$work/uri" -np 2 "$top/test/mpi/as-vm.sh" "$programs/vt_part" \
        --role "$1" --port "$work/port" --until "$work/enough" >"$work/$1.log" 2>&1 </dev/null
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
part server &
own+=($!)
server=$!
part client || true
if ! grep -q 'exited on signal 9' "$work/client.log"; then
    fail "the clients meet the servers, part, and die" "$work/client.log"
elif ! until_ 30 live_are 2; then
    "$ctl" show "$segment" >"$work/why" 2>&1
    fail "the dead clients are found" "$work/why"
else
    # Each server looks twice a second.
    sleep 2
    touch "$work/enough"
    rc=0
    wait "$server" || rc=$?
    if passed_so "$work/server.log" && ! grep -q 'BTL vmshm' "$work/server.log"; then
        pass "clients that parted die: the servers go on, and nothing is said"
    else
        echo "exit status $rc" >>"$work/server.log"
        fail "clients that parted die: the servers go on, and nothing is said" "$work/server.log"
    fi
fi
closing_line
