#!/bin/bash
# The MPI test programs between two QEMU guests through the kernel module, by a user who is not
# root, on the QEMU at hand and on the patched one if it was built.
# Time limit: 900 s
set -euo pipefail
# shellcheck source=test/apps/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=test/apps/mpi-in-guests.sh
. "$top/test/apps/mpi-in-guests.sh"
if ! command -v qemu-system-x86_64 >/dev/null; then
    skip "all" "qemu-system-x86_64 is missing; apt-get install qemu-system-x86"
    closing_line
    exit 0
fi
if ! "$top/guest-kmod/build" "$work/module" >"$work/build.log" 2>&1; then
    fail "the module is built" "$work/build.log"
    closing_line
    exit 1
fi
pass "the module is built"
# What DKMS would find is complete: it builds without this tree, and says its version.
installed_source() {
    local source kernel
    make -C "$build" install-guest-kmod DESTDIR="$work/root" || return
    source=$(echo "$work"/root/usr/src/vmshm-*)
    grep -qx "PACKAGE_VERSION=\"${source##*-}\"" "$source/dkms.conf" || return
    kernel=$(modinfo -F vermagic "$work/module/vmshm.ko") || return
    make -C "$source" KERNEL="/usr/src/linux-headers-${kernel%% *}"
}
try "the installed source builds" installed_source
export VMSHM_LAB_UID=1000
mpi_limit=90

# What the kernel of each guest had to say; a warning is a failure.
check_kernel_log() {
    local k
    for k in 0 1; do
        "$vmlab" ssh --name "$lab" "$k" -- dmesg >"$work/dmesg" 2>&1 || true
        if grep -E 'WARNING:|BUG:|Oops|general protection|Bad page|refcount_t|hung_task' "$work/dmesg" \
            >"$work/complaints"; then
            fail "$1: the kernel of guest $k has no complaint" "$work/complaints"
        else
            pass "$1: the kernel of guest $k has no complaint"
        fi
    done
}

# What a user of the guest gets without naming a segment.
check_identity() { # NAME SOURCE
    "$vmlab" ssh --name "$lab" 1 -- setpriv --reuid=1000 --regid=1000 --clear-groups \
        "$prefix/bin/vmshmctl" identity >"$work/identity" 2>&1 || true
    if grep -qx 'provider: kmod' "$work/identity" &&
        grep -qx "vm-id-from: $2" "$work/identity"; then
        pass "$1: a user finds the module, and the VM's id from $2"
    else
        fail "$1: a user finds the module, and the VM's id from $2" "$work/identity"
    fi
}

through() { # NAME SOURCE TESTS LAB-OPTION...: tests as options of run-mpi-tests.sh
    need_lab qemu 2 --module "$work/module/vmshm.ko" "${@:4}"
    check_identity "$1" "$2"
    # shellcheck disable=SC2086 # an option and its value
    run 2 $3
    check_kernel_log "$1"
    lab_down
}

# big moves more than 4 GiB, which takes an emulated processor too long
through stock SMBIOS "--skip spawn,connect-spawned,big,big-fragments,flood"
for name in spawn connect-spawned; do
    skip "$name np=2" "Open MPI 4.1 cannot spawn over two guests (see uml-mpi)"
done
if "$top/ivshmem-patch/build" --print >"$work/log" 2>&1; then
    # To the programs the two differ in where a window may be written and how memory comes and goes.
    through patched device "--only sizes,streams,ahead,datatypes,threads,lazy,rma,die-none" --qemu patched
else
    skip "patched" "there is no patched QEMU (the suite ivshmem builds it): $(tail -n 1 "$work/log")"
fi
closing_line
