# SPDX-License-Identifier: GPL-2.0-only
# Sourced by test/suites/kmod.sh after scenarios.sh, whose functions it uses: how the module, the device, a
# guest come to their end and, but for the last one, back.
# shellcheck shell=bash disable=SC2154,SC2016 # variables are the suite's

# ------------------------------------------------------------------ module, driver, device

reload_makes_an_epoch() {
    local epoch
    agent a 0 1000
    expect a open ok && expect a "join 1" ok && expect a describe ok || return 1
    epoch=$(value epoch)
    if in_guest 0 'rmmod vmshm' >"$work/out" 2>&1; then
        echo "unloaded while a process has the device open" >>"$work/why"
        return 1
    fi
    grep -q 'in use' "$work/out" || { cat "$work/out" >>"$work/why"; return 1; }
    expect a "alloc 1 private" ok && expect a "map w $(value offset) 4096 w" ok || return 1
    expect a "write w 1" ok || return 1
    # a mapping alone keeps it, too
    expect a close ok || return 1
    if in_guest 0 'rmmod vmshm' >"$work/out" 2>&1; then
        echo "unloaded while a process has a window mapped" >>"$work/why"
        return 1
    fi
    expect a "write w 2" ok || return 1
    dismiss a
    within 2000 unload 0 && load 0 || return 1
    agent a 0 1000
    expect a open ok && expect a describe ok || return 1
    [[ $(value epoch) != "$epoch" ]] || { echo "the epoch is the same" >>"$work/why"; return 1; }
    expect a "join 1" ok && expect a "section 0" "ok state=1 epoch=$(expect a describe ok && value epoch)"
}

# Everything the processes hold is taken: a has own windows, found ones and the tables mapped, b waits.
# TAKE and GIVE are commands for guest 0.
taken_away() { # TAKE GIVE
    local epoch path
    meet && find_both y && expect y "map c $closed_at $length r" ok || return 1
    expect y "alloc 196608 private" ok || return 1
    local yindex yat
    yindex=$(value index) yat=$(value offset)
    expect y "map p $yat 196608 w" ok && expect y "fill p 0x26" ok || return 1
    agent b 0 1000
    expect b open ok && expect b "drain 500" ok || return 1
    expect x "find 1 $yslot $yindex 1" ok && expect x "map p $yat 196608 r" ok &&
        expect x "check p 0x26" ok && expect x "map t 0 4096 r" ok && expect x "read t" ok &&
        expect x describe ok || return 1
    epoch=$(value epoch)
    send b "wait 20000"
    sleep 0.2
    in_guest 0 "$1" || return 1
    answer b 21
    says "ok events=[89]" || { echo "  the one that waited" >>"$work/why"; return 1; }
    expect x "read c" SIGBUS && expect x "write o 1" SIGBUS && expect x "read p" SIGBUS &&
        expect x "read t" SIGBUS || return 1
    expect x "alloc 1 private" ENODEV && expect x describe ENODEV && expect x leave ENODEV &&
        expect x "join 1" ENODEV && expect x "find 1 $yslot $yindex 1" ENODEV &&
        expect x "release 0 $closed" ENODEV && expect x "publish $closed" ENODEV &&
        expect x "ring 1 0" ENODEV && expect x "count 1 1" ENODEV &&
        expect x "map n 0 4096 r" ENODEV || return 1
    expect x "poll 0" "ok ready=1 in=1 hup=1" && expect x "wait 0" "ok events=[89]" &&
        expect x "wait 20000" "ok events=8" && expect b "poll 0" "ok ready=1 in=1 hup=1" || return 1
    # the other VM sees that they are gone, and its own windows are whole
    within 3000 expect y "proc 0 $slot" "ok state=3" && expect y "section 0" "ok state=2" &&
        expect y "check c 0x21" ok && expect y "check p 0x26" ok || return 1
    # x and b still have their files
    in_guest 0 "$2" || return 1
    within 5000 in_guest 0 'ls /dev/vmshm* && chgrp 1000 /dev/vmshm* && chmod 660 /dev/vmshm*' \
        >"$work/out" 2>&1 || { echo "no device came back" >>"$work/why"; return 1; }
    path=$(in_guest 0 'ls /dev/vmshm*')
    agent n 0 1000
    expect n "open $path" ok && expect n describe "ok vm=0" || return 1
    [[ $(value epoch) != "$epoch" ]] || { echo "the epoch is the same" >>"$work/why"; return 1; }
    expect n "join 1" ok && expect n "alloc 196608 private" ok || return 1
    [[ $(value offset) != "$closed_at" ]] ||
        { echo "handed out what guest 1 still reads" >>"$work/why"; return 1; }
    expect n "map w $(value offset) 196608 w" ok && expect n "check w 0" ok &&
        expect n "fill w 0x27" ok || return 1
    # the old files stay dead
    expect x "read c" SIGBUS && expect x describe ENODEV && expect y "check c 0x21" ok &&
        expect n "check w 0x27" ok || return 1
    expect x close ok && expect b close ok && expect n "alloc 1 private" ok
}

