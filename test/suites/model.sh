#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Explores the models in test/model with spin: the protocol as it is, in every order of steps,
# stores and deaths, without an error; and without any one of its rules, with an error, which shows
# that the model would see it.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"

if ! command -v spin >/dev/null; then
    skip "model" "spin is not installed (tools/install-deps test)"
    closing_line
    exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export top work

# explore NUMBER KIND MODEL FLAGS...: leaves spin's report in $work/NUMBER.log. Where an error is
# to be found, compiling takes longer than exploring. Spin's reduction is off: it would save a tenth,
# and is not meant for processes that may be stopped ("provided").
explore() {
    local number=$1 model=$3 dir=$work/$1 optimize=-O2
    [[ $2 = sound ]] || optimize=-O0
    shift 3
    mkdir "$dir"
    cd "$dir"
    {
        spin "$@" -a "$top/test/model/$model.pml" &&
            gcc "$optimize" -w -DSAFETY -DNOREDUCE -DCOLLAPSE -DMEMLIM=4000 -o pan pan.c &&
            ./pan -E -m10000
    } >"$work/$number.log" 2>&1 || true
    rm -rf "$dir"
}
export -f explore

# What spin could not finish is neither sound nor found.
finished() {
    grep -q '^pan: elapsed time' "$1" && ! grep -qE 'max search depth|out of memory|truncated' "$1"
}

cases=()
# sound NAME MODEL FLAGS...: there must be no error
sound() {
    cases+=("sound|$1|${*:2}")
}
# removed NAME MODEL FLAGS...: there must be one
removed() {
    cases+=("removed|removing $1 is found|${*:2}")
}

sound "ring, 4 slots, 7 messages" ring -DSLOTS=4 -DMESSAGES=7
sound "ring, messages in cells" ring -DSLOTS=4 -DMESSAGES=6 -DCELLS=2
sound "ring, messages of 1 to 3 slots, padded at the end" ring -DSLOTS=4 -DMESSAGES=5 -DLINES=3
sound "ring, messages of 1 to 3 slots, the end avoided" ring -DSLOTS=4 -DMESSAGES=5 -DLINES=3 \
    -DAVOID_END
sound "ring, messages of 1 or 2 slots or in cells" ring -DSLOTS=4 -DMESSAGES=5 -DLINES=2 -DCELLS=2
sound "ring, acknowledged by messages the other way" ring -DSLOTS=4 -DMESSAGES=6 -DCELLS=2 -DACKS
sound "ring that grows from 4 to 8 slots" ring -DSLOTS=4 -DMESSAGES=6 -DGROW=8
sound "ring that grows from 2 to 4 slots, messages of 1 or 2 slots" ring -DSLOTS=2 -DMESSAGES=4 \
    -DGROW=4 -DLINES=2
sound "ring, deaths, messages of 1 or 2 slots" ring -DSLOTS=4 -DMESSAGES=4 -DDEATH -DLINES=2
sound "ring, deaths, messages in cells" ring -DSLOTS=4 -DMESSAGES=4 -DDEATH -DCELLS=2
sound "ring, deaths, growing" ring -DSLOTS=2 -DMESSAGES=4 -DDEATH -DGROW=4
sound "ring, a slow receiver is called silent" ring -DSLOTS=4 -DMESSAGES=4 -DSILENCE -DLINES=2
sound "ring, deaths, the memory of the dead is used again" ring -DSLOTS=4 -DMESSAGES=4 -DDEATH \
    -DREUSE_AFTER_VERDICT
sound "connect, in used memory" connect
sound "head, in used memory" head
sound "windows, 3 rounds, one visit" windows -DROUNDS=3 -DVISITS=1
sound "windows, 2 rounds, two visits" windows -DROUNDS=2 -DVISITS=2
sound "windows of another process of the VM, 2 rounds, one visit" windows -DANOTHER -DROUNDS=2 -DVISITS=1
sound "join, two VMs of one id" join
sound "join, the next boot after a death at any step" join -DREBOOT
sound "join, the next process after a death at any step" join -DSUCCESSOR
sound "looking for the dead while others leave" reap
sound "streams, 3 of 2 chunks in a channel of 3 places" streams
sound "streams, a channel of 2 places" streams -DPLACES=2
sound "streams, 4 of 2 chunks, two at a time" streams -DSTREAMS=4 -DITEMS=2
sound "streams, 4 of 1 chunk, two at a time, 2 places" streams -DSTREAMS=4 -DITEMS=2 -DCHUNKS=1 \
    -DPLACES=2
