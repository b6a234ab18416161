# SPDX-License-Identifier: GPL-2.0-only
# Sourced by test/suites/kmod.sh: what needs root, the host or a second guest.
# shellcheck shell=bash disable=SC2154,SC2016,SC2034 # variables are the suite's, or expanded in the guest
# shellcheck source=guest-kmod/selftest/agents.sh
. "$top/guest-kmod/selftest/agents.sh"

# ------------------------------------------------------------------ the kernels' logs

trouble='WARNING|BUG|Oops|general protection|RIP:|blocked for more than|lockdep|circular locking'
trouble+='|refcount_t|[Bb]ad page|bad p4d|bad p[gum]d|bad pte|Bad rss|Call Trace|list_add|list_del|detected stall|unable to handle'
trouble+='|scheduling while atomic|Busy inodes'

# What came since the last look: into $work/log.K, and behind $work/dmesg.K.
read_log() { # K
    in_guest "$1" 'dmesg -c' >"$work/log.$1" 2>"$work/log.err" ||
        { echo "guest $1 does not answer" >"$work/log.$1"; return 1; }
    cat "$work/log.$1" >>"$work/dmesg.$1"
}

# Are all kernels sound? Else the lines go to $work/why.
kernels_sound() {
    local k rc=0
    for k in "${up_guests[@]}"; do
        if ! read_log "$k"; then
            {
                echo "guest $k is gone; on its console:"
                grep -aEA 12 "$trouble" "/run/vmshm-lab/$lab/console-$k.log" | head -n 30 ||
                    tail -n 15 "/run/vmshm-lab/$lab/console-$k.log"
            } >>"$work/why" 2>/dev/null || true
            rc=1
        elif grep -E "$trouble" "$work/log.$k" >"$work/bad"; then
            { echo "kernel log of guest $k:"; head -n 30 "$work/bad"; } >>"$work/why"
            rc=1
        fi
    done
    return $rc
}

# logged K TEXT: did the kernel say that since the last scenario's end?
logged() {
    in_guest "$1" dmesg >"$work/out"
    if ! grep -qF -- "$2" "$work/out"; then
        { echo "guest $1 did not log: $2"; tail -n 5 "$work/out"; } >>"$work/why"
        return 1
    fi
}

# What any user can provoke must not fill the log.
logged_once() { # K TEXT
    local n
    in_guest "$1" dmesg >"$work/out"
    n=$(grep -cF -- "$2" "$work/out" || true)
    ((n == 1)) || { echo "guest $1 logged $n times: $2" >>"$work/why"; return 1; }
}

# scenario NAME FUNCTION: one test. The function fails by its status, or says by 77 that it cannot run here,
# and tells in $work/why.
scenario() {
    local rc=0 sound=yes
    wanted "$1" || return 0
    : >"$work/why"
    "$2" || rc=$?
    dismiss_all
    kernels_sound || sound=no
    if ((rc == 77)) && [[ $sound = yes ]]; then
        skip "$1" "$(tail -n 1 "$work/why")"
        return
    fi
    if ((rc == 0)) && [[ $sound = yes ]]; then
        pass "$1"
    else
        fail "$1" "$work/why"
    fi
    [[ $sound = yes ]] || give_up
    # what failed half-way must not fail the next
    ((rc == 0)) || in_guest 0 "echo 1 >$pci/rescan; lsmod | grep -q '^vmshm ' || insmod $module $unlimited
        chgrp $group /dev/vmshm*; chmod 660 /dev/vmshm*" >/dev/null 2>&1 || true
}

# ------------------------------------------------------------------ the module

# One process of the tests plays several parts, and some take all there is: what is refused by default has
# tests of its own.
unlimited='process_slots=64 user_slots=100 user_windows=100 user_bytes=100'

load() { # K [PARAMETER...]
    in_guest "$1" "insmod $module $unlimited ${*:2} && chgrp $group /dev/vmshm* && chmod 660 /dev/vmshm*" \
        >"$work/out" 2>&1 || { cat "$work/out" >>"$work/why"; return 1; }
}

unload() { # K
    in_guest "$1" "rmmod vmshm" >"$work/out" 2>&1 || { cat "$work/out" >>"$work/why"; return 1; }
}

pci=/sys/bus/pci
# The one behind the port: another one, that is nobody's, stands before it.
device='$(dirname $(grep -lx 0x1110 /sys/bus/pci/devices/*:01:00.0/device))'
foreign='$(dirname $(grep -lx 0x1110 /sys/bus/pci/devices/*:00:*/device))'

# ------------------------------------------------------------------ who is this VM?

