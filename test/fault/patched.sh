#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What a hostile guest can do to others: under stock QEMU, and under the patched one, whose guests
# write in their own section only. Then: what becomes of a job when the host wants the memory back.
# Time limit: 400 s, for a machine under load.
set -euo pipefail
# shellcheck source=test/apps/common.sh
. "$(dirname "$0")/../apps/common.sh"
agent_program=$work/selftest/agent
# shellcheck source=guest-kmod/selftest/agents.sh
. "$top/guest-kmod/selftest/agents.sh"
poke=$build/test/fault/poke
qmp=$top/test/lab/qmp.py
value=81985529216486895

if ! command -v qemu-system-x86_64 >/dev/null; then
    skip "all" "qemu-system-x86_64 is missing; apt-get install qemu-system-x86"
    closing_line
    exit 0
fi

on_host() { # OFFSET: the number that stands in the segment
    od -An -tu8 -j "$1" -N8 "$lab_segment" | tr -d ' '
}

# As guest 1's root, through the PCI resource file: prints what the guest reads afterwards.
guest_pokes() { # OFFSET
    # shellcheck disable=SC2016 # for the guest's shell
    "$vmlab" ssh --name "$lab" 1 -- "
        for dev in /sys/bus/pci/devices/*; do
            [[ \$(<\$dev/vendor) == 0x1af4 && \$(<\$dev/device) == 0x1110 ]] || continue
            echo 1 >\$dev/enable
            exec '$poke' \$dev/resource2 $1 $value
        done" 2>&1
}

# A place in VM 0's section, the host's marks, a place in guest 1's own section.
places() {
    "$vmshmctl" show --json "$lab_segment" | jq -er '
        (.vms[0].offset + .vms[0].length - 4096), 8192 + 64 * 63, (.vms[1].offset + .vms[1].length - 4096)'
}

# stores LAB foreign|own ALLOWED(yes|no) OFFSET
stores() {
    local before after seen
    before=$(on_host "$4")
    seen=$(guest_pokes "$4") || true
    after=$(on_host "$4")
    echo "offset $4: host had $before, guest reads $seen, host has $after" >"$work/why"
    if [[ $3 == yes && $after == "$value" && $seen == "$value" ]]; then
        pass "$1: a guest's store to $2 reaches it"
    elif [[ $3 == no && $after == "$before" && $seen == "$before" ]]; then
        pass "$1: a guest's store to $2 does not"
    else
        fail "$1: a guest's store to $2: expected $3" "$work/why"
    fi
}

# ------------------------------------------------------------------ stock
need_lab qemu 2
mapfile -t place < <(places)
stores stock "another VM's section" yes "${place[0]}"
stores stock "the host's header" yes "${place[1]}"
stores stock "its own section" yes "${place[2]}"
lab_down

# ------------------------------------------------------------------ patched
if [[ -z ${VMSHM_QEMU:-} ]] && ! "$top/ivshmem-patch/build" --print >"$work/log" 2>&1; then
    skip "patched" "there is no patched QEMU (the suite ivshmem builds it): $(tail -n 1 "$work/log")"
    closing_line
    exit 0
fi
"$top/guest-kmod/build" "$work/module" >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; exit 1; }
need_lab qemu 2 --qemu patched --module "$work/module/vmshm.ko"
# The same sections, with open halves.
"$vmshmctl" create --force --vms 2 --size "$(stat -c %s "$lab_segment")" --open 25% "$lab_segment" >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 1; }
# The module keeps the resource file away.
"$vmlab" ssh --name "$lab" 1 -- rmmod vmshm
mapfile -t place < <(places)
stores patched "another VM's section" no "${place[0]}"
stores patched "the host's header" no "${place[1]}"
stores patched "its own section" yes "${place[2]}"
"$vmlab" ssh --name "$lab" 1 -- "insmod /run/vmshm-lab/$lab/vmshm.ko && chgrp 1000 /dev/vmshm0"

export VMSHM_LAB_UID=1000
if "$vmlab" ssh --name "$lab" 1 -- setpriv --reuid=1000 --regid=1000 --clear-groups \
    "$vmshmctl" identity >"$work/identity" 2>&1 && grep -qx 'vm-id-from: device' "$work/identity"; then
    pass "the VM's id comes from the device"
else
    fail "the VM's id comes from the device" "$work/identity"
fi

attached_is() {
    [[ $("$qmp" "/run/vmshm-lab/$lab/qmp-1" get:/machine/peripheral/vmshm-device,attached 2>&1) == "$1" ]]
}

host_says() { # PROPERTY VALUE
    "$qmp" "/run/vmshm-lab/$lab/qmp-1" "set:/machine/peripheral/vmshm-device,$1,$2" >>"$work/why" 2>&1
}

# Does NAME get the event ATTACH, among others?
hears_of_memory() { # NAME
    for _ in {1..20}; do
        expect "$1" "wait 3000" ok || return 1
        (($(value events) & 4)) && return 0
    done
    return 1
}

# Before anybody joined: a page that all may read, in a pipe of who may read the device, keeps nobody out.
readers_keep_nobody_out() {
    expect reads "open ro" ok && expect reads describe ok && expect reads "map t 0 4096 r" ok &&
        expect reads "pin t" ok && expect reads "unmap t" ok && expect reads close ok || return 1
    expect late open ok && expect late describe ok && expect late close ok && expect stays open ok &&
        expect stays "join 7" ok && expect stays "alloc 65536 private" ok && expect stays leave ok
}

# Who leaves because the host asks must not find himself back inside, where the memory is then taken.
nobody_joins_meanwhile() {
    expect stays open ok && expect stays "join 7" ok && expect late open ok && expect late "drain 300" ok &&
        host_says detach true && expect late "join 7" ENODEV && expect stays "alloc 65536 private" ok &&
        within 2000 host_is_told waits-processes 1 &&
        host_says detach false && hears_of_memory late && expect late "join 7" ok && attached_is true &&
        expect late leave ok
}

# Who has the device open when the host takes the memory and gives it back, and joins then, is not told of it.
hears_nothing_of_before() {
    expect stays leave ok && expect late "drain 300" ok && host_says detach true &&
        until_ 20 attached_is false && host_says detach false && until_ 20 attached_is true &&
        expect late "join 7" ok || return 1
    ask late "wait 50"
    if [[ $reply != ETIMEDOUT* ]] && (($(value events) & 6)); then
        echo "told: $reply" >>"$work/why"
        return 1
    fi
    expect late leave ok && expect stays "join 7" ok
}

guest_logged() { # TEXT
    "$vmlab" ssh --name "$lab" 1 -- dmesg >"$work/dmesg" 2>&1
    grep -qF -- "$1" "$work/dmesg"
}

# Does the host read that from the device's property? Older series have none.
host_is_told() { # PROPERTY VALUE
    local said
    said=$("$qmp" "/run/vmshm-lab/$lab/qmp-1" "get:/machine/peripheral/vmshm-device,$1" 2>&1) || true
    [[ $said == "$2" || $said == *"not found"* ]] || { echo "the host reads $1: $said" >>"$work/why"; return 1; }
}

# A page that a pipe still has would show what comes to lie there afterwards: the host gets nothing before.
nothing_pinned_is_let_go() { # OWNER AGENT: a window of OWNER's, of which AGENT has a page pinned
    expect "$2" "pin w" ok && host_says detach true && expect stays leave ok && expect late leave ok &&
        until_ 20 guest_logged "1 pages of it are pinned" || return 1
    sleep 2
    attached_is true || { echo "the device has let go of a page that is pinned" >>"$work/why"; return 1; }
    host_is_told waits-pages 1 && host_is_told waits-processes 0 || return 1
    expect late "join 7" ENODEV && expect late describe ENODEV && expect "$2" "read w" SIGBUS &&
        expect "$2" unpin "ok value=0x2a" && until_ 20 attached_is false && host_says detach false &&
        until_ 20 attached_is true && hears_of_memory late && expect late "join 7" ok &&
        expect late "alloc 65536 private" ok && expect stays "join 7" ok || return 1
    "$vmlab" ssh --name "$lab" 1 -- dmesg -C
}

own_pins() {
    local offset
    expect late "join 7" ok && expect stays "alloc 65536 private" ok || return 1
    offset=$(value offset)
    expect stays "map w $offset 65536 w" ok && expect stays "fill w 42" ok && nothing_pinned_is_let_go stays stays
}

# Nor of another VM's window, which that one must not hand out meanwhile.
pins_of_another_vm() {
    local offset index slot
    expect other open ok && expect other "join 7" ok || return 1
    slot=$(value slot)
    expect other "alloc 65536 private" ok || return 1
    offset=$(value offset) index=$(value index)
    expect other "map w $offset 65536 w" ok && expect other "fill w 42" ok &&
        expect late "find 0 $slot $index 7" ok && expect late "map w $offset 65536 r" ok &&
        nothing_pinned_is_let_go other late
}

# A store to another VM's open window would be lost, and cost an exit.
found_open_is_read_only() {
    local offset index slot
    expect other leave ok && expect other "join 7" ok || return 1
    slot=$(value slot)
    expect other "alloc 65536 open" ok || return 1
    offset=$(value offset) index=$(value index)
    expect other "map o $offset 65536 w" ok && expect other "fill o 42" ok &&
        expect late "find 0 $slot $index 7" "ok index=$index offset=$offset length=65536 kind=1" &&
        expect late "map o $offset 65536 w" EACCES && expect late "map o $offset 65536 r" ok &&
        expect late "check o 42" ok && expect late "write o 1" SIGSEGV && expect other "check o 42" ok
}

# Does the memory keep the VM from migrating? (So does the lab's shared folder, in words of its own.)
blocked_is() { # yes|no
    local said=no
    "$qmp" "/run/vmshm-lab/$lab/qmp-1" query-migrate >"$work/blocked" 2>&1
    grep -q 'uses the memory of ivshmem' "$work/blocked" && said=yes
    [[ $said == "$1" ]] || { echo "QEMU says of migration, wanted $1: $(<"$work/blocked")" >>"$work/why"; return 1; }
}

# A page that is pinned since before the VM was marked as gone lets nobody join. Who tried has taken nothing.
failed_join_blocks_no_migration() {
    local offset
    expect stays "alloc 65536 private" ok || return 1
    offset=$(value offset)
    expect stays "map w $offset 65536 w" ok && expect stays "fill w 42" ok && expect stays "pin w" ok &&
        blocked_is yes || return 1
    "$vmshmctl" mark-vm --vm 1 gone "$lab_segment"
    within 10000 expect stays "alloc 65536 private" ENOTCONN || return 1
    "$vmshmctl" mark-vm --vm 1 up "$lab_segment"
    expect tries open ok && expect tries "join 7" EBUSY && expect tries close ok &&
        expect stays unpin "ok value=0x2a" || return 1
    dismiss stays late          # their mappings keep the device open
    until_ 20 blocked_is no && expect tries open ok && expect tries "join 7" ok && blocked_is yes &&
        expect tries close ok && host_says detach true && until_ 20 attached_is false && blocked_is no &&
        host_says detach false && until_ 20 attached_is true
}

scenario() { # TEXT FUNCTION
    : >"$work/why"
    if "$2"; then
        pass "$1"
    else
        fail "$1" "$work/why"
    fi
}

mkdir "$work/selftest"
make -C "$top/guest-kmod/selftest" OUT="$work/selftest" "$work/selftest/agent" >"$work/make.log" 2>&1 ||
    { cat "$work/make.log" >&2; exit 1; }
agent stays 1 1000
agent late 1 1000
agent reads 1 1001
scenario "who may only read keeps nobody out" readers_keep_nobody_out
dismiss reads
scenario "nobody joins while the host asks for the memory" nobody_joins_meanwhile
scenario "who joins is not told what was before" hears_nothing_of_before
agent other 0 1000
scenario "the host does not get what is pinned" own_pins
scenario "nor another VM's window that is pinned" pins_of_another_vm
scenario "another VM's open window is read-only, where the device guards it" found_open_is_read_only
agent tries 1 1000
scenario "who could not join does not keep the VM from migrating" failed_join_blocks_no_migration
dismiss_all

carried "a job runs" "$lab_segment" 500 100000 guests self,vader,vmshm 2 "$programs/vt_sizes" --quick || true
has_sent() {
    local messages
    read -r messages _ < <(counters "$lab_segment")
    ((messages > before + 1000))
}
job_under_way() { # its number in job
    read -r before _ < <(counters "$lab_segment")
    limit=90 guests self,vader,vmshm 2 "$programs/vt_pingpong" --sizes 4K --iters 200000 >"$work/job" 2>&1 &
    job=$!
    until_ 60 has_sent || true
}
job_under_way
"$qmp" "/run/vmshm-lab/$lab/qmp-1" set:/machine/peripheral/vmshm-device,detach,true >"$work/qmp" 2>&1 || cat "$work/qmp"
rc=0
wait "$job" || rc=$?
ended_with "a job ends with the reason when the host wants the memory back" "$rc" \
    'the host took its memory back' "$work/job"
if until_ 20 attached_is false; then
    pass "the device has let go"
else
    fail "the device has let go"
fi
rc=0
guests self,vmshm 2 "$programs/vt_sizes" --quick >"$work/job" 2>&1 || rc=$?
ended_with "a job that begins then is told" "$rc" 'the host has its memory back' "$work/job"
"$qmp" "/run/vmshm-lab/$lab/qmp-1" set:/machine/peripheral/vmshm-device,detach,false >"$work/qmp" 2>&1 || cat "$work/qmp"
until_ 10 attached_is true || true
carried "after it was given back a job runs" "$lab_segment" 500 100000 \
    guests self,vader,vmshm 2 "$programs/vt_sizes" --quick || true

job_under_way
"$prefix/bin/vmshmctl" mark-vm --vm 1 gone "$lab_segment"
rc=0
wait "$job" || rc=$?
ended_with "a job ends with the reason when the host marks a VM of it as gone" "$rc" \
    'marked \(its\|this\) VM as gone' "$work/job"
rc=0
guests self,vmshm 2 "$programs/vt_sizes" --quick >"$work/job" 2>&1 || rc=$?
ended_with "a job that begins then is told" "$rc" 'The host has marked this VM as gone' "$work/job"
"$prefix/bin/vmshmctl" mark-vm --vm 1 up "$lab_segment"
carried "marked as up, it runs jobs" "$lab_segment" 500 100000 \
    guests self,vader,vmshm 2 "$programs/vt_sizes" --quick || true

for k in 0 1; do
    "$vmlab" ssh --name "$lab" "$k" -- dmesg >"$work/dmesg" 2>&1 || true
    if grep -E 'WARNING:|BUG:|Oops|general protection' "$work/dmesg" >"$work/why"; then
        fail "the kernel of guest $k has no complaint" "$work/why"
    else
        pass "the kernel of guest $k has no complaint"
    fi
done
closing_line
