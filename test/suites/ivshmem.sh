#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The patched QEMU: the series apply to Debian's sources, QEMU's own tests of the device pass, and a
# guest of a few hundred bytes finds out what it can write. With QEMU 10.0 and 10.2, if the cache has
# them, the fault suites of small guests run here, too; elsewhere they have 7.2.
#   --all  build QEMU 10.0 and 10.2, too, if the cache does not have them (a quarter of an hour each)
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"
build=$top/ivshmem-patch/build
qmp=$top/test/lab/qmp.py

all=no
case ${1-} in
    '') ;;
    --all) all=yes ;;
    *) echo "usage: test/suites/ivshmem.sh [--all]" >&2; exit 2 ;;
esac

work=$(mktemp -d)
shm=/dev/shm/vmshm-ivshmem-$$
pids=()
vmlab=$top/test/lab/vmlab
lab= # whose guest has vhost
# shellcheck disable=SC2317 # called by a trap
cleanup() {
    local pid
    [[ -z $lab ]] || "$vmlab" down --name "$lab" >/dev/null 2>&1 || true
    for pid in ${pids[@]+"${pids[@]}"}; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work" "$shm"-*
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# ------------------------------------------------------------------ the sources and the build

# obtain NAME ARGUMENT...: a run of the build script, which says by 3 that there is no source
obtain() {
    local name=$1 rc=0
    shift
    # in the background, so that this shell can be ended meanwhile
    "$build" "$@" >"$work/out" 2>"$work/log" &
    pids=($!)
    wait "${pids[0]}" || rc=$?
    pids=()
    case $rc in
        0) pass "$name" ;;
        3) skip "$name" "$(grep '^ivshmem-patch/build: ' "$work/log" | tail -n 1)" ;;
        *) fail "$name" "$work/log" ;;
    esac
    return "$rc"
}

# What the cache has was made of this very series.
versions=()
for version in 7.2 10.0 10.2; do
    if [[ $version = 7.2 || $all = yes ]] || "$build" "$version" --print >/dev/null 2>&1; then
        if obtain "the series applies to QEMU $version, which is built" "$version"; then
            versions+=("$version")
        fi
    else
        obtain "the series applies to QEMU $version" "$version" --apply || true
        skip "QEMU $version is built" "the cache does not have it; test/suites/ivshmem.sh --all builds it"
    fi
done
((failed == 0)) || { closing_line; exit 1; }

# ------------------------------------------------------------------ QEMU's own tests

qtests() {
    local dir line name
    dir=$(dirname "$qemu")/qtest
    # its sockets and memory are named by the process
    (cd "$work" && QTEST_QEMU_BINARY=$dir/qemu-system-x86_64 timeout --kill-after=5 120 \
        "$dir/ivshmem-test" -m slow --tap -k) </dev/null >"$work/qtest.log" 2>&1 || true
    while read -r line; do
        name="qtest $version ${line#*/x86_64/ivshmem/}"
        case $line in
            ok*SKIP*) skip "$name" "${line##*# SKIP}" ;;
            ok*) pass "$name" ;;
            *) fail "$name" "$work/qtest.log" ;;
        esac
    done < <(grep -E '^(not )?ok ' "$work/qtest.log")
    # one that dies says nothing about itself and takes the rest along
    if [[ $(grep -cE '^(not )?ok ' "$work/qtest.log") = "$(sed -n 's/^1\.\.//p' "$work/qtest.log")" ]]; then
        pass "qtest $version ran to its end"
    else
        fail "qtest $version ran to its end" "$work/qtest.log"
    fi
}

# One of the tests needs the kernel's vhost-net. A guest of the lab has it, whatever kernel runs here.
vhost_guest() {
    command -v qemu-system-x86_64 >/dev/null || { echo "qemu-system-x86_64 is missing"; return 1; }
    lab=vhost-$$
    "$vmlab" up --backend qemu --vms 1 --name "$lab" && "$vmlab" ssh --name "$lab" 0 -- "modprobe -a vhost_net tun"
}

