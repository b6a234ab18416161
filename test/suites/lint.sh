#!/bin/bash
# Runs shellcheck on every shell script of the tree and pyflakes on every Python program, found by
# their first line or their name.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"
cd "$top"

while IFS= read -r file; do
    if [[ $file = *.sh ]] || head -n 1 "$file" | grep -qE '^#!.*/(ba|da)?sh( |$)'; then
        try "shellcheck $file" shellcheck --external-sources --severity=warning "$file"
    elif [[ $file = *.py ]] || head -n 1 "$file" | grep -qE '^#!.*/python3( |$)'; then
        try "pyflakes $file" pyflakes3 "$file"
    fi
done < <(find . -name .git -prune -o -path ./build -prune -o -path ./config -prune -o \
    -path ./autom4te.cache -prune -o -path ./configure -prune -o -type f -printf '%P\n' | sort)
closing_line
