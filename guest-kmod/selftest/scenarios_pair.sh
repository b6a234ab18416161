# SPDX-License-Identifier: GPL-2.0-only
# Sourced by test/suites/kmod.sh behind scenarios.sh: windows, bells and pins between two guests.
# shellcheck shell=bash disable=SC2154,SC2016,SC2034 # variables are the suite's, or expanded in the guest

# ------------------------------------------------------------------ two guests

# Agents x (guest 0) and y (guest 1) are members of job 1; x has a window of each kind, filled with 0x21
# and 0x22: closed, open, length; slot is x's.
meet() { # [BYTES]
    agent x 0 1000
    agent y 1 1000
    expect x open ok && expect x "join 1" ok || return 1
    slot=$(value slot)
    nonce=$(value nonce)
    expect y open ok && expect y "join 1" ok || return 1
    yslot=$(value slot)
    expect x "alloc ${1:-200000} private" ok || return 1
    closed=$(value index) closed_at=$(value offset) length=$(value length)
    expect x "alloc ${1:-200000} open" ok || return 1
    open=$(value index) open_at=$(value offset)
    expect x "map c $closed_at $length w" ok && expect x "fill c 0x21" ok &&
        expect x "map o $open_at $length w" ok && expect x "fill o 0x22" ok
}

find_both() { # AGENT
    expect "$1" "find 0 $slot $closed 1" "ok index=$closed offset=$closed_at length=$length kind=0" &&
        expect "$1" "find 0 $slot $open 1" "ok index=$open offset=$open_at length=$length kind=1"
}

across_guests() {
    meet && expect y "proc 0 $slot" "ok state=1" || return 1
    [[ $(value nonce) == "$nonce" ]] || { echo "y sees another nonce: $reply" >>"$work/why"; return 1; }
    expect y "map c $closed_at $length r" EACCES && find_both y || return 1
    expect y "map d $closed_at $length w" EACCES && expect y "map c $closed_at $length r" ok &&
        expect y "check c 0x21" ok && expect y "write c 1" SIGSEGV &&
        expect y "map o $open_at $length w" ok && expect y "check o 0x22" ok &&
        expect y "fill o 0x23" ok && expect x "check o 0x23" ok &&
        expect x "fill c 0x24" ok && expect y "check c 0x24" ok || return 1
    expect x "reads 1 $yslot 0 $closed" "ok reads=1" && expect y "release 0 $closed" ok &&
        expect y "read c" SIGBUS && expect x "reads 1 $yslot 0 $closed" "ok reads=0"
}

across_guests_big() {
    # entries of 2 MiB
    meet 9000000 && find_both y && expect y "map c $closed_at $length r" ok &&
        expect y "check c 0x21" ok && expect y "map o $open_at $length w" ok &&
        expect y "fill o 0x25" ok && expect x "check o 0x25" ok
}

across_guests_users() {
    meet || return 1
    expect y "find 0 $slot $closed 2" EACCES && expect y "find 0 $slot $open 2" EACCES || return 1
    agent bob 1 1001
    expect bob open ok && expect bob "join 1" ok && expect bob "find 0 $slot $closed 1" EACCES &&
        expect bob "find 0 $slot $open 1" EACCES &&
        expect bob "map c $closed_at $length r" EACCES &&
        expect bob "map o $open_at $length r" EACCES || return 1
    agent root 1
    expect root open ok && expect root "join 1" ok && expect root "find 0 $slot $closed 1" EACCES &&
        find_both y
}

across_guests_bell() {
    local before
    meet && expect y "bell 0 1 $yslot" ok || return 1
    before=$(value rung)
    expect x "ring 1 $yslot" ok && expect x "ring 1 $yslot" ok &&
        expect y "bell 0 1 $yslot" "ok rung=$((before + 2))"
}

across_guests_quarantine() {
    meet && find_both y && expect y "map c $closed_at $length r" ok && expect y "check c 0x21" ok &&
        expect x "release 0 $closed" ok && expect x "window 0 $closed" "ok state=2" &&
        expect x "alloc $length private" ok || return 1
    [[ $(value offset) != "$closed_at" ]] ||
        { echo "handed out again while guest 1 reads it" >>"$work/why"; return 1; }
    sleep 0.6
    expect x "window 0 $closed" "ok state=2" && expect y "check c 0x21" ok &&
        expect y "find 0 $slot $closed 1" ENOENT && expect y "release 0 $closed" ok &&
        expect y "read c" SIGBUS && expect x "alloc $length private" ok || return 1
    [[ $(value offset) == "$closed_at" ]] ||
        { echo "not handed out again: $reply" >>"$work/why"; return 1; }
    expect x "map n $closed_at $length r" ok && expect x "check n 0" ok
}