vhost_qtest() {
    local dir
    dir=$(dirname "$qemu")/qtest
    "$vmlab" ssh --name "$lab" 0 -- "mkdir -p /tmp/qtest && cd /tmp/qtest &&
        QTEST_QEMU_BINARY='$dir/qemu-system-x86_64' timeout 300 '$dir/ivshmem-test' --tap \
            -p /x86_64/ivshmem/vmshm/window-vhost" >"$work/qtest.log" 2>&1 || true
    cat "$work/qtest.log"
    grep -x 'ok 1 /x86_64/ivshmem/vmshm/window-vhost' "$work/qtest.log"
}

# ------------------------------------------------------------------ the command line

# Memory that PCI cannot map is an error with words, not an abort.
refuses_size() {
    local rc=0
    timeout 20 "$qemu" -machine pc -nodefaults -display none -accel tcg -S \
        -object memory-backend-memfd,id=m,size=3M,share=on \
        -device ivshmem-plain,memdev=m >"$work/log" 2>&1 </dev/null || rc=$?
    cat "$work/log"
    [[ $rc = 1 ]] && grep -q 'power of 2' "$work/log"
}

helps() {
    "$qemu" -device ivshmem-plain,help >"$work/log" && cat "$work/log"
    local property
    for property in vmshm vm-id window-offset window-size write-windows node-uuid segment-uuid \
        numa-node stripes; do
        grep -qE "^ *$property=<.*> +- [A-Z]" "$work/log" || { echo "no help: $property"; return 1; }
    done
}

# server SIZE BYTES: what ivshmem-server makes for -l SIZE. The file has holes only.
server() {
    local i got=
    "$(dirname "$qemu")/ivshmem-server" -F -S "$work/server" -M "$(basename "$shm")-server" -l "$1" \
        -n 1 >"$work/log" 2>&1 </dev/null &
    pids=($!)
    for ((i = 0; i < 100; i++)); do
        [[ ! -S $work/server ]] || break
        sleep 0.05
    done
    got=$(stat -c %s "$shm-server" 2>&1) || true
    kill "${pids[0]}" 2>/dev/null || true
    wait "${pids[0]}" || true
    pids=()
    cat "$work/log"
    echo "-l $1 made $got bytes"
    [[ $got = "$2" && ! -e $shm-server ]]
}

# ------------------------------------------------------------------ a guest

guest=$work/guest
gcc -m32 -march=i686 -msse2 -O1 -Wall -Werror -ffreestanding -fno-pic -fno-stack-protector \
    -nostdlib -static -Wl,-Ttext-segment=0x100000,--build-id=none,-e,start \
    -o "$guest" "$top/ivshmem-patch/test/guest.c"

new_memory() { # NAME BYTE: 16 MiB of it
    head -c 16M /dev/zero | tr '\0' "\\$2" >"$shm-$1"
}

# start NAME MEMORY DEVICE-OPTIONS QEMU-OPTION...: a guest with the memory; NAME.out is what it says
start() {
    local name=$1 memory=$2 device=$3
    shift 3
    rm -f "$work/$name.qmp" "$work/$name.out"
    "$emulator" -machine pc -nodefaults -display none -no-reboot -m 32 \
        -kernel "$guest" -serial "file:$work/$name.out" -qmp "unix:$work/$name.qmp,server=on,wait=off" \
        -object "memory-backend-file,id=m,share=on,mem-path=$shm-$memory,size=16M" \
        -device "ivshmem-plain,id=shm,memdev=m,addr=5$device" "$@" >"$work/$name.log" 2>&1 </dev/null &
    pids+=($!)
}

says() { # NAME LINE [SECONDS]: the guest says it in time
    local i
    for ((i = 0; i < ${3:-20} * 20; i++)); do
        ! grep -qxF "$2" "$work/$1.out" 2>/dev/null || return 0
        sleep 0.05
    done
    echo "guest $1 did not say $2; it said:"
    cat "$work/$1.out" "$work/$1.log"
    return 1
}

