#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The unit tests, one result for each test function.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top/build"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
rc=0
make -j2 check >"$log" 2>&1 || rc=$?
count() {
    sed -n "s/^# $1: *\([0-9]*\)$/\1/p" "$log"
}
passed=$(count PASS)
if [[ -z $passed ]]; then
    cat "$log"
    echo "unit: make check printed no summary, exit status $rc" >&2
    exit 1
fi
grep -E '^(SKIP|FAIL|ERROR|XPASS):' "$log" || true
failed=$(($(count FAIL) + $(count ERROR) + $(count XPASS)))
if ((failed > 0)); then
    cat test-suite.log
elif ((rc != 0)); then
    cat "$log"
    failed=1
fi
echo "$passed passed, $failed failed, $(count SKIP) skipped"
((failed == 0))
