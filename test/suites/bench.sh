#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The benchmark itself, with blocks too small to mean anything: every figure is there, limits and
# missing libraries are dealt with, and the comparison of two reports flags what became worse and
# nothing else. How long anything took is not looked at.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bench=$top/test/bench/vmshm-bench
small=(--keep --blocks 2 --launches 2 --ms 2 --sizes "8,4K" --silent 4)

# report NAME FILTER: jq finds it true of the report
report() {
    try "$1" jq -e "$2" "$work/out/report.json"
}

try "all native parts are measured" "$bench" "${small[@]}" --output "$work/out" \
    --only latency,rate,bandwidth,bidir,overlap,flood,pairs,silent \
    --transports vmshm-native,vader,mpich
if [[ ! -s $work/out/report.json ]]; then
    closing_line
    exit 1
fi
report "each part has both sizes" '[.points[] | [.part, .bytes]] | unique | length == 16'
report "each transport has a figure with quartiles, or a reason" '
    def good: .n > 0 and 0 < .q1 and .q1 <= .median and .median <= .q3;
    . as $r | all(.points[]; .figures as $f
        | all("vmshm-native", "vader", "mpich"; . as $t
              | if $r.skipped[$t] then ($r.skipped[$t] | length > 0) else $f[$t] | good end))'
report "each figure has its limit and share" 'all(.points[];
    .limit.median > 0 and .share_of_limit["vmshm-native"].median > 0)'
report "each point has its ratio" 'all(.points[]; .ratios["vmshm-native/vader"].median > 0)'
report "the bare line and every level of memory were measured" '
    ([.line_ns[] | select(. != null) | .median > 0] | any)
    and (.memcpy | length >= 2 and all(.gb_per_s.median > 0))'
report "goals are judged by what was measured" '(.goals | length > 0) and all(.goals[];
    .met == (if .goal | startswith("<=") then .value.median <= (.goal[3:] | tonumber)
             else .value.median >= (.goal[3:] | tonumber) end))'
try "the text has the table of goals" grep -q '^goals: [0-9]* of [0-9]* are met' \
    "$work/out/report.txt"
curves=0
for curve in "$work"/out/latency-*.svg "$work"/out/bandwidth-*.svg; do
    if grep -q '</svg>' "$curve" && grep -q 'vmshm-native' "$curve"; then
        curves=$((curves + 1))
    fi
done
try "the curves are drawn ($curves)" test "$curves" -ge 4

# A library that is not there is a reason, not an error.
mkdir "$work/bin"
printf '#!/bin/sh\necho "no such header" >&2\nexit 1\n' >"$work/bin/mpicc.mpich"
chmod +x "$work/bin/mpicc.mpich"
without_mpich() {
    PATH=$work/bin:$PATH "$bench" "${small[@]}" --output "$work/without" --only latency \
        --transports vmshm-native,vader,mpich &&
        grep -q '^mpich: skipped, because .*no such header' "$work/without/report.txt"
}
try "without MPICH the rest is measured" without_mpich

# compared NAME STATUS TEXT FILTER: against what jq makes of the report
compared() {
    local name=$1 status=$2 text=$3 rc=0
    jq "$4" "$work/new.json" >"$work/old.json"
    "$bench" --report "$work/new.json" --compare "$work/old.json" >"$work/log" 2>&1 || rc=$?
    if [[ $rc = "$status" ]] && grep -qE "$text" "$work/log"; then
        pass "$name"
    else
        echo "exit status $rc, wanted: $status and '$text'" >>"$work/log"
        fail "$name" "$work/log"
    fi
}
# Two blocks would be too few to be compared.
jq '.points[].ratios[].n = 9' "$work/out/report.json" >"$work/new.json"
# Factors beyond any disturbance: the spread of two small blocks may be large.
scaled() { # PART FACTOR
    echo "(.points[] | select(.part == \"$1\") | .ratios[]) |=
        (.median *= $2 | .q1 *= $2 | .q3 *= $2)"
}
compared "the same report is no regression" 0 'compared: [1-9][0-9]* ratios, 0 became worse' .
compared "a time that grew is one" 3 '^WORSE  latency 8 B' "$(scaled latency 0.001)"
compared "a time that shrank is none" 0 ', 0 became worse' "$(scaled latency 1000)"
compared "a bandwidth that shrank is one" 3 '^WORSE  bandwidth 4 KiB' "$(scaled bandwidth 1000)"
compared "a bandwidth that grew is none" 0 ', 0 became worse' "$(scaled bandwidth 0.001)"
compared "what lies within the spread is none" 0 ', 0 became worse' \
    "$(scaled latency 0.001) | (.points[].ratios[]) |= (.q3 *= 1e6)"
compared "a small change is none, however certain" 0 ', 0 became worse' \
    '(.points[].ratios[]) |= (.median *= 0.98 | .q1 = .median | .q3 = .median)'
compared "what has too few blocks is not judged" 0 'not compared: [1-9]' \
    "$(scaled latency 0.001) | .points[].ratios[].n = 3"
compared "nothing in common is said" 0 'compared: nothing' '.points[].window = 12345'
compared "a report without ratios is refused" 2 'old.json is not a report' 'del(.points[].ratios)'
compared "a report of another version is refused" 2 'old.json is of version 0' '.version = 0'
closing_line
