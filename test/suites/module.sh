#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The kernel module's sources: the kernel's own style, and another processor's compiler. What runs is tested in
# kmod.sh.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What is ignored, and why:
#  LONG_LINE, LONG_LINE_COMMENT: messages for people, and comments, stand in one line
#  MEMORY_BARRIER: an acquire or release store that is no kernel's smp_* is told by the function's
#      comment, not at each line
#  BIT_MACRO: BIT() is not there in a header that user space includes
#  LINUX_VERSION_CODE: a module outside of the kernel is built for several; CONSTANT_COMPARISON: it
#      takes LINUX_VERSION_CODE for a constant
#  LINE_SPACING: it takes the end of a struct within a union for one that declarations follow
ignored=LONG_LINE,LONG_LINE_COMMENT,MEMORY_BARRIER,BIT_MACRO,LINUX_VERSION_CODE,CONSTANT_COMPARISON
ignored+=,LINE_SPACING
checkpatch() {
    local script
    script=$("$top/guest-kmod/build" --checkpatch) || return
    perl "$script" --no-tree --strict --quiet --terse --show-types --ignore "$ignored" \
        -f "$top"/guest-kmod/*.[ch] >&2
}

fetched "checkpatch.pl finds nothing" checkpatch
fetched "vmshm.ko for arm64, strictly" "$top/guest-kmod/build" --arm64 --strict "$work/arm64"
no_circle() {
    # of the compiler's own tools: an x86 nm does not read these
    NM=aarch64-linux-gnu-nm python3 "$top/test/suites/layers.py" "$work"/arm64/objects/*.o
}
if [[ -d $work/arm64/objects ]]; then
    try "the module's files call each other in no circle" no_circle
else
    skip "the module's files call each other in no circle" "it was not built, see above"
fi
closing_line
