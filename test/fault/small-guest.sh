# SPDX-License-Identifier: BSD-3-Clause
# Sourced: guests with nothing but the kernel module and one program (mover.c), without network and
# shared file system, which would forbid to migrate them.
# shellcheck shell=bash disable=SC2034
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"
build=${VMSHM_BUILD:-$top/build}
prefix=${VMSHM_PREFIX:-$build/inst}
qmp=$top/test/lab/qmp.py

die() { # for vmlab-qemu.sh
    echo "$0: $*" >&2
    exit 1
}
need() {
    command -v "$1" >/dev/null || die "$1 is missing; apt-get install $2"
}
HERE=$top/test/lab
# shellcheck source=test/lab/vmlab-qemu.sh
. "$top/test/lab/vmlab-qemu.sh"

work=$(mktemp -d)
segment=/dev/shm/vmshm-small-$$
pids=()
names=()
cleanup() {
    trap '' INT TERM HUP
    for pid in "${pids[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work" "$segment"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# VMSHM_QEMU: another patched emulator than the one that ivshmem-patch/build makes
if ! qemu=${VMSHM_QEMU:-$("$top/ivshmem-patch/build" --print 2>"$work/build.log")}; then
    skip "all" "there is no patched QEMU (the suite ivshmem builds it): $(tail -n 1 "$work/build.log")"
    closing_line
    exit 0
fi

# What every guest has, in $work/tree: the module and busybox. The kernel is beside it.
make_base() {
    mkdir -p "$work/tree/bin"
    vmlinux_extract "$(qemu_kernel)" "$work/vmlinux"
    "$top/guest-kmod/build" "$work/tree" >"$work/kmod.log" 2>&1 || { cat "$work/kmod.log" >&2; exit 1; }
    cp -L "$(command -v busybox)" "$work/tree/bin/busybox"
}

pack() {
    chmod 755 "$work/tree/init"
    (cd "$work/tree" && find . | cpio -o -H newc --quiet) >"$work/initrd"
}

make_guest() {
    local tree=$work/tree
    make_base
    gcc -static -O1 -I "$top/opal/mca/common/vmshm" -I "$top/guest-kmod" -o "$tree/mover" \
        "$top/test/fault/mover.c"
    gcc -static -O1 -o "$tree/writer" "$top/test/fault/writer.c"
    cat >"$tree/init" <<'END'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
insmod /vmshm.ko detach_seconds=3 $(grep -o 'vm_id=[0-9]*' /proc/cmdline)
# how often the device interrupted
(while sleep 1; do grep vmshm /proc/interrupts; done) &
# opened here: what comes before is lost
exec 5</dev/ttyS1
stty raw -echo <&5
cat <&5 | sh >/dev/console 2>&1 &
grep -q writer /proc/cmdline && /writer &
exec /mover $(grep -o -e --stubborn /proc/cmdline)
END
    pack
}

# no_timer_check: on a busy host the kernel sees too few ticks of an emulated timer, and gives up
boot() { # NAME APPEND OPTION...
    mkfifo "$work/orders-$1.in" "$work/orders-$1.out"
    "$qemu" -nodefaults -no-user-config -nographic -no-reboot -machine "${machine:-q35}" \
        -accel tcg,thread=multi -cpu max,erms=off,fsrm=off -smp 1,maxcpus=2 -m 128M \
        -kernel "${kernel:-$work/vmlinux}" -initrd "$work/initrd" -append "console=ttyS0 loglevel=5 panic=-1 no_timer_check $2" \
        -serial stdio -chardev "pipe,id=orders,path=$work/orders-$1" -serial chardev:orders \
        -qmp "unix:$work/qmp-$1,server=on,wait=off" "${@:3}" \
        </dev/null >"$work/console-$1" 2>&1 &
    pids+=($!)
    names+=("$1")
}

section() { # K FIELD: what the segment's header and tables say of that VM
    "$prefix/bin/vmshmctl" show --json "$segment" | jq -er ".vms[$1].$2"
}

# With the patched device, of which the guest learns all that it has.
boot_patched() { # NAME K APPEND OPTION...
    boot "$1" "$3" \
        -object "memory-backend-file,id=mem,share=on,mem-path=$segment,size=64M" \
        -device "ivshmem-plain,id=shm,memdev=mem,vmshm=on,vm-id=$2,window-offset=$(section "$2" offset),window-size=$(section "$2" length)" \
        "${@:4}"
}

# A guest that shall sleep (S3). Started directly (PVH) Linux 6.1 dies when it wakes up, and on q35 its
# clocks stand still then.
for_sleep() { # COMMAND...
    local kernel machine=pc
    kernel=$(qemu_kernel)
    "$@"
}

orders=0
order() { # NAME COMMAND: a shell in the guest does it
    orders=$((orders + 1))
    # On a machine under load the guest's serial line may lose characters, or deliver late: what was said
    # twice is done once.
    for _ in 1 2 3; do
        printf '\n[ "$n" = %d ] || { n=%d; echo order %d; %s\n}\n' "$orders" "$orders" "$orders" "$2" \
            >"$work/orders-$1.in"
        if until_ 10 console_has "$1" "order $orders"; then
            return 0
        fi
    done
    return 1
}

console() { # NAME
    tr -d '\r' <"$work/console-$1"
}

console_has() { # NAME PATTERN [COUNT]
    (($(console "$1" | grep -acE -- "$2" || true) >= ${3:-1}))
}

device=/machine/peripheral/shm

# What comes of it is looked at by what follows.
tell() { # NAME COMMAND...
    "$qmp" "$work/qmp-$1" "${@:2}" >"$work/said-$1" 2>&1 || true
}

# attached_is NAME true|false: the memory of its patched device
attached_is() {
    [[ $("$qmp" "$work/qmp-$1" get:$device,attached 2>&1) == "$2" ]]
}

sleeps() { # NAME
    "$qmp" "$work/qmp-$1" query-status >"$work/said-$1" 2>&1 && grep -q suspended "$work/said-$1"
}

falls_asleep() { # NAME: to S3; it then says "awake"
    order "$1" 'echo mem >/sys/power/state && echo awake' && until_ 20 sleeps "$1"
}

expect() { # TEXT NAME COMMAND...
    local text=$1 name=$2
    shift 2
    if "$@"; then
        pass "$text"
    else
        {
            console "$name" | grep -av vmshm0 | tail -n 20
            # what QEMU's monitors last said, if anybody asked
            tail -n 5 "$work"/said-* 2>/dev/null
        } >"$work/why" || true
        fail "$text" "$work/why"
    fi
}

consoles_are_sound() {
    local name
    for name in "${names[@]}"; do
        if grep -aE 'WARNING:|BUG:|Oops|Kernel panic|general protection|FAILED' "$work/console-$name" \
            >"$work/why"; then
            fail "the kernel of $name has no complaint" "$work/why"
        else
            pass "the kernel of $name has no complaint"
        fi
    done
}