# y's bit goes over to another slot of its VM, as its module does it for pages that stay pinned: to one that was
# looked at already when y was met.
across_guests_moved() {
    local zslot word old
    agent z 1 1000
    expect z open ok && expect z "join 1" ok || return 1
    zslot=$(value slot)
    meet || return 1
    # slots are taken in turn: soon they are in order
    while ((zslot > yslot)); do
        expect z leave ok && expect z "join 1" ok || return 1
        zslot=$(value slot)
        expect y leave ok && expect y "join 1" ok || return 1
        yslot=$(value slot)
    done
    find_both y && expect x "release 0 $closed" ok && expect x "window 0 $closed" "ok state=2" || return 1
    sleep 0.6
    # the readers' rows come behind processes, windows and bells: vms * windows / 8 bytes each
    word=$(($(peek 0x440 8) + 4096 + 16 * 128 + 128 * 64 + 2 * 16 * 4 + zslot * 32 + closed / 8))
    old=$(peek $word 1)
    poke $word 1 $((old | 1 << closed % 8))
    expect x "reads 1 $zslot 0 $closed" "ok reads=1" && expect y "release 0 $closed" ok || return 1
    sleep 0.6
    expect x "window 0 $closed" "ok state=2" || return 1
    poke $word 1 "$old"
    within 3000 window_state x "$closed" 0
}

window_state() { # AGENT INDEX STATE [VM]
    expect "$1" "window ${4:-0} $2" "ok state=$3"
}

# y's window, of which a page stays in a FIFO of guest 0 when nobody there has the window any more: not even
# has anybody there the device open, when x is killed.
across_guests_pinned() { # release|kill
    local yat yindex ylength xslot
    agent h 0 1000
    agent x 0 1000
    agent y 1 1000
    expect x open ok && expect x describe ok || return 1
    if ! (($(value features) & 8)); then
        echo "the memory has no struct pages" >"$work/why"
        return 77
    fi
    expect x "join 1" ok || return 1
    xslot=$(value slot)
    expect y open ok && expect y "join 1" ok || return 1
    yslot=$(value slot)
    expect y "alloc 200000 private" ok || return 1
    yindex=$(value index) yat=$(value offset) ylength=$(value length)
    expect y "map w $yat $ylength w" ok && expect y "fill w 0x2b" ok || return 1
    in_guest 0 'rm -f /tmp/pinned; mkfifo -m 666 /tmp/pinned' || return 1
    expect h "hold /tmp/pinned" ok && expect x "find 1 $yslot $yindex 1" ok &&
        expect x "map p $yat $ylength r" ok && expect x "pin p /tmp/pinned" ok || return 1
    if [[ $1 = release ]]; then
        expect x "release 1 $yindex" ok && expect x "read p" SIGBUS || return 1
    else
        expect x pid ok && in_guest 0 "kill -9 $(value pid)" &&
            within 3000 expect y "proc 0 $xslot" "ok state=3" || return 1
    fi
    expect y "release 1 $yindex" ok && expect y "read w" SIGBUS || return 1
    for _ in 1 2 3; do
        expect y "alloc $ylength private" ok || return 1
        [[ $(value offset) != "$yat" ]] ||
            { echo "handed out while guest 0 has a page of it pinned" >>"$work/why"; return 1; }
        expect y "release 1 $(value index)" ok || return 1
        sleep 0.4
    done
    window_state y "$yindex" 2 1 && expect h unpin "ok value=0x2b" || return 1
    # guest 0 looks four times a second, and guest 1 hears of it
    within 3000 window_state y "$yindex" 0 1 && expect y "alloc $ylength private" ok || return 1
    [[ $(value offset) == "$yat" ]] || { echo "not handed out again: $reply" >>"$work/why"; return 1; }
    expect y "map n $yat $ylength r" ok && expect y "check n 0" ok
}

# A number of guest 0's list: of lines that start so, or behind NAME=.
listed() { # PATTERN
    in_guest 0 'cat /sys/kernel/debug/vmshm/vmshm0' >"$work/list" 2>&1
    if [[ $1 = *= ]]; then
        sed -nE "s/.*[ ]$1([0-9]+).*/\\1/p" "$work/list" | head -n 1
    else
        grep -cE "^$1 " "$work/list" || true
    fi
}

