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
        grep -q "^VM 0: up" "$work/out" && grep -q "is not shown: .* Only root can see it" "$work/out" ||
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
    expect v open ok && expect v describe ok && expect x open ok || return 1
    send x "join 1"
    sleep 0.3
    while ! read -r -t 0 -u "${agent_out[x]}"; do
        expect v describe ok || return 1
        asked=$((asked + 1))
    done
    answer x
    says ok || return 1
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

# ------------------------------------------------------------------ what another VM wrote

# Little-endian bytes into the segment, as a VM whose hypervisor does not guard the others' sections could.
poke() { # OFFSET BYTES NUMBER
    local i text=''
    for ((i = 0; i < $2; i++)); do
        text+=$(printf '\\%03o' $((($3 >> 8 * i) & 255)))
    done
    # shellcheck disable=SC2059 # the bytes are a format
    printf "$text" | dd of="$segment" bs=1 seek=$(($1)) conv=notrunc status=none
}

peek() { # OFFSET BYTES
    od -An -v -t "u$2" -j $(($1)) -N "$2" "$segment" | tr -d ' '
}

# struct vmshm_section, 16 processes, then the windows: see vmshm_format.h
window_at() { # VM INDEX: where its entry stands
    echo $(($(peek $((0x400 + 64 * $1)) 8) + 4096 + 16 * 128 + $2 * 64))
}

forged() { # WHAT FIELD-OFFSET BYTES VALUE ERROR: in the entry of y's window
    local entry before
    entry=$(window_at 1 "$yindex")
    before=$(peek $((entry + $2)) "$3")
    poke $((entry + $2)) "$3" "$4"
    expect x "find 1 $yslot $yindex 1" "$5" && expect x "map n $yat 4096 r" EACCES ||
        { echo "  with a window whose $1 is $4" >>"$work/why"; poke $((entry + $2)) "$3" "$before"; return 1; }
    poke $((entry + $2)) "$3" "$before"
}

forged_entries() {
    local yat heap
    meet && expect y "alloc 196608 private" ok || return 1
    yindex=$(value index) yat=$(value offset)
    heap=$(($(peek 0x440 8) + 2097152))
    forged "offset (VM 0's window)" 8 8 "$((closed_at))" EPROTO &&
        forged "offset (the header)" 8 8 0 EPROTO &&
        forged "offset (VM 1's tables)" 8 8 $((heap - 65536)) EPROTO &&
        forged "offset (VM 1's open half)" 8 8 $(($(peek 0x440 8) + $(peek 0x450 8))) EPROTO &&
        forged "offset (beyond the segment)" 8 8 $((1 << 28)) EPROTO &&
        forged "offset (unaligned)" 8 8 $((yat + 4096)) EPROTO &&
        forged "offset (wraps around)" 8 8 -65536 EPROTO &&
        forged "length (0)" 16 8 0 EPROTO && forged "length (unaligned)" 16 8 4096 EPROTO &&
        forged "length (over the private half)" 16 8 $((1 << 27)) EPROTO &&
        forged "length (wraps around)" 16 8 -65536 EPROTO &&
        forged "kind" 32 4 2 EPROTO && forged "kind (open, in the private half)" 32 4 1 EPROTO &&
        forged "owner" 24 4 15 ENOENT && forged "user" 28 4 0 EACCES && forged "state" 0 4 2 ENOENT &&
        forged "state (unknown)" 0 4 77 ENOENT || return 1
    expect x "find 1 $yslot $yindex 1" ok && expect x "map p $yat 196608 r" ok &&
        expect x "check p 0" ok || return 1
    # found already, and then changed
    poke $(($(window_at 1 "$yindex") + 8)) 8 $((yat + 65536))
    expect x "find 1 $yslot $yindex 1" EPROTO && expect x "release 1 $yindex" ok
}

# The module does not believe its own section, which another VM may have written to.
own_tables_overwritten() {
    local entry at
    meet && expect x "window 0 $closed" "ok state=1" || return 1
    entry=$(window_at 0 "$closed")
    # Another user of this VM, for whom an accomplice elsewhere forges the entry.
    agent bob 0 1001
    expect bob open ok && expect bob "join 1" ok && expect bob "find 0 $slot $closed 1" EACCES || return 1
    poke $((entry + 28)) 4 1001
    expect bob "find 0 $slot $closed 1" EACCES && expect bob "map c $closed_at $length r" EACCES || return 1
    poke $((entry + 28)) 4 1000
    # A reader of this VM, whose bit is taken from the table: the window is not handed out.
    agent r 0 1000
    expect r open ok && expect r "join 1" ok && expect r "alloc 196608 private" ok || return 1
    local lent lent_at rslot=0
    lent=$(value index) lent_at=$(value offset)
    while ((rslot < 16)); do
        ! expect x "find 0 $rslot $lent 1" ok 2>/dev/null || break
        rslot=$((rslot + 1))
    done
    ((rslot < 16)) || return 1
    : >"$work/why"
    expect x "map l $lent_at 196608 r" ok || return 1
    poke $(($(peek 0x400 8) + 4096 + slot * 128)) 4 0
    expect r "release 0 $lent" ok && expect r "alloc 196608 private" ok || return 1
    [[ $(value offset) != "$lent_at" ]] ||
        { echo "handed out while a process of this VM reads it" >>"$work/why"; return 1; }
    poke $(($(peek 0x400 8) + 4096 + slot * 128)) 4 1
    expect x "release 0 $lent" ok || return 1
    poke $((entry + 8)) 8 0
    poke $((entry + 16)) 8 $((1 << 28))
    poke "$entry" 4 0
    # bits of all readers, the process's slot, the end of what was handed out
    poke $(($(peek 0x400 8) + 4096 + slot * 128)) 4 0
    poke $(($(peek 0x400 8) + 32)) 8 0
    expect x "alloc 196608 private" ok || return 1
    at=$(value offset)
    ((at >= closed_at + length || at + 196608 <= closed_at)) ||
        { echo "handed out twice: $reply" >>"$work/why"; return 1; }
    expect x "map n $at 196608 w" ok && expect x "check n 0" ok && expect x "fill n 0x29" ok &&
        expect x "check c 0x21" ok && expect x "map d 0x0 $((1 << 28)) r" EACCES &&
        expect x "map d $closed_at $length w" ok && expect x "check d 0x21" ok &&
        expect x "release 0 $closed" ok && expect x "read c" SIGBUS || return 1
    # Zeroed all the same, whatever the table says was never handed out.
    poke $(($(peek 0x400 8) + 32)) 8 0
    expect x "alloc $length private" ok && expect x "map z $(value offset) $length r" ok &&
        expect x "check z 0" ok || return 1
    # Left so for the next boot of the VM, which must not go by it either.
    poke $(($(peek 0x400 8) + 32)) 8 0
}

