# SPDX-License-Identifier: BSD-3-Clause
# Sourced: what went through a segment, by its counters. Needs $vmshmctl, $work and count.sh.
# shellcheck shell=bash disable=SC2154
# "MESSAGES BYTES" that all VMs of the segment say they have sent
counters() {
    "$vmshmctl" show --json "$1" |
        jq -r '[([.vms[].messages] | add), ([.vms[].bytes] | add)] | @tsv'
}

# carried NAME SEGMENT MESSAGES BYTES COMMAND...: a test that the command succeeds and at least so
# many messages and bytes went through the segment meanwhile. The output is in $work/NAME, with "-"
# for blanks.
carried() {
    local name=$1 of=$2 least_m=$3 least_b=$4 log m0 b0 m1 b1
    shift 4
    log=$work/${name//[ \/]/-}
    read -r m0 b0 < <(counters "$of")
    if ! "$@" >"$log" 2>&1; then
        fail "$name" "$log"
        return 1
    fi
    read -r m1 b1 < <(counters "$of")
    if ((m1 - m0 < least_m || b1 - b0 < least_b)); then
        echo "the segment carried $((m1 - m0)) messages, $((b1 - b0)) bytes; expected at least" \
            "$least_m and $least_b" >"$work/why"
        fail "$name" "$work/why"
        return 1
    fi
    pass "$name ($((m1 - m0)) messages, $((b1 - b0)) bytes through the segment)"
}

# avoided NAME SEGMENT COMMAND...: a test that the command succeeds and the counters stand still
avoided() {
    local name=$1 of=$2 log before after
    shift 2
    log=$work/${name//[ \/]/-}
    before=$(counters "$of")
    if ! "$@" >"$log" 2>&1; then
        fail "$name" "$log"
        return 1
    fi
    after=$(counters "$of")
    if [[ $before != "$after" ]]; then
        echo "the segment's counters went from $before to $after" >"$work/why"
        fail "$name" "$work/why"
        return 1
    fi
    pass "$name (nothing through the segment)"
}

# ended_with NAME STATUS TEXT LOG: a test that the job failed by itself, in time, and its output says why
ended_with() {
    if (($2 != 0 && $2 != 124)) && grep -q "$3" "$4"; then
        pass "$1"
    else
        echo "exit status $2" >>"$4"
        fail "$1" "$4"
    fi
}
