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

make_guest() {
    local tree=$work/tree
    mkdir -p "$tree/bin"
    vmlinux_extract "$(qemu_kernel)" "$work/vmlinux"
    "$top/guest-kmod/build" "$tree" >"$work/kmod.log" 2>&1 || { cat "$work/kmod.log" >&2; exit 1; }
    gcc -static -O1 -I "$top/opal/mca/common/vmshm" -I "$top/guest-kmod" -o "$tree/mover" \
        "$top/test/fault/mover.c"
    cp -L "$(command -v busybox)" "$tree/bin/busybox"
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
exec /mover $(grep -o -e --stubborn /proc/cmdline)
END
    chmod 755 "$tree/init"
    (cd "$tree" && find . | cpio -o -H newc --quiet) >"$work/initrd"
}

boot() { # NAME APPEND OPTION...
    "$qemu" -nodefaults -no-user-config -nographic -no-reboot -machine q35 \
        -accel tcg,thread=multi -cpu max,erms=off,fsrm=off -smp 1,maxcpus=2 -m 128M \
        -kernel "$work/vmlinux" -initrd "$work/initrd" -append "console=ttyS0 quiet panic=-1 $2" \
        -serial stdio -qmp "unix:$work/qmp-$1,server=on,wait=off" "${@:3}" \
        </dev/null >"$work/console-$1" 2>&1 &
    pids+=($!)
    names+=("$1")
}

console() { # NAME
    tr -d '\r' <"$work/console-$1"
}

console_has() { # NAME PATTERN [COUNT]
    (($(console "$1" | grep -acE -- "$2" || true) >= ${3:-1}))
}

until_() { # SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.2
    done
}

expect() { # TEXT NAME COMMAND...
    local text=$1 name=$2
    shift 2
    if "$@"; then
        pass "$text"
    else
        {
            console "$name" | tail -n 20
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
