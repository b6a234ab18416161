#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A VM that turns hostile during a job: whatever it writes into its section, the ranks of other
# VMs neither crash nor wait for ever. See hostile.c for what is overwritten. Seeds are fixed; one
# of them alone: hostile.sh loud 17
# Time limit: 300 s, for a machine under load.
set -euo pipefail
# shellcheck source=test/fault/lib.sh
. "$(dirname "$0")/lib.sh"
if [[ ! -x $helpers/hostile ]]; then
    echo "$0: $helpers/hostile is missing; build it first: ./check --only build" >&2
    exit 2
fi

hostile_pid=''
own_cleanup() {
    if [[ -n $hostile_pid ]]; then
        kill -TERM "$hostile_pid" 2>/dev/null || true
    fi
}

# How did it end? One word, and a failure if that is not allowed.
judge() { # MODE LOG
    local mode=$1 log=$2 pid0
    pid0=$(sed -n 's/^die: rank 0 pid \([0-9]*\) .*/\1/p' "$log")
    if grep -qE "^\[[^]]*:0*${pid0:-none}\] \*\*\* Process received signal" "$log" \
        || grep -qE 'process rank 0 .* exited on signal (4|6|7|8|11) ' "$log"; then
        outcome=crashed
    elif ((rc == 124)); then
        outcome=stuck
    elif ((rc == 0)); then
        outcome=unharmed
    elif grep -q 'A peer wrote something into the shared segment' "$log"; then
        outcome=broken
    elif grep -q 'communicates with through the shared segment is gone' "$log"; then
        outcome=gone
    elif grep -q 'btl vmshm: a peer is gone' "$log"; then
        outcome=given-up # and the text was lost on its way: see telling_job in lib.sh
    elif grep -q 'Process received signal' "$log"; then
        outcome=victim-crashed
    elif grep -q '^FAIL ' "$log"; then
        outcome=noticed
    else
        outcome=ended
    fi
    # The victim's own memory was overwritten: its crash is nobody's fault, unless it always hid
    # what the others do. Mute strikes may leave all waiting.
    [[ $outcome != crashed && ($outcome != stuck || $mode = mute) ]] || return
    # One strike that must be seen; before the processes know each other it ends the job as well.
    # (A strike may also hit the payload of a longer message: its reader notices.)
    [[ $mode != lost || $outcome =~ ^(broken|given-up|ended|noticed)$ ]]
}

declare -A tally
run() { # MODE SEED
    local mode=$1 seed=$2 log=$work/log limit=15 seconds=1
    case $mode in
    mute) limit=4 ;;
    lost) seconds=4 ;; # it must not end before it is seen
    esac
    new_segment "$segment"
    "$helpers/hostile" "$segment" 1 "$seed" 700 "$mode" >"$work/hostile.log" 2>&1 &
    hostile_pid=$!
    job "$log" $limit "" "" "$programs/vt_die" --mode none --seconds $seconds --pids
    wait "$hostile_pid" || true
    hostile_pid=''
    cat "$work/hostile.log" >>"$log"
    if judge "$mode" "$log"; then
        tally[$outcome]=$((${tally[$outcome]:-0} + 1))
        pass "$mode, seed $seed: $outcome"
    else
        fail "$mode, seed $seed: $outcome" "$log"
    fi
}

if (($# == 2)); then
    run "$1" "$2"
    cat "$work/log"
    closing_line
    exit
fi

for seed in {1..30}; do
    run loud "$seed"
done
# A test that never hits shows nothing.
recognized=$((${tally[broken]:-0} + ${tally[given-up]:-0}))
if ((recognized >= 5)); then
    pass "a broken peer is recognized in $recognized of 30 jobs"
else
    fail "a broken peer is recognized in $recognized of 30 jobs only"
fi
for seed in {1..6}; do
    run lost "$seed"
done
for seed in {1..10}; do
    run mute "$seed"
done
for outcome in "${!tally[@]}"; do
    echo "$outcome: ${tally[$outcome]}"
done

closing_line
