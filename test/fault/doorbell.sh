#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The other device, ivshmem-doorbell with its server: a process that joins in one VM interrupts the
# kernel of the other, which need not wait until it looks by itself; also after that one has slept.
# Time limit: 240 s, for a machine under load.
set -euo pipefail
# shellcheck source=test/fault/small-guest.sh
. "$(dirname "$0")/small-guest.sh"

start() { # NAME K
    boot "$1" "vm_id=$2" -chardev "socket,path=$work/server,id=server" \
        -device ivshmem-doorbell,chardev=server,vectors=1
}

interrupted() { # NAME
    console "$1" | grep -a vmshm0 | grep -avE ':[ ]+0 ' | grep -q PCI-MSI
}

make_guest
# The server makes the memory, the header comes from a segment of that size.
"$(dirname "$qemu")/ivshmem-server" -F -S "$work/server" -p "$work/pid" -M "${segment#/dev/shm/}" \
    -l 64M -n 1 >"$work/server.log" 2>&1 &
pids+=($!)
until_ 10 test -S "$work/server" || { cat "$work/server.log" >&2; exit 1; }
"$prefix/bin/vmshmctl" create --sparse --vms 2 --size 64M --procs 16 "$work/segment" >/dev/null
dd if="$work/segment" of="$segment" bs=2M count=1 conv=notrunc status=none

# how often
interrupts() { # NAME
    console "$1" | grep -aE '^ *[0-9]+: .*PCI-MSI.* vmshm0' | tail -n 1 | awk '{ print $2 }'
}

more_interrupts() { # NAME THAN
    (($(interrupts "$1") > $2))
}

for_sleep start a 0
expect "a joins" a until_ 60 console_has a 'joined '
if interrupted a; then
    fail "nobody interrupts a VM that is alone"
else
    pass "nobody interrupts a VM that is alone"
fi
start b 1
expect "b joins, and they hear each other" b until_ 60 console_has b '^heard ' 3
expect "a hears b" a until_ 20 console_has a '^heard ' 3
expect "b's coming interrupts a" a until_ 20 interrupted a

expect "a sleeps" a falls_asleep a
tell a system_wakeup
expect "a wakes up" a until_ 20 console_has a '^awake'
heard=$(console a | grep -ac '^heard ' || true)
expect "it hears b" a until_ 20 console_has a '^heard ' $((heard + 3))
before=$(interrupts a)
expect "another process starts in b" b order b '/mover &'
expect "it interrupts a" a until_ 20 more_interrupts a "$before"

# Of a peer that rings without end a guest takes note now and then: each look is a beat of its heart.
storm() {
    local before after start end
    start=$(date +%s%3N)
    before=$(section 0 heartbeat)
    "$(dirname "$0")/ringer.py" "$work/server" 5 >"$work/rung" 2>&1 || { cat "$work/rung" >>"$work/console-a"; return 1; }
    after=$(section 0 heartbeat)
    end=$(date +%s%3N)
    echo "rung $(<"$work/rung") times, looked $((after - before)) times in $((end - start)) ms" | tee -a "$work/console-a"
    # it looks every 12 ms at most, where the clock ticks 250 times a second
    ((after > before && after - before < (end - start) / 8 + 20))
}
expect "a storm of bells makes a look a hundred times a second at most" a storm
before=$(interrupts a)
expect "and one more process in b" b order b '/mover &'
expect "interrupts it as before" a until_ 20 more_interrupts a "$before"
consoles_are_sound
closing_line
