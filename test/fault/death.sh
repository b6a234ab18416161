#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Ranks, jobs and pretended VMs that die, stand still or are marked as gone: the job ends in time
# with a text that names the peer, or survives where it should; the segment is usable at once and
# nothing of the dead stays in it.
# Time limit: 300 s, for a machine under load.
set -euo pipefail
# shellcheck source=test/fault/lib.sh
. "$(dirname "$0")/lib.sh"

now_ms() {
    echo $(($(date +%s%N) / 1000000))
}
written_ms() { # FILE: when its last line came
    local seconds
    seconds=$(stat -c %.3Y "$1")
    echo "${seconds/./}"
}

# Four ranks, two in each VM.
start_four() { # LOG SECONDS PROGRAM [ARGUMENT...]
    local log=$1 seconds=$2
    shift 2
    OMPI_MCA_btl_vmshm_intra_vm=1 VMSHM_VMS=2 timeout "$seconds" mpirun -np 4 \
        "$top/test/mpi/as-vm.sh" "$@" >"$log" 2>&1 </dev/null &
    job_pid=$!
}

# Does a new job run at once, with all memory of both sections, and leave nothing behind?
# The window it asks for is larger than half of the heap (28 MiB): a part that is lost would show.
is_clean() { # SEGMENT LOG
    local show=$work/show
    OMPI_MCA_common_vmshm_segment=$1 OMPI_MCA_btl_vmshm_window_size=24M \
        OMPI_MCA_btl_vmshm_max_windows=1 job "$2" 30 "" "" \
        "${good_job[@]}"
    "$ctl" show --json "$1" >"$show" 2>&1
    if ! passed_so "$2" || grep -q 'BTL vmshm' "$2"; then
        return 1
    fi
    # What the last readers let go stays in quarantine until somebody joins: that is no loss.
    if grep -qE '"used_bytes":[[:space:]]*[1-9]' "$show" || grep -q '"live"' "$show" \
        || ! "$ctl" check "$1" >>"$2" 2>&1; then
        cat "$show" >>"$2"
        return 1
    fi
}

# ---------------------------------------------------------------------------------- one rank dies
new_segment
for mode in kill exit segv abort; do
    for pattern in ring wait; do
        start=$(now_ms)
        start_four "$work/log" 30 "$programs/vt_die" --mode $mode --after 300 --pattern $pattern
        end_job
        took=$(($(now_ms) - start))
        name="a rank ends by $mode, the others $pattern"
        if ! failed_by_itself || ! has_texts "$work/log" "does $mode now"; then
            echo "(exit status $rc after $took ms)" >>"$work/log"
            fail "$name: the job ends" "$work/log"
        elif is_clean "$segment" "$work/log"; then
            pass "$name: the job ends after $took ms, the segment is clean"
        else
            fail "$name: the segment is clean" "$work/log"
        fi
    done
done