sound "streams, none ahead of its pull" streams -DNOT_AHEAD

ring=(ring -DSLOTS=4 -DMESSAGES=6)
removed "release of a slot's word" "${ring[@]}" -DNO_WORD_RELEASE
sound "without release of a slot's word x86 sees no error" "${ring[@]}" -DNO_WORD_RELEASE -DTSO
removed "acquire of a slot's word" "${ring[@]}" -DNO_WORD_ACQUIRE
removed "release of the head" "${ring[@]}" -DCELLS=1 -DNO_HEAD_RELEASE
removed "acquire of the head" "${ring[@]}" -DCELLS=1 -DNO_HEAD_ACQUIRE
removed "waiting for the head before a cell is used again" "${ring[@]}" -DCELLS=2 -DCELL_BACK_EARLY
removed "the position in a word" "${ring[@]}" -DNO_POSITION_CHECK
removed "a sequence that is longer than the ring" "${ring[@]}" -DSMALL_SEQUENCE
removed "waiting behind those that wait" "${ring[@]}" -DNO_PENDING_CHECK
removed "showing the head when a poll ends" "${ring[@]}" -DHEAD_NOT_SHOWN
removed "the upper half of an acknowledged position" ring -DSLOTS=2 -DMESSAGES=6 -DCELLS=2 -DACKS \
    -DNARROW_ACK
removed "the head before its acknowledgement" "${ring[@]}" -DCELLS=2 -DACKS -DACK_BEFORE_HEAD
removed "clearing the next word (padded end)" "${ring[@]}" -DLINES=2 -DNO_CLEAR
removed "clearing the next word (end avoided)" "${ring[@]}" -DLINES=2 -DAVOID_END -DNO_CLEAR
removed "clearing the next word before the release" "${ring[@]}" -DLINES=2 -DCLEAR_LATE
removed "the free slot, if the next word is always cleared" "${ring[@]}" -DLINES=2 -DCLEAR_ALWAYS \
    -DNO_RESERVE
removed "room for all slots of a message" "${ring[@]}" -DLINES=3 -DROOM_FOR_ONE
removed "the limit of a message's slots" "${ring[@]}" -DLINES=4
removed "initializing a larger ring" "${ring[@]}" -DGROW=8 -DNO_RING_INIT
removed "release of the switch" "${ring[@]}" -DGROW=8 -DNO_WORD_RELEASE
removed "the free slot, for the switch" "${ring[@]}" -DGROW=8 -DNO_RESERVE
removed "waiting for the switch before the old ring is used again" "${ring[@]}" -DGROW=8 \
    -DOLD_RING_EARLY
removed "the sender's look at the verdict" "${ring[@]}" -DDEATH -DSENDER_HEEDS_NOT
removed "the receiver's look at the verdict" "${ring[@]}" -DDEATH -DRECEIVER_HEEDS_NOT
removed "acquire of the verdict" "${ring[@]}" -DDEATH -DNO_VERDICT_ACQUIRE
removed "release of a leaving process's state" "${ring[@]}" -DSILENCE -DNO_LEFT_RELEASE
removed "leaving memory alone when a peer is silent" "${ring[@]}" -DSILENCE -DREUSE_AFTER_VERDICT

removed "the slots before the ring's header" connect -DTO_EARLY
removed "the slots before the ring's header, on x86," connect -DTO_EARLY -DTSO
removed "release of a ring's header" connect -DNO_TO_RELEASE
removed "acquire of a ring's header" connect -DNO_TO_ACQUIRE
removed "the nonce in a ring's header" connect -DNO_TO_CHECK
removed "initializing a first ring" connect -DNO_SLOT_INIT
removed "release of a bell" connect -DNO_BELL_RELEASE
removed "remembering a bell before looking" connect -DREMEMBER_AFTER