is_first_again() {
    in_guest 0 "echo 1 >$device/remove; echo 1 >$pci/rescan" || return 1
    within 2000 in_guest 0 'ls /dev/vmshm0 && chgrp 1000 /dev/vmshm0 && chmod 660 /dev/vmshm0' >"$work/out" 2>&1
}

# With all files closed the number is free again; the processes take a moment to end.
number_is_free_again() {
    dismiss_all
    within 20000 is_first_again || { in_guest 0 'ls /dev/vmshm*' >>"$work/why" 2>&1; return 1; }
    agent a 0 1000
    expect a open ok && expect a "join 1" ok
}

unplug() {
    taken_away "echo 1 >$device/remove" "echo 1 >$pci/rescan" && number_is_free_again
}

unbind() {
    taken_away "basename $device >$pci/drivers/vmshm/unbind" \
        "basename $device >$pci/drivers/vmshm/bind" && number_is_free_again
}

removed() {
    in_guest 0 "test ! -e $pci/devices/$1"
}

# The device goes without its memory's pages, which stay until they are let go, at addresses that nobody
# gets.
unplug_while_pinned() {
    local slot
    agent a 0 1000
    expect a open ok && expect a describe ok || return 1
    if ! (($(value features) & 8)); then
        echo "the memory has no struct pages" >"$work/why"
        return 77
    fi
    expect a "join 1" ok && expect a "alloc 4000000 private" ok &&
        expect a "map w $(value offset) 4000000 w" ok && expect a "fill w 0x2a" ok &&
        expect a "pin w" ok || return 1
    slot=$(in_guest 0 "basename $device")
    in_guest 0 "(echo 1 >$device/remove) </dev/null >/dev/null 2>&1 &" || return 1
    within 20000 removed "$slot" && logged 0 "memory of the segment is pinned" &&
        within 3000 in_guest 0 'grep -q "vmshm, pinned" /proc/iomem' || return 1
    if in_guest 0 'rmmod vmshm' >"$work/out" 2>&1; then
        echo "unloaded while the segment's memory is pinned" >>"$work/why"
        return 1
    fi
    expect a "read w" SIGBUS || return 1
    # Elsewhere, if there is room.
    in_guest 0 "echo 1 >$pci/rescan"
    expect a "unpin" ok && within 3000 logged 0 "the last pinned page of the segment was released" || return 1
    if in_guest 0 'grep "vmshm, pinned" /proc/iomem' >>"$work/why" 2>&1; then
        return 1
    fi
    number_is_free_again
}

# A driver that is unbound leaves its device where it is: nobody else gets it.
unbind_while_pinned() {
    agent a 0 1000
    expect a open ok && expect a describe ok || return 1
    if ! (($(value features) & 8)); then
        echo "the memory has no struct pages" >"$work/why"
        return 77
    fi
    expect a "join 1" ok && expect a "alloc 4000000 private" ok &&
        expect a "map w $(value offset) 4000000 w" ok && expect a "fill w 0x2a" ok &&
        expect a "pin w" ok || return 1
    limit=60 in_guest 0 "basename $device >$pci/drivers/vmshm/unbind" || return 1
    if in_guest 0 "basename $device >$pci/drivers/vmshm/bind" >"$work/out" 2>&1; then
        echo "bound again while its memory is pinned" >>"$work/why"
        return 1
    fi
    expect a "unpin" "ok value=0x2a" && within 3000 logged 0 "the last pinned page of the segment was released" &&
        in_guest 0 "basename $device >$pci/drivers/vmshm/bind" || return 1
    number_is_free_again
}

# The kernel is what is tested here: the processes may complain as they like.
unplug_under_load() {
    in_guest 0 "cd /tmp; for i in 1 2; do VMSHM_RACE_MS=6000 setsid setpriv --reuid 1000 --regid 1000 \
        --clear-groups $programs/test_race release-against leave </dev/null >/dev/null 2>&1 & done; \
        setsid setpriv --reuid 1000 --regid 1000 --clear-groups $programs/test_fuzz --seconds 20 \
        </dev/null >/dev/null 2>&1 & sleep 1.5" || return 1
    for _ in 1 2; do
        in_guest 0 "echo 1 >$device/remove; echo 1 >$pci/rescan; sleep 0.3; \
            chgrp 1000 /dev/vmshm*; chmod 660 /dev/vmshm*" || return 1
        in_guest 0 "setpriv --reuid 1000 --regid 1000 --clear-groups timeout 0.7 env \
            VMSHM_DEVICE=\$(ls /dev/vmshm* | tail -n 1) $programs/test_fuzz --seconds 5 >/dev/null" || true
    done
    in_guest 0 "pkill -9 -x test_race; pkill -9 -x test_fuzz; sleep 0.3; echo 1 >$device/remove; \
        echo 1 >$pci/rescan; sleep 0.3; chgrp 1000 /dev/vmshm0; chmod 660 /dev/vmshm0" || return 1
    agent a 0 1000
    expect a open ok && expect a "join 1" ok && expect a "alloc 4000000 private" ok &&
        expect a "map w $(value offset) 4000000 w" ok && expect a "check w 0" ok
}

