#!/bin/bash
# Generated MPI programs between QEMU guests through the kernel module, by a user who is not root: see
# test/suites/storm.sh.
# Time limit: 900 s
set -euo pipefail
# shellcheck source=test/apps/common.sh
. "$(dirname "$0")/common.sh"
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
export VMSHM_LAB_UID=1000

need_lab qemu 2 --module "$work/module/vmshm.ko"
# An emulated processor is some ten times slower.
storm fixed --seeds 111..112 --np 2 --max 128K --ops 50
storm tiny --seeds 114 --np 2 --max 64K --ops 50 --tiny
storm fresh --fresh --seconds 5 --np 2 --max 64K --ops 50
storm_rate
closing_line