removed "the counts before whom a head is for" head -DFROM_EARLY
removed "the counts before whom a head is for, on x86," head -DFROM_EARLY -DTSO
removed "release of whom a head is for" head -DNO_FROM_RELEASE
removed "acquire of whom a head is for" head -DNO_FROM_ACQUIRE
removed "looking for whom a head is" head -DNO_FROM_CHECK
removed "the chunks of a new head" head -DCHUNKS_STAY

windows=(windows -DROUNDS=2 -DVISITS=1)
removed "the reader's fence" "${windows[@]}" -DNO_READER_FENCE
removed "the reader's fence, on x86," "${windows[@]}" -DNO_READER_FENCE -DTSO
removed "the owner's fence" "${windows[@]}" -DNO_OWNER_FENCE
removed "the owner's fence, on x86," "${windows[@]}" -DNO_OWNER_FENCE -DTSO
removed "quarantine" "${windows[@]}" -DNO_QUARANTINE
removed "the state before the entry" "${windows[@]}" -DENTRY_BEFORE_STATE
removed "the state before the entry, on x86," "${windows[@]}" -DENTRY_BEFORE_STATE -DTSO
removed "release of a window's state" "${windows[@]}" -DNO_LIVE_RELEASE
removed "acquire of a reader's bit" "${windows[@]}" -DNO_BIT_ACQUIRE
removed "release of a reader's bit" "${windows[@]}" -DNO_LEAVE_RELEASE
removed "a reader's state before its bit" "${windows[@]}" -DLIVE_AFTER_BIT
removed "zeroing a window" "${windows[@]}" -DNO_ZEROS
removed "release of a window that is let go" windows -DANOTHER -DROUNDS=2 -DVISITS=1 \
    -DRELAXED_RELEASE
removed "the state before the bits" windows -DANOTHER -DROUNDS=2 -DVISITS=1 -DSEE_AFTER_BITS
removed "the reader's fence, another process's window," windows -DANOTHER -DROUNDS=2 -DVISITS=1 \
    -DNO_READER_FENCE
removed "asking the kernel who is dead" "${windows[@]}" -DBURIED_ALIVE

removed "the fence after the arbiter's exchange" join -DNO_TAKE_FENCE
removed "the fence after a slot's state" join -DNO_SLOT_FENCE
removed "the fence after a slot's state, on x86," join -DNO_SLOT_FENCE -DTSO
removed "the second look at the slots" join -DNO_SECOND_LOOK
removed "the second look at the arbiter" join -DNO_ARBITER_CHECK

removed "the look at the state after that at the claim" reap -DSTATE_FIRST
removed "the state before the claim goes" reap -DNO_LEAVE_FENCE

removed "beginning again what was dropped" streams -DKEEPS_DROPPED
removed "dropping what nobody awaits" streams -DNEVER_DROPS
removed "the order of the pulls" streams -DPULLS_OVERTAKE
removed "numbers that never come again" streams -DSTREAMS=4 -DITEMS=2 -DCHUNKS=1 -DRECYCLED_NUMBERS

for i in "${!cases[@]}"; do
    echo "$i ${cases[i]%%|*} ${cases[i]##*|}"
done | xargs -P "$(nproc)" -L 1 bash -c 'explore "$@"' explore

for i in "${!cases[@]}"; do
    IFS='|' read -r kind name _ <<<"${cases[i]}"
    log=$work/$i.log
    states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' "$log")
    seconds=$(sed -n 's/^pan: elapsed time \([0-9.e+-]*\) seconds/\1/p' "$log")
    if ! finished "$log"; then
        fail "$name: not explored" "$log"
    elif [[ $kind = sound ]] && grep -q 'errors: 0$' "$log"; then
        pass "$name ($states states, $seconds s)"
    elif [[ $kind = removed ]] && grep -q '^pan:1: assertion violated' "$log"; then
        pass "$name ($states states, $seconds s)"
    else
        fail "$name" "$log"
    fi
done
closing_line