no_id() {
    load 1 || return 1
    agent a 1
    expect a open ok && expect a describe ENXIO && expect a "join 1" ENXIO &&
        expect a "map t 0 4096 r" EACCES && logged 1 "this VM has no id" || return 1
    dismiss a
    unload 1
}

id_not_in_table() {
    load 1 vm_id=7 || return 1
    agent a 1
    expect a open ok && expect a describe ENXIO && expect a "join 1" ENXIO &&
        logged 1 "VM id 7 is not in the segment's table, which has 0 to 1" || return 1
    dismiss a
    unload 1
}

same_id_twice() {
    local epoch
    agent a 0 1000
    expect a open ok && expect a "join 1" ok && expect a "section 0" "ok state=1" || return 1
    epoch=$(value epoch)
    load 1 vm_id=0 || return 1
    agent b 1
    expect b open ok && expect b describe "ok vm=0" && expect b "join 1" EADDRINUSE &&
        logged 1 "VM id 0 is in use by another running VM" || return 1
    expect b "join 1" EADDRINUSE && logged_once 1 "VM id 0 is in use" || return 1
    # the first one did not notice
    expect a "section 0" "ok state=1 epoch=$epoch" && expect a "alloc 1 private" ok || return 1
    agent c 0 1000
    expect c open ok && expect c "join 1" ok || return 1
    # as soon as the first is gone, the id is free
    dismiss a c
    sleep 1
    expect b "join 1" ok && expect b "section 0" "ok state=1" || return 1
    if [[ $(value epoch) == "$epoch" ]]; then
        echo "the other VM took the section, and its epoch is the same" >>"$work/why"
        return 1
    fi
    dismiss b
    unload 1
}

smbios_comes_first() {
    # what the other scenario left is another VM's
    unload 0 && load 0 vm_id=1 || return 1
    agent a 0 1000
    expect a open ok && expect a describe "ok vm=0 source=2" && expect a "join 1" "ok vm=0"
}

parameter_gives_id() {
    load 1 vm_id=1 pages=0 || return 1
    agent a 1 1000
    expect a open ok && expect a describe "ok vm=1 source=3" && expect a "join 1" "ok vm=1"
}

# ------------------------------------------------------------------ whose device?

# What a driver of the other device finds: nobody there, the memory as it was, interrupts masked, no DMA.
is_untouched() {
    in_guest 0 "test -e $foreign && test ! -e $foreign/driver" ||
        { echo "the other device has a driver" >>"$work/why"; return 1; }
    local command
    command=$(in_guest 0 "dd if=$foreign/config bs=1 skip=4 count=2 status=none | od -An -t u2 | tr -d ' '")
    (((command & 4) == 0)) || { echo "the other device may be bus master: $command" >>"$work/why"; return 1; }
    cmp -s "$foreign_memory" "$work/foreign.before" ||
        { echo "the other device's memory was written" >>"$work/why"; return 1; }
}

# The first device of the guest holds something else.
foreign_device() {
    local limit=60
    in_guest 0 "basename $foreign >$pci/drivers_probe" >"$work/out" 2>&1 || { cat "$work/out" >>"$work/why"; return 1; }
    is_untouched && logged 0 "holds no vmshm segment: left alone" || return 1
    if [[ $(in_guest 0 'echo /dev/vmshm*') != /dev/vmshm0 ]]; then
        echo "guest 0 has $(in_guest 0 'echo /dev/vmshm*')" >>"$work/why"
        return 1
    fi
    agent a 0 1000
    expect a open ok && expect a "join 1" "ok vm=0" || return 1
    # its own driver can have it, also when it is loaded later
    in_guest 0 "modprobe pci-stub && basename $foreign >/tmp/name && echo pci-stub >$foreign/driver_override &&
        cat /tmp/name >$pci/drivers_probe && test $foreign/driver -ef $pci/drivers/pci-stub &&
        cat /tmp/name >$pci/drivers/pci-stub/unbind && echo >$foreign/driver_override &&
        modprobe -r pci-stub" >"$work/out" 2>&1 ||
        { { echo "another driver cannot have it:"; cat "$work/out"; } >>"$work/why"; return 1; }
    is_untouched
}

