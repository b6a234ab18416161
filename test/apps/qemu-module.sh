#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The MPI test programs between two QEMU guests through the kernel module, and generated ones, by a user who
# is not root, on the QEMU at hand and some on the patched one if it was built.
# Time limit: 900 s
set -euo pipefail
# shellcheck source=test/apps/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=test/apps/mpi-in-guests.sh
. "$top/test/apps/mpi-in-guests.sh"
# shellcheck source=test/apps/storm-in-guests.sh
. "$top/test/apps/storm-in-guests.sh"
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

begin() { # NAME SOURCE LAB-OPTION...
    need_lab qemu 2 --module "$work/module/vmshm.ko" "${@:3}"
    check_identity "$1" "$2"
}
end() { # NAME
    check_kernel_log "$1"
    lab_down
}

# An emulated processor is some ten times slower. So neither what moves more than 4 GiB, nor what is the same
# with any provider, and of generated programs short ones.
begin stock SMBIOS
run 2 --only sizes,order,wildcard,truncate,streams,ahead,transpose,datatypes,probe,threads,lazy,collectives,rma,die-none
storm fixed --seeds 111..112 --np 2 --max 128K --ops 50
storm tiny --seeds 114 --np 2 --max 64K --ops 50 --tiny
storm fresh --fresh --seconds 5 --np 2 --max 64K --ops 50
storm_rate
end stock
for name in spawn connect-spawned; do
    skip "$name np=2" "Open MPI 4.1 cannot spawn over two guests (see uml-mpi)"
done
if "$top/ivshmem-patch/build" --print >"$work/log" 2>&1; then
    # To the programs the two differ in where a window may be written and how memory comes and goes.
    begin patched device --qemu patched
    run 2 --only sizes,streams,ahead,datatypes,threads,lazy,rma,die-none
    end patched
else
    skip "patched" "there is no patched QEMU (the suite ivshmem builds it): $(tail -n 1 "$work/log")"
fi
closing_line