# ------------------------------------------------------------------------- whole jobs are killed
children() {
    cat "/proc/$1/task/$1/children" 2>/dev/null || true
}
is_running() { # PID; a zombie is not
    local line
    { read -r line <"/proc/$1/stat"; } 2>/dev/null && [[ ${line##*) } != Z* ]]
}

new_segment
RANDOM=4711
cycles=30
stuck=0
for ((i = 0; i < cycles; ++i)); do
    # Without timeout(1): mpirun itself is job_pid.
    VMSHM_VMS=2 mpirun -np 4 "$top/test/mpi/as-vm.sh" "$programs/vt_die" --mode none \
        --seconds 60 >"$work/log" 2>&1 </dev/null &
    job_pid=$!
    sleep "0.$((100 + RANDOM % 900))"
    ranks=$(children "$job_pid")
    if ((i % 3 == 0)); then
        # Its ranks notice by themselves that mpirun is no more.
        kill -KILL "$job_pid" 2>/dev/null || true
    else
        # shellcheck disable=SC2086 # one word for each process
        kill -KILL "$job_pid" $ranks 2>/dev/null || true
    fi
    wait "$job_pid" 2>/dev/null || true
    job_pid=''
    for ((wait = 0; wait < 100; ++wait)); do
        left=''
        for pid in $ranks; do
            if is_running "$pid"; then
                left="$left $pid"
            fi
        done
        [[ -n $left ]] || break
        sleep 0.1
    done
    if [[ -n $left ]]; then
        stuck=$((stuck + 1))
        # shellcheck disable=SC2086
        kill -KILL $left 2>/dev/null || true
    fi
done
if ((stuck == 0)); then
    pass "$cycles jobs killed at random moments: no rank outlives its mpirun by 10 s"
else
    fail "$cycles jobs killed at random moments: in $stuck of them ranks stayed"
fi
if is_clean "$segment" "$work/log"; then
    pass "$cycles jobs killed at random moments: the next one has all memory back"
else
    fail "$cycles jobs killed at random moments: the next one has all memory back" "$work/log"
fi

# ----------------------------------------------- standing still; all at once, each in its segment
declare -A pid_of
start_case() { # NAME VARIABLES PROGRAM [ARGUMENT...]
    local name=$1 variables=$2
    shift 2
    new_segment "$segment-$name"
    variables="OMPI_MCA_common_vmshm_segment=$segment-$name $variables"
    start_job "$work/$name.log" 60 "$variables" "$variables" "$@"
    pid_of[$name]=$job_pid
    job_pid=''
}
holders=()
own_cleanup() {
    local name
    if ((${#holders[@]} > 0)); then
        kill -KILL "${holders[@]}" 2>/dev/null || true
    fi
    for name in "${!pid_of[@]}"; do
        kill -TERM "${pid_of[$name]}" 2>/dev/null || true
        wait "${pid_of[$name]}" 2>/dev/null || true
    done
}
end_case() { # NAME
    job_pid=${pid_of[$1]}
    unset "pid_of[$1]"
    end_job
}
rank_pid() { # NAME RANK: once it has told
    local line
    for ((wait = 0; wait < 100; ++wait)); do
        line=$(grep -m1 "^die: rank $2 pid " "$work/$1.log" || true)
        if [[ -n $line ]]; then
            line=${line#*pid }
            echo "${line%% *}"
            return
        fi
        sleep 0.1
    done
    echo "$0: rank $2 of case $1 does not start" >&2
    return 1
}
signal() { # NAME RANK SIGNAL
    kill "-$3" "$(rank_pid "$1" "$2")"
}

exchange=("$programs/vt_die" --mode none --pids --seconds)
start_case slow "OMPI_MCA_btl_vmshm_silence_limit=5" "$programs/vt_slow" --seconds 20 --spin
start_case stop "" "${exchange[@]}" 3
start_case limit "OMPI_MCA_btl_vmshm_silence_limit=4 OMPI_MCA_btl_vmshm_silence_warning=0" \
    "${exchange[@]}" 50
start_case warning "OMPI_MCA_btl_vmshm_silence_warning=2" "${exchange[@]}" 3
start_case mark "" "${exchange[@]}" 50
# The mutex of each VM's tables is held by somebody who stands still, from the start of the job to its end.
mkdir "$work/lock-held"
start_case held "OMPI_MCA_btl_vmshm_silence_limit=4 OMPI_MCA_common_vmshm_lock_dir=$work/lock-held" \
    "${exchange[@]}" 10
sleep 1
rank_pid held 0 >/dev/null
rank_pid held 1 >/dev/null
for file in "$work"/lock-held/*.lock; do
    "$helpers/hold_lock" "$file" 0 60 &
    holders+=($!)
done
signal stop 1 STOP
signal warning 1 STOP
signal limit 1 STOP
start=$(now_ms)
"$ctl" mark-vm --vm 1 gone "$segment-mark"

end_case mark
took=$(($(written_ms "$work/mark.log") - start))
if failed_by_itself && ((took < 10000)) \
    && { has_texts "$work/mark.log" 'lost the segment' 'the host marked this VM as gone' \
        || says_lost "$work/mark.log" 1 'the host marked its VM as gone' 'is gone'; }; then
    pass "VM marked as gone by the host: the job ends after $took ms and says so"
else
    echo "(exit status $rc after $took ms)" >>"$work/mark.log"
    fail "VM marked as gone by the host" "$work/mark.log"
fi
"$ctl" mark-vm --vm 1 up "$segment-mark"
if is_clean "$segment-mark" "$work/log"; then
    pass "VM marked as up again: the segment is clean"
else
    fail "VM marked as up again: the segment is clean" "$work/log"
fi

end_case limit
took=$(($(written_ms "$work/limit.log") - start))
if failed_by_itself && ((took >= 3500 && took < 15000)) \
    && says_lost "$work/limit.log" 1 'gave no heartbeat' 'is gone' \
        'raise btl_vmshm_silence_limit'; then
    pass "silence of 4 s, the limit: the job ends after $took ms and names the peer"
else
    echo "(exit status $rc after $took ms)" >>"$work/limit.log"
    fail "silence of 4 s, the limit" "$work/limit.log"
fi
if is_clean "$segment-limit" "$work/log"; then
    pass "silence of 4 s, the limit: the segment is clean"
else
    fail "silence of 4 s, the limit: the segment is clean" "$work/log"
fi

end_case held
if passed_so "$work/held.log" && ((${#holders[@]} == 2)) && ! grep -q 'heartbeat' "$work/held.log" \
    && kill -0 "${holders[@]}"; then
    pass "the lock files are held for the whole of a job: it runs and ends, the VMs beat"
else
    echo "(exit status $rc, ${#holders[@]} lock files)" >>"$work/held.log"
    fail "the lock files are held for the whole of a job: it runs and ends, the VMs beat" \
        "$work/held.log"
fi
kill -KILL "${holders[@]}"
wait "${holders[@]}" 2>/dev/null || true
holders=()
if OMPI_MCA_common_vmshm_lock_dir=$work/lock-held is_clean "$segment-held" "$work/log"; then
    pass "the lock files are held for the whole of a job: the segment is clean"
else
    fail "the lock files are held for the whole of a job: the segment is clean" "$work/log"
fi

signal warning 1 CONT
end_case warning
if passed_so "$work/warning.log" \
    && (($(count_of "$work/warning.log" 'VM 1 has given no heartbeat for 2 seconds') == 1)); then
    pass "silence of some seconds: told once, and the job goes on"
elif grep -q 'ORTE_ERROR_LOG: .*show_help\.c' "$work/warning.log" \
    && grep -q '^PASS ' "$work/warning.log"; then
    # See telling_job in lib.sh; this case is too long to be run again.
    skip "silence of some seconds: told once, and the job goes on" "mpirun lost the text"
else
    fail "silence of some seconds: told once, and the job goes on" "$work/warning.log"
fi

while (($(now_ms) - start < 20000)); do
    sleep 0.5
done
signal stop 1 CONT
end_case stop
if passed_so "$work/stop.log" && ! grep -q 'heartbeat' "$work/stop.log"; then
    pass "a rank stands still for 20 s: the job goes on, and nothing is said"
else
    fail "a rank stands still for 20 s: the job goes on, and nothing is said" "$work/stop.log"
fi
end_case slow
if passed_so "$work/slow.log"; then
    pass "a rank computes for 20 s without MPI: it counts as alive under a limit of 5 s"
else
    fail "a rank computes for 20 s without MPI: it counts as alive under a limit of 5 s" \
        "$work/slow.log"
fi

closing_line
