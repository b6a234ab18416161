# SPDX-License-Identifier: BSD-3-Clause
# Sourced behind common.sh: generated MPI programs in the guests of the lab that is up.
# shellcheck shell=bash disable=SC2154
plans=0 operations=0 storm_seconds=0

# storm NAME OPTION...: what run-storm.py says becomes ours. Its messages must go through the segment.
storm() {
    local name=$1 counted before moved start=$SECONDS
    shift
    before=$(counters "$lab_segment" | cut -f1)
    "$top/test/mpi/run-storm.py" --lab "$lab" --program "$programs/vt_storm" --prefix "$prefix" \
        --logdir "$build/test-logs" --watchdog 90 --against tcp --shrink-seconds 100 "$@" \
        >"$work/out" 2>&1 || true
    moved=$(($(counters "$lab_segment" | cut -f1) - before))
    storm_seconds=$((storm_seconds + SECONDS - start))
    sed -n "s/^ok storm/ok   $name:/p; s/^skip storm/SKIP $name:/p; s/^FAIL storm/FAIL $name:/p
        /^    /p; /^fresh/p" "$work/out"
    passed=$((passed + $(grep -c '^ok ' "$work/out" || true)))
    failed=$((failed + $(grep -c '^FAIL ' "$work/out" || true)))
    skipped=$((skipped + $(grep -c '^skip ' "$work/out" || true)))
    counted=$(sed -n 's/^storm: \([0-9]*\) plans .*, \([0-9]*\) operations.*/\1 \2/p' "$work/out")
    if [[ -z $counted ]]; then
        fail "$name: run-storm.py came to its end" "$work/out"
        return
    fi
    plans=$((plans + ${counted% *})) operations=$((operations + ${counted#* }))
    if ((moved < 100)); then
        fail "$name: only $moved messages went through the segment"
    fi
}

storm_rate() {
    local seconds=$((storm_seconds > 0 ? storm_seconds : 1))
    awk -v p="$plans" -v o="$operations" -v s="$seconds" \
        'BEGIN { printf "%d plans, %.2f per second; %d operations, %.0f per second\n", p, p / s, o, o / s }'
}