# The segment is made while the guest runs.
segment_comes_later() {
    unload 0 || return 1
    dd if="$segment" of="$work/header" bs=8192 count=1 status=none
    dd if=/dev/zero of="$segment" bs=8192 count=1 conv=notrunc status=none
    in_guest 0 "insmod $module $unlimited && test ! -e /dev/vmshm0" ||
        { echo "the module takes a device without a segment" >>"$work/why"; return 1; }
    in_guest 0 "basename $device >$pci/drivers/vmshm/bind" >"$work/out" 2>&1 &&
        { echo "bound without a segment" >>"$work/why"; return 1; }
    dd if="$work/header" of="$segment" conv=notrunc status=none
    in_guest 0 "basename $device >$pci/drivers/vmshm/bind && chgrp $group /dev/vmshm0 && chmod 660 /dev/vmshm0" \
        >"$work/out" 2>&1 || { cat "$work/out" >>"$work/why"; return 1; }
    agent a 0 1000
    expect a open ok && expect a "join 1" "ok vm=0"
}

# Both hold a segment of ours: the first in the bus is the first in the numbers.
two_segments() {
    local first=0 second=1 device0
    unload 0 && dd if=/dev/zero of="$foreign_memory" bs=1M count=16 conv=notrunc status=none || return 1
    "$ctl" create --force --vms 2 --size 16M --procs 16 --windows 64 "$foreign_memory" >"$work/out" 2>&1 ||
        { cat "$work/out" >>"$work/why"; return 1; }
    load 0 || return 1
    in_guest 0 'chgrp 1000 /dev/vmshm1; chmod 660 /dev/vmshm1'
    device0=$(in_guest 0 'basename $(readlink -f /sys/class/misc/vmshm0/device)')
    [[ $device0 == $(in_guest 0 "basename $foreign") ]] || first=1 second=0
    agent a 0 1000
    agent b 0 1000
    expect a "open /dev/vmshm$first" ok && expect a describe "ok vm=0 source=2 total=16777216" &&
        expect b "open /dev/vmshm$second" ok && expect b describe "ok vm=0 source=2 total=268435456" &&
        expect a "join 1" ok && expect b "join 1" ok && expect a "alloc 65536 private" ok &&
        expect a "map w $(value offset) 65536 w" ok && expect a "fill w 0x31" ok || return 1
    # one goes, the other does not notice
    in_guest 0 "basename $device >$pci/drivers/vmshm/unbind" || return 1
    expect b "join 1" ENODEV && expect a "check w 0x31" ok && expect a "alloc 1 private" ok || return 1
    dismiss a b
    unload 0 && dd if="$work/foreign.before" of="$foreign_memory" bs=1M conv=notrunc status=none && load 0
}

# ------------------------------------------------------------------ limits

# As an administrator gets it: one process cannot take all, nor one user.
limits_by_default() {
    local name text='' n=0 taken=0
    unload 0 && in_guest 0 "insmod $module && chgrp $group /dev/vmshm0 && chmod 660 /dev/vmshm0" || return 1
    for name in process_slots user_slots user_windows user_bytes all_slots all_windows all_bytes; do
        text+="$(in_guest 0 "cat /sys/module/vmshm/parameters/$name") "
    done
    [[ $text == "1 90 90 90 100 100 100 " ]] || { echo "the defaults are $text" >>"$work/why"; return 1; }
    # 16 processes of one user, and another one beside them: one slot is kept for pages that stay pinned
    for ((n = 0; n < 16; n++)); do
        agent "p$n" 0 1000
        expect "p$n" open ok || return 1
        ask "p$n" "join 1"
        case $reply in
        ok*) taken=$((taken + 1)) ;;
        EDQUOT | ENOSPC) ;;
        *) says ok || return 1 ;;
        esac
    done
    ((taken == 13)) || { echo "one user got $taken of 16 slots" >>"$work/why"; return 1; }
    agent bob 0 1001
    expect bob open ok && expect bob "join 1" ok && expect bob "alloc 65536 private" ok || return 1
    dismiss_all
    unload 0 && load 0
}

