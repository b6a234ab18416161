#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Live migration under the patched QEMU: two small guests exchange numbers through the kernel module;
# the host asks one for the memory, migrates it to a second QEMU on this machine, and it goes on there.
# The other guest does not answer such a wish and loses its mappings.
# Time limit: 300 s, for a machine under load.
set -euo pipefail
# shellcheck source=test/fault/small-guest.sh
. "$(dirname "$0")/small-guest.sh"

refused() { # NAME: a migration is, while the guest has the memory
    ! "$qmp" "$work/qmp-$1" 'migrate:{"uri":"exec:cat >/dev/null"}' >"$work/refused" 2>&1 &&
        grep -qi 'attached\|detach' "$work/refused"
}

migrated() {
    "$qmp" "$work/qmp-b" query-migrate >"$work/said-b" 2>&1 || return 1
    jq -e '.status == "completed"' "$work/said-b" >/dev/null
}

epoch() { # NAME: the last one it joined with
    console "$1" | sed -n 's/.*joined //p' | tail -n 1
}

make_guest
"$prefix/bin/vmshmctl" create --vms 2 --size 64M --procs 16 "$segment" >/dev/null
boot_patched a 0 --stubborn
boot_patched b 1 writer
expect "a hears b" a until_ 60 console_has a '^heard ' 3
expect "b hears a" b until_ 30 console_has b '^heard ' 3
expect "b writes its memory" b until_ 30 console_has b '^written'
if ((failed > 0)); then
    closing_line
    exit 1
fi
expect "b cannot be migrated while it has the memory" b refused b

tell b set:/machine/peripheral/shm,detach,true
expect "b is asked and leaves" b until_ 20 console_has b '^left'
expect "the device has let go" b until_ 20 attached_is b false
expect "a sees that b left" a until_ 20 console_has a '^the other one left'
before=$(epoch b)

boot_patched c 1 '' -incoming defer
tell c "migrate-incoming:{\"uri\":\"unix:$work/migration\"}"
tell b "migrate:{\"uri\":\"unix:$work/migration\"}"
expect "b is migrated" b until_ 60 migrated
tell b quit
expect "it finds memory again" c until_ 30 console_has c '^there is memory again'
expect "it joins again" c until_ 20 console_has c '^joined '
expect "it goes on to write its memory" c until_ 30 console_has c '^written' 2
heard=$(console a | grep -c '^heard ' || true)
expect "it hears a again" c until_ 20 console_has c '^heard ' 3
expect "a hears it again" a until_ 20 console_has a '^heard ' $((heard + 3))
if [[ -n $before && $(epoch c) != "$before" ]]; then
    pass "its epoch is another: $before, $(epoch c)"
else
    fail "its epoch is another: $before, $(epoch c)"
fi
expect "it cannot be migrated while it has the memory" c refused c

tell c set:/machine/peripheral/shm,detach,true
expect "it leaves once more" c until_ 20 console_has c '^left'
tell c set:/machine/peripheral/shm,detach,false
expect "the host changes its mind, and it comes back" c until_ 20 console_has c '^joined ' 2

tell a set:/machine/peripheral/shm,detach,true
expect "who does not leave loses its mapping" a until_ 20 console_has a '^the mapping was taken'
expect "and the host gets the memory" a until_ 20 attached_is a false

consoles_are_sound
closing_line
