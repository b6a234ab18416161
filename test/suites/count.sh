# SPDX-License-Identifier: BSD-3-Clause
# Sourced by test suites: counts tests and ends with the line that ./check adds up.
# shellcheck shell=bash
passed=0
failed=0
skipped=0

pass() {
    passed=$((passed + 1))
    echo "ok   $1"
}

# fail NAME [FILE]: FILE's end says why
fail() {
    failed=$((failed + 1))
    echo "FAIL $1"
    if [[ -n ${2-} ]]; then
        tail -n 20 "$2" | sed 's/^/       /'
    fi
}

# skip NAME REASON
skip() {
    skipped=$((skipped + 1))
    echo "SKIP $1: $2"
}

# try NAME COMMAND...: a test that is one command
try() {
    local name=$1 log
    shift
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then
        pass "$name"
    else
        fail "$name" "$log"
    fi
    rm -f "$log"
}

# fetched NAME COMMAND...: a test that may need Debian's archive: status 3 says that it was not to be had
fetched() {
    local name=$1 rc=0
    shift
    # shellcheck disable=SC2154 # the suite's
    "$@" >"$work/out" 2>"$work/err" || rc=$?
    if ((rc == 0)); then
        pass "$name"
    elif ((rc == 3)); then
        skip "$name" "$(tail -n 1 "$work/err")"
    else
        fail "$name" "$work/err"
    fi
}

# True as soon as the command is, false if it is not in that time.
until_() { # SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.2
    done
}

closing_line() {
    if ((skipped > 0)); then
        echo "$passed passed, $failed failed, $skipped skipped"
    else
        echo "$passed passed, $failed failed"
    fi
    ((failed == 0))
}