# The list for administrators.
holders() {
    agent r 0
    meet && expect x "find 1 $yslot 0 1" ENOENT && find_both y && expect x "release 0 $closed" ok &&
        expect x pid ok || return 1
    in_guest 0 'mount -t debugfs none /sys/kernel/debug 2>/dev/null; cat /sys/kernel/debug/vmshm/vmshm0' >"$work/out"
    grep -qE "^slot index=$slot holder=process pid=$(value pid) uid=1000 " "$work/out" &&
        grep -qE "^window index=$closed state=quarantine offset=$closed_at bytes=$length uid=1000 readers=0 held=1\\.$yslot\$" \
            "$work/out" && grep -qE "^window index=$open state=live .* uid=1000 slot=$slot readers=0\$" "$work/out" &&
        grep -qE '^user uid=1000 slots=1/15 windows=2/128 ' "$work/out" ||
        { cat "$work/out" >>"$work/why"; return 1; }
    # the same through the tool, which finds the device by itself
    limit=60 in_guest 0 "$ctl show" >"$work/out" 2>&1 && grep -q "^/dev/vmshm0 (kmod)" "$work/out" &&
        grep -qE "^  window index=$closed state=quarantine .* held=1\\.$yslot\$" "$work/out" ||
        { cat "$work/out" >>"$work/why"; return 1; }
    limit=60 in_guest 0 "$ctl show --json /dev/vmshm0" >"$work/out" 2>&1 &&
        [[ $(jq -r ".module[] | select(.kind == \"window\" and .index == \"$closed\").held" "$work/out") == "1.$yslot" ]] ||
        { tail -n 60 "$work/out" >>"$work/why"; return 1; }
    limit=60 in_guest 0 "setpriv --reuid 1000 --regid 1000 --clear-groups $ctl show" >"$work/out" 2>&1 &&
        grep -q "^VM 0: up" "$work/out" && grep -q "is not shown: .* Only root can read it" "$work/out" ||
        { cat "$work/out" >>"$work/why"; return 1; }
}

# ------------------------------------------------------------------ the header

header_field() { # NAME OFFSET BYTES-IN-OCTAL TEXT
    # shellcheck disable=SC2059 # the bytes are a format
    printf "$3" | dd of="$segment" bs=1 seek=$(($2)) conv=notrunc status=none
    agent a 0 1000
    expect a open ok && expect a describe EPROTO && expect a "join 1" EPROTO &&
        expect a describe EPROTO && expect a "join 1" EPROTO &&
        expect a "map t 0 4096 r" EACCES && logged 0 "header is not usable ($4)" && logged_once 0 "not usable" ||
        { echo "  with a wrong $1" >>"$work/why"; return 1; }
    dismiss a
    dd if="$work/header" of="$segment" conv=notrunc status=none
    # what is right again may be logged once more
    agent a 0 1000
    expect a open ok && expect a describe ok || return 1
    dismiss a
    in_guest 0 'dmesg -c' >/dev/null
}

bad_header() {
    local rc=0
    dd if="$segment" of="$work/header" bs=8192 count=1 status=none
    header_field magic 0 '\0\0\0\0\0\0\0\0' magic &&
        header_field version 8 '\377' version &&
        header_field checksum 16 '\1\2\3\4' checksum &&
        header_field "uuid under the checksum" 24 '\1\2\3\4\5\6\7' checksum || rc=1
    dd if="$work/header" of="$segment" conv=notrunc status=none
    dismiss_all
    agent a 0 1000
    expect a open ok && expect a describe "ok vm=0" && expect a "join 1" ok || rc=1
    return $rc
}

# An earlier boot that ended without a word, as its tables say: who joins watches them for a while, and all
# others go on meanwhile.
watching_holds_nobody_up() {
    local section asked=0
    section=$(($(peek 0x400 8)))
    within 10000 unload 0 || return 1
    poke $((section + 12)) 4 1
    poke $((section + 4096)) 4 1
    load 0 || return 1
    agent v 0 1000
    agent x 0 1000
    expect v open ok && expect v describe ok && expect x open ok && expect x "ticks 300" ok || return 1
    send x "join 1"
    sleep 0.3
    while ! read -r -t 0 -u "${agent_out[x]}"; do
        expect v describe ok || return 1
        asked=$((asked + 1))
    done
    answer x
    says ok && expect x "ticks 0" ok || return 1
    ((asked > 2)) || { echo "another process was answered $asked times meanwhile" >>"$work/why"; return 1; }
    expect x "section 0" "ok state=1"
}

# The first to open the device does so through a container's node, whose file system then goes.
node_of_a_container() {
    within 10000 unload 0 && load 0 || return 1
    in_guest 0 'mkdir -p /tmp/container && mount -t tmpfs none /tmp/container &&
        mknod -m 666 /tmp/container/vmshm c $(tr : " " </sys/class/misc/vmshm0/dev)' >"$work/why" 2>&1 || return 1
    agent a 0 1000
    expect a "open /tmp/container/vmshm" ok && expect a describe ok && expect a close ok || return 1
    in_guest 0 'umount /tmp/container' >>"$work/why" 2>&1 || return 1
    expect a open ok && expect a "join 1" ok && expect a "alloc 65536 private" ok || return 1
    local index at
    index=$(value index) at=$(value offset)
    expect a "map w $at 65536 w" ok && expect a "fill w 0x2c" ok && expect a "release 0 $index" ok &&
        expect a "read w" SIGBUS
}