# ------------------------------------------------------------------ with test/lab/kernel debug

# What the module allocated and nothing points to any more, told by who called: a name of the module, or of
# one that is unloaded only an address.
no_leaks() {
    local k
    for k in "${up_guests[@]}"; do
        limit=90 in_guest "$k" 'cd /sys/kernel/debug && echo scan >kmemleak && sleep 6 &&
            echo scan >kmemleak && cat kmemleak' >"$work/leaks" 2>&1 || return 1
        if grep -qE '\[vmshm\]|[ ]0xffffffff' "$work/leaks"; then
            { echo "guest $k:"; grep -EB 8 '\[vmshm\]|[ ]0xffffffff' "$work/leaks"; } >>"$work/why"
            return 1
        fi
    done
}

# ------------------------------------------------------------------ power loss, at the end: guest 1 dies

heartbeat_of() { # AGENT VM
    expect "$1" "section $2" ok || true
    value heartbeat
}

power_loss() {
    local before after yindex yat
    meet && find_both y && expect y "map c $closed_at $length r" ok && expect y "check c 0x21" ok &&
        expect y "alloc 196608 private" ok || return 1
    yindex=$(value index) yat=$(value offset)
    expect y "map p $yat 196608 w" ok && expect y "fill p 0x28" ok &&
        expect x "find 1 $yslot $yindex 1" ok && expect x "map p $yat 196608 r" ok || return 1
    before=$(heartbeat_of x 1)
    sleep 1
    after=$(heartbeat_of x 1)
    ((after > before)) || { echo "guest 1 lives, and its heartbeat stands still" >>"$work/why"; return 1; }
    "$vmlab" kill --name "$lab" 1 || return 1
    up_guests=(0)
    dismiss y
    expect x "drain 700" ok || return 1
    before=$(heartbeat_of x 1)
    sleep 1
    after=$(heartbeat_of x 1)
    ((after == before)) || { echo "guest 1 is dead, and its heart beats" >>"$work/why"; return 1; }
    # Nobody said yet that it is gone: it may be paused.
    expect x "check p 0x28" ok && expect x "release 0 $closed" ok &&
        expect x "window 0 $closed" "ok state=2" || return 1
    sleep 1
    expect x "window 0 $closed" "ok state=2" && expect x "proc 1 $yslot" "ok state=1" || return 1
    expect x "drain 700" ok || return 1
    send x "wait 20000"
    sleep 0.2
    mark 1 gone || return 1
    answer x 21
    says "ok events=1" && (($(value after) < 2500 * patience)) && within 2000 window_state x "$closed" 0 || return 1
    expect x "alloc $length private" ok || return 1
    [[ $(value offset) == "$closed_at" ]] || { echo "not handed out again: $reply" >>"$work/why"; return 1; }
    expect x "map n $closed_at $length r" ok && expect x "check n 0" ok &&
        expect x "check p 0x28" ok && expect x "release 1 $yindex" ok && expect x "read p" SIGBUS
}

# ------------------------------------------------------------------ switched off, at the very end

is_off() { # K
    "$vmlab" status --name "$lab" >"$work/out" 2>&1 || true
    grep -q -- "-$1 .* down\$" "$work/out"
}

switched_off_while_pinned() {
    agent a 0 1000
    expect a open ok && expect a describe ok || return 1
    if ! (($(value features) & 8)); then
        echo "the memory has no struct pages" >"$work/why"
        return 77
    fi
    expect a "join 1" ok && expect a "alloc 4000000 private" ok &&
        expect a "map w $(value offset) 4000000 w" ok && expect a "fill w 0x2a" ok &&
        expect a "pin w" ok || return 1
    kernels_sound || return 1
    up_guests=()
    in_guest 0 'echo o >/proc/sysrq-trigger' || true
    within 30000 is_off 0 || { cat "$work/out" >>"$work/why"; return 1; }
    # the others are told
    [[ $(peek $(($(peek 0x400 8) + 12)) 4) == 2 ]] || { echo "its section says that it is up" >>"$work/why"; return 1; }
}
