#!/bin/bash
# Live migration under the patched QEMU: two small guests exchange numbers through the kernel module;
# the host asks one for the memory, migrates it to a second QEMU on this machine, and it goes on there.
# The other guest does not answer such a wish and loses its mappings. The guests have no network and no
# shared file system, which would forbid to migrate them: only a module and one program.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
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
# shellcheck disable=SC2034 # for vmlab-qemu.sh
HERE=$top/test/lab
# shellcheck source=test/lab/vmlab-qemu.sh
. "$top/test/lab/vmlab-qemu.sh"

work=$(mktemp -d)
segment=/dev/shm/vmshm-migrate-$$
pids=()
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

# ------------------------------------------------------------------ guests

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
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox insmod /vmshm.ko detach_seconds=3
exec /mover $(/bin/busybox grep -o -e --stubborn /proc/cmdline)
END
    chmod 755 "$tree/init"
    (cd "$tree" && find . | cpio -o -H newc --quiet) >"$work/initrd"
}

section() { # K FIELD
    "$prefix/bin/vmshmctl" show --json "$segment" | jq -er ".vms[$1].$2"
}

start() { # NAME K APPEND OPTION...
    "$qemu" -nodefaults -no-user-config -nographic -no-reboot -machine q35 \
        -accel tcg,thread=multi -cpu max,erms=off,fsrm=off -smp 1,maxcpus=2 -m 128M \
        -kernel "$work/vmlinux" -initrd "$work/initrd" -append "console=ttyS0 quiet panic=-1 $3" \
        -serial stdio -qmp "unix:$work/qmp-$1,server=on,wait=off" \
        -object "memory-backend-file,id=mem,share=on,mem-path=$segment,size=64M" \
        -device "ivshmem-plain,id=shm,memdev=mem,vmshm=on,vm-id=$2,window-offset=$(section "$2" offset),window-size=$(section "$2" length)" \
        "${@:4}" </dev/null >"$work/console-$1" 2>&1 &
    pids+=($!)
}

console_has() { # NAME PATTERN [COUNT]
    (($(tr -d "\r" 2>/dev/null <"$work/console-$1" | grep -cE -- "$2" || true) >= ${3:-1}))
}

# until_ SECONDS COMMAND...
until_() {
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
        tr -d '\r' <"$work/console-$name" | tail -n 20 >"$work/why" || true
        fail "$text" "$work/why"
    fi
}

# What comes of it is looked at by what follows.
tell() { # NAME COMMAND
    "$qmp" "$work/qmp-$1" "$2" >/dev/null || true
}

attached_is() { # NAME true|false
    [[ $("$qmp" "$work/qmp-$1" get:/machine/peripheral/shm,attached 2>&1) == "$2" ]]
}

refused() { # NAME: a migration is, while the guest has the memory
    ! "$qmp" "$work/qmp-$1" 'migrate:{"uri":"exec:cat >/dev/null"}' >"$work/refused" 2>&1 &&
        grep -qi 'attached\|detach' "$work/refused"
}

migrated() {
    "$qmp" "$work/qmp-b" query-migrate | jq -e '.status == "completed"' >/dev/null
}

epoch() { # NAME: the last one it joined with
    tr -d '\r' <"$work/console-$1" | sed -n 's/.*joined //p' | tail -n 1
}

make_guest
"$prefix/bin/vmshmctl" create --vms 2 --size 64M --procs 16 "$segment" >/dev/null
: >"$work/console-a"
: >"$work/console-b"
: >"$work/console-c"
start a 0 --stubborn
start b 1 ''
expect "a hears b" a until_ 60 console_has a '^heard ' 3
expect "b hears a" b until_ 30 console_has b '^heard ' 3
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

start c 1 '' -incoming "unix:$work/migration"
until_ 10 test -S "$work/migration" || true
tell b "migrate:{\"uri\":\"unix:$work/migration\"}"
expect "b is migrated" b until_ 60 migrated
tell b quit
expect "it finds memory again" c until_ 30 console_has c '^there is memory again'
expect "it joins again" c until_ 20 console_has c '^joined '
heard=$(tr -d '\r' <"$work/console-a" | grep -c '^heard ' || true)
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

for name in a b c; do
    if grep -aE 'WARNING:|BUG:|Oops|Kernel panic|general protection|FAILED' "$work/console-$name" >"$work/why"; then
        fail "the kernel of $name has no complaint" "$work/why"
    else
        pass "the kernel of $name has no complaint"
    fi
done
closing_line
