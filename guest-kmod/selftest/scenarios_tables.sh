# SPDX-License-Identifier: GPL-2.0-only
# Sourced by test/suites/kmod.sh behind scenarios.sh: what others wrote into the tables, and a section that is lost.
# shellcheck shell=bash disable=SC2154,SC2016,SC2034 # variables are the suite's, or expanded in the guest

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