stop() {
    local pid
    for pid in ${pids[@]+"${pids[@]}"}; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    pids=()
}

# changed NAME BYTE: the ranges of 256 bytes in which the memory is not all BYTE any more
changed() {
    cmp -l "$shm-$1" <(head -c 16M /dev/zero | tr '\0' "\\$2") | awk '
        { block = int(($1 - 1) / 256); if (block != last || NR == 1) printf " %x", block; last = block }'
}

window=,vmshm=on,vm-id=1,window-offset=4M,window-size=2M

# stores ACCEL DEVICE-OPTIONS WANTED: which blocks the guest can change
stores() {
    new_memory a 021
    start a a "$2" -accel "$1"
    says a "$([[ $2 = *vmshm=on* ]] && echo generation=00000001 || echo "done")" || { stop; return 1; }
    stop
    echo "blocks changed: $(changed a 021); wanted: $3"
    [[ $(changed a 021) = "$3" ]]
}

# The device of Debian's QEMU and ours without the properties look the same to a guest.
like_stock() {
    new_memory a 021
    emulator=$1 start a a "" -accel tcg
    says a "done" || { stop; return 1; }
    stop
    cp "$work/a.out" "$work/stock.out"
    cp "$shm-a" "$work/stock.mem"
    new_memory a 021
    start a a "" -accel tcg
    says a "done" || { stop; return 1; }
    stop
    diff "$work/stock.out" "$work/a.out" && cmp "$work/stock.mem" "$shm-a" && grep -qx magic=00000000 "$work/a.out"
}

# stream FROM TO: without the properties a migration stream goes from one emulator to the other
stream() {
    # shellcheck disable=SC2054 # the commas are QEMU's
    local options=(-machine pc-q35-7.2,sata=off,smbus=off,vmport=off,hpet=off -accel tcg -m 32
        -nodefaults -display none -S -object "memory-backend-file,id=m,share=on,size=1M,mem-path=$shm-s"
        -device ivshmem-plain,memdev=m,master=on,addr=5) status i
    truncate -s 1M "$shm-s"
    "$1" "${options[@]}" -qmp "unix:$work/from,server=on,wait=off" </dev/null &
    pids=($!)
    "$qmp" "$work/from" '{"execute":"migrate","arguments":{"uri":"exec:cat >'"$work"'/stream"}}' || return 1
    for ((i = 0; i < 100; i++)); do
        status=$("$qmp" "$work/from" query-migrate)
        [[ $status != *completed* ]] || break
        sleep 0.1
    done
    stop
    "$2" "${options[@]}" -qmp "unix:$work/to,server=on,wait=off" -incoming "exec:cat $work/stream" \
        </dev/null &
    pids=($!)
    for ((i = 0; i < 100; i++)); do
        status=$("$qmp" "$work/to" query-status) || return 1
        [[ $status = *inmigrate* ]] || break
        sleep 0.1
    done
    stop
    echo "$status"
    rm -f "$work/stream" "$shm-s"
    [[ $status = *prelaunch* ]]
}

detach() { # true|false
    echo '{"execute":"qom-set","arguments":{"path":"/machine/peripheral/shm","property":"detach","value":'"$1"'}}'
}

