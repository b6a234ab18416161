#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Virtual machines that lose power, are marked as gone by the host, or stand still, while a job runs
# in them: Open MPI notices none of it for minutes, vmshm does.
set -euo pipefail
# shellcheck source=test/fault/lab.sh
. "$(dirname "$0")/lab.sh"

now_ms() {
    echo $(($(date +%s%N) / 1000000))
}

# Waits until a text stands in the lab's log; prints the milliseconds since START.
wait_for() { # LAB TEXT SECONDS START
    while ! grep -qF -- "$2" "$work/$1.log"; do
        if (($(now_ms) - $4 > 1000 * $3)); then
            echo "(after $3 s there is no: \"$2\")" >>"$work/$1.log"
            return 1
        fi
        sleep 0.1
    done
    echo $(($(now_ms) - $4))
}

exchange=("$programs/vt_die" --mode none --pids --max 50000 --seconds)
start_exchange() { # LAB RANKS SECONDS SILENCE_LIMIT
    lab_start "$1" 140 "" -np "$2" --mca btl self,vader,vmshm --mca btl_vmshm_silence_limit "$4" \
        -- "${exchange[@]}" "$3"
    wait_for "$1" "die: rank $(($2 - 1)) pid" 30 "$(now_ms)" >/dev/null || true
    sleep 1
}

# How a job ends whose guest 1 is no more: TEXT within SECONDS, mpirun after that, no hang.
lost() { # NAME LAB TEXT SECONDS START
    local name=$1 lab=$2 log=$work/$2.log told
    # The help text, or the line with which the job ends: mpirun loses help texts now and then.
    if told=$(wait_for "$lab" "$3" "$4" "$5") && has_texts "$log" '(VM 1, ' \
        && grep -qE 'Peer:    rank |lost rank ' "$log"; then
        pass "$name: a text names the peer after $told ms"
    else
        fail "$name: a text names the peer" "$log"
    fi
    lab_end "$lab"
    if failed_by_itself; then
        pass "$name: mpirun ends after $(($(now_ms) - $5)) ms"
    else
        echo "(exit status $rc)" >>"$log"
        fail "$name: mpirun ends" "$log"
    fi
}

# The long one goes on while the others run. One rank for each vCPU: where two share one, the
# guest's scheduler charges the standstill to the rank that was on, and lets it wait as long again.
still=fs$$
lab_up "$still"
start_exchange "$still" 2 3 120
"$vmlab" pause --name "$still" 1
paused=$(now_ms)

name=fk$$
lab_up "$name"
start_exchange "$name" 4 100 6
start=$(now_ms)
"$vmlab" kill --name "$name" 1
lost "power loss, silence limit of 6 s" "$name" 'gave no heartbeat for btl_vmshm_silence_limit' 15 \
    "$start"
"$vmlab" down --name "$name"

name=fm$$
log=$work/$name.log
lab_up "$name"
start_exchange "$name" 4 100 120
start=$(now_ms)
"$vmlab" kill --mark --name "$name" 1
lost "power loss that the host marks" "$name" 'the host marked its VM as gone' 8 "$start"
# What the lost guest had read is free at once: the two windows take nearly all of the section.
lab_start "$name" 30 "" -np 2 --host "$name-0:2" --mca btl self,vader,vmshm \
    --mca btl_vmshm_window_size 12M --mca btl_vmshm_max_windows 1 \
    -- "$programs/vt_die" --mode none --seconds 0
lab_end "$name"
if passed_so "$log" && ! grep -q 'BTL vmshm' "$log"; then
    pass "power loss that the host marks: the other guest has all its memory back"
else
    fail "power loss that the host marks: the other guest has all its memory back" "$log"
fi
"$ctl" reset-vm --vm 1 "/dev/shm/vmshm-lab-$name" >"$work/check.log" 2>&1
if "$ctl" check "/dev/shm/vmshm-lab-$name" >>"$work/check.log" 2>&1; then
    pass "power loss that the host marks: the segment is sound after reset-vm"
else
    fail "power loss that the host marks: the segment is sound after reset-vm" "$work/check.log"
fi
"$vmlab" down --name "$name"

while (($(now_ms) - paused < 60000)); do
    sleep 0.5
done
"$vmlab" resume --name "$still" 1
lab_end "$still"
log=$work/$still.log
if passed_so "$log" \
    && (($(count_of "$log" 'VM 1 has given no heartbeat for 30 seconds') == 1)); then
    pass "a guest stands still for 60 s: told once, and the job goes on"
elif passed_so "$log" && grep -q 'ORTE_ERROR_LOG: .*show_help\.c' "$log"; then
    # See telling_job in lib.sh; this case is too long to be run again.
    skip "a guest stands still for 60 s: told once, and the job goes on" "mpirun lost the text"
else
    echo "(exit status $rc)" >>"$log"
    fail "a guest stands still for 60 s: told once, and the job goes on" "$log"
fi
"$vmlab" down --name "$still"

closing_line