# Who finds a window and releases it again and again, a page of it pinned, and one that is large, costs
# others nothing.
across_guests_pinned_again() {
    local looks pins most index large
    agent h 0 1000
    agent x 0 1000
    agent y 1 1000
    expect x open ok && expect x describe ok || return 1
    if ! (($(value features) & 8)); then
        echo "the memory has no struct pages" >"$work/why"
        return 77
    fi
    expect x "join 1" ok && expect y open ok && expect y "join 1" ok || return 1
    yslot=$(value slot)
    expect y "alloc 41943040 private" ok || return 1
    large=$(value index)
    expect y "alloc 65536 private" ok || return 1
    index=$(value index)
    in_guest 0 'rm -f /tmp/pinned; mkfifo -m 666 /tmp/pinned' || return 1
    expect h "hold /tmp/pinned" ok && expect x "find 1 $yslot $index 1" ok &&
        expect x "map p $(value offset) 65536 r" ok && expect x "pin p /tmp/pinned" ok &&
        expect x "release 1 $index" ok && expect x "again 2000 1 $yslot $index 1" ok || return 1
    pins=$(listed pinned)
    ((pins == 1)) || { echo "one window is listed as pinned $pins times" >>"$work/why"; return 1; }
    looks=$(listed looks=)
    expect x "again 1 1 $yslot $large 1" ok && within 3000 pins_are 1 || return 1
    looks=$(($(listed looks=) - looks)) most=$(listed most=)
    if ((looks < 10240 || most > 1024)); then
        echo "$looks looks at a window of 10240 pages, $most at a time" >>"$work/why"
        return 1
    fi
    # it is still the owner's alone
    expect y "release 1 $index" ok && expect y "alloc 1 private" ok && window_state y "$index" 2 1 &&
        expect h unpin ok && within 3000 pins_are 0 && within 3000 window_state y "$index" 0 1
}

pins_are() { # N
    local n
    n=$(listed pinned)
    ((n == $1)) || { echo "$n windows are listed as pinned, not $1" >>"$work/why"; return 1; }
}

across_guests_pinned_released() {
    across_guests_pinned release
}

across_guests_pinned_killed() {
    across_guests_pinned kill
}

across_guests_reader_dies() {
    meet && find_both y && expect x "release 0 $closed" ok && expect x "window 0 $closed" "ok state=2" ||
        return 1
    expect y pid ok || return 1
    in_guest 1 "kill -9 $(value pid)" || return 1
    within 3000 window_state x "$closed" 0
}

across_guests_owner_dies() {
    meet && find_both y && expect y "map c $closed_at $length r" ok && expect y "check c 0x21" ok &&
        expect y "proc 0 $slot" "ok state=1" && expect x pid ok || return 1
    in_guest 0 "kill -9 $(value pid)" || return 1
    # what is read stays what it was
    expect y "check c 0x21" ok && within 3000 expect y "proc 0 $slot" "ok state=3" &&
        expect y "window 0 $closed" "ok state=2" && expect y "find 0 $slot $open 1" ENOENT || return 1
    agent z 0 1000
    expect z open ok && expect z "join 3" ok && expect z "alloc $length private" ok || return 1
    [[ $(value offset) != "$closed_at" ]] || { echo "handed out while read" >>"$work/why"; return 1; }
    expect y leave ok && expect y "read c" SIGBUS && within 3000 window_state y "$closed" 0
}

# y is asked to wait; what happens then must end that within 2 s.
wakes() { # WHAT COMMAND...
    expect y "drain 700" ok && expect y "poll 0" "ok ready=0" || return 1
    send y "wait 20000"
    sleep 0.2
    "${@:2}" || return 1
    answer y 21
    if [[ $reply != "ok events=1 "* ]] || (($(value after) > 2500 * patience)); then
        echo "$1: y got \"$reply\"" >>"$work/why"
        return 1
    fi
}

polls() { # WHAT COMMAND...
    expect y "drain 700" ok || return 1
    send y "poll 20000"
    sleep 0.2
    "${@:2}" || return 1
    answer y 21
    says "ok ready=1 in=1 hup=0" || { echo "  at: $1" >>"$work/why"; return 1; }
}

mark() { # VM WHAT
    "$ctl" mark-vm --vm "$1" "$2" "$segment" >"$work/out" 2>&1 ||
        { cat "$work/out" >>"$work/why"; return 1; }
}

kill_agent() { # NAME
    expect "$1" pid ok && in_guest "${agent_guest[$1]}" "kill -9 $(value pid)"
}

events() {
    agent y 1 1000
    agent x 0 1000
    agent z 0 1000
    expect y open ok && expect x open ok && expect z open ok || return 1
    wakes "a process joins" expect x "join 1" ok && wakes "another joins" expect z "join 1" ok &&
        wakes "one leaves" expect x leave ok && wakes "one is killed" kill_agent z &&
        wakes "the host marks a VM" mark 0 up && wakes "marks it so again" mark 0 up &&
        polls "a process joins" expect x "join 1" ok && polls "the host marks a VM" mark 0 unknown
}