# The guest lets go of the memory, moves to another "host" with another memory, and takes that.
moves() {
    local uri=unix:$work/migrate
    local migrate='{"execute":"migrate","arguments":{"uri":"'$uri'"}}'
    new_memory a 021
    new_memory b 063
    start a a "$window" -accel tcg
    says a generation=00000001 || return 1
    if "$qmp" "$work/a.qmp" "$migrate" 2>"$work/err"; then
        echo "migrated with the memory in use"
        return 1
    fi
    grep 'which cannot migrate' "$work/err" || return 1
    QMP_TIMEOUT=20 "$qmp" "$work/a.qmp" "$(detach true)" wait:IVSHMEM_ATTACHED_CHANGE || return 1
    says a state=00000000 && says a absent=ffffffff && says a events=00000002 || return 1
    # given back, it is there when the guest has asked for it; then the host wants it again
    "$qmp" "$work/a.qmp" "$(detach false)" && says a generation=00000003 && says a not-yet=ffffffff &&
        says a reattached=00000005 && says a first=11111111 || return 1
    QMP_TIMEOUT=20 "$qmp" "$work/a.qmp" "$(detach true)" wait:IVSHMEM_ATTACHED_CHANGE &&
        says a generation=00000004 || return 1
    start b b "${window/vm-id=1/vm-id=2}" -accel tcg -incoming "$uri"
    "$qmp" "$work/b.qmp" query-status || return 1
    "$qmp" "$work/a.qmp" "$migrate" || return 1
    says b generation=00000005 && says b not-yet=ffffffff && says b reattached=00000005 && says b vm=00000002 &&
        says b first=33333333 || return 1
    if "$qmp" "$work/b.qmp" "$migrate" 2>"$work/err"; then
        echo "migrated on with the memory in use"
        return 1
    fi
    # what it stored when the memory was gone went nowhere
    [[ $(od -An -tx1 -N1 "$shm-a") = " 11" && $(od -An -tx1 -N1 "$shm-b") = " 33" ]]
}

# Whether a guest runs on KVM here at all: with the stock emulator
kvm_runs() {
    [[ -r /dev/kvm && -w /dev/kvm ]] || { echo "no /dev/kvm"; return 1; }
    new_memory a 021
    emulator=$1 start a a "" -accel kvm
    says a "done" || { stop; return 1; }
    stop
}

stock=$(command -v qemu-system-x86_64 || true)
inside=' 4000 5fff'
everywhere=' 0 3fff 4000 5fff 6000 ffff'
if ((${#versions[@]} > 0)) && ! vhost_guest >"$work/log" 2>&1; then
    skip "vhost-net" "no guest with vhost_net: $(tail -n 1 "$work/log")"
    [[ -z $lab ]] || "$vmlab" down --name "$lab" >/dev/null 2>&1 || true
    lab=
fi
for version in ${versions[@]+"${versions[@]}"}; do
    qemu=$("$build" "$version" --print)
    emulator=$qemu
    qtests
    if [[ -n $lab ]]; then
        try "$version: vhost-net sends what the guest only reads, and writes nothing there" vhost_qtest
    fi
    try "$version: memory of 3 MiB is refused with words" refuses_size
    try "$version: each property has a help text" helps
    try "$version: ivshmem-server -l 8G makes 8 GiB" server 8G 8589934592
    try "$version: ivshmem-server -l 3G makes 4 GiB" server 3G 4294967296
    try "$version: stores of a guest reach its window only (TCG)" stores tcg "$window" "$inside"
    try "$version: with write-windows=off they reach all (TCG)" \
        stores tcg "$window,write-windows=off" "$everywhere"
    if kvm_runs "$emulator" >"$work/log"; then
        try "$version: stores of a guest reach its window only (KVM)" stores kvm "$window" "$inside"
        try "$version: with write-windows=off they reach all (KVM)" \
            stores kvm "$window,write-windows=off" "$everywhere"
    else
        skip "$version: stores of a guest (KVM)" "no guest runs on KVM here ($(head -n 1 "$work/log"))"
    fi
    try "$version: a guest lets go, migrates and takes the other memory" moves
    stop
    if [[ $version != 7.2 ]]; then
        for suite in doorbell migrate migrate-mpi suspend; do
            try "$version: the suite fault-$suite" env "VMSHM_QEMU=$qemu" "$top/test/fault/$suite.sh"
        done
    fi
    if [[ -z $stock ]]; then
        skip "$version: like Debian's QEMU" "qemu-system-x86_64 is not installed (tools/install-deps lab)"
        continue
    fi
    try "$version: without the properties a guest sees what Debian's QEMU shows" like_stock "$stock"
    try "$version: a stream of Debian's QEMU is taken" stream "$stock" "$qemu"
    try "$version: Debian's QEMU takes a stream" stream "$qemu" "$stock"
done
closing_line
