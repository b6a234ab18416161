#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A guest under the patched QEMU sleeps (S3) while its process and one in another guest have windows of each
# other: the other one reads on, and after the waking all goes on, interrupts included. A guest whose
# memory is asked for while it sleeps, or that is marked as gone, wakes up without it. Hibernation is refused
# while the segment is in use.
# Time limit: 240 s, for a machine under load.
set -euo pipefail
# shellcheck source=test/fault/small-guest.sh
. "$(dirname "$0")/small-guest.sh"

beats() { # K: of that VM's heart
    section "$1" heartbeat
}

beats_on() { # K BEATS
    (($(beats "$1") > $2 + 2))
}

# Interrupts of the device stand on the console every second.
interrupted() { # NAME
    console "$1" | grep -aE '^ *[0-9]+: .*vmshm0' | tail -n 1 | grep -qvE ':[ ]+0 '
}

heard() { # NAME
    console "$1" | grep -ac '^heard ' || true
}

joined_times() { # NAME
    console "$1" | grep -ac 'joined ' || true
}

make_guest
"$prefix/bin/vmshmctl" create --vms 2 --size 64M --procs 16 "$segment" >/dev/null
for_sleep boot_patched a 0 ''
# hibernating takes memory
for_sleep boot_patched b 1 '' -m 256M
expect "a hears b" a until_ 60 console_has a '^heard ' 3
expect "b hears a" b until_ 30 console_has b '^heard ' 3
if ((failed > 0)); then
    closing_line
    exit 1
fi

expect "a sleeps" a falls_asleep a
before=$(beats 0)
other=$(beats 1)
expect "b's heart beats on" b until_ 20 beats_on 1 "$other"
if [[ $(beats 0) == "$before" ]] && ! console_has b '^the other one left'; then
    pass "b sees a silent, and not gone"
else
    console b | tail -n 5 >"$work/why"
    fail "b sees a silent, and not gone" "$work/why"
fi
# a's last number was heard
heard_a=$(heard a)
heard_b=$(heard b)
tell a system_wakeup
expect "a wakes up" a until_ 20 console_has a '^awake'
expect "its heart beats again" a until_ 20 beats_on 0 "$before"
expect "it hears b" a until_ 20 console_has a '^heard ' $((heard_a + 3))
expect "b hears it" b until_ 20 console_has b '^heard ' $((heard_b + 3))
if [[ $(joined_times a) == 1 ]] && ! interrupted a; then
    pass "it is who it was"
else
    console a | tail -n 20 >"$work/why"
    fail "it is who it was" "$work/why"
fi

tell a set:/machine/peripheral/shm,detach,true
expect "a is asked and leaves" a until_ 20 console_has a '^left'
expect "the device has let go" a until_ 20 attached_is a false
expect "the device interrupts as before" a until_ 20 interrupted a
tell a set:/machine/peripheral/shm,detach,false
expect "a joins again" a until_ 20 console_has a 'joined ' 2
heard_b=$(heard b)
expect "b hears a" b until_ 20 console_has b '^heard ' $((heard_b + 3))

# The device is reset when its VM wakes up, which answers the host.
expect "a sleeps once more" a falls_asleep a
tell a set:/machine/peripheral/shm,detach,true
tell a system_wakeup
expect "a wakes up without its memory" a until_ 20 attached_is a false
expect "which is taken from its process" a until_ 20 console_has a '^(the mapping was taken|left)'
expect "a lives" a until_ 20 console_has a '^awake' 2

order b 'echo disk >/sys/power/state || echo did not hibernate' || true
expect "b does not hibernate with the segment in use" b until_ 20 console_has b '^did not hibernate'
expect "and says why" b until_ 5 console_has b 'cannot hibernate'
other=$(beats 1)
expect "its heart beats on" b until_ 20 beats_on 1 "$other"

# The host takes a VM that sleeps for gone: others may hand out again what it reads.
expect "b sleeps, too" b falls_asleep b
other=$(beats 1)
"$prefix/bin/vmshmctl" mark-vm --vm 1 gone "$segment"
tell b system_wakeup
expect "b wakes up without the segment" b until_ 20 console_has b '^the mapping was taken'
expect "and lives" b until_ 20 console_has b '^awake'
if [[ $(beats 1) == "$other" ]]; then
    pass "nothing ran before it was taken"
else
    echo "its heart beat: $other, then $(beats 1)" >"$work/why"
    fail "nothing ran before it was taken" "$work/why"
fi

consoles_are_sound
closing_line