# What was handed out must be zeroed by who has the section next, if that is a process without the module.
handed_out_is_noted() {
    local end
    meet || return 1
    end=$(peek $(($(peek 0x400 8) + 32)) 8)
    ((end >= closed_at + length - $(peek 0x400 8) && end >= open_at + length - $(peek 0x400 8))) ||
        { echo "dirty_end is $end, windows are at $closed_at and $open_at" >>"$work/why"; return 1; }
}

# ------------------------------------------------------------------ the section is its no more

is_expelled() { # AGENT
    expect "$1" "wait 3000" ok && (($(value events) & 16)) ||
        { echo "  $1 is not told: $reply" >>"$work/why"; return 1; }
}

# The host marks guest 0 as gone although it runs: guest 1 may hand out again what x reads.
marked_while_running() {
    local yat yindex
    meet && expect y "alloc 196608 private" ok || return 1
    yindex=$(value index) yat=$(value offset)
    expect y "map p $yat 196608 w" ok && expect y "fill p 0x28" ok &&
        expect x "find 1 $yslot $yindex 1" ok && expect x "map p $yat 196608 r" ok &&
        expect x "check p 0x28" ok && expect x "drain 700" ok || return 1
    agent z 0 1000
    expect z open ok && mark 0 gone && is_expelled x && expect z "join 1" EHOSTDOWN &&
        within 5000 expect x "read p" SIGBUS && expect x "read c" SIGBUS &&
        expect x "alloc 65536 private" ENOTCONN && expect x "join 1" EHOSTDOWN &&
        logged 0 'the host marked this VM as gone: 1 processes lose the segment' || return 1
    expect y "release 1 $yindex" ok && within 2000 window_state y "$yindex" 0 1 &&
        expect y "proc 0 $slot" "ok state=3" || return 1
    mark 0 up && expect x "join 1" ok && expect z "join 1" ok && expect x "drain 700" ok || return 1
    # As while it was paused.
    mark 0 gone && mark 0 up && is_expelled x && is_expelled z && expect x leave ok && expect z leave ok &&
        within 5000 expect x "join 1" ok && mark 0 unknown && expect x "drain 700" ok &&
        expect x "alloc 65536 private" ok
}

# The same file, with other tables.
segment_anew() { # OPTION...
    "$ctl" create --force --size 256M --open 25% "$@" "$segment" >"$work/out" 2>&1 ||
        { cat "$work/out" >>"$work/why"; return 1; }
}

# In another segment windows are numbered anew. What was mapped before must not come back with them: it lies
# where others' windows are.
mapped_before() {
    local at
    unload 0 && segment_anew --vms 8 --procs 1024 --windows 4096 && load 0 || return 1
    agent x 0 1000
    expect x open ok && expect x "join 1" ok && expect x "alloc 8388608 private" "ok index=0" || return 1
    at=$(value offset)
    expect x "map w $at 8388608 w" ok && expect x "fill w 0x51" ok &&
        expect x "map t $((at - 4096)) 4096 r" ok && expect x "read t" ok && expect x "drain 700" ok || return 1
    mark 0 gone && is_expelled x && within 5000 expect x "read w" SIGBUS || return 1
    segment_anew --vms 2 --procs 1 --windows 64 || return 1
    within 5000 expect x "join 1" ok && expect x "alloc 65536 private" "ok index=0" &&
        expect x "read w" SIGBUS && expect x "write w 1" SIGBUS && expect x "read t" SIGBUS || return 1
    dismiss x
    unload 0 && segment_anew --vms 2 --procs 16 --windows 128 && load 0
}

# Its section is another's: as when the host started a second VM of its id while it was paused.
given_to_another() {
    local section=$(($(peek 0x400 8)))
    meet && expect x "drain 700" ok || return 1
    poke $((section + 24)) 8 4711
    within 2000 expect x "read c" SIGBUS && is_expelled x && expect x "alloc 65536 private" ENOTCONN || return 1
    [[ $(peek $((section + 24)) 8) == 4711 && $(peek $((section + 4096 + slot * 128)) 4) == 1 ]] ||
        { echo "it wrote in the other's section" >>"$work/why"; return 1; }
    logged 0 'the section of this VM was given to somebody else: 1 processes' &&
        expect x "join 1" ok && expect x "alloc 65536 private" ok
}
